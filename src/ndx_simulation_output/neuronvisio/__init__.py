"""The ``Manager`` of Neuronvisio and its references, which are saved to NWB and ``storage.h5``.

Scripts for Neuronvisio need no other change than this import. Only recording requires NEURON.
"""

from ndx_simulation_output.neuronvisio.manager import Manager
from ndx_simulation_output.neuronvisio.refs import BaseRef, SynVecRef, VecRef
from ndx_simulation_output.neuronvisio.storage import read, write

__all__ = ["BaseRef", "Manager", "SynVecRef", "VecRef", "read", "write"]
