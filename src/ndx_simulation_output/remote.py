"""Read files on servers through fsspec, in blocks, with a cache of the blocks used last."""

import asyncio
import errno
import gc
import io
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeGuard, TypeVar

from ndx_simulation_output.errors import (
    MissingDependencyError,
    SimulationOutputError,
    SourceError,
    is_like_url,
    name_of,
)

_T = TypeVar("_T")
_BLOCK_BYTES = 2**20
_BLOCKS = 32
_TIMEOUT = 30.0
_RETRIES = 3
_PAUSE = 0.5
"""Seconds before the first retry; each further one waits twice as long."""
_LONGEST_PAUSE = 60.0
_BLOCK_TIMEOUTS = 5
"""A block of a web server may take this many times the timeout to arrive."""
_PROTOCOL = re.compile(r"([A-Za-z][\w+.-]+::)*[A-Za-z][\w+.-]+://")
_CHAIN = re.compile(r"::(?=[A-Za-z][\w+.-]+://)")
"""Between the URLs of a chain; an IPv6 address has two colons as well."""
_URL_IN_TEXT = re.compile(r"\w+://[^\s'\"]+")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_LONGEST_LIMIT = 1e6
_WITH_OWN_RETRIES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"}
"""Protocols whose libraries ask again on their own."""
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a web server that a later request may not get."""
_STATE = (
    *("ETag", "etag", "generation", "sha", "size", "created", "mtime", "modify", "updated"),
    *("LastModified", "Last-Modified", "last_modified", "last_write_time", "modificationTime"),
)
"""What the file systems of fsspec call the facts that change with the content of a file."""
_OK, _PARTIAL, _PRECONDITION_FAILED, _NOT_SATISFIABLE = 200, 206, 412, 416
_NO_RANGES = "the server does not support byte ranges: download the file"


def is_url(path: object) -> TypeGuard[str]:
    """Return True if ``path`` is a URL, of any protocol, or a chain of URLs as in fsspec.

    Example
    -------
    >>> is_url("s3://bucket/run.nwb"), is_url("run.nwb"), is_url("C:/run.nwb")
    (True, False, False)

    """
    return isinstance(path, str) and _PROTOCOL.match(path) is not None


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> "RemoteFile":
    """Open a file on a server for reading; ``storage_options`` are options of fsspec.

    Two options are of this package: ``timeout``, the seconds without an answer that are an error,
    and ``retries``, how often a server that fails is asked again.

    Raise MissingDependencyError if a library for the protocol is not installed, and SourceError if
    the file cannot be opened or the server does not support byte ranges.
    """
    name, options = name_of(url), dict(storage_options or {})
    timeout, retries = _limit(options, "timeout", 0.001), _limit(options, "retries", 0)
    has_own = _last_protocol(url) in _WITH_OWN_RETRIES
    attempts = _Attempts(name, 0 if has_own else _RETRIES if retries is None else int(retries))
    source = attempts.run(lambda: _open_source(url, options, timeout, retries))
    return RemoteFile(source, name, attempts)


def refuse_url(path: object, *, is_target: bool = False) -> None:
    """Raise SourceError if ``path`` is a URL where a local file is needed."""
    if is_like_url(path):
        needed = "only open_output, info and plot read one, of an NWB file: download the file first"
        needed = "write a local file and upload it" if is_target else needed
        msg = f"{name_of(path)} is a URL; {needed}"
        raise SourceError(msg)


class RemoteFile(io.RawIOBase):
    """A file on a server that h5py can read; ``name`` is its URL without passwords and signatures.

    It caches at most 32 blocks of 1 MiB until it is closed.
    """

    def __init__(self, source: "_Source", name: str, attempts: "_Attempts") -> None:
        self.name = name
        # The message: an error keeps, through its traceback, objects of HDF5 that keep this file.
        self._failure: str | None = None
        self._is_opening = True
        self._source = source
        self._size = source.size
        self._attempts = attempts
        self._position = 0
        self._block = lru_cache(_BLOCKS)(self._read_block)

    def __repr__(self) -> str:
        """Return the name, which h5py uses as the file name."""
        return self.name

    def readable(self) -> bool:
        """Return True: the file is readable."""
        return True

    def seekable(self) -> bool:
        """Return True: the file supports random access."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = origins[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` up to the end of the file; raise SourceError if reading fails."""
        if self._failure is not None:
            raise SourceError(self._failure)
        left = memoryview(buffer).cast("B")
        begin = self._position
        while left and self._position < self._size:
            number, start = divmod(self._position, _BLOCK_BYTES)
            try:
                piece = self._block(number)[start : start + len(left)]
            except SourceError as error:
                self._failure = str(error) if self._is_opening else None
                raise
            left[: len(piece)] = piece
            left = left[len(piece) :]
            self._position += len(piece)
        return self._position - begin

    def end_opening(self) -> None:
        """Raise the first error of reading, which HDF5 may have reported as a missing object.

        Until then, it is raised by all reading that follows; afterwards, each reading asks again.
        """
        failure, self._failure, self._is_opening = self._failure, None, False
        if failure is not None:
            raise SourceError(failure) from None

    def close(self) -> None:
        """Close the file and free its blocks."""
        self._block.cache_clear()
        self._source.close()
        super().close()

    def _read_block(self, number: int) -> bytes:
        start = number * _BLOCK_BYTES
        stop = min(start + _BLOCK_BYTES, self._size)
        return self._attempts.run(lambda: self._source.read(start, stop))


