"""Figures with the plots of an output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.choices import PictureKind
from ndx_simulation_output.errors import (
    ExportError,
    NothingRecordedError,
    name_of,
)
from ndx_simulation_output.files import atomic_file
from ndx_simulation_output.plots.arrays import Grid, array
from ndx_simulation_output.plots.canvas import empty_figure, in_look, make_ticks
from ndx_simulation_output.plots.groups import Groups, group_cells, with_common_colors
from ndx_simulation_output.plots.heat_maps import heat_map
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.networks import (
    neuron_quantities,
    population_state,
    synapse_quantity,
    weight_matrix,
    weights,
)
from ndx_simulation_output.plots.neurons import neuron
from ndx_simulation_output.plots.selection import (
    OVER_TIME,
    PictureOptions,
    check_selection,
    nothing_to_draw,
    tables_of,
    those_in,
)
from ndx_simulation_output.plots.shapes import cells_in_space
from ndx_simulation_output.plots.spikes import raster, rates
from ndx_simulation_output.plots.traces import channels, traces
from ndx_simulation_output.recording import (
    ProjectionSnapshot,
    Report,
    SimulationOutput,
    Spikes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_PANELS = 12

_HEIGHTS: dict[PictureKind, float] = {
    "raster": 1.7,
    "rates": 1.7,
    "channels": 1.9,
    "heat": 2.1,
    "traces": 2.1,
}
"""Heights of panels in inches if there are several, by default 2.8."""

_PROJECTIONS: dict[PictureKind, str] = {"neuron": "3d"}

_Panel = Callable[..., Any]
"""A drawing function with its arguments, apart from ``ax``."""


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
        If the output contains no such data, or a name, channel or time that it does not have is
        selected.
    CellNotFoundError
        If a cell is in none of the selected recordings.
    SelectionError
        If an option does not apply to this kind of plot.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     draw(output, "heat", PictureOptions(stop=0.1)).savefig("heat.png")

    """
    options = options or PictureOptions()
    if kind is None and not (output.reports or output.spikes) and cells_in_space(output):
        kind = "neuron"
    kinds = check_selection(output, kind, options)
    window = options.window(output) if OVER_TIME & set(kinds) else {}
    panels = [
        (name, partial(panel, **window) if name in OVER_TIME else panel)
        for name in kinds
        for panel in _PANELS[name](output, options)
    ]
    if not panels:
        raise NothingRecordedError(nothing_to_draw(output, kind, options))
    shown = _with_common_colors(panels[:_MAX_PANELS])
    with in_look():
        figure = _figure(shown)
        if len(shown) < len(panels):
            note = f"{len(shown)} of {len(panels)} plots"
            figure.suptitle(note, fontsize="medium", x=0.99, ha="right")
        make_ticks(figure)
    return figure


def _with_common_colors(panels: list[tuple[PictureKind, _Panel]]) -> list[tuple[PictureKind, Any]]:
    """Return panels in which a value of a property has the same colour in all populations."""
    drawings: list[Any] = [panel for _, panel in panels]
    for field in ("group_by", "color_by"):
        groups = {
            index: panel.keywords[field]
            for index, panel in enumerate(drawings)
            if isinstance(panel.keywords.get(field), Groups)
        }
        if len({one.cells.population for one in groups.values()}) > 1:
            common = with_common_colors([*groups.values()])
            for index, one in zip(groups, common, strict=True):
                drawings[index] = partial(drawings[index], **{field: one})
    return [(name, panel) for (name, _), panel in zip(panels, drawings, strict=True)]


def _figure(panels: Sequence[tuple[PictureKind, _Panel]]) -> "Figure":
    """Draw panels: those over time first, in columns with one time axis, then the others."""
    timed = [(name, panel) for name, panel in panels if name in OVER_TIME]
    parts = [part for part in (timed, [one for one in panels if one not in timed]) if part]
    columns = [_n_columns(part) for part in parts]
    tall = 4.8 if len(panels) == 1 or panels[0][0] in _PROJECTIONS else 0.0
    tall = 2.8 if len(panels) == 2 else tall
    needed = [[max(_height(*panel), tall) for panel in part] for part in parts]
    heights = [
        [max(part[first : first + across]) for first in range(0, len(part), across)]
        for part, across in zip(needed, columns, strict=True)
    ]
    totals = [sum(part) for part in heights]
    figure = empty_figure(8 if max(columns) == 1 else 6 * max(columns), sum(totals))
    outer = figure.add_gridspec(len(parts), 1, height_ratios=totals)
    for number, (part, across) in enumerate(zip(parts, columns, strict=True)):
        ratios = heights[number]
        places = outer[number].subgridspec(len(ratios), across, height_ratios=ratios)
        first = None
        for index, (name, panel) in enumerate(part):
            place, projection = places[divmod(index, across)], _PROJECTIONS.get(name)
            ax = figure.add_subplot(place, projection=projection, sharex=first)
            panel(ax=ax)
            if part is timed:
                first = first or ax
                if index + across < len(part):
                    ax.tick_params(axis="x", labelbottom=False)
                    ax.set_xlabel("")
    _drop_repeated_legends(figure)
    return figure


def _height(kind: PictureKind, panel: _Panel) -> float:
    """Return the height in inches that a panel needs, with the names of its groups."""
    drawing: Any = panel
    groups = (drawing.keywords.get(name) for name in ("group_by", "color_by"))
    n_names = max((len(one.names) for one in groups if isinstance(one, Groups)), default=0)
    return max(_HEIGHTS.get(kind, 2.8), 0.6 + 0.17 * n_names)


