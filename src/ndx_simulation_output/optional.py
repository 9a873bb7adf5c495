"""Libraries that some calls need and an installation may lack."""

from importlib import import_module
from typing import Any

from ndx_simulation_output.errors import MissingDependencyError

__all__ = ["import_optional"]


def import_optional(module: str, what: str, extra: str) -> Any:
    """Give a module that ``what`` needs and the ``extra`` of this package installs.

    Raises
    ------
    MissingDependencyError
        If it is not installed.

    Example
    -------
    >>> import_optional("json", "this example", "all").dumps([1])
    '[1]'

    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        msg = f"{what} needs {library}: pip install 'ndx-simulation-output[{extra}]'"
        raise MissingDependencyError(msg) from error
