"""Save data that grow, and data at the points of a scan."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputWarning
from ndx_simulation_output.pymodaq.data import Axis, DataDim, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import Node, append, next_number, numbers_of
from ndx_simulation_output.pymodaq.savers import AxisSaverLoader, channel_of, described, saver_of
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes

# The arrays of a group that elements go into, one after the other or point by point.

NAV_AXES = "NavAxes"
ERRORS = "ErrorBar"
TIMES = "Times00"
"""Array of when each element was taken."""

Key = tuple[str, str, str, int]
"""Dimension, name and origin of data, and which of those that are equal in these."""


@dataclass(frozen=True)
class Channel:
    """The arrays of a group that elements go into, data, then errors, and ``times`` if it has any.

    ``shape`` and ``axes`` are those of an element.
    """

    path: str
    datasets: tuple[h5py.Dataset, ...]
    shape: tuple[int, ...]
    n_data: int
    times: h5py.Dataset | None
    axes: tuple[Axis, ...]

    def stored(self, data: DataWithAxes) -> list[NDArray[np.generic]]:
        """Give the values of an element as they are stored.

        Raises
        ------
        ShapeMismatchError
            If they do not fit the first element.

        """
        from ndx_simulation_output.nwb.arrays_hdf5 import as_stored, encoded

        arrays = [*data.data, *(data.errors or ())]
        found = len(data.data), len(arrays), shape_of(data)
        expected = self.n_data, len(self.datasets), self.shape
        if found != expected:
            msg = (
                f"{data.name!r} has {found[0]} arrays and {found[1] - found[0]} errors of shape "
                f"{found[2]}; expected {expected[0]} and {expected[1] - expected[0]} of shape "
                f"{expected[2]}, as the first of {self.path} had"
            )
            raise ShapeMismatchError(msg)
        self._warn_of_other_axes(data)
        made = []
        for values in arrays:
            dtype, added, _ = encoded(values.dtype, self.path)
            made.append(as_stored(values.reshape(self.shape), dtype, added))
        return made

    def _warn_of_other_axes(self, data: DataWithAxes) -> None:
        for axis in data.axes:
            alike = [own for own in self.axes if own.index == axis.index]
            if alike and not any(np.array_equal(own.data, axis.data) for own in alike):
                msg = (
                    f"axis {axis.label!r} of {data.name!r} is not that of the first element of "
                    f"{self.path}, which is kept alone; save one that changes as data of its own"
                )
                warnings.warn(msg, SimulationOutputWarning, stacklevel=5)


def shape_of(data: DataWithAxes) -> tuple[int, ...]:
    """Shape of an element: single values have none."""
    return () if data.dim == DataDim.Data0D and prod(data.shape) == 1 else data.shape


def elements_of(
    data: DataWithAxes, prefix: str
) -> Iterator[tuple[ArrayWithAxes, np.dtype[np.generic]]]:
    """Describe the arrays that are to hold data of this kind, then their errors, with the types."""
    for start, role, arrays in ((prefix, "data", data.data), (ERRORS, "error", data.errors or ())):
        for number, values in enumerate(arrays):
            yield described(data, f"{start}{number:02d}", number, role), values.dtype


def times_array(*, grows: bool) -> ArrayWithAxes:
    """Describe the array of when each element was taken."""
    return ArrayWithAxes(
        TIMES, np.zeros(0), role="times", label="time of each element", unit="s", grows=grows
    )


def existing(group: h5py.Group, prefix: str) -> list[h5py.Dataset]:
    """Give the datasets of a prefix in a group, by their numbers."""
    from ndx_simulation_output.nwb.arrays_reading import data_of

    return [data_of(group[f"{prefix}{n:02d}"]) for n in sorted(numbers_of(group, prefix))]


def channel_from(
    saver: H5SaverLowLevel, path: str, prefix: str, data: DataWithAxes, n_before: int
) -> Channel:
    """Give the channel of a group that has arrays of a prefix, for elements such as ``data``.

    The arrays have ``n_before`` dimensions before those of an element.
    """
    group = saver.h5(path)
    found = existing(group, prefix)
    datasets = (*found, *existing(group, ERRORS))
    saved = AxisSaverLoader(saver).get_axes(path)
    axes = tuple(axis.moved(-n_before) for axis in saved if axis.index >= n_before)
    return Channel(path, datasets, shape_of(data), len(found), group.get(TIMES), axes)


def keyed(export: DataToExport) -> dict[Key, DataWithAxes]:
    """Give the data of a set by what tells them apart."""
    found: dict[Key, DataWithAxes] = {}
    for light in export:
        which = 0
        while (light.dim.name, light.name, light.origin, which) in found:
            which += 1
        found[light.dim.name, light.name, light.origin, which] = light
    return found


# Arrays and axes that grow together, an element at a time.

_DATA = "EnlData"
_MOST_DIMENSIONS = 4
"""A time series has no more."""


class Grown:
    """Arrays and axes below a place that have a first dimension in common, which grows.

    The axes are given by label and unit. Where the only one is of time (s), the arrays are time
    series; else the time of each element is beside them.
    """

    def __init__(self, saver: H5SaverLowLevel, names: Sequence[str], units: Sequence[str]) -> None:
        self._saver, self._names, self._units = saver, tuple(names), tuple(units)
        self._timed = self._names == ("time",) and self._units == ("s",)
        self._channels: dict[str, Channel] = {}
        self._axes: dict[str, list[h5py.Dataset]] = {}
        self._timestamps: dict[str, h5py.Dataset] = {}
        self._reference: float | None = None

    def append(
        self,
        elements: Sequence[tuple[DataWithAxes, str]],
        place: str,
        axes_group: Callable[[], h5py.Group],
        values: Sequence[float] | None,
    ) -> None:
        """Append an element to each channel, and the ``values`` of the growing axes.

        Raises
        ------
        ShapeMismatchError
            If they do not fit; nothing is then written.

        """
        values = () if values is None else tuple(np.ravel(np.asarray(values)).tolist())
        if len(values) not in {0, len(self._names)}:
            msg = f"{len(values)} values for the axes {', '.join(self._names)}; expected one each"
            raise ShapeMismatchError(msg)
        channels = []
        for data, path in elements:
            # The growing axes come before those of the signal.
            if path not in self._channels and values and place == path:
                self._grow_axes(place, axes_group, ())
            channels.append(self._channel(data, path, place))
        stored = [
            channel.stored(data) for channel, (data, _) in zip(channels, elements, strict=True)
        ]
        for channel, arrays, (data, _) in zip(channels, stored, elements, strict=True):
            for dataset, array in zip(channel.datasets, arrays, strict=True):
                append(dataset, array)
            if channel.times is not None:
                append(channel.times, data.timestamp)
        if values:
            self._grow_axes(place, axes_group, values)
        if place in self._timestamps:
            append(self._timestamps[place], values[0] - self._start())
        self._saver.bound_memory()

    def _start(self) -> float:
        """When the time of the file is 0, in seconds since 1970."""
        from ndx_simulation_output.nwb.arrays_hdf5 import reference_time

        if self._reference is None:
            self._reference = reference_time(self._saver.file)
        return self._reference

    def _grow_axes(
        self, place: str, axes_group: Callable[[], h5py.Group], values: Sequence[float]
    ) -> None:
        if place not in self._axes:
            self._axes[place] = self._own_axes(axes_group())
        for dataset, value in zip(self._axes[place], values, strict=False):
            append(dataset, value)

    def _own_axes(self, group: h5py.Group) -> list[h5py.Dataset]:
        from ndx_simulation_output.nwb.arrays_hdf5 import create_axis
        from ndx_simulation_output.nwb.arrays_reading import find_type

        found = [
            item
            for item in group.values()
            if find_type(item) == "Axis" and item.maxshape[0] is None and item.attrs["index"] == 0
        ]
        if found:
            return found
        made = []
        for order, (label, unit) in enumerate(zip(self._names, self._units, strict=True)):
            name = f"Axis{next_number(group, 'Axis'):02d}"
            axis = ArrayAxis(name, np.zeros(0), label, unit, 0, order, grows=True)
            made.append(create_axis(group, axis, (0,), np.dtype(float)))
        return made

    def _channel(self, data: DataWithAxes, path: str, place: str) -> Channel:
        if path in self._channels:
            return self._channels[path]
        group = self._saver.h5(path)
        if not existing(group, _DATA):
            self._make(group, data, place)
            for axis in data.axes:
                AxisSaverLoader(self._saver).add_axis(path, axis.moved(1))
        elif self._timed and place not in self._timestamps:
            series = group[f"{_DATA}00"]
            if isinstance(series, h5py.Group) and "timestamps" in series:
                self._timestamps[place] = series["timestamps"]
        self._channels[path] = channel_from(self._saver, path, _DATA, data, 1)
        return self._channels[path]

    def _make(self, group: h5py.Group, data: DataWithAxes, place: str) -> None:
        from ndx_simulation_output.nwb.arrays_hdf5 import create_array

        nav = (0, *(index + 1 for index in data.nav_indexes))
        for array, dtype in elements_of(data, _DATA):
            grown = replace(array, nav_indexes=nav, distribution="spread", grows=True)
            self._create(group, grown, (0, *shape_of(data)), dtype, place)
        if not self._timed:
            create_array(group, times_array(grows=True), (0,), np.dtype(float))

    def _create(
        self,
        group: h5py.Group,
        array: ArrayWithAxes,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        place: str,
    ) -> None:
        from ndx_simulation_output.nwb.arrays_hdf5 import create_array, create_series

        if not (self._timed and dtype.kind in "iuf" and len(shape) <= _MOST_DIMENSIONS):
            create_array(group, array, shape, dtype, self._saver.how)
            return
        series = create_series(group, array, shape, dtype, self._saver.how)
        if place in self._timestamps:
            series["timestamps"] = h5py.SoftLink(self._timestamps[place].name)
            return
        times = series.create_dataset("timestamps", (0,), "f8", maxshape=(None,), chunks=(4096,))
        times.attrs["interval"], times.attrs["unit"] = np.int32(1), "seconds"
        self._timestamps[place] = times


# Save data that come one after the other, their number not known.


class _GrowingSaver:
    """Has arrays that grow in a file, with growing axes; ``_paths`` are those of channels."""

    def __init__(
        self,
        h5saver: H5SaverLowLevel | str | Path,
        enl_axis_names: Sequence[str] = ("nav axis",),
        enl_axis_units: Sequence[str] = ("",),
    ) -> None:
        """Take an object with an open file, and the growing axes by label and unit."""
        self.h5saver = saver_of(h5saver)
        self._grown = Grown(self.h5saver, enl_axis_names, enl_axis_units)
        self._paths: dict[str, dict[Key, str]] = {}


class DataEnlargeableSaver(_GrowingSaver):
    """Saves data one after the other, as ``EnlData00`` and so on, with axes that grow with them."""

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append an element, and a value of each growing axis.

        The first decides on shapes, types, units, extra attributes and the axes of the signal; a
        later one with other axes gets a warning.

        Raises
        ------
        KeyError
            If there is no such group.
        ShapeMismatchError
            If the element does not fit the first; nothing is then written.

        """
        path = self.h5saver.get_node(where).path
        light = DataWithAxes.of(data)
        self._grown.append([(light, path)], path, lambda: self.h5saver.h5(path), axis_values)


