"""The neurodata types, made from the YAML under ``spec/`` when this package is imported."""

from ndx_simulation_output.nwb.types.arrays import Axis, DataWithAxes, LabeledArray
from ndx_simulation_output.nwb.types.compartments import Compartments
from ndx_simulation_output.nwb.types.namespace import NAMESPACE
from ndx_simulation_output.nwb.types.network import (
    NetworkState,
    PopulationState,
    ProjectionState,
    StateTable,
)
from ndx_simulation_output.nwb.types.series import CompartmentSeries
from ndx_simulation_output.nwb.types.simulation import SimulationMetaData

__all__ = [
    "NAMESPACE",
    "Axis",
    "CompartmentSeries",
    "Compartments",
    "DataWithAxes",
    "LabeledArray",
    "NetworkState",
    "PopulationState",
    "ProjectionState",
    "SimulationMetaData",
    "StateTable",
]
