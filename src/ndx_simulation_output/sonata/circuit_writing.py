"""Write the circuit of a run: nodes, edges, tables of types, node sets, and the configuration."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import LazyArrayBase, size_in_bytes
from ndx_simulation_output.recording.cells import Categories, CellTable, take_rows
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.sonata.config import FileNames
from ndx_simulation_output.sonata.hdf5 import (
    attributes_from_json,
    dtype_to_json,
    sonata_provenance,
)
from ndx_simulation_output.sonata.layouts import (
    DIRECTIONS,
    DYNAMICS,
    DYNAMICS_PREFIX,
    LIBRARY,
    PopulationWriter,
    codes_of,
    dataset_name,
)
from ndx_simulation_output.system import portable_names

Dialect = Literal["allen", "bbp"]

ALLEN_ATTRIBUTES = {
    "magic": {"dtype": "<u4", "value": 0x0A7A},
    "version": {"dtype": "<u4", "value": [0, 1]},
}
"""Attributes of the root of every file of bmtk."""

_CONFIG = "circuit_config.json"
_NODE_SETS = "node_sets.json"
_FIRST_TYPE = 100
_MOST_TYPES = 2**16
_BLOCK = 2**18
_ENDS = ("id", "type_id", "group_id", "group_index")
_OF_FILES = {f"{kind}_{end}" for kind in ("node", "edge") for end in _ENDS}
# Texts that pandas, and so bmtk, reads as missing values.
_MISSING_OF_PANDAS = {"", "NA", "N/A", "n/a", "nan", "NaN", "None", "null", "<NA>", "#N/A"}
_MISSING = ("NULL", "NONE")


@dataclass
class PlannedFile:
    """An HDF5 file, its attributes, and its populations in ``nodes`` or ``edges``."""

    attributes: Mapping[str, Any]
    populations: list[tuple[str, str, PopulationWriter]] = field(default_factory=list)

    def write(self, file: h5py.File, progress: Callable[[int], object] | None = None) -> None:
        """Write the populations."""
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
            for array in writer.arrays.values()
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
    """Convert errors of a provenance that no source can have to ExportError."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        msg = f"the provenance of {where} is damaged: {type(error).__name__} {error}"
        raise ExportError(msg) from error


@dataclass
class _Table:
    """Nodes or edges to write: ``ends`` are their ids, ``columns`` their properties, by name.

    ``file`` and ``types_file`` are paths in the directory, ``types`` is the text of the latter.
    """

    name: str
    kind: Literal["node", "edge"]
    rows: int
    ends: dict[str, LazyArray]
    columns: dict[str, LazyArray]
    provenance: Mapping[str, Any]
    of: CellTable | ConnectionTable
    layout: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    types_file: str | None = None
    types: str | None = None
    number: int | None = None

    @property
    def root(self) -> str:
        """Name of the group of the file, and of the list in a configuration."""
        return f"{self.kind}s"


def _of_cells(cells: CellTable) -> _Table:
    provenance = sonata_provenance(cells.provenance)
    ends = {"node_id": cells.ids}
    return _Table(
        cells.population, "node", len(cells), ends, dict(cells.columns), provenance, cells
    )


