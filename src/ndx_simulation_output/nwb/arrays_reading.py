"""Read arrays with labelled axes from NWB files in HDF5."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes, LazyArray

# Read what instruments gave from an NWB file in HDF5.

_GROUPS = {"DataToExport", "DataWithAxes"}
_SERIES = "AxesTimeSeries"
_UNKNOWN = "unknown"
_PLACES = ("acquisition", "analysis", "scratch")


def find_exports(file: h5py.File) -> tuple[ArrayGroup, ...]:
    """Give every group of instruments that is not within another.

    Raises
    ------
    SourceError
        If something in them is damaged.

    """
    places = [file[name] for name in _PLACES if isinstance(file.get(name), h5py.Group)]
    if isinstance(file.get("processing"), h5py.Group):
        places += [node for node in file["processing"].values() if isinstance(node, h5py.Group)]
    return tuple(
        group_from(place[name])
        for place in places
        for name in place
        if isinstance(place.get(name, getlink=True), h5py.HardLink)
        and kind_of(place[name]) == "DataToExport"
    )


def kind_of(node: h5py.Group | h5py.Dataset) -> str:
    """Name of the neurodata type of an object; empty if it has none."""
    return _text(node, "neurodata_type")


def group_from(node: h5py.Group) -> ArrayGroup:
    """Describe a group and all that is below it; values stay in the file.

    Raises
    ------
    SourceError
        If something in it is damaged.

    """
    arrays, axes, groups = [], [], []
    for name, child in _children(node):
        kind = kind_of(child)
        if kind == "Axis":
            axes.append(axis_from(name, child))
        elif kind in _GROUPS:
            groups.append(group_from(child))
        elif kind == _SERIES or isinstance(child, h5py.Dataset):
            arrays.append(array_from(name, child))
    return replace(group_alone(node), arrays=tuple(arrays), axes=tuple(axes), groups=tuple(groups))


def group_alone(node: h5py.Group) -> ArrayGroup:
    """Describe a group without what is below it.

    Raises
    ------
    SourceError
        If its attributes are damaged.

    """
    return ArrayGroup(
        node.name.rpartition("/")[2],
        title=_text(node, "title"),
        kind=_text(node, "group_type"),
        settings=_text(node, "settings"),
        extra=_extra(node),
    )


def axis_from(name: str, node: h5py.Dataset) -> ArrayAxis:
    """Describe an axis."""
    return ArrayAxis(
        name,
        node,
        label=_text(node, "label"),
        unit=_text(node, "unit"),
        index=int(node.attrs.get("index", 0)),
        spread_order=int(node.attrs.get("spread_order", 0)),
        grows=bool(node.maxshape) and node.maxshape[0] is None,
    )


def array_from(name: str, node: h5py.Group | h5py.Dataset) -> ArrayWithAxes:
    """Describe an array or a time series.

    Raises
    ------
    SourceError
        If it is damaged.

    """
    data = values_of(node)
    unit = _text(data, "unit")
    timestamp = node.attrs.get("timestamp")
    return ArrayWithAxes(
        name,
        _decoded(data),
        role=_text(node, "role"),
        title=_text(node, "title"),
        label=_text(node, "label"),
        unit="" if unit == _UNKNOWN and data is not node else unit,
        source=_text(node, "source"),
        distribution=_text(node, "distribution"),
        origin=_text(node, "origin"),
        nav_indexes=tuple(int(index) for index in np.ravel(node.attrs.get("nav_indexes", ()))),
        timestamp=None if timestamp is None else float(timestamp),
        grows=bool(data.maxshape) and data.maxshape[0] is None,
        extra=_extra(node),
    )


def values_of(node: h5py.Group | h5py.Dataset) -> h5py.Dataset:
    """Give the dataset of the values of an array or of a time series.

    Raises
    ------
    SourceError
        If there is none.

    """
    data = node.get("data") if isinstance(node, h5py.Group) else node
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        msg = f"{node.name} of {node.file.filename} has no data; expected an array"
        raise SourceError(msg)
    return data


class _Decoded:
    """Values of a type that NWB does not have, of the numbers that they are stored as."""

    def __init__(self, data: h5py.Dataset, dtype: np.dtype[Any]) -> None:
        self.array = data
        self.shape: tuple[int, ...] = tuple(data.shape[:-1])
        self.dtype = dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = key if isinstance(key, tuple) else (key,)
        key = key if any(part is Ellipsis for part in key) else (*key, Ellipsis)
        stored = np.ascontiguousarray(self.array[(*key, slice(None))])
        values = stored.view(self.dtype.newbyteorder("="))[..., 0]
        return np.asarray(values, self.dtype)


@dataclass(frozen=True)
class _Texts:
    """Text, each of type ``str``; what h5py 3.12 gives for it does not tell its shape."""

    array: h5py.Dataset

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of texts along each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def __getitem__(self, key: Any) -> Any:
        """Read some."""
        return self.array.asstr()[key]


def _decoded(data: h5py.Dataset) -> LazyArray:
    text = _text(data, "value_type")
    if not text:
        return _Texts(data) if h5py.check_string_dtype(data.dtype) else data
    try:
        return _Decoded(data, np.dtype(text))
    except TypeError as error:
        msg = f"value_type of {data.name} of {data.file.filename} is {text!r}; expected a type"
        raise SourceError(msg) from error


def _children(node: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    for name in node:
        child = node.get(name)
        if isinstance(child, h5py.Group | h5py.Dataset):
            yield name, child


def _text(node: h5py.Group | h5py.Dataset, name: str) -> str:
    value = node.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _extra(node: h5py.Group | h5py.Dataset) -> Mapping[str, Any]:
    text = _text(node, "extra_attributes")
    try:
        extra = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        msg = f"extra_attributes of {node.name} of {node.file.filename} are not JSON: {error}"
        raise SourceError(msg) from error
    if not isinstance(extra, dict):
        msg = f"extra_attributes of {node.name} are {text[:60]!r}; expected a JSON object"
        raise SourceError(msg)
    return extra
