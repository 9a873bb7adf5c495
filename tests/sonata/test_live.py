"""What bmtk and BlueCelluLab write in a run is read as it was recorded."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.recording import RegularTimes, Unit

Run = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.UnitWarning")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a simulator and returns the directory of the run."""

    def _run(simulator: str, *modules: str) -> Path:
        for module in modules:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
        script = Path(__file__).with_name("running.py")
        command = [sys.executable, str(script), simulator, str(tmp_path)]
        subprocess.run(command, check=True, capture_output=True)
        return tmp_path

    return _run


def test_values_of_bionet_have_the_name_of_their_variable(run: Run) -> None:
    directory = run("bionet", "bmtk", "neuron")

    with open_output(directory / "simulation_config.json") as output:
        largest = {
            (report.name, report.variable): float(np.abs(report.data[:]).max())
            for report in output.reports
        }
        notes = output.notes
    variables = {"m_report": "m_hh", "list": "v", "x.hdf": "v"}.items()
    assert set(largest) == {(f"{name}_{pop}", v) for name, v in variables for pop in ("l4", "l5")}
    assert all((value > 50) is (variable == "v") for (_, variable), value in largest.items())
    assert sum("bmtk stores the values of the last" in note for note in notes) == 4


def test_rates_of_filternet_have_unit_times_and_ids(run: Run) -> None:
    directory = run("filternet", "bmtk", "sympy")

    for source in ("simulation_config.json", "output", "output/rates.csv"):
        with open_output(directory / source) as output:
            lgn, lp = output.reports
            spiking = [spikes.population for spikes in output.spikes]
            assert sum("columns of zeros were left out" in note for note in output.notes) == 2
            assert (lgn.unit, lgn.times) == (Unit("hertz"), RegularTimes(0.0, 1000.0, 201))
            assert lgn.compartments.cell_ids[:].tolist() == [0, 1, 2, 3]
            assert lp.compartments.cell_ids[:].tolist() == [0, 1, 2]
            assert lgn.data[:].max() > 0
        assert spiking == ([] if source.endswith(".csv") else ["LGN", "LP"])


def test_positions_of_bluecellulab_are_those_that_it_recorded(run: Run) -> None:
    directory = run("bluecellulab", "bluecellulab")
    recorded = json.loads((directory / "positions.json").read_text())

    with open_output(directory / "simulation_config.json") as output:
        for name in ("all", "center", "absent", "set"):
            report = output[name]
            table = report.compartments
            for cell in table.cell_ids[:].tolist():
                found = table.values("position", table.find(cell))
                assert np.allclose(found, recorded[name][str(cell)], rtol=1e-12)
