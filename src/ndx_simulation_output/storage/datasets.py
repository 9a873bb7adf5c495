"""Read selections of datasets in HDF5 files: contiguous and chunked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import Put
from ndx_simulation_output.storage.filters import inflate, unshuffle
from ndx_simulation_output.storage.partitions import run_all, useful_workers
from ndx_simulation_output.storage.raw_files import File, Mapped, hdf5_lock, map_file

# Which part of a matrix is wanted: runs of rows and columns, and where they fall into chunks.


@dataclass(frozen=True)
class Span:
    """Columns (or rows) ``[start, stop)`` of a matrix that go to ``place`` and on in the output."""

    start: int
    stop: int
    place: int

    def __len__(self) -> int:
        """Give how many there are."""
        return self.stop - self.start

    @property
    def target(self) -> slice:
        """Where they go."""
        return slice(self.place, self.place + self.stop - self.start)


@dataclass(frozen=True)
class ChunkColumns:
    """The wanted columns of chunk ``number`` of a row of chunks, and where they go."""

    number: int
    local: slice | NDArray[np.intp]
    target: slice | NDArray[np.intp]


@dataclass(frozen=True)
class Selection:
    """Rows, an ascending range, and columns, in any order and repeated or not, of a matrix."""

    rows: range
    columns: NDArray[np.intp] | range

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    def runs(self) -> list[Span]:
        """Give the columns as runs of adjacent ones."""
        columns = self.columns
        if not len(columns):
            return []
        if isinstance(columns, range):
            return [Span(columns.start, columns.stop, 0)]
        starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 2) != 1)
        stops = np.append(starts[1:], len(columns))
        return [
            Span(first, last + 1, place)
            for first, last, place in zip(
                columns[starts].tolist(), columns[stops - 1].tolist(), starts.tolist(), strict=True
            )
        ]

    def by_chunk(self, width: int) -> Iterator[ChunkColumns]:
        """Give the columns chunk by chunk: each chunk has ``width`` of them."""
        if not len(self.columns):
            return
        if isinstance(self.columns, range):
            for number, run in cut_span(Span(self.columns.start, self.columns.stop, 0), width):
                yield ChunkColumns(number, slice(run.start, run.stop), run.target)
            return
        numbers, local = np.divmod(self.columns, width)
        places = np.arange(len(numbers))
        if (np.diff(numbers) < 0).any():
            places = np.argsort(numbers, kind="stable")
            numbers, local = numbers[places], local[places]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            part = slice(start, stop)
            yield ChunkColumns(int(numbers[start]), _tight(local[part]), _tight(places[part]))


def _tight(indices: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """Give indices as a slice where they follow each other."""
    if (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def cut_span(run: Span, length: int) -> Iterator[tuple[int, Span]]:
    """Cut a run at multiples of ``length``: give the number of each piece, and the run in it.

    Example
    -------
    >>> for number, piece in cut_span(Span(3, 9, place=0), length=4):
    ...     print(number, piece)
    0 Span(start=3, stop=4, place=0)
    1 Span(start=0, stop=4, place=1)
    2 Span(start=0, stop=1, place=5)

    """
    for number in range(run.start // length, -(-run.stop // length)):
        first = number * length
        start, stop = max(run.start, first), min(run.stop, first + length)
        yield number, Span(start - first, stop - first, run.place + start - run.start)


# Chunks of HDF5 files: where they are, and how to read what is wanted of them, each once.

SHUFFLE, DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
_SHORT_RUN = 16
_FEW_CHUNKS = 32
_NOWHERE = -(2**62)
"""The address of what is not in the file, as far as can be from any that is."""


class ChunkIndex:
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
    columns: Span


def _blocks(run: Span, width: int) -> Iterator[_Block]:
    """Cut a run of columns into chunks wanted in part, and a block of those wanted whole."""
    first, stop = -(-run.start // width), run.stop // width
    if stop <= first:
        yield from (_Block(number, 1, part) for number, part in cut_span(run, width))
        return
    middle = run.place + first * width - run.start
    if run.start < first * width:
        yield _Block(first - 1, 1, Span(run.start - (first - 1) * width, width, run.place))
    yield _Block(first, stop - first, Span(0, width, middle))
    if stop * width < run.stop:
        rest = Span(0, run.stop - stop * width, middle + (stop - first) * width)
        yield _Block(stop, 1, rest)


@dataclass(frozen=True)
class ChunkedReader(Mapped):
    """Chunks without filters, in the mapped file."""

    dataset: h5py.Dataset
    index: ChunkIndex

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
        workers = useful_workers(out.nbytes, workers)
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
class DeflatedReader:
    """Chunks that are deflated, perhaps shuffled before, in a file that may be anywhere."""

    file: File | None
    dataset: h5py.Dataset
    index: ChunkIndex
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
        workers = useful_workers(len(jobs) * self.index.chunk_bytes, workers)
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


# The ways to read a selection of a matrix that lies in an HDF5 file, and which file allows which.
#
# Contiguous data and chunks without filters are copied out of the mapped file. Chunks that are
# deflated are read once each and inflated in threads. Everything else is left to h5py: other
# filters and types, files that are written at the same time, files that are not on this machine.

_MANY_RUNS = 256
_ROW_BYTES = 2**16
"""The kernel reads this much ahead: pieces farther apart are better read alone."""


class DatasetReader(Protocol):
    """Where the values are, and how to read some of them."""

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """``put`` all values into ``out``, which has the shape of the selection, part by part."""


def dataset_reader(dataset: h5py.Dataset, known: NDArray[np.int64] | None = None) -> DatasetReader:
    """Give the fastest way to read ``dataset`` that is the same as h5py's.

    ``known`` is where its chunks are, if an :class:`ChunkIndex` has found that out before.
    """
    if dataset.ndim != 2 or not dataset.size or not is_of_numpy(dataset):
        return H5pyReader(dataset)
    facts = dataset.id.get_create_plist()
    if facts.get_layout() == h5py.h5d.CONTIGUOUS and not facts.get_external_count():
        return _contiguous(dataset)
    if facts.get_layout() == h5py.h5d.CHUNKED and hasattr(dataset.id, "chunk_iter"):
        filters = tuple(facts.get_filter(number)[0] for number in range(facts.get_nfilters()))
        file = map_file(dataset.file)
        if not filters and file is not None:
            return ChunkedReader(file, dataset, ChunkIndex(dataset, known))
        if filters in {(DEFLATE,), (SHUFFLE, DEFLATE)} and dataset.file.mode == "r":
            return DeflatedReader(file, dataset, ChunkIndex(dataset, known), filters)
    return H5pyReader(dataset)


def is_of_numpy(dataset: h5py.Dataset) -> bool:
    """Whether the bytes in the file are those of an array of numbers."""
    numbers = dataset.dtype.kind in "iufc"
    return numbers and bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype))


def _contiguous(dataset: h5py.Dataset) -> DatasetReader:
    start, file = dataset.id.get_offset(), map_file(dataset.file)
    if start is None or file is None or start + dataset.nbytes > len(file.bytes):
        return H5pyReader(dataset)
    values = file.bytes[start : start + dataset.nbytes].view(dataset.dtype)
    return ContiguousReader(file, values.reshape(dataset.shape))


@dataclass(frozen=True)
class H5pyReader:
    """The plain way, for everything that h5py can read."""

    dataset: h5py.Dataset

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,  # noqa: ARG002 - h5py reads one at a time
        put: Put = np.copyto,
    ) -> None:
        """Fill ``out``."""
        rows = selection.rows
        rows_wanted = slice(rows.start, rows.stop, rows.step)
        for run in selection.runs():
            put(out[:, run.target], self.dataset[rows_wanted, run.start : run.stop])


@dataclass(frozen=True)
class ContiguousReader(Mapped):
    """A row after the other: ``values`` is the matrix in the mapped file."""

    values: NDArray[Any]

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """Copy the columns of some rows in each thread."""
        narrow = len(selection.columns) * self.values.itemsize < _ROW_BYTES
        self.file.advise("MADV_RANDOM" if narrow else "MADV_NORMAL")
        rows, runs = selection.rows, selection.runs()
        values = self.values[rows.start : rows.stop : rows.step]

        def copy(part: slice) -> None:
            if len(runs) > _MANY_RUNS:
                put(out[part], values[part, np.asarray(selection.columns)])
                return
            for run in runs:
                put(out[part, run.target], values[part, run.start : run.stop])

        workers = useful_workers(out.nbytes, workers)
        height = -(-len(out) // max(1, 2 * workers))
        run_all(copy, [slice(top, top + height) for top in range(0, len(out), height)], workers)
