"""Neurons in space, coloured by a variable at a time, and animations of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    ExportError,
    MissingDependencyError,
    NothingRecordedError,
    ShapeMismatchError,
)
from ndx_simulation_output.files import atomic_file, check_target
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    empty_figure,
    find_source,
    quantity_of,
    report_title,
    require_cells,
    scale_of,
    title,
)
from ndx_simulation_output.plots.downsampling import sample, seconds_at, spread
from ndx_simulation_output.plots.groups import Groups, group_cells, legend_of_groups
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.spikes import BinnedRates, rate_report, table_of_cells
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
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.morphology import FORMAT, Section, read_neuroml
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Scale, parse_unit, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES = ("x", "y", "z")
_MAX_COMPARTMENTS = 20_000
_MAX_FRAMES = 1000
_MAX_SIZED_SPOTS = 500
_THINNEST, _THICKEST = 1.0, 8.0
_GREY = "0.8"
_REACH = 0.07
"""Projected distance of the corners of the box from its centre; leaves room for labels."""

_NO_COORDINATES = (
    "A heat map does not need them (--kind heat). In NEURON, h.define_shape() creates the missing "
    "3-D points; call it before recording, or before a Manager saves"
)
_FLAT = 0.02
"""Depth of neurons relative to their extent below which the view is from above."""


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
    ``widths`` are in points. ``spots`` are the indices of compartments drawn as points.
    """

    lines: tuple[NDArray[np.float64], ...]
    owners: NDArray[np.intp]
    widths: NDArray[np.float64]
    spots: NDArray[np.intp]


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
        points[firsts] = _places(table.cells, owners[firsts])
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


def _places(cells: CellTable, ids: NDArray[Any]) -> NDArray[np.float64]:
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


