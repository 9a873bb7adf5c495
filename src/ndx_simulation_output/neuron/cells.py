"""Find the cells of a running NEURON model and their sections."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ndx_simulation_output.errors import RecordingError, WrongTypeError
from ndx_simulation_output.neuron.netpyne import cells_of, netpyne_network, tags_of
from ndx_simulation_output.recording.ids import check_ids

_GIDS = 2**31
"""NEURON stores gids as int."""


@dataclass(frozen=True)
class Cell:
    """A cell: its id, and its recorded sections by their number in the cell.

    ``origin`` of its spikes is its first section, or an artificial cell, or None if only its gid is
    known.
    """

    id: int
    sections: Mapping[int, Any]
    origin: Any = None


@dataclass(frozen=True)
class Population:
    """Cells with different ids, and their properties ``columns``, shape (cell,)."""

    name: str
    cells: tuple[Cell, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)


class Selection:
    """The sections and segments to record: all if ``given`` is None.

    ``given`` is a section, a segment, or an iterable of them; ``of`` completes messages.

    Raises RecordingError for anything else, and for the ends of sections, which are no segments.
    """

    def __init__(self, given: Any, of: str = "to record") -> None:
        self._is_all = given is None
        self._sections: set[Any] = set()
        self._segments: dict[Any, set[int]] = {}
        is_one = _is_section(given) or _is_segment(given)
        items = [given] if is_one or isinstance(given, str | bytes | Mapping) else given
        try:
            items = () if items is None else list(items)
        except TypeError:
            items = [given]
        for item in items:
            if _is_section(item):
                self._sections.add(item)
            elif _is_segment(item) and 0 < item.x < 1:
                self._segments.setdefault(item.sec, set()).add(_number(item))
            else:
                msg = (
                    f"the sections {of} have {item!r}; expected sections, or segments between the "
                    "ends of a section, such as dend(0.5)"
                )
                raise RecordingError(msg)

    def has_any(self, section: Any) -> bool:
        """Return True if a segment of the section is chosen."""
        return self._is_all or section in self._sections or section in self._segments

    def among(self, section: Any, segments: list[Any]) -> list[Any]:
        """Return those of the ``segments`` of a section that are chosen."""
        if self._is_all or section in self._sections:
            return segments
        numbers = self._segments.get(section, ())
        return [segment for segment in segments if _number(segment) in numbers]


def _number(segment: Any) -> int:
    """Return the number of the segment at this position of its section."""
    return min(int(segment.x * segment.sec.nseg), int(segment.sec.nseg) - 1)


def find_populations(
    h: Any, chosen: Selection, cells: Any, population: str
) -> tuple[Population, ...]:
    """Return the cells that have ``chosen`` segments.

    ``cells`` are the ids of the cells: None (counted from 0), gids of the ``ParallelContext``, a
    dict of cells by id, or a dict of either by the name of the population. Sections that belong to
    no object form one cell for each tree. Artificial cells have no sections. Those of NetPyNE are
    found without ``cells``, with their populations and tags.
    """
    known = _Sections(h)
    network = netpyne_network(cells)
    if network is not None:
        cells = cells_of(network)
    if cells is None:
        by_population: Mapping[str, Any] = {population: dict(enumerate(known.by_owner.values()))}
    elif isinstance(cells, Mapping) and all(isinstance(key, str) for key in cells) and cells:
        by_population = cells
    else:
        by_population = {population: cells}
    found = []
    for name, ids_or_cells in by_population.items():
        listed = list(_cells_by_id(h, ids_or_cells))
        ids = np.array([cell_id for cell_id, _ in listed])
        check_ids(ids, f"the ids in cells of population {name!r}")
        members = [_cell(known, int(cell_id), cell, chosen) for cell_id, cell in listed]
        if cells is None:
            members = [cell for cell in members if cell.sections]
        columns = {} if network is None else tags_of(network, name)
        found.append(Population(name, tuple(members), columns))
    _check_owners(found)
    return tuple(found)


def _cell(known: "_Sections", cell_id: int, cell: Any, chosen: Selection) -> Cell:
    if is_point_process(cell):
        return Cell(cell_id, {}, cell)
    sections = known.of(cell_id, cell)
    recorded = {
        number: section for number, section in enumerate(sections) if chosen.has_any(section)
    }
    return Cell(cell_id, recorded, sections[0] if sections else None)


class _Sections:
    """All sections of the model, grouped by the object or tree to which they belong."""

    def __init__(self, h: Any) -> None:
        self._h = h
        self.by_owner: dict[Any, list[Any]] = {}
        for section in h.allsec():
            self.by_owner.setdefault(self._owner(section), []).append(section)

    def of(self, cell_id: int, cell: Any) -> list[Any]:
        """Return the sections of a cell: an object, a section of a tree, or a list of sections.

        Empty if an object without sections has a gid in the ``ParallelContext``.
        """
        owned = None if isinstance(cell, list) else self.by_owner.get(_key(cell))
        if owned is not None:
            return owned
        if _is_section(cell):
            return self.by_owner[self._owner(cell)]
        try:
            listed = list(cell)
        except TypeError:
            listed = []
            if has_gid(self._h, cell_id):
                return listed
        if listed and all(_is_section(section) for section in listed):
            return listed
        msg = (
            f"no section belongs to the cell {cell!r} of id {cell_id}; expected an object with "
            "sections (h.Section(name=…, cell=…), or a template), a list of sections, an "
            "artificial cell, or an id that is its gid"
        )
        raise RecordingError(msg)

    def _owner(self, section: Any) -> Any:
        cell = section.cell()
        return _key(self._h.SectionRef(sec=section).root if cell is None else cell)


def _key(owner: Any) -> Any:
    if _is_section(owner):
        return owner
    # Each access to a hoc object creates a new Python wrapper; Python objects may be unhashable.
    return owner.hname() if hasattr(type(owner), "hname") else id(owner)


# The types are asked, because cells of NetPyNE pretend to have every attribute.
def _is_section(cell: Any) -> bool:
    return hasattr(type(cell), "parentseg")


def is_point_process(cell: Any) -> bool:
    """Return True for an artificial cell, or another point process."""
    return hasattr(type(cell), "hname") and not _is_section(cell) and hasattr(cell, "has_loc")


def has_gid(h: Any, cell_id: int) -> bool:
    """Return True if an id is a gid of this process in the ``ParallelContext``."""
    return cell_id < _GIDS and bool(h.ParallelContext().gid_exists(cell_id))


def _is_segment(item: Any) -> bool:
    return hasattr(type(item), "sec") and hasattr(type(item), "x")


def _cells_by_id(h: Any, cells: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(cells, Mapping):
        yield from cells.items()
        return
    context = h.ParallelContext()
    try:
        gids = list(cells)
        check_ids(np.array(gids), "the gids in cells")
    except (TypeError, ValueError, WrongTypeError) as error:
        msg = f"cells are {cells!r}; expected gids, or cells by their id as a dict, {{id: cell}}"
        raise RecordingError(msg) from error
    for gid in gids:
        if not has_gid(h, gid):
            msg = f"this process has no cell of gid {gid}; expected gids for which gid_exists()"
            raise RecordingError(msg)
        cell = context.gid2cell(gid)
        cell = context.gid2obj(gid) if cell is None else cell
        if cell is None:
            msg = f"gid {gid} belongs to no cell object; pass cells as a dict, {{gid: cell}}"
            raise RecordingError(msg)
        yield gid, cell


def _check_owners(populations: Iterable[Population]) -> None:
    """Check that each section and each artificial cell belongs to one cell."""
    owners: dict[Any, str] = {}
    for population in populations:
        for cell in population.cells:
            name = f"cell {cell.id} of population {population.name!r}"
            origin = [] if cell.origin is None else [_key(cell.origin)]
            for part in cell.sections.values() or origin:
                if owners.setdefault(part, name) != name:
                    msg = (
                        f"{part} belongs to {owners[part]} and to {name}; expected one cell for "
                        "each section or artificial cell"
                    )
                    raise RecordingError(msg)
