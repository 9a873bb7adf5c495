"""How the nodes or edges of a population lie in their file: what their table does not say.

A layout is a JSON value. ``describe_layout`` makes that of a source, so that ``write_population``
writes a file of the same content; others are planned for files that had no such source.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import DAMAGE, ExportError, source_errors
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.cells import Categories
from ndx_simulation_output.sonata.hdf5 import (
    attributes_from_json,
    attributes_to_json,
    dtype_from_json,
    dtype_to_json,
    location,
    stored_values,
)

LIBRARY = "@library"
DYNAMICS = "dynamics_params"
DYNAMICS_PREFIX = "@dynamics:"
INDICES = ("indices", "indicies", "incidies")
DIRECTIONS = {"source_to_target": "source_node_id", "target_to_source": "target_node_id"}
RANGES = ("node_id_to_range", "node_id_to_ranges")

_EDGES_OF_RANGES = "range_to_edge_id"
_WHAT = ("id", "index")

_ENDS = {"edge": ("source_node_id", "target_node_id"), "node": ("node_id",)}
_BLOCK = 2**18
_WINDOW = 2**20
_MOST_RUNS = 1000
_MOST_VALUES = 10_000
_MOST_NODES = 2**28
_FEW_NODES = 2**20
_NO_RANGES = {"dtype": "<u8", "shape": [0, 2]}


def column_name(name: str) -> str:
    """Return the name of a property from that of its dataset in a group.

    Example
    -------
    >>> column_name("dynamics_params/holding_current")
    '@dynamics:holding_current'

    """
    folder, _, last = name.rpartition("/")
    return f"{DYNAMICS_PREFIX}{last}" if folder == DYNAMICS else name


def dataset_name(column: str) -> str:
    """Return the name of the dataset of a property in a group; the inverse of ``column_name``."""
    name = column.removeprefix(DYNAMICS_PREFIX)
    return name if name == column else f"{DYNAMICS}/{name}"


def describe_layout(group: h5py.Group, rows: int, kind: str) -> dict[str, Any]:
    """Return the layout of a population of ``rows`` nodes or edges; ``kind`` is node or edge.

    Values are those that no column of the table of the population has. A dataset of more than
    10,000 such values is only named.
    """
    nodes: dict[str, Any] = {}
    group.visititems(lambda path, node: nodes.update({path: node}))
    attributes = {
        path: found
        for path, node in {"..": group.parent, ".": group, **nodes}.items()
        if (found := attributes_to_json(node, kinds=True))
    }
    layout: dict[str, Any] = {
        "kind": kind,
        "rows": rows,
        "attributes": attributes,
        "groups": [path for path, node in nodes.items() if isinstance(node, h5py.Group)],
        "datasets": {},
        "index": {},
    }
    with source_errors(lambda: f"{location(group)} cannot be read", caught=DAMAGE):
        members = _Members(group, rows, kind)
        for path, node in nodes.items():
            if not isinstance(node, h5py.Dataset):
                continue
            if node.shape is None:  # Without values; it is told of when the file is written.
                layout["datasets"][path] = {"dtype": "<f4", "shape": [0], "column": path}
            elif path.partition("/")[0] in INDICES:
                _describe_index(layout["index"], path, node)
            else:
                layout["datasets"][path] = _describe_dataset(path, node, members)
    return layout


def _describe_dataset(path: str, node: h5py.Dataset, members: "_Members") -> dict[str, Any]:
    entry: dict[str, Any] = {"dtype": dtype_to_json(node.dtype), "shape": list(node.shape)}
    group_name, _, name = path.partition("/")
    if not name:
        if path in _ENDS[members.kind]:
            return entry | {"column": path} | _tail(node, members.rows)
        return entry | _compact(node, path)
    if name.rpartition("/")[0] in {LIBRARY, f"{DYNAMICS}/{LIBRARY}"}:
        return entry | {"values": _values_of(node[...])}
    is_column = name.count("/") == (1 if name.startswith(f"{DYNAMICS}/") else 0)
    if not (group_name.isdigit() and is_column and node.ndim):
        return entry | _small(node, path)
    entry["column"] = column_name(name)
    folder, _, leaf = path.rpartition("/")
    library = node.parent.get(f"{LIBRARY}/{leaf}")
    library = library if getattr(library, "ndim", 0) == 1 else None
    if isinstance(library, h5py.Dataset) and node.dtype.kind in "iu":
        entry["library"] = f"{folder}/{LIBRARY}/{leaf}"
    return entry | _kept(node, members.rows_in_use(int(group_name), node.shape[0]), library)


class _Members:
    """The group of each row of a population, and its index in the group."""

    def __init__(self, group: h5py.Group, rows: int, kind: str) -> None:
        self.rows, self.kind = rows, kind
        self._groups = group.get(f"{kind}_group_id")
        self._index = group.get(f"{kind}_group_index")
        self._in_use: dict[tuple[int, int], NDArray[np.bool_] | slice] = {}

    def rows_in_use(self, number: int, length: int) -> NDArray[np.bool_] | slice:
        """Return which of the ``length`` values of a group are those of a row."""
        if (number, length) not in self._in_use:
            self._in_use[number, length] = self._find(number, length)
        return self._in_use[number, length]

    def _find(self, number: int, length: int) -> NDArray[np.bool_] | slice:
        used = np.zeros(length, bool)
        for start in range(0, self.rows, _BLOCK):
            part = slice(start, min(start + _BLOCK, self.rows))
            index = np.arange(part.start, part.stop)
            if self._index is not None:
                index = np.asarray(self._index[part])
            if self._groups is not None:
                index = index[np.asarray(self._groups[part]) == number]
            elif number:
                index = index[:0]
            index = index.astype(np.int64)
            used[index[(index >= 0) & (index < length)]] = True
        return slice(0, length) if used.all() else used


def _kept(
    node: h5py.Dataset, used: NDArray[np.bool_] | slice, library: h5py.Dataset | None
) -> dict[str, Any]:
    """Return the values that no row has, and the codes that its library has not."""
    kept = np.zeros(0, np.int64) if isinstance(used, slice) else np.flatnonzero(~used)
    if library is not None and node.dtype.kind in "iu":
        for start in range(0, node.shape[0], _BLOCK):
            codes = node[start : start + _BLOCK]
            wrong = (codes < 0) | (codes >= len(library))
            kept = np.union1d(kept, start + np.flatnonzero(wrong))
    if not len(kept):
        return {}
    if len(kept) * max(1, int(np.prod(node.shape[1:]))) > _MOST_VALUES:
        return {"lost": len(kept)}
    return {"rows": kept.tolist(), "values": _values_of(np.asarray(node[kept]))}


def _tail(node: h5py.Dataset, rows: int) -> dict[str, Any]:
    used = np.zeros(node.shape[0], bool)
    used[:rows] = True
    return _kept(node, used, None) if node.shape[0] > rows else {}


def _small(node: h5py.Dataset, path: str) -> dict[str, Any]:
    """Return all values, or name a column that has them if they are many or of another type."""
    is_plain = node.dtype.kind in "biuf" or h5py.check_string_dtype(node.dtype) is not None
    if not is_plain or node.size > _MOST_VALUES:
        return {"column": path}
    return {"values": _values_of(node[()])}


def _compact(node: h5py.Dataset, path: str) -> dict[str, Any]:
    """Return numbers as a range, as runs of equal values, or all; otherwise name their column."""
    if node.ndim != 1 or node.dtype.kind not in "iuf":
        return _small(node, path)
    runs: list[list[Any]] = []
    ascends = node.shape[0] > 0
    for start in range(0, node.shape[0], _BLOCK):
        block = node[start : start + _BLOCK]
        ascends = ascends and bool((block == np.arange(start, start + len(block))).all())
        if len(runs) <= _MOST_RUNS:
            edges = np.flatnonzero(block[1:] != block[:-1]) + 1
            starts = np.append(0, edges[: _MOST_RUNS + 1])
            ends = np.append(starts[1:], len(block))
            for value, count in zip(block[starts].tolist(), (ends - starts).tolist(), strict=True):
                if runs and runs[-1][0] == value:
                    runs[-1][1] += count
                else:
                    runs.append([value, count])
        elif not ascends:
            break
    if ascends and len(runs) > 1:
        return {"range": True}
    if 4 * len(runs) < node.shape[0] and len(runs) <= _MOST_RUNS:
        return {"runs": runs}
    return _small(node, path)


def _values_of(values: Any) -> Any:
    """Return values as JSON, text as such."""
    array = np.asarray(values)
    if array.dtype.kind in "OS":
        texts = [
            value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
            for value in array.ravel()
        ]
        array = np.array([*texts, None], object)[:-1].reshape(array.shape)
    return array.tolist()


def _describe_index(index: dict[str, Any], path: str, node: h5py.Dataset) -> None:
    """Add a dataset of an index; of a large one only what computing it again does not tell."""
    name = path.rpartition("/")[2]
    entry = {"dtype": dtype_to_json(node.dtype), "shape": list(node.shape)}
    is_known = name in RANGES or name == _EDGES_OF_RANGES
    if node.size <= _MOST_VALUES or not is_known:
        entry |= _small(node, path)
    else:
        entry["crc"] = _crc(node)
    if name in RANGES and "crc" in entry and node.ndim == 2:
        values = node[...]
        is_idle = values[:, 0] >= values[:, -1]
        if 2 * int(is_idle.sum()) <= _MOST_VALUES:
            entry["idle"] = values[is_idle].tolist()
    index[path] = entry


def _crc(values: LazyArray) -> int:
    crc = 0
    for start in range(0, values.shape[0] if values.shape else 0, _BLOCK):
        crc = zlib.crc32(np.ascontiguousarray(values[start : start + _BLOCK]).tobytes(), crc)
    return crc


@dataclass
class PopulationWriter:
    """Writes a population from the ``arrays`` of its table by name, in bounded memory.

    ``ends`` are the ids, by the name of their dataset.
    """

    layout: Mapping[str, Any]
    arrays: Mapping[str, LazyArray]
    ends: Mapping[str, LazyArray]
    rows: int
    where: str
    left_out: list[str]
    _progress: Callable[[int], object] | None = None

    def write(
        self,
        parent: h5py.Group,
        name: str,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Write the population ``name``, and its index."""
        self._progress = progress
        group = parent.create_group(name)
        for path in self.layout["groups"]:
            group.require_group(path)
        for path, entry in self.layout["datasets"].items():
            if path.partition("/")[0] not in INDICES:
                self._write_dataset(group, path, entry)
        for path, entry in self.layout["index"].items():
            self._write_index(group, path, entry)
        for path, attributes in self.layout["attributes"].items():
            node = {"..": parent, ".": group}.get(path) or group.get(path)
            if node is not None:
                attributes_from_json(node, attributes)

    def _write_dataset(self, group: h5py.Group, path: str, entry: Mapping[str, Any]) -> None:
        dtype, shape = dtype_from_json(entry["dtype"]), tuple(entry["shape"])
        array = self._source(path, entry)
        if array is None and "values" not in entry:
            self.left_out.append(f"{path} of {self.where}: {np.prod(shape):.0f} values, not kept")
            return
        if array is not None:
            self._check_shape(path, shape, array)
        dataset = group.create_dataset(path, shape, dtype)
        if array is None:
            if dataset.size:
                dataset[...] = stored_values(entry["values"], dtype).reshape(shape)
            return
        with _failing_at(f"{path} of {self.where}"):
            if "/" in path:
                self._write_members(dataset, int(path.partition("/")[0]), array)
            else:
                for part in _blocks(min(self.rows, shape[0])):
                    dataset[part] = stored_values(array[part], dtype)
                    self._done(part, dtype)
            if "rows" in entry:
                for row, value in zip(entry["rows"], entry["values"], strict=True):
                    dataset[row] = stored_values([value], dtype)[0]
        if entry.get("lost"):
            lost = f"{entry['lost']} values that are of no {self.layout['kind']}"
            self.left_out.append(f"{path} of {self.where}: {lost}")

    def _check_shape(self, path: str, shape: tuple[int, ...], array: Any) -> None:
        """Raise an error for a shape that would make a small table a large file."""
        others = tuple(getattr(array, "shape", shape)[1:])
        if shape and (shape[0] > 16 * (self.rows + _MOST_VALUES) or others != shape[1:]):
            msg = f"{path} has the shape {shape} in the layout of {self.rows} rows"
            raise ValueError(msg)

    def _done(self, part: slice, dtype: np.dtype[Any]) -> None:
        if self._progress is not None:
            self._progress((part.stop - part.start) * dtype.itemsize)

    def _source(self, path: str, entry: Mapping[str, Any]) -> Any:
        """Return the array of the values of a dataset, or None if they are in its entry."""
        if "range" in entry:
            return _Range()
        if "runs" in entry:
            return _Runs(entry["runs"])
        if "values" in entry and "rows" not in entry:
            return None
        known = self.arrays if "/" in path else {**self.arrays, **self.ends}
        array = known.get(entry.get("column", path))
        if array is None or "library" not in entry:
            return array
        library = self.layout["datasets"][entry["library"]]
        names, dtype = library["values"], _dtype_of(library)
        if dtype.kind in "biuf":
            names = list(map(str, stored_values(names, dtype)))
        return codes_of(array, names, missing=names.index("") if "" in names else -1)

    def _write_members(self, dataset: h5py.Dataset, number: int, array: LazyArray) -> None:
        """Write the values of the rows that are in a group, each at its index."""
        groups, index = (self._sequence(f"{self.layout['kind']}_group_{what}") for what in _WHAT)
        if isinstance(groups, _Runs) and groups.constant == number and isinstance(index, _Range):
            for part in _blocks(min(self.rows, dataset.shape[0])):
                dataset[part] = stored_values(array[part], dataset.dtype)
                self._done(part, dataset.dtype)
            return
        for window in _blocks(dataset.shape[0], _WINDOW):
            shape = (window.stop - window.start, *dataset.shape[1:])
            found = stored_values(np.zeros(shape), dataset.dtype)
            for part in _blocks(self.rows):
                places = np.asarray(index[part]).astype(np.int64) - window.start
                inside = (places >= 0) & (places < len(found))
                inside &= np.asarray(groups[part]) == number
                if inside.any():
                    values = np.asarray(array[part])[inside]
                    found[places[inside]] = stored_values(values, dataset.dtype)
            dataset[window] = found
            self._done(window, dataset.dtype)

    def _sequence(self, path: str) -> Any:
        """Return the numbers of a dataset for each row; those of one that does not exist."""
        entry = self.layout["datasets"].get(path)
        if entry is None:
            return _Range() if path.endswith("_index") else _Runs([[0, self.rows]])
        array = self._source(path, entry)
        if array is None and "values" in entry:
            array = np.asarray(entry["values"])
        if array is None:
            msg = f"{self.where} has no {path}; expected one, as its values are in several groups"
            raise ExportError(msg)
        return array

    def _write_index(self, group: h5py.Group, path: str, entry: Mapping[str, Any]) -> None:
        """Write an index, and the edges of its ranges; compute them unless those kept are right."""
        folder, _, name = path.rpartition("/")
        edges_path = f"{folder}/{_EDGES_OF_RANGES}"
        ids = group.get(DIRECTIONS.get(folder.rpartition("/")[2], ""))
        if ids is None or name not in (*RANGES, _EDGES_OF_RANGES):
            if "values" in entry:
                group.create_dataset(path, data=entry["values"], dtype=_dtype_of(entry))
            return
        if name in RANGES:  # Edges are written with their ranges.
            parts = {path: entry, edges_path: self.layout["index"].get(edges_path, _NO_RANGES)}
            if not all(map(_is_ranges, parts.values())):
                rows = entry["shape"][:1] or [0]
                self._compute_index(group, parts, [{**_NO_RANGES, "shape": [*rows, 2]}, _NO_RANGES])
            elif not _write_kept(group, parts, ids):
                self._compute_index(group, parts, list(parts.values()))

    def _compute_index(
        self, group: h5py.Group, parts: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the index of edges as in ``entries``; tell if it is not that of the source."""
        path, edges_path = parts
        entry, edges_entry = entries
        ids = group[DIRECTIONS[path.split("/")[-2]]]
        if entry["shape"][0] > _MOST_NODES:
            msg = f"{path} has {entry['shape'][0]} nodes; expected at most {_MOST_NODES}"
            raise ValueError(msg)
        counts = _count_runs(ids, int(entry["shape"][0]))
        if counts is None:
            self.left_out.append(
                f"{path} of {self.where}: an index has a row for each id, and ids are too large"
            )
            if not len(group[path.rpartition("/")[0]]):
                del group[path.rpartition("/")[0]]  # bmtk expects an index in it.
            return
        ends = np.cumsum(counts)
        to_ranges = np.column_stack([ends - counts, ends])
        is_idle = counts == 0
        if len(entry.get("idle", ())) == is_idle.sum() and is_idle.any():
            to_ranges = to_ranges.astype(np.uint64)
            to_ranges[is_idle] = np.asarray(entry["idle"], np.uint64)
        group.create_dataset(path, data=to_ranges.astype(_dtype_of(entry)))
        if edges_path not in group:
            size = (int(counts.sum()), 2)
            dataset = group.create_dataset(edges_path, size, _dtype_of(edges_entry))
            _write_ranges(dataset, counts, ids)
        if any(_differs(group[one], found) for one, found in parts.items()):
            self.left_out.append(
                f"{path} of {self.where}: computed again, as the index of the source was wrong or "
                "had other ranges"
            )


def _write_kept(group: h5py.Group, parts: Mapping[str, Any], ids: LazyArray) -> bool:
    """Write an index whose ranges are kept, if it is that of the edges; else return False."""
    kept, kept_edges = (entry.get("values") for entry in parts.values())
    if kept is None or kept_edges is None or not _is_index(kept, kept_edges, ids):
        return False
    for path, entry in parts.items():
        if path not in group:
            data = np.asarray(entry["values"], _dtype_of(entry)).reshape(-1, 2)
            group.create_dataset(path, data=data)
    return True


def _dtype_of(entry: Mapping[str, Any]) -> np.dtype[Any]:
    return dtype_from_json(entry["dtype"])


def _is_ranges(entry: Mapping[str, Any]) -> bool:
    """Return True if an entry is that of a dataset of ranges."""
    return _dtype_of(entry).kind in "iu" and len(entry["shape"]) == 2 and entry["shape"][1] == 2


def _differs(dataset: h5py.Dataset, entry: Mapping[str, Any]) -> bool:
    """Return True if a dataset has other values than its entry tells."""
    if "values" in entry:
        return not np.array_equal(dataset[...], entry["values"])
    return "crc" in entry and entry["crc"] != _crc(dataset)


def _is_index(to_ranges: Any, ranges: Any, ids: LazyArray) -> bool:
    """Return True if ranges of edges are those of each node, whose edges are in ``ids``."""
    starts, ends = np.reshape(np.asarray(to_ranges, object), (-1, 2)).T
    firsts, lasts = np.reshape(np.asarray(ranges, object), (-1, 2)).T
    owners = np.full(ids.shape[0], -1)
    n_edges = 0
    for node, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for first, last in zip(firsts[start:end], lasts[start:end], strict=True):
            owners[first:last] = node
            n_edges += max(last - first, 0)
    return n_edges == len(owners) and bool((owners == np.asarray(ids[:], np.int64)).all())


def codes_of(array: LazyArray, names: Sequence[str], *, missing: int = -1) -> LazyArray:
    """Return the code of each text in ``names``, -1 for others, and ``missing`` for none."""
    codes: dict[str | None, int] = {None: missing}
    codes |= {name: code for code, name in reversed(list(enumerate(names)))}
    if not isinstance(array, Categories):
        return _Codes(array, codes)
    lookup = [*(codes.get(text, -1) for text in array.names), missing]
    if list(array.names) == list(names):
        lookup[:-1] = range(len(names))
    return _Codes(array, np.asarray(lookup, np.int64))


@dataclass(frozen=True)
class _Codes(LazyArrayBase):
    """Codes of text by ``lookup``: from text, or from the codes of categories."""

    values: Any
    lookup: Mapping[str | None, int] | NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        if isinstance(self.lookup, np.ndarray):
            found: NDArray[Any] = self.lookup[self.values.read_codes(slices[0])]
            return found
        texts = np.asarray(self.values[slices[0]], object).tolist()
        return np.asarray([self.lookup.get(text, -1) for text in texts], np.int64)


@contextmanager
def _failing_at(where: str) -> Iterator[None]:
    """Convert errors of values that do not fit to ExportError."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{where} cannot be written: {error}"
        raise ExportError(msg) from error


def _write_ranges(dataset: h5py.Dataset, counts: NDArray[np.int64], ids: LazyArray) -> None:
    """Write the edges of each range of each node, of which there are ``counts``.

    Passes over ``ids``, the node of each edge, each hold the ranges of some nodes.
    """
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, before + _WINDOW, "right")))
        of_nodes = [runs[:, (runs[0] >= first) & (runs[0] < last)] for runs in _runs_of(ids)]
        runs = np.concatenate([np.zeros((3, 0), np.int64), *of_nodes], axis=1)
        order = np.argsort(runs[0], kind="stable")
        dataset[before : before + len(order)] = runs[1:, order].T
        first = last


