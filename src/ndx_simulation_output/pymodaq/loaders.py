"""Load data with all their axes from NWB files and files of PyMoDAQ."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.data import OWN_NAMES, Axis, DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes
from ndx_simulation_output.recording.json_values import from_json
from ndx_simulation_output.storage.journal import pause_writer

if TYPE_CHECKING:
    from typing_extensions import Self

# The groups of a file by their paths, whether it is open to be added to or for reading.


class Tree(Protocol):
    """Groups by their paths, such as ``/RawData/Detector000``."""

    def group(self, path: str) -> ArrayGroup:
        """Give a group and what is below it; KeyError if there is none."""

    def nav_axes(self, path: str) -> tuple[ArrayAxis, ...]:
        """Give the navigation axes of a group: those of the next ``NavAxes`` around it."""


class SavedTree:
    """The groups of a file that is open to be added to."""

    def __init__(self, saver: H5SaverLowLevel) -> None:
        """Take an object with an open file."""
        self._saver = saver

    def group(self, path: str) -> ArrayGroup:
        """Give a group and what is below it.

        Raises
        ------
        KeyError
            If there is none.

        """
        from ndx_simulation_output.nwb.arrays_reading import read_hdf5_group

        if not self._saver.get_node(path).is_group:
            msg = f"{path} of {self._saver.file_path} is not a group"
            raise KeyError(msg)
        return read_hdf5_group(self._saver.h5(path))

    def nav_axes(self, path: str) -> tuple[ArrayAxis, ...]:
        """Give the navigation axes of a group."""
        for around in _around(path):
            for name in self._saver.h5(around):
                if name.casefold() == _NAV_AXES:
                    return self.group(f"{around}/{name}").axes
        return ()


class ReadTree:
    """The groups of a file that is open for reading."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        from ndx_simulation_output.nwb import reader
        from ndx_simulation_output.pymodaq.reading import read

        self._path = path
        with pause_writer(path):
            self._output = reader.read(path) if reader.is_nwb(path) else read(path)
        groups = self._output.arrays
        self._groups = {where: group for top in groups for where, group in top.walk()}
        self._groups["/"] = ArrayGroup("", groups=groups)

    def close(self) -> None:
        """Close the file."""
        self._output.close()

    def group(self, path: str) -> ArrayGroup:
        """Give a group and what is below it.

        Raises
        ------
        KeyError
            If there is none.

        """
        if path not in self._groups:
            msg = f"no group {path} in {self._path}; there are: {', '.join(self._groups)}"
            raise KeyError(msg)
        return self._groups[path]

    def nav_axes(self, path: str) -> tuple[ArrayAxis, ...]:
        """Give the navigation axes of a group."""
        for around in _around(path):
            inner = {group.name.casefold(): group for group in self.group(around).groups}
            if _NAV_AXES in inner:
                return inner[_NAV_AXES].axes
        return ()


def path_of(where: str | Node) -> str:
    """Give the path of a node or path, without a slash at its end."""
    return f"/{(where.path if isinstance(where, Node) else where).strip('/')}"


def _around(path: str) -> Iterator[str]:
    """Give a path and those above it, without the root."""
    while path.strip("/"):
        yield path
        path = path.rpartition("/")[0]


# How the arrays, errors, backgrounds and axes of groups make data again.

_SPREAD = "spread"
_NAV_AXES, _TIMES = "navaxes", "Times00"


def light_axis(axis: ArrayAxis) -> Axis:
    """Give an axis with its values."""
    values = np.asarray(axis.values[()])
    return Axis(axis.label, axis.unit, values, axis.index, spread_order=axis.spread_order)


def axis_as_data(axis: ArrayAxis, path: str) -> DataWithAxes:
    """Give the values of an axis as data, with an axis that counts them."""
    found = light_axis(axis)
    count = Axis(found.label, found.units, np.arange(float(found.size)))
    return DataWithAxes(
        found.label,
        source="raw",
        data=[found.data],
        labels=[found.label],
        units=found.units,
        axes=[count],
        path=path,
    )


