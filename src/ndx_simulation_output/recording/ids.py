"""Ids of cells, compartments and channels, and unique names."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    SelectionError,
    ShapeMismatchError,
    UnsupportedSourceError,
    WrongTypeError,
)

MOST_IDS = 5_000_000
"""Largest number of ids that are parsed, so that a typing error does not fill the memory."""

_LARGEST = 2**63 - 1  # NWB stores ids as int64.
_BLOCK = 2**20
_SHOWN = 5


def as_ids(ids: Iterable[int] | int | NDArray[Any]) -> NDArray[Any]:
    """Return one id or several as an array of integers, shape (id,)."""
    if not isinstance(ids, np.ndarray):
        ids = np.asarray([ids] if np.isscalar(ids) else list(ids))  # type: ignore[arg-type]
    array = np.atleast_1d(ids)
    if len(array) and array.dtype.kind not in "iu":
        msg = (
            f"ids or compartment numbers have the type {array.dtype}: {some_of(array)}; expected "
            "integers"
        )
        raise WrongTypeError(msg)
    return array.astype(np.int64) if not len(array) else array


def check_ids(ids: Any, what: str, *, lowest: int = 0) -> None:
    """Raise an error unless the ids of ``what`` are integers from ``lowest`` to 2**63 - 1.

    Values of a lazy array are read only if they are unsigned integers.
    """
    if not ids.shape[0]:
        return
    if ids.dtype.kind not in "iu":
        msg = f"{what} are {ids.dtype}; expected integers"
        raise WrongTypeError(msg)
    if isinstance(ids, np.ndarray) or ids.dtype.kind == "u":
        wrong = _outside(np.asarray(ids[:]), lowest)
        if len(wrong):
            msg = f"{what} have the id {wrong[0]}; expected ids from {lowest} to 2**63 - 1"
            raise ShapeMismatchError(msg)


def ids_of_source(values: NDArray[Any], where: str, *, lowest: int = 0) -> NDArray[np.int64]:
    """Return ids that a file stores as integers, or as floating-point numbers without fraction.

    Raises an UnsupportedSourceError unless they are from ``lowest`` to 2**63 - 1.
    """
    if values.dtype.kind == "f":
        is_whole = (np.abs(values) < 2.0**63) & (values == np.trunc(values))
        if not is_whole.all():
            msg = f"{where} has the value {values[~is_whole][0]}; expected integers"
            raise UnsupportedSourceError(msg)
    elif values.dtype.kind not in "iu" and len(values):
        msg = f"{where} has the type {values.dtype}; expected integers"
        raise UnsupportedSourceError(msg)
    wrong = values[values < lowest] if values.dtype.kind == "f" else _outside(values, lowest)
    if len(wrong):
        kind = "negative id" if wrong[0] < 0 else "id"
        msg = f"{where} has the {kind} {int(wrong[0])}; expected ids from {lowest} to 2**63 - 1"
        raise UnsupportedSourceError(msg)
    return values.astype(np.int64)


def _outside(ids: NDArray[Any], lowest: int) -> NDArray[Any]:
    """Return the ids below ``lowest`` or above 2**63 - 1."""
    limits = np.iinfo(ids.dtype) if ids.dtype.kind in "iu" else None
    if limits is not None and lowest <= limits.min and limits.max <= _LARGEST:
        return ids[:0]
    if limits is not None and len(ids) and ids.min() >= lowest and ids.max() <= _LARGEST:
        return ids[:0]
    # numpy compares integers exactly, whatever their types.
    return ids[(ids < lowest) | (ids > _LARGEST)]


def check_unique(ids: Any, what: str) -> None:
    """Raise ShapeMismatchError if an id of an array in memory occurs more than once."""
    if isinstance(ids, np.ndarray) and len(repeated := repeated_values(ids)):
        msg = f"{what} have the id {repeated[0]} more than once; expected each once"
        raise ShapeMismatchError(msg)


def check_name(name: Any, what: str) -> None:
    """Raise an error unless ``name`` is text that NWB can store as a name."""
    if not isinstance(name, str):
        msg = f"{what} is {name!r}; expected text"
        raise WrongTypeError(msg)
    is_text = not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in name)
    if not name.strip() or name in {".", ".."} or not is_text:
        msg = f"{what} is {name!r}; expected a name"
        raise ShapeMismatchError(msg)


def storable_text(text: str) -> str:
    r"""Return text that HDF5 can store: without NUL, and with ``?`` for bytes that are not text.

    Names of files contain such bytes.

    Example
    -------
    >>> storable_text(b"run\xff".decode(errors="surrogateescape"))
    'run?'

    """
    return text.replace("\0", "").encode(errors="replace").decode()


def some_of(values: Sequence[Any] | NDArray[Any]) -> str:
    """Return the first values as text, for a message.

    Example
    -------
    >>> some_of(np.arange(9))
    '0, 1, 2, 3, 4, …'

    """
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown + (", …" if len(values) > _SHOWN else "")


def parse_ids(text: str) -> NDArray[np.int64]:
    """Parse ids and inclusive ranges of ids, in the order of the text; shape (id,).

    Example
    -------
    >>> parse_ids("7, 0-3").tolist()
    [7, 0, 1, 2, 3]

    """
    parts = [_parse_range(part.strip()) for part in text.split(",") if part.strip()]
    total = sum(len(part) for part in parts)
    if total > MOST_IDS:
        msg = f"{text!r} are {total:,} ids; at most {MOST_IDS:,} can be chosen"
        raise SelectionError(msg)
    arrays = [np.arange(part.start, part.stop, dtype=np.int64) for part in parts]
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def format_ids(ids: Iterable[int]) -> str:
    """Format ids as text that ``parse_ids`` reads, with consecutive ids as a range.

    Example
    -------
    >>> format_ids([7, 0, 1, 2, 3])
    '7, 0-3'

    """
    return ", ".join(
        f"{run.start}" if len(run) == 1 else f"{run.start}-{run.stop - 1}" for run in runs_of(ids)
    )


def count_distinct(ids: NDArray[Any]) -> int:
    """Return the number of different ids.

    Example
    -------
    >>> count_distinct(np.array([7, 3, 7]))
    2

    """
    n_distinct = _count_dense(ids)
    return len(np.unique(ids)) if n_distinct is None else n_distinct


def repeated_values(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values that occur more than once.

    Example
    -------
    >>> repeated_values(np.array([3, 1, 3, 2])).tolist()
    [3]

    """
    if (values[1:] > values[:-1]).all() or _count_dense(values) == len(values):
        return values[:0]
    # Sorting a million ids takes milliseconds; np.unique alone takes much longer.
    ordered = np.sort(values)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def distinct_ids(ids: NDArray[Any]) -> NDArray[Any]:
    """Return each of the different ids once, in ascending order.

    Example
    -------
    >>> distinct_ids(np.array([7, 3, 7])).tolist()
    [3, 7]

    """
    seen = _seen(ids)
    return np.unique(ids) if seen is None else ids.min() + np.flatnonzero(seen).astype(ids.dtype)


