"""Arrays with axes as figures: lines, images and the points of a scan."""

from typing import Any

import numpy as np
from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper
from numpy.typing import NDArray

from ndx_simulation_output.recording.reduced import Grid, GridAxis
from ndx_simulation_output.recording.scales import Scale
from ndx_simulation_output.viewer.heat import limits
from ndx_simulation_output.viewer.theme import COLORS, new_figure, plain

__all__ = ["draw_grid", "draw_image"]

_SHAPE = 400, 1000


def draw_grid(grid: Grid, *, joined: bool = True) -> Any:
    """Draw an array of one or two dimensions: as a line, unless not ``joined``, or as an image."""
    if len(grid.points) == 2:
        return _points(grid)
    if len(grid.axes) == 1:
        return _line(grid, joined=joined)
    values, _, _ = grid.image(_SHAPE)
    up, along = grid.axes
    title = Scale(1.0, grid.unit).label(grid.label)
    return draw_image(values, _ends(along), _ends(up), _label(along), _label(up), title)


def draw_image(
    values: NDArray[Any],
    across: tuple[float, float],
    up: tuple[float, float],
    x: str,
    y: str,
    title: str,
) -> Any:
    """Draw an image that reaches from one place to another on each of its axes, which have names.

    Pixels without a value are pale.
    """
    low, high = limits(values)
    colors = LinearColorMapper("Viridis256", low=low, high=high, nan_color="#e3e7eb")
    made = new_figure(x, y, zoom="both")
    made.image(
        image=[np.asarray(values, np.float32)],
        x=across[0],
        y=up[0],
        dw=across[1] - across[0],
        dh=up[1] - up[0],
        color_mapper=colors,
    )
    made.x_range.range_padding = made.y_range.range_padding = 0
    _explain(made, title, colors)
    return made


def _label(axis: GridAxis) -> str:
    return Scale(1.0, axis.unit).label(axis.label)


def _line(grid: Grid, *, joined: bool) -> Any:
    lines = grid.line(_SHAPE[1])
    made = new_figure(_label(grid.axes[0]), Scale(1.0, grid.unit).label(grid.label))
    source = ColumnDataSource({"x": lines.times, "y": np.asarray(lines.values[:, 0], np.float64)})
    if joined:
        made.line("x", "y", color=COLORS[0], line_width=1.4, source=source)
    if not joined or len(lines.times) <= 100:
        made.scatter("x", "y", color=COLORS[0], size=5 if joined else 3, source=source)
    return made


def _points(grid: Grid) -> Any:
    across, up = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    low, high = limits(values)
    colors = LinearColorMapper("Viridis256", low=low, high=high)
    made = new_figure(_label(across), _label(up), zoom="both")
    data = {"x": np.asarray(across.values), "y": np.asarray(up.values), "value": values}
    made.scatter(
        "x",
        "y",
        size=9,
        color={"field": "value", "transform": colors},
        source=ColumnDataSource(data),
    )
    _explain(made, Scale(1.0, grid.unit).label(grid.label), colors)
    return made


def _explain(made: Any, title: str, colors: LinearColorMapper) -> None:
    made.title.text = plain(title)
    made.add_layout(ColorBar(color_mapper=colors, width=12), "right")


def _ends(axis: GridAxis) -> tuple[float, float]:
    """Give where an image begins and ends along an axis: half a step beyond; else its indices."""
    values = np.asarray(axis.values, np.float64)
    steps = np.diff(values)
    if (
        len(steps)
        and np.isfinite(steps).all()
        and np.allclose(steps, steps.mean(), rtol=1e-3)
        and steps[0] > 0
    ):
        half = float(steps.mean()) / 2
        return float(values[0]) - half, float(values[-1]) + half
    return 0.0, float(len(values))
