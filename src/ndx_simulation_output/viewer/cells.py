"""The card of the picked cell: its properties, and what it did in the time window."""

from html import escape

import numpy as np
from bokeh.models import UIElement

from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.viewer.figures import new_text, stack, title_html
from ndx_simulation_output.viewer.session import Session

_MOST_PROPERTIES = 30


class CellCard:
    """Facts about the picked cell, or the numbers of spikes in the window if none is picked."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.text = new_text()
        self.layout: UIElement = stack(self.text)

    def update(self, output: SimulationOutput) -> None:
        """Write the facts."""
        population, ids = self.session.picked
        if not ids:
            self.text.text = title_html("Cell") + "click a spike, a trace or a cell"
            return
        facts = dict(_facts(output, population, ids[0], self.session.time.window))
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
            for name, value in facts.items()
        )
        heading = title_html(f"Cell {ids[0]} of {population}")
        self.text.text = f'{heading}<table class="facts">{rows}</table>'

    def step(self, output: SimulationOutput, step: int) -> None:
        """Pick the next or the previous cell of the population."""
        population, ids = self.session.picked
        if not population:
            population = next((one.population for one in (*output.spikes, *output.reports)), "")
        known = _known(output, population)
        if not len(known):
            return
        here = int(np.searchsorted(known, ids[0])) + step if ids else 0
        self.session.pick(population, [int(known[here % len(known)])])


def _known(output: SimulationOutput, population: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    for spikes in output.spikes:
        if spikes.population == population:
            return spikes.known_cells
    for report in output.reports:
        if report.population == population:
            return np.sort(np.asarray(report.compartments.cell_ids[:]))
    return np.zeros(0, np.int64)


def _facts(output: SimulationOutput, population: str, cell: int, window: tuple[float, float]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    for spikes in output.spikes:
        if spikes.population == population:
            yield from _spike_facts(spikes, cell, window)
    tables = [one.cells for one in output.spikes if one.population == population]
    tables += [one.compartments.cells for one in output.reports if one.population == population]
    for table in tables:
        row = -1 if table is None else int(table.find_rows(np.array([cell]))[0])
        if table is not None and row >= 0:
            for name, values in [*table.columns.items()][:_MOST_PROPERTIES]:
                yield name, np.asarray(values[row : row + 1])[0]
    for report in output.reports:
        if report.population == population:
            count = int((np.asarray(report.compartments.cell_ids[:]) == cell).sum())
            if count:
                columns = report.compartments.find([cell])
                yield f"report {report.name}", f"{len(columns)} compartments"


def _spike_facts(spikes: Spikes, cell: int, window: tuple[float, float]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    times = spikes.times[spikes.node_ids == cell]
    inside = times[(times >= window[0]) & (times <= window[1])]
    yield "spikes in the window", len(inside)
    if len(inside):
        yield "first spike", f"{inside.min() * 1e3:.6g} ms"
