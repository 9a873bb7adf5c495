"""Downsample traces and matrices to the pixels of a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import BLOCK_BYTES, LazyArray, chunks_of, release
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.traces import dtype_in_unit, read_in_unit
from ndx_simulation_output.recording.units import Unit

# Rows in bins, one for each pixel, and blocks of rows to read them in.

Indices = NDArray[np.intp]


def column_edges(count: int, pixels: int) -> Indices:
    """Give where bins of ``count`` things begin and end, at most one for each pixel; (bin + 1,).

    Example
    -------
    >>> column_edges(5, 2).tolist(), column_edges(2, 5).tolist()
    ([0, 2, 5], [0, 1, 2])

    """
    bins = max(1, min(count, pixels))
    return np.arange(bins + 1) * count // bins


def one_of_each(edges: Indices) -> Indices:
    """Give an index in each bin, by chance, always the same; shape (bin,).

    By chance, because what is evenly spread falls in with whatever repeats itself.

    Example
    -------
    >>> one_of_each(np.array([0, 1, 1000, 2000])).tolist()
    [0, 270, 1040]

    """
    chance = np.random.default_rng(0).random(len(edges) - 1)
    return np.asarray(edges[:-1] + (chance * np.diff(edges)).astype(np.intp))


def row_edges(times: Times, rows: slice, pixels: int) -> Indices:
    """Give where bins of rows begin and end, equal in time, without those that are empty.

    There are at most ``pixels`` of them, and at least one row in each; shape (bin + 1,).
    """
    count = rows.stop - rows.start
    if isinstance(times, RegularTimes) or count <= pixels:
        edges: Indices = rows.start + column_edges(count, pixels)
        return edges
    seconds = times.seconds(rows)
    between = np.linspace(seconds[0], seconds[-1], pixels + 1)[1:-1]
    inner = np.searchsorted(seconds, between)
    return np.asarray(rows.start + np.unique(np.concatenate([[0], inner, [count]])))


def row_blocks(data: LazyArray, rows: slice, columns: int) -> Iterator[slice]:
    """Cut rows into blocks of bounded size, of whole chunks where these are small enough."""
    row_bytes = data.dtype.itemsize * max(1, columns)
    height = max(1, BLOCK_BYTES // row_bytes)
    chunk = chunks_of(data)[0]
    height = max(height // chunk, 1) * chunk if chunk * row_bytes <= 4 * BLOCK_BYTES else height
    top = rows.start
    while top < rows.stop:
        below = min(rows.stop, (top // height + 1) * height)
        yield slice(top, below)
        top = below


def parts_of(edges: Indices, rows: slice) -> tuple[slice, Indices]:
    """Give the bins that have rows of a block, and where each begins in the block."""
    first = int(np.searchsorted(edges, rows.start, "right")) - 1
    last = int(np.searchsorted(edges, rows.stop, "left"))
    return slice(first, last), np.maximum(edges[first:last], rows.start) - rows.start


def seconds_at(times: Times, rows: Indices) -> NDArray[np.float64]:
    """Give the times (s) of ascending rows; of irregular times all between are read."""
    if isinstance(times, RegularTimes):
        return np.asarray(times.start + rows / times.rate)
    window = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    return np.asarray(times.seconds(window)[rows - window.start])


# Pixels of an image, while the values that fall into them come in part by part.

How = Literal["mean", "max", "min"]
"""What a pixel shows of the values that fall into it."""


class Pixels:
    """What is known of each pixel, of shape (time pixel, column pixel), while values come in."""

    def __init__(self, shape: tuple[int, int], how: How) -> None:
        self.how = how
        self.values = np.zeros(shape) if how == "mean" else np.full(shape, np.nan)
        self.counts = np.zeros(shape)

    def add(self, inside: slice, values: NDArray[Any], tops: Indices, lefts: Indices) -> None:
        """Add values, shape (row, column), whose bins begin at these rows and columns."""
        if self.how == "mean":
            known = ~np.isnan(values)
            numbers = np.where(known, values, 0).astype(np.float64)
            self.values[inside] += _summed(numbers, tops, lefts)
            self.counts[inside] += _summed(known.astype(np.float64), tops, lefts)
            return
        extreme = np.fmax if self.how == "max" else np.fmin
        part = extreme.reduceat(extreme.reduceat(values, lefts, axis=1), tops, axis=0)
        self.values[inside] = extreme(self.values[inside], part)

    def image(self) -> NDArray[np.float64]:
        """Give the image, shape (column pixel, time pixel)."""
        if self.how != "mean":
            return self.values.T
        shown = np.full(self.values.shape, np.nan)
        np.divide(self.values, self.counts, out=shown, where=self.counts > 0)
        return shown.T


def _summed(values: NDArray[np.float64], tops: Indices, lefts: Indices) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.add.reduceat(
        np.add.reduceat(values, lefts, axis=1), tops, axis=0
    )
    return summed


# Traces with as many points as a picture can show.

_POINTS = 4
"""Points of a bin: its first value, its lowest, its highest, its last."""


class Recorded(Protocol):
    """What a report and an extracellular potential have in common: values of columns over time."""

    @property
    def name(self) -> str:
        """Name of the recording."""

    @property
    def data(self) -> LazyArray:
        """Values, shape (time, column)."""

    @property
    def times(self) -> Times:
        """When the rows were taken."""

    @property
    def unit(self) -> Unit:
        """Unit of the values."""


@dataclass(frozen=True)
class Lines:
    """Traces as lines: ``times`` (s) has shape (point,), ``values`` shape (point, trace).

    Of ``samples`` rows, each is a point if ``is_exact``. Else there are four points for each
    pixel: the first value in it, the lowest, the highest and the last, so that a line through them
    covers the pixels that a line through all samples covers. The lowest and the highest stand at
    the middle of the pixel. Values are in the unit named ``unit``; NaN are gaps.
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
    """Read the traces of some columns, all if None, for a picture that is ``pixels`` wide.

    Rows with ``start <= time < stop`` (s) are read, in blocks of bounded size. Every extreme value
    is kept.

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
    edges = row_edges(recorded.times, rows, count if is_exact else pixels)
    if is_exact:
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        times = recorded.times.seconds(rows)
    else:
        values = _extremes(recorded, columns, edges)
        times = _times_of(recorded.times, edges)
    release(recorded.data)
    return Lines(times, values, recorded.unit.name, count, is_exact)


def stack_traces(values: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Put traces, shape (point, trace), above each other: the k-th around k.

    Gives them, and how much of their unit is 1: the widest trace reaches from k - 1/2 to k + 1/2.

    Example
    -------
    >>> stack_traces(np.array([[0.0, 10.0], [4.0, 12.0]]))
    (array([[-0.5 ,  0.75],
           [ 0.5 ,  1.25]]), 4.0)

    """
    low = np.fmin.reduce(values, axis=0, initial=np.nan)
    high = np.fmax.reduce(values, axis=0, initial=np.nan)
    step = float(np.fmax.reduce(high - low, initial=0.0)) or 1.0
    return (values - (low + high) / 2) / step + np.arange(values.shape[1]), step


