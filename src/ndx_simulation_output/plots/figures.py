"""Draw a figure of a whole output: one panel for each thing recorded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ndx_simulation_output.errors import ExportError, NothingRecordedError
from ndx_simulation_output.files import whole_file
from ndx_simulation_output.plots.arrays import Grid, array, grids_of
from ndx_simulation_output.plots.canvas import new_figure
from ndx_simulation_output.plots.downsampling import How, Recorded
from ndx_simulation_output.plots.networks import (
    neuron_quantities,
    population_state,
    synapse_quantity,
    weight_matrix,
    weights,
)
from ndx_simulation_output.plots.neurons import neuron, report_in_space
from ndx_simulation_output.plots.spikes import raster, rates
from ndx_simulation_output.plots.traces import channels, heat_map, traces
from ndx_simulation_output.recording import ExtracellularPotential, Report, SimulationOutput, Spikes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Figures of whole outputs: a picture for each thing that was recorded, of the kind that fits.

Kind = Literal[
    "traces",
    "heat",
    "neuron",
    "raster",
    "rates",
    "channels",
    "weights",
    "matrix",
    "state",
    "arrays",
]
"""What is drawn: ``heat`` is a heat map, ``neuron`` in space, ``state`` that of populations."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds, in the order in which they are tried."""

_OVERVIEW: tuple[Kind, ...] = ("raster", "traces", "channels", "matrix", "state", "arrays")
_MOST_PANELS = 12


@dataclass(frozen=True)
class Selection:
    """What of an output is drawn; all of it where a field is None.

    ``cells``, ``numbers`` and ``labels`` choose compartments as ``Report.select`` does, and
    ``cells`` also spikes; ``channels`` are ids of extracellular channels. ``report`` is a name, as
    is ``population``; ``variable`` is that of reports, or a quantity of a network. Times are in
    seconds: ``start`` and ``stop`` of a window, ``at`` of a neuron in space. ``how`` is what a
    pixel of a heat map shows.
    """

    cells: Sequence[int] | None = None
    numbers: Sequence[int] | None = None
    labels: Sequence[str] | None = None
    channels: Sequence[int] | None = None
    report: str | None = None
    population: str | None = None
    variable: str | None = None
    start: float | None = None
    stop: float | None = None
    at: float | None = None
    how: How = "mean"

    def reports(self, output: SimulationOutput) -> list[Report]:
        """Give the reports that are meant and have values in the window."""
        return [
            report
            for report in output.reports
            if self.report in {None, report.name, report.report}
            and self.population in {None, report.population}
            and self.variable in {None, report.variable, report.report}
            and self._has_values(report)
        ]

    def spikes(self, output: SimulationOutput) -> list[Spikes]:
        """Give the spikes of the populations that are meant."""
        return [one for one in output.spikes if self.population in {None, one.population}]

    def potentials(self, output: SimulationOutput) -> list[ExtracellularPotential]:
        """Give the extracellular potentials that are meant."""
        return [
            potential
            for potential in output.potentials
            if self.report in {None, potential.name}
            and self.population is None
            and self._has_values(potential)
        ]

    def _has_values(self, recorded: Recorded) -> bool:
        rows = recorded.times.window(self.start, self.stop)
        return rows.stop > rows.start and recorded.data.shape[1] > 0

    def in_space(self, output: SimulationOutput) -> SimulationOutput:
        """Give the output with the one report whose compartments are drawn in space.

        Raises
        ------
        NothingRecordedError
            If no report is meant.

        """
        some = replace(output, reports=tuple(self.reports(output)))
        return replace(some, reports=(report_in_space(some),))

    @property
    def window(self) -> dict[str, float | None]:
        """The window of time."""
        return {"start": self.start, "stop": self.stop}

    @property
    def compartments(self) -> dict[str, Any]:
        """What chooses compartments."""
        return {"cells": self.cells, "numbers": self.numbers, "labels": self.labels}


@dataclass(frozen=True)
class _Panel:
    """A picture of a figure, and what draws it into axes."""

    paint: Callable[["Axes"], object]
    projection: str | None = None


def draw(
    output: SimulationOutput, kind: Kind | None = None, selection: Selection | None = None
) -> "Figure":
    """Draw what an output holds: all of one kind, or a picture of each thing if None.

    A figure has at most 12 pictures; its title says how many there would be.

    Raises
    ------
    NothingRecordedError
        If there is nothing of this kind and selection.
    CellNotFoundError
        If a cell id is not in a table.
    CompartmentNotFoundError
        If a number or label belongs to none of the cells.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     draw(output, "heat", Selection(stop=0.1)).savefig("heat.png")

    """
    selection = selection or Selection()
    wanted = _OVERVIEW if kind is None else (kind,)
    panels = [panel for one in wanted for panel in _PANELS[one](output, selection)]
    if not panels:
        msg = f"there is nothing to draw{f' as {kind}' if kind else ''}: {_held(output)}"
        raise NothingRecordedError(msg)
    shown = panels[:_MOST_PANELS]
    columns = 1 if len(shown) <= 4 else 2 if len(shown) <= 8 else 3
    rows = ceil(len(shown) / columns)
    deep = any(panel.projection for panel in shown)
    height = rows * (4.8 if deep or rows == 1 else 2.8)
    figure = new_figure(8 if columns == 1 else 6 * columns, height)
    for place, panel in enumerate(shown, start=1):
        panel.paint(figure.add_subplot(rows, columns, place, projection=panel.projection))
    if len(shown) < len(panels):
        figure.suptitle(
            f"{len(shown)} of {len(panels)} pictures", fontsize="medium", x=0.99, ha="right"
        )
    return figure


