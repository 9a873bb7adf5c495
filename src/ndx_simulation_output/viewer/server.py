"""Web server of the page, with token authentication and CSV downloads."""

import asyncio
import csv
import io
import secrets
from collections.abc import Callable, Iterator, Sequence
from socket import gethostname
from typing import Any
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter
from tornado.web import Application as WebApplication
from tornado.web import HTTPError, RequestHandler

from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, Rows, ViewedFile

LOOPBACK = "127.0.0.1"

_TOKEN = "token"  # noqa: S105 - the name of the argument
_PIECE = 2**20


async def serve(
    files: Sequence[ViewedFile],
    *,
    port: int = 0,
    address: str | None = LOOPBACK,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve the page until this task is cancelled; ``ready`` is called with its URL.

    By default, the server listens on the loopback address only; with None as ``address``, it
    listens on all interfaces. Port 0 selects a free port. Raises OSError if the port is in use.
    """
    sockets = bind_sockets(port, address)
    port = sockets[0].getsockname()[1]
    access, downloads = _Access(secrets.token_urlsafe(24), port), Downloads()

    def make_page(document: Any) -> None:
        open_page(document, files, downloads)

    own = [f"{host}:{port}" for host in (LOOPBACK, "localhost")]
    application = BokehTornado(
        {"/": Application(FunctionHandler(make_page))},
        extra_websocket_origins=own if address else ["*"],
        extra_patterns=[(r"/download/(.+)", _DownloadHandler, {"downloads": downloads})],
        generate_session_ids=True,
        use_index=False,
    )
    set_cookie = WebApplication([(r".*", _SetCookieHandler, {"access": access})])
    rules = [
        Rule(_Condition(access.has_argument), set_cookie),
        Rule(_Condition(access.has_cookie), application),
        Rule(AnyMatches(), WebApplication([(r".*", _RefusalHandler)])),
    ]
    http = HTTPServer(RuleRouter(rules))
    server = BaseServer(IOLoop.current(), application, http)
    http.add_sockets(sockets)
    server.start()
    ready(f"http://{LOOPBACK if address else gethostname()}:{port}/?{_TOKEN}={access.token}")
    try:
        await asyncio.Event().wait()
    finally:
        server.stop(wait=False)
        for file in files:
            file.close()
        await http.close_all_connections()


class _Access:
    """Authentication by a token, which each request must include in its URL or in a cookie.

    Requests from other origins are rejected by their Origin header. The name of the cookie
    includes the port, because browsers send cookies to all ports of a host.
    """

    def __init__(self, token: str, port: int) -> None:
        self.token = token
        self.cookie = f"ndx-sim-view-{port}"

    def has_cookie(self, request: HTTPServerRequest) -> bool:
        found = request.cookies.get(self.cookie)
        return found is not None and self._is_token(found.value) and _is_same_origin(request)

    def has_argument(self, request: HTTPServerRequest) -> bool:
        found = request.query_arguments.get(_TOKEN, [b""])[0]
        return self._is_token(found.decode("ascii", "replace")) and _is_same_origin(request)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())


def _is_same_origin(request: HTTPServerRequest) -> bool:
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("Host")


class _Condition(Matcher):
    def __init__(self, holds: Callable[[HTTPServerRequest], bool]) -> None:
        self._holds = holds

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self._holds(request) else None


class _SetCookieHandler(RequestHandler):
    """Move the token from the URL to a cookie, so that it is not stored in the browser history."""

    def initialize(self, access: _Access) -> None:
        self.access = access

    def get(self) -> None:
        self.set_cookie(self.access.cookie, self.access.token, httponly=True, samesite="Strict")
        self.redirect("/")


class _RefusalHandler(RequestHandler):
    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("403: open the address that ndx-sim view printed; it contains the token.\n")


class _DownloadHandler(RequestHandler):
    """Stream a table as CSV; with the query argument ``check``, only report errors."""

    def initialize(self, downloads: Downloads) -> None:
        self.downloads = downloads

    async def get(self, key: str) -> None:
        found = self.downloads.find(key)
        if found is None:
            raise HTTPError(404)
        name, rows = found
        try:
            pieces = csv_pieces(rows())
            first = next(pieces, "")
        except (SimulationOutputError, OSError, KeyError) as error:
            self.set_status(409)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{error}\n")
            return
        if self.request.query == "check":
            return
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        try:
            self.write(first)
            for piece in pieces:
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return


def csv_pieces(rows: Rows) -> Iterator[str]:
    """Yield rows as CSV text in chunks of about 1 MiB.

    >>> [piece.split() for piece in csv_pieces(iter([("time_s", "v"), (0.5, 1)]))]
    [['time_s,v', '0.5,1']]
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        if text.tell() > _PIECE:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()
