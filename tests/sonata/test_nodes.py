"""The nodes of SONATA circuits: every variant of both dialects, and how they join recordings."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    SelectionError,
    SimulationOutputError,
    SimulationOutputWarning,
    SourceError,
)
from ndx_simulation_output.nwb.connections import marked_text
from ndx_simulation_output.recording import Categories, CellTable, SimulationOutput
from ndx_simulation_output.sonata.circuit_config import read_circuit_config
from tests.conftest import DATA
from tests.sonata import circuits
from tests.sonata.making import SESSION, File, report, spikes

CIRCUITS = DATA / "circuits"
_HINT = r"; pass nodes=False \(--no-nodes\) to read the run without its circuit"


def test_text_of_nodes_is_not_read_for_a_missing_value(tmp_path: Path, opened: Any) -> None:
    config = _write(tmp_path, {"node_type_id": np.zeros(2, np.int64), "0/name": ["a", "b"]})

    (cells,) = opened(config).circuit.populations
    stored, missing = marked_text(cells.columns["name"])

    assert stored is cells.columns["name"]
    assert missing is None


@pytest.fixture
def opened() -> Iterator[Any]:
    """Open outputs, and close them after the test."""
    outputs: list[SimulationOutput] = []

    def opening(*args: Any, **options: Any) -> SimulationOutput:
        outputs.append(open_output(*args, **options))
        return outputs[-1]

    yield opening
    for output in outputs:
        output.close()


def _write(directory: Path, datasets: Mapping[str, Any], types: str | bytes | None = None) -> Path:
    """Write a circuit of population p with ``datasets`` by path; return its configuration."""
    contents = {f"nodes/p/{path}": values for path, values in datasets.items()}
    File(contents, groups=["nodes/p"]).write(directory / "nodes.h5")
    entry = {"nodes_file": "$DIR/nodes.h5"}
    if types is not None:
        entry["node_types_file"] = "$DIR/types.csv"
        text = types if isinstance(types, bytes) else types.encode()
        (directory / "types.csv").write_bytes(text)
    return _configure(directory, [entry])


def _configure(directory: Path, nodes: list[Any], **others: Any) -> Path:
    path = directory / "circuit_config.json"
    config = {"manifest": {"$DIR": "${configdir}"}, "networks": {"nodes": nodes}, **others}
    path.write_text(json.dumps(config))
    return path


def _values(cells: CellTable, *names: str) -> dict[str, list[Any]]:
    """Return properties as lists, with None for missing numbers."""
    chosen = names or [name for name in cells.columns if not name.startswith("node_")]
    return {name: _known(cells.columns[name][:].tolist()) for name in chosen}


def _known(values: list[Any]) -> list[Any]:
    """Return values with None for NaN."""
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]


def _index(*index: int, groups: tuple[int, ...] | None = None) -> dict[str, Any]:
    numbers = np.zeros(len(index), np.uint32) if groups is None else np.array(groups, np.uint32)
    return {"node_group_id": numbers, "node_group_index": np.array(index, np.uint64)}


_TYPE = {"node_type_id": np.array([-1, -1, -1])}


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_both_dialects_have_the_same_properties(dialect: str, tmp_path: Path, opened: Any) -> None:
    output = opened(circuits.write_run(tmp_path, dialect))

    cells = output.circuit["cortex"]

    expected = circuits.properties()
    assert _values(cells, *expected) == {name: _known(one) for name, one in expected.items()}
    assert isinstance(cells.columns["mtype"], Categories)
    assert (cells.kind, output.circuit["lgn"].kind) == ("biophysical", "virtual")
    assert output.circuit.node_sets == circuits.NODE_SETS
    table = output.reports[0].compartments
    assert [*table.cell_columns["layer"][:]] == expected["layer"]
    assert table.node_sets == circuits.NODE_SETS
    assert _values(output.spikes[0].cells, "layer")["layer"] == expected["layer"]


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ({**_TYPE, "0/x": [5.0, 6.0, 7.0]}, {"x": [5, 6, 7]}),
        ({"node_type_id": np.uint32([7, 7])}, {"kind": ["v", "v"], "n": [1, 1]}),
        ({"node_type_id": np.uint32([7, 8]), **_index(0, 1)}, {"kind": ["v", "w"], "n": [1, None]}),
        ({"node_id": np.uint64([0, 1]), **_index(1, 0), "0/x": [1, 2]}, {"x": [2, 1]}),
        ({"node_type_id": np.uint64([7, 2**64 - 1])}, {"kind": ["v", None], "n": [1.0, None]}),
    ],
    ids=["no group datasets", "no group", "empty group", "no types", "unsigned -1"],
)
def test_parts_of_a_population_that_are_missing(
    datasets: dict[str, Any], expected: dict[str, Any], tmp_path: Path, opened: Any
) -> None:
    config = _write(tmp_path, datasets, "node_type_id kind n\n7 v 1\n8 w NULL\n")

    cells = opened(config).circuit["p"]

    assert _values(cells) == expected


def test_values_of_groups_precede_those_of_types(tmp_path: Path, opened: Any) -> None:
    types = (
        "pop_name node_type_id ei angle region depth n comment code day\r\n"
        '"Layer 5 PC" 1 e -9.9 NA 300 4 "he said ""hi""" 007 nan\r\n'
        "PV 2 e -9.9 SSp NULL 7 NONE 12 nan\r\n"
        'SST 3 e -9.9 None 12.5 NONE "" 13 1e3 \r\n\r\n'
    )
    datasets = {
        "node_type_id": np.uint64([1, 2, 3]),
        "0/ei": np.array(["i", "i", "i"], h5py.string_dtype()),
        "0/angle": [0.1, 0.2, 0.3],
    }
    output = opened(_write(tmp_path, datasets, b"\xef\xbb\xbf" + types.encode()))

    cells = output.circuit["p"]

    assert _values(cells) == {
        "angle": [0.1, 0.2, 0.3],
        "ei": ["i", "i", "i"],
        "pop_name": ["Layer 5 PC", "PV", "SST"],
        "region": ["NA", "SSp", "None"],
        "depth": [300, None, 12.5],
        "n": [4, 7, None],
        "comment": ['he said "hi"', None, ""],
        "code": ["007", "12", "13"],
        "day": [None, None, 1000],
    }
    assert output.notes == ("n is missing for nodes of p: integers were read as float64",)
    assert output.circuit.provenance["types"] == {"types.csv": "\ufeff" + types}


