"""A chunk of a Zarr store that is lost or damaged is an error that names it, never zeros."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ndx_simulation_output import StorageOptions, convert, export_sonata, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import SimulationOutputWarning, SourceError, WriteError
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.zarr import check_store
from tests.sonata.making import SESSION, report, spikes

hdmf_zarr = pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
zarr = pytest.importorskip("zarr")
pytest.importorskip("dask", reason="dask is not installed")

from ndx_simulation_output.storage import zarr_chunks  # noqa: E402 - needs zarr

OF_ZARR_3 = zarr_chunks.IS_ZARR_3
METADATA = {".zarray", ".zattrs", ".zgroup", "zarr.json"}


def sources(directory: Path) -> list[Path]:
    """Return reports of 40 rows and 8 columns, all of them zero, and spikes."""
    zeros = np.zeros((40, 8), np.float32)
    time = (0.0, 4.0, 0.1)
    file = report(range(4), [2] * 4, rows=40, data=zeros, time=time)
    return [file.write(directory / "v.h5"), spikes().write(directory / "spikes.h5")]


def write(directory: Path, **storage: Any) -> Path:
    options = StorageOptions(chunks=(10, 4), **storage)
    target = directory / "run.nwb.zarr"
    return convert(sources(directory), target, metadata=SESSION, storage=options).path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def uncompressed(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("uncompressed"), compression="none")


@pytest.fixture
def store(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run.nwb.zarr"))


def chunks_of(store: Path, name: str = "acquisition/v/data") -> list[Path]:
    files = (path for path in (store / name).rglob("*") if path.is_file())
    return sorted(path for path in files if path.name not in METADATA)


def key_of(chunk: Path, store: Path) -> str:
    return chunk.relative_to(store).as_posix()


def declare(store: Path, name: str, shape: list[int], chunks: list[int] | None) -> None:
    """Change the shape of an array in all metadata of a store."""

    def changed(facts: dict[str, Any]) -> None:
        facts["shape"] = shape
        grid = facts if facts["zarr_format"] == 2 else facts["chunk_grid"]["configuration"]
        key = "chunks" if facts["zarr_format"] == 2 else "chunk_shape"
        grid[key] = chunks or grid[key]

    for file in (store / ".zmetadata", store / "zarr.json"):
        if file.exists():
            whole = json.loads(file.read_text())
            if file.name == "zarr.json":
                changed(whole["consolidated_metadata"]["metadata"][name])
            else:
                changed(whole["metadata"][f"{name}/.zarray"])
            file.write_text(json.dumps(whole))
    for file in (store / name / ".zarray", store / name / "zarr.json"):
        if file.exists():
            facts = json.loads(file.read_text())
            changed(facts)
            file.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "shape", "chunks"),
    [
        ("acquisition/v/data", [2**40, 8], None),
        ("acquisition/v/data", [2**40, 8], [2**40, 8]),
        ("general/simulation/compartments/id", [2**27], None),
    ],
)
def test_a_shape_without_chunks_is_refused(name, shape, chunks, store):
    declare(store, name, shape, chunks)

    with pytest.raises(SourceError, match=rf"{name} of .* has shape .*--trust"):
        open_output(store)

    if name.endswith("data"):
        with open_output(store, trust=True) as output:
            assert output["v"].data.shape == tuple(shape)


def read_all(path: Path) -> None:
    """Read every value that an open output gives."""
    with open_output(path) as output:
        for one in output.reports:
            one.get_traces()
            table = one.compartments
            for values in (table.cell_ids, table.ends, *table.columns.values()):
                np.asarray(values[:])
        for population in output.spikes:
            np.asarray(population.times[:])


def unmarked(store: Path) -> Path:
    """Make a store that does not say which chunks it has, as other writers do."""
    group = zarr.open_group(str(store), mode="r+", path="specifications")
    del group.attrs[zarr_chunks.MARK]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(store))
    return store


def series_of(store: Path) -> Any:
    """Return a series as pynwb users read it, with hdmf-zarr's own class."""
    return hdmf_zarr.NWBZarrIO(str(store), "r").read().acquisition["v"]


