"""Map a recording to NWB objects. Data are placeholders that the writer fills."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import chain, count
from typing import Any

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries

from ndx_simulation_output.errors import NameClashError
from ndx_simulation_output.nwb.arrays import make_data
from ndx_simulation_output.nwb.metadata import add_simulation_metadata, make_nwbfile, overlaid
from ndx_simulation_output.nwb.network_state import ColumnPlace, in_memory, make_state
from ndx_simulation_output.nwb.potentials import add_electrodes, make_potential
from ndx_simulation_output.nwb.series import nwb_name, time_arguments
from ndx_simulation_output.nwb.spikes import make_units
from ndx_simulation_output.nwb.types import Compartments, CompartmentSeries
from ndx_simulation_output.recording import CompartmentTable, LazyArray, Report, SimulationOutput
from ndx_simulation_output.recording.arrays import read_columns
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout

# Tables of compartments as NWB objects: one for each population and distinct mapping.


class Tables:
    """One table for each population and distinct mapping, shared by the reports that have it.

    Tables of a file have the names ``taken`` already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.by_digest: dict[str, Compartments] = {}
        self._taken = set(taken)

    def of(self, report: Report) -> Compartments:
        """Give the table of a report, made when it is asked for first."""
        digest = _digest(report.compartments)
        if digest not in self.by_digest:
            name = self._name(report)
            self._taken.add(name)
            self.by_digest[digest] = _make_table(report.compartments, name)
        return self.by_digest[digest]

    def _name(self, report: Report) -> str:
        """``compartments`` as in version 0.2.6; further tables say whose they are."""
        population = nwb_name(f"compartments_{report.population}")
        named = nwb_name(f"compartments_{report.name}")
        counted = (f"{named}_{number}" for number in count(2))
        candidates = chain(["compartments", population, named], counted)
        return next(name for name in candidates if name not in self._taken)


def _digest(table: CompartmentTable) -> str:
    digest = hashlib.sha256(table.population.encode())
    arrays = {"id": table.cell_ids, "ends": table.ends, **table.columns, **table.cell_columns}
    for name, array in sorted(arrays.items()):
        values = np.ascontiguousarray(array[:])
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(repr(values.tolist()).encode() if values.dtype == object else values.data)
    return digest.hexdigest()


def _make_table(table: CompartmentTable, name: str) -> Compartments:
    columns = {column: np.asarray(values[:]) for column, values in table.columns.items()}
    made: Compartments = Compartments.from_arrays(
        columns.pop("number"),
        table.counts(),
        id=np.asarray(table.cell_ids[:]),
        name=name,
        description=f"The recorded compartments of the cells of population {table.population}",
        population=table.population,
        cell_columns={key: np.asarray(values[:]) for key, values in table.cell_columns.items()},
        **columns,
    )
    return made


# A recording as NWB objects. Data are only placed: the writer fills them in.

Placeholder = Callable[[LazyArray, Layout], DataIO | NDArray[Any]]
"""Gives an empty place for data in a file of some format, laid out as planned, or the data."""


@dataclass(frozen=True)
class Fill:
    """Data of ``source`` that belong into the series ``series`` of the file, as planned."""

    series: TimeSeries
    source: LazyArray
    layout: Layout


@dataclass
class Mapped:
    """An NWB file in memory, and the data still to be filled in."""

    nwbfile: NWBFile
    place: Placeholder
    fills: list[Fill] = field(default_factory=list)

    def add(self, series: TimeSeries, source: LazyArray, layout: Layout) -> None:
        """Add a series whose place ``source`` has still to fill."""
        self.nwbfile.add_acquisition(series)
        self.fills.append(Fill(series, source, layout))


def in_hdf5(data: LazyArray, layout: Layout) -> DataIO:  # noqa: ARG001 - it is created once more
    """Give an empty place for data in an HDF5 file; how they lie there is decided when written."""
    return H5DataIO(shape=tuple(data.shape), dtype=data.dtype)


def map_output(
    output: SimulationOutput,
    metadata: Mapping[str, Mapping[str, Any]],
    *,
    when: datetime | None = None,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int = 0,
    place: Placeholder = in_hdf5,
    place_column: ColumnPlace = in_memory,
) -> Mapped:
    """Make the NWB objects of all that a run recorded; ``place`` makes the places for the data.

    ``place_column`` makes those of the columns of network states.

    Raises
    ------
    NameClashError
        If two recordings have the same name.
    MetadataError
        If ``metadata`` do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.

    """
    metadata = overlaid(output.session, metadata)
    nwbfile = make_nwbfile(metadata, describe_session(output), when)
    layouts = plan_output(output, storage, workers)
    run_metadata = metadata.get("SimulationMetaData", {})
    return add_output(nwbfile, output, run_metadata, layouts, place, place_column)


def describe_session(output: SimulationOutput) -> str:
    """Describe a session in words, where nobody else does."""
    sources = ", ".join(output.provenance.get("files", [])) or "a simulation"
    return f"Output of a simulation: {sources}"


