"""Traces of compartments, extracellular channels and vectors over time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    find_source,
    label_axis,
    names_on_axis,
    outside_legend,
    quantity_of,
    report_title,
    require_cells,
    require_values,
    scale_bar,
    scale_of,
    size_in_pixels,
    time_axis,
    title,
    with_look,
    with_unit,
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
from ndx_simulation_output.plots.look import COLORS, LINE_WIDTH
from ndx_simulation_output.recording import (
    CompartmentTable,
    ExtracellularPotential,
    Report,
)
from ndx_simulation_output.recording.cells import Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_IN_LEGEND = 10
_MAX_SINGLE = 12
"""So many traces of groups are drawn each; of more, the mean of each group is drawn."""

_TIME = "time (ms)"
_NAMES = "label", "channel_name", "name", "electrode_name"
"""Columns of electrodes with the names of channels."""


@with_look
def traces(
    source: Any,
    cells: Cells | None = None,
    numbers: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    group_by: str | Groups | None = None,
    color_by: str | Groups | None = None,
    overlay: bool = False,
    color: str = COLORS[0],
    start: float | None = None,
    stop: float | None = None,
    most: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw traces of a report or compartment series over time, above each other.

    Each has its name, and a bar shows the scale of all; with ``overlay``, and for a single trace,
    values are on the vertical axis. Without a selection, the first compartments of at most 8 cells
    are drawn; of selected compartments, at most 50. ``most`` sets another limit. The title has the
    number of drawn and of selected compartments if they differ. Extreme values are preserved in
    long traces.

    ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the name of a node
    set. With ``color_by``, the name of a property of the cells, traces have the colour of their
    group. With ``group_by``, the mean of each group is drawn, without ``numbers`` and ``labels``
    that of the first compartment of each cell. At most 12 traces are each drawn in the colour of
    their group; ``most`` sets another limit. Means are an overlay, and read all values of their
    compartments, in blocks.

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
    window: dict[str, Any] = {"start": start, "stop": stop}
    if group_by is not None:
        columns = columns_to_group(report.compartments, cells, numbers, labels)
        require_cells(report.population, cells, columns)
        return _draw_groups(ax, report, columns, group_by, most, window, overlay=overlay)
    if cells is None and numbers is None and labels is None:
        columns, total = _default_columns(report.compartments, most or 8), report.data.shape[1]
    else:
        found = report.compartments.find(cells, numbers, labels)
        require_cells(report.population, cells, found)
        columns, total = found[spread(len(found), most or 50)], len(found)
    groups, colors = None, [color] * len(columns)
    if overlay:
        colors = [COLORS[index % len(COLORS)] for index in range(len(columns))]
    if color_by is not None:
        owners = report.compartments.cells_of(columns)
        groups = group_cells(report.compartments.cells, color_by, np.unique(owners))
        colors = [groups.colors[code] for code in groups.codes_of(owners)]
    lines = reduce_traces(report, columns, **window, pixels=size_in_pixels(ax)[1])
    require_values(report.name, lines.values)
    names = _names(report, columns)
    notes = [f"{len(columns):,} of {total:,} compartments"] if len(columns) < total else []
    notes += [] if groups is None else [groups.note]
    if overlay or len(columns) == 1:
        drawn = _draw_overlay(ax, report, lines, colors, window)
        for line, name in zip(drawn, names, strict=True):
            line.set_label(name)
        notes = names + notes if len(columns) == 1 else notes
    else:
        notes.insert(0, _draw_stack(ax, report, lines, names, colors, window))
    if groups is not None:
        legend_of_groups(ax, groups, groups.labels, linewidth=2)
    elif overlay and 1 < len(columns) <= _MAX_IN_LEGEND:
        outside_legend(ax)
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
    window: dict[str, Any],
    *,
    overlay: bool,
) -> "Axes":
    """Draw traces in the colours of their groups, or the mean of each group."""
    pixels = size_in_pixels(ax)[1]
    found = group_lines(report, columns, group_by, most=most, **window, pixels=pixels)
    lines, notes = found.lines, [found.note]
    require_values(report.name, lines.values)
    if overlay or found.columns is None or len(found.columns) == 1:
        _draw_overlay(ax, report, lines, found.colors, window)
    else:
        # The first group is at the top.
        lines = replace(lines, values=lines.values[:, ::-1])
        names, colors = _names(report, found.columns)[::-1], found.colors[::-1]
        notes.insert(0, _draw_stack(ax, report, lines, names, colors, window))
    legend_of_groups(ax, found.groups, found.labels, linewidth=2)
    title(ax, report_title(report), ", ".join(notes))
    return ax


def _draw_overlay(
    ax: "Axes", report: Report, lines: Lines, colors: Sequence[str], window: dict[str, Any]
) -> list[Any]:
    """Draw traces on one vertical axis with their values."""
    scale = scale_of(report.unit.name, lines.values)
    label_axis(ax.yaxis, scale.label(quantity_of(report)))
    return _draw_lines(ax, lines, lines.values * scale.factor, colors, **window)


def _draw_stack(
    ax: "Axes",
    recorded: Report | ExtracellularPotential,
    lines: Lines,
    names: Sequence[str],
    colors: Sequence[str],
    window: dict[str, Any],
) -> str:
    """Draw traces above each other, the first at the bottom; return their range as a note."""
    stacked, step = stack_traces(lines.values)
    _draw_lines(ax, lines, stacked, colors, **window)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.spines["left"].set_visible(False)
    names_on_axis(ax, names)
    scale_bar(ax, step, recorded.unit.name)
    what = quantity_of(recorded).removeprefix("value") if isinstance(recorded, Report) else ""
    return f"{what} {_range_of(lines.values, recorded.unit.name)}".strip()


def _range_of(values: NDArray[Any], unit: str) -> str:
    """Return the lowest and highest value as text."""
    scale = scale_of(unit, values)
    finite = values[np.isfinite(values)] * scale.factor
    if not finite.size:
        return ""
    ends = [float(finite.min()), float(finite.max())]
    # Rounding errors are shown as 0.
    low, high = (f"{end:.4g}" if abs(end) >= 1e-9 * max(map(abs, ends)) else "0" for end in ends)
    return with_unit(f"{low} to {high}".replace("-", "\N{MINUS SIGN}"), scale)


@dataclass(frozen=True)
class GroupLines:
    """Traces of groups of cells: each trace, or the mean of each group.

    ``codes`` (line,) are the groups of the lines, ``labels`` (group,) their names with numbers,
    ``columns`` (line,) the columns of traces, None for means.
    """

    lines: Lines
    codes: NDArray[np.intp]
    groups: Groups
    labels: list[str]
    note: str
    columns: NDArray[np.intp] | None = None

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
        lines, note = reduce(report, columns[order]), f"{shown} {groups.note}"
        return GroupLines(lines, codes[order], groups, groups.labels, note, columns[order])
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
    """Return names of compartments: the cell and, if cells have several, the label or number.

    The position is added if compartments have the same name.
    """
    table = report.compartments
    cells = [f"cell {cell}" for cell in table.cells_of(columns)]
    column = next((name for name in ("label", "number") if name in table.columns), None)
    if column is None or table.n_compartments == len(table):
        return cells
    values = table.values(column, columns)
    names = [f"{cell}: {value}" for cell, value in zip(cells, values, strict=True)]
    if len(set(names)) == len(names) or "position" not in table.columns:
        return names
    places = table.values("position", columns)
    return [f"{name}({place:.3g})" for name, place in zip(names, places, strict=True)]


def _draw_lines(
    ax: "Axes",
    lines: Lines,
    values: NDArray[Any],
    colors: Sequence[str],
    start: float | None,
    stop: float | None,
) -> list[Any]:
    """Draw traces over time, with markers if there are few samples."""
    time = time_axis(ax, float(lines.times[0]), float(lines.times[-1]), start, stop)
    marker = "." if len(lines.times) <= 30 else ""
    drawn = ax.plot(lines.times * time.factor, values, linewidth=LINE_WIDTH, marker=marker)
    for line, color in zip(drawn, colors, strict=True):
        line.set_color(color)
    return drawn


@with_look
def channels(
    source: Any,
    ids: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    most: int = 32,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw extracellular channels above each other, with a bar for their scale.

    They have the names that the file gives to their electrodes, otherwise their ids. Electrodes in
    a row along x, y or z are sorted by it, unless ``ids`` selects channels; of the selected ones,
    at most ``most`` are drawn.

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
    found, label = potential.find(ids), "channel"
    names, places = channel_places(potential)
    if ids is None and places is not None and np.isfinite(places).all():
        axes = np.flatnonzero((places != places[:1]).any(axis=0))
        if len(axes) == 1:
            found = found[np.argsort(places[found, axes[0]], kind="stable")]
            label = f"channel, by {'xyz'[axes[0]]}"
    columns = found[spread(len(found), most)]
    window: dict[str, Any] = {"start": start, "stop": stop}
    lines = reduce_traces(potential, columns, **window, pixels=size_in_pixels(ax)[1])
    require_values(potential.name, lines.values)
    shown = [names[column] for column in columns]
    notes = [_draw_stack(ax, potential, lines, shown, [COLORS[0]] * len(columns), window)]
    notes += [] if len(columns) == len(found) else [f"{len(columns)} of {len(found)} channels"]
    ax.set_ylabel(label)
    title(ax, potential.name, ", ".join(notes))
    return ax


def channel_places(
    potential: ExtracellularPotential,
) -> tuple[list[str], NDArray[np.float64] | None]:
    """Return names of channels, and their places (channel, 3) in µm if the electrodes are known.

    Names are those of the file if each channel has one of its own, otherwise ids.
    """
    ids, electrodes = np.asarray(potential.channel_ids), potential.electrodes
    names = [str(channel) for channel in ids.tolist()]
    known = [] if electrodes is None else np.asarray(electrodes.ids).tolist()
    row_of = {electrode: row for row, electrode in enumerate(known)}
    rows = [row_of.get(channel, -1) for channel in ids.tolist()]
    if electrodes is None or -1 in rows:
        return names, None
    for column in (name for name in _NAMES if name in electrodes.columns):
        texts = [str(text) for text in np.asarray(electrodes.columns[column][:])[rows]]
        if all(texts) and len(set(texts)) == len(texts):
            names = texts
            break
    return names, electrodes.positions[rows]


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
        outside_legend(ax)
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
