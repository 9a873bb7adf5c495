"""Downloads of a page as CSV, made in pieces."""

import csv
import io
import secrets
from collections.abc import Callable, Iterator, Sequence

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from ndx_simulation_output.errors import SimulationOutputError

# What a page offers to be saved, as CSV: made when it is asked for, piece by piece.

Rows = Iterator[Sequence[object]]
"""Rows of a table, the names of its columns first."""

_PIECE = 2**20


class Downloads:
    """What all pages offer, each under a key that nobody guesses."""

    def __init__(self) -> None:
        self._offers: dict[str, tuple[str, Callable[[], Rows]]] = {}

    def offer(self, name: str, rows: Callable[[], Rows]) -> str:
        """Offer what ``rows`` then gives as a file ``name``, and give where it is to be had."""
        key = secrets.token_urlsafe(12)
        self._offers[key] = (name, rows)
        return f"download/{key}"

    def withdraw(self, address: str) -> None:
        """Offer it no more."""
        self._offers.pop(address.removeprefix("download/"), None)

    def find(self, key: str) -> tuple[str, Callable[[], Rows]] | None:
        """Give what is offered under a key, if anything is."""
        return self._offers.get(key)


class Download(RequestHandler):
    """Give a table as CSV, in bounded memory however long it is."""

    def initialize(self, downloads: Downloads) -> None:
        """Know what is offered."""
        self.downloads = downloads

    async def get(self, key: str) -> None:
        """Send it piece by piece; with the argument ``check`` only say whether it can be had."""
        found = self.downloads.find(key)
        if found is None:
            raise HTTPError(404)
        name, make = found
        try:
            pieces = csv_pieces(make())
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
    """Write rows as CSV, in pieces of about a mebibyte, however long a row is.

    Example
    -------
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
