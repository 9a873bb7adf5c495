"""Two runs side by side: their difference as an array that is read as any other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import RegularTimes, Report
from ndx_simulation_output.recording.arrays import Put
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Unit

__all__ = ["Difference", "difference_of"]


@dataclass(frozen=True)
class Difference:
    """The values of ``columns`` of ``one`` less those of ``other_columns`` of ``other``.

    It is read as a recording: ``data`` has shape (time, column), in ``unit``.
    """

    name: str
    one: Report
    other: Report
    columns: NDArray[np.intp]
    other_columns: NDArray[np.intp]
    times: Times

    @property
    def unit(self) -> Unit:
        """Unit of the values, those of both."""
        return Unit(self.one.unit.name)

    @property
    def data(self) -> "Difference":
        """What has the values: this itself."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return (self.times.count, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return self.take_columns(key[0], np.arange(self.shape[1])[key[1]])

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        wanted = np.arange(self.shape[1]) if columns is None else columns
        rows = slice(*rows.indices(self.times.count))
        values, others = (
            np.asarray(read_in_unit(report.data, rows, chosen[wanted], report.unit), np.float64)
            for report, chosen in ((self.one, self.columns), (self.other, self.other_columns))
        )
        values = values - others
        if put is not None:
            put(values, values)
        return values


def difference_of(
    one: Report, other: Report, columns: NDArray[np.intp], other_columns: NDArray[np.intp]
) -> Difference:
    """Give the difference of two reports at the times that both have.

    Raises
    ------
    ShapeMismatchError
        If their units or the times of their rows differ, or these are not as many columns: nothing
        is interpolated.

    """
    if one.unit.name != other.unit.name:
        msg = f"{one.name} is in {one.unit.name} here and in {other.unit.name} there"
        raise ShapeMismatchError(msg)
    if len(columns) != len(other_columns):
        msg = f"{one.name} has {len(columns)} such compartments here, {len(other_columns)} there"
        raise ShapeMismatchError(msg)
    return Difference(
        f"difference of {one.name}", one, other, columns, other_columns, _shared_times(one, other)
    )


def _shared_times(one: Report, other: Report) -> Times:
    count = min(one.times.count, other.times.count)
    if isinstance(one.times, RegularTimes) and isinstance(other.times, RegularTimes):
        step = 1 / one.times.rate
        last = max(count - 1, 0)
        apart = max(
            abs(one.times.start - other.times.start),
            abs(one.times.start + last * step - other.times.start - last / other.times.rate),
        )
        if apart <= 1e-6 * step:
            return RegularTimes(one.times.start, one.times.rate, count)
    else:
        shorter, longer = (one, other) if one.times.count == count else (other, one)
        if np.allclose(
            shorter.times.seconds(), longer.times.seconds(slice(0, count)), rtol=1e-9, atol=1e-12
        ):
            return shorter.times
    msg = f"the rows of {one.name} are at other times in one file than in the other: no difference"
    raise ShapeMismatchError(msg)
