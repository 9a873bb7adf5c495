"""Heat maps: compartments over time as an image."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.choices import How
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    coloring,
    find_source,
    image,
    integer_ticks,
    quantity_of,
    report_title,
    require_cells,
    require_values,
    scale_of,
    short_name,
    size_in_pixels,
    time_axis,
    title,
    with_look,
)
from ndx_simulation_output.plots.downsampling import (
    Indices,
    Pixels,
    Recorded,
    column_edges,
    parts_of,
    row_blocks,
    row_edges,
    sample_bins,
    seconds_at,
)
from ndx_simulation_output.plots.groups import Groups, apart, group_cells, label_groups
from ndx_simulation_output.plots.look import LIGHT, LINE_WIDTH, color_scale
from ndx_simulation_output.recording import CompartmentTable, Report
from ndx_simulation_output.recording.arrays import release
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.times import RegularTimes, Times
from ndx_simulation_output.recording.traces import read_in_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BYTES = 2**28
_NAMES_ON_AXIS = 16
_NAME_PIXELS = 13


@dataclass(frozen=True)
class HeatMap:
    """An image of shape (column pixel, time pixel), in the unit named ``unit``.

    A pixel is the mean, max or min (``how``) of its values, NaN without values. Its width is a
    whole number of time steps if these are equal; the last may end after its values. ``columns``
    (column pixel + 1,) are the edges of the pixels as indices of the selected columns, ``times``
    (time pixel + 1,) in seconds. Of a large recording, only ``columns_read`` columns and
    ``rows_read`` of the ``rows`` are read: a random column of each pixel, and its first rows.
    """

    values: NDArray[np.float64]
    columns: Indices
    times: NDArray[np.float64]
    unit: str
    how: How
    columns_read: int
    rows_read: int
    rows: int

    @property
    def note(self) -> str:
        """Description of the reduction; empty if a pixel is a single value."""
        n_columns = int(self.columns[-1])
        parts = []
        if self.columns_read < n_columns:
            parts.append(f"{self.columns_read:,} of {n_columns:,} compartments")
        if self.rows_read < self.rows:
            parts.append(f"{self.rows_read:,} of {self.rows:,} times")
        sizes = (self.columns_read, self.rows_read), np.maximum(self.values.shape, 1)
        most = int(np.prod([ceil(count / pixels) for count, pixels in zip(*sizes, strict=True)]))
        if most > 1:
            up_to = (
                "" if most * self.values.size == self.columns_read * self.rows_read else "up to "
            )
            parts.append(f"{self.how} of {up_to}{most:,} values per pixel")
        return ", ".join(parts)


def reduce_heat_map(
    recorded: Recorded,
    columns: NDArray[np.intp] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    shape: tuple[int, int] = (500, 1000),
    how: How = "mean",
    most_bytes: int = _MOST_BYTES,
) -> HeatMap:
    """Read some columns, or all, as an image of ``shape`` (height, width).

    Rows with ``start <= time < stop`` (s) are shown. If their values exceed ``most_bytes``, one
    column per pixel is read; if that is still too much, only the first rows of each pixel.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> report = simulate(duration=0.02)["v_exc"]
    >>> reduce_heat_map(report, shape=(20, 50)).note
    'mean of up to 28 values per pixel'

    """
    rows = recorded.times.window(start, stop)
    count = rows.stop - rows.start
    shown = np.arange(recorded.data.shape[1]) if columns is None else columns
    edges = column_edges(len(shown), shape[0])
    row_bins = row_edges(recorded.times, rows, shape[1])
    if isinstance(recorded.times, RegularTimes) and count:
        # Pixels of equal duration: a whole number of time steps.
        row_bins = np.append(np.arange(rows.start, rows.stop, -(-count // shape[1])), rows.stop)
    column_bins = edges
    itemsize = recorded.data.dtype.itemsize
    if count * len(shown) * itemsize > most_bytes:
        shown = shown[sample_bins(edges)]
        column_bins = np.arange(len(shown) + 1)
    pixels = Pixels((len(row_bins) - 1, len(column_bins) - 1), how)
    rows_read = 0
    if count and len(shown):
        row_bytes = itemsize * len(shown)
        if count * row_bytes > most_bytes:
            height = max(1, most_bytes // (row_bytes * (len(row_bins) - 1)))
            rows_read = _add_first_rows(pixels, recorded, shown, row_bins, height)
        else:
            _add_all_rows(pixels, recorded, shown, column_bins, row_bins)
            rows_read = count
        release(recorded.data)
    return HeatMap(
        pixels.image(),
        edges,
        _time_edges(recorded.times, row_bins),
        recorded.unit.name,
        how,
        len(shown),
        rows_read,
        count,
    )


def _add_all_rows(
    pixels: Pixels,
    recorded: Recorded,
    columns: NDArray[np.intp],
    column_bins: Indices,
    row_bins: Indices,
) -> None:
    width = recorded.data.shape[1]
    is_all = len(columns) == width and bool((columns == np.arange(width)).all())
    for rows in row_blocks(recorded.data, slice(int(row_bins[0]), int(row_bins[-1])), len(columns)):
        values = read_in_unit(recorded.data, rows, None if is_all else columns, recorded.unit)
        release(recorded.data)
        inside, starts = parts_of(row_bins, rows)
        pixels.add(inside, values, starts, column_bins[:-1])


def _add_first_rows(
    pixels: Pixels,
    recorded: Recorded,
    columns: NDArray[np.intp],
    row_bins: Indices,
    height: int,
) -> int:
    """Add the first ``height`` rows of each time pixel, and return their number."""
    column_bins, read = np.arange(len(columns)), 0
    for pixel, (top, bottom) in enumerate(pairwise(row_bins)):
        rows = slice(int(top), int(min(bottom, top + height)))
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        pixels.add(slice(pixel, pixel + 1), values, np.zeros(1, np.intp), column_bins)
        read += len(values)
    return read


def _time_edges(times: Times, row_bins: Indices) -> NDArray[np.float64]:
    """Return the times (s) of the edges; the last pixel ends one mean step after its last row."""
    if isinstance(times, RegularTimes):
        width = row_bins[1] - row_bins[0]
        return seconds_at(times, row_bins[0] + width * np.arange(len(row_bins)))
    if row_bins[0] == row_bins[-1]:
        return np.zeros(len(row_bins))
    firsts = seconds_at(times, row_bins[:-1])
    last = seconds_at(times, row_bins[-1:] - 1)
    step = (last[0] - firsts[0]) / max(1, row_bins[-1] - row_bins[0] - 1)
    return np.append(firsts, last[0] + step)


@with_look
def heat_map(
    source: Any,
    cells: Cells | None = None,
    numbers: Iterable[int] | int | None = None,
    labels: Iterable[str] | str | None = None,
    *,
    group_by: str | Groups | None = None,
    start: float | None = None,
    stop: float | None = None,
    how: How = "mean",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the compartments of a report or compartment series over time as an image.

    A pixel that covers several values shows their mean, or with ``how="max"`` or ``"min"`` an
    extreme. Of data of more than 256 MiB, a sample is shown. The title describes the reduction.
    Currents have colours around 0. Arrows of the colour bar tell that a few values are beyond the
    colours (``plots.look.color_scale``).

    ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the name of a node
    set. Of few cells, each is outlined, and its compartments are sorted by section and position
    unless ``numbers`` or ``labels`` select them; a single cell has the names of its sections. With
    ``group_by``, the name of a property, the rows are sorted by group.

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
    ...     heat_map(output["v"], start=0.0, stop=0.1)

    """
    report = find_source(source, Report)
    ax = axes_or_new(ax)
    table, columns = report.compartments, None
    is_sorted = group_by is None and numbers is None and labels is None
    if not (cells is None and numbers is None and labels is None):
        columns = table.find(cells, numbers, labels)
        require_cells(report.population, cells, columns)
    if group_by is not None:
        columns, groups, edges = sorted_by_group(table, columns, group_by)
    elif is_sorted:
        columns = _sorted_by_section(table, columns)
    window: dict[str, Any] = {"start": start, "stop": stop}
    found = reduce_heat_map(report, columns, **window, shape=size_in_pixels(ax), how=how)
    require_values(report.name, found.values[:, : found.rows])
    scale = scale_of(found.unit, found.values)
    colors = color_scale(found.values, found.unit, quantity_of(report))
    last = float(found.times[-1])
    if isinstance(report.times, RegularTimes):
        last = float(found.times[0]) + found.rows / report.times.rate
    time = time_axis(ax, float(found.times[0]), last, start, stop)
    drawn = image(ax, found.values * scale.factor, found.times * time.factor, found.columns,
                  **coloring(colors, scale.factor))  # fmt: skip
    color_bar(ax, drawn, scale.label(quantity_of(report)))
    line = LIGHT.text if colors.name == "signed" else LIGHT.ground
    if group_by is None:
        _label_rows(ax, report, columns, line)
    else:
        label_groups(ax, groups, edges, separator=line)
    notes = [found.note, "" if group_by is None else groups.note]
    title(ax, report_title(report), ", ".join(filter(None, notes)))
    return ax


