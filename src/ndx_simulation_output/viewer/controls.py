"""Widgets: choose compartments, save, zoom."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import RangesUpdate
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, PreText, Select, TextInput, Toggle, UIElement

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.recording import CompartmentTable, SimulationOutput
from ndx_simulation_output.recording.ids import format_ids, parse_ids
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.units import Scale, time_scale
from ndx_simulation_output.viewer.session import Session, Source
from ndx_simulation_output.viewer.shown import Compartments, Shown, python_of, rows_of
from ndx_simulation_output.viewer.theme import plain

# Zooming that reads again: what is to be seen, in the units of what is stored.

_PIXELS = 400, 1100
"""What a figure is taken for until the browser has told how large it is."""

_BEYOND = 0.05


def pixels_of(figure: Any) -> tuple[int, int]:
    """Give the height and width of the inside of a figure."""
    try:
        height, width = int(figure.inner_height), int(figure.inner_width)
    except UnsetValueError:
        return _PIXELS
    return (height, width) if height > 0 and width > 0 else _PIXELS


def span_of(times: Times) -> tuple[float, float]:
    """Give the first and the last time (s), 0 and 1 where there are none."""
    if not times.count:
        return 0.0, 1.0
    first, last = (float(times.seconds(slice(row, row + 1))[0]) for row in (0, times.count - 1))
    return first, last


class Window:
    """The window of time that a figure shows; ``changed`` is called when zooming has come to rest.

    ``scale`` says in which unit the figure shows times.
    """

    def __init__(
        self, session: Session, figure: Any, changed: Callable[[SimulationOutput], object]
    ) -> None:
        self.figure = figure
        self.scale = Scale(1.0, "s")
        self._span = 0.0, 1.0
        self._changed = changed
        self._session = session
        figure.on_event(RangesUpdate, self._moved)

    def show_all(self, first: float, last: float) -> None:
        """Show all times from the first to the last (s), unless that is what was shown before."""
        last = last if last > first else first + 1e-3
        if (first, last) == self._span:
            return
        was_all = self.start is None and self.stop is None
        self._span = first, last
        scale = time_scale(last - first)
        if was_all or scale != self.scale:
            self.scale = scale
            ends = first * scale.factor, last * scale.factor
            shown = self.figure.x_range
            shown.start, shown.end = shown.reset_start, shown.reset_end = ends
            self.figure.xaxis.axis_label = plain(scale.label("time"))
        else:
            self.figure.x_range.reset_start = first * scale.factor
            self.figure.x_range.reset_end = last * scale.factor

    @property
    def start(self) -> float | None:
        """When the window begins (s), None where it shows the first time."""
        begin = self._ends[0]
        return None if begin <= self._span[0] + self._slack else begin

    @property
    def stop(self) -> float | None:
        """When the window ends (s), None where it shows the last time."""
        end = self._ends[1]
        return None if end >= self._span[1] - self._slack else end

    @property
    def drawn(self) -> dict[str, Any]:
        """What ``reduce_traces`` is to read: a little beyond the window, so that lines reach it."""
        margin = _BEYOND * (self._ends[1] - self._ends[0])
        start, stop = self.start, self.stop
        return {
            "start": None if start is None else start - margin,
            "stop": None if stop is None else stop + margin,
            "pixels": round(pixels_of(self.figure)[1] * (1 + 2 * _BEYOND)),
        }

    @property
    def _ends(self) -> tuple[float, float]:
        shown = self.figure.x_range
        return float(shown.start) / self.scale.factor, float(shown.end) / self.scale.factor

    @property
    def _slack(self) -> float:
        return 1e-9 * (self._span[1] - self._span[0])

    def _moved(self, _: RangesUpdate) -> None:
        self._session.soon(self._read)

    def _read(self) -> None:
        self._session.run(self._changed)


# The widgets that choose compartments, and those that save what is shown.

_FIRST_CELLS = 5


def ids_of(text: str) -> tuple[int, ...] | None:
    """Read ids as ``parse_ids`` does; None, for all, where there is nothing but spaces."""
    return tuple(parse_ids(text).tolist()) if text.strip() else None


class CompartmentChoice:
    """Which report, and which cells and numbers of compartments, as text: there may be millions.

    ``changed`` is called with the open file whenever the choice changes. The report ``first`` is
    chosen to begin with, by default that which is first, and some cells, unless ``suggests`` is
    false.

    Raises
    ------
    NothingRecordedError
        If there are no reports.

    """

    def __init__(
        self,
        session: Session,
        output: SimulationOutput,
        changed: Callable[[SimulationOutput], object],
        *,
        first: str | None = None,
        suggests: bool = True,
    ) -> None:
        if not output.reports:
            msg = f"{session.source.name} has no reports: no values of compartments over time"
            raise NothingRecordedError(msg)
        names = [report.name for report in output.reports]
        self._suggests, self._is_quiet = suggests, False
        self.report = Select(title="Report", options=names, value=first or names[0], width=220)
        self.cells = TextInput(title="Cells", placeholder="all, or ids such as 0-99, 512")
        self.numbers = TextInput(title="Compartments", placeholder="all numbers", width=150)
        self._suggest(output)

        def report_changed(output: SimulationOutput) -> None:
            self._suggest(output)
            changed(output)

        def ids_changed(output: SimulationOutput) -> None:
            if not self._is_quiet:
                changed(output)

        session.on_change(self.report, "value", report_changed)
        for widget in (self.cells, self.numbers):
            session.on_change(widget, "value", ids_changed)

    @property
    def row(self) -> UIElement:
        """The widgets in a row."""
        return row(self.report, self.cells, self.numbers)

    def refresh(self, output: SimulationOutput) -> None:
        """Offer the reports that there are now."""
        self.report.options = [report.name for report in output.reports]

    def compartments(self) -> Compartments:
        """Give what is chosen.

        Raises
        ------
        SelectionError
            If the text is not understood.

        """
        return Compartments(
            str(self.report.value), ids_of(self.cells.value), ids_of(self.numbers.value)
        )

    def _suggest(self, output: SimulationOutput) -> None:
        """Put in cells to begin with, without telling of it."""
        if not self._suggests:
            return
        table = output[str(self.report.value)].compartments
        self._is_quiet = True
        self.cells.value, self.numbers.value = _first_choice(table)
        self._is_quiet = False


def _first_choice(table: CompartmentTable) -> tuple[str, str]:
    """Suggest some cells, evenly spread, and the first number that all of them have."""
    counts = table.counts()
    rows = np.flatnonzero(counts)
    rows = rows[spread(len(rows), _FIRST_CELLS)]
    cells = np.asarray(table.cell_ids[:])[rows].tolist()
    if not cells or (counts[rows] == 1).all():
        return format_ids(cells), ""
    numbers = [set(table.values("number", table.find(cell)).tolist()) for cell in cells]
    shared = set.intersection(*numbers)
    return format_ids(cells), str(min(shared)) if shared else ""


class Saving:
    """Buttons that save what is shown: as CSV, as PNG, and as lines of Python.

    ``shown`` gives what that is when a button is pressed. ``figure`` is a figure, or what holds it.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        figure: Any,
        shown: Callable[[], Shown],
        sources: Sequence[Source] | None = None,
    ) -> None:
        self._sources = sources or [session.source]
        self._shown = shown
        stem = f"{self._sources[0].path.stem}-{name}"
        address = session.offer(f"{stem}.csv", lambda: rows_of(shown(), self._sources))
        csv, png = Button(label="CSV", width=70), Button(label="PNG", width=70)
        csv.js_on_click(
            CustomJS(args={"address": address, "message": session.message}, code=_SAVE_CSV)
        )
        png.js_on_click(CustomJS(args={"figure": figure, "stem": stem}, code=_SAVE_PNG))
        self.toggle = Toggle(label="Python", width=80)
        self.text = PreText(text="", visible=False, sizing_mode="stretch_width")
        session.on_change(self.toggle, "active", lambda _: self.refresh())
        buttons = row(csv, png, self.toggle)
        self.layout = column(buttons, self.text, sizing_mode="stretch_width")

    def refresh(self) -> None:
        """Show the lines for what is shown now, if they are asked for."""
        self.text.visible = bool(self.toggle.active)
        if self.text.visible:
            self.text.text = python_of(self._shown(), self._sources)


_SAVE_CSV = """
    fetch(address + "?check").then((answer) => answer.text().then((text) => {
        if (answer.ok) {
            const link = document.createElement("a");
            link.href = address;
            link.download = "";
            link.click();
        } else {
            const box = document.createElement("span");
            box.className = "error";
            box.textContent = text;
            message.text = box.outerHTML;
        }
    }));
"""
_SAVE_PNG = """
    let shown = figure;
    while (shown && !shown.toolbar) { shown = (shown.children || [])[0]; }
    if (!shown) { return; }
    const tool = shown.toolbar.tools.find((one) => one.type == "SaveTool");
    tool.filename = stem;
    tool.do.emit("save");
"""
