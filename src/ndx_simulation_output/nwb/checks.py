"""Rules that schema validation does not cover."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pynwb
from hdmf.common import DynamicTable, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.validation import get_cached_namespaces_to_validate

from ndx_simulation_output.nwb.described import data_shape, repeated_ids, table_size, uneven_columns
from ndx_simulation_output.nwb.reader import check_nwb, open_nwb, read_contents
from ndx_simulation_output.nwb.types import (
    Compartments,
    CompartmentSeries,
    NetworkState,
    PopulationState,
    ProjectionState,
)
from ndx_simulation_output.nwb.types.network import StateTable
from ndx_simulation_output.nwb.zarr import open_store
from ndx_simulation_output.recording.compartments import repeated_values
from ndx_simulation_output.recording.network import Locality

# What schema validation cannot see of the states of networks: one small function for each rule.

_TOLERANCE = 1e-6


def check_ranks_count_neurons(table: PopulationState) -> Iterator[str]:
    """A row for each neuron, whose id is its rank."""
    neurons = int(np.prod(table.geometry, dtype=np.int64))
    ranks = np.asarray(table.id.data[:])
    if not np.array_equal(ranks, np.arange(neurons)):
        geometry = tuple(int(length) for length in table.geometry)
        yield f"the ids of its {len(ranks)} rows are not 0 to {neurons - 1}, as of {geometry}"


def check_rows_of_synapses(table: ProjectionState) -> Iterator[str]:
    """A ragged column has a value for each synapse, as ``pre_rank``."""
    ends = _row_ends(table)
    for name in table.colnames:
        column = table[name]
        if isinstance(column, VectorIndex) and not np.array_equal(column.data[:], ends):
            yield f"the rows of column {name!r} end elsewhere than those of 'pre_rank'"


def check_post_ranks(table: ProjectionState) -> Iterator[str]:
    """A row for each post-synaptic neuron, which is one of its population."""
    ranks = np.asarray(table.id.data[:], np.int64)
    for rank in repeated_values(ranks)[:1]:
        yield f"post-synaptic rank {rank} has more than one row"
    yield from _outside(ranks, table, table.post, "post-synaptic")


def check_pre_ranks(table: ProjectionState) -> Iterator[str]:
    """A pre-synaptic neuron is one of its population."""
    yield from _outside(_of_synapses(table, "pre_rank"), table, table.pre, "pre-synaptic")


def check_synapses_are_single(table: ProjectionState) -> Iterator[str]:
    """Two neurons are connected once; some simulators allow more."""
    ends, ranks = _row_ends(table), _of_synapses(table, "pre_rank")
    counts = np.diff(ends, prepend=0)
    if (counts < 0).any() or counts.sum() != len(ranks):
        return  # what check_ends_fit_values says
    rows = np.repeat(np.arange(len(ends)), counts)
    order = np.lexsort((ranks, rows))
    again = (np.diff(ranks[order]) == 0) & (np.diff(rows[order]) == 0)
    if again.any():
        place = order[int(np.argmax(again))]
        post = table.id.data[int(rows[place])]
        yield f"neuron {ranks[place]} is connected to neuron {post} more than once"


def check_delays_fit_steps(table: ProjectionState) -> Iterator[str]:
    """Delays are positive multiples of the time step, as many as the steps beside them say."""
    time_step = getattr(table.parent, "time_step", None)
    seconds = _delays(table, "delay", table.uniform_delay)
    steps = _delays(table, "delay_steps", table.uniform_delay_steps)
    if steps is not None and (steps < 1).any():
        yield f"a delay of {steps.min()} time steps; expected at least 1"
    if seconds is None or time_step is None:
        return
    expected = np.rint(seconds / float(time_step))
    if not _are_close(seconds, expected * float(time_step)):
        yield f"a delay is no multiple of the time step, {float(time_step):g} s"
    elif steps is not None and (steps.shape != seconds.shape or (steps != expected).any()):
        yield "delays in seconds and in time steps contradict each other"


def check_populations_are_there(state: NetworkState) -> Iterator[str]:
    """The populations that a projection names are in the state, if any is."""
    names = set(_by_title(state.population_states))
    if not names:
        return
    for projection in state.projection_states.values():
        for name in sorted({projection.pre, projection.post} - {None, *names}):
            yield f"projection {_title(projection)!r} is of {name!r}, which is not in the state"


def check_parts_have_names_of_their_own(state: NetworkState) -> Iterator[str]:
    """No two populations, and no two projections, have the same name."""
    for what in ("population", "projection"):
        parts = getattr(state, f"{what}_states").values()
        titles = [_title(part) for part in parts]
        for title in sorted({title for title in titles if titles.count(title) > 1}):
            yield f"{titles.count(title)} {what}s are named {title!r}"


def check_time_fits_step(state: NetworkState) -> Iterator[str]:
    """The time is that of the step."""
    if state.time is None or state.step is None or state.time_step is None:
        return
    expected = int(state.step) * float(state.time_step)
    if not _are_close(np.array(float(state.time)), np.array(expected)):
        yield f"the time is {state.time:g} s, but step {state.step} is at {expected:g} s"


def check_quantities_have_values(table: StateTable) -> Iterator[str]:
    """Every quantity has a column or a value, and says which of the known ways it is there."""
    if table.quantity_name is None:
        return
    keys = ("name", "column", "value", "locality")
    listed = [getattr(table, f"quantity_{key}") for key in keys]
    lengths = {key: 0 if one is None else len(one) for key, one in zip(keys, listed, strict=True)}
    if len(set(lengths.values())) > 1:
        yield f"the quantities differ in number: {lengths}"
        return
    for name, column, value, locality in zip(*(one[:] for one in listed), strict=True):
        if locality not in get_args(Locality):
            yield f"quantity {name!r} is {locality!r}; expected one of {get_args(Locality)}"
        if column and column not in table.colnames:
            yield f"quantity {name!r} has no column {column!r}"
        if column and not np.isnan(value):
            yield f"quantity {name!r} has column {column!r}, and the single value {value} too"


def _outside(
    ranks: NDArray[np.int64], table: ProjectionState, population: str | None, what: str
) -> Iterator[str]:
    known = _by_title(getattr(table.parent, "population_states", None) or {})
    if not len(ranks):
        return
    if ranks.min() < 0:
        yield f"the {what} rank {ranks.min()} is negative"
    neurons = known.get(population)
    if neurons is not None and ranks.max() >= len(neurons.id):
        yield f"{what} rank {ranks.max()}, but {population!r} has {len(neurons.id)} neurons"


def _by_title(parts: Mapping[str, Any]) -> dict[str | None, Any]:
    return {_title(part): part for part in parts.values()}


def _title(part: StateTable) -> str:
    return str(part.title or part.name)


def _row_ends(table: ProjectionState) -> NDArray[np.int64]:
    return np.asarray(table["pre_rank"].data[:], np.int64)


def _of_synapses(table: ProjectionState, name: str) -> NDArray[Any]:
    column = table[name]
    return np.asarray((column.target if isinstance(column, VectorIndex) else column).data[:])


def _delays(table: ProjectionState, name: str, uniform: Any) -> NDArray[Any] | None:
    if name in table.colnames:
        return _of_synapses(table, name)
    return None if uniform is None else np.asarray(uniform)


def _are_close(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=0))


# What schema validation cannot see: one small function for each rule.

PREFIX = "check_simulation_"
"""What the names of our rules begin with among the checks of nwbinspector, for ``check_``."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something that a rule found; only an ``error`` means that the file is at fault."""

    severity: Severity
    rule: str
    where: str
    message: str


