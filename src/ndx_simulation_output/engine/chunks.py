"""Chunks of HDF5 files: where they are, and how to read what is wanted of them, each once."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.deflate import inflate, unshuffle
from ndx_simulation_output.engine.lock import hdf5_lock
from ndx_simulation_output.engine.mapped import File, Mapped
from ndx_simulation_output.engine.selection import ChunkColumns, Run, Selection, cut
from ndx_simulation_output.engine.workers import run_all, worth
from ndx_simulation_output.recording.arrays import Put

__all__ = ["DEFLATE", "SHUFFLE", "Chunks", "Deflated", "Index"]

SHUFFLE, DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
_SHORT_RUN = 16
_FEW_CHUNKS = 32
_NOWHERE = -(2**62)
"""The address of what is not in the file, as far as can be from any that is."""


class Index:
    """Where the chunks of a dataset are: address, size and skipped filters, by chunk number."""

    def __init__(self, dataset: h5py.Dataset, known: NDArray[np.int64] | None = None) -> None:
        self._dataset = dataset
        self.known = known
        """All of it, if it was read: shape (row of chunks, column of chunks, 3)."""

    @cached_property
    def chunk_bytes(self) -> int:
        """Size of a chunk whose filters are undone."""
        height, width = self._dataset.chunks
        return int(height * width * self._dataset.dtype.itemsize)

    def prepare(self, count: int | None = None) -> None:
        """Read it whole before ``count`` chunks are asked for, if these are many.

        Each question about one takes as long as all of it.
        """
        if self.known is None and (count is None or count > _FEW_CHUNKS):
            self.known = self._read()

    def addresses(self) -> NDArray[np.int64]:
        """Give the addresses of all chunks, shape (row of chunks, column of chunks)."""
        return np.ascontiguousarray(self._read()[..., 0])

    def span(self, row: int, first: int, stop: int) -> NDArray[np.int64]:
        """Give address (negative if there is none), size and mask of chunks beside each other."""
        if self.known is not None:
            return self.known[row, first:stop]
        return np.array([self._one(row, column) for column in range(first, stop)], np.int64)

    def _one(self, row: int, column: int) -> tuple[int, int, int]:
        height, width = self._dataset.chunks
        with hdf5_lock:
            found = self._dataset.id.get_chunk_info_by_coord((row * height, column * width))
        if found.byte_offset is None:
            return _NOWHERE, 0, 0
        return found.byte_offset, found.size, found.filter_mask

    def _read(self) -> NDArray[np.int64]:
        found: list[Any] = []
        with hdf5_lock:
            self._dataset.id.chunk_iter(found.append)
        (rows, columns), (height, width) = self._dataset.shape, self._dataset.chunks
        index = np.full((-(-rows // height), -(-columns // width), 3), _NOWHERE, np.int64)
        for chunk in found:
            row, column = chunk.chunk_offset
            facts = chunk.byte_offset, chunk.size, chunk.filter_mask
            index[row // height, column // width] = facts
        return index


@dataclass(frozen=True)
class _RowPart:
    """The wanted rows of a row of chunks, and where they go."""

    number: int
    local: slice
    target: slice


def _row_parts(rows: range, height: int) -> Iterator[_RowPart]:
    for number in range(rows[0] // height, rows[-1] // height + 1):
        top = number * height
        # Ranges count: the first wanted row not before this chunk, and not before the next.
        begin = max(0, -(-(top - rows.start) // rows.step))
        end = min(len(rows), max(0, -(-(top + height - rows.start) // rows.step)))
        if begin < end:
            local = slice(rows[begin] - top, rows[end - 1] - top + 1, rows.step)
            yield _RowPart(number, local, slice(begin, end))


@dataclass(frozen=True)
class _Block:
    """``count`` chunks beside each other from number ``first`` on, and their wanted columns."""

    first: int
    count: int
    columns: Run


def _blocks(run: Run, width: int) -> Iterator[_Block]:
    """Cut a run of columns into chunks wanted in part, and a block of those wanted whole."""
    first, stop = -(-run.start // width), run.stop // width
    if stop <= first:
        yield from (_Block(number, 1, part) for number, part in cut(run, width))
        return
    middle = run.place + first * width - run.start
    if run.start < first * width:
        yield _Block(first - 1, 1, Run(run.start - (first - 1) * width, width, run.place))
    yield _Block(first, stop - first, Run(0, width, middle))
    if stop * width < run.stop:
        rest = Run(0, run.stop - stop * width, middle + (stop - first) * width)
        yield _Block(stop, 1, rest)


@dataclass(frozen=True)
class Chunks(Mapped):
    """Chunks without filters, in the mapped file."""

    dataset: h5py.Dataset
    index: Index

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """Copy what is wanted of chunks that are neighbours in the file together."""
        height, width = self.dataset.chunks
        rows, runs = list(_row_parts(selection.rows, height)), selection.runs()
        workers = worth(out.nbytes, workers)
        if len(runs) > 1 and len(runs) * _SHORT_RUN > len(selection.columns):
            by_chunk = list(selection.by_chunk(width))
            self.index.prepare(len(rows) * len(by_chunk))
            scattered = list(product(rows, by_chunk))
            run_all(lambda job: self._gather(job[0], job[1], out, put), scattered, workers)
            return
        blocks = [block for run in runs for block in _blocks(run, width)]
        self.index.prepare(len(rows) * sum(block.count for block in blocks))
        jobs = list(product(rows, blocks))
        for row, block in jobs:
            if (row.local.stop - row.local.start) * 2 > height:
                self._read_ahead(row.number, block)
        run_all(lambda job: self._copy(job[0], job[1], out, put), jobs, workers)

    def _gather(self, row: _RowPart, columns: ChunkColumns, out: NDArray[Any], put: Put) -> None:
        """Copy scattered columns of one chunk."""
        address = int(self.index.span(row.number, columns.number, columns.number + 1)[0, 0])
        values: Any = _missing(self.dataset)
        if address >= 0:
            values = self._neighbours(address, 1)[0][row.local][:, columns.local]
        _put(put, out, row, columns, values)

    def _copy(self, row: _RowPart, block: _Block, out: NDArray[Any], put: Put) -> None:
        places = self.index.span(row.number, block.first, block.first + block.count)[:, 0]
        ends = (np.flatnonzero(np.diff(places) != self.index.chunk_bytes) + 1).tolist()
        width = len(block.columns)
        for first, stop in zip([0, *ends], [*ends, len(places)], strict=True):
            left = block.columns.place + first * width
            target = out[row.target, left : left + (stop - first) * width]
            if places[first] < 0:
                put(target, _missing(self.dataset))
            else:
                chunks = self._neighbours(int(places[first]), stop - first)
                wanted = chunks[:, row.local, block.columns.start : block.columns.stop]
                # Splitting the columns of a view gives a view.
                put(target.reshape(len(target), -1, width), wanted.transpose(1, 0, 2))

    def _read_ahead(self, row: int, block: _Block) -> None:
        """Have the kernel read chunks together that are wanted whole, before they are looked at."""
        places = self.index.span(row, block.first, block.first + block.count)[:, 0]
        for place in places.tolist():
            if place >= 0:
                self.file.advise("MADV_WILLNEED", place, self.index.chunk_bytes)

    def _neighbours(self, address: int, count: int) -> NDArray[Any]:
        """Give chunks that follow each other in the file, shape (chunk, row, column)."""
        stored = self.file.part(address, count * self.index.chunk_bytes)
        return np.asarray(stored.view(self.dataset.dtype).reshape(count, *self.dataset.chunks))


@dataclass(frozen=True)
class Deflated:
    """Chunks that are deflated, perhaps shuffled before, in a file that may be anywhere."""

    file: File | None
    dataset: h5py.Dataset
    index: Index
    filters: tuple[int, ...]

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """Inflate chunks in threads, each once."""
        height, width = self.dataset.chunks
        jobs = list(product(_row_parts(selection.rows, height), selection.by_chunk(width)))
        if self.file is not None:
            self.index.prepare(len(jobs))
        workers = worth(len(jobs) * self.index.chunk_bytes, workers)
        run_all(lambda job: self._inflate(job[0], job[1], out, put), jobs, workers)

    def _inflate(self, row: _RowPart, columns: ChunkColumns, out: NDArray[Any], put: Put) -> None:
        wanted = row.local, columns.local
        stored = self._stored(row.number, columns.number)
        planes = None if stored is None else self._planes(*stored)
        if stored is None:
            values = _missing(self.dataset)
        elif planes is None:
            values = self._plainly(row, columns)
        elif self._is_shuffled(stored[1]):
            values = unshuffle(planes, self.dataset.dtype, self.dataset.chunks, wanted)
        else:
            values = planes.view(self.dataset.dtype).reshape(self.dataset.chunks)[wanted]
        _put(put, out, row, columns, values)

    def _stored(self, row: int, column: int) -> tuple[Any, int] | None:
        """Give the bytes of a chunk and the mask of skipped filters, or None if it has none."""
        if self.file is not None:
            address, size, mask = self.index.span(row, column, column + 1)[0].tolist()
            return None if address < 0 else (self.file.part(address, size), mask)
        height, width = self.dataset.chunks
        place = row * height, column * width
        with hdf5_lock:
            if self.dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
                return None
            mask, stored = self.dataset.id.read_direct_chunk(place)
        return stored, mask

    def _planes(self, stored: Any, mask: int) -> NDArray[np.uint8] | None:
        """Give the inflated bytes, or None if they are not what they should be."""
        try:
            if mask >> self.filters.index(DEFLATE) & 1:
                raw = np.frombuffer(stored, np.uint8)
                return raw if raw.size == self.index.chunk_bytes else None
            return inflate(stored, self.index.chunk_bytes)
        except ValueError:
            return None

    def _plainly(self, row: _RowPart, columns: ChunkColumns) -> NDArray[Any]:
        """Let h5py read a chunk: it says what is wrong, or knows better."""
        height, width = self.dataset.chunks
        top, left = row.number * height, columns.number * width
        rows = slice(top + row.local.start, top + row.local.stop, row.local.step)
        return np.asarray(self.dataset[rows, left : left + width])[:, columns.local]

    def _is_shuffled(self, mask: int) -> bool:
        return SHUFFLE in self.filters and not mask >> self.filters.index(SHUFFLE) & 1


def _put(put: Put, out: NDArray[Any], row: _RowPart, columns: ChunkColumns, values: Any) -> None:
    """Put values of a chunk to their places in ``out``, which need not be beside each other."""
    if isinstance(columns.target, slice):
        put(out[row.target, columns.target], values)
        return
    part = np.empty((row.target.stop - row.target.start, len(columns.target)), out.dtype)
    put(part, values)
    out[row.target, columns.target] = part


def _missing(dataset: h5py.Dataset) -> Any:
    """Give what h5py reads where there is no chunk: zeros unless HDF5 fills in another value."""
    facts = dataset.id.get_create_plist()
    undefined = facts.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED
    if undefined or facts.get_fill_time() == h5py.h5d.FILL_TIME_NEVER:
        return 0
    return dataset.fillvalue
