"""A running NEURON model: its cells, what can be recorded of them, and when.

Objects of NEURON are passed in, so that this can be imported without NEURON.
"""

from ndx_simulation_output.adapters.neuron.cells import Cell, Population, find_populations
from ndx_simulation_output.adapters.neuron.clock import Clock, Schedule, next_time
from ndx_simulation_output.adapters.neuron.gathering import Gathered
from ndx_simulation_output.adapters.neuron.spikes import SpikeRecorder
from ndx_simulation_output.adapters.neuron.variables import (
    Recorded,
    Variable,
    find_variable,
    variables_of,
    warn_of_unknown_unit,
)

__all__ = [
    "Cell",
    "Clock",
    "Gathered",
    "Population",
    "Recorded",
    "Schedule",
    "SpikeRecorder",
    "Variable",
    "find_populations",
    "find_variable",
    "next_time",
    "variables_of",
    "warn_of_unknown_unit",
]
