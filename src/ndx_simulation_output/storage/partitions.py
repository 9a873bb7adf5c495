"""Cut a source into regions, which are read once, and pieces, which threads process in order.

A region of a source that lies in memory is only a range of rows and columns. Any other source, such
as deflated chunks, is read into memory region by region, or into a temporary file where chunks
are so wide or long that a region would exceed the memory.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from traceback import clear_frames
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.files import uninterrupted
from ndx_simulation_output.recording.arrays import (
    LazyArray,
    chunks_of,
    is_mapped,
    read_block,
    read_columns,
    release,
)
from ndx_simulation_output.recording.views import Columns, reordered
from ndx_simulation_output.storage.chunk_cache import keeping_nothing
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.system import allocate

_RELEASE_BYTES = 2**28
_LARGEST_BATCH = 256

_Input = TypeVar("_Input")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Input], _Result], items: Iterable[_Input], workers: int
) -> Iterator[_Result]:
    """Yield the results for all items in order; threads compute a few of them in advance.

    Without workers this is ``map``.

    Example
    -------
    >>> list(in_order(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]

    """
    try:
        if workers <= 0:
            yield from map(function, items)
        else:
            yield from _in_threads(function, items, workers)
    except Exception as error:
        # Views in the frames of the function would hold the lease of a file as long as the error.
        clear_frames(error.__traceback__)
        raise


def _in_threads(
    function: Callable[[_Input], _Result], items: Iterable[_Input], workers: int
) -> Iterator[_Result]:
    pool = ThreadPoolExecutor(workers)
    ahead: deque[Future[_Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        with uninterrupted():  # The threads may write to a file that the caller closes next.
            pool.shutdown(cancel_futures=True)


def run_all(function: Callable[[_Input], None], jobs: list[_Input], workers: int) -> None:
    """Run all jobs, in batches because passing a single job to a thread is slow.

    An interruption waits for the batches that have begun.
    """
    size = min(max(1, len(jobs) // (8 * max(workers, 1))), _LARGEST_BATCH)
    batches = [jobs[first : first + size] for first in range(0, len(jobs), size)]

    def run(batch: list[_Input]) -> None:
        for job in batch:
            function(job)

    for _ in in_order(run, batches, workers if len(batches) > 1 else 0):
        pass


@dataclass(frozen=True)
class Piece:
    """Rows and columns of a region that one worker processes."""

    region: "Region"
    rows: slice
    columns: slice

    def read(self) -> NDArray[Any]:
        """Return the values, possibly as a view of the source that must not be kept."""
        return self.region.read(self.rows, self.columns)


@dataclass(frozen=True)
class Region:
    """Rows and columns of a source; ``values`` is None if they are read piece by piece."""

    source: LazyArray
    rows: slice
    columns: slice
    values: NDArray[Any] | None = None

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return rows and columns, numbered as in the source."""
        if self.values is None:
            return read_block(self.source, rows, columns)
        return self.values[_within(rows, self.rows), _within(columns, self.columns)]

    def pieces(self, layout: Layout) -> Iterator[Piece]:
        """Cut the region into pieces."""
        for block in _blocks(self.rows, self.columns, *layout.piece):
            yield Piece(self, *block)

    def release(self) -> None:
        """Free the memory of the values that were read."""
        release(self.source)


def regions(
    source: LazyArray,
    layout: Layout,
    columns: range,
    directory: Path | None = None,
    rows: range | None = None,
) -> Iterator[Region]:
    """Cut the ``columns`` of a source, shape (time, column), into regions of whole pieces.

    ``rows``, all by default, begin with a chunk. A temporary file is created in ``directory``.
    """
    rows = range(source.shape[0]) if rows is None else rows
    if not columns or not rows:
        return
    if is_mapped(source):
        row_bytes = source.dtype.itemsize * len(columns)
        height = round_up(max(1, _RELEASE_BYTES // row_bytes), layout.piece[0])
        for block in _blocks(rows, columns, height, len(columns)):
            yield Region(source, *block)
        return
    height, width = region_shape(source, layout, len(columns))
    if height * width * source.dtype.itemsize <= layout.memory:
        for block in _blocks(rows, columns, height, width):
            yield Region(source, *block, _read_past_cache(source, *block))
        return
    with tempfile.TemporaryFile(dir=directory) as file:
        for block in _blocks(rows, columns, height, width):
            yield Region(source, *block, _read_into_file(source, *block, file, layout.memory))


def _read_past_cache(source: LazyArray, rows: slice, columns: slice) -> NDArray[Any]:
    with keeping_nothing():
        return read_block(source, rows, columns)


def _blocks(
    rows: range | slice, columns: range | slice, height: int, width: int
) -> Iterator[tuple[slice, slice]]:
    for top in range(rows.start, rows.stop, height):
        down = slice(top, min(top + height, rows.stop))
        for left in range(columns.start, columns.stop, width):
            yield down, slice(left, min(left + width, columns.stop))


def region_shape(source: LazyArray, layout: Layout, n_columns: int) -> tuple[int, int]:
    """Return rows and columns of a region: whole chunks of the source, and whole pieces."""
    source_height, source_width = chunks_of(source)
    height = min(
        round_up(source_height, layout.piece[0]), round_up(source.shape[0], layout.piece[0])
    )
    step = layout.chunks[1] if layout.chunks else n_columns
    most = layout.memory // (height * source.dtype.itemsize)
    least = max(source_width, step)
    width = max(most // least * least, least)
    return height, min(round_up(width, step), n_columns)


def _read_into_file(
    source: LazyArray, rows: slice, columns: slice, file: Any, memory: int
) -> NDArray[Any]:
    """Read a region into a temporary file, by blocks of whole chunks of the source."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    # Writing to a mapped file on a full disk would kill the process.
    allocate(file.fileno(), shape[0] * shape[1] * source.dtype.itemsize)
    values = np.memmap(file, source.dtype.newbyteorder("="), "w+", shape=shape)
    scattered = reordered(source)
    if scattered is not None:
        _gather(source, scattered, rows, columns, values, memory)
        return values
    height, width = _block_shape(chunks_of(source), shape[1], memory // source.dtype.itemsize)
    for part in product(_parts(rows, height), _parts(columns, width)):
        # A variable would keep the values in memory while the next block is read.
        values[_within(part[0], rows), _within(part[1], columns)] = _read_past_cache(source, *part)
    return values


def _gather(
    source: LazyArray,
    scattered: Columns,
    rows: slice,
    columns: slice,
    values: NDArray[Any],
    memory: int,
) -> None:
    """Read reordered columns, grouped by the chunks of the wrapped array."""
    wrapped = scattered.array
    height, width = _block_shape(
        chunks_of(wrapped), wrapped.shape[1], memory // wrapped.dtype.itemsize
    )
    for part in _parts(rows, height):
        for group in scattered.groups(columns, width):
            target = _within(part, rows), group - columns.start
            with keeping_nothing():
                values[target] = read_columns(source, part, group)


def _block_shape(chunks: tuple[int, int], n_columns: int, n_values: int) -> tuple[int, int]:
    """Return rows and columns of whole chunks with about ``n_values``, as wide as possible."""
    height, width = chunks
    wide = min(_down(n_values // height, width), round_up(n_columns, width))
    return _down(n_values // wide, height), wide


def _parts(part: slice, step: int) -> Iterator[slice]:
    """Cut rows or columns at multiples of ``step``."""
    edges = [part.start, *range(round_up(part.start + 1, step), part.stop, step), part.stop]
    return map(slice, edges, edges[1:])


def _within(part: slice, outer: slice) -> slice:
    return slice(part.start - outer.start, part.stop - outer.start)


def _down(size: int, step: int) -> int:
    """Return the largest multiple of ``step`` up to ``size``, at least ``step``."""
    return max(1, size // step) * step


def round_up(size: int, step: int) -> int:
    """Return the smallest multiple of ``step`` that is at least ``size``."""
    return -(-size // step) * step
