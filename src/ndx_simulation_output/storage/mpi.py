"""Write with all ranks of an MPI job, with any build of h5py.

Each rank writes uncompressed data directly to their location in the file, bypassing HDF5.
Compressed chunks are sent to rank 0, which stores them through HDF5 while the other ranks compress
their next pieces.

Any rank may fail between two collective calls. Each collective call therefore also exchanges
failures, so that all ranks raise an error instead of waiting for the one that failed.
"""

import pickle
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import h5py

from ndx_simulation_output.errors import RankError, SimulationOutputError
from ndx_simulation_output.files import uninterrupted
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.storage.layout import Layout, StorageOptions, default_workers
from ndx_simulation_output.storage.partitions import regions
from ndx_simulation_output.storage.writing import (
    DatasetLocation,
    PieceWriter,
    encoded_pieces,
    locate_dataset,
    piece_writer,
    reserve_space,
    write_matrix,
)
from ndx_simulation_output.system import processors

_PIECE = 1
_ROUND, _ROUND_BYTES = 8, 2**24
"""Pieces, and bytes to send, that each rank encodes between two collective calls, at most. The
pieces of two rounds are in memory."""
_PAUSE = 2e-4
"""Seconds between two tests whether all ranks have arrived; threads use the processor meanwhile."""
_CLOCKS = timedelta(minutes=1)
"""Times of day of different ranks that differ by less may be readings of their clocks."""
_ADDRESS = re.compile(" at 0x[0-9a-f]+")
_NONE = "none"
_LONGEST = 200

_Value = TypeVar("_Value")


class Communicator(Protocol):
    """The methods of an mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``, that are used."""

    @property
    def rank(self) -> int:
        """Return the number of this rank."""

    @property
    def size(self) -> int:
        """Return the number of ranks."""

    def Dup(self) -> Any:  # noqa: N802 - the name in mpi4py
        """Return a duplicate, whose messages are separate."""

    def Free(self) -> None:  # noqa: N802
        """Free the communicator."""

    def Abort(self, errorcode: int = ...) -> Any:  # noqa: N802
        """End all processes of the job."""

    def Barrier(self) -> None:  # noqa: N802
        """Wait for all ranks."""

    def Ibarrier(self) -> Any:  # noqa: N802
        """Start to wait for all ranks."""

    def allgather(self, value: Any, /) -> list[Any]:
        """Return the values of all ranks to all ranks."""

    def gather(self, value: Any, /) -> list[Any] | None:
        """Return the values of all ranks to rank 0."""

    def bcast(self, value: Any, /) -> Any:
        """Return the value of rank 0 to all ranks."""

    def isend(self, value: Any, /, dest: int, tag: int) -> Any:
        """Start to send a value."""

    def iprobe(self, /, source: int = ..., tag: int = ...) -> bool:
        """Return True if a value has been sent that ``recv`` would receive."""

    def recv(self, /, *, source: int = ..., tag: int = ...) -> Any:
        """Receive a value."""


