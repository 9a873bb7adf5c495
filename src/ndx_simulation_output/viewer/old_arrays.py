"""View of arrays with axes, such as instrument data, as lines, images or scatter plots."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Select, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.arrays import Grid, GridAxis, grids_of
from ndx_simulation_output.plots.downsampling import row_blocks
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import SaveButtons
from ndx_simulation_output.viewer.figures import (
    COLORS,
    NAN_COLOR,
    add_color_bar,
    color_range,
    new_figure,
    new_text,
    plain_text,
    small_text,
    stack,
)
from ndx_simulation_output.viewer.session import Rows, View

_MAX_ARRAYS = 500
_SHAPE = 400, 1000


@dataclass(frozen=True)
class ShownArray:
    """The array of an output with index ``number``."""

    number: int
    imports = ("from ndx_simulation_output.plots import grids_of",)

    def find(self, output: SimulationOutput) -> Grid:
        """Return the array."""
        for grid in islice(grids_of(output), self.number, None):
            return grid
        msg = f"the file has no array {self.number}; it has fewer arrays than before"
        raise NothingRecordedError(msg)

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then one row per element, or per image row of a 2-D array."""
        grid = self.find(outputs[0])
        value = Scale(1.0, grid.unit).label(grid.label)
        if not grid.axes:
            yield (value,)
            yield np.asarray(grid.values[()]).ravel().tolist()
            return
        if len(grid.axes) == 2:
            up, across = grid.axes
            places = (f"{place!r} {across.unit}".strip() for place in across.values.tolist())
            yield _label(up), *(f"{value} at {across.label}={place}" for place in places)
            for rows in row_blocks(grid.values, slice(0, len(up.values)), len(across.values)):
                for y, line in zip(up.values[rows].tolist(), grid.values[rows, :], strict=True):
                    yield y, *line.tolist()
            return
        axes = grid.points or grid.axes
        yield *map(_label, axes), value
        for rows in row_blocks(grid.values, slice(0, len(axes[0].values)), 1):
            coordinates = (axis.values[rows].tolist() for axis in axes)
            yield from zip(*coordinates, grid.values[rows].tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values`` and the ``coordinates`` along each axis."""
        yield f"grid = list(grids_of({names[0]}))[{self.number}]"
        yield "coordinates = [axis.values for axis in grid.points or grid.axes]"
        yield "values = grid.values[()]  # in grid.unit"


class ArraysView(View):
    """Plot of one selected array of a file against its axes."""

    title = "Arrays"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        grids = list(islice(grids_of(output), _MAX_ARRAYS))
        if not grids:
            msg = f"{self.session.file.name} has no arrays with axes"
            raise NothingRecordedError(msg)
        options = [(str(number), f"{grid.name}: {grid.label}") for number, grid in enumerate(grids)]
        first = next((number for number, grid in enumerate(grids) if grid.axes), 0)
        self.array = Select(title="Array", options=options, value=str(first), width=640)
        self.session.on_change(self.array, "value", self.update)
        self.note = new_text()
        self.drawn = stack(new_text(), min_height=420)
        self.saving = SaveButtons(self.session, "array", self.drawn, self.shown)
        self.update(output)
        return stack(self.array, self.drawn, self.note, self.saving.layout)

    def shown(self) -> ShownArray:
        """Return the shown data."""
        return ShownArray(int(self.array.value))

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the array."""
        grid = self.shown().find(output)
        if grid.axes:
            self.drawn.children = [draw_grid(grid)]
        else:
            value = np.asarray(grid.values[()]).ravel()[0]
            text = f"{value:.6g} {grid.unit}"
            self.drawn.children = [new_text(f"<h3>{escape(text)}</h3>")]
        shape = " × ".join(str(len(axis.values)) for axis in grid.axes) or "one value"
        notes = [shape, str(grid.values.dtype), grid.note]
        self.note.text = small_text(", ".join(note for note in notes if note))
        self.saving.refresh()


def draw_grid(grid: Grid, *, joined: bool = True) -> Any:
    """Return a scatter plot of scan points, a line plot (markers unless ``joined``) or an image."""
    if len(grid.points) == 2:
        return _draw_points(grid)
    if len(grid.axes) == 1:
        return _draw_line(grid, joined=joined)
    values, _, _ = grid.image(_SHAPE)
    up, across = grid.axes
    title = Scale(1.0, grid.unit).label(grid.label)
    return draw_image(values, _extent(across), _extent(up), _label(across), _label(up), title)


def draw_image(
    values: NDArray[Any],
    across: tuple[float, float],
    up: tuple[float, float],
    x: str,
    y: str,
    title: str,
) -> Any:
    """Return a figure of an image with the extents ``across`` and ``up`` and axis labels."""
    low, high = color_range(values)
    colors = LinearColorMapper("Viridis256", low=low, high=high, nan_color=NAN_COLOR)
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
    made.title.text = plain_text(title)
    add_color_bar(made, colors)
    return made


def _draw_line(grid: Grid, *, joined: bool) -> Any:
    lines = grid.line(_SHAPE[1])
    made = new_figure(_label(grid.axes[0]), Scale(1.0, grid.unit).label(grid.label))
    source = ColumnDataSource({"x": lines.times, "y": np.asarray(lines.values[:, 0], np.float64)})
    if joined:
        made.line("x", "y", color=COLORS[0], line_width=1.4, source=source)
    if not joined or len(lines.times) <= 100:
        made.scatter("x", "y", color=COLORS[0], size=5 if joined else 3, source=source)
    return made


def _draw_points(grid: Grid) -> Any:
    across, up = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    low, high = color_range(values)
    colors = LinearColorMapper("Viridis256", low=low, high=high)
    made = new_figure(_label(across), _label(up), zoom="both")
    data = {"x": np.asarray(across.values), "y": np.asarray(up.values), "value": values}
    color = {"field": "value", "transform": colors}
    made.scatter("x", "y", size=9, color=color, source=ColumnDataSource(data))
    made.title.text = plain_text(Scale(1.0, grid.unit).label(grid.label))
    add_color_bar(made, colors)
    return made


def _label(axis: GridAxis) -> str:
    return Scale(1.0, axis.unit).label(axis.label)


def _extent(axis: GridAxis) -> tuple[float, float]:
    """Return the image extent: values plus half a step at each end, or indices if irregular."""
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
