"""Properties that all elements of a channel share; a channel has the arrays of one kind of data."""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    RecordingError,
    ShapeMismatchError,
    SimulationOutputWarning,
    UnitError,
)
from ndx_simulation_output.nwb.arrays_hdf5 import clean_text
from ndx_simulation_output.nwb.arrays_reading import data_of, read_hdf5_array
from ndx_simulation_output.pymodaq.data import Axis, DataDim, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import numbers_of
from ndx_simulation_output.pymodaq.savers import AxisSaverLoader, describe_array, stored_axis
from ndx_simulation_output.pymodaq.values import converted_values, plain_values, stored_values
from ndx_simulation_output.recording import ArrayWithAxes
from ndx_simulation_output.recording.units import unit_ratio

ERROR_PREFIX = "ErrorBar"
TIMES = "Times00"


@dataclass(frozen=True)
class Channel:
    """The datasets of the arrays and errors of a channel, and of the times of its elements."""

    datasets: tuple[h5py.Dataset, ...]
    times: h5py.Dataset | None
    elements: "Elements"


@dataclass(frozen=True)
class Elements:
    """Properties that all elements of a channel share; ``dtypes`` are those of data and errors."""

    where: str
    name: str
    unit: str
    labels: tuple[str, ...]
    shape: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]
    nav_indexes: tuple[int, ...]
    axes: tuple[Axis, ...]
    extra: Mapping[str, Any]
    told: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, data: DataWithAxes, where: str) -> "Elements":
        """Describe the first element of a channel."""
        array = describe_array(data, "", 0, "data")
        return cls(
            where,
            name=_clean(data.name),
            unit=_clean(data.units),
            labels=tuple(map(_clean, data.labels)),
            shape=element_shape(data),
            dtypes=tuple(values.dtype for values in (*data.data, *(data.errors or ()))),
            nav_indexes=data.nav_indexes,
            axes=tuple(data.axes),
            extra=array.extra,
        )

    def stored(self, data: DataWithAxes) -> list[NDArray[np.generic]]:
        """Return the values of an element as they are stored; raise if it does not fit."""
        data.check_axes()
        self._check_shapes(data)
        ratio = unit_ratio(_clean(data.units), self.unit)
        if ratio is None:
            msg = (
                f"{data.name!r} for {self.where} has unit {data.units!r}; expected "
                f"{self.unit!r}, the unit of the first element, or one that can be converted to it"
            )
            raise UnitError(msg)
        if ratio != 1:
            self._note(f"{data.name!r} in {data.units} is converted to {self.unit}")
        order, found = self._order(data), []
        arrays = [data.data[n] for n in order] + [data.errors[n] for n in order if data.errors]
        for number, (values, dtype) in enumerate(zip(arrays, self.dtypes, strict=True)):
            label = f"{self.labels[number % len(order)]!r} of {data.name!r} in {self.where}"
            plain = plain_values(values, label)
            if plain.dtype.newbyteorder("=") != dtype.newbyteorder("="):
                self._note(f"{label} is {plain.dtype} and stored as {dtype}, as the first element")
            if ratio != 1:
                plain = converted_values(plain, ratio)
            found.append(stored_values(plain.reshape(self.shape), label, dtype))
        self._warn_of_other_axes(data)
        self._warn_of_other_attributes(data)
        return found

    def _check_shapes(self, data: DataWithAxes) -> None:
        n_errors = len(data.errors or ())
        found = len(data.data), n_errors, element_shape(data)
        expected = len(self.labels), len(self.dtypes) - len(self.labels), self.shape
        if found != expected:
            msg = (
                f"{data.name!r} has {found[0]} arrays and {found[1]} errors of shape {found[2]}; "
                f"expected {expected[0]} and {expected[1]} of shape {expected[2]}, as in the "
                f"first element of {self.where}"
            )
            raise ShapeMismatchError(msg)
        names = (_clean(data.name), data.nav_indexes), (self.name, self.nav_indexes)
        if names[0] != names[1]:
            what, expected_what = (f"{name!r} with nav_indexes {nav}" for name, nav in names)
            msg = f"the element for {self.where} is {what}; expected {expected_what}, as the first"
            raise RecordingError(msg)

    def _order(self, data: DataWithAxes) -> list[int]:
        """Return the index in ``data`` of the array of each label."""
        labels = list(map(_clean, data.labels))
        if labels == list(self.labels):
            return list(range(len(labels)))
        if sorted(labels) != sorted(self.labels) or len(set(labels)) < len(labels):
            msg = (
                f"{data.name!r} for {self.where} has the labels {', '.join(labels)}; expected "
                f"{', '.join(self.labels)}, as in the first element"
            )
            raise RecordingError(msg)
        self._note(f"arrays of {data.name!r} are put in the order {', '.join(self.labels)}")
        return [labels.index(label) for label in self.labels]

    def _warn_of_other_axes(self, data: DataWithAxes) -> None:
        for axis in data.axes:
            stored_axis(axis)
            if not any(_are_same_axis(own, axis) for own in self.axes):
                self._note(
                    f"axis {axis.label!r} of {data.name!r} differs from that of the first element "
                    f"of {self.where} and is not saved; save an axis that changes as data"
                )

    def _warn_of_other_attributes(self, data: DataWithAxes) -> None:
        found = describe_array(data, "", 0, "data").extra
        for name in {**self.extra, **found}:
            if json.dumps(found.get(name)) != json.dumps(self.extra.get(name)):
                self._note(
                    f"attribute {name!r} of {data.name!r} differs from that of the first element "
                    f"of {self.where} and is not saved; save an attribute that changes as data"
                )

    def _note(self, text: str) -> None:
        self.told.setdefault(text, False)

    def tell(self) -> list[str]:
        """Warn of what is converted or not saved, once for each channel; return new warnings."""
        texts = [text for text, is_told in self.told.items() if not is_told]
        for text in texts:
            self.told[text] = True
            warnings.warn(text, SimulationOutputWarning, stacklevel=6)
        return texts


