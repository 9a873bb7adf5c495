"""Names that nothing else has."""

from collections.abc import Collection
from itertools import chain, count

__all__ = ["free_name"]


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Give a name that is not ``taken``: the ``wanted`` one, or that with a number.

    Example
    -------
    >>> free_name("v", {"v", "v_2"})
    'v_3'

    """
    numbered = (f"{wanted}_{number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)
