"""Convert extracellular potentials and their electrodes to NWB objects and back."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import NWBFile, ProcessingModule, TimeSeries
from pynwb.ecephys import ElectricalSeries, ElectrodesTable

from ndx_simulation_output.nwb.series import array_of, read_times, time_arguments
from ndx_simulation_output.recording import Electrodes, ExtracellularPotential, Unit
from ndx_simulation_output.recording.views import Matrix
from ndx_simulation_output.storage.reading import wrap_array

SIMULATED_ELECTRODES = "simulated_electrodes"
"""The electrodes of a simulation in a file that has electrodes of a recording too."""

_CHANNEL = "channel"

_POSITIONS = ("x", "y", "z")
_ELECTRODE_COLUMNS = {*_POSITIONS, _CHANNEL, "location", "group", "group_name", "imp", "filtering"}


def ecephys_module(nwbfile: NWBFile) -> ProcessingModule:
    """Return the processing module ``ecephys``; create it if it does not exist."""
    module = nwbfile.processing.get("ecephys")
    if module is None:
        description = "Data of extracellular electrophysiology"
        module = nwbfile.create_processing_module("ecephys", description)
    return module


def simulated_table(nwbfile: NWBFile, name: str) -> DynamicTable | None:
    """Return a table of the processing module ``ecephys``, or None if it does not exist."""
    module = nwbfile.processing.get("ecephys")
    return None if module is None else module.data_interfaces.get(name)


def add_electrodes(
    nwbfile: NWBFile,
    names: Sequence[str],
    potentials: Sequence[ExtracellularPotential],
    *,
    in_processing: bool,
) -> list[DynamicTableRegion]:
    """Add the electrodes of potentials; return the table region of the channels of each.

    ``names`` are those of the series of the potentials.
    """
    if not potentials:
        return []
    table = ElectrodesTable()
    if in_processing:
        table = DynamicTable(name=SIMULATED_ELECTRODES, description="Electrodes of the simulation")
        for name in (*_POSITIONS, "location", "group", "group_name"):
            table.add_column(name, f"{name} of the electrode")
    device = nwbfile.create_device("simulated electrodes", "Electrodes of the simulation")
    table.add_column(_CHANNEL, "Id of the channel in the source")
    extras = {
        name: values
        for potential in potentials
        if potential.electrodes is not None
        for name, values in potential.electrodes.columns.items()
    }
    for name in extras:
        table.add_column(name, f"{name} of the source")
    regions = []
    for series, potential in zip(names, potentials, strict=True):
        group = nwbfile.create_electrode_group(
            _electrode_group(series),
            description="Electrodes of the simulation",
            location="unknown",
            device=device,
        )
        rows = _add_channels(table, potential, group, list(extras))
        region = DynamicTableRegion(
            name="electrodes", data=rows, description="the recorded channels", table=table
        )
        regions.append(region)
    if in_processing:
        ecephys_module(nwbfile).add(table)
    else:
        nwbfile.electrodes = table
    return regions


def make_potential(
    name: str,
    potential: ExtracellularPotential,
    data: DataIO | NDArray[Any],
    electrodes: DynamicTableRegion,
) -> TimeSeries:
    """Return the series ``name`` of a potential, whose channels are ``electrodes``."""
    arguments = {
        "name": name,
        "data": data,
        "conversion": potential.unit.conversion,
        "offset": potential.unit.offset,
        "description": "Extracellular potential at each channel",
        **time_arguments(potential.times),
    }
    if potential.unit.name == "volts":
        return ElectricalSeries(electrodes=electrodes, **arguments)
    # The unit of an ElectricalSeries is always volts.
    return TimeSeries(unit=potential.unit.name, **arguments)


class ElectrodeRows:
    """An electrodes table, of which each column is read once for all potentials."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self._columns: dict[str, NDArray[Any]] = {}

    def column(self, name: str) -> NDArray[Any]:
        """Return a column; the names of the groups for ``group``."""
        if name not in self._columns:
            values = self.table[name].data[:]
            named = [group.name for group in values] if name == "group" else values
            self._columns[name] = np.asarray(named)
        return self._columns[name]

    @cached_property
    def channels(self) -> NDArray[np.int64]:
        """Id of the channel of each electrode in the source."""
        is_known = _CHANNEL in self.table.colnames
        return np.asarray(self.column(_CHANNEL) if is_known else self.table.id[:], np.int64)

    @cached_property
    def rows(self) -> dict[str, NDArray[np.intp]]:
        """Rows of each group that have a position."""
        if not set(_POSITIONS) <= set(self.table.colnames):
            return {}
        places = np.column_stack([self.column(axis) for axis in _POSITIONS]).astype(float)
        found: dict[str, list[int]] = {}
        for row in np.flatnonzero(~np.isnan(places).all(axis=1)).tolist():
            found.setdefault(self.column("group")[row], []).append(row)
        return {name: np.asarray(rows, np.intp) for name, rows in found.items()}

    def electrodes(self, groups: set[str], facts: dict[str, Any]) -> Electrodes | None:
        """Return the electrodes of ``groups`` that have positions, or None."""
        found = [self.rows[name] for name in groups if name in self.rows]
        if not found:
            return None
        rows = np.sort(np.concatenate(found))
        positions = np.column_stack([self.column(axis)[rows] for axis in _POSITIONS])
        names = [name for name in self.table.colnames if name not in _ELECTRODE_COLUMNS]
        columns = {name: self.column(name)[rows] for name in names}
        return Electrodes(self.channels[rows], positions.astype(float), columns, facts)


