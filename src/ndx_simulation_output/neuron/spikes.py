"""Record the spikes of the cells of a running NEURON model.

All ``NetCon`` objects of a source share one vector and one statement, and each call of ``record``
or ``spike_record`` replaces that of the last. The vector is used here if it is free. If it is that
of the user, of another tool or of another recorder, an artificial cell relays the spikes. With
several threads NEURON does not allow its delay of 0, and the statement is used.
"""

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import isfinite
from numbers import Real
from typing import Any
from weakref import WeakSet

import numpy as np

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.neuron.cells import Cell, Population, has_gid, is_point_process
from ndx_simulation_output.recording import Spikes
from ndx_simulation_output.recording.ids import check_ids

# Numbers in the names of hoc variables of this module, which must be unique.
_NUMBERS = count()

_ACTIVE: "WeakSet[SpikeRecorder]" = WeakSet()
"""Recorders that have started and not stopped."""

_ELSEWHERE = -1
"""Return value of ``NetCon.preloc`` for a source without a section."""


def spike_recorder(
    h: Any, populations: Iterable[Population], spikes: "bool | float | Mapping[Any, Any] | None"
) -> "SpikeRecorder | None":
    """Return a recorder of spikes; None if ``spikes`` is False or None."""
    populations = list(populations)
    if spikes is not None and not (isinstance(spikes, (bool, np.bool_)) and not spikes):
        return SpikeRecorder(h, populations, spikes)
    for population in populations:
        for cell in population.cells:
            if cell.origin is None or is_point_process(cell.origin):
                msg = (
                    f"cell {cell.id} of population {population.name!r} has no sections, so only "
                    "its spikes can be recorded; expected spikes=True, a threshold or {id: NetCon}"
                )
                raise RecordingError(msg)
    return None


