"""Restore a saved state into a network in memory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.monitors import forget_times
from ndx_simulation_output.annarchy.network import (
    WEIGHT,
    LiveNetwork,
    base_of,
    declared,
    pre_ranks_of,
    simulator,
    typed,
)
from ndx_simulation_output.errors import MissingDependencyError, NameClashError, RestoreError
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

# Whether a saved state fits a network in memory, and its values as ANNarchy takes them.

_KINDS = {"double": "f", "float": "f", "int": "i", "bool": "b"}
_REBUILD = "connect() rebuilds it before the network is compiled"
_TOLERANCE = 1e-3
_HETEROGENEOUS = -1


class MisfitError(ValueError):
    """Something of a state does not fit the network, and why."""


def check_geometry(population: Any, state: PopulationSnapshot) -> None:
    """Refuse a state of other neurons.

    Raises
    ------
    MisfitError
        If the geometry differs.

    """
    there = tuple(int(length) for length in population.geometry)
    if state.geometry != there:
        msg = f"the geometry is {state.geometry} in the file and {there} in the network"
        raise MisfitError(msg)


def check_topology(projection: Any, state: ProjectionSnapshot) -> None:
    """Refuse a state of other synapses.

    Raises
    ------
    MisfitError
        If rows, or the pre-synaptic neurons of one, differ.

    """
    post_ranks, saved = np.asarray(projection.post_ranks, np.int64), state.post_ranks[:]
    if not np.array_equal(post_ranks, saved):
        msg = (
            f"the topology differs: {len(saved)} neurons have synapses in the file, and "
            f"{len(post_ranks)} or others in the network; {_REBUILD}"
        )
        raise MisfitError(msg)
    rows = pre_ranks_of(projection)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    if not np.array_equal(ends, state.ends[:]):
        there = int(ends[-1]) if len(ends) else 0
        msg = (
            f"the topology differs: {state.pre_ranks.shape[0]} synapses in the file, and {there} "
            f"or others in the network; {_REBUILD}"
        )
        raise MisfitError(msg)
    if not np.array_equal([rank for row in rows for rank in row], state.pre_ranks[:]):
        msg = f"the topology differs: synapses come from other neurons; {_REBUILD}"
        raise MisfitError(msg)


def check_quantity(part: Any, quantity: Quantity, facts: Mapping[str, Any]) -> None:
    """Refuse values that are not as many, or of the type, as ``facts`` declare.

    Raises
    ------
    MisfitError
        If they are not.

    """
    has, wanted = quantity.locality, facts.get("locality", "local")
    if has != wanted and (has, wanted) != ("shared", "local"):
        msg = f"is {has} in the file and {wanted} in the network"
        raise MisfitError(msg)
    if quantity.name == WEIGHT and has == "local" and np.isscalar(getattr(part, WEIGHT)):
        msg = "has a value for each synapse in the file and one for all in the network"
        raise MisfitError(msg)
    values = np.asarray(quantity.values[()])
    declared_type = facts.get("ctype", "double")
    kind = _KINDS.get(declared_type, "f")
    is_number = values.dtype.kind in "biuf"
    if not is_number or (kind != "f" and typed(values, declared_type).dtype.kind != kind):
        msg = f"holds {values.dtype} in the file, not all of which are {declared_type}"
        raise MisfitError(msg)


def is_rounded(quantity: Quantity, facts: Mapping[str, Any]) -> bool:
    """Tell whether a network of 32 bits cannot hold the values as they are."""
    values = np.asarray(quantity.values[()])
    return facts.get("ctype") == "float" and typed(values, "float").dtype != np.float32


def value_to_set(part: Any, quantity: Quantity, ends: Any, facts: Mapping[str, Any]) -> Any:
    """Give values as ANNarchy takes them: a number, a grid, a list, or a list for each row."""
    values = typed(np.asarray(quantity.values[()]), facts.get("ctype", "double"))
    if not values.shape:
        return values.item()
    if ends is None:
        return values.reshape(tuple(part.geometry))
    return in_rows(values, ends) if quantity.locality == "local" else values.tolist()


def in_rows(values: NDArray[Any], ends: NDArray[Any]) -> list[list[Any]]:
    """Split values, shape (synapse,), into a list for each row.

    Example
    -------
    >>> in_rows(np.array([0.1, 0.2, 0.3]), np.array([2, 3]))
    [[0.1, 0.2], [0.3]]

    """
    flat, edges = values.tolist(), np.asarray(ends).tolist()
    return [flat[start:end] for start, end in zip([0, *edges], edges, strict=False)]


def delays_to_set(projection: Any, state: ProjectionSnapshot, dt: float) -> Any:
    """Give delays in ms as ANNarchy takes them, or None if the network has them already.

    Raises
    ------
    MisfitError
        If the network was compiled without such delays, or they are no multiples of ``dt`` (ms).

    """
    steps = _steps(state, dt)
    compiled = int(projection.uniform_delay)
    if compiled == _HETEROGENEOUS:
        all_steps = np.broadcast_to(steps, state.pre_ranks.shape)
        return in_rows(all_steps * dt, np.asarray(state.ends[:]))
    if steps.size and steps.min() != steps.max():
        msg = f"differ in the file, and the network is compiled with one for all; {_REBUILD}"
        raise MisfitError(msg)
    wanted = int(steps.max()) if steps.size else 1
    if wanted == max(compiled, 1):
        return None
    if compiled == 0:
        msg = f"are {wanted} steps in the file, and the network is compiled without; {_REBUILD}"
        raise MisfitError(msg)
    return wanted * dt


def _steps(state: ProjectionSnapshot, dt: float) -> NDArray[np.int64]:
    """Give delays in steps of the network, whose ``dt`` need not be that of the file."""
    if state.delays is None:
        return np.asarray(state.delay_steps[()])  # type: ignore[index]
    exact = np.asarray(state.delays[()]) * 1000 / dt
    steps = np.rint(exact)
    if steps.size and (steps.min() < 1 or abs(exact - steps).max() > _TOLERANCE * steps.max()):
        msg = f"are no multiples of the time step, {dt:g} ms"
        raise MisfitError(msg)
    return steps.astype(np.int64)


# The synapses of a saved projection given to one that is not compiled yet.


def connect(projection: Any, state: ProjectionSnapshot, dt: float) -> None:
    """Give a projection the synapses, weights and delays of a saved one; ``dt`` is in ms.

    Uniform delays go through ``connect_from_sparse``, which takes no others; others through
    ``connect_with_func``.

    Raises
    ------
    RestoreError
        If the projection is compiled, or its populations have not the neurons.
    MissingDependencyError
        If SciPy is not installed.

    """
    if getattr(projection, "initialized", False):
        msg = f"{projection.name!r} is compiled; synapses are rebuilt before the network is"
        raise RestoreError(msg)
    post, pre = _places(projection.post), _places(projection.pre)
    rows = np.repeat(state.post_ranks[:], np.diff(state.ends[:], prepend=0))
    _check_ranks(projection, "post", rows, post)
    _check_ranks(projection, "pre", state.pre_ranks[:], pre)
    weights = _weights(state)
    delays = _delays(state, dt)
    if delays is not None and delays.size and delays.min() != delays.max():
        projection.connect_with_func(_pattern(state, weights, delays))
        return
    uniform = {} if delays is None or not delays.size else {"delays": float(delays.flat[0])}
    if uniform.get("delays") == dt:
        uniform = {}
    matrix = _sparse(post[rows], pre[state.pre_ranks[:]], weights, _shape(projection))
    projection.connect_from_sparse(matrix, **uniform)


def _places(population: Any) -> NDArray[np.int64]:
    """Give the place of each neuron of a population in a view of it, -1 where it is not there."""
    whole = base_of(population)
    places = np.full(int(whole.size), -1)
    ranks = np.asarray(population.ranks) if whole is not population else np.arange(whole.size)
    places[ranks] = np.arange(len(ranks))
    return places


def _check_ranks(
    projection: Any, side: str, ranks: NDArray[Any], places: NDArray[np.int64]
) -> None:
    known = ranks < len(places)
    if not known.all() or (places[ranks[known]] < 0).any():
        lost = ranks[~known] if not known.all() else ranks[places[ranks] < 0]
        msg = (
            f"the {side}-synaptic neurons of {projection.name!r} have no rank {int(lost[0])}, "
            "which has synapses in the file"
        )
        raise RestoreError(msg)


def _shape(projection: Any) -> tuple[int, int]:
    return int(projection.pre.size), int(projection.post.size)


def _weights(state: ProjectionSnapshot) -> NDArray[np.float64]:
    found: Quantity | None = next((q for q in state.quantities if q.name == state.weight), None)
    values = 0.0 if found is None else found.values[()]
    return np.broadcast_to(np.asarray(values, np.float64), state.pre_ranks.shape)


def _delays(state: ProjectionSnapshot, dt: float) -> NDArray[np.float64] | None:
    if state.delays is not None:
        return np.rint(np.asarray(state.delays[()]) * 1000 / dt) * dt
    return None if state.delay_steps is None else np.asarray(state.delay_steps[()]) * dt


def _sparse(
    post: NDArray[Any], pre: NDArray[Any], weights: NDArray[Any], shape: tuple[int, int]
) -> Any:
    """Make a matrix of SciPy, pre-synaptic neurons first, in which weights of 0 are kept."""
    try:
        from scipy.sparse import lil_matrix
    except ImportError as error:
        msg = "connect_from_sparse takes SciPy: pip install 'ndx-simulation-output[matlab]'"
        raise MissingDependencyError(msg) from error
    order = np.lexsort((post, pre))
    ends = np.cumsum(np.bincount(pre, minlength=shape[0]))
    matrix = lil_matrix(shape)
    columns, values = in_rows(post[order], ends), in_rows(weights[order], ends)
    for row in range(shape[0]):
        matrix.rows[row], matrix.data[row] = columns[row], values[row]
    return matrix


def _pattern(state: ProjectionSnapshot, weights: NDArray[Any], delays: NDArray[Any]) -> Any:
    """Give a function that makes ANNarchy's own list of synapses; 5.x calls it with ``dt`` too."""
    ends = np.asarray(state.ends[:])

    def pattern(_pre: Any, _post: Any, *dt: float) -> Any:
        synapses = simulator().LILConnectivity(*dt)
        rows = (in_rows(values, ends) for values in (state.pre_ranks[:], weights, delays))
        for rank, *row in zip(np.asarray(state.post_ranks[:]).tolist(), *rows, strict=True):
            if row[0]:
                synapses.add(rank, *row)
        return synapses

    return pattern


