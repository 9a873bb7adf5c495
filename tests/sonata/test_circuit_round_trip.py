"""Circuits are written to SONATA: as they were read, or in the dialect of another reader."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output import sonata
from ndx_simulation_output.errors import TargetExistsError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.cells import Categories, CellTable
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable

CELLS = CellTable(
    "exc",
    np.array([0, 2, 1, 3]),
    {
        "x": np.array([0.0, 2.0, 1.0, np.nan], np.float32),
        "layer": np.array([2, 5, 3, 6]),
        "mtype": Categories(np.array([1, 0, -1, 1]), ("PV", "L5 PC", "never")),
        "morphology": np.array(["m1", None, 'the "second"', ""], object),
        "@dynamics:holding_current": np.array([0.1, 0.2, 0.3, 0.4]),
    },
    kind="biophysical",
)
VIRTUAL = CellTable("lgn", np.arange(3), {}, kind="virtual")
EDGES = ConnectionTable(
    "lgn_to_exc",
    "lgn",
    "exc",
    np.array([0, 1, 2, 2, 0]),
    np.array([3, 0, 0, 2, 3]),
    {
        "syn_weight": np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        "delay": np.full(5, 2.0, np.float32),
        "model_template": Categories(np.array([0, 0, 1, 1, 0]), ("Exp2Syn", "other")),
    },
)
NODE_SETS = {"L5": {"layer": 5}, "both": ["L5"]}
OUTPUT = SimulationOutput(circuit=Circuit((CELLS, VIRTUAL), (EDGES,), node_sets=NODE_SETS))


def _table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8")), delimiter=" "))


def test_a_circuit_in_memory_is_written_for_bmtk(tmp_path: Path) -> None:
    written = sonata.write(OUTPUT, tmp_path, dialect="allen")

    types = _table(tmp_path / "network" / "exc_node_types.csv")
    by_id = {int(row["node_type_id"]): row for row in types}
    with h5py.File(tmp_path / "network" / "exc_nodes.h5") as file:
        group = file["nodes/exc"]
        assert group["node_id"][:].tolist() == [0, 2, 1, 3]
        assert group["node_group_index"][:].tolist() == [0, 1, 2, 3]
        of_rows = [by_id[number] for number in group["node_type_id"][:].tolist()]
        assert [row["mtype"] for row in of_rows] == ["L5 PC", "PV", "NULL", "L5 PC"]
        assert [row["morphology"] for row in of_rows] == ["m1", "NULL", 'the "second"', ""]
        assert {row["model_type"] for row in of_rows} == {"biophysical"}
        assert group["0/x"].dtype == np.float32
        assert set(group["0"]) == {"x", "layer", "dynamics_params"}
        assert file.attrs["magic"] == 0x0A7A
    with h5py.File(tmp_path / "network" / "lgn_to_exc_edges.h5") as file:
        group = file["edges/lgn_to_exc"]
        assert group["source_node_id"].attrs["node_population"] == "lgn"
        assert group["0/syn_weight"][:].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
        index = group["indices/target_to_source"]
        assert index["node_id_to_range"][:].tolist() == [[0, 1], [1, 1], [1, 2], [2, 4]]
        assert index["range_to_edge_id"][:].tolist() == [[1, 3], [3, 4], [0, 1], [4, 5]]
    assert json.loads((tmp_path / "node_sets.json").read_text()) == NODE_SETS
    assert [note for note in written.left_out if "'both'" in note]


def test_a_circuit_in_memory_is_written_for_libsonata(tmp_path: Path) -> None:
    written = sonata.write(OUTPUT, tmp_path, dialect="bbp")

    with h5py.File(tmp_path / "network" / "exc_nodes.h5") as file:
        group = file["nodes/exc"]
        assert set(group) == {"0", "node_type_id"}
        assert group["0/layer"][:].tolist() == [2, 3, 5, 6]
        names = group["0/@library/mtype"].asstr()[:]
        assert names[group["0/mtype"][:]].tolist() == ["L5 PC", "", "PV", "L5 PC"]
        assert group["0/morphology"].asstr()[:].tolist() == ["m1", 'the "second"', "", ""]
        assert group["0/dynamics_params/holding_current"][:].tolist() == [0.1, 0.3, 0.2, 0.4]
    with h5py.File(tmp_path / "network" / "lgn_to_exc_edges.h5") as file:
        group = file["edges/lgn_to_exc"]
        assert group["0/conductance"][:].tolist() == [100.0, 200.0, 300.0, 400.0, 500.0]
        ranges = group["indices/source_to_target/node_id_to_ranges"][:]
        assert ranges.tolist() == [[0, 2], [2, 3], [3, 4]]
    config = json.loads((tmp_path / "circuit_config.json").read_text())
    assert [entry["populations"] for entry in config["networks"]["nodes"]] == [
        {"exc": {"type": "biophysical"}},
        {"lgn": {"type": "virtual"}},
    ]
    told = "\n".join(written.left_out)
    assert "syn_weight is conductance in this dialect: values are multiplied by 1000" in told
    assert "mtype: 1 missing values are empty text" in told
    assert "rows are in the order of ids" in told


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_nothing_is_written_if_a_file_exists(tmp_path: Path, dialect: Any) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "lgn_nodes.h5").write_text("mine")

    with pytest.raises(TargetExistsError, match="lgn_nodes"):
        sonata.write(OUTPUT, tmp_path, dialect=dialect)

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lgn_nodes.h5"]


def test_libsonata_reads_what_is_written_for_it(tmp_path: Path) -> None:
    libsonata = pytest.importorskip("libsonata", reason="libsonata is not installed")
    sonata.write(OUTPUT, tmp_path, dialect="bbp")

    config = libsonata.CircuitConfig.from_file(tmp_path / "circuit_config.json")
    nodes, edges = config.node_population("exc"), config.edge_population("lgn_to_exc")
    everything = nodes.select_all()

    assert config.node_population_properties("lgn").type == "virtual"
    assert nodes.get_attribute("layer", everything).tolist() == [2, 3, 5, 6]
    assert [*nodes.get_attribute("mtype", everything)] == ["L5 PC", "", "PV", "L5 PC"]
    assert [*nodes.get_attribute("morphology", everything)] == ["m1", 'the "second"', "", ""]
    currents = nodes.get_dynamics_attribute("holding_current", everything)
    assert currents.tolist() == [0.1, 0.3, 0.2, 0.4]
    assert (edges.source, edges.target) == ("lgn", "exc")
    assert [edges.afferent_edges(node).flatten().tolist() for node in range(4)] == [
        [1, 2],
        [],
        [3],
        [0, 4],
    ]
    assert edges.efferent_edges([0]).flatten().tolist() == [0, 4]
    assert edges.get_attribute("conductance", libsonata.Selection([1, 3])).tolist() == [200, 400]
    sets = libsonata.NodeSets.from_file(config.node_sets_path)
    assert sets.materialize("both", nodes).flatten().tolist() == [2]


def test_snap_reads_what_is_written_for_libsonata(tmp_path: Path) -> None:
    bluepysnap = pytest.importorskip("bluepysnap", reason="bluepysnap is not installed")
    sonata.write(OUTPUT, tmp_path, dialect="bbp")

    circuit = bluepysnap.Circuit(str(tmp_path / "circuit_config.json"))
    found = circuit.nodes["exc"].get()

    assert circuit.nodes.size == 7
    assert found["layer"].tolist() == [2, 3, 5, 6]
    assert found["mtype"].tolist() == ["L5 PC", "", "PV", "L5 PC"]
    assert found["@dynamics:holding_current"].tolist() == [0.1, 0.3, 0.2, 0.4]
    edges = circuit.edges["lgn_to_exc"].afferent_edges(3, ["@source_node", "conductance"])
    assert edges.to_numpy().tolist() == [[0, 100.0], [0, 500.0]]
    assert circuit.nodes["exc"].ids("L5").tolist() == [2]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_bmtk_reads_what_is_written_for_it(tmp_path: Path) -> None:
    pytest.importorskip("bmtk", reason="bmtk is not installed")
    from bmtk.utils.sonata.file import File

    sonata.write(OUTPUT, tmp_path, dialect="allen")
    network = tmp_path / "network"
    nodes = File(str(network / "exc_nodes.h5"), str(network / "exc_node_types.csv")).nodes["exc"]
    names = (f"lgn_to_exc_{name}" for name in ("edges.h5", "edge_types.csv"))
    edges = File(*(str(network / name) for name in names)).edges["lgn_to_exc"]

    read = {node.node_id: (node["layer"], node["mtype"], node["model_type"]) for node in nodes}
    assert read == {
        0: (2, "L5 PC", "biophysical"),
        2: (5, "PV", "biophysical"),
        1: (3, None, "biophysical"),
        3: (6, "L5 PC", "biophysical"),
    }
    onto = {
        node: [(edge.source_node_id, edge["syn_weight"]) for edge in edges.get_target(node)]
        for node in range(4)
    }
    assert onto == {0: [(1, 0.2), (2, 0.3)], 1: [], 2: [(2, 0.4)], 3: [(0, 0.1), (0, 0.5)]}
    assert [edge["model_template"] for edge in edges.get_source(2)] == ["other", "other"]
