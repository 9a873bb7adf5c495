"""Read recordings of monitors from memory and from files of ANNarchy."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.annarchy.containers import load_npy
from ndx_simulation_output.annarchy.network import clock_of, simulator_version
from ndx_simulation_output.annarchy.reading import SIMULATOR
from ndx_simulation_output.annarchy.samples import (
    TIME_CONVENTION,
    Intervals,
    MonitorColumns,
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
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    LazyArray,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)
from ndx_simulation_output.recording.ids import free_name

_SPIKES = ("spike", "axon_spike")


def recordings(
    monitors: Any,
    *,
    intervals: Mapping[Any, Sequence[tuple[float, float]]] | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Return the recordings of one or several monitors of a network, without clearing them.

    The arguments and errors are those of ``add_recordings``, except the NWB file.

    Example
    -------
    >>> recordings(network.get_monitors(), unit={"v": "mV"}).notes  # doctest: +SKIP

    """
    units = parse_units(unit)
    all_monitors: list[Any] = [monitors] if hasattr(monitors, "times") else [*monitors]
    _check_networks(all_monitors)
    reports: list[Report] = []
    spikes: dict[str, Spikes] = {}
    notes: list[str] = []
    time_step = None
    for monitor in all_monitors:
        dt, clock = clock_of(monitor)
        time_step = dt / 1000
        samples = _Samples.read(monitor, dt, clock, intervals)
        columns = columns_of(monitor.object)
        for variable, values in samples.values.items():
            if samples.is_empty(variable):
                notes.append(f"left out: {variable} of {columns.name}, which was not recorded")
            elif variable in _SPIKES:
                _add_spikes(spikes, _spikes(samples, columns, variable, values), notes)
            else:
                reports.append(_report(samples, columns, variable, values, units))
    check_units(reports, units)
    return SimulationOutput(
        reports=tuple(_with_distinct_names(reports)),
        spikes=tuple(spikes.values()),
        run=Run(SIMULATOR, simulator_version(), time_step),
        notes=tuple(notes),
        provenance={"format": "annarchy", "files": []},
    )


def restart_at_current_step(monitor: Any) -> bool:
    """Restart a monitor without samples at the current step; return False if it has samples."""
    recorded = monitor.get(keep=True, reshape=False)
    for variable, values in recorded.items():
        is_spikes = variable in _SPIKES and isinstance(values, Mapping)
        if any(map(len, values.values())) if is_spikes else len(values):
            return False
    monitor.get(keep=False, reshape=False)
    return True


def _check_networks(monitors: Sequence[Any]) -> None:
    n_networks = len({getattr(monitor, "net_id", 0) for monitor in monitors})
    if n_networks > 1:
        msg = (
            f"the monitors belong to {n_networks} networks; expected those of one network for "
            "each file"
        )
        raise NameClashError(msg)


