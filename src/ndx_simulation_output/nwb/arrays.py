"""Map groups of arrays with axes to NWB objects."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import GenericDataChunkIterator
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.core import VectorData
from pynwb.epoch import TimeIntervals

from ndx_simulation_output.errors import ExportError, source_errors
from ndx_simulation_output.nwb.arrays_hdf5 import (
    HowStored,
    as_stored,
    axis_description,
    clean_text,
    encoded,
    json_text,
    text_attributes,
)
from ndx_simulation_output.nwb.arrays_reading import UNKNOWN_UNIT
from ndx_simulation_output.nwb.series import free_nwb_name
from ndx_simulation_output.nwb.types import (
    AxesTimeSeries,
    Axis,
    DataToExport,
    DataWithAxes,
    LabeledArray,
)
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes, LazyArray
from ndx_simulation_output.recording.array_groups import INTERVALS, is_nav_group
from ndx_simulation_output.recording.arrays import (
    BLOCK_BYTES,
    LazyArrayBase,
    place_in_file,
    read_all,
    size_in_bytes,
)

_Progress = Callable[[int], object]

WrapLabeledArray = Callable[..., Any]
"""Function of the values and ``grows`` that returns the data of an array: the values themselves,
or a placeholder until they are written."""

_RESERVED = {"id", "name", "description", "colnames", "columns", "tags", "timeseries"}
"""Attributes of a table of intervals, which no column of arrays can have as its name."""
_MOST_DIMENSIONS = 4
"""Maximum number of dimensions of a time series."""
_SMALL_BYTES = 2**16
_TEXT_BYTES = 2**8
"""Size of a text in memory, as it is estimated."""
_BUFFER_GB = 0.064
_CHUNK_MB = 10.0
"""Size of chunks, as hdmf chooses it."""
_CHUNK_BYTES = 2**22
"""Size of the chunks of a column that can grow, as hdmf chooses it."""


def load_array(values: LazyArray, *, grows: bool = False) -> Any:  # noqa: ARG001
    """Return the values of an array."""
    return read_all(values)


class ArrayBlocks(GenericDataChunkIterator):  # type: ignore[misc]
    """Reads an array block by block while hdmf writes it."""

    def __init__(self, array: LazyArray, progress: _Progress | None = None, **shapes: Any) -> None:
        self._array, self._progress = array, progress
        super().__init__(**(shapes or {"buffer_gb": _BUFFER_GB}))

    def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        with source_errors(lambda: f"cannot read {selection} of {place_in_file(self._array)}"):
            values = np.asarray(self._array[selection])
        if self._progress is not None:
            self._progress(values.nbytes)
        return values

    def _get_maxshape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    def _get_dtype(self) -> np.dtype[Any]:
        return self._array.dtype.newbyteorder("=")


def array_blocks(
    values: LazyArray,
    *,
    grows: bool = False,
    progress: _Progress | None = None,
    chunk_mb: float = _CHUNK_MB,
) -> Any:
    """Return the values of a small array, or an iterator that reads a large one in blocks."""
    if values.dtype.kind != "O" and size_in_bytes(values) >= _SMALL_BYTES:
        return ArrayBlocks(values, progress, buffer_gb=_BUFFER_GB, chunk_mb=chunk_mb)
    if progress is not None:
        progress(size_in_bytes(values))
    return load_array(values, grows=grows)


class DeferredArrays:
    """Arrays whose values are written after their empty datasets were created in an HDF5 file."""

    def __init__(self, how: HowStored) -> None:
        self._how = how
        self._wrapped: list[tuple[H5DataIO, LazyArray]] = []

    def wrap(self, values: LazyArray, *, grows: bool = False) -> Any:
        """Return an empty dataset for an array."""
        shape = tuple(values.shape)
        is_text = values.dtype.kind == "O"
        dtype = h5py.string_dtype() if is_text else values.dtype.newbyteorder("=")
        options = self._how.options(shape, dtype.itemsize, grows=grows)
        wrapped = H5DataIO(shape=shape, dtype=dtype, **options)
        self._wrapped.append((wrapped, values))
        return wrapped

    def wrap_growing(self, values: LazyArray) -> Any:
        """Return an empty dataset for a column to which rows can be added, or a few values."""
        is_text = values.dtype.kind == "O"
        if values.shape[0] * (_TEXT_BYTES if is_text else values.dtype.itemsize) < _SMALL_BYTES:
            return values[:].tolist() if is_text else values[:]
        chunk = min(values.shape[0], _CHUNK_BYTES // (32 if is_text else values.dtype.itemsize))
        dtype = h5py.string_dtype() if is_text else values.dtype
        rest = tuple(values.shape[1:])
        wrapped = H5DataIO(
            shape=tuple(values.shape), dtype=dtype, maxshape=(None, *rest), chunks=(chunk, *rest)
        )
        self._wrapped.append((wrapped, values))
        return wrapped

    @property
    def n_bytes(self) -> int:
        """Size of all values."""
        return sum(size_in_bytes(values) for _, values in self._wrapped)

    def write(self, progress: _Progress | None = None) -> None:
        """Write the values in blocks of bounded size."""
        for wrapped, values in self._wrapped:
            itemsize = _TEXT_BYTES if values.dtype.kind == "O" else values.dtype.itemsize
            for block in _blocks(tuple(values.shape), itemsize):
                with source_errors(f"cannot read the values of {wrapped.dataset.name}"):
                    found = np.asarray(values[block])
                wrapped.dataset[block] = found
                if progress is not None:
                    progress(found.nbytes)


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Yield the indexes of blocks of bounded size: rows, or parts of rows that are too large."""
    if not shape or 0 in shape:
        if not shape:
            yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    if row > BLOCK_BYTES and len(shape) > 1:
        for index in range(shape[0]):
            for rest in _blocks(shape[1:], itemsize):
                yield (slice(index, index + 1), *rest)
        return
    step = max(1, BLOCK_BYTES // max(1, row))
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])), *(slice(None) for _ in shape[1:]))


