"""Convert circuits, and the properties of cells, to NWB objects and back."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import VectorData
from hdmf.common.table import EnumData
from numpy.typing import NDArray
from pynwb.misc import Units

from ndx_simulation_output.errors import SourceError, WrongTypeError, source_errors
from ndx_simulation_output.nwb.connections import make_connections, marked_text, read_connections
from ndx_simulation_output.nwb.network_state import WrapColumn, load_column
from ndx_simulation_output.nwb.series import (
    array_of,
    column_names,
    describe_property,
    free_nwb_name,
    node_sets_of,
    read_properties,
)
from ndx_simulation_output.nwb.types import CellPopulation, CircuitDescription, Compartments
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    Circuit,
    LazyArray,
    PopulationSummary,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.ids import ids_of_source, storable_text
from ndx_simulation_output.recording.json_values import from_json, to_json

_UNITS = {
    **dict.fromkeys(("x", "y", "z", "radius"), "micrometers"),
    **dict.fromkeys((f"rotation_angle_{axis}axis" for axis in "xyz"), "radians"),
    **dict.fromkeys(("holding_current", "threshold_current"), "nanoamperes"),
    **dict.fromkeys(("exc-mini_frequency", "inh-mini_frequency"), "hertz"),
    "C_m": "picofarads",
    "E_L": "millivolts",
    "e_L": "millivolts",
}
"""Units of properties, by the names that SONATA and its simulators use."""

_MOST_NAMES = 2**10
"""Largest number of texts of an ``EnumData``: pynwb reads them one by one when it opens a file."""

_BLOCK = 2**18


def _reserved(*kinds: Any) -> frozenset[str]:
    """Return the names of attributes and columns of tables, which no property can have."""
    names = {name for kind in kinds for name in dir(kind)}
    names |= {column["name"] for kind in kinds for column in kind.__columns__}
    return frozenset({*names, "id", *(f"{name}_index" for name in names)})


_PLACES = {name: f"soma_{name}" for name in "xyz"}
_OWN = {"population", "node_id", "cell_columns", "counts", "source_position", "source_rounding"}
_RESERVED = _reserved(Compartments, Units) | _OWN | {"location"}
_RESERVED_OF_POPULATION = _reserved(CellPopulation) | {"population", "kind"}


def property_names(
    properties: Iterable[str], *, of_population: bool = False, taken: Iterable[str] = ()
) -> dict[str, str]:
    """Return the names of columns in ``Compartments`` and ``Units``, or in ``CellPopulation``.

    ``taken`` are the names of other columns of the table.

    Example
    -------
    >>> property_names(["x", "layer", "id", "a/b"])
    {'x': 'soma_x', 'layer': 'layer', 'id': 'node_id_2', 'a/b': 'a_b'}

    """
    properties = list(properties)
    reserved = {*(_RESERVED_OF_POPULATION if of_population else _RESERVED), *taken}
    used = {*reserved, *(f"{name}_elements" for name in properties)}
    # A name that NWB does not change goes before one that becomes equal to it.
    plain = [name for name in properties if free_nwb_name(name, used) == name]
    names: dict[str, str] = {}
    for name in [*plain, *properties]:
        if name not in names:
            new = _PLACES.get(name, f"node_{name}") if name in reserved else name
            names[name] = free_nwb_name(new, used)
            used |= {names[name], f"{names[name]}_index"}
    return {name: names[name] for name in properties}


def name_notes(names: Iterable[Mapping[str, str]], circuit: Circuit | None) -> list[str]:
    """Return a note on the properties whose columns have other names in NWB.

    ``names`` are those in ``Compartments`` and ``Units``; the tables of a circuit have their own.
    """
    of_circuit = [
        property_names(cells.columns, of_population=True)
        for cells in (() if circuit is None else circuit.populations)
    ]
    renamed = {
        name: new for found in [*names, *of_circuit] for name, new in found.items() if new != name
    }
    listed = ", ".join(f"{name!r} is {new!r}" for name, new in renamed.items())
    return [f"columns of properties of cells have other names in NWB: {listed}"] if listed else []


@contextmanager
def without_enum_warning() -> Iterator[None]:
    """Hide the warning of hdmf that its type for categories is experimental."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "EnumData is experimental", UserWarning)
        yield


