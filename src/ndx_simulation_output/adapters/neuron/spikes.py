"""The spikes of the cells of a running NEURON model."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ndx_simulation_output.adapters.neuron.cells import Population
from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.recording import Spikes

__all__ = ["SpikeRecorder"]


class SpikeRecorder:
    """Takes the spikes of all cells.

    ``what`` says which they are: True those of the gids of the ``ParallelContext``, a number the
    upward crossings of that potential (mV) in the middle of the first section of each cell, a dict
    those of a ``NetCon`` for each id.

    Raises
    ------
    RecordingError
        If a cell is not there, or has another threshold already.

    """

    def __init__(
        self, h: Any, populations: Iterable[Population], what: "bool | float | Mapping[int, Any]"
    ) -> None:
        self._h, self._context = h, h.ParallelContext()
        self._connections: list[Any] = []
        self._vectors = {}
        for population in populations:
            times, ids = self._vectors[population.name] = h.Vector(), h.Vector()
            for cell in population.cells:
                if what is True:
                    self._record_gid(cell.id, times, ids)
                else:
                    connection = (
                        self._of(cell, what) if isinstance(what, Mapping) else self._at(cell, what)
                    )
                    connection.record(times, ids, cell.id)
                    self._connections.append(connection)

    def taken(self) -> Iterator[Spikes]:
        """Give the spikes since the last call, by population."""
        for name, (times, ids) in self._vectors.items():
            if times.size():
                milliseconds, numbers = np.array(times), np.array(ids)
                times.resize(0)
                ids.resize(0)
                yield Spikes(name, numbers.astype(np.int64), milliseconds / 1000.0)

    def _record_gid(self, gid: int, times: Any, ids: Any) -> None:
        if not self._context.gid_exists(gid):
            msg = (
                f"cell {gid} has no gid in the ParallelContext; expected one, or spikes=THRESHOLD "
                "or spikes={id: NetCon}"
            )
            raise RecordingError(msg)
        self._context.spike_record(gid, times, ids)

    def _of(self, cell: Any, connections: Mapping[int, Any]) -> Any:
        if cell.id not in connections:
            msg = f"no NetCon is given for the spikes of cell {cell.id}; expected one for each cell"
            raise RecordingError(msg)
        return connections[cell.id]

    def _at(self, cell: Any, threshold: float) -> Any:
        section = cell.sections[min(cell.sections)]
        connection = self._h.NetCon(section(0.5)._ref_v, None, sec=section)  # noqa: SLF001 - NEURON's
        others = len(connection.prelist()) > 1
        if others and connection.threshold != threshold:
            msg = (
                f"{section.name()} has a NetCon whose threshold is {connection.threshold} mV, and "
                f"they share it; expected spikes={connection.threshold}, or spikes={{id: NetCon}}"
            )
            raise RecordingError(msg)
        connection.threshold = threshold
        return connection
