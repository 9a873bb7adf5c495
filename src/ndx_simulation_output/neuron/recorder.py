"""Record a running NEURON simulation into an NWB file."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.neuron.cells import SpikeRecorder, find_populations
from ndx_simulation_output.neuron.clock import Clock, Schedule, next_time
from ndx_simulation_output.neuron.variables import (
    Gathered,
    Recorded,
    Variable,
    find_variable,
    variables_of,
    warn_of_unknown_unit,
)
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.stream import Stream, stream
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import CompartmentTable, Run, StreamedReport
from ndx_simulation_output.storage.layout import StorageOptions
from ndx_simulation_output.storage.mpi import Communicator, Team, together

__all__ = ["Recorder", "Variable", "record"]

# Record a running NEURON simulation straight into an NWB file.

_MEMORY = 2**25
_LOOKS = 16
"""Samples between two looks at the clock on the wall."""


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
    """Record a NEURON model while it runs; the file gets its name when the block ends.

    It does so too when the block ends with an error: what was recorded until then is kept. If the
    process dies, ``ndx-sim recover`` makes the file of what was flushed.

    The model must be complete, and is only looked at. Values are those of the moment: of a current,
    NEURON holds the one with which it computed the time step.

    Parameters
    ----------
    target
        The NWB file to write.
    sections
        The sections to record, such as ``h.allsec()``; all where it is None.
    variables
        Names of variables of NEURON, or :class:`Variable` where one is recorded otherwise than the
        rest. Each becomes a series of the compartments that have it.
    every
        Interval in ms: a multiple of ``h.dt``, or anything under CVode. Where it is None each time
        step is recorded, those of CVode with their own times.
    cells
        Ids of cells: nothing (counted from 0), gids of the ``ParallelContext``, a dict
        ``{id: cell}``, or a dict ``{population: gids or {id: cell}}``. A cell is an object that has
        sections, or a list of sections.
    population
        Name of the population, if ``cells`` does not tell it.
    spikes
        True for those of the gids of the ``ParallelContext``, a threshold in mV for the middle of
        the first section of each cell, or a dict ``{id: NetCon}``.
    dtype
        Type of the stored values; NEURON's own is ``f8``, and ``f4`` takes half the room.
    flush_every
        Seconds after which the file is brought up to date: more is not lost if this process dies.
    metadata
        Session and subject as a dict or YAML file, as for ``convert``.
    storage
        How data are stored; its memory bounds what is buffered.
    workers
        How many threads write, none for 0.
    overwrite
        Whether an existing target is replaced.
    comm
        An mpi4py communicator, all of whose ranks record their own cells into the one file.

    Raises
    ------
    RecordingError
        If the model cannot be recorded so, or values would be wrong.
    MissingDependencyError
        If NEURON is not installed.
    UnitError
        If a unit is not understood.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
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
        found = [
            (recorded, Schedule(variable, clock))
            for variable in variables_of(variables, every, dtype)
            for recorded in find_variable(h, variable, populations)
        ]
        tables = _alike([recorded.table for recorded, _ in found], team)
        _check_found(found, team)
        taken = SpikeRecorder(h, populations, spikes) if spikes is not False else None
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
            gathered = [
                (recorded.name, Gathered(h, recorded.pointers, table.n_compartments), schedule)
                for (recorded, schedule), table in zip(found, tables, strict=True)
            ]
            # A large model has many compartments, and they are no longer needed.
            del found, tables, reports
            recorder = Recorder(file, clock, gathered, taken, team, flush_every)
            try:
                yield recorder
            finally:
                recorder.finish()


