"""A selection of a recording."""

from dataclasses import dataclass

__all__ = ["Query"]


@dataclass(frozen=True)
class Query:
    """The cells with these ids, or all if None, and the frames ``[first, first + frames)``."""

    cells: tuple[int, ...] | None
    first: int
    frames: int
