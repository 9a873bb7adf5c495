"""Count and draw spikes: rasters and rates."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    image,
    pixels_of,
    spikes_of,
    title,
    whole_numbers,
)
from ndx_simulation_output.recording.ids import as_ids, count_distinct
from ndx_simulation_output.recording.units import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ndx_simulation_output.recording.output import Spikes

# Spikes as points, as counts in the pixels of an image, and as rates.

_BLOCK = 2**20
_SHORTEST = 1e-3


@dataclass(frozen=True)
class Raster:
    """Spikes of a population in a window: ``counts`` of shape (cell bin, time bin).

    ``ids`` (cell bin + 1,) and ``times`` (time bin + 1,) are where bins begin and end: node ids
    and seconds. The sum of the counts is the number of spikes. Where these are few enough, each
    is in ``spike_ids`` and ``spike_times``, else these are None.
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
    """Rates over time: ``rates`` (bin,) in spikes per second and cell, of ``n_cells`` cells.

    ``counts`` (bin,) are the spikes, ``times`` (bin + 1,) the seconds at which bins begin and end.
    """

    rates: NDArray[np.float64]
    counts: NDArray[np.int64]
    times: NDArray[np.float64]
    n_cells: int


def spike_raster(
    spikes: "Spikes",
    cells: NDArray[Any] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    shape: tuple[int, int] = (500, 1000),
    most_points: int = 20_000,
) -> Raster:
    """Count spikes in the pixels of an image of ``shape`` (height, width).

    Only spikes with ``start <= time < stop`` (s) of the node ids ``cells``, all if None. A pixel
    is at least one id high.

    Example
    -------
    >>> from ndx_simulation_output.cable import simulate
    >>> spikes = simulate(duration=0.05).spikes[0]
    >>> spike_raster(spikes, shape=(4, 10)).n_spikes == len(spikes.times)
    True

    """
    first, last = _window(spikes, start, stop)
    lowest, highest = _bounds(spikes.node_ids if cells is None else np.asarray(cells))
    height = max(1, min(shape[0], highest - lowest))
    counts = np.zeros(height * shape[1], np.int64)
    kept_ids, kept_times, kept = [], [], 0
    for ids, times in _chosen(spikes, cells, first, last):
        x = np.minimum((times - first) / (last - first) * shape[1], shape[1] - 1).astype(np.int64)
        y = (ids.astype(np.int64) - lowest) * height // (highest - lowest)
        counts += np.bincount(y * shape[1] + x, minlength=len(counts))
        kept += len(ids)
        if kept <= most_points:
            kept_ids.append(ids)
            kept_times.append(times)
    few = kept <= most_points
    return Raster(
        counts.reshape(height, shape[1]),
        lowest + (highest - lowest) * np.arange(height + 1) / height,
        np.linspace(first, last, shape[1] + 1),
        np.concatenate([spikes.node_ids[:0], *kept_ids]) if few else None,
        np.concatenate([np.zeros(0), *kept_times]) if few else None,
    )


def spike_rates(
    spikes: "Spikes",
    cells: NDArray[Any] | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    bins: int = 50,
    n_cells: int | None = None,
) -> Rates:
    """Count spikes in equal bins of time, and divide by their length and the number of cells.

    ``n_cells`` is by default that of the ``cells`` asked for, and where these are None that of
    the cells that spike at all: spikes do not tell of cells that are silent.
    """
    first, last = _window(spikes, start, stop)
    counts = np.zeros(bins, np.int64)
    for _, times in _chosen(spikes, cells, first, last):
        x = np.minimum((times - first) / (last - first) * bins, bins - 1).astype(np.int64)
        counts += np.bincount(x, minlength=bins)
    if n_cells is None:
        n_cells = count_distinct(spikes.node_ids if cells is None else np.asarray(cells))
    width = (last - first) / bins
    rates = counts / (width * max(n_cells, 1))
    return Rates(rates, counts, np.linspace(first, last, bins + 1), n_cells)


