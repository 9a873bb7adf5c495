"""ANNarchy: its networks in memory, its files of their states, and of parameters as JSON."""

from ndx_simulation_output.adapters.annarchy.live import LiveNetwork, find_network
from ndx_simulation_output.adapters.annarchy.live_parameters import set_parameters
from ndx_simulation_output.adapters.annarchy.monitor_files import read_recordings
from ndx_simulation_output.adapters.annarchy.monitors import recordings
from ndx_simulation_output.adapters.annarchy.parameters import (
    Parameters,
    parameters_of,
    parameters_text,
    parse_parameters,
    with_parameters,
)
from ndx_simulation_output.adapters.annarchy.reading import is_saved, read
from ndx_simulation_output.adapters.annarchy.rebuilding import connect
from ndx_simulation_output.adapters.annarchy.restoring import Restored, restore
from ndx_simulation_output.adapters.annarchy.saved import DelayUnit
from ndx_simulation_output.adapters.annarchy.snapshots import declarations, snapshot
from ndx_simulation_output.adapters.annarchy.unsaid import Form
from ndx_simulation_output.adapters.annarchy.writing import EXTENSIONS, write

__all__ = [
    "EXTENSIONS",
    "DelayUnit",
    "Form",
    "LiveNetwork",
    "Parameters",
    "Restored",
    "connect",
    "declarations",
    "find_network",
    "is_saved",
    "parameters_of",
    "parameters_text",
    "parse_parameters",
    "read",
    "read_recordings",
    "recordings",
    "restore",
    "set_parameters",
    "snapshot",
    "with_parameters",
    "write",
]
