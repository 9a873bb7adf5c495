"""What can be recorded of a running NEURON model: which variables, where, and in what unit."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.adapters.neuron.cells import Population
from ndx_simulation_output.adapters.neuron.places import segment_places
from ndx_simulation_output.errors import RecordingError, UnitError, UnitWarning
from ndx_simulation_output.recording import UNKNOWN, CompartmentTable, Unit, parse_unit

__all__ = ["Recorded", "Variable", "find_variable", "variables_of", "warn_of_unknown_unit"]

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
