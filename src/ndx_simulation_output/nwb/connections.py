"""Convert connections between cells to the NWB table ``Connections`` and back.

A table has a row for each post-synaptic cell with connections. Connections that are not sorted by
cell are sorted while they are written, a range of cells at a time.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, source_errors
from ndx_simulation_output.nwb.network_state import WrapColumn, column_names, load_column
from ndx_simulation_output.nwb.series import array_of, column_values
from ndx_simulation_output.nwb.types import CategoryData, Connections
from ndx_simulation_output.recording import Categories, ConnectionTable, LazyArray
from ndx_simulation_output.recording.ids import ids_of_source, storable_text
from ndx_simulation_output.recording.json_values import from_json, to_json
from ndx_simulation_output.recording.sorting import Repeated, Rows, Sorted, SortOrder, row_blocks
from ndx_simulation_output.recording.views import _View

_SOURCE, _DELAY, _ORDER, _ROUNDING = "source", "delay", "file_order", "delay_rounding"
_SCHEMA = {
    "weight": ("syn_weight", "conductance", "weight"),
    _DELAY: (_DELAY,),
    "section": ("afferent_section_id", "sec_id"),
    "position": ("afferent_section_pos", "sec_x"),
}
"""Names of properties of edges in SONATA, the first of which is stored as a column."""
_DESCRIPTIONS = {
    _SOURCE: "Id of the pre-synaptic cell of each connection, in its population",
    _DELAY: "Delay of each connection, in seconds",
    _ORDER: "Position of each connection in its file, counted from 0",
    _ROUNDING: "Units in the last place from the delay in milliseconds, computed from delay, to "
    "the number in the file",
}
_MS = 1000.0
_MOST_NAMES = 2**10
"""Largest number of texts of a column of categories: they are an attribute, of at most 64 kB."""

_MISSING = ("", "NULL", "NONE", "missing", "not known")
"""Texts that may stand for a missing one: the first that is not among the texts."""


def make_connections(
    table: ConnectionTable, name: str, wrap: WrapColumn = load_column
) -> Connections:
    """Return the NWB object of connections."""
    with source_errors(f"connections {table.name!r} cannot be read"):
        return _make(table, name, wrap)


def _make(table: ConnectionTable, name: str, wrap: WrapColumn) -> Connections:
    counts = table.target_counts
    order = None if counts.is_sorted else SortOrder(table.target_ids, counts)
    names = column_names(table.columns, _schema_names(table.columns), Connections)
    largest = _largest_id(table.source_ids, f"source_ids of {table.name!r}")
    columns = {_SOURCE: cast(table.source_ids, _id_type(largest))}
    facts: dict[str, Any] = {_SOURCE: {"dtype": table.source_ids.dtype.str}}
    for original, column in names.items():
        values = table.columns[original]
        facts[column] = {"name": original, "dtype": values.dtype.str}
        if original in table.units:
            facts[column]["unit"] = table.units[original]
        if values.dtype.kind in "OSU":
            columns[column], facts[column]["missing"] = _text(values)
        elif column == _DELAY and table.units.get(original, "ms") == "ms":
            columns[column] = _Converted(values, _seconds, np.dtype(np.float64))
            if most := _largest_rounding(values):
                columns[_ROUNDING] = _Converted(values, _rounding, np.min_scalar_type(-most))
        else:
            columns[column] = cast(values, _supported(values.dtype))
    if order is not None:
        columns = {key: _sorted(values, order) for key, values in columns.items()}
        rows = _sorted(Rows(len(table)), order)
        columns[_ORDER] = cast(rows, _id_type(len(table)))
    descriptions = {key: _described(key, facts.get(key, {})) for key in columns}
    provenance = {"columns": facts, "target": table.target_ids.dtype.str}
    made: Connections = Connections.from_arrays(
        ids_of_source(counts.keys, f"target_ids of {table.name!r}"),
        counts.ends,
        {
            key: _make_column(key, descriptions[key], values, wrap)
            for key, values in columns.items()
        },
        name=name,
        wrap_ends=wrap,
        description=f"The connections {table.name}",
        descriptions=descriptions,
        title=storable_text(table.name),
        source_population=table.source,
        target_population=table.target,
        provenance=json.dumps(to_json(provenance | {"source": dict(table.provenance)})),
    )
    return made


def _make_column(name: str, description: str, values: LazyArray, wrap: WrapColumn) -> Any:
    """Return the data of a column, or a column of text with few values."""
    if not isinstance(values, Categories):
        return wrap(values)
    return CategoryData(
        name=name,
        description=description,
        data=wrap(
            _Converted(
                values.codes,
                lambda codes: np.where(codes == values.missing, len(values.names), codes),
                np.min_scalar_type(len(values.names)),
            )
        ),
        categories=[*map(storable_text, values.names), ""],
    )


def _schema_names(columns: Mapping[str, LazyArray]) -> dict[str, str]:
    """Return the columns of the schema that properties are stored in."""
    found = {}
    for column, originals in _SCHEMA.items():
        original = next((name for name in originals if name in columns), None)
        if original is not None and columns[original].dtype.kind in "iuf":
            found[original] = column
    return found


def _described(column: str, facts: Mapping[str, Any]) -> str:
    """Return the description of a column: its original name, and its unit."""
    unit = facts.get("unit") if column != _DELAY else None
    text = _DESCRIPTIONS.get(column) or f"{facts['name']} of each connection"
    return f"{text}, in {unit}" if unit else text


def _sorted(values: LazyArray, order: SortOrder) -> LazyArray:
    if isinstance(values, Categories):
        return Categories(Sorted(values.codes, order), values.names, values.missing)
    return Sorted(values, order)


def _id_type(largest: int) -> np.dtype[Any]:
    """Return the type of ids, of which NWB allows signed ones of at least 32 bits."""
    return np.dtype(np.int32 if largest <= np.iinfo(np.int32).max else np.int64)


def _largest_id(ids: LazyArray, where: str) -> int:
    """Read ids, and check them, to return the largest."""
    largest = 0
    for block in row_blocks(ids.shape[0]):
        largest = max(largest, int(ids_of_source(np.asarray(ids[block]), where).max()))
    return largest


def _supported(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which NWB stores values of a type."""
    return np.dtype(np.float32) if dtype.str[1:] == "f2" else dtype.newbyteorder("=")