class DataToExportEnlargeableSaver(_GrowingSaver):
    """Saves sets of data one after the other; their growing axes lie in ``NavAxes``."""

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append a set of data, each to its channel by name and origin, and values of the axes.

        Raises
        ------
        KeyError
            If there is no such group.
        ShapeMismatchError
            If the set has not the data of the first, or they do not fit; nothing is then written.

        """
        place = where.path if isinstance(where, Node) else f"/{where.strip('/')}"
        data_by_key = keyed(DataToExport.of(data))
        if place not in self._paths:
            self._paths[place] = {
                key: channel_of(self.h5saver, place, light, key[3]).path
                for key, light in data_by_key.items()
            }
        paths = self._paths[place]
        if set(paths) != set(data_by_key):
            found, expected = (
                [f"{key[2]}/{key[1]}" for key in keys] for keys in (data_by_key, paths)
            )
            msg = f"{place} is given {', '.join(found)}; expected {', '.join(expected)}, as before"
            raise ShapeMismatchError(msg)
        elements = [(light, paths[key]) for key, light in data_by_key.items()]

        def axes_group() -> h5py.Group:
            return self.h5saver.h5(self.h5saver.add_group(NAV_AXES, "", place))

        self._grown.append(elements, place, axes_group, axis_values)


class DataToExportTimedSaver:
    """Saves sets of data with the time of each: they are time series for every NWB tool."""

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take an object with an open file."""
        self._saver = DataToExportEnlargeableSaver(h5saver, ("time",), ("s",))
        self.h5saver = self._saver.h5saver

    def add_data(self, where: str | Node, data: Any) -> None:
        """Append a set of data at its ``timestamp``, in seconds since 1970.

        Raises
        ------
        KeyError
            If there is no such group.
        ShapeMismatchError
            If the set has not the data of the first, or they do not fit; nothing is then written.

        """
        export = DataToExport.of(data)
        self._saver.add_data(where, export, (export.timestamp,))


