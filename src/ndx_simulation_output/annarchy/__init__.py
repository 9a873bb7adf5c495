"""Save and load networks of ANNarchy, and add recordings of their monitors, in NWB files.

The argument ``network`` is a ``Network``, ``Population`` or ``Projection``, or None for the
implicit network of scripts for ANNarchy 4. Only functions with a network or monitors as an argument
require ANNarchy.
"""

from ndx_simulation_output.annarchy.monitors import read_recordings, recordings
from ndx_simulation_output.annarchy.parameters import (
    Parameters,
    load_parameters,
    parameters_of,
    parameters_text,
    parse_parameters,
    save_parameters,
    with_parameters,
)
from ndx_simulation_output.annarchy.reading import read
from ndx_simulation_output.annarchy.restoring import Restored
from ndx_simulation_output.annarchy.states import (
    add_recordings,
    add_saved_recordings,
    add_state,
    connect,
    load,
    save,
)
from ndx_simulation_output.annarchy.writing import write

__all__ = [
    "Parameters",
    "Restored",
    "add_recordings",
    "add_saved_recordings",
    "add_state",
    "connect",
    "load",
    "load_parameters",
    "parameters_of",
    "parameters_text",
    "parse_parameters",
    "read",
    "read_recordings",
    "recordings",
    "save",
    "save_parameters",
    "with_parameters",
    "write",
]