def _are_points(table: CompartmentTable) -> bool:
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
    if known and not (of_cells and _are_points(known[0].compartments)):
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
    return Report("cells", "cells", data, RegularTimes(0.0, 1.0, 0), table, UNKNOWN)


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
    widths = np.clip(np.nan_to_num(np.asarray(diameters), nan=1.5), _THINNEST, _THICKEST)
    return NeuronShape(
        tuple(lines), np.asarray(owners, np.intp), widths, np.asarray(spots, np.intp)
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


def neuron(
    source: Any,
    cells: Cells | None = None,
    *,
    group_by: str | Groups | None = None,
    at: float | None = None,
    start: float | None = None,
    stop: float | None = None,
    limits: tuple[float, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw compartments in space, coloured by their values at the row nearest to ``at`` (s).

    By default, the middle row and the first cell are drawn; if cells have one compartment each or
    their places are known (properties x, y and z), up to 20,000 compartments. Of an output with
    several reports, the first one in volts is drawn. Cells of which only the place is known are
    points. Without reports in space, the cells of the first spikes are coloured by their mean rate
    from ``start`` to ``stop`` (s), or near ``at``; without spikes, all cells of the circuit are
    drawn.

    ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the name of a node
    set. With ``group_by``, the name of a property, cells have the colours of their groups instead
    of values, and points are all cells of the population. ``limits`` are the values of the first
    and the last colour, in the unit of the report. Sections of a Neuronvisio output are drawn along
    their 3-D points, in grey if nothing was recorded. ``ax`` must be three-dimensional.

    Raises
    ------
    NothingRecordedError
        If the compartments have no coordinates.
    SelectionError
        If there is no such property or node set.
    SourceError
        If the NeuroML of a Neuronvisio output cannot be read.
    CellNotFoundError
        If a cell id is not in the table, or no cell matches.
    ShapeMismatchError
        If ``ax`` is not three-dimensional.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     neuron(output["v"], cells=3, at=0.05)

    """
    window = {"start": start, "stop": stop, "is_mean": at is None}
    report = report_in_space(source, of_cells=group_by is not None, **window)
    ax = axes_or_new(ax, "3d")
    if group_by is not None or not report.times.count:
        return _draw_groups(ax, source, report, cells, group_by)
    coordinates, note = _coordinates_to_draw(report, cells)
    if at is None:
        middle = report.times.count // 2
        at = float(report.times.seconds(slice(middle, middle + 1))[0])
    frames = read_frames(report, coordinates.columns, at=at)
    others = np.zeros((0, 3))
    if cells is None and _are_points(report.compartments):
        others, of_others = _other_cells(source, report.compartments)
        note = ", ".join(filter(None, [note, of_others]))
    drawn = _draw(ax, source, report, coordinates, limits or color_limits(frames), note, others)
    drawn.show(ax, report, float(frames.times[0]), frames.values[0])
    return ax


def _other_cells(source: Any, table: CompartmentTable) -> tuple[NDArray[np.float64], str]:
    """Return the places of cells of the population that were not recorded, and a note."""
    known = cells_in_space(source) if isinstance(source, SimulationOutput) else []
    for cells in known:
        ids = np.setdiff1d(np.asarray(cells.ids[:]), np.asarray(table.cell_ids[:]))
        if cells.population == table.population and len(ids):
            shown = ids[sample(len(ids), _MAX_COMPARTMENTS)]
            return _places(cells, shown), f"{len(ids):,} other cells in grey"
    return np.zeros((0, 3)), ""


def _draw_groups(
    ax: "Axes", source: Any, report: Report, cells: Cells | None, group_by: str | Groups | None
) -> "Axes":
    """Draw compartments in the colours of the groups of their cells, or all in one colour."""
    coordinates, note = _coordinates_to_draw(report, cells, is_all=True)
    table = report.compartments
    ids = np.unique(coordinates.cells)
    colors = np.full(len(coordinates.columns), COLORS[0], object)
    if group_by is not None:
        groups = group_cells(table.cells, group_by, ids)
        colors = np.array(groups.colors, object)[groups.codes_of(coordinates.cells)]
        legend_of_groups(ax, groups, groups.labels, marker="o", linestyle="none", markersize=6)
        note = ", ".join(filter(None, [note, groups.note]))
    shape = _shape_in(ax, source, report, coordinates)
    is_recorded = shape.owners >= 0
    if not is_recorded.all():
        _draw_lines(ax, shape, ~is_recorded, colors=_GREY)
    if is_recorded.any():
        _draw_lines(ax, shape, is_recorded, colors=colors[shape.owners[is_recorded]].tolist())
    if len(shape.spots):
        _draw_spots(ax, coordinates, shape.spots, c=colors[shape.spots].tolist())
    _set_view(ax, [*shape.lines, coordinates.points])
    number = f"{len(ids):,} cell{'' if len(ids) == 1 else 's'}"
    title(ax, f"cells, population {table.population}", ", ".join(filter(None, [number, note])))
    return ax


def save_animation(
    source: Any,
    path: str | Path,
    cells: Cells | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    frames: int = 60,
    fps: int = 20,
    overwrite: bool = False,
) -> Path:
    """Write an animation of neurons in space to a GIF, or to an MP4 if ffmpeg is installed.

    It has one frame for each of ``frames`` rows, evenly spread over the time window, and shows
    ``fps`` frames per second. Colours range from the lowest to the highest value shown. Report and
    cells are those of :func:`neuron`.

    Raises
    ------
    ExportError
        If the name ends neither in ``.gif`` nor in ``.mp4``.
    NothingRecordedError
        If the compartments have no coordinates, or the window contains no values.
    CellNotFoundError
        If a cell id is not in the table, or no cell matches.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.
    MissingDependencyError
        If matplotlib is not installed, or ffmpeg for an MP4.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     save_animation(output["v"], "neuron.gif", cells=3, stop=0.05)

    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    figure = empty_figure(6.4, 4.8)
    writer = _animation_writer(path, fps)
    report = report_in_space(source, start=start, stop=stop)
    coordinates, note = _coordinates_to_draw(report, cells)
    shown = read_frames(
        report, coordinates.columns, start=start, stop=stop, count=min(frames, _MAX_FRAMES)
    )
    ax = figure.add_subplot(projection="3d")
    drawn = _draw(ax, source, report, coordinates, color_limits(shown), note)
    with (
        atomic_file(path, overwrite=overwrite) as temporary,
        writer.saving(figure, str(temporary), dpi=100),
    ):
        for time, values in zip(shown.times, shown.values, strict=True):
            drawn.show(ax, report, float(time), values)
            writer.grab_frame()
    return path


def _animation_writer(path: Path, fps: int) -> Any:
    from matplotlib import animation

    if path.suffix == ".gif":
        return animation.PillowWriter(fps=fps)
    if path.suffix != ".mp4":
        msg = f"{path} is not an animation; expected a name that ends in .gif or .mp4"
        raise ExportError(msg)
    if not animation.FFMpegWriter.isAvailable():
        msg = f"{path} needs ffmpeg, which is not installed; a .gif does not need it"
        raise MissingDependencyError(msg)
    return animation.FFMpegWriter(fps=fps)


def _coordinates_to_draw(
    report: Report, cells: Cells | None, *, is_all: bool = False
) -> tuple[Coordinates, str]:
    """Return the coordinates of the compartments to draw, and a note that describes them."""
    table = report.compartments
    is_all = is_all or table.n_compartments in {0, len(table)} or are_cells_in_space(table.cells)
    if cells is None and not is_all:
        cells = int(table.cell_ids[np.flatnonzero(table.counts())[0]])
    found = table.find(cells)
    require_cells(table.population, cells, found)
    owners = table.cells_of(found)
    begins = np.flatnonzero(np.diff(owners, prepend=-1))
    if "x" not in table.columns and are_cells_in_space(table.cells):
        found, begins = found[begins], np.arange(len(begins))
    total = len(found)
    columns = found[_whole_cells(begins, total)]
    coordinates = read_coordinates(table, columns)
    shown = np.unique(coordinates.cells)
    notes = [f"cell {shown[0]}"] if len(shown) == 1 else []
    if len(columns) < total:
        notes.append(f"{len(columns):,} of {total:,} compartments")
    if coordinates.left_out:
        some = "compartment" if coordinates.left_out == 1 else "compartments"
        notes.append(f"{coordinates.left_out:,} {some} without coordinates not shown")
    return coordinates, ", ".join(notes)


def _whole_cells(begins: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """Return at most 20,000 of ``total`` compartments, of a random sample of cells if possible.

    The compartments of the cells begin at ``begins``.
    """
    if total <= _MAX_COMPARTMENTS:
        return np.arange(total)
    ends = np.append(begins[1:], total)
    some = sample(len(begins), max(1, len(begins) * _MAX_COMPARTMENTS // total))
    parts = [np.arange(begins[one], ends[one]) for one in some]
    chosen = np.concatenate(parts)
    return chosen[sample(len(chosen), _MAX_COMPARTMENTS)]


@dataclass(frozen=True)
class _Artists:
    """Artists whose colours change with time, with the indices of their compartments."""

    artists: tuple[tuple[Any, NDArray[np.intp]], ...]
    scale: Scale
    note: str

    def show(self, ax: "Axes", report: Report, time: float, values: NDArray[Any]) -> None:
        """Colour the artists by values, shape (compartment,), and set the title."""
        for artist, owners in self.artists:
            artist.set_array(values[owners] * self.scale.factor)
        times = [time]
        if isinstance(report.data, BinnedRates):
            edges = report.data.edges
            times = edges[max(np.searchsorted(edges, time) - 1, 0) :][:2].tolist()
        shown = time_scale(max(map(abs, times)))
        when = " to ".join(f"{one * shown.factor:.4g}" for one in times)
        at = "at" if len(times) == 1 else "from"
        title(ax, f"{report_title(report)}, {at} {when} {shown.symbol}", self.note)


def _draw(
    ax: Any,
    source: Any,
    report: Report,
    coordinates: Coordinates,
    limits: tuple[float, float],
    note: str,
    others: NDArray[np.float64] | None = None,
) -> _Artists:
    """Draw the shape of compartments without values; ``limits`` are in the unit of the report.

    ``others``, shape (cell, 3), are grey points.
    """
    others = np.zeros((0, 3)) if others is None else others
    if len(others):
        ax.scatter(*others.T, s=6, color=_GREY, linewidths=0, depthshade=False)
    shape = _shape_in(ax, source, report, coordinates)
    scale = scale_of(report.unit.name, np.asarray(limits))
    low, high = (limit * scale.factor for limit in limits)
    is_recorded = shape.owners >= 0
    artists = []
    if not is_recorded.all():
        _draw_lines(ax, shape, ~is_recorded, colors=_GREY)
    if is_recorded.any():
        lines = _draw_lines(ax, shape, is_recorded, cmap="viridis", clim=(low, high))
        artists.append((lines, shape.owners[is_recorded]))
    if len(shape.spots):
        style = {"c": np.zeros(len(shape.spots)), "cmap": "viridis", "vmin": low, "vmax": high}
        artists.append((_draw_spots(ax, coordinates, shape.spots, **style), shape.spots))
    _set_view(ax, [*shape.lines, coordinates.points, others])
    color_bar(ax, artists[0][0], scale.label(quantity_of(report)), shrink=0.7, pad=0.1)
    return _Artists(tuple(artists), scale, note)


def _shape_in(ax: Any, source: Any, report: Report, coordinates: Coordinates) -> NeuronShape:
    """Return the shape of compartments to draw in three-dimensional axes."""
    if not hasattr(ax, "get_zlim"):
        msg = "a neuron needs axes in three dimensions: add_subplot(projection='3d')"
        raise ShapeMismatchError(msg)
    cells = set(np.unique(coordinates.cells).tolist())
    sections = {
        key: section for key, section in sections_of(source, report).items() if key[0] in cells
    }
    return neuron_shape(coordinates, sections)


def _draw_lines(ax: Any, shape: NeuronShape, which: NDArray[np.bool_], **colors: Any) -> Any:
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    chosen = np.flatnonzero(which)
    lines = Line3DCollection(
        [shape.lines[index] for index in chosen],
        linewidths=shape.widths[chosen],
        capstyle="butt",
        **colors,
    )
    ax.add_collection3d(lines, autolim=False)
    return lines


def _draw_spots(ax: Any, coordinates: Coordinates, spots: NDArray[np.intp], **colors: Any) -> Any:
    """Draw compartments as points; if they are few, their size depends on the diameter."""
    largest = np.clip(60 / np.sqrt(len(spots)), 3, 12)
    sizes = np.nan_to_num(coordinates.diameters[spots], nan=min(largest, 8))
    return ax.scatter(
        *coordinates.points[spots].T,
        s=np.clip(sizes, 2, largest) ** 2 if len(spots) <= _MAX_SIZED_SPOTS else 4.0,
        linewidths=0,
        depthshade=False,
        **colors,
    )


def _set_view(ax: Any, parts: list[NDArray[np.float64]]) -> None:
    """Show all parts with equal scales on all axes; the view of flat neurons is from above."""
    points = np.concatenate(parts)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    widest = float((high - low).max()) or 1.0
    spans = np.maximum(1.05 * (high - low), widest / 3)
    middle = (low + high) / 2
    is_flat = bool(high[2] - low[2] < _FLAT * widest)
    for axis, center, span in zip(_AXES, middle, spans, strict=True):
        getattr(ax, f"set_{axis}lim")(center - span / 2, center + span / 2)
        getattr(ax, f"set_{axis}label")(f"{axis} (µm)", labelpad={"x": 4, "y": 12, "z": 9}[axis])
        ax.locator_params(axis, nbins=4 if span > widest / 2 else 2)
    ax.tick_params("z", pad=8)
    if is_flat:
        ax.set_proj_type("ortho")
        ax.view_init(elev=90, azim=-90)
        ax.set_zticks([])
        ax.set_zlabel("")
    ax.set_box_aspect(spans)
    ax.set_box_aspect(spans, zoom=_REACH / _projected_reach(ax))


def _projected_reach(ax: Any) -> float:
    """Return the maximum distance of the projected corners of the box from the centre."""
    from mpl_toolkits.mplot3d import proj3d

    corners = product(ax.get_xlim3d(), ax.get_ylim3d(), ax.get_zlim3d())
    x, y, _ = proj3d.proj_transform(*np.transpose(list(corners)), ax.get_proj())
    return float(np.abs([x, y]).max())
