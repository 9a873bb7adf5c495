"""Record a running NEURON simulation into an NWB file."""

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning, UnitWarning
from ndx_simulation_output.files import check_target
from ndx_simulation_output.neuron.cells import Population, Selection, find_populations
from ndx_simulation_output.neuron.clock import Clock, Schedule, next_time
from ndx_simulation_output.neuron.hook import Hook
from ndx_simulation_output.neuron.netpyne import netpyne_network
from ndx_simulation_output.neuron.spikes import SpikeRecorder, spike_recorder
from ndx_simulation_output.neuron.variables import (
    Gatherer,
    RecordedVariable,
    Variable,
    find_variable,
)
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.stream import Stream, stream
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import CompartmentTable, Run, StreamedReport
from ndx_simulation_output.storage.layout import StorageOptions
from ndx_simulation_output.storage.mpi import Communicator, Team, together

_MEMORY = 2**25
# The system clock is read once for this number of samples.
_SAMPLES_PER_CHECK = 16
# Spikes are collected at least at these intervals (ms), the longer one with CVode, which is changed
# by each of them.
_COLLECT_FIXED, _COLLECT_CVODE = 1.0, 10.0
# Time steps of which NEURON keeps the times, at most.
_MOST_STEPS = 10_000
# Seconds for which a rank that fails waits for the others, which may wait for it in NEURON.
_PATIENCE = 5.0


@contextmanager
def record(
    target: str | Path,
    *,
    sections: Any = None,
    variables: str | Variable | Sequence[str | Variable] = ("v",),
    every: float | None = None,
    cells: Any = None,
    population: str = "cells",
    spikes: bool | float | Mapping[int, Any] | None = None,
    dtype: DTypeLike = "f8",
    flush_every: float = 10.0,
    metadata: str | Path | Mapping[str, Any] | None = None,
    storage: StorageOptions = StorageOptions(memory=_MEMORY),  # noqa: B008 - frozen
    workers: int | None = None,
    overwrite: bool = False,
    comm: Communicator | None = None,
) -> Iterator["Recorder"]:
    """Record a NEURON model while it runs; the file is at ``target`` when the block ends.

    The model may be run by ``recorder.run()``, by NEURON's ``h.run()`` and ``psolve``, by a loop,
    or by another tool. If the block raises, the data recorded until then are stored. If the process
    dies, ``ndx-sim recover`` restores the data of the last flush. A target is not replaced if
    nothing was recorded.

    The model must be complete and is not changed. Recorded currents are those with which NEURON
    computed the time step. A file has one run: for several trials, record each into its own file.

    Parameters
    ----------
    target
        The NWB file to write.
    sections
        The sections to record, such as ``h.allsec()``, or single segments such as ``dend(0.5)``;
        by default all.
    variables
        Names of variables of NEURON, or :class:`Variable` for one with its own interval, sections,
        unit or dtype. Each becomes a series of the compartments that have it.
    every
        Interval in ms: a multiple of ``h.dt``, or any interval with CVode. By default each time
        step is recorded; with CVode, at irregular times.
    cells
        Ids of the cells: None (counted from 0), gids of the ``ParallelContext``, a dict
        ``{id: cell}``, or a dict ``{population: gids or {id: cell}}``. A cell is an object that has
        sections, or a list of sections, or an artificial cell, of which only spikes are recorded.
        A network of NetPyNE needs none: its populations, gids, tags and artificial cells are found.
    population
        Name of the population, unless it is in ``cells``.
    spikes
        True for the spikes of the gids of the ``ParallelContext``, a threshold in mV in the middle
        of the first section of each cell, or a dict ``{id: NetCon or artificial cell}``, or
        ``{population: {id: NetCon or artificial cell}}``. What others record from the same cells
        is not affected. By default, spikes are recorded of a network of NetPyNE only.
    dtype
        Dtype of the stored values: ``f8`` as in NEURON, or ``f4`` with half the size.
    flush_every
        Seconds between two flushes: if the process dies, values since the last one are lost.
    metadata
        Session and subject as a dict or YAML file, as in ``convert``.
    storage
        How data are stored; its memory limits the buffers.
    workers
        Number of threads, 0 for none; by default as many as help, see ``convert``.
    overwrite
        Whether to replace an existing target.
    comm
        An mpi4py communicator; each rank records its own cells, all into one file.

    Raises
    ------
    RecordingError
        If the model cannot be recorded with these options, or recorded values would be wrong.
    MissingDependencyError
        If NEURON is not installed.
    UnitError
        If a unit cannot be parsed.
    TargetExistsError
        If the target exists and ``overwrite`` is False.
    WriteError
        If the target cannot be written.
    RankError
        If another rank fails.

    Example
    -------
    >>> with record("run.nwb", variables=["v"], every=0.1) as recorder:  # doctest: +SKIP
    ...     recorder.run(1000.0)

    """
    h = import_optional("neuron", "recording", "neuron").h
    with together(comm, _PATIENCE) as team:
        check_target(Path(target), overwrite=overwrite)
        is_number = isinstance(flush_every, Real) and not isinstance(flush_every, bool)
        if not is_number or math.isnan(flush_every):
            msg = f"flush_every is {flush_every!r}; expected a number of seconds"
            raise RecordingError(msg)
        session = read_metadata(metadata, starts_now=True)
        try:
            model = _describe_model(
                h,
                _listed(variables, every, dtype),
                Selection(sections),
                cells,
                population,
                spikes,
                team,
            )
        except BaseException as error:
            _release_frames(error)
            raise
        with stream(
            target,
            model.reports,
            run=model.run,
            metadata=session,
            storage=storage,
            workers=workers,
            overwrite=overwrite,
            keep=True,
            comm=comm,
            patience=_PATIENCE,
        ) as file:
            # Free the tables, which may be large.
            model.reports.clear()
            recorder = Recorder(h, file, model, flush_every)
            del model
            try:
                yield recorder
            except BaseException as error:
                failure = recorder.finish(error)
                if failure is None or failure is error:
                    _release_frames(error)
                    raise
                raise failure from None
            failure = recorder.finish()
            if failure is not None:
                raise failure


