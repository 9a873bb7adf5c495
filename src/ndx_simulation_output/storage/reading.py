"""Matrices of HDF5 files and Zarr stores as lazy arrays, read past HDF5 where that is faster."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording.arrays import LazyArray, Put, place_in_file
from ndx_simulation_output.storage.datasets import (
    ChunkedReader,
    ContiguousReader,
    DatasetReader,
    DeflatedReader,
    H5pyReader,
    Selection,
    dataset_reader,
)
from ndx_simulation_output.storage.links import linked_reader
from ndx_simulation_output.storage.partitions import default_workers
from ndx_simulation_output.storage.raw_files import Mapped, hdf5_lock, is_at_path

# Matrices in Zarr stores. Nothing is imported for them: the array comes from who opened it.


def is_zarr_array(array: LazyArray) -> bool:
    """Whether an array is one of zarr-python, version 2 or 3."""
    return hasattr(array, "oindex") and hasattr(array, "store")


@dataclass(frozen=True)
class ZarrArray:
    """A matrix (time, column) in a Zarr store, which any process opens by itself."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Rows and columns that are read together."""
        return tuple(self.array.chunks)

    @property
    def compression(self) -> str | None:
        """How the values are compressed."""
        several = hasattr(self.array, "compressors")
        codecs = self.array.compressors if several else [self.array.compressor]
        return ", ".join(_name(codec) for codec in codecs if codec is not None) or None

    @property
    def stored_bytes(self) -> int:
        """How much the chunks take."""
        store: Any = getattr(self.array, "chunk_store", None)
        if hasattr(store, "getsize"):
            # zarr-python 2 would count what it opened with consolidated metadata twice.
            return int(store.getsize(self.array.path))
        size = self.array.nbytes_stored
        return int(size() if callable(size) else size)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns.

        Raises
        ------
        SourceError
            If the store is damaged.

        """
        return self._read(lambda: self.array[key])

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all: each chunk once.

        Raises
        ------
        SourceError
            If the store is damaged.

        """
        if columns is None:
            values = self[rows, :]
        else:
            values = self._read(lambda: self.array.oindex[rows, columns])
        if put is not None:
            put(values, values)
        return values

    def _read(self, read: Callable[[], Any]) -> NDArray[Any]:
        try:
            return np.asarray(read())
        except (OSError, RuntimeError, ValueError) as error:
            msg = f"cannot read {self.array.name.strip('/')} of a Zarr store: {error}"
            raise SourceError(msg) from error


def _name(codec: Any) -> str:
    """Give the name of a codec: of Blosc, that of what compresses in it."""
    name = getattr(codec, "cname", None) or type(codec).__name__.removesuffix("Codec").lower()
    return str(getattr(name, "value", name))


# Matrices in HDF5 files, read past HDF5 where that gives the same and is faster.


def wrap_array(array: LazyArray) -> LazyArray:
    """Give what reads ``array`` fast: :class:`HDF5Array` or :class:`ZarrArray`, if it is in a file.

    Their dimensions are time and column, or time alone.
    """
    if isinstance(array, h5py.Dataset) and len(array.shape) in {1, 2}:
        return HDF5Array(array)
    return ZarrArray(array) if is_zarr_array(array) else array


