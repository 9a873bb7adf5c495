"""Find variables of a running NEURON model, with their compartments and units, and read them."""

import re
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import RecordingError, UnitError
from ndx_simulation_output.neuron.cells import Population, Selection
from ndx_simulation_output.recording import UNKNOWN, CompartmentTable, Unit, parse_unit

_AXES = ("x", "y", "z")
_MEMBRANE_CURRENT = "i_membrane_"
_ELEMENT = re.compile(r"(.+?)\[(\d+)\]")


@dataclass(frozen=True)
class Variable:
    """A variable to record, by its name in NEURON.

    Parameters
    ----------
    name
        A range variable of segments, such as ``v``, ``ina``, ``cai``, ``gna_hh``, ``i_membrane_``,
        or of all point processes of a type, such as ``ExpSyn.g``. Of an array, one element, such as
        ``vext[0]``.
    every
        Interval in ms; by default each time step.
    start
        Time in ms of the first sample; by default that at which the recording begins, but not
        before 0.
    stop
        No samples are recorded after this time in ms; by default the whole simulation.
    sections
        The sections to record, or single segments such as ``dend(0.5)``; by default all.
    unit
        Unit, such as ``mV``, of a variable whose unit NEURON does not know.
    dtype
        Dtype of the stored values.
    label
        Name of the series; by default that of the variable.

    """

    name: str
    every: float | None = None
    start: float | None = None
    stop: float | None = None
    sections: Any = None
    unit: str | None = None
    dtype: DTypeLike = "f8"
    label: str | None = None


