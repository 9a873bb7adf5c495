"""Files on servers, with a server that counts what is asked of it."""

import gc
import pickle
import shutil
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import (
    Compartments,
    CompartmentSeries,
    SimulationMetaData,
    convert,
    export_sonata,
    open_output,
    sonata,
)
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import MissingDependencyError, SourceError, WriteError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    parse_unit,
)
from ndx_simulation_output.remote import is_url, open_url
from ndx_simulation_output.storage.layout import StorageOptions
from tests.web_server import Handler, Server

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp, which fsspec[http] brings, is not installed")

CELLS, WIDTH, TIMES = 20, 200, 1000
MIB = 2**20
SESSION = datetime(2026, 1, 31, tzinfo=timezone.utc)


def network() -> SimulationOutput:
    """Describe 20 cells of 200 compartments, with values that hardly shrink."""
    columns = np.arange(CELLS * WIDTH)
    values = np.random.default_rng(1).normal(-65.0, 5.0, (TIMES, len(columns)))
    table = CompartmentTable(
        "exc",
        np.arange(CELLS),
        (np.arange(CELLS) + 1) * WIDTH,
        {"number": columns % WIDTH, "position": np.full(len(columns), 0.5)},
    )
    report = Report(
        name="v",
        report="v",
        data=values.astype(np.float32),
        times=RegularTimes(0.0, 10_000.0, TIMES),
        compartments=table,
        unit=parse_unit("mV"),
    )
    return SimulationOutput(reports=(report,))


