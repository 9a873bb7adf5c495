"""The table of the compartments of a report: cells, elements, positions, further columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.sonata.hdf5 import (
    child,
    first_dataset,
    place,
    read_ids,
    read_numbers,
    read_vector,
)
from ndx_simulation_output.adapters.sonata.mapping import Layout, merge_cells, read_layout
from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import CompartmentTable

__all__ = ["CELLS", "POINTERS", "Table", "read_table", "segment_positions"]

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
