"""The neurodata types of circuits: tables of cells and of their connections."""

from typing import Any

from pynwb import register_class

from ndx_simulation_output.nwb.types.namespace import NAMESPACE, constructor, generated_class

_CellPopulation: Any = generated_class("CellPopulation")


@register_class("CellPopulation", NAMESPACE)
class CellPopulation(_CellPopulation):  # type: ignore[misc]
    """The cells of a population: a table with a row for each cell, and a column for each property.

    The id of a row is the id of the cell in ``population``.
    """

    @constructor(_CellPopulation, {"description": "The cells of a population"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)


_Connections: Any = generated_class("Connections")


@register_class("Connections", NAMESPACE)
class Connections(_Connections):  # type: ignore[misc]
    """The connections between two populations: a table with a row for each post-synaptic cell.

    The id of a row is the id of the cell in ``target_population``. Ragged columns have a value for
    each connection: ``source``, the id in ``source_population``, and others such as ``weight``.
    """

    @constructor(_Connections, {"description": "The connections of the cells of a population"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)


_CircuitDescription: Any = generated_class("CircuitDescription")


@register_class("CircuitDescription", NAMESPACE)
class CircuitDescription(_CircuitDescription):  # type: ignore[misc]
    """The circuit that was simulated: ``cell_populations`` and ``connections`` by name."""

    @constructor(_CircuitDescription, {"name": "circuit"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a description from its parts."""
        kwargs.pop("name", None)
        super().__init__(**kwargs)
