"""Spikes of a population."""

from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays
from ndx_simulation_output.recording.cells import Cells, CellTable
from ndx_simulation_output.recording.display import (
    Facts,
    counted,
    html_summary,
    represent,
    span_text,
)
from ndx_simulation_output.recording.fields import Provenance, provenance_of_some, set_fields
from ndx_simulation_output.recording.ids import (
    as_ids,
    check_ids,
    check_name,
    check_unique,
    distinct_ids,
    positions_of,
)

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 2**20
_LAZY = {"node_ids": "lazy_ids", "times": "lazy_times"}
"""Fields, and where their lazy arrays are until they are read."""


class SpikeBlock(NamedTuple):
    """Some consecutive spikes: ids, times (s) and columns, each of shape (spike, ...)."""

    node_ids: NDArray[Any]
    times: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Spikes:
    """Spikes of one population in the order of the source.

    ``node_ids``, ``times`` (s) and each of ``columns`` have shape (spike,). Ids and times that are
    lazy arrays are read, and their values checked, when they are used; ``blocks`` reads a part of
    them at a time. ``silent`` are the ids of recorded cells without spikes, ``intervals`` the times
    during which the cells were recorded, shape (interval, 2) in seconds; both are None if they are
    not known. ``cells`` has properties of the cells, which are None if they are not known. With
    ``checked=False``, for the spikes of files, times need not be finite.

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

    if TYPE_CHECKING:
        # Not defined at run time: a dataclass would make them its fields.
        @property
        def lazy_ids(self) -> LazyArray:
            """``node_ids`` as they were given, lazy or not."""

        @property
        def lazy_times(self) -> LazyArray:
            """``times`` as they were given, lazy or not."""

        @property
        def _checked(self) -> bool: ...

    def __post_init__(self, checked: bool) -> None:
        """Check the ids, and the shapes of ids, times and intervals."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        ids = as_array(self.node_ids, f"node ids {of_population}", kinds="iu")
        times = as_array(self.times, f"spike times {of_population}")
        set_fields(
            self,
            lazy_ids=ids,
            lazy_times=times,
            columns=as_arrays(self.columns, f"the spikes {of_population}"),
            _checked=checked,
        )
        if ids.shape != times.shape:
            msg = (
                f"the spikes of population {self.population!r} have node ids of shape "
                f"{ids.shape} and times of shape {times.shape}; expected equal lengths"
            )
            raise ShapeMismatchError(msg)
        for name, values in self.columns.items():
            if values.shape[:1] != ids.shape:
                msg = f"{name} of the spikes {of_population} has shape {values.shape}; expected a "
                raise ShapeMismatchError(msg + f"value for each of {len(self)} spikes")
        for name, lazy in _LAZY.items():
            values = getattr(self, lazy)
            object.__delattr__(self, name)
            if isinstance(values, np.ndarray):
                self._set_values(name, lazy, values)
        self._set_cells(of_population)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read ``node_ids`` or ``times`` that are lazy."""
            lazy = _LAZY.get(name)
            if lazy is None:
                msg = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(msg)
            return self._set_values(name, lazy, getattr(self, lazy)[:])

    def _set_values(self, name: str, lazy: str, values: Any) -> NDArray[Any]:
        """Check ids or times, and keep them in memory."""
        array = np.asarray(values)
        array = self._as_ids(array) if name == "node_ids" else self._as_times(array)
        set_fields(self, **{name: array, lazy: array})
        return array

    def _as_ids(self, values: NDArray[Any]) -> NDArray[Any]:
        check_ids(values, f"node ids of population {self.population!r}")
        return values

    def _as_times(self, values: NDArray[Any], first: int = 0) -> NDArray[np.float64]:
        """Return times as float64; raise ShapeMismatchError for those that no simulator records."""
        times = np.asarray(values, np.float64)
        if self._checked and not (is_finite := np.isfinite(times)).all():
            wrong = int(np.argmin(is_finite))
            msg = f"spike {first + wrong} of population {self.population!r} is at {times[wrong]} s"
            raise ShapeMismatchError(msg + "; expected finite times")
        return times

    def __len__(self) -> int:
        """Return the number of spikes."""
        return int(self.lazy_ids.shape[0])

    def __bool__(self) -> bool:
        """Return True: a population without spikes was recorded too."""
        return True

    def blocks(self, size: int = _BLOCK) -> Iterator[SpikeBlock]:
        """Yield the spikes in their order, at most ``size`` at a time, without keeping them."""
        for start in range(0, len(self), size):
            block = slice(start, min(start + size, len(self)))
            yield SpikeBlock(
                self._as_ids(np.asarray(self.lazy_ids[block])),
                self._as_times(np.asarray(self.lazy_times[block]), start),
                {name: np.asarray(values[block]) for name, values in self.columns.items()},
            )

    def _set_cells(self, of_population: str) -> None:
        """Check and set the silent cells and the intervals."""
        if self.silent is not None:
            what = f"silent cells {of_population}"
            silent = as_array(self.silent, what, kinds="iu")[:]
            set_fields(self, silent=silent)
            check_ids(silent, what)
            if self._checked:
                check_unique(silent, what)
        if self.intervals is None:
            return
        what = f"the intervals of the spikes {of_population}"
        intervals = np.asarray(as_array(self.intervals, what, ndim=None)[...], np.float64)
        set_fields(self, intervals=intervals)
        if intervals.ndim != 2 or intervals.shape[1] != 2:
            msg = f"{what} have shape {intervals.shape}; expected (interval, 2)"
            raise ShapeMismatchError(msg)
        if self._checked and not (intervals[:, 0] <= intervals[:, 1]).all():
            msg = f"{what} are {intervals.tolist()}; expected a start and a later end each"
            raise ShapeMismatchError(msg)

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.population
        of_cells = "" if self.cells is None else f" of {counted(len(self.cells), 'cells')}"
        yield f"{counted(len(self), 'spikes')}{of_cells}"
        times = vars(self).get("times", ())
        if len(times) and np.isfinite(ends := (times.min(), times.max())).all():
            yield span_text(*map(float, ends))

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

    @cached_property
    def cell_rows(self) -> NDArray[np.int32]:
        """Index in ``known_cells`` of the cell of each spike."""
        rows = np.empty(len(self.node_ids), np.int32)
        for begin in range(0, len(rows), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            rows[block] = positions_of(self.node_ids[block].astype(np.int64), self.known_cells)
        return rows

    @cached_property
    def are_in_order(self) -> bool:
        """True if no spike is before the previous one."""
        return bool((self.times[1:] >= self.times[:-1]).all())

    @cached_property
    def by_time(self) -> "Spikes":
        """The spikes in the order of time, without columns: these themselves if they are in it."""
        if self.are_in_order:
            return self
        order = np.argsort(self.times, kind="stable")
        return replace(
            self, node_ids=self.node_ids[order], times=self.times[order], columns={}, checked=False
        )

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
            provenance=provenance_of_some(self.provenance),
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
