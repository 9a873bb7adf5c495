"""Save and load networks of Brian2: all variables of groups and synapses, and the clock."""

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
from ndx_simulation_output.recording.units import UNKNOWN, Unit, parse_unit

_NOT_CONTAINED = "Spikes in flight, random generators, and what monitors recorded."
_DELAY = "delay_of_"


def save(
    target: str | Path,
    network: Any,
    *,
    metadata: str | Path | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Save the current state of a Brian2 network to an NWB file.

    It has every variable of its groups and synapses that can be set, in SI units, the delays, the
    equations and the clock. Spikes in flight, the states of random generators, and the values of
    monitors are not contained.

    Parameters
    ----------
    target
        The NWB file to write.
    network
        A ``brian2.Network``.
    metadata
        Session and subject as a dict or YAML file, as for ``convert``.
    overwrite
        Replace an existing file.

    Raises
    ------
    RecordingError
        If ``network`` is no Brian2 network, or has no groups.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is unchanged.
    MissingDependencyError
        If Brian2 is not installed.

    Example
    -------
    >>> save("state.nwb", network)  # doctest: +SKIP

    """
    provenance = {"format": "Brian2"}
    save_state(target, snapshot(network), provenance, metadata=metadata, overwrite=overwrite)


def snapshot(network: Any, name: str = "network") -> NetworkSnapshot:
    """Return the current state of a Brian2 network, with copies of its values.

    Raises
    ------
    RecordingError
        If ``network`` is no Brian2 network, or has no groups.
    MissingDependencyError
        If Brian2 is not installed.

    """
    brian = _brian(network)
    groups, synapses = _parts(brian, network)
    others = sorted(
        type(one).__name__
        for one in network.objects
        if one not in groups and one not in synapses and not hasattr(one, "record")
    )
    also = f" Not the state of: {', '.join(others)}." if others else ""
    steps = {float(one.clock.dt_) for one in (*groups, *synapses)}
    return NetworkSnapshot(
        name,
        populations=tuple(_population(brian, group) for group in groups),
        projections=tuple(_projection(brian, one) for one in synapses),
        time=float(network.t_),
        time_step=steps.pop() if len(steps) == 1 else None,
        simulator="Brian2",
        simulator_version=str(brian.__version__),
        not_contained=_NOT_CONTAINED + also,
        provenance={"format": "Brian2"},
    )


def load(source: str | Path, network: Any, *, state: str | None = None) -> tuple[str, ...]:
    """Load a state into a Brian2 network with the same groups and synapses.

    Names, sizes, connections and time steps are compared first: nothing is set if something does
    not match. The clock is set, too, so that ``network.run`` continues at the saved time.

    Parameters
    ----------
    source
        An NWB file that ``save`` wrote.
    network
        A ``brian2.Network`` that is made as the saved one was.
    state
        Name of the state, if the file has several.

    Returns
    -------
    tuple of str
        What the file does not contain, or the network does not have.

    Raises
    ------
    RestoreError
        If something does not match.
    RecordingError
        If ``network`` is no Brian2 network, or has no groups.
    SourceError
        If the file cannot be read, or has no such state.
    MissingDependencyError
        If Brian2 is not installed.

    Example
    -------
    >>> load("state.nwb", network)  # doctest: +SKIP
    >>> network.run(100 * ms)  # doctest: +SKIP

    """
    brian = _brian(network)
    with saved_state(source, state, "Brian2") as saved:
        return _restore(brian, network, saved)


def _brian(network: Any) -> Any:
    brian = import_optional("brian2", "states of Brian2", "recipes")
    if not isinstance(network, brian.Network):
        msg = f"{network!r:.60} is no network of Brian2; expected a brian2.Network"
        raise RecordingError(msg)
    return brian


def _parts(brian: Any, network: Any) -> tuple[list[Any], list[Any]]:
    """Return the groups and synapses in the order of their names."""
    known = sorted(network.objects, key=lambda one: str(one.name))
    kinds = (brian.NeuronGroup, brian.PoissonGroup, brian.SpatialNeuron)
    groups = [one for one in known if isinstance(one, kinds)]
    synapses = [one for one in known if isinstance(one, brian.Synapses)]
    if not groups:
        msg = f"the network {network.name} has no groups of neurons; expected some"
        raise RecordingError(msg)
    return groups, synapses


def _variables(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables that a group owns and that can be set."""
    for name, variable in sorted(group.variables.items()):
        is_own = getattr(variable, "owner", None) is not None and variable.owner.name == group.name
        is_array = hasattr(variable, "get_value") and getattr(variable, "array", False)
        if is_own and is_array and not variable.read_only and not name.startswith("_"):
            yield name, variable


def _delays(synapses: Any) -> Iterator[tuple[str, Any]]:
    """Yield the delays of each pathway of synapses."""
    for name in synapses._synaptic_updaters:  # noqa: SLF001 - the names of pathways
        yield _DELAY + name, getattr(synapses, name).variables["delay"]


def _quantity(brian: Any, name: str, variable: Any) -> Quantity:
    values = np.array(variable.get_value())
    unit = parse_unit(str(brian.get_unit(variable.dim))) if variable.dim.dim else None
    is_one = bool(variable.scalar) or not values.ndim
    if variable.dim.is_dimensionless:
        unit = Unit("1")
    return Quantity(
        name,
        values.reshape(()) if is_one else values,
        locality="shared" if is_one else "local",
        declared_type=str(values.dtype),
        unit=unit or UNKNOWN,
    )


def _population(brian: Any, group: Any) -> PopulationSnapshot:
    quantities = tuple(_quantity(brian, name, one) for name, one in _variables(group))
    model = getattr(group, "user_equations", None)
    return PopulationSnapshot(
        str(group.name), (int(group.N),), quantities, None if model is None else str(model)
    )


def _order(synapses: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp]]:
    """Return the ranks before and after synapses, and their order by the latter."""
    pre, post = np.array(synapses.i[:]), np.array(synapses.j[:])
    return pre, post, np.argsort(post, kind="stable")


