"""Figures with the plots of an output."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ndx_simulation_output.errors import ExportError, NothingRecordedError
from ndx_simulation_output.files import atomic_file
from ndx_simulation_output.plots.arrays import Grid, array, grids_of
from ndx_simulation_output.plots.canvas import empty_figure
from ndx_simulation_output.plots.downsampling import How, Recorded
from ndx_simulation_output.plots.heat_maps import heat_map
from ndx_simulation_output.plots.networks import (
    neuron_quantities,
    population_state,
    synapse_quantity,
    weight_matrix,
    weights,
)
from ndx_simulation_output.plots.neurons import neuron, report_in_space
from ndx_simulation_output.plots.spikes import raster, rates
from ndx_simulation_output.plots.traces import channels, traces
from ndx_simulation_output.recording import ExtracellularPotential, Report, SimulationOutput, Spikes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PictureKind = Literal[
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
"""Kind of a plot: ``heat`` is a heat map, ``state`` shows quantities of the neurons of a state."""

KINDS: tuple[PictureKind, ...] = get_args(PictureKind)
"""All kinds of plots."""

_OVERVIEW: tuple[PictureKind, ...] = ("raster", "traces", "channels", "matrix", "state", "arrays")
_MAX_PANELS = 12

_Panel = Callable[..., Any]
"""A drawing function with its arguments, apart from ``ax``."""


@dataclass(frozen=True)
class PictureOptions:
    """Selection of the data to draw. A field that is None selects all.

    ``cells``, ``numbers`` and ``labels`` select compartments as ``Report.select`` does, ``cells``
    also spikes, and ``channels`` extracellular channels. ``report``, ``population`` and
    ``variable`` are names; ``variable`` is that of a report or a quantity of a network state.
    ``start`` and ``stop`` are a time window (s), ``at`` is the time (s) of a neuron in space.
    ``how`` is the reduction of the values in a pixel of a heat map.
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
        """Return the selected reports that have values in the time window."""
        return [
            report
            for report in output.reports
            if self.report in {None, report.name, report.report}
            and self.population in {None, report.population}
            and self.variable in {None, report.variable, report.report}
            and self._has_values(report)
        ]

    def spikes(self, output: SimulationOutput) -> list[Spikes]:
        """Return the spikes of the selected populations."""
        return [spikes for spikes in output.spikes if self.population in {None, spikes.population}]

    def potentials(self, output: SimulationOutput) -> list[ExtracellularPotential]:
        """Return the selected extracellular potentials that have values in the time window."""
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
        """Return the output with only the report that ``neuron`` draws."""
        selected = replace(output, reports=tuple(self.reports(output)))
        return replace(selected, reports=(report_in_space(selected),))

    @property
    def window(self) -> dict[str, Any]:
        """Arguments that select the time window."""
        return {"start": self.start, "stop": self.stop}

    @property
    def compartments(self) -> dict[str, Any]:
        """Arguments that select compartments."""
        return {"cells": self.cells, "numbers": self.numbers, "labels": self.labels}


def draw(
    output: SimulationOutput,
    kind: PictureKind | None = None,
    options: PictureOptions | None = None,
) -> "Figure":
    """Return a figure of an output: all plots of one kind, or by default an overview.

    A figure has at most 12 plots; if more are available, its title is the numbers of both.

    Raises
    ------
    NothingRecordedError
        If the output contains no such data.
    CellNotFoundError
        If a cell id is not in a table.
    CompartmentNotFoundError
        If a number or label belongs to none of the cells.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     draw(output, "heat", PictureOptions(stop=0.1)).savefig("heat.png")

    """
    options = options or PictureOptions()
    kinds = _OVERVIEW if kind is None else (kind,)
    panels = [panel for name in kinds for panel in _PANELS[name](output, options)]
    if not panels:
        raise NothingRecordedError(_nothing_to_draw(output, kind, options))
    shown = panels[:_MAX_PANELS]
    projection = "3d" if kind == "neuron" else None
    columns = 1 if len(shown) <= 4 else 2 if len(shown) <= 8 else 3
    rows = ceil(len(shown) / columns)
    height = rows * (4.8 if projection or rows == 1 else 2.8)
    figure = empty_figure(8 if columns == 1 else 6 * columns, height)
    for number, panel in enumerate(shown, start=1):
        panel(ax=figure.add_subplot(rows, columns, number, projection=projection))
    if len(shown) < len(panels):
        note = f"{len(shown)} of {len(panels)} plots"
        figure.suptitle(note, fontsize="medium", x=0.99, ha="right")
    return figure


