"""Times of the rows of a recording, in seconds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray

# Times are rounded to a millionth of a sample: times that users write, such as 0.3, are not exact
# multiples of a step such as 0.0001.
_DECIMALS = 6


@dataclass(frozen=True)
class RegularTimes:
    """``count`` samples from ``start`` (s) at ``rate`` (Hz)."""

    start: float
    rate: float
    count: int

    def __post_init__(self) -> None:
        """Check that the start is finite and the rate positive."""
        if not (np.isfinite(self.start) and np.isfinite(self.rate) and self.rate > 0):
            msg = f"regular times need a finite start and a positive rate, not {self}"
            raise ShapeMismatchError(msg)

    def window(self, start: float | None, stop: float | None) -> slice:
        """Return the rows whose time t satisfies ``start <= t < stop`` (s)."""
        return slice(self._row(start, 0), self._row(stop, self.count))

    def seconds(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return the time of each of ``rows``, in seconds."""
        return self.start + np.arange(*rows.indices(self.count), dtype=np.float64) / self.rate

    def part(self, rows: slice) -> "RegularTimes":
        """Return the times of adjacent rows."""
        start, stop, _ = rows.indices(self.count)
        return RegularTimes(self.start + start / self.rate, self.rate, max(stop - start, 0))

    def _row(self, time: float | None, default: int) -> int:
        if time is None:
            return default
        samples = np.clip((time - self.start) * self.rate, -1.0, self.count + 1.0)
        row = int(np.ceil(np.round(samples, _DECIMALS)))
        return min(max(row, 0), self.count)


@dataclass(frozen=True)
class Timestamps:
    """One time (s) for each row, ascending; ``values`` has shape (time,)."""

    values: LazyArray

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    def window(self, start: float | None, stop: float | None) -> slice:
        """Return the rows whose time t satisfies ``start <= t < stop`` (s)."""
        values = np.asarray(self.values[:])
        first = 0 if start is None else int(np.searchsorted(values, start))
        last = self.count if stop is None else int(np.searchsorted(values, stop))
        return slice(first, max(first, last))

    def seconds(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return the time of each of ``rows``, in seconds."""
        return np.asarray(self.values[rows], dtype=np.float64)

    def part(self, rows: slice) -> "Timestamps":
        """Return the times of adjacent rows."""
        return Timestamps(self.seconds(rows))


Times = RegularTimes | Timestamps
"""Times of the rows of a recording."""
