"""Queries, the processes that answer them, and the comparison of the answers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from asking import Answerer
from bench import Bench
from claims import Claim, Goal, at_least, at_most
from environments import LIBSONATA
from inputs.size import Size
from query import Query

__all__ = [
    "CHECKED",
    "COLD",
    "LIMIT",
    "NWB",
    "NWB_LIMIT",
    "OTHER",
    "REPEATED",
    "SONATA",
    "WARM",
    "Answers",
    "Question",
    "answerers",
    "check_equal",
]

SONATA, NWB = "ours, SONATA file", "ours, NWB file"
OTHER = "libsonata, SONATA file"
LIMIT = "numpy, memory-mapped SONATA file"
NWB_LIMIT = "numpy, memory-mapped NWB file"
CHECKED = "numpy and the same checks, SONATA file"
MANY, WINDOW = 100, 100
MILLI = np.float32(1e-3)


@dataclass(frozen=True)
class Question:
    """A kind of query: numbers of cells and frames, and our goals.

    They are random, or begin ``step`` cells or frames after those of the last query.
    """

    name: str
    cells: int | None
    frames: int | None
    repetitions: int
    goals: Mapping[str, Goal] = field(compare=False)
    step: int | None = None

    def queries(self, bench: Bench) -> Iterator[Query]:
        """Yield queries of this kind: those that are counted, and one before them."""
        rng = np.random.default_rng(self.repetitions)
        size = bench.size
        frames = min(self.frames or size.frames, size.frames)
        for number in range(1 + max(1, self.repetitions * bench.repeats // 5)):
            if self.step is not None:
                yield self._next(self.step * number, size)
                continue
            cells = None
            if self.cells is not None:
                chosen = rng.choice(size.cells, min(self.cells, size.cells), replace=False)
                cells = tuple(chosen.tolist())
            yield Query(cells, int(rng.integers(0, size.frames - frames + 1)), frames)

    def _next(self, first: int, size: Size) -> Query:
        """Return the query that begins at this cell or, if it has all cells, at this frame."""
        if self.cells is None:
            frames = self.frames or size.frames
            return Query(None, first % (size.frames - frames + 1), frames)
        cells = min(self.cells, size.cells)
        first %= size.cells - cells + 1
        return Query(tuple(range(first, first + cells)), 0, size.frames)


def _warm(
    name: str, cells: int | None, frames: int | None, times: int, sonata: float, nwb: float
) -> Question:
    return Question(name, cells, frames, times, {SONATA: at_least(sonata), NWB: at_least(nwb)})


WARM = (
    _warm("one cell, all times", 1, None, 40, sonata=50, nwb=20),
    _warm("one frame, all cells", None, 1, 100, sonata=5, nwb=0.7),
    _warm(f"{MANY} cells, {WINDOW} frames", MANY, WINDOW, 40, sonata=1.5, nwb=1),
    _warm(f"{MANY} cells, all times", MANY, None, 8, sonata=2.5, nwb=2.5),
)
COLD = (
    Question("one cell, all times", 1, None, 5, {NWB: at_least(5)}),
    Question(f"{MANY} cells, all times", MANY, None, 5, {NWB: at_least(5)}),
)

_ONCE = {SONATA: at_most(1), NWB: at_most(1)}
REPEATED = (
    Question("the same cell again", 1, None, 100, _ONCE, step=0),
    Question("the next cell", 1, None, 40, _ONCE, step=1),
    Question("the next frame", None, 1, 40, _ONCE, step=1),
)


@dataclass
class Answers:
    """Seconds of each answerer for each query, and the errors of those that failed."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def claim(
        self, question: Question, ours: str, other: str = OTHER, goal: Goal | None = None
    ) -> Claim:
        """Claim about the same queries to ours and to another, by default with their goal."""
        problem = self.problems.get(ours) or self.problems.get(other) or ""
        numbers = [self.seconds.get(label, ()) for label in (ours, other)]
        what = f"{question.name} ({ours.removeprefix('ours, ')})"
        return Claim(what, other, goal or question.goals[ours], *numbers, problem=problem)


def answerers(bench: Bench) -> dict[str, tuple[Path, Callable[[], Answerer]]]:
    """Return the file of each answerer and how to start it."""
    report, converted = bench.report(), bench.converted()
    libsonata = bench.python_of(LIBSONATA)
    return {
        SONATA: (report, lambda: Answerer("reading:ours", report)),
        NWB: (converted, lambda: Answerer("reading:ours", converted)),
        OTHER: (report, lambda: Answerer("libsonata_reading:report", report, libsonata)),
        LIMIT: (report, lambda: Answerer("reading:mapped", report)),
        NWB_LIMIT: (converted, lambda: Answerer("reading:mapped_chunks", converted)),
        CHECKED: (report, lambda: Answerer("reading:checked", report)),
    }


def check_equal(scratch: Path, one: Answerer, other: Answerer, query: Query) -> None:
    """Raise an error unless both return the same values: ours in volts, the others in mV.

    Raises
    ------
    ValueError
        If they differ.

    """
    paths = scratch / "one.npy", scratch / "other.npy"
    try:
        one.ask(query, paths[0])
        other.ask(query, paths[1])
        found, expected = (np.load(path) for path in paths)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    if found.shape != expected.shape:
        msg = f"values have shape {found.shape}; expected {expected.shape}"
        raise ValueError(msg)
    if not (np.array_equal(found, expected) or np.allclose(found, expected * MILLI, rtol=1e-5)):
        msg = f"values differ for {len(query.cells or ()) or 'all'} cells"
        raise ValueError(msg)
