"""Neuronvisio's storage: vectors of sections and synapses, and whatever else was put beside them.

``reading`` and ``restoring`` give its contents from a file and from the neutral description;
``describing`` and ``writing`` are the ways from them to these.
"""

from ndx_simulation_output.adapters.neuronvisio.contents import (
    SYNAPSES,
    VECTORS,
    Contents,
    Ref,
    RefGroup,
)
from ndx_simulation_output.adapters.neuronvisio.describing import describe
from ndx_simulation_output.adapters.neuronvisio.geometry import Geometry, Section, sanitized
from ndx_simulation_output.adapters.neuronvisio.live import read_geometry
from ndx_simulation_output.adapters.neuronvisio.reading import is_storage, read
from ndx_simulation_output.adapters.neuronvisio.restoring import restore
from ndx_simulation_output.adapters.neuronvisio.writing import write

__all__ = [
    "SYNAPSES",
    "VECTORS",
    "Contents",
    "Geometry",
    "Ref",
    "RefGroup",
    "Section",
    "describe",
    "is_storage",
    "read",
    "read_geometry",
    "restore",
    "sanitized",
    "write",
]
