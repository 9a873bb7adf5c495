"""A state as the dictionaries that ANNarchy 4.7 to 5.0 saves."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, NameClashError
from ndx_simulation_output.recording import (
    LazyArray,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

__all__ = ["DelayUnit", "boxed", "connectivity_dictionary", "network_dictionary", "part_dictionary"]

DelayUnit = Literal["ms", "steps"]
"""Unit of the delays in a connectivity file: ms since ANNarchy 5.0, time steps before."""

_WEIGHT = "w"
_OF_NETWORK = ("time_step", "net_id", "obj_names", "allow_pickle")
_TYPES = (np.bool_, np.int64, np.uint64, np.float64)
"""Types of values as ANNarchy has them, but for integers that are too large for it."""


def network_dictionary(network: NetworkSnapshot) -> dict[str, Any]:
    """Give what ANNarchy saves of a network: a dictionary for each population and projection.

    Raises
    ------
    NameClashError
        If two parts have the same name, or one has that of an entry of the dictionary.
    ExportError
        If a part has no time step to say its delays with, or a quantity holds no numbers.

    """
    content: dict[str, Any] = {}
    if network.step is not None:
        content["time_step"] = network.step
    content["net_id"] = int(network.provenance.get("net_id", 0))
    _check_names("the network", [*_OF_NETWORK, *(part.name for part in network.parts)])
    for part in network.parts:
        content[part.name] = part_dictionary(part, network.time_step)
    content["obj_names"] = {
        "populations": [population.name for population in network.populations],
        "projections": [projection.name for projection in network.projections],
    }
    return content


def part_dictionary(
    part: PopulationSnapshot | ProjectionSnapshot, time_step: float | None
) -> dict[str, Any]:
    """Give what ANNarchy saves of one population or projection; ``time_step`` is in seconds.

    Raises
    ------
    NameClashError
        If a quantity has the name of another entry.
    ExportError
        If delays are known in steps alone and there is no time step, or a quantity holds no
        numbers.

    """
    if isinstance(part, PopulationSnapshot):
        content = _population(part)
    else:
        content = _projection(part, time_step)
    names = [quantity.name for quantity in part.quantities]
    content["attributes"] = names
    for kind in ("parameter", "variable"):
        content[f"{kind}s"] = [one.name for one in part.quantities if one.kind == kind]
    _check_names(repr(part.name), [*content, *names])
    for quantity in part.quantities:
        values = _values(quantity, part.name)
        if not values.shape:
            content[quantity.name] = values.item()
        elif isinstance(part, PopulationSnapshot):
            dtype = next((kind for kind in _TYPES if np.can_cast(values.dtype, kind)), np.float64)
            content[quantity.name] = values.astype(dtype).reshape(part.geometry)
        elif quantity.locality == "semiglobal":
            content[quantity.name] = values.tolist()
        else:
            content[quantity.name] = _rows(values, part.ends)
    return content


def connectivity_dictionary(
    projection: ProjectionSnapshot, time_step: float | None, delay_unit: DelayUnit
) -> dict[str, Any]:
    """Give what ``save_connectivity`` saves, with delays in the unit that a version has there.

    Raises
    ------
    ExportError
        If there is no weight for each synapse or for all, or delays are not known in steps or
        there is no time step.

    """
    named = projection.weight or _WEIGHT
    found = [one for one in projection.quantities if one.name == named]
    if not found or found[0].locality == "semiglobal":
        msg = (
            f"projection {projection.name!r} has no weight for each synapse or for all, which a "
            "connectivity file has"
        )
        raise ExportError(msg)
    weight = found[0]
    values = _values(weight, projection.name)
    ranks = np.asarray(projection.pre_ranks[:])
    is_local = weight.locality == "local"
    return {
        "name": projection.name,
        "post_ranks": np.asarray(projection.post_ranks[:]).tolist(),
        "pre_ranks": _objects(ranks, projection.ends),
        "w": _objects(values, projection.ends) if is_local else values.item(),
        **_connectivity_delays(projection, time_step, delay_unit),
        "size": projection.ends.shape[0],
        "nb_synapses": len(ranks),
    }


def boxed(values: Sequence[Any]) -> NDArray[Any]:
    """Give an array, shape (value,), of values of any type as they are.

    Example
    -------
    >>> boxed([[1, 2], [3, 4]]).shape
    (2,)

    """
    made: NDArray[Any] = np.empty(len(values), object)
    made[:] = [*values] if made.size else []
    return made


def _population(population: PopulationSnapshot) -> dict[str, Any]:
    geometry = tuple(map(int, population.geometry))
    return {"name": population.name, "geometry": geometry, "size": population.size}


def _projection(projection: ProjectionSnapshot, time_step: float | None) -> dict[str, Any]:
    content: dict[str, Any] = {"name": projection.name}
    targets = projection.targets
    known = {
        "pre": projection.pre,
        "post": projection.post,
        "target": targets[0] if targets and len(targets) == 1 else list(targets or ()) or None,
    }
    content |= {key: value for key, value in known.items() if value is not None}
    content["post_ranks"] = np.asarray(projection.post_ranks[:]).tolist()
    delays = _delays(projection, time_step)
    if delays is not None:
        content["delays"] = delays.item() if not delays.shape else _lists(delays, projection.ends)
    content["pre_ranks"] = _ranks(np.asarray(projection.pre_ranks[:]), projection.ends)
    return content


def _delays(projection: ProjectionSnapshot, time_step: float | None) -> NDArray[Any] | None:
    """Give the delays in ms: ANNarchy computes them as steps times the time step."""
    if projection.delay_steps is not None and time_step is not None:
        return np.asarray(projection.delay_steps[()] * _milliseconds(time_step))
    if projection.delays is not None:
        return np.asarray(np.asarray(projection.delays[()]) * 1000.0)
    if projection.delay_steps is not None:
        msg = (
            f"the delays of projection {projection.name!r} are in time steps, and the state does "
            "not say how long one is"
        )
        raise ExportError(msg)
    return None


def _milliseconds(seconds: float) -> float:
    """Give the shortest number that this is: 0.0003 s are 0.3 ms, not 0.29999999999999998."""
    return float(f"{seconds * 1000:.15g}")


def _connectivity_delays(
    projection: ProjectionSnapshot, time_step: float | None, unit: DelayUnit
) -> dict[str, Any]:
    steps = projection.delay_steps
    delays = steps if unit == "steps" else _delays(projection, time_step)
    if projection.delays is not None and steps is None:
        msg = (
            f"the delays of projection {projection.name!r} are not known in time steps, which a "
            "connectivity file has"
        )
        raise ExportError(msg)
    if delays is None or steps is None or (not steps.shape and int(steps[()]) <= 1):
        return {"delay": None, "max_delay": 0, "uniform_delay": 0}
    largest, delays = int(np.max(steps[()], initial=0)), np.asarray(delays[()])
    if not delays.shape:
        return {"delay": delays.item(), "max_delay": largest, "uniform_delay": largest}
    lists = _objects(delays, projection.ends)
    return {"delay": lists, "max_delay": largest, "uniform_delay": -1}


def _values(quantity: Quantity, where: str) -> NDArray[Any]:
    values = np.asarray(quantity.values[()])
    if values.dtype.kind not in "biuf":
        msg = f"{quantity.name} of {where} is of type {values.dtype}; expected numbers"
        raise ExportError(msg)
    return values


def _ranks(ranks: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    """Give rows as ANNarchy does: a matrix if all are as long, else an array of lists."""
    if _is_even(ends):
        return ranks.astype(np.int64).reshape(_shape(ranks, ends))
    return boxed(_lists(ranks, ends))


def _rows(values: NDArray[Any], ends: LazyArray) -> Any:
    found = _lists(values, ends)
    return found if _is_even(ends) else boxed(found)


def _objects(values: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    """Give rows as connectivity files have them: always Python's own numbers."""
    if _is_even(ends):
        found = np.empty(_shape(values, ends), object)
        found.ravel()[:] = values.tolist()
        return found
    return boxed(_lists(values, ends))


def _is_even(ends: LazyArray) -> bool:
    lengths = np.diff(np.asarray(ends[:]), prepend=0)
    return not len(lengths) or bool((lengths == lengths[0]).all())


def _shape(values: NDArray[Any], ends: LazyArray) -> tuple[int, int]:
    rows = ends.shape[0]
    return rows, values.shape[0] // max(rows, 1)


def _lists(values: NDArray[Any], ends: LazyArray) -> list[list[Any]]:
    flat = values.tolist()
    return [flat[start:stop] for start, stop in _edges(np.asarray(ends[:]).tolist())]


def _edges(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip([0, *ends[:-1]], ends, strict=True)


def _check_names(where: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            msg = f"{where} has the name {name!r} twice, and a file of ANNarchy has each only once"
            raise NameClashError(msg)
        seen.add(name)
