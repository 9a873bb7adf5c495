"""Traces of compartments over time."""

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Legend, LegendItem, Range1d, UIElement

from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.reduced import reduce_traces, spread
from ndx_simulation_output.viewer.controls import CompartmentChoice, Saving
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import ShownTraces, names_of
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, plain, small
from ndx_simulation_output.viewer.zoom import Window, span_of

__all__ = ["TracesView"]

_MOST = 50
"""So many traces are drawn; of more, some that are evenly spread."""


class TracesView:
    """Traces of chosen compartments, read again for each window of time."""

    title = "Traces"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        self.choice = CompartmentChoice(self.session, output, self.update)
        self.lines = ColumnDataSource({"xs": [], "ys": [], "color": [], "name": []})
        self.figure = new_figure("time", "", x_range=Range1d(0, 1))
        drawn = self.figure.multi_line(
            "xs", "ys", color="color", line_width=1.4, line_join="round", source=self.lines
        )
        item = LegendItem(label={"field": "name"}, renderers=[drawn])
        self.legend = Legend(items=[item], border_line_color=None, label_text_font_size="12px")
        self.figure.add_layout(self.legend, "right")
        self.window = Window(self.session, self.figure, self.update)
        self.note = new_text()
        self.saving = Saving(self.session, "traces", self.figure, self.shown)
        self.update(output)
        parts = self.choice.row, self.figure, self.note, self.saving.layout
        return column(*parts, sizing_mode="stretch_width")

    def shown(self) -> ShownTraces:
        """Give what is shown."""
        return ShownTraces(self.choice.compartments(), self.window.start, self.window.stop)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        self.choice.refresh(output)
        report = output[str(self.choice.report.value)]
        self.window.show_all(*span_of(report.times))
        shown = self.shown()
        found = shown.compartments.columns(report)
        columns = found[spread(len(found), _MOST)]
        lines = reduce_traces(report, columns, **self.window.drawn)
        scale = scale_of(lines.unit, lines.values)
        times = lines.times * self.window.scale.factor
        values = np.asarray(lines.values, np.float64) * scale.factor
        self.lines.data = {
            "xs": [times] * len(columns),
            "ys": list(values.T),
            "color": [COLORS[index % len(COLORS)] for index in range(len(columns))],
            "name": names_of(report, columns),
        }
        self.legend.visible = len(columns) <= len(COLORS)
        self.figure.yaxis.axis_label = plain(scale.label(report.variable or report.report))
        some = f"{len(columns)} of {len(found):,} compartments drawn; "
        exact = "every sample" if lines.is_exact else "the lowest and the highest of each pixel"
        self.note.text = small(f"{some if len(columns) < len(found) else ''}{exact}")
        self.saving.refresh()
