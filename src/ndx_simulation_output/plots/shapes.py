"""Where compartments and cells are in space, their shapes, and their values at points in time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    NothingRecordedError,
)
from ndx_simulation_output.plots.canvas import (
    find_source,
)
from ndx_simulation_output.plots.downsampling import seconds_at, spread
from ndx_simulation_output.plots.spikes import rate_report, table_of_cells
from ndx_simulation_output.recording import (
    UNKNOWN,
    CellTable,
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.arrays import release
from ndx_simulation_output.recording.morphology import FORMAT, Section, read_neuroml
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import parse_unit

_AXES = ("x", "y", "z")
_THINNEST, _THICKEST = 1.0, 8.0

_NO_COORDINATES = (
    "A heat map does not need them (--kind heat). In NEURON, h.define_shape() creates the missing "
    "3-D points; call it before recording, or before a Manager saves"
)


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of compartments: ``points`` x, y, z in µm, shape (compartment, 3).

    All others have shape (compartment,): ``columns`` of the report, ids of ``cells``, ``numbers``
    of sections, ``diameters`` (µm) and ``positions`` in the section, NaN if unknown. Compartments
    without coordinates are not included; ``left_out`` is their number. A cell of which only the
    place is known has its first compartment there; ``n_places`` is the number of these cells.
    """

    columns: NDArray[np.intp]
    points: NDArray[np.float64]
    diameters: NDArray[np.float64]
    cells: NDArray[Any]
    numbers: NDArray[Any]
    positions: NDArray[np.float64]
    left_out: int
    n_places: int = 0


@dataclass(frozen=True)
class Frames:
    """Values of compartments at ``times`` (s), shape (time, compartment), in ``unit``."""

    times: NDArray[np.float64]
    values: NDArray[Any]
    unit: str


@dataclass(frozen=True)
class NeuronShape:
    """Lines and spots that show neurons, in µm; each line has shape (point, 3).

    ``owners`` are the indices of the compartments that the lines show, -1 if not recorded;
    ``diameters`` are in µm, NaN if unknown. ``spots`` are the indices of compartments drawn as
    points.
    """

    lines: tuple[NDArray[np.float64], ...]
    owners: NDArray[np.intp]
    diameters: NDArray[np.float64]
    spots: NDArray[np.intp]

    @property
    def widths(self) -> NDArray[np.float64]:
        """Widths of lines in points that are not to scale."""
        return np.clip(np.nan_to_num(self.diameters, nan=1.5), _THINNEST, _THICKEST)


def read_coordinates(table: CompartmentTable, columns: NDArray[np.intp]) -> Coordinates:
    """Read the coordinates of the compartments ``columns`` of a table.

    Raises
    ------
    NothingRecordedError
        If the table has no coordinates, or none for any of these compartments.

    """
    has_places = are_cells_in_space(table.cells)
    if not set(_AXES) <= set(table.columns) and not has_places:
        found = dict.fromkeys([*table.columns, *table.cell_columns])
        msg = (
            f"the compartments of population {table.population!r} have no coordinates: expected "
            f"columns x, y and z; found {', '.join(found) or 'none'}. {_NO_COORDINATES}"
        )
        raise NothingRecordedError(msg)
    points = np.full((len(columns), 3), np.nan)
    if set(_AXES) <= set(table.columns):
        points = np.column_stack([table.values(axis, columns) for axis in _AXES]).astype(np.float64)
    known = np.isfinite(points).all(axis=1)
    n_places = 0
    if has_places and not known.all():
        owners = table.cells_of(columns)
        cells, firsts = np.unique(owners, return_index=True)
        firsts = firsts[~np.isin(cells, owners[known])]
        points[firsts] = places_of(table.cells, owners[firsts])
        known[firsts] = np.isfinite(points[firsts]).all(axis=1)
        n_places = int(np.count_nonzero(known[firsts]))
    if not known.any():
        reasons = "; ".join(table.notes()) or _NO_COORDINATES
        msg = (
            f"none of the {len(columns)} selected compartments of population "
            f"{table.population!r} has coordinates: x, y and z are NaN. {reasons}"
        )
        raise NothingRecordedError(msg)
    columns = columns[known]
    unknown = np.full(len(columns), np.nan)
    optional = {
        name: table.values(name, columns) if name in table.columns else unknown
        for name in ("diameter", "position")
    }
    return Coordinates(
        columns,
        points[known],
        optional["diameter"].astype(np.float64),
        table.cells_of(columns),
        table.values("number", columns),
        optional["position"].astype(np.float64),
        int(np.count_nonzero(~known)),
        n_places,
    )


