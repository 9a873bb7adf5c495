"""The widgets that choose compartments, and those that save what is shown."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, PreText, Select, TextInput, Toggle, UIElement

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording import CompartmentTable, SimulationOutput
from ndx_simulation_output.recording.ids import format_ids, parse_ids
from ndx_simulation_output.recording.reduced import spread
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.shown import Compartments, Shown, python_of, rows_of
from ndx_simulation_output.viewer.sources import Source

__all__ = ["CompartmentChoice", "Saving", "ids_of"]

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
