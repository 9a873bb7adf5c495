"""Import of optional libraries."""

from importlib import import_module
from typing import Any

from ndx_simulation_output.errors import MissingDependencyError


def import_optional(module: str, what: str, extra: str) -> Any:
    """Import a module that ``what`` needs; MissingDependencyError names the ``extra``.

    Example
    -------
    >>> import_optional("json", "this example", "all").dumps([1])
    '[1]'

    """
    try:
        return import_module(module)
    except (
        ImportError,
        RuntimeError,
    ) as error:  # mpi4py raises RuntimeError without an MPI library.
        library = module.partition(".")[0]
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        msg = f"{what} needs {library}: pip install 'ndx-simulation-output[{extra}]'{reason}"
        raise MissingDependencyError(msg) from error
