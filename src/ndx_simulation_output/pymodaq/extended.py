"""Save data at the points of a scan, whose shape is known."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.pymodaq.channels import (
    NAV_AXES,
    Channel,
    Key,
    channel_from,
    elements_of,
    existing,
    keyed,
    shape_of,
    times_array,
)
from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.pymodaq.savers import AxisSaverLoader, channel_of, saver_of
from ndx_simulation_output.pymodaq.sets import DataToExport

__all__ = ["DataExtendedSaver", "DataToExportExtendedSaver"]

_DATA = "Data"


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
        if not existing(group, _DATA):
            self._make(group, data, str(getattr(distribution, "name", distribution)))
            for axis in data.axes:
                moved = axis.moved(len(self.extended_shape))
                AxisSaverLoader(self.h5saver).add_axis(path, moved)
        return channel_from(self.h5saver, path, _DATA, data, len(self.extended_shape))

    def _make(self, group: h5py.Group, data: DataWithAxes, distribution: str) -> None:
        from ndx_simulation_output.nwb.exports import create_array

        n_nav = len(self.extended_shape)
        nav = (*range(n_nav), *(index + n_nav for index in data.nav_indexes))
        whole = (*self.extended_shape, *shape_of(data))
        how = replace(self.h5saver.how, points=n_nav)
        for array, dtype in elements_of(data, _DATA):
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
