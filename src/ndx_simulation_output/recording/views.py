"""Lazy views of arrays: transposed, selected, reordered, scaled, joined."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import (
    BLOCK_BYTES,
    LazyArray,
    Put,
    chunks_of,
    detached,
    is_mapped,
    read_block,
    read_columns,
    release,
)

if TYPE_CHECKING:
    from typing_extensions import Self

# Arrays seen in another way: transposed, some columns, another order, another unit.

_GAP_BYTES = 2**16
"""Reading this much too much of a row costs less than another read: HDF5 reads it anyway."""


@dataclass(frozen=True)
class _View:
    """What all views have from the array below."""

    array: LazyArray

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    @property
    def is_mapped(self) -> bool:
        """Whether reading any part costs as much as that part."""
        return is_mapped(self.array)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are read together."""
        return chunks_of(self.array)

    def detached(self) -> "Self":
        """Give the same view of an array that outlives its open file."""
        return replace(self, array=detached(self.array))


@dataclass(frozen=True)
class Transposed(_View):
    """A two-dimensional array with its dimensions exchanged."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.array.shape[::-1]

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are read together."""
        rows, columns = chunks_of(self.array)
        return columns, rows

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return np.asarray(self.array[key[::-1]]).T


@dataclass(frozen=True)
class Matrix(_View):
    """A one-dimensional array (time,) as a matrix (time, 1)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (*self.array.shape, 1)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are read together."""
        return (chunks_of(self.array)[0], 1)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return np.asarray(self.array[key[0]])[:, np.newaxis][:, key[1]]


@dataclass(frozen=True)
class FirstIndex:
    """An array of which only the dimensions ``kept`` are seen, ascending; the others at index 0."""

    array: LazyArray
    kept: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension that is seen."""
        return tuple(self.array.shape[dim] for dim in self.kept)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a slice of each of the first dimensions that are seen, or all with ``()``."""
        wanted = dict(zip(self.kept, key if isinstance(key, tuple) else (key,), strict=False))
        rest = (
            wanted.get(dim, slice(None)) if dim in self.kept else 0
            for dim in range(len(self.array.shape))
        )
        return np.asarray(self.array[tuple(rest)])


@dataclass(frozen=True)
class ColumnRange(_View):
    """The columns ``[start, stop)`` of a matrix."""

    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], self.stop - self.start)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        start, stop, step = key[1].indices(self.stop - self.start)
        return np.asarray(self.array[key[0], self.start + start : self.start + stop : step])

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Give rows and columns to be used at once."""
        shifted = slice(self.start + columns.start, self.start + columns.stop)
        return read_block(self.array, rows, shifted)

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        wanted = np.arange(self.shape[1]) if columns is None else columns
        return read_columns(self.array, rows, self.start + wanted, put)


@dataclass(frozen=True)
class Columns(_View):
    """The columns of a matrix in the order ``order``, an index array of shape (column,)."""

    order: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], len(self.order))

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are read together: columns in this order are all over the rows."""
        return chunks_of(self.array)[0], max(1, len(self.order))

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns, at most ``BLOCK_BYTES`` of the source at a time."""
        rows, wanted = range(*key[0].indices(self.shape[0])), self.order[key[1]]
        if is_mapped(self.array):
            return read_columns(self.array, key[0], wanted)
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

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        wanted = self.order if columns is None else self.order[columns]
        return read_columns(self.array, rows, wanted, put)

    def groups(self, columns: slice, width: int) -> Iterator[NDArray[np.intp]]:
        """Cut ``columns`` into groups, each from ``width`` columns of the array beside each other.

        Their edges are multiples of ``width``; a group is indices of columns in this order.
        """
        places = self.order[columns] // width
        positions = np.argsort(places, kind="stable")
        edges = np.flatnonzero(np.diff(places[positions])) + 1
        for group in np.split(positions, edges):
            yield columns.start + group


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
class _Changed(_View):
    """The values of an array, each changed in the same way."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.array.shape

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the slices ``key``."""
        return self._changed(self.array[key])

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        values = self._changed(read_columns(self.array, rows, columns))
        if put is not None:
            put(values, values)
        return values

    def _changed(self, values: Any) -> NDArray[Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Scaled(_Changed):
    """The values of an array times ``factor`` plus ``offset``, as float64."""

    factor: float
    offset: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _changed(self, values: Any) -> NDArray[np.float64]:
        return np.asarray(values, np.float64) * self.factor + self.offset


@dataclass(frozen=True)
class Quantized(_Changed):
    """The multiples of ``step`` nearest to the values of an array minus ``offset``, as int16."""

    step: float
    offset: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.int16)

    def _changed(self, values: Any) -> NDArray[np.int16]:
        multiples = (np.asarray(values, np.float64) - self.offset) / self.step
        return np.rint(multiples).astype(np.int16)


def reordered(array: LazyArray) -> Columns | None:
    """Give what has the columns of an array in another order, if anything has."""
    while isinstance(array, _Changed):
        array = array.array
    return array if isinstance(array, Columns) else None


@dataclass(frozen=True)
class Stacked:
    """One-dimensional arrays (time,) of one length and type, as the columns of a matrix."""

    arrays: tuple[LazyArray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return (self.arrays[0].shape[0], len(self.arrays))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.arrays[0].dtype

    @property
    def is_mapped(self) -> bool:
        """Whether reading any part costs as much as that part."""
        return all(map(is_mapped, self.arrays))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns."""
        rows: slice = key[0] if isinstance(key, tuple) else key
        columns: slice = key[1] if isinstance(key, tuple) else slice(None)
        wanted = self.arrays[columns]
        height = len(range(*rows.indices(self.shape[0])))
        values = np.empty((height, len(wanted)), self.dtype)
        for column, array in enumerate(wanted):
            values[:, column] = array[rows]
        return values


