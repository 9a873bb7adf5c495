"""Read recordings of monitors from memory and from files of ANNarchy."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import h5py
import numpy as np

from ndx_simulation_output.annarchy.containers import load_npy
from ndx_simulation_output.annarchy.network import clock_of, population_of, simulator_version
from ndx_simulation_output.annarchy.reading import SIMULATOR, to_seconds
from ndx_simulation_output.annarchy.samples import (
    TIME_CONVENTION,
    Intervals,
    Labels,
    MonitorColumns,
    Reported,
    Sampling,
    check_units,
    columns_of,
    flatten,
    labels_of,
    parse_units,
    population_table,
    times_of,
)
from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    RecordingError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
    file_errors,
    source_errors,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    LazyArray,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Times,
    Unit,
)
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.storage.reading import wrap_array
from ndx_simulation_output.storage.sources import open_source, without_trust

_SPIKES = ("spike", "axon_spike")

_TOLERANCE = 1e-3

_PHASES: WeakKeyDictionary[Any, tuple[int, int, int]] = WeakKeyDictionary()
"""Period, offset and phase of monitors, which they do not report after they are emptied."""


def recordings(
    monitors: Any,
    *,
    intervals: Mapping[Any, Sequence[tuple[float, float]]] | None = None,
    start: Mapping[Any, float] | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Return the recordings of one or several monitors of a network, without clearing them.

    The arguments and errors are those of ``add_recordings``, except the NWB file.

    Example
    -------
    >>> recordings(network.get_monitors(), unit={"v": "mV"}).notes  # doctest: +SKIP

    """
    units = parse_units(unit)
    pairs = list(_flatten(monitors))
    _check_networks([monitor for monitor, _ in pairs])
    names: dict[Any, str] = {}
    for monitor, name in pairs:
        names.setdefault(monitor, name)
    ran, first = _by_monitor(intervals, "intervals", names), _by_monitor(start, "start", names)
    found = _Found()
    time_step = None
    for number, (monitor, name) in enumerate(names.items(), 1):
        dt, clock = clock_of(monitor)
        time_step = to_seconds(1, dt)
        where = f"{name}, monitor {number} of {len(names)}"
        found.add(monitor, where, dt, clock(), ran.get(monitor), first.get(monitor), units)
    if found.failures and not found.reports and not found.spikes:
        raise found.failures[0]
    check_units(found.reports, units, found.left_out)
    return SimulationOutput(
        reports=tuple(_with_distinct_names(found.reports)),
        spikes=tuple(found.spikes.values()),
        run=Run(SIMULATOR, simulator_version(), time_step),
        notes=tuple(found.notes),
        provenance={"format": "annarchy", "files": []},
    )


def restart_at_current_step(monitor: Any) -> bool:
    """Restart a monitor without samples at the current step; return False if it has samples."""
    if getattr(monitor, "cyInstance", None) is None:
        return True
    dt, _ = clock_of(monitor)
    _remember(monitor, _sampling_of(monitor, dt))
    values, _ = _read(monitor)
    if any(_count(variable, found) for variable, found in values.items()):
        return False
    monitor.get(keep=False, reshape=False)
    return True


def _flatten(given: Any, name: str | None = None) -> Iterator[tuple[Any, str]]:
    """Yield each monitor and its name, or its key in a mapping.

    The object of ``boldmonitor()`` holds the monitor of its BOLD model.
    """
    if _is_monitor(given):
        yield given, name or str(getattr(given, "name", "a monitor"))
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield from _flatten(value, str(key))
    elif isinstance(given, Iterable) and not hasattr(given, "neuron_type"):
        for one in given:
            yield from _flatten(one, name)
    elif inner := _monitors_in(given):
        for monitor in inner:
            yield monitor, name or str(getattr(given, "name", "a BOLD monitor"))
    else:
        msg = (
            f"found a {type(given).__name__}; expected a monitor of ANNarchy, or several, such as "
            "network.get_monitors()"
        )
        raise RecordingError(msg)


def _is_monitor(given: Any) -> bool:
    return hasattr(given, "times") and hasattr(given, "variables") and hasattr(given, "get")


