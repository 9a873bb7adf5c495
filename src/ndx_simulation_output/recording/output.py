"""Output of a run: reports, spikes, extracellular potentials and run parameters."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ndx_simulation_output.errors import (
    CellNotFoundError,
    NothingRecordedError,
    SelectionError,
    ShapeMismatchError,
    WrongTypeError,
)
from ndx_simulation_output.recording.array_groups import ArrayGroup
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays, as_seconds
from ndx_simulation_output.recording.cells import Cells, CellTable
from ndx_simulation_output.recording.circuit import Circuit
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.display import html_summary
from ndx_simulation_output.recording.ids import (
    as_ids,
    check_ids,
    check_name,
    check_unique,
    distinct_ids,
    free_name,
    positions_of,
    some_of,
)
from ndx_simulation_output.recording.network import NetworkSnapshot
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
    import pandas as pd
    from typing_extensions import Self


Provenance = Mapping[str, Any]
"""JSON values of a source that no field has, used to export to the format of the source."""


@dataclass(frozen=True)
class Electrodes:
    """Electrodes with ``ids`` (electrode,) and ``positions`` (electrode, 3) in micrometres."""

    ids: NDArray[Any]
    positions: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ids and shapes."""
        ids = np.asarray(as_array(self.ids, "ids of electrodes", kinds="iu")[:])
        check_ids(ids, "electrodes")
        check_unique(ids, "electrodes")
        positions = np.asarray(
            as_array(self.positions, "positions of electrodes", ndim=2)[:], float
        )
        columns = as_arrays(self.columns, "electrodes")
        expected: dict[str, tuple[Any, tuple[int, ...]]]
        expected = {name: (array, (len(ids),)) for name, array in columns.items()}
        expected["positions"] = positions, (len(ids), 3)
        for name, (array, shape) in expected.items():
            if array.shape[: len(shape)] != shape:
                msg = f"{name} of electrodes have shape {array.shape}; expected {shape}"
                raise ShapeMismatchError(msg)
        _set(self, ids=ids, positions=positions, columns=columns)


