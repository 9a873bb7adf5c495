"""Read compartment reports."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputWarning, SourceError
from ndx_simulation_output.recording import CompartmentTable, LazyArray, Report, Times
from ndx_simulation_output.recording.views import ColumnRange, Columns, Matrix, Transposed
from ndx_simulation_output.sonata.config import ReportConfig
from ndx_simulation_output.sonata.files import (
    TRIPLE,
    attribute_text,
    child,
    child_group,
    describe_group,
    first_dataset,
    groups_in,
    implied_rows,
    note_others,
    place,
    read_ids,
    read_numbers,
    read_times,
    read_vector,
    regular_times,
)
from ndx_simulation_output.sonata.options import ReadOptions
from ndx_simulation_output.storage.reading import wrap_array

# Which columns of a report belong to which cell.


@dataclass(frozen=True)
class Layout:
    """A row for each cell: ``cells`` and ``counts`` (cell,), ``columns`` (compartment,) in order.

    ``reordered`` says that ``columns`` is not the order of the source. ``entries`` is the layout
    as the source has it, where it lists a cell more than once.
    """

    cells: NDArray[np.int64]
    counts: NDArray[np.int64]
    columns: NDArray[np.int64]
    reordered: bool = False
    entries: "Layout | None" = None

    def spread(self, values: NDArray[Any], n_columns: int) -> NDArray[Any]:
        """Give the value (cell,) of its cell to each column of the data; shape (column,)."""
        spread = np.zeros(n_columns, values.dtype)
        spread[self.columns] = np.repeat(values, self.counts)
        return spread


def read_layout(pointers: h5py.Dataset, cells: NDArray[np.int64], n_columns: int) -> Layout:
    """Read the columns of each entry of ``cells`` from its pointers.

    The guide's table says N pointers, its formula and all simulators N + 1: both are read.

    Raises
    ------
    ShapeMismatchError
        If there are neither N nor N + 1 pointers.
    SourceError
        If a pointer lies outside the data or they descend.

    """
    values = read_ids(pointers)
    if len(values) not in {len(cells), len(cells) + 1}:
        msg = f"{place(pointers)} has {len(values)} values for {len(cells)} node ids"
        raise ShapeMismatchError(msg)
    short = len(values) == len(cells)
    starts, ends = _bounds(values, n_columns, short=short)
    # arbor-sonata counts on from the population before: its pointers need not begin at 0.
    if len(starts) and starts.min() > 0 and ends.max() - starts.min() == n_columns:
        starts, ends = starts - starts.min(), ends - starts.min()
    if len(starts) and (starts.min() < 0 or (ends < starts).any() or ends.max() > n_columns):
        msg = (
            f"{place(pointers)} points outside the {n_columns} columns of the data or descends: "
            f"found {starts.min()} to {ends.max()}"
        )
        raise SourceError(msg)
    counts = ends - starts
    columns = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    _warn_of_orphans(pointers, len(columns), n_columns)
    return Layout(
        cells,
        counts,
        columns,
        reordered=bool((np.diff(columns) < 0).any()),
    )


def merge_cells(layout: Layout) -> Layout:
    """Merge the entries of a cell that the source lists more than once into one row.

    BlueCelluLab lists a cell once for each recorded compartment. Rows come in the order in which
    the cells first appear.
    """
    cells = layout.cells
    unique, first, entry_rows = np.unique(cells, return_index=True, return_inverse=True)
    if len(unique) == len(cells):
        return layout
    rank = np.empty(len(unique), np.intp)
    rank[np.argsort(first)] = np.arange(len(unique))
    rows = rank[entry_rows]
    order = np.argsort(np.repeat(rows, layout.counts), kind="stable")
    return replace(
        layout,
        cells=cells[np.sort(first)],
        counts=np.bincount(rows, weights=layout.counts).astype(np.int64),
        columns=layout.columns[order],
        entries=layout,
        reordered=layout.reordered or bool((np.diff(order) < 0).any()),
    )


def _bounds(
    values: NDArray[np.int64], n_columns: int, *, short: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not short:
        return values[:-1], values[1:]
    order = np.argsort(values, kind="stable")
    ends = np.empty_like(values)
    ends[order] = np.append(values[order][1:], n_columns)
    return values, ends


def _warn_of_orphans(pointers: h5py.Dataset, covered: int, n_columns: int) -> None:
    if covered < n_columns:
        warnings.warn(
            f"{place(pointers)} assigns {covered} of {n_columns} columns to cells; the other "
            f"{n_columns - covered} belong to no cell and are left out",
            SimulationOutputWarning,
            stacklevel=2,
        )


# The table of the compartments of a report: cells, elements, positions, further columns.

POINTERS = ("index_pointers", "index_pointer")
CELLS = ("node_ids", "gids")

_ELEMENTS = ("element_ids", "element_id")
_KNOWN = {*POINTERS, *_ELEMENTS, *CELLS, "element_pos", "time"}
# Names of our own columns, and those that tables of NWB use for themselves.
_TAKEN = {"number", "position", "source_column", "population", "counts", "cell_columns", "cls"}
_TAKEN |= {"id", "name", "description", "columns", "colnames", "parent", "fields", "children"}
_TAKEN |= {"container_source", "object_id", "namespace", "data_type", "neurodata_type", "modified"}
_FLOATS = {"x", "y", "z", "diameter"}


@dataclass(frozen=True)
class Table:
    """The table of a report, its ``layout`` in the file, and what goes into its provenance."""

    compartments: CompartmentTable
    layout: Layout
    n_columns: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Extra:
    """A column that a producer added: its name here and in the source, and its values."""

    column: str
    source: str
    values: NDArray[Any]
    of_cells: bool


def read_table(mapping: h5py.Group, population: str, *, every_segment: bool) -> Table:
    """Read the mapping of a report.

    Positions are those of the file. Where it has none and ``every_segment`` says that all of each
    section were recorded, they are computed.

    Raises
    ------
    SourceError
        If it contradicts the format.
    ShapeMismatchError
        If its parts do not fit each other.

    """
    elements = read_ids(first_dataset(mapping, *_ELEMENTS))
    cells = read_ids(ids := first_dataset(mapping, *CELLS))
    if len(cells) and cells.min() < 0:
        msg = f"{place(ids)} has the negative id {cells.min()}"
        raise SourceError(msg)
    layout = read_layout(first_dataset(mapping, *POINTERS), cells, len(elements))
    layout = merge_cells(layout)
    order = layout.columns
    columns: dict[str, NDArray[Any]] = {"number": _compact(elements[order])}
    positions = "unknown"
    if "element_pos" in mapping:
        columns["position"] = _positions(mapping, len(elements))[order]
        positions = "stored"
    elif every_segment:
        columns["position"] = segment_positions(elements[order], layout.counts)
        positions = "computed"
    cell_columns = {}
    extras = list(_extras(mapping, len(elements), len(cells)))
    for extra in extras:
        if extra.of_cells and layout.entries is not None:
            columns[extra.column] = layout.entries.spread(extra.values, len(elements))[order]
        elif extra.of_cells:
            cell_columns[extra.column] = extra.values
        else:
            columns[extra.column] = extra.values[order]
    if layout.entries is not None and layout.reordered:
        columns["source_column"] = order
    compartments = CompartmentTable.from_counts(
        population, layout.cells, layout.counts, columns, cell_columns
    )
    facts = {
        "positions": positions,
        "columns": {extra.column: extra.source for extra in extras},
        "repeated_ids": layout.entries is not None,
        "entries": _uneven_entries(layout, extras),
    }
    return Table(compartments, layout, len(elements), facts)


def segment_positions(
    sections: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Positions of segments in reports that have all of them, in morphological order.

    A run of n equal section ids within a cell is a section of n segments; the centre of the k-th
    is at (k + 0.5) / n. Shapes: ``sections`` (compartment,), ``counts`` (cell,).

    Example
    -------
    >>> segment_positions(np.array([0, 1, 1]), np.array([3]))
    array([0.5 , 0.25, 0.75])

    """
    cells = np.repeat(np.arange(len(counts)), counts)
    starts = np.ones(len(sections), bool)
    starts[1:] = (np.diff(sections) != 0) | (np.diff(cells) != 0)
    first = np.flatnonzero(starts)
    lengths = np.diff(np.append(first, len(sections)))
    place_in_run = np.arange(len(sections)) - np.repeat(first, lengths)
    positions: NDArray[np.float64] = (place_in_run + 0.5) / np.repeat(lengths, lengths)
    return positions


