"""A web server for tests: it counts what is asked of it, and fails as it is told."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves the files of a directory in ranges, and counts requests and bytes.

    ``headers`` gives further headers for an answer, and ``odd`` may answer in another way: it is
    called with the handler, the whole file and the range, and returns True if it did. ``content``
    is given for every file.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.directory = directory
        self.content: bytes | None = None
        self.gives_ranges = True
        self.failing: int | None = None
        self.headers: Callable[[], dict[str, str]] = dict
        self.odd: Callable[[Handler, bytes, slice], bool] | None = None
        self.ended = threading.Event()
        self.sent: list[int] = []
        self.authorized: list[str | None] = []

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Answer requests in a thread."""
        with self:
            thread = threading.Thread(target=self.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                self.ended.set()
                self.shutdown()
                thread.join()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.server.authorized.append(self.headers.get("Authorization"))
        path = self.server.directory / self.path.lstrip("/").partition("?")[0]
        if self.server.failing is not None or not path.is_file():
            self.server.sent.append(0)
            self.send_error(self.server.failing or 404)
            return
        content = self.server.content or path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = slice(0, len(content))
        if asked:
            part = slice(int(asked[1]), min(int(asked[2]) + 1, len(content)))
        if self.server.odd is not None and self.server.odd(self, content, part):
            return
        if part.start >= part.stop > 0:
            self.begin(416, slice(0, 0), 0, Content_Range=f"bytes */{len(content)}")
            return
        if asked and self.server.gives_ranges:
            self.begin(206, part, len(content))
        else:
            part = slice(0, len(content))
            self.begin(200, part, len(content))
        # Counted before it is sent: the client goes on as soon as it has it.
        self.server.sent.append(part.stop - part.start if self.command == "GET" else 0)
        if self.command == "GET":
            self.send(content[part])

    def begin(self, status: int, part: slice, total: object, **headers: object) -> None:
        """Send status and headers; a header that is None is left out."""
        self.send_response(status)
        given = {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{total}"}
        given = given if status == 206 else {}
        given |= {"Content-Length": part.stop - part.start} | self.server.headers()
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in given.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def send(self, content: bytes) -> None:
        # Who is told of a change, or gets too much, hangs up.
        with suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""
