"""Simulated neural activity in NWB: the types of the extension, and converters around them."""

from ndx_simulation_output.convert import convert, write_output
from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning
from ndx_simulation_output.exporting import export_sonata
from ndx_simulation_output.nwb.types import Compartments, CompartmentSeries, SimulationMetaData
from ndx_simulation_output.opening import open_output

__all__ = [
    "CompartmentSeries",
    "Compartments",
    "SimulationMetaData",
    "SimulationOutputError",
    "SimulationOutputWarning",
    "convert",
    "export_sonata",
    "open_output",
    "write_output",
]
