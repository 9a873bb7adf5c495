"""Files are shared by threads, by forked processes, by a stream and its readers, and by writers."""

import multiprocessing
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import CompartmentTable, StreamedReport, Unit

SESSION = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
VALUES = np.arange(1_600_000, dtype="f4").reshape(2000, 800)
KINDS = {
    "contiguous": {},
    "chunked": {"chunks": (500, 40)},
    "gzip": {"chunks": (500, 40), "compression": "gzip", "compression_opts": 1},
    "lzf": {"chunks": (500, 40), "compression": "lzf"},
}


@pytest.fixture(params=KINDS)
def path(request, tmp_path: Path) -> Path:
    """A SONATA report of 400 cells, large enough to be read in threads."""
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("report/a/data", data=VALUES, **KINDS[request.param])
        file["report/a/mapping/node_ids"] = np.arange(400)
        file["report/a/mapping/index_pointers"] = np.arange(0, 801, 2)
        file["report/a/mapping/element_ids"] = np.tile([0, 1], 400)
        file["report/a/mapping/time"] = [0.0, 200.0, 0.1]
        file["report/a/data"].attrs["units"] = "V"
        file["report/a/mapping/time"].attrs["units"] = "ms"
    return tmp_path / "v.h5"


def test_sixteen_threads_read_one_file(path: Path):
    with open_output(path) as output, ThreadPoolExecutor(16) as pool:
        report = output["v"]
        found = list(pool.map(report.get_traces, range(48)))
        whole = list(pool.map(lambda _: report.get_traces(), range(3)))

    for cell, traces in enumerate(found):
        np.testing.assert_array_equal(traces, VALUES[:, 2 * cell : 2 * cell + 2])
    assert all(np.array_equal(traces, VALUES) for traces in whole)


def test_forked_processes_read_a_file_that_was_open_before(path: Path):
    with open_output(path) as output, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about a fork with threads
        report = output["v"]
        report.get_traces()  # with threads, which the children do not have
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=_check, args=(report,)) for _ in range(3)]
        for child in children:
            child.start()
        _check(report)
        for child in children:
            child.join(60)

    assert [child.exitcode for child in children] == [0, 0, 0]


def _check(report) -> None:
    for cell in range(0, 400, 40):
        assert np.array_equal(report.get_traces(cell), VALUES[:, 2 * cell : 2 * cell + 2])
    assert np.array_equal(report.get_traces(), VALUES)


def test_an_array_of_dask_is_read_after_pickling_but_not_after_the_file_has_changed(path: Path):
    pytest.importorskip("dask")
    with open_output(path) as output:
        array = pickle.loads(pickle.dumps(output["v"].to_dask(cells=[7, 3])))  # noqa: S301 - ours

    np.testing.assert_array_equal(array.compute(scheduler="sync"), VALUES[:, [14, 15, 6, 7]])
    with h5py.File(path, "r+") as file:
        file["report/a/data"][0, 0] = 7
    with pytest.raises(SourceError, match=r"v\.h5 has changed since it was opened; open it again"):
        array.compute(scheduler="sync")


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_reader_keeps_what_it_has_seen_until_the_stream_ends(
    compression, tmp_path: Path, monkeypatch
):
    table = CompartmentTable.from_counts(
        "exc", np.arange(200), np.ones(200, int), {"number": np.zeros(200, int)}
    )
    reports = [StreamedReport("v", table, rate=1000.0, unit=Unit("volts"))]
    rows = np.arange(2000.0)[:, None] + np.arange(200) / 256
    storage = StorageOptions(compression=compression)
    with stream(tmp_path / "run.nwb", reports, metadata=SESSION, storage=storage) as file:
        file.append("v", rows[:300])
        file.flush()
        monkeypatch.chdir(tmp_path)
        seen = open_output(file.path.name)
        monkeypatch.chdir("/")
        for step in range(300, 2000, 50):
            file.append("v", rows[step : step + 50])
            file.flush()
            np.testing.assert_array_equal(seen["v"].get_traces(cells=[9]), rows[:300, 9:10])
        np.testing.assert_array_equal(seen["v"].get_traces(), rows[:300])

    with pytest.raises(SourceError, match="the file was completed since it was opened; open it"):
        seen["v"].get_traces()
    with pytest.raises(SourceError, match="is still open in this process as it was before: close"):
        open_output(tmp_path / "run.nwb")
    seen.close()
    with open_output(tmp_path / "run.nwb") as output:
        np.testing.assert_array_equal(output["v"].get_traces(), rows)


CONVERT = """
import sys
from ndx_simulation_output import convert
from ndx_simulation_output.errors import TargetExistsError
try:
    convert("v.h5", "run.nwb", overwrite=sys.argv[1] == "overwrite")
except TargetExistsError as error:
    print(error)
"""


@pytest.mark.parametrize("path", ["chunked"], indirect=True)
@pytest.mark.parametrize("how", ["overwrite", "no overwrite"])
def test_two_writers_of_one_target_leave_one_whole_file(how, path: Path):
    command = [sys.executable, "-W", "ignore", "-c", CONVERT, how]
    both = [
        subprocess.Popen(command, cwd=path.parent, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [writer.communicate(timeout=120)[0] for writer in both]

    assert [writer.returncode for writer in both] == [0, 0]
    assert sum("run.nwb" in text for text in told) == (how == "no overwrite")
    with open_output(path.with_name("run.nwb")) as output:
        np.testing.assert_array_equal(output["v"].get_traces(), VALUES)
    assert not list(path.parent.glob(".run*"))


@pytest.mark.parametrize("path", ["contiguous"], indirect=True)
def test_a_closed_output_says_so(path: Path):
    convert(path, path.with_name("run.nwb"), metadata=SESSION)
    for name in (path, path.with_name("run.nwb")):
        with open_output(name) as output:
            report = output["v"]
        for use in (
            report.get_traces,
            report.select,
            report.to_dask,
            lambda one=report: list(one.data),
            lambda one=output: convert(one, path.with_name("other.nwb"), metadata=SESSION),
        ):
            with pytest.raises(SourceError, match=f"{name.name} is closed: .*; open it again"):
                use()
        assert f"{name.name} is closed: " in report._repr_html_()