@dataclass
class _Model:
    """The clock, variables and spikes of a recorded model."""

    clock: Clock
    sampled: list[tuple[str, Gatherer, Schedule]]
    section: Any
    spikes: SpikeRecorder | None
    reports: list[StreamedReport]
    run: Run


def _describe_model(
    h: Any,
    variables: Sequence[Variable],
    chosen: Selection,
    cells: Any,
    population: str,
    spikes: Any,
    team: Team,
) -> _Model:
    """Find and check all that is to be recorded."""
    clock = Clock(h)
    populations = find_populations(h, chosen, cells, population)
    if spikes is None:
        spikes = netpyne_network(cells) is not None
    with_sections = _with_sections(populations, team)
    found = [
        (recorded, Schedule(variable, clock))
        for variable in variables
        for recorded in find_variable(h, variable, with_sections, chosen)
    ]
    tables = _with_equal_columns([recorded.table for recorded, _ in found], team)
    _check_found([recorded for recorded, _ in found], team)
    recorded_spikes = spike_recorder(h, populations, spikes)
    if recorded_spikes is None and not variables:
        msg = "there are no variables and no spikes to record; expected one of them"
        raise RecordingError(msg)
    return _Model(
        clock,
        [
            (recorded.name, Gatherer(h, recorded.pointers, table.n_compartments), schedule)
            for (recorded, schedule), table in zip(found, tables, strict=True)
        ],
        _first_section(populations),
        recorded_spikes,
        [
            _report(recorded, schedule, table)
            for (recorded, schedule), table in zip(found, tables, strict=True)
        ],
        _run_facts(h, clock),
    )


