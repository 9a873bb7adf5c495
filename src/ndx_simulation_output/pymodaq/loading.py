"""How the arrays, errors, backgrounds and axes of groups make data again."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.axes import Axis
from ndx_simulation_output.pymodaq.data import OWN_NAMES, DataWithAxes
from ndx_simulation_output.pymodaq.sets import DataToExport
from ndx_simulation_output.recording import ExportArray, ExportAxis, ExportGroup
from ndx_simulation_output.recording.json_values import from_json

__all__ = ["assemble", "assemble_all", "axis_as_data", "light_axis"]

_SPREAD = "spread"
_NAV_AXES, _TIMES = "navaxes", "Times00"


def light_axis(axis: ExportAxis) -> Axis:
    """Give an axis with its values."""
    values = np.asarray(axis.values[()])
    return Axis(axis.label, axis.unit, values, axis.index, spread_order=axis.spread_order)


def axis_as_data(axis: ExportAxis, path: str) -> DataWithAxes:
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
    group: ExportGroup,
    name: str,
    path: str,
    nav: Iterable[ExportAxis] = (),
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
    group: ExportGroup, path: str, nav: Sequence[ExportAxis] = (), *, with_bkg: bool = False
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


def _alike(group: ExportGroup, first: ExportArray) -> list[ExportArray]:
    """Give the arrays that belong together with one, by their names."""

    def kind(array: ExportArray) -> tuple[Any, ...]:
        whose = array.role, array.title, array.origin, array.source, array.unit
        return *whose, array.grows, tuple(array.values.shape)

    found = [array for array in group.arrays if kind(array) == kind(first)]
    return sorted(found, key=lambda array: array.name)


def _made(
    by_name: dict[str, ExportArray],
    arrays: Sequence[ExportArray],
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


def _error(by_name: dict[str, ExportArray], array: ExportArray) -> ExportArray | None:
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


def _other(by_name: dict[str, ExportArray], array: ExportArray, prefix: str) -> ExportArray | None:
    """Give the array of another prefix that has the same number."""
    number = re.search(r"\d*$", array.name)
    return by_name.get(f"{prefix}{number[0] if number else ''}")


def _subtracted(values: NDArray[Any], background: ExportArray | None, path: str) -> NDArray[Any]:
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
