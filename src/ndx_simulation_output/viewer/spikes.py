"""View of spikes: raster plot and firing rates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import BasicTicker, LinearColorMapper, Range1d, Select, TextInput, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.groups import Groups
from ndx_simulation_output.plots.selection import PictureOptions
from ndx_simulation_output.plots.spikes import (
    Raster,
    Rates,
    chosen_ids,
    group_rates,
    group_spikes,
    spike_raster,
    spike_rates,
)
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import (
    CELLS_HINT,
    PropertyChoice,
    SaveButtons,
    TimeWindow,
    cells_of,
    find_named,
    ids_code,
)
from ndx_simulation_output.viewer.figures import (
    COLORS,
    GroupLegend,
    add_color_bar,
    add_image,
    add_lines,
    empty_source,
    image_data,
    line_data,
    new_figure,
    new_text,
    pixels_of,
    plain_text,
    show_rows,
    small_text,
    stack,
    visible_rows,
)
from ndx_simulation_output.viewer.session import Rows, View

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


class SpikesView(View):
    """Raster plot, or an image of counts if there are many spikes, and firing rates."""

    title = "Spikes"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        if not output.spikes:
            msg = f"{self.session.file.name} has no spikes"
            raise NothingRecordedError(msg)
        names = [spikes.population for spikes in output.spikes]
        self.population = Select(title="Population", options=names, value=names[0], width=220)
        self.cells = TextInput(title="Cells", placeholder=CELLS_HINT, width=420)
        self.group = PropertyChoice(self.session, self.update)
        for widget in (self.population, self.cells):
            self.session.on_change(widget, "value", self.update)
        self._make_figures()
        self.window = TimeWindow(self.session, self.figure, self.update)
        self._ids = 0, 0
        self._cells: tuple[int, ...] | None = None
        self._groups: Groups | None = None
        self.note = new_text()
        self.saving = SaveButtons(self.session, "spikes", self.figure, self.shown)
        self.update(output)
        selection = row(self.population, self.cells, self.group.select)
        return stack(selection, self.figure, self.below, self.note, self.saving.layout)

    def _make_figures(self) -> None:
        self.figure = new_figure(
            "time", "node id", zoom="both", x_range=Range1d(0, 1), y_range=Range1d(0, 1)
        )
        self.colors = LinearColorMapper("Blues256", nan_color="rgba(0, 0, 0, 0)")
        self.colors.palette = tuple(reversed(self.colors.palette))[40:]
        self.pixels = add_image(self.figure, self.colors)
        self.points = empty_source("time", "id", "color")
        self.marks = self.figure.scatter(
            "time",
            "id",
            marker="dash",
            angle=np.pi / 2,
            line_width=1.4,
            color="color",
            source=self.points,
        )
        self.legend = GroupLegend(self.figure)
        self.bar = add_color_bar(self.figure, self.colors)
        self.below = new_figure("", "rate (Hz)", height=150, x_range=self.figure.x_range)
        self.below.toolbar_location = None
        self.rates = empty_source("left", "right", "top")
        self.below.quad(
            left="left", right="right", top="top", bottom=0, color=COLORS[0], source=self.rates
        )
        self.group_rates, _ = add_lines(self.below, line_width=1.6)

    def shown(self) -> ShownSpikes:
        """Return the shown data."""
        cells: Sequence[int] | None = self._cells
        lowest, highest = self._ids
        first, last = visible_rows(self.figure.y_range, highest, _HALF)
        if (first, last) != (lowest, highest):
            if self._groups is not None:
                cells = tuple(self._groups.sorted_ids()[first:last].tolist())
            else:
                visible = range(first, last)
                cells = visible if cells is None else [cell for cell in cells if cell in visible]
        window = self.window.start, self.window.stop
        return ShownSpikes(str(self.population.value), cells, *window, self.window.scale)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the spikes."""
        self.population.options = [spikes.population for spikes in output.spikes]
        spikes = ShownSpikes(str(self.population.value)).find(output)
        self.group.offer(spikes.cells)
        ids = chosen_ids(spikes, cells_of(self.cells.value))
        self._cells = None if ids is None else tuple(ids.tolist())
        groups = None if self.group.name is None else group_spikes(spikes, ids, self.group.name)
        run = PictureOptions().window(output)
        self._set_ranges(spikes, groups, run)
        shown = self.shown()
        cells = None if shown.cells is None else np.asarray(shown.cells, np.int64)
        window: dict[str, Any] = {
            "start": run["start"] if shown.start is None else shown.start,
            "stop": run["stop"] if shown.stop is None else shown.stop,
        }
        drawn = cells
        if groups is not None:
            first, last = visible_rows(self.figure.y_range, len(groups.ids), _HALF)
            drawn = groups.sorted_ids()[first:last]
        shape = pixels_of(self.figure)
        raster = spike_raster(spikes, drawn, shape=shape, **window, in_order=groups is not None)
        factor = self.window.scale.factor
        if groups is None:
            if cells is not None and self._cells is None:
                # Not every number between two ids is that of a cell.
                cells = np.intersect1d(cells, spikes.known_cells)
            rates = spike_rates(spikes, cells, **window)
            self._draw(raster, factor)
            edges = rates.times * factor
            self.rates.data = {"left": edges[:-1], "right": edges[1:], "top": rates.rates}
            self.group_rates.data = line_data(np.zeros(0), np.zeros((0, 0)), [])
        else:
            rates = self._draw_groups(spikes, groups, raster, first, window)
        marks = "each a mark" if raster.spike_times is not None else "colour: spikes in a pixel"
        self.note.text = small_text(f"{raster.n_spikes:,} spikes, {marks}; rate: {rates.note}")
        self.saving.refresh()

    def _draw_groups(
        self, spikes: Spikes, groups: Groups, raster: Raster, first: int, window: dict[str, Any]
    ) -> Rates:
        """Draw spikes and rates in the colours of groups, and return the rates of all cells."""
        factor = self.window.scale.factor
        edges = groups.edges()
        group_of = np.searchsorted(edges, np.arange(len(groups.ids)), "right") - 1
        self._draw(raster, factor, first, np.array(groups.colors)[group_of])
        middles = ((edges[:-1] + edges[1:]) / 2 - _HALF).tolist()
        self.figure.yaxis.ticker = middles
        labels = zip(middles, map(plain_text, groups.names), strict=True)
        self.figure.yaxis.major_label_overrides = dict(labels)
        self.figure.yaxis.axis_label = plain_text(f"cells by {groups.name}")
        self.legend.show(groups.labels, groups.colors)
        self.rates.data = {"left": [], "right": [], "top": []}
        several = group_rates(spikes, groups, **window)
        steps = np.repeat(several[0].times, 2)[1:-1] * factor
        values = np.repeat(np.column_stack([one.rates for one in several]), 2, axis=0)
        self.group_rates.data = line_data(steps, values, groups.names, groups.colors)
        return replace(several[0], n_cells=len(groups.ids), basis="cells in groups")

    def _set_ranges(self, spikes: Spikes, groups: Groups | None, run: dict[str, float]) -> None:
        """Set the axis ranges to those of the run and the selected cells."""
        ids = spikes.node_ids if self._cells is None else np.asarray(self._cells)
        bounds = (int(ids.min()), int(ids.max()) + 1) if len(ids) else (0, 1)
        bounds = bounds if groups is None else (0, len(groups.ids))
        is_other = (groups is None) != (self._groups is None)
        self._groups = groups
        if bounds != self._ids or is_other:
            self._ids = bounds
            y_range = self.figure.y_range
            show_rows(y_range, bounds[0] - _HALF, bounds[1] - _HALF)
            if groups is not None:
                # The first group is at the top.
                y_range.start, y_range.end = y_range.end, y_range.start
                y_range.reset_start, y_range.reset_end = y_range.start, y_range.end
        if groups is None and is_other:
            self.figure.yaxis.ticker = BasicTicker()
            self.figure.yaxis.major_label_overrides = {}
            self.figure.yaxis.axis_label = plain_text("node id")
            self.legend.show()
        self.window.set_span(run["start"], run["stop"])

    def _draw(
        self, raster: Raster, factor: float, first: int = 0, colors: NDArray[Any] | None = None
    ) -> None:
        """Draw spikes; rows begin at ``first``, and have ``colors`` if they are sorted by group."""
        self.bar.visible = raster.spike_times is None
        if raster.spike_times is not None and raster.spike_ids is not None:
            self.pixels.data = image_data()
            ids = raster.spike_ids + first
            color = np.full(len(ids), COLORS[0]) if colors is None else colors[ids]
            self.points.data = {"time": raster.spike_times * factor, "id": ids, "color": color}
            height = pixels_of(self.figure)[0] / max(float(raster.ids[-1] - raster.ids[0]), 1.0)
            self.marks.glyph.size = min(max(0.6 * height, 4.0), 18.0)
            return
        self.points.data = {"time": [], "id": [], "color": []}
        self.colors.low, self.colors.high = 0, float(raster.counts.max())
        times, ids = raster.times * factor, raster.ids + first - _HALF
        counts = np.where(raster.counts, raster.counts, np.nan)
        self.pixels.data = image_data(counts, (times[0], times[-1]), (ids[0], ids[-1]))
