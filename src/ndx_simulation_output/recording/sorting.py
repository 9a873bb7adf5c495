"""Read columns in the order of integer keys, in memory that does not grow with their length."""

import io
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase, place_in_file
from ndx_simulation_output.recording.views import _View
from ndx_simulation_output.system import allocate

BLOCK_ROWS = 2**18
"""Rows of a column that are read at a time."""
RANGE_ROWS = 2**20
"""Rows that are sorted at a time: with their values, less than 64 MB."""
_DENSE = 2**24
"""Keys below this one are counted in an array with an element for each."""
_CACHED_RANGES = 2
_SAMPLED = 2**6
"""One of this many keys is looked at to divide them into ranges."""
_GAP_ROWS = 2**12
"""A gap of this many rows takes less time to read than a second read."""


def row_blocks(length: int) -> Iterator[slice]:
    """Divide ``length`` rows into blocks."""
    for start in range(0, length, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, length))


def ascends(values: LazyArray, *, strictly: bool = False) -> bool:
    """Return True if integers ascend, ``strictly`` if no two are equal; they are read in blocks."""
    last = None
    for block in row_blocks(values.shape[0]):
        found = np.asarray(values[block])
        before, after = found[:-1], found[1:]
        is_ascending = (after > before).all() if strictly else (after >= before).all()
        is_next = last is None or (found[0] > last if strictly else found[0] >= last)
        if not (is_ascending and is_next):
            return False
        last = found[-1]
    return True


def join_ranges(starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.intp]:
    """Join the ranges ``[start, end)`` into one array of indices."""
    if len(starts) == 1:
        return np.arange(int(starts[0]), int(ends[0]))
    counts = ends - starts
    shifts = np.repeat(ends - np.cumsum(counts, dtype=np.int64), counts)
    indices: NDArray[np.intp] = np.arange(len(shifts)) + shifts
    return indices


