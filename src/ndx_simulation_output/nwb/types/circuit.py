"""The neurodata types of circuits: tables of cells and of their connections."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import register_class

from ndx_simulation_output.nwb.types.namespace import (
    NAMESPACE,
    constructor,
    generated_class,
    register_table,
)
from ndx_simulation_output.nwb.types.network import ragged_table

_CellPopulation: Any = generated_class("CellPopulation")


@register_table("CellPopulation")
class CellPopulation(_CellPopulation):  # type: ignore[misc]
    """The cells of a population: a table with a row for each cell, and a column for each property.

    The id of a row is the id of the cell in ``population``.
    """

    @constructor(_CellPopulation, {"description": "The cells of a population"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)


_CategoryData: Any = generated_class("CategoryData")


@register_class("CategoryData", NAMESPACE)
class CategoryData(_CategoryData):  # type: ignore[misc]
    """A column of text with few different values: ``data`` are codes, indices of ``categories``.

    Reading rows returns their text, and reading ``data`` the codes. If the last category is empty,
    its code is that of missing values.

    Example
    -------
    >>> column = CategoryData("kind", "Kind of synapse", data=[1, 0], categories=["AMPA", "GABA"])
    >>> column[:].tolist()
    ['GABA', 'AMPA']

    """

    @constructor(_CategoryData)
    def __init__(self, **kwargs: Any) -> None:
        """Create a column from its codes and categories."""
        super().__init__(**kwargs)

    def get(self, key: Any, **kwargs: Any) -> Any:
        """Return the text of rows."""
        del kwargs
        return np.asarray(self.categories, object)[np.asarray(self.data[key])]


_Connections: Any = generated_class("Connections")


@register_table("Connections")
class Connections(_Connections):  # type: ignore[misc]
    """The connections between two populations: a table with a row for each post-synaptic cell.

    The id of a row is the id of the cell in ``target_population``. Ragged columns have a value for
    each connection: ``source``, the id in ``source_population``, and others such as ``weight``.
    """

    @constructor(_Connections, {"description": "The connections of the cells of a population"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)

    @classmethod
    def from_arrays(
        cls,
        target_ids: NDArray[Any],
        ends: NDArray[Any],
        columns: Mapping[str, Any],
        *,
        name: str,
        descriptions: Mapping[str, str] | None = None,
        wrap_ends: Callable[[NDArray[Any]], Any] = np.asarray,
        **fields: Any,
    ) -> "Connections":
        """Create a table from arrays, without a Python loop over connections.

        Parameters
        ----------
        target_ids
            Id of the post-synaptic cell of each row, shape (row,).
        ends
            Index after the last connection of each row, shape (row,).
        columns
            Values of each connection, shape (connection,): ``source``, and others such as
            ``weight`` and ``delay`` (s). A value may be a ``VectorData``, such as ``CategoryData``.
        name
            Name of the table.
        descriptions
            Descriptions of the columns.
        wrap_ends
            Returns the data of the index of each column, such as an ``H5DataIO``; by default the
            array of the ends.
        fields
            Other fields of the type, such as ``source_population``.

        Raises
        ------
        ShapeMismatchError
            If lengths do not match, or the ends do not ascend.

        Example
        -------
        >>> columns = {"source": np.array([0, 2, 1]), "delay": np.array([1e-3, 2e-3, 1e-3])}
        >>> table = Connections.from_arrays([4, 7], [2, 3], columns, name="exc_to_inh")
        >>> table["source"][0].tolist()
        [0, 2]

        """
        arrays = ragged_table(target_ids, ends, columns, name, {}, descriptions or {}, wrap_ends)
        table: Connections = cls(**arrays, **fields)
        return table


_CircuitDescription: Any = generated_class("CircuitDescription")


@register_class("CircuitDescription", NAMESPACE)
class CircuitDescription(_CircuitDescription):  # type: ignore[misc]
    """The circuit that was simulated: ``cell_populations`` and ``connections`` by name."""

    @constructor(_CircuitDescription, {"name": "circuit"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a description from its parts."""
        kwargs.pop("name", None)
        super().__init__(**kwargs)
