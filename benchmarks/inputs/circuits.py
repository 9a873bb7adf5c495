"""Write SONATA circuits as the tools of Blue Brain do: nodes with libraries, sorted edges."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["EDGES", "NODES", "TEXTS", "beside", "write_circuit"]

NODES, EDGES = "nodes", "edges"
POPULATION = "cortex"
BLOCK = 2**18
NUMBERS = ("x", "y", "z", "orientation_w", "orientation_x", "orientation_y", "orientation_z")
DYNAMICS = ("holding_current", "threshold_current")
LIBRARIES = {
    "mtype": 60,
    "etype": 11,
    "region": 40,
    "layer": 6,
    "morph_class": 2,
    "hemisphere": 2,
    "synapse_class": 2,
    "model_type": 1,
    "model_template": 200,
}
TEXTS = ("morphology", "me_combo")
FLOATS = ("conductance", "delay", "decay_time", "depression_time", "facilitation_time", "u_syn")
PLACES = ("afferent_section_pos", "afferent_center_x", "afferent_center_y")
INTEGERS = {"afferent_section_id": 100, "n_rrp_vesicles": 10, "syn_type_id": 200}


def beside(config: Path, kind: str) -> Path:
    """Return the path of the file of nodes or of edges of a circuit."""
    return config.with_name(f"{config.stem}_{kind}.h5")


def write_circuit(config: Path, nodes: int, edges: int, *, is_sorted: bool = True) -> None:
    """Write a circuit: nodes with 20 columns, edges with 12, by default sorted by target."""
    rng = np.random.default_rng(0)
    with h5py.File(beside(config, NODES), "w") as file:
        _write_nodes(file.create_group(f"{NODES}/{POPULATION}"), nodes, rng)
    with h5py.File(beside(config, EDGES), "w") as file:
        name = f"{EDGES}/{POPULATION}__{POPULATION}__chemical"
        _write_edges(file.create_group(name), nodes, edges, rng, is_sorted=is_sorted)
    networks = {
        kind: [{f"{kind}_file": beside(config, kind).name, f"{kind[:-1]}_types_file": None}]
        for kind in (NODES, EDGES)
    }
    config.write_text(json.dumps({"networks": networks}), encoding="utf-8")


def _write_nodes(group: h5py.Group, count: int, rng: np.random.Generator) -> None:
    group["node_type_id"] = np.full(count, -1, np.int64)
    for name in NUMBERS:
        group[f"0/{name}"] = rng.random(count, np.float32)
    for name in DYNAMICS:
        group[f"0/dynamics_params/{name}"] = rng.random(count, np.float32)
    text = h5py.string_dtype()
    for name, different in LIBRARIES.items():
        group[f"0/{name}"] = rng.integers(0, different, count, np.uint32)
        names = [f"{name}_{number}" for number in range(different)]
        group.create_dataset(f"0/@library/{name}", data=names, dtype=text)
    for name in TEXTS:
        texts = [f"{name}_{number}" for number in range(count)]
        group.create_dataset(f"0/{name}", data=texts, dtype=text)


def _write_edges(
    group: h5py.Group, nodes: int, count: int, rng: np.random.Generator, *, is_sorted: bool
) -> None:
    targets = rng.integers(0, nodes, count, np.uint32)
    targets = np.sort(targets) if is_sorted else targets
    for end, ids in (("source", None), ("target", targets)):
        dataset = group.create_dataset(f"{end}_node_id", (count,), np.uint64)
        dataset.attrs["node_population"] = POPULATION
        _fill(dataset, lambda n: rng.integers(0, nodes, n), ids)
    _fill(group.create_dataset("edge_type_id", (count,), np.int64), lambda n: np.full(n, -1))
    for name in (*FLOATS, *PLACES):
        dataset = group.create_dataset(f"0/{name}", (count,), np.float32)
        _fill(dataset, lambda n: rng.random(n, np.float32))
    for name, largest in INTEGERS.items():
        dataset = group.create_dataset(f"0/{name}", (count,), np.uint32)
        _fill(dataset, lambda n, most=largest: rng.integers(0, most, n))
    if is_sorted:
        counts = np.bincount(targets, minlength=nodes)
        ends = np.cumsum(counts)
        ranges = np.stack([ends - counts, ends], axis=1).astype(np.uint64)
        index = group.create_group("indices/target_to_source")
        index["range_to_edge_id"] = ranges
        rows = np.arange(nodes, dtype=np.uint64)
        index["node_id_to_ranges"] = np.stack([rows, rows + 1], axis=1)


def _fill(
    dataset: h5py.Dataset,
    make: Callable[[int], NDArray[Any]],
    values: NDArray[Any] | None = None,
) -> None:
    for start in range(0, len(dataset), BLOCK):
        stop = min(start + BLOCK, len(dataset))
        dataset[start:stop] = make(stop - start) if values is None else values[start:stop]
