"""Spikes as points, as counts in the pixels of an image, and as rates."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.ids import count_distinct

if TYPE_CHECKING:
    from ndx_simulation_output.recording.output import Spikes

__all__ = ["Raster", "Rates", "spike_raster", "spike_rates"]

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
