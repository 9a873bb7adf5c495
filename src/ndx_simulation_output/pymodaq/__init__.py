"""PyMoDAQ's data objects, savers and loaders, over NWB.

Scripts run with these imports alone changed. ``pymodaq_data`` is needed only for ``to_pymodaq``.
"""

from ndx_simulation_output.pymodaq.axes import Axis
from ndx_simulation_output.pymodaq.choices import DataDim, DataDistribution, DataSource
from ndx_simulation_output.pymodaq.data import DataCalculated, DataRaw, DataWithAxes
from ndx_simulation_output.pymodaq.enlargeable import (
    DataEnlargeableSaver,
    DataToExportEnlargeableSaver,
    DataToExportTimedSaver,
)
from ndx_simulation_output.pymodaq.extended import DataExtendedSaver, DataToExportExtendedSaver
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.loaders import DataLoader
from ndx_simulation_output.pymodaq.names import H5Saver
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.pymodaq.savers import (
    AxisSaverLoader,
    BkgSaver,
    DataSaverLoader,
    DataToExportSaver,
)
from ndx_simulation_output.pymodaq.sets import DataToExport

__all__ = [
    "Axis",
    "AxisSaverLoader",
    "BkgSaver",
    "DataCalculated",
    "DataDim",
    "DataDistribution",
    "DataEnlargeableSaver",
    "DataExtendedSaver",
    "DataLoader",
    "DataRaw",
    "DataSaverLoader",
    "DataSource",
    "DataToExport",
    "DataToExportEnlargeableSaver",
    "DataToExportExtendedSaver",
    "DataToExportSaver",
    "DataToExportTimedSaver",
    "DataWithAxes",
    "H5Saver",
    "H5SaverLowLevel",
    "Node",
]
