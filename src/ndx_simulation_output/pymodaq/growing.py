"""Arrays and axes that grow together, an element at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import h5py
import numpy as np

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.channels import (
    Channel,
    channel_from,
    elements_of,
    existing,
    shape_of,
    times_array,
)
from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import append
from ndx_simulation_output.pymodaq.numbering import next_number
from ndx_simulation_output.pymodaq.savers import AxisSaverLoader
from ndx_simulation_output.recording import ExportArray, ExportAxis

__all__ = ["Grown"]

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
        from ndx_simulation_output.nwb.exports_writing import reference_time

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
        from ndx_simulation_output.nwb.exports import create_array

        nav = (0, *(index + 1 for index in data.nav_indexes))
        for array, dtype in elements_of(data, _DATA):
            grown = replace(array, nav_indexes=nav, distribution="spread", grows=True)
            self._create(group, grown, (0, *shape_of(data)), dtype, place)
        if not self._timed:
            create_array(group, times_array(grows=True), (0,), np.dtype(float))

    def _create(
        self,
        group: h5py.Group,
        array: ExportArray,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        place: str,
    ) -> None:
        from ndx_simulation_output.nwb.exports import create_array, create_series

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
