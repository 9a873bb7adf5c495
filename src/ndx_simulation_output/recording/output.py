"""Output of a run: reports, spikes, extracellular potentials and run parameters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    CellNotFoundError,
    NothingRecordedError,
    ShapeMismatchError,
    WrongTypeError,
)
from ndx_simulation_output.recording.array_groups import ArrayGroup
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays
from ndx_simulation_output.recording.cells import Cells, Choice
from ndx_simulation_output.recording.circuit import Circuit
from ndx_simulation_output.recording.display import (
    Facts,
    counted,
    html_summary,
    listed,
    name_and_facts,
    one_line,
    quantity_text,
    represent,
    section_lines,
    times_text,
)
from ndx_simulation_output.recording.fields import Provenance, check_instances, set_fields, tuple_of
from ndx_simulation_output.recording.ids import as_ids, check_ids, check_name, check_unique, some_of
from ndx_simulation_output.recording.network import NetworkSnapshot
from ndx_simulation_output.recording.reports import Report
from ndx_simulation_output.recording.spikes import Spikes
from ndx_simulation_output.recording.times import RegularTimes, Times, as_times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Unit, as_unit

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Electrodes:
    """Electrodes with ``ids`` (electrode,) and ``positions`` (electrode, 3) in micrometres."""

    ids: NDArray[Any]
    positions: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ids and shapes."""
        ids = np.asarray(as_array(self.ids, "ids of electrodes", kinds="iu")[:])
        check_ids(ids, "electrodes")
        check_unique(ids, "electrodes")
        positions = np.asarray(
            as_array(self.positions, "positions of electrodes", ndim=2)[:], float
        )
        columns = as_arrays(self.columns, "electrodes")
        expected: dict[str, tuple[Any, tuple[int, ...]]]
        expected = {name: (array, (len(ids),)) for name, array in columns.items()}
        expected["positions"] = positions, (len(ids), 3)
        for name, (array, shape) in expected.items():
            if array.shape[: len(shape)] != shape:
                msg = f"{name} of electrodes have shape {array.shape}; expected {shape}"
                raise ShapeMismatchError(msg)
        set_fields(self, ids=ids, positions=positions, columns=columns)

    __repr__ = represent

    def _facts(self) -> Facts:
        yield ""
        yield counted(len(self.ids), "electrodes")
        yield listed(self.columns, "columns")


