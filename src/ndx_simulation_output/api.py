"""Open, convert and export recordings: the calls that most users need."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ndx_simulation_output.choices import DelayUnit, Dialect
from ndx_simulation_output.errors import (
    ExportError,
    LayoutError,
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
    file_errors,
    name_of,
)
from ndx_simulation_output.files import check_target, is_nwb
from ndx_simulation_output.formats import SourcePaths, read_source
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput
from ndx_simulation_output.recording.arrays import Progress
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.fields import set_fields
from ndx_simulation_output.remote import is_url, open_folder, open_url, refuse_url
from ndx_simulation_output.storage.journal import find_writer, pause_writer, unfinished_files
from ndx_simulation_output.storage.layout import Layout, StorageOptions
from ndx_simulation_output.storage.mpi import Communicator, Team, shared_arguments, together

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ndx_simulation_output.annarchy.writing import Form
    from ndx_simulation_output.sonata import Written


ANNARCHY_EXTENSIONS = (".txt", ".gz", ".npz", ".mat")
"""Extensions of the files that ``export_annarchy`` writes."""


class OpeningOptions(TypedDict, total=False):
    """The options of ``open_output``, for calls that pass them on."""

    unit: Mapping[str, str] | None
    time_unit: Mapping[str, str] | None
    compartments: Mapping[str, str] | None
    population: str | Mapping[str, Any] | None
    dt: float | None
    segment: int | None
    trust: bool
    nodes: bool | None
    properties: Sequence[str] | None
    storage_options: Mapping[str, Any] | None
    cells: Cells | None


def open_output(
    path: SourcePaths,
    *,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
    compartments: Mapping[str, str] | None = None,
    population: str | Mapping[str, Any] | None = None,
    dt: float | None = None,
    segment: int | None = None,
    trust: bool = False,
    nodes: bool | None = None,
    properties: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    cells: Cells | None = None,
) -> SimulationOutput:
    """Open the output of a simulation or an instrument, or an NWB file, without reading the data.

    Several NWB files, such as those of the ranks of a parallel job, are merged: reports of the same
    name are joined along the compartments, or along time if they are parts of one run with the same
    cells, and spikes of the same population are joined. A file that ``nwb.stream`` or
    ``neuron.record`` is still writing shows the data of its last flush.

    Parameters
    ----------
    path
        SONATA output as a file, several files, a directory or a ``simulation_config.json``, or
        several of them that are parts of a run in time, or a ``circuit_config.json``, alone or with
        them; NIX files of Neo, as PyNN and BSB write them; a ``storage.h5`` of Neuronvisio; a file
        of PyMoDAQ or ANNarchy; or NWB files. An NWB file may be a URL that fsspec can open, such as
        ``https://…`` or ``s3://…``.
    unit
        Units of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Units of their times by name, and of ``spikes``. The default of SONATA is ms. For
        Neuronvisio, the unit of the independent variable of a group.
    compartments
        ``{"report": "all"}`` for SONATA reports of every segment, ``"center"`` for those of one in
        each section: their positions are computed.
    population
        Name of the population of SONATA spikes that do not name one; for NEST, the ids of each
        population, such as ``{"exc": "1-80", "inh": range(81, 101)}``.
    dt
        Time step in ms of SONATA data without times, or of a network of ANNarchy: without it, its
        times are known in steps only, and ``convert`` raises SourceError.
    segment
        Index of the segment of Neo to open, in a NIX file. By default all are opened, and
        populations of later segments, whose times start anew, are named after them.
    trust
        Whether an HDF5 file may refer to files outside its folder, such as those that ``link`` made
        do, and declare far more data than it stores.
    nodes
        Whether the circuit of SONATA, which ``simulation_config.json`` or a ``circuit_config.json``
        beside other files names, must exist. By default it is read if it exists; False ignores it.
    properties
        Names of the properties of nodes that cells of SONATA reports and spikes get, such as
        ``["layer", "mtype"]``. The default is all with one value for each cell, or the usual ones
        of more than 32.
    storage_options
        Options of fsspec for a URL, such as credentials, and ``timeout`` (seconds without an
        answer, 30 by default) and ``retries`` (how often a server that fails is asked again).
    cells
        Cells whose reports and spikes are opened: ids, a mapping of properties such as
        ``{"layer": [2, 3]}``, or the name of a node set, as for ``SimulationOutput.select_cells``.

    Raises
    ------
    SourceError
        If a source cannot be read, contradicts its format, or contains no recorded activity, if it
        needs ``trust``, or if an option does not apply to the format.
    ShapeMismatchError
        If a mapping does not fit its data, or if reports to be merged differ in rows, times, unit,
        type or columns.
    UnitError
        If a unit cannot be parsed, or is set for a name that does not occur.
    NameClashError
        If two NWB files have recordings of the same name that cannot be merged.
    SelectionError
        If no cell of the circuit has a property.
    MissingDependencyError
        If a library that the URL or the format needs is not installed.
    SelectionError, CellNotFoundError
        If the cells have no such property or node set, or there is no such cell.

    Example
    -------
    >>> with open_output("v_report.h5") as output:  # doctest: +SKIP
    ...     output["v_report"].get_traces(cells=3, start=0.1, stop=0.2)
    >>> with open_output("s3://bucket/run.nwb", storage_options={"anon": True}) as output:
    ...     output["v_report"].get_traces(cells=3)  # doctest: +SKIP

    """
    options: dict[str, Any] = {
        "unit": unit,
        "time_unit": time_unit,
        "compartments": compartments,
        "population": population,
        "dt": dt,
        "segment": segment,
        "nodes": nodes,
        "properties": properties,
    }
    if is_url(path):
        _refuse_options(path, options)
        is_store = path.partition("?")[0].rstrip("/").endswith(".zarr")
        found = (open_folder if is_store else open_url)(path, storage_options)
        from ndx_simulation_output.nwb import reader

        return _opened([path], reader.read(found, trust=trust), cells)
    paths = _as_list(path)
    with _errors_of(paths):
        with ExitStack() as stack:
            for item in paths:
                stack.enter_context(pause_writer(existing(item)))
            nwb_file = next((item for item in paths if is_nwb(Path(item))), None)
            if nwb_file is not None:
                from ndx_simulation_output.nwb import reader

                _refuse_options(nwb_file, options)
                merged = reader.read_merged([Path(item) for item in paths], trust=trust)
                return _opened(paths, merged, cells)
        return _opened(paths, read_source(paths, trust=trust, **options), cells)


def _opened(
    paths: Sequence[str | Path], output: SimulationOutput, cells: Cells | None
) -> SimulationOutput:
    """Return an output that was just read with the name of its source, or that of some cells."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    set_fields(output, source=f"{name_of(paths[0])}{more}")
    return _of_cells(output, cells)


