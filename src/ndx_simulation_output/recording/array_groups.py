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

# Arrays that are no report: of any type and shape, with an independent variable of their own.


@dataclass(frozen=True)
class OwnArray:
    """An array as its source has it: ``values`` of any type, any shape, empty or not.

    ``section`` and ``variable`` say what it is about, ``detail`` what else the source says.
    """

    section: str
    variable: str
    values: LazyArray
    detail: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnGroup:
    """Arrays that share an independent variable ``x``; they need not have as many values as it.

    ``x`` is in ``x_unit``, empty where that is not known, and None where the source has lost it. A
    group may have no arrays: then it keeps ``x`` as the source has it.
    """

    name: str
    arrays: tuple[OwnArray, ...] = ()
    x: LazyArray | None = None
    x_unit: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


# Arrays with labelled axes, in groups as deep as the source has them: what instruments give.

_NAV_AXES = "navaxes"


def is_nav_group(name: str) -> bool:
    """Tell whether a group of this name has the navigation axes of what is beside it."""
    return name.casefold() == _NAV_AXES


@dataclass(frozen=True)
class ArrayAxis:
    """Values of an independent variable, shape (value,), along dimension ``index`` of arrays.

    Axes of one dimension, such as the coordinates of points, have a ``spread_order``. ``grows``
    says that values are added while arrays are recorded.
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
    """An array of any type and shape, and what its source says of it.

    ``role`` is ``data``, ``background``, ``error``, ``log``, ``times`` of the elements of others,
    or anything else that a source has. The dimensions ``nav_indexes`` are those of navigation.
    ``timestamp`` is in seconds since 1970.
    ``extra`` is what no field holds: JSON values.
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
    """Arrays, axes and further groups that belong together, such as those of a detector.

    ``kind`` is what the source calls it, ``settings`` those of the instrument in its format.
    ``extra`` is what no field holds: JSON values.
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
        """Give this group and all below it, each with its path."""
        path = f"{path}/{self.name}"
        yield path, self
        for group in self.groups:
            yield from group.walk(path)


# Arrays with their axes as a dataset of xarray.

_FACTS = ("title", "role", "source", "distribution", "origin", "timestamp")


def to_xarray(arrays: Sequence[ArrayWithAxes], axes: Sequence[ArrayAxis]) -> "xr.Dataset":
    """Give arrays as variables and axes as coordinates, both by label, else by name.

    An axis is a coordinate of the arrays that are as long as it along its dimension. Where several
    are about one dimension, it has the name of the first. All values are read.

    Raises
    ------
    MissingDependencyError
        If xarray is not installed.

    """
    xr = import_optional("xarray", "to_xarray", "xarray")
    taken: set[str] = set()
    along: dict[tuple[int, int], list[ArrayAxis]] = {}
    for axis in sorted(axes, key=lambda axis: (axis.index, axis.spread_order)):
        along.setdefault((axis.index, int(axis.values.shape[0])), []).append(axis)
    names = {
        place: [_free(axis.label or axis.name, taken) for axis in found]
        for place, found in along.items()
    }
    variables, used = {}, dict[tuple[int, int], str]()
    for array in arrays:
        dims = []
        for index, length in enumerate(array.values.shape):
            place = index, int(length)
            if place not in used:
                used[place] = names[place][0] if place in names else _free(f"dim_{index}", taken)
            dims.append(used[place])
        name = _free(array.label or array.name, taken)
        variables[name] = (dims, np.asarray(array.values[()]), _facts(array))
    coordinates = {
        name: (used[place], np.asarray(axis.values[()]), {"units": axis.unit})
        for place, found in along.items()
        if place in used
        for name, axis in zip(names[place], found, strict=True)
    }
    return xr.Dataset(variables, coordinates)


def _facts(array: ArrayWithAxes) -> dict[str, Any]:
    facts = {name: getattr(array, name) for name in _FACTS}
    facts = {name: value for name, value in facts.items() if value not in ("", None)}
    return {"units": array.unit, **facts, **array.extra, "nav_indexes": list(array.nav_indexes)}


def _free(wanted: str, taken: set[str]) -> str:
    found = free_name(wanted, taken)
    taken.add(found)
    return found
