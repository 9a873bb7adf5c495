"""The demo network obeys its equations, and is described as promised."""

import json

import numpy as np
import pytest

from ndx_simulation_output.cable import simulate
from ndx_simulation_output.cable.morphology import Cables, axial_conductances
from ndx_simulation_output.cable.network import advance, build, initial_state
from ndx_simulation_output.cable.parameters import Parameters
from ndx_simulation_output.recording import SimulationOutput, Unit


@pytest.fixture(scope="module")
def output() -> SimulationOutput:
    return simulate()


def _straight_cable(*, count: int, length: float, diameter: float) -> Cables:
    centers = (np.arange(count) + 0.5) * length
    return Cables(
        cells=np.zeros(count, np.int64),
        sections=np.zeros(count, np.int64),
        positions=(np.arange(count) + 0.5) / count,
        parents=np.arange(count) - 1,
        lengths=np.full(count, length),
        diameters=np.full(count, diameter),
        centers=np.column_stack([centers, np.zeros((count, 2))]),
    )


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
    parameters = Parameters()
    network = build(np.random.default_rng(3), parameters)
    axial = axial_conductances(network.cables, parameters.axial_resistivity)
    arrivals = np.ones(len(network.cables.somata), np.bool_)
    drive = np.ones(len(network.cables), np.int64)

    state = advance(network, initial_state(network), arrivals, drive)

    assert np.abs(state.current).max() > 0
    np.testing.assert_allclose(state.current, axial @ state.voltage, atol=1e-12)


def test_a_network_without_drive_stays_silent() -> None:
    network = build(np.random.default_rng(3), Parameters())
    state = initial_state(network)
    arrivals = np.zeros(len(network.cables.somata), np.bool_)
    drive = np.zeros(len(network.cables), np.int64)

    for _ in range(400):
        state = advance(network, state, arrivals, drive)

    np.testing.assert_allclose(state.voltage, network.parameters.leak_reversal, atol=2)


def test_the_steady_potential_of_a_passive_cable_decays_as_cable_theory_says() -> None:
    # Rall (1959): cosh((l - x) / lambda) for a cable of length l that is sealed at its end.
    p = Parameters()
    cable = _straight_cable(count=200, length=5.0, diameter=2.0)
    injected = np.zeros(200)
    injected[0] = 0.01
    length_constant = 1e4 * np.sqrt(2e-4 / (4 * p.axial_resistivity * p.leak * 1e-3))

    leak = np.diag(p.leak * cable.areas * 1e3)
    voltage = np.linalg.solve(leak - axial_conductances(cable, p.axial_resistivity), injected)

    expected = np.cosh((1000 - cable.centers[:, 0]) / length_constant)
    assert np.all(np.diff(voltage) < 0)
    np.testing.assert_allclose(voltage / voltage[0], expected / expected[0], rtol=1e-3)


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
    with pytest.raises(ValueError, match="positive number of seconds, not"):
        simulate(duration=duration)
