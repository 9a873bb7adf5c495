"""Save axes, data, backgrounds and data sets of known shape."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.nwb.arrays_hdf5 import clean_text, create_array, create_axis
from ndx_simulation_output.pymodaq.data import Axis, DataDim, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.loaders import ArrayLoader, SaverGroups, load_axis
from ndx_simulation_output.pymodaq.nodes import (
    Node,
    Undo,
    check_free,
    next_number,
    path_of,
)
from ndx_simulation_output.pymodaq.values import plain_values, stored_values
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes
from ndx_simulation_output.recording.json_values import to_json

DataKey = tuple[str, str, str, int]
"""Dimension, name and origin of data, and their position among the data that share these."""

_Stored = tuple[tuple[int, ...], np.dtype[Any], NDArray[Any]]
_LARGEST_EXACT = 2**53
"""Integers up to this one are exact as floats."""


class AxisSaverLoader:
    """Saves and loads axes, named ``Axis00``, ``Axis01`` and so on.

    All methods raise KeyError if the path or node ``where`` does not exist.
    """

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Use an open saver, or open the file at a path to add data to it."""
        self.h5saver = open_saver(h5saver)

    def add_axis(self, where: str | Node, axis: Any) -> Node:
        """Save an axis in a group. Linear integer values are stored as floats if this is exact."""
        own, group = Axis.of(axis), self.h5saver.h5(where)
        values = stored_axis(own)
        name = f"Axis{next_number(group, 'Axis'):02d}"
        described = ArrayAxis(name, values, own.label, own.units, own.index, own.spread_order)
        with self.h5saver.all_or_nothing() as undo:
            undo.adds(group, name)
            dataset = create_axis(group, described, values.shape, values.dtype)
            dataset[...] = values
        return Node(dataset)

    def load_axis(self, where: str | Node) -> Axis:
        """Load an axis."""
        path = path_of(where)
        parent, _, name = path.rpartition("/")
        for axis in SaverGroups(self.h5saver).read_group(parent or "/").axes:
            if axis.name == name:
                return load_axis(axis)
        msg = f"no axis {path} in {self.h5saver.file_path}"
        raise KeyError(msg)

    def get_axes(self, where: str | Node) -> list[Axis]:
        """Load all axes in a group, or in the group of an array."""
        node = self.h5saver.get_node(where)
        path = node.path if node.is_group else node.path.rpartition("/")[0]
        return [load_axis(axis) for axis in SaverGroups(self.h5saver).read_group(path).axes]


@dataclass(frozen=True)
class PreparedData:
    """Data that were checked: shape, dtype and stored values of each array and error."""

    data: DataWithAxes
    axes: Sequence[Axis]
    arrays: Sequence[_Stored]
    errors: Sequence[_Stored]


