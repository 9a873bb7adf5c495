"""Convert spikes to the NWB table ``Units``, with a row for each cell, and back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from hdmf.common.table import EnumData
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile
from pynwb.misc import Units

from ndx_simulation_output.nwb.circuit import make_columns, property_names
from ndx_simulation_output.nwb.network_state import WrapColumn, load_column
from ndx_simulation_output.nwb.series import column_names, read_property
from ndx_simulation_output.recording import CellTable, LazyArray, Spikes
from ndx_simulation_output.recording.cells import take_rows
from ndx_simulation_output.recording.ids import free_name, ids_of_source

SIMULATED_UNITS = "simulated_units"
"""The units of a simulation in a file that has units of a recording too."""

_SOURCE_POSITION = "source_position"
"""Ragged column: the index of each spike in its source, if sorting does not restore it."""

_DESCRIPTIONS = {
    "population": "Name of the population of the cell",
    "node_id": "Id of the cell in its population",
    "spike_times": "Times of the spikes of the cell, in seconds",
    "obs_intervals": "When the cell was recorded, start and stop in seconds",
    _SOURCE_POSITION: "Position of each spike among those of its population in the source",
    "source_rounding": "Units in the last place from the time in milliseconds, computed from "
    "spike_times, to the number in the source",
}
_RAGGED = ("spike_times", _SOURCE_POSITION, "source_rounding", "obs_intervals")
UNITS_COLUMNS = frozenset(_DESCRIPTIONS)
"""The columns of ``Units`` that ``read_units`` reads."""


@dataclass(frozen=True)
class _Sorted:
    """Spikes of a population sorted by cell and time; ``order`` (spike,) indexes the source."""

    cells: NDArray[Any]
    counts: NDArray[np.intp]
    order: NDArray[np.intp]
    source_order: str


def has_cells(spikes: Spikes) -> bool:
    """Return True if any cell, spiking or silent, was recorded."""
    return bool(len(spikes.times) or (spikes.silent is not None and len(spikes.silent)))


def make_units(
    populations: Sequence[Spikes],
    resolution: float | None,
    name: str = "units",
    wrap: WrapColumn = load_column,
) -> tuple[Units, list[dict[str, Any]]]:
    """Return a table of the spikes of all populations, and facts for ``read_units``.

    Rows are ordered by population and node id, and the spikes of a cell by time. ``resolution`` is
    the time step of the simulation in seconds, or None if it is unknown. ``wrap`` returns the data
    of a column of a property of the cells.
    """
    sorted_spikes = [_sort(spikes) for spikes in populations]
    counts = np.concatenate([part.counts for part in sorted_spikes] or [np.zeros(0, np.intp)])
    ends = np.cumsum(counts)
    names = [
        spikes.population
        for spikes, part in zip(populations, sorted_spikes, strict=True)
        for _ in range(len(part.cells))
    ]
    cells = np.concatenate([part.cells for part in sorted_spikes] or [np.zeros(0, np.int64)])
    columns = [_column("population", names), _column("node_id", cells)]
    for column, values in _ragged(populations, sorted_spikes).items():
        data = _column(column, values)
        columns += [data, VectorIndex(name=f"{column}_index", data=ends, target=data)]
    columns += _intervals(populations, sorted_spikes)
    properties, own_properties = _properties(populations, sorted_spikes)
    columns += make_columns(properties, wrap, where=" of the units")
    units = Units(
        name=name,
        description="Spikes of the simulated cells",
        id=np.arange(len(cells)),
        resolution=resolution,
        columns=columns,
        colnames=column_names(columns),
    )
    facts = [
        {**spikes.provenance, "population": spikes.population, "order": part.source_order, **own}
        for spikes, part, own in zip(populations, sorted_spikes, own_properties, strict=True)
    ]
    return units, facts


def write_units(io: NWBHDF5IO, nwbfile: NWBFile, populations: Sequence[Spikes]) -> None:
    """Write the units table of a file that does not have one yet."""
    time_step = nwbfile.lab_meta_data["simulation"].time_step
    nwbfile.units, _ = make_units(populations, time_step)
    io.write(nwbfile)


def read_units(units: Any, facts: Iterable[dict[str, Any]]) -> list[Spikes]:
    """Return the spikes of a ``Units`` table, or of None, in the order of their source.

    ``facts`` are those of ``make_units``, which also list populations without cells. Units of other
    software become one population, whose node ids are the ids of the units.
    """
    if units is None:
        empty = np.zeros(0, np.int64), np.zeros(0)
        return [Spikes(fact["population"], *empty, provenance=fact) for fact in facts]
    rows = len(units)
    data = units["population"].data if "population" in units.colnames else np.zeros(0)
    names = np.asarray(getattr(data, "dset", data)[:])  # hdmf decodes each text of ``dset``.
    names = names if len(names) else np.full(rows, "unknown", dtype=object)
    column = "node_id" if "node_id" in units.colnames else "id"
    cells = ids_of_source(np.asarray(units[column].data[:]), f"column {column!r} of the units")
    known = {fact["population"]: fact for fact in facts}
    rows_of = _rows_by_name(names)
    none = np.zeros(0, np.intp)
    columns = {name: _read_ragged(units, name) for name in _RAGGED if name in units.colnames}
    properties = {name: read_property(units, name) for name in property_columns(units)}
    return [
        _read_population(
            columns,
            name,
            rows_of.get(name, none),
            cells,
            known.get(name, {}),
            _properties_of(name, known, properties),
        )
        for name in dict.fromkeys([*known, *rows_of])
    ]


def property_columns(units: Any) -> list[str]:
    """Return the names of the columns of units that are properties of the cells."""
    of_schema = {column["name"] for column in Units.__columns__}
    return [
        name
        for name in ([] if units is None else units.colnames)
        if name not in UNITS_COLUMNS | of_schema
        and type(units[name]) in {VectorData, EnumData}
        and getattr(getattr(units[name].data, "dtype", None), "kind", "O") in "biufOSU"
    ]


def _properties_of(
    population: str,
    known: dict[str, dict[str, Any]],
    columns: dict[str, tuple[str, LazyArray]],
) -> dict[str, tuple[LazyArray, str | None]] | None:
    """Return values and type of each property of a population, None if the units have none."""
    own = known.get(population, {}).get("properties")
    if own is None and not columns:
        return None
    of_any = {
        column for fact in known.values() for column, _ in fact.get("properties", {}).values()
    }
    # Columns that users have added are those of all populations.
    found = {name: (values, None) for key, (name, values) in columns.items() if key not in of_any}
    return found | {
        name: (columns[column][1], dtype)
        for name, (column, dtype) in (own or {}).items()
        if column in columns
    }


def _sort(spikes: Spikes) -> _Sorted:
    order = np.lexsort((spikes.times, spikes.node_ids))
    cells, counts = np.unique(spikes.node_ids, return_counts=True)
    if spikes.silent is not None and len(spikes.silent):
        recorded = np.union1d(cells, spikes.silent)
        all_counts = np.zeros(len(recorded), np.intp)
        all_counts[np.searchsorted(recorded, cells)] = counts
        cells, counts = recorded, all_counts
    return _Sorted(cells, counts, order, _source_order(spikes, order))


def _source_order(spikes: Spikes, order: NDArray[np.intp]) -> str:
    """Return how the order of the source can be restored: by sorting, or by a column."""
    if np.array_equal(order, np.arange(len(order))):
        return "by_id"
    by_time = np.argsort(spikes.times[order], kind="stable")
    if np.array_equal(order[by_time], np.arange(len(order))):
        return "by_time"
    return _SOURCE_POSITION


def _ragged(
    populations: Sequence[Spikes], sorted_spikes: Sequence[_Sorted]
) -> dict[str, NDArray[Any]]:
    pairs = list(zip(populations, sorted_spikes, strict=True))
    dtypes = {name: one.dtype for spikes in populations for name, one in spikes.columns.items()}
    ragged = {"spike_times": _joined(spikes.times[part.order] for spikes, part in pairs)}
    if any(part.source_order == _SOURCE_POSITION for part in sorted_spikes):
        ragged[_SOURCE_POSITION] = _joined(part.order for part in sorted_spikes)
    for name, dtype in dtypes.items():
        ragged[name] = _joined(
            spikes.columns[name][part.order]
            if name in spikes.columns
            else np.zeros(len(part.order), dtype)
            for spikes, part in pairs
        )
    return ragged


def _intervals(populations: Sequence[Spikes], sorted_spikes: Sequence[_Sorted]) -> list[VectorData]:
    """Return the ragged column of the intervals in which each cell was observed, if any."""
    if all(spikes.intervals is None for spikes in populations):
        return []
    known = [
        np.zeros((0, 2)) if spikes.intervals is None else spikes.intervals for spikes in populations
    ]
    pairs = list(zip(known, sorted_spikes, strict=True))
    data = _column(
        "obs_intervals",
        np.concatenate([np.tile(rows, (len(part.cells), 1)) for rows, part in pairs]),
    )
    ends = np.cumsum(np.concatenate([np.full(len(part.cells), len(rows)) for rows, part in pairs]))
    return [data, VectorIndex(name="obs_intervals_index", data=ends, target=data)]


def _properties(
    populations: Sequence[Spikes], sorted_spikes: Sequence[_Sorted]
) -> tuple[dict[str, tuple[str, LazyArray]], list[dict[str, Any]]]:
    """Return the properties of the cells by column, and facts on those of each population.

    Values of populations that do not have a property are missing. Text and numbers of one name are
    two columns.
    """
    found: dict[tuple[str, Any], dict[int, LazyArray]] = {}
    for number, spikes in enumerate(populations):
        for name, values in ({} if spikes.cells is None else spikes.cells.columns).items():
            kind = "text" if values.dtype.kind in "OSU" else tuple(values.shape[1:])
            found.setdefault((name, kind), {})[number] = values
    rows = [
        np.zeros(len(part.cells), np.intp)
        if spikes.cells is None
        else spikes.cells.find_rows(part.cells)
        for spikes, part in zip(populations, sorted_spikes, strict=True)
    ]
    names = property_names(dict.fromkeys(name for name, _ in found))
    facts: list[dict[str, Any]] = [
        {} if spikes.cells is None else {"properties": {}} for spikes in populations
    ]
    columns: dict[str, tuple[str, LazyArray]] = {}
    for (name, _), arrays in found.items():
        others = {other for key, other in names.items() if key != name}
        column = free_name(names[name], {*columns, *others})
        values = take_rows([(arrays.get(number), one) for number, one in enumerate(rows)])
        columns[column] = name, values
        for number, array in arrays.items():
            kept = (rows[number] >= 0).all() and array.dtype != values.dtype
            dtype = array.dtype.str if kept and array.dtype.kind in "biu" else None
            facts[number]["properties"][name] = [column, dtype]
    return columns, facts


def _joined(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    arrays = list(parts)
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _column(name: str, data: Any) -> VectorData:
    return VectorData(name=name, description=_DESCRIPTIONS.get(name, name), data=data)


@dataclass(frozen=True)
class _Ragged:
    """A ragged column, read once for all populations; ``ends`` has shape (row,)."""

    values: NDArray[Any]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def _read_ragged(units: Any, name: str) -> _Ragged:
    ends = np.asarray(units[name].data[:], np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    return _Ragged(np.asarray(units[name].target.data[:]), starts, ends)


def _rows_by_name(names: NDArray[Any]) -> dict[str, NDArray[np.intp]]:
    """Return the indices of each name, in the order of their first ones."""
    # Equal names are mostly adjacent.
    starts = np.flatnonzero(np.append([True], names[1:] != names[:-1]))[: len(names)]
    numbers: dict[str, int] = {}
    texts = (one.decode() if isinstance(one, bytes) else one for one in names[starts].tolist())
    of_runs = [numbers.setdefault(text, len(numbers)) for text in texts]
    number_of = np.repeat(np.array(of_runs, np.intp), np.diff(starts, append=len(names)))
    counts = np.bincount(number_of, minlength=len(numbers))
    rows = np.split(np.argsort(number_of, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(numbers, rows, strict=False))


def _read_population(
    columns: dict[str, _Ragged],
    name: str,
    rows: NDArray[np.intp],
    cells: NDArray[Any],
    facts: dict[str, Any],
    properties: dict[str, tuple[LazyArray, str | None]] | None,
) -> Spikes:
    values, counts = _gather(columns, rows)
    ids = np.repeat(cells[rows], counts)
    # Sorted times with NaN cannot be searched.
    is_finite = np.isfinite(values["spike_times"])
    if not is_finite.all():
        ids, values = ids[is_finite], {key: column[is_finite] for key, column in values.items()}
    order, times = _restored_order(values, facts.get("order", "by_id"))
    sorted_by = {"spike_times", _SOURCE_POSITION}
    own = {key: column[order] for key, column in values.items() if key not in sorted_by}
    silent = cells[rows][counts == 0]
    return Spikes(
        name,
        ids[order],
        times,
        {key: column for key, column in own.items() if column.any()},
        {key: value for key, value in facts.items() if key != "properties"},
        silent=silent if len(silent) and "spike_times" in columns else None,
        intervals=_read_intervals(columns, rows),
        cells=None
        if properties is None
        else CellTable(
            name,
            cells[rows],
            {key: take_rows([(array, rows)], dtype) for key, (array, dtype) in properties.items()},
        ),
        checked=False,
    )


def _read_intervals(
    columns: dict[str, _Ragged], rows: NDArray[np.intp]
) -> NDArray[np.float64] | None:
    """Return the intervals in which the cells were observed, if these are equal for all."""
    if "obs_intervals" not in columns or not len(rows):
        return None
    column = columns["obs_intervals"]
    lengths = (column.ends - column.starts)[rows]
    if lengths.min() != lengths.max() or not lengths[0]:
        return None
    indices = column.starts[rows][:, np.newaxis] + np.arange(lengths[0])
    first: NDArray[np.float64] = column.values[indices[0]].astype(np.float64)
    return first if (column.values[indices] == first).all() else None


def _gather(
    columns: dict[str, _Ragged], rows: NDArray[np.intp]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Return the values of these rows in each column, and the number of spikes of each row."""
    names = [name for name in columns if name != "obs_intervals"]
    if "spike_times" not in names or not len(rows):
        counts = np.zeros(len(rows), np.int64)
        return {name: np.zeros(0) for name in ["spike_times", *names]}, counts
    starts, ends = columns["spike_times"].starts[rows], columns["spike_times"].ends[rows]
    counts = ends - starts
    selected: Any = slice(int(starts[0]), int(ends[-1]))
    if rows[-1] - rows[0] + 1 != len(rows):  # They are not adjacent.
        selected = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return {name: columns[name].values[selected] for name in names}, counts


