"""Arrays with their axes as a dataset of xarray."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.exports import ExportArray, ExportAxis
from ndx_simulation_output.recording.names import free_name

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["to_xarray"]

_FACTS = ("title", "role", "source", "distribution", "origin", "timestamp")


def to_xarray(arrays: Sequence[ExportArray], axes: Sequence[ExportAxis]) -> "xr.Dataset":
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
    along: dict[tuple[int, int], list[ExportAxis]] = {}
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


def _facts(array: ExportArray) -> dict[str, Any]:
    facts = {name: getattr(array, name) for name in _FACTS}
    facts = {name: value for name, value in facts.items() if value not in ("", None)}
    return {"units": array.unit, **facts, **array.extra, "nav_indexes": list(array.nav_indexes)}


def _free(wanted: str, taken: set[str]) -> str:
    found = free_name(wanted, taken)
    taken.add(found)
    return found
