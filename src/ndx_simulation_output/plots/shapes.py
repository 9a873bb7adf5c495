"""The shape of neurons as lines: a compartment is drawn as far as it is known to reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.neuronvisio import Section
from ndx_simulation_output.recording.reduced import Places

__all__ = ["Shape", "shape_of"]

_THINNEST, _THICKEST = 1.0, 8.0


@dataclass(frozen=True)
class Shape:
    """Lines and spots in space, in µm: each ``line`` has shape (point, 3).

    ``owners`` are indices of compartments, -1 for what was not recorded; ``widths`` are in points
    on paper. ``spots`` are indices of compartments that are drawn as points.
    """

    lines: tuple[NDArray[np.float64], ...]
    owners: NDArray[np.intp]
    widths: NDArray[np.float64]
    spots: NDArray[np.intp]


def shape_of(places: Places, sections: Mapping[tuple[int, int], Section]) -> Shape:
    """Give the shape of compartments, with their sections, by cell and number, where known.

    A section with a known course is drawn along it, each part in the colour of the recorded
    compartment that is nearest along the section. Else compartments of a section are joined: each
    reaches halfway to the next. Single ones are spots, for nothing says how long they are. Sections
    are not joined to each other: a table does not say which begins where.
    """
    lines: list[NDArray[np.float64]] = []
    owners: list[int] = []
    spots: list[int] = []
    diameters: list[float] = []
    drawn = set()
    for key, members in _by_section(places):
        section = sections.get(key)
        parts = list(
            _joined(places, members) if section is None else _along(section, places, members)
        )
        if not parts:
            spots.extend(members.tolist())
        for owner, line in parts:
            lines.append(line)
            owners.append(owner)
            diameters.append(places.diameters[owner])
        drawn.add(key)
    for key in sections.keys() - drawn:
        points = sections[key].points
        if len(points) > 1:
            lines.append(points[:, :3])
            owners.append(-1)
            diameters.append(float(np.mean(points[:, 3])))
    widths = np.clip(np.nan_to_num(np.asarray(diameters), nan=1.5), _THINNEST, _THICKEST)
    return Shape(tuple(lines), np.asarray(owners, np.intp), widths, np.asarray(spots, np.intp))


def _by_section(places: Places) -> Iterator[tuple[tuple[int, int], NDArray[np.intp]]]:
    """Give the compartments of each section of each cell, in the order of their positions."""
    order = np.lexsort((places.positions, places.numbers, places.cells))
    cells, numbers = places.cells[order], places.numbers[order]
    edges = np.flatnonzero((np.diff(cells) != 0) | (np.diff(numbers) != 0)) + 1
    for members in np.split(order, edges):
        if len(members):
            yield (int(places.cells[members[0]]), int(places.numbers[members[0]])), members


def _joined(places: Places, members: NDArray[np.intp]) -> Iterator[tuple[int, Any]]:
    """Give for each compartment the way from halfway before it to halfway behind it.

    The first and the last reach as far beyond their middle as they do towards the next.
    """
    points = places.points[members]
    if len(members) < 2:
        return
    halves = (points[1:] + points[:-1]) / 2
    ends = np.vstack([2 * points[0] - halves[0], halves, 2 * points[-1] - halves[-1]])
    for place, member in enumerate(members):
        yield int(member), np.stack([ends[place], points[place], ends[place + 1]])


def _along(
    section: Section, places: Places, members: NDArray[np.intp]
) -> Iterator[tuple[int, Any]]:
    """Cut the course of a section halfway between the positions of recorded compartments."""
    points = section.points[:, :3]
    if len(points) < 2:
        return
    at = np.nan_to_num(places.positions[members], nan=0.5)
    borders = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    arc = arc / (arc[-1] or 1.0)
    for place, member in enumerate(members):
        first, last = borders[place], borders[place + 1]
        inner = arc[(arc > first) & (arc < last)]
        ways = np.concatenate([[first], inner, [last]])
        yield int(member), np.column_stack([np.interp(ways, arc, axis) for axis in points.T])
