"""Zarr stores equal HDF5 files, and are complete or do not exist."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pynwb import NWBHDF5IO

from ndx_simulation_output import (
    StorageOptions,
    convert,
    export_sonata,
    files,
    open_output,
    sonata,
)
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    LayoutError,
    MissingDependencyError,
    SourceError,
    TargetExistsError,
    WriteError,
)
from ndx_simulation_output.info import describe
from ndx_simulation_output.nwb.arrays import ArrayBlocks
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.writer import write
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.storage.partitions import Region
from tests.sonata.making import SESSION, differences, report
from tests.strategies import report_files

hdmf_zarr = pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
zarr = pytest.importorskip("zarr")
pytest.importorskip("dask", reason="dask is not installed")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The SONATA files of a small run: reports of two populations, spikes, potentials."""
    directory = tmp_path_factory.mktemp("run") / "sonata"
    sonata.write(simulate(duration=0.02), directory, dialect="bbp")
    return directory


@pytest.fixture(scope="module")
def in_hdf5(source) -> Path:
    return convert(source, source.parent / "run.nwb", metadata=SESSION).path


@pytest.fixture(scope="module")
def in_zarr(source) -> Path:
    return convert(source, source.parent / "run.nwb.zarr", metadata=SESSION).path


def to_zarr(source: Path, target: Path, **options: Any) -> Path:
    return convert(source, target, metadata=SESSION, **options).path


def assert_same(found: SimulationOutput, expected: SimulationOutput) -> None:
    assert [one.name for one in found.reports] == [one.name for one in expected.reports]
    for one, other in zip(found.reports, expected.reports, strict=True):
        assert (one.unit, one.times, one.provenance) == (other.unit, other.times, other.provenance)
        # hdmf-zarr stores numbers in the byte order of the machine.
        assert one.data.dtype == other.data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(one.data[:, :], other.data[:, :])
        np.testing.assert_array_equal(one.compartments.cell_ids[:], other.compartments.cell_ids[:])
        np.testing.assert_array_equal(one.compartments.ends[:], other.compartments.ends[:])
        for name, values in other.compartments.columns.items():
            np.testing.assert_array_equal(one.compartments.columns[name][:], values[:])
    for one, other in zip(found.spikes, expected.spikes, strict=True):
        np.testing.assert_array_equal(one.node_ids, other.node_ids)
        np.testing.assert_array_equal(one.times, other.times)
    for one, other in zip(found.potentials, expected.potentials, strict=True):
        np.testing.assert_array_equal(one.data[:, :], other.data[:, :])
        np.testing.assert_array_equal(one.electrodes.positions, other.electrodes.positions)
    assert found.run == expected.run