def _monitors_in(given: Any) -> list[Any]:
    values = getattr(given, "__dict__", {}).values()
    nested = (one if isinstance(one, (list, tuple)) else [one] for one in values)
    return [monitor for some in nested for monitor in some if _is_monitor(monitor)]


def _by_monitor(given: Mapping[Any, Any] | None, argument: str, known: Mapping[Any, str]) -> Any:
    """Return values by monitor; the key of a BOLD monitor stands for the monitor in it."""
    by_monitor = {
        monitor: value for key, value in (given or {}).items() for monitor, _ in _flatten(key)
    }
    for monitor in by_monitor:
        if monitor not in known:
            msg = (
                f"{argument} has {getattr(monitor, 'name', 'a monitor')}, which is not among the "
                f"{len(known)} monitors whose recordings are read"
            )
            raise RecordingError(msg)
    return by_monitor


def _check_networks(monitors: Sequence[Any]) -> None:
    n_networks = len({getattr(monitor, "net_id", 0) for monitor in monitors})
    if n_networks > 1:
        msg = (
            f"the monitors belong to {n_networks} networks; expected those of one network for "
            "each file"
        )
        raise NameClashError(msg)


class _Found:
    """The recordings of monitors, and what was left out of them."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.spikes: dict[str, Spikes] = {}
        self.notes: list[str] = []
        self.failures: list[RecordingError] = []
        self.left_out: set[str] = set()
        self._owners: dict[str, Any] = {}

    def add(
        self,
        monitor: Any,
        where: str,
        dt: float,
        now: int,
        ran: Sequence[tuple[float, float]] | None,
        start: float | None,
        units: Mapping[str, Unit],
    ) -> None:
        """Add the recordings of a monitor; only its times raise an error."""
        try:
            columns = self._with_own_name(columns_of(monitor.object), monitor.object)
            _check_running(monitor, columns.name)
        except RecordingError as error:
            self._leave_out(error, monitor.variables)
            return
        samples = _Samples.read(monitor, dt, now, ran, start)
        for variable, problem in samples.unreadable.items():
            msg = f"{variable} of {columns.name}, which ANNarchy cannot read: {problem}"
            self._leave_out(RecordingError(msg), [variable])
        for variable, values in samples.values.items():
            if samples.is_empty(variable):
                self.notes.append(f"left out: {variable} of {columns.name}, which was not recorded")
                self.left_out.add(variable)
                continue
            if variable in _SPIKES:
                spikes = _spikes(samples, columns, variable, values)
                _add_spikes(self.spikes, spikes, self.notes)
                continue
            labels = samples.labels(variable, f"{variable} of {columns.name} ({where})").values
            times = times_of(labels, samples.sampling)
            try:
                report = _report(samples.sampling, columns, variable, values, times, where, units)
            except RecordingError as error:
                self._leave_out(error, [variable])
            else:
                self.reports.append(report)

    def _leave_out(self, error: RecordingError, variables: Iterable[str]) -> None:
        self.failures.append(error)
        self.notes.append(f"left out: {error}")
        self.left_out.update(variables)

    def _with_own_name(self, columns: MonitorColumns, recorded: Any) -> MonitorColumns:
        """Return the columns with a number in the name if another object has this name."""
        owner = getattr(recorded, "proj", population_of(recorded))
        others = [name for name, other in self._owners.items() if other is not owner]
        name = free_name(columns.name, others)
        self._owners[name] = owner
        if name == columns.name:
            return columns
        note = f"two parts are named {columns.name}; the recordings of one are named {name}"
        if note not in self.notes:
            self.notes.append(note)
        if columns.synapses is not None:
            return replace(columns, name=name)
        return replace(columns, name=name, neurons=replace(columns.neurons, population=name))


def _check_running(monitor: Any, where: str) -> None:
    if getattr(monitor, "cyInstance", None) is None:
        compiled = getattr(getattr(monitor.object, "proj", monitor.object), "initialized", True)
        msg = f"the monitor of {where} " + (
            "was stopped, which deletes its recordings; use pause() instead"
            if compiled
            else "has recorded nothing: its network is not compiled yet"
        )
        raise RecordingError(msg)


# What a monitor recorded and when, as far as it reports it


def _read(monitor: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of each variable, or why ANNarchy cannot read it.

    ``get`` sets the end of the last interval to the current step even if the monitor is paused:
    what the monitor reports is restored.
    """
    values, unreadable = {}, {}
    reported = [getattr(monitor, name, {}) for name in _REPORTED]
    kept = deepcopy(reported)
    for variable in dict.fromkeys([*monitor.variables, *reported[0]]):
        try:
            found = monitor.get(variable, keep=True, reshape=False)
        except Exception as error:  # noqa: BLE001 - any error of generated code
            unreadable[variable] = " ".join(str(error).split()) or type(error).__name__
        else:
            values[variable] = found
    for changed, before in zip(reported, kept, strict=True):
        changed.clear()
        changed.update(before)
    return values, unreadable


