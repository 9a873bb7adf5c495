"""Recover the data of a stream whose process died."""

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output.errors import NothingRecordedError, SourceError
from ndx_simulation_output.files import (
    AtomicFile,
    check_target,
    target_of_partial,
    write_errors,
    atomic_file,
)
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.nwb.spikes import make_units
from ndx_simulation_output.nwb.types import CompartmentSeries
from ndx_simulation_output.recording import Run, SimulationOutput, Spikes
from ndx_simulation_output.storage.growing import (
    StreamPlan,
    create_times,
    read_spike_spools,
    spike_spools,
)
from ndx_simulation_output.storage.journal import (
    journal_path,
    open_journal,
    replay,
    unfinished_files,
)
from ndx_simulation_output.storage.journaled import JournaledStorage, has_journal, recover_journaled
from ndx_simulation_output.storage.writing import create_dataset, replace_dataset

# The NWB file of a stream without its data.


class Skeleton:
    """What a stream writes before its data come: ``datasets`` and ``stamps`` are of its reports.

    ``stamps`` are None for reports that are sampled regularly.
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
        self.stamps = [
            replace_dataset(dataset.parent["timestamps"], create_times)
            if report.rate is None
            else None
            for dataset, report in zip(self.datasets, plan.reports, strict=True)
        ]

    def add_units(self, spikes: Sequence[Spikes]) -> None:
        """Add spikes to the file."""
        add_units(self._io, self._nwbfile, spikes)


def add_units(io: NWBHDF5IO, nwbfile: NWBFile, spikes: Sequence[Spikes]) -> None:
    """Add spikes, of each population together, to a file that has none."""
    metadata = nwbfile.lab_meta_data["simulation"]
    nwbfile.units, _ = make_units(spikes, metadata.time_step)
    io.write(nwbfile)


# Make whole what a process that died while it streamed has left.


@dataclass(frozen=True)
class RecoveredReport:
    """How much of a report was there: ``steps`` time steps, the last at ``last`` (s) if any."""

    name: str
    steps: int
    last: float | None


@dataclass(frozen=True)
class Recovered:
    """The file that was made whole, how much is in it, and what else there is to say."""

    path: Path
    reports: tuple[RecoveredReport, ...]
    spikes: int
    notes: tuple[str, ...] = ()


def recover(
    path: str | Path, target: str | Path | None = None, *, overwrite: bool = False
) -> Recovered:
    """Make a whole NWB file of what a process that died while it streamed has left.

    The file then holds what was flushed last. Until it has its name, nothing of what was left is
    lost, and this can be done again.

    Parameters
    ----------
    path
        The temporary file, such as ``.run.1234.part.nwb``, or the name it was to get, ``run.nwb``.
        Or a file that PyMoDAQ's savers added to: it is made whole where it is.
    target
        The NWB file to make; by default the one that it was to become.
    overwrite
        Whether an existing target is replaced.

    Raises
    ------
    SourceError
        If there is nothing of this name to recover, or several; if it is still being written; or
        if it cannot be read.
    NothingRecordedError
        If nothing had been flushed.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.

    Example
    -------
    >>> recover("run.nwb").reports[0].steps  # doctest: +SKIP
    40000

    """
    if has_journal(Path(path)) and target_of_partial(Path(path)) is None:
        return _recover_in_place(Path(path), Path(target or path), overwrite=overwrite)
    partial = _partial(Path(path))
    target = partial.with_name(str(target_of_partial(partial))) if target is None else Path(target)
    check_target(target, overwrite=overwrite)
    with ExitStack() as stack:
        stack.enter_context(write_errors(target))
        try:
            journal = stack.enter_context(open_journal(partial))
        except BlockingIOError as error:
            msg = f"{partial} is still being written; stop the process that does, or let it end"
            raise SourceError(msg) from error
        if not journal.is_begun:
            raise NothingRecordedError(_nothing(partial))
        replay(partial)
        journal.clear()
        with _reopened(partial, JournaledStorage(partial, "r+", journal)) as file:
            recovered = _complete(file, partial, target)
        _give_name(partial, target)
    return recovered


def _recover_in_place(path: Path, target: Path, *, overwrite: bool) -> Recovered:
    """Make whole a file to which groups of arrays were added, which has its name already."""
    recover_journaled(path, target, overwrite=overwrite)
    return Recovered(target, (), 0, ("what was added to it is there up to the last flush",))


def _partial(path: Path) -> Path:
    if target_of_partial(path) is not None and journal_path(path).exists() and path.exists():
        return path
    found = unfinished_files(path)
    if not found:
        msg = (
            f"there is nothing to recover for {path}; expected the temporary file of a stream, "
            f"such as .{path.stem}.1234.part{path.suffix}, and its journal beside it"
        )
        raise SourceError(msg)
    if len(found) > 1:
        names = ", ".join(map(str, found))
        msg = f"there are several to recover for {path}; name one of them: {names}"
        raise SourceError(msg)
    return found[0]


@contextmanager
def _reopened(path: Path, storage: JournaledStorage) -> Iterator[h5py.File]:
    """Give the file, which is changed when the block has ended well, or not at all."""
    with storage:
        try:
            file = h5py.File(storage, "r+", rdcc_nbytes=0)
        except OSError as error:
            msg = f"{path} cannot be recovered: {error}"
            raise SourceError(msg) from error
        with file:
            try:
                yield file
            finally:
                storage.is_closing = True
        storage.check()
        storage.finish()


def _complete(file: h5py.File, partial: Path, target: Path) -> Recovered:
    """Add the spikes, and tell what is there."""
    io = NWBHDF5IO(mode="a", file=file)
    nwbfile = io.read()
    reports = tuple(_reports(nwbfile))
    spikes = read_spike_spools(spike_spools(partial))
    count = sum(len(some.times) for some in spikes)
    if not count and not any(report.steps for report in reports):
        raise NothingRecordedError(_nothing(partial))
    notes = []
    if nwbfile.units is not None:
        count = len(nwbfile.units.spike_times.data)
        notes.append("the stream had ended; its file only had not got its name")
    elif spikes:
        add_units(io, nwbfile, spikes)
    return Recovered(target, reports, count, tuple(notes))


def _nothing(partial: Path) -> str:
    return f"nothing had been flushed into {partial}: there is nothing to recover; remove it"


def _reports(nwbfile: NWBFile) -> Iterator[RecoveredReport]:
    for series in nwbfile.acquisition.values():
        if isinstance(series, CompartmentSeries):
            steps = len(series.data)
            yield RecoveredReport(series.name, steps, _last(series, steps) if steps else None)


def _last(series: CompartmentSeries, steps: int) -> float:
    if series.rate is None:
        return float(series.timestamps[steps - 1])
    return float(series.starting_time + (steps - 1) / series.rate)


def _give_name(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_file(target, overwrite=True) as temporary:
            shutil.copyfile(partial, temporary)
        partial.unlink()
