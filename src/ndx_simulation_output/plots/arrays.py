"""Arrays with axes, such as those of instruments, as lines, images and points of a scan."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    image,
    outside_legend,
    size_in_pixels,
    title,
)
from ndx_simulation_output.plots.downsampling import (
    Indices,
    Lines,
    Pixels,
    column_edges,
    parts_of,
    reduce_columns,
    row_blocks,
)
from ndx_simulation_output.plots.look import LINE_WIDTH
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    SimulationOutput,
)
from ndx_simulation_output.recording.array_groups import find_times, measured, walk_arrays
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase, read_all
from ndx_simulation_output.recording.units import Scale, parse_unit
from ndx_simulation_output.recording.views import FirstIndex, Matrix, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN_ROLES = frozenset({"data", "background", "error", ""})


@dataclass(frozen=True)
class GridAxis:
    """Values along a dimension, shape (value,); indices without a unit if they are unknown."""

    label: str
    unit: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """An array of numbers with an axis for each dimension that is longer than one.

    ``points`` are the coordinates of the values if the only dimension has several axes, as in a
    scan along a path. ``note`` describes the shown part of the array. Of complex numbers, amplitude
    and phase are two arrays; ``is_angle`` is True for the phase, in rad. ``titles`` are those of
    the array and of the groups around it.
    """

    name: str
    label: str
    unit: str
    values: LazyArray
    axes: tuple[GridAxis, ...]
    points: tuple[GridAxis, ...] = ()
    note: str = ""
    is_angle: bool = False
    titles: tuple[str, ...] = ()

    def between(self, start: float | None, stop: float | None) -> "Grid | None":
        """Return the part of an array with ``start <= time < stop`` (s).

        None if no axis is an ascending one in a unit of time, or nothing is in the window.
        """
        dimension, times = self._times()
        if times is None:
            return None
        first = 0 if start is None else int(np.searchsorted(times, start))
        last = len(times) if stop is None else int(np.searchsorted(times, stop))
        if last <= first:
            return None
        axes = list(self.axes)
        axes[dimension] = replace(axes[dimension], values=axes[dimension].values[first:last])
        return replace(self, values=Part(self.values, first, last, dimension), axes=tuple(axes))

    def ends(self) -> tuple[float, float] | None:
        """Return the first time and that after the last (s); None if no axis is one of time."""
        _, times = self._times()
        return None if times is None else (float(times[0]), float(np.nextafter(times[-1], np.inf)))

    def _times(self) -> tuple[int, NDArray[Any] | None]:
        """Return the dimension and the times (s) of the first ascending axis in a unit of time."""
        for dimension, axis in enumerate(self.axes):
            unit = parse_unit(axis.unit)
            if unit is None or unit.name != "seconds" or self.points:
                continue
            if (np.diff(axis.values) > 0).all():
                return dimension, axis.values * unit.conversion
        return 0, None

    def line(self, pixels: int = 1000) -> Lines:
        """Read an array of one dimension as a line along its axis."""
        data = Matrix(self.values)
        return reduce_columns(self.axes[0].values, data, unit=self.unit, pixels=pixels)

    def image(
        self, shape: tuple[int, int] = (500, 500)
    ) -> tuple[NDArray[np.float64], Indices, Indices]:
        """Read an array of two dimensions as an image of means.

        Return the image, and the edges of its pixels as indices along both dimensions.
        """
        down = column_edges(self.values.shape[0], shape[0])
        across = column_edges(self.values.shape[1], shape[1])
        shape = len(down) - 1, len(across) - 1
        found, sines = Pixels(shape, "mean"), Pixels(shape, "mean")
        for rows in row_blocks(self.values, slice(0, self.values.shape[0]), self.values.shape[1]):
            inside, tops = parts_of(down, rows)
            values = np.asarray(self.values[rows, :], np.float64)
            if self.is_angle:
                sines.add(inside, np.sin(values), tops, across[:-1])
                values = np.cos(values)
            found.add(inside, values, tops, across[:-1])
        means = found.image()
        if self.is_angle:
            means = np.arctan2(sines.image(), means)
        return means.T, down, across


def grids_of(output: SimulationOutput) -> Iterator[Grid]:
    """Yield the arrays of numbers of an output that are neither reports nor potentials."""
    for group in output.arrays:
        yield from group_grids(group)


def group_grids(group: ArrayGroup) -> Iterator[Grid]:
    """Yield the arrays of numbers of a group and of the groups in it, with their axes.

    Navigation axes are those of the group ``NavAxes`` in the same group as an array, or in the
    nearest group around it. Of dimensions before the last two, only the first index is shown.
    Points of a scan of integers that were not measured are NaN.
    """
    named = {f"{path}/": part.title for path, part in group.walk()}
    for path, owner, array, axes in walk_arrays(group):
        if array.role in _DRAWN_ROLES:
            for part in _real_parts(array):
                grid = _grid(path, part, axes, find_times(owner.arrays))
                if grid is not None:
                    around = (title for at, title in named.items() if f"{path}/".startswith(at))
                    yield replace(grid, titles=tuple(filter(None, (array.title, *around))))


@dataclass(frozen=True)
class _ComplexPart(LazyArrayBase):
    """The amplitude of complex numbers, or their phase from -π to π."""

    array: LazyArray
    part: Literal["amplitude", "phase"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.zeros(0, self.array.dtype).real.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        values = np.asarray(self.array[slices])
        return np.asarray(np.abs(values) if self.part == "amplitude" else np.angle(values))


def _real_parts(array: ArrayWithAxes) -> list[ArrayWithAxes]:
    """Return amplitude and phase of an array of complex numbers, or another array itself."""
    if array.values.dtype.kind != "c":
        return [array]
    label = array.label or array.title or array.name
    amplitude, phase = _ComplexPart(array.values, "amplitude"), _ComplexPart(array.values, "phase")
    return [
        replace(array, values=amplitude, label=f"amplitude of {label}"),
        replace(array, values=phase, label=f"phase of {label}", unit="rad"),
    ]


def _grid(
    name: str, array: ArrayWithAxes, axes: Iterable[ArrayAxis], times: LazyArray | None
) -> Grid | None:
    """Return an array with its axes, or None if it has no numbers."""
    shape = tuple(array.values.shape)
    if array.values.dtype.kind not in "biuf" or 0 in shape:
        return None
    along: list[list[ArrayAxis]] = [[] for _ in shape]
    for axis in axes:
        if axis.index < len(shape) and axis.values.shape == (shape[axis.index],):
            along[axis.index].append(axis)
    for found in along:
        found.sort(key=lambda axis: axis.spread_order)
    long = [dim for dim, length in enumerate(shape) if length > 1]
    shown = long[-2:]
    known = measured(array, times)
    values = known if len(shown) == len(shape) else FirstIndex(known, tuple(shown))
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
        is_angle=isinstance(array.values, _ComplexPart) and array.values.part == "phase",
    )


def _axis(axis: ArrayAxis | None, length: int) -> GridAxis:
    if axis is None or axis.values.dtype.kind not in "biuf":
        label = "index" if axis is None else axis.label or axis.name
        return GridAxis(label, "", np.arange(length))
    return GridAxis(axis.label or axis.name, axis.unit, read_all(axis.values))


def array(grids: Grid | Sequence[Grid], *, ax: "Axes | None" = None) -> "Axes":
    """Draw an array with its axes, or several arrays of one dimension that share an axis.

    An array of one dimension is drawn as a line, one of two dimensions as an image with the first
    dimension upwards, a scan along a path as points coloured by value. A single value is
    printed. ``grids_of`` and ``group_grids`` return the arrays of an output and of a group.

    Example
    -------
    >>> from ndx_simulation_output.plots import grids_of
    >>> with open_output("scan.h5") as output:  # doctest: +SKIP
    ...     array(next(grids_of(output)))

    """
    ax = axes_or_new(ax)
    several = [grids] if isinstance(grids, Grid) else list(grids)
    first = several[0]
    if not first.axes:
        _print_values(ax, several)
    elif len(first.axes) == 2:
        _draw_image(ax, first)
    elif len(first.points) == 2:
        _draw_points(ax, first)
    else:
        _draw_lines(ax, several)
    title(ax, first.name.strip("/"), _note(several))
    return ax


def _note(grids: Sequence[Grid]) -> str:
    parts = [grids[0].label] if len(grids) == 1 else []
    return ", ".join(part for part in (*parts, grids[0].note) if part)


def _label(axis: GridAxis) -> str:
    return Scale(1.0, axis.unit).label(axis.label)


def _print_values(ax: "Axes", grids: Sequence[Grid]) -> None:
    lines = []
    for grid in grids:
        value = np.asarray(grid.values[()]).ravel()[0]
        lines.append(f"{grid.label}: {value:.6g} {grid.unit}".strip())
    ax.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()


def _draw_lines(ax: "Axes", grids: Sequence[Grid]) -> None:
    for grid in grids:
        lines = grid.line(size_in_pixels(ax)[1])
        marker = "." if len(lines.times) <= 30 else ""
        ax.plot(
            lines.times, lines.values[:, 0], linewidth=LINE_WIDTH, marker=marker, label=grid.label
        )
    ax.set_xlabel(_label(grids[0].axes[0]))
    units = dict.fromkeys(grid.unit for grid in grids)
    labels = dict.fromkeys(grid.label for grid in grids)
    label = next(iter(labels)) if len(labels) == 1 else "value"
    ax.set_ylabel(Scale(1.0, ", ".join(filter(None, units))).label(label))
    if len(grids) > 1:
        outside_legend(ax)


def _draw_points(ax: "Axes", grid: Grid) -> None:
    x, y = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    drawn = ax.scatter(x.values, y.values, c=values)
    ax.set_xlabel(_label(x))
    ax.set_ylabel(_label(y))
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.label))


def _draw_image(ax: "Axes", grid: Grid) -> None:
    up, across = grid.axes
    values, rows, columns = grid.image(size_in_pixels(ax))
    drawn = image(ax, values, _edges(across, columns), _edges(up, rows))
    ax.set_xlabel(_label(across) if _is_ordered(across) else f"index of {across.label}")
    ax.set_ylabel(_label(up) if _is_ordered(up) else f"index of {up.label}")
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.label))


def _is_ordered(axis: GridAxis) -> bool:
    """Return True if the values of an axis are strictly monotonic."""
    steps = np.diff(axis.values)
    return bool((steps > 0).all() or (steps < 0).all())


def _edges(axis: GridAxis, bins: NDArray[np.intp]) -> NDArray[Any]:
    """Return the edges of pixels: halfway between values or, if unordered, between indices."""
    if not _is_ordered(axis):
        return bins - 0.5
    values = np.asarray(axis.values, np.float64)
    halves = (values[1:] + values[:-1]) / 2
    first, last = 2 * values[0] - halves[0], 2 * values[-1] - halves[-1]
    return np.concatenate([[first], halves, [last]])[bins]