def _clean(text: str) -> str:
    return clean_text(text) or ""


def _are_same_axis(saved: Axis, axis: Axis) -> bool:
    """Return True if both axes have the same values, after conversion to one unit."""
    ratio = unit_ratio(_clean(axis.units), _clean(saved.units))
    if (axis.index, _clean(axis.label)) != (saved.index, _clean(saved.label)) or ratio is None:
        return False
    values = converted_values(plain_values(axis.data, "an axis"), ratio)
    if ratio == 1:
        return np.array_equal(saved.data, values, equal_nan=True)
    return saved.size == axis.size and np.allclose(saved.data, values, rtol=1e-12, atol=0)


def open_channel(saver: H5SaverLowLevel, path: str, prefix: str, n_nav: int) -> Channel:
    """Open the arrays of a channel, whose first ``n_nav`` dimensions are those of its elements."""
    group = saver.h5(path)
    arrays, errors = (
        [read_hdf5_array(item.name.rpartition("/")[2], item) for item in items_of(group, start)]
        for start in (prefix, ERROR_PREFIX)
    )
    first, saved = arrays[0], AxisSaverLoader(saver).get_axes(path)
    return Channel(
        tuple(data_of(item) for start in (prefix, ERROR_PREFIX) for item in items_of(group, start)),
        group.get(TIMES),
        Elements(
            path,
            name=first.title,
            unit=first.unit,
            labels=tuple(array.label for array in arrays),
            shape=tuple(first.values.shape[n_nav:]),
            dtypes=tuple(array.values.dtype for array in (*arrays, *errors)),
            nav_indexes=tuple(index - n_nav for index in first.nav_indexes if index >= n_nav),
            axes=tuple(axis.moved(-n_nav) for axis in saved if axis.index >= n_nav),
            extra=first.extra,
        ),
    )


def items_of(group: h5py.Group, prefix: str) -> list[h5py.Group | h5py.Dataset]:
    """Return the arrays named by a prefix and a number, in the order of the numbers."""
    names = sorted(
        (name for name in group if numbers_of([name], prefix)),
        key=lambda name: numbers_of([name], prefix),
    )
    return [group[name] for name in names]


def element_shape(data: DataWithAxes) -> tuple[int, ...]:
    """Return the shape of an element, which is () for single values."""
    return () if data.dim == DataDim.Data0D and prod(data.shape) == 1 else data.shape


def describe_arrays(
    data: DataWithAxes, prefix: str
) -> Iterator[tuple[ArrayWithAxes, np.dtype[np.generic]]]:
    """Yield a description, without values, and the dtype of each array and error of data."""
    for start, role, arrays in (
        (prefix, "data", data.data),
        (ERROR_PREFIX, "error", data.errors or ()),
    ):
        for number, values in enumerate(arrays):
            yield describe_array(data, f"{start}{number:02d}", number, role), values.dtype


def describe_times(*, grows: bool) -> ArrayWithAxes:
    """Return a description of the times of elements."""
    return ArrayWithAxes(
        TIMES, np.zeros(0), role="times", label="time of each element", unit="s", grows=grows
    )