def run_script(script, *arguments):
    """Run a script beside its files, which must succeed, and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_store_equals_the_hdf5_file(in_hdf5, in_zarr):
    with open_output(in_hdf5) as expected, open_output(in_zarr) as found:
        assert_same(found, expected)
        assert found.notes == expected.notes


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@settings(max_examples=12)
@given(file=report_files("bbp"), chunks=st.none() | st.tuples(*[st.integers(1, 4)] * 2))
def test_any_report_is_equal_in_both(file, chunks, tmp_path_factory):
    directory = tmp_path_factory.mktemp("any")
    source = file.write(directory / "v.h5")
    options = {"storage": StorageOptions(chunks=chunks), "metadata": SESSION}

    first = convert(source, directory / "v.nwb", **options).path
    second = convert(source, directory / "v.nwb.zarr", **options).path

    with open_output(first) as expected, open_output(second) as found:
        assert_same(found, expected)


@pytest.mark.parametrize(
    ("storage", "workers"),
    [
        ({"compression": "gzip"}, None),
        ({"compression": "none"}, 0),
        ({"chunks": (7, 5)}, None),
        ({"chunks": (1, 1000), "memory": 2**20}, None),
        ({"access": "cells"}, 3),
        ({"access": "frames"}, None),
    ],
    ids=str,
)
def test_values_do_not_depend_on_how_they_are_stored(source, in_hdf5, tmp_path, storage, workers):
    target = tmp_path / "run.nwb.zarr"
    to_zarr(source, target, storage=StorageOptions(**storage), workers=workers)

    with open_output(in_hdf5) as expected, open_output(target) as found:
        assert_same(found, expected)


def test_chunks_and_compression_are_as_planned(source, tmp_path):
    default = to_zarr(source, tmp_path / "a.nwb.zarr", storage=StorageOptions(chunks=(50, 20)))
    plain = to_zarr(source, tmp_path / "b.nwb.zarr", storage=StorageOptions(compression="none"))

    with open_output(default) as first, open_output(plain) as second:
        data = first["v_exc"].data
        assert (data.chunks, data.compression) == ((50, 20), "zstd")
        assert 0 < data.stored_bytes < 0.9 * np.prod(data.shape) * 4
        assert second["v_exc"].data.compression is None
        assert second["v_exc"].data.stored_bytes >= np.prod(data.shape) * 4
        assert any("chunks of 50 × 20, zstd" in line for line in describe(first))


def test_columns_of_spikes_are_written_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("ndx_simulation_output.nwb.arrays._BUFFER_GB", 0.002)
    sizes: list[int] = []
    read = vars(ArrayBlocks)["_get_data"]

    def measured(blocks: ArrayBlocks, selection: Any) -> np.ndarray:
        values = read(blocks, selection)
        sizes.append(values.nbytes)
        return values

    monkeypatch.setattr(ArrayBlocks, "_get_data", measured)
    rng = np.random.default_rng(0)
    spikes = Spikes("exc", rng.integers(0, 100, 300_000), rng.random(300_000))
    target = to_zarr(SimulationOutput(spikes=(spikes,)), tmp_path / "run.nwb.zarr")

    assert len(sizes) >= 4  # times and positions in the source
    assert max(sizes) <= 2e6
    assert zarr.open(str(target), mode="r")["units/spike_times"].nbytes >= 2e6
    assert zarr.open(str(target), mode="r")["units/spike_times"].chunks == (125_000,)
    with open_output(target) as found:
        np.testing.assert_array_equal(found.spikes[0].node_ids, spikes.node_ids)
        np.testing.assert_array_equal(found.spikes[0].times, spikes.times)


def test_quantized_values_are_the_same(source, tmp_path):
    first = convert(
        source, tmp_path / "a.nwb", metadata=SESSION, storage=StorageOptions(quantize="0.01mV")
    ).path
    second = to_zarr(source, tmp_path / "a.nwb.zarr", storage=StorageOptions(quantize="0.01mV"))

    with open_output(first) as expected, open_output(second) as found:
        assert_same(found, expected)
        assert found["v_exc"].data.dtype == np.int16


@pytest.mark.parametrize(
    "file",
    [report(rows=0, time=(0.0, 0.0, 0.1)), report(counts=(0, 0))],
    ids=["no times", "no compartments"],
)
def test_data_without_columns_or_rows_are_stored(tmp_path, file):
    target = to_zarr(file.write(tmp_path / "v.h5"), tmp_path / "v.nwb.zarr")

    with open_output(tmp_path / "v.h5") as expected, open_output(target) as found:
        assert found["v"].data.shape == expected["v"].data.shape
        assert found["v"].to_dask().compute().shape == expected["v"].data.shape


def test_a_store_is_exported_to_sonata(source, in_zarr, tmp_path):
    written = export_sonata(in_zarr, tmp_path / "back")

    assert not written.left_out
    for path in written.files:
        if path.suffix == ".h5":
            assert differences(path, source / path.name) == []


def test_traces_of_some_cells_are_read_from_a_store(in_hdf5, in_zarr):
    chosen = {"cells": [3, 0], "numbers": [1, 0], "start": 0.005, "step": 3}
    with open_output(in_hdf5) as first, open_output(in_zarr) as second:
        expected, found = (one["v_exc"].get_traces(**chosen) for one in (first, second))
        lazy = second["v_exc"].to_dask(**chosen, chunks=(50, 20))

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_hdmf_zarr_reads_it_without_this_package(in_zarr, in_hdf5):
    code = """
        import sys
        sys.modules["ndx_simulation_output"] = None
        from hdmf_zarr import NWBZarrIO
        with NWBZarrIO(sys.argv[1], "r") as io:
            nwbfile = io.read()
            series = nwbfile.acquisition["v_exc"]
            print(type(series).__name__, series.data.shape, series.unit, series.conversion)
            print(series.compartments.id[:4], nwbfile.electrodes["group"].data[0].name)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(in_zarr)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [
        "CompartmentSeries (200, 139) volts 0.001",
        "[0 1 2 3] electrodes_ecp",
    ], done.stderr


