"""Read and write the mapping of a report, from columns of its data to compartments."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputWarning, SourceError
from ndx_simulation_output.recording import CompartmentTable, LazyArray, Report
from ndx_simulation_output.recording.ids import free_name, repeated_values
from ndx_simulation_output.recording.sorting import ascends, row_blocks
from ndx_simulation_output.recording.views import Part, _View
from ndx_simulation_output.sonata.hdf5 import (
    child,
    first_dataset,
    ids_in,
    location,
    read_ids,
    read_numbers,
    read_vector,
    stored_values,
    write_ids,
    write_vector,
)
from ndx_simulation_output.storage.reading import HDF5Array, wrap_array

NODE_IDS = ("node_ids", "gids")

_POINTERS = ("index_pointers", "index_pointer")
_ELEMENT_IDS = ("element_ids", "element_id")
_KNOWN = {*_POINTERS, *_ELEMENT_IDS, *NODE_IDS, "element_pos", "time"}

# Columns of a CompartmentTable that are not written as additional columns.
_OWN_COLUMNS = {"number", "position", "source_column"}
# Names that NWB tables use, which an additional column cannot have.
_RESERVED = {*_OWN_COLUMNS, "population", "counts", "cell_columns", "cls", "id", "name", "parent"}
_RESERVED |= {"description", "columns", "colnames", "fields", "children", "container_source"}
_RESERVED |= {"object_id", "namespace", "data_type", "neurodata_type", "modified"}
_FLOAT_COLUMNS = {"x", "y", "z", "diameter"}

_INT64 = np.dtype(np.int64)
_ANY = -(2**63)  # the lowest of ids that may be negative
_MOST_IN_MEMORY = 2**21
"""Largest number of cells, or of compartments, whose values are kept in memory."""

_DTYPES = {
    "allen": {"node_ids": "<u8", "element_ids": "<u8", "pointers": "<u8"},
    "bbp": {"node_ids": "<u8", "element_ids": "<u4", "pointers": "<u8"},
}


ComputePositions = Callable[
    [NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64] | None
]
"""Return positions (compartment,) from cells (cell,), counts (cell,), sections (compartment,)."""


@dataclass(frozen=True)
class CellColumns:
    """The columns of the data of each cell: the first ``counts[0]`` of ``columns``, and so on.

    Shapes: ``cells`` and ``counts`` (cell,), ``columns`` (compartment,). ``reordered`` is True if
    ``columns`` do not ascend. ``entries`` are the original entries if the source repeats cells.
    """

    cells: NDArray[np.int64]
    counts: NDArray[np.int64]
    columns: NDArray[np.int64]
    reordered: bool = False
    entries: "CellColumns | None" = None

    def spread(self, values: NDArray[Any], n_columns: int) -> NDArray[Any]:
        """Return, for each column of the data, the value of its cell; shape (column,)."""
        spread = np.zeros(n_columns, values.dtype)
        spread[self.columns] = np.repeat(values, self.counts)
        return spread


def _read_cell_columns(
    pointers: h5py.Dataset, cells: NDArray[np.int64], n_columns: int
) -> CellColumns:
    """Read the columns of each entry of ``cells`` from N or N + 1 pointers.

    The SONATA guide has N pointers in a table and N + 1 in a formula; all simulators write N + 1.
    """
    values = read_ids(pointers, lowest=_ANY)
    if len(values) not in {len(cells), len(cells) + 1}:
        msg = (
            f"{location(pointers)} has {len(values)} values for {len(cells)} node ids; expected "
            f"{len(cells)} or {len(cells) + 1}"
        )
        raise ShapeMismatchError(msg)
    starts, ends = values[:-1], values[1:]
    if len(values) == len(cells):
        starts, ends = values, _next_pointers(values, n_columns)
    # In arbor-sonata the pointers continue those of the previous population.
    if len(starts) and starts.min() > 0 and ends.max() - starts.min() == n_columns:
        starts, ends = starts - starts.min(), ends - starts.min()
    if len(starts) and (starts.min() < 0 or (ends < starts).any() or ends.max() > n_columns):
        msg = (
            f"{location(pointers)} points outside the {n_columns} columns of the data or descends: "
            f"found {starts.min()} to {ends.max()}"
        )
        raise SourceError(msg)
    counts = ends - starts
    columns = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    if len(columns) < n_columns:
        warnings.warn(
            f"{location(pointers)} assigns {len(columns)} of {n_columns} columns to cells; the "
            f"other {n_columns - len(columns)} belong to no cell and are left out",
            SimulationOutputWarning,
            stacklevel=2,
        )
    return CellColumns(cells, counts, columns, reordered=bool((np.diff(columns) < 0).any()))


def _next_pointers(values: NDArray[np.int64], n_columns: int) -> NDArray[np.int64]:
    order = np.argsort(values, kind="stable")
    ends = np.empty_like(values)
    ends[order] = np.append(values[order][1:], n_columns)
    return ends


def _merge_cells(listed: CellColumns) -> CellColumns:
    """Merge the entries of each repeated cell into one row, at the position of its first entry.

    BlueCelluLab lists a cell once for each recorded compartment.
    """
    cells = listed.cells
    if not len(repeated_values(cells)):
        return listed
    unique, first, entry_rows = np.unique(cells, return_index=True, return_inverse=True)
    rank = np.empty(len(unique), np.intp)
    rank[np.argsort(first)] = np.arange(len(unique))
    rows = rank[entry_rows]
    order = np.argsort(np.repeat(rows, listed.counts), kind="stable")
    return replace(
        listed,
        cells=cells[np.sort(first)],
        counts=np.bincount(rows, weights=listed.counts).astype(np.int64),
        columns=listed.columns[order],
        entries=listed,
        reordered=listed.reordered or bool((np.diff(order) < 0).any()),
    )


@dataclass(frozen=True)
class ReportTable:
    """The compartments of a report, their columns in the data, and the provenance of both.

    Without ``cell_columns``, the columns of the data are in the order of the compartments.
    """

    compartments: CompartmentTable
    cell_columns: CellColumns | None
    n_columns: int
    provenance: dict[str, Any]


@dataclass(frozen=True)
class _AdditionalColumn:
    """A column that SONATA does not define; ``source`` is its name in the source."""

    name: str
    source: str
    values: NDArray[Any]
    of_cells: bool


@dataclass(frozen=True)
class _Ids(_View):
    """The integers of a dataset as ids, read by ``ids_in``, less ``first``."""

    where: str
    lowest: int = 0
    missing: bool = False
    first: int = 0
    dtype: np.dtype[Any] = _INT64

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        values = np.asarray(self.array[slices])
        ids = np.empty(values.shape, self.dtype)
        for block in row_blocks(len(values)):
            found = ids_in(values[block], self.where, lowest=self.lowest, missing=self.missing)
            ids[block] = found - self.first
        return ids


def _read_large(mapping: h5py.Group, population: str) -> ReportTable | None:
    """Read a mapping lazily if it is large, or None if cells are not one after another in it.

    All ids and pointers are checked, in blocks, but not kept.
    """
    elements, nodes, pointers = (
        first_dataset(mapping, *names) for names in (_ELEMENT_IDS, NODE_IDS, _POINTERS)
    )
    size, count = elements.size, nodes.size
    others = [child(mapping, name) for name in mapping if name not in _KNOWN]
    is_plain = all(one.ndim == 1 and one.dtype.kind in "iu" for one in (elements, nodes, pointers))
    if size <= _MOST_IN_MEMORY or not is_plain or others or pointers.size != count + 1:
        return None
    cells = _Ids(wrap_array(nodes), location(nodes))
    ends = _Ids(wrap_array(pointers), location(pointers), _ANY)
    first, last = (int(ends[place : place + 1][0]) for place in (0, count))
    if last - first != size or first < 0 or not ascends(ends):
        return None
    if not ascends(cells, strictly=True) and len(repeated_values(np.asarray(cells[:]))):
        return None
    numbers = _Ids(wrap_array(elements), location(elements), _ANY, missing=True)
    columns: dict[str, LazyArray] = {"number": replace(numbers, dtype=_number_type(numbers))}
    if "element_pos" in mapping:
        columns["position"] = _check_positions(mapping, size)
    of_cells: list[LazyArray] = [cells, Part(replace(ends, first=first), 1, count + 1)]
    if count <= _MOST_IN_MEMORY:
        of_cells = [np.asarray(array[:]) for array in of_cells]
    kept_cells, kept_ends = of_cells
    provenance: dict[str, Any] = {
        "positions": "stored" if "element_pos" in mapping else "unknown",
        "columns": {},
        "repeated_ids": False,
        "entries": None,
    }
    table = CompartmentTable(population, kept_cells, kept_ends, columns)
    return ReportTable(table, None, size, provenance)


def _number_type(numbers: LazyArray) -> np.dtype[Any]:
    """Return int32 if all values fit: NWB requires at least 32 bits."""
    for block in row_blocks(numbers.shape[0]):
        values = numbers[block]
        if values.min() < -(2**31) or values.max() >= 2**31:
            return np.dtype(np.int64)
    return np.dtype(np.int32)


def read_table(
    mapping: h5py.Group, population: str, compute: ComputePositions | None
) -> ReportTable:
    """Read a mapping; ``compute`` returns missing positions, or None if they are unknown."""
    is_stored = compute is None or "element_pos" in mapping
    if is_stored and (large := _read_large(mapping, population)) is not None:
        return large
    # bmtk stores the missing section of a point cell, -1, as unsigned 2**64 - 1.
    elements = read_ids(first_dataset(mapping, *_ELEMENT_IDS), lowest=_ANY, missing=True)
    cells = read_ids(first_dataset(mapping, *NODE_IDS))
    pointers = first_dataset(mapping, *_POINTERS)
    found = _merge_cells(_read_cell_columns(pointers, cells, len(elements)))
    order = found.columns
    numbers = elements[order]
    columns: dict[str, NDArray[Any]] = {"number": numbers.astype(_number_type(numbers))}
    positions = "unknown"
    if "element_pos" in mapping:
        columns["position"] = read_numbers(_check_positions(mapping, len(elements)).dataset)[order]
        positions = "stored"
    elif (
        compute is not None
        and (computed := compute(found.cells, found.counts, elements[order])) is not None
    ):
        columns["position"] = computed
        positions = "computed"
    cell_columns = {}
    additional = list(_additional_columns(mapping, len(elements), len(cells)))
    for column in additional:
        if column.of_cells and found.entries is not None:
            columns[column.name] = found.entries.spread(column.values, len(elements))[order]
        elif column.of_cells:
            cell_columns[column.name] = column.values
        else:
            columns[column.name] = column.values[order]
    if found.entries is not None and found.reordered:
        columns["source_column"] = order
    compartments = CompartmentTable.from_counts(
        population, found.cells, found.counts, columns, cell_columns
    )
    provenance = {
        "positions": positions,
        "columns": {column.name: column.source for column in additional},
        "repeated_ids": found.entries is not None,
        "entries": _uneven_entries(found.entries, additional),
    }
    return ReportTable(compartments, found, len(elements), provenance)


def center_positions(
    cells: NDArray[np.int64], counts: NDArray[np.int64], sections: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return 0.5 for each compartment, or None if a section of a cell has several."""
    pairs = np.stack([np.repeat(cells, counts), sections], axis=1)
    is_center = len(np.unique(pairs, axis=0)) == len(pairs)
    return np.full(len(sections), 0.5) if is_center else None


