"""Write matrices into HDF5 datasets: threads gather and compress whole chunks, each once.

Uncompressed data are written directly to their addresses in the file, many chunks with one call.
Compressed chunks are stored with ``write_direct_chunk``. ``recording.arrays.copy_array`` is the
simple equivalent.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.storage.datasets import (
    DEFLATE,
    SHUFFLE,
    ChunkIndex,
    filters_of,
    has_numpy_type,
)
from ndx_simulation_output.storage.filters import deflate, shuffle
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import (
    Piece,
    Region,
    in_order,
    regions,
)
from ndx_simulation_output.storage.raw_files import hdf5_lock
from ndx_simulation_output.system import open_file, reserve, write_at

GZIP_LEVEL = 4
"""The level in the filter settings of the file. The compressor may use another level."""


def create_dataset(
    group: h5py.Group, name: str, layout: Layout, dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Create the dataset of a matrix, growing in time if it has chunks, without writing to it.

    Uncompressed data are allocated at once, so that their addresses are known. Their values are
    zeros until they are written.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    maxshape: tuple[int | None, int] = layout.shape
    if layout.chunks is not None:
        properties.set_chunk(layout.chunks)
        maxshape = (None, layout.shape[1])
    if layout.compression is not None:
        properties.set_shuffle()
        properties.set_deflate(GZIP_LEVEL)
    elif layout.chunks is not None or all(layout.shape):
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(
        layout.shape, tuple(h5py.h5s.UNLIMITED if end is None else end for end in maxshape)
    )
    dtype_id = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), dtype_id, space, properties))


def replace_dataset(
    dataset: h5py.Dataset, create: Callable[[h5py.Group, str], h5py.Dataset]
) -> h5py.Dataset:
    """Replace a dataset by the one that ``create`` returns, and copy the attributes."""
    group, name = dataset.parent, dataset.name.rsplit("/", 1)[-1]
    attributes = {
        key: (value, dataset.attrs.get_id(key).dtype) for key, value in dataset.attrs.items()
    }
    del group[name]
    new = create(group, name)
    for key, (value, dtype) in attributes.items():
        new.attrs.create(key, value, dtype=dtype)
    return new


@dataclass(frozen=True)
class DatasetLocation:
    """The location of a matrix, shape (time, column), in a file, which other ranks can use.

    ``addresses`` are those of the chunks, shape (row of chunks, column of chunks), from chunk row
    ``first_row`` on; contiguous data have a single one. If they are None, only HDF5 can store the
    chunks, which are ``deflated`` or not.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int] | None
    fillvalue: Any
    deflated: bool
    addresses: NDArray[np.int64] | None
    first_row: int = 0


def locate_dataset(dataset: h5py.Dataset) -> DatasetLocation | None:
    """Return the location of a dataset, or None if only h5py can write it.

    Example
    -------
    >>> with h5py.File("placed.h5", "w", driver="core", backing_store=False) as file:
    ...     data = file.create_dataset("data", (4, 3), "f4", chunks=(2, 2))
    ...     locate_dataset(data).addresses is None
    True

    """
    if dataset.ndim != 2 or not has_numpy_type(dataset):
        return None
    properties = dataset.id.get_create_plist()
    filters = filters_of(properties)
    early = properties.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
    addresses = None
    if early and not filters:
        addresses = _addresses(dataset)
    if filters not in {(), (SHUFFLE, DEFLATE)} or (dataset.chunks is None and addresses is None):
        return None
    return DatasetLocation(
        dataset.shape, dataset.dtype, dataset.chunks, dataset.fillvalue, bool(filters), addresses
    )


def _addresses(dataset: h5py.Dataset) -> NDArray[np.int64] | None:
    if dataset.chunks is not None:
        return ChunkIndex(dataset).addresses() if hasattr(dataset.id, "chunk_iter") else None
    start = dataset.id.get_offset()
    return None if start is None else np.array([[start]], np.int64)


