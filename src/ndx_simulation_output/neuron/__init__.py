"""Record a running NEURON simulation into an NWB file."""

from ndx_simulation_output.neuron.recorder import Recorder, record
from ndx_simulation_output.neuron.variables import Variable

__all__ = ["Recorder", "Variable", "record"]
