"""Write references as a ``storage.h5`` that readers of the original layout open."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5s, h5t
from numpy.typing import NDArray

from ndx_simulation_output.adapters.neuronvisio.contents import Contents, Ref
from ndx_simulation_output.adapters.neuronvisio.geometry import sanitized
from ndx_simulation_output.adapters.neuronvisio.hdf5 import DETAIL, FULL_NAME
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.files import whole_hdf5
from ndx_simulation_output.recording.arrays import read_all

__all__ = ["unique_names", "write"]

_RESERVED = re.compile(r"_[cfgiv]_")
"""PyTables keeps names that begin so for itself."""
_GROUP = (("CLASS", "GROUP"), ("TITLE", ""), ("VERSION", "1.0"))
_LONGEST = 60_000
"""Bytes of text that an attribute holds."""


def write(contents: Contents, target: Path) -> None:
    """Write all groups to ``target``, which is replaced whole or not at all.

    Names that HDF5 or PyTables do not take, and those of sections of several cells, are kept in
    attributes. Time is linear in the number of vectors.

    Raises
    ------
    ExportError
        If a vector is of a type that PyTables does not store, or a text is too long.
    WriteError
        If the file cannot be written. An existing one is then as it was.

    """
    with whole_hdf5(target, overwrite=True) as file:
        root = file["/"].id
        for key, text in _GROUP:
            _attribute(root, key, text)
        _attribute(root, "PYTABLES_FORMAT_VERSION", "2.1")
        geometry = _group(root, "geometry")
        neuroml = (contents.geometry.text or "\0").encode()
        _array(geometry, "geom", np.asarray(np.bytes_(neuroml)), "python", "")
        results = _group(root, "results")
        names = unique_names([group.name for group in contents.groups])
        for name, group in zip(names, contents.groups, strict=True):
            made = _group(results, name, group.name)
            if group.x is not None:
                _array(made, "x", read_all(group.x), "numpy", "")
            _write_refs(made, group.refs)


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Give a name that HDF5 and PyTables take for each of ``names``, no two the same.

    Example
    -------
    >>> unique_names(["soma", "soma", "a/b", ""])
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
    """Write a group for each reference: another name tells those of one section apart."""
    refs = list(refs)
    wanted = [ref.place.stored if ref.place else "" for ref in refs]
    wanted = [name or sanitized(ref.section) for name, ref in zip(wanted, refs, strict=True)]
    for name, ref in zip(unique_names(wanted, {"x"}), refs, strict=True):
        made = _group(group, name, ref.section)
        if ref.detail and not ref.vecs:
            _attribute(made, DETAIL, ref.detail)
        names = unique_names(ref.vecs)
        for array, (variable, values) in zip(names, ref.vecs.items(), strict=True):
            _array(made, array, read_all(values), "numpy", ref.detail, variable)


def _group(parent: h5py.h5g.GroupID, name: str, full_name: str | None = None) -> Any:
    made = h5py.h5g.create(parent, name.encode())
    for key, text in _GROUP:
        _attribute(made, key, text)
    if full_name not in {None, name}:
        _attribute(made, FULL_NAME, str(full_name))
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
            f"{full_name or name} is of type {values.dtype}; a storage takes numbers, truth values "
            "and bytes"
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
        _attribute(made, FULL_NAME, str(full_name))


def _attribute(node: Any, name: str, text: str) -> None:
    """Write text of fixed length: with h5py's own way, this would take most of the time."""
    encoded = text.encode()
    if len(encoded) > _LONGEST:
        msg = f"a text of {len(encoded)} bytes begins {text[:40]!r}; a storage takes {_LONGEST}"
        raise ExportError(msg)
    kind = h5t.C_S1.copy()
    kind.set_size(max(1, len(encoded)))
    kind.set_cset(h5t.CSET_UTF8)
    made = h5a.create(node, name.encode(), kind, h5s.create(h5s.SCALAR))
    made.write(np.asarray(np.bytes_(encoded or b"\0")), mtype=kind)
