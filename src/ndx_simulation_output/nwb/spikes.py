"""Convert spikes to the NWB table ``Units``, with a row for each cell, and back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from hdmf.common.table import EnumData
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile
from pynwb.misc import Units

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb.circuit import make_columns, property_names
from ndx_simulation_output.nwb.network_state import WrapColumn, load_column
from ndx_simulation_output.nwb.series import array_of, column_names, column_values, read_property
from ndx_simulation_output.recording import CellTable, LazyArray, Spikes
from ndx_simulation_output.recording.arrays import LazyArrayBase, place_in_file
from ndx_simulation_output.recording.cells import take_rows
from ndx_simulation_output.recording.ids import (
    distinct_ids,
    free_name,
    ids_of_source,
    positions_of,
)
from ndx_simulation_output.recording.sorting import (
    KeyCounter,
    Repeated,
    SortedColumns,
    Values,
    join_ranges,
    range_edges,
    read_rows,
    sort_in_ranges,
    sort_times,
)
from ndx_simulation_output.recording.spikes import (
    FEW,
    Ids,
    SpikeBlock,
    Window,
    are_sorted,
    in_window,
)

_BLOCK = 2**20
"""Spikes that are read at a time."""
_TEXTS = 2**16
"""Names of populations that are read at a time."""

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


_BUCKET = 2**20
"""Spikes that are sorted at a time, unless a single cell has more."""


@dataclass(frozen=True)
class _Counted:
    """The cells of a population, which ascend, and the number of spikes of each.

    ``like`` has the first columns of the spikes, and ``source_order`` the order of their source.
    """

    spikes: Spikes
    cells: NDArray[Any]
    counts: NDArray[np.int64]
    like: dict[str, NDArray[Any]]
    source_order: str

    @property
    def length(self) -> int:
        """Number of spikes."""
        return int(self.counts.sum())


def has_cells(spikes: Spikes) -> bool:
    """Return True if any cell, spiking or silent, was recorded."""
    if spikes.silent is not None and len(spikes.silent):
        return True
    return any(len(block.times) for block in spikes.blocks())


def make_units(
    populations: Sequence[Spikes],
    resolution: float | None,
    name: str = "units",
    wrap: WrapColumn = load_column,
    wrap_spikes: WrapColumn = load_column,
) -> tuple[Units, list[dict[str, Any]]]:
    """Return a table of the spikes of all populations, and facts for ``read_units``.

    Rows are ordered by population and node id, and the spikes of a cell by time. ``resolution`` is
    the time step of the simulation in seconds, or None if it is unknown. ``wrap`` returns the data
    of a column of a property of the cells, and ``wrap_spikes`` those of a column of spikes.
    """
    counted = [_count(spikes) for spikes in populations]
    counts = np.concatenate([part.counts for part in counted] or [np.zeros(0, np.intp)])
    ends = np.cumsum(counts)
    cells = np.concatenate([part.cells for part in counted] or [np.zeros(0, np.int64)])
    names = np.array([spikes.population for spikes in populations], object)
    rows = np.cumsum([len(part.cells) for part in counted], dtype=np.int64)
    columns = [
        _column("population", wrap_spikes(Repeated(names, rows))),
        _column("node_id", cells),
    ]
    for column, values in _ragged(counted).items():
        data = _column(column, wrap_spikes(values))
        # hdmf looks for the target of an index before it leaves out columns that are iterators.
        columns += [VectorIndex(name=f"{column}_index", data=ends, target=data), data]
    columns += _intervals(populations, counted)
    properties, own_properties = _properties(populations, counted)
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
        for spikes, part, own in zip(populations, counted, own_properties, strict=True)
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
    table = _UnitsTable.of(units)
    known = {fact["population"]: fact for fact in facts}
    rows_of = _rows_by_name(units)
    none = np.zeros(0, np.intp)
    properties = {name: read_property(units, name) for name in property_columns(units)}
    return [
        Spikes.of_source(
            name,
            _StoredSpikes(
                table,
                name,
                rows_of.get(name, none),
                known.get(name, {}),
                _properties_of(name, known, properties),
            ),
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


def _count(spikes: Spikes) -> _Counted:
    """Count the spikes of each cell, and find out how sorting restores the order of the source."""
    counter: KeyCounter | None = None
    like: dict[str, NDArray[Any]] = {"spike_times": np.zeros(0)}
    by_id = by_time = True
    last: Any = [], []
    for ids, times, columns in spikes.blocks():
        if counter is None:
            counter = KeyCounter(ids.dtype)
            like |= {name: values[:0] for name, values in columns.items()}
            last = ids[:0], times[:0]
        counter.add(ids)
        joined = np.concatenate([last[0], ids]), np.concatenate([last[1], times])
        by_id = by_id and _ascend(*joined)
        by_time = by_time and _ascend(*reversed(joined))
        last = ids[-1:], times[-1:]
    cells, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if counter is not None:
        cells, counts = counter.result()
    if spikes.silent is not None and len(spikes.silent):
        recorded = np.union1d(cells, spikes.silent)
        all_counts = np.zeros(len(recorded), np.int64)
        all_counts[np.searchsorted(recorded, cells)] = counts
        cells, counts = recorded, all_counts
    source_order = "by_id" if by_id else "by_time" if by_time else _SOURCE_POSITION
    return _Counted(spikes, cells, counts, like, source_order)


def _ascend(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return True if pairs ascend: by the first of each, and if these are equal by the second."""
    is_after = first[1:] > first[:-1]
    if is_after.all():
        return True
    is_after |= (first[1:] == first[:-1]) & (second[1:] >= second[:-1])
    return bool(is_after.all())


