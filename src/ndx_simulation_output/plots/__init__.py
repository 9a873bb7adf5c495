"""Plots of recorded data, drawn with matplotlib (extra ``plot``), and the numbers behind them.

Each drawing function takes an open output, a report or an NWB object, draws into the axes ``ax``
and returns them. Without ``ax`` it draws into a new figure of pyplot. It raises
``MissingDependencyError`` if matplotlib is not installed.

The functions ``read_…``, ``reduce_…``, ``spike_…``, ``histogram`` and ``mean_weights`` return the
numbers that are drawn, and do not require matplotlib. They read only the selected data, in blocks
of bounded size, and reduce them to the pixels of a plot.
"""

from ndx_simulation_output.choices import KINDS, PictureKind
from ndx_simulation_output.plots.arrays import Grid, GridAxis, array, grids_of, group_grids
from ndx_simulation_output.plots.downsampling import Lines, reduce_traces
from ndx_simulation_output.plots.figures import draw, save
from ndx_simulation_output.plots.heat_maps import HeatMap, heat_map, reduce_heat_map
from ndx_simulation_output.plots.networks import (
    Histogram,
    WeightMatrix,
    histogram,
    mean_weights,
    neuron_quantity,
    population_state,
    receptive_fields,
    synapse_quantity,
    weight_matrix,
    weights,
)
from ndx_simulation_output.plots.neurons import neuron, save_animation
from ndx_simulation_output.plots.selection import PictureOptions
from ndx_simulation_output.plots.shapes import Coordinates, Frames, read_coordinates, read_frames
from ndx_simulation_output.plots.spikes import (
    Raster,
    Rates,
    raster,
    rates,
    spike_raster,
    spike_rates,
)
from ndx_simulation_output.plots.traces import channels, traces

__all__ = [
    "KINDS",
    "Coordinates",
    "Frames",
    "Grid",
    "GridAxis",
    "HeatMap",
    "Histogram",
    "Lines",
    "PictureKind",
    "PictureOptions",
    "Raster",
    "Rates",
    "WeightMatrix",
    "array",
    "channels",
    "draw",
    "grids_of",
    "group_grids",
    "heat_map",
    "histogram",
    "mean_weights",
    "neuron",
    "neuron_quantity",
    "population_state",
    "raster",
    "rates",
    "read_coordinates",
    "read_frames",
    "receptive_fields",
    "reduce_heat_map",
    "reduce_traces",
    "save",
    "save_animation",
    "spike_raster",
    "spike_rates",
    "synapse_quantity",
    "traces",
    "weight_matrix",
    "weights",
]
