"""What a manager asks of NEURON, which is imported when it is first needed."""

import warnings
from typing import Any

from ndx_simulation_output.errors import MissingDependencyError, SimulationOutputWarning

__all__ = ["first_point_process", "neuron", "recording", "tree"]


def neuron() -> Any:
    """Give NEURON's ``h``, with the functions that run a model.

    Raises
    ------
    MissingDependencyError
        If NEURON is not installed.

    """
    try:
        from neuron import h
    except ImportError as error:
        msg = "recording needs NEURON: pip install 'ndx-simulation-output[neuron]'"
        raise MissingDependencyError(msg) from error
    h.load_file("stdrun.hoc")
    return h


def recording(reference: Any, interval: float | None, point_process: Any) -> Any:
    """Give a vector that records what ``reference`` refers to, each ``interval`` ms if given.

    ``point_process`` tells NEURON which thread that is in.
    """
    h = neuron()
    if interval and h.ParallelContext().nthread() > 1:
        warnings.warn(
            "NEURON samples at wrong times if it records at an interval in several threads; leave "
            "out time_interval_recording, or use one thread",
            SimulationOutputWarning,
            stacklevel=2,
        )
    hint = () if point_process is None else (point_process,)
    steps = (interval,) if interval else ()
    return h.Vector().record(*hint, reference, *steps)


def first_point_process(section: Any) -> Any:
    """Give the first point process of a section, or None."""
    return next((process for segment in section for process in segment.point_processes()), None)


def tree(section: Any) -> list[Any]:
    """Give a section, its parent, and so on to the root."""
    found = [section]
    while (parent := found[-1].parentseg()) is not None:
        found.append(parent.sec)
    return found
