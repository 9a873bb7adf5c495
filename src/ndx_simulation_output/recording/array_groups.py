"""Arrays with labelled axes, in nested groups."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputWarning, WrongTypeError
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import (
    LazyArray,
    LazyArrayBase,
    as_array,
    size_in_bytes,
)
from ndx_simulation_output.recording.display import Facts, counted, listed, represent, shape_text
from ndx_simulation_output.recording.fields import tuple_of
from ndx_simulation_output.recording.ids import free_name

if TYPE_CHECKING:
    import xarray as xr

INSTRUMENTS = "PyMoDAQ"
"""Format, in the provenance of an output, of arrays that were measured instead of simulated."""

INTERVALS = "TimeIntervals"
"""Kind of groups of intervals: arrays are columns, of which ``start_time``, ``stop_time`` in s."""

_NAV_AXES = "navaxes"
_MOST_BYTES = 2**26
_ATTRIBUTES = ("title", "role", "source", "distribution", "origin", "timestamp")


@dataclass(frozen=True)
class ArrayAxis:
    """Values of an independent variable, shape (value,), along dimension ``index`` of arrays.

    Several axes of the same dimension, such as the coordinates of points, are sorted by
    ``spread_order``. If ``grows`` is True, the axis is extended during the recording.
    """

    name: str
    values: LazyArray
    label: str = ""
    unit: str = ""
    index: int = 0
    spread_order: int = 0
    grows: bool = False

    def __post_init__(self) -> None:
        """Check the texts, and make lists arrays."""
        _check_described(self, "name", "label", "unit")

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield " ".join(filter(None, [self.label, self.unit and f"({self.unit})"]))
        yield f"{shape_text(self.values.shape)} along dimension {self.index}"


@dataclass(frozen=True)
class ArrayWithAxes:
    """An array of any type and shape, with the axes of its group and of the group ``NavAxes``.

    ``role`` is ``data``, ``background``, ``error``, ``log``, ``times`` (of the elements of the
    other arrays), or a name defined by the source. ``nav_indexes`` are the navigation dimensions,
    such as the steps of a scan; all other dimensions are signal dimensions. ``timestamp`` is in
    seconds since 1970. ``extra`` contains the other attributes of the source, as JSON values.
    """

    name: str
    values: LazyArray
    role: str = "data"
    title: str = ""
    label: str = ""
    unit: str = ""
    source: str = ""
    distribution: str = ""
    origin: str = ""
    nav_indexes: tuple[int, ...] = ()
    timestamp: float | None = None
    grows: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the texts, and make lists arrays."""
        _check_described(self, "name", "role", "title", "label", "unit", "source")

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield self.role
        yield " ".join(filter(None, [self.label or self.title, self.unit and f"({self.unit})"]))
        yield f"{shape_text(self.values.shape)} of {self.values.dtype}"


