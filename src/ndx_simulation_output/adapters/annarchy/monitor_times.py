"""When a monitor took its samples, in time steps: what it says is checked by their number."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.recording import RegularTimes, Times, Timestamps

__all__ = ["Intervals", "Sampling", "labels_of", "times_of"]

Intervals = tuple[tuple[int, int], ...]
"""First time step of each, and the one after its last."""


@dataclass(frozen=True)
class Sampling:
    """A sample every ``period`` steps, ``offset`` after a multiple of it; dt is in ms.

    Periods are cut, not rounded: 0.3 ms at a dt of 0.1 ms is 2 steps.
    """

    dt: float
    period: int = 1
    offset: int = 0

    @classmethod
    def of_ms(cls, dt: float, period: float | None, offset: float | None) -> "Sampling":
        """Make it as ANNarchy does of what its user asked for, in ms."""
        steps = 1 if period is None else max(int(period / dt), 1)
        return cls(dt, steps, int((offset or 0.0) / dt))

    def labels(self, intervals: Intervals, phase: int = 0) -> NDArray[np.int64]:
        """Give the steps at which samples are taken; ``phase`` is the step of the monitor's birth.

        Example
        -------
        >>> Sampling(0.5, period=3, offset=1).labels(((0, 8), (20, 24))).tolist()
        [1, 4, 7, 22]

        """
        first = (phase + self.offset) % self.period
        parts = [
            np.arange(start + (first - start) % self.period, stop, self.period)
            for start, stop in intervals
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])


def labels_of(
    count: int, said: Sequence[Intervals], sampling: Sampling, where: str, *, late: bool = False
) -> tuple[NDArray[np.int64], Intervals]:
    """Give the steps of ``count`` samples, and the intervals that have as many.

    ``said`` are what the monitor says at different moments, the better first. A monitor that was
    started ``late`` says that it always ran: then samples are the last ones.

    Raises
    ------
    RecordingError
        If none of them has as many.

    """
    for intervals in said:
        fitting = [labels for labels in _phases(sampling, intervals) if len(labels) == count]
        if fitting:
            _warn_of_phases(fitting, sampling, where)
            return fitting[0], intervals
    if late and count and len(set(said)) == 1:
        for labels in _phases(sampling, said[0]):
            if len(labels) > count:
                return labels[-count:], _from(said[0], int(labels[-count]))
    expected = " or ".join(str(len(sampling.labels(intervals))) for intervals in said)
    msg = (
        f"{where} has {count} samples, and the intervals of its monitor would have {expected}: it "
        "was paused or started later, or the clock was set; say when it ran with intervals="
    )
    raise RecordingError(msg)


def times_of(labels: NDArray[np.int64], sampling: Sampling) -> Times:
    """Give the times of samples in seconds: regular ones unless there are gaps.

    Example
    -------
    >>> times_of(np.array([0, 2, 4]), Sampling(0.5, period=2))
    RegularTimes(start=0.0, rate=1000.0, count=3)

    """
    if (np.diff(labels) == sampling.period).all():
        rate = 1000 / (sampling.period * sampling.dt)
        return RegularTimes(int(labels[0]) * sampling.dt / 1000, rate, len(labels))
    return Timestamps(labels * sampling.dt / 1000)


def _phases(sampling: Sampling, intervals: Intervals) -> Iterator[NDArray[np.int64]]:
    """Give the steps for a monitor made before the network was compiled, and one made at first."""
    phases = [0, intervals[0][0] % sampling.period] if intervals else [0]
    for phase in dict.fromkeys(phases):
        yield sampling.labels(intervals, phase)


def _warn_of_phases(fitting: list[NDArray[np.int64]], sampling: Sampling, where: str) -> None:
    if len(fitting) > 1 and len(fitting[0]):
        shift = abs(int(fitting[1][0] - fitting[0][0])) * sampling.dt
        msg = (
            f"{where}: if its monitor was made after the network was compiled, its samples are off "
            f"by {shift:g} ms"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=2)


def _from(intervals: Intervals, first: int) -> Intervals:
    return tuple((max(start, first), stop) for start, stop in intervals if stop > first)