def test_every_chunk_is_written_even_of_zeros(whole):
    arrays = zarr_chunks.LocalSource.of(whole).arrays

    assert len(chunks_of(whole)) == 4 * 2
    assert list(zarr_chunks.missing_chunks(whole)) == []
    assert set(arrays.complete) == set(arrays.metadata)
    assert list(check_store(whole)) == []
    read_all(whole)


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "traces": lambda store, _: open_output(store)["v"].get_traces(),
    "one cell": lambda store, _: open_output(store)["v"].get_traces(cells=3),
    "dask": lambda store, _: open_output(store)["v"].to_dask().compute(),
    "dataframe": lambda store, _: series_of(store).to_dataframe(),
    "xarray": lambda store, _: series_of(store).to_xarray(),
    "convert": lambda store, to: convert(store, to / "a.nwb", metadata=SESSION),
    "convert to zarr": lambda store, to: convert(store, to / "a.nwb.zarr", metadata=SESSION),
    "export": export_sonata,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_chunk_is_an_error_that_names_it(store, tmp_path, way):
    lost = chunks_of(store)[-1]
    lost.unlink()
    (target := tmp_path / "target").mkdir()

    with pytest.raises(SourceError, match=rf"run\.nwb\.zarr has lost the chunk.*{lost.name}"):
        WAYS[way](store, target)

    assert not list(target.iterdir())


def test_a_lost_chunk_of_any_array_is_an_error(store):
    read = set()
    for name in zarr_chunks.LocalSource.of(store).arrays.metadata:
        lost = chunks_of(store, name)[0]
        content = lost.read_bytes()
        lost.unlink()
        try:
            read_all(store)
        except SourceError as error:
            assert key_of(lost, store) in str(error)  # noqa: PT017 - not all arrays are read
            read.add(name)
        lost.write_bytes(content)

    table = "general/simulation/compartments"
    expected = {"acquisition/v/data", "units/spike_times", f"{table}/id", f"{table}/number"}
    assert expected <= read


def test_commands_tell_of_a_lost_chunk_in_one_line(store, tmp_path):
    lost = chunks_of(store)[0]
    lost.unlink()
    commands = [
        ["check", str(store)],
        ["plot", str(store), "-o", str(tmp_path / "a.png")],
        ["export", str(store), str(tmp_path / "back")],
        ["convert", str(store), str(tmp_path / "a.nwb")],
    ]

    results = [CliRunner().invoke(main, command) for command in commands]

    assert [result.exit_code for result in results] == [1] * 4
    assert "error: acquisition/v/data: 1 chunks are lost" in results[0].output
    for result in results[1:]:
        (line,) = [line for line in result.output.splitlines() if line.startswith("error:")]
        assert key_of(lost, store) in line


def test_a_temporary_file_of_a_copy_is_not_a_chunk(store):
    lost = chunks_of(store)[0]
    lost.rename(lost.with_name(f".{lost.name}.XyZabc"))

    ((severity, *_, message),) = check_store(store)

    assert (severity, message[:17]) == ("error", "1 chunks are lost")


def test_metadata_that_are_a_list_are_an_error_that_names_them(store):
    name = "zarr.json" if (store / "zarr.json").exists() else ".zmetadata"
    (store / name).write_text("[1, 2]")

    with pytest.raises(SourceError, match=rf"{name} of a Zarr store is damaged: it has \[1, 2\]"):
        open_output(store)


def test_an_archive_of_a_store_has_to_be_unpacked(store):
    archive = shutil.make_archive(str(store), "zip", store)

    with pytest.raises(SourceError, match=r"run\.nwb\.zarr\.zip is a ZIP archive; unpack it first"):
        open_output(archive)


def test_the_inspector_finds_a_lost_chunk(store):
    inspector = pytest.importorskip("nwbinspector")
    from ndx_simulation_output.inspector import CHECKS

    (check,) = [one for one in CHECKS if one.__name__ == "check_simulation_chunks_stored"]
    chunks_of(store)[0].unlink()

    with hdmf_zarr.NWBZarrIO(str(store), "r") as io:
        messages = check(io.read())

    assert messages[0].importance == inspector.Importance.CRITICAL
    assert "1 chunks are lost" in messages[0].message


