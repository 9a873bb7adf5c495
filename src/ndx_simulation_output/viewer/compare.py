"""Two recordings of the same compartments or channels, and their difference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.plots.downsampling import Recorded
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Unit

Compared = Report | ExtracellularPotential


def require_real(recorded: Compared) -> None:
    """Raise an error if values are complex numbers, which have no place on a value axis."""
    if recorded.data.dtype.kind == "c":
        msg = f"the values of {recorded.name} are complex numbers, which are not drawn over time"
        raise NothingRecordedError(msg)


def find_compared(one: Compared, other: SimulationOutput) -> Compared:
    """Return what is compared with a recording: that of its name in another output."""
    found: dict[str, Compared] = {
        each.name: each for each in (other.reports if isinstance(one, Report) else other.potentials)
    }
    if one.name not in found:
        msg = f"the second file has no {one.name!r}"
        raise NothingRecordedError(msg)
    return found[one.name]


def matching_columns(one: Compared, other: Compared, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the columns of ``other`` with the same compartments or channels, -1 without one."""
    if isinstance(one, Report) and isinstance(other, Report):
        return _matching_compartments(one, other, columns)
    known, ids = (np.asarray(each.channel_ids) for each in (other, one)
                  if isinstance(each, ExtracellularPotential))  # fmt: skip
    order = np.argsort(known, kind="stable")
    found = order[np.minimum(np.searchsorted(known, ids[columns], sorter=order), len(known) - 1)]
    return np.where(known[found] == ids[columns], found, -1)


def _matching_compartments(
    one: Report, other: Report, columns: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return columns of the same cell, place within it, number and position."""
    mine, its = one.compartments, other.compartments
    if not len(its):
        return np.full(len(columns), -1)
    rows = mine.cell_rows(columns)
    within = columns - (np.asarray(mine.ends[:], np.int64) - mine.counts())[rows]
    there = its.cells.find_rows(np.asarray(mine.cell_ids[:])[rows])
    counts = its.counts()
    found = (np.asarray(its.ends[:], np.int64) - counts)[there] + within
    matches = (there >= 0) & (within < counts[there])
    for name in ("number", "position"):
        if name in mine.columns and name in its.columns:
            kept = np.flatnonzero(matches)
            values = mine.values(name, columns[kept]), its.values(name, found[kept])
            matches[kept] = np.isclose(*values, equal_nan=True)
    return np.where(matches, found, -1)


def difference_of(
    one: Compared, other: Compared, columns: NDArray[np.intp], other_columns: NDArray[np.intp]
) -> "Difference":
    """Return the difference of two recordings at their shared times, without interpolation."""
    if one.unit.name != other.unit.name:
        msg = (
            f"the units of {one.name} differ: {one.unit.name} in the first file, "
            f"{other.unit.name} in the second"
        )
        raise ShapeMismatchError(msg)
    if len(missing := columns[other_columns < 0]):
        what = "compartments" if isinstance(one, Report) else "channels"
        msg = (
            f"the {what} of {one.name} differ between the two files: the second file lacks "
            f"{len(missing):,} of the {len(columns):,} selected ones"
        )
        raise ShapeMismatchError(msg)
    times = shared_times(one, other)
    return Difference(f"difference of {one.name}", one, other, columns, other_columns, times)


def shared_times(one: Recorded, other: Recorded) -> Times:
    """Return the times that two recordings have in common; raise an error if they differ."""
    count = min(one.times.count, other.times.count)
    if isinstance(one.times, RegularTimes) and isinstance(other.times, RegularTimes):
        step = 1 / one.times.rate
        last = max(count - 1, 0)
        distance = max(
            abs(one.times.start - other.times.start),
            abs(one.times.start + last * step - other.times.start - last / other.times.rate),
        )
        if distance <= 1e-6 * step:
            return RegularTimes(one.times.start, one.times.rate, count)
    else:
        shorter, longer = (one, other) if one.times.count == count else (other, one)
        if np.allclose(
            shorter.times.seconds(), longer.times.seconds(slice(0, count)), rtol=1e-9, atol=1e-12
        ):
            return shorter.times
    msg = f"the times of {one.name} differ between the two files; nothing is interpolated"
    raise ShapeMismatchError(msg)


@dataclass(frozen=True)
class Difference(LazyArrayBase):
    """Lazily computed ``columns`` of ``one`` minus ``other_columns`` of ``other``.

    ``data`` has shape (time, column), in ``unit``.
    """

    name: str
    one: Compared
    other: Compared
    columns: NDArray[np.intp]
    other_columns: NDArray[np.intp]
    times: Times

    @property
    def unit(self) -> Unit:
        """Unit of the values."""
        return Unit(self.one.unit.name, checked=False)

    @property
    def data(self) -> "Difference":
        """The object itself, which is indexed like an array."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return (self.times.count, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._columns(slices[0], np.arange(self.shape[1])[slices[1]])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        selected = np.arange(self.shape[1]) if columns is None else columns
        rows = slice(*rows.indices(self.times.count))
        values, others = (
            np.asarray(
                read_in_unit(report.data, rows, of_report[selected], report.unit), np.float64
            )
            for report, of_report in ((self.one, self.columns), (self.other, self.other_columns))
        )
        return values - others
