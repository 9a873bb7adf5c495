"""Join the parts of one run along time: each begins where the one before ends.

A run that is saved and restored, or continued from a checkpoint, has a file for each part.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.fields import Provenance
from ndx_simulation_output.recording.output import ExtracellularPotential
from ndx_simulation_output.recording.reports import Report
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.units import Unit
from ndx_simulation_output.recording.views import Columns, Part, join_rows

_OF_PART = {"time", "rows", "implied_rows", "order", "not_finite"}
"""Keys of a provenance that describe a part of a run, not the run."""

_TOLERANCE = 0.01
"""Part of a step by which the start of a part may differ: starts are rounded to float32."""


@dataclass(frozen=True)
class Span:
    """The times (s) of the first and of the last row, and the longest step between two rows."""

    first: float
    last: float
    step: float

    def begins_with(self, other: "Span") -> bool:
        """Return True if both have the same first row."""
        return abs(self.first - other.first) <= _TOLERANCE * max(self.step, other.step)


def span_of(times: Times) -> Span | None:
    """Return the span of times, or None if there are no rows."""
    if not times.count:
        return None
    if isinstance(times, RegularTimes):
        return Span(times.start, times.start + (times.count - 1) / times.rate, 1 / times.rate)
    values = times.seconds()
    longest = float(np.diff(values).max()) if len(values) > 1 else 0.0
    return Span(float(values[0]), float(values[-1]), longest)


def by_start(spans: Sequence[Span]) -> list[list[int]]:
    """Return the positions of spans, grouped by equal starts, in the order of time."""
    groups: list[list[int]] = []
    for position in sorted(range(len(spans)), key=lambda position: spans[position].first):
        if not (groups and spans[position].begins_with(spans[groups[-1][0]])):
            groups.append([])
        groups[-1].append(position)
    return groups


def join_reports_in_time(parts: Sequence[tuple[str, Report]]) -> tuple[Report, list[str]]:
    """Join the reports of the parts of a run, in the order of time; return it and notes.

    Each part is passed with its file name. All have the same unit and type.
    """
    file, first = parts[0]
    where = f"report {first.name!r}"
    orders = [
        _columns_as(first.compartments, report.compartments, f"{where} of {name} and of {file}")
        for name, report in parts
    ]
    matrices = [
        report.data if order is None else Columns(report.data, order)
        for (_, report), order in zip(parts, orders, strict=True)
    ]
    named = [(f"{where} of {name}", report.times) for name, report in parts]
    data, times, notes = _join(named, matrices)
    provenance = common_provenance([report.provenance for _, report in parts])
    return replace(first, data=data, times=times, provenance=provenance), notes


def join_potentials_in_time(
    parts: Sequence[tuple[str, ExtracellularPotential]],
) -> tuple[ExtracellularPotential, list[str]]:
    """Join the potentials of the parts of a run, in the order of time; return it and notes."""
    file, first = parts[0]
    expected = _properties(first)
    for name, potential in parts[1:]:
        for key, found in _properties(potential).items():
            if found != expected[key]:
                msg = (
                    f"{first.name!r} has the {key} {found} in {name}; expected {expected[key]}, as "
                    f"in {file}"
                )
                raise ShapeMismatchError(msg)
    named = [(f"{first.name!r} of {name}", potential.times) for name, potential in parts]
    data, times, notes = _join(named, [potential.data for _, potential in parts])
    provenance = common_provenance([potential.provenance for _, potential in parts])
    return replace(first, data=data, times=times, provenance=provenance), notes


def common_provenance(provenances: Sequence[Provenance]) -> Provenance:
    """Return the provenance of parts of a run without what is that of a part, if it is equal."""
    common = [
        {key: value for key, value in provenance.items() if key not in _OF_PART}
        for provenance in provenances
    ]
    return common[0] if all(other == common[0] for other in common) else {}


def _properties(potential: ExtracellularPotential) -> dict[str, Any]:
    """Return the properties that potentials must share."""
    return {
        "channels": np.asarray(potential.channel_ids).tolist(),
        "unit": text_of_unit(potential.unit),
        "type": potential.data.dtype.newbyteorder("="),
    }


def text_of_unit(unit: Unit) -> str:
    """Return a unit as text for a message."""
    return f"{unit.conversion} {unit.name}" + (f" + {unit.offset}" if unit.offset else "")


def _columns_as(
    first: CompartmentTable, other: CompartmentTable, where: str
) -> NDArray[np.intp] | None:
    """Return the columns of ``other`` in the order of ``first``, None if they are in it."""
    ids, others = np.asarray(first.cell_ids[:]), np.asarray(other.cell_ids[:])
    if not np.array_equal(np.sort(ids), np.sort(others)):
        only = np.setxor1d(ids, others)
        msg = f"{where} have other cells, such as {only[0]}; expected the same in parts of a run"
        raise ShapeMismatchError(msg)
    order = None if np.array_equal(ids, others) else other.find(ids)
    rows = slice(None) if order is None else other.rows_of(ids)
    pairs = [("counts", first.counts(), other.counts()[rows])]
    pairs += [
        (name, np.asarray(values[:]), np.asarray(other.columns[name][:]))
        for name, values in first.columns.items()
        if name in other.columns
    ]
    for name, expected, values in pairs:
        found = values if name == "counts" or order is None else values[order]
        if not _equal(found, expected):
            what = "numbers of compartments" if name == "counts" else f"values of {name!r}"
            msg = f"{where} have other {what}; expected the same in parts of a run"
            raise ShapeMismatchError(msg)
    return order


def _equal(first: NDArray[Any], second: NDArray[Any]) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f")


def _join(
    parts: Sequence[tuple[str, Times]], matrices: Sequence[LazyArray]
) -> tuple[LazyArray, Times, list[str]]:
    """Join the rows of ``parts``, which are in the order of time.

    A row that one part ends with and the next begins with is kept once, as simulators disagree on
    whether the stop of a part is a sample of it.
    """
    kept, notes = [matrices[0]], []
    times = [parts[0][1]]
    for position in range(1, len(parts)):
        (before, ended), (name, begun) = parts[position - 1 : position + 1]
        matrix = matrices[position]
        if _is_repeated(before, ended, name, begun):
            last, again = matrices[position - 1][-1:, :], matrix[0:1, :]
            time = float(begun.seconds(slice(0, 1))[0])
            if not _equal(np.asarray(last), np.asarray(again)):
                msg = f"{before} and {name} have other values at {time:.9g} s, which is in both"
                raise ShapeMismatchError(msg)
            notes.append(f"{name} begins with the row at {time:.9g} s of {before}; it is kept once")
            matrix, begun = Part(matrix, 1, matrix.shape[0]), begun.part(slice(1, None))
        kept.append(matrix)
        times.append(begun)
    return join_rows(kept), _joined_times(times), notes


def _is_repeated(before: str, ended: Times, name: str, begun: Times) -> bool:
    """Return True if a part begins with the last row of the one before, False one step later.

    Raises a ShapeMismatchError for other steps, which are gaps or overlaps.
    """
    regular = isinstance(ended, RegularTimes)
    if regular != isinstance(begun, RegularTimes):
        msg = f"one of {before} and {name} has a rate and the other has times; expected the same"
        raise ShapeMismatchError(msg)
    rates = [part.rate for part in (ended, begun) if isinstance(part, RegularTimes)]
    if regular and not math.isclose(*rates, rel_tol=1e-9):
        msg = f"{name} has the times {rates[1]} Hz; expected {rates[0]} Hz, as {before}"
        raise ShapeMismatchError(msg)
    one, other = span_of(ended), span_of(begun)
    if one is None or other is None:
        return False
    step = max(one.step, other.step)
    distance = other.first - one.last
    if abs(distance) <= _TOLERANCE * step:
        return True
    least = step * (1 - _TOLERANCE) if regular else 0.0
    if distance < least or (step and distance > step * (1 + _TOLERANCE)):
        kind = "overlap" if distance < least else "there is a gap"
        msg = (
            f"{before} ends at {one.last:.9g} s and {name} begins at {other.first:.9g} s: {kind}; "
            f"expected that a part begins one step, {step:.9g} s, after the one before"
        )
        raise ShapeMismatchError(msg)
    return False


def _joined_times(parts: Sequence[Times]) -> Times:
    first = parts[0]
    if isinstance(first, RegularTimes):
        return replace(first, count=sum(part.count for part in parts))
    return Timestamps(np.concatenate([part.seconds() for part in parts]))
