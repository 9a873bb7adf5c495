"""The times of rows that come one after the other, where they are not regular."""

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndx_simulation_output.errors import ShapeMismatchError

__all__ = ["Stamps", "create_stamps"]

_CHUNK = 2**13
_MANY = 2**16
"""Times that are kept in memory before they are written, if nothing is flushed."""


def create_stamps(group: h5py.Group, name: str) -> h5py.Dataset:
    """Create the dataset of times (s), shape (time,), that grows."""
    return group.create_dataset(name, (0,), "<f8", maxshape=(None,), chunks=(_CHUNK,))


class Stamps:
    """The times of the rows of the report ``name``; ``dataset`` is there on rank 0 alone."""

    def __init__(self, name: str, dataset: h5py.Dataset | None) -> None:
        self._name, self._dataset = name, dataset
        self.last: float | None = None
        self._waiting: list[NDArray[np.float64]] = []
        self._written = self._count = 0

    def checked(self, times: ArrayLike | None, rows: int) -> NDArray[np.float64]:
        """Give ``times`` (s) as an array, one for each of so many rows.

        Raises
        ------
        ShapeMismatchError
            If there are others than ``rows``, or they do not ascend.

        """
        if times is None:
            msg = f"values for {self._name!r} have no times; expected one for each time step"
            raise ShapeMismatchError(msg)
        stamps = np.array(times, np.float64, ndmin=1)
        if stamps.shape != (rows,):
            msg = (
                f"times for {self._name!r} have shape {np.shape(times)}; expected one for each of "
                f"{rows} time steps"
            )
            raise ShapeMismatchError(msg)
        before = stamps if self.last is None else np.append(self.last, stamps)
        if not (np.isfinite(stamps).all() and (np.diff(before) > 0).all()):
            msg = f"times for {self._name!r} do not ascend, or are not finite: {_some(before)}"
            raise ShapeMismatchError(msg)
        return stamps

    def append(self, stamps: NDArray[np.float64], rows: int) -> None:
        """Append times that were checked; ``rows`` are those that are known to be appended too."""
        if len(stamps):
            self._waiting.append(stamps)
            self._count += len(stamps)
            self.last = float(stamps[-1])
        if self._count > _MANY:
            self.flush(rows)

    def flush(self, rows: int) -> None:
        """Write the times of the first ``rows`` rows."""
        waiting = np.concatenate([np.zeros(0), *self._waiting])
        known = max(0, rows - self._written)
        if known and self._dataset is not None:
            self._dataset.resize(rows, 0)
            self._dataset[self._written :] = waiting[:known]
        self._written += known
        self._waiting, self._count = [waiting[known:]], len(waiting) - known


def _some(times: NDArray[np.float64]) -> str:
    """Give the two times where they stop ascending."""
    at = int(np.argmin(np.diff(times) > 0)) if len(times) > 1 else 0
    return ", ".join(map(str, times[at : at + 2].tolist()))
