"""The server of the page."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
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
from tornado.netutil import bind_sockets
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter
from tornado.web import Application as Pages
from tornado.web import RequestHandler

from ndx_simulation_output.viewer.downloads import Download, Downloads
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Source

# The server of the page: for this machine alone, and only for who has the token.

LOOPBACK = "127.0.0.1"

_TOKEN = "token"  # noqa: S105 - the name of the argument


class _Guard:
    """Who may come in: requests with the token, in the address or in a cookie.

    A page of another server that asks in the user's name is refused: browsers say where a request
    comes from. The cookie has the port in its name, for cookies know no ports.
    """

    def __init__(self, token: str, port: int) -> None:
        self.token = token
        self.cookie = f"ndx-sim-view-{port}"

    def has_cookie(self, request: HTTPServerRequest) -> bool:
        """Whether a request has the token in a cookie, and comes from our own page."""
        found = request.cookies.get(self.cookie)
        return found is not None and self._is_token(found.value) and _is_of_own_page(request)

    def has_argument(self, request: HTTPServerRequest) -> bool:
        """Whether a request has the token in its address, and comes from our own page."""
        found = request.query_arguments.get(_TOKEN, [b""])[0]
        return self._is_token(found.decode("ascii", "replace")) and _is_of_own_page(request)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())


def _is_of_own_page(request: HTTPServerRequest) -> bool:
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("Host")


class _When(Matcher):
    """Requests for which something holds."""

    def __init__(self, holds: Callable[[HTTPServerRequest], bool]) -> None:
        self._holds = holds

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self._holds(request) else None


class _Enter(RequestHandler):
    """Put the token of the address into a cookie, so that it stays in no history of pages."""

    def initialize(self, guard: _Guard) -> None:
        self.guard = guard

    def get(self) -> None:
        self.set_cookie(self.guard.cookie, self.guard.token, httponly=True, samesite="Strict")
        self.redirect("/")


class _Refuse(RequestHandler):
    """Refuse whatever is asked."""

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("403: open the address that ndx-sim view printed; it has the token.\n")


async def serve(
    sources: Sequence[Source],
    *,
    port: int = 0,
    address: str | None = LOOPBACK,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve the page until this task is cancelled; ``ready`` is called with its address.

    By default only this machine reaches it; with None as ``address`` any machine that knows the
    token. Port 0 is any that is free.

    Raises
    ------
    OSError
        If the port is taken.

    """
    sockets = bind_sockets(port, address)
    port = sockets[0].getsockname()[1]
    guard, downloads = _Guard(secrets.token_urlsafe(24), port), Downloads()

    def make_page(document: Any) -> None:
        open_page(document, sources, downloads)

    own = [f"{host}:{port}" for host in (LOOPBACK, "localhost")]
    application = BokehTornado(
        {"/": Application(FunctionHandler(make_page))},
        extra_websocket_origins=own if address else ["*"],
        extra_patterns=[(r"/download/(.+)", Download, {"downloads": downloads})],
        generate_session_ids=True,
        use_index=False,
    )
    enter = Pages([(r".*", _Enter, {"guard": guard})])
    rules = [
        Rule(_When(guard.has_argument), enter),
        Rule(_When(guard.has_cookie), application),
        Rule(AnyMatches(), Pages([(r".*", _Refuse)])),
    ]
    http = HTTPServer(RuleRouter(rules))
    server = BaseServer(IOLoop.current(), application, http)
    http.add_sockets(sockets)
    server.start()
    ready(f"http://{LOOPBACK if address else gethostname()}:{port}/?{_TOKEN}={guard.token}")
    try:
        await asyncio.Event().wait()
    finally:
        server.stop(wait=False)
        for source in sources:
            source.close()
        await http.close_all_connections()
