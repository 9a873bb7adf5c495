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
from ndx_simulation_output.nwb.spikes import order_of_positions, sort_times
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
