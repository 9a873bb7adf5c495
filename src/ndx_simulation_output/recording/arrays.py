"""Arrays that are described, not loaded: numpy arrays, HDF5 datasets and views of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError

__all__ = [
    "BLOCK_BYTES",
    "ColumnRange",
    "Columns",
    "LazyArray",
    "Matrix",
    "Progress",
    "Scaled",
    "Transposed",
    "copy_array",
    "plan_blocks",
    "size_in_bytes",
]

BLOCK_BYTES = 32 * 2**20
_GAP_BYTES = 2**16
"""Reading this much too much of a row costs less than another read: HDF5 reads it anyway."""

Progress = Callable[[int, int], object]
"""Called with the number of bytes done since the last call, and that of the whole work."""


class LazyArray(Protocol):
    """What a numpy array and an ``h5py.Dataset`` have in common; slicing it reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read the slices ``key``."""


@dataclass(frozen=True)
class Transposed:
    """A two-dimensional array with its dimensions exchanged."""

    array: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.array.shape[::-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return np.asarray(self.array[key[::-1]]).T


@dataclass(frozen=True)
class Matrix:
    """A one-dimensional array (time,) as a matrix (time, 1)."""

    array: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (*self.array.shape, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return np.asarray(self.array[key[0]])[:, np.newaxis][:, key[1]]


@dataclass(frozen=True)
class ColumnRange:
    """The columns ``[start, stop)`` of a matrix."""

    array: LazyArray
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], self.stop - self.start)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        start, stop, step = key[1].indices(self.stop - self.start)
        return np.asarray(self.array[key[0], self.start + start : self.start + stop : step])


@dataclass(frozen=True)
class Columns:
    """The columns of a matrix in the order ``order``, an index array of shape (column,)."""

    array: LazyArray
    order: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], len(self.order))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns, at most ``BLOCK_BYTES`` of the source at a time."""
        rows = range(*key[0].indices(self.shape[0]))
        wanted = self.order[key[1]]
        values = np.empty((len(rows), len(wanted)), self.dtype)
        # Ascending, so that what is near in the source is read together and once.
        positions = np.argsort(wanted, kind="stable")
        columns = wanted[positions]
        height = max(1, BLOCK_BYTES // self.dtype.itemsize)
        for top in range(0, len(rows), height):
            some = rows[top : top + height]
            for span in _spans(columns, len(some), self.dtype.itemsize):
                first, last = int(columns[span][0]), int(columns[span][-1])
                part = slice(some.start, some.stop, some.step), slice(first, last + 1)
                chosen = np.s_[:, columns[span] - first]
                # What is read has no name, so that it is gone before more is read.
                values[top : top + height, positions[span]] = np.asarray(self.array[part])[chosen]
        return values


def _spans(columns: NDArray[np.intp], rows: int, itemsize: int) -> Iterator[slice]:
    """Cut ascending ``columns`` where many are left out, and where a read would be too large."""
    width = max(1, BLOCK_BYTES // (itemsize * rows))
    ends = np.flatnonzero(np.diff(columns) * itemsize > _GAP_BYTES) + 1
    ends = np.append(ends, len(columns))
    start = 0
    while start < len(columns):
        full = int(np.searchsorted(columns, columns[start] + width))
        stop = min(full, int(ends[np.searchsorted(ends, start, side="right")]))
        yield slice(start, stop)
        start = stop


@dataclass(frozen=True)
class Scaled:
    """The values of an array times ``factor`` plus ``offset``, as float64."""

    array: LazyArray
    factor: float
    offset: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """Read the slices ``key``."""
        return np.asarray(self.array[key], dtype=np.float64) * self.factor + self.offset


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
            msg = f"cannot read {rows} of {_place(source)}: {error}"
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


def _place(array: Any) -> str:
    """Say where an array is, for messages: below all views, an HDF5 dataset knows its file."""
    while hasattr(array, "array"):
        array = array.array
    if not (hasattr(array, "file") and hasattr(array, "name")):
        return "the source"
    return f"{array.name.strip('/')} of {Path(array.file.filename).name}"


def size_in_bytes(array: LazyArray) -> int:
    """Size of the values of an array.

    Example
    -------
    >>> size_in_bytes(np.zeros((3, 2)))
    48

    """
    return prod(array.shape) * array.dtype.itemsize
