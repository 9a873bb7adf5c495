"""Matrices beside each other, seen as one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import (
    LazyArray,
    Put,
    chunks_of,
    detached,
    is_mapped,
    read_block,
    read_columns,
    release,
)

__all__ = ["Joined"]


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
