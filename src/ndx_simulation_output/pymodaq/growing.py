"""Save data element by element, by appending or at the points of a scan."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError, ShapeMismatchError
from ndx_simulation_output.nwb.arrays_hdf5 import (
    clean_text,
    create_array,
    create_axis,
    create_series,
    reference_time,
)
from ndx_simulation_output.nwb.arrays_reading import find_type
from ndx_simulation_output.pymodaq.data import Axis, DataToExport, DataWithAxes, name_of
from ndx_simulation_output.pymodaq.elements import (
    TIMES,
    Channel,
    Elements,
    describe_arrays,
    describe_times,
    element_shape,
    items_of,
    open_channel,
)
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import Node, Undo, check_free, next_number, path_of
from ndx_simulation_output.pymodaq.savers import (
    AxisSaverLoader,
    DataKey,
    channels_of,
    data_by_key,
    ensure_channel,
    open_saver,
    stored_axis,
)
from ndx_simulation_output.pymodaq.values import stored_values
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes

_NAV_AXES = "NavAxes"
_GROWING_PREFIX = "EnlData"
_SCAN_PREFIX = "Data"
_OWN: DataKey = ("", "", "", 0)
"""Key of data that are in the group itself instead of in a channel."""
_MAX_SERIES_DIMENSIONS = 4
"""A time series cannot have more."""


# Data to which elements are appended.


class _GrowingSaver:
    """Base class that caches the extensible arrays and axes of each group."""

    _has_channels = True

    def __init__(
        self,
        h5saver: H5SaverLowLevel | str | Path,
        enl_axis_names: Sequence[str] = ("nav axis",),
        enl_axis_units: Sequence[str] = ("",),
    ) -> None:
        """Use an open saver, or open a file; names and units describe the extensible axes."""
        self.h5saver = open_saver(h5saver)
        self._names, self._units = tuple(enl_axis_names), tuple(enl_axis_units)
        self._arrays: dict[str, _GrowingArrays] = {}

    def _append(
        self, path: str, elements: Mapping[DataKey, DataWithAxes], axis_values: Any
    ) -> None:
        arrays = self._arrays.pop(path, None)
        if arrays is None or not arrays.is_open:
            arrays = _GrowingArrays(
                self.h5saver, path, self._names, self._units, has_channels=self._has_channels
            )
        arrays.append(elements, axis_values)
        # After an error, what the file contains is read again.
        self._arrays[path] = arrays


class DataEnlargeableSaver(_GrowingSaver):
    """Appends data, named ``EnlData00`` and so on, along extensible axes."""

    _has_channels = False

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append an element, and one of ``axis_values`` to each extensible axis.

        The first element determines names, shapes, dtypes, units, extra attributes and signal axes.
        Later elements are converted if this is exact, with a warning: to the dtype, to the unit
        (500 mV to 0.5 V), and to the order of the labels. A warning is issued if axes or extra
        attributes differ. If an error is raised, nothing is written.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError
            If number or shapes of arrays or errors differ from the first element, an axis does not
            fit its dimension, or the axes would not have a value for each element.
        UnitError
            If the unit cannot be converted.
        RecordingError
            If the dtype of the first element cannot hold the values exactly, or names or labels
            differ.

        """
        path = self.h5saver.get_node(where).path
        self._append(path, {_OWN: DataWithAxes.of(data)}, axis_values)


class DataToExportEnlargeableSaver(_GrowingSaver):
    """Appends data sets along extensible axes, which are stored in the group ``NavAxes``."""

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append each data of a data set to the channel with the same name and origin.

        Elements are checked and converted as by :meth:`DataEnlargeableSaver.add_data`. If an error
        is raised, nothing of the data set is written.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError, UnitError, RecordingError
            If names, origins, shapes, units, dtypes or labels differ from the first data set.

        """
        path = self.h5saver.get_node(where).path
        self._append(path, data_by_key(DataToExport.of(data)), axis_values)


class DataToExportTimedSaver:
    """Appends data sets with their times, as time series in the NWB file."""

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Use an open saver, or open the file at a path to add data to it."""
        self._saver = DataToExportEnlargeableSaver(h5saver, ("time",), ("s",))
        self.h5saver = self._saver.h5saver

    def add_data(self, where: str | Node, data: Any) -> None:
        """Append a data set at the time ``data.timestamp``, in seconds since 1970.

        Elements are checked and converted as by :meth:`DataEnlargeableSaver.add_data`. If an error
        is raised, nothing of the data set is written.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError, UnitError, RecordingError
            If names, origins, shapes, units, dtypes or labels differ from the first data set.

        """
        export = DataToExport.of(data)
        self._saver.add_data(where, export, (export.timestamp,))


