"""Reports: values of compartments over time, recorded or to be recorded."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import wraps
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import SelectionError, ShapeMismatchError, WrongTypeError
from ndx_simulation_output.recording.arrays import ColumnIndices, LazyArray, as_array
from ndx_simulation_output.recording.cells import Cells
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.display import (
    Facts,
    counted,
    html_summary,
    quantity_text,
    represent,
    times_text,
)
from ndx_simulation_output.recording.fields import (
    Provenance,
    check_instances,
    provenance_of_some,
    set_fields,
)
from ndx_simulation_output.recording.ids import check_name, free_name
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps, as_times
from ndx_simulation_output.recording.traces import (
    GroupMeans,
    Traces,
    mean_of_groups,
    read_in_unit,
    to_dask,
)
from ndx_simulation_output.recording.units import UNKNOWN, Unit, as_unit
from ndx_simulation_output.recording.views import Columns

if TYPE_CHECKING:
    import dask.array as da


@dataclass(frozen=True)
class Report:
    """Values of many compartments of one population over time.

    ``data`` has shape (time, compartment); its k-th column belongs to the k-th compartment of
    ``compartments``. ``times`` are ``RegularTimes``, or the seconds of each row. ``unit`` is a
    ``Unit``, or text such as ``"mV"``.

    No other report of an output has the same ``name``. ``variable`` is what was recorded, such as
    ``v`` for reports ``v_exc`` and ``v_inh``. ``report`` is the name in the source, which the
    reports of several populations share; by default it is ``name``.

    Example
    -------
    >>> cells = CompartmentTable.from_cells("exc", [0, 1, 2])
    >>> Report("v", np.full((100, 3), -65.0), RegularTimes(0.0, 10_000.0, 100), cells, "mV")
    <Report v: population exc, mV, 100 times × 3 compartments of 3 cells, 0 to 10 ms>

    """

    name: str
    data: LazyArray
    times: Times
    compartments: CompartmentTable
    unit: Unit
    variable: str | None = None
    description: str = ""
    provenance: Provenance = field(default_factory=dict)
    report: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Check that the shape of the data agrees with the times and compartments."""
        check_name(self.name, "the name of a report")
        where = f"report {self.name!r}"
        set_fields(self, report=self.name if self.report == "" else self.report)
        check_name(self.report, f"the original name of {where}")
        check_instances(where, str, variable=self.variable, description=self.description)
        _check_table(where, self.compartments)
        set_fields(
            self,
            data=as_array(self.data, f"the data of {where}", ndim=None, kinds="biufc"),
            times=as_times(self.times, where),
            unit=as_unit(self.unit, where),
        )
        expected = (self.times.count, self.compartments.n_compartments)
        if tuple(self.data.shape) != expected:
            msg = (
                f"the data of report {self.name!r} have shape {tuple(self.data.shape)}; expected "
                f"(time, compartment) = {expected}"
            )
            raise ShapeMismatchError(msg)

    __repr__ = represent

    def _facts(self) -> Facts:
        rows, columns = self.data.shape
        yield self.name
        yield f"population {self.population}"
        yield quantity_text(self.variable, self.unit)
        of_cells = counted(len(self.compartments), "cells")
        yield f"{counted(rows, 'times')} × {counted(columns, 'compartments')} of {of_cells}"
        yield times_text(self.times)

    @property
    def population(self) -> str:
        """Name of the population of the cells."""
        return self.compartments.population

    def _repr_html_(self) -> str:
        """Return a summary for a notebook; at most 16 MiB are read."""
        return html_summary(self)

    def select(
        self,
        cells: Cells | None = None,
        numbers: Iterable[int] | int | None = None,
        labels: Iterable[str] | str | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        properties: Iterable[str] | None = None,
    ) -> Traces:
        """Read the traces of the compartments selected by cell, number and label.

        ``cells`` are ids, a mapping of properties such as ``{"layer": [2, 3]}``, or the name of a
        node set, as in ``CellTable.rows_of``. Only the rows with ``start <= time < stop`` (s),
        every ``step``-th of them, and the selected columns are read. ``properties`` are names of
        those that the traces get, by default all with one value for a cell.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells.
        SelectionError
            If the cells have no such node set or property.
        ValueError
            If ``step`` is less than 1.

        """
        rows = self._rows(start, stop, step)
        columns = self._find(cells, numbers, labels)
        labels_of = _labels(self.compartments, columns)
        return Traces(
            name=self.name,
            unit=self.unit.name,
            values=read_in_unit(self.data, rows, columns, self.unit),
            times=self.times.seconds(rows),
            cells=self.compartments.cells_of(columns),
            columns=labels_of,
            properties=self._properties(columns, properties, {*_DIMENSIONS, *labels_of}),
        )

    def mean_by(
        self,
        by: str,
        cells: Cells | None = None,
        numbers: Iterable[int] | int | None = None,
        labels: Iterable[str] | str | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> GroupMeans:
        """Return the mean trace of the selected compartments of each group of cells.

        A group has the cells with the same value of the property ``by``, or with ``node_id`` one
        cell; cells without a value are in none. All compartments of a group have the same weight.
        The selection is that of ``select``; it is read in blocks, so that it need not fit into
        memory. NaN is left out.

        Raises
        ------
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells.
        SelectionError
            If the cells have no such property or node set.
        ValueError
            If ``step`` is less than 1.

        Example
        -------
        >>> table = CompartmentTable.from_counts(
        ...     "exc", [7, 3, 5], [1, 1, 1], cell_columns={"layer": [5, 4, 5]}
        ... )
        >>> report = Report("v", np.array([[1.0, 2, 3]]), RegularTimes(0, 1e3, 1), table, "volts")
        >>> means = report.mean_by("layer")
        >>> means.groups, means.values
        (array([4, 5]), array([[2., 2.]]))

        """
        window = self._rows(start, stop, step)
        columns = np.sort(self._find(cells, numbers, labels))
        rows, owners = np.unique(self.compartments.cell_rows(columns), return_inverse=True)
        try:
            codes, groups = self.compartments.cells.groups_of(by, rows)
        except SelectionError as error:
            raise self._named(error) from error
        of_columns = codes[owners]
        is_grouped = of_columns >= 0
        columns, of_columns = columns[is_grouped], of_columns[is_grouped]
        return GroupMeans(
            name=self.name,
            unit=self.unit.name,
            by=by,
            values=mean_of_groups(self.data, window, columns, of_columns, self.unit),
            times=self.times.seconds(window),
            groups=groups,
            n_cells=np.bincount(codes[codes >= 0], minlength=len(groups)),
            n_compartments=np.bincount(of_columns, minlength=len(groups)),
        )

    def get_traces(
        self,
        cells: Cells | None = None,
        numbers: Iterable[int] | int | None = None,
        labels: Iterable[str] | str | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
    ) -> NDArray[Any]:
        """Read the values of ``select``: shape (time, compartment), in the unit of the report."""
        rows = self._rows(start, stop, step)
        if cells is None and numbers is None and labels is None:
            return read_in_unit(self.data, rows, None, self.unit)
        columns: ColumnIndices | None = None
        if numbers is None and labels is None and isinstance(cells, int | np.integer):
            columns = self.compartments.columns_of(cells)
        if columns is None:
            columns = self._find(cells, numbers, labels)
        return read_in_unit(self.data, rows, columns, self.unit)

    def to_dask(
        self,
        cells: Cells | None = None,
        numbers: Iterable[int] | int | None = None,
        labels: Iterable[str] | str | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
        step: int | None = None,
        chunks: Any = None,
    ) -> "da.Array":
        """Return the values of ``get_traces`` as a dask array, read when it is computed.

        Values are in the unit of the report, shape (time, compartment). Blocks are whole chunks of
        the file, 64 MiB at most, as long in time as possible; without chunks they are as wide as
        possible. Set ``chunks``, in any form that dask accepts, for other blocks.

        The thread or process that computes a block opens the file itself, so the output may be
        closed before the computation. A file that is not on disk or is open for writing must stay
        open, and other processes cannot read it.

        Raises
        ------
        MissingDependencyError
            If dask is not installed.
        CellNotFoundError
            If a cell id is not in the table.
        CompartmentNotFoundError
            If a number or label belongs to none of the cells.
        SelectionError
            If the cells have no such node set or property.
        ValueError
            If ``step`` is less than 1.

        Example
        -------
        >>> with open_output("v_report.h5") as output:  # doctest: +SKIP
        ...     output["v_report"].to_dask(numbers=0).mean(axis=1).compute()

        """
        rows = self._rows(start, stop, step)
        columns = None
        if not (cells is None and numbers is None and labels is None):
            columns = self._find(cells, numbers, labels)
        array = to_dask(self.data, self.unit, columns=columns, chunks=chunks, name=self.name)
        return array[rows]

    def _find(
        self,
        cells: Cells | None,
        numbers: Iterable[int] | int | None,
        labels: Iterable[str] | str | None,
    ) -> NDArray[np.intp]:
        try:
            return self.compartments.find(cells, numbers, labels)
        except SelectionError as error:
            raise self._named(error) from error

    def take_cells(self, rows: NDArray[np.intp]) -> "Report":
        """Return the report of the cells of some rows of its table; no data are read."""
        table = self.compartments.take(rows)
        columns = self.compartments.find(np.asarray(self.compartments.cell_ids[:])[rows])
        return replace(
            self,
            data=Columns(self.data, columns),
            compartments=table,
            provenance=provenance_of_some(self.provenance),
        )

    def _named(self, error: SelectionError) -> SelectionError:
        return SelectionError(f"report {self.name!r}: {error}")

    def _properties(
        self, columns: NDArray[np.intp], names: Iterable[str] | None, used: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        """Read properties of the cells of columns, by names that are not ``used``."""
        cells = self.compartments.cells
        if names is None:
            names = [name for name, values in cells.columns.items() if len(values.shape) == 1]
        if not (names := list(names)):
            return {}
        rows, owners = np.unique(self.compartments.cell_rows(columns), return_inverse=True)
        try:
            read = {name: cells.read(name, rows)[owners] for name in names}
        except SelectionError as error:
            raise self._named(error) from error
        renamed: dict[str, NDArray[Any]] = {}
        for name, values in read.items():
            prefix = "soma_" if name in {"x", "y", "z"} else "node_" if name in used else ""
            renamed[free_name(prefix + name, {*used, *renamed})] = values
        return renamed

    def _rows(self, start: float | None, stop: float | None, step: int | None) -> slice:
        if step is not None and step < 1:
            msg = f"step is {step}; expected at least 1, to read every step-th row"
            raise ValueError(msg)
        window = self.times.window(start, stop)
        return slice(window.start, window.stop, step)


if not TYPE_CHECKING:
    _set_fields_of_report = Report.__init__

    @wraps(_set_fields_of_report)
    def _in_either_order(self: Report, name: str, *values: Any, **fields: Any) -> None:
        """Take also (name, report, data, …), the order of earlier versions."""
        if values and isinstance(values[0], str):
            fields["report"], *values = values
        _set_fields_of_report(self, name, *values, **fields)

    Report.__init__ = _in_either_order


@dataclass(frozen=True)
class StreamedReport:
    """A report that will be recorded while a simulation runs, one time step after another.

    The first time step is at ``start`` (s), the next ones follow at ``rate`` (Hz); without a rate,
    each is passed with its time. A time step has a value of type ``dtype`` for each compartment of
    ``compartments``, in their order. If the number of ``steps`` is known, the layout of the file is
    planned for it; there may be more or fewer.

    Raises
    ------
    ShapeMismatchError
        If the start is not finite, the rate is not positive, or there is a start without a rate.
    WrongTypeError
        If the type is neither integer nor float.

    Example
    -------
    >>> table = CompartmentTable.from_counts(
    ...     "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    ... )
    >>> StreamedReport("v", table, rate=40_000.0, unit=Unit("volts", 1e-3)).empty.data.shape
    (0, 3)

    """

    name: str
    compartments: CompartmentTable
    rate: float | None = None
    unit: Unit = UNKNOWN
    start: float = 0.0
    dtype: DTypeLike = "f4"
    steps: int | None = None
    variable: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        """Check start, rate and type."""
        where = f"report {self.name!r}"
        check_name(self.name, "the name of a report")
        _check_table(where, self.compartments)
        check_instances(where, Real, start=self.start, rate=self.rate)
        check_instances(where, Integral, steps=self.steps)
        if self.steps is not None and self.steps < 1:
            msg = f"steps of {where} are {self.steps}; expected at least 1"
            raise ShapeMismatchError(msg)
        set_fields(self, unit=as_unit(self.unit, where))
        if self.rate is None and self.start:
            msg = (
                f"report {self.name!r} starts at {self.start} s and has no rate; expected both, or "
                "neither and a time for each time step"
            )
            raise ShapeMismatchError(msg)
        _ = self._times
        try:
            is_number = np.dtype(self.dtype).kind in "iuf"
        except TypeError:
            is_number = False
        if not is_number:
            msg = f"report {self.name!r} has the type {self.dtype}; expected integers or floats"
            raise WrongTypeError(msg)
        _ = self.empty

    @property
    def empty(self) -> Report:
        """The report without time steps."""
        return Report(
            name=self.name,
            data=np.empty((0, self.compartments.n_compartments), self.dtype),
            times=self._times,
            compartments=self.compartments,
            unit=self.unit,
            variable=self.variable,
            description=self.description,
        )

    @property
    def _times(self) -> Times:
        if self.rate is None:
            return Timestamps(np.empty(0))
        return RegularTimes(self.start, self.rate, 0)


_DIMENSIONS = {"cell", "time", "compartment"}


def _labels(table: CompartmentTable, columns: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Read the columns with one value for each compartment."""
    return {
        f"compartment_{name}" if name in _DIMENSIONS else name: table.values(name, columns)
        for name, array in table.columns.items()
        if len(array.shape) == 1
    }


def _check_table(where: str, compartments: Any) -> None:
    if not isinstance(compartments, CompartmentTable):
        msg = f"the compartments of {where} are {compartments!r:.60}; expected a CompartmentTable"
        raise WrongTypeError(msg)
