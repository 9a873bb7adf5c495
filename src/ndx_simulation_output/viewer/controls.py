"""Controls of a view: compartment selection, time window, and buttons to save data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from bokeh.models import Button, CustomJS, PreText, Toggle
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import require_cells
from ndx_simulation_output.plots.downsampling import Recorded, row_blocks
from ndx_simulation_output.recording import CompartmentTable, Report, SimulationOutput
from ndx_simulation_output.recording.cells import Cells, parse_cells
from ndx_simulation_output.recording.ids import parse_ids, runs_of
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.figures import button
from ndx_simulation_output.viewer.session import Rows, Session, ViewedFile, on_value

IDS_HINT = "all, or ids such as 0-99, 512"
CELLS_HINT = "all, ids such as 0-99, properties such as layer=4, or a node set"

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
    """Buttons that save the data as CSV or the figures as PNG or SVG, or show code that reads them.

    ``shown`` and ``files`` are called when a button is pressed. ``figure`` is a figure or a layout
    with figures, which are saved as seen, text as text in SVG.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        figure: Any,
        shown: Callable[[], ShownData],
        files: Callable[[], Sequence[ViewedFile]],
    ) -> None:
        self._files, self._shown = files, shown
        stem = f"{session.file.path.stem}-{name}"
        url = session.offer_csv(f"{stem}.csv", lambda: read_rows(shown(), files()))
        csv, *images = (Button(label=label, **button()) for label in ("CSV", "PNG", "SVG"))
        csv.js_on_click(CustomJS(args={"url": url, "message": session.message}, code=_SAVE_CSV))
        for image in images:
            args = {"figure": figure, "stem": stem, "kind": image.label.lower()}
            image.js_on_click(CustomJS(args=args, code=_SAVE_IMAGE))
        self.toggle = Toggle(label="Python", **button())
        self.text = PreText(text="", visible=False, sizing_mode="stretch_width")
        on_value(self.toggle, "active", lambda _: self.refresh())
        self.buttons = images if session.is_saved else [csv, *images, self.toggle]

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
_SAVE_IMAGE = """
    const views = [];
    function collect(view) {
        if (view.model.type == "Figure") {
            if (view.model.visible) { views.push(view); }
        } else {
            (view.child_views ?? []).forEach(collect);
        }
    }
    function find(view) {
        if (view.model == figure) { collect(view); }
        else { (view.child_views ?? []).forEach(find); }
    }
    Object.values(Bokeh.index).forEach(find);
    const ground = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
    const width = Math.max(...views.map((one) => one.bbox.width));
    let height = 0;
    const tops = views.map((one) => (height += one.bbox.height) - one.bbox.height);
    const layers = views.map((one) => one.export(kind, true));
    function save(blob) {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = `${stem}.${kind}`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
    if (kind == "svg") {
        const parts = layers.map((layer, i) =>
            layer.ctx.get_serialized_svg(true).replace("<svg ", `<svg y="${tops[i]}" `));
        const size = `width="${width}" height="${height}"`;
        const head = `<svg xmlns="http://www.w3.org/2000/svg" ${size}>`;
        const text = `${head}<rect ${size} fill="${ground}"/>${parts.join("")}</svg>`;
        save(new Blob([text], {type: "image/svg+xml"}));
    } else {
        const ratio = layers[0].pixel_ratio;
        const canvas = document.createElement("canvas");
        canvas.width = width * ratio;
        canvas.height = height * ratio;
        const context = canvas.getContext("2d");
        context.fillStyle = ground;
        context.fillRect(0, 0, canvas.width, canvas.height);
        layers.forEach((layer, i) => context.drawImage(layer.canvas, 0, tops[i] * ratio));
        canvas.toBlob(save);
    }
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


def arguments_code(*parts: str, **options: Any) -> str:
    """Return the source code of arguments: ``parts`` that are not empty, and options not None."""
    named = (f"{name}={value!r}" for name, value in options.items() if value is not None)
    return ", ".join([*filter(None, parts), *named])


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


def find_named(items: Iterable[_Value], name: str, what: str, by: str = "name") -> _Value:
    """Return the item ``name``; raise NothingRecordedError if it is missing, e.g. in a new file."""
    for item in items:
        if getattr(item, by) == name:
            return item
    msg = f"the file has no {what} {name!r}"
    raise NothingRecordedError(msg)


@dataclass(frozen=True)
class SelectedCompartments:
    """Selection of compartments by cells and compartment numbers, where None selects all.

    ``some`` are indices of the selected ones, if only these are meant.
    """

    report: str
    cells: Cells | None = None
    numbers: tuple[int, ...] | None = None
    some: tuple[int, ...] | None = None

    def columns(self, report: Report) -> NDArray[np.intp]:
        """Return the column indices of the selected compartments."""
        found = report.compartments.find(self.cells, self.numbers)
        require_cells(report.population, self.cells, found)
        return found if self.some is None else found[list(self.some)]

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


def compartment_tooltips(table: CompartmentTable) -> list[tuple[str, str]]:
    """Return what the hover tells of a compartment, by the columns of its table."""
    known = {"label": "section", "number": "compartment", "position": "position"}
    names = known if table.n_compartments > len(table) else ()
    tooltips = [(known[name], f"@{name}") for name in names if name in table.columns]
    return [("cell", "@cell"), *tooltips]


def ids_of(text: str) -> tuple[int, ...] | None:
    """Parse ids; return None (all ids) if the text is empty."""
    return tuple(parse_ids(text).tolist()) if text.strip() else None


def cells_of(text: str) -> Cells | None:
    """Parse a choice of cells; return None (all cells) if the text is empty."""
    found = parse_cells(text) if text.strip() else None
    return tuple(found) if isinstance(found, list) else found