_REPORTED = ("_recorded_variables", "_last_recorded_variables")


def _count(variable: str, values: Any) -> int:
    """Return the number of samples or spikes."""
    if variable in _SPIKES and isinstance(values, Mapping):
        return sum(map(len, values.values()))
    return len(values)


def _sampling_of(monitor: Any, dt: float) -> Sampling:
    # The public properties raise in ANNarchy 5.
    declared = Sampling.from_ms(
        dt, getattr(monitor, "_period", None), getattr(monitor, "_period_offset", None)
    )
    # ANNarchy 4 does not update these if the period is changed.
    changed = {
        field: value
        for field, name in (("period", "period"), ("offset", "period_offset"))
        if isinstance(value := getattr(monitor.cyInstance, name, None), int)
    }
    return replace(declared, **changed)


def _remember(monitor: Any, sampling: Sampling, phase: int | None = None) -> int | None:
    """Return the phase of a monitor if it is known, and keep it for when it is emptied."""
    period, offset, known = _PHASES.get(monitor, (0, 0, 0))
    if phase is None and (period, offset) == (sampling.period, sampling.offset):
        phase = known
    if phase is None and sampling == Sampling.from_ms(
        sampling.dt, getattr(monitor, "_period", None), getattr(monitor, "_period_offset", None)
    ):
        phase = _reported_phase(monitor)
    if phase is not None:
        _PHASES[monitor] = (sampling.period, sampling.offset, phase % sampling.period)
    return phase


def _reported_phase(monitor: Any) -> int | None:
    """Return the step at which a monitor was created if it is the first that it reports.

    It is unknown if the first interval may be that of an emptied monitor.
    """
    current, last = (getattr(monitor, name, {}) for name in _REPORTED)
    starts = [
        (found["start"][0], not _was_read(current[variable], last.get(variable)))
        for variable in current
        for found in (current[variable], last.get(variable, current[variable]))
        if found["start"]
    ]
    if not starts:
        return None
    first = min(start for start, _ in starts)
    is_creation = all(known for start, known in starts if start == first)
    return int(first) if is_creation or first == 0 else None


def _was_read(current: Mapping[str, Any], last: Mapping[str, Any] | None) -> bool:
    """Return True if ``get`` may have been called since the monitor was created or reset."""
    if last is None:
        return False
    is_first = last["start"][:1] == current["start"][:1] and last["stop"][:1] == [None]
    # An interval without an end before another one begins when a paused monitor is emptied.
    return not is_first or None in current["stop"][:-1]


def _is_recording(monitor: Any) -> bool | None:
    """Return False if a monitor is paused or was not started, None if that is unknown."""
    flags = [
        flag
        for variable in monitor.variables
        if isinstance(
            flag := getattr(
                monitor.cyInstance,
                "record_" + variable.replace("sum(", "_sum_").replace(")", ""),
                None,
            ),
            bool,
        )
    ]
    return any(flags) if flags else None


