"""Files of PyMoDAQ, of all layouts since 1.6: data of instruments with their axes."""

from ndx_simulation_output.adapters.pymodaq.reading import is_pymodaq, read

__all__ = ["is_pymodaq", "read"]
