"""Neurons in space, coloured by a variable at a time, and animations of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    ExportError,
    MissingDependencyError,
    ShapeMismatchError,
)
from ndx_simulation_output.files import atomic_file, check_target
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    coloring,
    empty_figure,
    in_look,
    quantity_of,
    report_title,
    require_cells,
    scale_of,
    title,
    with_look,
)
from ndx_simulation_output.plots.downsampling import sample
from ndx_simulation_output.plots.groups import Groups, group_cells, legend_of_groups
from ndx_simulation_output.plots.look import (
    COLORS,
    MISSING_COLOR,
    OTHER_COLOR,
    ColorScale,
    color_scale,
)
from ndx_simulation_output.plots.shapes import (
    Coordinates,
    Frames,
    NeuronShape,
    are_cells_in_space,
    are_points,
    cells_in_space,
    color_limits,
    neuron_shape,
    places_of,
    read_coordinates,
    read_frames,
    report_in_space,
    sections_of,
)
from ndx_simulation_output.plots.spikes import BinnedRates
from ndx_simulation_output.recording import (
    CompartmentTable,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.units import Scale, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_COMPARTMENTS = 20_000
_MAX_FRAMES = 1000
_MAX_SIZED_SPOTS = 500
_MARGIN = 0.7
"""Width in points of the margin of lines and spots whose colours are around 0."""


@with_look
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
    if cells is None and are_points(report.compartments):
        others, of_others = _other_cells(source, report.compartments)
        note = ", ".join(filter(None, [note, of_others]))
    colors = _colors_of(report, frames)
    if limits is not None:
        colors = ColorScale(colors.name, *limits)
    drawn = _draw(ax, source, report, coordinates, colors, note, others)
    drawn.show(ax, report, float(frames.times[0]), frames.values[0])
    return ax


def _colors_of(report: Report, frames: Frames) -> ColorScale:
    """Return the colours of values: those of currents are around 0, and far outliers are beyond."""
    scale = color_scale(frames.values, frames.unit, quantity_of(report))
    low, high = (scale.low, scale.high) if scale.low < scale.high else color_limits(frames)
    return replace(scale, low=low, high=high)


def _other_cells(source: Any, table: CompartmentTable) -> tuple[NDArray[np.float64], str]:
    """Return the places of cells of the population that were not recorded, and a note."""
    known = cells_in_space(source) if isinstance(source, SimulationOutput) else []
    for cells in known:
        ids = np.setdiff1d(np.asarray(cells.ids[:]), np.asarray(table.cell_ids[:]))
        if cells.population == table.population and len(ids):
            shown = ids[sample(len(ids), _MAX_COMPARTMENTS)]
            return places_of(cells, shown), f"{len(ids):,} other cells in grey"
    return np.zeros((0, 3)), ""


def _draw_groups(
    ax: "Axes", source: Any, report: Report, cells: Cells | None, group_by: str | Groups | None
) -> "Axes":
    """Draw compartments in the colours of the groups of their cells, or all in one colour."""
    from ndx_simulation_output.plots.space import set_view

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
    if shape.lines:
        _add_lines(ax, shape, colors=[*np.append(colors, MISSING_COLOR)[shape.owners]])
    if len(shape.spots):
        _draw_spots(ax, coordinates, shape.spots, c=colors[shape.spots].tolist())
    set_view(ax, [*shape.lines, coordinates.points])
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
    ``fps`` frames per second. Colours range from the lowest to the highest value shown,
    without far outliers. Report and cells are those of :func:`neuron`.

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
    import_optional("matplotlib", "a plot", "plot")
    writer = _animation_writer(path, fps)
    report = report_in_space(source, start=start, stop=stop)
    coordinates, note = _coordinates_to_draw(report, cells)
    shown = read_frames(
        report, coordinates.columns, start=start, stop=stop, count=min(frames, _MAX_FRAMES)
    )
    with in_look():
        figure = empty_figure(6.4, 4.8)
        ax = figure.add_subplot(projection="3d")
        drawn = _draw(ax, source, report, coordinates, _colors_of(report, shown), note)
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
            # The last one is for lines of owner -1, which were not recorded.
            known = np.append(np.asarray(values, np.float64), np.nan)
            artist.set_array(known[owners] * self.scale.factor)
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
    colors: ColorScale,
    note: str,
    others: NDArray[np.float64] | None = None,
) -> _Artists:
    """Draw the shape of compartments without values; ``colors`` are in the unit of the report.

    ``others``, shape (cell, 3), are grey points.
    """
    from ndx_simulation_output.plots.space import set_view

    others = np.zeros((0, 3)) if others is None else others
    if len(others):
        style = {"color": MISSING_COLOR, "linewidths": 0, "depthshade": False}
        ax.scatter(*others.T, s=6, clip_on=False, **style)
    shape = _shape_in(ax, source, report, coordinates)
    scale = scale_of(report.unit.name, np.asarray([colors.low, colors.high]))
    style = coloring(colors, scale.factor)
    artists = []
    if shape.lines and colors.name == "signed":
        # Colours near 0 are as light as the ground.
        _add_lines(ax, shape, colors=[OTHER_COLOR] * len(shape.lines), margin=_MARGIN)
    if shape.lines:
        lines = _add_lines(ax, shape, cmap=style["cmap"], clim=(style["vmin"], style["vmax"]))
        artists.append((lines, shape.owners))
    if len(shape.spots):
        style["c"] = np.zeros(len(shape.spots))
        if colors.name == "signed" and len(shape.spots) <= _MAX_SIZED_SPOTS:
            style |= {"linewidths": _MARGIN, "edgecolors": OTHER_COLOR}
        artists.append((_draw_spots(ax, coordinates, shape.spots, **style), shape.spots))
    set_view(ax, [*shape.lines, coordinates.points, others])
    color_bar(ax, artists[0][0], scale.label(quantity_of(report)), shrink=0.7, pad=0.02)
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


def _add_lines(ax: Any, shape: NeuronShape, **colors: Any) -> Any:
    from ndx_simulation_output.plots.space import DepthLines

    lines = DepthLines(shape.lines, shape.diameters, capstyle="butt", clip_on=False, **colors)
    ax.add_collection3d(lines, autolim=False)
    return lines


def _draw_spots(ax: Any, coordinates: Coordinates, spots: NDArray[np.intp], **colors: Any) -> Any:
    """Draw compartments as points; if they are few, their size depends on the diameter."""
    largest = np.clip(60 / np.sqrt(len(spots)), 3, 12)
    sizes = np.nan_to_num(coordinates.diameters[spots], nan=min(largest, 8))
    return ax.scatter(
        *coordinates.points[spots].T,
        s=np.clip(sizes, 2, largest) ** 2 if len(spots) <= _MAX_SIZED_SPOTS else 4.0,
        depthshade=False,
        clip_on=False,
        **{"linewidths": 0, **colors},
    )
