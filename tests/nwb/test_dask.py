"""Recordings as dask arrays: equal to ``get_traces``, read when computed."""

import pickle
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO

from ndx_simulation_output import CompartmentSeries, StorageOptions, convert, open_output
from ndx_simulation_output.errors import CellNotFoundError, MissingDependencyError, SourceError
from ndx_simulation_output.recording import CompartmentTable, RegularTimes, Report, Unit
from ndx_simulation_output.recording.traces import block_shape
from ndx_simulation_output.recording.views import Columns, Transposed
from ndx_simulation_output.storage import reading
from ndx_simulation_output.storage.datasets import ChunkIndex, DeflatedReader
from tests.sonata.making import SESSION, report

da = pytest.importorskip("dask.array", reason="dask is not installed: pip install dask[array]")

ROWS, CELLS, WIDTH = 57, 8, 6
FORMS = {
    "SONATA": None,
    "contiguous": {"chunks": "contiguous"},
    "chunked": {"chunks": (10, 7)},
    "gzip": {"chunks": (10, 7), "compression": "gzip"},
    "linked": {"link": True},
}


@pytest.fixture(scope="module")
def sonata(tmp_path_factory) -> Path:
    """A report of 8 cells with 6 compartments; their columns are not in the order of the cells."""
    random = np.random.default_rng(1)
    data = random.normal(-65, 9, (ROWS, CELLS * WIDTH)).astype(np.float32)
    counts = np.full(CELLS, WIDTH)
    file = report(np.arange(CELLS)[::-1] * 3, counts, rows=ROWS, data=data, time=(0.0, 5.7, 0.1))
    return file.write(tmp_path_factory.mktemp("sonata") / "v.h5")


@pytest.fixture(scope="module", params=FORMS)
def path(request, sonata) -> Path:
    if FORMS[request.param] is None:
        return sonata
    target = sonata.with_name(f"{request.param}.nwb")
    storage = StorageOptions(**FORMS[request.param])
    return convert(sonata, target, metadata=SESSION, overwrite=True, storage=storage).path


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"cells": 3},
        {"cells": [9, 0], "numbers": [5, 0]},
        {"numbers": 0, "start": 0.001, "stop": 0.004, "step": 3},
        {"start": 1.0},
    ],
    ids=str,
)
def test_values_equal_get_traces_after_the_file_is_closed(path, chosen, scheduler):
    with open_output(path) as output:
        expected = output.reports[0].get_traces(**chosen)
        lazy = output.reports[0].to_dask(**chosen, chunks=(20, 14))

    found = lazy.compute(scheduler=scheduler)

    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_series_opened_with_pynwb_has_to_dask(sonata):
    path = convert(sonata, sonata.with_name("v.nwb"), metadata=SESSION, overwrite=True).path
    with NWBHDF5IO(str(path), "r") as io:
        series = io.read().acquisition["v"]
        lazy = series.to_dask(cells=[3, 0], start=0.002)
        expected = series.get_traces(cells=[3, 0], start=0.002)

    np.testing.assert_array_equal(lazy.compute(), expected)


INDEX = st.one_of(
    st.slices(ROWS), st.integers(-ROWS, ROWS - 1), st.lists(st.integers(0, ROWS - 1), max_size=5)
)
COLUMN_INDEX = st.one_of(
    st.slices(CELLS * WIDTH),
    st.integers(0, CELLS * WIDTH - 1),
    st.lists(st.integers(0, CELLS * WIDTH - 1), max_size=5),
)


@given(
    rows=INDEX,
    columns=COLUMN_INDEX,
    chunks=st.tuples(st.integers(5, ROWS), st.integers(5, CELLS * WIDTH)),
)
def test_any_slice_equals_the_slice_of_the_traces(sonata, rows, columns, chunks):
    with open_output(sonata) as output:
        lazy = output.reports[0].to_dask(chunks=chunks)
        expected = output.reports[0].get_traces()

    found = lazy[rows][..., columns].compute(scheduler="synchronous")

    np.testing.assert_array_equal(found, expected[rows][..., columns])


