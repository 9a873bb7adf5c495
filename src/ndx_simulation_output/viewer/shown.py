"""Selections that a view shows, as tables and as lines of Python."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.downsampling import How, Recorded, row_blocks
from ndx_simulation_output.plots.heat_maps import HeatMap, reduce_heat_map
from ndx_simulation_output.plots.neurons import read_coordinates, read_frames
from ndx_simulation_output.recording import Report, SimulationOutput, Spikes
from ndx_simulation_output.recording.ids import runs_of
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.session import Source

# What a view shows: a selection that can be read as a table, and told as lines of Python.
#
# The lines give the numbers of the table.

_REDUCED = "ndx_simulation_output.plots"


class Shown(Protocol):
    """What a view shows of as many outputs as it needs."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Lines that import what the other lines need, besides ``open_output``."""

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Read the values."""

    def code(self, *names: str) -> Iterator[str]:
        """Give the lines that read the values from outputs with these names."""


def rows_of(shown: Shown, sources: Sequence[Source]) -> Rows:
    """Read what is shown from the files, opened for this and closed again."""
    with ExitStack() as stack:
        yield from shown.table(*(stack.enter_context(one.open_apart()) for one in sources))


def python_of(shown: Shown, sources: Sequence[Source]) -> str:
    """Give a script that reads what is shown."""
    names = ("output", "other")[: len(sources)]
    opened = ", ".join(
        f"open_output({_arguments(source)}) as {name}"
        for source, name in zip(sources, names, strict=True)
    )
    imports = sorted([*shown.imports, "from ndx_simulation_output import open_output"])
    plain = [line for line in imports if line.startswith("import")]
    ours = [line for line in imports if not line.startswith("import")]
    lines = [*plain, *([""] if plain else []), *ours, "", f"with {opened}:"]
    lines += [f"    {line}" for line in shown.code(*names)]
    return "\n".join(lines) + "\n"


def _arguments(source: Source) -> str:
    options = "".join(f", {name}={value!r}" for name, value in source.options.items())
    return f"{str(source.path)!r}{options}"


@dataclass(frozen=True)
class Compartments:
    """Compartments of a report: those of ``cells`` with these ``numbers``, all where None."""

    report: str
    cells: tuple[int, ...] | None = None
    numbers: tuple[int, ...] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.cells is None and self.numbers is None

    def columns(self, report: Report) -> NDArray[np.intp]:
        """Find the columns of the data.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number belongs to none of the cells.

        """
        return report.compartments.find(self.cells, self.numbers)

    @property
    def code(self) -> str:
        """The arguments that choose them."""
        given = [("cells", self.cells), ("numbers", self.numbers)]
        return ", ".join(f"{name}={ids_code(ids)}" for name, ids in given if ids is not None)


@dataclass(frozen=True)
class ShownTraces:
    """Traces of compartments from ``start`` up to ``stop`` (s): every sample of them."""

    compartments: Compartments
    start: float | None = None
    stop: float | None = None
    imports = ()

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Read time and values of each row."""
        report = outputs[0][self.compartments.report]
        columns = self.compartments.columns(report)
        yield "time_s", *names_of(report, columns)
        yield from table_of(report, columns, self.start, self.stop)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``traces.times`` and ``traces.values``."""
        window = window_code(self.start, self.stop)
        arguments = ", ".join(part for part in (self.compartments.code, window) if part)
        yield f"traces = {names[0]}[{self.compartments.report!r}].select({arguments})"
        yield "times, values = traces.times, traces.values  # s, and as traces.unit says"


@dataclass(frozen=True)
class ShownHeatMap:
    """A heat map of the compartments ``first`` up to ``last`` among those chosen."""

    compartments: Compartments
    start: float | None = None
    stop: float | None = None
    first: int = 0
    last: int | None = None
    shape: tuple[int, int] = (400, 1000)
    how: How = "mean"
    imports = (f"from {_REDUCED} import reduce_heat_map",)

    def read(self, report: Report) -> HeatMap:
        """Read the image."""
        whole = self.compartments.is_all and (self.first, self.last) == (0, None)
        columns = None if whole else self.compartments.columns(report)[self.first : self.last]
        return reduce_heat_map(
            report, columns, start=self.start, stop=self.stop, shape=self.shape, how=self.how
        )

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give a row for each pixel of columns, with the times at which pixels begin."""
        found = self.read(outputs[0][self.compartments.report])
        yield "compartments_from", *(f"time_s={time!r}" for time in found.times[:-1].tolist())
        for begin, values in zip(found.columns, found.values, strict=False):
            yield int(begin) + self.first, *values.tolist()

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``shown.values``, an image (compartments, time)."""
        yield f"report = {names[0]}[{self.compartments.report!r}]"
        columns = f"report.compartments.find({self.compartments.code})"
        if self.first or self.last is not None:
            columns += f"[{self.first}:{'' if self.last is None else self.last}]"
        yield f"columns = {columns}"
        options = [window_code(self.start, self.stop), f"shape={self.shape}", f"how={self.how!r}"]
        arguments = ", ".join(part for part in options if part)
        yield f"shown = reduce_heat_map(report, columns, {arguments})"
        yield "values = shown.values"


@dataclass(frozen=True)
class ShownSpikes:
    """Spikes of a population, of some ``cells`` or all, from ``start`` up to ``stop`` (s)."""

    population: str
    cells: Sequence[int] | None = None
    start: float | None = None
    stop: float | None = None
    imports = ("import numpy as np",)

    def find(self, output: SimulationOutput) -> Spikes:
        """Give the spikes of the population.

        Raises
        ------
        NothingRecordedError
            If there are none.

        """
        for spikes in output.spikes:
            if spikes.population == self.population:
                return spikes
        msg = f"there are no spikes of population {self.population!r}"
        raise NothingRecordedError(msg)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give time and node id of each spike."""
        spikes = self.find(outputs[0])
        yield "time_s", "node_id"
        for begin in range(0, len(spikes.times), _SPIKES):
            block = slice(begin, begin + _SPIKES)
            times, ids = spikes.times[block], spikes.node_ids[block]
            shown = np.ones(len(times), bool)
            if self.start is not None:
                shown &= times >= self.start
            if self.stop is not None:
                shown &= times < self.stop
            if self.cells is not None:
                shown &= np.isin(ids, self.cells)
            yield from zip(times[shown].tolist(), ids[shown].tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``times`` and ``ids``."""
        found = f"one for one in {names[0]}.spikes if one.population == {self.population!r}"
        yield f"spikes = next({found})"
        yield "shown = np.ones(len(spikes.times), bool)"
        if self.start is not None:
            yield f"shown &= spikes.times >= {self.start!r}"
        if self.stop is not None:
            yield f"shown &= spikes.times < {self.stop!r}"
        if self.cells is not None:
            yield f"shown &= np.isin(spikes.node_ids, {ids_code(self.cells)})"
        yield "times, ids = spikes.times[shown], spikes.node_ids[shown]  # s"


@dataclass(frozen=True)
class ShownFrame:
    """Where compartments are, and their values at the row nearest to ``at`` (s)."""

    compartments: Compartments
    at: float
    imports = (f"from {_REDUCED} import read_coordinates, read_frames",)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give cell, number, place and value of each compartment."""
        report = outputs[0][self.compartments.report]
        found = read_coordinates(report.compartments, self.compartments.columns(report))
        frame = read_frames(report, found.columns, at=self.at)
        value = f"{report.variable or report.report}_{frame.unit}"
        yield "cell", "number", "x_um", "y_um", "z_um", "diameter_um", value
        parts = (found.cells, found.numbers, *found.points.T, found.diameters, frame.values[0])
        yield from zip(*(part.tolist() for part in parts), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``coordinates`` and ``values``."""
        yield f"report = {names[0]}[{self.compartments.report!r}]"
        yield f"columns = report.compartments.find({self.compartments.code})"
        yield "coordinates = read_coordinates(report.compartments, columns)  # points in µm"
        yield f"frame = read_frames(report, coordinates.columns, at={self.at!r})"
        yield "values = frame.values[0]  # as frame.unit says"


_SPIKES = 2**18


def table_of(
    recorded: Recorded, columns: NDArray[np.intp], start: float | None, stop: float | None
) -> Iterator[Sequence[object]]:
    """Read time (s) and values of each row in a window, block by block."""
    window = recorded.times.window(start, stop)
    for rows in row_blocks(recorded.data, window, len(columns)):
        values = read_in_unit(recorded.data, rows, columns, recorded.unit)
        times = recorded.times.seconds(rows)
        # Row by row: a number of Python takes several times what it takes in an array.
        for time, line in zip(times.tolist(), values, strict=True):
            yield time, *line.tolist()


def names_of(report: Report, columns: NDArray[np.intp]) -> list[str]:
    """Name compartments: by cell, and by number and position where cells have several."""
    table = report.compartments
    cells = table.cells_of(columns).tolist()
    if table.n_compartments == len(table):
        return [f"cell {cell}" for cell in cells]
    numbers = table.values("number", columns).tolist()
    if "position" not in table.columns:
        return [f"cell {cell}: {number}" for cell, number in zip(cells, numbers, strict=True)]
    positions = table.values("position", columns).tolist()
    return [
        f"cell {cell}: {number} ({position:.3g})"
        for cell, number, position in zip(cells, numbers, positions, strict=True)
    ]


def window_code(start: float | None, stop: float | None) -> str:
    """Give the arguments that choose a window of time (s)."""
    given = [("start", start), ("stop", stop)]
    return ", ".join(f"{name}={value!r}" for name, value in given if value is not None)


def ids_code(ids: Sequence[int]) -> str:
    """Give ids as a list, runs of them as ranges."""
    runs = runs_of(ids)
    parts = [
        str(run.start) if len(run) == 1 else f"*range({run.start}, {run.stop})" for run in runs
    ]
    return f"[{', '.join(parts)}]"