class _Source(Protocol):
    """Bytes on a server, which raise SourceError when they change."""

    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``."""

    def close(self) -> None:
        """Free the connection."""


class _ServerError(Exception):
    """A wrong answer of a server; ``wait``: in how many seconds another may be right, if any."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _ChangedError(_ServerError):
    """An answer shows that the file is no longer the one that was opened."""


@dataclass(frozen=True)
class _Attempts:
    """Asks a server again, up to ``retries`` times, if it fails in a way that may pass."""

    name: str
    retries: int

    def run(self, ask: Callable[[], _T]) -> _T:
        """Return what ``ask`` returns; raise SourceError if it fails for good.

        The original error is suppressed: it may contain passwords and signatures.
        """
        begin = time.monotonic()
        with _no_garbage_collection():
            for number in range(1, self.retries + 2):
                try:
                    return ask()
                except SimulationOutputError:
                    raise
                except ImportError as error:
                    msg = (
                        f"{self.name} cannot be read without an optional library ({error}); for "
                        "http and s3: pip install 'ndx-simulation-output[remote]'"
                    )
                    raise MissingDependencyError(msg) from error
                except Exception as error:  # noqa: BLE001 - each library of fsspec raises its own
                    cause = _cause(error)
                wait = _wait_after(cause, _PAUSE * 2 ** (number - 1))
                if wait is None or number > self.retries:
                    break
                time.sleep(wait)
        if isinstance(cause, _ChangedError):
            msg = f"{self.name} has changed on the server since it was opened: {cause}"
            raise SourceError(msg) from None
        tried = f" ({number} attempts in {time.monotonic() - begin:.1f} s)" if number > 1 else ""
        msg = f"{self.name} cannot be read: {_reason(cause)}{tried}"
        raise SourceError(msg) from None


def _wait_after(cause: BaseException, pause: float) -> float | None:
    """Return how many seconds to wait before asking again, or None if that would not help."""
    if isinstance(cause, _ServerError):
        return None if cause.wait is None else max(cause.wait, pause)
    if (status := getattr(cause, "status", None)) is not None:
        return pause if status in _PASSING else None
    final = (FileNotFoundError, PermissionError, IsADirectoryError, io.UnsupportedOperation)
    if isinstance(cause, (*final, ssl.SSLError)):
        return None
    if isinstance(cause, OSError):
        return None if cause.errno == errno.EINVAL else pause
    passing = {
        *("ClientConnectionError", "ClientPayloadError", "PayloadEncodingError"),
        *("HTTPClientError", "TimeoutError"),
    }
    return pause if passing.intersection(kind.__name__ for kind in type(cause).__mro__) else None


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
        settled = False
        with suppress(TypeError, ValueError):
            age = parsedate_to_datetime(headers["Date"]) if "Date" in headers else None
            then = parsedate_to_datetime(modified or "")
            seconds = age.timestamp() if age is not None else time.time()
            settled = seconds - then.timestamp() >= 1
        return cls(headers.get("ETag"), modified, length, settled)

    @property
    def condition(self) -> dict[str, str]:
        """The header that asks a server for an error if the file has changed."""
        if self.etag is not None and not self.etag.startswith("W/"):
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


