"""Write columns of tables, shape (row, …), into deflated chunks that threads compress.

Whether values are shuffled is decided by compressing a sample of each column. Weights are smaller
with shuffle, which separates their noisy low bytes. Columns with few distinct values, such as
delays, are smaller without it, as whole values repeat.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray, size_in_bytes
from ndx_simulation_output.recording.sorting import RANGE_ROWS
from ndx_simulation_output.storage.filters import deflate, shuffle
from ndx_simulation_output.storage.layout import default_workers, useful_workers
from ndx_simulation_output.storage.partitions import in_order
from ndx_simulation_output.storage.raw_files import hdf5_lock

_CHUNK_BYTES = 2**19
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True)
class ColumnLayout:
    """The plan for one column: rows per chunk, and whether values are shuffled."""

    chunk: int
    is_shuffled: bool


@dataclass(frozen=True)
class Column:
    """The values ``source``, shape (row, …), to be written into ``dataset``."""

    dataset: h5py.Dataset
    source: LazyArray
    layout: ColumnLayout


def plan_column(source: LazyArray) -> ColumnLayout:
    """Return the layout of a column, shape (row, …), after compressing a sample from its middle.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> plan_column(rng.random(10_000))
    ColumnLayout(chunk=10000, is_shuffled=True)
    >>> plan_column(rng.integers(1, 17, 10_000) * 1e-4)
    ColumnLayout(chunk=10000, is_shuffled=False)

    """
    length = source.shape[0]
    row_bytes = max(1, source.dtype.itemsize * prod(source.shape[1:]))
    chunk = max(1, min(length, _CHUNK_BYTES // row_bytes))
    size = min(length, max(1, _SAMPLE_BYTES // row_bytes))
    first = (length - size) // 2
    sample = np.asarray(source[first : first + size])
    sizes = [len(_deflated(sample, is_shuffled=shuffled)) for shuffled in (True, False)]
    return ColumnLayout(chunk, is_shuffled=sizes[0] <= sizes[1])


def write_columns(
    columns: Iterable[Column],
    *,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write columns into their datasets, with only a few chunks in memory at a time.

    ``progress`` is called with the number of bytes of each chunk before compression.
    """
    columns = list(columns)
    workers = default_workers() if workers is None else workers
    workers = useful_workers(sum(size_in_bytes(column.source) for column in columns), workers)
    for dataset, start, stored, n_bytes in in_order(_encoded, _chunks(columns), workers):
        with hdf5_lock:
            dataset.id.write_direct_chunk((start, *[0] * (dataset.ndim - 1)), stored)
        if progress is not None:
            progress(n_bytes)


def _chunks(columns: Sequence[Column]) -> Iterator[tuple[Column, int]]:
    """Yield each column with the first row of each chunk, a range of rows after another.

    Columns that are sorted while they are read share the work on a range.
    """
    longest = max((column.source.shape[0] for column in columns), default=0)
    for first in range(0, longest, RANGE_ROWS):
        for column in columns:
            chunk = column.layout.chunk
            stop = min(first + RANGE_ROWS, column.source.shape[0])
            yield from ((column, start) for start in range(-(-first // chunk) * chunk, stop, chunk))


def _encoded(chunk: tuple[Column, int]) -> tuple[h5py.Dataset, int, bytes, int]:
    """Return dataset, first row, stored bytes and size of a chunk of a column."""
    column, start = chunk
    length = column.layout.chunk
    values = np.asarray(column.source[start : min(start + length, column.source.shape[0])])
    # HDF5 stores whole chunks; the values beyond the end are never read.
    whole = np.zeros((length, *values.shape[1:]), column.dataset.dtype)
    whole[: len(values)] = values
    stored = _deflated(whole, is_shuffled=column.layout.is_shuffled)
    return column.dataset, start, stored, values.nbytes


def _deflated(values: NDArray[Any], *, is_shuffled: bool) -> bytes:
    flat = np.ascontiguousarray(values)
    return deflate(shuffle(flat) if is_shuffled else flat.view(np.uint8).reshape(1, -1))
