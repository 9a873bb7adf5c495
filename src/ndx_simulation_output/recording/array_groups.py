"""Arrays with labelled axes, in nested groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.ids import free_name

if TYPE_CHECKING:
    import xarray as xr

_NAV_AXES = "navaxes"
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

    def walk(self, path: str = "") -> Iterator[tuple[str, "ArrayGroup"]]:
        """Yield this group and all groups in it, each with its path."""
        path = f"{path}/{self.name}"
        yield path, self
        for group in self.groups:
            yield from group.walk(path)


def is_nav_group(name: str) -> bool:
    """Return True if a group of this name contains the navigation axes of its parent group."""
    return name.casefold() == _NAV_AXES


def to_xarray(arrays: Sequence[ArrayWithAxes], axes: Sequence[ArrayAxis]) -> "xr.Dataset":
    """Return a dataset of arrays and axes (as coordinates), named by label or else by name.

    An axis is a coordinate of the arrays that have the same length along its dimension. Each
    dimension is named after its first axis. All values are loaded into memory.
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
        variables[name] = (dims, np.asarray(array.values[()]), _attributes(array))
    coordinates = {
        name: (dims_by_length[dimension], np.asarray(axis.values[()]), {"units": axis.unit})
        for dimension, found in along.items()
        if dimension in dims_by_length
        for name, axis in zip(names[dimension], found, strict=True)
    }
    return xr.Dataset(variables, coordinates)


def _attributes(array: ArrayWithAxes) -> dict[str, Any]:
    found = {name: getattr(array, name) for name in _ATTRIBUTES}
    found = {name: value for name, value in found.items() if value not in ("", None)}
    return {"units": array.unit, **found, **array.extra, "nav_indexes": list(array.nav_indexes)}


def _add_name(names: set[str], wanted: str) -> str:
    name = free_name(wanted, names)
    names.add(name)
    return name
