"""Access to the page: only from this machine, with the token and from the same origin."""

import asyncio
import errno
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from click.testing import CliRunner
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from ndx_simulation_output.cli import main
from ndx_simulation_output.viewer.server import serve
from ndx_simulation_output.viewer.session import ViewedFile
from tests.viewer.making import a_run


@pytest.fixture
def ask_server(tmp_path):
    """Return a function that starts a server, sends requests and stops the server."""
    path = a_run(tmp_path / "run.nwb")

    def ask(question):
        async def run():
            ready = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(serve([ViewedFile(path)], ready=ready.set_result))
            try:
                return await question(await ready)
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving

        return asyncio.run(run())

    return ask


async def status_of(address, **options):
    try:
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(address, follow_redirects=False, **options)
        )
    except HTTPClientError as error:
        return error.code, error.response
    return answer.code, answer


async def cookie_of(address):
    _, answer = await status_of(address)
    return answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "path",
    ["", "?token=", "?token=wrong", "static/js/bokeh.min.js", "ws", "metadata", "download/x"],
)
def test_a_request_without_the_token_is_refused(ask_server, path):
    async def question(address):
        return await status_of(address.partition("?")[0] + path)

    code, answer = ask_server(question)

    assert code == 403
    assert b"the address that ndx-sim view printed" in answer.body


def test_the_token_of_the_address_becomes_a_cookie(ask_server):
    async def question(address):
        code, answer = await status_of(address)
        cookie = answer.headers["Set-Cookie"]
        headers = {"Cookie": cookie.partition(";")[0]}
        page = await status_of(address.partition("?")[0], headers=headers)
        return code, answer.headers["Location"], cookie, page

    code, location, cookie, (page_code, page) = ask_server(question)

    assert (code, location, page_code) == (302, "/", 200)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert b"static/js/bokeh" in page.body
    assert b"https://" not in page.body


def test_a_page_of_another_server_is_refused_even_with_the_cookie(ask_server):
    async def question(address):
        headers = {"Cookie": (await cookie_of(address)).partition(";")[0]}
        base = address.partition("?")[0]
        own = {**headers, "Origin": base.rstrip("/")}
        other = {**headers, "Origin": "http://evil.example"}
        return [(await status_of(base, headers=given))[0] for given in (own, other)]

    assert ask_server(question) == [200, 403]


@pytest.mark.parametrize("has_cookie", [False, True])
def test_a_websocket_without_the_token_or_from_elsewhere_is_refused(ask_server, has_cookie):
    async def question(address):
        base = address.partition("?")[0]
        headers = {"Origin": "http://evil.example"}
        if has_cookie:
            headers["Cookie"] = (await cookie_of(address)).partition(";")[0]
        request = HTTPRequest(f"{base.replace('http', 'ws')}ws", headers=headers)
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(request, subprotocols=["bokeh", "x"])
        return refused.value.code

    assert ask_server(question) == 403


def test_only_the_loopback_address_is_listened_to(ask_server):
    async def question(address):
        port = int(address.partition("127.0.0.1:")[2].partition("/")[0])
        with socket.socket() as other:
            # Another address of this machine instead of one of the network.
            return other.connect_ex(("127.0.0.2", port))

    assert ask_server(question) == errno.ECONNREFUSED


def test_an_unknown_download_is_not_found(ask_server):
    async def question(address):
        headers = {"Cookie": (await cookie_of(address)).partition(";")[0]}
        return (await status_of(f"{address.partition('?')[0]}download/guess", headers=headers))[0]

    assert ask_server(question) == 404


def test_viewing_does_not_change_the_file(ask_server, tmp_path):
    before = (tmp_path / "run.nwb").read_bytes() if (tmp_path / "run.nwb").exists() else b""

    async def question(address):
        headers = {"Cookie": (await cookie_of(address)).partition(";")[0]}
        return (await status_of(address.partition("?")[0], headers=headers))[0]

    assert ask_server(question) == 200
    assert (tmp_path / "run.nwb").read_bytes() == before


def test_a_missing_file_is_an_error_before_the_page_is_served(tmp_path):
    command = [sys.executable, "-c", "from ndx_simulation_output.cli import main; main()"]

    result = subprocess.run(
        [*command, "view", str(tmp_path / "no.nwb"), "--no-browser"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "no.nwb does not exist" in result.stderr


def test_a_port_in_use_is_an_error(tmp_path):
    path = a_run(tmp_path / "run.nwb")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", "from ndx_simulation_output.cli import main; main()"]

        result = subprocess.run(
            [*command, "view", str(path), "--no-browser", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert result.returncode == 2
    assert f"cannot listen on port {port}" in result.stderr


def test_without_bokeh_the_error_has_the_extra_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "bokeh", None)

    result = CliRunner().invoke(main, ["view", str(tmp_path / "run.nwb")])

    assert result.exit_code == 1
    assert r"ndx-simulation-output[view]" in result.output
