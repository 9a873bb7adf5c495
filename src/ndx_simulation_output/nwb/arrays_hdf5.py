"""HDF5 layout of arrays with axes, and creation of empty arrays for files being recorded."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.nwb.arrays_reading import UNKNOWN_UNIT
from ndx_simulation_output.nwb.types import NAMESPACE
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes
from ndx_simulation_output.recording.ids import storable_text

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**12
_MOST_ROWS = 2**12
_VIEWS = {"S": "u1", "V": "u1", "U": "u4", "M": "i8", "m": "i8"}
"""Numeric types that encode kinds of dtype not supported by NWB, in an additional dimension."""


@dataclass(frozen=True)
class HowStored:
    """Chunking and compression of arrays: gzip of ``level`` 1 to 9, or 0 for no compression.

    If an array is written point by point, its first ``points`` dimensions index the points. Unless
    points are small, each is stored in separate chunks, so that no chunk is compressed twice.
    """

    level: int = 0
    points: int = 0

    def options(self, shape: tuple[int, ...], itemsize: int, *, grows: bool) -> dict[str, Any]:
        """Return the arguments of ``create_dataset`` for an array of this shape.

        Example
        -------
        >>> HowStored().options((0, 100), 8, grows=True)
        {'maxshape': (None, 100), 'chunks': (327, 100)}

        """
        point = shape[self.points :]
        is_small = int(np.prod(point, dtype=np.int64)) * itemsize < _SMALL_BYTES
        if self.points and self.level and not is_small and all(shape):
            chunk = (*[1] * self.points, *_last_dimensions(point, itemsize))
            return {"chunks": chunk, **self._filters()}
        found: dict[str, Any] = {}
        rest = shape[1:]
        row = max(1, int(np.prod(rest, dtype=np.int64)) * itemsize)
        if grows:
            found["maxshape"] = (None, *rest)
        if shape and all(rest) and (grows or (self.level and shape[0])):
            rows = min(_MOST_ROWS, max(1, _CHUNK_BYTES // row))
            rows = rows if grows else min(rows, shape[0])
            found |= {"chunks": (rows, *_last_dimensions(rest, itemsize)), **self._filters()}
        return found

    def _filters(self) -> dict[str, Any]:
        if not self.level:
            return {}
        return {"compression": "gzip", "compression_opts": self.level, "shuffle": True}


def _last_dimensions(rest: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the chunk shape without the first dimension; the last dimensions are not split."""
    left = max(1, 16 * _CHUNK_BYTES // itemsize)
    lengths = []
    for length in reversed(rest):
        lengths.append(max(1, min(length, left)))
        left = max(1, left // lengths[-1])
    return tuple(reversed(lengths))


def encoded(dtype: np.dtype[Any], where: str) -> tuple[np.dtype[Any], tuple[int, ...], str | None]:
    """Return the stored dtype, the additional dimension if any, and ``value_type``."""
    if dtype.kind == "O":
        if h5py.check_string_dtype(dtype) is None and dtype.metadata:
            msg = f"{where} is of type {dtype}; expected an array of numbers or text"
            raise ExportError(msg)
        return h5py.string_dtype(), (), None
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}"), (2,), dtype.str
    if dtype.kind in _VIEWS:
        part = np.dtype(_VIEWS[dtype.kind])
        return part, (max(1, dtype.itemsize // part.itemsize),), dtype.str
    return dtype.newbyteorder("="), (), None


def as_stored(values: NDArray[Any], dtype: np.dtype[Any], added: tuple[int, ...]) -> NDArray[Any]:
    """Return values in their numeric encoding."""
    if not added:
        return values
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return native.view(dtype).reshape(*values.shape, *added)


def clean_text(text: str | None) -> str | None:
    """Return text that HDF5 can store, or None if it is empty."""
    return storable_text(text) if text else None


def json_text(extra: Mapping[str, Any]) -> str | None:
    """Return additional attributes as JSON, or None if there are none."""
    return json.dumps(dict(extra)) if extra else None


def axis_description(axis: ArrayAxis) -> str:
    """Return the description that NWB requires: the label if it differs from the name."""
    label = None if axis.label == axis.name else clean_text(axis.label)
    return label or "An independent variable"


def text_attributes(array: ArrayWithAxes) -> dict[str, str | None]:
    """Return the attributes of an array that are text, by their names in NWB."""
    names = ("label", "title", "role", "source", "distribution", "origin")
    texts = {name: clean_text(getattr(array, name)) for name in names}
    return {**texts, "extra_attributes": json_text(array.extra)}


def reference_time(file: h5py.File) -> float:
    """Return time 0 of a file in seconds since 1970-01-01 UTC."""
    text = file["timestamps_reference_time"].asstr()[()]
    return datetime.fromisoformat(text).timestamp()


# Create objects in an open file. pynwb can only write objects whose values are complete.


def create_group(parent: h5py.Group, group: ArrayGroup, kind: str = "DataToExport") -> h5py.Group:
    """Create an empty group of a type of this extension, which tracks the order of its children."""
    plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    plist.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    made = h5py.Group(h5py.h5g.create(parent.id, group.name.encode(), gcpl=plist))
    _set_type(made, kind)
    _set_texts(made, title=group.title, group_type=group.kind, settings=group.settings)
    _set_texts(made, extra_attributes=json_text(group.extra))
    return made


def create_axis(
    group: h5py.Group, axis: ArrayAxis, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Create an axis without its values."""
    options = HowStored().options(shape, dtype.itemsize, grows=axis.grows)
    made = group.create_dataset(axis.name, shape, dtype.newbyteorder("="), **options)
    _set_type(made, "Axis")
    made.attrs["description"] = axis_description(axis)
    _set_texts(made, label=axis.label, unit=axis.unit)
    made.attrs["index"] = np.int32(axis.index)
    made.attrs["spread_order"] = np.int32(axis.spread_order)
    return made


def create_array(
    group: h5py.Group,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
    fill: Any = None,
) -> h5py.Dataset:
    """Create an array without its values; ``fill`` is the value of elements not yet written."""
    made = _create_dataset(group, array.name, array, shape, dtype, how, fill)
    _set_type(made, "LabeledArray")
    _set_attributes(made, array)
    _set_texts(made, unit=array.unit)
    return made


def create_series(
    group: h5py.Group,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
) -> h5py.Group:
    """Create the time series of an array without its values and timestamps."""
    made = create_group(group, ArrayGroup(array.name), "AxesTimeSeries")
    _set_attributes(made, array)
    made.attrs["description"] = clean_text(array.title) or "no description"
    made.attrs["comments"] = "no comments"
    data = _create_dataset(made, "data", array, shape, dtype, how, None)
    data.attrs["unit"] = clean_text(array.unit) or UNKNOWN_UNIT
    data.attrs["conversion"] = np.float32(1.0)
    data.attrs["resolution"] = np.float32(-1.0)
    data.attrs["offset"] = np.float32(0.0)
    return made


def _create_dataset(
    group: h5py.Group,
    name: str,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored,
    fill: Any,
) -> h5py.Dataset:
    stored, added, value_type = encoded(np.dtype(dtype), f"{group.name}/{name}")
    shape = (*shape, *added)
    options = how.options(shape, stored.itemsize, grows=array.grows)
    made = group.create_dataset(name, shape, stored, fillvalue=fill, **options)
    _set_texts(made, value_type=value_type)
    return made


def _set_type(made: h5py.Group | h5py.Dataset, kind: str) -> None:
    made.attrs["namespace"] = NAMESPACE
    made.attrs["neurodata_type"] = kind
    made.attrs["object_id"] = str(uuid.uuid4())


def _set_attributes(made: h5py.Group | h5py.Dataset, array: ArrayWithAxes) -> None:
    _set_texts(made, **text_attributes(array))
    if array.nav_indexes:
        made.attrs["nav_indexes"] = np.asarray(array.nav_indexes, np.int32)
    if array.timestamp is not None:
        made.attrs["timestamp"] = np.float64(array.timestamp)


def _set_texts(made: h5py.Group | h5py.Dataset, **texts: str | None) -> None:
    """Set the attributes that are not empty."""
    for name, text in texts.items():
        if clean := clean_text(text):
            made.attrs.create(name, clean, dtype=h5py.string_dtype())
