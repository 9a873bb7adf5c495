"""View of neurons in space."""

from typing import Any

import numpy as np
from bokeh.events import Pan
from bokeh.layouts import column, row
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
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

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.plots.neurons import (
    Coordinates,
    NeuronShape,
    color_limits,
    neuron_shape,
    read_coordinates,
    read_frames,
    reports_in_space,
    sections_of,
)
from ndx_simulation_output.recording import Report, SimulationOutput
from ndx_simulation_output.recording.units import Scale, time_scale
from ndx_simulation_output.viewer.controls import CompartmentChoice, Saving, span_of
from ndx_simulation_output.viewer.session import Session, on_value
from ndx_simulation_output.viewer.shown import ShownFrame
from ndx_simulation_output.viewer.theme import dress, new_text, plain, small

# Neurons in space, turned with the mouse, coloured by their values at a time.

_MOST_COMPARTMENTS = 20_000
"""So many compartments are drawn; of more, some that are evenly spread."""

_FRAMES, _SAMPLED = 25, 1000
"""Colours reach as far as the values of so many compartments at so many times."""

_STEPS = 1000
_PLAY_MS = 80
_MANY = 500
_LINES = ("xs", "ys", "x", "y", "z", "value", "width", "cell")
_SPOTS = ("xs", "ys", "x", "y", "z", "value", "size", "cell")


