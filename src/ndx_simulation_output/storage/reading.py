"""Lazy arrays over datasets in HDF5 files and Zarr stores."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import DAMAGE, SourceError, source_errors
from ndx_simulation_output.recording.arrays import (
    ColumnIndices,
    LazyArray,
    LazyArrayBase,
    Put,
    is_ascending,
    place_in_file,
)
from ndx_simulation_output.recording.fields import set_fields
from ndx_simulation_output.storage.datasets import (
    ChunkedReader,
    ContiguousReader,
    DatasetReader,
    DeflatedReader,
    H5pyReader,
    MappedReader,
    Selection,
    dataset_reader,
)
from ndx_simulation_output.storage.journal import FileVersion, size_and_time
from ndx_simulation_output.storage.layout import default_workers
from ndx_simulation_output.storage.links import linked_reader
from ndx_simulation_output.storage.raw_files import (
    MappedFile,
    hdf5_lock,
    is_at_path,
    is_hdf5,
)


def wrap_array(array: LazyArray) -> LazyArray:
    """Return an array that is read by numpy indexing, and fast if it is in a file.

    Datasets of HDF5 become an :class:`HDF5Array`, arrays of Zarr a :class:`ZarrArray`, and those of
    other libraries an :class:`OtherArray`.
    """
    if is_hdf5(array):
        return HDF5Array(array)
    if isinstance(array, (np.ndarray, LazyArrayBase)):
        return array
    if not (hasattr(array, "oindex") and hasattr(array, "store")):
        return OtherArray(array)
    # zarr-python has been imported, or there would be no array of it.
    from ndx_simulation_output.storage.zarr_chunks import with_checks

    return ZarrArray(with_checks(array))


class HDF5Array(LazyArrayBase):
    """A lazy array over an HDF5 dataset (time, column), read bypassing HDF5 where that is faster.

    Values are those of h5py, numbers in native byte order. ``workers`` is the number of threads: by
    default one for each CPU; 0 for none.

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
        self.version = FileVersion.of(dataset)
        self._known_index = index
        self._kept: NDArray[Any] | None = None

    @property
    def dataset(self) -> h5py.Dataset:
        """The dataset, which an NWB file can link: its values are read unchanged."""
        return self.array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        if self._is_open and self._fixed_shape is not None:
            return self._fixed_shape
        with self._closed_errors():
            return tuple(self.array.shape)

    @cached_property
    def _fixed_shape(self) -> tuple[int, ...] | None:
        with self._closed_errors():
            return tuple(self.array.shape) if self._is_fixed else None

    @property
    def _is_fixed(self) -> bool:
        """True if a read raises an error once the file has changed."""
        return self.version is not None and not self.version.is_growing

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        with self._closed_errors():
            dtype: np.dtype[Any] = self.array.dtype
            return dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Rows and columns of a chunk, or None for contiguous data."""
        with self._closed_errors():
            chunks = self.array.chunks
        return None if chunks is None else tuple(chunks)

    @property
    def index(self) -> NDArray[np.int64] | None:
        """The complete index of the chunks, if it was read."""
        reader = vars(self).get("_reader")
        return reader.index.known if isinstance(reader, (ChunkedReader, DeflatedReader)) else None

    @property
    def is_mapped(self) -> bool:
        """True if the time to read a part is proportional to its size."""
        return isinstance(self._reader, MappedReader)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns."""
        if len(self.shape) == 2 and is_ascending(key):
            key = key, slice(None)
        is_pair = isinstance(key, tuple) and len(key) == 2 == len(self.shape)
        if not (is_pair and all(map(is_ascending, key))):
            return self._read_with_h5py(key)
        rows, columns = map(_range, key, self.shape)
        if columns.step == 1:
            return self._read_selection(Selection(rows, columns))
        return self._read_selection(Selection(rows, np.asarray(columns, np.intp)))

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, repeated or not, or all if ``columns`` is None."""
        n_rows, n_columns = self._fixed_shape or self.shape
        selected = range(n_columns) if columns is None else _adjacent(columns)
        return self._read_selection(Selection(_range(rows, n_rows), selected), put)

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return rows and columns, possibly as a view of the mapped file that must not be kept."""
        if self._is_open and isinstance(self._reader, ContiguousReader):
            values = self._reader.view(rows, columns)
            if values is not None and not (self.version and self.version.change()):
                return values
        return self[rows, columns]

    def detached(self) -> "DetachedArray | HDF5Array":
        """Return an equal array that can be sent to other processes, or this one."""
        dataset = self.array
        with self._closed_errors():
            dataset.id.get_space()  # Older h5py gives a closed dataset the name None.
            if dataset.name is None or not is_at_path(dataset.file):
                return self
        path = os.path.abspath(dataset.file.filename)  # noqa: PTH100 - resolve() follows links
        version = None if self.version is None or self.version.is_growing else self.version.found
        return DetachedArray(
            path,
            dataset.name,
            self.shape,
            self.dtype,
            self.chunks,
            is_mapped=self.is_mapped,
            version=version,
        )

    def __reduce__(self) -> Any:
        """Raise an error: only a detached array can be sent to other processes."""
        msg = (
            f"{place_in_file(self.array)} cannot be sent to other processes: its file is on a "
            "server or being written; read it with threads, or open it there"
        )
        raise SourceError(msg)

    def kept(self) -> NDArray[Any]:
        """Return all values, which stay in memory as long as the file cannot change unnoticed."""
        values = self._kept
        if values is not None and self._is_open and not (self.version and self.version.change()):
            return values
        values = self[...]
        if self._is_fixed:
            values.flags.writeable = False
            self._kept = values
        return values

    def release(self) -> None:
        """Free the memory of what was read; it can be read again."""
        if isinstance(self._reader, MappedReader):
            self._reader.release()

    @cached_property
    def _native(self) -> np.dtype[Any]:
        return self.dtype.newbyteorder("=")

    @property
    def _is_open(self) -> bool:
        with hdf5_lock:
            return bool(self.array.id.valid)

    @cached_property
    def _reader(self) -> DatasetReader:
        with hdf5_lock, self._closed_errors():
            if self.array.is_virtual:
                return linked_reader(self.array)
            return dataset_reader(self.array, self._known_index, keep=self._is_fixed)

    def _read_selection(self, selection: Selection, put: Put | None = None) -> NDArray[Any]:
        out = np.empty(selection.shape, self._native)
        if not out.size:
            _ = self.shape  # Raises an error if the file is closed.
            return out
        # The mapped file can still be read when the file is closed; h5py raises the expected error.
        reader = self._reader if self._is_open else H5pyReader(self.array)
        # A context takes as long as a short read: it is entered only to raise an error.
        try:
            reader.read(selection, out, self.workers, put or np.copyto)
        except Exception:
            with self._source_errors(selection.rows):
                raise
        if self.version is not None and self.version.change():
            if isinstance(reader, DeflatedReader) and reader.kept is not None:
                reader.kept.forget()
            with self._source_errors(selection.rows):
                pass
        return out

    def _read_with_h5py(self, key: Any) -> NDArray[Any]:
        with self._source_errors():
            values: NDArray[Any] = self.array[key]
        found = np.asarray(values)
        if found.dtype.kind in "OSU":
            return values  # As h5py returns it, also a single text.
        return found.astype(found.dtype.newbyteorder("="), copy=False)

    def _source_errors(self, rows: range | None = None) -> AbstractContextManager[None]:
        """Raise a SourceError if data are damaged or have changed, or the file is closed."""

        def failing() -> str:
            part = "" if rows is None else f"rows {rows[0]} to {rows[-1] + 1} of "
            return f"cannot read {part}{place_in_file(self.array)}"

        return _reading(self.version, failing) if self._is_open else self._closed_errors()

    @contextmanager
    def _closed_errors(self) -> Iterator[None]:
        """Convert the errors of a closed file to a SourceError."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if self._is_open:
                raise
            path = "the file" if self.version is None else self.version.path
            raise _closed_error(path) from error


def _closed_error(path: str | Path) -> SourceError:
    return SourceError(f"{path} is closed: what was opened from it cannot be read; open it again")


@contextmanager
def _reading(version: FileVersion | None, failing: Callable[[], str]) -> Iterator[None]:
    """Raise a SourceError if the block cannot read, or reads from a file that has changed."""
    failure = None
    try:
        with source_errors(failing, caught=DAMAGE):
            yield
    except SourceError as error:
        failure = error
    if reason := version and version.change():
        msg = f"{failing()}: {reason}"
        raise SourceError(msg) from failure
    if failure is not None:
        raise failure


class FileArray(LazyArrayBase):
    """A lazy matrix (time, column) whose rows follow each other in a file, from byte ``start``."""

    is_mapped = True

    def __init__(
        self, path: Path, start: int, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        file = MappedFile(path)
        self._reader = ContiguousReader(file, start, shape, dtype)
        self.version = FileVersion.of_number(file.number, path)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return self._reader.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        return self._reader.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._columns(slices[0], np.arange(self.shape[1])[slices[1]])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        chosen = range(self.shape[1]) if columns is None else columns
        selection = Selection(_range(rows, self.shape[0]), chosen)
        out = np.empty(selection.shape, self.dtype.newbyteorder("="))
        with _reading(self.version, lambda: f"cannot read {self.version.path}"):
            if out.size:
                self._reader.read(selection, out, 0, np.copyto)
        return out


class OpenedLater:
    """What is read from a file that is open only while it is read, until this is closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        """Refuse to read the file again."""
        self.is_closed = True

    def without_file(self, recorded: Any) -> Any:
        """Return a recording whose file can be closed: its arrays open it while they are read.

        Short ones are read into memory. Raise ``NeedsFileError`` if one cannot be opened again.
        """
        if isinstance(recorded, (HDF5Array, ZarrArray)):
            return self._array(recorded)
        if isinstance(recorded, Mapping):
            return {name: self.without_file(part) for name, part in recorded.items()}
        if isinstance(recorded, tuple):
            return tuple(map(self.without_file, recorded))
        if recorded is None or isinstance(recorded, _IN_MEMORY):
            return recorded
        if not is_dataclass(recorded):
            raise NeedsFileError
        # Checked when it was created; what it has computed since may refer to the open file.
        names = [one.name for one in fields(recorded)]
        known = [name for name in names if name in vars(recorded)]
        if len(known) < len(names):
            known.append("_source")  # The spikes are not read yet.
        copied = object.__new__(type(recorded))
        set_fields(copied, **{one: self.without_file(getattr(recorded, one)) for one in known})
        return copied

    def _array(self, array: "HDF5Array | ZarrArray") -> LazyArray:
        if array.ndim < 2 and array.size <= _FEW_VALUES:
            return np.asarray(array[...])
        found = array.detached()
        if found is array or array.dtype.kind == "O":
            raise NeedsFileError
        if isinstance(array, HDF5Array) and isinstance(found, DetachedArray):
            vars(array).pop("_reader", None)  # It has the file open too.
            return replace(found, workers=array.workers, owner=self)
        return found


