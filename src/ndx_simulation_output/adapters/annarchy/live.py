"""Networks of ANNarchy that are in memory: 5.x objects, and the implicit one of 4.x."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from typing import Any, Protocol

from ndx_simulation_output.errors import MissingDependencyError, RecordingError

__all__ = [
    "LiveNetwork",
    "LivePopulation",
    "LiveProjection",
    "base_of",
    "clock_of",
    "declared",
    "find_network",
    "simulator",
    "simulator_version",
]


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