class Team:
    """The ranks of a communicator, or this process alone.

    After ``patience`` seconds, a rank that fails ends the job if the others do not answer, because
    they wait for it in other communication. It calls ``before_abort`` first, as the other ranks
    cannot clean up.

    Example
    -------
    >>> team = Team()
    >>> team.rank, team.size, team.allgather("here")
    (0, 1, ['here'])

    """

    def __init__(self, comm: Any = None, patience: float | None = None) -> None:
        self.comm, self._patience = comm, patience
        self.rank = 0 if comm is None else int(comm.rank)
        self.size = 1 if comm is None else int(comm.size)
        self._most_workers = default_workers() if comm is None else _own_workers(comm)
        self.before_abort: Callable[[], object] = lambda: None
        self._is_over = False
        self._barrier: Any = None

    def workers_for(self, layout: Layout, workers: int | None) -> int:
        """Return the number of threads of this rank: by default those planned, if it has CPUs."""
        return min(layout.workers, self._most_workers) if workers is None else workers

    def allgather(self, value: _Value | None = None) -> list[_Value]:
        """Return the value of each rank; RankError if a rank failed."""
        values: list[_Value] = self._exchange(None, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0 on all ranks; RankError if a rank failed."""
        if self.comm is None:
            return value
        packed = pickle.dumps(value)
        sent = self._exchange(None, then=lambda: self.comm.bcast(packed))
        return pickle.loads(sent)  # noqa: S301 - from rank 0

    def gather(self, value: _Value) -> list[_Value]:
        """Return the values of all ranks on rank 0, [] on the others; RankError if one failed."""
        if self.comm is None:
            return [value]
        # Pickle first, so that an error occurs before the other ranks wait for the value.
        packed = pickle.dumps(value)
        gathered = self._exchange(None, then=lambda: self.comm.gather(packed))
        return [pickle.loads(sent) for sent in gathered or []]  # noqa: S301 - ours

    def receive(self, source: int, tag: int) -> Any:
        """Return a value that another rank sends. Unlike ``recv``, this can be interrupted."""
        while not self.comm.iprobe(source, tag):
            time.sleep(_PAUSE)
        return self.comm.recv(source=source, tag=tag)

    def check_same(
        self,
        found: Mapping[str, Any],
        what: str = "{name} = {value}",
        error: type[SimulationOutputError] = RankError,
        hint: str = "",
    ) -> None:
        """Raise the same ``error`` on all ranks if a value of ``found`` differs between them.

        ``what`` formats the name and the value for the message, to which ``hint`` is appended.
        """
        if self.size == 1:
            return
        own = {name: _comparable(value) for name, value in found.items()}
        first, *others = self.allgather(own)
        for rank, other in enumerate(others, start=1):
            for name in dict.fromkeys([*first, *other]):
                expected, value = (values.get(name, _NONE) for values in (first, other))
                if not _agree(expected, value):
                    named = what.format(name=name, value=_shortened(value))
                    msg = (
                        f"rank {rank} has {named}; expected that of rank 0, "
                        f"{_shortened(expected)}{hint}"
                    )
                    raise error(msg)

    def finish(self) -> None:
        """Wait for all ranks at the end of the block; RankError if a rank failed."""

        def end() -> None:
            self._is_over = True

        self._exchange(None, then=end)

    def fail(self, error: BaseException) -> None:
        """Report an error of this rank to the other ranks, unless all know that it is over."""
        if not self._is_over:
            self._exchange(error)

    def _exchange(
        self,
        error: BaseException | None,
        value: Any = None,
        then: Callable[[], Any] | None = None,
    ) -> Any:
        """Return the value of each rank, or what ``then`` returns, once no rank has failed.

        A signal may interrupt this rank only while others have not arrived, and the next call
        continues to wait for them: otherwise the ranks would not make the same MPI calls.
        """
        if self.comm is None:
            return [value]
        failure = None if error is None else f"{type(error).__name__}: {error}"
        while True:
            with uninterrupted() as signals:
                if not self._has_arrived(error, signals):
                    continue
                received = self.comm.allgather((failure, value))
                failures = {rank: text for rank, (text, _) in enumerate(received) if text}
                self._is_over = self._is_over or bool(failures)
                if not failures:
                    return [value for _, value in received] if then is None else then()
            break
        if failure is None:
            rank, reason = next(iter(failures.items()))
            msg = f"rank {rank} failed: {reason}"
            raise RankError(msg)
        return []

    def _has_arrived(self, error: BaseException | None, signals: list[int]) -> bool:
        """Wait for all ranks, without end or until the ``patience`` of this failed rank ends.

        Return False if signals arrive earlier, unless this rank has failed.
        """
        self._barrier, begin = self._barrier or self.comm.Ibarrier(), time.monotonic()
        while not self._barrier.Test():
            time.sleep(_PAUSE)
            if error is None and signals:
                return False
            while error is not None and self.comm.iprobe():
                self.comm.recv()  # A rank that waits until this is received would not answer.
            if error is None or self._patience is None:
                continue
            if time.monotonic() - begin > self._patience:
                traceback.print_exception(error)
                print(  # noqa: T201 - the last that is heard of the job
                    f"rank {self.rank} has failed, and the other ranks have not answered for "
                    f"{self._patience:g} s: the MPI job ends here",
                    file=sys.stderr,
                    flush=True,
                )
                self.before_abort()
                self.comm.Abort(1)
        self._barrier = None
        return True


def shared_arguments(
    target: Path, storage: StorageOptions, sections: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the arguments that all ranks must share, by name, for ``Team.check_same``.

    An identifier may be new on each rank; that of rank 0 is stored.
    """
    return {
        "target": str(target.resolve()),
        **{f"storage.{name}": value for name, value in asdict(storage).items()},
        **{
            f"metadata[{section!r}][{key!r}]": value
            for section, values in sections.items()
            for key, value in values.items()
            if key != "identifier"
        },
    }


def _comparable(value: Any) -> Any:
    """Return a value that all ranks can send and compare: a time, or text without addresses."""
    return value if isinstance(value, datetime) else _ADDRESS.sub("", repr(value))


def _agree(first: Any, second: Any) -> bool:
    if isinstance(first, datetime) and isinstance(second, datetime):
        return abs(first - second) < _CLOCKS
    return bool(first == second)


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@contextmanager
def together(comm: Communicator | None, patience: float | None = None) -> Iterator[Team]:
    """Yield the team of the ranks that enter the block. If one rank fails, all ranks fail.

    The failed rank raises its error when all ranks have left the block; the others raise RankError
    in their next collective call. If they make none for ``patience`` seconds, the failed rank ends
    the job. Without a communicator, the team is this process alone.

    Example
    -------
    >>> with together(None) as team:
    ...     team.broadcast("the same on all ranks")
    'the same on all ranks'

    """
    if comm is None or comm.size == 1:
        yield Team()
        return
    own = comm.Dup()
    try:
        team = Team(own, patience)
        try:
            yield team
            team.finish()
        except BaseException as error:
            team.fail(error)
            raise
    finally:
        # mpirun kills all processes when one fails: wait until all have cleaned up.
        own.Barrier()
        own.Free()


def _own_workers(comm: Any) -> int:
    """Return the number of threads of this rank: its part of the processors of the machine."""
    here = platform.node(), processors()
    return default_workers(comm.allgather(here).count(here))


@dataclass(frozen=True)
class Share:
    """The rows and columns of a matrix that one rank writes: whole chunks."""

    rows: range
    columns: range


def plan_share(layout: Layout, source_width: int, rank: int, size: int) -> Share:
    """Return the rows and columns that one of ``size`` ranks writes: columns of whole chunks.

    The rows are divided instead if data are contiguous, if there are fewer columns of chunks than
    ranks, or if several ranks would read the same chunks of the source, of width ``source_width``.

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
    """Return the part of ``range(length)`` of a rank, in multiples of ``step``."""
    steps = -(-length // step)
    start, stop = (steps * number // size * step for number in (rank, rank + 1))
    return range(min(start, length), min(stop, length))


@dataclass(frozen=True)
class _WritePlan:
    """The plan for a matrix, which rank 0 sends to the other ranks."""

    layout: Layout
    location: DatasetLocation | None
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
    """Write ``source``, shape (time, column), into the dataset of rank 0.

    All ranks pass the source. Only rank 0 passes the ``dataset``, its ``layout`` and the ``path``
    of its file; its ``progress`` is called with the number of bytes of each piece of all ranks.
    """
    planned = None
    if dataset is not None and layout is not None and path is not None:
        if team.size == 1:
            write_matrix(source, dataset, layout, path=path, workers=workers, progress=progress)
            return
        planned = _WritePlan(layout, locate_dataset(dataset), path, chunks_of(source)[1])
        if planned.location is not None:
            reserve_space(planned.location, path)
    plan: _WritePlan = team.broadcast(planned)
    writer = piece_writer(plan.location, plan.path, dataset)
    share = plan_share(plan.layout, plan.source_width, team.rank, team.size)
    cut = regions(source, plan.layout, share.columns, plan.path.parent, share.rows)
    workers = team.workers_for(plan.layout, workers)
    store_pieces(team, writer, encoded_pieces(writer, cut, plan.layout, workers), progress)


def store_pieces(
    team: Team,
    writer: PieceWriter,
    encoded: Generator[tuple[int, Any]],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Store the ``encoded`` pieces of all ranks with the ``writer`` of rank 0."""
    sent: list[Any] = []
    counts = [1]
    with closing(writer), closing(encoded):
        team.allgather()  # All ranks have opened the file: rank 0 may remove it if it fails.
        while any(counts):
            pieces = _next_round(encoded)
            for request in sent:
                request.wait()
            counts = team.allgather(len(pieces))
            if team.rank > 0:
                sent = [team.comm.isend(piece, dest=0, tag=_PIECE) for piece in pieces]
                continue
            for n_bytes, piece in _received(team, pieces, counts):
                writer.store(piece)
                if progress is not None:
                    progress(n_bytes)


def _next_round(encoded: Iterator[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Return the pieces that this rank encodes before the next collective call."""
    pieces, n_bytes = [], 0
    for size, piece in encoded:
        pieces.append((size, piece))
        n_bytes += 0 if piece is None else size
        if len(pieces) == _ROUND or n_bytes >= _ROUND_BYTES:
            break
    return pieces


def _received(
    team: Team, own: list[tuple[int, Any]], counts: list[int]
) -> Iterator[tuple[int, Any]]:
    """Yield the pieces of rank 0, then those of each other rank."""
    yield from own
    for rank in range(1, team.size):
        for _ in range(counts[rank]):
            yield team.receive(rank, _PIECE)
