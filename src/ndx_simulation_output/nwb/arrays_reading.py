"""Read groups of arrays with axes, from objects of pynwb and from open HDF5 files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import SourceError, source_errors
from ndx_simulation_output.nwb.series import array_of
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes, LazyArray
from ndx_simulation_output.recording.array_groups import INTERVALS
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.storage.raw_files import is_hdf5
from ndx_simulation_output.storage.reading import HDF5Array

UNKNOWN_UNIT = "unknown"
"""Unit of a time series whose array has no unit, since NWB requires one."""

_GROUPS = {"DataToExport", "DataWithAxes"}
_SERIES = "AxesTimeSeries"

# Read pynwb objects, either from a file or in memory.


def read_group(container: Any) -> ArrayGroup:
    """Read a ``DataWithAxes`` with its contents; values are read lazily."""
    inside = (getattr(container, "nwb_data_interfaces", None) or {}).values()
    arrays = [*map(_read_array, (container.labeled_arrays or {}).values())]
    arrays += [_read_array(item) for item in inside if item.neurodata_type == _SERIES]
    return replace(
        _group(container.name, container.fields, _source_of(container)),
        arrays=tuple(arrays),
        axes=tuple(read_axis(axis) for axis in (container.axis or {}).values()),
        groups=tuple(read_group(item) for item in inside if item.neurodata_type in _GROUPS),
    )


def read_intervals(table: Any) -> ArrayGroup:
    """Read a ``TimeIntervals`` that a group of intervals was written as."""
    seconds = ("start_time", "stop_time")
    arrays = [
        ArrayWithAxes(one.name, _data_of(one), label=one.name, unit="s" * (one.name in seconds))
        for one in table.columns
    ]
    return ArrayGroup(table.name, tuple(arrays), title=table.description, kind=INTERVALS)


def read_axis(axis: Any) -> ArrayAxis:
    """Read an ``Axis``."""
    return _axis(axis.name, axis.fields, _data_of(axis))


def _read_array(item: Any) -> ArrayWithAxes:
    attributes = item.fields
    if item.neurodata_type == _SERIES:
        attributes = {**attributes, "unit": _series_unit(attributes)}
    return _array(item.name, attributes, _data_of(item), _source_of(item))


def _source_of(container: Any) -> str:
    return f"{container.name} of {container.container_source or 'an NWB file in memory'}"


def _data_of(item: Any) -> LazyArray:
    """Return the values of an array or axis, in memory or lazily from the file."""
    where = f"{type(item).__name__} {item.name!r}"
    data = item.data.data if isinstance(item.data, DataIO) else item.data
    if not isinstance(data, np.generic) and hasattr(data, "dtype"):
        return array_of(data, where)
    io = item.get_read_io()
    if isinstance(io, NWBHDF5IO):
        # hdmf reads arrays of shape () and (1,) as scalars, so get the shape from the file.
        path = io.manager.get_builder(item).path.removeprefix("root/")
        return array_of(io._file[path], where)  # noqa: SLF001
    return np.atleast_1d(np.asarray(array_of(data, where)))


# Read objects from an open HDF5 file, such as one that is being recorded.


def find_type(node: h5py.Group | h5py.Dataset) -> str:
    """Return the neurodata type of an object, or an empty string if it has none."""
    return _text(node.attrs, "neurodata_type")


def read_hdf5_group(node: h5py.Group, *, recursive: bool = True) -> ArrayGroup:
    """Read a group, with its contents if ``recursive``; values are read lazily."""
    group = _group(node.name.rpartition("/")[2], node.attrs, _place_of(node))
    if not recursive:
        return group
    arrays, axes, groups = [], [], []
    for name, child in _children(node):
        kind = find_type(child)
        if kind == "Axis":
            axes.append(read_hdf5_axis(name, child))
        elif kind in _GROUPS:
            groups.append(read_hdf5_group(child))
        elif kind == _SERIES or isinstance(child, h5py.Dataset):
            arrays.append(read_hdf5_array(name, child))
    return replace(group, arrays=tuple(arrays), axes=tuple(axes), groups=tuple(groups))


def read_hdf5_axis(name: str, node: h5py.Dataset) -> ArrayAxis:
    """Read an axis."""
    return _axis(name, node.attrs, node)


def read_hdf5_array(name: str, node: h5py.Group | h5py.Dataset) -> ArrayWithAxes:
    """Read an array or a time series."""
    data = data_of(node)
    attributes = (
        {**node.attrs, "unit": _series_unit(data.attrs)} if data is not node else node.attrs
    )
    return _array(name, attributes, data, _place_of(node))


def data_of(node: h5py.Group | h5py.Dataset) -> h5py.Dataset:
    """Return the dataset of the values of an array or of a time series."""
    data = node.get("data") if isinstance(node, h5py.Group) else node
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        msg = f"{_place_of(node)} has no data; expected an array"
        raise SourceError(msg)
    return data


def _place_of(node: h5py.Group | h5py.Dataset) -> str:
    return f"{node.name} of {node.file.filename}"


def _children(node: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    for name in node:
        child = node.get(name)
        if isinstance(child, h5py.Group | h5py.Dataset):
            yield name, child


# Shared by both: create objects from a mapping of attributes, and the values.


def _group(name: str, attributes: Mapping[str, Any], where: str) -> ArrayGroup:
    return ArrayGroup(
        name,
        title=_text(attributes, "title"),
        kind=_text(attributes, "group_type"),
        settings=_text(attributes, "settings"),
        extra=_extra(attributes, where),
    )


def _axis(name: str, attributes: Mapping[str, Any], values: LazyArray) -> ArrayAxis:
    return ArrayAxis(
        name,
        values,
        label=_text(attributes, "label"),
        unit=_text(attributes, "unit"),
        index=int(attributes.get("index") or 0),
        spread_order=int(attributes.get("spread_order") or 0),
        grows=_grows(values),
    )


def _array(
    name: str, attributes: Mapping[str, Any], values: LazyArray, where: str
) -> ArrayWithAxes:
    timestamp, nav = attributes.get("timestamp"), attributes.get("nav_indexes")
    return ArrayWithAxes(
        name,
        _decoded(values, attributes, where),
        role=_text(attributes, "role"),
        title=_text(attributes, "title"),
        label=_text(attributes, "label"),
        unit=_text(attributes, "unit"),
        source=_text(attributes, "source"),
        distribution=_text(attributes, "distribution"),
        origin=_text(attributes, "origin"),
        nav_indexes=() if nav is None else tuple(int(index) for index in np.ravel(nav)),
        timestamp=None if timestamp is None else float(timestamp),
        grows=_grows(values),
        extra=_extra(attributes, where),
    )


def _series_unit(attributes: Mapping[str, Any]) -> str:
    unit = _text(attributes, "unit")
    return "" if unit == UNKNOWN_UNIT else unit


def _grows(values: Any) -> bool:
    maxshape = getattr(getattr(values, "dataset", values), "maxshape", None) or (0,)
    return maxshape[0] is None


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _extra(attributes: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    text = _text(attributes, "extra_attributes")
    with source_errors(f"extra_attributes of {where} are not JSON"):
        extra = json.loads(text) if text else {}
    if not isinstance(extra, dict):
        msg = f"extra_attributes of {where} are {text[:60]!r}; expected a JSON object"
        raise SourceError(msg)
    return extra


class _Decoded(LazyArrayBase):
    """Scalars, and values whose type NWB does not support, decoded from their numeric encoding."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, array: LazyArray, dtype: np.dtype[Any]) -> None:
        self.array = array
        self.shape = tuple(array.shape[:-1])
        self.dtype = dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        stored = np.ascontiguousarray(self.array[(*slices, slice(None))])
        values = stored.view(self.dtype.newbyteorder("="))[..., 0]
        return np.asarray(values, self.dtype)