def _of_cells(output: SimulationOutput, cells: Cells | None) -> SimulationOutput:
    """Return the output of some cells; close it if they cannot be selected."""
    if cells is None:
        return output
    with ExitStack() as stack:
        stack.callback(output.close)
        selected = output.select_cells(cells)
        stack.pop_all()
        return selected


def existing(path: str | Path) -> Path:
    """Return a local path that exists; raise SourceError otherwise, or for a URL."""
    refuse_url(path)
    if not Path(path).exists():
        msg = f"{name_of(path)} does not exist{_state_of_stream(Path(path))}"
        raise SourceError(msg)
    return Path(path)


def _errors_of(source: "SourcePaths | SimulationOutput") -> AbstractContextManager[None]:
    """Convert what libraries raise for a damaged source, unless it is an open output."""
    if isinstance(source, SimulationOutput):
        return nullcontext()
    return file_errors(*_as_list(source))


def _as_list(path: SourcePaths) -> list[str | Path]:
    return [path] if isinstance(path, (str, Path)) else list(path)


def _refuse_options(path: str | Path, options: Mapping[str, Any]) -> None:
    if names := " and ".join(k for k, v in options.items() if v is not None and v != {}):
        file = name_of(path)
        msg = f"{names} cannot be set for {file}: an NWB file states its units, times and cells"
        raise SourceError(msg)