def test_a_library_gives_codes_their_text(tmp_path: Path, opened: Any) -> None:
    datasets = {
        "node_type_id": [-1, -1, -1],
        "node_id": [30, 10, 20],
        **_index(1, 0, 2),
        "0/mtype": np.uint8([0, 2, 2]),
        "0/@library/mtype": ["b", "never", "a"],
        "0/@library/unused": ["q"],
        "0/wrong": np.uint32([0, 5, 0]),
        "0/@library/wrong": ["only"],
        "0/dynamics_params/i_hold": np.float32([1, 0.5, 2]),
    }

    cells = opened(_write(tmp_path, datasets)).circuit["p"]

    assert _values(cells, "mtype", "@dynamics:i_hold") == {
        "mtype": ["a", "b", "a"],
        "@dynamics:i_hold": [0.5, 1, 2],
    }
    assert cells.columns["mtype"].names == ("b", "never", "a")
    assert "unused" not in cells.columns
    assert cells.columns["wrong"][1:2].tolist() == ["only"]
    wrong = r"nodes/p/0/wrong of nodes.h5 has the code 5 for node 30, .* has 1 entries"
    with pytest.warns(SimulationOutputWarning, match=wrong):
        assert cells.columns["wrong"][:].tolist() == [None, "only", "only"]
    assert cells.columns["wrong"][:].tolist() == [None, "only", "only"]  # Told once.


