"""The kinds of files that are damaged, and how an undamaged one is made."""

import gzip
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from ndx_simulation_output import StorageOptions, convert
from tests.compatibility.packing import GOLDEN, unpack
from tests.conftest import DATA
from tests.fuzzing.mutations import mutate, overwrite, refer_elsewhere
from tests.pymodaq.making import make_array, make_file, make_group
from tests.sonata import circuits
from tests.sonata.making import SESSION, ecp, report, spikes

__all__ = ["GENUINE", "KINDS", "Kind"]

CELLS = {"cells": (4, 1, 9), "counts": (3, 1, 2), "rows": 40, "time": (0.0, 4.0, 0.1)}


@dataclass(frozen=True)
class Kind:
    """A kind of input: ``make`` writes ``source`` to a directory; one of ``victims`` is damaged.

    Without ``source``, it is the victim. ``damage`` is how; ``is_damaged_later`` lets the
    operations do it at some moment.
    """

    name: str
    make: Callable[[Path], object]
    source: str
    operations: tuple[str, ...]
    victims: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    damage: Callable[[Path, Random], str] = mutate
    is_damaged_later: bool = False


def _sonata(file: str, **storage: object) -> Callable[[Path], object]:
    files = {
        "bbp": report(**CELLS),
        "allen": report(**CELLS, dialect="allen", element_pos=np.full(6, 0.5)),
        "spikes": spikes(range(20), np.linspace(0, 4, 20)),
        "ecp": ecp(np.linspace(0, 1, 80).reshape(40, 2), time=(0.0, 4.0, 0.1)),
    }
    chosen = files[file]
    if storage:
        chosen.storage |= {name: storage for name in chosen.datasets if name.endswith("data")}
    return lambda directory: chosen.write(directory / "source.h5")


def _long(**storage: object) -> Callable[[Path], object]:
    chosen = report(**CELLS | {"rows": 20_000, "time": (0.0, 2000.0, 0.1)})
    chosen.storage["report/pop/data"] = storage
    return lambda directory: chosen.write(directory / "source.h5")


def _rates(directory: Path) -> None:
    with h5py.File(directory / "source.h5", "w") as file:
        file["firing_rates/LGN/firing_rates_Hz"] = np.arange(12.0).reshape(4, 3)
        file["firing_rates/LGN/node_id"] = np.array([7, 2, 5], np.uint64)
        file["firing_rates/LGN/times"] = np.arange(4) / 1000


def _golden(archive: str, member: str) -> Callable[[Path], object]:
    """Copy a file or directory of an archive of golden files, named ``source``."""

    def make(directory: Path) -> None:
        unpacked = unpack(archive, directory / "unpacked")
        for found in sorted(unpacked.glob(member)):
            name = found.name if member.startswith(".") else f"source{found.suffix}"
            found.rename(directory / name)
        shutil.rmtree(unpacked)

    return make


def _golden_file(name: str) -> Callable[[Path], object]:
    return lambda directory: shutil.copy(GOLDEN.parent / name, directory / "source.nwb")


def _linked(directory: Path) -> None:
    """An NWB file and the files that its data are in; all may be damaged."""
    report(**CELLS).write(directory / "v.h5")
    convert(
        directory / "v.h5",
        directory / "source.nwb",
        metadata=SESSION,
        storage=StorageOptions(link=True),
    )


def _converted(suffix: str = ".nwb", **storage: object) -> Callable[[Path], object]:
    def make(directory: Path) -> None:
        files = report(**CELLS) | spikes(range(20), np.linspace(0, 4, 20))
        files |= ecp(np.linspace(0, 1, 80).reshape(40, 2), time=(0.0, 4.0, 0.1))
        files.write(directory / "v.h5")
        options = StorageOptions(**storage)  # type: ignore[arg-type]
        target = directory / f"source{suffix}"
        convert(directory / "v.h5", target, metadata=SESSION, storage=options)
        (directory / "v.h5").unlink()

    return make


def _text_spikes(directory: Path) -> None:
    rows = [f"{time:.2f} pop {time % 3:.0f}" for time in range(20)]
    (directory / "source.csv").write_text("\n".join(["timestamps population node_ids", *rows]))


def _text_rates(directory: Path) -> None:
    rows = [f"{cell} LGN {time} {cell * time}" for cell in (7, 2) for time in (0.0, 1.0, 2.0)]
    header = "node_id population timestamps firing_rates"
    (directory / "source.csv").write_text("\n".join([header, *rows]))


def _pymodaq(directory: Path) -> None:
    with make_file(directory / "source.h5") as file:
        group = make_group(file["RawData"], "Data0D", "a detector", data_type="data", origin="det")
        make_array(group, "Data00", np.arange(12.0).reshape(4, 3), "signal", data_dimension="D1")
        axis = {"data_type": "axis", "axis_label": "x", "axis_units": "s", "data_size": (4,)}
        make_array(group, "Axis00", np.arange(4.0), "axis", **axis)


