"""The data objects, savers and loaders of PyMoDAQ, for NWB files.

To use this package in a script written for PyMoDAQ, change only its imports. ``pymodaq_data`` is
only required by the ``to_pymodaq`` methods.
"""

from ndx_simulation_output.pymodaq.data import (
    Axis,
    DataCalculated,
    DataDim,
    DataDistribution,
    DataRaw,
    DataSource,
    DataToExport,
    DataWithAxes,
)
from ndx_simulation_output.pymodaq.files import (
    H5Saver,
    H5SaverLowLevel,
    continuous_path,
    dataset_path,
)
from ndx_simulation_output.pymodaq.growing import (
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportTimedSaver,
)
from ndx_simulation_output.pymodaq.loaders import DataLoader
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.pymodaq.reading import read
from ndx_simulation_output.pymodaq.savers import (
    AxisSaverLoader,
    BkgSaver,
    DataSaverLoader,
    DataToExportSaver,
)

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
    "continuous_path",
    "dataset_path",
    "read",
]
