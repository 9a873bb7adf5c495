"""HTML summaries with small SVG plots, for notebooks; they do not require matplotlib."""

from collections.abc import Callable, Iterable
from html import escape
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputError, source_errors
from ndx_simulation_output.plots.arrays import Grid, GridAxis, group_grids
from ndx_simulation_output.plots.downsampling import Lines, Recorded, reduce_traces, spread
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.networks import (
    Histogram,
    histogram,
    neuron_quantities,
    synapse_quantities,
)
from ndx_simulation_output.plots.spikes import Raster, spike_raster
from ndx_simulation_output.recording import (
    UNKNOWN,
    ArrayGroup,
    ExtracellularPotential,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.recording.display import (
    counted,
    name_and_facts,
    one_line,
    shape_text,
    span_text,
)
from ndx_simulation_output.recording.output import contents
from ndx_simulation_output.recording.units import display_scale, unit_label

MOST_BYTES = 2**24
"""Maximum of bytes read for a plot; of larger data a part or no plot is shown."""

_HEIGHT, _WIDTH = 80, 320
_ROWS, _COLUMNS = _HEIGHT // 4, _WIDTH // 4
"""Resolution of images and traces: a pixel has 4 × 4 units of the drawing."""

_MAX_TRACES = 4
_MAX_SHOWN = 8


def summarize(shown: Any, name: str = "") -> str:
    """Return an HTML summary of a part of a recording, or of an array with its ``name``."""
    if isinstance(shown, SimulationOutput):
        return _summarize_output(shown)
    if type(shown) in _PICTURES:
        return _summarize_part(shown)
    return _line(name, f"{shown.shape[0]:,} values", _histogram(shown))


def _summarize_output(output: SimulationOutput) -> str:
    parts = []
    for title, items in contents(output).items():
        parts += [_summarize_part(item, title) for item in items[:_MAX_SHOWN]]
        if len(items) > _MAX_SHOWN:
            parts.append(_line(title.lower(), f"{len(items) - _MAX_SHOWN:,} more"))
    title = escape(one_line(f"SimulationOutput {output.source}", 200))
    body = "".join(parts) or _line("nothing", "was recorded")
    return f"<div><h4>{title}</h4>{body}</div>"


def _summarize_part(item: Any, title: str = "") -> str:
    """Return the name and facts of a part of a recording, and its picture or why there is none."""
    name, facts = name_and_facts(item)
    title = title.removesuffix("s") if name else title
    word, draw = _PICTURES.get(type(item), (title.lower(), lambda _: ""))
    title = f"{word} {name}".strip()
    try:
        with source_errors("cannot be read"):
            return _line(title, facts, draw(item))
    except SimulationOutputError as error:
        return _line(title, f"{facts}: {error}")


def _traces(recorded: Recorded) -> str:
    """Draw traces of evenly spaced columns, from the first row up to the limit of bytes."""
    rows, columns = recorded.data.shape
    chosen = spread(columns, _MAX_TRACES)
    most = _max_rows(recorded.data, len(chosen))
    if not rows or not len(chosen) or not most:
        return ""
    stop = None if rows <= most else float(recorded.times.seconds(slice(most, most + 1))[0])
    lines = reduce_traces(recorded, chosen, stop=stop, pixels=_COLUMNS)
    of_all = f"{len(chosen)} of {columns:,} traces, " if len(chosen) < columns else ""
    return _draw_lines(lines, of_all)


def _max_rows(data: LazyArray, columns: int) -> int:
    """Return the number of rows that may be read of ``columns`` columns, in whole chunks."""
    height, width = chunks_of(data)
    row_bytes = max(1, columns * width * data.dtype.itemsize)
    return MOST_BYTES // row_bytes // height * height


def _raster(spikes: Spikes) -> str:
    if not 0 < 8 * spikes.n_stored <= 8 * MOST_BYTES or not len(spikes):
        return ""
    raster = spike_raster(spikes, shape=(_ROWS, _COLUMNS))
    span = span_text(float(raster.times[0]), float(raster.times[-1]))
    return _draw_raster(raster, f"{counted(len(spikes.known_cells), 'cells')}, {span}")


def _states(network: NetworkSnapshot) -> str:
    parts = [_summarize_part(one) for one in network.populations[:_MAX_SHOWN]]
    parts += [_summarize_part(one) for one in network.projections[:_MAX_SHOWN]]
    return "".join(parts)


def _first_histogram(quantities: Iterable[Quantity]) -> str:
    return next((_histogram(item.values, item) for item in quantities if item.values.shape), "")


def _histogram(values: LazyArray, quantity: Quantity | None = None) -> str:
    if not _is_small(values) or values.dtype.kind not in "biuf":
        return ""
    name, unit = ("", UNKNOWN) if quantity is None else (quantity.name, quantity.unit)
    return _draw_histogram(histogram(values), name, unit_label(unit))


def _is_small(values: LazyArray) -> bool:
    return prod(values.shape) * values.dtype.itemsize <= MOST_BYTES


def _grids(group: ArrayGroup) -> str:
    return "".join(_summarize_grid(grid) for grid in islice(group_grids(group), _MAX_SHOWN))


def _summarize_grid(grid: Grid) -> str:
    name = " ".join(one_line(text) for text in (grid.name, grid.label) if text)
    if not grid.axes:
        return _line(name, f"{np.asarray(grid.values[()]).ravel()[0]:.6g} {grid.unit}")
    picture = ""
    if grid.n_bytes <= MOST_BYTES and len(grid.axes) == 1:
        picture = _draw_lines(grid.line(_COLUMNS), axis=grid.axes[0])
    elif grid.n_bytes <= MOST_BYTES:
        picture = _draw_image(grid.image((_ROWS, _COLUMNS))[0], grid)
    shape = shape_text(len(axis.values) for axis in grid.axes)
    return _line(name, ", ".join(filter(None, [shape, grid.note])), picture)


def _line(name: str, text: str, picture: str = "") -> str:
    shown = f"<div>{picture}</div>" if picture else ""
    return f"<div><b>{escape(name)}</b> {escape(text)}{shown}</div>"


_PICTURES: dict[type, tuple[str, Callable[[Any], str]]] = {
    Report: ("report", _traces),
    ExtracellularPotential: ("potential", _traces),
    Spikes: ("spikes", _raster),
    NetworkSnapshot: ("state", _states),
    PopulationSnapshot: ("population", lambda one: _first_histogram(neuron_quantities(one))),
    ProjectionSnapshot: ("projection", lambda one: _first_histogram(synapse_quantities(one))),
    ArrayGroup: ("arrays", _grids),
}
"""The word for each type, and the function that draws it."""


def _draw_lines(lines: Lines, note: str = "", axis: GridAxis | None = None) -> str:
    """Draw traces over time (s) or along another axis; their spans are below them."""
    finite = lines.values[np.isfinite(lines.values)]
    if not len(finite) or len(lines.times) < 2:
        return ""
    first, last = GridAxis("", "", lines.times).ends
    x = _scale(lines.times, first, last, _WIDTH)
    low, high = float(finite.min()), float(finite.max())
    parts = []
    for trace in range(lines.values.shape[1]):
        values = lines.values[:, trace].astype(np.float64)
        y = _HEIGHT - _scale(values, low, high, _HEIGHT)
        known = np.isfinite(x) & np.isfinite(y)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True))
        color = COLORS[trace % len(COLORS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"/>')
    along = span_text(first, last) if axis is None else _axis_text(axis)
    return _svg(parts, "traces", f"{note}{along}, {_range_text(low, high, lines.unit)}")


def _range_text(low: float, high: float, unit: str) -> str:
    scale = display_scale(unit, max(abs(low), abs(high)))
    values = f"{low * scale.factor:.4g} to {high * scale.factor:.4g}"
    return f"{values} {scale.symbol}".strip()


def _axis_text(axis: GridAxis) -> str:
    first, last = axis.ends
    ends = f"{axis.label} {first:.6g} to {last:.6g} {axis.unit}".strip()
    return f"{ends} from {axis.date}" if axis.date else ends


def _draw_raster(raster: Raster, caption: str) -> str:
    """Draw a rectangle for each pixel with spikes; darker ones have more."""
    counts = np.asarray(raster.counts, np.float64)
    shades = 0.4 + 0.6 * counts / (counts.max(initial=0) or 1.0)
    return _draw_pixels(np.where(counts, shades, np.nan), "spikes", caption)


def _draw_image(values: NDArray[np.float64], grid: Grid) -> str:
    """Draw an image (row, column), with row 0 at the bottom and high values dark; skip NaN."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    low, high = float(finite.min()), float(finite.max())
    texts = [*map(_axis_text, grid.axes), _range_text(low, high, grid.unit)]
    return _draw_pixels(_scale(values, low, high, 1), "image", ", ".join(texts))


def _draw_pixels(shades: NDArray[np.float64], kind: str, caption: str) -> str:
    """Draw pixels (row, column) with an opacity from 0 to 1; skip NaN."""
    rows, columns = np.nonzero(np.isfinite(shades))
    if not len(rows):
        return ""
    height, width = _HEIGHT / shades.shape[0], _WIDTH / shades.shape[1]
    return _svg(
        (
            f'<rect x="{column * width:.1f}" y="{_HEIGHT - (row + 1) * height:.1f}" '
            f'width="{max(width, 1):.1f}" height="{max(height, 1):.1f}" '
            f'fill="{COLORS[0]}" opacity="{shade:.2f}"/>'
            for row, column, shade in zip(rows, columns, shades[rows, columns], strict=True)
        ),
        kind,
        caption,
    )


def _draw_histogram(histogram: Histogram, name: str, unit: str) -> str:
    most = int(histogram.counts.max(initial=0))
    if not most:
        return ""
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    width = _WIDTH / len(histogram.counts)
    heights = _HEIGHT * histogram.counts / most
    return _svg(
        (
            f'<rect x="{index * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{COLORS[0]}"/>'
            for index, height in enumerate(heights)
        ),
        "histogram",
        f"{one_line(name)} {low:.4g} to {high:.4g} {unit}".strip(),
    )


def _scale(values: NDArray[np.float64], low: float, high: float, size: int) -> NDArray[np.float64]:
    return (values - low) / ((high - low) or 1.0) * size


def _svg(parts: Iterable[str], kind: str, caption: str) -> str:
    """Return a picture with a caption below it; ``currentColor`` is that of the notebook's text."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" role="img" aria-label="{kind}">'
        f"{''.join(parts)}</svg><div><small>{escape(caption)}</small></div>"
    )
