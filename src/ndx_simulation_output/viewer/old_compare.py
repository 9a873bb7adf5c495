"""View of two files: the same traces of both, and their difference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import Range1d, Select, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import reduce_traces, spread
from ndx_simulation_output.recording import RegularTimes, Report, SimulationOutput
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Scale, Unit
from ndx_simulation_output.viewer.controls import (
    CompartmentChoice,
    SaveButtons,
    Scales,
    SelectedCompartments,
    TimeWindow,
    compartment_names,
    recorded_rows,
    span_of,
    window_code,
)
from ndx_simulation_output.viewer.figures import (
    add_legend,
    add_lines,
    drawn_note,
    line_data,
    new_figure,
    new_text,
    plain_text,
    small_text,
    stack,
)
from ndx_simulation_output.viewer.session import Rows, View, ViewedFile

_MAX_TRACES = 12


def difference_of(
    one: Report, other: Report, columns: NDArray[np.intp], other_columns: NDArray[np.intp]
) -> "Difference":
    """Return the difference of two reports at their shared times, without interpolation."""
    if one.unit.name != other.unit.name:
        msg = (
            f"the units of {one.name} differ: {one.unit.name} in the first file, "
            f"{other.unit.name} in the second"
        )
        raise ShapeMismatchError(msg)
    if len(columns) != len(other_columns):
        msg = (
            f"the selected compartments of {one.name} differ: {len(columns)} in the first file, "
            f"{len(other_columns)} in the second"
        )
        raise ShapeMismatchError(msg)
    times = _shared_times(one, other)
    return Difference(f"difference of {one.name}", one, other, columns, other_columns, times)


def _shared_times(one: Report, other: Report) -> Times:
    count = min(one.times.count, other.times.count)
    if isinstance(one.times, RegularTimes) and isinstance(other.times, RegularTimes):
        step = 1 / one.times.rate
        last = max(count - 1, 0)
        distance = max(
            abs(one.times.start - other.times.start),
            abs(one.times.start + last * step - other.times.start - last / other.times.rate),
        )
        if distance <= 1e-6 * step:
            return RegularTimes(one.times.start, one.times.rate, count)
    else:
        shorter, longer = (one, other) if one.times.count == count else (other, one)
        if np.allclose(
            shorter.times.seconds(), longer.times.seconds(slice(0, count)), rtol=1e-9, atol=1e-12
        ):
            return shorter.times
    msg = f"the times of {one.name} differ between the two files; nothing is interpolated"
    raise ShapeMismatchError(msg)


@dataclass(frozen=True)
class Difference(LazyArrayBase):
    """Lazily computed ``columns`` of ``one`` minus ``other_columns`` of ``other``.

    ``data`` has shape (time, column), in ``unit``.
    """

    name: str
    one: Report
    other: Report
    columns: NDArray[np.intp]
    other_columns: NDArray[np.intp]
    times: Times

    @property
    def unit(self) -> Unit:
        """Unit of the values."""
        return Unit(self.one.unit.name, checked=False)

    @property
    def data(self) -> "Difference":
        """The object itself, which is indexed like an array."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return (self.times.count, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._columns(slices[0], np.arange(self.shape[1])[slices[1]])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        selected = np.arange(self.shape[1]) if columns is None else columns
        rows = slice(*rows.indices(self.times.count))
        values, others = (
            np.asarray(
                read_in_unit(report.data, rows, of_report[selected], report.unit), np.float64
            )
            for report, of_report in ((self.one, self.columns), (self.other, self.other_columns))
        )
        return values - others


@dataclass(frozen=True)
class ShownDifference:
    """Differences (first minus second) of a report in two outputs, at their shared times."""

    compartments: SelectedCompartments
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ()

    def find(self, *outputs: SimulationOutput) -> Difference:
        """Return the difference; units, times and compartments of the outputs must match."""
        one, other = (output[self.compartments.report] for output in outputs)
        columns = self.compartments.columns(one), self.compartments.columns(other)
        found = difference_of(one, other, *columns)
        if compartment_names(one, columns[0]) != compartment_names(other, columns[1]):
            msg = f"the selected compartments of {one.name} differ between the two files"
            raise ShapeMismatchError(msg)
        return found

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the differences of each row."""
        found = self.find(*outputs)
        names = compartment_names(found.one, found.columns)
        columns = np.arange(len(found.columns))
        yield from recorded_rows(found, columns, names, (self.start, self.stop), self.scales)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``values``."""
        window = window_code(self.start, self.stop)
        arguments = ", ".join(part for part in (self.compartments.code, window) if part)
        yield from (
            f"{name} = {output}[{self.compartments.report!r}].select({arguments})"
            for name, output in zip(("one", "two"), names, strict=True)
        )
        yield "rows = min(len(one.times), len(two.times))"
        yield "times = one.times[:rows]  # s"
        yield 'values = one.values[:rows].astype("f8") - two.values[:rows]'


