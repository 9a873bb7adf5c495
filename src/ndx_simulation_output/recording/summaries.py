"""What notebooks show of a recording: a line on each thing, and a small picture of some."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording.arrays import LazyArray, chunks_of
from ndx_simulation_output.recording.reduced.grids import Grid, export_grids, own_grids
from ndx_simulation_output.recording.reduced.networks import (
    histogram,
    neuron_quantities,
    synapse_quantities,
)
from ndx_simulation_output.recording.reduced.rasters import spike_raster
from ndx_simulation_output.recording.reduced.series import Recorded, reduce_traces, spread
from ndx_simulation_output.recording.sketches import (
    SIZE,
    sketch_histogram,
    sketch_image,
    sketch_lines,
    sketch_raster,
)
from ndx_simulation_output.recording.units import unit_symbol

if TYPE_CHECKING:
    from ndx_simulation_output.recording.array_groups import ArrayGroup
    from ndx_simulation_output.recording.exports import ExportGroup
    from ndx_simulation_output.recording.network import NetworkSnapshot, Quantity
    from ndx_simulation_output.recording.output import Report, SimulationOutput, Spikes

__all__ = [
    "MOST_BYTES",
    "column_html",
    "export_html",
    "group_html",
    "network_html",
    "output_html",
    "report_html",
    "spikes_html",
]

MOST_BYTES = 2**24
"""A picture reads so many bytes at most; what would need more begins later or is left out."""

_TRACES = 4
_SHOWN = 8


def output_html(output: "SimulationOutput") -> str:
    """Summarise an output; pictures are those of the first few things."""
    shown: tuple[tuple[Sequence[Any], Callable[[Any], str]], ...] = (
        (output.reports, report_html),
        (output.potentials, partial(_recorded, what="potential")),
        (output.spikes, spikes_html),
        (output.networks, network_html),
        (output.groups, group_html),
        (output.exports, export_html),
    )
    parts = [_tried(tell, one) for things, tell in shown for one in things[:_SHOWN]]
    left_out = sum(max(0, len(things) - _SHOWN) for things, _ in shown)
    if left_out:
        parts.append(_line("and", f"{left_out} more"))
    return _whole("SimulationOutput", parts or [_line("nothing", "was recorded")])


def _tried(tell: Callable[[Any], str], thing: Any) -> str:
    """Summarise a thing, or say that it cannot be read: its file may be closed by now."""
    try:
        return tell(thing)
    except (OSError, RuntimeError, ValueError, SourceError) as error:
        return _line(type(thing).__name__, f"cannot be read: {error}")


def report_html(report: "Report") -> str:
    """Summarise a report, with some of its traces."""
    cells = f"{len(report.compartments):,} cells of population {report.population}"
    return _recorded(report, "report", cells)


def spikes_html(spikes: "Spikes") -> str:
    """Summarise the spikes of a population, with their raster."""
    picture = ""
    if 0 < spikes.times.nbytes <= 8 * MOST_BYTES:
        picture = sketch_raster(spike_raster(spikes, shape=(SIZE[0] // 4, SIZE[1] // 4)))
    return _line(f"spikes {spikes.population}", f"{len(spikes.times):,} spikes", picture)


def network_html(network: "NetworkSnapshot") -> str:
    """Summarise the state of a network, with histograms of a variable and of weights."""
    time = "" if network.time is None else f"at {network.time:g} s"
    parts = [_line(f"state {network.name}", time)]
    for population in network.populations[:_SHOWN]:
        names = ", ".join(quantity.name for quantity in population.quantities[:_SHOWN])
        text = f"{population.size:,} neurons: {names}"
        picture = _first_histogram(neuron_quantities(population))
        parts.append(_line(f"population {population.name}", text, picture))
    for projection in network.projections[:_SHOWN]:
        synapses = f"{projection.pre_ranks.shape[0]:,} synapses"
        picture = _first_histogram(synapse_quantities(projection))
        parts.append(_line(f"projection {projection.name}", synapses, picture))
    return "".join(parts)


def group_html(group: "ArrayGroup") -> str:
    """Summarise arrays, with pictures of some."""
    text = f"{len(group.arrays)} arrays"
    return _line(f"arrays of {group.name}", text) + _grids(own_grids(group))


def export_html(export: "ExportGroup") -> str:
    """Summarise a group of arrays with axes and those below it, with pictures of some."""
    count = sum(len(group.arrays) for _, group in export.walk())
    return _line(f"data of {export.name}", f"{count} arrays") + _grids(export_grids(export))


def column_html(name: str, values: LazyArray) -> str:
    """Summarise a column of numbers, shape (value,), with a histogram if it is small enough."""
    return _line(name, f"{values.shape[0]:,} values", _histogram(values))


def _first_histogram(quantities: Iterable["Quantity"]) -> str:
    return next((_histogram(one.values) for one in quantities if one.values.shape), "")


def _histogram(values: LazyArray) -> str:
    is_drawn = _is_small(values) and values.dtype.kind in "biuf"
    return sketch_histogram(histogram(values)) if is_drawn else ""


def _grids(grids: Iterable[Grid]) -> str:
    return "".join(_tried(_grid, grid) for grid in islice(grids, _SHOWN))


def _grid(grid: Grid) -> str:
    """Draw a line or an image; one value is written."""
    name = " ".join(text for text in (grid.name, grid.label) if text)
    if not grid.axes:
        return _line(name, f"{np.asarray(grid.values[()]).ravel()[0]:.6g} {grid.unit}")
    text = " × ".join(f"{len(axis.values):,}" for axis in grid.axes)
    if not _is_small(grid.values):
        return _line(name, text)
    if len(grid.axes) == 1:
        return _line(name, text, sketch_lines(grid.line(SIZE[1] // 4)))
    return _line(name, text, sketch_image(grid.image((SIZE[0] // 4, SIZE[1] // 4))[0]))


def _is_small(values: LazyArray) -> bool:
    return prod(values.shape) * values.dtype.itemsize <= MOST_BYTES


def _recorded(recorded: Recorded, what: str, more: str = "") -> str:
    rows, columns = recorded.data.shape
    symbol = unit_symbol(recorded.unit) or recorded.unit.name
    facts = [f"{rows:,} times × {columns:,} columns", symbol, more]
    text = ", ".join(fact for fact in facts if fact)
    return _line(f"{what} {recorded.name}", text, _traces(recorded))


def _traces(recorded: Recorded) -> str:
    """Draw some traces, as many of their first rows as may be read."""
    rows, columns = recorded.data.shape
    chosen = spread(columns, _TRACES)
    most = _rows_to_read(recorded.data, len(chosen))
    if not rows or not len(chosen) or not most:
        return ""
    stop = None if rows <= most else float(recorded.times.seconds(slice(most, most + 1))[0])
    return sketch_lines(reduce_traces(recorded, chosen, stop=stop, pixels=SIZE[1] // 4))


def _rows_to_read(data: LazyArray, columns: int) -> int:
    """Count the rows of some columns that a picture may read: a chunk is read as a whole."""
    height, width = chunks_of(data)
    row_bytes = max(1, columns * width * data.dtype.itemsize)
    return MOST_BYTES // row_bytes // height * height


def _line(name: str, text: str, picture: str = "") -> str:
    shown = f"<div>{picture}</div>" if picture else ""
    return f"<div><b>{escape(name)}</b> {escape(text)}{shown}</div>"


def _whole(name: str, parts: Iterable[str]) -> str:
    return f"<div><h4>{escape(name)}</h4>{''.join(parts)}</div>"
