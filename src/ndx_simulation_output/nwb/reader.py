"""Read an NWB file into the neutral description."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
from hdmf.backends.io import HDMFIO
from hdmf.build import ConstructError
from hdmf.common import DynamicTable
from hdmf.container import MultiContainerInterface
from pynwb import NWBHDF5IO, NWBFile, TimeSeries, get_class, load_namespaces, register_class
from pynwb.core import NWBDataInterface
from pynwb.ecephys import ElectricalSeries
from pynwb.file import LabMetaData

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.nwb.arrays import read_data
from ndx_simulation_output.nwb.arrays_reading import find_exports
from ndx_simulation_output.nwb.metadata import read_session
from ndx_simulation_output.nwb.network_state import read_state
from ndx_simulation_output.nwb.potentials import read_potential
from ndx_simulation_output.nwb.series import read_series, uneven_columns
from ndx_simulation_output.nwb.spikes import UNITS_COLUMNS, read_units
from ndx_simulation_output.nwb.types import (
    AxesTimeSeries,
    Compartments,
    CompartmentSeries,
    DataToExport,
    DataWithAxes,
    NetworkState,
    StateTable,
)
from ndx_simulation_output.nwb.zarr import is_nwb_store, open_store
from ndx_simulation_output.recording import OwnGroup, Report, Run, SimulationOutput, Spikes
from ndx_simulation_output.recording.merging import merge_outputs
from ndx_simulation_output.remote import RemoteFile

# Reading files of the namespace that came before: ``simulation_output``, up to version 0.2.0.

OLD_NAMESPACE = "simulation_output"


def read_old_namespace(path: str | Path) -> None:
    """Let this process read files of the namespace ``simulation_output``, as the file defines it.

    pynwb finds types by name in all namespaces, so that ours hide those of the same name. Call
    this once, with any such file. It is not done by itself as it lasts: every file that is
    written afterwards caches the old namespace too.

    Raises
    ------
    SourceError
        If the file does not define that namespace.

    Example
    -------
    >>> read_old_namespace("of_2018.nwb")  # doctest: +SKIP

    """
    with TemporaryDirectory() as directory:
        load_namespaces(str(_unpack(Path(path), Path(directory))))
    for ours in (Compartments, CompartmentSeries):
        get_class(ours.__name__, OLD_NAMESPACE)
        register_class(ours.__name__, OLD_NAMESPACE, type(ours.__name__, (ours,), {}))


def _unpack(path: Path, directory: Path) -> Path:
    """Write the definitions that a file caches to files (JSON is YAML); give the namespace's."""
    try:
        with h5py.File(path, "r") as file:
            versions = file["specifications"][OLD_NAMESPACE]
            cached = {name: text[()] for name, text in versions[max(versions)].items()}
    except (OSError, KeyError) as error:
        msg = f"{path} does not define the namespace {OLD_NAMESPACE}"
        raise SourceError(msg) from error
    for name, text in cached.items():
        (directory / f"{name}.yaml").write_bytes(text)
    namespace = json.loads(cached["namespace"])
    for schema in namespace["namespaces"][0]["schema"]:
        if "source" in schema:
            schema["source"] += ".yaml"
    target = directory / "namespace.yaml"
    target.write_text(json.dumps(namespace), encoding="utf-8")
    return target


# Read an NWB file, of this package or any other, into the neutral description.


