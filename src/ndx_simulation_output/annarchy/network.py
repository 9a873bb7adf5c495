"""Read the state of networks of ANNarchy 4 and 5 in memory."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import version
from inspect import signature
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.reading import (
    NOT_CONTAINED,
    SIMULATOR,
    WEIGHT,
    Delays,
    SynapseRows,
    read_delays,
    read_names,
    to_seconds,
)
from ndx_simulation_output.annarchy.schedules import has_schedule, read_schedule
from ndx_simulation_output.errors import (
    RecordingError,
    SimulationOutputWarning,
)
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.network import QuantityKind


@dataclass(frozen=True)
class LiveNetwork:
    """A network, or a single population or projection of one, as objects of ANNarchy.

    ``dt`` is in ms. ``set_step`` sets the clock; ``reset`` sets all populations and the clock to
    their beginning, with spikes in flight and delayed rates. Both are None for a single population
    or projection.
    """

    name: str
    populations: tuple[Any, ...]
    projections: tuple[Any, ...]
    dt: float
    step: Callable[[], int]
    set_step: Callable[[int], None] | None = None
    reset: Callable[[], None] | None = None
    seed: int | None = None
    constants: tuple[Any, ...] = ()
    monitors: tuple[Any, ...] = field(default=(), repr=False)


def simulator() -> Any:
    """Return the module of ANNarchy."""
    return import_optional("ANNarchy", "a network in memory", "annarchy")


def simulator_version() -> str:
    """Return the version of the package; ``ANNarchy.__version__`` is not complete."""
    return version("ANNarchy")


def find_network(network: Any = None) -> LiveNetwork:
    """Return a ``Network``, ``Population`` or ``Projection`` as a ``LiveNetwork``.

    None is the implicit network of scripts for ANNarchy 4.
    """
    annarchy = simulator()
    if network is None and hasattr(annarchy, "magic_network"):
        live = _network_of_5(annarchy.magic_network())
    elif network is None:
        live = _network_of_4(annarchy, annarchy)
    elif hasattr(network, "get_populations"):
        is_5 = hasattr(network, "current_step")
        live = _network_of_5(network) if is_5 else _network_of_4(annarchy, network)
    else:
        return _single_part(network)
    if not live.populations:
        msg = (
            "this network has no populations; expected the Network that has them (if the argument "
            "is omitted, the implicit network is used)"
        )
        raise RecordingError(msg)
    return live


def declarations_of(part: Any) -> dict[str, dict[str, Any]]:
    """Return the declarations of parameters and variables by name, from the model of ``part``."""
    model = getattr(part, "neuron_type", None) or getattr(part, "synapse_type", None)
    description = getattr(model, "description", None) or {}
    declarations = [*description.get("parameters", []), *description.get("variables", [])]
    return {declaration["name"]: declaration for declaration in declarations}


def population_of(population: Any) -> Any:
    """Return the population of a view, or the population itself."""
    return getattr(population, "population", population)


def clock_of(part: Any) -> tuple[float, Callable[[], int]]:
    """Return dt in ms and a function that returns the current step, of a part or a monitor."""
    annarchy = simulator()
    net_id = {"net_id": part.net_id} if hasattr(part, "net_id") else {}
    # ANNarchy 5 prints a deprecation message, but parts have no reference to their network.
    with redirect_stdout(StringIO()):
        dt = float(annarchy.dt(**net_id if hasattr(annarchy, "magic_network") else {}))

    def step() -> int:
        with redirect_stdout(StringIO()):
            return int(annarchy.get_current_step(**net_id))

    return dt, step


def _network_of_5(network: Any) -> LiveNetwork:
    def set_step(step: int) -> None:
        network.current_step = step

    return LiveNetwork(
        "network",
        tuple(network.get_populations()),
        tuple(network.get_projections()),
        float(network.dt),
        lambda: int(network.current_step),
        set_step,
        _reset_of(network),
        _seed(network.seed),
        tuple(network.get_constants()),
        tuple(network.get_monitors()),
    )


def _network_of_4(annarchy: Any, network: Any) -> LiveNetwork:
    """Return a ``Network`` of ANNarchy 4, or the implicit one if ``network`` is the module."""
    prefix = "" if network is annarchy else "get_"
    populations, projections, monitors = (
        tuple(getattr(network, prefix + kind)())
        for kind in ("populations", "projections", "monitors")
    )
    manager = annarchy.GlobalObjectManager()
    names: Iterable[str] = manager.list_constants()
    return LiveNetwork(
        "network",
        populations,
        projections,
        float(annarchy.dt()),
        lambda: int(network.get_current_step()),
        network.set_current_step,
        _reset_of(network),
        _seed(annarchy.get_global_config("seed")),
        tuple(manager.get_constant(name) for name in names),
        monitors,
    )


def _reset_of(network: Any) -> Callable[[], None]:
    """Return a function that resets populations only; versions differ in what else they reset."""
    others = ("projections", "synapses", "monitors", "reseed_rng")
    known = signature(network.reset).parameters
    unchanged = {name: False for name in others if name in known}
    return lambda: network.reset(populations=True, **unchanged)


def _single_part(part: Any) -> LiveNetwork:
    # A view of a population has a neuron type too.
    is_population = hasattr(part, "neuron_type") and not hasattr(part, "population")
    if not is_population and not hasattr(part, "synapse_type"):
        msg = (
            f"found a {type(part).__name__}; expected a Network, Population or Projection of "
            "ANNarchy, or None for the implicit network"
        )
        raise RecordingError(msg)
    populations, projections = ((part,), ()) if is_population else ((), (part,))
    return LiveNetwork(part.name, populations, projections, *clock_of(part))


def _seed(seed: Any) -> int | None:
    """Return a seed, or None if it is unknown: -1 means a seed from the current time."""
    return int(seed) if seed is not None and int(seed) >= 0 else None


# The state of a network

_TYPES = {"double": np.float64, "float": np.float32, "int": np.int64, "bool": np.bool_}
STORAGE = ("storage_format", "storage_order")
"""Arguments of ANNarchy's ``connect_*`` on how synapses are stored."""
_MODEL_TEXTS = (
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
    """Return the current state of a compiled network."""
    step = live.step()
    provenance = {
        "schedules": {
            population.name: read_schedule(population, step, live.dt)
            for population in live.populations
            if populations and has_schedule(population)
        },
        "storage": {
            projection.name: storage
            for projection in live.projections
            if projections and (storage := storage_of(projection))
        },
    }
    return NetworkSnapshot(
        name=live.name,
        populations=tuple(map(_population, live.populations)) if populations else (),
        projections=tuple(_projections(live)) if projections else (),
        constants=_constants(live),
        time=to_seconds(step, live.dt),
        step=step,
        time_step=to_seconds(1, live.dt),
        seed=live.seed,
        simulator=SIMULATOR,
        simulator_version=simulator_version(),
        not_contained=NOT_CONTAINED,
        provenance={key: values for key, values in provenance.items() if values},
    )


def storage_of(projection: Any) -> dict[str, str]:
    """Return how a projection stores its synapses, as arguments of ``connect_from_sparse``."""
    found = {name: getattr(projection, f"_{name}", None) for name in STORAGE}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def declared_snapshot(live: LiveNetwork) -> NetworkSnapshot:
    """Return the declared quantities of a network; only global ones have their values."""
    zero, one_synapse = np.zeros(1, np.int64), np.ones(1, np.int64)
    return NetworkSnapshot(
        name=live.name,
        populations=tuple(
            PopulationSnapshot(part.name, (1,), tuple(_declared_quantities(part)))
            for part in live.populations
        ),
        projections=tuple(
            ProjectionSnapshot(
                part.name, zero, one_synapse, zero, tuple(_declared_quantities(part))
            )
            for part in live.projections
        ),
        constants=_constants(live),
    )


def to_declared_type(values: NDArray[Any], declared_type: str) -> NDArray[Any]:
    """Cast values to their declared type if the cast is exact: ANNarchy 5 returns floats."""
    dtype = _TYPES.get(declared_type)
    if dtype is None or values.dtype == dtype:
        return values
    with np.errstate(invalid="ignore"):
        converted: NDArray[Any] = values.astype(dtype)
    is_equal = np.array_equal(converted, values, equal_nan=values.dtype.kind == "f")
    return converted if is_equal else values


def pre_ranks_of(projection: Any) -> list[list[int]]:
    """Return the pre-synaptic ranks of each row."""
    if hasattr(projection, "pre_ranks"):
        return list(projection.pre_ranks)
    # ANNarchy 4
    return [dendrite.pre_ranks for dendrite in projection.dendrites]


def _constants(live: LiveNetwork) -> dict[str, float]:
    return {constant.name: float(constant.value) for constant in live.constants}


def _population(population: Any) -> PopulationSnapshot:
    _check_compiled(population)
    quantities: list[Quantity] = []
    for name, kind, declaration in _quantities(population):
        value = _value(population, name)
        if value is None:
            continue
        ctype = declaration.get("ctype", "")
        values = to_declared_type(np.asarray(value), ctype)
        is_global = not values.shape
        quantities.append(
            Quantity(
                name,
                values if is_global else values.reshape(-1),
                "global" if is_global else "local",
                kind,
                ctype,
            )
        )
    return PopulationSnapshot(
        population.name,
        tuple(int(length) for length in population.geometry),
        tuple(quantities),
        _model_text(population.neuron_type),
    )


def _projections(live: LiveNetwork) -> Iterator[ProjectionSnapshot]:
    for projection in live.projections:
        _check_compiled(projection)
        if type(projection).__module__.startswith("ANNarchy.extensions.convolution"):
            _warn(f"left out: projection {projection.name}, whose weights are those of a filter")
        else:
            yield _projection(projection, live.dt)


def _projection(projection: Any, dt: float) -> ProjectionSnapshot:
    post_ranks = np.asarray(projection.post_ranks, np.int64)
    rows, pre_ranks = SynapseRows.read_ranks(pre_ranks_of(projection), len(post_ranks), sys.maxsize)
    quantities: list[Quantity] = []
    for name, kind, declaration in _quantities(projection):
        value = _value(projection, name)
        if value is None:
            continue
        values, locality = rows.read(value)
        ctype = declaration.get("ctype", "")
        if locality == "global" and declaration.get("locality", "local") == "local":
            locality = "shared"
        quantities.append(Quantity(name, to_declared_type(values, ctype), locality, kind, ctype))
    delays = _delays(projection, rows, dt)
    return ProjectionSnapshot(
        name=projection.name,
        post_ranks=post_ranks,
        ends=rows.ends,
        pre_ranks=pre_ranks,
        quantities=tuple(quantities),
        pre=population_of(projection.pre).name,
        post=population_of(projection.post).name,
        targets=tuple(read_names(projection.target)),
        delays=delays.seconds,
        delay_steps=delays.steps,
        weight=WEIGHT if any(quantity.name == WEIGHT for quantity in quantities) else None,
        model=_model_text(projection.synapse_type),
    )


def _check_compiled(part: Any) -> None:
    if not getattr(part, "initialized", True):
        msg = f"{part.name!r} is not compiled yet; its state is known after compile()"
        raise RecordingError(msg)


def _delays(projection: Any, rows: SynapseRows, dt: float) -> Delays:
    try:
        return read_delays(projection.delay, rows, dt)
    except ValueError as error:
        msg = f"delays of projection {projection.name!r}: {error}"
        raise RecordingError(msg) from error


def _declared_quantities(part: Any) -> Iterator[Quantity]:
    for name, kind, declaration in _quantities(part):
        locality, ctype = declaration.get("locality", "local"), declaration.get("ctype", "")
        dtype = _TYPES.get(ctype, np.float64)
        value = _value(part, name) if locality == "global" else np.zeros(1, dtype)
        if value is not None:
            values = to_declared_type(np.asarray(value), ctype)
            yield Quantity(name, values, locality, kind, ctype)


def _quantities(part: Any) -> Iterator[tuple[str, QuantityKind, dict[str, Any]]]:
    """Yield the name, kind and declaration of each quantity; ANNarchy may list weights twice."""
    declarations = declarations_of(part)
    for name in dict.fromkeys([*part.parameters, *part.variables]):
        kind: QuantityKind = "variable" if name in part.variables else "parameter"
        yield name, kind, declarations.get(name, {})


def _value(part: Any, name: str) -> Any:
    """Return the value of a quantity, or None with a warning if ANNarchy cannot read it."""
    try:
        return getattr(part, name)
    except Exception as error:  # noqa: BLE001 - any error of generated code
        _warn(f"left out: {name} of {part.name}, which ANNarchy cannot read: {error}")
        return None


def _model_text(model: Any) -> str | None:
    """Return the name, description and equations of a model as text with headings."""
    if model is None:
        return None
    texts = [
        f"{key}:\n{str(text).strip()}"
        for key in _MODEL_TEXTS
        if (text := getattr(model, key, None))
    ]
    return "\n\n".join([f"{model.name}: {model.short_description}", *texts])


def _warn(text: str) -> None:
    warnings.warn(text, SimulationOutputWarning, stacklevel=2)
