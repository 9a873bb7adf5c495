"""Schedules of inputs, such as ``TimedArray``: they are read, and set so that they continue.

An input counts time steps of its own, from the start of the simulation or its last ``reset()``.
This position cannot be read: it is that of the network, unless this module has set the schedule.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ndx_simulation_output.errors import RestoreError

_TIMED = ("TimedArray", "TimedPoissonPopulation")
_SPIKES = "SpikeSourceArray"

_set_at: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()
"""The step at which the schedule of a population was set here, and its times at that time."""


def has_schedule(population: Any) -> bool:
    """Return True for a population whose schedule can be read and set."""
    return type(population).__name__ in (*_TIMED, _SPIKES)


def read_schedule(population: Any, step: int, dt: float) -> dict[str, Any]:
    """Return the schedule of an input, and its ``position`` at a step; times are in ms."""
    times = _times(population)
    set_at, times_then = _set_at.get(population, (0, None))
    if times != times_then or step < set_at:
        set_at = 0
    found: dict[str, Any] = {"position": (step - set_at) * dt}
    if type(population).__name__ == _SPIKES:
        return {"spike_times": times, **found}
    rates = np.asarray(population.rates, np.float64).tolist()
    return {"schedule": times, "rates": rates, "period": float(population.period), **found}


def set_schedule(population: Any, schedule: Mapping[str, Any], step: int, dt: float) -> None:
    """Restart an input with the part of a saved schedule that follows its position."""
    position = _steps(schedule["position"], dt)
    if type(population).__name__ == _SPIKES:
        spikes = [[_steps(time, dt) for time in times] for times in schedule["spike_times"]]
        ahead = [[time - position for time in times if time >= position] for times in spikes]
        nested = [[time * dt for time in times] for times in ahead]
        population.spike_times = nested[0] if _is_flat(population.spike_times) else nested
        # Before, ANNarchy 5 takes the first times as steps.
        population.reset()
    else:
        period = schedule["period"]
        period_steps = _steps(period, dt) if period > 0 else None
        steps = [_steps(time, dt) for time in schedule["schedule"]]
        entries = from_position(steps, position, period_steps)
        population.reset()
        if not entries:
            return
        # ANNarchy 4.8 truncates times to steps, so they are set a little later.
        population.schedule = np.array([(start + 0.25) * dt for start, _ in entries])
        population.rates = np.array([schedule["rates"][index] for _, index in entries])
        population.period = -1.0 if period_steps is None else (period_steps + 0.25) * dt
    _set_at[population] = (step, _times(population))


def check_schedule(population: Any, schedule: Any) -> None:
    """Raise RestoreError if a saved schedule is not one for this population."""
    is_spikes = type(population).__name__ == _SPIKES
    keys = {"spike_times"} if is_spikes else {"schedule", "rates", "period"}
    size = int(population.size)
    if not isinstance(schedule, Mapping) or schedule.keys() != {*keys, "position"}:
        msg = f"is not one of {type(population).__name__}"
        raise RestoreError(msg)
    try:
        if is_spikes:
            rows = [np.asarray(times, np.float64) for times in schedule["spike_times"]]
            times, fits = np.concatenate([*rows, np.zeros(0)]), bool(len(rows) == size)
        else:
            times = np.asarray(schedule["schedule"], np.float64)
            rates = np.asarray(schedule["rates"], np.float64)
            fits = times.ndim == 1 and rates.shape[:1] == times.shape and len(times) > 0
            fits = fits and bool(rates[0].size == size and np.isfinite(schedule["period"]))
        fits = fits and bool(np.isfinite([*times, float(schedule["position"])]).all())
    except (TypeError, ValueError) as error:
        msg = f"is not one of numbers: {error}"
        raise RestoreError(msg) from error
    if not fits:
        msg = f"does not fit the {size} neurons in the network"
        raise RestoreError(msg)


def _times(population: Any) -> Any:
    """Return the spike times or the schedule of an input in ms, as lists."""
    if type(population).__name__ == _SPIKES:
        times = population.spike_times
        return [np.asarray(row).tolist() for row in ([times] if _is_flat(times) else times)]
    return np.asarray(population.schedule, np.float64).tolist()


def _is_flat(spike_times: Any) -> bool:
    """Return True for times of a single neuron that are not nested in another list."""
    return len(spike_times) > 0 and not np.ndim(spike_times[0])


def _steps(time: float, dt: float) -> int:
    return round(float(time) / dt)


def from_position(steps: Sequence[int], position: int, period: int | None) -> list[tuple[int, int]]:
    """Return the start of each entry of a schedule counted from a position, and its index."""
    indices = [index for index, step in enumerate(steps) if period is None or step < period]
    is_first_cycle = period is None or position < period
    position = position if period is None else position % period
    past = [index for index in indices if steps[index] <= position]
    future = [index for index in indices if steps[index] > position]
    entries = [(0, past[-1])] if past else []
    if not past and not is_first_cycle:
        entries = [(0, future[-1])]
    entries += [(steps[index] - position, index) for index in future]
    if period is not None:
        again = [(period - position + steps[index], index) for index in past]
        entries += [(start, index) for start, index in again if start < period]
    return entries
