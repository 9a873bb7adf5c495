"""Lazy views of arrays: transposed, selected, reordered, scaled, joined."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import (
    BLOCK_BYTES,
    ColumnIndices,
    LazyArray,
    LazyArrayBase,
    Put,
    as_indices,
    chunks_of,
    detached,
    is_mapped,
    read_block,
    read_columns,
    release,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_DENSE = 4
"""Rows among this many times their number are read with those between them."""
_GAP_BYTES = 2**16
"""A gap of this size in a row takes less time to read than a second read: HDF5 reads it anyway."""


@dataclass(frozen=True)
class _View(LazyArrayBase):
    """A view of one array, by default of the same shape, type and chunks."""

    array: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    @property
    def is_mapped(self) -> bool:
        """True if reading any part takes a time proportional to its size."""
        return is_mapped(self.array)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of a chunk."""
        return chunks_of(self.array)

    def detached(self) -> "Self":
        """Return the same view of an array that is independent of its open file."""
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
        """Rows and columns of a chunk."""
        rows, columns = chunks_of(self.array)
        return columns, rows

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self.array[slices[::-1]]).T


@dataclass(frozen=True)
class Matrix(_View):
    """A one-dimensional array (time,) as a matrix (time, 1)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (*self.array.shape, 1)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of a chunk."""
        return (chunks_of(self.array)[0], 1)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rows, columns = slices
        return np.asarray(self.array[rows])[:, np.newaxis][:, columns]


