"""Compare two runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Legend, LegendItem, Range1d, Select, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import reduce_traces, spread
from ndx_simulation_output.recording import RegularTimes, Report, SimulationOutput
from ndx_simulation_output.recording.arrays import Put
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Unit
from ndx_simulation_output.viewer.controls import CompartmentChoice, Saving, Window, span_of
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.session import Session, Source
from ndx_simulation_output.viewer.shown import Compartments, names_of, table_of, window_code
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, plain, small

# Two runs side by side: their difference as an array that is read as any other.


@dataclass(frozen=True)
class Difference:
    """The values of ``columns`` of ``one`` less those of ``other_columns`` of ``other``.

    It is read as a recording: ``data`` has shape (time, column), in ``unit``.
    """

    name: str
    one: Report
    other: Report
    columns: NDArray[np.intp]
    other_columns: NDArray[np.intp]
    times: Times

    @property
    def unit(self) -> Unit:
        """Unit of the values, those of both."""
        return Unit(self.one.unit.name)

    @property
    def data(self) -> "Difference":
        """What has the values: this itself."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return (self.times.count, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read rows and columns."""
        return self.take_columns(key[0], np.arange(self.shape[1])[key[1]])

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all."""
        wanted = np.arange(self.shape[1]) if columns is None else columns
        rows = slice(*rows.indices(self.times.count))
        values, others = (
            np.asarray(read_in_unit(report.data, rows, chosen[wanted], report.unit), np.float64)
            for report, chosen in ((self.one, self.columns), (self.other, self.other_columns))
        )
        values = values - others
        if put is not None:
            put(values, values)
        return values


def difference_of(
    one: Report, other: Report, columns: NDArray[np.intp], other_columns: NDArray[np.intp]
) -> Difference:
    """Give the difference of two reports at the times that both have.

    Raises
    ------
    ShapeMismatchError
        If their units or the times of their rows differ, or these are not as many columns: nothing
        is interpolated.

    """
    if one.unit.name != other.unit.name:
        msg = f"{one.name} is in {one.unit.name} here and in {other.unit.name} there"
        raise ShapeMismatchError(msg)
    if len(columns) != len(other_columns):
        msg = f"{one.name} has {len(columns)} such compartments here, {len(other_columns)} there"
        raise ShapeMismatchError(msg)
    return Difference(
        f"difference of {one.name}", one, other, columns, other_columns, _shared_times(one, other)
    )


def _shared_times(one: Report, other: Report) -> Times:
    count = min(one.times.count, other.times.count)
    if isinstance(one.times, RegularTimes) and isinstance(other.times, RegularTimes):
        step = 1 / one.times.rate
        last = max(count - 1, 0)
        apart = max(
            abs(one.times.start - other.times.start),
            abs(one.times.start + last * step - other.times.start - last / other.times.rate),
        )
        if apart <= 1e-6 * step:
            return RegularTimes(one.times.start, one.times.rate, count)
    else:
        shorter, longer = (one, other) if one.times.count == count else (other, one)
        if np.allclose(
            shorter.times.seconds(), longer.times.seconds(slice(0, count)), rtol=1e-9, atol=1e-12
        ):
            return shorter.times
    msg = f"the rows of {one.name} are at other times in one file than in the other: no difference"
    raise ShapeMismatchError(msg)


# Two runs: the same compartments over each other, and their difference.

_MOST = 12


@dataclass(frozen=True)
class ShownDifference:
    """The same compartments of a report of two outputs, first less second, at all shared times."""

    compartments: Compartments
    start: float | None = None
    stop: float | None = None
    imports = ()

    def find(self, *outputs: SimulationOutput) -> Difference:
        """Give what has the difference.

        Raises
        ------
        ShapeMismatchError
            If units, times or compartments differ.

        """
        one, other = (output[self.compartments.report] for output in outputs)
        columns = self.compartments.columns(one), self.compartments.columns(other)
        found = difference_of(one, other, *columns)
        if names_of(one, columns[0]) != names_of(other, columns[1]):
            msg = f"the chosen compartments of {one.name} are others in one file than in the other"
            raise ShapeMismatchError(msg)
        return found

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Read time and differences of each row."""
        found = self.find(*outputs)
        yield "time_s", *names_of(found.one, found.columns)
        columns = np.arange(len(found.columns))
        yield from table_of(found, columns, self.start, self.stop)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``times`` and ``values``."""
        window = window_code(self.start, self.stop)
        arguments = ", ".join(part for part in (self.compartments.code, window) if part)
        yield from (
            f"{name} = {output}[{self.compartments.report!r}].select({arguments})"
            for name, output in zip(("one", "two"), names, strict=True)
        )
        yield "rows = min(len(one.times), len(two.times))"
        yield "times = one.times[:rows]  # s"
        yield 'values = one.values[:rows].astype("f8") - two.values[:rows]'


class CompareView:
    """Traces of the file and of another one, and below them the first less the second."""

    title = "Compare"

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def other(self) -> Source:
        """The file that the first is compared with."""
        return self.session.sources[int(self.file.value)]

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        others = [
            (str(number), one.name)
            for number, one in enumerate(self.session.sources)
            if one is not self.session.source
        ]
        if not others:
            msg = "there is one file only; ndx-sim view ONE TWO compares two"
            raise NothingRecordedError(msg)
        self.file = Select(title="With", options=others, value=others[0][0], width=220)
        self.session.on_change(self.file, "value", self.update)
        self.choice = CompartmentChoice(self.session, output, self.update)
        self.sources = [
            ColumnDataSource({name: [] for name in ("xs", "ys", "color", "name")}) for _ in range(3)
        ]
        self.figure = new_figure("", "", height=320, x_range=Range1d(0, 1))
        self.below = new_figure("time", "difference", height=220, x_range=self.figure.x_range)
        items = []
        for source, dash, width in zip(self.sources, ("solid", "dashed"), (1.4, 1.8), strict=False):
            drawn = self.figure.multi_line(
                "xs", "ys", color="color", line_dash=dash, line_width=width, source=source
            )
            items.append(LegendItem(label={"field": "name"}, renderers=[drawn]))
        self.below.multi_line("xs", "ys", color="color", line_width=1.4, source=self.sources[2])
        self.legend = Legend(items=items, border_line_color=None, label_text_font_size="12px")
        self.figure.add_layout(self.legend, "right")
        self.window = Window(self.session, self.figure, self.update)
        self.note = new_text()
        both = [self.session.source, self.other]
        self.saving = Saving(self.session, "difference", self.figure, self.shown, both)
        self.update(output)
        return column(
            row(self.file, self.choice.row),
            self.figure,
            self.below,
            self.note,
            self.saving.layout,
            sizing_mode="stretch_width",
        )

    def shown(self) -> ShownDifference:
        """Give what is shown."""
        return ShownDifference(self.choice.compartments(), self.window.start, self.window.stop)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        with self.other.opened() as other:
            self._compare(output, other)
        self.saving.refresh()

    def _compare(self, output: SimulationOutput, other: SimulationOutput) -> None:
        self.choice.refresh(output)
        reports = [found[str(self.choice.report.value)] for found in (output, other)]
        self.window.show_all(*span_of(reports[0].times))
        shown = self.shown()
        chosen = [shown.compartments.columns(report) for report in reports]
        few = [columns[spread(len(columns), _MOST)] for columns in chosen]
        files = self.session.source.name, self.other.name
        for source, report, columns, file in zip(self.sources, reports, few, files, strict=False):
            lines = reduce_traces(report, columns, **self.window.drawn)
            scale = scale_of(lines.unit, lines.values)
            names = [f"{name}, {file}" for name in names_of(report, columns)]
            self._put(source, lines.times, lines.values * scale.factor, names)
            self.figure.yaxis.axis_label = plain(scale.label(report.variable or report.report))
        self.sources[2].data = {name: [] for name in ("xs", "ys", "color", "name")}
        found = shown.find(output, other)
        drawn = spread(len(found.columns), _MOST)
        lines = reduce_traces(found, drawn, **self.window.drawn)
        scale = scale_of(lines.unit, lines.values)
        names = names_of(reports[0], found.columns[drawn])
        self._put(self.sources[2], lines.times, lines.values * scale.factor, names)
        self.below.xaxis.axis_label = plain(self.window.scale.label("time"))
        self.below.yaxis.axis_label = plain(scale.label("difference"))
        most = float(np.nanmax(np.abs(lines.values), initial=0.0)) * scale.factor
        some = f"{len(drawn)} of {len(found.columns):,} compartments drawn; "
        left_out = some if len(drawn) < len(found.columns) else ""
        self.note.text = small(f"{left_out}largest difference drawn: {most:.4g} {scale.symbol}")

    def _put(
        self, source: ColumnDataSource, times: object, values: object, names: list[str]
    ) -> None:
        numbers = np.asarray(values, np.float64)
        source.data = {
            "xs": [np.asarray(times) * self.window.scale.factor] * len(names),
            "ys": list(numbers.T),
            "color": [COLORS[index % len(COLORS)] for index in range(len(names))],
            "name": names,
        }
