"""Convert the contents of a storage or ``Manager`` to a ``SimulationOutput`` and back."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import UnitError, UnitWarning, UnsupportedSourceError
from ndx_simulation_output.neuronvisio.refs import SYNAPSES, VECTORS, Contents, Ref, RefGroup
from ndx_simulation_output.recording import (
    UNKNOWN,
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CompartmentTable,
    LazyArray,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Times,
    Timestamps,
    Unit,
    parse_unit,
)
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.morphology import FORMAT, Geometry, read_neuroml
from ndx_simulation_output.recording.views import Stacked

_ION = "(?:na|k|ca|cl)"
_UNITS = {
    VECTORS: (
        (r"v|e_pas|el_hh|e_extracellular|vext\[\d+\]", "mV"),
        (f"e{_ION}", "mV"),
        (f"i{_ION}|i_cap|i_pas|il_hh|i_membrane", "mA/cm2"),
        ("i_membrane_", "nA"),
        (f"{_ION}[io]", "mM"),
        (r"g_pas|gl_hh|gna_hh|gk_hh|gnabar_hh|gkbar_hh|xg\[\d+\]", "S/cm2"),
        ("[mhn]_hh", "1"),
        (r"cm|xc\[\d+\]", "uF/cm2"),
        ("diam", "um"),
    ),
    SYNAPSES: (("v|e", "mV"), ("i", "nA"), ("g", "uS")),
}
"""Units of the variables that NEURON defines. A ``storage.h5`` does not contain units."""


def _unit_of(group: str, variable: str, names: tuple[str, ...], given: Mapping[str, str]) -> Unit:
    """Return the unit in ``given`` of the first of ``names`` found there, else NEURON's unit."""
    for name in names:
        if name in given:
            return _parsed(name, given[name])
    for pattern, symbol in _UNITS.get(group, ()):
        if re.fullmatch(pattern, variable):
            return parse_unit(symbol) or UNKNOWN
    warnings.warn(
        f"variable {variable!r} of group {group!r} has no unit; set it with --unit "
        f"{names[0]}=UNIT (unit={{{names[0]!r}: UNIT}}); stored as 'unknown'",
        UnitWarning,
        stacklevel=2,
    )
    return UNKNOWN


def _seconds_of(group: str, given: Mapping[str, str], *, is_neurons: bool) -> float:
    """Return the factor that converts x of a group to seconds; the default unit of x is ms."""
    if group in given:
        unit = _parsed(group, given[group])
        if unit.name != "seconds":
            msg = f"the time unit of {group!r} is {given[group]!r}; expected s, ms or such"
            raise UnitError(msg)
        return unit.conversion
    if not is_neurons:
        warnings.warn(
            f"x of group {group!r} is assumed to be times in ms, as in NEURON; set another unit "
            f"with --time-unit {group}=UNIT (time_unit={{{group!r}: UNIT}})",
            UnitWarning,
            stacklevel=2,
        )
    return 1e-3


def _check_names(what: str, given: Mapping[str, str], known: set[str]) -> None:
    """Raise ``UnitError`` if a name in ``given`` is not in ``known``."""
    for name in given:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            msg = f"there is no {name!r} whose {what} could be set; there are: {names}"
            raise UnitError(msg)


def _parsed(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit of {name!r} is {text!r}, which is not known; expected a unit such as mV"
        raise UnitError(msg)
    return unit


_POPULATION = "cells"
_UNKNOWN_CELL = "unknown"
_X = "x"
"""Name of the independent variable of a group, and its role if it is stored as an array."""
_REGULAR = 1e-6
"""Tolerance for regular times, as a fraction of the step: NEURON accumulates rounding errors."""


@dataclass(frozen=True)
class _Trace:
    """A vector as long as x. ``rank`` is the index of its reference in the group."""

    rank: int
    ref: Ref
    values: LazyArray


def describe(
    contents: Contents,
    unit: Mapping[str, str],
    time_unit: Mapping[str, str],
    files: tuple[str, ...] = (),
) -> SimulationOutput:
    """Convert the traces of each group and variable to a report, and other vectors to arrays.

    Each group of references also becomes an array group, which contains x and lists the references
    that have no vectors.
    """
    reports: list[Report] = []
    groups: list[ArrayGroup] = []
    names = _Names()
    neurons = next((group.x for group in contents.groups if group.name == VECTORS), None)
    variables: set[str] = set()
    for group in contents.groups:
        traces, own = _split(group)
        is_neurons = group.name in {VECTORS, SYNAPSES} or _are_same(group.x, neurons)
        variables |= {variable for variable, _ in traces}
        if traces:
            factor = _seconds_of(group.name, time_unit, is_neurons=is_neurons)
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
                    unit=_unit_of(group.name, variable, (name, variable), unit),
                    variable=variable,
                    provenance={"format": FORMAT, "group": group.name},
                )
            )
        groups.append(_array_group(group, own, "ms" if is_neurons else ""))
    _check_names("unit", unit, {report.name for report in reports} | variables)
    _check_names("time unit", time_unit, {group.name for group in contents.groups})
    geometry = contents.geometry
    return SimulationOutput(
        reports=tuple(reports),
        arrays=tuple(groups),
        run=Run("NEURON", geometry.version, morphology=geometry.text),
        notes=contents.notes,
        provenance={"format": FORMAT, "files": list(files)},
    )


