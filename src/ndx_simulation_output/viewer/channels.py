"""Extracellular potentials: channels above each other over time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Range1d, Select, TextInput, UIElement

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.recording import ExtracellularPotential, SimulationOutput
from ndx_simulation_output.recording.reduced import reduce_traces, spread, stack_traces
from ndx_simulation_output.viewer.controls import Saving, ids_of
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.heat import show_rows
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import ids_code, table_of, window_code
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, small
from ndx_simulation_output.viewer.zoom import Window, span_of

__all__ = ["ChannelsView", "ShownChannels"]

_MOST = 32
"""So many channels are drawn; of more, some that are evenly spread."""


@dataclass(frozen=True)
class ShownChannels:
    """Channels of a potential, by their ids or all, from ``start`` up to ``stop`` (s)."""

    potential: str
    channels: tuple[int, ...] | None = None
    start: float | None = None
    stop: float | None = None
    imports = ()

    def find(self, output: SimulationOutput) -> ExtracellularPotential:
        """Give the potential.

        Raises
        ------
        NothingRecordedError
            If there is none of this name.

        """
        for potential in output.potentials:
            if potential.name == self.potential:
                return potential
        msg = f"there is no extracellular potential {self.potential!r}"
        raise NothingRecordedError(msg)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Read time and values of each row."""
        potential = self.find(outputs[0])
        columns = potential.find(self.channels)
        yield "time_s", *(f"channel {one}" for one in np.asarray(potential.channel_ids)[columns])
        yield from table_of(potential, columns, self.start, self.stop)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``times`` and ``values``."""
        window = window_code(self.start, self.stop)
        chosen = "" if self.channels is None else f"channels={ids_code(self.channels)}"
        arguments = ", ".join(part for part in (chosen, window) if part)
        found = f"one for one in {names[0]}.potentials if one.name == {self.potential!r}"
        yield f"potential = next({found})"
        yield f"rows = potential.times.window({self.start!r}, {self.stop!r})"
        yield "times = potential.times.seconds(rows)  # s"
        yield f"values = potential.get_traces({arguments})  # as potential.unit says"


class ChannelsView:
    """Channels of an extracellular potential, read again for each window of time."""

    title = "Channels"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        if not output.potentials:
            msg = f"{self.session.source.name} has no extracellular potentials"
            raise NothingRecordedError(msg)
        names = [potential.name for potential in output.potentials]
        self.potential = Select(title="Potential", options=names, value=names[0], width=220)
        self.channels = TextInput(title="Channels", placeholder="all, or ids such as 0-99, 512")
        for widget in (self.potential, self.channels):
            self.session.on_change(widget, "value", self.update)
        self.lines = ColumnDataSource({"xs": [], "ys": [], "color": []})
        self.figure = new_figure(
            "time", "channel", height=560, x_range=Range1d(0, 1), y_range=Range1d(-1, 1)
        )
        self.figure.multi_line("xs", "ys", color="color", line_join="round", source=self.lines)
        self.figure.ygrid.visible = False
        self.window = Window(self.session, self.figure, self.update)
        self._drawn = 0
        self.note = new_text()
        self.saving = Saving(self.session, "channels", self.figure, self.shown)
        self.update(output)
        chosen = row(self.potential, self.channels)
        parts = chosen, self.figure, self.note, self.saving.layout
        return column(*parts, sizing_mode="stretch_width")

    def shown(self) -> ShownChannels:
        """Give what is shown."""
        window = self.window.start, self.window.stop
        return ShownChannels(str(self.potential.value), ids_of(self.channels.value), *window)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        self.potential.options = [potential.name for potential in output.potentials]
        potential = ShownChannels(str(self.potential.value)).find(output)
        self.window.show_all(*span_of(potential.times))
        found = potential.find(self.shown().channels)
        columns = found[spread(len(found), _MOST)]
        lines = reduce_traces(potential, columns, **self.window.drawn)
        stacked, step = stack_traces(lines.values)
        scale = scale_of(lines.unit, np.asarray([step]))
        count = len(columns)
        self.lines.data = {
            "xs": [lines.times * self.window.scale.factor] * count,
            "ys": list(stacked.T),
            "color": [COLORS[index % len(COLORS)] for index in range(count)],
        }
        ids = np.asarray(potential.channel_ids)[columns].tolist()
        self.figure.yaxis.ticker = list(range(count))
        self.figure.yaxis.major_label_overrides = dict(enumerate(map(str, ids)))
        if count != self._drawn:
            self._drawn = count
            show_rows(self.figure.y_range, -1, count)
        some = f"{count} of {len(found):,} channels drawn; " if count < len(found) else ""
        apart = f"{step * scale.factor:.3g} {scale.symbol}".strip()
        exact = "every sample" if lines.is_exact else "the lowest and the highest of each pixel"
        self.note.text = small(f"{some}{apart} from one channel to the next; {exact}")
        self.saving.refresh()
