"""HTML summaries with small SVG plots, for notebooks; they do not require matplotlib."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputError, source_errors
from ndx_simulation_output.plots.arrays import Grid, group_grids
from ndx_simulation_output.plots.downsampling import Lines, Recorded, reduce_traces, spread
from ndx_simulation_output.plots.networks import (
    Histogram,
    histogram,
    neuron_quantities,
    synapse_quantities,
)
from ndx_simulation_output.plots.spikes import Raster, spike_raster
from ndx_simulation_output.recording import (
    ArrayGroup,
    NetworkSnapshot,
    Quantity,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.recording.units import unit_symbol

MOST_BYTES = 2**24
"""Maximum of bytes read for a plot; of larger data a part or no plot is shown."""

_HEIGHT, _WIDTH = 80, 320
_ROWS, _COLUMNS = _HEIGHT // 4, _WIDTH // 4
"""Resolution of images and traces: a pixel has 4 × 4 units of the drawing."""

_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")
_MAX_TRACES = 4
_MAX_SHOWN = 8


def summarize(shown: Any, name: str = "") -> str:
    """Return an HTML summary of a part of a recording, or of an array with its ``name``."""
    for kind, summarize_kind in _SUMMARIES.items():
        if isinstance(shown, kind):
            return summarize_kind(shown)
    return _line(name, f"{shown.shape[0]:,} values", _histogram(shown))


def _summarize_output(output: SimulationOutput) -> str:
    kinds: tuple[tuple[Sequence[Any], Callable[[Any], str]], ...] = (
        (output.reports, _summarize_report),
        (output.potentials, partial(_summarize_recorded, caption="potential")),
        (output.spikes, _summarize_spikes),
        (output.networks, _summarize_network),
        (output.arrays, _summarize_group),
    )
    parts = [_try(summary, item) for items, summary in kinds for item in items[:_MAX_SHOWN]]
    omitted = sum(max(0, len(items) - _MAX_SHOWN) for items, _ in kinds)
    if omitted:
        parts.append(_line("and", f"{omitted} more"))
    body = "".join(parts) or _line("nothing", "was recorded")
    return f"<div><h4>SimulationOutput</h4>{body}</div>"


def _try(summary: Callable[[Any], str], item: Any) -> str:
    """Return a summary, or an error message if the data cannot be read."""
    try:
        with source_errors("cannot be read"):
            return summary(item)
    except SimulationOutputError as error:
        return _line(type(item).__name__, str(error))


def _summarize_report(report: Report) -> str:
    cells = f"{len(report.compartments):,} cells of population {report.population}"
    return _summarize_recorded(report, "report", cells)


def _summarize_recorded(recorded: Recorded, caption: str, more: str = "") -> str:
    rows, columns = recorded.data.shape
    symbol = unit_symbol(recorded.unit) or recorded.unit.name
    facts = [f"{rows:,} times × {columns:,} columns", symbol, more]
    text = ", ".join(fact for fact in facts if fact)
    return _line(f"{caption} {recorded.name}", text, _traces(recorded))


def _traces(recorded: Recorded) -> str:
    """Draw traces of evenly spaced columns, from the first row up to the limit of bytes."""
    rows, columns = recorded.data.shape
    chosen = spread(columns, _MAX_TRACES)
    most = _max_rows(recorded.data, len(chosen))
    if not rows or not len(chosen) or not most:
        return ""
    stop = None if rows <= most else float(recorded.times.seconds(slice(most, most + 1))[0])
    return _draw_lines(reduce_traces(recorded, chosen, stop=stop, pixels=_COLUMNS))


def _max_rows(data: LazyArray, columns: int) -> int:
    """Return the number of rows that may be read of ``columns`` columns, in whole chunks."""
    height, width = chunks_of(data)
    row_bytes = max(1, columns * width * data.dtype.itemsize)
    return MOST_BYTES // row_bytes // height * height


def _summarize_spikes(spikes: Spikes) -> str:
    picture = ""
    if 0 < spikes.times.nbytes <= 8 * MOST_BYTES:
        picture = _draw_raster(spike_raster(spikes, shape=(_ROWS, _COLUMNS)))
    return _line(f"spikes {spikes.population}", f"{len(spikes.times):,} spikes", picture)


def _summarize_network(network: NetworkSnapshot) -> str:
    time = "" if network.time is None else f"at {network.time:g} s"
    parts = [_line(f"state {network.name}", time)]
    for population in network.populations[:_MAX_SHOWN]:
        names = ", ".join(quantity.name for quantity in population.quantities[:_MAX_SHOWN])
        text = f"{population.size:,} neurons: {names}"
        picture = _first_histogram(neuron_quantities(population))
        parts.append(_line(f"population {population.name}", text, picture))
    for projection in network.projections[:_MAX_SHOWN]:
        text = f"{projection.pre_ranks.shape[0]:,} synapses"
        picture = _first_histogram(synapse_quantities(projection))
        parts.append(_line(f"projection {projection.name}", text, picture))
    return "".join(parts)


def _first_histogram(quantities: Iterable[Quantity]) -> str:
    return next((_histogram(item.values) for item in quantities if item.values.shape), "")


def _histogram(values: LazyArray) -> str:
    is_drawn = _is_small(values) and values.dtype.kind in "biuf"
    return _draw_histogram(histogram(values)) if is_drawn else ""


def _is_small(values: LazyArray) -> bool:
    return prod(values.shape) * values.dtype.itemsize <= MOST_BYTES


def _summarize_group(group: ArrayGroup) -> str:
    count = sum(len(found.arrays) for _, found in group.walk())
    grids = islice(group_grids(group), _MAX_SHOWN)
    parts = [_line(f"arrays of {group.name}", f"{count} arrays")]
    return "".join([*parts, *(_try(_summarize_grid, grid) for grid in grids)])


def _summarize_grid(grid: Grid) -> str:
    name = " ".join(text for text in (grid.name, grid.label) if text)
    if not grid.axes:
        return _line(name, f"{np.asarray(grid.values[()]).ravel()[0]:.6g} {grid.unit}")
    picture = ""
    if _is_small(grid.values) and len(grid.axes) == 1:
        picture = _draw_lines(grid.line(_COLUMNS))
    elif _is_small(grid.values):
        picture = _draw_image(grid.image((_ROWS, _COLUMNS))[0])
    return _line(name, " × ".join(f"{len(axis.values):,}" for axis in grid.axes), picture)


def _line(name: str, text: str, picture: str = "") -> str:
    shown = f"<div>{picture}</div>" if picture else ""
    return f"<div><b>{escape(name)}</b> {escape(text)}{shown}</div>"


_SUMMARIES: dict[type, Callable[[Any], str]] = {
    SimulationOutput: _summarize_output,
    Report: _summarize_report,
    Spikes: _summarize_spikes,
    NetworkSnapshot: _summarize_network,
    ArrayGroup: _summarize_group,
}


def _draw_lines(lines: Lines) -> str:
    finite = lines.values[np.isfinite(lines.values)]
    if not len(finite) or len(lines.times) < 2:
        return ""
    x = _scale(lines.times, float(lines.times[0]), float(lines.times[-1]), _WIDTH)
    low, high = float(finite.min()), float(finite.max())
    parts = []
    for trace in range(lines.values.shape[1]):
        values = lines.values[:, trace].astype(np.float64)
        y = _HEIGHT - _scale(values, low, high, _HEIGHT)
        known = np.isfinite(y)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True))
        color = _COLORS[trace % len(_COLORS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"/>')
    return _svg(parts, "traces")


def _draw_raster(raster: Raster) -> str:
    """Draw a rectangle for each pixel with spikes; darker ones have more."""
    counts = np.asarray(raster.counts, np.float64)
    shades = 0.4 + 0.6 * counts / (counts.max(initial=0) or 1.0)
    return _draw_pixels(np.where(counts, shades, np.nan), "spikes")


def _draw_image(values: NDArray[np.float64]) -> str:
    """Draw an image (row, column), with row 0 at the bottom and high values dark; skip NaN."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    return _draw_pixels(_scale(values, float(finite.min()), float(finite.max()), 1), "image")


