"""The arrays of a group that elements go into, one after the other or point by point."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputWarning
from ndx_simulation_output.pymodaq.axes import Axis
from ndx_simulation_output.pymodaq.choices import DataDim
from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.numbering import numbers_of
from ndx_simulation_output.pymodaq.savers import AxisSaverLoader, described
from ndx_simulation_output.pymodaq.sets import DataToExport
from ndx_simulation_output.recording import ExportArray

__all__ = [
    "ERRORS",
    "NAV_AXES",
    "TIMES",
    "Channel",
    "Key",
    "channel_from",
    "elements_of",
    "existing",
    "keyed",
    "shape_of",
    "times_array",
]

NAV_AXES = "NavAxes"
ERRORS = "ErrorBar"
TIMES = "Times00"
"""Array of when each element was taken."""

Key = tuple[str, str, str, int]
"""Dimension, name and origin of data, and which of those that are equal in these."""


@dataclass(frozen=True)
class Channel:
    """The arrays of a group that elements go into, data, then errors, and ``times`` if it has any.

    ``shape`` and ``axes`` are those of an element.
    """

    path: str
    datasets: tuple[h5py.Dataset, ...]
    shape: tuple[int, ...]
    n_data: int
    times: h5py.Dataset | None
    axes: tuple[Axis, ...]

    def stored(self, data: DataWithAxes) -> list[NDArray[np.generic]]:
        """Give the values of an element as they are stored.

        Raises
        ------
        ShapeMismatchError
            If they do not fit the first element.

        """
        from ndx_simulation_output.nwb.exports import as_stored, encoded

        arrays = [*data.data, *(data.errors or ())]
        found = len(data.data), len(arrays), shape_of(data)
        expected = self.n_data, len(self.datasets), self.shape
        if found != expected:
            msg = (
                f"{data.name!r} has {found[0]} arrays and {found[1] - found[0]} errors of shape "
                f"{found[2]}; expected {expected[0]} and {expected[1] - expected[0]} of shape "
                f"{expected[2]}, as the first of {self.path} had"
            )
            raise ShapeMismatchError(msg)
        self._warn_of_other_axes(data)
        made = []
        for values in arrays:
            dtype, added, _ = encoded(values.dtype, self.path)
            made.append(as_stored(values.reshape(self.shape), dtype, added))
        return made

    def _warn_of_other_axes(self, data: DataWithAxes) -> None:
        for axis in data.axes:
            alike = [own for own in self.axes if own.index == axis.index]
            if alike and not any(np.array_equal(own.data, axis.data) for own in alike):
                msg = (
                    f"axis {axis.label!r} of {data.name!r} is not that of the first element of "
                    f"{self.path}, which is kept alone; save one that changes as data of its own"
                )
                warnings.warn(msg, SimulationOutputWarning, stacklevel=5)


def shape_of(data: DataWithAxes) -> tuple[int, ...]:
    """Shape of an element: single values have none."""
    return () if data.dim == DataDim.Data0D and prod(data.shape) == 1 else data.shape


def elements_of(
    data: DataWithAxes, prefix: str
) -> Iterator[tuple[ExportArray, np.dtype[np.generic]]]:
    """Describe the arrays that are to hold data of this kind, then their errors, with the types."""
    for start, role, arrays in ((prefix, "data", data.data), (ERRORS, "error", data.errors or ())):
        for number, values in enumerate(arrays):
            yield described(data, f"{start}{number:02d}", number, role), values.dtype


def times_array(*, grows: bool) -> ExportArray:
    """Describe the array of when each element was taken."""
    return ExportArray(
        TIMES, np.zeros(0), role="times", label="time of each element", unit="s", grows=grows
    )


def existing(group: h5py.Group, prefix: str) -> list[h5py.Dataset]:
    """Give the datasets of a prefix in a group, by their numbers."""
    from ndx_simulation_output.nwb.exports_reading import values_of

    return [values_of(group[f"{prefix}{n:02d}"]) for n in sorted(numbers_of(group, prefix))]


def channel_from(
    saver: H5SaverLowLevel, path: str, prefix: str, data: DataWithAxes, n_before: int
) -> Channel:
    """Give the channel of a group that has arrays of a prefix, for elements such as ``data``.

    The arrays have ``n_before`` dimensions before those of an element.
    """
    group = saver.h5(path)
    found = existing(group, prefix)
    datasets = (*found, *existing(group, ERRORS))
    saved = AxisSaverLoader(saver).get_axes(path)
    axes = tuple(axis.moved(-n_before) for axis in saved if axis.index >= n_before)
    return Channel(path, datasets, shape_of(data), len(found), group.get(TIMES), axes)


def keyed(export: DataToExport) -> dict[Key, DataWithAxes]:
    """Give the data of a set by what tells them apart."""
    found: dict[Key, DataWithAxes] = {}
    for light in export:
        which = 0
        while (light.dim.name, light.name, light.origin, which) in found:
            which += 1
        found[light.dim.name, light.name, light.origin, which] = light
    return found
