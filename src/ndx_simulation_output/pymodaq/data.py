"""In-memory axes, data with axes and data sets, with the names and arguments of PyMoDAQ."""

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.optional import import_optional

if TYPE_CHECKING:
    from typing_extensions import Self

ROLES = {
    "data": "data",
    "data_enlargeable": "data",
    "bkg": "background",
    "error": "error",
    "log": "log",
    "strings": "log",
}
"""Role of arrays by PyMoDAQ's type of data; arrays of other types have it as their role."""

RESERVED_NAMES = {"name", "source", "dim", "distribution", "data", "labels", "origin", "units"}
RESERVED_NAMES |= {"axes", "nav_indexes", "errors", "timestamp", "extra_attributes", "path"}
RESERVED_NAMES |= {"shape", "length", "sig_indexes"}
"""Names that extra attributes of data cannot have."""


class _NamedEnum(Enum):
    """An enumeration whose members compare equal to their names, as in PyMoDAQ."""

    def __eq__(self, other: object) -> bool:
        """Return True if the names are equal, ignoring case."""
        name = getattr(other, "name", other)
        return isinstance(name, str) and name.casefold() == self.name.casefold()

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.name)

    @classmethod
    def of(cls, value: Any) -> "Self":
        """Return the member with the name ``value``, or with the name of the member ``value``."""
        for member in cls:
            if member == value:
                return member
        msg = f"{value!r} is not a {cls.__name__}; expected one of {', '.join(cls.__members__)}"
        raise ValueError(msg)


class DataDim(_NamedEnum):
    """Number of dimensions of the signal."""

    Data0D = 0
    Data1D = 1
    Data2D = 2
    DataND = 3


class DataSource(_NamedEnum):
    """Origin of data: recorded, or calculated from other data."""

    raw = 0
    calculated = 1


class DataDistribution(_NamedEnum):
    """Type of the navigation axes: a regular grid (uniform), or a list of points (spread)."""

    uniform = 0
    spread = 1


