"""Save data that come one after the other: their number not known, or at points of a scan.

A compressed chunk that is written again may get another place, and the place it had goes to other
data before the file knows. So that a crash harms nothing that was flushed, a file is flushed when
compressed chunks are full, and a scan has none that hold several points.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.data import Axis, DataDim, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel, Node
from ndx_simulation_output.pymodaq.savers import (
    AxisSaverLoader,
    channel_of,
    described,
    next_number,
    saver_of,
)
from ndx_simulation_output.recording import ExportArray, ExportAxis

__all__ = [
    "DataEnlargeableSaver",
    "DataExtendedSaver",
    "DataToExportEnlargeableSaver",
    "DataToExportExtendedSaver",
    "DataToExportTimedSaver",
]

_NAV_AXES = "NavAxes"
_MOST_DIMENSIONS = 4
_GROWING, _FIXED, _ERRORS = "EnlData", "Data", "ErrorBar"


@dataclass(frozen=True)
class _Channel:
    """The arrays of a group that elements go into: data, then errors."""

    path: str
    datasets: tuple[h5py.Dataset, ...]
    shape: tuple[int, ...]
    n_data: int

    def stored(self, data: DataWithAxes) -> list[NDArray[Any]]:
        """Give the values of an element, refused if they do not fit."""
        arrays = [*data.data, *(data.errors or ())]
        found = len(data.data), len(arrays), _shape(data)
        expected = self.n_data, len(self.datasets), self.shape
        if found != expected:
            msg = (
                f"{data.name!r} has {found[0]} arrays and {found[1] - found[0]} errors of shape "
                f"{found[2]}; expected {expected[0]} and {expected[1] - expected[0]} of shape "
                f"{expected[2]}, as the first of {self.path} had"
            )
            raise ShapeMismatchError(msg)
        from ndx_simulation_output.nwb.exports import as_stored, encoded

        made = []
        for values in arrays:
            dtype, added, _ = encoded(values.dtype, self.path)
            made.append(as_stored(values.reshape(self.shape), dtype, added))
        return made


class _Grown:
    """Arrays and axes below a place that have a first dimension in common, which grows."""

    def __init__(self, saver: H5SaverLowLevel, names: Sequence[str], units: Sequence[str]) -> None:
        self._saver, self._names, self._units = saver, tuple(names), tuple(units)
        self._timed = self._names == ("time",) and self._units == ("s",)
        self._channels: dict[str, _Channel] = {}
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
        """Append an element to each channel, and the ``values`` of the growing axes."""
        from ndx_simulation_output.nwb.exports_writing import reference_time

        values = () if values is None else tuple(np.ravel(np.asarray(values)).tolist())
        if len(values) not in {0, len(self._names)}:
            msg = f"{len(values)} values for the axes {', '.join(self._names)}; expected one each"
            raise ShapeMismatchError(msg)
        for data, path in elements:
            # The growing axes come before those of the signal.
            if path not in self._channels and values and place == path:
                self._grow_axes(place, axes_group, ())
            self._channels.setdefault(path, self._channel(data, path, place))
        stored = [self._channels[path].stored(data) for data, path in elements]
        full = False
        for (_, path), arrays in zip(elements, stored, strict=True):
            for dataset, array in zip(self._channels[path].datasets, arrays, strict=True):
                full |= _append(dataset, array)
        if values:
            self._grow_axes(place, axes_group, values)
        if place in self._timestamps:
            if self._reference is None:
                self._reference = reference_time(self._saver.file)
            _append(self._timestamps[place], values[0] - self._reference)
        if full:
            self._saver.flush()

    def _grow_axes(
        self, place: str, axes_group: Callable[[], h5py.Group], values: Sequence[float]
    ) -> None:
        if place not in self._axes:
            self._axes[place] = self._own_axes(axes_group())
        for dataset, value in zip(self._axes[place], values, strict=False):
            _append(dataset, value)

    def _own_axes(self, group: h5py.Group) -> list[h5py.Dataset]:
        from ndx_simulation_output.nwb.exports import create_axis
        from ndx_simulation_output.nwb.exports_reading import kind_of

        found = [
            item
            for item in group.values()
            if kind_of(item) == "Axis" and item.maxshape[0] is None and item.attrs["index"] == 0
        ]
        if found:
            return found
        made = []
        for order, (label, unit) in enumerate(zip(self._names, self._units, strict=True)):
            name = f"Axis{next_number(group, 'Axis'):02d}"
            axis = ExportAxis(name, np.zeros(0), label, unit, 0, order, grows=True)
            made.append(create_axis(group, axis, (0,), np.dtype(float)))
        return made

    def _channel(self, data: DataWithAxes, path: str, place: str) -> _Channel:
        if path in self._channels:
            return self._channels[path]
        group = self._saver.h5(path)
        found = _existing(group, _GROWING), _existing(group, _ERRORS)
        if not found[0]:
            shape = _shape(data)
            found = self._made(group, data, shape, place)
            axes = AxisSaverLoader(self._saver)
            for axis in data.axes:
                axes.add_axis(path, Axis(axis.label, axis.units, axis.data, axis.index + 1))
        elif self._timed and place not in self._timestamps:
            series = self._saver.h5(f"{path}/{_GROWING}00")
            if isinstance(series, h5py.Group) and "timestamps" in series:
                self._timestamps[place] = series["timestamps"]
        return _Channel(path, (*found[0], *found[1]), _shape(data), len(found[0]))

    def _made(
        self, group: h5py.Group, data: DataWithAxes, shape: tuple[int, ...], place: str
    ) -> tuple[list[h5py.Dataset], list[h5py.Dataset]]:
        made: list[list[h5py.Dataset]] = []
        for prefix, role, arrays in (
            (_GROWING, "data", data.data),
            (_ERRORS, "error", data.errors or []),
        ):
            datasets = []
            for number, values in enumerate(arrays):
                array = replace(
                    described(data, f"{prefix}{number:02d}", number, role),
                    nav_indexes=(0, *(index + 1 for index in data.nav_indexes)),
                    distribution="spread",
                    grows=True,
                )
                datasets.append(self._create(group, array, shape, values.dtype, place))
            made.append(datasets)
        return made[0], made[1]

    def _create(
        self,
        group: h5py.Group,
        array: ExportArray,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        place: str,
    ) -> h5py.Dataset:
        from ndx_simulation_output.nwb.exports import create_array, create_series

        shape = (0, *shape)
        if not (self._timed and dtype.kind in "iuf" and len(shape) <= _MOST_DIMENSIONS):
            return create_array(group, array, shape, dtype, self._saver.how)
        series = create_series(group, array, shape, dtype, self._saver.how)
        if place in self._timestamps:
            series["timestamps"] = h5py.SoftLink(self._timestamps[place].name)
        else:
            times = series.create_dataset(
                "timestamps", (0,), "f8", maxshape=(None,), chunks=(4096,)
            )
            times.attrs["interval"], times.attrs["unit"] = np.int32(1), "seconds"
            self._timestamps[place] = times
        return series["data"]


class DataEnlargeableSaver:
    """Saves data one after the other, as ``EnlData00`` and so on, with axes that grow with them."""

    def __init__(
        self,
        h5saver: H5SaverLowLevel | str | Path,
        enl_axis_names: Sequence[str] = ("nav axis",),
        enl_axis_units: Sequence[str] = ("",),
    ) -> None:
        """Take an object with an open file, and the growing axes by label and unit."""
        self.h5saver = saver_of(h5saver)
        self._grown = _Grown(self.h5saver, enl_axis_names, enl_axis_units)

    def add_data(
        self, where: str | Node, data: Any, axis_values: Sequence[float] | None = None
    ) -> None:
        """Append an element, and a value of each growing axis.

        The first decides on shapes, types, units, extra attributes and the axes of the signal.

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


