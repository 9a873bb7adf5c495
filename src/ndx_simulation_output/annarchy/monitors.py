"""What monitors recorded, as reports and spikes."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.network import (
    base_of,
    clock_of,
    declared,
    pre_ranks_of,
    simulator_version,
)
from ndx_simulation_output.errors import (
    NameClashError,
    RecordingError,
    SimulationOutputWarning,
    UnitError,
    UnitWarning,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    CompartmentTable,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Times,
    Timestamps,
    Unit,
    parse_unit,
)

# Units of what monitors recorded: ANNarchy says none.


def parsed_units(texts: Mapping[str, str] | None) -> dict[str, Unit]:
    """Give the units that a caller says, by variable.

    Raises
    ------
    UnitError
        If one is not understood.

    """
    return {name: _parsed(name, text) for name, text in (texts or {}).items()}


def check_units(reports: Sequence[Report], given: Mapping[str, Unit]) -> None:
    """Warn of units that are not known.

    Raises
    ------
    UnitError
        If one is given for a variable that there is not.

    """
    variables = {report.variable for report in reports}
    if unused := sorted(set(given) - variables):
        msg = f"there is no variable {unused[0]!r}; expected one of {sorted(map(str, variables))}"
        raise UnitError(msg)
    unknown = {report.variable for report in reports if not report.unit.known}
    if unsaid := sorted(map(str, unknown - set(given))):
        msg = (
            f"ANNarchy says no unit of {', '.join(unsaid)}: stored as unknown; say them with "
            f'unit={{"{unsaid[0]}": …}}, "1" for none'
        )
        warnings.warn(msg, UnitWarning, stacklevel=4)


def _parsed(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit of {name} is {text!r}, which is not understood"
        raise UnitError(msg)
    return unit


# When a monitor took its samples, in time steps: what it says is checked by their number.

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


# What a monitor of ANNarchy looks at: its neurons or synapses as a table of columns.

_MANY = (list, np.ndarray)
_POTENTIALS = ("Izhikevich", "IF_", "EIF_", "HH_", "GIF_")


@dataclass(frozen=True)
class Monitored:
    """What the columns of a recording are.

    ``rows`` is the table for values of neurons, or of the post-synaptic neurons of a projection;
    ``synapses`` that for values of synapses. ``facts`` are for the way back, ``units`` are known.
    """

    name: str
    rows: CompartmentTable
    synapses: CompartmentTable | None
    localities: dict[str, str]
    facts: dict[str, Any]
    units: dict[str, Unit]

    def table(self, variable: str) -> CompartmentTable:
        """Give the table of the columns of a variable."""
        is_local = self.localities.get(variable, "local") == "local"
        return self.synapses if self.synapses is not None and is_local else self.rows

    def values(self, variable: str, recorded: Any) -> NDArray[Any]:
        """Give recorded values, shape (time, column), of the lists or arrays in which they come.

        Raises
        ------
        RecordingError
            If they do not fit the table, as when synapses were made or pruned.

        """
        table = self.table(variable)
        width = table.n_compartments
        if self.synapses is not None:
            self._check_rows(variable, recorded, table)
            recorded = [flat(sample) for sample in recorded]
        try:
            return np.reshape(np.asarray(recorded), (-1, width) if width else (len(recorded), 0))
        except ValueError as error:
            msg = f"{variable} of {self.name!r} does not fit its {width} columns: {error}"
            raise RecordingError(msg) from error

    def _check_rows(self, variable: str, recorded: Any, table: CompartmentTable) -> None:
        """Refuse samples of other synapses, which may be as many in all."""
        lengths = np.diff(np.asarray(table.ends), prepend=0).tolist()
        for sample in recorded:
            rows = sample if isinstance(sample, _MANY) else ()
            found = [len(row) for row in rows if isinstance(row, _MANY)]
            if found and found != lengths:
                msg = (
                    f"{variable} of {self.name!r} was recorded with other synapses than there are "
                    "now: some were made or pruned; take recordings before that"
                )
                raise RecordingError(msg)


def monitored(found: Any) -> Monitored:
    """Describe the object of a monitor.

    Raises
    ------
    RecordingError
        If it is a dendrite for which ANNarchy records another, or no object that is known.

    """
    if hasattr(found, "proj"):
        return _of_dendrite(found)
    if hasattr(found, "synapse_type"):
        return _of_projection(found, slice(None), found.name)
    if not hasattr(found, "neuron_type"):
        msg = f"a monitor of a {type(found).__name__} is not known; expected one of a population"
        raise RecordingError(msg)
    whole = base_of(found)
    ranks = np.arange(int(whole.size)) if whole is found else np.asarray(found.ranks)
    geometry = tuple(int(length) for length in whole.geometry)
    return Monitored(
        whole.name,
        population_table(whole.name, geometry, ranks),
        None,
        {},
        {"geometry": list(geometry)},
        _units_of(whole.neuron_type),
    )


def _units_of(model: Any) -> dict[str, Unit]:
    """Give units that the papers of ANNarchy's own models say; others are unknown."""
    kind = type(model)
    is_own = kind.__module__.startswith("ANNarchy.") and kind.__name__.startswith(_POTENTIALS)
    return {"v": Unit("volts", 1e-3)} if is_own else {}


