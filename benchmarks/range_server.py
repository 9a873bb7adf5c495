"""A local server that sends byte ranges of files with a delay, and counts requests."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import IO

__all__ = ["Traffic", "serve"]

PIECE_BYTES = 2**18


@dataclass
class Traffic:
    """Requests since the last reset."""

    requests: int = 0
    sent_bytes: int = 0

    def reset(self) -> None:
        """Set the counts to 0."""
        self.requests = self.sent_bytes = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(
        self,
        *connection: object,
        directory: Path,
        latency: float,
        traffic: Traffic,
        lock: "Lock",
    ) -> None:
        self.directory, self.latency = directory, latency
        self.traffic, self.lock = traffic, lock
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        """Send the size of a file."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Send a range of a file."""
        self._answer(with_body=True)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def _answer(self, *, with_body: bool) -> None:
        time.sleep(self.latency)
        path = self.directory / Path(self.path).name
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        start, stop, is_part = _range(self.headers.get("Range", ""), size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.name}-{size}"')
        if is_part:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        with self.lock:
            self.traffic.requests += 1
        if with_body:
            with path.open("rb") as file:
                file.seek(start)
                self._send(file, stop - start)

    def _send(self, file: IO[bytes], size: int) -> None:
        """Send this many bytes, or until the client disconnects."""
        for first in range(0, size, PIECE_BYTES):
            try:
                self.wfile.write(file.read(min(PIECE_BYTES, size - first)))
            except ConnectionError:
                self.close_connection = True
                return
            with self.lock:
                self.traffic.sent_bytes += min(PIECE_BYTES, size - first)


def _range(header: str, size: int) -> tuple[int, int, bool]:
    """Return the bounds [start, stop) of a Range header, and whether it requests a range."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if asked is None or not any(asked.groups()):
        return 0, size, False
    first, last = asked.groups()
    if not first:
        return max(0, size - int(last)), size, True
    return int(first), min(size, int(last) + 1 if last else size), True


@contextmanager
def serve(directory: Path, latency: float) -> Iterator[tuple[str, Traffic]]:
    """Serve the files of a directory; delay each response by ``latency`` seconds.

    Yields the base URL and the traffic.
    """
    traffic = Traffic()
    handler = partial(_Handler, directory=directory, latency=latency, traffic=traffic, lock=Lock())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", traffic
        server.shutdown()
        thread.join()
