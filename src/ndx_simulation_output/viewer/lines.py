"""Lines over one another on the time axis: what traces and channels have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LinearAxis,
    Range1d,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import round_below, scale_of
from ndx_simulation_output.plots.downsampling import Lines, reduce_traces
from ndx_simulation_output.recording import UNKNOWN
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.compare import (
    Compared,
    difference_of,
    find_compared,
    matching_columns,
    require_real,
)
from ndx_simulation_output.viewer.figures import (
    GroupLegend,
    add_legend,
    empty_source,
    limits_of,
    new_figure,
    pixels_of,
    plain_text,
    short_text,
)
from ndx_simulation_output.viewer.panels import Panel
from ndx_simulation_output.viewer.session import ViewedFile
from ndx_simulation_output.viewer.time_axis import ACCENT

_MOST = 50
"""So many lines are drawn at most."""

_MOST_POINTS = 60
"""Samples are marked if a line has so few."""

_FILL = 0.9
"""Part of the distance of two lines that the one with the largest range fills."""

_BAR_PIXELS = 22
_NAME_PIXELS = 13

_STACKED, _EACH, OVERLAY = _LAYOUTS = "stacked", "each to its range", "overlay"

_NEAREST = """
    const nearest = (xs) => {
        let [low, high] = [0, xs.length - 1];
        while (high - low > 1) {
            const middle = (low + high) >> 1;
            if (xs[middle] <= special_vars.x) { low = middle; } else { high = middle; }
        }
        return special_vars.x - xs[low] <= xs[high] - special_vars.x ? low : high;
    };
    const at = special_vars.index;
"""
_TIME = """
    const xs = lines.data.xs[at];
    return xs?.length ? `${Number(xs[nearest(xs)].toPrecision(9))} ${unit}` : "";
"""
_VALUE = """
    const texts = [];
    for (const one of [lines, others]) {
        const xs = one.data.xs[at];
        if (!xs?.length) { continue; }
        const value = one.data.values[at][nearest(xs)];
        const text = isFinite(value) ? Number(value.toPrecision(6)) : "no value";
        texts.push(`${text} ${lines.data.unit[at]}${one == others ? " in the other file" : ""}`);
    }
    return texts.join(", ");
