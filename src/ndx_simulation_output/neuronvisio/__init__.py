"""Neuronvisio's ``Manager`` and reference classes, with saving to NWB and ``storage.h5`` files.

In Neuronvisio scripts, only the import must be changed. NEURON is required only for recording.
"""

from ndx_simulation_output.neuronvisio.manager import Manager
from ndx_simulation_output.neuronvisio.refs import BaseRef, SynVecRef, VecRef
from ndx_simulation_output.neuronvisio.storage import read, write

__all__ = ["BaseRef", "Manager", "SynVecRef", "VecRef", "read", "write"]