def test_a_store_can_be_moved(in_zarr, tmp_path):
    moved = tmp_path / "elsewhere" / "moved.nwb.zarr"
    moved.parent.mkdir()
    in_zarr.rename(moved)

    try:
        with open_output(moved) as output:
            assert output.potentials[0].electrodes is not None
            assert output["v_exc"].get_traces(cells=0).shape[0] == 200
    finally:
        moved.rename(in_zarr)


def test_a_store_is_written_without_dask(source, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in {"dask", "distributed"}]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "dask", None)

    target = to_zarr(source / "v.h5", tmp_path / "v.nwb.zarr")

    with open_output(source / "v.h5") as expected, open_output(target) as found:
        np.testing.assert_array_equal(found.reports[0].data[:, :], expected.reports[0].data[:, :])


@pytest.mark.filterwarnings("default")
def test_a_store_is_checked(in_zarr):
    found = check_file(in_zarr)

    assert {one.rule for one in found if one.severity == "error"} <= {"check_subject_exists"}


def test_the_command_line_writes_and_shows_a_store(source, tmp_path):
    target = str(tmp_path / "run.nwb.zarr")
    plan = CliRunner().invoke(main, ["convert", str(source), target, "--plan"])

    made = CliRunner().invoke(main, ["convert", str(source), target])
    shown = CliRunner().invoke(main, ["info", target])

    assert "v_exc: 200 × 139" in plan.output
    assert "zstd" in plan.output
    assert made.exit_code == 0, made.output
    assert "report v_exc: population exc" in shown.output


def test_progress_sums_to_the_total(source, tmp_path):
    calls: list[tuple[int, int]] = []

    to_zarr(source, tmp_path / "run.nwb.zarr", progress=lambda *call: calls.append(call))

    assert sum(done for done, _ in calls) == calls[0][1]


