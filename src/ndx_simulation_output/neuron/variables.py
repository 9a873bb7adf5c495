"""Find variables of a running NEURON model, with their compartments and units, and read them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import RecordingError, UnitError
from ndx_simulation_output.neuron.cells import Population
from ndx_simulation_output.recording import UNKNOWN, CompartmentTable, Unit, parse_unit

_AXES = ("x", "y", "z")
_MEMBRANE_CURRENT = "i_membrane_"


@dataclass(frozen=True)
class Variable:
    """A variable to record, by its name in NEURON.

    Parameters
    ----------
    name
        A range variable of segments, such as ``v``, ``ina``, ``cai``, ``gna_hh``, ``i_membrane_``,
        or of all point processes of a type, such as ``ExpSyn.g``.
    every
        Interval in ms; by default each time step.
    start
        Time in ms of the first sample.
    stop
        No samples are recorded after this time in ms; by default the whole simulation.
    sections
        The sections to record; by default all.
    unit
        Unit, such as ``mV``, of a variable whose unit NEURON does not know.
    dtype
        Dtype of the stored values.
    label
        Name of the series; by default that of the variable.

    """

    name: str
    every: float | None = None
    start: float = 0.0
    stop: float | None = None
    sections: Iterable[Any] | None = None
    unit: str | None = None
    dtype: DTypeLike = "f8"
    label: str | None = None


@dataclass(frozen=True)
class RecordedVariable:
    """A variable in the compartments of one population; ``pointers`` are in the order of ``table``.

    ``pointers`` is a function, as NEURON 8 can move the values.
    """

    name: str
    variable: Variable
    table: CompartmentTable
    unit: Unit
    pointers: Callable[[], Iterable[Any]]


class Gatherer:
    """Reads the values of many pointers with one call of NEURON's ``PtrVector``.

    ``PtrVector`` works with threads, CVode and CoreNEURON. Its set-up time is linear in the number
    of pointers, unlike that of ``Vector.record``.
    """

    def __init__(self, h: Any, pointers: Callable[[], Iterable[Any]], count: int) -> None:
        self._count = count
        if not count:
            return
        self._pointers, self._vector = h.PtrVector(count), h.Vector(count)
        # A view that is valid while the vector exists and has this size.
        self._values: NDArray[np.float64] = self._vector.as_numpy()
        self._set(pointers)
        if hasattr(self._pointers, "ptr_update_callback"):
            # Before version 9, NEURON moves values, so that pointers become invalid.
            self._pointers.ptr_update_callback(partial(self._set, pointers))

    def values(self) -> NDArray[np.float64]:
        """Return the current values; shape (compartment,). The next call overwrites them."""
        if not self._count:
            return np.empty(0)
        self._pointers.gather(self._vector)
        return self._values

    def _set(self, pointers: Callable[[], Iterable[Any]]) -> None:
        for number, pointer in enumerate(pointers()):
            self._pointers.pset(number, pointer)


def find_variable(
    h: Any, variable: Variable, populations: Iterable[Population]
) -> Iterator[RecordedVariable]:
    """Return a variable in each population, with the compartments that have it."""
    if variable.name == _MEMBRANE_CURRENT and not h.CVode().use_fast_imem():
        msg = "NEURON does not compute i_membrane_; call h.CVode().use_fast_imem(True) before"
        raise RecordingError(msg)
    chosen = None if variable.sections is None else set(variable.sections)
    label, populations = variable.label or variable.name, list(populations)
    for population in populations:
        found = list(_compartments(h, variable.name, population, chosen))
        yield RecordedVariable(
            label if len(populations) == 1 else f"{label}_{population.name}",
            replace(variable, sections=None),
            _table(population, found),
            _unit(h, variable),
            partial(_pointers, found),
        )


@dataclass(frozen=True, slots=True)
class _Compartment:
    """A segment, or a point process in it, that has a variable; rows are those of the cells."""

    row: int
    section_number: int
    segment: Any
    owner: Any
    variable: str


def _compartments(
    h: Any, name: str, population: Population, chosen: set[Any] | None
) -> Iterator[_Compartment]:
    process, _, process_variable = name.rpartition(".")
    if process and not _is_known(h, process):
        msg = f"NEURON has no point process {process!r}, of which {name} is to be recorded"
        raise RecordingError(msg)
    for row, cell in enumerate(population.cells):
        for number, section in cell.sections.items():
            if chosen is not None and section not in chosen:
                continue
            for segment in section:
                if process:
                    yield from (
                        _Compartment(row, number, segment, owner, process_variable)
                        for owner in segment.point_processes()
                        if owner.hname().partition("[")[0] == process
                        and _has(owner, process_variable)
                    )
                elif _has(segment, name):
                    yield _Compartment(row, number, segment, segment, name)
                else:
                    break  # A mechanism is inserted in all segments of a section or in none.


def _pointers(compartments: Iterable[_Compartment]) -> Iterator[Any]:
    return (getattr(item.owner, f"_ref_{item.variable}") for item in compartments)


def _has(owner: Any, variable: str) -> bool:
    try:
        getattr(owner, f"_ref_{variable}")
    except (AttributeError, NameError):
        return False
    return True


def _table(population: Population, found: list[_Compartment]) -> CompartmentTable:
    counts = np.bincount([item.row for item in found], minlength=len(population.cells))
    columns: dict[str, NDArray[Any]] = {
        "number": np.array([item.section_number for item in found], np.int32),
        "label": np.array([item.segment.sec.name() for item in found], object),
        **_geometry([item.segment for item in found]),
    }
    if any(item.owner is not item.segment for item in found):
        columns["point_process"] = np.array([item.owner.hname() for item in found], object)
    recorded = counts > 0
    ids = np.array([cell.id for cell in population.cells], np.int64)
    return CompartmentTable.from_counts(population.name, ids[recorded], counts[recorded], columns)


def _geometry(segments: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Return position in the section (0 to 1), centre and diameter (µm), of shape (segment,).

    The centre is interpolated along the 3-D points of the section; NaN without such points.
    """
    position = np.array([segment.x for segment in segments], np.float64)
    columns = {"position": position}
    centres = np.full((len(_AXES), len(segments)), np.nan)
    section, points = None, None
    for number, segment in enumerate(segments):
        if segment.sec != section:
            section = segment.sec
            points = _points(section)
        if points is not None:
            arc, coordinates = points
            at = position[number] * arc[-1]
            centres[:, number] = [np.interp(at, arc, axis) for axis in coordinates]
    if not np.isnan(centres).all():
        columns.update(zip(_AXES, centres, strict=True))
    columns["diameter"] = np.array([segment.diam for segment in segments], np.float64)
    return columns


