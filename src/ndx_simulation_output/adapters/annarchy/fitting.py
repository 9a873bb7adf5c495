"""Whether a saved state fits a network in memory, and its values as ANNarchy takes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.snapshots import WEIGHT, pre_ranks_of, typed
from ndx_simulation_output.recording import PopulationSnapshot, ProjectionSnapshot, Quantity

__all__ = [
    "MisfitError",
    "check_geometry",
    "check_quantity",
    "check_topology",
    "delays_to_set",
    "in_rows",
    "is_rounded",
    "value_to_set",
]

_KINDS = {"double": "f", "float": "f", "int": "i", "bool": "b"}
_REBUILD = "connect() rebuilds it before the network is compiled"
_TOLERANCE = 1e-3
_HETEROGENEOUS = -1


class MisfitError(ValueError):
    """Something of a state does not fit the network, and why."""


def check_geometry(population: Any, state: PopulationSnapshot) -> None:
    """Refuse a state of other neurons.

    Raises
    ------
    MisfitError
        If the geometry differs.

    """
    there = tuple(int(length) for length in population.geometry)
    if state.geometry != there:
        msg = f"the geometry is {state.geometry} in the file and {there} in the network"
        raise MisfitError(msg)


def check_topology(projection: Any, state: ProjectionSnapshot) -> None:
    """Refuse a state of other synapses.

    Raises
    ------
    MisfitError
        If rows, or the pre-synaptic neurons of one, differ.

    """
    post_ranks, saved = np.asarray(projection.post_ranks, np.int64), state.post_ranks[:]
    if not np.array_equal(post_ranks, saved):
        msg = (
            f"the topology differs: {len(saved)} neurons have synapses in the file, and "
            f"{len(post_ranks)} or others in the network; {_REBUILD}"
        )
        raise MisfitError(msg)
    rows = pre_ranks_of(projection)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    if not np.array_equal(ends, state.ends[:]):
        there = int(ends[-1]) if len(ends) else 0
        msg = (
            f"the topology differs: {state.pre_ranks.shape[0]} synapses in the file, and {there} "
            f"or others in the network; {_REBUILD}"
        )
        raise MisfitError(msg)
    if not np.array_equal([rank for row in rows for rank in row], state.pre_ranks[:]):
        msg = f"the topology differs: synapses come from other neurons; {_REBUILD}"
        raise MisfitError(msg)


def check_quantity(part: Any, quantity: Quantity, facts: Mapping[str, Any]) -> None:
    """Refuse values that are not as many, or of the type, as ``facts`` declare.

    Raises
    ------
    MisfitError
        If they are not.

    """
    has, wanted = quantity.locality, facts.get("locality", "local")
    if has != wanted and (has, wanted) != ("shared", "local"):
        msg = f"is {has} in the file and {wanted} in the network"
        raise MisfitError(msg)
    if quantity.name == WEIGHT and has == "local" and np.isscalar(getattr(part, WEIGHT)):
        msg = "has a value for each synapse in the file and one for all in the network"
        raise MisfitError(msg)
    values = np.asarray(quantity.values[()])
    declared_type = facts.get("ctype", "double")
    kind = _KINDS.get(declared_type, "f")
    is_number = values.dtype.kind in "biuf"
    if not is_number or (kind != "f" and typed(values, declared_type).dtype.kind != kind):
        msg = f"holds {values.dtype} in the file, not all of which are {declared_type}"
        raise MisfitError(msg)


def is_rounded(quantity: Quantity, facts: Mapping[str, Any]) -> bool:
    """Tell whether a network of 32 bits cannot hold the values as they are."""
    values = np.asarray(quantity.values[()])
    return facts.get("ctype") == "float" and typed(values, "float").dtype != np.float32


def value_to_set(part: Any, quantity: Quantity, ends: Any, facts: Mapping[str, Any]) -> Any:
    """Give values as ANNarchy takes them: a number, a grid, a list, or a list for each row."""
    values = typed(np.asarray(quantity.values[()]), facts.get("ctype", "double"))
    if not values.shape:
        return values.item()
    if ends is None:
        return values.reshape(tuple(part.geometry))
    return in_rows(values, ends) if quantity.locality == "local" else values.tolist()


def in_rows(values: NDArray[Any], ends: NDArray[Any]) -> list[list[Any]]:
    """Split values, shape (synapse,), into a list for each row.

    Example
    -------
    >>> in_rows(np.array([0.1, 0.2, 0.3]), np.array([2, 3]))
    [[0.1, 0.2], [0.3]]

    """
    flat, edges = values.tolist(), np.asarray(ends).tolist()
    return [flat[start:end] for start, end in zip([0, *edges], edges, strict=False)]


def delays_to_set(projection: Any, state: ProjectionSnapshot, dt: float) -> Any:
    """Give delays in ms as ANNarchy takes them, or None if the network has them already.

    Raises
    ------
    MisfitError
        If the network was compiled without such delays, or they are no multiples of ``dt`` (ms).

    """
    steps = _steps(state, dt)
    compiled = int(projection.uniform_delay)
    if compiled == _HETEROGENEOUS:
        all_steps = np.broadcast_to(steps, state.pre_ranks.shape)
        return in_rows(all_steps * dt, np.asarray(state.ends[:]))
    if steps.size and steps.min() != steps.max():
        msg = f"differ in the file, and the network is compiled with one for all; {_REBUILD}"
        raise MisfitError(msg)
    wanted = int(steps.max()) if steps.size else 1
    if wanted == max(compiled, 1):
        return None
    if compiled == 0:
        msg = f"are {wanted} steps in the file, and the network is compiled without; {_REBUILD}"
        raise MisfitError(msg)
    return wanted * dt


def _steps(state: ProjectionSnapshot, dt: float) -> NDArray[np.int64]:
    """Give delays in steps of the network, whose ``dt`` need not be that of the file."""
    if state.delays is None:
        return np.asarray(state.delay_steps[()])  # type: ignore[index]
    exact = np.asarray(state.delays[()]) * 1000 / dt
    steps = np.rint(exact)
    if steps.size and (steps.min() < 1 or abs(exact - steps).max() > _TOLERANCE * steps.max()):
        msg = f"are no multiples of the time step, {dt:g} ms"
        raise MisfitError(msg)
    return steps.astype(np.int64)
