"""The containers of ANNarchy's files, told by their first bytes: extensions do not say it."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.unpickling import resolved, unpickle
from ndx_simulation_output.errors import (
    MissingDependencyError,
    SourceError,
    UnsupportedSourceError,
)

__all__ = ["Loaded", "is_container", "load", "load_array"]

_LIMIT = 8 * 2**30
_ZIP, _GZIP, _MATLAB = b"PK\x03\x04", b"\x1f\x8b", b"MATLAB 5.0"
_HEADER_BYTES = 10_000
_PROTOCOLS = (2, 5)


@dataclass(frozen=True)
class Loaded:
    """The dictionary of a file, its container, and how many bytes its values have at most."""

    content: dict[str, Any]
    container: str
    n_bytes: int


def is_container(path: Path) -> bool:
    """Tell whether a file is a pickle, gzipped or not, arrays of numpy, or a MATLAB file."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(_GZIP):
            with gzip.open(path) as inflated:
                return _is_pickle(inflated.read(2))
        if start.startswith(_ZIP):
            with zipfile.ZipFile(path) as archive:
                return all(name.endswith(".npy") for name in archive.namelist())
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError):
        # It says what it is, and reading says what is wrong.
        return start.startswith((_GZIP, _ZIP)) if path.is_file() else False
    return start.startswith(_MATLAB) or _is_pickle(start)


def _is_pickle(start: bytes) -> bool:
    first, last = _PROTOCOLS
    return len(start) > 1 and start[0] == 0x80 and first <= start[1] <= last


def load(path: Path) -> Loaded:
    """Read the dictionary of a file.

    Raises
    ------
    UnsupportedSourceError
        If it holds what could run code, or more than 8 GiB when it is inflated.
    SourceError
        If it is damaged, or of no container that ANNarchy writes.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(0)
            if start.startswith(_ZIP):
                return _load_archive(file, path)
            if start.startswith(_MATLAB):
                return _load_matlab(file, path)
            if start.startswith(_GZIP):
                with gzip.GzipFile(fileobj=file) as inflated:
                    return _load_pickle(_read(inflated, path), path, "gzip")
            if _is_pickle(start):
                return _load_pickle(_read(file, path), path, "pickle")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        msg = f"{path} is damaged or cut: {error}"
        raise SourceError(msg) from error
    msg = f"{path} is no file of ANNarchy; expected a pickle, gzip, npz or MATLAB file"
    raise SourceError(msg)


def load_array(path: Path) -> NDArray[Any]:
    """Read a .npy: numbers stay in the file, objects are numbers and lists of them.

    Raises
    ------
    UnsupportedSourceError
        If it holds what could run code.
    SourceError
        If it is damaged.

    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except ValueError:
        # Objects are not mapped, nor is what is damaged, of which reading says more.
        return np.asarray(_array(path.read_bytes(), str(path)))


def _read(stream: Any, path: Path) -> bytes:
    content: bytes = stream.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        msg = f"{path} has more than {_LIMIT} bytes when it is inflated; it is not read"
        raise UnsupportedSourceError(msg)
    return content


def _load_pickle(content: bytes, path: Path, container: str) -> Loaded:
    found = unpickle(content, str(path))
    return Loaded(_dictionary(found, path), container, len(content))


def _dictionary(found: Any, path: Path) -> dict[str, Any]:
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        msg = f"{path} holds a {type(found).__name__}; expected a dict with names"
        raise SourceError(msg)
    return dict(found)


def _load_archive(file: IO[bytes], path: Path) -> Loaded:
    content: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > _LIMIT:
            msg = f"{path} has {total} bytes when it is inflated; at most {_LIMIT} are read"
            raise UnsupportedSourceError(msg)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                content[name] = _array(stream.read(member.file_size + 1), f"{path}: {name}")
    # Keywords of numpy that its older versions stored as data.
    content.pop("allow_pickle", None)
    return Loaded(content, "npz", total)


def _array(content: bytes, where: str) -> Any:
    """Read a .npy: a single value as itself, not as an array."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = header(stream, max_header_size=_HEADER_BYTES)
        rest = content[stream.tell() :]
        if dtype.hasobject:
            found = resolved(unpickle(rest, where))
        else:
            found = np.frombuffer(rest, dtype, prod(shape)).reshape(
                shape, order="F" if is_fortran else "C"
            )
    except (ValueError, TypeError, OverflowError, SyntaxError) as error:
        msg = f"{where} is damaged or cut: {error}"
        raise SourceError(msg) from error
    return found[()] if isinstance(found, np.ndarray) and not found.shape else found


def _load_matlab(file: IO[bytes], path: Path) -> Loaded:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        extra = "pip install 'ndx-simulation-output[matlab]'"
        msg = f"{path} is a MATLAB file, which takes SciPy: {extra}"
        raise MissingDependencyError(msg) from error
    size = path.stat().st_size
    try:
        found = loadmat(file, chars_as_strings=True)
    except Exception as error:
        # Its reader raises any error when a file is damaged.
        msg = f"{path} cannot be read as a MATLAB file: {type(error).__name__}: {error}"
        raise SourceError(msg) from error
    content = {name: _plain(value) for name, value in found.items() if not name.startswith("__")}
    # Compressed elements inflate to at most 1032 times their size.
    return Loaded(content, "mat", size * 1032)


def _plain(value: NDArray[Any]) -> Any:
    """Give a value of a MATLAB file as it was before it was put into a matrix."""
    if value.dtype.names is not None and value.size == 1:
        return {name: _plain(value[name].ravel()[0]) for name in value.dtype.names}
    if value.dtype.kind in "US":
        texts = [str(text).rstrip() for text in value.ravel().tolist()]
        return texts[0] if value.shape == (1,) else texts
    if value.dtype.kind == "O":
        if value.size == 1 and np.size(value.ravel()[0]) == 1:
            return _plain(np.asarray(value.ravel()[0]))
        if value.shape[:1] == (1,):
            return [np.asarray(row).ravel() for row in value.ravel()]
        return [[np.asarray(one).ravel()[0] for one in row] for row in value]
    return value.ravel()[0].item() if value.size == 1 else value
