"""Panel of heat maps: compartments over time as an image, with cells and sections outlined."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from bokeh.models import (
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.choices import How
from ndx_simulation_output.plots.canvas import quantity_of, require_cells, scale_of
from ndx_simulation_output.plots.downsampling import Recorded
from ndx_simulation_output.plots.heat_maps import HeatMap, reduce_heat_map, sorted_by_group
from ndx_simulation_output.plots.look import LIGHT, ColorScale, MapName, color_scale
from ndx_simulation_output.recording import CompartmentTable, Report, SimulationOutput
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.compare import (
    Compared,
    difference_of,
    find_compared,
    matching_columns,
    require_real,
)
from ndx_simulation_output.viewer.controls import (
    Scales,
    arguments_code,
    cells_code,
    cells_of,
    compartment_tooltips,
)
from ndx_simulation_output.viewer.figures import (
    add_color_bar,
    add_image,
    empty_source,
    image_data,
    new_figure,
    pixels_of,
    set_range,
    short_text,
    stack,
    visible_rows,
    widened,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows, ViewedFile
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

_MIN_PIXELS = 1000
_MOST_BYTES = 2**25
"""Of more values a sample is read, so that each change is seen soon."""

_MOST_SORTED = 2**16
"""So many compartments are sorted within their cells, and have names in the hover."""

_MOST_BANDS = 100
"""So many cells, or sections of a cell, are outlined."""

_CELL = "cell "
_NAME_PIXELS = 14
_MOST_PLACES = 500

_COLORINGS: dict[str, tuple[MapName | None, bool]] = {
    "automatic": (None, True),
    "around 0": ("signed", True),
    "lowest to highest": ("values", False),
}

_PIXEL = """
    const [image, x, dw] = ["image", "x", "dw"].map((name) => pixels.data[name][0]);
    const columns = image.shape[1];
    const at = Math.floor((special_vars.x - x) / dw * columns);
    const column = Math.min(Math.max(at, 0), columns - 1);
"""
_TIME = "return `${Number((x + column * dw / columns).toPrecision(6))} ${unit}`;"
_VALUE = """
    const found = image[special_vars.index * columns + column];
    return isFinite(found) ? `${Number(found.toPrecision(6))} ${scale.data.unit[0]}` : "no value";
