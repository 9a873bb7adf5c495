"""The neurodata types of network states: tables of neurons and of synapses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import register_class

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb.series import column_values
from ndx_simulation_output.nwb.types.namespace import (
    NAMESPACE,
    constructor,
    generated_class,
    register_table,
)
from ndx_simulation_output.recording.display import html_summary

_MAX_HISTOGRAMS = 8

_StateTable: Any = generated_class("StateTable")


@register_table("StateTable")
class StateTable(_StateTable):  # type: ignore[misc]
    """The base type of ``PopulationState`` and ``ProjectionState``.

    Raises
    ------
    ShapeMismatchError
        If the arrays ``quantity_*`` differ in length.

    """

    @constructor(_StateTable, {"description": "The state of a part of a network"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table."""
        super().__init__(**kwargs)
        if not self._in_construct_mode:
            _check_quantities(self)


# A class is generated after the types that it uses are registered.
_PopulationState: Any = generated_class("PopulationState")


@register_class("PopulationState", NAMESPACE)
class PopulationState(_PopulationState):  # type: ignore[misc]
    """The state of a population: a table with a row for each neuron.

    There is a column for each local quantity.

    Raises
    ------
    ShapeMismatchError
        If the number of rows differs from the number of neurons of ``geometry``.

    """

    @constructor(_PopulationState, {"description": "The state of a population"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)
        if self._in_construct_mode:
            return
        neurons = int(np.prod(self.geometry, dtype=np.int64))
        if len(self.id) != neurons:
            msg = (
                f"table {self.name!r} has {len(self.id)} rows; expected {neurons}, the neurons of "
                f"geometry {tuple(self.geometry)}"
            )
            raise ShapeMismatchError(msg)

    def _plots(self) -> str:
        """Return a histogram of the first column as HTML."""
        return _histogram(self)

    @classmethod
    def from_arrays(
        cls,
        geometry: Sequence[int],
        columns: Mapping[str, NDArray[Any]],
        *,
        name: str,
        descriptions: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> "PopulationState":
        """Create a table from arrays.

        Parameters
        ----------
        geometry
            Shape of the grid of neurons.
        columns
            Values of each local quantity, shape (neuron,).
        name
            Name of the table.
        descriptions
            Descriptions of the columns.
        fields
            Other fields of the type, such as ``title`` and ``quantity_name``.

        Raises
        ------
        ShapeMismatchError
            If a column does not have one value for each neuron.

        Example
        -------
        >>> state = PopulationState.from_arrays((2, 2), {"v": np.zeros(4)}, name="exc")
        >>> state["v"].data.shape
        (4,)

        """
        neurons = int(np.prod(geometry, dtype=np.int64))
        _check_lengths(name, columns, neurons)
        table: PopulationState = cls(
            name=name,
            geometry=np.asarray(geometry, np.int64),
            id=np.arange(neurons),
            columns=_columns(columns, {}, descriptions or {}),
            colnames=list(columns),
            **fields,
        )
        return table


_ProjectionState: Any = generated_class("ProjectionState")


@register_class("ProjectionState", NAMESPACE)
class ProjectionState(_ProjectionState):  # type: ignore[misc]
    """The state of a projection: a table with a row for each post-synaptic neuron with synapses.

    The id of a row is the rank of the neuron. Ragged columns have a value for each synapse:
    ``pre_rank``, ``weight``, ``delay`` (s), ``delay_steps``, and any other.
    """

    @constructor(_ProjectionState, {"description": "The state of a projection"})
    def __init__(self, **kwargs: Any) -> None:
        """Create a table from its columns."""
        super().__init__(**kwargs)

    def _plots(self) -> str:
        """Return a histogram of the weights as HTML."""
        return _histogram(self)

    @classmethod
    def from_arrays(
        cls,
        post_ranks: NDArray[Any],
        ends: NDArray[Any],
        columns: Mapping[str, NDArray[Any]],
        *,
        name: str,
        row_columns: Mapping[str, NDArray[Any]] | None = None,
        descriptions: Mapping[str, str] | None = None,
        wrap_ends: Callable[[NDArray[Any]], Any] = np.asarray,
        **fields: Any,
    ) -> "ProjectionState":
        """Create a table from arrays, without a Python loop over synapses.

        Parameters
        ----------
        post_ranks
            Rank of the post-synaptic neuron of each row, shape (row,).
        ends
            Index after the last synapse of each row, shape (row,).
        columns
            Values of each synapse, shape (synapse,): ``pre_rank``, and others.
        name
            Name of the table.
        row_columns
            Values of each row, shape (row,).
        descriptions
            Descriptions of the columns.
        wrap_ends
            Returns the data of the index of each ragged column, such as an ``H5DataIO``; by
            default the array of the ends.
        fields
            Other fields of the type, such as ``pre``, ``post`` and ``quantity_name``.

        Raises
        ------
        ShapeMismatchError
            If lengths do not match, or the ends do not ascend.

        Example
        -------
        >>> columns = {"pre_rank": np.array([0, 2, 1]), "weight": np.array([0.1, 0.2, 0.3])}
        >>> state = ProjectionState.from_arrays([4, 7], [2, 3], columns, name="to_exc")
        >>> state["weight"][1].tolist()
        [0.3]

        """
        arrays = ragged_table(
            post_ranks, ends, columns, name, row_columns or {}, descriptions or {}, wrap_ends
        )
        table: ProjectionState = cls(**arrays, **fields)
        return table


_NetworkState: Any = generated_class("NetworkState")


@register_class("NetworkState", NAMESPACE)
class NetworkState(_NetworkState):  # type: ignore[misc]
    """The state of a network at one time: ``population_states`` and ``projection_states`` by name.

    Example
    -------
    >>> exc = PopulationState.from_arrays((3,), {"v": np.zeros(3)}, name="exc")
    >>> state = NetworkState(name="state", population_states=[exc], time=0.1, step=200)
    >>> list(state.population_states)
    ['exc']

    """

    @constructor(_NetworkState)
    def __init__(self, **kwargs: Any) -> None:
        """Create a state from its parts."""
        super().__init__(**kwargs)

    def _plots(self) -> str:
        """Return histograms of the first parts as HTML."""
        parts = [*(self.population_states or {}).values(), *(self.projection_states or {}).values()]
        return "".join(_histogram(part, f"{part.name} ") for part in parts[:_MAX_HISTOGRAMS])


def _histogram(table: Any, prefix: str = "") -> str:
    """Return a histogram of the weights, or of the first column, as HTML."""
    for name in ("weight", *table.colnames):
        if name in table.colnames and name != "pre_rank":
            return html_summary(column_values(table, name), prefix + name)
    return ""


def ragged_table(
    ids: NDArray[Any],
    ends: NDArray[Any],
    columns: Mapping[str, Any],
    name: str,
    row_columns: Mapping[str, Any],
    descriptions: Mapping[str, str],
    wrap_ends: Callable[[NDArray[Any]], Any] = np.asarray,
) -> dict[str, Any]:
    """Return the arguments of a table with ragged ``columns``, whose rows have the same ``ends``.

    Values of a column are an array, or a ``VectorData``.
    """
    rows, edges = np.asarray(ids, np.int64), np.asarray(ends, np.int64)
    if edges.shape != rows.shape or (np.diff(edges, prepend=0) < 0).any():
        msg = (
            f"the ends of the rows of table {name!r} are {edges}; expected {len(rows)} ends in "
            "ascending order"
        )
        raise ShapeMismatchError(msg)
    last = int(edges[-1]) if len(edges) else 0
    _check_lengths(name, columns, last)
    _check_lengths(name, row_columns, len(rows))
    stored = edges.astype(np.min_scalar_type(last))
    return {
        "name": name,
        "id": rows,
        "columns": _columns(row_columns, columns, descriptions, lambda: wrap_ends(stored)),
        "colnames": [*row_columns, *columns],
    }


def _columns(
    plain: Mapping[str, Any],
    ragged: Mapping[str, Any],
    descriptions: Mapping[str, str],
    ends: Callable[[], Any] = tuple,
) -> list[VectorData]:
    columns = []
    for name, values in {**plain, **ragged}.items():
        column = values
        if not isinstance(values, VectorData):
            column = VectorData(name=name, description=descriptions.get(name, name), data=values)
        if name in ragged:  # Before its target, which may be a column of unknown length.
            columns.append(VectorIndex(name=f"{name}_index", data=ends(), target=column))
        columns.append(column)
    return columns


def _check_lengths(table: str, columns: Mapping[str, Any], expected: int) -> None:
    for name, values in columns.items():
        data = values.data if isinstance(values, VectorData) else values
        blocks = data.data if isinstance(data, DataIO) else None
        shape = getattr(blocks, "maxshape", None) or np.shape(data)
        if shape[:1] != (expected,):
            msg = f"column {name!r} of table {table!r} has shape {shape}; expected ({expected},)"
            raise ShapeMismatchError(msg)


def _check_quantities(table: Any) -> None:
    fields = [name for name in table.fields if name.startswith("quantity_")]
    lengths = {name: len(table.fields[name]) for name in fields if table.fields[name] is not None}
    if len(set(lengths.values())) > 1:
        msg = f"the arrays quantity_* of table {table.name!r} have different lengths: {lengths}"
        raise ShapeMismatchError(msg)