def _projection(brian: Any, synapses: Any) -> ProjectionSnapshot:
    pre, post, order = _order(synapses)
    rows, counts = np.unique(post, return_counts=True)
    quantities = []
    for name, variable in (*_variables(synapses), *_delays(synapses)):
        found = _quantity(brian, name, variable)
        values = found.values[order] if found.locality == "local" else found.values
        quantities.append(
            Quantity(
                name, values, found.locality, declared_type=found.declared_type, unit=found.unit
            )
        )
    delays = [one.values for one in quantities if one.name == f"{_DELAY}pre"]
    return ProjectionSnapshot(
        str(synapses.name),
        post_ranks=rows,
        ends=np.cumsum(counts),
        pre_ranks=pre[order],
        quantities=tuple(quantities),
        pre=str(synapses.source.name),
        post=str(synapses.target.name),
        delays=delays[0] if delays else None,
        model=str(synapses.equations),
    )


def _restore(brian: Any, network: Any, state: NetworkSnapshot) -> tuple[str, ...]:
    """Compare everything, then set the variables and the clock."""
    groups, synapses = _parts(brian, network)
    live = {str(one.name): one for one in (*groups, *synapses)}
    saved = {one.name: one for one in state.parts}
    if live.keys() != saved.keys():
        missing = sorted(live.keys() ^ saved.keys())
        where = "the network" if missing[0] in saved else "the file"
        msg = f"{missing[0]} is not in {where}; expected the same groups and synapses"
        raise RestoreError(msg)
    step = {float(one.clock.dt_) for one in live.values()}
    if state.time_step is not None and step != {state.time_step}:
        msg = f"the time step is {max(step):g} s, and that of the file {state.time_step:g} s"
        raise RestoreError(msg)
    notes: list[str] = []
    wanted: list[tuple[Any, NDArray[Any]]] = []
    for name, part in saved.items():
        wanted += _matched(live[name], part, notes)
    for variable, values in wanted:
        variable.set_value(values)
    if state.time is not None:
        network.t_ = state.time
        for clock in {id(one.clock): one.clock for one in live.values()}.values():
            clock.variables["timestep"].set_value(round(state.time / float(clock.dt_)))
            clock.variables["t"].set_value(state.time)
    return (*notes, state.not_contained) if state.not_contained else tuple(notes)


def _matched(
    live: Any, part: PopulationSnapshot | ProjectionSnapshot, notes: list[str]
) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Yield the variables of a part with their saved values; raise RestoreError for a mismatch."""
    variables = dict(_variables(live))
    order: Any = slice(None)
    if isinstance(part, ProjectionSnapshot):
        variables |= dict(_delays(live))
        pre, post, order = _order(live)
        counts = np.diff(np.concatenate([[0], np.asarray(part.ends[:])]))
        saved_post = np.repeat(np.asarray(part.post_ranks[:]), counts)
        is_same = np.array_equal(pre[order], part.pre_ranks[:])
        if not (is_same and np.array_equal(post[order], saved_post)):
            msg = (
                f"the {len(pre)} synapses of {part.name} connect other neurons than the "
                f"{part.pre_ranks.shape[0]} of the file; connect them as saved, by i and j"
            )
            raise RestoreError(msg)
    elif part.size != int(live.N):
        msg = f"{part.name} has {int(live.N)} neurons, and {part.size} in the file"
        raise RestoreError(msg)
    found = {one.name: one for one in part.quantities}
    notes += [f"{part.name}.{name} is not in the file" for name in variables if name not in found]
    notes += [
        f"{part.name}.{name} is not in the network" for name in found if name not in variables
    ]
    for name in sorted(variables.keys() & found.keys()):
        variable, values = variables[name], np.asarray(found[name].values[()])
        current = np.asarray(variable.get_value())
        if values.ndim:
            placed = np.empty_like(values)
            placed[order] = values
            values = placed
        if values.size not in {1, current.size} or not np.can_cast(
            values, current.dtype, "same_kind"
        ):
            msg = (
                f"{part.name}.{name} has shape {current.shape} of {current.dtype}, and "
                f"{values.shape} of {values.dtype} in the file"
            )
            raise RestoreError(msg)
        yield variable, values.reshape(current.shape) if values.size == current.size else values