"""


@dataclass(frozen=True)
class RowOrder:
    """The compartments of a heat map from the top: ``columns`` (row,), None for all in file order.

    ``edges`` (band + 1,) are the first rows of cells, groups or sections, and the end; ``names``
    (band,) are those of these bands, and ``what`` stands before each.
    """

    columns: NDArray[np.intp] | None
    count: int
    edges: NDArray[np.intp]
    names: NDArray[Any]
    what: str

    def part(self, first: int, last: int) -> NDArray[np.intp]:
        """Return the columns of some rows."""
        return np.arange(first, last) if self.columns is None else self.columns[first:last]


def depth_of(table: CompartmentTable) -> tuple[str, bool]:
    """Return the column that has the depth, and whether it is of cells; an empty name without one.

    The y axis of circuits points to the surface.
    """
    of_cells = next((name for name in ("depth", "y") if name in table.cell_columns), "")
    if len(table) > 1 and of_cells:
        return of_cells, True
    return ("y" if "y" in table.columns else "", False)


def _depths(
    table: CompartmentTable, columns: NDArray[np.intp], rows: NDArray[np.intp]
) -> NDArray[Any]:
    """Return the depth of the cells of columns or, if there is one cell, of its compartments."""
    name, is_of_cells = depth_of(table)
    if is_of_cells:
        values = table.cells.read(name, np.arange(len(table)))[rows]
    else:
        values = table.values(name, columns)
        if len(columns) and (rows != rows[0]).any():
            _, firsts, owners = np.unique(rows, return_index=True, return_inverse=True)
            values = values[firsts][owners]
    return np.asarray(values if name == "depth" else -values)


def order_rows(
    table: CompartmentTable, columns: NDArray[np.intp] | None, by: str, *, is_by_depth: bool = False
) -> RowOrder:
    """Return columns (None for all) by group of cells, or by section and position within cells.

    More than 65,536 compartments keep their order within cells; by depth, the highest are first.
    """
    is_by_depth = is_by_depth and bool(depth_of(table)[0])
    count = table.n_compartments if columns is None else len(columns)
    if columns is None and count > _MOST_SORTED and not by and not is_by_depth:
        edges = np.concatenate([[0], np.asarray(table.ends[:], np.intp)])
        return RowOrder(None, count, edges, np.asarray(table.cell_ids[:]), _CELL)
    if by and table.cells is not None and by in table.cells.columns:
        columns, groups, edges = sorted_by_group(table, columns, by)
        return RowOrder(columns, count, edges, np.asarray(groups.names, object), "")
    columns = np.arange(count) if columns is None else columns
    rows = table.cell_rows(columns)
    owners = np.asarray(table.cell_ids[:])[rows]
    if count <= _MOST_SORTED:
        firsts = np.unique(owners, return_index=True)[1]
        ranks = np.zeros(count, np.intp)
        ranks[np.sort(firsts)] = 1  # Cells of a choice keep their order.
        ranks = np.cumsum(ranks) if len(firsts) == (np.diff(rows) != 0).sum() + 1 else rows
        keys = [table.values(name, columns) for name in ("position", "number")
                if name in table.columns]  # fmt: skip
        depths = [_depths(table, columns, rows)] if is_by_depth else []
        order = np.lexsort([*keys, ranks, *depths])
        columns, owners = columns[order], owners[order]
    elif is_by_depth:
        order = np.argsort(_depths(table, columns, rows), kind="stable")
        columns, owners = columns[order], owners[order]
    what, names = _CELL, owners
    if count and (owners == owners[0]).all() and count <= _MOST_SORTED:
        for name in ("label", "number"):
            if name in table.columns:
                what, names = "#" if name == "number" else "", table.values(name, columns)
                break
    cuts = np.flatnonzero(names[1:] != names[:-1]) + 1
    edges = np.concatenate([[0], cuts, [count]]) if count else np.zeros(1, np.intp)
    return RowOrder(columns, count, edges, names[edges[:-1]], what)


@dataclass(frozen=True)
class ShownHeatMap:
    """An image of rows of a report, in the order of ``order_rows``, from ``start`` to ``stop`` (s).

    Of two outputs it is that of the difference.
    """

    report: str
    cells: Cells | None = None
    by: str = ""
    is_by_depth: bool = False
    first: int = 0
    last: int | None = None
    start: float | None = None
    stop: float | None = None
    shape: tuple[int, int] = (400, 1000)
    how: How = "mean"
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    is_difference: bool = False

    @property
    def imports(self) -> tuple[str, ...]:
        """Import statements that the code needs."""
        modules = "compare, heat_maps" if self.is_difference else "heat_maps"
        return (
            "from ndx_simulation_output.plots import reduce_heat_map",
            f"from ndx_simulation_output.viewer import {modules}",
        )

    def order(self, report: Report) -> RowOrder:
        """Return the order of all rows."""
        table = report.compartments
        columns = None if self.cells is None else table.find(self.cells)
        if columns is not None:
            require_cells(report.population, self.cells, columns)
        return order_rows(table, columns, self.by, is_by_depth=self.is_by_depth)

    def read(self, recorded: Recorded, columns: NDArray[np.intp] | None) -> HeatMap:
        """Read the image."""
        window = {"start": self.start, "stop": self.stop}
        return reduce_heat_map(recorded, columns, **window, shape=self.shape, how=self.how,
                               most_bytes=_MOST_BYTES)  # fmt: skip

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the rows of pixels; the column names have the start times of the pixels."""
        report = outputs[0][self.report]
        order = self.order(report)
        columns = order.part(self.first, order.count if self.last is None else self.last)
        if len(outputs) > 1:
            other = find_compared(report, outputs[1])
            matching = matching_columns(report, other, columns)
            found = self.read(difference_of(report, other, columns, matching), None)
        else:
            found = self.read(report, columns)
        times = found.times[:-1] * self.scales.time.factor
        scale = self.scales.of(found.unit)
        value = scale.label(quantity_of(report))
        names = (f"{value} at {time:.10g} {self.scales.time.symbol}" for time in times.tolist())
        yield "first cell of the row", "first compartment of the row", *names
        firsts = columns[found.columns[:-1]]
        cells = report.compartments.cells_of(firsts).tolist()
        for cell, first, values in zip(cells, firsts.tolist(), found.values, strict=False):
            yield cell, first, *(values * scale.factor).tolist()

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values`` with shape (compartments, time)."""
        arguments = arguments_code(start=self.start, stop=self.stop, shape=self.shape,
                                   how=self.how, most_bytes=_MOST_BYTES)  # fmt: skip
        yield f"report = {names[0]}[{self.report!r}]"
        columns = "None"
        if self.cells is not None:
            columns = f"report.compartments.find({cells_code(self.cells)})"
        chosen = f"{columns}, {self.by!r}, is_by_depth={self.is_by_depth}"
        yield f"order = heat_maps.order_rows(report.compartments, {chosen})"
        last = "order.count" if self.last is None else self.last
        yield f"columns = order.part({self.first}, {last})"
        if len(names) > 1:
            yield f"second = compare.find_compared(report, {names[1]})"
            yield "matching = compare.matching_columns(report, second, columns)"
            yield "report = compare.difference_of(report, second, columns, matching)"
            yield "columns = None"
        yield f"shown = reduce_heat_map(report, columns, {arguments})"
        yield "values = shown.values"


class _Map:
    """A figure with an image, the outlines of cells or sections, and what the hover tells."""

    def __init__(self, panel: "HeatMapPanel", tooltips: Sequence[tuple[str, str]]) -> None:
        time = panel.session.time
        self.time, self.y_range = time, panel.y_range
        self.figure = new_figure("", "", height=250, zoom="both", x_range=time.x_range,
                                 y_range=panel.y_range)  # fmt: skip
        self.figure.grid.visible = False
        self.colors = LinearColorMapper(LIGHT.shades("values"), nan_color=LIGHT.nan)
        self.pixels = add_image(self.figure, self.colors)
        self.unit = empty_source("unit")
        self.rows = empty_source("y0", "y1", "cell", "row", "number", "label", "position", "count")
        hidden = {f"{which}{part}_alpha": 0 for which in ("", "nonselection_", "selection_")
                  for part in ("fill", "line")}  # fmt: skip
        lanes = self.figure.hstrip("y0", "y1", source=self.rows, **hidden)
        self.bands, self.cuts = (empty_source("y0", "y1", "cell", "color") for _ in range(2))
        for source, accent in ((self.cuts, "color"), (self.bands, ACCENT)):
            self.figure.hstrip(
                "y0", "y1", source=source, fill_alpha=0, line_color="color",
                nonselection_line_alpha=1, nonselection_fill_alpha=0, selection_fill_alpha=0,
                selection_line_color=accent, selection_line_width=2,
            )  # fmt: skip
        args = {"pixels": self.pixels, "unit": time.scale.symbol}
        formatters = {
            "$x": CustomJSHover(args=args, code=_PIXEL + _TIME),
            "$y": CustomJSHover(args={"pixels": self.pixels, "scale": self.unit},
                                code=_PIXEL + _VALUE),
        }  # fmt: skip
        tooltips = [*tooltips, ("time", "$x{custom}"), ("value", "$y{custom}")]
        hover = HoverTool(renderers=[lanes], tooltips=tooltips, limit=1, formatters=formatters,
                          point_policy="follow_mouse")  # fmt: skip
        self.figure.add_tools(hover)
        self.bar = add_color_bar(self.figure, self.colors)

    def clear(self) -> None:
        """Remove the image, for the case that an error is shown instead."""
        for source in (self.pixels, self.rows, self.bands, self.cuts):
            source.data = {name: [] for name in source.data}

    def draw(self, found: HeatMap, first: int, scale: Scale, colors: ColorScale) -> None:
        """Draw an image whose first row is ``first``."""
        values, times = found.values * scale.factor, found.times * self.time.scale.factor
        last = first + int(found.columns[-1])
        even = _on_even_pixels(values, times)
        self.pixels.data = image_data(even, (times[0], times[-1]), (first, last))
        if self.colors.name != colors.name:
            self.colors.update(name=colors.name, palette=LIGHT.shades(colors.name))
        low, high = widened(colors.low * scale.factor, colors.high * scale.factor)
        self.colors.update(low=low, high=high)
        self.bar.title = scale.symbol
        self.unit.data = {"unit": [scale.symbol]}

    def outline(
        self,
        order: RowOrder,
        first: int,
        last: int,
        picked: Sequence[tuple[int, int, int]],
    ) -> None:
        """Outline the bands of visible rows if they are few, and picked cells; name the bands."""
        begin = max(int(np.searchsorted(order.edges, first, "right")) - 1, 0)
        end = int(np.searchsorted(order.edges, last, "left"))
        edges, names = order.edges[begin : end + 1], order.names[begin:end]
        tops, bottoms = edges[:-1], edges[1:]
        is_outlined = len(names) <= _MOST_BANDS
        is_cells = order.what == _CELL and is_outlined
        color = LIGHT.text if self.colors.name == "signed" else "#ffffff"
        shown: dict[str, list[Any]] = {}
        if is_outlined:
            shown = {"y0": tops.tolist(), "y1": bottoms.tolist(), "color": [color] * len(names)}
        cells = [cell for cell, _, _ in picked]
        of_picked = {"y0": [top for _, top, _ in picked], "y1": [end for _, _, end in picked],
                     "cell": cells, "color": [ACCENT] * len(cells)}  # fmt: skip
        none: dict[str, list[Any]] = {name: [] for name in of_picked}
        self.bands.data = {**shown, "cell": names.tolist()} if is_cells else of_picked
        self.cuts.data = (
            {**shown, "cell": [-1] * len(names)} if is_outlined and not is_cells else none
        )
        middles = (np.maximum(tops, first) + np.minimum(bottoms, last)) / 2
        pixels = (pixels_of(self.figure)[0]) / max(last - first, 1)
        kept, free = [], -np.inf
        step = len(middles) // _MOST_PLACES + 1
        for row, middle in zip(range(0, len(middles), step), middles[::step].tolist(), strict=True):
            if middle * pixels >= free:
                kept.append(row)
                free = middle * pixels + _NAME_PIXELS
        axis = self.figure.yaxis[0]
        axis.ticker = FixedTicker(ticks=[float(middles[row]) for row in kept])
        axis.major_label_overrides = {
            float(middles[row]): short_text(f"{order.what}{names[row]}") for row in kept
        }


class HeatMapPanel(Panel):
    """Compartments over time as an image, read again when the visible rows or times change."""

    kind = "heat"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the reports with several compartments."""
        for rank, report in enumerate(output.reports):
            count = report.data.shape[1]
            if count > 1:
                about = f"{count:,} compartments"
                panel = PanelState("heat", report.name)
                yield Offer(panel, "Reports", report.name, about, 30 + rank, "heat map")

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Heat map of {self.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figures; the second is that of a file to compare with."""
        report = output[self.name]
        table = report.compartments
        tooltips = [*compartment_tooltips(table), ("compartments of the row", "@count")]
        self.y_range = Range1d(1, 0)
        self.maps: list[_Map] = []
        self._tooltips, self._layout = tooltips, stack()
        self._add_map(report.population)
        self.scale: Scale | None = None
        self._is_compared = False
        self._drawn: tuple[ShownHeatMap, str] | None = None
        self._report: Report | None = None
        self._can_be_by_depth = bool(depth_of(table)[0])
        self._key: tuple[Any, ...] = ()
        self._order = RowOrder(None, 0, np.zeros(1, np.intp), np.zeros(0), "")
        return self._layout

    def _add_map(self, population: str) -> None:
        made = _Map(self, self._tooltips)
        self.add_figure(made.figure, zooms=True)
        self.link(population, made.rows)
        self.link(population, made.bands)
        self.maps.append(made)
        self._layout.children = [one.figure for one in self.maps]

    def controls(self) -> Sequence[UIElement]:
        """Return widgets for the value of a pixel, the colours and the order of the rows."""
        controls = [self.choice("how", "A pixel shows", get_args(How), 100),
                    self.choice("colours", "Colours", [*_COLORINGS], 130)]  # fmt: skip
        if self._can_be_by_depth:
            controls.append(self.choice("rows", "Rows by", ["section", "depth"], 100))
        return controls

    @property
    def _coloring(self) -> str:
        return self.chosen("colours", [*_COLORINGS])

    @property
    def files(self) -> Sequence[ViewedFile]:
        """The files of the image."""
        other = self.session.other
        is_both = self._is_compared and self.session.shows_difference
        return [self.session.file, *([other] if is_both and other else [])]

    def update(self, output: SimulationOutput) -> None:
        """Draw the heat map, read again only if it is another one, and outline picked cells."""
        report = output[self.name]
        self._sort(report)
        first, last = visible_rows(self.y_range, self._order.count)
        wanted = replace(self.shown(), scales=Scales()), self._coloring
        if self._drawn != wanted or self._report is not report or self.session.other:
            self._drawn = None  # An error may be shown instead.
            self._read_and_draw(report, first, last)
            self._drawn, self._report = wanted, report
        picked = self._picked(report, first, last)
        for one in self.maps:
            one.outline(self._order, first, last, picked)

    def _read_and_draw(self, report: Report, first: int, last: int) -> None:
        for one in self.maps:
            one.clear()
        self._is_compared = False
        require_real(report)
        columns = self._order.part(first, last)
        with self.session.open_other() as opened:
            is_both = opened is not None and not self.session.shows_difference
            if is_both and len(self.maps) == 1:
                self._add_map(report.population)
            self.maps[-1].figure.visible = is_both or len(self.maps) == 1
            if opened is None:
                found = [self._read(report, columns)]
            else:
                other = find_compared(report, opened)
                found = self._read_both(report, other, columns)
        values = np.concatenate([each.values.ravel() for each in found])
        unit = report.unit.name
        name, is_robust = _COLORINGS[self._coloring]
        name = "signed" if len(self.files) > 1 else name
        colors = color_scale(values, unit, quantity_of(report), name=name, robust=is_robust)
        self.scale = scale = scale_of(unit, values)
        for each, read in zip(self.maps, found, strict=False):
            each.draw(read, first, scale, colors)
            each.rows.data = self._rows(report, columns, first, read)
        self.say(*self._notes(found, values, colors))

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:
        """Pick the cell of a row."""
        row, report = int(np.floor(y)), output[self.name]
        if not 0 <= row < self._order.count:
            return False
        table, column = report.compartments, self._order.part(row, row + 1)
        place = None
        if table.n_compartments > len(table) and "number" in table.columns:
            is_known = "position" in table.columns
            position = float(table.values("position", column)[0]) if is_known else np.nan
            place = int(table.values("number", column)[0]), position
        at = x / self.session.time.scale.factor
        cells = table.cells_of(column).tolist()
        self.session.pick(report.population, cells, at=at, compartment=place)
        return True

    def shown(self) -> ShownHeatMap:
        """Return the shown data."""
        time, count = self.session.time, self._order.count
        first, last = visible_rows(self.y_range, count)
        how: Any = self.chosen("how", get_args(How))
        return ShownHeatMap(
            self.name,
            cells_of(self.session.cells),
            self.session.group_by,
            self.options.get("rows") == "depth",
            first,
            None if last == count else last,
            time.start,
            time.stop,
            pixels_of(self.maps[0].figure),
            how,
            Scales(time.scale, self.scale),
            len(self.files) > 1,
        )

    def _sort(self, report: Report) -> None:
        """Order the rows, again only after another choice."""
        shown = replace(self.shown(), first=0, last=None)
        choice = self.session.cells, shown.by, shown.is_by_depth
        key = (*choice, self.session.file, report.compartments.n_compartments)
        if key != self._key:
            self._order, self._key = shown.order(report), key
            set_range(self.y_range, max(self._order.count, 1), 0)

    def _read(self, recorded: Recorded, columns: NDArray[np.intp] | None) -> HeatMap:
        return self.shown().read(recorded, columns)

    def _read_both(
        self, report: Report, other: Compared, columns: NDArray[np.intp]
    ) -> list[HeatMap]:
        """Read the images of two files, or of their difference."""
        matching = matching_columns(report, other, columns)
        difference = difference_of(report, other, columns, matching)
        self._is_compared = True
        if self.session.shows_difference:
            return [self._read(difference, None)]
        return [self._read(report, columns), self._read(other, matching)]

    def _rows(
        self, report: Report, columns: NDArray[np.intp], first: int, found: HeatMap
    ) -> dict[str, Any]:
        """Return what is known of the first compartment of each row of pixels."""
        table, edges = report.compartments, found.columns
        firsts = columns[edges[:-1]] if len(columns) else columns
        made: dict[str, Any] = {
            "y0": first + edges[:-1], "y1": first + edges[1:], "count": np.diff(edges),
            "row": first + edges[:-1], "cell": table.cells_of(firsts),
        }  # fmt: skip
        for name in ("number", "label", "position"):
            is_read = name in table.columns and (name != "label" or len(columns) <= _MOST_SORTED)
            made[name] = table.values(name, firsts) if is_read else [""] * len(firsts)
        return made

    def _picked(self, report: Report, first: int, last: int) -> list[tuple[int, int, int]]:
        """Return the picked cells with the first and the last of their visible rows."""
        population, ids = self.session.picked
        if population != report.population or not ids:
            return []
        table, order = report.compartments, self._order
        rows = table.cells.find_rows(np.asarray(ids, np.int64))
        found = []
        for cell, row in zip(ids, rows.tolist(), strict=True):
            if row < 0:
                continue
            its = table.find([cell])
            places = its
            if order.columns is not None:
                places = np.flatnonzero(np.isin(order.columns, its))
            places = places[(places >= first) & (places < last)]
            if len(places):
                found.append((cell, int(places[0]), int(places[-1]) + 1))
        return found

    def _notes(
        self, found: Sequence[HeatMap], values: NDArray[Any], colors: ColorScale
    ) -> Iterator[str]:
        session = self.session
        if self._is_compared and session.other is not None:
            names = session.file.name, session.other.name
            yield ("{} minus {}" if session.shows_difference else "above {}, below {}").format(
                *names
            )
        yield found[0].note or "each value has a pixel"
        beyond = int(((values < colors.low) | (values > colors.high)).sum())
        if beyond and self.scale is not None:
            low, high = colors.low * self.scale.factor, colors.high * self.scale.factor
            part = 100 * beyond / max(int(np.isfinite(values).sum()), 1)
            ends = f"{low:.3g} to {high:.3g} {self.scale.symbol}".strip()
            yield f"{part:.2g} % of the pixels are beyond the colours, {ends}"
        if not np.isfinite(values).all():
            yield "grey has no value"


def _on_even_pixels(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[Any]:
    """Resample bins of unequal width to pixels of equal width, as Bokeh images require.

    ``values`` has shape (row, bin), ``edges`` (bin + 1,). A pixel has the value of the bin at its
    centre.
    """
    steps = np.diff(edges)
    if len(steps) > 1 and not np.allclose(steps, steps.mean(), rtol=1e-6):
        pixels = max(len(steps), _MIN_PIXELS)
        centres = edges[0] + (np.arange(pixels) + 0.5) / pixels * (edges[-1] - edges[0])
        bins = np.clip(np.searchsorted(edges, centres, "right") - 1, 0, len(steps) - 1)
        return values[:, bins]
    return values
