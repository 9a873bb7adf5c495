"""Read a ``storage.h5`` of any version of Neuronvisio, or of this package."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ndx_simulation_output.adapters.neuronvisio.contents import Contents, Ref, RefGroup
from ndx_simulation_output.adapters.neuronvisio.describing import describe
from ndx_simulation_output.adapters.neuronvisio.geometry import Geometry, Section, read_neuroml
from ndx_simulation_output.adapters.neuronvisio.hdf5 import (
    DETAIL,
    FULL_NAME,
    children,
    full_name,
    open_storage,
    text_of,
    values_of,
)
from ndx_simulation_output.errors import NothingRecordedError, SourceError
from ndx_simulation_output.recording import LazyArray, SimulationOutput

__all__ = ["is_storage", "read", "read_contents"]

_ROOT = "results"
_GEOMETRY = "geometry/geom"
_GEOMETRY_BYTES = 2**30


def is_storage(path: Path) -> bool:
    """Tell whether a file is a storage: groups of results, and a geometry or PyTables' mark."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            marked = "geometry" in file or "PYTABLES_FORMAT_VERSION" in file.attrs
            return marked and isinstance(file.get(_ROOT), h5py.Group)
    except (KeyError, OSError, RuntimeError):
        return False


def read(
    source: str | Path,
    *,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Describe what a ``storage.h5`` holds: traces of sections as reports, the rest as groups.

    Data stay in the file, which is open until the output is closed.

    Parameters
    ----------
    source
        A ``storage.h5`` of Neuronvisio 0.5.0 to 0.9.1.
    unit
        Unit of traces by the name of their report or variable, such as ``{"cai": "mM"}``. Names
        that NEURON defines, such as ``v``, have theirs.
    time_unit
        Unit of the independent variable of a group, such as ``{"TimeSeries": "s"}``; by default
        it is NEURON's time in ms.

    Raises
    ------
    SourceError
        If the file cannot be read or contradicts the format.
    UnitError
        If a unit is not understood, or given for a name that does not occur.

    Example
    -------
    >>> with read("storage.h5") as output:  # doctest: +SKIP
    ...     output["v"].get_traces(labels="soma")

    """
    path = Path(source)
    with ExitStack() as stack:
        file = stack.enter_context(open_storage(path))
        try:
            contents = read_contents(file)
            output = describe(contents, unit or {}, time_unit or {}, files=(path.name,))
        except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
            msg = f"{path} cannot be read: {error}"
            raise SourceError(msg) from error
        return replace(output, close=stack.pop_all().close)


def read_contents(file: h5py.File) -> Contents:
    """Read the groups of a storage, their references and the geometry; arrays stay in the file.

    Raises
    ------
    SourceError
        If it has no groups of results, or a geometry that cannot be read.
    NothingRecordedError
        If there is no group.

    """
    notes: list[str] = []
    geometry = _geometry(file, notes)
    results = file.get(_ROOT)
    if not isinstance(results, h5py.Group):
        msg = f"{file.filename} has no group {_ROOT}; found: {', '.join(file) or 'nothing'}"
        raise SourceError(msg)
    groups: list[RefGroup] = []
    for name, node in children(results, notes):
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
        notes.append("there is no geometry: sections have the names that the file gives them")
        return Geometry()
    where = f"{_GEOMETRY} of {Path(file.filename).name}"
    if node.nbytes > _GEOMETRY_BYTES:
        msg = f"{where} is a text of {node.nbytes} bytes; expected less than {_GEOMETRY_BYTES}"
        raise SourceError(msg)
    # Version 0.5 writes an array of one text, later ones the text.
    (value,) = np.atleast_1d(np.asarray(node[()])).ravel().tolist()
    if not isinstance(value, bytes | str):
        msg = f"{where} is of type {node.dtype}; expected NeuroML text"
        raise SourceError(msg)
    text = value if isinstance(value, str) else value.decode()
    return read_neuroml(text, where) if text.strip("\0 ") else Geometry()


class _Groups:
    """Reads a group of results, and those that the search for names has put into its sections."""

    def __init__(self, geometry: Geometry, notes: list[str]) -> None:
        self.geometry = geometry
        self.notes = notes

    def read(self, name: str, group: h5py.Group) -> Iterator[RefGroup]:
        name = full_name(group, name)
        refs: list[Ref] = []
        strays: dict[str, list[Ref]] = {}
        here: dict[str, h5py.Dataset] = {}
        x: LazyArray | None = None
        for child, node in children(group, self.notes):
            if isinstance(node, h5py.Group):
                arrays, inside = self._section(node)
                if arrays or not inside:
                    refs += self._refs(node, child, arrays)
                for section, stray in inside.items():
                    found = self._refs(stray, section, self._section(stray)[0])
                    strays.setdefault(child, []).extend(found)
            elif child == "x":
                x = values_of(node, self.notes)
            else:
                here[child] = node
        if here:
            # A section of the name of its group: its arrays stand beside x.
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
        for name, node in children(section, self.notes):
            if isinstance(node, h5py.Dataset):
                arrays[name] = node
            else:
                groups[name] = node
        return arrays, groups

    def _refs(
        self, node: h5py.Group, stored: str, arrays: Mapping[str, h5py.Dataset]
    ) -> Iterator[Ref]:
        """Give a reference for each detail: several of one section share a group."""
        section, place = self._find(node, stored)
        by_detail: dict[str, dict[str, LazyArray]] = {}
        for name, array in arrays.items():
            values = values_of(array, self.notes)
            if values is not None:
                vecs = by_detail.setdefault(text_of(array, "TITLE"), {})
                vecs[full_name(array, name)] = values
        for detail, vecs in (by_detail or {text_of(node, DETAIL): {}}).items():
            yield Ref(section, vecs, detail, stored, place)

    def _find(self, node: h5py.Group, stored: str) -> tuple[str, Section | None]:
        """Give the full name of a section, and what the geometry says of it."""
        if FULL_NAME in node.attrs:
            name = text_of(node, FULL_NAME)
            return name, self.geometry.by_name.get(name)
        sections = self.geometry.by_stored_name.get(stored, ())
        if len(sections) > 1:
            names = ", ".join(section.name for section in sections[:5])
            self.notes.append(
                f"{node.name.strip('/')} may be any of the {len(sections)} sections {names}; the "
                "name stays as it is"
            )
        return (sections[0].name, sections[0]) if len(sections) == 1 else (stored, None)