class NeedsFileError(Exception):
    """An array can only be read as long as its file is open."""


_FEW_VALUES = 2**16
_IN_MEMORY = (str, bytes, int, float, list, np.ndarray, np.generic, type)


def file_versions(recorded: Any) -> set[FileVersion]:
    """Return the versions of all HDF5 files that a recording is read from."""
    if isinstance(recorded, (HDF5Array, FileArray)):
        return set() if recorded.version is None else {recorded.version}
    if isinstance(recorded, h5py.Dataset):
        version = FileVersion.of(recorded)
        return set() if version is None else {version}
    parts: Iterable[Any] = ()
    if is_dataclass(recorded):
        parts = vars(recorded).values()  # Lazy spikes would read a field that is asked for.
    elif isinstance(recorded, Mapping):
        parts = recorded.values()
    elif isinstance(recorded, tuple):
        parts = recorded
    return {version for part in parts for version in file_versions(part)}


def check_unchanged(versions: Iterable[FileVersion]) -> None:
    """Raise a SourceError if a file has changed."""
    for version in versions:
        if reason := version.change():
            msg = f"{version.path}: {reason}"
            raise SourceError(msg)


def _adjacent(columns: ColumnIndices) -> ColumnIndices:
    """Return a range if the columns are adjacent and ascending, else the columns."""
    if (
        isinstance(columns, range)
        or not len(columns)
        or columns[-1] - columns[0] != len(columns) - 1
    ):
        return columns
    if len(columns) > 1 and not (columns[1:] - columns[:-1] == 1).all():
        return columns
    return range(int(columns[0]), int(columns[-1]) + 1)