def _ragged(counted: Sequence[_Counted]) -> dict[str, LazyArray]:
    """Return the columns of the spikes of all populations, which are sorted when they are read."""
    like: dict[str, list[NDArray[Any]]] = {"spike_times": []}
    if any(part.source_order == _SOURCE_POSITION for part in counted):
        like[_SOURCE_POSITION] = [np.zeros(0, np.intp)]
    for part in counted:
        for name, values in part.like.items():
            like.setdefault(name, []).append(values)
    parts = [_SortedSpikes(part, with_positions=_SOURCE_POSITION in like) for part in counted]
    return {
        name: _Column(parts, name, np.concatenate(values or [np.zeros(0)]))
        for name, values in like.items()
    }


class _SortedSpikes:
    """The spikes of a population, sorted by cell and time when the first are read."""

    def __init__(self, counted: _Counted, *, with_positions: bool) -> None:
        self._counted, self._with_positions = counted, with_positions

    def __len__(self) -> int:
        return self._counted.length

    def read(self, name: str, start: int, stop: int) -> NDArray[Any] | None:
        """Return the spikes ``[start, stop)`` of a column; None if the population has no such."""
        is_there = name in self._counted.like or name == _SOURCE_POSITION
        return self._columns.read(name, start, stop) if is_there else None

    @cached_property
    def _columns(self) -> SortedColumns:
        """The sorted columns, for which the spikes are read once."""
        counted = self._counted
        like = {**counted.like, "row": np.zeros(0, np.uint32)}
        if self._with_positions:
            like[_SOURCE_POSITION] = np.zeros(0, np.intp)
        bucket_of = ((np.cumsum(counted.counts) - counted.counts) // _BUCKET).astype(np.uint16)
        sizes = np.bincount(bucket_of, counted.counts).astype(np.int64)
        is_sorted = counted.source_order == "by_id"
        columns = SortedColumns(like, sizes, _as_it_is if is_sorted else _order_of_cells)
        first = 0
        for ids, times, others in counted.spikes.blocks():
            rows = positions_of(ids.astype(np.int64), counted.cells.astype(np.int64))
            values = {**others, "spike_times": times, "row": rows}
            if self._with_positions:
                values[_SOURCE_POSITION] = np.arange(first, first + len(ids))
            columns.add(values, bucket_of[rows])
            first += len(ids)
        return columns


def _as_it_is(values: Values) -> NDArray[np.intp]:
    return np.arange(len(values["row"]))


def _order_of_cells(values: Values) -> NDArray[np.intp]:
    """Return the order of spikes by row and time, in which equal ones keep theirs."""
    rows, times = values["row"], values["spike_times"]
    order, sorted_rows = _order_of_rows(rows)
    ordered = times[order]
    if not (~(ordered[1:] >= ordered[:-1]) & (sorted_rows[1:] == sorted_rows[:-1])).any():
        return order
    by_time, _ = sort_times(times)
    return by_time[_order_of_rows(rows[by_time])[0]]


def _order_of_rows(rows: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Return the stable order of rows, and the sorted ones, less the lowest.

    numpy sorts unequal numbers several times faster than it finds a stable order.
    """
    bits = np.uint64(len(rows).bit_length())
    keys = rows.astype(np.uint64)
    keys -= keys.min()
    keys <<= bits
    keys |= np.arange(len(rows), dtype=np.uint64)
    keys.sort()
    order = (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.intp)
    return order, keys >> bits


@dataclass(frozen=True)
class _Column(LazyArrayBase):
    """A column of the spikes of all populations, one after another, of the type of ``like``.

    Populations without it have zeros.
    """

    parts: Sequence[_SortedSpikes]
    name: str
    like: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of spikes, and the shape of a value."""
        return (sum(map(len, self.parts)), *self.like.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.like.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, step = slices[0].indices(self.shape[0])
        values = np.zeros((max(stop - start, 0), *self.like.shape[1:]), self.dtype)
        begin = 0
        for part in self.parts:
            first, last = max(start, begin), min(stop, begin + len(part))
            if first < last:
                found = part.read(self.name, first - begin, last - begin)
                if found is not None:
                    values[first - start : last - start] = found
            begin += len(part)
        return values[(slice(None, None, step), *slices[1:])]


def _intervals(populations: Sequence[Spikes], counted: Sequence[_Counted]) -> list[VectorData]:
    """Return the ragged column of the intervals in which each cell was observed, if any."""
    if all(spikes.intervals is None for spikes in populations):
        return []
    known = [
        np.zeros((0, 2)) if spikes.intervals is None else spikes.intervals for spikes in populations
    ]
    pairs = list(zip(known, counted, strict=True))
    data = _column(
        "obs_intervals",
        np.concatenate([np.tile(rows, (len(part.cells), 1)) for rows, part in pairs]),
    )
    ends = np.cumsum(np.concatenate([np.full(len(part.cells), len(rows)) for rows, part in pairs]))
    return [data, VectorIndex(name="obs_intervals_index", data=ends, target=data)]


def _properties(
    populations: Sequence[Spikes], counted: Sequence[_Counted]
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
        for spikes, part in zip(populations, counted, strict=True)
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


def _joined(parts: Iterable[NDArray[Any]], dtype: Any = np.float64) -> NDArray[Any]:
    """Return arrays one after another, and none of them as an empty one of a type."""
    arrays = list(parts)
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _column(name: str, data: Any) -> VectorData:
    return VectorData(name=name, description=_DESCRIPTIONS.get(name, name), data=data)


@dataclass(frozen=True)
class _UnitsTable:
    """The ids and the ragged columns of a table of units; the columns are read when needed."""

    cells: NDArray[np.int64]
    columns: "dict[str, _Ragged]"

    @classmethod
    def of(cls, units: Any) -> "_UnitsTable":
        """Return a table of which the ids are read."""
        column = "node_id" if "node_id" in units.colnames else "id"
        where = f"column {column!r} of the units"
        columns = {}
        for name in _RAGGED:
            if name in units.colnames:
                values = column_values(units, name)
                # Of few spikes, the columns are read once for all populations.
                values = np.asarray(values[:]) if values.shape[0] <= FEW else values
                index = array_of(units[name].data, f"column {name}_index of the units")
                columns[name] = _Ragged(values, index)
        return cls(ids_of_source(np.asarray(units[column].data[:]), where), columns)


@dataclass(frozen=True)
class _Ragged:
    """A ragged column: the ``values`` of one row after another, and the ``index`` of row ends."""

    values: LazyArray
    index: LazyArray

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        """The start of the first row, and the end of each row."""
        edges = np.zeros(self.index.shape[0] + 1, np.int64)
        edges[1:] = self.index[:]
        if (edges[1:] < edges[:-1]).any() or int(edges[-1]) > self.values.shape[0]:
            msg = f"{place_in_file(self.index)} does not ascend to at most the "
            raise ShapeMismatchError(msg + f"{self.values.shape[0]} values of its column")
        return edges

    @property
    def ends(self) -> NDArray[np.int64]:
        """The end of each row."""
        return self._edges[1:]

    @property
    def starts(self) -> NDArray[np.int64]:
        """The start of each row."""
        return self._edges[:-1]


def _rows_by_name(units: Any) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each population, in the order of their first ones."""
    data = units["population"].data if "population" in units.colnames else np.zeros(0)
    data = getattr(data, "dset", data)  # hdmf decodes each text of ``dset``.
    rows = len(data)
    if not rows:
        return {"unknown": np.arange(len(units))} if len(units) else {}
    numbers: dict[str, int] = {}
    number_of = np.empty(rows, np.int32)
    for first in range(0, rows, _TEXTS):
        names = np.asarray(data[first : first + _TEXTS])
        # Equal names are mostly adjacent.
        starts = np.flatnonzero(np.append([True], names[1:] != names[:-1]))
        texts = (one.decode() if isinstance(one, bytes) else one for one in names[starts].tolist())
        of_runs = [numbers.setdefault(text, len(numbers)) for text in texts]
        lengths = np.diff(starts, append=len(names))
        number_of[first : first + len(names)] = np.repeat(np.array(of_runs, np.int32), lengths)
    counts = np.bincount(number_of, minlength=len(numbers))
    order = np.arange(rows) if len(numbers) == 1 else np.argsort(number_of, kind="stable")
    return dict(zip(numbers, np.split(order, np.cumsum(counts)[:-1]), strict=True))


_Place = slice | NDArray[np.intp]
"""Places of spikes in the columns."""
_Found = tuple[SpikeBlock, _Place]
_ALWAYS = None, None
_OF_BLOCKS = {"node_id", "spike_times"}


@dataclass(frozen=True)
class _StoredSpikes:
    """The spikes of ``rows`` of units, sorted by row and time, in the order of their source."""

    table: _UnitsTable
    population: str
    rows: NDArray[np.intp]
    facts: dict[str, Any]
    properties: dict[str, tuple[LazyArray, str | None]] | None

    @property
    def stored(self) -> int:
        """Number of stored spikes."""
        return int(self._counts.sum()) if self._has_spikes else 0

    @property
    def provenance(self) -> dict[str, Any]:
        """The provenance of the spikes."""
        return {key: value for key, value in self.facts.items() if key != "properties"}

    @property
    def _has_spikes(self) -> bool:
        return "spike_times" in self.table.columns and len(self.rows) > 0

    @property
    def _place(self) -> "_Place":
        """The rows, as a slice if they are adjacent, which copies nothing."""
        first, last = (int(self.rows[0]), int(self.rows[-1])) if len(self.rows) else (0, -1)
        return slice(first, last + 1) if last - first + 1 == len(self.rows) else self.rows

    @cached_property
    def _cells(self) -> Ids:
        """The id of the cell of each row."""
        cells: Ids = self.table.cells[self._place]
        return cells

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        starts: NDArray[np.int64] = self.table.columns["spike_times"].starts[self._place]
        return starts

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Number of spikes of each row."""
        if not self._has_spikes:
            return np.zeros(len(self.rows), np.int64)
        counts: NDArray[np.int64] = (
            self.table.columns["spike_times"].ends[self._place] - self._starts
        )
        return counts

    def are_sorted(self, by: str) -> bool:
        """Return True if the source is sorted by "node_ids" or "times"."""
        if self._order == "by_id" and by == "node_ids":
            ids = self._cells[self._counts > 0]
            return bool((ids[1:] >= ids[:-1]).all())
        if self._order == "by_time":
            return by == "times"
        return are_sorted(self.blocks(_BLOCK), by)

    @property
    def like(self) -> Mapping[str, NDArray[Any]]:
        """The columns, without spikes."""
        return {name: self.table.columns[name].values[:0] for name in self._columns}

    def read(self, name: str) -> dict[str, Any]:
        """Return the value of a field of ``Spikes``, and of those that are read with it."""
        if name in SpikeBlock._fields:
            return self.take(None, _ALWAYS)._asdict()
        value: Any = None
        if name == "provenance":
            value = self.provenance
        elif name == "silent" and "spike_times" in self.table.columns:
            silent = self._cells[self._counts == 0]
            value = silent if len(silent) else None
        elif name == "intervals":
            value = _read_intervals(self.table.columns, self.rows)
        elif name == "cells" and self.properties is not None:
            value = CellTable(
                self.population,
                self._cells,
                {
                    key: take_rows([(array, self.rows)], dtype)
                    for key, (array, dtype) in self.properties.items()
                },
            )
        return {name: value}

    def spiking(self) -> Ids:
        """Return the ids of the cells that have spikes."""
        return distinct_ids(self._cells[self._counts > 0])

    def parts(self, cells: Ids | None, window: Window) -> Iterator[SpikeBlock]:
        """Yield the spikes of ``cells`` in a window, sorted by row and time, without columns."""
        for block, _ in self._found(cells, window):
            yield block

    def take(self, cells: Ids | None, window: Window) -> SpikeBlock:
        """Return the spikes of ``cells`` in a window, in the order of the source."""
        return self._in_order(list(self._found(cells, window)))

    def blocks(self, size: int) -> Iterator[SpikeBlock]:
        """Yield all spikes in the order of the source, at most ``size`` at a time."""
        for block in self._ranges():
            for start in range(0, len(block.times), size):
                part = slice(start, start + size)
                columns = {name: values[part] for name, values in block.columns.items()}
                yield SpikeBlock(block.node_ids[part], block.times[part], columns)

    def _ranges(self) -> Iterator[SpikeBlock]:
        """Yield one range of the order of the source after another."""
        if self._order == "by_id":
            yield from (self._in_order([found]) for found in self._found(None, _ALWAYS))
            return
        for values in self._in_ranges().buckets():
            ids, times = values.pop("node_id"), values.pop("spike_times")
            values.pop(_SOURCE_POSITION, None)
            yield SpikeBlock(ids, times, values)

    def _in_ranges(self) -> SortedColumns:
        """Return the spikes sorted as in the source, for which they are read once."""
        key, by_time = _SOURCE_POSITION, self._order == "by_time"
        edges: NDArray[Any] = np.arange(_BLOCK, self.stored, _BLOCK)
        if by_time:
            key = "spike_times"
            edges = range_edges((part.times for part in self.parts(None, _ALWAYS)), self.stored)
        keys = (self._values(key, place) for _, place in self._found(None, _ALWAYS))
        stored = {name: self.table.columns[name].values for name in {*self._columns, key}}
        like = {"node_id": self._cells[:0], "spike_times": np.zeros(0)}
        like |= {name: values[:0] for name, values in stored.items() if name != "spike_times"}
        rows = (
            {"node_id": block.node_ids, "spike_times": block.times}
            | {name: self._values(name, place) for name in like.keys() - _OF_BLOCKS}
            for block, place in self._found(None, _ALWAYS)
        )
        order = _order_of_times if by_time else _order_of_source
        return sort_in_ranges(key, keys, edges, like, rows, order)

    @property
    def _order(self) -> str:
        order = self.facts.get("order", "by_id")
        is_known = order == "by_time" or order in self.table.columns
        return str(order) if is_known else "by_id"

    def _found(self, cells: Ids | None, window: Window) -> Iterator[_Found]:
        """Yield the spikes of ``cells`` in a window, and their places in the columns."""
        for ids, place in self._places(cells):
            times = np.asarray(self._values("spike_times", place), np.float64)
            chosen = in_window(times, window)
            if chosen.all():
                yield SpikeBlock(ids, times, {}), place
            else:
                at = np.flatnonzero(chosen)
                places = at + place.start if isinstance(place, slice) else place[at]
                yield SpikeBlock(ids[at], times[at], {}), places

    def _places(self, cells: Ids | None) -> Iterator[tuple[NDArray[Any], _Place]]:
        """Yield ids, and places in the columns, of the spikes of some cells, a block at a time."""
        rows = np.flatnonzero(self._counts)
        if cells is not None:
            rows = rows[positions_of(self._cells[rows], cells) >= 0]
        ends = np.cumsum(self._counts[rows])
        first = 0
        while first < len(rows):
            before = int(ends[first - 1]) if first else 0
            last = max(int(np.searchsorted(ends, before + _BLOCK, "right")), first + 1)
            some = rows[first:last]
            starts, counts = self._starts[some], self._counts[some]
            place: _Place = slice(int(starts[0]), int(starts[-1] + counts[-1]))
            if (starts[1:] != starts[:-1] + counts[:-1]).any():
                place = join_ranges(starts, starts + counts)
            yield np.repeat(self._cells[some], counts), place
            first = last

    def _values(self, name: str, place: _Place) -> NDArray[Any]:
        """Return values of a column."""
        values = self.table.columns[name].values
        return np.asarray(values[place]) if isinstance(place, slice) else read_rows(values, place)

    def _in_order(self, found: Sequence[_Found]) -> SpikeBlock:
        """Return spikes in the order of the source, with their columns."""
        ids = _joined((block.node_ids for block, _ in found), np.int64)
        times = _joined((block.times for block, _ in found), np.float64)
        order: Any = slice(None)
        if self._order == "by_time":
            order, times = sort_times(times)
        elif self._order == _SOURCE_POSITION:
            places = (self._values(_SOURCE_POSITION, place) for _, place in found)
            order = order_of_positions(_joined(places, np.int64))
            times = times[order]
        columns = {
            name: _joined((self._values(name, place) for _, place in found), np.int64)[order]
            for name in self._columns
        }
        return SpikeBlock(ids[order], times, columns)

    @cached_property
    def _columns(self) -> list[str]:
        """The names of the columns of spikes that have a value other than 0."""
        others = {"spike_times", _SOURCE_POSITION, "obs_intervals"}
        return [
            name
            for name in self.table.columns
            if name not in others
            and any(self._values(name, place).any() for _, place in self._found(None, _ALWAYS))
        ]


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
    values = np.asarray(column.values[:])
    first: NDArray[np.float64] = values[indices[0]].astype(np.float64)
    return first if (values[indices] == first).all() else None


def _order_of_times(values: Values) -> NDArray[np.intp]:
    return sort_times(values["spike_times"])[0]


def _order_of_source(values: Values) -> NDArray[np.intp]:
    return order_of_positions(values[_SOURCE_POSITION])


def order_of_positions(positions: NDArray[Any]) -> NDArray[np.intp]:
    """Return what a stable argsort returns, faster if positions are a permutation."""
    count = len(positions)
    if count and positions.min() >= 0 and positions.max() < count:
        order = np.full(count, -1, np.intp)
        order[positions] = np.arange(count)
        if (order >= 0).all():
            return order
    return np.argsort(positions, kind="stable")