def _annarchy(suffix: str) -> Callable[[Path], object]:
    def make(directory: Path) -> None:
        _golden("annarchy", "annarchy_network.*")(directory)
        (directory / "source.npz").rename(directory / "npz")
        content = pickle.loads((directory / "source.txt").read_bytes())  # noqa: S301 - ours
        if suffix == ".npz":
            (directory / "npz").rename(directory / "source.npz")
        elif suffix == ".gz":
            (directory / "source.gz").write_bytes(gzip.compress(pickle.dumps(content)))
        elif suffix == ".mat":
            part = {"name": "exc", "geometry": [4], "attributes": ["v"], "variables": ["v"]}
            savemat(directory / "source.mat", {**part, "parameters": [], "v": np.arange(4.0)})
        if suffix != ".txt":
            (directory / "source.txt").unlink()
        (directory / "npz").unlink(missing_ok=True)

    return make


def _connectivity(directory: Path) -> None:
    parts = {"name": "rec", "post_ranks": [0, 3], "pre_ranks": [[1, 2], [0]], "size": 2}
    parts |= {"w": 0.5, "delay": [[0.5, 1.0], [0.5]], "max_delay": 2, "uniform_delay": -1}
    (directory / "source.data").write_bytes(pickle.dumps({**parts, "nb_synapses": 3}))


def _parameters(directory: Path) -> None:
    _golden("annarchy", "annarchy_parameters.json")(directory)


def _monitors(suffix: str) -> Callable[[Path], object]:
    def make(directory: Path) -> None:
        values = np.arange(24.0).reshape(4, 6)
        if suffix == ".npy":
            np.save(directory / "source.npy", values)
            return
        with h5py.File(directory / "source.h5", "w") as file:
            file["v"] = values

    return make


def _metadata(directory: Path) -> None:
    text = (
        "NWBFile:\n  session_description: a run\n  session_start_time: 2026-01-31T12:00:00\n"
        "  keywords: [a, b]\n  experimenter: [Doe, Jane]\nSubject:\n  subject_id: m\n"
        "  age: P1D\n  sex: U\nSimulationMetaData:\n  simulator: NEURON\n  seed: 3\n"
    )
    (directory / "source.yaml").write_text(text)
    report(**CELLS).write(directory / "v.h5")


def _units_only(directory: Path) -> None:
    spikes(range(20), np.linspace(0, 4, 20)).write(directory / "v.h5")
    convert(directory / "v.h5", directory / "source.nwb", metadata=SESSION)
    (directory / "v.h5").unlink()


def _circuit(dialect: str) -> Callable[[Path], object]:
    return lambda directory: circuits.write_run(directory / "source", dialect)


def _converted_circuit(directory: Path) -> None:
    config = circuits.write_run(directory / "run", "allen")
    convert(config, directory / "source.nwb", metadata=SESSION, circuit=True, edges=True)
    shutil.rmtree(directory / "run")


def _configuration(directory: Path) -> None:
    _golden("sonata", "exported_allen")(directory)
    config = directory / "source" / "simulation_config.json"
    json.loads(config.read_text())


_HAS_ZARR = find_spec("hdmf_zarr") is not None
_FILE = ("read", "info", "notebook", "frames", "plot", "view", "convert", *["zarr"] * _HAS_ZARR)
_NWB = (*_FILE, "check", "export")
_STATE = (*_FILE, "check", "export_state")
_CIRCUIT = ("circuit", "info", "convert", "group", "read", "frames", "plot", "view")
_DT = {"dt": 0.5}
_H5, _NWB_FILE = "source.h5", "source.nwb"

