"""Views of traces, of heat maps of compartments, and of extracellular channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import (
    Range1d,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import (
    How,
    Lines,
    reduce_traces,
    spread,
    stack_traces,
)
from ndx_simulation_output.plots.heat_maps import HeatMap, reduce_heat_map
from ndx_simulation_output.recording import ExtracellularPotential, Report, SimulationOutput
from ndx_simulation_output.viewer.controls import (
    Scales,
    SelectedCompartments,
    cells_of,
    compartment_names,
    find_named,
    ids_code,
    recorded_rows,
    window_code,
)
from ndx_simulation_output.viewer.figures import (
    empty_source,
    line_data,
    new_figure,
    pixels_of,
    show_rows,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

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


class TracesPanel(Panel):
    """Traces of some compartments of a report over one another; picked cells are the first."""

    kind = "traces"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the reports."""
        for rank, report in enumerate(output.reports):
            about = f"{report.data.shape[1]:,} compartments"
            yield Offer(PanelState("traces", report.name), "Reports", report.name, about, 20 + rank)

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Traces of {self.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure."""
        self.figure = new_figure(
            "", "", height=260, x_range=self.session.time.x_range, y_range=Range1d(-1, 1)
        )
        self.lines = empty_source("xs", "ys", "color", "name", "cell")
        self.figure.multi_line(
            "xs", "ys", color="color", line_width=1.3, line_join="round", source=self.lines,
            nonselection_alpha=0.6, selection_color=ACCENT, selection_line_width=1.8,
        )  # fmt: skip
        self.link(output[self.name].population, self.lines)
        self.figure.ygrid.visible = False
        self.add_figure(self.figure)
        self.scale: Scale | None = None
        self._cells: list[int] = []
        return self.figure  # type: ignore[no-any-return]

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the traces."""
        report = output[self.name]
        time = self.session.time
        found = report.compartments.find(cells_of(self.session.cells))
        columns = found[spread(len(found), int(self.options.get("count", 8)))]
        population, ids = self.session.picked
        if population == report.population:
            known = [one for one in ids if one in report.compartments.cell_ids[:]]
            picked = report.compartments.find(known)[:2] if known else []
            columns = np.array(list(dict.fromkeys([*picked, *columns])), np.intp)
        lines = reduce_traces(report, columns, **time.drawn(pixels_of(self.figure)[1]))
        stacked, step = stack_traces(lines.values)
        names = compartment_names(report, columns)
        self._cells = report.compartments.cells_of(columns).tolist()
        self.lines.data = {
            **line_data(lines.times * time.scale.factor, stacked, names),
            "cell": self._cells,
        }
        self.scale = scale = scale_of(lines.unit, np.asarray([step]))
        self.figure.yaxis.ticker = list(range(len(columns)))
        self.figure.yaxis.major_label_overrides = dict(enumerate(names))
        show_rows(self.figure.y_range, -1, len(columns))
        self.say(f"{step * scale.factor:.3g} {scale.symbol} from one trace to the next")

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:
        """Pick the cell of the nearest trace."""
        row = round(y)
        if not 0 <= row < len(self._cells):
            return False
        at = x / self.session.time.scale.factor
        self.session.pick(output[self.name].population, [self._cells[row]], at=at)
        return True

    def shown(self) -> ShownTraces:
        """Return the shown data."""
        time = self.session.time
        chosen = SelectedCompartments(self.name, tuple(dict.fromkeys(self._cells)))
        return ShownTraces(chosen, time.start, time.stop, Scales(time.scale, self.scale))


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
