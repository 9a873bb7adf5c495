"""The ranks of an MPI job, who go on together or fail together.

Whatever a rank does alone may fail. So each step that the ranks do with each other begins with an
agreement, and a rank that fails takes part in that of the next step, to say so. Then all raise.
"""

import os
import pickle
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ndx_simulation_output.engine.workers import default_workers
from ndx_simulation_output.errors import RankError

__all__ = ["Communicator", "Team", "together"]

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
