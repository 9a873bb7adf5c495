"""The card of the picked cell: its properties, and what it did in the time window."""

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import Button, ColumnDataSource
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import scale_of
from ndx_simulation_output.plots.downsampling import spread
from ndx_simulation_output.plots.networks import neuron_quantities
from ndx_simulation_output.plots.shapes import read_frames
from ndx_simulation_output.recording import (
    CellTable,
    NetworkSnapshot,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.units import unit_label
from ndx_simulation_output.viewer.figures import button, new_text, small_text, stack, title_html
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.time_axis import TimeAxis
from ndx_simulation_output.viewer.traces import nearest_column

_MAIN = (
    *("model_name", "pop_name", "mtype", "morph_class", "cell_type", "type", "etype", "ei"),
    *("synapse_class", "layer", "region", "model_type", "node_type_id"),
)
"""Properties that tell most of a cell, in this order."""

_MOST_PROPERTIES = 30
_MOST_REPORTS = 6
_MOST_CONNECTIONS = 5_000_000
"""Tables with more connections are counted only if they are stored sorted by cell."""

_MOST_BUTTONS = 4
_MOST_WINDOWS = 4
"""Windows of which the facts are kept."""
_MOST_CARDS = 300
"""A saved page has the cards of at most so many cells."""

_SHEET = """
    .fact { display: inline-block; margin: 0 14px 1px 0; overflow-wrap: anywhere; }
    .fact b { font-weight: 500; color: var(--pale); }
"""


def main_properties(cells: CellTable) -> list[str]:
    """Return the names of the properties with one value for each cell, the main ones first."""
    names = [name for name, values in cells.columns.items()
             if len(values.shape) == 1 and values.dtype.kind in "OSUbiuf"]  # fmt: skip
    first = [name for name in _MAIN if name in names]
    return [*first, *(name for name in names if name not in first)]


def about_cells(table: CellTable | None, ids: NDArray[Any], first: str, most: int) -> list[str]:
    """Return properties of cells as texts: ``first`` and types, not numbers such as places."""
    if table is None or not len(ids):
        return [""] * len(ids)
    distinct, inverse = np.unique(ids, return_inverse=True)
    rows = table.find_rows(distinct)
    is_known = rows >= 0
    texts = np.full(len(distinct), "", object)
    names = [name for name in main_properties(table)
             if name == first or table.columns[name].dtype.kind != "f"]  # fmt: skip
    for name in sorted(names, key=lambda name: name != first)[:most]:
        values = table.read(name, rows[is_known])
        texts[is_known] += np.array([f"{name} {value}, " for value in values.tolist()], object)
    return [text.removesuffix(", ") for text in texts[inverse].tolist()]


class CellCard:
    """All of the picked cell in a few lines; without one, what was recorded in the window."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.head = new_text()
        self.text = new_text()
        self.text.stylesheets = [*self.text.stylesheets, _SHEET]
        self.previous = self._button("←", lambda output: self.step(output, -1))
        self.next = self._button("→", lambda output: self.step(output, 1))
        self.none = self._button("×", lambda _: session.pick("", ()))
        steps = [] if session.is_saved else [self.previous, self.next, self.none]
        self._parts = [
            row(self.head, *steps, sizing_mode="stretch_width"),
            self.text,
        ]
        self.layout: Any = stack(*self._parts)
        self._of_file: SimulationOutput | None = None
        self._of_windows: dict[Any, tuple[str, str, list[Button]]] = {}

    def _button(self, label: str, do: Any) -> Button:
        made = Button(label=label, **button("live"))
        made.on_click(lambda _: self.session.run(do))
        return made

    def update(self, output: SimulationOutput) -> None:
        """Write the facts."""
        population, ids = self.session.picked
        if self.session.is_saved:
            self._save_cards(output)
        self.none.visible = bool(ids)
        if not ids:
            window = self.session.time.window
            if output is not self._of_file:
                self._of_file, self._of_windows = output, {}
            if window not in self._of_windows:
                kept = list(self._of_windows.items())[1 - _MOST_WINDOWS :]
                self._of_windows = {**dict(kept), window: self._of_run(output)}
            self._show(*self._of_windows[window])
            return
        more = f" and {len(ids) - 1:,} more" if len(ids) > 1 else ""
        facts = _facts(output, population, ids[0], self.session)
        self._show(f"Cell {ids[0]} of {population}{more}", _html(facts), [])

    def forget_unknown(self, output: SimulationOutput) -> None:
        """Pick no cell if the file does not have all that are picked."""
        population, ids = self.session.picked
        if not all(_has_cell(output, population, one) for one in ids):
            self.session.picked, self.session.compartment = ("", ()), None

    def _show(self, title: str, html: str, buttons: list[Button]) -> None:
        is_saved = self.session.is_saved  # the browser writes the title with the text
        self.head.update(text=title_html(title), visible=not is_saved)
        self.text.text = title_html(title) + html if is_saved else html
        children = [*self._parts, *([] if is_saved else buttons)]
        if self.layout.children != children:
            self.layout.children = children

    def _save_cards(self, output: SimulationOutput) -> None:
        """Put the cards of some cells into a saved page, where no Python makes them."""
        names = dict.fromkeys([one.population for one in output.spikes]
                              + [one.population for one in output.reports])  # fmt: skip
        rows: list[tuple[str, int, str]] = []
        for name in names:
            known = _known(output, name)
            for cell in known[spread(len(known), _MOST_CARDS // len(names))].tolist():
                facts = _html(_facts(output, name, cell, self.session))
                rows.append((name, cell, title_html(f"Cell {cell} of {name}") + facts))
        columns = zip(*rows, strict=True) if rows else [(), (), ()]
        cards = ColumnDataSource(name="cards")
        cards.data = {name: [*values] for name, values in
                      zip(("population", "cell", "text"), columns, strict=True)}  # fmt: skip
        self.text.update(name="card", tags=[cards])

    def _of_run(self, output: SimulationOutput) -> tuple[str, str, list[Button]]:
        """Return what was recorded in the window, and buttons for who spiked first."""
        facts: list[tuple[str, str]] = []
        buttons = []
        for spikes in output.spikes[:_MOST_BUTTONS]:
            count, first = 0, (np.inf, 0)
            for ids, times, _ in self.session.spikes_in_window(spikes):
                count += len(times)
                if len(times) and times.min() < first[0]:
                    first = float(times.min()), int(ids[np.argmin(times)])
            facts.append((spikes.population, f"{count:,} spikes"))
            buttons += [self._first_button(spikes.population, *first)] if count else []
        facts += [(report.name, f"{len(report.compartments):,} cells")
                  for report in output.reports[:_MOST_REPORTS]]  # fmt: skip
        circuit = () if output.circuit is None else output.circuit.summary
        facts += [(one.name, f"{one.size:,} cells in the circuit") for one in circuit]
        hint = "Click a spike, a trace or a cell to see all of it here"
        hint += "" if self.session.is_saved else "; n and p step through the cells"
        title = "In the window" if output.spikes or output.reports else "In the file"
        return title, _html(facts) + f"<div>{small_text(hint)}</div>", buttons

    def _first_button(self, population: str, at: float, cell: int) -> Button:
        scale = self.session.time.scale
        when = f"{at * scale.factor:.7g} {scale.symbol}"
        label = f"first spike: cell {cell} of {population}, {when}"
        made = Button(label=label, **button("live"))
        made.on_click(lambda _: self.session.pick(population, [cell], at=at))
        return made

    def step(self, output: SimulationOutput, step: int) -> None:
        """Pick the next or the previous cell of the population."""
        population, ids = self.session.picked
        if not population:
            names = [one.population for one in output.spikes]
            names += [one.population for one in output.reports]
            names += [part.name for one in output.networks for part in one.populations]
            population = names[0] if names else ""
        known = _known(output, population)
        if not len(known):
            return
        here = int(np.searchsorted(known, ids[0])) + step if ids else 0 if step > 0 else -1
        self.session.pick(population, [int(known[here % len(known)])])


def _html(facts: Any) -> str:
    return "".join(
        f'<span class="fact"><b>{escape(name)}</b> {escape(str(value))}</span>'
        for name, value in facts
    )


def _known(output: SimulationOutput, population: str) -> NDArray[Any]:
    """Return the ids of the cells of a population in ascending order."""
    for spikes in output.spikes:
        if spikes.population == population:
            return spikes.known_cells
    for table in tables_of(output, population):
        return np.sort(np.asarray(table.ids[:]))
    for network in output.networks:
        for part in network.populations:
            if part.name == population:
                return np.arange(part.size)
    return np.zeros(0, np.int64)


def _has_cell(output: SimulationOutput, population: str, cell: int) -> bool:
    return (
        any(one.find_rows(np.array([cell]))[0] >= 0 for one in tables_of(output, population))
        or any(one.population == population and cell in one.known_cells for one in output.spikes)
        or any(part.name == population and 0 <= cell < part.size
               for network in output.networks for part in network.populations)
    )  # fmt: skip


def tables_of(output: SimulationOutput, population: str | None = None) -> list[CellTable]:
    """Return the tables of the cells of a population, or of all."""
    circuit = () if output.circuit is None else output.circuit.populations
    of_spikes = (one.cells for one in output.spikes)
    of_reports = (one.compartments.cells for one in output.reports)
    found = (*circuit, *of_spikes, *of_reports)
    return [one for one in found if one is not None and population in {None, one.population}]


def _facts(
    output: SimulationOutput, population: str, cell: int, session: Session
) -> Iterator[tuple[str, str]]:
    """Yield what is known of a cell: spikes, values at the cursor, properties, connections."""
    for spikes in output.spikes:
        if spikes.population == population:
            yield from _spike_facts(spikes, cell, session)
    reports = [one for one in output.reports if one.population == population]
    for report in reports[:_MOST_REPORTS]:
        yield from _report_facts(report, cell, session)
    for network in output.networks:
        yield from _state_facts(network, population, cell)
    values: dict[str, str] = {}
    for table in tables_of(output, population):
        place = table.find_rows(np.array([cell]))
        if place[0] >= 0:
            for name in main_properties(table)[:_MOST_PROPERTIES]:
                if name not in values:
                    value = table.read(name, place)[0]
                    values[name] = f"{value:.6g}" if isinstance(value, np.floating) else str(value)
    first = [name for name in _MAIN if name in values]
    yield from {**{name: values[name] for name in first}, **values}.items()
    yield from _connection_facts(output, population, cell)


def _in_window(times: NDArray[Any], time: TimeAxis) -> NDArray[np.bool_]:
    """Return what is in the window as the panels have it: its end is not, unless the run ends."""
    start = -np.inf if time.start is None else time.start
    stop = np.inf if time.stop is None else time.stop
    return (times >= start) & (times < stop)


def _spike_facts(spikes: Spikes, cell: int, session: Session) -> Iterator[tuple[str, str]]:
    time = session.time
    times = np.concatenate([np.zeros(0), *(part.times for part in spikes.parts(cell))])
    inside = times[_in_window(times, time)]
    text = f"{len(inside):,} of {len(times):,}"
    length = time.limits[1] - time.limits[0]
    if len(inside) and length > 0:
        text += f", {len(inside) / length:.4g} Hz"
        first, last = (f"{one * time.scale.factor:.5g}" for one in (inside.min(), inside.max()))
        text += f", first {first}, last {last} {time.scale.symbol}"
    yield "spikes in the window", text


def _report_facts(report: Report, cell: int, session: Session) -> Iterator[tuple[str, str]]:
    table = report.compartments
    if table.cells.find_rows(np.array([cell]))[0] < 0:
        return
    columns = table.find([cell])
    text = ""
    at = None if session.is_saved else session.time.at
    if len(columns) and report.times.count and at is not None:
        clicked = session.compartment
        found = [] if clicked is None else nearest_column(table, columns, *clicked)
        frame = read_frames(report, np.asarray(found or columns[:1], np.intp), at=at)
        scale = scale_of(frame.unit, frame.values)
        text = f"{float(frame.values[0, 0]) * scale.factor:.4g} {scale.symbol} at the cursor"
        which = "first compartment"
        if clicked is not None and found:
            which = f"section {clicked[0]}, position {clicked[1]:.2f}"
        text += "" if len(columns) == 1 else f" ({which})"
    count = "" if len(columns) == 1 and text else f"{len(columns):,} compartments"
    yield report.name, ", ".join(filter(None, [text, count]))


def _state_facts(network: NetworkSnapshot, population: str, rank: int) -> Iterator[tuple[str, str]]:
    for part in network.populations:
        if part.name == population and rank < part.size:
            for quantity in neuron_quantities(part):
                value = np.asarray(quantity.values[rank : rank + 1])[0]
                yield quantity.name, f"{value:.6g} {unit_label(quantity.unit)}".strip()


def _connection_facts(
    output: SimulationOutput, population: str, cell: int
) -> Iterator[tuple[str, str]]:
    """Yield the numbers of connections onto and from a cell, if they are quickly counted."""
    circuit = output.circuit
    for table in () if circuit is None else circuit.connections:
        if len(table) > _MOST_CONNECTIONS:
            continue
        if table.target == population:
            yield f"from {table.source or '?'}", f"{_count(table.target_ids, cell):,} synapses"
        if table.source == population:
            yield f"to {table.target or '?'}", f"{_count(table.source_ids, cell):,} synapses"


def _count(ids: Any, cell: int) -> int:
    block = 2**20
    return sum(int(np.count_nonzero(np.asarray(ids[begin : begin + block]) == cell))
               for begin in range(0, int(ids.shape[0]), block))  # fmt: skip
