"""What monitors of ANNarchy have recorded, as reports and spikes."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any, Protocol

import numpy as np

from ndx_simulation_output.adapters.annarchy.live import clock_of, simulator_version
from ndx_simulation_output.adapters.annarchy.monitor_times import (
    Intervals,
    Sampling,
    labels_of,
    times_of,
)
from ndx_simulation_output.adapters.annarchy.monitor_units import check_units, parsed_units
from ndx_simulation_output.adapters.annarchy.monitored import Monitored, monitored
from ndx_simulation_output.errors import (
    NameClashError,
    SimulationOutputWarning,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)

__all__ = ["LABELS", "LiveMonitor", "forget_times", "recordings"]

LABELS = (
    "The value after each sampled time step, at the time at which the step began, as ANNarchy "
    "counts it; a spike of a step has the same time"
)
"""What the time of a sample is, in words for who reads a file."""

_SPIKES = ("spike", "axon_spike")


class LiveMonitor(Protocol):
    """What is used of a monitor of ANNarchy."""

    object: Any
    variables: Sequence[str]

    def get(self, *, keep: bool, reshape: bool) -> Mapping[str, Any]:
        """Give what was recorded, by variable."""

    def times(self) -> Mapping[str, Mapping[str, Sequence[int | None]]]:
        """Give the first steps and ends of intervals, by variable."""


def recordings(
    monitors: Any,
    *,
    intervals: Mapping[Any, Sequence[tuple[float, float]]] | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Describe what a monitor, or several, have recorded; they keep it.

    ``intervals`` are when a monitor ran, in ms, for those that say it wrongly. ``unit`` are those
    of variables, such as ``{"v": "mV"}``. ``notes`` say what was left out.

    Raises
    ------
    RecordingError
        If the samples of a monitor are not as many as its intervals have, or are of another object
        than it says.
    NameClashError
        If monitors are of several networks, or two have spikes of some of the same neurons, at
        other times.
    UnitError
        If a unit is not understood.

    """
    given = parsed_units(unit)
    listed: list[LiveMonitor] = [monitors] if hasattr(monitors, "times") else list(monitors)
    _check_networks(listed)
    reports: list[Report] = []
    spikes: dict[str, Spikes] = {}
    notes: list[str] = []
    dt, clock = 0.0, None
    for monitor in listed:
        dt, clock = clock_of(monitor)
        said = _Said.of(monitor, Sampling.of_ms(dt, *_asked(monitor)), clock, intervals)
        what = monitored(monitor.object)
        for variable, recorded in said.recorded.items():
            if said.is_empty(variable):
                notes.append(f"left out: {variable} of {what.name}, which was not recorded")
            elif variable in _SPIKES:
                _add_spikes(spikes, _spikes(said, what, variable, recorded), notes)
            else:
                reports.append(_report(said, what, variable, recorded, given))
    check_units(reports, given)
    return SimulationOutput(
        reports=tuple(_named(reports)),
        spikes=tuple(spikes.values()),
        run=Run("ANNarchy", simulator_version(), dt / 1000 if listed else None),
        notes=tuple(notes),
        provenance={"format": "annarchy", "files": []},
    )


def _check_networks(monitors: Sequence[LiveMonitor]) -> None:
    """Refuse monitors of several networks: names and clocks of one say nothing of another."""
    count = len({getattr(monitor, "net_id", 0) for monitor in monitors})
    if count > 1:
        msg = f"these monitors are of {count} networks; expected those of one, to a file each"
        raise NameClashError(msg)


def forget_times(monitor: LiveMonitor) -> bool:
    """Let a monitor that has no samples yet begin at the clock of now; tell whether it has none."""
    recorded = monitor.get(keep=True, reshape=False)
    if any(_n_recorded(variable, values) for variable, values in recorded.items()):
        return False
    monitor.get(keep=False, reshape=False)
    return True