class _GrowingArrays:
    """The arrays and axes of a group, or of its channels, that are extended together.

    If the only axis is ``time`` in s, the arrays are stored as time series. Otherwise, the times
    of the elements are stored in a separate array.
    """

    def __init__(
        self,
        saver: H5SaverLowLevel,
        path: str,
        names: tuple[str, ...],
        units: tuple[str, ...],
        *,
        has_channels: bool,
    ) -> None:
        self._saver, self._path, self._names, self._units = saver, path, names, units
        self._file, self._has_channels = saver.file, has_channels
        self._is_timed = (names, units) == (("time",), ("s",))
        self._channels = self._open_channels()
        self._axes = self._open_axes()
        self._timestamps = self._open_timestamps()

    @property
    def is_open(self) -> bool:
        return bool(self._file) and self._file is self._saver.file

    @cached_property
    def _reference_time(self) -> float:
        return reference_time(self._saver.file)

    def append(self, elements: Mapping[DataKey, DataWithAxes], axis_values: Any | None) -> None:
        """Append each data to its channel; invalid data raise before any write."""
        self._check_keys(elements)
        values = self._stored_axis_values(axis_values)
        stored, told = self._stored_elements(elements)
        with self._saver.all_or_nothing() as undo:
            # If data and axes share a group, create the extensible axes before the signal axes.
            if values and not self._axes and not self._has_channels:
                self._axes = self._create_axes(undo)
            for (key, data), arrays in zip(elements.items(), stored, strict=True):
                if key not in self._channels:
                    self._channels[key] = self._create_channel(undo, key, data)
                channel = self._channels[key]
                for dataset, array in zip(channel.datasets, arrays, strict=True):
                    undo.append(dataset, array)
                if channel.times is not None:
                    undo.append(channel.times, data.timestamp)
            if values and not self._axes:
                self._axes = self._create_axes(undo)
            for dataset, value in zip(self._axes, values, strict=True):
                undo.append(dataset, value)
            if self._timestamps is not None:
                undo.append(self._timestamps, values[0] - self._reference_time)
            self._saver.log_warnings(told)
        self._saver.bound_memory()

    # Checks.

    def _check_keys(self, elements: Mapping[DataKey, DataWithAxes]) -> None:
        if not elements or (self._channels and set(self._channels) != set(elements)):
            found, expected = (
                ", ".join(f"{origin}/{name} ({dim})" for dim, name, origin, _ in keys)
                for keys in (elements, self._channels)
            )
            msg = (
                f"the data set for {self._path} has {found or 'no data'}; expected "
                f"{expected or 'data'}, as in the first one"
            )
            raise ShapeMismatchError(msg)

    def _stored_elements(
        self, elements: Mapping[DataKey, DataWithAxes]
    ) -> tuple[list[list[NDArray[np.generic]]], list[str]]:
        """Return the stored values of each element, and warnings; raise if one does not fit."""
        stored, expected = [], []
        for key, data in elements.items():
            channel = self._channels.get(key)
            expected.append(channel.elements if channel else Elements.of(data, self._path))
            stored.append(expected[-1].stored(data))
        return stored, [text for found in expected for text in found.tell()]

    def _stored_axis_values(self, axis_values: Any | None) -> list[Any]:
        """Return a value for each axis; raise if an axis would have more or fewer than the data."""
        given = () if axis_values is None else axis_values
        given = [given] if np.ndim(given) == 0 else list(given)
        values = [_axis_value(item, self._path) for found in given for item in np.ravel(found)]
        if not values and (self._axes or self._is_timed):
            what = "the time" if self._is_timed else "a value for each of its axes"
            msg = f"no axis values for {self._path}; expected {what} of the element"
            raise ShapeMismatchError(msg)
        if values and len(values) != len(self._names):
            msg = (
                f"{len(values)} axis values for {self._path}; expected one for each of the "
                f"axes {', '.join(self._names)}"
            )
            raise ShapeMismatchError(msg)
        if self._is_timed and not isfinite(values[0]):
            msg = f"the time of the element for {self._path} is {values[0]}; expected seconds"
            raise RecordingError(msg)
        self._check_lengths(values)
        return values

    def _check_lengths(self, values: Sequence[Any]) -> None:
        lengths = {
            dataset.name.rpartition("/RawData")[2]: len(dataset)
            for channel in self._channels.values()
            for dataset in (*channel.datasets, channel.times)
            if dataset is not None
        }
        if values and (self._axes or lengths):
            lengths |= {str(axis.name): len(axis) for axis in self._axes}
            lengths |= {} if self._axes else {f"axes {', '.join(self._names)}": 0}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            msg = f"arrays and axes in {self._path} differ in length ({found}); expected one length"
            raise ShapeMismatchError(msg)

    # Open and create arrays and axes.

    def _open_channels(self) -> dict[DataKey, Channel]:
        nodes = {_OWN: self._saver.get_node(self._path)}
        if self._has_channels:
            nodes = channels_of(self._saver, self._path)
        return {
            key: open_channel(self._saver, node.path, _GROWING_PREFIX, 1)
            for key, node in nodes.items()
            if items_of(self._saver.h5(node), _GROWING_PREFIX)
        }

    def _open_axes(self) -> list[h5py.Dataset]:
        group = self._saver.h5(self._path)
        found = [
            item
            for item in (group.get(_NAV_AXES, {}) if self._has_channels else group).values()
            if find_type(item) == "Axis" and item.maxshape[0] is None and item.attrs["index"] == 0
        ]
        labels = [(axis.attrs.get("label", ""), axis.attrs.get("unit", "")) for axis in found]
        expected = [
            (clean_text(label) or "", clean_text(unit) or "")
            for label, unit in zip(self._names, self._units, strict=True)
        ]
        if found and labels != expected:
            msg = (
                f"the extensible axes of {self._path} are {_names(labels)}; expected these axes "
                f"instead of {_names(expected)}"
            )
            raise RecordingError(msg)
        return found

    def _open_timestamps(self) -> h5py.Dataset | None:
        for channel in self._channels.values():
            for dataset in channel.datasets:
                if self._is_timed and "timestamps" in dataset.parent:
                    return dataset.parent["timestamps"]
        return None

    def _create_axes(self, undo: Undo) -> list[h5py.Dataset]:
        path = self._path
        if self._has_channels:
            path = self._saver.add_group(_NAV_AXES, "", self._path).path
        group, axes = self._saver.h5(path), []
        for order, (label, unit) in enumerate(zip(self._names, self._units, strict=True)):
            name = f"Axis{next_number(group, 'Axis'):02d}"
            axis = ArrayAxis(name, np.zeros(0), label, unit, 0, order, grows=True)
            undo.adds(group, name)
            axes.append(create_axis(group, axis, (0,), np.dtype(float)))
        return axes

    def _create_channel(self, undo: Undo, key: DataKey, data: DataWithAxes) -> Channel:
        path = self._path if key == _OWN else ensure_channel(self._saver, self._path, key).path
        group = self._saver.h5(path)
        nav = (0, *(index + 1 for index in data.nav_indexes))
        for array, dtype in describe_arrays(data, _GROWING_PREFIX):
            growing = replace(array, nav_indexes=nav, distribution="spread", grows=True)
            check_free(group, array.name)
            undo.adds(group, array.name)
            self._create_array(group, growing, (0, *element_shape(data)), dtype)
        if not self._is_timed:
            check_free(group, TIMES)
            undo.adds(group, TIMES)
            create_array(group, describe_times(grows=True), (0,), np.dtype(float))
        for axis in data.axes:
            AxisSaverLoader(self._saver).add_axis(path, axis.moved(1))
        return open_channel(self._saver, path, _GROWING_PREFIX, 1)

    def _create_array(
        self,
        group: h5py.Group,
        array: ArrayWithAxes,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
    ) -> None:
        is_series = dtype.kind in "iuf" and len(shape) <= _MAX_SERIES_DIMENSIONS
        if not (self._is_timed and is_series):
            create_array(group, array, shape, dtype, self._saver.how)
            return
        series = create_series(group, array, shape, dtype, self._saver.how)
        if self._timestamps is not None:
            series["timestamps"] = h5py.SoftLink(self._timestamps.name)
            return
        times = series.create_dataset("timestamps", (0,), "f8", maxshape=(None,), chunks=(4096,))
        times.attrs["interval"], times.attrs["unit"] = np.int32(1), "seconds"
        self._timestamps = times


