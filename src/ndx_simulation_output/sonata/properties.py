"""Read the properties of nodes and edges: from the groups of HDF5 files and tables of types.

Nodes and edges are stored alike, as rows of a population. A row belongs to a group, in which it has
an index, and to a type. Its properties are those of the group, then those of the type.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputWarning, SourceError, source_errors
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.cells import Categories
from ndx_simulation_output.recording.ids import ids_of_source
from ndx_simulation_output.recording.views import Part, Rows, filled_type
from ndx_simulation_output.sonata.circuit_config import WITHOUT_NODES
from ndx_simulation_output.sonata.hdf5 import base_name, child, location
from ndx_simulation_output.sonata.layouts import DYNAMICS, DYNAMICS_PREFIX, LIBRARY
from ndx_simulation_output.sonata.type_tables import TypeTable
from ndx_simulation_output.storage.reading import wrap_array

Kind = Literal["node", "edge"]

_BLOCK = 2**18
_MOST_GROUPS = 1000
_MOST_SPAN = 2**16
_NUMBER = re.compile(r"0|[1-9][0-9]*")
_MOST_NAMES = 2**20
_INT64 = np.dtype(np.int64)
_NO_TYPE = np.iinfo(np.uint64).max


def _rows_of_column(values: LazyArray, rows: LazyArray, *, missing: bool = False) -> LazyArray:
    """Return the ``rows`` of a column, lazily; with ``missing``, those below 0 have no value."""
    if isinstance(values, Categories):
        return Categories(Rows(values.codes, rows, -1 if missing else None), values.names)
    fill = None if not missing or values.dtype.kind in "OSU" else np.nan
    return Rows(values, rows, fill)


@dataclass(frozen=True)
class _Converted(LazyArrayBase):
    """A dataset whose values are converted when they are read; text may have missing values."""

    array: LazyArray
    where: str
    convert: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: np.dtype[Any] = _INT64
    has_missing: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        with source_errors(lambda: f"{self.where} cannot be read ({WITHOUT_NODES})"):
            return self.convert(np.asarray(self.array[slices]))


@dataclass
class _Coded(LazyArrayBase):
    """The codes of a ``@library`` of ``count`` texts; others are missing, -1, and told once."""

    array: LazyArray
    where: str
    count: int
    owner: Callable[[int], str]
    told: bool = False
    dtype: np.dtype[Any] = _INT64

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return tuple(self.array.shape)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        with source_errors(lambda: f"{self.where} cannot be read ({WITHOUT_NODES})"):
            codes = np.asarray(self.array[slices])
        is_wrong = (codes < 0) | (codes >= self.count)
        if not is_wrong.any():
            return codes.astype(np.int64)
        if not self.told:
            place = int(is_wrong.argmax())
            owner = self.owner(range(*slices[0].indices(self.shape[0]))[place])
            found = f"{self.where} has the code {codes[place]} for {owner}"
            msg = f"{found}, but its @library has {self.count} entries: read as missing"
            warnings.warn(msg, SimulationOutputWarning, stacklevel=2)
            self.told = True
        return np.where(is_wrong, -1, codes.astype(np.int64))


@dataclass(frozen=True)
class _Grouped(LazyArrayBase):
    """A property of rows of several groups: of ``sources`` by group, else ``others`` (row,)."""

    numbers: LazyArray
    index: LazyArray
    sources: Mapping[int, LazyArray]
    others: LazyArray | None
    dtype: np.dtype[Any]
    fill: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and length of each other dimension."""
        return (*self.numbers.shape, *next(iter(self.sources.values())).shape[1:])

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        numbers, index = self.numbers[slices[0]], self.index[slices[0]]
        inner = (len(range(*part.indices(n))) for part, n in zip(slices, self.shape, strict=True))
        values = np.full(tuple(inner), self.fill, self.dtype)
        if self.others is not None:
            values[...] = self.others[slices]
        for number, source in self.sources.items():
            if (own := numbers == number).any():
                values[own] = _rows_of_column(source, index[own])[(slice(None), *slices[1:])]
        return values


@dataclass(frozen=True)
class _Rows:
    """The group of each row, and its index, None if it is the row itself.

    ``highest`` has the highest index in each group with rows; if there is ``only`` one, ``numbers``
    are not used.
    """

    size: int
    numbers: LazyArray
    index: LazyArray | None
    highest: Mapping[int, int]

    @property
    def only(self) -> int | None:
        return next(iter(self.highest)) if len(self.highest) == 1 else None


