"""What is written for ANNarchy reads as what it was, and what a file cannot say is told."""

import pickle
import pickletools
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings

from ndx_simulation_output.adapters.annarchy import read, write
from ndx_simulation_output.errors import (
    ExportError,
    NameClashError,
    SourceError,
    TargetExistsError,
)
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from tests.conftest import DATA
from tests.network_strategies import annarchy_networks, facts_of

CONTAINERS = ["state.txt", "state.txt.gz", "state.npz"]
EXTENSIONS = ["txt", "txt.gz", "npz", "mat"]


def population(**changes) -> PopulationSnapshot:
    quantities = (
        Quantity("tau", np.array(20.0), "global", "parameter"),
        Quantity("v", np.arange(4.0), "local", "variable"),
        Quantity("gate", np.array([True, False, True, True]), "local", "parameter"),
    )
    return replace(PopulationSnapshot("exc", (2, 2), quantities), **changes)


def projection(**changes) -> ProjectionSnapshot:
    parts = {
        "post_ranks": np.array([0, 3]),
        "ends": np.array([2, 3]),
        "pre_ranks": np.array([1, 2, 0]),
        "quantities": (
            Quantity("w", np.array([0.1, 0.2, 0.3]), "local", "variable"),
            Quantity("theta", np.array([1.0, 2.0]), "semiglobal", "variable"),
        ),
        "pre": "exc",
        "post": "exc",
        "targets": ("exc",),
        "delays": np.array([5e-4, 15e-4, 5e-4]),
        "delay_steps": np.array([1, 3, 1]),
        "weight": "w",
    }
    return ProjectionSnapshot("rec", **(parts | changes))


def network(**changes) -> NetworkSnapshot:
    parts = {"populations": (population(),), "projections": (projection(),)}
    parts |= {"time": 0.1, "step": 200, "time_step": 5e-4}
    return NetworkSnapshot("state", **(parts | changes))


def again(state: NetworkSnapshot, path: Path, **options) -> NetworkSnapshot:
    """Write a state, and read it with the name and container of the first."""
    write(path, state, overwrite=True, **options)
    dt = None if state.time_step is None else state.time_step * 1000
    (found,) = read(path, dt=dt).networks
    return replace(found, name=state.name, provenance=state.provenance, simulator=state.simulator)


def without_truth(facts):
    """Give facts as a MATLAB file has them: truth values are integers of eight bits."""
    if isinstance(facts, tuple) and isinstance(facts[0], np.dtype) and facts[0] == bool:
        return np.dtype(np.uint8), *facts[1:-1], facts[-1].replace("True", "1").replace("False", "0")
    if isinstance(facts, dict):
        return {key: without_truth(value) for key, value in facts.items()}
    return [without_truth(one) for one in facts] if isinstance(facts, list) else facts


def genuine_files() -> list[Path]:
    found = sorted((DATA / "annarchy").glob("*/*"))
    return [path for path in found if path.suffix not in {".hdf5", ".npy", ".json"}]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_genuine_file_comes_back_as_it_was(tmp_path, extension):
    if extension == "mat":
        pytest.importorskip("scipy", reason="SciPy, which writes MATLAB files, is not installed")
    if not genuine_files():
        pytest.skip("the genuine files are not there; set NDX_TEST_DATA to their directory")
    forms = {"network": "network", "connectivity": "connectivity"}
    for path in genuine_files():
        try:
            (found,) = read(path, dt=0.5).networks
        except SourceError as error:
            assert "is incomplete" in str(error)  # noqa: PT017 - as the simulator left it
            continue
        form = forms.get(path.name.partition(".")[0].partition("_")[0], "part")
        target = tmp_path / f"state.{extension}"

        expected, written = facts_of(found), facts_of(again(found, target, form=form))

        assert written == (without_truth(expected) if extension == "mat" else expected), path


@pytest.mark.parametrize("name", CONTAINERS)
@settings(max_examples=40)
@given(state=annarchy_networks())
def test_any_state_comes_back_as_it_was(name, state):
    with TemporaryDirectory() as directory:
        assert facts_of(again(state, Path(directory) / name)) == facts_of(state)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_single_part_comes_back_as_it_was(tmp_path, name):
    for state in (
        network(projections=(), time=None, step=None),
        network(populations=(), time=None, step=None),
    ):
        assert facts_of(again(state, tmp_path / name, form="part")) == facts_of(state)
