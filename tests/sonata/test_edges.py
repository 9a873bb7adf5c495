"""Edges of SONATA circuits are read as they are: by id, group, index and type."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import SimulationOutput
from tests.sonata import circuits
from tests.sonata.making import SESSION, File


def read(directory: Path, edges: File, types=None, sizes=None) -> SimulationOutput:
    """Open a circuit of populations of nodes with these ``sizes``, of ``edges`` and their types."""
    nodes = File()
    for name, size in (sizes or {"a": 3, "b": 3}).items():
        nodes |= circuits.nodes({}, population=name, size=size, dialect="bbp")
    nodes.write(directory / "nodes.h5")
    edges.write(directory / "edges.h5")
    entry = {"edges_file": "edges.h5", "edge_types_file": types and types.name}
    networks = {"nodes": [{"nodes_file": "nodes.h5"}], "edges": [entry]}
    config = directory / "circuit_config.json"
    config.write_text(json.dumps({"networks": networks}), encoding="utf-8")
    return open_output(config)


def both(directory: Path, output: SimulationOutput) -> tuple:
    """Return the connections, and those of an NWB file that they were converted to."""
    target = directory / "run.nwb"
    convert(
        directory / "circuit_config.json",
        target,
        edges=True,
        circuit=False,
        metadata=SESSION,
        overwrite=True,
    )
    with open_output(target) as stored:
        (table,) = output.circuit.connections
        (found,) = stored.circuit.connections
        assert dict(table.provenance) == found.provenance
        assert (found.name, found.source, found.target) == (table.name, table.source, table.target)
        return facts(table), facts(found)


def facts(table) -> dict:
    arrays = {"source": table.source_ids, "target": table.target_ids, **table.columns}
    return {name: (array.dtype.str, array[:].tolist()) for name, array in arrays.items()}


def values(output: SimulationOutput, name: str) -> list:
    (table,) = output.circuit.connections
    return table.columns[name][:].tolist()


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_both_dialects_are_read(tmp_path, dialect):
    is_allen = dialect == "allen"
    columns = {"syn_weight": [0.1, 0.2, 0.3]}
    if not is_allen:
        columns = {
            "conductance": np.array([0.1, 0.2, 0.3], np.float32),
            "delay": np.array([2.0, np.nan, 2.0], np.float32),
        }
    types = circuits.table(tmp_path / "types.csv", [{"edge_type_id": 100, "delay": 2.0}])
    edges = circuits.edges([1, 2, 0], [0, 0, 3], columns, source="ca", target="ca", dialect=dialect)
    with read(tmp_path, edges, types if is_allen else None, {"ca": 4}) as output:
        assert not output.notes
        (table,) = output.circuit.connections
        assert (table.name, table.source, table.target) == (
            "ca_to_ca" if is_allen else "ca__ca__chemical",
            "ca",
            "ca",
        )
        assert [table.afferent(cell).columns["edge_id"].tolist() for cell in range(4)] == [
            [0, 1],
            [],
            [],
            [2],
        ]
        found, stored = both(tmp_path, output)
    np.testing.assert_array_equal(found["delay"][1], [2, 2 if is_allen else np.nan, 2])
    assert found["delay"][0] == ("<f8" if is_allen else "<f4")
    assert repr(stored) == repr(found)
    with h5py.File(tmp_path / "run.nwb") as file:
        stored = file[f"general/simulation/circuit/{table.name}"]
        weight = np.array([0.1, 0.2, 0.3], "f8" if is_allen else "f4")
        np.testing.assert_array_equal(stored["weight"], weight)
        described = "syn_weight of each connection"
        described = described if is_allen else "conductance of each connection, in nS"
        assert stored["weight"].attrs["description"] == described
        np.testing.assert_array_equal(stored["delay"][:1], [0.002])


def test_two_groups_are_joined_by_their_index(tmp_path):
    types = circuits.table(tmp_path / "types.csv", [{"edge_type_id": 5, "delay": 1.5}])
    edges = circuits.edges(
        [0, 1, 2, 3],
        [1, 0, 0, 4],
        {"syn_weight": [0.1, 0.2], "sec_id": np.array([4, 6], np.int32)},
        source="p",
        target="p",
        index=False,
        edge_type_id=np.full(4, 5, np.uint32),
        edge_group_id=np.array([0, 1, 1, 0], np.uint16),
        edge_group_index=np.array([1, 1, 0, 0], np.uint32),
        **{"1/syn_weight": np.array([8.0, 9.0]), "1/delay": np.array([7.0, 7.5])},
    )
    with read(tmp_path, edges, types, {"p": 5}) as output:
        assert values(output, "syn_weight") == [0.2, 9.0, 8.0, 0.1]
        np.testing.assert_array_equal(values(output, "sec_id"), [6, np.nan, np.nan, 4])
        # A value in the group goes before that of the type.
        assert values(output, "delay") == [1.5, 7.5, 7.0, 1.5]
        assert any("sec_id" in note and "float64" in note for note in output.notes)
        found, stored = both(tmp_path, output)
    assert repr(stored) == repr(found)


@pytest.mark.parametrize(
    "index", ["none", "indicies", "stale", "wrong shape", "wrong type", "short"]
)
def test_an_index_is_never_trusted(tmp_path, index):
    parts = {}
    where = "indicies" if index == "indicies" else "indices"
    if index != "none":
        ranges = np.array([[1, 2], [3, 4], [0, 1], [2, 3], [4, 5]], np.uint64)
        nodes = np.array([[0, 2], [2, 5]], np.uint64)
        nodes, ranges = {
            "stale": (np.array([[0, 1], [1, 2]]), np.array([[0, 2], [2, 5]])),
            "wrong shape": (nodes[:, 0], ranges),
            "wrong type": (nodes.astype(float), ranges),
            "short": (nodes[:1], ranges),
        }.get(index, (nodes, ranges))
        name = f"{where}/target_to_source"
        parts = {f"{name}/node_id_to_range": nodes, f"{name}/range_to_edge_id": ranges}
    columns = {
        "nsyns": np.array([2, 0, 1, 3, 1], np.uint16),
        "afferent_section_id": np.array([-1, 0, 3, 4, 5], np.int32),
        "afferent_section_pos": np.array([np.nan, 0.5, 0, 1, 0.25], np.float32),
    }
    edges = circuits.edges(
        [2, 0, 1, 2, 0], [1, 0, 1, 0, 1], columns, source="a", target="b", index=False, **parts
    )
    with read(tmp_path, edges, sizes={"a": 3, "b": 3}) as output:
        (table,) = output.circuit.connections
        afferent = [table.afferent(cell) for cell in range(3)]
        assert [one.columns["edge_id"].tolist() for one in afferent] == [[1, 3], [0, 2, 4], []]
        assert [int(one.columns["nsyns"].sum()) for one in afferent] == [3, 4, 0]
        is_told = [note for note in output.notes if "is not the index of target_node_id" in note]
        assert len(is_told) == (index not in {"none", "indicies"})
        found, stored = both(tmp_path, output)
    assert found["afferent_section_id"] == ("<i4", [-1, 0, 3, 4, 5])
    assert repr(stored) == repr(found)


def test_populations_are_those_of_attributes_or_of_a_known_name(tmp_path):
    for name, expected in (
        ("a_to_b", ("a", "b")),
        ("a__b__chemical", ("a", "b")),
        ("a_to_other", (None, None)),
        ("any", (None, None)),
    ):
        edges = circuits.edges([0], [1], {"syn_weight": [1.0]}, source="a", target="b")
        renamed = {key.replace("a_to_b", name): value for key, value in edges.datasets.items()}
        with read(tmp_path, File(renamed)) as output:
            (table,) = output.circuit.connections
            assert (table.source, table.target) == expected
            told = any("after its name" in note for note in output.notes)
            assert told == (expected != (None, None))
    older = File(
        edges.datasets,
        {f"edges/a_to_b/{end}_node_id": {"network": end} for end in ("source", "target")},
    )
    with read(tmp_path, older) as output:
        (table,) = output.circuit.connections
        assert (table.source, table.target) == ("source", "target")


@pytest.mark.parametrize("size", [0, 1, 300])
@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_any_number_of_unsorted_edges_with_types_and_text(tmp_path, size, dialect):
    rng = np.random.default_rng(size)
    types = circuits.table(
        tmp_path / "types.csv",
        [
            {"edge_type_id": 7, "delay": 2.5, "model": "static", "n": 3, "note": "NA"},
            {"edge_type_id": 3, "delay": None, "model": "Exp 2", "n": None, "note": ""},
        ],
    )
    kinds = rng.choice([3, 7, 9], size).astype(np.uint32)
    columns = {
        "syn_weight": rng.random(size),
        "text": [f"t{row % 3}" for row in range(size)],
        "place": rng.random((size, 2)),
    }
    edges = circuits.edges(
        rng.integers(0, 2**40, size),  # Beyond the population.
        rng.integers(0, 9, size) + 2**33,
        columns,
        source="a",
        target="b",
        dialect=dialect,
        index=False,
        edge_type_id=kinds,
        edge_id=10 * np.arange(size)[::-1].copy(),
    )
    with read(tmp_path, edges, types) as output:
        found, stored = both(tmp_path, output)
        if size:
            (table,) = output.circuit.connections
            cell = int(table.target_ids[0:1][0])
            ids = table.afferent(cell, ["model"]).columns["edge_id"].tolist()
            rows = np.flatnonzero(np.asarray(table.target_ids[:]) == cell)
            assert ids == (10 * (size - 1 - rows)).tolist()
    assert repr(stored) == repr(found)
    if size > 1:
        delays, notes = {7: 2.5, 3: np.nan, 9: np.nan}, {7: "NA", 3: "", 9: None}
        np.testing.assert_array_equal(found["delay"][1], [delays[kind] for kind in kinds.tolist()])
        assert found["note"][1] == [notes[kind] for kind in kinds.tolist()]


def test_damaged_edges_are_refused(tmp_path):
    for changes, message in (
        ({"source_node_id": None}, "no source_node_id"),
        ({"target_node_id": np.arange(3)}, "has 2 source_node_id and 3 target_node_id"),
        ({"edge_type_id": np.arange(1)}, r"edge_type_id of edges.h5 has shape \(1,\); expected 2"),
        ({"0/syn_weight": np.ones(1)}, "has 1 values; expected 2"),
        ({"target_node_id": np.array([0.5, 1])}, "0.5; expected integers"),
    ):
        edges = circuits.edges(
            [0, 1],
            [0, 1],
            {"syn_weight": [1.0, 2.0]},
            source="a",
            target="b",
            index=False,
            **changes,
        )
        with pytest.raises(SourceError, match=message), read(tmp_path, edges) as output:
            output.circuit.connections[0].target_ids[:]


def data(*names: str) -> Path:
    path = Path(os.environ.get("NDX_TEST_DATA", "data"), "circuits", *names)
    if not path.exists():
        pytest.skip("the genuine files are not there; set NDX_TEST_DATA to their directory")
    return path


@pytest.mark.parametrize(
    "name", ["allen/9_cells", "allen/300_pointneurons", "snap", "allen/edges/edge_index_example.h5"]
)
def test_genuine_edges_are_those_of_h5py(tmp_path, name):
    path = data(name)
    if path.suffix:
        with read(tmp_path, File(groups=["edges"])) as output:
            assert not output.circuit.connections
        path = tmp_path
        (tmp_path / "edges.h5").write_bytes(data(name).read_bytes())
    with open_output(path / "circuit_config.json") as output:
        assert not [note for note in output.notes if "index" in note]
        convert(path / "circuit_config.json", tmp_path / "run.nwb", edges=True, metadata=SESSION)
        with open_output(tmp_path / "run.nwb") as stored:
            for table, found in zip(
                output.circuit.connections, stored.circuit.connections, strict=True
            ):
                assert repr(facts(found)) == repr(facts(table))
                (file,) = path.rglob(table.provenance["file"])
                with h5py.File(file) as source:
                    group = source[f"edges/{table.name}"]
                    ids = group["target_node_id"][:]
                    for column, dataset in group["0"].items():
                        if column in table.columns and dataset.dtype.kind in "iuf":
                            np.testing.assert_array_equal(found.columns[column][:], dataset)
                    afferent = found.afferent(ids[-1]).columns["edge_id"]
                    np.testing.assert_array_equal(afferent, np.flatnonzero(ids == ids[-1]))
