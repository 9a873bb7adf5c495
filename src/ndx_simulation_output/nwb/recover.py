"""Recover the data of a stream whose process died."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output.errors import (
    NothingRecordedError,
    SourceError,
    file_errors,
    source_errors,
)
from ndx_simulation_output.files import (
    atomic_file,
    check_target,
    rename,
    target_of_partial,
    write_errors,
)
from ndx_simulation_output.nwb.spikes import write_units
from ndx_simulation_output.nwb.types import CompartmentSeries
from ndx_simulation_output.storage.growing import (
    read_spike_spools,
    spike_spools,
)
from ndx_simulation_output.storage.journal import (
    Writer,
    journal_path,
    open_journal,
    replay,
    unfinished_files,
)
from ndx_simulation_output.storage.journaled import (
    JournaledFileObject,
    has_journal,
    recover_journaled,
)
from ndx_simulation_output.storage.sources import check_source, without_trust

__all__ = ["Recovered", "RecoveredReport", "recover"]


_NOT_OF_THE_SYSTEM = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class RecoveredReport:
    """The number of time steps of a recovered report, and the time of the last (s) if any."""

    name: str
    steps: int
    last: float | None


@dataclass(frozen=True)
class Recovered:
    """A recovered file: its path, reports, number of spikes, and notes for the user."""

    path: Path
    reports: tuple[RecoveredReport, ...]
    spikes: int
    notes: tuple[str, ...] = ()


def recover(
    path: str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    force: bool = False,
) -> Recovered:
    """Recover the data of a stream whose process died, up to its last flush.

    Temporary files are removed only after the target is complete, so that an interrupted recovery
    can be repeated.

    Parameters
    ----------
    path
        The temporary file, such as ``.run.1234.part.nwb``, or the target of the stream,
        ``run.nwb``. A file to which PyMoDAQ's savers added data is recovered in place.
    target
        The NWB file to write; by default the target of the stream.
    overwrite
        Replace an existing target.
    force
        Recover a file although the process that wrote it may still run, because it ran on another
        computer, or there are no file locks. You are sure that it has ended. A process that is seen
        to run is still an error.

    Raises
    ------
    SourceError
        If there is no temporary file of this name, or there are several, or it is still being
        written or cannot be read.
    NothingRecordedError
        If nothing was flushed.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target, or the temporary file and its journal, cannot be written.

    Example
    -------
    >>> recover("run.nwb").reports[0].steps  # doctest: +SKIP
    40000

    """
    path = Path(path)
    with file_errors(path):
        is_in_place = has_journal(path) and target_of_partial(path) is None
    if is_in_place:
        target = Path(target or path)
        recover_journaled(path, target, overwrite=overwrite, force=force)
        return Recovered(target, (), 0, ("the file has the data up to the last flush",))
    partial = _find_partial(path)
    target = partial.with_name(str(target_of_partial(partial))) if target is None else Path(target)
    check_target(target, overwrite=overwrite)
    with ExitStack() as stack:
        stack.enter_context(write_errors(target))
        with write_errors(partial):
            try:
                journal = stack.enter_context(open_journal(partial, force=force))
            except BlockingIOError as error:
                writer: Writer = error.args[0]
                raise SourceError(writer.refusal(partial, "pass force=True (--force)")) from error
            if not journal.has_commits:
                raise NothingRecordedError(_nothing_flushed(partial))
            replay(partial)
            journal.clear()
        with _reopen(partial, JournaledFileObject(partial, "r+", journal)) as file:
            recovered = _complete(file, partial, target)
        _move(partial, target, overwrite=overwrite)
    return recovered


def _find_partial(path: Path) -> Path:
    if target_of_partial(path) is not None and journal_path(path).exists() and path.exists():
        return path
    found = unfinished_files(path)
    if not found:
        msg = (
            f"there is nothing to recover for {path}; expected the temporary file of a stream, "
            f"such as .{path.stem}.1234.part{path.suffix}, and its journal in the same directory"
        )
        raise SourceError(msg)
    if len(found) > 1:
        names = ", ".join(map(str, found))
        msg = f"there are several temporary files for {path}; recover one of them: {names}"
        raise SourceError(msg)
    return found[0]


@contextmanager
def _reopen(path: Path, file_object: JournaledFileObject) -> Iterator[h5py.File]:
    """Open a file whose changes are written only if the block succeeds."""
    with file_object:
        with source_errors(f"{path} cannot be recovered"):
            file = h5py.File(file_object, "r+", rdcc_nbytes=0)
        with file:
            with without_trust():
                check_source(file)
            try:
                yield file
            finally:
                file_object.is_closing = True
        file_object.check()
        file_object.finish()


def _complete(file: h5py.File, partial: Path, target: Path) -> Recovered:
    """Write the spikes if the file has no units; return a summary of its contents."""
    with source_errors(f"{partial} cannot be recovered"):
        io = NWBHDF5IO(mode="a", file=file)
        nwbfile = io.read()
        reports = tuple(_reports(nwbfile))
        spikes = read_spike_spools(spike_spools(partial))
    count = sum(len(population.times) for population in spikes)
    if not count and not any(report.steps for report in reports):
        raise NothingRecordedError(_nothing_flushed(partial))
    notes = []
    if nwbfile.units is not None:
        count = len(nwbfile.units.spike_times.data)
        notes.append("the stream was complete, but its file was not renamed yet")
    elif spikes:
        # Errors of the operating system are those of writing.
        with source_errors(f"{partial} cannot be recovered", caught=_NOT_OF_THE_SYSTEM):
            write_units(io, nwbfile, spikes)
    return Recovered(target, reports, count, tuple(notes))


def _nothing_flushed(partial: Path) -> str:
    return f"nothing was flushed to {partial}, so nothing can be recovered; remove the file"


def _reports(nwbfile: NWBFile) -> Iterator[RecoveredReport]:
    for series in nwbfile.acquisition.values():
        if isinstance(series, CompartmentSeries):
            steps = len(series.data)
            yield RecoveredReport(series.name, steps, _last_time(series, steps) if steps else None)


def _last_time(series: CompartmentSeries, steps: int) -> float:
    if series.rate is None:
        return float(series.timestamps[steps - 1])
    return float(series.starting_time + (steps - 1) / series.rate)


def _move(partial: Path, target: Path, *, overwrite: bool) -> None:
    try:
        rename(partial, target, overwrite=overwrite)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_file(target, overwrite=overwrite) as temporary:
            shutil.copyfile(partial, temporary)
        partial.unlink()
