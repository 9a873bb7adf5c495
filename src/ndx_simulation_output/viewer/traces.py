"""Views of traces, of heat maps of compartments, and of extracellular channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from bokeh.layouts import row
from bokeh.models import (
    HoverTool,
    LinearColorMapper,
    Range1d,
    Select,
    TextInput,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import (
    How,
    Lines,
    reduce_traces,
    spread,
    stack_traces,
)
from ndx_simulation_output.plots.heat_maps import HeatMap, reduce_heat_map
from ndx_simulation_output.plots.traces import columns_to_group, group_lines
from ndx_simulation_output.recording import ExtracellularPotential, Report, SimulationOutput
from ndx_simulation_output.viewer.controls import (
    IDS_HINT,
    CompartmentChoice,
    PropertyChoice,
    SaveButtons,
    Scales,
    SelectedCompartments,
    TimeWindow,
    compartment_names,
    find_named,
    ids_code,
    ids_of,
    recorded_rows,
    span_of,
    window_code,
)
from ndx_simulation_output.viewer.figures import (
    COLORS,
    NAN_COLOR,
    add_color_bar,
    add_image,
    add_legend,
    add_lines,
    color_range,
    drawn_note,
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

if TYPE_CHECKING:
    from ndx_simulation_output.recording.units import Scale

_MAX_TRACES = 50
_MAX_CHANNELS = 32
_MIN_PIXELS = 1000


@dataclass(frozen=True)
class ShownTraces:
    """All samples of the selected compartments from ``start`` to ``stop`` (s)."""

    compartments: SelectedCompartments
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ()

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the values of each row."""
        report = outputs[0][self.compartments.report]
        columns = self.compartments.columns(report)
        names = compartment_names(report, columns)
        yield from recorded_rows(report, columns, names, (self.start, self.stop), self.scales)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``values``."""
        window = window_code(self.start, self.stop)
        arguments = ", ".join(part for part in (self.compartments.code, window) if part)
        yield f"traces = {names[0]}[{self.compartments.report!r}].select({arguments})"
        yield "times, values = traces.times, traces.values  # in s and traces.unit"


class TracesView(View):
    """Traces of selected compartments, read again when the time window changes."""

    title = "Traces"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        self.choice = CompartmentChoice(self.session, output, self.update)
        self.group = PropertyChoice(self.session, self.update)
        self.figure = new_figure("time", "", x_range=Range1d(0, 1))
        self.lines, drawn = add_lines(self.figure, line_width=1.4, line_join="round")
        self.legend = add_legend(self.figure, drawn)
        self.window = TimeWindow(self.session, self.figure, self.update)
        self.note = new_text()
        self.scale: Scale | None = None
        self.saving = SaveButtons(self.session, "traces", self.figure, self.shown)
        self.update(output)
        selection = row(self.choice.row, self.group.select)
        return stack(selection, self.figure, self.note, self.saving.layout)

    def shown(self) -> ShownTraces:
        """Return the shown data."""
        scales = Scales(self.window.scale, self.scale)
        return ShownTraces(self.choice.compartments, self.window.start, self.window.stop, scales)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the traces."""
        report = self.choice.find_report(output)
        self.window.set_span(*span_of(report.times))
        self.group.offer(report.compartments.cells)
        found = self.shown().compartments.columns(report)
        if self.group.name is None:
            columns = found[spread(len(found), _MAX_TRACES)]
            lines = reduce_traces(report, columns, **self.window.drawn)
            names, colors = compartment_names(report, columns), list(COLORS)
            shown = drawn_note(len(columns), len(found), "compartments")
            self.legend.visible = len(columns) <= len(COLORS)
        else:
            chosen, name = self.choice.compartments, self.group.name
            found = columns_to_group(report.compartments, chosen.cells, chosen.numbers, None)
            grouped = group_lines(report, found, name, most=_MAX_TRACES, **self.window.drawn)
            lines, colors, shown = grouped.lines, grouped.colors, f"{grouped.note}; "
            names = [grouped.labels[code] for code in grouped.codes]
            self.legend.visible = True
        self.scale = scale = scale_of(lines.unit, lines.values)
        values = np.asarray(lines.values, np.float64) * scale.factor
        times = lines.times * self.window.scale.factor
        self.lines.data = line_data(times, values, names, colors)
        self.figure.yaxis.axis_label = plain_text(scale.label(report.variable or report.report))
        self.note.text = small_text(f"{shown}{_sampling(lines)}")
        self.saving.refresh()


