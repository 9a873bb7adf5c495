"""Parameters of a JSON text set in a network of ANNarchy that is in memory."""

from typing import Any

import numpy as np

from ndx_simulation_output.adapters.annarchy.live import LiveNetwork
from ndx_simulation_output.adapters.annarchy.parameters import Parameters, with_parameters
from ndx_simulation_output.adapters.annarchy.snapshots import declarations

__all__ = ["set_parameters"]


def set_parameters(
    live: LiveNetwork, parameters: Parameters, *, global_only: bool = True
) -> tuple[str, ...]:
    """Set parameters of a network, compiled or not; give notes on each value that was not set.

    With ``global_only`` false local ones are set too, to one value for all neurons or synapses.

    Raises
    ------
    NameClashError
        If two populations, or two projections, have the same name.

    """
    before = declarations(live)
    after, notes = with_parameters(before, parameters, global_only=global_only)
    parts: list[Any] = [*live.populations, *live.projections]
    for part, old, new in zip(parts, before.parts, after.parts, strict=True):
        values = {
            quantity.name: np.asarray(quantity.values[()]).ravel()[0].item()
            for quantity, known in zip(new.quantities, old.quantities, strict=True)
            # What was not set is the very same object.
            if quantity is not known
        }
        if values:
            part.set(values)
    for constant in live.constants:
        if constant.name in parameters.constants:
            constant.set(after.constants[constant.name])
    return notes
