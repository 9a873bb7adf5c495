"""ANNarchy's files: the state of a network, and its parameters as JSON."""

from ndx_simulation_output.adapters.annarchy.parameters import (
    Parameters,
    parameters_of,
    parameters_text,
    parse_parameters,
    with_parameters,
)
from ndx_simulation_output.adapters.annarchy.reading import is_saved, read
from ndx_simulation_output.adapters.annarchy.saved import DelayUnit
from ndx_simulation_output.adapters.annarchy.unsaid import Form
from ndx_simulation_output.adapters.annarchy.writing import EXTENSIONS, write

__all__ = [
    "EXTENSIONS",
    "DelayUnit",
    "Form",
    "Parameters",
    "is_saved",
    "parameters_of",
    "parameters_text",
    "parse_parameters",
    "read",
    "with_parameters",
    "write",
]
