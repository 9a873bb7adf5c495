"""Every script in ``examples/`` runs as it stands, in an empty directory, without a warning."""

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO

# Not DeprecationWarning: libraries that pynwb uses raise it of each other at exit.
STRICT = ("-W", "error::UserWarning", "-W", "error::FutureWarning", "-W", "error::ResourceWarning")
# They tell on the standard error stream what they are doing; dask's cluster of processes only
# now and then, when its end cuts off the heartbeat of a process.
TALKATIVE = {"bmtk", "distributed", "netpyne"}
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def imported_by(example: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    if "ndx_simulation_output.neuron" in names:
        names.add("neuron")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_in_an_empty_directory_without_a_warning(example, tmp_path):
    imported = imported_by(example)
    for name in sorted(imported):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    command = [sys.executable, *STRICT, str(example)]
    # Without the option NEURON tells that there is no screen.
    env = {**os.environ, "NEURON_MODULE_OPTIONS": "-nogui"}

    run = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert not run.stderr or imported & TALKATIVE
    assert any(tmp_path.iterdir())

    if example.stem in {"record_brian2", "record_nest"}:
        check_rates_and_units(tmp_path / "run.nwb")


def check_rates_and_units(path: Path) -> None:
    """Check that rates are those of all recorded cells, and that potentials are in volts."""
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        spikes, intervals = nwbfile.units["spike_times"], nwbfile.units["obs_intervals"]
        recorded = np.concatenate([np.diff(one) for one in intervals[:]])
        rates = np.array([len(one) for one in spikes[:]]) / recorded.ravel()
        state = nwbfile.acquisition["end"].population_states["exc"]
        units = dict(zip(state.quantity_name[:], state.quantity_unit[:], strict=True))
        factors = dict(zip(state.quantity_name[:], state.quantity_conversion[:], strict=True))
        name = "V_m" if "V_m" in units else "v"
        volts = np.asarray(state[name].data[:]) * factors[name]
        said = nwbfile.acquisition["end"].not_contained
    assert len(rates) == 100
    assert bool((rates == 0).any()) is (name == "v")
    assert rates.mean() == pytest.approx(len(spikes.target.data) / 100 / 0.2)
    assert units[name] == "volts"
    assert (volts > -0.1).all()
    assert (volts < 0).all()
    assert "random" in said
    assert ("refractory" in said) is (name == "V_m")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_first_what_it_shows(example):
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8")))

    assert docstring
    assert docstring.splitlines()[0].endswith(".")