class SpikeRecorder:
    """Records the spikes of all cells, from ``start`` to ``stop``.

    ``detection`` is True for the spikes of the gids of the ``ParallelContext``, a number for upward
    crossings of that potential (mV) in the middle of the first section of each cell, or a dict of
    a ``NetCon`` or artificial cell for each id, which may be nested by population. Artificial cells
    are always recorded.
    """

    def __init__(
        self,
        h: Any,
        populations: Iterable[Population],
        detection: "bool | float | Mapping[Any, Any]",
    ) -> None:
        if isinstance(detection, np.bool_):
            detection = bool(detection)
        _check_simulator()
        self._h, self._context = h, h.ParallelContext()
        self._trains = [
            _Trains(h, name, sources)
            for name, sources in _find_sources(h, list(populations), detection).items()
        ]
        self._handler: Any = None
        self._since = self._checked = 0.0
        self._until = float("-inf")
        self._past: list[tuple[float, float]] = []
        self._has_begun = self._is_initialized = False
        # A cell whose vector others have taken while it was recorded, that several recorders would
        # record by a statement, and whose statement may be that of a user.
        self._displaced = self._refused = self._replaced = ""
        if _ACTIVE and self._has_delays:
            taken = (trains.first_taken() for trains in self._trains)
            self._refused = next((cell for cell in taken if cell), "")
            self._refuse()

    def start(self) -> None:
        """Start recording spikes."""
        _ACTIVE.add(self)
        self._since = self._now
        self._handler = self._h.FInitializeHandler(3, self._on_finitialize)
        # Relays cannot be created in the events of a run, nor while CVode integrates.
        has_relays = not (self._has_delays or self._h.CVode().active())
        for trains in self._trains:
            for number in trains.sources:
                if not trains.use_vector(number) and has_relays:
                    trains.use_relay(number)

    def check(self, *, since: float | None = None) -> None:
        """Record the sources whose vector is not free; call it at the first sample and later.

        ``since`` is the time (ms) of the first sample, if it is before now. Raise an error if
        others have replaced the vector of a source since the last call.
        """
        _check_simulator()
        self._use_other_ways(is_initializing=False)
        if self._is_initialized:
            # Others may have simulated between finitialize and the first sample.
            self._since = min([self._now, *(trains.first for trains in self._trains)])
        if since is not None:
            self._since = min(self._since, since)
        self._checked, self._has_begun, self._is_initialized = self._now, True, False
        # The time may go back, which is an error that keeps what was recorded.
        self._until = max(self._until, self._now)
        if self._replaced:
            msg = (
                f"others record the spikes of {self._replaced} into a vector, so that its "
                "statement was replaced (NetCon.record of a function or text) and must not be set "
                "in the block; in several threads, NEURON has no other way"
            )
            self._replaced = ""
            warnings.warn(msg, SimulationOutputWarning, stacklevel=4)
        self._refuse()
        if self._displaced:
            msg = (
                f"the spikes of {self._displaced} are incomplete: NetCon.record or spike_record "
                "was called while recording; expected it before run()"
            )
            self._displaced = ""
            raise RecordingError(msg)

    def _refuse(self) -> None:
        if self._refused:
            msg = (
                f"the spikes of {self._refused} are recorded by others, too; in several threads, "
                "expected one recorder of this package, or one thread"
            )
            self._refused = ""
            raise RecordingError(msg)

    def stop(self) -> None:
        """Stop recording; ``new_spikes`` still returns the last spikes."""
        try:
            if self._has_begun:
                self.check()
        finally:
            self._handler = None
            _ACTIVE.discard(self)
            for trains in self._trains:
                trains.stop()
        changed = [name for trains in self._trains for name in trains.other_thresholds]
        if changed:
            msg = (
                f"the threshold of {', '.join(changed[:3])} was changed in the block, so that some "
                "spikes are those of another threshold than in spikes="
            )
            warnings.warn(msg, SimulationOutputWarning, stacklevel=4)

    def new_spikes(self) -> Iterator[Spikes]:
        """Return the spikes since the last call, by population.

        From the first call of ``check`` on, they have the silent cells and the time recorded.
        """
        self._until = max(self._until, self._now)
        intervals = [*self._past, (self._since, self._until)] if self._has_begun else self._past
        for trains in self._trains:
            spikes = trains.new_spikes(intervals)
            if len(trains.ids) and (intervals or len(spikes.times)):
                yield spikes

    @property
    def _now(self) -> float:
        return float(self._context.t(0))

    @property
    def _has_delays(self) -> bool:
        """True if NEURON allows no delay of 0."""
        return bool(self._context.nthread() > 1 or self._h.CVode().queue_mode())

    def _on_finitialize(self) -> None:
        """Keep the spikes of a recorded run, which NEURON deletes."""
        if self._has_begun:
            self._past.append((self._since, max(self._until, self._now)))
        for trains in self._trains:
            trains.read(keep=bool(self._past))
        self._use_other_ways(is_initializing=True)
        self._has_begun, self._is_initialized = False, True
        self._until = float("-inf")

    def _use_other_ways(self, *, is_initializing: bool) -> None:
        """Record the sources whose vector belongs to others by a relay or a statement."""
        is_running = self._has_begun and not self._is_initialized and self._now > self._checked
        has_delays = self._has_delays
        for trains in self._trains:
            for number in trains.without_vector():
                cell = trains.name_of(number)
                if is_running and number in trains.by_vector:
                    self._displaced = cell
                    continue
                if trains.use_vector(number):
                    continue
                # NEURON crashes if an artificial cell is created while CVode integrates.
                if not (has_delays or is_initializing) and self._h.CVode().active():
                    msg = (
                        f"others record the spikes of {cell} since finitialize; with CVode, "
                        "expected NetCon.record and spike_record before finitialize, and that in "
                        "the block"
                    )
                    raise RecordingError(msg)
                if not has_delays and trains.use_relay(number):
                    continue
                if _ACTIVE - {self}:
                    self._refused = cell
                    return
                if trains.use_statement(number):
                    self._replaced = cell


