"""Spikes of a run that goes on, in a file beside that of the run: they become ``Units`` at its end.

Each rank has a file of its own, to which frames are added. One that a crash has cut is left out.
"""

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ndx_simulation_output.engine.frames import append_frame, read_frames
from ndx_simulation_output.engine.journal import companions
from ndx_simulation_output.recording import Spikes

__all__ = ["Spool", "read_spools", "spools_of"]

_LENGTH = struct.Struct("<I")
_MANY = 2**14
"""Spikes that are kept in memory before they are written, if nothing is flushed."""


class Spool:
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
        if self._count > _MANY:
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


def spools_of(path: Path) -> list[Path]:
    """Give the files that hold spikes of the run that is written in the file ``path``, by rank.

    Raises
    ------
    OSError
        If the directory cannot be read.

    """
    found = [other for other in companions(path) if other.suffix == ".spikes"]
    return sorted(found, key=lambda other: (len(other.name), other.name))


def read_spools(paths: Iterable[Path]) -> list[Spikes]:
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
