"""Save and load networks of NEST: parameters and variables of nodes, connections and weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError, RestoreError
from ndx_simulation_output.nwb.saved_states import save_state, saved_state
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.units import UNKNOWN, Unit, as_unit

_MS_PER_S = 1000.0
_NOT_CONTAINED = (
    "Spikes in flight, synaptic currents and remaining refractory periods, which NEST does not "
    "tell, random generators, devices, and the time of the simulation, which NEST cannot set."
)
_OF_NODES = {"archiver_length", "element_type", "global_id", "local", "model", "model_id",
             "node_uses_wfr", "post_trace", "t_spike", "thread", "thread_local_id",
             "vp"}  # fmt: skip
_OF_CONNECTIONS = {"port", "receptor", "sizeof", "source", "synapse_id", "synapse_model", "target",
                   "target_thread"}  # fmt: skip
"""What NEST tells and does not let set."""
_UNITS = {"V_": "mV", "E_": "mV", "I_": "pA", "g_": "nS", "C_m": "pF", "t_ref": "ms", "tau_": "ms"}

Parts = list[tuple[str, str, str, Any]]
"""Name, populations before and after, and connections of each projection."""


def save(
    target: str | Path,
    populations: Mapping[str, Any],
    *,
    metadata: str | Path | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Save the current state of nodes of NEST and the connections among them to an NWB file.

    It has each number that NEST tells of nodes and connections. Synaptic currents of many models,
    refractory periods, spikes in flight and random generators are not told by NEST.

    Parameters
    ----------
    target
        The NWB file to write.
    populations
        A ``NodeCollection`` of one model for each name.
    metadata
        Session and subject as a dict or YAML file, as for ``convert``.
    overwrite
        Replace an existing file.

    Raises
    ------
    RecordingError
        If a population is no ``NodeCollection``, or has nodes of several models.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is unchanged.
    MissingDependencyError
        If NEST is not installed.

    Example
    -------
    >>> save("state.nwb", {"exc": exc, "inh": inh})  # doctest: +SKIP

    """
    state = snapshot(populations)
    save_state(target, state, {"format": "NEST"}, metadata=metadata, overwrite=overwrite)


def snapshot(populations: Mapping[str, Any], name: str = "network") -> NetworkSnapshot:
    """Return the current state of nodes of NEST and the connections among them.

    Raises
    ------
    RecordingError
        If a population is no ``NodeCollection``, or has nodes of several models.
    MissingDependencyError
        If NEST is not installed.

    """
    nest = _nest(populations)
    return NetworkSnapshot(
        name,
        populations=tuple(_population(key, nodes) for key, nodes in populations.items()),
        projections=tuple(
            _projection(populations, *part) for part in _connections(nest, populations)
        ),
        time=float(nest.biological_time) / _MS_PER_S,
        time_step=float(nest.resolution) / _MS_PER_S,
        seed=int(nest.rng_seed),
        simulator="NEST",
        simulator_version=str(nest.__version__),
        not_contained=_NOT_CONTAINED,
        provenance={
            "format": "NEST",
            "global_ids": {key: nodes.tolist() for key, nodes in populations.items()},
        },
    )


def load(
    source: str | Path, populations: Mapping[str, Any], *, state: str | None = None
) -> tuple[str, ...]:
    """Set nodes of NEST and the connections among them to a saved state.

    Names, sizes, models, connections and the resolution are compared first: nothing is set if
    something does not match. The network is made as the saved one was, with the same connections.

    Parameters
    ----------
    source
        An NWB file that ``save`` wrote.
    populations
        A ``NodeCollection`` for each name of the file.
    state
        Name of the state, if the file has several.

    Returns
    -------
    tuple of str
        What the file does not contain, or NEST could not set.

    Raises
    ------
    RestoreError
        If something does not match.
    RecordingError
        If a population is no ``NodeCollection``, or has nodes of several models.
    SourceError
        If the file cannot be read, or has no such state.
    MissingDependencyError
        If NEST is not installed.

    Example
    -------
    >>> load("state.nwb", {"exc": exc, "inh": inh})  # doctest: +SKIP

    """
    nest = _nest(populations)
    with saved_state(source, state, "NEST") as saved:
        return _restore(nest, populations, saved)