class DataToExportEnlargeableSaver:
    """Saves sets of data one after the other; their growing axes lie in ``NavAxes``."""

    def __init__(
        self,
        h5saver: H5SaverLowLevel | str | Path,
        enl_axis_names: Sequence[str] = ("nav axis",),
        enl_axis_units: Sequence[str] = ("",),
    ) -> None:
        """Take an object with an open file, and the growing axes by label and unit."""
        self.h5saver = saver_of(h5saver)
        self._grown = _Grown(self.h5saver, enl_axis_names, enl_axis_units)
        self._paths: dict[str, dict[tuple[str, str, str, int], str]] = {}

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
        keyed = _keyed(DataToExport.of(data))
        if place not in self._paths:
            self._paths[place] = {
                key: channel_of(self.h5saver, place, light, key[3]).path
                for key, light in keyed.items()
            }
        paths = self._paths[place]
        if set(paths) != set(keyed):
            found, expected = ([f"{key[2]}/{key[1]}" for key in keys] for keys in (keyed, paths))
            msg = f"{place} is given {', '.join(found)}; expected {', '.join(expected)}, as before"
            raise ShapeMismatchError(msg)
        elements = [(light, paths[key]) for key, light in keyed.items()]

        def axes_group() -> h5py.Group:
            return self.h5saver.h5(self.h5saver.add_group(_NAV_AXES, "", place))

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