def _first_section(populations: Sequence[Population]) -> Any:
    sections = (
        section for some in populations for cell in some.cells for section in cell.sections.values()
    )
    return next(sections, None)


def _listed(variables: Any, every: float | None, dtype: DTypeLike) -> list[Variable]:
    """Return variables as a list; a single one may be given alone, and a name for each."""
    listed = [variables] if isinstance(variables, str | Variable) else variables
    if not isinstance(listed, Sequence | set | frozenset) or not all(
        isinstance(variable, str | Variable) for variable in listed
    ):
        msg = f"variables are {variables!r}; expected names of variables, or Variable objects"
        raise RecordingError(msg)
    named = [
        Variable(variable, every=every, dtype=dtype) if isinstance(variable, str) else variable
        for variable in listed
    ]
    for variable in named:
        try:
            kind = np.dtype(variable.dtype).kind
        except TypeError:
            kind = ""
        if kind != "f":
            msg = (
                f"the dtype of {variable.name} is {variable.dtype!r}; expected one of floating "
                "point numbers, 'f8' or 'f4'"
            )
            raise RecordingError(msg)
    return named


def _release_frames(error: BaseException) -> None:
    """Clear the variables of this package in the frames of an error: they hold the model."""
    step = error.__traceback__
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__")).startswith("ndx_simulation_output.neuron"):
            with suppress(RuntimeError):  # The frame is still running.
                step.tb_frame.clear()
        step = step.tb_next


def _run_facts(h: Any, clock: Clock) -> Run:
    """Return what is known of a run at this time; the seed is that of ``Random123``, unless 0."""
    return Run(
        "NEURON",
        str(h.nrnversion()),
        clock.dt / 1000 if clock.is_fixed else None,
        temperature=float(h.celsius),
        seed=int(h.Random().Random123_globalindex()) or None,
    )