def _window(spikes: "Spikes", start: float | None, stop: float | None) -> tuple[float, float]:
    """Give when the window begins and ends: by default just behind the last spike, 1 ms or more."""
    times = spikes.times
    first = start if start is not None else float(times.min()) if len(times) else 0.0
    if stop is None:
        stop = float(np.nextafter(times.max(), np.inf)) if len(times) else first
        return first, max(stop, first + _SHORTEST)
    return first, stop if stop > first else first + _SHORTEST


def _bounds(ids: NDArray[Any]) -> tuple[int, int]:
    return (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)


def _chosen(
    spikes: "Spikes", cells: NDArray[Any] | None, first: float, last: float
) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Give ids and times of the spikes that are asked for, some at a time."""
    for begin in range(0, len(spikes.times), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        ids, times = spikes.node_ids[block], spikes.times[block]
        wanted = (times >= first) & (times < last)
        if cells is not None:
            wanted &= np.isin(ids, cells)
        yield ids[wanted], times[wanted]


# Rasters and rates of spikes.


def raster(
    source: Any,
    cells: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw spikes of a population: a mark for each, or of more than 20,000 an image of counts.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     raster(output.spikes[0], stop=1.0)

    """
    spikes = spikes_of(source)
    ax = axes_or_new(ax)
    chosen = None if cells is None else as_ids(cells)
    found = spike_raster(spikes, chosen, start=start, stop=stop, shape=pixels_of(ax))
    time = time_scale(float(found.times[-1] - found.times[0]))
    edges = found.times * time.factor
    note = f"{found.n_spikes:,} spike{'' if found.n_spikes == 1 else 's'}"
    if found.spike_times is not None and found.spike_ids is not None:
        few = len(np.unique(found.spike_ids)) <= 200
        ax.plot(
            found.spike_times * time.factor,
            found.spike_ids,
            linestyle="none",
            marker="|" if few else ".",
            markersize=min(10, max(2, 0.5 * pixels_of(ax)[0] / len(found.counts))) if few else 1,
            color="black",
        )
        margin = 0.02 * (edges[-1] - edges[0]) or 1.0
        ax.set_xlim(edges[0] - margin, edges[-1] + margin)
        ax.set_ylim(found.ids[0] - 0.7, found.ids[-1] - 0.3)
    else:
        shown = np.ma.masked_equal(found.counts, 0)
        drawn = image(ax, shown, edges, found.ids - 0.5, cmap="viridis")
        ids = (found.ids[-1] - found.ids[0]) / len(found.counts)
        per = f"{1e3 * (found.times[1] - found.times[0]):.3g} ms × {ids:.4g} ids"
        color_bar(ax, drawn, "spikes a pixel")
        note += f", a pixel is {per}"
    ax.set_xlabel(time.label("time"))
    ax.set_ylabel("node id")
    whole_numbers(ax.yaxis)
    title(ax, f"spikes, population {spikes.population}", note)
    return ax


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
    """Draw the rate of a population over time, in spikes per second and cell.

    ``n_cells`` is the number of cells; by default that of the cells that spike, as the title says.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     rates(output.spikes[0], bins=50)

    """
    spikes = spikes_of(source)
    ax = axes_or_new(ax)
    chosen = None if cells is None else as_ids(cells)
    found = spike_rates(spikes, chosen, start=start, stop=stop, bins=bins, n_cells=n_cells)
    time = time_scale(float(found.times[-1] - found.times[0]))
    edges = found.times * time.factor
    ax.stairs(found.rates, edges, fill=True)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(time.label("time"))
    ax.set_ylabel("rate (1/s per cell)")
    which = "cells that spike" if chosen is None and n_cells is None else "cells"
    width = f"{1e3 * (found.times[1] - found.times[0]):.3g} ms"
    title(
        ax,
        f"rate, population {spikes.population}",
        f"mean of {found.n_cells:,} {which}, bins of {width}",
    )
    return ax