def _positions(mapping: h5py.Group, n_elements: int) -> NDArray[Any]:
    dataset = first_dataset(mapping, "element_pos")
    values = read_numbers(dataset)
    if len(values) != n_elements or values.dtype.kind != "f":
        msg = (
            f"{place(dataset)} has {len(values)} values of type {values.dtype}; expected "
            f"{n_elements} floating-point numbers"
        )
        raise ShapeMismatchError(msg)
    return values


def _extras(mapping: h5py.Group, n_elements: int, n_cells: int) -> Iterator[_Extra]:
    """Read the columns that producers add of their own."""
    for name in mapping:
        if name in _KNOWN:
            continue
        dataset = child(mapping, name)
        length = dataset.shape[0] if isinstance(dataset, h5py.Dataset) and dataset.ndim == 1 else -1
        if length not in {n_elements, n_cells}:
            msg = (
                f"{place(dataset)} cannot be kept: expected a value for each of {n_elements} "
                f"compartments or {n_cells} cells"
            )
            raise SourceError(msg)
        of_cells = length != n_elements
        values = read_vector(dataset)
        yield _Extra(_column_name(name, values, of_cells=of_cells), name, values, of_cells)


def _column_name(name: str, values: NDArray[Any], *, of_cells: bool) -> str:
    """Name a column in NWB: with the prefix ``sonata_`` where its own means something else."""
    taken = name in _TAKEN or ":" in name or name.endswith("_index") or name.startswith("_")
    taken |= name in _FLOATS and (of_cells or values.dtype.kind != "f")
    taken |= name == "label" and (of_cells or values.dtype.kind not in "OSU")
    return f"sonata_{name.replace(':', '_')}" if taken else name


