"""Cells without spikes and observation intervals round-trip through the table of units."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb import reader, writer
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.spikes import make_units, order_of_positions, sort_times
from ndx_simulation_output.recording import SimulationOutput, Spikes
from tests.sonata.making import SESSION


def spikes_of(population: str, ids, **others) -> Spikes:
    return Spikes(population, np.array(ids, np.int64), np.arange(len(ids)) / 10, **others)


PAUSED = np.array([[0.0, 0.2], [0.3, 0.5]])
EXC = spikes_of("exc", [4, 1, 4], silent=np.array([2, 0]), intervals=PAUSED)
INH = spikes_of("inh", [], silent=np.array([0, 1]), intervals=PAUSED[:1])
OTHER = spikes_of("other", [3])


@pytest.fixture
def file(tmp_path):
    writer.write(
        SimulationOutput(spikes=(EXC, INH, OTHER)),
        tmp_path / "run.nwb",
        metadata=read_metadata(SESSION),
    )
    return tmp_path / "run.nwb"


def test_a_silent_cell_is_a_unit_without_spikes(file):
    with NWBHDF5IO(file, "r") as io:
        units = io.read().units
        assert units["node_id"][:].tolist() == [0, 1, 2, 4, 0, 1, 3]
        assert [len(units["spike_times"][row]) for row in range(7)] == [0, 1, 0, 2, 0, 0, 1]
        intervals = [np.asarray(units["obs_intervals"][row]).tolist() for row in range(7)]
        assert intervals == [PAUSED.tolist()] * 4 + [PAUSED[:1].tolist()] * 2 + [[]]
    assert validate(path=str(file)) == []


def test_silent_cells_and_intervals_round_trip(file):
    with reader.read(file) as output:
        exc, inh, other = output.spikes

    assert (exc.node_ids.tolist(), exc.times.tolist()) == ([4, 1, 4], [0.0, 0.1, 0.2])
    assert exc.silent.tolist() == [0, 2]
    assert np.array_equal(exc.intervals, PAUSED)
    assert (len(inh.times), inh.silent.tolist()) == (0, [0, 1])
    assert np.array_equal(inh.intervals, PAUSED[:1])
    assert (other.silent, other.intervals) == (None, None)


def test_files_of_other_cells_are_joined(file, tmp_path):
    more = replace(EXC, node_ids=EXC.node_ids + 10, silent=EXC.silent + 10)
    late = replace(INH, silent=INH.silent + 10, intervals=PAUSED[1:])
    writer.write(
        SimulationOutput(spikes=(more, late)), tmp_path / "2.nwb", metadata=read_metadata(SESSION)
    )

    converted = convert([file, tmp_path / "2.nwb"], tmp_path / "all.nwb", metadata=SESSION)

    with open_output(converted.path) as output:
        exc, inh, _ = output.spikes
    assert exc.silent.tolist() == [0, 2, 10, 12]
    assert np.array_equal(exc.intervals, PAUSED)
    assert inh.silent.tolist() == [0, 1, 10, 11]
    assert inh.intervals is None
    assert any("when cells of population 'inh' were recorded" in note for note in converted.notes)


def test_intervals_have_a_start_and_a_stop():
    with pytest.raises(ShapeMismatchError, match=r"expected \(interval, 2\)"):
        spikes_of("exc", [], intervals=np.zeros(3))


@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, -0.0, 0.1]))))
def test_the_order_of_times_is_that_of_a_stable_sort(times):
    times = np.array(times)

    order, ordered = sort_times(times)

    np.testing.assert_array_equal(order, np.argsort(times, kind="stable"))
    assert ordered.tobytes() == times[order].tobytes()


@given(st.permutations(range(6)) | st.lists(st.integers(-1, 7), max_size=6))
def test_positions_are_sorted_as_by_a_stable_sort(positions):
    positions = np.array(positions, np.int64)
    expected = np.argsort(positions, kind="stable")
    np.testing.assert_array_equal(order_of_positions(positions), expected)


def sorted_at_once(populations):
    """Return the columns of the units and the orders of the sources, from whole arrays."""
    orders = [np.lexsort((one.times, one.node_ids)) for one in populations]
    facts = []
    for one, order in zip(populations, orders, strict=True):
        restored = order[np.argsort(one.times[order], kind="stable")]
        places = np.arange(len(order)).tolist()
        is_by_time = "by_time" if restored.tolist() == places else "source_position"
        facts.append("by_id" if order.tolist() == places else is_by_time)
    pairs = list(zip(populations, orders, strict=True))
    zeros = [np.zeros(len(order), np.int8) for order in orders]
    rounding = [
        one.columns.get("source_rounding", zero)[order]
        for (one, order), zero in zip(pairs, zeros, strict=True)
    ]
    columns = {"spike_times": [one.times[order] for one, order in pairs]}
    columns |= {"source_position": orders} if "source_position" in facts else {}
    if any(one.columns and len(one.times) for one in populations):
        columns["source_rounding"] = rounding
    counts = [
        int((one.node_ids == cell).sum())
        for one in populations
        for cell in np.union1d(one.node_ids, [] if one.silent is None else one.silent)
    ]
    return {name: np.concatenate(parts) for name, parts in columns.items()}, counts, facts


@st.composite
def populations_of_few_times(draw):
    found = []
    for name in draw(st.sampled_from(["a", "ab"])):
        pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
        keys = {"by_id": None, "by_time": lambda pair: pair[::-1], "none": lambda _: 0}
        pairs.sort(key=keys[draw(st.sampled_from(sorted(keys)))])
        ids, times = np.array(pairs, np.int64).reshape(-1, 2).T
        has_columns, silent = draw(st.booleans()), draw(st.none() | st.just(np.array([6, 9])))
        columns = {"source_rounding": np.arange(len(ids), dtype=np.int8)} if has_columns else {}
        found.append(Spikes(name, ids * 2**40, times / 10, columns, silent=silent))
    return found


@given(populations_of_few_times(), st.integers(1, 4), st.booleans())
def test_spikes_sorted_in_buckets_are_those_sorted_at_once(populations, size, in_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ndx_simulation_output.nwb.spikes._BUCKET", size)
        if in_file:
            patch.setattr("ndx_simulation_output.recording.sorting._FEW_BYTES", 0)
        units, facts = make_units(populations, None)

    columns, counts, orders = sorted_at_once(populations)
    assert [fact["order"] for fact in facts] == orders
    assert np.diff(units["spike_times"].data, prepend=0).tolist() == counts
    found = {name: units[name].target.data for name in columns if name in units.colnames}
    assert found.keys() == columns.keys() == {*units.colnames} - {"population", "node_id"}
    for name, expected in columns.items():
        assert (found[name].dtype, found[name].tobytes()) == (expected.dtype, expected.tobytes())
