"""Objects of a file as PyMoDAQ shows them: groups, arrays and axes by path."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.pymodaq.data import Axis
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes
from ndx_simulation_output.recording.json_values import from_json, to_json

if TYPE_CHECKING:
    from ndx_simulation_output.nwb.arrays_hdf5 import HowStored

# Names with numbers, such as ``Detector000`` and ``Data00``.

KINDS = {
    "detector": "Detector",
    "actuator": "Actuator",
    "scan": "Scan",
    "ch": "Ch",
    "data_logger": "Data_logger",
}
"""The types of numbered groups, and how the names of each begin."""


def stem_of(kind: str) -> str:
    """Give how the names of groups of a type begin.

    Example
    -------
    >>> stem_of("detector")
    'Detector'

    """
    return KINDS.get(kind, kind.capitalize())


def numbers_of(names: Iterable[str], prefix: str) -> list[int]:
    """Give the numbers of the names that are a prefix and a number."""
    found = (re.fullmatch(rf"{re.escape(prefix)}(\d+)", name) for name in names)
    return [int(match[1]) for match in found if match]


def next_number(names: Iterable[str], prefix: str) -> int:
    """Give the number after the highest of a prefix.

    PyMoDAQ counts those in groups below too: they take names that are free anyway.

    Example
    -------
    >>> next_number(["Data00", "Data01", "Axis07"], "Data")
    2

    """
    return max(numbers_of(names, prefix), default=-1) + 1


# The objects of a file as PyMoDAQ shows them: groups, arrays and axes by their paths.

PLACE = "/acquisition"
"""Where PyMoDAQ's root is in an NWB file."""

_ROOT_TITLE = "PyMoDAQ file"
_DATA_TYPES = {"background": "bkg", "log": "strings"}
_FACTS = ("label", "source", "distribution", "origin", "nav_indexes", "timestamp")


