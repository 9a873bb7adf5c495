"""Files that 0.3.0 made of a network of ANNarchy hold what ANNarchy itself said of the network."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import open_output
from tests.compatibility.packing import read_expected, unpack

LOADED = ["state.nwb", "monitors.nwb", "network.npz", "network.txt"]
DT = 0.5
CONTAINED = {
    "state.nwb": {"exc", "L2/3 inh", "ragged", "of_a_view", "single/weight"},
    "weights.nwb": {"ragged", "of_a_view", "single/weight"},
    "monitors.nwb": {"exc", "L2/3 inh", "ragged", "of_a_view", "single/weight"},
    "network.npz": {"exc", "L2/3 inh", "ragged", "of_a_view", "single/weight"},
    "network.txt": {"exc", "L2/3 inh", "ragged", "of_a_view", "single/weight"},
}


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    return unpack("annarchy", tmp_path_factory.mktemp("annarchy"))


@pytest.fixture(scope="module")
def expected() -> Any:
    return read_expected("annarchy")


def opened(golden: Path, name: str):
    options = {} if name.endswith(".nwb") else {"dt": DT}
    return open_output(golden / f"annarchy_{name}", **options)


def flat(values: Any) -> list[Any]:
    """Values of neurons or synapses one after the other, whatever they are nested in."""
    if isinstance(values, dict):
        values = list(values.values())
    return list(chain.from_iterable(map(flat, values))) if isinstance(values, list) else [values]


@pytest.mark.parametrize("name", CONTAINED)
def test_every_quantity_of_a_state_reads(golden, expected, name):
    network = expected["network"]
    with opened(golden, name) as output:
        (state,) = output.networks
        parts = {part.name: part for part in (*state.populations, *state.projections)}

        assert set(parts) == CONTAINED[name]
        assert state.step == network["step"] == 40
        for part in parts.values():
            known = network[part.name]
            quantities = {one.name: one for one in part.quantities}
            for quantity in quantities.values():
                values = np.asarray(quantity.values[()]).ravel().tolist()
                every = flat(known[quantity.name])
                # One value where all neurons or synapses have it.
                assert values == (every if len(values) > 1 else list(dict.fromkeys(every)))
            assert {"v", "tau", "n"} <= set(quantities) or "w" in quantities


@pytest.mark.parametrize("name", CONTAINED)
def test_synapses_and_delays_of_a_state_read(golden, expected, name):
    with opened(golden, name) as output:
        (state,) = output.networks
        for projection in state.projections:
            known = expected["network"][projection.name]
            ranks = [int(rank) for rank in known["pre_ranks"]]
            assert np.asarray(projection.post_ranks[()]).tolist() == ranks
            assert np.asarray(projection.pre_ranks[()]).tolist() == flat(known["pre_ranks"])
            lengths = list(map(len, known["pre_ranks"].values()))
            assert np.asarray(projection.ends[()]).tolist() == np.cumsum(lengths).tolist()
            delays = np.asarray(projection.delays[()]).ravel() * 1e3
            every = flat(known["delay"])
            every = every if len(delays) > 1 else list(dict.fromkeys(every))
            np.testing.assert_allclose(delays, every, rtol=1e-12)


def test_a_state_in_nwb_says_how_the_network_was_made(golden):
    with opened(golden, "state.nwb") as output:
        (state,) = output.networks
        exc, inh = state.populations
        ragged, view, single = state.projections

        assert (state.time, state.time_step, state.seed) == (0.02, 5e-4, 11)
        assert (state.simulator, state.simulator_version) == ("ANNarchy", "5.0.3")
        assert (exc.geometry, inh.geometry) == ((3, 2), (4,))
        assert [(one.pre, one.post) for one in (ragged, view, single)] == [
            ("exc", "L2/3 inh"),
            ("exc", "L2/3 inh"),
            ("L2/3 inh", "exc"),
        ]
        assert "tau * dv/dt = -v + I + g_exc" in exc.model
        types = {one.name: (one.kind, one.locality, one.declared_type) for one in exc.quantities}
        assert types["tau"] == ("parameter", "global", "double")
        assert types["gate"] == ("parameter", "local", "bool")
        assert types["v"] == ("variable", "local", "double")


def test_pynwb_alone_reads_a_state(golden, expected):
    network = expected["network"]
    with NWBHDF5IO(str(golden / "annarchy_state.nwb"), "r") as io:
        nwbfile = io.read()
        state = nwbfile.acquisition["network"]
        tables = {
            one.title: one
            for one in nwbfile.objects.values()
            if getattr(one, "neurodata_type", "") in {"PopulationState", "ProjectionState"}
        }

        assert state.step == 40
        assert state.constant_name[:].tolist() == ["KC"]
        assert state.constant_value[:].tolist() == [2.5]
        assert tables["exc"]["v"].data[:].tolist() == flat(network["exc"]["v"])
        assert tables["exc"].geometry[:].tolist() == [3, 2]
        ragged = tables["ragged"]
        assert [row.tolist() for row in ragged["weight"][:]] == network["ragged"]["w"]
        pre_ranks = list(network["ragged"]["pre_ranks"].values())
        assert [row.tolist() for row in ragged["pre_rank"][:]] == pre_ranks


def test_recordings_of_monitors_read(golden, expected):
    monitors = expected["monitors"]
    with opened(golden, "monitors.nwb") as output:
        n, v, slow = output["exc_n"], output["exc_v"], output["L2_3 inh_n"]
        x, s = output["ragged_x"], output["ragged_s"]

        assert n.data[:, :].tolist() == monitors["exc"]["n"]
        assert v.data[:, :].tolist() == monitors["exc"]["v"]
        assert (v.unit.name, v.unit.conversion) == ("volts", 1e-3)
        assert slow.data[:, :].tolist() == monitors["slow"]["n"]
        assert x.data[:, :].tolist() == [flat(row) for row in monitors["synapses"]["x"]]
        assert s.data[:, :].tolist() == monitors["synapses"]["s"]
        # ``n`` counts time steps, so that a sample says itself when it was taken.
        for report in (n, slow):
            times = (report.data[:, 0] - 1) * DT / 1e3
            np.testing.assert_allclose(report.times.seconds(), times, rtol=0, atol=1e-12)
        np.testing.assert_allclose(x.times.seconds(), [0, 0.005, 0.01, 0.015], rtol=0, atol=1e-12)
        grid = [n.compartments.cell_columns[f"grid_{axis}"][:].tolist() for axis in (0, 1)]
        assert grid == [[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]]
        assert (slow.population, x.population) == ("L2/3 inh", "L2/3 inh")
        pre_ranks = flat(expected["network"]["ragged"]["pre_ranks"])
        assert x.compartments.columns["pre_rank"][:].tolist() == pre_ranks
        assert output.run.simulator == "ANNarchy"


def test_spikes_of_monitors_read(golden, expected):
    with opened(golden, "monitors.nwb") as output:
        spikes = {one.population: one for one in output.spikes}

    for population, monitor in (("exc", "exc"), ("L2/3 inh", "spikes")):
        steps = expected["monitors"][monitor]["spike"]
        found = spikes[population]
        for rank, taken in steps.items():
            own = found.times[found.node_ids == int(rank)] * 1e3
            np.testing.assert_allclose(own, np.array(taken) * DT, rtol=0, atol=1e-9)
        assert len(found.times) == len(flat(steps)) > 0
        assert found.silent.tolist() == [int(rank) for rank, taken in steps.items() if not taken]
        assert found.intervals.tolist() == [[0.0, 0.02]]


def test_recordings_of_a_saved_monitor_read(golden, expected):
    with opened(golden, "saved_monitors.nwb") as output:
        (report,) = output.reports

        assert report.population == "inh"
        assert report.data[:, :].tolist() == expected["monitors"]["slow"]["n"]
        times = 0.0005 + np.arange(len(report.data[:, :])) * 0.0015
        np.testing.assert_allclose(report.times.seconds(), times, rtol=0, atol=1e-12)


def test_the_json_of_parameters_is_as_it_was(golden):
    text = (golden / "annarchy_parameters.json").read_text(encoding="utf-8")

    assert json.loads(text) == {
        "populations": {"exc": {"tau": 10.0}, "L2/3 inh": {"tau": 10.0}},
        "projections": {"ragged": {"eta": 0.01}, "of_a_view": {}, "single/weight": {}},
        "network": {"seed": 11},
        "constants": {"KC": 2.5},
    }


@pytest.fixture(scope="module")
def loaded(golden, tmp_path_factory) -> Any:
    """What a network of ANNarchy has after it has loaded each file, in a process of its own."""
    if find_spec("ANNarchy") is None or not version("ANNarchy").startswith("5"):
        pytest.skip("ANNarchy 5, which made the files, is not installed: pip install 'ANNarchy>=5'")
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        # The build of ANNarchy 5 asks for the environment of Python by this variable.
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.compatibility.load_v030_annarchy", str(golden)],
        cwd=tmp_path_factory.mktemp("compiled"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    _, marker, text = done.stdout.rpartition("found: ")
    assert marker, done.stdout[-1000:] + done.stderr[-3000:]
    return json.loads(text)


@pytest.mark.parametrize("name", LOADED)
def test_a_network_loads_a_golden_state(loaded, expected, name):
    found = loaded[f"annarchy_{name}"]

    assert found["facts"] == expected["network"]
    assert found["missing"] == found["skipped"] == found["notes"] == []


def test_a_network_loads_golden_weights_alone(loaded, expected):
    found = loaded["annarchy_weights.nwb"]["facts"]

    for name in CONTAINED["weights.nwb"]:
        assert found[name] == expected["network"][name]
    assert found["exc"]["tau"] == 3.0


def test_a_network_loads_golden_parameters(loaded):
    assert loaded["parameters"] == {"own": {"seed": 11}, "tau": [10.0, 10.0]}
