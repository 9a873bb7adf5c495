"""The neurodata types, generated from the YAML under ``spec/`` on import."""

from ndx_simulation_output.nwb.types.arrays import (
    AxesTimeSeries,
    Axis,
    DataToExport,
    DataWithAxes,
    LabeledArray,
)
from ndx_simulation_output.nwb.types.circuit import (
    CategoryData,
    CellPopulation,
    CircuitDescription,
    Connections,
)
from ndx_simulation_output.nwb.types.compartments import (
    Compartments,
    CompartmentSeries,
    SimulationMetaData,
)
from ndx_simulation_output.nwb.types.namespace import NAMESPACE
from ndx_simulation_output.nwb.types.network import (
    NetworkState,
    PopulationState,
    ProjectionState,
    StateTable,
)

__all__ = [
    "NAMESPACE",
    "AxesTimeSeries",
    "Axis",
    "CategoryData",
    "CellPopulation",
    "CircuitDescription",
    "CompartmentSeries",
    "Compartments",
    "Connections",
    "DataToExport",
    "DataWithAxes",
    "LabeledArray",
    "NetworkState",
    "PopulationState",
    "ProjectionState",
    "SimulationMetaData",
    "StateTable",
]
