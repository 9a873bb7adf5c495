"""Nodes of a file, and the numbered names of groups and arrays."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    NameClashError,
    ShapeMismatchError,
)
from ndx_simulation_output.nwb.arrays_reading import (
    find_type,
    read_hdf5_array,
    read_hdf5_axis,
    read_hdf5_group,
)
from ndx_simulation_output.pymodaq.values import stored_values
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes, LazyArray
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
        found = self._described
        return found.label if isinstance(found, ArrayAxis) else found.title

    @property
    def CLASS(self) -> str:  # noqa: N802 - the name of PyMoDAQ
        """Kind of the object."""
        found = self._described
        if isinstance(found, ArrayGroup):
            return "GROUP"
        if found.values.dtype.kind == "O":
            return "VLARRAY"
        return "EARRAY" if found.grows else "CARRAY"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array."""
        return tuple(self._values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of an array."""
        return np.dtype(self._values.dtype)

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the object, with the names of PyMoDAQ."""
        found: dict[str, Any] = {"TITLE": self.title, "CLASS": self.CLASS}
        extra: Mapping[str, Any] = {}
        described = self._described
        if isinstance(described, ArrayGroup):
            found |= {"type": described.kind, "settings": described.settings}
            extra = described.extra
        elif isinstance(described, ArrayAxis):
            axis = described
            found |= {"data_type": "axis", "label": axis.label, "units": axis.unit}
            found |= {"index": axis.index, "spread_order": axis.spread_order, "size": self.shape[0]}
        else:
            found |= {"data_type": _data_type(described), "units": described.unit}
            found |= {name: getattr(described, name) for name in _ARRAY_FIELDS}
            extra = described.extra
        return found | {key: from_json(value) for key, value in extra.items()}

    def read(self) -> NDArray[Any]:
        """Read the values of an array."""
        return np.asarray(self._values[()])

    def __getitem__(self, key: Any) -> Any:
        """Read a part of an array."""
        return self._values[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a part of an array, such as one point of a scan.

        Raises
        ------
        RecordingError
            If the type of the array cannot hold the values exactly.

        """
        with undone_on_error() as undo:
            undo.assign(self._data, key, self._stored(values))

    def append(self, values: Any) -> None:
        """Append an element to an extensible array.

        Raises
        ------
        RecordingError
            If the type of the array cannot hold the values exactly.
        ShapeMismatchError
            If the array cannot be extended, or its elements have another shape.

        """
        stored = self._stored(values)
        if self.CLASS == "CARRAY" or np.shape(stored) not in {(), self._data.shape[1:]}:
            msg = (
                f"{self.path} ({self.CLASS}) has shape {self.shape}, and the element has shape "
                f"{np.shape(values)}; expected an extensible array, and elements of its shape"
            )
            raise ShapeMismatchError(msg)
        with undone_on_error() as undo:
            undo.append(self._data, stored)

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
    def _described(self) -> ArrayGroup | ArrayWithAxes | ArrayAxis:
        if self.is_group:
            return read_hdf5_group(self._item, recursive=False)
        if self._is_axis:
            return read_hdf5_axis(self.name, self._item)
        return read_hdf5_array(self.name, self._item)

    @property
    def _values(self) -> LazyArray:
        found = self._described
        if isinstance(found, ArrayGroup):
            msg = f"{self.path} is a group; expected an array or an axis"
            raise TypeError(msg)
        return found.values

    def _stored(self, values: Any) -> Any:
        if h5py.check_string_dtype(self._data.dtype):
            return stored_values(np.asarray(values, object), self.path)
        return stored_values(values, self.path, self.dtype)

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


class ReadOnlyNode(Node):
    """An object of a file that is open for reading."""

    def __init__(self, path: str, described: ArrayGroup | ArrayWithAxes | ArrayAxis) -> None:
        """Create a node for an object at a path."""
        self._path, self._found = path, described
        self.is_group = isinstance(described, ArrayGroup)

    @property
    def path(self) -> str:
        """Path of the object."""
        return self._path

    @property
    def _described(self) -> ArrayGroup | ArrayWithAxes | ArrayAxis:
        return self._found

    def __setitem__(self, key: Any, values: Any) -> None:
        """Raise TypeError."""
        self._refuse()

    def append(self, values: Any) -> None:
        """Raise TypeError."""
        del values
        self._refuse()

    def _refuse(self) -> NoReturn:
        msg = f"the file of {self.path} is open read-only; open it with H5SaverLowLevel to add data"
        raise TypeError(msg)

    def children(self) -> dict[str, Node]:
        """Return the objects in a group by name, sorted by name."""
        if not isinstance(self._found, ArrayGroup):
            return {}
        inside: list[ArrayGroup | ArrayWithAxes | ArrayAxis]
        inside = [*self._found.arrays, *self._found.axes, *self._found.groups]
        return {
            item.name: ReadOnlyNode(f"{self._path.rstrip('/')}/{item.name}", item)
            for item in sorted(inside, key=lambda item: item.name)
        }

    def __eq__(self, other: object) -> bool:
        """Return True if both nodes are the same object of a file."""
        return isinstance(other, ReadOnlyNode) and self._found is other._found

    def __hash__(self) -> int:
        """Return the hash of the path."""
        return hash(self._path)


def walk(first: Node, depth: int | None = None, *, only_groups: bool = False) -> Iterator[Node]:
    """Yield a node and all nodes at most ``depth`` levels below it, in the order of PyMoDAQ."""
    if first.is_group or not only_groups:
        yield first
    groups, waiting, top = [first], [first], first.path.rstrip("/").count("/")
    while waiting:
        inner = [node for node in waiting.pop().children().values() if node.is_group]
        groups += inner
        waiting += inner
    for group in groups:
        for node in group.children().values():
            is_deep = depth is not None and node.path.count("/") - top > depth
            if not is_deep and (node.is_group or not only_groups):
                yield node


def _data_type(array: ArrayWithAxes) -> str:
    if array.role == "data" and array.grows:
        return "data_enlargeable"
    return _DATA_TYPES.get(array.role, array.role)


def path_of(where: str | Node) -> str:
    """Return a node's path, or a path normalized to a leading and no trailing slash."""
    return f"/{(where.path if isinstance(where, Node) else where).strip('/')}"


# Additions that are undone if they fail.


def check_free(group: h5py.Group, name: str) -> None:
    """Raise NameClashError if a group has an object of this name."""
    if name in group:
        msg = f"{group.name.removeprefix(ROOT)} already has an object {name}; expected a new name"
        raise NameClashError(msg)


class Undo:
    """What a block of code adds to a file, in reverse order of what is to be undone."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def adds(self, group: h5py.Group, name: str) -> None:
        """Remove ``name`` from the group if the block fails; call it before creating the object."""
        self._steps.append(lambda: group.pop(name, None))

    def append(self, dataset: h5py.Dataset, element: Any) -> None:
        """Append an encoded element along the first dimension of a dataset."""
        length = dataset.shape[0]
        self._steps.append(lambda: dataset.resize(length, axis=0))
        dataset.resize(length + 1, axis=0)
        dataset[length] = element

    def assign(self, dataset: h5py.Dataset, key: Any, values: Any) -> None:
        """Write encoded values into a part of a dataset."""
        before = dataset[key]
        self._steps.append(lambda: dataset.__setitem__(key, before))
        dataset[key] = values

    def undo(self) -> None:
        """Undo the additions; those that cannot be undone do not keep others from being undone."""
        while self._steps:
            # A disk that failed may fail again: such a file is never committed.
            with suppress(Exception):
                self._steps.pop()()


@contextmanager
def undone_on_error() -> Iterator[Undo]:
    """Undo what the block adds to a file if it raises."""
    undo = Undo()
    try:
        yield undo
    except BaseException:
        undo.undo()
        raise


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