def _text(values: LazyArray) -> tuple[LazyArray, str | None]:
    """Return text as categories if it has few values, else with a text for missing values."""
    if isinstance(values, Categories) and len(values.names) <= _MOST_NAMES:
        return values, None
    names: dict[str, None] = {}
    for block in row_blocks(values.shape[0]):
        if len(names) <= _MOST_NAMES:
            found = dict.fromkeys(_as_texts(np.asarray(values[block])).ravel().tolist())
            names |= {text: None for text in found if text is not None}
    if len(names) <= _MOST_NAMES and len(values.shape) == 1:
        codes = {text: code for code, text in enumerate(names)} | {None: -1}
        coded = _Converted(values, partial(_codes, codes), np.dtype(np.int64))
        return Categories(coded, tuple(names)), None
    return marked_text(values)


def marked_text(values: LazyArray) -> tuple[LazyArray, str | None]:
    """Return text that NWB can store, and the text in it that stands for missing ones, if any.

    Text whose ``has_missing`` is False is not read for it.
    """
    if getattr(values, "has_missing", True) is False:
        return values, None
    marks: set[str | None] = {None, *_MISSING}
    for block in row_blocks(values.shape[0]):
        marks -= set(_as_texts(np.asarray(values[block])).ravel().tolist())
    mark = None if None in marks else next(mark for mark in _MISSING if mark in marks)
    return _Converted(values, partial(_replaced, None, mark), np.dtype(object)), mark