def assemble(
    group: ArrayGroup,
    name: str,
    path: str,
    nav: Iterable[ArrayAxis] = (),
    *,
    load_all: bool = False,
    with_bkg: bool = False,
) -> DataWithAxes:
    """Make data of the array ``name`` of a group, or of all that belong to it.

    Errors and backgrounds are those of the same number. ``nav`` are axes of groups around it.

    Raises
    ------
    KeyError
        If there is no such array.
    ShapeMismatchError
        If a background is not of the shape of its data.

    """
    by_name = {array.name: array for array in group.arrays}
    first = by_name[name]
    arrays = _alike(group, first) if load_all else [first]
    axes = [light_axis(axis) for axis in (*group.axes, *nav)]
    return _made(by_name, arrays, axes, path, with_bkg=with_bkg)


def assemble_all(
    group: ArrayGroup, path: str, nav: Sequence[ArrayAxis] = (), *, with_bkg: bool = False
) -> DataToExport:
    """Make data of all arrays below a group: those of one channel and name together."""
    made = DataToExport(group.title or group.name)
    inner = [child for child in group.groups if child.name.casefold() == _NAV_AXES]
    nav = inner[0].axes if inner else nav
    by_name = {array.name: array for array in group.arrays}
    done: set[str] = set()
    for array in group.arrays:
        if array.role != "data" or array.name in done:
            continue
        alike = _alike(group, array)
        done |= {some.name for some in alike}
        axes = [light_axis(axis) for axis in (*group.axes, *nav)]
        data = _made(by_name, alike, axes, f"{path}/{alike[0].name}", with_bkg=with_bkg)
        data.origin = data.origin or group.name
        made.append(data)
    for child in group.groups:
        if child not in inner:
            made.append(assemble_all(child, f"{path}/{child.name}", nav, with_bkg=with_bkg))
    return made


def _alike(group: ArrayGroup, first: ArrayWithAxes) -> list[ArrayWithAxes]:
    """Give the arrays that belong together with one, by their names."""

    def kind(array: ArrayWithAxes) -> tuple[Any, ...]:
        whose = array.role, array.title, array.origin, array.source, array.unit
        return *whose, array.grows, tuple(array.values.shape)

    found = [array for array in group.arrays if kind(array) == kind(first)]
    return sorted(found, key=lambda array: array.name)


def _made(
    by_name: dict[str, ArrayWithAxes],
    arrays: Sequence[ArrayWithAxes],
    axes: list[Axis],
    path: str,
    *,
    with_bkg: bool,
) -> DataWithAxes:
    first = arrays[0]
    values = [np.asarray(array.values[()]) for array in arrays]
    found = [_error(by_name, array) for array in arrays]
    errors = [np.asarray(error.values[()]) for error in found if error is not None]
    if with_bkg:
        values = [
            _subtracted(own, _other(by_name, array, "Bkg"), path)
            for own, array in zip(values, arrays, strict=True)
        ]
    nav = first.nav_indexes
    spread = first.distribution == _SPREAD and bool(nav)
    extra = {key: from_json(value) for key, value in first.extra.items()}
    made = DataWithAxes(
        first.title,
        source=first.source or "raw",
        distribution=_SPREAD if spread else "uniform",
        data=[np.atleast_1d(own) for own in values],
        labels=[array.label for array in arrays],
        origin=first.origin,
        units=first.unit,
        axes=axes,
        nav_indexes=nav,
        errors=errors if len(errors) == len(values) else None,
        timestamp=first.timestamp,
        path=path,
        **{key: value for key, value in extra.items() if not _is_own(key)},
    )
    if _TIMES in by_name:
        made.times = np.asarray(by_name[_TIMES].values[()])
    return made


def _is_own(name: str) -> bool:
    """Tell whether data have something else by the name of an attribute of the file."""
    return name in OWN_NAMES or name.startswith("__")


def _error(by_name: dict[str, ArrayWithAxes], array: ArrayWithAxes) -> ArrayWithAxes | None:
    """Give the error of an array, which has its number and the title of its data.

    PyMoDAQ counts errors by themselves: those of data after some without any have lower numbers.
    """
    if array.role == "error":
        return None
    prefix = "BkgErrorBar" if array.role == "background" else "ErrorBar"
    numbered, title = _other(by_name, array, prefix), f"{array.title}_errors"
    if numbered is not None and numbered.title in {"", title}:
        return numbered
    titled = [n for n in sorted(by_name) if n.startswith(prefix) and by_name[n].title == title]
    alike = (array.role, array.title)
    own = [n for n in sorted(by_name) if (by_name[n].role, by_name[n].title) == alike]
    return by_name[titled[own.index(array.name)]] if len(titled) == len(own) else None


