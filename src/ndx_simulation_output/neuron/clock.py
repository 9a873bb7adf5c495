"""The time of a running NEURON model, and when each variable is sampled."""

import math
import warnings
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.neuron.variables import Variable

# Largest deviation from a whole number of steps, in steps, that is due to rounding.
_SLACK = 1e-6
# A longer fixed time step (ms) is probably the last one of CVode.
_LONG_STEP = 0.1
# The number of samples of a run without end.
_MANY = 2**31


class Clock:
    """The time of a simulation, whose time step and method must not change after ``begin``.

    ``cvode`` and ``context`` are NEURON's ``CVode`` and ``ParallelContext``.
    """

    def __init__(self, h: Any) -> None:
        self._h = h
        self.context: Any = h.ParallelContext()
        self.cvode: Any = h.CVode()
        self._is_begun = self._is_ready = False
        self._read()
        self._nsegs = {section: (section.name(), section.nseg) for section in h.allsec()}
        self._changes = self.cvode.structure_change_count()
        if self.is_fixed and (self.dt > _LONG_STEP or abs(round(self.dt, 6) - self.dt) > 1e-12):
            msg = (
                f"h.dt is {self.dt} ms: switching CVode off leaves its last step there; set h.dt "
                "before recording if it is not intended"
            )
            warnings.warn(msg, SimulationOutputWarning, stacklevel=4)

    def begin(self) -> None:
        """Take the time step and method of now, which must not change from here on."""
        self._read()
        self._is_begun = True

    def close(self) -> None:
        """Forget the model. NEURON's stdrun.hoc cannot be loaded after some ``CVode`` objects."""
        self._nsegs, self.cvode, self.context = {}, None, None

    @property
    def is_now_fixed(self) -> bool:
        """True if NEURON has a fixed time step now."""
        return not self.cvode.active()

    @property
    def step_size(self) -> float:
        """The fixed time step of now in ms."""
        return float(self._h.dt)

    @property
    def time(self) -> float:
        """The time of the simulation in ms."""
        return float(self._h.t)

    @property
    def slack(self) -> float:
        """The largest difference in ms between the time of a step and its nominal time."""
        return self.dt / 4 if self.is_fixed else _SLACK

    def is_before(self, stop: float, now: float) -> bool:
        """Return True if there is another time step from ``now`` before or at ``stop`` (ms)."""
        return now + self.dt <= stop + self.slack if self.is_fixed else now < stop - self.slack

    def initialize(self, v_init: float | None) -> None:
        """Initialize the simulation at ``v_init`` (mV), by the user's ``init`` if hoc has one.

        By default, the potential is NEURON's ``h.v_init``.
        """
        self._get_ready()
        default = getattr(self._h, "v_init", None)
        if not hasattr(self._h, "init") or (v_init is not None and default is None):
            self.finitialize(v_init)
            return
        if v_init is not None:
            self._h.v_init = v_init
        try:
            self._h.init()
        finally:
            if v_init is not None:
                self._h.v_init = default

    def finitialize(self, v_init: float | None) -> None:
        """Initialize the simulation by NEURON's ``finitialize``."""
        self._h.finitialize(getattr(self._h, "v_init", -65.0) if v_init is None else v_init)

    def advance(self, time: float) -> None:
        """Simulate until ``time`` (ms)."""
        self._get_ready()
        # Add the slack, so that rounding does not omit the last time step.
        self.context.psolve(time + self.slack if self.is_fixed else time)

    def step(self) -> None:
        """Simulate one time step."""
        self._h.fadvance()

    def check(self) -> bool:
        """Check that method, time step and segments are those at the start.

        Return True if NEURON has changed the structure of the model since the last check.
        """
        if self._is_begun:
            self._check_step()
        changes = self.cvode.structure_change_count()
        if changes == self._changes:
            return False
        self._changes = changes
        for section, (name, expected) in self._nsegs.items():
            if (nseg := _nseg(section)) != expected:
                found = f"has {nseg} segments" if nseg else "was deleted"
                msg = (
                    f"section {name} {found}; expected {expected} segments, as when the "
                    "recording started: change a model before recording it"
                )
                raise RecordingError(msg)
        return True

    def _check_step(self) -> None:
        if self.is_fixed != self.is_now_fixed:
            msg = f"CVode was switched {'on' if self.is_fixed else 'off'} while recording"
            raise RecordingError(msg)
        if self.is_fixed and self._h.dt != self.dt:
            msg = f"h.dt is {self._h.dt} ms; expected {self.dt} ms, as when the recording started"
            raise RecordingError(msg)
        if not self.is_fixed:
            self.check_method()

    def check_method(self) -> None:
        """Check that all cells have the same time step."""
        if self.cvode.active() and self.cvode.use_local_dt():
            msg = (
                "each cell has its own time step (CVode.use_local_dt), so that cells cannot be "
                "recorded at the same times; expected h.CVode().use_local_dt(False)"
            )
            raise RecordingError(msg)

    def _read(self) -> None:
        self.is_fixed, self.dt = self.is_now_fixed, self.step_size
        self.check_method()

    def _get_ready(self) -> None:
        """Compute, in NEURON, the interval at which threads and ranks exchange events."""
        if not self._is_ready:
            self.context.set_maxstep(10)
            self._is_ready = True