@dataclass(frozen=True)
class ExtracellularPotential:
    """Potentials at electrodes: ``data`` (time, channel), ``channel_ids`` (channel,)."""

    name: str
    data: LazyArray
    times: Times
    channel_ids: NDArray[Any]
    unit: Unit
    electrodes: Electrodes | None = None
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the channels, and that the shape of the data agrees with the times and channels."""
        check_name(self.name, "the name of a potential")
        where = f"potential {self.name!r}"
        _set(
            self,
            data=as_array(self.data, f"the data of {where}", ndim=None, kinds="biufc"),
            times=as_times(self.times, where),
            channel_ids=as_array(self.channel_ids, f"channels of {self.name!r}", kinds="iu"),
            unit=as_unit(self.unit, where),
        )
        _check_instances(where, Electrodes, electrodes=self.electrodes)
        expected = (self.times.count, len(self.channel_ids))
        if tuple(self.data.shape) != expected:
            msg = (
                f"the extracellular data {self.name!r} have shape {tuple(self.data.shape)}; "
                f"expected (time, channel) = {expected}"
            )
            raise ShapeMismatchError(msg)
        check_ids(self.channel_ids, f"channels of {self.name!r}")
        check_unique(self.channel_ids, f"channels of {self.name!r}")

    def find(self, channels: Iterable[int] | int | None = None) -> NDArray[np.intp]:
        """Return the column index of each channel id, in this order; by default of all.

        Raises
        ------
        NothingRecordedError
            If a channel does not exist.
        TypeError
            If ids are not integers.

        """
        known = np.asarray(self.channel_ids)
        if channels is None:
            return np.arange(len(known))
        wanted = as_ids(channels)
        missing = wanted[~np.isin(wanted, known)]
        if len(missing):
            msg = (
                f"channel {some_of(missing)} is not among the {len(known)} channels of "
                f"{self.name!r} (ids {some_of(known)})"
            )
            raise NothingRecordedError(msg)
        order = np.argsort(known, kind="stable")
        return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], np.intp)

    def get_traces(
        self,
        channels: Iterable[int] | int | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> NDArray[Any]:
        """Read the rows with ``start <= time < stop`` (s) of channels, by default of all.

        Values have shape (time, channel) and the unit of the potential.

        Raises
        ------
        NothingRecordedError
            If a channel does not exist.

        """
        columns = None if channels is None else self.find(channels)
        return read_in_unit(self.data, self.times.window(start, stop), columns, self.unit)


@dataclass(frozen=True)
class Report:
    """Values of many compartments of one population over time.

    ``data`` has shape (time, compartment); its k-th column belongs to the k-th compartment of
    ``compartments``.
    """

    name: str
    report: str
    data: LazyArray
    times: Times
    compartments: CompartmentTable
    unit: Unit
    variable: str | None = None
    description: str = ""
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the shape of the data agrees with the times and compartments."""
        check_name(self.name, "the name of a report")
        where = f"report {self.name!r}"
        check_name(self.report, f"the original name of {where}")
        _check_instances(where, str, variable=self.variable, description=self.description)
        _check_table(where, self.compartments)
        _set(
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
        ...     "exc", [7, 3, 5], [1, 1, 1], {}, {"layer": np.array([5, 4, 5])}
        ... )
        >>> report = Report("v", "v", np.array([[1.0, 2, 3]]), RegularTimes(0, 1e3, 1), table,
        ...                 Unit("volts"))
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
        provenance = {
            key: value for key, value in self.provenance.items() if key not in _OF_ALL_CELLS
        }
        return replace(
            self, data=Columns(self.data, columns), compartments=table, provenance=provenance
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


@dataclass(frozen=True)
class Spikes:
    """Spikes of one population in the order of the source.

    ``node_ids``, ``times`` (s) and each of ``columns`` have shape (spike,). ``silent`` are the ids
    of recorded cells without spikes, ``intervals`` the times during which the cells were recorded,
    shape (interval, 2) in seconds; both are None if they are not known. ``cells`` has properties of
    the cells, which are None if they are not known. With ``checked=False``, for
    the spikes of files, times need not be finite.

    Raises
    ------
    ShapeMismatchError
        If lengths differ, a time is not finite, or an id is not an integer from 0 to 2**63 - 1.

    """

    population: str
    node_ids: NDArray[Any]
    times: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)
    silent: NDArray[Any] | None = None
    intervals: NDArray[np.float64] | None = None
    cells: CellTable | None = None
    checked: InitVar[bool] = field(default=True, kw_only=True)

    def __post_init__(self, checked: bool) -> None:
        """Check the ids, and the shapes of ids, times and intervals."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        _set(
            self,
            node_ids=as_array(self.node_ids, f"node ids {of_population}", kinds="iu")[:],
            times=as_seconds(self.times, f"spike times {of_population}"),
            columns=as_arrays(self.columns, f"the spikes {of_population}"),
        )
        if self.silent is not None:
            silent = as_array(self.silent, f"silent cells {of_population}", kinds="iu")[:]
            _set(self, silent=silent)
        if self.intervals is not None:
            what = f"the intervals of the spikes {of_population}"
            intervals = np.asarray(as_array(self.intervals, what, ndim=None)[...], np.float64)
            _set(self, intervals=intervals)
            if intervals.ndim != 2 or intervals.shape[1] != 2:
                msg = f"{what} have shape {intervals.shape}; expected (interval, 2)"
                raise ShapeMismatchError(msg)
        check_ids(self.node_ids, f"node ids of population {self.population!r}")
        if self.silent is not None:
            check_ids(self.silent, f"silent cells of population {self.population!r}")
        if self.node_ids.shape != self.times.shape or self.times.ndim != 1:
            msg = (
                f"the spikes of population {self.population!r} have node ids of shape "
                f"{self.node_ids.shape} and times of shape {self.times.shape}; expected equal "
                "lengths"
            )
            raise ShapeMismatchError(msg)
        for name, values in self.columns.items():
            if values.shape[:1] != (len(self.times),):
                msg = f"{name} of the spikes {of_population} has shape {values.shape}; expected a "
                raise ShapeMismatchError(msg + f"value for each of {len(self.times)} spikes")
        if checked:
            self._check_values()

    def _check_values(self) -> None:
        """Raise ShapeMismatchError for values that no simulator records."""
        where = f"of population {self.population!r}"
        if not (is_finite := np.isfinite(self.times)).all():
            wrong = int(np.argmin(is_finite))
            msg = f"spike {wrong} {where} is at {self.times[wrong]} s; expected finite times"
            raise ShapeMismatchError(msg)
        if self.intervals is not None and not (self.intervals[:, 0] <= self.intervals[:, 1]).all():
            msg = f"the intervals of the spikes {where} are {self.intervals.tolist()}; expected a "
            msg += "start and a later end each"
            raise ShapeMismatchError(msg)
        if self.silent is not None:
            check_unique(self.silent, f"silent cells {where}")

    @cached_property
    def known_cells(self) -> NDArray[np.int64]:
        """Ids of the cells that spike and of silent ones, in ascending order.

        Silent are the cells of ``silent`` or, if it is None, all others of ``cells``.
        """
        silent: Any = self.silent
        if silent is None:
            silent = () if self.cells is None else self.cells.ids[:]
        spiking = distinct_ids(self.node_ids).astype(np.int64)
        return distinct_ids(np.concatenate([spiking, np.asarray(silent, np.int64)]))

    def find(self, cells: Cells | None) -> NDArray[np.int64]:
        """Return the ids of ``cells`` in ascending order, by default of all known cells.

        ``cells`` are ids, a mapping of properties such as ``{"layer": [2, 3]}``, or the name of a
        node set, as in ``CellTable.rows_of``.

        Raises
        ------
        CellNotFoundError
            If there is no such cell. Any id is possible if silent cells are not known.
        SelectionError
            If there is no such property or node set.

        """
        if cells is None:
            return self.known_cells
        are_all_known = self.silent is not None or self.cells is not None
        if not are_all_known and not isinstance(cells, str | Mapping):
            return np.unique(as_ids(cells).astype(np.int64))
        known = self.known_cells
        return distinct_ids(known[self.table_of(known).rows_of(cells)])

    def select(
        self,
        cells: Cells | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> "Spikes":
        """Return the spikes of ``cells``, as in ``find``, with ``start <= time < stop`` (s).

        Spikes keep their order. Cells whose spikes are not in the window are ``silent``, if silent
        cells are known.

        Raises
        ------
        CellNotFoundError
            If there is no such cell. Any id is possible if silent cells are not known.
        SelectionError
            If there is no such property or node set.

        Example
        -------
        >>> spikes = Spikes("exc", np.array([3, 7, 3]), np.array([0.1, 0.2, 0.3]))
        >>> spikes.select(3, start=0.2).times
        array([0.3])

        """
        chosen = self._is_in_window(start, stop)
        table = self.cells
        if cells is not None:
            ids = self.find(cells)
            chosen &= positions_of(self.node_ids.astype(np.int64), ids) >= 0
            table = table if table is None else table.select(ids)
        node_ids = self.node_ids[chosen]
        silent = self.silent
        if silent is not None:
            silent = np.setdiff1d(self.find(cells), node_ids.astype(np.int64))
        return replace(
            self,
            node_ids=node_ids,
            times=self.times[chosen],
            columns={name: values[:][chosen] for name, values in self.columns.items()},
            silent=silent,
            intervals=self._intervals_in(start, stop),
            cells=table,
            provenance={
                key: value for key, value in self.provenance.items() if key not in _OF_ALL_CELLS
            },
            checked=False,
        )

    def rate_by(
        self,
        by: str,
        cells: Cells | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> "pd.DataFrame":
        """Return the mean firing rate of each group of cells with ``start <= time < stop`` (s).

        A group has the cells with the same value of the property ``by``, or with ``node_id`` one
        cell; cells without a value are in none. The frame is indexed by these values, and has the
        columns ``rate`` (Hz), ``n_cells``, which includes silent cells if they are known, and
        ``n_spikes``. If ``intervals`` are not known, pass ``stop``; ``start`` is 0.

        Raises
        ------
        CellNotFoundError
            If there is no such cell. Any id is possible if silent cells are not known.
        SelectionError
            If there is no such property or node set, or the cells were not recorded in the window.

        Example
        -------
        >>> cells = CellTable("exc", np.array([3, 7, 9]), {"ei": ["e", "i", "e"]})
        >>> spikes = Spikes("exc", np.array([3, 7, 3]), np.array([0.1, 0.2, 0.3]), cells=cells)
        >>> spikes.rate_by("ei", stop=0.5)["rate"].to_dict()
        {'e': 2.0, 'i': 2.0}

        """
        import pandas as pd

        intervals = self._intervals_in(start, stop)
        if intervals is None:
            intervals = np.array([[start or 0.0, np.nan if stop is None else stop]])
        seconds = float(np.diff(intervals).sum())
        if not seconds > 0:
            found = "an unknown time; pass stop" if np.isnan(seconds) else "0 s in this window"
            msg = f"the cells of population {self.population!r} were recorded for {found}"
            raise SelectionError(msg)
        ids = self.find(cells)
        codes, groups = self.table_of(ids).groups_of(by, np.arange(len(ids)))
        spiking = self.node_ids[self._is_in_window(start, stop)].astype(np.int64)
        of_spikes = np.append(codes, -1)[positions_of(spiking, ids)]
        n_cells, n_spikes = (
            np.bincount(some[some >= 0], minlength=len(groups)) for some in (codes, of_spikes)
        )
        return pd.DataFrame(
            {"rate": n_spikes / (n_cells * seconds), "n_cells": n_cells, "n_spikes": n_spikes},
            index=pd.Index(groups, name=by),
        )

    def table_of(self, ids: NDArray[np.int64]) -> CellTable:
        """Return some cells with their properties."""
        table = CellTable(self.population, ids[:0]) if self.cells is None else self.cells
        return table.select(ids)

    def _is_in_window(self, start: float | None, stop: float | None) -> NDArray[np.bool_]:
        first, last = -np.inf if start is None else start, np.inf if stop is None else stop
        return (self.times >= first) & (self.times < last)

    def _intervals_in(self, start: float | None, stop: float | None) -> NDArray[np.float64] | None:
        """Return the parts of the recorded intervals in a window; None if they are not known."""
        if self.intervals is None or (start is None and stop is None):
            return self.intervals
        parts = np.clip(self.intervals, start, stop)
        return parts[parts[:, 0] < parts[:, 1]]

    def _repr_html_(self) -> str:
        """Return a summary for a notebook."""
        return html_summary(self)


@dataclass(frozen=True)
class Run:
    """Parameters of a run; times in seconds, temperature in degrees Celsius."""

    simulator: str | None = None
    simulator_version: str | None = None
    time_step: float | None = None
    duration: float | None = None
    temperature: float | None = None
    seed: int | None = None
    configuration: str | None = None
    morphology: str | None = None

    def __post_init__(self) -> None:
        """Check the types, and that numbers are finite."""
        for name in ("simulator", "simulator_version", "configuration", "morphology"):
            _check_instances("the run", str, **{name: getattr(self, name)})
        for name in ("time_step", "duration", "temperature", "seed"):
            value: Any = getattr(self, name)
            expected = Integral if name == "seed" else Real
            if value is None:
                continue
            is_number = isinstance(value, expected) and not isinstance(value, bool)
            if not is_number:
                msg = f"{name} of the run is {value!r}; expected a number"
                raise WrongTypeError(msg)
            least = {"time_step": np.nextafter(0, 1), "duration": 0}.get(name, -np.inf)
            if not (np.isfinite(float(value)) and value >= least and abs(value) < 2.0**63):
                msg = f"{name} of the run is {value!r}; expected a possible {name}"
                raise ShapeMismatchError(msg)
            _set(self, **{name: int(value) if name == "seed" else float(value)})


@dataclass(frozen=True)
class SimulationOutput:
    """The recordings of a run. Use it in a ``with`` block: data are read from open files.

    ``arrays`` are groups of arrays with axes, such as data of instruments; ``networks`` are states
    of networks; ``circuit`` are all cells of the simulation and their connections. ``session`` has
    the metadata of the source, in the sections ``NWBFile`` and ``Subject``. ``notes`` list the
    parts of the source that were omitted or corrected; they are stored in the notes of an NWB file.
    """

    reports: tuple[Report, ...] = ()
    spikes: tuple[Spikes, ...] = ()
    potentials: tuple[ExtracellularPotential, ...] = ()
    arrays: tuple[ArrayGroup, ...] = ()
    networks: tuple[NetworkSnapshot, ...] = ()
    circuit: Circuit | None = None
    run: Run = field(default_factory=Run)
    session: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=dict)
    close: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        """Check the types of all parts, and add notes on times that may be in another unit."""
        kinds = {
            "reports": Report,
            "spikes": Spikes,
            "potentials": ExtracellularPotential,
            "arrays": ArrayGroup,
            "networks": NetworkSnapshot,
            "notes": str,
        }
        for name, kind in kinds.items():
            items = getattr(self, name)
            is_listed = isinstance(items, list | tuple)
            if not is_listed or not all(isinstance(item, kind) for item in items):
                msg = f"{name} of an output are {items!r:.60}; expected a tuple of {kind.__name__}"
                raise WrongTypeError(msg)
            _set(self, **{name: tuple(items)})
        if not isinstance(self.run, Run):
            msg = f"the run of an output is {self.run!r:.60}; expected a Run"
            raise WrongTypeError(msg)
        _check_instances("an output", Circuit, circuit=self.circuit)
        is_session = isinstance(self.session, Mapping)
        if not is_session or not all(isinstance(one, Mapping) for one in self.session.values()):
            msg = (
                f"the session is {self.session!r:.60}; expected the sections NWBFile and Subject, "
            )
            raise WrongTypeError(msg + "each with keys and values")
        doubts = [note for note in self._doubtful_times() if note not in self.notes]
        _set(self, notes=(*self.notes, *doubts))

    def _doubtful_times(self) -> Iterator[str]:
        """Yield notes on times that contradict the run by a factor of a hundred or more."""
        spans = {f"report {one.name!r}": _span(one.times) for one in self.reports}
        spans |= {f"potential {one.name!r}": _span(one.times) for one in self.potentials}
        for one in self.spikes:
            finite = one.times[np.isfinite(one.times)]
            spans[f"the spikes of {one.population!r}"] = (
                float(np.ptp(finite)) if len(finite) else 0.0
            )
        recorded = {
            f"the spikes of {one.population!r}": float(np.ptp(one.intervals))
            if one.intervals.size
            else 0.0
            for one in self.spikes
            if one.intervals is not None
        }
        for what, seconds in spans.items():
            of_run = recorded.get(what, self.run.duration)
            if of_run and seconds > _DOUBTFUL * of_run:
                found = f"{seconds:g} s, but the run lasts {of_run:g} s"
                yield f"the times of {what} span {found}: are they in ms?"
        for report in self.reports:
            rate = getattr(report.times, "rate", None)
            step = self.run.time_step
            if rate and step and rate * step > _DOUBTFUL:
                steps = f"a sample each {1 / rate:g} s, but the time step is {step:g} s"
                yield f"report {report.name!r} has {steps}: is it in ms?"

    def __getitem__(self, name: str) -> Report:
        """Return the report of this name.

        Raises
        ------
        KeyError
            If there is no such report.

        """
        for report in self.reports:
            if report.name == name:
                return report
        names = ", ".join(report.name for report in self.reports) or "none"
        msg = f"no report {name!r}; expected one of: {names}"
        raise KeyError(msg)

    def _repr_html_(self) -> str:
        """Return a summary for a notebook; at most 16 MiB are read of each object."""
        return html_summary(self)

    def select_cells(self, cells: Cells) -> "SimulationOutput":
        """Return the output with the reports and spikes of some cells; no data are read.

        ``cells`` are ids, a mapping of properties such as ``{"layer": [2, 3]}``, or the name of a
        node set. They apply to each population; a population without such a property or node set
        has none of them. Potentials, arrays, networks and the circuit stay as they are.

        Raises
        ------
        CellNotFoundError
            If no population has an id, or no cell is chosen.
        SelectionError
            If no population has such a property or node set.

        """
        choice = _Choice(cells)
        reports, spikes, lost = [], [], []
        for report in self.reports:
            rows = choice.rows_of(report.compartments.cells)
            if len(rows):
                reports.append(report.take_cells(rows))
            else:
                lost.append(f"report {report.name}")
        for one in self.spikes:
            known = one.known_cells
            ids = known[choice.rows_of(one.table_of(known))]
            if len(ids):
                spikes.append(one.select(ids))
            else:
                lost.append(f"spikes of {one.population}")
        # Any id may be that of a silent cell.
        are_all_known = all(one.silent is not None or one.cells is not None for one in self.spikes)
        choice.check(are_all_known=are_all_known, found=bool(reports or spikes))
        notes = [f"only the cells {choice} were selected"]
        notes += [f"left out, because they have none of these cells: {', '.join(lost)}"] * bool(
            lost
        )
        names = ", ".join(potential.name for potential in self.potentials)
        notes += [f"potentials are of all cells: {names}"] * bool(names)
        return replace(
            self, reports=tuple(reports), spikes=tuple(spikes), notes=(*self.notes, *notes)
        )

    def __enter__(self) -> "Self":
        """Return this output."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()


