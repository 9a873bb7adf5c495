"""Checks of NWB files: the schema, the rules that a schema cannot express, and nwbinspector."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pynwb
from hdmf.common import DynamicTable, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.misc import Units
from pynwb.validation import get_cached_namespaces_to_validate

from ndx_simulation_output.errors import ShapeMismatchError, SourceError, file_errors, source_errors
from ndx_simulation_output.files import is_zarr_store
from ndx_simulation_output.nwb.circuit import read_circuit, without_enum_warning
from ndx_simulation_output.nwb.reader import (
    check_nwb,
    is_of_old_namespace,
    open_nwb,
    read_contents,
)
from ndx_simulation_output.nwb.series import (
    array_of,
    column_values,
    data_shape,
    repeated_ids,
    table_size,
    uneven_schema_columns,
)
from ndx_simulation_output.nwb.types import (
    CellPopulation,
    CircuitDescription,
    Compartments,
    CompartmentSeries,
    Connections,
    NetworkState,
    PopulationState,
    ProjectionState,
    StateTable,
)
from ndx_simulation_output.nwb.zarr import check_store, open_store
from ndx_simulation_output.recording import Categories
from ndx_simulation_output.recording.ids import repeated_values
from ndx_simulation_output.recording.network import Locality

__all__ = ["Finding", "check_file"]

Rule = Callable[[Any], Iterable[str]]
Severity = Literal["error", "warning", "note"]

INSPECTOR_PREFIX = "check_simulation_"
"""Replaces ``check_`` in the names of our rules when nwbinspector runs them."""

_TOLERANCE = 1e-6
_BLOCK_ROWS = 2**18

# Findings of nwbinspector that do not apply to simulations.
_NOT_APPLICABLE = {
    ("check_data_orientation", "CompartmentSeries"): "a network has more compartments than times",
    ("check_data_orientation", "AxesTimeSeries"): "an image has more pixels than there are times",
    ("check_single_row", "Compartments"): "one recorded cell is a table of one row",
    **{
        (rule, table): "positions and properties of cells may be unknown"
        for rule in ("check_column_binary_capability", "check_col_not_nan")
        for table in ("CellPopulation", "Compartments", "Units")
    },
}


@dataclass(frozen=True)
class Finding:
    """A violation of a rule in the object ``where``; only an ``error`` makes the file invalid."""

    severity: Severity
    rule: str
    where: str
    message: str


def check_file(path: Path | str, *, trust: bool = False) -> list[Finding]:
    """Check an NWB file against the schema, the rules of this module, and nwbinspector.

    ``trust`` is that of ``open_output``.

    Raises
    ------
    SourceError
        If the file cannot be opened as NWB.

    """
    path = Path(path)
    with file_errors(path), without_enum_warning():
        check_nwb(path)
        chunks = [Finding(*found) for found in check_store(path)] if path.is_dir() else []
        if any(finding.severity == "error" for finding in chunks):
            return chunks  # The other checks would read what is lost.
        # Run the rules first: their error is clearer if the file cannot be read.
        findings = list(_run_rules(path, trust=trust))
        schema = _tried("schema", path.name, _validate(path))
        return [*chunks, *schema, *findings, *_tried("nwbinspector", path.name, _inspect(path))]


def severity_of(rule: Rule) -> Severity:
    """Return the severity of a violation of a rule.

    Example
    -------
    >>> severity_of(check_has_table), severity_of(check_ids_unique)
    ('warning', 'error')

    """
    return "warning" if rule in _WARNINGS else "error"


def check_chunks_stored(nwbfile: NWBFile) -> Iterator[str]:
    """A Zarr store holds every chunk that was written."""
    path = Path(str(nwbfile.container_source or ""))
    if is_zarr_store(path):
        yield from (message for severity, _, _, message in check_store(path) if severity == "error")


def check_columns_match_table(series: CompartmentSeries) -> Iterator[str]:
    """The data have a column for each compartment of the table."""
    shape = data_shape(series)
    if series.compartments is None or shape is None:
        return
    columns, expected = (1 if len(shape) == 1 else shape[1]), table_size(series.compartments)
    if columns != expected:
        yield f"The data have {columns} columns, but the table describes {expected} compartments."


def check_has_table(series: CompartmentSeries) -> Iterator[str]:
    """The series has a table of compartments."""
    if series.compartments is None:
        yield "The series has no table of compartments for its columns."


def check_unit_known(series: CompartmentSeries) -> Iterator[str]:
    """The unit of the series is known."""
    if series.unit == "unknown":
        yield "The unit is unknown. Convert the source again with --unit, or set the unit."


def check_ids_unique(table: DynamicTable) -> Iterator[str]:
    """Cell ids are unique."""
    for cell in repeated_ids(table)[:1]:
        yield f"Cell id {cell} is in more than one row."


def check_rows_have_equal_lengths(table: Compartments) -> Iterator[str]:
    """A ragged column of the schema has as many values for each cell as ``number``."""
    for name in uneven_schema_columns(table):
        yield f"Column '{name}' does not have as many values in each row as column 'number'."


def check_index_fits_values(table: DynamicTable) -> Iterator[str]:
    """The index of a ragged column ascends and ends at the number of values."""
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, VectorIndex) or not len(column.data):
            continue
        ends, length = np.asarray(column.data[:], np.int64), len(column.target.data)
        if (np.diff(ends) < 0).any() or ends[-1] != length:
            yield f"The index of column '{name}' does not ascend to the number of values, {length}."


def check_positions_in_range(table: Compartments) -> Iterator[str]:
    """Positions are between 0 and 1, or NaN."""
    if "position" not in table.colnames or not table_size(table):
        return
    values = _flat_values(table, "position")
    if ((values < 0) | (values > 1)).any():
        found = f"from {np.nanmin(values)} to {np.nanmax(values)}"
        yield f"Positions range {found}, but should be between 0 and 1."


def check_ranks_match_geometry(table: PopulationState) -> Iterator[str]:
    """The ids of a population are the ranks of its neurons, 0, 1, 2, …."""
    neurons = int(np.prod(table.geometry, dtype=np.int64))
    ranks = np.asarray(table.id.data[:])
    if not np.array_equal(ranks, np.arange(neurons)):
        geometry = tuple(int(length) for length in table.geometry)
        yield (
            f"The ids of the {len(ranks)} rows should be 0 to {neurons - 1} for the geometry "
            f"{geometry}."
        )


def check_rows_match_pre_rank(table: ProjectionState) -> Iterator[str]:
    """A ragged column has as many values in each row as ``pre_rank``."""
    ends = _row_ends(table)
    for name in table.colnames:
        column = table[name]
        if isinstance(column, VectorIndex) and not np.array_equal(column.data[:], ends):
            yield f"Column '{name}' does not have as many values in each row as column 'pre_rank'."


def check_post_ranks(table: ProjectionState) -> Iterator[str]:
    """Post-synaptic ranks are unique and exist in the population."""
    ranks = np.asarray(table.id.data[:], np.int64)
    for rank in repeated_values(ranks)[:1]:
        yield f"Post-synaptic rank {rank} is in more than one row."
    yield from _check_in_population(ranks, table, table.post, "Post-synaptic")


def check_pre_ranks(table: ProjectionState) -> Iterator[str]:
    """Pre-synaptic ranks exist in the population."""
    ranks = _flat_values(table, "pre_rank")
    yield from _check_in_population(ranks, table, table.pre, "Pre-synaptic")


def check_synapses_unique(table: ProjectionState) -> Iterator[str]:
    """At most one synapse connects two neurons; some simulators allow several."""
    ends, ranks = _row_ends(table), _flat_values(table, "pre_rank")
    counts = np.diff(ends, prepend=0)
    if (counts < 0).any() or counts.sum() != len(ranks):
        return  # check_index_fits_values reports it
    rows = np.repeat(np.arange(len(ends)), counts)
    order = np.lexsort((ranks, rows))
    is_repeated = (np.diff(ranks[order]) == 0) & (np.diff(rows[order]) == 0)
    if is_repeated.any():
        synapse = order[int(np.argmax(is_repeated))]
        post = table.id.data[int(rows[synapse])]
        yield f"Neuron {ranks[synapse]} is connected to neuron {post} more than once."


def check_delays_match_steps(table: ProjectionState) -> Iterator[str]:
    """Delays are positive multiples of the time step, and equal those in time steps."""
    time_step = getattr(table.parent, "time_step", None)
    seconds = _delays(table, "delay", table.uniform_delay)
    steps = _delays(table, "delay_steps", table.uniform_delay_steps)
    if steps is not None and (steps < 1).any():
        yield f"A delay is {steps.min()} time steps, but should be at least 1."
    if seconds is None or time_step is None:
        return
    expected = np.rint(seconds / float(time_step))
    if not _are_close(seconds, expected * float(time_step)):
        yield f"A delay is not a multiple of the time step, {float(time_step):g} s."
    elif steps is not None and (steps.shape != seconds.shape or (steps != expected).any()):
        yield "The delays in seconds differ from the delays in time steps."


def check_populations_exist(state: NetworkState) -> Iterator[str]:
    """The populations of a projection are in the state, unless the state has none."""
    names = set(_by_title(state.population_states))
    if not names:
        return
    for projection in state.projection_states.values():
        for name in sorted({projection.pre, projection.post} - {None, *names}):
            yield (
                f"Projection '{_title(projection)}' refers to population '{name}', which is not "
                "in the state."
            )


def check_names_unique(state: NetworkState) -> Iterator[str]:
    """The names of populations, and those of projections, are unique."""
    for kind in ("population", "projection"):
        titles = [_title(part) for part in getattr(state, f"{kind}_states").values()]
        for title in sorted({title for title in titles if titles.count(title) > 1}):
            yield f"{titles.count(title)} {kind}s have the name '{title}'."


def check_time_matches_step(state: NetworkState) -> Iterator[str]:
    """The time is the step number times the time step."""
    if state.time is None or state.step is None or state.time_step is None:
        return
    expected = int(state.step) * float(state.time_step)
    if not _are_close(np.array(float(state.time)), np.array(expected)):
        yield f"The time is {state.time:g} s, but step {state.step} is at {expected:g} s."


def check_quantities_have_values(table: StateTable) -> Iterator[str]:
    """Each quantity has either a column or a single value, and a valid locality."""
    if table.quantity_name is None:
        return
    keys = ("name", "column", "value", "locality")
    arrays = [getattr(table, f"quantity_{key}") for key in keys]
    lengths = {
        key: 0 if array is None else len(array) for key, array in zip(keys, arrays, strict=True)
    }
    if len(set(lengths.values())) > 1:
        yield f"The arrays quantity_* have different lengths: {lengths}."
        return
    for name, column, value, locality in zip(*(array[:] for array in arrays), strict=True):
        if locality not in get_args(Locality):
            expected = ", ".join(f"'{known}'" for known in get_args(Locality))
            yield f"Quantity '{name}' has locality '{locality}', but should have one of {expected}."
        if column and column not in table.colnames:
            yield f"Quantity '{name}' refers to column '{column}', which does not exist."
        if column and not np.isnan(value):
            yield f"Quantity '{name}' has both column '{column}' and the single value {value}."


def check_codes_have_texts(table: DynamicTable) -> Iterator[str]:
    """The codes of a column of categories are those of its texts."""
    for name in table.colnames:
        values = column_values(table, name)
        if not isinstance(values, Categories):
            continue
        count = len(values.names) + (values.missing >= 0)
        ends = [
            int(end) for block in _blocks_of(values.codes) for end in (block.min(), block.max())
        ]
        for code in (min(ends, default=0), max(ends, default=0)):
            if not 0 <= code < max(count, 1):
                yield f"Column '{name}' has code {code}, but only {count} texts."


def check_recorded_cells_exist(circuit: CircuitDescription) -> Iterator[str]:
    """Recorded cells are among those of their population, if all of these are stored."""
    nwbfile = circuit.get_ancestor("NWBFile")
    recorded = [
        (f"table '{table.name}'", table.population, table.id.data)
        for table in (circuit.parent.compartments or {}).values()
    ]
    units = None if nwbfile is None else nwbfile.units
    if units is not None and {"population", "node_id"} <= set(units.colnames):
        names = np.asarray(units["population"].data[:])
        ids = np.asarray(units["node_id"].data[:])
        recorded += [("the units", name, ids[names == name]) for name in np.unique(names).tolist()]
    for where, population, ids in recorded:
        for cell in _unknown_ids(circuit, population, ids)[:1]:
            yield f"Cell {cell} of {where} is not among the cells of population '{population}'."


def check_circuit_readable(circuit: CircuitDescription) -> Iterator[str]:
    """The node sets and the provenance of a circuit are JSON, and its arrays have equal lengths."""
    try:
        read_circuit(circuit)
    except (SourceError, ShapeMismatchError) as error:
        yield f"The circuit cannot be read: {error}."


def check_connected_cells_exist(table: Connections) -> Iterator[str]:
    """Connections are between cells of their populations, if all of these are stored."""
    sides = [
        ("Post-synaptic", table.target_population, table.id.data),
        ("Pre-synaptic", table.source_population, table["source"].target.data),
    ]
    for side, population, ids in sides:
        for cell in _unknown_ids(table.parent, population, ids)[:1]:
            yield f"{side} cell {cell} is not among the cells of population '{population}'."


RULES: dict[type, tuple[Rule, ...]] = {
    NWBFile: (check_chunks_stored,),
    CompartmentSeries: (check_columns_match_table, check_has_table, check_unit_known),
    Compartments: (
        check_ids_unique,
        check_rows_have_equal_lengths,
        check_index_fits_values,
        check_positions_in_range,
        check_codes_have_texts,
    ),
    Units: (check_codes_have_texts,),
    CellPopulation: (check_ids_unique, check_codes_have_texts),
    Connections: (
        check_ids_unique,
        check_index_fits_values,
        check_codes_have_texts,
        check_connected_cells_exist,
    ),
    CircuitDescription: (check_circuit_readable, check_recorded_cells_exist),
    NetworkState: (check_populations_exist, check_names_unique, check_time_matches_step),
    PopulationState: (check_ranks_match_geometry, check_quantities_have_values),
    ProjectionState: (
        check_index_fits_values,
        check_rows_match_pre_rank,
        check_post_ranks,
        check_pre_ranks,
        check_synapses_unique,
        check_delays_match_steps,
        check_quantities_have_values,
    ),
}

_WARNINGS = {
    check_has_table,
    check_unit_known,
    check_positions_in_range,
    check_populations_exist,
    check_synapses_unique,
    check_recorded_cells_exist,
}


def _blocks_of(values: Any) -> Iterator[NDArray[Any]]:
    """Yield the values of a column in blocks of bounded size."""
    for start in range(0, values.shape[0], _BLOCK_ROWS):
        yield np.asarray(values[start : start + _BLOCK_ROWS])


def _unknown_ids(circuit: Any, population: str | None, ids: Any) -> list[int]:
    """Return the first id that the stored cells of a population lack, if there is one."""
    tables = getattr(circuit, "cell_populations", None) or {}
    for table in tables.values():
        if table.population == population:
            known = np.asarray(table.id.data[:])
            for block in _blocks_of(array_of(ids, f"ids of population {population!r}")):
                if len(wrong := np.setdiff1d(block, known)):
                    return [int(wrong[0])]
    return []


def _flat_values(table: DynamicTable, name: str) -> NDArray[Any]:
    return np.asarray(column_values(table, name)[:])


def _row_ends(table: ProjectionState) -> NDArray[np.int64]:
    return np.asarray(table["pre_rank"].data[:], np.int64)


def _check_in_population(
    ranks: NDArray[np.int64], table: ProjectionState, population: str | None, side: str
) -> Iterator[str]:
    if not len(ranks):
        return
    if ranks.min() < 0:
        yield f"{side} rank {ranks.min()} is negative."
    state = _by_title(getattr(table.parent, "population_states", None) or {}).get(population)
    if state is not None and ranks.max() >= len(state.id):
        found = f"{side} rank {ranks.max()} is out of range"
        yield f"{found}: population '{population}' has {len(state.id)} neurons."


def _by_title(parts: Mapping[str, StateTable]) -> dict[str | None, StateTable]:
    return {_title(part): part for part in parts.values()}


def _title(part: StateTable) -> str:
    return str(part.title or part.name)


def _delays(table: ProjectionState, name: str, uniform: Any) -> NDArray[Any] | None:
    if name in table.colnames:
        return _flat_values(table, name)
    return None if uniform is None else np.asarray(uniform)


def _are_close(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=0))


def _validate(path: Path) -> Iterator[Finding]:
    if path.is_dir():
        # pynwb.validate(path=...) reads the namespaces of a Zarr store as if it were HDF5.
        with open_store(path, trust=True) as io:  # It was checked before its rules.
            _, manager, _ = get_cached_namespaces_to_validate(io=io)
        with open_store(path, manager, trust=True) as io:
            errors = pynwb.validate(io=io)
    else:
        errors = pynwb.validate(path=str(path))
    for error in errors:
        yield Finding("error", "schema", str(error.location or ""), str(error.reason))


def _run_rules(path: Path, *, trust: bool) -> Iterator[Finding]:
    with open_nwb(path, trust=trust) as io:
        nwbfile = read_contents(io, path)
        for item in nwbfile.objects.values():
            for kind, rules in RULES.items():
                if isinstance(item, kind):
                    for rule in rules:
                        where = _path(item, nwbfile)
                        yield from _tried(rule.__name__, where, _run_rule(rule, item, where))


def _run_rule(rule: Rule, item: Any, where: str) -> Iterator[Finding]:
    for message in rule(item):
        yield Finding(severity_of(rule), rule.__name__, where, message)


def _tried(rule: str, where: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings, and an error if something cannot be read, so that other rules still run."""
    try:
        with source_errors("cannot be checked"):
            yield from findings
    except (SourceError, ShapeMismatchError) as error:
        yield Finding("error", rule, where, str(error))


