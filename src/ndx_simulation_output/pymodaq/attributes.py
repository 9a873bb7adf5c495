"""Decode the attributes, dates and logs of PyMoDAQ files. No code in a file is executed."""

import ast
import json
import re
import struct
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

# PyMoDAQ stores a Python value as a JSON object with its module, its type and its repr.

_KEYS = {"module", "type", "data"}
_NUMPY_NUMBER = re.compile(r"\b(?:np|numpy)\.\w+\(([^()]*)\)")
_NUMPY_BOOL = re.compile(r"\b(?:np|numpy)\.(True|False)_")
_DATE = re.compile(r"datetime\.(datetime|date|time)\(([\d, ]+)\)")
_DATES = {"datetime": datetime, "date": date, "time": time}
_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_LONGEST_LITERAL = 100_000
"""Longer reprs stay text, as parsing them can take any amount of memory."""
_LITERAL_ERRORS = (ValueError, SyntaxError, MemoryError, RecursionError, TypeError)


def read_attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Return the readable attributes of an object as Python values.

    Values that cannot be converted are returned as text.
    """
    found = {}
    for name in node.attrs:
        try:
            value = node.attrs[name]
            if is_bitfield(h5py.h5a.open(node.id, name.encode())):
                value = np.asarray(value, bool)[()]
            found[name] = _decode(value)
        except (OSError, RuntimeError, TypeError, ValueError):
            continue
    return found


def is_bitfield(item: Any) -> bool:
    """Return True if a dataset or attribute has bit fields of a byte, as PyTables stores bools."""
    kind = item.get_type()
    return bool(kind.get_class() == h5py.h5t.BITFIELD and kind.get_size() == 1)


def _decode(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return _unpack(value) if isinstance(value, str) else value


def _unpack(text: str) -> Any:
    if not text.startswith("{"):
        return text
    try:
        packed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(packed, dict) or set(packed) != _KEYS or not isinstance(packed["data"], str):
        return text
    return _parse_repr(packed["data"])


def _parse_repr(text: str) -> Any:
    if text in _FLOATS:
        return _FLOATS[text]
    if len(text) > _LONGEST_LITERAL and text[:1] not in "'\"":
        return text
    try:
        return ast.literal_eval(text)
    except _LITERAL_ERRORS:
        pass
    try:
        if found := _DATE.fullmatch(text):
            return _DATES[found[1]](*map(int, found[2].split(",")))
        # numpy 2 writes its numbers as np.float64(1.0) and np.True_, also within tuples.
        bare = _NUMPY_BOOL.sub(r"\1", _NUMPY_NUMBER.sub(r"\1", text))
        return _FLOATS[bare] if bare in _FLOATS else ast.literal_eval(bare)
    except _LITERAL_ERRORS:
        return text


def get_text(attributes: Mapping[str, Any], *names: str) -> str:
    """Return the first existing attribute as a string, or an empty string if none exists."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is not None:
            return value if isinstance(value, str) else str(value)
    return ""


def get_number(attributes: Mapping[str, Any], name: str) -> float | None:
    """Return an attribute as a number, or None if it is not one."""
    value = attributes.get(name)
    return float(value) if isinstance(value, int | float) else None


def get_integer(attributes: Mapping[str, Any], *names: str) -> int:
    """Return the first attribute that is an integer, or 0."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, int):
            return int(value)
    return 0


def get_integers(attributes: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return an attribute that is a sequence of integers, or an empty tuple."""
    value = attributes.get(name)
    if not isinstance(value, tuple | list):
        return ()
    return tuple(value) if all(isinstance(number, int) for number in value) else ()


# Dates of a file and of its scans.

_DATE_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{1,2}):(\d{1,2})")


def file_start(attributes: Mapping[str, Any]) -> datetime | None:
    """Return the creation time of a file in the local time zone, or None if it cannot be parsed.

    PyMoDAQ files do not store a time zone.
    """
    text = f"{get_text(attributes, 'date')}T{get_text(attributes, 'time')}"
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def correct_date_time(attributes: Mapping[str, Any], start: datetime | None) -> datetime | None:
    """Return the date in ``date_time``, where PyMoDAQ swaps the minute and the month.

    The format in the file is ``day/minute/year hour:month:second``. The fields are
    used as written, ``day/month/year hour:minute:second``, if they agree with the creation date of
    the file, ``start``, or if the swap does not result in a valid month.

    Example
    -------
    >>> correct_date_time({"date_time": "20/28/2026 17:11:57"}, None).isoformat()
    '2026-11-20T17:28:57'

    """
    text = attributes.get("date_time")
    match = _DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    day, minute, year, hour, month, second = map(int, match.groups())
    is_exchanged = 1 <= month <= 12
    if start is not None and (start.year, start.month, start.day) == (year, minute, day):
        is_exchanged = is_exchanged and month == minute
    if not is_exchanged:
        minute, month = month, minute
    try:
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - files have no zone
    except ValueError:
        return None


# Lines of a log: each row is a pickled string, which is decoded without unpickling.

_PROTOCOL, _FRAME, _SHORT_TEXT, _TEXT, _STOP = b"\x80", 0x95, 0x8C, 0x58, b"."


def log_lines(dataset: h5py.Dataset) -> NDArray[np.object_]:
    """Return the rows of a log as strings, shape (line,).

    Rows that are not pickled strings are decoded directly.
    """
    return np.array([_line(_as_bytes(row)) for row in dataset[()]], dtype=object)


def _as_bytes(row: object) -> bytes:
    if isinstance(row, str):
        return row.encode()
    return row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()


def _line(row: bytes) -> str:
    text = _pickled_text(row)
    return (row if text is None else text).decode(errors="replace")


def _pickled_text(row: bytes) -> bytes | None:
    """Return the string in a pickle, or None if the pickle contains anything else.

    The expected opcodes are: protocol, optional frame, string with its length, memo, stop.
    """
    if row[:1] != _PROTOCOL or row[-1:] != _STOP:
        return None
    at = 11 if row[2:3] == bytes([_FRAME]) else 2
    code = row[at] if at < len(row) else 0
    if code == _SHORT_TEXT and at + 1 < len(row):
        start, length = at + 2, row[at + 1]
    elif code == _TEXT and at + 5 <= len(row):
        start, length = at + 5, struct.unpack("<I", row[at + 1 : at + 5])[0]
    else:
        return None
    return row[start : start + length] if start + length < len(row) else None
