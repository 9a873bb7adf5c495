"""Access to the page: only from this machine, with the token and from the same origin."""

import asyncio
import errno
import logging
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.util.token import get_token_payload
from click.testing import CliRunner
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from ndx_simulation_output.cli import main
from ndx_simulation_output.cli.view import redirect_file
from ndx_simulation_output.viewer.server import serve
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
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


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.0.7", 403),
        ("", 403),
    ],
)
def test_the_host_of_a_request_must_be_this_machine(ask_server, host, code):
    async def question(address):
        base, _, token = address.partition("?token=")
        given = {"Cookie": f"ndx-sim-view-{host.rpartition(':')[2]}={token}", "Host": host}
        with_origin = {**given, "Origin": f"http://{host}"}
        answers = [await status_of(base, headers=one) for one in (given, with_origin)]
        answers.append(await status_of(address, headers={"Host": host}))
        socket = HTTPRequest(f"{base.replace('http', 'ws')}ws", headers=with_origin)
        if code != 200:
            with pytest.raises(HTTPClientError, match="403"):
                await websocket_connect(socket, subprotocols=["bokeh", "x"])
        return [status for status, _ in answers]

    assert ask_server(question) == [code, code, 302 if code == 200 else code]


def test_viewers_of_two_machines_behind_forwarded_ports_have_cookies_of_their_own(ask_server):
    async def question(address):
        cookies = []
        for host in ("localhost:8001", "localhost:8002", "localhost", "[::1]"):
            _, answer = await status_of(address, headers={"Host": host})
            cookies.append(answer.headers["Set-Cookie"].partition("=")[0])
        return cookies

    ports = [8001, 8002, 80, 80]
    assert ask_server(question) == [f"ndx-sim-view-{port}" for port in ports]