@dataclass(frozen=True)
class ExtracellularPotential:
    """Potentials at electrodes: ``data`` (time, channel), ``channel_ids`` (channel,)."""

    name: str
    data: LazyArray
    times: Times
    channel_ids: NDArray[Any]
    unit: Unit
    electrodes: Electrodes | None = None
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the channels, and that the shape of the data agrees with the times and channels."""
        check_name(self.name, "the name of a potential")
        where = f"potential {self.name!r}"
        set_fields(
            self,
            data=as_array(self.data, f"the data of {where}", ndim=None, kinds="biufc"),
            times=as_times(self.times, where),
            channel_ids=as_array(self.channel_ids, f"channels of {self.name!r}", kinds="iu"),
            unit=as_unit(self.unit, where),
        )
        check_instances(where, Electrodes, electrodes=self.electrodes)
        expected = (self.times.count, len(self.channel_ids))
        if tuple(self.data.shape) != expected:
            msg = (
                f"the extracellular data {self.name!r} have shape {tuple(self.data.shape)}; "
                f"expected (time, channel) = {expected}"
            )
            raise ShapeMismatchError(msg)
        check_ids(self.channel_ids, f"channels of {self.name!r}")
        check_unique(self.channel_ids, f"channels of {self.name!r}")

    __repr__ = represent

    def _facts(self) -> Facts:
        rows, columns = self.data.shape
        yield self.name
        yield quantity_text(None, self.unit)
        yield f"{counted(rows, 'times')} × {counted(columns, 'channels')}"
        yield times_text(self.times)

    def find(self, channels: Iterable[int] | int | None = None) -> NDArray[np.intp]:
        """Return the column index of each channel id, in this order; by default of all.

        Raises
        ------
        NothingRecordedError
            If a channel does not exist.
        TypeError
            If ids are not integers.

        """
        known = np.asarray(self.channel_ids)
        if channels is None:
            return np.arange(len(known))
        wanted = as_ids(channels)
        missing = wanted[~np.isin(wanted, known)]
        if len(missing):
            msg = (
                f"channel {some_of(missing)} is not among the {len(known)} channels of "
                f"{self.name!r} (ids {some_of(known)})"
            )
            raise NothingRecordedError(msg)
        order = np.argsort(known, kind="stable")
        return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], np.intp)

    def get_traces(
        self,
        channels: Iterable[int] | int | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> NDArray[Any]:
        """Read the rows with ``start <= time < stop`` (s) of channels, by default of all.

        Values have shape (time, channel) and the unit of the potential.

        Raises
        ------
        NothingRecordedError
            If a channel does not exist.

        """
        columns = None if channels is None else self.find(channels)
        return read_in_unit(self.data, self.times.window(start, stop), columns, self.unit)


@dataclass(frozen=True)
class Run:
    """Parameters of a run; times in seconds, temperature in degrees Celsius."""

    simulator: str | None = None
    simulator_version: str | None = None
    time_step: float | None = None
    duration: float | None = None
    temperature: float | None = None
    seed: int | None = None
    configuration: str | None = None
    morphology: str | None = None

    def __post_init__(self) -> None:
        """Check the types, and that numbers are finite."""
        for name in ("simulator", "simulator_version", "configuration", "morphology"):
            check_instances("the run", str, **{name: getattr(self, name)})
        for name in ("time_step", "duration", "temperature", "seed"):
            value: Any = getattr(self, name)
            expected = Integral if name == "seed" else Real
            if value is None:
                continue
            is_number = isinstance(value, expected) and not isinstance(value, bool)
            if not is_number:
                msg = f"{name} of the run is {value!r}; expected a number"
                raise WrongTypeError(msg)
            least = {"time_step": np.nextafter(0, 1), "duration": 0}.get(name, -np.inf)
            if not (np.isfinite(float(value)) and value >= least and abs(value) < 2.0**63):
                msg = f"{name} of the run is {value!r}; expected a possible {name}"
                raise ShapeMismatchError(msg)
            set_fields(self, **{name: int(value) if name == "seed" else float(value)})

    __repr__ = represent

    def _facts(self) -> Facts:
        yield ""
        yield " ".join(filter(None, [self.simulator, self.simulator_version]))
        yield "" if self.time_step is None else f"time step {self.time_step * 1e3:g} ms"
        yield "" if self.duration is None else f"duration {self.duration:g} s"
        yield "" if self.temperature is None else f"{self.temperature:g} °C"
        yield "" if self.seed is None else f"seed {self.seed}"


class LaterNotes(tuple[str, ...]):  # noqa: SLOT001 - tuples can have no slots with values
    """Notes that are known; ``later`` returns those of the spikes of an output, which it reads."""

    later: "LaterNotesOf"

    def __new__(cls, notes: Iterable[str], later: "LaterNotesOf | None" = None) -> "Self":
        """Return the notes that are known."""
        made = super().__new__(cls, notes)
        made.later = later or _no_notes
        return made


LaterNotesOf = Callable[[Sequence[Spikes]], Iterable[str]]


def _no_notes(_: Sequence[Spikes]) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class SimulationOutput:
    """The recordings of a run. Use it in a ``with`` block: data are read from open files.

    ``arrays`` are groups of arrays with axes, such as data of instruments; ``networks`` are states
    of networks; ``circuit`` are all cells of the simulation and their connections. ``session`` has
    the metadata of the source, in the sections ``NWBFile`` and ``Subject``. ``notes`` list the
    parts of the source that were omitted or corrected, and times that may be in another unit; they
    are stored in the notes of an NWB file.
    ``source`` is the path of what was opened, for people.
    """

    reports: tuple[Report, ...] = ()
    spikes: tuple[Spikes, ...] = ()
    potentials: tuple[ExtracellularPotential, ...] = ()
    arrays: tuple[ArrayGroup, ...] = ()
    networks: tuple[NetworkSnapshot, ...] = ()
    circuit: Circuit | None = None
    run: Run = field(default_factory=Run)
    session: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # A default that is no attribute of the class, so that __getattr__ is asked for it.
    notes: tuple[str, ...] = field(default_factory=tuple)
    provenance: Provenance = field(default_factory=dict)
    close: Callable[[], None] = lambda: None
    source: str = ""

    def __post_init__(self) -> None:
        """Check the types of all parts."""
        kinds = {
            "reports": Report,
            "spikes": Spikes,
            "potentials": ExtracellularPotential,
            "arrays": ArrayGroup,
            "networks": NetworkSnapshot,
            "notes": str,
        }
        later = getattr(self.notes, "later", None)
        for name, kind in kinds.items():
            set_fields(self, **{name: tuple_of(getattr(self, name), kind, f"{name} of an output")})
        if not isinstance(self.run, Run):
            msg = f"the run of an output is {self.run!r:.60}; expected a Run"
            raise WrongTypeError(msg)
        check_instances("an output", Circuit, circuit=self.circuit)
        is_session = isinstance(self.session, Mapping)
        if not is_session or not all(isinstance(one, Mapping) for one in self.session.values()):
            msg = (
                f"the session is {self.session!r:.60}; expected the sections NWBFile and Subject, "
            )
            raise WrongTypeError(msg + "each with keys and values")
        set_fields(self, _notes=LaterNotes(self.notes, later))
        object.__delattr__(self, "notes")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return the notes, for some of which spikes are read."""
            if name != "notes" or "_notes" not in vars(self):
                msg = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(msg)
            set_fields(self, notes=self._all_notes([*self._notes, *self._notes.later(self.spikes)]))
            return self.notes

    @property
    def known_notes(self) -> LaterNotes:
        """The notes for which no spikes are read."""
        if "notes" in vars(self):
            return LaterNotes(self.notes)
        known: LaterNotes = vars(self)["_notes"]
        return LaterNotes(self._all_notes(known, is_read=True), known.later)

    def _all_notes(self, notes: Iterable[str], *, is_read: bool = False) -> tuple[str, ...]:
        doubts = [note for note in self._doubtful_times(is_read=is_read) if note not in notes]
        return (*notes, *doubts)

    def changed(self, **changes: Any) -> "SimulationOutput":
        """Return the output with other values of fields, as ``dataclasses.replace`` does.

        Spikes are not read for its notes.
        """
        if TYPE_CHECKING:
            return replace(self, **changes)
        return replace(self, **{"notes": self.known_notes, **changes})

    def _doubtful_times(self, *, is_read: bool) -> Iterator[str]:
        """Yield notes on times that contradict the run by a factor of a hundred or more.

        If ``is_read``, only spikes that were read are looked at.
        """
        spans = {f"report {one.name!r}": _span(one.times) for one in self.reports}
        spans |= {f"potential {one.name!r}": _span(one.times) for one in self.potentials}
        for one in (one for one in self.spikes if one.is_read or not is_read):
            first, last = one.span or (0.0, 0.0)
            spans[f"the spikes of {one.population!r}"] = last - first
        recorded = {
            f"the spikes of {one.population!r}": float(np.ptp(one.intervals))
            if one.intervals.size
            else 0.0
            for one in self.spikes
            if f"the spikes of {one.population!r}" in spans and one.intervals is not None
        }
        for what, seconds in spans.items():
            of_run = recorded.get(what, self.run.duration)
            if of_run and seconds > _DOUBTFUL * of_run:
                found = f"{seconds:g} s, but the run lasts {of_run:g} s"
                yield f"the times of {what} span {found}: are they in ms?"
        for report in self.reports:
            rate = getattr(report.times, "rate", None)
            step = self.run.time_step
            if rate and step and rate * step > _DOUBTFUL:
                steps = f"a sample each {1 / rate:g} s, but the time step is {step:g} s"
                yield f"report {report.name!r} has {steps}: is it in ms?"

    def __getitem__(self, name: str) -> Report:
        """Return the report of this name.

        Raises
        ------
        KeyError
            If there is no such report.

        """
        for report in self.reports:
            if report.name == name:
                return report
        names = ", ".join(report.name for report in self.reports) or "none"
        msg = f"no report {name!r}; expected one of: {names}"
        raise KeyError(msg)

    def __repr__(self) -> str:
        """Return about ten lines with what there is; no data are read."""
        head = f"<{type(self).__name__}> {one_line(self.source, 200)}".rstrip()
        return "\n".join([head, *section_lines(contents(self))])

    def _repr_html_(self) -> str:
        """Return a summary for a notebook; at most 16 MiB are read of each object."""
        return html_summary(self)

    def select_cells(self, cells: Cells) -> "SimulationOutput":
        """Return the output with the reports and spikes of some cells; no data are read.

        ``cells`` are ids, a mapping of properties such as ``{"layer": [2, 3]}``, or the name of a
        node set. They apply to each population; a population without such a property or node set
        has none of them. Potentials, arrays, networks and the circuit stay as they are.

        Raises
        ------
        CellNotFoundError
            If no population has an id, or no cell is chosen.
        SelectionError
            If no population has such a property or node set.

        """
        if not (self.reports or self.spikes):
            msg = "there are no reports or spikes whose cells could be chosen"
            raise CellNotFoundError(msg)
        choice = Choice(cells)
        reports, spikes, lost = [], [], []
        for report in self.reports:
            rows = choice.rows_of(report.compartments.cells)
            if len(rows):
                reports.append(report.take_cells(rows))
            else:
                lost.append(f"report {report.name}")
        for one in self.spikes:
            known = one.known_cells
            ids = known[choice.rows_of(one.table_of(known))]
            if len(ids):
                spikes.append(one.select(ids))
            else:
                lost.append(f"spikes of {one.population}")
        # Any id may be that of a silent cell.
        are_all_known = all(one.silent is not None or one.cells is not None for one in self.spikes)
        choice.check(are_all_known=are_all_known, found=bool(reports or spikes))
        notes = [f"only the cells {choice} were selected"]
        notes += [f"left out, because they have none of these cells: {', '.join(lost)}"] * bool(
            lost
        )
        names = ", ".join(potential.name for potential in self.potentials)
        notes += [f"potentials are of all cells: {names}"] * bool(names)
        return replace(
            self, reports=tuple(reports), spikes=tuple(spikes), notes=(*self.notes, *notes)
        )

    def __enter__(self) -> "Self":
        """Return this output."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()


def contents(output: SimulationOutput) -> dict[str, Sequence[Any]]:
    """Return the run, populations, recordings and notes of an output, those there are, by title.

    An item is a part of the output, or name and text.
    """
    _, run = name_and_facts(output.run)
    notes = output.known_notes
    found = {
        "Run": [("", run)] * bool(run),
        "Populations": list(_populations(output).items()),
        "Reports": output.reports,
        "Spikes": output.spikes,
        "Potentials": output.potentials,
        "States": output.networks,
        "Arrays": [part for group in output.arrays for part in _parts_with_data(group)],
        "Notes": [("", f"{counted(len(notes), 'notes')}, see the attribute notes")] * bool(notes),
    }
    return {title: items for title, items in found.items() if items}


def _parts_with_data(group: ArrayGroup) -> Sequence[ArrayGroup]:
    """Return the groups in a group that has no data of its own, such as RawData of PyMoDAQ."""
    has_data = any(array.role == "data" for array in group.arrays)
    return group.groups if group.groups and not has_data else (group,)


def _populations(output: SimulationOutput) -> dict[str, str]:
    """Return the number of cells of each population of the circuit, reports and spikes."""
    found: dict[str, str] = {}
    for one in () if output.circuit is None else output.circuit.summary:
        found[one.name] = ", ".join(filter(None, [counted(one.size, "cells"), one.kind]))
    tables: list[tuple[str, Any]] = [(one.population, one.compartments) for one in output.reports]
    tables += [(one.population, one.cells) for one in output.spikes]
    for name, table in tables:
        if not found.get(name):
            found[name] = "" if table is None else f"{counted(len(table), 'cells')} recorded"
    return {one_line(name): text for name, text in found.items()}


_DOUBTFUL = 100
"""Times that are longer than a run by this factor may be in another unit."""


def _span(times: Times) -> float:
    """Return the time (s) from the first to the last row, 0.0 if it must be read from a file."""
    if isinstance(times, RegularTimes):
        return times.count / times.rate
    is_known = isinstance(times.values, np.ndarray) and times.count
    return float(times.values[-1] - times.values[0]) if is_known else 0.0
