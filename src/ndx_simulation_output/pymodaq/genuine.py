"""PyMoDAQ's own objects, which are made only when they are asked for."""

from typing import Any

from ndx_simulation_output.optional import import_optional

__all__ = ["pymodaq_data"]


def pymodaq_data() -> Any:
    """Give PyMoDAQ's module of data objects.

    Raises
    ------
    MissingDependencyError
        If pymodaq_data is not installed.

    """
    return import_optional("pymodaq_data.data", "to_pymodaq", "pymodaq")
