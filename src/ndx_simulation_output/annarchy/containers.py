"""Read the dictionary in a file of ANNarchy without running code that the file contains.

ANNarchy writes pickles, gzipped pickles, ``.npz`` archives and MATLAB files. The format is detected
from the first bytes, not from the extension.
"""

import gzip
import io
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, UnsupportedSourceError, source_errors
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.storage.reading import FileArray

_MAX_BYTES = 8 * 2**30
_PIECE_BYTES = 2**24
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 2**29, 200
"""Sizes after decompression, and relative to the file, that only constant or hostile data have."""
_MAX_HEADER_BYTES = 10_000
_ZIP, _GZIP, _MATLAB = b"PK\x03\x04", b"\x1f\x8b", b"MATLAB 5.0"
_PROTOCOLS = range(2, 6)


@dataclass(frozen=True)
class Loaded:
    """The dictionary in a file, its container, and an upper bound for the bytes of its values."""

    content: dict[str, Any]
    container: str
    n_bytes: int


def _is_pickle(start: bytes) -> bool:
    return len(start) > 1 and start[0] == 0x80 and start[1] in _PROTOCOLS


def load_dictionary(path: Path) -> Loaded:
    """Read the dictionary in a file."""
    with source_errors(f"{path} is damaged or truncated"), path.open("rb") as file:
        start = file.read(16)
        file.seek(0)
        if start.startswith(_ZIP):
            return _load_archive(file, path)
        if start.startswith(_MATLAB):
            return _load_matlab(file, path)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as decompressed:
                return _load_pickle(decompressed, path, "gzip")
        if _is_pickle(start):
            return _load_pickle(file, path, "pickle")
    msg = (
        f"{path} is not a file of ANNarchy; expected a pickle, a gzipped pickle, an .npz archive "
        "or a MATLAB file"
    )
    raise SourceError(msg)


def load_npy(path: Path) -> LazyArray:
    """Open a ``.npy`` file: a matrix as a lazy array, other numbers and lists in memory."""
    with path.open("rb") as file:
        try:
            shape, is_fortran, dtype = _read_npy_header(file)
        except ValueError:
            shape, is_fortran, dtype = (), False, np.dtype(object)
        start, size = file.tell(), path.stat().st_size
    is_matrix = len(shape) == 2 and dtype.kind in "biufc" and not is_fortran
    if is_matrix and start < size == start + dtype.itemsize * prod(shape):
        return FileArray(path, start, shape, dtype)
    return np.asarray(_read_npy(path.read_bytes(), str(path)))


def _read_npy_header(stream: IO[bytes]) -> tuple[Any, bool, np.dtype[Any]]:
    """Return the shape, True if columns follow each other, and the type."""
    is_first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    return read(stream, max_header_size=_MAX_HEADER_BYTES)


def _load_pickle(stream: Any, path: Path, container: str) -> Loaded:
    content = _read_limited(stream, path)
    found = _unpickle(content, str(path))
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        msg = f"{path} contains a {type(found).__name__}; expected a dict whose keys are names"
        raise SourceError(msg)
    return Loaded(dict(found), container, len(content))


def _read_limited(stream: IO[bytes], path: Path) -> bytes:
    """Return the bytes of a stream, read in pieces: one large read would allocate its size."""
    content = io.BytesIO()
    while piece := stream.read(_PIECE_BYTES):
        if content.tell() + len(piece) > _MAX_BYTES:
            msg = f"{path} has more than {_MAX_BYTES} bytes after decompression, the limit"
            raise UnsupportedSourceError(msg)
        content.write(piece)
        _check_ratio(content.tell(), path)
    return content.getvalue()


def _check_ratio(n_bytes: int, path: Path) -> None:
    ratio = n_bytes // max(path.stat().st_size, 1)
    if n_bytes > _SUSPICIOUS_BYTES and ratio > _SUSPICIOUS_RATIO:
        msg = (
            f"{path} has at least {n_bytes} bytes after decompression, {ratio} times its size; "
            f"expected at most {_SUSPICIOUS_RATIO} times: save it without compression, as .txt"
        )
        raise UnsupportedSourceError(msg)


def _load_archive(file: IO[bytes], path: Path) -> Loaded:
    content: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > _MAX_BYTES:
            msg = f"{path} has {total} bytes after decompression; at most {_MAX_BYTES} are read"
            raise UnsupportedSourceError(msg)
        _check_ratio(total, path)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                content[name] = _read_npy(stream.read(member.file_size + 1), f"{path}: {name}")
    # Older versions of numpy store this keyword argument as an array.
    content.pop("allow_pickle", None)
    return Loaded(content, "npz", total)


def _read_npy(content: bytes, where: str) -> Any:
    """Return the array in the bytes of a ``.npy`` file, or its value if its shape is ()."""
    stream = io.BytesIO(content)
    with source_errors(f"{where} is damaged or truncated"):
        shape, is_fortran, dtype = _read_npy_header(stream)
        data = content[stream.tell() :]
        if dtype.hasobject:
            found = resolve(_unpickle(data, where))
        else:
            found = np.frombuffer(data, dtype, prod(shape))
            found = found.reshape(shape, order="F" if is_fortran else "C")
    return found[()] if isinstance(found, np.ndarray) and not found.shape else found


