"""Write the circuit of a run: nodes, edges, tables of types, node sets, and the configuration."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from ndx_simulation_output.choices import Dialect
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.recording.arrays import size_in_bytes
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.sonata.circuit_tables import (
    OF_FILES,
    POPULATION_TYPES,
    LayoutBuilder,
    Table,
    dialect_of,
    kind_of,
    of_cells,
    of_edges,
    suits,
)
from ndx_simulation_output.sonata.config import FileNames
from ndx_simulation_output.sonata.hdf5 import attributes_from_json
from ndx_simulation_output.sonata.layouts import PopulationWriter
from ndx_simulation_output.system import portable_names

ALLEN_ATTRIBUTES = {
    "magic": {"dtype": "<u4", "value": 0x0A7A},
    "version": {"dtype": "<u4", "value": [0, 1]},
}
"""Attributes of the root of every file of bmtk."""

_CONFIG = "circuit_config.json"
_NODE_SETS = "node_sets.json"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_NEEDED = {"morphologies_dir", "biophysical_neuron_models_dir"}


@dataclass
class PlannedFile:
    """An HDF5 file, its attributes, and its populations in ``nodes`` or ``edges``."""

    attributes: Mapping[str, Any]
    populations: list[tuple[str, str, PopulationWriter]] = field(default_factory=list)

    def write(self, file: h5py.File, progress: Callable[[int], object] | None = None) -> None:
        """Write the populations."""
        with _damaged("a file of the circuit"):
            attributes_from_json(file, self.attributes)
        for root, name, writer in self.populations:
            with _damaged(name):
                writer.write(file.require_group(root), name, progress)


@dataclass
class PlannedCircuit:
    """The files of a circuit and the texts beside them, by path in the directory.

    ``simulation`` is the configuration of the run, with the places of the circuit and the output,
    and ``output_dir`` the directory of its recordings.
    """

    simulation: str | None = None
    output_dir: str = "."
    files: dict[str, PlannedFile] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of bytes of the arrays."""
        return sum(
            size_in_bytes(array)
            for file in self.files.values()
            for _, _, writer in file.populations
            for array in (*writer.arrays.values(), *writer.ends.values())
        )


def plan_circuit(
    circuit: Circuit | None,
    dialect: Dialect | None,
    simulation: str | None,
    left_out: list[str],
) -> PlannedCircuit:
    """Return the files of a circuit, and the configuration ``simulation`` of its run.

    Without ``dialect``, tables that were read from SONATA are laid out as in their files, and
    others as in the dialect of the circuit.
    """
    planned = PlannedCircuit(simulation=simulation)
    if circuit is None:
        return planned
    if not (circuit.populations or circuit.connections):
        if circuit.summary:
            names = ", ".join(one.name for one in circuit.summary)
            left_out.append(
                f"the circuit ({names}): the file has no tables of its cells; convert --circuit "
                "stores them, and --edges their connections"
            )
        return planned
    with _damaged("the circuit"):
        return _CircuitPlanner(circuit, dialect, planned, left_out).plan()


@contextmanager
def _damaged(where: str) -> Iterator[None]:
    """Convert errors of values and a provenance that no source can have to ExportError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        msg = f"{where} cannot be written, as the file is damaged: {type(error).__name__} {error}"
        raise ExportError(msg) from error


class _Configuration:
    """A configuration in SONATA's format, of which names of files are resolved in a directory."""

    _ROOT = Path("/sonata").absolute()

    def __init__(self, text: str | None, base: PurePosixPath | None = None) -> None:
        self.text = text
        try:
            found = json.loads(text or "{}")
        except (ValueError, RecursionError):
            found = {}
        self.values: dict[str, Any] = found if isinstance(found, dict) else {}
        manifest = self.values.get("manifest")
        self.names = FileNames(
            self._ROOT / (base or "."), manifest if isinstance(manifest, Mapping) else {}, ""
        )

    def inside(self, name: Any) -> str | None:
        """Return the path in the directory of a file, or None if it is not in it."""
        if not isinstance(name, str) or not name:
            return None
        path = self.names.path(name, self.names.directory, self.names.directory)
        found = path.relative_to(self._ROOT).as_posix() if path.is_relative_to(self._ROOT) else None
        return found if found != "." and "$" not in (found or "") else None

    def entries(self, root: str) -> list[dict[str, Any]]:
        """Return the entries of ``networks``, of ``nodes`` or ``edges``."""
        networks = self.values.get("networks")
        found = networks.get(root) if isinstance(networks, Mapping) else None
        return [entry for entry in found or [] if isinstance(entry, dict)]