class _WebFile:
    """A file on a web server; each answer is compared with the first."""

    def __init__(self, system: Any, url: str, timeout: float) -> None:
        self._system = system
        self._url = url
        self._timeout = timeout
        self._first: _State | None = None
        self._condition: dict[str, str] = {}
        self._is_denied = False
        self._whole: int | None = None
        self._beginning = self._get(0, _BLOCK_BYTES)
        size = self._whole if self._first is None else self._first.length or self._whole
        size = system.info(url).get("size") if size is None else size
        if size is None:
            msg = "the server does not say how long the file is: download the file"
            raise _ServerError(msg)
        self.size: int = size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``."""
        parts = []
        if start == 0 and self._beginning:
            parts, self._beginning = [self._beginning[:stop]], b""
        while (begin := start + _length(parts)) < stop:
            parts.append(self._get(begin, stop))
            if not parts[-1]:
                msg = f"the server returned {begin - start} of {stop - start} bytes"
                raise _ServerError(msg)
        return b"".join(parts)

    def close(self) -> None:
        """Do nothing: the connections are those of the file system."""

    def _get(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, or the first of them, as a server may answer."""
        from fsspec.asyn import sync

        longest = self._timeout * _BLOCK_TIMEOUTS
        block: bytes = sync(
            self._system.loop, self._get_in_time, start, stop, longest, timeout=longest + 5
        )
        return block

    async def _get_in_time(self, start: int, stop: int, longest: float) -> bytes:
        import aiohttp

        pieces: list[bytes] = []
        try:
            await asyncio.wait_for(self._ask(start, stop, pieces), longest)
        except aiohttp.ClientPayloadError:
            msg = f"the connection ended after {_length(pieces)} of {stop - start} bytes"
            raise _ServerError(msg, wait=0) from None
        except aiohttp.ServerTimeoutError:
            msg = f"the server sent nothing for {self._timeout:g} s"
            raise _ServerError(msg, wait=0) from None
        except asyncio.TimeoutError:
            msg = f"{_length(pieces)} of {stop - start} bytes came in {longest:g} s"
            raise _ServerError(msg) from None
        return b"".join(pieces)

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
        length = int(given[3]) if given and given[3] != "*" else None
        if status == _OK and headers.get("Content-Length", "").isdigit():
            length = int(headers["Content-Length"])
        if status in {_OK, _PARTIAL} or (status == _NOT_SATISFIABLE and length is not None):
            self._compare(_State.of(headers, length))
        if status not in {_OK, _PARTIAL}:
            raise _refusal(answer, is_first=self._first is None)
        if (encoding := headers.get("Content-Encoding", "identity")) != "identity":
            msg = f"the server compresses it (Content-Encoding: {encoding}): download the file"
            raise _ServerError(msg)
        if status == _OK:
            if start or (length or 0) > _BLOCK_BYTES:
                raise _ServerError(_NO_RANGES)
            return None
        if given is None or given[1] is None or not int(given[1]) == start <= int(given[2]):
            msg = (
                f"the server returned {headers.get('Content-Range', 'no Content-Range')}; "
                f"expected bytes from {start} on"
            )
            raise _ServerError(msg)
        return int(given[2]) + 1

    def _check_length(self, found: int, wanted: int, end: int | None, stop: int) -> None:
        if end is None:
            if found > wanted:
                raise _ServerError(_NO_RANGES)
            self._whole = found
        elif found < wanted:
            msg = f"the server returned {found} of {wanted} bytes"
            raise _ServerError(msg, wait=0)
        elif found > wanted and end <= stop:
            msg = f"the server returned more than the {wanted} bytes that it announced"
            raise _ServerError(msg)

    def _compare(self, state: _State) -> None:
        """Keep the state of the first answer; raise an error if a later one differs."""
        if self._first is None:
            self._first, self._condition = state, state.condition
            return
        change = self._first.change_to(state)
        if change is None and self._is_denied and state.etag is None and state.modified is None:
            change = "the server says that it is another (412 Precondition Failed)"
        if change is not None:
            raise _ChangedError(change)


def _length(pieces: list[bytes]) -> int:
    return sum(map(len, pieces))