def _other(
    by_name: dict[str, ArrayWithAxes], array: ArrayWithAxes, prefix: str
) -> ArrayWithAxes | None:
    """Give the array of another prefix that has the same number."""
    number = re.search(r"\d*$", array.name)
    return by_name.get(f"{prefix}{number[0] if number else ''}")


def _subtracted(values: NDArray[Any], background: ArrayWithAxes | None, path: str) -> NDArray[Any]:
    """Subtract a background; integers without sign get one, so that none wraps around."""
    if background is None:
        return values
    other = np.asarray(background.values[()])
    try:
        np.broadcast_shapes(values.shape, other.shape)
    except ValueError:
        msg = f"{path} has shape {values.shape} and {background.name} {other.shape}; expected one"
        raise ShapeMismatchError(msg) from None
    dtype = np.result_type(values, other)
    if dtype.kind in "bu":
        dtype = np.result_type(dtype, np.int8)
    return np.asarray(values.astype(dtype) - other.astype(dtype))


# Load data of an NWB file, or of a file of PyMoDAQ, with all their axes.


class LoadsArrays:
    """Loads arrays of the groups of a file, ``with_nav``: with navigation axes too."""

    def __init__(self, tree: Tree, *, with_nav: bool) -> None:
        self.tree, self._with_nav = tree, with_nav

    def load_data(
        self,
        where: str | Node,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        load_all: bool = False,  # noqa: FBT001, FBT002
    ) -> DataWithAxes:
        """Load an array, or all arrays that belong to it, with their axes and errors.

        ``with_bkg`` subtracts from each the background of its number. The values of an axis are
        data too.

        Raises
        ------
        KeyError
            If there is no such array.
        ShapeMismatchError
            If a background is not of the shape of its data.

        """
        path = path_of(where)
        above, _, name = path.rpartition("/")
        group = self.tree.group(above or "/")
        if any(array.name == name for array in group.arrays):
            nav = self.tree.nav_axes(above) if self._with_nav else ()
            return assemble(group, name, path, nav, load_all=load_all, with_bkg=with_bkg)
        for axis in group.axes:
            if axis.name == name:
                return axis_as_data(axis, path)
        names = [array.name for array in group.arrays] + [axis.name for axis in group.axes]
        msg = f"no array {path}; {above or '/'} has: {', '.join(names) or 'nothing'}"
        raise KeyError(msg)


class DataLoader(LoadsArrays):
    """Loads data with their navigation axes, and all data of a group at once.

    It takes an object with an open file, or the path of an NWB file or of a file of PyMoDAQ, which
    it opens for reading alone.

    Example
    -------
    >>> with DataLoader("Data_20261120_17_28_52.h5") as loader:  # doctest: +SKIP
    ...     loader.load_all("/RawData/Detector000")

    """

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take a file.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        self._read: ReadTree | None = None
        self._saver: H5SaverLowLevel | None = None
        tree: Tree
        if isinstance(h5saver, H5SaverLowLevel):
            self._saver, tree = h5saver, SavedTree(h5saver)
        else:
            tree = self._read = ReadTree(Path(h5saver))
        super().__init__(tree, with_nav=True)

    def load_all(
        self,
        where: str | Node,
        data: Any = None,
        with_bkg: bool = False,  # noqa: FBT001, FBT002
    ) -> DataToExport:
        """Load all data below a group: added to ``data`` where that is given, and given back.

        Data without an origin have the name of their group as one; none replace others.

        Raises
        ------
        KeyError
            If there is no such group.
        ShapeMismatchError
            If a background is not of the shape of its data.

        """
        path = path_of(where)
        made = assemble_all(
            self.tree.group(path), path, self.tree.nav_axes(path), with_bkg=with_bkg
        )
        if data is None:
            return made
        for some in made:
            data.append(some if isinstance(data, DataToExport) else some.to_pymodaq())
        return data  # type: ignore[no-any-return]

    def walk_nodes(self, where: str | Node = "/") -> Iterator[Node]:
        """Give a node and all below it, of a file that is open to be added to.

        Raises
        ------
        TypeError
            If the file is open for reading alone.

        """
        if self._saver is None:
            msg = "nodes are those of an H5SaverLowLevel; open the file with one"
            raise TypeError(msg)
        return self._saver.walk_nodes(where)

    def close_file(self) -> None:
        """Close a file that was opened for reading."""
        if self._read is not None:
            self._read.close()

    def __enter__(self) -> "Self":
        """Give this loader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close a file that was opened for reading."""
        self.close_file()
