"""Save data element by element, by appending or at the points of a scan."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputWarning
from ndx_simulation_output.nwb.arrays_hdf5 import (
    create_array,
    create_axis,
    create_series,
    reference_time,
)
from ndx_simulation_output.nwb.arrays_reading import data_of, find_type
from ndx_simulation_output.pymodaq.data import (
    Axis,
    DataDim,
    DataToExport,
    DataWithAxes,
    name_of,
)
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import (
    Node,
    append,
    next_number,
    numbers_of,
    path_of,
    stored_values,
)
from ndx_simulation_output.pymodaq.savers import (
    AxisSaverLoader,
    DataKey,
    data_by_key,
    describe_array,
    ensure_channel,
    open_saver,
)
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes

_NAV_AXES = "NavAxes"
_GROWING_PREFIX = "EnlData"
_SCAN_PREFIX = "Data"
_ERROR_PREFIX = "ErrorBar"
_TIMES = "Times00"
_MAX_SERIES_DIMENSIONS = 4
"""A time series cannot have more."""


# Data to which elements are appended.


class _GrowingSaver:
    """Base class that caches the extensible arrays and channel paths of each group."""

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
        self._paths: dict[str, dict[DataKey, str]] = {}

    def _append(
        self,
        path: str,
        elements: Sequence[tuple[DataWithAxes, str]],
        axis_values: Sequence[float] | None,
    ) -> None:
        if path not in self._arrays:
            self._arrays[path] = _GrowingArrays(self.h5saver, path, self._names, self._units)
        values = () if axis_values is None else tuple(np.ravel(np.asarray(axis_values)).tolist())
        self._arrays[path].append(elements, values)


class DataEnlargeableSaver(_GrowingSaver):
    """Appends data, named ``EnlData00`` and so on, along extensible axes."""

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append an element, and one of ``axis_values`` to each extensible axis.

        The first element determines the shapes, dtypes, units, extra attributes and signal axes.
        A warning is issued if the axes of a later element differ.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError
            If the element does not match the first one. Nothing is written in this case.

        """
        path = self.h5saver.get_node(where).path
        self._append(path, [(DataWithAxes.of(data), path)], axis_values)


class DataToExportEnlargeableSaver(_GrowingSaver):
    """Appends data sets along extensible axes, which are stored in the group ``NavAxes``."""

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append each data of a data set to the channel with the same name and origin.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError
            If names, origins or shapes differ from the first data set. Nothing is written then.

        """
        parent, by_key = path_of(where), data_by_key(DataToExport.of(data))
        if parent not in self._paths:
            self._paths[parent] = {
                key: ensure_channel(self.h5saver, parent, key).path for key in by_key
            }
        paths = self._paths[parent]
        if set(paths) != set(by_key):
            found, expected = (
                ", ".join(f"{origin}/{name}" for _, name, origin, _ in keys)
                for keys in (by_key, paths)
            )
            msg = f"the data set for {parent} has {found}; expected {expected}, as in the first one"
            raise ShapeMismatchError(msg)
        elements = [(own, paths[key]) for key, own in by_key.items()]
        self._append(parent, elements, axis_values)


class DataToExportTimedSaver:
    """Appends data sets with their times, as time series in the NWB file."""

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Use an open saver, or open the file at a path to add data to it."""
        self._saver = DataToExportEnlargeableSaver(h5saver, ("time",), ("s",))
        self.h5saver = self._saver.h5saver

    def add_data(self, where: str | Node, data: Any) -> None:
        """Append a data set at the time ``data.timestamp``, in seconds since 1970.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        ShapeMismatchError
            If names, origins or shapes differ from the first data set. Nothing is written then.

        """
        export = DataToExport.of(data)
        self._saver.add_data(where, export, (export.timestamp,))


