"""The overview of the whole run at the top of the page, with a brush for the time window."""

import numpy as np
from bokeh.models import Range1d, RangeTool, UIElement

from ndx_simulation_output.plots.downsampling import reduce_traces
from ndx_simulation_output.plots.figures import PictureOptions
from ndx_simulation_output.plots.spikes import spike_rates
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.figures import (
    COLORS,
    add_legend,
    add_lines,
    empty_source,
    line_data,
    new_figure,
    plain_text,
)
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.time_axis import ACCENT

_PIXELS = 1200
_MOST = 4


class Overview:
    """The population rates of the run, or the envelope of a recording, with a brush over them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.figure = new_figure("", "", height=104, x_range=Range1d(0, 1), name="overview")
        self.figure.toolbar_location = None
        self.figure.tools = []
        self.figure.ygrid.visible = False
        self.figure.yaxis.ticker.desired_num_ticks = 3
        self.lines, drawn = add_lines(self.figure, line_width=1.2, line_join="round")
        self.band = empty_source("x", "low", "high")
        self.figure.varea("x", "low", "high", color=COLORS[0], alpha=0.5, source=self.band)
        self.legend = add_legend(self.figure, drawn)
        brush = RangeTool(x_range=session.time.x_range, start_gesture="tap")
        brush.overlay.fill_color, brush.overlay.fill_alpha = ACCENT, 0.12
        brush.overlay.line_color, brush.overlay.line_alpha = ACCENT, 0.8
        self.figure.add_tools(brush)
        session.time.add_to(self.figure)

    @property
    def layout(self) -> UIElement:
        """The figure."""
        return self.figure  # type: ignore[no-any-return]

    def update(self, output: SimulationOutput) -> bool:
        """Draw the whole run; return False if the file has nothing over time."""
        has_times = bool(output.reports or output.spikes or output.potentials)
        self.figure.visible = has_times
        if not has_times:
            return False
        run = PictureOptions().window(output)
        time = self.session.time
        time.set_span(run["start"], run["stop"])
        span = [one * time.scale.factor for one in time.span]
        self.figure.x_range.update(start=span[0], end=span[1])
        spiking = [spikes for spikes in output.spikes if len(spikes.times)][:_MOST]
        self.band.data = {"x": [], "low": [], "high": []}
        if spiking:
            self._draw_rates(spiking, run)
            return True
        self.lines.data = line_data(np.zeros(0), np.zeros((0, 0)), [])
        self.legend.visible = False
        recorded = (output.reports or output.potentials)[0]
        lines = reduce_traces(recorded, np.zeros(1, np.intp), **run, pixels=_PIXELS)
        times, values = lines.times * time.scale.factor, np.asarray(lines.values, float)
        self.lines.data = line_data(times, values, [""])
        self.figure.yaxis.axis_label = plain_text(recorded.unit.name)
        return True

    def _draw_rates(self, spiking: list, run: dict[str, float]) -> None:  # type: ignore[type-arg]
        factor = self.session.time.scale.factor
        rates = [spike_rates(spikes, **run) for spikes in spiking]
        times = np.concatenate([(one.times[:-1] + one.times[1:]) / 2 for one in rates[:1]]) * factor
        values = np.column_stack([np.interp(times, (one.times[:-1] + one.times[1:]) / 2 * factor,
                                            one.rates) for one in rates])  # fmt: skip
        self.lines.data = line_data(times, values, [one.population for one in spiking])
        self.legend.visible = len(spiking) > 1
        self.figure.yaxis.axis_label = plain_text("rate (Hz)")
