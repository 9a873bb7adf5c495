"""Spikes of a population."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import as_array, as_arrays
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
    some_of,
)

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 2**20
_LOWEST = np.finfo(np.float64).min
FEW = 2**16
"""So many spikes are read when a file is opened."""
_OF_SPIKES = ("node_ids", "times", "columns")
_FIELDS = (*_OF_SPIKES, "provenance", "silent", "intervals", "cells")

Ids = NDArray[np.int64]
Window = tuple[float | None, float | None]
"""Start and end in seconds; None leaves an end open."""


class SpikeBlock(NamedTuple):
    """Some consecutive spikes: ids, times (s) and columns, each of shape (spike, ...)."""

    node_ids: NDArray[Any]
    times: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]]


class SpikeSource(Protocol):
    """The spikes of a population in a file, which are read when they are used."""

    @property
    def provenance(self) -> Provenance:
        """The provenance without what is known when the spikes are read."""

    @property
    def stored(self) -> int:
        """Number of spikes with those at times that are not finite, which the others leave out."""

    def are_sorted(self, by: str) -> bool:
        """Return True if the source is sorted by "node_ids" or "times"."""

    @property
    def like(self) -> Mapping[str, NDArray[Any]]:
        """The columns, without spikes."""

    def read(self, name: str) -> Mapping[str, Any]:
        """Return the value of a field of ``Spikes``, and of those that are read with it."""

    def parts(self, cells: Ids | None, window: Window) -> Iterator[SpikeBlock]:
        """Yield the spikes of ``cells``, which ascend, in a window, in any order, no columns."""

    def take(self, cells: Ids | None, window: Window) -> SpikeBlock:
        """Return the spikes of ``cells``, which ascend, in a window, in the order of the source."""

    def blocks(self, size: int) -> Iterator[SpikeBlock]:
        """Yield all spikes in the order of the source, at most ``size`` at a time."""

    def spiking(self) -> Ids:
        """Return the ids of the cells that spike, in ascending order."""


@dataclass(frozen=True)
class Spikes:
    """Spikes of one population in the order of the source.

    ``node_ids``, ``times`` (s) and each of ``columns`` have shape (spike,). ``silent`` are the ids
    of recorded cells without spikes, ``intervals`` the times during which the cells were recorded,
    shape (interval, 2) in seconds; both are None if they are not known. ``cells`` are the ids of
    all recorded cells, of which those without spikes are ``silent``, or a ``CellTable`` with
    properties of cells, or None. With ``checked=False``, for the spikes of files, times need not be
    finite.

    Many spikes of a file are read, and their values checked, when one of these attributes is used
    for the first time. ``parts`` and ``blocks`` read some spikes after others and keep none.

    Raises
    ------
    ShapeMismatchError
        If lengths differ, a time is not finite, an id is not an integer from 0 to 2**63 - 1, or
        spikes are of others than the ids ``cells``.

    Example
    -------
    >>> Spikes("exc", [3, 7, 3], [0.1, 0.2, 0.3], cells=range(8)).silent.tolist()
    [0, 1, 2, 4, 5, 6]

    """

    population: str
    node_ids: NDArray[Any]
    times: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)
    # A default that is no attribute of the class, so that __getattr__ is asked for these.
    silent: NDArray[Any] | None = field(default_factory=lambda: None)
    intervals: NDArray[np.float64] | None = field(default_factory=lambda: None)
    cells: CellTable | None = field(default_factory=lambda: None)
    checked: InitVar[bool] = field(default=True, kw_only=True)

    def __post_init__(self, checked: bool) -> None:
        """Check the ids, and the shapes of ids, times and intervals."""
        check_name(self.population, "the name of a population")
        of_population = f"of population {self.population!r}"
        ids = as_array(self.node_ids, f"node ids {of_population}", kinds="iu")[:]
        times = np.asarray(as_array(self.times, f"spike times {of_population}")[:], np.float64)
        columns = as_arrays(self.columns, f"the spikes {of_population}")
        set_fields(self, node_ids=ids, times=times, columns=columns)
        check_ids(ids, f"node ids {of_population}")
        if ids.shape != times.shape:
            msg = (
                f"the spikes {of_population} have node ids of shape "
                f"{ids.shape} and times of shape {times.shape}; expected equal lengths"
            )
            raise ShapeMismatchError(msg)
        for name, values in columns.items():
            if values.shape[:1] != ids.shape:
                msg = f"{name} of the spikes {of_population} has shape {values.shape}; expected a "
                raise ShapeMismatchError(msg + f"value for each of {len(times)} spikes")
        if checked and not (is_finite := np.isfinite(times)).all():
            wrong = int(np.argmin(is_finite))
            msg = f"spike {wrong} {of_population} is at {times[wrong]} s; expected finite times"
            raise ShapeMismatchError(msg)
        self._set_cells(of_population, checked=checked)
        if self.cells is not None and not isinstance(self.cells, CellTable):
            self._set_recorded(self.cells, of_population)

    @classmethod
    def of_source(cls, population: str, source: SpikeSource) -> "Spikes":
        """Return the spikes of a file, which are read now if they are few."""
        check_name(population, "the name of a population")
        spikes = object.__new__(cls)
        set_fields(spikes, population=population, _source=source)
        if source.stored <= FEW:
            for name in _FIELDS:
                getattr(spikes, name)
        return spikes

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read a field, and those that are read with it."""
            source = vars(self).get("_source")
            if source is None or name not in _FIELDS:
                msg = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(msg)
            known = vars(self)
            set_fields(self, **{one: v for one, v in source.read(name).items() if one not in known})
            return vars(self)[name]

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, which are read: a copy in another process has no file."""
        return {name: getattr(self, name) for name in ("population", *_FIELDS)}

    @property
    def _lazy(self) -> SpikeSource | None:
        """The file of spikes that were not read yet."""
        known = vars(self)
        return None if all(name in known for name in _OF_SPIKES) else known["_source"]

    @property
    def is_read(self) -> bool:
        """False for spikes of a file that were not read yet."""
        return self._lazy is None

    @property
    def known_provenance(self) -> Provenance:
        """The provenance without what is known when the spikes are read."""
        return self.provenance if self._lazy is None else self._lazy.provenance

    def are_sorted(self, by: str) -> bool:
        """Return True if the spikes are sorted by "node_ids" or "times"."""
        if self._lazy is not None:
            return self._lazy.are_sorted(by)
        return are_sorted([SpikeBlock(self.node_ids, self.times, {})], by)

    @property
    def like(self) -> Mapping[str, NDArray[Any]]:
        """The columns, without spikes."""
        if self._lazy is not None:
            return self._lazy.like
        return {name: np.asarray(values[:0]) for name, values in self.columns.items()}

    @cached_property
    def _extent(self) -> tuple[int, float, float]:
        """Number of spikes at finite times, and the times (s) of the first and the last."""
        count, first, last = 0, np.inf, -np.inf
        for part in self.parts():
            count += len(part.times)
            first = min(first, float(part.times.min(initial=np.inf)))
            last = max(last, float(part.times.max(initial=-np.inf)))
        return count, first, last

    def __len__(self) -> int:
        """Return the number of spikes."""
        return len(self.times) if self._lazy is None else self._extent[0]

    def __bool__(self) -> bool:
        """Return True: a population without spikes was recorded too."""
        return True

    @property
    def n_stored(self) -> int:
        """Number of spikes in the source, with those at times that are not finite."""
        source = vars(self).get("_source")
        return len(self) if source is None else int(source.stored)

    @property
    def span(self) -> tuple[float, float] | None:
        """Times (s) of the first and the last spike, None if there are none."""
        count, first, last = self._extent
        return (first, last) if count else None

    def blocks(self, size: int = _BLOCK) -> Iterator[SpikeBlock]:
        """Yield the spikes in their order, at most ``size`` at a time, without keeping them."""
        if self._lazy is not None:
            yield from self._lazy.blocks(size)
            return
        for start in range(0, len(self.times), size):
            block = slice(start, start + size)
            columns = {name: np.asarray(values[block]) for name, values in self.columns.items()}
            yield SpikeBlock(self.node_ids[block], self.times[block], columns)

    def parts(
        self,
        cells: Any = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> Iterator[SpikeBlock]:
        """Yield the spikes of the ids ``cells`` with ``start <= time < stop`` (s), in any order.

        Of the spikes of a file, only those are read, some at a time; columns are left out, and so
        are times that are not finite.
        """
        chosen = None if cells is None else distinct_ids(as_ids(cells).astype(np.int64))
        if self._lazy is not None:
            yield from self._lazy.parts(chosen, (start, stop))
            return
        for block in self.blocks():
            yield choose_spikes(block.node_ids, block.times, chosen, (start, stop))

    def take(self, cells: Ids | None, window: Window) -> SpikeBlock:
        """Return the spikes of ``cells``, which ascend, in a window, in their order."""
        if self._lazy is not None:
            return self._lazy.take(cells, window)
        return choose_spikes(self.node_ids, self.times, cells, window, self.columns)

    def with_cells(self, cells: CellTable | None) -> "Spikes":
        """Return the spikes with a table of properties, without reading them."""
        known = {name: value for name, value in vars(self).items() if name in _FIELDS}
        spikes = object.__new__(type(self))
        source = vars(self).get("_source")
        set_fields(spikes, **{**known, "population": self.population, "cells": cells})
        if source is not None:
            set_fields(spikes, _source=source)
        return spikes

    def _set_recorded(self, cells: Any, of_population: str) -> None:
        """Set ``cells`` to a table of the ids of recorded cells, and ``silent``."""
        ids = as_array(cells, what := f"cells {of_population}", kinds="iu")[:]
        check_ids(ids, what)
        check_unique(ids, what)
        set_fields(self, cells=CellTable(self.population, ids))
        ids, spiking = ids.astype(np.int64), self.node_ids.astype(np.int64)
        if len(others := np.setdiff1d(spiking, ids)):
            msg = f"spikes {of_population} are of cell {some_of(others)}; expected the ids of "
            raise ShapeMismatchError(msg + f"cells: {some_of(ids)}")
        if self.silent is None:
            set_fields(self, silent=np.setdiff1d(ids, spiking))

    def _set_cells(self, of_population: str, *, checked: bool) -> None:
        """Check and set the silent cells and the intervals."""
        if self.silent is not None:
            what = f"silent cells {of_population}"
            silent = as_array(self.silent, what, kinds="iu")[:]
            set_fields(self, silent=silent)
            check_ids(silent, what)
            if checked:
                check_unique(silent, what)
        if self.intervals is None:
            return
        what = f"the intervals of the spikes {of_population}"
        intervals = np.asarray(as_array(self.intervals, what, ndim=None)[...], np.float64)
        set_fields(self, intervals=intervals)
        if intervals.ndim != 2 or intervals.shape[1] != 2:
            msg = f"{what} have shape {intervals.shape}; expected (interval, 2)"
            raise ShapeMismatchError(msg)
        if checked and not (intervals[:, 0] <= intervals[:, 1]).all():
            msg = f"{what} are {intervals.tolist()}; expected a start and a later end each"
            raise ShapeMismatchError(msg)

    __repr__ = represent

    def _facts(self) -> Facts:
        known = vars(self)
        yield self.population
        table = known.get("cells")
        of_cells = "" if table is None else f" of {counted(len(table), 'cells')}"
        yield f"{counted(self.n_stored if self._lazy else len(self), 'spikes')}{of_cells}"
        if (self._lazy is None or "_extent" in known) and self.span:
            yield span_text(*self.span)

    @cached_property
    def known_cells(self) -> NDArray[np.int64]:
        """Ids of the cells that spike and of silent ones, in ascending order.

        Silent are the cells of ``silent`` or, if it is None, all others of ``cells``.
        """
        silent: Any = self.silent
        if silent is None:
            silent = () if self.cells is None else self.cells.ids[:]
        return distinct_ids(np.concatenate([self.spiking_cells, np.asarray(silent, np.int64)]))

    @cached_property
    def spiking_cells(self) -> NDArray[np.int64]:
        """Ids of the cells that spike, in ascending order."""
        if self._lazy is not None:
            return self._lazy.spiking()
        return distinct_ids(self.node_ids).astype(np.int64)

    @cached_property
    def are_in_order(self) -> bool:
        """True if no spike is before the previous one."""
        return are_sorted([SpikeBlock(self.node_ids, self.times, {})], "times")

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
        table = self.cells
        ids = None if cells is None else self.find(cells)
        if ids is not None:
            table = table if table is None else table.select(ids)
        found = self.take(ids, (start, stop))
        silent = self.silent
        if silent is not None:
            silent = np.setdiff1d(self.find(cells), found.node_ids.astype(np.int64))
        return Spikes(
            self.population,
            *found,
            silent=silent,
            intervals=self._intervals_in(start, stop),
            cells=table,
            provenance=provenance_of_some(self.known_provenance),
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
        n_cells = np.bincount(codes[codes >= 0], minlength=len(groups))
        n_spikes = np.zeros(len(groups), np.int64)
        for part in self.parts(start=start, stop=stop):
            of_spikes = np.append(codes, -1)[positions_of(part.node_ids.astype(np.int64), ids)]
            n_spikes += np.bincount(of_spikes[of_spikes >= 0], minlength=len(groups))
        return pd.DataFrame(
            {"rate": n_spikes / (n_cells * seconds), "n_cells": n_cells, "n_spikes": n_spikes},
            index=pd.Index(groups, name=by),
        )

    def table_of(self, ids: NDArray[np.int64]) -> CellTable:
        """Return some cells with their properties."""
        table = CellTable(self.population, ids[:0]) if self.cells is None else self.cells
        return table.select(ids)

    def _intervals_in(self, start: float | None, stop: float | None) -> NDArray[np.float64] | None:
        """Return the parts of the recorded intervals in a window; None if they are not known."""
        if self.intervals is None or (start is None and stop is None):
            return self.intervals
        parts = np.clip(self.intervals, start, stop)
        return parts[parts[:, 0] < parts[:, 1]]

    def _repr_html_(self) -> str:
        """Return a summary for a notebook."""
        return html_summary(self)


def choose_spikes(
    node_ids: NDArray[Any],
    times: NDArray[np.float64],
    cells: Ids | None,
    window: Window,
    columns: Mapping[str, Any] | None = None,
) -> SpikeBlock:
    """Return the spikes of ``cells``, which ascend, in a window."""
    chosen = np.flatnonzero(in_window(times, window))
    if cells is not None:
        chosen = chosen[positions_of(node_ids[chosen].astype(np.int64), cells) >= 0]
    if len(chosen) == len(times):
        return SpikeBlock(node_ids, times, columns or {})
    some = {name: np.asarray(values[:])[chosen] for name, values in (columns or {}).items()}
    return SpikeBlock(node_ids[chosen], times[chosen], some)


def are_sorted(blocks: Iterable[SpikeBlock], by: str) -> bool:
    """Return True if spikes are sorted by "node_ids" or "times"."""
    last = None
    for block in blocks:
        values = getattr(block, by)
        if len(values):
            if (last is not None and values[0] < last) or not (values[1:] >= values[:-1]).all():
                return False
            last = values[-1]
    return True


def in_window(times: NDArray[np.float64], window: Window) -> NDArray[np.bool_]:
    """Return which times are in a window and finite."""
    start, stop = window
    chosen: NDArray[np.bool_] = times >= (_LOWEST if start is None else start)
    return chosen & (times < (np.inf if stop is None else stop))


def join_blocks(blocks: Iterable[SpikeBlock]) -> SpikeBlock:
    """Return blocks with the same columns as one; none of them as one without spikes."""
    parts = list(blocks)
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return SpikeBlock(np.zeros(0, np.int64), np.zeros(0), {})
    names = parts[0].columns
    return SpikeBlock(
        np.concatenate([part.node_ids for part in parts]),
        np.concatenate([part.times for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in names},
    )
