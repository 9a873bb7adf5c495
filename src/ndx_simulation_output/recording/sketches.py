"""Small pictures in SVG, drawn without any library: for notebooks."""

from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.reduced.networks import Histogram
from ndx_simulation_output.recording.reduced.rasters import Raster
from ndx_simulation_output.recording.reduced.series import Lines

__all__ = ["SIZE", "sketch_histogram", "sketch_image", "sketch_lines", "sketch_raster"]

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
