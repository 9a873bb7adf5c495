"""States are restored into stand-ins for networks; the live tests use ANNarchy."""

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
    """A population or projection with one variable ``x``; ``facts`` are its declaration."""

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
        """Do not set the clock."""

    return LiveNetwork("network", population, projection, 1.0, lambda: now, ignore)


def neurons(values) -> NetworkSnapshot:
    quantity = Quantity("x", np.asarray(values), "local", "variable", "double")
    population = PopulationSnapshot("exc", (2,), (quantity,))
    return NetworkSnapshot("network", (population,), step=STEP, time_step=0.001)


@pytest.mark.parametrize(
    ("kind", "values", "is_noted"),
    [
        ("float", [0.1, 0.25], True),
        ("float", [0.5, np.nan], False),
        ("float", np.array([0.1, 0.25], np.float32), False),
        ("double", [0.1, 0.25], False),
    ],
)
def test_values_that_a_network_of_32_bits_rounds_are_noted(kind, values, is_noted):
    part = Part("exc", {"ctype": kind})

    restored = restore(network(population=(part,)), neurons(values))

    note = "population exc: x is rounded to the 32 bits of the network"
    assert restored.notes == ((note,) if is_noted else ())
    assert "population exc: x" in restored.set


@pytest.mark.parametrize(
    ("now", "method", "is_noted"),
    [
        (STEP + 1, "event-driven", True),
        (STEP, "event-driven", False),
        (STEP + 1, "explicit", False),
    ],
)
def test_a_clock_that_is_set_back_is_noted_for_event_driven_variables(now, method, is_noted):
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
        ["projection stdp: x"] if is_noted else []
    )
    assert synapses.values == {"x": [[0.1, 0.2]]}
