"""The synapses of a saved projection given to one that is not compiled yet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.fitting import in_rows
from ndx_simulation_output.adapters.annarchy.live import base_of, simulator
from ndx_simulation_output.errors import MissingDependencyError, RestoreError
from ndx_simulation_output.recording import ProjectionSnapshot, Quantity

__all__ = ["connect"]


def connect(projection: Any, state: ProjectionSnapshot, dt: float) -> None:
    """Give a projection the synapses, weights and delays of a saved one; ``dt`` is in ms.

    Uniform delays go through ``connect_from_sparse``, which takes no others; others through
    ``connect_with_func``.

    Raises
    ------
    RestoreError
        If the projection is compiled, or its populations have not the neurons.
    MissingDependencyError
        If SciPy is not installed.

    """
    if getattr(projection, "initialized", False):
        msg = f"{projection.name!r} is compiled; synapses are rebuilt before the network is"
        raise RestoreError(msg)
    post, pre = _places(projection.post), _places(projection.pre)
    rows = np.repeat(state.post_ranks[:], np.diff(state.ends[:], prepend=0))
    _check_ranks(projection, "post", rows, post)
    _check_ranks(projection, "pre", state.pre_ranks[:], pre)
    weights = _weights(state)
    delays = _delays(state, dt)
    if delays is not None and delays.size and delays.min() != delays.max():
        projection.connect_with_func(_pattern(state, weights, delays))
        return
    uniform = {} if delays is None or not delays.size else {"delays": float(delays.flat[0])}
    if uniform.get("delays") == dt:
        uniform = {}
    matrix = _sparse(post[rows], pre[state.pre_ranks[:]], weights, _shape(projection))
    projection.connect_from_sparse(matrix, **uniform)


def _places(population: Any) -> NDArray[np.int64]:
    """Give the place of each neuron of a population in a view of it, -1 where it is not there."""
    whole = base_of(population)
    places = np.full(int(whole.size), -1)
    ranks = np.asarray(population.ranks) if whole is not population else np.arange(whole.size)
    places[ranks] = np.arange(len(ranks))
    return places


def _check_ranks(
    projection: Any, side: str, ranks: NDArray[Any], places: NDArray[np.int64]
) -> None:
    known = ranks < len(places)
    if not known.all() or (places[ranks[known]] < 0).any():
        lost = ranks[~known] if not known.all() else ranks[places[ranks] < 0]
        msg = (
            f"the {side}-synaptic neurons of {projection.name!r} have no rank {int(lost[0])}, "
            "which has synapses in the file"
        )
        raise RestoreError(msg)


def _shape(projection: Any) -> tuple[int, int]:
    return int(projection.pre.size), int(projection.post.size)


def _weights(state: ProjectionSnapshot) -> NDArray[np.float64]:
    found: Quantity | None = next((q for q in state.quantities if q.name == state.weight), None)
    values = 0.0 if found is None else found.values[()]
    return np.broadcast_to(np.asarray(values, np.float64), state.pre_ranks.shape)


def _delays(state: ProjectionSnapshot, dt: float) -> NDArray[np.float64] | None:
    if state.delays is not None:
        return np.rint(np.asarray(state.delays[()]) * 1000 / dt) * dt
    return None if state.delay_steps is None else np.asarray(state.delay_steps[()]) * dt


def _sparse(
    post: NDArray[Any], pre: NDArray[Any], weights: NDArray[Any], shape: tuple[int, int]
) -> Any:
    """Make a matrix of SciPy, pre-synaptic neurons first, in which weights of 0 are kept."""
    try:
        from scipy.sparse import lil_matrix
    except ImportError as error:
        msg = "connect_from_sparse takes SciPy: pip install 'ndx-simulation-output[matlab]'"
        raise MissingDependencyError(msg) from error
    order = np.lexsort((post, pre))
    ends = np.cumsum(np.bincount(pre, minlength=shape[0]))
    matrix = lil_matrix(shape)
    columns, values = in_rows(post[order], ends), in_rows(weights[order], ends)
    for row in range(shape[0]):
        matrix.rows[row], matrix.data[row] = columns[row], values[row]
    return matrix


def _pattern(state: ProjectionSnapshot, weights: NDArray[Any], delays: NDArray[Any]) -> Any:
    """Give a function that makes ANNarchy's own list of synapses; 5.x calls it with ``dt`` too."""
    ends = np.asarray(state.ends[:])

    def pattern(_pre: Any, _post: Any, *dt: float) -> Any:
        synapses = simulator().LILConnectivity(*dt)
        rows = (in_rows(values, ends) for values in (state.pre_ranks[:], weights, delays))
        for rank, *row in zip(np.asarray(state.post_ranks[:]).tolist(), *rows, strict=True):
            if row[0]:
                synapses.add(rank, *row)
        return synapses

    return pattern
