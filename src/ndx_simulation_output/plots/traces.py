"""Draw traces, heat maps and extracellular channels."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import (
    FINE,
    axes_or_new,
    color_bar,
    image,
    pixels_of,
    potential_of,
    quantity_of,
    report_of,
    scale_of,
    title,
    whole_numbers,
)
from ndx_simulation_output.plots.downsampling import (
    How,
    Lines,
    reduce_columns,
    reduce_traces,
    spread,
    stack_traces,
)
from ndx_simulation_output.plots.downsampling import heat_map as reduce_map
from ndx_simulation_output.recording import CompartmentTable, Report
from ndx_simulation_output.recording.units import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Traces, heat maps and extracellular channels.

_IN_LEGEND = 10
_CELLS_ON_AXIS = 16


def traces(
    source: Any,
    cells: Iterable[int] | int | None = None,
    numbers: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    most: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw traces of a report or compartment series over time.

    Of more than 8 compartments, the first of each of 8 cells is drawn; of chosen ones up to 50.
    ``most`` says it otherwise, and the title what was left out. However long a trace is, every
    extreme value is drawn.

    Raises
    ------
    CellNotFoundError
        If a cell id is not in the table.
    CompartmentNotFoundError
        If a number or label belongs to none of the cells.
    NothingRecordedError
        If an output has no reports, or the window no values.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     traces(output["v"], cells=[3, 7], numbers=0, stop=0.1)

    """
    report = report_of(source)
    ax = axes_or_new(ax)
    if cells is None and numbers is None and labels is None:
        columns, of = _some_columns(report.compartments, most or 8), report.data.shape[1]
    else:
        found = report.compartments.find(cells, numbers, labels)
        columns, of = found[spread(len(found), most or 50)], len(found)
    lines = reduce_traces(report, columns, start=start, stop=stop, pixels=pixels_of(ax)[1])
    _refuse_nothing(report.name, lines.values)
    scale = scale_of(report.unit.name, lines.values)
    names = _names(report, columns)
    _draw_lines(ax, lines, lines.values * scale.factor, names)
    ax.set_ylabel(scale.label(quantity_of(report)))
    if 1 < len(columns) <= _IN_LEGEND:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    shown = f"{len(columns):,} of {of:,} compartments" if len(columns) < of else ""
    one = names[0] if len(columns) == 1 else ""
    title(ax, _about(report), ", ".join(part for part in (one, shown) if part))
    return ax


