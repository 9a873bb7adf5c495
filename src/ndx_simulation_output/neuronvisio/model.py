"""Read the sections of a NEURON model without modifying it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.morphology import Geometry, Section, sanitized

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<neuroml xmlns="http://morphml.org/neuroml/schema"
    xmlns:meta="http://morphml.org/metadata/schema"
    name="The sections of a model in NEURON" lengthUnits="micron">
<meta:notes>NeuroML Level 1 of a model in NEURON -- VERSION {version}</meta:notes>
<cells>
"""
_NSEG = """<meta:properties><meta:property><meta:tag>numberInternalDivisions</meta:tag>
<meta:value>{nseg}</meta:value></meta:property></meta:properties>"""


class LiveSection(Protocol):
    """The attributes and methods of a NEURON section that this module uses."""

    L: float
    nseg: int

    def name(self) -> str:
        """Return the full name, such as ``Cell[0].dend[1]``."""

    def cell(self) -> Any:
        """Return the cell, or None."""

    def parentseg(self) -> Any:
        """Return the segment that the section is connected to, or None."""

    def n3d(self) -> int:
        """Return the number of 3-D points."""


@dataclass(frozen=True)
class _Drawn:
    """A section with 3-D points: its own, or the two ends of a line if it has none."""

    section: Section
    points: NDArray[np.float64]
    parent: "_Drawn | None"
    parent_x: float


def read_geometry(sections: Iterable[LiveSection], version: str) -> tuple[Geometry, dict[Any, Any]]:
    """Return the geometry of a model, and a dict from NEURON sections to geometry sections.

    Sections without 3-D points have no points in the geometry. In the NeuroML text they are written
    as lines, because Neuronvisio requires points, and marked by a comment.
    """
    live = list(sections)
    names = _stored_names([section.name() for section in live])
    cells = _Cells()
    found: dict[Any, Section] = {}
    for section, stored in zip(live, names, strict=True):
        cell, number = cells.of(section)
        points = _points(section)
        found[section] = Section(section.name(), cell, number, int(section.nseg), points, stored)
    text = "".join(_neuroml(_drawn(live, found), version))
    return Geometry(tuple(found.values()), text, version), found


def _stored_names(names: list[str]) -> list[str]:
    """Return the name of each section in a storage, without the cell name if that is unique."""
    taken: dict[str, None] = {}
    for name in names:
        short = sanitized(name)
        qualified = re.sub(r"\W+", "_", name).strip("_")
        candidate, count = (short if short not in taken else qualified), 1
        while candidate in taken:
            count += 1
            candidate = f"{qualified}_{count}"
        taken[candidate] = None
    return list(taken)