def set_positions(
    cells: NDArray[np.int64],
    counts: NDArray[np.int64],
    sections: NDArray[np.int64],
    listed: Sequence[tuple[int, int, float]],
) -> NDArray[np.float64] | None:
    """Return the positions that a compartment set lists, or None if it does not fit.

    Within a section, compartments have the order of the set; sections may be in another order.

    Example
    -------
    >>> listed = [(7, 2, 0.25), (7, 2, 0.75), (7, 1, 0.5)]
    >>> set_positions(np.array([7]), np.array([3]), np.array([1, 2, 2]), listed)
    array([0.5 , 0.25, 0.75])

    """
    by_section: dict[tuple[int, int], list[float]] = {}
    for cell, section, position in listed:
        by_section.setdefault((cell, section), []).append(position)
    places: dict[tuple[int, int], list[int]] = {}
    pairs = zip(np.repeat(cells, counts).tolist(), sections.tolist(), strict=True)
    for place, pair in enumerate(pairs):
        places.setdefault(pair, []).append(place)
    positions = np.full(len(sections), np.nan)
    for pair, found in places.items():
        if len(by_section.get(pair, ())) != len(found):
            return None
        positions[found] = by_section[pair]
    return positions


def segment_positions(
    sections: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Return the positions of segments in a report that has all of them, in morphological order.

    A run of n equal section ids within a cell is a section of n segments; the centre of the k-th
    is at (k + 0.5) / n. If a section of a cell has two runs, None is returned. Shapes: ``sections``
    (compartment,), ``counts`` (cell,).

    Example
    -------
    >>> segment_positions(np.array([0, 1, 1]), np.array([3]))
    array([0.5 , 0.25, 0.75])

    """
    cells = np.repeat(np.arange(len(counts)), counts)
    starts = np.ones(len(sections), bool)
    starts[1:] = (np.diff(sections) != 0) | (np.diff(cells) != 0)
    first = np.flatnonzero(starts)
    of_runs = np.stack([cells[first], sections[first]])
    ordered = of_runs[:, np.lexsort(of_runs)]
    if (ordered[:, 1:] == ordered[:, :-1]).all(axis=0).any():
        return None
    lengths = np.diff(np.append(first, len(sections)))
    number_in_run = np.arange(len(sections)) - np.repeat(first, lengths)
    positions: NDArray[np.float64] = (number_in_run + 0.5) / np.repeat(lengths, lengths)
    return positions


def _check_positions(mapping: h5py.Group, n_elements: int) -> HDF5Array:
    """Return the positions of compartments, which are not yet read."""
    dataset = first_dataset(mapping, "element_pos")
    if dataset.shape != (n_elements,) or dataset.dtype.kind != "f":
        msg = (
            f"{location(dataset)} has {dataset.size} values of type {dataset.dtype}; expected "
            f"{n_elements} floating-point numbers"
        )
        raise ShapeMismatchError(msg)
    return HDF5Array(dataset)


def _additional_columns(
    mapping: h5py.Group, n_elements: int, n_cells: int
) -> Iterator[_AdditionalColumn]:
    used: set[str] = set()
    for name in mapping:
        if name in _KNOWN:
            continue
        dataset = child(mapping, name)
        length = dataset.shape[0] if isinstance(dataset, h5py.Dataset) and dataset.ndim == 1 else -1
        if length not in {n_elements, n_cells}:
            msg = (
                f"{location(dataset)} cannot be stored: expected a value for each of {n_elements} "
                f"compartments or {n_cells} cells"
            )
            raise SourceError(msg)
        of_cells = length != n_elements
        values = read_vector(dataset)
        column = free_name(_column_name(name, values, of_cells=of_cells), used)
        used.add(column)
        yield _AdditionalColumn(column, name, values, of_cells)


def _column_name(name: str, values: NDArray[Any], *, of_cells: bool) -> str:
    """Return the name of a column in NWB, with the prefix ``sonata_`` if ``name`` is reserved."""
    is_index = name.endswith("_index")
    reserved = name in _RESERVED or ":" in name or is_index or name.startswith("_")
    reserved |= name in _FLOAT_COLUMNS and (of_cells or values.dtype.kind != "f")
    reserved |= name == "label" and (of_cells or values.dtype.kind not in "OSU")
    # NWB reserves the suffix _index for the indexes of ragged columns.
    suffix = "_column" if is_index else ""
    return f"sonata_{name.replace(':', '_')}{suffix}" if reserved else name


def _uneven_entries(
    entries: CellColumns | None, additional: list[_AdditionalColumn]
) -> dict[str, Any] | None:
    """Return the repeated entries of the source, or None if each has one compartment."""
    if entries is None or (entries.counts == 1).all():
        return None
    return {
        "node_ids": entries.cells.tolist(),
        "counts": entries.counts.tolist(),
        "columns": {
            column.source: column.values.tolist() for column in additional if column.of_cells
        },
    }


def write_table(
    mapping: h5py.Group,
    report: Report,
    provenance: Mapping[str, Any],
    dialect: str,
    left_out: list[str],
    *,
    conform: bool,
) -> NDArray[np.intp] | None:
    """Write a mapping; return the order of the data columns if it differs from the table's."""
    table = report.compartments
    order = None
    cells, counts = np.asarray(table.cell_ids[:]), table.counts()
    if provenance.get("repeated_ids"):
        if "source_column" in table.columns:
            order = np.argsort(np.asarray(table.columns["source_column"][:]), kind="stable")
        entries = provenance.get("entries") or {}
        cells = np.asarray(entries.get("node_ids", _in_order(table.column_cells(), order)))
        counts = np.asarray(entries.get("counts", np.ones(len(cells), np.int64)))
    pointers = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    dtypes = _id_dtypes(provenance, dialect)
    write_ids(mapping, "node_ids", cells, dtypes["node_ids"])
    name = "index_pointer" if dialect == "allen" else "index_pointers"
    write_ids(mapping, name, pointers, dtypes["pointers"])
    numbers = _in_order(table.columns["number"], order)
    write_ids(mapping, "element_ids", numbers, dtypes["element_ids"])
    as_source = dialect == provenance.get("dialect") and not conform
    _write_positions(mapping, report, provenance, order, dialect, left_out, as_source=as_source)
    _write_additional_columns(mapping, table, provenance, order)
    return order


def _write_positions(
    mapping: h5py.Group,
    report: Report,
    provenance: Mapping[str, Any],
    order: NDArray[np.intp] | None,
    dialect: str,
    left_out: list[str],
    *,
    as_source: bool,
) -> None:
    table = report.compartments
    computed = provenance.get("positions") == "computed"
    if "position" in table.columns and not (computed and dialect == "bbp"):
        positions = _in_order(table.columns["position"], order)
        dtype = provenance.get("dtypes", {}).get("mapping/element_pos", positions.dtype)
        write_vector(mapping, "element_pos", positions, dtype)
    elif dialect == "allen" and as_source:
        left_out.append(f"report {report.name}: the source has no element_pos; bmtk needs one")
    elif dialect == "allen":
        left_out.append(f"report {report.name}: positions are unknown, element_pos is NaN")
        mapping.create_dataset("element_pos", data=np.full(table.n_compartments, np.nan))


def _write_additional_columns(
    mapping: h5py.Group,
    table: CompartmentTable,
    provenance: Mapping[str, Any],
    order: NDArray[np.intp] | None,
) -> None:
    names = provenance.get("columns", {})
    dtypes = provenance.get("dtypes", {})
    of_entries = (provenance.get("entries") or {}).get("columns", {})
    for column, values in table.columns.items():
        name = names.get(column, column)
        if name in of_entries:
            _write_column(mapping, name, np.asarray(of_entries[name]), dtypes)
        elif column not in {*_OWN_COLUMNS, *provenance.get("computed", ())}:
            _write_column(mapping, name, _in_order(values, order), dtypes)
    for column, values in table.cell_columns.items():
        _write_column(mapping, names.get(column, column), values, dtypes)


def _write_column(
    mapping: h5py.Group, name: str, values: LazyArray, dtypes: Mapping[str, str]
) -> None:
    if values.dtype.kind in "OSU":
        dtype = h5py.string_dtype()
        write_vector(mapping, name, values, dtype, partial(stored_values, dtype=dtype))
    else:
        write_vector(mapping, name, values, dtypes.get(f"mapping/{name}", values.dtype))


def _id_dtypes(provenance: Mapping[str, Any], dialect: str) -> dict[str, str]:
    """Return the dtypes of a source in the same dialect, otherwise those of the dialect."""
    dtypes = dict(_DTYPES[dialect])
    if provenance.get("dialect") == dialect:
        stated = provenance.get("dtypes", {})
        names = {"node_ids": NODE_IDS, "element_ids": _ELEMENT_IDS, "pointers": _POINTERS}
        for key, spellings in names.items():
            paths = [f"mapping/{name}" for name in spellings]
            dtypes[key] = next((stated[path] for path in paths if path in stated), dtypes[key])
    return dtypes


def attributes_in_mapping(name: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of a dataset of a mapping, by either spelling of its name."""
    spellings = _POINTERS if name in _POINTERS else (name,)
    paths = [f"mapping/{spelling}" for spelling in (name, *spellings)]
    found: Mapping[str, Any] = next((attributes[path] for path in paths if path in attributes), {})
    return found


def _in_order(values: LazyArray, order: NDArray[np.intp] | None) -> LazyArray:
    if order is None:
        return values
    ordered: NDArray[Any] = np.asarray(values[:])[order]
    return ordered
