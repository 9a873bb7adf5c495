"""Spikes in two arrays of a file, ids and times, and the times that the source states."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.cells import CellTable
from ndx_simulation_output.recording.ids import distinct_ids, ids_of_source, positions_of
from ndx_simulation_output.recording.spikes import (
    Ids,
    SpikeBlock,
    Spikes,
    Window,
    are_sorted,
    in_window,
    join_blocks,
)

NOT_FINITE = "not_finite"
"""Key of the spikes in the provenance whose times are not finite."""

ROUNDING = "source_rounding"
"""Column with the units in the last place from the computed times to those of the source."""

_BLOCK = 2**20


def spikes_from_source(
    population: str,
    ids: NDArray[Any],
    times: NDArray[Any],
    seconds: float,
    provenance: dict[str, Any],
) -> Spikes:
    """Return spikes whose times, in units of ``seconds``, can be restored exactly.

    Division by 1000 changes the last bit of about one number in a hundred. If any changes, the
    column ``source_rounding`` (spike,) stores the difference in units in the last place. Spikes at
    times that are not finite are only in the provenance: readers of NWB search sorted times.
    """
    source = np.asarray(times, np.float64)
    is_finite = np.isfinite(source)
    if not is_finite.all():
        provenance = {**provenance, NOT_FINITE: _to_json(ids, source, ~is_finite)}
        ids, source = ids[is_finite], source[is_finite]
    per_second = round(1 / seconds, 9)
    in_seconds = _in_seconds(source, per_second)
    lost = _rounding(source, in_seconds, per_second)
    columns: dict[str, NDArray[Any]] = {}
    if lost.any():
        columns[ROUNDING] = lost.astype(_type_of_rounding(lost))
    facts = {**provenance, "per_second": per_second}
    return Spikes(population, ids, in_seconds, columns, facts, checked=False)


def _in_seconds(source: NDArray[np.float64], per_second: float) -> NDArray[np.float64]:
    return source / per_second if per_second != 1 else source


def _rounding(
    source: NDArray[np.float64], in_seconds: NDArray[np.float64], per_second: float
) -> NDArray[np.int64]:
    """Return the units in the last place from the computed to the source's times."""
    lost: NDArray[np.int64] = source.view(np.int64) - (in_seconds * per_second).view(np.int64)
    return lost


def _type_of_rounding(lost: NDArray[np.int64]) -> type:
    small = not len(lost) or np.abs(lost).max() <= np.iinfo(np.int8).max
    return np.int8 if small else np.int64