class TestWhole:
    def test_an_existing_store_is_replaced_only_with_overwrite(self, source, tmp_path):
        target = to_zarr(source / "v.h5", tmp_path / "v.nwb.zarr")
        before = sorted(target.rglob("*"))

        with pytest.raises(TargetExistsError, match="exists already"):
            to_zarr(source / "spikes.h5", target)
        assert sorted(target.rglob("*")) == before

        to_zarr(source / "spikes.h5", target, overwrite=True)
        with open_output(target) as output:
            assert (len(output.reports), len(output.spikes)) == (0, 2)
        assert list(tmp_path.iterdir()) == [target]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_directory_other_than_a_store_is_never_replaced(self, source, tmp_path, overwrite):
        target = tmp_path / "v.zarr"
        (target / "mine").mkdir(parents=True)

        with pytest.raises(TargetExistsError, match="is a directory"):
            to_zarr(source, target, overwrite=overwrite)

        assert list(target.iterdir()) == [target / "mine"]

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (OSError(28, "No space left on device"), WriteError),
            (SourceError("damaged"), SourceError),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ],
        ids=["full", "damaged", "interrupted"],
    )
    def test_a_failed_conversion_keeps_the_old_store(
        self, source, tmp_path, monkeypatch, error, raised, workers
    ):
        target = to_zarr(source / "v.h5", tmp_path / "v.nwb.zarr")
        before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
        read = Region.read

        def failing(region: Region, rows: slice, columns: slice) -> Any:
            if rows.start > 0:
                raise error
            return read(region, rows, columns)

        monkeypatch.setattr(Region, "read", failing)
        threads = set(threading.enumerate())
        with pytest.raises(raised):
            to_zarr(
                source,
                target,
                overwrite=True,
                workers=workers,
                storage=StorageOptions(chunks=(10, 10)),
            )

        assert list(tmp_path.iterdir()) == [target]
        assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before
        assert set(threading.enumerate()) <= threads

    def test_a_failed_replacement_restores_the_old_store(self, source, tmp_path, monkeypatch):
        target = to_zarr(source / "v.h5", tmp_path / "v.nwb.zarr")
        rename = Path.rename

        def refused(path: Path, new: Path) -> Path:
            if ".part" in path.name:
                raise PermissionError(13, "Permission denied")
            return rename(path, new)

        monkeypatch.setattr(Path, "rename", refused)
        monkeypatch.setattr(files, "exchange", lambda *_: False)
        with pytest.raises(WriteError, match=r"cannot write .*v\.nwb\.zarr: .*Permission denied"):
            to_zarr(source, target, overwrite=True)

        assert list(tmp_path.iterdir()) == [target]
        with open_output(target) as output:
            assert not output.spikes

    def test_a_file_of_that_name_is_replaced_with_overwrite(self, source, tmp_path):
        target = tmp_path / "v.zarr"
        target.write_text("a file")

        to_zarr(source / "v.h5", target, overwrite=True)

        assert target.is_dir()
        assert list(tmp_path.iterdir()) == [target]


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "options", "said"),
        [
            ("v.nwb.zarr", {"link": True}, "omit link"),
            ("v.nwb.zarr", {"chunks": "contiguous"}, "cannot be contiguous"),
            ("v.nwb", {"compression": "zstd"}, r"use gzip, or write a Zarr store, NAME\.nwb\.zarr"),
        ],
    )
    def test_options_that_the_format_does_not_have(self, source, tmp_path, name, options, said):
        with pytest.raises(LayoutError, match=said):
            convert(source, tmp_path / name, metadata=SESSION, storage=StorageOptions(**options))

        assert list(tmp_path.iterdir()) == []

    def test_ranks_of_mpi(self, tmp_path):
        team = SimpleNamespace(size=2)

        with pytest.raises(LayoutError, match="write it without MPI"):
            write(SimulationOutput(), tmp_path / "v.nwb.zarr", metadata={}, team=team)

    def test_writing_without_the_library(self, source, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "hdmf_zarr", None)

        with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[zarr\]"):
            to_zarr(source, tmp_path / "v.nwb.zarr")

        assert list(tmp_path.iterdir()) == []

    def test_reading_without_the_libraries(self, in_zarr, monkeypatch):
        monkeypatch.setitem(sys.modules, "hdmf_zarr", None)

        with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[zarr\]"):
            open_output(in_zarr)

    def test_a_store_of_something_else(self, tmp_path):
        zarr.open_group(str(tmp_path / "a.zarr"), mode="w")

        with pytest.raises(SourceError, match=r"a\.zarr"):
            open_output(tmp_path / "a.zarr")

    @pytest.mark.skipif(int(zarr.__version__[0]) >= 3, reason="this zarr-python reads Zarr 3")
    def test_a_store_of_zarr_3_where_only_zarr_2_is_read(self, tmp_path):
        target = tmp_path / "a.nwb.zarr"
        target.mkdir()
        facts = {"zarr_format": 3, "node_type": "group", "attributes": {"nwb_version": "2.10.0"}}
        (target / "zarr.json").write_text(json.dumps(facts))

        with pytest.raises(SourceError, match=r"has the Zarr format 3; install hdmf-zarr"):
            open_output(target)

    @pytest.mark.skipif(int(zarr.__version__[0]) >= 3, reason="no pickles are written for Zarr 3")
    def test_pickled_references_are_a_clear_error(self, in_hdf5, tmp_path):
        target = str(tmp_path / "pickled.nwb.zarr")
        with NWBHDF5IO(str(in_hdf5), "r") as first, hdmf_zarr.NWBZarrIO(target, "w") as second:
            second.export(src_io=first, write_args={"link_data": False})

        try:
            open_output(target).close()
        except SourceError as error:
            assert "unpickling" in str(error)  # noqa: PT017 - older numcodecs read them

    def test_a_damaged_chunk(self, source, tmp_path):
        target = to_zarr(source / "v.h5", tmp_path / "v.nwb.zarr")
        chunks = [path for path in (target / "acquisition/v_exc/data").rglob("*") if path.is_file()]
        largest = max(chunks, key=lambda path: path.stat().st_size)
        os.truncate(largest, 40)

        with open_output(target) as output, pytest.raises(SourceError, match=largest.name):
            output["v_exc"].get_traces()


ON_A_CLUSTER = """
    import sys
    from pathlib import Path
    from distributed import Client, LocalCluster
    from ndx_simulation_output import StorageOptions, convert
    from ndx_simulation_output.errors import SourceError
    from tests.sonata.making import SESSION

    def main(source, damaged, target):
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with cluster, Client(cluster) as client:
            storage = StorageOptions(chunks=(5, 7))
            convert(source, target, metadata=SESSION, storage=storage, progress=print)
            # Each worker has opened the source; nobody here has written a chunk.
            loaded = client.run(lambda: "ndx_simulation_output.storage.zarr_writing" in sys.modules)
            assert all(loaded.values()), loaded
            try:
                convert(damaged, target, metadata=SESSION, storage=storage, overwrite=True)
            except SourceError as error:
                print(error)

    if __name__ == "__main__":
        main(*sys.argv[1:])
"""