def _compact(values: NDArray[np.int64]) -> NDArray[Any]:
    """Use int32 where it holds every value: NWB's int is at least that."""
    fits = not len(values) or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32) if fits else values


def _uneven_entries(layout: Layout, extras: list[_Extra]) -> dict[str, Any] | None:
    """Give what the source says of each entry, if these are not one for each compartment."""
    if layout.entries is None or (layout.entries.counts == 1).all():
        return None
    return {
        "node_ids": layout.entries.cells.tolist(),
        "counts": layout.entries.counts.tolist(),
        "columns": {extra.source: extra.values.tolist() for extra in extras if extra.of_cells},
    }


# Compartment reports: of sections, somas, synapses, sums and contributions to an LFP.
#
# Nothing in such a file says which of these it is; they differ in what the element ids count.

ROOTS = ("report", "reports")


def read_reports(
    file: h5py.File, config: ReportConfig, options: ReadOptions
) -> tuple[list[Report], list[str]]:
    """Describe every population of a report file; also say what was left out.

    Raises
    ------
    SourceError
        If a population contradicts the format.
    ShapeMismatchError
        If its mapping does not fit its data.

    """
    notes: list[str] = []
    groups = _populations(file, notes)
    reports = []
    for group in groups:
        population = group.name.rsplit("/", 1)[-1]
        name = config.name if len(groups) == 1 else f"{config.name}_{population}"
        note_others(group, ("data", "mapping"), notes)
        mapping = child_group(group, "mapping")
        parts = _Parts(group, first_dataset(group, "data"), mapping, population)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports, notes


def read_old_report(
    file: h5py.File, config: ReportConfig, options: ReadOptions
) -> tuple[list[Report], list[str]]:
    """Describe a file older than SONATA: ``/<variable>/data`` beside ``/mapping``, no population.

    Raises
    ------
    SourceError
        If it has no time and the caller gave no time step.

    """
    notes: list[str] = []
    groups = [group for group in groups_in(file, notes) if "data" in group]
    reports = []
    for group in groups:
        variable, population = group.name.strip("/"), options.population or "unknown"
        name = config.name if len(groups) == 1 else f"{config.name}_{variable}"
        data = first_dataset(group, "data")
        parts = _Parts(group, data, child_group(file, "mapping"), population, variable)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports, notes


@dataclass(frozen=True)
class _Parts:
    """Where the parts of the report of one population are."""

    group: h5py.Group
    data: h5py.Dataset
    mapping: h5py.Group
    population: str
    variable: str | None = None


