"""Load data with their axes from NWB and PyMoDAQ files."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SimulationOutputWarning,
    UnitError,
)
from ndx_simulation_output.files import is_nwb
from ndx_simulation_output.nwb import reader
from ndx_simulation_output.nwb.arrays_reading import read_hdf5_group
from ndx_simulation_output.pymodaq import reading
from ndx_simulation_output.pymodaq.data import RESERVED_NAMES, Axis, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import (
    Node,
    ReadOnlyNode,
    path_of,
    walk,
)
from ndx_simulation_output.pymodaq.values import converted_values, exact_difference
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes
from ndx_simulation_output.recording.array_groups import (
    count_missing,
    error_of,
    find_times,
    fits,
    is_nav_group,
    same_number,
    unfit_axes,
)
from ndx_simulation_output.recording.json_values import from_json
from ndx_simulation_output.recording.units import unit_ratio
from ndx_simulation_output.storage.journal import pause_writer

if TYPE_CHECKING:
    from typing_extensions import Self

_SPREAD = "spread"


class FileGroups(ABC):
    """The groups of a file by their paths, such as ``/RawData/Detector000``."""

    @abstractmethod
    def read_group(self, path: str) -> ArrayGroup:
        """Return a group with its contents; raise KeyError if it does not exist."""

    @abstractmethod
    def get_node(self, path: str) -> Node:
        """Return the node at a path; raise KeyError if it does not exist."""

    def nav_group(self, path: str) -> Node | None:
        """Return the first ``NavAxes`` found in a group or, going up, its parents, or None."""
        while path.strip("/"):
            for name, node in self.get_node(path).children().items():
                if node.is_group and is_nav_group(name):
                    return node
            path = path.rpartition("/")[0]
        return None

    def nav_axes(self, path: str) -> tuple[ArrayAxis, ...]:
        """Return the axes of the navigation group of a group."""
        found = self.nav_group(path)
        return () if found is None else self.read_group(found.path).axes


class SaverGroups(FileGroups):
    """The groups of a file that is open in a saver."""

    def __init__(self, saver: H5SaverLowLevel) -> None:
        self._saver = saver

    def read_group(self, path: str) -> ArrayGroup:
        """Return a group with its contents."""
        if not self.get_node(path).is_group:
            msg = f"{path} in {self._saver.file_path} is an array; expected a group"
            raise KeyError(msg)
        return read_hdf5_group(self._saver.h5(path))

    def get_node(self, path: str) -> Node:
        """Return the node at a path."""
        return self._saver.get_node(path)


class _ReadOnlyGroups(FileGroups):
    """The groups of an NWB or PyMoDAQ file that is opened for reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with pause_writer(path):
            self._output = reader.read(path) if is_nwb(path) else reading.read(path)
        self.close = self._output.close
        tops = self._output.arrays
        self._groups = {"/": ArrayGroup("", groups=tops)}
        self._groups |= {where: group for top in tops for where, group in top.walk()}

    def read_group(self, path: str) -> ArrayGroup:
        if path not in self._groups:
            msg = f"no group {path} in {self._path}; its groups are {', '.join(self._groups)}"
            raise KeyError(msg)
        return self._groups[path]

    def get_node(self, path: str) -> Node:
        if path in self._groups:
            return ReadOnlyNode(path, self._groups[path])
        parent, _, name = path.rpartition("/")
        found = ReadOnlyNode(parent or "/", self.read_group(parent or "/")).children().get(name)
        if found is None:
            msg = f"no node {path} in {self._path}"
            raise KeyError(msg)
        return found


