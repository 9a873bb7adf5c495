"""Save and load networks of ANNarchy, and what their monitors recorded, over NWB.

``network`` is a ``Network``, ``Population`` or ``Projection``, or None for the implicit network of
scripts for ANNarchy 4. ANNarchy is only needed when something is called.
"""

from ndx_simulation_output.annarchy.parameters import load_parameters, save_parameters
from ndx_simulation_output.annarchy.restoring import Restored
from ndx_simulation_output.annarchy.states import (
    add_recordings,
    add_saved_recordings,
    add_state,
    connect,
    load,
    save,
)

__all__ = [
    "Restored",
    "add_recordings",
    "add_saved_recordings",
    "add_state",
    "connect",
    "load",
    "load_parameters",
    "save",
    "save_parameters",
]
