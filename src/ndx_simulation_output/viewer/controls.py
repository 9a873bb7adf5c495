"""Controls of a view: compartment selection, time window, and buttons to save data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from bokeh.events import RangesUpdate
from bokeh.layouts import row
from bokeh.models import Button, CustomJS, PreText, Select, TextInput, Toggle, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import require_cells
from ndx_simulation_output.plots.downsampling import Recorded, row_blocks, spread
from ndx_simulation_output.recording import (
    CellTable,
    CompartmentTable,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.recording.cells import Cells, parse_cells
from ndx_simulation_output.recording.ids import format_ids, parse_ids, runs_of
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Scale, time_scale
from ndx_simulation_output.viewer.figures import pixels_of, plain_text, stack
from ndx_simulation_output.viewer.session import Rows, Session, ViewedFile

IDS_HINT = "all, or ids such as 0-99, 512"
CELLS_HINT = "all, ids such as 0-99, properties such as layer=4, or a node set"

_FIRST_CELLS = 5
_MARGIN = 0.05

_Value = TypeVar("_Value")


class ShownData(Protocol):
    """Data displayed by a view, which can be exported as CSV or as Python code that reads them."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Import statements required by the code, in addition to that of ``open_output``."""

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Read the data as rows of a table."""

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read the data; ``names`` are the variables of the outputs."""