"""


class StackPanel(Panel):
    """Lines over one another with their names and a scale bar, or on one axis with values.

    The sources ``lines`` and ``others``, those of a file that is compared, have the values of a
    line in ``values`` beside what is drawn in ``ys``, so that a page without a server names them.
    """

    def build_stack(self, tooltips: Sequence[tuple[str, str]]) -> UIElement:
        """Return the figure without lines; ``tooltips`` name a line by columns of the source."""
        time = self.session.time
        self.figure = new_figure("", "", x_range=time.x_range, y_range=Range1d(-1, 1))
        made = self.figure
        self.lines, self.others = (
            empty_source("xs", "ys", "values", "color", "y0", "y1", "unit", "name", "cell")
            for _ in range(2)
        )
        lanes = made.hstrip(
            "y0", "y1", source=self.lines, fill_color=ACCENT, fill_alpha=0, line_color=None,
            selection_fill_alpha=0.1, nonselection_fill_alpha=0,
        )  # fmt: skip
        style = {"color": "color", "line_join": "round", "nonselection_alpha": 0.75,
                 "selection_color": ACCENT}  # fmt: skip
        dashed = made.multi_line("xs", "ys", source=self.others, line_width=1.6, line_dash="dashed",
                                 **style)  # fmt: skip
        solid = made.multi_line("xs", "ys", source=self.lines, line_width=1.3,
                                selection_line_width=1.8, **style)  # fmt: skip
        wide = made.multi_line("xs", "ys", source=self.lines, line_width=14, alpha=0,
                               selection_alpha=0, nonselection_alpha=0)  # fmt: skip
        self.points = empty_source("x", "y", "color")
        made.scatter("x", "y", color="color", size=4, source=self.points)
        args = {"lines": self.lines, "others": self.others}
        formatters = {
            "$x": CustomJSHover(args={**args, "unit": time.scale.symbol}, code=_NEAREST + _TIME),
            "$y": CustomJSHover(args=args, code=_NEAREST + _VALUE),
        }
        tooltips = [*tooltips, ("time", "$x{custom}"), ("value", "$y{custom}")]
        self._hovers = [
            HoverTool(renderers=[one], tooltips=tooltips, formatters=formatters, limit=1,
                      line_policy="nearest", point_policy="follow_mouse")
            for one in (lanes, wide)
        ]  # fmt: skip
        self._lanes, self._wide = lanes, wide
        made.add_tools(*self._hovers)
        self._bar = LinearAxis(
            ticker=FixedTicker(ticks=[]), axis_line_width=2, axis_line_cap="butt",
            major_tick_line_color=None, minor_tick_line_color=None,
            styles={"--bk-axis-line-color": "var(--ink)",
                    "--bk-major-tick-line-color": "transparent"},
        )  # fmt: skip
        made.add_layout(self._bar, "right")
        self.legend = GroupLegend(made)
        self.files_legend = add_legend(made, solid, dashed, place="above", visible=False,
                                       orientation="horizontal")  # fmt: skip
        self.add_figure(made)
        self.scale: Scale | None = None
        self._is_compared = False
        return made

    def stack_controls(self) -> Sequence[UIElement]:
        """Return the widgets for the number of lines and their layout."""
        counts = sorted({1, 2, 4, 8, 16, 32, _MOST, self.count})
        return [self.choice("count", "At most", [*map(str, counts)], 80, str(self.count)),
                self.choice("layout", "Layout", _LAYOUTS, 150)]  # fmt: skip

    first_count: ClassVar[int]

    @property
    def count(self) -> int:
        """Greatest number of lines."""
        return min(int(self.options.get("count", self.first_count)), _MOST)

    @property
    def layout(self) -> str:
        """How the lines are arranged."""
        return self.chosen("layout", _LAYOUTS)

    @property
    def _is_difference(self) -> bool:
        return self._is_compared and self.session.shows_difference

    @property
    def files(self) -> Sequence[ViewedFile]:
        """The files of the lines."""
        session = self.session
        others = [session.other] if self._is_compared and session.other else []
        return [session.file, *others]

    def read(
        self, recorded: Compared, columns: NDArray[np.intp]
    ) -> tuple[Lines, Lines | None, list[str]]:
        """Read lines, those of the file that is compared, or their difference, and notes."""
        require_real(recorded)
        self._is_compared = False
        for source in (self.lines, self.others, self.points):  # An error may be shown instead.
            source.data = {name: [] for name in source.data}
        drawn = self.session.time.drawn(pixels_of(self.figure)[1])
        with self.session.open_other() as output:
            if output is None:
                lines = reduce_traces(recorded, columns, **drawn)
                return lines, None, [sampling(lines)]
            other = find_compared(recorded, output)
            matching = matching_columns(recorded, other, columns)
            self._is_compared = bool((matching >= 0).all())
            if self.session.shows_difference:
                lines = reduce_traces(difference_of(recorded, other, columns, matching), **drawn)
                scale = scale_of(lines.unit, lines.values)
                largest = float(np.nanmax(np.abs(lines.values), initial=0.0)) * scale.factor
                most = f"largest difference {largest:.4g} {scale.symbol}".strip()
                return lines, None, ["first file minus second", most, sampling(lines)]
            lines = reduce_traces(recorded, columns, **drawn)
            lacking = int((matching < 0).sum())
            note = f"the second file lacks {lacking} of them; " if lacking else ""
            if other.unit.name != recorded.unit.name:
                note += f"in the second file the unit is {other.unit.name}; "
                self._is_compared, lacking = False, len(columns)
            if lacking == len(columns):
                return lines, None, [note + sampling(lines)]
            compared = reduce_traces(other, np.maximum(matching, 0), **drawn)
            values = np.where(matching >= 0, compared.values, np.nan)
            first, second = self.session.file, self.session.other
            names = [first.name, "" if second is None else second.name]
            for item, name in zip(self.files_legend.items, names, strict=True):
                item.label = value(name)
            return lines, replace(compared, values=values), [note + sampling(lines)]

    def show_lines(
        self,
        lines: Lines,
        columns: Mapping[str, Sequence[Any]],
        colors: Sequence[str],
        what: str,
        other: Lines | None = None,
    ) -> None:
        """Draw lines, the first at the top; ``columns`` have ``name`` and more for the hover."""
        values = np.asarray(lines.values, np.float64)
        compared = values[:0] if other is None else np.asarray(other.values, np.float64)
        self.files_legend.visible = other is not None
        self.scale = scale = scale_of(lines.unit, np.concatenate([values, compared]))
        values, compared = values * scale.factor, compared * scale.factor
        count, names = values.shape[1], [short_text(name) for name in columns["name"]]
        base = np.arange(count)[::-1].astype(float)
        middle, step = np.zeros(count), np.ones(count)
        is_overlay, is_difference = self.layout == OVERLAY, self._is_difference
        zeros = np.zeros((int(is_difference), count))  # Differences are seen from 0.
        seen = np.concatenate([values, compared, zeros])
        if is_overlay:
            base[:] = 0
            self._show_values(seen, scale.label("difference" if is_difference else what))
        else:
            middle, step = _places(seen, self.layout == _EACH)
            self._show_names(names, step[:1], lines.unit, scale)
        grid = self.figure.ygrid[0]
        grid.visible, grid.ticker = is_difference, FixedTicker(ticks=[*(base - middle / step)])
        for renderer, is_shown in ((self._lanes, not is_overlay), (self._wide, is_overlay)):
            renderer.visible = is_shown
        shared = {
            "color": list(colors), "y0": base - 0.5, "y1": base + 0.5,
            "unit": [scale.symbol] * count, **columns,
        }  # fmt: skip
        for source, drawn, found in ((self.lines, lines, values), (self.others, other, compared)):
            times: Any = [] if drawn is None else drawn.times * self.session.time.scale.factor
            ys = base + (found - middle) / step
            source.data = {**shared, "xs": [times] * count, "ys": [*ys.T], "values": [*found.T]} \
                if drawn is not None else {name: [] for name in source.data}  # fmt: skip
            if source is self.lines:
                self._mark(times, ys, colors)

    def _mark(self, times: Any, ys: NDArray[np.float64], colors: Sequence[str]) -> None:
        few = len(times) <= _MOST_POINTS
        self.points.data = {
            "x": np.tile(times, ys.shape[1]) if few else [],
            "y": ys.T.ravel() if few else [],
            "color": np.repeat(np.asarray(colors, object), len(times)).tolist() if few else [],
        }

    def _show_values(self, values: NDArray[np.float64], label: str) -> None:
        """Put values on the vertical axis."""
        low, high = limits_of(values)
        self.figure.y_range.update(start=low, end=high)
        axis = self.figure.yaxis[0]
        axis.update(ticker=BasicTicker(), major_label_overrides={}, axis_label=plain_text(label))
        self.figure.height = 260
        self._bar.visible = False

    def _show_names(
        self, names: Sequence[str], step: NDArray[np.float64], unit: str, scale: Scale
    ) -> None:
        """Put names on the vertical axis and a scale bar beside it."""
        count = len(names)
        self.figure.height = int(np.clip(28 * count + 40, 110, 460))
        self.figure.y_range.update(start=-0.6, end=max(count, 1) - 0.4)
        pixels = (self.figure.height - 30) / max(count, 1)
        every = max(1, int(np.ceil(_NAME_PIXELS / pixels)))
        shown = range(0, count, every)
        axis = self.figure.yaxis[0]
        axis.update(
            ticker=FixedTicker(ticks=[count - 1 - row for row in shown]),
            major_label_overrides={count - 1 - row: names[row] for row in shown},
            axis_label=plain_text(""),
        )
        self._bar.visible = bool(count) and self.layout == _STACKED
        if self._bar.visible:
            length = round_below(float(step[0]) * min(max(1, _BAR_PIXELS / pixels), count))
            top = -0.5 + length / float(step[0])
            bar = scale_of(unit, np.asarray([length / scale.factor]))
            symbol = "" if unit == UNKNOWN.name else bar.symbol
            text = f"{length / scale.factor * bar.factor:g} {symbol}".strip()
            self._bar.bounds = (-0.5, top)
            self._bar.ticker = FixedTicker(ticks=[(top - 0.5) / 2])
            self._bar.major_label_overrides = {(top - 0.5) / 2: text}

    def row_at(self, y: float) -> int | None:
        """Return the line at a place of the vertical axis; None without one."""
        count = len(self.lines.data["name"])
        row = count - 1 - round(y)
        return row if 0 <= row < count and self.layout != OVERLAY else None

    def nearest_row(self, x: float, y: float) -> int | None:
        """Return the line at a place of the figure, on one axis the nearest one."""
        if self.layout != OVERLAY:
            return self.row_at(y)
        ys = [np.interp(x, times, values) for times, values in
              zip(self.lines.data["xs"], self.lines.data["ys"], strict=True)]  # fmt: skip
        return int(np.nanargmin(np.abs(np.asarray(ys) - y))) if np.isfinite(ys).any() else None


def _places(values: NDArray[np.float64], is_each: bool) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: FBT001
    """Return the middle of each line, and the value of the distance of two lines for each."""
    values = np.where(np.isfinite(values), values, np.nan)
    low = np.fmin.reduce(values, axis=0, initial=np.nan)
    high = np.fmax.reduce(values, axis=0, initial=np.nan)
    ranges = np.nan_to_num(high - low)
    ranges = ranges if is_each else np.full(len(ranges), ranges.max(initial=0))
    return (low + high) / 2, np.where(ranges > 0, ranges, 1) / _FILL


def sampling(lines: Lines) -> str:
    """Return how many of the samples are drawn."""
    if not lines.samples:
        return "no values in this window"
    return "every sample" if lines.is_exact else "the lowest and the highest of each pixel"
