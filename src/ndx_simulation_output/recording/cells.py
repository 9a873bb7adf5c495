"""The cells of a population and their properties, and the choice of cells by property."""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, floor, inf, isfinite, isnan
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase, as_array, as_arrays
from ndx_simulation_output.recording.display import Facts, counted, listed, represent
from ndx_simulation_output.recording.ids import as_ids, check_name, parse_ids, positions_of, some_of
from ndx_simulation_output.recording.views import read_rows

if TYPE_CHECKING:
    import pandas as pd

Cells = Iterable[int] | int | str | Mapping[str, Any]
"""A choice of cells: ids, the name of a node set, or values of properties."""

_BLOCK = 2**18
"""Number of rows of a column that are read at once."""
_SCANNED = 2**15
"""Ids that are compared at once; memory for larger blocks is new each time, which is slower."""


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

    __repr__ = represent

    def _facts(self) -> Facts:
        yield ""
        yield counted(self.shape[0], "rows")
        yield listed(self.names, "names")

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
                values[first + known] = read_rows(array, found[known])
            start += len(rows)
        return values[(slice(None), *slices[1:])]


def take_rows(parts: Sequence[tuple[LazyArray | None, NDArray[np.intp]]], dtype: Any = None) -> Any:
    """Return rows of arrays of one kind, one array after another, without reading values.

    Each part is an array and its rows, in any order. Row -1, and all rows of None, are missing:
    None in text, and NaN in numbers, for which integers become float64. ``dtype`` is the type of
    numbers, by default that of the arrays.

    Example
    -------
    >>> take_rows([(np.array([10, 20]), np.array([1, -1, 0]))])[:]
    array([20., nan, 10.])

    """
    arrays = [array for array, _ in parts if array is not None]
    if arrays and all(isinstance(array, Categories) for array in arrays):
        return _take_categories(parts)
    found = np.result_type(*(array.dtype for array in arrays)) if arrays else np.dtype(float)
    row_shape = tuple(arrays[0].shape[1:]) if arrays else ()
    if found.kind in "OSU":
        return _Rows(tuple(parts), row_shape, np.dtype(object), None)
    has_missing = any(array is None or (rows < 0).any() for array, rows in parts)
    if has_missing and found.kind in "biu":
        found = np.dtype(np.float64)
    kind = found if dtype is None else np.dtype(dtype)
    return _Rows(tuple(parts), row_shape, kind, np.nan if has_missing else 0)


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


