"""Arrays with axes, such as those of instruments, as lines, images and points of a scan."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    coloring,
    fewer_ticks,
    image,
    integer_ticks,
    label_axis,
    outside_legend,
    size_in_pixels,
    title,
    with_look,
)
from ndx_simulation_output.plots.downsampling import (
    Indices,
    Lines,
    Pixels,
    column_edges,
    order_of,
    parts_of,
    reduce_columns,
    row_blocks,
)
from ndx_simulation_output.plots.look import COLORS, LINE_WIDTH, OTHER_COLOR, color_scale
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    SimulationOutput,
)
from ndx_simulation_output.recording.array_groups import error_of, find_times, measured, walk_arrays
from ndx_simulation_output.recording.arrays import (
    BLOCK_BYTES,
    LazyArray,
    LazyArrayBase,
    read_all,
    size_in_bytes,
)
from ndx_simulation_output.recording.display import shape_text
from ndx_simulation_output.recording.units import Scale, parse_unit
from ndx_simulation_output.recording.views import FirstIndex, Matrix, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN_ROLES = frozenset({"data", "background", "error", ""})
_Part = Literal["amplitude", "phase"]
_MOST_FOR_MEANS = 2**30
_MAX_MARKS = 60
_MAX_ASPECT = 4.0
_FIRST_DATE, _LAST_DATE = 1e8, 1e10
"""Seconds since 1970 of dates from 1973 to 2286; other times are from the start of a recording."""


@dataclass(frozen=True)
class GridAxis:
    """Values along a dimension, shape (value,); indices without a unit if they are unknown."""

    label: str
    unit: str
    values: NDArray[Any]

    @property
    def description(self) -> str:
        """Label and unit."""
        return Scale(1.0, self.unit).label(self.label)

    @property
    def date(self) -> str:
        """The date of the first value, if values are seconds since 1970; else empty."""
        unit = parse_unit(self.unit)
        if unit is None or unit.name != "seconds" or not len(self.values):
            return ""
        start = float(self.values[0]) * unit.conversion
        if not _FIRST_DATE <= start < _LAST_DATE:
            return ""
        return f"{datetime.fromtimestamp(start, tz=timezone.utc):%Y-%m-%d %H:%M:%S} UTC"

    @property
    def shown(self) -> NDArray[Any]:
        """The values to draw: seconds since 1970 from the first one."""
        return self.values - self.values[0] if self.date else self.values

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last shown value or, without an order, the lowest and the highest."""
        shown = self.shown[np.isfinite(self.shown)]
        if not len(shown):
            return np.nan, np.nan
        if order_of(self.shown):
            return float(shown[0]), float(shown[-1])
        return float(shown.min()), float(shown.max())


