"""References to what was recorded in a section or synapse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.morphology import Geometry, Section

# What a Neuronvisio storage or Manager holds: groups of references, each with its vectors.

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


# The references that a manager keeps: what was recorded in one section or synapse.


class BaseRef:
    """What was recorded in one section; subclass it to keep values of other kinds.

    ``vecs`` maps the names of variables to lists, numpy arrays of any shape, or vectors of NEURON.
    ``group_id`` names the group of references that share an independent variable: by default it is
    the name of the class. ``detail`` is any text.

    Example
    -------
    >>> ref = BaseRef()
    >>> ref.sec_name, ref.vecs = "dend[1]", {"ca": [0.1, 0.2]}
    >>> ref.group_id
    'BaseRef'

    """

    def __init__(self) -> None:
        """Make a reference without vectors."""
        self.sec_name = ""
        self.detail: str | None = ""
        self.vecs: dict[str, Any] = {}
        self.group_id = type(self).__name__


class VecRef(BaseRef):
    """Variables of one section, recorded at its position 0.5.

    ``sec`` is a section of NEURON, or the name of one that is not there.
    """

    def __init__(self, sec: Any) -> None:
        """Make a reference to a section."""
        super().__init__()
        self.sec = None if isinstance(sec, str) else sec
        self.sec_name = sec if isinstance(sec, str) else sec.name()
        self.pickable = False
        self.group_id = VECTORS


class SynVecRef(BaseRef):
    """Variables of one synapse; ``chan_type`` is kept as its detail."""

    def __init__(
        self,
        chan_type: str | None = None,
        section_name: str | None = None,
        vecs: dict[str, Any] | None = None,
    ) -> None:
        """Make a reference to a synapse of a section."""
        super().__init__()
        self.detail = chan_type
        self.sec_name = section_name or ""
        self.vecs = {} if vecs is None else vecs
        self.group_id = SYNAPSES


def values_of(vector: Any, what: str = "a vector") -> NDArray[Any]:
    """Give the values of a list, an array, or a vector of NEURON, which may go on to grow.

    Raises
    ------
    ShapeMismatchError
        If lists in a list differ in length.

    """
    if hasattr(vector, "as_numpy"):
        # A view of an empty vector is one of nothing; others end when the vector grows.
        return np.array(vector.as_numpy()) if vector.size() else np.zeros(0)
    try:
        return np.asarray(vector)
    except ValueError as error:
        msg = f"{what} is no array: {error}"
        raise ShapeMismatchError(msg) from error


def described(ref: Any, geometry: Geometry, places: Mapping[Any, Section]) -> Ref:
    """Give what a reference holds now; ``places`` are those of sections of NEURON."""
    name = ref.sec_name or ""
    live = getattr(ref, "sec", None)
    place = geometry.by_name.get(name) if live is None else places.get(live)
    vecs = {
        str(variable): values_of(vector, f"{variable} of {name}")
        for variable, vector in (ref.vecs or {}).items()
    }
    return Ref(name, vecs, ref.detail or "", place=place)


def restored(group: str, ref: Ref) -> BaseRef:
    """Make a reference of what was read; values are read into memory."""
    made: BaseRef
    if group == VECTORS:
        made = VecRef(ref.section)
    elif group == SYNAPSES:
        made = SynVecRef(section_name=ref.section)
    else:
        made = BaseRef()
        made.group_id, made.sec_name = group, ref.section
    made.detail = ref.detail
    made.vecs = {variable: read_all(values) for variable, values in ref.vecs.items()}
    return made