class TestChanged:
    def test_a_store_that_has_moved(self, store):
        with open_output(store) as output:
            lazy, sent = output["v"].to_dask(), pickle.dumps(output["v"].to_dask())
            store.rename(store.with_name("moved.nwb.zarr"))

            for read in (lazy.compute, pickle.loads(sent).compute, output["v"].get_traces):  # noqa: S301 - ours
                with pytest.raises(SourceError, match=r"run\.nwb\.zarr does not exist any more"):
                    read()

    def test_a_store_that_was_replaced(self, store, tmp_path):
        with open_output(store) as output:
            lazy = output["v"].to_dask()
            convert(sources(tmp_path), store, metadata=SESSION, overwrite=True)

            with pytest.raises(SourceError, match=r"run\.nwb\.zarr has changed since it was open"):
                lazy.compute()
        read_all(store)

    def test_an_array_that_was_removed(self, store):
        with open_output(store) as output:
            shutil.rmtree(store / "acquisition/v/data")

            with pytest.raises(SourceError, match="has lost the chunk acquisition/v/data"):
                output["v"].get_traces()

    @pytest.mark.parametrize("content", ["", "{", "[]", None])
    def test_an_array_whose_metadata_are_damaged(self, store, content):
        path = store / "acquisition/v/data" / ("zarr.json" if OF_ZARR_3 else ".zarray")
        with open_output(store) as output:
            lazy = output["v"].to_dask()
            path.unlink() if content is None else path.write_text(content)

            with pytest.raises(
                SourceError, match=r"run\.nwb\.zarr cannot be read: acquisition/v/da"
            ):
                lazy.compute()

    def test_a_dask_array_is_small_to_send_and_keeps_no_file_open(self, store):
        with open_output(store) as output:
            data = output["v"].data
            sent = pickle.dumps(data.detached())

        assert len(sent) < 1000
        np.testing.assert_array_equal(pickle.loads(sent)[3:5, :], np.zeros((2, 8)))  # noqa: S301


def other_size(chunk: Path) -> None:
    """Replace a chunk of 10 × 4 values by one of 5 × 4."""
    path = chunk.with_name("other.zarr")
    options = {"compressors" if OF_ZARR_3 else "compressor": zarr_codec(chunk)}
    create = getattr(zarr.open_group(str(path), mode="w"), "create_array" if OF_ZARR_3 else "empty")
    array = create("a", shape=(5, 4), chunks=(5, 4), dtype="f4", **options)
    array[:] = np.ones((5, 4))
    chunk.write_bytes(chunks_of(path, "a")[0].read_bytes())
    shutil.rmtree(path)