def test_rotations_are_properties_as_they_are(tmp_path: Path, opened: Any) -> None:
    datasets = {
        "node_type_id": np.uint64([1, 1]),
        "0/orientation_w": np.float32([2, np.nan]),
        "0/orientation_x": np.float32([0, 0]),
        "0/rotation_angle_yaxis": [0.5, 1.5],
    }
    types = "node_type_id rotation_angle_zaxis\n1 -0.25\n"

    cells = opened(_write(tmp_path, datasets, types)).circuit["p"]

    assert _values(cells) == {
        "orientation_w": [2, None],
        "orientation_x": [0, 0],
        "rotation_angle_yaxis": [0.5, 1.5],
        "rotation_angle_zaxis": [-0.25, -0.25],
    }
    assert cells.columns["orientation_w"].dtype == np.float32


def test_ids_and_indices_in_any_order(tmp_path: Path, opened: Any) -> None:
    datasets = {
        "node_id": np.uint64([10, 30, 20, 40]),
        "node_type_id": np.uint64([5, 4, 5, 4]),
        **_index(3, 0, 0, 5),
        "0/x": np.arange(6.0),
        "0/name": np.array([f"n{row}" for row in range(7)], h5py.string_dtype()),
        "0/kind": np.uint8([0, 1, 0, 1, 0, 1]),
        "0/@library/kind": ["a", "b"],
    }
    config = _write(tmp_path, datasets, "node_type_id layer\n4 40\n5 50\n")
    report((40, 7, 30, 10), (1, 1, 1, 1), population="p").write(tmp_path / "v.h5")
    spikes((30, 8), (0.1, 0.2), population="p").write(tmp_path / "spikes.h5")

    output = opened([config, tmp_path / "v.h5", tmp_path / "spikes.h5"])

    cells = output.circuit["p"]
    assert cells.ids.tolist() == [10, 30, 20, 40]
    assert _values(cells) == {
        "x": [3, 0, 0, 5],
        "name": ["n3", "n0", "n0", "n5"],
        "kind": ["b", "a", "a", "b"],
        "layer": [50, 40, 50, 40],
    }
    joined = output["v"].compartments.cells
    assert _values(joined) == {
        "x": [5, None, 0, 3],
        "name": ["n5", None, "n0", "n3"],
        "kind": ["b", None, "a", "b"],
        "layer": [40, None, 40, 50],
    }
    missing = "2 recorded cells of population 'p' are not in the circuit (ids 7, 8): their "
    assert [note for note in output.notes if "recorded cells" in note] == [
        missing + "properties are missing"
    ]


def test_groups_with_other_properties_and_types(tmp_path: Path, opened: Any) -> None:
    text = h5py.string_dtype()
    datasets = {
        "node_type_id": np.uint64([1, 2, 1, 2, 2]),
        **_index(0, 2, 1, 0, 1, groups=(0, 1, 0, 1, 1)),
        "0/x": [1.0, 2.0],
        "0/y": np.int16([3, 4]),
        "0/morphology": np.array(["m1", "m2"], text),
        "0/mtype": np.uint8([1, 0]),
        "0/@library/mtype": ["b", "a"],
        "0/label": np.array(["l", "k"], text),
        "0/dynamics_params/g": [0.1, 0.2],
        "1/x": np.int32([10, 20, 30]),
        "1/tau": [5.0, 6.0, 7.0],
        "1/mtype": np.uint8([0, 0, 1]),
        "1/@library/mtype": ["c", "a"],
        "1/label": [1, 2, 3],
        "1/positions": [[1.0, 1], [2, 2], [3, 3]],
    }
    types = "node_type_id model morphology tau\n1 bio csv NULL\n2 point NULL 99\n"
    output = opened(_write(tmp_path, datasets, types))

    cells = output.circuit["p"]

    names = [name for name in cells.columns if not name.startswith(("node", "positions"))]
    assert _values(cells, *names) == {
        "x": [1, 30, 2, 10, 20],
        "y": [3, None, 4, None, None],
        "morphology": ["m1", None, "m2", None, None],
        "mtype": ["a", "a", "b", "c", "c"],
        "label": ["l", "3", "k", "1", "2"],
        "tau": [None, 7, None, 5, 6],
        "model": ["bio", "point", "bio", "point", "point"],
        "@dynamics:g": [0.1, None, 0.2, None, None],
    }
    assert np.array_equal(cells.columns["positions"][2:5, 1], [np.nan, 1, 2], equal_nan=True)
    assert cells.columns["mtype"].names == ("b", "a", "c")
    assert cells.columns["node_group_index"][:].tolist() == [0, 2, 1, 0, 1]
    assert {note.split(":")[0] for note in output.notes} == {
        "y is missing in a group",
        "label is text in some groups and numbers in others",
    }


