"""Read the edge populations of a circuit: the connections between cells."""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import ConnectionTable, LazyArray
from ndx_simulation_output.recording.ids import check_name
from ndx_simulation_output.recording.sorting import join_ranges
from ndx_simulation_output.sonata.circuit_config import NetworkFile
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    attributes_to_json,
    child,
    child_group,
    groups_in,
    location,
)
from ndx_simulation_output.sonata.layouts import DIRECTIONS, INDICES, RANGES, describe_layout
from ndx_simulation_output.sonata.properties import integers, read_properties
from ndx_simulation_output.sonata.type_tables import TypeTable

_SECTIONS = ("afferent_section_id", "sec_id")
_UNITS = {
    "conductance": "nS",
    **dict.fromkeys(("delay", "decay_time", "depression_time", "facilitation_time"), "ms"),
    **dict.fromkeys(("dist", "spine_length", "pos_x", "pos_y", "pos_z"), "um"),
    **{
        f"{end}_{place}_{axis}": "um"
        for end in ("afferent", "efferent")
        for place in ("center", "surface")
        for axis in "xyz"
    },
    **dict.fromkeys(("afferent_segment_offset", "efferent_segment_offset"), "um"),
}
"""Units of properties, by the names that SONATA defines."""
_MOST = 2**18
"""Of an index, the ranges of so many nodes and edges are compared with the ids."""


class _Provenance(Mapping[str, Any]):
    """Provenance of edges; ``layout`` is computed when it is used, as it reads all edges."""

    def __init__(self, facts: Mapping[str, Any], group: h5py.Group, size: int) -> None:
        self._facts, self._group, self._size = facts, group, size

    @cached_property
    def _layout(self) -> dict[str, Any]:
        return describe_layout(self._group, self._size, "edge")

    def __getitem__(self, key: str) -> Any:
        return self._layout if key == "layout" else self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._facts, "layout"])

    def __len__(self) -> int:
        return len(self._facts) + 1


def read_edges(
    file: h5py.File,
    entry: NetworkFile,
    types: TypeTable | None,
    populations: Collection[str],
    notes: list[str],
) -> list[ConnectionTable]:
    """Return the populations of a file of edges: those that the configuration names, or all.

    ``populations`` are those of nodes. Only types, groups and indices of edges are read; the index
    of a file is not used, but a note tells if it is wrong. The ``provenance`` has the keys of that
    of nodes.
    """
    root = child_group(file, "edges")
    named = [child_group(root, name) for name in entry.populations or ()]
    groups = groups_in(root, notes) if entry.populations is None else named
    return [_read_population(group, entry, types, populations, notes) for group in groups]


def _read_population(
    group: h5py.Group,
    entry: NetworkFile,
    types: TypeTable | None,
    populations: Collection[str],
    notes: list[str],
) -> ConnectionTable:
    name = group.name.rpartition("/")[2]
    check_name(name, "the name of a population of edges")
    sources, targets = (_ids(group, f"{end}_node_id") for end in ("source", "target"))
    size = sources.shape[0]
    if targets.shape[0] != size:
        msg = f"{location(group)} has {size} source_node_id and {targets.shape[0]} target_node_id"
        raise SourceError(msg)
    of_population = None if types is None else types.of_population(name)
    columns = read_properties(group, "edge", of_population, size, notes)
    for key in ("edge_id", "edge_type_id"):
        if (values := integers(group, key, size)) is not None:
            columns[key] = values
    notes += _notes_of_indices(group, {"source_node_id": sources, "target_node_id": targets})
    source, target = _populations(group, populations, notes)
    units = {key: unit for key, unit in _UNITS.items() if key in columns}
    if "syn_weight" in columns and any(key in columns for key in _SECTIONS):
        units["syn_weight"] = "uS"  # of a synapse on a section; point neurons have other units
    facts = {
        "format": "SONATA",
        "file": entry.path.name,
        "file_attributes": attributes_to_json(group.file, kinds=True),
        "number": entry.number,
        "types_file": None if types is None else types.name,
        "settings": dict((entry.populations or {}).get(name, {})),
    }
    return ConnectionTable(
        name,
        source,
        target,
        sources,
        targets,
        columns,
        units,
        provenance=_Provenance(facts, group, size),
    )


