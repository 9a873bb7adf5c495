"""Arrays that are no report: of any type and shape, with an independent variable of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ndx_simulation_output.recording.arrays import LazyArray

__all__ = ["ArrayGroup", "OwnArray"]


@dataclass(frozen=True)
class OwnArray:
    """An array as its source has it: ``values`` of any type, any shape, empty or not.

    ``section`` and ``variable`` say what it is about, ``detail`` what else the source says.
    """

    section: str
    variable: str
    values: LazyArray
    detail: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArrayGroup:
    """Arrays that share an independent variable ``x``; they need not have as many values as it.

    ``x`` is in ``x_unit``, empty where that is not known, and None where the source has lost it. A
    group may have no arrays: then it keeps ``x`` as the source has it.
    """

    name: str
    arrays: tuple[OwnArray, ...] = ()
    x: LazyArray | None = None
    x_unit: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
