"""Read and write ``storage.h5`` files."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5s, h5t
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, NothingRecordedError, SourceError, file_errors
from ndx_simulation_output.files import atomic_hdf5
from ndx_simulation_output.neuronvisio.description import describe
from ndx_simulation_output.neuronvisio.refs import Contents, Ref, RefGroup
from ndx_simulation_output.recording import LazyArray, SimulationOutput
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.morphology import Geometry, Section, read_neuroml, sanitized
from ndx_simulation_output.storage.reading import wrap_array
from ndx_simulation_output.storage.sources import open_source

_FULL_NAME = "full_name"
"""Attribute for the original name of a group, section or variable stored under another name."""
_DETAIL = "detail"
"""Attribute with the detail of a reference without vectors."""
_KINDS = "biufcS"


def _text(node: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return a text attribute of any PyTables text type, or an empty string if it is missing."""
    try:
        value = node.attrs.get(name)
    except (OSError, RuntimeError, TypeError):
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _full_name(node: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return the original name of an object: its ``full_name`` attribute if any, else ``name``."""
    return _text(node, _FULL_NAME) if _FULL_NAME in node.attrs else name


def _children(
    group: h5py.Group, notes: list[str]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield the objects in a group; skip links and unreadable objects and add a note for each."""
    for name in group:
        where = f"{name} in {group.name.strip('/')}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            notes.append(f"left out: {where} is a link, which Neuronvisio does not write")
            continue
        try:
            node = group[name]
        except (KeyError, OSError, RuntimeError) as error:
            notes.append(f"left out: {where} cannot be opened: {error}")
            continue
        if isinstance(node, h5py.Group | h5py.Dataset):
            yield name, node


def _values(dataset: h5py.Dataset, notes: list[str]) -> LazyArray | None:
    """Return the values of an array; if the type is unsupported, add a note and return None."""
    if dataset.shape is None or dataset.dtype.kind not in _KINDS:
        notes.append(
            f"left out: {dataset.name.strip('/')} is of type {dataset.dtype}; expected numbers, "
            "booleans or bytes"
        )
        return None
    if isinstance(dataset.id.get_type(), h5py.h5t.TypeBitfieldID):
        # h5py reads bit fields as integers.
        values: Any = np.asarray(dataset[()]).astype(bool)
        return np.asarray(values)
    return wrap_array(dataset)


_ROOT = "results"
_GEOMETRY = "geometry/geom"
_GEOMETRY_BYTES = 2**30


def read(
    source: str | Path,
    *,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
    trust: bool = False,
) -> SimulationOutput:
    """Read a ``storage.h5``: traces of sections as reports, other vectors as arrays.

    Data are read lazily: the file stays open until the output is closed.

    Parameters
    ----------
    source
        A ``storage.h5`` of Neuronvisio 0.5.0 to 0.9.1.
    unit
        Units of traces by the name of the report or variable, such as ``{"cai": "mM"}``. By
        default, variables that NEURON defines, such as ``v``, have NEURON's units.
    time_unit
        Units of the independent variables of groups, such as ``{"TimeSeries": "s"}``; by default
        ms.
    trust
        Whether the file may refer to files outside its folder, and declare more than it stores.

    Raises
    ------
    SourceError
        If the file cannot be read or contradicts the format.
    UnitError
        If a unit is invalid, or is specified for a name that does not exist.

    Example
    -------
    >>> with read("storage.h5") as output:  # doctest: +SKIP
    ...     output["v"].get_traces(labels="soma")

    """
    path = Path(source)
    with file_errors(path), ExitStack() as stack:
        file = stack.enter_context(open_source(path, trust=trust))
        contents = _read_contents(file)
        output = describe(contents, unit or {}, time_unit or {}, files=(path.name,))
        return replace(output, close=stack.pop_all().close)


def _read_contents(file: h5py.File) -> Contents:
    """Return the groups of a storage, their references and the geometry."""
    notes: list[str] = []
    geometry = _geometry(file, notes)
    results = file.get(_ROOT)
    if not isinstance(results, h5py.Group):
        msg = f"{file.filename} has no group {_ROOT}; found: {', '.join(file) or 'nothing'}"
        raise SourceError(msg)
    groups: list[RefGroup] = []
    for name, node in _children(results, notes):
        if isinstance(node, h5py.Group):
            groups += _Groups(geometry, notes).read(name, node)
        else:
            notes.append(f"left out: {_ROOT}/{name} is an array where groups are expected")
    if not groups:
        msg = f"{file.filename}: nothing was recorded: {_ROOT} holds no group"
        raise NothingRecordedError(msg)
    return Contents(tuple(groups), geometry, tuple(notes))


def _geometry(file: h5py.File, notes: list[str]) -> Geometry:
    node = file.get(_GEOMETRY)
    if not isinstance(node, h5py.Dataset) or node.size != 1:
        notes.append("the file has no geometry: sections have the names in the file")
        return Geometry()
    where = f"{_GEOMETRY} of {Path(file.filename).name}"
    if node.nbytes > _GEOMETRY_BYTES:
        msg = f"{where} is a text of {node.nbytes} bytes; expected less than {_GEOMETRY_BYTES}"
        raise SourceError(msg)
    # Version 0.5 writes an array with one string, later versions write a scalar string.
    (value,) = np.atleast_1d(np.asarray(node[()])).ravel().tolist()
    if not isinstance(value, bytes | str):
        msg = f"{where} is of type {node.dtype}; expected NeuroML text"
        raise SourceError(msg)
    text = value if isinstance(value, str) else value.decode()
    return read_neuroml(text, where) if text.strip("\0 ") else Geometry()


class _Groups:
    """Reads a group of results, and groups that Neuronvisio wrote inside its sections."""

    def __init__(self, geometry: Geometry, notes: list[str]) -> None:
        self.geometry = geometry
        self.notes = notes

    def read(self, name: str, group: h5py.Group) -> Iterator[RefGroup]:
        name = _full_name(group, name)
        refs: list[Ref] = []
        strays: dict[str, list[Ref]] = {}
        here: dict[str, h5py.Dataset] = {}
        x: LazyArray | None = None
        for child, node in _children(group, self.notes):
            if isinstance(node, h5py.Group):
                arrays, inside = self._section(node)
                if arrays or not inside:
                    refs += self._refs(node, child, arrays)
                for section, stray in inside.items():
                    found = self._refs(stray, section, self._section(stray)[0])
                    strays.setdefault(child, []).extend(found)
            elif child == "x":
                x = _values(node, self.notes)
            else:
                here[child] = node
        if here:
            # If a section has the same name as the group, its arrays are stored next to x.
            refs += self._refs(group, name, here)
        yield RefGroup(name, x, tuple(refs))
        for other, stray_refs in strays.items():
            self.notes.append(
                f"group {other} was found in a section of group {name}, where Neuronvisio puts it "
                "if it has the name of that section; its x was not stored"
            )
            yield RefGroup(other, None, tuple(stray_refs))

    def _section(
        self, section: h5py.Group
    ) -> tuple[dict[str, h5py.Dataset], dict[str, h5py.Group]]:
        arrays: dict[str, h5py.Dataset] = {}
        groups: dict[str, h5py.Group] = {}
        for name, node in _children(section, self.notes):
            if isinstance(node, h5py.Dataset):
                arrays[name] = node
            else:
                groups[name] = node
        return arrays, groups

    def _refs(
        self, node: h5py.Group, stored: str, arrays: Mapping[str, h5py.Dataset]
    ) -> Iterator[Ref]:
        """Yield a reference for each detail, since references of a section share an HDF5 group."""
        section, place = self._find(node, stored)
        by_detail: dict[str, dict[str, LazyArray]] = {}
        for name, array in arrays.items():
            values = _values(array, self.notes)
            if values is not None:
                vecs = by_detail.setdefault(_text(array, "TITLE"), {})
                vecs[_full_name(array, name)] = values
        for detail, vecs in (by_detail or {_text(node, _DETAIL): {}}).items():
            yield Ref(section, vecs, detail, stored, place)

    def _find(self, node: h5py.Group, stored: str) -> tuple[str, Section | None]:
        """Return the full name of a section, and its section in the geometry or None."""
        if _FULL_NAME in node.attrs:
            name = _text(node, _FULL_NAME)
            return name, self.geometry.by_name.get(name)
        sections = self.geometry.by_stored_name.get(stored, ())
        if len(sections) > 1:
            names = ", ".join(section.name for section in sections[:5])
            self.notes.append(
                f"{node.name.strip('/')} may be any of the {len(sections)} sections {names}; the "
                "name stays as it is"
            )
        return (sections[0].name, sections[0]) if len(sections) == 1 else (stored, None)


_RESERVED = re.compile(r"_[cfgiv]_")
"""Prefixes of names that PyTables reserves."""
_GROUP = (("CLASS", "GROUP"), ("TITLE", ""), ("VERSION", "1.0"))
_LONGEST = 60_000
"""Maximum size of a text attribute in bytes."""


def write(contents: Contents, target: Path) -> None:
    """Write all groups to ``target`` atomically.

    If a name is invalid in HDF5 or PyTables, or not unique, the original name is stored in an
    attribute. The time is proportional to the number of vectors.
    """
    with atomic_hdf5(target, overwrite=True) as file:
        root = file["/"].id
        for key, text in _GROUP:
            _attribute(root, key, text)
        _attribute(root, "PYTABLES_FORMAT_VERSION", "2.1")
        geometry = _group(root, "geometry")
        neuroml = (contents.geometry.text or "\0").encode()
        _array(geometry, "geom", np.asarray(np.bytes_(neuroml)), "python", "")
        results = _group(root, "results")
        names = _unique_names([group.name for group in contents.groups])
        for name, group in zip(names, contents.groups, strict=True):
            made = _group(results, name, group.name)
            if group.x is not None:
                _array(made, "x", read_all(group.x), "numpy", "")
            _write_refs(made, group.refs)


def _unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return, for each of ``names``, a unique name that is valid in HDF5 and PyTables.

    Example
    -------
    >>> _unique_names(["soma", "soma", "a/b", ""])
    ['soma', 'soma_2', 'a_b', 'unnamed']

    """
    used = set(taken)
    counts: dict[str, int] = {}
    found = []
    for name in names:
        safe = re.sub(r"[/\0]", "_", name)
        if not safe.strip(".") or _RESERVED.match(safe):
            safe = f"n{safe}" if safe else "unnamed"
        candidate = safe
        while candidate in used:
            counts[safe] = counts.get(safe, 1) + 1
            candidate = f"{safe}_{counts[safe]}"
        used.add(candidate)
        found.append(candidate)
    return found


def _write_refs(group: h5py.h5g.GroupID, refs: Iterable[Ref]) -> None:
    """Write a group for each reference; references of the same section get unique names."""
    refs = list(refs)
    wanted = [ref.place.stored if ref.place else "" for ref in refs]
    wanted = [name or sanitized(ref.section) for name, ref in zip(wanted, refs, strict=True)]
    for name, ref in zip(_unique_names(wanted, {"x"}), refs, strict=True):
        made = _group(group, name, ref.section)
        if ref.detail and not ref.vecs:
            _attribute(made, _DETAIL, ref.detail)
        names = _unique_names(ref.vecs)
        for array, (variable, values) in zip(names, ref.vecs.items(), strict=True):
            _array(made, array, read_all(values), "numpy", ref.detail, variable)


def _group(parent: h5py.h5g.GroupID, name: str, full_name: str | None = None) -> Any:
    made = h5py.h5g.create(parent, name.encode())
    for key, text in _GROUP:
        _attribute(made, key, text)
    if full_name not in {None, name}:
        _attribute(made, _FULL_NAME, str(full_name))
    return made


def _array(
    parent: Any,
    name: str,
    values: NDArray[Any],
    flavor: str,
    detail: str,
    full_name: str | None = None,
) -> None:
    if values.dtype.kind not in "biufcS":
        msg = (
            f"{full_name or name} is of type {values.dtype}; expected numbers, booleans or bytes, "
            "which a storage can hold"
        )
        raise ExportError(msg)
    values = np.ascontiguousarray(values).reshape(values.shape)
    is_truth = values.dtype.kind == "b"
    kind = h5t.NATIVE_B8 if is_truth else h5t.py_create(values.dtype, logical=True)
    space = h5s.create_simple(values.shape) if values.shape else h5s.create(h5s.SCALAR)
    made = h5d.create(parent, name.encode(), kind, space)
    if values.size:
        made.write(h5s.ALL, h5s.ALL, values.view(np.uint8) if is_truth else values, mtype=kind)
    facts = (("CLASS", "ARRAY"), ("FLAVOR", flavor), ("TITLE", detail), ("VERSION", "2.4"))
    for key, text in facts:
        _attribute(made, key, text)
    if full_name not in {None, name}:
        _attribute(made, _FULL_NAME, str(full_name))


def _attribute(node: Any, name: str, text: str) -> None:
    """Write a fixed-length text attribute with h5py's low-level API, which is much faster."""
    encoded = text.encode()
    if len(encoded) > _LONGEST:
        msg = f"text {text[:40]!r}… has {len(encoded)} bytes; expected {_LONGEST} at most"
        raise ExportError(msg)
    kind = h5t.C_S1.copy()
    kind.set_size(max(1, len(encoded)))
    kind.set_cset(h5t.CSET_UTF8)
    made = h5a.create(node, name.encode(), kind, h5s.create(h5s.SCALAR))
    made.write(np.asarray(np.bytes_(encoded or b"\0")), mtype=kind)
