"""Spike rasters and firing rates."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, SelectionError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    coloring,
    find_source,
    image,
    integer_ticks,
    require_cells,
    round_above,
    size_in_pixels,
    time_axis,
    title,
    with_look,
)
from ndx_simulation_output.plots.groups import (
    Groups,
    group_cells,
    label_groups,
    legend_of_groups,
)
from ndx_simulation_output.plots.look import COLORS, LIGHT, ColorScale, rgb
from ndx_simulation_output.recording import (
    CellTable,
    CompartmentTable,
    Report,
    Spikes,
    Timestamps,
    Unit,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.ids import as_ids, count_distinct
from ndx_simulation_output.recording.units import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 2**20
_MOST_BINS = 50
_TOO_MANY_BINS = 100_000
_SHORTEST = 1e-3
_PART = 0.1


@dataclass(frozen=True)
class Raster:
    """Spike counts of a population in a time window, shape (cell bin, time bin).

    ``ids`` (cell bin + 1,) and ``times`` (time bin + 1,) are the edges of the bins: node ids and
    seconds. ``spike_ids`` and ``spike_times`` are the single spikes, None if there are too many.
    """

    counts: NDArray[np.int64]
    ids: NDArray[np.float64]
    times: NDArray[np.float64]
    spike_ids: NDArray[Any] | None
    spike_times: NDArray[np.float64] | None

    @property
    def n_spikes(self) -> int:
        """Number of spikes in the window."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Rates:
    """Mean firing rates of ``n_cells`` cells over time: ``rates`` (bin,) in Hz.

    ``counts`` (bin,) are numbers of spikes, ``times`` (bin + 1,) the edges of the bins in seconds.
    ``basis`` says which cells these are.
    """

    rates: NDArray[np.float64]
    counts: NDArray[np.int64]
    times: NDArray[np.float64]
    n_cells: int
    basis: str

    @property
    def note(self) -> str:
        """Description of the mean and the bins."""
        width = float(np.median(np.diff(self.times)))
        scale = time_scale(width)
        return (
            f"mean of {self.n_cells:,} {self.basis}, bins of {width * scale.factor:.4g} "
            f"{scale.symbol}"
        )