def sorted_by_group(
    table: CompartmentTable, columns: NDArray[np.intp] | None, group_by: str | Groups
) -> tuple[NDArray[np.intp], Groups, NDArray[np.intp]]:
    """Return columns in the order of their groups, the groups, and where each begins and ends."""
    columns = np.arange(table.n_compartments) if columns is None else columns
    owners = table.cells_of(columns)
    groups = group_cells(table.cells, group_by, np.unique(owners))
    codes = groups.codes_of(owners)
    ends = np.cumsum(np.bincount(codes, minlength=len(groups.names)))
    return columns[np.argsort(codes, kind="stable")], groups, np.append(0, ends)


def _sorted_by_section(
    table: CompartmentTable, columns: NDArray[np.intp] | None
) -> NDArray[np.intp] | None:
    """Return the columns of few cells with those of each cell by section and position."""
    if "number" not in table.columns or (columns is None and len(table) > _NAMES_ON_AXIS):
        return columns
    shown = np.arange(table.n_compartments) if columns is None else columns
    owners = table.cells_of(shown)
    firsts = np.unique(owners, return_index=True)[1]
    if len(firsts) > _NAMES_ON_AXIS:
        return columns
    cells = owners[np.sort(firsts)]
    ranks = np.argmax(owners[:, np.newaxis] == cells, axis=1)
    keys = [table.values(name, shown) for name in ("position", "number") if name in table.columns]
    order = np.lexsort([*keys, ranks])
    return columns if (np.diff(order) == 1).all() else shown[order]


