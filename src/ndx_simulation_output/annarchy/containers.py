"""Containers of ANNarchy's files, told by their first bytes, and safe unpickling."""

import gzip
import io
import pickle
import pickletools
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import MissingDependencyError, SourceError, UnsupportedSourceError

# Read pickles of plain values and numpy arrays; nothing else is made, and nothing is run.

# fmt: off
_CODES = [
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT",
    "BININT1", "BININT2", "LONG1", "BINFLOAT", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "SHORT_BINSTRING", "BINSTRING", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MEMOIZE",
    "STACK_GLOBAL", "GLOBAL", "REDUCE", "BUILD",
]
# fmt: on
"""What pickles of plain values and arrays are made of."""

_LENGTHS = {
    ord(code.code): 0 if code.arg is None else code.arg.n
    for code in pickletools.opcodes
    if code.name in _CODES
}
"""Bytes that follow an opcode; how they are counted is said by negative numbers."""
_COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_GLOBAL, _LONG_BINPUT, _STOP = b"cr."
_DTYPE = re.compile(r"[biufSU?O][0-9]{0,6}")


def unpickle(content: bytes, where: str) -> Any:
    """Read a pickle of dicts, lists, tuples, text, numbers and numpy arrays.

    Arrays come as what ``resolved`` makes arrays of. ``where`` is what it is called in errors.

    Raises
    ------
    UnsupportedSourceError
        If it asks for anything else, which could run code.
    SourceError
        If it is damaged.

    """
    try:
        _check_opcodes(content, where)
        # Python 2 wrote byte strings, in which arrays are not ASCII.
        for encoding in ("ASCII", "latin1"):
            try:
                return _Plain(io.BytesIO(content), encoding=encoding).load()
            except UnicodeDecodeError:
                continue
    except UnsupportedSourceError as error:
        msg = f"{where} {error}"
        raise UnsupportedSourceError(msg) from error
    except Exception as error:
        # A damaged pickle can raise any error.
        msg = f"{where} is damaged or cut: {type(error).__name__}: {error}"
        raise SourceError(msg) from error
    msg = f"{where} holds text that cannot be read"
    raise SourceError(msg)


def resolved(value: Any) -> Any:
    """Give the array that a value from ``unpickle`` stands for, or the value itself."""
    return value.values() if isinstance(value, _Array) else value


def _check_opcodes(content: bytes, where: str) -> None:
    """Refuse what would take memory that the file has not, and what no such file has."""
    place, end = 0, len(content)
    while place < end:
        code = content[place]
        length = _LENGTHS.get(code)
        place += 1
        if length is None:
            msg = f"has the opcode {code:#04x} at byte {place - 1}, which could run code"
            raise UnsupportedSourceError(msg)
        if length < 0:
            if code == _GLOBAL:
                place = content.index(b"\n", content.index(b"\n", place) + 1) + 1
                continue
            size = _COUNTED[length]
            length = size + int.from_bytes(content[place : place + size], "little")
        elif code == _LONG_BINPUT and int.from_bytes(content[place : place + 4], "little") > end:
            msg = f"remembers more values than its {end} bytes can hold"
            raise UnsupportedSourceError(msg)
        elif code == _STOP:
            return
        place += length
    msg = f"the end is missing from {where}"
    raise EOFError(msg)


class _Dtype:
    """A numpy type as a pickle describes it."""

    def __init__(self, code: str, *_: Any) -> None:
        if not _DTYPE.fullmatch(code):
            msg = f"has values of type {code!r}, which is not one of numbers or text"
            raise UnsupportedSourceError(msg)
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype.kind in "biufSU" and state[1] in {"<", ">"}:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A numpy array as a pickle describes it."""

    def __init__(self, kind: Any, *_: Any) -> None:
        # ``_reconstruct`` gives the class first, the class itself the shape.
        if kind is not _Array and kind != (0,):
            msg = f"has an array of kind {kind!r}"
            raise UnsupportedSourceError(msg)
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def values(self) -> NDArray[Any]:
        """Make the array, checked against what there is of it."""
        _, shape, dtype, is_fortran, data = self.state
        return _filled(data, dtype.dtype, shape, "F" if is_fortran else "C")


def _filled(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    shape = tuple(shape)
    expected = prod(shape)
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != expected:
            msg = f"an array of shape {shape} has not as many values"
            raise ValueError(msg)
        objects = np.empty(expected, object)
        for index, value in enumerate(data):
            objects[index] = value
        return objects.reshape(shape, order=order)
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    return np.frombuffer(raw, dtype, expected).reshape(shape, order=order)


def _from_buffer(
    data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: Any
) -> NDArray[Any]:
    return _filled(data, dtype.dtype, shape, order if order in {"C", "F"} else "C")


def _scalar(dtype: _Dtype, data: Any) -> Any:
    if dtype.dtype.kind == "O":
        msg = "has a value of any type"
        raise UnsupportedSourceError(msg)
    return _filled(data, dtype.dtype, (), "C")[()]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        msg = f"encodes bytes as {encoding!r}"
        raise UnsupportedSourceError(msg)
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}
# numpy 2 has renamed its core.
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            msg = f"asks for {module}.{name}, which could run code: it is not read"
            raise UnsupportedSourceError(msg)
        return found


# The containers of ANNarchy's files, told by their first bytes: extensions do not say it.

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
