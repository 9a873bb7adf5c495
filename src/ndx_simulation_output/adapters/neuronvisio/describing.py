"""The contents of a storage or Manager in the neutral description."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.neuronvisio.contents import (
    SYNAPSES,
    VECTORS,
    Contents,
    Ref,
    RefGroup,
)
from ndx_simulation_output.adapters.neuronvisio.geometry import Geometry
from ndx_simulation_output.adapters.neuronvisio.units import check_names, seconds_of, unit_of
from ndx_simulation_output.recording import (
    ArrayGroup,
    CompartmentTable,
    LazyArray,
    OwnArray,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Times,
    Timestamps,
)
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.views import Stacked

__all__ = ["FORMAT", "describe"]

FORMAT = "Neuronvisio"
_POPULATION = "cells"
_UNKNOWN_CELL = "unknown"
_REGULAR = 1e-6
"""Part of a step by which regular times may be off: NEURON adds up its time."""


@dataclass(frozen=True)
class _Trace:
    """A vector that is as long as x: the reference of number ``rank`` in its group has it."""

    rank: int
    ref: Ref
    values: LazyArray


def describe(
    contents: Contents,
    unit: Mapping[str, str],
    time_unit: Mapping[str, str],
    files: tuple[str, ...] = (),
) -> SimulationOutput:
    """Make reports of the traces that share a group, a variable and x, and groups of all others.

    Every group keeps its x and the references that have no vectors.

    Raises
    ------
    UnitError
        If a unit is not understood, or given for a name that does not occur.

    """
    reports: list[Report] = []
    groups: list[ArrayGroup] = []
    names = _Names()
    neurons = next((group.x for group in contents.groups if group.name == VECTORS), None)
    variables: set[str] = set()
    for group in contents.groups:
        traces, own = _sorted_out(group)
        is_neurons = group.name in {VECTORS, SYNAPSES} or _are_same(group.x, neurons)
        variables |= {variable for variable, _ in traces}
        if traces:
            factor = seconds_of(group.name, time_unit, is_neurons=is_neurons)
            times = _times(np.asarray(group.x[:], np.float64), factor)  # type: ignore[index]
        for (variable, _), unsorted in traces.items():
            found, table = _by_cell(group.name, unsorted, contents.geometry)
            reports.append(
                Report(
                    name=(name := names.of(group.name, variable)),
                    report=name,
                    data=Stacked(tuple(trace.values for trace in found)),
                    times=times,
                    compartments=table,
                    unit=unit_of(group.name, variable, (name, variable), unit),
                    variable=variable,
                    provenance={"format": FORMAT, "group": group.name},
                )
            )
        groups.append(_array_group(group, own, "ms" if is_neurons else ""))
    check_names("unit", unit, {report.name for report in reports} | variables)
    check_names("time unit", time_unit, {group.name for group in contents.groups})
    geometry = contents.geometry
    return SimulationOutput(
        reports=tuple(reports),
        groups=tuple(groups),
        run=Run("NEURON", geometry.version, morphology=geometry.text),
        notes=contents.notes,
        provenance={"format": FORMAT, "files": list(files)},
    )


class _Names:
    """Names of reports: that of the variable for sections, ``group_variable`` for others."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of(self, group: str, variable: str) -> str:
        # A path of dots alone is no name in HDF5.
        alone = group == VECTORS and variable.strip(".")
        wanted = variable if alone else f"{group}_{variable}"
        name, count = wanted, 1
        while _comparable(name) in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(_comparable(name))
        return name


def _comparable(name: str) -> str:
    """Names that differ in these characters only would be one in NWB."""
    return name.replace("/", "_").replace(":", "_")


def _sorted_out(
    group: RefGroup,
) -> tuple[dict[tuple[str, str], list[_Trace]], list[OwnArray]]:
    """Part the vectors into traces, by variable and type, and arrays that are none."""
    traces: dict[tuple[str, str], list[_Trace]] = {}
    own: list[OwnArray] = []
    count = _count_of_times(group.x)
    for rank, ref in enumerate(group.refs):
        for variable, values in ref.vecs.items():
            if count and values.shape == (count,) and values.dtype.kind == "f" and variable:
                key = variable, values.dtype.str
                traces.setdefault(key, []).append(_Trace(rank, ref, values))
            else:
                facts = {"ref": rank, "stored": ref.stored}
                own.append(OwnArray(ref.section, variable, values, ref.detail, facts))
    return traces, own