def population_table(
    name: str, geometry: Sequence[int], ranks: NDArray[Any] | None = None
) -> CompartmentTable:
    """Give a table with a cell for each neuron: its rank, and its place ``grid_0`` … in a grid.

    Example
    -------
    >>> table = population_table("exc", (2, 3))
    >>> table.cell_columns["grid_1"].tolist()
    [0, 1, 2, 0, 1, 2]

    """
    ranks = np.arange(int(np.prod(geometry))) if ranks is None else ranks.astype(np.int64)
    ones = np.ones(len(ranks), np.int64)
    places = np.unravel_index(ranks, tuple(geometry)) if len(geometry) > 1 else ()
    columns = {f"grid_{axis}": place for axis, place in enumerate(places)}
    return CompartmentTable.from_counts(name, ranks, ones, {"number": ones - 1}, columns)


def flat(sample: Any) -> list[Any]:
    """Give the values of all rows one after the other; of one synapse there is only a number.

    Example
    -------
    >>> flat([[0.1, 0.2], [0.3]])
    [0.1, 0.2, 0.3]

    """
    if not isinstance(sample, _MANY):
        return [sample]
    found: list[Any] = []
    for row in sample:
        found.extend(row if isinstance(row, _MANY) else [row])
    return found


def _of_projection(projection: Any, rows: slice, name: str) -> Monitored:
    ranks = np.asarray(projection.post_ranks, np.int64)[rows]
    pre_ranks = pre_ranks_of(projection)[rows]
    post = base_of(projection.post).name
    counts = np.array([len(row) for row in pre_ranks], np.int64)
    numbers = [number for row in pre_ranks for number in range(len(row))]
    columns = {
        "number": np.array(numbers, np.int64),
        "pre_rank": np.array([rank for row in pre_ranks for rank in row], np.int64),
    }
    facts = {"pre": base_of(projection.pre).name, "post": post, "projection": projection.name}
    return Monitored(
        name,
        population_table(post, (len(ranks),), ranks),
        CompartmentTable.from_counts(post, ranks, counts, columns),
        {key: str(one["locality"]) for key, one in declared(projection).items()},
        facts,
        {},
    )


def _of_dendrite(dendrite: Any) -> Monitored:
    projection, rank = dendrite.proj, int(dendrite.post_rank)
    row = [int(one) for one in projection.post_ranks].index(rank)
    if row != rank:
        msg = (
            f"the monitor of the dendrite of neuron {rank} in {projection.name!r} has recorded "
            "that of another: ANNarchy takes its row for a rank, and neurons before it have no "
            "synapses; monitor the projection"
        )
        raise RecordingError(msg)
    return _of_projection(projection, slice(row, row + 1), f"{projection.name}_{rank}")


# What monitors of ANNarchy have recorded, as reports and spikes.

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