def _of_edges(edges: ConnectionTable) -> _Table:
    provenance = sonata_provenance(edges.provenance)
    ends = {"source_node_id": edges.source_ids, "target_node_id": edges.target_ids}
    return _Table(edges.name, "edge", len(edges), ends, dict(edges.columns), provenance, edges)


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
        self.tables = [*map(_of_cells, circuit.populations), *map(_of_edges, circuit.connections)]
        own = (_dialect_of(table.provenance) for table in self.tables if table.provenance)
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
        return self.planned

    def _plan_as_source(self, table: _Table) -> bool:
        """Plan a table as in its source, if it has one whose files suit the dialect."""
        layout, number = table.provenance.get("layout"), table.provenance.get("number")
        if not layout or layout["rows"] != table.rows:
            return False
        same = _dialect_of(table.provenance) == self.dialect
        if self.conform and not (same and _suits(layout, table.provenance, self.dialect)):
            return False
        lost = set(table.columns) - _OF_FILES - _columns_of(layout)
        types = self.circuit.provenance.get("types", {}).get(table.provenance.get("types_file"))
        if types is not None:
            lost -= set(next(csv.reader(io.StringIO(types.removeprefix("\ufeff")), delimiter=" ")))
        if lost:
            self.left_out.append(
                f"{', '.join(sorted(lost))} of {table.name}: not in the files of the source; "
                "--dialect writes all properties"
            )
        table.layout, table.types = layout, types
        entries = self.config.entries(table.root)
        entry = entries[number] if isinstance(number, int) and 0 <= number < len(entries) else {}
        table.number = number if entry else None
        name = PurePosixPath(str(table.provenance.get("file", f"{table.root}.h5"))).name
        table.file = self.config.inside(entry.get(f"{table.root}_file")) or self._beside(name)
        if types is not None:
            stated = self.config.inside(entry.get(f"{table.kind}_types_file"))
            table.types_file = stated or self._beside(table.provenance["types_file"])
        return True

    def _beside(self, name: str) -> str:
        """Return the path of a file of a source that was elsewhere."""
        return (self.path.parent / "network" / PurePosixPath(name).name).as_posix()

    def _plan_anew(self, table: _Table, used: set[str]) -> None:
        """Plan a table as the dialect has it."""
        stem = free_name(table.name.replace("/", "_"), used)
        used.add(stem)
        table.file = self._beside(f"{stem}_{table.root}.h5")
        builder = _LayoutBuilder(table, self.dialect, self.circuit, self.left_out)
        table.layout, table.types = builder.build()
        if table.types is not None:
            table.types_file = self._beside(f"{stem}_{table.kind}_types.csv")

    def _rename(self, tables: Sequence[_Table]) -> None:
        """Give each file a name that all systems allow."""
        wanted = {path for table in tables for path in (table.file, table.types_file) if path}
        names = portable_paths(wanted)
        self.left_out += [
            f"the name {path}: not every system has such a file; written as {new}"
            for path, new in names.items()
            if path != new
        ]
        for table in tables:
            if names[table.file] != table.file:
                table.file, table.number = names[table.file], None
            if table.types_file and names[table.types_file] != table.types_file:
                table.types_file, table.number = names[table.types_file], None

    def _add(self, table: _Table) -> None:
        attributes = table.provenance.get("file_attributes")
        if attributes is None or not table.provenance.get("layout"):
            attributes = ALLEN_ATTRIBUTES if self.dialect == "allen" else {}
        elif self.conform and self.dialect == "allen":
            attributes = {**ALLEN_ATTRIBUTES, **attributes}
        arrays = {**table.columns, **table.ends}
        writer = PopulationWriter(table.layout, arrays, table.rows, table.name, self.left_out)
        file = self.planned.files.setdefault(table.file, PlannedFile(attributes))
        file.populations.append((table.root, table.name, writer))
        if table.types_file is not None and table.types is not None:
            known = self.planned.texts.setdefault(table.types_file, table.types)
            if known != table.types:
                table.number = None
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
        if is_kept and sets == self.sets["circuit"] and all(one is not None for _, one in kept):
            if not self.is_inline:
                self.planned.texts[self.path.as_posix()] = self.config.text or ""
        else:
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
        manifest = dict(own["manifest"]) if isinstance(own.get("manifest"), Mapping) else {}
        variable = f"${free_name('CIRCUIT_DIR', {key.strip('${}') for key in manifest})}"
        manifest[variable] = "."
        skipped = {"manifest", "networks", "node_sets_file", "components"}
        if self.dialect == "bbp":
            skipped.add("target_simulator")  # libsonata refuses those of bmtk.
        is_run = {"run", "output", "inputs", "reports", "conditions"}
        config = {key: own[key] for key in own if key not in skipped | is_run}
        config["manifest"] = manifest
        if own.get("components"):
            config["components"] = own["components"]
        elif self.dialect == "bbp":
            config["metadata"] = {"status": "partial"}  # Otherwise libsonata expects components.
        if self.sets["circuit"]:
            config["node_sets_file"] = self._named(variable, self.sets["circuit"])
        networks: dict[str, list[dict[str, Any]]] = {"nodes": [], "edges": []}
        by_file: dict[str, dict[str, Any]] = {}
        for table in self.tables:
            if table.file not in by_file:
                by_file[table.file] = entry = {
                    f"{table.root}_file": self._named(variable, table.file),
                }
                if table.types_file:
                    types = self._named(variable, table.types_file)
                    entry[f"{table.kind}_types_file"] = types
                networks[table.root].append(entry)
            if self.dialect == "bbp":
                settings = table.provenance.get("settings") or {}
                settings = {"type": self._type_of(table), **settings}
                by_file[table.file].setdefault("populations", {})[table.name] = settings
        config["networks"] = networks
        return config

    def _named(self, variable: str, path: str) -> str:
        return f"{variable}/{PurePosixPath(path).relative_to(self.path.parent).as_posix()}"

    def _type_of(self, table: _Table) -> str:
        """Return the type of a population in a configuration of the BBP dialect."""
        if isinstance(table.of, ConnectionTable):
            return "chemical"
        return _POPULATION_TYPES.get(kind_of(table.of), "biophysical")

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
        if changed != config:
            keys = [key for key in changed if changed[key] != config.get(key)]
            self.left_out.append(
                f"simulation_config.json: {', '.join(keys)} name files of this directory instead "
                "of those of the source"
            )
            self.planned.simulation = json.dumps(changed, indent=2, ensure_ascii=False) + "\n"


