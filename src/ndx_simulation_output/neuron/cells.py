"""Find the cells of a running NEURON model and their sections."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ndx_simulation_output.errors import RecordingError


@dataclass(frozen=True)
class Cell:
    """A cell: its id, and its recorded sections by their number in the cell."""

    id: int
    sections: Mapping[int, Any]


@dataclass(frozen=True)
class Population:
    """Cells with different ids."""

    name: str
    cells: tuple[Cell, ...]


def find_populations(
    h: Any, sections: Iterable[Any] | None, cells: Any, population: str
) -> tuple[Population, ...]:
    """Return the cells of ``sections``, or of all sections if None.

    ``cells`` are the ids of the cells: None (counted from 0), gids of the ``ParallelContext``, a
    dict of cells by id, or a dict of either by the name of the population. Sections that belong to
    no object form one cell for each tree.
    """
    known = _Sections(h)
    chosen = None if sections is None else set(sections)
    if cells is None:
        by_population: Mapping[str, Any] = {population: dict(enumerate(known.by_owner.values()))}
    elif isinstance(cells, Mapping) and all(isinstance(key, str) for key in cells) and cells:
        by_population = cells
    else:
        by_population = {population: cells}
    found = []
    for name, ids_or_cells in by_population.items():
        listed = (
            Cell(
                int(cell_id),
                {
                    number: section
                    for number, section in enumerate(known.of(cell))
                    if chosen is None or section in chosen
                },
            )
            for cell_id, cell in _cells_by_id(h, ids_or_cells)
        )
        found.append(Population(name, tuple(cell for cell in listed if cell.sections)))
    _check_owners(found)
    return tuple(found)


class _Sections:
    """All sections of the model, grouped by the object or tree to which they belong."""

    def __init__(self, h: Any) -> None:
        self._h = h
        self.by_owner: dict[Any, list[Any]] = {}
        for section in h.allsec():
            self.by_owner.setdefault(self._owner(section), []).append(section)

    def of(self, cell: Any) -> list[Any]:
        """Return the sections of a cell: an object, a section of a tree, or a list of sections."""
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
                f"no section belongs to the cell {cell!r}; expected an object with sections "
                "(h.Section(name=…, cell=…), or a template), or a list of sections"
            )
            raise RecordingError(msg) from None

    def _owner(self, section: Any) -> Any:
        cell = section.cell()
        return _key(self._h.SectionRef(sec=section).root if cell is None else cell)


def _key(owner: Any) -> Any:
    if _is_section(owner):
        return owner
    # Each access to a hoc object creates a new Python wrapper; Python objects may be unhashable.
    return owner.hname() if hasattr(owner, "hname") else id(owner)


def _is_section(cell: Any) -> bool:
    return hasattr(cell, "nseg") and hasattr(cell, "parentseg")


def _cells_by_id(h: Any, cells: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(cells, Mapping):
        yield from cells.items()
        return
    context = h.ParallelContext()
    for gid in cells:
        if not context.gid_exists(gid):
            msg = f"this process has no cell of gid {gid}; expected gids for which gid_exists()"
            raise RecordingError(msg)
        cell = context.gid2cell(gid)
        if cell is None:
            msg = f"gid {gid} belongs to no cell object; pass cells as a dict, {{gid: cell}}"
            raise RecordingError(msg)
        yield gid, cell


def _check_owners(populations: Iterable[Population]) -> None:
    """Check that each section belongs to one cell."""
    owners: dict[Any, str] = {}
    for population in populations:
        for cell in population.cells:
            name = f"cell {cell.id} of population {population.name!r}"
            for section in cell.sections.values():
                if owners.setdefault(section, name) != name:
                    msg = (
                        f"{section.name()} belongs to {owners[section]} and to {name}; expected "
                        "one cell for each section"
                    )
                    raise RecordingError(msg)
