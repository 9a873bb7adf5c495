"""Values of many columns over time as an image."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import release
from ndx_simulation_output.recording.reduced.bins import (
    Indices,
    column_edges,
    one_of_each,
    parts_of,
    row_blocks,
    row_edges,
    seconds_at,
)
from ndx_simulation_output.recording.reduced.pixels import How, Pixels
from ndx_simulation_output.recording.reduced.series import Recorded
from ndx_simulation_output.recording.times import RegularTimes, Times
from ndx_simulation_output.recording.traces import read_in_unit

__all__ = ["MOST_BYTES", "HeatMap", "heat_map"]

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