@dataclass(frozen=True)
class _Samples:
    """Recorded values of a monitor, and the intervals that it reports for each variable.

    ``intervals`` has several candidates if the monitor reported different ones. ``started_late`` is
    true if it was created with ``start=False``.
    """

    values: Mapping[str, Any]
    sampling: Sampling
    intervals: Mapping[str, tuple[Intervals, ...]]
    started_late: bool

    @classmethod
    def read(cls, monitor: Any, dt: float, clock: Any, intervals: Any) -> "_Samples":
        # The public properties raise in ANNarchy 5.
        period = getattr(monitor, "_period", None)
        offset = getattr(monitor, "_period_offset", None)
        sampling = Sampling.from_ms(dt, period, offset)
        # ``get`` sets the end of the last interval to the current step even if the monitor is
        # paused. The end before this call is correct unless an earlier ``get`` changed it.
        before = deepcopy(getattr(monitor, "_recorded_variables", {}))
        values = monitor.get(keep=True, reshape=False)
        after = monitor.times()
        from_user = None if intervals is None else intervals.get(monitor)
        if from_user is not None:
            steps = tuple((round(a / dt), round(b / dt)) for a, b in from_user)
            return cls(values, sampling, dict.fromkeys(values, (steps,)), started_late=False)
        reported = {
            name: tuple(
                _intervals(times[name], clock()) for times in (after, before) if name in times
            )
            for name in values
        }
        return cls(values, sampling, reported, not getattr(monitor, "_start", True))

    def labels(self, variable: str, where: str) -> tuple[Any, Intervals]:
        """Return the labels and intervals of the samples of a variable."""
        return labels_of(
            len(self.values[variable]),
            self.intervals[variable],
            self.sampling,
            where,
            started_late=self.started_late,
        )

    def is_empty(self, variable: str) -> bool:
        """Return True if a variable was not recorded.

        If there are no spikes, samples of other variables show whether the monitor ran. Spikes that
        ANNarchy cannot record, such as ``axon_spike`` without a condition, are an empty list.
        """
        if variable in _SPIKES and not isinstance(self.values[variable], Mapping):
            return True
        sampled = [name for name in self.values if name not in _SPIKES]
        names = sampled if variable in _SPIKES else [variable]
        return bool(names) and not any(len(self.values[name]) for name in names)

    def spike_intervals(self, variable: str, where: str) -> Intervals | None:
        """Return the intervals of spikes, if possible those of another variable."""
        for sampled in self.values:
            if sampled not in _SPIKES:
                return self.labels(sampled, where)[1]
        reported = self.intervals[variable]
        # An interval that starts where another stops is a pause during which ``get`` was called.
        is_contiguous = any(a[1] == b[0] for a, b in pairwise(reported[0]))
        if self.started_late or is_contiguous or len(set(reported)) > 1:
            msg = (
                f"the spikes of {where} have no intervals: their monitor was paused, read before "
                "or started later, and has no other variable to check its intervals; pass the "
                "times in ms at which it ran as intervals={monitor: [(start, stop), ...]}"
            )
            warnings.warn(msg, SimulationOutputWarning, stacklevel=2)
            return None
        return reported[0]


def _intervals(times: Mapping[str, Sequence[int | None]], now: int) -> Intervals:
    pairs = zip(times.get("start", ()), times.get("stop", ()), strict=True)
    return tuple((int(a or 0), now if b is None else int(b)) for a, b in pairs)


def _report(
    samples: _Samples,
    columns: MonitorColumns,
    variable: str,
    values: Any,
    units: Mapping[str, Unit],
) -> Report:
    labels, _ = samples.labels(variable, f"{variable} of {columns.name}")
    return Report(
        name=f"{columns.name}_{variable}",
        report=columns.name,
        data=columns.values(variable, values),
        times=times_of(labels, samples.sampling),
        compartments=columns.table(variable),
        unit=units.get(variable, columns.units.get(variable, UNKNOWN)),
        variable=variable,
        description=TIME_CONVENTION,
        provenance=columns.provenance,
    )


def _with_distinct_names(reports: Sequence[Report]) -> Iterator[Report]:
    """Yield the reports; repeated names get a number."""
    used: set[str] = set()
    for report in reports:
        name = free_name(report.name, used)
        used.add(name)
        yield replace(report, name=name)


def _spikes(
    samples: _Samples, columns: MonitorColumns, variable: str, values: Mapping[int, Any]
) -> Spikes:
    counts = [len(labels) for labels in values.values()]
    ranks = np.array(list(values), np.int64)
    labels = np.array([label for train in values.values() for label in train], np.int64)
    intervals = samples.spike_intervals(variable, columns.name)
    dt = samples.sampling.dt
    return Spikes(
        columns.name if variable == _SPIKES[0] else f"{columns.name}_{variable}",
        np.repeat(ranks, counts),
        labels * dt / 1000,
        silent=ranks[np.array(counts) == 0] if 0 in counts else None,
        intervals=(
            None if intervals is None else np.array(intervals, float).reshape(-1, 2) * dt / 1000
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
    with ExitStack() as stack:
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
            run=Run(SIMULATOR, time_step=dt / 1000),
            provenance={"format": "annarchy", "files": [path.name]},
            close=stack.pop_all().close,
        )


def _saved_variables(
    path: Path, variable: str | None, stack: ExitStack
) -> Iterator[tuple[str | None, str, LazyArray]]:
    """Yield the group, if any, the name and the data of each variable."""
    try:
        with path.open("rb") as opened:
            start = opened.read(len(_NUMPY))
        if start == _NUMPY:
            if variable is None:
                msg = f"{path} does not contain the name of the variable: pass variable="
                raise SourceError(msg)
            yield None, variable, _matrix(load_npy(path))
            return
        file = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
        msg = f"{path} cannot be read as an HDF5 or .npy file: {error}"
        raise SourceError(msg) from error
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
        matrix: LazyArray = data
        return matrix
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