def test_populations_share_a_table_of_types(tmp_path: Path, opened: Any) -> None:
    types = np.uint64([1, 2])
    contents = {f"nodes/{name}/node_type_id": types for name in ("p", "q", "r")}
    File(contents).write(tmp_path / "nodes.h5")
    (tmp_path / "types.csv").write_text(
        "population node_type_id layer\np 1 4\nq 1 5\nNULL 2 6\np 3 7\n"
    )
    entry = {"nodes_file": "nodes.h5", "node_types_file": "types.csv"}
    config = _configure(tmp_path, [{**entry, "populations": {"q": {}, "p": {"type": "virtual"}}}])

    circuit = opened(config).circuit

    assert [(one.population, one.kind) for one in circuit.populations] == [
        ("q", ""),
        ("p", "virtual"),
    ]
    assert _values(circuit["p"]) == {"layer": [4, 6]}
    assert _values(circuit["q"]) == {"layer": [5, 6]}


def test_components_of_a_population(tmp_path: Path) -> None:
    own = {"morphologies_dir": "own", "alternate_morphologies": {"h5v1": "$DIR/h5"}}
    config = _configure(
        tmp_path,
        [{"nodes_file": "nodes.h5", "populations": {"p": own}}],
        components={"morphologies_dir": "m", "alternate_morphologies": {"neurolucida-asc": "asc"}},
    )
    File(groups=["nodes/p"]).write(tmp_path / "nodes.h5")

    read = read_circuit_config(config)

    assert read.components_of(read.nodes[0], "p") == {
        "morphologies_dir": tmp_path / "own",
        "alternate_morphologies": {"h5v1": tmp_path / "h5", "neurolucida-asc": tmp_path / "asc"},
    }
    assert read.components_of(read.nodes[0], "q")["morphologies_dir"] == tmp_path / "m"


def test_types_with_long_ids(tmp_path: Path, opened: Any) -> None:
    ids = np.int64([471087815, 5, -(2**63), 325404214, 2**63 - 1])
    types = f"node_type_id name\n471087815 a\n325404214 b\n9 c\n{2**63 - 1} d\n005 e\n"

    cells = opened(_write(tmp_path, {"node_type_id": ids.clip(-1)}, types)).circuit["p"]

    assert _values(cells) == {"name": ["a", "e", None, "b", "d"]}


@pytest.mark.parametrize("stated", [None, "", "NULL", "absent.csv", ...], ids=str)
def test_a_table_of_types_that_is_not_there(stated: Any, tmp_path: Path, opened: Any) -> None:
    _write(tmp_path, {**_TYPE, "0/x": [1.0, 2.0, 3.0]})
    entry = {} if stated is ... else {"node_types_file": stated}
    config = _configure(tmp_path, [{"nodes_file": "nodes.h5", **entry}])

    if stated == "absent.csv":
        with pytest.warns(SimulationOutputWarning, match=r"absent\.csv, named .* does not exist"):
            cells = opened(config).circuit["p"]
    else:
        cells = opened(config).circuit["p"]

    assert _values(cells) == {"x": [1, 2, 3]}


