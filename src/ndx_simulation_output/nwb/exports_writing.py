"""Write what instruments gave into an NWB file, a block at a time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import h5py
import numpy as np

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb.exports import (
    HowStored,
    as_stored,
    create_array,
    create_axis,
    create_group,
    create_series,
    encoded,
    unlike,
)
from ndx_simulation_output.recording import ExportArray, ExportAxis, ExportGroup, LazyArray
from ndx_simulation_output.recording.arrays import BLOCK_BYTES, size_in_bytes
from ndx_simulation_output.recording.exports import is_nav_group

__all__ = ["bytes_of", "can_be_series", "reference_time", "write_exports"]

_MOST_DIMENSIONS = 4
"""A time series has no more."""


def write_exports(
    file: h5py.File,
    exports: tuple[ExportGroup, ...],
    how: HowStored = HowStored(),  # noqa: B008 - frozen
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write groups of instruments into the acquisition of a file.

    Raises
    ------
    SourceError
        If a source cannot be read.
    ExportError
        If values are Python objects other than text.

    """
    place = file.require_group("acquisition")
    writer = _Writer(reference_time(file), how, progress or (lambda _: None))
    for export in exports:
        writer.write(place, replace(export, name=unlike(place, export.name)))


def bytes_of(exports: tuple[ExportGroup, ...]) -> int:
    """Size of the values of all arrays and axes."""
    groups = [group for export in exports for _, group in export.walk()]
    arrays = sum(size_in_bytes(array.values) for group in groups for array in group.arrays)
    return arrays + sum(size_in_bytes(axis.values) for group in groups for axis in group.axes)


def reference_time(file: h5py.File) -> float:
    """When the time of a file is 0, in seconds since 1970-01-01 in UTC."""
    text = file["timestamps_reference_time"].asstr()[()]
    return datetime.fromisoformat(text).timestamp()


def can_be_series(array: ExportArray, nav: tuple[ExportAxis, ...]) -> ExportAxis | None:
    """Give the axis of the times of an array, if its one navigation axis is of times in seconds."""
    along = [axis for axis in nav if axis.index == 0]
    rank, kind = len(array.values.shape), array.values.dtype.kind
    if not array.grows or len(along) != 1 or not 1 <= rank <= _MOST_DIMENSIONS or kind not in "iuf":
        return None
    (time,) = along
    named = time.label.casefold() == "time" and time.unit == "s"
    return time if named and time.values.shape == array.values.shape[:1] else None


class _Writer:
    """Writes groups; ``reference`` is when the time of the file is 0."""

    def __init__(self, reference: float, how: HowStored, progress: Callable[[int], object]) -> None:
        self._reference, self._how, self._progress = reference, how, progress
        self._timestamps: dict[int, h5py.Dataset] = {}

    def write(
        self, parent: h5py.Group, group: ExportGroup, nav: tuple[ExportAxis, ...] | None = None
    ) -> None:
        """Write a group; ``nav`` are the navigation axes, None for one that is in no other."""
        top = nav is None
        below = [found for found in group.groups if is_nav_group(found.name)]
        nav = below[0].axes if below else nav or ()
        times = {array.name: can_be_series(array, nav) for array in group.arrays}
        simple = not (top or group.groups or any(times.values()))
        made = create_group(parent, group, "DataWithAxes" if simple else "DataToExport")
        for axis in group.axes:
            axis = replace(axis, name=unlike(made, axis.name))  # noqa: PLW2901
            dataset = create_axis(made, axis, tuple(axis.values.shape), axis.values.dtype)
            self._fill(dataset, axis.values)
        for array in group.arrays:
            named = replace(array, name=unlike(made, array.name))
            self._array(made, named, times[array.name])
        for child in group.groups:
            self.write(made, replace(child, name=unlike(made, child.name)), nav)

    def _array(self, group: h5py.Group, array: ExportArray, time: ExportAxis | None) -> None:
        shape, dtype = tuple(array.values.shape), array.values.dtype
        if time is None:
            self._fill(create_array(group, array, shape, dtype, self._how), array.values)
            return
        series = create_series(group, array, shape, dtype, self._how)
        self._fill(series["data"], array.values)
        known = self._timestamps.get(id(time))
        if known is not None:
            series["timestamps"] = h5py.SoftLink(known.name)
            return
        seconds = np.asarray(time.values[()], np.float64) - self._reference
        made = series.create_dataset("timestamps", data=seconds, maxshape=(None,), chunks=True)
        made.attrs["interval"] = np.int32(1)
        made.attrs["unit"] = "seconds"
        self._timestamps[id(time)] = made

    def _fill(self, dataset: h5py.Dataset, values: LazyArray) -> None:
        stored, added, _ = encoded(values.dtype, dataset.name)
        for block in _blocks(tuple(values.shape), values.dtype.itemsize):
            try:
                found = np.asarray(values[block])
            except (OSError, RuntimeError) as error:
                msg = f"cannot read the values of {dataset.name}: {error}"
                raise SourceError(msg) from error
            dataset[block] = as_stored(found, stored, added)
            self._progress(found.nbytes)


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Cut an array into blocks of bounded size: rows, and parts of a row that is too large."""
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
