"""The circuit of a simulation: its populations of cells, their connections, and node sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays
from ndx_simulation_output.recording.cells import Categories, CellTable
from ndx_simulation_output.recording.display import Facts, counted, listed, represent
from ndx_simulation_output.recording.fields import tuple_of
from ndx_simulation_output.recording.ids import as_ids, check_name
from ndx_simulation_output.recording.sorting import (
    KeyCounts,
    Repeated,
    Rows,
    Sorted,
    count_keys,
    join_ranges,
    read_rows,
    row_blocks,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ConnectionTable:
    """The connections from the cells of population ``source`` to those of ``target``.

    ``source_ids``, ``target_ids`` and ``columns`` by name have shape (connection,), in the order of
    their file. Populations are None if they are not known. A missing value is NaN, or None for
    text; integers of which some are missing are float64. ``units`` are those of columns, as text.
    """

    name: str
    source: str | None
    target: str | None
    source_ids: LazyArray
    target_ids: LazyArray
    columns: Mapping[str, LazyArray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the name, and that the lengths of the arrays agree."""
        check_name(self.name, "the name of connections")
        where = f"connections {self.name!r}"
        for key in ("source_ids", "target_ids"):
            ids = as_array(getattr(self, key), f"{key} of {where}", kinds="iu")
            object.__setattr__(self, key, ids)
        object.__setattr__(self, "columns", as_arrays(self.columns, where, allow_none=True))
        for name, values in {"target_ids": self.target_ids, **self.columns}.items():
            if tuple(values.shape[:1]) != (len(self),):
                msg = f"{name} of {where} has shape {values.shape}; expected a value for each of "
                raise ShapeMismatchError(msg + f"{len(self)} connections")

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield f"{self.source or 'unknown'} to {self.target or 'unknown'}"
        yield counted(len(self), "connections")
        yield listed(self.columns, "columns")

    def __len__(self) -> int:
        """Return the number of connections."""
        return int(self.source_ids.shape[0])

    @cached_property
    def target_counts(self) -> KeyCounts:
        """The post-synaptic cells, and where their connections end when sorted by cell."""
        return count_keys(self.target_ids)

    def afferent(
        self, cells: Iterable[int] | int, columns: Iterable[str] | None = None
    ) -> "ConnectionTable":
        """Return the connections onto post-synaptic ``cells``, in the order of the table.

        If the table is stored sorted by post-synaptic cell, only their connections are read.
        ``columns`` are those to read, by default all; ``edge_id`` is added, which is the position
        of a connection in a table without it.
        """
        names = list(self.columns) if columns is None else list(columns)
        if unknown := [name for name in names if name not in self.columns]:
            msg = f"connections {self.name!r} have no column {unknown[0]!r}; columns: "
            raise SelectionError(msg + (", ".join(self.columns) or "none"))
        rows, stored = self._rows_onto(np.unique(as_ids(cells)))
        ids = self.columns.get("edge_id", Rows(len(self)))
        found = {"edge_id": ids, **{name: self.columns[name] for name in names}}
        return replace(
            self,
            source_ids=_read_at(self.source_ids, rows, stored),
            target_ids=_read_at(self.target_ids, rows, stored),
            columns={name: _read_at(values, rows, stored) for name, values in found.items()},
            provenance={},
        )

    def _rows_onto(self, cells: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
        """Return the rows onto cells, and where they are stored if that is another order."""
        targets = self.target_ids
        counts = _stored_counts(targets)
        if counts is not None and isinstance(targets, Sorted):
            places = _places(counts, cells)
            rows = read_rows(targets.order.keys, places).astype(np.intp)
            order = np.argsort(rows)
            return rows[order], places[order]
        if self.target_counts.is_sorted:
            return _places(self.target_counts, cells), None
        parts = [
            np.flatnonzero(np.isin(np.asarray(targets[block]), cells)) + block.start
            for block in row_blocks(len(self))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.intp), None

    def to_dataframe(self, columns: Iterable[str] | None = None) -> "pd.DataFrame":
        """Return a frame with ``source``, ``target`` and ``columns``, by default all.

        Its index is the id of each connection, or its position if they have none.
        """
        import pandas as pd

        names = list(self.columns if columns is None else columns)
        arrays = {"source": self.source_ids, "target": self.target_ids}
        arrays |= {name: self.columns[name] for name in names if name != "edge_id"}
        frame = {}
        for name, array in arrays.items():
            values = np.asarray(array[:])
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
            frame[name] = values if values.ndim == 1 else list(values)
        ids = self.columns.get("edge_id", Rows(len(self)))
        return pd.DataFrame(frame, index=pd.Index(np.asarray(ids[:]), name="edge_id"))


def _stored_counts(ids: LazyArray) -> KeyCounts | None:
    """Return the counts of ids that are stored sorted, but have another order."""
    if isinstance(ids, Sorted) and isinstance(ids.array, Repeated):
        return ids.array.counts
    return None


def _places(counts: KeyCounts, cells: NDArray[Any]) -> NDArray[np.intp]:
    known = np.flatnonzero(np.isin(counts.keys, cells))
    return join_ranges(counts.starts[known], counts.ends[known])


def _read_at(
    values: LazyArray, rows: NDArray[np.intp], stored: NDArray[np.intp] | None
) -> LazyArray:
    """Read rows of a column, of one that is stored in another order from where they are."""
    if isinstance(values, Categories):
        return replace(values, codes=_read_at(values.codes, rows, stored))
    if stored is not None and isinstance(values, Sorted):
        return read_rows(values.array, stored)
    return read_rows(values, rows)


@dataclass(frozen=True)
class PopulationSummary:
    """Name, number of cells, kind and names of the properties of a population."""

    name: str
    size: int
    kind: str = ""
    properties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Circuit:
    """The populations of a circuit, their ``connections``, and ``node_sets`` by name.

    ``summary`` also lists populations whose cells are not in ``populations``, as in a file that has
    only the recorded cells. ``configuration`` is the text of the circuit configuration.
    """

    populations: tuple[CellTable, ...] = ()
    connections: tuple[ConnectionTable, ...] = ()
    node_sets: Mapping[str, Any] = field(default_factory=dict)
    summary: tuple[PopulationSummary, ...] = ()
    configuration: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check types and add the populations to the summary."""
        for what, kind in (("populations", CellTable), ("connections", ConnectionTable)):
            items = tuple_of(getattr(self, what), kind, f"{what} of a circuit")
            object.__setattr__(self, what, items)
        known = {one.name for one in self.summary}
        new = tuple(
            PopulationSummary(cells.population, len(cells), cells.kind, tuple(cells.columns))
            for cells in self.populations
            if cells.population not in known
        )
        object.__setattr__(self, "summary", (*self.summary, *new))

    __repr__ = represent

    def _facts(self) -> Facts:
        yield ""
        yield listed((one.name for one in self.summary), "populations")
        yield listed((one.name for one in self.connections), "connections")
        yield listed(self.node_sets, "node sets")

    def __getitem__(self, population: str) -> CellTable:
        """Return the cells of a population.

        Raises
        ------
        KeyError
            If the cells of this population are not known.

        """
        for cells in self.populations:
            if cells.population == population:
                return cells
        names = ", ".join(cells.population for cells in self.populations) or "none"
        msg = f"no cells of population {population!r}; expected one of: {names}"
        raise KeyError(msg)
