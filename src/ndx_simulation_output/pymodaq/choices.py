"""Enumerations of data with axes, whose members equal the text of their names as in PyMoDAQ."""

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DataDim", "DataDistribution", "DataSource"]


class _Named(Enum):
    """An enumeration whose members equal the text of their names."""

    def __eq__(self, other: object) -> bool:
        """Return True if the names are equal, in small or capital letters."""
        name = getattr(other, "name", other)
        return isinstance(name, str) and name.casefold() == self.name.casefold()

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.name)

    @classmethod
    def of(cls, value: Any) -> "Self":
        """Return the member of a name, or with the name of a member of another enumeration."""
        for choice in cls:
            if choice == value:
                return choice
        msg = f"{value!r} is no {cls.__name__}; expected one of {', '.join(cls.__members__)}"
        raise ValueError(msg)


class DataDim(_Named):
    """Number of dimensions of the signal."""

    Data0D = 0
    Data1D = 1
    Data2D = 2
    DataND = 3


class DataSource(_Named):
    """Whether data were recorded, or calculated from others."""

    raw = 0
    calculated = 1


class DataDistribution(_Named):
    """Whether navigation axes span a grid, or list the points that were measured."""

    uniform = 0
    spread = 1