def read_properties(
    group: h5py.Group, kind: Kind, types: TypeTable | None, size: int, notes: list[str]
) -> dict[str, LazyArray]:
    """Return the properties of the ``size`` nodes or edges of a population, lazily, by name.

    Group and index of rows are among them, as ``node_group_id`` and ``node_group_index``, unless
    there is one group and the index is the row.
    Only the type, group and index of rows are read, in blocks. A value that is missing is NaN, or
    None for text; integers of which some are missing become floating-point numbers, with a note.
    """
    for name in (f"{kind}_type_id", f"{kind}_group_id", f"{kind}_group_index"):
        shape = getattr(child(group, name), "shape", None) if name in group else None
        if shape and shape[0] > size:
            where = f"{name} in {location(group)}"
            notes.append(f"{where} has {shape[0]} values for {size} {kind}s: the first were read")
    rows = _rows_of(group, kind, size)
    groups = {
        int(name): found
        for name in group
        if _NUMBER.fullmatch(name) and isinstance(found := child(group, name), h5py.Group)
    }
    if absent := sorted(set(rows.highest) - set(groups)) if groups else []:
        notes.append(f"{location(group)} has no group {absent[0]}, to which {kind}s belong")
    found = {
        number: _datasets(groups[number], "", notes, partial(_owner, group, kind, rows, number))
        for number in sorted(set(rows.highest) & set(groups))
    }
    for number, datasets in found.items():
        for dataset in datasets.values():
            dataset.check_length(rows.highest[number] + 1)
    of_types = _of_types(group, kind, types, size)
    names = dict.fromkeys(name for datasets in found.values() for name in datasets)
    columns: dict[str, LazyArray] = {}
    for name in names:
        sources = {number: one[name] for number, one in found.items() if name in one}
        column = _column(name, rows, sources, of_types.get(name), notes)
        if column is not None:
            columns[name] = column
    kinds = {} if types is None else types.kinds
    for name, values in of_types.items():
        if name not in columns and kinds[name] == "integer" and values.dtype.kind == "f":
            where = f"{name} is missing for {kind}s of {base_name(group)}"
            notes.append(f"{where}: integers were read as float64")
    columns = {**columns, **{name: of_types[name] for name in of_types if name not in columns}}
    columns |= {
        f"{kind}_group_{end}": values
        for end, values in (
            ("id", rows.numbers if rows.only is None else None),
            ("index", rows.index),
        )
        if values is not None
    }
    return columns


def integers(group: h5py.Group, name: str, size: int | None) -> LazyArray | None:
    """Return integers (row,) of any type lazily, as int64 with -1 for 2**64 - 1, or None."""
    if name not in group:
        return None
    dataset = child(group, name)
    shape = getattr(dataset, "shape", None)
    if shape is None or len(shape) != 1 or shape[0] < (size or 0):
        expected = "one dimension" if size is None else f"{size} values"
        msg = f"{location(dataset)} has shape {shape}; expected {expected}"
        raise SourceError(msg)
    where = location(dataset)

    def convert(values: NDArray[Any]) -> NDArray[np.int64]:
        if values.dtype == np.uint64 and (is_none := values == _NO_TYPE).any():
            return np.where(is_none, -1, ids_of_source(np.where(is_none, 0, values), where))
        return ids_of_source(values, where, lowest=-1)

    values = _Converted(wrap_array(dataset), where, convert)
    return values if size is None else _first(values, size)


def blocks(size: int) -> Iterator[slice]:
    """Yield slices of all rows, of at most 2**18 each."""
    return (slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK))


def _rows_of(group: h5py.Group, kind: Kind, size: int) -> _Rows:
    numbers = integers(group, f"{kind}_group_id", size)
    index = integers(group, f"{kind}_group_index", size)
    if numbers is None and index is None:
        return _Rows(size, np.zeros(0), None, {0: size - 1})
    highest: dict[int, int] = {}
    is_row = True
    for block in blocks(size):
        of_group = np.zeros(0, np.int64) if numbers is None else numbers[block]
        rows = np.arange(block.start, block.stop)
        found = rows if index is None else index[block]
        is_row = is_row and np.array_equal(found, rows)
        if found.min() < 0:
            msg = f"{kind}_group_index in {location(group)} has {found.min()}; expected at least 0"
            raise SourceError(msg)
        if not len(of_group) or (of_group == of_group[0]).all():
            number = int(of_group[0]) if len(of_group) else 0
            highest[number] = max(int(found.max()), highest.get(number, -1))
            continue
        for number in np.unique(of_group).tolist():
            in_group = int(found[of_group == number].max())
            highest[number] = max(in_group, highest.get(number, -1))
            if len(highest) > _MOST_GROUPS:
                msg = f"{kind}_group_id in {location(group)} has more than {_MOST_GROUPS} groups"
                raise SourceError(msg)
    known = np.zeros(0) if numbers is None else numbers
    return _Rows(size, known, None if is_row else index, highest or {0: -1})


