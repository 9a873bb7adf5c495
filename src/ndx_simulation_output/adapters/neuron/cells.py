"""The cells of a running NEURON model, and their sections."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ndx_simulation_output.errors import RecordingError

__all__ = ["Cell", "Population", "find_populations"]


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