def bytes_of(groups: Iterable[ArrayGroup]) -> int:
    """Return the size of the values of all arrays and axes."""
    found = [inner for group in groups for _, inner in group.walk()]
    total = sum(size_in_bytes(array.values) for group in found for array in group.arrays)
    return total + sum(size_in_bytes(axis.values) for group in found for axis in group.axes)


def add_arrays(
    nwbfile: NWBFile, groups: Iterable[ArrayGroup], wrap: WrapLabeledArray = load_array
) -> dict[str, str]:
    """Add groups to the acquisition, or to the intervals; return their names by those in NWB."""
    mapper = _Mapper(nwbfile.timestamps_reference_time.timestamp(), wrap)
    names = {}
    for group in groups:
        name = free_nwb_name(group.name, {*nwbfile.acquisition, *(nwbfile.intervals or ())})
        if group.kind == INTERVALS:
            nwbfile.add_time_intervals(_intervals(group, name))
        else:
            nwbfile.add_acquisition(mapper.group(group, name))
        names[name] = group.name
    return names


def _intervals(group: ArrayGroup, name: str) -> TimeIntervals:
    columns: list[VectorData] = []
    for array in group.arrays:
        column = free_nwb_name(array.name, {*_RESERVED, *(one.name for one in columns)})
        values, unit = read_all(array.values), array.unit and f" ({array.unit})"
        data = values.tolist() if values.dtype.kind in "OSU" else values
        text = f"{array.label or array.name}{unit}"
        columns.append(VectorData(name=column, description=text, data=data))
    text = clean_text(group.title) or f"Intervals {name}"
    return TimeIntervals(name=name, description=text, columns=columns)


def _time_axis(array: ArrayWithAxes, nav: tuple[ArrayAxis, ...]) -> ArrayAxis | None:
    """Return the time axis of an array if it can be stored as a time series, else None."""
    along = [axis for axis in nav if axis.index == 0]
    rank, kind = len(array.values.shape), array.values.dtype.kind
    if not array.grows or len(along) != 1 or not 1 <= rank <= _MOST_DIMENSIONS or kind not in "iuf":
        return None
    (time,) = along
    is_time = time.label.casefold() == "time" and time.unit == "s"
    return time if is_time and time.values.shape == array.values.shape[:1] else None