def make_columns(
    properties: Mapping[str, tuple[str, LazyArray]],
    wrap: WrapColumn = load_column,
    *,
    where: str = "",
) -> list[VectorData]:
    """Return the columns of properties, which are given with their original names.

    The texts of an ``EnumData`` are a column after it.
    """
    columns: list[VectorData] = []
    for column, (name, values) in properties.items():
        with source_errors(f"property {name!r}{where}", SourceError):
            columns += _make_column(name, column, values, wrap)
    return columns


def named_properties(
    properties: Mapping[str, LazyArray], *, of_population: bool = False, taken: Iterable[str] = ()
) -> dict[str, tuple[str, LazyArray]]:
    """Return properties by the names of their columns, for ``make_columns``."""
    names = property_names(properties, of_population=of_population, taken=taken)
    return {names[name]: (name, values) for name, values in properties.items()}


def _make_column(name: str, column: str, values: LazyArray, wrap: WrapColumn) -> list[VectorData]:
    unit = _UNITS.get(name.removeprefix("@dynamics:"), "")
    if isinstance(values, Categories) and len(values.names) <= _MOST_NAMES:
        names, has_missing = list(map(storable_text, values.names)), _has_missing(values)
        if has_missing or names[-1:] == [""]:
            names.append("")  # A last element without text is a missing value.
        codes = _Codes(values, np.min_scalar_type(max(len(names) - 1, 0)))
        with without_enum_warning():
            elements = VectorData(
                name=f"{column}_elements", description=f"Values of {column}", data=names
            )
            description = describe_property(name, column, unit)
            enum = EnumData(
                name=column, description=description, data=wrap(codes), elements=elements
            )
        return [enum, elements]
    missing = None
    if values.dtype.kind in "OSU":
        text, missing = marked_text(values)
        data = wrap(text)
    elif values.dtype.kind in "biuf":
        data = wrap(values)
    else:
        msg = f"has the type {values.dtype}; expected numbers or text"
        raise WrongTypeError(msg)
    return [
        VectorData(
            name=column, description=describe_property(name, column, unit, missing), data=data
        )
    ]


def _has_missing(values: Categories) -> bool:
    rows = values.shape[0]
    blocks = (slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK))
    return any((values.read_codes(block) < 0).any() for block in blocks)


