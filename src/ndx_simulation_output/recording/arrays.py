"""Lazy arrays: protocol, base class, and functions that read them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import (
    DAMAGE,
    ShapeMismatchError,
    WrongTypeError,
    callers_errors,
    source_errors,
)

BLOCK_BYTES = 32 * 2**20

Progress = Callable[[int, int], object]
"""Called with the number of bytes done since the last call, and the number of all bytes."""


def progress_of(progress: Progress | None, total: int) -> Callable[[int], object] | None:
    """Return a function of the number of bytes done since the last call, or None."""
    if progress is None:
        return None

    def done(n_bytes: int) -> None:
        with callers_errors():
            progress(n_bytes, total)

    return done


Put = Callable[[NDArray[Any], Any], None]
"""Assign values, the second argument, to an array of the same shape, the first, as ``copyto``."""


ColumnIndices = NDArray[np.intp] | range
"""Columns in any order, repeated or not; adjacent ones may be a range."""


class LazyArray(Protocol):
    """An array that is read by slicing, such as a numpy array or an ``h5py.Dataset``.

    The members ``is_mapped``, ``chunks``, ``take_columns``, ``piece``, ``kept``, ``release`` and
    ``detached`` are optional. The functions of this module use them if they are defined;
    ``take_columns`` and ``piece`` read faster than slicing.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read the slices ``key``."""


class LazyArrayBase:
    """Base class of lazy arrays that support numpy indexing.

    Subclasses define ``shape``, ``dtype`` and ``_read``, which reads one slice with a positive step
    for each dimension.
    """

    if TYPE_CHECKING:
        # Not defined at run time: a dataclass would use them as defaults of its fields.
        @property
        def shape(self) -> tuple[int, ...]:
            """Length of each dimension."""

        @property
        def dtype(self) -> np.dtype[Any]:
            """Type of the values."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def __len__(self) -> int:
        """Return the length of the first dimension."""
        return self.shape[0]

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - numpy passes both by position
    ) -> NDArray[Any]:
        """Read all values."""
        del copy  # Reading always returns a new array.
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> Any:
        """Read values selected by integers, slices, masks or index arrays, as in numpy."""
        parts = _full_key(key, self.shape)
        if all(map(is_ascending, parts)):
            return self._read(parts)
        slices, rest = zip(*map(_covering_slice, parts, self.shape), strict=True)
        if len(parts) == 2 and not isinstance(parts[1], slice):
            columns = np.arange(self.shape[1])[parts[1]]
            values = self.take_columns(slices[0], np.atleast_1d(columns))
            return values[rest[0], np.arange(columns.size).reshape(columns.shape)]
        return self._read(slices)[rest]

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns of a matrix in any order, with repeats; all if ``columns`` is None."""
        values = self._columns(rows, None if columns is None else as_indices(columns))
        if put is not None:
            put(values, values)
        return values

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        return _read_columns(self, rows, columns)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        raise NotImplementedError


_KINDS = {
    "iu": "integers",
    "iuf": "numbers",
    "biufc": "numbers",
}


def as_array(
    values: Any,
    what: str,
    *,
    ndim: int | None = 1,
    kinds: str | None = "iuf",
    allow_none: bool = False,
) -> Any:
    """Return a lazy array as it is, and a list, tuple or similar as a numpy array.

    Raises an error, with ``what`` as the name of the values, unless they have ``ndim`` dimensions
    and a type of one of ``kinds``; None allows any. With ``allow_none``, text may be missing: None.
    """
    if hasattr(values, "iloc"):
        values = values.to_numpy()  # pandas slices by label.
    if not isinstance(values, LazyArrayBase) and type(values) is not np.ndarray:
        _check_plain(values, what)
    if isinstance(values, np.ndarray) or not _is_lazy(values):
        values = _in_memory(values, what, kinds, allow_none=allow_none)
    shape = tuple(values.shape)
    if ndim is not None and len(shape) != ndim:
        msg = f"{what} have shape {shape}; expected {ndim} dimension{'s' * (ndim > 1)}"
        raise ShapeMismatchError(msg)
    if kinds is not None and values.dtype.kind not in kinds:
        if 0 not in shape:
            msg = f"{what} are {values.dtype}; expected {_KINDS[kinds]}"
            raise WrongTypeError(msg)
        values = np.zeros(shape, np.int64 if kinds == "iu" else np.float64)
    return values


def as_arrays(columns: Any, what: str, *, allow_none: bool = False) -> dict[str, Any]:
    """Return columns by name as arrays; raise an error unless they are a mapping of values."""
    if not isinstance(columns, Mapping):
        msg = f"the columns of {what} are {columns!r:.60}; expected arrays by name, as in a dict"
        raise WrongTypeError(msg)
    return {
        name: as_array(values, f"{name} of {what}", ndim=None, kinds=None, allow_none=allow_none)
        for name, values in columns.items()
    }


def _is_lazy(values: Any) -> bool:
    return all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__"))


def _check_plain(values: Any, what: str) -> None:
    """Raise WrongTypeError for values with units of their own or with hidden values."""
    units = getattr(values, "units", getattr(values, "unit", None))
    if units is not None and str(units) not in {"", "dimensionless"}:
        msg = f"{what} have units of their own, {units}; expected plain numbers"
        raise WrongTypeError(msg)
    if np.ma.is_masked(values):
        msg = f"{what} have masked values; expected all values, such as NaN for missing ones"
        raise WrongTypeError(msg)


def _in_memory(values: Any, what: str, kinds: str | None, *, allow_none: bool) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        msg = f"{what} cannot be made an array: {error}"
        raise ShapeMismatchError(msg) from error
    is_mixed = array.dtype.kind in "US" and not isinstance(values, np.ndarray)
    if is_mixed and not all(
        isinstance(value, str | bytes) for value in np.asarray(values, object).ravel()
    ):
        msg = f"{what} are text and numbers; expected values of one type"
        raise WrongTypeError(msg)
    if kinds is None and array.dtype.kind == "O":
        for kind in set(map(type, array.ravel())):
            if not issubclass(kind, str | bytes) and not (allow_none and kind is type(None)):
                msg = f"{what} have a value of type {kind.__name__}; expected numbers or text"
                raise WrongTypeError(msg)
    return array


def is_ascending(part: Any) -> bool:
    """Return True if part of a key is a slice whose step is positive."""
    return isinstance(part, slice) and (part.step is None or part.step > 0)


def _full_key(key: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Expand a key to one index or slice for each dimension."""
    parts = key if isinstance(key, tuple) else (key,)
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    n_missing = len(shape) - len(parts) + len(dots)
    if n_missing < 0 or len(dots) > 1:
        msg = f"{key} has more indices than an array of shape {shape} has dimensions"
        raise IndexError(msg)
    place = dots[0] if dots else len(parts)
    return (*parts[:place], *[slice(None)] * n_missing, *parts[place + 1 :])