def _sampling(lines: Lines) -> str:
    return "every sample" if lines.is_exact else "the lowest and the highest of each pixel"


@dataclass(frozen=True)
class ShownHeatMap:
    """A heat map of the selected compartments with indices from ``first`` to ``last``."""

    compartments: SelectedCompartments
    start: float | None = None
    stop: float | None = None
    first: int = 0
    last: int | None = None
    shape: tuple[int, int] = (400, 1000)
    how: How = "mean"
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ("from ndx_simulation_output.plots import reduce_heat_map",)

    def read(self, report: Report) -> HeatMap:
        """Read the image."""
        is_all = self.compartments.is_all and (self.first, self.last) == (0, None)
        columns = None if is_all else self.compartments.columns(report)[self.first : self.last]
        return reduce_heat_map(
            report, columns, start=self.start, stop=self.stop, shape=self.shape, how=self.how
        )

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the rows of pixels; the column names have the start times of the pixels."""
        report = outputs[0][self.compartments.report]
        found = self.read(report)
        times = found.times[:-1] * self.scales.time.factor
        scale = self.scales.of(found.unit)
        value = scale.label(report.variable or report.report)
        names = (f"{value} at {time!r} {self.scales.time.symbol}" for time in times.tolist())
        yield "first compartment of the row", *names
        for begin, values in zip(found.columns, found.values, strict=False):
            yield int(begin) + self.first, *(values * scale.factor).tolist()

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values`` with shape (compartments, time)."""
        yield f"report = {names[0]}[{self.compartments.report!r}]"
        columns = f"report.compartments.find({self.compartments.code})"
        if self.first or self.last is not None:
            columns += f"[{self.first}:{'' if self.last is None else self.last}]"
        yield f"columns = {columns}"
        options = [window_code(self.start, self.stop), f"shape={self.shape}", f"how={self.how!r}"]
        arguments = ", ".join(part for part in options if part)
        yield f"shown = reduce_heat_map(report, columns, {arguments})"
        yield "values = shown.values"


