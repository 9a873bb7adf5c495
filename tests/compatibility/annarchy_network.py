"""The network of ANNarchy 5 whose state and recordings are golden files."""

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DT", "build", "facts"]

DT = 0.5


def build(source: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """Return a compiled network and its monitors: delays, a view, a grid, values of each kind.

    The random projection has the synapses that it has in ``source``, or new ones without that.
    """
    import ANNarchy

    from ndx_simulation_output import annarchy

    network = ANNarchy.Network(dt=DT, seed=11)
    network.constant("KC", 2.5)
    neuron = ANNarchy.Neuron(
        parameters="tau = 10.0 : population\nI = 25.0\nk = 3 : int\ngate = True : bool",
        equations="tau * dv/dt = -v + I + g_exc\nn += 1 : int\nhigh = v > 5.0 : bool",
        spike="v > 15.0",
        reset="v = 0.0",
    )
    synapse = ANNarchy.Synapse(
        parameters="eta = 0.01 : projection\nth = 2.0 : postsynaptic\nm = 2 : int",
        equations="dx/dt = -x/20.0\ns = s + 0.125 : postsynaptic\nw += eta * x",
        pre_spike="g_target += w\nx += 1.0",
    )
    exc = network.create((3, 2), neuron, name="exc")
    inh = network.create(4, neuron, name="L2/3 inh")
    exc.I = np.linspace(12.0, 30.0, 6).reshape(3, 2)
    inh.I = np.array([10.0, 20.0, 0.0, 18.0])
    ragged = network.connect(exc, inh, "exc", synapse, name="ragged")
    if source is None:
        delays = ANNarchy.Uniform(0.5, 4.0)
        ragged.connect_fixed_probability(0.6, weights=ANNarchy.Uniform(0.0, 1.0), delays=delays)
    else:
        annarchy.connect(ragged, source)
    view = network.connect(exc[1:5], inh[1:], "exc", name="of_a_view")
    view.connect_all_to_all(weights=0.125, delays=1.5)
    single = network.connect(inh[:2], exc, "exc", name="single/weight")
    single.connect_all_to_all(weights=0.5)
    monitors = {
        "exc": network.monitor(exc, ["n", "v", "spike"]),
        "slow": network.monitor(inh, ["n"], period=1.5, period_offset=0.5),
        "spikes": network.monitor(inh, ["spike"]),
        "synapses": network.monitor(ragged, ["x", "s"], period=5.0),
    }
    network.compile()
    return network, monitors


def facts(network: Any) -> dict[str, Any]:
    """Return every value of a network, as ANNarchy itself says it."""
    found: dict[str, Any] = {"step": int(network.current_step)}
    for part in (*network.get_populations(), *network.get_projections()):
        values = {name: getattr(part, name) for name in (*part.parameters, *part.variables)}
        if hasattr(part, "post_ranks"):
            values["delay"] = part.delay
            values["pre_ranks"] = {str(d.post_rank): d.pre_ranks for d in part.dendrites}
        found[part.name] = {name: plain(one) for name, one in values.items()}
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
