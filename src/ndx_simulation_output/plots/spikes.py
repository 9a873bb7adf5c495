"""Spike rasters and firing rates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, SelectionError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    find_source,
    image,
    integer_ticks,
    require_cells,
    size_in_pixels,
    time_axis,
    title,
)
from ndx_simulation_output.plots.groups import (
    Groups,
    group_cells,
    label_groups,
    legend_of_groups,
)
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
    """Count spikes in the pixels of an image of ``shape`` (height, width).

    Spikes with ``start <= time < stop`` (s) of the node ids ``cells``, or of all, are counted. A
    pixel has a height of at least one id. At most ``most_points`` single spikes are returned. If
    ``in_order``, the indices of ``cells`` take the place of ids.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> spikes = simulate(duration=0.05).spikes[0]
    >>> spike_raster(spikes, shape=(4, 10)).n_spikes == len(spikes.times)
    True

    """
    first, last = _window(spikes, start, stop)
    ids = spikes.node_ids if cells is None else np.asarray(cells)
    order = np.argsort(ids, kind="stable") if in_order else None
    lowest, end = (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)
    lowest, end = (lowest, end) if order is None else (0, max(len(ids), 1))
    height, width = max(1, min(shape[0], end - lowest)), shape[1]
    counts = np.zeros(height * width, np.int64)
    all_ids, all_times, n_spikes = [spikes.node_ids[:0]], [np.zeros(0)], 0
    for node_ids, times in _select(spikes, cells, first, last):
        block_ids = node_ids
        if order is not None:
            block_ids = order[np.searchsorted(ids, node_ids.astype(ids.dtype), sorter=order)]
        x = np.minimum((times - first) / (last - first) * width, width - 1).astype(np.int64)
        # Products of integers would overflow for ids near 2**63.
        y = (block_ids.astype(np.int64) - lowest) * float(height) / (end - lowest)
        y = np.minimum(y, height - 1).astype(np.int64)
        counts += np.bincount(y * width + x, minlength=len(counts))
        n_spikes += len(block_ids)
        if n_spikes <= most_points:
            all_ids.append(block_ids)
            all_times.append(times)
    are_few = n_spikes <= most_points
    return Raster(
        counts.reshape(height, width),
        lowest + (end - lowest) * np.arange(height + 1.0) / height,
        np.linspace(first, last, width + 1),
        np.concatenate(all_ids) if are_few else None,
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
        Time window in s; by default from the first spike to just after the last.
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
    first, last = _window(spikes, start, stop)
    edges = _bin_edges(first, last, bin_width)
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
    edges = _bin_edges(*_window(spikes, start, stop), bin_width)
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
    shape = 1 if groups is None else len(groups.names), len(edges) - 1
    counts = np.zeros(shape[0] * shape[1], np.int64)
    for ids, times in _select(spikes, cells, edges[0], edges[-1]):
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
            for ids, _ in _select(self.spikes, self.ids, *edges):
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
    edges = np.array([first, last]) if is_mean else _bin_edges(first, last, None)
    rates = BinnedRates(spikes, spikes.known_cells, edges)
    times = Timestamps((edges[1:] + edges[:-1]) / 2)
    table = table_of_cells(spikes.population, rates.ids, spikes.cells)
    return Report("rate", "rate", rates, times, table, Unit("Hz"), "rate")


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
    has_silent = spikes.cells is not None and len(known) > count_distinct(spikes.node_ids)
    return "cells of the population" if has_silent else "cells that spike"


def _bin_edges(first: float, last: float, width: float | None) -> NDArray[np.float64]:
    """Return the ends of a window and the multiples of ``width`` between them, in seconds.

    A multiple that is nearer to an end than half a bin is left out.
    """
    if width is None:
        power = 10.0 ** np.floor(np.log10((last - first) / _MOST_BINS))
        factors = power * np.array([1.0, 2.0, 5.0, 10.0])
        width = float(factors[factors * _MOST_BINS >= (last - first) * (1 - 1e-9)][0])
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
    times = spikes.times
    first = start if start is not None else float(times.min()) if len(times) else 0.0
    if stop is None:
        stop = float(np.nextafter(times.max(), np.inf)) if len(times) else first
        return first, max(stop, first + _SHORTEST)
    return first, stop if stop > first else first + _SHORTEST


def _select(
    spikes: Spikes, cells: NDArray[Any] | None, first: float, last: float
) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Yield ids and times of the selected spikes in blocks."""
    for begin in range(0, len(spikes.times), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        ids, times = spikes.node_ids[block], spikes.times[block]
        selected = (times >= first) & (times < last)
        if cells is not None:
            selected &= np.isin(ids, cells)
        yield ids[selected], times[selected]


def raster(
    source: Any,
    cells: Cells | None = None,
    *,
    group_by: str | Groups | None = None,
    start: float | None = None,
    stop: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the spikes of a population: a mark for each or, if more than 20,000, an image of counts.

    ``cells`` are ids, values of properties such as ``{"layer": [2, 3]}``, or the name of a node
    set. With ``group_by``, the name of a property, cells are sorted and coloured by group; cells
    that are known and do not spike have a row, too.

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
    ids = chosen_ids(spikes, cells)
    groups = None if group_by is None else group_spikes(spikes, ids, group_by)
    found = spike_raster(
        spikes,
        ids if groups is None else groups.sorted_ids(),
        start=start,
        stop=stop,
        shape=size_in_pixels(ax),
        in_order=groups is not None,
    )
    margin = 0.02 * float(found.times[-1] - found.times[0])
    time = time_axis(ax, found.times[0] - margin, found.times[-1] + margin, start, stop)
    edges = found.times * time.factor
    note = f"{found.n_spikes:,} spike{'' if found.n_spikes == 1 else 's'}"
    if found.spike_times is not None and found.spike_ids is not None:
        _draw_marks(ax, found, time.factor, groups)
        ax.set_ylim(found.ids[0] - 0.7, found.ids[-1] - 0.3)
    else:
        _draw_counts(ax, found, edges, groups)
        width = 1e3 * (found.times[1] - found.times[0])
        what = "ids" if groups is None else "cells"
        note += f", pixels of {width:.3g} ms × {found.ids[1] - found.ids[0]:.4g} {what}"
    if groups is None:
        ax.set_ylabel("node id")
        integer_ticks(ax.yaxis)
    else:
        label_groups(ax, groups, groups.edges() - 0.5)
        note += f", {groups.note}"
    title(ax, f"spikes, population {spikes.population}", note)
    return ax


def group_spikes(spikes: Spikes, ids: NDArray[Any] | None, group_by: str | Groups) -> Groups:
    """Return the groups of the cells ``ids``, by default of all that are known."""
    ids = spikes.known_cells if ids is None else np.unique(ids)
    if not len(ids):
        msg = f"there are no cells of population {spikes.population!r} to group"
        raise NothingRecordedError(msg)
    return group_cells(spikes.cells, group_by, ids)


def _draw_counts(ax: "Axes", found: Raster, edges: NDArray[np.float64], groups: Any) -> None:
    """Draw counts of spikes as an image, from light for one to dark for many."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize, to_rgb

    counts = np.ma.masked_equal(found.counts, 0)
    name = "Blues" if groups is None else "Greys"
    shades = ListedColormap(colormaps[name](np.linspace(0.3, 1.0, 256)))
    if groups is None:
        drawn = image(ax, counts, edges, found.ids - 0.5, cmap=shades)
    else:
        drawn = ScalarMappable(Normalize(int(counts.min()), int(counts.max())), shades)
        rows = (found.ids[:-1] + found.ids[1:]) / 2
        group = np.searchsorted(groups.edges(), rows, "right") - 1
        colors = np.array([to_rgb(color) for color in groups.colors])[group][:, np.newaxis]
        depth = 0.3 + 0.7 * found.counts / found.counts.max()
        pixels = 1 - depth[..., np.newaxis] * (1 - colors)
        image(ax, np.where(found.counts[..., np.newaxis], pixels, 1.0), edges, found.ids - 0.5)
    color_bar(ax, drawn, "spikes per pixel")


def _draw_marks(ax: "Axes", found: Raster, factor: float, groups: Groups | None) -> None:
    """Draw spikes as bars, or as points for many cells; ``factor`` is that of times."""
    ids, times = np.asarray(found.spike_ids), np.asarray(found.spike_times) * factor
    style: dict[str, Any] = {"marker": ".", "markersize": 1}
    if len(np.unique(ids)) <= 200:
        size = min(10, max(2, 0.5 * size_in_pixels(ax)[0] / len(found.counts)))
        style = {"marker": "|", "markersize": size}
    elif groups is not None:
        style["markersize"] = 2
    if groups is None:
        ax.plot(times, ids, linestyle="none", color="black", **style)
        return
    edges = groups.edges()
    for low, high, color in zip(edges[:-1], edges[1:], groups.colors, strict=True):
        shown = (ids >= low) & (ids < high)
        ax.plot(times[shown], ids[shown], linestyle="none", color=color, **style)


def rates(
    source: Any,
    cells: Cells | None = None,
    *,
    group_by: str | Groups | None = None,
    start: float | None = None,
    stop: float | None = None,
    bin_width: float | None = None,
    n_cells: int | None = None,
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
    for one, color in zip(several, [None] if group_by is None else groups.colors, strict=True):
        style = {"fill": True} if color is None else {"color": color, "linewidth": 1.5}
        ax.stairs(one.rates, one.times * time.factor, **style)
    if group_by is not None:
        legend_of_groups(ax, groups, groups.labels, linewidth=2)
    ax.set_ylabel("rate (Hz)")
    title(ax, f"rate, population {spikes.population}", note)
    return ax
