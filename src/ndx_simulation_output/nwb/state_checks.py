"""What schema validation cannot see of the states of networks: one small function for each rule."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from ndx_simulation_output.nwb.types import NetworkState, PopulationState, ProjectionState
from ndx_simulation_output.nwb.types.network import StateTable
from ndx_simulation_output.recording.compartments import repeated_values
from ndx_simulation_output.recording.network import Locality

__all__ = [
    "check_delays_fit_steps",
    "check_parts_have_names_of_their_own",
    "check_populations_are_there",
    "check_post_ranks",
    "check_pre_ranks",
    "check_quantities_have_values",
    "check_ranks_count_neurons",
    "check_rows_of_synapses",
    "check_synapses_are_single",
    "check_time_fits_step",
]

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
    ends = _ends(table)
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
    ends, ranks = _ends(table), _of_synapses(table, "pre_rank")
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


def _ends(table: ProjectionState) -> NDArray[np.int64]:
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
