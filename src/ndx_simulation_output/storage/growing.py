"""Append rows, times and spikes while a simulation runs."""

import json
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndx_simulation_output.errors import LayoutError, NameClashError, ShapeMismatchError
from ndx_simulation_output.recording import CompartmentTable, Spikes, StreamedReport
from ndx_simulation_output.recording.merging import join_tables
from ndx_simulation_output.storage.journal import append_frame, companion_files, read_frames
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_growing
from ndx_simulation_output.storage.mpi import Team, deliver
from ndx_simulation_output.storage.partitions import Region
from ndx_simulation_output.storage.writing import (
    DatasetLocation,
    encoded_pieces,
    locate_dataset,
    piece_writer,
)

# Write a matrix whose rows come one after the other: a row of chunks at a time, whole.
#
# Under MPI each rank has some columns. Where they do not end with a chunk, the rest of that chunk
# is handed to the rank before, so that every chunk is whole on one rank.

_REST = 3
_AHEAD = 8
"""The file is made larger by this part of what is there: to ask where chunks are takes longer the
more there are."""


class RankColumns:
    """The columns of a matrix that are a rank's: ``starts`` has the first of each, and the end.

    A chunk is whole on the rank that has its first column. From the rank's first column on, the
    columns it needs for its chunks are ``width``: ``count`` of its own, then those of others. Of
    its own, the first ``rest`` belong to chunks of a rank before, ``owner``.

    Example
    -------
    >>> owned = RankColumns(starts=[0, 5, 12], chunk_width=4, rank=1)
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


class GrowingMatrix:
    """A matrix of which every rank appends its columns, the same number of rows on each.

    ``dataset`` and ``path``, where the file lies, are of rank 0; the others have None and the path.
    There, ``forget`` is told the places of chunks before they are written past HDF5, and how many
    bytes each has.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        dtype: np.dtype[Any],
        team: Team,
        *,
        owned: RankColumns,
        dataset: h5py.Dataset | None,
        path: Path,
        workers: int,
        forget: Callable[[NDArray[np.int64], int], object] | None = None,
    ) -> None:
        self.name, self.dtype, self._layout, self._team = name, dtype, layout, team
        self._owned, self._path, self._workers, self._forget = owned, path, workers, forget
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
        if place is not None and place.addresses is not None and self._forget is not None:
            chunk_bytes = int(np.prod(place.chunks or (1, 1))) * place.dtype.itemsize
            self._forget(place.addresses[self._top // self._height - place.top], chunk_bytes)
        place = self._team.tell(place)
        values = self._owned.exchange(self._buffer[: self._filled], self._team)
        columns = slice(self._owned.columns.start, self._owned.columns.stop)
        region = Region(values, slice(self._top, stop), columns, values)
        target = piece_writer(place, self._path, self._dataset)
        pieces = encoded_pieces(target, [region], self._layout, self._workers)
        deliver(self._team, target, pieces)
        self._written = True


class _Room:
    """The dataset of a matrix that grows, as large as it must be for what is written next."""

    def __init__(self, dataset: h5py.Dataset, height: int) -> None:
        self._dataset, self._height = dataset, height
        self._place = _found(dataset)

    def give(self, top: int, stop: int, *, whole: bool) -> DatasetLocation:
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


def _found(dataset: h5py.Dataset) -> DatasetLocation:
    place = locate_dataset(dataset)
    if place is None:
        msg = f"data of type {dataset.dtype} cannot be streamed; expected integers or floats"
        raise LayoutError(msg)
    return place


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


# The times of rows that come one after the other, where they are not regular.

_CHUNK = 2**13
_MOST_TIMES = 2**16
"""Times that are kept in memory before they are written, if nothing is flushed."""


def create_times(group: h5py.Group, name: str) -> h5py.Dataset:
    """Create the dataset of times (s), shape (time,), that grows."""
    return group.create_dataset(name, (0,), "<f8", maxshape=(None,), chunks=(_CHUNK,))


class GrowingTimes:
    """The times of the rows of the report ``name``; ``dataset`` is there on rank 0 alone."""

    def __init__(self, name: str, dataset: h5py.Dataset | None) -> None:
        self._name, self._dataset = name, dataset
        self.last: float | None = None
        self._waiting: list[NDArray[np.float64]] = []
        self._written = self._count = 0

    def checked(self, times: ArrayLike | None, rows: int) -> NDArray[np.float64]:
        """Give ``times`` (s) as an array, one for each of so many rows.

        Raises
        ------
        ShapeMismatchError
            If there are others than ``rows``, or they do not ascend.

        """
        if times is None:
            msg = f"values for {self._name!r} have no times; expected one for each time step"
            raise ShapeMismatchError(msg)
        stamps = np.array(times, np.float64, ndmin=1)
        if stamps.shape != (rows,):
            msg = (
                f"times for {self._name!r} have shape {np.shape(times)}; expected one for each of "
                f"{rows} time steps"
            )
            raise ShapeMismatchError(msg)
        before = stamps if self.last is None else np.append(self.last, stamps)
        if not (np.isfinite(stamps).all() and (np.diff(before) > 0).all()):
            msg = f"times for {self._name!r} do not ascend, or are not finite: {_some(before)}"
            raise ShapeMismatchError(msg)
        return stamps

    def append(self, stamps: NDArray[np.float64], rows: int) -> None:
        """Append times that were checked; ``rows`` are those that are known to be appended too."""
        if len(stamps):
            self._waiting.append(stamps)
            self._count += len(stamps)
            self.last = float(stamps[-1])
        if self._count > _MOST_TIMES:
            self.flush(rows)

    def flush(self, rows: int) -> None:
        """Write the times of the first ``rows`` rows."""
        waiting = np.concatenate([np.zeros(0), *self._waiting])
        known = max(0, rows - self._written)
        if known and self._dataset is not None:
            self._dataset.resize(rows, 0)
            self._dataset[self._written :] = waiting[:known]
        self._written += known
        self._waiting, self._count = [waiting[known:]], len(waiting) - known


def _some(times: NDArray[np.float64]) -> str:
    """Give the two times where they stop ascending."""
    at = int(np.argmin(np.diff(times) > 0)) if len(times) > 1 else 0
    return ", ".join(map(str, times[at : at + 2].tolist()))


# Spikes of a run that goes on, in a file beside that of the run: they become ``Units`` at its
# end.
#
# Each rank has a file of its own, to which frames are added. One that a crash has cut is left
# out.

_LENGTH = struct.Struct("<I")
_MOST_SPIKES = 2**14
"""Spikes that are kept in memory before they are written, if nothing is flushed."""


class SpikeSpool:
    """The spikes that rank ``rank`` adds to the run that is written in the file ``path``."""

    def __init__(self, path: Path, rank: int) -> None:
        self._path = path.with_name(f"{path.name}.{rank}.spikes")
        self._number: int | None = None
        self._end = self._count = 0
        self._waiting: list[Spikes] = []

    def add(self, spikes: Spikes) -> None:
        """Add spikes, which are written with others.

        Raises
        ------
        OSError
            If they cannot be written.
        TypeError
            If their node ids are not integers.

        """
        if spikes.node_ids.dtype.kind not in "iu":
            msg = (
                f"node ids of population {spikes.population!r} are {spikes.node_ids.dtype}; "
                "expected integers"
            )
            raise TypeError(msg)
        self._waiting.append(spikes)
        self._count += len(spikes.times)
        if self._count > _MOST_SPIKES:
            self.flush()

    def flush(self) -> None:
        """Write what was added.

        Raises
        ------
        OSError
            If it cannot be written.

        """
        if not self._waiting:
            return
        if self._number is None:
            self._number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        parts = [part for spikes in _joined(self._waiting) for part in _packed(spikes)]
        self._end = append_frame(self._number, self._end, parts)
        self._waiting, self._count = [], 0

    def close(self) -> None:
        """Let go of the file."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def remove(self) -> None:
        """Remove the file."""
        self.close()
        self._path.unlink(missing_ok=True)


def spike_spools(path: Path) -> list[Path]:
    """Give the files that hold spikes of the run that is written in the file ``path``, by rank.

    Raises
    ------
    OSError
        If the directory cannot be read.

    """
    found = [other for other in companion_files(path) if other.suffix == ".spikes"]
    return sorted(found, key=lambda other: (len(other.name), other.name))


def read_spike_spools(paths: Iterable[Path]) -> list[Spikes]:
    """Read spikes of all whole frames, those of a population together.

    Raises
    ------
    OSError
        If a file cannot be read.

    """
    frames = (frame for path in paths for frame in read_frames(path))
    return _joined([spikes for frame in frames for spikes in _unpacked(frame)])


def _joined(some: Sequence[Spikes]) -> list[Spikes]:
    """Put spikes of the same population together, in the order of their coming."""
    by_population: dict[str, list[Spikes]] = {}
    for spikes in some:
        by_population.setdefault(spikes.population, []).append(spikes)
    return [
        Spikes(
            population,
            np.concatenate([part.node_ids for part in parts]),
            np.concatenate([part.times for part in parts]),
        )
        for population, parts in by_population.items()
    ]


def _packed(spikes: Spikes) -> list[bytes]:
    """Give a head that says what follows, then the ids, then the times."""
    times = np.asarray(spikes.times, "<f8")
    facts = [spikes.population, spikes.node_ids.dtype.str, len(times)]
    head = json.dumps(facts).encode()
    return [_LENGTH.pack(len(head)), head, spikes.node_ids.tobytes(), times.tobytes()]


def _unpacked(frame: bytes) -> Iterator[Spikes]:
    at = 0
    while at < len(frame):
        (length,) = _LENGTH.unpack_from(frame, at)
        at += _LENGTH.size
        population, dtype, count = json.loads(frame[at : at + length])
        at += length
        ids = np.frombuffer(frame, dtype, count, at)
        times = np.frombuffer(frame, "<f8", count, at + ids.nbytes)
        at += ids.nbytes + times.nbytes
        yield Spikes(population, ids, times)


# What the ranks of an MPI job stream into one file, joined, and how it is laid out there.


@dataclass(frozen=True)
class StreamPlan:
    """What is streamed: with the cells of all ranks on rank 0, else with those of the rank.

    ``starts`` has, for each report, the first column of each rank, and the number of columns.
    """

    reports: list[StreamedReport]
    layouts: list[Layout]
    starts: list[list[int]]


def plan_stream(
    reports: Sequence[StreamedReport], storage: StorageOptions, team: Team
) -> StreamPlan:
    """Join what the ranks stream, and plan how it is laid out.

    Raises
    ------
    ShapeMismatchError
        If a report has no compartments, or ranks give different reports.
    NameClashError
        If two reports have the same name.
    LayoutError
        If data cannot be stored as asked.
    RankError
        If another rank fails.

    Example
    -------
    >>> table = CompartmentTable.from_counts(
    ...     "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    ... )
    >>> plan_stream([StreamedReport("v", table, rate=1e4)], StorageOptions(), Team()).starts
    [[0, 3]]

    """
    counts = _counts(reports, team)
    starts = [[0, *np.cumsum(of_ranks).tolist()] for of_ranks in counts]
    tables = team.collect([_loaded(report.compartments) for report in reports])
    if tables:
        reports = [
            replace(report, compartments=join_tables([of_rank[number] for of_rank in tables]))
            for number, report in enumerate(reports)
        ]
    layouts = team.tell(_layouts(reports, counts, storage) if tables else None)
    return StreamPlan(list(reports), layouts, starts)


def _counts(reports: Sequence[StreamedReport], team: Team) -> list[list[int]]:
    """Count the compartments of each rank, for each report."""
    own = {
        report.name: (np.dtype(report.dtype).str, report.rate, report.start) for report in reports
    }
    if len(own) < len(reports):
        names = ", ".join(report.name for report in reports)
        msg = f"reports have the same name: {names}"
        raise NameClashError(msg)
    facts = team.agree((own, [report.compartments.n_compartments for report in reports]))
    for rank, (others, _) in enumerate(facts):
        if list(others.items()) != list(facts[0][0].items()):
            msg = f"rank {rank} streams {others}; expected the same as rank 0, {facts[0][0]}"
            raise ShapeMismatchError(msg)
    counts = [[of_rank[number] for _, of_rank in facts] for number in range(len(reports))]
    for report, of_ranks in zip(reports, counts, strict=True):
        if not sum(of_ranks):
            msg = f"report {report.name!r} has no compartments; expected at least one"
            raise ShapeMismatchError(msg)
    return counts


def _layouts(
    reports: Sequence[StreamedReport], counts: list[list[int]], storage: StorageOptions
) -> list[Layout]:
    """Plan rows of chunks that fit into the memory of the rank with the most columns."""
    sizes = np.array([np.dtype(report.dtype).itemsize for report in reports], np.int64)
    widest = max((sizes @ np.array(counts, np.int64)).tolist(), default=0) if reports else 0
    layouts = _layouts_of_rows(reports, counts, storage, widest)
    if len(counts[0] if counts else []) > 1:
        # A rank may have to complete a chunk of each report.
        widest += sum(layout.itemsize * (layout.chunks or (1, 1))[1] for layout in layouts)
        layouts = _layouts_of_rows(reports, counts, storage, widest)
    return layouts


def _layouts_of_rows(
    reports: Sequence[StreamedReport],
    counts: list[list[int]],
    storage: StorageOptions,
    row_bytes: int,
) -> list[Layout]:
    """Plan chunks no wider than what a rank has, for rows of all reports of ``row_bytes``."""
    planned = [
        plan_growing(
            max(of_ranks),
            np.dtype(report.dtype).itemsize,
            report.compartments.counts(),
            storage,
            steps=report.steps,
            row_bytes=row_bytes,
        )
        for report, of_ranks in zip(reports, counts, strict=True)
    ]
    return [
        replace(layout, shape=(0, sum(of_ranks)))
        for layout, of_ranks in zip(planned, counts, strict=True)
    ]


def _loaded(table: CompartmentTable) -> CompartmentTable:
    """Give a table whose arrays can be sent."""
    return CompartmentTable(
        table.population,
        np.asarray(table.cell_ids[:]),
        np.asarray(table.ends[:]),
        {name: np.asarray(values[:]) for name, values in table.columns.items()},
        {name: np.asarray(values[:]) for name, values in table.cell_columns.items()},
    )