def add_output(
    nwbfile: NWBFile,
    output: SimulationOutput,
    run_metadata: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    place: Placeholder,
    place_column: ColumnPlace = in_memory,
) -> Mapped:
    """Add the NWB objects of all that a run recorded to ``nwbfile``, which may have others.

    ``run_metadata`` are arguments of ``SimulationMetaData``; ``layouts`` say how data are stored.

    Raises
    ------
    NameClashError
        If two recordings have the same name, or the file has something of that name, or units or
        electrodes beside which there is no place for others.
    MetadataError
        If ``run_metadata`` do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.

    """
    mapped = Mapped(nwbfile, place)
    _check_names(output)
    _check_room(nwbfile, output)
    known = nwbfile.lab_meta_data.get("simulation")
    tables = Tables(() if known is None else known.compartments)
    series_facts = {}
    for report in output.reports:
        _add_report(mapped, report, tables.of(report), layouts[report.name])
        series_facts[nwb_name(report.name)] = {
            "report": report.report,
            "variable": report.variable,
            **report.provenance,
        }
    regions = add_electrodes(nwbfile, output.potentials)
    for potential, region in zip(output.potentials, regions, strict=True):
        layout = layouts[potential.name]
        series = make_potential(potential, place(potential.data, layout), region)
        mapped.add(series, potential.data, layout)
        electrodes = potential.electrodes
        series_facts[nwb_name(potential.name)] = {
            "channels": np.asarray(potential.channel_ids).tolist(),
            "electrodes": dict(electrodes.provenance) if electrodes else None,
            **potential.provenance,
        }
    group_facts = _add_groups(mapped, output)
    for network in output.networks:
        state = make_state(network, _free_name(mapped, network.name), place_column)
        mapped.nwbfile.add_acquisition(state)
    run = {key: value for key, value in asdict(output.run).items() if value is not None}
    run |= run_metadata
    units, spike_facts = make_units(output.spikes, run.get("time_step"))
    if len(units):
        mapped.nwbfile.units = units
    provenance = {**output.provenance, "series": series_facts, "spikes": spike_facts}
    provenance |= {"groups": group_facts} if group_facts else {}
    add_simulation_metadata(nwbfile, run, list(tables.by_digest.values()), provenance)
    return mapped


def add_in_memory(nwbfile: NWBFile, output: SimulationOutput) -> None:
    """Add all that a run recorded to ``nwbfile``, with the data in memory.

    Raises
    ------
    NameClashError
        If ``nwbfile`` has a simulation already, or something of the same name.
    ExportError
        If arrays hold what NWB cannot.

    """
    _check_room(nwbfile, output)
    if "simulation" in nwbfile.lab_meta_data:
        msg = "the NWB file has a simulation already; add to one that has not"
        raise NameClashError(msg)

    def read(data: LazyArray, _: Layout) -> Any:
        return read_columns(data, slice(None), None)

    add_output(nwbfile, output, {}, plan_output(output), read)


def matrices(output: SimulationOutput) -> list[LazyArray]:
    """Give the data of all reports and potentials, as ``map_output`` orders what is to fill in."""
    reports, potentials = output.reports, output.potentials
    return [report.data for report in reports] + [potential.data for potential in potentials]


def plan_output(
    output: SimulationOutput,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int = 0,
) -> dict[str, Layout]:
    """Plan how the data of each report and potential are stored, by their names."""
    widths = {report.name: report.compartments.counts() for report in output.reports}
    data = {report.name: report.data for report in output.reports}
    data |= {potential.name: potential.data for potential in output.potentials}
    return {
        name: plan_layout(
            (array.shape[0], array.shape[1]),
            array.dtype.itemsize,
            widths.get(name, 1),
            storage,
            workers,
        )
        for name, array in data.items()
    }


def _add_report(mapped: Mapped, report: Report, table: Compartments, layout: Layout) -> None:
    series = CompartmentSeries(
        name=nwb_name(report.name),
        data=mapped.place(report.data, layout),
        compartments=table,
        unit=report.unit.name,
        conversion=report.unit.conversion,
        offset=report.unit.offset,
        description=report.description or "no description",
        **time_arguments(report.times),
    )
    mapped.add(series, report.data, layout)


def _add_groups(mapped: Mapped, output: SimulationOutput) -> dict[str, Any]:
    """Add the groups of arrays; give what it takes to read them as they were, by their names."""
    facts = {}
    for group in output.groups:
        name = _free_name(mapped, group.name)
        data, facts[name] = make_data(group, name)
        mapped.nwbfile.add_acquisition(data)
    return facts


def _free_name(mapped: Mapped, name: str) -> str:
    """Give a name that NWB allows, and nothing in the acquisition has."""
    return free_name(nwb_name(name).strip(".") or "arrays", mapped.nwbfile.acquisition)


def _series_names(output: SimulationOutput) -> list[str]:
    names = [report.name for report in output.reports]
    names += [potential.name for potential in output.potentials]
    return [nwb_name(name) for name in names]


def _check_names(output: SimulationOutput) -> None:
    names = _series_names(output)
    for name in names:
        if names.count(name) > 1:
            msg = f"two recordings are named {name!r} in NWB; convert them to separate files"
            raise NameClashError(msg)


def _check_room(nwbfile: NWBFile, output: SimulationOutput) -> None:
    """Refuse to add to a file what it has already and can have but once."""
    found = [
        f"acquisition {name!r}" for name in _series_names(output) if name in nwbfile.acquisition
    ]
    known = nwbfile.lab_meta_data.get("simulation")
    if known is not None and known.container_source is not None:
        found.append("a simulation, whose provenance is on disk,")
    if nwbfile.units is not None and any(len(spikes.times) for spikes in output.spikes):
        found.append("units")
    if nwbfile.electrodes is not None and output.potentials:
        found.append("electrodes")
    if found:
        msg = f"the NWB file has {found[0]} already; add to one that has not"
        raise NameClashError(msg)