class _SystemFile:
    """A file of any other file system of fsspec; what it says of the file is read after a block."""

    def __init__(self, system: Any, path: str) -> None:
        self._system = system  # An archive closes with its file system.
        self._path = path
        self._file = self._open()
        with ExitStack() as stack:
            stack.callback(self.close)
            self._origin = _origin(system, path, self._file)
            self._first = self._state()
            self.size: int = self._file.seek(0, io.SEEK_END)
            self._check_copy()
            stack.pop_all()

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``."""
        self._file = self._file or self._open()
        try:
            self._file.seek(start)
            block = bytes(self._file.read(stop - start))
        except BaseException as error:
            if _forget(self._system, self._path, self._file):
                self._file = None
                if isinstance(
                    error, (IndexError, TypeError, ValueError)
                ):  # What came for a block was none.
                    msg = f"the server did not return the bytes from {start} on"
                    raise _ServerError(msg, wait=0) from None
            raise
        state = self._state()
        for fact, first in self._first.items():
            if state.get(fact, first) != first:
                msg = f"its {fact} was {first}, and is {state[fact]}"
                raise _ChangedError(msg)
        if len(block) != stop - start:
            msg = f"the server returned {len(block)} of {stop - start} bytes"
            raise _ServerError(msg, wait=0)
        return block

    def _open(self) -> Any:
        from fsspec.implementations.cached import CachingFileSystem

        # RemoteFile caches blocks itself: the cache of fsspec is not freed with its file.
        caches = isinstance(self._system, CachingFileSystem)
        kept = {} if caches else {"cache_type": "none"}
        try:
            return self._system.open(self._path, "rb", **kept)
        except BaseException:
            _forget(self._system, self._path)
            raise

    def _check_copy(self) -> None:
        """Raise an error if a copy is shorter than the file, as after a download that ended."""
        from fsspec.implementations.cached import WholeFileCacheFileSystem

        if isinstance(self._system, WholeFileCacheFileSystem):
            expected = None
            with suppress(Exception):
                expected = self._system.fs.info(self._path).get("size")
            if expected is not None and self.size < expected:
                _forget(self._system, self._path, self._file)
                msg = f"the server returned {self.size} of {expected} bytes"
                raise _ServerError(msg, wait=0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _state(self) -> dict[str, str]:
        """Return what the file system says of the file now; nothing if it does not know."""
        with suppress(Exception):
            return {} if self._origin is None else _facts(*self._origin)
        return {}


def _forget(system: Any, path: str, file: Any = None) -> bool:
    """Remove what a cache of fsspec has of a file; return False if the system is no cache.

    After an error the cache takes a part for the whole file, and a block that did not come for one
    of zeros.
    """
    from fsspec.implementations.cached import CachingFileSystem, SimpleCacheFileSystem

    if not isinstance(system, CachingFileSystem):
        return False
    if file is not None:
        file.close()
    with suppress(Exception):
        if isinstance(system, SimpleCacheFileSystem):
            Path(system._check_file(path)).unlink()  # noqa: SLF001 - it has no other way
        else:
            system.pop_from_cache(path)
    return True


def _facts(system: Any, path: str) -> dict[str, str]:
    """Return what a file system says of the state of a file now."""
    system.invalidate_cache(path)
    info = system.info(path)
    return {fact: str(info[fact]) for fact in _STATE if info.get(fact) is not None}


def _origin(system: Any, path: str, file: Any) -> tuple[Any, str] | None:
    """Return file system and path of what may change while it is read.

    None for a file of S3, which is read on the condition that it is the same, and for a copy.
    """
    from fsspec.implementations.cached import CachingFileSystem, WholeFileCacheFileSystem

    is_conditional = "IfMatch" in (getattr(file, "read_kw", None) or {})
    if is_conditional or isinstance(system, WholeFileCacheFileSystem):
        return None
    if isinstance(system, CachingFileSystem):
        return system.fs, path
    archive = getattr(system, "fo", None)
    if archive is not None and hasattr(archive, "fs") and hasattr(archive, "path"):
        return _origin(archive.fs, archive.path, archive)
    return system, path


def _open_source(
    url: str, options: Mapping[str, Any], timeout: float | None, retries: int | None
) -> _Source:
    from fsspec.core import url_to_fs

    protocol, _, rest = url.partition(":")
    if protocol.lower() in {"http", "https"}:
        import fsspec

        system = fsspec.filesystem(protocol.lower(), **options)
        return _WebFile(system, url, _TIMEOUT if timeout is None else timeout)
    options = _with_limits(_last_protocol(url), options, timeout, retries)
    if protocol.lower() in {"blockcache", "filecache", "cached"}:
        options = {"check_files": True} | options
    system, path = url_to_fs(f"{protocol.lower()}:{rest}", **options)
    if getattr(system, "check_files", False):
        _tell_versions_apart(system.fs)
    return _SystemFile(system, path)


def _tell_versions_apart(system: Any) -> None:
    """Make caches of fsspec drop what they hold of an older version of a file on a web server."""
    if "http" in system.protocol:
        system.ukey = lambda path: str(_facts(system, path))


def _with_limits(
    protocol: str, options: Mapping[str, Any], timeout: float | None, retries: int | None
) -> dict[str, Any]:
    """Return options of fsspec with those by which the file system of ``protocol`` has limits."""
    given = dict(options)
    limits: dict[str, Any] = {}
    if protocol in {"http", "https"}:
        import aiohttp

        seconds = _TIMEOUT if timeout is None else timeout
        limit = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        headers = {"Accept-Encoding": "identity"} | given.get(protocol, {}).get("headers", {})
        given[protocol] = given.get(protocol, {}) | {"headers": headers}
        limits = {"timeout": limit}
    elif protocol in {"s3", "s3a"}:
        config: dict[str, Any] = (
            {} if timeout is None else {"connect_timeout": timeout, "read_timeout": timeout}
        )
        config |= {} if retries is None else {"retries": {"max_attempts": retries}}
        limits = {"config_kwargs": config | given.pop("config_kwargs", {})} if config else {}
    elif timeout is not None:
        given["timeout"] = timeout
    return given | ({protocol: {**limits, **given.get(protocol, {})}} if limits else {})


def _last_protocol(url: str) -> str:
    """Return the protocol of a URL, or of the last in a chain: that of the server."""
    return _CHAIN.split(url)[-1].partition(":")[0].lower()


def _limit(options: dict[str, Any], name: str, least: float) -> Any:
    """Remove a number from ``options`` and return it, or None; raise SourceError if it is not."""
    value = options.pop(name, None)
    if value is None or (isinstance(value, (int, float)) and least <= value < _LONGEST_LIMIT):
        return value
    msg = f"storage_options: {name} is {value!r}; expected a number from {least:g} on"
    raise SourceError(msg)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection while this thread waits for the threads of fsspec.

    This thread holds the lock of h5py while HDF5 reads. A thread of fsspec that collects an h5py
    object would wait for that lock forever: https://github.com/h5py/h5py/issues/2019
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _refusal(answer: Any, *, is_first: bool) -> _ServerError:
    """Return the error for an answer of a web server that is not part of the file."""
    reason = f"the server returned {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in {401, 403} and not is_first:
        return _ServerError(f"{reason}; a signed URL or a login may have expired")
    if answer.status not in _PASSING:
        return _ServerError(reason)
    wait = _retry_after(answer.headers.get("Retry-After", "0"))
    if wait > _LONGEST_PAUSE:
        return _ServerError(f"{reason}, and asks to wait {wait:.0f} s")
    return _ServerError(reason, wait=wait)


def _retry_after(text: str) -> float:
    """Return the seconds of a header, which gives a number or a date."""
    if text.strip().isdigit():
        return float(text)
    with suppress(TypeError, ValueError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _cause(error: BaseException) -> BaseException:
    """Return the original cause, or the first later error that has a message."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(type(cause).__name__ == "FileExpired" for cause in causes):
        return _ChangedError("S3 has another version")
    return next((cause for cause in reversed(causes) if str(cause)), error)


def _reason(cause: BaseException) -> str:
    text = str(getattr(cause, "message", None) or cause)
    text = " ".join(_URL_IN_TEXT.sub("…", text).split()) or type(cause).__name__
    if "range requests" in text or "Cannot seek" in text:
        return _NO_RANGES
    if "fork-safe" in text:
        return "it was opened by another process: open it again in this one"
    if hasattr(cause, "status") and hasattr(cause, "message"):
        return f"the server returned {cause.status} {cause.message}"
    return "the file does not exist" if isinstance(cause, FileNotFoundError) else text
