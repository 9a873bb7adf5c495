"""Tasks with version 0.2.6 of this package, in a separate environment."""

from collections.abc import Callable

from ndx_simulation_output.io import sonata2nwb

__all__ = ["convert"]


def convert(source: str, target: str) -> Callable[[], object]:
    """Convert a SONATA file."""
    return lambda: sonata2nwb(source, target)
