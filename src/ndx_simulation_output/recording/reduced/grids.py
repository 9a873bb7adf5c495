"""Arrays with axes: each with the values of its axes, as far as they are known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.array_groups import ArrayGroup
from ndx_simulation_output.recording.arrays import LazyArray, read_all
from ndx_simulation_output.recording.exports import (
    ExportArray,
    ExportAxis,
    ExportGroup,
    is_nav_group,
)
from ndx_simulation_output.recording.reduced.bins import Indices, column_edges, parts_of, row_blocks
from ndx_simulation_output.recording.reduced.pixels import Pixels
from ndx_simulation_output.recording.reduced.series import Lines, reduce_columns
from ndx_simulation_output.recording.views import FirstIndex, Matrix

if TYPE_CHECKING:
    from ndx_simulation_output.recording.output import SimulationOutput

__all__ = ["Grid", "GridAxis", "export_grids", "grids_of", "own_grids"]

_SHOWN = frozenset({"data", "background", "error", ""})


@dataclass(frozen=True)
class GridAxis:
    """Values along a dimension, shape (value,): 0, 1, … and no unit where they are not known."""

    label: str
    unit: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """An array of numbers with an axis for each dimension; dimensions of one value are left out.

    ``points`` are the coordinates where several axes are about the only dimension: the places of a
    scan that is no grid. ``note`` says what of the array is shown.
    """

    name: str
    label: str
    unit: str
    values: LazyArray
    axes: tuple[GridAxis, ...]
    points: tuple[GridAxis, ...] = ()
    note: str = ""

    def line(self, pixels: int = 1000) -> Lines:
        """Read an array of one dimension as a line along its axis; see ``reduce_columns``."""
        data = Matrix(self.values)
        return reduce_columns(self.axes[0].values, data, unit=self.unit, pixels=pixels)

    def image(
        self, shape: tuple[int, int] = (500, 500)
    ) -> tuple[NDArray[np.float64], Indices, Indices]:
        """Read an array of two dimensions as an image of means, and the edges of its pixels.

        Gives the image, and where bins begin and end along the first and the second dimension, as
        indices of the array.
        """
        down = column_edges(self.values.shape[0], shape[0])
        across = column_edges(self.values.shape[1], shape[1])
        found = Pixels((len(down) - 1, len(across) - 1), "mean")
        for rows in row_blocks(self.values, slice(0, self.values.shape[0]), self.values.shape[1]):
            inside, tops = parts_of(down, rows)
            found.add(inside, np.asarray(self.values[rows, :], np.float64), tops, across[:-1])
        return found.image().T, down, across


def grids_of(output: "SimulationOutput") -> Iterator[Grid]:
    """Give the arrays of an output that no report holds: its own, then those of instruments."""
    for group in output.groups:
        yield from own_grids(group)
    for export in output.exports:
        yield from export_grids(export)


def export_grids(export: ExportGroup) -> Iterator[Grid]:
    """Give the arrays of numbers of a group and all below it, with their axes.

    Navigation axes are those of the next group of that name beside an array or around it. Of more
    than two dimensions, the first index of all but the last two is shown.
    """
    yield from _grids(export, "", ())


def own_grids(group: ArrayGroup) -> Iterator[Grid]:
    """Give the arrays of numbers of a group, along its x where they are as long as that."""
    for array in group.arrays:
        name = " ".join(text for text in (group.name, array.section) if text)
        axes = []
        if group.x is not None:
            axes.append(ExportAxis("x", group.x, "x", group.x_unit))
        own = ExportArray(array.variable, array.values, label=array.variable)
        grid = _grid(name, own, axes)
        if grid is not None:
            yield grid


def _grids(group: ExportGroup, path: str, around: tuple[ExportAxis, ...]) -> Iterator[Grid]:
    path = f"{path}/{group.name}"
    beside = [one for one in group.groups if is_nav_group(one.name)]
    around = tuple(axis for one in beside for axis in one.axes) or around
    for array in group.arrays:
        if array.role in _SHOWN:
            grid = _grid(path, array, (*group.axes, *around))
            if grid is not None:
                yield grid
    for one in group.groups:
        if one not in beside:
            yield from _grids(one, path, around)


def _grid(name: str, array: ExportArray, axes: Iterable[ExportAxis]) -> Grid | None:
    """Give an array with its axes, or None if it has no numbers."""
    shape = tuple(array.values.shape)
    if array.values.dtype.kind not in "biuf" or 0 in shape:
        return None
    along: list[list[ExportAxis]] = [[] for _ in shape]
    for axis in axes:
        if axis.index < len(shape) and axis.values.shape == (shape[axis.index],):
            along[axis.index].append(axis)
    for found in along:
        found.sort(key=lambda axis: axis.spread_order)
    long = [dim for dim, length in enumerate(shape) if length > 1]
    shown = long[-2:]
    values = array.values if len(shown) == len(shape) else FirstIndex(array.values, tuple(shown))
    hidden = [shape[dim] for dim in long[:-2]]
    label = array.label or array.title or array.name
    role = f" ({array.role})" if array.role in {"background", "error"} else ""
    spread = [_axis(axis, shape[shown[0]]) for axis in along[shown[0]]] if len(shown) == 1 else []
    return Grid(
        name,
        label + role,
        array.unit,
        values,
        tuple(_axis(along[dim][0] if along[dim] else None, shape[dim]) for dim in shown),
        tuple(spread) if len(spread) > 1 else (),
        f"first of {' × '.join(map(str, hidden))}" if hidden else "",
    )


def _axis(axis: ExportAxis | None, length: int) -> GridAxis:
    if axis is None or axis.values.dtype.kind not in "biuf":
        label = "index" if axis is None else axis.label or axis.name
        return GridAxis(label, "", np.arange(length))
    return GridAxis(axis.label or axis.name, axis.unit, read_all(axis.values))
