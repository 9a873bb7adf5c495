"""Times of the rows of a recording, in seconds."""

import math
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


def meant_step(step: float, error: float | None = None) -> float:
    """Return the round number that ``step`` is, apart from rounding, or else ``step``.

    ``error`` is the relative error of rounding; by default that of float32 if ``step`` is a value
    of float32, otherwise a few units in the last place of float64.

    Example
    -------
    >>> meant_step(float(np.float32(0.1))), meant_step(float(np.float32(0.1234567)))
    (0.1, 0.12345670163631439)

    """
    error = rounding_of(step) if error is None else error
    rounded = _rounded(step, _digits(error))
    return rounded if math.isclose(rounded, step, rel_tol=error) else step


def meant_rate(step: float, per_second: float, error: float | None = None) -> float:
    """Return the rate (Hz) of a ``step`` in units of which ``per_second`` are a second.

    The step or the rate is the round number that it is apart from rounding, as in ``meant_step``.

    Example
    -------
    >>> meant_rate(float(np.float32(0.1)), 1000.0), meant_rate(float(np.float32(1 / 30)), 1000.0)
    (10000.0, 30000.0)

    """
    error = rounding_of(step) if error is None else error
    meant = meant_step(step, error)
    # 1000 / step is rounded once; a product with 0.001 would be rounded twice.
    rate = per_second / meant
    rounded = _rounded(rate, _digits(error) - 1)
    return rounded if meant == step and math.isclose(rounded, rate, rel_tol=error) else rate


def rounding_of(values: float | NDArray[np.float64]) -> float:
    """Return the relative error of rounding of the largest value: of float32 if all values are."""
    largest = float(np.max(np.abs(values)))
    with np.errstate(over="ignore"):
        is_single = bool(np.all(np.float32(values) == values))
    if not (largest and math.isfinite(largest)):
        return 2.0**-52
    spacing = np.spacing(np.float32(largest)) / 2 if is_single else 4 * np.spacing(largest)
    return float(spacing) / largest


def _digits(error: float) -> int:
    """Return how many digits a round number has: few enough that others are hardly ever near."""
    return int(-math.log10(error)) - 2


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}") if digits > 0 else value
