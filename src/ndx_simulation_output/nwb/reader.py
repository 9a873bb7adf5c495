"""Read NWB files, of this package or any other, as ``SimulationOutput``."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager, ConstructError, GroupBuilder
from hdmf.common import DynamicTable
from hdmf.container import MultiContainerInterface
from pynwb import (
    NWBHDF5IO,
    NWBFile,
    TimeSeries,
    get_class,
    get_type_map,
    load_namespaces,
    register_class,
)
from pynwb.core import NWBDataInterface
from pynwb.ecephys import ElectricalSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import LabMetaData

from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SimulationOutputError,
    SourceError,
    UnsupportedSourceError,
    file_errors,
    source_errors,
)
from ndx_simulation_output.files import is_nwb
from ndx_simulation_output.nwb.arrays_reading import read_group, read_intervals, restore_group
from ndx_simulation_output.nwb.circuit import read_circuit, without_enum_warning
from ndx_simulation_output.nwb.metadata import read_session
from ndx_simulation_output.nwb.network_state import read_state
from ndx_simulation_output.nwb.potentials import (
    SIMULATED_ELECTRODES,
    ElectrodeRows,
    read_potential,
    simulated_table,
)
from ndx_simulation_output.nwb.series import read_series, uneven_columns
from ndx_simulation_output.nwb.spikes import (
    SIMULATED_UNITS,
    UNITS_COLUMNS,
    property_columns,
    read_units,
)
from ndx_simulation_output.nwb.types import (
    NAMESPACE,
    AxesTimeSeries,
    CellPopulation,
    Compartments,
    CompartmentSeries,
    DataWithAxes,
    NetworkState,
    StateTable,
)
from ndx_simulation_output.nwb.zarr import open_store
from ndx_simulation_output.recording import (
    ArrayGroup,
    Circuit,
    ExtracellularPotential,
    Report,
    Run,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.array_groups import notes_of_axes
from ndx_simulation_output.recording.ids import some_of
from ndx_simulation_output.recording.merging import merge_outputs
from ndx_simulation_output.recording.output import LaterNotes
from ndx_simulation_output.remote import RemoteFile, RemoteFolder
from ndx_simulation_output.storage.chunk_cache import CHUNKS
from ndx_simulation_output.storage.reading import NeedsFileError, OpenedLater
from ndx_simulation_output.storage.sources import (
    CHUNK_SLOTS,
    check_source,
    open_source,
    without_trust,
)
from ndx_simulation_output.system import portable_names

Source = Path | RemoteFile | RemoteFolder
"""A local file or Zarr store, a file on a server, or a Zarr store there."""

_LONGEST = 200  # characters of a reason in a message
_MOST_OPEN = 16  # files that are merged

_OLD_NAMESPACE = "simulation_output"
"""The namespace of this extension up to version 0.2.0."""


def check_nwb(path: Path) -> None:
    """Raise SourceError if ``path`` is not an NWB file of version 2."""
    if is_nwb(path):
        return
    found = "is not an NWB file of version 2"
    if not path.exists():
        found = "does not exist"
    elif path.is_dir():
        inside = [*sorted(path.glob("*.nwb")), *sorted(path.glob("*.zarr"))]
        found = "is a directory; expected an NWB file, in HDF5 or in a Zarr store"
        found += f", such as {some_of(inside)}" if inside else ""
    else:
        with source_errors(f"{path} cannot be read as NWB"), h5py.File(path, "r"):
            pass
    msg = f"{path} {found}"
    raise SourceError(msg)


class _OldNamespaceIO(NWBHDF5IO):  # type: ignore[misc]
    """Read a file of the namespace ``simulation_output`` with the present types."""

    def __init__(self, file: h5py.File) -> None:
        types = get_type_map()
        others = set(file["specifications"]) - {_OLD_NAMESPACE}
        NWBHDF5IO.load_namespaces(types, file=file, namespaces=sorted(others))
        super().__init__(file=file, mode="r", manager=BuildManager(types))

    def read_builder(self) -> GroupBuilder:
        """Return the contents of the file with the present namespace."""
        root = super().read_builder()
        groups = [root]
        while groups:
            group = groups.pop()
            groups += group.groups.values()
            if group.attributes.get("namespace") == _OLD_NAMESPACE:
                group.attributes["namespace"] = NAMESPACE
        return root


def is_of_old_namespace(path: Path) -> bool:
    """Return True if an NWB file in HDF5 was written with the namespace ``simulation_output``."""
    with h5py.File(path, "r") as file:
        return _is_of_old_namespace(file)


def _is_of_old_namespace(file: h5py.File) -> bool:
    return _OLD_NAMESPACE in file.get("specifications", ())


def open_nwb(source: Source, *, trust: bool = False) -> HDMFIO:
    """Open an NWB file for reading, as ``open_source`` does: pynwb follows all links."""
    with source_errors(f"{source} cannot be read as NWB"):
        if isinstance(source, RemoteFolder) or (isinstance(source, Path) and source.is_dir()):
            return open_store(source, trust=trust)
        return _open_hdf5(source, trust=trust)


def _open_hdf5(source: Path | RemoteFile, *, trust: bool) -> NWBHDF5IO:
    with ExitStack() as stack:
        if isinstance(source, Path):
            file = stack.enter_context(open_source(source, trust=trust))
        else:
            file = stack.enter_context(h5py.File(source, "r", rdcc_nslots=CHUNK_SLOTS))
            if "nwb_version" not in file.attrs:
                msg = f"{source} is not an NWB file of version 2; download files of other formats "
                raise SourceError(msg + "first")
            check_source(file, trust=trust)
        if _is_of_old_namespace(file):
            io = _OldNamespaceIO(file)
        else:
            io = NWBHDF5IO(file=file, mode="r", manager=_known_types(file))
        stack.pop_all()
        return io


def _known_types(file: h5py.File) -> BuildManager | None:
    """Return a manager of the types of a file, without a copy, if all are known; else None.

    pynwb would copy all types and read all schemas of each file, which takes longer than its data.
    """
    types = get_type_map(copy=False)
    known = types.namespace_catalog
    for name, version in NWBHDF5IO.get_namespaces(file=file).items():
        if name not in known.namespaces or known.get_namespace(name)["version"] != version:
            return None
    return BuildManager(types)


def read(source: Source, *, trust: bool = False) -> SimulationOutput:
    """Read the compartment series, spikes, potentials, states and arrays of an NWB file.

    Data are read when they are used; the file is open until the output is closed. ``notes`` list
    the objects that were left out.
    """
    with _file_errors(source), ExitStack() as stack:
        stack.callback(CHUNKS.forget_closed)
        if isinstance(source, RemoteFile):
            stack.enter_context(source)
        io = stack.enter_context(open_nwb(source, trust=trust))
        output = _read_output(read_contents(io, source), source)
        if isinstance(source, RemoteFile):
            source.end_opening()
        return output.changed(close=stack.pop_all().close)


def read_merged(paths: Sequence[Path], *, trust: bool = False) -> SimulationOutput:
    """Read several NWB files, such as those of the ranks of a job, as one output.

    A process cannot have the files of thousands of ranks open: beyond some, they are opened again
    while data are read.
    """
    for path in paths:
        if not is_nwb(path):
            msg = f"{path} is not an NWB file; only NWB files can be merged"
            raise SourceError(msg)
    with ExitStack() as stack:
        outputs = []
        for path in paths:
            output = stack.enter_context(read(path, trust=trust))
            outputs.append((str(path), output if len(paths) <= _MOST_OPEN else _closed(output)))
        merged = merge_outputs(outputs)
        stack.pop_all()
        return merged


def _closed(output: SimulationOutput) -> SimulationOutput:
    """Return an output whose file is closed, if it has only what can be read from it later."""
    if output.potentials or output.arrays or output.networks or output.circuit:
        return output
    later = OpenedLater()
    try:
        reports, spikes = later.without_file((output.reports, output.spikes))
    except NeedsFileError:
        return output
    output.close()
    return output.changed(reports=reports, spikes=spikes, close=later.close)


def read_contents(io: HDMFIO, path: Source) -> NWBFile:
    """Return the contents of an open NWB file; raise SourceError if pynwb cannot read them."""
    with source_errors(f"{path} has the attribute nwb_version, but pynwb cannot read it"):
        try:
            with without_enum_warning():
                return io.read()
        except ConstructError as error:
            if isinstance(error.__cause__, SourceError):
                raise error.__cause__ from None
            builder, reason = error.args[0], str(error.args[-1])
            where = str(getattr(builder, "path", "")).removeprefix("root/")
            msg = (
                f"{path} cannot be read as NWB: {where}: {reason[:_LONGEST]}; if it is of the "
                "namespace simulation_output, call ndx_simulation_output.read_old_namespace"
            )
            raise SourceError(msg) from error


def read_old_namespace(path: str | Path) -> None:
    """Register the types of the namespace ``simulation_output`` (0.2.0 and older) in this process.

    ``path`` is a file of that namespace; its cached specification is loaded. Files that are written
    afterwards by this process cache the old namespace too.

    Raises
    ------
    SourceError
        If the file does not define that namespace.

    Example
    -------
    >>> read_old_namespace("of_2018.nwb")  # doctest: +SKIP

    """
    with TemporaryDirectory() as directory:
        load_namespaces(str(_extract_specification(Path(path), Path(directory))))
    for cls in (Compartments, CompartmentSeries):
        get_class(cls.__name__, _OLD_NAMESPACE)
        register_class(cls.__name__, _OLD_NAMESPACE, type(cls.__name__, (cls,), {}))


def _extract_specification(path: Path, directory: Path) -> Path:
    """Write the specification cached in a file to ``directory``; return its namespace file."""
    with (
        source_errors(f"{path} does not define the namespace {_OLD_NAMESPACE}"),
        without_trust(),
        open_source(path) as file,
    ):
        versions = file["specifications"][_OLD_NAMESPACE]
        cached = {name: json.loads(text[()]) for name, text in versions[max(versions)].items()}
        files = portable_names(f"{name}.yaml" for name in cached)
        for schema in cached["namespace"]["namespaces"][0]["schema"]:
            if "source" in schema:
                schema["source"] = files[f"{schema['source']}.yaml"]
    # The cached specification is JSON, which is valid YAML.
    for name, content in cached.items():
        (directory / files[f"{name}.yaml"]).write_text(json.dumps(content), encoding="utf-8")
    return directory / files["namespace.yaml"]


@contextmanager
def _file_errors(source: Source) -> Iterator[None]:
    """Convert errors of reading; the error of a remote file takes precedence."""
    try:
        with file_errors(source):
            yield
    except SimulationOutputError:
        if isinstance(source, RemoteFile):
            source.end_opening()
        raise


def _read_output(nwbfile: NWBFile, path: Source) -> SimulationOutput:
    metadata = nwbfile.lab_meta_data.get("simulation")
    provenance = _provenance(metadata, path)
    group_names, group_facts = provenance.pop("arrays", {}), provenance.pop("groups", {})
    reports, potentials, notes = _read_series(nwbfile, provenance.pop("series", {}))
    extras = provenance.pop("intervals", {})
    tables_of_intervals = [
        item
        for item in nwbfile.objects.values()
        if isinstance(item, TimeIntervals) and item.name in extras
    ]
    notes += _notes_of_others(nwbfile, extras)
    spikes: list[Spikes] = []
    tables: list[tuple[Any, list[Spikes]]] = []
    spike_facts = provenance.pop("spikes", [])
    for units in _units_tables(nwbfile):
        facts, spike_facts = spike_facts, []
        try:
            found = read_units(units, facts)
        except UnsupportedSourceError as error:
            notes.append(f"left out: {error}")
            continue
        notes += _notes_of_columns(units)
        tables.append((units, found))
        spikes += found
    circuit = _read_circuit(metadata)
    states = [item for item in nwbfile.objects.values() if isinstance(item, NetworkState)]
    arrays = [
        *_array_groups(nwbfile, group_names, group_facts),
        *(
            replace(
                read_intervals(table),
                name=group_names.get(table.name, table.name),
                extra=extras[table.name],
            )
            for table in tables_of_intervals
        ),
    ]
    if metadata is None:
        # Sources of simulations have arrays that are not along the axis of their group.
        notes += [note for group in arrays for note in notes_of_axes(group)]
    return SimulationOutput(
        reports=tuple(reports),
        spikes=tuple(_with_circuit(population, circuit) for population in spikes),
        potentials=tuple(potentials),
        arrays=tuple(arrays),
        networks=tuple(map(read_state, sorted(states, key=lambda state: state.name))),
        circuit=circuit,
        run=Run(**{name: getattr(metadata, name, None) for name in Run.__dataclass_fields__}),
        session=read_session(nwbfile),
        notes=_with_notes_of_spikes(notes, tables),
        provenance=provenance,
    )


def _read_circuit(metadata: Any) -> Circuit | None:
    description = getattr(metadata, "circuit", None)
    return None if description is None else read_circuit(description)


def _with_circuit(spikes: Spikes, circuit: Circuit | None) -> Spikes:
    """Return spikes with kind and node sets of their cells, and silent cells that are stored."""
    if circuit is None:
        return spikes
    own = spikes.cells
    tables = {cells.population: cells for cells in circuit.populations}
    cells = tables.get(spikes.population, own)
    if cells is None:
        return spikes
    if own is not None:
        is_complete = own.columns.keys() <= cells.columns.keys()
        columns = {name: cells.columns[name] for name in own.columns} if is_complete else {}
        cells = replace(cells, columns=columns) if is_complete else own
    kinds = {one.name: one.kind for one in circuit.summary}
    kind = kinds.get(spikes.population, "")
    cells = replace(cells, kind=kind, node_sets=circuit.node_sets)
    return spikes.with_cells(cells)


def _read_series(
    nwbfile: NWBFile, series_facts: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Report], list[ExtracellularPotential], list[str]]:
    """Return reports, potentials, and notes on series and columns that were left out."""
    reports, potentials, notes = [], [], []
    electrodes = simulated_table(nwbfile, SIMULATED_ELECTRODES)
    electrodes = nwbfile.electrodes if electrodes is None else electrodes
    tables: dict[int, ElectrodeRows] = {}
    for series in _all_series(nwbfile, list(series_facts)):
        facts = dict(series_facts.get(series.name, {}))
        try:
            if isinstance(series, CompartmentSeries):
                reports.append(_report(series, facts))
                notes += [
                    f"left out: column {name!r} of table {series.compartments.name!r}, which does "
                    "not have one value for each compartment"
                    for name in uneven_columns(series.compartments)
                ]
            elif isinstance(series, ElectricalSeries) or "channels" in facts:
                potentials.append(read_potential(series, facts, tables, electrodes))
                if getattr(series, "channel_conversion", None) is not None:
                    notes.append(f"left out: channel_conversion of {series.name}")
            else:
                notes.append(f"left out: {series.name} is a {type(series).__name__}")
        except ShapeMismatchError as error:
            notes.append(f"left out: {error}")
    return reports, potentials, notes


def _units_tables(nwbfile: NWBFile) -> list[Any]:
    """Return the units of the simulation, and those of a recording in the same file."""
    simulated = simulated_table(nwbfile, SIMULATED_UNITS)
    return [nwbfile.units] if simulated is None else [simulated, nwbfile.units]


def _notes_of_columns(units: Any) -> list[str]:
    names = set() if units is None else set(units.colnames)
    lost = names - UNITS_COLUMNS - set(property_columns(units))
    return [f"left out: column {name!r} of the units" for name in sorted(lost)]


def _with_notes_of_spikes(
    notes: Sequence[str], tables: Sequence[tuple[Any, Sequence[Spikes]]]
) -> LaterNotes:
    """Add notes on spikes, now or when they are read."""
    names = [set() if units is None else {*units.colnames} for units, _ in tables]
    stored = [
        len(units["spike_times"].target.data) if "spike_times" in columns else 0
        for (units, _), columns in zip(tables, names, strict=True)
    ]

    ends = list(accumulate(len(spikes) for _, spikes in tables))

    # The objects of pynwb are not kept for notes.
    def later(spikes: Sequence[Spikes]) -> Iterator[str]:
        for columns, count, first, end in zip(names, stored, [0, *ends], ends, strict=False):
            own = spikes[first:end]
            if not_finite := count - sum(map(len, own)):
                yield f"left out: {not_finite} spike times of the units that are not finite"
            for one in own:
                if "obs_intervals" in columns and one.intervals is None:
                    yield f"left out: obs_intervals of the units of {one.population}, which differ"

    populations = [one for _, spikes in tables for one in spikes]
    if all(one.is_read for one in populations):
        return LaterNotes([*notes, *later(populations)])
    return LaterNotes(notes, later)


def _notes_of_others(nwbfile: NWBFile, intervals: Collection[str]) -> list[str]:
    """Return notes on objects that are not read, except containers of objects that are read.

    ``intervals`` are the names of the tables of intervals that are read.
    """
    known = (TimeSeries, Compartments, CellPopulation, StateTable, MultiContainerInterface)
    return [
        f"left out: {item.name} is a {type(item).__name__}"
        for item in nwbfile.objects.values()
        if isinstance(item, (NWBDataInterface, DynamicTable, LabMetaData))
        and not isinstance(item, known)
        and not (isinstance(item, TimeIntervals) and item.name in intervals)
        and item is not nwbfile.units
        and item is not nwbfile.electrodes
        and item.name not in {SIMULATED_UNITS, SIMULATED_ELECTRODES}
    ]


def _provenance(metadata: Any, path: Source) -> dict[str, Any]:
    text = getattr(metadata, "provenance", None)
    if not text:
        return {}
    with source_errors(f"general/simulation/provenance of {path} is not JSON"):
        facts = json.loads(text)
    if not _is_provenance(facts):
        msg = f"general/simulation/provenance of {path} is damaged: {text[:60]!r}…"
        raise SourceError(msg)
    return dict(facts)


def _is_provenance(facts: Any) -> bool:
    """Return True if facts of series and groups are dicts by name, and those of spikes a list."""
    if not isinstance(facts, dict) or not isinstance(facts.get("arrays", {}), dict):
        return False
    by_name = [facts.get(key, {}) for key in ("series", "groups", "intervals")]
    spikes = facts.get("spikes", [])
    return (
        all(isinstance(found, dict) for found in by_name)
        and all(isinstance(fact, dict) for found in by_name for fact in found.values())
        and isinstance(spikes, list)
        and all(isinstance(fact, dict) for fact in spikes)
        and all(isinstance(fact.get("population"), str) for fact in spikes)
        and all(_are_properties(fact.get("properties", {})) for fact in spikes)
    )


def _are_properties(facts: Any) -> bool:
    """Return True if facts of properties are the column and the type of each."""
    return isinstance(facts, dict) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in facts.values()
    )


def _all_series(nwbfile: NWBFile, known: Sequence[str]) -> list[TimeSeries]:
    """Return all series except ``AxesTimeSeries``: first the ``known``, the others by name."""
    series = [
        item
        for item in nwbfile.objects.values()
        if isinstance(item, TimeSeries) and not isinstance(item, AxesTimeSeries)
    ]
    ranks = {name: rank for rank, name in enumerate(known)}
    return sorted(series, key=lambda item: (ranks.get(item.name, len(ranks)), item.name))


def _array_groups(
    nwbfile: NWBFile, names: dict[str, str], facts: dict[str, Any]
) -> Iterator[ArrayGroup]:
    """Yield the top-level groups of arrays: first those in the provenance, the others by name.

    The provenance has their original ``names``; files of version 0.3.0 have ``facts`` instead.
    """
    found = [
        item
        for item in nwbfile.objects.values()
        if isinstance(item, DataWithAxes) and not isinstance(item.parent, DataWithAxes)
    ]
    ranks = {name: rank for rank, name in enumerate([*names, *facts])}
    found.sort(key=lambda item: (ranks.get(item.name, len(ranks)), item.name))
    for item in found:
        group = read_group(item)
        if item.name in facts:
            yield restore_group(group, facts[item.name])
        else:
            yield replace(group, name=names.get(item.name, item.name))


def _report(series: CompartmentSeries, facts: dict[str, Any]) -> Report:
    report = read_series(series)
    variable = facts.pop("variable", None)
    own, name = facts.pop("name", report.name), facts.pop("report", None)
    return replace(report, name=own, report=name or own, variable=variable, provenance=facts)