def _state_of_stream(target: Path) -> str:
    """Describe a partial file of a target that is being written, or that a crash left."""
    states = []
    for partial in unfinished_files(target):
        writer = find_writer(partial)
        if writer is None:
            states.append(f"a crash left {partial}: recover it with ndx-sim recover {target}")
        elif writer.is_certain:
            states.append(f"it is being written, as {partial}")
        else:
            states.append(writer.refusal(partial, f"run: ndx-sim recover --force {partial}"))
    return "".join(f"; {state}" for state in states)


@dataclass(frozen=True)
class Converted:
    """The path of a written file, and notes on data that were left out or corrected."""

    path: Path
    notes: tuple[str, ...]


def convert(
    source: SourcePaths | SimulationOutput,
    target: str | Path,
    *,
    metadata: str | Path | Mapping[str, Any] | None = None,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    comm: Communicator | None = None,
    circuit: bool | None = None,
    edges: bool | None = None,
    **options: "Unpack[OpeningOptions]",
) -> Converted:
    """Convert the output of a simulation or an instrument to one NWB file, in bounded memory.

    NWB files are merged, as ``open_output`` does. One NWB file is written again, which can change
    how its data are stored. Session, subject and run are those of the first file.

    Parameters
    ----------
    source
        A source as for ``open_output``, or an open output, such as one created in memory, which is
        not closed.
    target
        The NWB file to write. A name that ends in ``.zarr``, such as ``run.nwb.zarr``, makes a Zarr
        store, which is filled in threads, or on the dask cluster of an active client.
    metadata
        Session and subject as a dict or YAML file with the sections ``NWBFile``, ``Subject`` and
        ``SimulationMetaData``.
    storage
        How data are stored: compression, chunks, memory, links, quantization.
    workers
        Number of threads; 0 for none. By default as many as shorten the time: one for each
        processor for data that are compressed, two for others, none for a few MiB.
    overwrite
        Whether to replace an existing target.
    progress
        Called with the number of bytes done since the last call, and the total number.
    comm
        An mpi4py communicator, such as ``mpi4py.MPI.COMM_WORLD``. All its ranks call this function
        with the same arguments, and each writes a part of the columns; before, they compare these
        and a fingerprint of the source. Only rank 0 issues warnings and reports progress.
    circuit
        Whether to store all cells of the circuit, a table for each population. Recorded cells have
        their properties in any case. By default, the cells of a run of SONATA are not stored, and
        those of a circuit alone and of other sources are.
    edges
        Whether to store the connections of the circuit, with the same default, except that those of
        a circuit alone are not stored.
    options
        Options of ``open_output``, such as ``unit``, for values that the source does not state.

    Raises
    ------
    SourceError, ShapeMismatchError, UnitError, MissingDependencyError
        If the source cannot be opened: see ``open_output``.
    NameClashError
        If two recordings would get the same name.
    MetadataError
        If the metadata do not fit NWB.
    ExportError
        If arrays contain values that NWB cannot store.
    LayoutError
        If data cannot be stored as requested.
    QuantizeError
        If values do not fit into the steps of the quantization.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written. An existing target is unchanged.
    RankError
        If another rank fails, or has another target or other options.

    Example
    -------
    >>> convert("output/", "run.nwb", unit={"v_report": "mV"})  # doctest: +SKIP
    >>> ranks = ["run.0.nwb", "run.1.nwb"]
    >>> convert(ranks, "run.nwb", storage=StorageOptions(compression="gzip"))  # doctest: +SKIP

    """
    from ndx_simulation_output.nwb import writer
    from ndx_simulation_output.nwb.mapping import mapping_notes
    from ndx_simulation_output.nwb.metadata import read_metadata

    with together(comm) as team, _warnings_of(team):
        for name in sorted(options.keys() & StorageOptions.__dataclass_fields__.keys()):
            msg = f"{name} belongs to the storage options: pass storage=StorageOptions({name}=…)"
            raise LayoutError(msg)
        target = Path(target)
        check_target(target, overwrite=overwrite)
        sections = read_metadata(metadata)
        team.check_same(
            shared_arguments(target, storage, sections)
            | {"overwrite": overwrite, "circuit": circuit, "edges": edges, **options}
        )
        opened, modified = _open_source(source, target, options)
        with opened as found, _errors_of(source):
            output = with_circuit(found, circuit=circuit, edges=edges)
            writer.write(
                _quantized(output, storage, workers),
                target,
                metadata=sections,
                when=modified,
                overwrite=overwrite,
                storage=storage,
                workers=workers,
                progress=progress,
                team=team,
            )
        return Converted(target, (*output.notes, *mapping_notes(output)))


