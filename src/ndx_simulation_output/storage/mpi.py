"""Write with all ranks of an MPI job."""

import os
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import h5py

from ndx_simulation_output.errors import RankError
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import default_workers, regions
from ndx_simulation_output.storage.writing import (
    DatasetLocation,
    PieceWriter,
    encoded_pieces,
    locate_dataset,
    piece_writer,
    reserve_space,
    write_matrix,
)

# The ranks of an MPI job, who go on together or fail together.
#
# Whatever a rank does alone may fail. So each step that the ranks do with each other begins with
# an agreement, and a rank that fails takes part in that of the next step, to say so. Then all
# raise.

_Value = TypeVar("_Value")


class Communicator(Protocol):
    """What is used of an mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def Dup(self) -> Any:  # noqa: N802 - the name in mpi4py
        """Give one for messages of our own."""

    def Free(self) -> None:  # noqa: N802
        """Let go of it."""

    def Barrier(self) -> None:  # noqa: N802
        """Wait for all."""

    def allgather(self, value: Any, /) -> list[Any]:
        """Give the values of all to all."""

    def gather(self, value: Any, /) -> list[Any] | None:
        """Give the values of all to rank 0."""

    def bcast(self, value: Any, /) -> Any:
        """Give the value of rank 0 to all."""

    def isend(self, value: Any, /, dest: int, tag: int) -> Any:
        """Send without waiting."""

    def issend(self, value: Any, /, dest: int, tag: int) -> Any:
        """Send without waiting; it is done when it has been received."""

    def recv(self, /, *, source: int = ..., tag: int = ...) -> Any:
        """Wait for a message."""

    def iprobe(self, /, *, source: int = ..., tag: int = ...) -> bool:
        """Whether a message is there."""


class Team:
    """The ranks of a communicator, or this process alone.

    ``workers`` is how many threads each has to itself.

    Example
    -------
    >>> team = Team()
    >>> team.rank, team.size, team.agree("here")
    (0, 1, ['here'])

    """

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank = 0 if comm is None else int(comm.rank)
        self.size = 1 if comm is None else int(comm.size)
        self.workers = default_workers() if comm is None else _own_workers(comm)
        self._over = False

    def agree(self, value: _Value | None = None) -> list[_Value]:
        """Give the value of each rank, if none has failed.

        Raises
        ------
        RankError
            If one has.

        """
        return self._meet(None, value)

    def tell(self, value: Any) -> Any:
        """Give the value of rank 0 to all.

        Raises
        ------
        RankError
            If a rank has failed.

        """
        if self.comm is None:
            return value
        packed = pickle.dumps(value)
        self.agree()
        return pickle.loads(self.comm.bcast(packed))  # noqa: S301 - from rank 0

    def collect(self, value: _Value) -> list[_Value]:
        """Give the value of each rank to rank 0, and nothing to the others.

        Raises
        ------
        RankError
            If a rank has failed.

        """
        if self.comm is None:
            return [value]
        # What cannot be packed must fail before the others wait for it.
        packed = pickle.dumps(value)
        self.agree()
        return [pickle.loads(sent) for sent in self.comm.gather(packed) or []]  # noqa: S301 - ours

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank has failed, unless all know that one has."""
        if not self._over:
            self._meet(f"{type(error).__name__}: {error}", None)

    def _meet(self, failure: str | None, value: Any) -> list[Any]:
        if self.comm is None:
            return [value]
        met = self.comm.allgather((failure, value))
        failures = {rank: text for rank, (text, _) in enumerate(met) if text is not None}
        self._over = bool(failures)
        if failures and failure is None:
            rank, reason = next(iter(failures.items()))
            msg = f"rank {rank} failed: {reason}"
            raise RankError(msg)
        return [given for _, given in met]


@contextmanager
def together(comm: Communicator | None) -> Iterator[Team]:
    """Give the team of the ranks that enter the block. If it fails on one, it fails on all.

    The one raises its error, when all have left the block; the others raise a ``RankError`` at
    their next step together. Without a communicator, the team is this process.

    Raises
    ------
    RankError
        If another rank fails.

    Example
    -------
    >>> with together(None) as team:
    ...     team.tell("the same on all ranks")
    'the same on all ranks'

    """
    if comm is None or comm.size == 1:
        yield Team()
        return
    own = comm.Dup()
    try:
        team = Team(own)
        try:
            yield team
            team.agree()
        except BaseException as error:
            team.fail(error)
            raise
    finally:
        # mpirun ends all processes when one has failed: before, all must have tidied up.
        own.Barrier()
        own.Free()


