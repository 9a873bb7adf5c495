"""Panel of firing rates, of one population or of all."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bokeh.models import DataRange1d, HoverTool, UIElement

from ndx_simulation_output.plots.spikes import Rates, group_rates, spike_rates
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import arguments_code, cells_code, cells_of
from ndx_simulation_output.viewer.figures import (
    empty_source,
    key_html,
    line_data,
    new_figure,
    small_text,
    stack,
)
from ndx_simulation_output.viewer.panels import Offer
from ndx_simulation_output.viewer.session import Rows
from ndx_simulation_output.viewer.spikes import Part, SpikesPanel, parts_of
from ndx_simulation_output.viewer.state import PanelState

_DASHES, _MARKS = ("solid", "dashed", "dotted"), "\u2501\u254d\u2508"


@dataclass(frozen=True)
class ShownRates:
    """Mean rates of populations, or of groups of their cells, from ``start`` to ``stop`` (s)."""

    populations: tuple[str, ...]
    start: float
    stop: float
    cells: Cells | None = None
    group_by: str = ""
    time: Scale = Scale(1.0, "s")  # noqa: RUF009 - frozen
    imports = (
        "from ndx_simulation_output.plots import spike_rates",
        "from ndx_simulation_output.plots.spikes import group_rates, group_spikes",
    )

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the ends of each bin and the rate of each line."""
        parts = parts_of(outputs[0], self.populations, self.cells, self.group_by)
        found = [one for part in parts for one in rates_of(part, self.start, self.stop)]
        labels = [label for part in parts for label in part.full_labels]
        yield self.time.label("from"), self.time.label("to"), *(f"{one} (Hz)" for one in labels)
        edges = (found[0].times * self.time.factor).tolist()
        values = np.column_stack([one.rates for one in found]).tolist()
        for start, stop, line in zip(edges[:-1], edges[1:], values, strict=True):
            yield start, stop, *line

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that make ``rates``, a list for each population."""
        yield "rates = {}"
        yield f"for spikes in {names[0]}.spikes:"
        yield f"    if spikes.population not in {list(self.populations)!r}:"
        yield "        continue"
        ids = "None" if self.cells is None else f"spikes.find({cells_code(self.cells)})"
        window = arguments_code(start=self.start, stop=self.stop)
        one = f"[spike_rates(spikes, {ids}, {window})]"
        if self.group_by:
            by = repr(self.group_by)
            yield f"    has_groups = spikes.cells is not None and {by} in spikes.cells.columns"
            yield "    if has_groups:"
            yield f"        groups = group_spikes(spikes, {ids}, {by})"
            yield f"        found = group_rates(spikes, groups, {window})"
            yield "    else:"
            yield f"        found = {one}"
            yield "    rates[spikes.population] = found"
        else:
            yield f"    rates[spikes.population] = {one}"
        yield "# rates[population][group].rates in Hz, between .times in s"


def rates_of(part: Part, start: float, stop: float) -> list[Rates]:
    """Return the rates of each group of a part, or of all of its cells."""
    if part.groups is not None:
        return group_rates(part.spikes, part.groups, start=start, stop=stop)
    ids = None if len(part.ids) == len(part.row_of) else part.ids
    return [spike_rates(part.spikes, ids, start=start, stop=stop, n_cells=len(part.ids))]


class RatesPanel(SpikesPanel):
    """Mean firing rates of populations, or of groups of their cells, in bins."""

    kind = "rates"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the rates of all populations."""
        if output.spikes:
            name = output.spikes[0].population if len(output.spikes) == 1 else ""
            label = name or "all populations"
            yield Offer(PanelState("rates", name), "Spikes", label, action="rate")

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Firing rate of {self.what}"

    def build(self, output: SimulationOutput) -> UIElement:  # noqa: ARG002
        """Return the figure."""
        self.figure = made = new_figure(
            "", "rate (Hz)", height=150, x_range=self.session.time.x_range,
            y_range=DataRange1d(start=0),
        )  # fmt: skip
        self.lines = empty_source("xs", "ys", "color", "name", "dash")
        drawn = made.multi_line("xs", "ys", color="color", line_dash="dash", line_width=1.6,
                                source=self.lines)  # fmt: skip
        made.y_range.renderers = [drawn]
        self.bins = empty_source("time", "rate", "name", "from", "to", "count")
        marks = made.scatter("time", "rate", size=14, alpha=0, source=self.bins)
        unit = self.session.time.scale.symbol
        tooltips = [("cells", "@name"), ("rate", "@rate{0.[00]} Hz"), ("spikes", "@count"),
                    ("bin", f"@from{{0[.]000}} to @to{{0[.]000}} {unit}")]  # fmt: skip
        made.add_tools(HoverTool(tooltips=tooltips, renderers=[marks], limit=1))
        self.add_figure(made)
        return stack(made)

    def update(self, output: SimulationOutput) -> None:
        """Count the spikes, and draw the rates."""
        time, parts = self.session.time, self.parts(output)
        if time.limits == self._drawn:
            self.note.text = self._said
            return
        self._drawn = time.limits
        factor = time.scale.factor
        found = [one for part in parts for one in rates_of(part, *time.limits)]
        labels = [label for part in parts for label in part.full_labels]
        colors = [color for part in parts for color in part.colors]
        steps = np.repeat(found[0].times, 2)[1:-1] * factor
        values = np.repeat(np.column_stack([one.rates for one in found]), 2, axis=0)
        # Groups have the same colour in all populations.
        style = [
            at % len(_DASHES) if part.groups else 0
            for at, part in enumerate(parts)
            for _ in part.labels
        ]
        self.lines.data = {**line_data(steps, values, labels, colors),
                           "dash": [_DASHES[one] for one in style]}  # fmt: skip
        edges = found[0].times * factor
        n_bins, n_lines = len(edges) - 1, len(found)
        self.bins.data = {
            "time": np.tile((edges[1:] + edges[:-1]) / 2, n_lines),
            "rate": np.concatenate([one.rates for one in found]),
            "name": np.repeat(np.array(labels, object), n_bins),
            "from": np.tile(edges[:-1], n_lines),
            "to": np.tile(edges[1:], n_lines),
            "count": np.concatenate([one.counts for one in found]),
        }
        width = float(np.median(np.diff(edges)))
        marks = "".join(_MARKS[one] for one in style)
        bins = f"bins of {width:.4g} {time.scale.symbol}; numbers of cells in brackets"
        self.note.text = self._said = f"{key_html(labels, colors, marks)} &ensp;{small_text(bins)}"

    def shown(self) -> ShownRates:
        """Return the shown data."""
        session, time = self.session, self.session.time
        names = tuple(part.population for part in self._made[2])
        cells = cells_of(session.cells)
        return ShownRates(names, *time.limits, cells, session.group_by, time.scale)
