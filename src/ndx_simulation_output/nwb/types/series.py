"""Continuous data of many compartments."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.utils import AllowPositional, get_docval
from numpy.typing import NDArray
from pynwb import register_class

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.nwb.described import (
    data_shape,
    describe_series,
    repeated_ids,
    table_size,
    uneven_columns,
)
from ndx_simulation_output.nwb.types.namespace import NAMESPACE, declare, generated
from ndx_simulation_output.recording import Traces
from ndx_simulation_output.recording.summaries import report_html

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd
    import xarray as xr

__all__ = ["CompartmentSeries"]

_Generated: Any = generated("CompartmentSeries")


@register_class("CompartmentSeries", NAMESPACE)
class CompartmentSeries(_Generated):  # type: ignore[misc]
    """Continuous data of many compartments of many cells.

    ``data`` has shape (time, compartment), or (time,) for one compartment; its k-th column is the
    k-th compartment of the table ``compartments`` in row order.

    Raises
    ------
    ShapeMismatchError
        If the number of columns differs from the number of compartments in the table, or the table
        lists a cell twice or has rows whose columns differ in length.

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

    @declare(*get_docval(_Generated.__init__), allow_positional=AllowPositional.ALLOWED)
    def __init__(self, **kwargs: Any) -> None:
        """Make a series, checked against its table."""
        super().__init__(**kwargs)
        # A file that breaks the rule must still open, so that its contents can be rescued.
        if not self._in_construct_mode:
            _check_columns(self)
            _check_table(self)

    def _repr_html_(self) -> str:
        """Show some traces above what pynwb shows; at most 16 MiB are read."""
        try:
            summary = report_html(describe_series(self))
        except ShapeMismatchError:
            summary = ""
        return summary + str(super()._repr_html_())

    def find_compartments(
        self,
        cell: int | Iterable[int],
        compartment_numbers: int | Iterable[int] | None = None,
        compartment_labels: str | Iterable[str] | None = None,
    ) -> NDArray[np.intp]:
        """Find the columns of some compartments; see ``Compartments.find_compartments``.

        Raises
        ------
        ShapeMismatchError
            If the series has no table.

        """
        if self.compartments is None:
            msg = f"CompartmentSeries {self.name!r} has no table that says what its columns are"
            raise ShapeMismatchError(msg)
        columns: NDArray[np.intp] = self.compartments.find_compartments(
            cell, compartment_numbers, compartment_labels
        )
        return columns

    def select(
        self,
        cells: int | Iterable[int] | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> Traces:
        """Read the traces of the compartments chosen by cell id, number and label.

        Only the rows with ``start <= time < stop`` (s), every ``step``-th of them, and the chosen
        columns are read from the file.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells.
        ShapeMismatchError
            If the series has no table, or one that does not fit its data.

        """
        return describe_series(self).select(
            cells, numbers, labels, start=start, stop=stop, step=step
        )

    def get_traces(
        self,
        cells: int | Iterable[int] | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> NDArray[Any]:
        """Read values in the unit of the series, shape (time, compartment); see ``select``."""
        return describe_series(self).get_traces(
            cells, numbers, labels, start=start, stop=stop, step=step
        )

    def to_dataframe(
        self,
        cells: int | Iterable[int] | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> "pd.DataFrame":
        """Read a frame: index time (s), a column for each compartment; see ``select``."""
        traces = self.select(cells, numbers, labels, start=start, stop=stop, step=step)
        return traces.to_dataframe()

    def to_xarray(
        self,
        cells: int | Iterable[int] | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> "xr.DataArray":
        """Read an array (time, compartment) with labelled coordinates; see ``select``."""
        traces = self.select(cells, numbers, labels, start=start, stop=stop, step=step)
        return traces.to_xarray()

    def to_dask(
        self,
        cells: int | Iterable[int] | None = None,
        numbers: int | Iterable[int] | None = None,
        labels: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        chunks: Any = None,
    ) -> "da.Array":
        """Give what ``get_traces`` reads as an array of dask, which reads it when it is computed.

        Values are in the unit of the series, shape (time, compartment). Blocks are whole chunks of
        the file, 64 MiB at most, as long in time as they can be; of a file without chunks they
        are as wide as they can be. ``chunks`` says it otherwise, in any form that dask takes.

        Each block is read by who computes it, thread or process, which opens the file for that
        time; so this array outlives the open file. Only a file that is not on disk, or open for
        writing, must stay open, and cannot be read by other processes.

        Raises
        ------
        MissingDependencyError
            If dask is not installed.
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells.
        ShapeMismatchError
            If the series has no table, or one that does not fit its data.

        Example
        -------
        >>> series.to_dask(numbers=0).mean(axis=1).compute()  # doctest: +SKIP

        """
        return describe_series(self).to_dask(
            cells, numbers, labels, start=start, stop=stop, step=step, chunks=chunks
        )


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
    for cell in repeated_ids(table)[:1]:
        msg = f"{where} has cell id {cell} in more than one row; expected a row for each cell"
        raise ShapeMismatchError(msg)
    for name in uneven_columns(table)[:1]:
        msg = f"{where}: column {name!r} has not as many values in each row as 'number'"
        raise ShapeMismatchError(msg)
