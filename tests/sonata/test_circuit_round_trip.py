"""Circuits are written to SONATA: as they were read, or in the dialect of another reader."""

import csv
import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndx_simulation_output import (
    SimulationOutputWarning,
    convert,
    export_sonata,
    open_output,
    sonata,
)
from ndx_simulation_output.errors import ExportError, TargetExistsError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.cells import Categories, CellTable
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable
from ndx_simulation_output.sonata.places import ANGLES, QUATERNION, rotations
from tests.conftest import DATA
from tests.sonata import circuits
from tests.sonata.making import SESSION, File, differences

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


GENUINE = sorted((DATA / "circuits").rglob("circuit_config*.json"))
# Index datasets that were wrong, which are written as they should be.
COMPUTED = {
    f"edges/stale/indices/target_to_source/{name}"
    for name in ("node_id_to_range", "node_id_to_ranges", "range_to_edge_id")
}


def _there_and_back(
    source: Path, directory: Path, *, dialect: Any = None, edges: bool = True
) -> tuple[Path, sonata.Written]:
    """Convert and export a circuit; return the directory and what was written."""
    directory.mkdir(exist_ok=True)
    nwb, back = directory / "between.nwb", directory / "back"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        options = {"circuit": True, "edges": edges}
        convert(source, nwb, metadata=SESSION, overwrite=True, **options)
    return back, export_sonata(nwb, back, dialect=dialect, overwrite=True)


def _changes(source: Path, back: Path) -> list[str]:
    """Return the differences of the files of a directory from those of a source."""
    found: list[str] = []
    for path in (path for path in sorted(back.rglob("*")) if path.is_file()):
        original = source / path.relative_to(back)
        if not original.is_file():
            found.append(f"{original.name} is new")
        elif path.suffix == ".h5":
            found += differences(original, path)
        elif path.read_bytes() != original.read_bytes():
            found.append(f"{path.name} has {path.read_text()!r}")
    return found