class ArrayLoader:
    """Loads arrays with the axes of their groups, and with navigation axes if ``with_nav``."""

    def __init__(self, groups: FileGroups, *, with_nav: bool) -> None:
        self._groups, self._with_nav = groups, with_nav

    def load_data(
        self,
        where: str | Node,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        load_all: bool = False,  # noqa: FBT001, FBT002 - as in PyMoDAQ
    ) -> DataWithAxes:
        """Load an array, or all arrays that belong to it, with axes and errors.

        ``with_bkg`` subtracts the background of the same number, or of the same label if it has
        another number, from each array, after conversion to its unit. Differences of integers are
        exact: they have a wider type, or are Python integers, where they do not fit. If ``where``
        is an axis, its values are returned as data.

        Raises
        ------
        KeyError
            If the array does not exist.
        ShapeMismatchError
            If a background cannot be broadcast with its array.
        UnitError
            If the unit of a background cannot be converted.
        RecordingError
            If integers above 2^53 would be subtracted as floats.

        """
        path = path_of(where)
        parent, _, name = path.rpartition("/")
        group = self._groups.read_group(parent or "/")
        for array in group.arrays:
            if array.name == name:
                nav = self._groups.nav_axes(parent) if self._with_nav else ()
                arrays = _belonging(group, array) if load_all else [array]
                return _load_arrays(group, arrays, nav, path, with_bkg=with_bkg)
        for axis in group.axes:
            if axis.name == name:
                return _axis_as_data(axis, path)
        names = [array.name for array in group.arrays] + [axis.name for axis in group.axes]
        msg = f"no array {path}; arrays in {parent or '/'}: {', '.join(names) or 'none'}"
        raise KeyError(msg)