@dataclass(frozen=True)
class _Encoded(LazyArrayBase):
    """Numeric encoding of scalars, and of values whose type NWB does not support."""

    array: LazyArray
    dtype: np.dtype[Any]
    added: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.array.shape, *self.added)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        rank = len(self.array.shape)
        values = np.asarray(self.array[slices[:rank]], self.array.dtype)
        of_added: Any = (..., *slices[rank:])
        encoded: NDArray[Any] = as_stored(values, self.dtype, self.added)[of_added]
        return encoded


class _Mapper:
    """Creates NWB objects; ``reference`` is time 0 of the file, in seconds since 1970."""

    def __init__(self, reference: float, wrap: WrapLabeledArray) -> None:
        self._reference, self._wrap = reference, wrap
        self._first_series: dict[int, AxesTimeSeries] = {}

    def group(self, group: ArrayGroup, name: str, nav: tuple[ArrayAxis, ...] = ()) -> Any:
        """Return the NWB object of a group; ``nav`` are the navigation axes of enclosing groups."""
        nav = next((inner.axes for inner in group.groups if is_nav_group(inner.name)), nav)
        names: list[str] = []
        axes = [self._axis(axis, _add_name(names, axis.name)) for axis in group.axes]
        arrays, inside = [], []
        for array in group.arrays:
            array_name, time = _add_name(names, array.name), _time_axis(array, nav)
            if time is None:
                arrays.append(self._array(array, array_name))
            else:
                inside.append(self._series(array, array_name, time))
        inside += [self.group(inner, _add_name(names, inner.name), nav) for inner in group.groups]
        facts = {
            "name": name,
            "title": clean_text(group.title),
            "group_type": clean_text(group.kind),
            "settings": clean_text(group.settings),
            "extra_attributes": json_text(group.extra),
            "labeled_arrays": arrays,
            "axis": axes,
        }
        if inside:
            return DataToExport(nwb_data_interfaces=inside, **facts)
        return DataWithAxes(**facts)

    def _axis(self, axis: ArrayAxis, name: str) -> Any:
        return Axis(
            name=name,
            data=self._wrap(axis.values, grows=axis.grows),
            description=axis_description(axis),
            label=clean_text(axis.label),
            unit=clean_text(axis.unit),
            index=axis.index,
            spread_order=axis.spread_order,
        )

    def _array(self, array: ArrayWithAxes, name: str) -> Any:
        stored, added, value_type = encoded(array.values.dtype, name)
        values = array.values
        if values.dtype.kind == "O":
            values = _texts(values, name)
        elif not values.shape and not added:
            # hdmf does not preserve shape (), so a scalar is stored with shape (1,).
            values, value_type = _Encoded(values, stored, (1,)), values.dtype.str
        elif added:
            values = _Encoded(values, stored, added)
        return LabeledArray(
            name=name,
            data=self._wrap(values, grows=array.grows),
            unit=clean_text(array.unit),
            value_type=value_type,
            **_attributes(array),
        )

    def _series(self, array: ArrayWithAxes, name: str, time: ArrayAxis) -> Any:
        timestamps: Any = self._first_series.get(id(time))
        if timestamps is None:
            seconds = read_all(time.values).astype(np.float64) - self._reference
            timestamps = self._wrap(seconds, grows=True)
        series = AxesTimeSeries(
            name=name,
            data=self._wrap(array.values, grows=array.grows),
            unit=clean_text(array.unit) or UNKNOWN_UNIT,
            description=clean_text(array.title) or "no description",
            timestamps=timestamps,
            **_attributes(array),
        )
        self._first_series.setdefault(id(time), series)
        return series


def _add_name(names: list[str], name: str) -> str:
    names.append(free_nwb_name(name, names))
    return names[-1]


def _texts(values: LazyArray, name: str) -> NDArray[Any]:
    texts = np.atleast_1d(np.asarray(values[()], object))  # hdmf cannot write a single text.
    if not all(isinstance(text, str) for text in texts.flat):
        msg = f"{name} holds Python objects; expected an array of numbers or text"
        raise ExportError(msg)
    return texts


def _attributes(array: ArrayWithAxes) -> dict[str, Any]:
    nav = np.asarray(array.nav_indexes, np.int32) if array.nav_indexes else None
    return {**text_attributes(array), "nav_indexes": nav, "timestamp": array.timestamp}