@dataclass(frozen=True)
class StoredSpikes:
    """Spikes in two arrays ``ids`` and ``times``, of which ``per_second`` are a second."""

    population: str
    where: str
    ids: LazyArray
    times: LazyArray
    per_second: float
    provenance: dict[str, Any]
    silent: Ids | None = None
    intervals: NDArray[np.float64] | None = None
    cells: CellTable | None = None

    @property
    def stored(self) -> int:
        """Number of stored spikes."""
        return int(self.times.shape[0])

    def are_sorted(self, by: str) -> bool:
        """Return True if the source is sorted by "node_ids" or "times"."""
        return are_sorted(self.parts(None, (None, None)), by)

    @property
    def like(self) -> Mapping[str, NDArray[Any]]:
        """The columns, without spikes."""
        kind = self._rounding_type
        return {} if kind is None else {ROUNDING: np.zeros(0, kind)}

    def read(self, name: str) -> dict[str, Any]:
        """Return the value of a field of ``Spikes``, and of those that are read with it."""
        if name in {"silent", "intervals", "cells"}:
            return {"silent": self.silent, "intervals": self.intervals, "cells": self.cells}
        if name == "provenance":
            return {name: self._provenance()}
        ids = ids_of_source(np.asarray(self.ids[:]), self.where)
        times = np.asarray(self.times[:])
        spikes = spikes_from_source(
            self.population, ids, times, 1 / self.per_second, self.provenance
        )
        return {one: getattr(spikes, one) for one in (*SpikeBlock._fields, "provenance")}

    def _provenance(self) -> dict[str, Any]:
        """Return the provenance with the spikes at times that are not finite."""
        left_out: dict[str, list[int]] = {}
        for start in range(0, self.stored, _BLOCK):
            times = np.asarray(self.times[start : start + _BLOCK], np.float64)
            is_finite = np.isfinite(times)
            if not is_finite.all():
                ids = ids_of_source(np.asarray(self.ids[start : start + _BLOCK]), self.where)
                found = _to_json(ids, times, ~is_finite)
                found["positions"] = [start + position for position in found["positions"]]
                left_out = {key: left_out.get(key, []) + some for key, some in found.items()}
        return self.provenance | ({NOT_FINITE: left_out} if left_out else {})

    def parts(self, cells: Ids | None, window: Window) -> Iterator[SpikeBlock]:
        """Yield the spikes of ``cells`` in a window, in their order, without columns."""
        for block, _ in self._found(cells, window):
            yield block

    def take(self, cells: Ids | None, window: Window) -> SpikeBlock:
        """Return the spikes of ``cells`` in a window, in the order of the source."""
        return join_blocks(self._with_columns(self._found(cells, window)))

    def blocks(self, size: int) -> Iterator[SpikeBlock]:
        """Yield all spikes in the order of the source, at most ``size`` at a time."""
        yield from self._with_columns(self._found(None, (None, None), size))

    def spiking(self) -> Ids:
        """Return the ids of the cells that have spikes."""
        found = np.zeros(0, np.int64)
        for part in self.parts(None, (None, None)):
            found = distinct_ids(np.concatenate([found, distinct_ids(part.node_ids)]))
        return found

    def _found(
        self, cells: Ids | None, window: Window, size: int = _BLOCK
    ) -> Iterator[tuple[SpikeBlock, NDArray[np.float64]]]:
        """Yield spikes of ``cells`` in a window, and their times in the source."""
        for start in range(0, self.stored, size):
            source = np.asarray(self.times[start : start + size], np.float64)
            times = _in_seconds(source, self.per_second)
            chosen = np.flatnonzero(in_window(times, window))
            if not len(chosen):
                continue
            first, last = int(chosen[0]), int(chosen[-1]) + 1
            read = np.asarray(self.ids[start + first : start + last])
            ids = ids_of_source(read, self.where)
            if len(chosen) < len(ids):
                ids = ids[chosen - first]
            if cells is not None:
                is_of_cells = positions_of(ids, cells) >= 0
                ids, chosen = ids[is_of_cells], chosen[is_of_cells]
            if len(chosen) < len(times):
                times, source = times[chosen], source[chosen]
            yield SpikeBlock(ids, times, {}), source

    def _with_columns(
        self, found: Iterable[tuple[SpikeBlock, NDArray[np.float64]]]
    ) -> Iterator[SpikeBlock]:
        for block, source in found:
            columns: dict[str, NDArray[Any]] = {}
            if self._rounding_type is not None:
                lost = _rounding(source, block.times, self.per_second)
                columns = {ROUNDING: lost.astype(self._rounding_type)}
            yield SpikeBlock(block.node_ids, block.times, columns)

    @cached_property
    def _rounding_type(self) -> type | None:
        """Type of the column ``source_rounding`` of all spikes, None if it would be 0."""
        types = set()
        for block, source in self._found(None, (None, None)):
            lost = _rounding(source, block.times, self.per_second)
            types |= {_type_of_rounding(lost)} if lost.any() else set()
        return None if not types else np.int64 if np.int64 in types else np.int8


def notes_of_spikes(populations: Sequence[Spikes]) -> Iterator[str]:
    """Yield notes on spikes that are only in the provenance."""
    for spikes in populations:
        count = spikes.n_stored - len(spikes)
        if spikes.is_read:
            count = len(spikes.provenance.get(NOT_FINITE, {}).get("positions", []))
        if count:
            yield (
                f"left out: {count} spikes of population {spikes.population!r} at times that are "
                "not finite (NaN or infinite); export to SONATA writes them again"
            )


def _to_json(
    ids: NDArray[Any], times: NDArray[np.float64], mask: NDArray[np.bool_]
) -> dict[str, list[int]]:
    """Return positions, ids and bits of the times of spikes, as JSON has no NaN."""
    return {
        "positions": np.flatnonzero(mask).tolist(),
        "node_ids": ids[mask].tolist(),
        "bits": times[mask].view(np.int64).tolist(),
    }