def _draw_pixels(shades: NDArray[np.float64], caption: str) -> str:
    """Draw pixels (row, column) with an opacity from 0 to 1; skip NaN."""
    rows, columns = np.nonzero(np.isfinite(shades))
    if not len(rows):
        return ""
    height, width = _HEIGHT / shades.shape[0], _WIDTH / shades.shape[1]
    return _svg(
        (
            f'<rect x="{column * width:.1f}" y="{_HEIGHT - (row + 1) * height:.1f}" '
            f'width="{max(width, 1):.1f}" height="{max(height, 1):.1f}" opacity="{shade:.2f}"/>'
            for row, column, shade in zip(rows, columns, shades[rows, columns], strict=True)
        ),
        caption,
    )


def _draw_histogram(histogram: Histogram) -> str:
    most = int(histogram.counts.max(initial=0))
    if not most:
        return ""
    width = _WIDTH / len(histogram.counts)
    heights = _HEIGHT * histogram.counts / most
    return _svg(
        (
            f'<rect x="{index * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{_COLORS[0]}"/>'
            for index, height in enumerate(heights)
        ),
        "histogram",
    )


def _scale(values: NDArray[np.float64], low: float, high: float, size: int) -> NDArray[np.float64]:
    return (values - low) / ((high - low) or 1.0) * size


def _svg(parts: Iterable[str], caption: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" role="img" aria-label="{escape(caption)}">'
        f"{''.join(parts)}</svg>"
    )
