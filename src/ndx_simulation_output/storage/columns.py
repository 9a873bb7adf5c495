"""Write columns of tables, compressed in threads."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray, size_in_bytes
from ndx_simulation_output.storage.filters import deflate, shuffle
from ndx_simulation_output.storage.partitions import default_workers, in_order, useful_workers
from ndx_simulation_output.storage.raw_files import hdf5_lock

# Columns of tables, shape (row,), stored shuffled or not and deflated: chunks made in threads.
#
# The low bits of weights are noise, so their bytes lie in planes (shuffled), and planes of noise
# are stored as they are. Of few distinct values, such as delays, whole values repeat, which
# planes hide: a sample of each column says which is shorter.

_CHUNK_BYTES = 2**19
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True)
class ColumnLayout:
    """The plan for one column: ``chunk`` values lie together, shuffled before they are deflated."""

    chunk: int
    is_shuffled: bool


@dataclass(frozen=True)
class Column:
    """Values of ``source``, shape (row,), that belong into ``dataset``, laid out as planned."""

    dataset: h5py.Dataset
    source: LazyArray
    layout: ColumnLayout


def plan_column(source: LazyArray) -> ColumnLayout:
    """Plan how a column, shape (row,), is stored; a sample from its middle is read.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> plan_column(rng.random(10_000))
    ColumnLayout(chunk=10000, is_shuffled=True)
    >>> plan_column(rng.integers(1, 17, 10_000) * 1e-4)
    ColumnLayout(chunk=10000, is_shuffled=False)

    """
    length, itemsize = source.shape[0], source.dtype.itemsize
    chunk = max(1, min(length, _CHUNK_BYTES // itemsize))
    size = min(length, _SAMPLE_BYTES // itemsize)
    first = (length - size) // 2
    sample = np.asarray(source[first : first + size])
    sizes = [len(_deflated(sample, is_shuffled=how)) for how in (True, False)]
    return ColumnLayout(chunk, is_shuffled=sizes[0] <= sizes[1])


def write_columns(
    columns: Iterable[Column],
    *,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write columns into their datasets, a few chunks in memory at a time.

    ``progress`` is called with the number of bytes of each chunk of the sources.

    Raises
    ------
    SourceError
        If a source cannot be read.
    OSError
        If the file cannot be written.

    """
    columns = list(columns)
    workers = default_workers() if workers is None else workers
    workers = useful_workers(sum(size_in_bytes(column.source) for column in columns), workers)
    for part in in_order(_made, _parts(columns), workers):
        with hdf5_lock:
            part.column.dataset.id.write_direct_chunk((part.start,), part.stored)
        if progress is not None:
            progress(part.n_bytes)


@dataclass
class _Part:
    """A chunk of a column; when it is made, the bytes to store, and how many they were before."""

    column: Column
    start: int
    stored: bytes = b""
    n_bytes: int = 0


def _parts(columns: Iterable[Column]) -> Iterator[_Part]:
    for column in columns:
        for start in range(0, column.source.shape[0], column.layout.chunk):
            yield _Part(column, start)


def _made(part: _Part) -> _Part:
    source, layout = part.column.source, part.column.layout
    stop = min(part.start + layout.chunk, source.shape[0])
    values = np.asarray(source[part.start : stop])
    part.n_bytes = values.nbytes
    # HDF5 stores whole chunks; what is beyond the end is never read.
    whole = np.zeros(layout.chunk, part.column.dataset.dtype)
    whole[: len(values)] = values
    part.stored = _deflated(whole, is_shuffled=layout.is_shuffled)
    return part


def _deflated(values: NDArray[Any], *, is_shuffled: bool) -> bytes:
    """Give the bytes of a chunk; its planes, or the only one, deflated."""
    flat = np.ascontiguousarray(values)
    return deflate(shuffle(flat) if is_shuffled else flat.view(np.uint8).reshape(1, -1))
