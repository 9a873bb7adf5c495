"""Times, columns and units of the samples that monitors record.

A monitor takes a sample at every ``period``-th time step, counted from the step at which it was
made, and reports the intervals in which it ran, but not always correctly. Times are used only if
they are the only ones that agree with the number of samples.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.network import (
    declarations_of,
    population_of,
    pre_ranks_of,
)
from ndx_simulation_output.annarchy.reading import to_seconds
from ndx_simulation_output.errors import (
    RecordingError,
    UnitError,
    UnitWarning,
)
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    Times,
    Timestamps,
    Unit,
    parse_unit,
)

TIME_CONVENTION = (
    "The value after each sampled time step, at the time at which the step began, as in ANNarchy; "
    "a spike in a step has the same time"
)
"""Description of the times in the NWB file."""

# Times. A label is ANNarchy's number of the time step of a sample or spike.

Intervals = tuple[tuple[int, int], ...]
"""First label of each interval, and its last label + 1."""


@dataclass(frozen=True)
class Sampling:
    """A sample every ``period`` steps, ``offset`` steps after a multiple of it; ``dt`` is in ms."""

    dt: float
    period: int = 1
    offset: int = 0

    @classmethod
    def from_ms(cls, dt: float, period: float | None, offset: float | None) -> "Sampling":
        """Return the sampling that ANNarchy uses for a period and offset in ms.

        ANNarchy truncates periods: 0.3 ms at a dt of 0.1 ms is 2 steps.
        """
        steps = 1 if period is None else max(int(period / dt), 1)
        return cls(dt, steps, int((offset or 0.0) / dt))

    def labels(self, intervals: Intervals, phase: int = 0) -> NDArray[np.int64]:
        """Return the labels of the samples; ``phase`` is the step at which the monitor was created.

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

    def in_ms(self, label: int) -> float:
        """Return the time of a label in ms, for a message."""
        return round(label * self.dt, 9)


@dataclass(frozen=True)
class Reported:
    """When a monitor ran, as it reports it; every sample is in ``intervals``.

    A ``late`` monitor was created without starting it; it then reports an interval from its
    creation. If the intervals are ``exact`` and it was not late, it sampled in all of them.
    ``without_pauses`` lacks intervals in which it was either paused or ran.
    """

    intervals: Intervals
    exact: bool = True
    late: bool = False
    without_pauses: Intervals | None = None

    def after(self, first: int) -> "Reported":
        """Return this without the time before the first sample, if that is in the intervals."""
        if not self.intervals or first < self.intervals[0][0]:
            return self
        return Reported(_after(self.intervals, first), self.exact)


def _after(intervals: Intervals, first: int) -> Intervals:
    return tuple((max(start, first), stop) for start, stop in intervals if stop > first)


@dataclass(frozen=True)
class Labels:
    """The labels of samples, the intervals in which they were taken, and the phase."""

    values: NDArray[np.int64]
    intervals: Intervals
    phase: int


def labels_of(
    count: int,
    reported: Reported,
    sampling: Sampling,
    where: str,
    *,
    phase: int | None = None,
    first: int | None = None,
) -> Labels:
    """Return the only labels of ``count`` samples that agree with the intervals.

    ``phase`` is the step at which the monitor was created, and ``first`` the label of the first
    sample, if known; otherwise all phases are tried.
    """
    phases = range(sampling.period) if phase is None else [phase % sampling.period]
    begins_at_first = False
    if first is not None:
        phases = [(first - sampling.offset) % sampling.period]
        begins_at_first = bool(reported.intervals) and first >= reported.intervals[0][0]
        reported = reported.after(first)
    expected = {phase: sampling.labels(reported.intervals, phase) for phase in phases}
    is_exact = reported.exact and not reported.late
    possible = [
        phase
        for phase, labels in expected.items()
        if len(labels) == count or (len(labels) > count and not is_exact)
    ]
    if len(possible) > 1:
        msg = (
            f"the times of the {count} samples of {where} cannot be determined: its monitor has a "
            f"period of {sampling.period} steps and was made or emptied before, so that "
            f"{len(possible)} times of the first sample are possible; pass the time in ms of the "
            "first sample as start={monitor: time}"
        )
        raise RecordingError(msg)
    labels = expected[possible[0]] if possible else np.zeros(0, np.int64)
    if len(labels) == count and not (begins_at_first and labels[0] != first):
        return Labels(labels, reported.intervals, possible[0])
    if len(expected) == 1 and reported.without_pauses is not None:
        others = sampling.labels(reported.without_pauses, phases[0])
        if len(others) == count:
            return Labels(others, reported.without_pauses, phases[0])
    if reported.late and reported.exact and len(labels) > count:
        # It was started late, and its samples are the last ones.
        begin = int(labels[-count])
        return Labels(labels[-count:], _after(reported.intervals, begin), possible[0])
    raise RecordingError(_contradiction(count, expected, sampling, where, first))


