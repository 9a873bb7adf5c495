"""Append rows, times and spikes to a file while a simulation runs, on one process or many ranks."""

import json
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndx_simulation_output.errors import LayoutError, NameClashError, ShapeMismatchError
from ndx_simulation_output.recording import Categories, CompartmentTable, Spikes, StreamedReport
from ndx_simulation_output.recording.merging import join_tables
from ndx_simulation_output.storage.journal import append_frame, companion_files, iter_frames
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_growing
from ndx_simulation_output.storage.mpi import Team, store_pieces
from ndx_simulation_output.storage.partitions import Region, round_up
from ndx_simulation_output.storage.writing import (
    DatasetLocation,
    encoded_pieces,
    locate_dataset,
    piece_writer,
)
from ndx_simulation_output.system import open_file

_EDGE_TAG = 3
_GROWTH = 8
"""A dataset is extended by 1/8 of its chunk rows, because HDF5 finds the addresses of new chunks
more slowly the more chunks there are."""
_TIMES_CHUNK = 2**13
_MOST_BUFFERED_TIMES = 2**16
_MOST_BUFFERED_SPIKES = 2**14
_HEAD_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class StreamPlan:
    """Reports and layouts of a stream; on rank 0, the tables have the cells of all ranks.

    ``starts`` has, for each report, the first column of each rank, and the number of columns.
    """

    reports: list[StreamedReport]
    layouts: list[Layout]
    starts: list[list[int]]
    storage: StorageOptions

    def fitted(self, steps: Mapping[str, int], team: Team) -> "StreamPlan":
        """Return a plan whose last rows of chunks are full after ``steps``, by report.

        Chunks of shorter reports stay the same, because a longer run may follow.
        """
        reports = [
            replace(report, steps=steps[report.name])
            if steps.get(report.name, 0) > (layout.chunks or (1, 1))[0]
            else report
            for report, layout in zip(self.reports, self.layouts, strict=True)
        ]
        counts = [np.diff(starts).tolist() for starts in self.starts]
        layouts = _plan_layouts(reports, counts, self.storage) if team.rank == 0 else None
        return replace(self, layouts=team.broadcast(layouts))


def plan_stream(
    reports: Sequence[StreamedReport], storage: StorageOptions, team: Team
) -> StreamPlan:
    """Join the tables of all ranks on rank 0, and plan the layouts of the reports.

    Example
    -------
    >>> table = CompartmentTable.from_counts(
    ...     "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    ... )
    >>> plan_stream([StreamedReport("v", table, rate=1e4)], StorageOptions(), Team()).starts
    [[0, 3]]

    """
    counts = _count_columns(reports, team)
    starts = [[0, *np.cumsum(of_ranks).tolist()] for of_ranks in counts]
    tables = team.gather([_in_memory(report.compartments) for report in reports])
    if tables:
        reports = [
            replace(report, compartments=join_tables([of_rank[number] for of_rank in tables]))
            for number, report in enumerate(reports)
        ]
    layouts = team.broadcast(_plan_layouts(reports, counts, storage) if tables else None)
    return StreamPlan(list(reports), layouts, starts, storage)


def _count_columns(reports: Sequence[StreamedReport], team: Team) -> list[list[int]]:
    """Return the number of columns of each report on each rank."""
    own = {report.name: _shared(report) for report in reports}
    if len(own) < len(reports):
        names = ", ".join(report.name for report in reports)
        msg = f"reports have the same name: {names}"
        raise NameClashError(msg)
    of_all = team.allgather((own, [report.compartments.n_compartments for report in reports]))
    for rank, (others, _) in enumerate(of_all):
        expected = of_all[0][0]
        if list(others) != list(expected):
            msg = f"rank {rank} streams {list(others)}; expected the same as rank 0, "
            raise ShapeMismatchError(msg + f"{list(expected)}")
        for name, of_report in expected.items():
            for key, value in of_report.items():
                if others[name][key] != value:
                    msg = (
                        f"rank {rank} streams {name!r} with {key} = {others[name][key]!r}; "
                        f"expected that of rank 0, {value!r}"
                    )
                    raise ShapeMismatchError(msg)
    counts = [[of_rank[number] for _, of_rank in of_all] for number in range(len(reports))]
    for report, of_ranks in zip(reports, counts, strict=True):
        if not sum(of_ranks):
            msg = f"report {report.name!r} has no compartments; expected at least one"
            raise ShapeMismatchError(msg)
    return counts