@dataclass(frozen=True)
class _Columns:
    """Columns of an array as a recording."""

    name: str
    data: LazyArray
    times: Times
    unit: Unit


def reduce_columns(
    x: NDArray[Any], data: LazyArray, *, unit: str = "", pixels: int = 1000
) -> Lines:
    """Give the columns of an array (value, column) as lines along ``x``, of shape (value,).

    The place of a point is in ``times``. Where ``x`` does not ascend, values that are more than the
    points of the picture stand at their index.

    Example
    -------
    >>> reduce_columns(np.arange(3.0), np.ones((3, 2))).values.shape
    (3, 2)

    """
    if len(x) <= _POINTS * pixels:
        values = np.asarray(data[:, :])
        return Lines(np.asarray(x, np.float64), values, unit, len(x), is_exact=True)
    ascends = bool((np.diff(x) > 0).all())
    times = Timestamps(x) if ascends else RegularTimes(0.0, 1.0, len(x))
    return reduce_traces(_Columns("", data, times, Unit(unit)), pixels=pixels)


def sample(count: int, most: int) -> NDArray[np.intp]:
    """Give at most ``most`` of the first ``count`` numbers, ascending: by chance, always the same.

    Example
    -------
    >>> len(sample(1000, 10)), sample(3, 10).tolist()
    (10, [0, 1, 2])

    """
    return one_of_each(column_edges(count, most)) if count else np.zeros(0, np.intp)


def spread(count: int, most: int) -> NDArray[np.intp]:
    """Give at most ``most`` of the first ``count`` numbers, evenly spread, the first among them.

    Example
    -------
    >>> spread(10, 3).tolist()
    [0, 3, 6]

    """
    chosen = min(count, most)
    return np.arange(chosen) * count // max(chosen, 1)


def _extremes(recorded: Recorded, columns: NDArray[np.intp] | None, edges: Indices) -> NDArray[Any]:
    """Give first, lowest, highest and last value of each bin; shape (4 * bin, column)."""
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
        # Later blocks put the last value of a bin over that of an earlier one.
        part[:, 3] = values[np.append(starts[1:], len(values)) - 1]
    return found.reshape(bins * _POINTS, width)


def _times_of(times: Times, edges: Indices) -> NDArray[np.float64]:
    first = seconds_at(times, edges[:-1])
    last = seconds_at(times, edges[1:] - 1)
    middle = (first + last) / 2
    return np.stack([first, middle, middle, last], axis=1).ravel()


# Values of many columns over time as an image.

MOST_BYTES = 2**28
"""So many bytes of values are read at most; beyond, they are sampled."""