# A saved state set in a network of ANNarchy that is in memory: all of it, or nothing.

_State = TypeVar("_State", PopulationSnapshot, ProjectionSnapshot)


@dataclass(frozen=True)
class Restored:
    """What of a state was set, in words such as ``population exc: v``.

    ``skipped`` is in the file, but not in the network. ``missing`` is in the network, but not in
    the file, and keeps its value. ``mismatched`` says what is in both, and why it does not fit; it
    was not set either. ``notes`` are on what is set, but not as it was, and on recordings that were
    made before.
    """

    set: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say how much was set, and what was not."""
        lines = [f"set: {len(self.set)} parameters, variables, delays and clocks"]
        for name in ("skipped", "missing", "mismatched"):
            lines += [f"{name}: {what}" for what in getattr(self, name)]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


@dataclass
class _Plan:
    """What is to be set, by what it is called, and what cannot be."""

    set: dict[str, Callable[[], None]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def restored(self) -> Restored:
        """Give what is said of it."""
        said = (self.set, self.skipped, self.missing, self.mismatched, self.notes)
        return Restored(*map(tuple, said))


def restore(
    live: LiveNetwork,
    saved: NetworkSnapshot,
    *,
    populations: bool = True,
    projections: bool = True,
    partial: bool = False,
) -> Restored:
    """Set a state in a compiled network, and the clock if it has populations that are set too.

    All is compared first: topology, sizes, types. If anything does not fit, nothing is set; with
    ``partial``, all else is. What only one of both has is no misfit. Where both are one population
    or one projection, their names may differ.

    Raises
    ------
    RestoreError
        If anything does not fit, or the network is not compiled.
    NameClashError
        If two parts have the same name.

    """
    plan = _Plan()
    _check_compiled(live)
    is_part = live.set_step is None
    if populations:
        for name, population, state in _paired(
            "population", live.populations, saved.populations, plan, is_part=is_part
        ):
            _plan_population(plan, name, population, state)
    if projections:
        for name, projection, synapses in _paired(
            "projection", live.projections, saved.projections, plan, is_part=is_part
        ):
            _plan_projection(plan, name, projection, synapses, live.dt)
    if populations and saved.populations:
        _plan_clock(plan, live, saved)
    if plan.mismatched and not partial:
        listed = "".join(f"\n  {what}" for what in plan.mismatched)
        msg = f"nothing was set, as this does not fit (partial=True sets all else):{listed}"
        raise RestoreError(msg)
    if is_part and not plan.set and not plan.mismatched:
        msg = f"nothing in the file is of {live.name!r}; it has {', '.join(plan.skipped) or 'none'}"
        raise RestoreError(msg)
    _apply(plan)
    if "time" in plan.set:
        plan.notes += _forget_times(live)
    return plan.restored()


def _check_compiled(live: LiveNetwork) -> None:
    parts: tuple[Any, ...] = (*live.populations, *live.projections)
    for part in parts:
        if not getattr(part, "initialized", True):
            msg = f"{part.name!r} is not compiled yet; a state is loaded into a compiled network"
            raise RestoreError(msg)


def _paired(
    kind: str, parts: tuple[Any, ...], states: tuple[_State, ...], plan: _Plan, *, is_part: bool
) -> Iterator[tuple[str, Any, _State]]:
    """Give what both have, with what it is called, and note what one has."""
    there: dict[str, Any] = _by_name(kind, parts)
    saved: dict[str, _State] = _by_name(kind, states)
    if is_part and len(there) == len(saved) == 1:
        saved = dict(zip(there, saved.values(), strict=True))
    for name, part in there.items():
        if name in saved:
            yield f"{kind} {name}", part, saved[name]
        else:
            plan.missing.append(f"{kind} {name}")
    plan.skipped += [f"{kind} {name}" for name in saved if name not in there]


def _by_name(kind: str, parts: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        if part.name in found:
            msg = f"two {kind}s are named {part.name!r}; expected a name for each"
            raise NameClashError(msg)
        found[part.name] = part
    return found


def _plan_population(plan: _Plan, name: str, population: Any, state: PopulationSnapshot) -> None:
    try:
        check_geometry(population, state)
    except MisfitError as error:
        plan.mismatched.append(f"{name}: {error}")
        return
    _plan_quantities(plan, name, population, state.quantities, None)


def _plan_projection(
    plan: _Plan, name: str, projection: Any, state: ProjectionSnapshot, dt: float
) -> None:
    try:
        check_topology(projection, state)
    except MisfitError as error:
        plan.mismatched.append(f"{name}: {error}")
        return
    _plan_quantities(plan, name, projection, state.quantities, np.asarray(state.ends[:]))
    if state.delays is None and state.delay_steps is None:
        plan.missing.append(f"{name}: delays")
        return
    try:
        delays = delays_to_set(projection, state, dt)
    except MisfitError as error:
        plan.mismatched.append(f"{name}: delays {error}")
        return

    def set_delays() -> None:
        if delays is not None:
            projection.delay = delays

    plan.set[f"{name}: delays"] = set_delays


def _plan_quantities(
    plan: _Plan, name: str, part: Any, quantities: tuple[Quantity, ...], ends: Any
) -> None:
    facts = declared(part)
    there = dict.fromkeys([*part.parameters, *part.variables])
    saved = {quantity.name for quantity in quantities}
    plan.missing += [f"{name}: {one}" for one in there if one not in saved]
    for quantity in quantities:
        what, own = f"{name}: {quantity.name}", facts.get(quantity.name, {})
        if quantity.name not in there:
            plan.skipped.append(what)
            continue
        try:
            check_quantity(part, quantity, own)
        except MisfitError as error:
            plan.mismatched.append(f"{what} {error}")
            continue
        if is_rounded(quantity, own):
            plan.notes.append(f"{what} is rounded to the 32 bits that the network has")
        plan.set[what] = _setter(part, quantity, ends, own)


def _setter(part: Any, quantity: Quantity, ends: Any, facts: Any) -> Callable[[], None]:
    def set_values() -> None:
        part.set({quantity.name: value_to_set(part, quantity, ends, facts)})

    return set_values


def _plan_clock(plan: _Plan, live: LiveNetwork, saved: NetworkSnapshot) -> None:
    set_step, step = live.set_step, saved.step
    if set_step is None:
        return
    if step is None:
        plan.missing.append("time")
        return
    found = None if saved.time_step is None else saved.time_step * 1000
    if found is not None and not np.isclose(found, live.dt):
        msg = f"time: a step is {found:g} ms in the file and {live.dt:g} ms in the network"
        plan.mismatched.append(msg)
        return
    if step < live.step():
        plan.notes += _events_to_come(live)
    plan.set["time"] = lambda: set_step(step)


def _events_to_come(live: LiveNetwork) -> Iterator[str]:
    """Name what ANNarchy computes since a last event, which is now after the clock."""
    for projection in live.projections:
        names = [
            name
            for name, facts in declared(projection).items()
            if facts.get("method") == "event-driven"
        ]
        if names:
            yield (
                f"projection {projection.name}: {', '.join(names)}: the clock goes back, and "
                "ANNarchy computes these since their last event, which it keeps, even by reset(): "
                "they may grow without bounds; load into a network that has not run"
            )


def _forget_times(live: LiveNetwork) -> Iterator[str]:
    """Let monitors begin at the new clock; name those that have recorded by the old one."""
    for monitor in live.monitors:
        if not forget_times(monitor):
            yield (
                f"{getattr(monitor, 'name', 'a monitor')} has recorded before: its times are those "
                "of two clocks; take what it has with get() before the next recording"
            )


def _apply(plan: _Plan) -> None:
    done: list[str] = []
    for name, set_it in plan.set.items():
        try:
            set_it()
        except Exception as error:
            msg = f"ANNarchy refused {name}: {error}; set before it: {', '.join(done) or 'nothing'}"
            raise RestoreError(msg) from error
        done.append(name)