class _Cells:
    """Assigns unique names to cells, and numbers to the sections of each cell."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[Any, str] = {}
        self._roots: dict[Any, Any] = {}

    def of(self, section: LiveSection) -> tuple[str, int]:
        cell = section.cell()
        key = self._root(section) if cell is None else cell
        if key not in self._names:
            name = key.name() if cell is None else str(cell)
            wanted, count = name, 1
            while name in self._counts:
                count += 1
                name = f"{wanted} ({count})"
            self._names[key] = name
            self._counts[name] = 0
        name = self._names[key]
        self._counts[name] += 1
        return name, self._counts[name] - 1

    def _root(self, section: Any) -> Any:
        path = [section]
        while path[-1] not in self._roots and (parent := path[-1].parentseg()) is not None:
            path.append(parent.sec)
        root = self._roots.get(path[-1], path[-1])
        self._roots.update(dict.fromkeys(path, root))
        return root


def _points(section: Any) -> NDArray[np.float64]:
    rows = [
        (section.x3d(i), section.y3d(i), section.z3d(i), section.diam3d(i))
        for i in range(int(section.n3d()))
    ]
    return np.asarray(rows, np.float64).reshape(-1, 4)


def _drawn(live: list[Any], found: dict[Any, Section]) -> Iterator[_Drawn]:
    """Yield sections with points, parents before their children."""
    drawn: dict[Any, _Drawn] = {}
    for section in live:
        path = [section]
        while path[-1] not in drawn and (parent := path[-1].parentseg()) is not None:
            path.append(parent.sec)
        for part in reversed(path):
            if part not in drawn:
                drawn[part] = _draw(part, found[part], drawn)
    yield from drawn.values()


def _draw(live: Any, section: Section, drawn: dict[Any, _Drawn]) -> _Drawn:
    parent = live.parentseg()
    above = None if parent is None else drawn[parent.sec]
    x = 0.0 if parent is None else float(parent.x)
    points = section.points
    if len(points) < 2:
        start = np.zeros(3) if above is None else _along(above.points, x)
        ends = np.array([start, start + np.array([float(live.L), 0.0, 0.0])])
        points = np.column_stack([ends, np.full(2, float(live(0.5).diam))])
    return _Drawn(section, points, above, x)


def _along(points: NDArray[np.float64], position: float) -> NDArray[np.float64]:
    return Section("", "", 0, points=points).coordinates_at(position)[:3]


def _neuroml(drawn: Iterable[_Drawn], version: str) -> Iterator[str]:
    """Yield NeuroML 1 as NEURON writes it: each cell with its segments and its cables."""
    cells: dict[str, list[_Drawn]] = {}
    for part in drawn:
        cells.setdefault(part.section.cell, []).append(part)
    yield _HEAD.format(version=version)
    last: dict[str, list[int]] = {}
    segment = cable = 0
    for cell, parts in cells.items():
        yield f"<cell name={quoteattr(cell)}>\n"
        yield '<segments xmlns="http://morphml.org/morphml/schema">\n'
        cables = []
        for part in parts:
            ids = list(range(segment, segment + len(part.points) - 1))
            yield from _segments(part, ids, cable, last)
            cables.append(_cable(part, cable))
            last[part.section.stored] = ids
            segment, cable = segment + len(ids), cable + 1
        yield '</segments>\n<cables xmlns="http://morphml.org/morphml/schema">\n'
        yield from cables
        yield "</cables>\n</cell>\n"
    yield "</cells>\n</neuroml>\n"


def _segments(
    part: _Drawn, ids: list[int], cable: int, last: dict[str, list[int]]
) -> Iterator[str]:
    name, count = part.section.name.replace("--", "- -"), len(part.section.points)
    yield f"<!-- Section: {name} which has {count} 3D points, so {len(ids)} segment(s)-->\n"
    parent = None
    # The parent may belong to a cell that is written later.
    if part.parent is not None and (above := last.get(part.parent.section.stored)):
        parent = above[min(int(part.parent_x * len(above)), len(above) - 1)]
    for number, (key, (start, end)) in enumerate(
        zip(ids, zip(part.points, part.points[1:], strict=False), strict=True)
    ):
        link = "" if parent is None else f' parent="{parent}"'
        label = quoteattr(f"Seg{number}_{part.section.stored}")
        yield f'<segment id="{key}" name={label}{link} cable="{cable}">\n'
        if number == 0:
            yield f"  <proximal {_point(start)}/>\n"
        yield f"  <distal {_point(end)}/>\n</segment>\n"
        parent = key


def _point(values: NDArray[np.float64]) -> str:
    names = ("x", "y", "z", "diameter")
    return " ".join(
        f'{name}="{value!r}"' for name, value in zip(names, values.tolist(), strict=True)
    )


def _cable(part: _Drawn, cable: int) -> str:
    inside = _NSEG.format(nseg=part.section.nseg) if part.section.nseg > 1 else ""
    fraction = "" if part.parent_x == 1.0 else f' fract_along_parent="{part.parent_x:g}"'
    name = quoteattr(part.section.stored)
    return f'<cable id="{cable}" name={name}{fraction}>{inside}</cable>\n'