class _Source:
    """Where spikes arise: a segment, an artificial cell, or the source of a ``NetCon``."""

    def __init__(
        self, h: Any, origin: Any, connection: Any = None, threshold: float | None = None
    ) -> None:
        self._h, self._origin, self.threshold = h, origin, threshold
        self._connection = connection if origin is None else None

    def connect(self, target: Any = None) -> Any:
        """Return a ``NetCon``; None if there is none to this target, or the section was deleted."""
        if self._origin is None:
            return self._connection if target is None else None
        if is_point_process(self._origin):
            return self._h.NetCon(self._origin, target)
        try:
            potential, section = self._origin._ref_v, self._origin.sec  # noqa: SLF001 - NEURON's
        except ReferenceError:
            return None
        return self._h.NetCon(potential, target, sec=section)


class _Trains:
    """The spikes of a population: ``sources`` and ``ids`` of its cells by number."""

    def __init__(self, h: Any, population: str, sources: Mapping[int, _Source]) -> None:
        self._h, self.population = h, population
        # NEURON records numbers, because its ids are of type int.
        self.ids = np.array([*sources], np.int64)
        self.sources = dict(enumerate(sources.values()))
        self.by_vector: set[int] = set()
        self._by_statement: set[int] = set()
        self._relays: dict[int, tuple[Any, ...]] = {}
        self._hoc_names: list[str] = []
        self._times, self._numbers = h.Vector(), h.Vector()
        self._read: list[tuple[Any, Any]] = []  # times and numbers
        self._is_new = True
        self.other_thresholds: list[str] = []

    @property
    def first(self) -> float:
        """The time of the first spike in the vectors (ms); infinite if there is none."""
        return float(self._times.min()) if self._times.size() else float("inf")

    def name_of(self, number: int) -> str:
        return f"cell {self.ids[number]} of {self.population!r}"

    def first_taken(self) -> str:
        """Return the name of the first cell whose vector is not free; empty if there is none."""
        for number, source in self.sources.items():
            connection = source.connect()
            if connection is not None and connection.get_recordvec() is not None:
                return self.name_of(number)
        return ""

    def without_vector(self) -> list[int]:
        """Return the numbers of the cells that are not recorded, or no longer."""
        others = self.sources.keys() - self._relays.keys() - self._by_statement
        return sorted(
            number
            for number in others
            if number not in self.by_vector or not self._has_vector(number)
        )

    def use_vector(self, number: int) -> bool:
        """Record a cell by the vector of its source; return False if that is not free."""
        connection = self.sources[number].connect()
        if connection is not None and connection.get_recordvec() is not None:
            return False
        if connection is not None:
            threshold = self.sources[number].threshold
            if threshold is not None and not _is_shared(connection):
                connection.threshold = threshold
            connection.record(self._times, self._numbers, number)
        self.by_vector.add(number)
        return True

    def use_relay(self, number: int) -> bool:
        """Record a cell by an artificial cell that fires at each of its spikes."""
        relay = self._h.IntFire1()
        connection = self.sources[number].connect(relay)
        if connection is None:
            return False
        relay.refrac, connection.delay, connection.weight[0] = 0, 0, 2
        recorded = self._h.NetCon(relay, None)
        recorded.record(self._times, self._numbers, number)
        self._relays[number] = relay, connection, recorded
        self.by_vector.discard(number)
        return True

    def use_statement(self, number: int) -> bool:
        """Record a cell by the statement of its source; return True if others may have had one."""
        if not self._hoc_names:
            for vector in (self._times, self._numbers):
                name = f"ndx_spikes_{next(_NUMBERS)}"
                self._h(f"objref {name}")
                setattr(self._h, name, vector)
                self._hoc_names.append(name)
        times, numbers = self._hoc_names
        connection = self.sources[number].connect()
        if connection is not None:
            connection.record(f"{times}.append(t) {numbers}.append({number})")
        self._by_statement.add(number)
        self.by_vector.discard(number)
        return connection is not None and _has_other_connections(connection)

    def read(self, *, keep: bool = True) -> None:
        """Move the spikes out of the vectors."""
        if not self._times.size():
            return
        if keep:
            self._read.append((np.array(self._times), np.array(self._numbers).astype(np.intp)))
        self._times.resize(0)
        self._numbers.resize(0)

    def new_spikes(self, intervals: Sequence[tuple[float, float]]) -> Spikes:
        """Return the spikes since the last call, and the silent cells if there are intervals."""
        self.read()
        times, numbers = zip((np.zeros(0), np.zeros(0, np.intp)), *self._read, strict=True)
        silent = self.ids if self._is_new and intervals else None
        self._read, self._is_new = [], self._is_new and not intervals
        return Spikes(
            self.population,
            self.ids[np.concatenate(numbers)],
            np.concatenate(times) / 1000.0,
            silent=silent,
            intervals=np.array(intervals) / 1000.0 if intervals else None,
        )

    def stop(self) -> None:
        """Stop recording."""
        self.read()
        for number, source in self.sources.items():
            connection = source.connect()
            if connection is None:
                continue
            if source.threshold not in (None, connection.threshold):
                self.other_thresholds.append(self.name_of(number))
            if number in self.by_vector and self._has_vector(number):
                connection.record()
        for number in self._by_statement:
            if (connection := self.sources[number].connect()) is not None:
                connection.record("")
        for name in self._hoc_names:
            self._h(f"objref {name}")
        self.sources, self._relays, self._hoc_names = {}, {}, []
        self.by_vector, self._by_statement = set(), set()

    def _has_vector(self, number: int) -> bool:
        """Return True if the vector of a source is ours, or its section was deleted."""
        connection = self.sources[number].connect()
        if connection is None:
            return True
        vector = connection.get_recordvec()
        return vector is not None and vector == self._times


