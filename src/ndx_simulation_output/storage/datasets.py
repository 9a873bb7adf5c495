"""Read selections of HDF5 datasets, bypassing HDF5 where that is faster.

Bytes of contiguous data and chunks without filters are copied from the file. Deflated chunks are
inflated in threads, each once. h5py reads everything else: other filters and types, files
that are being written, and remote files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from typing import Any, NamedTuple, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import Put
from ndx_simulation_output.storage.chunk_cache import CHUNKS, KeptParts, is_past_cache
from ndx_simulation_output.storage.filters import inflate, unshuffle
from ndx_simulation_output.storage.layout import useful_workers
from ndx_simulation_output.storage.partitions import run_all
from ndx_simulation_output.storage.raw_files import (
    MappedFile,
    Reading,
    evenly_spaced,
    hdf5_lock,
    map_file,
)

SHUFFLE, DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
_SHORT_SPAN = 16
_MANY_SPANS = 256
_FEW_CHUNKS = 32
_ROW_BYTES = 2**16
"""Below this width of a selection the kernel's read-ahead would read mostly other columns."""
_MANY_CHUNKS = 8
"""Rows of so many chunks are kept, instead of the chunks."""
_INFLATING = 2
"""Inflating a byte takes as long as copying so many."""
_LARGE_CHUNK = 2**18
_COPY_BYTES = 2**24
"""Copying less than this takes less time than starting threads."""
_PART_BYTES = 2**13
"""Reading one more part takes as long as reading so many bytes between parts."""
_BLOCK_BYTES = 2**20
_NO_ADDRESS = -(2**62)
"""The address of a missing chunk: no real chunk can follow it in the file."""


@dataclass(frozen=True)
class Span:
    """Adjacent columns ``[start, stop)``, copied to the output from column ``out_start`` on."""

    start: int
    stop: int
    out_start: int

    def __len__(self) -> int:
        """Return the number of columns."""
        return self.stop - self.start

    @property
    def target(self) -> slice:
        """The columns of the output."""
        return slice(self.out_start, self.out_start + self.stop - self.start)


class _ChunkRows(NamedTuple):
    """Rows selected in chunk row ``number``: slices of the chunk and of the output."""

    number: int
    local: slice
    target: slice


class _ChunkColumns(NamedTuple):
    """Columns selected in chunk column ``number``: indices in the chunk and in the output."""

    number: int
    local: slice | NDArray[np.intp]
    target: slice | NDArray[np.intp]


@dataclass(frozen=True)
class Selection:
    """An ascending range of rows, and columns in any order, repeated or not."""

    rows: range
    columns: NDArray[np.intp] | range

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    def spans(self) -> list[Span]:
        """Return the columns as spans of adjacent ones."""
        columns = self.columns
        if not len(columns):
            return []
        if isinstance(columns, range):
            return [Span(columns.start, columns.stop, 0)]
        starts = [0, *(np.flatnonzero(columns[1:] - columns[:-1] != 1) + 1).tolist()]
        firsts = columns[starts].tolist()
        edges = pairwise([*starts, len(columns)])
        return [
            Span(first, first + stop - start, start)
            for first, (start, stop) in zip(firsts, edges, strict=True)
        ]

    def by_chunk(self, width: int) -> Iterator[_ChunkColumns]:
        """Yield the columns of each chunk of ``width`` columns."""
        if not len(self.columns):
            return
        if isinstance(self.columns, range):
            for number, span in cut_span(Span(self.columns.start, self.columns.stop, 0), width):
                yield _ChunkColumns(number, slice(span.start, span.stop), span.target)
            return
        numbers, local = np.divmod(self.columns, width)
        target = np.arange(len(numbers))
        if (np.diff(numbers) < 0).any():
            target = np.argsort(numbers, kind="stable")
            numbers, local = numbers[target], local[target]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            part = slice(start, stop)
            yield _ChunkColumns(
                int(numbers[start]), _as_slice(local[part]), _as_slice(target[part])
            )


