"""The cells of a population and their properties, and the choice of cells by property."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase, as_array, as_arrays
from ndx_simulation_output.recording.ids import as_ids, check_name, some_of

if TYPE_CHECKING:
    import pandas as pd

Cells = Iterable[int] | int | str | Mapping[str, Any]
"""A choice of cells: ids, the name of a node set, or values of properties."""


@dataclass(frozen=True)
class Categories(LazyArrayBase):
    """Text with few different values: ``codes`` (row,) are indices of ``names``.

    Values are text, or None where the code is that of ``missing``, which is -1 or any code.

    Example
    -------
    >>> Categories(np.array([1, 0, -1]), ("PV", "SST"))[:].tolist()
    ['SST', 'PV', None]

    """

    codes: LazyArray
    names: tuple[str, ...]
    missing: int = -1

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return tuple(self.codes.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of text in memory."""
        return np.dtype(object)

    def read_codes(self, rows: slice) -> NDArray[np.int64]:
        """Return the codes of rows, -1 for missing values.

        Raises
        ------
        ShapeMismatchError
            If a code is not that of a name.

        """
        codes = np.asarray(self.codes[rows]).astype(np.int64)
        is_missing = codes == self.missing
        if len(wrong := codes[~is_missing & ((codes < 0) | (codes >= len(self.names)))]):
            msg = f"code {wrong[0]} is not that of one of {len(self.names)} names"
            raise ShapeMismatchError(msg)
        codes[is_missing] = -1
        return codes

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        texts = np.array([*self.names, None], dtype=object)
        values: NDArray[Any] = texts[self.read_codes(slices[0])]
        return values