def test_the_body_of_a_request_is_not_collected(ask_server):
    async def question(address):
        port = int(address.partition("127.0.0.1:")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return answer

    assert ask_server(question).startswith(b"HTTP/1.1 400")


def test_every_response_has_the_headers_that_protect_the_page(ask_server):
    async def question(address):
        base = address.partition("?")[0]
        cookie = {"Cookie": (await cookie_of(address)).partition(";")[0]}
        own = {**cookie, "Origin": base.rstrip("/")}
        paths = ["", "static/js/bokeh.min.js", "static/none.js", "autoload.js?x", "metadata"]
        paths += ["download/guess", "<script>alert(1)</script>"]
        answers = [await status_of(base + path, headers=own) for path in paths]
        answers += [await status_of(address), await status_of(base), await status_of(base + "ws")]
        answers.append(await status_of(address, method="POST", body=""))
        request = HTTPRequest(f"{base.replace('http', 'ws')}ws", headers=own)
        token = re.search(rb'"token":"([^"]+)"', answers[0][1].body)[1].decode()
        connected = await websocket_connect(request, subprotocols=["bokeh", token])
        connected.close()
        found = [answer.headers for _, answer in answers]
        return [*found, connected.headers], [answer.body for _, answer in answers], token

    headers, bodies, token = ask_server(question)

    for one in headers:
        assert "frame-ancestors 'none'" in one["Content-Security-Policy"]
        assert "script-src-attr 'none'" in one["Content-Security-Policy"]
        assert one["X-Frame-Options"] == "DENY"
        assert one["X-Content-Type-Options"] == "nosniff"
        assert one["Referrer-Policy"] == "no-referrer"
        assert not [name for name in one if name.startswith("Access-Control-")]
    assert not any(b"<script>alert" in body for body in bodies)
    assert get_token_payload(token)["headers"] == get_token_payload(token)["cookies"] == {}


def test_the_token_is_not_logged(ask_server, caplog):
    async def question(address):
        await status_of(address)
        await status_of(address, headers={"Host": "evil.example"})
        return address.partition("token=")[2]

    with caplog.at_level(logging.INFO):
        token = ask_server(question)

    assert token not in caplog.text


def test_the_browser_opens_a_private_file_that_leads_to_the_address(ask_server):
    async def question(address):
        with redirect_file(address) as file:
            mode, text = file.stat().st_mode, file.read_text()
        headers = {"Sec-Fetch-Site": "cross-site"}
        return address, mode, text, file, await status_of(address, headers=headers)

    address, mode, text, file, (code, page) = ask_server(question)

    assert address in text
    assert mode & 0o077 == 0
    assert not file.exists()
    # A redirection would lose the strict cookie, because the file is of another site.
    assert (code, page.body) == (200, b'<meta http-equiv="refresh" content="0; url=/">')


@pytest.mark.parametrize("option", [[], ["--all-interfaces"]])
def test_the_command_line_of_the_browser_does_not_have_the_token(tmp_path, monkeypatch, option):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    async def serve_once(files, *, port, address, ready):
        ready("http://127.0.0.1:1/?token=secret")
        assert os.path.exists(url2pathname(urlsplit(opened[0]).path))  # noqa: ASYNC240, PTH110
        assert address == (None if option else "127.0.0.1")
        files[0].close()

    monkeypatch.setattr("ndx_simulation_output.viewer.server.serve", serve_once)
    result = CliRunner().invoke(main, ["view", str(a_run(tmp_path / "run.nwb")), *option])

    assert result.exit_code == 0, result.output
    assert "secret" not in opened[0]
    assert ("anyone who has this address" in result.stderr) == bool(option)


def test_the_page_is_served_where_no_file_for_the_browser_can_be_written(tmp_path, monkeypatch):
    path = a_run(tmp_path / "run.nwb")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

    async def serve_once(files, *, port, address, ready):
        ready("http://127.0.0.1:1/?token=secret")
        files[0].close()

    monkeypatch.setattr("ndx_simulation_output.viewer.server.serve", serve_once)
    result = CliRunner().invoke(main, ["view", str(path)])

    assert result.exit_code == 0, result.output
    assert "warning: cannot open a browser: No such file or directory" in result.stderr


def test_all_interfaces_accept_addresses_and_names_of_this_machine_only(tmp_path):
    async def run():
        ready = asyncio.get_running_loop().create_future()
        files = [ViewedFile(a_run(tmp_path / "run.nwb"))]
        serving = asyncio.create_task(serve(files, address=None, ready=ready.set_result))
        try:
            _, _, rest = (await ready).partition("://")
            name, _, path = rest.partition(":")
            base = f"http://127.0.0.2:{path}"  # another address of this machine
            hosts = [f"{name}:1", "192.168.0.7", "evil.example"]
            codes = [(await status_of(base, headers={"Host": host}))[0] for host in hosts]
            return [*codes, (await status_of(base.partition("?")[0]))[0]]
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    assert asyncio.run(run()) == [302, 302, 403, 403]


def test_downloads_keep_odd_names_and_do_not_contain_formulas(ask_server, monkeypatch):
    name, rows = 'é "q"\n\udcff.csv', [("=1+1", "v"), ("-x", -1.5), ("@a", "b=c")]
    monkeypatch.setattr(Downloads, "find", lambda *_: (name, lambda: iter(rows)))

    async def question(address):
        headers = {"Cookie": (await cookie_of(address)).partition(";")[0]}
        return await status_of(f"{address.partition('?')[0]}download/x", headers=headers)

    code, answer = ask_server(question)

    assert code == 200
    coded = "%C3%A9%20%22q%22%0A%3F.csv"
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{coded}"
    assert answer.body.decode().split() == ["'=1+1,v", "'-x,-1.5", "'@a,b=c"]


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
    result = CliRunner().invoke(main, ["view", str(tmp_path / "no.nwb"), "--no-browser"])

    assert result.exit_code == 1
    assert "no.nwb does not exist" in result.stderr


def test_a_port_in_use_is_an_error(tmp_path):
    path = a_run(tmp_path / "run.nwb")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", "from ndx_simulation_output.cli import main; main()"]

        # In a process, because tornado does not close a socket that it cannot bind.
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
