"""Read files on servers through fsspec, in blocks, with a cache of the blocks used last."""

import errno
import gc
import io
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from ndx_simulation_output.errors import (
    MissingDependencyError,
    SimulationOutputError,
    SourceError,
    is_like_url,
    name_of,
)
from ndx_simulation_output.web import NO_RANGES, PASSING, ChangedError, ServerError, WebFile

_T = TypeVar("_T")
_BLOCK_BYTES = 2**20
_BLOCKS = 32
_TIMEOUT = 30.0
_RETRIES = 3
_PAUSE = 0.5
"""Seconds before the first retry; each further one waits twice as long."""
_PROTOCOL = re.compile(r"([A-Za-z][\w+.-]+::)*[A-Za-z][\w+.-]+://")
_CHAIN = re.compile(r"::(?=[A-Za-z][\w+.-]+://)")
"""Between the URLs of a chain; an IPv6 address has two colons as well."""
_URL_IN_TEXT = re.compile(r"\w+://[^\s'\"]+")
_LONGEST_LIMIT = 1e6
_WITH_OWN_RETRIES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"}
"""Protocols whose libraries ask again on their own."""
_STATE = (
    *("ETag", "etag", "generation", "sha", "size", "created", "mtime", "modify", "updated"),
    *("LastModified", "Last-Modified", "last_modified", "last_write_time", "modificationTime"),
)
"""Keys in ``info`` of fsspec whose values change with the content of a file."""


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


def open_folder(url: str, storage_options: Mapping[str, Any] | None = None) -> "RemoteFolder":
    """Return a folder on a server, such as a Zarr store; the options are those of ``open_url``."""
    from fsspec.core import url_to_fs

    name, options = name_of(url), dict(storage_options or {})
    timeout, retries = _limit(options, "timeout", 0.001), _limit(options, "retries", 0)
    protocol = _last_protocol(url)
    attempts = _Attempts(
        name, 0 if protocol in _WITH_OWN_RETRIES else _RETRIES if retries is None else int(retries)
    )
    options = _with_limits(protocol, options, timeout, retries)
    system, path = attempts.run(lambda: url_to_fs(url, **options))
    return RemoteFolder(name, system, path.rstrip("/"), attempts)


def refuse_url(path: object, *, is_target: bool = False) -> None:
    """Raise SourceError if ``path`` is a URL where a local file is needed."""
    if is_like_url(path):
        needed = "only open_output, info and plot read one, of an NWB file: download the file first"
        needed = "write a local file and upload it" if is_target else needed
        msg = f"{name_of(path)} is a URL; {needed}"
        raise SourceError(msg)


@dataclass(frozen=True)
class RemoteFolder:
    """The files in a folder on a server; it can be sent to other processes."""

    name: str
    system: Any
    path: str
    attempts: "_Attempts"

    def __str__(self) -> str:
        """Return the name, a URL without passwords and signatures."""
        return self.name

    def read(self, key: str) -> bytes | None:
        """Return a whole file, or None if it does not exist."""

        def ask() -> bytes | None:
            try:
                return bytes(self.system.cat_file(f"{self.path}/{key}"))
            except FileNotFoundError:
                return None

        return self.attempts.run(ask)


class RemoteFile(io.RawIOBase):
    """A file on a server that h5py can read; ``name`` is its URL without passwords and signatures.

    It caches at most 32 blocks of 1 MiB until it is closed.
    """

    def __init__(self, source: "WebFile | _SystemFile", name: str, attempts: "_Attempts") -> None:
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
        with _no_garbage_collection():
            return self._attempts.run(lambda: self._source.read(start, stop))


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
        if isinstance(cause, ChangedError):
            msg = f"{self.name} has changed on the server since it was opened: {cause}"
            raise SourceError(msg) from None
        tried = f" ({number} attempts in {time.monotonic() - begin:.1f} s)" if number > 1 else ""
        msg = f"{self.name} cannot be read: {_reason(cause)}{tried}"
        raise SourceError(msg) from None


def _wait_after(cause: BaseException, pause: float) -> float | None:
    """Return how many seconds to wait before asking again, or None if that would not help."""
    if isinstance(cause, ServerError):
        return None if cause.wait is None else max(cause.wait, pause)
    if (status := getattr(cause, "status", None)) is not None:
        return pause if status in PASSING else None
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
                    raise ServerError(msg, wait=0) from None
            raise
        state = self._state()
        for fact, first in self._first.items():
            if state.get(fact, first) != first:
                msg = f"its {fact} was {first}, and is {state[fact]}"
                raise ChangedError(msg)
        if len(block) != stop - start:
            msg = f"the server returned {len(block)} of {stop - start} bytes"
            raise ServerError(msg, wait=0)
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
                raise ServerError(msg, wait=0)

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
) -> WebFile | _SystemFile:
    from fsspec.core import url_to_fs

    protocol, _, rest = url.partition(":")
    if protocol.lower() in {"http", "https"}:
        import fsspec

        system = fsspec.filesystem(protocol.lower(), **options)
        return WebFile(system, url, _TIMEOUT if timeout is None else timeout, _BLOCK_BYTES)
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
    if value is None or (isinstance(value, (int, float)) and least <= value <= _LONGEST_LIMIT):
        return value
    msg = f"storage_options: {name} is {value!r}; expected a number from {least:g} to 1e6"
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


def _cause(error: BaseException) -> BaseException:
    """Return the original cause, or the first later error that has a message."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(type(cause).__name__ == "FileExpired" for cause in causes):
        return ChangedError("S3 has another version")
    return next((cause for cause in reversed(causes) if str(cause)), error)


def _reason(cause: BaseException) -> str:
    text = getattr(cause, "message", None)
    text = str(cause if text is None else text)
    text = " ".join(_URL_IN_TEXT.sub("…", text).split())
    text = text if text.strip("…") else type(cause).__name__
    if "range requests" in text or "Cannot seek" in text:
        return NO_RANGES
    if "fork-safe" in text:
        return "it was opened by another process: open it again in this one"
    if (status := getattr(cause, "status", None)) and hasattr(cause, "message"):
        return f"the server returned {status} {cause.message}"
    return "the file does not exist" if isinstance(cause, FileNotFoundError) else text
