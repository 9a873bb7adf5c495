"""HTML summaries with small SVG pictures, for notebooks."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.plots.arrays import Grid, export_grids, own_grids
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
    OwnGroup,
    Quantity,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.recording.units import unit_symbol

# Small pictures in SVG, drawn without any library: for notebooks.

SIZE = (80, 320)
"""Height and width of a sketch, in pixels."""

_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")


def sketch_lines(lines: Lines) -> str:
    """Draw traces."""
    finite = lines.values[np.isfinite(lines.values)]
    if not len(finite) or len(lines.times) < 2:
        return ""
    x = _scaled(lines.times, float(lines.times[0]), float(lines.times[-1]), SIZE[1])
    parts = []
    for trace in range(lines.values.shape[1]):
        values = lines.values[:, trace].astype(np.float64)
        y = SIZE[0] - _scaled(values, float(finite.min()), float(finite.max()), SIZE[0])
        known = np.isfinite(y)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True))
        color = _COLORS[trace % len(_COLORS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"/>')
    return _picture(parts, "traces")


def sketch_raster(raster: Raster) -> str:
    """Draw a mark for each pixel that has spikes, the darker the more."""
    counts = np.asarray(raster.counts, np.float64)
    shades = 0.4 + 0.6 * counts / (counts.max(initial=0) or 1.0)
    return _pixels(np.where(counts, shades, np.nan), "spikes")


def sketch_image(values: NDArray[np.float64]) -> str:
    """Draw an image (row, column), row 0 lowest, the darker the higher; NaN is left out."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    return _pixels(_scaled(values, float(finite.min()), float(finite.max()), 1), "image")


def sketch_histogram(histogram: Histogram) -> str:
    """Draw a bar for each bin."""
    most = int(histogram.counts.max(initial=0))
    if not most:
        return ""
    width = SIZE[1] / len(histogram.counts)
    heights = SIZE[0] * histogram.counts / most
    return _picture(
        (
            f'<rect x="{place * width:.1f}" y="{SIZE[0] - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{_COLORS[0]}"/>'
            for place, height in enumerate(heights)
        ),
        "histogram",
    )


def _pixels(shades: NDArray[np.float64], what: str) -> str:
    """Draw pixels (row, column) of a darkness from 0 to 1, none where it is NaN."""
    rows, columns = np.nonzero(np.isfinite(shades))
    if not len(rows):
        return ""
    height, width = (full / count for full, count in zip(SIZE, shades.shape, strict=True))
    return _picture(
        (
            f'<rect x="{column * width:.1f}" y="{SIZE[0] - (row + 1) * height:.1f}" '
            f'width="{max(width, 1):.1f}" height="{max(height, 1):.1f}" opacity="{shade:.2f}"/>'
            for row, column, shade in zip(rows, columns, shades[rows, columns], strict=True)
        ),
        what,
    )


def _scaled(values: NDArray[np.float64], low: float, high: float, size: int) -> NDArray[np.float64]:
    return (values - low) / ((high - low) or 1.0) * size


def _picture(parts: Iterable[str], what: str) -> str:
    height, width = SIZE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="-2 -2 {width + 4} {height + 4}" role="img" aria-label="{escape(what)}">'
        f"{''.join(parts)}</svg>"
    )


# What notebooks show of a recording: a line on each thing, and a small picture of some.

MOST_BYTES = 2**24
"""A picture reads so many bytes at most; what would need more begins later or is left out."""

_TRACES = 4
_SHOWN = 8


def output_html(output: SimulationOutput) -> str:
    """Summarise an output; pictures are those of the first few things."""
    shown: tuple[tuple[Sequence[Any], Callable[[Any], str]], ...] = (
        (output.reports, report_html),
        (output.potentials, partial(_recorded, what="potential")),
        (output.spikes, spikes_html),
        (output.networks, network_html),
        (output.groups, group_html),
        (output.exports, export_html),
    )
    parts = [_tried(tell, one) for things, tell in shown for one in things[:_SHOWN]]
    left_out = sum(max(0, len(things) - _SHOWN) for things, _ in shown)
    if left_out:
        parts.append(_line("and", f"{left_out} more"))
    return _whole("SimulationOutput", parts or [_line("nothing", "was recorded")])


def _tried(tell: Callable[[Any], str], thing: Any) -> str:
    """Summarise a thing, or say that it cannot be read: its file may be closed by now."""
    try:
        return tell(thing)
    except (OSError, RuntimeError, ValueError, SourceError) as error:
        return _line(type(thing).__name__, f"cannot be read: {error}")


def report_html(report: Report) -> str:
    """Summarise a report, with some of its traces."""
    cells = f"{len(report.compartments):,} cells of population {report.population}"
    return _recorded(report, "report", cells)


