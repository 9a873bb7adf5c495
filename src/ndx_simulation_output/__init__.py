"""Simulated neural activity in NWB: the types of the extension, and converters around them."""

from ndx_simulation_output.api import (
    Converted,
    convert,
    export_annarchy,
    export_sonata,
    open_output,
    plan_layouts,
)
from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning
from ndx_simulation_output.nwb.reader import read_old_namespace
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
from ndx_simulation_output.storage.layout import Layout, StorageOptions

__all__ = [
    "AxesTimeSeries",
    "Axis",
    "CompartmentSeries",
    "Compartments",
    "Converted",
    "DataToExport",
    "DataWithAxes",
    "LabeledArray",
    "Layout",
    "NetworkState",
    "PopulationState",
    "ProjectionState",
    "SimulationMetaData",
    "SimulationOutputError",
    "SimulationOutputWarning",
    "StateTable",
    "StorageOptions",
    "convert",
    "export_annarchy",
    "export_sonata",
    "open_output",
    "plan_layouts",
    "read_old_namespace",
]


@html_summary.register
def _summarize(shown: object, name: str = "") -> str:
    """Draw a summary for notebooks. ``plots`` is imported when the first one is shown."""
    from ndx_simulation_output.plots.notebook import summarize

    return summarize(shown, name)
