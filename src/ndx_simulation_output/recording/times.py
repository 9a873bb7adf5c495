"""Times of the rows of a recording, in seconds."""

import math
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, WrongTypeError
from ndx_simulation_output.recording.arrays import LazyArray, as_array
from ndx_simulation_output.recording.display import Facts, counted, represent, times_text

# Times are rounded to a millionth of a sample: times that users write, such as 0.3, are not exact
# multiples of a step such as 0.0001.
_DECIMALS = 6

_ONE_DIGIT = 0.01  # relative error up to which a number of one digit is recognised


@dataclass(frozen=True)
class RegularTimes:
    """``count`` samples from ``start`` (s) at ``rate`` (Hz)."""

    start: float
    rate: float
    count: int

    def __post_init__(self) -> None:
        """Check that the start is finite, the rate positive, and the count an integer."""
        for name in ("start", "rate", "count"):
            value = getattr(self, name)
            expected = Integral if name == "count" else Real
            if not isinstance(value, expected) or isinstance(value, bool):
                msg = f"the {name} of regular times is {value!r}; expected a number"
                raise WrongTypeError(msg)
        is_possible = isfinite(self.start) and isfinite(self.rate) and self.rate > 0
        if not is_possible or self.count < 0:
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
        samples = min(max((time - self.start) * self.rate, -1.0), self.count + 1.0)
        return min(max(math.ceil(round(samples, _DECIMALS)), 0), self.count)


@dataclass(frozen=True)
class Timestamps:
    """One time (s) for each row; ``values`` has shape (time,), and no time is before the last one.

    Values in memory are checked at once, others when a window is read.

    Raises
    ------
    ShapeMismatchError
        If times descend, or are not finite numbers.

    """

    values: LazyArray

    def __post_init__(self) -> None:
        """Check the type of the values and, in memory, their order."""
        values = as_array(self.values, "timestamps")
        if isinstance(values, np.ndarray):
            values = np.asarray(values, np.float64)
            _check_order(values)
        object.__setattr__(self, "values", values)

    __repr__ = represent

    def _facts(self) -> Facts:
        yield ""
        yield counted(self.count, "times")
        yield times_text(self)

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    def window(self, start: float | None, stop: float | None) -> slice:
        """Return the rows whose time t satisfies ``start <= t < stop`` (s)."""
        values = np.asarray(self.values[:])
        if not isinstance(self.values, np.ndarray):
            _check_order(values)
        first = 0 if start is None else int(np.searchsorted(values, start))
        last = self.count if stop is None else int(np.searchsorted(values, stop))
        return slice(first, max(first, last))

    def seconds(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return the time of each of ``rows``, in seconds."""
        return np.asarray(self.values[rows], dtype=np.float64)

    def part(self, rows: slice) -> "Timestamps":
        """Return the times of adjacent rows."""
        return Timestamps(self.seconds(rows))


def _check_order(seconds: NDArray[Any]) -> None:
    """Raise ShapeMismatchError unless times are finite and do not descend."""
    is_right = np.isfinite(seconds)
    is_right[1:] &= seconds[1:] >= seconds[:-1]
    if not is_right.all():
        row = int(np.argmin(is_right))
        shown = ", ".join(map(str, seconds[max(row - 1, 0) : row + 1].tolist()))
        msg = f"timestamps do not ascend, or are not finite, in row {row}: {shown}"
        raise ShapeMismatchError(msg)


def as_times(times: Any, where: str) -> "Times":
    """Return the times of ``where``, given as ``Times`` or as the seconds of each row."""
    if isinstance(times, RegularTimes | Timestamps):
        return times
    try:
        return Timestamps(as_array(times, "timestamps"))
    except ShapeMismatchError as error:
        msg = f"{where}: {error}"
        raise type(error)(msg) from error


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
    # A float: half the smallest number of float32 would be 0.
    spacing = float(np.spacing(np.float32(largest))) / 2 if is_single else 4 * np.spacing(largest)
    return float(spacing / largest)


def _digits(error: float) -> int:
    """Return how many digits a round number has: few enough that others are hardly ever near."""
    return max(int(-math.log10(error)) - 2, 1 if error < _ONE_DIGIT else 0)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}") if digits > 0 else value
