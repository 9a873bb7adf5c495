"""SONATA's output: compartment reports, spikes, extracellular potentials, in both dialects."""

from ndx_simulation_output.sonata.reading import read
from ndx_simulation_output.sonata.writing import Dialect, Written, write

__all__ = ["Dialect", "Written", "read", "write"]