class HeatMapView(View):
    """An image of compartments × time, read again when the visible range changes."""

    title = "Heat map"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        self.choice = CompartmentChoice(self.session, output, self.update, suggests=False)
        self.how = Select(title="Pixels show", options=list(get_args(How)), value="mean", width=110)
        self.session.on_change(self.how, "value", self.update)
        self.figure = new_figure(
            "time", "compartment", zoom="both", x_range=Range1d(0, 1), y_range=Range1d(0, 1)
        )
        self.colors = LinearColorMapper("Viridis256", nan_color=NAN_COLOR)
        self.pixels = add_image(self.figure, self.colors)
        tooltips = [("time", "$x"), ("compartment", "$y"), ("value", "@image")]
        self.figure.add_tools(HoverTool(tooltips=tooltips))
        add_color_bar(self.figure, self.colors)
        self.window = TimeWindow(self.session, self.figure, self.update)
        self._count = 0
        self.scale: Scale | None = None
        self.note = new_text()
        self.saving = SaveButtons(self.session, "heat-map", self.figure, self.shown)
        self.update(output)
        selection = row(self.choice.row, self.how)
        return stack(selection, self.figure, self.note, self.saving.layout)

    def shown(self) -> ShownHeatMap:
        """Return the shown data."""
        first, last = visible_rows(self.figure.y_range, self._count)
        return ShownHeatMap(
            self.choice.compartments,
            self.window.start,
            self.window.stop,
            first,
            None if last == self._count else last,
            pixels_of(self.figure),
            str(self.how.value),  # type: ignore[arg-type]
            Scales(self.window.scale, self.scale),
        )

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the heat map."""
        report = self.choice.find_report(output)
        self.window.set_span(*span_of(report.times))
        selected = self.choice.compartments
        count = report.data.shape[1] if selected.is_all else len(selected.columns(report))
        if count != self._count:
            self._count = count
            show_rows(self.figure.y_range, 0, count)
        shown = self.shown()
        found = shown.read(report)
        self.scale = scale = scale_of(found.unit, found.values)
        values = found.values * scale.factor
        times = found.times * self.window.scale.factor
        rows = shown.first, shown.first + int(found.columns[-1])
        self.pixels.data = image_data(_on_even_pixels(values, times), (times[0], times[-1]), rows)
        self.colors.low, self.colors.high = color_range(values)
        self.figure.title.text = plain_text(scale.label(report.variable or report.report))
        self.note.text = small_text(found.note or "each value has a pixel")
        self.saving.refresh()


def _on_even_pixels(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[Any]:
    """Resample bins of unequal width to pixels of equal width, as Bokeh images require.

    ``values`` has shape (row, bin), ``edges`` (bin + 1,). A pixel has the value of the bin at its
    centre.
    """
    steps = np.diff(edges)
    if len(steps) > 1 and not np.allclose(steps, steps.mean(), rtol=1e-6):
        pixels = max(len(steps), _MIN_PIXELS)
        centres = edges[0] + (np.arange(pixels) + 0.5) / pixels * (edges[-1] - edges[0])
        bins = np.clip(np.searchsorted(edges, centres, "right") - 1, 0, len(steps) - 1)
        return values[:, bins]
    return values


@dataclass(frozen=True)
class ShownChannels:
    """All samples of channels (by default all) of a potential from ``start`` to ``stop`` (s)."""

    potential: str
    channels: tuple[int, ...] | None = None
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ()

    def find(self, output: SimulationOutput) -> ExtracellularPotential:
        """Return the potential."""
        named = ((potential.name, potential) for potential in output.potentials)
        return find_named(named, self.potential, "extracellular potential")

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the values of each row."""
        potential = self.find(outputs[0])
        columns = potential.find(self.channels)
        names = (f"channel {one}" for one in np.asarray(potential.channel_ids)[columns])
        yield from recorded_rows(potential, columns, names, (self.start, self.stop), self.scales)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``values``."""
        window = window_code(self.start, self.stop)
        channels = "" if self.channels is None else f"channels={ids_code(self.channels)}"
        arguments = ", ".join(part for part in (channels, window) if part)
        found = f"one for one in {names[0]}.potentials if one.name == {self.potential!r}"
        yield f"potential = next({found})"
        yield f"rows = potential.times.window({self.start!r}, {self.stop!r})"
        yield "times = potential.times.seconds(rows)  # s"
        yield f"values = potential.get_traces({arguments})  # in potential.unit"


class ChannelsView(View):
    """Channels of an extracellular potential, read again when the time window changes."""

    title = "Channels"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        if not output.potentials:
            msg = f"{self.session.file.name} has no extracellular potentials"
            raise NothingRecordedError(msg)
        names = [potential.name for potential in output.potentials]
        self.potential = Select(title="Potential", options=names, value=names[0], width=220)
        self.channels = TextInput(title="Channels", placeholder=IDS_HINT)
        for widget in (self.potential, self.channels):
            self.session.on_change(widget, "value", self.update)
        self.figure = new_figure(
            "time", "channel", height=560, x_range=Range1d(0, 1), y_range=Range1d(-1, 1)
        )
        self.lines, _ = add_lines(self.figure, line_join="round")
        self.figure.ygrid.visible = False
        self.window = TimeWindow(self.session, self.figure, self.update)
        self._count = 0
        self.scale: Scale | None = None
        self.note = new_text()
        self.saving = SaveButtons(self.session, "channels", self.figure, self.shown)
        self.update(output)
        selection = row(self.potential, self.channels)
        return stack(selection, self.figure, self.note, self.saving.layout)

    def shown(self) -> ShownChannels:
        """Return the shown data."""
        window = self.window.start, self.window.stop
        scales = Scales(self.window.scale, self.scale)
        channels = ids_of(self.channels.value)
        return ShownChannels(str(self.potential.value), channels, *window, scales)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the channels."""
        self.potential.options = [potential.name for potential in output.potentials]
        potential = ShownChannels(str(self.potential.value)).find(output)
        self.window.set_span(*span_of(potential.times))
        found = potential.find(self.shown().channels)
        columns = found[spread(len(found), _MAX_CHANNELS)]
        lines = reduce_traces(potential, columns, **self.window.drawn)
        stacked, step = stack_traces(lines.values)
        self.scale = scale = scale_of(lines.unit, np.asarray([step]))
        count = len(columns)
        ids = [str(one) for one in np.asarray(potential.channel_ids)[columns].tolist()]
        self.lines.data = line_data(lines.times * self.window.scale.factor, stacked, ids)
        self.figure.yaxis.ticker = list(range(count))
        self.figure.yaxis.major_label_overrides = dict(enumerate(ids))
        if count != self._count:
            self._count = count
            show_rows(self.figure.y_range, -1, count)
        some = drawn_note(count, len(found), "channels")
        distance = f"{step * scale.factor:.3g} {scale.symbol}".strip()
        self.note.text = small_text(
            f"{some}{distance} from one channel to the next; {_sampling(lines)}"
        )
        self.saving.refresh()
