"""A small network of branched cables, simulated with numpy: what ``ndx-sim demo`` records.

``morphology`` draws the cells, ``network`` wires them and integrates their equations,
``simulation`` runs it and describes what was recorded. It is a toy with textbook equations, not a
model of any tissue. Inside, quantities are in mV, ms, nA, µS, nF and µm, which need no factors
between them; what ``simulate`` takes and gives is in seconds.
"""

from ndx_simulation_output.cable.simulation import simulate

__all__ = ["simulate"]