def _as_slice(indices: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """Return a slice if the indices are adjacent and ascending, else the indices."""
    if (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def cut_span(span: Span, length: int) -> Iterator[tuple[int, Span]]:
    """Cut a span at multiples of ``length``; yield the number of each chunk, and the span in it.

    Example
    -------
    >>> for number, part in cut_span(Span(3, 9, out_start=0), length=4):
    ...     print(number, part)
    0 Span(start=3, stop=4, out_start=0)
    1 Span(start=0, stop=4, out_start=1)
    2 Span(start=0, stop=1, out_start=5)

    """
    for number in range(span.start // length, -(-span.stop // length)):
        first = number * length
        start, stop = max(span.start, first), min(span.stop, first + length)
        yield number, Span(start - first, stop - first, span.out_start + start - span.start)


def _rows_by_chunk(rows: range, height: int) -> Iterator[_ChunkRows]:
    for number in range(rows[0] // height, rows[-1] // height + 1):
        top = number * height
        # Positions in the range: of the first row in this chunk, and of the first after it.
        begin = max(0, -(-(top - rows.start) // rows.step))
        end = min(len(rows), max(0, -(-(top + height - rows.start) // rows.step)))
        if begin < end:
            local = slice(rows[begin] - top, rows[end - 1] - top + 1, rows.step)
            yield _ChunkRows(number, local, slice(begin, end))


@dataclass(frozen=True)
class _Block:
    """``count`` chunks of a chunk row, from number ``first`` on, and their selected columns."""

    first: int
    count: int
    columns: Span


def _blocks(span: Span, width: int) -> Iterator[_Block]:
    """Cut a span into partly selected chunks, and one block of fully selected chunks."""
    first, stop = -(-span.start // width), span.stop // width
    if stop <= first:
        yield from (_Block(number, 1, part) for number, part in cut_span(span, width))
        return
    middle = span.out_start + first * width - span.start
    if span.start < first * width:
        yield _Block(first - 1, 1, Span(span.start - (first - 1) * width, width, span.out_start))
    yield _Block(first, stop - first, Span(0, width, middle))
    if stop * width < span.stop:
        rest = Span(0, span.stop - stop * width, middle + (stop - first) * width)
        yield _Block(stop, 1, rest)


class ChunkIndex:
    """Address, size and filter mask of each chunk of a dataset.

    ``known`` is the complete index, shape (row of chunks, column of chunks, 3), once it was read.
    """

    def __init__(self, dataset: h5py.Dataset, known: NDArray[np.int64] | None = None) -> None:
        self._dataset = dataset
        self.known = known
        self._asked = 0

    @cached_property
    def chunk_bytes(self) -> int:
        """Size of a chunk without filters."""
        height, width = self._dataset.chunks
        return int(height * width * self._dataset.dtype.itemsize)

    def prepare(self, count: int) -> None:
        """Read the complete index if many chunks were looked up, with the next ``count``.

        Each lookup in HDF5 iterates over the index, which takes as long as reading all of it.
        """
        self._asked += count
        if self.known is None and self._asked > _FEW_CHUNKS:
            self.known = self._read()

    def addresses(self) -> NDArray[np.int64]:
        """Return the addresses of all chunks, shape (row of chunks, column of chunks)."""
        return np.ascontiguousarray(self._read()[..., 0])

    def lookup(self, row: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return address (negative if missing), size and mask of chunks of a chunk row."""
        if self.known is not None:
            return self.known[row, first:stop]
        return np.array([self._lookup_one(row, column) for column in range(first, stop)], np.int64)

    def _lookup_one(self, row: int, column: int) -> tuple[int, int, int]:
        height, width = self._dataset.chunks
        with hdf5_lock:
            found = self._dataset.id.get_chunk_info_by_coord((row * height, column * width))
        if found.byte_offset is None:
            return _NO_ADDRESS, 0, 0
        return found.byte_offset, found.size, found.filter_mask

    def _read(self) -> NDArray[np.int64]:
        found: list[Any] = []
        with hdf5_lock:
            self._dataset.id.chunk_iter(found.append)
        (rows, columns), (height, width) = self._dataset.shape, self._dataset.chunks
        index = np.full((-(-rows // height), -(-columns // width), 3), _NO_ADDRESS, np.int64)
        for chunk in found:
            row, column = chunk.chunk_offset
            entry = chunk.byte_offset, chunk.size, chunk.filter_mask
            index[row // height, column // width] = entry
        return index


class DatasetReader(Protocol):
    """A way to read selections of one dataset."""

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:
        """``put`` all values into ``out``, which has the shape of the selection, part by part."""


def dataset_reader(
    dataset: h5py.Dataset, known: NDArray[np.int64] | None = None, *, keep: bool = False
) -> DatasetReader:
    """Return the fastest reader that reads ``dataset`` as h5py does.

    ``known`` is the complete index of its chunks, if a :class:`ChunkIndex` has read it before.
    ``keep`` lets it keep inflated chunks, if the caller notices that the file changes.
    """
    if dataset.ndim != 2 or not dataset.size or not has_numpy_type(dataset):
        return H5pyReader(dataset)
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.CONTIGUOUS and not properties.get_external_count():
        return _contiguous_reader(dataset)
    if properties.get_layout() == h5py.h5d.CHUNKED and hasattr(dataset.id, "chunk_iter"):
        filters = filters_of(properties)
        file = map_file(dataset.file)
        if not filters and file is not None:
            index = ChunkIndex(dataset, known)
            return ChunkedReader(file, dataset, index, dataset.chunks, dataset.dtype)
        if filters in {(DEFLATE,), (SHUFFLE, DEFLATE)} and dataset.file.mode == "r":
            index, kept = ChunkIndex(dataset, known), CHUNKS.of(dataset) if keep else None
            return DeflatedReader(file, dataset, index, filters, kept)
    return H5pyReader(dataset)


def has_numpy_type(dataset: h5py.Dataset) -> bool:
    """Return True if the bytes of a value in the file are those of a number in numpy."""
    numbers = dataset.dtype.kind in "iufc"
    return numbers and bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype))


def filters_of(properties: h5py.h5p.PropDCID) -> tuple[int, ...]:
    """Return the numbers of the filters of a dataset, in their order."""
    return tuple(properties.get_filter(number)[0] for number in range(properties.get_nfilters()))


def _contiguous_reader(dataset: h5py.Dataset) -> DatasetReader:
    start, file = dataset.id.get_offset(), map_file(dataset.file)
    if start is None or file is None or start + dataset.nbytes > file.size:
        return H5pyReader(dataset)
    return ContiguousReader(file, start, dataset.shape, dataset.dtype)


@dataclass(frozen=True)
class H5pyReader:
    """Reads through h5py."""

    dataset: h5py.Dataset

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:  # noqa: ARG002 - h5py reads in one thread
        """Read each span of columns."""
        rows = slice(selection.rows.start, selection.rows.stop, selection.rows.step)
        for span in selection.spans():
            put(out[:, span.target], self.dataset[rows, span.start : span.stop])


@dataclass(frozen=True)
class MappedReader:
    """Base of readers that read only the selected bytes, from a mapped file."""

    file: MappedFile

    def release(self) -> None:
        """Free the memory of the pages that were read; they can be read again."""
        self.file.advise("MADV_DONTNEED")


@dataclass(frozen=True)
class ContiguousReader(MappedReader):
    """Reads a matrix whose rows follow each other from byte ``start`` of the file on."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:
        """Read ranges of rows in threads."""
        n_columns, itemsize = len(selection.columns), self.dtype.itemsize
        self.file.expect("MADV_RANDOM" if n_columns * itemsize < _ROW_BYTES else "MADV_NORMAL")
        row_bytes, rows, spans = self.shape[1] * itemsize, selection.rows, selection.spans()
        is_short = not useful_workers(out.nbytes, workers, _COPY_BYTES)
        if is_short and len(spans) <= _MANY_SPANS:
            start, step = self.start + rows.start * row_bytes, rows.step * row_bytes
            parts = [(start + one.start * itemsize, step, out[:, one.target]) for one in spans]
            if self.file.put_short(parts, self.dtype, put):
                return
        cuts = _cuts(selection.columns, self.shape[1], itemsize)

        def copy(part: slice) -> None:
            some = rows[part]
            start, step = self.start + some.start * row_bytes, some.step * row_bytes
            with self.file.reading() as reading:
                for cut in cuts:
                    cut.read(reading, start, step, out[part], self.dtype, put)

        if is_short:
            copy(slice(0, len(out)))
            return
        height = -(-len(out) // (2 * workers))
        run_all(copy, [slice(top, top + height) for top in range(0, len(out), height)], workers)

    def view(self, rows: slice, columns: slice) -> NDArray[Any] | None:
        """Return a view of rows and columns for immediate use, or None if it would not be safe."""
        lease = self.file.lease()
        if lease is None:
            return None
        stored = np.asarray(lease)[self.start :][: int(np.prod(self.shape)) * self.dtype.itemsize]
        return stored.view(self.dtype).reshape(self.shape)[rows, columns]


@dataclass(frozen=True)
class _Cut:
    """Columns ``[first, stop)`` of a row, read together, and where the selected ones belong."""

    first: int
    stop: int
    selected: Sequence[tuple[slice | NDArray[np.intp], slice]]

    def read(
        self,
        reading: Reading,
        start: int,
        step: int,
        out: NDArray[Any],
        dtype: np.dtype[Any],
        put: Put,
    ) -> None:
        """Read the columns of ``out`` of rows that begin every ``step`` bytes from ``start`` on."""
        length = (self.stop - self.first) * dtype.itemsize
        used = sum(target.stop - target.start for _, target in self.selected) * dtype.itemsize
        start += self.first * dtype.itemsize
        for rows, raw in reading.blocks(start, step, len(out), length, used):
            values = raw.view(dtype)
            for local, target in self.selected:
                put(out[rows, target], values[:, local])


def _cuts(columns: NDArray[np.intp] | range, width: int, itemsize: int) -> list[_Cut]:
    """Plan how columns of rows are read: the whole rows, what lies between, or each span."""
    spans = Selection(range(0), columns).spans()
    low, high = min(span.start for span in spans), max(span.stop for span in spans)
    saved = len(spans) * _PART_BYTES // itemsize
    if width - len(columns) <= saved:
        low, high = 0, width
    if len(spans) > _MANY_SPANS:
        return [_Cut(low, high, [(np.asarray(columns) - low, slice(0, len(columns)))])]
    if high - low - len(columns) <= saved:
        selected = [(slice(one.start - low, one.stop - low), one.target) for one in spans]
        return [_Cut(low, high, selected)]
    return [_Cut(one.start, one.stop, [(slice(0, len(one)), one.target)]) for one in spans]


@dataclass(frozen=True)
class ChunkedReader(MappedReader):
    """Reads chunks without filters, of rows and columns ``shape``."""

    dataset: h5py.Dataset
    index: ChunkIndex
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:
        """Read the same rows of adjacent chunks together."""
        height, width = self.shape
        rows, spans = list(_rows_by_chunk(selection.rows, height)), selection.spans()
        copy: Callable[[Reading, _ChunkRows, Any], None]
        parts: list[Any]
        is_large = useful_workers(out.nbytes, workers, _COPY_BYTES)
        if len(spans) > 1 and len(spans) * _SHORT_SPAN > len(selection.columns):
            parts = list(selection.by_chunk(width))
            self.index.prepare(len(rows) * len(parts))
            copy = partial(self._gather, out=out, put=put)
        else:
            parts = [block for span in spans for block in _blocks(span, width)]
            self.index.prepare(len(rows) * sum(block.count for block in parts))
            copy = partial(self._copy, out=out, put=put)
            if not is_large and self._put_short(rows, parts, out, put):
                return
            for row, block in product(rows, parts):
                if block.count > 1 and (row.local.stop - row.local.start) * 2 > height:
                    self._read_ahead(row.number, block)
        jobs = list(product(rows, parts))

        def run(some: list[tuple[_ChunkRows, Any]]) -> None:
            with self.file.reading() as reading:
                for row, part in some:
                    copy(reading, row, part)

        if not is_large:
            run(jobs)
            return
        size = max(1, len(jobs) // (8 * workers))
        run_all(run, [jobs[first : first + size] for first in range(0, len(jobs), size)], workers)

    def _put_short(
        self, rows: list[_ChunkRows], blocks: list[_Block], out: NDArray[Any], put: Put
    ) -> bool:
        """Read parts of single chunks of a known index; False for others, or without a lease."""
        known = self.index.known
        if known is None or any(block.count > 1 for block in blocks):
            return False
        numbers = np.array([[row.number] for row in rows])
        addresses = known[numbers, [block.first for block in blocks], 0]
        self._checked(int(addresses.max()))
        itemsize = self.dtype.itemsize
        row_bytes, parts = self.shape[1] * itemsize, []
        for row, of_row in zip(rows, addresses.tolist(), strict=True):
            top, step = row.local.start * row_bytes, row.local.step * row_bytes
            some = out[row.target]
            for block, address in zip(blocks, of_row, strict=True):
                columns, values = block.columns, some[:, block.columns.target]
                if address < 0:
                    put(values, _fill_value(self.dataset))
                else:
                    parts.append((address + top + columns.start * itemsize, step, values))
        return self.file.put_short(parts, self.dtype, put)

    def _gather(
        self,
        reading: Reading,
        row: _ChunkRows,
        columns: _ChunkColumns,
        out: NDArray[Any],
        put: Put,
    ) -> None:
        """Read some columns of one chunk."""
        address = self._address(row.number, columns.number)
        if address < 0:
            _put_chunk(put, out, row, columns, _fill_value(self.dataset))
            return
        local, width, itemsize = columns.local, self.shape[1], self.dtype.itemsize
        row_bytes = width * itemsize
        start, step = address + row.local.start * row_bytes, row.local.step * row_bytes
        if isinstance(local, slice) and isinstance(columns.target, slice):
            cut = _Cut(local.start, local.stop, [(slice(None), columns.target)])
            cut.read(reading, start, step, out[row.target], self.dtype, put)
            return
        selected = range(local.start, local.stop) if isinstance(local, slice) else local
        values = np.empty((row.target.stop - row.target.start, len(selected)), self.dtype)
        for cut in _cuts(selected, width, itemsize):
            cut.read(reading, start, step, values, self.dtype, np.copyto)
        _put_chunk(put, out, row, columns, values)

    def _copy(
        self, reading: Reading, row: _ChunkRows, block: _Block, out: NDArray[Any], put: Put
    ) -> None:
        """Read rows of adjacent chunks, of which all columns are selected if they are several."""
        width, target = self.shape[1], block.columns.target
        if block.count == 1:
            columns = slice(block.columns.start, block.columns.stop)
            self._gather(reading, row, _ChunkColumns(block.first, columns, target), out, put)
            return
        addresses = self._addresses(row.number, block.first, block.count)
        left = target.start
        # reshape only splits the columns, so it returns a view of ``out``.
        chunks = out[row.target, left : left + block.count * width].reshape(-1, block.count, width)
        ends = (np.flatnonzero(np.diff(addresses < 0)) + 1).tolist()
        for first, stop in pairwise([0, *ends, block.count]):
            if addresses[first] < 0:
                put(chunks[:, first:stop], _fill_value(self.dataset))
            else:
                self._copy_rows(
                    reading, row.local, addresses[first:stop], chunks[:, first:stop], put
                )

    def _copy_rows(
        self,
        reading: Reading,
        local: slice,
        addresses: NDArray[np.int64],
        target: NDArray[Any],
        put: Put,
    ) -> None:
        """Read rows of whole chunks, shape (row, chunk, column), about a MiB of each at a time."""
        width, dtype = self.shape[1], self.dtype
        row_bytes = width * dtype.itemsize
        rows = range(local.start, local.stop, local.step)
        height = max(1, _BLOCK_BYTES // (row_bytes * rows.step))
        for top in range(0, len(rows), height):
            some = rows[top : top + height]
            n_rows = some[-1] + 1 - some[0]
            length = n_rows * row_bytes
            for group, step in evenly_spaced(addresses):
                part = target[top : top + len(some), group]
                start = int(addresses[group.start]) + some[0] * row_bytes
                for block, raw in reading.blocks(start, step, part.shape[1], length, length):
                    values = raw.view(dtype).reshape(-1, n_rows, width)[:, :: rows.step]
                    put(part[:, block], values.transpose(1, 0, 2))

    def _address(self, row: int, column: int) -> int:
        """Return the address of a chunk, negative if it is missing."""
        return self._checked(int(self.index.lookup(row, column, column + 1)[0, 0]))

    def _addresses(self, row: int, first: int, count: int) -> NDArray[np.int64]:
        """Return the addresses of chunks of a chunk row, negative if they are missing."""
        addresses = self.index.lookup(row, first, first + count)[:, 0]
        self._checked(int(addresses.max()))
        return addresses

    def _checked(self, address: int) -> int:
        """Return the address of a chunk; raise OSError if the file ends before the chunk does."""
        if address + self.index.chunk_bytes > self.file.size:
            msg = f"the file ends before the chunk at byte {address} does"
            raise OSError(msg)
        return address

    def _read_ahead(self, row: int, block: _Block) -> None:
        """Advise the kernel to read the chunks of a block in advance."""
        for address in self._addresses(row, block.first, block.count).tolist():
            if address >= 0:
                self.file.read_ahead(address, self.index.chunk_bytes)


@dataclass(frozen=True)
class DeflatedReader:
    """Reads chunks with deflate, with or without shuffle; ``file`` is None if it is not mapped."""

    file: MappedFile | None
    dataset: h5py.Dataset
    index: ChunkIndex
    filters: tuple[int, ...]
    kept: KeptParts | None = None

    @cached_property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of a chunk."""
        height, width = self.dataset.chunks
        return height, width

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        dtype: np.dtype[Any] = self.dataset.dtype
        return dtype

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:
        """Inflate each chunk once, in threads, or take it from the cache.

        Of few rows of many chunks, those beside them are read too, and kept instead of the chunks.
        """
        rows, columns = selection.rows, selection.columns
        kept = None if is_past_cache() else self.kept
        found = None if kept is None else self._in_one_stack(selection, kept)
        if found is not None:
            put(out, found)
            return
        bands = None if kept is None else self._bands(selection, kept)
        if bands is None or kept is None:
            self._read_chunks(selection, out, workers, put, kept)
            return
        for band in bands:
            (values,) = kept.get([(band, columns)])
            if values is None:
                values = np.empty((len(band), len(columns)), self.dataset.dtype)
                self._read_chunks(Selection(band, columns), values, workers, np.copyto, None)
                kept.put((band, columns), values)
            first, stop = max(rows.start, band.start), min(rows.stop, band.stop)
            some = values[first - band.start : stop - band.start]
            put(out[first - rows.start : stop - rows.start], some)

    def _in_one_stack(self, selection: Selection, kept: KeptParts) -> NDArray[Any] | None:
        """Return the values if they all are in one stack of ``_put_kept``, otherwise None."""
        rows, columns, width = selection.rows, selection.columns, self.chunks[1]
        height = self.chunks[0] * self._tall(kept)
        number, column = rows.start // height, int(columns[0]) // width
        is_one = (rows.stop - 1) // height == number and int(columns[-1]) // width == column
        if not (is_one and isinstance(columns, range)):
            return None
        (values,) = kept.get([("stack", number, column)])
        top, left = number * height, column * width
        part = slice(rows.start - top, rows.stop - top, rows.step)
        local = slice(columns.start - left, columns.stop - left)
        return None if values is None else values[part, local]

    def _tall(self, kept: KeptParts) -> int:
        """Return the number of chunks of a stack."""
        return max(1, kept.cache.largest_read // (8 * self.index.chunk_bytes))

    def _bands(self, selection: Selection, kept: KeptParts) -> list[range] | None:
        """Return the ranges of rows to read and keep for a selection, or None to keep chunks."""
        rows, columns = selection.rows, selection.columns
        if rows.step > 1 or not isinstance(columns, range):
            return None
        (height, width), most = self.chunks, kept.cache.largest_read // 2
        beside = (columns.stop - 1) // width - columns.start // width + 1
        tall = min(height, most // (len(columns) * self.dtype.itemsize))
        if beside < _MANY_CHUNKS or tall < 2 * len(rows):
            return None
        bands = []
        for number in range(rows[0] // height, rows[-1] // height + 1):
            end = min((number + 1) * height, self.dataset.shape[0])
            edges = [*range(number * height, end, tall), end]
            bands += [range(*edge) for edge in pairwise(edges)]
        return [band for band in bands if band.stop > rows.start and band.start < rows.stop]

    def _read_chunks(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put,
        kept: KeptParts | None,
    ) -> None:
        height, width = self.chunks
        parts = list(selection.by_chunk(width))
        n_chunks = (selection.rows[-1] // height - selection.rows[0] // height + 1) * len(parts)
        if kept is not None and n_chunks * self.index.chunk_bytes > kept.cache.largest_read:
            kept = None
        if kept is None:
            jobs = list(product(_rows_by_chunk(selection.rows, height), parts))
        else:
            jobs = self._put_kept(selection.rows, parts, out, put, kept)
        if not jobs:
            return
        if self.file is not None:
            self.index.prepare(len(jobs))

        def read(job: tuple[_ChunkRows, _ChunkColumns]) -> None:
            _put_chunk(put, out, *job, self._inflated_part(*job, kept))

        n_bytes = len(jobs) * self.index.chunk_bytes
        run_all(read, jobs, useful_workers(n_bytes * _INFLATING, workers))

    def _put_kept(
        self,
        rows: range,
        parts: list[_ChunkColumns],
        out: NDArray[Any],
        put: Put,
        kept: KeptParts,
    ) -> list[tuple[_ChunkRows, _ChunkColumns]]:
        """Read what the cache has; return the other chunks, with their rows and columns.

        The cache has bytes in planes first. If all chunks of a stack, those on top of each other,
        are asked for again, they are replaced by its values.
        """
        height, tall = self.chunks[0], self._tall(kept)
        stacks = list(product(_rows_by_chunk(rows, height * tall), parts))
        found = kept.get([("stack", row.number, columns.number) for row, columns in stacks])
        missing = set()
        for (row, columns), values in zip(stacks, found, strict=True):
            if values is None:
                missing.add((row.number, columns.number))
            else:
                _put_chunk(put, out, row, columns, values[row.local, columns.local])
        if not missing:
            return []
        jobs = [
            (row, columns)
            for row in _rows_by_chunk(rows, height)
            for columns in parts
            if (row.number // tall, columns.number) in missing
        ]
        places = [(row.number, columns.number) for row, columns in jobs]
        chunks = dict(zip(places, kept.get(places), strict=True))
        left = []
        for row, columns in jobs:
            chunk = chunks[row.number, columns.number]
            if chunk is None:
                left.append((row, columns))
                continue
            values = self._values(chunk)
            _put_chunk(put, out, row, columns, values[row.local, columns.local])
            if values is not chunk:
                kept.put((row.number, columns.number), values.copy())
        for number, column in missing:
            self._keep_stack(number, tall, column, chunks, kept)
        return left

    def _values(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """Return the values of a kept chunk, for immediate use."""
        is_shuffled = chunk.ndim == 1
        return unshuffle(chunk, self.dataset.dtype, self.dataset.chunks) if is_shuffled else chunk

    def _keep_stack(
        self,
        number: int,
        tall: int,
        column: int,
        chunks: dict[tuple[int, int], NDArray[Any] | None],
        kept: KeptParts,
    ) -> None:
        """Keep the values of a stack instead of its chunks, if all were found."""
        height, width = self.dataset.chunks
        stop = min((number + 1) * tall, -(-self.dataset.shape[0] // height))
        places = [(row, column) for row in range(number * tall, stop)]
        found = [chunk for place in places if (chunk := chunks.get(place)) is not None]
        if len(found) < len(places):
            return
        values = np.empty((len(places) * height, width), self.dataset.dtype)
        for top, chunk in enumerate(found):
            values[top * height : (top + 1) * height] = self._values(chunk)
        kept.put(("stack", number, column), values, instead=places)

    def _inflated_part(
        self, row: _ChunkRows, columns: _ChunkColumns, kept: KeptParts | None
    ) -> Any:
        """Return the selected values of a stored chunk, for immediate use."""
        dtype, shape = self.dataset.dtype, self.dataset.chunks
        selected, place = (row.local, columns.local), (row.number, columns.number)
        stored = self._stored(*place)
        if stored is None:
            return _fill_value(self.dataset)
        planes = self._inflated(*stored)
        if planes is None:
            return self._read_with_h5py(row, columns)
        is_shuffled = self._is_shuffled(stored[1])
        found = planes if is_shuffled else planes.view(dtype).reshape(shape)
        if kept is not None:
            kept.put(place, found)
        return unshuffle(planes, dtype, shape, selected) if is_shuffled else found[selected]

    def _stored(self, row: int, column: int) -> tuple[Any, int] | None:
        """Return the stored bytes and the filter mask of a chunk, or None if it is missing."""
        if self.file is not None:
            address, size, mask = self.index.lookup(row, column, column + 1)[0].tolist()
            return None if address < 0 else (self.file.part(address, size), mask)
        height, width = self.dataset.chunks
        offset = row * height, column * width
        with hdf5_lock:
            if self.dataset.id.get_chunk_info_by_coord(offset).byte_offset is None:
                return None
            mask, stored = self.dataset.id.read_direct_chunk(offset)
        return stored, mask

    def _inflated(self, stored: Any, mask: int) -> NDArray[np.uint8] | None:
        """Return the inflated bytes, or None if they are damaged."""
        try:
            if mask >> self.filters.index(DEFLATE) & 1:
                raw = np.frombuffer(stored, np.uint8)
                return raw if raw.size == self.index.chunk_bytes else None
            return inflate(stored, self.index.chunk_bytes)
        except ValueError as error:
            if len(stored) > _LARGE_CHUNK:
                # HDF5 would inflate it to any size.
                raise OSError(*error.args) from error
            return None

    def _read_with_h5py(self, row: _ChunkRows, columns: _ChunkColumns) -> NDArray[Any]:
        """Read a damaged chunk with h5py, for the error message of HDF5."""
        height, width = self.dataset.chunks
        top, left = row.number * height, columns.number * width
        rows = slice(top + row.local.start, top + row.local.stop, row.local.step)
        return np.asarray(self.dataset[rows, left : left + width])[:, columns.local]

    def _is_shuffled(self, mask: int) -> bool:
        return SHUFFLE in self.filters and not mask >> self.filters.index(SHUFFLE) & 1


def _put_chunk(
    put: Put, out: NDArray[Any], row: _ChunkRows, columns: _ChunkColumns, values: Any
) -> None:
    """Write values of a chunk to ``out``, whose columns need not be adjacent."""
    if isinstance(columns.target, slice):
        put(out[row.target, columns.target], values)
        return
    part = np.empty((row.target.stop - row.target.start, len(columns.target)), out.dtype)
    put(part, values)
    out[row.target, columns.target] = part


def _fill_value(dataset: h5py.Dataset) -> Any:
    """Return what h5py reads from missing chunks."""
    properties = dataset.id.get_create_plist()
    undefined = properties.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED
    if undefined or properties.get_fill_time() == h5py.h5d.FILL_TIME_NEVER:
        return 0
    return dataset.fillvalue