@dataclass(frozen=True)
class RecordedVariable:
    """A variable in the compartments of one population.

    ``pointers`` returns those of the compartments, in the order of ``table``: NEURON can move the
    values. It raises RecordingError if one is gone.
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
        # Set before a file is created: later, reading takes a quarter longer.
        self._pointers, self._vector = h.PtrVector(count), h.Vector(count)
        # A view that is valid while the vector exists and has this size.
        self._values: NDArray[np.float64] = self._vector.as_numpy()
        self._find = pointers
        self._set()
        # Before version 9, NEURON moves values, so that pointers become invalid.
        self._is_moved = hasattr(self._pointers, "ptr_update_callback")
        if self._is_moved:
            # It never releases the callback, which must not keep the model alive.
            self._pointers.ptr_update_callback(partial(_update, weakref.ref(self)))

    def values(self) -> NDArray[np.float64]:
        """Return the current values; shape (compartment,). The next call overwrites them."""
        if not self._count:
            return np.empty(0)
        self._pointers.gather(self._vector)
        return self._values

    def update(self) -> None:
        """Check the pointers after the structure of the model has changed; set them if needed."""
        if not self._count:
            return
        if not self._is_moved:
            deque(self._find(), maxlen=0)
            # NEURON refuses to read what was removed, although it may be there again.
            with suppress(RuntimeError):
                self.values()
                return
        self._set()

    def _set(self) -> None:
        for number, pointer in enumerate(self._find()):
            self._pointers.pset(number, pointer)


def _update(gatherer: "weakref.ref[Gatherer]") -> None:
    found = gatherer()
    if found is not None:
        # What is gone is reported by the next sample; NEURON would end the process here.
        with suppress(RecordingError):
            found.update()


def reference(owner: Any, name: str) -> Any:
    """Return NEURON's pointer to a variable of a segment or point process; None if it has none.

    ``name`` is such as ``v``, or ``vext[0]`` for an element of an array; raises RecordingError if
    it is an array without element, or has no such element.
    """
    variable, index = _element(name)
    try:
        pointer, value = getattr(owner, f"_ref_{variable}"), getattr(owner, variable)
        length = len(value) if hasattr(value, "__len__") else None
        if length:
            _ = value[0]  # A segment knows the arrays of mechanisms that it does not have.
    except (AttributeError, NameError, TypeError):
        return None
    if length is None and index is None:
        return pointer
    if length is None:
        msg = f"{variable} of {owner} is not an array; expected {variable!r}, not {name!r}"
        raise RecordingError(msg)
    if index is None or index >= length:
        elements = ", ".join(f"{variable}[{number}]" for number in range(length))
        msg = f"{variable} of {owner} is an array; expected an element of it: {elements}"
        raise RecordingError(msg)
    return pointer[index]


def _element(name: str) -> tuple[str, int | None]:
    """Return the name of a variable, and the number of the element of an array."""
    found = _ELEMENT.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, None)


def find_variable(
    h: Any, variable: Variable, populations: Iterable[Population], chosen: Selection
) -> Iterator[RecordedVariable]:
    """Return a variable in each population, with the ``chosen`` compartments that have it."""
    if variable.name == _MEMBRANE_CURRENT and not h.CVode().use_fast_imem():
        msg = "NEURON does not compute i_membrane_; call h.CVode().use_fast_imem(True) before"
        raise RecordingError(msg)
    selections = chosen, Selection(variable.sections, f"of {variable.name}")
    label, populations = variable.label or variable.name, list(populations)
    unit = _unit(h, variable)
    for population in populations:
        found = list(_compartments(variable.name, population, selections))
        yield RecordedVariable(
            label if len(populations) == 1 else f"{label}_{population.name}",
            replace(variable, sections=None),
            _table(population, found),
            unit,
            partial(_pointers, found),
        )


@dataclass(frozen=True, slots=True)
class _Compartments:
    """Segments of a section that have a variable, or their point processes that have it.

    Rows are those of the cells. A point process is in the segment of the same place in the list.
    """

    row: int
    section_number: int
    section: Any
    segments: Sequence[Any]
    processes: Sequence[Any] | None
    variable: str


def _compartments(
    name: str, population: Population, selections: Sequence[Selection]
) -> Iterator[_Compartments]:
    process, _, variable = name.rpartition(".")
    for row, cell in enumerate(population.cells):
        for number, section in cell.sections.items():
            segments = list(section)
            for selection in selections:
                segments = selection.among(section, segments)
            if process:
                pairs = [
                    (segment, owner)
                    for segment in segments
                    for owner in segment.point_processes()
                    if owner.hname().partition("[")[0] == process
                    and reference(owner, variable) is not None
                ]
                if pairs:
                    places, owners = zip(*pairs, strict=True)
                    yield _Compartments(row, number, section, places, owners, variable)
            # A mechanism is inserted in all segments of a section or in none.
            elif segments and reference(segments[0], name) is not None:
                yield _Compartments(row, number, section, segments, None, name)


def _pointers(compartments: Iterable[_Compartments]) -> Iterator[Any]:
    """Return the pointers of compartments; RecordingError if one is no longer there."""
    for item in compartments:
        if item.processes is None:
            yield from _references(item.segments, item.variable)
            continue
        for owner, place in zip(item.processes, item.segments, strict=True):
            if owner.get_segment() != place:
                msg = (
                    f"{owner.hname()} was in {place} and is in {owner.get_segment()}: a point "
                    "process must not be moved or deleted while it is recorded"
                )
                raise RecordingError(msg)
            yield from _references([owner], item.variable)


def _references(owners: Sequence[Any], name: str) -> Iterator[Any]:
    """Return the pointers to a variable of the segments of a section, or of a point process."""
    if reference(owners[0], name) is None:
        msg = f"{owners[0]} no longer has {name}: change a model before recording it"
        raise RecordingError(msg)
    variable, index = _element(name)
    pointers = map(attrgetter(f"_ref_{variable}"), owners)
    return pointers if index is None else (pointer[index] for pointer in pointers)


def _table(population: Population, found: Sequence[_Compartments]) -> CompartmentTable:
    lengths = [len(item.segments) for item in found]
    names = np.array([item.section.name() for item in found], object)
    numbers = np.array([item.section_number for item in found], np.int32)
    rows = np.repeat(np.array([item.row for item in found], np.intp), lengths)
    counts = np.bincount(rows, minlength=len(population.cells))
    columns: dict[str, NDArray[Any]] = {
        "number": np.repeat(numbers, lengths),
        "label": np.repeat(names, lengths),
        **_geometry(found),
    }
    processes = [owner.hname() for item in found for owner in item.processes or ()]
    if processes:
        columns["point_process"] = np.array(processes, object)
    recorded = counts > 0
    ids = np.array([cell.id for cell in population.cells], np.int64)
    properties = {name: values[recorded] for name, values in population.columns.items()}
    return CompartmentTable.from_counts(
        population.name, ids[recorded], counts[recorded], columns, properties
    )


def _geometry(found: Sequence[_Compartments]) -> dict[str, NDArray[np.float64]]:
    """Return position in the section (0 to 1), centre and diameter (µm), of shape (segment,).

    The centre is interpolated along the 3-D points of the section; NaN without such points.
    """
    segments = [segment for item in found for segment in item.segments]
    position = np.array([segment.x for segment in segments], np.float64)
    columns = {"position": position}
    centres = np.full((len(_AXES), len(segments)), np.nan)
    stop = 0
    for item in found:
        start, stop = stop, stop + len(item.segments)
        points = _points(item.section)
        if points is not None:
            arc, coordinates = points
            at = position[start:stop] * arc[-1]
            centres[:, start:stop] = [np.interp(at, arc, axis) for axis in coordinates]
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
    """Return NEURON's unit of a variable; '' if it has none or does not exist."""
    # h.units prints an error message for an unknown name.
    process, _, variable = _element(name)[0].rpartition(".")
    if process:
        if variable not in _variables_of(h, process):
            return ""
        return str(h.units(f"{process}.{variable}"))
    return str(h.units(variable)) if _is_known(h, variable) else ""


def _variables_of(h: Any, process: str) -> set[str]:
    """Return the variables of a type of point processes."""
    types, text = h.MechanismType(1), h.ref("")
    names = []
    for number in range(int(types.count())):
        types.select(number)
        types.selected(text)
        names.append(text[0])
    if process not in names:
        msg = f"NEURON has no point process {process!r}; expected a type such as ExpSyn"
        raise RecordingError(msg)
    standard = h.MechanismStandard(process, 0)
    variables = set()
    for number in range(int(standard.count())):
        standard.name(text, number)
        variables.add(text[0])
    return variables


def _is_known(h: Any, name: str) -> bool:
    try:
        return hasattr(h, name)
    except TypeError:  # A range variable, which has a value only in a segment.
        return True