_POPULATION_TYPES = {
    "biophysical": "biophysical",
    "virtual": "virtual",
    "point_neuron": "point_neuron",
    "point_process": "point_neuron",
    "point_soma": "point_neuron",
    "astrocyte": "astrocyte",
    "vasculature": "vasculature",
}


def kind_of(cells: CellTable) -> str:
    """Return the kind of a population, or the only ``model_type`` of its cells."""
    if cells.kind or "model_type" not in cells.columns:
        return cells.kind
    texts = _distinct(cells.columns["model_type"], most=1)
    return str(texts[0]) if texts and len(texts) == 1 else ""


def _dialect_of(provenance: Mapping[str, Any]) -> Dialect:
    """Return the dialect of a file of nodes or edges."""
    layout = provenance.get("layout") or {"datasets": {}, "index": {}}
    is_allen = (
        provenance.get("types_file")
        or "magic" in provenance.get("file_attributes", {})
        or "node_id" in layout["datasets"]
        or any(path.endswith("/node_id_to_range") for path in layout["index"])
    )
    return "allen" if is_allen else "bbp"


def _suits(layout: Mapping[str, Any], provenance: Mapping[str, Any], dialect: Dialect) -> bool:
    """Return True if the reader of the dialect reads all of a file."""
    kind, datasets = layout["kind"], layout["datasets"]
    groups = {path.partition("/")[0] for path in layout["groups"]} - {"indices"}
    ranges = "node_id_to_range" if dialect == "allen" else "node_id_to_ranges"
    index = [f"indices/{direction}/{ranges}" for direction in DIRECTIONS]
    if kind == "edge" and (set(layout["index"]) & set(index) != set(index)):
        return False
    if dialect == "allen":
        needed = {f"{kind}_{end}" for end in _ENDS if (kind, end) != ("edge", "id")}
        return bool(needed <= set(datasets) and provenance.get("types_file") and groups)
    dtypes = [one["dtype"] for one in datasets.values()]
    fixed = any(isinstance(dtype, dict) and dtype.get("length") for dtype in dtypes)
    if fixed or "node_id" in datasets or provenance.get("types_file"):
        return False
    return groups == {"0"}


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