class DataSaverLoader(ArrayLoader):
    """Saves and loads data, named ``Data00``, ``Data01`` and so on, with axes and errors.

    All methods raise KeyError if the path or node ``where`` does not exist.
    """

    _prefix = "Data"
    _error_prefix = "ErrorBar"
    _role = "data"

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Use an open saver, or open the file at a path to add data to it."""
        self.h5saver = open_saver(h5saver)
        super().__init__(SaverGroups(self.h5saver), with_nav=False)
        self._axes = AxisSaverLoader(self.h5saver)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        save_axes: bool = True,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
    ) -> None:
        """Save the arrays of data in a group, then their axes, then their errors.

        Masked values are saved as NaN, with a warning. If an error is raised, nothing is saved.

        Raises
        ------
        ShapeMismatchError
            If an axis does not have one value for each index of its dimension.
        RecordingError
            If an array has values that cannot be saved, such as masked integers.

        """
        self.write(where, self.prepare(data, save_axes=save_axes))

    def prepare(self, data: Any, *, save_axes: bool = True) -> PreparedData:
        """Check data, and return them with the values to be stored."""
        own = DataWithAxes.of(data)
        if save_axes:
            own.check_axes()
            for axis in own.axes:
                stored_axis(axis)
        arrays, errors = (
            [(plain_values(values, f"{what} of {own.name!r}"), what) for values in found or ()]
            for found, what in ((own.data, self._role), (own.errors, "error"))
        )
        stored = [
            [(values.shape, values.dtype, stored_values(values, what)) for values, what in found]
            for found in (arrays, errors)
        ]
        return PreparedData(own, own.axes if save_axes else [], *stored)

    def write(self, where: str | Node, prepared: PreparedData) -> None:
        """Save what was checked."""
        own, group = prepared.data, self.h5saver.h5(where)
        first = next_number(group, self._prefix)
        with self.h5saver.all_or_nothing() as undo:
            self._write(undo, group, self._prefix, self._role, first, own, prepared.arrays)
            for axis in prepared.axes:
                self._axes.add_axis(where, axis)
            self._write(undo, group, self._error_prefix, "error", first, own, prepared.errors)

    def _write(
        self,
        undo: Undo,
        group: h5py.Group,
        prefix: str,
        role: str,
        first: int,
        data: DataWithAxes,
        arrays: Sequence[_Stored],
    ) -> None:
        for number, (shape, dtype, stored) in enumerate(arrays):
            name = f"{prefix}{first + number:02d}"
            check_free(group, name)
            undo.adds(group, name)
            array = describe_array(data, name, number, role)
            create_array(group, array, shape, dtype, self.h5saver.how)[...] = stored


class BkgSaver(DataSaverLoader):
    """Saves and loads backgrounds, named ``Bkg00``, ``Bkg01`` and so on."""

    _prefix = "Bkg"
    _error_prefix = "BkgErrorBar"
    _role = "background"


class DataToExportSaver:
    """Saves data sets, with a group for each ``dim`` and in it a channel for each data.

    All methods raise KeyError if the path or node ``where`` does not exist.
    """

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Use an open saver, or open the file at a path to add data to it."""
        self.h5saver = open_saver(h5saver)
        self._data = DataSaverLoader(self.h5saver)
        self._bkg = BkgSaver(self.h5saver)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        settings_as_xml: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Save a data set. Settings and metadata are stored as attributes of new channels.

        If an error is raised, as by :meth:`DataSaverLoader.add_data`, nothing is saved.
        """
        self._add(self._data, where, data, settings_as_xml, metadata)

    def add_bkg(self, where: str | Node, data: Any) -> None:
        """Save the backgrounds of a data set in the channels of the data."""
        self._add(self._bkg, where, data)

    def _add(
        self,
        saver: DataSaverLoader,
        where: str | Node,
        data: Any,
        settings: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        by_dimension = sorted(DataToExport.of(data), key=lambda own: own.dim.value)
        save_axes = saver is self._data
        prepared = {
            key: saver.prepare(own, save_axes=save_axes)
            for key, own in data_by_key(by_dimension).items()
        }
        with self.h5saver.all_or_nothing():
            for key, one in prepared.items():
                saver.write(ensure_channel(self.h5saver, where, key, settings, metadata), one)


def open_saver(h5saver: H5SaverLowLevel | str | Path) -> H5SaverLowLevel:
    """Return a saver with an open file; if the argument is a path, open or create the file."""
    if isinstance(h5saver, H5SaverLowLevel):
        return h5saver
    saver = H5SaverLowLevel()
    saver.init_file(h5saver)
    return saver


def describe_array(data: DataWithAxes, name: str, number: int, role: str) -> ArrayWithAxes:
    """Return a description, without values, of the array at index ``number`` of data."""
    extra = {key: to_json(getattr(data, key)) for key in data.extra_attributes if key != "path"}
    is_error = role == "error"
    return ArrayWithAxes(
        name,
        np.zeros(0),
        role=role,
        title=f"{data.name}_errors" if is_error else data.name,
        label=data.labels[number],
        unit=data.units,
        source="calculated" if is_error else data.source.name,
        distribution=data.distribution.name,
        origin=data.origin,
        nav_indexes=data.nav_indexes,
        timestamp=data.timestamp,
        extra={} if is_error else extra,
    )


def data_by_key(items: Iterable[DataWithAxes]) -> dict[DataKey, DataWithAxes]:
    """Return a dictionary of data by the key that identifies their channel."""
    found: dict[DataKey, DataWithAxes] = {}
    for data in items:
        position = 0
        names = data.dim.name, clean_text(data.name) or "", clean_text(data.origin) or ""
        while (key := (*names, position)) in found:
            position += 1
        found[key] = data
    return found


def channels_of(saver: H5SaverLowLevel, where: str | Node) -> dict[DataKey, Node]:
    """Return the channels in a group by their keys."""
    found: dict[DataKey, Node] = {}
    for parent in saver.get_node(where).children().values():
        if parent.name not in DataDim.__members__:
            continue
        for node in parent.children().values():
            if not node.is_group:
                continue
            names, position = (parent.name, node.title, str(node.attrs.get("origin") or "")), 0
            while (key := (*names, position)) in found:
                position += 1
            found[key] = node
    return found


def ensure_channel(
    saver: H5SaverLowLevel,
    where: str | Node,
    key: DataKey,
    settings: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Node:
    """Return the channel for a key in a group, and create it if it does not exist."""
    found = channels_of(saver, where).get(key)
    if found is not None:
        return found
    dimension, name, origin, _ = key
    parent = saver.add_group(dimension, "", where)
    number = next_number(saver.h5(parent), "CH")
    extra = {**(metadata or {}), **({"origin": origin} if origin else {})}
    return saver.add_group(f"CH{number:02d}", "", parent, name, settings, extra)


def stored_axis(axis: Axis) -> NDArray[Any]:
    """Return the values of an axis as they are stored; raise if they are not numbers."""
    values = _float_if_linear(plain_values(axis.data, f"axis {axis.label!r}"))
    if values.dtype.kind not in "biufc":
        msg = f"axis {axis.label!r} has values of type {values.dtype}; expected numbers"
        raise RecordingError(msg)
    return values


def _float_if_linear(values: NDArray[Any]) -> NDArray[Any]:
    """Convert evenly spaced integers to floats, as PyMoDAQ does, if this is exact."""
    if values.dtype.kind not in "iu" or not len(values):
        return values
    steps = np.diff(values)
    if (steps != steps[:1]).any():
        return values
    return values.astype(np.float64) if np.abs(values).max() <= _LARGEST_EXACT else values