def _path(item: Any, nwbfile: NWBFile) -> str:
    names = []
    while item is not None and item is not nwbfile:
        names.append(item.name)
        item = item.parent
    return "/".join(reversed(names))


def _inspect(path: Path) -> Iterator[Finding]:
    try:
        from nwbinspector import Importance
    except ImportError:
        message = "nwbinspector is not installed: pip install 'ndx-simulation-output[check]'"
        yield Finding("note", "nwbinspector", "", message)
        return
    for found in _inspector_messages(path):
        where = found.location or "/"
        # nwbinspector runs our rules too if ndx_simulation_output.inspector was imported.
        is_ours = found.check_function_name.startswith(INSPECTOR_PREFIX)
        if is_ours or (found.check_function_name, found.object_type) in _NOT_APPLICABLE:
            continue
        if found.importance == Importance.ERROR:
            if "for empty dimension" in found.message:
                continue  # Some checks of nwbinspector read the first row of an empty table.
            # Some checks of nwbinspector index data in ways that Zarr arrays do not support.
            is_store = path.is_dir()
            message = f"nwbinspector cannot check this{' in Zarr' if is_store else ''}: "
            message += found.message.strip().splitlines()[-1]
            rule = found.check_function_name if is_store else "nwbinspector"
            yield Finding("note" if is_store else "error", rule, where, message)
            continue
        critical = found.importance == Importance.CRITICAL
        violation = found.importance == Importance.BEST_PRACTICE_VIOLATION
        severity: Severity = "error" if critical else "warning" if violation else "note"
        yield Finding(severity, found.check_function_name, where, found.message)


def _inspector_messages(path: Path) -> list[Any]:
    from nwbinspector import inspect_nwbfile, inspect_nwbfile_object

    if not path.is_dir() and not is_of_old_namespace(path):
        return list(inspect_nwbfile(nwbfile_path=str(path), skip_validate=True))  # _validate does.
    with open_nwb(path, trust=True) as io:  # It was checked before its rules.
        return list(inspect_nwbfile_object(read_contents(io, path)))