def read_potential(
    series: TimeSeries, facts: dict[str, Any], tables: dict[int, ElectrodeRows], table: Any
) -> ExtracellularPotential:
    """Convert a series to a potential.

    ``facts`` are its provenance, ``table`` is the electrodes table of the file or None, and
    ``tables`` keeps what is read of tables, by their id.
    """
    data = wrap_array(array_of(series.data, f"series {series.name!r}"))
    data = data if len(data.shape) > 1 else Matrix(data)
    channels = facts.pop("channels", None)
    electrode_facts = facts.pop("electrodes", None)
    is_electrical = isinstance(series, ElectricalSeries)
    table = series.electrodes.table if is_electrical else table
    read = tables.setdefault(id(table), ElectrodeRows(table))
    groups = {_electrode_group(series.name)}
    if is_electrical:
        rows = np.asarray(series.electrodes.data[:], np.intp)
        channels = read.channels[rows] if channels is None else channels
        groups = set(read.column("group")[rows].tolist())
    return ExtracellularPotential(
        name=facts.pop("name", series.name),
        data=data,
        times=read_times(series, data.shape[0]),
        channel_ids=np.asarray(channels, np.int64),
        unit=Unit(series.unit, float(series.conversion), float(series.offset), checked=False),
        electrodes=None if table is None else read.electrodes(groups, electrode_facts or {}),
        provenance=facts,
    )


def _electrode_group(series: str) -> str:
    return f"electrodes_{series}"


def _add_channels(
    table: DynamicTable, potential: ExtracellularPotential, group: Any, extras: list[str]
) -> list[int]:
    electrodes = potential.electrodes or Electrodes(np.zeros(0, np.int64), np.zeros((0, 3)))
    channels = np.asarray(potential.channel_ids).tolist()
    ids = dict.fromkeys([*electrodes.ids.tolist(), *channels])
    first = len(table)
    for index, channel in enumerate(ids):
        is_known = index < len(electrodes.ids)
        position = electrodes.positions[index] if is_known else np.full(3, np.nan)
        table.add_row(
            x=float(position[0]),
            y=float(position[1]),
            z=float(position[2]),
            location="unknown",
            group=group,
            group_name=group.name,
            **{_CHANNEL: channel},
            **{name: _extra_value(electrodes, name, index, is_known=is_known) for name in extras},
        )
    rows = {channel: first + index for index, channel in enumerate(ids)}
    return [rows[channel] for channel in channels]


def _extra_value(electrodes: Electrodes, name: str, index: int, *, is_known: bool) -> Any:
    values = electrodes.columns.get(name)
    if values is not None and is_known:
        return values[index].item() if hasattr(values[index], "item") else values[index]
    return "" if values is None or values.dtype.kind in "OU" else float("nan")