def spike_raster(
    spikes: Spikes,
    cells: NDArray[Any] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    shape: tuple[int, int] = (500, 1000),
    most_points: int = 20_000,
    in_order: bool = False,
) -> Raster:
    """Count spikes in the pixels of an image of at most ``shape`` (height, width).

    Spikes with ``start <= time < stop`` (s) of the node ids ``cells``, or of all, are counted. The
    height of a pixel is a whole number of ids, its width 1, 2 or 5 times a power of ten seconds;
    the last ones may end after the last id and after ``stop``. At most ``most_points`` single
    spikes are returned. If ``in_order``, the indices of ``cells`` take the place of ids.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> spikes = simulate(duration=0.05).spikes[0]
    >>> spike_raster(spikes, shape=(4, 10)).n_spikes == len(spikes.times)
    True

    """
    first, last = _window(spikes, start, stop)
    ids = spikes.spiking_cells if cells is None else np.asarray(cells)
    order = np.argsort(ids, kind="stable") if in_order else None
    lowest, end = (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)
    lowest, end = (lowest, end) if order is None else (0, max(len(ids), 1))
    n_ids = -(-(end - lowest) // max(shape[0], 1))
    height = -(-(end - lowest) // n_ids)
    length = round_above((last - first) / shape[1])
    width = max(1, ceil((last - first) / length * (1 - 1e-9)))
    counts = np.zeros(height * width, np.int64)
    all_ids: list[NDArray[Any]] = []
    all_times, n_spikes = [np.zeros(0)], 0
    for node_ids, times, _ in spikes.parts(cells, start=first, stop=last):
        block_ids = node_ids
        if order is not None:
            block_ids = order[np.searchsorted(ids, node_ids.astype(ids.dtype), sorter=order)]
        x = np.minimum((times - first) / length, width - 1).astype(np.int64)
        y = (block_ids.astype(np.int64) - lowest) // n_ids
        counts += np.bincount(y * width + x, minlength=len(counts))
        n_spikes += len(block_ids)
        if n_spikes <= most_points:
            all_ids.append(block_ids)
            all_times.append(times)
    are_few = n_spikes <= most_points
    return Raster(
        counts.reshape(height, width),
        np.asarray(lowest + n_ids * np.arange(height + 1.0)),
        np.asarray(first + np.arange(width + 1) * length),
        np.concatenate(all_ids or [ids[:0]]) if are_few else None,
        np.concatenate(all_times) if are_few else None,
    )


def spike_rates(
    spikes: Spikes,
    cells: NDArray[Any] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    bin_width: float | None = None,
    n_cells: int | None = None,
) -> Rates:
    """Count spikes in time bins, and divide by their length and the number of cells.

    Parameters
    ----------
    spikes
        The spikes of a population.
    cells
        Node ids, shape (cell,); by default all.
    start, stop
        Time window in s; by default from the first spike to the last, and on to whole bins.
    bin_width
        Length of a bin in s; by default 1, 2 or 5 times a power of ten, for at most 50 bins. Bins
        begin at multiples of it; the first and the last end at the window, and have their own
        length.
    n_cells
        Number of cells of the mean. By default the number of ``cells`` or, if these are None, of
        all recorded cells; if silent cells are not known, of the cells that spike at any time.

    Counts are divided by the recorded part of a bin (``spikes.intervals``), at least by half of it.
    Rates are NaN where nothing was recorded.

    Raises
    ------
    SelectionError
        If the length of a bin is not positive, or there are more than 100,000 bins.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> spikes = simulate(duration=0.05).spikes[0]
    >>> spike_rates(spikes, start=0.0, stop=0.05).note
    'mean of 2 cells that spike, bins of 1 ms'

    """
    edges = _rate_edges(spikes, start, stop, bin_width)
    (counts,) = _count(spikes, cells, edges)
    basis = "cells" if cells is None else "selected cells"
    if n_cells is None:
        n_cells, basis = _basis(spikes, cells)
    return _rates(spikes, counts, edges, n_cells, basis)


def group_rates(
    spikes: Spikes,
    groups: Groups,
    *,
    start: float | None = None,
    stop: float | None = None,
    bin_width: float | None = None,
) -> list[Rates]:
    """Return the mean rates of the cells of each group, as :func:`spike_rates` does."""
    edges = _rate_edges(spikes, start, stop, bin_width)
    counts = _count(spikes, groups.ids, edges, groups)
    return [
        _rates(spikes, of_group, edges, n_cells, name)
        for of_group, n_cells, name in zip(
            counts, groups.counts.tolist(), groups.names, strict=True
        )
    ]


def _count(
    spikes: Spikes,
    cells: NDArray[Any] | None,
    edges: NDArray[np.float64],
    groups: Groups | None = None,
) -> NDArray[np.int64]:
    """Count spikes between ``edges``, shape (group, bin); without groups all are one group."""
    if cells is None and groups is None and spikes.is_read and spikes.are_in_order:
        return np.diff(np.searchsorted(spikes.times, edges))[np.newaxis]
    shape = 1 if groups is None else len(groups.names), len(edges) - 1
    counts = np.zeros(shape[0] * shape[1], np.int64)
    for ids, times, _ in spikes.parts(cells, start=edges[0], stop=edges[-1]):
        bins = np.clip(np.searchsorted(edges, times, "right") - 1, 0, shape[1] - 1)
        if groups is not None:
            bins += groups.codes_of(ids) * shape[1]
        counts += np.bincount(bins, minlength=len(counts))
    return counts.reshape(shape)


def _rates(
    spikes: Spikes,
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
    n_cells: int,
    basis: str,
) -> Rates:
    seconds = _recorded_seconds(spikes, edges, counts)
    return Rates(counts / (seconds * max(n_cells, 1)), counts, edges, n_cells, basis)


def _recorded_seconds(
    spikes: Spikes, edges: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how long the cells were recorded in each bin, at least half of it; NaN if never."""
    widths = np.diff(edges)
    if spikes.intervals is None or not len(spikes.intervals):
        return widths
    seconds, end = np.zeros(len(widths)), -np.inf
    for start, stop in spikes.intervals[np.argsort(spikes.intervals[:, 0])]:
        seconds += np.diff(np.clip(edges, max(start, end), max(stop, end)))
        end = max(stop, end)
    seconds[(seconds == 0) & (counts == 0)] = np.nan
    return np.maximum(seconds, widths / 2)


@dataclass(frozen=True)
class BinnedRates(LazyArrayBase):
    """Rates (Hz) of the cells ``ids`` (cell,) in the bins between ``edges`` (s); (bin, cell)."""

    spikes: Spikes
    ids: NDArray[Any]
    edges: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins and of cells."""
        return len(self.edges) - 1, len(self.ids)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the rates."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        order = np.argsort(self.ids, kind="stable")
        rows = range(*slices[0].indices(self.shape[0]))
        values = np.zeros((len(rows), self.shape[1]))
        for index, row in enumerate(rows):
            edges = self.edges[row : row + 2]
            for ids, _, _ in self.spikes.parts(self.ids, start=edges[0], stop=edges[1]):
                found = np.searchsorted(self.ids, ids.astype(self.ids.dtype), sorter=order)
                values[index] += np.bincount(order[found], minlength=self.shape[1])
            is_any = values[index].any(keepdims=True).astype(np.int64)
            values[index] /= _recorded_seconds(self.spikes, edges, is_any)
        return values[:, slices[1]]

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        # One pass over the spikes for all columns.
        values = self._read((rows, slice(None)))
        return values if columns is None else values[:, columns]


def rate_report(
    spikes: Spikes,
    *,
    start: float | None = None,
    stop: float | None = None,
    is_mean: bool = False,
) -> Report:
    """Return the rates of all known cells as a report; ``is_mean`` is one bin for the window."""
    first, last = _window(spikes, start, stop)
    edges = np.array([first, last]) if is_mean else _rate_edges(spikes, start, stop, None)
    rates = BinnedRates(spikes, spikes.known_cells, edges)
    times = Timestamps((edges[1:] + edges[:-1]) / 2)
    table = table_of_cells(spikes.population, rates.ids, spikes.cells)
    return Report("rate", rates, times, table, Unit("Hz"), "rate")


def table_of_cells(population: str, ids: NDArray[Any], cells: CellTable | None) -> CompartmentTable:
    """Return a table with one compartment for each of the cells ``ids``, and their properties."""
    table = CompartmentTable.from_cells(population, ids)
    if cells is None:
        return table
    known = cells.select(ids)
    return replace(table, cell_columns=known.columns, node_sets=cells.node_sets)


def chosen_ids(spikes: Spikes, cells: Cells | None) -> NDArray[Any] | None:
    """Return the ids of the cells that are chosen by id, by property or by node set.

    Raises
    ------
    SelectionError
        If there is no such property or node set.
    CellNotFoundError
        If no cell matches.

    """
    if isinstance(cells, str | Mapping):
        found = spikes.find(cells)
        require_cells(spikes.population, cells, found)
        return found
    return None if cells is None else as_ids(cells)


def _basis(spikes: Spikes, cells: NDArray[Any] | None) -> tuple[int, str]:
    """Return the number of cells of a mean, and which ones these are."""
    if cells is not None:
        return count_distinct(np.asarray(cells)), "selected cells"
    known = spikes.known_cells
    return len(known), _which(spikes, known)


def _which(spikes: Spikes, known: NDArray[Any]) -> str:
    """Return which cells the ``known`` ones are."""
    if spikes.silent is not None:
        return "recorded cells"
    has_silent = spikes.cells is not None and len(known) > len(spikes.spiking_cells)
    return "cells of the population" if has_silent else "cells that spike"


def whole_bins(first: float, last: float, width: float | None = None) -> tuple[float, float, float]:
    """Return the length of bins, by default a round one, and the whole bins around a window."""
    found = round_above((last - first) / (_MOST_BINS + _PART)) if width is None else width
    # A bin is not added for a small part of it.
    digits = 9 - floor(log10(found))
    low = round(floor(first / found + _PART) * found, digits)
    high = round(ceil(last / found - _PART) * found, digits)
    if width is None and high - low > (_MOST_BINS + _PART) * found:
        return whole_bins(first, last, round_above(1.01 * found))
    return found, min(low, first), max(high, last)


def _rate_edges(
    spikes: Spikes, start: float | None, stop: float | None, width: float | None
) -> NDArray[np.float64]:
    """Return the edges of bins; those at an end that is not given are whole."""
    first, last = _window(spikes, start, stop)
    if width is None or (np.isfinite(width) and width > 0):
        width, low, high = whole_bins(first, last, width)
        first, last = low if start is None else first, high if stop is None else last
    return _bin_edges(first, last, width)


def _bin_edges(first: float, last: float, width: float) -> NDArray[np.float64]:
    """Return the ends of a window and the multiples of ``width`` between them, in seconds.

    A multiple that is nearer to an end than half a bin is left out.
    """
    if not (np.isfinite(width) and width > 0):
        msg = f"the length of a bin is {width} s; expected a positive number"
        raise SelectionError(msg)
    if (last - first) / width > _TOO_MANY_BINS:
        msg = (
            f"bins of {width:g} s divide {last - first:g} s into more than {_TOO_MANY_BINS:,} "
            "bins; expected longer bins"
        )
        raise SelectionError(msg)
    multiples = np.arange(np.floor(first / width), np.ceil(last / width) + 1)
    inner = multiples * width if width >= 1 else multiples / (1 / width)
    inner = inner[(inner - first > 0.499 * width) & (last - inner > 0.499 * width)]
    return np.concatenate([[first], inner, [last]])


def _window(spikes: Spikes, start: float | None, stop: float | None) -> tuple[float, float]:
    """Return the time window (s), by default from the first spike to just after the last.

    Unless ``stop`` is after the start, the window has a length of at least 1 ms.
    """
    if start is None or stop is None:
        lowest, highest = spikes.span or (None, None)
    first = float(start if start is not None else lowest or 0.0)
    if stop is None:
        stop = first if highest is None else float(np.nextafter(highest, np.inf))
        return first, max(stop, first + _SHORTEST)
    return first, stop if stop > first else first + _SHORTEST


@with_look
def raster(
    source: Any,
    cells: Cells | None = None,
    *,
    group_by: str | Groups | None = None,
    color_by: str | Groups | None = None,
    color: str = LIGHT.text,
    start: float | None = None,
    stop: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the spikes of a population: a mark for each or, if more than 20,000, an image of counts.

    In an image, dark is many. ``cells`` are ids, values of properties such as
    ``{"layer": [2, 3]}``, or the name of a node set. With ``group_by``, the name of a property,
    cells are sorted and coloured by group; cells that are known and do not spike have a row, too.
    With ``color_by``, they are coloured and not sorted.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.
    SelectionError
        If there is no such property or node set.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     raster(output.spikes[0], stop=1.0)

    """
    spikes = find_source(source, Spikes)
    ax = axes_or_new(ax)
    ids, by = chosen_ids(spikes, cells), color_by if group_by is None else group_by
    groups = None if by is None else group_spikes(spikes, ids, by)
    in_order = group_by is not None and groups is not None
    found = spike_raster(
        spikes,
        groups.sorted_ids() if groups is not None and in_order else ids,
        start=start,
        stop=stop,
        shape=size_in_pixels(ax),
        in_order=in_order,
    )
    margin = 0.02 * float(found.times[-1] - found.times[0])
    time = time_axis(ax, found.times[0] - margin, found.times[-1] + margin, start, stop)
    note = f"{found.n_spikes:,} spike{'' if found.n_spikes == 1 else 's'}"
    marked = found.spike_ids
    if marked is not None:
        code_of = None if groups is None else _codes(groups, marked, in_order=in_order)
        _draw_marks(ax, found, time.factor, groups, code_of, color)
    else:
        shades = None
        if groups is not None:
            shades = _colors_of_rows(groups, found.ids, in_order=in_order)
        _draw_counts(ax, found, found.times * time.factor, shades)
        length, what = found.times[1] - found.times[0], "cells" if in_order else "ids"
        tall = found.ids[1] - found.ids[0]
        note += f", pixels of {1e3 * length:.3g} ms × {tall:,.0f} {what if tall > 1 else what[:-1]}"
    ax.set_ylim(found.ids[0] - 0.7, found.ids[-1] - 0.3)
    note += "" if groups is None else f", {groups.note}"
    if groups is not None and in_order:
        label_groups(ax, groups, groups.edges() - 0.5)
    else:
        ax.set_ylabel("node id")
        integer_ticks(ax.yaxis)
        if not found.n_spikes and ids is None:
            ax.set_yticks([])
    if groups is not None and not in_order:
        legend_of_groups(ax, groups, groups.labels, marker="s", markersize=5, linestyle="none")
    title(ax, f"spikes, population {spikes.population}", note)
    return ax


def _codes(groups: Groups, ids: NDArray[Any], *, in_order: bool) -> NDArray[np.intp]:
    """Return the group of each id, or of each index of the sorted ids."""
    if in_order:
        return np.asarray(np.searchsorted(groups.edges(), ids, "right") - 1)
    return groups.codes_of(ids)


def _colors_of_rows(
    groups: Groups, edges: NDArray[np.float64], *, in_order: bool
) -> NDArray[np.float64]:
    """Return the mean colour of the cells of each row of an image, shape (row, 3), from 0 to 1."""
    ids = np.arange(len(groups.ids)) if in_order else groups.ids.astype(np.int64)
    rows = np.clip(np.searchsorted(edges, ids, "right") - 1, 0, len(edges) - 2)
    codes = _codes(groups, ids, in_order=in_order)
    colors = np.array([rgb(color) for color in groups.colors])[codes] / 255
    counts = np.maximum(np.bincount(rows, minlength=len(edges) - 1), 1)
    sums = [np.bincount(rows, part, len(edges) - 1) for part in colors.T]
    return np.asarray(np.stack(sums, axis=1) / counts[:, np.newaxis])


def group_spikes(spikes: Spikes, ids: NDArray[Any] | None, group_by: str | Groups) -> Groups:
    """Return the groups of the cells ``ids``, by default of all that are known."""
    ids = spikes.known_cells if ids is None else np.unique(ids)
    if not len(ids):
        msg = f"there are no cells of population {spikes.population!r} to group"
        raise NothingRecordedError(msg)
    return group_cells(spikes.cells, group_by, ids)


def _draw_counts(
    ax: "Axes", found: Raster, edges: NDArray[np.float64], shades: NDArray[np.float64] | None
) -> None:
    """Draw counts of spikes as an image, from light for one to dark for many.

    ``shades`` (row, 3) are colours of rows.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    counts = np.ma.masked_equal(found.counts, 0)
    most = int(counts.max())
    if shades is None:
        scale = coloring(ColorScale("counts", 1, max(most, 2)))
        scale["cmap"] = scale["cmap"].with_extremes(bad=LIGHT.ground)
        drawn = image(ax, counts, edges, found.ids - 0.5, **scale)
    else:
        greys = LinearSegmentedColormap.from_list("greys", ["0.7", "0"])
        drawn = ScalarMappable(Normalize(1, max(most, 2)), greys)
        depth = (0.3 + 0.7 * found.counts / most)[..., np.newaxis]
        pixels = 1 - depth * (1 - shades[:, np.newaxis])
        image(ax, np.where(found.counts[..., np.newaxis], pixels, 1.0), edges, found.ids - 0.5)
    bar = color_bar(ax, drawn, "spikes per pixel")
    integer_ticks(bar.ax.yaxis)


def _draw_marks(
    ax: "Axes",
    found: Raster,
    factor: float,
    groups: Groups | None,
    codes: NDArray[np.intp] | None,
    color: str,
) -> None:
    """Draw spikes as bars, or as points for many cells; ``factor`` is that of times."""
    ids, times = np.asarray(found.spike_ids), np.asarray(found.spike_times) * factor
    row = size_in_pixels(ax)[0] / len(found.counts)
    points = 72 / ax.figure.dpi * row
    style: dict[str, Any] = {"marker": "o", "markersize": min(2.5, max(1.2, points))}
    style["markeredgewidth"] = 0
    if len(np.unique(ids)) <= 200:
        style = {"marker": "|", "markersize": min(10, max(2, 0.5 * row))}
    if groups is None or codes is None:
        ax.plot(times, ids, linestyle="none", color=color, **style)
        return
    for code, of_group in enumerate(groups.colors):
        shown = codes == code
        ax.plot(times[shown], ids[shown], linestyle="none", color=of_group, **style)


@with_look
def rates(
    source: Any,
    cells: Cells | None = None,
    *,
    group_by: str | Groups | None = None,
    start: float | None = None,
    stop: float | None = None,
    bin_width: float | None = None,
    n_cells: int | None = None,
    color: str = COLORS[0],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the mean firing rate of the cells of a population over time, in Hz.

    ``bin_width`` (s) and ``n_cells`` are those of :func:`spike_rates`. The title says of which
    cells the mean is. ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the
    name of a node set. With ``group_by``, the name of a property, there is a line for each group,
    the rate of a cell; the legend has the number of cells.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.
    SelectionError
        If the length of a bin is not positive, there are more than 100,000 bins, or there is no
        such property or node set.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     rates(output.spikes[0], bin_width=0.005)

    """
    spikes = find_source(source, Spikes)
    ax = axes_or_new(ax)
    ids = chosen_ids(spikes, cells)
    window: dict[str, Any] = {"start": start, "stop": stop, "bin_width": bin_width}
    if group_by is None:
        (found,) = several = [spike_rates(spikes, ids, **window, n_cells=n_cells)]
        note = found.note
    else:
        groups = group_spikes(spikes, ids, group_by)
        several = group_rates(spikes, groups, **window)
        which = _which(spikes, groups.ids) if ids is None else "selected cells"
        found = replace(several[0], n_cells=len(groups.ids), basis=which)
        note = f"{found.note}, {groups.note}"
    time = time_axis(ax, found.times[0], found.times[-1], start, stop)
    for one, of_group in zip(several, [color] if group_by is None else groups.colors, strict=True):
        style: dict[str, Any] = {"fill": True}
        if group_by is not None:
            # Without a line to 0 at both ends.
            style = {"linewidth": 1.5, "baseline": None}
        ax.stairs(one.rates, one.times * time.factor, color=of_group, **style)
    ax.set_ylim(bottom=0)
    if not any(one.counts.any() for one in several):
        ax.set_yticks([0])
    if group_by is not None:
        legend_of_groups(ax, groups, groups.labels, linewidth=2)
    ax.set_ylabel("rate (Hz)")
    title(ax, f"rate, population {spikes.population}", note)
    return ax
