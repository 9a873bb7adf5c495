"""Heat maps: compartments over time."""

from typing import Any, get_args

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Select,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.reduced.pixels import How
from ndx_simulation_output.viewer.controls import CompartmentChoice, Saving
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import ShownHeatMap
from ndx_simulation_output.viewer.theme import new_figure, new_text, plain, small
from ndx_simulation_output.viewer.zoom import Window, pixels_of, span_of

__all__ = ["HeatView", "limits", "row_window", "show_rows"]


class HeatView:
    """Values of compartments as an image, read again for each window of time and compartments."""

    title = "Heat map"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        self.choice = CompartmentChoice(self.session, output, self.update, suggests=False)
        self.how = Select(title="Pixels show", options=list(get_args(How)), value="mean", width=110)
        self.session.on_change(self.how, "value", self.update)
        self.figure = new_figure(
            "time", "compartment", zoom="both", x_range=Range1d(0, 1), y_range=Range1d(0, 1)
        )
        self.pixels = ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")})
        self.colors = LinearColorMapper("Viridis256", nan_color="#e3e7eb")
        self.figure.image(
            "image", "x", "y", "dw", "dh", color_mapper=self.colors, source=self.pixels
        )
        pointed = [("time", "$x"), ("compartment", "$y"), ("value", "@image")]
        self.figure.add_tools(HoverTool(tooltips=pointed))
        self.figure.add_layout(ColorBar(color_mapper=self.colors, width=12), "right")
        self.window = Window(self.session, self.figure, self.update)
        self._count = 0
        self.note = new_text()
        self.saving = Saving(self.session, "heat-map", self.figure, self.shown)
        self.update(output)
        chosen = row(self.choice.row, self.how)
        return column(
            chosen, self.figure, self.note, self.saving.layout, sizing_mode="stretch_width"
        )

    def shown(self) -> ShownHeatMap:
        """Give what is shown."""
        first, last = row_window(self.figure.y_range, self._count)
        return ShownHeatMap(
            self.choice.compartments(),
            self.window.start,
            self.window.stop,
            first,
            None if last == self._count else last,
            pixels_of(self.figure),
            str(self.how.value),  # type: ignore[arg-type]
        )

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        self.choice.refresh(output)
        report = output[str(self.choice.report.value)]
        self.window.show_all(*span_of(report.times))
        chosen = self.choice.compartments()
        count = report.data.shape[1] if chosen.is_all else len(chosen.columns(report))
        if count != self._count:
            self._count = count
            show_rows(self.figure.y_range, 0, count)
        shown = self.shown()
        found = shown.read(report)
        scale = scale_of(found.unit, found.values)
        values = found.values * scale.factor
        times = found.times * self.window.scale.factor
        low = shown.first
        self.pixels.data = {
            "image": [_on_even_pixels(values, times)],
            "x": times[:1],
            "y": [low],
            "dw": times[-1:] - times[:1],
            "dh": [int(found.columns[-1])],
        }
        self.colors.low, self.colors.high = limits(values)
        self.figure.title.text = plain(scale.label(report.variable or report.report))
        self.note.text = small(found.note or "each value has a pixel")
        self.saving.refresh()


def row_window(shown: Any, count: int, offset: float = 0.0) -> tuple[int, int]:
    """Give the rows, of ``count``, that a vertical range shows: the first, and behind the last.

    Rows begin so far below their number.
    """
    low, high = sorted((shown.start + offset, shown.end + offset))
    first = min(max(int(np.floor(low)), 0), max(count - 1, 0))
    return first, max(min(int(np.ceil(high)), count), min(first + 1, count))


def show_rows(shown: Any, first: float, last: float) -> None:
    """Let a vertical range show rows, and let a reset come back to them."""
    shown.start, shown.end = shown.reset_start, shown.reset_end = first, max(last, first + 1)


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """Give the lowest and the highest value, apart from each other."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _on_even_pixels(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Put bins that are not equally wide on pixels that are, for a browser that knows no others.

    ``values`` has shape (row, bin), ``edges`` (bin + 1,). Each pixel shows the bin at its middle.
    """
    steps = np.diff(edges)
    if len(steps) > 1 and not np.allclose(steps, steps.mean(), rtol=1e-6):
        pixels = max(len(steps), 1000)
        middles = edges[0] + (np.arange(pixels) + 0.5) / pixels * (edges[-1] - edges[0])
        bins = np.clip(np.searchsorted(edges, middles, "right") - 1, 0, len(steps) - 1)
        values = values[:, bins]
    return np.asarray(values, np.float32)
