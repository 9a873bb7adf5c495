"""Panels of arrays with axes, such as data of instruments, and of settings of instruments."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Range1d, UIElement, Whisker
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.arrays import Grid, GridAxis, grids_of
from ndx_simulation_output.plots.downsampling import row_blocks
from ndx_simulation_output.plots.look import COLORS, LIGHT, color_scale
from ndx_simulation_output.recording import ArrayGroup, ArrayWithAxes, SimulationOutput
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.figures import (
    GREY,
    add_color_bar,
    add_image,
    hover_text,
    image_data,
    new_figure,
    new_text,
    plain_text,
    stack,
    title_html,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows
from ndx_simulation_output.viewer.state import PanelState

_MAX_ARRAYS, _MAX_TEXTS, _MAX_LINES = 500, 100, 1000
_SHAPE = 400, 1000
_MAX_MARKS = 100
_MAX_CHARACTERS = 200_000


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
            yield up.description, *(f"{value} at {across.label}={place}" for place in places)
            for rows in row_blocks(grid.values, slice(0, len(up.values)), len(across.values)):
                for y, line in zip(up.values[rows].tolist(), grid.values[rows, :], strict=True):
                    yield y, *line.tolist()
            return
        axes = grid.points or grid.axes
        several = [grid.values] if grid.errors is None else [grid.values, grid.errors]
        yield (
            *(axis.description for axis in axes),
            value,
            *([f"error of {value}"] * len(several[1:])),
        )
        for rows in row_blocks(grid.values, slice(0, len(axes[0].values)), 1):
            columns = (*(axis.values for axis in axes), *several)
            yield from zip(*(np.asarray(one[rows]).tolist() for one in columns), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values`` and the ``coordinates`` along each axis."""
        yield f"grid = list(grids_of({names[0]}))[{self.number}]"
        yield "coordinates = [axis.values for axis in grid.points or grid.axes]"
        yield "values = grid.values[()]  # in grid.unit"


class ArrayPanel(Panel):
    """An array against its axes: as a line with error bars, an image, or the points of a scan."""

    kind = "array"
    over_time = False

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the arrays by the titles of their groups; the first are on the first screen."""
        rank = 60
        for number, grid in enumerate(islice(grids_of(output), _MAX_ARRAYS)):
            is_first = bool(grid.axes) and grid.role == "data"
            shape = " × ".join(str(len(axis.values)) for axis in grid.axes)
            about = " ".join(filter(None, [shape, grid.unit]))
            panel = PanelState("array", str(number))
            yield Offer(panel, "Arrays", _title(grid), about, rank if is_first else None)
            rank += is_first

    @property
    def title(self) -> str:
        """Title of the card."""
        return self._title

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the drawn array."""
        grid = self.shown().find(output)
        self._title = _title(grid)
        self.drawn = stack(new_text())
        self._stamp: object = None
        return self.drawn

    def shown(self) -> ShownArray:
        """Return the shown data."""
        return ShownArray(int(self.name))

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the array, if it has not been drawn from this opened file."""
        if self._stamp is output:
            return
        grid = self.shown().find(output)
        self.drawn.children = [draw_grid(grid)]
        self._stamp = output
        shape = " × ".join(str(len(axis.values)) for axis in grid.axes) or "one value"
        dates = [f"{axis.label} in s from {axis.date}" for axis in grid.axes if axis.date]
        self.say(", ".join(filter(None, [shape, str(grid.values.dtype), grid.note, *dates])))


class TextPanel(Panel):
    """The settings of an instrument, or lines of text such as a log."""

    kind = "text"
    over_time = False
    saves = False

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the groups with settings, and the arrays of text."""
        for path, found in islice(_texts(output), _MAX_TEXTS):
            if isinstance(found, ArrayGroup):
                yield Offer(PanelState("text", path), "Settings", found.title or path, found.kind)
            else:
                about = f"{found.values.shape[0]:,} lines"
                yield Offer(PanelState("text", path), "Texts", found.title or path, about)

    @property
    def title(self) -> str:
        """Title of the card."""
        return self.name.strip("/")

    def build(self, output: SimulationOutput) -> UIElement:
        """Return an empty text."""
        del output
        self.text = new_text()
        return self.text

    def update(self, output: SimulationOutput) -> None:
        """Write the text: settings in XML as a table, other formats as they are."""
        for path, found in _texts(output):
            if path == self.name:
                self.text.text = (
                    settings_html(found.settings)
                    if isinstance(found, ArrayGroup)
                    else _lines_html(found)
                )
                return
        msg = f"the file has no settings or text {self.name!r}"
        raise NothingRecordedError(msg)


