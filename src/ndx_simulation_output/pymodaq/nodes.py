"""Nodes of a file, and the numbered names of groups and arrays."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.nwb.arrays_hdf5 import as_stored, clean_text, encoded
from ndx_simulation_output.nwb.arrays_reading import (
    find_type,
    read_hdf5_array,
    read_hdf5_axis,
    read_hdf5_group,
)
from ndx_simulation_output.recording import ArrayWithAxes
from ndx_simulation_output.recording.json_values import from_json

ROOT = "/acquisition"
"""Path in an NWB file of PyMoDAQ's root."""

_ROOT_TITLE = "PyMoDAQ file"
_DATA_TYPES = {"background": "bkg", "log": "strings"}
_ARRAY_FIELDS = ("label", "source", "distribution", "origin", "nav_indexes", "timestamp")


class Node:
    """An object in a file: a group, an array or an axis.

    ``CLASS`` is GROUP for groups, CARRAY for arrays of fixed shape, EARRAY for extensible arrays,
    and VLARRAY for arrays of strings.
    """

    def __init__(self, item: h5py.Group | h5py.Dataset) -> None:
        """Create a node for an object of an open file."""
        self._item = item
        kind = find_type(item)
        self._is_series = kind == "AxesTimeSeries"
        self._is_axis = kind == "Axis"
        self.is_group = isinstance(item, h5py.Group) and not self._is_series

    @property
    def path(self) -> str:
        """Path of the object, such as ``/RawData/Detector000``."""
        return str(self._item.name).removeprefix(ROOT) or "/"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def title(self) -> str:
        """Title of a group or array, label of an axis."""
        if self.path == "/":
            return _ROOT_TITLE
        return str(self._item.attrs.get("label" if self._is_axis else "title", ""))

    @property
    def CLASS(self) -> str:  # noqa: N802 - the name of PyMoDAQ
        """Kind of the object."""
        if self.is_group:
            return "GROUP"
        if h5py.check_string_dtype(self._data.dtype):
            return "VLARRAY"
        maxshape = self._data.maxshape
        return "EARRAY" if maxshape and maxshape[0] is None else "CARRAY"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array."""
        return tuple(self._array.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of an array."""
        return np.dtype(self._array.values.dtype)

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the object, with the names of PyMoDAQ."""
        found: dict[str, Any] = {"TITLE": self.title, "CLASS": self.CLASS}
        extra: Mapping[str, Any] = {}
        if self.is_group:
            group = read_hdf5_group(self._item, recursive=False)
            found |= {"type": group.kind, "settings": group.settings}
            extra = group.extra
        elif self._is_axis:
            axis = read_hdf5_axis(self.name, self._item)
            found |= {"data_type": "axis", "label": axis.label, "units": axis.unit}
            found |= {"index": axis.index, "spread_order": axis.spread_order, "size": self.shape[0]}
        else:
            array = self._array
            found |= {"data_type": _data_type(array), "units": array.unit}
            found |= {name: getattr(array, name) for name in _ARRAY_FIELDS}
            extra = array.extra
        return found | {key: from_json(value) for key, value in extra.items()}

    def read(self) -> NDArray[Any]:
        """Read the values of an array."""
        return np.asarray(self._array.values[()])

    def __getitem__(self, key: Any) -> Any:
        """Read a part of an array."""
        return self._array.values[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a part of an array, such as one point of a scan."""
        self._data[key] = self._stored(values)

    def append(self, values: Any) -> None:
        """Append an element to an extensible array."""
        append(self._data, self._stored(values))

    def children(self) -> dict[str, "Node"]:
        """Return the objects in a group by name, in order of creation."""
        if not self.is_group:
            return {}
        nodes = {}
        for name in self._item:
            child = self._item.get(name)
            if isinstance(child, h5py.Group | h5py.Dataset) and "neurodata_type" in child.attrs:
                nodes[name] = Node(child)
        return nodes

    @property
    def _data(self) -> h5py.Dataset:
        return self._item["data"] if self._is_series else self._item

    @property
    def _array(self) -> ArrayWithAxes:
        return read_hdf5_array(self.name, self._item)

    def _stored(self, values: Any) -> Any:
        if h5py.check_string_dtype(self._data.dtype):
            return (clean_text(values) or "") if isinstance(values, str) else values
        return stored_values(np.asarray(values, self.dtype), self.path)

    def __eq__(self, other: object) -> bool:
        """Return True if both nodes refer to the same object in the file."""
        return isinstance(other, Node) and self._item == other._item

    def __hash__(self) -> int:
        """Return the hash of the object of the file."""
        return hash(self._item)

    def __str__(self) -> str:
        """Return path, class and title."""
        return f"{self.path} ({self.CLASS}) {self.title!r}"

    def __repr__(self) -> str:
        """Return path, class and title, with the children of a group, or with shape and type."""
        if self.is_group:
            return f"{self}\n  children := {[str(node) for node in self.children().values()]}"
        space = " " * 16
        return f"{self}\n{space}shape := {self.shape}\n{space}dtype := {self.dtype.name}"


def _data_type(array: ArrayWithAxes) -> str:
    if array.role == "data" and array.grows:
        return "data_enlargeable"
    return _DATA_TYPES.get(array.role, array.role)


def path_of(where: str | Node) -> str:
    """Return a node's path, or a path normalized to a leading and no trailing slash."""
    return f"/{(where.path if isinstance(where, Node) else where).strip('/')}"


def stored_values(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the values of the array ``name``, encoded for storage in an NWB file."""
    dtype, added, _ = encoded(values.dtype, name)
    return as_stored(values, dtype, added)


def append(dataset: h5py.Dataset, element: Any) -> None:
    """Append an already encoded element along the first dimension of a dataset."""
    length = dataset.shape[0]
    dataset.resize(length + 1, axis=0)
    dataset[length] = element


# Names that end in a number, such as ``Detector000`` and ``Data00``.


def numbers_of(names: Iterable[str], prefix: str) -> list[int]:
    """Return the numbers of the names that consist of a prefix and a number."""
    found = (re.fullmatch(rf"{re.escape(prefix)}(\d+)", name) for name in names)
    return [int(match[1]) for match in found if match]


def next_number(names: Iterable[str], prefix: str) -> int:
    """Return the highest number used with a prefix, plus one.

    Unlike in PyMoDAQ, names in nested groups are not counted.

    Example
    -------
    >>> next_number(["Data00", "Data01", "Axis07"], "Data")
    2

    """
    return max(numbers_of(names, prefix), default=-1) + 1
