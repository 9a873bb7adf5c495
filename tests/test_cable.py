"""The demo network obeys its equations, and is described as promised."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ndx_simulation_output import open_output
from ndx_simulation_output.cable import CableParameters, Network, axial_conductances, simulate
from ndx_simulation_output.demo import run_demo
from ndx_simulation_output.recording import SimulationOutput, Unit


@pytest.fixture(scope="module")
def output() -> SimulationOutput:
    return simulate()


def test_both_populations_spike_and_their_spikes_are_ordered_by_time(
    output: SimulationOutput,
) -> None:
    for spikes in output.spikes:
        assert len(spikes.times) > 0
        assert spikes.node_ids.dtype == np.uint64
        assert np.all(np.diff(spikes.times) >= 0)
        assert spikes.times.min() >= 0
        assert spikes.times.max() <= 0.2


def test_cells_keep_ids_that_do_not_start_at_zero(output: SimulationOutput) -> None:
    exc, inh = output.spikes

    assert output["v_exc"].compartments.cell_ids.dtype == np.uint64
    assert list(output["v_exc"].compartments.cell_ids[:]) == list(range(8))
    assert list(output["v_inh"].compartments.cell_ids[:]) == [100, 101, 102]
    assert set(exc.node_ids) <= set(range(8))
    assert set(inh.node_ids) <= {100, 101, 102}


def test_a_spike_is_seen_in_the_recorded_potential_of_its_soma(output: SimulationOutput) -> None:
    spikes = output.spikes[1]
    time, cell = spikes.times[0], int(spikes.node_ids[0])

    around = output["v_inh"].select(cell, 0, start=time - 0.001, stop=time + 0.001)

    assert around.values[0, 0] < 0
    assert around.values.max() > 0


def test_potentials_stay_between_the_extremes_of_a_neuron(output: SimulationOutput) -> None:
    for name in ("v_exc", "v_inh"):
        report = output[name]

        assert report.data.dtype == np.float32
        assert report.unit == Unit("volts", 1e-3)
        assert report.data[:].min() > -100
        assert report.data[:].max() < 60


def test_the_tables_are_ragged_and_give_section_and_position(output: SimulationOutput) -> None:
    table = output["v_exc"].compartments
    dendrite = table.find(cells=0, numbers=1)

    assert len(set(table.counts())) > 1
    np.testing.assert_array_equal(table.columns["number"][dendrite], 1)
    expected = (np.arange(len(dendrite)) + 0.5) / len(dendrite)
    np.testing.assert_array_equal(table.columns["position"][dendrite], expected)


def test_potential_and_current_of_a_population_share_one_table(output: SimulationOutput) -> None:
    current = output["i_membrane"]

    assert current.compartments is output["v_exc"].compartments
    assert current.unit == Unit("amperes", 1e-9)


def test_the_transmembrane_currents_of_a_cell_sum_to_zero(output: SimulationOutput) -> None:
    report = output["i_membrane"]
    ends = report.compartments.ends[:]
    current = np.asarray(report.data[:], dtype=np.float64)

    net = np.add.reduceat(current, np.concatenate([[0], ends[:-1]]), axis=1)

    assert np.abs(current).max() > 0.1
    np.testing.assert_allclose(net, 0, atol=1e-6 * np.abs(current).max())


def test_the_membrane_passes_what_the_axial_currents_bring() -> None:
    network = Network(np.random.default_rng(3), CableParameters())
    axial = axial_conductances(network.compartments, network.parameters.axial_resistivity)
    arrivals = np.ones(len(network.somata), np.bool_)
    drive = np.ones(len(network.compartments), np.int64)

    network.advance(arrivals, drive)

    assert np.abs(network.current).max() > 0
    np.testing.assert_allclose(network.current, axial @ network.voltage, atol=1e-12)


def test_a_network_without_drive_stays_silent() -> None:
    network = Network(np.random.default_rng(3), CableParameters())
    arrivals = np.zeros(len(network.somata), np.bool_)
    drive = np.zeros(len(network.compartments), np.int64)

    for _ in range(400):
        network.advance(arrivals, drive)

    np.testing.assert_allclose(network.voltage, network.parameters.leak_reversal, atol=2)


def test_the_steady_potential_of_a_passive_cable_decays_as_cable_theory_says() -> None:
    # Rall (1959): cosh((l - x) / lambda) for a cable of length l that is sealed at its end.
    p = CableParameters()
    diameter, length, count = 2.0, 5.0, 200
    cable = np.zeros(count, [("parent", int), ("length", float), ("diameter", float)])
    cable["parent"], cable["length"], cable["diameter"] = np.arange(count) - 1, length, diameter
    injected = np.zeros(count)
    injected[0] = 0.01
    length_constant = 1e4 * np.sqrt(2e-4 / (4 * p.axial_resistivity * p.leak * 1e-3))

    leak = p.leak * np.pi * diameter * length * 1e-8 * 1e3
    conductances = leak * np.eye(count) - axial_conductances(cable, p.axial_resistivity)
    voltage = np.linalg.solve(conductances, injected)

    centers = (np.arange(count) + 0.5) * length
    expected = np.cosh((1000 - centers) / length_constant)
    assert np.all(np.diff(voltage) < 0)
    np.testing.assert_allclose(voltage / voltage[0], expected / expected[0], rtol=1e-3)


def _places(columns: Any) -> NDArray[np.float64]:
    return np.column_stack([columns[axis][:] for axis in "xyz"])


def test_every_compartment_touches_its_parent_in_space() -> None:
    network = Network(np.random.default_rng(3), CableParameters())
    compartments = network.compartments
    dendrites = np.flatnonzero(compartments["parent"] >= 0)
    parents = compartments["parent"][dendrites]

    gaps = np.linalg.norm(
        compartments["center"][dendrites] - compartments["center"][parents], axis=1
    )

    # From a soma a dendrite begins at the centre, else at the end of its parent; it may bend.
    length = network.parameters.compartment_length
    from_soma = np.isin(parents, network.somata)
    np.testing.assert_allclose(gaps[from_soma], length / 2)
    assert np.all(gaps[~from_soma] <= length * (1 + 1e-9))
    assert np.all(gaps[~from_soma] > 0.5 * length)
    np.testing.assert_array_equal(compartments["cell"][dendrites], compartments["cell"][parents])


def test_apical_dendrites_rise_and_basal_dendrites_do_not(output: SimulationOutput) -> None:
    table = output["v_exc"].compartments
    height = _places(table.columns) @ [0.0, 0.6, 0.8]

    for cell in table.cell_ids[:].tolist():
        (soma,) = table.find(cells=cell, numbers=0)
        trunk, branches = (table.find(cells=cell, numbers=which) for which in (1, [2, 3]))

        assert np.all(np.diff(height[trunk], prepend=height[soma]) > 0)
        assert height[branches].min() > height[trunk].max()


def test_places_of_the_demo_survive_sonata_and_nwb(
    output: SimulationOutput, tmp_path: Path
) -> None:
    list(run_demo(tmp_path))

    for source in ("sonata", "run.nwb", "sonata-again"):
        with open_output(tmp_path / source) as opened:
            for name in ("v_exc", "v_inh", "i_membrane"):
                columns = opened[name].compartments.columns
                expected = output[name].compartments.columns
                np.testing.assert_array_equal(_places(columns), _places(expected))
                np.testing.assert_array_equal(columns["diameter"][:], expected["diameter"])


def test_a_far_electrode_sees_less_than_a_near_one(output: SimulationOutput) -> None:
    (potential,) = output.potentials

    seen = np.ptp(potential.data[:], axis=0)

    assert potential.unit == Unit("volts", 1e-3)
    assert potential.electrodes is not None
    assert potential.electrodes.positions.shape == (4, 3)
    assert np.all(np.diff(seen) < 0)
    assert seen[0] > 1e-3


def test_one_seed_gives_one_result() -> None:
    first, again = simulate(duration=0.02, seed=5), simulate(duration=0.02, seed=5)

    for report in first.reports:
        np.testing.assert_array_equal(report.data[:], again[report.name].data[:])
    np.testing.assert_array_equal(first.potentials[0].data[:], again.potentials[0].data[:])


def test_another_seed_gives_another_result() -> None:
    first, other = simulate(duration=0.02, seed=5), simulate(duration=0.02, seed=6)

    assert not np.array_equal(first.potentials[0].data[:], other.potentials[0].data[:])


def test_samples_are_regular_and_start_at_zero(output: SimulationOutput) -> None:
    times = output["v_exc"].times.seconds()

    assert len(times) == 2000
    np.testing.assert_allclose(times[[0, 1, -1]], [0, 1e-4, 0.1999])


def test_the_run_says_how_it_was_made(output: SimulationOutput) -> None:
    run = output.run
    assert run.configuration is not None

    assert (run.simulator, run.duration, run.seed) == ("ndx-sim demo", 0.2, 1)
    assert run.time_step == pytest.approx(2.5e-5)
    assert json.loads(run.configuration)["axial_resistivity"] == 150


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_that_is_not_positive_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match=r"duration is .*; expected a positive number of seconds"):
        simulate(duration=duration)
