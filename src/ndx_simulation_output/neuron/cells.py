"""Cells and sections of a running NEURON model, and their spikes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.recording import Spikes

# The cells of a running NEURON model, and their sections.


@dataclass(frozen=True)
class Cell:
    """A cell: its id, and its sections by their number in the cell."""

    id: int
    sections: Mapping[int, Any]


@dataclass(frozen=True)
class Population:
    """Cells that have different ids."""

    name: str
    cells: tuple[Cell, ...]


def find_populations(
    h: Any, sections: Iterable[Any] | None, cells: Any, population: str
) -> tuple[Population, ...]:
    """Find the cells that ``sections`` (all where None) belong to.

    ``cells`` tells ids: nothing (counted from 0), gids of the ``ParallelContext``, cells by id, or
    either by the name of their population. A cell is an object to which sections belong, or its
    sections. Sections of no cell are a cell for each tree. Sections that are not told of are left
    out where ids are given.

    Raises
    ------
    RecordingError
        If a cell cannot be found or has two ids.

    """
    every = _Sections(h)
    chosen = None if sections is None else set(sections)
    if cells is None:
        told: Mapping[str, Any] = {population: dict(enumerate(every.by_owner.values()))}
    elif isinstance(cells, Mapping) and all(isinstance(key, str) for key in cells) and cells:
        told = cells
    else:
        told = {population: cells}
    found = []
    for name, of_population in told.items():
        listed = ((int(number), every.of(cell)) for number, cell in _by_id(h, of_population))
        kept = (Cell(number, _kept(own, chosen)) for number, own in listed)
        found.append(Population(name, tuple(cell for cell in kept if cell.sections)))
    _check_apart(found)
    return tuple(found)


class _Sections:
    """All sections of the model, by what they belong to."""

    def __init__(self, h: Any) -> None:
        self._h = h
        self.by_owner: dict[Any, list[Any]] = {}
        for section in h.allsec():
            self.by_owner.setdefault(self._owner(section), []).append(section)

    def of(self, cell: Any) -> list[Any]:
        """Give the sections of a cell, or those that are given.

        Raises
        ------
        RecordingError
            If the cell has none.

        """
        if isinstance(cell, list):
            return cell
        owned = self.by_owner.get(_key(cell))
        if owned is not None:
            return owned
        if _is_section(cell):
            return self.by_owner[self._owner(cell)]
        try:
            return list(cell)
        except TypeError:
            msg = (
                f"no section belongs to the cell {cell!r}; expected an object that sections were "
                "made for (h.Section(name=…, cell=…), or a template), or a list of its sections"
            )
            raise RecordingError(msg) from None

    def _owner(self, section: Any) -> Any:
        cell = section.cell()
        return _key(self._h.SectionRef(sec=section).root if cell is None else cell)


def _key(owner: Any) -> Any:
    if _is_section(owner):
        return owner
    # Objects of hoc are wrapped anew each time; those of Python may not be hashable.
    return owner.hname() if hasattr(owner, "hname") else id(owner)


def _is_section(cell: Any) -> bool:
    return hasattr(cell, "nseg") and hasattr(cell, "parentseg")


def _by_id(h: Any, cells: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(cells, Mapping):
        yield from cells.items()
        return
    context = h.ParallelContext()
    for gid in cells:
        if not context.gid_exists(gid):
            msg = f"this process has no cell of gid {gid}; expected gids that gid_exists() knows"
            raise RecordingError(msg)
        cell = context.gid2cell(gid)
        if cell is None:
            msg = f"gid {gid} is of no cell object; give cells as a dict, {{gid: cell}}"
            raise RecordingError(msg)
        yield gid, cell


def _kept(sections: Iterable[Any], chosen: set[Any] | None) -> dict[int, Any]:
    return {
        number: section
        for number, section in enumerate(sections)
        if chosen is None or section in chosen
    }


def _check_apart(populations: Iterable[Population]) -> None:
    """Refuse sections that are recorded for two cells."""
    owners: dict[Any, str] = {}
    for population in populations:
        for cell in population.cells:
            name = f"cell {cell.id} of population {population.name!r}"
            for section in cell.sections.values():
                if owners.setdefault(section, name) != name:
                    msg = f"{section.name()} belongs to {owners[section]} and to {name}"
                    raise RecordingError(msg)


# The spikes of the cells of a running NEURON model.
#
# NEURON keeps one pair of vectors for the spikes of a cell, and who asks last gets them: NetPyNE
# and BioNet do. So each spike runs a statement of hoc, which a cell may have beside them. It is
# right with threads, where one of Python would wait for ever.

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
