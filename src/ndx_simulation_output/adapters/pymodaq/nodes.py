"""The arrays and axes of a file of PyMoDAQ, in the spellings of all its versions."""

from collections.abc import Mapping
from typing import Any

import h5py

from ndx_simulation_output.adapters.pymodaq.attributes import (
    integer_of,
    integers_of,
    number_of,
    text_of,
)
from ndx_simulation_output.adapters.pymodaq.logger import log_lines
from ndx_simulation_output.recording import ExportArray, ExportAxis, LazyArray
from ndx_simulation_output.recording.json_values import to_json

__all__ = ["array_of", "axis_of", "is_axis"]

_AXES = {"axis", "navigation_axis"}
_ROLES = {
    "data": "data",
    "data_enlargeable": "data",
    "bkg": "background",
    "error": "error",
    "log": "log",
    "strings": "log",
}
_LOGS = {"log", "strings"}
_HELD = {
    "CLASS",
    "EXTDIM",
    "PYTABLES_FORMAT_VERSION",
    "TITLE",
    "VERSION",
    "backend",
    "data_dimension",
    "data_type",
    "distribution",
    "dtype",
    "label",
    "nav_indexes",
    "origin",
    "path",
    "shape",
    "size",
    "source",
    "subdtype",
    "timestamp",
    "type",
    "units",
}
"""Attributes that say what the array or a field of its description says."""

_LAST_DIMENSION = "x_axis"


def is_axis(node: h5py.Dataset, found: Mapping[str, Any]) -> bool:
    """Tell whether an array of these attributes is an axis."""
    kind = text_of(found, "data_type", "type")
    return kind in _AXES and len(node.shape) == 1 and node.dtype.kind in "biuf"


def axis_of(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> ExportAxis:
    """Describe an axis. The array has all its values: ``offset`` and ``scaling`` add nothing."""
    return ExportAxis(
        name,
        node,
        label=text_of(found, "label", "TITLE"),
        unit=text_of(found, "units"),
        index=max(0, _index(name, node, found)),
        spread_order=max(0, integer_of(found, "spread_order")),
        grows=text_of(found, "CLASS") == "EARRAY",
    )


def _index(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> int:
    """Give the dimension of an axis; before 4.0, the name says it: x is the last, y the first."""
    if "index" in found or "nav_index" in found:
        return integer_of(found, "index", "nav_index")
    data = node.parent.get("Data")
    if name.casefold() == _LAST_DIMENSION and isinstance(data, h5py.Dataset) and data.shape:
        return len(data.shape) - 1
    return 0


class _Column:
    """The values of an array of shape (value, 1), as shape (value,)."""

    def __init__(self, array: h5py.Dataset) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(array.shape[:1])
        self.dtype: Any = array.dtype

    def __getitem__(self, key: Any) -> Any:
        key = key if isinstance(key, tuple) else (key,)
        return self.array[(*key, 0)] if key else self.array[:, 0]


def array_of(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> ExportArray:
    """Describe an array, whatever it is for."""
    kind = text_of(found, "data_type", "type")
    # Since 4.0, only the log has a type besides its data_type: what others have is their own.
    held = _HELD - {"type"} if "data_type" in found and kind not in _LOGS else _HELD
    values: LazyArray = node
    if kind in _LOGS and len(node.shape) == 1 and node.dtype.kind == "O":
        values = log_lines(node)
    elif text_of(found, "data_dimension") == "Data0D" and node.shape[1:] == (1,):
        # Values without dimension that are recorded one by one, which 4.0 stores as they are.
        values = _Column(node)
    return ExportArray(
        name,
        values,
        role=_ROLES.get(kind, kind),
        title=text_of(found, "TITLE"),
        label=text_of(found, "label"),
        unit=text_of(found, "units"),
        source=text_of(found, "source") or "raw",
        distribution=text_of(found, "distribution"),
        origin=text_of(found, "origin"),
        nav_indexes=integers_of(found, "nav_indexes"),
        timestamp=number_of(found, "timestamp"),
        grows=text_of(found, "CLASS") == "EARRAY",
        extra={key: to_json(value) for key, value in found.items() if key not in held},
    )