def save(
    output: SimulationOutput,
    path: str | Path,
    kind: PictureKind | None = None,
    options: PictureOptions | None = None,
    *,
    dpi: int = 150,
    overwrite: bool = False,
) -> Path:
    """Write the figure that ``draw`` returns to a PNG, SVG or PDF file.

    Raises
    ------
    NothingRecordedError
        If the output contains no such data.
    ExportError
        If matplotlib does not write files of this name.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     save(output, "run.png")

    """
    path = Path(path)
    formats = empty_figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in formats:
        msg = f"{path} is not an image file; expected a name that ends in .png, .svg or .pdf"
        raise ExportError(msg)
    with atomic_file(path, overwrite=overwrite) as temporary:
        draw(output, kind, options).savefig(temporary, dpi=dpi)
    return path


def _nothing_to_draw(
    output: SimulationOutput, kind: PictureKind | None, options: PictureOptions
) -> str:
    """Return an error message with the selection and the contents of the output."""
    selected = {
        "kind": kind,
        **{field.name: getattr(options, field.name) for field in fields(options)},
    }
    del selected["how"]
    selection = ", ".join(
        f"{name}={value!r}" for name, value in selected.items() if value is not None
    )
    recorded = [f"report {report.name} of {report.population}" for report in output.reports]
    recorded += [f"spikes of {spikes.population}" for spikes in output.spikes]
    recorded += [f"potential {potential.name}" for potential in output.potentials]
    recorded += [f"state {network.name}" for network in output.networks]
    recorded += [f"arrays of {group.name}" for group in output.arrays]
    found = ", ".join(recorded) or "no recorded data"
    where = f" with {selection}" if selection else ""
    return f"there is nothing to draw{where}; the output has: {found}"


def _traces(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for report in options.reports(output):
        yield partial(traces, report, **options.compartments, **options.window)


def _heat_maps(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for report in options.reports(output):
        yield partial(heat_map, report, **options.compartments, **options.window, how=options.how)


def _neurons(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    if options.reports(output):
        at = options.start if options.at is None else options.at
        yield partial(neuron, options.in_space(output), cells=options.cells, at=at)


def _rasters(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    if options.report is None and options.variable is None:
        for spikes in options.spikes(output):
            yield partial(raster, spikes, cells=options.cells, **options.window)


def _rates(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for spikes in options.spikes(output):
        yield partial(rates, spikes, cells=options.cells, **options.window)


def _channels(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for potential in options.potentials(output):
        yield partial(channels, potential, options.channels, **options.window)


def _projections(
    drawing: _Panel, output: SimulationOutput, options: PictureOptions
) -> Iterator[_Panel]:
    """Yield a panel for each projection that has the selected quantity."""
    for network in output.networks:
        for projection in network.projections:
            names = {None, projection.name, projection.pre, projection.post}
            if options.population not in names:
                continue
            try:
                synapse_quantity(projection, options.variable)
            except NothingRecordedError:
                continue
            yield partial(drawing, network, projection.name, options.variable)


def _states(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for network in output.networks:
        for population in network.populations:
            if options.population in {None, population.name} and neuron_quantities(population):
                yield partial(population_state, network, population.name, options.variable)


def _arrays(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    grids = [grid for grid in grids_of(output) if options.variable in {None, grid.label, grid.name}]
    for _, group in groupby(grids, _shared_axes):
        yield partial(array, list(group))


def _shared_axes(grid: Grid) -> Any:
    """Return a key that is equal for arrays that are drawn as lines in the same plot."""
    if len(grid.axes) > 1 or grid.points:
        return id(grid)
    return grid.name, grid.unit, [(axis.label, len(axis.values)) for axis in grid.axes]


_PANELS: dict[PictureKind, Callable[[SimulationOutput, PictureOptions], Iterator[_Panel]]] = {
    "traces": _traces,
    "heat": _heat_maps,
    "neuron": _neurons,
    "raster": _rasters,
    "rates": _rates,
    "channels": _channels,
    "weights": partial(_projections, weights),
    "matrix": partial(_projections, weight_matrix),
    "state": _states,
    "arrays": _arrays,
}