def heat_map(
    source: Any,
    cells: Iterable[int] | int | None = None,
    numbers: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    how: How = "mean",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the compartments of a report over time as an image.

    Where several values fall into a pixel it shows their mean, or the highest or lowest with
    ``how="max"`` or ``"min"``; of more than 256 MiB it shows a sample. The title says so.

    Raises
    ------
    CellNotFoundError
        If a cell id is not in the table.
    CompartmentNotFoundError
        If a number or label belongs to none of the cells.
    NothingRecordedError
        If an output has no reports, or the window no values.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     heat_map(output["v"], start=0.0, stop=0.1)

    """
    report = report_of(source)
    ax = axes_or_new(ax)
    columns = None
    if not (cells is None and numbers is None and labels is None):
        columns = report.compartments.find(cells, numbers, labels)
    found = reduce_map(report, columns, start=start, stop=stop, shape=pixels_of(ax), how=how)
    _refuse_nothing(report.name, found.values[:, : found.rows])
    scale = scale_of(found.unit, found.values)
    time = time_scale(float(found.times[-1] - found.times[0]))
    drawn = image(ax, found.values * scale.factor, found.times * time.factor, found.columns)
    color_bar(ax, drawn, scale.label(quantity_of(report)))
    ax.set_xlabel(time.label("time"))
    _mark_cells(ax, report, columns)
    title(ax, _about(report), found.note)
    return ax


def channels(
    source: Any,
    ids: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    most: int = 32,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw extracellular channels above each other, equally far apart.

    ``ids`` are those of the channels, by default ``most`` of them, evenly spread.

    Raises
    ------
    NothingRecordedError
        If an output has no extracellular potentials, or the potential no such channel.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     channels(output.potentials[0])

    """
    potential = potential_of(source)
    ax = axes_or_new(ax)
    known = np.asarray(potential.channel_ids)
    found = potential.find(ids)
    columns = found[spread(len(found), most)]
    lines = reduce_traces(potential, columns, start=start, stop=stop, pixels=pixels_of(ax)[1])
    _refuse_nothing(potential.name, lines.values)
    stacked, step = stack_traces(lines.values)
    scale = scale_of(potential.unit.name, np.asarray([step]))
    _draw_lines(ax, lines, stacked, None)
    ax.set_yticks(np.arange(len(columns)), [str(channel) for channel in known[columns]])
    ax.set_ylabel("channel")
    shown = "" if len(columns) == len(found) else f"{len(columns)} of {len(found)} channels, "
    apart = f"{step * scale.factor:.3g} {scale.symbol}".strip()
    title(ax, potential.name, f"{shown}{apart} from one channel to the next")
    return ax


def _refuse_nothing(name: str, values: NDArray[Any]) -> None:
    if not values.size:
        msg = f"{name!r} has no values to draw: no compartments, or none in this window of time"
        raise NothingRecordedError(msg)


def _draw_lines(ax: "Axes", lines: Lines, values: NDArray[Any], names: list[str] | None) -> None:
    """Draw traces over time; few samples are shown as points too."""
    span = float(lines.times[-1] - lines.times[0]) if len(lines.times) else 0.0
    time = time_scale(span)
    marker = "." if len(lines.times) <= 30 else ""
    drawn = ax.plot(lines.times * time.factor, values, linewidth=FINE, marker=marker)
    for line, name in zip(drawn, names or [], strict=False):
        line.set_label(name)
    if len(lines.times) > 1 and span > 0:
        ax.set_xlim(lines.times[0] * time.factor, lines.times[-1] * time.factor)
    ax.set_xlabel(time.label("time"))


def _about(report: Report) -> str:
    return f"{report.name}, population {report.population}"


def _some_columns(table: CompartmentTable, most: int) -> NDArray[np.intp]:
    """Give all compartments if they are few, else the first of some cells, or some of the one."""
    if table.n_compartments <= most or len(table) == 1:
        return spread(table.n_compartments, most)
    counts = table.counts()
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    return np.asarray(firsts[spread(len(firsts), most)], np.intp)


def _names(report: Report, columns: NDArray[np.intp]) -> list[str]:
    """Name compartments: by cell and, where cells have several, by label or number."""
    table = report.compartments
    cells = table.cells_of(columns)
    if table.n_compartments == len(table):
        return [f"cell {cell}" for cell in cells]
    known = next((name for name in ("label", "number") if name in table.columns), None)
    if known is None:
        return [f"cell {cell}" for cell in cells]
    values = table.values(known, columns)
    return [f"cell {cell}: {value}" for cell, value in zip(cells, values, strict=True)]


def _mark_cells(ax: "Axes", report: Report, columns: NDArray[np.intp] | None) -> None:
    """Name the cells along the vertical axis if they are few, else count compartments."""
    table = report.compartments
    if columns is None and len(table) > _CELLS_ON_AXIS:
        ax.set_ylabel("compartment")
        whole_numbers(ax.yaxis)
        return
    cells = table.column_cells() if columns is None else table.cells_of(columns)
    edges = np.flatnonzero(np.diff(cells)) + 1
    if not len(cells) or len(edges) >= _CELLS_ON_AXIS:
        ax.set_ylabel("compartment, as chosen")
        whole_numbers(ax.yaxis)
        return
    begins = np.concatenate([[0], edges, [len(cells)]])
    ax.set_yticks((begins[:-1] + begins[1:]) / 2, [str(cell) for cell in cells[begins[:-1]]])
    ax.tick_params(axis="y", length=0)
    for edge in edges:
        ax.axhline(float(edge), color="white", linewidth=FINE)
    ax.set_ylabel("compartments of cell")


# Vectors as a manager of Neuronvisio has them, over time and over the distance of sections.

_TIME = "time (ms)"


def vectors(
    named: Mapping[str, NDArray[Any]],
    x: NDArray[Any] | None = None,
    *,
    legend: bool = True,
    points: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw vectors, each of shape (value,), along ``x``; those of another length by their index.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> vectors({"soma": np.zeros(3)}, np.arange(3.0))  # doctest: +SKIP

    """
    ax = axes_or_new(ax)
    by_index = [name for name, values in named.items() if x is None or len(values) != len(x)]
    for name, values in named.items():
        at = np.arange(len(values)) if x is None or name in by_index else x
        lines = reduce_columns(at, values[:, np.newaxis], pixels=pixels_of(ax)[1])
        style: dict[str, Any] = {"linewidth": FINE}
        style = {"linestyle": "none", "marker": "o"} if points else style
        ax.plot(lines.times, lines.values[:, 0], label=name, **style)
    some = len(by_index) < len(named)
    ax.set_xlabel(_TIME if not by_index else f"{_TIME}, or index" if some else "index")
    if legend and named:
        ax.legend(fontsize="small")
    return ax


def vectors_along(
    named: Mapping[str, NDArray[Any]],
    distances: Mapping[str, float],
    time: NDArray[Any],
    label: str,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw vectors over time, each at the distance of its section in micrometres.

    ``ax`` must be three-dimensional.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> vectors_along({"soma": np.zeros(3)}, {"soma": 0.0}, np.arange(3.0), "v")  # doctest: +SKIP

    """
    space: Any = axes_or_new(ax, "3d")
    for name in sorted(named, key=lambda name: distances[name]):
        lines = reduce_columns(time, named[name][:, np.newaxis], pixels=pixels_of(space)[1])
        away = np.full(len(lines.times), distances[name])
        space.plot(lines.times, away, lines.values[:, 0], linewidth=FINE, label=name)
    space.set_xlabel(_TIME)
    space.set_ylabel("distance (µm)")
    space.set_zlabel(label)
    drawn: Axes = space
    return drawn
