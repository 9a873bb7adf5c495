"""States are set in stand-ins for networks in memory; the live tests have the simulator."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output.annarchy.network import LiveNetwork
from ndx_simulation_output.annarchy.restoring import restore
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

STEP = 40


@dataclass
class Part:
    """A population or a projection of one variable ``x``, declared as ``facts`` say."""

    name: str
    facts: dict[str, Any]
    parameters: tuple[str, ...] = ()
    variables: tuple[str, ...] = ("x",)
    geometry: tuple[int, ...] = (2,)
    post_ranks: tuple[int, ...] = (0,)
    pre_ranks: tuple[tuple[int, ...], ...] = ((0, 1),)
    uniform_delay: int = 0
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def neuron_type(self) -> Any:
        return SimpleNamespace(description={"variables": [{"name": "x", **self.facts}]})

    def set(self, values: dict[str, Any]) -> None:
        self.values |= values


def network(*, population=(), projection=(), now: int = 0) -> LiveNetwork:
    def ignore(step: int) -> None:
        """Leave the clock as it is."""

    return LiveNetwork("network", population, projection, 1.0, lambda: now, ignore)


def neurons(values) -> NetworkSnapshot:
    quantity = Quantity("x", np.asarray(values), "local", "variable", "double")
    population = PopulationSnapshot("exc", (2,), (quantity,))
    return NetworkSnapshot("network", (population,), step=STEP, time_step=0.001)


@pytest.mark.parametrize(
    ("kind", "values", "is_said"),
    [
        ("float", [0.1, 0.25], True),
        ("float", [0.5, np.nan], False),
        ("float", np.array([0.1, 0.25], np.float32), False),
        ("double", [0.1, 0.25], False),
    ],
)
def test_what_a_network_of_32_bits_rounds_is_said(kind, values, is_said):
    part = Part("exc", {"ctype": kind})

    restored = restore(network(population=(part,)), neurons(values))

    note = "population exc: x is rounded to the 32 bits of the network"
    assert restored.notes == ((note,) if is_said else ())
    assert "population exc: x" in restored.set


@pytest.mark.parametrize(
    ("now", "method", "is_said"),
    [
        (STEP + 1, "event-driven", True),
        (STEP, "event-driven", False),
        (STEP + 1, "explicit", False),
    ],
)
def test_a_clock_that_goes_back_is_said_where_last_events_matter(now, method, is_said):
    synapses = Part("stdp", {"method": method})
    state = neurons([0.1, 0.2])
    ranks, quantity = np.array([0, 1]), state.populations[0].quantities[0]
    saved = ProjectionSnapshot(
        "stdp",
        np.array([0]),
        np.array([2]),
        ranks,
        (quantity,),
        delays=np.array(0.001),
        delay_steps=np.array(1),
    )
    state = NetworkSnapshot("network", state.populations, (saved,), step=STEP, time_step=0.001)

    live = network(population=(Part("exc", {}),), projection=(synapses,), now=now)
    restored = restore(live, state)

    assert [note.partition(": the clock")[0] for note in restored.notes] == (
        ["projection stdp: x"] if is_said else []
    )
    assert synapses.values == {"x": [[0.1, 0.2]]}