def _shared(report: StreamedReport) -> dict[str, Any]:
    """Return the fields of a report that all ranks must share: all except the table."""
    found = {field.name: getattr(report, field.name) for field in fields(report)}
    del found["name"], found["compartments"]
    return {**found, "dtype": np.dtype(report.dtype).str}


def _in_memory(table: CompartmentTable) -> CompartmentTable:
    """Return a table whose arrays can be sent to other ranks."""
    return replace(
        table,
        cell_ids=np.asarray(table.cell_ids[:]),
        ends=np.asarray(table.ends[:]),
        columns={name: np.asarray(values[:]) for name, values in table.columns.items()},
        cell_columns={
            name: replace(values, codes=np.asarray(values.codes[:]))
            if isinstance(values, Categories)
            else np.asarray(values[:])
            for name, values in table.cell_columns.items()
        },
        notes=tuple,
    )


def _plan_layouts(
    reports: Sequence[StreamedReport], counts: list[list[int]], storage: StorageOptions
) -> list[Layout]:
    """Plan chunks so that the rank with the widest rows can buffer a chunk row of all reports."""
    sizes = np.array([np.dtype(report.dtype).itemsize for report in reports], np.int64)
    row_bytes = max((sizes @ np.array(counts, np.int64)).tolist(), default=0) if reports else 0
    layouts = _plan_rows(reports, counts, storage, row_bytes)
    if len(counts[0] if counts else []) > 1:
        # A rank may also buffer columns of other ranks, less than a chunk of each report.
        row_bytes += sum(layout.itemsize * (layout.chunks or (1, 1))[1] for layout in layouts)
        layouts = _plan_rows(reports, counts, storage, row_bytes)
    return layouts


def _plan_rows(
    reports: Sequence[StreamedReport],
    counts: list[list[int]],
    storage: StorageOptions,
    row_bytes: int,
) -> list[Layout]:
    """Plan chunks no wider than the columns of a rank."""
    layouts = []
    for report, of_ranks in zip(reports, counts, strict=True):
        layout = plan_growing(
            max(of_ranks),
            np.dtype(report.dtype).itemsize,
            report.compartments.counts(),
            storage,
            steps=report.steps,
            row_bytes=row_bytes,
        )
        layouts.append(replace(layout, shape=(0, sum(of_ranks))))
    return layouts


