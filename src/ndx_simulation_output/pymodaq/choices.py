"""The choices that data with axes have: they equal the texts of their names, as in PyMoDAQ."""

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DataDim", "DataDistribution", "DataSource"]


class _Named(Enum):
    """A choice that equals the text of its name."""

    def __eq__(self, other: object) -> bool:
        """Tell whether the names are equal, in small or capital letters."""
        name = getattr(other, "name", other)
        return isinstance(name, str) and name.casefold() == self.name.casefold()

    def __hash__(self) -> int:
        """Hash the name."""
        return hash(self.name)

    @classmethod
    def of(cls, value: Any) -> "Self":
        """Give the choice of a name, of this or another enumeration.

        Raises
        ------
        ValueError
            If there is none of this name.

        """
        for choice in cls:
            if choice == value:
                return choice
        msg = f"{value!r} is no {cls.__name__}; expected one of {', '.join(cls.__members__)}"
        raise ValueError(msg)


class DataDim(_Named):
    """How many dimensions the signal has."""

    Data0D = 0
    Data1D = 1
    Data2D = 2
    DataND = 3


class DataSource(_Named):
    """Whether data are as recorded, or calculated from others."""

    raw = 0
    calculated = 1


class DataDistribution(_Named):
    """Whether navigation axes are those of a grid, or list the points that were measured."""

    uniform = 0
    spread = 1
