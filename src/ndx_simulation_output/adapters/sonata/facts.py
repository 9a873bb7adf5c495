"""What the provenance of a recording must look like: the file it comes from may be damaged."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ndx_simulation_output.adapters.sonata.times import TRIPLE
from ndx_simulation_output.errors import ExportError

__all__ = ["check_facts"]


def check_facts(name: str, provenance: Mapping[str, Any]) -> None:
    """Refuse the provenance of the recording ``name`` if it is not what reading SONATA makes.

    Raises
    ------
    ExportError
        If a value is of another kind than expected.

    """
    for key, is_right in _RULES.items():
        value = provenance.get(key)
        if value is not None and not is_right(value):
            msg = f"the provenance of {name} has the {key} {str(value)[:60]!r}, which is damaged"
            raise ExportError(msg)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_dtypes(value: Any) -> bool:
    try:
        return _are_texts(value) and all(np.dtype(text) is not None for text in value.values())
    except TypeError:
        return False


def _are_attributes(value: Any) -> bool:
    """Texts, lists of text, or numbers with their type, by name."""
    return isinstance(value, dict) and all(
        isinstance(entry, str)
        or (isinstance(entry, dict) and ("text" in entry or _is_number(entry)))
        for entry in value.values()
    )


def _is_number(entry: dict[str, Any]) -> bool:
    return "value" in entry and _are_dtypes({"dtype": entry.get("dtype")})


def _are_attributes_by_path(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_are_attributes, value.values()))


def _is_triple(value: Any) -> bool:
    numbers = isinstance(value, list) and all(isinstance(number, (int, float)) for number in value)
    return numbers and len(value) == TRIPLE


def _are_entries(value: Any) -> bool:
    if not (isinstance(value, dict) and {"node_ids", "counts", "columns"} <= set(value)):
        return False
    lists = [value["node_ids"], value["counts"]]
    lists += value["columns"].values() if isinstance(value["columns"], dict) else [None]
    return all(isinstance(items, list) and len(items) == len(lists[0]) for items in lists)


_RULES: dict[str, Callable[[Any], bool]] = {
    "attributes": _are_attributes_by_path,
    "columns": _are_texts,
    "dialect": lambda value: value in {"allen", "bbp"} if _is_text(value) else False,
    "dtypes": _are_dtypes,
    "entries": _are_entries,
    "file": _is_text,
    "file_attributes": _are_attributes,
    "per_second": lambda value: isinstance(value, (int, float)) and value > 0,
    "root": lambda value: value in {"report", "reports"} if _is_text(value) else False,
    "time": _is_triple,
}