class _CircuitPlanner:
    """Plans the files of the tables of a circuit, then the configurations that name them."""

    def __init__(
        self,
        circuit: Circuit,
        dialect: Dialect | None,
        planned: PlannedCircuit,
        left_out: list[str],
    ) -> None:
        self.circuit, self.planned = circuit, planned
        self.left_out = left_out
        self.conform = dialect is not None
        self.tables = [*map(of_cells, circuit.populations), *map(of_edges, circuit.connections)]
        own = (dialect_of(table.provenance) for table in self.tables if table.provenance)
        self.dialect: Dialect = next(own, "bbp") if dialect is None else dialect
        self.run = _Configuration(planned.simulation)
        is_inline = "networks" in self.run.values
        named = None if is_inline else self.run.inside(self.run.values.get("network"))
        own_name = _CONFIG if is_inline else str(circuit.provenance.get("file", _CONFIG))
        self.path = PurePosixPath(named or PurePosixPath(own_name).name)
        self.config = _Configuration(circuit.configuration, self.path.parent)
        self.is_inline = is_inline and self.config.values == self.run.values
        self.sets: dict[str, str | None] = {"circuit": None, "run": None}

    def plan(self) -> PlannedCircuit:
        """Return the files."""
        names = [(table.root, table.name) for table in self.tables]
        self.left_out += [
            f"{name!r} in {root}: readers expect one population of a name, without '/' in it"
            for root, name in dict.fromkeys(names)
            if names.count((root, name)) > 1 or "/" in name
        ]
        is_source = [self._plan_as_source(table) for table in self.tables]
        used: set[str] = set()
        for table, done in zip(self.tables, is_source, strict=True):
            if not done:
                self._plan_anew(table, used)
        self._rename(self.tables)
        for table in self.tables:
            self._add(table)
        self._plan_node_sets()
        self._plan_configuration(is_source)
        self._plan_run()
        if not all(isinstance(text, str) for text in self.planned.texts.values()):
            msg = "a table of types or node sets are not text"
            raise TypeError(msg)
        return self.planned

    def _plan_as_source(self, table: Table) -> bool:
        """Plan a table as in its source, if it has one whose files suit the dialect."""
        layout, number = table.provenance.get("layout"), table.provenance.get("number")
        if not layout or layout["rows"] != table.rows:
            return False
        same = dialect_of(table.provenance) == self.dialect
        if self.conform and not (same and suits(layout, table.provenance, self.dialect)):
            return False
        lost = set(table.columns) - OF_FILES - _columns_of(layout)
        types = self.circuit.provenance.get("types", {}).get(table.provenance.get("types_file"))
        if types is not None:
            lost -= set(next(csv.reader(io.StringIO(types.removeprefix("\ufeff")), delimiter=" ")))
        if lost:
            self.left_out.append(
                f"{', '.join(sorted(lost))} of {table.name}: not in the files of the source; "
                "--dialect writes all properties"
            )
        table.layout, table.types = layout, types
        table.number = number if isinstance(number, int) else None
        name = PurePosixPath(str(table.provenance.get("file", f"{table.root}.h5"))).name
        stated, stated_types = self._stated(table)
        table.file = stated or self._beside(name)
        if types is not None:
            table.types_file = stated_types or self._beside(table.provenance["types_file"])
        return True

    def _stated(self, table: Table) -> tuple[str | None, str | None]:
        """Return the paths of the files of a table in the configuration, if they are inside."""
        entries, number = self.config.entries(table.root), table.number
        entry = entries[number] if number is not None and 0 <= number < len(entries) else {}
        keys = f"{table.root}_file", f"{table.kind}_types_file"
        file, types_file = (self.config.inside(entry.get(key)) for key in keys)
        return file, types_file

    def _beside(self, name: str) -> str:
        """Return the path of a file of a source that was elsewhere."""
        return (self.path.parent / "network" / PurePosixPath(name).name).as_posix()

    def _plan_anew(self, table: Table, used: set[str]) -> None:
        """Plan a table as the dialect has it."""
        stem = free_name(table.name.replace("/", "_"), used)
        used.add(stem)
        table.file = self._beside(f"{stem}_{table.root}.h5")
        builder = LayoutBuilder(table, self.dialect, self.circuit, self.left_out)
        table.layout, table.types = builder.build()
        if table.types is not None:
            table.types_file = self._beside(f"{stem}_{table.kind}_types.csv")

    def _rename(self, tables: Sequence[Table]) -> None:
        """Rename files whose names a system does not allow."""
        wanted = {path for table in tables for path in (table.file, table.types_file) if path}
        names = portable_paths(wanted)
        self.left_out += [
            f"the name {path}: not every system has such a file; written as {new}"
            for path, new in names.items()
            if path != new
        ]
        for table in tables:
            if names[table.file] != table.file:
                table.file = names[table.file]
            if table.types_file and names[table.types_file] != table.types_file:
                table.types_file = names[table.types_file]

    def _add(self, table: Table) -> None:
        attributes = table.provenance.get("file_attributes")
        if attributes is None or not table.provenance.get("layout"):
            attributes = ALLEN_ATTRIBUTES if self.dialect == "allen" else {}
        elif self.conform and self.dialect == "allen":
            attributes = {**ALLEN_ATTRIBUTES, **attributes}
        writer = PopulationWriter(
            table.layout, table.columns, table.ends, table.rows, table.name, self.left_out
        )
        file = self.planned.files.setdefault(table.file, PlannedFile(attributes))
        file.populations.append((table.root, table.name, writer))
        if table.types_file is not None and table.types is not None:
            known = self.planned.texts.setdefault(table.types_file, table.types)
            if known != table.types:
                table.types_file = free_path(table.types_file, set(self.planned.texts))
                self.planned.texts[table.types_file] = table.types

    def _plan_node_sets(self) -> None:
        """Plan the files of node sets: of the circuit, and of the run."""
        texts = list(self.circuit.provenance.get("node_sets", {}).items())
        stated = {
            "circuit": self.config.inside(self.config.values.get("node_sets_file")),
            "run": self.run.inside(self.run.values.get("node_sets_file")),
        }
        if texts:
            of_circuit = "node_sets_file" in self.config.values
            of_run = "node_sets_file" in self.run.values or not of_circuit
            if of_circuit:
                path = stated["circuit"] or self._in_folder(texts[0][0])
                self.planned.texts[path] = texts[0][1]
                self.sets["circuit"] = path
            if of_run:
                path = stated["run"] or self._in_folder(texts[-1][0])
                if self.planned.texts.get(path, texts[-1][1]) != texts[-1][1]:
                    path = free_path(path, set(self.planned.texts))
                self.planned.texts[path] = texts[-1][1]
                self.sets["run"] = path
        elif self.circuit.node_sets:
            path = self._in_folder(_NODE_SETS)
            self.planned.texts[path] = json.dumps(self.circuit.node_sets, indent=2) + "\n"
            self.sets = {"circuit": path, "run": path}
        if self.dialect == "allen" and self.conform:
            for name, value in self.circuit.node_sets.items():
                if isinstance(value, list) or any(isinstance(one, dict) for one in value.values()):
                    self.left_out.append(
                        f"node set {name!r}: bmtk reads no sets of sets, patterns and comparisons"
                    )

    def _in_folder(self, name: str) -> str:
        return (self.path.parent / PurePosixPath(name).name).as_posix()

    def _plan_configuration(self, is_source: Sequence[bool]) -> None:
        """Plan the configuration: that of the source if all files are where it says."""
        kept = {(table.root, table.number) for table in self.tables}
        missing = [
            name
            for root in ("nodes", "edges")
            for number, entry in enumerate(self.config.entries(root))
            if (name := entry.get(f"{root}_file"))
            and entry.get("enabled", True)
            and (root, number) not in kept
        ]
        if self.config.text and missing and all(is_source):
            listed = ", ".join(map(str, missing))
            self.left_out.append(
                f"{listed}: the file has no tables of them (convert --circuit, --edges); they are "
                "not in the configuration of the circuit"
            )
        sets = self.config.inside(self.config.values.get("node_sets_file"))
        is_kept = self.config.text is not None and all(is_source) and not missing
        is_moved = sets != self.sets["circuit"]
        for table in self.tables:
            file, types_file = self._stated(table)
            is_moved |= table.file != file or table.types_file not in {None, types_file}
        if is_kept and not is_moved:
            if not self.is_inline:
                self.planned.texts[self.path.as_posix()] = self.config.text or ""
        else:
            if is_kept:
                told = "names files of this directory instead of those of the source"
                self.left_out.append(f"{self.path.name}: {told}")
            self.is_inline = False
            text = json.dumps(self._configuration(), indent=2, ensure_ascii=False) + "\n"
            self.planned.texts[self.path.as_posix()] = text
        if self.config.values.get("components"):
            self.left_out.append(
                "components (morphologies, mechanisms, models): their paths are those of the "
                "source, whose files are not in the NWB file"
            )

    def _configuration(self) -> dict[str, Any]:
        """Return a configuration that names the planned files."""
        own = self.config.values
        skipped = {"networks", "node_sets_file", "components"}
        if self.dialect == "bbp":  # libsonata refuses what only bmtk has.
            skipped.add("target_simulator")
            own = json.loads(_VARIABLE.sub(_plain_variable, json.dumps(own)))
        is_run = {"run", "output", "inputs", "reports", "conditions"}
        config = {key: own[key] for key in own if key not in skipped | is_run}
        components = own.get("components") or {}
        if components:
            config["components"] = components
        if self.dialect == "bbp" and not set(components) >= _NEEDED:
            config["metadata"] = {"status": "partial"}  # Otherwise libsonata refuses it.
        if self.sets["circuit"]:
            config["node_sets_file"] = self._named(self.sets["circuit"])
        networks: dict[str, list[dict[str, Any]]] = {"nodes": [], "edges": []}
        by_file: dict[str, dict[str, Any]] = {}
        for table in self.tables:
            if table.file not in by_file:
                by_file[table.file] = entry = {
                    f"{table.root}_file": self._named(table.file),
                }
                if table.types_file:
                    types = self._named(table.types_file)
                    entry[f"{table.kind}_types_file"] = types
                networks[table.root].append(entry)
            if self.dialect == "bbp":
                settings = table.provenance.get("settings") or {}
                settings = {"type": self._type_of(table), **settings}
                by_file[table.file].setdefault("populations", {})[table.name] = settings
        config["networks"] = networks
        return config

    def _named(self, path: str) -> str:
        return f"./{PurePosixPath(path).relative_to(self.path.parent).as_posix()}"

    def _type_of(self, table: Table) -> str:
        """Return the type of a population in a configuration of the BBP dialect."""
        if isinstance(table.of, ConnectionTable):
            return "chemical"
        return POPULATION_TYPES.get(kind_of(table.of), "biophysical")

    def _plan_run(self) -> None:
        """Name the circuit, node sets and output in the configuration of the run, if it has not."""
        config = self.run.values
        if not config:
            return
        changed = dict(config)
        if not self.is_inline and "networks" in changed:
            del changed["networks"]
        if not self.is_inline and self.run.inside(config.get("network")) != self.path.as_posix():
            changed["network"] = f"./{self.path}"
        sets = self.sets["run"]
        if sets and self.run.inside(config.get("node_sets_file")) != sets:
            changed["node_sets_file"] = f"./{sets}"
        output = config.get("output")
        if isinstance(output, Mapping):
            stated = str(output.get("output_dir") or "output")
            inside = self.run.inside(stated)
            self.planned.output_dir = inside or "output"
            if inside is None:
                changed["output"] = {**output, "output_dir": "./output"}
        own = {dialect_of(table.provenance) for table in self.tables if table.provenance}
        if own - {self.dialect}:
            self.left_out.append(
                f"simulation_config.json: inputs, reports and conditions are those of the source, "
                f"not translated to {self.dialect}: programs of this dialect may refuse it"
            )
        if changed != config:
            keys = [key for key in changed if changed[key] != config.get(key)]
            self.left_out.append(
                f"simulation_config.json: {', '.join(keys)} name files of this directory instead "
                "of those of the source"
            )
            self.planned.simulation = json.dumps(changed, indent=2, ensure_ascii=False) + "\n"


def _plain_variable(found: re.Match[str]) -> str:
    """Return a variable of a manifest of bmtk as others write it."""
    return "." if found[1] in {"configdir", "workingdir"} else f"${found[1]}"


def _columns_of(layout: Mapping[str, Any]) -> set[str]:
    return {entry["column"] for entry in layout["datasets"].values() if "column" in entry}


def free_path(path: str, used: set[str]) -> str:
    """Return a path with a number if it is used."""
    parts = PurePosixPath(path)
    stems = {other.stem for other in map(PurePosixPath, used) if other.parent == parts.parent}
    return parts.with_stem(free_name(parts.stem, stems)).as_posix()


def portable_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return paths of which all systems allow each part, and tell them apart in their folder."""
    by_folder: dict[PurePosixPath, list[str]] = {}
    for path in paths:
        by_folder.setdefault(PurePosixPath(path).parent, []).append(PurePosixPath(path).name)
    found = {}
    for folder, names in by_folder.items():
        parts = (portable_names([part])[part] for part in folder.parts)
        new = PurePosixPath(*parts)
        for name, portable in portable_names(names).items():
            found[(folder / name).as_posix()] = (new / portable).as_posix()
    return found
