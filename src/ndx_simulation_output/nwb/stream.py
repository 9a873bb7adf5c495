"""Write an NWB file while a simulation runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputError
from ndx_simulation_output.files import AtomicFile, check_target, write_errors
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.recover import recover
from ndx_simulation_output.nwb.spikes import write_units
from ndx_simulation_output.recording import Run, SimulationOutput, Spikes, StreamedReport
from ndx_simulation_output.recording.merging import join_notes
from ndx_simulation_output.storage.growing import (
    GrowingMatrix,
    GrowingTimes,
    RankColumns,
    SpikeSpool,
    StreamPlan,
    create_times,
    plan_stream,
    read_spike_spools,
    spike_spools,
)
from ndx_simulation_output.storage.journal import companion_files
from ndx_simulation_output.storage.journaled import JournaledFileObject, create_journaled
from ndx_simulation_output.storage.layout import StorageOptions
from ndx_simulation_output.storage.mpi import Communicator, Team, shared_arguments, together
from ndx_simulation_output.storage.writing import create_dataset, replace_dataset

__all__ = ["Stream", "stream"]

_UNITS = {"time_step": "seconds", "temperature": "degrees Celsius"}


@contextmanager
def stream(
    target: str | Path,
    reports: Sequence[StreamedReport],
    *,
    run: Run = Run(),  # noqa: B008 - frozen
    metadata: str | Path | Mapping[str, Any] | None = None,
    storage: StorageOptions = StorageOptions(),  # noqa: B008
    workers: int | None = None,
    overwrite: bool = False,
    keep: bool = False,
    comm: Communicator | None = None,
    patience: float | None = None,
) -> Iterator["Stream"]:
    """Open an NWB file to which values are appended; it is complete when the block ends.

    If the process dies earlier, :func:`ndx_simulation_output.nwb.recover.recover` recovers the data
    of the last flush.

    Parameters
    ----------
    target
        The NWB file to write.
    reports
        The reports to record. Under MPI, each rank has the same reports with the tables of its own
        cells; the file has the cells of rank 0 first, then those of rank 1, and so on.
    run
        Simulator, time step and other parameters of the run.
    metadata
        Session and subject as a dict or YAML file with the sections ``NWBFile``, ``Subject`` and
        ``SimulationMetaData``.
    storage
        Storage options. ``memory`` limits the buffers of each rank, which contain a row of chunks
        of each report.
    workers
        Number of threads that write, 0 for none; by default as many as help, see ``convert``.
    overwrite
        Replace an existing target.
    keep
        Write the target even if the block raises: with all appended values, or under MPI with all
        flushed values. The exception propagates. If the file cannot be written, the temporary file
        is not removed and can be recovered. By default no file is left.
    comm
        An mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``. All of its ranks enter the block
        with the same arguments, except for the cells of the tables, and append the same number of
        time steps, in the same order of reports.
    patience
        Seconds for which a rank that fails waits for the other ranks. They may wait for it in the
        communication of the simulator; it then prints its traceback and ends the MPI job. What was
        flushed can be recovered. By default it waits without end.

    Raises
    ------
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    ShapeMismatchError
        If a report has no compartments, or ranks have different reports.
    NameClashError
        If two reports have the same name.
    LayoutError
        If ``storage`` does not fit the data.
    MetadataError
        If the metadata do not fit NWB.
    WriteError
        If the target cannot be written; an existing target is not changed.
    RankError
        If another rank fails, or has another target, run, metadata or storage.

    Example
    -------
    >>> with stream("run.nwb", [StreamedReport("v", table, rate=1e4)]) as file:  # doctest: +SKIP
    ...     for values in simulation:
    ...         file.append("v", values)

    """
    target, partials = Path(target), list[Path]()
    with (
        _recover_on_failure(partials, target, overwrite=overwrite),
        together(comm, patience) as team,
    ):
        check_target(target, overwrite=overwrite)
        sections = read_metadata(metadata)
        shared = {f"run.{name}": value for name, value in asdict(run).items()}
        shared |= {"overwrite": overwrite, "keep": keep}
        team.check_same(shared_arguments(target, storage, sections) | shared)
        plan = plan_stream(reports, storage, team)
        created = (
            create_journaled(target, overwrite=overwrite, keep=keep)
            if team.rank == 0
            else nullcontext((None, None))
        )
        failure: BaseException | None = None
        with suppress(_DiscardedError), _unwrap_user_error(), created as (file, journaled):
            datasets = None if file is None else _Datasets(file, plan, run, sections)
            opened = Stream(target, plan, datasets, journaled, team, workers)
            if keep and team.size > 1 and team.rank == 0:
                partials.append(opened.path)
            with opened.closing(keep=keep):
                try:
                    yield opened
                except BaseException as error:
                    if opened.is_kept(keep) and not isinstance(error, GeneratorExit):
                        failure = error
                    elif isinstance(error, Exception):
                        raise _UserError(error) from error
                    else:
                        raise
                if opened.is_discarded:
                    raise _DiscardedError
                opened.finish()
        if failure is not None:
            raise failure


class Stream:
    """An NWB file to which values are appended, opened by :func:`stream`.

    ``path`` is the temporary file, from which flushed data can be read until the block ends.
    """

    def __init__(
        self,
        target: Path,
        plan: StreamPlan,
        datasets: "_Datasets | None",
        journaled: JournaledFileObject | None,
        team: Team,
        workers: int | None,
    ) -> None:
        self.path: Path = team.broadcast(None if datasets is None else datasets.path)
        self._target, self._datasets, self._team = target, datasets, team
        self._journaled = journaled
        self._spool = SpikeSpool(self.path, team.rank)
        self._is_open, self._is_flushed = True, False
        self.is_discarded = False
        self._plan, self._workers = plan, workers
        self._matrices = self._create_matrices()
        self._times = {
            report.name: GrowingTimes(
                report.name, None if datasets is None else datasets.times[number]
            )
            for number, report in enumerate(plan.reports)
            if report.rate is None
        }
        team.before_abort = self._remove_unflushed
        self._commit()

    def _create_matrices(self) -> dict[str, GrowingMatrix]:
        return {
            report.name: GrowingMatrix(
                report.name,
                layout,
                np.dtype(report.dtype),
                self._team,
                owned=RankColumns(starts, (layout.chunks or (1, 1))[1], self._team.rank),
                dataset=None if self._datasets is None else self._datasets.matrices[number],
                path=self.path,
                workers=self._team.workers_for(layout, self._workers),
                forget=None if self._journaled is None else self._journaled.forget,
            )
            for number, (report, layout, starts) in enumerate(
                zip(self._plan.reports, self._plan.layouts, self._plan.starts, strict=True)
            )
        }

    def append(self, name: str, values: ArrayLike, times: ArrayLike | None = None) -> None:
        """Append values of one time step, shape (compartment,), or several, (time, compartment).

        Values are in the unit of the report ``name``; under MPI, they are those of the compartments
        of the rank. ``times`` (s), shape () or (time,), are required if the report has no rate, and
        must ascend and be equal on all ranks.

        Raises
        ------
        KeyError
            If there is no report of this name.
        SimulationOutputError
            If the block has ended.
        ShapeMismatchError
            If the values do not fit the compartments, times are missing or not expected, or ranks
            are not at the same time step.
        TypeError
            If the values cannot be cast to the type of the report.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        if name not in self._matrices:
            msg = f"no report {name!r}; expected one of: {', '.join(self._matrices) or 'none'}"
            raise KeyError(msg)
        matrix = self._matrices[name]
        rows = np.asarray(values)
        if rows.shape[-1:] != (matrix.columns,) or rows.ndim > 2:
            msg = (
                f"values for {name!r} have shape {rows.shape}; expected (compartment,) or "
                f"(time, compartment) with {matrix.columns} compartments"
            )
            raise ShapeMismatchError(msg)
        if not np.can_cast(rows.dtype, matrix.dtype, "same_kind"):
            msg = f"values for {name!r} are {rows.dtype}, which cannot be cast to {matrix.dtype}"
            raise TypeError(msg)
        rows, growing_times = np.atleast_2d(rows), self._times.get(name)
        if growing_times is None and times is not None:
            msg = f"report {name!r} has a rate; expected no times"
            raise ShapeMismatchError(msg)
        seconds = None if growing_times is None else growing_times.checked(times, len(rows))
        with write_errors(self._target):
            if growing_times is not None and seconds is not None:
                growing_times.append(seconds, matrix.rows)
            matrix.append(rows)
            if self._journaled is not None:
                self._journaled.try_apply()
                self._journaled.check()

    def add_spikes(self, spikes: Spikes) -> None:
        """Add spikes of a population, on any rank and in any order.

        They are stored in a separate temporary file until the block ends.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        TypeError
            If their node ids are not integers.
        WriteError
            If they cannot be written.

        """
        self._check_open()
        with write_errors(self._target):
            self._spool.add(spikes)

    def describe(self, run: Run, times: Mapping[str, tuple[float, float]]) -> None:
        """Store parameters of the run, and start (s) and rate (Hz) of reports, known only now.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        WriteError
            If the file cannot be written.

        """
        self._check_open()
        if self._datasets is not None:
            with write_errors(self._target):
                self._datasets.describe(run)
                for number, name in enumerate(self._matrices):
                    if name in times:
                        self._datasets.set_times(number, *times[name])

    def expect(self, steps: Mapping[str, int]) -> None:
        """Fit the chunks of reports to the number of time steps that they will at least have.

        Called on all ranks, before anything is appended; otherwise nothing changes.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        fitted = self._plan.fitted(steps, self._team)
        if fitted.layouts == self._plan.layouts or any(
            matrix.rows for matrix in self._matrices.values()
        ):
            return
        self._plan = fitted
        if self._datasets is not None and self._journaled is not None:
            with write_errors(self._target):
                self._datasets.replace_matrices(fitted)
                # Chunks are written over nothing to which the last commit refers.
                self._commit()
                self._journaled.commits = 1  # There are no data to recover yet.
        self._matrices = self._create_matrices()

    def add_note(self, note: str) -> None:
        """Add a line to the notes of the file.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        WriteError
            If the file cannot be written.

        """
        self._check_open()
        if self._datasets is not None:
            with write_errors(self._target):
                self._datasets.add_note(note)

    def discard(self) -> None:
        """Leave the target as it was when the block ends."""
        self.is_discarded = True
        if self._journaled is not None:
            self._journaled.is_discarded = True

    def is_kept(self, keep: bool) -> bool:  # noqa: FBT001 - the option of stream
        """Return True if the target is written although the block raises."""
        return keep and self._team.size == 1 and not self.is_discarded

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0 on all ranks.

        Raises
        ------
        RankError
            If another rank fails.

        """
        return self._team.broadcast(value)

    def flush(self) -> None:
        """Write all buffered values, which can then be read from ``path``, and recovered.

        An incomplete row of chunks is written again when it is full, so flushing after each time
        step is slow.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        ShapeMismatchError
            If ranks are not at the same time step, or have appended different times.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        with write_errors(self._target):
            self._check_times_agree()
            for name, matrix in self._matrices.items():
                matrix.flush()
                if name in self._times:
                    self._times[name].flush(matrix.rows)
            self._spool.flush()
            self._is_flushed = True
            # All ranks have written before rank 0 commits.
            self._team.allgather()
            self._commit()
            self._team.allgather()

    def finish(self) -> None:
        """Write buffered values and spikes; called at the end of the block."""
        self.flush()
        if self._datasets is not None:
            with write_errors(self._target):
                spikes = read_spike_spools(spike_spools(self.path))
            if spikes:
                self._datasets.write_units(spikes)
        self._team.allgather()

    @contextmanager
    def closing(self, *, keep: bool) -> Iterator[None]:
        """Release the file after the block; remove spikes that cannot be recovered."""
        try:
            yield
        except BaseException:
            if not (keep and self._is_flushed) or self.is_discarded:
                self._spool.remove()
            raise
        finally:
            self._spool.close()
            self._is_open, self._matrices, self._times = False, {}, {}
            self._datasets = self._journaled = None

    def _remove_unflushed(self) -> None:
        """Remove the files of all ranks if there is nothing to recover."""
        if not self._is_flushed:
            for file in [*companion_files(self.path), self.path]:
                file.unlink(missing_ok=True)

    def _commit(self) -> None:
        if self._datasets is not None and self._journaled is not None:
            self._datasets.file.flush()
            self._journaled.commit()

    def _check_times_agree(self) -> None:
        last = {name: times.last for name, times in self._times.items()}
        first, *others = self._team.allgather(last) if last else [last]
        for rank, times in enumerate(others, start=1):
            if times != first:
                msg = f"rank {rank} is at the times {times} s; expected those of rank 0, {first}"
                raise ShapeMismatchError(msg)

    def _check_open(self) -> None:
        if not self._is_open:
            msg = f"the stream of {self._target} is closed; append only within its block"
            raise SimulationOutputError(msg)


class _Datasets:
    """The NWB file of a stream on rank 0, with empty datasets for the values of each report.

    ``times`` has None for reports with a rate.
    """

    def __init__(
        self,
        file: AtomicFile,
        plan: StreamPlan,
        run: Run,
        sections: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.file, self.path = file, Path(file.path)
        output = SimulationOutput(reports=tuple(report.empty for report in plan.reports), run=run)
        mapping = map_output(output, sections)
        self._nwbfile = mapping.nwbfile
        self._given = frozenset(sections.get("SimulationMetaData", {}))
        # The file is closed by atomic_hdf5, because NWBHDF5IO.close() fails on a full disk.
        self._io = NWBHDF5IO(mode="w", file=file)
        self._io.write(self._nwbfile)
        self.matrices = [matrix.dataset for matrix in mapping.pending]
        self.replace_matrices(plan)
        self.times = [
            replace_dataset(dataset.parent["timestamps"], create_times)
            if report.rate is None
            else None
            for dataset, report in zip(self.matrices, plan.reports, strict=True)
        ]

    def replace_matrices(self, plan: StreamPlan) -> None:
        """Replace the empty datasets of the values by those with the layouts of a plan."""
        self.matrices = [
            replace_dataset(
                dataset, partial(create_dataset, layout=layout, dtype=np.dtype(report.dtype))
            )
            for dataset, layout, report in zip(
                self.matrices, plan.layouts, plan.reports, strict=True
            )
        ]

    def describe(self, run: Run) -> None:
        """Store the time step, temperature and seed of a run, unless the metadata give them."""
        metadata = self._nwbfile.lab_meta_data["simulation"]
        group = self.file["general/simulation"]
        for name in ("time_step", "temperature", "seed"):
            value = getattr(run, name)
            if name in self._given or value == getattr(metadata, name):
                continue
            metadata.fields[name] = value
            if name in group:
                del group[name]
            if value is not None:
                group[name] = value
                if name in _UNITS:
                    group[name].attrs["unit"] = _UNITS[name]

    def set_times(self, number: int, start: float, rate: float) -> None:
        """Set the start (s) and rate (Hz) of a report."""
        starting_time = self.matrices[number].parent["starting_time"]
        starting_time[()] = start
        starting_time.attrs["rate"] = rate

    def add_note(self, note: str) -> None:
        general = self.file["general"]
        before = general["notes"].asstr()[()] if "notes" in general else ""
        if before:
            del general["notes"]
        general["notes"] = join_notes(before, note)

    def write_units(self, spikes: Sequence[Spikes]) -> None:
        write_units(self._io, self._nwbfile, spikes)


class _DiscardedError(Exception):
    """Ends a stream whose file is not wanted."""


class _UserError(SimulationOutputError):
    """Wraps an exception of the user's block, so that it is not re-raised as WriteError."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _unwrap_user_error() -> Iterator[None]:
    try:
        yield
    except _UserError as wrapper:
        raise wrapper.error from wrapper.error.__cause__


@contextmanager
def _recover_on_failure(partials: list[Path], target: Path, *, overwrite: bool) -> Iterator[None]:
    """Recover ``partials`` if the block raises, after all ranks have closed their files."""
    try:
        yield
    except BaseException:
        for path in partials:
            with suppress(SimulationOutputError):
                recover(path, target, overwrite=overwrite)
        raise
