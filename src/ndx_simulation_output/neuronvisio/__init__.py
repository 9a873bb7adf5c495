"""The calls of Neuronvisio's manager, over NWB: ``Manager`` and the references that it keeps.

Scripts run with this import alone changed. Recording needs NEURON; all else does not.
"""

from ndx_simulation_output.neuronvisio.manager import Manager
from ndx_simulation_output.neuronvisio.refs import BaseRef, SynVecRef, VecRef

__all__ = ["BaseRef", "Manager", "SynVecRef", "VecRef"]