def _texts(output: SimulationOutput) -> Iterator[tuple[str, ArrayGroup | ArrayWithAxes]]:
    """Yield groups with settings, and arrays of text of one dimension, with their paths."""
    for group in output.arrays:
        for path, part in group.walk():
            if part.settings:
                yield path, part
            for array in part.arrays:
                if array.values.dtype.kind in "OSU" and len(array.values.shape) == 1:
                    yield f"{path}/{array.name}", array


def _lines_html(array: ArrayWithAxes) -> str:
    values = np.asarray(array.values[:_MAX_LINES]).tolist()
    lines = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in values]
    left = int(array.values.shape[0]) - len(lines)
    lines += [f"… {left:,} more lines"] if left > 0 else []
    return f"<pre>{escape(chr(10).join(lines)[:_MAX_CHARACTERS])}</pre>"


def settings_html(settings: str) -> str:
    """Return settings as HTML: a table of titles and values if they are XML, otherwise the text.

    >>> settings_html('<gain title="Gain">3</gain>')
    "<table class='facts'><tr><th>Gain</th><td>3</td></tr></table>"
    """
    plain = f"<pre>{escape(settings[:_MAX_CHARACTERS])}</pre>"
    if len(settings) > _MAX_CHARACTERS or "<!" in settings:  # Entities can grow without limit.
        return plain
    try:
        root = ET.fromstring(settings)  # noqa: S314 - it has no entities
    except ET.ParseError:
        return plain
    rows = []
    waiting = [(root, 0)]
    while waiting:
        element, depth = waiting.pop()
        name = escape(element.get("title") or element.tag)
        text = escape((element.text or "").strip())
        rows.append(f"<tr><th>{'&emsp;' * depth}{name}</th><td>{text}</td></tr>")
        waiting += [(child, depth + 1) for child in reversed(element)]
    return f"<table class='facts'>{''.join(rows)}</table>"


def draw_grid(grid: Grid) -> UIElement:
    """Return the points of a scan, lines with error bars, an image, or a text of one value."""
    if not grid.axes:
        several = [grid.values] if grid.errors is None else [grid.values, grid.errors]
        texts = [f"{np.asarray(one[()]).ravel()[0]:.6g}" for one in several]
        return new_text(title_html(f"{' ± '.join(texts)} {grid.unit}".strip()))
    if len(grid.points) == 2:
        return _draw_points(grid)
    if len(grid.axes) == 1:
        return _draw_line(grid)
    values, _, _ = grid.image(_SHAPE)
    up, across = grid.axes
    made = draw_image(values, _extent(across), _extent(up), _colors(grid, values))
    for drawn_axis, axis in ((made.xaxis, across), (made.yaxis, up)):
        is_index = not _has_equal_steps(axis)
        drawn_axis.axis_label = plain_text(
            f"index of {axis.label}" if is_index else axis.description
        )
    made.title.text = plain_text(Scale(1.0, grid.unit).label(grid.label))
    tips = [_tip(across, "$x"), _tip(up, "$y"), _tip(grid, "@image")]
    made.add_tools(HoverTool(tooltips=tips))
    return made


def draw_image(
    values: NDArray[Any],
    across: tuple[float, float],
    up: tuple[float, float],
    colors: LinearColorMapper,
) -> Any:
    """Return a figure of an image (up, across) with these extents, and a colour bar."""
    made = new_figure(
        "", "", height=320, zoom="both", x_range=Range1d(*across), y_range=Range1d(*up)
    )
    add_image(made, colors).data = image_data(values, across, up)
    add_color_bar(made, colors)
    return made