class SaveButtons:
    """Buttons that save the data as CSV or the figure as PNG, or display code that reads the data.

    ``shown`` and ``files`` (by default the file of the page) are called when a button is pressed.
    ``figure`` is a figure or a layout that contains one.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        figure: Any,
        shown: Callable[[], ShownData],
        files: Callable[[], Sequence[ViewedFile]] | None = None,
    ) -> None:
        file = session.file
        self._files = files or (lambda: [file])
        self._shown = shown
        stem = f"{file.path.stem}-{name}"
        url = session.offer_csv(f"{stem}.csv", lambda: read_rows(shown(), self._files()))
        csv, png = Button(label="CSV", width=70), Button(label="PNG", width=70)
        csv.js_on_click(CustomJS(args={"url": url, "message": session.message}, code=_SAVE_CSV))
        png.js_on_click(CustomJS(args={"figure": figure, "stem": stem}, code=_SAVE_PNG))
        self.toggle = Toggle(label="Python", width=80)
        self.text = PreText(text="", visible=False, sizing_mode="stretch_width")
        session.on_change(self.toggle, "active", lambda _: self.refresh())
        self.layout = stack(row(csv, png, self.toggle), self.text)

    def refresh(self) -> None:
        """Update the code if it is visible."""
        self.text.visible = bool(self.toggle.active)
        if self.text.visible:
            self.text.text = python_code(self._shown(), self._files())


_SAVE_CSV = """
    fetch(url + "?check").then((answer) => answer.text().then((text) => {
        if (answer.ok) {
            const link = document.createElement("a");
            link.href = url;
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


def read_rows(shown: ShownData, files: Sequence[ViewedFile]) -> Rows:
    """Yield the rows of the shown data, and close the files afterwards."""
    with ExitStack() as opened:
        yield from shown.rows(*(opened.enter_context(file.open_separately()) for file in files))


def python_code(shown: ShownData, files: Sequence[ViewedFile]) -> str:
    """Return a script that reads the shown data."""
    names = ("output", "other")[: len(files)]
    opened = ", ".join(
        f"open_output({_arguments(file)}) as {name}"
        for file, name in zip(files, names, strict=True)
    )
    imports = sorted([*shown.imports, "from ndx_simulation_output import open_output"])
    plain = [line for line in imports if line.startswith("import")]
    ours = [line for line in imports if not line.startswith("import")]
    lines = [*plain, *([""] if plain else []), *ours, "", f"with {opened}:"]
    lines += [f"    {line}" for line in shown.code(*names)]
    return "\n".join(lines) + "\n"


def _arguments(file: ViewedFile) -> str:
    options = "".join(f", {name}={value!r}" for name, value in file.options.items())
    return f"{str(file.path)!r}{options}"


@dataclass(frozen=True)
class Scales:
    """The scales of the axes of a figure, in which its data are saved.

    Without a ``value`` scale, values are in the unit of the data.
    """

    time: Scale = Scale(1.0, "s")  # noqa: RUF009 - frozen
    value: Scale | None = None

    def of(self, unit: str) -> Scale:
        """Return the scale of values in ``unit``."""
        return Scale(1.0, unit) if self.value is None else self.value


def recorded_rows(
    recorded: Recorded,
    columns: NDArray[np.intp],
    names: Iterable[str],
    window: tuple[float | None, float | None],
    scales: Scales,
) -> Rows:
    """Yield a header with units, then the time and the values of each row in a time window (s).

    Data are read in blocks.
    """
    scale = scales.of(recorded.unit.name)
    yield scales.time.label("time"), *map(scale.label, names)
    for rows in row_blocks(recorded.data, recorded.times.window(*window), len(columns)):
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        if scale.factor != 1:
            values = np.asarray(values, np.float64) * scale.factor
        times = recorded.times.seconds(rows) * scales.time.factor
        # Convert one row at a time: Python floats use several times the memory of an array.
        for time, line in zip(times.tolist(), values, strict=True):
            yield time, *line.tolist()


def window_code(start: float | None, stop: float | None) -> str:
    """Return a time window (s) as the source code of keyword arguments."""
    window = [("start", start), ("stop", stop)]
    return ", ".join(f"{name}={value!r}" for name, value in window if value is not None)


def ids_code(ids: Sequence[int]) -> str:
    """Return the source code of a list of ids, such as ``[*range(0, 3), 7]``."""
    parts = [
        str(run.start) if len(run) == 1 else f"*range({run.start}, {run.stop})"
        for run in runs_of(ids)
    ]
    return f"[{', '.join(parts)}]"


def cells_code(cells: Any) -> str:
    """Return the source code of a choice of cells."""
    return repr(cells) if isinstance(cells, str | Mapping) else ids_code(cells)


def find_named(named: Iterable[tuple[str, _Value]], name: str, what: str) -> _Value:
    """Return the item ``name``; raise NothingRecordedError if it is missing, e.g. in a new file."""
    for found, item in named:
        if found == name:
            return item
    msg = f"the file has no {what} {name!r}"
    raise NothingRecordedError(msg)


@dataclass(frozen=True)
class SelectedCompartments:
    """Selection of compartments by cells and compartment numbers, where None selects all."""

    report: str
    cells: Cells | None = None
    numbers: tuple[int, ...] | None = None

    @property
    def is_all(self) -> bool:
        """True if all compartments are selected."""
        return self.cells is None and self.numbers is None

    def columns(self, report: Report) -> NDArray[np.intp]:
        """Return the column indices of the selected compartments."""
        found = report.compartments.find(self.cells, self.numbers)
        require_cells(report.population, self.cells, found)
        return found

    @property
    def code(self) -> str:
        """The selection as the source code of keyword arguments."""
        chosen = [("cells", self.cells), ("numbers", self.numbers)]
        return ", ".join(f"{name}={cells_code(some)}" for name, some in chosen if some is not None)


def compartment_names(report: Report, columns: NDArray[np.intp]) -> list[str]:
    """Return labels with cell id, and number and position if cells have several compartments."""
    table = report.compartments
    cells = table.cells_of(columns).tolist()
    if table.n_compartments == len(table):
        return [f"cell {cell}" for cell in cells]
    numbers = table.values("number", columns).tolist()
    if "position" not in table.columns:
        return [f"cell {cell}: {number}" for cell, number in zip(cells, numbers, strict=True)]
    positions = table.values("position", columns).tolist()
    return [
        f"cell {cell}: {number} ({position:.3g})"
        for cell, number, position in zip(cells, numbers, positions, strict=True)
    ]


def ids_of(text: str) -> tuple[int, ...] | None:
    """Parse ids; return None (all ids) if the text is empty."""
    return tuple(parse_ids(text).tolist()) if text.strip() else None


def cells_of(text: str) -> Cells | None:
    """Parse a choice of cells; return None (all cells) if the text is empty."""
    found = parse_cells(text) if text.strip() else None
    return tuple(found) if isinstance(found, list) else found


class PropertyChoice:
    """A widget to select a property of cells by which they are grouped and coloured.

    It is hidden if no property is known.
    """

    def __init__(
        self,
        session: Session,
        changed: Callable[[SimulationOutput], object],
        first: str = "nothing",
    ) -> None:
        self._first = first
        self.select = Select(title="Colour by", options=[first], value=first, width=150)
        self.select.visible = False
        session.on_change(self.select, "value", changed)

    def offer(self, cells: CellTable | None) -> None:
        """Offer the properties of a table of cells."""
        columns = {} if cells is None else cells.columns
        names = [name for name, values in columns.items() if len(values.shape) == 1]
        self.select.options = [self._first, *names]
        self.select.visible = bool(names)

    @property
    def name(self) -> str | None:
        """The selected property, None if there is none."""
        known = self.select.options[1:]
        return str(self.select.value) if self.select.value in known else None


class CompartmentChoice:
    """Widgets to select a report, cells and compartments, which are entered as text.

    ``changed`` is called with the open file whenever the selection changes. ``first`` is the name
    of the initial report, by default the first of the file. If ``suggests``, some of its cells are
    selected initially.
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
            msg = f"{session.file.name} has no reports (values of compartments over time)"
            raise NothingRecordedError(msg)
        names = [report.name for report in output.reports]
        self._suggests, self._is_quiet = suggests, False
        self.report = Select(title="Report", options=names, value=first or names[0], width=220)
        self.cells = TextInput(title="Cells", placeholder=CELLS_HINT, width=420)
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

    @property
    def compartments(self) -> SelectedCompartments:
        """The selected compartments."""
        return SelectedCompartments(
            str(self.report.value), cells_of(self.cells.value), ids_of(self.numbers.value)
        )

    def find_report(self, output: SimulationOutput) -> Report:
        """Return the selected report, and update the options of the report widget."""
        self.report.options = [report.name for report in output.reports]
        return output[str(self.report.value)]

    def _suggest(self, output: SimulationOutput) -> None:
        """Select some cells without calling ``changed``."""
        if not self._suggests:
            return
        table = output[str(self.report.value)].compartments
        self._is_quiet = True
        self.cells.value, self.numbers.value = _first_choice(table)
        self._is_quiet = False


def _first_choice(table: CompartmentTable) -> tuple[str, str]:
    """Return ids of some evenly spaced cells, and their lowest common compartment number."""
    counts = table.counts()
    rows = np.flatnonzero(counts)
    rows = rows[spread(len(rows), _FIRST_CELLS)]
    cells = np.asarray(table.cell_ids[:])[rows].tolist()
    if not cells or (counts[rows] == 1).all():
        return format_ids(cells), ""
    numbers = [set(table.values("number", table.find(cell)).tolist()) for cell in cells]
    shared = set.intersection(*numbers)
    return format_ids(cells), str(min(shared)) if shared else ""


class TimeWindow:
    """The time window of a figure; ``changed`` is called with the open file after zooming.

    ``scale`` converts seconds to the unit of the time axis.
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

    def set_span(self, first: float, last: float) -> None:
        """Set the full time range (s), and zoom to it unless the user has zoomed in."""
        last = last if last > first else first + 1e-3
        if (first, last) == self._span:
            return
        was_all = self.start is None and self.stop is None
        self._span = first, last
        scale = time_scale(last - first)
        x_range = self.figure.x_range
        ends = first * scale.factor, last * scale.factor
        x_range.reset_start, x_range.reset_end = ends
        if was_all or scale != self.scale:
            self.scale = scale
            x_range.start, x_range.end = ends
            self.figure.xaxis.axis_label = plain_text(scale.label("time"))

    @property
    def start(self) -> float | None:
        """Start of the window (s), or None if the window includes the first time."""
        start = self._ends[0]
        return None if start <= self._span[0] + self._tolerance else start

    @property
    def stop(self) -> float | None:
        """End of the window (s), or None if the window includes the last time."""
        stop = self._ends[1]
        return None if stop >= self._span[1] - self._tolerance else stop

    @property
    def drawn(self) -> dict[str, Any]:
        """Keyword arguments of ``reduce_traces``, with a margin so that lines reach the edges."""
        margin = _MARGIN * (self._ends[1] - self._ends[0])
        start, stop = self.start, self.stop
        return {
            "start": None if start is None else start - margin,
            "stop": None if stop is None else stop + margin,
            "pixels": round(pixels_of(self.figure)[1] * (1 + 2 * _MARGIN)),
        }

    @property
    def _ends(self) -> tuple[float, float]:
        x_range = self.figure.x_range
        return float(x_range.start) / self.scale.factor, float(x_range.end) / self.scale.factor

    @property
    def _tolerance(self) -> float:
        return 1e-9 * (self._span[1] - self._span[0])

    def _moved(self, _: RangesUpdate) -> None:
        self._session.run_later(self._read)

    def _read(self) -> None:
        self._session.run(self._changed)


def span_of(times: Times) -> tuple[float, float]:
    """Return the first and the last time (s), or (0, 1) if there are no times."""
    if not times.count:
        return 0.0, 1.0
    first, last = (float(times.seconds(slice(row, row + 1))[0]) for row in (0, times.count - 1))
    return first, last