def spikes_html(spikes: Spikes) -> str:
    """Summarise the spikes of a population, with their raster."""
    picture = ""
    if 0 < spikes.times.nbytes <= 8 * MOST_BYTES:
        picture = sketch_raster(spike_raster(spikes, shape=(SIZE[0] // 4, SIZE[1] // 4)))
    return _line(f"spikes {spikes.population}", f"{len(spikes.times):,} spikes", picture)


def network_html(network: NetworkSnapshot) -> str:
    """Summarise the state of a network, with histograms of a variable and of weights."""
    time = "" if network.time is None else f"at {network.time:g} s"
    parts = [_line(f"state {network.name}", time)]
    for population in network.populations[:_SHOWN]:
        names = ", ".join(quantity.name for quantity in population.quantities[:_SHOWN])
        text = f"{population.size:,} neurons: {names}"
        picture = _first_histogram(neuron_quantities(population))
        parts.append(_line(f"population {population.name}", text, picture))
    for projection in network.projections[:_SHOWN]:
        synapses = f"{projection.pre_ranks.shape[0]:,} synapses"
        picture = _first_histogram(synapse_quantities(projection))
        parts.append(_line(f"projection {projection.name}", synapses, picture))
    return "".join(parts)


def group_html(group: OwnGroup) -> str:
    """Summarise arrays, with pictures of some."""
    text = f"{len(group.arrays)} arrays"
    return _line(f"arrays of {group.name}", text) + _grids(own_grids(group))


def export_html(export: ArrayGroup) -> str:
    """Summarise a group of arrays with axes and those below it, with pictures of some."""
    count = sum(len(group.arrays) for _, group in export.walk())
    return _line(f"data of {export.name}", f"{count} arrays") + _grids(export_grids(export))


def column_html(name: str, values: LazyArray) -> str:
    """Summarise a column of numbers, shape (value,), with a histogram if it is small enough."""
    return _line(name, f"{values.shape[0]:,} values", _histogram(values))


def _first_histogram(quantities: Iterable[Quantity]) -> str:
    return next((_histogram(one.values) for one in quantities if one.values.shape), "")


def _histogram(values: LazyArray) -> str:
    is_drawn = _is_small(values) and values.dtype.kind in "biuf"
    return sketch_histogram(histogram(values)) if is_drawn else ""


def _grids(grids: Iterable[Grid]) -> str:
    return "".join(_tried(_grid, grid) for grid in islice(grids, _SHOWN))


def _grid(grid: Grid) -> str:
    """Draw a line or an image; one value is written."""
    name = " ".join(text for text in (grid.name, grid.label) if text)
    if not grid.axes:
        return _line(name, f"{np.asarray(grid.values[()]).ravel()[0]:.6g} {grid.unit}")
    text = " × ".join(f"{len(axis.values):,}" for axis in grid.axes)
    if not _is_small(grid.values):
        return _line(name, text)
    if len(grid.axes) == 1:
        return _line(name, text, sketch_lines(grid.line(SIZE[1] // 4)))
    return _line(name, text, sketch_image(grid.image((SIZE[0] // 4, SIZE[1] // 4))[0]))


def _is_small(values: LazyArray) -> bool:
    return prod(values.shape) * values.dtype.itemsize <= MOST_BYTES


def _recorded(recorded: Recorded, what: str, more: str = "") -> str:
    rows, columns = recorded.data.shape
    symbol = unit_symbol(recorded.unit) or recorded.unit.name
    facts = [f"{rows:,} times × {columns:,} columns", symbol, more]
    text = ", ".join(fact for fact in facts if fact)
    return _line(f"{what} {recorded.name}", text, _traces(recorded))


def _traces(recorded: Recorded) -> str:
    """Draw some traces, as many of their first rows as may be read."""
    rows, columns = recorded.data.shape
    chosen = spread(columns, _TRACES)
    most = _rows_to_read(recorded.data, len(chosen))
    if not rows or not len(chosen) or not most:
        return ""
    stop = None if rows <= most else float(recorded.times.seconds(slice(most, most + 1))[0])
    return sketch_lines(reduce_traces(recorded, chosen, stop=stop, pixels=SIZE[1] // 4))


def _rows_to_read(data: LazyArray, columns: int) -> int:
    """Count the rows of some columns that a picture may read: a chunk is read as a whole."""
    height, width = chunks_of(data)
    row_bytes = max(1, columns * width * data.dtype.itemsize)
    return MOST_BYTES // row_bytes // height * height


def _line(name: str, text: str, picture: str = "") -> str:
    shown = f"<div>{picture}</div>" if picture else ""
    return f"<div><b>{escape(name)}</b> {escape(text)}{shown}</div>"


def _whole(name: str, parts: Iterable[str]) -> str:
    return f"<div><h4>{escape(name)}</h4>{''.join(parts)}</div>"


_SUMMARIES: dict[type, Callable[[Any], str]] = {
    SimulationOutput: output_html,
    Report: report_html,
    Spikes: spikes_html,
    NetworkSnapshot: network_html,
    OwnGroup: group_html,
    ArrayGroup: export_html,
}


def summarize(shown: Any, name: str = "") -> str:
    """Return an HTML summary of a part of a recording, or of an array with its ``name``."""
    for kind, draw in _SUMMARIES.items():
        if isinstance(shown, kind):
            return draw(shown)
    return column_html(name, shown)
