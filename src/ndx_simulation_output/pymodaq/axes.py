"""Axes in memory, with the names and arguments of PyMoDAQ's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.pymodaq.genuine import pymodaq_data

__all__ = ["Axis"]


class Axis:
    """Values of an independent variable, shape (value,), along dimension ``index`` of arrays.

    The values are kept as they are given, or made of ``offset``, ``scaling`` and ``size``.

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
        """Make an axis.

        Raises
        ------
        TypeError
            If there are neither values nor a size, or the values are no array.
        ValueError
            If the values do not have one dimension, or ``index`` is negative.

        """
        if data is None:
            if size is None:
                msg = "an axis has neither data nor size; expected one of them"
                raise TypeError(msg)
            data = (offset or 0.0) + (1.0 if scaling is None else scaling) * np.arange(size)
        if not isinstance(data, np.ndarray):
            msg = f"the data of axis {label!r} are {type(data).__name__}; expected a numpy array"
            raise TypeError(msg)
        if data.ndim != 1 or index < 0:
            msg = (
                f"axis {label!r} has data of shape {data.shape} and index {index}; expected one "
                "dimension, and 0 or more"
            )
            raise ValueError(msg)
        self.label, self.units, self.data = label, units, data
        self.index, self.spread_order = int(index), int(spread_order or 0)

    @classmethod
    def of(cls, axis: Any) -> "Axis":
        """Return an axis of this class, from one of PyMoDAQ for instance."""
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
        """Return the axis for arrays with ``dimensions`` more before its own."""
        index = self.index + dimensions
        return Axis(self.label, self.units, self.data, index, spread_order=self.spread_order)

    def to_pymodaq(self) -> Any:
        """Return an axis of ``pymodaq_data``, which keeps linear values as offset and step."""
        return pymodaq_data().Axis(
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
        """Return the text that PyMoDAQ shows."""
        return f"Axis: <label: {self.label}> - <units: {self.units}> - <index: {self.index}>"
