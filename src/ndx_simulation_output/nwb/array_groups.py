"""Groups of arrays as ``DataWithAxes`` and back, whatever their type and shape."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, SourceError
from ndx_simulation_output.nwb.types import Axis, DataWithAxes, LabeledArray
from ndx_simulation_output.recording import ArrayGroup, LazyArray, OwnArray
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.names import free_name

__all__ = ["make_data", "read_data"]

_Facts = dict[str, Any]

_X = "x"
_VIEWS = {"c": "f", "S": "u1", "V": "u1", "U": "u4", "M": "i8", "m": "i8"}
"""Numbers that values of other types are stored as, along a further dimension."""


def make_data(group: ArrayGroup, name: str) -> tuple[DataWithAxes, _Facts]:
    """Make an NWB object of a group, and the facts that it takes to read it as it was.

    Values of types that NWB does not have are stored as the numbers they are made of.

    Raises
    ------
    ExportError
        If values are Python objects.

    """
    facts: _Facts = {"name": group.name, "provenance": dict(group.provenance), "arrays": {}}
    arrays, axes = [], []
    names = _names(group)
    for key, array in zip(names, group.arrays, strict=True):
        stored, known = _encode(array.values, f"{array.section} {array.variable}")
        facts["arrays"][key] = {
            "section": array.section,
            "variable": array.variable,
            "detail": array.detail,
            "provenance": dict(array.provenance),
            **known,
        }
        if stored.size:
            label = " ".join(text for text in (array.section, array.variable, array.detail) if text)
            arrays.append(LabeledArray(name=key, data=stored, label=label))
    if group.x is not None:
        x = read_all(group.x)
        stored, known = _encode(x.reshape(-1), f"x of {group.name}")
        facts["x"] = {**known, **({"shape": list(x.shape)} if x.ndim != 1 else {})}
        unit = group.x_unit or None
        if stored.size:
            axes.append(Axis(name=_X, data=stored, label="x", unit=unit, index=0))
    made = DataWithAxes(name=name, title=group.name, labeled_arrays=arrays, axis=axes)
    return made, facts


def read_data(data: DataWithAxes, facts: Mapping[str, Any]) -> ArrayGroup:
    """Read a group of arrays as it was; of one without ``facts``, what its objects say.

    Raises
    ------
    SourceError
        If the facts do not fit the object.

    """
    axes = list((data.axis or {}).values())
    stored = data.labeled_arrays or {}
    if not facts:
        arrays = tuple(
            OwnArray("", array.label or array.name, array.data) for array in stored.values()
        )
        x, unit = (axes[0].data, axes[0].unit or "") if axes else (None, "")
        return ArrayGroup(data.title or data.name, arrays, x, unit)
    try:
        return _restored(data, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the provenance of {data.name} does not fit its arrays: {error!r}"
        raise SourceError(msg) from error


def _restored(data: DataWithAxes, facts: Mapping[str, Any]) -> ArrayGroup:
    stored, axes = data.labeled_arrays or {}, data.axis or {}
    arrays = tuple(
        OwnArray(
            str(known["section"]),
            str(known["variable"]),
            _decode(stored[name].data if name in stored else None, known),
            str(known["detail"]),
            dict(known["provenance"]),
        )
        for name, known in facts["arrays"].items()
    )
    group = ArrayGroup(str(facts["name"]), arrays, provenance=dict(facts["provenance"]))
    if "x" not in facts:
        return group
    axis = axes.get(_X)
    x = _decode(None if axis is None else axis.data, facts["x"])
    return replace(group, x=x, x_unit="" if axis is None else axis.unit or "")


def _names(group: ArrayGroup) -> list[str]:
    """Give a name to each array, no two the same."""
    taken = {_X}
    found = []
    for array in group.arrays:
        text = f"{array.section}_{array.variable}"
        allowed = text.replace("/", "_").replace(":", "_").replace("\0", "_")
        found.append(free_name(allowed, taken))
        taken.add(found[-1])
    return found


def _encode(array: LazyArray, where: str) -> tuple[NDArray[Any], _Facts]:
    """Give values as numbers of native byte order, and what they were if they were not."""
    values = read_all(array)
    if values.dtype.kind == "O":
        msg = f"{where} holds Python objects; expected an array of numbers or text"
        raise ExportError(msg)
    facts: _Facts = {}
    if not values.shape or not values.size:
        facts["shape"] = list(values.shape)
    if values.dtype.kind not in _VIEWS and values.dtype.isnative:
        if not values.size:
            facts["dtype"] = values.dtype.str
        return np.atleast_1d(values), facts
    facts["dtype"] = values.dtype.str
    native = np.ascontiguousarray(np.atleast_1d(values))
    native = native.astype(native.dtype.newbyteorder("="), copy=False)
    return _as_numbers(native), facts


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind not in _VIEWS or not values.size:
        return values
    part = f"f{values.itemsize // 2}" if kind == "c" else _VIEWS[kind]
    return values.view(part).reshape(*values.shape, -1)


def _decode(stored: LazyArray | None, facts: Mapping[str, Any]) -> LazyArray:
    if "dtype" not in facts and "shape" not in facts:
        if stored is None:
            msg = "an array is missing"
            raise KeyError(msg)
        # hdmf gives an array of one value as that value.
        return stored if stored.shape else np.atleast_1d(np.asarray(stored))
    shape = facts.get("shape")
    if stored is None:
        return np.zeros(tuple(shape or (0,)), np.dtype(facts["dtype"]))
    values = np.ascontiguousarray(stored[()])
    if "dtype" in facts:
        dtype = np.dtype(facts["dtype"])
        if dtype.kind in _VIEWS:
            values = values.view(dtype.newbyteorder("="))[..., 0]
        values = values.astype(dtype, copy=False)
    return values if shape is None else values.reshape(shape)