# Save data at the points of a scan, whose shape is known.

_EXTENDED_DATA = "Data"


class DataExtendedSaver:
    """Saves data at the points of a scan, whose shape is known: ``Data00`` and so on."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Take an object with an open file, and the shape of the scan."""
        self.h5saver = saver_of(h5saver)
        self.extended_shape = tuple(int(length) for length in extended_shape)
        self._channels: dict[str, Channel] = {}

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save an element at a point, and when it was taken.

        The time of a point that was not reached is NaN. So are its values, if they can be; whole
        numbers are 0.

        Raises
        ------
        KeyError
            If there is no such group.
        IndexError
            If the scan has no such point.
        ShapeMismatchError
            If the element does not fit the first; nothing is then written.

        """
        point = tuple(int(index) for index in np.ravel(np.asarray(indexes)))
        within = all(0 <= at < size for at, size in zip(point, self.extended_shape, strict=False))
        if len(point) != len(self.extended_shape) or not within:
            msg = f"no point {point} in a scan of shape {self.extended_shape}"
            raise IndexError(msg)
        light, path = DataWithAxes.of(data), self.h5saver.get_node(where).path
        if path not in self._channels:
            self._channels[path] = self._channel(light, path, distribution)
        channel = self._channels[path]
        for dataset, values in zip(channel.datasets, channel.stored(light), strict=True):
            dataset[point] = values
        if channel.times is not None:
            channel.times[point] = light.timestamp
        self.h5saver.bound_memory()

    def _channel(self, data: DataWithAxes, path: str, distribution: Any) -> Channel:
        group = self.h5saver.h5(path)
        if not existing(group, _EXTENDED_DATA):
            self._make(group, data, str(getattr(distribution, "name", distribution)))
            for axis in data.axes:
                moved = axis.moved(len(self.extended_shape))
                AxisSaverLoader(self.h5saver).add_axis(path, moved)
        return channel_from(self.h5saver, path, _EXTENDED_DATA, data, len(self.extended_shape))

    def _make(self, group: h5py.Group, data: DataWithAxes, distribution: str) -> None:
        from ndx_simulation_output.nwb.arrays_hdf5 import create_array

        n_nav = len(self.extended_shape)
        nav = (*range(n_nav), *(index + n_nav for index in data.nav_indexes))
        whole = (*self.extended_shape, *shape_of(data))
        how = replace(self.h5saver.how, points=n_nav)
        for array, dtype in elements_of(data, _EXTENDED_DATA):
            described = replace(array, nav_indexes=nav, distribution=distribution)
            fill = np.nan if dtype.kind in "fc" else None
            create_array(group, described, whole, dtype, how, fill)
        times = replace(times_array(grows=False), nav_indexes=tuple(range(n_nav)))
        create_array(group, times, self.extended_shape, np.dtype(float), fill=np.nan)


class DataToExportExtendedSaver:
    """Saves sets of data at the points of a scan; its navigation axes lie in ``NavAxes``."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Take an object with an open file, and the shape of the scan."""
        self._data = DataExtendedSaver(h5saver, extended_shape)
        self.h5saver = self._data.h5saver
        self._paths: dict[tuple[str, Key], str] = {}

    def add_nav_axes(self, where: str | Node, axes: Iterable[Any]) -> None:
        """Save the navigation axes, once.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        place = self.h5saver.add_group(NAV_AXES, "", where)
        if not place.children():
            for axis in axes:
                AxisSaverLoader(self.h5saver).add_axis(place, axis)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save a set of data at a point, each in its channel by name and origin.

        Raises
        ------
        KeyError
            If there is no such group.
        IndexError
            If the scan has no such point.
        ShapeMismatchError
            If data do not fit those of the first point.

        """
        place = where.path if isinstance(where, Node) else f"/{where.strip('/')}"
        for key, light in keyed(DataToExport.of(data)).items():
            if (place, key) not in self._paths:
                channel = channel_of(self.h5saver, place, light, key[3])
                self._paths[place, key] = channel.path
            self._data.add_data(self._paths[place, key], light, indexes, distribution)
