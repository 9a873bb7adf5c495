"""The overview of the whole run at the top of the page, with a brush for the time window."""

from typing import Any

import numpy as np
from bokeh.events import DoubleTap, Tap
from bokeh.models import CustomJS, Range1d, RangeTool, UIElement

from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import reduce_traces
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.selection import PictureOptions
from ndx_simulation_output.plots.spikes import spike_rates
from ndx_simulation_output.recording import ExtracellularPotential, Report, SimulationOutput, Spikes
from ndx_simulation_output.viewer.controls import compartment_names
from ndx_simulation_output.viewer.figures import (
    add_lines,
    key_html,
    limits_of,
    line_data,
    new_figure,
    new_text,
    plain_text,
    small_text,
    stack,
)
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.time_axis import ACCENT

_PIXELS = 1200
_HINT = "drag to choose a window, double-click for all"


class Overview:
    """The population rates of the run, or the envelope of a recording, with a brush over them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.text = new_text()
        self.figure = new_figure(
            "", "", height=84, x_range=Range1d(0, 1), y_range=Range1d(0, 1), name="overview"
        )
        self.figure.toolbar_location = None
        self.figure.tools = []
        self.figure.grid.visible = False
        self.figure.yaxis.ticker.desired_num_ticks = 2
        self.figure.yaxis.minor_tick_line_color = None
        self.lines, _ = add_lines(self.figure, line_width=1.3, line_join="round")
        x_range = session.time.x_range
        brush = RangeTool(x_range=x_range, start_gesture="pan")
        box = brush.overlay
        box.update(fill_color=ACCENT, line_color=ACCENT, line_width=2, line_dash="solid")
        self.figure.add_tools(brush)
        # A window that is all of the run does not take the drag that begins a new one.
        seen = CustomJS(args={"time": x_range, "box": box}, code=_SEEN)
        for name in ("start", "end"):
            x_range.js_on_change(name, seen)
        every = CustomJS(args={"time": x_range}, code=_SHOW_ALL)
        self.figure.js_on_event(DoubleTap, every)
        cursor = CustomJS(args={"cursor": session.time.cursor}, code="cursor.location = cb_obj.x")
        self.figure.js_on_event(Tap, cursor)
        session.time.add_to(self.figure)
        self.layout: UIElement = stack(self.text, self.figure)

    def update(self, output: SimulationOutput) -> bool:
        """Draw the whole run; return False if the file has nothing over time."""
        has_times = bool(output.reports or output.spikes or output.potentials)
        self.layout.visible = has_times
        if not has_times:
            return False
        run = PictureOptions().window(output)
        time = self.session.time
        time.set_span(run["start"], run["stop"])
        span = [one * time.scale.factor for one in time.span]
        self.figure.x_range.update(start=span[0], end=span[1])
        if any(map(len, output.spikes)):
            self._draw_rates(output.spikes, run)
        elif output.reports or output.potentials:
            self._draw_envelope((output.reports or output.potentials)[0], run)
        return True

    def _draw_rates(self, populations: tuple[Spikes, ...], run: dict[str, Any]) -> None:
        factor = self.session.time.scale.factor
        colored = list(zip(populations, COLORS, strict=False))  # the others have no colour
        shown = [(spikes, color) for spikes, color in colored if len(spikes)]
        rates = [spike_rates(spikes, **run) for spikes, _ in shown]
        colors = [color for _, color in shown]
        times = np.repeat(rates[0].times, 2)[1:-1] * factor
        values = np.repeat(np.column_stack([one.rates for one in rates]), 2, axis=0)
        names = [f"{spikes.population} ({one.n_cells:,})" for (spikes, _), one in
                 zip(shown, rates, strict=True)]  # fmt: skip
        self.lines.data = line_data(times, values, names, colors)
        self.figure.yaxis.axis_label = plain_text("Hz")
        self.figure.y_range.update(start=0, end=1.05 * float(values.max(initial=0)) or 1)
        self._say("mean rate", key_html(names, colors))

    def _draw_envelope(
        self, recorded: Report | ExtracellularPotential, run: dict[str, Any]
    ) -> None:
        factor = self.session.time.scale.factor
        column = np.zeros(1, np.intp)
        lines = reduce_traces(recorded, column, **run, pixels=_PIXELS)
        values = np.asarray(lines.values, np.float64)
        scale = scale_of(lines.unit, values)
        values = values * scale.factor
        self.lines.data = line_data(lines.times * factor, values, [recorded.name])
        self.figure.yaxis.axis_label = plain_text(scale.symbol)
        low, high = limits_of(values)
        self.figure.y_range.update(start=low, end=high)
        of = compartment_names(recorded, column)[0] if isinstance(recorded, Report) else \
            f"channel {np.asarray(recorded.channel_ids[:1])[0]}"  # fmt: skip
        self._say(f"{recorded.name}, {of}", "")

    def _say(self, what: str, key: str) -> None:
        hint = "" if self.session.is_saved else f"; {_HINT}"
        self.text.text = f"{small_text(f'whole run: {what}')} {key}{small_text(hint)}"


_SEEN = """
    const is_part = time.start > time.reset_start || time.end < time.reset_end;
    box.setv({editable: is_part, fill_alpha: is_part ? 0.12 : 0, line_alpha: is_part ? 0.9 : 0});
"""
_SHOW_ALL = "time.setv({start: time.reset_start, end: time.reset_end});"
