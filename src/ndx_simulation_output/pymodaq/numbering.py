"""Names with numbers, such as ``Detector000`` and ``Data00``."""

import re
from collections.abc import Iterable

__all__ = ["KINDS", "next_number", "numbers_of", "stem_of"]

KINDS = {
    "detector": "Detector",
    "actuator": "Actuator",
    "scan": "Scan",
    "ch": "Ch",
    "data_logger": "Data_logger",
}
"""The types of numbered groups, and how the names of each begin."""


def stem_of(kind: str) -> str:
    """Give how the names of groups of a type begin.

    Example
    -------
    >>> stem_of("detector")
    'Detector'

    """
    return KINDS.get(kind, kind.capitalize())


def numbers_of(names: Iterable[str], prefix: str) -> list[int]:
    """Give the numbers of the names that are a prefix and a number."""
    found = (re.fullmatch(rf"{re.escape(prefix)}(\d+)", name) for name in names)
    return [int(match[1]) for match in found if match]


def next_number(names: Iterable[str], prefix: str) -> int:
    """Give the number after the highest of a prefix.

    PyMoDAQ counts those in groups below too: they take names that are free anyway.

    Example
    -------
    >>> next_number(["Data00", "Data01", "Axis07"], "Data")
    2

    """
    return max(numbers_of(names, prefix), default=-1) + 1