def _range(part: slice, length: int) -> range:
    selected = range(*part.indices(length))
    # Normalize the end to the last item plus 1, also with a step or without items.
    return range(selected.start, selected[-1] + 1 if selected else selected.start, selected.step)


@dataclass(frozen=True)
class DetachedArray(LazyArrayBase):
    """An :class:`HDF5Array` identified by path and name; its file is open only during a read.

    It can be sent to other processes. Concurrent reads in one process share the open file.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    is_mapped: bool
    version: tuple[int, int] | None = None
    workers: int = 0
    owner: OpenedLater | None = field(default=None, compare=False, repr=False)

    def detached(self) -> "DetachedArray":
        """Return an equal array that can be read when the output is closed."""
        return replace(self, owner=None)

    @property
    def compression(self) -> str | None:
        """Name of the compression, or None."""
        with _opened(self) as array:
            name: str | None = array.dataset.compression
            return name

    @property
    def stored_bytes(self) -> int:
        """Size of the data in the file."""
        with _opened(self) as array:
            return int(array.dataset.id.get_storage_size())

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns."""
        with _opened(self) as array:
            return array[key]

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, repeated or not, or all if ``columns`` is None."""
        with _opened(self) as array:
            return array.take_columns(rows, columns, put)


@dataclass
class _Opened:
    """An open array, the version of its file, and the number of reads in progress."""

    file: h5py.File
    array: HDF5Array
    version: tuple[Any, ...]
    readers: int = 0


_LOCK = threading.Lock()
_OPENED: dict[DetachedArray, _Opened] = {}
_INDEXES: OrderedDict[tuple[Any, ...], NDArray[np.int64]] = OrderedDict()
"""Indexes of chunks by version of the file, which are slow to read and small."""
_MOST_INDEXES = 16


@contextmanager
def _opened(detached: DetachedArray) -> Iterator[HDF5Array]:
    """Open the file of an array; the last concurrent reader closes it."""
    if detached.owner is not None and detached.owner.is_closed:
        raise _closed_error(detached.path)
    with _LOCK:
        opened = _OPENED.get(detached)
        if opened is None:
            opened = _OPENED[detached] = _open(detached)
        opened.readers += 1
    try:
        yield opened.array
    finally:
        with _LOCK:
            opened.readers -= 1
            if not opened.readers:
                del _OPENED[detached]
                _cache_index(opened)
                opened.file.close()


def _open(detached: DetachedArray) -> _Opened:
    with source_errors(f"cannot read {detached.name.strip('/')} of {detached.path}"):
        status = Path(detached.path).stat()
        found = size_and_time(status)
        if detached.version not in {None, found}:
            msg = f"{detached.path} has changed since it was opened; open it again"
            raise SourceError(msg)
        version = (detached.path, detached.name, status.st_ino, *found)
        file = h5py.File(detached.path, "r")
    try:
        dataset = file[detached.name]
    except KeyError as error:
        file.close()
        msg = f"{detached.path} no longer has {detached.name.strip('/')}"
        raise SourceError(msg) from error
    return _Opened(file, HDF5Array(dataset, detached.workers, _INDEXES.get(version)), version)


def _cache_index(opened: _Opened) -> None:
    index = opened.array.index
    if index is None:
        return
    _INDEXES[opened.version] = index
    _INDEXES.move_to_end(opened.version)
    while len(_INDEXES) > _MOST_INDEXES:
        _INDEXES.popitem(last=False)


@dataclass(frozen=True)
class _ArrayOfLibrary(LazyArrayBase):
    """Base of the lazy arrays over objects of other libraries."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype


