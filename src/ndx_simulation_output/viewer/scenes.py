"""Data of cells in space: points, values at a time, and their export as CSV and code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.downsampling import sample, spread
from ndx_simulation_output.plots.shapes import (
    cells_in_space,
    neuron_shape,
    read_coordinates,
    read_frames,
    reports_in_space,
    sections_of,
)
from ndx_simulation_output.plots.spikes import table_of_cells
from ndx_simulation_output.recording import (
    CellTable,
    CompartmentTable,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.cells import Cells, Choice
from ndx_simulation_output.recording.ids import positions_of
from ndx_simulation_output.recording.units import Scale
from ndx_simulation_output.viewer.controls import cells_code
from ndx_simulation_output.viewer.session import Rows

SPIKES, CELLS = "spikes", "cells"
"""Names of the panel without a report: cells that spike near the cursor, and cells alone."""


@dataclass(frozen=True)
class Scene:
    """Compartments of a report, or cells of a population as points, to draw in space."""

    population: str
    table: CompartmentTable | CellTable
    report: Report | None = None
    spikes: Spikes | None = None

    @property
    def cells(self) -> CellTable:
        """The cells and their properties."""
        return self.table.cells if isinstance(self.table, CompartmentTable) else self.table


def scenes_of(output: SimulationOutput) -> dict[str, list[Scene]]:
    """Return what can be drawn in space: the populations of each variable, spikes, or cells."""
    found: dict[str, list[Scene]] = {}
    for report in reports_in_space(output):
        scene = Scene(report.population, report.compartments, report)
        known = found.get(report.report, [])
        is_new = any(one.population == scene.population or one.report is None
                     or one.report.unit.name != report.unit.name for one in known)  # fmt: skip
        found.setdefault(report.name if is_new else report.report, []).append(scene)
    tables = {table.population: table for table in reversed(cells_in_space(output))}
    spiking = {one.population: one for one in output.spikes if one.population in tables}
    alone = [Scene(name, table, spikes=spiking.get(name)) for name, table in tables.items()]
    if alone and (spiking or not found or output.circuit is not None):
        found.setdefault(SPIKES if spiking else CELLS, alone)
    return found


@dataclass(frozen=True)
class Part:
    """The drawn rows of a population, which are compartments or cells, and their points (µm).

    ``columns`` are those of the report, -1 without a value; ``stops`` are the ends of the points.
    """

    scene: Scene
    columns: NDArray[np.intp]
    cells: NDArray[Any]
    sections: NDArray[Any]
    positions: NDArray[np.float64]
    diameters: NDArray[np.float64]
    points: NDArray[np.float64]
    stops: NDArray[np.intp]
    n_all: int = 0


def read_part(
    output: SimulationOutput, scene: Scene, rows: NDArray[np.intp], most: int, picked: Sequence[int]
) -> Part:
    """Read the points of the cells in some rows of a table, at most of ``most`` compartments."""
    n_all, cells = len(rows), scene.cells
    per_cell = 1.0
    if isinstance(scene.table, CompartmentTable):
        per_cell = max(scene.table.n_compartments / max(len(scene.table), 1), 1.0)
    some = rows[sample(n_all, max(int(most / per_cell), 1))]
    wanted = cells.find_rows(np.asarray(picked, np.int64))
    some = np.union1d(some, wanted[np.isin(wanted, rows)])
    ids = np.asarray(cells.ids[:])[some]
    if isinstance(scene.table, CompartmentTable):
        is_all = len(some) == len(scene.table)
        table = scene.table if is_all else scene.table.take(some)
        of_report = None if is_all else scene.table.find(ids)
    else:
        table = table_of_cells(scene.population, ids, scene.table)
        of_report = np.full(len(ids), -1)
    found = read_coordinates(table, spread(table.n_compartments, most))
    columns = found.columns if of_report is None else of_report[found.columns]
    sections = {}
    if scene.report is not None:
        known = set(np.unique(found.cells).tolist())
        sections = {key: one for key, one in sections_of(output, scene.report).items()
                    if key[0] in known}  # fmt: skip
    if table.n_compartments == len(table) and not sections:  # points, of which there may be many
        owners, points = np.arange(len(found.columns)), found.points
        stops = owners + 1
    else:
        shape = neuron_shape(found, sections)
        lines = [*shape.lines, *(found.points[spot : spot + 1] for spot in shape.spots)]
        owners = np.concatenate([shape.owners, shape.spots]).astype(np.intp)
        points, stops = np.concatenate(lines), np.cumsum([len(line) for line in lines])
    is_known = owners >= 0
    # The last value is that of sections that were not recorded.
    columns, of_cells = np.append(columns, -1)[owners], np.append(found.cells, -1)[owners]
    return Part(
        scene, columns, of_cells,
        np.where(is_known, found.numbers[owners], -1),
        np.where(is_known, found.positions[owners], np.nan),
        np.where(is_known, found.diameters[owners], np.nan),
        points, stops, n_all,
    )  # fmt: skip


@dataclass(frozen=True)
class ShownSpace:
    """Places of compartments or cells, and their values at the time ``at`` (s).

    ``populations`` are those that are drawn; cells without a report have the time since their last
    spike, if it is at most ``recent`` (s).
    """

    name: str
    cells: Cells | None
    at: float
    scale: Scale | None = None
    populations: tuple[str, ...] = ()
    recent: float = np.inf

    @property
    def imports(self) -> tuple[str, ...]:
        """Import statements of the code."""
        if self.name in {SPIKES, CELLS}:
            return ("from ndx_simulation_output.plots.shapes import cells_in_space",)
        return ("from ndx_simulation_output.plots import read_coordinates, read_frames",)

    def scenes(self, output: SimulationOutput) -> list[Scene]:
        """Return what is shown of a file."""
        found = scenes_of(output).get(self.name)
        if not found:
            msg = f"the file has no cells in space for {self.name!r}"
            raise NothingRecordedError(msg)
        return found

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the population, cell, place and value of each compartment or cell."""
        scenes = self.scenes(outputs[0])
        places = ("x (µm)", "y (µm)", "z (µm)", "diameter (µm)")
        label = [] if self.scale is None else [self.scale.label(self.name)]
        yield "population", "cell", "section", "position", *places, *label
        choice = None if self.cells is None else Choice(self.cells)
        for scene in scenes:
            table = scene.table
            if isinstance(table, CellTable):
                table = table_of_cells(scene.population, np.asarray(table.ids[:]), table)
            chosen = None if choice is None else choice.rows_of(table.cells)
            ids = None if chosen is None else np.asarray(table.cell_ids[:])[chosen]
            if ids is not None and not len(ids):
                continue
            found = read_coordinates(table, table.find(ids))
            columns = [found.cells, found.numbers, found.positions, *found.points.T,
                       found.diameters]  # fmt: skip
            if self.scale is not None:
                columns.append(values_of(scene, found.cells, found.columns, self.at, self.scale,
                                         self.recent))  # fmt: skip
            for one in zip(*(column.tolist() for column in columns), strict=True):
                yield scene.population, *one

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``points`` and ``values`` of each population."""
        is_of_cells = self.name in {SPIKES, CELLS}
        one, known = ("table", "table.ids") if is_of_cells else (
            "report", "report.compartments.cell_ids")  # fmt: skip
        chosen = ""
        if self.cells is not None:
            chosen = "cells" if isinstance(self.cells, tuple) else cells_code(self.cells)
        yield "points, values = {}, {}"
        if is_of_cells:
            yield f"for table in cells_in_space({names[0]}):"
        else:
            yield f"for report in {names[0]}.reports:"
            yield f"    if {self.name!r} not in {{report.report, report.name}}:"
            yield "        continue"
        yield f"    if {one}.population not in {[*self.populations]}:"
        yield "        continue"
        if isinstance(self.cells, tuple):
            ids = cells_code(self.cells)
            yield f"    cells = [cell for cell in {ids} if cell in {known}[:]]"
        if is_of_cells:
            yield f"    rows = table.rows_of({chosen or None})"
            yield "    axes = [axis for axis in 'xyz' if axis in table.columns]"
            yield "    points[table.population] = [table.read(axis, rows) for axis in axes]  # µm"
            if self.scale is not None:
                stop = float(np.nextafter(self.at, np.inf))
                yield f"for spikes in {names[0]}.spikes:"
                start = f"start={self.at - self.recent!r}, " if np.isfinite(self.recent) else ""
                yield f"    values[spikes.population] = spikes.select({start}stop={stop!r})"
            return
        yield f"    columns = report.compartments.find({chosen})"
        yield "    found = read_coordinates(report.compartments, columns)"
        yield f"    frame = read_frames(report, found.columns, at={self.at!r})"
        yield "    points[report.population] = found.points  # µm"
        yield "    values[report.population] = frame.values[0]  # in frame.unit"


def values_of(
    scene: Scene, cells: NDArray[Any], columns: NDArray[np.intp], at: float, scale: Scale,
    recent: float = np.inf,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the values at a time (s), NaN where there is none.

    Those of cells without a report are the times since the last spike, of at most ``recent`` (s).
    """
    values = np.full(len(columns), np.nan)
    if scene.report is not None:
        known = columns >= 0
        found = read_frames(scene.report, columns[known], at=at)
        values[known] = np.asarray(found.values[0], np.float64) * scale.factor
    elif scene.spikes is not None:
        order = np.argsort(cells, kind="stable")
        latest = np.full(len(cells), -np.inf)
        window = {"start": at - recent, "stop": np.nextafter(at, np.inf)}
        for ids, times, _ in scene.spikes.parts(**window):
            places = positions_of(ids.astype(np.int64), np.asarray(cells, np.int64)[order])
            np.maximum.at(latest, order[places[places >= 0]], times[places >= 0])
        values = np.where(np.isfinite(latest), (at - latest) * scale.factor, np.nan)
    return values