def are_cells_in_space(cells: CellTable | None) -> bool:
    """Return True if the places of cells are known: properties x, y and, unless it is 0, z (µm)."""
    return cells is not None and {"x", "y"} <= set(cells.columns)


def places_of(cells: CellTable, ids: NDArray[Any]) -> NDArray[np.float64]:
    """Return the places of cells in µm, shape (cell, 3)."""
    of_ids = cells.select(ids).columns
    axes = [np.asarray(of_ids[axis][:], float) for axis in _AXES if axis in of_ids]
    return np.column_stack(axes if len(axes) == len(_AXES) else [*axes, np.zeros(len(ids))])


def read_frames(
    report: Report,
    columns: NDArray[np.intp],
    *,
    at: float | None = None,
    start: float | None = None,
    stop: float | None = None,
    count: int = 1,
) -> Frames:
    """Read values at the row nearest to ``at`` (s), or at ``count`` rows spread over a window.

    Raises
    ------
    NothingRecordedError
        If the window contains no row.

    """
    if at is not None and report.times.count:
        rows = np.asarray([_nearest_row(report.times, at)])
    else:
        window = report.times.window(start, stop)
        rows = window.start + spread(window.stop - window.start, count)
    if not len(rows):
        where = " in this time window" if report.times.count else ""
        msg = f"{report.name!r} of population {report.population!r} has no values{where}"
        raise NothingRecordedError(msg)
    values = [
        read_in_unit(report.data, slice(int(row), int(row) + 1), columns, report.unit)[0]
        for row in rows
    ]
    release(report.data)
    return Frames(seconds_at(report.times, rows), np.stack(values), report.unit.name)


def _nearest_row(times: Times, at: float) -> int:
    after = int(min(times.window(at, None).start, times.count - 1))
    before = max(after - 1, 0)
    around = seconds_at(times, np.asarray([before, after]))
    return before if bool(at - around[0] <= around[1] - at) else after


def reports_in_space(output: SimulationOutput) -> list[Report]:
    """Return the reports with places of compartments or of cells, in this order, volts first."""
    known = [
        report
        for report in output.reports
        if "x" in report.compartments.columns or are_cells_in_space(report.compartments.cells)
    ]
    return sorted(
        known,
        key=lambda report: ("x" not in report.compartments.columns, not _is_in_volts(report)),
    )


def are_points(table: CompartmentTable) -> bool:
    """Return True if each cell of a table is a point in space."""
    return table.n_compartments == len(table) or "x" not in table.columns


def _is_in_volts(report: Report) -> bool:
    unit = parse_unit(report.unit.name)
    return unit is not None and unit.name == "volts"


def report_in_space(source: Any, *, of_cells: bool = False, **window: Any) -> Report:
    """Return the report of a source that is drawn in space.

    Of an output, it is the first one with coordinates, potentials first. If there is none, it has
    the rates of the cells with spikes (see ``rate_report`` for ``window``) or, without spikes, the
    cells of the circuit, without values. With ``of_cells``, it has all cells of the population
    if they are points.
    """
    if isinstance(source, Spikes):
        return rate_report(source, **window)
    if not isinstance(source, SimulationOutput):
        is_table = isinstance(source, CellTable)
        return _report_without_values(source) if is_table else find_source(source, Report)
    known = reports_in_space(source)
    if known and not (of_cells and are_points(known[0].compartments)):
        return known[0]
    spikes = [one for one in source.spikes if are_cells_in_space(one.cells)]
    if spikes and not of_cells:
        return rate_report(spikes[0], **window)
    tables = cells_in_space(source)
    recorded = [one.population for one in known] + [one.population for one in spikes]
    for table in tables:
        if table.population in recorded[:1] or not recorded:
            return _report_without_values(table)
    return known[0] if known else find_source(source, Report)


def cells_in_space(output: SimulationOutput) -> list[CellTable]:
    """Return the tables of cells whose places are known: of the circuit, spikes and reports."""
    circuit = () if output.circuit is None else output.circuit.populations
    of_spikes = (spikes.cells for spikes in output.spikes)
    of_reports = (report.compartments.cells for report in output.reports)
    tables = (*circuit, *of_spikes, *of_reports)
    return [cells for cells in tables if cells is not None and are_cells_in_space(cells)]