def test_only_selected_rows_and_columns_are_read(sonata, monkeypatch):
    path = convert(sonata, sonata.with_name("part.nwb"), metadata=SESSION, overwrite=True).path
    asked = []
    read = reading.HDF5Array.take_columns

    def noted(array: Any, rows: slice, columns: Any, put: Any) -> Any:
        asked.append((rows.start, rows.stop, list(columns)))
        return read(array, rows, columns, put)

    monkeypatch.setattr(reading.HDF5Array, "take_columns", noted)
    with open_output(path) as output:
        lazy = output.reports[0].to_dask(chunks=(20, 14))

    lazy[25:30, 15:17].compute()

    assert asked == [(25, 30, [15, 16])]


@pytest.mark.parametrize("chosen", [{}, {"numbers": 0}, {"cells": [0, 3, 21]}], ids=str)
def test_each_stored_chunk_is_read_once(sonata, monkeypatch, chosen):
    storage = StorageOptions(chunks=(10, 7), compression="gzip")
    path = sonata.with_name("once.nwb")
    convert(sonata, path, metadata=SESSION, overwrite=True, storage=storage)
    inflated: Counter[tuple[int, int]] = Counter()
    read = vars(DeflatedReader)["_stored"]

    def counted(array: Any, row: int, column: int) -> Any:
        inflated[row, column] += 1
        return read(array, row, column)

    monkeypatch.setattr(DeflatedReader, "_stored", counted)
    monkeypatch.setattr("ndx_simulation_output.recording.traces.BLOCK_BYTES", 10 * 7 * 4 * 3)
    with open_output(path) as output:
        lazy = output.reports[0].to_dask(**chosen)
    assert lazy.npartitions > 1

    lazy.compute(scheduler="threads", num_workers=2)

    assert set(inflated.values()) == {1}
    if not chosen:
        assert len(inflated) == 6 * 7


def test_the_chunk_index_is_read_once(sonata, monkeypatch):
    path = sonata.with_name("many.nwb")
    convert(sonata, path, metadata=SESSION, overwrite=True, storage=StorageOptions(chunks=(2, 2)))
    found = []
    find = vars(ChunkIndex)["_read"]

    def noted(index: Any) -> Any:
        found.append(index)
        return find(index)

    monkeypatch.setattr(ChunkIndex, "_read", noted)
    with open_output(path) as output:
        lazy = output.reports[0].to_dask(chunks=(20, 48))

    lazy.compute(scheduler="synchronous")

    assert lazy.npartitions == 3
    assert len(found) == 1


def test_the_chunk_index_of_a_replaced_file_is_not_used(sonata):
    path = sonata.with_name("again.nwb")
    for chunks in ((2, 2), (3, 3)):
        convert(
            sonata, path, metadata=SESSION, overwrite=True, storage=StorageOptions(chunks=chunks)
        )
        with open_output(path) as output:
            lazy = output.reports[0].to_dask(chunks=(20, 48))
            expected = output.reports[0].get_traces()

        np.testing.assert_array_equal(lazy.compute(), expected)


def test_reads_at_the_same_time_share_an_open_file(sonata, monkeypatch):
    with open_output(sonata) as output:
        lazy = output.reports[0].to_dask(chunks=(20, 48))
    opened = []
    make, read = h5py.File, vars(reading.HDF5Array)["take_columns"]
    gate = threading.Barrier(lazy.npartitions)

    def noted(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return make(*arguments, **options)

    def together(*arguments: Any) -> Any:
        gate.wait(10)
        return read(*arguments)

    monkeypatch.setattr(reading.h5py, "File", noted)
    monkeypatch.setattr(reading.HDF5Array, "take_columns", together)

    lazy.compute(scheduler="threads", num_workers=lazy.npartitions)

    assert len(opened) == 1


def test_a_task_has_a_small_pickle(path):
    with open_output(path) as output:
        array = output.reports[0].data
        detached = array.detached()

    sent = pickle.dumps(detached)

    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[0:2, 0:3], detached[0:2, 0:3])  # noqa: S301


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_missing_file_is_an_error_that_names_it(sonata, tmp_path, what):
    path = convert(sonata, tmp_path / "v.nwb", metadata=SESSION).path
    with open_output(path) as output:
        lazy = output.reports[0].to_dask()
    path.unlink()
    if what == "replaced":
        h5py.File(path, "w").close()

    with pytest.raises(SourceError, match=r"v\.nwb"):
        lazy.compute()


