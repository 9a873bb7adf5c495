"""The import name of the first publications; see ``ndx_simulation_output``."""

from ndx_simulation_output import Compartments, CompartmentSeries, SimulationMetaData

__all__ = ["CompartmentSeries", "Compartments", "SimulationMetaData"]
