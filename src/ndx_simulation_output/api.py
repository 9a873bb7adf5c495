"""Open, convert and export: the calls that everybody uses."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndx_simulation_output.errors import (
    ExportError,
    LayoutError,
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
)
from ndx_simulation_output.files import check_target
from ndx_simulation_output.formats import read_source
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput
from ndx_simulation_output.recording.arrays import Progress
from ndx_simulation_output.remote import is_url, open_url, refuse_url
from ndx_simulation_output.storage.journal import is_being_written, left_behind, undisturbed
from ndx_simulation_output.storage.layout import (
    DEFAULT_MEMORY,
    Access,
    Chunks,
    Compression,
    Layout,
    Storage,
)
from ndx_simulation_output.storage.mpi import Communicator, Team, together
from ndx_simulation_output.storage.partitions import default_workers

if TYPE_CHECKING:
    from ndx_simulation_output.annarchy.writing import DelayUnit, Form
    from ndx_simulation_output.sonata import Dialect, Written

# Whatever can be read, opened to read from it: NWB files here and on servers, and all sources.


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


# The whole way into NWB in one call.


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
    from ndx_simulation_output.storage.quantize import quantize_output

    return quantize_output(output, quantize, workers)


def _modified(sources: Iterable[str | Path]) -> datetime | None:
    """When the newest of the sources was last changed."""
    times = [Path(source).stat().st_mtime for source in sources if Path(source).exists()]
    return datetime.fromtimestamp(max(times)).astimezone() if times else None


# The way back from an NWB file: to SONATA, and to ANNarchy's own files.


def export_sonata(
    path: str | Path,
    directory: str | Path,
    *,
    dialect: "Dialect | None" = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "Written":
    """Write the reports, spikes and extracellular potentials of an NWB file as SONATA files.

    What came from SONATA goes out with the same values, ids, order, populations, times, units,
    types and extra columns. The result lists the files, and what SONATA cannot say.

    Parameters
    ----------
    path
        An NWB file, of this package or any other.
    directory
        Where the files go; made if it does not exist.
    dialect
        ``allen`` (bmtk) or ``bbp`` (libsonata); by default that of the source, else ``bbp``.
    dtype
        Type of the data of reports, such as ``float32``; by default the recorded one.
    overwrite
        Whether existing files are replaced.
    progress
        Called with the number of bytes done since the last call, and that of all.

    Raises
    ------
    SourceError
        If the NWB file cannot be read.
    ExportError
        If nothing in it can be said in SONATA.
    TargetExistsError
        If a file exists and ``overwrite`` is false.
    WriteError
        If a file cannot be written.

    Example
    -------
    >>> export_sonata("run.nwb", "sonata/", dialect="bbp")  # doctest: +SKIP

    """
    from ndx_simulation_output import sonata
    from ndx_simulation_output.nwb import reader

    reader.check_nwb(existing(path))
    with reader.read(Path(path)) as output:
        written = sonata.write(
            output,
            Path(directory),
            dialect=dialect,
            dtype=dtype,
            overwrite=overwrite,
            progress=progress,
        )
        written.left_out[:0] = output.notes
    return written


def export_annarchy(
    path: str | Path,
    target: str | Path,
    *,
    state: str | None = None,
    part: str | None = None,
    connectivity: bool = False,
    delay_unit: "DelayUnit" = "ms",
    overwrite: bool = False,
) -> Converted:
    """Write the state of a network as a file that ANNarchy 4.8 and 5.0 load.

    The extension of ``target`` chooses the container, as in ANNarchy: ``.npz``, ``.gz``, ``.mat``,
    which ANNarchy does not load, and a pickle for ``.txt`` and any other. The notes of the result
    say what such a file cannot.

    Parameters
    ----------
    path
        An NWB file, or a file of ANNarchy that says its time itself.
    target
        The file to write.
    state
        Name of the state; not needed where there is one.
    part
        Name of the one population or projection to write, for its own ``load``.
    connectivity
        Write only where the synapses of the projection ``part`` are, with weights and delays, as
        ``save_connectivity`` does.
    delay_unit
        Unit of the delays there: ``ms`` for ANNarchy 5, ``steps`` for its versions before.
    overwrite
        Whether an existing target is replaced.

    Raises
    ------
    SourceError
        If the file cannot be read.
    ExportError
        If there is no such state or part, or a file of ANNarchy cannot hold it.
    NameClashError
        If two parts have the same name.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is then as it was.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> export_annarchy("state.nwb", "network.npz")  # doctest: +SKIP

    """
    from ndx_simulation_output.annarchy.writing import write

    with open_output(path) as output:
        network = _state_of(output, state, path)
        form: Form = "network"
        if part is not None or connectivity:
            form = "connectivity" if connectivity else "part"
            network = _part_of(network, part, only_projections=connectivity)
        notes = write(target, network, form=form, delay_unit=delay_unit, overwrite=overwrite)
    return Converted(Path(target), (*output.notes, *notes))


def _state_of(output: SimulationOutput, name: str | None, path: str | Path) -> NetworkSnapshot:
    names = [network.name for network in output.networks]
    found = [network for network in output.networks if name in {None, network.name}]
    if len(found) != 1:
        wanted = "one state" if name is None else f"one state named {name!r}"
        msg = f"{path} has {_listed(names)}; expected {wanted} to export (--state)"
        raise ExportError(msg)
    return found[0]


def _part_of(
    network: NetworkSnapshot, name: str | None, *, only_projections: bool
) -> NetworkSnapshot:
    among = replace(network, populations=()) if only_projections else network
    chosen = replace(
        among,
        populations=tuple(one for one in among.populations if name in {None, one.name}),
        projections=tuple(one for one in among.projections if name in {None, one.name}),
    )
    if len(chosen.parts) != 1:
        what = "projection" if only_projections else "population or projection"
        named = "" if name is None else f" named {name!r}"
        names = _listed([one.name for one in among.parts])
        msg = f"{network.name} has {names}; expected one {what}{named} (--part)"
        raise ExportError(msg)
    return chosen


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
