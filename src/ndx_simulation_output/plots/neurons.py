"""Neurons in space, their compartments coloured by a variable at a time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.neuronvisio import Section
from ndx_simulation_output.adapters.neuronvisio.describing import FORMAT
from ndx_simulation_output.adapters.neuronvisio.geometry import read_neuroml
from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    quantity_of,
    scale_of,
    title,
)
from ndx_simulation_output.plots.shapes import Shape, shape_of
from ndx_simulation_output.plots.sources import report_of
from ndx_simulation_output.recording import Report, SimulationOutput
from ndx_simulation_output.recording.reduced import (
    Frame,
    Places,
    read_frames,
    read_places,
    sample,
)
from ndx_simulation_output.recording.scales import Scale, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Drawn",
    "draw_frame",
    "limits_of",
    "neuron",
    "places_to_draw",
    "report_in_space",
    "sections_of",
]

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
