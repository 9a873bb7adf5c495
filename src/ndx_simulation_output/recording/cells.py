"""The cells of a population and their properties, and the choice of cells by property."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase, as_array, as_arrays
from ndx_simulation_output.recording.ids import as_ids, check_name, some_of

if TYPE_CHECKING:
    import pandas as pd

Cells = Iterable[int] | int | str | Mapping[str, Any]
"""A choice of cells: ids, the name of a node set, or values of properties."""


@dataclass(frozen=True)
class Categories(LazyArrayBase):
    """Text with few different values: ``codes`` (row,) are indices of ``names``.

    Values are text, or None where the code is that of ``missing``, which is -1 or any code.

    Example
    -------
    >>> Categories(np.array([1, 0, -1]), ("PV", "SST"))[:].tolist()
    ['SST', 'PV', None]

    """

    codes: LazyArray
    names: tuple[str, ...]
    missing: int = -1

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return tuple(self.codes.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of text in memory."""
        return np.dtype(object)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        codes = np.asarray(self.codes[slices[0]]).astype(np.int64)
        is_missing = codes == self.missing
        if len(wrong := codes[~is_missing & ((codes < 0) | (codes >= len(self.names)))]):
            msg = f"code {wrong[0]} is not that of one of {len(self.names)} names"
            raise ShapeMismatchError(msg)
        texts = np.array([*self.names, None], dtype=object)
        values: NDArray[Any] = texts[np.where(is_missing, len(self.names), codes)]
        return values


@dataclass(frozen=True)
class CellTable:
    """The cells of a population: ``ids`` (cell,), and properties ``columns`` (cell,) by name.

    A missing value is NaN, or None for text. ``kind`` is that of the population, such as
    ``biophysical`` or ``virtual``, and empty if it is not known. ``node_sets`` are named choices of
    cells, in the words of SONATA. Arrays may be lazy; they are read when needed.
    """

    population: str
    ids: LazyArray
    columns: Mapping[str, LazyArray] = field(default_factory=dict)
    kind: str = ""
    node_sets: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names, and that the lengths of the arrays agree."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        ids = as_array(self.ids, f"ids of cells {of_population}", kinds="iu")
        columns = as_arrays(self.columns, f"the cells {of_population}")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "columns", columns)
        for name, values in columns.items():
            if tuple(values.shape[:1]) != (len(self),):
                msg = f"property {name!r} {of_population} has shape {values.shape}; expected a "
                raise ShapeMismatchError(msg + f"value for each of {len(self)} cells")

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.ids.shape[0])

    def rows_of(self, cells: Cells | None) -> NDArray[np.intp]:
        """Return the row of each of ``cells``: of ids in their order, of others in ascending order.

        Raises
        ------
        CellNotFoundError
            If an id is not in the table.
        SelectionError
            If there is no such node set or property.

        """
        if cells is None:
            return np.arange(len(self))
        if isinstance(cells, Mapping):
            return self._matching(cells)
        if isinstance(cells, str):
            msg = f"population {self.population!r} has no node set {cells!r}"
            raise SelectionError(msg)
        known, wanted = self._ids, as_ids(cells)
        rows = np.searchsorted(known, wanted, sorter=self._order)
        rows = self._order[np.minimum(rows, max(len(known) - 1, 0))] if len(known) else rows
        missing = wanted[known[rows] != wanted] if len(known) else wanted
        if len(missing):
            msg = (
                f"cell {some_of(missing)} is not among the {len(known)} cells of population "
                f"{self.population!r} (ids {some_of(known)})"
            )
            raise CellNotFoundError(msg)
        return np.asarray(rows, np.intp)

    def _matching(self, query: Mapping[str, Any]) -> NDArray[np.intp]:
        chosen = np.ones(len(self), bool)
        for name, wanted in query.items():
            values = np.asarray(self.columns[name][:])
            chosen &= np.isin(values, wanted if isinstance(wanted, list) else [wanted])
        return np.flatnonzero(chosen)

    @cached_property
    def _ids(self) -> NDArray[Any]:
        """The ids, read once."""
        return np.asarray(self.ids[:])

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._ids, kind="stable")

    def to_dataframe(self, properties: Iterable[str] | None = None) -> "pd.DataFrame":
        """Return the ``properties``, by default all, as a frame indexed by the id of the cell."""
        import pandas as pd

        names = list(self.columns) if properties is None else list(properties)
        frame = {name: np.asarray(self.columns[name][:]) for name in names}
        return pd.DataFrame(frame, index=pd.Index(self._ids, name="cell"))
