"""Record the spikes of the cells of a running NEURON model.

NEURON records the spikes of a cell only into the vectors of the last call of ``spike_record`` or
``NetCon.record``, which NetPyNE and BioNet also use. A hoc statement that is executed at each spike
does not replace them, and works with threads, where a Python callback would deadlock.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.neuron.cells import Cell, Population
from ndx_simulation_output.recording import Spikes

# Numbers in the names of hoc variables of this module, which must be unique.
_NUMBERS = count()


class SpikeRecorder:
    """Records the spikes of all cells, from ``start`` to ``stop``.

    ``detection`` is True for the spikes of the gids of the ``ParallelContext``, a number for upward
    crossings of that potential (mV) in the middle of the first section of each cell, or a dict of
    a ``NetCon`` for each id.
    """

    def __init__(
        self,
        h: Any,
        populations: Iterable[Population],
        detection: "bool | float | Mapping[int, Any]",
    ) -> None:
        self._h, self._context = h, h.ParallelContext()
        self._connections = {
            population.name: [
                (cell.id, self._connection(cell, detection)) for cell in population.cells
            ]
            for population in populations
        }
        self._vectors: dict[str, tuple[Any, Any]] = {}
        self._hoc_names: list[str] = []

    def start(self) -> None:
        """Start recording spikes."""
        for population, cells in self._connections.items():
            times, ids = self._vectors[population] = self._h.Vector(), self._h.Vector()
            times_name, ids_name = self._hoc_name(times), self._hoc_name(ids)
            for number, connection in cells:
                if connection is None:
                    self._context.spike_record(number, times, ids)
                else:
                    connection.record(f"{times_name}.append(t) {ids_name}.append({number})")

    def stop(self) -> None:
        """Stop recording; ``new_spikes`` still returns the last spikes."""
        for cells in self._connections.values():
            for _, connection in cells:
                if connection is not None:
                    connection.record("")
        for name in self._hoc_names:
            self._h(f"objref {name}")
        self._connections, self._hoc_names = {}, []

    def new_spikes(self) -> Iterator[Spikes]:
        """Return the spikes since the last call, by population."""
        for name, (times, ids) in self._vectors.items():
            if times.size():
                milliseconds, numbers = np.array(times), np.array(ids)
                times.resize(0)
                ids.resize(0)
                yield Spikes(name, numbers.astype(np.int64), milliseconds / 1000.0)

    def _hoc_name(self, vector: Any) -> str:
        """Assign a vector to a new hoc variable and return its name."""
        name = f"ndx_spikes_{next(_NUMBERS)}"
        self._h(f"objref {name}")
        setattr(self._h, name, vector)
        self._hoc_names.append(name)
        return name

    def _connection(self, cell: Cell, detection: "bool | float | Mapping[int, Any]") -> Any:
        if isinstance(detection, Mapping):
            if cell.id not in detection:
                msg = f"spikes has no NetCon for cell {cell.id}; expected one for each cell"
                raise RecordingError(msg)
            return detection[cell.id]
        return self._of_gid(cell) if detection is True else self._at_threshold(cell, detection)

    def _of_gid(self, cell: Cell) -> Any:
        """Return a ``NetCon`` from the source of the gid of a cell; None if not a potential."""
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

    def _at_threshold(self, cell: Cell, threshold: float) -> Any:
        section = cell.sections[min(cell.sections)]
        connection = self._h.NetCon(section(0.5)._ref_v, None, sec=section)  # noqa: SLF001 - NEURON's
        others = len(connection.prelist()) > 1
        if others and connection.threshold != threshold:
            msg = (
                f"{section.name()} has a NetCon whose threshold is {connection.threshold} mV, and "
                f"another one would change it to {threshold} mV; expected "
                f"spikes={connection.threshold}, or spikes={{id: NetCon}}"
            )
            raise RecordingError(msg)
        connection.threshold = threshold
        return connection
