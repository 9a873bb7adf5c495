"""Save axes, data, backgrounds and sets of data of known shape."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.pymodaq.data import Axis, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.loaders import LoadsArrays, SavedTree, light_axis, path_of
from ndx_simulation_output.pymodaq.nodes import Node, next_number
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes
from ndx_simulation_output.recording.json_values import to_json

# Save data of known shape: axes, data, their backgrounds, and whole sets of data.

_DIMENSIONS = ("Data0D", "Data1D", "Data2D", "DataND")
_EXACT = 2**53
"""Whole numbers up to this are exact as floating-point numbers."""


class AxisSaverLoader:
    """Saves and loads axes, as ``Axis00``, ``Axis01`` and so on."""

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take an object with an open file, or the path of a file to add to."""
        self.h5saver = saver_of(h5saver)

    def add_axis(self, where: str | Node, axis: Any) -> Node:
        """Save an axis in a group; its values are kept as they are.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        from ndx_simulation_output.nwb.arrays_hdf5 import create_axis

        light, group = Axis.of(axis), self.h5saver.h5(where)
        values = _as_axis(light.data)
        name = f"Axis{next_number(group, 'Axis'):02d}"
        made = ArrayAxis(name, values, light.label, light.units, light.index, light.spread_order)
        dataset = create_axis(group, made, values.shape, values.dtype)
        dataset[...] = values
        return Node(dataset)

    def load_axis(self, where: str | Node) -> Axis:
        """Load an axis.

        Raises
        ------
        KeyError
            If there is no such axis.

        """
        path = path_of(where)
        above, _, name = path.rpartition("/")
        for axis in SavedTree(self.h5saver).group(above or "/").axes:
            if axis.name == name:
                return light_axis(axis)
        msg = f"no axis {path} in {self.h5saver.file_path}"
        raise KeyError(msg)

    def get_axes(self, where: str | Node) -> list[Axis]:
        """Load all axes in a group, or beside an array.

        Raises
        ------
        KeyError
            If there is no such node.

        """
        node = self.h5saver.get_node(where)
        path = node.path if node.is_group else node.path.rpartition("/")[0]
        return [light_axis(axis) for axis in SavedTree(self.h5saver).group(path).axes]


class DataSaverLoader(LoadsArrays):
    """Saves and loads data, as ``Data00``, ``Data01`` and so on, with their axes and errors."""

    _prefix = "Data"
    _errors = "ErrorBar"
    _role = "data"

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take an object with an open file, or the path of a file to add to."""
        self.h5saver = saver_of(h5saver)
        super().__init__(SavedTree(self.h5saver), with_nav=False)
        self._axes = AxisSaverLoader(self.h5saver)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        save_axes: bool = True,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
    ) -> None:
        """Save data in a group: an array for each of theirs, then axes, then errors.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        light, group = DataWithAxes.of(data), self.h5saver.h5(where)
        first = next_number(group, self._prefix)
        for number, values in enumerate(light.data):
            name = f"{self._prefix}{first + number:02d}"
            self._write(group, described(light, name, number, self._role), values)
        if save_axes:
            for axis in light.axes:
                self._axes.add_axis(where, axis)
        for number, values in enumerate(light.errors or ()):
            name = f"{self._errors}{first + number:02d}"
            self._write(group, described(light, name, number, "error"), values)

    def _write(self, group: h5py.Group, array: ArrayWithAxes, values: NDArray[Any]) -> None:
        from ndx_simulation_output.nwb.arrays_hdf5 import as_stored, create_array, encoded

        stored, added, _ = encoded(values.dtype, array.name)
        made = create_array(group, array, values.shape, values.dtype, self.h5saver.how)
        made[...] = as_stored(values, stored, added)


class BkgSaver(DataSaverLoader):
    """Saves and loads backgrounds, as ``Bkg00``, ``Bkg01`` and so on."""

    _prefix = "Bkg"
    _errors = "BkgErrorBar"
    _role = "background"


class DataToExportSaver:
    """Saves sets of data: groups by dimension, in them one for each of the data."""

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take an object with an open file, or the path of a file to add to."""
        self.h5saver = saver_of(h5saver)
        self._data = DataSaverLoader(self.h5saver)
        self._bkg = BkgSaver(self.h5saver)

    def add_data(
        self,
        where: str | Node,
        data: Any,
        settings_as_xml: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Save a set of data. Settings and metadata become those of the channels that are new.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        for light, channel in self._channels(where, data, settings_as_xml, metadata):
            self._data.add_data(channel, light)

    def add_bkg(self, where: str | Node, data: Any) -> None:
        """Save backgrounds of a set of data in the channels of the data.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        for light, channel in self._channels(where, data):
            self._bkg.add_data(channel, light, save_axes=False)

    def _channels(
        self,
        where: str | Node,
        data: Any,
        settings: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> Iterable[tuple[DataWithAxes, Node]]:
        export = DataToExport.of(data)
        seen: dict[tuple[str, str, str], int] = {}
        lights = sorted(export, key=lambda light: _DIMENSIONS.index(light.dim.name))
        for light in lights:
            key = light.dim.name, light.name, light.origin
            seen[key] = seen.get(key, -1) + 1
            channel = channel_of(self.h5saver, where, light, seen[key], settings, metadata)
            yield light, channel


def saver_of(h5saver: H5SaverLowLevel | str | Path) -> H5SaverLowLevel:
    """Give an object with an open file, which is opened where a path is given."""
    if isinstance(h5saver, H5SaverLowLevel):
        return h5saver
    saver = H5SaverLowLevel()
    saver.init_file(h5saver)
    return saver


def described(data: DataWithAxes, name: str, number: int, role: str) -> ArrayWithAxes:
    """Describe the array ``number`` of data, without its values."""
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


def channel_of(
    saver: H5SaverLowLevel,
    where: str | Node,
    data: DataWithAxes,
    which: int = 0,
    settings: str = "",
    metadata: dict[str, Any] | None = None,
) -> Node:
    """Give the channel of data, found by name and origin: the first of these, or ``which``.

    It is added where it is not there.
    """
    place = saver.add_group(data.dim.name, "", where)
    found = [
        node
        for node in place.children().values()
        if node.title == data.name and (node.attrs.get("origin") or "") == data.origin
    ]
    if which < len(found):
        return found[which]
    name = f"CH{next_number(saver.h5(place), 'CH'):02d}"
    origin = {"origin": data.origin} if data.origin else {}
    return saver.add_group(name, "", place, data.name, settings, {**(metadata or {}), **origin})


def _as_axis(values: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers in equal steps as floating-point ones, as PyMoDAQ does, if exact."""
    steps = np.diff(values)
    if values.dtype.kind not in "iu" or not len(values) or (steps != steps[:1]).any():
        return values
    return values.astype(np.float64) if np.abs(values).max() <= _EXACT else values
