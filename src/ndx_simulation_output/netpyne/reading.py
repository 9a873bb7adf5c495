"""Read the JSON files of NetPyNE: of a whole run, or of the nodes of a parallel run.

Traces, spikes and potentials stay in a temporary file; cells are read one after another.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, SourceError, UnitError
from ndx_simulation_output.netpyne.cells import OTHERS, ROW, Cells, read_network
from ndx_simulation_output.netpyne.json_values import JsonFile, Numbers
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CellTable,
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Timestamps,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.cells import take_rows
from ndx_simulation_output.recording.ids import free_name, positions_of, some_of
from ndx_simulation_output.recording.stored_spikes import StoredSpikes
from ndx_simulation_output.recording.times import Times, meant_rate
from ndx_simulation_output.recording.units import UNKNOWN, Unit, as_unit
from ndx_simulation_output.storage.temporary import GrowingArray, temporary_array

_CELL = re.compile(r"cell_(\d+)")
_MS_PER_S = 1000.0
_REGULAR = 1e-6
"""Part of a step by which regular times may differ: NetPyNE adds steps up."""
_BLOCK = 2**18
_ALL = -1
_LOC_SINCE = (0, 4, 4)
"""Version since which ``loc`` is the place of a trace, which was ``pos``."""
_NOT_TRACES = {"spkt", "spkid", "t", "stims", "LFP", "LFPPops", "LFPCells", "iMembrane",
               "dipoleSum", "dipolePops", "dipoleCells", "dipole"}  # fmt: skip
_MOST_TEXT = 2**16
_OF_DENSITIES = "mA/cm2"

Gids = NDArray[np.int64]


@dataclass(frozen=True)
class _Columns(LazyArrayBase):
    """Traces of ``length`` numbers, each from one of ``starts`` in ``numbers``, as columns."""

    numbers: NDArray[Any]
    starts: NDArray[np.int64]
    length: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of times and of traces."""
        return self.length, len(self.starts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rows = np.arange(self.length)[slices[0]]
        return np.asarray(self.numbers[rows[:, np.newaxis] + self.starts[slices[1]]])


@dataclass
class _Run:
    """What the files of a run contain; ``places`` are the positions of values in each file."""

    paths: list[Path] = field(default_factory=list)
    places: list[dict[str, int]] = field(default_factory=list)
    version: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    pops: dict[str, list[int]] = field(default_factory=dict)
    numbers: GrowingArray = field(default_factory=lambda: GrowingArray("f8"))
    data: list[dict[str, Any]] = field(default_factory=list)
    cells: Cells = field(default_factory=Cells)
    notes: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The files, for messages."""
        return str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0]} and others"


def read(paths: Sequence[Path], *, unit: Mapping[str, str] | None = None) -> SimulationOutput:
    """Read JSON files that NetPyNE saved; several are those of the nodes of one run.

    Parameters
    ----------
    paths
        A file of ``saveJson``, or all files of ``saveDataInNodes``.
    unit
        Units of traces by name, such as ``{"V_soma": "mV"}``, which override those known from
        ``recordTraces`` of the configuration.

    Raises
    ------
    SourceError
        If a file is not valid, if a cell is in two files, or if the traces of a name differ in
        length.
    NothingRecordedError
        If there is nothing recorded.
    UnitError
        If a unit cannot be parsed, or is that of a trace that does not occur.

    """
    run = _Run()
    for path in paths:
        _read_file(path, run)
    _read_cells(run)
    populations = _Populations(run)
    numbers = run.numbers.mapped()
    clock = _Clock(run, numbers)
    groups: list[ArrayGroup] = []
    reports = list(_reports(run, populations, clock, numbers, groups, unit or {}))
    spikes = [*_spikes(run, populations, numbers), *_stimuli(run, populations, numbers)]
    potentials = list(_potentials(run, numbers, clock))
    reports += _membrane_currents(run, populations, numbers, clock)
    groups += _dipoles(run, numbers, clock)
    networks = read_network(run.cells, populations.gids, run.notes)
    extra = _extra(run, numbers, groups)
    if not (reports or spikes or potentials or groups or networks):
        msg = f"{run.where} has no traces, spikes, potentials or connections"
        raise NothingRecordedError(msg)
    return SimulationOutput(
        reports=tuple(reports),
        spikes=tuple(spikes),
        potentials=tuple(potentials),
        arrays=tuple(groups),
        networks=networks,
        run=_parameters(run),
        notes=tuple(dict.fromkeys(run.notes)),
        provenance={"format": "NetPyNE", "files": [path.name for path in run.paths], **extra},
    )


def _read_file(path: Path, run: _Run) -> None:
    """Read the configuration, populations and data of a file, and find its cells."""
    data: Any = {}
    with JsonFile(path) as file:
        places = _places(file)

        def value(name: str) -> Any:
            file.seek(places[name])
            return file.read()

        if "netpyne_version" in places:
            version = str(value("netpyne_version"))
            if run.version and version != run.version:
                msg = f"{path} is of NetPyNE {version}, and {run.paths[0]} of {run.version}; "
                raise SourceError(msg + "expected the files of one run")
            run.version = version
        if "simConfig" in places and not run.config:
            config = value("simConfig")
            run.config = config if isinstance(config, dict) else {}
        if "pops" in places:
            _add_populations(value("pops"), run)
        if "simData" in places:
            file.seek(places["simData"])
            data = file.data(run.numbers)
    if not isinstance(data, dict):
        msg = f"{path} has a simData that is not an object; expected traces by name"
        raise SourceError(msg)
    _check_cells(path, data, run)
    run.paths.append(path)
    run.places.append(places)
    run.data.append(data)


def _check_cells(path: Path, data: Mapping[str, Any], run: _Run) -> None:
    """Raise SourceError if a cell has a trace in a file before."""
    for other, known in zip(run.paths, run.data, strict=True):
        for name in set(data) & set(known) - {"stims"}:
            both = {one for one in _of(data, name) if _CELL.fullmatch(one)} & set(_of(known, name))
            if both:
                msg = f"{min(both)} has {name} in {other} and in {path}; expected the files of the "
                raise SourceError(msg + "nodes of one run, each with its own cells")


def _places(file: JsonFile) -> dict[str, int]:
    """Return the positions of the values of a file, and of those in ``net``."""
    places: dict[str, int] = {}
    for name in file.members():
        if name == "net" and file.peek() == b"{":
            for inner in file.members():
                file.peek()
                places.setdefault(inner, file.position)
                file.skip()
            continue
        file.peek()
        places[name] = file.position
        file.skip()
    return places


def _add_populations(pops: Any, run: _Run) -> None:
    for name, pop in pops.items() if isinstance(pops, dict) else ():
        gids = pop.get("cellGids") if isinstance(pop, dict) else None
        run.pops.setdefault(name, []).extend(int(gid) for gid in gids or ())


def _read_cells(run: _Run) -> None:
    """Read the cells of all files."""
    order = run.config.get("compactConnFormat") or ()
    membrane = [int(gid) for data in run.data for gid in _of(data, "iMembrane") if gid.isdecimal()]
    for path, places in zip(run.paths, run.places, strict=True):
        if "cells" not in places:
            continue
        before = set(run.cells.gids)
        with JsonFile(path) as file:
            file.seek(places["cells"])
            run.cells.read(file, order or ROW, membrane)
        both = before & set(run.cells.gids[len(before) :])
        if both:
            msg = f"cell {min(both)} is in {path} and in a file before it; expected the files of "
            raise SourceError(msg + "the nodes of one run, each with its own cells")


def _of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the members of a value of simData, none if it is no object."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


class _Populations:
    """Which population each cell belongs to, and the tags of cells."""

    def __init__(self, run: _Run) -> None:
        listed = run.pops if any(run.pops.values()) else run.cells.populations
        gids = {name: np.unique(np.array(some, np.int64)) for name, some in listed.items() if some}
        # Their order is lost in the file.
        self.gids: dict[str, Gids] = dict(sorted(gids.items(), key=lambda one: one[1][0]))
        self._notes = run.notes
        self._rows = np.array(run.cells.gids, np.int64)
        self._order = np.argsort(self._rows, kind="stable")
        self._columns = run.cells.columns()
        self._used: set[int] = set()

    def split(self, gids: Gids) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Yield the populations of gids, each with the positions of its own."""
        rest = np.ones(len(gids), bool)
        for name, known in self.gids.items():
            chosen = np.flatnonzero(positions_of(gids, known) >= 0)
            rest[chosen] = False
            if len(chosen):
                yield name, chosen
        if rest.any():
            others = np.flatnonzero(rest)
            name = free_name(OTHERS, self.gids)
            told = f"the file does not say the population of some cells, which are in {name!r}"
            if told not in self._notes:
                self._notes.append(told)
            yield name, others

    def tags(self, gids: Gids) -> dict[str, Any]:
        """Return the tags of gids by name; those of cells that are not in the file are missing."""
        if not len(self._rows) or not self._columns:
            return {}
        known = self._rows[self._order]
        at = positions_of(gids, known)
        if (at < 0).all():
            return {}
        rows = np.where(at >= 0, self._order[at], -1)
        if (rows < 0).any():
            return {}
        return {name: take_rows([(values, rows)]) for name, values in self._columns.items()}


class _Clock:
    """The times of traces, and of rows of potentials."""

    def __init__(self, run: _Run, numbers: NDArray[Any]) -> None:
        step = run.config.get("recordStep")
        self.step = float(step) if isinstance(step, int | float) and step > 0 else None
        found = next(
            (d["t"] for d in run.data if isinstance(d.get("t"), Numbers) and d["t"].shape[0]), None
        )
        self._times = None if found is None else _values(numbers, found)
        self._notes = run.notes

    def of_traces(self, count: int) -> Times | None:
        """Return the times of traces, None if they are not known."""
        times = self._times
        if times is not None and len(times) == count:
            step = self.step
            if step is None and count > 1:
                step = float(times[-1] - times[0]) / (count - 1)
            if step:
                expected = times[0] + step * np.arange(count)
                if np.abs(times - expected).max() <= _REGULAR * step:
                    return self._regular(float(times[0]), step, count)
            return Timestamps(np.asarray(times) / _MS_PER_S)
        if self.step is None:
            return None
        why = "there are no times" if times is None else f"there are {len(times)} times"
        self._notes.append(
            f"{why} for traces of {count} values: those of recordStep, {self.step:g} ms, are used"
        )
        return self._regular(0.0, self.step, count)

    def of_rows(self, count: int) -> Times | None:
        """Return the times of rows of potentials, of which the first is after one step."""
        return None if self.step is None else self._regular(self.step, self.step, count)

    @staticmethod
    def _regular(start: float, step: float, count: int) -> RegularTimes:
        return RegularTimes(start / _MS_PER_S, meant_rate(step, _MS_PER_S), count)


def _values(numbers: NDArray[Any], found: Numbers) -> NDArray[Any]:
    """Return the numbers of a list."""
    size = int(np.prod(found.shape))
    return np.asarray(numbers[found.start : found.start + size]).reshape(found.shape)


def _reports(
    run: _Run,
    populations: _Populations,
    clock: _Clock,
    numbers: NDArray[Any],
    groups: list[ArrayGroup],
    given: Mapping[str, str],
) -> Iterator[Report]:
    """Yield a report for each trace of recordTraces and population."""
    entries = _of(run.config, "recordTraces")
    names = dict.fromkeys(
        name for data in run.data for name, value in data.items() if _is_trace(name, value)
    )
    if unknown := sorted(set(given) - set(names)):
        msg = f"a unit is set for {unknown[0]}, which is no trace of {run.where}; traces: "
        raise UnitError(msg + (", ".join(names) or "none"))
    for name in names:
        cells = {
            int(key.removeprefix("cell_")): value
            for data in run.data
            for key, value in _of(data, name).items()
        }
        entry = entries.get(name)
        entry = entry if isinstance(entry, dict) else {}
        traces = _Traces.of(name, cells, entry, run)
        if not len(traces.starts):
            run.notes.append(f"left out: {name}, which was recorded in no cell")
            continue
        times = clock.of_traces(traces.length)
        data = _Columns(numbers, traces.starts, traces.length)
        if times is None:
            groups.append(_untimed(name, data))
            run.notes.append(
                f"{name} has no times: they are not in the file, and recordStep is "
                f"{run.config.get('recordStep')!r}"
            )
            continue
        unit = _unit_of(name, entry, given, run)
        split = list(populations.split(traces.gids))
        for population, chosen in split:
            part = traces.take(chosen)
            yield Report(
                name=name if len(split) == 1 else f"{name}_{population}",
                report=name,
                data=_Columns(numbers, part.starts, traces.length),
                times=times,
                compartments=CompartmentTable.from_counts(
                    population,
                    part.gids,
                    part.counts,
                    part.columns,
                    populations.tags(part.gids),
                ),
                unit=unit,
                variable=str(entry["var"]) if "var" in entry else None,
                provenance={"format": "NetPyNE", "recordTraces": entry},
            )


def _is_trace(name: str, value: Any) -> bool:
    is_of_cells = isinstance(value, dict) and all(map(_CELL.fullmatch, value))
    return is_of_cells and name not in _NOT_TRACES


@dataclass(frozen=True)
class _Traces:
    """The traces of one name by gid: their starts in the numbers, and places in the cells."""

    gids: Gids
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    labels: tuple[str | None, ...]
    positions: NDArray[np.float64]
    length: int

    @classmethod
    def of(
        cls, name: str, cells: Mapping[int, Any], entry: Mapping[str, Any], run: _Run
    ) -> "_Traces":
        """Return the traces of cells in the order of gids."""
        gids, counts, starts, labels, positions = [], [], [], [], []
        lengths: dict[int, int] = {}
        empty = []
        for gid, value in sorted(cells.items()):
            found = value if isinstance(value, dict) else {_place(entry, run.version): value}
            found = {
                place: one
                for place, one in found.items()
                if isinstance(one, Numbers) and len(one.shape) == 1 and one.shape[0]
            }
            if not found:
                empty.append(gid)
                continue
            gids.append(gid)
            counts.append(len(found))
            for place, one in found.items():
                section, position = _parse_place(place) if isinstance(place, str) else place
                known = section is not None and position is not None
                labels.append(f"{section}({position:g})" if known else None)
                positions.append(np.nan if position is None else position)
                starts.append(one.start)
                lengths.setdefault(one.shape[0], gid)
        if len(lengths) > 1:
            (one, of), (other, of_other) = list(lengths.items())[:2]
            msg = f"{name} of cell {of} has {one} values, and of cell {of_other} {other}, in "
            msg += f"{run.where}; expected one length"
            raise SourceError(msg)
        if empty and gids:
            run.notes.append(f"left out: {name} of cells without values: {some_of(empty)}")
        return cls(
            np.array(gids, np.int64),
            np.array(counts, np.int64),
            np.array(starts, np.int64),
            tuple(labels),
            np.array(positions, float),
            next(iter(lengths), 0),
        )

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the compartments."""
        ends = np.cumsum(self.counts)
        first = np.repeat(ends - self.counts, self.counts)
        columns: dict[str, Any] = {"number": np.arange(len(self.starts)) - first}
        if not np.isnan(self.positions).any():
            columns["position"] = self.positions
        if all(label is not None for label in self.labels):
            columns["label"] = np.array(self.labels, object)
        return columns

    def take(self, cells: NDArray[np.intp]) -> "_Traces":
        """Return the traces of some cells."""
        ends = np.cumsum(self.counts)
        of = [np.arange(ends[one] - self.counts[one], ends[one]) for one in cells]
        chosen = np.concatenate([np.zeros(0, np.intp), *of])
        return _Traces(
            self.gids[cells],
            self.counts[cells],
            self.starts[chosen],
            tuple(self.labels[one] for one in chosen),
            self.positions[chosen],
            self.length,
        )


def _place(entry: Mapping[str, Any], version: str) -> tuple[str | None, float | None]:
    """Return the section and position of an entry of recordTraces."""
    if not isinstance(entry.get("sec"), str):
        return None, None
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    is_old = bool(numbers) and numbers < _LOC_SINCE
    position = entry.get("pos", entry.get("loc", 0.5)) if is_old else entry.get("loc", 0.5)
    is_number = isinstance(position, int | float)
    return entry["sec"], float(position) if is_number and 0 <= position <= 1 else None


def _parse_place(text: str) -> tuple[str | None, float | None]:
    """Return the section and position of a key such as ``dend_0.7``."""
    section, _, position = text.rpartition("_")
    try:
        return section or None, float(position)
    except ValueError:
        return text, None


def _unit_of(name: str, entry: Mapping[str, Any], given: Mapping[str, str], run: _Run) -> Unit:
    """Return the unit of a trace: the given one, or that of its variable in NEURON."""
    if name in given:
        return as_unit(given[name], f"report {name!r}")
    if "var" not in entry:
        if name[:1] in {"v", "V"}:
            run.notes.append(f"{name} is taken to be in mV from its name; set another with unit")
            return as_unit("mV", name)
        run.notes.append(f"the unit of {name} is not known; set it with unit")
        return UNKNOWN
    text = _variable_unit(str(entry["var"]), entry)
    if text is None:
        run.notes.append(f"the unit of {name} is not known; set it with unit")
    return UNKNOWN if text is None else as_unit(text, name)


def _variable_unit(variable: str, entry: Mapping[str, Any]) -> str | None:
    """Return the unit of a variable of NEURON."""
    if variable in {"v", "V"}:
        return "mV"
    if variable == "i_membrane_":
        return "nA"
    if any(key in entry for key in ("synMech", "stim", "pointp")):
        return {"i": "nA", "g": "uS"}.get(variable)
    if variable.startswith("i"):
        return _OF_DENSITIES
    if "mech" in entry:
        return "S/cm2" if variable.startswith("g") else "1" if len(variable) == 1 else None
    return "mM" if re.fullmatch(r"(na|k|ca|cl|mg)[io]", variable) else None


def _untimed(name: str, data: Any) -> ArrayGroup:
    return ArrayGroup(name, (ArrayWithAxes(name, data),), title=f"{name}, times not known")


def _recorded(run: _Run) -> set[int] | None:
    """Return the gids whose spikes were recorded, None for all."""
    wanted = run.config.get("recordCellsSpikes", _ALL)
    if wanted == _ALL:
        return None
    found: set[int] = set()
    for one in wanted if isinstance(wanted, list) else ():
        if isinstance(one, str):
            found |= set(run.pops.get(one, ()))
        elif isinstance(one, int):
            found.add(one)
    return found


def _spikes(run: _Run, populations: _Populations, numbers: NDArray[Any]) -> Iterator[Spikes]:
    """Yield the spikes of each population; recorded cells without spikes are silent."""
    trains: dict[str, tuple[GrowingArray, GrowingArray, set[int]]] = {}
    is_recorded = False
    for gids, times in _spike_blocks(run, numbers):
        is_recorded = True
        for name, chosen in populations.split(gids):
            part = trains.setdefault(name, (GrowingArray("i8"), GrowingArray("f8"), set()))
            part[0].append(gids[chosen])
            part[1].append(times[chosen])
            part[2].update(gids[chosen].tolist())
    if not is_recorded:
        return
    wanted = _recorded(run)
    for name in dict.fromkeys([*populations.gids, *trains]):
        known = populations.gids.get(name, np.zeros(0, np.int64))
        if wanted is not None:
            known = known[np.isin(known, sorted(wanted))]
        if name not in trains and not len(known):
            continue
        ids, when, spiking = trains.get(name, (GrowingArray("i8"), GrowingArray("f8"), set()))
        silent = known[~np.isin(known, sorted(spiking))] if run.config else None
        everyone = np.union1d(known, np.array(sorted(spiking), np.int64))
        yield _train(run, name, (ids, when), silent, everyone, populations.tags(everyone))


def _spike_blocks(run: _Run, numbers: NDArray[Any]) -> Iterator[tuple[Gids, NDArray[np.float64]]]:
    """Yield gids and times (ms) of spikes of all files, at least an empty block of each."""
    for path, data in zip(run.paths, run.data, strict=True):
        times, ids = data.get("spkt"), data.get("spkid")
        if not (isinstance(times, Numbers) and isinstance(ids, Numbers)):
            continue
        if times.shape != ids.shape:
            msg = f"{path} has {times.shape[0]} spkt and {ids.shape[0]} spkid; expected as many"
            raise SourceError(msg)
        for start in range(0, max(times.shape[0], 1), _BLOCK):
            stop = min(start + _BLOCK, times.shape[0])
            found = np.asarray(numbers[ids.start + start : ids.start + stop])
            if not ((found >= 0) & (found == np.floor(found)) & (found < 2.0**53)).all():
                msg = f"{path} has a spkid that is not an id; expected integers from 0"
                raise SourceError(msg)
            yield (
                found.astype(np.int64),
                np.asarray(numbers[times.start + start : times.start + stop]),
            )


def _train(
    run: _Run,
    name: str,
    found: tuple[GrowingArray, GrowingArray],
    silent: Gids | None,
    gids: Gids,
    tags: Mapping[str, Any],
) -> Spikes:
    """Return spikes of ``found`` ids and times (ms), with the tags of ``gids``."""
    ids, times = found
    provenance = {"format": "NetPyNE"}
    stored = StoredSpikes(
        name, f"spkid of {run.where}", ids.mapped(), times.mapped(), _MS_PER_S, provenance, silent
    )
    spikes = Spikes.of_source(name, stored)
    return spikes.with_cells(CellTable(name, gids, tags)) if tags else spikes


def _stimuli(run: _Run, populations: _Populations, numbers: NDArray[Any]) -> Iterator[Spikes]:
    """Yield the times of stimuli: a population for each, whose ids are those of its targets."""
    found: dict[str, tuple[GrowingArray, GrowingArray]] = {}
    for data in run.data:
        for key, stimuli in _of(data, "stims").items():
            for label, times in stimuli.items() if isinstance(stimuli, dict) else ():
                if not (_CELL.fullmatch(key) and isinstance(times, Numbers)):
                    continue
                ids, when = found.setdefault(label, (GrowingArray("i8"), GrowingArray("f8")))
                values = _values(numbers, times)
                ids.append(np.full(len(values), int(key.removeprefix("cell_"))))
                when.append(values)
    for label, (ids, when) in found.items():
        name = free_name(label, populations.gids)
        run.notes.append(f"{name} has the times of a stimulus; its ids are the cells it stimulates")
        yield _train(run, name, (ids, when), None, np.zeros(0, np.int64), {})


def _summed(run: _Run, numbers: NDArray[Any], *keys: str) -> NDArray[Any] | None:
    """Return rows of a value of all files, those of the nodes of a run added."""
    parts = []
    for data in run.data:
        value: Any = data
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, Numbers) and value.shape[0]:
            parts.append(_values(numbers, value))
    if not parts:
        return None
    shapes = sorted({part.shape for part in parts})
    if len(shapes) > 1:
        msg = f"{'.'.join(keys)} has the shapes {shapes[0]} and {shapes[1]} in the files of "
        msg += f"{run.where}; expected one"
        raise SourceError(msg)
    if len(parts) == 1:
        return parts[0]
    total: NDArray[Any] = temporary_array(np.float64, shapes[0])
    for start in range(0, shapes[0][0], _BLOCK):
        rows = slice(start, start + _BLOCK)
        total[rows] = sum(part[rows] for part in parts)
    return total


def _potentials(
    run: _Run, numbers: NDArray[Any], clock: _Clock
) -> Iterator[ExtracellularPotential]:
    """Yield the LFP of all cells, and of each population."""
    names: dict[tuple[str, ...], str] = {("LFP",): "LFP"}
    names |= {("LFPPops", pop): f"LFP_{pop}" for data in run.data for pop in _of(data, "LFPPops")}
    if any(_of(data, "LFPCells") for data in run.data):
        run.notes.append("left out: LFPCells, the contribution of single cells to the LFP")
    for keys, name in names.items():
        values = _summed(run, numbers, *keys)
        if values is None or values.ndim != 2:
            continue
        times = clock.of_rows(len(values))
        if times is None:
            run.notes.append(f"left out: {name}, whose times are not known without recordStep")
            continue
        if name == "LFP":
            run.notes.append(_doubtful_rows(values))
        yield ExtracellularPotential(
            name,
            data=values,
            times=times,
            channel_ids=np.arange(values.shape[1]),
            unit=Unit("volts", 1e-3),
            electrodes=_electrodes(run, values.shape[1]),
            provenance={"format": "NetPyNE"},
        )


def _doubtful_rows(values: NDArray[Any]) -> str:
    """Return a note on rows that NetPyNE misplaces."""
    zero = [
        start + int(row)
        for start in range(0, len(values), _BLOCK)
        for row in np.flatnonzero(~values[start : start + _BLOCK].any(axis=1))
    ]
    empty = f" rows {some_of(zero)} are zero, because" if zero else ""
    return (
        f"rows of the LFP are stored as they are:{empty} NetPyNE adds a step to the row before or "
        f"after it, and the last row, {len(values) - 1}, has the first step"
    )


def _electrodes(run: _Run, count: int) -> Electrodes | None:
    """Return the electrodes as the user gave them; recXElectrode has y negated."""
    sites = run.config.get("recordLFP")
    try:
        positions = np.array(sites, float)
    except (TypeError, ValueError):
        positions = np.zeros(0)
    if positions.shape != (count, 3):
        run.notes.append("the positions of electrodes are not known: recordLFP is not in the file")
        return None
    return Electrodes(np.arange(count), positions)


def _membrane_currents(
    run: _Run, populations: _Populations, numbers: NDArray[Any], clock: _Clock
) -> Iterator[Report]:
    """Yield the transmembrane currents of segments, in the order in which sections were made."""
    cells = {
        int(gid): value
        for data in run.data
        for gid, value in _of(data, "iMembrane").items()
        if gid.isdecimal() and isinstance(value, Numbers) and len(value.shape) == 2
    }
    if not cells:
        return
    rows = {value.shape[0] for value in cells.values()}
    times = clock.of_rows(rows.pop()) if len(rows) == 1 else None
    if times is None:
        run.notes.append("left out: iMembrane, whose times are not known")
        return
    gids = np.array(sorted(cells), np.int64)
    split = list(populations.split(gids))
    for population, chosen in split:
        ids = gids[chosen]
        matrices = [_values(numbers, cells[gid]) for gid in ids.tolist()]
        counts = np.array([matrix.shape[1] for matrix in matrices])
        columns: dict[str, Any] = {"number": np.concatenate([np.arange(n) for n in counts])}
        labels = [run.cells.sections.get(gid) for gid in ids.tolist()]
        if all(one is not None and len(one) == n for one, n in zip(labels, counts, strict=True)):
            columns["label"] = np.array([text for one in labels for text in one or ()], object)
        else:
            run.notes.append(
                "the segments of iMembrane are in the order in which their sections were made, "
                "which is not in the file"
            )
        yield Report(
            name="i_membrane" if len(split) == 1 else f"i_membrane_{population}",
            report="iMembrane",
            data=matrices[0] if len(matrices) == 1 else _SideBySide(tuple(matrices)),
            times=times,
            compartments=CompartmentTable.from_counts(
                population, ids, counts, columns, populations.tags(ids)
            ),
            unit=as_unit("nA", "iMembrane"),
            variable="i_membrane_",
            provenance={"format": "NetPyNE"},
        )


@dataclass(frozen=True)
class _SideBySide(LazyArrayBase):
    """Matrices of equal length side by side."""

    matrices: tuple[NDArray[Any], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of times and of columns."""
        return len(self.matrices[0]), sum(one.shape[1] for one in self.matrices)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return np.hstack([one[slices[0]] for one in self.matrices])[:, slices[1]]


def _dipoles(run: _Run, numbers: NDArray[Any], clock: _Clock) -> Iterator[ArrayGroup]:
    """Yield the current dipole moments, whose rows are those of the LFP."""
    for name in ("dipoleSum", "dipolePops", "dipoleCells", "dipole"):
        keys: list[tuple[str, ...]] = (
            [(name,)] if any(isinstance(d.get(name), Numbers) for d in run.data) else []
        )
        keys += [(name, key) for d in run.data for key in _of(d, name)]
        arrays = []
        times = None
        for key in dict.fromkeys(keys):
            values = _summed(run, numbers, *key)
            if values is None:
                continue
            times = clock.of_rows(len(values))
            unit = "" if name == "dipole" else "nA*um"
            arrays.append(ArrayWithAxes(str(key[-1]), values, unit=unit))
        if arrays:
            axes: tuple[ArrayAxis, ...] = ()
            if times is not None and name != "dipole":
                axes = (ArrayAxis("time", times.seconds(), "time", "s"),)
            yield ArrayGroup(name, tuple(arrays), axes, title="current dipole moment")


def _extra(run: _Run, numbers: NDArray[Any], groups: list[ArrayGroup]) -> dict[str, Any]:
    """Return the other small values of simData; lists of numbers become arrays."""
    kept: dict[str, Any] = {}
    arrays = []
    for name, value in run.data[0].items():
        if name in _NOT_TRACES or _is_trace(name, value):
            continue
        if isinstance(value, Numbers):
            if value.shape[0]:
                arrays.append(ArrayWithAxes(name, _values(numbers, value)))
            continue
        try:
            text = json.dumps(value)
        except TypeError:
            text = ""
        if not text or len(text) > _MOST_TEXT or ("[" in text and isinstance(value, dict)):
            run.notes.append(f"left out: {name} of simData")
        else:
            kept[name] = value
    if arrays:
        groups.append(ArrayGroup("simData", tuple(arrays), title="other values of simData"))
    return {"simData": kept} if kept else {}


def _parameters(run: _Run) -> Run:
    """Return the parameters of the run; its duration is ``duration``, not ``tstop``."""
    config = run.config

    def number(value: Any) -> float | None:
        return float(value) if isinstance(value, int | float) else None

    step, duration = number(config.get("dt")), number(config.get("duration"))
    seed = _of(config, "seeds").get("stim")
    return Run(
        simulator="NetPyNE",
        simulator_version=run.version or None,
        time_step=step / _MS_PER_S if step and step > 0 else None,
        duration=duration / _MS_PER_S if duration is not None and duration >= 0 else None,
        temperature=number(_of(config, "hParams").get("celsius")),
        seed=seed if isinstance(seed, int) and 0 <= seed < 2**63 else None,
        configuration=json.dumps(config) if config else None,
    )
