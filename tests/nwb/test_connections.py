"""Connections round-trip through NWB files: order, types and values, in bounded memory."""

import json
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputError
from ndx_simulation_output.nwb import reader, writer
from ndx_simulation_output.nwb.connections import make_connections, read_connections
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.types import Connections
from ndx_simulation_output.recording import (
    Categories,
    Circuit,
    ConnectionTable,
    SimulationOutput,
    sorting,
)
from ndx_simulation_output.storage.layout import StorageOptions
from ndx_simulation_output.storage.reading import wrap_array
from tests.sonata.making import SESSION


def many(size: int, *, is_sorted: bool = False, targets: int = 40) -> ConnectionTable:
    rng = np.random.default_rng(size)
    ids = 3 * rng.integers(0, targets, size).astype(np.uint64) + 2**40
    texts = np.array([None, "", "a", "é"], object)
    columns = {
        "syn_weight": rng.random(size),
        "conductance": rng.random(size).astype(np.float32),
        "delay": rng.random(size) * 10,
        "sec_id": rng.integers(-1, 9, size).astype(np.int32),
        "sec_x": np.where(rng.random(size) < 0.1, np.nan, rng.random(size)).astype(">f4"),
        "nsyns": rng.integers(0, 9, size).astype(np.uint16),
        "positions": rng.random((size, 3)),
        "is_big": rng.random(size) > 0.5,
        "half": rng.random(size).astype(np.float16),
        "model": Categories(rng.integers(-1, 2, size), ("AMPA", "GABA")),
        "text": texts[rng.integers(0, 4, size)],
        "different": np.array([f"e{row}" if row % 5 else None for row in range(size)], object),
        "@dynamics:a/b": rng.integers(-9, 9, size),
        "source": rng.random(size),
        "delay_index": rng.random(size),
    }
    return ConnectionTable(
        "a_to_b",
        "a",
        None,
        rng.integers(0, 2**40, size).astype(np.uint64),
        np.sort(ids) if is_sorted else ids,
        columns,
        {"syn_weight": "uS", "conductance": "nS", "delay": "ms"},
        {"file": "edges.h5", "groups": {"0": size}},
    )


def write(table, path, **storage):
    output = SimulationOutput(circuit=Circuit(connections=(table,)))
    options = StorageOptions(**storage)
    writer.write(output, path, metadata=read_metadata(SESSION), overwrite=True, storage=options)
    return path


def same(found: ConnectionTable, expected: ConnectionTable) -> None:
    """Assert that two tables are equal in order, types and values."""
    for name in ("name", "source", "target", "units", "provenance"):
        assert getattr(found, name) == getattr(expected, name), name
    assert list(found.columns) == list(expected.columns)
    arrays = {name: (found.columns[name], values) for name, values in expected.columns.items()}
    for name in ("source_ids", "target_ids"):
        arrays[name] = getattr(found, name), getattr(expected, name)
    for name, (one, other) in arrays.items():
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one[:], np.asarray(other[:]), name)


@pytest.mark.parametrize("size", [0, 1, 2000])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_connections_round_trip_through_a_file(tmp_path, size, is_sorted):
    table = many(size, is_sorted=is_sorted)
    path = write(table, tmp_path / "run.nwb")

    with reader.read(path) as output:
        (found,) = output.circuit.connections
        same(found, table)
        again = write(found, tmp_path / "again.nwb")
    with reader.read(again) as output:
        same(output.circuit.connections[0], table)
    assert validate(path=str(path)) == []


@pytest.mark.parametrize("name", ["run.nwb", "run.nwb.zarr"])
def test_connections_round_trip_without_compression_and_in_zarr(tmp_path, name):
    if name.endswith("zarr"):
        pytest.importorskip("hdmf_zarr")
    table = many(3000)

    with reader.read(write(table, tmp_path / name, compression="none")) as output:
        same(output.circuit.connections[0], table)


def test_unsorted_connections_are_sorted_a_range_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RANGE_ROWS", 64)
    monkeypatch.setattr(sorting, "BLOCK_ROWS", 50)
    for targets in (1, 3, 200):
        table = many(300, targets=targets)
        with reader.read(write(table, tmp_path / "run.nwb")) as output:
            same(output.circuit.connections[0], table)


def test_unsorted_connections_are_written_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RANGE_ROWS", 2**16)
    monkeypatch.setattr(sorting, "BLOCK_ROWS", 2**15)
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "edges.h5", "w") as file:
        for name in ("source", "target", "delay", "n"):
            file[name] = rng.integers(0, 1000, 2**20).astype("f4" if name == "delay" else "u4")
    with h5py.File(tmp_path / "edges.h5") as file:
        arrays = {name: wrap_array(file[name]) for name in file}
        source, target = arrays.pop("source"), arrays.pop("target")
        table = ConnectionTable("c", None, None, source, target, arrays)
        tracemalloc.start()
        write(table, tmp_path / "run.nwb")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 12 * 2**20  # The columns have 20 * 2**20 bytes.


@given(
    st.lists(st.floats(allow_nan=False) | st.floats(0, 100), min_size=1),
    st.sampled_from([np.float32, np.float64]),
)
def test_delays_are_exact_in_seconds_and_back(values, dtype):
    with np.errstate(over="ignore"):
        delays = np.array([*values, np.nan], dtype)
    ids = np.zeros(len(delays), int)
    table = ConnectionTable("c", None, None, ids, ids, {"delay": delays})

    found = read_connections(make_connections(table, "c"))

    assert found.columns["delay"].dtype == dtype
    np.testing.assert_array_equal(found.columns["delay"][:], delays)


