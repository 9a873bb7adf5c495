"""Read the circuit of a run, and join the properties of its cells to the recordings."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    NameClashError,
    SelectionError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
    file_errors,
)
from ndx_simulation_output.recording import LazyArray, Report, SimulationOutput, Spikes
from ndx_simulation_output.recording.cells import CellTable, take_rows
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable, PopulationSummary
from ndx_simulation_output.recording.ids import free_name, some_of
from ndx_simulation_output.recording.output import LaterNotes
from ndx_simulation_output.sonata.circuit_config import (
    WITHOUT_NODES,
    CircuitConfig,
    NetworkFile,
    read_circuit_config,
    read_node_sets,
)
from ndx_simulation_output.sonata.config import NamedFile
from ndx_simulation_output.sonata.edges import read_edges
from ndx_simulation_output.sonata.morphologies import MorphologyFiles
from ndx_simulation_output.sonata.nodes import STORED_COLUMNS, read_nodes
from ndx_simulation_output.sonata.places import add_places
from ndx_simulation_output.sonata.type_tables import TypeTable, read_types
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.sources import open_source

MOST_PROPERTIES = 32
"""Cells that have more properties get the ``USUAL_PROPERTIES`` by default."""
USUAL_PROPERTIES = (
    *("mtype", "etype", "layer", "region", "hemisphere", "location", "ei", "pop_name"),
    *("model_name", "model_type", "model_template", "morphology", "morph_class", "synapse_class"),
    *("x", "y", "z", "orientation_w", "orientation_x", "orientation_y", "orientation_z"),
    *("rotation_angle_xaxis", "rotation_angle_yaxis", "rotation_angle_zaxis"),
)


@dataclass
class CircuitReader:
    """Reads circuits once each, and keeps their files open in ``files``."""

    options: ReadOptions
    files: ExitStack = field(default_factory=ExitStack)
    known: dict[tuple[Path, ...], tuple[Circuit, CircuitConfig, tuple[str, ...]]] = field(
        default_factory=dict
    )
    _others: dict[tuple[Path, str], set[str]] = field(default_factory=dict)

    def read(
        self, network: NamedFile, node_sets: NamedFile | None, *, of_run: bool
    ) -> tuple[Circuit | None, set[Path], tuple[str, ...]]:
        """Return the circuit that a configuration names, its files, and notes.

        It is None if it does not exist, unless the option ``nodes`` is true. Errors of the circuit
        ``of_run`` tell how to read the run without it.
        """
        path = next(iter(network.found()), None)
        if path is None:
            missing = f"the circuit {network}, named by the configuration, does not exist"
            if self.options.nodes:
                raise SourceError(missing)
            return None, set(), (f"{missing}: cells have no properties",)
        sets = () if node_sets is None else tuple(node_sets.found()[:1])
        key = (path.resolve(), *sets)
        if key not in self.known:
            notes: list[str] = []
            if node_sets is not None and not sets:
                notes.append(f"{node_sets}, the file of node sets, does not exist")
            with _hint(WITHOUT_NODES if of_run else ""):
                circuit, config = self._read(path, sets, notes)
            self.known[key] = circuit, config, tuple(notes)
        circuit, config, found = self.known[key]
        if not circuit.populations:
            none = f"{path} names no existing file of nodes"
            if self.options.nodes or not of_run:
                raise SourceError("; ".join([none, *found]))
            return None, set(), (*found, f"{none}: cells have no properties")
        entries = (*config.nodes, *config.edges)
        paths = [path for entry in entries for path in (entry.path, entry.types) if path]
        return circuit, {path.resolve() for path in paths}, found

    def morphologies(self, circuit: Circuit, *, old_import: bool) -> dict[str, MorphologyFiles]:
        """Return the files of morphologies of each population of a circuit that was read."""
        config = next(config for known, config, _ in self.known.values() if known is circuit)
        entries = {entry.number: entry for entry in config.nodes}
        found = {}
        for cells in circuit.populations:
            parts = config.components_of(entries[cells.provenance["number"]], cells.population)
            others = parts.get("alternate_morphologies")
            named = {"swc": parts.get("morphologies_dir")}
            named |= others if isinstance(others, Mapping) else {}
            folders = {kind: one for kind, one in named.items() if isinstance(one, Path)}
            found[cells.population] = MorphologyFiles(folders, self.options.trust, old_import)
        return found

    def closing(self, close: Callable[[], None]) -> Callable[[], None]:
        """Return a function that closes the files of circuits after those of ``close``."""
        if not self.known:
            return close
        files = self.files.pop_all()

        def close_all() -> None:
            with files:
                close()

        return close_all

    def _read(
        self, path: Path, sets: tuple[Path, ...], notes: list[str]
    ) -> tuple[Circuit, CircuitConfig]:
        config = read_circuit_config(path)
        if config.missing and self.options.nodes:
            raise SourceError(config.missing[0])
        for missing in config.missing_types:
            warnings.warn(missing, SimulationOutputWarning, stacklevel=2)
        notes += [*config.missing, *config.missing_types, *config.notes]
        self._others = {}
        texts: dict[str, TypeTable] = {}
        by_name: dict[str, CellTable] = {}
        for entry in config.nodes:
            for cells in self._populations(entry, _types_of(entry, texts), notes):
                if cells.population in by_name:
                    where = f"population {cells.population!r} is in two files of nodes of {path}"
                    msg = f"{where}; expected one"
                    raise NameClashError(msg)
                by_name[cells.population] = cells
        populations, names = list(by_name.values()), list(by_name)
        connections = [
            table
            for entry in config.edges
            for table in self._connections(entry, _types_of(entry, texts), names, notes)
        ]
        notes += [
            f"{', '.join(sorted(others))} in {root} of {file.name}: left out, as the configuration "
            "names other populations"
            for (file, root), others in self._others.items()
            if others
        ]
        files: dict[str, str] = {}
        node_sets: dict[str, Any] = {}
        if config.node_sets is not None and (own := config.node_sets.found()):
            sets = (own[0], *sets)
        elif config.node_sets is not None:
            notes.append(f"{config.node_sets}, the file of node sets, does not exist")
        for file in dict.fromkeys(sets):
            files[free_name(file.name, files)], found = read_node_sets(file)
            node_sets |= found
        return Circuit(
            tuple(replace(cells, node_sets=node_sets) for cells in populations),
            tuple(connections),
            node_sets=node_sets,
            summary=tuple(map(_summary, populations)),
            configuration=config.text,
            provenance={
                "format": "SONATA",
                "file": path.name,
                "types": {name: table.text for name, table in texts.items()},
                "node_sets": files,
            },
        ), config

    def _populations(
        self, entry: NetworkFile, types: TypeTable | None, notes: list[str]
    ) -> list[CellTable]:
        with file_errors(entry.path):
            return read_nodes(self._open(entry, "nodes"), entry, types, notes)

    def _connections(
        self,
        entry: NetworkFile,
        types: TypeTable | None,
        populations: Collection[str],
        notes: list[str],
    ) -> list[ConnectionTable]:
        with file_errors(entry.path):
            file = self._open(entry, "edges")
            return read_edges(file, entry, types, populations, notes)

    def _open(self, entry: NetworkFile, root: str) -> h5py.File:
        """Open a file, and note which populations no entry names."""
        file = self.files.enter_context(open_source(entry.path, trust=self.options.trust))
        group = file.get(root)
        names = set(group) if isinstance(group, h5py.Group) else set()
        others = self._others.setdefault((entry.path, root), names)
        others -= names if entry.populations is None else set(entry.populations)
        return file


@contextmanager
def _hint(text: str) -> Iterator[None]:
    """Add ``text`` to the errors of a source."""
    try:
        yield
    except (SourceError, ShapeMismatchError, NameClashError) as error:
        msg = f"{error}; {text}" if text and text not in str(error) else str(error)
        raise type(error)(msg) from error.__cause__


def _types_of(entry: NetworkFile, known: dict[str, TypeTable]) -> TypeTable | None:
    """Return the table of types of a file, read once, and add it to ``known``."""
    if entry.types is None:
        return None
    for table in known.values():
        if table.path == entry.types:
            return table
    name = free_name(entry.types.name, known)
    known[name] = replace(read_types(entry.types), name=name)
    return known[name]


def _summary(cells: CellTable) -> PopulationSummary:
    names = tuple(name for name in cells.columns if name not in STORED_COLUMNS)
    return PopulationSummary(cells.population, len(cells), cells.kind, names)


def join_circuit(
    output: SimulationOutput,
    circuit: Circuit,
    options: ReadOptions,
    morphologies: Mapping[str, MorphologyFiles],
    segment: float | None,
) -> SimulationOutput:
    """Return an output whose reports and spikes have the properties of their cells.

    Cells that are not in the circuit have none, with one note for each population. Compartments
    have places, from ``morphologies`` by population and the longest ``segment`` (µm).
    """
    joiner = _Joiner(circuit, options, morphologies, segment)
    reports = tuple(map(joiner.report, output.reports))
    spikes = tuple(map(joiner.spikes, output.spikes))
    unread = [one for one in spikes if not one.is_read]

    def later(_: Sequence[Spikes]) -> Iterator[str]:
        yield from output.known_notes.later(output.spikes)
        for one in unread:
            joiner.find_missing(one)
        yield from joiner.missing_notes()

    known = dict.fromkeys(joiner.notes)
    notes = LaterNotes([*output.known_notes, *known], later)
    if not unread:
        notes = LaterNotes([*output.notes, *known, *joiner.missing_notes()])
    return replace(output, reports=reports, spikes=spikes, circuit=circuit, notes=notes)


class _Joiner:
    """Joins the properties of a circuit to recordings, and collects notes."""

    def __init__(
        self,
        circuit: Circuit,
        options: ReadOptions,
        morphologies: Mapping[str, MorphologyFiles],
        segment: float | None,
    ) -> None:
        self.circuit, self.options = circuit, options
        self.morphologies, self.segment = morphologies, segment
        self.notes: list[str] = []
        self._tables: dict[str, CellTable] = {}
        self._missing: dict[str, set[int]] = {}
        self._columns: dict[tuple[str, bytes], Mapping[str, LazyArray]] = {}
        known = {name for cells in circuit.populations for name in cells.columns}
        for name in options.properties or ():
            if name not in known:
                names = ", ".join(sorted(known - {*STORED_COLUMNS})) or "none"
                msg = f"cells of the circuit have no property {name!r}; there are: {names}"
                raise SelectionError(msg)

    def report(self, report: Report) -> Report:
        cells = self._cells(report, f"report {report.name!r}")
        if cells is None:
            return report
        table = report.compartments
        ids = np.asarray(table.cell_ids[:])
        key = cells.population, ids.tobytes()
        if key not in self._columns:
            rows = self._rows(cells, ids)
            self._columns[key] = {
                name: take_rows([(values, rows)]) for name, values in cells.columns.items()
            }
        columns = {**self._columns[key], **table.cell_columns}
        joined = replace(table, cell_columns=columns, node_sets=cells.node_sets)
        population = report.population
        return add_places(
            replace(report, compartments=joined),
            self.circuit[population],
            self.morphologies[population],
            self.segment,
        )

    def spikes(self, spikes: Spikes) -> Spikes:
        cells = self._cells(spikes, "spikes")
        if cells is None:
            return spikes
        joined = spikes.with_cells(cells)
        if joined.is_read:
            self.find_missing(joined)
        return joined

    def find_missing(self, spikes: Spikes) -> None:
        """Find the cells of joined spikes that are not in the circuit."""
        if spikes.cells is not None:
            for ids in (spikes.spiking_cells, spikes.silent):
                self._rows(spikes.cells, np.zeros(0, np.int64) if ids is None else ids)

    def missing_notes(self) -> Iterator[str]:
        """Yield a note for the missing cells of each population."""
        yield from (
            f"{len(ids)} recorded cells of population {population!r} are not in the circuit "
            f"(ids {some_of(np.sort([*ids]))}): their properties are missing"
            for population, ids in self._missing.items()
            if ids
        )

    def _cells(self, recording: Report | Spikes, what: str) -> CellTable | None:
        """Return the cells of a recording with the properties to be joined."""
        population = recording.population
        found = {cells.population: cells for cells in self.circuit.populations}
        if population not in found:
            names = ", ".join(found) or "none"
            self.notes.append(
                f"population {population!r} of {what} is not in the circuit, which has {names}: "
                "its cells have no properties"
            )
            return None
        if isinstance(recording, Report):
            dtypes = recording.provenance.get("dtypes", {})
        else:
            dtypes = recording.known_provenance.get("dtypes", {})
        if any(path.rpartition("/")[2] == "gids" for path in dtypes):
            gids = f"{what} of population {population!r} has gids, numbers of the simulator"
            if population != self.options.population:
                self.notes.append(f"{gids}, not ids of nodes: its cells have no properties")
                return None
            self.notes.append(f"{gids}: they were taken for ids of nodes of {population!r}")
        if population not in self._tables:
            self._tables[population] = self._chosen(found[population])
        return self._tables[population]

    def _chosen(self, cells: CellTable) -> CellTable:
        """Return cells with the properties that recordings get."""
        names = [name for name in cells.columns if name not in STORED_COLUMNS]
        if self.options.properties is not None:
            chosen = [name for name in self.options.properties if name in cells.columns]
        else:
            chosen = [name for name in names if len(cells.columns[name].shape) == 1]
            if len(chosen) > MOST_PROPERTIES:
                chosen = [name for name in chosen if name in USUAL_PROPERTIES]
            if others := [name for name in names if name not in chosen]:
                self.notes.append(
                    f"properties of population {cells.population!r} that recordings do not have: "
                    f"{', '.join(others)}; choose them with properties= (--properties)"
                )
        return replace(cells, columns={name: cells.columns[name] for name in chosen})

    def _rows(self, cells: CellTable, ids: NDArray[Any]) -> NDArray[np.intp]:
        """Return the row of each id, -1 for those that are not in the circuit."""
        known = np.asarray(cells.ids)
        order = None if (known[1:] > known[:-1]).all() else np.argsort(known, kind="stable")
        places = np.searchsorted(known, ids, sorter=order)
        places = np.minimum(places, max(len(known) - 1, 0))
        rows = places if order is None else order[places]
        is_known = known[rows] == ids if len(known) else np.zeros(len(ids), bool)
        self._missing.setdefault(cells.population, set()).update(ids[~is_known].tolist())
        return np.where(is_known, rows, -1)