class _GrowingArrays:
    """The arrays and axes of a group, or of its channels, that are extended together.

    If the only axis is ``time`` in s, the arrays are stored as time series. Otherwise, the times
    of the elements are stored in a separate array.
    """

    def __init__(
        self, saver: H5SaverLowLevel, path: str, names: tuple[str, ...], units: tuple[str, ...]
    ) -> None:
        self._saver, self._path, self._names, self._units = saver, path, names, units
        self._is_timed = (names, units) == (("time",), ("s",))
        self._channels: dict[str, _Channel] = {}
        self._axes: list[h5py.Dataset] | None = None
        self._timestamps: h5py.Dataset | None = None

    def append(
        self, elements: Sequence[tuple[DataWithAxes, str]], axis_values: tuple[float, ...]
    ) -> None:
        """Append each data to the channel at its path; invalid data raise before any write."""
        if len(axis_values) not in {0, len(self._names)}:
            msg = (
                f"{len(axis_values)} axis values for {self._path}; expected one for each of the "
                f"axes {', '.join(self._names)}"
            )
            raise ShapeMismatchError(msg)
        if axis_values and elements and elements[0][1] == self._path and not self._channels:
            # If data and axes share a group, create the extensible axes before the signal axes.
            self._axes = self._open_axes(self._saver.h5(self._path))
        channels = [self._channel(data, path) for data, path in elements]
        if self._timestamps is not None and not axis_values:
            msg = f"no axis values for {self._path}; expected the time of the element"
            raise ShapeMismatchError(msg)
        stored = [
            channel.stored(data) for channel, (data, _) in zip(channels, elements, strict=True)
        ]
        for channel, arrays, (data, _) in zip(channels, stored, elements, strict=True):
            for dataset, array in zip(channel.datasets, arrays, strict=True):
                append(dataset, array)
            if channel.times is not None:
                append(channel.times, data.timestamp)
        if axis_values:
            self._append_to_axes(axis_values)
        if self._timestamps is not None:
            append(self._timestamps, axis_values[0] - self._reference_time)
        self._saver.bound_memory()

    @cached_property
    def _reference_time(self) -> float:
        return reference_time(self._saver.file)

    def _append_to_axes(self, axis_values: tuple[float, ...]) -> None:
        if self._axes is None:
            in_own_group = self._path in self._channels
            group = self._path if in_own_group else self._saver.add_group(_NAV_AXES, "", self._path)
            self._axes = self._open_axes(self._saver.h5(group))
        for dataset, value in zip(self._axes, axis_values, strict=False):
            append(dataset, value)

    def _open_axes(self, group: h5py.Group) -> list[h5py.Dataset]:
        found = [
            item
            for item in group.values()
            if find_type(item) == "Axis" and item.maxshape[0] is None and item.attrs["index"] == 0
        ]
        if found:
            return found
        axes = []
        for order, (label, unit) in enumerate(zip(self._names, self._units, strict=True)):
            name = f"Axis{next_number(group, 'Axis'):02d}"
            axis = ArrayAxis(name, np.zeros(0), label, unit, 0, order, grows=True)
            axes.append(create_axis(group, axis, (0,), np.dtype(float)))
        return axes

    def _channel(self, data: DataWithAxes, path: str) -> "_Channel":
        if path not in self._channels:
            group = self._saver.h5(path)
            if not _datasets(group, _GROWING_PREFIX):
                self._create_arrays(group, data)
                for axis in data.axes:
                    AxisSaverLoader(self._saver).add_axis(path, axis.moved(1))
            elif self._is_timed and self._timestamps is None:
                series = group[f"{_GROWING_PREFIX}00"]
                if isinstance(series, h5py.Group) and "timestamps" in series:
                    self._timestamps = series["timestamps"]
            self._channels[path] = _open_channel(self._saver, path, _GROWING_PREFIX, data, 1)
        return self._channels[path]

    def _create_arrays(self, group: h5py.Group, data: DataWithAxes) -> None:
        nav = (0, *(index + 1 for index in data.nav_indexes))
        for array, dtype in _describe_arrays(data, _GROWING_PREFIX):
            growing = replace(array, nav_indexes=nav, distribution="spread", grows=True)
            self._create_array(group, growing, (0, *_element_shape(data)), dtype)
        if not self._is_timed:
            create_array(group, _describe_times(grows=True), (0,), np.dtype(float))

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


