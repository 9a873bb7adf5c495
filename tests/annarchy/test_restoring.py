"""States are restored into stand-ins for networks; the live tests use ANNarchy."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.annarchy.network import LiveNetwork
from ndx_simulation_output.annarchy.restoring import restore
from ndx_simulation_output.annarchy.schedules import from_position
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
    model: Any = None

    @property
    def neuron_type(self) -> Any:
        return self.model or SimpleNamespace(
            description={"variables": [{"name": "x", **self.facts}]}
        )

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


def test_one_note_lists_all_values_of_a_part_that_are_rounded():
    part = Part("exc", {"ctype": "float"}, variables=("x", "y"))
    part.model = SimpleNamespace(
        description={"variables": [{"name": name, "ctype": "float"} for name in "xy"]}
    )
    quantities = tuple(Quantity(name, np.array([0.1, 0.2])) for name in "xy")
    state = NetworkSnapshot("network", (PopulationSnapshot("exc", (2,), quantities),))

    restored = restore(network(population=(part,)), state)

    assert restored.notes == ("population exc: x, y are rounded to the 32 bits of the network",)


@given(
    steps=st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True).map(sorted),
    period=st.none() | st.integers(1, 40),
    position=st.integers(0, 90),
)
def test_the_rest_of_a_schedule_is_what_would_have_come(steps, period, position):
    """The entry that was reached last, step by step, is the same from any position."""

    def reached(steps, period, n_steps):
        entry, found = None, []
        for step in range(n_steps):
            now = step if period is None else step % period
            entry = steps.index(now) if now in steps else entry
            found.append(entry)
        return found

    rest = from_position(steps, position, period)

    whole = reached(steps, period, position + 100)
    found = reached([start for start, _ in rest], period, 100)
    before = whole[position - 1] if position else None
    assert [before if one is None else rest[one][1] for one in found] == whole[position:]


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
