"""What the golden files of 0.3.0 were made of, known without the package: h5py and numpy alone."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = [
    "ALLEN",
    "BBP",
    "ELECTRODES",
    "METADATA",
    "NEURONVISIO",
    "RANKS",
    "SONATA",
    "grating",
    "write_sonata",
]

METADATA = {
    "NWBFile": {
        "session_start_time": "2026-01-31T12:00:00+00:00",
        "identifier": "golden",
        "session_description": "golden file of 0.3.0",
        "keywords": ["golden", "µ"],
    },
    "Subject": {"subject_id": "model", "species": "Mus musculus", "sex": "U", "age": "P0D"},
    "SimulationMetaData": {"simulator": "NEURON", "simulator_version": "9.0", "seed": 42},
}
"""Session, subject and run of files that are converted."""

_SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype=np.uint8)


def voltages(rows: int, columns: int, dtype: str, first: float = -70.0) -> np.ndarray:
    """Values that say row and column, in steps that float32 represents."""
    steps = np.arange(rows * columns).reshape(rows, columns) / 64
    return (first + steps).astype(dtype)


ALLEN: dict[str, dict[str, Any]] = {
    "v.h5": {
        "report/cortex/data": voltages(12, 9, "f8"),
        "report/cortex/data@units": "mV",
        "report/cortex/data@variable": "v",
        "report/cortex/mapping/node_ids": np.array([7, 3, 42], np.uint64),
        "report/cortex/mapping/index_pointer": np.array([0, 4, 5, 9], np.uint64),
        "report/cortex/mapping/element_ids": np.array([0, 1, 1, 2, 0, 0, 3, 3, 9], np.uint64),
        "report/cortex/mapping/element_pos": np.array([1, 1, 3, 2, 2, 2, 1, 3, 2]) / 4,
        "report/cortex/mapping/swc_ids_beg": np.arange(9, dtype=np.int64),
        "report/cortex/mapping/time": np.array([0.0, 1.2, 0.1]),
    },
    "cai.h5": {
        "report/cortex/data": voltages(6, 2, "f8", 1.0) / 1024,
        "report/cortex/data@units": "mM",
        "report/cortex/data@variable": "cai",
        "report/cortex/mapping/node_ids": np.array([3, 7], np.uint64),
        "report/cortex/mapping/index_pointer": np.array([0, 1, 2], np.uint64),
        "report/cortex/mapping/element_ids": np.array([0, 0], np.uint64),
        "report/cortex/mapping/element_pos": np.array([0.5, 0.5]),
        "report/cortex/mapping/time": np.array([0.0, 1.2, 0.2]),
    },
    "spikes.h5": {
        "spikes/cortex/timestamps": np.array([0.125, 0.25, 0.25, 0.75, 1.125]),
        "spikes/cortex/timestamps@units": "ms",
        "spikes/cortex/node_ids": np.array([7, 42, 3, 7, 42], np.uint64),
        "spikes/cortex@sorting": "by_time",
    },
    "ecp.h5": {
        "ecp/data": voltages(12, 3, "f8", 0.0),
        "ecp/data@units": "mV",
        "ecp/channel_id": np.array([0, 1, 5], np.int64),
        "ecp/time": np.array([0.0, 1.2, 0.1]),
    },
}
"""Files of bmtk: potentials, extra columns, names of 2018, values of 8 bytes."""

ELECTRODES = {"x_pos": [10.0, 20.5, 0.0], "y_pos": [0.0, -1.0, 2.0], "z_pos": [5.0, 6.0, 7.25]}
"""Positions in micrometres of the channels 0, 1 and 5."""

BBP: dict[str, dict[str, Any]] = {
    "soma.h5": {
        "report/A/data": voltages(10, 3, "f4"),
        "report/A/data@units": "mV",
        "report/A/mapping/node_ids": np.array([5, 0, 9], np.uint64),
        "report/A/mapping/index_pointers": np.array([0, 1, 2, 3], np.uint64),
        "report/A/mapping/element_ids": np.array([0, 0, 0], np.uint32),
        "report/A/mapping/time": np.array([10.0, 12.5, 0.25]),
        "report/A/mapping/time@units": "ms",
        "report/B/data": voltages(10, 4, "f4", -80.0),
        "report/B/data@units": "mV",
        "report/B/mapping/node_ids": np.array([0, 1], np.uint64),
        "report/B/mapping/index_pointers": np.array([0, 3, 4], np.uint64),
        "report/B/mapping/element_ids": np.array([0, 102, 102, 0], np.uint32),
        "report/B/mapping/time": np.array([10.0, 12.5, 0.25]),
        "report/B/mapping/time@units": "ms",
    },
    "current.h5": {
        "report/A/data": voltages(5, 2, "f4", 0.5),
        "report/A/data@units": "nA",
        "report/A/mapping/node_ids": np.array([0, 5], np.uint64),
        "report/A/mapping/index_pointers": np.array([0, 1, 2], np.uint64),
        "report/A/mapping/element_ids": np.array([0, 0], np.uint32),
        "report/A/mapping/time": np.array([10.0, 12.5, 0.5]),
        "report/A/mapping/time@units": "ms",
    },
    "out.h5": {
        "spikes/A/timestamps": np.array([10.5, 11.0, 12.25]),
        "spikes/A/timestamps@units": "ms",
        "spikes/A/node_ids": np.array([0, 9, 0], np.uint64),
        "spikes/A@sorting": (2, _SORTING),
        "spikes/B/timestamps": np.array([11.5, 10.75]),
        "spikes/B/timestamps@units": "ms",
        "spikes/B/node_ids": np.array([0, 1], np.uint64),
        "spikes/B@sorting": (1, _SORTING),
    },
}
"""Files of neurodamus: two populations, a start after 0, ids in no order, values of 4 bytes."""

SONATA = {"allen": ALLEN, "bbp": BBP}
"""The files of each dialect."""


def _rank(cells: list[int], first: float) -> dict[str, dict[str, Any]]:
    counts = [1 + cell % 3 for cell in cells]
    return {
        "v.h5": {
            "report/exc/data": voltages(8, sum(counts), "f4", first),
            "report/exc/data@units": "mV",
            "report/exc/mapping/node_ids": np.array(cells, np.uint64),
            "report/exc/mapping/index_pointers": np.cumsum([0, *counts]).astype(np.uint64),
            "report/exc/mapping/element_ids": np.concatenate(
                [np.arange(count) for count in counts]
            ).astype(np.uint32),
            "report/exc/mapping/time": np.array([0.0, 0.8, 0.1]),
            "report/exc/mapping/time@units": "ms",
        },
        "out.h5": {
            "spikes/exc/timestamps": np.array([0.25, 0.5]),
            "spikes/exc/timestamps@units": "ms",
            "spikes/exc/node_ids": np.array([cells[0], cells[-1]], np.uint64),
            "spikes/exc@sorting": (2, _SORTING),
        },
    }


RANKS = [_rank([4, 1], -70.0), _rank([8, 2, 3], -50.0)]
"""Files of the two ranks of a job, each with its own cells."""


def write_sonata(files: dict[str, dict[str, Any]], directory: Path) -> Path:
    """Write files given by dataset and, after an @, attribute; return the directory.

    If there are potentials, there is a configuration, which names them and the electrodes.
    """
    directory.mkdir(parents=True)
    for name, nodes in files.items():
        with h5py.File(directory / name, "w") as file:
            for path, value in nodes.items():
                where, _, attribute = path.partition("@")
                if not attribute:
                    file[path] = value
                elif isinstance(value, tuple):
                    file[where].attrs.create(attribute, value[0], dtype=value[1])
                else:
                    file[where].attrs[attribute] = value
    if "ecp.h5" in files:
        rows = zip(*ELECTRODES.values(), strict=True)
        lines = [f"{id_} {x} {y} {z}" for id_, (x, y, z) in zip((0, 1, 5), rows, strict=True)]
        text = "\n".join(["channel x_pos y_pos z_pos", *lines])
        (directory / "electrodes.csv").write_text(text + "\n", encoding="utf-8")
        reports = {
            "v": {"module": "membrane_report", "variable_name": "v", "file_name": "v.h5"},
            "cai": {"module": "membrane_report", "variable_name": "cai", "file_name": "cai.h5"},
            "ecp": {
                "module": "extracellular",
                "file_name": "ecp.h5",
                "electrode_positions": "electrodes.csv",
            },
        }
        config = {
            "run": {"tstart": 0.0, "tstop": 1.2, "dt": 0.1},
            "conditions": {"celsius": 34.0},
            "output": {"output_dir": ".", "spikes_file": "spikes.h5"},
            "reports": reports,
        }
        text = json.dumps(config)
        (directory / "simulation_config.json").write_text(text, encoding="utf-8")
    return directory


NEURONVISIO: dict[str, Any] = {
    "x": {
        "VecRef": np.arange(5) * 0.25,
        "SynVecRef": np.arange(5) * 0.25,
        "Calcium": np.array([0.0, 0.5, 1.25, 1.5]),
    },
    "refs": [
        ("VecRef", "soma", "", {"v": np.linspace(-65, 20, 5), "ina": np.arange(5) / 8}),
        ("VecRef", "dend[1]", "", {"v": np.linspace(-64, 0, 5)}),
        ("SynVecRef", "dend[1]", "AMPA", {"g": np.arange(5) * 0.5}),
        ("Calcium", "spine1", "kinetics µ", {"ca": np.array([0.1, 0.2, 0.4, 0.3])}),
        ("Calcium", "spine2", "", {"ca": np.arange(8.0).reshape(4, 2), "open": np.arange(4) > 1}),
    ],
}
"""Independent variable of each group, and group, section, detail and vectors of each reference."""


def grating(number: int) -> dict[str, np.ndarray]:
    """Arrays of one element of growing data: a spectrum, its error, a power."""
    return {
        "spectrum": np.array([1.0, 2.5, 4.0]) + number,
        "error": np.full(3, 0.5 + number),
        "power": np.array([number / 4]),
    }
