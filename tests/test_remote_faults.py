"""Servers whose files change, and servers that fail, stall, or give other ranges than asked for."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import cache
from time import sleep

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    parse_unit,
)
from ndx_simulation_output.remote import open_url
from tests.web_server import Handler, Server

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp, which fsspec[http] brings, is not installed")

CELLS, TIMES = 20, 50_000
MIB = 2**20
OLD, NEW = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"
Odd = Callable[[Handler, bytes, slice], bool]


@cache
def run_of(first: float) -> SimulationOutput:
    """Return 4 MB of one report, whose values count from ``first``."""
    values = (first + np.arange(TIMES * CELLS, dtype=np.float32)).reshape(TIMES, CELLS)
    columns = {"number": np.zeros(CELLS, int), "position": np.full(CELLS, 0.5)}
    table = CompartmentTable("exc", np.arange(CELLS), np.arange(CELLS) + 1, columns)
    times = RegularTimes(0.0, 10_000.0, TIMES)
    return SimulationOutput(reports=(Report("v", "v", values, times, table, parse_unit("V")),))


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> tuple[bytes, bytes]:
    """Return two NWB files of one length that differ in their values."""
    directory = tmp_path_factory.mktemp("versions")
    for name, first in [("old.nwb", 0.0), ("new.nwb", 0.5)]:
        session = {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}
        writer.write(run_of(first), directory / name, metadata={"NWBFile": session})
    old, new = ((directory / name).read_bytes() for name in ("old.nwb", "new.nwb"))
    assert len(old) == len(new) > 3.5 * MIB
    return old, new


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch) -> None:
    monkeypatch.setattr("ndx_simulation_output.remote._PAUSE", 0.01)


@pytest.fixture
def server(versions, tmp_path) -> Iterator[Server]:
    """Serve the old version."""
    (tmp_path / "run.nwb").touch()
    with Server(tmp_path).running() as server:
        server.content = versions[0]
        yield server


def values_of(server: Server, **options: object) -> np.ndarray:
    with open_output(server.url("run.nwb"), storage_options=options) as output:
        return output["v"].get_traces()


def assert_old(values: np.ndarray) -> None:
    assert np.array_equal(values.ravel(), run_of(0.0)["v"].data.ravel())


STATES = {
    "ETag": ({"ETag": '"a"'}, {"ETag": '"b"'}),
    "weak ETag": ({"ETag": 'W/"a"'}, {"ETag": 'W/"b"'}),
    "ETag, modified in another second": (
        {"ETag": '"a"', "Last-Modified": OLD},
        {"ETag": '"b"', "Last-Modified": NEW},
    ),
    "weak ETag that stays": (
        {"ETag": 'W/"a"', "Last-Modified": OLD},
        {"ETag": 'W/"a"', "Last-Modified": NEW},
    ),
    "time of modification": ({"Last-Modified": OLD}, {"Last-Modified": NEW}),
    # Within this second, another version may have the same time.
    "ETag, just modified": (
        {"ETag": '"a"', "Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"ETag": '"b"', "Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ),
}


@pytest.mark.parametrize(("old", "new"), STATES.values(), ids=STATES)
def test_a_file_that_changes_on_the_server_is_an_error(server, versions, old, new):
    server.headers = lambda: old if server.content is versions[0] else new

    with open_output(server.url("run.nwb")) as output:
        server.content = versions[1]
        for _ in range(2):
            with pytest.raises(SourceError, match=r"run\.nwb has changed on the server since"):
                output["v"].get_traces()


@pytest.mark.parametrize("length", [100, 2 * MIB, 5 * MIB], ids=["short", "shorter", "longer"])
def test_a_file_of_another_length_is_an_error(server, versions, length):
    with open_output(server.url("run.nwb")) as output:
        server.content = (versions[1] * 2)[:length]
        with pytest.raises(SourceError, match=rf"changed.*had \d+ bytes, and has {length}"):
            output["v"].get_traces()


def precondition(handler: Handler, content: bytes, part: slice) -> bool:
    """Answer conditional requests by what the server says of the file, as RFC 9110 has it."""
    state = handler.server.headers()
    match, since = handler.headers.get("If-Match"), handler.headers.get("If-Unmodified-Since")
    differs = (match is not None and match != state.get("ETag")) or (
        match is None and since is not None and since != state.get("Last-Modified")
    )
    if differs:
        handler.begin(412, slice(0, 0), 0, ETag=None, Last_Modified=None)
    elif handler.command == "GET" and "Range" in handler.headers:
        # The state is only compared by the server: its answers do not give it again.
        is_first = part.start == 0
        names = {} if is_first else {"ETag": None, "Last_Modified": None}
        handler.begin(206, part, len(content), **names)
        handler.send(content[part])
    return differs or handler.command == "GET"


def test_an_etag_without_quotes_is_compared_but_not_sent(server, versions):
    sent = []

    def look(handler: Handler, content: bytes, part: slice) -> bool:
        sent.append(handler.headers.get("If-Match"))
        return False

    server.odd = look
    server.headers = lambda: {"ETag": "a" if server.content is versions[0] else "b"}
    with open_output(server.url("run.nwb")) as output:
        server.content = versions[1]
        with pytest.raises(SourceError, match="its ETag was a, and is b"):
            output["v"].get_traces()
    assert set(sent) == {None}


@pytest.mark.parametrize("name", ["ETag", "time of modification"])
def test_ranges_are_asked_for_on_the_condition_that_the_file_is_the_same(server, versions, name):
    old, new = STATES[name]
    server.headers = lambda: old if server.content is versions[0] else new
    server.odd = precondition

    assert_old(values_of(server))
    with open_output(server.url("run.nwb")) as output:
        server.content = versions[1]
        with pytest.raises(SourceError, match=r"changed on the server.*412"):
            output["v"].get_traces()


@pytest.mark.parametrize("odd", [None, precondition], ids=["compared", "conditional"])
def test_servers_that_give_one_file_several_etags_are_read(server, odd):
    def state() -> dict[str, str]:
        return {"ETag": f'"node{len(server.authorized) % 2}"', "Last-Modified": OLD}

    server.headers = state
    server.odd = None if odd is None else several_nodes

    assert_old(values_of(server))


def several_nodes(handler: Handler, content: bytes, part: slice) -> bool:
    tag = handler.server.headers()["ETag"]
    denied = handler.headers.get("If-Match", tag) != tag
    if denied:
        handler.begin(412, slice(0, 0), 0)
    return denied


def capped(handler: Handler, content: bytes, part: slice) -> bool:
    part = slice(part.start, min(part.stop, part.start + 300_000))
    handler.begin(206, part, len(content))
    handler.send(content[part])
    return True


def generous(handler: Handler, content: bytes, part: slice) -> bool:
    part = slice(part.start, min(part.stop + 1000, len(content)))
    handler.begin(206, part, len(content))
    handler.send(content[part])
    return True


def chunked(handler: Handler, content: bytes, part: slice) -> bool:
    handler.protocol_version, handler.close_connection = "HTTP/1.1", True
    handler.begin(206, part, len(content), Content_Length=None, Transfer_Encoding="chunked")
    for start in range(part.start, part.stop, 100_000):
        piece = content[start : min(part.stop, start + 100_000)]
        handler.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.send(b"0\r\n\r\n")
    return True


def misnamed(handler: Handler, content: bytes, part: slice) -> bool:
    """Answer with the bytes and a range, but headers that say odd things."""
    odd = {"Content-Encoding": "aws-chunked", "Last-Modified": "Mon, 1 Jan 9999999999 00:00:00 GMT"}
    span = f"Bytes {part.start}-{part.stop - 1}/{len(content)}"
    handler.begin(206, part, len(content), Content_Range=span, **odd)
    handler.send(content[part])
    return True


def without_length(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(206, part, len(content), Content_Length=None)
    handler.send(content[part])
    return True


def of_unknown_total(handler: Handler, content: bytes, part: slice) -> bool:
    if handler.command == "GET":
        handler.begin(206, part, "*")
        handler.send(content[part])
    return handler.command == "GET"


def without_head(handler: Handler, content: bytes, part: slice) -> bool:
    if handler.command == "HEAD":
        handler.send_error(403)
    return handler.command == "HEAD"


@pytest.mark.parametrize(
    "odd", [capped, generous, chunked, misnamed, without_length, of_unknown_total, without_head]
)
def test_answers_that_are_odd_but_right_are_read(server, odd):
    server.odd = odd

    assert_old(values_of(server))


def test_a_small_file_is_read_from_a_server_without_ranges(server):
    server.content = b"small" * 1000
    server.gives_ranges = False

    for headers in ({}, {"Content-Length": None}):
        server.headers = lambda headers=headers: headers
        with open_url(server.url("run.nwb")) as file:
            assert file.read() == server.content


def redirected(handler: Handler, content: bytes, part: slice) -> bool:
    if "signed" not in handler.path:
        handler.begin(302, slice(0, 0), 0, Location="/run.nwb?signed=secret", ETag=None)
    return "signed" not in handler.path


def test_a_redirected_file_is_read_and_an_expired_signature_told_of(server):
    server.odd = redirected
    server.headers = lambda: {"ETag": '"a"'}
    assert_old(values_of(server))

    with open_output(server.url("run.nwb?X-Signature=secret")) as output:
        server.failing = 403
        with pytest.raises(SourceError, match="403 Forbidden; a signed URL or a login") as caught:
            output["v"].get_traces()
    assert "secret" not in str(caught.value)


def answer(**headers: object) -> Odd:
    """Return an answer that is right but for its headers."""

    def odd(handler: Handler, content: bytes, part: slice) -> bool:
        handler.begin(206, part, len(content), **headers)
        handler.send(content[part])
        return True

    return odd


def endless(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(206, part, len(content), Content_Length=None)
    try:
        while not handler.server.ended.is_set():
            handler.wfile.write(content[:MIB])
    except OSError:
        return True
    return True


def halved(handler: Handler, content: bytes, part: slice) -> bool:
    half = slice(part.start, (part.start + part.stop) // 2)
    handler.begin(206, part, len(content), Content_Length=half.stop - half.start)
    handler.send(content[half])
    return True


WRONG = {
    "another range": (answer(Content_Range="bytes 5-9/*"), r"returned bytes 5-9/\*; expected"),
    "no range": (answer(Content_Range=None), "returned no Content-Range; expected"),
    "nonsense": (answer(Content_Range="bytes 9-5/x"), "returned bytes 9-5/x; expected"),
    "too long": (answer(Content_Range=f"bytes 0-5/{2**70}"), r"returned bytes 0-5/\d+; expected"),
    "compressed": (answer(Content_Encoding="gzip"), r"compresses it \(Content-Encoding: gzip\)"),
    "half": (halved, r"returned 524288 of 1048576 bytes \(4 attempts in"),
    "endless": (endless, "more than the 1048576 bytes that it announced"),
}


@pytest.mark.parametrize(("odd", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_range_is_an_error(server, odd, message):
    server.odd = odd
    with pytest.raises(SourceError, match=message):
        open_output(server.url("run.nwb"))

    server.odd = None
    with open_output(server.url("run.nwb")) as output:
        server.odd = odd
        tracemalloc.start()
        with pytest.raises(SourceError, match=message):
            output["v"].get_traces()
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        tracemalloc.stop()


def reset(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(206, part, len(content))
    handler.send(content[part][:1000])
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def stall(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(206, part, len(content))
    handler.send(content[part][:1000])
    handler.server.ended.wait()
    return True


def ended(handler: Handler, content: bytes, part: slice) -> bool:
    """Answer with a part that ends where the server says."""
    if handler.command == "GET":
        handler.begin(200, part, len(content), Content_Length=None)
        handler.send(content[:1000])
    return handler.command == "GET"


def trickle(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(206, part, len(content))
    while not handler.server.ended.wait(0.02):
        handler.send(b"0")
    return True


def drop_by_drop(handler: Handler, content: bytes, part: slice) -> bool:
    first = slice(part.start, part.start + 1)
    handler.begin(206, first, len(content))
    handler.send(content[first])
    return True


def login_page(handler: Handler, content: bytes, part: slice) -> bool:
    handler.begin(200, part, 0, Content_Length=6)
    handler.send(b"<html>")
    return True


def with_control_characters(handler: Handler, content: bytes, part: slice) -> bool:
    handler.send_response(403, "see \x1b[31m" + "x" * 1000)
    handler.end_headers()
    return True


def status(code: int, **headers: object) -> Odd:
    def odd(handler: Handler, content: bytes, part: slice) -> bool:
        handler.begin(code, slice(0, 0), 0, **headers)
        return True

    return odd


PASSING = {
    "500": (status(500), "returned 500 Internal Server Error"),
    "503": (status(503, Retry_After="0"), "returned 503 Service Unavailable"),
    "429": (status(429, Retry_After=OLD), "returned 429 Too Many Requests"),
    "reset": (reset, "the connection ended after 1000 of 1048576 bytes"),
    "stall": (stall, r"sent nothing for 0\.2 s"),
}


@pytest.mark.parametrize(("odd", "message"), PASSING.values(), ids=PASSING)
def test_a_server_that_fails_is_asked_again_but_not_for_ever(server, odd, message):
    asked = []

    def fail_twice(handler: Handler, content: bytes, part: slice) -> bool:
        asked.append(part)
        return len(asked) in {2, 3} and odd(handler, content, part)

    server.odd = fail_twice
    assert_old(values_of(server, timeout=0.2, retries=2))

    server.odd = odd
    with pytest.raises(SourceError, match=rf"{message} \(2 attempts in \d\.\d s\)$"):
        open_output(server.url("run.nwb"), storage_options={"timeout": 0.2, "retries": 1})


FINAL = {
    "asks to wait": (status(429, Retry_After="3600"), "429 .*, and asks to wait 3600 s$"),
    "gone": (status(410), "returned 410 Gone$"),
    "nothing": (status(204), "returned 204 No Content$"),
    "trickle": (trickle, r"\d+ of 1048576 bytes came in 0\.5 s$"),
    "drop by drop": (drop_by_drop, r"\d+ of 1048575 bytes came in 0\.5 s$"),
    "redirected for ever": (status(302, Location="/run.nwb"), "TooManyRedirects$"),
    "redirected elsewhere": (status(302, Location="file:///etc"), "NonHttpUrlRedirect"),
    "page": (login_page, "a page of HTML or XML: a login may be needed$"),
    "control characters": (with_control_characters, r"returned 403 see \[31mx{1,100}$"),
}


@pytest.mark.parametrize(("odd", "message"), FINAL.values(), ids=FINAL)
def test_an_answer_that_waiting_does_not_improve_is_an_error_at_once(server, odd, message):
    server.odd = odd

    with pytest.raises(SourceError, match=message):
        open_output(server.url("run.nwb"), storage_options={"timeout": 0.1})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://no-such-host.invalid/a.nwb", r"cannot be read: .*not known.*4 attempts"),
        ("https://127.0.0.1:{port}/a.nwb", r"cannot be read: .*(SSL|ssl)"),
    ],
    ids=["no such host", "no TLS"],
)
def test_a_connection_that_fails_is_an_error(server, url, message):
    with pytest.raises(SourceError, match=message):
        open_output(url.format(port=server.server_port), storage_options={"timeout": 5})


@pytest.mark.parametrize("option", ["timeout", "retries"])
@pytest.mark.parametrize("value", [-1, "x", float("nan")])
def test_limits_are_numbers(option, value):
    with pytest.raises(SourceError, match=rf"storage_options: {option} is .*; expected a number"):
        open_output("http://127.0.0.1:9/a.nwb", storage_options={option: value})


READ = """
import sys
from ndx_simulation_output import errors, open_output

