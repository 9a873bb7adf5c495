"""Conversion of attribute values between Python and JSON."""

import base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

import numpy as np

_DICT = "dict"
_TAGS: Mapping[str, Callable[[Any], Any]] = {
    "tuple": lambda items: tuple(from_json(item) for item in items),
    "bytes": base64.b64decode,
    "complex": lambda parts: complex(*parts),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "array": lambda facts: np.asarray(from_json(facts[1]), np.dtype(facts[0])),
    _DICT: lambda pairs: {from_json(key): from_json(value) for key, value in pairs},
}


def to_json(value: Any) -> Any:  # noqa: C901, PLR0911 - a line for each type
    """Convert a value to JSON; a value of an unsupported type is converted to a string.

    Example
    -------
    >>> to_json({"range": (0, 1.5)})
    {'range': {'tuple': [0, 1.5]}}

    """
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return to_json(_item(value)) if value.dtype.kind in "biufcSU" else str(value)
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not (len(value) == 1 and _tag(value)):
            return {key: to_json(item) for key, item in value.items()}
        return {_DICT: [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [to_json(item) for item in value]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    for kind in (datetime, date, time):
        # Other packages define subclasses of these types.
        if isinstance(value, kind):
            return {kind.__name__: value.isoformat()}
    is_array = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    if is_array and value.dtype.kind in "biufcSU":
        return {"array": [value.dtype.str, to_json(value.tolist())]}
    return str(value)


def _item(value: np.generic) -> Any:
    """Convert a numpy scalar to a Python value; extended precision is lost."""
    if isinstance(value, np.longdouble | np.clongdouble):
        return complex(value) if value.dtype.kind == "c" else float(value)
    return value.item()


def from_json(value: Any) -> Any:
    """Convert JSON that was returned by ``to_json`` to a Python value.

    Example
    -------
    >>> from_json({'range': {'tuple': [0, 1.5]}})
    {'range': (0, 1.5)}

    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = _tag(value) if len(value) == 1 else None
    if tag is None:
        return {key: from_json(item) for key, item in value.items()}
    try:
        return _TAGS[tag](value[tag])
    except (TypeError, KeyError, IndexError) as error:
        msg = f"{str(value)[:80]} is not a value in JSON: {error}"
        raise ValueError(msg) from error


def _tag(value: Mapping[Any, Any]) -> str | None:
    return next((key for key in value if key in _TAGS), None)
