"""What of a state the files of ANNarchy cannot say, in words."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ndx_simulation_output.recording import NetworkSnapshot, ProjectionSnapshot, Quantity

__all__ = ["Form", "unsaid_of"]

Form = Literal["network", "part", "connectivity"]
"""What a file holds: a network, one population or projection, or where synapses are."""

_WEIGHT = "w"
_SAID_TYPES = {"float64", "int64", "bool"}


def unsaid_of(network: NetworkSnapshot, form: Form, *, in_matlab: bool = False) -> Iterator[str]:
    """Give a note for all that is lost, or that ANNarchy takes for something else."""
    lost = {
        "time step": network.time_step,
        "seed": network.seed,
        "constants": network.constants or None,
        "model": next((part.model for part in network.parts if part.model is not None), None),
    }
    if form != "network":
        lost |= {"time": network.time, "step": network.step}
    if names := [name for name, value in lost.items() if value is not None]:
        yield f"left out: {', '.join(names)}, which such a file does not have"
    if form == "network" and network.step is None:
        yield "the state does not say its step: loading it leaves the clock as it is"
    for part in network.parts:
        yield from _unsaid_of_quantities(part.name, part.quantities)
    for projection in network.projections:
        yield from _unsaid_of_projection(projection, form)
    if in_matlab:
        yield (
            "in a MATLAB file truth values are integers, and what has one value for one neuron or "
            "synapse is as what is global; ANNarchy does not load it"
        )


def _unsaid_of_quantities(where: str, quantities: tuple[Quantity, ...]) -> Iterator[str]:
    notes = {
        "is neither a parameter nor a variable": [q for q in quantities if not q.kind],
        "is written in 64 bits": [q for q in quantities if str(q.values.dtype) not in _SAID_TYPES],
        "is one value for all, which is read as global": [
            q for q in quantities if q.locality == "shared" and q.name != _WEIGHT
        ],
        "is global, which is read as one weight for all synapses": [
            q for q in quantities if q.locality == "global" and q.name == _WEIGHT
        ],
    }
    for what, found in notes.items():
        if found:
            yield f"{', '.join(quantity.name for quantity in found)} of {where} {what}"


def _unsaid_of_projection(projection: ProjectionSnapshot, form: Form) -> Iterator[str]:
    where = f"projection {projection.name}"
    if form == "connectivity":
        yield f"{where}: only the weight and delays are written"
    elif None in {projection.pre, projection.post, projection.targets}:
        yield f"{where} does not say its populations or targets"
    if projection.weight not in {_WEIGHT, None}:
        yield f"the weight of {where} is named {projection.weight}; ANNarchy's is {_WEIGHT}"
    if projection.delays is None and projection.delay_steps is None:
        yield f"{where} does not say its delays: loading it makes them one step"
    lengths = np.diff(np.asarray(projection.ends[:]), prepend=0)
    if len(lengths) and not lengths.all():
        yield f"{where} has rows without synapses, which ANNarchy has not"
    delays = projection.delays if projection.delay_steps is None else projection.delay_steps
    if form != "connectivity" and delays is not None and delays.shape and len(set(lengths)) > 1:
        yield (
            f"{where}: ANNarchy's own load fails where rows differ in length and delays differ too"
        )