def _contradiction(
    count: int,
    expected: Mapping[int, NDArray[np.int64]],
    sampling: Sampling,
    where: str,
    first: int | None,
) -> str:
    counts = " or ".join(dict.fromkeys(str(len(labels)) for labels in expected.values()))
    given = "" if first is None else f" from start={sampling.in_ms(first):g} ms on"
    return (
        f"{where} has {count} samples, but {counts} are expected{given} from the intervals of its "
        "monitor, which was paused or started later, or whose clock was set; pass the times in ms "
        "at which it ran as intervals={monitor: [(start, stop), ...]}, and if it ran without a "
        "pause the time of its first sample as start={monitor: time}"
    )


def times_of(labels: NDArray[np.int64], sampling: Sampling) -> Times:
    """Return the times of samples in seconds, which are regular unless there are gaps."""
    if (np.diff(labels) == sampling.period).all():
        rate = float(1000 / (sampling.period * Fraction(repr(sampling.dt))))
        return RegularTimes(to_seconds(int(labels[0]), sampling.dt), rate, len(labels))
    return Timestamps(to_seconds(labels, sampling.dt))


# Columns, which are neurons or synapses

_NESTED = (list, np.ndarray)
_MODELS_IN_MV = ("Izhikevich", "IF_", "EIF_", "HH_", "GIF_")


@dataclass(frozen=True)
class MonitorColumns:
    """The columns of the recordings of a population, projection or dendrite.

    ``neurons`` is the table of neurons, or of the post-synaptic neurons of a projection, and
    ``synapses`` the table of synapses. ``units`` are known units by variable.
    """

    name: str
    neurons: CompartmentTable
    synapses: CompartmentTable | None
    localities: dict[str, str]
    provenance: dict[str, Any]
    units: dict[str, Unit]

    @property
    def kind(self) -> str:
        """Type of the object that was recorded: ``population`` or ``projection``."""
        return "population" if self.synapses is None else "projection"

    def is_global(self, variable: str) -> bool:
        """Return True if there is one value for the whole population or projection."""
        return self.localities.get(variable, "local") == "global"

    def table(self, variable: str) -> CompartmentTable:
        """Return the table for a variable."""
        if self.is_global(variable):
            return _whole_table(self.name, self.kind)
        is_local = self.localities.get(variable, "local") == "local"
        return self.synapses if self.synapses is not None and is_local else self.neurons

    def values(self, variable: str, samples: Any) -> NDArray[Any]:
        """Return recorded values, shape (time, column), from the nested lists of a monitor."""
        table = self.table(variable)
        width = table.n_compartments
        if self.synapses is not None:
            if table is self.synapses:
                self._check_rows(variable, samples, table)
            samples = [flatten(sample) for sample in samples]
        try:
            return np.reshape(np.asarray(samples), (-1, width) if width else (len(samples), 0))
        except ValueError as error:
            msg = f"{variable} of {self.name!r} does not fit its {width} columns: {error}"
            raise RecordingError(msg) from error

    def _check_rows(self, variable: str, samples: Any, table: CompartmentTable) -> None:
        """Raise an error if synapses were created or pruned, even if their number is equal."""
        expected = np.diff(np.asarray(table.ends), prepend=0).tolist()
        for sample in samples:
            rows = sample if isinstance(sample, _NESTED) else ()
            lengths = [len(row) for row in rows if isinstance(row, _NESTED)]
            if lengths and lengths != expected:
                msg = (
                    f"the number of synapses per neuron changed while {variable} of {self.name!r} "
                    "was recorded; add the recordings before synapses are created or pruned"
                )
                raise RecordingError(msg)


def _whole_table(name: str, kind: str) -> CompartmentTable:
    """Return a table with one row for all of a population or projection; its id is no rank."""
    zero = np.zeros(1, np.int64)
    columns = {"number": zero, "label": np.array([f"whole {kind}"], object)}
    return CompartmentTable.from_counts(f"{name} ({kind})", zero, zero + 1, columns)


def columns_of(recorded: Any) -> MonitorColumns:
    """Return the columns of a population, view, projection or dendrite."""
    if hasattr(recorded, "proj"):
        return _dendrite_columns(recorded)
    if hasattr(recorded, "synapse_type"):
        return _projection_columns(recorded, slice(None), recorded.name)
    if not hasattr(recorded, "neuron_type"):
        msg = (
            f"the monitor records a {type(recorded).__name__}; expected a population, projection "
            "or dendrite"
        )
        raise RecordingError(msg)
    population = population_of(recorded)
    ranks = (
        np.arange(int(population.size)) if recorded is population else np.asarray(recorded.ranks)
    )
    geometry = tuple(int(length) for length in population.geometry)
    return MonitorColumns(
        population.name,
        population_table(population.name, geometry, ranks),
        None,
        _localities(population),
        {"geometry": list(geometry)},
        _units_of(population.neuron_type),
    )


