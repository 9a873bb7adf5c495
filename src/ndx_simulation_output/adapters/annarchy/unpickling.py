"""Read pickles of plain values and numpy arrays; nothing else is made, and nothing is run."""

import io
import pickle
import pickletools
import re
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, UnsupportedSourceError

__all__ = ["resolved", "unpickle"]

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