@pytest.mark.parametrize(
    "dtype",
    [
        *(h5py.string_dtype("ascii", length) for length in (None, 7)),
        *(h5py.string_dtype("utf-8", length) for length in (None, 7)),
        "padded",
    ],
    ids=str,
)
def test_text_of_any_type(dtype: Any, tmp_path: Path, opened: Any) -> None:
    texts = ["PC", "", "Zelle"]
    config = _write(tmp_path, {**_TYPE, "0/x": [0, 1, 2]})
    with h5py.File(tmp_path / "nodes.h5", "a") as file:
        group = file["nodes/p/0"]
        if dtype == "padded":
            padded = h5py.h5t.C_S1.copy()
            padded.set_size(7)
            padded.set_strpad(h5py.h5t.STR_SPACEPAD)
            space = h5py.h5s.create_simple((3,))
            dataset = h5py.h5d.create(group.id, b"kind", padded, space)
            dataset.write(space, space, np.array([text.ljust(7) for text in texts], "S7"), padded)
        else:
            group.create_dataset(
                "kind", data=np.array(texts, dtype if dtype.kind == "S" else object), dtype=dtype
            )

    assert _values(opened(config).circuit["p"], "kind") == {"kind": texts}


@pytest.mark.parametrize(
    ("datasets", "types", "message"),
    [
        ({"0/x": [1.0]}, None, "has no node_type_id; found: 0"),
        ({**_TYPE, "node_id": [1, 2, 1]}, None, "has 1 more than once"),
        ({**_TYPE, "node_id": [1, -2, 1]}, None, "has the negative id -2"),
        ({**_TYPE, "node_id": [1, 2]}, None, r"node_id of nodes.h5 has shape \(2,\); expected 3"),
        ({**_TYPE, "0/x": [1.0, 2]}, None, "0/x of nodes.h5 has 2 values; expected 3"),
        ({**_TYPE, **_index(0, 1, 9), "0/x": [1.0, 2, 3]}, None, "has 3 values; expected 10"),
        ({**_TYPE, "node_group_index": [0, 1, -1]}, None, "has -1; expected at least 0"),
        ({**_TYPE, "node_group_id": [0.5, 0, 0]}, None, "has the value 0.5; expected integers"),
        (
            {"node_type_id": np.arange(1001), "node_group_id": np.arange(1001)},
            None,
            "has more than 1000 groups",
        ),
        ({**_TYPE, "00/x": [1, 2, 3], "²/x": [1, 2, 3]}, "", "types.csv is empty"),
        (_TYPE, "a b\n1 2\n", "types.csv has the columns 'a, b'; expected node_type_id"),
        (_TYPE, "node_type_id a a\n", "and each name once"),
        (_TYPE, "node_type_id a\n1\n", "has a row of 1 values, '1'; expected 2"),
        (_TYPE, "node_type_id a\n1 x\n2 y\n1 z\n", "has type 1 more than once"),
        (_TYPE, "node_type_id a\nx 1\n", "has the type 'x'; expected an integer"),
        (_TYPE, f"node_type_id a\n{2**63} 1\n", "expected an integer below"),
        (_TYPE, 'node_type_id a\n1 "x\n', "cannot be read as a table with spaces"),
        (_TYPE, b"node_type_id a\n1 \xff\n", "types.csv cannot be read: 'utf-8' codec"),
    ],
)
def test_a_damaged_circuit_is_an_error_in_one_line(
    datasets: dict[str, Any], types: Any, message: str, tmp_path: Path
) -> None:
    run = circuits.write_run(tmp_path, "bbp")
    config = _write(tmp_path, datasets, types)
    simulation = {**json.loads(run.read_text()), "network": str(config)}
    run.write_text(json.dumps(simulation))

    with pytest.raises(SimulationOutputError, match=message + r".*") as caught:
        open_output(run)
    assert str(caught.value).endswith(_HINT.replace("\\", ""))
    assert "\n" not in str(caught.value)
    with pytest.raises(SimulationOutputError, match=message):
        open_output(config)
    with open_output(run, nodes=False) as output:
        assert output.circuit is None
        assert "layer" not in output.reports[0].compartments.cell_columns


