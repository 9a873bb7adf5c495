"""Write an NWB file while a simulation runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputError
from ndx_simulation_output.files import check_target, naming_target
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.recover import Skeleton, recover
from ndx_simulation_output.recording import Run, Spikes, StreamedReport
from ndx_simulation_output.storage.growing import (
    Growing,
    Owned,
    Spool,
    Stamps,
    Streamed,
    plan_streamed,
    read_spools,
    spools_of,
)
from ndx_simulation_output.storage.journaled import Journaled, journaled_hdf5
from ndx_simulation_output.storage.layout import Storage
from ndx_simulation_output.storage.mpi import Communicator, Team, together

__all__ = ["CallersError", "Stream", "packed", "stream", "unpacked"]

# Errors that a caller raises in a block of ours, told from our own.


class CallersError(SimulationOutputError):
    """Takes an error of the caller past those who would blame the file for it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def packed() -> Iterator[None]:
    """Pack what the caller raises in the block."""
    try:
        yield
    except Exception as error:
        raise CallersError(error) from error


@contextmanager
def unpacked() -> Iterator[None]:
    """Raise what was packed in the block as it was."""
    try:
        yield
    except CallersError as caught:
        raise caught.error from caught.error.__cause__


# Write an NWB file while a simulation runs.


@contextmanager
def stream(
    target: str | Path,
    reports: Sequence[StreamedReport],
    *,
    run: Run = Run(),  # noqa: B008 - frozen
    metadata: str | Path | Mapping[str, Any] | None = None,
    storage: Storage = Storage(),  # noqa: B008
    workers: int | None = None,
    overwrite: bool = False,
    keep: bool = False,
    comm: Communicator | None = None,
) -> Iterator["Stream"]:
    """Give an NWB file to which values are appended. It gets its name when the block ends well.

    If the process dies before, ``ndx_simulation_output.nwb.recover.recover`` makes the file of
    all that was flushed.

    Parameters
    ----------
    target
        The NWB file to write.
    reports
        What will be recorded. Under MPI each rank gives the same reports, each with the table of
        its own cells: those of rank 0 come first in the file, then those of rank 1, and so on.
    run
        How the simulation is run.
    metadata
        Session and subject as a dict or YAML file with the sections ``NWBFile``, ``Subject`` and
        ``SimulationMetaData``.
    storage
        How data are stored. Its memory bounds what is buffered on each rank: a row of chunks of
        each report.
    workers
        How many threads work, none for 0; by default one for each processor.
    overwrite
        Whether an existing target is replaced.
    keep
        Whether the file gets its name, with all that was appended, when the block raises too; the
        error goes on. Under MPI it is all that was flushed. If the file cannot be written, what
        was flushed can be recovered as if the process had died. By default nothing is left.
    comm
        An mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``, all of whose ranks enter the
        block and append the same number of time steps, in the same order of reports.

    Raises
    ------
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    ShapeMismatchError
        If a report has no compartments, or ranks give different reports.
    NameClashError
        If two reports have the same name.
    LayoutError
        If data cannot be stored as asked.
    MetadataError
        If the metadata do not fit NWB.
    WriteError
        If the target cannot be written. An existing one is then as it was.
    RankError
        If another rank fails.

    Example
    -------
    >>> with stream("run.nwb", [StreamedReport("v", table, rate=1e4)]) as file:  # doctest: +SKIP
    ...     for values in simulation:
    ...         file.append("v", values)

    """
    target, left = Path(target), list[Path]()
    with _recovering(left, target, overwrite=overwrite), together(comm) as team:
        check_target(target, overwrite=overwrite)
        sections = read_metadata(metadata)
        plan = plan_streamed(reports, storage, team)
        whole = (
            journaled_hdf5(target, overwrite=overwrite, keep=keep)
            if team.rank == 0
            else nullcontext((None, None))
        )
        failure: BaseException | None = None
        with unpacked(), whole as (file, journaled):
            skeleton = None if file is None else Skeleton(file, plan, run, sections)
            made = Stream(target, plan, skeleton, journaled, team, workers)
            if keep and team.size > 1 and team.rank == 0:
                left.append(made.path)
            with made.ending(keep=keep):
                try:
                    with packed():
                        yield made
                except BaseException as error:
                    if not keep or team.size > 1 or isinstance(error, GeneratorExit):
                        raise
                    failure = error
                made.finish()
        if failure is not None:
            with unpacked():
                raise failure


