"""The table of recorded compartments."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from hdmf.utils import AllowPositional
from numpy.typing import NDArray
from pynwb import register_class

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb.described import describe_table
from ndx_simulation_output.nwb.types.namespace import NAMESPACE, declare, generated, optional
from ndx_simulation_output.recording.compartments import repeated_values
from ndx_simulation_output.recording.summaries import column_html

__all__ = ["Compartments"]

_INT32 = 4
_Generated: Any = generated("Compartments")


@register_class("Compartments", NAMESPACE)
class Compartments(_Generated):  # type: ignore[misc]
    """The recorded compartments of one population: a row for each cell, its id the cell's id.

    Ragged columns ``number`` (int), ``position`` (0 near the soma … 1 far), ``label`` (text),
    ``x y z diameter`` (micrometres) and any that users add have one value for each compartment.

    Example
    -------
    >>> import numpy as np
    >>> compartments = Compartments()
    >>> compartments.add_row(number=[0, 1, 2], position=[0.1, 0.5, 0.9])
    >>> compartments.add_row(number=[0], position=[np.nan])
    >>> len(compartments)
    2

    """

    @declare(
        *optional(
            _Generated, name="compartments", description="The recorded compartments of each cell"
        ),
        allow_positional=AllowPositional.ALLOWED,
    )
    def __init__(self, **kwargs: Any) -> None:
        """Make an empty table, or one of the given columns."""
        super().__init__(**kwargs)

    def _repr_html_(self) -> str:
        """Show a histogram of the compartments of a cell above what hdmf shows."""
        own = column_html("compartments per cell", describe_table(self).counts())
        return own + str(super()._repr_html_())

    @classmethod
    def from_arrays(
        cls,
        number: NDArray[Any],
        counts: NDArray[Any],
        *,
        id: NDArray[Any] | None = None,  # noqa: A002 - the name of the column in NWB
        name: str = "compartments",
        description: str = "The recorded compartments of each cell",
        population: str | None = None,
        cell_columns: Mapping[str, NDArray[Any]] | None = None,
        **columns: NDArray[Any],
    ) -> "Compartments":
        """Make a table from flat arrays, without a Python loop over cells.

        Parameters
        ----------
        number
            Number of each compartment, cell after cell; shape (compartment,).
        counts
            Number of compartments of each cell; shape (cell,).
        id
            Id of each cell; shape (cell,). Counted from 0 where it is not given.
        name
            Name of the table.
        description
            What the table is about.
        population
            Name of the population that the ids belong to.
        cell_columns
            Further columns with one value for each cell; shape (cell,).
        columns
            Further columns with one value for each compartment, such as ``position`` or
            ``label``; shape (compartment,).

        Raises
        ------
        ShapeMismatchError
            If the lengths do not fit each other or an id occurs twice.

        Example
        -------
        >>> table = Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3])
        >>> table["number"][1].tolist()
        [0]

        """
        counts = np.asarray(counts)
        ids = np.arange(len(counts)) if id is None else _signed(np.asarray(id))
        # The schema has integers of at least 32 bits; an empty list has no integers at all.
        numbers = _signed(np.asarray(number))
        narrow = numbers.dtype.itemsize < _INT32 or not numbers.size
        ragged = {"number": numbers.astype(np.int32) if narrow else numbers, **columns}
        _check_arrays(name, ids, counts, ragged, cell_columns or {})
        ends = np.cumsum(counts, dtype=np.uint64)
        known = {column["name"]: column["description"] for column in cls.__columns__}
        vectors: list[VectorData] = []
        for column, values in ragged.items():
            data = VectorData(
                name=column, description=known.get(column, column), data=_plain(values)
            )
            vectors += [data, VectorIndex(name=f"{column}_index", data=ends, target=data)]
        vectors += [
            VectorData(name=column, description=column, data=_plain(values))
            for column, values in (cell_columns or {}).items()
        ]
        table: Compartments = cls(
            name=name,
            description=description,
            population=population,
            id=ids,
            columns=vectors,
            colnames=[*ragged, *(cell_columns or {})],
        )
        return table

    def find_compartments(
        self,
        cell: int | Iterable[int],
        compartment_numbers: int | Iterable[int] | None = None,
        compartment_labels: str | Iterable[str] | None = None,
    ) -> NDArray[np.intp]:
        """Find the columns of the data that belong to some compartments of one or more cells.

        ``cell`` is the id of a cell or several. Where numbers or labels are given, only the
        compartments with one of them are found, in their order within each cell. Returns column
        indices, shape (compartment,).

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells, or the table has no labels.
        TypeError
            If an id or number is not an integer.

        Example
        -------
        >>> table = Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3])
        >>> table.find_compartments(3)
        array([2])
        >>> table.find_compartments([3, 7], compartment_numbers=0)
        array([2, 0])

        """
        return describe_table(self).find(cell, compartment_numbers, compartment_labels)


def _signed(values: NDArray[Any]) -> NDArray[Any]:
    """Give unsigned integers as the schema has them, of which hdmf would warn."""
    fits = values.dtype.kind == "u" and values.max(initial=0) <= np.iinfo(np.int64).max
    return values.astype(np.int64) if fits else values


def _plain(values: Any) -> Any:
    """Text as a list: numpy's fixed-width text is not what NWB stores."""
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return [text.decode() for text in array.tolist()]
    return array.tolist() if array.dtype.kind in "UO" else array


def _check_arrays(
    name: str,
    ids: NDArray[Any],
    counts: NDArray[Any],
    ragged: Mapping[str, Any],
    cell_columns: Mapping[str, Any],
) -> None:
    if counts.ndim != 1 or (counts < 0).any():
        msg = f"the counts of table {name!r} are {counts}; expected one, at least 0, for each cell"
        raise ShapeMismatchError(msg)
    if (dimensions := np.ndim(ragged["number"])) != 1:
        msg = f"column 'number' of table {name!r} has {dimensions} dimensions; expected 1"
        raise ShapeMismatchError(msg)
    total = int(counts.sum())
    lengths = [("id", len(ids), len(counts))]
    lengths += [(column, len(values), total) for column, values in ragged.items()]
    lengths += [(column, len(values), len(counts)) for column, values in cell_columns.items()]
    for column, found, expected in lengths:
        if found != expected:
            msg = f"column {column!r} of table {name!r} has {found} values; expected {expected}"
            raise ShapeMismatchError(msg)
    if len(repeated_values(ids)):
        msg = f"table {name!r} has the same cell id more than once; expected a row for each cell"
        raise ShapeMismatchError(msg)
