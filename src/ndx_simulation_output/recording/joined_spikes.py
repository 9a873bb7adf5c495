"""Spikes of a population that are in several files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.fields import Provenance
from ndx_simulation_output.recording.ids import distinct_ids
from ndx_simulation_output.recording.sorting import Values, range_edges, sort_in_ranges, sort_times
from ndx_simulation_output.recording.spikes import Ids, SpikeBlock, Spikes, Window, join_blocks

_ALWAYS = None, None


@dataclass(frozen=True)
class JoinedSpikes:
    """The spikes of all ``files``, sorted ``by`` "node_ids" or "times", or one file after another.

    ``known`` has the fields of the joined ``Spikes`` for which none are read.
    """

    files: tuple[Spikes, ...]
    by: str | None
    known: Mapping[str, Any]

    @property
    def provenance(self) -> Provenance:
        """The provenance of the joined spikes."""
        provenance: Provenance = self.known["provenance"]
        return provenance

    @property
    def stored(self) -> int:
        """Number of stored spikes."""
        return sum(one.n_stored for one in self.files)

    def are_sorted(self, by: str) -> bool:
        """Return True if the source is sorted by "node_ids" or "times"."""
        return self.by == by

    @cached_property
    def like(self) -> Mapping[str, NDArray[Any]]:
        """The columns of all files, without spikes."""
        found: dict[str, list[NDArray[Any]]] = {}
        for one in self.files:
            for name, values in one.like.items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in found.items()}

    def read(self, name: str) -> Mapping[str, Any]:
        """Return the value of a field of ``Spikes``, and of those that are read with it."""
        if name in SpikeBlock._fields:
            return self.take(None, _ALWAYS)._asdict()
        return self.known

    def parts(self, cells: Ids | None, window: Window) -> Iterator[SpikeBlock]:
        """Yield the spikes of ``cells``, which ascend, in a window, in any order, no columns."""
        for one in self.files:
            yield from one.parts(cells, start=window[0], stop=window[1])

    def spiking(self) -> Ids:
        """Return the ids of the cells that spike, in ascending order."""
        return distinct_ids(np.concatenate([one.spiking_cells for one in self.files]))

    def take(self, cells: Ids | None, window: Window) -> SpikeBlock:
        """Return the spikes of ``cells``, which ascend, in a window, in their order."""
        found = join_blocks(self._filled(one.take(cells, window)) for one in self.files)
        if self.by is None:
            return found
        order = self._order(found._asdict())
        columns = {name: values[order] for name, values in found.columns.items()}
        return SpikeBlock(found.node_ids[order], found.times[order], columns)

    def blocks(self, size: int) -> Iterator[SpikeBlock]:
        """Yield all spikes in their order, at most ``size`` at a time."""
        if self.by is None:
            for one in self.files:
                yield from map(self._filled, one.blocks(size))
            return
        for values in self._sorted():
            for start in range(0, len(values["times"]), size):
                part = {name: column[start : start + size] for name, column in values.items()}
                yield SpikeBlock(part.pop("node_ids"), part.pop("times"), part)

    def _sorted(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield one range of the sorted spikes after another."""
        by = str(self.by)
        edges = range_edges((getattr(one, by) for one in self.parts(None, _ALWAYS)), self.stored)
        keys = (getattr(one, by) for one in self.parts(None, _ALWAYS))
        ids = np.concatenate([one.spiking_cells[:0] for one in self.files])
        like = {"node_ids": ids, "times": np.zeros(0), **self.like}
        rows = (
            {"node_ids": block.node_ids, "times": block.times, **block.columns}
            for one in self.files
            for block in map(self._filled, one.blocks())
        )
        yield from sort_in_ranges(by, keys, edges, like, rows, self._order).buckets()

    def _order(self, values: Values) -> NDArray[np.intp]:
        """Return the order of spikes, in which equal ones keep theirs."""
        if self.by == "node_ids":
            return np.argsort(values["node_ids"], kind="stable")
        return sort_times(values["times"])[0]

    def _filled(self, block: SpikeBlock) -> SpikeBlock:
        """Return spikes with zeros in the columns that their file does not have."""
        columns = {
            name: np.zeros((len(block.times), *values.shape[1:]), values.dtype)
            for name, values in self.like.items()
            if name not in block.columns
        }
        return block._replace(columns={**columns, **block.columns})