@dataclass(frozen=True)
class ZarrArray(_ArrayOfLibrary):
    """A lazy array (time, column) over an array of zarr-python, version 2 or 3."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Rows and columns of a chunk."""
        return tuple(self.array.chunks)

    @property
    def compression(self) -> str | None:
        """Names of the compressors, or None."""
        has_list = hasattr(self.array, "compressors")
        codecs = self.array.compressors if has_list else [self.array.compressor]
        return ", ".join(_codec_name(codec) for codec in codecs if codec is not None) or None

    @property
    def stored_bytes(self) -> int:
        """Size of the chunks in the store."""
        store: Any = getattr(self.array, "chunk_store", None)
        if hasattr(store, "getsize"):
            # nbytes_stored of zarr-python 2 counts consolidated metadata twice.
            return int(store.getsize(self.array.path))
        size = self.array.nbytes_stored
        return int(size() if callable(size) else size)

    def detached(self) -> "DetachedZarr | ZarrArray":
        """Return an equal array that can be sent to other processes, or this one."""
        source = getattr(getattr(self.array, "chunk_store", self.array.store), "source", None)
        if source is None:
            return self
        return DetachedZarr(source, self.array.path, self.shape, self.dtype, self.chunks)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._checked(lambda: self.array[slices])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        if columns is None:
            return self._read((rows, slice(None)))
        return self._checked(lambda: self.array.oindex[rows, columns])

    def _checked(self, read: Callable[[], Any]) -> NDArray[Any]:
        with source_errors(lambda: f"cannot read {self._damaged_part()}"):
            return np.asarray(read())

    @property
    def _store(self) -> str:
        store = getattr(self.array, "chunk_store", None) or self.array.store
        return str(getattr(store, "path", None) or getattr(store, "root", store))

    def _damaged_part(self) -> str:
        """Return the name of the first chunk that cannot be read, or that of the array."""
        lengths = getattr(self.array, "shards", None) or self.array.chunks
        counts = [-(-size // part) for size, part in zip(self.shape, lengths, strict=True)]
        for index in np.ndindex(*counts):
            starts = np.multiply(index, lengths)
            try:
                self.array[tuple(map(slice, starts, starts + lengths))]
            except Exception:  # noqa: BLE001 - each codec raises its own
                return f"the chunk {self._chunk_name(index)} of {self._store}"
        return f"{self.array.path} of {self._store}"

    def _chunk_name(self, index: tuple[int, ...]) -> str:
        metadata = getattr(self.array, "metadata", None)
        if metadata is None:
            return str(self.array._chunk_key(index))  # noqa: SLF001 - zarr-python 2 has no other
        return f"{self.array.path}/{metadata.encode_chunk_key(index)}"


@dataclass(frozen=True)
class OtherArray(_ArrayOfLibrary):
    """A lazy array over an object of another library, of which only slices are read.

    These are, for example, arrays of dask and datasets of LINDI, a subclass of ``h5py.Dataset``
    that has no HDF5 identifier.
    """

    @property
    def chunks(self) -> Any:
        """Shape of a chunk, as the object gives it; None if it has none."""
        return getattr(self.array, "chunks", None)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        with source_errors(lambda: f"cannot read {place_in_file(self)}"):
            return np.asarray(self.array[slices])


@dataclass(frozen=True)
class DetachedZarr(LazyArrayBase):
    """A :class:`ZarrArray` identified by its store and name, which can be sent to processes."""

    source: Any
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]

    def __getitem__(self, key: Any) -> Any:
        """Read values selected as in numpy."""
        return self._opened[key]

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, repeated or not, or all if ``columns`` is None."""
        return self._opened.take_columns(rows, columns, put)

    @property
    def _opened(self) -> ZarrArray:
        from ndx_simulation_output.storage.zarr_chunks import open_array

        return ZarrArray(open_array(self.source, self.name))


def _codec_name(codec: Any) -> str:
    """Return the name of a codec; for Blosc, that of the compressor in it."""
    name = getattr(codec, "cname", None) or type(codec).__name__.removesuffix("Codec").lower()
    return str(getattr(name, "value", name))
