"""Small SONATA runs with a circuit, in both dialects; also used by the fuzzer.

    config = circuits.write_run(tmp_path, "allen")  # or "bbp"
    open_output(config)

The circuit is the same in both. Population ``cortex`` has the cells of ``properties()``, an
excitatory and an inhibitory one in each layer; ``lgn`` has three virtual cells. All compartments of
all cells of ``cortex`` are recorded, those of ``MORPHOLOGIES``, and spikes and potentials.

``nodes``, ``edges`` and ``table`` return files of other circuits, of which any dataset can be
replaced or removed, as in ``tests.sonata.making``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.sonata.making import File, ecp, report, spikes

LAYERS = (2, 4, 5, 6)

PYRAMID = """\
1 1 0 0 0 10 -1
2 2 0 0 -10 0.5 1
3 2 0 0 -40 0.5 2
4 3 0 -10 0 1 1
5 3 0 -110 0 1 4
6 4 0 10 0 2 1
7 4 0 110 0 2 6
8 4 20 130 0 1 7
9 4 -20 130 0 1 7
"""
BASKET = """\
1 1 0 0 0 8 -1
2 3 0 8 0 1 1
3 3 0 68 0 1 2
4 3 0 -8 0 1 1
5 3 0 -68 0 1 4
"""
MORPHOLOGIES: dict[str, tuple[str, tuple[int, ...]]] = {
    "pyramid": (PYRAMID, (1, 1, 5, 5, 1, 1)),
    "basket": (BASKET, (1, 3, 3)),
}
"""The text of each SWC file, and the number of segments of each section for ``dL`` 20."""

NODE_SETS: dict[str, Any] = {
    "L5": {"layer": 5},
    "deep": {"layer": {"$gte": 5}},
    "pyramids": {"mtype": {"$regex": "PC"}},
    "some": {"population": "cortex", "node_id": [6, 1, 1, 999]},
    "deep pyramids": {"layer": [5, 6], "ei": "e"},
    "both": ["L5", "some"],
    "lgn": {"population": "lgn"},
}
"""The node sets of the circuit, updated by those of the simulation."""

_ROOT = {"": {"magic": np.uint32(0x0A7A), "version": np.array([0, 1], np.uint32)}}


def properties(per_layer: int = 2) -> dict[str, list[Any]]:
    """Return the properties of the cells of ``cortex``; missing numbers are NaN."""
    layers = [layer for layer in LAYERS for _ in range(per_layer)]
    kinds = ["ei"[row % 2] for row in range(len(layers))]
    return {
        "layer": layers,
        "mtype": [
            f"L{layer}_{'PC' if kind == 'e' else 'BC'}"
            for layer, kind in zip(layers, kinds, strict=True)
        ],
        "ei": kinds,
        "model_type": ["biophysical"] * len(layers),
        "morphology": ["pyramid" if kind == "e" else "basket" for kind in kinds],
        "region": ["VISp" if layer < 5 else "NA" for layer in layers],
        "x": [20.0 * row for row in range(len(layers))],
        "y": [-150.0 * layer for layer in layers],
        "z": [5.0 * (row % 3) for row in range(len(layers))],
        "tuning_angle": [45.0 * row if kinds[row] == "e" else np.nan for row in range(len(layers))],
    }


def nodes(
    columns: Mapping[str, Any],
    *,
    population: str = "cortex",
    dialect: str = "allen",
    size: int | None = None,
    **datasets: Any,
) -> File:
    """Return a file of nodes with ``columns`` in group 0; text is ``@library`` in ``bbp``.

    ``datasets`` of the population replace those of the dialect, such as ``node_id``; None removes.
    """
    size = len(next(iter(columns.values()))) if size is None else size
    rows = np.arange(size)
    parts: dict[str, Any] = {"node_type_id": np.full(size, -1, np.int32)}
    if dialect == "allen":
        parts = {
            "node_id": rows.astype(np.uint64),
            "node_type_id": np.full(size, 100, np.uint64),
            "node_group_id": np.zeros(size, np.uint32),
            "node_group_index": rows.astype(np.uint64),
        }
    parts |= {f"0/{name}": value for name, value in _stored(columns, dialect).items()} | datasets
    where = f"nodes/{population}"
    found = {f"{where}/{name}": value for name, value in parts.items() if value is not None}
    return File(found, _ROOT if dialect == "allen" else {}, groups=[f"{where}/0"])


def _stored(columns: Mapping[str, Any], dialect: str) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for name, values in columns.items():
        if not len(values) or not isinstance(values[0], str):
            stored[name] = np.asarray(values)
        elif dialect == "bbp":
            library = sorted(set(values))
            stored[f"@library/{name}"] = library
            stored[name] = np.array([library.index(value) for value in values], np.uint8)
        else:
            stored[name] = np.asarray(values, h5py.string_dtype())
    return stored


def edges(
    source_ids: Iterable[int],
    target_ids: Iterable[int],
    columns: Mapping[str, Any],
    *,
    source: str = "cortex",
    target: str = "cortex",
    dialect: str = "allen",
    index: bool = True,
    **datasets: Any,
) -> File:
    """Return a file of edges with ``columns`` in group 0, and both indices if ``index`` is true."""
    sources, targets = (np.asarray([*ids], np.uint64) for ids in (source_ids, target_ids))
    rows = np.arange(len(sources))
    parts: dict[str, Any] = {"edge_type_id": np.full(len(rows), -1, np.int64)}
    if dialect == "allen":
        parts = {
            "edge_type_id": np.full(len(rows), 100, np.uint32),
            "edge_group_id": np.zeros(len(rows), np.uint16),
            "edge_group_index": rows.astype(np.uint32),
        }
    parts |= {"source_node_id": sources, "target_node_id": targets}
    if index:
        names = "node_id_to_range" if dialect == "allen" else "node_id_to_ranges"
        for way, ids in (("source_to_target", sources), ("target_to_source", targets)):
            nodes_to, ranges = index_of(ids)
            parts |= {f"indices/{way}/{names}": nodes_to, f"indices/{way}/range_to_edge_id": ranges}
    parts |= {f"0/{name}": value for name, value in _stored(columns, dialect).items()} | datasets
    name = f"{source}_to_{target}" if dialect == "allen" else f"{source}__{target}__chemical"
    where = f"edges/{name}"
    attributes: dict[str, Any] = {
        f"{where}/{end}_node_id": {"node_population": population}
        for end, population in (("source", source), ("target", target))
        if parts[f"{end}_node_id"] is not None
    }
    found = {f"{where}/{name}": value for name, value in parts.items() if value is not None}
    return File(found, attributes | (_ROOT if dialect == "allen" else {}), groups=[f"{where}/0"])


def index_of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranges of each node, and the edges of each range, of the ids of edges."""
    starts = np.flatnonzero(np.diff(ids.astype(np.int64), prepend=-1))
    ends = np.append(starts[1:], len(ids))
    order = np.argsort(ids[starts], kind="stable")
    ranges = np.stack([starts, ends], axis=1)[order]
    known = np.arange(int(ids.max(initial=0)) + 1 if len(ids) else 0)
    first = np.searchsorted(ids[starts][order], known, "left")
    last = np.searchsorted(ids[starts][order], known, "right")
    return np.stack([first, last], axis=1).astype(np.uint64), ranges.astype(np.uint64)


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a table of types as CSV, with the keys of the first row as columns; None is NULL."""
    lines = [[*rows[0]], *([row[name] for name in rows[0]] for row in rows)]
    quoted = ([_quoted(value) for value in line] for line in lines)
    path.write_text("".join(f"{' '.join(line)}\n" for line in quoted), encoding="utf-8")
    return path


def _quoted(value: Any) -> str:
    text = "NULL" if value is None else str(value)
    escaped = text.replace('"', '""')
    return f'"{escaped}"' if not text or set(' "') & set(text) else text


def write_run(directory: Path, dialect: str = "allen", *, per_layer: int = 2) -> Path:
    """Write a run and its circuit; return the path of ``simulation_config.json``.

    In ``allen``, what cells of a type share is in ``node_types.csv``. Potentials are in ``ecp.h5``
    there; in ``bbp``, ``lfp.h5`` has the contribution of each cell to each electrode.
    """
    network = directory / "network"
    for place in (network, directory / "output", directory / "morphologies"):
        place.mkdir(parents=True, exist_ok=True)
    for name, (text, _) in MORPHOLOGIES.items():
        (directory / "morphologies" / f"{name}.swc").write_text(text, encoding="utf-8")
    cells = properties(per_layer)
    (_write_allen if dialect == "allen" else _write_bbp)(network, cells)
    _write_output(directory / "output", cells, dialect)
    return _write_configs(directory, dialect)


_ANGLE = 0.3


def _connections(cells: Mapping[str, Any], sources: int, step: int) -> tuple[Any, Any, Any]:
    """Return source and target of edges to every cell, and their columns; sorted by target."""
    targets = np.repeat(np.arange(len(cells["x"])), 3)
    rows = np.arange(len(targets))
    columns = {
        "syn_weight": 1e-3 * (1 + rows % 5),
        "afferent_section_id": (rows % 3).astype(np.int32),
        "afferent_section_pos": ((rows % 4) / 4).astype(np.float32),
    }
    return rows * step % sources, targets, columns


def _write_allen(network: Path, cells: Mapping[str, Any]) -> None:
    varying = {name: cells[name] for name in ("x", "y", "z", "tuning_angle")}
    varying["rotation_angle_yaxis"] = np.full(len(cells["x"]), _ANGLE)
    shared = ("layer", "mtype", "ei", "model_type", "morphology", "region")
    rows = list(zip(*(cells[name] for name in shared), strict=True))
    types = {row: 100 + number for number, row in enumerate(dict.fromkeys(rows))}
    ids = np.array([types[row] for row in rows], np.uint64)
    nodes(varying, node_type_id=ids).write(network / "cortex_nodes.h5")
    extra = {"model_processing": None, "model_template": "ctdb:Biophys1.hoc"}
    table(
        network / "cortex_node_types.csv",
        [
            {"node_type_id": key, **dict(zip(shared, row, strict=True)), **extra}
            for row, key in types.items()
        ],
    )
    nodes({}, population="lgn", size=3).write(network / "lgn_nodes.h5")
    virtual = {"node_type_id": 100, "model_type": "virtual", "pop_name": "LGN"}
    table(network / "lgn_node_types.csv", [virtual])
    for source, count, step in (("cortex", len(cells["x"]), 5), ("lgn", 3, 1)):
        made = edges(*_connections(cells, count, step), source=source)
        made.write(network / f"{source}_cortex_edges.h5")
        shared_by_edges = {
            "edge_type_id": 100,
            "target_query": "model_type=='biophysical'",
            "source_query": "*",
            "delay": 2.0,
            "target_sections": "['basal', 'apical']",
            "model_template": "Exp2Syn",
        }
        table(network / f"{source}_cortex_edge_types.csv", [shared_by_edges])


def _write_bbp(network: Path, cells: Mapping[str, Any]) -> None:
    turned = {"w": np.cos(_ANGLE / 2), "x": 0.0, "y": np.sin(_ANGLE / 2), "z": 0.0}
    turned = {f"orientation_{k}": np.full(len(cells["x"]), v, "f4") for k, v in turned.items()}
    stored = nodes(
        {**cells, **turned},
        dialect="bbp",
        **{"0/dynamics_params/holding_current": np.linspace(-0.1, 0.1, len(cells["x"]))},
    )
    virtual = nodes(
        {"model_type": ["virtual"] * 3, "pop_name": ["LGN"] * 3}, population="lgn", dialect="bbp"
    )
    (stored | virtual).write(network / "nodes.h5")
    made = File()
    for source, count, step in (("cortex", len(cells["x"]), 5), ("lgn", 3, 1)):
        sources, targets, columns = _connections(cells, count, step)
        columns["conductance"] = (1000 * columns.pop("syn_weight")).astype(np.float32)
        columns["delay"] = np.full(len(sources), 2.0, np.float32)
        made |= edges(sources, targets, columns, source=source, dialect="bbp")
    made.write(network / "edges.h5")


def _write_output(output: Path, cells: Mapping[str, Any], dialect: str) -> None:
    sections = [MORPHOLOGIES[name][1] for name in cells["morphology"]]
    counts = [sum(of_cell) for of_cell in sections]
    numbers = [n for cell in sections for n, segments in enumerate(cell) for _ in range(segments)]
    time = np.arange(40)[:, np.newaxis] / 40
    layers = np.repeat(cells["layer"], counts)
    values = -65 + layers * np.sin(2 * np.pi * time * layers) + np.arange(sum(counts)) / 100
    mapping: dict[str, Any] = {"element_ids": np.array(numbers, np.uint32)}
    if dialect == "allen":
        places = [(k + 0.5) / n for cell in sections for n in cell for k in range(n)]
        mapping["element_pos"] = np.array(places)
    ids = np.arange(len(counts))
    time_ms = (0.0, 4.0, 0.1)
    kept: dict[str, Any] = {"population": "cortex", "dialect": dialect, "time": time_ms}
    report(ids, counts, data=values.astype(np.float32), **kept, **mapping).write(output / "v.h5")
    spikes(ids, (ids + 1) / 4, population="cortex").write(output / "spikes.h5")
    potentials = np.sin(2 * np.pi * time * np.repeat(cells["layer"], 2)) / 100
    if dialect == "allen":
        total = potentials.reshape(40, -1, 2).sum(axis=1)
        ecp(total, time=time_ms).write(output / "ecp.h5")
        lines = ["channel x_pos y_pos z_pos", "0 0.0 -300.0 0.0", "1 0.0 -900.0 0.0"]
        (output.parent / "electrodes.csv").write_text("\n".join(lines), encoding="utf-8")
    else:
        channels = np.tile([0, 1], len(ids)).astype(np.uint32)
        twice = np.full(len(ids), 2)
        report(ids, twice, data=potentials, **kept, element_ids=channels).write(output / "lfp.h5")
        factors = {"cortex/node_ids": ids, "electrodes/cortex": np.ones((len(ids), 2))}
        File(factors).write(output.parent / "electrodes.h5")


def _write_configs(directory: Path, dialect: str) -> Path:
    is_allen = dialect == "allen"
    components = {"morphologies_dir": "$BASE_DIR/morphologies"}
    networks: dict[str, Any] = {
        "nodes": [
            {
                "nodes_file": f"$NETWORK_DIR/{name}_nodes.h5",
                "node_types_file": f"$NETWORK_DIR/{name}_node_types.csv",
            }
            for name in ("cortex", "lgn")
        ],
        "edges": [
            {
                "edges_file": f"$NETWORK_DIR/{name}_cortex_edges.h5",
                "edge_types_file": f"$NETWORK_DIR/{name}_cortex_edge_types.csv",
            }
            for name in ("cortex", "lgn")
        ],
    }
    if not is_allen:
        models = {"biophysical_neuron_models_dir": "$BASE_DIR", **components}
        populations = {"cortex": {"type": "biophysical", **models}, "lgn": {"type": "virtual"}}
        chemical = {f"{name}__cortex__chemical": {"type": "chemical"} for name in ("cortex", "lgn")}
        networks = {
            "nodes": [{"nodes_file": "$NETWORK_DIR/nodes.h5", "populations": populations}],
            "edges": [{"edges_file": "$NETWORK_DIR/edges.h5", "populations": chemical}],
        }
    circuit = {
        "manifest": {"$BASE_DIR": ".", "$NETWORK_DIR": "$BASE_DIR/network"},
        "components": components if is_allen else {},
        "node_sets_file": "$BASE_DIR/node_sets.json",
        "networks": networks,
    }
    membrane = {"module": "membrane_report", "file_name": "v.h5", "sections": "all"}
    electrodes = {"module": "extracellular", "electrode_positions": "$BASE_DIR/electrodes.csv"}
    reports: dict[str, Any] = {"v": membrane, "ecp": electrodes}
    if not is_allen:
        times = {"start_time": 0.0, "end_time": 4.0, "dt": 0.1}
        membrane = {"type": "compartment", "sections": "all", "compartments": "all", **times}
        lfp = {"type": "lfp", "cells": "cortex", "electrodes_file": "$BASE_DIR/electrodes.h5"}
        reports = {"v": membrane, "lfp": lfp | times}
    for entry in (membrane, electrodes):
        entry |= {"cells": "cortex", "variable_name": "v"}
    simulation = {
        "manifest": {"$BASE_DIR": "."},
        "run": {"tstop": 4.0, "dt": 0.1, "dL": 20.0, "random_seed": 1},
        "target_simulator": "NEURON",
        "network": "$BASE_DIR/circuit_config.json",
        "conditions": {"celsius": 34.0, "v_init": -80},
        "node_sets_file": "$BASE_DIR/node_sets_of_run.json",
        "output": {"output_dir": "$BASE_DIR/output", "spikes_file": "spikes.h5"},
        "reports": reports,
    }
    for name, content in {
        "circuit_config.json": circuit,
        "simulation_config.json": simulation,
        "node_sets.json": NODE_SETS | {"some": {"node_id": [0]}},
        "node_sets_of_run.json": {"some": NODE_SETS["some"]},
    }.items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return directory / "simulation_config.json"
