"""Map a recording to NWB objects; their data are written afterwards."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries

from ndx_simulation_output.errors import NameClashError, ShapeMismatchError
from ndx_simulation_output.nwb.arrays import WrapLabeledArray, add_arrays, load_array
from ndx_simulation_output.nwb.circuit import (
    make_circuit,
    make_columns,
    name_notes,
    named_properties,
    property_names,
)
from ndx_simulation_output.nwb.connections import cast
from ndx_simulation_output.nwb.metadata import (
    add_notes,
    add_simulation_metadata,
    make_nwbfile,
    merge_metadata,
    run_metadata,
)
from ndx_simulation_output.nwb.network_state import WrapColumn, load_column, make_state
from ndx_simulation_output.nwb.potentials import (
    SIMULATED_ELECTRODES,
    add_electrodes,
    ecephys_module,
    make_potential,
    simulated_table,
)
from ndx_simulation_output.nwb.series import free_nwb_name, nwb_name, time_arguments
from ndx_simulation_output.nwb.spikes import SIMULATED_UNITS, has_cells, make_units
from ndx_simulation_output.nwb.types import Compartments, CompartmentSeries
from ndx_simulation_output.nwb.types.compartments import make_compartments
from ndx_simulation_output.recording import (
    Categories,
    CompartmentTable,
    ExtracellularPotential,
    LazyArray,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.recording.array_groups import INSTRUMENTS, INTERVALS
from ndx_simulation_output.recording.arrays import read_columns, size_in_bytes
from ndx_simulation_output.recording.ids import check_name, check_unique, free_name
from ndx_simulation_output.recording.sorting import ascends, row_blocks
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout

WrapMatrix = Callable[[LazyArray, Layout], DataIO | NDArray[Any]]
"""Returns the data of a series: an empty dataset with the planned layout, or the values."""


@dataclass(frozen=True)
class PendingMatrix:
    """The matrix ``source``, to be written into the data of ``series`` as planned."""

    series: TimeSeries
    source: LazyArray
    layout: Layout

    @property
    def dataset(self) -> h5py.Dataset:
        """The empty dataset of the series in an HDF5 file that has been written."""
        return self.series.fields["data"].dataset


@dataclass
class NWBMapping:
    """The NWB objects of a recording, and the matrices that are not yet written."""

    nwbfile: NWBFile
    wrap: WrapMatrix
    pending: list[PendingMatrix] = field(default_factory=list)

    def add(self, series: TimeSeries, source: LazyArray, layout: Layout) -> None:
        """Add a series whose data are to be written from ``source``."""
        self.nwbfile.add_acquisition(series)
        self.pending.append(PendingMatrix(series, source, layout))


def _empty_dataset(data: LazyArray, layout: Layout) -> DataIO:  # noqa: ARG001 - replaced later
    return H5DataIO(shape=tuple(data.shape), dtype=data.dtype)


def map_output(
    output: SimulationOutput,
    metadata: Mapping[str, Mapping[str, Any]],
    *,
    when: datetime | None = None,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
    wrap: WrapMatrix = _empty_dataset,
    wrap_column: WrapColumn = load_column,
    wrap_labeled_array: WrapLabeledArray = load_array,
    wrap_table: WrapColumn = load_column,
    wrap_spikes: WrapColumn = load_column,
) -> NWBMapping:
    """Map a recording to a new NWB file.

    ``wrap`` returns the data of a series, ``wrap_column`` those of a column of a network state,
    ``wrap_table`` those of a large table of compartments, ``wrap_labeled_array`` those of an array
    with axes, and ``wrap_spikes`` those of a column of spikes.
    """
    metadata = merge_metadata(output.session, metadata)
    nwbfile = make_nwbfile(metadata, describe_session(output), when)
    layouts = plan_output(output, storage, workers)
    own_metadata = metadata.get("SimulationMetaData", {})
    return add_output(
        nwbfile,
        output,
        own_metadata,
        layouts,
        wrap,
        wrap_column,
        wrap_labeled_array,
        wrap_table=wrap_table,
        wrap_spikes=wrap_spikes,
    )


def add_output(
    nwbfile: NWBFile,
    output: SimulationOutput,
    own_metadata: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    wrap: WrapMatrix,
    wrap_column: WrapColumn = load_column,
    wrap_labeled_array: WrapLabeledArray = load_array,
    *,
    wrap_table: WrapColumn = load_column,
    wrap_spikes: WrapColumn = load_column,
    in_processing: bool = False,
) -> NWBMapping:
    """Add the NWB objects of a recording to ``nwbfile``, which may have other objects.

    ``own_metadata`` are arguments of ``SimulationMetaData`` that replace those of the run. If
    ``in_processing`` is True, units and electrodes are added to the processing module ``ecephys``,
    beside those of a recording.
    """
    _check_not_contained(nwbfile, output, in_processing=in_processing)
    mapping = NWBMapping(nwbfile, wrap)
    _check_populations(output)
    metadata = nwbfile.lab_meta_data.get("simulation")
    known = () if metadata is None else metadata.compartments
    tables = _Tables(known, wrap_column, wrap_table)
    series_facts = _add_reports(mapping, output, tables, layouts)
    series_facts |= _add_potentials(mapping, output, layouts, in_processing=in_processing)
    group_names = add_arrays(nwbfile, output.arrays, wrap_labeled_array)
    for network in output.networks:
        state = make_state(network, free_nwb_name(network.name, nwbfile.acquisition), wrap_column)
        nwbfile.add_acquisition(state)
    run = {**run_metadata(output.run), **own_metadata}
    name = SIMULATED_UNITS if in_processing else "units"
    units, spike_facts = make_units(
        output.spikes, run.get("time_step"), name, wrap_column, wrap_spikes
    )
    if len(units) and in_processing:
        ecephys_module(nwbfile).add(units)
    elif len(units):
        nwbfile.units = units
    provenance = {**output.provenance, "series": series_facts, "spikes": spike_facts}
    provenance |= {"arrays": group_names} if group_names else {}
    named = zip(group_names, output.arrays, strict=True)
    intervals = {name: dict(group.extra) for name, group in named if group.kind == INTERVALS}
    provenance |= {"intervals": intervals} if intervals else {}
    if run or not _is_without_simulation(output, group_names):
        circuit = None if output.circuit is None else make_circuit(output.circuit, wrap_column)
        add_simulation_metadata(nwbfile, run, tables.all(), provenance, circuit)
    add_notes(nwbfile, [*output.notes, *mapping_notes(output)])
    return mapping


def add_in_memory(nwbfile: NWBFile, output: SimulationOutput) -> None:
    """Add the NWB objects of a recording, with its data in memory, to ``nwbfile``."""
    _check_not_contained(nwbfile, output)
    if "simulation" in nwbfile.lab_meta_data:
        msg = "the NWB file already has a simulation; add the output to another NWB file"
        raise NameClashError(msg)

    def load(data: LazyArray, _: Layout) -> Any:
        return read_columns(data, slice(None), None)

    add_output(nwbfile, output, {}, plan_output(output), load)


def describe_session(output: SimulationOutput) -> str:
    """Return the default description of a session."""
    sources = ", ".join(output.provenance.get("files", []))
    if _is_measured(output):
        return f"Data of instruments: {sources}"
    sources = sources or "a simulation"
    return f"Output of a simulation: {sources}"


def _is_measured(output: SimulationOutput) -> bool:
    """Return True if all data are those of instruments."""
    return output.provenance.get("format") == INSTRUMENTS and not _is_simulated(output)


def _is_simulated(output: SimulationOutput) -> bool:
    """Return True if an output has recordings, states or a circuit of a simulation."""
    recorded = (output.reports, output.potentials, output.spikes, output.networks)
    return any(recorded) or output.circuit is not None


def _is_without_simulation(output: SimulationOutput, group_names: Mapping[str, str]) -> bool:
    """Return True if an output has nothing to store in ``SimulationMetaData``.

    Files of the savers of PyMoDAQ have no provenance, and the names of their groups are those in
    NWB.
    """
    is_renamed = any(name != original for name, original in group_names.items())
    only_arrays = bool(output.arrays) and not _is_simulated(output)
    return only_arrays and not is_renamed and (_is_measured(output) or not output.provenance)


def matrices(output: SimulationOutput) -> list[LazyArray]:
    """Return the data of all reports and potentials, in the order of ``NWBMapping.pending``."""
    return [recorded.data for recorded in _series_of(output)]


def plan_output(
    output: SimulationOutput,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
) -> dict[str, Layout]:
    """Return the layout of the data of each report and potential, by its name in NWB."""
    widths = [report.compartments.width() for report in output.reports]
    return {
        name: plan_layout(
            (recorded.data.shape[0], recorded.data.shape[1]),
            recorded.data.dtype.itemsize,
            width,
            storage,
            workers,
        )
        for name, recorded, width in zip(
            series_names(output),
            _series_of(output),
            [*widths, *[1] * len(output.potentials)],
            strict=True,
        )
    }


_MOST_LOADED_BYTES = 2**20
"""Largest column of compartments that is loaded from a file before it is written."""

_RESERVED = {"id", "name", "description", "population", "cell_columns", "counts"}
"""Arguments and attributes of the table, which no column can have as its name."""


class _Tables:
    """The compartment tables of a file; reports with equal compartments share a table."""

    def __init__(
        self, existing_names: Iterable[str], wrap: WrapColumn, wrap_table: WrapColumn
    ) -> None:
        self._names = set(existing_names)
        self._wrap, self._wrap_table = wrap, wrap_table
        self._made: list[tuple[CompartmentTable, Compartments]] = []

    def all(self) -> list[Compartments]:
        return [table for _, table in self._made]

    def of(self, report: Report) -> Compartments:
        source = report.compartments
        for other, table in self._made:
            if other is source or (
                _outline(other) == _outline(source) and _digest(other) == _digest(source)
            ):
                return table
        name = self._free_name(report)
        self._names.add(name)
        table = _make_table(source, name, self._wrap, self._wrap_table)
        self._made.append((source, table))
        return table

    def _free_name(self, report: Report) -> str:
        """Return the first free name; ``compartments`` was the only one in version 0.2.6."""
        population = nwb_name(f"compartments_{report.population}")
        for name in ("compartments", population):
            if name not in self._names:
                return name
        return free_name(nwb_name(f"compartments_{report.name}"), self._names)


def _outline(table: CompartmentTable) -> Any:
    """Return what differs between most tables and is known without reading them."""
    columns = {name: array.dtype for name, array in table.columns.items()}
    return table.population, len(table), table.n_compartments, columns


def _digest(table: CompartmentTable) -> str:
    digest = hashlib.sha256(table.population.encode())
    arrays = {"id": table.cell_ids, "ends": table.ends, **table.columns}
    for name, array in table.cell_columns.items():
        if isinstance(array, Categories):
            digest.update(f"{name} {array.names} {array.missing}".encode())
        arrays[name] = array.codes if isinstance(array, Categories) else array
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        for block in row_blocks(array.shape[0]):
            values = np.ascontiguousarray(array[block])
            digest.update(repr(values.tolist()).encode() if values.dtype == object else values.data)
    return digest.hexdigest()


def _make_table(
    source: CompartmentTable, name: str, wrap: WrapColumn, wrap_table: WrapColumn
) -> Compartments:
    columns: dict[str, Any] = {
        column: values if _is_large(values) else np.asarray(values[:])
        for column, values in source.columns.items()
    }
    where = f"the compartments of population {source.population!r}"
    if "number" not in columns or columns["number"].dtype.kind not in "iu":
        found = columns["number"].dtype if "number" in columns else "not there"
        msg = f"column 'number' of {where} is {found}; expected an integer for each compartment"
        raise ShapeMismatchError(msg)
    for column in columns:
        check_name(column, f"a column of {where}")
        if column in _RESERVED or column != nwb_name(column):
            msg = f"a column of {where} is named {column!r}, which NWB does not allow; rename it"
            raise NameClashError(msg)
    of_cells = make_columns(
        named_properties(source.cell_columns, taken=source.columns), wrap, where=f" of {where}"
    )
    facts = {
        "name": name,
        "description": f"The recorded compartments of the cells of population {source.population}",
        "population": source.population,
    }
    cell_columns = {column.name: column for column in of_cells}
    if any(map(_is_large, columns.values())):
        if not ascends(source.cell_ids, strictly=True):
            check_unique(np.asarray(source.cell_ids[:]), f"cells of {where}")
        index = cast(source.ends, np.min_scalar_type(source.n_compartments))
        return make_compartments(
            wrap_table(cast(source.cell_ids, np.dtype(np.int64))),
            lambda: wrap_table(index),
            {name: wrap_table(one) if _is_large(one) else one for name, one in columns.items()},
            cell_columns,
            **facts,
        )
    made: Compartments = Compartments.from_arrays(
        columns.pop("number"),
        source.counts(),
        id=np.asarray(source.cell_ids[:]),
        cell_columns=cell_columns,
        **facts,
        **columns,
    )
    return made


def _is_large(values: LazyArray) -> bool:
    """Return True for numbers that are not in memory and are too many to load."""
    is_lazy = not isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
    return is_lazy and size_in_bytes(values) > _MOST_LOADED_BYTES


def _add_reports(
    mapping: NWBMapping, output: SimulationOutput, tables: _Tables, layouts: Mapping[str, Layout]
) -> dict[str, Any]:
    """Add the reports; return their provenance by the names of the series."""
    facts = {}
    for name, report in zip(series_names(output), output.reports, strict=False):
        layout = layouts[name]
        series = CompartmentSeries(
            name=name,
            data=mapping.wrap(report.data, layout),
            compartments=tables.of(report),
            unit=report.unit.name,
            conversion=report.unit.conversion,
            offset=report.unit.offset,
            description=report.description or "no description",
            **time_arguments(report.times),
        )
        mapping.add(series, report.data, layout)
        facts[series.name] = {
            "report": report.report,
            "variable": report.variable,
            **_original_name(name, report.name),
            **report.provenance,
        }
    return facts


def _add_potentials(
    mapping: NWBMapping,
    output: SimulationOutput,
    layouts: Mapping[str, Layout],
    *,
    in_processing: bool,
) -> dict[str, Any]:
    """Add the potentials; return their provenance by the names of the series."""
    facts = {}
    names = series_names(output)[len(output.reports) :]
    regions = add_electrodes(mapping.nwbfile, names, output.potentials, in_processing=in_processing)
    for name, potential, region in zip(names, output.potentials, regions, strict=True):
        layout = layouts[name]
        series = make_potential(name, potential, mapping.wrap(potential.data, layout), region)
        mapping.add(series, potential.data, layout)
        electrodes = potential.electrodes
        facts[series.name] = {
            "channels": np.asarray(potential.channel_ids).tolist(),
            "electrodes": dict(electrodes.provenance) if electrodes else None,
            **_original_name(name, potential.name),
            **potential.provenance,
        }
    return facts


def _series_of(output: SimulationOutput) -> list[Report | ExtracellularPotential]:
    return [*output.reports, *output.potentials]


def _original_name(name: str, original: str) -> dict[str, str]:
    """Return the name of a recording as provenance if its series has another."""
    return {} if name == original else {"name": original}


def series_names(output: SimulationOutput) -> list[str]:
    """Return the names in NWB of the series of reports, then of potentials: no two are equal.

    Raises NameClashError if two reports, or two potentials, have one name.
    """
    names: list[str] = []
    kinds: tuple[Sequence[Report | ExtracellularPotential], ...] = output.reports, output.potentials
    for recorded in kinds:
        originals = [item.name for item in recorded]
        for original in originals:
            if originals.count(original) > 1:
                msg = _clash(original, [item for item in recorded if item.name == original])
                raise NameClashError(msg)
        plain = {original for original in originals if free_nwb_name(original, ()) == original}
        for original in originals:
            # A name that NWB does not change goes before one that becomes equal to it.
            taken = names if original in plain else {*names, *plain}
            names.append(free_nwb_name(original, taken))
    return names


def mapping_notes(output: SimulationOutput) -> list[str]:
    """Return notes on names that are changed in NWB, and on columns that are computed for it."""
    tables = [report.compartments for report in output.reports]
    properties = [property_names(table.cell_columns, taken=table.columns) for table in tables]
    properties += [
        property_names(spikes.cells.columns) for spikes in output.spikes if spikes.cells is not None
    ]
    names = [
        f"{_described(recorded)} is named {name!r} in NWB"
        for recorded, name in zip(_series_of(output), series_names(output), strict=True)
        if name != recorded.name
    ]
    computed = [note for report in output.reports for note in report.compartments.notes()]
    return names + name_notes(properties, output.circuit) + computed


def _described(recorded: Report | ExtracellularPotential) -> str:
    if isinstance(recorded, Report):
        return f"report {recorded.name!r} of population {recorded.population!r}"
    return f"potential {recorded.name!r}"


def _clash(name: str, recorded: Sequence[Report | ExtracellularPotential]) -> str:
    named = [f"{name}_{getattr(one, 'population', number)}" for number, one in enumerate(recorded)]
    if len(set(named)) < len(named):
        named = [f"{name}_{number}" for number in range(1, len(named) + 1)]
    kind = "reports" if isinstance(recorded[0], Report) else "potentials"
    return (
        f"two {kind} are named {name!r}: {' and '.join(map(_described, recorded))}; expected names "
        f"that differ (name=), such as {' and '.join(map(repr, named))}"
    )


def _check_populations(output: SimulationOutput) -> None:
    populations = [spikes.population for spikes in output.spikes]
    for population in populations:
        if populations.count(population) > 1:
            msg = f"spikes of population {population!r} are described twice; expected one Spikes"
            raise NameClashError(msg)


def has_simulated_tables(nwbfile: NWBFile) -> bool:
    """Return True if the units or electrodes of the file are those of a simulation."""
    tables = [(nwbfile.units, "node_id"), (nwbfile.electrodes, "channel")]
    return any(table is not None and own in table.colnames for table, own in tables)


def _check_not_contained(
    nwbfile: NWBFile, output: SimulationOutput, *, in_processing: bool = False
) -> None:
    """Raise NameClashError if ``nwbfile`` already has objects that the output would add."""
    found = [
        f"acquisition {name!r}" for name in series_names(output) if name in nwbfile.acquisition
    ]
    metadata = nwbfile.lab_meta_data.get("simulation")
    if metadata is not None and metadata.container_source is not None:
        found.append("the metadata of a simulation, which are on disk")
    added = [
        ("units", SIMULATED_UNITS, any(has_cells(spikes) for spikes in output.spikes)),
        ("electrodes", SIMULATED_ELECTRODES, bool(output.potentials)),
    ]
    for name, in_module, is_added in added:
        existing = simulated_table(nwbfile, in_module) if in_processing else getattr(nwbfile, name)
        if is_added and existing is not None:
            found.append(existing.name)
    if found:
        msg = f"the NWB file already has {found[0]}; add the output to another NWB file"
        raise NameClashError(msg)
