"""The state of a network of ANNarchy that is in memory."""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.delays import Delays, file_delays
from ndx_simulation_output.adapters.annarchy.live import (
    LiveNetwork,
    LivePopulation,
    LiveProjection,
    base_of,
    declared,
    simulator_version,
)
from ndx_simulation_output.adapters.annarchy.rows import Rows, texts_of
from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.network import Kind

__all__ = ["WEIGHT", "declarations", "pre_ranks_of", "snapshot", "typed"]

WEIGHT = "w"
"""ANNarchy's name of the weight."""

_TYPES = {"double": np.float64, "float": np.float32, "int": np.int64, "bool": np.bool_}
_TEXTS = (
    "parameters",
    "equations",
    "spike",
    "axon_spike",
    "reset",
    "axon_reset",
    "refractory",
    "psp",
    "operation",
    "pre_spike",
    "post_spike",
    "pre_axon_spike",
    "functions",
)


def snapshot(
    live: LiveNetwork, *, populations: bool = True, projections: bool = True
) -> NetworkSnapshot:
    """Take the state of a compiled network, with the values of this moment.

    Raises
    ------
    RecordingError
        If the network is not compiled.

    """
    step = live.step()
    return NetworkSnapshot(
        name=live.name,
        populations=tuple(map(_population, live.populations)) if populations else (),
        projections=tuple(_projections(live)) if projections else (),
        constants=_constants(live),
        time=step * live.dt / 1000,
        step=step,
        time_step=live.dt / 1000,
        seed=live.seed,
        simulator="ANNarchy",
        simulator_version=simulator_version(),
    )


def declarations(live: LiveNetwork) -> NetworkSnapshot:
    """Describe the quantities of a network, compiled or not; only global ones have their values."""
    return NetworkSnapshot(
        name=live.name,
        populations=tuple(
            PopulationSnapshot(population.name, (1,), tuple(_declared(population)))
            for population in live.populations
        ),
        projections=tuple(
            ProjectionSnapshot(
                projection.name,
                np.zeros(1, np.int64),
                np.ones(1, np.int64),
                np.zeros(1, np.int64),
                tuple(_declared(projection)),
            )
            for projection in live.projections
        ),
        constants=_constants(live),
    )


def typed(values: NDArray[Any], declared_type: str) -> NDArray[Any]:
    """Give values in the type of their declaration, if that changes none: 5.x gives floats."""
    dtype = _TYPES.get(declared_type)
    if dtype is None or values.dtype == dtype:
        return values
    with np.errstate(invalid="ignore"):
        found: NDArray[Any] = values.astype(dtype)
    return found if np.array_equal(found, values, equal_nan=values.dtype.kind == "f") else values


def pre_ranks_of(projection: Any) -> list[list[int]]:
    """Give the pre-synaptic ranks of each row: at once in 5.x, by dendrites in 4.x."""
    if hasattr(projection, "pre_ranks"):
        return list(projection.pre_ranks)
    return [dendrite.pre_ranks for dendrite in projection.dendrites]


def _constants(live: LiveNetwork) -> dict[str, float]:
    return {constant.name: float(constant.value) for constant in live.constants}


def _population(population: LivePopulation) -> PopulationSnapshot:
    _check_compiled(population)
    geometry = tuple(int(length) for length in population.geometry)
    found: list[Quantity] = []
    for name, kind, facts in _listed(population):
        value = _value(population, name)
        if value is None:
            continue
        declared_type = facts.get("ctype", "")
        values = typed(np.asarray(value), declared_type)
        is_global = not values.shape
        found.append(
            Quantity(
                name,
                values if is_global else values.reshape(-1),
                "global" if is_global else "local",
                kind,
                declared_type,
            )
        )
    return PopulationSnapshot(
        population.name, geometry, tuple(found), _model(population.neuron_type)
    )


def _projections(live: LiveNetwork) -> Iterator[ProjectionSnapshot]:
    for projection in live.projections:
        _check_compiled(projection)
        if _shares_weights(projection):
            _warn(f"projection {projection.name} is left out: its weights are those of a filter")
        else:
            yield _projection(projection, live.dt)


def _projection(projection: LiveProjection, dt: float) -> ProjectionSnapshot:
    post_ranks = np.asarray(projection.post_ranks, np.int64)
    rows, pre_ranks = Rows.of(pre_ranks_of(projection), len(post_ranks), sys.maxsize)
    found: list[Quantity] = []
    for name, kind, facts in _listed(projection):
        value = _value(projection, name)
        if value is None:
            continue
        values, locality = rows.read(value)
        declared_type = facts.get("ctype", "")
        if locality == "global" and facts.get("locality", "local") == "local":
            locality = "shared"
        found.append(Quantity(name, typed(values, declared_type), locality, kind, declared_type))
    delays = _delays(projection, rows, dt)
    return ProjectionSnapshot(
        name=projection.name,
        post_ranks=post_ranks,
        ends=rows.ends,
        pre_ranks=pre_ranks,
        quantities=tuple(found),
        pre=base_of(projection.pre).name,
        post=base_of(projection.post).name,
        targets=tuple(texts_of(projection.target)),
        delays=delays.seconds,
        delay_steps=delays.steps,
        weight=WEIGHT if any(one.name == WEIGHT for one in found) else None,
        model=_model(projection.synapse_type),
    )


def _delays(projection: LiveProjection, rows: Rows, dt: float) -> Delays:
    try:
        return file_delays(projection.delay, rows, dt)
    except ValueError as error:
        msg = f"delays of projection {projection.name!r}: {error}"
        raise RecordingError(msg) from error


def _declared(part: Any) -> Iterator[Quantity]:
    for name, kind, facts in _listed(part):
        locality, declared_type = facts.get("locality", "local"), facts.get("ctype", "")
        dtype = _TYPES.get(declared_type, np.float64)
        value = _value(part, name) if locality == "global" else np.zeros(1, dtype)
        if value is not None:
            yield Quantity(
                name, typed(np.asarray(value), declared_type), locality, kind, declared_type
            )


def _listed(part: Any) -> Iterator[tuple[str, Kind, dict[str, Any]]]:
    """Give each quantity with its kind and declaration; the weight may be listed twice."""
    facts = declared(part)
    for name in dict.fromkeys([*part.parameters, *part.variables]):
        yield name, "variable" if name in part.variables else "parameter", facts.get(name, {})


def _value(part: Any, name: str) -> Any:
    """Read a quantity, or give None, with a warning, where ANNarchy cannot."""
    try:
        return getattr(part, name)
    except Exception as error:  # noqa: BLE001 - any error of generated code
        _warn(f"{name} of {part.name} is left out, as ANNarchy cannot read it: {error}")
        return None


def _model(model: Any) -> str | None:
    """Give the text of a model: its name, and each part under its name."""
    if model is None:
        return None
    texts = [
        f"{key}:\n{str(text).strip()}" for key in _TEXTS if (text := getattr(model, key, None))
    ]
    return "\n\n".join([f"{model.name}: {model.short_description}", *texts])


def _check_compiled(part: Any) -> None:
    if not getattr(part, "initialized", True):
        msg = f"{part.name!r} is not compiled yet; its state is known when the network is"
        raise RecordingError(msg)


def _shares_weights(projection: Any) -> bool:
    return type(projection).__module__.startswith("ANNarchy.extensions.convolution")


def _warn(text: str) -> None:
    warnings.warn(text, SimulationOutputWarning, stacklevel=2)
