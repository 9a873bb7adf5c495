"""Write matrices into HDF5 datasets: gathered and compressed in threads."""

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.storage.datasets import ChunkIndex, is_of_numpy
from ndx_simulation_output.storage.filters import deflate, shuffle
from ndx_simulation_output.storage.journal import write_at
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import (
    Piece,
    Region,
    default_workers,
    in_order,
    regions,
)
from ndx_simulation_output.storage.raw_files import hdf5_lock

# Datasets of HDF5 files whose place in the file is known before they are written.

GZIP_LEVEL = 4
"""What the file says; the bytes are plain deflate whatever compressed them."""


def create_dataset(
    group: h5py.Group, name: str, layout: Layout, dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Create the dataset of a matrix that grows in time, without filling it.

    What is not compressed gets its place in the file at once, so that it can be written there
    from anywhere. Nothing is written yet: until it is, that place reads as zeros.
    """
    facts = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    maxshape: tuple[int | None, int] = layout.shape
    if layout.chunks is not None:
        facts.set_chunk(layout.chunks)
        maxshape = (None, layout.shape[1])
    if layout.compression is not None:
        facts.set_shuffle()
        facts.set_deflate(GZIP_LEVEL)
    elif layout.chunks is not None or all(layout.shape):
        facts.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        facts.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(
        layout.shape, tuple(h5py.h5s.UNLIMITED if end is None else end for end in maxshape)
    )
    dtype_id = h5py.h5t.py_create(dtype, logical=True)
    made = h5py.h5d.create(group.id, name.encode(), dtype_id, space, facts)
    return h5py.Dataset(made)


def replace_dataset(
    dataset: h5py.Dataset, create: Callable[[h5py.Group, str], h5py.Dataset]
) -> h5py.Dataset:
    """Put the dataset that ``create`` makes in the place of another, with its attributes."""
    group, name = dataset.parent, dataset.name.rsplit("/", 1)[-1]
    attributes = {
        key: (value, dataset.attrs.get_id(key).dtype) for key, value in dataset.attrs.items()
    }
    del group[name]
    made = create(group, name)
    for key, (value, kind) in attributes.items():
        made.attrs.create(key, value, dtype=kind)
    return made


# Where a matrix lies in an HDF5 file, told so that it can be written there without HDF5.

_FILTERS: tuple[list[int], ...] = ([], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])


@dataclass(frozen=True)
class DatasetLocation:
    """Where a matrix, shape (time, column), lies in a file.

    ``addresses`` are those of the chunks, shape (row of chunks, column of chunks), from the row
    of chunks number ``top`` on; contiguous data have one. Where they are None, only HDF5 can store
    the chunks, ``deflated`` or not.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int] | None
    fillvalue: Any
    deflated: bool
    addresses: NDArray[np.int64] | None
    top: int = 0


def locate_dataset(dataset: h5py.Dataset) -> DatasetLocation | None:
    """Tell where a dataset lies, or give None if only h5py can write it.

    Example
    -------
    >>> with h5py.File("placed.h5", "w", driver="core", backing_store=False) as file:
    ...     data = file.create_dataset("data", (4, 3), "f4", chunks=(2, 2))
    ...     locate_dataset(data).addresses is None
    True

    """
    if dataset.ndim != 2 or not is_of_numpy(dataset):
        return None
    facts = dataset.id.get_create_plist()
    filters = [facts.get_filter(number)[0] for number in range(facts.get_nfilters())]
    early = facts.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
    known = dataset.chunks is None or hasattr(dataset.id, "chunk_iter")
    placed = hasattr(os, "pwrite") and early and known and not filters
    addresses = _addresses(dataset) if placed else None
    if filters not in _FILTERS or (dataset.chunks is None and addresses is None):
        return None
    return DatasetLocation(
        dataset.shape, dataset.dtype, dataset.chunks, dataset.fillvalue, bool(filters), addresses
    )


def _addresses(dataset: h5py.Dataset) -> NDArray[np.int64] | None:
    if dataset.chunks is not None:
        return ChunkIndex(dataset).addresses() if hasattr(dataset.id, "chunk_iter") else None
    start = dataset.id.get_offset()
    return None if start is None else np.array([[start]], np.int64)