class Stream:
    """An NWB file to which values are appended; :func:`stream` makes it.

    ``path`` is where the file is until the block ends: there, others can read what was flushed.
    """

    def __init__(
        self,
        target: Path,
        plan: Streamed,
        skeleton: Skeleton | None,
        journaled: Journaled | None,
        team: Team,
        workers: int | None,
    ) -> None:
        self.path: Path = team.tell(None if skeleton is None else skeleton.path)
        self._target, self._skeleton, self._team = target, skeleton, team
        self._journaled = journaled
        self._spool = Spool(self.path, team.rank)
        self._is_open, self._is_flushed = True, False
        self._matrices = {
            report.name: Growing(
                report.name,
                layout,
                np.dtype(report.dtype),
                team,
                owned=Owned(starts, (layout.chunks or (1, 1))[1], team.rank),
                dataset=None if skeleton is None else skeleton.datasets[number],
                path=self.path,
                workers=team.workers if workers is None else workers,
                cede=None if journaled is None else journaled.cede,
            )
            for number, (report, layout, starts) in enumerate(
                zip(plan.reports, plan.layouts, plan.starts, strict=True)
            )
        }
        self._stamps = {
            report.name: Stamps(report.name, None if skeleton is None else skeleton.stamps[number])
            for number, report in enumerate(plan.reports)
            if report.rate is None
        }
        self._commit()

    def append(self, name: str, values: ArrayLike, times: ArrayLike | None = None) -> None:
        """Append the values of one time step, shape (compartment,), or some, (time, compartment).

        They are of the unit of the report ``name``. Under MPI, a rank's compartments are its own.
        ``times`` (s), shape () or (time,), are given if the report has no rate, and only then: they
        ascend, and are the same on all ranks.

        Raises
        ------
        KeyError
            If there is no report of this name.
        SimulationOutputError
            If the block has ended.
        ShapeMismatchError
            If the values do not fit the compartments, times are not given as described, or ranks
            are not at the same time step.
        TypeError
            If the values cannot be of the type of the report.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        if name not in self._matrices:
            msg = f"no report {name!r}; there are: {', '.join(self._matrices) or 'none'}"
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
            msg = f"values for {name!r} are {rows.dtype}; expected what can be {matrix.dtype}"
            raise TypeError(msg)
        rows, stamps = np.atleast_2d(rows), self._stamps.get(name)
        if stamps is None and times is not None:
            msg = f"times are given for {name!r}, which has a rate; expected values alone"
            raise ShapeMismatchError(msg)
        moments = None if stamps is None else stamps.checked(times, len(rows))
        with naming_target(self._target):
            if stamps is not None and moments is not None:
                stamps.append(moments, matrix.rows)
            matrix.append(rows)
            if self._journaled is not None:
                self._journaled.settle()
                self._journaled.check()

    def add_spikes(self, spikes: Spikes) -> None:
        """Add spikes of a population, on any rank and in any order.

        They wait in a file beside that at ``path``, and are written into it at the end.

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
        with naming_target(self._target):
            self._spool.add(spikes)

    def flush(self) -> None:
        """Write all that was appended, so that the file at ``path`` can be read as it is.

        If the process dies later, all of it can be recovered. A row of chunks that is not full is
        written again when it is, so this is for now and then, not for each time step.

        Raises
        ------
        SimulationOutputError
            If the block has ended.
        ShapeMismatchError
            If ranks are not at the same time step, or gave other times.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        with naming_target(self._target):
            self._check_stamps()
            for name, matrix in self._matrices.items():
                matrix.flush()
                if name in self._stamps:
                    self._stamps[name].flush(matrix.rows)
            self._spool.flush()
            self._is_flushed = True
            # What all ranks have written is there before it is committed.
            self._team.agree()
            self._commit()
            self._team.agree()

    def finish(self) -> None:
        """Write what is left. The block calls this when it ends."""
        self.flush()
        if self._skeleton is not None:
            with naming_target(self._target):
                spikes = read_spools(spools_of(self.path))
            if spikes:
                self._skeleton.add_units(spikes)
        self._team.agree()

    @contextmanager
    def ending(self, *, keep: bool) -> Iterator[None]:
        """Let go of the file after the block, written or not, and of spikes nobody will recover."""
        try:
            yield
        except BaseException:
            if not (keep and self._is_flushed):
                self._spool.remove()
            raise
        finally:
            self._spool.close()
            self._is_open, self._matrices, self._stamps = False, {}, {}
            self._skeleton = self._journaled = None

    def _commit(self) -> None:
        if self._skeleton is not None and self._journaled is not None:
            self._skeleton.file.flush()
            self._journaled.commit()

    def _check_stamps(self) -> None:
        """Refuse ranks that gave other times."""
        last = {name: stamps.last for name, stamps in self._stamps.items()}
        first, *others = self._team.agree(last) if last else [last]
        for rank, times in enumerate(others, start=1):
            if times != first:
                msg = f"rank {rank} is at the times {times} s; expected those of rank 0, {first}"
                raise ShapeMismatchError(msg)

    def _check_open(self) -> None:
        if not self._is_open:
            msg = f"the file {self._target} is complete; nothing can be appended to it"
            raise SimulationOutputError(msg)


@contextmanager
def _recovering(left: list[Path], target: Path, *, overwrite: bool) -> Iterator[None]:
    """Make whole what is left when a rank has failed, and all have let go of it."""
    try:
        yield
    except BaseException:
        for partial in left:
            with suppress(SimulationOutputError):
                recover(partial, target, overwrite=overwrite)
        raise