_OF_ALL_CELLS = {"entries", "repeated_ids", "not_finite"}
"""Keys of a provenance whose values list all cells or spikes of a source."""


class _Choice:
    """A choice of cells of several populations, which need not all have the property or id."""

    def __init__(self, cells: Cells) -> None:
        self._cells: Cells = cells
        self._missing = np.zeros(0, np.int64)
        if not isinstance(cells, str | Mapping):
            self._cells = self._missing = np.unique(as_ids(cells))
        self._errors: list[SelectionError] = []
        self._applies = False

    def __str__(self) -> str:
        """Return a short description."""
        ids = self._cells
        text = some_of(ids) if isinstance(ids, np.ndarray) else str(ids)
        return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"

    def rows_of(self, table: CellTable) -> NDArray[np.intp]:
        """Return the rows of the chosen cells of a table, in ascending order."""
        if isinstance(self._cells, np.ndarray):
            rows = table.find_rows(self._cells)
            self._missing = np.intersect1d(self._missing, self._cells[rows < 0])
            return np.sort(rows[rows >= 0])
        try:
            rows = table.rows_of(self._cells)
        except SelectionError as error:
            self._errors.append(error)
            return np.zeros(0, np.intp)
        self._applies = True
        return rows

    def check(self, *, are_all_known: bool, found: bool) -> None:
        """Raise an error if no population has an id or property, or nothing was ``found``."""
        if self._errors and not self._applies:
            raise self._errors[0]
        if len(self._missing) and (are_all_known or not found):
            msg = f"cell {some_of(self._missing)} is not among the recorded cells"
            raise CellNotFoundError(msg)
        if not found:
            msg = f"no recorded cell is one of {self}"
            raise CellNotFoundError(msg)


