"""Brian2: the states of networks, saved to and loaded from NWB."""

from ndx_simulation_output.brian2.states import load, save, snapshot

__all__ = ["load", "save", "snapshot"]