def _points(section: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return arc lengths of the 3-D points, shape (point,), and coordinates, (axis, point)."""
    count = section.n3d()
    if count < 2:
        return None
    arc = np.array([section.arc3d(point) for point in range(count)])
    coordinates = [
        [getattr(section, f"{axis}3d")(point) for point in range(count)] for axis in _AXES
    ]
    return arc, np.array(coordinates)


def _unit(h: Any, variable: Variable) -> Unit:
    """Return the unit set in the variable, otherwise the unit in NEURON."""
    text = variable.unit
    if text is None:
        text = "nA" if variable.name == _MEMBRANE_CURRENT else _unit_in_neuron(h, variable.name)
    unit = parse_unit(text) if text else UNKNOWN
    if unit is None and variable.unit is not None:
        msg = f"unit {text!r} of {variable.name} is not understood; expected one such as 'mV'"
        raise UnitError(msg)
    return unit or UNKNOWN


def _unit_in_neuron(h: Any, name: str) -> str:
    # h.units prints an error message for an unknown name.
    if not _is_known(h, name.partition(".")[0]):
        return ""
    try:
        return str(h.units(name))
    except RuntimeError:  # The point process has no such variable.
        return ""


def _is_known(h: Any, name: str) -> bool:
    try:
        return hasattr(h, name)
    except TypeError:  # A range variable, which has a value only in a segment.
        return True
