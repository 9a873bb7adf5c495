"""States of networks of every shape that simulators leave."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.reading import NOT_CONTAINED, to_seconds
from ndx_simulation_output.recording import (
    UNKNOWN,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Unit,
)

__all__ = ["annarchy_networks", "facts_of", "networks"]

_NAMES = st.sampled_from(
    [
        "pop0",
        "L2/3 exc",
        "time_step",
        "größe",
        "id",
        "name",
        "weight",
        "w",
        "a:b",
        "..",
        "v",
        "count",
    ]
)
_TYPES = st.sampled_from([np.float64, np.float32, np.int64, np.bool_])
_KINDS = st.sampled_from(["parameter", "variable", ""])


def _values(shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[Any]]:
    def of(dtype: type) -> st.SearchStrategy[NDArray[Any]]:
        whole = np.dtype(dtype).kind == "i"
        elements = st.integers(-(2**53), 2**53) if whole else None
        return arrays.arrays(dtype, shape, elements=elements)

    return _TYPES.flatmap(of)


@st.composite
def _quantities(draw: st.DrawFn, shapes: dict[str, tuple[int, ...]]) -> tuple[Quantity, ...]:
    made = []
    for name in draw(st.lists(_NAMES, max_size=4, unique=True)):
        locality = draw(st.sampled_from(sorted(shapes)))
        declared = draw(st.sampled_from(["", "double", "int"]))
        values = draw(_values(shapes[locality]))
        unit = draw(st.sampled_from([UNKNOWN, Unit("volts", 1e-3), Unit("1"), Unit("nit", 0.3)]))
        made.append(Quantity(name, values, locality, draw(_KINDS), declared, unit))
    return tuple(made)


@st.composite
def _populations(draw: st.DrawFn) -> PopulationSnapshot:
    geometry = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    shapes = {"local": (int(np.prod(geometry)),), "global": (), "shared": ()}
    model = draw(st.sampled_from([None, "tau * dv/dt = -v"]))
    return PopulationSnapshot(draw(_NAMES), geometry, draw(_quantities(shapes)), model)


@st.composite
def _projections(draw: st.DrawFn) -> ProjectionSnapshot:
    counts = draw(st.lists(st.integers(0, 3), max_size=4))
    ends = np.cumsum(counts, dtype=np.int64)
    synapses = int(sum(counts))
    shapes = {"local": (synapses,), "semiglobal": (len(counts),), "global": (), "shared": ()}
    quantities = draw(_quantities(shapes))
    names = [quantity.name for quantity in quantities]
    delays, steps = None, None
    if draw(st.booleans()):
        shape = draw(st.sampled_from([(), (synapses,)]))
        steps = draw(arrays.arrays(np.int64, shape, elements=st.integers(1, 100)))
        delays = np.asarray(steps * 1e-4) if draw(st.booleans()) else None
    return ProjectionSnapshot(
        draw(_NAMES),
        np.array(draw(st.permutations(range(len(counts)))), np.int64),
        ends,
        draw(arrays.arrays(np.int64, (synapses,), elements=st.integers(0, 50))),
        quantities,
        pre=draw(st.sampled_from([None, "L2/3 exc"])),
        post=draw(st.sampled_from([None, "pop0"])),
        targets=draw(st.sampled_from([None, ("exc",), ("exc", "inh")])),
        delays=delays,
        delay_steps=steps,
        weight=draw(st.sampled_from([None, *names])),
    )


@st.composite
def networks(draw: st.DrawFn) -> NetworkSnapshot:
    """Make states with any number of populations and projections, also of the same name."""
    return NetworkSnapshot(
        draw(_NAMES),
        tuple(draw(st.lists(_populations(), max_size=3))),
        tuple(draw(st.lists(_projections(), max_size=3))),
        constants=draw(st.dictionaries(_NAMES, st.floats(allow_nan=False), max_size=2)),
        time=draw(st.sampled_from([None, 0.0, 0.1])),
        step=draw(st.sampled_from([None, 0, 2**40])),
        time_step=draw(st.sampled_from([None, 1e-4])),
        seed=draw(st.sampled_from([None, 2024])),
        simulator=draw(st.sampled_from([None, "ANNarchy"])),
        provenance=draw(st.sampled_from([{}, {"net_id": 1}])),
    )


@st.composite
def annarchy_networks(draw: st.DrawFn, *, least: int = 1) -> NetworkSnapshot:
    """Make states that files of ANNarchy can say; parts have at least so many neurons or rows.

    Names are unique and those of no entry, numbers are of 64 bits, delays multiples of the step.
    """
    names = draw(st.lists(_PART_NAMES, max_size=4, unique=True))
    dt = draw(st.sampled_from([0.1, 0.3, 0.5, 1.0]))
    populations, projections = [], []
    for name in names:
        if draw(st.booleans()):
            populations.append(draw(_annarchy_populations(name, least)))
        else:
            projections.append(draw(_annarchy_projections(name, dt, least)))
    step = draw(st.sampled_from([None, 0, 200, 2**40]))
    return NetworkSnapshot(
        "state",
        tuple(populations),
        tuple(projections),
        time=None if step is None else to_seconds(step, dt),
        step=step,
        not_contained=NOT_CONTAINED,
        time_step=to_seconds(1, dt),
    )


_PART_NAMES = st.sampled_from(
    ["pop0", "L2/3 exc", "größe", "id", "exc to inh", "file", "a:b", ".."]
)
_QUANTITY_NAMES = st.sampled_from(["v", "w", "count", "r 2/3", "id", "g:exc", "τ", "weight"])
_LONG_TYPES = st.sampled_from([np.float64, np.int64, np.bool_])


@st.composite
def _annarchy_quantities(
    draw: st.DrawFn, shapes: dict[str, tuple[int, ...]]
) -> tuple[Quantity, ...]:
    made = []
    for name in draw(st.lists(_QUANTITY_NAMES, max_size=4, unique=True)):
        locality = draw(st.sampled_from(sorted(shapes)))
        shape = shapes[locality]
        # Lists of nothing have no type.
        dtype = draw(_LONG_TYPES) if 0 not in shape else np.float64
        elements = st.integers(-(2**53), 2**53) if dtype is np.int64 else None
        values = draw(arrays.arrays(dtype, shape, elements=elements))
        if name == "w" and locality == "global" and "semiglobal" in shapes:
            locality = "shared"
        made.append(Quantity(name, values, locality, draw(_KINDS)))
    return tuple(made)


@st.composite
def _annarchy_populations(draw: st.DrawFn, name: str, least: int) -> PopulationSnapshot:
    geometry = tuple(draw(st.lists(st.integers(least, 3), min_size=1, max_size=3)))
    shapes = {"local": (int(np.prod(geometry)),), "global": ()}
    return PopulationSnapshot(name, geometry, draw(_annarchy_quantities(shapes)))


@st.composite
def _annarchy_projections(draw: st.DrawFn, name: str, dt: float, least: int) -> ProjectionSnapshot:
    counts = draw(st.lists(st.integers(0, 3), min_size=least, max_size=4))
    if draw(st.booleans()):
        counts = [counts[0]] * len(counts)
    synapses = int(sum(counts))
    shapes = {"local": (synapses,), "semiglobal": (len(counts),), "global": ()}
    quantities = draw(_annarchy_quantities(shapes))
    delays, steps = None, None
    if draw(st.booleans()):
        shape = draw(st.sampled_from([(), (synapses,)]))
        steps = draw(arrays.arrays(np.int64, shape, elements=st.integers(1, 100)))
        delays = np.asarray(to_seconds(steps, dt), np.float64)
    return ProjectionSnapshot(
        name,
        np.array(sorted(draw(st.permutations(range(9)))[: len(counts)]), np.int64),
        np.cumsum(counts, dtype=np.int64),
        draw(arrays.arrays(np.int64, (synapses,), elements=st.integers(0, 50))),
        quantities,
        pre=draw(st.sampled_from([None, "L4 exc"])),
        post=draw(st.sampled_from([None, "L4 inh"])),
        targets=draw(st.sampled_from([None, ("exc",), ("exc", "inh")])),
        delays=delays,
        delay_steps=steps,
        weight="w" if any(quantity.name == "w" for quantity in quantities) else None,
    )


def facts_of(value: Any) -> Any:
    """Give what a state says in a form that can be compared: arrays with their types."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: facts_of(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "dtype"):
        values = np.asarray(value[()])
        return values.dtype, values.shape, repr(values.tolist())
    if isinstance(value, (tuple, list)):
        return [facts_of(one) for one in value]
    return value
