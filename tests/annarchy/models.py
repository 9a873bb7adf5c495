"""Networks for ANNarchy 4 and 5, for tests in separate processes."""

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ANNarchy
import numpy as np
import pytest
from ANNarchy.extensions.bold import BoldMonitor, balloon_RN
from scipy.sparse import lil_matrix

__all__ = [
    "DT",
    "FIVE",
    "Model",
    "continuing",
    "delayed",
    "facts",
    "is_quiet",
    "plain",
    "read_facts",
    "refused",
    "timed",
    "warned",
    "write_facts",
]

FIVE = version("ANNarchy").startswith("5")
DT = 0.5


class Model:
    """A network; ``network`` is None for the implicit one of ANNarchy 4."""

    def __init__(self, dt: float = DT, seed: int = 11) -> None:
        self.dt = dt
        self.network = ANNarchy.Network(dt=dt, seed=seed) if FIVE else None
        if not FIVE:
            ANNarchy.setup(dt=dt, seed=seed)
        self.constant = self.network.constant("KC", 2.5) if FIVE else ANNarchy.Constant("KC", 2.5)

    def population(self, geometry: Any, neuron: Any, name: str) -> Any:
        if FIVE:
            return self.network.create(geometry, neuron, name=name)
        return ANNarchy.Population(geometry, neuron, name=name)

    def projection(self, pre: Any, post: Any, name: str, synapse: Any = None) -> Any:
        connect = self.network.connect if FIVE else ANNarchy.Projection
        return connect(pre, post, "exc", synapse, name=name)

    def monitor(self, *what: Any, **how: Any) -> Any:
        return (self.network.monitor if FIVE else ANNarchy.Monitor)(*what, **how)

    def compile(self) -> None:
        (self.network or ANNarchy).compile()

    def simulate(self, duration: float) -> None:
        (self.network or ANNarchy).simulate(duration)

    def reset(self) -> None:
        (self.network or ANNarchy).reset()

    @property
    def step(self) -> int:
        return self.network.current_step if FIVE else ANNarchy.get_current_step()

    @property
    def parts(self) -> dict[str, Any]:
        source = self.network
        populations = source.get_populations() if FIVE else ANNarchy.populations()
        projections = source.get_projections() if FIVE else ANNarchy.projections()
        return {part.name: part for part in (*populations, *projections)}


def neuron() -> Any:
    """A leaky neuron that counts its time steps, without a refractory period or noise."""
    return ANNarchy.Neuron(
        parameters="tau = 10.0 : population\nI = 25.0\nk = 3 : int\ngate = True : bool",
        equations="tau * dv/dt = -v + I + g_exc\nn += 1 : int\nhigh = v > 5.0 : bool",
        spike="v > 15.0",
        reset="v = 0.0",
    )


def synapse() -> Any:
    """A plastic synapse with differential equations and values of every kind."""
    return ANNarchy.Synapse(
        parameters="eta = 0.01 : projection\nth = 2.0 : postsynaptic\nm = 2 : int",
        equations="dx/dt = -x/20.0\ns = s + 0.125 : postsynaptic\nw += eta * x",
        pre_spike="g_target += w\nx += 1.0",
    )


def delayed(*, connect: bool = True, seed: int = 11) -> Model:
    """A random network with delays, a view, a single weight, and names with blanks and slashes.

    Without ``connect``, its random projections have no synapses yet.
    """
    model = Model(seed=seed)
    exc = model.population((3, 2), neuron(), "exc")
    inh = model.population(4, ANNarchy.Izhikevich, "L2/3 inh")
    ragged = model.projection(exc, exc, "ragged", synapse())
    stdp = model.projection(exc, inh, "exc_to_inh", ANNarchy.STDP())
    weak = model.projection(exc[1:5], inh[1:], "weak")
    single = model.projection(inh[:2], exc, "single/weight")
    single.connect_all_to_all(weights=0.5, delays=2.0)
    if connect:
        weights, delays = ANNarchy.Uniform(0.0, 1.0), ANNarchy.Uniform(0.5, 4.0)
        ragged.connect_fixed_probability(0.5, weights=weights, delays=delays)
        stdp.connect_fixed_number_pre(3, weights=weights, delays=1.5, storage_format="csr")
        weak.connect_fixed_probability(0.7, weights=weights)
    return model


def plain(n_rows: int = 6) -> Model:
    """A plastic network without delays; the last neurons of ``inh`` have no synapses."""
    model = Model()
    exc = model.population((3, 2), neuron(), "exc")
    inh = model.population(8, neuron(), "inh")
    exc.I = np.linspace(12.0, 30.0, 6).reshape(3, 2)
    inh.I = np.linspace(10.0, 20.0, 8)
    matrix = lil_matrix((6, 8))
    for pre in range(6):
        # The neuron with rank 1 has no synapses either.
        posts = [post for post in range(n_rows) if post != 1 and (pre + post) % 3]
        matrix.rows[pre], matrix.data[pre] = posts, [0.1 * (pre + post) for post in posts]
    model.projection(exc, inh, "forward", synapse()).connect_from_sparse(matrix)
    back = model.projection(inh, exc, "back", synapse())
    back.connect_all_to_all(weights=0.125)
    return model


def continuing() -> Model:
    """The plain network with delays and inputs."""
    model = plain()
    add_delays(model)
    add_inputs(model)
    return model