def _covering_slice(part: Any, length: int) -> tuple[slice, Any]:
    """Return an ascending slice that covers ``part``, and the indices relative to it."""
    if is_ascending(part):
        return part, slice(None)
    if isinstance(part, slice):
        ascending = range(length)[part][::-1]
        stop = ascending[-1] + 1 if ascending else ascending.start
        return slice(ascending.start, stop, ascending.step), slice(None, None, -1)
    if isinstance(part, int | np.integer) and not isinstance(part, bool):
        index = range(length)[int(part)]
        return slice(index, index + 1), 0
    indices = np.arange(length)[part]
    if indices.ndim > 1:
        msg = f"{part!r} is not an integer, a slice, or a one-dimensional array of indices"
        raise IndexError(msg)
    if not indices.size:
        return slice(0, 0), indices
    first = int(indices.min())
    return slice(first, int(indices.max()) + 1), indices - first


def is_mapped(array: LazyArray) -> bool:
    """Return True if the time to read any part is proportional to its size, as in memory."""
    return isinstance(array, np.ndarray) or bool(getattr(array, "is_mapped", False))


def chunks_of(array: LazyArray) -> tuple[int, int]:
    """Return the number of rows and columns of a chunk, (1, 1) if the array has no chunks.

    The chunks of a dask array can differ; the largest count. Those of an empty array have none.
    """
    chunks = getattr(array, "chunks", None) or (1, 1)
    rows, columns, *_ = *(max(1, *np.ravel(one).tolist()) for one in chunks), 1
    return rows, columns


def size_in_bytes(array: LazyArray) -> int:
    """Return the size of the values of an array.

    Example
    -------
    >>> size_in_bytes(np.zeros((3, 2)))
    48

    """
    return prod(array.shape) * array.dtype.itemsize


def read_all(array: LazyArray) -> NDArray[Any]:
    """Read an array of any type and number of dimensions, including 0, in its byte order.

    Example
    -------
    >>> read_all(np.array(1, ">i4")).dtype.str
    '>i4'

    """
    # A single value is read as a scalar of Python or numpy, which has no byte order.
    return np.asarray(array[()], array.dtype)


def as_indices(columns: ColumnIndices) -> NDArray[np.intp]:
    """Return columns as an array of indices."""
    if isinstance(columns, range):
        return np.arange(columns.start, columns.stop, columns.step)
    return columns


def read_kept(array: LazyArray) -> NDArray[Any]:
    """Return the values of a short array that are read again and again; they may be read-only."""
    kept = getattr(array, "kept", None)
    return np.asarray(array[:] if kept is None else kept())


def read_block(source: LazyArray, rows: slice, columns: slice) -> NDArray[Any]:
    """Read rows and columns for immediate use: the result may be a view of the file."""
    with source_errors(partial(_rows_of, source, rows), caught=DAMAGE):
        piece = getattr(source, "piece", None)
        return np.asarray(source[rows, columns]) if piece is None else piece(rows, columns)