class Axis:
    """Values of an independent variable, shape (value,), along dimension ``index`` of arrays.

    The values are ``data`` if specified. Otherwise, they are ``offset + scaling * arange(size)``.

    Example
    -------
    >>> Axis("myaxis", units="seconds", data=np.array([3, 7, 11, 15]))
    Axis: <label: myaxis> - <units: seconds> - <index: 0>

    """

    def __init__(
        self,
        label: str = "",
        units: str = "",
        data: NDArray[Any] | None = None,
        index: int = 0,
        scaling: float | None = None,
        offset: float | None = None,
        size: int | None = None,
        spread_order: int = 0,
    ) -> None:
        """Create an axis.

        Raises
        ------
        TypeError
            If both ``data`` and ``size`` are missing, or ``data`` is not a numpy array.
        ValueError
            If ``data`` does not have one dimension, or ``index`` is negative.

        """
        if data is None:
            if size is None:
                msg = f"axis {label!r} has neither data nor size; expected one of them"
                raise TypeError(msg)
            data = (offset or 0.0) + (1.0 if scaling is None else scaling) * np.arange(size)
        if not isinstance(data, np.ndarray):
            msg = f"the data of axis {label!r} are {type(data).__name__}; expected a numpy array"
            raise TypeError(msg)
        if data.ndim != 1 or index < 0:
            msg = (
                f"axis {label!r} has data of shape {data.shape} and index {index}; expected one "
                "dimension and an index of 0 or more"
            )
            raise ValueError(msg)
        self.label, self.units, self.data = label, units, data
        self.index, self.spread_order = int(index), int(spread_order or 0)

    @classmethod
    def of(cls, axis: Any) -> "Axis":
        """Convert an axis of PyMoDAQ to this class; axes of this class are returned unchanged."""
        if isinstance(axis, cls):
            return axis
        values = np.asarray(axis.get_data())
        return cls(axis.label, axis.units, values, axis.index, spread_order=axis.spread_order)

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.data)

    def get_data(self) -> NDArray[Any]:
        """Return the values."""
        return self.data

    def moved(self, dimensions: int) -> "Axis":
        """Return the axis with ``dimensions`` added to its index.

        It describes the same values in an array to which leading dimensions were added.
        """
        index = self.index + dimensions
        return Axis(self.label, self.units, self.data, index, spread_order=self.spread_order)

    def to_pymodaq(self) -> Any:
        """Convert to an axis of ``pymodaq_data``, which stores linear values as offset and step."""
        return _pymodaq_data().Axis(
            self.label, self.units, self.data, self.index, spread_order=self.spread_order
        )

    def __eq__(self, other: object) -> bool:
        """Return True if label, units, index and all values are equal."""
        if not hasattr(other, "get_data"):
            return NotImplemented
        axis = Axis.of(other)
        same = (self.label, self.units, self.index) == (axis.label, axis.units, axis.index)
        return same and np.array_equal(self.data, axis.data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the same representation as PyMoDAQ."""
        return f"Axis: <label: {self.label}> - <units: {self.units}> - <index: {self.index}>"


class DataWithAxes:
    """A list of arrays of equal shape, ``data``, with axes and optional ``errors`` of that shape.

    Other keyword arguments become attributes, listed in ``extra_attributes``. ``timestamp`` is in
    seconds since 1970. If the time of each element was saved, loaded data have an array ``times``,
    in seconds since 1970, which is NaN for points of a scan that were not measured.

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
        """Create data. ``dim`` is ignored, as it is computed from shape, axes and ``nav_indexes``.

        Raises
        ------
        TypeError
            If ``data`` is not a list of arrays.
        ValueError
            If ``source`` or ``distribution`` is not a member of its enumeration.
        ShapeMismatchError
            If arrays or errors differ in shape or number, or the length of an axis is not that of
            the arrays along its dimension.

        """
        del dim
        self.name, self.origin, self.units = name, origin or "", units or ""
        self.source = DataSource.of(source)
        self.data = _arrays(name, data)
        self.errors = None if errors is None else _arrays(f"{name} errors", errors)
        _check_shapes(name, [*self.data, *(self.errors or ())])
        if self.errors is not None and len(self.errors) != len(self.data):
            found = f"{len(self.data)} arrays and {len(self.errors)} errors"
            msg = f"{name!r} has {found}; expected an error for each array"
            raise ShapeMismatchError(msg)
        self.labels = list(labels)
        self.labels += [f"CH{n:02d}" for n in range(len(self.labels), len(self.data))]
        self.axes = [Axis.of(axis) for axis in axes]
        self.check_axes()
        self.nav_indexes = tuple(int(index) for index in nav_indexes or ())
        named = DataDistribution.of(distribution)
        self.distribution = named if self.nav_indexes else DataDistribution.uniform
        self.timestamp = time.time() if timestamp is None else float(timestamp)
        self.times: NDArray[np.float64] | None = None
        self.extra_attributes = list(extra)
        for key, value in extra.items():
            setattr(self, key, value)

    @classmethod
    def of(cls, data: Any) -> "DataWithAxes":
        """Convert data of PyMoDAQ to this class, without copying the arrays."""
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
        """Indexes of the signal dimensions, which are all dimensions not in ``nav_indexes``."""
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
        """Return the axes along a dimension, sorted by ``spread_order``."""
        found = [axis for axis in self.axes if axis.index == index]
        return sorted(found, key=lambda axis: axis.spread_order)

    def get_nav_axes(self) -> list[Axis]:
        """Return the navigation axes."""
        return [axis for axis in self.axes if axis.index in self.nav_indexes]

    def check_axes(self) -> None:
        """Raise ShapeMismatchError if an axis does not fit the arrays, such as one set later."""
        for axis in self.axes:
            length = self.shape[axis.index] if axis.index < len(self.shape) else None
            if axis.size != length:
                msg = (
                    f"axis {axis.label!r} of {self.name!r} has {axis.size} values for dimension "
                    f"{axis.index} of arrays of shape {self.shape}; expected one value for each "
                    "index"
                )
                raise ShapeMismatchError(msg)

    def deepcopy(self) -> "DataWithAxes":
        """Return a deep copy, including all arrays."""
        return copy.deepcopy(self)

    def to_pymodaq(self) -> Any:
        """Convert to data of ``pymodaq_data``, which is installed by the extra ``pymodaq``."""
        names = ("data", "origin", "units", "nav_indexes", "errors", *self.extra_attributes)
        converted = _pymodaq_data().DataWithAxes(
            self.name,
            source=self.source.name,
            distribution=self.distribution.name,
            labels=list(self.labels),
            axes=[axis.to_pymodaq() for axis in self.axes],
            **{name: getattr(self, name) for name in names},
        )
        converted.timestamp = self.timestamp
        return converted

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
        """Return the same representation as PyMoDAQ."""
        nav = ", ".join(str(self.shape[index]) for index in self.nav_indexes)
        signal = ", ".join(str(self.shape[index]) for index in self.sig_indexes)
        return f"<{type(self).__name__}, {self.name}, ({nav}|{signal})>"


class DataRaw(DataWithAxes):
    """Recorded data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create data, with the arguments of :class:`DataWithAxes` except ``source``."""
        super().__init__(*args, **{**kwargs, "source": DataSource.raw})


class DataCalculated(DataWithAxes):
    """Data calculated from other data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create data, with the arguments of :class:`DataWithAxes` except ``source``."""
        super().__init__(*args, **{**kwargs, "source": DataSource.calculated})


def _arrays(name: str, data: Any) -> list[NDArray[Any]]:
    if isinstance(data, np.ndarray | int | float | complex | np.generic):
        data = [np.atleast_1d(data)]
    arrays = list(data) if data is not None else []
    if not arrays or not all(isinstance(array, np.ndarray) and array.ndim for array in arrays):
        msg = f"the data of {name!r} are {str(data)[:60]}; expected a list of arrays"
        raise TypeError(msg)
    return arrays


def _check_shapes(name: str, arrays: Sequence[NDArray[Any]]) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        found = ", ".join(map(str, sorted(shapes)))
        msg = f"the arrays of {name!r} have shapes {found}; expected one shape"
        raise ShapeMismatchError(msg)


def _are_equal(first: Sequence[NDArray[Any]] | None, second: Sequence[NDArray[Any]] | None) -> bool:
    if first is None or second is None:
        return first is second
    return len(first) == len(second) and all(
        np.array_equal(one, two, equal_nan=one.dtype.kind in "fc" and two.dtype.kind in "fc")
        for one, two in zip(first, second, strict=True)
    )


class DataToExport:
    """A data set: a collection of related data, which can differ in shape.

    Example
    -------
    >>> import numpy as np
    >>> from ndx_simulation_output.pymodaq import DataRaw
    >>> DataToExport("all", [DataRaw("temperature", data=[np.array([21.5])], units="degC")])
    DataToExport: all <len:1>
        * <DataRaw, temperature, (|1)>

    """

    def __init__(
        self, name: str, data: Iterable[Any] = (), *, timestamp: float | None = None
    ) -> None:
        """Create a data set without modifying the data."""
        self.name, self.data = name, [DataWithAxes.of(item) for item in data]
        self.timestamp = time.time() if timestamp is None else float(timestamp)

    @classmethod
    def of(cls, export: Any) -> "DataToExport":
        """Convert a data set of PyMoDAQ; data sets of this class are returned unchanged."""
        if isinstance(export, cls):
            return export
        return cls(export.name, export.data, timestamp=export.timestamp)

    def append(self, data: Any) -> None:
        """Append data, or all data of a data set, without replacing data of the same name."""
        added = data.data if isinstance(data, DataToExport) else [DataWithAxes.of(data)]
        self.data.extend(added)

    def get_data_from_dim(self, dim: Any) -> "DataToExport":
        """Return a data set of all data with this ``dim``, such as ``Data1D``."""
        found = [data for data in self.data if data.dim == DataDim.of(dim)]
        return DataToExport(self.name, found, timestamp=self.timestamp)

    def get_data_from_name(self, name: str) -> DataWithAxes | None:
        """Return the first data with this name, or None if there are none."""
        return next((data for data in self.data if data.name == name), None)

    def get_full_names(self) -> list[str]:
        """Return the names as ``origin/name``."""
        return [f"{data.origin}/{data.name}" for data in self.data]

    def get_names(self) -> list[str]:
        """Return the names."""
        return [data.name for data in self.data]

    def to_pymodaq(self) -> Any:
        """Convert to a data set of ``pymodaq_data``, installed by the extra ``pymodaq``.

        As in PyMoDAQ, the origin of data without one is set to the name of the data set.
        """
        converted = _pymodaq_data().DataToExport(
            self.name, data=[data.to_pymodaq() for data in self.data]
        )
        converted.timestamp = self.timestamp
        return converted

    def __getitem__(self, index: int) -> DataWithAxes:
        """Return the data at an index."""
        return self.data[index]

    def __iter__(self) -> Iterator[DataWithAxes]:
        """Iterate over the data."""
        return iter(self.data)

    def __len__(self) -> int:
        """Return the number of data."""
        return len(self.data)

    def __repr__(self) -> str:
        """Return the same representation as PyMoDAQ."""
        lines = "".join(f"\n    * {data}" for data in self.data)
        return f"DataToExport: {self.name} <len:{len(self)}>{lines}"


def name_of(member: Any) -> str:
    """Return the name of a member of an enumeration; strings are returned unchanged."""
    return str(getattr(member, "name", member))


def _pymodaq_data() -> Any:
    return import_optional("pymodaq_data.data", "to_pymodaq", "pymodaq")