def reserve_space(place: DatasetLocation, path: Path) -> None:
    """Let the file system find the room of a matrix at once, where it can.

    Finding it for each write takes most of the time of writing. A full disk is told before
    anything is written.

    Raises
    ------
    OSError
        If there is no room.

    """
    if place.addresses is None or not place.addresses.size or sys.platform != "linux":
        return
    start = int(place.addresses.min())
    n_bytes = int(np.prod(place.chunks or place.shape)) * place.dtype.itemsize
    length = int(place.addresses.max()) + n_bytes - start
    # Not posix_fallocate: where a file system cannot do this, that writes to every block.
    allocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if allocate is None:  # Not every library of C has it.
        return
    number = os.open(path, os.O_WRONLY)
    try:
        failed = allocate(number, 0, ctypes.c_int64(start), ctypes.c_int64(length))
    finally:
        os.close(number)
    problem = ctypes.get_errno() if failed else 0
    if problem in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        raise OSError(problem, os.strerror(problem), os.fspath(path))


# Write a matrix into a dataset: gathered and compressed in threads, each chunk once and whole.
#
# Uncompressed data go to their place in the file past HDF5, many chunks with one call. Compressed
# chunks are stored by HDF5 as they are. ``copy_array`` is the plain way to the same file.


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

    ``path`` is where the file lies: given that, uncompressed data are written there directly.
    ``progress`` is called with the number of bytes of each piece of the source.

    Raises
    ------
    SourceError
        If the source cannot be read.
    OSError
        If the file cannot be written.

    """
    workers = default_workers() if workers is None else workers
    place = locate_dataset(dataset)
    if place is not None and path is not None:
        reserve_space(place, path)
    target = piece_writer(place, path, dataset)
    directory = None if path is None else path.parent
    cut = regions(source, layout, range(layout.shape[1]), directory)
    with closing(target), closing(encoded_pieces(target, cut, layout, workers)) as pieces:
        for n_bytes, made in pieces:
            target.put(made)
            if progress is not None:
                progress(n_bytes)


def encoded_pieces(
    target: "PieceWriter", cut: Iterable[Region], layout: Layout, workers: int
) -> Generator[tuple[int, Any]]:
    """Give the size of each piece of regions, and what ``target`` made of it."""
    for region in cut:
        yield from in_order(target.make, region.pieces(layout), workers)
        region.release()
        # Else it would stay until the next one is read.
        del region


class PieceWriter(Protocol):
    """Where pieces go: workers ``make`` what is then ``put``, a piece after the other."""

    def make(self, piece: Piece) -> tuple[int, Any]:
        """Give how many bytes of the source a piece has, and what is to be put."""

    def put(self, made: Any) -> None:
        """Store it."""

    def close(self) -> None:
        """Let go of the file."""


def piece_writer(
    place: DatasetLocation | None, path: Path | None, dataset: h5py.Dataset | None
) -> PieceWriter:
    """Give the fastest way to write the same as h5py.

    Who has no dataset can make pieces, and put those that go past HDF5.
    """
    if place is not None and place.addresses is not None and path is not None:
        kind = _Rows if place.chunks is None else _PlacedChunks
        return kind(_Places(path), place, place.addresses)
    if place is None or place.chunks is None:
        return _Blocks(dataset)
    return _StoredChunks(place, dataset)


class _Blocks:
    """Blocks of any dataset, through HDF5."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def make(self, piece: Piece) -> tuple[int, tuple[slice, slice, NDArray[Any]]]:
        """Give the values of a piece, and where they belong."""
        values = piece.read()
        return values.nbytes, (piece.rows, piece.columns, values)

    def put(self, made: tuple[slice, slice, NDArray[Any]]) -> None:
        """Store them."""
        rows, columns, values = made
        self._dataset[rows, columns] = values

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


class _Places:
    """A file that is written at given places from any thread."""

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_WRONLY)

    def write(self, values: NDArray[Any], place: int) -> None:
        """Write all of ``values``."""
        write_at(self._number, values.reshape(-1).view(np.uint8).data, place)

    def close(self) -> None:
        """Close it."""
        os.close(self._number)