class Recorder:
    """Simulates and records a model; created by :func:`record`."""

    def __init__(self, h: Any, file: Stream, model: _Model, flush_every: float) -> None:
        self._h, self._file, self._clock, self._sampled = h, file, model.clock, model.sampled
        self._spikes, self._run, self._flush_every = model.spikes, model.run, flush_every
        self._has_spikes = model.spikes is not None
        self._last_flush, self._n_samples, self._n_rows = time.monotonic(), 0, 0
        self._is_initialized = self._is_begun = self._is_closed = False
        self._entry = self._origin = self._clock.time
        self._last = float("-inf")
        self._held: list[NDArray[np.float64]] = []
        self._section = model.section
        self._steps: _Steps | None = None
        self._watch_steps()
        self._failure: BaseException | None = None
        self._is_driving = False
        if self._spikes:
            self._spikes.start()
        self._hook = Hook(h, self._clock, self)
        self._hold()
        self._hook.arm()

    @property
    def path(self) -> Path:
        """The path of the file until the block ends; it can be read after each flush."""
        return self._file.path

    def run(self, stop: float, *, v_init: float | None = None) -> None:
        """Simulate until ``stop`` (ms), or the last time step before it, and record.

        The first call initializes the simulation: by ``init`` of hoc if it is defined, which may be
        your own, else by ``finitialize``. It does not if the model was initialized or advanced
        within the block, or ``sample`` was called; each other call continues the simulation.

        Parameters
        ----------
        stop
            Time in ms.
        v_init
            Initial potential in mV; by default ``h.v_init`` of NEURON's standard run system, or
            -65 if that is not loaded.

        Raises
        ------
        RecordingError
            If the model has changed, or its time has gone back.
        WriteError
            If the file cannot be written.

        """
        self._check_open()
        if not (isinstance(stop, Real) and math.isfinite(stop)):
            msg = f"stop is {stop!r}; expected a time in ms"
            raise RecordingError(msg)
        self._hook.pause()
        self._is_driving = True
        try:
            if not self._is_initialized and self._clock.time == self._entry:
                self._initialize(v_init)
            if not self._is_begun:
                self._sample(stop=stop)
            now = self._clock.time
            self._check_time(now)
            if self._spikes:
                self._spikes.check()
            everies = [schedule.every for _, _, schedule in self._sampled]
            if None in everies and any(everies):
                self._hook.arm()  # Steps of CVode would miss the times of the other variables.
            while self._clock.is_before(stop, now):
                self._advance(now, stop)
                now = self._sample()
        finally:
            self._is_driving = False
        if self._spikes:
            self._spikes.check()
        self._hook.arm()

    def sample(self) -> None:
        """Record the variables that are due at the current time.

        Values are recorded at each step that NEURON makes, so this is needed only with the variable
        steps of CVode and ``every=None``, or after states are set that the first sample should
        have.

        Raises
        ------
        RecordingError
            If a variable was due before, the model has changed, or its time has gone back.
        WriteError
            If the file cannot be written.

        """
        self._check_open()
        self._is_initialized = True
        self._sample()
        self._hook.arm()

    def flush(self) -> None:
        """Write the recorded data, so that the file can be read up to the current time.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self._spikes and self._n_samples:
            self._spikes.check()
        self._add_spikes()
        self._file.flush()
        self._last_flush = time.monotonic()

    def finish(self, error: BaseException | None = None) -> BaseException | None:
        """End the recording and store the last spikes; called when the block ends.

        ``error`` is what the block raised. Return the error with which the recording ends.
        """
        self._hook.close()
        try:
            try:
                self._end_spikes()
            except RecordingError as incomplete:
                error = error or incomplete
            if self._is_empty:
                self._file.discard()
            else:
                self._note_changes()
            error = self._failure or error
            if error is None:
                self._sample_end()
                return self._incomplete()
            return error
        finally:
            # The recorder may outlive the model, which it must not keep.
            if self._steps is not None:
                self._steps.close()
            self._clock.close()
            self._sampled, self._held, self._spikes, self._steps = [], [], None, None
            self._section, self._failure, self._is_closed = None, None, True

    # What the hook calls

    def initializing(self) -> None:
        """Refuse a second run."""
        if self._is_begun:
            msg = (
                f"finitialize() was called at {self._last:g} ms, after values were recorded; a "
                "file has one run: record each trial, with record(), into a file of its own"
            )
            raise RecordingError(msg)
        self._clock.check_method()
        self._watch_steps()

    def initialized(self) -> None:
        """Keep the initial values, and follow the run."""
        self._is_initialized, self._origin = True, self._clock.time
        if not self._is_driving:
            self._hold()
            self._hook.arm()

    def due(self, time: float) -> float | None:
        """Return when ``advanced`` is to be called next."""
        times = [schedule.next for _, _, schedule in self._sampled]
        known = [due for due in times if due is not None and math.isfinite(due)]
        if self._spikes and None not in times:
            if not self._is_begun:
                known.append(0.0)
            elif not known:
                known.append(time + self._interval)
        if not known:
            return None
        if self._clock.is_now_fixed:
            known.append(time + _MOST_STEPS * self._clock.step_size)
        return min(known) if self._is_begun else max(min(known), time)

    def advanced(self) -> None:
        """Record what is due at the end of a step, and before the first sample also its start."""
        now, is_fixed = self._clock.time, self._clock.is_now_fixed
        if not self._is_begun:
            first = min([0.0, *(schedule.first for _, _, schedule in self._sampled)])
            slack = self._clock.step_size / 4 if is_fixed else self._clock.slack
            before = now - self._clock.step_size
            if now < first - slack:
                self._hold()
                return
            is_known = self._steps is not None and self._steps.are_from(before, slack)
            if is_fixed and is_known and before >= first - slack:
                held = self._held
                self._begin(before)
                self._append(before, held)
        self._sample(is_event=True)

    def failed(self, error: BaseException) -> None:
        """Keep the error of a method that NEURON called, and end the recording."""
        self._failure = self._failure or error
        self._hook.close()
        with suppress(RecordingError):
            self._end_spikes()

    # The steps of recording

    def _initialize(self, v_init: float | None) -> None:
        self._clock.initialize(v_init)
        if not self._is_initialized:  # An init of hoc that does not call finitialize.
            self._clock.finitialize(v_init)

    def _advance(self, now: float, stop: float) -> None:
        """Simulate until the next time at which something is due."""
        schedules = [schedule for _, _, schedule in self._sampled]
        until = next_time(schedules, stop)
        if until is None:
            self._clock.step()
            return
        if self._spikes and (self._clock.is_fixed or not schedules):
            until = min(until, now + max(self._interval, self._clock.dt))
        if self._clock.is_fixed:
            until = min(until, now + _MOST_STEPS * self._clock.dt)
        self._clock.advance(until)

    @property
    def _interval(self) -> float:
        """The interval (ms) at which it is tested whether spikes are to be written."""
        return _COLLECT_FIXED if self._clock.is_now_fixed else _COLLECT_CVODE

    def _watch_steps(self) -> None:
        """Record the times of fixed steps in NEURON; CVode would crash if the vector is removed."""
        if not self._clock.is_now_fixed:
            if self._steps is not None:
                self._steps.close()
            self._steps = None
        elif self._steps is None:
            self._steps = _Steps(self._h, self._clock.cvode, self._section)

    def _hold(self) -> None:
        """Keep the current values, which are recorded if a run begins from here."""
        self._check_model()
        self._held = [gatherer.values().copy() for _, gatherer, _ in self._sampled]
        if self._steps is not None:
            self._steps.hold(self._clock.time)

    def _begin(self, time: float, stop: float | None = None) -> None:
        """Take over the parameters of the run, which are those of its first sample."""
        self._clock.begin()
        for _, _, schedule in self._sampled:
            schedule.begin(time)
        self._run = _run_facts(self._h, self._clock)
        times = {name: schedule.times for name, _, schedule in self._sampled}
        self._file.describe(
            self._run, {name: known for name, known in times.items() if known is not None}
        )
        if stop is not None:
            self._file.expect({name: known.count(stop) for name, _, known in self._sampled})
        self._held, self._is_begun, self._last = [], True, time
        if self._steps is not None:
            self._steps.begin(time)
        if self._spikes:
            self._spikes.check(since=time)

    def _check_model(self) -> None:
        """Check that the model is as before; find its values again if NEURON has moved them."""
        if self._clock.check():
            for _, gatherer, _ in self._sampled:
                gatherer.update()

    def _sample(self, *, is_event: bool = False, stop: float | None = None) -> float:
        """Record what is due now, and return the time.

        An event is no step of CVode, and a run ends at ``stop``.
        """
        self._check_model()
        now = self._clock.time
        if not self._is_driving:
            self._check_time(now)
        if not self._is_begun:
            self._begin(now, stop)
        self._append(now, None, is_event=is_event)
        self._n_samples += 1
        if self._n_samples % _SAMPLES_PER_CHECK == 0 or not self._sampled:
            self._check_time(now)
            if self._is_flush_due():
                self.flush()
        return now

    def _sample_end(self) -> None:
        """Record what is due at the last time of CVode, which ends before events at that time."""
        now = self._clock.time
        self._check_time(now)
        due = [schedule.next for _, _, schedule in self._sampled]
        if (
            self._is_begun
            and not self._clock.is_fixed
            and any(time is not None and time <= now + self._clock.slack for time in due)
        ):
            self._sample(is_event=True)

    def _check_time(self, now: float) -> None:
        """Refuse a time that has gone back."""
        if not self._is_begun:
            return
        after = None if self._steps is None else self._steps.descent(self._clock.slack)
        if now < self._last - self._clock.slack:
            after = self._last
        if after is not None:
            msg = (
                f"the time went back after {after:g} ms, and is {now:g} ms; a file has one run: "
                "record each trial, and what follows a restored state, into a file of its own"
            )
            raise RecordingError(msg)

    def _append(
        self, now: float, held: list[NDArray[np.float64]] | None, *, is_event: bool = False
    ) -> None:
        """Append the current values that are due, or those ``held``."""
        for number, (name, gatherer, schedule) in enumerate(self._sampled):
            if is_event and schedule.every is None:
                continue
            if schedule.is_due(now):
                values = gatherer.values() if held is None else held[number]
                times = now / 1000.0 if schedule.every is None else None
                self._file.append(name, values, times)
                self._n_rows += 1
        self._last = now

    @property
    def _is_empty(self) -> bool:
        """True if nothing was recorded; spikes are, even if there are none."""
        return not self._n_rows and not (self._has_spikes and self._n_samples)

    def _incomplete(self) -> BaseException | None:
        """Return an error if the model has run without being recorded; warn if it has not run."""
        now = self._clock.time
        if self._is_empty and now == self._origin:
            msg = "the model has not run, so nothing was recorded and no file is written"
            warnings.warn(msg, SimulationOutputWarning, stacklevel=5)
            return None
        late = [
            name for name, _, schedule in self._sampled if now < schedule.first - self._clock.slack
        ]
        if self._is_empty:
            found = f"nothing was recorded, although the time went from {self._origin:g}"
            if late:
                msg = f"{found} to {now:g} ms: the start of {', '.join(late)} is later"
                return RecordingError(msg)
            for _, _, schedule in self._sampled:
                schedule.check_method()
        else:
            if late:
                msg = f"the run ended at {now:g} ms, before the start of {', '.join(late)}"
                warnings.warn(msg, SimulationOutputWarning, stacklevel=5)
            behind = [name for name, _, schedule in self._sampled if schedule.is_behind(now)]
            if not behind:
                return None
            found = f"{', '.join(behind)} was recorded until {self._last:g} ms, and the time went"
        return RecordingError(
            f"{found} to {now:g} ms; call sample() after a state is restored, use recorder.run() "
            "in CoreNEURON, and recorder.run() or sample() after each step if each step of CVode "
            "is recorded"
        )

    def _note_changes(self) -> None:
        """Tell of parameters that have changed since the first sample, which the file has."""
        now = _run_facts(self._h, self._clock)
        for name, unit in (("temperature", " degrees Celsius"), ("seed", "")):
            first, last = getattr(self._run, name), getattr(now, name)
            if first != last:
                note = (
                    f"the {name} was {first}{unit} at the first sample and {last}{unit} at the end"
                )
                self._file.add_note(note)
                warnings.warn(note, SimulationOutputWarning, stacklevel=5)

    def _check_open(self) -> None:
        """Check that the block has not ended, and that nothing has failed in a call of NEURON."""
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            msg = "the recording has ended with its block"
            raise RecordingError(msg)

    def _add_spikes(self) -> None:
        for spikes in self._spikes.new_spikes() if self._spikes else ():
            self._file.add_spikes(spikes)

    def _end_spikes(self) -> None:
        """Stop recording spikes and store the last ones."""
        try:
            if self._spikes:
                self._spikes.stop()
        finally:
            if self._is_begun:
                self._add_spikes()
            self._spikes = None

    def _is_flush_due(self) -> bool:
        """Return True if ``flush_every`` has passed, the same on all ranks."""
        is_due = time.monotonic() - self._last_flush > self._flush_every
        return bool(self._file.broadcast(is_due))


class _Steps:
    """The time steps since they were last looked at, recorded by NEURON itself."""

    def __init__(self, h: Any, cvode: Any, section: Any) -> None:
        self._cvode = cvode
        section = next(iter(h.allsec()), None) if section is None else section
        self._segment: Any = None
        self._times, self._potentials = h.Vector(), h.Vector()
        if section is not None:  # Without sections NEURON records no time.
            self._segment = section(0.5)
            self._times.record(h._ref_t, sec=section)  # noqa: SLF001 - NEURON's
            self._potentials.record(self._segment._ref_v, sec=section)  # noqa: SLF001 - NEURON's
        self._held, self._last = (0.0, 0.0), float("-inf")

    def close(self) -> None:
        """Stop NEURON's record of the steps."""
        for vector in (self._times, self._potentials):
            self._cvode.record_remove(vector)
        self._segment = None

    def hold(self, time: float) -> None:
        """Note that a run may begin from ``time``."""
        self._held = (time, 0.0 if self._segment is None else self._segment.v)

    def are_from(self, time: float, slack: float) -> bool:
        """Return True if there was one step since ``hold``, at ``time``, and no other change.

        An initialization may make steps of its own, and begin the vectors of NEURON anew.
        """
        held, potential = self._held
        if abs(held - time) > slack:
            return False
        if not self._times.size():  # NEURON records from finitialize on.
            return True
        return bool(self._times.size() == 2 and self._potentials[0] == potential)

    def begin(self, time: float) -> None:
        """Note that the run begins at ``time``."""
        self._last = time
        self._forget()

    def descent(self, slack: float) -> float | None:
        """Return the first time after which the time went back, or None; forget the steps."""
        if not self._times.size():
            return None
        times = np.append(self._last, np.array(self._times))
        self._last = float(times[-1])
        self._forget()
        (found,) = np.nonzero(np.diff(times) < -slack)
        return float(times[found[0]]) if len(found) else None

    def _forget(self) -> None:
        self._times.resize(0)
        self._potentials.resize(0)