def _open_source(
    source: SourcePaths | SimulationOutput, target: Path, options: "OpeningOptions"
) -> tuple[AbstractContextManager[SimulationOutput], datetime | None]:
    """Open the source of a conversion; return it and the time of its last modification."""
    if isinstance(source, SimulationOutput):
        if options:
            msg = f"the source is already open: pass {' and '.join(options)} to open_output"
            raise SourceError(msg)
        return nullcontext(source), None
    paths = _as_list(source)
    with file_errors(*paths):
        if any(Path(path).resolve() == target.resolve() for path in paths):
            msg = f"{target} is the source; expected another target"
            raise TargetExistsError(msg)
        times = [Path(path).stat().st_mtime for path in paths if Path(path).exists()]
    modified = datetime.fromtimestamp(max(times)).astimezone() if times else None
    return open_output(paths, **options), modified


def with_circuit(
    output: SimulationOutput, *, circuit: bool | None, edges: bool | None
) -> SimulationOutput:
    """Return an output with the tables of its circuit that are to be stored."""
    found = output.circuit
    if found is None:
        if circuit or edges:
            option = "circuit=True (--circuit)" if circuit else "edges=True (--edges)"
            msg = f"the source has no circuit, which {option} stores"
            raise SourceError(msg)
        return output
    is_sonata = output.provenance.get("format") == "SONATA" and not output.session
    recorded = output.reports or output.spikes or output.potentials or output.arrays
    keeps_cells = not (is_sonata and recorded) if circuit is None else circuit
    keeps_edges = not is_sonata if edges is None else edges
    stored = replace(
        found,
        populations=found.populations if keeps_cells else (),
        connections=found.connections if keeps_edges else (),
    )
    return replace(output, circuit=stored)


@contextmanager
def _warnings_of(team: Team) -> Iterator[None]:
    """Silence warnings on all ranks except rank 0: all ranks read the same source."""
    if team.rank == 0:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        yield


def plan_layouts(
    output: SimulationOutput,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
) -> dict[str, Layout]:
    """Return how ``convert`` would store each report and potential. Nothing is written.

    Raises
    ------
    LayoutError
        If data cannot be stored as requested.
    QuantizeError
        If values do not fit into the steps of the quantization.

    Example
    -------
    >>> with open_output("v_report.h5") as output:  # doctest: +SKIP
    ...     print(plan_layouts(output, StorageOptions(access="cells"))["v_report"])

    """
    from ndx_simulation_output.nwb.mapping import plan_output

    return plan_output(_quantized(output, storage, workers), storage, workers)


def _quantized(
    output: SimulationOutput, storage: StorageOptions, workers: int | None
) -> SimulationOutput:
    if storage.quantize is None:
        return output
    from ndx_simulation_output.storage.quantize import quantize_output

    return quantize_output(output, storage.quantize, workers)