class CompareView(View):
    """Traces of two files, and below them their difference (first minus second)."""

    title = "Compare"

    @property
    def other(self) -> ViewedFile:
        """The selected file to compare with."""
        return self.session.files[int(self.file.value)]

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        others = [
            (str(number), file.name)
            for number, file in enumerate(self.session.files)
            if file is not self.session.file
        ]
        if not others:
            msg = "only one file is open; ndx-sim view ONE TWO compares two files"
            raise NothingRecordedError(msg)
        self.file = Select(title="With", options=others, value=others[0][0], width=220)
        self.session.on_change(self.file, "value", self.update)
        self.choice = CompartmentChoice(self.session, output, self.update)
        self.figure = new_figure("", "", height=320, x_range=Range1d(0, 1))
        self.below = new_figure("time", "difference", height=220, x_range=self.figure.x_range)
        one, solid = add_lines(self.figure, line_width=1.4)
        two, dashed = add_lines(self.figure, line_width=1.8, line_dash="dashed")
        difference, _ = add_lines(self.below, line_width=1.4)
        self.sources = one, two, difference
        add_legend(self.figure, solid, dashed)
        self.window = TimeWindow(self.session, self.figure, self.update)
        self.note = new_text()
        self.scale: Scale | None = None
        file = self.session.file
        self.saving = SaveButtons(
            self.session, "difference", self.figure, self.shown, lambda: [file, self.other]
        )
        self.update(output)
        selection = row(self.file, self.choice.row)
        return stack(selection, self.figure, self.below, self.note, self.saving.layout)

    def shown(self) -> ShownDifference:
        """Return the shown data."""
        window = self.window.start, self.window.stop
        scales = Scales(self.window.scale, self.scale)
        return ShownDifference(self.choice.compartments, *window, scales)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the traces of both files."""
        with self.other.open() as other:
            self._draw(output, other)
        self.saving.refresh()

    def _draw(self, output: SimulationOutput, other: SimulationOutput) -> None:
        reports = [self.choice.find_report(output), other[str(self.choice.report.value)]]
        self.window.set_span(*span_of(reports[0].times))
        shown = self.shown()
        columns = [shown.compartments.columns(report) for report in reports]
        names = self.session.file.name, self.other.name
        time_factor = self.window.scale.factor
        for source, report, all_columns, name in zip(
            self.sources, reports, columns, names, strict=False
        ):
            some = all_columns[spread(len(all_columns), _MAX_TRACES)]
            lines = reduce_traces(report, some, **self.window.drawn)
            scale = scale_of(lines.unit, lines.values)
            labels = [f"{compartment}, {name}" for compartment in compartment_names(report, some)]
            source.data = line_data(lines.times * time_factor, lines.values * scale.factor, labels)
            self.figure.yaxis.axis_label = plain_text(scale.label(report.variable or report.report))
        difference = self.sources[2]
        # Clear the previous difference, in case the next lines raise an error.
        difference.data = {name: [] for name in difference.data}
        found = shown.find(output, other)
        drawn = spread(len(found.columns), _MAX_TRACES)
        lines = reduce_traces(found, drawn, **self.window.drawn)
        self.scale = scale = scale_of(lines.unit, lines.values)
        labels = compartment_names(reports[0], found.columns[drawn])
        difference.data = line_data(lines.times * time_factor, lines.values * scale.factor, labels)
        self.below.xaxis.axis_label = plain_text(self.window.scale.label("time"))
        self.below.yaxis.axis_label = plain_text(scale.label("difference"))
        largest = float(np.nanmax(np.abs(lines.values), initial=0.0)) * scale.factor
        note = drawn_note(len(drawn), len(found.columns), "compartments")
        self.note.text = small_text(f"{note}largest difference drawn: {largest:.4g} {scale.symbol}")
