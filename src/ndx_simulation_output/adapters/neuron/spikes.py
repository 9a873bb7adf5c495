"""The spikes of the cells of a running NEURON model.

NEURON keeps one pair of vectors for the spikes of a cell, and who asks last gets them: NetPyNE and
BioNet do. So each spike runs a statement of hoc, which a cell may have beside them. It is right
with threads, where one of Python would wait for ever.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from ndx_simulation_output.adapters.neuron.cells import Cell, Population
from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.recording import Spikes

__all__ = ["SpikeRecorder"]

_NUMBERS = count()
"""Names in hoc are never given twice."""


class SpikeRecorder:
    """Takes the spikes of all cells, from ``start`` to ``stop``.

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
        self._cells = {
            population.name: [(cell.id, self._connection(cell, what)) for cell in population.cells]
            for population in populations
        }
        self._vectors: dict[str, tuple[Any, Any]] = {}
        self._names: list[str] = []

    def start(self) -> None:
        """Take spikes from now on."""
        for population, cells in self._cells.items():
            times, ids = self._vectors[population] = self._h.Vector(), self._h.Vector()
            names = self._name(times), self._name(ids)
            for number, connection in cells:
                if connection is None:
                    self._context.spike_record(number, times, ids)
                else:
                    connection.record(f"{names[0]}.append(t) {names[1]}.append({number})")

    def stop(self) -> None:
        """Take no more; what was taken can still be given."""
        for cells in self._cells.values():
            for _, connection in cells:
                if connection is not None:
                    connection.record("")
        for name in self._names:
            self._h(f"objref {name}")
        self._cells, self._names = {}, []

    def taken(self) -> Iterator[Spikes]:
        """Give the spikes since the last call, by population."""
        for name, (times, ids) in self._vectors.items():
            if times.size():
                milliseconds, numbers = np.array(times), np.array(ids)
                times.resize(0)
                ids.resize(0)
                yield Spikes(name, numbers.astype(np.int64), milliseconds / 1000.0)

    def _name(self, vector: Any) -> str:
        """Give a vector a name in hoc."""
        name = f"ndx_spikes_{next(_NUMBERS)}"
        self._h(f"objref {name}")
        setattr(self._h, name, vector)
        self._names.append(name)
        return name

    def _connection(self, cell: Cell, what: "bool | float | Mapping[int, Any]") -> Any:
        if isinstance(what, Mapping):
            return self._of(cell, what)
        return self._of_gid(cell) if what is True else self._at(cell, what)

    def _of_gid(self, cell: Cell) -> Any:
        """Give a ``NetCon`` whose source has the gid of the cell, None if it is no potential."""
        if not self._context.gid_exists(cell.id):
            msg = (
                f"cell {cell.id} has no gid in the ParallelContext; expected one, or "
                "spikes=THRESHOLD or spikes={id: NetCon}"
            )
            raise RecordingError(msg)
        for section in cell.sections[min(cell.sections)].wholetree():
            for segment in (section(0.5), *section.allseg()):
                connection = self._h.NetCon(segment._ref_v, None, sec=section)  # noqa: SLF001 - NEURON's
                if connection.srcgid() == cell.id:
                    return connection
        return None

    def _of(self, cell: Cell, connections: Mapping[int, Any]) -> Any:
        if cell.id not in connections:
            msg = f"no NetCon is given for the spikes of cell {cell.id}; expected one for each cell"
            raise RecordingError(msg)
        return connections[cell.id]

    def _at(self, cell: Cell, threshold: float) -> Any:
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