@dataclass(frozen=True)
class HeatMap:
    """An image of shape (column pixel, time pixel), in the unit named ``unit``.

    ``columns`` (column pixel + 1,) are where the bins begin and end among the chosen columns,
    ``times`` (time pixel + 1,) in seconds. Each pixel is the ``how`` of the values in it; NaN where
    there are none. Where that would be too much to read, only ``columns_read`` of all columns and
    ``rows_read`` of all rows were: a column by chance of each bin, the first rows of each.
    """

    values: NDArray[np.float64]
    columns: Indices
    times: NDArray[np.float64]
    unit: str
    how: How
    columns_read: int
    rows_read: int
    rows: int

    @property
    def note(self) -> str:
        """Say in words what a pixel shows, empty if each value has one."""
        parts = []
        width = len(self.times) - 1
        if self.columns_read < self.columns[-1]:
            parts.append(f"{self.columns_read:,} of {int(self.columns[-1]):,} compartments")
        if self.rows_read < self.rows:
            parts.append(f"{self.rows_read:,} of {self.rows:,} times")
        heights = self.columns_read / max(len(self.columns) - 1, 1)
        together = heights * self.rows_read / max(width, 1)
        if together > 1:
            parts.append(f"{self.how} of {together:.3g} values a pixel")
        return ", ".join(parts)


def heat_map(
    recorded: Recorded,
    columns: NDArray[np.intp] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    shape: tuple[int, int] = (500, 1000),
    how: How = "mean",
    most_bytes: int = MOST_BYTES,
) -> HeatMap:
    """Read the values of some columns, all if None, for an image of ``shape`` (height, width).

    Rows with ``start <= time < stop`` (s) are shown. Where their values are more than
    ``most_bytes``, only one column for each pixel is read, and where that is still too much only
    the first rows of each pixel.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> report = simulate(duration=0.02)["v_exc"]
    >>> heat_map(report, shape=(20, 50)).note
    'mean of 27.8 values a pixel'

    """
    rows = recorded.times.window(start, stop)
    count = rows.stop - rows.start
    wanted = np.arange(recorded.data.shape[1]) if columns is None else columns
    across = column_edges(len(wanted), shape[0])
    along = row_edges(recorded.times, rows, shape[1])
    itemsize = recorded.data.dtype.itemsize
    groups = across
    if count * len(wanted) * itemsize > most_bytes:
        wanted = wanted[one_of_each(across)]
        groups = np.arange(len(wanted) + 1)
    most_rows = max(1, most_bytes // (itemsize * max(1, len(wanted)) * max(1, len(along) - 1)))
    if not count or not len(wanted):
        values, rows_read = np.full((len(across) - 1, len(along) - 1), np.nan), 0
    elif count * len(wanted) * itemsize > most_bytes:
        values, rows_read = _sampled(recorded, wanted, along, most_rows, how)
    else:
        values, rows_read = _all(recorded, wanted, groups, along, how), count
    release(recorded.data)
    times = _time_edges(recorded.times, along)
    name = recorded.unit.name
    return HeatMap(values, across, times, name, how, len(wanted), rows_read, count)


def _all(
    recorded: Recorded, columns: NDArray[np.intp], groups: Indices, along: Indices, how: How
) -> NDArray[np.float64]:
    """Reduce every value of the columns; shape (column pixel, time pixel)."""
    found = Pixels((len(along) - 1, len(groups) - 1), how)
    everything = len(columns) == recorded.data.shape[1] and bool(
        (columns == np.arange(len(columns))).all()
    )
    for rows in row_blocks(recorded.data, slice(int(along[0]), int(along[-1])), len(columns)):
        values = read_in_unit(recorded.data, rows, None if everything else columns, recorded.unit)
        release(recorded.data)
        inside, starts = parts_of(along, rows)
        found.add(inside, values, starts, groups[:-1])
    return found.image()


def _sampled(
    recorded: Recorded, columns: NDArray[np.intp], along: Indices, most_rows: int, how: How
) -> tuple[NDArray[np.float64], int]:
    """Reduce the first rows of each time pixel, and count them."""
    found = Pixels((len(along) - 1, len(columns)), how)
    groups, read = np.arange(len(columns)), 0
    for pixel, (top, below) in enumerate(pairwise(along)):
        rows = slice(int(top), int(min(below, top + most_rows)))
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        found.add(slice(pixel, pixel + 1), values, np.zeros(1, np.intp), groups)
        read += len(values)
    return found.image(), read


def _time_edges(times: Times, along: Indices) -> NDArray[np.float64]:
    """Give the times (s) at which bins of rows begin and end; the last lasts as long as a row."""
    if isinstance(times, RegularTimes):
        return seconds_at(times, along)
    firsts = seconds_at(times, along[:-1])
    if not len(firsts):
        return np.zeros(1)
    last = seconds_at(times, along[-1:] - 1)
    step = (last[0] - firsts[0]) / max(1, along[-1] - along[0] - 1)
    return np.append(firsts, last[0] + step)