def positions_of(ids: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the index of each id in the ascending ``known`` ids, -1 if it is not among them.

    Example
    -------
    >>> positions_of(np.array([7, 4, 3]), np.array([3, 7])).tolist()
    [1, -1, 0]

    """
    if not len(known):
        return np.full(len(ids), -1, np.intp)
    n_ids = int(known[-1]) - int(known[0]) + 1
    if n_ids == len(known):
        found = ids - known[0]
        is_inside = (ids >= known[0]) & (ids <= known[-1])
        return found if is_inside.all() else np.where(is_inside, found, -1)
    if n_ids > 8 * len(known):
        found = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        return np.where(known[found] == ids, found, -1)
    # Many ids are looked up faster in a table than by bisection.
    table = np.full(n_ids + 1, -1, np.intp)
    table[known - known[0]] = np.arange(len(known))
    is_inside = (ids >= known[0]) & (ids <= known[-1])
    return table[np.where(is_inside, ids - known[0], n_ids)]


def _count_dense(values: NDArray[Any]) -> int | None:
    """Return the number of different integers without sorting, None if their range is wide."""
    if not len(values):
        return 0
    seen = _seen(values)
    return None if seen is None else int(np.count_nonzero(seen))


def _seen(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which integers from the lowest to the highest occur, None if they are few of these."""
    if not len(values) or values.dtype.kind not in "iu" or values.itemsize < 4:
        return None
    lowest, highest = int(values.min()), int(values.max())
    if highest - lowest > max(8 * len(values), _BLOCK):
        return None
    seen = np.zeros(highest - lowest + 1, bool)
    for begin in range(0, len(values), _BLOCK):
        block = values[begin : begin + _BLOCK]
        # Differences from the lowest value always fit into an index type.
        seen[(block - block.dtype.type(lowest)).astype(np.intp)] = True
    return seen


def runs_of(ids: Iterable[int]) -> list[range]:
    """Return ids as the smallest number of ranges that preserves their order."""
    values = np.asarray(list(ids), np.int64)
    edges = np.flatnonzero(np.diff(values) != 1) + 1
    return [range(int(run[0]), int(run[-1]) + 1) for run in np.split(values, edges) if len(run)]


def _parse_range(part: str) -> range:
    first, dash, last = part.partition("-")
    try:
        found = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = range(0)
    if not found or found.start < 0 or found.stop > np.iinfo(np.int64).max:
        msg = f"{part!r} is neither a number nor a range such as 10-19"
        raise SelectionError(msg)
    return found


def free_name(wanted: str, used: Collection[str]) -> str:
    """Return the name ``wanted``, with a numeric suffix if it is already in ``used``.

    Example
    -------
    >>> free_name("v", {"v", "v_2"})
    'v_3'

    """
    numbered = (f"{wanted}_{number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in used)