def _count_of_times(x: LazyArray | None) -> int:
    """Count the values of x if they can be times: finite and ascending; else 0."""
    if x is None or len(x.shape) != 1 or x.dtype.kind not in "iuf" or not x.shape[0]:
        return 0
    values = np.asarray(x[:], np.float64)
    ascends = bool(np.isfinite(values).all()) and not (np.diff(values) < 0).any()
    return len(values) if ascends else 0


def _are_same(x: LazyArray | None, other: LazyArray | None) -> bool:
    if x is None or other is None or x.shape != other.shape:
        return False
    return np.array_equal(read_all(x), read_all(other))


def _times(x: NDArray[np.float64], factor: float) -> Times:
    step = (x[-1] - x[0]) / max(len(x) - 1, 1)
    # A step such as 0.025 comes out as it was meant, though NEURON has added it up.
    for regular in (float(f"{step:.9g}"), float(step)):
        expected = x[0] + np.arange(len(x)) * regular
        if regular > 0 and np.abs(x - expected).max() < _REGULAR * regular:
            return RegularTimes(float(x[0]) * factor, 1 / factor / regular, len(x))
    return Timestamps(x * factor)


def _by_cell(
    group: str, traces: list[_Trace], geometry: Geometry
) -> tuple[list[_Trace], CompartmentTable]:
    """Order traces by cell, those of sections that the geometry does not know last.

    Give them with their table: a row for each cell.
    """
    cells = {name: number for number, name in enumerate(geometry.cells)}
    ids = [cells[trace.ref.place.cell] if trace.ref.place else len(cells) for trace in traces]
    order = np.argsort(ids, kind="stable")
    traces = [traces[index] for index in order]
    cell_ids, counts = np.unique(np.asarray(ids), return_counts=True)
    names = [*cells, _UNKNOWN_CELL]
    return traces, CompartmentTable.from_counts(
        _POPULATION,
        cell_ids,
        counts,
        _columns(group, traces),
        {"cell_name": np.asarray([names[number] for number in cell_ids], object)},
    )


def _columns(group: str, traces: Sequence[_Trace]) -> dict[str, NDArray[Any]]:
    refs = [trace.ref for trace in traces]
    positions, points = _places(group, refs)
    columns: dict[str, NDArray[Any]] = {
        "number": np.asarray(list(_numbers(refs)), np.int32),
        "position": positions,
        "label": _texts(ref.section for ref in refs),
    }
    if np.isfinite(points).any():
        columns |= dict(zip(("x", "y", "z", "diameter"), points.T, strict=True))
    columns["ref"] = np.asarray([trace.rank for trace in traces], np.int32)
    if any(ref.stored not in {"", ref.section} for ref in refs):
        columns["stored"] = _texts(ref.stored for ref in refs)
    if any(ref.detail for ref in refs):
        columns["detail"] = _texts(ref.detail for ref in refs)
    return columns


def _places(group: str, refs: Sequence[Ref]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give positions (ref,) and x, y, z, diameter (ref, 4); only sections say where they were."""
    positions = np.full(len(refs), np.nan)
    points = np.full((len(refs), 4), np.nan)
    if group != VECTORS:
        return positions, points
    for index, ref in enumerate(refs):
        if ref.place is None:
            positions[index] = 0.5
        else:
            positions[index] = ref.place.recorded_position()
            points[index] = ref.place.place(positions[index])
    return positions, points


def _numbers(refs: Sequence[Ref]) -> Iterator[int]:
    """Give the number of each section in its cell; those not known count from 0."""
    unknown: dict[str, int] = {}
    for ref in refs:
        yield ref.place.number if ref.place else unknown.setdefault(ref.section, len(unknown))


def _texts(values: Any) -> NDArray[Any]:
    return np.asarray([*values, None], object)[:-1]


def _array_group(group: RefGroup, own: list[OwnArray], x_unit: str) -> ArrayGroup:
    empty = [
        {"ref": rank, "section": ref.section, "stored": ref.stored, "detail": ref.detail}
        for rank, ref in enumerate(group.refs)
        if not ref.vecs
    ]
    facts: dict[str, Any] = {"format": FORMAT, **({"empty": empty} if empty else {})}
    return ArrayGroup(group.name, tuple(own), group.x, x_unit, facts)