def test_a_circuit_that_is_not_there_is_told_of(tmp_path: Path, opened: Any) -> None:
    run = circuits.write_run(tmp_path, "bbp")
    simulation = json.loads(run.read_text())
    run.write_text(json.dumps({**simulation, "network": "elsewhere.json"}))

    output = opened(run)

    assert output.circuit is None
    assert any("elsewhere.json, named by the configuration, does not" in n for n in output.notes)
    convert(output, tmp_path / "run.nwb", metadata=SESSION)
    with h5py.File(tmp_path / "run.nwb") as file:
        assert "the circuit elsewhere.json, named by" in file["general/notes"].asstr()[()]
    with pytest.raises(SourceError, match=r"elsewhere\.json.* does not exist"):
        open_output(run, nodes=True)
    with pytest.raises(SourceError, match=r"no configuration names a circuit.*\(--nodes\)"):
        open_output(tmp_path / "output", nodes=True)

    (tmp_path / "empty.json").write_text('{"networks": {"nodes": []}}')
    run.write_text(json.dumps({**simulation, "network": "empty.json"}))
    assert "names no existing file of nodes: cells have no properties" in opened(run).notes[0]
    with pytest.raises(SourceError, match=r"empty\.json names no existing file of nodes"):
        open_output(run, nodes=True)


def test_every_way_to_name_a_circuit(tmp_path: Path, opened: Any) -> None:
    run = circuits.write_run(tmp_path, "bbp")
    report = next((tmp_path / "output").glob("v*.h5"))
    both = tmp_path / "config.json"
    both.write_text('{"simulation": "simulation_config.json", "network": "circuit_config.json"}')
    simulation = json.loads(run.read_text())
    circuit = tmp_path / simulation.pop("network").rpartition("/")[2]
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps({**simulation, **json.loads(circuit.read_text())}))
    copied = tmp_path / "output" / "config.json"
    output = {"output": {"output_dir": "./output"}, "manifest": {"$NETWORK_DIR": "./network"}}
    copied.write_text(json.dumps(json.loads(whole.read_text()) | output))
    default = tmp_path / "simulation.json"
    default.write_text(json.dumps(simulation))
    alone = [[report, circuit], [circuit, report]]
    sources = [run, tmp_path, both, whole, default, *alone, copied.parent]

    for source in sources:
        output = opened(source)
        assert output.circuit["cortex"].ids[:].tolist() == [*range(8)]
        assert "layer" in output.reports[0].compartments.cell_columns
        assert not any("nodes.h5 contains" in note for note in output.notes)
        is_copy = any("read from the directory above the output" in note for note in output.notes)
        assert is_copy == (source == copied.parent)
    only = opened(circuit)
    assert not only.reports
    assert len(only.circuit.populations) == 2


def test_inputs_of_a_run_are_not_recordings(tmp_path: Path, opened: Any) -> None:
    config = circuits.write_run(tmp_path, "bbp")
    spikes((0, 1), (0.1, 0.2), population="cortex").write(tmp_path / "replayed.h5")
    (tmp_path / "output" / "lfp.h5").write_bytes(b"")
    simulation = json.loads(config.read_text())
    inputs = {"replay": {"spike_file": "replayed.h5"}, "again": {"spike_file": "output/spikes.h5"}}
    config.write_text(json.dumps({**simulation, "inputs": inputs}))

    output = opened(tmp_path)

    assert len(output.spikes[0].node_ids) == 8
    told = [note.rpartition("/")[2] for note in output.notes if note.startswith("left out")]
    assert told[:2] == ["lfp.h5 is empty", "replayed.h5, an input of the run"]