def _count_runs(ids: LazyArray, rows: int) -> NDArray[np.int64] | None:
    """Return the number of runs of edges of each of at least ``rows`` nodes.

    It is None if ids are so large that an index would be much larger than the ids.
    """
    most = max(rows, 16 * ids.shape[0], _FEW_NODES)
    counts = np.zeros(rows, np.int64)
    for nodes, _, _ in _runs_of(ids):
        if nodes.max(initial=0) >= most:
            return None
        found = np.bincount(nodes, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts


def _runs_of(ids: LazyArray) -> Iterator[NDArray[np.int64]]:
    """Yield (node, first edge, last edge + 1) of each run of edges of one node, in blocks."""
    n_edges = int(ids.shape[0])
    open_node, open_start = -1, 0
    for part in _blocks(n_edges):
        block = np.asarray(ids[part]).astype(np.int64)
        starts = np.append(0, np.flatnonzero(block[1:] != block[:-1]) + 1)
        nodes, starts = block[starts], starts + part.start
        if part.start and nodes[0] == open_node:
            starts[0] = open_start
        elif part.start:
            nodes, starts = np.append(open_node, nodes), np.append(open_start, starts)
        open_node, open_start = int(nodes[-1]), int(starts[-1])
        yield np.stack([nodes[:-1], starts[:-1], starts[1:]])
    if n_edges:
        yield np.array([[open_node], [open_start], [n_edges]])


class _Range:
    """The numbers of rows."""

    def __getitem__(self, part: slice) -> NDArray[np.int64]:
        return np.arange(part.start, part.stop)


class _Runs:
    """Runs of equal values."""

    def __init__(self, runs: Sequence[Sequence[Any]]) -> None:
        self._values = np.asarray([value for value, _ in runs])
        self._ends = np.cumsum([count for _, count in runs])
        self.constant = self._values[0] if len(runs) == 1 else None

    def __getitem__(self, part: slice) -> NDArray[Any]:
        rows = np.arange(part.start, part.stop)
        found: NDArray[Any] = self._values[np.searchsorted(self._ends, rows, "right")]
        return found


def _blocks(rows: int, length: int = _BLOCK) -> Iterator[slice]:
    for start in range(0, rows, length):
        yield slice(start, min(start + length, rows))
