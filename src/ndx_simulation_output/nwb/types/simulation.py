"""How a simulation was run."""

from typing import Any

from hdmf.utils import AllowPositional, popargs
from pynwb import register_class

from ndx_simulation_output.nwb.types.compartments import Compartments
from ndx_simulation_output.nwb.types.namespace import NAMESPACE, accepting, declare, generated

__all__ = ["SimulationMetaData"]

_NUMBERS = ("time_step", "duration", "temperature")
_Generated: Any = generated("SimulationMetaData")


@register_class("SimulationMetaData", NAMESPACE)
class SimulationMetaData(_Generated):  # type: ignore[misc]
    """How a simulation was run, and the tables of the compartments that were recorded.

    ``compartments`` may be one table or several. Times are in seconds, the temperature in degrees
    Celsius.

    Example
    -------
    >>> metadata = SimulationMetaData(compartments=Compartments(), simulator="NEURON")
    >>> list(metadata.compartments)
    ['compartments']

    """

    @declare(
        *accepting(_Generated, compartments=Compartments, **dict.fromkeys(_NUMBERS, int)),
        {"name": "name", "type": str, "doc": "always 'simulation'", "default": "simulation"},
        allow_positional=AllowPositional.ALLOWED,
    )
    def __init__(self, **kwargs: Any) -> None:
        """Make metadata with one table of compartments, several, or none."""
        compartments = popargs("compartments", kwargs)
        kwargs.pop("name", None)
        if isinstance(compartments, Compartments):
            compartments = [compartments]
        for name in _NUMBERS:
            if kwargs[name] is not None:
                kwargs[name] = float(kwargs[name])
        super().__init__(compartments=compartments, **kwargs)