def write_contiguous(output: SimulationOutput, path: Path) -> None:
    """Write what pynwb makes of an array by default."""
    report = output["v"]
    table = Compartments.from_arrays(
        report.compartments.columns["number"], np.full(CELLS, WIDTH), population="exc"
    )
    series = CompartmentSeries(
        "v", report.data, compartments=table, unit="volts", conversion=1e-3, rate=10_000.0
    )
    nwbfile = NWBFile("a contiguous layout", "id", SESSION)
    nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
    nwbfile.add_acquisition(series)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Directory of a file of this package, one of pynwb, and others that are not NWB."""
    directory = tmp_path_factory.mktemp("remote")
    output = network()
    metadata = {"NWBFile": {"session_start_time": SESSION}}
    writer.write(output, directory / "run.nwb", metadata=metadata)
    packed = StorageOptions(compression="gzip")
    writer.write(output, directory / "packed.nwb", metadata=metadata, storage=packed)
    write_contiguous(output, directory / "contiguous.nwb")
    sonata.write(simulate(duration=0.005), directory)
    shutil.copy(directory / "run.nwb", directory / "damaged.nwb")
    with h5py.File(directory / "damaged.nwb", "r+") as file:
        file["general/simulation/provenance"][()] = "no JSON"
    (directory / "text.nwb").write_text("not HDF5")
    (directory / "empty.nwb").touch()
    return directory


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch) -> None:
    monkeypatch.setattr("ndx_simulation_output.remote._PAUSE", 0.01)


@pytest.fixture
def server(files) -> Iterator[Server]:
    with Server(files).running() as server:
        yield server


@dataclass
class Stub:
    """Files on disk as those of a server: how they are opened, and what was."""

    kind: type[FileIO] = FileIO
    options: dict[str, object] = field(default_factory=dict)
    opened: list[FileIO] = field(default_factory=list)


def registry() -> dict[str, type]:
    """Give the file systems that fsspec has imported, by protocol."""
    from fsspec.registry import _registry

    return _registry


@pytest.fixture
def stub(monkeypatch) -> Stub:
    """What fsspec takes for the file system of ``s3``."""
    stub = Stub()

    class System(fsspec.AbstractFileSystem):
        protocol = "s3"
        cachable = False

        def __init__(self, **options: object) -> None:
            super().__init__()
            stub.options = options

        def _open(self, path: str, **_: object) -> FileIO:
            stub.opened.append(stub.kind(path))
            return stub.opened[-1]

    monkeypatch.setitem(registry(), "s3", System)
    return stub


def read_cell(url: str, cell: int = 7) -> np.ndarray:
    with open_output(url) as output:
        return output["v"].get_traces(cells=cell)


def expected_of(files: Path, cell: int = 7) -> np.ndarray:
    with open_output(files / "run.nwb") as output:
        return output["v"].get_traces(cells=cell)


@pytest.mark.parametrize(
    "path",
    [
        *("https://host/run.nwb", "s3://bucket/a.nwb", "gs://b/a", "memory://a"),
        *("simplecache::s3://bucket/a.nwb", "zip://a.nwb::filecache::https://host/a.zip"),
    ],
)
def test_a_url_of_any_protocol_is_one(path):
    assert is_url(path)


@pytest.mark.parametrize(
    "path", ["run.nwb", "C:/run.nwb", "C:\\run.nwb", "/data/a:b//c", Path("a"), ["https://a/b"]]
)
def test_a_path_is_no_url(path):
    assert not is_url(path)


def test_a_cell_is_read_in_few_requests(server, files):
    with open_output(server.url("run.nwb")) as output:
        to_open = len(server.sent)
        traces = output["v"].get_traces(cells=7)

    assert np.array_equal(traces, expected_of(files))
    # Its size, the first and the last block; then two chunks of half a MiB and where they are.
    assert to_open <= 3
    assert len(server.sent) <= to_open + 5
    assert sum(server.sent) <= 6 * MIB < (files / "run.nwb").stat().st_size / 2


def test_the_layout_halves_at_least_the_requests(server):
    ours = read_cell(server.url("run.nwb"))
    of_ours = len(server.sent)

    theirs = read_cell(server.url("contiguous.nwb"))

    assert np.allclose(ours, theirs)
    assert 2 * of_ours <= len(server.sent) - of_ours


def test_a_cell_of_a_compressed_file_is_read_in_few_requests(server, files):
    traces = read_cell(server.url("packed.nwb"))

    assert np.array_equal(traces, expected_of(files))
    assert len(server.sent) <= 8
    assert sum(server.sent) <= 5 * MIB < (files / "packed.nwb").stat().st_size / 2


def test_what_was_read_is_not_asked_for_again(server):
    with open_output(server.url("run.nwb")) as output:
        output["v"].get_traces(cells=7)
        asked = len(server.sent)
        output["v"].get_traces(cells=7)

    assert len(server.sent) == asked


@pytest.mark.usefixtures("stub")
def test_blocks_are_kept_up_to_a_bound_and_until_closing(files, monkeypatch):
    monkeypatch.setattr("ndx_simulation_output.remote._BLOCKS", 4)
    pieces = range(0, (files / "run.nwb").stat().st_size, MIB // 2)

    tracemalloc.start()
    with open_url(f"s3://{files}/run.nwb") as file:
        for _ in pieces:
            file.read(MIB // 2)
        kept, most = tracemalloc.get_traced_memory()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(pieces) > 20
    assert 3 * MIB < kept < 5 * MIB
    assert most < 8 * MIB
    assert left < MIB


def test_bytes_at_any_place_are_those_of_the_file(server, files):
    content = (files / "run.nwb").read_bytes()

    with open_url(server.url("run.nwb")) as file:
        for start, length in [(0, 8), (MIB - 3, 6), (MIB, MIB), (5, 3 * MIB)]:
            file.seek(start)
            assert file.read(length) == content[start : start + length]
        file.seek(-4, 2)
        assert file.read(100) == content[-4:]
        assert file.read(1) == b""


def test_threads_read_two_outputs_of_one_url(server, files):
    expected = expected_of(files)
    url = server.url("run.nwb")
    with open_output(url) as one, open_output(url) as other, ThreadPoolExecutor(16) as threads:
        outputs = [one, other] * 16
        read = list(threads.map(lambda output: output["v"].get_traces(cells=7), outputs))

    assert all(np.array_equal(traces, expected) for traces in read)


def test_an_array_on_a_server_is_not_sent_to_another_process(server):
    with (
        open_output(server.url("run.nwb")) as output,
        pytest.raises(SourceError, match=r"acquisition/v/data of run.nwb cannot be sent to other"),
    ):
        pickle.dumps(output["v"].data)


def test_an_open_file_on_a_server_is_converted(server, files, tmp_path):
    with open_output(server.url("packed.nwb")) as output:
        convert(output, tmp_path / "run.nwb")

    with open_output(tmp_path / "run.nwb") as output:
        assert np.array_equal(output["v"].get_traces(cells=7), expected_of(files))


def test_info_shows_a_file_on_a_server(server):
    result = CliRunner().invoke(main, ["info", server.url("run.nwb")])

    assert result.exit_code == 0
    assert "1000 times × 4000 columns, float32, unit mV" in result.output


def test_info_says_in_one_line_that_there_is_no_such_file(server):
    result = CliRunner().invoke(main, ["info", server.url("nothing.nwb")])

    assert result.exit_code == 1
    assert result.output == (
        f"error: {server.url('nothing.nwb')} cannot be read: the server returned 404 Not Found\n"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_is_an_error_that_says_its_answer(server, status):
    server.failing = status

    with pytest.raises(
        SourceError, match=rf"run\.nwb cannot be read: the server returned {status}"
    ):
        open_output(server.url("run.nwb"))


def test_a_server_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/a\.nwb cannot be read: .*failed"):
        open_output("http://127.0.0.1:9/a.nwb")


def test_a_server_that_fails_later_is_an_error_where_data_are_read(server):
    with open_output(server.url("run.nwb")) as output:
        server.failing = 503
        with pytest.raises(SourceError, match="the server returned 503"):
            output["v"].get_traces(cells=7)
        server.failing = None
        assert output["v"].get_traces(cells=7).shape == (TIMES, WIDTH)


def test_a_server_that_fails_while_objects_are_made_is_an_error_that_names_the_reason(
    server, monkeypatch
):
    # The objects of a file need more than one block when blocks are small.
    monkeypatch.setattr("ndx_simulation_output.remote._BLOCK_BYTES", 4096)
    answer = Handler.answer

    def fail_later(handler: Handler) -> None:
        server.failing = 503 if len(server.sent) > 12 else None
        answer(handler)

    monkeypatch.setattr(Handler, "answer", fail_later)

    with pytest.raises(SourceError, match="the server returned 503"):
        open_output(server.url("run.nwb"))


@pytest.mark.parametrize("headers", [{}, {"Accept-Ranges": "none"}])
def test_a_server_of_whole_files_is_an_error_that_says_to_download(server, headers):
    server.gives_ranges = False
    server.headers = lambda: headers

    with pytest.raises(SourceError, match=r"does not support byte ranges.*download the file"):
        open_output(server.url("run.nwb"))


@pytest.mark.parametrize("name", ["text.nwb", "empty.nwb"])
def test_a_file_that_is_not_hdf5_is_an_error(server, name):
    with pytest.raises(SourceError, match=rf"{name} cannot be read"):
        open_output(server.url(name))


def test_a_sonata_file_is_to_be_downloaded(server):
    with pytest.raises(SourceError, match=r"v\.h5 is not an NWB file.*download"):
        open_output(server.url("v.h5"))


@pytest.mark.parametrize(
    "use",
    [
        convert,
        export_sonata,
        lambda url, _: open_output([url]),
        lambda url, _: sonata.read(url),
    ],
    ids=["convert", "export_sonata", "open_output of several", "sonata.read"],
)
def test_where_a_url_will_not_do_the_error_says_to_download(use, tmp_path):
    with pytest.raises(SourceError, match=r"^https://host/v\.h5 is a URL.*download the file"):
        use("https://me:secret@host/v.h5", tmp_path / "run.nwb")


SECRET = "https://me:secret@host/v.nwb?signature=secret"  # noqa: S105 - none


@pytest.mark.parametrize(
    "write",
    [
        lambda path: convert(path, SECRET),
        lambda path: convert(path, Path(SECRET), overwrite=True),
        lambda path: convert(path, SECRET.replace("nwb?", "nwb.zarr?")),
        lambda path: export_sonata(path, SECRET),
        lambda _: sonata.write(simulate(duration=0.005), Path(SECRET)),
        lambda _: stream(SECRET, []).__enter__(),
    ],
    ids=["convert", "convert to a Path", "Zarr", "export_sonata", "sonata.write", "stream"],
)
def test_a_target_that_is_a_url_is_an_error(write, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WriteError, match=r"^cannot write .*: it is a URL; write a local") as caught:
        write(files / "run.nwb")

    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", [open_output, sonata.read, lambda path: convert(path, "x.nwb")])
@pytest.mark.parametrize(
    "path", [[SECRET, SECRET], Path(SECRET), f"zip://v.h5::{SECRET}", f"simplecache::{SECRET}"]
)
def test_messages_on_urls_do_not_tell_passwords_and_signatures(use, path):
    with pytest.raises(SourceError, match="https:/") as caught:
        use(path)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["data:;base64,", "data://;base64,", "http://127.0.0.1:9/"])
def test_a_url_that_holds_a_file_is_not_repeated_in_the_error(scheme):
    with pytest.raises(SourceError) as caught:
        open_output(scheme + "A" * 100_000, storage_options={"retries": 0})

    assert len(str(caught.value)) < 2000


def test_options_that_an_nwb_file_does_not_need_are_refused_for_a_url(server):
    with pytest.raises(SourceError, match=r"^unit cannot be set for http://127.*\?…: an NWB"):
        open_output(server.url("run.nwb?secret"), unit={"v": "mV"})


def test_a_file_of_the_old_namespace_is_read():
    path = next((Path(__file__).parent / "compatibility" / "golden").glob("simout020_*.nwb"))
    fsspec.filesystem("memory").put(str(path), "/old.nwb")

    with open_output("memory://old.nwb") as remote, open_output(path) as local:
        for report in local.reports:
            traces = remote[report.name].get_traces()
            assert np.array_equal(traces, report.get_traces(), equal_nan=True)
        assert local.reports


def test_errors_do_not_tell_passwords_and_signatures(server):
    url = server.url("nothing.nwb?X-Signature=secret").replace("//", "//me:secret@")

    with pytest.raises(SourceError) as caught:
        open_output(url)

    assert str(caught.value).startswith(f"{server.url('nothing.nwb')}?… cannot be read")
    assert "secret" not in str(caught.value)
    # A traceback shows no other error.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_name_in_hdf5_does_not_tell_passwords_and_signatures(server):
    url = server.url("run.nwb?X-Signature=secret").replace("//", "//me:secret@")

    with open_output(url) as output:
        name = output["v"].data.array.file.filename

    assert name == f"{server.url('run.nwb')}?…".replace("…", "?")


def test_closing_closes_the_file(stub, files):
    with open_output(f"s3://{files}/run.nwb") as output:
        (opened,) = stub.opened
        assert not opened.closed

    assert opened.closed
    output.close()


@pytest.mark.parametrize("name", ["text.nwb", "empty.nwb", "v.h5", "damaged.nwb"])
def test_a_file_that_cannot_be_read_is_closed(stub, files, name):
    with pytest.raises(SourceError):
        open_output(f"s3://{files}/{name}")

    assert [opened.closed for opened in stub.opened] == [True]


def test_a_file_that_ends_early_is_an_error(stub, files):
    class Short(FileIO):
        def read(self, length: int) -> bytes:
            return super().read(length)[:1000]

    stub.kind = Short

    with pytest.raises(SourceError, match=r"the server returned 1000 of 1048576 bytes"):
        open_output(f"s3://{files}/run.nwb")


def test_a_file_that_s3fs_calls_expired_has_changed(stub, files):
    class FileExpired(OSError):  # noqa: N818 - as s3fs names it
        pass

    class Expiring(FileIO):
        def read(self, length: int) -> bytes:
            if self.tell() > 0:
                raise FileExpired(16, "no longer exists") from OSError("PreconditionFailed: ...")
            return super().read(length)

    stub.kind = Expiring

    with pytest.raises(
        SourceError, match=r"run\.nwb has changed on the server since it was opened"
    ):
        open_output(f"s3://{files}/run.nwb")


def test_storage_options_reach_the_file_system(stub, files):
    options = {"anon": True, "endpoint_url": "https://host"}

    open_output(f"s3://{files}/run.nwb", storage_options=options).close()

    assert stub.options == options


def test_headers_reach_a_server_with_every_request(server):
    options = {"headers": {"Authorization": "Bearer me"}}

    with open_output(server.url("run.nwb"), storage_options=options) as output:
        output["v"].get_traces(cells=7)

    assert len(server.authorized) > 2
    assert set(server.authorized) == {"Bearer me"}


def test_a_missing_fsspec_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'ndx-simulation-output\[remote"):
        open_output("https://host/run.nwb")


def test_a_missing_s3fs_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.delitem(registry(), "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(MissingDependencyError, match=r"s3fs.*ndx-simulation-output\[remote\]"):
        open_output("s3://bucket/run.nwb")


def test_a_protocol_that_fsspec_does_not_know_is_an_error():
    with pytest.raises(SourceError, match="Protocol not known: carrier"):
        open_output("carrier://pigeon/run.nwb")


def test_garbage_of_h5py_does_not_hold_up_the_thread_that_reads(stub, files):
    """A thread of a file system collects garbage while h5py waits for it, and must not wait too."""
    finished = []

    class OfThread(FileIO):
        def read(self, length: int) -> bytes:
            thread = threading.Thread(target=lambda: [[] for _ in range(100_000)])
            thread.start()
            thread.join(10)
            finished.append(not thread.is_alive())
            return super().read(length)

    stub.kind = OfThread
    gc.collect()
    with open_output(f"s3://{files}/run.nwb") as output:
        file = output["v"].data.array.file
        for _ in range(3):
            garbage = {"data": file["acquisition/v/data"]}
            garbage["itself"] = garbage
        del garbage
        output["v"].get_traces(cells=7)

    assert finished
    assert all(finished)
    assert gc.isenabled()