class _LayoutBuilder:
    """Lays a table out as a dialect has it, and converts its columns for that."""

    def __init__(
        self, table: _Table, dialect: Dialect, circuit: Circuit, left_out: list[str]
    ) -> None:
        self.table, self.dialect, self.circuit = table, dialect, circuit
        self.left_out = left_out
        self.datasets: dict[str, Any] = {}
        self.index: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}

    def build(self) -> tuple[dict[str, Any], str | None]:
        """Return the layout, and the table of types of the Allen dialect."""
        columns = self._properties()
        self.table.columns = columns
        if isinstance(self.table.of, ConnectionTable):
            self._convert_weights(self.table.of, columns)
            self._add_ends(self.table.of)
        else:
            self._order_rows()
        texts = {name: one for name, one in columns.items() if is_text(one)}
        numbers = {name: one for name, one in columns.items() if name not in texts}
        for name, values in numbers.items():
            self._add(name, self._number_type(values), values)
        types = None
        if self.dialect == "allen":
            types = self._add_types(texts)
        else:
            self._add_texts(texts)
        groups = {path.rpartition("/")[0] for path in (*self.datasets, *self.index)} - {""}
        return {
            "kind": self.table.kind,
            "rows": self.table.rows,
            "groups": sorted(groups | {"0"}),
            "datasets": self.datasets,
            "index": self.index,
            "attributes": self.attributes,
        }, types

    def _tell(self, text: str) -> None:
        self.left_out.append(f"{self.table.name}: {text}")

    def _properties(self) -> dict[str, LazyArray]:
        """Return the columns that are properties and that a dataset can have."""
        found: dict[str, LazyArray] = {}
        for name, values in self.table.columns.items():
            path = dataset_name(name).removeprefix(f"{DYNAMICS}/")
            if name in _OF_FILES:
                continue
            if "/" in path or path in {"", "."} or values.dtype.kind not in "biufOSU":
                self._tell(f"property {name!r} of type {values.dtype} cannot be a dataset")
                continue
            if name == DYNAMICS and self.dialect == "bbp":
                name = free_name("params_file", self.table.columns)  # noqa: PLW2901
                self._tell(f"dynamics_params is {name}: it is a group of numbers for libsonata")
            found[name] = values
            if name.startswith(DYNAMICS_PREFIX) and self.dialect == "allen":
                self._tell(f"{name}: bmtk does not read dynamics_params of HDF5 files")
            if len(values.shape) > 1 and self.dialect == "bbp":
                self._tell(f"{name} has {values.shape[1:]} values each; libsonata reads one")
        return found

    def _number_type(self, values: LazyArray) -> np.dtype[Any]:
        """Return the type of numbers; libsonata reads no truth values and no half precision."""
        if values.dtype.kind == "b":
            return np.dtype(np.uint8)
        return np.dtype(np.float32) if values.dtype.str[1:] == "f2" else values.dtype

    def _add(self, name: str, dtype: np.dtype[Any], values: LazyArray, **more: Any) -> None:
        self.datasets[f"0/{dataset_name(name)}"] = {
            "dtype": dtype_to_json(dtype),
            "shape": list(values.shape),
            "column": name,
            **more,
        }

    def _order_rows(self) -> None:
        """Add the ids of nodes; libsonata takes rows for ids, so rows are in the order of ids."""
        table = self.table
        ids = np.asarray(table.ends["node_id"][:])
        if self.dialect == "allen":
            self._add_sequence("node_id", np.uint64, column="node_id")
            return
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(ids[order], np.arange(len(ids))):
            self._add_sequence("node_id", np.uint64, column="node_id")
            self._tell("ids are not 0, 1, 2, …: libsonata and snap take rows for ids of nodes")
        elif not np.array_equal(ids, ids[order]):
            table.columns = {
                name: take_rows([(values, order)]) for name, values in table.columns.items()
            }
            self._tell("rows are in the order of ids, as libsonata takes rows for ids of nodes")

    def _add_sequence(self, name: str, dtype: Any, **values: Any) -> None:
        shape = [self.table.rows]
        self.datasets[name] = {"dtype": np.dtype(dtype).newbyteorder("<").str, "shape": shape}
        self.datasets[name] |= values

    def _add_ends(self, edges: ConnectionTable) -> None:
        """Add the ids of nodes at the ends of edges, and the index of the edges of each."""
        spelling = "node_id_to_range" if self.dialect == "allen" else "node_id_to_ranges"
        sizes = {one.name: one.size for one in self.circuit.summary}
        ends = {"source_node_id": edges.source, "target_node_id": edges.target}
        for name, population in ends.items():
            self._add_sequence(name, np.uint64, column=name)
            if population is None:
                self._tell(f"the population of {name} is not known")
            else:
                self.attributes[name] = {"node_population": population}
        for direction, name in DIRECTIONS.items():
            size = sizes.get(ends[name] or "", 0)
            folder = f"indices/{direction}"
            self.index[f"{folder}/{spelling}"] = {"dtype": "<u8", "shape": [size, 2]}
            self.index[f"{folder}/range_to_edge_id"] = {"dtype": "<u8", "shape": [0, 2]}

    def _convert_weights(self, edges: ConnectionTable, columns: dict[str, LazyArray]) -> None:
        """Convert weights between uS (``syn_weight``) and nS (``conductance``)."""
        target = [one for one in self.circuit.populations if one.population == edges.target]
        is_biophysical = any(kind_of(cells) == "biophysical" for cells in target)
        own, other = "syn_weight", "conductance"
        factor = 1000.0
        if self.dialect == "allen":
            own, other, factor = other, own, 1 / factor
        if own not in columns or other in columns:
            return
        if own == "syn_weight" and edges.units.get(own, "uS" if is_biophysical else "") != "uS":
            self._tell("syn_weight is kept, as its unit is not known: libsonata's is conductance")
            return
        columns[other] = _Scaled(columns.pop(own), factor)
        self._tell(f"{own} is {other} in this dialect: values are multiplied by {factor:g}")

    def _add_texts(self, texts: Mapping[str, LazyArray]) -> None:
        """Add text as codes of a library, or as such; BBP has no missing text and no types."""
        self._add_sequence(f"{self.table.kind}_type_id", np.int64, runs=[[-1, self.table.rows]])
        for name, values in texts.items():
            found = _distinct(values, most=0 if not isinstance(values, Categories) else None)
            missing = _count_missing(values)
            if missing:
                self._tell(
                    f"{name}: {missing} missing values are empty text, as there is no missing text"
                )
            if found is None:
                self._add(name, h5py.string_dtype(), values)
                continue
            path = f"0/{LIBRARY}/{dataset_name(name)}"
            names = list(values.names) if isinstance(values, Categories) else found
            if missing and "" not in names:
                names.append("")
            text = {"text": "utf-8", "length": None}
            self.datasets[path] = {"dtype": text, "shape": [len(names)], "values": names}
            self._add(name, np.dtype("<u4"), values, library=path)

    def _add_types(self, texts: dict[str, LazyArray]) -> str:
        """Return the table of types: a row for each combination of texts that occurs."""
        table, kind = self.table, self.table.kind
        wide = kind == "node"
        key = f"{kind}_type_id"
        if kind == "node" and "model_type" not in table.columns and isinstance(table.of, CellTable):
            kind_name = kind_of(table.of)
            if kind_name:
                codes = np.zeros(table.rows, np.int8)
                texts = {"model_type": Categories(codes, (kind_name,)), **texts}
        single = {name: values for name, values in texts.items() if len(values.shape) == 1}
        types = _Types(single, table.rows)
        for name, values in texts.items():
            if name not in types.columns:
                self._add(name, h5py.string_dtype(), values)
                self._tell(f"{name}: text in the file of {table.root}, which bmtk reads as bytes")
        of_rows: dict[str, Any] = {"runs": [[_FIRST_TYPE, table.rows]]}
        if types.count > 1:
            table.columns = {**table.columns, key: types}
            of_rows = {"column": key}
        self._add_sequence(key, np.uint64 if wide else np.uint32, **of_rows)
        runs = [[0, table.rows]]
        self._add_sequence(f"{kind}_group_id", np.uint32 if wide else np.uint16, runs=runs)
        index = np.uint64 if wide or table.rows > np.iinfo(np.uint32).max else np.uint32
        self._add_sequence(f"{kind}_group_index", index, range=True)
        self._tell_of_texts(types)
        ids = map(str, range(_FIRST_TYPE, _FIRST_TYPE + types.count))
        lines = [[key, *types.columns], *zip(ids, *types.columns.values(), strict=True)]
        return "".join(" ".join(map(_csv_text, line)) + "\n" for line in lines)

    def _tell_of_texts(self, types: "_Types") -> None:
        for name, texts in types.columns.items():
            found = {*texts} - {None}
            if wrong := found & set(_MISSING):
                self._tell(f"{name}: the text {wrong.pop()} is a missing value in a table of types")
            if wrong := found & _MISSING_OF_PANDAS:
                self._tell(f"{name}: bmtk reads the text {wrong.pop()!r} as a missing value")
            if found and all(map(_is_number, found)):
                self._tell(f"{name}: a table of types has numbers where all texts are numbers")


