"""Downsampling of traces and matrices to the pixels of a plot."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.choices import How
from ndx_simulation_output.recording.arrays import BLOCK_BYTES, LazyArray, chunks_of, release
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.traces import dtype_in_unit, read_in_unit
from ndx_simulation_output.recording.units import Unit

Indices = NDArray[np.intp]

_POINTS = 4
"""Points per pixel of a trace: first, lowest, highest and last value."""


class Recorded(Protocol):
    """Values of columns over time: a report or an extracellular potential."""

    @property
    def name(self) -> str:
        """Name of the recording."""

    @property
    def data(self) -> LazyArray:
        """Values, shape (time, column)."""

    @property
    def times(self) -> Times:
        """Times of the rows."""

    @property
    def unit(self) -> Unit:
        """Unit of the values."""


def column_edges(count: int, pixels: int) -> Indices:
    """Return the edges of bins of columns, at most one bin per pixel; shape (bin + 1,)."""
    bins = max(1, min(count, pixels))
    return np.arange(bins + 1) * count // bins


def row_edges(times: Times, rows: slice, pixels: int) -> Indices:
    """Return the edges of non-empty bins of rows of equal duration; shape (bin + 1,).

    There is one bin per pixel at most.
    """
    count = rows.stop - rows.start
    if isinstance(times, RegularTimes) or count <= pixels:
        edges: Indices = rows.start + column_edges(count, pixels)
        return edges
    seconds = times.seconds(rows)
    inner_times = np.linspace(seconds[0], seconds[-1], pixels + 1)[1:-1]
    inner = np.searchsorted(seconds, inner_times)
    return np.asarray(rows.start + np.unique(np.concatenate([[0], inner, [count]])))


def sample_bins(edges: Indices) -> Indices:
    """Return a random index in each bin, with a fixed seed; shape (bin,).

    Evenly spaced indices would alias with periodic data.
    """
    fractions = np.random.default_rng(0).random(len(edges) - 1)
    return np.asarray(edges[:-1] + (fractions * np.diff(edges)).astype(np.intp))


def sample(count: int, most: int) -> Indices:
    """Return at most ``most`` of ``count`` indices in order, chosen with a fixed seed."""
    return sample_bins(column_edges(count, most)) if count else np.zeros(0, np.intp)


def spread(count: int, most: int) -> Indices:
    """Return at most ``most`` of ``count`` indices, evenly spaced from 0."""
    chosen = min(count, most)
    return np.arange(chosen) * count // max(chosen, 1)


def row_blocks(data: LazyArray, rows: slice, columns: int) -> Iterator[slice]:
    """Split rows into blocks of bounded size that end at chunks, unless chunks are too large."""
    row_bytes = data.dtype.itemsize * max(1, columns)
    height = max(1, BLOCK_BYTES // row_bytes)
    chunk = chunks_of(data)[0]
    height = max(height // chunk, 1) * chunk if chunk * row_bytes <= 4 * BLOCK_BYTES else height
    top = rows.start
    while top < rows.stop:
        bottom = min(rows.stop, (top // height + 1) * height)
        yield slice(top, bottom)
        top = bottom


def parts_of(edges: Indices, rows: slice) -> tuple[slice, Indices]:
    """Return the bins that overlap a block of rows, and the first row of each in the block."""
    first = int(np.searchsorted(edges, rows.start, "right")) - 1
    last = int(np.searchsorted(edges, rows.stop, "left"))
    return slice(first, last), np.maximum(edges[first:last], rows.start) - rows.start


def seconds_at(times: Times, rows: Indices) -> NDArray[np.float64]:
    """Return the times (s) of rows in ascending order; timestamps between them are read too."""
    if isinstance(times, RegularTimes):
        return np.asarray(times.start + rows / times.rate)
    window = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    return np.asarray(times.seconds(window)[rows - window.start])


class Pixels:
    """Pixels of an image, shape (time pixel, column pixel), updated with blocks of values."""

    def __init__(self, shape: tuple[int, int], how: How) -> None:
        self.how = how
        self.values = np.zeros(shape) if how == "mean" else np.full(shape, np.nan)
        self.counts = np.zeros(shape)

    def add(self, inside: slice, values: NDArray[Any], tops: Indices, lefts: Indices) -> None:
        """Add values, shape (row, column), to the time pixels ``inside``.

        Pixels begin at the rows ``tops`` and the columns ``lefts``.
        """
        if self.how == "mean":
            known = ~np.isnan(values)
            numbers = np.where(known, values, 0).astype(np.float64)
            self.values[inside] += _sum(numbers, tops, lefts)
            self.counts[inside] += _sum(known.astype(np.float64), tops, lefts)
            return
        extreme = np.fmax if self.how == "max" else np.fmin
        part = extreme.reduceat(extreme.reduceat(values, lefts, axis=1), tops, axis=0)
        self.values[inside] = extreme(self.values[inside], part)

    def image(self) -> NDArray[np.float64]:
        """Return the image, shape (column pixel, time pixel), NaN for pixels without values."""
        if self.how != "mean":
            return self.values.T
        means = np.full(self.values.shape, np.nan)
        np.divide(self.values, self.counts, out=means, where=self.counts > 0)
        return means.T


def _sum(values: NDArray[np.float64], tops: Indices, lefts: Indices) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.add.reduceat(
        np.add.reduceat(values, lefts, axis=1), tops, axis=0
    )
    return sums


@dataclass(frozen=True)
class Lines:
    """Traces as lines: ``times`` (s) has shape (point,), ``values`` shape (point, trace).

    If ``is_exact``, each of the ``samples`` rows is a point. Otherwise each pixel has four points:
    its first, lowest, highest and last value, the extremes at the middle of the pixel, so that a
    line through them covers the same pixels as a line through all samples. Values are in the unit
    named ``unit``; NaN are gaps.
    """

    times: NDArray[np.float64]
    values: NDArray[Any]
    unit: str
    samples: int
    is_exact: bool


def reduce_traces(
    recorded: Recorded,
    columns: NDArray[np.intp] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    pixels: int = 1000,
) -> Lines:
    """Read traces of some columns, or all, for a plot that is ``pixels`` wide.

    Rows with ``start <= time < stop`` (s) are read, in blocks of bounded size. Extreme values are
    preserved.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> report = simulate(duration=0.02)["v_exc"]
    >>> lines = reduce_traces(report, report.compartments.find(3, 0), pixels=10)
    >>> lines.values.shape, lines.samples
    ((40, 1), 200)

    """
    rows = recorded.times.window(start, stop)
    count = rows.stop - rows.start
    is_exact = count <= _POINTS * pixels
    if is_exact:
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        times = recorded.times.seconds(rows)
    else:
        edges = row_edges(recorded.times, rows, pixels)
        values = _read_extremes(recorded, columns, edges)
        first = seconds_at(recorded.times, edges[:-1])
        last = seconds_at(recorded.times, edges[1:] - 1)
        middle = (first + last) / 2
        times = np.stack([first, middle, middle, last], axis=1).ravel()
    release(recorded.data)
    return Lines(times, values, recorded.unit.name, count, is_exact)


def _read_extremes(
    recorded: Recorded, columns: NDArray[np.intp] | None, edges: Indices
) -> NDArray[Any]:
    """Return first, lowest, highest and last value of each bin; shape (4 * bin, column)."""
    bins = len(edges) - 1
    width = recorded.data.shape[1] if columns is None else len(columns)
    dtype = dtype_in_unit(recorded.data.dtype, recorded.unit)
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    found = np.full((bins, _POINTS, width), np.nan, dtype)
    for rows in row_blocks(recorded.data, slice(int(edges[0]), int(edges[-1])), width):
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        release(recorded.data)
        inside, starts = parts_of(edges, rows)
        part = found[inside]
        begins = edges[inside] >= rows.start
        part[begins, 0] = values[starts[begins]]
        part[:, 1] = np.fmin(part[:, 1], np.fmin.reduceat(values, starts, axis=0))
        part[:, 2] = np.fmax(part[:, 2], np.fmax.reduceat(values, starts, axis=0))
        # The last value of a bin that continues in the next block is replaced there.
        part[:, 3] = values[np.append(starts[1:], len(values)) - 1]
    return found.reshape(bins * _POINTS, width)


@dataclass(frozen=True)
class Columns:
    """Columns of an array in the form of a recording."""

    name: str
    data: LazyArray
    times: Times
    unit: Unit


def reduce_columns(
    x: NDArray[Any], data: LazyArray, *, unit: str = "", pixels: int = 1000
) -> Lines:
    """Read the columns of an array (value, column) as lines along ``x``, shape (value,).

    ``times`` of the lines are values of ``x``; if there are more values than points and ``x`` has
    no order (``order_of``), indices.
    """
    if len(x) <= _POINTS * pixels:
        values = np.asarray(data[:, :])
        return Lines(np.asarray(x, np.float64), values, unit, len(x), is_exact=True)
    direction = order_of(x)
    times = Timestamps(direction * x) if direction else RegularTimes(0.0, 1.0, len(x))
    found = reduce_traces(Columns("", data, times, Unit(unit, checked=False)), pixels=pixels)
    return replace(found, times=(direction or 1) * found.times)


def order_of(x: NDArray[np.float64]) -> int:
    """Return 1 if finite values do not descend, -1 if they do not ascend, and otherwise 0."""
    steps = np.diff(x)
    return int(np.isfinite(x).all()) * (int((steps >= 0).all()) or -int((steps <= 0).all()))


def stack_traces(values: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Centre traces, shape (point, trace), at 0, 1, 2, …; return them and the value of one step.

    One step is the range of the trace with the largest range. Infinite values are NaN.
    """
    known = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    low = np.fmin.reduce(known, axis=0, initial=np.nan)
    high = np.fmax.reduce(known, axis=0, initial=np.nan)
    step = float(np.fmax.reduce(high - low, initial=0.0)) or 1.0
    return (known - (low + high) / 2) / step + np.arange(known.shape[1]), step
