"""Load exported files into a network of ANNarchy 4.8 or 5.0: `python files.py TARGET.json`.

The JSON lists, for each file, the values of the network that differ from those in the file. The
network is compiled in the working directory.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ANNarchy as ann  # noqa: N813 - as its users do
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ndx_simulation_output import convert
from ndx_simulation_output.annarchy.reading import read
from ndx_simulation_output.annarchy.writing import write
from ndx_simulation_output.api import export_annarchy
from ndx_simulation_output.recording import NetworkSnapshot, ProjectionSnapshot, Quantity

IS_NEW = int(version("ANNarchy").split(".")[0]) >= 5
DT = 0.5
EXTENSIONS = ("txt", "txt.gz", "npz")
SESSION = {"NWBFile": {"session_description": "a network of ANNarchy"}}

RATE = {
    "parameters": "tau = 10.0 : population\n gain = 1.5\n order = 3 : int\n gate = True : bool",
    "equations": "tau * dmp/dt + mp = sum(exc) + gain : init = 0.2\n r = pos(mp)",
}
HEBB = {
    "parameters": "eta = 0.01 : projection\n tau_theta = 50.0 : postsynaptic\n alpha = 0.35",
    "equations": """
        tau_theta * dtheta/dt + theta = post.r : postsynaptic
        dw/dt = eta * (pre.r * post.r - alpha * theta * w)
    """,
}


def ragged() -> ProjectionSnapshot:
    """Return rows of different lengths, and a neuron without synapses."""
    return ProjectionSnapshot(
        "ragged",
        post_ranks=np.array([0, 1, 3, 4]),
        ends=np.array([3, 4, 6, 10]),
        pre_ranks=np.array([0, 2, 5, 1, 3, 4, 0, 1, 2, 5]),
        quantities=(Quantity("w", np.linspace(0.01, 0.1, 10)),),
        weight="w",
    )


def delayed() -> ProjectionSnapshot:
    """Return rows of the same length, with a different delay for each synapse."""
    steps = np.array([1, 4, 2, 3, 8, 1, 2, 2, 5, 6])
    return replace(
        ragged(),
        name="delayed",
        post_ranks=np.arange(5),
        ends=np.arange(2, 12, 2),
        delays=steps * DT / 1000,
        delay_steps=steps,
    )


class Live:
    """The network, built with the functions of either version."""

    def __init__(self) -> None:
        if IS_NEW:
            self._net = ann.Network(dt=DT, seed=5)
            create, connect = self._net.create, self._net.connect
        else:
            ann.setup(dt=DT, seed=5)
            create, connect = ann.Population, ann.Projection
        neuron = ann.Neuron(**RATE)
        grid = create(geometry=(2, 3), neuron=neuron, name="grid")
        line = create(geometry=5, neuron=neuron, name="line")
        projections = [
            connect(grid, line, "exc", ann.Synapse(**HEBB), name="ragged"),
            connect(grid, line, "exc", name="delayed"),
            connect(line, grid, "exc", ann.Synapse(**HEBB), name="even"),
            connect(line, line, "exc", name="shared"),
        ]
        for projection, file in zip(projections, ("ragged.npz", "delayed.txt"), strict=False):
            made = projection.from_file if IS_NEW else projection.connect_from_file
            made(file)
        for projection, weight in zip(projections[2:], (ann.Uniform(0, 0.1), 0.05), strict=True):
            made = projection.all_to_all if IS_NEW else projection.connect_all_to_all
            made(weights=weight, delays=1.5)
        self.populations, self.projections = [grid, line], projections
        (self._net.compile if IS_NEW else ann.compile)()
        (self._net.simulate if IS_NEW else ann.simulate)(20.0)

    def save(self, path: str) -> None:
        """Save the network."""
        (self._net.save if IS_NEW else ann.save)(path)

    def load(self, path: Path) -> None:
        """Load the network."""
        (self._net.load if IS_NEW else ann.load)(str(path))

    @property
    def step(self) -> int:
        """The current step."""
        return int(self._net.current_step if IS_NEW else ann.get_current_step())

    @step.setter
    def step(self, step: int) -> None:
        if IS_NEW:
            self._net.current_step = step
        else:
            ann.set_current_step(step)

    def values(self) -> dict[str, Any]:
        """Return all values that can be read."""
        found: dict[str, Any] = {"step": self.step}
        for part in (*self.populations, *self.projections):
            for name in dict.fromkeys(part.attributes):
                found[f"{part.name}.{name}"] = plain(getattr(part, name))
        for projection in self.projections:
            rows = projection.pre_ranks if IS_NEW else [d.pre_ranks for d in projection.dendrites]
            found[f"{projection.name}.ranks"] = [plain(projection.post_ranks), plain(rows)]
            found[f"{projection.name}.delay"] = plain(projection.delay)
        return found

    def spoil(self) -> None:
        """Change every value, so that loading has to set it."""
        self.step = 7
        for population in self.populations:
            population.set({"tau": 1.0, "gain": 9.0, "order": 1, "gate": False, "mp": 9.0})
            population.set({"r": 9.0})
        for projection in self.projections:
            projection.w = 9.0
            if "theta" in projection.attributes:
                projection.set({"eta": 9.0, "tau_theta": 9.0, "alpha": 9.0, "theta": 9.0})


def plain(value: Any) -> Any:
    """Return a value as lists of numbers."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return float(value)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the values that are not as expected."""
    return [
        f"{name} is {found.get(name)}; expected {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def expected_of(network: NetworkSnapshot, live: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a network after it has loaded a state."""
    found = {**live, "step": network.step}
    for population in network.populations:
        for quantity in population.quantities:
            shape = population.geometry if quantity.locality == "local" else ()
            found[f"{population.name}.{quantity.name}"] = plain(quantity.values.reshape(shape))
    for projection in network.projections:
        for quantity in projection.quantities:
            values = quantity.values
            is_local = quantity.locality == "local"
            rows = np.split(values, projection.ends[:-1]) if is_local else values
            found[f"{projection.name}.{quantity.name}"] = plain(rows)
    return found


def changed(network: NetworkSnapshot) -> NetworkSnapshot:
    """Return a state of the same network in which every value is different."""
    rng = np.random.default_rng(3)

    def other(quantity: Quantity) -> Quantity:
        kind, shape = quantity.values.dtype.kind, quantity.values.shape
        values = rng.uniform(0, 1, shape) if kind == "f" else rng.integers(0, 2, shape)
        return replace(quantity, values=np.asarray(values).astype(quantity.values.dtype))

    def all_other(part: Any) -> Any:
        return replace(part, quantities=tuple(map(other, part.quantities)))

    return replace(
        network,
        populations=tuple(map(all_other, network.populations)),
        projections=tuple(map(all_other, network.projections)),
        step=123,
        time=None,
    )


def check(
    live: Live, load: Callable[[], object], expected: dict[str, Any], parts: tuple[str, ...] = ()
) -> list[str]:
    """Return the values of a network, or of some parts, that are not as expected after loading."""
    live.spoil()
    load()
    if parts:
        expected = {key: one for key, one in expected.items() if key.split(".")[0] in parts}
    return differences(live.values(), expected)


def checks(live: Live) -> Iterator[tuple[str, list[str]]]:
    """Load each kind of file into the network."""
    live.save("saved.txt")
    before = live.values()
    yield (
        "connectivity",
        differences(
            before,
            {
                "ragged.ranks": [[0, 1, 3, 4], [[0, 2, 5], [1], [3, 4], [0, 1, 2, 5]]],
                "delayed.delay": [[0.5, 2], [1, 1.5], [4, 0.5], [1, 1], [2.5, 3]],
            },
        ),
    )
    convert("saved.txt", "saved.nwb", dt=DT, metadata=SESSION)
    for extension in EXTENSIONS:
        target = Path(f"exported.{extension}")
        export_annarchy("saved.nwb", target)
        yield target.name, check(live, lambda path=target: live.load(path), before)
    (network,) = read("saved.txt", dt=DT).networks
    network = changed(network)
    expected = expected_of(network, before)
    for extension in EXTENSIONS:
        target = Path(f"generated.{extension}")
        write(target, network)
        yield target.name, check(live, lambda path=target: live.load(path), expected)
        for part, one in zip((*live.populations, *live.projections), network.parts, strict=True):
            target = Path(f"part_{one.name}.{extension}")
            is_population = part in live.populations
            alone = replace(
                network,
                populations=(one,) if is_population else (),
                projections=() if is_population else (one,),
            )
            write(target, alone, form="part")
            wrong = check(live, lambda p=part, t=target: p.load(str(t)), expected, (one.name,))
            # ANNarchy 5.0 ignores arrays for global parameters, as in its own files.
            is_known = extension == "npz" and is_population and IS_NEW
            yield (
                target.name,
                [one for one in wrong if not (is_known and one.split(" ")[0].endswith(".tau"))],
            )


def main(target: str) -> None:
    """Run all checks and write the differences."""
    no_time = NetworkSnapshot("made", projections=(ragged(),), time_step=DT / 1000)
    write("ragged.npz", no_time, form="connectivity")
    with_delays = replace(no_time, projections=(delayed(),))
    unit = "ms" if IS_NEW else "steps"
    write("delayed.txt", with_delays, form="connectivity", delay_unit=unit)
    live = Live()
    Path(target).write_text(json.dumps(dict(checks(live))))


if __name__ == "__main__":
    main(sys.argv[1])
