"""View of arrays with axes."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper, Select, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.arrays import Grid, GridAxis, grids_of
from ndx_simulation_output.plots.downsampling import row_blocks
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import Saving
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, plain, small
from ndx_simulation_output.viewer.traces import limits

# Arrays with axes as figures: lines, images and the points of a scan.

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


# Arrays with axes, such as instruments give.

_MOST = 500


@dataclass(frozen=True)
class ShownArray:
    """An array with its axes, by its ``place`` among those of the output."""

    place: int
    imports = ("from ndx_simulation_output.plots import grids_of",)

    def find(self, output: SimulationOutput) -> Grid:
        """Give the array.

        Raises
        ------
        NothingRecordedError
            If there are not so many.

        """
        for grid in islice(grids_of(output), self.place, None):
            return grid
        msg = f"there is no array {self.place}: the file has fewer"
        raise NothingRecordedError(msg)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give places and value of each element; of two dimensions a row for each of the first."""
        grid = self.find(outputs[0])
        value = _named(grid.label, grid.unit)
        if not grid.axes:
            yield (value,)
            yield np.asarray(grid.values[()]).ravel().tolist()
            return
        if len(grid.axes) == 2:
            up, across = grid.axes
            name = _named(across.label, across.unit)
            columns = (f"{name}={place!r}" for place in across.values.tolist())
            yield _named(up.label, up.unit), *columns
            for rows in row_blocks(grid.values, slice(0, len(up.values)), len(across.values)):
                for place, line in zip(up.values[rows].tolist(), grid.values[rows, :], strict=True):
                    yield place, *line.tolist()
            return
        axes = grid.points or grid.axes
        yield *(_named(axis.label, axis.unit) for axis in axes), value
        for rows in row_blocks(grid.values, slice(0, len(axes[0].values)), 1):
            places = (axis.values[rows].tolist() for axis in axes)
            yield from zip(*places, grid.values[rows].tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``places``, of each axis, and ``values``."""
        yield f"grid = list(grids_of({names[0]}))[{self.place}]"
        yield "places = [axis.values for axis in grid.points or grid.axes]"
        yield "values = grid.values[()]  # as grid.unit says"


class ArraysView:
    """One array of a file at a time, over its axes."""

    title = "Arrays"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        grids = list(islice(grids_of(output), _MOST))
        if not grids:
            msg = f"{self.session.source.name} has no arrays besides its reports"
            raise NothingRecordedError(msg)
        options = [(str(place), f"{one.name}: {one.label}") for place, one in enumerate(grids)]
        first = next((place for place, one in enumerate(grids) if one.axes), 0)
        self.array = Select(title="Array", options=options, value=str(first), width=640)
        self.session.on_change(self.array, "value", self.update)
        self.note = new_text()
        self.drawn = column(new_text(), sizing_mode="stretch_width", min_height=420)
        self.saving = Saving(self.session, "array", self.drawn, self.shown)
        self.update(output)
        parts = self.array, self.drawn, self.note, self.saving.layout
        return column(*parts, sizing_mode="stretch_width")

    def shown(self) -> ShownArray:
        """Give what is shown."""
        return ShownArray(int(self.array.value))

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        grid = self.shown().find(output)
        if grid.axes:
            self.drawn.children = [draw_grid(grid)]
        else:
            value = np.asarray(grid.values[()]).ravel()[0]
            text = f"{value:.6g} {grid.unit}"
            self.drawn.children = [new_text(f"<h3>{escape(text)}</h3>")]
        shape = " × ".join(str(len(axis.values)) for axis in grid.axes) or "one value"
        notes = [shape, str(grid.values.dtype), grid.note]
        self.note.text = small(", ".join(note for note in notes if note))
        self.saving.refresh()


def _named(label: str, unit: str) -> str:
    return f"{label}_{unit}" if unit else label
