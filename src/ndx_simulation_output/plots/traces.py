"""Traces of compartments, extracellular channels and vectors over time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    LINE_WIDTH,
    axes_or_new,
    find_source,
    outside_legend,
    quantity_of,
    report_title,
    require_cells,
    require_values,
    scale_of,
    size_in_pixels,
    time_axis,
    title,
)
from ndx_simulation_output.plots.downsampling import (
    Lines,
    reduce_columns,
    reduce_traces,
    spread,
    stack_traces,
)
from ndx_simulation_output.plots.groups import (
    Groups,
    group_cells,
    legend_of_groups,
    means_of_groups,
)
from ndx_simulation_output.recording import CompartmentTable, ExtracellularPotential, Report
from ndx_simulation_output.recording.cells import Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_IN_LEGEND = 10
_MAX_SINGLE = 12
"""So many traces of groups are drawn each; of more, the mean of each group is drawn."""

_TIME = "time (ms)"


def traces(
    source: Any,
    cells: Cells | None = None,
    numbers: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    group_by: str | Groups | None = None,
    start: float | None = None,
    stop: float | None = None,
    most: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw traces of a report or compartment series over time.

    Without a selection, the first compartments of at most 8 cells are drawn; of selected
    compartments, at most 50. ``most`` sets another limit. The title has the number of drawn and of
    selected compartments if they differ. Extreme values are preserved in long traces.

    ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the name of a node
    set. With ``group_by``, the name of a property of the cells, the mean of each group is drawn,
    without ``numbers`` and ``labels`` that of the first compartment of each cell. At most 12 traces
    are each drawn in the colour of their group; ``most`` sets another limit. Means read all values
    of their compartments, in blocks.

    Raises
    ------
    CellNotFoundError
        If a cell id is not in the table, or no cell matches.
    SelectionError
        If there is no such property or node set.
    CompartmentNotFoundError
        If a number or label belongs to none of the cells.
    NothingRecordedError
        If an output has no reports, or the window contains no values.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     traces(output["v"], cells=[3, 7], numbers=0, stop=0.1)

    """
    report = find_source(source, Report)
    ax = axes_or_new(ax)
    if group_by is not None:
        columns = columns_to_group(report.compartments, cells, numbers, labels)
        require_cells(report.population, cells, columns)
        return _draw_groups(ax, report, columns, group_by, most, start, stop)
    if cells is None and numbers is None and labels is None:
        columns, total = _default_columns(report.compartments, most or 8), report.data.shape[1]
    else:
        found = report.compartments.find(cells, numbers, labels)
        require_cells(report.population, cells, found)
        columns, total = found[spread(len(found), most or 50)], len(found)
    lines = reduce_traces(report, columns, start=start, stop=stop, pixels=size_in_pixels(ax)[1])
    require_values(report.name, lines.values)
    scale = scale_of(report.unit.name, lines.values)
    names = _names(report, columns)
    drawn = _draw_lines(ax, lines, lines.values * scale.factor, start, stop)
    for line, name in zip(drawn, names, strict=True):
        line.set_label(name)
    ax.set_ylabel(scale.label(quantity_of(report)))
    if 1 < len(columns) <= _MAX_IN_LEGEND:
        outside_legend(ax)
    notes = names[:1] if len(names) == 1 else []
    notes += [f"{len(columns):,} of {total:,} compartments"] if len(columns) < total else []
    title(ax, report_title(report), ", ".join(notes))
    return ax


def columns_to_group(
    table: CompartmentTable, cells: Cells | None, numbers: Any, labels: Any
) -> NDArray[np.intp]:
    """Return the selected columns; without numbers and labels the first one of each cell."""
    columns = table.find(cells, numbers, labels)
    if numbers is not None or labels is not None:
        return columns
    return columns[np.flatnonzero(np.diff(table.cells_of(columns), prepend=-1))]


def _draw_groups(
    ax: "Axes",
    report: Report,
    columns: NDArray[np.intp],
    group_by: str | Groups,
    most: int | None,
    start: float | None,
    stop: float | None,
) -> "Axes":
    """Draw traces in the colours of their groups, or the mean of each group."""
    pixels = size_in_pixels(ax)[1]
    window: dict[str, Any] = {"start": start, "stop": stop, "pixels": pixels}
    found = group_lines(report, columns, group_by, most=most, **window)
    require_values(report.name, found.lines.values)
    scale = scale_of(report.unit.name, found.lines.values)
    drawn = _draw_lines(ax, found.lines, found.lines.values * scale.factor, start, stop)
    for line, color in zip(drawn, found.colors, strict=True):
        line.set_color(color)
    ax.set_ylabel(scale.label(quantity_of(report)))
    legend_of_groups(ax, found.groups, found.labels, linewidth=2)
    title(ax, report_title(report), found.note)
    return ax


@dataclass(frozen=True)
class GroupLines:
    """Traces of groups of cells: each trace, or the mean of each group.

    ``codes`` (line,) are the groups of the lines, ``labels`` (group,) their names with numbers.
    """

    lines: Lines
    codes: NDArray[np.intp]
    groups: Groups
    labels: list[str]
    note: str

    @property
    def colors(self) -> list[str]:
        """Colour of each line."""
        return [self.groups.colors[code] for code in self.codes]


