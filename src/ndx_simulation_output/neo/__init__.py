"""Recordings that PyNN, BSB and others describe with Neo: NIX files, and blocks in memory."""

from ndx_simulation_output.neo.blocks import to_output

__all__ = ["to_output"]