def _populations(file: h5py.File, notes: list[str]) -> list[h5py.Group]:
    groups = []
    for root in ROOTS:
        for group in groups_in(child_group(file, root), notes) if root in file else []:
            if "mapping" in group and not first_dataset(child_group(group, "mapping"), *CELLS).size:
                notes.append(f"{place(group)} has no cells and was left out")
            else:
                groups.append(group)
    return groups


def _read_report(
    parts: _Parts, name: str, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> Report:
    complete = options.compartments.get(config.name, config.compartments) == "all"
    table = read_table(parts.mapping, parts.population, every_segment=complete)
    data = _as_time_by_compartment(parts, table.n_columns)
    variable = attribute_text(parts.data, "variable", "variable_name")
    variable = variable or parts.variable or config.variable
    times, time_facts = _times(parts, data, (name, config.name), options)
    if time_facts.get("implied_rows") not in {None, data.shape[0]}:
        notes.append(
            f"{place(parts.data)} has {data.shape[0]} rows where its time implies "
            f"{time_facts['implied_rows']}; all rows were kept"
        )
    stated = config.unit or attribute_text(parts.data, "units", "unit")
    return Report(
        name=name,
        report=config.name,
        data=_ordered(data, table.layout),
        times=times,
        compartments=table.compartments,
        unit=options.data_unit((name, config.name), stated, variable, place(parts.data)),
        variable=variable,
        description=_description(config, variable, parts.population),
        provenance={
            **describe_group(parts.group),
            "dialect": "bbp" if "index_pointers" in parts.mapping else "allen",
            "root": parts.group.name.split("/")[1] if parts.variable is None else "report",
            "kind": config.kind,
            **table.facts,
            **time_facts,
            "rows": data.shape[0],
        },
    )


def _as_time_by_compartment(parts: _Parts, n_elements: int) -> LazyArray:
    data = parts.data
    if data.dtype.kind not in "iuf" or data.ndim not in {1, 2}:
        msg = f"{place(data)} has type {data.dtype} and shape {data.shape}; expected a matrix"
        raise ShapeMismatchError(msg)
    if data.ndim == 1 and n_elements == 1:
        return Matrix(wrap_array(data))
    if data.ndim == 2 and data.shape[1] == n_elements:
        return wrap_array(data)
    if data.ndim == 2 and data.shape[0] == n_elements and _n_times(parts) == data.shape[1]:
        # arbor-sonata stores values × time, with a time for each value.
        return Transposed(wrap_array(data))
    found = f"{data.shape[1]} columns" if data.ndim == 2 else "one dimension"
    msg = f"{place(data)} has {found} but the mapping describes {n_elements} compartments"
    raise ShapeMismatchError(msg)


def _n_times(parts: _Parts) -> int | None:
    time = child(parts.mapping, "time") if "time" in parts.mapping else None
    return int(time.size) if isinstance(time, h5py.Dataset) else None


def _ordered(data: LazyArray, layout: Layout) -> LazyArray:
    columns = layout.columns
    if len(columns) and np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns))):
        if len(columns) == data.shape[1]:
            return data
        return ColumnRange(data, int(columns[0]), int(columns[0]) + len(columns))
    return Columns(data, columns)


def _times(
    parts: _Parts, data: LazyArray, names: tuple[str, ...], options: ReadOptions
) -> tuple[Times, dict[str, Any]]:
    rows = data.shape[0]
    if "time" not in parts.mapping:
        if options.dt is None:
            msg = f"{place(parts.mapping)} has no time; set the time step in ms with --dt (dt=…)"
            raise SourceError(msg)
        return regular_times(0.0, options.dt, rows, 1e-3, place(parts.data)), {}
    time = first_dataset(parts.mapping, "time")
    allen = "index_pointers" not in parts.mapping
    stated = attribute_text(time, "units", "unit")
    seconds = options.seconds(names, stated, place(time), expected=not allen)
    vector = isinstance(data, Transposed)
    times = read_times(time, rows, seconds, vector=vector)
    if len(time) != TRIPLE or vector:
        return times, {}
    triple = [float(value) for value in time[:]]
    return times, {"time": triple, "implied_rows": implied_rows(triple)}


def _description(config: ReportConfig, variable: str | None, population: str) -> str:
    what = variable or config.name
    kind = f" ({config.kind} report)" if config.kind else ""
    return f"{what} of the recorded compartments of population {population}{kind}"