# Matrices beside each other, seen as one.


@dataclass(frozen=True)
class Joined:
    """The columns of matrices (time, column) of one type: those of the first, then of the next.

    Raises
    ------
    ShapeMismatchError
        If there are none, or they differ in the number of rows or in type.

    Example
    -------
    >>> Joined((np.zeros((1, 2)), np.ones((1, 3))))[0:1, 1:4]
    array([[0., 1., 1.]])

    """

    arrays: tuple[LazyArray, ...]

    def __post_init__(self) -> None:
        """Refuse matrices that do not fit each other."""
        kinds = {f"{len_} rows of {dtype}" for len_, dtype in map(_kind, self.arrays)}
        if len(kinds) != 1:
            found = ", ".join(sorted(kinds)) or "nothing"
            msg = f"matrices to be joined have {found}; expected the same rows and type of all"
            raise ShapeMismatchError(msg)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.arrays[0].shape[0], int(self._edges[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return _kind(self.arrays[0])[1]

    @property
    def is_mapped(self) -> bool:
        """Whether reading any part costs as much as that part."""
        return all(map(is_mapped, self.arrays))

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are read together, at most."""
        heights, widths = zip(*map(chunks_of, self.arrays), strict=True)
        return max(heights), max(widths)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns, ascending."""
        return self._read(*key, lambda array, rows, columns: np.asarray(array[rows, columns]))

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Give rows and columns to be used at once."""
        return self._read(rows, columns, read_block)

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        wanted = np.arange(self.shape[1]) if columns is None else columns
        owners = np.searchsorted(self._edges[1:], wanted, side="right")
        local = wanted - self._edges[owners]
        if len(wanted) and (owners == owners[0]).all():
            return read_columns(self.arrays[owners[0]], rows, local, put)
        values = self._room(rows, len(wanted))
        for owner in np.unique(owners):
            mine = np.flatnonzero(owners == owner)
            values[:, mine] = read_columns(self.arrays[owner], rows, local[mine])
        if put is not None:
            put(values, values)
        return values

    def detached(self) -> "Joined":
        """Give the same of matrices that outlive their open files."""
        return Joined(tuple(map(detached, self.arrays)))

    def release(self) -> None:
        """Let go of the memory of what was read."""
        for array in self.arrays:
            release(array)

    @cached_property
    def _edges(self) -> NDArray[np.intp]:
        """First column of each matrix, and the number of all."""
        return np.cumsum([0, *(array.shape[1] for array in self.arrays)])

    def _read(
        self,
        rows: slice,
        columns: slice,
        read: Callable[[LazyArray, slice, slice], NDArray[Any]],
    ) -> NDArray[Any]:
        """Read columns: those of one matrix as they are, of several into one array."""
        wanted = range(*columns.indices(self.shape[1]))
        parts = list(self._parts(wanted))
        if len(parts) == 1:
            array, some, _ = parts[0]
            return read(array, rows, some)
        values = self._room(rows, len(wanted))
        for array, some, target in parts:
            values[:, target] = read(array, rows, some)
        return values

    def _parts(self, columns: range) -> Iterator[tuple[LazyArray, slice, slice]]:
        """Give each matrix that has some of the columns, which they are there, and their places."""
        # The first of the columns that is not before an edge.
        places = [
            min(max(0, -((columns.start - edge) // columns.step)), len(columns))
            for edge in self._edges.tolist()
        ]
        for array, edge, first, stop in zip(
            self.arrays, self._edges.tolist(), places, places[1:], strict=False
        ):
            if first < stop:
                some = columns[first:stop]
                local = slice(some.start - edge, some[-1] + 1 - edge, some.step)
                yield array, local, slice(first, stop)

    def _room(self, rows: slice, n_columns: int) -> NDArray[Any]:
        return np.empty((len(range(*rows.indices(self.shape[0]))), n_columns), self.dtype)


def _kind(array: LazyArray) -> tuple[int, np.dtype[Any]]:
    return array.shape[0], array.dtype.newbyteorder("=")
