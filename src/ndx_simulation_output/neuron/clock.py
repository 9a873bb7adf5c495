"""The time of a running NEURON model, and when each variable is sampled."""

import warnings
from collections.abc import Iterable
from typing import Any

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.neuron.variables import Variable

# Largest deviation from a whole number of steps, in steps, that is due to rounding.
_SLACK = 1e-6
# A longer fixed time step (ms) is probably the last one of CVode.
_LONG_STEP = 0.1


class Clock:
    """The time of a simulation, whose time step and integration method must not change."""

    def __init__(self, h: Any) -> None:
        self._h, self._context, self._cvode = h, h.ParallelContext(), h.CVode()
        self.is_fixed = not self._cvode.active()
        self.dt = float(h.dt)
        self._nsegs = {section: section.nseg for section in h.allsec()}
        self._changes = self._cvode.structure_change_count()
        if not self.is_fixed and self._cvode.use_local_dt():
            msg = (
                "each cell has its own time step (CVode.use_local_dt), so that cells cannot be "
                "recorded at the same times; expected h.CVode().use_local_dt(False)"
            )
            raise RecordingError(msg)
        if self.is_fixed and (self.dt > _LONG_STEP or abs(round(self.dt, 6) - self.dt) > 1e-12):
            msg = (
                f"h.dt is {self.dt} ms: switching CVode off leaves its last step there; set h.dt "
                "before recording if it is not intended"
            )
            warnings.warn(msg, SimulationOutputWarning, stacklevel=4)

    @property
    def time(self) -> float:
        """The time of the simulation in ms."""
        return float(self._context.t(0))

    @property
    def slack(self) -> float:
        """The largest difference in ms between the time of a step and its nominal time."""
        return self.dt / 4 if self.is_fixed else _SLACK

    def is_before(self, stop: float) -> bool:
        """Return True if there is another time step before or at ``stop`` (ms)."""
        if self.is_fixed:
            return self.time + self.dt <= stop + self.slack
        return self.time < stop - self.slack

    def initialize(self, v_init: float | None) -> None:
        """Initialize the simulation at ``v_init`` (mV), by default NEURON's ``h.v_init``."""
        self._context.set_maxstep(10)
        self._h.finitialize(getattr(self._h, "v_init", -65.0) if v_init is None else v_init)

    def advance(self, time: float) -> None:
        """Simulate until ``time`` (ms)."""
        # Add the slack, so that rounding does not omit the last time step.
        self._context.psolve(time + self.slack if self.is_fixed else time)

    def step(self) -> None:
        """Simulate one time step."""
        self._h.fadvance()

    def check(self) -> None:
        """Check that the integration method, time step and segments are those at the start."""
        if self.is_fixed == bool(self._cvode.active()):
            msg = f"CVode was switched {'on' if self.is_fixed else 'off'} while recording"
            raise RecordingError(msg)
        if self.is_fixed and self._h.dt != self.dt:
            msg = f"h.dt is {self._h.dt} ms; expected {self.dt} ms, as when the recording started"
            raise RecordingError(msg)
        changes = self._cvode.structure_change_count()
        if changes == self._changes:
            return
        self._changes = changes
        for section, expected in self._nsegs.items():
            if (nseg := _nseg(section)) != expected:
                msg = (
                    f"section {section} has {nseg} segments; expected {expected}, as when the "
                    "recording started: change a model before recording it"
                )
                raise RecordingError(msg)


def _nseg(section: Any) -> int:
    try:
        return int(section.nseg)
    except ReferenceError:  # The section was deleted.
        return 0


class Schedule:
    """The sample times (ms) of one variable: at intervals of ``every``, or at each time step."""

    def __init__(self, variable: Variable, clock: Clock) -> None:
        self._name, self._clock = variable.name, clock
        self._start, self._stop = variable.start, variable.stop
        self.every = variable.every
        if self.every is None and clock.is_fixed:
            self.every = clock.dt
        if self.every is not None and not self.every > 0:
            msg = f"the interval of {variable.name} is {self.every} ms; expected more than 0"
            raise RecordingError(msg)
        if clock.is_fixed:
            self._check_steps("interval", self.every)
            self._check_steps("start", self._start)
        self._n_samples, self._last = 0, float("-inf")

    @property
    def rate(self) -> float | None:
        """Samples per second, or None for those at CVode's own steps."""
        return None if self.every is None else 1000.0 / self.every

    @property
    def next(self) -> float | None:
        """The next sample time, infinite after the last; None if each step is sampled."""
        if self.every is None:
            return None
        time = self._start + self._n_samples * self.every
        is_over = self._stop is not None and time > self._stop + self._clock.slack
        return float("inf") if is_over else time

    def is_due(self, time: float) -> bool:
        """Return True and count the sample if the variable is to be sampled at ``time``."""
        expected = self.next
        if expected is None:
            return self._is_new(time)
        if time < expected - self._clock.slack:
            return False
        if time > expected + self._clock.slack:
            msg = (
                f"{self._name} was not sampled at {expected} ms, and the time is {time} ms: call "
                "sample() after finitialize() and after each time step"
                + ("" if self._clock.is_fixed else ", or use run(): the steps of CVode vary")
            )
            raise RecordingError(msg)
        self._n_samples += 1
        return True

    def _is_new(self, time: float) -> bool:
        """Return True if a step of CVode is to be sampled; steps at events may repeat a time."""
        is_new = self._last < time and self._start <= time
        if is_new and self._stop is not None:
            is_new = time <= self._stop
        if is_new:
            self._last = time
        return is_new

    def _check_steps(self, what: str, time: float | None) -> None:
        steps = (time or 0.0) / self._clock.dt
        if abs(steps - round(steps)) > _SLACK:
            msg = (
                f"the {what} of {self._name} is {time} ms; expected a multiple of the time step, "
                f"h.dt = {self._clock.dt} ms (CVode leaves its last step there)"
            )
            raise RecordingError(msg)


def next_time(schedules: Iterable[Schedule], stop: float) -> float | None:
    """Return the next sample time of all variables, at most ``stop``; None for each step."""
    times = [schedule.next for schedule in schedules]
    return None if None in times else min([stop, *(time for time in times if time is not None)])