def _load_matlab(file: IO[bytes], path: Path) -> Loaded:
    loadmat = import_optional("scipy.io", f"{path}, a MATLAB file,", "matlab").loadmat
    size = path.stat().st_size
    # A file that fails while it is saved ends early.
    failing = (
        f"{path} is incomplete or damaged: it is a MATLAB file whose values end early, as if the "
        "simulator broke off; save it as .txt"
    )
    with source_errors(failing):
        _check_matlab(file, path)
        file.seek(0)
        found = loadmat(file, chars_as_strings=True)
    content = {
        name: _from_matlab(value) for name, value in found.items() if not name.startswith("__")
    }
    # Compressed elements expand to at most 1032 times their size.
    return Loaded(content, "mat", size * 1032)


# SciPy crashes for types of values that the format does not define, and for deeply nested cells.

_MATLAB_MATRIX, _MATLAB_COMPRESSED = 14, 15
_MATLAB_VALUES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
_MOST_NESTED = 32


def _check_matlab(file: IO[bytes], path: Path) -> None:
    """Raise ValueError unless all elements of a MATLAB file have a known type and end in it."""
    file.seek(126)
    order = "<" if file.read(2) == b"IM" else ">"
    for kind, element in _matlab_elements(memoryview(file.read()), order, padded=1):
        if kind == _MATLAB_COMPRESSED:
            inflated = _inflated(element, path)
            for inside, part in _matlab_elements(memoryview(inflated), order):
                _check_matlab_element(inside, part, order)
        else:
            _check_matlab_element(kind, element, order)


def _check_matlab_element(kind: int, element: memoryview, order: str, depth: int = 0) -> None:
    if kind in _MATLAB_VALUES and depth:
        return
    if kind != _MATLAB_MATRIX or depth > _MOST_NESTED:
        msg = f"it has an element of type {kind} in {depth} matrices"
        raise ValueError(msg)
    for inside, part in _matlab_elements(element, order):
        _check_matlab_element(inside, part, order, depth + 1)


def _matlab_elements(
    data: memoryview, order: str, padded: int = 8
) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of each element; ``padded`` is what its length is rounded to."""
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, position)
        start, most = position + 8, len(data) - position - 8
        if kind >> 16:  # Up to four bytes follow the type and length, of two bytes each.
            kind, length, start, most = kind & 0xFFFF, kind >> 16, position + 4, 4
        if length > most:
            msg = f"an element has {length} bytes; expected at most {most}"
            raise ValueError(msg)
        yield kind, data[start : start + length]
        position += 8 if start == position + 4 else 8 + -(-length // padded) * padded


def _inflated(compressed: memoryview, path: Path) -> bytes:
    stream, found = zlib.decompressobj(), io.BytesIO()
    left: bytes | memoryview = compressed
    while left and not stream.eof:
        found.write(stream.decompress(left, _PIECE_BYTES))
        left = stream.unconsumed_tail
        _check_ratio(found.tell(), path)
    return found.getvalue()


def _from_matlab(value: NDArray[Any]) -> Any:
    """Convert a MATLAB matrix, cell or struct to the value that was saved."""
    if value.dtype.names is not None and value.size == 1:
        return {name: _from_matlab(value[name].ravel()[0]) for name in value.dtype.names}
    if value.dtype.kind in "US":
        texts = [str(text).rstrip() for text in value.ravel().tolist()]
        return texts[0] if value.shape == (1,) else texts
    if value.dtype.kind == "O":
        if value.size == 1 and np.size(value.ravel()[0]) == 1:
            return _from_matlab(np.asarray(value.ravel()[0]))
        if value.shape[:1] == (1,):
            return [np.asarray(row).ravel() for row in value.ravel()]
        return [[np.asarray(cell).ravel()[0] for cell in row] for row in value]
    return value.ravel()[0].item() if value.size == 1 else value


# Pickles: only opcodes and classes of plain values and numpy arrays are allowed.

# fmt: off
_ALLOWED_OPCODES = [
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT",
    "BININT1", "BININT2", "LONG1", "BINFLOAT", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "SHORT_BINSTRING", "BINSTRING", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MEMOIZE",
    "STACK_GLOBAL", "GLOBAL", "REDUCE", "BUILD",
]
# fmt: on
_ARGUMENT_BYTES = {
    ord(code.code): 0 if code.arg is None else code.arg.n
    for code in pickletools.opcodes
    if code.name in _ALLOWED_OPCODES
}
"""Size of the argument of each opcode; negative for a variable size."""
_COUNT_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Size of the count that precedes an argument of variable size."""
_GLOBAL, _LONG_BINPUT, _STOP = b"cr."
_DTYPE = re.compile(r"[biufSU?O][0-9]{0,6}")


