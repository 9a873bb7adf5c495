"""The state of a plastic projection, which its simulator gives as lists of rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording import NetworkSnapshot, ProjectionSnapshot, Quantity

__all__ = ["make_state", "rows_of"]

SYNAPSES_OF_A_NEURON = 100
LONGEST_DELAY = 16
DT = 0.5


def make_state(synapses: int) -> NetworkSnapshot:
    """Make about so many synapses at random, each with a weight, two traces and a delay.

    Rows differ in length. A fifth of the traces have decayed to nothing.
    """
    rng = np.random.default_rng(0)
    neurons = max(2 * SYNAPSES_OF_A_NEURON, synapses // SYNAPSES_OF_A_NEURON)
    counts = rng.binomial(neurons, SYNAPSES_OF_A_NEURON / neurons, neurons)
    made = int(counts.sum())
    steps = rng.integers(1, LONGEST_DELAY + 1, made)
    values = {"w": rng.uniform(0, 1, made), "x": _trace(rng, made), "y": -_trace(rng, made)}
    projection = ProjectionSnapshot(
        "exc_to_exc",
        post_ranks=np.arange(neurons),
        ends=np.cumsum(counts),
        pre_ranks=np.concatenate(
            [np.sort(rng.choice(neurons, count, replace=False)) for count in counts.tolist()]
        ),
        quantities=tuple(
            Quantity(name, array, "local", "variable") for name, array in values.items()
        ),
        pre="exc",
        post="exc",
        targets=("exc",),
        delays=steps * DT / 1000,
        delay_steps=steps,
        weight="w",
    )
    return NetworkSnapshot("state", projections=(projection,), step=0, time_step=DT / 1000)


def rows_of(values: NDArray[Any], ends: NDArray[np.int64]) -> list[list[Any]]:
    """Return the values of each row as ANNarchy does, as new lists."""
    flat = values.tolist()
    edges = ends.tolist()
    return [flat[start:stop] for start, stop in zip([0, *edges[:-1]], edges, strict=True)]


def _trace(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    decayed = rng.random(count) < 0.2
    return np.where(decayed, 0.0, rng.exponential(0.02, count))