def timed() -> Model:
    """A network whose variables are the time; its attribute ``measured`` is a BOLD monitor.

    ``gaps`` has synapses of the neurons 0 and 2 alone. ANNarchy 5 accepts two populations ``twin``.
    """
    model = Model(dt=0.1)
    clock = ANNarchy.Neuron(
        parameters="own_number = 0.0",
        equations="clk = t\nwhole = t : population\nnumber = own_number\nv += 0.3",
        spike="v > 2.0",
        reset="v = 0.0",
    )
    synapse = ANNarchy.Synapse(
        equations="x = t\nrows = t : postsynaptic\nwhole = t : projection",
        pre_spike="g_target += w",
    )
    cells = model.population((2, 2), clock, "cells")
    cells.own_number = np.arange(4.0).reshape(2, 2)
    three, pair = model.population(3, clock, "three"), model.population(2, clock, "pair")
    model.projection(three, pair, "forward", synapse).connect_all_to_all(weights=0.0)
    matrix = lil_matrix((3, 3))
    for pre in range(3):
        matrix.rows[pre], matrix.data[pre] = [0, 2], [0.1, 0.2]
    model.projection(three, three, "gaps", synapse).connect_from_sparse(matrix)
    model.twins = [model.population(2, clock, "twin") for _ in range(1 + FIVE)]
    rates = model.population(3, ANNarchy.Neuron(equations="r = 1.0"), "rates")
    how = {"populations": [rates], "recorded_variables": ["I_CBF", "BOLD"]}
    make = model.network.boldmonitor if FIVE else BoldMonitor
    model.measured = make(bold_model=balloon_RN(), mapping={"I_CBF": "r"}, **how)
    return model


LONGEST = 4.0
"""The longest delay of ``add_delays``, in ms."""
SPIKE_TIMES = [[float(time) for time in range(3, 300, 7)], [], [4.0, 61.0, 61.5, 100.0]]
RATES, SCHEDULE, PERIOD = [[1.0, 2.0], [3.0, 0.5], [0.0, 4.0]], [0.0, 5.0, 13.5], 20.0


def add_delays(model: Model) -> None:
    """Add spikes and rates that come and go with the clock, with delays."""
    pulse = ANNarchy.Neuron(equations="v = sin(0.2 * t)", spike="v > 0.9")
    wave = ANNarchy.Neuron(equations="r = pos(sin(0.2 * t))")
    spiking = ANNarchy.Neuron(equations="g_exc *= 0.9\nv = g_exc", spike="v > 1000.0")
    rate = ANNarchy.Neuron(equations="r = 0.5 * r + sum(exc)")
    for name, source, follower in (("pulse", pulse, spiking), ("wave", wave, rate)):
        pre = model.population(2, source, name)
        post = model.population(2, follower, f"after {name}")
        for kind, delays in {"one": 3.0, "many": ANNarchy.Uniform(0.5, LONGEST)}.items():
            projection = model.projection(pre, post, f"{kind} delay after {name}")
            projection.connect_all_to_all(weights=ANNarchy.Uniform(0.1, 1.0), delays=delays)


def add_inputs(model: Model) -> None:
    """Add inputs with schedules; the Poisson neurons spike in every step, or never."""
    inputs = {
        "spikes": ANNarchy.SpikeSourceArray(SPIKE_TIMES, name="spikes"),
        "rates": ANNarchy.TimedArray(
            np.array(RATES).reshape(-1, 1, 2), schedule=SCHEDULE, period=PERIOD, name="rates"
        ),
        "poisson": ANNarchy.TimedPoissonPopulation(
            (1, 2), [0.0, 1e6, 0.0, 1e6], schedule=[0.0, 10.0, 12.0, 95.0], name="poisson"
        ),
    }
    for name, made in inputs.items():
        source = model.network.create(made) if FIVE else made
        if name != "rates":
            projection = model.projection(source, model.parts["after pulse"], f"from {name}")
            projection.connect_all_to_all(weights=0.25)


def is_quiet(model: Model) -> bool:
    """Return True if no spike and no rate is on its way."""
    now = model.step * model.dt
    waves = np.sin(0.2 * np.arange(now - LONGEST - 2 * model.dt, now, model.dt))
    is_spiking = any((model.parts[name].v == 0.0).any() for name in ("exc", "inh"))
    is_input = any(now - model.dt in times for times in SPIKE_TIMES) or 9 < now < 14 or now > 94
    return not is_spiking and not is_input and bool((waves < 0).all())


def facts(model: Model) -> dict[str, Any]:
    """Return every value of a network, read without the code under test."""
    found: dict[str, Any] = {"step": model.step}
    for name, part in model.parts.items():
        # ANNarchy cannot read the variables of some inputs.
        names = [key for key in {*part.parameters, *part.variables} if hasattr(part, key)]
        values = {key: getattr(part, key) for key in names}
        if hasattr(part, "post_ranks"):
            values["delay"] = part.delay
            values["pre_ranks"] = {d.post_rank: list(d.pre_ranks) for d in part.dendrites}
        found[name] = {
            key: np.asarray(one).tolist() if _plain(one) else one for key, one in values.items()
        }
    return json.loads(json.dumps(found))


def _plain(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic))


def write_facts(model: Model, path: str) -> None:
    Path(path).write_text(json.dumps(facts(model)), encoding="utf-8")


def read_facts(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def refused(error, words, call, *given, **options) -> None:
    """Check that a call raises an error with this text."""
    with pytest.raises(error) as caught:
        call(*given, **options)
    assert words in str(caught.value), caught.value


def warned(words, call, *given, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(*given, **options)
    texts = [str(one.message) for one in caught]
    assert any(words in text for text in texts), texts
    return result