class Node:
    """An object of the file: a group, an array or an axis.

    ``CLASS`` is GROUP, CARRAY, EARRAY for one that grows, or VLARRAY for one of texts.
    """

    def __init__(self, item: h5py.Group | h5py.Dataset) -> None:
        """Take an object of an open file."""
        from ndx_simulation_output.nwb import arrays_reading

        self._item, self._reading = item, arrays_reading
        kind = arrays_reading.find_type(item)
        self._is_series = kind == "AxesTimeSeries"
        self._is_axis = kind == "Axis"
        self.is_group = isinstance(item, h5py.Group) and not self._is_series

    @property
    def path(self) -> str:
        """Path of the object, such as ``/RawData/Detector000``."""
        return str(self._item.name).removeprefix(PLACE) or "/"

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
        """What kind of object it is."""
        if self.is_group:
            return "GROUP"
        data = self._data
        if h5py.check_string_dtype(data.dtype):
            return "VLARRAY"
        return "EARRAY" if data.maxshape and data.maxshape[0] is None else "CARRAY"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array."""
        return tuple(self._described.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values of an array."""
        return np.dtype(self._described.values.dtype)

    @property
    def attrs(self) -> dict[str, Any]:
        """What is said of the object, by the names that PyMoDAQ has for it."""
        found: dict[str, Any] = {"TITLE": self.title, "CLASS": self.CLASS}
        extra: Mapping[str, Any] = {}
        if self.is_group:
            group = self._reading.read_hdf5_group(self._item, recursive=False)
            found |= {"type": group.kind, "settings": group.settings}
            extra = group.extra
        elif self._is_axis:
            axis = self._reading.read_hdf5_axis(self.name, self._item)
            found |= {"data_type": "axis", "label": axis.label, "units": axis.unit}
            found |= {"index": axis.index, "spread_order": axis.spread_order, "size": self.shape[0]}
        else:
            array = self._described
            found |= {"data_type": _data_type(array), "units": array.unit}
            found |= {name: getattr(array, name) for name in _FACTS}
            extra = array.extra
        return found | {key: from_json(value) for key, value in extra.items()}

    def read(self) -> NDArray[Any]:
        """Read the values of an array."""
        return np.asarray(self._described.values[()])

    def __getitem__(self, key: Any) -> Any:
        """Read some values of an array."""
        return self._described.values[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        """Put values at some places of an array, such as those of a point of a scan."""
        self._data[key] = self._stored(values)

    def append(self, values: Any) -> None:
        """Put values, of one element, at the end of an array that grows."""
        append(self._data, self._stored(values))

    def children(self) -> dict[str, "Node"]:
        """Give what is in a group by name, in the order in which it was made."""
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

    def _stored(self, values: Any) -> Any:
        """Give values as they are stored."""
        from ndx_simulation_output.nwb.arrays_hdf5 import as_stored, clean_text, encoded

        if h5py.check_string_dtype(self._data.dtype):
            return (clean_text(values) or "") if isinstance(values, str) else values
        array = np.asarray(values, self.dtype)
        stored, added, _ = encoded(self.dtype, self.path)
        return as_stored(array, stored, added)

    @property
    def _described(self) -> ArrayWithAxes:
        return self._reading.read_hdf5_array(self.name, self._item)

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same object of the file."""
        return isinstance(other, Node) and self._item == other._item

    def __hash__(self) -> int:
        """Hash the object of the file."""
        return hash(self._item)

    def __str__(self) -> str:
        """Show path, kind and title."""
        return f"{self.path} ({self.CLASS}) {self.title!r}"

    def __repr__(self) -> str:
        """Show children, or shape and type, too."""
        if self.is_group:
            return f"{self}\n  children := {[str(node) for node in self.children().values()]}"
        space = " " * 16
        return f"{self}\n{space}shape := {self.shape}\n{space}dtype := {self.dtype.name}"


def append(dataset: h5py.Dataset, values: Any) -> None:
    """Put values at the end of a dataset that grows along its first dimension."""
    length = dataset.shape[0]
    dataset.resize(length + 1, axis=0)
    dataset[length] = values


def _data_type(array: ArrayWithAxes) -> str:
    if array.role == "data" and array.grows:
        return "data_enlargeable"
    return _DATA_TYPES.get(array.role, array.role)


# Arrays that are added by name, type and attributes, as PyMoDAQ's file object takes them.

ROLES = {
    "data": "data",
    "data_enlargeable": "data",
    "bkg": "background",
    "error": "error",
    "strings": "log",
}
"""What arrays of PyMoDAQ's types are for; those of other types keep the name of theirs."""

_TOLD = {"label", "source", "distribution", "origin", "timestamp"}
_FIELDS = {*_TOLD, "units", "nav_indexes"}
_AXIS = {"label", "units", "index", "spread_order"}


@dataclass(frozen=True)
class ArrayToAdd:
    """An array of given values, or of a shape and type; ``scan`` are dimensions before its own."""

    values: NDArray[Any] | None
    shape: tuple[int, ...] | None
    dtype: Any
    fill: Any
    scan: tuple[int, ...]
    grows: bool

    def create(
        self,
        group: h5py.Group,
        name: str,
        kind: str,
        title: str,
        metadata: Mapping[str, Any],
        how: "HowStored",
    ) -> h5py.Dataset:
        """Add it to a group; its name begins with a capital letter.

        Raises
        ------
        TypeError
            If there are neither values nor a shape.

        """
        from ndx_simulation_output.nwb.arrays_hdf5 import (
            as_stored,
            create_array,
            create_axis,
            encoded,
        )

        name, shape = name[:1].upper() + name[1:], self._whole()
        dtype = np.dtype(self.dtype or (float if self.values is None else self.values.dtype))
        if kind == "axis":
            facts = {"label": title, **{key: metadata[key] for key in _AXIS & set(metadata)}}
            told = Axis(data=np.zeros(0), **facts)
            axis = ArrayAxis(name, told.data, told.label, told.units, told.index)
            axis = replace(axis, spread_order=told.spread_order, grows=self.grows)
            made = create_axis(group, axis, shape, dtype)
        else:
            array = _described(name, kind, title, metadata, grows=self.grows)
            stored = replace(how, points=len(self.scan))
            made = create_array(group, array, shape, dtype, stored, self.fill)
        if self.values is not None and not self.grows:
            kept, added, _ = encoded(dtype, name)
            made[...] = as_stored(np.asarray(self.values, dtype), kept, added)
        return made

    def _whole(self) -> tuple[int, ...]:
        if self.values is None and self.shape is None:
            msg = "neither array_to_save nor data_shape is given; expected one of them"
            raise TypeError(msg)
        own = tuple(self.shape or ()) if self.values is None else self.values.shape
        if self.grows:
            return (0, *own)
        # Single values have no dimension of their own in a scan.
        return own if not self.scan else (*self.scan, *(() if own == (1,) else own))


def _described(
    name: str, kind: str, title: str, metadata: Mapping[str, Any], *, grows: bool
) -> ArrayWithAxes:
    told = {key: metadata[key] for key in _TOLD & set(metadata)}
    return ArrayWithAxes(
        name,
        np.zeros(0),
        role=ROLES.get(kind, kind),
        title=title,
        unit=metadata.get("units", ""),
        nav_indexes=tuple(metadata.get("nav_indexes", ())),
        grows=grows,
        extra={key: to_json(value) for key, value in metadata.items() if key not in _FIELDS},
        **told,
    )
