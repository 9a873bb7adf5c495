"""Read and write SONATA: compartment reports, spikes and extracellular potentials."""

from ndx_simulation_output.choices import Dialect
from ndx_simulation_output.sonata.reading import read
from ndx_simulation_output.sonata.writing import Written, write

__all__ = ["Dialect", "Written", "read", "write"]
