"""Panel of the cells in space: neurons along their course, or points, coloured at the cursor."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.events import ButtonClick, Pan, PanEnd, PanStart, Reset, Tap
from bokeh.layouts import row
from bokeh.models import (
    Arrow,
    Button,
    CustomJS,
    CustomJSHover,
    HoverTool,
    LabelSet,
    LinearColorMapper,
    NormalHead,
    Range1d,
    ResetTool,
    SaveTool,
    ScaleBar,
    Select,
    UIElement,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.plots.groups import group_cells
from ndx_simulation_output.plots.look import (
    COLORS,
    DARK,
    LIGHT,
    MISSING_COLOR,
    ColorScale,
    color_scale,
)
from ndx_simulation_output.plots.shapes import (
    read_frames,
)
from ndx_simulation_output.recording import (
    CellTable,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.recording.cells import Choice
from ndx_simulation_output.recording.units import Scale, time_scale
from ndx_simulation_output.viewer.cells import about_cells
from ndx_simulation_output.viewer.controls import cells_of
from ndx_simulation_output.viewer.figures import (
    GREY,
    add_color_bar,
    button,
    empty_source,
    field,
    key_html,
    new_text,
    plain_text,
    set_range,
    small_text,
    stack,
    style_figure,
    widened,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.scenes import (
    CELLS,
    SPIKES,
    Part,
    Scene,
    ShownSpace,
    read_part,
    scenes_of,
    values_of,
)
from ndx_simulation_output.viewer.session import on_value
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

_MOST, _MOST_SAVED = 20_000, 4000
"""At most so many compartments are drawn, fewer in a saved page."""

_COLOR_TIMES, _COLOR_COMPARTMENTS = 25, 400
"""The colour range is that of so many times and compartments."""

_SAVED_FRAMES, _SAVED_BYTES = 100, 2 * 2**20
"""At most so many frames, and bytes of them, are in a saved page."""

_RECENT = 0.01
"""Cells light up for this part of the run after a spike."""

_FLAT = 0.02
"""Depth of cells relative to their extent below which the first view is from above."""

_TILTED = 0.55, 0.35
"""Yaw and pitch (rad) of the first view."""

_DRAWN = (
    *("xs", "ys", "x", "y", "row", "depth", "cell", "population", "section", "position"),
    *("about", "diameter", "px", "py", "pz", "value", "width", "halo", "rim"),
)
_ROWS = "population", "cell", "section", "position", "about", "diameter", "stop"
_SECONDS = "3 s", "10 s", "30 s", "120 s"
_FAINT = "rgba(127, 139, 151, 0.3)"
_VALUE = "return isNaN(value) ? 'none' : `${Number(value.toPrecision(4))} ${unit}`;"
_SCRIPT = (Path(__file__).parent / "space.js").read_text("utf-8")


class SpacePanel(Panel):
    """Cells in space, coloured by a variable at the cursor or by group.

    ``name`` is the variable, or ``spikes`` or ``cells``. Options: ``by=value`` shows values
    although the page has groups, ``view`` are the angles of the view.
    """

    kind = "space"
    place = "right"
    over_time = False

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the variables that can be shown in space."""
        for rank, (name, scenes) in enumerate(scenes_of(output).items()):
            count = sum(len(scene.cells) for scene in scenes)
            about = f"{count:,} cell{'' if count == 1 else 's'}"
            yield Offer(PanelState("space", name), "In space", name, about, 5 + rank)

    @property
    def title(self) -> str:
        """Title of the card."""
        return "Cells in space"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure with the choice of the variable and the button to play."""
        scenes, is_saved = scenes_of(output), self.session.is_saved
        self.rows = empty_source(*_ROWS)
        self.link("", self.rows)
        self.rows.selected.on_change("indices", lambda _, __, rows: self._clicked(rows))
        self.points, self.frames = empty_source("x", "y", "z"), empty_source("time", "value")
        self.drawn, self.front = empty_source(*_DRAWN), empty_source(*_DRAWN)
        self.when = new_text(sizing_mode=None, width=110)
        self._make_figure()
        self._key: tuple[Any, ...] = ()
        self._drawn: list[Part] = []
        self._limits: tuple[Report, str, ColorScale] | None = None
        self._is_busy = False
        self.scale: Scale | None = None
        self.legend = new_text(visible=False)
        self.variable = Select(
            options=list(scenes), value=self.name,
            **field(visible=len(scenes) > 1 and not is_saved),
        )  # fmt: skip
        on_value(self.variable, "value", self._choose)
        self.play = Button(label="▶", **button())
        self.play.on_click(lambda _: self.session.player.toggle())
        if is_saved:
            self.play.js_on_event(ButtonClick, self.script)
        has_times = self.name != CELLS
        self.play.visible = self.when.visible = has_times
        parts = row(self.variable, self.play, self.when, sizing_mode="stretch_width")
        return stack(parts, self.figure, self.legend)

    def _make_figure(self) -> None:
        made = self.figure = figure(
            sizing_mode="scale_width", aspect_ratio=1.0, max_width=760, x_range=Range1d(-1, 1),
            y_range=Range1d(-1, 1), toolbar_location=None,
            tools=[WheelZoomTool(), ResetTool(), SaveTool()],
        )  # fmt: skip
        style_figure(made)
        made.min_border = made.min_border_left = made.min_border_right = 2
        made.axis.visible = made.grid.visible = False
        self.colors = LinearColorMapper(LIGHT.shades("values"), nan_color=MISSING_COLOR)
        color = {"field": "value", "transform": self.colors}
        lines = {"line_cap": "round", "line_join": "round"}
        made.multi_line("xs", "ys", line_width="rim", color=GREY, source=self.drawn, **lines)
        hovered = []
        for source in (self.drawn, self.front):
            if source is self.front:
                made.multi_line("xs", "ys", line_width="halo", color=ACCENT, source=source, **lines)
            edge = {"line_color": ACCENT, "line_width": 2.5} if source is self.front else {}
            edge = edge or {"line_color": None}
            hovered += [
                made.multi_line(
                    "xs", "ys", line_width="width", color=color, source=source, **lines
                ),
                made.scatter("x", "y", size="width", fill_color=color, source=source, **edge),
            ]
        for one in made.renderers:
            one.nonselection_glyph = one.selection_glyph = None
        self.value = CustomJSHover(args={"unit": ""}, code=_VALUE)
        formatters = {"@value": self.value, "@position": "printf"}
        self.hover = HoverTool(renderers=hovered, limit=1, sort_by=[("depth", -1)],
                               formatters=formatters)  # fmt: skip
        made.add_tools(self.hover)
        self.bar = add_color_bar(made, self.colors, "below", orientation="horizontal", height=8,
                                 width="auto")  # fmt: skip
        self._add_marks(made)
        for event in (Pan, PanStart, PanEnd, Tap, Reset):
            made.js_on_event(event, self.script)
        for name in ("inner_width", "inner_height"):
            made.js_on_change(name, self.script)
        for range_ in (made.x_range, made.y_range):
            range_.js_on_change("end", self.script)
        for source in (self.points, self.frames, self.rows):
            source.js_on_change("data", self.script)
        self.rows.selected.js_on_change("indices", self.script)
        if self.session.is_saved:
            self.session.time.cursor.js_on_change("location", self.script)
        made.on_change("tags", lambda _, __, angles: self._turned(angles))

    def _add_marks(self, made: Any) -> None:
        """Add a scale bar and the directions of the axes, and make the script that turns all."""
        scale_bar = ScaleBar(
            range=made.x_range, unit="µm", location="bottom_left", padding=6, bar_line_color=GREY,
            label_text_color=GREY, background_fill_color=None, border_line_color=None,
        )  # fmt: skip
        made.add_layout(scale_bar)
        cross = empty_source("x0", "y0", "x1", "y1", "x2", "y2", "name")
        cross.data = {name: [0.0] * 3 for name in cross.data} | {"name": list("xyz")}
        made.add_layout(
            Arrow(source=cross, x_start="x0", y_start="y0", x_end="x1", y_end="y1",
                  start_units="screen", end_units="screen", line_color=GREY,
                  end=NormalHead(size=4, fill_color=GREY, line_color=None))
        )  # fmt: skip
        made.add_layout(
            LabelSet(source=cross, x="x2", y="y2", text="name", x_units="screen", y_units="screen",
                     text_align="center", text_baseline="middle", text_font_size="11px",
                     text_color=GREY)
        )  # fmt: skip
        self.script = CustomJS(code=_SCRIPT, args={
            "figure": made, "points": self.points, "rows": self.rows,
            "frames": self.frames, "drawn": self.drawn, "front": self.front, "cross": cross,
            "cursor": self.session.time.cursor, "colors": self.colors, "reset": [0.0, 0.0],
            "when": self.when, "is_saved": self.session.is_saved,
        })  # fmt: skip

    def controls(self) -> Sequence[UIElement]:
        """Return the choice of the speed."""
        seconds = self.choice("seconds", "Play the window in", _SECONDS, 130, _SECONDS[1])
        return [seconds] if self.name != CELLS else []

    def update(self, output: SimulationOutput) -> None:
        """Draw the cells again if others are chosen, or the colours are of something else."""
        session = self.session
        population, ids = session.picked
        drawn = next((one.cells for one in self._drawn if one.scene.population == population), ())
        missing = population in self._populations and not np.isin(ids, drawn).all()
        key = (output, self.name, session.cells, session.group_by, self.options.get("by"))
        if key == self._key and not missing:
            self.say(self._said)
            return
        if self._key and session.group_by != self._key[3]:
            self.options.pop("by", None)
            key = (*key[:4], None)
        self._key = ()
        shown = self.shown()
        self._read(output, shown.scenes(output), shown.cells)
        self._set_colors()
        self._key = key

    def _read(self, output: SimulationOutput, scenes: list[Scene], cells: Any) -> None:
        population, ids = self.session.picked
        most = _MOST_SAVED if self.session.is_saved else _MOST
        choice = None if cells is None else Choice(cells)
        chosen = [np.arange(len(scene.cells)) if choice is None else choice.rows_of(scene.cells)
                  for scene in scenes]  # fmt: skip
        if choice is not None:
            choice.check(are_all_known=False, found=any(map(len, chosen)))
        total = sum(map(len, chosen))
        parts, problems = [], []
        for scene, rows in zip(scenes, chosen, strict=True):
            share = max(most * len(rows) // max(total, 1), 1)
            picked = ids if scene.population == population else ()
            try:
                parts += [read_part(output, scene, rows, share, picked)] if len(rows) else []
            except SimulationOutputError as error:
                problems.append(error)
        if not parts:
            raise problems[0]
        self._drawn, self._populations = parts, {scene.population for scene in scenes}
        points = np.concatenate([part.points for part in parts])
        low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
        self._show_box(points, low, high)
        are_lines = any(len(one.points) > len(one.stops) for one in parts)
        self.points.tags = [*((low + high) / 2).tolist(), are_lines]
        n_before = np.cumsum([0, *(len(part.points) for part in parts)])
        stops = [part.stops + n for part, n in zip(parts, n_before, strict=False)]
        by = self.session.group_by if self._is_grouped else ""
        about = by, 1 if any(by in part.scene.cells.columns for part in parts) else 2
        self.rows.data = {
            "population": [part.scene.population for part in parts for _ in part.stops],
            "cell": np.concatenate([part.cells for part in parts]).astype(np.int64),
            "section": np.concatenate([part.sections for part in parts]).astype(np.int64),
            "position": np.concatenate([part.positions for part in parts]),
            "about": [
                text for part in parts for text in about_cells(part.scene.cells, part.cells, *about)
            ],
            "diameter": np.concatenate([part.diameters for part in parts]),
            "stop": np.concatenate(stops),
        }
        points = points.astype(np.float32)
        self.points.data = dict(zip("xyz", points.T, strict=True))
        n_rows = sum(len(part.stops) for part in parts)
        spot = float(np.clip(80 / np.sqrt(n_rows), 3, 10))
        symbol = self.session.time.scale.symbol
        self.frames.tags = [1.3 if are_lines else 0.6 * spot, spot, symbol]
        drawn = sum(len(np.unique(part.cells[part.cells >= 0])) for part in parts)
        all_cells = sum(part.n_all for part in parts)
        count = f"{drawn:,} of {all_cells:,}" if drawn < all_cells else f"{drawn:,}"
        notes = [f"{count} cell{'' if all_cells == 1 else 's'}"]
        notes += [str(error) for error in problems]
        self._said = "; ".join([*notes, "drag to rotate, scroll to zoom, shift-drag to move"])
        self.say(self._said)

    def _show_box(self, points: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> None:
        size = high - low
        reach = np.linalg.norm(points - (low + high) / 2, axis=1)
        radius = max(float(np.nanmax(reach)), 1.0) * 1.04
        is_flat = bool(size[2] <= _FLAT * max(size.max(), 1e-9))
        first = [0.0, 0.0] if is_flat else list(_TILTED)
        view = self.options.get("view", "")
        self.script.args = {**self.script.args, "reset": first}
        self.figure.tags = [float(one) for one in view.split(",")] if view else first
        if self._box == (radius,):
            return
        self._box = (radius,)
        for axis_range in (self.figure.y_range, self.figure.x_range):
            set_range(axis_range, -radius, radius)

    _box: tuple[float, ...] = ()
    _populations: frozenset[str] | set[str] = frozenset()
    _said = ""

    @property
    def _is_grouped(self) -> bool:
        return bool(self.session.group_by) and self.options.get("by") != "value"

    def _set_colors(self) -> None:
        """Set the colours and their limits, which are the same at all times."""
        self._codes: list[NDArray[Any]] = []
        self.legend.visible = False
        report = self._drawn[0].scene.report
        if self._is_grouped and self._show_groups():
            return
        if report is not None:
            self._show_report(report)
        elif any(part.scene.spikes is not None for part in self._drawn):
            time = self.session.time
            recent = _RECENT * (time.span[1] - time.span[0])
            self._recent, self.scale = recent, time_scale(recent)
            self._show_bar(ColorScale("counts", 0.0, recent * self.scale.factor),
                           f"time since the last spike ({self.scale.symbol})", -1)  # fmt: skip
        else:
            names = [part.scene.population for part in self._drawn]
            self._show_codes([np.full(len(part.cells), float(code))
                              for code, part in enumerate(self._drawn)], names,
                             [COLORS[code % len(COLORS)] for code in range(len(names))],
                             "")  # fmt: skip
        if self.scale is not None:
            self.value.args = {"unit": self.scale.symbol}
        self._set_tooltips()

    def _show_report(self, report: Report) -> None:
        seen, cells, colors = self._limits or (None, "", None)
        if colors is None or seen is not report or cells != self.session.cells:
            colors = self._colors_of(report)
            self._limits = report, self.session.cells, colors
        self.scale = scale = scale_of(report.unit.name, np.array([colors.low, colors.high]))
        scaled = ColorScale(colors.name, colors.low * scale.factor, colors.high * scale.factor)
        self._show_bar(scaled, scale.label(report.variable or report.report))

    def _colors_of(self, report: Report) -> ColorScale:
        """Return colours for the values of some compartments at some times."""
        found = []
        for part in self._drawn:
            columns = part.columns[part.columns >= 0]
            some = columns[spread(len(columns), _COLOR_COMPARTMENTS)]
            frames = read_frames(part.scene.report or report, some, count=_COLOR_TIMES)
            found.append(np.asarray(frames.values, np.float64).ravel())
        values = np.concatenate(found)
        colors = color_scale(values, report.unit.name, report.variable or "")
        return ColorScale(colors.name, *widened(colors.low, colors.high))

    def _show_bar(self, colors: ColorScale, label: str, step: int = 1) -> None:
        light, dark = (one.shades(colors.name)[::step] for one in (LIGHT, DARK))
        # Cells that have not spiked lately are so faint that the others are seen among them.
        nan = _FAINT if colors.name == "counts" else MISSING_COLOR
        self.colors.update(low=colors.low, high=colors.high, palette=light, tags=[light, dark],
                           nan_color=nan)  # fmt: skip
        self.bar.title, self.bar.visible = plain_text(label), True

    def _show_groups(self) -> bool:
        """Colour cells by group; return False if no population has the property."""
        name = self.session.group_by
        values = [part.scene.cells.read(name, np.maximum(part.scene.cells.find_rows(part.cells), 0))
                  if name in part.scene.cells.columns else np.full(len(part.cells), None)
                  for part in self._drawn]  # fmt: skip
        if all(name not in part.scene.cells.columns for part in self._drawn):
            return False
        together = np.concatenate(values)
        table = CellTable("all", np.arange(len(together)), {name: together})
        groups = group_cells(table, name)
        edges = np.cumsum([len(one) for one in values])[:-1]
        codes = np.split(groups.codes.astype(np.float64), edges)
        self._show_codes(codes, groups.names, groups.colors, f"{name}: ")
        self._set_tooltips()
        return True

    def _show_codes(
        self, codes: list[NDArray[Any]], names: Sequence[str], colors: Sequence[str], title: str
    ) -> None:
        """Colour rows by number, with a key of the names."""
        self._codes, self.scale = codes, None
        self.colors.update(
            palette=[*colors], tags=[], nan_color=MISSING_COLOR, low=-0.5, high=len(colors) - 0.5
        )
        self.bar.visible, self.legend.visible = False, True
        self.legend.text = f'<span class="small">{escape(title)}</span>{key_html(names, colors)}'

    def _set_tooltips(self) -> None:
        are_sections = any((part.sections > 0).any() for part in self._drawn)
        section = [("section", "@section, position @position{%.2f}")] if are_sections else []
        what = "since the last spike" if self.name == SPIKES else self.name
        value = [] if self.scale is None else [(what, "@value{custom}")]
        self.hover.tooltips = [
            ("cell", "@cell of @population"), *section, ("", "@about"),
            ("x, y, z", "@px{0.0}, @py{0.0}, @pz{0.0} µm"), *value,
        ]  # fmt: skip

    def moved(self, output: SimulationOutput) -> None:  # noqa: ARG002
        """Colour the cells by their values at the cursor."""
        time = self.session.time
        at = self._at
        player, scale = self.session.player, time.scale
        player.seconds = float(self.chosen("seconds", _SECONDS, _SECONDS[1]).removesuffix(" s"))
        text = f"at {at * scale.factor:.5g} {scale.symbol}"
        if player.is_playing:
            text += f", {player.speed * scale.factor:.3g} {scale.symbol} per s"
        self.when.text = small_text(text)
        self.play.label = "⏸" if player.is_playing else "▶"
        if not self._key:
            return
        times = [at]
        if self.session.is_saved and self.scale is not None:
            n_rows = sum(len(part.columns) for part in self._drawn)
            count = int(np.clip(_SAVED_BYTES // (4 * n_rows), 2, _SAVED_FRAMES))
            times = np.linspace(*time.window, count).tolist()
        frames = [np.concatenate(self._values(one)).astype(np.float32) for one in times]
        self.frames.data = {"time": [one * time.scale.factor for one in times], "value": frames}

    def _values(self, at: float) -> list[NDArray[np.float64]]:
        if self.scale is None:
            return self._codes
        return [
            values_of(part.scene, part.cells, part.columns, at, self.scale, self._recent)
            for part in self._drawn
        ]

    _recent = np.inf

    @property
    def _at(self) -> float:
        """The time of the cursor (s), or the start of the window."""
        time = self.session.time
        return max(time.window[0], time.span[0]) if time.at is None else time.at

    def highlight(self) -> None:
        """Select the rows of the picked cells, without taking that for a click."""
        self._is_busy = True
        population, ids = self.session.picked
        data, compartment = self.rows.data, self.session.compartment
        self.front.tags = []
        if ids and compartment is not None and len(data["cell"]):
            is_it = (data["cell"] == ids[0]) & (data["section"] == compartment[0])
            is_it &= np.asarray(data["population"], object) == population
            distances = np.abs(np.nan_to_num(data["position"]) - np.nan_to_num(compartment[1]))
            if is_it.any():
                self.front.tags = [int(np.where(is_it, distances, np.inf).argmin())]
        super().highlight()
        self._is_busy = False

    def _clicked(self, rows: Sequence[int]) -> None:
        """Pick the cell and the compartment of a row that the browser has found at a click."""
        if self._is_busy or len(rows) != 1:
            return
        names = "population", "cell", "section", "position"
        population, cell, section, position = (self.rows.data[name][rows[0]] for name in names)
        if cell >= 0:
            is_point = not self.points.tags[3]
            compartment = None if is_point else (int(section), float(position))
            self.session.pick(population, [int(cell)], compartment=compartment)

    def _choose(self, name: str) -> None:
        self.name = name
        self.option("by", "value" if self.session.group_by else "")
        self.session.cursor_moved()

    def _turned(self, angles: Sequence[float]) -> None:
        is_first = list(angles) == self.script.args["reset"]
        self.options["view"] = "" if is_first else ",".join(f"{one:.2f}" for one in angles)
        self.session.run_later(self.session.show_address)

    def shown(self) -> ShownSpace:
        """Return the shown data."""
        populations = tuple(part.scene.population for part in self._drawn)
        cells = cells_of(self.session.cells)
        return ShownSpace(self.name, cells, self._at, self.scale, populations, self._recent)
