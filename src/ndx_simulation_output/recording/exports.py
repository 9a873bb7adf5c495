"""Arrays with labelled axes, in groups as deep as the source has them: what instruments give."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ndx_simulation_output.recording.arrays import LazyArray

__all__ = ["ExportArray", "ExportAxis", "ExportGroup", "is_nav_group"]

_NAV_AXES = "navaxes"


def is_nav_group(name: str) -> bool:
    """Tell whether a group of this name has the navigation axes of what is beside it."""
    return name.casefold() == _NAV_AXES


@dataclass(frozen=True)
class ExportAxis:
    """Values of an independent variable, shape (value,), along dimension ``index`` of arrays.

    Axes of one dimension, such as the coordinates of points, have a ``spread_order``. ``grows``
    says that values are added while arrays are recorded.
    """

    name: str
    values: LazyArray
    label: str = ""
    unit: str = ""
    index: int = 0
    spread_order: int = 0
    grows: bool = False


@dataclass(frozen=True)
class ExportArray:
    """An array of any type and shape, and what its source says of it.

    ``role`` is ``data``, ``background``, ``error``, ``log``, ``times`` of the elements of others,
    or anything else that a source has. The dimensions ``nav_indexes`` are those of navigation.
    ``timestamp`` is in seconds since 1970.
    ``extra`` is what no field holds: JSON values.
    """

    name: str
    values: LazyArray
    role: str = "data"
    title: str = ""
    label: str = ""
    unit: str = ""
    source: str = ""
    distribution: str = ""
    origin: str = ""
    nav_indexes: tuple[int, ...] = ()
    timestamp: float | None = None
    grows: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportGroup:
    """Arrays, axes and further groups that belong together, such as those of a detector.

    ``kind`` is what the source calls it, ``settings`` those of the instrument in its format.
    ``extra`` is what no field holds: JSON values.
    """

    name: str
    arrays: tuple[ExportArray, ...] = ()
    axes: tuple[ExportAxis, ...] = ()
    groups: tuple["ExportGroup", ...] = ()
    title: str = ""
    kind: str = ""
    settings: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, "ExportGroup"]]:
        """Give this group and all below it, each with its path."""
        path = f"{path}/{self.name}"
        yield path, self
        for group in self.groups:
            yield from group.walk(path)
