"""Draw neurons in space, coloured by a variable."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from ndx_simulation_output.files import check_target, whole_file
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    new_figure,
    quantity_of,
    report_of,
    scale_of,
    title,
)
from ndx_simulation_output.plots.downsampling import sample, seconds_at
from ndx_simulation_output.recording import Report, SimulationOutput
from ndx_simulation_output.recording.arrays import release
from ndx_simulation_output.recording.morphology import FORMAT, Section, read_neuroml
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Scale, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ndx_simulation_output.recording.compartments import CompartmentTable

# Where compartments are, and their values at some times.

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


# The shape of neurons as lines: a compartment is drawn as far as it is known to reach.

_THINNEST, _THICKEST = 1.0, 8.0


@dataclass(frozen=True)
class Shape:
    """Lines and spots in space, in µm: each ``line`` has shape (point, 3).

    ``owners`` are indices of compartments, -1 for what was not recorded; ``widths`` are in points
    on paper. ``spots`` are indices of compartments that are drawn as points.
    """

    lines: tuple[NDArray[np.float64], ...]
    owners: NDArray[np.intp]
    widths: NDArray[np.float64]
    spots: NDArray[np.intp]


def shape_of(places: Places, sections: Mapping[tuple[int, int], Section]) -> Shape:
    """Give the shape of compartments, with their sections, by cell and number, where known.

    A section with a known course is drawn along it, each part in the colour of the recorded
    compartment that is nearest along the section. Else compartments of a section are joined: each
    reaches halfway to the next. Single ones are spots, for nothing says how long they are. Sections
    are not joined to each other: a table does not say which begins where.
    """
    lines: list[NDArray[np.float64]] = []
    owners: list[int] = []
    spots: list[int] = []
    diameters: list[float] = []
    drawn = set()
    for key, members in _by_section(places):
        section = sections.get(key)
        parts = list(
            _joined(places, members) if section is None else _along(section, places, members)
        )
        if not parts:
            spots.extend(members.tolist())
        for owner, line in parts:
            lines.append(line)
            owners.append(owner)
            diameters.append(places.diameters[owner])
        drawn.add(key)
    for key in sections.keys() - drawn:
        points = sections[key].points
        if len(points) > 1:
            lines.append(points[:, :3])
            owners.append(-1)
            diameters.append(float(np.mean(points[:, 3])))
    widths = np.clip(np.nan_to_num(np.asarray(diameters), nan=1.5), _THINNEST, _THICKEST)
    return Shape(tuple(lines), np.asarray(owners, np.intp), widths, np.asarray(spots, np.intp))


def _by_section(places: Places) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Give the compartments of each section of each cell, in the order of their positions."""
    order = np.lexsort((places.positions, places.numbers, places.cells))
    cells, numbers = places.cells[order], places.numbers[order]
    edges = np.flatnonzero((np.diff(cells) != 0) | (np.diff(numbers) != 0)) + 1
    for members in np.split(order, edges):
        if len(members):
            yield (int(places.cells[members[0]]), int(places.numbers[members[0]])), members


def _joined(places: Places, members: NDArray[np.intp]) -> Iterator[tuple[int, Any]]:
    """Give for each compartment the way from halfway before it to halfway behind it.

    The first and the last reach as far beyond their middle as they do towards the next.
    """
    points = places.points[members]
    if len(members) < 2:
        return
    halves = (points[1:] + points[:-1]) / 2
    ends = np.vstack([2 * points[0] - halves[0], halves, 2 * points[-1] - halves[-1]])
    for place, member in enumerate(members):
        yield int(member), np.stack([ends[place], points[place], ends[place + 1]])


def _along(
    section: Section, places: Places, members: NDArray[np.intp]
) -> Iterator[tuple[int, Any]]:
    """Cut the course of a section halfway between the positions of recorded compartments."""
    points = section.points[:, :3]
    if len(points) < 2:
        return
    at = np.nan_to_num(places.positions[members], nan=0.5)
    borders = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    arc = arc / (arc[-1] or 1.0)
    for place, member in enumerate(members):
        first, last = borders[place], borders[place + 1]
        inner = arc[(arc > first) & (arc < last)]
        ways = np.concatenate([[first], inner, [last]])
        yield int(member), np.column_stack([np.interp(ways, arc, axis) for axis in points.T])


# Neurons in space, their compartments coloured by a variable at a time.

_MOST_COMPARTMENTS = 20_000
_FEW = 500
_GREY = "0.8"
_FLAT = 0.02
"""Part of the widest direction below which the depth of neurons is not shown."""


