"""References: the vectors that were recorded in a section or synapse, and their groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.morphology import Geometry, Section

VECTORS = "VecRef"
"""Group of the variables of sections, all at position 0.5."""
SYNAPSES = "SynVecRef"
"""Group of the variables of synapses."""


@dataclass(frozen=True)
class Ref:
    """The vectors of one section, by the names of their variables.

    ``section`` is the full name of the section, ``stored`` is its name in the file, and ``place``
    is the section in the geometry, or None if it is unknown.
    """

    section: str
    vecs: Mapping[str, LazyArray]
    detail: str = ""
    stored: str = ""
    place: Section | None = None


@dataclass(frozen=True)
class RefGroup:
    """References with a common independent variable ``x``, which is None if there is none."""

    name: str
    x: LazyArray | None
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True)
class Contents:
    """All groups, the geometry of the model, and ``notes`` on the source."""

    groups: tuple[RefGroup, ...]
    geometry: Geometry = field(default_factory=Geometry)
    notes: tuple[str, ...] = ()


class BaseRef:
    """Vectors of one section; subclass it for other kinds of values.

    ``vecs`` maps the names of variables to lists, numpy arrays of any shape, or vectors of NEURON.
    ``group_id`` names the group of references that share an independent variable: by default it is
    the name of the class. ``detail`` is an arbitrary text.

    Example
    -------
    >>> ref = BaseRef()
    >>> ref.sec_name, ref.vecs = "dend[1]", {"ca": [0.1, 0.2]}
    >>> ref.group_id
    'BaseRef'

    """

    def __init__(self) -> None:
        """Create a reference without vectors."""
        self.sec_name = ""
        self.detail: str | None = ""
        self.vecs: dict[str, Any] = {}
        self.group_id = type(self).__name__


class VecRef(BaseRef):
    """Variables of one section, recorded at its position 0.5.

    ``sec`` is a section of NEURON, or the name of a section.
    """

    def __init__(self, sec: Any) -> None:
        """Create a reference to a section."""
        super().__init__()
        self.sec = None if isinstance(sec, str) else sec
        self.sec_name = sec if isinstance(sec, str) else sec.name()
        self.pickable = False
        self.group_id = VECTORS


class SynVecRef(BaseRef):
    """Variables of one synapse; its detail is ``chan_type``."""

    def __init__(
        self,
        chan_type: str | None = None,
        section_name: str | None = None,
        vecs: dict[str, Any] | None = None,
    ) -> None:
        """Create a reference to a synapse of a section."""
        super().__init__()
        self.detail = chan_type
        self.sec_name = section_name or ""
        self.vecs = {} if vecs is None else vecs
        self.group_id = SYNAPSES


def values_of(vector: Any, what: str = "a vector") -> NDArray[Any]:
    """Return the values of a list, array or NEURON vector; NEURON vectors are copied."""
    if hasattr(vector, "as_numpy"):
        # A view becomes invalid when the vector is resized, and an empty vector has no view.
        return np.array(vector.as_numpy()) if vector.size() else np.zeros(0)
    try:
        return np.asarray(vector)
    except ValueError as error:
        msg = f"{what} cannot be converted to an array: {error}"
        raise ShapeMismatchError(msg) from error


def described(ref: Any, geometry: Geometry, places: Mapping[Any, Section]) -> Ref:
    """Return a ``Ref`` with the current values; ``places`` maps NEURON to geometry sections."""
    name = ref.sec_name or ""
    live = getattr(ref, "sec", None)
    place = geometry.by_name.get(name) if live is None else places.get(live)
    vecs = {
        str(variable): values_of(vector, f"{variable} of {name}")
        for variable, vector in (ref.vecs or {}).items()
    }
    return Ref(name, vecs, ref.detail or "", place=place)


def restored(group: str, ref: Ref) -> BaseRef:
    """Convert a ``Ref`` to a reference of a manager, with its values in memory."""
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