def _nest(populations: Mapping[str, Any]) -> Any:
    nest = import_optional("nest", "states of NEST", "recipes")
    for name, nodes in populations.items():
        if not isinstance(nodes, nest.NodeCollection) or not len(nodes):
            msg = f"population {name!r} is {nodes!r:.60}; expected a NodeCollection of NEST"
            raise RecordingError(msg)
        if len(models := set(_listed(nodes.get("model")))) > 1:
            msg = (
                f"population {name!r} has nodes of {', '.join(sorted(models))}; expected one model"
            )
            raise RecordingError(msg)
    return nest


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _numbers(status: Mapping[str, Any], left_out: set[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the numbers that can be set, one for each node or connection."""
    for name, values in sorted(status.items()):
        array = np.asarray(_listed(values))
        if name not in left_out and array.ndim == 1 and array.dtype.kind in "biuf":
            yield name, array


def _unit(name: str) -> Unit:
    text = next((unit for start, unit in _UNITS.items() if name.startswith(start)), None)
    return UNKNOWN if text is None else as_unit(text, name)


def _population(name: str, nodes: Any) -> PopulationSnapshot:
    found = _numbers(nodes.get(), _OF_NODES)
    quantities = tuple(Quantity(key, values, unit=_unit(key)) for key, values in found)
    return PopulationSnapshot(name, (len(nodes),), quantities, str(_listed(nodes.get("model"))[0]))


def _connections(nest: Any, populations: Mapping[str, Any]) -> Parts:
    """Return the connections among populations by synapse model."""
    found: Parts = []
    for pre, sources in populations.items():
        for post, targets in populations.items():
            every = nest.GetConnections(sources, targets)
            models = sorted(set(_listed(every.get("synapse_model")))) if len(every) else []
            for model in models:
                some = nest.GetConnections(sources, targets, synapse_model=model)
                suffix = f"_{model}" if len(models) > 1 else ""
                found.append((f"{pre}_to_{post}{suffix}", pre, post, some))
    return found


def _ends(
    populations: Mapping[str, Any], pre: str, post: str, connections: Any
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the ranks of both ends in their populations, and the order by target and source."""
    ranks = []
    for key, name in (("source", pre), ("target", post)):
        ids = np.array(populations[name].tolist())
        order = np.argsort(ids)
        at = np.searchsorted(ids[order], np.array(_listed(connections.get(key))))
        ranks.append(order[at])
    return ranks[0], ranks[1], np.lexsort((ranks[0], ranks[1]))


def _projection(
    populations: Mapping[str, Any], name: str, pre: str, post: str, connections: Any
) -> ProjectionSnapshot:
    sources, targets, order = _ends(populations, pre, post, connections)
    status = connections.get()
    values = {key: found[order] for key, found in _numbers(status, _OF_CONNECTIONS)}
    delays = values.get("delay")
    rows, counts = np.unique(targets, return_counts=True)
    return ProjectionSnapshot(
        name,
        post_ranks=rows,
        ends=np.cumsum(counts),
        pre_ranks=sources[order],
        quantities=tuple(
            Quantity(key, found, unit=as_unit("ms", key) if key == "delay" else _unit(key))
            for key, found in values.items()
        ),
        pre=pre,
        post=post,
        delays=None if delays is None else delays / _MS_PER_S,
        weight="weight" if "weight" in values else None,
        model=str(_listed(status["synapse_model"])[0]),
    )


def _restore(nest: Any, populations: Mapping[str, Any], state: NetworkSnapshot) -> tuple[str, ...]:
    """Compare everything, then set nodes and connections."""
    saved = {one.name: one for one in state.populations}
    if saved.keys() != populations.keys():
        msg = f"the file has the populations {', '.join(saved)}; given: {', '.join(populations)}"
        raise RestoreError(msg)
    resolution = float(nest.resolution) / _MS_PER_S
    if state.time_step is not None and not np.isclose(resolution, state.time_step, rtol=1e-9):
        msg = f"the resolution is {resolution:g} s, and that of the file {state.time_step:g} s"
        raise RestoreError(msg)
    wanted: list[tuple[str, Any, dict[str, NDArray[Any]]]] = []
    for name, nodes in populations.items():
        part, model = saved[name], str(_listed(nodes.get("model"))[0])
        if (part.size, part.model) != (len(nodes), model):
            msg = f"{name} has {len(nodes)} nodes of {model}, and {part.size} of {part.model} in "
            raise RestoreError(msg + "the file")
        values = {one.name: np.asarray(one.values[:]) for one in part.quantities}
        wanted.append((name, nodes, values))
    live = {name: (pre, post, some) for name, pre, post, some in _connections(nest, populations)}
    projections = {one.name: one for one in state.projections}
    if live.keys() != projections.keys():
        missing = min(live.keys() ^ projections.keys())
        where = "NEST" if missing in projections else "the file"
        msg = f"the connections {missing} are not in {where}; expected the same"
        raise RestoreError(msg)
    for name, (pre, post, some) in live.items():
        wanted.append((name, some, _matched(populations, projections[name], pre, post, some)))
    notes = [note for name, item, values in wanted for note in _set(nest, name, item, values)]
    return (*notes, *filter(None, [state.not_contained]))


def _matched(
    populations: Mapping[str, Any], part: ProjectionSnapshot, pre: str, post: str, connections: Any
) -> dict[str, NDArray[Any]]:
    """Return the saved values in the order of NEST's connections."""
    sources, targets, order = _ends(populations, pre, post, connections)
    counts = np.diff(np.concatenate([[0], np.asarray(part.ends[:])]))
    saved = np.repeat(np.asarray(part.post_ranks[:]), counts)
    is_same = np.array_equal(sources[order], part.pre_ranks[:])
    if not (is_same and np.array_equal(targets[order], saved)):
        msg = (
            f"the {len(sources)} connections of {part.name} are between other nodes than the "
            f"{part.pre_ranks.shape[0]} of the file; connect them as saved"
        )
        raise RestoreError(msg)
    values = {}
    for one in part.quantities:
        values[one.name] = np.empty(len(sources), one.values.dtype)
        values[one.name][order] = one.values[:]
    return values


def _set(nest: Any, name: str, item: Any, values: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Set the values that differ, and yield a note for each that NEST does not let set."""
    status = dict(_numbers(item.get(), set()))
    for key, array in values.items():
        if key in status and np.array_equal(status[key], array):
            continue
        try:
            item.set({key: array.tolist()})
        except (nest.NESTError, TypeError, ValueError) as error:
            yield f"{name}.{key} could not be set: {str(error).strip()[:80]}"