class DataExtendedSaver:
    """Saves data at the points of a scan, whose shape is known: ``Data00`` and so on."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Take an object with an open file, and the shape of the scan."""
        self.h5saver = saver_of(h5saver)
        self.extended_shape = tuple(int(length) for length in extended_shape)
        self._channels: dict[str, _Channel] = {}

    def add_data(
        self,
        where: str | Node,
        data: Any,
        indexes: Sequence[int],
        distribution: Any = "uniform",
    ) -> None:
        """Save an element at a point. Floating-point values of other points are NaN, others 0.

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

    def _channel(self, data: DataWithAxes, path: str, distribution: Any) -> _Channel:
        from ndx_simulation_output.nwb.exports import create_array

        group, shape = self.h5saver.h5(path), _shape(data)
        found = _existing(group, _FIXED), _existing(group, _ERRORS)
        if not found[0]:
            n_nav = len(self.extended_shape)
            nav = (*range(n_nav), *(index + n_nav for index in data.nav_indexes))
            stored = replace(self.h5saver.how, points=n_nav)
            how = getattr(distribution, "name", distribution)
            for made, prefix, role, arrays in (
                (found[0], _FIXED, "data", data.data),
                (found[1], _ERRORS, "error", data.errors or []),
            ):
                for number, values in enumerate(arrays):
                    array = described(data, f"{prefix}{number:02d}", number, role)
                    array = replace(array, nav_indexes=nav, distribution=how)
                    whole = (*self.extended_shape, *shape)
                    fill = np.nan if values.dtype.kind in "fc" else None
                    made.append(create_array(group, array, whole, values.dtype, stored, fill))
            for axis in data.axes:
                moved = Axis(axis.label, axis.units, axis.data, axis.index + n_nav)
                AxisSaverLoader(self.h5saver).add_axis(path, moved)
        return _Channel(path, (*found[0], *found[1]), shape, len(found[0]))


class DataToExportExtendedSaver:
    """Saves sets of data at the points of a scan; its navigation axes lie in ``NavAxes``."""

    def __init__(
        self, h5saver: H5SaverLowLevel | str | Path, extended_shape: Iterable[int]
    ) -> None:
        """Take an object with an open file, and the shape of the scan."""
        self._data = DataExtendedSaver(h5saver, extended_shape)
        self.h5saver = self._data.h5saver
        self._paths: dict[tuple[str, tuple[str, str, str, int]], str] = {}

    def add_nav_axes(self, where: str | Node, axes: Iterable[Any]) -> None:
        """Save the navigation axes, once.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        place = self.h5saver.add_group(_NAV_AXES, "", where)
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
        for key, light in _keyed(DataToExport.of(data)).items():
            if (place, key) not in self._paths:
                channel = channel_of(self.h5saver, place, light, key[3])
                self._paths[place, key] = channel.path
            self._data.add_data(self._paths[place, key], light, indexes, distribution)


def _keyed(export: DataToExport) -> dict[tuple[str, str, str, int], DataWithAxes]:
    """Give data by dimension, name, origin, and which of those that are equal in these."""
    found: dict[tuple[str, str, str, int], DataWithAxes] = {}
    for light in export:
        which = 0
        while (light.dim.name, light.name, light.origin, which) in found:
            which += 1
        found[light.dim.name, light.name, light.origin, which] = light
    return found


def _shape(data: DataWithAxes) -> tuple[int, ...]:
    """Shape of an element: single values have none."""
    return () if data.dim == DataDim.Data0D and prod(data.shape) == 1 else data.shape


def _existing(group: h5py.Group, prefix: str) -> list[h5py.Dataset]:
    from ndx_simulation_output.nwb.exports_reading import values_of

    return [
        values_of(group[f"{prefix}{number:02d}"]) for number in range(next_number(group, prefix))
    ]


def _append(dataset: h5py.Dataset, values: Any) -> bool:
    """Append values; tell whether that fills a chunk that is compressed."""
    length = dataset.shape[0]
    dataset.resize(length + 1, axis=0)
    dataset[length] = values
    return dataset.compression is not None and (length + 1) % dataset.chunks[0] == 0