class RankColumns:
    """The columns that a rank appends, and those that it writes: whole chunks.

    ``starts`` has the first column of each rank, and the number of columns. A chunk is written by
    the rank that has its first column. A rank therefore sends its first ``rest`` columns to
    ``owner``, a rank before it, and receives columns of the ranks after it. Its buffer has
    ``width`` columns: ``count`` of its own, then the received ones. It writes ``columns``.

    Example
    -------
    >>> owned = RankColumns(starts=[0, 5, 12], chunk_width=4, rank=1)
    >>> owned.count, owned.rest, owned.owner, owned.columns
    (7, 3, 0, range(8, 12))

    """

    def __init__(self, starts: list[int], chunk_width: int, rank: int) -> None:
        first, stop = starts[rank], starts[rank + 1]
        self.first, self.count = first, stop - first
        begin = min(round_up(first, chunk_width), stop)
        end = min(round_up(stop, chunk_width), starts[-1]) if begin < stop else stop
        self.columns = range(begin, end)
        self.rest, self.width = begin - first, end - first
        self.owner = bisect_right(starts, first // chunk_width * chunk_width) - 1
        self.others = [
            (other, range(max(stop, starts[other]), min(end, starts[other + 1])))
            for other in range(rank + 1, len(starts) - 1)
            if max(stop, starts[other]) < min(end, starts[other + 1])
        ]

    def exchange(self, values: NDArray[Any], team: Team) -> NDArray[Any]:
        """Send and receive columns, and return the values of ``columns``.

        The received columns are filled into ``values``, shape (time, ``width``).
        """
        sent = None
        if self.rest:
            rest = np.ascontiguousarray(values[:, : self.rest])
            sent = team.comm.isend(rest, dest=self.owner, tag=_EDGE_TAG)
        for other, columns in self.others:
            received = team.receive(other, _EDGE_TAG)
            values[:, columns.start - self.first : columns.stop - self.first] = received
        if sent is not None:
            sent.wait()
        return values[:, self.rest :]


class GrowingMatrix:
    """A matrix to which all ranks append their columns, the same number of rows on each.

    Rows are buffered, and written one chunk row at a time. Rank 0 has the ``dataset``, the others
    None; all have the ``path`` of the file. Before it writes chunks bypassing HDF5, rank 0
    calls ``forget`` with their addresses and size.
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
        self._extent = None if dataset is None else _GrowingDataset(dataset, self._height)
        self._buffer = np.empty((self._height, owned.width), dtype)
        self._top = self._buffered = 0
        self._is_written = True

    @property
    def columns(self) -> int:
        """Number of columns of this rank."""
        return self._owned.count

    @property
    def rows(self) -> int:
        """Number of rows that this rank has appended."""
        return self._top + self._buffered

    def append(self, values: NDArray[Any]) -> None:
        """Append rows, shape (time, column)."""
        while len(values):
            rows = values[: self._height - self._buffered]
            self._buffer[self._buffered : self._buffered + len(rows), : self.columns] = rows
            self._buffered += len(rows)
            self._is_written = False
            if self._buffered == self._height:
                self._check_steps()
                self._write(full=True)
                self._top, self._buffered = self._top + self._height, 0
            values = values[len(rows) :]

    def flush(self) -> None:
        """Write the buffered rows, and cut the dataset to the appended rows."""
        self._check_steps()
        if not self._is_written:
            self._write(full=False)
        elif self._extent is not None:
            self._extent.cut(self.rows)

    def _check_steps(self) -> None:
        """Raise ShapeMismatchError if the ranks have appended different numbers of rows."""
        steps = self._team.allgather((self.name, self.rows))
        for rank, step in enumerate(steps):
            if step != steps[0]:
                msg = f"rank {rank} is at time step {step}; expected that of rank 0, {steps[0]}"
                raise ShapeMismatchError(msg)

    def _write(self, *, full: bool) -> None:
        """Write the buffer, a full row of chunks or the beginning of one."""
        stop = self.rows
        location = None
        if self._extent is not None:
            location = self._extent.extend(self._top, stop, full=full)
            if location.addresses is not None and self._forget is not None:
                chunk_bytes = int(np.prod(location.chunks or (1, 1))) * location.dtype.itemsize
                row = self._top // self._height - location.first_row
                self._forget(location.addresses[row], chunk_bytes)
        location = self._team.broadcast(location)
        values = self._owned.exchange(self._buffer[: self._buffered], self._team)
        columns = slice(self._owned.columns.start, self._owned.columns.stop)
        region = Region(values, slice(self._top, stop), columns, values)
        writer = piece_writer(location, self._path, self._dataset)
        pieces = encoded_pieces(writer, [region], self._layout, self._workers)
        store_pieces(self._team, writer, pieces)
        self._is_written = True


class _GrowingDataset:
    """A dataset that is extended in advance, and the location of its last chunk rows."""

    def __init__(self, dataset: h5py.Dataset, height: int) -> None:
        self._dataset, self._height = dataset, height
        self._location = _located(dataset)

    def extend(self, top: int, stop: int, *, full: bool) -> DatasetLocation:
        """Return the location of the rows from ``top``, where a chunk begins, to ``stop``.

        The dataset may become longer if the chunk row is ``full``; else it ends at ``stop``.
        """
        number = top // self._height
        if not full:
            self.cut(stop)
        elif stop > len(self._dataset):
            ahead = 0 if self._location.addresses is None else number // _GROWTH
            self._dataset.resize((number + 1 + ahead) * self._height, 0)
        addresses = self._location.addresses
        if addresses is not None and number >= self._location.first_row + len(addresses):
            found = _located(self._dataset)
            addresses = None if found.addresses is None else found.addresses[number:]
            self._location = replace(found, addresses=addresses, first_row=number)
        return self._location

    def cut(self, rows: int) -> None:
        """Set the number of rows; HDF5 frees the chunks beyond."""
        self._dataset.resize(rows, 0)
        if self._location.addresses is not None:
            remaining = max(
                0, round_up(rows, self._height) // self._height - self._location.first_row
            )
            self._location = replace(self._location, addresses=self._location.addresses[:remaining])


def _located(dataset: h5py.Dataset) -> DatasetLocation:
    location = locate_dataset(dataset)
    if location is None:
        msg = f"data of type {dataset.dtype} cannot be streamed; expected integers or floats"
        raise LayoutError(msg)
    return location


def create_times(group: h5py.Group, name: str) -> h5py.Dataset:
    """Create the growing dataset of the times (s) of a report without a rate."""
    return group.create_dataset(name, (0,), "<f8", maxshape=(None,), chunks=(_TIMES_CHUNK,))


class GrowingTimes:
    """The times (s) of the rows of the report ``name``; only rank 0 has the ``dataset``."""

    def __init__(self, name: str, dataset: h5py.Dataset | None) -> None:
        self._name, self._dataset = name, dataset
        self.last: float | None = None
        self._buffer: list[NDArray[np.float64]] = []
        self._written = self._buffered = 0

    def checked(self, times: ArrayLike | None, rows: int) -> NDArray[np.float64]:
        """Return ``times`` as an array, after checking that they are ``rows`` ascending times."""
        if times is None:
            msg = f"values for {self._name!r} have no times; expected one for each time step"
            raise ShapeMismatchError(msg)
        seconds = np.array(times, np.float64, ndmin=1)
        if seconds.shape != (rows,):
            msg = (
                f"times for {self._name!r} have shape {np.shape(times)}; expected one for each of "
                f"{rows} time steps"
            )
            raise ShapeMismatchError(msg)
        before = seconds if self.last is None else np.append(self.last, seconds)
        if not (np.isfinite(seconds).all() and (np.diff(before) > 0).all()):
            msg = f"times for {self._name!r} do not ascend, or are not finite: {_descent(before)}"
            raise ShapeMismatchError(msg)
        return seconds

    def append(self, seconds: NDArray[np.float64], rows: int) -> None:
        """Append checked times; ``rows`` is the number of rows that are in the matrix already."""
        if len(seconds):
            self._buffer.append(seconds)
            self._buffered += len(seconds)
            self.last = float(seconds[-1])
        if self._buffered > _MOST_BUFFERED_TIMES:
            self.flush(rows)

    def flush(self, rows: int) -> None:
        """Write the times of the first ``rows`` rows."""
        buffered = np.concatenate([np.zeros(0), *self._buffer])
        count = max(0, rows - self._written)
        if count and self._dataset is not None:
            self._dataset.resize(rows, 0)
            self._dataset[self._written :] = buffered[:count]
        self._written += count
        self._buffer, self._buffered = [buffered[count:]], len(buffered) - count


def _descent(times: NDArray[np.float64]) -> str:
    """Return the first pair of times that does not ascend, for a message."""
    at = int(np.argmin(np.diff(times) > 0)) if len(times) > 1 else 0
    return ", ".join(map(str, times[at : at + 2].tolist()))


class SpikeSpool:
    """A temporary file with the spikes of one rank, until they are written as ``Units`` at the end.

    ``path`` is the file of the stream. Each flush adds a frame, so that a crash damages at most
    the last one.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self._path = path.with_name(f"{path.name}.{rank}.spikes")
        self._number: int | None = None
        self._end = self._count = 0
        self._buffer: list[Spikes] = []

    def add(self, spikes: Spikes) -> None:
        """Add spikes."""
        self._buffer.append(spikes)
        self._count += len(spikes.times)
        if self._count > _MOST_BUFFERED_SPIKES:
            self.flush()

    def flush(self) -> None:
        """Write the buffered spikes."""
        if not self._buffer:
            return
        if self._number is None:
            self._number = open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        parts = [part for spikes in _by_population(self._buffer) for part in _packed(spikes)]
        self._end = append_frame(self._number, self._end, parts)
        self._buffer, self._count = [], 0

    def close(self) -> None:
        """Close the file."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def remove(self) -> None:
        """Remove the file."""
        self.close()
        self._path.unlink(missing_ok=True)


def spike_spools(path: Path) -> list[Path]:
    """Return the spools of a stream that is written in the file ``path``, by rank."""
    found = [file for file in companion_files(path) if file.suffix == ".spikes"]
    return sorted(found, key=lambda file: (len(file.name), file.name))


def read_spike_spools(paths: Iterable[Path]) -> list[Spikes]:
    """Return the spikes of all complete frames, joined by population."""
    frames = (frame for path in paths for frame in iter_frames(path))
    return _by_population([spikes for frame in frames for spikes in _unpacked(frame)])


def _by_population(recorded: Sequence[Spikes]) -> list[Spikes]:
    """Join spikes of the same population, in the order in which they were added."""
    by_population: dict[str, list[Spikes]] = {}
    for spikes in recorded:
        by_population.setdefault(spikes.population, []).append(spikes)
    return [_joined(population, parts) for population, parts in by_population.items()]


def _joined(population: str, parts: Sequence[Spikes]) -> Spikes:
    """Join spikes of a population; intervals that meet become one."""
    ids = np.concatenate([part.node_ids for part in parts])
    silent = [part.silent for part in parts if part.silent is not None]
    intervals = [part.intervals for part in parts if part.intervals is not None]
    return Spikes(
        population,
        ids,
        np.concatenate([part.times for part in parts]),
        silent=np.setdiff1d(np.concatenate(silent), ids) if silent else None,
        intervals=_united(np.concatenate(intervals)) if intervals else None,
        checked=False,
    )


def _united(intervals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted intervals, of which no two overlap or meet."""
    united: list[list[float]] = []
    for start, stop in sorted(intervals.tolist()):
        if united and start <= united[-1][1]:
            united[-1][1] = max(stop, united[-1][1])
        else:
            united.append([start, stop])
    return np.array(united, np.float64).reshape(-1, 2)


def _packed(spikes: Spikes) -> list[bytes]:
    """Return a head in JSON, ids and times.

    The head has the population, the type of the ids, the number of spikes, and the silent cells and
    intervals or None.
    """
    times = np.asarray(spikes.times, "<f8")
    known = [
        None if values is None else values.tolist() for values in (spikes.silent, spikes.intervals)
    ]
    head = json.dumps([spikes.population, spikes.node_ids.dtype.str, len(times), *known]).encode()
    return [_HEAD_LENGTH.pack(len(head)), head, spikes.node_ids.tobytes(), times.tobytes()]


def _unpacked(frame: bytes) -> Iterator[Spikes]:
    position = 0
    while position < len(frame):
        (length,) = _HEAD_LENGTH.unpack_from(frame, position)
        position += _HEAD_LENGTH.size
        # Files of earlier versions have no silent cells and intervals.
        population, dtype, count, *known = json.loads(frame[position : position + length])
        silent, intervals = known or (None, None)
        position += length
        ids = np.frombuffer(frame, dtype, count, position)
        times = np.frombuffer(frame, "<f8", count, position + ids.nbytes)
        position += ids.nbytes + times.nbytes
        yield Spikes(
            population,
            ids,
            times,
            silent=None if silent is None else np.array(silent, dtype),
            intervals=None if intervals is None else np.reshape(intervals, (-1, 2)),
            checked=False,
        )