class _Rows:
    """Rows one after the other, in a file that HDF5 does not write at the same time."""

    def __init__(
        self, places: _Places, place: DatasetLocation, addresses: NDArray[np.int64]
    ) -> None:
        self._places, self._dtype, self._start = places, place.dtype, int(addresses[0, 0])
        self._row_bytes = place.shape[1] * place.dtype.itemsize
        self.close = places.close

    def make(self, piece: Piece) -> tuple[int, None]:
        """Write the rows of a piece, each to its place if the piece has not all its columns."""
        read = piece.read()
        values = np.ascontiguousarray(read, self._dtype)
        place = self._start + piece.rows.start * self._row_bytes
        if values.nbytes == len(values) * self._row_bytes:
            self._places.write(values, place)
            return read.nbytes, None
        place += piece.columns.start * self._dtype.itemsize
        for number, row in enumerate(values):
            self._places.write(row, place + number * self._row_bytes)
        return read.nbytes, None

    def put(self, made: None) -> None:
        """Do nothing: it is written."""


class _PlacedChunks:
    """Chunks without filters whose places are known."""

    def __init__(
        self, places: _Places, place: DatasetLocation, addresses: NDArray[np.int64]
    ) -> None:
        self._places, self._addresses, self._top = places, addresses, place.top
        self._cutter = _Cutter(place)
        self.close = places.close

    def make(self, piece: Piece) -> tuple[int, None]:
        """Write the chunks of a piece, those that are neighbours in the file together."""
        n_bytes, chunks = self._cutter.cut(piece)
        row, first = self._cutter.number(piece)
        places = self._addresses[row - self._top, first : first + len(chunks)]
        ends = (np.flatnonzero(np.diff(places) != chunks[0].nbytes) + 1).tolist()
        for start, stop in zip([0, *ends], [*ends, len(chunks)], strict=True):
            self._places.write(chunks[start:stop], int(places[start]))
        return n_bytes, None

    def put(self, made: None) -> None:
        """Do nothing: it is written."""


class _StoredChunks:
    """Chunks that HDF5 stores as they are given, deflated or not."""

    def __init__(self, place: DatasetLocation, dataset: Any) -> None:
        self._dataset, self._deflated = dataset, place.deflated
        self._cutter = _Cutter(place)

    def make(self, piece: Piece) -> tuple[int, list[tuple[tuple[int, int], bytes]]]:
        """Give the bytes of each chunk of a piece, and where it begins in the matrix."""
        n_bytes, chunks = self._cutter.cut(piece)
        width = chunks.shape[2]
        return n_bytes, [
            (
                (piece.rows.start, piece.columns.start + number * width),
                deflate(shuffle(chunk)) if self._deflated else chunk.tobytes(),
            )
            for number, chunk in enumerate(chunks)
        ]

    def put(self, made: list[tuple[tuple[int, int], bytes]]) -> None:
        """Store the chunks."""
        for place, stored in made:
            with hdf5_lock:
                self._dataset.id.write_direct_chunk(place, stored)

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


class _Cutter:
    """Cuts pieces into whole chunks, in memory that each thread uses again and again."""

    def __init__(self, place: DatasetLocation) -> None:
        self._chunk, self._dtype = place.chunks or (1, 1), place.dtype
        self._fillvalue = place.fillvalue
        self._memory = threading.local()

    def number(self, piece: Piece) -> tuple[int, int]:
        """Give row and column of the first chunk of a piece, among the chunks."""
        height, width = self._chunk
        return piece.rows.start // height, piece.columns.start // width

    def cut(self, piece: Piece) -> tuple[int, NDArray[Any]]:
        """Give the number of bytes, and the chunks: shape (chunk, row, column)."""
        values = piece.read()
        (rows, columns), (height, width) = values.shape, self._chunk
        chunks = self._buffer(-(-columns // width))
        if rows < height or columns % width:
            chunks[...] = self._fillvalue
        whole = columns // width
        chunks[:whole, :rows] = _split(values[:, : whole * width], width)
        if columns % width:
            chunks[whole, :rows, : columns % width] = values[:, whole * width :]
        return values.nbytes, chunks

    def _buffer(self, count: int) -> NDArray[Any]:
        buffer = getattr(self._memory, "buffer", None)
        if buffer is None or len(buffer) < count:
            buffer = self._memory.buffer = np.empty((count, *self._chunk), self._dtype)
        return buffer[:count]


def _split(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Give a view of rows and columns as chunks beside each other: (chunk, row, column)."""
    return values.reshape(len(values), -1, width).transpose(1, 0, 2)