@dataclass(frozen=True)
class _Samples:
    """Recorded values of a monitor, and the intervals that it reports for each variable.

    ``first`` is the label of the first sample, if the user passed it. ``trusted`` are variables
    whose intervals can be used although no number of samples confirms them.
    """

    monitor: Any
    values: Mapping[str, Any]
    unreadable: Mapping[str, str]
    sampling: Sampling
    reported: Mapping[str, Reported]
    trusted: frozenset[str]
    first: int | None

    @classmethod
    def read(
        cls,
        monitor: Any,
        dt: float,
        now: int,
        ran: Sequence[tuple[float, float]] | None,
        start: float | None,
    ) -> "_Samples":
        sampling = _sampling_of(monitor, dt)
        first = None if start is None else _first_label(start, sampling)
        _remember(monitor, sampling)
        current, last = (getattr(monitor, name, {}) for name in _REPORTED)
        is_late, is_recording = not getattr(monitor, "_start", True), _is_recording(monitor)
        reported, trusted = {}, set()
        for variable, times in current.items():
            was_read = _was_read(times, last.get(variable))
            is_new = times["stop"] == [None]
            if ran is not None:
                reported[variable] = Reported(_given_intervals(ran, sampling))
                trusted.add(variable)
                continue
            widest, narrow = (
                _intervals(times, now, first, is_recording=is_recording, paused=paused)
                for paused in (False, True)
            )
            exact = is_new and is_recording is not False
            is_same = narrow == widest
            reported[variable] = Reported(widest, exact, is_late, None if is_same else narrow)
            was_restarted = bool(is_recording) and times["stop"][-1:] != [None]
            if not is_late and widest and is_same and (exact or not (was_read or was_restarted)):
                trusted.add(variable)
        values, unreadable = _read(monitor)
        return cls(monitor, values, unreadable, sampling, reported, frozenset(trusted), first)

    def labels(self, variable: str, where: str) -> Labels:
        """Return the labels and intervals of the samples of a variable."""
        labels = labels_of(
            _count(variable, self.values[variable]),
            self.reported[variable],
            self.sampling,
            where,
            phase=_remember(self.monitor, self.sampling),
            first=self.first,
        )
        _remember(self.monitor, self.sampling, labels.phase)
        return labels

    def is_empty(self, variable: str) -> bool:
        """Return True if a variable was not recorded.

        If there are no spikes, samples of other variables show whether the monitor ran. Spikes that
        ANNarchy cannot record, such as ``axon_spike`` without a condition, are an empty list.
        """
        values = self.values[variable]
        if variable not in _SPIKES:
            return not len(values)
        if not isinstance(values, Mapping):
            return True
        if any(_count(name, found) for name, found in self.values.items()):
            return False
        reported = self.reported[variable]
        return reported.late or not reported.intervals

    def spike_intervals(self, variable: str, where: str) -> Intervals | None:
        """Return the intervals of spikes, if possible those of another variable."""
        for sampled, values in self.values.items():
            if sampled not in _SPIKES and len(values):
                return self.labels(sampled, f"{sampled} of {where}").intervals
        if variable in self.trusted:
            return self.reported[variable].intervals
        msg = (
            f"the spikes of {where} have no intervals: their monitor was paused, read before "
            "or started later, and has no other variable to check its intervals; pass the "
            "times in ms at which it ran as intervals={monitor: [(start, stop), ...]}"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=2)
        return None


def _first_label(start: float, sampling: Sampling) -> int:
    steps = float(start) / sampling.dt
    if not abs(steps - np.rint(steps)) < _TOLERANCE or steps < 0:
        msg = f"start is {start} ms; expected the time of one of the steps of {sampling.dt:g} ms"
        raise RecordingError(msg)
    return round(steps)


def _given_intervals(ran: Sequence[tuple[float, float]], sampling: Sampling) -> Intervals:
    steps = tuple((round(a / sampling.dt), round(b / sampling.dt)) for a, b in ran)
    if not _ascend(steps):
        msg = f"the intervals are {list(ran)}; expected pairs of times in ms in ascending order"
        raise RecordingError(msg)
    return steps