def _check_simulator() -> None:
    coreneuron = sys.modules.get("neuron.coreneuron")
    if coreneuron is not None and getattr(coreneuron, "enable", False):
        msg = (
            "CoreNEURON is enabled and returns spikes only to spike_record(-1, …); expected "
            "coreneuron.enable = False, or spikes=False"
        )
        raise RecordingError(msg)


def _find_sources(
    h: Any, populations: list[Population], detection: "bool | float | Mapping[Any, Any]"
) -> dict[str, dict[int, _Source]]:
    """Return the sources of the cells by population and id."""
    if isinstance(detection, Mapping):
        given = _by_population(populations, detection)
        found = {
            name: {cell_id: _given(h, cell_id, source) for cell_id, source in of_cells.items()}
            for name, of_cells in given.items()
        }
    else:
        found = {population.name: {} for population in populations}
    for population in populations:
        sources = found[population.name]
        for cell in population.cells:
            if cell.id not in sources:
                sources[cell.id] = _source(h, cell, detection)
    return found


def _by_population(
    populations: list[Population], detection: Mapping[Any, Any]
) -> dict[str, dict[int, Any]]:
    """Return what ``spikes`` has for each id, by population."""
    ids = {population.name: {cell.id for cell in population.cells} for population in populations}
    found: dict[str, dict[int, Any]] = {name: {} for name in ids}
    if detection and all(isinstance(key, str) for key in detection):
        for name, of_cells in detection.items():
            if not isinstance(of_cells, Mapping):
                msg = f"spikes has {of_cells!r} for population {name!r}; expected {{id: NetCon}}"
                raise RecordingError(msg)
            check_ids(np.array([*of_cells]), f"the ids in spikes of population {name!r}")
            found[name] = dict(of_cells)
        return found
    check_ids(np.array([*detection]), "the ids in spikes")
    for cell_id, source in detection.items():
        names = [name for name, of_cells in ids.items() if cell_id in of_cells] or list(ids)
        if len(names) != 1:
            msg = (
                f"spikes has cell {cell_id}, which may belong to the populations "
                f"{', '.join(names)}; expected spikes={{population: {{id: NetCon}}}}"
            )
            raise RecordingError(msg)
        found[names[0]][cell_id] = source
    return found