def save(
    output: SimulationOutput,
    path: str | Path,
    kind: Kind | None = None,
    selection: Selection | None = None,
    *,
    dpi: int = 150,
    overwrite: bool = False,
) -> Path:
    """Draw what an output holds, as ``draw`` does, and write it to a PNG, SVG or PDF file.

    Raises
    ------
    NothingRecordedError
        If there is nothing of this kind and selection.
    ExportError
        If matplotlib writes no such format.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     save(output, "run.png")

    """
    path = Path(path)
    formats = new_figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in formats:
        msg = f"{path} is no name of a picture; expected one that ends in .png, .svg or .pdf"
        raise ExportError(msg)
    with whole_file(path, overwrite=overwrite) as temporary:
        draw(output, kind, selection).savefig(temporary, dpi=dpi)
    return path


def _traces(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    for report in chosen.reports(output):
        yield _Panel(_painter(traces, report, **chosen.compartments, **chosen.window))


def _heat_maps(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    for report in chosen.reports(output):
        options = {**chosen.compartments, **chosen.window, "how": chosen.how}
        yield _Panel(_painter(heat_map, report, **options))


def _neurons(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    if chosen.reports(output):
        at = chosen.at if chosen.at is not None else chosen.start
        yield _Panel(_painter(neuron, chosen.in_space(output), cells=chosen.cells, at=at), "3d")


def _rasters(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    if chosen.report is None and chosen.variable is None:
        for spikes in chosen.spikes(output):
            yield _Panel(_painter(raster, spikes, cells=chosen.cells, **chosen.window))


def _rates(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    for spikes in chosen.spikes(output):
        yield _Panel(_painter(rates, spikes, cells=chosen.cells, **chosen.window))


def _channels(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    for potential in chosen.potentials(output):
        yield _Panel(_painter(channels, potential, chosen.channels, **chosen.window))


def _weights(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    yield from _of_projections(output, chosen, weights)


def _matrices(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    yield from _of_projections(output, chosen, weight_matrix)


def _of_projections(
    output: SimulationOutput, chosen: Selection, painted: Callable[..., Any]
) -> Iterator[_Panel]:
    for network in output.networks:
        for projection in network.projections:
            if chosen.population not in {None, projection.name, projection.pre, projection.post}:
                continue
            try:
                synapse_quantity(projection, chosen.variable)
            except NothingRecordedError:
                continue
            yield _Panel(_painter(painted, network, projection.name, chosen.variable))


def _states(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    for network in output.networks:
        for population in network.populations:
            if chosen.population in {None, population.name} and neuron_quantities(population):
                yield _Panel(_painter(population_state, network, population.name, chosen.variable))


def _arrays(output: SimulationOutput, chosen: Selection) -> Iterator[_Panel]:
    grids = [grid for grid in grids_of(output) if chosen.variable in {None, grid.label, grid.name}]
    for _, found in groupby(grids, _shared):
        yield _Panel(_painter(array, list(found)))


def _shared(grid: Grid) -> Any:
    """Give what arrays have in common that are drawn together: place, unit, axes; else itself."""
    if len(grid.axes) > 1 or grid.points:
        return id(grid)
    return grid.name, grid.unit, [(axis.label, len(axis.values)) for axis in grid.axes]


def _painter(painted: Callable[..., Any], *what: Any, **options: Any) -> Callable[["Axes"], object]:
    return lambda ax: painted(*what, **options, ax=ax)


def _held(output: SimulationOutput) -> str:
    """Say what there is."""
    held = [f"report {report.name} of {report.population}" for report in output.reports]
    held += [f"spikes of {spikes.population}" for spikes in output.spikes]
    held += [f"potentials {potential.name}" for potential in output.potentials]
    held += [f"state {network.name}" for network in output.networks]
    held += [f"arrays of {group.name}" for group in output.groups]
    held += [f"arrays of {export.name}" for export in output.exports]
    return f"there are {', '.join(held)}" if held else "nothing was recorded"


_PANELS: dict[Kind, Callable[[SimulationOutput, Selection], Iterator[_Panel]]] = {
    "traces": _traces,
    "heat": _heat_maps,
    "neuron": _neurons,
    "raster": _rasters,
    "rates": _rates,
    "channels": _channels,
    "weights": _weights,
    "matrix": _matrices,
    "state": _states,
    "arrays": _arrays,
}
