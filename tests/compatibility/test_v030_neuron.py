"""Files that 0.3.0 streamed from NEURON hold what NEURON's own vectors recorded of the run."""

import re
import shutil
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import CompartmentSeries, open_output
from ndx_simulation_output.neuronvisio import Manager
from tests.compatibility.packing import read_expected, unpack

LABELS = [f"Cell[{cell}].{part}" for cell in (0, 1) for part in ("soma", *["dend[0]"] * 3)]


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    return unpack("neuron", tmp_path_factory.mktemp("neuron"))


@pytest.fixture(scope="module")
def expected() -> dict:
    return read_expected("neuron")


def assert_spikes(spikes, expected) -> None:
    for cell, times in expected.items():
        own = spikes.times[spikes.node_ids == int(cell)] * 1e3
        np.testing.assert_allclose(own, times, rtol=0, atol=1e-9)
    assert len(spikes.times) == sum(map(len, expected.values())) > 0


def test_time_steps_and_intervals_of_them_read(golden, expected):
    known = {name: np.array(expected["fixed"][name]) for name in ("t", "v", "ina", "conductance")}
    # Every 0.5 ms from 1 ms on, and every 0.25 ms, of time steps of 0.025 ms.
    rows = {"v": slice(None), "ina": slice(40, None, 20), "conductance": slice(None, None, 10)}
    with open_output(golden / "neuron_fixed.nwb") as output:
        assert {report.name for report in output.reports} == set(rows)
        for name, taken in rows.items():
            found, values = output[name], known[name][taken]
            np.testing.assert_array_equal(found.data[:, :], values.astype(found.data.dtype))
            times = known["t"][taken] / 1e3
            np.testing.assert_allclose(found.times.seconds(), times, rtol=0, atol=1e-12)
        units = {one.name: (one.unit.name, one.unit.conversion) for one in output.reports}
        assert units == {
            "v": ("volts", 1e-3),
            "ina": ("amperes per square meter", 10.0),
            "conductance": ("siemens", 1e-6),
        }
        assert output["ina"].data.dtype == np.float32
        run = output.run
        assert (run.simulator, run.time_step, run.temperature) == ("NEURON", 2.5e-5, 6.3)
        assert_spikes(output.spikes[0], expected["fixed"]["spikes"])
        assert output.spikes[0].population == "pair"


def test_compartments_of_neuron_read(golden):
    with open_output(golden / "neuron_fixed.nwb") as output:
        table = output["v"].compartments
        columns = {name: np.asarray(values[:]) for name, values in table.columns.items()}

        assert np.asarray(table.cell_ids[:]).tolist() == [12, 4]
        assert columns["label"].tolist() == LABELS
        assert columns["number"].tolist() == [0, 1, 1, 1] * 2
        np.testing.assert_allclose(columns["position"], [1 / 2, 1 / 6, 1 / 2, 5 / 6] * 2)
        np.testing.assert_allclose(columns["x"], [np.nan, 25, 75, 100] * 2)
        np.testing.assert_allclose(columns["y"], [np.nan, 0, 0, 25] * 2)
        np.testing.assert_allclose(columns["diameter"], [20, 2, 2, 1.5, 21, 2, 2, 1.5])
        synapses = output["conductance"].compartments.columns["point_process"][:]
        assert np.asarray(synapses).tolist() == ["ExpSyn[0]", "ExpSyn[1]"]
        somata = output["v"].select(cells=4, labels="Cell[1].soma")
        assert somata.values.shape == (161, 1)


def test_steps_of_cvode_read_with_their_times(golden, expected):
    known = {name: np.array(values) for name, values in expected["variable"].items()}
    with open_output(golden / "neuron_variable.nwb") as output:
        report = output["v"]
        times, values = report.times.seconds() * 1e3, report.data[:, :]

    # At an event CVode stops too, and takes a step of no length; it goes on beyond the last time.
    steps, first = np.unique(known["t"], return_index=True)
    rows = np.abs(times[:, np.newaxis] - steps).argmin(axis=0)
    assert len(times) == 202
    assert np.ptp(np.diff(times)) > 0.01
    np.testing.assert_allclose(times[rows], steps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(values[rows], known["v"][first], rtol=0, atol=1e-9)
    assert len(np.unique(rows)) >= 200


def test_pynwb_alone_reads_a_stream(golden, expected):
    with NWBHDF5IO(str(golden / "neuron_variable.nwb"), "r") as io:
        series = io.read().acquisition["v"]
        frame = series.to_dataframe(4, start=0.001, stop=0.002)

        assert type(series) is CompartmentSeries
        assert series.rate is None
        assert len(series.timestamps) == len(series.data) == 202
        assert series.compartments.population == "pair"
        assert frame.shape[1] == 4
        times = np.array(frame.index)
        assert ((times >= 0.001) & (times < 0.002)).all()
    with NWBHDF5IO(str(golden / "neuron_fixed.nwb"), "r") as io:
        nwbfile = io.read()
        values = np.array(expected["fixed"]["v"])
        np.testing.assert_array_equal(nwbfile.acquisition["v"].data[:], values)
        np.testing.assert_array_equal(nwbfile.acquisition["v"].get_traces(12), values[:, :4] * 1e-3)
        units = nwbfile.units.to_dataframe()
        assert set(units["node_id"]) == {4, 12}
        assert set(units["population"]) == {"pair"}


@pytest.mark.parametrize("name", ["neuron_storage.h5", "neuron_manager.nwb"])
def test_a_manager_loads_what_it_recorded_of_neuron(golden, expected, name):
    known = expected["managed"]
    manager = Manager.load(golden / name)

    np.testing.assert_array_equal(manager.get_time(), known["t"])
    refs = {ref.sec_name: ref.vecs for ref in manager.refs["VecRef"]}
    assert refs.keys() == known["sections"].keys()
    for section, vecs in known["sections"].items():
        assert refs[section].keys() == vecs.keys()
        for variable, values in vecs.items():
            np.testing.assert_array_equal(refs[section][variable], values)
            np.testing.assert_array_equal(manager.get_vector(section, variable), values)


@pytest.mark.parametrize("name", ["neuron_storage.h5", "neuron_manager.nwb"])
def test_the_geometry_that_a_manager_saved_reads(golden, name):
    with open_output(golden / name) as output:
        table = output["v"].compartments
        columns = {key: np.asarray(table.columns[key][:]) for key in ("label", "x", "diameter")}

    places = {label: (x, diameter) for label, x, diameter in zip(*columns.values(), strict=True)}
    assert set(places) == set(LABELS)
    for cell in (0, 1):
        assert places[f"Cell[{cell}].dend[0]"] == pytest.approx((75, 2), rel=1e-6)


def test_what_a_process_that_died_has_left_is_recovered(golden, expected, tmp_path):
    for path in golden.glob(".neuron_crashed*"):
        shutil.copy(path, tmp_path)
    (command,) = entry_points(group="console_scripts", name="ndx-sim")
    target = tmp_path / "neuron_crashed.nwb"

    done = CliRunner().invoke(command.load(), ["recover", str(target)])

    assert done.exit_code == 0, done.output
    assert re.search(r"81 ", done.output)
    assert validate(path=str(target)) == []
    known = expected["crashed"]
    with open_output(target) as output:
        report = output["v"]
        np.testing.assert_array_equal(report.data[:, :], known["v"])
        np.testing.assert_allclose(report.times.seconds() * 1e3, known["t"], rtol=0, atol=1e-9)
        taken = {
            cell: [time for time in times if time < 2]
            for cell, times in expected["fixed"]["spikes"].items()
        }
        assert_spikes(output.spikes[0], taken)
