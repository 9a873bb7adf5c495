"""Morphology of neurons: sections with their points and diameters."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, source_errors

_BRACKETS = re.compile(r"(\w+)\[(\d+)\]")
_SECTION = re.compile(r"\s*Section: (.*) which has (\d+) 3D point")
_VERSION = re.compile(r"NEURON -- VERSION (\S+)")
_NSEG = "numberInternalDivisions"
FORMAT = "Neuronvisio"
"""Format in the provenance of reports whose ``geometry`` is NeuroML text."""


@dataclass(frozen=True)
class Section:
    """A section: its full ``name``, the name of its ``cell``, and its number of segments.

    ``number`` is the index of the section in its cell. ``points`` are x, y, z and diameter in
    micrometres, shape (point, 4), or (0, 4). ``stored`` is the name in NeuroML and in files.
    """

    name: str
    cell: str
    number: int
    nseg: int = 1
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    stored: str = ""

    def recorded_position(self) -> float:
        """Return the centre of the segment that NEURON selects for 0.5, from 0 to 1."""
        return (min(int(0.5 * self.nseg), self.nseg - 1) + 0.5) / self.nseg

    def coordinates_at(self, position: float) -> NDArray[np.float64]:
        """Return x, y, z and diameter at a position, NaN without points; shape (4,)."""
        if not len(self.points) or np.isnan(position):
            return np.full(4, np.nan)
        with np.errstate(all="ignore"):
            steps = np.linalg.norm(np.diff(self.points[:, :3], axis=0), axis=1)
            arc = np.concatenate([[0.0], np.cumsum(steps)])
        return np.array([np.interp(position * arc[-1], arc, column) for column in self.points.T])


@dataclass(frozen=True)
class Geometry:
    """The sections of all cells, and the NeuroML text that describes them, if there is one."""

    sections: tuple[Section, ...] = ()
    text: str | None = None
    version: str | None = None

    @cached_property
    def by_name(self) -> Mapping[str, Section]:
        """The sections by full name, without sections whose names are not unique."""
        counts = Counter(section.name for section in self.sections)
        return {section.name: section for section in self.sections if counts[section.name] == 1}

    @cached_property
    def by_stored_name(self) -> Mapping[str, tuple[Section, ...]]:
        """The sections by each name that any version of Neuronvisio uses for them in a file."""
        found: dict[str, list[Section]] = {}
        for section in self.sections:
            for name in {section.name, sanitized(section.name), section.stored}:
                found.setdefault(name, []).append(section)
        return {name: tuple(sections) for name, sections in found.items()}

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The names of the cells, in order."""
        return tuple(dict.fromkeys(section.cell for section in self.sections))


def sanitized(name: str) -> str:
    """Return the name of a section in a file: no cell name, and ``dend_1`` for ``dend[1]``.

    Example
    -------
    >>> sanitized("MSP_Cell[0].dend1_1[1]")
    'dend1_1_1'

    """
    name = name.rpartition(".")[2]
    found = _BRACKETS.match(name)
    return f"{found[1]}_{found[2]}" if found else name


def read_neuroml(text: str, where: str) -> Geometry:
    """Read the sections from NeuroML 1 text written by NEURON; the result includes the text.

    Full names of sections are in comments; without these, the names of the cables are used.
    ``where`` is the name of the file and object, for messages.

    """
    reader = _Reader(where)
    with source_errors(f"{where} cannot be read as NeuroML"):
        reader.parser.Parse(text.encode(), True)  # noqa: FBT003 - expat takes no keywords
    return Geometry(tuple(reader.sections), text, reader.version)


@dataclass
class _Cable:
    stored: str = ""
    name: str | None = None
    nseg: int = 1
    is_drawn: bool = True
    points: list[tuple[float, ...]] = field(default_factory=list)


class _Reader:
    """Collects the sections while the text is parsed."""

    def __init__(self, where: str) -> None:
        self.sections: list[Section] = []
        self.version: str | None = None
        self._where = where
        self._cell = ""
        self._cables: dict[str, _Cable] = {}
        self._cable = _Cable()
        self._announced: tuple[str, bool] | None = None
        self._text: list[str] = []
        self._tag = ""
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CommentHandler = self._comment
        self.parser.CharacterDataHandler = self._text.append

    def _refuse(self, *_: object) -> None:
        # A document type can define entities that expand without bound.
        msg = f"{self._where} declares a document type; expected NeuroML, which has none"
        raise SourceError(msg)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._text.clear()
        tag = name.rpartition(" ")[2]
        if tag == "cell":
            self._cell, self._cables = attributes.get("name", ""), {}
        elif tag in {"segment", "cable"}:
            key = attributes.get("cable" if tag == "segment" else "id", "")
            self._cable = self._cables.setdefault(key, _Cable())
            if tag == "cable":
                self._cable.stored = attributes.get("name", "")
            elif self._announced is not None:
                (self._cable.name, self._cable.is_drawn), self._announced = self._announced, None
        elif tag in {"proximal", "distal"}:
            values = (attributes.get(key, "nan") for key in ("x", "y", "z", "diameter"))
            self._cable.points.append(tuple(map(float, values)))

    def _end(self, name: str) -> None:
        tag, text = name.rpartition(" ")[2], "".join(self._text).strip()
        if tag == "tag":
            self._tag = text
        elif tag == "value" and self._tag == _NSEG:
            self._cable.nseg = max(1, int(text))
        elif tag == "notes" and self.version is None and (found := _VERSION.search(text)):
            self.version = found[1]
        elif tag == "cell":
            for number, cable in enumerate(self._cables.values()):
                points = np.asarray(cable.points if cable.is_drawn else [], np.float64).reshape(
                    -1, 4
                )
                name = cable.name or cable.stored
                self.sections.append(
                    Section(name, self._cell, number, cable.nseg, points, cable.stored)
                )
            self._cables = {}

    def _comment(self, text: str) -> None:
        if found := _SECTION.match(text):
            # Files of this package contain a placeholder segment for a section without points.
            self._announced = found[1], found[2] != "0"
