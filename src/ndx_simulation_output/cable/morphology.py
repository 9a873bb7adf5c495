"""Branched cells cut into compartments, and the resistances between those."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ndx_simulation_output.cable.parameters import Parameters

__all__ = ["Cables", "axial_conductances", "grow_cell", "join"]

_CM2_PER_UM2 = 1e-8
_MEGOHM_UM_PER_OHM_CM = 1e-2


@dataclass(frozen=True)
class Cables:
    """Cylindrical compartments of any number of cells, the soma of each cell first.

    ``cells`` (row of the cell), ``sections`` (0 is the soma), ``positions`` (0 to 1 along the
    section), ``parents`` (index of the next compartment towards the soma, -1 at the soma),
    ``lengths`` and ``diameters`` (µm) have shape (compartment,); ``centers`` (µm) has shape
    (compartment, 3).
    """

    cells: NDArray[np.int64]
    sections: NDArray[np.int64]
    positions: NDArray[np.float64]
    parents: NDArray[np.int64]
    lengths: NDArray[np.float64]
    diameters: NDArray[np.float64]
    centers: NDArray[np.float64]

    def __len__(self) -> int:
        """Give the number of compartments."""
        return len(self.parents)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Membrane area of each compartment in cm², without the ends of the cylinder."""
        return np.pi * self.diameters * self.lengths * _CM2_PER_UM2

    @property
    def somata(self) -> NDArray[np.int64]:
        """Index of the soma of each cell; shape (cell,)."""
        return np.flatnonzero(self.parents < 0)


def join(parts: Sequence[Cables]) -> Cables:
    """Put the compartments of ``parts`` one part after the other."""
    columns = [[getattr(part, field.name) for part in parts] for field in fields(Cables)]
    return Cables(*(np.concatenate(column) for column in columns))


def grow_cell(rng: Generator, parameters: Parameters, *, cell: int, first: int) -> Cables:
    """Draw the cell of row ``cell``, whose soma has index ``first`` among all compartments.

    Each dendritic section starts at the centre of the soma or at the end of an earlier section and
    runs straight. Consecutive cells differ in their number of sections.
    """
    p = parameters
    center = rng.uniform(-p.layer_half_width, p.layer_half_width, size=3)
    half = np.array([0.0, p.soma_diameter / 2, 0.0])
    soma = np.array([center - half, center + half])
    parts = [_section(cell, 0, np.array([-1]), soma, p.soma_diameter)]
    tips = [(first, center)]
    choices = p.most_dendrites - p.least_dendrites + 1
    for section in range(1, p.least_dendrites + cell % choices + 1):
        stem, start = tips[rng.integers(section)]
        points = _draw_points(rng, p, start)
        begin = first + sum(len(part) for part in parts)
        end = begin + len(points) - 2
        parents = np.array([stem, *range(begin, end)])
        parts.append(_section(cell, section, parents, points, p.dendrite_diameter))
        tips.append((end, points[-1]))
    return join(parts)


def axial_conductances(cables: Cables, resistivity: float) -> NDArray[np.float64]:
    """Matrix G (µS), shape (compartment, compartment): G @ v is the axial current (nA) that enters.

    Neighbours are joined by the resistance of the two half cylinders between their centres, at an
    axial ``resistivity`` in Ω cm. Rows and columns sum to zero: what enters one leaves another.
    """
    cross_sections = np.pi * cables.diameters**2 / 4
    halves = resistivity * cables.lengths / 2 / cross_sections * _MEGOHM_UM_PER_OHM_CM
    child = np.flatnonzero(cables.parents >= 0)
    parent = cables.parents[child]
    matrix = np.zeros((len(cables), len(cables)))
    matrix[child, parent] = matrix[parent, child] = 1 / (halves[child] + halves[parent])
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _draw_points(
    rng: Generator, parameters: Parameters, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw the ends (µm) of the compartments of a straight dendrite: (compartment + 1, 3)."""
    low, high = parameters.least_compartments, parameters.most_compartments
    steps = np.arange(rng.integers(low, high, endpoint=True) + 1)
    direction = rng.normal(size=3)
    direction *= parameters.compartment_length / np.linalg.norm(direction)
    return start + steps[:, np.newaxis] * direction


def _section(
    cell: int,
    section: int,
    parents: NDArray[np.int64],
    points: NDArray[np.float64],
    diameter: float,
) -> Cables:
    """Cut a section into a compartment between each two consecutive ``points`` (µm)."""
    count = len(parents)
    return Cables(
        cells=np.full(count, cell),
        sections=np.full(count, section),
        positions=(np.arange(count) + 0.5) / count,
        parents=parents,
        lengths=np.linalg.norm(np.diff(points, axis=0), axis=1),
        diameters=np.full(count, diameter),
        centers=(points[1:] + points[:-1]) / 2,
    )