class SpaceView:
    """Compartments where they are; the slider recolours them."""

    title = "Neuron"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        known = [report.name for report in reports_in_space(output)]
        if not known:
            msg = (
                f"{self.session.source.name} does not say where its compartments are: there are no "
                "columns x, y and z. A heat map shows their values."
            )
            raise NothingRecordedError(msg)
        self.choice = CompartmentChoice(
            self.session, output, self.update, first=known[0], suggests=False
        )
        self._draw()
        self.time = Slider(
            title="time", start=0, end=1, value=0, step=1, width=520, format="0[.]000"
        )
        self.session.on_change(self.time, "value", self._recolour)
        self.play = Toggle(label="Play", width=70)
        on_value(self.play, "active", lambda on: self._play(on=bool(on)))
        self._ticking: Any = None
        self._known: tuple[object, ...] = ()
        self.note = new_text()
        self.saving = Saving(self.session, "neuron", self.figure, self.shown)
        self.update(output)
        return column(
            self.choice.row,
            row(self.time, self.play),
            self.figure,
            self.note,
            self.saving.layout,
            sizing_mode="stretch_width",
        )

    def _draw(self) -> None:
        self.figure = figure(
            frame_width=720,
            frame_height=520,
            x_range=Range1d(-1, 1),
            y_range=Range1d(-1, 1),
            tools=[WheelZoomTool(), ResetTool(), SaveTool()],
            toolbar_location="above",
        )
        dress(self.figure)
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.colors = LinearColorMapper("Viridis256", nan_color="#c9d0d8")
        self.grey = ColumnDataSource({name: [] for name in _LINES})
        self.lines = ColumnDataSource({name: [] for name in _LINES})
        self.spots = ColumnDataSource({name: [] for name in _SPOTS})
        color: Any = {"field": "value", "transform": self.colors}
        self.figure.multi_line(
            "xs", "ys", line_width="width", color="#d3d9df", line_cap="round", source=self.grey
        )
        drawn = self.figure.multi_line(
            "xs", "ys", line_width="width", color=color, line_cap="round", source=self.lines
        )
        spots = self.figure.scatter(
            "xs", "ys", size="size", fill_color=color, line_color=None, source=self.spots
        )
        pointed = [("cell", "@cell"), ("value", "@value")]
        self.figure.add_tools(HoverTool(tooltips=pointed, renderers=[drawn, spots]))
        self.figure.add_layout(ColorBar(color_mapper=self.colors, width=12), "right")
        self.figure.add_layout(
            ScaleBar(
                range=self.figure.x_range,
                unit="µm",
                location="bottom_left",
                background_fill_alpha=0.6,
                border_line_color=None,
            )
        )
        turned = {"figure": self.figure, "parts": [self.grey, self.lines, self.spots]}
        self.figure.js_on_event(Pan, CustomJS(args=turned, code=_TURN))

    def shown(self) -> ShownFrame:
        """Give what is shown."""
        return ShownFrame(self.choice.compartments(), self.time.value / self.scale.factor)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        self.choice.refresh(output)
        report = output[str(self.choice.report.value)]
        first, last = span_of(report.times)
        self.scale = time_scale(last - first)
        self.time.start, self.time.end = first * self.scale.factor, last * self.scale.factor
        rows = max(min(report.times.count - 1, _STEPS), 1)
        self.time.step = max(self.time.end - self.time.start, 1e-9) / rows
        self.time.title = self.scale.label("time")
        chosen = self.choice.compartments()
        if (chosen, first, last) != self._known:
            self._known = ()
            self.time.value = min(max(self.time.value, self.time.start), self.time.end)
            self._place(output, report)
            self._known = (chosen, first, last)
        self._recolour(output)
        self.saving.refresh()

    def _place(self, output: SimulationOutput, report: Report) -> None:
        """Put compartments where they are, and choose colours for all times."""
        for source, names in ((self.grey, _LINES), (self.lines, _LINES), (self.spots, _SPOTS)):
            source.data = {name: [] for name in names}
        found = self.choice.compartments().columns(report)
        columns = found[spread(len(found), _MOST_COMPARTMENTS)]
        self.places = read_coordinates(report.compartments, columns)
        cells = set(np.unique(self.places.cells).tolist())
        sections = {key: one for key, one in sections_of(output, report).items() if key[0] in cells}
        self.shape = neuron_shape(self.places, sections)
        some = self.places.columns[spread(len(self.places.columns), _SAMPLED)]
        frames = read_frames(report, some, count=_FRAMES)
        low, high = color_limits(frames)
        self.values: Scale = scale_of(frames.unit, np.asarray([low, high]))
        self.colors.low, self.colors.high = low * self.values.factor, high * self.values.factor
        self.figure.title.text = plain(self.values.label(report.variable or report.report))
        self._put(self.shape, self.places)
        notes = [f"{len(self.places.columns):,} of {len(found):,} compartments"]
        notes += [f"{self.places.left_out:,} have no place"] if self.places.left_out else []
        notes += ["drag to turn, scroll to zoom"]
        self.note.text = small("; ".join(notes))

    def _put(self, shape: NeuronShape, places: Coordinates) -> None:
        points = [*shape.lines, places.points]
        low = np.min([np.nanmin(part, axis=0) for part in points], axis=0)
        high = np.max([np.nanmax(part, axis=0) for part in points], axis=0)
        middle = (low + high) / 2
        radius = max(float(np.linalg.norm(high - low)) / 2, 1.0) * 1.05
        wide = radius * self.figure.frame_width / self.figure.frame_height
        for shown, reach in ((self.figure.x_range, wide), (self.figure.y_range, radius)):
            shown.start = shown.reset_start = -reach
            shown.end = shown.reset_end = reach
        self.figure.tags = [0.0, 0.0]
        is_known = shape.owners >= 0
        self.owners = shape.owners[is_known]
        for source, chosen in ((self.grey, ~is_known), (self.lines, is_known)):
            lines = [shape.lines[index] - middle for index in np.flatnonzero(chosen)]
            owners = shape.owners[chosen]
            x, y, z = ([line[:, axis] for line in lines] for axis in range(3))
            source.data = {
                **_turned(x, y, z),
                "width": shape.widths[chosen] + 0.5,
                "value": np.full(len(lines), np.nan),
                "cell": places.cells[owners] if source is self.lines else np.zeros(len(lines)),
            }
        spots = places.points[shape.spots] - middle
        sizes = np.clip(np.nan_to_num(places.diameters[shape.spots], nan=5.0), 3, 14)
        self.spots.data = {
            **_turned(*spots.T),
            "value": np.full(len(spots), np.nan),
            "size": sizes if len(spots) < _MANY else np.full(len(spots), 3.0),
            "cell": places.cells[shape.spots],
        }

    def _recolour(self, output: SimulationOutput) -> None:
        """Show the values at the time of the slider."""
        report = output[str(self.choice.report.value)]
        frame = read_frames(report, self.places.columns, at=self.time.value / self.scale.factor)
        values = np.asarray(frame.values[0], np.float64) * self.values.factor
        for source, owners in ((self.lines, self.owners), (self.spots, self.shape.spots)):
            if len(owners):
                source.patch({"value": [(slice(None), values[owners])]})
        self.saving.refresh()

    def _play(self, *, on: bool) -> None:
        if self._ticking is not None:
            self.session.document.remove_periodic_callback(self._ticking)
            self._ticking = None
        if on:
            self._ticking = self.session.document.add_periodic_callback(self.step_on, _PLAY_MS)

    def step_on(self) -> None:
        """Show what comes next, and after the end the beginning."""
        after = self.time.value + max(self.time.step, (self.time.end - self.time.start) / 200)
        self.time.value = self.time.start if after > self.time.end else after


def _turned(x: Any, y: Any, z: Any) -> dict[str, Any]:
    """Give places as they are first seen, along z; the browser turns them."""
    return {"xs": x, "ys": y, "x": x, "y": y, "z": z}


_TURN = """
    const about = figure.tags[0] + cb_obj.delta_x / 100;
    const over = figure.tags[1] + cb_obj.delta_y / 100;
    figure.tags = [about, over];
    const [ca, sa, ce, se] = [Math.cos(about), Math.sin(about), Math.cos(over), Math.sin(over)];
    const right = (x, y, z) => x * ca + z * sa;
    const up = (x, y, z) => y * ce - (z * ca - x * sa) * se;
    // Of a spot, x, y and z are numbers; of a line they are arrays.
    const turned = (to, x, y, z) => typeof x == "number" ? to(x, y, z)
        : Float64Array.from(x, (_, k) => to(x[k], y[k], z[k]));
    for (const source of parts) {
        const {x, y, z} = source.data;
        source.data.xs = Array.from(x, (_, i) => turned(right, x[i], y[i], z[i]));
        source.data.ys = Array.from(x, (_, i) => turned(up, x[i], y[i], z[i]));
        source.change.emit();
    }
"""
"""Turn everything about the vertical and the horizontal; the angles are the tags of the figure."""