def population_table(
    name: str, geometry: Sequence[int], ranks: NDArray[Any] | None = None
) -> CompartmentTable:
    """Return a table with a cell per neuron: its rank and its grid coordinates ``grid_0``, …."""
    ranks = np.arange(int(np.prod(geometry))) if ranks is None else ranks.astype(np.int64)
    ones = np.ones(len(ranks), np.int64)
    coordinates = np.unravel_index(ranks, tuple(geometry)) if len(geometry) > 1 else ()
    columns = {f"grid_{axis}": values for axis, values in enumerate(coordinates)}
    return CompartmentTable.from_counts(name, ranks, ones, {"number": ones - 1}, columns)


def _localities(part: Any) -> dict[str, str]:
    declarations = declarations_of(part).items()
    return {name: str(declared.get("locality", "local")) for name, declared in declarations}


def flatten(sample: Any) -> list[Any]:
    """Return the values of all rows of a sample as a list; a sample may be a single number."""
    if not isinstance(sample, _NESTED):
        return [sample]
    found: list[Any] = []
    for row in sample:
        found.extend(row if isinstance(row, _NESTED) else [row])
    return found


def _projection_columns(projection: Any, rows: slice, name: str) -> MonitorColumns:
    ranks = np.asarray(projection.post_ranks, np.int64)[rows]
    pre_ranks = pre_ranks_of(projection)[rows]
    post = population_of(projection.post).name
    columns = {
        "number": np.array([number for row in pre_ranks for number in range(len(row))], np.int64),
        "pre_rank": np.array([rank for row in pre_ranks for rank in row], np.int64),
    }
    counts = np.array([len(row) for row in pre_ranks], np.int64)
    return MonitorColumns(
        name,
        population_table(post, (len(ranks),), ranks),
        CompartmentTable.from_counts(post, ranks, counts, columns),
        _localities(projection),
        {"pre": population_of(projection.pre).name, "post": post, "projection": projection.name},
        {},
    )


def _dendrite_columns(dendrite: Any) -> MonitorColumns:
    projection, rank = dendrite.proj, int(dendrite.post_rank)
    row = list(map(int, projection.post_ranks)).index(rank)
    if row != rank:
        msg = (
            f"the monitor of the dendrite of neuron {rank} in {projection.name!r} recorded another "
            "dendrite: ANNarchy uses the rank as the index of the row, but neurons before it have "
            "no synapses; monitor the projection instead"
        )
        raise RecordingError(msg)
    return _projection_columns(projection, slice(row, row + 1), f"{projection.name}_{rank}")


# Units, which ANNarchy does not store


def parse_units(texts: Mapping[str, str] | None) -> dict[str, Unit]:
    """Parse the units that the user passed, by variable."""
    units = {}
    for name, text in (texts or {}).items():
        unit = parse_unit(text)
        if unit is None:
            msg = f"the unit {text!r} of {name} is not known; expected one such as 'mV' or '1'"
            raise UnitError(msg)
        units[name] = unit
    return units


def check_units(
    reports: Sequence[Report], units: Mapping[str, Unit], left_out: Collection[str] = ()
) -> None:
    """Warn about unknown units; raise UnitError for units of variables that were not recorded."""
    variables = {report.variable for report in reports}
    if unused := sorted(set(units) - variables - set(left_out)):
        msg = (
            f"unit has the variable {unused[0]!r}, which was not recorded; expected one of "
            f"{sorted(map(str, variables))}"
        )
        raise UnitError(msg)
    unknown = {report.variable for report in reports if not report.unit.known} - set(units)
    if names := sorted(map(str, unknown)):
        msg = (
            f"the unit of {', '.join(names)} is stored as unknown, because ANNarchy has no units; "
            f'pass unit={{"{names[0]}": ...}}, such as "mV", or "1" for dimensionless values'
        )
        warnings.warn(msg, UnitWarning, stacklevel=4)


def _units_of(model: Any) -> dict[str, Unit]:
    """Return the units of ANNarchy's built-in models, from the papers that define them."""
    kind = type(model)
    is_own = kind.__module__.startswith("ANNarchy.") and kind.__name__.startswith(_MODELS_IN_MV)
    return {"v": Unit("volts", 1e-3)} if is_own else {}