@dataclass(frozen=True)
class ArrayGroup:
    """A group of arrays, axes and nested groups, such as the data of a detector.

    The length of an array may differ from that of an axis. ``kind`` is the type of the group in the
    source. ``settings`` are the instrument settings in the format of the source. ``extra`` contains
    the other attributes of the source, as JSON values.
    """

    name: str
    arrays: tuple[ArrayWithAxes, ...] = ()
    axes: tuple[ArrayAxis, ...] = ()
    groups: tuple["ArrayGroup", ...] = ()
    title: str = ""
    kind: str = ""
    settings: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types of the parts."""
        kinds = {"arrays": ArrayWithAxes, "axes": ArrayAxis, "groups": ArrayGroup}
        for name, kind in kinds.items():
            where = f"{name} of group {self.name!r}"
            object.__setattr__(self, name, tuple_of(getattr(self, name), kind, where))

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield self.title
        arrays = [array for _, group in self.walk() for array in group.arrays]
        data = [array for array in arrays if array.role == "data"]
        names = dict.fromkeys(array.title or array.label or array.name for array in data)
        yield listed(names, f"{counted(len(arrays), 'arrays')}:") or counted(len(arrays), "arrays")

    def walk(self, path: str = "") -> Iterator[tuple[str, "ArrayGroup"]]:
        """Yield this group and all groups in it, each with its path."""
        path = f"{path}/{self.name}"
        yield path, self
        for group in self.groups:
            yield from group.walk(path)


def _check_described(item: ArrayAxis | ArrayWithAxes, *texts: str) -> None:
    """Check that fields are text, and set a list of values as an array."""
    for name in texts:
        if not isinstance(found := getattr(item, name), str):
            msg = f"{name} of array {item.name!r} is {found!r:.60}; expected text"
            raise WrongTypeError(msg)
    values: Any = item.values
    if isinstance(values, list | tuple) and set(map(type, values)) <= {int, float, complex, str}:
        values = as_array(item.values, f"values of {item.name!r}", ndim=None, kinds=None)
        object.__setattr__(item, "values", values)


def find_times(arrays: Iterable[ArrayWithAxes]) -> LazyArray | None:
    """Return the times of the elements of arrays, NaN for points that were not measured."""
    return next((array.values for array in arrays if array.role == "times"), None)


def error_of(by_name: Mapping[str, ArrayWithAxes], array: ArrayWithAxes) -> ArrayWithAxes | None:
    """Return the error array with the number and the title of an array, or None.

    PyMoDAQ numbers errors independently of data. If some data have no errors, the numbers of later
    errors are lower than those of their data, and errors are matched by title.
    """
    if array.role == "error":
        return None
    prefix = "BkgErrorBar" if array.role == "background" else "ErrorBar"
    numbered, title = same_number(by_name, array, prefix), f"{array.title}_errors"
    if numbered is not None and numbered.title in {"", title}:
        return numbered
    titled = [n for n in sorted(by_name) if n.startswith(prefix) and by_name[n].title == title]
    key = array.role, array.title
    own = [n for n in sorted(by_name) if (by_name[n].role, by_name[n].title) == key]
    return by_name[titled[own.index(array.name)]] if len(titled) == len(own) else None


def same_number(
    by_name: Mapping[str, ArrayWithAxes], array: ArrayWithAxes, prefix: str
) -> ArrayWithAxes | None:
    """Return the array whose name is a prefix and the number in the name of another one."""
    number = re.search(r"\d*$", array.name)
    return by_name.get(f"{prefix}{number[0] if number else ''}")


def unfit_axes(
    array: ArrayWithAxes, arrays: Iterable[ArrayWithAxes], axes: Sequence[ArrayAxis]
) -> Iterator[ArrayAxis]:
    """Yield the axes that do not have a value for each index of their dimension of an array.

    Axes that fit others of ``arrays`` are omitted if another axis fits this one.
    """
    others = [other for other in arrays if other.role == "data"]
    shape = tuple(array.values.shape)
    fitting = {axis.index for axis in axes if fits(axis, shape)}
    for axis in axes:
        if fits(axis, shape):
            continue
        if axis.index not in fitting or not any(
            fits(axis, tuple(other.values.shape)) for other in others
        ):
            yield axis


def notes_of_axes(group: ArrayGroup) -> Iterator[str]:
    """Yield a note on each axis that does not fit an array of data in a group or below it."""
    for path, owner, array, axes in walk_arrays(group):
        for axis in unfit_axes(array, owner.arrays, axes) if array.role == "data" else ():
            yield (
                f"not used: axis {axis.name} {axis.label!r} has {axis.values.shape[0]} values for "
                f"dimension {axis.index} of {path}/{array.name}, of shape "
                f"{tuple(array.values.shape)}"
            )


def fits(axis: ArrayAxis, shape: tuple[int, ...]) -> bool:
    """Return True if an axis has a value for each index along its dimension."""
    return axis.index < len(shape) and tuple(axis.values.shape) == (shape[axis.index],)


def walk_arrays(
    group: ArrayGroup,
) -> Iterator[tuple[str, ArrayGroup, ArrayWithAxes, tuple[ArrayAxis, ...]]]:
    """Yield the path, group and axes of each array in a group and in the groups in it.

    The last axes are the navigation axes: those in ``NavAxes`` in the same or an enclosing group.
    """
    yield from _walk_arrays(group, "", ())


def _walk_arrays(
    group: ArrayGroup, path: str, nav: tuple[ArrayAxis, ...]
) -> Iterator[tuple[str, ArrayGroup, ArrayWithAxes, tuple[ArrayAxis, ...]]]:
    path = f"{path}/{group.name}"
    nav_groups = [child for child in group.groups if is_nav_group(child.name)]
    nav = tuple(axis for child in nav_groups for axis in child.axes) or nav
    for array in group.arrays:
        yield path, group, array, (*group.axes, *nav)
    for child in group.groups:
        if not is_nav_group(child.name):
            yield from _walk_arrays(child, path, nav)


# Points of a scan that were not measured.

_NAN_AS_INTEGER = {
    np.dtype(np.int32): -(2**31),
    np.dtype(np.int64): -(2**63),
    np.dtype(np.uint64): 2**63,
}
"""The integers that NaN becomes: PyMoDAQ 5.3 fills scans with NaN, also those of integers."""


class Measured(LazyArrayBase):
    """View of the integers of a scan as floats that are NaN where they were not measured.

    These are the points whose ``times`` are NaN and, without times, the values that NaN becomes.
    """

    shape: tuple[int, ...]
    dtype = np.dtype(np.float64)

    def __init__(self, array: LazyArray, times: LazyArray | None) -> None:
        self.array, self._times = array, times
        self.shape = tuple(array.shape)
        self._missing = _NAN_AS_INTEGER.get(array.dtype.newbyteorder("="))

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        values = np.asarray(self.array[slices])
        missing = self.missing(values, slices)
        return np.where(missing, np.nan, values.astype(np.float64))

    def missing(self, values: NDArray[Any], slices: tuple[slice, ...]) -> NDArray[np.bool_]:
        """Return True for each of the values at ``slices`` that was not measured."""
        if self._times is None:
            return np.asarray(values == self._missing)
        n_nav = len(self._times.shape)
        unknown = np.isnan(np.asarray(self._times[slices[:n_nav]]))
        unknown = unknown.reshape(unknown.shape + (1,) * (values.ndim - n_nav))
        return np.broadcast_to(unknown, values.shape)


def measured(array: ArrayWithAxes, times: LazyArray | None) -> LazyArray:
    """Return the values of an array, as floats with NaN if it is a scan of integers."""
    dtype, shape = array.values.dtype, tuple(array.values.shape)
    is_scan = bool(array.nav_indexes and shape) and not array.grows
    if dtype.kind not in "biu" or not is_scan or array.role not in {"data", "error"}:
        return array.values
    if times is not None and tuple(times.shape) == shape[: len(times.shape)]:
        has_gaps = bool(np.isnan(np.asarray(times[()], np.float64)).any())
        return Measured(array.values, times) if has_gaps else array.values
    known = dtype.newbyteorder("=") in _NAN_AS_INTEGER
    return Measured(array.values, None) if known else array.values


def count_missing(array: ArrayWithAxes, times: LazyArray | None) -> int:
    """Return the number of values of a scan of integers that were not measured.

    Of an array of more than 64 MiB, only the last value is read.
    """
    view = measured(array, times)
    if not isinstance(view, Measured) or 0 in view.shape:
        return 0
    slices = tuple(slice(None) for _ in view.shape)
    if size_in_bytes(array.values) > _MOST_BYTES:
        slices = tuple(slice(length - 1, length) for length in view.shape)
    return int(view.missing(np.asarray(array.values[slices]), slices).sum())


def is_nav_group(name: str) -> bool:
    """Return True if a group of this name contains the navigation axes of its parent group."""
    return name.casefold() == _NAV_AXES


def to_xarray(arrays: Sequence[ArrayWithAxes], axes: Sequence[ArrayAxis]) -> "xr.Dataset":
    """Return a dataset of arrays and axes (as coordinates), named by label or else by name.

    An axis is a coordinate of the arrays that have the same length along its dimension. Each
    dimension is named after its first axis. All values are loaded into memory. Integers of a scan
    are floats if points were not measured, which are NaN.
    """
    xr = import_optional("xarray", "to_xarray", "xarray")
    used_names: set[str] = set()
    along: dict[tuple[int, int], list[ArrayAxis]] = {}
    for axis in sorted(axes, key=lambda axis: (axis.index, axis.spread_order)):
        along.setdefault((axis.index, int(axis.values.shape[0])), []).append(axis)
    names = {
        dimension: [_add_name(used_names, axis.label or axis.name) for axis in found]
        for dimension, found in along.items()
    }
    variables, dims_by_length = {}, dict[tuple[int, int], str]()
    for array in arrays:
        for dimension in enumerate(map(int, array.values.shape)):
            if dimension not in dims_by_length:
                named = names.get(dimension) or [_add_name(used_names, f"dim_{dimension[0]}")]
                dims_by_length[dimension] = named[0]
        dims = [dims_by_length[found] for found in enumerate(map(int, array.values.shape))]
        name = _add_name(used_names, array.label or array.name)
        variables[name] = (dims, _known_values(array, find_times(arrays)), _attributes(array))
    coordinates = {
        name: (dims_by_length[dimension], np.asarray(axis.values[()]), {"units": axis.unit})
        for dimension, found in along.items()
        if dimension in dims_by_length
        for name, axis in zip(names[dimension], found, strict=True)
    }
    for dimension in along.keys() - dims_by_length.keys() if variables else ():
        msg = (
            f"axes {', '.join(names[dimension])} have {dimension[1]} values for dimension "
            f"{dimension[0]}, unlike all arrays: they are not coordinates"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=3)
    return xr.Dataset(variables, coordinates)


def _known_values(array: ArrayWithAxes, times: LazyArray | None) -> NDArray[Any]:
    """Read values, as floats with NaN if some integers were not measured."""
    view, values = measured(array, times), np.asarray(array.values[()])
    if not isinstance(view, Measured):
        return values
    missing = view.missing(values, tuple(slice(None) for _ in values.shape))
    return np.where(missing, np.nan, values.astype(np.float64)) if missing.any() else values


def _attributes(array: ArrayWithAxes) -> dict[str, Any]:
    found = {name: getattr(array, name) for name in _ATTRIBUTES}
    found = {name: value for name, value in found.items() if value not in ("", None)}
    return {"units": array.unit, **found, **array.extra, "nav_indexes": list(array.nav_indexes)}


def _add_name(names: set[str], wanted: str) -> str:
    name = free_name(wanted, names)
    names.add(name)
    return name