def read_columns(
    array: LazyArray,
    rows: slice,
    columns: ColumnIndices | None,
    put: Put | None = None,
) -> NDArray[Any]:
    """Read only the selected columns, in any order, with repeats; all if ``columns`` is None.

    ``put`` assigns each block of values to the result and may convert them. The result is a new
    array of shape (row, column) in native byte order.
    """
    take_columns = getattr(array, "take_columns", None)
    if take_columns is not None:
        values: NDArray[Any] = take_columns(rows, columns, put)
        return values
    values = _read_columns(array, rows, None if columns is None else as_indices(columns))
    if put is not None:
        put(values, values)
    return values


def _read_columns(array: LazyArray, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
    native = array.dtype.newbyteorder("=")
    if columns is None:
        return np.array(array[rows, :], native)
    if isinstance(array, np.ndarray):
        return array[rows][:, columns].astype(native, copy=False)
    return read_runs(array, rows, columns)


def read_runs(array: LazyArray, rows: slice, columns: NDArray[np.intp]) -> NDArray[Any]:
    """Read columns with one slice for each run of adjacent columns."""
    distinct, positions = np.unique(columns, return_inverse=True)
    n_rows = len(range(*rows.indices(array.shape[0])))
    values = np.empty((n_rows, len(distinct)), array.dtype.newbyteorder("="))
    for run in np.split(np.arange(len(distinct)), np.flatnonzero(np.diff(distinct) != 1) + 1):
        if len(run) and n_rows:
            adjacent = slice(int(distinct[run[0]]), int(distinct[run[-1]]) + 1)
            values[:, run[0] : run[-1] + 1] = array[rows, adjacent]
    return values if np.array_equal(positions, np.arange(len(distinct))) else values[:, positions]


def release(array: LazyArray) -> None:
    """Free cached values of the array or of the array that it wraps."""
    inner: Any = array
    while not hasattr(inner, "release") and hasattr(inner, "array"):
        inner = inner.array
    if hasattr(inner, "release"):
        inner.release()


def detached(array: LazyArray) -> LazyArray:
    """Return an array that does not need its file to stay open, if the file can be reopened."""
    without_file = getattr(array, "detached", None)
    found: LazyArray = array if without_file is None else without_file()
    return found


def plan_blocks(
    shape: tuple[int, ...],
    itemsize: int,
    chunks: tuple[int, ...] = (1, 1),
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[tuple[slice, slice]]:
    """Divide a matrix into blocks of whole chunks, of at most ``block_bytes`` or one chunk.

    A block is as wide as possible, because sources store one row after another.

    Example
    -------
    >>> list(plan_blocks((4, 3), itemsize=8, chunks=(2, 1), block_bytes=48))
    [(slice(0, 2, None), slice(0, 3, None)), (slice(2, 4, None), slice(0, 3, None))]

    """
    rows, columns = shape
    row_chunk, column_chunk = chunks
    width = max(1, block_bytes // (itemsize * row_chunk * column_chunk)) * column_chunk
    width = min(width, max(columns, 1))
    height = max(1, block_bytes // (itemsize * width * row_chunk)) * row_chunk
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))


def copy_array(
    source: LazyArray,
    target: Any,
    *,
    chunks: tuple[int, ...] | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Copy ``source`` into ``target``, both of shape (time, column), in blocks of bounded size.

    ``chunks`` is the chunk shape of the target: each chunk is written in a single operation.
    """
    read = _block_reader(source)
    for block in plan_blocks(source.shape, source.dtype.itemsize, chunks or (1, 1)):
        with source_errors(partial(_rows_of, source, block[0]), caught=DAMAGE):
            values = read(block)
        target[block] = values
        if progress is not None:
            progress(values.nbytes)


def _block_reader(source: LazyArray) -> Callable[[tuple[slice, slice]], NDArray[Any]]:
    """Return a function that reads a block; blocks of HDF5 datasets share one buffer."""
    read_direct = getattr(source, "read_direct", None)
    if read_direct is None:
        return lambda block: np.asarray(source[block])
    buffer = np.empty(0, source.dtype)

    def read(block: tuple[slice, slice]) -> NDArray[Any]:
        nonlocal buffer
        rows, columns = (part.stop - part.start for part in block)
        if buffer.size < rows * columns:
            buffer = np.empty(rows * columns, source.dtype)
        values = buffer[: rows * columns].reshape(rows, columns)
        read_direct(values, block)
        return values

    return read


def _rows_of(source: LazyArray, rows: slice) -> str:
    return f"cannot read rows {rows.start} to {rows.stop} of {place_in_file(source)}"


def place_in_file(array: Any) -> str:
    """Return the dataset and file names of an array or of the array that it wraps, for messages."""
    while hasattr(array, "array"):
        array = array.array
    try:
        name, file = array.name, array.file.filename
    except AttributeError:
        return "the source"
    except (ValueError, RuntimeError):
        return "a dataset whose file is closed"
    return f"{name.strip('/') if name else 'a dataset without a name'} of {Path(file).name}"
