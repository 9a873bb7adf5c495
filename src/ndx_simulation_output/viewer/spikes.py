"""Spikes of one population or of all in rows of cells, and their raster."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10
from typing import Any

import numpy as np
from bokeh.models import CustomJSHover, HoverTool, Range1d, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, NothingRecordedError, SelectionError
from ndx_simulation_output.plots.groups import Groups, group_cells
from ndx_simulation_output.plots.look import COLORS, rgb
from ndx_simulation_output.plots.spikes import chosen_ids
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.ids import positions_of
from ndx_simulation_output.recording.spikes import SpikeBlock
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.cells import about_cells
from ndx_simulation_output.viewer.controls import arguments_code, cells_code, cells_of, find_named
from ndx_simulation_output.viewer.figures import (
    empty_source,
    new_figure,
    pixels_of,
    plain_text,
    set_range,
    short_text,
    stack,
    visible_rows,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows, Session
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

_BLOCK = 2**18
_HALF = 0.5
"""A cell is at the middle of its row."""

_MOST_MARKS = 20_000
_MOST_COUNTED = 4
"""Windows whose counts are kept, such as that of the whole run."""
_REACH = 7
"""Farthest distance in pixels of a click from a spike."""

_HINT = "the wheel zooms in time, with Ctrl in cells"
_LABEL_PIXELS = 14
_LABEL_LETTERS = 8
_MOST_TICKS = 6
_MOST_PROPERTIES = 4
_FAINTEST = 110
"""Opacity, of 255, of a pixel with one spike."""


@dataclass(frozen=True)
class ShownSpikes:
    """Spikes of some ``cells`` of each population, where None is all, between two times (s)."""

    cells: Mapping[str, Cells | None]
    start: float | None = None
    stop: float | None = None
    time: Scale = Scale(1.0, "s")  # noqa: RUF009 - frozen
    imports = ()

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then time, population and node id of each spike."""
        yield self.time.label("time"), "population", "node id"
        for name, cells in self.cells.items():
            spikes = find_spikes(outputs[0], name)
            spikes = spikes.select(cells, start=self.start, stop=self.stop)
            for begin in range(0, len(spikes.times), _BLOCK):
                block = slice(begin, begin + _BLOCK)
                times = (spikes.times[block] * self.time.factor).tolist()
                ids = spikes.node_ids[block].tolist()
                yield from zip(times, [name] * len(ids), ids, strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read the ``spikes`` of each population."""
        window = arguments_code(start=self.start, stop=self.stop)
        if all(cells is None for cells in self.cells.values()):
            select, chosen = f"one.select({window})", repr([*self.cells])
        else:
            select, chosen = f"one.select(cells[one.population], {window})", "cells"
            yield "cells = {"
            for name, cells in self.cells.items():
                yield f"    {name!r}: {None if cells is None else cells_code(cells)},"
            yield "}"
        yield f"found = [one for one in {names[0]}.spikes if one.population in {chosen}]"
        yield f"spikes = {{one.population: {select} for one in found}}"
        yield "# spikes[population].times in s, and .node_ids"


def find_spikes(output: SimulationOutput, population: str) -> Spikes:
    """Return the spikes of a population."""
    return find_named(output.spikes, population, "spikes of population", by="population")


@dataclass(frozen=True)
class Part:
    """Cells of one population in consecutive rows of a raster, the first of which is ``first``.

    ``ids`` (row,) are the cells, ``row_of`` (known cell,) the row of each of
    ``spikes.known_cells``, -1 if it has none. ``edges`` (group + 1,) are the first rows of groups,
    with their ``labels`` and ``colors``.
    """

    spikes: Spikes
    first: int
    ids: NDArray[np.int64]
    row_of: NDArray[np.int32]
    edges: NDArray[np.intp]
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    groups: Groups | None = None

    @property
    def full_labels(self) -> list[str]:
        """Labels with the population and the numbers of cells."""
        of = "" if self.groups is None else f"{self.population} "
        pairs = zip(self.labels, np.diff(self.edges).tolist(), strict=True)
        return [f"{of}{label} ({count:,})" for label, count in pairs]

    @property
    def population(self) -> str:
        """Name of the population."""
        return self.spikes.population

    def rows_of(
        self, blocks: Iterable[SpikeBlock], rows: tuple[int, int]
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float64]]]:
        """Yield rows and times (s) of spikes of the population, of cells in a range of rows."""
        for ids, times, _ in blocks:
            found = self.row_of[positions_of(ids.astype(np.int64), self.spikes.known_cells)]
            inside = (found >= max(rows[0], 0)) & (found < rows[1])
            yield (found, times) if inside.all() else (found[inside], times[inside])


def _by_time(found: list[Any]) -> Iterator[Any]:
    """Yield the spikes of each part in the order of time."""
    for part in {id(part): part for part, _, _ in found}.values():
        rows, times = (
            np.concatenate([one[at] for one in found if one[0] is part]) for at in (1, 2)
        )
        order = np.argsort(times, kind="stable")
        yield part, rows[order], times[order]


def _pixels_of(times: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the pixel, between equally spaced ``edges``, of each time, as bisection finds it."""
    last = len(edges) - 2
    found: NDArray[np.intp] = ((times - edges[0]) * ((last + 1) / (edges[-1] - edges[0]))).astype(
        np.intp
    )
    np.clip(found, 0, last, out=found)
    # Rounding may miss an edge by one.
    found -= (times < edges[found]) & (found > 0)
    found += (times >= edges[found + 1]) & (found < last)
    return found


def parts_of(
    output: SimulationOutput, populations: Sequence[str], cells: Cells | None, by: str = ""
) -> list[Part]:
    """Return the rows of the chosen cells of populations, in groups by a property."""
    parts: list[Part] = []
    errors: list[SelectionError | CellNotFoundError] = []
    color_of: dict[str, str] = {}
    all_names = [one.population for one in output.spikes]
    for name in populations:
        spikes = find_spikes(output, name)
        try:
            found = chosen_ids(spikes, cells)
        except (SelectionError, CellNotFoundError) as error:
            errors.append(error)
            continue
        known = spikes.known_cells
        ids = known if found is None else np.unique(found).astype(np.int64)
        edges = np.array([0, len(ids)])
        labels: tuple[str, ...] = (name,)
        colors: tuple[str, ...] = (COLORS[all_names.index(name) % len(COLORS)],)
        groups = None
        if by and spikes.cells is not None and by in spikes.cells.columns and len(ids):
            groups = group_cells(spikes.cells, by, ids)
            ids, edges = groups.sorted_ids().astype(np.int64), groups.edges()
            labels, colors = groups.names, groups.colors
        if by:  # A value has the same colour in all populations.
            for label, color in zip(labels, colors, strict=True):
                free = (one for one in COLORS if one not in color_of.values())
                taken = color in color_of.values()
                color_of.setdefault(label, next(free, color) if taken else color)
            colors = tuple(color_of[label] for label in labels)
        first = sum(len(one.ids) for one in parts)
        row_of = np.full(len(known), -1, np.int32)
        at = positions_of(ids, known)
        row_of[at[at >= 0]] = first + np.flatnonzero(at >= 0)
        parts.append(Part(spikes, first, ids, row_of, edges + first, labels, colors, groups))
    if not parts:
        raise errors[0] if errors else NothingRecordedError("the file has no spikes")
    return parts


class SpikesPanel(Panel):
    """A panel of the spikes of the population ``name`` or, if it is empty, of all."""

    def __init__(self, session: Session, state: PanelState) -> None:
        super().__init__(session, state)
        self._made: Any = None
        self._drawn: Any = None
        self._counted: dict[Any, Any] = {}
        self._said = ""

    def parts(self, output: SimulationOutput) -> list[Part]:
        """Return the rows of the cells; they are made again if cells, groups or file change."""
        key = self.session.cells, self.session.group_by
        made: tuple[SimulationOutput, Any, list[Part]] | None = self._made
        if made is None or made[0] is not output or made[1] != key:
            names = [self.name] if self.name else [one.population for one in output.spikes]
            parts = parts_of(output, names, cells_of(self.session.cells), self.session.group_by)
            self._made = made = output, key, parts
            self._drawn, self._counted = None, {}
        return made[2]

    @property
    def what(self) -> str:
        """The cells as words of a title."""
        by = f" by {self.session.group_by}" if self.session.group_by else ""
        return f"{self.name or 'all populations'}{by}"


class RasterPanel(SpikesPanel):
    """Spikes as marks or, if there are many, as an image: the more, the stronger the colour."""

    kind = "raster"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield all populations that spike, and each."""
        names = [one.population for one in output.spikes]
        counts = {one.population: len(one) for one in output.spikes}
        counts = {"": sum(counts.values()), **counts} if len(names) > 1 else counts
        for at, (name, count) in enumerate(counts.items()):
            label = name or "all populations"
            about, rank = f"{count:,} spikes", None if at else 10
            yield Offer(PanelState("raster", name), "Spikes", label, about, rank, "raster")

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Spikes of {self.what}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure."""
        self.figure = made = new_figure(
            "", "", height=250, zoom="both", x_range=self.session.time.x_range,
            y_range=Range1d(0, 1),
        )  # fmt: skip
        made.ygrid.visible = False
        self.bands = empty_source("low", "high", "color")
        made.hstrip(y0="low", y1="high", color="color", alpha=0.07, line_color=None,
                    source=self.bands)  # fmt: skip
        self.pixels = empty_source("image", "count", "x", "y", "dw", "dh")
        image = made.image_rgba("image", "x", "y", "dw", "dh", source=self.pixels)
        self.points = empty_source("time", "population", "cell", "row", "color", "about")
        self.marks = made.scatter(
            "time", "row", marker="dash", angle=np.pi / 2, size=8, line_width=1.4, color="color",
            source=self.points, nonselection_alpha=0.35, selection_color=ACCENT,
            selection_line_width=2.5,
        )  # fmt: skip
        self.link("", self.points)
        self._add_hover(image, has_properties=any(one.cells for one in output.spikes))
        self._n_rows = 0
        self.add_figure(made, zooms=True)
        return stack(made)

    def _add_hover(self, image: Any, *, has_properties: bool) -> None:
        unit = self.session.time.scale.symbol
        spike = [("cell", "@cell of @population"), ("time", "@time{0[.]000} " + unit)]
        spike += [("type", "@about")] if has_properties else []
        self.figure.add_tools(HoverTool(tooltips=spike, renderers=[self.marks], limit=1))
        self.pixel_rows = empty_source("low", "text")
        code = """
            const low = rows.data.low, row = Math.max(0, low.findLastIndex((one) => one <= value));
            return rows.data.text[row] ?? "";
        """
        cells = CustomJSHover(args={"rows": self.pixel_rows}, code=code)
        pixel = [("spikes in the pixel", "@count"), ("cells", "$y{custom}"),
                 ("time", "$x{0[.]000} " + unit)]  # fmt: skip
        self.figure.add_tools(
            HoverTool(tooltips=pixel, renderers=[image], formatters={"$y": cells})
        )

    def update(self, output: SimulationOutput) -> None:
        """Count and draw the spikes, unless the same are drawn already."""
        time, parts = self.session.time, self.parts(output)
        n_rows = sum(len(part.ids) for part in parts)
        y_range = self.figure.y_range
        if n_rows != self._n_rows:  # The first row is at the top, as in the other panels.
            self._n_rows = n_rows
            ends = max(n_rows, 1) - _HALF, -_HALF
            set_range(y_range, *ends)
            y_range.bounds = ends[::-1]
        rows = visible_rows(y_range, n_rows, _HALF)
        pixels = pixels_of(self.figure)
        if (key := (rows, time.window, pixels, self.session.picked)) != self._drawn:
            self._said = self._draw(parts, rows, pixels)
            self._drawn = key
        self.say(self._said)

    def _draw(self, parts: list[Part], rows: tuple[int, int], pixels: tuple[int, int]) -> str:
        key = rows, self.session.time.window, pixels
        if key not in self._counted:
            kept = list(self._counted.items())[1 - _MOST_COUNTED :]
            self._counted = {**dict(kept), key: self._count(parts, rows, pixels)}
        image, n_spikes, found = self._counted[key]
        found = found if image is None else [*self._picked(parts, rows)]
        self._draw_marks(found, pixels[0] / max(rows[1] - rows[0], 1))
        self._draw_image(parts, image, self._edges(pixels), rows)
        self._label(parts, rows, pixels[0])
        n_cells = rows[1] - rows[0] if parts else 0
        how = "" if image is None else "; the stronger a colour, the more spikes in the pixel"
        return f"{n_spikes:,} spikes of {n_cells:,} cells in the window{how}; {_HINT}"

    def _edges(self, pixels: tuple[int, int]) -> NDArray[np.float64]:
        return np.linspace(*self.session.time.window, pixels[1] + 1)

    def _count(
        self, parts: list[Part], rows: tuple[int, int], pixels: tuple[int, int]
    ) -> tuple[NDArray[np.int64] | None, int, list[Any]]:
        """Return the counts in each pixel if there are many spikes, the number, and few spikes."""
        height = max(1, min(pixels[0], rows[1] - rows[0]))
        edges = self._edges(pixels)
        counts = np.zeros(height * pixels[1], np.int64)
        found: list[Any] = []
        n_spikes = 0
        for part in parts:
            for at, times in part.rows_of(self.session.spikes_in_window(part.spikes), rows):
                down = (at.astype(np.int64) - rows[0]) * height // (rows[1] - rows[0])
                pixel = down * pixels[1] + _pixels_of(times, edges)
                counts += np.bincount(pixel, minlength=len(counts))
                n_spikes += len(times)
                found = [] if n_spikes > _MOST_MARKS else [*found, (part, at, times)]
        return counts.reshape(height, -1) if n_spikes > _MOST_MARKS else None, n_spikes, found

    def _picked(self, parts: list[Part], rows: tuple[int, int]) -> Iterator[Any]:
        """Yield the spikes of picked cells, which are drawn over the image."""
        population, ids = self.session.picked
        time = self.session.time
        for part in parts:
            if part.population == population:
                blocks = part.spikes.parts(list(ids), start=time.start, stop=time.stop)
                for found, times in part.rows_of(blocks, rows):
                    yield part, found, times

    def _draw_marks(self, found: list[Any], row_pixels: float) -> None:
        data: dict[str, list[Any]] = {name: [] for name in self.points.data}
        for part, rows, times in _by_time(found):
            ids = part.ids[rows - part.first]
            colors = np.array(part.colors, object)
            data["time"].append(times * self.session.time.scale.factor)
            data["row"].append(rows)
            data["cell"].append(ids)
            data["population"].append(np.full(len(ids), part.population, object))
            data["color"].append(colors[np.searchsorted(part.edges, rows, "right") - 1])
            about = about_cells(part.spikes.cells, ids, self.session.group_by, _MOST_PROPERTIES)
            data["about"].append(np.array(about, object))
        self.points.data = {
            name: np.concatenate(values) if values else [] for name, values in data.items()
        }
        self.marks.glyph.size = min(max(0.7 * row_pixels, 3.0), 18.0)

    def _draw_image(
        self,
        parts: list[Part],
        counts: NDArray[np.int64] | None,
        edges: NDArray[np.float64],
        rows: tuple[int, int],
    ) -> None:
        if counts is None:
            self.pixels.data = {name: [] for name in self.pixels.data}
            self.pixel_rows.data = {"low": [], "text": []}
            return
        height = len(counts)
        low = rows[0] + np.arange(height + 1) * (rows[1] - rows[0]) / height
        image = np.zeros((*counts.shape, 4), np.uint8)
        texts: list[str] = []
        for row, (begin, end) in enumerate(pairwise(low.astype(int).tolist())):
            part = next(one for one in reversed(parts) if one.first <= begin)
            group = int(np.searchsorted(part.edges, begin, "right")) - 1
            color = part.colors[group]
            image[row, :, :3] = rgb(color)
            last = min(max(end, begin + 1), int(part.edges[-1])) - 1
            ids = part.ids[begin - part.first], part.ids[last - part.first]
            name = "" if part.labels[group] == part.population else f", {part.labels[group]}"
            texts.append(f"{ids[0]} to {ids[1]} of {part.population}{name}")
        most = np.percentile(counts[counts > 0], 99.5) if counts.any() else 1
        strength = _FAINTEST + (255 - _FAINTEST) * np.minimum(counts / most, 1)
        image[:, :, 3] = np.where(counts, strength, 0)
        factor = self.session.time.scale.factor
        self.pixels.data = {
            "image": [image.view(np.uint32).reshape(counts.shape)],
            "count": [counts.astype(np.int32)],
            "x": [edges[0] * factor],
            "y": [rows[0] - _HALF],
            "dw": [(edges[-1] - edges[0]) * factor],
            "dh": [rows[1] - rows[0]],
        }
        self.pixel_rows.data = {"low": low[:-1] - _HALF, "text": texts}

    def _label(self, parts: list[Part], rows: tuple[int, int], pixels: int) -> None:
        """Label the rows with ids or, if there are several, the groups."""
        ticks: dict[int | float, str] = {}
        low, high = rows
        per_row = pixels / max(high - low, 1)  # a population may have no cells
        is_grouped = sum(len(part.labels) for part in parts) > 1
        bands: list[tuple[float, float, str]] = []
        for part in parts:
            is_many = len(parts) > 1 and part.groups is not None
            for begin, end, label, color in zip(
                part.edges[:-1], part.edges[1:], part.labels, part.colors, strict=True
            ):
                first, last = max(int(begin), low), min(int(end), high)
                if first < last and is_grouped:
                    bands.append((begin - _HALF, end - _HALF, color))
                    if (last - first) * per_row >= _LABEL_PIXELS:
                        name = f"{part.population[:3]} {label}" if is_many else label
                        ticks[(first + last - 1) / 2] = short_text(name, _LABEL_LETTERS)
        if not is_grouped or per_row >= _LABEL_PIXELS:
            ticks = {row: text for part in parts for row, text in _id_ticks(part, low, high)}
        self.figure.yaxis.ticker = list(ticks)
        self.figure.yaxis.major_label_overrides = {
            at: plain_text(label) for at, label in ticks.items()
        }
        self.figure.yaxis.axis_label = None if is_grouped else plain_text("cell")
        names = ("low", "high", "color")
        self.bands.data = {name: [one[at] for one in bands] for at, name in enumerate(names)}

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:
        """Pick the cell of the nearest spike, or else that of a row which is high enough to aim."""
        time, parts = self.session.time, self.parts(output)
        n_rows = sum(len(part.ids) for part in parts)
        height, width = pixels_of(self.figure)
        first, last = visible_rows(self.figure.y_range, n_rows, _HALF)
        per_second = width / (time.window[1] - time.window[0])
        per_row = height / (last - first)
        reach = max(_REACH / per_row, _HALF)
        at, best = x / time.scale.factor, (np.inf, "", 0, 0.0)
        rows = int(np.floor(y - reach)) + 1, int(np.ceil(y + reach))
        for part in parts:
            start, stop = at - _REACH / per_second, at + _REACH / per_second
            near_rows = max(rows[0], first), min(rows[1], last)
            near_spikes = list(part.rows_of(part.spikes.parts(start=start, stop=stop), near_rows))
            found = np.concatenate([np.zeros(0, np.int32), *(one for one, _ in near_spikes)])
            times = np.concatenate([np.zeros(0), *(one for _, one in near_spikes)])
            if len(found):
                far = np.hypot((times - at) * per_second, (found - y) * min(per_row, _REACH))
                near = int(np.argmin(far))
                cell = int(part.ids[found[near] - part.first])
                best = min(best, (float(far[near]), part.population, cell, float(times[near])))
        if best[1]:
            self.session.pick(best[1], [best[2]], at=best[3])
            return True
        row = round(y)
        if per_row < _REACH or not 0 <= row < n_rows:
            return False
        part = next(one for one in reversed(parts) if one.first <= row)
        self.session.pick(part.population, [int(part.ids[row - part.first])], at=at)
        return True

    def shown(self) -> ShownSpikes:
        """Return the shown data."""
        time = self.session.time
        parts: list[Part] = [] if self._made is None else self._made[2]
        low, high = visible_rows(self.figure.y_range, sum(len(part.ids) for part in parts), _HALF)
        chosen = cells_of(self.session.cells)
        cells: dict[str, Cells | None] = {}
        for part in parts:
            ids = part.ids[max(low - part.first, 0) : max(high - part.first, 0)]
            is_named = chosen is None or isinstance(chosen, str | Mapping)
            if len(ids):
                is_whole = len(ids) == len(part.ids) and is_named
                cells[part.population] = chosen if is_whole else ids.tolist()
        return ShownSpikes(cells, time.start, time.stop, time.scale)


def _id_ticks(part: Part, low: int, high: int) -> Iterator[tuple[int, str]]:
    """Yield rows of a part with their ids: round ones if there are several."""
    begin, end = max(part.first, low), min(part.first + len(part.ids), high)
    ids = part.ids[begin - part.first : end - part.first] if begin < end else part.ids[:0]
    rows = np.arange(0, len(ids), _nice_step((high - low) / _MOST_TICKS))
    if len(ids) and part.groups is None:
        step = _nice_step((ids[-1] - ids[0]) / _MOST_TICKS)
        wanted = np.arange(-(-ids[0] // step) * step, ids[-1] + 1, step)
        round_ones = positions_of(wanted, ids)
        rows = round_ones[round_ones >= 0] if (round_ones >= 0).sum() > 1 else rows
    yield from zip((begin + rows).tolist(), map(str, ids[rows].tolist()), strict=True)


def _nice_step(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, … that is not below a number."""
    power: int = 10 ** floor(log10(max(least, 1)))
    return next(one * power for one in (1, 2, 5, 10) if one * power >= least)