def _owner(group: h5py.Group, kind: Kind, rows: _Rows, number: int, index: int) -> str:
    """Return the node or edge with an index in a group, as text."""
    for block in blocks(rows.size):
        found = np.arange(block.start, block.stop) if rows.index is None else rows.index[block]
        is_own = found == index
        if rows.only is None:
            is_own &= rows.numbers[block] == number
        if is_own.any():
            row = block.start + int(is_own.argmax())
            ids = integers(group, f"{kind}_id", rows.size)
            return f"{kind} {row if ids is None else ids[row : row + 1][0]}"
    return f"no {kind}"


@dataclass(frozen=True)
class _Dataset:
    """A dataset of a group, the entries of its ``@library``, and the ``owner`` of a value."""

    dataset: h5py.Dataset
    library: tuple[str, ...] | None = None
    owner: Callable[[int], str] = "value {}".format

    def check_length(self, least: int) -> None:
        if self.dataset.shape[0] < least:
            found = f"{location(self.dataset)} has {self.dataset.shape[0]} values"
            msg = f"{found}; expected {least}, one for each node or edge"
            raise SourceError(msg)

    def array(self) -> LazyArray:
        """Return the values, text as str."""
        values, where = wrap_array(self.dataset), location(self.dataset)
        if self.library is not None:
            return Categories(_Coded(values, where, len(self.library), self.owner), self.library)
        if values.dtype.kind not in "OS":
            return values
        is_padded = values.dtype.kind == "S"
        is_padded = is_padded and self.dataset.id.get_type().get_strpad() == h5py.h5t.STR_SPACEPAD

        def decoded(texts: NDArray[Any]) -> NDArray[Any]:
            flat = [
                text.decode().rstrip(" ") if is_padded else text.decode() for text in texts.ravel()
            ]
            return np.array([*flat, None], object)[:-1].reshape(texts.shape)

        return _Converted(values, where, decoded, np.dtype(object), has_missing=False)


def _datasets(
    group: h5py.Group, prefix: str, notes: list[str], owner: Callable[[int], str]
) -> dict[str, _Dataset]:
    """Return the datasets of a group with a value for each row, by the name of the property."""
    libraries = _libraries(group)
    found: dict[str, _Dataset] = {}
    for name in group:
        node = child(group, name)
        is_group = isinstance(node, h5py.Group)
        if name == LIBRARY:
            continue
        if name == DYNAMICS and is_group and not prefix:
            found |= _datasets(node, DYNAMICS_PREFIX, notes, owner)
            continue
        shape = getattr(node, "shape", None)
        is_text = not is_group and h5py.check_string_dtype(node.dtype) is not None
        if is_group or not shape or not (is_text or node.dtype.kind in "biuf"):
            what = "a group" if is_group else f"{node.dtype} of shape {shape}"
            notes.append(f"{location(node)} is {what}, not a property, and was left out")
            continue
        is_coded = name in libraries and node.dtype.kind in "iu" and len(shape) == 1
        found[prefix + name] = _Dataset(node, libraries[name] if is_coded else None, owner)
    return found


def _libraries(group: h5py.Group) -> dict[str, tuple[str, ...]]:
    """Return the entries of each ``@library`` of a group."""
    library = child(group, LIBRARY) if LIBRARY in group else None
    if not isinstance(library, h5py.Group):
        return {}
    texts: dict[str, tuple[str, ...]] = {}
    for name in library:
        node = child(library, name)
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) == 1:
            if node.shape[0] > _MOST_NAMES:
                msg = (
                    f"{location(node)} has {node.shape[0]} entries; expected at most {_MOST_NAMES}"
                )
                raise SourceError(msg)
            texts[name] = tuple(map(str, _Dataset(node).array()[:]))
    return texts


