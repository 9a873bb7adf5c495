"""Variables of a running NEURON model that can be recorded."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import RecordingError, UnitError, UnitWarning
from ndx_simulation_output.neuron.cells import Population
from ndx_simulation_output.recording import UNKNOWN, CompartmentTable, Unit, parse_unit

# Where the segments of a NEURON model are. The model is only looked at.

_AXES = ("x", "y", "z")


def segment_places(segments: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Give position along the section (0 to 1), diameter, and centre of each segment.

    The centre (``x``, ``y``, ``z``, micrometres) lies at the same part of the way along the 3-D
    points of the section, and is NaN where it has none. All have shape (segment,).
    """
    position = np.array([segment.x for segment in segments], np.float64)
    places = {"position": position}
    centres = _centres(segments, position)
    if not np.isnan(centres).all():
        places.update(zip(_AXES, centres, strict=True))
    places["diameter"] = np.array([segment.diam for segment in segments], np.float64)
    return places


def _centres(segments: Sequence[Any], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the centres; shape (axis, segment)."""
    centres = np.full((3, len(segments)), np.nan)
    section, points = None, None
    for number, segment in enumerate(segments):
        if segment.sec != section:
            section = segment.sec
            points = _points(section)
        if points is not None:
            arc, along = points
            at = position[number] * arc[-1]
            centres[:, number] = [np.interp(at, arc, axis) for axis in along]
    return centres


def _points(section: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Give the way to each 3-D point, shape (point,), and the points, (axis, point)."""
    count = section.n3d()
    if count < 2:
        return None
    arc = np.array([section.arc3d(point) for point in range(count)])
    along = [[getattr(section, f"{axis}3d")(point) for point in range(count)] for axis in _AXES]
    return arc, np.array(along)


# Values of many places of a running NEURON model, gathered with one call.
#
# Source: ``PtrVector`` of NEURON, whose ``gather`` is right with threads, CVode and CoreNEURON.
# It is set up in time linear in the number of places, which ``Vector.record`` is not.


class Gathered:
    """Values at the places to which ``pointers`` point when it is called; shape (place,)."""

    def __init__(self, h: Any, pointers: Callable[[], Iterable[Any]], count: int) -> None:
        self._count = count
        if not count:
            return
        self._places, self._vector = h.PtrVector(count), h.Vector(count)
        # Safe as long as the vector is neither resized nor let go of.
        self._values: NDArray[np.float64] = self._vector.as_numpy()
        self._point(pointers)
        if hasattr(self._places, "ptr_update_callback"):
            # Before version 9 NEURON moves values about and leaves pointers behind.
            self._places.ptr_update_callback(partial(self._point, pointers))

    def values(self) -> NDArray[np.float64]:
        """Give the values of this moment, to be used before they are asked for again."""
        if not self._count:
            return np.empty(0)
        self._places.gather(self._vector)
        return self._values

    def _point(self, pointers: Callable[[], Iterable[Any]]) -> None:
        for number, pointer in enumerate(pointers()):
            self._places.pset(number, pointer)


# What can be recorded of a running NEURON model: which variables, where, and in what unit.

_MEMBRANE_CURRENT = "i_membrane_"


@dataclass(frozen=True)
class Variable:
    """A variable to record, by its name in NEURON.

    ``v``, ``ina``, ``cai``, ``gna_hh``, ``i_membrane_`` are of segments; ``ExpSyn.g`` is of every
    point process ``ExpSyn``. ``every`` is the interval in ms, each time step where it is None; the
    first value is taken at ``start`` (ms), the last before or at ``stop``. ``sections`` are those
    to record, all where None. Values are stored as ``dtype``, under ``label`` or else the name.
    ``unit``, such as ``mV``, is for variables whose unit NEURON does not know.
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
class Recorded:
    """A variable of the compartments of one population.

    ``pointers`` finds them anew, in the order of ``table``.
    """

    name: str
    variable: Variable
    table: CompartmentTable
    unit: Unit
    pointers: Callable[[], Iterable[Any]]


def variables_of(
    variables: Iterable[str | Variable], every: float | None, dtype: DTypeLike
) -> list[Variable]:
    """Give all variables, those that are only named with the interval and type of the others."""
    return [
        Variable(variable, every=every, dtype=dtype) if isinstance(variable, str) else variable
        for variable in variables
    ]


def find_variable(
    h: Any, variable: Variable, populations: Iterable[Population]
) -> Iterator[Recorded]:
    """Find a variable in the cells of each population; those that do not have it are left out.

    Raises
    ------
    RecordingError
        If no section can have it.
    UnitError
        If its unit is not understood.

    """
    if variable.name == _MEMBRANE_CURRENT and not h.CVode().use_fast_imem():
        msg = "NEURON does not compute i_membrane_ yet; call h.CVode().use_fast_imem(True) before"
        raise RecordingError(msg)
    chosen = None if variable.sections is None else set(variable.sections)
    label, populations = variable.label or variable.name, list(populations)
    for population in populations:
        found = list(_compartments(h, variable.name, population, chosen))
        yield Recorded(
            label if len(populations) == 1 else f"{label}_{population.name}",
            replace(variable, sections=None),
            _table(population, found),
            _unit(h, variable),
            partial(_pointers, found),
        )


@dataclass(frozen=True, slots=True)
class _Compartment:
    """A segment or point process that has the variable, ``number`` being that of its section."""

    row: int
    number: int
    segment: Any
    owner: Any
    name: str

    def pointer(self) -> Any:
        return getattr(self.owner, f"_ref_{self.name}")


def _compartments(
    h: Any, name: str, population: Population, chosen: set[Any] | None
) -> Iterator[_Compartment]:
    process, _, own = name.rpartition(".")
    if process and not _is_known(h, process):
        msg = f"NEURON knows no point process {process!r}, of which {name} should be recorded"
        raise RecordingError(msg)
    for row, cell in enumerate(population.cells):
        for number, section in cell.sections.items():
            if chosen is not None and section not in chosen:
                continue
            for segment in section:
                if process:
                    yield from (
                        _Compartment(row, number, segment, one, own)
                        for one in segment.point_processes()
                        if one.hname().partition("[")[0] == process and _has(one, own)
                    )
                elif _has(segment, name):
                    yield _Compartment(row, number, segment, segment, name)
                else:
                    break  # A mechanism is in all segments of a section or in none.


def _pointers(found: list[_Compartment]) -> Iterator[Any]:
    return (one.pointer() for one in found)


def _has(owner: Any, name: str) -> bool:
    try:
        getattr(owner, f"_ref_{name}")
    except (AttributeError, NameError):
        return False
    return True


def _table(population: Population, found: list[_Compartment]) -> CompartmentTable:
    counts = np.bincount([one.row for one in found], minlength=len(population.cells))
    columns: dict[str, NDArray[Any]] = {
        "number": np.array([one.number for one in found], np.int32),
        "label": np.array([one.segment.sec.name() for one in found], object),
        **segment_places([one.segment for one in found]),
    }
    if any(one.owner is not one.segment for one in found):
        columns["point_process"] = np.array([one.owner.hname() for one in found], object)
    kept = counts > 0
    ids = np.array([cell.id for cell in population.cells], np.int64)
    return CompartmentTable.from_counts(population.name, ids[kept], counts[kept], columns)


def _unit(h: Any, variable: Variable) -> Unit:
    """Give the unit that the caller says, or NEURON."""
    text = variable.unit
    if text is None:
        text = "nA" if variable.name == _MEMBRANE_CURRENT else _said(h, variable.name)
    unit = parse_unit(text) if text else UNKNOWN
    if unit is None and variable.unit is not None:
        msg = f"unit {text!r} of {variable.name} is not understood; expected one such as 'mV'"
        raise UnitError(msg)
    return unit or UNKNOWN


def warn_of_unknown_unit(recorded: Recorded) -> None:
    """Tell the caller how to say a unit that is not known."""
    name = recorded.variable.name
    if not recorded.unit.known and recorded.variable.unit is None:
        msg = (
            f"NEURON gives no unit that is understood for {name}: it is stored as unknown; say it "
            f"with Variable({name!r}, unit=…), '1' for none"
        )
        warnings.warn(msg, UnitWarning, stacklevel=5)


def _said(h: Any, name: str) -> str:
    # NEURON prints a complaint when it is asked for the unit of a name that it does not know.
    if not _is_known(h, name.partition(".")[0]):
        return ""
    try:
        return str(h.units(name))
    except RuntimeError:  # A point process without such a variable.
        return ""


def _is_known(h: Any, name: str) -> bool:
    try:
        return hasattr(h, name)
    except TypeError:  # Range variables are known, and have no value without a segment.
        return True