def _axis_value(value: Any, path: str) -> Any:
    return stored_values(value, f"an axis value for {path}", np.dtype(float))[()]


def _names(axes: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{label!r} in {unit or 'no unit'}" for label, unit in axes)


# Data at the points of a scan.


class DataExtendedSaver:
    """Saves data at the points of a scan of known shape, named ``Data00`` and so on."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Use an open saver, or open a file, for a scan of shape ``extended_shape``."""
        self.h5saver = open_saver(h5saver)
        self.extended_shape = tuple(int(length) for length in extended_shape)
        self._channels: dict[str, Channel] = {}

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save an element and its time at the point ``indexes``.

        Elements are checked and converted as by :meth:`DataEnlargeableSaver.add_data`. If an error
        is raised, nothing is written. At points that were not measured, times and floating-point
        values are NaN, integers 0.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        IndexError
            If ``indexes`` is outside the shape of the scan.
        ShapeMismatchError, UnitError, RecordingError
            If the scan of the file has another shape, or the element does not match the first one.

        """
        path = self.h5saver.get_node(where).path
        self.add_elements([(path, DataWithAxes.of(data), lambda: path)], indexes, distribution)

    def add_elements(
        self,
        elements: Iterable[tuple[str | None, DataWithAxes, Callable[[], str]]],
        indexes: Sequence[int],
        distribution: Any,
    ) -> None:
        """Save elements at a point: all, or none if one of them raises.

        Each has the path of its channel, or None and a function that creates the channel.
        """
        point, name = self._point(indexes), name_of(distribution)
        checked, found = [], []
        try:
            for path, data, create in elements:
                channel = None if path is None else self._channel(path)
                expected = channel.elements if channel else Elements.of(data, path or "a channel")
                found.append(expected)
                checked.append((channel, data, create, expected.stored(data)))
            told = [text for expected in found for text in expected.tell()]
            with self.h5saver.all_or_nothing() as undo:
                for opened, data, create, stored in checked:
                    channel = opened or self._create_channel(undo, create(), data, name)
                    for dataset, values in zip(channel.datasets, stored, strict=True):
                        undo.assign(dataset, point, values)
                    if channel.times is not None:
                        undo.assign(channel.times, point, data.timestamp)
                self.h5saver.log_warnings(told)
        except BaseException:
            # What was added is undone, so what the file contains is read again.
            self._channels.clear()
            raise
        self.h5saver.bound_memory()

    def _point(self, indexes: Sequence[int]) -> tuple[int, ...]:
        given, shape = np.ravel(np.asarray(indexes)), self.extended_shape
        point = tuple(int(index) for index in given)
        if (
            list(point) != given.tolist()
            or len(point) != len(shape)
            or not all(0 <= index < length for index, length in zip(point, shape, strict=True))
        ):
            msg = f"no point {tuple(given.tolist())} in a scan of shape {shape}"
            raise IndexError(msg)
        return point

    def _channel(self, path: str) -> Channel | None:
        found = self._channels.get(path)
        if found is not None and found.datasets[0]:
            return found
        if not items_of(self.h5saver.h5(path), _SCAN_PREFIX):
            return None
        channel = open_channel(self.h5saver, path, _SCAN_PREFIX, len(self.extended_shape))
        for dataset in channel.datasets:
            if dataset.shape[: len(self.extended_shape)] != self.extended_shape:
                msg = (
                    f"{path} has data of shape {dataset.shape}; expected a scan of shape "
                    f"{self.extended_shape}"
                )
                raise ShapeMismatchError(msg)
        self._channels[path] = channel
        return channel

    def _create_channel(
        self, undo: Undo, path: str, data: DataWithAxes, distribution: str
    ) -> Channel:
        group, n_nav = self.h5saver.h5(path), len(self.extended_shape)
        nav = (*range(n_nav), *(index + n_nav for index in data.nav_indexes))
        shape = (*self.extended_shape, *element_shape(data))
        how = replace(self.h5saver.how, points=n_nav)
        for array, dtype in describe_arrays(data, _SCAN_PREFIX):
            described = replace(array, nav_indexes=nav, distribution=distribution)
            fill = np.nan if dtype.kind in "fc" else None
            check_free(group, array.name)
            undo.adds(group, array.name)
            create_array(group, described, shape, dtype, how, fill)
        times = replace(describe_times(grows=False), nav_indexes=tuple(range(n_nav)))
        check_free(group, TIMES)
        undo.adds(group, TIMES)
        create_array(group, times, self.extended_shape, np.dtype(float), fill=np.nan)
        for axis in data.axes:
            AxisSaverLoader(self.h5saver).add_axis(path, axis.moved(n_nav))
        self._channels[path] = open_channel(self.h5saver, path, _SCAN_PREFIX, n_nav)
        return self._channels[path]


class DataToExportExtendedSaver:
    """Saves data sets at the points of a scan, with its navigation axes in ``NavAxes``."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Use an open saver, or open a file, for a scan of shape ``extended_shape``."""
        self._data = DataExtendedSaver(h5saver, extended_shape)
        self.h5saver = self._data.h5saver
        self._file: h5py.File | None = None
        self._paths: dict[str, dict[DataKey, str]] = {}

    def add_nav_axes(self, where: str | Node, axes: Iterable[Any]) -> None:
        """Save the navigation axes, unless the group already has them.

        Raises
        ------
        ShapeMismatchError
            If an axis does not have a value for each point of the scan along its dimension.
        RecordingError
            If the group has other navigation axes.

        """
        parent, shape = self.h5saver.get_node(where).path, self._data.extended_shape
        own = [Axis.of(axis) for axis in axes]
        for axis in own:
            stored_axis(axis)
            if axis.index >= len(shape) or axis.size != shape[axis.index]:
                msg = (
                    f"navigation axis {axis.label!r} has {axis.size} values for dimension "
                    f"{axis.index} of a scan of shape {shape}; expected one for each point"
                )
                raise ShapeMismatchError(msg)
        if _NAV_AXES in self.h5saver.h5(parent):
            saved = AxisSaverLoader(self.h5saver).get_axes(f"{parent}/{_NAV_AXES}")
            if saved and saved != own:
                msg = f"{parent}/{_NAV_AXES} has the axes {saved}; expected them instead of {own}"
                raise RecordingError(msg)
            if saved:
                return
        with self.h5saver.all_or_nothing():
            group = self.h5saver.add_group(_NAV_AXES, "", parent)
            for axis in own:
                AxisSaverLoader(self.h5saver).add_axis(group, axis)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save each data of a data set at a point, in the channel with the same name and origin.

        Elements are checked and converted as by :meth:`DataEnlargeableSaver.add_data`. If an error
        is raised, nothing of the data set is written.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        IndexError
            If ``indexes`` is outside the shape of the scan.
        ShapeMismatchError, UnitError, RecordingError
            If the data do not match those of the first point.

        """
        parent, by_key = path_of(where), data_by_key(DataToExport.of(data))
        paths = self._paths.pop(parent, {})
        if not paths or set(paths) != set(by_key) or self._file is not self.h5saver.file:
            self._file = self.h5saver.file
            paths = {key: node.path for key, node in channels_of(self.h5saver, parent).items()}

        def create(key: DataKey) -> Callable[[], str]:
            return lambda: ensure_channel(self.h5saver, parent, key).path

        elements = [(paths.get(key), own, create(key)) for key, own in by_key.items()]
        self._data.add_elements(elements, indexes, distribution)
        # After an error, the channels are looked up again.
        self._paths[parent] = {key: path for key, path in paths.items() if key in by_key}
