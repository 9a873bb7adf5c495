"""Web server of the page, with token authentication and CSV downloads."""

import asyncio
import csv
import io
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from html import escape
from ipaddress import ip_address
from socket import getfqdn, gethostname
from typing import Any
from urllib.parse import quote

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.util.warnings import BokehUserWarning
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, split_host_and_port
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter
from tornado.web import Application as WebApplication
from tornado.web import HTTPError, OutputTransform, RequestHandler

from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, Rows, ViewedFile

LOOPBACK = "127.0.0.1"

_TOKEN = "token"  # noqa: S105 - the name of the argument
_PIECE = 2**20
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_HEADERS = {
    # Bokeh has inline scripts and compiles those of CustomJS, but no handlers in attributes.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "script-src-attr 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


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
    # The browser describes new models once more although the server made them; it is harmless.
    warnings.filterwarnings("ignore", "reference already known", BokehUserWarning)
    sockets = bind_sockets(port, address)
    port = sockets[0].getsockname()[1]
    access, downloads = _Access(is_public=address is None), Downloads()

    def make_page(document: Any) -> None:
        query = document.session_context.request.uri.partition("?")[2]
        open_page(document, files, downloads, query)

    application = BokehTornado(
        {"/": Application(FunctionHandler(make_page))},
        extra_websocket_origins=["*"],  # _Access has checked the origin
        extra_patterns=[(r"/download/(.+)", _DownloadHandler, {"downloads": downloads})],
        generate_session_ids=True,
        use_index=False,
        # Bokeh would repeat them in the page, where scripts could read the cookie.
        include_headers=[],
        include_cookies=[],
        transforms=[_AddHeaders],
    )
    rules = [
        Rule(_Condition(access.has_argument), _application(_SetCookieHandler, access=access)),
        Rule(_Condition(access.has_cookie), application),
        Rule(AnyMatches(), _application(_RefusalHandler)),
    ]
    http = HTTPServer(RuleRouter(rules), max_body_size=_PIECE)  # No request has a body.
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


def _application(handler: type[RequestHandler], **options: Any) -> WebApplication:
    """Return an application that does not log requests, because their URL may have the token."""
    rules = [(r".*", handler, options)]
    return WebApplication(rules, transforms=[_AddHeaders], log_function=lambda _: None)


class _AddHeaders(OutputTransform):
    """Add the headers that protect the page to a response, and remove those that share it."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self.host = request.host

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: FBT001 - tornado passes it by position
    ) -> tuple[int, HTTPHeaders, bytes]:
        del finishing
        for name in list(headers):
            if name.startswith("Access-Control-"):
                del headers[name]
        for name, value in _HEADERS.items():
            headers[name] = value.format(host=self.host)
        headers.setdefault("Cache-Control", "no-store")
        return status_code, headers, chunk


class _Access:
    """Access by a token, which each request must include in its URL or in a cookie.

    The host of a request must be an address or name of this machine, which the name of another
    site that resolves to it (DNS rebinding) is not, and its origin must be this host. The name of
    the cookie includes the port that the browser uses, because cookies are for all ports of a host.
    """

    def __init__(self, *, is_public: bool) -> None:
        self.token = secrets.token_urlsafe(24)
        self._is_public = is_public
        public = {gethostname().lower(), getfqdn().lower()} if is_public else set()
        self._names = {"localhost", *public}

    def cookie_name(self, request: HTTPServerRequest) -> str:
        return f"ndx-sim-view-{split_host_and_port(request.host)[1] or 80}"

    def has_cookie(self, request: HTTPServerRequest) -> bool:
        found = request.cookies.get(self.cookie_name(request))
        return found is not None and self._is_token(found.value) and self._is_own(request)

    def has_argument(self, request: HTTPServerRequest) -> bool:
        found = request.query_arguments.get(_TOKEN, [b""])[0]
        return self._is_token(found.decode("ascii", "replace")) and self._is_own(request)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())

    def _is_own(self, request: HTTPServerRequest) -> bool:
        origin = request.headers.get("Origin")
        return self._is_own_host(request.host_name) and (
            origin is None or origin.partition("://")[2].lower() == request.host.lower()
        )

    def _is_own_host(self, name: str) -> bool:
        try:
            address = ip_address(name.strip("[]"))
        except ValueError:
            return name in self._names
        return self._is_public or address.is_loopback


class _Condition(Matcher):
    def __init__(self, holds: Callable[[HTTPServerRequest], bool]) -> None:
        self._holds = holds

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self._holds(request) else None


class _SetCookieHandler(RequestHandler):
    """Move the token from the URL to a cookie, so that it is not stored in the browser history.

    The rest of the query is the state of the page, and stays.
    """

    def initialize(self, access: _Access) -> None:
        self.access = access

    def get(self) -> None:
        name = self.access.cookie_name(self.request)
        self.set_cookie(name, self.access.token, httponly=True, samesite="Strict")
        parts = self.request.query.split("&")
        state = "&".join(part for part in parts if part.partition("=")[0] != _TOKEN)
        address = f"/?{state}" if state else "/"
        if self.request.headers.get("Sec-Fetch-Site") == "cross-site":
            # From the file that the command opens: a redirection would not send the cookie.
            self.finish(f'<meta http-equiv="refresh" content="0; url={escape(address)}">')
        else:
            self.redirect(address)


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
        coded = quote(name.encode(errors="replace"), safe="")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{coded}")
        try:
            self.write(first)
            for piece in pieces:
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return


def csv_pieces(rows: Rows) -> Iterator[str]:
    """Yield rows as CSV text in chunks of about 1 MiB.

    Spreadsheets would calculate text that starts like a formula, so it gets an apostrophe.

    >>> [piece.split() for piece in csv_pieces(iter([("time_s", "v"), (0.5, 1)]))]
    [['time_s,v', '0.5,1']]
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_not_a_formula(cell) for cell in row])
        if text.tell() > _PIECE:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _not_a_formula(cell: object) -> object:
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULA)
    return f"'{cell}" if is_formula else cell
