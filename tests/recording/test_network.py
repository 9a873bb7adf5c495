"""Synapses in any order are sorted into rows of post-synaptic neurons."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.errors import (
    CellNotFoundError,
    MetadataError,
    RecordingError,
    ShapeMismatchError,
    SimulationOutputError,
    TargetExistsError,
)
from ndx_simulation_output.recording import (
    CompartmentTable,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    SimulationOutput,
)

SYNAPSES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1)), max_size=40)


@given(SYNAPSES)
def test_every_synapse_is_in_the_row_of_its_neuron_in_its_order(synapses):
    pre, post, weights = (np.array([one[place] for one in synapses]) for place in range(3))

    found = ProjectionSnapshot.from_synapses("p", pre, post, {"w": weights}, delays=weights)

    rows = np.repeat(found.post_ranks, np.diff(found.ends, prepend=0))
    expected = sorted(synapses, key=lambda one: one[1])
    assert list(zip(found.pre_ranks, rows, found.quantities[0].values, strict=True)) == expected
    np.testing.assert_array_equal(found.delays, found.quantities[0].values)


@given(SYNAPSES)
def test_the_list_of_synapses_makes_the_same_rows(synapses):
    pre, post, weights = (np.array([one[place] for one in synapses]) for place in range(3))
    made = ProjectionSnapshot.from_synapses("p", pre, post, {"w": weights}, delays=weights)

    listed = made.to_synapses()

    assert sorted(zip(*listed[:2], listed.values["w"], listed.delays, strict=True)) == sorted(
        zip(pre, post, weights, weights, strict=True)
    )
    again = ProjectionSnapshot.from_synapses("p", *listed[:3], delays=listed.delays)
    for name in ("post_ranks", "ends", "pre_ranks", "delays"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))


def test_values_of_many_synapses_are_listed_for_each():
    quantities = (Quantity("g", 2.0, "global"), Quantity("s", [1, 2], "semiglobal"))
    made = ProjectionSnapshot("p", [4, 7], [2, 3], [0, 1, 0], quantities, delays=0.001)

    listed = made.to_synapses()

    assert {name: values.tolist() for name, values in listed.values.items()} == {
        "g": [2.0, 2.0, 2.0],
        "s": [1, 1, 2],
    }
    assert listed.delays.tolist() == [0.001] * 3
    assert replace(made, delays=None).to_synapses().delays is None


def test_a_single_delay_is_that_of_all_synapses():
    found = ProjectionSnapshot.from_synapses("p", [0, 1], [1, 0], {}, delays=0.001)

    assert found.delays is not None
    assert found.delays.shape == ()


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(
        ShapeMismatchError, match=r"w of projection 'p' have shape \(1,\); expected"
    ):
        ProjectionSnapshot.from_synapses("p", [0, 1], [1, 0], {"w": [0.5]})


def test_cells_without_parts_have_one_compartment_each():
    table = CompartmentTable.from_cells("exc", [7, 3])

    assert table.find(cells=3, numbers=0).tolist() == [1]
    assert table.n_compartments == 2


@pytest.fixture
def state():
    cells = PopulationSnapshot("exc", (2,), (Quantity("v", np.array([-0.07, -0.06])),))
    return SimulationOutput(networks=(NetworkSnapshot("end", (cells,), time=0.1),))


METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}


def test_a_network_made_from_arrays_is_written(state, tmp_path):
    convert(
        state, tmp_path / "state.nwb", metadata=METADATA, storage=StorageOptions(compression="gzip")
    )

    with open_output(tmp_path / "state.nwb") as output:
        (network,) = output.networks
        assert network.populations[0].quantities[0].values[:].tolist() == [-0.07, -0.06]
        assert (
            output.session["NWBFile"]["session_start_time"].isoformat()
            == (METADATA["NWBFile"]["session_start_time"])
        )


def test_writing_a_network_does_not_replace_a_file_by_default(state, tmp_path):
    target = tmp_path / "state.nwb"
    convert(state, target, metadata=METADATA)

    with pytest.raises(TargetExistsError, match="exists already"):
        convert(state, target, metadata=METADATA)
    with pytest.raises(MetadataError, match="sections Nothing"):
        convert(state, target, metadata={"Nothing": {}}, overwrite=True)
    convert(state, target, metadata=METADATA, overwrite=True)


@pytest.mark.parametrize("step", [-1, 2**63, 2**70, 0.5, np.nan, np.inf])
def test_a_step_that_64_bits_cannot_hold_is_refused(step):
    with pytest.raises(SimulationOutputError, match="of state 'run'"):
        NetworkSnapshot("run", step=step)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_names_that_hdf5_cannot_store_are_refused(name):
    population = PopulationSnapshot("exc", (1,))

    with pytest.raises(RecordingError, match="contains NUL or a lone surrogate"):
        replace(population, name=name)
    with pytest.raises(RecordingError, match="contains NUL or a lone surrogate"):
        replace(population, quantities=(Quantity(name, np.zeros(1)),))
    with pytest.raises(RecordingError, match="contains NUL or a lone surrogate"):
        NetworkSnapshot(name)


@pytest.mark.parametrize("geometry", [(0,), (-2, -2)])
def test_a_geometry_without_neurons_is_refused(geometry):
    with pytest.raises(ShapeMismatchError, match="expected lengths of at least 1"):
        PopulationSnapshot("exc", geometry)


class Counted:
    """Numbers that count how many of them are read."""

    def __init__(self, values):
        self.values, self.read = np.asarray(values), 0
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __getitem__(self, key):
        self.read += self.values[key].size
        return self.values[key]


def test_what_some_neurons_receive_is_read_alone():
    pre = Counted(np.arange(9))
    quantities = (
        Quantity("w", Counted(np.arange(9.0))),
        Quantity("theta", np.array([0.1, 0.2, 0.3]), "semiglobal"),
        Quantity("eta", np.array(2.0), "shared"),
    )
    ends = np.array([2, 6, 9])
    whole = ProjectionSnapshot(
        "p", np.array([1, 3, 8]), ends, pre, quantities, delays=ends[2] * [0.5]
    )
    before = pre.read

    found = whole.afferent([8, 1])

    assert pre.read - before == found.quantities[0].values.size == 5
    assert found.post_ranks.tolist() == [1, 8]
    assert found.ends.tolist() == [2, 5]
    assert found.pre_ranks.tolist() == found.quantities[0].values.tolist() == [0, 1, 6, 7, 8]
    assert found.quantities[1].values.tolist() == [0.1, 0.3]
    assert found.quantities[2] is quantities[2]
    assert len(found.delays) == 5
    with pytest.raises(CellNotFoundError, match=r"neuron 2 receives no synapses .* at: 1, 3, 8"):
        whole.afferent(2)