def test_pynwb_alone_reads_connections(tmp_path):
    table = many(50)
    code = """
import json, sys
sys.modules["ndx_simulation_output"] = None
from pynwb import NWBHDF5IO
with NWBHDF5IO(sys.argv[1], "r") as io:
    table = io.read().lab_meta_data["simulation"].circuit.connections["a_to_b"]
    names = ("source", "weight", "delay", "section", "positions", "model", "file_order")
    row = {name: table[name][0].tolist() for name in names}
    texts = [*table["model"].target.categories, table["weight"].target.description]
    print(json.dumps([int(table.id[0]), row, texts]))
"""
    command = [sys.executable, "-c", code, str(write(table, tmp_path / "run.nwb"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert not done.returncode, done.stderr
    cell, row, texts = json.loads(done.stdout)
    rows = np.flatnonzero(table.target_ids == table.target_ids.min())
    assert cell == table.target_ids.min()
    assert row["file_order"] == rows.tolist()
    assert row["source"] == table.source_ids[rows].tolist()
    assert row["weight"] == table.columns["syn_weight"][rows].tolist()
    assert row["delay"] == (table.columns["delay"][rows] / 1000).tolist()
    assert row["positions"] == table.columns["positions"][rows].tolist()
    codes = table.columns["model"].codes[rows]
    assert row["model"] == np.where(codes < 0, 2, codes).tolist()
    assert texts == ["AMPA", "GABA", "", "syn_weight of each connection, in uS"]


def test_rows_of_text_are_shown_as_text(tmp_path):
    table = many(50)
    with NWBHDF5IO(write(table, tmp_path / "run.nwb"), "r") as io:
        stored = io.read().lab_meta_data["simulation"].circuit.connections["a_to_b"]
        rows = stored["file_order"][1]
        assert stored["model"][1].tolist() == [
            text or "" for text in table.columns["model"][:][rows]
        ]
        assert stored.to_dataframe()["text"].iloc[1].tolist() == [
            text or "" for text in table.columns["text"][rows]
        ]


def test_connections_of_a_cell_are_read_from_where_they_are_stored(tmp_path, monkeypatch):
    table = many(500)
    cells = table.target_ids[[3, 7]]
    expected = table.afferent(cells)
    with reader.read(write(table, tmp_path / "run.nwb")) as output:
        (stored,) = output.circuit.connections
        monkeypatch.delattr(sorting.SortOrder, "read")
        found = stored.afferent(cells)
    same(found, expected)
    assert (
        found.columns["edge_id"].tolist()
        == np.flatnonzero(np.isin(table.target_ids, cells)).tolist()
    )


def test_a_table_made_with_pynwb_is_read():
    columns = {"source": np.array([0, 2, 1]), "delay": np.array([1e-3, 2e-3, 1.1e-3])}
    table = Connections.from_arrays(np.array([7, 4]), np.array([2, 3]), columns, name="c")
    table.add_column("color", "A value for each cell", data=["red", "blue"])

    found = read_connections(table)

    assert (found.name, found.source, found.target) == ("c", None, None)
    assert found.target_ids[:].tolist() == [7, 7, 4]
    assert found.columns["delay"][:].tolist() == [1.0, 2.0, 1.1]
    assert found.columns["color"][:].tolist() == ["red", "red", "blue"]
    assert found.afferent([4]).source_ids.tolist() == [1]
    assert found.afferent([7]).columns["edge_id"].tolist() == [0, 1]


def test_damaged_tables_are_refused(tmp_path):
    path = write(many(100), tmp_path / "run.nwb")
    where = "general/simulation/circuit/a_to_b"
    for name, damage, message in (
        ("weight_index", lambda data: data[:1] + 1, "'weight' of table 'a_to_b' does not have"),
        ("file_order", lambda data: data[:1] + 1, "does not have each number up to 100 once"),
    ):
        with h5py.File(path, "a") as file:
            dataset = file[f"{where}/{name}"]
            before = dataset[:1]
            dataset[:1] = damage(dataset)
        with pytest.raises(ShapeMismatchError, match=message), reader.read(path) as output:
            output.circuit.connections[0].to_dataframe(["syn_weight"])
        with h5py.File(path, "a") as file:
            file[f"{where}/{name}"][:1] = before


@pytest.mark.parametrize("name", ["delay", "delay_rounding", "file_order"])
@pytest.mark.parametrize("damage", [lambda data: data.astype("S"), lambda data: data[:1]])
def test_columns_that_say_how_others_are_stored_have_a_number_for_each_connection(
    tmp_path, name, damage
):
    path = write(many(100), tmp_path / "run.nwb")
    with h5py.File(path, "a") as file:
        table = file["general/simulation/circuit/a_to_b"]
        values, attributes = table[name][:], dict(table[name].attrs)
        del table[name]
        table[name] = damage(values)
        table[name].attrs.update(attributes)
        table[f"{name}_index"].attrs["target"] = table[name].ref

    with pytest.raises(ShapeMismatchError, match=f"{name} of table 'a_to_b' is"):
        reader.read(path)


def test_ids_that_nwb_cannot_store_are_refused():
    ids = np.array([1, 2**63], np.uint64)
    table = ConnectionTable("c", None, None, ids, ids[::-1], {})

    with pytest.raises(SimulationOutputError, match=r"source_ids of 'c' has the id 9223372036854"):
        make_connections(table, "c")