def group_lines(
    report: Report,
    columns: NDArray[np.intp],
    group_by: str | Groups,
    *,
    most: int | None = None,
    start: float | None = None,
    stop: float | None = None,
    pixels: int = 1000,
) -> GroupLines:
    """Read the traces of columns, or the means of their groups if they are more than ``most``."""
    table = report.compartments
    owners = table.cells_of(columns)
    groups = group_cells(table.cells, group_by, np.unique(owners))
    codes = groups.codes_of(owners)
    reduce = partial(reduce_traces, start=start, stop=stop, pixels=pixels)
    n_cells, n_columns = len(groups.ids), len(columns)
    shown = f"{n_cells:,} cell{'' if n_cells == 1 else 's'}"
    if n_columns > n_cells:
        shown = f"{n_columns:,} compartments"
    elif table.n_compartments > len(table):
        shown += ", a compartment each,"
    if n_columns <= (_MAX_SINGLE if most is None else most):
        order = np.argsort(codes, kind="stable")
        lines = reduce(report, columns[order])
        return GroupLines(lines, codes[order], groups, groups.labels, f"{shown} {groups.note}")
    lines = reduce(means_of_groups(report, columns, codes))
    counts = np.bincount(codes).tolist()
    labels = [f"{name} (n = {n:,})" for name, n in zip(groups.names, counts, strict=True)]
    note = f"mean of {shown} {groups.note}"
    return GroupLines(lines, np.arange(len(labels)), groups, labels, note)


def _default_columns(table: CompartmentTable, most: int) -> NDArray[np.intp]:
    """Return at most ``most`` columns: all, the first of each cell, or evenly spaced ones."""
    if table.n_compartments <= most or len(table) == 1:
        return spread(table.n_compartments, most)
    counts = table.counts()
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    return np.asarray(firsts[spread(len(firsts), most)], np.intp)


def _names(report: Report, columns: NDArray[np.intp]) -> list[str]:
    """Return names of compartments: the cell and, if cells have several, the label or number."""
    table = report.compartments
    cells = [f"cell {cell}" for cell in table.cells_of(columns)]
    column = next((name for name in ("label", "number") if name in table.columns), None)
    if column is None or table.n_compartments == len(table):
        return cells
    values = table.values(column, columns)
    return [f"{cell}: {value}" for cell, value in zip(cells, values, strict=True)]


def _draw_lines(
    ax: "Axes", lines: Lines, values: NDArray[Any], start: float | None, stop: float | None
) -> list[Any]:
    """Draw traces over time, with markers if there are few samples."""
    time = time_axis(ax, float(lines.times[0]), float(lines.times[-1]), start, stop)
    marker = "." if len(lines.times) <= 30 else ""
    return ax.plot(lines.times * time.factor, values, linewidth=LINE_WIDTH, marker=marker)


def channels(
    source: Any,
    ids: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    most: int = 32,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw extracellular channels above each other, equally spaced.

    ``ids`` selects channels; of the selected ones, at most ``most`` are drawn.

    Raises
    ------
    NothingRecordedError
        If an output has no extracellular potentials, or the potential no such channel.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     channels(output.potentials[0])

    """
    potential = find_source(source, ExtracellularPotential)
    ax = axes_or_new(ax)
    found = potential.find(ids)
    columns = found[spread(len(found), most)]
    lines = reduce_traces(potential, columns, start=start, stop=stop, pixels=size_in_pixels(ax)[1])
    require_values(potential.name, lines.values)
    stacked, step = stack_traces(lines.values)
    scale = scale_of(potential.unit.name, np.asarray([step]))
    _draw_lines(ax, lines, stacked, start, stop)
    shown = np.asarray(potential.channel_ids)[columns]
    ax.set_yticks(np.arange(len(columns)), [str(channel) for channel in shown])
    ax.set_ylabel("channel")
    part = "" if len(columns) == len(found) else f"{len(columns)} of {len(found)} channels, "
    spacing = f"{step * scale.factor:.3g} {scale.symbol}".strip()
    title(ax, potential.name, f"{part}{spacing} between channels")
    return ax


def vectors(
    named: Mapping[str, NDArray[Any]],
    x: NDArray[Any] | None = None,
    *,
    legend: bool = True,
    points: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw Neuronvisio vectors, shape (value,), along ``x``, or by index if the lengths differ."""
    ax = axes_or_new(ax)
    by_index = [name for name, values in named.items() if x is None or len(values) != len(x)]
    style: dict[str, Any] = {"linewidth": LINE_WIDTH}
    style = {"linestyle": "none", "marker": "o"} if points else style
    for name, values in named.items():
        at = np.arange(len(values)) if x is None or name in by_index else x
        lines = reduce_columns(at, values[:, np.newaxis], pixels=size_in_pixels(ax)[1])
        ax.plot(lines.times, lines.values[:, 0], label=name, **style)
    all_by_index = len(by_index) == len(named)
    ax.set_xlabel(_TIME if not by_index else "index" if all_by_index else f"{_TIME}, or index")
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
    """Draw Neuronvisio vectors over time in 3-D axes, each at the distance of its section (µm)."""
    space: Any = axes_or_new(ax, "3d")
    for name in sorted(named, key=lambda name: distances[name]):
        lines = reduce_columns(time, named[name][:, np.newaxis], pixels=size_in_pixels(space)[1])
        away = np.full(len(lines.times), distances[name])
        space.plot(lines.times, away, lines.values[:, 0], linewidth=LINE_WIDTH, label=name)
    space.set_xlabel(_TIME)
    space.set_ylabel("distance (µm)")
    space.set_zlabel(label)
    drawn: Axes = space
    return drawn