def _drop_repeated_legends(figure: "Figure") -> None:
    """Remove legends that are the same as that of a panel before."""
    seen = set()
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None:
            texts = (legend.get_title(), *legend.get_texts())
            lines: list[Any] = legend.legend_handles
            colors = (line.get_color() for line in lines)
            named = (*(text.get_text() for text in texts), *colors)
            if named in seen:
                legend.remove()
            seen.add(named)


def _n_columns(panels: Sequence[tuple[PictureKind, _Panel]]) -> int:
    """Return in how many columns to draw panels."""
    if panels[0][0] in OVER_TIME:
        return 1 if len(panels) <= 6 else 2
    return 1 if len(panels) <= 4 else 2 if len(panels) <= 8 else 3


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
        msg = (
            f"{name_of(path)} is not an image file; expected a name that ends in .png, .svg or .pdf"
        )
        raise ExportError(msg)
    with atomic_file(path, overwrite=overwrite) as temporary, in_look():
        draw(output, kind, options).savefig(temporary, dpi=dpi)
    return path


def _traces(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    colors = _colors_of(output)
    for report, chosen in _chosen_reports(output, options):
        color = colors[report.population]
        yield partial(traces, report, **chosen, color=color, overlay=bool(options.overlay))


def _heat_maps(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for report, chosen in _chosen_reports(output, options):
        yield partial(heat_map, report, **chosen, how=options.how or "mean")


def _chosen_reports(
    output: SimulationOutput, options: PictureOptions
) -> Iterator[tuple[Report, dict[str, Any]]]:
    """Yield the selected reports with the compartments and groups to draw."""
    for report in options.reports(output):
        compartments = options.compartments(report)
        groups = _groups(output, report.population, options)
        if compartments is not None and groups is not None:
            yield report, {**compartments, **groups}


def _colors_of(output: SimulationOutput) -> dict[str, str]:
    """Return the colour of each population, the same in all panels."""
    recorded = [spikes.population for spikes in output.spikes]
    recorded += [report.population for report in output.reports]
    return dict(zip(dict.fromkeys(recorded), cycle(COLORS), strict=False))


def _neurons(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    shown = options.in_space(output)
    if not shown.reports and not cells_in_space(shown):
        return
    window: dict[str, Any] = options.window(output)
    if shown.reports:
        window = {"at": options.start}
    if options.at is not None:
        window["at"] = options.at
    group_by = options.group_by or options.color_by
    yield partial(neuron, shown, options.cells, group_by=group_by, **window)


def _rasters(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for spikes, chosen in _chosen_spikes(output, options):
        yield partial(raster, spikes, **chosen)


def _rates(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for spikes, chosen in _chosen_spikes(output, options):
        yield partial(rates, spikes, **chosen, bin_width=options.bin_width)


def _chosen_spikes(
    output: SimulationOutput, options: PictureOptions
) -> Iterator[tuple[Spikes, dict[str, Any]]]:
    """Yield the selected spikes with the cells, groups and colour to draw."""
    colors = _colors_of(output)
    for spikes in options.spikes(output):
        cells = options.cells_of(spikes, output)
        groups = _groups(output, spikes.population, options)
        if (cells is None or len(cells)) and groups is not None:
            yield spikes, {"cells": cells, **groups, "color": colors[spikes.population]}


def _groups(
    output: SimulationOutput, population: str, options: PictureOptions
) -> dict[str, Groups] | None:
    """Return the groups of all known cells of a population, for equal colours in all panels.

    None if its cells do not have the property.
    """
    wanted = {"group_by": options.group_by, "color_by": options.color_by}
    found = {}
    for field, name in wanted.items():
        if name is not None:
            tables = tables_of(output, PictureOptions(population=population), name)
            if not tables:
                return None
            found[field] = group_cells(max(tables, key=len), name)
    return found


def _channels(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for potential in options.potentials(output):
        ids = options.channels
        if ids is not None:
            ids = np.asarray(ids)[np.isin(ids, potential.channel_ids)].tolist()
        if ids is None or len(ids):
            yield partial(channels, potential, ids)


def _projections(
    drawing: _Panel, output: SimulationOutput, options: PictureOptions
) -> Iterator[_Panel]:
    """Yield a panel for each projection that has the selected quantity, and ends at the cells."""
    for network in output.networks:
        for projection in network.projections:
            chosen = _chosen_ranks(projection, options)
            if options.cells is not None and not chosen:
                continue
            names = {None, projection.name, projection.pre, projection.post}
            if options.population not in names:
                continue
            try:
                synapse_quantity(projection, options.variable)
            except NothingRecordedError:
                continue
            yield partial(drawing, network, projection.name, options.variable, cells=chosen)


def _chosen_ranks(projection: ProjectionSnapshot, options: PictureOptions) -> list[int] | None:
    """Return the selected cells that receive synapses of a projection; None for all."""
    if options.cells is None:
        return None
    is_query = isinstance(options.cells, str | Mapping)
    return [] if is_query else those_in(options.cells, projection.post_ranks[:])


def _states(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for network in output.networks:
        for population in network.populations:
            names = {quantity.name for quantity in neuron_quantities(population)}
            is_wanted = options.variable is None or options.variable in names
            if options.population in {None, population.name} and names and is_wanted:
                yield partial(population_state, network, population.name, options.variable)


def _arrays(output: SimulationOutput, options: PictureOptions) -> Iterator[_Panel]:
    for _, group in groupby(options.grids(output), _shared_axes):
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
