"""Write a small SONATA run with its circuit to the directory ``run``, as BioNet would.

Forty cells of four layers receive spikes of ten virtual cells, layer 4 first. The potentials and
transmembrane currents are simple functions of time: they stand in for a simulation.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DEPTHS = {"2/3": 250.0, "4": 450.0, "5": 650.0, "6": 850.0}  # of each layer, in micrometres
ONSETS = [20.0, 12.0, 24.0, 30.0]  # of the responses of each layer, in ms
CELLS, INPUTS, SEGMENTS = 40, 10, 16

# A soma, and an apical dendrite of 300 micrometres, which BioNet divides into 15 segments.
MORPHOLOGY = "1 1 0 0 0 8 -1\n2 4 0 8 0 1 1\n3 4 0 308 0 1 2\n"
SECTIONS = np.repeat([0, 1], [1, 15])
POSITIONS = np.append(0.5, (np.arange(15) + 0.5) / 15)
# A synaptic current enters the upper dendrite, and most of it leaves at the soma.
SHARES = np.array([0.7, *[0.03] * 10, *[-0.2] * 5])

rng = np.random.default_rng(1)
layers = np.repeat(np.arange(4), 10)
run = Path("run")
for folder in ("network", "morphologies", "output"):
    (run / folder).mkdir(parents=True, exist_ok=True)


def write(name: str, datasets: dict[str, Any], attributes: dict[str, dict[str, Any]]) -> None:
    """Write a file of HDF5."""
    with h5py.File(run / name, "w") as file:
        for path, values in datasets.items():
            file[path] = values
        for path, of_path in attributes.items():
            file[path].attrs.update(of_path)


def write_nodes(population: str, type_ids: Any, columns: dict[str, Any], types: str) -> None:
    """Write a population of cells, and the properties that the cells of a type share."""
    rows = np.arange(len(type_ids))
    datasets = {"node_id": rows, "node_type_id": type_ids, "node_group_index": rows}
    datasets |= {"node_group_id": np.zeros(len(rows), int)}
    datasets |= {f"0/{name}": values for name, values in columns.items()}
    where = f"nodes/{population}"
    datasets = {f"{where}/{name}": values for name, values in datasets.items()}
    write(f"network/{population}_nodes.h5", datasets, {})
    (run / f"network/{population}_node_types.csv").write_text(types)


def write_report(name: str, values: Any, unit: str, segments: int) -> None:
    """Write the values (time, compartment) of the first segments of all cells."""
    times = {"time": [0.0, 60.0, 0.1], "index_pointer": segments * np.arange(CELLS + 1)}
    elements = {
        "element_ids": np.tile(SECTIONS[:segments], CELLS),
        "element_pos": np.tile(POSITIONS[:segments], CELLS),
    }
    mapping = {"node_ids": np.arange(CELLS), **times, **elements}
    datasets = {f"report/cortex/mapping/{key}": column for key, column in mapping.items()}
    datasets["report/cortex/data"] = values.astype(np.float32)
    units = {"report/cortex/data": {"units": unit}, "report/cortex/mapping/time": {"units": "ms"}}
    write(f"output/{name}.h5", datasets, units)


# The circuit: cells and their types, connections and their types, a morphology, node sets.
rows = [f"{100 + n} {layer} L{layer}_PC biophysical pyramid" for n, layer in enumerate(DEPTHS)]
table = "\n".join(["node_type_id layer mtype model_type morphology", *rows])
xyz = rng.uniform(-60, 60, (3, CELLS)) - [[0], [1], [0]] * np.array([*DEPTHS.values()])[layers]
write_nodes("cortex", 100 + layers, dict(zip("xyz", xyz, strict=True)), table)
write_nodes("thalamus", np.full(INPUTS, 100), {}, "node_type_id model_type\n100 virtual\n")

targets = np.repeat(np.arange(CELLS), 3)
sources = rng.integers(0, INPUTS, len(targets))
edges = {
    "source_node_id": sources,
    "target_node_id": targets,
    "edge_type_id": np.full(len(targets), 100),
    "edge_group_id": np.zeros(len(targets), int),
    "edge_group_index": np.arange(len(targets)),
    "0/syn_weight": rng.uniform(0.001, 0.002, len(targets)),
    "0/afferent_section_id": np.ones(len(targets), int),
    "0/afferent_section_pos": rng.uniform(0.7, 1.0, len(targets)),
}
name = "edges/thalamus_to_cortex"
ends = {f"{name}/source_node_id": "thalamus", f"{name}/target_node_id": "cortex"}
write(
    "network/thalamus_cortex_edges.h5",
    {f"{name}/{key}": values for key, values in edges.items()},
    {path: {"node_population": population} for path, population in ends.items()},
)
(run / "network/thalamus_cortex_edge_types.csv").write_text(
    "edge_type_id delay model_template\n100 2.0 Exp2Syn\n"
)
(run / "morphologies/pyramid.swc").write_text(MORPHOLOGY)

# The recordings.
time = np.arange(0, 60, 0.1)[:, np.newaxis]
onsets = np.array(ONSETS)[layers] + rng.normal(0, 1, CELLS)
phase = np.maximum(time - onsets, 0) / 4
currents = 0.2 * phase * np.exp(1 - phase)  # nA
write_report("v", -70 + 60 * currents, "mV", segments=1)
write_report("i_membrane", np.kron(currents, SHARES), "nA", segments=SEGMENTS)
order = np.argsort(onsets)
write(
    "output/spikes.h5",
    {"spikes/cortex/node_ids": order, "spikes/cortex/timestamps": onsets[order] + 4},
    {"spikes/cortex": {"sorting": "by_time"}, "spikes/cortex/timestamps": {"units": "ms"}},
)

# The configurations.
files = {"nodes": ("cortex", "thalamus"), "edges": ("thalamus_cortex",)}
report = {"module": "membrane_report", "cells": "cortex"}
configurations = {
    "circuit_config.json": {
        "components": {"morphologies_dir": "./morphologies"},
        "networks": {
            kind: [
                {
                    f"{kind}_file": f"./network/{name}_{kind}.h5",
                    f"{kind[:-1]}_types_file": f"./network/{name}_{kind[:-1]}_types.csv",
                }
                for name in names
            ]
            for kind, names in files.items()
        },
    },
    "node_sets.json": {
        "cortex": {"population": "cortex"},
        "granular": {"layer": "4"},
        "deep": {"layer": ["5", "6"]},
    },
    "simulation_config.json": {
        "network": "./circuit_config.json",
        "node_sets_file": "./node_sets.json",
        "target_simulator": "NEURON",
        "run": {"tstop": 60.0, "dt": 0.1, "dL": 20.0},
        "output": {"output_dir": "./output", "spikes_file": "spikes.h5"},
        "reports": {
            "v": {**report, "variable_name": "v", "sections": "soma"},
            "i_membrane": {**report, "variable_name": "i_membrane", "sections": "all"},
        },
    },
}
for name, content in configurations.items():
    (run / name).write_text(json.dumps(content, indent=2))
print(f"wrote a run of {CELLS} cells to {run}")