def _column(
    name: str,
    rows: _Rows,
    sources: Mapping[int, _Dataset],
    of_type: LazyArray | None,
    notes: list[str],
) -> LazyArray | None:
    """Return a property that is in groups, and of types for the rows of other groups."""
    arrays = {number: one.array() for number, one in sources.items()}
    if rows.only is not None:
        array = arrays[rows.only]
        if rows.index is not None:
            return _rows_of_column(array, rows.index)
        return _first(array, rows.size)
    where = location(next(iter(sources.values())).dataset)
    covered = set(arrays) >= set(rows.highest)
    others = None if covered else of_type
    parts = [*arrays.values(), *([] if others is None else [others])]
    if len({part.shape[1:] for part in parts}) > 1:
        notes.append(f"{where} has another shape than {name} of other groups and was left out")
        return None
    if all(isinstance(part, Categories) for part in parts):
        return _joined_categories(rows, arrays, others)
    if any(part.dtype.kind in "OSU" for part in parts):
        if any(part.dtype.kind not in "OSU" for part in parts):
            notes.append(f"{name} is text in some groups and numbers in others: read as text")
        dtype, fill = np.dtype(object), None
        arrays = {number: _as_text(array, where) for number, array in arrays.items()}
        others = None if others is None else _as_text(others, where)
    else:
        dtype = np.result_type(*(part.dtype.newbyteorder("=") for part in parts))
        fill = np.nan if others is None and not covered else None
        if fill is not None and dtype.kind != "f":
            notes.append(f"{name} is missing in a group: integers were read as float64")
        dtype = filled_type(dtype, fill)
    return _grouped(rows, arrays, others, dtype, 0 if dtype.kind in "iub" else fill)


def _grouped(
    rows: _Rows,
    sources: Mapping[int, LazyArray],
    others: LazyArray | None,
    dtype: np.dtype[Any],
    fill: Any,
) -> _Grouped:
    index = np.arange(rows.size) if rows.index is None else rows.index
    return _Grouped(rows.numbers, index, sources, others, dtype, fill)


def _joined_categories(
    rows: _Rows, arrays: Mapping[int, LazyArray], others: LazyArray | None
) -> Categories:
    """Return text of several groups, each with names of its own, with the names of all."""
    parts = [part for part in (*arrays.values(), others) if isinstance(part, Categories)]
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    places = {name: place for place, name in enumerate(names)}

    def recoded(part: LazyArray | None) -> LazyArray | None:
        if not isinstance(part, Categories):
            return None
        codes = np.array([*(places[name] for name in part.names), -1])
        # A missing value has the code -1, which is that of the last.
        return _Converted(part.codes, "codes", lambda old: codes[old])

    sources = {number: found for number, part in arrays.items() if (found := recoded(part))}
    return Categories(_grouped(rows, sources, recoded(others), np.dtype(np.int64), -1), names)


def _as_text(array: LazyArray, where: str) -> LazyArray:
    if array.dtype.kind in "OSU":
        return array

    def text(values: NDArray[Any]) -> NDArray[Any]:
        texts = values.astype(str).astype(object)
        if values.dtype.kind == "f":
            texts[np.isnan(values)] = None
        return texts

    return _Converted(array, where, text, np.dtype(object))


def _first(array: LazyArray, size: int) -> LazyArray:
    """Return the first ``size`` rows of an array that may be longer."""
    if array.shape[0] == size:
        return array
    if isinstance(array, Categories):
        return Categories(Part(array.codes, 0, size), array.names)
    return Part(array, 0, size)


def _of_types(
    group: h5py.Group, kind: Kind, table: TypeTable | None, size: int
) -> dict[str, LazyArray]:
    """Return the properties of the types of rows; none if no row has a type of the table."""
    ids = integers(group, f"{kind}_type_id", size)
    if table is None or ids is None or not len(table.ids):
        return {}
    find, counts = _finder(table.ids), np.zeros(len(table.ids) + 1, np.int64)
    for block in blocks(size):
        counts += np.bincount(find(ids[block]) + 1, minlength=len(counts))
    known = table.rows(np.flatnonzero(counts[1:]))
    if not len(known.ids):
        return {}
    rows = _Converted(ids, location(group), _finder(known.ids))
    columns: dict[str, LazyArray] = {}
    for name, kind_of_values in known.kinds.items():
        values: LazyArray = known.values(name)
        if kind_of_values == "text":
            names = tuple(dict.fromkeys(text for text in known.values(name) if text is not None))
            places = {text: place for place, text in enumerate(names)}
            codes = np.array([places.get(text, -1) for text in known.values(name)])
            values = Categories(codes, names)
        columns[name] = _rows_of_column(values, rows, missing=bool(counts[0]))
    return columns


def _finder(known: NDArray[np.int64]) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """Return a function of ids: their positions in ascending ``known`` ids, -1 for others."""
    first, span = int(known[0]), int(known[-1]) - int(known[0])
    if span > _MOST_SPAN:

        def search(ids: NDArray[Any]) -> NDArray[np.int64]:
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            return np.where(known[places] == ids, places, -1)

        return search
    table = np.full(span + 3, -1)
    table[known - first + 1] = np.arange(len(known))

    def look_up(ids: NDArray[Any]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = table[np.clip(ids, first - 1, first + span + 1) - first + 1]
        return found

    return look_up