class _Texts(HDF5Array):
    """Dataset of strings, read as ``str`` by numpy indexing."""

    __getitem__ = LazyArrayBase.__getitem__

    def _read(self, slices: tuple[slice, ...]) -> Any:
        with self._source_errors():
            return self.array.asstr()[slices]


def _decoded(values: LazyArray, attributes: Mapping[str, Any], where: str) -> LazyArray:
    text = _text(attributes, "value_type")
    if not text:
        dataset: Any = getattr(values, "dataset", values)
        dataset = getattr(dataset, "dset", dataset)  # hdmf wraps a dataset of text.
        is_text = is_hdf5(dataset) and h5py.check_string_dtype(dataset.dtype) is not None
        return _Texts(dataset) if is_text else values
    with source_errors(f"value_type of {where} is {text!r}; expected a type of numpy"):
        return _Decoded(values, np.dtype(text))


# Neuronvisio groups in files written by version 0.3.0, which stored dtypes in the provenance.

_VIEWED = "cSVUMm"
"""Kinds of dtype that are stored in a numeric encoding, in an additional dimension."""


def restore_group(group: ArrayGroup, facts: Mapping[str, Any]) -> ArrayGroup:
    """Restore a group written by version 0.3.0, as described by ``facts`` in the provenance."""
    stored = {array.name: array.values for array in group.arrays}
    with source_errors(f"the provenance of {group.name} does not fit its arrays"):
        arrays = [
            ArrayWithAxes(
                name,
                _restored(stored.get(name), known),
                label=" ".join(filter(None, (known[key] for key in _NAMES))),
                extra={**{key: known[key] for key in _NAMES}, **known["provenance"]},
            )
            for name, known in facts["arrays"].items()
        ]
        axes = list(group.axes)
        if "x" in facts:
            x = _restored(axes[0].values if axes else None, facts["x"])
            if facts["x"]:
                axes, arrays = [], [*arrays, ArrayWithAxes("x", x, role="x")]
        return replace(
            group,
            name=str(facts["name"]),
            arrays=tuple(arrays),
            axes=tuple(axes),
            extra=dict(facts["provenance"]),
        )


_NAMES = ("section", "variable", "detail")


def _restored(stored: LazyArray | None, facts: Mapping[str, Any]) -> LazyArray:
    shape = facts.get("shape")
    if stored is None:
        if "dtype" not in facts and shape is None:
            msg = "an array is missing"
            raise KeyError(msg)
        return np.zeros(tuple(shape or (0,)), np.dtype(facts["dtype"]))
    if "dtype" not in facts and shape is None:
        # hdmf returns an array with a single value as a scalar.
        return stored if stored.shape else np.atleast_1d(np.asarray(stored))
    values = np.ascontiguousarray(stored[()])
    if "dtype" in facts:
        dtype = np.dtype(facts["dtype"])
        if dtype.kind in _VIEWED:
            values = values.view(dtype.newbyteorder("="))[..., 0]
        values = values.astype(dtype, copy=False)
    return values if shape is None else values.reshape(shape)
