"""Restore a saved state into a network in memory."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial as partial_of
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.monitors import restart_at_current_step
from ndx_simulation_output.annarchy.network import (
    STORAGE,
    LiveNetwork,
    declarations_of,
    population_of,
    pre_ranks_of,
    simulator,
    snapshot,
    to_declared_type,
)
from ndx_simulation_output.annarchy.reading import WEIGHT, check_distinct, split_rows, whole_steps
from ndx_simulation_output.annarchy.schedules import (
    check_schedule,
    has_schedule,
    set_schedule,
)
from ndx_simulation_output.errors import RestoreError, SimulationOutputWarning
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.network import NetworkPart


@dataclass(frozen=True)
class Restored:
    """Result of ``load``: items that were set or not, such as ``population exc: v``.

    Attributes
    ----------
    set
        Items that were set.
    skipped
        Items that are only in the file.
    missing
        Items that are only in the network; they are unchanged.
    mismatched
        Items in both that do not match, with the reason; they are unchanged.
    notes
        Values that were rounded, monitors that have recorded before, and schedules of inputs.
    not_contained
        What the file does not contain, and the network has as before or as after ``reset``.

    """

    set: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_contained: str = ""

    def __str__(self) -> str:
        """Return the number of items that were set, and a line for each that was not."""
        lines = [f"set: {len(self.set)} parameters, variables, delays and clocks"]
        for name in ("skipped", "missing", "mismatched"):
            lines += [f"{name}: {item}" for item in getattr(self, name)]
        lines += [f"note: {note}" for note in self.notes]
        lines += [self.not_contained] if self.not_contained else []
        return "\n".join(lines)


@dataclass
class _RestorePlan:
    """Functions that set items of the network, by name, and names of items that are not set."""

    set: dict[str, Callable[[], None]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _MismatchError(ValueError):
    """The saved state does not match the network."""


def restore(
    live: LiveNetwork,
    saved: NetworkSnapshot,
    *,
    populations: bool = True,
    projections: bool = True,
    partial: bool = False,
) -> Restored:
    """Set a state in a compiled network, and the clock if populations are set.

    Connections, sizes and types are compared before anything is set. If something does not match,
    nothing is set; with ``partial``, everything else is set. If both are a single population or
    projection, their names may differ.
    """
    _check_compiled(live)
    plan = _make_plan(live, saved, populations=populations, projections=projections)
    if plan.mismatched and not partial:
        lines = "".join(f"\n  {item}" for item in plan.mismatched)
        msg = f"nothing was set, because this does not match (partial=True sets the rest):{lines}"
        raise RestoreError(msg)
    if live.set_step is None and not plan.set and not plan.mismatched:
        names = ", ".join(plan.skipped) or "nothing"
        msg = f"the file has no state of {live.name!r}; it has {names}"
        raise RestoreError(msg)
    if "time" in plan.set:
        _clear(live)
    elif live.step() and any(name.startswith("population") for name in plan.set):
        plan.notes.append(
            "spikes in flight and delayed rates of the populations are kept, because the clock is "
            "not set; their clear() removes the spikes"
        )
    _apply(plan)
    if "time" in plan.set:
        plan.notes += _monitor_notes(live)
    return Restored(
        tuple(plan.set),
        tuple(plan.skipped),
        tuple(plan.missing),
        tuple(plan.mismatched),
        tuple(plan.notes),
        saved.not_contained,
    )


def _make_plan(
    live: LiveNetwork, saved: NetworkSnapshot, *, populations: bool, projections: bool
) -> _RestorePlan:
    plan = _RestorePlan()
    is_part = live.set_step is None
    if populations:
        _plan_schedules(plan, live, saved)
        for name, population, state in _pairs(
            "population", live.populations, saved.populations, plan, is_part=is_part
        ):
            _plan_population(plan, name, population, state)
        _plan_constants(plan, live, saved)
    if projections:
        for name, projection, synapses in _pairs(
            "projection", live.projections, saved.projections, plan, is_part=is_part
        ):
            _plan_projection(plan, name, projection, synapses, live.dt)
    if populations and saved.populations:
        _plan_clock(plan, live, saved)
    return plan


def _clear(live: LiveNetwork) -> None:
    """Remove what is in flight in a network that has run; values and schedules stay as they are.

    Only the reset of the network removes spikes with different delays and delayed rates.
    """
    step = live.step()
    if live.reset is None or not step:
        return
    with warnings.catch_warnings():
        # The state to load has none of the values that ANNarchy cannot read.
        warnings.simplefilter("ignore", SimulationOutputWarning)
        before = snapshot(live, projections=False)
    live.reset()
    schedules = before.provenance.get("schedules", {})
    for population, state in zip(live.populations, before.populations, strict=True):
        if population.name in schedules:
            set_schedule(population, schedules[population.name], step, live.dt)
        declarations = declarations_of(population)
        for quantity in state.quantities:
            _setter(population, quantity, None, declarations.get(quantity.name, {}))()


def _check_compiled(live: LiveNetwork) -> None:
    parts: tuple[Any, ...] = (*live.populations, *live.projections)
    for part in parts:
        if not getattr(part, "initialized", True):
            msg = f"{part.name!r} is not compiled yet; compile the network before loading a state"
            raise RestoreError(msg)


def _pairs(
    kind: str,
    parts: tuple[Any, ...],
    states: tuple[NetworkPart, ...],
    plan: _RestorePlan,
    *,
    is_part: bool,
) -> Iterator[tuple[str, Any, NetworkPart]]:
    """Yield name, part and state of the parts in both; add the others to ``plan``."""
    check_distinct(f"{kind}s of the network", (part.name for part in parts))
    check_distinct(f"{kind}s of the file", (state.name for state in states))
    by_name = {part.name: part for part in parts}
    saved = {state.name: state for state in states}
    if is_part and len(by_name) == len(saved) == 1:
        saved = dict(zip(by_name, saved.values(), strict=True))
    for name, part in by_name.items():
        if name in saved:
            yield f"{kind} {name}", part, saved[name]
        else:
            plan.missing.append(f"{kind} {name}")
    plan.skipped += [f"{kind} {name}" for name in saved if name not in by_name]


def _plan_population(
    plan: _RestorePlan, name: str, population: Any, state: PopulationSnapshot
) -> None:
    geometry = tuple(int(length) for length in population.geometry)
    if state.geometry != geometry:
        plan.mismatched.append(
            f"{name}: the geometry is {state.geometry} in the file and {geometry} in the network"
        )
        return
    _plan_quantities(plan, name, population, state.quantities, None)


def _plan_projection(
    plan: _RestorePlan, name: str, projection: Any, state: ProjectionSnapshot, dt: float
) -> None:
    try:
        _check_connections(projection, state)
    except _MismatchError as error:
        plan.mismatched.append(f"{name}: {error}")
        return
    _plan_quantities(plan, name, projection, state.quantities, np.asarray(state.ends[:]))
    if state.delays is None and state.delay_steps is None:
        plan.missing.append(f"{name}: delays")
        return
    try:
        delays = _delays_to_set(projection, state, dt)
    except _MismatchError as error:
        plan.mismatched.append(f"{name}: delays {error}")
        return

    def set_delays() -> None:
        if delays is not None:
            projection.delay = delays

    plan.set[f"{name}: delays"] = set_delays


def _plan_quantities(
    plan: _RestorePlan, where: str, part: Any, quantities: tuple[Quantity, ...], ends: Any
) -> None:
    declarations = declarations_of(part)
    names = dict.fromkeys([*part.parameters, *part.variables])
    saved = {quantity.name for quantity in quantities}
    rounded: list[str] = []
    plan.missing += [f"{where}: {name}" for name in names if name not in saved]
    for quantity in quantities:
        name, declaration = f"{where}: {quantity.name}", declarations.get(quantity.name, {})
        if quantity.name not in names:
            plan.skipped.append(name)
            continue
        try:
            _check_quantity(part, quantity, declaration)
        except _MismatchError as error:
            plan.mismatched.append(f"{name} {error}")
            continue
        if _is_rounded(quantity, declaration):
            rounded.append(quantity.name)
        plan.set[name] = _setter(part, quantity, ends, declaration)
    if rounded:
        verb = "is" if len(rounded) == 1 else "are"
        plan.notes.append(
            f"{where}: {', '.join(rounded)} {verb} rounded to the 32 bits of the network"
        )


def _setter(
    part: Any, quantity: Quantity, ends: Any, declaration: Mapping[str, Any]
) -> Callable[[], None]:
    def set_values() -> None:
        values = to_declared_type(
            np.asarray(quantity.values[()]), declaration.get("ctype", "double")
        )
        value: Any
        if values.shape and ends is None:
            value = values.reshape(tuple(part.geometry))
        elif values.shape and quantity.locality == "local":
            value = split_rows(values, ends)
        else:
            value = values.tolist()
        part.set({quantity.name: value})

    return set_values


def _plan_schedules(plan: _RestorePlan, live: LiveNetwork, saved: NetworkSnapshot) -> None:
    """Plan the schedules of inputs, which are set before the values of their populations."""
    is_part = live.set_step is None
    schedules = saved.provenance.get("schedules")
    schedules = dict(schedules) if isinstance(schedules, Mapping) else {}
    if is_part and len(live.populations) == len(saved.populations) == 1:
        schedules = {live.populations[0].name: schedules.get(saved.populations[0].name)}
    step = live.step() if is_part or saved.step is None else saved.step
    continued: list[str] = []
    for population in filter(has_schedule, live.populations):
        name = f"population {population.name}: schedule"
        schedule = schedules.get(population.name)
        if schedule is None:
            plan.missing.append(name)
            continue
        try:
            check_schedule(population, schedule)
        except RestoreError as error:
            plan.mismatched.append(f"{name} {error}")
            continue
        plan.set[name] = partial_of(set_schedule, population, schedule, step, live.dt)
        continued.append(population.name)
    if continued:
        plan.notes.append(
            f"inputs continue their schedule from the time of the state, as if their reset() and "
            f"update() had not been called before it was saved: {', '.join(continued)}"
        )


def _plan_constants(plan: _RestorePlan, live: LiveNetwork, saved: NetworkSnapshot) -> None:
    if not saved.constants:
        return
    for constant in live.constants:
        if constant.name in saved.constants:
            value = saved.constants[constant.name]
            plan.set[f"constant {constant.name}"] = partial_of(constant.set, value)
        else:
            plan.missing.append(f"constant {constant.name}")
    names = {constant.name for constant in live.constants}
    if live.set_step is not None:
        plan.skipped += [f"constant {name}" for name in saved.constants if name not in names]


def _plan_clock(plan: _RestorePlan, live: LiveNetwork, saved: NetworkSnapshot) -> None:
    set_step, step = live.set_step, saved.step
    if set_step is None:
        return
    if step is None:
        plan.missing.append("time")
        return
    dt = None if saved.time_step is None else saved.time_step * 1000
    if dt is not None and not np.isclose(dt, live.dt):
        plan.mismatched.append(
            f"time: the time step is {dt:g} ms in the file and {live.dt:g} ms in the network"
        )
        return
    if step < live.step():
        plan.notes += _event_notes(live)
    if live.step():
        plan.notes += _window_notes(live)
    plan.set["time"] = lambda: set_step(step)


def _event_notes(live: LiveNetwork) -> Iterator[str]:
    """Yield notes on variables that depend on the last event, which is then in the future."""
    for projection in live.projections:
        names = [
            name
            for name, declaration in declarations_of(projection).items()
            if declaration.get("method") == "event-driven"
        ]
        if names:
            yield (
                f"projection {projection.name}: {', '.join(names)}: the clock is set back, but "
                "ANNarchy keeps the times of the last events, even after reset(), so these "
                "variables can diverge; load into a network that has not been simulated"
            )


def _window_notes(live: LiveNetwork) -> Iterator[str]:
    """Yield notes on windows that no function of ANNarchy empties."""
    for projection in live.projections:
        if type(projection).__name__ == "DecodingProjection":
            yield (
                f"projection {projection.name}: its window has spikes of the abandoned run, even "
                "after reset(); load into a network that has not been simulated"
            )


def _monitor_notes(live: LiveNetwork) -> Iterator[str]:
    """Restart monitors at the restored time; yield a note for those that have samples."""
    for monitor in live.monitors:
        if not restart_at_current_step(monitor):
            yield (
                f"{getattr(monitor, 'name', 'a monitor')} has recorded before, and reports times "
                "of both clocks; call its get() before the next recording"
            )


def _apply(plan: _RestorePlan) -> None:
    done: list[str] = []
    for name, set_item in plan.set.items():
        try:
            set_item()
        except Exception as error:
            before = ", ".join(done) or "nothing"
            msg = f"ANNarchy cannot set {name}: {error}; set before it: {before}"
            raise RestoreError(msg) from error
        done.append(name)


# Comparison of the saved state with the network

_TYPE_KINDS = {"double": "f", "float": "f", "int": "i", "bool": "b"}
_HETEROGENEOUS = -1
_USE_CONNECT = "connect() restores them before the network is compiled"


def _check_connections(projection: Any, state: ProjectionSnapshot) -> None:
    post_ranks, saved = np.asarray(projection.post_ranks, np.int64), state.post_ranks[:]
    if not np.array_equal(post_ranks, saved):
        msg = (
            f"the connections differ: {len(saved)} neurons have synapses in the file, and "
            f"{len(post_ranks)} or different ones in the network; {_USE_CONNECT}"
        )
        raise _MismatchError(msg)
    rows = pre_ranks_of(projection)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    if not np.array_equal(ends, state.ends[:]):
        n_synapses = int(ends[-1]) if len(ends) else 0
        msg = (
            f"the connections differ: {state.pre_ranks.shape[0]} synapses in the file, and "
            f"{n_synapses} or a different number per neuron in the network; {_USE_CONNECT}"
        )
        raise _MismatchError(msg)
    if not np.array_equal([rank for row in rows for rank in row], state.pre_ranks[:]):
        msg = f"the connections differ: the pre-synaptic neurons are different; {_USE_CONNECT}"
        raise _MismatchError(msg)


def _check_quantity(part: Any, quantity: Quantity, declaration: Mapping[str, Any]) -> None:
    """Raise an error if the locality or type of values is not the declared one."""
    locality, expected = quantity.locality, declaration.get("locality", "local")
    if locality != expected and (locality, expected) != ("shared", "local"):
        msg = f"is {locality} in the file and {expected} in the network"
        raise _MismatchError(msg)
    if quantity.name == WEIGHT and locality == "local" and np.isscalar(getattr(part, WEIGHT)):
        msg = "has a value for each synapse in the file and one for all in the network"
        raise _MismatchError(msg)
    values = np.asarray(quantity.values[()])
    ctype = declaration.get("ctype", "double")
    kind = _TYPE_KINDS.get(ctype, "f")
    is_number = values.dtype.kind in "biuf"
    if not is_number or (kind != "f" and to_declared_type(values, ctype).dtype.kind != kind):
        msg = f"has values of type {values.dtype} in the file, some of which are not {ctype}"
        raise _MismatchError(msg)


def _is_rounded(quantity: Quantity, declaration: Mapping[str, Any]) -> bool:
    """Return True if a quantity has values that float32, its type in the network, rounds."""
    if declaration.get("ctype") != "float":
        return False
    values = np.asarray(quantity.values[()])
    return to_declared_type(values, "float").dtype != np.float32


def _delays_to_set(projection: Any, state: ProjectionSnapshot, dt: float) -> Any:
    """Return delays in ms as ANNarchy accepts them, or None if the network has them already."""
    if state.delays is None:
        steps = np.asarray(state.delay_steps[()])  # type: ignore[index]
    else:
        # The time step of the file may be a different one.
        found = whole_steps(np.asarray(state.delays[()]) * 1000, dt)
        if found is None or (found.size and found.min() < 1):
            msg = f"are not multiples of the time step, {dt:g} ms"
            raise _MismatchError(msg)
        steps = found.astype(np.int64)
    compiled = int(projection.uniform_delay)
    if compiled == _HETEROGENEOUS:
        all_steps = np.broadcast_to(steps, state.pre_ranks.shape)
        return split_rows(all_steps * dt, state.ends)
    if steps.size and steps.min() != steps.max():
        msg = f"differ in the file, but the network is compiled with one delay; {_USE_CONNECT}"
        raise _MismatchError(msg)
    delay = int(steps.max()) if steps.size else 1
    if delay == max(compiled, 1):
        return None
    if compiled == 0:
        msg = (
            f"are {delay} steps in the file, but the network is compiled without delays; "
            f"{_USE_CONNECT}"
        )
        raise _MismatchError(msg)
    return delay * dt


# Connections of a projection that is not compiled yet


def restore_connections(
    projection: Any, state: ProjectionSnapshot, dt: float, storage: Mapping[str, str]
) -> None:
    """Create the synapses of a saved projection, with weights and delays; ``dt`` is in ms.

    ``storage`` are arguments on how ANNarchy stores the synapses.
    """
    if getattr(projection, "initialized", False):
        msg = f"{projection.name!r} is compiled; call connect() before the network is compiled"
        raise RestoreError(msg)
    post, pre = _indices_in(projection.post), _indices_in(projection.pre)
    rows = np.repeat(state.post_ranks[:], state.counts())
    _check_ranks(projection, "post", rows, post)
    _check_ranks(projection, "pre", state.pre_ranks[:], pre)
    weights, delays = _weights(state), _delays(state, dt)
    # connect_from_sparse accepts only one delay for all synapses.
    if delays is not None and delays.size and delays.min() != delays.max():
        projection.connect_with_func(_connector(state, weights, delays), **storage)
        return
    delay = dt if delays is None or not delays.size else float(delays.flat[0])
    shape = int(projection.pre.size), int(projection.post.size)
    matrix = _sparse_matrix(post[rows], pre[state.pre_ranks[:]], weights, shape)
    projection.connect_from_sparse(matrix, **({} if delay == dt else {"delays": delay}), **storage)


def storage_in(network: NetworkSnapshot, projection: str) -> dict[str, str]:
    """Return how a saved projection stored its synapses, as arguments of ``connect_*``."""
    storage = network.provenance.get("storage")
    found = storage.get(projection) if isinstance(storage, Mapping) else None
    values = dict(found) if isinstance(found, Mapping) else {}
    return {name: values[name] for name in STORAGE if isinstance(values.get(name), str)}


def _indices_in(view: Any) -> NDArray[np.int64]:
    """Return the index of each neuron in a view, or -1 for neurons outside the view."""
    population = population_of(view)
    indices = np.full(int(population.size), -1)
    ranks = np.arange(population.size) if view is population else np.asarray(view.ranks)
    indices[ranks] = np.arange(len(ranks))
    return indices


def _check_ranks(
    projection: Any, side: str, ranks: NDArray[Any], indices: NDArray[np.int64]
) -> None:
    is_known = ranks < len(indices)
    is_known[is_known] = indices[ranks[is_known]] >= 0
    if not is_known.all():
        msg = (
            f"the {side}-synaptic population of {projection.name!r} has no neuron with rank "
            f"{int(ranks[~is_known][0])}, which has synapses in the file"
        )
        raise RestoreError(msg)


def _weights(state: ProjectionSnapshot) -> NDArray[np.float64]:
    found: Quantity | None = next(
        (item for item in state.quantities if item.name == state.weight), None
    )
    values = 0.0 if found is None else found.values[()]
    return np.broadcast_to(np.asarray(values, np.float64), state.pre_ranks.shape)


def _delays(state: ProjectionSnapshot, dt: float) -> NDArray[np.float64] | None:
    if state.delays is not None:
        return np.rint(np.asarray(state.delays[()]) * 1000 / dt) * dt
    return None if state.delay_steps is None else np.asarray(state.delay_steps[()]) * dt


def _sparse_matrix(
    post: NDArray[Any], pre: NDArray[Any], weights: NDArray[Any], shape: tuple[int, int]
) -> Any:
    """Return a sparse matrix, (pre-synaptic, post-synaptic), that stores weights of 0."""
    lil_matrix = import_optional("scipy.sparse", "connect()", "matlab").lil_matrix
    order = np.lexsort((post, pre))
    ends = np.cumsum(np.bincount(pre, minlength=shape[0]))
    matrix = lil_matrix(shape)
    columns, values = split_rows(post[order], ends), split_rows(weights[order], ends)
    for row in range(shape[0]):
        matrix.rows[row], matrix.data[row] = columns[row], values[row]
    return matrix


def _connector(state: ProjectionSnapshot, weights: NDArray[Any], delays: NDArray[Any]) -> Any:
    """Return a function that creates the synapses; ANNarchy 5 passes ``dt`` to it."""

    def connect(_pre: Any, _post: Any, *dt: float) -> Any:
        synapses = simulator().LILConnectivity(*dt)
        ranks = np.asarray(state.post_ranks[:]).tolist()
        rows = (split_rows(array, state.ends) for array in (state.pre_ranks[:], weights, delays))
        for post_rank, pre_ranks, *values in zip(ranks, *rows, strict=True):
            if pre_ranks:
                synapses.add(post_rank, pre_ranks, *values)
        return synapses

    return connect
