"""Lay nodes and edges out as a dialect of SONATA has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.choices import Dialect
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.cells import Categories, CellTable, take_rows
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.sonata.hdf5 import dtype_to_json, sonata_provenance
from ndx_simulation_output.sonata.layouts import (
    DIRECTIONS,
    DYNAMICS,
    DYNAMICS_PREFIX,
    LIBRARY,
    codes_of,
    dataset_name,
)
from ndx_simulation_output.sonata.places import ANGLES, QUATERNION, angles_of, rotations

_FIRST_TYPE = 100
_MOST_TYPES = 2**16
_BLOCK = 2**18
_ENDS = ("id", "type_id", "group_id", "group_index")
OF_FILES = {f"{kind}_{end}" for kind in ("node", "edge") for end in _ENDS}
"""Columns that say how a file stores nodes and edges; they are not properties."""
# Texts that pandas, and so bmtk, reads as missing values.
_MISSING_OF_PANDAS = {"", "NA", "N/A", "n/a", "nan", "NaN", "None", "null", "<NA>", "#N/A"}
_MISSING = ("NULL", "NONE")


@dataclass
class Table:
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


def of_cells(cells: CellTable) -> Table:
    """Return the nodes to write of a population of cells."""
    provenance = sonata_provenance(cells.provenance)
    ends = {"node_id": cells.ids}
    return Table(cells.population, "node", len(cells), ends, dict(cells.columns), provenance, cells)


def of_edges(edges: ConnectionTable) -> Table:
    """Return the edges to write of connections."""
    provenance = sonata_provenance(edges.provenance)
    ends = {"source_node_id": edges.source_ids, "target_node_id": edges.target_ids}
    return Table(edges.name, "edge", len(edges), ends, dict(edges.columns), provenance, edges)


POPULATION_TYPES = {
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


def dialect_of(provenance: Mapping[str, Any]) -> Dialect:
    """Return the dialect of a file of nodes or edges."""
    layout = provenance.get("layout") or {"datasets": {}, "index": {}}
    is_allen = (
        provenance.get("types_file")
        or "magic" in provenance.get("file_attributes", {})
        or "node_id" in layout["datasets"]
        or any(path.endswith("/node_id_to_range") for path in layout["index"])
    )
    return "allen" if is_allen else "bbp"


def suits(layout: Mapping[str, Any], provenance: Mapping[str, Any], dialect: Dialect) -> bool:
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
    if "node_id" in datasets or provenance.get("types_file"):
        return False
    return groups == {"0"} and all(_suits_libsonata(one["dtype"]) for one in datasets.values())


def _suits_libsonata(dtype: Any) -> bool:
    """Return True if libsonata reads a type: text of any length, or little-endian numbers."""
    if isinstance(dtype, dict):
        return "text" in dtype and not dtype["length"]
    return dtype[0] != ">" and dtype[1] in "iuf" and dtype[1:] != "f2"


class LayoutBuilder:
    """Lays a table out as a dialect has it, and converts its columns for that."""

    def __init__(
        self, table: Table, dialect: Dialect, circuit: Circuit, left_out: list[str]
    ) -> None:
        self.table, self.dialect, self.circuit = table, dialect, circuit
        self.left_out = left_out
        self.datasets: dict[str, Any] = {}
        self.index: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}

    def build(self) -> tuple[dict[str, Any], str | None]:
        """Return the layout, and the table of types of the Allen dialect."""
        columns = self._properties()
        if self.dialect == "allen" and set(QUATERNION) & set(columns):
            angles = {name: _Angle(columns, axis) for axis, name in enumerate(ANGLES)}
            columns = {**columns, **angles}
            self._tell(f"{', '.join(ANGLES)}: computed from orientation_w to _z, for bmtk")
        self.table.columns = columns
        if isinstance(self.table.of, ConnectionTable):
            self._convert_weights(self.table.of, columns)
            self._add_ends(self.table.of)
        else:
            self._order_rows()
        texts = {name: one for name, one in columns.items() if _is_text(one)}
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
            if name in OF_FILES:
                continue
            if "/" in path or path in {"", "."} or values.dtype.kind not in "biufOSU":
                self._tell(f"property {name!r} of type {values.dtype} cannot be a dataset")
                continue
            new = name
            if name == DYNAMICS and self.dialect == "bbp":
                new = free_name("params_file", self.table.columns)
                self._tell(f"dynamics_params is {new}: it is a group of numbers for libsonata")
            found[new] = values
            if new.startswith(DYNAMICS_PREFIX) and self.dialect == "allen":
                self._tell(f"{new}: bmtk does not read dynamics_params of HDF5 files")
            if len(values.shape) > 1 and self.dialect == "bbp":
                self._tell(f"{new} has {values.shape[1:]} values each; libsonata reads one")
        return found

    def _number_type(self, values: LazyArray) -> np.dtype[Any]:
        """Return the type of numbers; libsonata does not read all types."""
        if values.dtype.kind == "b":
            return np.dtype(np.uint8)
        is_half = values.dtype.str[1:] == "f2"
        return np.dtype(np.float32) if is_half else values.dtype.newbyteorder("<")

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
        if "edge_id" in edges.columns:
            self.table.ends["edge_id"] = edges.columns["edge_id"]
            self._add_sequence("edge_id", np.uint64, column="edge_id")
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


@dataclass(frozen=True)
class _Angle(LazyArrayBase):
    """The angles about an axis of the rotations of cells that have the properties ``columns``."""

    columns: Mapping[str, LazyArray]
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return tuple(next(iter(self.columns.values())).shape[:1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of angles."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        names = set(self.columns) & {*QUATERNION, *ANGLES}
        found = {name: np.asarray(self.columns[name][slices[0]]) for name in names}
        turned = rotations(found, len(range(*slices[0].indices(*self.shape))))
        return np.asarray(angles_of(turned)[self.axis])


def _is_text(values: LazyArray) -> bool:
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