def sort_times(times: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return what a stable argsort returns, in half of its time if few times are equal.

    The second array has the times in this order.
    """
    order = np.argsort(times)
    ordered = times[order]
    is_later = ordered[1:] != ordered[:-1]
    if is_later.all():
        return order, ordered
    # Equal times are sorted by their place: keys have the number of a time, then the place.
    keys = np.append(np.zeros(1, np.int64), np.cumsum(is_later)) * len(times)
    found: NDArray[np.intp] = np.sort(keys + order) - keys
    return found, times[found]


def _restored_order(
    values: dict[str, NDArray[Any]], source_order: str
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the order of spikes in their source, and the times in this order."""
    times = values["spike_times"]
    if source_order == "by_time":
        return sort_times(times)
    if source_order == _SOURCE_POSITION and _SOURCE_POSITION in values:
        order = order_of_positions(values[_SOURCE_POSITION])
        return order, times[order]
    return np.arange(len(times)), times


def order_of_positions(positions: NDArray[Any]) -> NDArray[np.intp]:
    """Return what a stable argsort returns, faster if positions are a permutation."""
    count = len(positions)
    if count and positions.min() >= 0 and positions.max() < count:
        order = np.full(count, -1, np.intp)
        order[positions] = np.arange(count)
        if (order >= 0).all():
            return order
    return np.argsort(positions, kind="stable")
