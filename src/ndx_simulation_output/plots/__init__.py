"""Pictures of what was recorded, drawn by matplotlib (extra ``plot``).

Each function takes an open output, a report or an NWB object, draws into the axes ``ax``, new ones
if None, and returns them. Only what is shown is read: see ``recording.reduced`` for the numbers.
"""

from ndx_simulation_output.plots.arrays import array
from ndx_simulation_output.plots.figures import KINDS, Kind, Selection, draw, save
from ndx_simulation_output.plots.networks import population_state, weight_matrix, weights
from ndx_simulation_output.plots.neurons import neuron, save_animation
from ndx_simulation_output.plots.spikes import raster, rates
from ndx_simulation_output.plots.traces import channels, heat_map, traces

__all__ = [
    "KINDS",
    "Kind",
    "Selection",
    "array",
    "channels",
    "draw",
    "heat_map",
    "neuron",
    "population_state",
    "raster",
    "rates",
    "save",
    "save_animation",
    "traces",
    "weight_matrix",
    "weights",
]