# What nwbinspector says of data that are as this extension means them.
_EXPECTED = {
    ("check_data_orientation", "CompartmentSeries"): "a network has more compartments than times",
    ("check_data_orientation", "AxesTimeSeries"): "an image has more pixels than there are times",
    ("check_single_row", "Compartments"): "one recorded cell is a table of one row",
    ("check_col_not_nan", "Compartments"): "NaN is an unknown position",
}


def check_file(path: Path) -> list[Finding]:
    """Check an NWB file against the schema, the rules of this module, and nwbinspector.

    Raises
    ------
    SourceError
        If the file cannot be opened as NWB.

    """
    check_nwb(path)
    # First what reads it: of contents that are no NWB, validation says less.
    rules = list(_rules(path))
    return [*_schema(path), *rules, *_inspector(path)]


def _schema(path: Path) -> Iterator[Finding]:
    if path.is_dir():
        # Given the path of a Zarr store, pynwb 4 asks hdmf-zarr for what only HDF5 has.
        with open_store(path) as io:
            _, manager, _ = get_cached_namespaces_to_validate(io=io)
        with open_store(path, manager) as io:
            errors = pynwb.validate(io=io)
    else:
        errors = pynwb.validate(path=str(path))
    for error in errors:
        yield Finding("error", "schema", str(error.location or ""), str(error.reason))


def _rules(path: Path) -> Iterator[Finding]:
    with open_nwb(path) as io:
        nwbfile = read_contents(io, path)
        for item in nwbfile.objects.values():
            for kind, rules in RULES.items():
                if isinstance(item, kind):
                    for rule in rules:
                        yield from _findings(rule, item, nwbfile)


def _findings(
    rule: Callable[[Any], Iterable[str]], item: Any, nwbfile: NWBFile
) -> Iterator[Finding]:
    for message in rule(item):
        yield Finding(severity_of(rule), rule.__name__, _path(item, nwbfile), message)


def _path(item: Any, nwbfile: NWBFile) -> str:
    names = []
    while item is not None and item is not nwbfile:
        names.append(item.name)
        item = item.parent
    return "/".join(reversed(names))


