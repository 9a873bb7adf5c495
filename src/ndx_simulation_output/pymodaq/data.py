"""Data with axes in memory, with the names and arguments of PyMoDAQ's."""

import copy
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.pymodaq.axes import Axis
from ndx_simulation_output.pymodaq.choices import DataDim, DataDistribution, DataSource
from ndx_simulation_output.pymodaq.genuine import pymodaq_data

__all__ = ["OWN_NAMES", "DataCalculated", "DataRaw", "DataWithAxes"]

OWN_NAMES = {"name", "source", "dim", "distribution", "data", "labels", "origin", "units", "axes"}
OWN_NAMES |= {"nav_indexes", "errors", "timestamp", "extra_attributes", "path"}
OWN_NAMES |= {"shape", "length", "sig_indexes"}
"""Names that a further attribute cannot have."""


class DataWithAxes:
    """Arrays of one shape, ``data``, with their axes and optional ``errors`` of the same shape.

    Further arguments become attributes, listed in ``extra_attributes``. ``timestamp`` is in seconds
    since 1970. Loaded data have ``times`` too if the time of each element was saved: in seconds
    since 1970, NaN for points of a scan that were not reached.

    Example
    -------
    >>> DataWithAxes("mydata", source="raw", data=[np.zeros((2, 3))])
    <DataWithAxes, mydata, (|2, 3)>

    """

    def __init__(
        self,
        name: str,
        source: Any = None,
        dim: Any = None,
        distribution: Any = DataDistribution.uniform,
        data: Any = None,
        labels: Iterable[str] = (),
        origin: str = "",
        units: str = "",
        axes: Iterable[Any] = (),
        nav_indexes: Iterable[int] = (),
        errors: Any = None,
        timestamp: float | None = None,
        **extra: Any,
    ) -> None:
        """Make data. A given ``dim`` is ignored: shape, axes and navigation determine it.

        Raises
        ------
        TypeError
            If there are no arrays.
        ValueError
            If the source is not given.
        ShapeMismatchError
            If arrays or errors differ in shape.

        """
        del dim
        self.name, self.origin, self.units = name, origin or "", units or ""
        self.source = DataSource.of(source)
        self.data = _arrays(name, data)
        self.errors = None if errors is None else _arrays(f"{name} errors", errors)
        _check_shapes(name, [*self.data, *(self.errors or ())])
        self.labels = list(labels)
        self.labels += [f"CH{n:02d}" for n in range(len(self.labels), len(self.data))]
        self.axes = [Axis.of(axis) for axis in axes]
        self.nav_indexes = tuple(int(index) for index in nav_indexes or ())
        given = DataDistribution.of(distribution)
        self.distribution = given if self.nav_indexes else DataDistribution.uniform
        self.timestamp = time.time() if timestamp is None else float(timestamp)
        self.times: NDArray[np.float64] | None = None
        self.extra_attributes = list(extra)
        for key, value in extra.items():
            setattr(self, key, value)

    @classmethod
    def of(cls, data: Any) -> "DataWithAxes":
        """Return data of this class, from those of PyMoDAQ for instance; arrays are not copied."""
        if isinstance(data, DataWithAxes):
            return data
        names = ("source", "distribution", "labels", "origin", "axes", "nav_indexes", "timestamp")
        return DataWithAxes(
            data.name,
            data=list(data.data),
            units=str(data.units or ""),
            errors=getattr(data.errors, "data", data.errors),
            **{name: getattr(data, name) for name in (*names, *data.extra_attributes)},
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of each array."""
        return tuple(self.data[0].shape)

    @property
    def length(self) -> int:
        """Number of arrays."""
        return len(self.data)

    @property
    def sig_indexes(self) -> tuple[int, ...]:
        """Dimensions that are not navigation."""
        return tuple(n for n in range(len(self.shape)) if n not in self.nav_indexes)

    @property
    def dim(self) -> DataDim:
        """Number of dimensions of the data."""
        rank = len(self.shape)
        if self.nav_indexes or rank > 2:
            return DataDim.DataND
        if rank == 1 and len(self.axes) != 1 and self.data[0].size == 1:
            return DataDim.Data0D
        return DataDim(rank)

    def get_axis_from_index(self, index: int) -> list[Axis]:
        """Return the axes of a dimension, in their order."""
        found = [axis for axis in self.axes if axis.index == index]
        return sorted(found, key=lambda axis: axis.spread_order)

    def get_nav_axes(self) -> list[Axis]:
        """Return the navigation axes."""
        return [axis for axis in self.axes if axis.index in self.nav_indexes]

    def deepcopy(self) -> "DataWithAxes":
        """Return a copy that shares nothing."""
        return copy.deepcopy(self)

    def to_pymodaq(self) -> Any:
        """Return data of ``pymodaq_data`` (extra ``pymodaq``)."""
        names = ("data", "origin", "units", "nav_indexes", "errors", *self.extra_attributes)
        made = pymodaq_data().DataWithAxes(
            self.name,
            source=self.source.name,
            distribution=self.distribution.name,
            labels=list(self.labels),
            axes=[axis.to_pymodaq() for axis in self.axes],
            **{name: getattr(self, name) for name in names},
        )
        made.timestamp = self.timestamp
        return made

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return the array at an index."""
        return self.data[index]

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        """Return True if names, units, arrays, errors and axes are equal."""
        if not hasattr(other, "nav_indexes"):
            return NotImplemented
        data = DataWithAxes.of(other)
        return (
            (self.name, self.units, self.nav_indexes) == (data.name, data.units, data.nav_indexes)
            and _are_equal(self.data, data.data)
            and _are_equal(self.errors, data.errors)
            and all(
                self.get_axis_from_index(n) == data.get_axis_from_index(n)
                for n in range(max(len(self.shape), 1))
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the text that PyMoDAQ shows."""
        nav = ", ".join(str(self.shape[index]) for index in self.nav_indexes)
        signal = ", ".join(str(self.shape[index]) for index in self.sig_indexes)
        return f"<{type(self).__name__}, {self.name}, ({nav}|{signal})>"


class DataRaw(DataWithAxes):
    """Data as they were recorded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make data; the arguments are those of :class:`DataWithAxes`, without the source."""
        super().__init__(*args, **{**kwargs, "source": DataSource.raw})


class DataCalculated(DataWithAxes):
    """Data that were calculated from others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make data; the arguments are those of :class:`DataWithAxes`, without the source."""
        super().__init__(*args, **{**kwargs, "source": DataSource.calculated})


def _arrays(name: str, data: Any) -> list[NDArray[Any]]:
    if isinstance(data, np.ndarray | int | float | complex | np.generic):
        data = [np.atleast_1d(data)]
    found = list(data) if data is not None else []
    if not found or not all(isinstance(array, np.ndarray) and array.ndim for array in found):
        msg = f"the data of {name!r} are {str(data)[:60]}; expected a list of arrays"
        raise TypeError(msg)
    return found


def _check_shapes(name: str, arrays: Sequence[NDArray[Any]]) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        found = ", ".join(map(str, sorted(shapes)))
        msg = f"the arrays of {name!r} have shapes {found}; expected one shape"
        raise ShapeMismatchError(msg)


def _are_equal(some: Sequence[NDArray[Any]] | None, other: Sequence[NDArray[Any]] | None) -> bool:
    if some is None or other is None:
        return some is other
    return len(some) == len(other) and all(
        np.array_equal(one, two, equal_nan=one.dtype.kind in "fc" and two.dtype.kind in "fc")
        for one, two in zip(some, other, strict=True)
    )
