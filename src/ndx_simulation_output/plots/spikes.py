"""Spike rasters and firing rates."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    find_source,
    image,
    integer_ticks,
    size_in_pixels,
    title,
)
from ndx_simulation_output.recording import Spikes
from ndx_simulation_output.recording.ids import as_ids, count_distinct
from ndx_simulation_output.recording.units import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 2**20
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
    """Firing rates over time: ``rates`` (bin,) in spikes per second and cell, of ``n_cells`` cells.

    ``counts`` (bin,) are numbers of spikes, ``times`` (bin + 1,) the edges of the bins in seconds.
    """

    rates: NDArray[np.float64]
    counts: NDArray[np.int64]
    times: NDArray[np.float64]
    n_cells: int


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
        y = (block_ids.astype(np.int64) - lowest) * height // (end - lowest)
        counts += np.bincount(y * width + x, minlength=len(counts))
        n_spikes += len(block_ids)
        if n_spikes <= most_points:
            all_ids.append(block_ids)
            all_times.append(times)
    are_few = n_spikes <= most_points
    return Raster(
        counts.reshape(height, width),
        lowest + (end - lowest) * np.arange(height + 1) / height,
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
    bins: int = 50,
    n_cells: int | None = None,
) -> Rates:
    """Count spikes in time bins, and divide by their length and the number of cells.

    ``n_cells`` is by default the number of ``cells`` or, if these are None, of the cells that spike
    at any time: spikes do not contain the ids of silent cells.
    """
    first, last = _window(spikes, start, stop)
    counts = np.zeros(bins, np.int64)
    for _, times in _select(spikes, cells, first, last):
        x = np.minimum((times - first) / (last - first) * bins, bins - 1).astype(np.int64)
        counts += np.bincount(x, minlength=bins)
    if n_cells is None:
        n_cells = count_distinct(spikes.node_ids if cells is None else np.asarray(cells))
    rates = counts / ((last - first) / bins * max(n_cells, 1))
    return Rates(rates, counts, np.linspace(first, last, bins + 1), n_cells)


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
    time = time_scale(float(found.times[-1] - found.times[0]))
    edges = found.times * time.factor
    note = f"{found.n_spikes:,} spike{'' if found.n_spikes == 1 else 's'}"
    if found.spike_times is not None and found.spike_ids is not None:
        _draw_marks(ax, found.spike_times * time.factor, found.spike_ids, len(found.counts))
        margin = 0.02 * (edges[-1] - edges[0]) or 1.0
        ax.set_xlim(edges[0] - margin, edges[-1] + margin)
        ax.set_ylim(found.ids[0] - 0.7, found.ids[-1] - 0.3)
    else:
        drawn = image(ax, np.ma.masked_equal(found.counts, 0), edges, found.ids - 0.5)
        color_bar(ax, drawn, "spikes per pixel")
        width = 1e3 * (found.times[1] - found.times[0])
        note += f", pixels of {width:.3g} ms × {found.ids[1] - found.ids[0]:.4g} ids"
    ax.set_xlabel(time.label("time"))
    ax.set_ylabel("node id")
    integer_ticks(ax.yaxis)
    title(ax, f"spikes, population {spikes.population}", note)
    return ax


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
    bins: int = 50,
    n_cells: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the firing rate of a population over time, in spikes per second and cell.

    ``n_cells`` is the number of cells, by default of those that spike.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     rates(output.spikes[0], bins=50)

    """
    spikes = find_source(source, Spikes)
    ax = axes_or_new(ax)
    ids = None if cells is None else as_ids(cells)
    found = spike_rates(spikes, ids, start=start, stop=stop, bins=bins, n_cells=n_cells)
    time = time_scale(float(found.times[-1] - found.times[0]))
    edges = found.times * time.factor
    ax.stairs(found.rates, edges, fill=True)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(time.label("time"))
    ax.set_ylabel("rate (1/s per cell)")
    which = "cells that spike" if ids is None and n_cells is None else "cells"
    width = f"{1e3 * (found.times[1] - found.times[0]):.3g} ms"
    note = f"mean of {found.n_cells:,} {which}, bins of {width}"
    title(ax, f"rate, population {spikes.population}", note)
    return ax
