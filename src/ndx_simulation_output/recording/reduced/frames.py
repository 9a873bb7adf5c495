"""Where compartments are, and their values at some times."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording.arrays import release
from ndx_simulation_output.recording.reduced.bins import seconds_at
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit

if TYPE_CHECKING:
    from ndx_simulation_output.recording.compartments import CompartmentTable
    from ndx_simulation_output.recording.output import Report

__all__ = ["Frame", "Places", "read_frames", "read_places"]

_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Places:
    """Where compartments are: ``points`` x, y, z in µm, shape (compartment, 3).

    ``columns`` are their columns of the report, ``cells`` the ids of their cells, ``numbers`` those
    of their sections, ``diameters`` (µm), NaN where unknown; all of shape (compartment,). Only
    compartments with a known place are there; ``left_out`` counts the others.
    """

    columns: NDArray[np.intp]
    points: NDArray[np.float64]
    diameters: NDArray[np.float64]
    cells: NDArray[Any]
    numbers: NDArray[Any]
    positions: NDArray[np.float64]
    left_out: int


@dataclass(frozen=True)
class Frame:
    """Values of compartments at some ``times`` (s): shape (time, compartment), in ``unit``."""

    times: NDArray[np.float64]
    values: NDArray[Any]
    unit: str


def read_places(table: "CompartmentTable", columns: NDArray[np.intp]) -> Places:
    """Read where the compartments ``columns`` of a table are.

    Raises
    ------
    NothingRecordedError
        If the table has no coordinates, or none for any of these compartments.

    """
    if not set(_AXES) <= set(table.columns):
        msg = (
            f"the compartments of population {table.population!r} have no places, columns x, y and "
            "z: they cannot be drawn in space; a heat map shows their values"
        )
        raise NothingRecordedError(msg)
    points = np.column_stack([table.values(axis, columns) for axis in _AXES]).astype(np.float64)
    known = np.isfinite(points).all(axis=1)
    if not known.any():
        msg = (
            f"none of the {len(columns)} chosen compartments of population {table.population!r} "
            "has a known place: x, y and z are not numbers"
        )
        raise NothingRecordedError(msg)
    columns = columns[known]
    unknown = np.full(len(columns), np.nan)
    optional = {
        name: table.values(name, columns) if name in table.columns else unknown
        for name in ("diameter", "position")
    }
    return Places(
        columns,
        points[known],
        optional["diameter"].astype(np.float64),
        table.cells_of(columns),
        table.values("number", columns),
        optional["position"].astype(np.float64),
        int(np.count_nonzero(~known)),
    )


def read_frames(
    report: "Report",
    columns: NDArray[np.intp],
    *,
    at: float | None = None,
    start: float | None = None,
    stop: float | None = None,
    count: int = 1,
) -> Frame:
    """Read values at the row nearest to ``at`` (s), or at ``count`` rows spread over a window.

    Raises
    ------
    NothingRecordedError
        If no row lies in the window.

    """
    if at is not None:
        rows = np.asarray([_nearest(report.times, at)])
    else:
        window = report.times.window(start, stop)
        length = window.stop - window.start
        chosen = min(count, length)
        rows = window.start + np.arange(chosen) * length // max(chosen, 1)
    if not report.times.count or not len(rows):
        msg = f"report {report.name!r} has no values in this window of time"
        raise NothingRecordedError(msg)
    values = [
        read_in_unit(report.data, slice(int(row), int(row) + 1), columns, report.unit)[0]
        for row in rows
    ]
    release(report.data)
    return Frame(seconds_at(report.times, rows), np.stack(values), report.unit.name)


def _nearest(times: Times, at: float) -> int:
    after = int(min(times.window(at, None).start, times.count - 1))
    before = max(after - 1, 0)
    around = seconds_at(times, np.asarray([before, after]))
    return before if bool(at - around[0] <= around[1] - at) else after
