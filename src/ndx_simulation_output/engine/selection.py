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
    target: slice | NDArray[np.intp]


@dataclass(frozen=True)
class Selection:
    """Rows, an ascending range, and columns, in any order and repeated or not, of a matrix."""

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
        if not len(self.columns):
            return
        if isinstance(self.columns, range):
            for number, run in cut(Run(self.columns.start, self.columns.stop, 0), width):
                yield ChunkColumns(number, slice(run.start, run.stop), run.target)
            return
        numbers, local = np.divmod(self.columns, width)
        places = np.arange(len(numbers))
        if (np.diff(numbers) < 0).any():
            places = np.argsort(numbers, kind="stable")
            numbers, local = numbers[places], local[places]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            part = slice(start, stop)
            yield ChunkColumns(int(numbers[start]), _tight(local[part]), _tight(places[part]))


def _tight(indices: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """Give indices as a slice where they follow each other."""
    if (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


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
