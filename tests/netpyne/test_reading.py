"""JSON of NetPyNE off the beaten path: what may be wrong is refused, or told of in a note."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import NothingRecordedError, SourceError, UnitError
from ndx_simulation_output.netpyne import json_values
from ndx_simulation_output.netpyne.cells import segments_of
from ndx_simulation_output.netpyne.json_values import JsonFile, Numbers
from ndx_simulation_output.recording import Timestamps
from ndx_simulation_output.storage.temporary import GrowingArray

SOMA = {"sec": "soma", "loc": 0.5, "var": "v"}


def save(path: Path, data: dict[str, Any], *, version: str = "1.1.1", **parts: Any) -> Path:
    """Write a file with simData; ``parts`` are pops, cells, the other parts of net, and config."""
    config = {"recordStep": 0.1, "dt": 0.025, "duration": 0.4, **parts.pop("config", {})}
    pops = {name: {"cellGids": gids} for name, gids in parts.pop("pops", {}).items()}
    tree = {
        "net": {"pops": pops, **parts},
        "netpyne_version": version,
        "simConfig": config,
        "simData": data,
    }
    path.write_text(json.dumps(tree, indent=4, sort_keys=True), encoding="utf-8")
    return path


def traces(*gids: int, count: int = 4, **more: Any) -> dict[str, Any]:
    """Return simData with times, and a trace of the potential whose values are gids."""
    cells = {f"cell_{gid}": [float(gid)] * count for gid in gids}
    return {"t": [0.1 * at for at in range(count)], "V": cells, **more}


def test_cells_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """The order of their names is another one."""
    data = traces(10, 2, 1)
    path = save(
        tmp_path / "run.json",
        data,
        pops={"b": [1, 2], "a": [10]},
        config={"recordTraces": {"V": SOMA}},
    )

    with open_output(path) as output:
        assert [one.name for one in output.reports] == ["V_b", "V_a"]
        assert_array_equal(output["V_b"].data[1:3], [[1, 2], [1, 2]])
        assert output["V_a"].compartments.cell_ids[:].tolist() == [10]


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    """Python writes them as words."""
    data = {"t": [0.0, 0.1, 0.2], "V": {"cell_0": [np.nan, np.inf, -np.inf]}}
    path = save(tmp_path / "run.json", data, pops={"a": [0]})

    with open_output(path) as output:
        assert_array_equal(output["V"].data[:, 0], [np.nan, np.inf, -np.inf])


def test_a_place_is_pos_in_files_of_old_versions(tmp_path: Path) -> None:
    """Since 0.4.4 it is ``loc``, and ``pos`` means nothing."""
    entry = {"recordTraces": {"V": {"sec": "dend", "pos": 0.9, "var": "v"}}}
    old = save(tmp_path / "old.json", traces(0), pops={"a": [0]}, version="0.4.3", config=entry)
    new = save(tmp_path / "new.json", traces(0), pops={"a": [0]}, version="1.0.0", config=entry)

    for path, position in ((old, 0.9), (new, 0.5)):
        with open_output(path) as output:
            assert output["V"].compartments.columns["position"][:].tolist() == [position]


def test_names_of_sections_may_have_underscores(tmp_path: Path) -> None:
    """A key of a trace of all synapses ends with the position."""
    data = {"t": [0.0, 0.1], "g": {"cell_0": {"apic_1_0.25": [1, 2], "soma_0.5": [3, 4]}}}
    entry = {"recordTraces": {"g": {"synMech": "AMPA", "var": "g"}}}
    path = save(tmp_path / "run.json", data, pops={"a": [0]}, config=entry)

    with open_output(path) as output:
        columns = output["g"].compartments.columns
        assert columns["label"][:].tolist() == ["apic_1(0.25)", "soma(0.5)"]
        assert columns["number"][:].tolist() == [0, 1]
        assert_array_equal(output["g"].data[:], [[1, 3], [2, 4]])
        assert output["g"].unit.conversion == pytest.approx(1e-6)


def test_traces_of_two_lengths_are_refused(tmp_path: Path) -> None:
    """They are never padded."""
    data = traces(0)
    data["V"]["cell_1"] = [1.0]
    path = save(tmp_path / "run.json", data)

    with pytest.raises(SourceError, match=r"V of cell 0 has 4 values, and of cell 1 1, in .*run"):
        open_output(path)


def test_cells_without_values_are_left_out(tmp_path: Path) -> None:
    """A note names them."""
    data = traces(0)
    data["V"]["cell_1"] = {}
    path = save(tmp_path / "run.json", data)

    with open_output(path) as output:
        assert output["V"].data.shape == (4, 1)
        assert "left out: V of cells without values: 1" in output.notes


def test_times_of_adaptive_steps_are_kept(tmp_path: Path) -> None:
    """Without them, values are arrays without times."""
    data = {"t": [0.0, 0.1, 0.4, 0.5], "V": {"cell_0": [1, 2, 3, 4]}}
    timed = save(tmp_path / "timed.json", data, config={"recordStep": "adaptive"})
    del data["t"]
    untimed = save(tmp_path / "untimed.json", data, config={"recordStep": "adaptive"})

    with open_output(timed) as output:
        assert isinstance(output["V"].times, Timestamps)
        assert_allclose(output["V"].times.seconds(), [0, 1e-4, 4e-4, 5e-4])
    with open_output(untimed) as output:
        assert output.reports == ()
        assert_array_equal(output.arrays[0].arrays[0].values[:, 0], [1, 2, 3, 4])
        assert any("V has no times" in note and "'adaptive'" in note for note in output.notes)


def test_spikes_of_cells_in_no_population_are_kept(tmp_path: Path) -> None:
    """Ids are floats in the file."""
    data = {"spkt": [1.0, 2.0], "spkid": [5.0, 0.0]}
    path = save(tmp_path / "run.json", data, pops={"a": [0, 1]})

    with open_output(path) as output:
        first, others = output.spikes
        assert (first.population, others.population) == ("a", "cells")
        assert (first.node_ids.tolist(), first.times.tolist()) == ([0], [0.002])
        assert first.silent is not None
        assert first.silent.tolist() == [1]
        assert others.node_ids.tolist() == [5]
        assert any("population of some cells" in note for note in output.notes)


@pytest.mark.parametrize(
    ("recorded", "silent"), [(-1, [1, 2]), (["a"], [1, 2]), ([0, 2], [2]), ([], [])]
)
def test_only_recorded_cells_are_silent(tmp_path: Path, recorded: Any, silent: list[int]) -> None:
    """recordCellsSpikes lists them."""
    data = {"spkt": [1.0], "spkid": [0.0]}
    config = {"recordCellsSpikes": recorded}
    path = save(tmp_path / "run.json", data, pops={"a": [0, 1, 2]}, config=config)

    with open_output(path) as output:
        assert output.spikes[0].silent is not None
        assert output.spikes[0].silent.tolist() == silent


def test_files_of_nodes_are_joined(tmp_path: Path) -> None:
    """Potentials are added, and times are in the first file."""
    config = {"recordTraces": {"V": SOMA}, "recordLFP": [[1, 2, 3]]}
    one = traces(0, LFP=[[1.0], [2.0], [3.0], [4.0]], spkt=[1.0], spkid=[0])
    two = traces(1, LFP=[[10.0], [20.0], [30.0], [40.0]], spkt=[0.5], spkid=[1]) | {"t": {}}
    save(tmp_path / "lab_node_0.json", one, pops={"a": [0]}, config=config)
    save(tmp_path / "lab_node_1.json", two, pops={"a": [1]}, config=config)

    with open_output(tmp_path) as output:
        assert_array_equal(output["V"].data[0], [0, 1])
        assert_array_equal(output.potentials[0].data[:, 0], [11, 22, 33, 44])
        assert output.potentials[0].electrodes is not None
        assert output.potentials[0].electrodes.positions.tolist() == [[1, 2, 3]]
        assert output.spikes[0].node_ids.tolist() == [0, 1]
        assert_allclose(output["V"].times.seconds(), [0, 1e-4, 2e-4, 3e-4])


def test_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    """They have the same cells."""
    paths = [save(tmp_path / f"{name}.json", traces(0)) for name in "ab"]

    with pytest.raises(SourceError, match=r"cell_0 has V in .*a\.json and in .*b\.json; expected"):
        open_output(paths)


def test_connections_from_stimuli_and_unknown_cells_are_left_out(tmp_path: Path) -> None:
    """Notes say how many."""
    row = {"sec": "soma", "loc": 0.5, "synMech": "AMPA", "weight": 0.1, "delay": 1.5}
    sections = {"soma": {"synMechs": [{"label": "AMPA", "mod": "ExpSyn", "loc": 0.5}]}}
    cells = [
        {"gid": 1, "tags": {"pop": "a", "y": 3.0}, "secs": sections,
         "conns": [{**row, "preGid": 0}, {**row, "preGid": "NetStim"}, {**row, "preGid": 9}]},
        {"gid": 0, "tags": {"pop": "a", "kind": "x"}, "secs": {},
         "conns": [{**row, "preGid": 1, "weight": 0.2}]},
    ]  # fmt: skip
    path = save(tmp_path / "run.json", traces(0, 1), cells=cells)

    with open_output(path) as output:
        (projection,) = output.networks[0].projections
        assert projection.post_ranks[:].tolist() == [0, 1]
        assert projection.pre_ranks[:].tolist() == [1, 0]
        assert projection.quantities[0].values[:].tolist() == [0.2, 0.1]
        assert projection.quantities[0].unit.conversion == pytest.approx(1e-6)
        assert_array_equal(projection.delays[:], [0.0015, 0.0015])
        assert "left out: 1 connections from stimuli, which have no cell" in output.notes
        assert "left out: 1 connections of cells that are in no population" in output.notes
        assert_array_equal(output["V"].compartments.cell_columns["y"][:], [np.nan, 3.0])


def test_membrane_currents_have_labels_if_the_order_of_sections_is_known(tmp_path: Path) -> None:
    """Two children of a section may have been made in any order."""
    soma = {"geom": {"nseg": 1}}
    chain = {"dend": {"geom": {"nseg": 2}, "topol": {"parentSec": "soma"}}, "soma": soma}
    fork = {**chain, "axon": {"geom": {}, "topol": {"parentSec": "soma"}}}
    cells = [
        {"gid": 0, "tags": {"pop": "a"}, "secs": chain},
        {"gid": 1, "tags": {"pop": "b"}, "secs": fork},
    ]
    data = {"iMembrane": {"0": [[1.0, 2.0, 3.0]] * 2, "1": [[1.0, 2.0, 3.0, 4.0]] * 2}}
    path = save(tmp_path / "run.json", data, cells=cells)

    with open_output(path) as output:
        columns = output["i_membrane_a"].compartments.columns
        assert columns["label"][:].tolist() == ["soma(0.5)", "dend(0.25)", "dend(0.75)"]
        assert "label" not in output["i_membrane_b"].compartments.columns
        assert any("order in which their sections were made" in one for one in output.notes)
        assert output["i_membrane_a"].unit.conversion == pytest.approx(1e-9)
    assert segments_of({}) is None
    assert (
        segments_of({"a": {"topol": {"parentSec": "b"}}, "b": {"topol": {"parentSec": "a"}}})
        is None
    )


def test_any_other_value_is_kept_or_told_of(tmp_path: Path) -> None:
    """No key of a user is an error."""
    more = {"avgRate": 3.5, "mine": [1, 2, 3], "words": ["a", "b"], "deep": {"x": [[1], [2, 3]]},
            "none": None}  # fmt: skip
    path = save(tmp_path / "run.json", traces(0, **more))

    with open_output(path) as output:
        assert output.provenance["simData"]["avgRate"] == 3.5
        assert output.provenance["simData"]["words"] == ["a", "b"]
        assert_array_equal(output.arrays[0].arrays[0].values[:], [1, 2, 3])
        assert "left out: deep of simData" in output.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("0.30000000000000004", "0.3.4"), "not valid JSON"),
        (('"simData"', "simData"), "cannot be read as JSON"),
        (("cell_0", "cell"), None),
        (('"spkid": [\n            0', '"spkid": [\n            0.5'), "spkid that is not an id"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: Any, message: str | None) -> None:
    """The error names the file and the byte."""
    path = save(tmp_path / "run.json", traces(0, spkt=[1.0], spkid=[0]))
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))

    if message is None:
        open_output(path).close()
        return
    with pytest.raises(SourceError, match=rf"run\.json .*{message}"):
        open_output(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_files_that_end_early_are_refused(tmp_path: Path, part: float) -> None:
    """A disk may have been full."""
    path = save(tmp_path / "run.json", traces(*range(20)), pops={"a": [*range(20)]})
    text = path.read_text()
    path.write_text(text[: int(part * len(text))])

    with pytest.raises(SourceError, match=r"run\.json"):
        open_output(path)


def test_a_file_without_recordings_is_refused(tmp_path: Path) -> None:
    """As any other."""
    with pytest.raises(NothingRecordedError, match="no traces, spikes, potentials"):
        open_output(save(tmp_path / "run.json", {}))


def test_units_can_be_set(tmp_path: Path) -> None:
    """Those of a trace that does not occur are an error."""
    path = save(tmp_path / "run.json", traces(0))

    with open_output(path, unit={"V": "uV"}) as output:
        assert output["V"].unit.conversion == pytest.approx(1e-6)
    with pytest.raises(UnitError, match=r"unit is set for x, which is no trace of .*; traces: V"):
        open_output(path, unit={"x": "mV"})


NUMBERS = st.floats(width=64) | st.integers(-(2**40), 2**40)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(NUMBERS, max_size=30)
        | st.dictionaries(st.text(), inner, max_size=5)
    ),
    max_leaves=40,
)


@given(VALUES, st.sampled_from([7, 64, 2**20]), st.sampled_from([None, 1]))
def test_any_value_is_read_as_json_reads_it(
    tmp_path_factory: pytest.TempPathFactory, value: Any, block: int, indent: int | None
) -> None:
    """Whatever the size of blocks; lists of numbers are the same numbers."""
    path = tmp_path_factory.mktemp("json") / "value.json"
    path.write_text(json.dumps({"a": value, "b": [1, 2]}, indent=indent), encoding="utf-8")
    numbers = GrowingArray("f8")
    with pytest.MonkeyPatch.context() as patch, JsonFile(path) as file:
        patch.setattr(json_values, "_BLOCK", block)
        places = {}
        for name in file.members():
            file.peek()
            places[name] = file.position
            file.skip()
        file.seek(places["a"])
        plain = file.read()
        file.seek(places["a"])
        found = file.data(numbers)
    values = numbers.mapped()

    def restored(one: Any) -> Any:
        if isinstance(one, Numbers):
            size = int(np.prod(one.shape))
            return np.asarray(values[one.start : one.start + size]).reshape(one.shape).tolist()
        if isinstance(one, dict):
            return {name: restored(inner) for name, inner in one.items()}
        return one

    assert list(places) == ["a", "b"]
    assert repr(plain) == repr(json.loads(path.read_text(encoding="utf-8"))["a"])
    assert json.dumps(_floats(restored(found))) == json.dumps(_floats(value))


def _floats(value: Any) -> Any:
    """Return a value whose integers are floats, and rows of no numbers are no numbers."""
    if isinstance(value, dict):
        return {name: _floats(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_floats(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