class _NoPropertyError(SelectionError):
    """A population does not have a property."""


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

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.population
        yield counted(len(self), "cells")
        yield self.kind
        yield listed(self.columns, "properties")

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.ids.shape[0])

    def rows_of(self, cells: Cells | None, what: str = "cells") -> NDArray[np.intp]:
        """Return the rows of ``cells``: of ids in their order, of any others in ascending order.

        ``cells`` are ids, the name of a node set, or a mapping of properties to what is wanted: a
        value, a list of values, a tuple (lowest, highest), both inclusive, or a mapping with
        ``$regex``, ``$gt``, ``$gte``, ``$lt`` or ``$lte``. A cell must meet all of a mapping.
        None as a value is a missing value; None as an end of a range leaves it open. The names
        ``node_id`` and ``population`` may stand beside properties. ``what`` is the word for the
        cells of the table in an error.

        Raises
        ------
        CellNotFoundError
            If an id is not in the table.
        SelectionError
            If there is no such node set or property, or a property cannot have such a value.

        Example
        -------
        >>> cells = CellTable("exc", np.array([7, 3, 5]), {"layer": np.array([4, 5, 6])})
        >>> cells.rows_of({"layer": (5, None)}).tolist()
        [1, 2]

        """
        if cells is None:
            return np.arange(len(self))
        if isinstance(cells, Mapping):
            return np.flatnonzero(self._meeting_query(cells))
        if isinstance(cells, str):
            return np.flatnonzero(self._in_node_set(cells))
        wanted = as_ids(cells)
        rows = self.find_rows(wanted)
        if len(missing := wanted[rows < 0]):
            msg = (
                f"cell {some_of(missing)} is not among the {len(self)} {what} of population "
                f"{self.population!r} (ids {some_of(self._ids)})"
            )
            raise CellNotFoundError(msg)
        return rows

    def find_rows(self, ids: NDArray[Any]) -> NDArray[np.intp]:
        """Return the row of each id, or -1 if it is not in the table."""
        if len(ids) == 1 and "_ids" not in vars(self) and "_scanned" not in vars(self):
            # For one cell, the ids behind it are not read, and none is kept in memory.
            vars(self)["_scanned"] = True
            return self._scan(ids[0])
        known = self._ids
        if not len(known):
            return np.full(len(ids), -1, np.intp)
        if len(ids) == 1:
            rows = np.flatnonzero(known == ids[0])[:1]
            return rows if len(rows) else np.full(1, -1, np.intp)
        if self._order is None:
            return positions_of(ids.astype(np.int64), known.astype(np.int64, copy=False))
        rows = np.minimum(np.searchsorted(known, ids, sorter=self._order), len(known) - 1)
        rows = self._order[rows]
        return np.where(known[rows] == ids, rows, -1)

    def row_of(self, cell: int | np.integer[Any]) -> int | None:
        """Return the row of an id if the ids are in memory and ascend, otherwise None."""
        if "_ids" not in vars(self) or self._order is not None or isinstance(cell, bool):
            return None
        known, wanted = self._ids, int(cell)
        if not len(known) or not int(known[0]) <= wanted <= int(known[-1]):
            return None
        row = int(known.searchsorted(known.dtype.type(wanted)))
        return row if known[row] == wanted else None

    def _scan(self, wanted: Any) -> NDArray[np.intp]:
        """Return the row of an id, the first that has it, reading no ids behind its block."""
        for start in range(0, len(self), _SCANNED):
            found = np.flatnonzero(np.asarray(self.ids[start : start + _SCANNED]) == wanted)
            if len(found):
                return found[:1] + start
        return np.full(1, -1, np.intp)

    def take(self, rows: NDArray[np.intp]) -> "CellTable":
        """Return the table of the cells of some rows."""
        columns = {name: take_rows([(values, rows)]) for name, values in self.columns.items()}
        return replace(self, ids=self._ids[rows], columns=columns)

    def select(self, ids: LazyArray) -> "CellTable":
        """Return the table of other cells: properties of ids that it lacks are missing."""
        rows = self.find_rows(np.asarray(ids[:]))
        columns = {name: take_rows([(values, rows)]) for name, values in self.columns.items()}
        return replace(self, ids=ids, columns=columns)

    def read(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return a property, or ``node_id``, of the cells of some rows: text as str, None or NaN.

        Raises
        ------
        SelectionError
            If there is no such property, or it has several values for a cell.

        """
        values = np.asarray(take_rows([(self._column(name), rows)])[:])
        if values.dtype.kind in "OSU":
            return _objects([_as_text(value) for value in values.tolist()])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def groups_of(self, name: str, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """Return the group of each of the cells of some rows, and the value of each group.

        Groups are the different values of a property, in ascending order. A cell without a value is
        in group -1.

        Example
        -------
        >>> cells = CellTable("exc", np.arange(3), {"ei": np.array(["i", "e", None], object)})
        >>> cells.groups_of("ei", np.arange(3))
        (array([ 1,  0, -1]), array(['e', 'i'], dtype=object))

        """
        column = self._column(name)
        if isinstance(column, Categories):
            part = take_rows([(column, rows)])
            texts, codes = [*part.names, None], part.read_codes(slice(None))
        else:
            values = self.read(name, rows)
            if values.dtype.kind != "O":
                groups, codes = np.unique(values, return_inverse=True)
                count = len(groups) - int(np.isnan(groups[-1:]).sum())
                return np.where(codes < count, codes, -1), groups[:count]
            texts = [*set(values)]
            numbers = {text: number for number, text in enumerate(texts)}
            codes = np.fromiter(map(numbers.__getitem__, values), np.intp, len(values))
        used = sorted({texts[code] for code in np.unique(codes)} - {None})
        ranks = {text: rank for rank, text in enumerate(used)}
        return np.array([ranks.get(text, -1) for text in texts], np.intp)[codes], _objects(used)

    def _in_node_set(self, name: str) -> NDArray[np.bool_]:
        """Return True for each cell of a node set, or of the population of this name.

        A property that the population lacks matches no cell here: node sets are of a circuit.
        """
        if name == self.population and name not in self.node_sets:
            return np.ones(len(self), bool)
        chosen = np.zeros(len(self), bool)
        errors = []
        queries = list(_queries_of(self.node_sets, name, self.population))
        for query in queries:
            try:
                chosen |= self._meeting(query)
            except _NoPropertyError as error:
                errors.append(error)
        if errors and len(errors) == len(queries):
            msg = f"node set {name!r}: {errors[0]}"
            raise _NoPropertyError(msg) from errors[0]
        return chosen

    def _meeting_query(self, query: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return True for each cell that meets a query, which may consist of others as in snap."""
        chosen = self._meeting({key: query[key] for key in query if key not in _OF_QUERIES})
        for key in _OF_QUERIES & set(query):
            if key == "$node_set":
                chosen &= self._in_node_set(query[key])
                continue
            if not _is_list_of(query[key], Mapping):
                msg = f"{key} is {query[key]!r:.60}; expected a list of queries"
                raise SelectionError(msg)
            together = np.logical_and if key == "$and" else np.logical_or
            masks = [self._meeting_query(one) for one in query[key]]
            chosen &= together.reduce(masks, initial=key == "$and")
        return chosen

    def _meeting(self, query: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return True for each cell that meets all conditions of a query."""
        chosen = np.ones(len(self), bool)
        for key in _POPULATION_KEYS & set(query):
            test = _text_test(_conditions(query[key], key), f"{key!r}")
            if not test(self.population):
                return np.zeros(len(self), bool)
        for key in query:
            if key not in _POPULATION_KEYS:
                chosen &= self._matching(key, query[key])
        return chosen

    def _matching(self, name: str, wanted: Any) -> NDArray[np.bool_]:
        """Return True for each cell whose property has a wanted value."""
        where = f"property {name!r} of population {self.population!r}"
        values = self._column(name)
        conditions = _conditions(wanted, where)
        n_rows = len(self)
        blocks = (slice(begin, begin + _BLOCK) for begin in range(0, n_rows, _BLOCK))
        chosen = np.empty(n_rows, bool)
        if isinstance(values, Categories):
            test = _text_test(conditions, where)
            is_wanted = np.array([test(text) for text in (*values.names, None)], bool)
            for rows in blocks:
                chosen[rows] = is_wanted[values.read_codes(rows)]
        elif values.dtype.kind in "OSU":
            test = _text_test(conditions, where)
            for rows in blocks:
                chosen[rows] = _match_texts(np.asarray(values[rows]), test)
        else:
            match = _number_test(conditions, values.dtype, where)
            for rows in blocks:
                chosen[rows] = match(np.asarray(values[rows]))
        return chosen

    def _column(self, name: str) -> LazyArray:
        """Return a property with one value for each cell, or the ids."""
        if name == "node_id":
            return self._ids
        if name not in self.columns:
            known = ", ".join([*self.columns, "node_id", "population"])
            msg = f"population {self.population!r} has no property {name!r}; expected one of: "
            raise _NoPropertyError(msg + known)
        values = self.columns[name]
        where = f"property {name!r} of population {self.population!r}"
        if len(values.shape) != 1 or values.dtype.kind not in "OSUbiuf":
            found = " × ".join(map(str, values.shape[1:])) or str(values.dtype)
            msg = f"{where} has {found} values for a cell; expected one number or text"
            raise SelectionError(msg)
        return values

    @cached_property
    def _ids(self) -> NDArray[Any]:
        """The ids, read once."""
        return np.asarray(self.ids[:])

    @cached_property
    def _order(self) -> NDArray[np.intp] | None:
        """The order that sorts the ids, or None if they are sorted."""
        is_sorted = bool((self._ids[1:] > self._ids[:-1]).all())
        return None if is_sorted else np.argsort(self._ids, kind="stable")

    def to_dataframe(self, properties: Iterable[str] | None = None) -> "pd.DataFrame":
        """Return the ``properties``, by default all, as a frame indexed by the id of the cell."""
        import pandas as pd

        names = list(self.columns) if properties is None else list(properties)
        frame = {name: np.asarray(self.columns[name][:]) for name in names}
        return pd.DataFrame(frame, index=pd.Index(self._ids, name="cell"))


class Choice:
    """A choice of cells of several populations, which need not all have the property or id."""

    def __init__(self, cells: Cells) -> None:
        self._cells: Cells = cells
        self._missing = np.zeros(0, np.int64)
        if not isinstance(cells, str | Mapping):
            self._cells = self._missing = np.unique(as_ids(cells))
        self._errors: list[SelectionError] = []
        self._applies = False

    def __str__(self) -> str:
        """Return a short description."""
        ids = self._cells
        text = some_of(ids) or "no ids" if isinstance(ids, np.ndarray) else repr(ids)
        return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"

    def rows_of(self, table: CellTable) -> NDArray[np.intp]:
        """Return the rows of the chosen cells of a table, in ascending order."""
        if isinstance(self._cells, np.ndarray):
            rows = table.find_rows(self._cells)
            self._missing = np.intersect1d(self._missing, self._cells[rows < 0])
            return np.sort(rows[rows >= 0])
        try:
            rows = table.rows_of(self._cells)
        except SelectionError as error:
            self._errors.append(error)
            return np.zeros(0, np.intp)
        self._applies = True
        return rows

    def check(self, *, are_all_known: bool, found: bool) -> None:
        """Raise an error if no population has an id or property, or nothing was ``found``."""
        if self._errors and not self._applies:
            raise self._errors[0]
        if len(self._missing) and (are_all_known or not found):
            msg = f"cell {some_of(self._missing)} is not among the recorded cells"
            raise CellNotFoundError(msg)
        if not found:
            msg = f"no recorded cell is one of {self}"
            raise CellNotFoundError(msg)


_MOST_LETTERS = 100
_POPULATION_KEYS = {"population", "populations"}
_OF_QUERIES = {"$and", "$or", "$node_set"}
_MOST_NESTED = 100
_FEW = 20
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _queries_of(
    node_sets: Mapping[str, Any], name: str, population: str
) -> Iterator[Mapping[str, Any]]:
    """Yield the queries whose union is a node set, each once."""
    seen: set[str] = set()

    def walk(name: Any, path: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        if name in path or len(path) > _MOST_NESTED:
            what = "contains itself" if name in path else f"is nested {len(path)} times"
            msg = f"node set {path[0]!r} {what}: {' > '.join([*path[-4:], name])}"
            raise SelectionError(msg)
        if not isinstance(name, str) or name not in node_sets:
            inside = f"node set {path[-1]!r} contains {name!r}, but " if path else ""
            known = ", ".join(node_sets) or "none"
            msg = f"{inside}population {population!r} has no node set {name!r}; there are: {known}"
            raise SelectionError(msg)
        if name in seen:
            return
        seen.add(name)
        found = node_sets[name]
        if isinstance(found, Mapping):
            yield found
        elif _is_list_of(found, int):
            yield {"node_id": found}
        elif _is_list_of(found, str):
            for inner in found:
                yield from walk(inner, (*path, name))
        else:
            msg = f"node set {name!r} is {found!r:.60}; expected properties, names or ids"
            raise SelectionError(msg)

    return walk(name, ())


def _is_list_of(values: Any, kind: type) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(one, kind) for one in values)


@dataclass(frozen=True)
class _Conditions:
    """A condition on a property: any of ``values``, or all ``bounds``, or the ``pattern``."""

    values: Sequence[Any] | NDArray[Any] | None = None
    bounds: tuple[tuple[str, Any], ...] = ()
    pattern: re.Pattern[str] | None = None


def _conditions(wanted: Any, where: str) -> _Conditions:
    """Read a value, a list of values, a range or a mapping of operators; NaN equals nothing."""
    if isinstance(wanted, Mapping):
        return _conditions_of_operators(wanted, where)
    if isinstance(wanted, tuple):
        if len(wanted) != 2 or wanted == (None, None) or not all(map(_is_end, wanted)):
            msg = f"{wanted!r:.60} for {where} is not a range (lowest, highest); write a list to "
            raise SelectionError(msg + "choose one of several values")
        ends = zip(("$gte", "$lte"), wanted, strict=True)
        return _Conditions(bounds=tuple((key, end) for key, end in ends if end is not None))
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
        wanted = [wanted]
    wanted = np.atleast_1d(wanted) if isinstance(wanted, np.ndarray) else list(wanted)
    with suppress(ValueError):
        # Many ids are compared as an array.
        array = np.asarray(wanted)
        if array.ndim == 1 and array.dtype.kind in "iu":
            return _Conditions(array)
    return _Conditions([value for one in wanted if (value := _plain(one, where)) == value])


def _conditions_of_operators(wanted: Mapping[str, Any], where: str) -> _Conditions:
    known = ("$regex", *_COMPARISONS)
    if not wanted or (unknown := [key for key in wanted if key not in known]):
        found = repr(unknown[0]) if wanted else "no operator"
        msg = f"{where} is to be chosen by {found}; expected one of: {', '.join(known)}"
        raise SelectionError(msg)
    bounds = tuple((key, end) for key, end in wanted.items() if key != "$regex")
    for key, end in bounds:
        if end is None or not _is_end(end):
            msg = f"{key} for {where} is {end!r:.60}; expected a number"
            raise SelectionError(msg)
    if "$regex" not in wanted:
        return _Conditions(bounds=bounds)
    try:
        return _Conditions(bounds=bounds, pattern=re.compile(wanted["$regex"]))
    except (TypeError, re.error) as error:
        msg = f"$regex for {where} is {wanted['$regex']!r:.60}: {error}"
        raise SelectionError(msg) from error


def _is_end(value: Any) -> bool:
    """Return True for what may be the end of a range."""
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _plain(value: Any, where: str) -> Any:
    """Return a wanted value as text, a number of Python or None."""
    value = value.item() if isinstance(value, np.generic) else value
    value = value.decode() if isinstance(value, bytes) else value
    if value is None or isinstance(value, str | Real):
        return value
    msg = f"{where} is to be {value!r:.60}; expected text, a number or None"
    raise SelectionError(msg)


def _text_test(conditions: _Conditions, where: str) -> Callable[[str | None], bool]:
    """Return a function that is True for wanted texts; None is a missing one."""
    if conditions.bounds:
        msg = f"{where} has text, which has no range; expected values or $regex"
        raise SelectionError(msg)
    if (pattern := conditions.pattern) is not None:
        return lambda text: text is not None and pattern.search(text) is not None
    texts: set[str | None] = set()
    for value in conditions.values if conditions.values is not None else ():
        if isinstance(value, float):
            # The text of a number is its shortest: "5" is that of 5.0 too.
            texts |= {str(value), f"{value:.0f}" if value.is_integer() else str(value)}
        else:
            texts.add(value if value is None else str(value))
    return lambda text: text in texts


def _match_texts(texts: NDArray[Any], test: Callable[[str | None], bool]) -> NDArray[np.bool_]:
    """Test each different text once."""
    values = texts.tolist()
    found = {value: test(_as_text(value)) for value in set(values)}
    return np.fromiter(map(found.__getitem__, values), bool, len(values))


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return an array of text, which may be missing."""
    return np.array([*values, None], object)[:-1]


def _as_text(value: Any) -> str | None:
    """Return a value of a column of text; NaN, as pandas has it, is a missing one."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _number_test(
    conditions: _Conditions, dtype: np.dtype[Any], where: str
) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    """Return a function that is True for wanted numbers of an array of this type."""
    if conditions.pattern is not None:
        msg = f"{where} has numbers ({dtype}); expected values or a range, not $regex"
        raise SelectionError(msg)
    if conditions.values is None:
        bounds = [_exact_bound(key, end, dtype) for key, end in conditions.bounds]
        return lambda values: np.logical_and.reduce(
            [_COMPARISONS[key](values, end) for key, end in bounds]
        )
    wanted = _as_type(conditions.values, dtype, where)
    takes_missing = dtype.kind == "f" and any(value is None for value in conditions.values)
    if takes_missing:
        return lambda values: _is_in(values, wanted) | np.isnan(values)
    return lambda values: _is_in(values, wanted)


def _is_in(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Return ``np.isin``, which is slow for few values."""
    if len(wanted) > _FEW:
        return np.isin(values, wanted)
    found = np.zeros(len(values), bool)
    for one in wanted:
        found |= values == one
    return found


def _exact_bound(key: str, end: Any, dtype: np.dtype[Any]) -> tuple[str, Any]:
    """Return a comparison that is exact for numbers of this type."""
    if abs(end) > 1e300:
        end = inf if end > 0 else -inf
    if dtype.kind == "f":
        # A number of Python takes the type of the column, as in numpy: 0.1 is 0.1 of float32 too.
        with np.errstate(over="ignore"):
            return key, dtype.newbyteorder("=").type(end)
    if not isfinite(end):
        return key, float(end)
    whole = ceil(end) if key in {"$gte", "$lt"} else floor(end)
    return key, max(-1, min(whole, 2)) if dtype.kind == "b" else whole


def _as_type(values: Any, dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Return the wanted values that a number of this type can be."""
    native = dtype.newbyteorder("=")
    if isinstance(values, np.ndarray) and native.kind in "iu":
        limits = np.iinfo(native)
        return values[(values >= limits.min) & (values <= limits.max)].astype(native)
    found = []
    for value in values:
        number = _as_number(value, native, where) if isinstance(value, str) else value
        if number is None:
            continue
        with np.errstate(over="ignore"), suppress(OverflowError):
            of_type = native.type(number)
            is_same = isfinite(of_type) == isfinite(number) and (
                (isinstance(number, float) and native.kind == "f") or of_type.item() == number
            )
            found += [of_type] if is_same else []
    return np.array(found, native)


def _as_number(text: str, dtype: np.dtype[Any], where: str) -> Any:
    """Return the number that a text is."""
    truths = {"true": True, "false": False} if dtype.kind == "b" else {}
    for parse in (truths.__getitem__, int, float):
        with suppress(KeyError, ValueError):
            number = parse(text.lower())
            if not (isinstance(number, float) and isnan(number)):
                return number
    msg = f"{where} has numbers ({dtype}); found {text!r}"
    raise SelectionError(msg)


_CONDITION = re.compile(r'\s*([^=<>~"]+?|"[^"]*")\s*(>=|<=|=|<|>|~)\s*(.*?)\s*', re.DOTALL)
_OPERATORS = {"~": "$regex", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}


def parse_cells(text: str) -> Cells:
    """Return the choice of cells that a text is: ids, properties, or the name of a node set.

    Properties are separated by commas, as are several values of a property. ``x=0..100`` and
    ``x>=0`` are ranges, ``mtype~PC`` is a regular expression. A value with a comma is in quotes, as
    is a name that looks like something else.

    Example
    -------
    >>> parse_cells("3,10-12")
    [3, 10, 11, 12]
    >>> parse_cells("layer=2,3,x=0..100,mtype~PC")
    {'layer': ['2', '3'], 'x': (0, 100), 'mtype': {'$regex': 'PC'}}
    >>> parse_cells("L5"), parse_cells('"5"')
    ('L5', '5')

    """
    if not text.strip(" ,"):
        msg = f"{text!r} chooses no cells; expected ids, properties or the name of a node set"
        raise SelectionError(msg)
    if re.fullmatch(r"[\d\s,-]+", text):
        ids: list[int] = parse_ids(text).tolist()
        return ids
    parts = re.findall(r'(?:[^,"]|"[^"]*"?)+', text)
    if not any(map(_CONDITION.fullmatch, parts)):
        return text[1:-1] if re.fullmatch(r'"[^"]+"', text) else text
    query: dict[str, Any] = {}
    name = ""
    for part in parts:
        found = _CONDITION.fullmatch(part)
        name, sign, value = found.groups() if found else (name, ",", part.strip())
        name = name.strip('"')
        try:
            query[name] = _parse_condition(sign, value, query.get(name))
        except ValueError:
            msg = f"{part.strip()!r} in {text!r} is not a condition such as layer=5 or x>=0"
            raise SelectionError(msg) from None
    return query


def _parse_condition(sign: str, value: str, known: Any) -> Any:
    """Return a condition added to what is known of a property; raise ValueError if it cannot be."""
    text = value.strip('"')
    if value and sign == "=" and known is None:
        lowest, dots, highest = value.partition("..")
        with suppress(ValueError):
            if dots and (lowest or highest):
                return (_parse_end(lowest), _parse_end(highest))
        return [text]
    if value and sign == "," and isinstance(known, list):
        return [*known, text]
    if value and sign in _OPERATORS and isinstance(known, dict | None):
        key, conditions = _OPERATORS[sign], known or {}
        if key not in conditions:
            return {**conditions, key: text if sign == "~" else _parse_end(value)}
    raise ValueError


def _parse_end(text: str) -> int | float | None:
    """Return the number at the end of a range; None if there is none."""
    if not text:
        return None
    with suppress(ValueError):
        return int(text)
    return float(text)
