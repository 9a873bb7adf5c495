"""Times, columns and units of the samples that monitors record.

Monitors report the intervals in which they ran, but not always correctly. The times of samples are
used only if their number agrees with the intervals.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.network import (
    declarations_of,
    population_of,
    pre_ranks_of,
)
from ndx_simulation_output.errors import (
    RecordingError,
    SimulationOutputWarning,
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


def labels_of(
    count: int,
    candidates: Sequence[Intervals],
    sampling: Sampling,
    where: str,
    *,
    started_late: bool = False,
) -> tuple[NDArray[np.int64], Intervals]:
    """Return the labels of ``count`` samples, and the first candidate with that many samples.

    A monitor that was started late reports an interval from the beginning; its samples are the last
    ones of that interval.
    """
    for intervals in candidates:
        matching = [found for found in _possible_labels(sampling, intervals) if len(found) == count]
        if matching:
            _warn_if_ambiguous(matching, sampling, where)
            return matching[0], intervals
    if started_late and count and len(set(candidates)) == 1:
        for labels in _possible_labels(sampling, candidates[0]):
            if len(labels) > count:
                first = int(labels[-count])
                later = [(max(a, first), b) for a, b in candidates[0] if b > first]
                return labels[-count:], tuple(later)
    counts = dict.fromkeys(str(len(sampling.labels(intervals))) for intervals in candidates)
    expected = " or ".join(counts)
    msg = (
        f"{where} has {count} samples, but {expected} are expected from the intervals of its "
        "monitor, which was paused or started later, or whose clock was set; pass the times in ms "
        "at which it ran as intervals={monitor: [(start, stop), ...]}"
    )
    raise RecordingError(msg)


def times_of(labels: NDArray[np.int64], sampling: Sampling) -> Times:
    """Return the times of samples in seconds, which are regular unless there are gaps."""
    if (np.diff(labels) == sampling.period).all():
        rate = 1000 / (sampling.period * sampling.dt)
        return RegularTimes(int(labels[0]) * sampling.dt / 1000, rate, len(labels))
    return Timestamps(labels * sampling.dt / 1000)


def _possible_labels(sampling: Sampling, intervals: Intervals) -> Iterator[NDArray[np.int64]]:
    """Yield the labels for a monitor created before compilation, and for one created after it."""
    phases = [0, intervals[0][0] % sampling.period] if intervals else [0]
    for phase in dict.fromkeys(phases):
        yield sampling.labels(intervals, phase)


def _warn_if_ambiguous(matching: list[NDArray[np.int64]], sampling: Sampling, where: str) -> None:
    if len(matching) > 1 and len(matching[0]):
        shift = abs(int(matching[1][0] - matching[0][0])) * sampling.dt
        msg = (
            f"the times of {where} are off by {shift:g} ms if its monitor was created after the "
            "network was compiled"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=2)


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

    def table(self, variable: str) -> CompartmentTable:
        """Return the table for a variable."""
        is_local = self.localities.get(variable, "local") == "local"
        return self.synapses if self.synapses is not None and is_local else self.neurons

    def values(self, variable: str, samples: Any) -> NDArray[Any]:
        """Return recorded values, shape (time, column), from the nested lists of a monitor."""
        table = self.table(variable)
        width = table.n_compartments
        if self.synapses is not None:
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
        {},
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
        {
            name: str(declaration["locality"])
            for name, declaration in declarations_of(projection).items()
        },
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


def check_units(reports: Sequence[Report], units: Mapping[str, Unit]) -> None:
    """Warn about unknown units; raise UnitError for units of variables that were not recorded."""
    variables = {report.variable for report in reports}
    if unused := sorted(set(units) - variables):
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
