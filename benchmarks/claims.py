"""What must be reached, and whether it was: arithmetic on numbers that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from measuring import Measured

__all__ = ["Claim", "Goal", "Section", "at_least", "at_most", "compare", "compare_memory"]


@dataclass(frozen=True)
class Goal:
    """A bound of the ratio: of the other to ours, which must reach it, or of ours to the other."""

    number: float
    is_least: bool

    def ratio(self, ours: float, other: float) -> float:
        """Give the ratio that is bounded."""
        return other / ours if self.is_least else ours / other

    def is_reached(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough."""
        return ratio >= self.number if self.is_least else ratio <= self.number

    def __str__(self) -> str:
        """Say what must hold."""
        if self.is_least:
            return f"other ÷ ours ≥ {self.number:.3g}"
        return f"ours ÷ other ≤ {self.number:.3g}"


def at_least(number: float) -> Goal:
    """Ask that the other takes so many times what ours takes."""
    return Goal(number, is_least=True)


def at_most(number: float) -> Goal:
    """Ask that ours takes at most so many times what the other takes."""
    return Goal(number, is_least=False)


@dataclass(frozen=True)
class Claim:
    """One row: numbers of ours and of the other, one for each round, and the goal of their ratio.

    ``problem`` says why there are no numbers.
    """

    what: str
    other: str
    goal: Goal
    ours: Sequence[float] = ()
    others: Sequence[float] = ()
    unit: str = "s"
    problem: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ratio of each round in which both ran."""
        pairs = zip(self.ours, self.others, strict=False)
        return [self.goal.ratio(ours, other) for ours, other in pairs]

    @property
    def is_reached(self) -> bool:
        """Whether the median ratio is good enough."""
        return not self.problem and self.goal.is_reached(median(self.ratios))

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong, rather than was missing."""
        return self.problem.startswith("failed")


@dataclass(frozen=True)
class Section:
    """A part of the results: its claims, and more text below them.

    ``has_broken`` if there are no claims because something went wrong.
    """

    title: str
    claims: Sequence[Claim]
    notes: Sequence[str] = ()
    has_broken: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong, rather than was missing."""
        return self.has_broken or any(claim.has_failed for claim in self.claims)


def compare(
    measured: Measured, what: str, ours: str, other: str, goal: Goal, unit: str = "s"
) -> Claim:
    """Claim about the wall seconds of two ways."""
    problem = measured.problem(ours, other)
    seconds = [[run.seconds for run in measured.runs.get(label, ())] for label in (ours, other)]
    return Claim(what, other, goal, *seconds, unit=unit, problem=problem)


def compare_memory(measured: Measured, ours: str, other: str, goal: Goal) -> Claim:
    """Claim about the most memory, in MB, that two ways were seen to hold."""
    what = f"memory of {ours}"
    problem = measured.problem(ours, other)
    if not problem and not {ours, other} <= set(measured.peaks):
        problem = "not measured: the system does not tell"
    if problem:
        return Claim(what, other, goal, unit="MB", problem=problem)
    megabytes = [[measured.peaks[label] / 1e6] for label in (ours, other)]
    return Claim(what, other, goal, *megabytes, unit="MB")