def zarr_codec(chunk: Path) -> Any:
    store = next(parent for parent in chunk.parents if parent.suffix == ".zarr")
    array = zarr.open_group(str(store), mode="r")["acquisition/v/data"]
    return array.compressors if OF_ZARR_3 else array.compressor


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one byte short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"a"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a chunk"),
    "another size": other_size,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
    "a loop of links": lambda path: (path.unlink(), path.symlink_to(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_chunk_is_an_error_that_names_it(store, damage):
    chunk = chunks_of(store)[3]
    DAMAGES[damage](chunk)

    assert_refused(store, chunk)


@pytest.mark.parametrize("damage", ["one byte short", "one byte more", "empty", "another size"])
def test_a_damaged_chunk_that_is_not_compressed_is_an_error(uncompressed, tmp_path, damage):
    store = Path(shutil.copytree(uncompressed, tmp_path / "run.nwb.zarr"))
    chunk = chunks_of(store)[3]
    DAMAGES[damage](chunk)

    assert_refused(store, chunk)


def assert_refused(store: Path, chunk: Path) -> None:
    for selected in ({}, {"cells": 2}, {"start": 0.0015}):
        with pytest.raises(SourceError) as found, open_output(store) as output:
            output["v"].get_traces(**selected)
        assert key_of(chunk, store) in str(found.value)
        assert "run.nwb.zarr" in str(found.value)


class TestOfOthers:
    def test_a_missing_chunk_reads_as_zarr_says_with_one_warning(self, store):
        first, *_, last = chunks_of(unmarked(store))
        first.unlink()
        last.unlink()

        with (
            pytest.warns(SimulationOutputWarning, match="does not hold the chunk") as told,
            open_output(store) as output,
        ):
            values = output["v"].get_traces()
        found = list(check_store(store))

        assert len(told) == 1
        assert values.shape == (40, 8)
        assert [one[:3] for one in found] == [
            ("warning", "check_chunks_stored", "acquisition/v/data")
        ]
        assert "2 chunks are not stored" in found[0][3]

    def test_a_store_of_hdmf_zarr_with_all_chunks_is_read_without_a_word(self, store):
        read_all(unmarked(store))

    def test_chunks_beyond_those_that_were_written_may_be_absent(self, store):
        array = zarr.open_group(str(store), mode="r+")["acquisition/v/data"]
        array.resize((60, 8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(store))

        with (
            pytest.warns(SimulationOutputWarning, match="does not hold the chunk"),
            open_output(store) as output,
        ):
            assert not output["v"].data[45:, :].any()

    def test_metadata_that_were_not_consolidated_again(self, store):
        zarr.open_array(str(store / "acquisition/v/data"), mode="r+").resize((60, 8))

        (found,) = [one for one in check_file(store) if one.severity == "error"]

        assert (found.rule, found.where) == ("check_metadata_consolidated", "acquisition/v/data")

    def test_a_store_without_consolidated_metadata(self, store):
        (store / ".zmetadata").unlink(missing_ok=True)
        if OF_ZARR_3:
            facts = json.loads((store / "zarr.json").read_bytes())
            del facts["consolidated_metadata"]
            (store / "zarr.json").write_text(json.dumps(facts))
        read_all(store)
        lost = chunks_of(store)[2]
        lost.unlink()

        with pytest.raises(SourceError, match="has lost the chunk"):
            read_all(store)
        assert [one.where for one in check_file(store)] == ["acquisition/v/data"]

    def test_a_declared_shape_does_not_cost_more_than_its_files(self, store):
        name = "zarr.json" if OF_ZARR_3 else ".zarray"
        path = store / "acquisition/v/data" / name
        facts = json.loads(path.read_bytes()) | {"shape": [10**15, 8]}
        path.write_text(json.dumps(facts))
        (store / ".zmetadata").unlink(missing_ok=True)
        if OF_ZARR_3:
            facts = json.loads((store / "zarr.json").read_bytes())
            del facts["consolidated_metadata"]
            (store / "zarr.json").write_text(json.dumps(facts))

        (found,) = zarr_chunks.missing_chunks(store)

        assert found[0] == "acquisition/v/data"
        assert found[2] == 2 * 10**14 - 8


@pytest.mark.parametrize("separator", [".", "/"])
def test_chunks_in_directories(tmp_path, separator):
    options: dict[str, Any] = {"shape": (4, 4), "chunks": (2, 2), "dtype": "f4"}
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    if OF_ZARR_3:
        key = {"name": "v2", "separator": separator}
        array = group.create_array("0/a", chunk_key_encoding=key, **options)
    else:
        array = group.create_dataset("0/a", dimension_separator=separator, **options)
    array[:] = 1
    chunks_of(tmp_path / "a.zarr", "0/a")[3].unlink()

    found = list(zarr_chunks.missing_chunks(tmp_path / "a.zarr"))

    assert found == [("0/a", f"1{separator}1", 1, False)]


@pytest.mark.skipif(not OF_ZARR_3, reason="only Zarr 3 has shards")
def test_a_shard_without_all_chunks_is_whole(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    array = group.create_array("a", shape=(8, 4), chunks=(2, 2), shards=(4, 4), dtype="f4")
    array[:2] = 1

    assert list(zarr_chunks.missing_chunks(tmp_path / "a.zarr")) == [("a", "c/1/0", 1, False)]
    array[4:6] = 1
    assert list(zarr_chunks.missing_chunks(tmp_path / "a.zarr")) == []


def test_a_worker_that_writes_elsewhere_is_told_of(tmp_path, monkeypatch):
    from ndx_simulation_output.storage import zarr_writing

    monkeypatch.setattr(zarr_writing, "_copy", lambda *_: 0)

    with pytest.raises(WriteError, match=r"1 chunks of acquisition/v/data.*same file system"):
        convert(sources(tmp_path)[0], tmp_path / "v.nwb.zarr", metadata=SESSION)

    assert [path.name for path in tmp_path.glob("*.zarr")] == []


class TestOnServers:
    @pytest.fixture
    def url(self, whole, monkeypatch) -> str:
        system = pytest.importorskip("fsspec").filesystem("memory")
        monkeypatch.setattr(type(system), "store", {})
        monkeypatch.setattr(type(system), "pseudo_dirs", [""])
        system.put(str(whole), "/run.nwb.zarr", recursive=True)
        return "memory://run.nwb.zarr"

    def test_a_store_is_read_by_its_url(self, whole, url):
        with open_output(url) as output, open_output(whole) as expected:
            lazy = output["v"].to_dask()
            np.testing.assert_array_equal(output["v"].get_traces(), expected["v"].get_traces())
            np.testing.assert_array_equal(output.spikes[0].times, expected.spikes[0].times)
            assert output.notes == expected.notes
        assert lazy.compute().shape == (40, 8)

    def test_a_lost_chunk_is_an_error_that_names_it(self, whole, url):
        lost = key_of(chunks_of(whole)[-1], whole)
        system = pytest.importorskip("fsspec").filesystem("memory")
        system.rm(f"/run.nwb.zarr/{lost}")

        with open_output(url) as output, pytest.raises(SourceError, match=f"has lost the .*{lost}"):
            output["v"].get_traces()

    def test_a_cut_chunk_is_an_error_that_names_it(self, whole, url):
        cut = key_of(chunks_of(whole)[-1], whole)
        system = pytest.importorskip("fsspec").filesystem("memory")
        system.pipe_file(f"/run.nwb.zarr/{cut}", system.cat_file(f"/run.nwb.zarr/{cut}")[:-1])

        with open_output(url) as output, pytest.raises(SourceError, match=f"is damaged.*{cut}"):
            output["v"].get_traces()

    def test_a_folder_that_is_not_there(self, url):
        del url
        with pytest.raises(
            SourceError, match=r"memory://none\.zarr is not a Zarr store with conso"
        ):
            open_output("memory://none.zarr")

    def test_an_object_store(self, whole, tmp_path):
        for library in ("moto", "s3fs", "flask"):
            pytest.importorskip(library, reason=f"{library} is not installed")
        lost = key_of(chunks_of(whole)[-1], whole)
        script = tmp_path / "in_s3.py"
        script.write_text(textwrap.dedent(IN_S3))

        done = run([str(script), str(whole), lost])

        assert done.stdout.splitlines()[-3:] == [
            "(40, 8) (40, 8)",
            f"SourceError s3://bucket/run.nwb.zarr has lost the chunk {lost}",
            "SourceError",
        ], done.stderr


IN_S3 = """
    import os, sys
    from moto.server import ThreadedMotoServer
    from ndx_simulation_output import open_output
    from ndx_simulation_output.errors import SourceError

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "none"
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())

    import s3fs

    system = s3fs.S3FileSystem(endpoint_url=address)
    system.mkdir("bucket")
    system.put(sys.argv[1], "bucket/run.nwb.zarr", recursive=True)
    options = {"endpoint_url": address}
    with open_output("s3://bucket/run.nwb.zarr", storage_options=options) as output:
        lazy = output["v"].to_dask()
        print(output["v"].get_traces().shape, lazy.compute().shape)
        system.rm("bucket/run.nwb.zarr/" + sys.argv[2])
        try:
            output["v"].get_traces()
        except SourceError as error:
            print("SourceError", error)
    server.stop()
    try:
        options["timeout"], options["retries"] = 1, 1
        open_output("s3://bucket/run.nwb.zarr", storage_options=options)
    except SourceError as error:
        print("SourceError", flush=True)
    os._exit(0)
"""

ON_A_FAILING_CLUSTER = """
    import os, sys
    from distributed import Client, LocalCluster
    from ndx_simulation_output import StorageOptions, convert
    from ndx_simulation_output.errors import WriteError

    def main(source, target):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
        client = Client(cluster)
        calls = []

        def stop(*_):
            calls.append(1)
            if len(calls) == 3:
                client.close()

        try:
            convert(source, target, storage=StorageOptions(chunks=(1, 4)), progress=stop)
        except WriteError as error:
            print(error, flush=True)
        cluster.close()

    if __name__ == "__main__":
        main(*sys.argv[1:])
"""


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_cluster_that_fails_leaves_nothing(tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed")
    source, script = sources(tmp_path)[0], tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(ON_A_FAILING_CLUSTER))
    before = set(tmp_path.iterdir())

    done = run([str(script), str(source), str(tmp_path / "v.nwb.zarr")])

    assert "the cluster of dask has failed before all data were written" in done.stdout, done.stderr
    assert set(tmp_path.iterdir()) == before