def _draw_line(grid: Grid) -> Any:
    axis = grid.axes[0]
    lines = grid.line(_SHAPE[1])
    label = Scale(1.0, grid.unit).label(grid.label)
    made = new_figure(axis.description, label, height=280)
    shift = axis.shown[0] - axis.values[0]
    data = {"x": lines.times + shift, "y": np.asarray(lines.values[:, 0], np.float64)}
    has_marks = lines.is_exact and len(lines.times) <= _MAX_MARKS
    if grid.errors is not None:
        data |= {
            name: np.asarray(grid.line(_SHAPE[1], side).values[:, 0], np.float64)
            for name, side in (("low", -1), ("high", 1))
        }
    source = ColumnDataSource(data)
    drawn = made.line("x", "y", color=COLORS[0], line_width=1.4, source=source)
    if has_marks:
        drawn = made.scatter("x", "y", color=COLORS[0], size=5, source=source)
    if grid.errors is not None and has_marks:
        bars = {"base": "x", "lower": "low", "upper": "high", "source": source}
        made.add_layout(Whisker(**bars, line_color=COLORS[0]))
    elif grid.errors is not None:
        made.varea("x", "low", "high", color=COLORS[0], alpha=0.25, source=source)
    tips = [_tip(axis, "@x"), _tip(grid, "@y")]
    tips += [] if grid.errors is None else [("from, to", "@low, @high")]
    made.add_tools(HoverTool(tooltips=tips, renderers=[drawn], mode="vline"))
    return made


def _draw_points(grid: Grid) -> Any:
    across, up = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    colors = _colors(grid, values)
    made = new_figure(across.description, up.description, height=320, zoom="both")
    data = {"x": np.asarray(across.shown), "y": np.asarray(up.shown), "value": values}
    source = ColumnDataSource(data)
    made.line("x", "y", color=GREY, alpha=0.3, source=source)
    color = {"field": "value", "transform": colors}
    drawn = made.scatter("x", "y", size=9, color=color, source=source)
    made.title.text = plain_text(Scale(1.0, grid.unit).label(grid.label))
    tips = [_tip(across, "@x"), _tip(up, "@y"), _tip(grid, "@value")]
    made.add_tools(HoverTool(tooltips=tips, renderers=[drawn]))
    add_color_bar(made, colors)
    return made


def _tip(shown: Grid | GridAxis, field: str) -> tuple[str, str]:
    """Return what the hover tells of a coordinate or value in ``field``, with its unit."""
    return shown.label, f"{field} {hover_text(shown.unit)}"


def _title(grid: Grid) -> str:
    names = [*grid.titles[:1], grid.label] if grid.titles else [grid.name.strip("/"), grid.label]
    return ": ".join(dict.fromkeys(names))


def _colors(grid: Grid, values: NDArray[Any]) -> LinearColorMapper:
    """Return the colours of values: of an angle those of a circle."""
    if grid.is_angle:
        return LinearColorMapper("Viridis256", low=-np.pi, high=np.pi, nan_color=LIGHT.nan)
    scale = color_scale(values, grid.unit)
    return LinearColorMapper(LIGHT.shades(scale.name), low=scale.low, high=scale.high,
                             nan_color=LIGHT.nan)  # fmt: skip


def _has_equal_steps(axis: GridAxis) -> bool:
    steps = np.diff(np.asarray(axis.shown, np.float64))
    is_finite = len(steps) > 0 and bool(np.isfinite(steps).all()) and steps[0] != 0
    return is_finite and np.allclose(steps, steps.mean(), rtol=1e-3)


def _extent(axis: GridAxis) -> tuple[float, float]:
    """Return the extent of an image: that of values at equal steps, or of indices."""
    count = len(axis.values)
    if not _has_equal_steps(axis):
        return -0.5, count - 0.5
    first, last = float(axis.shown[0]), float(axis.shown[-1])
    half = (last - first) / (count - 1) / 2
    return first - half, last + half
