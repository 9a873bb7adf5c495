"""What a Neuronvisio storage or Manager holds: groups of references, each with its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ndx_simulation_output.adapters.neuronvisio.geometry import Geometry, Section
from ndx_simulation_output.recording import LazyArray

__all__ = ["SYNAPSES", "VECTORS", "Contents", "Ref", "RefGroup"]

VECTORS = "VecRef"
"""The group of what was recorded in sections, all at position 0.5."""
SYNAPSES = "SynVecRef"
"""The group of what was recorded in synapses."""


@dataclass(frozen=True)
class Ref:
    """The vectors of one section, by the names of their variables.

    ``section`` is the full name of the section, ``stored`` what the file calls it, and ``place``
    what the geometry says of it, None where that does not know it.
    """

    section: str
    vecs: Mapping[str, LazyArray]
    detail: str = ""
    stored: str = ""
    place: Section | None = None


@dataclass(frozen=True)
class RefGroup:
    """References that share the independent variable ``x``, None where the source has lost it."""

    name: str
    x: LazyArray | None
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True)
class Contents:
    """All groups, and the geometry of the model. ``notes`` say what was odd in the source."""

    groups: tuple[RefGroup, ...]
    geometry: Geometry = field(default_factory=Geometry)
    notes: tuple[str, ...] = ()
