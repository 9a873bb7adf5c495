"""Several processes write the file that one writes, or none: under the ``mpirun`` that is there.

Where ``mpirun`` or mpi4py is missing these are skipped, unless ``NDX_REQUIRE_MPI`` is set.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output import open_output, sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.recover import recover
from tests.sonata.making import report
from tests.storage import mpi_job

JOB = Path(mpi_job.__file__)
SECONDS = 300
"""After so long, a job hangs."""


def missing() -> str | None:
    """Say what it takes to run these tests, if it is not there."""
    if shutil.which("mpirun") is None:
        return "there is no mpirun"
    if importlib.util.find_spec("mpi4py") is None:
        return "there is no mpi4py"
    return None


@pytest.fixture(scope="module", autouse=True)
def mpi() -> None:
    reason = missing()
    if reason is not None:
        (pytest.fail if os.environ.get("NDX_REQUIRE_MPI") else pytest.skip)(reason)


def mpirun(ranks: int, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as so many processes, more than there are processors if need be."""
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    open_mpi = "Open MPI" in version.stdout
    options = ["--allow-run-as-root", "--oversubscribe"] if open_mpi else []
    command = ["mpirun", *options, "-n", str(ranks), sys.executable, *map(str, words)]
    root = str(JOB.parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """The sources, and what this process makes of them."""
    place = tmp_path_factory.mktemp("mpi")
    random = np.random.default_rng(0)
    counts = random.integers(0, 6, 17)
    data = random.normal(-65, 5, (60, counts.sum())).astype("f4")
    whole = report(np.arange(17), counts, rows=60, data=data, time=(0.0, 6.0, 0.1))
    whole.write(place / "contiguous.h5")
    whole.storage["report/pop/data"] = {"chunks": (25, 9), "compression": "gzip"}
    whole.write(place / "deflated.h5")
    cells = random.permutation(np.repeat(np.arange(8), 5))
    report(cells, np.ones(40, int), rows=9, time=(0.0, 0.9, 0.1)).write(place / "unsorted.h5")
    report([7], [1]).write(place / "one_cell.h5")
    sonata.write(simulate(duration=0.01), place / "output")
    for case in mpi_job.cases():
        mpi_job.convert_case(place, case, place / f"{'-'.join(case)}.nwb", None)
    for storage in mpi_job.STORAGES:
        for cells in mpi_job.CELLS_OF_RANKS.values():
            if storage != "contiguous":
                for some in cells:
                    target = place / f"stream-{storage}-{sum(some)}.nwb"
                    mpi_job.stream_case(target, storage, some, 0, None)
    return place


Did = Callable[[str, int], tuple[Path, list[Any]]]


@pytest.fixture(scope="module")
def did(directory) -> Did:
    """Run a job once; give its directory, and what its ranks say."""
    known: dict[tuple[str, int], tuple[Path, list[Any]]] = {}

    def run(job: str, ranks: int) -> tuple[Path, list[Any]]:
        if (job, ranks) not in known:
            place = directory / f"{job}-{ranks}"
            place.mkdir()
            done = mpirun(ranks, JOB, job, place, cwd=directory)
            assert done.returncode == 0, done.stderr
            said = [json.loads((place / f"{rank}.json").read_text()) for rank in range(ranks)]
            known[job, ranks] = place, said
        return known[job, ranks]

    return run


def contents(path: Path) -> dict[str, Any]:
    """Give all that a file holds, but for what is new in each file."""
    found: dict[str, Any] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        facts: dict[str, Any] = {
            key: np.asarray(value).tolist()
            for key, value in item.attrs.items()
            if key != "object_id" and not isinstance(value, h5py.Reference)
        }
        if isinstance(item, h5py.Dataset):
            facts |= {"shape": item.shape, "dtype": item.dtype, "chunks": item.chunks}
            facts |= {"filters": (item.compression, item.shuffle), "maxshape": item.maxshape}
            facts["values"] = str(np.asarray(item[()]).tolist())
        found[name] = facts

    with h5py.File(path) as file:
        file.visititems(note)
    del found["file_create_date"]
    return found


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("case", mpi_job.cases(), ids="-".join)
def test_several_ranks_write_the_file_that_one_process_writes(case, ranks, directory, did):
    name = f"{'-'.join(case)}.nwb"

    place, _ = did("conversions", ranks)

    assert contents(place / name) == contents(directory / name)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("storage", [name for name in mpi_job.STORAGES if name != "contiguous"])
def test_several_ranks_stream_the_file_that_one_process_streams(storage, ranks, directory, did):
    place, _ = did("conversions", ranks)

    for cells in mpi_job.CELLS_OF_RANKS[ranks]:
        name = f"stream-{storage}-{sum(cells)}.nwb"
        ours, expected = contents(place / name), contents(directory / name)
        for key in ("chunks", "maxshape"):
            for facts in (*ours.values(), *expected.values()):
                facts.pop(key, None)
        assert ours == expected


@pytest.mark.parametrize("ranks", [2, 3])
def test_files_of_several_ranks_are_valid(ranks, did):
    place, _ = did("conversions", ranks)

    for name in ("all-gzip.nwb", f"stream-plain-{sum(mpi_job.CELLS_OF_RANKS[ranks][0])}.nwb"):
        assert [found for found in check_file(place / name) if found.severity == "error"] == []


@pytest.mark.parametrize("ranks", [2, 3])
def test_nothing_is_left_beside_the_files(ranks, did):
    place, _ = did("conversions", ranks)

    assert [path for path in place.iterdir() if path.name.startswith(".")] == []


OWN = {
    "source": "SourceError: .*gone.h5 does not exist",
    "other source": "SourceError: .*: rank",
    "piece": "(WriteError: cannot write|SourceError:) .*: ArithmeticError: out of order",
    "interrupted": "KeyboardInterrupt: ",
    "full disk": r"WriteError: cannot write .*failed.nwb: \[Errno 28\] No space left on device",
    "target": "WriteError: .*the directory .*gone does not exist",
    "rename": r"WriteError: cannot write .*failed.nwb: \[Errno 5\]",
}


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("kind", mpi_job.FAILURES)
def test_a_rank_that_fails_fails_all_and_leaves_no_file(kind, ranks, did):
    _, said = did("failures", ranks)

    ways = [way for way in said[0] if way.startswith(f"{kind} ")]
    assert ways or (kind == "other source" and ranks == 1)
    for way in ways:
        failed = int(way.removeprefix(kind).split()[0])
        for rank, of_rank in enumerate(said):
            expected = OWN[kind]
            if rank != failed and kind != "other source":
                expected = f"RankError: rank {failed} failed: {expected}"
            assert re.match(f"{expected}", of_rank[way]), (way, rank)
            assert not of_rank[way].endswith("failed.nwb"), (way, rank)


def test_a_rank_that_is_killed_leaves_no_file(directory):
    place = directory / "killed"
    place.mkdir()

    done = mpirun(2, JOB, "killed", place, cwd=directory)

    assert done.returncode != 0
    assert not (place / "failed.nwb").exists()
    assert not (place / "0.json").exists()


DIES = """
import os, signal
from mpi4py import MPI
from ndx_simulation_output.storage import mpi
pieces = mpi.encoded_pieces
def dies(*words):
    yield from pieces(*words)
    if MPI.COMM_WORLD.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
mpi.encoded_pieces = dies
"""


def test_rank_0_of_a_command_cleans_up_when_another_is_killed(directory, tmp_path):
    words = ["convert", directory / "contiguous.h5", "run.nwb", "--mpi"]

    done = mpirun(2, "-c", f"{DIES}{CLI}", *words, cwd=tmp_path)

    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


STEPS = {
    "caller": ("ArithmeticError: the simulation has diverged", "RankError: rank {} failed: {}"),
    "file of the caller": ("FileNotFoundError: .*no-such-", "RankError: rank {} failed: {}"),
    "shape": ("ShapeMismatchError: values for 'v' have shape", "ShapeMismatchError: values for"),
    "steps": ("ShapeMismatchError: rank . is at time step", "ShapeMismatchError: rank . is at"),
    "less": ("ShapeMismatchError: rank . is at time step", "ShapeMismatchError: rank . is at"),
    "reports": ("ShapeMismatchError: rank . streams .*'w'", "ShapeMismatchError: rank . streams"),
    "times": ("ShapeMismatchError: rank . is at the times", "ShapeMismatchError: rank . is at the"),
    "tables": ("RankError: rank 0 failed: ShapeMismatch", "(RankError|ShapeMismatchError): "),
}


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", STEPS)
def test_a_rank_that_fails_in_a_stream_fails_all_and_leaves_no_file(kind, ranks, did):
    _, said = did("stream_failures", ranks)

    own, others = STEPS[kind]
    assert re.match(own, said[-1][kind])
    for of_rank in said[:-1]:
        assert re.match(others.format(ranks - 1, own), of_rank[kind])
    assert not any(of_rank[kind].endswith("failed.nwb") for of_rank in said)


SOURCE_NAMES = {
    "one value": r"reports\['v'\].data",
    "late rows": r"reports\['v'\].data",
    "type": r"reports\['v'\].data",
    "byte order": r"reports\['v'\].data",
    "ids": r"reports\['v'\].compartments.cell_ids",
    "elements": r"reports\['v'\].compartments.columns\['number'\]",
    "time step": r"reports\['v'\].times.rate",
    "start": r"reports\['v'\].times.start",
    "unit of the source": r"reports\['v'\].unit.conversion",
    "spikes": r"spikes\['pop'\].times",
    "channels": r"potentials\['ecp'\].channel_ids",
    "NWB": r"reports\['v'\].data",
    "in memory": r"reports\['v'\].data",
}


@pytest.mark.parametrize("ranks", [2, 3])
def test_what_differs_between_ranks_is_refused_on_all_and_nothing_is_written(ranks, did):
    _, said = did("differences", ranks)

    expected = {
        kind: ("SourceError: " if kind == "in memory" else "SourceError: .*: ")
        + f"rank {ranks - 1} has read {name} = .*; expected that of rank 0, .*"
        for kind, name in SOURCE_NAMES.items()
    }
    expected |= {
        kind: f"RankError: rank {ranks - 1} has {re.escape(kind)} = .*; expected that of rank 0, .*"
        for kind in mpi_job.ARGUMENTS_THAT_DIFFER
    }
    for kind, changes in mpi_job.STREAMS_THAT_DIFFER.items():
        name = re.escape(next(iter(changes)) if kind == "no rate" else kind)
        words = f"RankError: rank {ranks - 1} has {name} = "
        if next(iter(changes)) in mpi_job.FIELDS:
            words = f"ShapeMismatchError: rank {ranks - 1} streams 'v' with {name} = "
        expected[f"stream {kind}"] = f"{words}.*; expected that of rank 0, .*"
    left = re.escape(" | ['kept.nwb', 'run.nwb', 'same.nwb'] earlier")
    for of_rank in said:
        assert of_rank.pop("the same").startswith("no error")
        assert of_rank.keys() == expected.keys()
        for kind, text in of_rank.items():
            assert re.fullmatch(expected[kind] + left, text), kind


def check_flushed(path: Path, ranks: int) -> None:
    """Check that all that was flushed is in the file."""
    with open_output(path) as output:
        v, w, (spikes,) = output["v"], output["w"], output.spikes
        expected = np.arange(10)[:, np.newaxis] + 100 * np.repeat(np.arange(ranks), 2)
        np.testing.assert_array_equal(v.data[:], expected)
        np.testing.assert_array_equal(w.times.seconds(), np.arange(10.0) ** 2)
        assert w.data.shape == (10, 2 * ranks)
    assert spikes.node_ids.tolist() == np.repeat(np.arange(ranks), 10).tolist()
    assert [other for other in path.parent.iterdir() if other.name.startswith(".")] == []


def test_what_ranks_had_flushed_is_kept_when_one_fails(did):
    place, said = did("stream_kept", 2)

    assert said[1] == "ArithmeticError: the simulation has diverged"
    assert said[0].startswith("RankError: rank 1 failed: ")
    check_flushed(place / "run.nwb", 2)


def test_what_ranks_had_flushed_is_recovered_when_one_is_killed(directory):
    place = directory / "stream_killed"
    place.mkdir()

    done = mpirun(2, JOB, "stream_killed", place, cwd=directory)
    recovered = recover(place / "run.nwb")

    assert done.returncode != 0
    assert [report.steps for report in recovered.reports] == [10, 10]
    assert recovered.spikes == 20
    check_flushed(place / "run.nwb", 2)


CLI = "from ndx_simulation_output.cli import main; main(prog_name='ndx-sim')"


@pytest.fixture
def session(tmp_path) -> Path:
    path = tmp_path / "session.yaml"
    path.write_text("NWBFile: {session_start_time: 2026-01-31T12:00:00+01:00}")
    return path


def test_the_command_with_mpi_writes_one_file_and_says_so_once(directory, session, tmp_path):
    words = ["convert", directory / "contiguous.h5", "run.nwb", "--mpi", "--metadata", session]

    done = mpirun(2, "-c", CLI, *words, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote run.nwb\n", "")
    made, expected = (
        contents(path) for path in (tmp_path / "run.nwb", directory / "contiguous.h5-plain.nwb")
    )
    assert made["acquisition/contiguous/data"] == expected["acquisition/contiguous/data"]


def test_the_command_with_mpi_says_once_what_is_wrong(tmp_path):
    done = mpirun(2, "-c", CLI, "convert", "gone.h5", "run.nwb", "--mpi", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.count("error: gone.h5 does not exist") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_without_mpi_refuses_several_processes(directory, tmp_path):
    done = mpirun(2, "-c", CLI, "convert", directory / "contiguous.h5", "run.nwb", cwd=tmp_path)

    assert done.returncode == 2
    assert "add --mpi to share the work" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_process_of_mpirun_needs_no_option(directory, session, tmp_path):
    words = ["convert", directory / "contiguous.h5", "run.nwb", "--metadata", session]

    done = mpirun(1, "-c", CLI, *words, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote run.nwb\n", "")


def test_the_example_runs_with_several_processes(tmp_path):
    done = mpirun(2, JOB.parents[2] / "examples" / "convert_with_mpi.py", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("v_exc: 500 times × 139 compartments") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"output", "run.nwb"}