def _intervals(
    times: Mapping[str, Sequence[int | None]],
    now: int,
    first: int | None,
    *,
    is_recording: bool | None,
    paused: bool,
) -> Intervals:
    """Return intervals that contain all samples, or none if the clock was set back.

    An interval without an end, except the last one, began when the monitor was emptied while it was
    ``paused``, or it was resumed while it ran.
    """
    starts = [int(start or 0) for start in times["start"]]
    unknown = starts if paused else [*starts[1:], *starts[-1:]]
    stops = [
        other if stop is None else int(stop)
        for other, stop in zip(unknown, times["stop"], strict=True)
    ]
    if starts and (is_recording or (is_recording is None and times["stop"][-1] is None)):
        stops[-1] = now
    pairs = tuple(zip(starts, stops, strict=True))
    if not _ascend(pairs):
        return () if first is None else ((first, now),)
    return tuple((start, stop) for start, stop in pairs if start < stop)


def _ascend(pairs: Intervals) -> bool:
    edges = [edge for pair in pairs for edge in pair]
    return all(a <= b for a, b in pairwise(edges))


def _report(
    sampling: Sampling,
    columns: MonitorColumns,
    variable: str,
    values: Any,
    times: Times,
    where: str,
    units: Mapping[str, Unit],
) -> Report:
    whole = f"; one value for the whole {columns.kind}" if columns.is_global(variable) else ""
    return Report(
        name=f"{columns.name}_{variable}",
        report=columns.name,
        data=columns.values(variable, values),
        times=times,
        compartments=columns.table(variable),
        unit=units.get(variable, columns.units.get(variable, UNKNOWN)),
        variable=variable,
        description=(
            f"{TIME_CONVENTION}. Recorded by {where}, with a sample every "
            f"{sampling.in_ms(sampling.period):g} ms{whole}"
        ),
        provenance=columns.provenance,
    )


def _with_distinct_names(reports: Sequence[Report]) -> Iterator[Report]:
    """Yield the reports; names that are repeated, or equal in NWB, get a number."""
    used: set[str] = set()
    for report in reports:
        stored = free_name(re.sub("[/:]", "_", report.name), used)
        used.add(stored)
        yield replace(report, name=report.name + stored[len(report.name) :])


def _spikes(
    samples: _Samples, columns: MonitorColumns, variable: str, values: Mapping[int, Any]
) -> Spikes:
    counts = [len(labels) for labels in values.values()]
    ranks = np.array(list(values), np.int64)
    labels = np.array([label for train in values.values() for label in train], np.int64)
    intervals = samples.spike_intervals(variable, columns.name)
    if intervals and len(labels) and labels.min() < intervals[0][0]:
        # A monitor that was started late may have spikes before its first sample.
        intervals = ((int(labels.min()), intervals[0][1]), *intervals[1:])
    dt = samples.sampling.dt
    return Spikes(
        columns.name if variable == _SPIKES[0] else f"{columns.name}_{variable}",
        np.repeat(ranks, counts),
        to_seconds(labels, dt),
        silent=ranks[np.array(counts) == 0] if 0 in counts else None,
        intervals=(
            None
            if intervals is None
            else to_seconds(np.array(intervals, np.int64).reshape(-1, 2), dt)
        ),
    )


def _add_spikes(known: dict[str, Spikes], new: Spikes, notes: list[str]) -> None:
    """Add spikes to ``known``; of two recordings of a population, use the more complete one."""
    old = known.get(new.population)
    if old is None:
        known[new.population] = new
        return
    if not _contains(old, new):
        if not _contains(new, old):
            msg = (
                f"two monitors recorded different spikes of population {new.population!r}; pass "
                "only one of them"
            )
            raise NameClashError(msg)
        known[new.population] = new
    notes.append(f"left out: spikes of {new.population} that another monitor has too")


def _contains(spikes: Spikes, other: Spikes) -> bool:
    """Return True if ``spikes`` include the neurons, spikes and intervals of ``other``."""
    all_spikes, other_spikes = (
        set(zip(trains.node_ids.tolist(), trains.times.tolist(), strict=True))
        for trains in (spikes, other)
    )
    is_covered = True
    if spikes.intervals is not None and other.intervals is not None:
        is_covered = all(
            any(start <= first and last <= stop for start, stop in spikes.intervals.tolist())
            for first, last in other.intervals.tolist()
        )
    return is_covered and other_spikes <= all_spikes and _neurons(other) <= _neurons(spikes)


