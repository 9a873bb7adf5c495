"""Decode the attributes, dates and logs of PyMoDAQ's files. Nothing is evaluated."""

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

# Attributes as PyMoDAQ writes them: texts that hold Python values, none of which is run.

_KEYS = {"module", "type", "data"}
_NUMPY = re.compile(r"\b(?:np|numpy)\.\w+\(([^()]*)\)")
_TRUTH = re.compile(r"\b(?:np|numpy)\.(True|False)_")
_DATE = re.compile(r"datetime\.(datetime|date|time)\(([\d, ]+)\)")
_DATES = {"datetime": datetime, "date": date, "time": time}
_NAMES = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_LARGEST = 100_000
"""Longer texts of Python values are kept as texts: to parse them may take any memory."""


def attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Give the attributes of an object as Python values; what is no such value stays text.

    An attribute that cannot be read is left out.
    """
    found = {}
    for name in node.attrs:
        try:
            found[name] = _decoded(node.attrs[name])
        except (OSError, RuntimeError, TypeError, ValueError):
            continue
    return found


def _decoded(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return _unpacked(value) if isinstance(value, str) else value


def _unpacked(text: str) -> Any:
    """Give the value that a JSON object of module, type and data stands for."""
    if not text.startswith("{"):
        return text
    try:
        packed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(packed, dict) or set(packed) != _KEYS or not isinstance(packed["data"], str):
        return text
    return _literal(packed["data"])


def _literal(text: str) -> Any:
    if text in _NAMES:
        return _NAMES[text]
    if len(text) > _LARGEST and text[:1] not in "'\"":
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    try:
        if found := _DATE.fullmatch(text):
            return _DATES[found[1]](*map(int, found[2].split(",")))
        # numpy 2 shows its numbers as np.float64(1.0) and np.True_, also within tuples.
        bare = _TRUTH.sub(r"\1", _NUMPY.sub(r"\1", text))
        return _NAMES[bare] if bare in _NAMES else ast.literal_eval(bare)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def text_of(found: Mapping[str, Any], *names: str) -> str:
    """Give the first of some attributes that is there as text; empty for None."""
    for name in names:
        value = found.get(name)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is not None:
            return value if isinstance(value, str) else str(value)
    return ""


def number_of(found: Mapping[str, Any], name: str) -> float | None:
    """Give an attribute as a number, or None if it is none."""
    value = found.get(name)
    return float(value) if isinstance(value, int | float) else None


def integer_of(found: Mapping[str, Any], *names: str) -> int:
    """Give the first of some attributes that is a whole number, or 0."""
    for name in names:
        value = found.get(name)
        if isinstance(value, int):
            return int(value)
    return 0


def integers_of(found: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Give an attribute as whole numbers, which are none if it is anything else."""
    value = found.get(name)
    if not isinstance(value, tuple | list):
        return ()
    return tuple(value) if all(isinstance(number, int) for number in value) else ()


# When a file and its scans were begun.

_NAME = "date_time"
_FORM = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{1,2}):(\d{1,2})")


def start_of(found: Mapping[str, Any]) -> datetime | None:
    """Give when a file was begun, in the time zone of this computer: the file says none."""
    try:
        return datetime.fromisoformat(
            f"{text_of(found, 'date')}T{text_of(found, 'time')}"
        ).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def with_right_date(found: Mapping[str, Any], start: datetime | None) -> tuple[dict[str, Any], str]:
    """Give attributes with the right ``date_time``, and what was put right.

    PyMoDAQ writes day / minute / year hour : month : second. Where both could be a month, it is
    the one of ``start``.

    Example
    -------
    >>> with_right_date({"date_time": "20/28/2026 17:11:57"}, None)[0]
    {'date_time': '2026-11-20T17:28:57'}

    """
    made = dict(found)
    text = made.get(_NAME)
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        return made, ""
    day, minute, year, hour, month, second = map(int, form.groups())
    if not 1 <= month <= 12 or (
        start is not None and _is_on(start.date(), year, minute, day) and start.month != month
    ):
        minute, month = month, minute
    try:
        right = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - it has no zone
    except ValueError:
        return made, ""
    made[_NAME] = right.isoformat()
    return made, f"put right: {right.isoformat()}, written {text}, is the date_time"


def _is_on(day: date, year: int, month: int, number: int) -> bool:
    return (day.year, day.month, day.day) == (year, month, number)


# The lines of a log: rows that are pickles of one text each, taken apart without unpickling.

_SHORT, _LONG = 0x8C, 0x58
_FRAME = 0x95


def log_lines(dataset: h5py.Dataset) -> NDArray[np.object_]:
    """Give the rows of a log as texts, shape (line,); a row that is none is given as it looks."""
    return np.array([_text(_bytes(row)) for row in dataset[()]], dtype=object)


def _bytes(row: object) -> bytes:
    if isinstance(row, str):
        return row.encode()
    return row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()


def _text(row: bytes) -> str:
    text = _pickled(row)
    return row.decode(errors="replace") if text is None else text


def _pickled(row: bytes) -> str | None:
    """Give the text that a row pickles; None if it is anything else.

    A row is a protocol, perhaps a frame, the text with its length, a note to remember it, an end.
    """
    if row[:1] != b"\x80" or row[-1:] != b".":
        return None
    at = 2
    if row[at : at + 1] == bytes([_FRAME]):
        at += 9
    code = row[at] if at < len(row) else 0
    if code == _SHORT and at + 1 < len(row):
        start, length = at + 2, row[at + 1]
    elif code == _LONG and at + 5 <= len(row):
        start, length = at + 5, struct.unpack("<I", row[at + 1 : at + 5])[0]
    else:
        return None
    if start + length >= len(row):
        return None
    return row[start : start + length].decode(errors="replace")
