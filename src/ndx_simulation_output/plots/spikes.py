"""Spike rasters and firing rates."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    find_source,
    image,
    integer_ticks,
    size_in_pixels,
    time_axis,
    title,
)
from ndx_simulation_output.recording import Spikes
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
) -> Raster:
    """Count spikes in the pixels of an image of ``shape`` (height, width).

    Spikes with ``start <= time < stop`` (s) of the node ids ``cells``, or of all, are counted. A
    pixel has a height of at least one id. At most ``most_points`` single spikes are returned.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> spikes = simulate(duration=0.05).spikes[0]
    >>> spike_raster(spikes, shape=(4, 10)).n_spikes == len(spikes.times)
    True

    """
    first, last = _window(spikes, start, stop)
    ids = spikes.node_ids if cells is None else np.asarray(cells)
    lowest, end = (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)
    height, width = max(1, min(shape[0], end - lowest)), shape[1]
    counts = np.zeros(height * width, np.int64)
    all_ids, all_times, n_spikes = [spikes.node_ids[:0]], [np.zeros(0)], 0
    for block_ids, times in _select(spikes, cells, first, last):
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
    counts = np.zeros(len(edges) - 1, np.int64)
    for _, times in _select(spikes, cells, first, last):
        bins = np.clip(np.searchsorted(edges, times, "right") - 1, 0, len(counts) - 1)
        counts += np.bincount(bins, minlength=len(counts))
    basis = "cells" if cells is None else "selected cells"
    if n_cells is None:
        n_cells, basis = _basis(spikes, cells)
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


def known_ids(spikes: Spikes) -> NDArray[Any]:
    """Return the ids of the cells that spike, and of those that are known to be silent."""
    silent = spikes.node_ids[:0] if spikes.silent is None else spikes.silent
    return np.unique(np.concatenate([spikes.node_ids, silent]))


def _basis(spikes: Spikes, cells: NDArray[Any] | None) -> tuple[int, str]:
    """Return the number of cells of a mean, and which ones these are."""
    if cells is not None:
        return count_distinct(np.asarray(cells)), "selected cells"
    basis = "cells that spike" if spikes.silent is None else "recorded cells"
    return len(known_ids(spikes)), basis


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
    cells: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the spikes of a population: a mark for each or, if more than 20,000, an image of counts.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     raster(output.spikes[0], stop=1.0)

    """
    spikes = find_source(source, Spikes)
    ax = axes_or_new(ax)
    ids = None if cells is None else as_ids(cells)
    found = spike_raster(spikes, ids, start=start, stop=stop, shape=size_in_pixels(ax))
    margin = 0.02 * float(found.times[-1] - found.times[0])
    time = time_axis(ax, found.times[0] - margin, found.times[-1] + margin, start, stop)
    edges = found.times * time.factor
    note = f"{found.n_spikes:,} spike{'' if found.n_spikes == 1 else 's'}"
    if found.spike_times is not None and found.spike_ids is not None:
        _draw_marks(ax, found.spike_times * time.factor, found.spike_ids, len(found.counts))
        ax.set_ylim(found.ids[0] - 0.7, found.ids[-1] - 0.3)
    else:
        counts = np.ma.masked_equal(found.counts, 0)
        drawn = image(ax, counts, edges, found.ids - 0.5, cmap=_dark_is_many())
        color_bar(ax, drawn, "spikes per pixel")
        width = 1e3 * (found.times[1] - found.times[0])
        note += f", pixels of {width:.3g} ms × {found.ids[1] - found.ids[0]:.4g} ids"
    ax.set_ylabel("node id")
    integer_ticks(ax.yaxis)
    title(ax, f"spikes, population {spikes.population}", note)
    return ax


def _dark_is_many() -> Any:
    """Return colours for counts, from light blue for one to dark blue for many."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.3, 1.0, 256)))


def _draw_marks(ax: "Axes", times: NDArray[np.float64], ids: NDArray[Any], height: int) -> None:
    """Draw spikes as bars, or as points for many cells; ``height`` is the number of cell bins."""
    style: dict[str, Any] = {"marker": ".", "markersize": 1}
    if len(np.unique(ids)) <= 200:
        size = min(10, max(2, 0.5 * size_in_pixels(ax)[0] / height))
        style = {"marker": "|", "markersize": size}
    ax.plot(times, ids, linestyle="none", color="black", **style)


def rates(
    source: Any,
    cells: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    bin_width: float | None = None,
    n_cells: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the mean firing rate of the cells of a population over time, in Hz.

    ``bin_width`` (s) and ``n_cells`` are those of :func:`spike_rates`. The title says of which
    cells the mean is.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.
    SelectionError
        If the length of a bin is not positive, or there are more than 100,000 bins.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     rates(output.spikes[0], bin_width=0.005)

    """
    spikes = find_source(source, Spikes)
    ax = axes_or_new(ax)
    ids = None if cells is None else as_ids(cells)
    found = spike_rates(spikes, ids, start=start, stop=stop, bin_width=bin_width, n_cells=n_cells)
    time = time_axis(ax, found.times[0], found.times[-1], start, stop)
    ax.stairs(found.rates, found.times * time.factor, fill=True)
    ax.set_ylabel("rate (Hz)")
    title(ax, f"rate, population {spikes.population}", found.note)
    return ax