def _nseg(section: Any) -> int:
    try:
        return int(section.nseg)
    except ReferenceError:  # The section was deleted.
        return 0


class Schedule:
    """The sample times (ms) of one variable: at intervals of ``every``, or at each time step."""

    def __init__(self, variable: Variable, clock: Clock) -> None:
        self._name, self._clock = variable.name, clock
        self._given, self._stop, self._every = variable.start, variable.stop, variable.every
        for what, value in (("interval", self._every), ("start", self._given)):
            _check_number(f"the {what} of {self._name}", value)
        _check_number(f"the stop of {self._name}", self._stop)
        if isinstance(self._every, np.floating):
            # The shortest decimal: 0.1 of float32 is meant as 0.1.
            self._every = float(str(self._every))
        if self._every is not None and not self._every > 0:
            msg = f"the interval of {variable.name} is {self._every} ms; expected more than 0"
            raise RecordingError(msg)
        self._is_fixed = clock.is_fixed
        self._set_times(0.0 if self._given is None else self._given)
        self._n_samples, self._last = 0, float("-inf")

    @property
    def first(self) -> float:
        """The earliest time of the first sample."""
        return 0.0 if self._given is None else self._given

    @property
    def is_each_step_of_cvode(self) -> bool:
        """True if the variable is sampled at the steps of CVode, which vary."""
        return self.every is None

    def begin(self, time: float) -> None:
        """Sample from ``time`` on, or from the start that was given, which is not before."""
        self.check_method()
        if self._given is not None and self._given < time - self._clock.slack:
            msg = (
                f"the start of {self._name} is {self._given} ms, and the time of the model is "
                f"{time} ms already; expected a start that is not before, or finitialize() first"
            )
            raise RecordingError(msg)
        self._set_times(max(time, 0.0) if self._given is None else self._given)

    def check_method(self) -> None:
        """Check that the steps are of the same kind as when the schedule was made."""
        if self._every is None and self._is_fixed != self._clock.is_now_fixed:
            msg = (
                f"CVode was switched {'on' if self._is_fixed else 'off'} after record() was "
                f"called, and {self._name} is recorded at each time step; switch it before"
            )
            raise RecordingError(msg)

    def _set_times(self, start: float) -> None:
        self._start = start
        self.every = self._clock.dt if self._every is None and self._is_fixed else self._every
        if self._clock.is_fixed:
            self._check_steps("interval", self.every)
            self._check_steps("start", self._given)
        if self._stop is not None and self._stop < start:
            msg = (
                f"the stop of {self._name} is {self._stop} ms, before its first sample at {start} "
                "ms; expected a later time"
            )
            raise RecordingError(msg)

    @property
    def times(self) -> tuple[float, float] | None:
        """Time of the first sample (s) and samples per second; None for CVode's own steps."""
        return None if self.every is None else (self._start / 1000.0, 1000.0 / self.every)

    def count(self, stop: float) -> int:
        """Return the number of samples in a run until ``stop``; 0 if it is not known."""
        if self.every is None:
            return 0
        last = stop if self._stop is None else min(stop, self._stop)
        return max(0, int(min((last + self._clock.slack - self._start) / self.every, _MANY)) + 1)

    def is_behind(self, time: float) -> bool:
        """Return True if the variable should have been sampled again by ``time``."""
        if self.every is None:
            stop = float("inf") if self._stop is None else self._stop
            return max(self._last, self._start) < min(time, stop) - self._clock.slack
        return (self.next or 0.0) < time - self._clock.slack

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


def _check_number(what: str, value: Any) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if value is not None and not (is_number and math.isfinite(value)):
        msg = f"{what} is {value!r}; expected a number of ms"
        raise RecordingError(msg)


def next_time(schedules: Iterable[Schedule], stop: float) -> float | None:
    """Return the next sample time of all variables, at most ``stop``; None for each step."""
    times = [schedule.next for schedule in schedules]
    return None if None in times else min([stop, *(time for time in times if time is not None)])
