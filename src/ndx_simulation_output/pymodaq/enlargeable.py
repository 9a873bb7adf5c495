"""Save data that come one after the other, their number not known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.channels import NAV_AXES, Key, keyed
from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.growing import Grown
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.pymodaq.savers import channel_of, saver_of
from ndx_simulation_output.pymodaq.sets import DataToExport

__all__ = ["DataEnlargeableSaver", "DataToExportEnlargeableSaver", "DataToExportTimedSaver"]


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