def is_nwb(path: Path) -> bool:
    """Tell whether ``path`` is an NWB file of version 2, in HDF5 or in a Zarr store."""
    if path.is_dir():
        return is_nwb_store(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "nwb_version" in file.attrs
    except (KeyError, OSError, RuntimeError):
        return False


def check_nwb(path: Path) -> None:
    """Refuse what is no NWB file.

    Raises
    ------
    SourceError
        If it does not exist, cannot be read, or is something else.

    """
    if is_nwb(path):
        return
    found = "is not an NWB file of version 2"
    if not path.exists():
        found = "does not exist"
    elif path.is_dir():
        found = "is a directory; expected an NWB file, or a Zarr store that is one"
    else:
        try:
            with h5py.File(path, "r"):
                pass
        except OSError as error:
            found = f"cannot be read as NWB: {error}"
    msg = f"{path} {found}"
    raise SourceError(msg)


def open_nwb(source: Path | RemoteFile) -> HDMFIO:
    """Open an NWB file for reading.

    Raises
    ------
    SourceError
        If it cannot be opened.
    MissingDependencyError
        If it is a Zarr store and hdmf-zarr is not installed.

    """
    try:
        if isinstance(source, Path) and source.is_dir():
            return open_store(source)
        if isinstance(source, Path):
            return NWBHDF5IO(str(source), "r")
        return _open_remote(source)
    except (OSError, ValueError) as error:
        msg = f"{source} cannot be read as NWB: {error}"
        raise SourceError(msg) from error


def _open_remote(source: RemoteFile) -> NWBHDF5IO:
    with ExitStack() as stack:
        file = stack.enter_context(h5py.File(source, "r"))
        if "nwb_version" not in file.attrs:
            msg = f"{source} is not an NWB file of version 2; to read SONATA files, download them"
            raise SourceError(msg)
        io = NWBHDF5IO(file=file, mode="r")
        stack.pop_all()
        return io


def read(source: Path | RemoteFile) -> SimulationOutput:
    """Describe the compartment series, spikes and extracellular potentials of an NWB file.

    Data stay in the file, which is open until the output is closed. ``notes`` say what the
    description cannot hold.

    Raises
    ------
    SourceError
        If the file cannot be read.

    """
    with ExitStack() as stack:
        if isinstance(source, RemoteFile):
            stack.enter_context(source)
        io = stack.enter_context(open_nwb(source))
        with _failures_of(source):
            output = _describe(read_contents(io, source), source)
            if isinstance(io, NWBHDF5IO):
                output = replace(output, exports=find_exports(io._file))  # noqa: SLF001
        return replace(output, close=stack.pop_all().close)


def read_all(paths: Sequence[Path]) -> SimulationOutput:
    """Describe what NWB files hold, such as those of the ranks of a job, as one recording.

    Raises
    ------
    SourceError
        If one cannot be read, or two have the same cell of a population.
    ShapeMismatchError
        If they have reports of the same name that do not fit each other.
    NameClashError
        If two have extracellular potentials, groups of arrays, or networks of the same name.

    """
    for path in paths:
        if not is_nwb(path):
            msg = f"{path} is no NWB file; expected NWB files alone, to be merged"
            raise SourceError(msg)
    with ExitStack() as stack:
        outputs = [(str(path), stack.enter_context(read(path))) for path in paths]
        merged = merge_outputs(outputs)
        stack.pop_all()
        return merged


def read_contents(io: HDMFIO, path: Path | RemoteFile) -> NWBFile:
    """Give the objects of an open NWB file.

    Raises
    ------
    SourceError
        If they cannot be made.

    """
    try:
        return io.read()
    except ConstructError as error:
        msg = (
            f"{path} cannot be read as NWB: {str(error)[:200]}…; if it is of the namespace "
            "simulation_output, call ndx_simulation_output.nwb.reader.read_old_namespace"
        )
        raise SourceError(msg) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} has the attribute nwb_version but is no NWB file that can be read: {error}"
        raise SourceError(msg) from error


@contextmanager
def _failures_of(source: Path | RemoteFile) -> Iterator[None]:
    """Raise what kept objects from being made, also where a server's error looked like absence."""
    try:
        yield
    except RuntimeError as error:
        # Such as that of numcodecs, which no longer reads what hdmf-zarr 0.13 has pickled.
        msg = f"{source} cannot be read: {error}"
        raise SourceError(msg) from error
    finally:
        if isinstance(source, RemoteFile) and source.failure is not None:
            raise source.failure from None


def _describe(nwbfile: NWBFile, path: Path | RemoteFile) -> SimulationOutput:
    metadata = nwbfile.lab_meta_data.get("simulation")
    provenance = _provenance(metadata, path)
    series_facts = provenance.pop("series", {})
    group_facts = provenance.pop("groups", {})
    reports, potentials, notes = [], [], []
    for series in _all_series(nwbfile, list(series_facts)):
        facts = dict(series_facts.get(series.name, {}))
        if isinstance(series, CompartmentSeries):
            try:
                reports.append(_report(series, facts))
            except ShapeMismatchError as error:
                notes.append(f"left out: {error}")
            else:
                notes += [
                    f"left out: column {name!r} of table {series.compartments.name!r} has not one "
                    "value for each compartment"
                    for name in uneven_columns(series.compartments)
                ]
        elif isinstance(series, ElectricalSeries) or "channels" in facts:
            try:
                potentials.append(read_potential(series, facts, nwbfile.electrodes))
            except ShapeMismatchError as error:
                notes.append(f"left out: {error}")
            else:
                if getattr(series, "channel_conversion", None) is not None:
                    notes.append(f"left out: channel_conversion of {series.name}")
        else:
            notes.append(f"left out: {series.name} is a {type(series).__name__}")
    notes += _others(nwbfile)
    units = nwbfile.units
    spikes = read_units(units, provenance.pop("spikes", []))
    notes += _left_of_units(units, spikes)
    return SimulationOutput(
        reports=tuple(reports),
        spikes=tuple(spikes),
        potentials=tuple(potentials),
        groups=tuple(_groups(nwbfile, group_facts)),
        networks=tuple(map(read_state, _networks(nwbfile))),
        run=_run(metadata),
        session=read_session(nwbfile),
        notes=tuple(notes),
        provenance=provenance,
    )


