"""Panels of traces and of extracellular channels."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import Toggle, UIElement
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.plots.canvas import quantity_of, require_cells
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.plots.groups import Groups, group_cells
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.traces import channel_places, group_lines
from ndx_simulation_output.recording import (
    CompartmentTable,
    ExtracellularPotential,
    Report,
    SimulationOutput,
)
from ndx_simulation_output.viewer.compare import (
    Compared,
    difference_of,
    matching_columns,
    require_real,
    shared_times,
)
from ndx_simulation_output.viewer.controls import (
    IDS_HINT,
    Scales,
    SelectedCompartments,
    ShownData,
    arguments_code,
    cells_of,
    compartment_names,
    compartment_tooltips,
    find_named,
    ids_code,
    ids_of,
    recorded_rows,
)
from ndx_simulation_output.viewer.figures import button, drawn_note, pixels_of
from ndx_simulation_output.viewer.lines import OVERLAY, StackPanel, sampling
from ndx_simulation_output.viewer.panels import Offer
from ndx_simulation_output.viewer.session import Rows, on_value
from ndx_simulation_output.viewer.state import PanelState

_MOST_OF_PICKED = 4
_MOST_CELLS_OF_MEANS = 1000


def _compared_rows(
    recorded: Sequence[Compared],
    columns: NDArray[np.intp],
    names: Sequence[str],
    shown: "ShownTraces | ShownChannels",
) -> Rows:
    """Yield the times and values of one recording, of two beside each other, or the difference."""
    window = shown.start, shown.stop
    one, *others = recorded
    if not others:
        yield from recorded_rows(one, columns, names, window, shown.scales)
        return
    matching = matching_columns(one, others[0], columns)
    difference = difference_of(one, others[0], columns, matching)
    if shown.is_difference:
        every = np.arange(len(columns))
        yield from recorded_rows(difference, every, names, window, shown.scales)
        return
    shared_times(one, others[0])
    of_files = ([f"{name}, {which} file" for name in names] for which in ("first", "second"))
    parts = [
        recorded_rows(each, some, named, window, shown.scales)
        for each, some, named in zip(recorded, (columns, matching), of_files, strict=True)
    ]
    for first, second in zip(*parts, strict=False):
        yield *first, *[*second][1:]


@dataclass(frozen=True)
class ShownTraces:
    """All samples of the selected compartments from ``start`` to ``stop`` (s).

    Of two outputs these are those of both, or the difference.
    """

    compartments: SelectedCompartments
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    is_difference: bool = False
    imports = ()

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the values of each row."""
        reports = [output[self.compartments.report] for output in outputs]
        columns = self.compartments.columns(reports[0])
        names = compartment_names(reports[0], columns)
        yield from _compared_rows(reports, columns, names, self)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``values``."""
        arguments = arguments_code(self.compartments.code, start=self.start, stop=self.stop)
        some = self.compartments.some
        part = "" if some is None else f"[:, {list(some)}]"
        traces = ("traces", "others")[: len(names)]
        for made, name in zip(traces, names, strict=True):
            yield f"{made} = {name}[{self.compartments.report!r}].select({arguments})"
        one, *two = traces
        if two and self.is_difference:
            yield f"rows = min(len({one}.times), len(others.times))"
            yield f"times = {one}.times[:rows]  # s"
            yield f'values = {one}.values[:rows]{part}.astype("f8") - others.values[:rows]{part}'
            return
        yield f"times, values = {one}.times, {one}.values{part}  # in s and traces.unit"
        if two:
            yield f"other_times, other_values = others.times, others.values{part}"


@dataclass(frozen=True)
class ShownMeans:
    """The mean of the selected compartments of each group of cells by the property ``by``."""

    compartments: SelectedCompartments
    by: str
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    imports = ()

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the mean of each group."""
        chosen = self.compartments
        means = outputs[0][chosen.report].mean_by(
            self.by, chosen.cells, chosen.numbers, start=self.start, stop=self.stop
        )
        scale = self.scales.of(means.unit)
        names = (f"{self.by} {group}" for group in means.groups.tolist())
        yield self.scales.time.label("time"), *map(scale.label, names)
        for time, values in zip(means.times, means.values, strict=True):
            yield float(time * self.scales.time.factor), *(values * scale.factor).tolist()

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times``, ``groups`` and ``values``."""
        chosen = self.compartments
        arguments = arguments_code(repr(self.by), chosen.code, start=self.start, stop=self.stop)
        yield f"means = {names[0]}[{chosen.report!r}].mean_by({arguments})"
        yield "times, groups, values = means.times, means.groups, means.values  # s, means.unit"


class TracesPanel(StackPanel):
    """Traces of some compartments of a report; picked cells that are not among them are first.

    Without a choice of compartments these are the somas, of a single cell and of a picked one
    also other compartments.
    """

    kind = "traces"
    first_count = 8

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the reports; one of potentials is the first to be shown."""
        for at, report in enumerate(output.reports):
            about = f"{report.data.shape[1]:,} compartments"
            panel = PanelState("traces", report.name)
            rank = 20 + at - len(output.reports) * (report.unit.name == "volts")
            yield Offer(panel, "Reports", report.name, about, rank, "traces")

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Traces of {self.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure."""
        table = output[self.name].compartments
        made = self.build_stack(compartment_tooltips(table))
        self.link(output[self.name].population, self.lines)
        self._shown: ShownData = ShownTraces(SelectedCompartments(self.name, ()))
        return made

    def controls(self) -> Sequence[UIElement]:
        """Return widgets for the compartments, their number and layout, and for means."""
        hint = "somas, or all, 0,5, dend[3]"
        compartments = self.text_choice("compartments", "Compartments", hint, 190)
        mean = Toggle(label="Mean of groups", active=self._is_mean, align="end", **button())
        on_value(mean, "active", lambda on: self.option("mean", "1" if on else ""))
        return [compartments, *self.stack_controls(), mean]

    @property
    def _is_mean(self) -> bool:
        return bool(self.options.get("mean"))

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the traces."""
        report = output[self.name]
        if self._is_mean and self.session.group_by:
            self._draw_means(report)
            return
        columns, total = self._columns(report)
        table, time = report.compartments, self.session.time
        cells = table.cells_of(columns)
        known = _row_columns(table, columns, cells)
        colors, note = self._colors(table, cells, known["name"])
        lines, other, notes = self.read(report, columns)
        self.show_lines(lines, known, colors, quantity_of(report), other)
        ids = tuple(dict.fromkeys(cells.tolist()))
        selected = table.find(ids)
        some = None
        if not np.array_equal(selected, columns):
            order = np.argsort(selected, kind="stable")
            some = tuple(order[np.searchsorted(selected, columns, sorter=order)].tolist())
        chosen = SelectedCompartments(self.name, ids, some=some)
        self._shown = ShownTraces(chosen, time.start, time.stop, Scales(time.scale, self.scale),
                                  self.session.shows_difference)  # fmt: skip
        self.say(drawn_note(len(columns), total, "compartments"), note, *notes)

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:
        """Pick the cell of the nearest trace."""
        row = self.nearest_row(x, y)
        if row is None or self._is_mean:
            return False
        line = {name: values[row] for name, values in self.lines.data.items()}
        place = (line["number"], line.get("position", np.nan)) if "number" in line else None
        at = x / self.session.time.scale.factor
        self.session.pick(output[self.name].population, [line["cell"]], at=at, compartment=place)
        return True

    def shown(self) -> ShownData:
        """Return the shown data."""
        return self._shown

    def _columns(self, report: Report) -> tuple[NDArray[np.intp], int]:
        """Return the columns of the traces, and of how many they were chosen."""
        table, count = report.compartments, self.count
        cells = cells_of(self.session.cells)
        rows = table.rows_of(cells)
        require_cells(report.population, cells, rows)
        chosen = rows[spread(len(rows), count)]
        population, ids = self.session.picked
        picked = np.zeros(0, np.intp)
        if population == report.population:
            picked = table.cells.find_rows(np.asarray(ids, np.int64))
            picked = picked[picked >= 0][:_MOST_OF_PICKED]
            new = picked[~np.isin(picked, chosen)]
            chosen = np.concatenate([new, chosen])[:count]
        owners = np.asarray(table.cell_ids[:])[chosen]
        text = self.options.get("compartments", "")
        if text:
            columns = table.find(owners, **_compartments_of(text))
            return columns[:count], len(columns)
        columns = table.find(owners)
        parts = np.split(columns, np.flatnonzero(np.diff(table.cell_rows(columns))) + 1)
        found: list[int] = []
        others: list[int] = []
        for row, part in zip(chosen, parts, strict=False):
            most = count if len(chosen) == 1 else _MOST_OF_PICKED if row in picked else 1
            some = _some_of_cell(table, part, most)
            if row in picked and self.session.compartment is not None:
                clicked = nearest_column(table, part, *self.session.compartment)
                some = [*dict.fromkeys([*some[:1], *clicked, *some])][:most]
            found += some
            others += some if row not in picked else []
        too_many = max(len(found) - count, 0)
        left_out = others[max(len(others) - too_many, 1) :] if too_many else []
        found = [one for one in found if one not in left_out]
        return np.asarray(found[:count], np.intp), len(rows) if len(rows) > 1 else len(columns)

    def _colors(
        self, table: CompartmentTable, cells: NDArray[Any], names: Sequence[str]
    ) -> tuple[list[str], str]:
        """Return the colour of each trace, and a note on the groups."""
        by = self.session.group_by
        self.legend.show()
        if by:
            with suppress(SelectionError):  # Other populations may have this property.
                groups = group_cells(table.cells, by, np.unique(cells))
                self._show_groups(groups, groups.names)
                return [groups.colors[code] for code in groups.codes_of(cells)], groups.note
        if self.layout == OVERLAY:
            colors = [COLORS[row % len(COLORS)] for row in range(len(cells))]
            self.legend.show(names, colors)
            return colors, ""
        return [COLORS[0]] * len(cells), f"no property {by!r}" if by else ""

    def _show_groups(self, groups: Groups, names: Sequence[str]) -> None:
        self.legend.show([f"{groups.name} {name}" for name in names], groups.colors)

    def _draw_means(self, report: Report) -> None:
        """Draw the mean of each group of cells."""
        require_real(report)
        self._is_compared = False
        table, time = report.compartments, self.session.time
        cells = cells_of(self.session.cells)
        rows = table.rows_of(cells)
        require_cells(report.population, cells, rows)
        some = rows[spread(len(rows), _MOST_CELLS_OF_MEANS)]
        ids = tuple(np.asarray(table.cell_ids[:])[some].tolist())
        text = self.options.get("compartments", "")
        numbers = _compartments_of(text).get("numbers") if text else None
        if not text and table.n_compartments > len(table) and "number" in table.columns:
            soma = _some_of_cell(table, table.find(ids[:1]), 1)
            numbers = table.values("number", np.asarray(soma)).tolist()
        chosen = SelectedCompartments(self.name, ids, None if numbers is None else tuple(numbers))
        found = group_lines(report, chosen.columns(report), self.session.group_by, most=0,
                            **time.drawn(pixels_of(self.figure)[1]))  # fmt: skip
        labels = [found.labels[code] for code in found.codes]
        columns = {
            "name": [found.groups.names[code] for code in found.codes],
            "cell": [-1] * len(labels),
        }
        self._show_groups(found.groups, found.labels)
        self.show_lines(found.lines, columns, found.colors, quantity_of(report))
        window = time.start, time.stop
        self._shown = ShownMeans(chosen, self.session.group_by, *window,
                                 Scales(time.scale, self.scale))  # fmt: skip
        drawn = drawn_note(len(some), len(rows), "cells")
        self.say(drawn, found.note, sampling(found.lines))


def _row_columns(
    table: CompartmentTable, columns: NDArray[np.intp], cells: NDArray[Any]
) -> dict[str, list[Any]]:
    """Return what is known of compartments: ``name``, ``cell``, label, number and position."""
    found: dict[str, list[Any]] = {"cell": cells.tolist()}
    names = [f"cell {cell}" for cell in found["cell"]]
    if table.n_compartments > len(table):
        found |= {name: table.values(name, columns).tolist()
                  for name in ("label", "number", "position") if name in table.columns}  # fmt: skip
        parts = found.get("label") or [f"#{number}" for number in found.get("number", [])]
        if len({*parts}) > 1 or len({*found["cell"]}) < len(names):
            names = [
                f"{cell} {part}" for cell, part in zip(found["cell"], parts or names, strict=True)
            ]
        if "position" in found:
            places = zip(names, found["position"], strict=True)
            names = [f"{name} {place:.2g}" if names.count(name) > 1 else name
                     for name, place in places]  # fmt: skip
    return {"name": names, **found}


def nearest_column(
    table: CompartmentTable, columns: NDArray[np.intp], number: int, position: float
) -> list[int]:
    """Return the column of a section of a cell that is nearest to a position; none if it has none.

    ``columns`` are those of the cell.
    """
    if "number" not in table.columns:
        return []
    of_section: NDArray[np.intp] = columns[table.values("number", columns) == number]
    if "position" not in table.columns or not np.isfinite(position):
        return [int(one) for one in of_section[:1]]
    distances = np.abs(table.values("position", of_section).astype(float) - position)
    return [int(one) for one in of_section[np.argsort(distances, kind="stable")[:1]]]


def _some_of_cell(table: CompartmentTable, columns: NDArray[np.intp], most: int) -> list[int]:
    """Return the soma of a cell and, up to ``most``, other ones of its columns, evenly spaced."""
    if not len(columns):
        return []
    soma = 0
    if "label" in table.columns:
        labels = [str(label).lower() for label in table.values("label", columns)]
        soma = next((row for row, label in enumerate(labels) if "soma" in label), 0)
    elif "number" in table.columns:
        soma = int(np.argmin(table.values("number", columns)))
    first = int(columns[soma])
    others = [one for one in columns[spread(len(columns), most)].tolist() if one != first]
    return [first, *others][:most]


def _compartments_of(text: str) -> dict[str, Any]:
    """Return numbers or labels of compartments as arguments of ``find``; none for all."""
    if text == "all":
        return {}
    with suppress(SelectionError, ValueError):
        return {"numbers": ids_of(text)}
    return {"labels": [part.strip() for part in text.split(",") if part.strip()]}


@dataclass(frozen=True)
class ShownChannels:
    """All samples of channels (by default all) of a potential from ``start`` to ``stop`` (s)."""

    potential: str
    channels: tuple[int, ...] | None = None
    start: float | None = None
    stop: float | None = None
    scales: Scales = Scales()  # noqa: RUF009 - frozen
    is_difference: bool = False
    imports = ()

    def find(self, output: SimulationOutput) -> ExtracellularPotential:
        """Return the potential."""
        return find_named(output.potentials, self.potential, "extracellular potential")

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the column names, then the time and the values of each row."""
        potentials = [self.find(output) for output in outputs]
        columns = potentials[0].find(self.channels)
        known, _ = channel_places(potentials[0])
        names = [f"channel {known[column]}" for column in columns]
        yield from _compared_rows(potentials, columns, names, self)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``times`` and ``values``."""
        channels = "" if self.channels is None else f"channels={ids_code(self.channels)}"
        arguments = arguments_code(channels, start=self.start, stop=self.stop)
        for prefix, name in zip(("", "other_"), names, strict=False):
            found = f"one for one in {name}.potentials if one.name == {self.potential!r}"
            yield f"potential = next({found})"
            yield f"rows = potential.times.window({self.start!r}, {self.stop!r})"
            yield f"{prefix}times = potential.times.seconds(rows)  # s"
            yield f"{prefix}values = potential.get_traces({arguments})  # in potential.unit"
        if len(names) > 1 and self.is_difference:
            yield "rows = min(len(times), len(other_times))"
            yield 'times, values = times[:rows], values[:rows].astype("f8") - other_values[:rows]'


class ChannelsPanel(StackPanel):
    """Channels of an extracellular potential by the depth of their electrodes, where known."""

    kind = "channels"
    first_count = 32

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the potentials."""
        for rank, potential in enumerate(output.potentials):
            about = f"{potential.data.shape[1]:,} channels"
            panel = PanelState("channels", potential.name)
            yield Offer(panel, "Extracellular", potential.name, about, 40 + rank)

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Channels of {self.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figure."""
        _, places = channel_places(ShownChannels(self.name).find(output))
        tooltips = [("channel", "@name")]
        if places is not None:
            tooltips.append(("electrode", "@x{0[.]0}, @y{0[.]0}, @z{0[.]0} µm"))
        self._channels: tuple[int, ...] = ()
        return self.build_stack(tooltips)

    def controls(self) -> Sequence[UIElement]:
        """Return widgets for the channels, their number and layout."""
        channels = self.text_choice("channels", "Channels", IDS_HINT, 160)
        return [channels, *self.stack_controls()]

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the channels."""
        potential = ShownChannels(self.name).find(output)
        names, places = channel_places(potential)
        found, note = potential.find(ids_of(self.options.get("channels", ""))), ""
        if places is not None and not self.options.get("channels"):
            axis = max((2, 1, 0), key=np.ptp(places, axis=0).__getitem__)
            found = np.argsort(-places[:, axis], kind="stable")
            note = f"the channel with the largest {'xyz'[axis]} is at the top"
        columns = found[spread(len(found), self.count)]
        lines, other, notes = self.read(potential, columns)
        shown = {"name": [names[column] for column in columns], "cell": [-1] * len(columns)}
        if places is not None:
            shown |= dict(zip("xyz", places[columns].T.tolist(), strict=True))
        colors = [COLORS[0]] * len(columns)
        self.legend.show()
        if self.layout == OVERLAY:
            colors = [COLORS[row % len(COLORS)] for row in range(len(columns))]
            self.legend.show(shown["name"], colors)
        self.show_lines(lines, shown, colors, "potential", other)
        self._channels = tuple(np.asarray(potential.channel_ids)[columns].tolist())
        self.say(drawn_note(len(columns), len(found), "channels"), note, *notes)

    def shown(self) -> ShownChannels:
        """Return the shown data."""
        time = self.session.time
        scales = Scales(time.scale, self.scale)
        return ShownChannels(self.name, self._channels, time.start, time.stop, scales,
                             self.session.shows_difference)  # fmt: skip
