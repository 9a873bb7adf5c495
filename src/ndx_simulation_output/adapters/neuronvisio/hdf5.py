"""HDF5 as PyTables writes it: the names and attributes of a storage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import LazyArray

__all__ = ["DETAIL", "FULL_NAME", "children", "full_name", "open_storage", "text_of", "values_of"]

FULL_NAME = "full_name"
"""Attribute that keeps the name of a group, section or variable that HDF5 calls otherwise."""
DETAIL = "detail"
"""Attribute that keeps the detail of a reference without vectors."""
_KINDS = "biufcS"


def open_storage(path: Path) -> h5py.File:
    """Open a storage for reading.

    Raises
    ------
    SourceError
        If it does not exist, is truncated, or is not an HDF5 file.

    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        msg = f"{path} cannot be read as HDF5: {error}"
        raise SourceError(msg) from error


def text_of(node: h5py.Group | h5py.Dataset, name: str) -> str:
    """Text of an attribute, in any spelling that PyTables has for text; empty if it has none."""
    try:
        value = node.attrs.get(name)
    except (OSError, RuntimeError, TypeError):
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def full_name(node: h5py.Group | h5py.Dataset, name: str) -> str:
    """Give the name that an object had in memory: ``name``, unless it says otherwise."""
    return text_of(node, FULL_NAME) if FULL_NAME in node.attrs else name


def children(
    group: h5py.Group, notes: list[str]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Give what is in a group, but links and what cannot be opened, which are noted."""
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


def values_of(dataset: h5py.Dataset, notes: list[str]) -> LazyArray | None:
    """Give the values of an array; None, with a note, where they are of no type that we know."""
    if dataset.shape is None or dataset.dtype.kind not in _KINDS:
        notes.append(
            f"left out: {dataset.name.strip('/')} is of type {dataset.dtype}; expected numbers, "
            "truth values or bytes"
        )
        return None
    if isinstance(dataset.id.get_type(), h5py.h5t.TypeBitfieldID):
        # h5py gives the bits of truth values as integers.
        values: Any = np.asarray(dataset[()]).astype(bool)
        return np.asarray(values)
    return dataset  # type: ignore[no-any-return]
