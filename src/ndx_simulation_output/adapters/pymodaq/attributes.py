"""Attributes as PyMoDAQ writes them: texts that hold Python values, none of which is run."""

import ast
import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import h5py
import numpy as np

__all__ = ["attributes", "integer_of", "integers_of", "number_of", "text_of"]

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
