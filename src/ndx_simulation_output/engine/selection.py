"""Which part of a matrix is wanted: runs of rows and columns, and where they fall into chunks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkColumns", "Run", "Selection", "cut"]


@dataclass(frozen=True)
class Run:
    """Columns (or rows) ``[start, stop)`` of a matrix that go to ``place`` and on in the output."""

    start: int
    stop: int
    place: int

    def __len__(self) -> int:
        """Give how many there are."""
        return self.stop - self.start

    @property
    def target(self) -> slice:
        """Where they go."""
        return slice(self.place, self.place + self.stop - self.start)


@dataclass(frozen=True)
class ChunkColumns:
    """The wanted columns of chunk ``number`` of a row of chunks, and where they go."""

    number: int
    local: slice | NDArray[np.intp]
    target: slice


@dataclass(frozen=True)
class Selection:
    """Rows, an ascending range, and columns, ascending and without repeats, of a matrix."""

    rows: range
    columns: NDArray[np.intp] | range

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.rows), len(self.columns)

    def runs(self) -> list[Run]:
        """Give the columns as runs of adjacent ones."""
        columns = self.columns
        if not len(columns):
            return []
        if isinstance(columns, range):
            return [Run(columns.start, columns.stop, 0)]
        starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 2) != 1)
        stops = np.append(starts[1:], len(columns))
        return [
            Run(first, last + 1, place)
            for first, last, place in zip(
                columns[starts].tolist(), columns[stops - 1].tolist(), starts.tolist(), strict=True
            )
        ]

    def by_chunk(self, width: int) -> Iterator[ChunkColumns]:
        """Give the columns chunk by chunk: each chunk has ``width`` of them."""
        columns = self.columns
        if isinstance(columns, range):
            columns = np.arange(columns.start, columns.stop)
        if not len(columns):
            return
        numbers = columns // width
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(columns)], strict=True):
            number = int(numbers[start])
            local = columns[start:stop] - number * width
            first, last = int(local[0]), int(local[-1])
            whole = last + 1 - first == len(local)
            target = slice(start, stop)
            yield ChunkColumns(number, slice(first, last + 1) if whole else local, target)


def cut(run: Run, length: int) -> Iterator[tuple[int, Run]]:
    """Cut a run at multiples of ``length``: give the number of each piece, and the run in it.

    Example
    -------
    >>> for number, piece in cut(Run(3, 9, place=0), length=4):
    ...     print(number, piece)
    0 Run(start=3, stop=4, place=0)
    1 Run(start=0, stop=4, place=1)
    2 Run(start=0, stop=1, place=5)

    """
    for number in range(run.start // length, -(-run.stop // length)):
        first = number * length
        start, stop = max(run.start, first), min(run.stop, first + length)
        yield number, Run(start - first, stop - first, run.place + start - run.start)
