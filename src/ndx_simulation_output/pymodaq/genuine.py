"""Access to ``pymodaq_data``, which is imported on request only."""

from typing import Any

from ndx_simulation_output.optional import import_optional

__all__ = ["pymodaq_data"]


def pymodaq_data() -> Any:
    """Return PyMoDAQ's module of data objects."""
    return import_optional("pymodaq_data.data", "to_pymodaq", "pymodaq")
