"""The whole way into NWB in one call."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ndx_simulation_output.engine.layout import (
    DEFAULT_MEMORY,
    Access,
    Chunks,
    Compression,
    Layout,
    Storage,
)
from ndx_simulation_output.engine.team import Communicator, Team, together
from ndx_simulation_output.engine.workers import default_workers
from ndx_simulation_output.errors import (
    LayoutError,
    SimulationOutputWarning,
    TargetExistsError,
)
from ndx_simulation_output.files import check_target
from ndx_simulation_output.opening import open_output
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.arrays import Progress

__all__ = [
    "Converted",
    "convert",
    "plan_layouts",
    "write_output",
]


@dataclass(frozen=True)
class Converted:
    """The file that was written, and what of the source was left out or put right."""

    path: Path
    notes: tuple[str, ...]


def convert(
    source: str | Path | Iterable[str | Path],
    target: str | Path,
    *,
    metadata: str | Path | Mapping[str, Any] | None = None,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
    compartments: Mapping[str, str] | None = None,
    population: str | None = None,
    dt: float | None = None,
    compression: Compression | None = None,
    access: Access = "balanced",
    chunks: Chunks | None = None,
    memory: int = DEFAULT_MEMORY,
    workers: int | None = None,
    quantize: str | Mapping[str, str] | None = None,
    link: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    comm: Communicator | None = None,
) -> Converted:
    """Convert what a simulation left behind to one NWB file, in bounded memory.

    NWB files are merged, such as those of the ranks of a parallel job,
    each with its own cells: reports of the same name are joined along the compartments, spikes of
    the same population together, and what one file alone has is kept. One NWB file is written
    again, perhaps stored otherwise. Session, subject and run are those of the first file.

    A target whose name ends in ``.zarr`` becomes a Zarr store, filled with dask: in threads, or on
    the cluster whose client runs. Any other is an HDF5 file.

    Parameters
    ----------
    source
        SONATA's output, as a file, several files, a directory, or a ``simulation_config.json``;
        a ``storage.h5`` of Neuronvisio; a file of PyMoDAQ, or one that ANNarchy saved; or one or
        more NWB files, which take none of ``unit`` to ``dt``.
    target
        The NWB file to write, such as ``run.nwb`` or ``run.nwb.zarr``.
    metadata
        Session and subject as a dict or YAML file with the sections ``NWBFile``, ``Subject`` and
        ``SimulationMetaData``.
    unit
        Unit of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Unit of their times by name, and of ``spikes``; SONATA's is ms. For Neuronvisio, unit of
        the independent variable of a group.
    compartments
        ``{"report": "all"}`` for SONATA reports of every segment: their positions are computed.
    population
        Name of the population of SONATA spikes that have none.
    dt
        Time step in ms of SONATA data that have no time, or of ANNarchy's network.
    compression
        ``gzip`` to compress the data; by default they are stored as they are, but for the columns
        of network states, which ``none`` leaves as they are. In Zarr ``zstd``, the default there,
        ``gzip`` or ``none``, with Blosc.
    access
        What is read most: ``cells`` (all times of one), ``frames`` (all cells at one time), or
        ``balanced``.
    chunks
        Rows and columns of a chunk, or ``contiguous``, instead of what is planned.
    memory
        Bytes that buffers take at most together.
    workers
        How many threads work, none for 0; by default one for each processor.
    quantize
        Round values to multiples of a step, such as ``0.01mV`` for all reports in volts, or
        ``{"v_report": "0.01mV"}``, and store them in two bytes each.
    link
        Leave the values of reports and potentials where they are, and only refer to them. The
        sources must then stay where they are, as seen from the target.
    overwrite
        Whether an existing target is replaced.
    progress
        Called with the number of bytes done since the last call, and that of all.
    comm
        An mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``, all of whose ranks call this
        with the same arguments. Each writes some of the columns. Rank 0 alone warns and shows
        progress.

    Raises
    ------
    SourceError
        If a source cannot be read, contradicts its format, or holds no recorded activity, or two
        NWB files have the same cell of a population.
    ShapeMismatchError
        If a mapping does not fit its data, or reports to be joined differ in their rows, times,
        unit, type or columns.
    NameClashError
        If two recordings would get the same name.
    UnitError
        If a unit is not understood, or given for a name that does not occur.
    MetadataError
        If the metadata do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.
    LayoutError
        If data cannot be stored as asked.
    QuantizeError
        If values do not fit into such steps.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written. An existing one is then as it was.
    MissingDependencyError
        If the target is a Zarr store and hdmf-zarr or dask is not installed.
    RankError
        If another rank fails.

    Example
    -------
    >>> convert("output/", "run.nwb", unit={"v_report": "mV"})  # doctest: +SKIP
    >>> convert(["run.0.nwb", "run.1.nwb"], "run.nwb", compression="gzip")  # doctest: +SKIP

    """
    from ndx_simulation_output.nwb import writer
    from ndx_simulation_output.nwb.metadata import read_metadata

    with together(comm) as team, _warnings_of(team):
        target = Path(target)
        check_target(target, overwrite=overwrite)
        sections = read_metadata(metadata)
        sources = [source] if isinstance(source, (str, Path)) else list(source)
        if any(Path(path).resolve() == target.resolve() for path in sources):
            msg = f"{target} is the source and cannot be the target too"
            raise TargetExistsError(msg)
        storage = Storage(access, compression, chunks, memory, link=link)
        workers = team.workers if workers is None else workers
        with open_output(
            sources,
            unit=unit,
            time_unit=time_unit,
            compartments=compartments,
            population=population,
            dt=dt,
        ) as output:
            writer.write(
                _rounded(output, quantize, workers, link=link),
                target,
                metadata=sections,
                when=_modified(sources),
                overwrite=overwrite,
                storage=storage,
                workers=workers,
                progress=progress,
                team=team,
            )
        return Converted(target, output.notes)


@contextmanager
def _warnings_of(team: Team) -> Iterator[None]:
    """Let rank 0 alone warn: the others read the same."""
    if team.rank == 0:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        yield


def plan_layouts(
    output: SimulationOutput,
    *,
    compression: Compression | None = None,
    access: Access = "balanced",
    chunks: Chunks | None = None,
    memory: int = DEFAULT_MEMORY,
    workers: int | None = None,
    quantize: str | Mapping[str, str] | None = None,
    link: bool = False,
) -> dict[str, Layout]:
    """Say how ``convert`` would store each report and potential, without writing anything.

    The options are those of ``convert``.

    Raises
    ------
    LayoutError
        If data cannot be stored as asked.
    QuantizeError
        If values do not fit into such steps.

    Example
    -------
    >>> with open_output("v_report.h5") as output:  # doctest: +SKIP
    ...     print(plan_layouts(output, access="cells")["v_report"])

    """
    from ndx_simulation_output.nwb.mapping import plan_output

    storage = Storage(access, compression, chunks, memory, link=link)
    workers = default_workers() if workers is None else workers
    return plan_output(_rounded(output, quantize, workers, link=link), storage, workers)


def write_output(
    output: SimulationOutput,
    target: str | Path,
    *,
    metadata: str | Path | Mapping[str, Any] | None = None,
    compression: Compression | None = None,
    access: Access = "balanced",
    overwrite: bool = False,
) -> None:
    """Write what you describe, such as the results of a simulator that nothing here reads.

    The options are those of ``convert``.

    Raises
    ------
    NameClashError
        If two recordings would get the same name.
    MetadataError
        If the metadata do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.
    LayoutError
        If data cannot be stored as asked.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written. An existing one is then as it was.
    MissingDependencyError
        If the target is a Zarr store and hdmf-zarr or dask is not installed.

    Example
    -------
    >>> import numpy as np
    >>> from ndx_simulation_output.recording import NetworkSnapshot, PopulationSnapshot, Quantity
    >>> cells = PopulationSnapshot("exc", (2,), (Quantity("v", np.array([-0.07, -0.06])),))
    >>> output = SimulationOutput(networks=(NetworkSnapshot("end", (cells,), time=0.1),))
    >>> write_output(output, "state.nwb")  # doctest: +SKIP

    """
    from ndx_simulation_output.nwb import writer
    from ndx_simulation_output.nwb.metadata import read_metadata

    writer.write(
        output,
        Path(target),
        metadata=read_metadata(metadata),
        overwrite=overwrite,
        storage=Storage(access, compression),
    )


def _rounded(
    output: SimulationOutput,
    quantize: str | Mapping[str, str] | None,
    workers: int | None,
    *,
    link: bool,
) -> SimulationOutput:
    if quantize is None:
        return output
    if link:
        msg = "rounded values are not those of the source: leave out link or quantize"
        raise LayoutError(msg)
    from ndx_simulation_output.engine.quantize import quantize_output

    return quantize_output(output, quantize, workers)


def _modified(sources: Iterable[str | Path]) -> datetime | None:
    """When the newest of the sources was last changed."""
    times = [Path(source).stat().st_mtime for source in sources if Path(source).exists()]
    return datetime.fromtimestamp(max(times)).astimezone() if times else None
