"""Traces with as many points as a picture can show."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray, release
from ndx_simulation_output.recording.reduced.bins import (
    Indices,
    column_edges,
    one_of_each,
    parts_of,
    row_blocks,
    row_edges,
    seconds_at,
)
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.traces import dtype_in_unit, read_in_unit
from ndx_simulation_output.recording.units import Unit

__all__ = [
    "Lines",
    "Recorded",
    "reduce_columns",
    "reduce_traces",
    "sample",
    "spread",
    "stack_traces",
]

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