_MOST_LETTERS = 100
_DOUBTFUL = 100
"""Times that are longer than a run by this factor may be in another unit."""


def _set(item: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is created."""
    for name, value in values.items():
        object.__setattr__(item, name, value)


def _check_instances(where: str, kind: type, **values: Any) -> None:
    """Raise WrongTypeError if a value is neither None nor of this type."""
    for name, value in values.items():
        if value is not None and not isinstance(value, kind):
            msg = f"{name} of {where} is {value!r:.60}; expected {kind.__name__}"
            raise WrongTypeError(msg)


def _check_table(where: str, compartments: Any) -> None:
    if not isinstance(compartments, CompartmentTable):
        msg = f"the compartments of {where} are {compartments!r:.60}; expected a CompartmentTable"
        raise WrongTypeError(msg)


def _span(times: Times) -> float:
    """Return the time (s) from the first to the last row, 0.0 if it must be read from a file."""
    if isinstance(times, RegularTimes):
        return times.count / times.rate
    is_known = isinstance(times.values, np.ndarray) and times.count
    return float(times.values[-1] - times.values[0]) if is_known else 0.0


_DIMENSIONS = {"cell", "time", "compartment"}


def _labels(table: CompartmentTable, columns: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Read the columns with one value for each compartment."""
    return {
        f"compartment_{name}" if name in _DIMENSIONS else name: table.values(name, columns)
        for name, array in table.columns.items()
        if len(array.shape) == 1
    }


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
        _check_instances(where, Real, start=self.start, rate=self.rate)
        _check_instances(where, Integral, steps=self.steps)
        if self.steps is not None and self.steps < 1:
            msg = f"steps of {where} are {self.steps}; expected at least 1"
            raise ShapeMismatchError(msg)
        _set(self, unit=as_unit(self.unit, where))
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
            report=self.name,
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
