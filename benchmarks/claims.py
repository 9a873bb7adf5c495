"""Goals, and whether measurements reach them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from measuring import Measured

__all__ = ["Claim", "Goal", "Section", "at_least", "at_most", "compare", "compare_memory"]


@dataclass(frozen=True)
class Goal:
    """A lower bound of the ratio other ÷ ours, or an upper bound of ours ÷ other."""

    number: float
    is_least: bool

    def ratio(self, ours: float, other: float) -> float:
        """Return the bounded ratio."""
        return other / ours if self.is_least else ours / other

    def is_reached(self, ratio: float) -> bool:
        """Return True if the ratio reaches the goal."""
        return ratio >= self.number if self.is_least else ratio <= self.number

    def __str__(self) -> str:
        """Return the goal as text."""
        if self.is_least:
            return f"other ÷ ours ≥ {self.number:.3g}"
        return f"ours ÷ other ≤ {self.number:.3g}"


def at_least(number: float) -> Goal:
    """Return the goal that other ÷ ours is at least this number."""
    return Goal(number, is_least=True)


def at_most(number: float) -> Goal:
    """Return the goal that ours ÷ other is at most this number."""
    return Goal(number, is_least=False)


@dataclass(frozen=True)
class Claim:
    """One row of a table: numbers of both methods for each round, and the goal of their ratio.

    ``problem`` states why there are no numbers.
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
        """Ratio of each round in which both methods ran."""
        pairs = zip(self.ours, self.others, strict=False)
        return [self.goal.ratio(ours, other) for ours, other in pairs]

    @property
    def is_reached(self) -> bool:
        """True if the median ratio reaches the goal."""
        return not self.problem and self.goal.is_reached(median(self.ratios))

    @property
    def has_failed(self) -> bool:
        """True if a method failed, False if it was only missing."""
        return self.problem.startswith("failed")


@dataclass(frozen=True)
class Section:
    """A section of the results: its claims, and text below them.

    ``has_broken`` is True if there are no claims because of an error.
    """

    title: str
    claims: Sequence[Claim]
    notes: Sequence[str] = ()
    has_broken: bool = False

    @property
    def has_failed(self) -> bool:
        """True if a method failed, False if it was only missing."""
        return self.has_broken or any(claim.has_failed for claim in self.claims)


def compare(
    measured: Measured, what: str, ours: str, other: str, goal: Goal, unit: str = "s"
) -> Claim:
    """Compare the wall times of two methods."""
    problem = measured.problem(ours, other)
    seconds = [[run.seconds for run in measured.runs.get(label, ())] for label in (ours, other)]
    return Claim(what, other, goal, *seconds, unit=unit, problem=problem)


def compare_memory(measured: Measured, ours: str, other: str, goal: Goal) -> Claim:
    """Compare the peak memory of two methods in MB, not counting mapped files."""
    what = f"memory of {ours}"
    problem = measured.problem(ours, other)
    if not problem and not {ours, other} <= set(measured.peaks):
        problem = "not measured: not available on this system"
    if problem:
        return Claim(what, other, goal, unit="MB", problem=problem)
    megabytes = [[measured.peaks[label] / 1e6] for label in (ours, other)]
    return Claim(what, other, goal, *megabytes, unit="MB")
