"""View of neurons at their spatial coordinates."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.events import Pan
from bokeh.layouts import row
from bokeh.models import (
    CustomJS,
    HoverTool,
    LinearColorMapper,
    Range1d,
    ResetTool,
    SaveTool,
    ScaleBar,
    Slider,
    Toggle,
    UIElement,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.plots.groups import group_cells
from ndx_simulation_output.plots.shapes import (
    color_limits,
    neuron_shape,
    read_coordinates,
    read_frames,
    reports_in_space,
    sections_of,
)
from ndx_simulation_output.recording import Report, SimulationOutput
from ndx_simulation_output.recording.units import Scale, time_scale
from ndx_simulation_output.viewer.controls import (
    CompartmentChoice,
    PropertyChoice,
    SaveButtons,
    Scales,
    SelectedCompartments,
    span_of,
)
from ndx_simulation_output.viewer.figures import (
    NAN_COLOR,
    GroupLegend,
    add_color_bar,
    empty_source,
    new_text,
    plain_text,
    small_text,
    stack,
    style_figure,
)
from ndx_simulation_output.viewer.session import Rows, View, on_value

_MAX_COMPARTMENTS = 20_000
_COLOR_TIMES, _COLOR_COMPARTMENTS = 25, 1000
"""The colour range is that of so many times and compartments."""

_MAX_STEPS = 1000
_PLAY_MS = 80
_MAX_SIZED = 500
"""From this number of spots on, all have the same size."""

_LINES = ("xs", "ys", "x", "y", "z", "value", "width", "cell", "color")
_SPOTS = ("xs", "ys", "x", "y", "z", "value", "size", "cell", "color")


@dataclass(frozen=True)
class ShownFrame:
    """Coordinates of compartments, and values at the sample nearest to the time ``at`` (s)."""

    compartments: SelectedCompartments
    at: float
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ("from ndx_simulation_output.plots import read_coordinates, read_frames",)

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield cell, number, coordinates, diameter and value of each compartment."""
        report = outputs[0][self.compartments.report]
        found = read_coordinates(report.compartments, self.compartments.columns(report))
        frame = read_frames(report, found.columns, at=self.at)
        places = ("x (µm)", "y (µm)", "z (µm)", "diameter (µm)")
        scale = self.scales.of(frame.unit)
        yield "cell", "number", *places, scale.label(report.variable or report.report)
        values = frame.values[0] * scale.factor
        columns = (found.cells, found.numbers, *found.points.T, found.diameters, values)
        yield from zip(*(column.tolist() for column in columns), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``coordinates`` and ``values``."""
        yield f"report = {names[0]}[{self.compartments.report!r}]"
        yield f"columns = report.compartments.find({self.compartments.code})"
        yield "coordinates = read_coordinates(report.compartments, columns)  # points in µm"
        yield f"frame = read_frames(report, coordinates.columns, at={self.at!r})"
        yield "values = frame.values[0]  # in frame.unit"


class NeuronView(View):
    """Compartments at their coordinates, coloured by value at the time selected with a slider."""

    title = "Neuron"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        names = [report.name for report in reports_in_space(output)]
        if not names:
            msg = (
                f"{self.session.file.name} has no coordinates of compartments (columns x, y and "
                "z); the heat map shows the values"
            )
            raise NothingRecordedError(msg)
        self.choice = CompartmentChoice(
            self.session, output, self.update, first=names[0], suggests=False
        )
        self.group = PropertyChoice(self.session, self.update, "value")
        self._make_figure()
        self.time = Slider(
            title="time", start=0, end=1, value=0, step=1, width=520, format="0[.]000"
        )
        self.session.on_change(self.time, "value", self._recolour)
        self.play = Toggle(label="Play", width=70)
        on_value(self.play, "active", lambda on: self._play(on=bool(on)))
        self._playing: Any = None
        self._drawn: tuple[object, ...] = ()
        self.value_scale: Scale | None = None
        self.note = new_text()
        self.saving = SaveButtons(self.session, "neuron", self.figure, self.shown)
        self.update(output)
        times = row(self.time, self.play)
        selection = row(self.choice.row, self.group.select)
        return stack(selection, times, self.figure, self.note, self.saving.layout)

    def _make_figure(self) -> None:
        self.figure = figure(
            frame_width=720,
            frame_height=520,
            x_range=Range1d(-1, 1),
            y_range=Range1d(-1, 1),
            tools=[WheelZoomTool(), ResetTool(), SaveTool()],
            toolbar_location="above",
        )
        style_figure(self.figure)
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.colors = LinearColorMapper("Viridis256", nan_color="#c9d0d8")
        self.grey, self.lines = empty_source(*_LINES), empty_source(*_LINES)
        self.spots = empty_source(*_SPOTS)
        self.by_value: Any = {"field": "value", "transform": self.colors}
        color = self.by_value
        self.figure.multi_line(
            "xs", "ys", line_width="width", color="#d3d9df", line_cap="round", source=self.grey
        )
        drawn = self.figure.multi_line(
            "xs", "ys", line_width="width", color=color, line_cap="round", source=self.lines
        )
        spots = self.figure.scatter(
            "xs", "ys", size="size", fill_color=color, line_color=None, source=self.spots
        )
        tooltips = [("cell", "@cell"), ("value", "@value")]
        self.figure.add_tools(HoverTool(tooltips=tooltips, renderers=[drawn, spots]))
        self.glyphs = drawn.glyph, spots.glyph
        self.bar = add_color_bar(self.figure, self.colors)
        self.legend = GroupLegend(self.figure)
        self.figure.add_layout(
            ScaleBar(
                range=self.figure.x_range,
                unit="µm",
                location="bottom_left",
                background_fill_alpha=0.6,
                border_line_color=None,
            )
        )
        rotated = {"figure": self.figure, "sources": [self.grey, self.lines, self.spots]}
        self.figure.js_on_event(Pan, CustomJS(args=rotated, code=_ROTATE))

    def shown(self) -> ShownFrame:
        """Return the shown data."""
        at, scales = self.time.value / self.scale.factor, Scales(self.scale, self.value_scale)
        return ShownFrame(self.choice.compartments, at, scales)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the compartments."""
        report = self.choice.find_report(output)
        first, last = span_of(report.times)
        self.scale = time_scale(last - first)
        self.time.start, self.time.end = first * self.scale.factor, last * self.scale.factor
        steps = max(min(report.times.count - 1, _MAX_STEPS), 1)
        self.time.step = max(self.time.end - self.time.start, 1e-9) / steps
        self.time.title = self.scale.label("time")
        self.group.offer(report.compartments.cells)
        selected = self.choice.compartments, self.group.name
        if (selected, first, last) != self._drawn:
            self._drawn = ()
            self.time.value = min(max(self.time.value, self.time.start), self.time.end)
            self._draw(output, report)
            self._drawn = (selected, first, last)
        self._recolour(output)
        self.saving.refresh()

    def _draw(self, output: SimulationOutput, report: Report) -> None:
        """Draw the compartments without values, and set a colour range common to all times."""
        for source, names in ((self.grey, _LINES), (self.lines, _LINES), (self.spots, _SPOTS)):
            source.data = {name: [] for name in names}
        found = self.choice.compartments.columns(report)
        columns = found[spread(len(found), _MAX_COMPARTMENTS)]
        self.coordinates = read_coordinates(report.compartments, columns)
        cells = set(np.unique(self.coordinates.cells).tolist())
        sections = {key: one for key, one in sections_of(output, report).items() if key[0] in cells}
        self.shape = neuron_shape(self.coordinates, sections)
        some = self.coordinates.columns[spread(len(self.coordinates.columns), _COLOR_COMPARTMENTS)]
        frames = read_frames(report, some, count=_COLOR_TIMES)
        low, high = color_limits(frames)
        self.value_scale = scale = scale_of(frames.unit, np.asarray([low, high]))
        self.colors.low, self.colors.high = low * scale.factor, high * scale.factor
        label = scale.label(report.variable or report.report)
        self.figure.title.text = plain_text(label)
        self._draw_shape(self._colors(report))
        n_places, left_out = self.coordinates.n_places, self.coordinates.left_out
        notes = [f"{len(self.coordinates.columns):,} of {len(found):,} compartments"]
        notes += [f"{n_places:,} cells as points at their places"] if n_places else []
        notes += [f"{left_out:,} have no coordinates"] if left_out else []
        notes += ["drag to rotate, scroll to zoom"]
        self.note.text = small_text("; ".join(notes))

    def _colors(self, report: Report) -> NDArray[Any]:
        """Return the colours of compartments by group, and show these instead of values if any."""
        name, line, spot = self.group.name, *self.glyphs
        line.line_color = spot.fill_color = self.by_value if name is None else {"field": "color"}
        self.bar.visible = name is None
        cells = self.coordinates.cells
        if name is None:
            self.legend.show()
            return np.full(len(cells), NAN_COLOR)
        groups = group_cells(report.compartments.cells, name, np.unique(cells))
        self.legend.show(groups.labels, groups.colors)
        self.figure.title.text = plain_text(f"cells {groups.note}")
        return np.array(groups.colors)[groups.codes_of(cells)]

    def _draw_shape(self, colors: NDArray[Any]) -> None:
        shape, coordinates = self.shape, self.coordinates
        points = [*shape.lines, coordinates.points]
        low = np.min([np.nanmin(part, axis=0) for part in points], axis=0)
        high = np.max([np.nanmax(part, axis=0) for part in points], axis=0)
        middle = (low + high) / 2
        radius = max(float(np.linalg.norm(high - low)) / 2, 1.0) * 1.05
        width = radius * self.figure.frame_width / self.figure.frame_height
        for axis_range, reach in ((self.figure.x_range, width), (self.figure.y_range, radius)):
            axis_range.start = axis_range.reset_start = -reach
            axis_range.end = axis_range.reset_end = reach
        self.figure.tags = [0.0, 0.0]
        is_known = shape.owners >= 0
        self.owners = shape.owners[is_known]
        for source, selected in ((self.grey, ~is_known), (self.lines, is_known)):
            lines = [shape.lines[index] - middle for index in np.flatnonzero(selected)]
            owners = shape.owners[selected]
            x, y, z = ([line[:, axis] for line in lines] for axis in range(3))
            source.data = {
                **_unrotated(x, y, z),
                "width": shape.widths[selected] + 0.5,
                "value": np.full(len(lines), np.nan),
                "cell": (
                    coordinates.cells[owners] if source is self.lines else np.zeros(len(lines))
                ),
                "color": colors[owners],
            }
        spots = coordinates.points[shape.spots] - middle
        unknown = 80 / np.sqrt(max(len(spots), 1))
        sizes = np.clip(np.nan_to_num(coordinates.diameters[shape.spots], nan=unknown), 3, 14)
        self.spots.data = {
            **_unrotated(*spots.T),
            "value": np.full(len(spots), np.nan),
            "size": sizes if len(spots) < _MAX_SIZED else np.full(len(spots), 3.0),
            "cell": coordinates.cells[shape.spots],
            "color": colors[shape.spots],
        }

    def _recolour(self, output: SimulationOutput) -> None:
        """Update the colours to the values at the time of the slider."""
        if not self._drawn:
            return
        report = output[str(self.choice.report.value)]
        at = self.time.value / self.scale.factor
        frame = read_frames(report, self.coordinates.columns, at=at)
        values = np.asarray(frame.values[0], np.float64) * self.shown().scales.of(frame.unit).factor
        for source, owners in ((self.lines, self.owners), (self.spots, self.shape.spots)):
            if len(owners):
                source.patch({"value": [(slice(None), values[owners])]})
        self.saving.refresh()

    def _play(self, *, on: bool) -> None:
        if self._playing is not None:
            self.session.document.remove_periodic_callback(self._playing)
            self._playing = None
        if on:
            self._playing = self.session.document.add_periodic_callback(self.step, _PLAY_MS)

    def step(self) -> None:
        """Advance the slider by one step; continue at the start after the end."""
        after = self.time.value + max(self.time.step, (self.time.end - self.time.start) / 200)
        self.time.value = self.time.start if after > self.time.end else after


def _unrotated(x: Any, y: Any, z: Any) -> dict[str, Any]:
    """Return the columns for the initial view along z; the browser rotates them."""
    return {"xs": x, "ys": y, "x": x, "y": y, "z": z}


# Rotates about the vertical and horizontal axes; the angles are stored in the figure tags.
_ROTATE = """
    const yaw = figure.tags[0] + cb_obj.delta_x / 100;
    const pitch = figure.tags[1] + cb_obj.delta_y / 100;
    figure.tags = [yaw, pitch];
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const right = (x, y, z) => x * cy + z * sy;
    const up = (x, y, z) => y * cp - (z * cy - x * sy) * sp;
    // Of a spot, x, y and z are numbers; of a line they are arrays.
    const rotated = (to, x, y, z) => typeof x == "number" ? to(x, y, z)
        : Float64Array.from(x, (_, k) => to(x[k], y[k], z[k]));
    for (const source of sources) {
        const {x, y, z} = source.data;
        source.data.xs = Array.from(x, (_, i) => rotated(right, x[i], y[i], z[i]));
        source.data.ys = Array.from(x, (_, i) => rotated(up, x[i], y[i], z[i]));
        source.change.emit();
    }
"""
