"""The ranks of an MPI job record their own cells of a NEURON model into one file."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.nwb.recover import recover
from tests.storage.test_mpi import missing, mpirun

SCRIPT = Path(__file__).with_name("ranks.py")


@pytest.fixture(autouse=True)
def neuron_and_mpi() -> None:
    reason = missing()
    if importlib.util.find_spec("neuron") is None:
        pytest.skip("NEURON is not installed: pip install neuron")
    if reason is not None:
        (pytest.fail if os.environ.get("NDX_REQUIRE_MPI") else pytest.skip)(reason)


def by_cell(path: Path) -> tuple[dict[int, list], dict[int, list]]:
    """Return the traces and spikes of each cell."""
    with open_output(path) as output:
        ids = np.sort(np.asarray(output["v"].compartments.cell_ids[:]))
        traces = {int(gid): output["v"].get_traces(cells=int(gid)).tolist() for gid in ids}
        (spikes,) = output.spikes
        times = {int(gid): np.sort(spikes.times[spikes.node_ids == gid]).tolist() for gid in ids}
        assert output["ExpSyn.g"].data.shape == (201, len(ids))
    return traces, times


@pytest.mark.parametrize(("ranks", "how"), [(2, ""), (3, ""), (2, "by hoc")])
def test_ranks_record_what_one_process_records(ranks, how, tmp_path):
    subprocess.run([sys.executable, str(SCRIPT), "one.nwb"], cwd=tmp_path, check=True)
    done = mpirun(ranks, SCRIPT, "several.nwb", how, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    (traces, times), (expected, expected_times) = (
        by_cell(tmp_path / name) for name in ("several.nwb", "one.nwb")
    )

    assert all(expected_times.values())
    assert times == expected_times
    assert traces == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.nwb", "several.nwb"]


def test_a_rank_that_raises_before_the_first_sample_leaves_nothing(tmp_path):
    dead = mpirun(2, SCRIPT, "new.nwb", "dies early", cwd=tmp_path)

    assert dead.returncode != 0
    assert "ValueError: what went wrong" in dead.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_raises_ends_the_job_and_what_was_flushed_stays(tmp_path):
    dead = mpirun(2, SCRIPT, "new.nwb", "dies", cwd=tmp_path)

    assert dead.returncode != 0
    assert "ValueError: what went wrong" in dead.stderr
    assert not (tmp_path / "new.nwb").exists()
    assert recover(tmp_path / "new.nwb").reports[0].steps == 101
    with open_output(tmp_path / "new.nwb") as output:
        assert sum(len(spikes.times) for spikes in output.spikes) > 0

    failed = mpirun(2, SCRIPT, "all.nwb", "fails", cwd=tmp_path)

    assert failed.returncode != 0
    assert "ValueError: what went wrong" in failed.stderr
    with open_output(tmp_path / "all.nwb") as output:
        assert output["v"].data.shape[0] == 101