def _own_workers(comm: Any) -> int:
    """Give how many threads a rank has: it shares the processors with others on its machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = sorted(affinity(0)) if affinity else []
    here = platform.node(), processors
    return default_workers(comm.allgather(here).count(here))


# Write a matrix with all ranks of an MPI job, each its own chunks, with any build of h5py.
#
# What is not compressed each rank writes to its place in the file, past HDF5. Compressed chunks
# go to rank 0, which lets HDF5 store them while all compress.

_PIECE, _END = 1, 2
_AHEAD, _NOTES_AHEAD = 4, 256
"""How many pieces, or notes that one is written, may be on their way to rank 0."""
_PAUSE = 2e-4
"""Seconds between two looks for messages: a rank that waits leaves its processor to threads."""

_Results = Generator[tuple[int, Any]]


@dataclass(frozen=True)
class Share:
    """The rows and columns of a matrix that one rank writes: whole chunks."""

    rows: range
    columns: range


def plan_share(layout: Layout, source_width: int, rank: int, size: int) -> Share:
    """Plan what one of ``size`` ranks writes: some columns of chunks, so its own cells.

    It is rows where data are contiguous, where there are fewer columns of chunks than ranks, and
    where ranks would read the same chunks of the source, which are ``source_width`` columns wide.

    Example
    -------
    >>> from ndx_simulation_output.storage.layout import plan_layout
    >>> plan_share(plan_layout((2000, 40000), 4, 200), 1, rank=1, size=3)
    Share(rows=range(0, 2000), columns=range(13200, 26600))

    """
    rows, columns = layout.shape
    height, width = layout.chunks or (1, max(columns, 1))
    if -(-columns // width) >= size and source_width * size <= columns:
        return Share(range(rows), _part(columns, width, rank, size))
    return Share(_part(rows, height, rank, size), range(columns))


def _part(length: int, step: int, rank: int, size: int) -> range:
    """Give the part of a rank, made of whole steps."""
    steps = -(-length // step)
    start, stop = (steps * number // size * step for number in (rank, rank + 1))
    return range(min(start, length), min(stop, length))


@dataclass(frozen=True)
class _Plan:
    """What rank 0 tells the others of a matrix."""

    layout: Layout
    place: DatasetLocation | None
    path: Path
    source_width: int


def write_matrix_together(
    team: Team,
    source: LazyArray,
    dataset: h5py.Dataset | None = None,
    layout: Layout | None = None,
    path: Path | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``source``, shape (time, column), which every rank has, into the dataset of rank 0.

    ``dataset``, ``layout`` and ``path``, where the file lies, are given by rank 0. ``progress`` is
    called there with the number of bytes of each piece of any rank.

    Raises
    ------
    SourceError
        If the source cannot be read.
    OSError
        If the file cannot be written.
    RankError
        If another rank fails.

    """
    workers = team.workers if workers is None else workers
    planned = None
    if dataset is not None and layout is not None and path is not None:
        if team.size == 1:
            write_matrix(source, dataset, layout, path=path, workers=workers, progress=progress)
            return
        planned = _Plan(layout, locate_dataset(dataset), path, chunks_of(source)[1])
        if planned.place is not None:
            reserve_space(planned.place, path)
    plan: _Plan = team.tell(planned)
    target = piece_writer(plan.place, plan.path, dataset)
    share = plan_share(plan.layout, plan.source_width, team.rank, team.size)
    cut = regions(source, plan.layout, share.columns, plan.path.parent, share.rows)
    deliver(team, target, encoded_pieces(target, cut, plan.layout, workers), progress)


def deliver(
    team: Team, target: PieceWriter, made: _Results, progress: Callable[[int], object] | None = None
) -> None:
    """Put what every rank has ``made`` of its pieces into the ``target`` of rank 0.

    Raises
    ------
    RankError
        If another rank fails.

    """
    with closing(target), closing(made):
        team.agree()
        if team.rank == 0:
            _receive(team, target, made, progress)
        else:
            _send(team, made)
    team.agree()


def _receive(
    team: Team, target: PieceWriter, made: _Results, progress: Callable[[int], object] | None
) -> None:
    with closing(_Inbox(team)) as inbox:
        for n_bytes, what in inbox.beside(made):
            target.store(what)
            if progress is not None:
                progress(n_bytes)


def _send(team: Team, made: _Results) -> None:
    outbox = _Outbox(team)
    failed = True
    try:
        for n_bytes, what in made:
            outbox.put((n_bytes, what), _NOTES_AHEAD if what is None else _AHEAD)
            if outbox.ended:
                break
        failed = False
    finally:
        outbox.close(failed=failed)


class _Inbox:
    """What the other ranks send to rank 0."""

    def __init__(self, team: Team) -> None:
        self._comm, self._size = team.comm, team.size
        self._working = team.size - 1
        self._failed = False

    def beside(self, made: _Results) -> Iterator[tuple[int, Any]]:
        """Give what rank 0 has made, and between that what has come."""
        for result in made:
            yield result
            yield from self._taken()
            if self._failed:
                return
        while self._working and not self._failed:
            yield from self._taken()
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Tell the others that it is over, and take what they have sent before they hear of it."""
        told = [self._comm.isend(None, dest=rank, tag=_END) for rank in range(1, self._size)]
        while self._working:
            for _ in self._taken():
                pass
            time.sleep(_PAUSE)
        for request in told:
            request.wait()

    def _taken(self) -> Iterator[tuple[int, Any]]:
        """Give what is there."""
        while self._working and self._comm.iprobe(tag=_PIECE):
            message = self._comm.recv(tag=_PIECE)
            if isinstance(message, bool):
                self._working -= 1
                self._failed = self._failed or message
            else:
                yield message


class _Outbox:
    """What another rank sends to rank 0: pieces, and at the end whether it has failed."""

    def __init__(self, team: Team) -> None:
        self._comm = team.comm
        self._sent: deque[Any] = deque()

    @property
    def ended(self) -> bool:
        """Whether rank 0 has said that it is over."""
        return bool(self._comm.iprobe(source=0, tag=_END))

    def put(self, message: Any, ahead: int) -> None:
        """Send a message, when fewer than ``ahead`` are on their way."""
        self._wait(ahead - 1)
        self._sent.append(self._comm.issend(message, dest=0, tag=_PIECE))

    def close(self, *, failed: bool) -> None:
        """Say that this was all, and wait until rank 0 says so."""
        self.put(failed, _NOTES_AHEAD)
        self._wait(0)
        self._comm.recv(source=0, tag=_END)

    def _wait(self, most: int) -> None:
        while len(self._sent) > most:
            if self._sent[0].Test():
                self._sent.popleft()
            else:
                time.sleep(_PAUSE)
