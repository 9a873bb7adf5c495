"""Ids of cells, compartments and channels, and unique names."""

from collections.abc import Collection, Iterable
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError

# Ids of cells, compartments and channels, as programs give them or as people type them.

MOST_IDS = 5_000_000
"""So many ids are taken at most: a slip of the finger is not to fill the memory."""

_BLOCK = 2**20
_SHOWN = 5


def as_ids(ids: Iterable[int] | int | NDArray[Any]) -> NDArray[Any]:
    """Give one id or several as an array of integers, shape (id,).

    Raises
    ------
    TypeError
        If they are no integers.

    """
    if not isinstance(ids, np.ndarray):
        ids = np.asarray([ids] if np.isscalar(ids) else list(ids))  # type: ignore[arg-type]
    array = np.atleast_1d(ids)
    if len(array) and array.dtype.kind not in "iu":
        msg = f"ids and numbers of compartments are integers, not {array.dtype}: {some_of(array)}"
        raise TypeError(msg)
    return array.astype(np.int64) if not len(array) else array


def some_of(values: NDArray[Any]) -> str:
    """List the first values for a message.

    Example
    -------
    >>> some_of(np.arange(9))
    '0, 1, 2, 3, 4, …'

    """
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown + (", …" if len(values) > _SHOWN else "")


def parse_ids(text: str) -> NDArray[np.int64]:
    """Read ids and ranges of ids, last ids included, in the order of the text; shape (id,).

    Raises
    ------
    SelectionError
        If a part is neither a number nor a range, or there are more than ``MOST_IDS``.

    Example
    -------
    >>> parse_ids("7, 0-3").tolist()
    [7, 0, 1, 2, 3]

    """
    parts = [_range_of(part.strip()) for part in text.split(",") if part.strip()]
    total = sum(len(part) for part in parts)
    if total > MOST_IDS:
        msg = f"{text!r} are {total:,} ids; at most {MOST_IDS:,} can be chosen"
        raise SelectionError(msg)
    arrays = [np.arange(part.start, part.stop, dtype=np.int64) for part in parts]
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def format_ids(ids: Iterable[int]) -> str:
    """Write ids so that ``parse_ids`` reads them, neighbours as a range.

    Example
    -------
    >>> format_ids([7, 0, 1, 2, 3])
    '7, 0-3'

    """
    return ", ".join(
        f"{run.start}" if len(run) == 1 else f"{run.start}-{run.stop - 1}" for run in runs_of(ids)
    )


def count_distinct(ids: NDArray[Any]) -> int:
    """Count the ids that differ, shape (id,): without sorting, where they lie close together.

    Example
    -------
    >>> count_distinct(np.array([7, 3, 7]))
    2

    """
    if not len(ids):
        return 0
    lowest, highest = int(ids.min()), int(ids.max())
    if ids.dtype.kind not in "iu" or highest - lowest > max(8 * len(ids), _BLOCK):
        return len(np.unique(ids))
    seen = np.zeros(highest - lowest + 1, bool)
    for begin in range(0, len(ids), _BLOCK):
        block = ids[begin : begin + _BLOCK]
        # Differences to the lowest fit into an index, whatever the ids are.
        seen[(block - block.dtype.type(lowest)).astype(np.intp)] = True
    return int(np.count_nonzero(seen))


def runs_of(ids: Iterable[int]) -> list[range]:
    """Give ids as ranges, as few as their order allows."""
    values = np.asarray(list(ids), np.int64)
    edges = np.flatnonzero(np.diff(values) != 1) + 1
    return [range(int(run[0]), int(run[-1]) + 1) for run in np.split(values, edges) if len(run)]


def _range_of(part: str) -> range:
    first, dash, last = part.partition("-")
    try:
        found = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = range(0)
    if not found or found.start < 0 or found.stop > np.iinfo(np.int64).max:
        msg = f"{part!r} is neither a number nor a range such as 10-19"
        raise SelectionError(msg)
    return found


# Names that nothing else has.


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Give a name that is not ``taken``: the ``wanted`` one, or that with a number.

    Example
    -------
    >>> free_name("v", {"v", "v_2"})
    'v_3'

    """
    numbered = (f"{wanted}_{number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)