def read_rows(array: LazyArray, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return the values of ``rows`` in any order, without reading what is far from all of them.

    Example
    -------
    >>> read_rows(np.arange(10) * 10, np.array([9, 2, 3, 2])).tolist()
    [90, 20, 30, 20]

    """
    native = array.dtype.newbyteorder("=")
    if isinstance(array, np.ndarray):
        return array[rows].astype(native, copy=False)
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    values = np.empty((len(rows), *array.shape[1:]), native)
    # A run is split where rows are far apart, and where a block of rows ends.
    is_far = np.diff(ascending) > _GAP_ROWS
    is_far |= np.diff(ascending // BLOCK_ROWS) > 0
    for run in np.split(np.arange(len(rows)), np.flatnonzero(is_far) + 1):
        if len(run):
            first, last = int(ascending[run[0]]), int(ascending[run[-1]])
            values[order[run]] = np.asarray(array[first : last + 1])[ascending[run] - first]
    return values


@dataclass(frozen=True, eq=False)
class Repeated(LazyArrayBase):
    """Each of ``values`` (row,) as often as it has places up to its ``ends`` (row,)."""

    values: LazyArray
    ends: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The last of the ends."""
        return (self._length,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @cached_property
    def _length(self) -> int:
        rows = self.ends.shape[0]
        return int(self.ends[rows - 1 : rows][0]) if rows else 0

    @cached_property
    def counts(self) -> "KeyCounts | None":
        """The number of each of the values, or None if they do not ascend."""
        keys = np.asarray(self.values[:])
        ascend = bool((keys[1:] > keys[:-1]).all())
        return KeyCounts(keys, self.all_ends, is_sorted=True) if ascend else None

    @cached_property
    def all_ends(self) -> NDArray[np.int64]:
        """The ends in memory."""
        ends = np.asarray(self.ends[:]).astype(np.int64)
        if ends.shape != tuple(self.values.shape) or (np.diff(ends, prepend=0) < 0).any():
            msg = f"{place_in_file(self.ends)} does not ascend, or has not an end for each row"
            raise ShapeMismatchError(msg)
        return ends

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, step = slices[0].indices(self.shape[0])
        if stop <= start:
            return np.zeros(0, self.dtype)
        first, last = np.searchsorted(self.all_ends, (start, stop - 1), side="right")
        ends = np.minimum(self.all_ends[first : last + 1], stop)
        counts = np.diff(ends, prepend=start)
        values: NDArray[Any] = np.repeat(np.asarray(self.values[first : last + 1]), counts)[::step]
        return values


@dataclass(frozen=True)
class KeyCounts:
    """Distinct ``keys`` in ascending order, and the ``ends`` of their rows when sorted by key.

    ``is_sorted`` is True if the rows already are.
    """

    keys: NDArray[Any]
    ends: NDArray[np.int64]
    is_sorted: bool

    @property
    def starts(self) -> NDArray[np.int64]:
        """The starts of the rows of each key."""
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]


def count_keys(keys: LazyArray) -> KeyCounts:
    """Count how often each key occurs, in at most one pass.

    Example
    -------
    >>> count_keys(np.array([3, 1, 3]))
    KeyCounts(keys=array([1, 3]), ends=array([1, 3]), is_sorted=False)

    """
    if isinstance(keys, Repeated) and keys.counts is not None:
        return keys.counts
    counter, last, is_sorted = KeyCounter(keys.dtype.newbyteorder("=")), None, True
    for block in row_blocks(keys.shape[0]):
        values = np.asarray(keys[block], counter.dtype)
        ascends = bool((values[1:] >= values[:-1]).all())
        is_sorted &= ascends and (last is None or bool(values[0] >= last))
        last = values[-1]
        counter.add(values, is_sorted=ascends)
    distinct, counts = counter.result()
    return KeyCounts(distinct, np.cumsum(counts), is_sorted)


_Counts = tuple[NDArray[Any], NDArray[np.int64]]
"""Distinct keys in ascending order, and how often each occurs."""


class KeyCounter:
    """Counts keys: large ones in a sorted list, the others in an array with an element for each."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._dense = np.zeros(0, np.int64)
        self._sparse: _Counts = np.zeros(0, dtype), np.zeros(0, np.int64)
        self._waiting: list[_Counts] = []

    def add(self, values: NDArray[Any], *, is_sorted: bool = False) -> None:
        """Count keys; ``is_sorted`` is True if they are known to ascend."""
        if not len(values):
            return
        lowest, highest = (values[0], values[-1]) if is_sorted else (values.min(), values.max())
        is_dense = int(lowest) >= 0 and int(highest) < _DENSE
        if is_dense and len(self._dense) <= int(highest):
            grown = np.zeros(max(int(highest) + 1, 2 * len(self._dense)), np.int64)
            grown[: len(self._dense)] = self._dense
            self._dense = grown
        if is_dense and not is_sorted:
            self._dense += np.bincount(values.astype(np.intp), minlength=len(self._dense))
            return
        ascending = values if is_sorted else np.sort(values)
        firsts = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
        firsts = np.concatenate([[0], firsts])
        keys, counts = ascending[firsts], np.diff(firsts, append=len(ascending))
        if is_dense:
            self._dense[keys] += counts
            return
        self._waiting.append((keys, counts))
        # Merged rarely enough for a number of steps proportional to the number of keys.
        if sum(len(one) for one, _ in self._waiting) > len(self._sparse[0]) + 2**20:
            self._merge()

    def _merge(self) -> None:
        parts = [self._sparse, *self._waiting]
        self._waiting = []
        keys, counts = (np.concatenate(one) for one in zip(*parts, strict=True))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        self._sparse = keys[firsts], np.add.reduceat(counts[order], firsts)

    def result(self) -> _Counts:
        """Return the counts of all keys that were added."""
        keys = np.flatnonzero(self._dense)
        dense = keys.astype(self.dtype), self._dense[keys]
        if not self._waiting and not len(self._sparse[0]):
            return dense
        self._waiting.append(dense)
        self._merge()
        return self._sparse


_Range = tuple[NDArray[np.intp], NDArray[np.int32]]
"""Rows, ascending, and their places in a range of sorted rows."""


@dataclass(frozen=True, eq=False)
class SortOrder:
    """The order in which ``keys`` ascend; rows with one key keep theirs.

    Only a range of the sorted rows is in memory at a time. To find it, all keys are read. Without
    ``counts``, the keys are a permutation of the numbers of the rows.
    """

    keys: LazyArray
    counts: KeyCounts | None = None
    _lock: Any = field(default_factory=RLock, repr=False)
    _ranges: dict[int, _Range] = field(default_factory=dict, repr=False)
    _read: "OrderedDict[tuple[int, int], Any]" = field(default_factory=OrderedDict, repr=False)

    def read(self, array: LazyArray, start: int, stop: int) -> NDArray[Any]:
        """Read the sorted rows ``[start, stop)`` of an array with a row for each key."""
        values = np.empty((stop - start, *array.shape[1:]), array.dtype.newbyteorder("="))
        for base in range(start - start % RANGE_ROWS, stop, RANGE_ROWS):
            found = self._values(array, base)
            first, last = max(start, base), min(stop, base + RANGE_ROWS)
            values[first - start : last - start] = found[first - base : last - base]
        return values

    def _values(self, array: LazyArray, base: int) -> NDArray[Any]:
        """Return the values of a range of sorted rows."""
        key = (id(array), base)
        with self._lock:
            if key not in self._read:
                while len(self._read) >= _CACHED_RANGES:
                    self._read.popitem(last=False)
                # An array that is kept has an id that no other array gets.
                self._read[key] = array, self._sorted(array, base)
            values: NDArray[Any] = self._read[key][1]
            return values

    def _sorted(self, array: LazyArray, base: int) -> NDArray[Any]:
        """Read the values of a range of sorted rows, in one pass over the array."""
        if base not in self._ranges:
            self._ranges.clear()
            self._ranges[base] = self._range(base)
        rows, places = self._ranges[base]
        values = np.empty((len(rows), *array.shape[1:]), array.dtype.newbyteorder("="))
        for block in row_blocks(self.keys.shape[0]):
            first, last = np.searchsorted(rows, (block.start, block.stop))
            if first < last:
                read = np.asarray(array[block])
                values[places[first:last]] = read[rows[first:last] - block.start]
        return values

    def _range(self, base: int) -> _Range:
        """Return the rows that are sorted to the places from ``base``."""
        length = self.keys.shape[0]
        top = min(base + RANGE_ROWS, length)
        is_permutation = self.counts is None
        choose = _in_range(base, top) if self.counts is None else _in_ranks(self.counts, base, top)
        rows, numbers = [], []
        for block in row_blocks(length):
            inside, found = choose(np.asarray(self.keys[block]))
            rows.append(inside + block.start)
            numbers.append(found)
        order: NDArray[Any] = np.concatenate(numbers)
        if is_permutation:
            is_taken = np.zeros(top - base, bool)
            is_taken[order] = True
            if len(order) != top - base or not is_taken.all():
                msg = f"{place_in_file(self.keys)} does not have each number up to {length} once"
                raise ShapeMismatchError(msg)
            return np.concatenate(rows), order.astype(np.int32)
        order = _stable_order(order)
        places = np.empty(len(order), np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        return np.concatenate(rows), places


def _stable_order(numbers: NDArray[Any]) -> NDArray[np.intp]:
    """Return the stable order of unsigned integers, which numpy sorts fast if they are short."""
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    while (numbers := numbers >> 16).any():
        digits = numbers.astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


_Choose = Callable[[NDArray[Any]], tuple[NDArray[np.intp], NDArray[Any]]]
"""Returns the rows of a block of keys that are in a range, and numbers to sort them by."""


def _in_range(base: int, top: int) -> _Choose:
    def choose(keys: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        inside = np.flatnonzero((keys >= base) & (keys < top))
        return inside, keys[inside].astype(np.int64) - base

    return choose


def _in_ranks(counts: KeyCounts, base: int, top: int) -> _Choose:
    """Return a function of one block after another; it finds what is sorted to a range."""
    lowest, highest = np.searchsorted(counts.ends, (base, top - 1), side="right")
    known = counts.keys[[lowest, highest]]
    short = np.min_scalar_type(int(known[1]) - int(known[0]))
    # Of the first key some rows are before this range, of the last some are behind it.
    skipped = base - int(counts.starts[lowest])
    taken = top - int(counts.starts[highest])

    def choose(keys: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        nonlocal skipped, taken
        is_inside = (keys >= known[0]) & (keys <= known[1])
        first, last = (np.flatnonzero(keys == one) for one in (known[0], known[1]))
        is_inside[first[: max(skipped, 0)]] = False
        is_inside[last[max(taken, 0) :]] = False
        skipped, taken = skipped - len(first), taken - len(last)
        inside = np.flatnonzero(is_inside)
        return inside, (keys[inside] - known[0]).astype(short)

    return choose


@dataclass(frozen=True, eq=False)
class Sorted(_View):
    """The rows of an array in a ``SortOrder``."""

    order: SortOrder

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, step = slices[0].indices(self.shape[0])
        values = self.order.read(self.array, start, max(start, stop))
        return values[(slice(None, None, step), *slices[1:])]


_FEW_BYTES = 2**26
"""Columns of this size are sorted in memory, and larger ones in a temporary file."""

Values = Mapping[str, NDArray[Any]]
"""Columns by their names, all of one length."""


class SortedColumns:
    """Columns that are sorted bucket by bucket in a temporary file, in a time linear in their size.

    Each row is in the bucket that its key belongs to; ``sizes`` has the rows of each bucket, and
    ``like`` columns of the same types. ``order`` returns the indices that sort a bucket, whose rows
    are in the order in which they were added.
    """

    def __init__(
        self, like: Values, sizes: NDArray[np.int64], order: Callable[[Values], NDArray[np.intp]]
    ) -> None:
        self._types = {name: (one.dtype, one.shape[1:]) for name, one in like.items()}
        self.edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._order, self._filled = order, self.edges[:-1].copy()
        self._is_sorted = np.zeros(len(sizes), bool)
        self._bases, n_bytes = {}, 0
        for name in self._types:
            self._bases[name] = n_bytes
            n_bytes += len(self) * self._row_bytes(name)
        if n_bytes > _FEW_BYTES:
            self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
            allocate(self._file.fileno(), n_bytes)
        else:
            self._file = io.BytesIO()
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.edges[-1])

    def _row_bytes(self, name: str) -> int:
        dtype, shape = self._types[name]
        return dtype.itemsize * prod(shape)

    def add(self, values: Values, buckets: NDArray[np.uint16]) -> None:
        """Add rows to their buckets."""
        counts = np.bincount(buckets, minlength=len(self._filled))
        ends = np.cumsum(counts)
        # numpy sorts 16-bit integers by counting them.
        order = (
            None if counts.max(initial=0) == len(buckets) else np.argsort(buckets, kind="stable")
        )
        for name, column in values.items():
            ordered = column if order is None else column[order]
            for bucket in np.flatnonzero(counts):
                part = ordered[ends[bucket] - counts[bucket] : ends[bucket]]
                self._write(name, int(self._filled[bucket]), part)
        self._filled += counts

    def _write(self, name: str, start: int, values: NDArray[Any]) -> None:
        self._file.seek(self._bases[name] + start * self._row_bytes(name))
        self._file.write(np.ascontiguousarray(values, self._types[name][0]))

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        dtype, shape = self._types[name]
        self._file.seek(self._bases[name] + start * self._row_bytes(name))
        stored = self._file.read((stop - start) * self._row_bytes(name))
        return np.frombuffer(stored, dtype).reshape(stop - start, *shape)

    def buckets(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the sorted columns of one bucket after another."""
        for bucket in np.flatnonzero(np.diff(self.edges)):
            yield self._sorted(bucket)

    def _sorted(self, bucket: Any) -> dict[str, NDArray[Any]]:
        start, stop = map(int, self.edges[bucket : bucket + 2])
        values = {name: self._read(name, start, stop) for name in self._types}
        if self._is_sorted[bucket]:
            return values
        order = self._order(values)
        return {name: column[order] for name, column in values.items()}

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return sorted rows of a column; their buckets are sorted first and stay so."""
        first, last = np.searchsorted(self.edges, (start, stop - 1), side="right") - 1
        for bucket in range(first, last + 1):
            if not self._is_sorted[bucket] and self.edges[bucket] < self.edges[bucket + 1]:
                for key, column in self._sorted(bucket).items():
                    self._write(key, int(self.edges[bucket]), column)
                self._is_sorted[bucket] = True
        return self._read(name, start, stop)


def range_edges(keys: Iterable[NDArray[Any]], length: int) -> NDArray[Any]:
    """Return keys between which are about ``RANGE_ROWS`` of ``length`` rows; few are looked at."""
    n_ranges = -(-length // RANGE_ROWS)
    some = [part[::_SAMPLED].copy() for part in keys] if n_ranges > 1 else []
    if not some:
        return np.zeros(0)
    ordered = np.sort(np.concatenate(some))
    return np.unique(ordered[np.arange(1, n_ranges) * len(ordered) // n_ranges])


def sort_in_ranges(
    key: str,
    keys: Iterable[NDArray[Any]],
    edges: NDArray[Any],
    like: Values,
    rows: Iterable[Values],
    order: Callable[[Values], NDArray[np.intp]],
) -> SortedColumns:
    """Return ``rows`` sorted by their column ``key``, one range between ``edges`` after another.

    ``keys`` are the values of that column, ``like`` and ``order`` those of ``SortedColumns``.
    """
    sizes = np.zeros(len(edges) + 1, np.int64)
    for some in keys:
        sizes += np.bincount(_number_of_range(some, edges), minlength=len(sizes))
    columns = SortedColumns(like, sizes, order)
    for values in rows:
        columns.add(values, _number_of_range(values[key], edges))
    return columns


def _number_of_range(keys: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.uint16]:
    return np.searchsorted(edges, keys, side="right").astype(np.uint16)


def sort_times(times: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return what a stable argsort returns, in half of its time if few times are equal.

    The second array has the times in this order.
    """
    order = np.argsort(times)
    ordered = times[order]
    is_later = ordered[1:] != ordered[:-1]
    if is_later.all():
        return order, ordered
    # Equal times are sorted by their place: keys have the number of a time, then the place.
    keys = np.append(np.zeros(1, np.int64), np.cumsum(is_later)) * len(times)
    found: NDArray[np.intp] = np.sort(keys + order) - keys
    return found, times[found]


@dataclass(frozen=True)
class Rows(LazyArrayBase):
    """The numbers of ``length`` rows."""

    length: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return (self.length,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(np.int64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return np.arange(*slices[0].indices(self.length))