def _codes(codes: Mapping[str | None, int], values: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([codes[text] for text in _as_texts(values).tolist()], np.int64)


def _replaced(old: str | None, new: str | None, values: NDArray[Any]) -> NDArray[Any]:
    """Return text with ``new`` in place of ``old``, each of which may be None."""
    texts = [new if text == old else text for text in _as_texts(values).ravel().tolist()]
    return np.array([*texts, None], object)[:-1].reshape(values.shape)


def _as_texts(values: NDArray[Any]) -> NDArray[Any]:
    texts = [
        text.decode(errors="replace") if isinstance(text, bytes) else text
        for text in values.ravel().tolist()
    ]
    return np.array([*texts, None], object)[:-1].reshape(values.shape)


@dataclass(frozen=True)
class _Converted(_View):
    """The values of an array, converted block by block."""

    convert: Callable[[NDArray[Any]], NDArray[Any]]
    kind: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the converted values."""
        return self.kind

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self.convert(np.asarray(self.array[slices])).astype(self.kind, copy=False)


def cast(values: LazyArray, dtype: np.dtype[Any]) -> LazyArray:
    """Return values as a type that holds them, lazily."""
    return values if values.dtype == dtype else _Converted(values, np.asarray, dtype)


def _seconds(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64) / _MS


def _rounding(milliseconds: NDArray[Any]) -> NDArray[np.int64]:
    """Return the units in the last place that are lost by a conversion to seconds and back.

    Example
    -------
    >>> _rounding(np.array([2.0, 0.1, 0.123, np.nan])).tolist()
    [0, 0, -1, 0]

    """
    if milliseconds.dtype.itemsize < 8 and milliseconds.dtype.kind == "f":
        return np.zeros(milliseconds.shape, np.int64)  # float64 has digits to spare
    exact = milliseconds.astype(np.float64)
    again = _seconds(exact) * _MS
    lost = exact.view(np.int64) - again.view(np.int64)
    return np.where(exact == again, 0, np.where(np.isfinite(exact), lost, 0))


def _largest_rounding(values: LazyArray) -> int:
    blocks = row_blocks(values.shape[0])
    return max(
        (int(np.abs(_rounding(np.asarray(values[block]))).max()) for block in blocks), default=0
    )


@dataclass(frozen=True)
class _Milliseconds(_View):
    """Delays as they were before they were stored in seconds."""

    rounding: LazyArray | None
    kind: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the delays in the source."""
        return self.kind

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        values = np.asarray(self.array[slices], np.float64) * _MS
        if self.rounding is not None:
            values = (values.view(np.int64) + self.rounding[slices]).view(np.float64)
        return values.astype(self.kind)


def read_connections(table: Connections) -> ConnectionTable:
    """Read the connections of an NWB file; values of columns are read when used."""
    with source_errors(f"connections {table.name!r} cannot be read"):
        return _read(table)


def _read(table: Connections) -> ConnectionTable:
    facts = from_json(json.loads(table.provenance)) if table.provenance else {}
    where = f"table {table.name!r}"
    ids = array_of(table.id.data, where)
    ids = cast(ids, np.dtype(facts.get("target", ids.dtype)))
    targets = Repeated(ids, array_of(table[_SOURCE].data, where))
    stored: dict[str, LazyArray] = {}
    # hdmf does not keep the order of the columns of an empty table.
    names = dict.fromkeys([*facts.get("columns", {}), *table.colnames])
    for name in filter(set(table.colnames).__contains__, names):
        column = table[name]
        values = column_values(table, name)
        if isinstance(column, VectorIndex):
            index = array_of(column.data, where)
            stored[name] = _ragged(values, index, targets, f"{name!r} of {where}")
        elif len(values.shape) == 1:  # Of another program, with a value for each cell.
            stored[name] = _repeated(values, targets)
    for name in filter(stored.__contains__, (_DELAY, _ROUNDING, _ORDER)):
        values, size = stored[name], stored[_SOURCE].shape
        if values.shape != size or values.dtype.kind not in ("iuf" if name == _DELAY else "iu"):
            msg = f"{name} of {where} is {values.dtype} of shape {values.shape}; expected numbers "
            msg += f"of shape {size}"
            raise ShapeMismatchError(msg)
    order = SortOrder(stored.pop(_ORDER)) if _ORDER in stored else None
    rounding = stored.pop(_ROUNDING, None)
    own = {name: facts.get("columns", {}).get(name, {}) for name in stored}
    units = {name: one["unit"] for name, one in own.items() if one.get("unit")}
    if _DELAY in stored and units.setdefault(_DELAY, "ms") == "ms":
        kind = np.dtype(own[_DELAY].get("dtype", np.float64))
        stored[_DELAY] = _Milliseconds(stored[_DELAY], rounding, kind)
    columns = {name: _original(values, own[name]) for name, values in stored.items()}
    columns |= {"": targets}
    if order is not None:
        columns = {name: _sorted(values, order) for name, values in columns.items()}
    return ConnectionTable(
        name=table.title or table.name,
        source=table.source_population,
        target=table.target_population,
        source_ids=columns.pop(_SOURCE),
        target_ids=columns.pop(""),
        columns={own[name].get("name", name): values for name, values in columns.items()},
        units={own[name].get("name", name): unit for name, unit in units.items()},
        provenance=facts.get("source", {}),
    )


def _repeated(values: LazyArray, targets: Repeated) -> LazyArray:
    if isinstance(values, Categories):
        return Categories(_repeated(values.codes, targets), values.names, values.missing)
    return Repeated(values, targets.ends)


def _ragged(values: LazyArray, index: LazyArray, targets: Repeated, where: str) -> LazyArray:
    if isinstance(values, Categories):
        codes = _Ragged(values.codes, index, targets, where)
        return Categories(codes, values.names, values.missing)
    return _Ragged(values, index, targets, where)


@dataclass(frozen=True)
class _Ragged(_View):
    """The values of a ragged column, whose index is compared with that of ``targets``."""

    index: LazyArray
    targets: Repeated
    where: str

    @cached_property
    def _is_even(self) -> bool:
        return np.array_equal(self.index[:], self.targets.all_ends)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        if not self._is_even:
            msg = f"column {self.where} does not have as many values in each row as {_SOURCE!r}"
            raise ShapeMismatchError(msg)
        return np.asarray(self.array[slices])


def _original(values: LazyArray, facts: Mapping[str, Any]) -> LazyArray:
    """Return the values of a column as they were in the source."""
    if isinstance(values, Categories):
        return values
    if values.dtype.kind in "OSU":
        missing = facts.get("missing")
        return _Converted(values, partial(_replaced, missing, None), np.dtype(object))
    return cast(values, np.dtype(facts.get("dtype", values.dtype)))
