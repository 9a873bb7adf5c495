"""View of spikes: raster and rate."""

from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    LinearColorMapper,
    Range1d,
    Select,
    TextInput,
    UIElement,
)

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.spikes import Raster, spike_raster, spike_rates
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.viewer.controls import Saving, Window, ids_of, pixels_of
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import ShownSpikes
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, small
from ndx_simulation_output.viewer.traces import row_window, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

# Spikes: a raster, and the rate beneath it.

_BINS = 200

_HALF = 0.5
"""An id is at the middle of its row."""


class RasterView:
    """Spikes of a population: points where they are few, else counts in pixels."""

    title = "Spikes"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        if not output.spikes:
            msg = f"{self.session.source.name} has no spikes"
            raise NothingRecordedError(msg)
        names = [spikes.population for spikes in output.spikes]
        self.population = Select(title="Population", options=names, value=names[0], width=220)
        self.cells = TextInput(title="Cells", placeholder="all, or ids such as 0-99, 512")
        for widget in (self.population, self.cells):
            self.session.on_change(widget, "value", self.update)
        self._draw()
        self.window = Window(self.session, self.figure, self.update)
        self._ids = 0, 0
        self.note = new_text()
        self.saving = Saving(self.session, "spikes", self.figure, self.shown)
        self.update(output)
        return column(
            row(self.population, self.cells),
            self.figure,
            self.below,
            self.note,
            self.saving.layout,
            sizing_mode="stretch_width",
        )

    def _draw(self) -> None:
        self.figure = new_figure(
            "time", "node id", zoom="both", x_range=Range1d(0, 1), y_range=Range1d(0, 1)
        )
        self.colors = LinearColorMapper("Blues256", nan_color="rgba(0, 0, 0, 0)")
        self.colors.palette = tuple(reversed(self.colors.palette))[40:]
        self.pixels = ColumnDataSource({name: [] for name in ("image", "x", "y", "dw", "dh")})
        self.figure.image(
            "image", "x", "y", "dw", "dh", color_mapper=self.colors, source=self.pixels
        )
        self.points = ColumnDataSource({"time": [], "id": []})
        self.marks = self.figure.scatter(
            "time",
            "id",
            marker="dash",
            angle=np.pi / 2,
            line_width=1.4,
            color=COLORS[0],
            source=self.points,
        )
        self.bar = ColorBar(color_mapper=self.colors, width=12)
        self.figure.add_layout(self.bar, "right")
        self.below = new_figure("", "rate (1/s per cell)", height=150, x_range=self.figure.x_range)
        self.below.toolbar_location = None
        self.rates = ColumnDataSource({"left": [], "right": [], "top": []})
        self.below.quad(
            left="left", right="right", top="top", bottom=0, color=COLORS[0], source=self.rates
        )

    def shown(self) -> ShownSpikes:
        """Give what is shown."""
        cells: Sequence[int] | None = ids_of(self.cells.value)
        lowest, highest = self._ids
        first, last = row_window(self.figure.y_range, highest, _HALF)
        if (first, last) != (lowest, highest):
            among = range(first, last)
            cells = among if cells is None else tuple(cell for cell in cells if cell in among)
        return ShownSpikes(str(self.population.value), cells, self.window.start, self.window.stop)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        names = [spikes.population for spikes in output.spikes]
        self.population.options = names
        spikes = ShownSpikes(str(self.population.value)).find(output)
        self._show_all(spikes)
        shown = self.shown()
        cells = None if shown.cells is None else np.asarray(shown.cells, np.int64)
        window: dict[str, Any] = {"start": shown.start, "stop": shown.stop}
        found = spike_raster(spikes, cells, shape=pixels_of(self.figure), **window)
        rates = spike_rates(spikes, cells, bins=_BINS, **window)
        factor = self.window.scale.factor
        self._put(found, factor)
        edges = rates.times * factor
        self.rates.data = {"left": edges[:-1], "right": edges[1:], "top": rates.rates}
        how = (
            "each a mark" if found.spike_times is not None else "the colour counts those in a pixel"
        )
        rate = f"rate: mean of {rates.n_cells:,} cells"
        self.note.text = small(f"{found.n_spikes:,} spikes, {how}; {rate}")
        self.saving.refresh()

    def _show_all(self, spikes: Spikes) -> None:
        """Let the figure reach over all spikes of the cells that are chosen."""
        cells = ids_of(self.cells.value)
        ids = spikes.node_ids if cells is None else np.asarray(cells)
        bounds = (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)
        if bounds != self._ids:
            self._ids = bounds
            show_rows(self.figure.y_range, bounds[0] - _HALF, bounds[1] - _HALF)
        times = spikes.times
        ends = (min(float(times.min()), 0.0), float(times.max())) if len(times) else (0.0, 1.0)
        self.window.show_all(*ends)

    def _put(self, found: Raster, factor: float) -> None:
        times = found.times * factor
        empty: dict[str, list[float]] = {name: [] for name in ("image", "x", "y", "dw", "dh")}
        self.bar.visible = found.spike_times is None
        if found.spike_times is not None and found.spike_ids is not None:
            self.pixels.data = empty
            self.points.data = {"time": found.spike_times * factor, "id": found.spike_ids}
            high = pixels_of(self.figure)[0] / max(float(found.ids[-1] - found.ids[0]), 1.0)
            self.marks.glyph.size = min(max(0.6 * high, 4.0), 18.0)
            return
        self.points.data = {"time": [], "id": []}
        counts = np.where(found.counts, found.counts, np.nan).astype(np.float32)
        self.colors.low, self.colors.high = 0, float(found.counts.max())
        self.pixels.data = {
            "image": [counts],
            "x": times[:1],
            "y": found.ids[:1] - _HALF,
            "dw": times[-1:] - times[:1],
            "dh": found.ids[-1:] - found.ids[:1],
        }
