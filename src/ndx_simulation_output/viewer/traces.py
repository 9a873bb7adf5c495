"""Views of traces, heat maps and extracellular channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    HoverTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
    Select,
    TextInput,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import How, reduce_traces, spread, stack_traces
from ndx_simulation_output.recording import ExtracellularPotential, SimulationOutput
from ndx_simulation_output.viewer.controls import (
    CompartmentChoice,
    Saving,
    Window,
    ids_of,
    pixels_of,
    span_of,
)
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import (
    ShownHeatMap,
    ShownTraces,
    ids_code,
    names_of,
    table_of,
    window_code,
)
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, plain, small

# Heat maps: compartments over time.


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


# Traces of compartments over time.

_MOST_TRACES = 50
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
        columns = found[spread(len(found), _MOST_TRACES)]
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


# Extracellular potentials: channels above each other over time.

_MOST_CHANNELS = 32
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
        columns = found[spread(len(found), _MOST_CHANNELS)]
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