def _source(h: Any, cell: Cell, detection: "bool | float | Mapping[Any, Any]") -> _Source:
    """Return the source of a cell of which ``spikes`` has none."""
    is_artificial = is_point_process(cell.origin)
    if has_gid(h, cell.id) and (detection is True or cell.origin is None):
        return _of_gid(h, cell)
    if is_artificial:
        return _of_process(h, cell.id, cell.origin)
    if isinstance(detection, Mapping):
        msg = f"spikes has no NetCon for cell {cell.id}; expected one for each cell"
        raise RecordingError(msg)
    if detection is True:
        msg = (
            f"cell {cell.id} has no gid in the ParallelContext; expected one, or spikes=THRESHOLD "
            "or spikes={id: NetCon}"
        )
        raise RecordingError(msg)
    return _at_threshold(h, cell, detection)


def _given(h: Any, cell_id: int, source: Any) -> _Source:
    """Return the source of a ``NetCon`` or artificial cell that the user gave."""
    if is_point_process(source):
        return _of_process(h, cell_id, source)
    if not (hasattr(type(source), "hname") and source.hname().startswith("NetCon[")):
        msg = f"spikes has {source!r} for cell {cell_id}; expected a NetCon or an artificial cell"
        raise RecordingError(msg)
    found = _of_connection(h, source)
    if found is None:
        msg = f"{source.hname()}, which spikes has for cell {cell_id}, has no source"
        raise RecordingError(msg)
    return found


def _of_connection(h: Any, connection: Any) -> _Source | None:
    origin = connection.pre()
    if origin is None:
        origin = connection.preseg()
    if origin is None and connection.srcgid() < 0:
        if connection.preloc() == _ELSEWHERE:
            return None
        h.pop_section()  # preloc() pushes it.
    return _Source(h, origin, connection)


def _of_process(h: Any, cell_id: int, process: Any) -> _Source:
    kinds = h.MechanismType(1)
    kinds.select(process.hname().partition("[")[0])
    if not kinds.has_net_event(kinds.selected()):
        msg = (
            f"cell {cell_id}, {process.hname()}, sends no events; expected an artificial cell such "
            "as NetStim or IntFire1, or another point process that calls net_event"
        )
        raise RecordingError(msg)
    return _Source(h, process)


def _of_gid(h: Any, cell: Cell) -> _Source:
    context = h.ParallelContext()
    if context.gid_exists(cell.id) < 2:
        msg = f"gid {cell.id} has no source of spikes; expected pc.cell({cell.id}, NetCon)"
        raise RecordingError(msg)
    # By gid, only a connection to a target can be made.
    target = h.IntFire1()
    connection = context.gid_connect(cell.id, target)
    connection.active(False)  # noqa: FBT003 - NEURON's
    origin = connection.pre() if connection.preseg() is None else connection.preseg()
    return _Source(h, origin, connection)


def _at_threshold(h: Any, cell: Cell, threshold: float) -> _Source:
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not isfinite(threshold):
        msg = f"spikes is {threshold!r}; expected True, False, a threshold in mV or {{id: NetCon}}"
        raise RecordingError(msg)
    section = cell.origin
    source = _Source(h, section(0.5), threshold=float(threshold))
    connection = source.connect()
    if _is_shared(connection) and connection.threshold != threshold:
        msg = (
            f"{section.name()} has a NetCon whose threshold is {connection.threshold} mV, and "
            f"another one would change it to {threshold} mV; expected "
            f"spikes={connection.threshold}, or spikes={{id: NetCon}}"
        )
        raise RecordingError(msg)
    return source


def _is_shared(connection: Any) -> bool:
    """Return True if others use the source of a connection, and so its threshold."""
    return _has_other_connections(connection) or connection.get_recordvec() is not None


def _has_other_connections(connection: Any) -> bool:
    return len(connection.prelist()) > 1 or connection.srcgid() >= 0
