"""The table of recorded compartments."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndx_simulation_output.errors import (
    CompartmentNotFoundError,
    ShapeMismatchError,
)
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays, read_kept
from ndx_simulation_output.recording.cells import Cells, CellTable, take_rows
from ndx_simulation_output.recording.display import Facts, counted, listed, represent
from ndx_simulation_output.recording.ids import (
    as_ids,
    check_ids,
    check_name,
    check_unique,
    repeated_values,
    some_of,
)
from ndx_simulation_output.recording.sorting import join_ranges, row_blocks


@dataclass(frozen=True)
class CompartmentTable:
    """The recorded compartments of one population; the k-th one is column k of the data.

    ``cell_ids`` and ``ends`` have shape (cell,): the id of each cell and the end
    (exclusive) of its compartments. ``columns`` have shape (compartment,): ``number`` and, if
    known, ``position`` (0 to 1), ``label``, ``x``, ``y``, ``z``, ``diameter`` (micrometres), and
    others.
    ``cell_columns``, properties of the cells, have shape (cell,). ``node_sets`` are those of a
    ``CellTable``. Arrays may be lazy; they are read when needed. ``notes`` returns those on columns
    that are computed when they are read.
    """

    population: str
    cell_ids: LazyArray
    ends: LazyArray
    columns: Mapping[str, LazyArray]
    cell_columns: Mapping[str, LazyArray] = field(default_factory=dict)
    node_sets: Mapping[str, Any] = field(default_factory=dict)
    notes: Callable[[], Sequence[str]] = tuple

    def __post_init__(self) -> None:
        """Check names and ids, and that the lengths of the arrays agree."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        for name in ("cell_ids", "ends"):
            array = as_array(getattr(self, name), f"{name} {of_population}", kinds="iu")
            object.__setattr__(self, name, array)
        for name in ("columns", "cell_columns"):
            where, is_of_cells = f"population {self.population!r}", name == "cell_columns"
            arrays = as_arrays(getattr(self, name), where, allow_none=is_of_cells)
            object.__setattr__(self, name, arrays)
        cells = len(self)
        compartments = self.n_compartments if self.ends.shape[0] == cells else 0
        expected = [("ends", self.ends, cells)]
        expected += [(name, array, compartments) for name, array in self.columns.items()]
        expected += [(name, array, cells) for name, array in self.cell_columns.items()]
        for name, array, length in expected:
            found = array.shape[0] if array.shape else 1
            if found != length or not array.shape:
                msg = f"{name} of population {self.population!r} has {found} values; expected "
                msg += f"{length}"
                raise ShapeMismatchError(msg)
        check_ids(self.cell_ids, f"cell ids of population {self.population!r}")

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.population
        cells = counted(len(self), "cells")
        number = next((column.shape[0] for column in self.columns.values()), None)
        yield cells if number is None else f"{counted(number, 'compartments')} of {cells}"
        yield listed(self.columns, "columns")
        yield listed(self.cell_columns, "properties")

    @classmethod
    def from_counts(
        cls,
        population: str,
        cell_ids: ArrayLike,
        counts: ArrayLike,
        columns: Mapping[str, ArrayLike] | None = None,
        cell_columns: Mapping[str, ArrayLike] | None = None,
    ) -> "CompartmentTable":
        """Return a table from the number of compartments of each cell, ``counts``, shape (cell,).

        Without ``columns``, the compartments of each cell have the numbers 0, 1, ….

        Raises
        ------
        ShapeMismatchError
            If the length of an array is neither that of ``cell_ids`` nor the sum of ``counts``, if
            a cell is listed twice, or if a count is negative.

        """
        check_name(population, "the name of a population")
        ids = as_array(cell_ids, f"cell_ids of population {population!r}", kinds="iu")
        found = as_array(counts, f"counts of population {population!r}", kinds="iu")
        if (np.asarray(found) < 0).any():
            msg = f"counts of population {population!r} are {some_of(found)}; expected none below 0"
            raise ShapeMismatchError(msg)
        check_unique(ids, f"cells of population {population!r}")
        if columns is None:
            columns = {"number": join_ranges(np.zeros(len(found), np.int64), np.asarray(found))}
        of_cells: Any = {} if cell_columns is None else cell_columns
        ends = np.cumsum(found, dtype=np.int64)
        return cls(population, ids, ends, cast("Mapping[str, LazyArray]", columns), of_cells)

    @classmethod
    def from_cells(
        cls,
        population: str,
        cell_ids: ArrayLike,
        columns: Mapping[str, ArrayLike] | None = None,
        cell_columns: Mapping[str, ArrayLike] | None = None,
    ) -> "CompartmentTable":
        """Return a table from the cell of each compartment, ``cell_ids``, shape (compartment,).

        Without ``columns``, each cell has one compartment, number 0. Otherwise the compartments of
        a cell are adjacent, and their numbers are 0, 1, … unless ``columns`` has them.

        Raises
        ------
        ShapeMismatchError
            If the length of an array is neither that of ``cell_ids`` nor the number of cells, if
            the compartments of a cell are not adjacent, or if a cell is listed twice without
            ``columns``.

        Example
        -------
        >>> table = CompartmentTable.from_cells(
        ...     "exc", [7, 7, 7, 3], {"label": ["soma", "dend", "dend", "soma"]}
        ... )
        >>> table.cell_ids.tolist(), table.counts().tolist(), table.columns["number"].tolist()
        ([7, 3], [3, 1], [0, 1, 2, 0])

        """
        ids = as_array(cell_ids, f"cell_ids of population {population!r}", kinds="iu")
        if columns is None:
            ones = np.ones(len(ids), np.int64)
            return cls.from_counts(population, ids, ones, None, cell_columns)
        ids = np.asarray(ids[:])
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)])
        if len(apart := repeated_values(ids[starts])):
            msg = f"the compartments of cell {apart[0]} of population {population!r} are not "
            raise ShapeMismatchError(msg + "adjacent; expected them one after the other")
        counts = np.diff(starts, append=len(ids))
        table = cls.from_counts(population, ids[starts], counts, None, cell_columns)
        return replace(table, columns={**table.columns, **as_arrays(columns, population)})

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.cell_ids.shape[0])

    @property
    def n_compartments(self) -> int:
        """Number of compartments of all cells."""
        return int(self.ends[len(self) - 1]) if len(self) else 0

    @cached_property
    def cells(self) -> CellTable:
        """The cells and their properties."""
        return CellTable(
            self.population, self.cell_ids, self.cell_columns, node_sets=self.node_sets
        )

    def counts(self) -> NDArray[np.int64]:
        """Return the number of compartments of each cell; shape (cell,)."""
        starts, ends = self._bounds()
        return ends - starts

    def width(self) -> int:
        """Return the median of ``counts``, which are read in blocks."""
        widths: Counter[int] = Counter()
        last = 0
        for block in row_blocks(len(self)):
            ends = np.asarray(self.ends[block], np.int64)
            found, counts = np.unique(np.diff(ends, prepend=last), return_counts=True)
            widths.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            last = int(ends[-1])
        keys = np.array(sorted(widths), np.int64)
        ends = np.cumsum([widths[key] for key in keys.tolist()])
        middle = np.searchsorted(ends, [(len(self) - 1) // 2, len(self) // 2], side="right")
        return int(keys[middle].mean()) if len(self) else 1

    def column_cells(self) -> NDArray[Any]:
        """Return the id of the cell of each compartment; shape (compartment,)."""
        return np.repeat(np.asarray(self.cell_ids[:]), self.counts())

    def rows_of(self, cells: Cells | None) -> NDArray[np.intp]:
        """Return the row of each of ``cells``, as ``CellTable.rows_of`` does.

        Raises
        ------
        CellNotFoundError
            If an id is not in the table.
        SelectionError
            If there is no such node set or property, or a property cannot have such a value.

        """
        return self.cells.rows_of(cells, "recorded cells")

    def find(
        self,
        cells: Cells | None = None,
        numbers: Iterable[int] | int | None = None,
        labels: Iterable[str] | str | None = None,
    ) -> NDArray[np.intp]:
        """Return the columns that match the cells, compartment numbers and labels.

        Columns are in the order of ``rows_of`` and, within a cell, of ``numbers`` or else
        ``labels``. None selects all. Shape (compartment,).

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        SelectionError
            If there is no such node set or property, or a property cannot have such a value.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells, or there are no labels.

        """
        rows = None if cells is None else self.rows_of(cells)
        if rows is not None and not len(rows) and isinstance(cells, str | Mapping):
            return np.zeros(0, np.intp)
        starts, ends = self._bounds(rows)
        columns = join_ranges(starts, ends)
        if numbers is None and labels is None:
            return columns
        owner = np.repeat(np.arange(len(starts)), ends - starts)
        ranks = [np.zeros(len(columns), np.intp)]
        if numbers is not None:
            ranks.append(self._rank("number", columns, as_ids(numbers)))
        if labels is not None:
            ranks.append(self._rank("label", columns, _as_texts(labels)))
        chosen = np.all([rank >= 0 for rank in ranks], axis=0)
        order = np.lexsort([*reversed([rank[chosen] for rank in ranks]), owner[chosen]])
        return columns[chosen][order]

    def columns_of(self, cell: int | np.integer[Any]) -> range | None:
        """Return the columns of one cell, or None if ``find`` has to look for it."""
        row = self.cells.row_of(cell)
        if row is None:
            return None
        ends = read_kept(self.ends)
        return range(int(ends[row - 1]) if row else 0, int(ends[row]))

    def values(self, name: str, columns: NDArray[np.intp]) -> NDArray[Any]:
        """Return the column ``name`` of the compartments ``columns``; shape (compartment,)."""
        array = self.columns[name]
        if not len(columns):
            return np.asarray(array[0:0])
        first, last = int(columns.min()), int(columns.max())
        values = np.asarray(array[first : last + 1])[columns - first]
        return _in_memory(values)

    def cells_of(self, columns: NDArray[np.intp]) -> NDArray[Any]:
        """Return the cell id of each of the compartments ``columns``; shape (compartment,)."""
        return _in_memory(np.asarray(self.cell_ids[:])[self.cell_rows(columns)])

    def cell_rows(self, columns: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the row of the cell of each of the compartments ``columns``."""
        return np.searchsorted(np.asarray(self.ends[:], dtype=np.int64), columns, side="right")

    def take(self, rows: NDArray[np.intp]) -> "CompartmentTable":
        """Return the table of the cells of some rows, whose columns are read when needed."""
        starts, ends = self._bounds(rows)
        columns = join_ranges(starts, ends)
        return replace(
            self,
            cell_ids=np.asarray(self.cell_ids[:])[rows],
            ends=np.cumsum(ends - starts),
            columns={name: take_rows([(array, columns)]) for name, array in self.columns.items()},
            cell_columns=self.cells.take(rows).columns,
        )

    def _bounds(
        self, rows: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the start and end (exclusive) columns of cells, by default of all cells."""
        if rows is not None and len(rows) == 1:
            row = int(rows[0])
            near = np.asarray(self.ends[max(row - 1, 0) : row + 1], dtype=np.int64)
            return (near[:1] if row else np.zeros(1, np.int64)), near[-1:]
        ends = np.asarray(read_kept(self.ends), dtype=np.int64)
        if rows is None:
            return np.concatenate([np.zeros(1, np.int64), ends])[:-1], ends
        return np.where(rows, ends[rows - 1], 0), ends[rows]

    def _rank(self, name: str, columns: NDArray[np.intp], wanted: NDArray[Any]) -> NDArray[np.intp]:
        """Return the index in ``wanted`` of the value of each compartment, -1 if absent."""
        if name not in self.columns:
            msg = f"the compartments of population {self.population!r} have no {name}s"
            raise CompartmentNotFoundError(msg)
        values = self.values(name, columns)
        missing = wanted[~np.isin(wanted, values)]
        if len(missing):
            msg = (
                f"{name} {some_of(missing)} is not among the compartments of the selected cells of "
                f"population {self.population!r} ({name}s {some_of(np.unique(values))})"
            )
            raise CompartmentNotFoundError(msg)
        unique, first = np.unique(wanted, return_index=True)
        if not len(unique):
            return np.full(len(values), -1)
        positions = np.minimum(np.searchsorted(unique, values), len(unique) - 1)
        return np.where(unique[positions] == values, first[positions], -1)


def _as_texts(values: Iterable[str] | str) -> NDArray[Any]:
    return np.asarray([values] if isinstance(values, str) else list(values), dtype=object)


def _in_memory(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as text and in native byte order, which pandas needs."""
    if values.dtype.kind == "S" or (len(values) and isinstance(values[0], bytes)):
        return np.asarray([value.decode() for value in values], dtype=object)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