def export_sonata(
    path: str | Path,
    directory: str | Path,
    *,
    dialect: Dialect | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    trust: bool = False,
    cells: Cells | None = None,
    progress: Progress | None = None,
) -> "Written":
    """Write the reports, spikes, potentials and circuit of an NWB file as SONATA files.

    Recordings that came from SONATA are written with the same values, ids, order, populations,
    times, units, types and extra columns. The circuit is written if the file has tables of its
    cells (``convert`` with ``circuit`` and ``edges``): it is the same as in SONATA, or in the
    ``dialect``. The result lists the files, and what SONATA cannot store.

    Parameters
    ----------
    path
        An NWB file, of this package or any other.
    directory
        Directory of the files; created if it does not exist.
    dialect
        ``allen`` (bmtk) or ``bbp`` (libsonata). The default is that of the source, else ``bbp``.
    dtype
        Type of the data of reports, ``float32`` or ``float64``. The default is the recorded type.
    overwrite
        Whether to replace existing files.
    trust, cells
        As for ``open_output``.
    progress
        Called with the number of bytes done since the last call, and the total number.

    Raises
    ------
    SourceError
        If the NWB file cannot be read.
    ExportError
        If the file has nothing that SONATA can store.
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
    with _of_cells(reader.read(Path(path), trust=trust), cells) as output, _errors_of(path):
        written = sonata.write(
            output,
            Path(directory),
            dialect=dialect,
            dtype=dtype,
            overwrite=overwrite,
            progress=progress,
        )
        written.left_out[:0] = output.notes
        if cells is not None and output.circuit and output.circuit.populations:
            written.left_out.append("the circuit has all cells; only recordings are of the chosen")
    return written


def export_annarchy(
    path: str | Path,
    target: str | Path,
    *,
    state: str | None = None,
    part: str | None = None,
    connectivity: bool = False,
    delay_unit: DelayUnit = "ms",
    overwrite: bool = False,
    trust: bool = False,
    dt: float | None = None,
) -> Converted:
    """Write the state of a network as a file that ANNarchy 4.8 and 5.0 load.

    The extension of ``target`` selects the container, as in ANNarchy: ``.npz``, ``.gz``, ``.mat``
    (which ANNarchy does not load), and a pickle for ``.txt`` and any other. The notes of the result
    list what such a file cannot store.

    Parameters
    ----------
    path
        An NWB file, or a file of ANNarchy.
    target
        The file to write.
    state
        Name of the state; needed only if the file has several.
    part
        Name of a single population or projection to write, for its own ``load``.
    connectivity
        Write only the connectivity of the projection ``part``: ranks, weights and delays, as
        ``save_connectivity`` does.
    delay_unit
        Unit of the delays of a connectivity file: ``ms`` for ANNarchy 5, ``steps`` for earlier
        versions.
    overwrite
        Whether to replace an existing target.
    trust, dt
        As for ``open_output``.

    Raises
    ------
    SourceError
        If the file cannot be read.
    ExportError
        If the state or part does not exist, or if a file of ANNarchy cannot store it.
    NameClashError
        If two parts have the same name.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing target is unchanged.
    MissingDependencyError
        If the target is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> export_annarchy("state.nwb", "network.npz")  # doctest: +SKIP

    """
    from ndx_simulation_output.annarchy.writing import write

    with open_output(path, trust=trust, dt=dt) as output, _errors_of(path):
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
        populations=tuple(part for part in among.populations if name in {None, part.name}),
        projections=tuple(part for part in among.projections if name in {None, part.name}),
    )
    if len(chosen.parts) != 1:
        what = "projection" if only_projections else "population or projection"
        named = "" if name is None else f" named {name!r}"
        names = _listed([part.name for part in among.parts])
        msg = f"{network.name} has {names}; expected one {what}{named} (--part)"
        raise ExportError(msg)
    return chosen


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
