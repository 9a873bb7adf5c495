"""View of spikes: raster plot and firing rates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import HoverTool, LinearColorMapper, Range1d, UIElement

from ndx_simulation_output.plots.spikes import (
    chosen_ids,
    spike_raster,
)
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import (
    cells_of,
    find_named,
    ids_code,
)
from ndx_simulation_output.viewer.figures import (
    COLORS,
    add_image,
    empty_source,
    image_data,
    new_figure,
    pixels_of,
    show_rows,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

_BLOCK = 2**18
_HALF = 0.5
"""A node id is at the middle of its row."""


@dataclass(frozen=True)
class ShownSpikes:
    """Spikes of some cells of a population, all by default, from ``start`` to ``stop`` (s)."""

    population: str
    cells: Sequence[int] | None = None
    start: float | None = None
    stop: float | None = None
    time: Scale = Scale(1.0, "s")  # noqa: RUF009 - frozen
    imports = ("import numpy as np",)

    def find(self, output: SimulationOutput) -> Spikes:
        """Return the spikes of the population."""
        named = ((spikes.population, spikes) for spikes in output.spikes)
        return find_named(named, self.population, "spikes of population")

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and node id of each spike."""
        spikes = self.find(outputs[0])
        yield self.time.label("time"), "node id"
        for begin in range(0, len(spikes.times), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            times, ids = spikes.times[block], spikes.node_ids[block]
            shown = np.ones(len(times), bool)
            if self.start is not None:
                shown &= times >= self.start
            if self.stop is not None:
                shown &= times < self.stop
            if self.cells is not None:
                shown &= np.isin(ids, self.cells)
            times = times[shown] * self.time.factor
            yield from zip(times.tolist(), ids[shown].tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``ids``."""
        found = f"one for one in {names[0]}.spikes if one.population == {self.population!r}"
        yield f"spikes = next({found})"
        yield "shown = np.ones(len(spikes.times), bool)"
        if self.start is not None:
            yield f"shown &= spikes.times >= {self.start!r}"
        if self.stop is not None:
            yield f"shown &= spikes.times < {self.stop!r}"
        if self.cells is not None:
            yield f"shown &= np.isin(spikes.node_ids, {ids_code(self.cells)})"
        yield "times, ids = spikes.times[shown], spikes.node_ids[shown]  # s"


class RasterPanel(Panel):
    """Spikes of a population as marks, or as an image of counts if there are many."""

    kind = "raster"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the populations that spike."""
        for rank, spikes in enumerate(output.spikes):
            about = f"{len(spikes.times):,} spikes"
            panel = PanelState("raster", spikes.population)
            yield Offer(panel, "Spikes", spikes.population, about, 10 + rank)

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Spikes of {self.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure."""
        self.figure = new_figure(
            "", "cell", height=250, zoom="both", x_range=self.session.time.x_range,
            y_range=Range1d(0, 1),
        )  # fmt: skip
        self.colors = LinearColorMapper("Blues256", nan_color="rgba(0, 0, 0, 0)")
        self.colors.palette = tuple(reversed(self.colors.palette))[40:]
        self.pixels = add_image(self.figure, self.colors)
        self.points = empty_source("time", "cell", "row", "color")
        self.figure.scatter(
            "time", "row", marker="dash", angle=np.pi / 2, size=8, line_width=1.4, color="color",
            source=self.points, nonselection_alpha=0.35, selection_color=ACCENT,
            selection_line_width=2.5,
        )  # fmt: skip
        self.link(self.name, self.points)
        tooltips = [("cell", "@cell"), ("time", "@time{0[.]000} " + self.session.time.scale.symbol)]
        self.figure.add_tools(HoverTool(tooltips=tooltips, renderers=self.figure.renderers[1:]))
        self.add_figure(self.figure, zooms=True)
        self._rows = np.zeros(0, np.int64)
        return self.figure  # type: ignore[no-any-return]

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the spikes."""
        time = self.session.time
        spikes = ShownSpikes(self.name).find(output)
        chosen = chosen_ids(spikes, cells_of(self.session.cells))
        rows = spikes.known_cells if chosen is None else chosen
        if len(rows) != len(self._rows):
            show_rows(self.figure.y_range, -_HALF, len(rows) - _HALF)
        self._rows = rows
        start, stop = time.window
        raster = spike_raster(spikes, rows, shape=pixels_of(self.figure), start=start, stop=stop,
                              in_order=True)  # fmt: skip
        factor = time.scale.factor
        ids, times = raster.spike_ids, raster.spike_times
        if ids is None or times is None:
            self.pixels.data = image_data()
            ids, times = np.zeros(0, np.int64), np.zeros(0)
        self.points.data = {
            "time": times * factor,
            "row": ids,
            "cell": rows[ids],
            "color": np.full(len(ids), COLORS[0]),
        }
        self.say(f"{raster.n_spikes:,} spikes of {len(rows):,} cells in the window")

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:
        """Pick the cell of a row, and move the cursor to its nearest spike."""
        row = round(y)
        if not 0 <= row < len(self._rows):
            return False
        cell = int(self._rows[row])
        spikes, factor = ShownSpikes(self.name).find(output), self.session.time.scale.factor
        times = spikes.times[spikes.node_ids == cell]
        at = float(times[np.argmin(np.abs(times - x / factor))]) if len(times) else x / factor
        self.session.pick(self.name, [cell], at=at)
        return True

    def shown(self) -> ShownSpikes:
        """Return the shown data."""
        chosen = None if not self.session.cells else self._rows.tolist()
        time = self.session.time
        return ShownSpikes(self.name, chosen, time.start, time.stop, time.scale)