def test_properties_are_chosen(tmp_path: Path, opened: Any) -> None:
    config = circuits.write_run(tmp_path, "allen")

    output = opened(config, properties=["layer", "node_type_id"])

    assert [*output.reports[0].compartments.cell_columns] == ["layer", "node_type_id"]
    assert [*output.spikes[0].cells.columns] == ["layer", "node_type_id"]
    assert "mtype" in output.circuit["cortex"].columns
    assert [*opened(config, properties="x").reports[0].compartments.cell_columns] == ["x"]
    with pytest.raises(SelectionError, match="no property 'layers'; there are: ei, layer, mod"):
        open_output(config, properties="layers")
    with pytest.raises(SourceError, match=r"there is no circuit .* \(--properties\)"):
        open_output(config, properties=["layer"], nodes=False)


def test_of_many_properties_the_usual_ones_are_joined(tmp_path: Path, opened: Any) -> None:
    many = {f"0/p{number}": [1, 2, 3] for number in range(33)}
    config = _write(tmp_path, {**_TYPE, **many, "0/layer": [4, 5, 6], "0/xy": np.zeros((3, 2))})
    report((0, 1), (1, 1), population="p").write(tmp_path / "v.h5")

    output = opened([config, tmp_path / "v.h5"])

    assert [*output["v"].compartments.cell_columns] == ["layer"]
    assert "that recordings do not have: p0, p1, " in output.notes[-1]
    chosen = opened([config, tmp_path / "v.h5"], properties=["xy", "p3"])
    assert chosen["v"].compartments.cell_columns["xy"].shape == (2, 2)


def test_numbers_of_a_simulator_are_not_taken_for_ids(tmp_path: Path, opened: Any) -> None:
    config = _write(tmp_path, {**_TYPE, "0/layer": [4, 5, 6]})
    path = tmp_path / "spikes.h5"
    File({"spikes/gids": np.uint64([1, 2]), "spikes/timestamps": [0.1, 0.2]}).write(path)

    with pytest.warns(SimulationOutputWarning):
        output = opened([config, path])
    assert output.spikes[0].cells is None
    assert any("is not in the circuit, which has p" in note for note in output.notes)
    with pytest.warns(SimulationOutputWarning):
        named = opened([config, path], population="p")
    assert named.spikes[0].cells.columns["layer"][:].tolist() == [4, 5, 6]
    assert any("they were taken for ids of nodes of 'p'" in note for note in named.notes)


def test_parts_of_a_run_in_time_share_a_circuit(tmp_path: Path, opened: Any) -> None:
    config = _write(tmp_path, {**_TYPE, "0/layer": [4, 5, 6]})
    parts = []
    for number in range(2):
        parts.append(tmp_path / str(number) / "v.h5")
        parts[-1].parent.mkdir()
        start = 0.3 * number
        report((2, 0), (1, 1), population="p", time=(start, start + 0.3, 0.1)).write(parts[-1])

    output = opened([*parts, config])

    assert output["v"].data.shape == (6, 2)
    assert output["v"].compartments.cell_columns["layer"][:].tolist() == [6, 4]
    assert output.circuit["p"].columns["layer"][:].tolist() == [4, 5, 6]


def test_tables_of_cells_are_stored_if_asked(tmp_path: Path, opened: Any) -> None:
    config = circuits.write_run(tmp_path, "bbp")
    target = tmp_path / "run.nwb"

    def populations(source: Any, **options: Any) -> int:
        convert(source, target, metadata=SESSION, overwrite=True, **options)
        with open_output(target) as output:
            assert [one.name for one in output.circuit.summary] == ["cortex", "lgn"]
            return len(output.circuit.populations)

    assert populations(config) == 0
    assert populations(tmp_path / "circuit_config.json") == 2
    shutil.copy(target, tmp_path / "with.nwb")
    assert populations(tmp_path / "with.nwb") == 2
    with pytest.raises(SourceError, match=r"no circuit, which circuit=True \(--circuit\) stores"):
        convert(config, target, metadata=SESSION, overwrite=True, nodes=False, circuit=True)
    convert(config, target, metadata=SESSION, overwrite=True, nodes=False)
    with h5py.File(target) as file:
        assert "circuit" not in file["general/simulation"]


