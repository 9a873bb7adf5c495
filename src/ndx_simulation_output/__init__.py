"""Simulated neural activity in NWB: the types of the extension, and converters around them."""

from ndx_simulation_output.api import convert, export_sonata, open_output
from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning
from ndx_simulation_output.nwb.types import (
    AxesTimeSeries,
    Axis,
    Compartments,
    CompartmentSeries,
    DataToExport,
    DataWithAxes,
    LabeledArray,
    NetworkState,
    PopulationState,
    ProjectionState,
    SimulationMetaData,
    StateTable,
)
from ndx_simulation_output.recording.display import html_summary
from ndx_simulation_output.storage.layout import StorageOptions

__all__ = [
    "AxesTimeSeries",
    "Axis",
    "CompartmentSeries",
    "Compartments",
    "DataToExport",
    "DataWithAxes",
    "LabeledArray",
    "NetworkState",
    "PopulationState",
    "ProjectionState",
    "SimulationMetaData",
    "SimulationOutputError",
    "SimulationOutputWarning",
    "StateTable",
    "StorageOptions",
    "convert",
    "export_sonata",
    "open_output",
]


@html_summary.register
def _summarize(shown: object, name: str = "") -> str:
    """Draw a summary for notebooks. ``plots`` is imported when the first one is shown."""
    from ndx_simulation_output.plots.notebook import summarize

    return summarize(shown, name)
