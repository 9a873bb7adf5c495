"""Files on web servers, whose answers are checked and compared with each other."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a web server that a later request may not get."""
NO_RANGES = "the server does not support byte ranges: download the file"
_OK, _PARTIAL, _PRECONDITION_FAILED, _NOT_SATISFIABLE = 200, 206, 412, 416
_NUMBER = r"(\d{1,18})"
_CONTENT_RANGE = re.compile(rf"[Bb]ytes (?:{_NUMBER}-{_NUMBER}|\*)/(?:{_NUMBER}|\*)", re.ASCII)
_COMPRESSED = re.compile("gzip|compress|deflate|br|zstd", re.IGNORECASE)
"""Other encodings, such as aws-chunked, are left over from an upload: the bytes are the file."""
_UNPRINTABLE = re.compile(r"[^ -~]+")
_LONGEST_PAUSE = 60.0
_BLOCK_TIMEOUTS = 5
"""A block may take this many times the timeout to arrive."""


class ServerError(Exception):
    """A wrong answer of a server; ``wait``: in how many seconds another may be right, if any."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class ChangedError(ServerError):
    """An answer shows that the file is no longer the one that was opened."""


@dataclass(frozen=True)
class _State:
    """What an answer of a web server says of the state of the file."""

    etag: str | None
    modified: str | None
    length: int | None
    settled: bool
    """The file was modified at least a second before the answer (RFC 9110, section 8.8.2.2)."""

    @classmethod
    def of(cls, headers: Mapping[str, str], length: int | None) -> "_State":
        """Read the headers of an answer."""
        modified = headers.get("Last-Modified")
        now = _timestamp(headers["Date"]) if "Date" in headers else time.time()
        then = _timestamp(modified or "")
        settled = now is not None and then is not None and now - then >= 1
        return cls(headers.get("ETag"), modified, length, settled)

    @property
    def condition(self) -> dict[str, str]:
        """The header that asks a server for an error if the file has changed."""
        if self.etag is not None and self.etag.startswith('"'):
            return {"If-Match": self.etag}
        return {} if self.modified is None else {"If-Unmodified-Since": self.modified}

    def change_to(self, later: "_State") -> str | None:
        """Return how a later answer shows that the file has changed, or None.

        Another ETag is not a change if length and time of modification are the same: the servers
        of a network may give one file several ETags.
        """
        if None not in (self.length, later.length) and self.length != later.length:
            return f"it had {self.length} bytes, and has {later.length}"
        known = self.modified is not None and later.modified is not None
        same_time = known and self.modified == later.modified
        if self.etag is not None and later.etag is not None:
            if self.etag.removeprefix("W/") != later.etag.removeprefix("W/"):
                excused = same_time and self.settled and self.length == later.length
                return None if excused else f"its ETag was {self.etag}, and is {later.etag}"
            if self.etag == later.etag and not self.etag.startswith("W/"):
                return None
        if known and not same_time:
            return f"it was modified {self.modified}, and then {later.modified}"
        return None


_Ask = Callable[[int, int, list[bytes]], Awaitable[None]]


class WebFile:
    """A file on a web server; each answer is compared with the first."""

    def __init__(self, system: Any, url: str, timeout: float, block: int) -> None:
        self._system = system
        self._url = url
        self._timeout = timeout
        self._block = block
        self._first: _State | None = None
        self._condition: dict[str, str] = {}
        self._is_denied = False
        self._whole: int | None = None
        self._beginning = self._get(self._ask, 0, block)
        if self._beginning.lstrip().startswith(b"<"):
            msg = "the server returned a page of HTML or XML: a login may be needed"
            raise ServerError(msg)
        size = self._whole if self._first is None else self._first.length or self._whole
        size = system.info(url).get("size") if size is None else size
        if size is None:
            msg = "the server does not say how long the file is: download the file"
            raise ServerError(msg)
        self.size: int = size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``."""
        known = b""
        if start == 0:
            known, self._beginning = self._beginning[:stop], b""
        return known + self._get(self._ask_for_all, start + len(known), stop)

    def close(self) -> None:
        """Do nothing: the connections are those of the file system."""

    def _get(self, ask: _Ask, start: int, stop: int) -> bytes:
        """Return what ``ask`` gets of the bytes ``[start, stop)``."""
        from fsspec.asyn import sync

        longest = self._timeout * _BLOCK_TIMEOUTS
        block: bytes = sync(
            self._system.loop, self._get_in_time, ask, start, stop, longest, timeout=longest + 5
        )
        return block

    async def _get_in_time(self, ask: _Ask, start: int, stop: int, longest: float) -> bytes:
        import aiohttp

        pieces: list[bytes] = []
        try:
            await asyncio.wait_for(ask(start, stop, pieces), longest)
        except aiohttp.ClientPayloadError:
            msg = f"the connection ended after {_length(pieces)} of {stop - start} bytes"
            raise ServerError(msg, wait=0) from None
        except aiohttp.ServerTimeoutError:
            msg = f"the server sent nothing for {self._timeout:g} s"
            raise ServerError(msg, wait=0) from None
        except asyncio.TimeoutError:
            msg = f"{_length(pieces)} of {stop - start} bytes came in {longest:g} s"
            raise ServerError(msg) from None
        return b"".join(pieces)

    async def _ask_for_all(self, start: int, stop: int, pieces: list[bytes]) -> None:
        """Append the bytes ``[start, stop)`` to ``pieces``, however few come at a time."""
        found = 0
        while start + found < stop:
            await self._ask(start + found, stop, pieces)
            if found == (found := _length(pieces)):
                msg = f"the server returned {found} of {stop - start} bytes"
                raise ServerError(msg)

    async def _ask(self, start: int, stop: int, pieces: list[bytes]) -> None:
        """Append what the server gives of the bytes ``[start, stop)`` to ``pieces``."""
        import aiohttp

        options = dict(self._system.kwargs)
        options["headers"] = {
            **(options.get("headers") or {}),
            **self._condition,
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
        }
        options["timeout"] = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout, sock_read=self._timeout
        )
        session = await self._system.set_session()
        async with session.get(self._system.encode_url(self._url), **options) as answer:
            if answer.status != _PRECONDITION_FAILED or not self._condition:
                end = self._end_of_range(answer, start)
                wanted = (stop if end is None else min(stop, end)) - start
                left = wanted
                while left >= 0 and (piece := await answer.content.readany()):
                    pieces.append(piece)
                    left -= len(piece)
                self._check_length(wanted - left, wanted, end, stop)
                if left < 0:
                    pieces[-1] = pieces[-1][:left]
                return
        # The file changed, or another of several servers gives it another ETag: look at it.
        self._condition, self._is_denied = {}, True
        await self._ask(start, stop, pieces)

    def _end_of_range(self, answer: Any, start: int) -> int | None:
        """Return where the bytes of an answer end, or None if they are the whole file."""
        headers, status = answer.headers, answer.status
        given = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        length = int(given[3]) if given and given[3] else None
        if status == _OK and headers.get("Content-Length", "").isdigit():
            length = int(headers["Content-Length"])
        if status in {_OK, _PARTIAL} or (status == _NOT_SATISFIABLE and length is not None):
            self._compare(_State.of(headers, length))
        if status not in {_OK, _PARTIAL}:
            raise _refusal(answer, is_first=self._first is None)
        if _COMPRESSED.search(encoding := headers.get("Content-Encoding", "")):
            msg = f"the server compresses it (Content-Encoding: {encoding}): download the file"
            raise ServerError(msg)
        if status == _OK:
            if start or (length or 0) > self._block:
                raise ServerError(NO_RANGES)
            return None
        if given is None or given[1] is None or not int(given[1]) == start <= int(given[2]):
            msg = (
                f"the server returned {headers.get('Content-Range', 'no Content-Range')[:80]}; "
                f"expected bytes from {start} on"
            )
            raise ServerError(msg)
        return int(given[2]) + 1

    def _check_length(self, found: int, wanted: int, end: int | None, stop: int) -> None:
        if end is None:
            if found > wanted:
                raise ServerError(NO_RANGES)
            self._whole = found
        elif found < wanted:
            msg = f"the server returned {found} of {wanted} bytes"
            raise ServerError(msg, wait=0)
        elif found > wanted and end <= stop:
            msg = f"the server returned more than the {wanted} bytes that it announced"
            raise ServerError(msg)

    def _compare(self, state: _State) -> None:
        """Keep the state of the first answer; raise an error if a later one differs."""
        if self._first is None:
            self._first, self._condition = state, state.condition
            return
        change = self._first.change_to(state)
        if change is None and self._is_denied and state.etag is None and state.modified is None:
            change = "the server says that it is another (412 Precondition Failed)"
        if change is not None:
            raise ChangedError(change)


def _length(pieces: list[bytes]) -> int:
    return sum(map(len, pieces))


def _refusal(answer: Any, *, is_first: bool) -> ServerError:
    """Return the error for an answer of a web server that is not part of the file."""
    phrase = _UNPRINTABLE.sub(" ", answer.reason or "")[:100]
    reason = f"the server returned {answer.status} {phrase}".rstrip()
    if answer.status in {401, 403} and not is_first:
        return ServerError(f"{reason}; a signed URL or a login may have expired")
    if answer.status not in PASSING:
        return ServerError(reason)
    wait = _retry_after(answer.headers.get("Retry-After", "0"))
    if wait > _LONGEST_PAUSE:
        return ServerError(f"{reason}, and asks to wait {wait:.0f} s")
    return ServerError(reason, wait=wait)


def _retry_after(text: str) -> float:
    """Return the seconds of a header, which gives a number or a date."""
    if text.isascii() and text.strip().isdigit():
        return float(text)
    return max(0.0, (_timestamp(text) or 0.0) - time.time())


def _timestamp(text: str) -> float | None:
    with suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(text).timestamp()
    return None