def _neurons(spikes: Spikes) -> set[int]:
    silent = () if spikes.silent is None else spikes.silent.tolist()
    return {*spikes.node_ids.tolist(), *silent}


# Files of ``Monitor.save`` and ``MonitorList.save_all``: HDF5, or a single array

_NUMPY = b"\x93NUMPY"


def read_recordings(
    path: str | Path,
    *,
    dt: float,
    population: str | None = None,
    variable: str | None = None,
    period: float | None = None,
    start: float = 0.0,
    geometry: Sequence[int] | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Return the recordings in a file of ``Monitor.save`` or ``MonitorList.save_all``.

    Data of HDF5 files are read when they are used; close the output afterwards. The arguments and
    errors are those of ``add_saved_recordings``, except the NWB file.

    Example
    -------
    >>> read_recordings("exc.hdf5", dt=0.5, population="exc")  # doctest: +SKIP

    """
    path, units = Path(path), parse_units(unit)
    sampling = Sampling.from_ms(dt, period, None)
    with file_errors(path), ExitStack() as stack:
        reports = []
        for group, name, data in _saved_variables(path, variable, stack):
            where = group or population
            if where is None:
                msg = f"{path} does not contain the name of the population: pass population="
                raise SourceError(msg)
            reports.append(_saved_report(where, name, data, sampling, start, geometry, units))
        if not reports:
            msg = (
                f"{path} has no variable: ANNarchy leaves such a file when it fails to save "
                "spikes or variables of projections"
            )
            raise NothingRecordedError(msg)
        check_units(reports, units)
        return SimulationOutput(
            reports=tuple(reports),
            run=Run(SIMULATOR, time_step=to_seconds(1, dt)),
            provenance={"format": "annarchy", "files": [path.name]},
            close=stack.pop_all().close,
        )


def _saved_variables(
    path: Path, variable: str | None, stack: ExitStack
) -> Iterator[tuple[str | None, str, LazyArray]]:
    """Yield the group, if any, the name and the data of each variable."""
    with path.open("rb") as opened:
        start = opened.read(len(_NUMPY))
    if start == _NUMPY:
        if variable is None:
            msg = f"{path} does not contain the name of the variable: pass variable="
            raise SourceError(msg)
        yield None, variable, _matrix(load_npy(path))
        return
    with source_errors(f"{path} cannot be read as an HDF5 or .npy file"), without_trust():
        file = stack.enter_context(open_source(path))
    for name, found in file.items():
        members = found.items() if isinstance(found, h5py.Group) else [(None, found)]
        for member, data in members:
            if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "biuf" or not data.ndim:
                msg = f"{path}: {data.name} is not a variable of a monitor; expected numbers"
                raise SourceError(msg)
            group, own_name = (None, name) if member is None else (name, member)
            yield group, own_name, _matrix(data)


def _matrix(data: Any) -> LazyArray:
    """Return values with shape (time, column); grids and nested lists are flattened."""
    if data.ndim == 2 and data.dtype != object:
        return wrap_array(data)
    values = data[()]
    if values.dtype == object:
        values = np.array([flatten(sample) for sample in values])
    return values.reshape(len(values), -1)  # type: ignore[no-any-return]


def _saved_report(
    where: str,
    name: str,
    data: LazyArray,
    sampling: Sampling,
    start: float,
    geometry: Sequence[int] | None,
    units: Mapping[str, Unit],
) -> Report:
    n_samples, width = data.shape
    shape = (width,) if geometry is None else tuple(geometry)
    if int(np.prod(shape)) != width:
        msg = f"{name} of {where} has {width} columns, which does not fit the geometry {shape}"
        raise ShapeMismatchError(msg)
    labels = round(start / sampling.dt) + np.arange(n_samples) * sampling.period
    return Report(
        name=f"{where}_{name}",
        report=where,
        data=data,
        times=times_of(labels, sampling),
        compartments=population_table(where, shape),
        unit=units.get(name, UNKNOWN),
        variable=name,
        description=TIME_CONVENTION,
        provenance={"geometry": list(shape)},
    )
