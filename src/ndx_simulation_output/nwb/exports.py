"""Groups, arrays and axes of instruments as they lie in an NWB file in HDF5.

They are written with h5py, an object at a time, so that a file can grow while it is recorded.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.nwb.types import NAMESPACE
from ndx_simulation_output.recording import ExportArray, ExportAxis, ExportGroup
from ndx_simulation_output.recording.names import free_name

__all__ = [
    "HowStored",
    "as_stored",
    "clean_text",
    "create_array",
    "create_axis",
    "create_group",
    "create_series",
    "encoded",
    "json_text",
    "unlike",
]

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**12
_MOST_ROWS = 2**12
_VIEWS = {"S": "u1", "V": "u1", "U": "u4", "M": "i8", "m": "i8"}
"""Numbers that values of other types are stored as, along a further dimension."""
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class HowStored:
    """How arrays are compressed: with gzip of ``level`` 1 to 9, or not for 0.

    An array that is filled point by point has ``points`` dimensions of these. If a point is not
    small, it is a chunk of its own, so that none is compressed twice.
    """

    level: int = 0
    points: int = 0

    def options(self, shape: tuple[int, ...], itemsize: int, *, grows: bool) -> dict[str, Any]:
        """Arguments of ``create_dataset`` for an array of this shape.

        Example
        -------
        >>> HowStored().options((0, 100), 8, grows=True)
        {'maxshape': (None, 100), 'chunks': (327, 100)}

        """
        point = shape[self.points :]
        is_small = int(np.prod(point, dtype=np.int64)) * itemsize < _SMALL_BYTES
        if self.points and self.level and not is_small:
            return {"chunks": (*[1] * self.points, *_fitting(point, itemsize)), **self._filters()}
        made: dict[str, Any] = {}
        rest = shape[1:]
        row = max(1, int(np.prod(rest, dtype=np.int64)) * itemsize)
        if grows:
            made["maxshape"] = (None, *rest)
        if shape and (grows or self.level) and all(rest):
            rows = min(_MOST_ROWS, max(1, _CHUNK_BYTES // row))
            made["chunks"] = (
                rows if grows else max(1, min(rows, shape[0])),
                *_fitting(rest, itemsize),
            )
        return {**made, **self._filters()} if "chunks" in made else made

    def _filters(self) -> dict[str, Any]:
        if not self.level:
            return {}
        return {"compression": "gzip", "compression_opts": self.level, "shuffle": True}


def _fitting(rest: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Give the lengths of a chunk in all dimensions but the first: the last ones whole."""
    left = max(1, 16 * _CHUNK_BYTES // itemsize)
    lengths = []
    for length in reversed(rest):
        lengths.append(max(1, min(length, left)))
        left = max(1, left // lengths[-1])
    return tuple(reversed(lengths))


def encoded(dtype: np.dtype[Any], where: str) -> tuple[np.dtype[Any], tuple[int, ...], str | None]:
    """Give the type that values are stored as, the dimension that it adds, and ``value_type``.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    if dtype.kind == "O":
        if h5py.check_string_dtype(dtype) is None and dtype.metadata:
            msg = f"{where} holds {dtype}; expected an array of numbers or text"
            raise ExportError(msg)
        return h5py.string_dtype(), (), None
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}"), (2,), dtype.str
    if dtype.kind in _VIEWS:
        part = np.dtype(_VIEWS[dtype.kind])
        return part, (max(1, dtype.itemsize // part.itemsize),), dtype.str
    return dtype.newbyteorder("="), (), None


def as_stored(values: NDArray[Any], dtype: np.dtype[Any], added: tuple[int, ...]) -> NDArray[Any]:
    """Give values as the numbers that they are stored as."""
    if not added:
        return values
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return native.view(dtype).reshape(*values.shape, *added)


def create_group(parent: h5py.Group, group: ExportGroup, kind: str = "DataToExport") -> h5py.Group:
    """Make an empty group of a type of this extension, whose children keep their order."""
    plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    plist.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    made = h5py.Group(h5py.h5g.create(parent.id, group.name.encode(), gcpl=plist))
    _mark(made, kind)
    _set(made, title=group.title, group_type=group.kind, settings=group.settings)
    _set(made, extra_attributes=json_text(group.extra))
    return made


def create_axis(
    group: h5py.Group, axis: ExportAxis, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Make an axis without its values."""
    options = HowStored().options(shape, dtype.itemsize, grows=axis.grows)
    made = group.create_dataset(axis.name, shape, dtype.newbyteorder("="), **options)
    _mark(made, "Axis")
    made.attrs["description"] = axis.label or "An independent variable"
    _set(made, label=axis.label, unit=axis.unit)
    made.attrs["index"] = np.int32(axis.index)
    made.attrs["spread_order"] = np.int32(axis.spread_order)
    return made


def create_array(
    group: h5py.Group,
    array: ExportArray,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
    fill: Any = None,
) -> h5py.Dataset:
    """Make an array without its values; places that are not written hold ``fill``.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    made = _dataset(group, array.name, array, shape, dtype, how, fill)
    _mark(made, "LabeledArray")
    _describe(made, array)
    _set(made, unit=array.unit)
    return made


def create_series(
    group: h5py.Group,
    array: ExportArray,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
) -> h5py.Group:
    """Make a time series of an array without its values and timestamps."""
    made = create_group(group, ExportGroup(array.name), "AxesTimeSeries")
    _describe(made, array)
    made.attrs["description"] = array.title or "no description"
    made.attrs["comments"] = "no comments"
    data = _dataset(made, "data", array, shape, dtype, how, None)
    data.attrs["unit"] = array.unit or _UNKNOWN
    data.attrs["conversion"] = np.float32(1.0)
    data.attrs["resolution"] = np.float32(-1.0)
    data.attrs["offset"] = np.float32(0.0)
    return made


def _dataset(
    group: h5py.Group,
    name: str,
    array: ExportArray,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored,
    fill: Any,
) -> h5py.Dataset:
    stored, added, value_type = encoded(np.dtype(dtype), f"{group.name}/{name}")
    shape = (*shape, *added)
    options = how.options(shape, stored.itemsize, grows=array.grows)
    made = group.create_dataset(name, shape, stored, fillvalue=fill, **options)
    _set(made, value_type=value_type)
    return made


def _mark(made: h5py.Group | h5py.Dataset, kind: str) -> None:
    made.attrs["namespace"] = NAMESPACE
    made.attrs["neurodata_type"] = kind
    made.attrs["object_id"] = str(uuid.uuid4())


def _describe(made: h5py.Group | h5py.Dataset, array: ExportArray) -> None:
    _set(made, label=array.label, title=array.title, role=array.role, source=array.source)
    _set(made, distribution=array.distribution, origin=array.origin)
    _set(made, extra_attributes=json_text(array.extra))
    if array.nav_indexes:
        made.attrs["nav_indexes"] = np.asarray(array.nav_indexes, np.int32)
    if array.timestamp is not None:
        made.attrs["timestamp"] = np.float64(array.timestamp)


def _set(made: h5py.Group | h5py.Dataset, **texts: str | None) -> None:
    """Set the texts that are not empty."""
    for name, text in texts.items():
        if clean := clean_text(text):
            made.attrs.create(name, clean, dtype=h5py.string_dtype())


def clean_text(text: str | None) -> str | None:
    """Give a text as HDF5 can hold it, None for none: it ends at a NUL, without lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode() if text else None


def json_text(extra: Mapping[str, Any]) -> str | None:
    """Give what no field holds as JSON, None for nothing."""
    return json.dumps(dict(extra)) if extra else None


def unlike(names: Iterable[str], wanted: str) -> str:
    """Give a name that NWB allows and is not among ``names``, as near to the ``wanted`` as can be.

    Example
    -------
    >>> unlike(["a_b"], "a:b")
    'a_b_2'

    """
    allowed = wanted.replace(":", "_").replace("/", "_").replace("\0", "").strip(".") or "unnamed"
    return free_name(allowed, set(names))
