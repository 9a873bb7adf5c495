"""Files on servers: read in blocks, of which the last used are kept, through fsspec."""

import gc
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, TypeGuard

from ndx_simulation_output.errors import MissingDependencyError, SimulationOutputError, SourceError

__all__ = ["RemoteFile", "is_url", "open_url", "refuse_url"]

_BLOCK_BYTES = 2**20
_BLOCKS = 32
_PROTOCOL = re.compile(r"[A-Za-z][\w+.-]+://")
_URL_IN_TEXT = re.compile(r"\w+://[^\s'\"]+")


def is_url(path: object) -> TypeGuard[str]:
    """Tell whether ``path`` is a URL, of any protocol.

    Example
    -------
    >>> is_url("s3://bucket/run.nwb"), is_url("run.nwb"), is_url("C:/run.nwb")
    (True, False, False)

    """
    return isinstance(path, str) and _PROTOCOL.match(path) is not None


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> "RemoteFile":
    """Open a file on a server for reading; ``storage_options`` are those of fsspec for it.

    Raises
    ------
    MissingDependencyError
        If fsspec, or what it needs for the protocol, is not installed.
    SourceError
        If there is no such file, or the server refuses it or gives only whole files.

    Example
    -------
    >>> file = open_url("s3://bucket/run.nwb", {"anon": True})  # doctest: +SKIP

    """
    name = _without_secrets(url)
    with _errors_of(name), ExitStack() as stack:
        # The blocks are kept here: those of fsspec outlive its file.
        file = _file_system(url, name, storage_options or {}).open(url, "rb", cache_type="none")
        stack.callback(file.close)
        opened = RemoteFile(file, file.seek(0, io.SEEK_END), name)
        stack.pop_all()
        return opened


def refuse_url(path: object) -> None:
    """Refuse a URL where only a file on disk will do.

    Raises
    ------
    SourceError
        If ``path`` is a URL.

    Example
    -------
    >>> refuse_url("run.nwb")

    """
    if is_url(path):
        msg = (
            f"{_without_secrets(path)} is on a server, where only open_output reads, and only NWB "
            "files; download it"
        )
        raise SourceError(msg)


class RemoteFile(io.RawIOBase):
    """A file on a server as HDF5 reads it; ``name`` is its URL without passwords and signatures.

    At most 32 blocks of 1 MiB are kept in memory, until it is closed. ``failure`` is the first
    error of the server, since what reads through HDF5 may take one for a link to nothing.
    """

    def __init__(self, file: Any, size: int, name: str) -> None:
        self.name = name
        self.failure: SourceError | None = None
        self._file = file
        self._size = size
        self._position = 0
        self._block = lru_cache(_BLOCKS)(self._read_block)

    def __repr__(self) -> str:
        """Give the name, which h5py takes for that of the file."""
        return self.name

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = origins[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as ``buffer`` holds, fewer only at the end of the file.

        Raises
        ------
        SourceError
            If the server gives an error, or not all of the bytes.

        """
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
            msg = f"{self.name} cannot be read: the server gave {len(block)} of {wanted} bytes"
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
    """Keep the threads of fsspec from collecting garbage while this one waits for them.

    HDF5 asks for bytes while this thread holds the lock of h5py. A thread that collects an object
    of h5py waits for that lock, for ever: https://github.com/h5py/h5py/issues/2019
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
    """Raise whatever a server or library raises as an error that names the file and the reason.

    The original is not shown below it: it may tell passwords and signatures.
    """
    try:
        yield
    except SimulationOutputError:
        raise
    except Exception as error:  # noqa: BLE001 - each library of fsspec raises its own
        msg = f"{name} cannot be read: {_reason(error)}"
        raise SourceError(msg) from None


def _reason(error: BaseException) -> str:
    """Say what was the first cause that says something."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    first = next((cause for cause in reversed(causes) if str(cause)), error)
    text = _URL_IN_TEXT.sub("…", str(first)) or type(first).__name__
    if "range requests" in text or "Cannot seek" in text:
        return "the server gives only whole files, not ranges of bytes; download it"
    if hasattr(first, "status") and hasattr(first, "message"):
        return f"the server answers {first.status} {first.message}"
    return "there is no such file" if isinstance(first, FileNotFoundError) else text


def _without_secrets(url: str) -> str:
    """Leave out who asks, and what follows the path: it may be a signature."""
    protocol, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    path, question, _ = path.partition("?")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path}{question and '?…'}"