def test_options_of_the_command_line(tmp_path: Path) -> None:
    config, target = circuits.write_run(tmp_path, "bbp"), tmp_path / "run.nwb"
    command = ["convert", str(config), str(target), "--properties", "layer, mtype", "--circuit"]

    result = CliRunner().invoke(main, command)

    assert result.exit_code == 0, result.output
    with open_output(target) as output:
        assert [*output.spikes[0].cells.columns] == ["layer", "mtype"]
        assert len(output.circuit.populations) == 2
    result = CliRunner().invoke(main, ["info", str(config), "--no-nodes"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["info", str(config), "--properties", "nothing"])
    assert "error: cells of the circuit have no property 'nothing'" in result.output


@pytest.mark.skipif(not CIRCUITS.exists(), reason="the genuine circuits are not there")
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.SimulationOutputWarning")
def test_tricky_circuits_have_the_expected_values(opened: Any) -> None:
    expected = json.loads((CIRCUITS / "tricky" / "EXPECTED.json").read_text())
    checked = 0
    for directory, case in expected.items():
        for config in sorted((CIRCUITS / "tricky" / directory).rglob("circuit_config*.json")):
            circuit = opened(config).circuit
            for population, nodes in case.get("nodes", {}).items():
                if not isinstance(nodes, dict):
                    continue
                cells = circuit[population]
                assert cells.ids.tolist() == [int(node) for node in nodes]
                for row, node in enumerate(nodes.values()):
                    for name, value in node.items():
                        key = name if name in cells.columns else f"@dynamics:{name}"
                        found = _known(cells.columns[key][row : row + 1].tolist())[0]
                        assert found == pytest.approx(value)
                        checked += 1
    assert checked > 100


@pytest.mark.skipif(not CIRCUITS.exists(), reason="the genuine circuits are not there")
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.SimulationOutputWarning")
def test_genuine_circuits(opened: Any) -> None:
    nine = opened(CIRCUITS / "allen" / "9_cells")
    five = opened(CIRCUITS / "allen" / "5_cells_iclamp", properties=["model_name"])
    points = opened(CIRCUITS / "allen" / "300_pointneurons" / "circuit_config.json")
    snap = opened(CIRCUITS / "snap")

    assert _values(nine.reports[0].compartments.cells, "model_name") == {
        "model_name": ["Scnn1a"] * 3 + ["Rorb"] * 3 + ["Nr5a1"] * 3
    }
    assert nine.circuit["excvirt"].kind == "virtual"
    assert [*nine.reports[0].compartments.node_sets] == ["biophys_cells", "virtual_cells"]
    assert five["membrane_potential"].compartments.cell_columns["model_name"][:].tolist() == [
        *("Scnn1a", "Rorb", "Nr5a1", "PV1", "PV2")
    ]
    names = points.circuit["internal"].columns["model_name"][:].tolist()
    assert sum(name.startswith("PV") for name in names) == 60
    assert any("lfp_report.h5 is empty" in note for note in snap.notes)
    assert snap["soma_report_default2"].compartments.cell_columns["mtype"][:].tolist() == [
        *("L7_X", "L8_Y", "L8_Y")
    ]
    assert "only_exists_in_simulation" in snap.circuit.node_sets
    assert _values(snap.circuit["default2"], "mtype", "@dynamics:holding_current") == {
        "mtype": ["L7_X", "L8_Y", "L8_Y", "L9_Z"],
        "@dynamics:holding_current": [1.1, 1.2, 1.3, 1.4],
    }