def check_columns_match_table(series: CompartmentSeries) -> Iterator[str]:
    """A column of the data for each compartment of the table."""
    shape = data_shape(series)
    if series.compartments is None or shape is None:
        return
    columns, expected = (1 if len(shape) == 1 else shape[1]), table_size(series.compartments)
    if columns != expected:
        yield f"the data have {columns} columns but the table describes {expected} compartments"


def check_has_table(series: CompartmentSeries) -> Iterator[str]:
    """A series should say what its columns are."""
    if series.compartments is None:
        yield "no table says which compartments the columns are"


def check_unit_known(series: CompartmentSeries) -> Iterator[str]:
    """A series should have a unit."""
    if series.unit == "unknown":
        yield "the unit is unknown; convert again with --unit, or set it"


def check_ids_unique(table: Compartments) -> Iterator[str]:
    """A row for each cell."""
    for cell in repeated_ids(table)[:1]:
        yield f"cell id {cell} stands in more than one row"


def check_rows_have_equal_lengths(table: Compartments) -> Iterator[str]:
    """Every column of the schema has as many values for a cell as ``number``."""
    for name in uneven_columns(table):
        yield f"column {name!r} has other numbers of values in its rows than 'number'"


def check_ends_fit_values(table: DynamicTable) -> Iterator[str]:
    """The ends of a ragged column ascend and lie within its values."""
    for name in table.colnames:
        ends = _ends(table, name)
        if ends is None or not len(ends):
            continue
        length = len(table[name].target.data)
        if (np.diff(ends) < 0).any() or ends[-1] != length:
            yield f"the ends of column {name!r} do not ascend to its {length} values"


def check_positions_in_sections(table: Compartments) -> Iterator[str]:
    """A position is from 0 to 1, or NaN."""
    if "position" not in table.colnames or not table_size(table):
        return
    column = table["position"]
    values = np.asarray((column.target if isinstance(column, VectorIndex) else column).data[:])
    if ((values < 0) | (values > 1)).any():
        yield f"positions reach from {np.nanmin(values)} to {np.nanmax(values)}; expected 0 to 1"


RULES: dict[type, tuple[Callable[[Any], Iterable[str]], ...]] = {
    CompartmentSeries: (check_columns_match_table, check_has_table, check_unit_known),
    Compartments: (
        check_ids_unique,
        check_rows_have_equal_lengths,
        check_ends_fit_values,
        check_positions_in_sections,
    ),
    NetworkState: (
        check_populations_are_there,
        check_parts_have_names_of_their_own,
        check_time_fits_step,
    ),
    PopulationState: (check_ranks_count_neurons, check_quantities_have_values),
    ProjectionState: (
        check_ends_fit_values,
        check_rows_of_synapses,
        check_post_ranks,
        check_pre_ranks,
        check_synapses_are_single,
        check_delays_fit_steps,
        check_quantities_have_values,
    ),
}
"""The rules for each type."""

_ADVICE = {
    check_has_table,
    check_unit_known,
    check_positions_in_sections,
    check_populations_are_there,
    check_synapses_are_single,
}


def severity_of(rule: Callable[[Any], Iterable[str]]) -> Severity:
    """Say how bad it is to break a rule.

    Example
    -------
    >>> severity_of(check_has_table), severity_of(check_ids_unique)
    ('warning', 'error')

    """
    return "warning" if rule in _ADVICE else "error"


def _ends(table: DynamicTable, name: str) -> NDArray[np.int64] | None:
    column = table[name]
    return np.asarray(column.data[:], np.int64) if isinstance(column, VectorIndex) else None


def _inspector(path: Path) -> Iterator[Finding]:
    try:
        from nwbinspector import Importance
    except ImportError:
        message = "not installed; pip install 'ndx-simulation-output[check]' for its checks"
        yield Finding("note", "nwbinspector", "", message)
        return
    for found in _inspector_messages(path):
        where = found.location or "/"
        # Our rules are among its checks, once somebody has imported our inspector.
        own = found.check_function_name.startswith(PREFIX)
        if own or (found.check_function_name, found.object_type) in _EXPECTED:
            continue
        if found.importance == Importance.ERROR and path.is_dir():
            # Some checks index data in ways that arrays of Zarr do not have.
            message = f"nwbinspector cannot check this in Zarr: {found.message.splitlines()[-1]}"
            yield Finding("note", found.check_function_name, where, message)
            continue
        critical = found.importance in {Importance.CRITICAL, Importance.ERROR}
        violation = found.importance == Importance.BEST_PRACTICE_VIOLATION
        severity: Severity = "error" if critical else "warning" if violation else "note"
        yield Finding(severity, found.check_function_name, where, found.message)


def _inspector_messages(path: Path) -> list[Any]:
    from nwbinspector import inspect_nwbfile, inspect_nwbfile_object

    if not path.is_dir():
        return list(inspect_nwbfile(nwbfile_path=str(path)))
    with open_nwb(path) as io:
        return list(inspect_nwbfile_object(read_contents(io, path)))