def test_a_cluster_writes_equal_values(tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed")
    random = np.random.default_rng(2)
    counts = [5] * 8
    data = random.normal(-65, 9, (40, 40)).astype(np.float32)
    file = report(np.arange(8)[::-1], counts, rows=40, data=data, time=(0.0, 4.0, 0.1))
    source = file.write(tmp_path / "v.h5")
    file.storage["report/pop/data"] = {"chunks": (10, 10), "compression": "gzip"}
    damaged = file.write(tmp_path / "damaged.h5")
    with h5py.File(damaged) as opened:
        place = opened["report/pop/data"].id.get_chunk_info(9).byte_offset
    with damaged.open("r+b") as raw:
        raw.seek(place)
        raw.write(bytes(50))
    target, script = tmp_path / "v.nwb.zarr", tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(ON_A_CLUSTER))
    before = {*tmp_path.iterdir(), target}

    done = run_script(script, source, damaged, target)

    *progress, error = done.stdout.splitlines()
    assert sum(int(line.split()[0]) for line in progress) == data.nbytes
    assert "damaged.h5" in error
    assert set(tmp_path.iterdir()) == before
    with open_output(source) as expected, open_output(target) as found:
        np.testing.assert_array_equal(found["v"].get_traces(), expected["v"].get_traces())


WITH_A_WORKER_THAT_DIES = """
    import os
    import sys
    from distributed import Client, LocalCluster
    from ndx_simulation_output import StorageOptions, convert, open_output
    from ndx_simulation_output.errors import WriteError
    from tests.sonata.making import SESSION

    def main(source, target):
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with cluster, Client(cluster) as client:
            left = list(client.run(os.getpid).values())

            def kill(n_bytes, total):
                while left:
                    os.kill(left.pop(), 9)

            try:
                storage = StorageOptions(chunks=(5, 7))
                convert(source, target, metadata=SESSION, storage=storage, progress=kill)
                print("whole")
            except WriteError as error:
                print("refused", error)
            with open_output(source) as output:
                lazy = output["v"].to_dask(chunks=(5, 7))
                expected = output["v"].get_traces()
            begun = client.compute(lazy)
            os.kill(client.submit(os.getpid, pure=False).result(), 9)
            assert (begun.result() == expected).all()

    if __name__ == "__main__":
        main(*sys.argv[1:])
"""


def test_a_store_is_whole_or_refused_if_all_workers_of_a_cluster_die(tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed")
    data = np.random.default_rng(2).normal(-65, 9, (40, 40)).astype(np.float32)
    file = report(np.arange(8), [5] * 8, rows=40, data=data, time=(0.0, 4.0, 0.1))
    source, target = file.write(tmp_path / "v.h5"), tmp_path / "v.nwb.zarr"
    script = tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(WITH_A_WORKER_THAT_DIES))

    done = run_script(script, source, target)

    if done.stdout.startswith("refused"):
        assert {*tmp_path.iterdir()} == {source, script}
        return
    assert done.stdout == "whole\n"
    assert {*tmp_path.iterdir()} == {source, script, target}
    with open_output(target) as found:
        np.testing.assert_array_equal(found["v"].data[:], data)


def _linked_store(tmp_path: Path, way: str) -> Path:
    """A store whose data, or a link of which, are in another one outside its folder."""
    path = convert(
        report().write(tmp_path / "v.h5"), tmp_path / "run" / "v.nwb.zarr", metadata=SESSION
    ).path
    data = path / "acquisition" / "v" / "data"
    if way == "symbolic":
        data.rename(tmp_path / "data")
        data.symlink_to(tmp_path / "data")
        return path
    shutil.copytree(path, tmp_path / "other.zarr")
    link = {"source": "../../other.zarr", "path": "/acquisition/v", "name": "linked"}
    group = zarr.open(str(path), mode="r+")["acquisition"]
    group.attrs["zarr_link"] = [link]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))
    return path


@pytest.mark.parametrize("way", ["symbolic", "link"])
def test_a_store_that_leads_out_of_its_folder_is_refused(way: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = _linked_store(tmp_path, way)

    for call in (open_output, check_file):
        with pytest.raises(SourceError, match=r"of .*v\.nwb\.zarr refers to .*--trust"):
            call(path)

    if way == "symbolic":
        with open_output(path, trust=True) as output:
            assert output.reports[0].data.shape == (3, 3)