@dataclass(frozen=True)
class _Said:
    """What a monitor has recorded, and says of when; ``late`` if it was made without starting."""

    recorded: Mapping[str, Any]
    sampling: Sampling
    intervals: Mapping[str, tuple[Intervals, ...]]
    late: bool

    @classmethod
    def of(cls, monitor: Any, sampling: Sampling, clock: Any, given: Any) -> "_Said":
        # Reading moves the end of the last interval to now, even if the monitor is paused: what
        # it holds before may be the truth, or of when it was read before. times() is only of the
        # last reading.
        before = deepcopy(getattr(monitor, "_recorded_variables", {}))
        recorded = monitor.get(keep=True, reshape=False)
        after = monitor.times()
        late = not getattr(monitor, "_start", True)
        own = None if given is None else given.get(monitor)
        if own is not None:
            steps = tuple((round(a / sampling.dt), round(b / sampling.dt)) for a, b in own)
            return cls(recorded, sampling, dict.fromkeys(recorded, (steps,)), late=False)
        said = {
            name: tuple(
                _intervals(times[name], clock()) for times in (after, before) if name in times
            )
            for name in recorded
        }
        return cls(recorded, sampling, said, late)

    def is_empty(self, variable: str) -> bool:
        """Tell whether nothing was recorded; no spikes are nothing only beside no samples.

        What ANNarchy cannot record, such as ``axon_spike`` without a condition, is an empty list.
        """
        if variable in _SPIKES and not isinstance(self.recorded[variable], Mapping):
            return True
        counted = [name for name in self.recorded if name not in _SPIKES]
        names = counted if variable in _SPIKES else [variable]
        return bool(names) and not any(len(self.recorded[name]) for name in names)

    def spike_intervals(self, variable: str, where: str) -> Intervals | None:
        """Give when spikes were recorded: as other variables, whose samples can be counted."""
        for other, values in self.recorded.items():
            if other not in _SPIKES:
                return labels_of(
                    len(values), self.intervals[other], self.sampling, where, late=self.late
                )[1]
        said = self.intervals[variable]
        # An interval that begins where one ends is a pause in which the monitor was read.
        touching = any(a[1] == b[0] for a, b in pairwise(said[0]))
        if self.late or touching or len(set(said)) > 1:
            msg = (
                f"when the spikes of {where} were recorded is not known: their monitor has no "
                "other variable, and was paused, read before, or started later; say it with "
                "intervals="
            )
            warnings.warn(msg, SimulationOutputWarning, stacklevel=2)
            return None
        return said[0]


def _asked(monitor: Any) -> tuple[float | None, float | None]:
    """Give the period and offset that the user asked for, in ms: properties of it raise in 5.x."""
    return getattr(monitor, "_period", None), getattr(monitor, "_period_offset", None)


def _intervals(times: Mapping[str, Sequence[int | None]], now: int) -> Intervals:
    pairs = zip(times.get("start", ()), times.get("stop", ()), strict=True)
    return tuple((int(a or 0), now if b is None else int(b)) for a, b in pairs)


def _report(
    said: _Said, what: Monitored, variable: str, recorded: Any, units: Mapping[str, Unit]
) -> Report:
    where = f"{variable} of {what.name}"
    labels, _ = labels_of(
        len(recorded), said.intervals[variable], said.sampling, where, late=said.late
    )
    return Report(
        name=f"{what.name}_{variable}",
        report=what.name,
        data=what.values(variable, recorded),
        times=times_of(labels, said.sampling),
        compartments=what.table(variable),
        unit=units.get(variable, what.units.get(variable, UNKNOWN)),
        variable=variable,
        description=LABELS,
        provenance=what.facts,
    )


def _spikes(said: _Said, what: Monitored, variable: str, recorded: Mapping[int, Any]) -> Spikes:
    population = what.name if variable == _SPIKES[0] else f"{what.name}_{variable}"
    dt = said.sampling.dt
    counts = [len(labels) for labels in recorded.values()]
    ranks = np.array(list(recorded), np.int64)
    labels = np.array([label for one in recorded.values() for label in one], np.int64)
    found = said.spike_intervals(variable, what.name)
    return Spikes(
        population,
        np.repeat(ranks, counts),
        labels * dt / 1000,
        silent=ranks[np.array(counts) == 0] if 0 in counts else None,
        intervals=None if found is None else np.array(found, float).reshape(-1, 2) * dt / 1000,
    )


def _add_spikes(known: dict[str, Spikes], new: Spikes, notes: list[str]) -> None:
    """Add spikes of neurons that no other monitor has; those of a view may be in both."""
    old = known.get(new.population)
    if old is None:
        known[new.population] = new
        return
    if _has_all(new, old) and not _has_all(old, new):
        known[new.population] = new
    elif not _has_all(old, new):
        msg = f"two monitors have spikes of population {new.population!r}; give one of them"
        raise NameClashError(msg)
    notes.append(f"left out: spikes of {new.population} that another monitor has too")


def _has_all(one: Spikes, other: Spikes) -> bool:
    """Tell whether one has the neurons and spikes of another, and was recorded when that was."""
    found, wanted = (
        set(zip(spikes.node_ids.tolist(), spikes.times.tolist(), strict=True))
        for spikes in (one, other)
    )
    if one.intervals is None or other.intervals is None:
        is_covered = True
    else:
        known = one.intervals.tolist()
        is_covered = all(
            any(start <= first and last <= stop for start, stop in known)
            for first, last in other.intervals.tolist()
        )
    return is_covered and wanted <= found and _cells(other) <= _cells(one)


def _cells(spikes: Spikes) -> set[int]:
    silent = () if spikes.silent is None else spikes.silent.tolist()
    return {*spikes.node_ids.tolist(), *silent}


def _named(reports: Sequence[Report]) -> Iterator[Report]:
    """Give recordings of the same variable names with numbers."""
    taken: set[str] = set()
    for report in reports:
        names = (f"{report.name}_{number}" if number > 1 else report.name for number in count(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield replace(report, name=name)


def _n_recorded(variable: str, values: Any) -> int:
    is_spikes = variable in _SPIKES and isinstance(values, Mapping)
    return sum(map(len, values.values())) if is_spikes else len(values)