def reserve_space(location: DatasetLocation, path: Path) -> None:
    """Allocate the space of a matrix at once, if the file system supports it.

    Allocating space in each write would take most of the time. On a disk that is too
    small, OSError is raised before anything is written.
    """
    addresses = location.addresses
    if addresses is None or not addresses.size:
        return
    start = int(addresses.min())
    n_bytes = int(np.prod(location.chunks or location.shape)) * location.dtype.itemsize
    length = int(addresses.max()) + n_bytes - start
    reserve(path, start, length)


def write_matrix(
    source: LazyArray,
    dataset: h5py.Dataset,
    layout: Layout,
    *,
    path: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``source`` into ``dataset``, both of shape (time, column), in bounded memory.

    ``path`` is the file of the dataset; without it, all data are written through HDF5.
    ``workers`` is the number of threads, by default that of the layout. ``progress`` is called with
    the number of bytes of each piece of the source.
    """
    workers = layout.workers if workers is None else workers
    location = locate_dataset(dataset)
    if location is not None and path is not None:
        reserve_space(location, path)
    writer = piece_writer(location, path, dataset)
    directory = None if path is None else path.parent
    cut = regions(source, layout, range(layout.shape[1]), directory)
    with closing(writer), closing(encoded_pieces(writer, cut, layout, workers)) as pieces:
        for n_bytes, encoded in pieces:
            writer.store(encoded)
            if progress is not None:
                progress(n_bytes)


def encoded_pieces(
    writer: "PieceWriter", cut: Iterable[Region], layout: Layout, workers: int
) -> Generator[tuple[int, Any]]:
    """Yield the size of each piece of the regions, and what ``writer.encode`` returned for it."""
    for region in cut:
        yield from in_order(writer.encode, region.pieces(layout), workers)
        region.release()
        # The loop variable would keep the region in memory while the next one is read.
        del region


class PieceWriter(Protocol):
    """Writes pieces in two steps: threads ``encode``, one thread calls ``store`` in order."""

    def encode(self, piece: Piece) -> tuple[int, Any]:
        """Return the size of a piece of the source in bytes, and what ``store`` needs."""

    def store(self, encoded: Any) -> None:
        """Store an encoded piece."""

    def close(self) -> None:
        """Close the file, if this writer opened it."""


def piece_writer(
    location: DatasetLocation | None, path: Path | None, dataset: h5py.Dataset | None
) -> PieceWriter:
    """Return the fastest writer that has the same result as h5py.

    Without ``dataset``, as on other ranks, it can only encode pieces and write to known addresses.
    """
    if location is not None and location.addresses is not None and path is not None:
        kind = _RowWriter if location.chunks is None else _ChunkWriter
        return kind(path, location, location.addresses)
    if location is None or location.chunks is None:
        return _H5pyWriter(dataset)
    return _DirectChunkWriter(location, dataset)


class _H5pyWriter:
    """Writes any dataset through h5py."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def encode(self, piece: Piece) -> tuple[int, tuple[slice, slice, NDArray[Any]]]:
        """Return the values of a piece, and their rows and columns."""
        values = piece.read()
        return values.nbytes, (piece.rows, piece.columns, values)

    def store(self, encoded: tuple[slice, slice, NDArray[Any]]) -> None:
        """Write the values."""
        rows, columns, values = encoded
        self._dataset[rows, columns] = values

    def close(self) -> None:
        """Do nothing: the caller closes the file."""


class _AddressedWriter:
    """Base of writers to known addresses, which write from any thread while pieces are encoded."""

    def __init__(self, path: Path, location: DatasetLocation, addresses: NDArray[np.int64]) -> None:
        self._number = open_file(path, os.O_WRONLY)
        self._location, self._addresses = location, addresses

    def _write(self, values: NDArray[Any], address: int) -> None:
        write_at(self._number, values.reshape(-1).view(np.uint8).data, address)

    def store(self, encoded: None) -> None:
        """Do nothing: ``encode`` has written the piece."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._number)


class _RowWriter(_AddressedWriter):
    """Writes rows of contiguous data."""

    def encode(self, piece: Piece) -> tuple[int, None]:
        """Write a piece: with one call if it has all columns, else row by row."""
        dtype = self._location.dtype
        row_bytes = self._location.shape[1] * dtype.itemsize
        read = piece.read()
        values = np.ascontiguousarray(read, dtype)
        address = int(self._addresses[0, 0]) + piece.rows.start * row_bytes
        if values.nbytes == len(values) * row_bytes:
            self._write(values, address)
            return read.nbytes, None
        address += piece.columns.start * dtype.itemsize
        for number, row in enumerate(values):
            self._write(row, address + number * row_bytes)
        return read.nbytes, None


class _ChunkWriter(_AddressedWriter):
    """Writes chunks without filters."""

    def __init__(self, path: Path, location: DatasetLocation, addresses: NDArray[np.int64]) -> None:
        super().__init__(path, location, addresses)
        self._cutter = _ChunkCutter(location)

    def encode(self, piece: Piece) -> tuple[int, None]:
        """Write the chunks of a piece; those that are adjacent in the file with one call."""
        row, first = self._cutter.first_chunk(piece)
        with self._cutter.cut(piece) as (n_bytes, chunks):
            addresses = self._addresses[row - self._location.first_row, first : first + len(chunks)]
            ends = (np.flatnonzero(np.diff(addresses) != chunks[0].nbytes) + 1).tolist()
            for start, stop in zip([0, *ends], [*ends, len(chunks)], strict=True):
                self._write(chunks[start:stop], int(addresses[start]))
        return n_bytes, None


class _DirectChunkWriter:
    """Encodes chunks in threads, and stores them with HDF5's ``write_direct_chunk``."""

    def __init__(self, location: DatasetLocation, dataset: Any) -> None:
        self._dataset, self._deflated = dataset, location.deflated
        self._cutter = _ChunkCutter(location)

    def encode(self, piece: Piece) -> tuple[int, list[tuple[tuple[int, int], bytes]]]:
        """Return the first row and column and the stored bytes of each chunk of a piece."""
        with self._cutter.cut(piece) as (n_bytes, chunks):
            width = chunks.shape[2]
            return n_bytes, [
                (
                    (piece.rows.start, piece.columns.start + number * width),
                    deflate(shuffle(chunk)) if self._deflated else chunk.tobytes(),
                )
                for number, chunk in enumerate(chunks)
            ]

    def store(self, encoded: list[tuple[tuple[int, int], bytes]]) -> None:
        """Store the chunks."""
        for start, stored in encoded:
            with hdf5_lock:
                self._dataset.id.write_direct_chunk(start, stored)

    def close(self) -> None:
        """Do nothing: the caller closes the file."""


class _ChunkCutter:
    """Cuts pieces into whole chunks, in as many buffers as threads cut at the same time."""

    def __init__(self, location: DatasetLocation) -> None:
        self._chunk, self._dtype = location.chunks or (1, 1), location.dtype
        self._fillvalue = location.fillvalue
        self._free: list[NDArray[Any]] = []

    def first_chunk(self, piece: Piece) -> tuple[int, int]:
        """Return chunk row and chunk column of the first chunk of a piece."""
        height, width = self._chunk
        return piece.rows.start // height, piece.columns.start // width

    @contextmanager
    def cut(self, piece: Piece) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the size of the piece in bytes, and its chunks, shape (chunk, row, column)."""
        values = piece.read()
        (rows, columns), (height, width) = values.shape, self._chunk
        count = -(-columns // width)
        buffer = self._buffer(count)
        chunks = buffer[:count]
        if rows < height or columns % width:
            chunks[...] = self._fillvalue
        whole = columns // width
        split = values[:, : whole * width].reshape(rows, whole, width)
        chunks[:whole, :rows] = split.transpose(1, 0, 2)
        if columns % width:
            chunks[whole, :rows, : columns % width] = values[:, whole * width :]
        n_bytes = values.nbytes
        # Views of a mapped file hold its lease.
        del values, split
        try:
            yield n_bytes, chunks
        finally:
            self._free.append(buffer)

    def _buffer(self, count: int) -> NDArray[Any]:
        """Return a buffer that was used before, if possible: new memory is slow at first."""
        with suppress(IndexError):
            buffer = self._free.pop()
            if len(buffer) >= count:
                return buffer
        return np.empty((count, *self._chunk), self._dtype)