for _ in range(2):
    try:
        with open_output(sys.argv[1], storage_options={"timeout": 60, "retries": 0}) as output:
            print("open", flush=True)
            output["v"].get_traces()
    except errors.SourceError as error:
        print(error, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_short_ranges_and_stalls_do_not_hold_or_crash_python(server):
    """What HDF5 still holds of a file when Python has ended would call h5py, and crash."""
    stalled = threading.Event()

    def odd(handler: Handler, content: bytes, part: slice) -> bool:
        if len(server.sent) == 1:
            server.sent.append(0)
            return halved(handler, content, part)
        if len(server.sent) > 3:
            stalled.set()
            return stall(handler, content, part)
        return False

    server.odd = odd
    process = subprocess.Popen(
        [sys.executable, "-c", READ, server.url("run.nwb")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stalled.wait(60)
    sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    short, *rest = output.splitlines()
    assert re.search(r"run\.nwb cannot be read: the server returned \d+ of \d+ bytes$", short)
    assert rest == ["open", "interrupted"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_was_forked_is_told_to_open_the_file_again(server):
    with open_output(server.url("run.nwb")) as output:
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            try:
                output["v"].get_traces()
            except SourceError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        said = os.read(reading, 1000).decode()
        os.close(reading)
        os.close(writing)

    assert said.endswith("it was opened by another process: open it again in this one")


CHAINS = ["simplecache::", "filecache::", "blockcache::", "zip://run.nwb::", "tar://run.nwb::"]


def packed(chain: str, content: bytes) -> bytes:
    """Return the archive that a chain reads, if it reads one, with the file stored as it is."""
    archive = io.BytesIO()
    if chain.startswith("zip"):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("run.nwb", content)
    elif chain.startswith("tar"):
        with tarfile.open(fileobj=archive, mode="w") as file:
            member = tarfile.TarInfo("run.nwb")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return archive.getvalue() or content


# fsspec does not close the file of its cache of blocks.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_of_urls_gives_one_version_or_says_that_the_file_changed(server, versions, chain):
    server.headers = lambda: {"ETag": f'"{server.content == packed(chain, versions[0])}"'}
    server.content = packed(chain, versions[0])
    url = chain + server.url("run.nwb")
    with open_output(url) as output:
        server.content = packed(chain, versions[1])
        if chain in {"simplecache::", "filecache::"}:
            assert_old(output["v"].get_traces())
        else:
            with pytest.raises(SourceError, match="has changed on the server since"):
                output["v"].get_traces()

    with open_output(url) as output:
        # A copy of simplecache is not compared with the server.
        if chain != "simplecache::":
            server.content = packed(chain, versions[1])
            assert output["v"].get_traces()[0, 0] == 0.5
        assert len(np.unique(output["v"].get_traces() % 1)) == 1


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("odd", [stall, reset, ended])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_over_a_server_that_fails_is_an_error_and_keeps_no_part(server, chain, odd):
    server.content = packed(chain, server.content or b"")
    server.odd = odd
    url = server.url("run.nwb?signature=secret").replace("//", "//me:secret@")

    with pytest.raises(SourceError, match=r"run\.nwb.* cannot be read") as caught:
        open_output(chain + url, storage_options={"timeout": 0.1, "retries": 0})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_system_that_changes_is_an_error(versions, tmp_path):
    path = tmp_path / "run.nwb"
    path.write_bytes(versions[0])
    memory = fsspec.filesystem("memory")
    memory.pipe("/changing.nwb", versions[0])

    for url, change in [
        (f"file://{path}", path.write_bytes),
        ("memory://changing.nwb", lambda content: memory.pipe("/changing.nwb", content)),
    ]:
        with open_output(url) as output:
            change(versions[1])
            with pytest.raises(SourceError, match="has changed on the server since it was opened"):
                output["v"].get_traces()