class Recorder:
    """Takes values of a running model; :func:`record` makes it."""

    def __init__(
        self,
        file: Stream,
        clock: Clock,
        gathered: Sequence[tuple[str, Gathered, Schedule]],
        spikes: SpikeRecorder | None,
        team: Team,
        flush_every: float,
    ) -> None:
        self._file, self._clock, self._gathered = file, clock, gathered
        self._spikes, self._team, self._flush_every = spikes, team, flush_every
        self._flushed, self._samples = time.monotonic(), 0
        self._begun = False
        if self._spikes:
            self._spikes.start()

    @property
    def path(self) -> Path:
        """Where the file is until the block ends; others may read it after each flush."""
        return self._file.path

    def run(self, stop: float, *, v_init: float | None = None) -> None:
        """Simulate until ``stop`` (ms), or the last time step before it, and record.

        The first call begins the simulation (``finitialize``) at ``v_init`` (mV), or the ``v_init``
        of NEURON's standard run system, -65 without it; further calls go on, and so does the first
        after ``sample``.

        Raises
        ------
        RecordingError
            If the model has changed.
        WriteError
            If the file cannot be written.

        """
        if not self._begun:
            self._clock.initialize(v_init)
            self.sample()
        schedules = [schedule for _, _, schedule in self._gathered]
        while self._clock.is_before(stop):
            until = next_time(schedules, stop)
            if until is None:
                self._clock.step()
            else:
                self._clock.advance(until)
            self.sample()

    def sample(self) -> None:
        """Take what is to be taken at this time; for loops of the caller's own.

        Call it after ``finitialize`` and after each time step: after ``fadvance``, or ``psolve`` to
        a time at which something is to be taken.

        Raises
        ------
        RecordingError
            If something should have been taken before, or the model has changed.
        WriteError
            If the file cannot be written.

        """
        self._begun = True
        self._clock.check()
        now = self._clock.time
        for name, gathered, schedule in self._gathered:
            if schedule.is_due(now):
                times = now / 1000.0 if schedule.every is None else None
                self._file.append(name, gathered.values(), times)
        self._samples += 1
        if self._samples % _LOOKS == 0 and self._is_time():
            self.flush()

    def flush(self) -> None:
        """Bring the file up to date, so that it can be read to this point.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        self._take_spikes()
        self._file.flush()
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Take what is left. The block calls this when it ends."""
        if self._spikes:
            self._spikes.stop()
        self._take_spikes()

    def _take_spikes(self) -> None:
        for spikes in self._spikes.taken() if self._spikes else ():
            self._file.add_spikes(spikes)

    def _is_time(self) -> bool:
        """Whether the file should be brought up to date; the same on all ranks."""
        late = time.monotonic() - self._flushed > self._flush_every
        return bool(self._team.tell(late if self._team.rank == 0 else None))


def _report(recorded: Recorded, schedule: Schedule, table: CompartmentTable) -> StreamedReport:
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


def _alike(tables: Sequence[CompartmentTable], team: Team) -> list[CompartmentTable]:
    """Give tables the columns that those of other ranks have; what is not known is NaN or empty."""
    names = team.agree([sorted(table.columns) for table in tables])
    wanted = [set().union(*of_ranks) for of_ranks in zip(*names, strict=True)]
    return [
        replace(table, columns={**_unknown(table, columns), **table.columns})
        for table, columns in zip(tables, wanted, strict=True)
    ]


def _unknown(table: CompartmentTable, columns: set[str]) -> dict[str, Any]:
    return {name: np.full(table.n_compartments, np.nan) for name in columns - set(table.columns)}


def _check_found(found: Sequence[tuple[Recorded, Schedule]], team: Team) -> None:
    """Refuse variables that no section of any rank has."""
    counts = team.agree([recorded.table.n_compartments for recorded, _ in found])
    for number, (recorded, _) in enumerate(found):
        if not any(of_rank[number] for of_rank in counts):
            msg = (
                f"no section of the recorded cells has {recorded.variable.name}: is the name that "
                "of a range variable (v, ina, gna_hh) or point process (ExpSyn.g), and inserted?"
            )
            raise RecordingError(msg)
        if team.rank == 0:
            warn_of_unknown_unit(recorded)
