"""ANNarchy's files: the state of a network, and its parameters as JSON."""

from ndx_simulation_output.adapters.annarchy.reading import is_saved, read

__all__ = ["is_saved", "read"]