class _Names:
    """Names of reports: the variable for sections, ``group_variable`` for other groups."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of(self, group: str, variable: str) -> str:
        # HDF5 does not allow names that consist only of dots.
        alone = group == VECTORS and variable.strip(".")
        wanted = variable if alone else f"{group}_{variable}"
        name, count = wanted, 1
        while _comparable(name) in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(_comparable(name))
        return name


def _comparable(name: str) -> str:
    """Return the name as it is stored in NWB, which does not allow ``/`` and ``:``."""
    return name.replace("/", "_").replace(":", "_")


def _split(
    group: RefGroup,
) -> tuple[dict[tuple[str, str], list[_Trace]], list[ArrayWithAxes]]:
    """Return the traces by variable and type, and the vectors that are not traces."""
    traces: dict[tuple[str, str], list[_Trace]] = {}
    own: list[ArrayWithAxes] = []
    count = _count_of_times(group.x)
    for rank, ref in enumerate(group.refs):
        for variable, values in ref.vecs.items():
            if count and values.shape == (count,) and values.dtype.kind == "f" and variable:
                key = variable, values.dtype.str
                traces.setdefault(key, []).append(_Trace(rank, ref, values))
            else:
                own.append(_array(rank, ref, variable, values))
    return traces, own


def _count_of_times(x: LazyArray | None) -> int:
    """Return the number of values of x if they can be times: finite and ascending; else 0."""
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
    # NEURON adds up time steps, so rounding is needed to recover a step such as 0.025.
    for regular in (float(f"{step:.9g}"), float(step)):
        expected = x[0] + np.arange(len(x)) * regular
        if regular > 0 and np.abs(x - expected).max() < _REGULAR * regular:
            return RegularTimes(float(x[0]) * factor, 1 / factor / regular, len(x))
    return Timestamps(x * factor)


def _by_cell(
    group: str, traces: list[_Trace], geometry: Geometry
) -> tuple[list[_Trace], CompartmentTable]:
    """Sort traces by cell, with unknown sections last; return them and their compartment table."""
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
    """Return positions of shape (ref,) and x, y, z, diameter of shape (ref, 4); NaN if unknown."""
    positions = np.full(len(refs), np.nan)
    points = np.full((len(refs), 4), np.nan)
    if group != VECTORS:
        return positions, points
    for index, ref in enumerate(refs):
        if ref.place is None:
            positions[index] = 0.5
        else:
            positions[index] = ref.place.recorded_position()
            points[index] = ref.place.coordinates_at(positions[index])
    return positions, points


def _numbers(refs: Sequence[Ref]) -> Iterator[int]:
    """Yield the number of each section in its cell; unknown sections are counted from 0."""
    unknown: dict[str, int] = {}
    for ref in refs:
        yield ref.place.number if ref.place else unknown.setdefault(ref.section, len(unknown))


def _texts(values: Any) -> NDArray[Any]:
    return np.asarray([*values, None], object)[:-1]


def _array(rank: int, ref: Ref, variable: str, values: LazyArray) -> ArrayWithAxes:
    extra = {
        "section": ref.section,
        "variable": variable,
        "detail": ref.detail,
        "ref": rank,
        "stored": ref.stored,
        **_byte_order(values),
    }
    label = " ".join(filter(None, (ref.section, variable, ref.detail)))
    return ArrayWithAxes(f"{ref.section}_{variable}", values, label=label, extra=extra)


def _byte_order(values: LazyArray) -> dict[str, str]:
    """Return the dtype if it is not in native byte order, since values are stored in that order."""
    return {} if values.dtype.isnative else {"dtype": values.dtype.str}


def _array_group(group: RefGroup, own: list[ArrayWithAxes], x_unit: str) -> ArrayGroup:
    x = group.x
    axes: tuple[ArrayAxis, ...] = ()
    if x is not None and len(x.shape) == 1 and x.dtype.kind in "iuf" and x.dtype.isnative:
        axes = (ArrayAxis(_X, x, label=_X, unit=x_unit),)
    elif x is not None:
        own = [*own, ArrayWithAxes(_X, x, role=_X, label=_X, unit=x_unit, extra=_byte_order(x))]
    empty = [
        {"ref": rank, "section": ref.section, "stored": ref.stored, "detail": ref.detail}
        for rank, ref in enumerate(group.refs)
        if not ref.vecs
    ]
    extra: dict[str, Any] = {"format": FORMAT, **({"empty": empty} if empty else {})}
    return ArrayGroup(group.name, tuple(own), axes, extra=extra)


@dataclass
class _Found:
    """A reference that is being restored."""

    section: str
    detail: str
    stored: str
    vecs: dict[str, LazyArray] = field(default_factory=dict)


def restore(output: SimulationOutput) -> Contents:
    """Return the groups of references from the result of ``describe``; traces are loaded."""
    groups = output.arrays
    if not groups or any(group.extra.get("format") != FORMAT for group in groups):
        msg = "the file was not written from references of Neuronvisio; use open_output"
        raise UnsupportedSourceError(msg)
    found: dict[str, dict[int, _Found]] = {group.name: {} for group in groups}
    for report in output.reports:
        if report.provenance.get("format") == FORMAT:
            refs = found.setdefault(report.provenance["group"], {})
            for rank, ref in _traces(report):
                refs.setdefault(rank, ref).vecs.update(ref.vecs)
    for group in groups:
        refs = found[group.name]
        for array in group.arrays:
            if array.role != _X:
                extra = array.extra
                ref = _Found(extra["section"], extra["detail"], extra.get("stored", ""))
                ref = refs.setdefault(extra.get("ref", len(refs)), ref)
                ref.vecs[extra["variable"]] = _values(array)
        for extra in group.extra.get("empty", []):
            refs[extra["ref"]] = _Found(extra["section"], extra["detail"], extra["stored"])
    text = output.run.morphology
    geometry = read_neuroml(text, "the morphology") if text else Geometry()
    xs = {group.name: _x(group) for group in groups}
    restored = [
        RefGroup(name, xs.get(name), tuple(_ref(refs[rank], geometry) for rank in sorted(refs)))
        for name, refs in found.items()
    ]
    return Contents(tuple(restored), geometry, output.notes)


def _x(group: ArrayGroup) -> LazyArray | None:
    if group.axes:
        return group.axes[0].values
    return next((_values(array) for array in group.arrays if array.role == _X), None)


def _values(array: ArrayWithAxes) -> LazyArray:
    dtype = array.extra.get("dtype")
    return array.values if dtype is None else read_all(array.values).astype(dtype, copy=False)


def _ref(found: _Found, geometry: Geometry) -> Ref:
    place = geometry.by_name.get(found.section)
    return Ref(found.section, found.vecs, found.detail, found.stored, place)


def _traces(report: Report) -> Iterator[tuple[int, _Found]]:
    """Yield, for each column, the rank of its reference and a reference with that vector."""
    columns = np.arange(report.compartments.n_compartments)
    table = report.compartments
    ranks = table.values("ref", columns).tolist()
    texts: dict[str, list[Any]] = {
        name: table.values(name, columns).tolist() if name in table.columns else [""] * len(columns)
        for name in ("label", "detail", "stored")
    }
    values = np.ascontiguousarray(np.asarray(report.data[:, :]).T)
    for column, rank in enumerate(ranks):
        label, detail, stored = (texts[name][column] for name in ("label", "detail", "stored"))
        yield rank, _Found(label, detail, stored, {report.variable or report.name: values[column]})