def _write(directory: Path, nodes: File, edges: File | None = None, **types: str | bytes) -> Path:
    """Write a circuit with tables of types by ``node`` and ``edge``; return its configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    networks: dict[str, Any] = {"nodes": [], "edges": []}
    for kind, file in (("node", nodes), ("edge", edges)):
        if file is not None:
            file.write(directory / f"{kind}s.h5")
            entry = {f"{kind}s_file": f"$HERE/{kind}s.h5"}
            if kind in types:
                text = types[kind]
                content = text.encode() if isinstance(text, str) else text
                (directory / f"{kind}_types.csv").write_bytes(content)
                entry[f"{kind}_types_file"] = f"$HERE/{kind}_types.csv"
            networks[f"{kind}s"].append(entry)
    config = directory / "circuit_config.json"
    config.write_text(json.dumps({"manifest": {"$HERE": "."}, "networks": networks}))
    return config


@pytest.mark.skipif(not GENUINE, reason="there are no genuine circuits")
@pytest.mark.parametrize("config", GENUINE, ids=["-".join(path.parts[-3:]) for path in GENUINE])
def test_a_genuine_circuit_is_written_as_it_was(config: Path, tmp_path: Path) -> None:
    # With what was recorded, if that is there too.
    run = config.with_name("simulation_config.json")

    back, written = _there_and_back(run if (run.parent / "output").is_dir() else config, tmp_path)

    changes = _changes(config.parent, back)
    assert {change.split()[0] for change in changes} <= COMPUTED
    assert bool(changes) == (config.parent.name == "10_edge_indices")
    assert bool(changes) == any("computed again" in text for text in written.left_out)
    networks = json.loads(config.read_text())["networks"]
    named = {Path(entry[f"{kind}_file"]).name for kind in networks for entry in networks[kind]}
    assert named <= {path.name for path in written.files}


@pytest.mark.skipif(not GENUINE, reason="there are no genuine circuits")
def test_genuine_files_alone_are_written_as_they_were(tmp_path: Path) -> None:
    folder = DATA / "circuits" / "snap"
    for path in (folder / f"nodes_{name}.h5" for name in ("quaternions", "with_library_small")):
        source = tmp_path / path.stem
        config = _write(source, File())
        shutil.copy(path, source / "nodes.h5")

        back, _ = _there_and_back(config, source / "of")

        assert _changes(source, back) == [], path.name
    source = tmp_path / "edges"
    config = _write(source, circuits.nodes({}, size=5), File())
    shutil.copy(
        DATA / "circuits" / "allen" / "edges" / "edge_index_example.h5", source / "edges.h5"
    )

    back, _ = _there_and_back(config, source / "of")

    assert _changes(source, back) == []


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_a_whole_run_is_written_as_it_was(tmp_path: Path, dialect: str) -> None:
    config = circuits.write_run(tmp_path / "source", dialect)

    back, written = _there_and_back(config, tmp_path)

    changes = _changes(tmp_path / "source", back)
    # A line end is added to the table of electrodes, and the variable to a report of bmtk.
    known = ("electrodes.csv", "report/cortex/data@variable only in the second")
    assert [change for change in changes if not change.startswith(known)] == []
    assert not any("--circuit" in text for text in written.left_out)


def test_ids_and_indices_in_any_order_are_kept(tmp_path: Path) -> None:
    columns = {
        "x": np.arange(6.0),
        "@library/m": ["b", "never", "a"],
        "m": np.array([2, 0, 0, 2, 1, 1], "u1"),
    }
    nodes = circuits.nodes(
        columns,
        size=4,
        node_id=np.array([10, 30, 20, 40], np.uint64),
        node_group_index=np.array([4, 0, 4, 1], np.uint64),
    )
    edges = circuits.edges(
        [10, 40, 30], [20, 20, 10], {"syn_weight": [1.0, 2.0, 3.0]}, edge_id=[7, 9, 8]
    )
    config = _write(tmp_path / "source", nodes, edges, node="node_type_id ei\n100 e\n")

    back, _ = _there_and_back(config, tmp_path)

    assert _changes(tmp_path / "source", back) == []


@pytest.mark.parametrize("names", [["b", "a"], ["b"], np.array([3, 5]), np.float32([0.1, 2])])
def test_every_kind_of_library_is_kept(names: Any, tmp_path: Path) -> None:
    codes = {"@library/m": names, "m": np.uint8([1, 0, 1])}
    nodes = circuits.nodes({"x": np.arange(3)}, dialect="bbp")
    for folder in ("0", "0/dynamics_params"):
        nodes.datasets.update({f"nodes/cortex/{folder}/{path}": codes[path] for path in codes})
    config = _write(tmp_path / "source", nodes)

    back, _ = _there_and_back(config, tmp_path)

    assert not _changes(config.parent, back)


def test_every_kind_of_text_is_kept(tmp_path: Path) -> None:
    texts = {
        "variable": np.array(["ä", ""], h5py.string_dtype()),
        "ascii": np.array(["a", "b c"], h5py.string_dtype("ascii")),
        "fixed": np.array([b"abc", b""], "S5"),
        "utf8": np.array(["ä".encode(), b"x"], h5py.string_dtype("utf-8", 4)),
        "tail": np.array(["p", "q", "more"], h5py.string_dtype()),
        "pairs": np.arange(4.0).reshape(2, 2),
        "big": np.array([1, 2], ">i2"),
    }
    nodes = circuits.nodes({}, size=2, **{f"0/{name}": values for name, values in texts.items()})
    own = {"unit": np.bytes_(b"um"), "other": np.int16(3)}
    nodes |= File(attributes={"nodes/cortex/0/fixed": own})
    table = b'\xef\xbb\xbfpop_name node_type_id n\r\n"a ""b""" 100 NONE\r\nNA 7 NULL\r\n\r\n'
    config = _write(tmp_path / "source", nodes, node=table)

    back, _ = _there_and_back(config, tmp_path)

    assert _changes(tmp_path / "source", back) == []
    with h5py.File(back / "nodes.h5") as file:
        group = file["nodes/cortex/0"]
        kinds = {name: h5py.check_string_dtype(group[name].dtype) for name in texts}
        assert kinds["ascii"].encoding == "ascii"
        assert (kinds["utf8"].encoding, kinds["utf8"].length) == ("utf-8", 4)
        assert group["fixed"].attrs.get_id("unit").dtype == np.dtype("S2")


