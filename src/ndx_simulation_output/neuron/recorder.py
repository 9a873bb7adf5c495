"""Record a running NEURON simulation into an NWB file."""

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ndx_simulation_output.errors import RecordingError, UnitWarning
from ndx_simulation_output.neuron.cells import Population, find_populations
from ndx_simulation_output.neuron.clock import Clock, Schedule, next_time
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


@contextmanager
def record(
    target: str | Path,
    *,
    sections: Iterable[Any] | None = None,
    variables: Sequence[str | Variable] = ("v",),
    every: float | None = None,
    cells: Any = None,
    population: str = "cells",
    spikes: bool | float | Mapping[int, Any] = False,
    dtype: DTypeLike = "f8",
    flush_every: float = 10.0,
    metadata: str | Path | Mapping[str, Any] | None = None,
    storage: StorageOptions = StorageOptions(memory=_MEMORY),  # noqa: B008 - frozen
    workers: int | None = None,
    overwrite: bool = False,
    comm: Communicator | None = None,
) -> Iterator["Recorder"]:
    """Record a NEURON model while it runs; the file is at ``target`` when the block ends.

    If the block raises, the data recorded until then are stored. If the process dies,
    ``ndx-sim recover`` restores the data of the last flush.

    The model must be complete and is not changed. Recorded currents are those with which NEURON
    computed the time step.

    Parameters
    ----------
    target
        The NWB file to write.
    sections
        The sections to record, such as ``h.allsec()``; by default all.
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
    population
        Name of the population, unless it is in ``cells``.
    spikes
        True for the spikes of the gids of the ``ParallelContext``, a threshold in mV in the middle
        of the first section of each cell, or a dict ``{id: NetCon or artificial cell}``, or
        ``{population: {id: NetCon or artificial cell}}``. What others record from the same cells
        is not affected.
    dtype
        Dtype of the stored values: ``f8`` as in NEURON, or ``f4`` with half the size.
    flush_every
        Seconds between two flushes: if the process dies, values since the last one are lost.
    metadata
        Session and subject as a dict or YAML file, as in ``convert``.
    storage
        How data are stored; its memory limits the buffers.
    workers
        Number of threads; 0 for none. The default is one for each processor.
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
    with together(comm) as team:
        clock = Clock(h)
        populations = find_populations(h, sections, cells, population)
        chosen = [
            Variable(variable, every=every, dtype=dtype) if isinstance(variable, str) else variable
            for variable in variables
        ]
        found = [
            (recorded, Schedule(variable, clock))
            for variable in chosen
            for recorded in find_variable(h, variable, _with_sections(populations, team))
        ]
        tables = _with_equal_columns([recorded.table for recorded, _ in found], team)
        _check_found([recorded for recorded, _ in found], team)
        recorded_spikes = spike_recorder(h, populations, spikes)
        reports = [
            _report(recorded, schedule, table)
            for (recorded, schedule), table in zip(found, tables, strict=True)
        ]
        run = Run("NEURON", str(h.nrnversion()), clock.dt / 1000, temperature=float(h.celsius))
        with stream(
            target,
            reports,
            run=run if clock.is_fixed else replace(run, time_step=None),
            metadata=read_metadata(metadata, starts_now=True),
            storage=storage,
            workers=workers,
            overwrite=overwrite,
            keep=True,
            comm=comm,
        ) as file:
            sampled = [
                (recorded.name, Gatherer(h, recorded.pointers, table.n_compartments), schedule)
                for (recorded, schedule), table in zip(found, tables, strict=True)
            ]
            # Free the tables, which may be large.
            del found, tables, reports
            recorder = Recorder(file, clock, sampled, recorded_spikes, team, flush_every)
            try:
                yield recorder
            finally:
                recorder.finish()


class Recorder:
    """Simulates and records a model; created by :func:`record`."""

    def __init__(
        self,
        file: Stream,
        clock: Clock,
        sampled: Sequence[tuple[str, Gatherer, Schedule]],
        spikes: SpikeRecorder | None,
        team: Team,
        flush_every: float,
    ) -> None:
        self._file, self._clock, self._sampled = file, clock, sampled
        self._spikes, self._team, self._flush_every = spikes, team, flush_every
        self._last_flush, self._n_samples = time.monotonic(), 0
        self._is_initialized = False
        if self._spikes:
            self._spikes.start()

    @property
    def path(self) -> Path:
        """The path of the file until the block ends; it can be read after each flush."""
        return self._file.path

    def run(self, stop: float, *, v_init: float | None = None) -> None:
        """Simulate until ``stop`` (ms), or the last time step before it, and record.

        The first call initializes the simulation (``finitialize``), unless ``sample`` was called
        before; each other call continues it.

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
            If the model has changed.
        WriteError
            If the file cannot be written.

        """
        if not self._is_initialized:
            self._clock.initialize(v_init)
            self.sample()
        if self._spikes:
            self._spikes.check()
        schedules = [schedule for _, _, schedule in self._sampled]
        while self._clock.is_before(stop):
            until = next_time(schedules, stop)
            if until is None:
                self._clock.step()
            else:
                self._clock.advance(until)
            self.sample()
        if self._spikes:
            self._spikes.check()

    def sample(self) -> None:
        """Record the variables that are due at the current time, in a simulation loop of your own.

        Call it after ``finitialize`` and after each time step: after ``fadvance``, or ``psolve`` to
        a time at which a variable is due.

        Raises
        ------
        RecordingError
            If a variable was due before, or the model has changed.
        WriteError
            If the file cannot be written.

        """
        self._is_initialized = True
        self._clock.check()
        if self._spikes and not self._n_samples:
            self._spikes.check()
        now = self._clock.time
        for name, gatherer, schedule in self._sampled:
            if schedule.is_due(now):
                times = now / 1000.0 if schedule.every is None else None
                self._file.append(name, gatherer.values(), times)
        self._n_samples += 1
        if self._n_samples % _SAMPLES_PER_CHECK == 0 and self._is_flush_due():
            self.flush()

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

    def finish(self) -> None:
        """Stop recording spikes and store the last ones; called when the block ends."""
        try:
            if self._spikes:
                self._spikes.stop()
        finally:
            self._add_spikes()

    def _add_spikes(self) -> None:
        for spikes in self._spikes.new_spikes() if self._spikes else ():
            self._file.add_spikes(spikes)

    def _is_flush_due(self) -> bool:
        """Return True if ``flush_every`` has passed, the same on all ranks."""
        is_due = time.monotonic() - self._last_flush > self._flush_every
        return bool(self._team.broadcast(is_due if self._team.rank == 0 else None))


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
        rate=schedule.rate,
        unit=recorded.unit,
        start=variable.start / 1000.0,
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
