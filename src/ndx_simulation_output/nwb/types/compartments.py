"""The neurodata types ``Compartments``, ``CompartmentSeries`` and ``SimulationMetaData``."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from hdmf.data_utils import DataIO
from hdmf.utils import popargs
from numpy.typing import NDArray
from pynwb import register_class

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb.series import (
    column_names,
    data_shape,
    read_series,
    read_table,
    repeated_ids,
    table_size,
    uneven_schema_columns,
)
from ndx_simulation_output.nwb.types.namespace import (
    NAMESPACE,
    constructor,
    generated_class,
    register_table,
)
from ndx_simulation_output.recording import GroupMeans, Traces
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.display import html_summary
from ndx_simulation_output.recording.ids import check_ids, repeated_values

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd
    import xarray as xr

_GeneratedTable: Any = generated_class("Compartments")


@register_table("Compartments")
class Compartments(_GeneratedTable):  # type: ignore[misc]
    """Table of the recorded compartments of a population, with a row for each cell.

    The id of a row is the id of the cell. Ragged columns have a value for each compartment:
    ``number`` (int), ``position`` (from 0 near the soma to 1), ``label`` (text), ``x``, ``y``,
    ``z`` and ``diameter`` (µm), and any that users add.

    Example
    -------
    >>> import numpy as np
    >>> compartments = Compartments()
    >>> compartments.add_row(number=[0, 1, 2], position=[0.1, 0.5, 0.9])
    >>> compartments.add_row(number=[0], position=[np.nan])
    >>> len(compartments)
    2

    """

    @constructor(
        _GeneratedTable,
        {"name": "compartments", "description": "The recorded compartments of each cell"},
        first="name",
    )
    def __init__(self, **kwargs: Any) -> None:
        """Create an empty table, or one with columns."""
        super().__init__(**kwargs)

    def add_row(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Add a cell, with a list of values in each ragged column.

        Arguments are those of ``DynamicTable.add_row``.

        Raises
        ------
        TypeError
            If a ragged column has text or a single value instead of a list.

        """
        levels = {column["name"]: int(column.get("index", 0)) for column in self.__columns__}
        levels |= {name: _levels(self[name]) for name in self.colnames}
        for name, row in {**(data or {}), **kwargs}.items():
            _check_list(self.name, name, row, levels.get(name, 0))
        super().add_row(data, **kwargs)

    def add_column(self, *args: Any, **kwargs: Any) -> None:
        """Add a column, with a list of values for each cell if it is ragged.

        Arguments are those of ``DynamicTable.add_column``.

        Raises
        ------
        TypeError
            If ``index`` is True or a number of levels, and ``data`` has text or a single value
            instead of a list for a cell.

        """
        name = kwargs.get("name", *args[:1])
        levels, rows = kwargs.get("index", False), kwargs.get("data", ())
        if isinstance(levels, int) and isinstance(rows, (list, tuple)):
            for row in rows:
                _check_list(self.name, name, row, int(levels))
        super().add_column(*args, **kwargs)

    @classmethod
    def from_dataframe(cls, df: "pd.DataFrame", **kwargs: Any) -> "Compartments":
        """Return a table of the rows of a pandas dataframe, with a list in each ragged column.

        Arguments are those of ``DynamicTable.from_dataframe``.

        Raises
        ------
        TypeError
            If a ragged column has text or a single value instead of a list.

        """
        name = kwargs.get("name", "compartments")
        for column in cls.__columns__:
            for row in df.get(column["name"], ()):
                _check_list(name, column["name"], row, int(column.get("index", 0)))
        table: Compartments = super().from_dataframe(df=df, **{"name": name, **kwargs})
        return table

    def _plots(self) -> str:
        """Return a histogram of compartments per cell as HTML."""
        return html_summary(read_table(self).counts(), "compartments per cell")

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
        cell_columns: Mapping[str, NDArray[Any] | VectorData] | None = None,
        **columns: NDArray[Any],
    ) -> "Compartments":
        """Create a table from flat arrays, without a Python loop over cells.

        Columns of more than 1 MiB are written contiguous, which is faster: rows cannot be added to
        them once they are in a file. ``set_data_io(H5DataIO, {"maxshape": (None,)})`` of a column
        makes it grow.

        Parameters
        ----------
        number
            Number of each compartment, cell after cell; shape (compartment,).
        counts
            Number of compartments of each cell; shape (cell,).
        id
            Id of each cell; shape (cell,). By default 0, 1, 2, …
        name
            Name of the table.
        description
            Description of the table.
        population
            Name of the population that the ids belong to.
        cell_columns
            Further columns with one value for each cell; shape (cell,). Columns of NWB, such as
            ``EnumData`` and its elements, are used as they are.
        columns
            Further columns with one value for each compartment, such as ``position`` or
            ``label``; shape (compartment,).

        Raises
        ------
        ShapeMismatchError
            If lengths do not match or an id occurs twice.

        Example
        -------
        >>> table = Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3])
        >>> table["number"][1].tolist()
        [0]

        """
        counts = np.asarray(counts)
        ids = np.arange(len(counts)) if id is None else _signed(np.asarray(id))
        # The schema requires at least 32 bits; an empty list has the type float64.
        numbers = _signed(np.asarray(number))
        is_narrow = numbers.dtype.itemsize < np.dtype(np.int32).itemsize or not numbers.size
        ragged = {"number": numbers.astype(np.int32) if is_narrow else numbers, **columns}
        arrays = {
            column: values
            for column, values in (cell_columns or {}).items()
            if not isinstance(values, VectorData)
        }
        _check_arrays(name, ids, counts, ragged, arrays)
        ends = np.cumsum(counts, dtype=np.min_scalar_type(int(counts.sum())))
        return make_compartments(
            ids,
            lambda: ends,
            ragged,
            cell_columns or {},
            name=name,
            description=description,
            population=population,
        )

    def find_compartments(
        self,
        cell: Cells,
        compartment_numbers: int | Iterable[int] | None = None,
        compartment_labels: str | Iterable[str] | None = None,
    ) -> NDArray[np.intp]:
        """Return the indices of the data columns of one or more cells, shape (compartment,).

        ``cell`` is one cell id or several, a mapping of properties, or the name of a node set; see
        ``CompartmentSeries.select``. With numbers or labels, only compartments with one of them
        are included, in their order within each cell.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If no compartment of the cells has a number or label, or the table has no labels.
        SelectionError
            If the cells have no such node set or property.
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
        return read_table(self).find(cell, compartment_numbers, compartment_labels)


def make_compartments(
    ids: Any,
    ends: Callable[[], Any],
    columns: Mapping[str, Any],
    cell_columns: Mapping[str, Any],
    **fields: Any,
) -> Compartments:
    """Return a table of data that pynwb can write; ``ends`` returns those of an index."""
    descriptions = {column["name"]: column["description"] for column in Compartments.__columns__}
    vectors: list[VectorData] = []
    for column, values in columns.items():
        data = VectorData(
            name=column, description=descriptions.get(column, column), data=_plain(values)
        )
        vectors += [data, VectorIndex(name=f"{column}_index", data=ends(), target=data)]
    vectors += [
        values
        if isinstance(values, VectorData)
        else VectorData(name=column, description=column, data=_plain(values))
        for column, values in cell_columns.items()
    ]
    table: Compartments = Compartments(
        id=ids, columns=vectors, colnames=column_names(vectors), **fields
    )
    return table


def _levels(column: Any) -> int:
    """Return the number of levels of lists in each row of a column; 0 if it is not ragged."""
    return 1 + _levels(column.target) if isinstance(column, VectorIndex) else 0


def _check_list(table: str, column: Any, values: Any, levels: int) -> None:
    """Raise TypeError if a row does not have this number of levels of lists."""
    if not levels:
        return
    if isinstance(values, (str, bytes, Mapping, AbstractSet)) or not np.iterable(values):
        msg = (
            f"a row of column {column!r} of table {table!r} is {values!r}; expected a list with "
            "one value for each compartment"
        )
        raise TypeError(msg)
    if levels > 1:
        for inner in values:
            _check_list(table, column, inner, levels - 1)


def _signed(values: NDArray[Any]) -> NDArray[Any]:
    """Return unsigned integers as int64, which the schema requires, if they fit."""
    fits = values.dtype.kind == "u" and values.max(initial=0) <= np.iinfo(np.int64).max
    return values.astype(np.int64) if fits else values


def _plain(values: Any) -> Any:
    """Return text as a list, because NWB does not support fixed-width text of numpy."""
    if isinstance(values, DataIO):
        return values
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return [text.decode() for text in array.tolist()]
    return array.astype(object) if array.dtype.kind == "U" else array


def _check_arrays(
    name: str,
    ids: NDArray[Any],
    counts: NDArray[Any],
    ragged: Mapping[str, Any],
    cell_columns: Mapping[str, Any],
) -> None:
    if counts.ndim != 1 or counts.min(initial=0) < 0:
        msg = f"the counts of table {name!r} are {counts}; expected one count ≥ 0 for each cell"
        raise ShapeMismatchError(msg)
    for column, values in [*ragged.items(), *cell_columns.items()]:
        dimensions = np.ndim(values)
        if dimensions == 0 or (column == "number" and dimensions != 1):
            msg = f"column {column!r} of table {name!r} has {dimensions} dimensions; expected 1"
            raise ShapeMismatchError(msg)
    total = int(counts.sum())
    lengths = [("id", len(ids), len(counts))]
    lengths += [(column, len(values), total) for column, values in ragged.items()]
    lengths += [(column, len(values), len(counts)) for column, values in cell_columns.items()]
    for column, found, expected in lengths:
        if found != expected:
            msg = f"column {column!r} of table {name!r} has {found} values; expected {expected}"
            raise ShapeMismatchError(msg)
    check_ids(ids, f"cell ids of table {name!r}")
    check_ids(ragged["number"], f"compartment numbers of table {name!r}", lowest=-(2**63))
    if len(repeated_values(ids)):
        msg = f"table {name!r} has a cell id more than once; expected one row for each cell"
        raise ShapeMismatchError(msg)


_GeneratedSeries: Any = generated_class("CompartmentSeries")


@register_class("CompartmentSeries", NAMESPACE)
class CompartmentSeries(_GeneratedSeries):  # type: ignore[misc]
    """Continuous data of many compartments of many cells.

    ``data`` has shape (time, compartment), or (time,) for one compartment; its k-th column is the
    k-th compartment of the table ``compartments`` in row order.

    Raises
    ------
    ShapeMismatchError
        If the number of columns differs from the number of compartments in the table, or if the
        table has a cell twice or columns of different lengths in a row.

    Example
    -------
    >>> import numpy as np
    >>> from ndx_simulation_output import Compartments
    >>> table = Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3])
    >>> series = CompartmentSeries("v", np.zeros((10, 3)), compartments=table, unit="volts",
    ...                            rate=1000.0)
    >>> series.get_traces(cells=7, start=0.0, stop=0.005).shape
    (5, 2)

    """

    @constructor(_GeneratedSeries)
    def __init__(self, **kwargs: Any) -> None:
        """Create a series and check that its table fits its data."""
        super().__init__(**kwargs)
        # Not checked when read: the data of an invalid file must remain accessible. Values that
        # are written later are those of a table that was checked.
        if not self._in_construct_mode and not _is_pending(self.compartments):
            _check_columns(self)
            _check_table(self)

    def _plots(self) -> str:
        """Return traces as HTML; at most 16 MiB are read."""
        return html_summary(read_series(self))

    def find_compartments(
        self,
        cell: Cells,
        compartment_numbers: int | Iterable[int] | None = None,
        compartment_labels: str | Iterable[str] | None = None,
    ) -> NDArray[np.intp]:
        """Return column indices of compartments; see ``Compartments.find_compartments``.

        Raises
        ------
        ShapeMismatchError
            If the series has no table.

        """
        if self.compartments is None:
            msg = f"CompartmentSeries {self.name!r} has no table of compartments"
            raise ShapeMismatchError(msg)
        columns: NDArray[np.intp] = self.compartments.find_compartments(
            cell, compartment_numbers, compartment_labels
        )
        return columns

    def select(
        self,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        properties: Iterable[str] | None = None,
    ) -> Traces:
        """Read the traces of the compartments of these cells, with these numbers and labels.

        ``cells`` are ids, a mapping of properties such as ``{"layer": [2, 3], "x": (0, 100)}``, or
        the name of a node set of the circuit. Properties are columns of the table with one value
        for each cell. A list is any of its values, a tuple a range, both ends included; all
        properties of a mapping must match. Cells chosen by property are in the order of the table.
        The traces get ``properties``, names of such columns; by default all.

        Only the rows with ``start <= time < stop`` (s), every ``step``-th of them, and the columns
        of these compartments are read from the file.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If no compartment of the cells has a number or label.
        SelectionError
            If the cells have no such node set or property.
        ShapeMismatchError
            If the series has no table, or one that does not fit its data.

        """
        return read_series(self).select(
            cells, numbers, labels, start=start, stop=stop, step=step, properties=properties
        )

    def get_traces(
        self,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> NDArray[Any]:
        """Return values in the unit of the series, shape (time, compartment); see ``select``."""
        return read_series(self).get_traces(
            cells, numbers, labels, start=start, stop=stop, step=step
        )

    def to_dataframe(
        self,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        properties: Iterable[str] = (),
    ) -> "pd.DataFrame":
        """Return a DataFrame: time (s) × compartments; see ``select``.

        Its columns have a level for the cell, each column of the table with a value for each
        compartment, and each of ``properties``, columns with a value for each cell.
        """
        traces = self.select(
            cells, numbers, labels, start=start, stop=stop, step=step, properties=properties
        )
        return traces.to_dataframe(traces.properties)

    def to_xarray(
        self,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        properties: Iterable[str] | None = None,
    ) -> "xr.DataArray":
        """Return a DataArray (time, compartment) with coordinates; see ``select``."""
        traces = self.select(
            cells, numbers, labels, start=start, stop=stop, step=step, properties=properties
        )
        return traces.to_xarray()

    def mean_by(
        self,
        by: str,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> GroupMeans:
        """Return the mean trace of the selected compartments of each group of cells.

        A group has the cells with the same value of ``by``, a column with a value for each cell.
        The selection is that of ``select``; it is read in blocks, so that it need not fit into
        memory.

        Example
        -------
        >>> series.mean_by("layer", numbers=0).to_dataframe()  # doctest: +SKIP

        """
        return read_series(self).mean_by(
            by, cells, numbers, labels, start=start, stop=stop, step=step
        )

    def to_dask(
        self,
        cells: Cells | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        chunks: Any = None,
    ) -> "da.Array":
        """Return the values of ``get_traces`` as a dask array, which reads them when computed.

        Blocks are whole chunks of the file, at most 64 MiB and as long in time as possible; for a
        file without chunks they are as wide as possible. ``chunks`` sets other blocks, in any form
        that dask accepts.

        Each block is read by the thread or process that computes it, which opens the file again,
        so the array can be used after the file is closed. If the file is not on disk or is open
        for writing, it must stay open, and other processes cannot read it.

        Raises
        ------
        MissingDependencyError
            If dask is not installed.
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If no compartment of the cells has a number or label.
        SelectionError
            If the cells have no such node set or property.
        ShapeMismatchError
            If the series has no table, or one that does not fit its data.

        Example
        -------
        >>> series.to_dask(numbers=0).mean(axis=1).compute()  # doctest: +SKIP

        """
        return read_series(self).to_dask(
            cells, numbers, labels, start=start, stop=stop, step=step, chunks=chunks
        )


def _is_pending(table: Compartments | None) -> bool:
    """Return True if the values of a table are not yet there."""
    data = None if table is None else table.id.data
    return isinstance(data, DataIO) and data.data is None


def _check_columns(series: CompartmentSeries) -> None:
    shape = data_shape(series)
    if series.compartments is None or shape is None:
        return
    if len(shape) not in {1, 2}:
        msg = (
            f"the data of CompartmentSeries {series.name!r} have shape {shape}; expected "
            "(time, compartment), or (time,) for one compartment"
        )
        raise ShapeMismatchError(msg)
    columns = 1 if len(shape) == 1 else shape[1]
    expected = table_size(series.compartments)
    if columns is not None and columns != expected:
        msg = (
            f"CompartmentSeries {series.name!r} has {columns} columns but its table "
            f"{series.compartments.name!r} describes {expected} compartments"
        )
        raise ShapeMismatchError(msg)


def _check_table(series: CompartmentSeries) -> None:
    table = series.compartments
    if table is None or not len(table):
        return
    where = f"table {table.name!r} of CompartmentSeries {series.name!r}"
    check_ids(np.asarray(table.id[:]), f"cell ids of {where}")
    if repeated := repeated_ids(table):
        msg = f"{where} has cell id {repeated[0]} in more than one row; expected one row for each"
        raise ShapeMismatchError(msg)
    if uneven := uneven_schema_columns(table):
        msg = (
            f"{where}: column {uneven[0]!r} does not have as many values in each row as column "
            "'number'"
        )
        raise ShapeMismatchError(msg)


_FLOAT_FIELDS = ("time_step", "duration", "temperature")
_GeneratedMetaData: Any = generated_class("SimulationMetaData")


@register_class("SimulationMetaData", NAMESPACE)
class SimulationMetaData(_GeneratedMetaData):  # type: ignore[misc]
    """Parameters of a simulation, and tables of the recorded compartments.

    ``compartments`` are one table or several. Times are in seconds, the temperature in degrees
    Celsius.

    Example
    -------
    >>> metadata = SimulationMetaData(compartments=Compartments(), simulator="NEURON")
    >>> list(metadata.compartments)
    ['compartments']

    """

    @constructor(
        _GeneratedMetaData,
        {"name": "simulation"},
        {"compartments": Compartments, **dict.fromkeys(_FLOAT_FIELDS, int)},
    )
    def __init__(self, **kwargs: Any) -> None:
        """Create metadata with one table of compartments, several, or none."""
        compartments = popargs("compartments", kwargs)
        kwargs.pop("name", None)
        if isinstance(compartments, Compartments):
            compartments = [compartments]
        for name in _FLOAT_FIELDS:
            if kwargs[name] is not None:
                kwargs[name] = float(kwargs[name])
        super().__init__(compartments=compartments, **kwargs)
