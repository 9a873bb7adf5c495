"""Rows in bins, one for each pixel, and blocks of rows to read them in."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import BLOCK_BYTES, LazyArray, chunks_of
from ndx_simulation_output.recording.times import RegularTimes, Times

__all__ = [
    "Indices",
    "column_edges",
    "one_of_each",
    "parts_of",
    "row_blocks",
    "row_edges",
    "seconds_at",
]

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
