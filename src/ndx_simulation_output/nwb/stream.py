"""Write an NWB file while a simulation runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pynwb import NWBHDF5IO

from ndx_simulation_output.engine.datasets import create_dataset, replace_dataset
from ndx_simulation_output.engine.growing import Growing, Owned
from ndx_simulation_output.engine.layout import Storage
from ndx_simulation_output.engine.streamed import Streamed, plan_streamed
from ndx_simulation_output.engine.team import Communicator, Team, together
from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputError
from ndx_simulation_output.files import WholeFile, check_target, naming_target, whole_hdf5
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.units import make_units
from ndx_simulation_output.recording import Run, SimulationOutput, Spikes, StreamedReport

__all__ = ["Stream", "stream"]


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
    comm: Communicator | None = None,
) -> Iterator["Stream"]:
    """Give an NWB file to which values are appended. It gets its name when the block ends well.

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
    with together(comm) as team:
        target = Path(target)
        check_target(target, overwrite=overwrite)
        sections = read_metadata(metadata)
        plan = plan_streamed(reports, storage, team)
        whole = whole_hdf5(target, overwrite=overwrite) if team.rank == 0 else nullcontext()
        with _unpacked(), whole as file:
            skeleton = None if file is None else _Skeleton(file, plan, run, sections)
            made = Stream(target, plan, skeleton, team, workers)
            with closing(made):
                with _packed():
                    yield made
                made.finish()


class Stream:
    """An NWB file to which values are appended; :func:`stream` makes it.

    ``path`` is where the file is until the block ends.
    """

    def __init__(
        self,
        target: Path,
        plan: Streamed,
        skeleton: "_Skeleton | None",
        team: Team,
        workers: int | None,
    ) -> None:
        self.path: Path = team.tell(None if skeleton is None else skeleton.path)
        self._target, self._skeleton, self._team = target, skeleton, team
        self._spikes: list[Spikes] = []
        self._is_open = True
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
            )
            for number, (report, layout, starts) in enumerate(
                zip(plan.reports, plan.layouts, plan.starts, strict=True)
            )
        }

    def append(self, name: str, values: ArrayLike) -> None:
        """Append the values of one time step, shape (compartment,), or some, (time, compartment).

        They are of the unit of the report ``name``. Under MPI, a rank's compartments are its own.

        Raises
        ------
        KeyError
            If there is no report of this name.
        SimulationOutputError
            If the block has ended.
        ShapeMismatchError
            If the values do not fit the compartments, or ranks are not at the same time step.
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
        with naming_target(self._target):
            matrix.append(np.atleast_2d(rows))
            if self._skeleton is not None:
                self._skeleton.file.check()

    def add_spikes(self, spikes: Spikes) -> None:
        """Add spikes of a population, on any rank and in any order; they are written at the end."""
        self._spikes.append(spikes)

    def flush(self) -> None:
        """Write all that was appended, so that the file at ``path`` can be read as it is.

        A row of chunks that is not full is written again when it is, so this is for now and then.

        Raises
        ------
        ShapeMismatchError
            If ranks are not at the same time step.
        WriteError
            If the file cannot be written.
        RankError
            If another rank fails.

        """
        self._check_open()
        with naming_target(self._target):
            for matrix in self._matrices.values():
                matrix.flush()
            if self._skeleton is not None:
                self._skeleton.file.flush()
                self._skeleton.file.check()
            self._team.agree()

    def finish(self) -> None:
        """Write what is left. The block calls this when it ends."""
        self.flush()
        spikes = [some for own in self._team.collect(self._spikes) for some in own]
        if self._skeleton is not None and spikes:
            self._skeleton.add_units(spikes)
        self._team.agree()

    def close(self) -> None:
        """Let go of the file, written or not. The block calls this when it ends."""
        self._is_open, self._matrices, self._skeleton = False, {}, None

    def _check_open(self) -> None:
        if not self._is_open:
            msg = f"the file {self._target} is complete; nothing can be appended to it"
            raise SimulationOutputError(msg)


class _Skeleton:
    """The file without its data, on rank 0."""

    def __init__(
        self,
        file: WholeFile,
        plan: Streamed,
        run: Run,
        sections: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.file, self.path, self._run = file, file.path, run
        output = SimulationOutput(reports=tuple(report.empty for report in plan.reports), run=run)
        mapped = map_output(output, sections)
        self._nwbfile = mapped.nwbfile
        # It is not closed here: that is for the file, which may be full.
        self._io = NWBHDF5IO(mode="w", file=file)
        self._io.write(self._nwbfile)
        self.datasets = [
            replace_dataset(
                fill.series.fields["data"].dataset,
                partial(create_dataset, layout=layout, dtype=fill.source.dtype),
            )
            for fill, layout in zip(mapped.fills, plan.layouts, strict=True)
        ]

    def add_units(self, spikes: Sequence[Spikes]) -> None:
        """Add spikes to the file, those of a population together."""
        populations = dict.fromkeys(some.population for some in spikes)
        joined = [_joined_spikes(name, spikes) for name in populations]
        self._nwbfile.units, _ = make_units(joined, self._run.time_step)
        self._io.write(self._nwbfile)


def _joined_spikes(population: str, spikes: Sequence[Spikes]) -> Spikes:
    parts = [some for some in spikes if some.population == population]
    ids = np.concatenate([part.node_ids for part in parts])
    return Spikes(population, ids, np.concatenate([part.times for part in parts]))


class _CallersError(SimulationOutputError):
    """Takes an error of the caller past those who would blame the file for it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _packed() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _CallersError(error) from error


@contextmanager
def _unpacked() -> Iterator[None]:
    try:
        yield
    except _CallersError as packed:
        raise packed.error from packed.error.__cause__