def test_a_file_that_is_open_for_writing_is_read_as_it_is(sonata, tmp_path):
    path = convert(sonata, tmp_path / "v.nwb", metadata=SESSION).path
    with NWBHDF5IO(str(path), "r+") as io:
        series = io.read().acquisition["v"]

        found = series.to_dask(chunks=(20, 20)).compute(scheduler="threads")

        np.testing.assert_array_equal(found, series.get_traces())


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2"])
@pytest.mark.parametrize("unit", [Unit("volts"), Unit("volts", 1e-3, 0.5)], ids=["plain", "scaled"])
def test_data_in_memory_are_not_changed(dtype, unit):
    data = np.arange(12).reshape(4, 3).astype(dtype)
    before = data.copy()
    table = CompartmentTable("pop", np.array([5]), np.array([3]), {"number": np.arange(3)})
    made = Report("v", "v", data, RegularTimes(0.0, 1.0, 4), table, unit)

    lazy = made.to_dask(chunks=(2, 2))

    expected = made.get_traces()
    assert lazy.dtype == expected.dtype
    np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_array_equal(data, before)


@pytest.mark.parametrize("view", [Transposed, lambda array: Columns(array, np.array([2, 0, 1]))])
def test_views_of_a_file_outlive_it(tmp_path, view):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.arange(9.0).reshape(3, 3)
    with h5py.File(tmp_path / "a.h5") as file:
        array = view(reading.HDF5Array(file["data"]))
        expected = array[0:3, 0:3]
        detached = array.detached()

    np.testing.assert_array_equal(detached[0:3, 0:3], expected)


def test_one_compartment_is_a_column(tmp_path, write_nwb):
    series = CompartmentSeries("v", np.arange(5.0), unit="volts", rate=1.0, compartments=None)
    path = write_nwb(series)
    with h5py.File(path) as file:
        array = reading.wrap_array(file["acquisition/v/data"])
        detached = array.detached()

    np.testing.assert_array_equal(detached[1:3], [1.0, 2.0])


def test_an_unknown_cell_is_an_error_before_computing(sonata):
    with open_output(sonata) as output, pytest.raises(CellNotFoundError, match="cell 77"):
        output.reports[0].to_dask(cells=77)


def test_the_error_without_dask_names_the_extra(sonata, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.array", None)

    with (
        open_output(sonata) as output,
        pytest.raises(MissingDependencyError, match=r"pip install 'ndx-simulation-output\[dask\]'"),
    ):
        output.reports[0].to_dask()


@given(
    shape=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
    chunks=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    limit=st.integers(1, 2**20),
)
def test_blocks_are_whole_chunks_of_bounded_size(shape, chunks, limit):
    block = block_shape(shape, 4, chunks, limit)

    for length, chunk, whole in zip(block, chunks, shape, strict=True):
        assert length >= 1
        assert length % chunk == 0 or length == max(whole, 1)
    assert block[0] * block[1] * 4 <= max(limit, chunks[0] * chunks[1] * 4)


ON_A_CLUSTER = """
    import os
    import sys
    from distributed import Client, LocalCluster
    from ndx_simulation_output import open_output

    def process(block):
        return block * 0 + os.getpid()

    if __name__ == "__main__":
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with cluster, Client(cluster) as client:
            for path in sys.argv[1:]:
                with open_output(path) as output:
                    report = output.reports[0]
                    expected = report.get_traces()
                    lazy = report.to_dask(chunks=(10, 14))
                assert (lazy.compute() == expected).all()
                assert abs(lazy.var(axis=0).compute() - expected.var(axis=0)).max() < 1e-9
                processes = set(lazy.astype(int).map_blocks(process).compute().ravel().tolist())
                assert os.getpid() not in processes and len(processes) == 2, processes
                left = client.run(lambda: sys.modules["h5py"].h5f.get_obj_count(types=1))
                assert not any(left.values()), left
        print("done")
"""


def test_processes_of_a_cluster_compute_the_same(sonata, tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed")
    paths = [sonata]
    for name in ("contiguous", "gzip", "linked"):
        target = sonata.with_name(f"cluster_{name}.nwb")
        storage = StorageOptions(**FORMS[name])
        paths.append(
            convert(sonata, target, metadata=SESSION, overwrite=True, storage=storage).path
        )
    script = tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(ON_A_CLUSTER))

    done = subprocess.run(
        [sys.executable, str(script), *map(str, paths)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
