"""Arrays with axes, such as instruments give: lines, images and the points of a scan."""

from html import escape
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    LinearColorMapper,
    Select,
    UIElement,
)

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.reduced import Grid, GridAxis, export_grids, own_grids
from ndx_simulation_output.recording.scales import Scale
from ndx_simulation_output.viewer.heat import limits
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, small

__all__ = ["ArraysView"]

_MOST = 500
_SHAPE = 400, 1000


class ArraysView:
    """One array of a file at a time, over its axes."""

    title = "Arrays"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        grids = _grids(output)
        if not grids:
            msg = f"{self.session.source.name} has no arrays besides its reports"
            raise NothingRecordedError(msg)
        options = [(str(place), f"{one.name}: {one.label}") for place, one in enumerate(grids)]
        first = next((place for place, one in enumerate(grids) if one.axes), 0)
        self.array = Select(title="Array", options=options, value=str(first), width=640)
        self.session.on_change(self.array, "value", self.update)
        self.note = new_text()
        self.drawn = column(new_text(), sizing_mode="stretch_width", min_height=420)
        self.update(output)
        return column(self.array, self.drawn, self.note, sizing_mode="stretch_width")

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        grid = _grids(output)[int(self.array.value)]
        if not grid.axes:
            value = np.asarray(grid.values[()]).ravel()[0]
            text = f"{value:.6g} {grid.unit}"
            self.drawn.children = [new_text(f"<h3>{escape(text)}</h3>")]
        elif len(grid.axes) == 2:
            self.drawn.children = [_image(grid)]
        else:
            self.drawn.children = [_points(grid) if len(grid.points) == 2 else _line(grid)]
        shape = " × ".join(str(len(axis.values)) for axis in grid.axes) or "one value"
        notes = [shape, str(grid.values.dtype), grid.note]
        self.note.text = small(", ".join(note for note in notes if note))


def _grids(output: SimulationOutput) -> list[Grid]:
    found = [grid for group in output.groups for grid in own_grids(group)]
    found += [grid for export in output.exports for grid in export_grids(export)]
    return found[:_MOST]


def _label(axis: GridAxis) -> str:
    return Scale(1.0, axis.unit).label(axis.label)


def _line(grid: Grid) -> UIElement:
    lines = grid.line(_SHAPE[1])
    made = new_figure(_label(grid.axes[0]), Scale(1.0, grid.unit).label(grid.label))
    source = ColumnDataSource({"x": lines.times, "y": np.asarray(lines.values[:, 0], np.float64)})
    made.line("x", "y", color=COLORS[0], line_width=1.4, source=source)
    if len(lines.times) <= 100:
        made.scatter("x", "y", color=COLORS[0], size=5, source=source)
    return made


def _points(grid: Grid) -> UIElement:
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
    _explain(made, grid, colors)
    return made


def _image(grid: Grid) -> UIElement:
    values, _, _ = grid.image(_SHAPE)
    up, along = grid.axes
    (bottom, top), (left, right) = _ends(up), _ends(along)
    low, high = limits(values)
    colors = LinearColorMapper("Viridis256", low=low, high=high, nan_color="#e3e7eb")
    made = new_figure(_label(along), _label(up), zoom="both")
    made.image(
        image=[np.asarray(values, np.float32)],
        x=left,
        y=bottom,
        dw=right - left,
        dh=top - bottom,
        color_mapper=colors,
    )
    made.x_range.range_padding = made.y_range.range_padding = 0
    _explain(made, grid, colors)
    return made


def _explain(made: Any, grid: Grid, colors: LinearColorMapper) -> None:
    made.title.text = Scale(1.0, grid.unit).label(grid.label)
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
