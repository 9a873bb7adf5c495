"""Lazy arrays: the protocol, and the plain ways to read and copy them."""

from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError

# Arrays that are described, not loaded, and the plain ways to read and copy them.

BLOCK_BYTES = 32 * 2**20

Progress = Callable[[int, int], object]
"""Called with the number of bytes done since the last call, and that of the whole work."""


Put = Callable[[NDArray[Any], Any], None]
"""Put values, the second argument, into an array of the same shape, the first, as ``copyto``."""


class LazyArray(Protocol):
    """What a numpy array and an ``h5py.Dataset`` have in common; slicing it reads.

    An array may know more: whether it ``is_mapped``, its ``chunks``, a faster way to
    ``take_columns`` or to give a ``piece``, how to ``release`` what was read, what is the same
    ``detached`` from its open file. The functions of these names say what that means, and do
    without it.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read the slices ``key``."""


def is_mapped(array: LazyArray) -> bool:
    """Whether reading any part of an array costs as much as that part: it lies in memory."""
    return isinstance(array, np.ndarray) or bool(getattr(array, "is_mapped", False))


def chunks_of(array: LazyArray) -> tuple[int, int]:
    """Give rows and columns of what is read together, (1, 1) if nothing is."""
    chunks = getattr(array, "chunks", None)
    return (1, 1) if chunks is None else tuple(chunks)


def read_all(array: LazyArray) -> NDArray[Any]:
    """Read an array of any type and number of dimensions, also none, as it is.

    Example
    -------
    >>> read_all(np.array(1, ">i4")).dtype.str
    '>i4'

    """
    # A single value is one of Python's or numpy's, which has no byte order.
    return np.asarray(array[()], array.dtype)


def read_block(source: LazyArray, rows: slice, columns: slice) -> NDArray[Any]:
    """Read rows and columns, to be used at once: they may still lie in the file.

    Raises
    ------
    SourceError
        If the source cannot be read.

    """
    try:
        piece = getattr(source, "piece", None)
        return np.asarray(source[rows, columns]) if piece is None else piece(rows, columns)
    except (OSError, RuntimeError) as error:
        where = f"rows {rows.start} to {rows.stop}"
        msg = f"cannot read {where} of {place_in_file(source)}: {error}"
        raise SourceError(msg) from error


def release(array: LazyArray) -> None:
    """Let go of the memory of what was read, where an array keeps any."""
    inner: Any = array
    while not hasattr(inner, "release") and hasattr(inner, "array"):
        inner = inner.array
    if hasattr(inner, "release"):
        inner.release()


def detached(array: LazyArray) -> LazyArray:
    """Give the same array so that it outlives its open file, where that can be opened again."""
    without_file = getattr(array, "detached", None)
    found: LazyArray = array if without_file is None else without_file()
    return found


def read_columns(
    array: LazyArray,
    rows: slice,
    columns: NDArray[np.intp] | None,
    put: Put | None = None,
) -> NDArray[Any]:
    """Read columns in any order, repeated or not, and no other; all if ``columns`` is None.

    ``put`` puts what was read into the result, part by part, and may change it. The result is new,
    of shape (row, column), in native byte order.
    """
    take_columns = getattr(array, "take_columns", None)
    if take_columns is not None:
        values: NDArray[Any] = take_columns(rows, columns, put)
        return values
    if columns is None:
        native = array.dtype.newbyteorder("=")
        values = np.array(array[rows, :], native)
    elif isinstance(array, np.ndarray):
        values = array[rows][:, columns].astype(array.dtype.newbyteorder("="), copy=False)
    else:
        values = read_runs(array, rows, columns)
    if put is not None:
        put(values, values)
    return values


def read_runs(array: LazyArray, rows: slice, columns: NDArray[np.intp]) -> NDArray[Any]:
    """Read columns the plain way: adjacent ones together."""
    chosen, places = np.unique(columns, return_inverse=True)
    n_rows = len(range(*rows.indices(array.shape[0])))
    values = np.empty((n_rows, len(chosen)), array.dtype.newbyteorder("="))
    for run in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(chosen) != 1) + 1):
        if len(run) and n_rows:
            wanted = slice(int(chosen[run[0]]), int(chosen[run[-1]]) + 1)
            values[:, run[0] : run[-1] + 1] = array[rows, wanted]
    return values if np.array_equal(places, np.arange(len(chosen))) else values[:, places]


def plan_blocks(
    shape: tuple[int, ...],
    itemsize: int,
    chunks: tuple[int, ...] = (1, 1),
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[tuple[slice, slice]]:
    """Cut a matrix into blocks of whole ``chunks`` of at most ``block_bytes`` (at least one chunk).

    A block is as wide as it can be: sources store a row after the other.

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

    ``chunks`` are those of the target: each is written once and whole.

    Raises
    ------
    SourceError
        If the source cannot be read.

    """
    read = _block_reader(source)
    for block in plan_blocks(source.shape, source.dtype.itemsize, chunks or (1, 1)):
        try:
            values = read(block)
        except (OSError, RuntimeError) as error:
            rows = f"rows {block[0].start} to {block[0].stop}"
            msg = f"cannot read {rows} of {place_in_file(source)}: {error}"
            raise SourceError(msg) from error
        target[block] = values
        if progress is not None:
            progress(values.nbytes)


def _block_reader(source: LazyArray) -> Callable[[tuple[slice, slice]], NDArray[Any]]:
    """Give how to read blocks: an HDF5 dataset fills the same memory again and again."""
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


def place_in_file(array: Any) -> str:
    """Say where an array is, for messages: below all views, an HDF5 dataset knows its file."""
    while hasattr(array, "array"):
        array = array.array
    try:
        name, file = array.name, array.file.filename
    except AttributeError:
        return "the source"
    except (ValueError, RuntimeError):
        return "a dataset whose file is closed"
    return f"{name.strip('/') if name else 'a dataset without a name'} of {Path(file).name}"


def size_in_bytes(array: LazyArray) -> int:
    """Size of the values of an array.

    Example
    -------
    >>> size_in_bytes(np.zeros((3, 2)))
    48

    """
    return prod(array.shape) * array.dtype.itemsize