@dataclass(frozen=True)
class _Codes(LazyArrayBase):
    """The codes of categories, each replaced by that in ``lookup``; the last one is for missing."""

    categories: Categories
    lookup: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return self.categories.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the codes."""
        return self.lookup.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self.lookup[self.categories.read_codes(slices[0])]


@dataclass(frozen=True)
class _Rows(LazyArrayBase):
    """Rows of arrays, one array after another, with ``fill`` where they are missing."""

    parts: tuple[tuple[LazyArray | None, NDArray[np.intp]], ...]
    row_shape: tuple[int, ...]
    kind: np.dtype[Any]
    fill: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of a row."""
        return (sum(len(rows) for _, rows in self.parts), *self.row_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.kind

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        wanted = np.arange(self.shape[0])[slices[0]]
        values = np.full((len(wanted), *self.row_shape), self.fill, self.kind)
        start = 0
        for array, rows in self.parts:
            first, last = np.searchsorted(wanted, (start, start + len(rows)))
            found = rows[wanted[first:last] - start]
            known = np.flatnonzero(found >= 0)
            if array is not None and len(known):
                chosen = found[known]
                lowest = int(chosen.min())
                read = np.asarray(array[lowest : int(chosen.max()) + 1])
                values[first + known] = read[chosen - lowest]
            start += len(rows)
        return values[(slice(None), *slices[1:])]


def take_rows(parts: Sequence[tuple[LazyArray | None, NDArray[np.intp]]]) -> LazyArray:
    """Return rows of arrays of one kind, one array after another, without reading values.

    Each part is an array and its rows, in any order. Row -1, and all rows of None, are missing:
    None in text, and NaN in numbers, for which integers become float64.

    Example
    -------
    >>> take_rows([(np.array([10, 20]), np.array([1, -1, 0]))])[:]
    array([20., nan, 10.])

    """
    arrays = [array for array, _ in parts if array is not None]
    if arrays and all(isinstance(array, Categories) for array in arrays):
        return _take_categories(parts)
    dtype = np.result_type(*(array.dtype for array in arrays)) if arrays else np.dtype(float)
    if dtype.kind in "OSU":
        return _Rows(tuple(parts), (), np.dtype(object), None)
    has_missing = any(array is None or (rows < 0).any() for array, rows in parts)
    if has_missing and dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    row_shape = tuple(arrays[0].shape[1:]) if arrays else ()
    return _Rows(tuple(parts), row_shape, dtype, np.nan if has_missing else 0)


def _take_categories(parts: Sequence[tuple[Any, NDArray[np.intp]]]) -> Categories:
    names = dict.fromkeys(name for array, _ in parts if array is not None for name in array.names)
    code_of = {name: code for code, name in enumerate(names)}
    coded: list[tuple[LazyArray | None, NDArray[np.intp]]] = []
    for array, rows in parts:
        if array is None:
            coded.append((None, rows))
            continue
        lookup = np.array([*(code_of[name] for name in array.names), -1])
        coded.append((_Codes(array, lookup), rows))
    return Categories(_Rows(tuple(coded), (), np.dtype(np.int64), -1), tuple(names))


@dataclass(frozen=True)
class CellTable:
    """The cells of a population: ``ids`` (cell,), and properties ``columns`` (cell,) by name.

    A missing value is NaN, or None for text. ``kind`` is that of the population, such as
    ``biophysical`` or ``virtual``, and empty if it is not known. ``node_sets`` are named choices of
    cells, in the words of SONATA. Arrays may be lazy; they are read when needed.
    """

    population: str
    ids: LazyArray
    columns: Mapping[str, LazyArray] = field(default_factory=dict)
    kind: str = ""
    node_sets: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names, and that the lengths of the arrays agree."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        ids = as_array(self.ids, f"ids of cells {of_population}", kinds="iu")
        columns = as_arrays(self.columns, f"the cells {of_population}", allow_none=True)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "columns", columns)
        for name, values in columns.items():
            if tuple(values.shape[:1]) != (len(self),):
                msg = f"property {name!r} {of_population} has shape {values.shape}; expected a "
                raise ShapeMismatchError(msg + f"value for each of {len(self)} cells")

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.ids.shape[0])

    def rows_of(self, cells: Cells | None) -> NDArray[np.intp]:
        """Return the row of each of ``cells``: of ids in their order, of others in ascending order.

        Raises
        ------
        CellNotFoundError
            If an id is not in the table.
        SelectionError
            If there is no such node set or property.

        """
        if cells is None:
            return np.arange(len(self))
        if isinstance(cells, Mapping):
            return self._matching(cells)
        if isinstance(cells, str):
            msg = f"population {self.population!r} has no node set {cells!r}"
            raise SelectionError(msg)
        wanted = as_ids(cells)
        rows = self.find_rows(wanted)
        if len(missing := wanted[rows < 0]):
            msg = (
                f"cell {some_of(missing)} is not among the {len(self)} cells of population "
                f"{self.population!r} (ids {some_of(self._ids)})"
            )
            raise CellNotFoundError(msg)
        return rows

    def find_rows(self, ids: NDArray[Any]) -> NDArray[np.intp]:
        """Return the row of each id, or -1 if it is not in the table."""
        known = self._ids
        if not len(known):
            return np.full(len(ids), -1, np.intp)
        rows = np.searchsorted(known, ids, sorter=self._order)
        rows = self._order[np.minimum(rows, len(known) - 1)]
        return np.where(known[rows] == ids, rows, -1)

    def select(self, ids: LazyArray) -> "CellTable":
        """Return the table of other cells: properties of ids that it lacks are missing."""
        rows = self.find_rows(np.asarray(ids[:]))
        columns = {name: take_rows([(values, rows)]) for name, values in self.columns.items()}
        return replace(self, ids=ids, columns=columns)

    def _matching(self, query: Mapping[str, Any]) -> NDArray[np.intp]:
        chosen = np.ones(len(self), bool)
        for name, wanted in query.items():
            values = np.asarray(self.columns[name][:])
            chosen &= np.isin(values, wanted if isinstance(wanted, list) else [wanted])
        return np.flatnonzero(chosen)

    @cached_property
    def _ids(self) -> NDArray[Any]:
        """The ids, read once."""
        return np.asarray(self.ids[:])

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._ids, kind="stable")

    def to_dataframe(self, properties: Iterable[str] | None = None) -> "pd.DataFrame":
        """Return the ``properties``, by default all, as a frame indexed by the id of the cell."""
        import pandas as pd

        names = list(self.columns) if properties is None else list(properties)
        frame = {name: np.asarray(self.columns[name][:]) for name in names}
        return pd.DataFrame(frame, index=pd.Index(self._ids, name="cell"))