def resolve(value: Any) -> Any:
    """Return the array that a ``_PickledArray`` describes, or any other value itself.

    Arrays are checked and created only when they are used.
    """
    return value.to_numpy() if isinstance(value, _PickledArray) else value


def _unpickle(content: bytes, where: str) -> Any:
    """Read a pickle of dicts, lists, tuples, text, numbers and numpy arrays.

    Anything else, which could run code, raises UnsupportedSourceError.
    """
    try:
        with source_errors(f"{where} is damaged or truncated"):
            _check_opcodes(content, where)
            # Python 2 wrote the data of arrays as byte strings that are not ASCII.
            for encoding in ("ASCII", "latin1"):
                with suppress(UnicodeDecodeError):
                    return _Unpickler(io.BytesIO(content), encoding=encoding).load()
    except UnsupportedSourceError as error:
        msg = f"{where} {error}"
        raise UnsupportedSourceError(msg) from error
    msg = f"{where} contains text that is neither ASCII nor Latin-1"
    raise SourceError(msg)


def _check_opcodes(content: bytes, where: str) -> None:
    """Raise an error for opcodes that are not allowed or allocate too much memory."""
    position, end = 0, len(content)
    while position < end:
        code = content[position]
        length = _ARGUMENT_BYTES.get(code)
        position += 1
        if length is None:
            msg = f"has the opcode {code:#04x} at byte {position - 1}, which could run code"
            raise UnsupportedSourceError(msg)
        if length < 0:
            if code == _GLOBAL:
                position = content.index(b"\n", content.index(b"\n", position) + 1) + 1
                continue
            size = _COUNT_BYTES[length]
            length = size + int.from_bytes(content[position : position + size], "little")
        elif code == _LONG_BINPUT:
            if int.from_bytes(content[position : position + 4], "little") > end:
                msg = f"memoizes more values than its {end} bytes can contain"
                raise UnsupportedSourceError(msg)
        elif code == _STOP:
            return
        position += length
    msg = f"the end of {where} is missing"
    raise EOFError(msg)


class _PickledDtype:
    """A numpy dtype in a pickle."""

    def __init__(self, code: str, *_: Any) -> None:
        if not _DTYPE.fullmatch(code):
            msg = f"contains an array of type {code!r}; expected numbers or text"
            raise UnsupportedSourceError(msg)
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype.kind in "biufSU" and state[1] in {"<", ">"}:
            self.dtype = self.dtype.newbyteorder(state[1])


class _PickledArray:
    """A numpy array in a pickle."""

    def __init__(self, kind: Any, *_: Any) -> None:
        # The first argument of ``_reconstruct`` is the class; that of ``ndarray`` is the shape.
        if kind is not _PickledArray and kind != (0,):
            msg = f"contains an array of class {kind!r}; expected a numpy array"
            raise UnsupportedSourceError(msg)
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def to_numpy(self) -> NDArray[Any]:
        """Return the array, if its shape fits its data."""
        _, shape, dtype, is_fortran, data = self.state
        return _make_array(data, dtype.dtype, shape, "F" if is_fortran else "C")


def _make_array(
    data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any
) -> NDArray[Any]:
    shape = tuple(shape)
    size = prod(shape)
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != size:
            msg = f"an array of shape {shape} has another number of values"
            raise ValueError(msg)
        return object_array(data).reshape(shape, order=order)
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    return np.frombuffer(raw, dtype, size).reshape(shape, order=order)


def object_array(values: Any) -> NDArray[Any]:
    """Return an array of objects, shape (value,), even if the values are lists of equal lengths."""
    found: NDArray[Any] = np.empty(len(values), object)
    for index, value in enumerate(values):
        found[index] = value
    return found


def _from_buffer(
    data: Any, dtype: _PickledDtype, shape: tuple[int, ...], order: str, *_: Any
) -> NDArray[Any]:
    return _make_array(data, dtype.dtype, shape, order if order in {"C", "F"} else "C")


def _scalar(dtype: _PickledDtype, data: Any) -> Any:
    if dtype.dtype.kind == "O":
        msg = "contains a scalar of objects; expected numbers or text"
        raise UnsupportedSourceError(msg)
    return _make_array(data, dtype.dtype, (), "C")[()]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        msg = f"encodes bytes as {encoding!r}; expected 'latin1'"
        raise UnsupportedSourceError(msg)
    return text.encode("latin1")


_ALLOWED_CLASSES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledDtype,
    ("_codecs", "encode"): _encode,
}
# numpy 2 renamed its core.
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED_CLASSES[f"{_core}.multiarray", "_reconstruct"] = _PickledArray
    _ALLOWED_CLASSES[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED_CLASSES[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        found = _ALLOWED_CLASSES.get((module, name))
        if found is None:
            msg = (
                f"refers to {module}.{name}, which could run code; expected only numbers, text "
                "and arrays"
            )
            raise UnsupportedSourceError(msg)
        return found