@dataclass(frozen=True)
class FirstIndex(LazyArrayBase):
    """An array indexed at 0 along all dimensions except ``kept``, which are ascending."""

    array: LazyArray
    kept: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension in ``kept``."""
        return tuple(self.array.shape[dim] for dim in self.kept)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        key: list[slice | int] = [0] * len(self.array.shape)
        for dim, part in zip(self.kept, slices, strict=True):
            key[dim] = part
        return np.asarray(self.array[tuple(key)])


@dataclass(frozen=True)
class Part(_View):
    """The elements ``[start, stop)`` of an array along one dimension, or as many as it has."""

    start: int
    stop: int
    dimension: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        lengths = list(self.array.shape)
        lengths[self.dimension] = max(min(self.stop, lengths[self.dimension]) - self.start, 0)
        return tuple(lengths)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, step = slices[self.dimension].indices(self.shape[self.dimension])
        shifted = slice(self.start + start, self.start + stop, step)
        before, after = slices[: self.dimension], slices[self.dimension + 1 :]
        return np.asarray(self.array[(*before, shifted, *after)])


@dataclass(frozen=True)
class Rows(_View):
    """The rows ``order`` (row,) of an array, which may be lazy, and ``fill`` where it is below 0.

    Example
    -------
    >>> Rows(np.array([10, 20]), np.array([1, 0, -1]), np.nan)[:].tolist()
    [20.0, 10.0, nan]

    """

    order: LazyArray
    fill: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and length of each other dimension."""
        return (*self.order.shape, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, which can represent ``fill``."""
        return filled_type(self.array.dtype, self.fill)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        order = np.asarray(self.order[slices[0]])
        known = order >= 0
        found = read_rows(self.array, order if known.all() else order[known], slices[1:])
        if len(found) == len(order):
            return np.asarray(found, self.dtype)
        values: NDArray[Any] = np.full((len(order), *found.shape[1:]), self.fill, self.dtype)
        values[known] = found
        return values


def read_rows(
    array: LazyArray, rows: NDArray[np.integer[Any]], others: tuple[slice, ...] = ()
) -> NDArray[Any]:
    """Read rows in any order, with repeats; ``others`` are slices of the other dimensions.

    Rows that are far apart are read one by one, so that little is read of a large array.
    """
    if isinstance(array, np.ndarray) or not len(rows):
        return np.asarray(array[(rows if len(rows) else slice(0, 0), *others)])
    first, last = int(rows.min()), int(rows.max())
    if last - first < _DENSE * len(rows):
        values: NDArray[Any] = np.asarray(array[(slice(first, last + 1), *others)])[rows - first]
        return values
    distinct, positions = np.unique(rows, return_inverse=True)
    width = array.dtype.itemsize * prod(array.shape[1:])
    parts = [
        np.asarray(array[(slice(int(run[0]), int(run[-1]) + 1), *others)])[run - run[0]]
        for run in (distinct[span] for span in _spans(distinct, 1, width))
    ]
    return np.concatenate(parts)[positions]


def filled_type(dtype: np.dtype[Any], fill: Any) -> np.dtype[Any]:
    """Return the type of an array of this type with ``fill`` for missing values."""
    if fill is None or dtype.kind in "OSU":
        return np.dtype(object) if dtype.kind in "OSU" else dtype
    if isinstance(fill, float):
        return dtype if dtype.kind in "fc" else np.dtype(np.float64)
    return np.dtype(np.int64) if dtype.kind in "bu" else dtype


@dataclass(frozen=True)
class ColumnRange(_View):
    """The columns ``[start, stop)`` of a matrix."""

    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], self.stop - self.start)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rows, columns = slices
        start, stop, step = columns.indices(self.stop - self.start)
        return np.asarray(self.array[rows, self.start + start : self.start + stop : step])

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return rows and columns for immediate use."""
        shifted = slice(self.start + columns.start, self.start + columns.stop)
        return read_block(self.array, rows, shifted)

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, with repeats; all if ``columns`` is None."""
        selected = np.arange(self.shape[1]) if columns is None else as_indices(columns)
        return read_columns(self.array, rows, self.start + selected, put)


@dataclass(frozen=True)
class Columns(_View):
    """A matrix with columns selected by the index array ``order``, of shape (column,)."""

    order: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (self.array.shape[0], len(self.order))

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows of a chunk, and all columns, because adjacent columns may be in any chunk."""
        return chunks_of(self.array)[0], max(1, len(self.order))

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        """Read rows and columns, at most ``BLOCK_BYTES`` of the source at a time."""
        rows, selected = range(*slices[0].indices(self.shape[0])), self.order[slices[1]]
        if is_mapped(self.array):
            return read_columns(self.array, slices[0], selected)
        values = np.empty((len(rows), len(selected)), self.dtype)
        # Ascending, so that adjacent columns of the source are read together and once.
        positions = np.argsort(selected, kind="stable")
        columns = selected[positions]
        height = max(1, BLOCK_BYTES // self.dtype.itemsize)
        for top in range(0, len(rows), height):
            some = rows[top : top + height]
            for span in _spans(columns, len(some), self.dtype.itemsize):
                first, last = int(columns[span][0]), int(columns[span][-1])
                part = slice(some.start, some.stop, some.step), slice(first, last + 1)
                local = np.s_[:, columns[span] - first]
                # Not assigned to a variable, so that the memory is freed before the next read.
                values[top : top + height, positions[span]] = np.asarray(self.array[part])[local]
        return values

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, with repeats; all if ``columns`` is None."""
        selected = self.order if columns is None else self.order[as_indices(columns)]
        return read_columns(self.array, rows, selected, put)

    def groups(self, columns: slice, width: int) -> Iterator[NDArray[np.intp]]:
        """Divide ``columns`` into groups, each of ``width`` adjacent columns of the array.

        Groups start at multiples of ``width``. Each is an array of column indices of this view.
        """
        owners = self.order[columns] // width
        positions = np.argsort(owners, kind="stable")
        edges = np.flatnonzero(np.diff(owners[positions])) + 1
        for group in np.split(positions, edges):
            yield columns.start + group


def _spans(columns: NDArray[np.intp], rows: int, itemsize: int) -> Iterator[slice]:
    """Divide ascending ``columns`` at wide gaps, and where a read would be too large."""
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
class _Converted(_View):
    """The values of an array, each converted in the same way."""

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._converted(self.array[slices])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        return self._converted(read_columns(self.array, rows, columns))

    def _converted(self, values: Any) -> NDArray[Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Scaled(_Converted):
    """The values of an array times ``factor`` plus ``offset``, as float64."""

    factor: float
    offset: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _converted(self, values: Any) -> NDArray[np.float64]:
        return np.asarray(values, np.float64) * self.factor + self.offset


@dataclass(frozen=True)
class Float32(_Converted):
    """The values of an array as float32; ``overflows`` gets how many of a block became infinite."""

    overflows: list[int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float32)

    def _converted(self, values: Any) -> NDArray[np.float32]:
        try:
            with np.errstate(over="raise"):  # The processor counts, so that most blocks are free.
                return np.asarray(values).astype(np.float32)
        except FloatingPointError:
            with np.errstate(over="ignore"):
                found = np.asarray(values).astype(np.float32)
        self.overflows.append(int(np.isinf(found).sum() - np.isinf(values).sum()))
        return found


@dataclass(frozen=True)
class Quantized(_Converted):
    """The multiples of ``step`` nearest to the values of an array minus ``offset``, as int16."""

    step: float
    offset: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.int16)

    def _converted(self, values: Any) -> NDArray[np.int16]:
        multiples = (np.asarray(values, np.float64) - self.offset) / self.step
        return np.rint(multiples).astype(np.int16)


def reordered(array: LazyArray) -> Columns | None:
    """Return the ``Columns`` view inside any value conversions, or None if there is none."""
    while isinstance(array, _Converted):
        array = array.array
    return array if isinstance(array, Columns) else None


@dataclass(frozen=True)
class Stacked(LazyArrayBase):
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
        """True if reading any part takes a time proportional to its size."""
        return all(map(is_mapped, self.arrays))

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rows, columns = slices
        selected = self.arrays[columns]
        height = len(range(*rows.indices(self.shape[0])))
        values = np.empty((height, len(selected)), self.dtype)
        for column, array in enumerate(selected):
            values[:, column] = array[rows]
        return values


@dataclass(frozen=True)
class Joined(LazyArrayBase):
    """The columns of several matrices (time, column) of one type, one matrix after another.

    Example
    -------
    >>> Joined((np.zeros((1, 2)), np.ones((1, 3))))[0:1, 1:4]
    array([[0., 1., 1.]])

    """

    arrays: tuple[LazyArray, ...]

    def __post_init__(self) -> None:
        """Check that there are matrices, and that they have equal numbers of rows and types."""
        kinds = {f"{n_rows} rows of {dtype}" for n_rows, dtype in map(_kind, self.arrays)}
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
        """True if reading any part takes a time proportional to its size."""
        return all(map(is_mapped, self.arrays))

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of the largest chunk."""
        heights, widths = zip(*map(chunks_of, self.arrays), strict=True)
        return max(heights), max(widths)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rows, columns = slices
        return self._joined(rows, columns, lambda array, *local: np.asarray(array[local]))

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return rows and columns for immediate use."""
        return self._joined(rows, columns, read_block)

    def take_columns(
        self, rows: slice, columns: ColumnIndices | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read columns in any order, with repeats; all if ``columns`` is None."""
        selected = np.arange(self.shape[1]) if columns is None else as_indices(columns)
        owners = np.searchsorted(self._edges[1:], selected, side="right")
        local = selected - self._edges[owners]
        if len(selected) and (owners == owners[0]).all():
            return read_columns(self.arrays[owners[0]], rows, local, put)
        values = self._empty(rows, len(selected))
        for owner in np.unique(owners):
            own = np.flatnonzero(owners == owner)
            values[:, own] = read_columns(self.arrays[owner], rows, local[own])
        if put is not None:
            put(values, values)
        return values

    def detached(self) -> "Joined":
        """Return the same columns of matrices that are independent of their open files."""
        return Joined(tuple(map(detached, self.arrays)))

    def release(self) -> None:
        """Free cached values."""
        for array in self.arrays:
            release(array)

    @cached_property
    def _edges(self) -> NDArray[np.intp]:
        """First column of each matrix, and the number of all columns."""
        return np.cumsum([0, *(array.shape[1] for array in self.arrays)])

    def _joined(
        self,
        rows: slice,
        columns: slice,
        read: Callable[[LazyArray, slice, slice], NDArray[Any]],
    ) -> NDArray[Any]:
        """Read columns, without a copy if all are in one matrix."""
        selected = range(*columns.indices(self.shape[1]))
        parts = list(self._parts(selected))
        if len(parts) == 1:
            array, local, _ = parts[0]
            return read(array, rows, local)
        values = self._empty(rows, len(selected))
        for array, local, target in parts:
            values[:, target] = read(array, rows, local)
        return values

    def _parts(self, columns: range) -> Iterator[tuple[LazyArray, slice, slice]]:
        """Yield each matrix that contains selected columns, with its slice and the result slice."""
        # For each edge, the index of the first selected column at or after the edge.
        firsts = [
            min(max(0, -((columns.start - edge) // columns.step)), len(columns))
            for edge in self._edges.tolist()
        ]
        for array, edge, first, stop in zip(
            self.arrays, self._edges.tolist(), firsts, firsts[1:], strict=False
        ):
            if first < stop:
                some = columns[first:stop]
                local = slice(some.start - edge, some[-1] + 1 - edge, some.step)
                yield array, local, slice(first, stop)

    def _empty(self, rows: slice, n_columns: int) -> NDArray[Any]:
        return np.empty((len(range(*rows.indices(self.shape[0]))), n_columns), self.dtype)


def join_rows(arrays: Sequence[LazyArray]) -> LazyArray:
    """Return the rows of matrices of one type, one matrix after another.

    Example
    -------
    >>> join_rows([np.zeros((2, 1)), np.ones((3, 1))])[1:4, 0:1].tolist()
    [[0.0], [1.0], [1.0]]

    """
    return Transposed(Joined(tuple(map(Transposed, arrays))))


def _kind(array: LazyArray) -> tuple[int, np.dtype[Any]]:
    return array.shape[0], array.dtype.newbyteorder("=")
