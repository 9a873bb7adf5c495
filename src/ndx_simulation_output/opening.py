"""Whatever can be read, opened to read from it: NWB files here and on servers, and all sources."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ndx_simulation_output.engine.journal import is_being_written, left_behind, undisturbed
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.formats import read_source
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.remote import is_url, open_url, refuse_url

__all__ = ["existing", "open_output"]


def open_output(
    path: str | Path | Iterable[str | Path],
    *,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
    compartments: Mapping[str, str] | None = None,
    population: str | None = None,
    dt: float | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> SimulationOutput:
    """Open an NWB file, or anything that ``convert`` takes, to read from it without converting.

    The file of a stream that goes on can be read at its ``path``: it is as it was flushed last.

    An NWB file may lie on a server: ``https://…``, ``s3://…``, and what else fsspec knows. It is
    read in parts, and ``storage_options`` are what fsspec needs for it, such as credentials. The
    other options are those of ``convert``; an NWB file takes none. Several NWB files are read as
    one, as ``convert`` merges them.

    Raises
    ------
    SourceError
        If it cannot be read.
    ShapeMismatchError
        If a mapping does not fit its data, or a report of one NWB file that of another.
    UnitError
        If a unit is not understood, or given for a name that does not occur.
    NameClashError
        If two NWB files have something of the same name that cannot be joined.
    MissingDependencyError
        If what reading from the server needs is not installed.

    Example
    -------
    >>> with open_output("v_report.h5") as output:  # doctest: +SKIP
    ...     output["v_report"].get_traces(cells=3, start=0.1, stop=0.2)
    >>> with open_output("s3://bucket/run.nwb", storage_options={"anon": True}) as output:
    ...     output["v_report"].get_traces(cells=3)  # doctest: +SKIP

    """
    from ndx_simulation_output.nwb import reader

    if is_url(path):
        return reader.read(open_url(path, storage_options))
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    with ExitStack() as stack:
        for one in paths:
            stack.enter_context(undisturbed(existing(one)))
        in_nwb = [one for one in paths if reader.is_nwb(Path(one))]
        if in_nwb:
            _refuse_options(in_nwb[0], unit, time_unit, compartments, population, dt)
            return reader.read_all([Path(one) for one in paths])
    return read_source(
        paths,
        unit=unit,
        time_unit=time_unit,
        compartments=compartments,
        population=population,
        dt=dt,
    )


def existing(path: str | Path) -> Path:
    """Give a path on this machine at which there is something.

    Raises
    ------
    SourceError
        If there is nothing, or it is a URL.

    """
    refuse_url(path)
    if not Path(path).exists():
        msg = f"{path} does not exist{_left_of(Path(path))}"
        raise SourceError(msg)
    return Path(path)


def _refuse_options(path: str | Path, *given: object) -> None:
    if any(given):
        msg = (
            f"{path} is an NWB file, which says units, times and cells itself: leave out unit, "
            "time_unit, compartments, population and dt"
        )
        raise SourceError(msg)


def _left_of(target: Path) -> str:
    """Say whether a file is being written, or was when a process died."""
    said = [
        f"; it is being written, as {partial}"
        if is_being_written(partial)
        else f"; {partial} was left by a crash: ndx-sim recover {target} makes it whole"
        for partial in left_behind(target)
    ]
    return "".join(said)