@dataclass(frozen=True)
class _Codes(LazyArrayBase):
    """The codes of categories as unsigned integers; missing values have the code after the last."""

    categories: Categories
    kind: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return self.categories.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the codes."""
        return self.kind

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        codes = self.categories.read_codes(slices[0])
        return np.where(codes < 0, len(self.categories.names), codes).astype(self.kind)


def make_circuit(circuit: Circuit, wrap: WrapColumn = load_column) -> CircuitDescription:
    """Return the NWB object of a circuit."""
    used = set(dir(CircuitDescription))
    tables = []
    for cells in circuit.populations:
        name = free_nwb_name(cells.population, used)
        used.add(name)
        tables.append(_make_population(cells, name, wrap))
    connections = []
    for table in circuit.connections:
        name = free_nwb_name(table.name, used)
        used.add(name)
        connections.append(make_connections(table, name, wrap))
    summary: dict[str, Any] = {}
    if circuit.summary:
        summary = {
            "population_name": [storable_text(one.name) for one in circuit.summary],
            "population_size": np.array([one.size for one in circuit.summary], np.int64),
            "population_kind": [storable_text(one.kind) for one in circuit.summary],
        }
    facts = {
        "circuit": circuit.provenance,
        "properties": {one.name: list(one.properties) for one in circuit.summary},
        "populations": {cells.population: cells.provenance for cells in circuit.populations},
        "connections": [table.name for table in circuit.connections],
    }
    description: CircuitDescription = CircuitDescription(
        cell_populations=tables or None,
        connections=connections or None,
        node_sets=json.dumps(circuit.node_sets) if circuit.node_sets else None,
        configuration=None
        if circuit.configuration is None
        else storable_text(circuit.configuration),
        provenance=json.dumps(to_json(facts)),
        **summary,
    )
    return description


def _make_population(cells: CellTable, name: str, wrap: WrapColumn) -> CellPopulation:
    where = f" of population {cells.population!r}"
    columns = make_columns(named_properties(cells.columns, of_population=True), wrap, where=where)
    table: CellPopulation = CellPopulation(
        name=name,
        description=f"The cells of population {cells.population}",
        population=cells.population,
        kind=cells.kind or None,
        id=ids_of_source(np.asarray(cells.ids[:]), f"ids{where}"),
        columns=columns,
        colnames=column_names(columns),
    )
    return table


def read_circuit(description: CircuitDescription) -> Circuit:
    """Read the description of a circuit; the properties of cells are read when used."""
    with source_errors("general/simulation/circuit cannot be read"):
        return _read_circuit(description)


def _read_circuit(description: CircuitDescription) -> Circuit:
    facts = _read_facts(description.provenance)
    summary = _read_summary(description, facts.get("properties", {}))
    node_sets, provenances = node_sets_of(description), facts.get("populations", {})
    ranks = {one.name: rank for rank, one in enumerate(summary)}
    order = {name: place for place, name in enumerate(facts.get("connections", []))}
    connections = map(read_connections, (description.connections or {}).values())
    tables = sorted(
        (description.cell_populations or {}).values(),
        key=lambda table: (ranks.get(table.population, len(ranks)), table.name),
    )
    return Circuit(
        populations=tuple(
            CellTable(
                table.population,
                array_of(table.id.data, f"table {table.name!r}"),
                read_properties(table, table.colnames),
                table.kind or "",
                node_sets,
                provenances.get(table.population, {}),
            )
            for table in tables
        ),
        connections=tuple(
            sorted(connections, key=lambda table: (order.get(table.name, len(order)), table.name))
        ),
        node_sets=node_sets,
        summary=summary,
        configuration=description.configuration,
        provenance=facts.get("circuit", {}),
    )


def _read_facts(provenance: str | None) -> dict[str, Any]:
    """Return the provenance of a circuit."""
    where = "general/simulation/circuit/provenance"
    with source_errors(f"{where} is not JSON"):
        facts = from_json(json.loads(provenance)) if provenance else {}
    kinds = {"circuit": dict, "properties": dict, "populations": dict, "connections": list}
    if not isinstance(facts, dict) or not all(
        isinstance(facts.get(key, kind()), kind) for key, kind in kinds.items()
    ):
        msg = f"{where} is damaged: {provenance!r:.60}"
        raise SourceError(msg)
    return facts


def _read_summary(
    description: CircuitDescription, properties: Mapping[str, Sequence[str]]
) -> tuple[PopulationSummary, ...]:
    names, sizes, kinds = (
        [] if values is None else list(values[:])
        for values in (
            description.population_name,
            description.population_size,
            description.population_kind,
        )
    )
    if not len(names) == len(sizes) == len(kinds):
        msg = (
            f"general/simulation/circuit has {len(names)} names, {len(sizes)} sizes and "
            f"{len(kinds)} kinds of populations; expected as many of each"
        )
        raise SourceError(msg)
    return tuple(
        PopulationSummary(name, int(size), _text(kind), tuple(properties.get(name, ())))
        for name, size, kind in zip(map(_text, names), sizes, kinds, strict=True)
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
