"""Values in any of the forms of ANNarchy's files as flat arrays, by their shape alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.unpickling import resolved
from ndx_simulation_output.recording.network import Locality

__all__ = ["Rows", "array_of", "texts_of"]


@dataclass(frozen=True)
class Rows:
    """Where the synapses of each row end, shape (row,), and how many values a file can have."""

    ends: NDArray[np.int64]
    limit: int

    @classmethod
    def of(cls, pre_ranks: Any, n_rows: int, limit: int) -> tuple["Rows", NDArray[np.int64]]:
        """Give the rows of ``pre_ranks``, and the ranks one after the other.

        Raises
        ------
        ValueError
            If there are not ``n_rows`` rows, or more values than the file can have.

        """
        rows = _rows_of(pre_ranks)
        if len(rows) != n_rows:
            msg = f"pre_ranks has {len(rows)} rows; expected {n_rows}, as post_ranks"
            raise ValueError(msg)
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        made = cls(ends, limit)
        ranks = made.flat(rows)
        if ranks.dtype.kind not in "iu" and len(ranks):
            msg = f"pre_ranks are of type {ranks.dtype}; expected integers"
            raise ValueError(msg)
        return made, ranks.astype(np.int64)

    def flat(self, rows: Sequence[Any]) -> NDArray[Any]:
        """Give the values of all rows one after the other.

        Raises
        ------
        ValueError
            If a row has another length, or there are more values than the file can have.

        """
        total = int(self.ends[-1]) if len(self.ends) else 0
        if total > self.limit:
            msg = f"there are {total} synapses, more than the file has bytes"
            raise ValueError(msg)
        found = np.cumsum([len(row) for row in rows], dtype=np.int64)
        if not np.array_equal(found, self.ends):
            msg = "the rows have other lengths than those of pre_ranks"
            raise ValueError(msg)
        if isinstance(rows, np.ndarray):
            return _numbers(rows.reshape(-1))
        return _numbers([one for row in rows for one in row])

    def read(self, value: Any) -> tuple[NDArray[Any], Locality]:
        """Give the values of a quantity and how many it has.

        Raises
        ------
        ValueError
            If it fits neither the rows nor the synapses, or holds no numbers.

        """
        value = resolved(value)
        if not np.ndim(value) if isinstance(value, np.ndarray) else _is_number(value):
            return _numbers(value), "global"
        n_rows = len(self.ends)
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape == (1, n_rows):
            one_row = n_rows == 1 and int(self.ends[-1]) == 1
            return _numbers(value.ravel()), "local" if one_row else "semiglobal"
        if len(value) == n_rows and all(_is_number(one) for one in value):
            return _numbers(list(value)), "semiglobal"
        return self.flat(_rows_of(value)), "local"


def array_of(value: Any, limit: int) -> NDArray[Any]:
    """Give a value of a population as an array of numbers.

    Raises
    ------
    ValueError
        If it holds anything else, or more than the file can have.

    """
    value = resolved(value)
    if isinstance(value, np.ndarray):
        return _numbers(value)
    if isinstance(value, (list, tuple)) and sum(1 for _ in value) > limit:
        msg = "there are more values than the file has bytes"
        raise ValueError(msg)
    if isinstance(value, (list, tuple)) and not all(map(_is_number, value)):
        msg = "a list holds something else than numbers"
        raise ValueError(msg)
    return _numbers(value)


def texts_of(value: Any) -> list[str]:
    """Give a list of text, without what occurs again, of a list, array or single text.

    Raises
    ------
    ValueError
        If it holds anything else.

    """
    value = resolved(value)
    found = [value] if isinstance(value, str) else list(np.ravel(value)) if len(value) else []
    if not all(isinstance(text, str) for text in found):
        msg = "expected names"
        raise ValueError(msg)
    return list(dict.fromkeys(map(str, found)))


def _rows_of(value: Any) -> Sequence[Any]:
    value = resolved(value)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return value if value.dtype != object else value.tolist()  # type: ignore[return-value]
    rows = [resolved(row) for row in value]
    if any(not isinstance(row, (list, tuple, np.ndarray)) for row in rows):
        msg = "expected a list for each row"
        raise ValueError(msg)
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.generic))


def _numbers(values: Any) -> NDArray[Any]:
    try:
        found = np.asarray(values)
    except (OverflowError, ValueError) as error:
        msg = f"the values are no numbers: {error}"
        raise ValueError(msg) from error
    if found.dtype == object:
        found = np.asarray(found.tolist())
    if found.dtype.kind not in "biuf":
        msg = f"the values are of type {found.dtype}; expected numbers"
        raise ValueError(msg)
    return found.astype(found.dtype.newbyteorder("="), copy=False)