def _ids(group: h5py.Group, name: str) -> LazyArray:
    ids = integers(group, name, None)
    if ids is None:
        msg = f"{location(group)} has no {name}; found: {', '.join(group) or 'nothing'}"
        raise SourceError(msg)
    return ids


def _populations(
    group: h5py.Group, known: Collection[str], notes: list[str]
) -> tuple[str | None, str | None]:
    """Return the populations of source and target: of attributes, else of the name of the edges."""
    nodes = (child(group, f"{end}_node_id") for end in ("source", "target"))
    source, target = (attribute_text(node, "node_population", "network") or None for node in nodes)
    if source is not None and target is not None:
        return source, target
    name = group.name.rpartition("/")[2]
    found = [
        (one, other)
        for one in known
        for other in known
        if name == f"{one}_to_{other}" or f"{name}__".startswith(f"{one}__{other}__")
    ]
    if len(found) != 1:
        return source, target
    notes.append(
        f"{location(group)} has no node_population: its cells were taken for those of "
        f"{found[0][0]!r} and {found[0][1]!r}, after its name"
    )
    return source or found[0][0], target or found[0][1]


def _notes_of_indices(group: h5py.Group, ids: Mapping[str, LazyArray]) -> Iterator[str]:
    """Yield a note on each index that does not have the edges of each node."""
    for index in filter(group.__contains__, INDICES):
        for direction, name in DIRECTIONS.items():
            for ranges in RANGES:
                path = f"{index}/{direction}"
                parts = [group.get(f"{path}/{one}") for one in (ranges, "range_to_edge_id")]
                if parts[0] is not None and not _is_index(parts, ids[name]):
                    yield (
                        f"{ranges} in {path} of {location(group)} is not the index of {name}; "
                        "indices were not used"
                    )


def _is_index(parts: list[Any], ids: LazyArray) -> bool:
    """Return True if an index has the edges of each node, as far as it is compared."""
    for part in parts:
        is_dataset = isinstance(part, h5py.Dataset) and part.dtype.kind in "iu"
        if not is_dataset or len(part.shape or ()) != 2 or part.shape[1] != 2:
            return False
    nodes, ranges = (np.asarray(part[:_MOST]).astype(np.int64) for part in parts)
    compared = np.asarray(ids[:_MOST])
    # A node without edges has a range that is empty, or begins with -1.
    owners = np.flatnonzero((nodes[:, 0] >= 0) & (nodes[:, 0] < nodes[:, 1]))
    found = _join(nodes[owners], owners, parts[1].shape[0], len(ranges))
    if found is not None:
        found = _join(ranges[found[0]], found[1], ids.shape[0], len(compared))
    if found is None:
        return False
    edges, owners = found
    is_whole = max(len(parts[0]), len(parts[1]), ids.shape[0]) <= _MOST
    is_found = np.zeros(len(compared), bool)
    is_found[edges] = True
    is_complete = len(edges) == len(compared) and bool(is_found.all())
    return bool((compared[edges] == owners).all()) and (is_complete or not is_whole)


def _join(
    ranges: NDArray[np.int64], owners: NDArray[np.intp], length: int, read: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Join ranges of ``length`` rows, as far as these were ``read``; None if they are not valid."""
    starts, ends = ranges.T
    if ((starts < 0) | (starts > ends) | (ends > length)).any():
        return None
    is_read = ends <= read
    counts = (ends - starts)[is_read]
    if counts.sum() > read:
        return None  # They overlap.
    return join_ranges(starts[is_read], ends[is_read]), np.repeat(owners[is_read], counts)
