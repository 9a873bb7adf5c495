"""Rasters and rates of spikes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    image,
    pixels_of,
    title,
    whole_numbers,
)
from ndx_simulation_output.plots.sources import spikes_of
from ndx_simulation_output.recording.ids import as_ids
from ndx_simulation_output.recording.reduced import spike_raster, spike_rates
from ndx_simulation_output.recording.scales import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["raster", "rates"]


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