class HDF5Array:
    """A matrix (time, column) in an HDF5 file; slicing it reads.

    ``workers`` threads read together, by default one for each processor, none for 0. Values are
    those that h5py gives, in native byte order.

    Example
    -------
    >>> with h5py.File("array.h5", "w", driver="core", backing_store=False) as file:
    ...     array = HDF5Array(file.create_dataset("data", data=np.arange(6.0).reshape(2, 3)))
    ...     array.take_columns(slice(None), np.array([2, 0])).tolist()
    [[2.0, 0.0], [5.0, 3.0]]

    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        workers: int | None = None,
        index: NDArray[np.int64] | None = None,
    ) -> None:
        self.array = dataset
        self.workers = default_workers() if workers is None else workers
        self._known_index = index

    @property
    def dataset(self) -> h5py.Dataset:
        """The dataset whose values these are, as they are."""
        return self.array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Rows and columns that are read together, or None for contiguous data."""
        chunks = self.array.chunks
        return None if chunks is None else tuple(chunks)

    @property
    def index(self) -> NDArray[np.int64] | None:
        """Where its chunks are in the file, if that is known by now."""
        storage = vars(self).get("_storage")
        return storage.index.known if isinstance(storage, (ChunkedReader, DeflatedReader)) else None

    @property
    def is_mapped(self) -> bool:
        """Whether reading a part costs as much as the part, whatever its shape."""
        return isinstance(self._storage, Mapped)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns.

        Raises
        ------
        SourceError
            If the file is damaged.

        """
        if not (isinstance(key, tuple) and len(key) == 2 and all(map(_ascends, key))):
            return self._plainly(key)
        rows, columns = map(_range, key, self.shape)
        if columns.step == 1:
            return self._read(Selection(rows, columns))
        return self._read(Selection(rows, np.asarray(columns, np.intp)))

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all.

        Raises
        ------
        SourceError
            If the file is damaged.

        """
        wanted = range(self.shape[1]) if columns is None else columns
        return self._read(Selection(_range(rows, self.shape[0]), wanted), put)

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Give rows and columns to be used at once: they may still be in the file."""
        if self._is_open and isinstance(self._storage, ContiguousReader):
            values: NDArray[Any] = self._storage.values[rows, columns]
            return values
        return self[rows, columns]

    def detached(self) -> "DetachedArray | HDF5Array":
        """Give the same array for other processes, which open its file; else this array."""
        dataset = self.array
        if dataset.name is None or not is_at_path(dataset.file):
            return self
        path = os.path.abspath(dataset.file.filename)  # noqa: PTH100 - resolve() follows links
        return DetachedArray(
            path, dataset.name, self.shape, self.dtype, self.chunks, is_mapped=self.is_mapped
        )

    def release(self) -> None:
        """Let go of the memory of what was read; it can be read again."""
        if isinstance(self._storage, Mapped):
            self._storage.release()

    @property
    def _is_open(self) -> bool:
        with hdf5_lock:
            return bool(self.array.id.valid)

    @cached_property
    def _storage(self) -> DatasetReader:
        with hdf5_lock:
            if self.array.is_virtual:
                return linked_reader(self.array)
            return dataset_reader(self.array, self._known_index)

    def _read(self, selection: Selection, put: Put | None = None) -> NDArray[Any]:
        out = np.empty(selection.shape, self.dtype.newbyteorder("="))
        if not out.size:
            return out
        # A closed file is no longer read, though its bytes could be.
        storage = self._storage if self._is_open else H5pyReader(self.array)
        with self._named(f"rows {selection.rows[0]} to {selection.rows[-1] + 1} of "):
            storage.read(selection, out, self.workers, put or np.copyto)
        return out

    def _plainly(self, key: Any) -> NDArray[Any]:
        with self._named():
            values = np.asarray(self.array[key])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    @contextmanager
    def _named(self, part: str = "") -> Iterator[None]:
        """Say of what is damaged what it is; a file that is closed says that itself."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            if not self._is_open:
                raise
            msg = f"cannot read {part}{place_in_file(self.array)}: {error}"
            raise SourceError(msg) from error


@dataclass(frozen=True)
class DetachedArray:
    """An :class:`HDF5Array` by the path of its file, which is open only while it is read.

    It can be sent to other processes. Reads at the same time share the open file; ``workers``
    threads read together.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    is_mapped: bool
    workers: int = 0

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns.

        Raises
        ------
        SourceError
            If the file cannot be opened or is damaged.

        """
        with _opened(self) as array:
            return array[key]

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all.

        Raises
        ------
        SourceError
            If the file cannot be opened or is damaged.

        """
        with _opened(self) as array:
            return array.take_columns(rows, columns, put)


@dataclass
class _Opened:
    """An array of a file of this process, and how many read it at this moment."""

    file: h5py.File
    array: HDF5Array
    version: tuple[Any, ...]
    readers: int = 0


_LOCK = threading.Lock()
_OPENED: dict[DetachedArray, _Opened] = {}
_INDEXES: OrderedDict[tuple[Any, ...], NDArray[np.int64]] = OrderedDict()
"""Where the chunks of some datasets are: to find that out takes long, and little to keep."""
_MOST_INDEXES = 16


@contextmanager
def _opened(stored: DetachedArray) -> Iterator[HDF5Array]:
    """Open the file of an array, and close it when nobody reads it any more."""
    with _LOCK:
        opened = _OPENED.get(stored)
        if opened is None:
            opened = _OPENED[stored] = _open(stored)
        opened.readers += 1
    try:
        yield opened.array
    finally:
        with _LOCK:
            opened.readers -= 1
            if not opened.readers:
                del _OPENED[stored]
                _keep_index(opened)
                opened.file.close()


def _open(stored: DetachedArray) -> _Opened:
    try:
        facts = Path(stored.path).stat()
        version = (stored.path, stored.name, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        file = h5py.File(stored.path, "r")
    except OSError as error:
        msg = f"cannot read {stored.name.strip('/')} of {stored.path}: {error}"
        raise SourceError(msg) from error
    try:
        dataset = file[stored.name]
    except KeyError as error:
        file.close()
        msg = f"{stored.path} no longer has {stored.name.strip('/')}"
        raise SourceError(msg) from error
    return _Opened(file, HDF5Array(dataset, stored.workers, _INDEXES.get(version)), version)


def _keep_index(opened: _Opened) -> None:
    index = opened.array.index
    if index is None:
        return
    _INDEXES[opened.version] = index
    _INDEXES.move_to_end(opened.version)
    while len(_INDEXES) > _MOST_INDEXES:
        _INDEXES.popitem(last=False)


def _ascends(key: Any) -> bool:
    return isinstance(key, slice) and (key.step is None or key.step > 0)


def _range(part: slice, length: int) -> range:
    wanted = range(*part.indices(length))
    # So that the end of an empty range, or of one with steps, is that of its last item.
    return range(wanted.start, wanted[-1] + 1 if wanted else wanted.start, wanted.step)