# Data at the points of a scan.


class DataExtendedSaver:
    """Saves data at the points of a scan of known shape, named ``Data00`` and so on."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Use an open saver, or open a file, for a scan of shape ``extended_shape``."""
        self.h5saver = open_saver(h5saver)
        self.extended_shape = tuple(int(length) for length in extended_shape)
        self._channels: dict[str, _Channel] = {}

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save an element and its time at the point ``indexes``.

        At points that were not measured, times and floating-point values are NaN, integers 0.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        IndexError
            If ``indexes`` is outside the shape of the scan.
        ShapeMismatchError
            If the element does not match the first one. Nothing is written in this case.

        """
        point = tuple(int(index) for index in np.ravel(np.asarray(indexes)))
        shape = self.extended_shape
        if len(point) != len(shape) or not all(
            0 <= index < length for index, length in zip(point, shape, strict=True)
        ):
            msg = f"no point {point} in a scan of shape {shape}"
            raise IndexError(msg)
        own, path = DataWithAxes.of(data), self.h5saver.get_node(where).path
        if path not in self._channels:
            self._channels[path] = self._channel(own, path, name_of(distribution))
        channel = self._channels[path]
        for dataset, values in zip(channel.datasets, channel.stored(own), strict=True):
            dataset[point] = values
        if channel.times is not None:
            channel.times[point] = own.timestamp
        self.h5saver.bound_memory()

    def _channel(self, data: DataWithAxes, path: str, distribution: str) -> "_Channel":
        group, n_nav = self.h5saver.h5(path), len(self.extended_shape)
        if not _datasets(group, _SCAN_PREFIX):
            self._create_arrays(group, data, distribution)
            for axis in data.axes:
                AxisSaverLoader(self.h5saver).add_axis(path, axis.moved(n_nav))
        return _open_channel(self.h5saver, path, _SCAN_PREFIX, data, n_nav)

    def _create_arrays(self, group: h5py.Group, data: DataWithAxes, distribution: str) -> None:
        n_nav = len(self.extended_shape)
        nav = (*range(n_nav), *(index + n_nav for index in data.nav_indexes))
        shape = (*self.extended_shape, *_element_shape(data))
        how = replace(self.h5saver.how, points=n_nav)
        for array, dtype in _describe_arrays(data, _SCAN_PREFIX):
            described = replace(array, nav_indexes=nav, distribution=distribution)
            fill = np.nan if dtype.kind in "fc" else None
            create_array(group, described, shape, dtype, how, fill)
        times = replace(_describe_times(grows=False), nav_indexes=tuple(range(n_nav)))
        create_array(group, times, self.extended_shape, np.dtype(float), fill=np.nan)


class DataToExportExtendedSaver:
    """Saves data sets at the points of a scan, with its navigation axes in ``NavAxes``."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Use an open saver, or open a file, for a scan of shape ``extended_shape``."""
        self._data = DataExtendedSaver(h5saver, extended_shape)
        self.h5saver = self._data.h5saver
        self._paths: dict[tuple[str, DataKey], str] = {}

    def add_nav_axes(self, where: str | Node, axes: Iterable[Any]) -> None:
        """Save the navigation axes, unless the group already has some."""
        group = self.h5saver.add_group(_NAV_AXES, "", where)
        if not group.children():
            for axis in axes:
                AxisSaverLoader(self.h5saver).add_axis(group, axis)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save each data of a data set at a point, in the channel with the same name and origin.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        IndexError
            If ``indexes`` is outside the shape of the scan.
        ShapeMismatchError
            If the data do not match those of the first point.

        """
        parent = path_of(where)
        for key, own in data_by_key(DataToExport.of(data)).items():
            if (parent, key) not in self._paths:
                self._paths[parent, key] = ensure_channel(self.h5saver, parent, key).path
            self._data.add_data(self._paths[parent, key], own, indexes, distribution)


# Channels: a channel is a group with the arrays of one kind of data.


@dataclass(frozen=True)
class _Channel:
    """The datasets for the data, errors and times of elements of ``shape`` with ``axes``."""

    path: str
    data: tuple[h5py.Dataset, ...]
    errors: tuple[h5py.Dataset, ...]
    times: h5py.Dataset | None
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]

    @property
    def datasets(self) -> tuple[h5py.Dataset, ...]:
        return (*self.data, *self.errors)

    def stored(self, data: DataWithAxes) -> list[NDArray[np.generic]]:
        """Return the values of an element, encoded for ``datasets``; raise if shapes differ."""
        errors = data.errors or ()
        found = len(data.data), len(errors), _element_shape(data)
        expected = len(self.data), len(self.errors), self.shape
        if found != expected:
            msg = (
                f"{data.name!r} has {found[0]} arrays and {found[1]} errors of shape {found[2]}; "
                f"expected {expected[0]} and {expected[1]} of shape {expected[2]}, as in the "
                f"first element of {self.path}"
            )
            raise ShapeMismatchError(msg)
        self._warn_of_other_axes(data)
        arrays = (*data.data, *errors)
        return [stored_values(values.reshape(self.shape), self.path) for values in arrays]

    def _warn_of_other_axes(self, data: DataWithAxes) -> None:
        for axis in data.axes:
            saved = [own for own in self.axes if own.index == axis.index]
            if saved and not any(np.array_equal(own.data, axis.data) for own in saved):
                msg = (
                    f"axis {axis.label!r} of {data.name!r} differs from that of the first element "
                    f"of {self.path} and is not saved; save an axis that changes as data"
                )
                warnings.warn(msg, SimulationOutputWarning, stacklevel=5)


def _open_channel(
    saver: H5SaverLowLevel, path: str, prefix: str, data: DataWithAxes, n_nav: int
) -> _Channel:
    """Open the arrays for elements such as ``data``, with ``n_nav`` leading dimensions."""
    group = saver.h5(path)
    saved = AxisSaverLoader(saver).get_axes(path)
    return _Channel(
        path,
        data=_datasets(group, prefix),
        errors=_datasets(group, _ERROR_PREFIX),
        times=group.get(_TIMES),
        shape=_element_shape(data),
        axes=tuple(axis.moved(-n_nav) for axis in saved if axis.index >= n_nav),
    )


def _datasets(group: h5py.Group, prefix: str) -> tuple[h5py.Dataset, ...]:
    numbers = sorted(numbers_of(group, prefix))
    return tuple(data_of(group[f"{prefix}{number:02d}"]) for number in numbers)


def _element_shape(data: DataWithAxes) -> tuple[int, ...]:
    """Return the shape of an element, which is () for single values."""
    return () if data.dim == DataDim.Data0D and prod(data.shape) == 1 else data.shape


def _describe_arrays(
    data: DataWithAxes, prefix: str
) -> Iterator[tuple[ArrayWithAxes, np.dtype[np.generic]]]:
    for start, role, arrays in (
        (prefix, "data", data.data),
        (_ERROR_PREFIX, "error", data.errors or ()),
    ):
        for number, values in enumerate(arrays):
            yield describe_array(data, f"{start}{number:02d}", number, role), values.dtype


def _describe_times(*, grows: bool) -> ArrayWithAxes:
    return ArrayWithAxes(
        _TIMES, np.zeros(0), role="times", label="time of each element", unit="s", grows=grows
    )
