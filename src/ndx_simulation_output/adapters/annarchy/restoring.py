"""A saved state set in a network of ANNarchy that is in memory: all of it, or nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ndx_simulation_output.adapters.annarchy.fitting import (
    MisfitError,
    check_geometry,
    check_quantity,
    check_topology,
    delays_to_set,
    is_rounded,
    value_to_set,
)
from ndx_simulation_output.adapters.annarchy.live import LiveNetwork, declared
from ndx_simulation_output.adapters.annarchy.monitors import forget_times
from ndx_simulation_output.errors import NameClashError, RestoreError
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

__all__ = ["Restored", "restore"]

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