def test_nodes_and_edges_in_one_file_with_more_than_properties_are_kept(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(1100)]  # more than are stored as categories
    nodes = circuits.nodes(
        {"@library/m": names, "m": np.arange(5, dtype="u2") * 200},
        size=5,
        scale=np.float32(3),
        **{"0/flag": np.array([True, False, True, True, False])},
    )
    other = circuits.nodes({"x": [1.0]}, population="lgn")
    file = nodes | other | circuits.edges([0, 1], [1, 1], {"syn_weight": [1.0, 2.0]})
    file |= File(attributes={"nodes": {"note": "hello", "number": np.int32(3)}})
    source = tmp_path / "source"
    config = _write(source, file, node="node_type_id ei\n100 e\n")
    networks = json.loads(config.read_text())["networks"]
    networks["edges"] = [{"edges_file": "nodes.h5", "edge_types_file": "NULL"}]
    config.write_text(json.dumps({"manifest": {"$HERE": "."}, "networks": networks}))

    back, _ = _there_and_back(config, tmp_path)

    assert _changes(source, back) == []
    assert json.loads((back / "circuit_config.json").read_text())["networks"] == networks


@pytest.mark.parametrize(
    "damage",
    [
        {"layout": {}},
        {"layout": {"rows": 4, "datasets": []}},
        {"file": "../../outside.h5"},
        {"number": 2**70, "types_file": ["x"]},
    ],
    ids=str,
)
def test_a_damaged_provenance_is_an_error_or_is_not_used(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    layout = {"rows": 4, "kind": "node", "attributes": {}, "groups": [], "index": {}}
    entry = {"dtype": "<i8", "shape": [2**40], "column": "layer"}
    whole = {"format": "SONATA", "layout": {**layout, "datasets": {"0/layer": entry}}}
    cells = replace(CELLS, provenance={**whole, **damage})
    output = SimulationOutput(circuit=Circuit((cells,)))

    with suppress(ExportError):
        sonata.write(output, tmp_path / "back")

    assert [path.name for path in tmp_path.iterdir() if path.name != "back"] == []
    assert all(path.stat().st_size < 2**20 for path in (tmp_path / "back").rglob("*.h5"))


def test_files_elsewhere_are_written_into_the_directory(tmp_path: Path) -> None:
    config = circuits.write_run(tmp_path / "source", "allen")
    shutil.move(tmp_path / "source" / "network", tmp_path / "network")
    text = (tmp_path / "source" / "circuit_config.json").read_text()
    moved = text.replace("$BASE_DIR/network", "$BASE_DIR/../network")
    (tmp_path / "source" / "circuit_config.json").write_text(moved)

    back, written_files = _there_and_back(config, tmp_path)

    told = "circuit_config.json: names files of this directory instead of those of the source"
    assert told in written_files.left_out
    back = back.rename(tmp_path / "source" / "back")  # Where names of the source are of nothing.
    assert (back / "network" / "cortex_nodes.h5").is_file()
    written = json.loads((back / "circuit_config.json").read_text())
    assert written["components"] == json.loads(text)["components"]
    with open_output(config) as one, open_output(back / "simulation_config.json") as other:
        assert one.circuit is not None
        assert other.circuit is not None
        for cells in one.circuit.populations:
            found = other.circuit[cells.population].to_dataframe()
            pd.testing.assert_frame_equal(found, cells.to_dataframe())


_NUMBERS = ("<f4", "<f8", "<i4", "|u1", ">i2")


@st.composite
def _populations(draw: st.DrawFn, kind: str) -> File:
    """Draw nodes or edges: groups with datasets of any kind, ids and indices in any order."""
    size = draw(st.integers(1, 5))
    of_rows = {"min_size": size, "max_size": size}
    groups, index, lengths = np.zeros(size, np.int64), np.arange(size), {0: size, 1: 0}
    if draw(st.booleans()):
        groups = np.array(draw(st.lists(st.integers(0, 1), **of_rows)))
        for group in (0, 1):
            own = np.flatnonzero(groups == group)
            lengths[group] = len(own) + draw(st.integers(0, 2))
            places = st.integers(0, max(lengths[group] - 1, 0))
            index[own] = draw(st.lists(places, min_size=len(own), max_size=len(own)))
    ids = st.sampled_from([None, np.arange(size, dtype="<u8")[::-1] * 3])
    parts: dict[str, Any] = {
        f"{kind}_type_id": np.array(draw(st.permutations(range(size))), "<u4"),
        f"{kind}_id": draw(ids),
        f"{kind}_group_id": groups.astype("<u2"),
        f"{kind}_group_index": index.astype("<u8"),
    }
    if not groups.any() and np.array_equal(index, np.arange(size)) and draw(st.booleans()):
        parts |= {f"{kind}_group_id": None, f"{kind}_group_index": None}
    kinds = st.sets(st.sampled_from([*_NUMBERS, "text", "fixed", "library", "pair"]))
    for group, length in lengths.items():
        for of_dataset in draw(kinds) if length else ():
            parts |= _dataset(draw, str(group), of_dataset, length + draw(st.integers(0, 1)))
        if kind == "edge" and length and draw(st.booleans()):
            delays = st.lists(st.floats(0, 99, width=32), min_size=length, max_size=length)
            parts[f"{group}/delay"] = np.array(draw(delays), draw(st.sampled_from(["<f4", "<f8"])))
    if kind == "node":
        return circuits.nodes({}, size=size, **parts)
    ends = (draw(st.lists(st.integers(0, 4), **of_rows)) for _ in range(2))
    return circuits.edges(*ends, {}, index=draw(st.booleans()), **parts)


def _dataset(draw: st.DrawFn, group: str, kind: str, length: int) -> Mapping[str, Any]:
    name = f"{group}/{kind.strip('<>|')}"
    text = draw(
        st.lists(st.sampled_from(["", "a", "NULL", "ä b"]), min_size=length, max_size=length)
    )
    numbers = np.array(draw(st.lists(st.integers(0, 9), min_size=length, max_size=length)))
    if kind == "text":
        return {name: np.array(text, h5py.string_dtype())}
    if kind == "fixed":
        return {name: np.array([one.encode() for one in text], h5py.string_dtype("utf-8", 6))}
    if kind == "library":
        return {f"{group}/@library/library": ["b", "a", *"cdefghijk"], name: numbers.astype("u1")}
    if kind == "pair":
        return {name: np.stack([numbers, numbers], axis=1).astype("<f8")}
    folder = f"{group}/dynamics_params" if draw(st.booleans()) else group
    return {f"{folder}/{kind[1:]}": numbers.astype(kind)}


def _together(files: Iterable[File]) -> File:
    """Return one file with the populations of several, numbered."""
    found = File()
    for number, file in enumerate(files):
        datasets, attributes = (
            {path.replace("cortex", f"p {number}", 1): one for path, one in of_file.items()}
            for of_file in (file.datasets, file.attributes)
        )
        found |= File(datasets, attributes)
    return found


@settings(max_examples=2)
@given(
    nodes=st.tuples(*[_populations("node")] * 4).map(_together),
    edges=st.tuples(*[_populations("edge")] * 3).map(_together),
)
def test_any_circuit_is_written_as_it_was(nodes: File, edges: File) -> None:
    types = "{}_type_id ei n\n0 e 1\n1 i NULL\n2 e 3\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        tables = {kind: types.format(kind) for kind in ("node", "edge")}
        config = _write(source, nodes, edges, **tables)

        back, _ = _there_and_back(config, Path(folder))

        assert _changes(source, back) == []


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
    # libsonata takes a variable of a manifest for another that begins with its name.
    files = [entry["nodes_file"] for entry in config["networks"]["nodes"]]
    assert files == ["./network/exc_nodes.h5", "./network/lgn_nodes.h5"]
    assert [entry["populations"] for entry in config["networks"]["nodes"]] == [
        {"exc": {"type": "biophysical"}},
        {"lgn": {"type": "virtual"}},
    ]
    told = "\n".join(written.left_out)
    assert "syn_weight is conductance in this dialect: values are multiplied by 1000" in told
    assert "mtype: 1 missing values are empty text" in told
    assert "rows are in the order of ids" in told


@pytest.mark.parametrize("damage", ["float", "one dimension", "text", "no index"])
def test_an_index_of_another_kind_is_computed_again(tmp_path: Path, damage: str) -> None:
    path = "edges/a_to_a/indices/target_to_source/node_id_to_range"
    found = circuits.edges([1, 0], [0, 1], {"w": [1.0, 2.0]}, source="a", target="a")
    right = found.datasets[path]
    wrong = {
        "float": right.astype(float),
        "one dimension": right[:, 0],
        "text": right.astype("S1"),
        "no index": right[:0, :0],
    }
    found.datasets[path] = wrong[damage]
    nodes = circuits.nodes({"x": [0.0, 1.0]}, population="a")

    back, written = _there_and_back(_write(tmp_path, nodes, found), tmp_path / "out")

    is_told = any("computed again" in text for text in written.left_out)
    assert is_told == (damage != "float")  # Its values were right.
    with h5py.File(back / "edges.h5") as file:
        assert file[path][:].tolist() == right.tolist()


def test_ranges_that_begin_with_the_largest_number_are_kept(tmp_path: Path) -> None:
    path = "edges/a_to_a/indices/target_to_source/node_id_to_range"
    edges = circuits.edges([1, 0], [0, 0], {"w": [1.0, 2.0]}, source="a", target="a")
    edges.datasets[path] = np.array([[0, 1], [2**64 - 1, 0]], np.uint64)
    edges.datasets["edges/a_to_a/0/source_node_id"] = np.array([7, 8])
    nodes = circuits.nodes({"x": [0.0, 1.0]}, population="a")

    back, _ = _there_and_back(_write(tmp_path, nodes, edges), tmp_path / "out")

    assert _changes(tmp_path, back) == []


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_edges_of_large_ids_have_no_index(tmp_path: Path, dialect: Any) -> None:
    ids = np.array([1, 2**40], np.uint64)
    nodes = circuits.nodes({"x": [0.0, 1.0]}, population="a", node_id=ids)
    numbers = np.array([50, 40])
    edges = circuits.edges(
        ids, ids, {"w": [1.0, 2.0]}, source="a", target="a", index=False, edge_id=numbers
    )

    back, written = _there_and_back(
        _write(tmp_path, nodes, edges), tmp_path / "out", dialect=dialect
    )

    assert sum("ids are too large" in text for text in written.left_out) == 2
    with h5py.File(back / "network" / "a_to_a_edges.h5") as file:
        group = file["edges/a_to_a"]
        assert group["target_node_id"][:].tolist() == ids.tolist()
        assert group["edge_id"][:].tolist() == numbers.tolist()
        assert list(group["indices"]) == []


def test_numbers_that_libsonata_does_not_read_are_converted(tmp_path: Path) -> None:
    columns = {"big": np.array([1.5], ">f8"), "half": np.array([2], "f2"), "flag": np.array([True])}
    nodes = circuits.nodes(columns, population="a", dialect="bbp")

    back, _ = _there_and_back(_write(tmp_path, nodes), tmp_path / "out", dialect="bbp")

    with h5py.File(back / "network" / "a_nodes.h5") as file:
        found = {name: (one.dtype.str, one[0]) for name, one in file["nodes/a/0"].items()}
    assert found == {"big": ("<f8", 1.5), "half": ("<f4", 2), "flag": ("|u1", 1)}


def test_variables_that_only_bmtk_has_are_not_written_for_libsonata(tmp_path: Path) -> None:
    own = {
        "manifest": {"$BASE": "${configdir}", "$MODELS": "${BASE}/models"},
        "components": {"morphologies_dir": "$MODELS/swc"},
        "target_simulator": "NEURON",
    }
    circuit = Circuit((CELLS,), configuration=json.dumps(own))

    sonata.write(SimulationOutput(circuit=circuit), tmp_path, dialect="bbp")

    found = json.loads((tmp_path / "circuit_config.json").read_text())
    assert found["manifest"] == {"$BASE": ".", "$MODELS": "$BASE/models"}
    assert found["components"] == own["components"]
    assert "target_simulator" not in found


def test_names_that_no_reader_tells_apart_are_told(tmp_path: Path) -> None:
    cells = [CellTable(name, np.arange(2)) for name in ("a", "a", "b/c", "d")]

    written = sonata.write(SimulationOutput(circuit=Circuit(tuple(cells))), tmp_path)

    told = [text for text in written.left_out if "readers expect one population" in text]
    assert [text.partition(" in ")[0] for text in told] == ["'a'", "'b/c'"]


def test_quaternions_are_angles_for_bmtk(tmp_path: Path) -> None:
    parts = np.random.default_rng(1).normal(size=(4, 9)).astype(np.float32)
    parts[:, :3] = [[1, 1, 0], [0, 0, 0], [1, -1, 0], [0, 0, 0]]  # The last is no rotation.
    columns = dict(zip(QUATERNION, parts, strict=True))
    cells = CellTable("a", np.arange(9), columns)

    written = sonata.write(SimulationOutput(circuit=Circuit((cells,))), tmp_path, dialect="allen")

    assert [text for text in written.left_out if "rotation_angle_xaxis" in text]
    with h5py.File(tmp_path / "network" / "a_nodes.h5") as file:
        angles = {name: file[f"nodes/a/0/{name}"][:] for name in ANGLES}
    known = np.arange(9) != 2
    found, expected = rotations(angles, 9)[known], rotations(columns, 9)[known]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert all(np.isnan(values[2]) for values in angles.values())


def test_populations_that_the_configuration_does_not_name_are_told(tmp_path: Path) -> None:
    nodes = [circuits.nodes({"x": [0.0]}, population=name) for name in "abc"]
    edges = [circuits.edges([0], [0], {}, source=name, target="a") for name in "ab"]
    config = _write(tmp_path, _together(nodes), _together(edges))
    named = json.loads(config.read_text())
    named["networks"]["nodes"][0]["populations"] = {"a": {}}
    named["networks"]["nodes"].append({"nodes_file": "nodes.h5", "populations": {"b": {}}})
    named["networks"]["edges"][0]["populations"] = {"a_to_a": {}}
    config.write_text(json.dumps(named))

    with open_output(config) as output:
        told = [text for text in output.notes if "names other populations" in text]
        assert [text.partition(":")[0] for text in told] == [
            "c in nodes of nodes.h5",
            "b_to_a in edges of edges.h5",
        ]


def test_the_circuit_of_chosen_cells_is_whole(tmp_path: Path) -> None:
    config = circuits.write_run(tmp_path / "source")
    convert(config, tmp_path / "run.nwb", metadata=SESSION, circuit=True)

    written = export_sonata(tmp_path / "run.nwb", tmp_path / "chosen", cells={"layer": 5})

    assert any("the circuit has all cells" in text for text in written.left_out)
    with open_output(tmp_path / "chosen" / "simulation_config.json") as output:
        assert output.circuit is not None
        assert len(output.circuit["cortex"]) == 8
        assert output["v"].compartments.cell_ids[:].tolist() == [4, 5]
        assert output["v"].compartments.cell_columns["layer"][:].tolist() == [5, 5]


def test_a_file_without_tables_of_cells_tells_how_to_store_them(tmp_path: Path) -> None:
    config = circuits.write_run(tmp_path / "source")
    convert(config, tmp_path / "run.nwb", metadata=SESSION)

    written = export_sonata(tmp_path / "run.nwb", tmp_path / "back")

    assert any("convert --circuit stores them, and --edges" in text for text in written.left_out)
    assert not (tmp_path / "back" / "circuit_config.json").exists()
    with h5py.File(tmp_path / "back" / "v.h5") as file:
        assert "layer" not in file["report/cortex/mapping"]


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


@pytest.mark.skipif(not GENUINE, reason="there are no genuine circuits")
@pytest.mark.parametrize("run", ["9_cells", "300_pointneurons"])
def test_libsonata_reads_a_genuine_circuit_of_bmtk(run: str, tmp_path: Path) -> None:
    libsonata = pytest.importorskip("libsonata", reason="libsonata is not installed")
    source = DATA / "circuits" / "allen" / run / "circuit_config.json"

    back, _ = _there_and_back(source, tmp_path, dialect="bbp")

    config = libsonata.CircuitConfig.from_file(back / "circuit_config.json")
    with open_output(source) as output:
        assert output.circuit is not None
        for cells in output.circuit.populations:
            nodes = config.node_population(cells.population)
            frame = cells.to_dataframe().drop(columns="node_type_id")
            frame = frame.rename(columns={"dynamics_params": "params_file"})
            assert set(nodes.attribute_names) == set(frame)
            for name, values in frame.items():
                found = nodes.get_attribute(str(name), nodes.select_all())
                assert [*found] == values.fillna("").tolist()
        for table in output.circuit.connections:
            edges = config.edge_population(table.name)
            everything = edges.select_all()
            assert edges.source_nodes(everything).tolist() == table.source_ids[:].tolist()
            targets = np.asarray(table.target_ids[:])
            assert edges.target_nodes(everything).tolist() == targets.tolist()
            for node in (0, 4):
                onto = edges.afferent_edges(node).flatten().tolist()
                assert onto == np.flatnonzero(targets == node).tolist()
            weights = np.asarray(table.columns["syn_weight"][:])
            if run == "9_cells":
                conductances = edges.get_attribute("conductance", everything)
                assert np.array_equal(conductances, weights * 1000)
            else:  # The unit of weights of point neurons is not known.
                assert np.array_equal(edges.get_attribute("syn_weight", everything), weights)
            delays = np.asarray(table.columns["delay"][:]) if "delay" in table.columns else []
            assert len(delays) == 0 or [*edges.get_attribute("delay", everything)] == [*delays]


@pytest.mark.skipif(not GENUINE, reason="there are no genuine circuits")
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_bmtk_reads_a_genuine_circuit_of_bbp(tmp_path: Path) -> None:
    pytest.importorskip("bmtk", reason="bmtk is not installed")
    from bmtk.utils.sonata.file import File as BmtkFile

    source = DATA / "circuits" / "snap" / "circuit_config.json"

    back, written = _there_and_back(source, tmp_path, dialect="allen")

    entries = json.loads((back / "circuit_config.json").read_text())["networks"]
    names = {
        kind: [[str(back / name) for name in one.values()] for one in found]
        for kind, found in entries.items()
    }
    with open_output(source) as output:
        assert output.circuit is not None
        for cells, files in zip(output.circuit.populations, names["nodes"], strict=True):
            nodes = [*BmtkFile(*files).nodes[cells.population]]
            assert [node.node_id for node in nodes] == [*cells.ids]
            for name in set(cells.columns) - {"node_type_id"}:
                if not name.startswith("@dynamics:"):  # bmtk does not read them.
                    values = np.asarray(cells.columns[name][:]).tolist()
                    assert [node[name] for node in nodes] == values, name
        for table, files in zip(output.circuit.connections, names["edges"], strict=True):
            edges = [*BmtkFile(*files).edges[table.name]]
            assert [edge.target_node_id for edge in edges] == table.target_ids[:].tolist()
            assert [edge.source_node_id for edge in edges] == table.source_ids[:].tolist()
            for name in ("syn_weight", "delay", "afferent_section_pos"):
                assert [edge[name] for edge in edges] == table.columns[name][:].tolist()
    assert any("bmtk does not read dynamics_params" in text for text in written.left_out)