@dataclass(frozen=True)
class Grid:
    """An array of numbers with an axis for each dimension that is longer than one.

    ``points`` are the coordinates of the values if the only dimension has several axes, as in a
    scan along a path. ``note`` describes the shown part of the array. Of complex numbers, amplitude
    and phase are two arrays; ``is_angle`` is True for the phase, in rad. ``errors`` are those of
    the values; ``role`` is that of the array. ``titles`` are those of the array and of the groups
    around it, the nearest first.
    """

    name: str
    label: str
    unit: str
    values: LazyArray
    axes: tuple[GridAxis, ...]
    points: tuple[GridAxis, ...] = ()
    note: str = ""
    is_angle: bool = False
    errors: LazyArray | None = None
    role: str = "data"
    titles: tuple[str, ...] = ()

    @property
    def shown_label(self) -> str:
        """The label for people: the title of the array instead of a number such as CH00."""
        title = self.titles[0] if self.titles else ""
        return re.sub(r"\bCH00\b", lambda _: title, self.label) if title else self.label

    @property
    def n_bytes(self) -> int:
        """Number of bytes that a picture of the whole array reads."""
        values = self.values
        return size_in_bytes(values.array if isinstance(values, _SignalMeans) else values)

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
        part = replace(self, values=Part(self.values, first, last, dimension), axes=tuple(axes))
        if self.errors is None:
            return part
        return replace(part, errors=Part(self.errors, first, last, dimension))

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

    def line(self, pixels: int = 1000, side: float = 0.0) -> Lines:
        """Read an array of one dimension as a line along its axis.

        With a ``side`` of -1 or 1, it is the lower or the upper end of the error bars.
        """
        values = self.values
        if side and self.errors is not None:
            values = _EndOfErrors(values, self.errors, side)
        return reduce_columns(self.axes[0].values, Matrix(values), unit=self.unit, pixels=pixels)

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
    nearest group around it. Of a scan of signals with more than two dimensions, the mean over each
    signal and the first signal are shown; of other arrays, the first index of dimensions before
    the last two. Errors belong to their array; those of images are arrays of their own. Points of a
    scan of integers that were not measured are NaN.
    """
    named = {f"{path}/": part.title for path, part in group.walk()}
    for path, owner, array, axes in walk_arrays(group):
        around = [title for at, title in named.items() if f"{path}/".startswith(at) and title]
        found = _Source(path, array, axes, find_times(owner.arrays), owner.arrays)
        for grid in found.grids() if array.role in _DRAWN_ROLES else ():
            titles = dict.fromkeys(filter(None, (array.title, *reversed(around))))
            yield replace(grid, titles=tuple(titles))


@dataclass(frozen=True)
class _ComplexPart(LazyArrayBase):
    """The amplitude of complex numbers, or their phase from -π to π."""

    array: LazyArray
    part: _Part

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


@dataclass(frozen=True)
class _EndOfErrors(LazyArrayBase):
    """Values plus or minus their errors."""

    array: LazyArray
    errors: LazyArray
    side: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        errors = np.asarray(self.errors[slices], np.float64)
        return np.asarray(self.array[slices], np.float64) + self.side * np.abs(errors)


@dataclass(frozen=True)
class _SignalMeans(LazyArrayBase):
    """The mean over all dimensions except ``kept``, which are ascending; NaN are skipped."""

    array: LazyArray
    kept: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension in ``kept``."""
        return tuple(self.array.shape[dim] for dim in self.kept)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        key = [slice(None)] * len(self.array.shape)
        for dim, part in zip(self.kept, slices, strict=True):
            key[dim] = part
        first = self.kept[0]
        start, stop, every = key[first].indices(self.array.shape[first])
        length = max(size_in_bytes(self.array) // self.array.shape[first], 1)
        step = max(BLOCK_BYTES // length, 1)
        key[first] = slice(0, 0)
        parts = [self._mean(np.asarray(self.array[tuple(key)], np.float64))]
        for begin in range(start, stop, step):
            key[first] = slice(begin, min(begin + step, stop))
            parts.append(self._mean(np.asarray(self.array[tuple(key)], np.float64)))
        return np.concatenate(parts)[::every]

    def _mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        others = tuple(dim for dim in range(values.ndim) if dim not in self.kept)
        counts = np.count_nonzero(~np.isnan(values), axis=others)
        sums = np.nansum(values, axis=others)
        means = np.full(sums.shape, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means


@dataclass(frozen=True)
class _Source:
    """An array in the group ``path``, with the axes, times and other arrays there."""

    path: str
    array: ArrayWithAxes
    axes: tuple[ArrayAxis, ...]
    times: LazyArray | None
    others: tuple[ArrayWithAxes, ...]

    def grids(self) -> Iterator[Grid]:
        """Yield what is drawn of the array: nothing if it has no numbers."""
        array = self.array
        if 0 in array.values.shape or array.values.dtype.kind not in "biufc":
            return
        if array.values.dtype.kind == "c":
            name = array.label or array.title or array.name
            units: dict[_Part, str] = {"amplitude": array.unit, "phase": "rad"}
            for part, unit in units.items():
                values = _ComplexPart(array.values, part)
                of_part = replace(array, values=values, label=f"{part} of {name}", unit=unit)
                for grid in replace(self, array=of_part).grids():
                    notes = filter(None, [f"{part} of complex values", grid.note])
                    yield replace(grid, note=", ".join(notes))
            return
        lengths = array.values.shape
        long = [dim for dim, length in enumerate(lengths) if length > 1]
        nav = [dim for dim in long if dim in array.nav_indexes]
        signal = [dim for dim in long if dim not in nav]
        is_path = len(nav) == 1 and len(self._along(nav[0])) > 1
        if not (nav and signal and (len(long) > 2 or is_path)):
            yield from self._of_dimensions(long[-2:], long[:-2])
            return
        is_small = size_in_bytes(array.values) <= _MOST_FOR_MEANS
        if len(nav) <= 2 and is_small and not self._is_angle():
            means = _SignalMeans(measured(array, self.times), tuple(nav))
            over = " and ".join(self._axis(dim).label for dim in signal)
            yield self._grid(means, nav, f"mean over {over}")
        yield from self._of_dimensions(signal[-2:], [*nav, *signal[:-2]])

    def _of_dimensions(self, shown: Sequence[int], hidden: Sequence[int]) -> Iterator[Grid]:
        """Yield the array at the first index of the hidden dimensions."""
        errors = error_of({array.name: array for array in self.others}, self.array)
        is_line = len(shown) < 2
        if self.array.role == "error" and is_line and self._is_error_of_another():
            return
        values = self._at_first(measured(self.array, self.times), shown)
        grid = self._grid(values, shown, self._first_of(hidden))
        if errors is not None and is_line and errors.values.shape == self.array.values.shape:
            grid = replace(grid, errors=self._at_first(measured(errors, self.times), shown))
        yield grid

    def _at_first(self, values: LazyArray, shown: Sequence[int]) -> LazyArray:
        return values if len(shown) == len(values.shape) else FirstIndex(values, tuple(shown))

    def _is_error_of_another(self) -> bool:
        by_name = {array.name: array for array in self.others}
        found = (error_of(by_name, array) for array in self.others)
        return any(error is not None and error.name == self.array.name for error in found)

    def _grid(self, values: LazyArray, shown: Sequence[int], note: str) -> Grid:
        along = self._along(shown[0]) if len(shown) == 1 else []
        points = tuple(_axis(axis, self.array.values.shape[shown[0]]) for axis in along)
        array = self.array
        role = f" ({array.role})" if array.role in {"background", "error"} else ""
        return Grid(
            self.path,
            (array.label or array.title or array.name) + role,
            array.unit,
            values,
            tuple(self._axis(dim) for dim in shown),
            points if len(points) > 1 else (),
            note,
            is_angle=self._is_angle(),
            role=array.role,
        )

    def _is_angle(self) -> bool:
        return isinstance(self.array.values, _ComplexPart) and self.array.values.part == "phase"

    def _along(self, dimension: int) -> list[ArrayAxis]:
        """Return the axes of a dimension, sorted."""
        length = self.array.values.shape[dimension]
        found = [
            axis for axis in self.axes if axis.index == dimension and axis.values.shape == (length,)
        ]
        return sorted(found, key=lambda axis: axis.spread_order)

    def _axis(self, dimension: int) -> GridAxis:
        along = self._along(dimension)
        return _axis(along[0] if along else None, self.array.values.shape[dimension])

    def _first_of(self, dimensions: Sequence[int]) -> str:
        """Return where the first index of dimensions is, such as ``x = 3 mm, first of 20``."""
        lengths = [self.array.values.shape[dim] for dim in dimensions]
        places = []
        for dimension, length in zip(dimensions, lengths, strict=True):
            for axis in (_axis(one, length) for one in self._along(dimension)):
                value = axis.date or f"{axis.values[0]:.6g} {axis.unit}".strip()
                places.append(f"{axis.label} = {value}")
        count = [f"first of {shape_text(lengths)}"] if lengths else []
        return ", ".join([*places, *count])


def _axis(axis: ArrayAxis | None, length: int) -> GridAxis:
    if axis is None or axis.values.dtype.kind not in "biuf":
        label = "index" if axis is None else axis.label or axis.name
        return GridAxis(label, "", np.arange(length))
    values = read_all(axis.values)
    # Differences of small or unsigned integers would overflow.
    values = values if values.dtype.kind == "f" else values.astype(np.int64)
    return GridAxis(axis.label or axis.name, axis.unit, values)


@with_look
def array(grids: Grid | Sequence[Grid], *, ax: "Axes | None" = None) -> "Axes":
    """Draw an array with its axes, or several arrays of one dimension that share an axis.

    An array of one dimension is drawn as a line with error bars, one of two dimensions as an image
    with the first dimension upwards, a scan along a path as points coloured by value. A single
    value is printed. Lengths in one unit have the same scale on both axes of an image.
    ``grids_of`` and ``group_grids`` return the arrays of an output and of a group.

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
    name = ", ".join(first.titles[:2])
    path = first.name.strip("/")
    dates = [f"{axis.label} from {axis.date}" for axis in first.axes if axis.date]
    notes = [note for note in (first.note, *dates) if note]
    title(ax, name or path, ", ".join(notes) or (path if name else ""))
    fewer_ticks(ax)
    return ax


def _print_values(ax: "Axes", grids: Sequence[Grid]) -> None:
    lines = []
    for grid in grids:
        values = [grid.values] if grid.errors is None else [grid.values, grid.errors]
        texts = [f"{np.asarray(one[()]).ravel()[0]:.6g}" for one in values]
        lines.append(f"{grid.shown_label}: {' ± '.join(texts)} {grid.unit}".strip())
    ax.text(0.02, 0.9, "\n".join(lines), va="top", transform=ax.transAxes, parse_math=False)
    ax.set_axis_off()


def _draw_lines(ax: "Axes", grids: Sequence[Grid]) -> None:
    pixels = size_in_pixels(ax)[1]
    along = grids[0].axes[0]
    for grid, color in zip(grids, cycle(COLORS), strict=False):
        lines = grid.line(pixels)
        by_index = not lines.is_exact and not order_of(along.values)
        x = lines.times if by_index else lines.times + along.shown[0] - along.values[0]
        has_marks = lines.is_exact and len(x) <= _MAX_MARKS
        style: dict[str, Any] = {"color": color, "linewidth": LINE_WIDTH, "label": grid.shown_label}
        style |= {"linestyle": "--"} if grid.role == "background" else {}
        style |= {"marker": "o", "markersize": 3} if has_marks else {}
        ax.plot(x, lines.values[:, 0], **style)
        if grid.errors is not None:
            low, high = (grid.line(pixels, side).values[:, 0] for side in (-1, 1))
            if has_marks:
                ends = lines.values[:, 0] - low, high - lines.values[:, 0]
                ax.errorbar(x, lines.values[:, 0], ends, fmt="none", ecolor=color, capsize=2)
            else:
                ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)
    label_axis(ax.xaxis, f"index of {along.label}" if by_index else along.description)
    _integer_ticks_of_indices(ax.xaxis, along)
    units = dict.fromkeys(filter(None, (grid.unit for grid in grids)))
    labels = dict.fromkeys(grid.shown_label for grid in grids)
    several = grids[0].titles[0] if grids[0].titles else "value"
    name = next(iter(labels)) if len(labels) == 1 else several
    label_axis(ax.yaxis, Scale(1.0, ", ".join(units)).label(name))
    if len(grids) > 1:
        outside_legend(ax)


def _draw_points(ax: "Axes", grid: Grid) -> None:
    across, up = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    x, y = across.shown, up.shown
    ax.plot(x, y, color=OTHER_COLOR, linewidth=LINE_WIDTH, zorder=0)
    drawn = ax.scatter(x, y, c=values, plotnonfinite=True, **_coloring(grid, values))
    label_axis(ax.xaxis, across.description)
    label_axis(ax.yaxis, up.description)
    _equal_scales(ax, across, up)
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.shown_label))


def _draw_image(ax: "Axes", grid: Grid) -> None:
    up, across = grid.axes
    values, rows, columns = grid.image(size_in_pixels(ax))
    edges = (_edges(across, columns), _edges(up, rows))
    drawn = image(ax, values, *edges, **_coloring(grid, values))
    for axis, drawn_axis in ((ax.xaxis, across), (ax.yaxis, up)):
        index = f"index of {drawn_axis.label}"
        label_axis(axis, drawn_axis.description if _is_ordered(drawn_axis) else index)
        _integer_ticks_of_indices(axis, drawn_axis)
    if _is_ordered(across) and _is_ordered(up):
        _equal_scales(ax, across, up)
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.shown_label))


def _coloring(grid: Grid, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return colour map and limits: of an angle those of a circle."""
    if grid.is_angle:
        return {"cmap": "twilight_shifted", "vmin": -np.pi, "vmax": np.pi}
    return coloring(color_scale(values, grid.unit))


def _equal_scales(ax: "Axes", across: GridAxis, up: GridAxis) -> None:
    """Show lengths as they are, if both axes have one unit and similar lengths."""
    spans = [float(np.ptp(axis.values)) for axis in (across, up)]
    if across.unit == up.unit != "" and max(spans) <= _MAX_ASPECT * min(spans):
        ax.set_aspect("equal")


def _integer_ticks_of_indices(drawn: Any, axis: GridAxis) -> None:
    """Restrict the ticks of an axis to integers if it has indices instead of values."""
    if not _is_ordered(axis) or np.array_equal(axis.shown, np.arange(len(axis.values))):
        integer_ticks(drawn)


def _is_ordered(axis: GridAxis) -> bool:
    """Return True if the values of an axis are finite and strictly monotonic."""
    return order_of(axis.values) != 0 and bool(np.diff(axis.values).all())


def _edges(axis: GridAxis, bins: NDArray[np.intp]) -> NDArray[Any]:
    """Return the edges of pixels: halfway between values or, if unordered, between indices."""
    if not _is_ordered(axis):
        return bins - 0.5
    values = np.asarray(axis.shown, np.float64)
    halves = (values[1:] + values[:-1]) / 2
    first, last = 2 * values[0] - halves[0], 2 * values[-1] - halves[-1]
    return np.concatenate([[first], halves, [last]])[bins]