def _with_sections(populations: Iterable[Population], team: Team) -> list[Population]:
    """Return the populations without those whose cells are artificial on all ranks."""
    of_ranks = team.allgather(
        {
            population.name: any(cell.sections for cell in population.cells)
            for population in populations
            if population.cells
        }
    )
    return [
        population
        for population in populations
        if any(of_rank.get(population.name, False) for of_rank in of_ranks)
        or not any(population.name in of_rank for of_rank in of_ranks)
    ]


def _report(
    recorded: RecordedVariable, schedule: Schedule, table: CompartmentTable
) -> StreamedReport:
    variable = recorded.variable
    return StreamedReport(
        recorded.name,
        table,
        rate=None if schedule.times is None else schedule.times[1],
        unit=recorded.unit,
        start=0.0 if schedule.times is None else schedule.times[0],
        dtype=variable.dtype,
        variable=variable.name,
    )


def _with_equal_columns(tables: Sequence[CompartmentTable], team: Team) -> list[CompartmentTable]:
    """Return tables with the same columns on all ranks; unknown values are NaN."""
    names = team.allgather([sorted(table.columns) for table in tables])
    all_columns = [set().union(*of_ranks) for of_ranks in zip(*names, strict=True)]
    completed = []
    for table, columns in zip(tables, all_columns, strict=True):
        unknown = dict.fromkeys(columns - set(table.columns), np.full(table.n_compartments, np.nan))
        completed.append(replace(table, columns={**unknown, **table.columns}))
    return completed


def _check_found(found: Sequence[RecordedVariable], team: Team) -> None:
    """Check that each variable has a compartment on any rank; warn of unknown units."""
    counts = team.allgather([recorded.table.n_compartments for recorded in found])
    for number, recorded in enumerate(found):
        name = recorded.variable.name
        if not any(of_rank[number] for of_rank in counts):
            msg = (
                f"no section of the recorded cells has {name}; expected a range variable (v, ina, "
                "gna_hh) or a variable of a point process (ExpSyn.g) that is inserted"
            )
            raise RecordingError(msg)
        if team.rank == 0 and not recorded.unit.known and recorded.variable.unit is None:
            msg = (
                f"NEURON has no known unit of {name}; stored as 'unknown'; set it with "
                f"Variable({name!r}, unit=…), '1' for none"
            )
            warnings.warn(msg, UnitWarning, stacklevel=4)
