"""Networks of ANNarchy in memory, and their state."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.reading import Delays, Rows, file_delays, texts_of
from ndx_simulation_output.errors import (
    MissingDependencyError,
    RecordingError,
    SimulationOutputWarning,
)
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.network import Kind

# Networks of ANNarchy that are in memory: 5.x objects, and the implicit one of 4.x.


class LivePopulation(Protocol):
    """What is used of a population of ANNarchy."""

    name: str
    geometry: Sequence[int]
    size: int
    parameters: Sequence[str]
    variables: Sequence[str]
    neuron_type: Any

    def set(self, values: Mapping[str, Any]) -> None:
        """Set values by the names of parameters and variables."""


class LiveProjection(Protocol):
    """What is used of a projection of ANNarchy; ``delay`` is in ms, the others in time steps."""

    name: str
    pre: Any
    post: Any
    target: str | Sequence[str]
    parameters: Sequence[str]
    variables: Sequence[str]
    synapse_type: Any
    post_ranks: Sequence[int]
    delay: Any
    uniform_delay: int

    def set(self, values: Mapping[str, Any]) -> None:
        """Set values by the names of parameters and variables."""


@dataclass(frozen=True)
class LiveNetwork:
    """A network, or one population or projection of it; ``dt`` is in ms.

    ``set_step`` sets the clock, and is None where only a part is meant.
    """

    name: str
    populations: tuple[LivePopulation, ...]
    projections: tuple[LiveProjection, ...]
    dt: float
    step: Callable[[], int]
    set_step: Callable[[int], None] | None = None
    seed: int | None = None
    constants: tuple[Any, ...] = ()
    monitors: tuple[Any, ...] = field(default=(), repr=False)


def simulator() -> Any:
    """Give the module of ANNarchy.

    Raises
    ------
    MissingDependencyError
        If it is not installed.

    """
    try:
        return import_module("ANNarchy")
    except ImportError as error:
        msg = "ANNarchy is not installed: pip install 'ndx-simulation-output[annarchy]'"
        raise MissingDependencyError(msg) from error


def simulator_version() -> str:
    """Give the version of ANNarchy."""
    return version("ANNarchy")


def find_network(found: Any = None) -> LiveNetwork:
    """Find the populations, projections and clock of a network, or of one part of it.

    None is the implicit network, which is that of scripts for ANNarchy 4.

    Raises
    ------
    RecordingError
        If it is none of these, or a network without populations.
    MissingDependencyError
        If ANNarchy is not installed.

    """
    annarchy = simulator()
    if found is None:
        has_implicit = hasattr(annarchy, "magic_network")
        return _filled(_of_5(annarchy.magic_network()) if has_implicit else _implicit(annarchy))
    if hasattr(found, "get_populations"):
        return _filled(_of_5(found) if hasattr(found, "current_step") else _of_4(annarchy, found))
    is_population = hasattr(found, "neuron_type") and not hasattr(found, "population")
    if is_population or hasattr(found, "synapse_type"):
        return _part(found, is_population=is_population)
    msg = (
        f"this is a {type(found).__name__}; expected a Network, Population or Projection of "
        "ANNarchy, or None for the implicit network"
    )
    raise RecordingError(msg)


def _filled(live: LiveNetwork) -> LiveNetwork:
    """Refuse a network of nothing, as the implicit one is where a script has a ``Network``."""
    if not live.populations:
        msg = (
            "this network has no populations; expected the Network that has them (without one, the "
            "implicit network is meant)"
        )
        raise RecordingError(msg)
    return live


def declared(part: Any) -> dict[str, dict[str, Any]]:
    """Give what the model of a population or projection declares of each quantity, by name."""
    model = getattr(part, "neuron_type", None) or getattr(part, "synapse_type", None)
    description = getattr(model, "description", None) or {}
    return {
        one["name"]: one for key in ("parameters", "variables") for one in description.get(key, [])
    }


def base_of(population: Any) -> Any:
    """Give the whole population of a view, and a population as it is."""
    return getattr(population, "population", population)


def clock_of(part: Any) -> tuple[float, Callable[[], int]]:
    """Give dt in ms, and what tells the step, of the network of a part or monitor."""
    annarchy = simulator()
    number = {"net_id": part.net_id} if hasattr(part, "net_id") else {}
    # 5.x prints that other calls are preferred; a part does not have the network they are of.
    with redirect_stdout(StringIO()):
        dt = float(annarchy.dt(**number if hasattr(annarchy, "magic_network") else {}))

    def step() -> int:
        with redirect_stdout(StringIO()):
            return int(annarchy.get_current_step(**number))

    return dt, step


def _of_5(network: Any) -> LiveNetwork:
    def set_step(step: int) -> None:
        network.current_step = step

    return LiveNetwork(
        "network",
        tuple(network.get_populations()),
        tuple(network.get_projections()),
        float(network.dt),
        lambda: int(network.current_step),
        set_step,
        _seed(network.seed),
        tuple(network.get_constants()),
        tuple(network.get_monitors()),
    )


def _implicit(annarchy: Any) -> LiveNetwork:
    return LiveNetwork(
        "network",
        tuple(annarchy.populations()),
        tuple(annarchy.projections()),
        float(annarchy.dt()),
        lambda: int(annarchy.get_current_step()),
        annarchy.set_current_step,
        _seed(annarchy.get_global_config("seed")),
        _constants_of_4(annarchy),
        tuple(annarchy.monitors()),
    )


def _of_4(annarchy: Any, network: Any) -> LiveNetwork:
    return LiveNetwork(
        "network",
        tuple(network.get_populations()),
        tuple(network.get_projections()),
        float(annarchy.dt()),
        lambda: int(network.get_current_step()),
        network.set_current_step,
        _seed(annarchy.get_global_config("seed")),
        _constants_of_4(annarchy),
        tuple(network.get_monitors()),
    )


def _part(part: Any, *, is_population: bool) -> LiveNetwork:
    dt, step = clock_of(part)
    return LiveNetwork(
        part.name,
        (part,) if is_population else (),
        () if is_population else (part,),
        dt,
        step,
    )


def _constants_of_4(annarchy: Any) -> tuple[Any, ...]:
    listed = annarchy.GlobalObjectManager()
    names: Iterable[str] = listed.list_constants()
    return tuple(listed.get_constant(name) for name in names)


def _seed(seed: Any) -> int | None:
    """Give a seed; none, or -1, which takes the time, is not known."""
    return int(seed) if seed is not None and int(seed) >= 0 else None


# The state of a network of ANNarchy that is in memory.

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