def _label_rows(ax: "Axes", report: Report, columns: NDArray[np.intp] | None, color: str) -> None:
    """Outline and label few cells, or the sections of one; otherwise label compartments."""
    table = report.compartments
    if columns is None and len(table) > _NAMES_ON_AXIS:
        ax.set_ylabel("compartment")
        integer_ticks(ax.yaxis)
        return
    names = table.column_cells() if columns is None else table.cells_of(columns)
    edges, label = np.flatnonzero(np.diff(names)) + 1, "compartments of cell"
    if len(names) > 1 and not len(edges):
        sections = _sections(table, columns)
        if sections is not None:
            cuts = np.flatnonzero(sections[1:] != sections[:-1]) + 1
            if 0 < len(cuts) < 2 * _NAMES_ON_AXIS:
                label = f"section of cell {names[0]}"
                names, edges = sections, cuts
    if not len(names) or len(edges) >= 2 * _NAMES_ON_AXIS:
        ax.set_ylabel("selected compartment")
        integer_ticks(ax.yaxis)
        return
    begins = np.concatenate([[0], edges, [len(names)]])
    low, high = ax.get_ylim()
    height = _NAME_PIXELS * ax.figure.dpi / 100 * (high - low) / size_in_pixels(ax)[0]
    places = (begins[:-1] + begins[1:]) / 2
    if len(places) * height < high - low:
        places = apart(places, height, high - height / 2)
    ax.set_yticks(places, [short_name(str(name)) for name in names[begins[:-1]]], parse_math=False)
    ax.tick_params(axis="y", length=0)
    for edge in edges:
        ax.axhline(float(edge), color=color, linewidth=LINE_WIDTH)
    ax.set_ylabel(label)


def _sections(table: CompartmentTable, columns: NDArray[np.intp] | None) -> NDArray[Any] | None:
    """Return the label of the section of each column, or its number; None without both."""
    for name in ("label", "number"):
        if name in table.columns:
            shown = np.arange(table.n_compartments) if columns is None else columns
            return np.asarray(table.values(name, shown))
    return None