class DataLoader(ArrayLoader):
    """Loads data with their navigation axes, and all data of a group.

    The argument is an open saver, or the path of an NWB or PyMoDAQ file, which is opened
    read-only.

    Example
    -------
    >>> with DataLoader("Data_20261120_17_28_52.h5") as loader:  # doctest: +SKIP
    ...     loader.load_all("/RawData/Detector000")

    """

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Create a loader, and open the file if the argument is a path.

        Raises
        ------
        SourceError
            If the file cannot be read.

        """
        self._saver: H5SaverLowLevel | None = None
        self._read_only: _ReadOnlyGroups | None = None
        groups: FileGroups
        if isinstance(h5saver, H5SaverLowLevel):
            self._saver, groups = h5saver, SaverGroups(h5saver)
        else:
            groups = self._read_only = _ReadOnlyGroups(Path(h5saver))
        super().__init__(groups, with_nav=True)

    def load_all(
        self,
        where: str | Node,
        data: Any = None,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - as in PyMoDAQ
    ) -> DataToExport:
        """Load all data below a group as a data set.

        If ``data`` is specified, the loaded data are appended to it, and it is returned. The
        origin of data without one is set to the name of their group. Data with the same name do
        not replace each other.

        Raises
        ------
        KeyError
            If the group does not exist.
        ShapeMismatchError, UnitError, RecordingError
            If a background does not fit, see :meth:`load_data`.

        """
        path = path_of(where)
        group, nav = self._groups.read_group(path), self._groups.nav_axes(path)
        loaded = _load_group(group, path, nav, with_bkg=with_bkg)
        if data is None:
            return loaded
        for item in loaded:
            data.append(item if isinstance(data, DataToExport) else item.to_pymodaq())
        return data  # type: ignore[no-any-return]

    @property
    def raw_group(self) -> Node:
        """The group that contains all data."""
        if self._saver is not None:
            return self._saver.raw_group
        groups = {
            name: node for name, node in self.get_node("/").children().items() if node.is_group
        }
        return groups.get("RawData") or next(iter(groups.values()))

    def walk_nodes(
        self,
        where: str | Node = "/",
        depth: int | None = None,
        only_groups: bool = False,  # noqa: FBT001, FBT002 - as in PyMoDAQ
    ) -> Iterator[Node]:
        """Yield a node and all nodes below it, at most ``depth`` levels."""
        yield from walk(self.get_node(where), depth, only_groups=only_groups)

    def get_node(self, where: str | Node, name: str | None = None) -> Node:
        """Return the node at a path, or its child ``name``; raise KeyError if it does not exist."""
        path = path_of(where)
        return self._groups.get_node(f"{path.rstrip('/')}/{name}" if name else path)

    def get_nav_group(self, where: str | Node) -> Node | None:
        """Return the group of the navigation axes of a group or array, or None."""
        path = self.get_node(where).path
        return self._groups.nav_group(path)

    def load_data_from_name_origin(
        self,
        name: str,
        origin: str = "",
        where: str | Node | None = None,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - as in PyMoDAQ
        load_all: bool = True,  # noqa: FBT001, FBT002 - as in PyMoDAQ
    ) -> DataWithAxes:
        """Load the data with this name and origin, at or below ``where`` or the raw group.

        Raises
        ------
        NameError
            If there are none.

        """
        first = self.raw_group if where is None else self.get_node(where)
        for node in walk(first):
            attributes = node.attrs
            is_data = not node.is_group and "data" in attributes.get("data_type", "")
            if is_data and (node.title, attributes.get("origin")) == (name, origin):
                return self.load_data(node, with_bkg=with_bkg, load_all=load_all)
        msg = f"no data named {name!r} with origin {origin!r} in {first.path}"
        raise NameError(msg)

    def close_file(self) -> None:
        """Close the file, if the loader opened it."""
        if self._read_only is not None:
            self._read_only.close()

    def __enter__(self) -> "Self":
        """Return this loader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, if the loader opened it."""
        self.close_file()


def load_axis(axis: ArrayAxis) -> Axis:
    """Return an axis with its values in memory."""
    values = np.asarray(axis.values[()])
    return Axis(axis.label, axis.unit, values, axis.index, spread_order=axis.spread_order)


def _axis_as_data(axis: ArrayAxis, path: str) -> DataWithAxes:
    loaded = load_axis(axis)
    return DataWithAxes(
        loaded.label,
        source="raw",
        data=[loaded.data],
        labels=[loaded.label],
        units=loaded.units,
        axes=[Axis(loaded.label, loaded.units, np.arange(float(loaded.size)))],
        path=path,
    )


def _load_group(
    group: ArrayGroup, path: str, nav: Sequence[ArrayAxis], *, with_bkg: bool
) -> DataToExport:
    """Load all data below a group; related arrays are combined into one data object."""
    loaded = DataToExport(group.title or group.name)
    nav = next((child.axes for child in group.groups if is_nav_group(child.name)), nav)
    done: set[str] = set()
    for array in group.arrays:
        if array.role != "data" or array.name in done:
            continue
        arrays = _belonging(group, array)
        done |= {other.name for other in arrays}
        data = _load_arrays(group, arrays, nav, f"{path}/{arrays[0].name}", with_bkg=with_bkg)
        data.origin = data.origin or group.name
        loaded.append(data)
    for child in group.groups:
        if not is_nav_group(child.name):
            loaded.append(_load_group(child, f"{path}/{child.name}", nav, with_bkg=with_bkg))
    return loaded


def _belonging(group: ArrayGroup, array: ArrayWithAxes) -> list[ArrayWithAxes]:
    """Return the arrays that belong to the same data as an array, sorted by name."""

    def key(array: ArrayWithAxes) -> tuple[Any, ...]:
        names = array.role, array.title, array.origin, array.source, array.unit
        return *names, array.grows, tuple(array.values.shape)

    found = [other for other in group.arrays if key(other) == key(array)]
    return sorted(found, key=lambda other: other.name)


def _load_arrays(
    group: ArrayGroup,
    arrays: Sequence[ArrayWithAxes],
    nav: Sequence[ArrayAxis],
    path: str,
    *,
    with_bkg: bool,
) -> DataWithAxes:
    by_name = {array.name: array for array in group.arrays}
    first = arrays[0]
    values = [np.asarray(array.values[()]) for array in arrays]
    found = [error_of(by_name, array) for array in arrays]
    errors = [np.asarray(error.values[()]) for error in found if error is not None]
    if with_bkg:
        backgrounds = [_background_of(by_name, array, path) for array in arrays]
        without = [n for n, found in enumerate(backgrounds) if found is None]
        if 0 < len(without) < len(arrays):
            names = ", ".join(arrays[n].name for n in without)
            msg = f"only some arrays of {path} have a background, which {names} lack"
            warnings.warn(msg, SimulationOutputWarning, stacklevel=3)
        values = [
            _subtract(own, array, background, path)
            for own, array, background in zip(values, arrays, backgrounds, strict=True)
        ]
    all_axes, shape = (*group.axes, *nav), np.shape(values[0])
    if first.role == "data":
        _warn_of_doubts(group, first, all_axes, path)
    is_spread = first.distribution == _SPREAD and bool(first.nav_indexes)
    data = DataWithAxes(
        first.title,
        source=first.source or "raw",
        distribution=_SPREAD if is_spread else "uniform",
        data=[np.atleast_1d(own) for own in values],
        labels=[array.label for array in arrays],
        origin=first.origin,
        units=first.unit,
        axes=[load_axis(axis) for axis in all_axes if fits(axis, shape)],
        nav_indexes=first.nav_indexes,
        errors=errors if len(errors) == len(values) else None,
        timestamp=first.timestamp,
        path=path,
        **{
            key: from_json(value)
            for key, value in first.extra.items()
            if key not in RESERVED_NAMES and not key.startswith("__")
        },
    )
    times = find_times(group.arrays)
    if times is not None and tuple(times.shape) == shape[: len(times.shape)]:
        data.times = np.asarray(times[()])
    elif times is not None and first.role == "data" and first.nav_indexes:
        msg = f"the times beside {path} have shape {times.shape} and are not loaded: it has {shape}"
        warnings.warn(msg, SimulationOutputWarning, stacklevel=3)
    return data


def _warn_of_doubts(
    group: ArrayGroup, array: ArrayWithAxes, axes: Sequence[ArrayAxis], path: str
) -> None:
    """Warn of axes that do not fit, and of values that were not measured."""
    for axis in unfit_axes(array, group.arrays, axes):
        msg = (
            f"axis {axis.name} {axis.label!r} has {axis.values.shape[0]} values for dimension "
            f"{axis.index} of {path}, of shape {tuple(array.values.shape)}: it is not loaded"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=4)
    if find_times(group.arrays) is None and (count := count_missing(array, None)):
        msg = (
            f"{path} has at least {count} values that were not measured: the integer that PyMoDAQ "
            "stores for NaN"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=4)


def _background_of(
    by_name: dict[str, ArrayWithAxes], array: ArrayWithAxes, path: str
) -> ArrayWithAxes | None:
    """Return the background with the number of an array, or with its label if that is another."""
    numbered = same_number(by_name, array, "Bkg")
    if numbered is None or numbered.label == array.label:
        return numbered
    labelled = [
        other
        for other in by_name.values()
        if other.role == "background" and other.label == array.label
    ]
    if len(labelled) == 1:
        return labelled[0]
    if numbered.label and array.label:
        msg = (
            f"{array.name} at {path} has label {array.label!r}, and its background {numbered.name} "
            f"{numbered.label!r}: backgrounds are matched by number"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=4)
    return numbered


def _subtract(
    values: NDArray[Any], array: ArrayWithAxes, background: ArrayWithAxes | None, path: str
) -> NDArray[Any]:
    if background is None:
        return values
    other = np.asarray(background.values[()])
    try:
        fitting = np.broadcast_shapes(values.shape, other.shape) == values.shape
    except ValueError:
        fitting = False
    if not fitting:
        msg = (
            f"{path} has shape {values.shape} and {background.name} {other.shape}; expected shapes "
            "that fit"
        )
        raise ShapeMismatchError(msg)
    if bool(array.unit) != bool(background.unit):
        msg = (
            f"{path} has unit {array.unit!r} and {background.name} {background.unit!r}: they are "
            "subtracted as if the units were the same"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=4)
    elif array.unit != background.unit:
        ratio = unit_ratio(background.unit, array.unit)
        if ratio is None:
            msg = (
                f"{path} has unit {array.unit!r} and {background.name} {background.unit!r}; "
                "expected units that can be converted to each other"
            )
            raise UnitError(msg)
        other = converted_values(other, ratio)
    return exact_difference(values, other, f"{background.name} of {path}")
