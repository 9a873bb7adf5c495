"""Which columns of a report belong to which cell."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.sonata.hdf5 import place, read_ids
from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
)

__all__ = ["Layout", "merge_cells", "read_layout"]


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