class _Types(LazyArrayBase):
    """The type of each row, by the combinations of texts that occur, and ``columns`` (type,).

    Columns without which there are no more than ``_MOST_TYPES`` are left out.
    """

    def __init__(self, columns: Mapping[str, LazyArray], size: int) -> None:
        self._rows = size
        # The codes of a column, how many there are, and the combinations with those before it.
        self._stages: list[tuple[LazyArray, int, NDArray[np.int64]]] = []
        names = {name: _names_of(values) for name, values in columns.items()}
        used = []
        for name in sorted(columns, key=lambda name: len(names[name])):
            codes, n_codes = codes_of(columns[name], names[name]), len(names[name]) + 1
            occurring = self._occurring(codes, n_codes)
            if occurring is not None:
                self._stages.append((codes, n_codes, occurring))
                used.append(name)
        numbers = np.arange(len(self._stages[-1][2]) if self._stages else 1)
        self.count = len(numbers)
        found: dict[str, list[str | None]] = {}
        for name, (_, n_codes, occurring) in zip(used[::-1], self._stages[::-1], strict=True):
            numbers, codes_of_types = np.divmod(occurring[numbers], n_codes)
            found[name] = [[None, *names[name]][code] for code in codes_of_types]
        self.columns = {name: found[name] for name in columns if name in found}

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return (self._rows,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of ids."""
        return np.dtype(np.int64)

    def _occurring(self, codes: LazyArray, n_codes: int) -> NDArray[np.int64] | None:
        """Return the combinations of types with codes, or None if there are too many."""
        found = np.zeros(0, np.int64)
        for part in _blocks(self._rows):
            numbers = self._read((part,)) - _FIRST_TYPE
            found = np.union1d(found, numbers * n_codes + codes[part] + 1)
            if len(found) > _MOST_TYPES:
                return None
        return found

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        numbers = np.zeros(len(range(*slices[0].indices(self._rows))), np.int64)
        for codes, n_codes, occurring in self._stages:
            numbers = np.searchsorted(occurring, numbers * n_codes + codes[slices[0]] + 1)
        return numbers + _FIRST_TYPE


@dataclass(frozen=True)
class _Scaled(LazyArrayBase):
    """Numbers times a factor."""

    values: LazyArray
    factor: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the products."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        values = np.asarray(self.values[slices], np.float64)
        return values * self.factor if self.factor > 1 else values / round(1 / self.factor)


def is_text(values: LazyArray) -> bool:
    """Return True if values are text."""
    return values.dtype.kind in "OSU"


def _names_of(values: LazyArray) -> list[str]:
    return list(values.names) if isinstance(values, Categories) else _distinct(values) or []


def _distinct(values: LazyArray, most: int | None = None) -> list[str] | None:
    """Return the different texts in their order, or None if there are more than ``most``."""
    found: dict[str, None] = {}
    for part in _blocks(values.shape[0]):
        if most is not None and len(found) > most:
            break
        texts = np.asarray(values[part], object).ravel().tolist()
        found |= dict.fromkeys(text for text in texts if text is not None)
    return None if most is not None and len(found) > most else list(found)


def _count_missing(values: LazyArray) -> int:
    if isinstance(values, Categories):
        return sum(int((values.read_codes(part) < 0).sum()) for part in _blocks(values.shape[0]))
    return sum(
        sum(text is None for text in np.asarray(values[part], object).ravel())
        for part in _blocks(values.shape[0])
    )


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK))


def _csv_text(text: str | None) -> str:
    """Return a value of a table of types."""
    if text is None:
        return _MISSING[0]
    is_plain = text and not any(mark in text for mark in ' "\n\r\t')
    return text if is_plain else '"' + text.replace('"', '""') + '"'


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