@dataclass(frozen=True)
class Drawn:
    """What of a picture changes with time: lines and spots, and the compartments they show."""

    artists: tuple[tuple[Any, NDArray[np.intp]], ...]
    scale: Scale
    note: str

    def show(self, ax: "Axes", report: Report, time: float, values: NDArray[Any]) -> None:
        """Colour everything by the values, shape (compartment,), at a time (s)."""
        for artist, owners in self.artists:
            artist.set_array(values[owners] * self.scale.factor)
        shown = time_scale(abs(time))
        about = f"{report.name}, population {report.population}"
        title(ax, f"{about}, at {time * shown.factor:.4g} {shown.symbol}", self.note)


def neuron(
    source: Any,
    cells: Iterable[int] | int | None = None,
    *,
    at: float | None = None,
    limits: tuple[float, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw compartments in space, coloured by their values at the row nearest to ``at`` (s).

    By default that is the middle row, and the first cell; or, where cells have one compartment
    each, 20,000 of them. ``limits`` are the values of the first and the last colour, in the
    unit of the report. Of an output of Neuronvisio, sections are drawn along their 3-D points, in
    grey where nothing was recorded. ``ax`` must be three-dimensional.

    Raises
    ------
    NothingRecordedError
        If nothing says where the compartments are.
    SourceError
        If the NeuroML of an output of Neuronvisio cannot be read.
    CellNotFoundError
        If a cell id is not in the table.
    ShapeMismatchError
        If ``ax`` is not three-dimensional.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     neuron(output["v"], cells=3, at=0.05)

    """
    report = report_in_space(source)
    ax = axes_or_new(ax, "3d")
    places, note = places_to_draw(report, cells)
    if at is None:
        at = float(report.times.seconds(_middle(report.times.count))[0])
    frame = read_frames(report, places.columns, at=at)
    low, high = limits or limits_of(frame)
    drawn = draw_frame(ax, report, places, sections_of(source, report), (low, high), note)
    drawn.show(ax, report, float(frame.times[0]), frame.values[0])
    return ax


def report_in_space(source: Any) -> Report:
    """Give the report, or the first of an output that knows where its compartments are."""
    if isinstance(source, SimulationOutput):
        known = [one for one in source.reports if "x" in one.compartments.columns]
        return known[0] if known else report_of(source)
    return report_of(source)


def sections_of(source: Any, report: Report) -> Mapping[tuple[int, int], Section]:
    """Give the sections of an output of Neuronvisio by cell and number, else none.

    Only there are the numbers of a report known to be those of its NeuroML.
    """
    text = source.run.morphology if isinstance(source, SimulationOutput) else None
    if not text or report.provenance.get("format") != FORMAT:
        return {}
    geometry = read_neuroml(text, "the morphology of the run")
    cells = {name: number for number, name in enumerate(geometry.cells)}
    return {(cells[section.cell], section.number): section for section in geometry.sections}


def draw_frame(
    ax: Any,
    report: Report,
    places: Places,
    sections: Mapping[tuple[int, int], Section],
    limits: tuple[float, float],
    note: str,
) -> Drawn:
    """Draw the shape of compartments, to be coloured; ``limits`` are in the unit of the report.

    Raises
    ------
    ShapeMismatchError
        If ``ax`` is not three-dimensional.

    """
    if not hasattr(ax, "get_zlim"):
        msg = "a neuron needs axes in three dimensions: add_subplot(projection='3d')"
        raise ShapeMismatchError(msg)
    cells = set(np.unique(places.cells).tolist())
    shape = shape_of(places, {key: one for key, one in sections.items() if key[0] in cells})
    scale = scale_of(report.unit.name, np.asarray(limits))
    low, high = (limit * scale.factor for limit in limits)
    colors = {"cmap": "viridis", "clim": (low, high)}
    _draw_lines(ax, shape, shape.owners < 0, {"colors": _GREY})
    lines = _draw_lines(ax, shape, shape.owners >= 0, colors)
    drawn = [(lines, shape.owners[shape.owners >= 0])] if lines is not None else []
    if len(shape.spots):
        drawn.append((_draw_spots(ax, places, shape.spots, (low, high)), shape.spots))
    _frame_space(ax, [*shape.lines, places.points])
    color_bar(ax, drawn[0][0], scale.label(quantity_of(report)), shrink=0.7, pad=0.1)
    return Drawn(tuple(drawn), scale, note)


def _draw_lines(ax: Any, shape: Shape, which: NDArray[np.bool_], colors: Mapping[str, Any]) -> Any:
    """Draw some lines of a shape, None if there are none."""
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    chosen = np.flatnonzero(which)
    if not len(chosen):
        return None
    ways = [shape.lines[index] for index in chosen]
    lines = Line3DCollection(ways, linewidths=shape.widths[chosen], capstyle="butt", **colors)
    ax.add_collection3d(lines, autolim=False)
    return lines


def _draw_spots(
    ax: Any, places: Places, spots: NDArray[np.intp], limits: tuple[float, float]
) -> Any:
    """Draw compartments as points; few are the larger, the thicker they are."""
    x, y, z = places.points[spots].T
    sizes = np.clip(np.nan_to_num(places.diameters[spots], nan=3.0), 2, 12) ** 2
    sizes = sizes if len(spots) <= _FEW else np.full(len(spots), 4.0)
    low, high = limits
    options = {"cmap": "viridis", "vmin": low, "vmax": high, "depthshade": False}
    return ax.scatter(x, y, z, s=sizes, c=np.zeros(len(x)), **options)


def places_to_draw(report: Report, cells: Iterable[int] | int | None) -> tuple[Places, str]:
    """Give the compartments to draw, and say which they are."""
    table = report.compartments
    of = table.n_compartments
    if cells is not None:
        columns = table.find(cells)
        of = len(columns)
        columns = columns[sample(of, _MOST_COMPARTMENTS)]
    elif of == len(table) or not of:
        columns = sample(of, _MOST_COMPARTMENTS)
    else:
        first = int(np.flatnonzero(table.counts())[0])
        columns = table.find(int(table.cell_ids[first]))
        columns = columns[sample(len(columns), _MOST_COMPARTMENTS)]
    places = read_places(table, columns)
    one = np.unique(places.cells)
    notes = [f"cell {one[0]}"] if len(one) == 1 else []
    if len(columns) < of:
        notes.append(f"{len(columns):,} of {of:,} compartments")
    if places.left_out:
        notes.append(f"{places.left_out:,} without a place left out")
    return places, ", ".join(notes)


def _middle(count: int) -> slice:
    if not count:
        msg = "the report has no values to draw"
        raise NothingRecordedError(msg)
    return slice(count // 2, count // 2 + 1)


def limits_of(frame: Frame) -> tuple[float, float]:
    """Give the lowest and the highest value of frames, apart from each other."""
    finite = frame.values[np.isfinite(frame.values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low - abs(low) * 1e-3 - 1e-12, high + abs(high) * 1e-3)


def _frame_space(ax: Any, parts: list[NDArray[np.float64]]) -> None:
    """Show all parts, a micrometre as long in each direction; look at flat ones from above."""
    points = np.concatenate(parts)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    widest = float((high - low).max()) or 1.0
    spans = np.maximum(1.05 * (high - low), widest / 5)
    middle = (low + high) / 2
    is_flat = bool(high[2] - low[2] < _FLAT * widest)
    for axis, center, span in zip("xyz", middle, spans, strict=True):
        getattr(ax, f"set_{axis}lim")(center - span / 2, center + span / 2)
        getattr(ax, f"set_{axis}label")(f"{axis} (µm)")
    ax.set_box_aspect(spans, zoom=1.15 if is_flat else 1.0)
    ax.locator_params(nbins=4)
    if is_flat:
        ax.set_proj_type("ortho")
        ax.view_init(elev=90, azim=-90)
        ax.set_zticks([])
        ax.set_zlabel("")


# Neurons over time, as an animation.

_MOST_FRAMES = 1000


def save_animation(
    source: Any,
    path: str | Path,
    cells: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    frames: int = 60,
    fps: int = 20,
    overwrite: bool = False,
) -> Path:
    """Write neurons in space over time to a GIF, or an MP4 where ffmpeg is installed.

    ``frames`` rows are shown, evenly spread over the window, each in one picture of which there are
    ``fps`` a second. Colours reach from the lowest to the highest value shown. The cells are those
    of :func:`neuron`.

    Raises
    ------
    ExportError
        If the name ends neither in ``.gif`` nor in ``.mp4``.
    NothingRecordedError
        If nothing says where the compartments are.
    CellNotFoundError
        If a cell id is not in the table.
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
    figure = new_figure(6.4, 4.8)
    writer = _writer(path, fps)
    report = report_in_space(source)
    places, note = places_to_draw(report, cells)
    shown = read_frames(
        report, places.columns, start=start, stop=stop, count=min(frames, _MOST_FRAMES)
    )
    ax = figure.add_subplot(projection="3d")
    drawn = draw_frame(ax, report, places, sections_of(source, report), limits_of(shown), note)
    with (
        whole_file(path, overwrite=overwrite) as temporary,
        writer.saving(figure, str(temporary), dpi=100),
    ):
        for time, values in zip(shown.times, shown.values, strict=True):
            drawn.show(ax, report, float(time), values)
            writer.grab_frame()
    return path


def _writer(path: Path, fps: int) -> Any:
    from matplotlib import animation

    if path.suffix == ".gif":
        return animation.PillowWriter(fps=fps)
    if path.suffix != ".mp4":
        msg = f"{path} is no name of an animation; expected one that ends in .gif or .mp4"
        raise ExportError(msg)
    if not animation.FFMpegWriter.isAvailable():
        msg = f"{path} needs ffmpeg, which is not installed; a name that ends in .gif needs nothing"
        raise MissingDependencyError(msg)
    return animation.FFMpegWriter(fps=fps)
