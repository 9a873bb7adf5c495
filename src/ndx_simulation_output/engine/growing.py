"""Write a matrix whose rows come one after the other: a row of chunks at a time, whole.

Under MPI each rank has some columns. Where they do not end with a chunk, the rest of that chunk is
handed to the rank before, so that every chunk is whole on one rank.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.layout import Layout
from ndx_simulation_output.engine.parallel import deliver
from ndx_simulation_output.engine.places import Place, place_of
from ndx_simulation_output.engine.sources import Region
from ndx_simulation_output.engine.team import Team
from ndx_simulation_output.engine.writing import made_pieces, target_of
from ndx_simulation_output.errors import LayoutError, ShapeMismatchError

__all__ = ["Growing", "Owned"]

_REST = 3
_AHEAD = 8
"""The file is made larger by this part of what is there: to ask where chunks are takes longer the
more there are."""


class Owned:
    """The columns of a matrix that are a rank's: ``starts`` has the first of each, and the end.

    A chunk is whole on the rank that has its first column. From the rank's first column on, the
    columns it needs for its chunks are ``width``: ``count`` of its own, then those of others. Of
    its own, the first ``rest`` belong to chunks of a rank before, ``owner``.

    Example
    -------
    >>> owned = Owned(starts=[0, 5, 12], chunk_width=4, rank=1)
    >>> owned.count, owned.rest, owned.owner, owned.columns
    (7, 3, 0, range(8, 12))

    """

    def __init__(self, starts: list[int], chunk_width: int, rank: int) -> None:
        first, stop = starts[rank], starts[rank + 1]
        self.first, self.count = first, stop - first
        begin = min(_up(first, chunk_width), stop)
        end = min(_up(stop, chunk_width), starts[-1]) if begin < stop else stop
        self.columns = range(begin, end)
        self.rest, self.width = begin - first, end - first
        self.owner = bisect_right(starts, first // chunk_width * chunk_width) - 1
        self.others = [
            (other, range(max(stop, starts[other]), min(end, starts[other + 1])))
            for other in range(rank + 1, len(starts) - 1)
            if max(stop, starts[other]) < min(end, starts[other + 1])
        ]

    def exchange(self, values: NDArray[Any], team: Team) -> NDArray[Any]:
        """Give the values of all columns of the rank's chunks.

        ``values``, shape (time, ``width``), have those of its own; the others are filled in.
        """
        sent = None
        if self.rest:
            rest = np.ascontiguousarray(values[:, : self.rest])
            sent = team.comm.isend(rest, dest=self.owner, tag=_REST)
        for other, columns in self.others:
            received = team.comm.recv(source=other, tag=_REST)
            values[:, columns.start - self.first : columns.stop - self.first] = received
        if sent is not None:
            sent.wait()
        return values[:, self.rest :]


class Growing:
    """A matrix of which every rank appends its columns, the same number of rows on each.

    ``dataset`` and ``path``, where the file lies, are of rank 0; the others have None and the path.
    There, ``cede`` is told the places of chunks before they are written past HDF5, and how many
    bytes each has.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        dtype: np.dtype[Any],
        team: Team,
        *,
        owned: Owned,
        dataset: h5py.Dataset | None,
        path: Path,
        workers: int,
        cede: Callable[[NDArray[np.int64], int], object] | None = None,
    ) -> None:
        self.name, self.dtype, self._layout, self._team = name, dtype, layout, team
        self._owned, self._path, self._workers, self._cede = owned, path, workers, cede
        self._height = layout.chunks[0] if layout.chunks else 1
        self._dataset = dataset
        self._room = None if dataset is None else _Room(dataset, self._height)
        self._buffer = np.empty((self._height, owned.width), dtype)
        self._top = self._filled = 0
        self._written = True

    @property
    def columns(self) -> int:
        """Number of columns of this rank."""
        return self._owned.count

    @property
    def rows(self) -> int:
        """Number of rows that this rank has appended."""
        return self._top + self._filled

    def append(self, values: NDArray[Any]) -> None:
        """Append rows, shape (time, column).

        Raises
        ------
        OSError
            If the file cannot be written.
        ShapeMismatchError
            If other ranks have appended other numbers of rows.
        RankError
            If another rank fails.

        """
        while len(values):
            some = values[: self._height - self._filled]
            self._buffer[self._filled : self._filled + len(some), : self.columns] = some
            self._filled += len(some)
            self._written = False
            if self._filled == self._height:
                self._check_steps()
                self._write(whole=True)
                self._top, self._filled = self._top + self._height, 0
            values = values[len(some) :]

    def flush(self) -> None:
        """Write what was appended, and cut the dataset to that.

        Raises
        ------
        OSError
            If the file cannot be written.
        ShapeMismatchError
            If other ranks have appended other numbers of rows.
        RankError
            If another rank fails.

        """
        self._check_steps()
        if not self._written:
            self._write(whole=False)
        elif self._room is not None:
            self._room.cut(self.rows)

    def _check_steps(self) -> None:
        """Refuse ranks that are elsewhere."""
        steps = self._team.agree((self.name, self.rows))
        for rank, step in enumerate(steps):
            if step != steps[0]:
                msg = f"rank {rank} is at time step {step}; expected that of rank 0, {steps[0]}"
                raise ShapeMismatchError(msg)

    def _write(self, *, whole: bool) -> None:
        """Write the chunks that the buffer has begun."""
        stop = self.rows
        place = None if self._room is None else self._room.give(self._top, stop, whole=whole)
        if place is not None and place.addresses is not None and self._cede is not None:
            chunk_bytes = int(np.prod(place.chunks or (1, 1))) * place.dtype.itemsize
            self._cede(place.addresses[self._top // self._height - place.top], chunk_bytes)
        place = self._team.tell(place)
        values = self._owned.exchange(self._buffer[: self._filled], self._team)
        columns = slice(self._owned.columns.start, self._owned.columns.stop)
        region = Region(values, slice(self._top, stop), columns, values)
        target = target_of(place, self._path, self._dataset)
        pieces = made_pieces(target, [region], self._layout, self._workers)
        deliver(self._team, target, pieces)
        self._written = True


class _Room:
    """The dataset of a matrix that grows, as large as it must be for what is written next."""

    def __init__(self, dataset: h5py.Dataset, height: int) -> None:
        self._dataset, self._height = dataset, height
        self._place = _found(dataset)

    def give(self, top: int, stop: int, *, whole: bool) -> Place:
        """Give the place of the rows from ``top``, where a chunk begins, to ``stop``.

        A ``whole`` row of chunks may be followed by more; else the dataset ends there.
        """
        number = top // self._height
        if not whole:
            self.cut(stop)
        elif stop > len(self._dataset):
            ahead = 0 if self._place.addresses is None else number // _AHEAD
            self._dataset.resize((number + 1 + ahead) * self._height, 0)
        addresses = self._place.addresses
        if addresses is not None and number >= self._place.top + len(addresses):
            found = _found(self._dataset)
            addresses = None if found.addresses is None else found.addresses[number:]
            self._place = replace(found, addresses=addresses, top=number)
        return self._place

    def cut(self, rows: int) -> None:
        """Give the dataset so many rows. Chunks that are left out lose their place."""
        self._dataset.resize(rows, 0)
        if self._place.addresses is not None:
            kept = max(0, _up(rows, self._height) // self._height - self._place.top)
            self._place = replace(self._place, addresses=self._place.addresses[:kept])


def _found(dataset: h5py.Dataset) -> Place:
    place = place_of(dataset)
    if place is None:
        msg = f"data of type {dataset.dtype} cannot be streamed; expected integers or floats"
        raise LayoutError(msg)
    return place


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
