"""Read files on servers through fsspec, in blocks, with a cache of the blocks used last."""

import gc
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, TypeGuard

from ndx_simulation_output.errors import MissingDependencyError, SimulationOutputError, SourceError

_BLOCK_BYTES = 2**20
_BLOCKS = 32
_PROTOCOL = re.compile(r"[A-Za-z][\w+.-]+://")
_URL_IN_TEXT = re.compile(r"\w+://[^\s'\"]+")


def is_url(path: object) -> TypeGuard[str]:
    """Return True if ``path`` is a URL, of any protocol.

    Example
    -------
    >>> is_url("s3://bucket/run.nwb"), is_url("run.nwb"), is_url("C:/run.nwb")
    (True, False, False)

    """
    return isinstance(path, str) and _PROTOCOL.match(path) is not None


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> "RemoteFile":
    """Open a file on a server for reading; ``storage_options`` are options of fsspec.

    Raise MissingDependencyError if a library for the protocol is not installed, and SourceError if
    the file cannot be opened or the server does not support byte ranges.
    """
    name = _without_secrets(url)
    with _errors_of(name), ExitStack() as stack:
        # RemoteFile caches blocks itself: the cache of fsspec is not freed with its file.
        file = _file_system(url, name, storage_options or {}).open(url, "rb", cache_type="none")
        stack.callback(file.close)
        opened = RemoteFile(file, file.seek(0, io.SEEK_END), name)
        stack.pop_all()
        return opened


def refuse_url(path: object) -> None:
    """Raise SourceError if ``path`` is a URL where a local file is needed."""
    if is_url(path):
        msg = (
            f"{_without_secrets(path)} is a URL; only open_output reads URLs, and only of NWB "
            "files: download the file first"
        )
        raise SourceError(msg)


class RemoteFile(io.RawIOBase):
    """A file on a server that h5py can read; ``name`` is its URL without passwords and signatures.

    It caches at most 32 blocks of 1 MiB until it is closed. ``failure`` is the first read error:
    HDF5 may report it as a missing object.
    """

    def __init__(self, file: Any, size: int, name: str) -> None:
        self.name = name
        self.failure: SourceError | None = None
        self._file = file
        self._size = size
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
        left = memoryview(buffer).cast("B")
        begin = self._position
        while left and self._position < self._size:
            number, start = divmod(self._position, _BLOCK_BYTES)
            try:
                piece = self._block(number)[start : start + len(left)]
            except SourceError as error:
                self.failure = self.failure or error
                raise
            left[: len(piece)] = piece
            left = left[len(piece) :]
            self._position += len(piece)
        return self._position - begin

    def close(self) -> None:
        """Close the file and free its blocks."""
        self._block.cache_clear()
        self._file.close()
        super().close()

    def _read_block(self, number: int) -> bytes:
        start = number * _BLOCK_BYTES
        wanted = min(_BLOCK_BYTES, self._size - start)
        with _no_garbage_collection(), _errors_of(self.name):
            self._file.seek(start)
            block = bytes(self._file.read(wanted))
        if len(block) != wanted:
            msg = f"{self.name} cannot be read: the server returned {len(block)} of {wanted} bytes"
            raise SourceError(msg)
        return block


def _file_system(url: str, name: str, storage_options: Mapping[str, Any]) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(url.partition("://")[0].lower(), **storage_options)
    except ImportError as error:
        msg = (
            f"{name} cannot be read without an optional library ({error}); for http and s3: "
            "pip install 'ndx-simulation-output[remote]'"
        )
        raise MissingDependencyError(msg) from error


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


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Convert the errors of fsspec and its libraries to a SourceError with file and reason.

    The original error is suppressed: it may contain passwords and signatures.
    """
    try:
        yield
    except SimulationOutputError:
        raise
    except Exception as error:  # noqa: BLE001 - each library of fsspec raises its own
        msg = f"{name} cannot be read: {_reason(error)}"
        raise SourceError(msg) from None


def _reason(error: BaseException) -> str:
    """Return the message of the original cause, or of the first later one that has a message."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    first = next((cause for cause in reversed(causes) if str(cause)), error)
    text = _URL_IN_TEXT.sub("…", str(first)) or type(first).__name__
    if "range requests" in text or "Cannot seek" in text:
        return "the server does not support byte ranges: download the file"
    if hasattr(first, "status") and hasattr(first, "message"):
        return f"the server returned {first.status} {first.message}"
    return "the file does not exist" if isinstance(first, FileNotFoundError) else text


def _without_secrets(url: str) -> str:
    """Return the URL without user, password and query, which may contain a signature."""
    protocol, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    path, question, _ = path.partition("?")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path}{question and '?…'}"