KINDS = (
    Kind("SONATA report, contiguous", _sonata("bbp"), _H5, _FILE),
    Kind(
        "SONATA report, gzip",
        _sonata("allen", chunks=(8, 3), compression="gzip", shuffle=True, fletcher32=True),
        _H5,
        _FILE,
    ),
    Kind("SONATA spikes", _sonata("spikes"), _H5, _FILE),
    Kind("SONATA potentials", _sonata("ecp"), _H5, _FILE),
    Kind("SONATA rates", _rates, _H5, _FILE),
    Kind(
        "SONATA configuration",
        _configuration,
        "source/simulation_config.json",
        _FILE,
        "source/*.json",
    ),
    Kind("SONATA directory", _configuration, "source", _FILE, "source/*"),
    *(
        Kind(f"SONATA circuit, {name}", _circuit(dialect), source, operations, f"source/{files}")
        for name, dialect, source, operations, files in (
            ("Allen", "allen", "source/simulation_config.json", _CIRCUIT, "**/*.*"),
            ("Blue Brain", "bbp", "source/simulation_config.json", _CIRCUIT, "**/*.*"),
            ("alone", "bbp", "source/circuit_config.json", _CIRCUIT[:3], "[cn]*/*.*"),
        )
    ),
    Kind("NWB, circuit", _converted_circuit, _NWB_FILE, (*_NWB, "circuit", "group")),
    Kind("text spikes", _text_spikes, "source.csv", _FILE),
    Kind("text rates", _text_rates, "source.csv", _FILE),
    Kind("NWB, contiguous", _converted(), _NWB_FILE, _NWB),
    Kind("NWB, gzip", _converted(compression="gzip"), _NWB_FILE, _NWB),
    Kind("NWB, quantized", _converted(quantize="0.01mV"), _NWB_FILE, _NWB),
    Kind("NWB, linked", _linked, _NWB_FILE, _NWB, "[sv]*.*"),
    Kind("NWB, merged", _golden("sonata", "sonata_merged.nwb"), _NWB_FILE, _NWB),
    Kind("NWB, units only", _units_only, _NWB_FILE, _NWB),
    Kind("NWB, network state", _golden("annarchy", "annarchy_state.nwb"), _NWB_FILE, _STATE),
    Kind("NWB, arrays", _golden("pymodaq", "pymodaq_saved.nwb"), _NWB_FILE, (*_FILE, "check")),
    Kind("NWB, 0.2.6", _golden_file("p026_pynwb112_lab.nwb"), _NWB_FILE, _NWB),
    Kind("NWB, simulation_output 0.2.0", _golden_file("simout020_pynwb101.nwb"), _NWB_FILE, _NWB),
    Kind(
        "NWB, stream that crashed",
        _golden("neuron", ".neuron_crashed*"),
        "neuron_crashed.nwb",
        ("recover",),
        ".neuron*",
    ),
    Kind("NWB, Zarr", _converted(".nwb.zarr"), "source.nwb.zarr", _NWB, "source.nwb.zarr/**/*"),
    Kind("Neuronvisio", _golden("neuronvisio", "storage.h5"), _H5, _FILE),
    Kind("PyMoDAQ", _pymodaq, _H5, _FILE),
    Kind("ANNarchy .txt", _annarchy(".txt"), "source.txt", _FILE, options=_DT),
    Kind("ANNarchy .npz", _annarchy(".npz"), "source.npz", _FILE, options=_DT),
    Kind("ANNarchy .gz", _annarchy(".gz"), "source.gz", _FILE, options=_DT),
    Kind("ANNarchy .mat", _annarchy(".mat"), "source.mat", _FILE),
    Kind("ANNarchy connectivity", _connectivity, "source.data", _FILE, options=_DT),
    Kind("ANNarchy parameters", _parameters, "source.json", ("parameters",)),
    Kind("ANNarchy monitor .npy", _monitors(".npy"), "source.npy", ("monitors",)),
    Kind("ANNarchy monitor HDF5", _monitors(".h5"), _H5, ("monitors",)),
    Kind("metadata", _metadata, "source.yaml", ("metadata",)),
    *(
        Kind(
            f"{name} of an open file",
            make,
            source,
            ("change",),
            "",
            {},
            overwrite,
            is_damaged_later=True,
        )
        for name, make, source in (
            ("contiguous data", _long(), _H5),
            ("compressed data", _long(chunks=(500, 3), compression="gzip"), _H5),
        )
    ),
    Kind("NWB on a server", _converted(), _NWB_FILE, ("serve",)),
    Kind(
        "NWB that changes on a server", _converted(), _NWB_FILE, ("serve",), is_damaged_later=True
    ),
    Kind("SONATA that refers elsewhere", _sonata("bbp"), _H5, ("refer",), "", {}, refer_elsewhere),
    Kind("NWB that refers elsewhere", _converted(), _NWB_FILE, ("refer",), "", {}, refer_elsewhere),
)
"""Every kind of file, in the order of the table."""

if not _HAS_ZARR:
    KINDS = tuple(kind for kind in KINDS if kind.name != "NWB, Zarr")


def _genuine(name: str, folder: str, files: str, *operations: str, **options: Any) -> Kind:
    """Return a kind of which each input is one of the genuine files, if they are there."""

    def make(directory: Path) -> None:
        (directory / "files").symlink_to(DATA / folder)

    return Kind(f"genuine {name}", make, "", operations or _FILE, f"files/{files}", options)


def _genuine_circuit(folder: str) -> Callable[[Path], object]:
    return lambda directory: shutil.copytree(DATA / "circuits" / folder, directory / "files")


GENUINE = (
    _genuine("SONATA", "sonata", "*.*5"),
    _genuine("Neuronvisio", "neuronvisio", "*.h5"),
    _genuine("PyMoDAQ", "pymodaq", "*/*.h5"),
    _genuine("NWB", "nwb", "*.nwb", *_NWB),
    _genuine("ANNarchy", "annarchy", "*/[cnp][oer]*.*", **_DT),
    _genuine("ANNarchy monitors", "annarchy", "*/monitor*", "monitors"),
    _genuine("ANNarchy parameters", "annarchy", "*/parameters.json", "parameters"),
    *(
        Kind(
            f"genuine {name}",
            _genuine_circuit(folder),
            "files/simulation_config.json",
            operations,
            f"files/{files}",
        )
        for name, folder, operations, files in (
            ("configuration", "allen/9_cells", _FILE, "*.json"),
            ("circuit, Allen", "allen/9_cells", _CIRCUIT, "network/*"),
            ("circuit, Blue Brain", "snap", _CIRCUIT, "*.*"),
        )
    ),
    _genuine("other", "other", "*/*.*"),
)
"""The files at ``NDX_TEST_DATA``, by what wrote them."""
