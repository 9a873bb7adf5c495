"""Read the node populations of a circuit."""

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.cells import Categories, CellTable
from ndx_simulation_output.recording.ids import check_name, repeated_values
from ndx_simulation_output.sonata.circuit_config import NetworkFile
from ndx_simulation_output.sonata.hdf5 import (
    attributes_to_json,
    child,
    child_group,
    location,
)
from ndx_simulation_output.sonata.layouts import describe_layout
from ndx_simulation_output.sonata.properties import integers, read_properties
from ndx_simulation_output.sonata.type_tables import TypeTable

STORED_COLUMNS = ("node_type_id", "node_group_id", "node_group_index")
"""Columns of nodes that say how a SONATA file stores them; they are not properties of cells."""

_MOST_TEXTS = 2**16


def read_nodes(
    file: h5py.File, entry: NetworkFile, types: TypeTable | None, notes: list[str]
) -> list[CellTable]:
    """Return the populations of a file of nodes: those that the configuration names, or all.

    Only ids, types, groups, indices and libraries are read. The ``provenance`` of a population has

    - ``file``, ``file_attributes``: name of the file, and attributes of its root group
    - ``number``: that of the entry of the file in the configuration
    - ``types_file``: name of the table of types, whose text is in the provenance of the circuit
    - ``settings``: those of the population in the configuration
    - ``layout``: what ``describe_layout`` says of the population
    """
    root = child_group(file, "nodes")
    named = root if entry.populations is None else entry.populations
    return [_read_population(root, name, entry, types, notes) for name in named]


def _read_population(
    root: h5py.Group, name: str, entry: NetworkFile, types: TypeTable | None, notes: list[str]
) -> CellTable:
    group = child_group(root, name)
    check_name(name, "the name of a population")
    size = _size(group)
    settings = (entry.populations or {}).get(name, {})
    of_population = None if types is None else types.of_population(name)
    columns = read_properties(group, "node", of_population, size, notes)
    if (type_ids := integers(group, "node_type_id", size)) is not None:
        columns["node_type_id"] = type_ids
    stated = settings.get("type")
    return CellTable(
        name,
        _ids(group, size),
        columns,
        kind=stated if isinstance(stated, str) else _kind(columns.get("model_type")),
        provenance={
            "format": "SONATA",
            "file": entry.path.name,
            "file_attributes": attributes_to_json(root.file, kinds=True),
            "number": entry.number,
            "types_file": None if types is None else types.name,
            "settings": dict(settings),
            "layout": describe_layout(group, size, "node"),
        },
    )


def _size(group: h5py.Group) -> int:
    """Return the number of nodes: the length of the first of the datasets that each node is in."""
    for name in ("node_type_id", "node_id", "node_group_id", "node_group_index"):
        if name in group and isinstance(dataset := child(group, name), h5py.Dataset):
            return int(dataset.shape[0]) if dataset.shape else 0
    found = ", ".join(group) or "nothing"
    msg = f"{location(group)} has no node_type_id; found: {found}"
    raise SourceError(msg)


def _ids(group: h5py.Group, size: int) -> NDArray[np.int64]:
    """Return the ids of nodes; without ``node_id`` they are the rows."""
    stored = integers(group, "node_id", size)
    if stored is None:
        return np.arange(size)
    ids = np.asarray(stored[:], np.int64)
    if len(ids) and ids.min() < 0:
        msg = f"node_id in {location(group)} has {ids.min()}; expected at least 0"
        raise SourceError(msg)
    if len(repeated := repeated_values(ids)):
        msg = f"node_id in {location(group)} has {repeated[0]} more than once"
        raise SourceError(msg)
    return ids


def _kind(model_type: LazyArray | None) -> str:
    """Return the ``model_type`` that all nodes have, or an empty text."""
    if isinstance(model_type, Categories):
        return model_type.names[0] if len(model_type.names) == 1 else ""
    if model_type is None or model_type.shape[0] > _MOST_TEXTS:
        return ""
    texts = {*np.asarray(model_type[:]).tolist()}
    return str(texts.pop()) if len(texts) == 1 and None not in texts else ""