def _report_without_values(cells: CellTable) -> Report:
    ids = np.asarray(cells.ids[:])
    table = table_of_cells(cells.population, ids, cells)
    data = np.zeros((0, len(ids)))
    return Report("cells", data, RegularTimes(0.0, 1.0, 0), table, UNKNOWN)


def sections_of(source: Any, report: Report) -> Mapping[tuple[int, int], Section]:
    """Return the sections of a Neuronvisio output by cell and number, for other outputs none.

    In other outputs, the section numbers of a report may differ from those in the NeuroML.
    """
    text = source.run.morphology if isinstance(source, SimulationOutput) else None
    if not text or report.provenance.get("format") != FORMAT:
        return {}
    geometry = read_neuroml(text, "the morphology of the run")
    cells = {name: number for number, name in enumerate(geometry.cells)}
    return {(cells[section.cell], section.number): section for section in geometry.sections}


def neuron_shape(
    coordinates: Coordinates, sections: Mapping[tuple[int, int], Section]
) -> NeuronShape:
    """Return the shape of compartments; ``sections`` are by cell and number, if known.

    A section with 3-D points is drawn along them, each part in the colour of the recorded
    compartment with the nearest position. Other compartments of a section are joined by lines that
    reach halfway to the next. Single compartments are spots: their length is unknown. Sections are
    not joined, because a table does not contain their parents.
    """
    lines: list[NDArray[np.float64]] = []
    owners: list[int] = []
    spots: list[int] = []
    diameters: list[float] = []
    drawn = set()
    for key, members in _by_section(coordinates):
        section = sections.get(key)
        parts = (
            _join_compartments(coordinates, members)
            if section is None
            else _split_section(section, coordinates, members)
        )
        if not parts:
            spots.extend(members.tolist())
        for owner, line in parts:
            lines.append(line)
            owners.append(owner)
            diameters.append(coordinates.diameters[owner])
        drawn.add(key)
    for key in sections.keys() - drawn:
        points = sections[key].points
        if len(points) > 1:
            lines.append(points[:, :3])
            owners.append(-1)
            diameters.append(float(np.mean(points[:, 3])))
    return NeuronShape(
        tuple(lines),
        np.asarray(owners, np.intp),
        np.asarray(diameters, np.float64),
        np.asarray(spots, np.intp),
    )


def _by_section(
    coordinates: Coordinates,
) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Yield cell and number of each section, and its compartments in order of position."""
    order = np.lexsort((coordinates.positions, coordinates.numbers, coordinates.cells))
    cells, numbers = coordinates.cells[order], coordinates.numbers[order]
    edges = np.flatnonzero((np.diff(cells) != 0) | (np.diff(numbers) != 0)) + 1
    for members in np.split(order, edges):
        if len(members):
            first = members[0]
            yield (int(coordinates.cells[first]), int(coordinates.numbers[first])), members


def _join_compartments(
    coordinates: Coordinates, members: NDArray[np.intp]
) -> list[tuple[int, NDArray[np.float64]]]:
    """Return a line for each compartment, between the midpoints to its neighbours.

    The first and the last line extend equally in both directions.
    """
    points = coordinates.points[members]
    if len(members) < 2:
        return []
    halves = (points[1:] + points[:-1]) / 2
    ends = np.vstack([2 * points[0] - halves[0], halves, 2 * points[-1] - halves[-1]])
    return [
        (int(member), np.stack([ends[index], points[index], ends[index + 1]]))
        for index, member in enumerate(members)
    ]


def _split_section(
    section: Section, coordinates: Coordinates, members: NDArray[np.intp]
) -> list[tuple[int, NDArray[np.float64]]]:
    """Return a part of a section for each compartment, cut halfway between their positions."""
    points = section.points[:, :3]
    if len(points) < 2:
        return []
    at = np.nan_to_num(coordinates.positions[members], nan=0.5)
    borders = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    arc = arc / (arc[-1] or 1.0)
    parts = []
    for member, first, last in zip(members, borders[:-1], borders[1:], strict=True):
        inner = arc[(arc > first) & (arc < last)]
        along = np.concatenate([[first], inner, [last]])
        line = np.column_stack([np.interp(along, arc, axis) for axis in points.T])
        parts.append((int(member), line))
    return parts


def color_limits(frames: Frames) -> tuple[float, float]:
    """Return the lowest and highest value, or two values around a constant."""
    finite = frames.values[np.isfinite(frames.values)]
    if not len(finite) or not finite.any():
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low - abs(low) * 1e-3 - 1e-12, high + abs(high) * 1e-3)