def _left_of_units(units: Any, spikes: Sequence[Spikes]) -> list[str]:
    """Say what of the units the description of their spikes does not hold."""
    names = set() if units is None else set(units.colnames)
    notes = [f"left out: column {name!r} of the units" for name in sorted(names - UNITS_COLUMNS)]
    return notes + [
        f"left out: obs_intervals of the units of {some.population}, which differ"
        for some in spikes
        if "obs_intervals" in names and some.intervals is None
    ]


def _others(nwbfile: NWBFile) -> list[str]:
    """Name tables and data of types that are not described, but not what holds such as are."""
    known = (TimeSeries, Compartments, StateTable, MultiContainerInterface)
    return [
        f"left out: {item.name} is a {type(item).__name__}"
        for item in nwbfile.objects.values()
        if isinstance(item, (NWBDataInterface, DynamicTable, LabMetaData))
        and not isinstance(item, known)
        and item is not nwbfile.units
        and item is not nwbfile.electrodes
    ]


def _provenance(metadata: Any, path: Path | RemoteFile) -> dict[str, Any]:
    text = getattr(metadata, "provenance", None)
    if not text:
        return {}
    try:
        facts = json.loads(text)
    except ValueError as error:
        msg = f"general/simulation/provenance of {path} is not JSON: {error}"
        raise SourceError(msg) from error
    if not _is_provenance(facts):
        msg = f"general/simulation/provenance of {path} is damaged: {text[:60]!r}…"
        raise SourceError(msg)
    return dict(facts)


def _is_provenance(facts: Any) -> bool:
    """Whether it is what the mapping writes: facts of each series by name, and of populations."""
    if not isinstance(facts, dict):
        return False
    series, spikes = facts.get("series", {}), facts.get("spikes", [])
    named = [series, facts.get("groups", {})]
    return (
        all(isinstance(found, dict) for found in named)
        and all(isinstance(fact, dict) for found in named for fact in found.values())
        and isinstance(spikes, list)
        and all(isinstance(fact, dict) and _is_population(fact) for fact in spikes)
    )


def _is_population(fact: dict[str, Any]) -> bool:
    return isinstance(fact.get("population"), str)


def _run(metadata: Any) -> Run:
    names = Run.__dataclass_fields__
    return Run(**{name: getattr(metadata, name, None) for name in names})


def _all_series(nwbfile: NWBFile, known: Sequence[str]) -> list[TimeSeries]:
    """Give every time series but those of instruments: first the ``known`` ones, then by name."""
    series = [
        item
        for item in nwbfile.objects.values()
        if isinstance(item, TimeSeries) and not isinstance(item, AxesTimeSeries)
    ]
    ranks = {name: rank for rank, name in enumerate(known)}
    return sorted(series, key=lambda item: (ranks.get(item.name, len(ranks)), item.name))


def _networks(nwbfile: NWBFile) -> list[NetworkState]:
    found = [item for item in nwbfile.objects.values() if isinstance(item, NetworkState)]
    return sorted(found, key=lambda state: state.name)


def _groups(nwbfile: NWBFile, facts: dict[str, Any]) -> list[OwnGroup]:
    """Give every group of arrays of the file: first those that are known, then by name."""
    found = [
        item
        for item in nwbfile.objects.values()
        if isinstance(item, DataWithAxes)
        and not isinstance(item, DataToExport)
        and not isinstance(item.parent, DataToExport)
    ]
    ranks = {name: rank for rank, name in enumerate(facts)}
    found.sort(key=lambda item: (ranks.get(item.name, len(ranks)), item.name))
    return [read_data(item, facts.get(item.name, {})) for item in found]


def _report(series: CompartmentSeries, facts: dict[str, Any]) -> Report:
    described = read_series(series)
    return Report(
        name=described.name,
        report=facts.pop("report", None) or described.name,
        data=described.data,
        times=described.times,
        compartments=described.compartments,
        unit=described.unit,
        variable=facts.pop("variable", None),
        description=described.description,
        provenance=facts,
    )
