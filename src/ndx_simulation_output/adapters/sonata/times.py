"""The time of a SONATA dataset: a triple (start, stop, step), or one value for each row."""

from collections.abc import Sequence

import h5py
import numpy as np

from ndx_simulation_output.adapters.sonata.hdf5 import place, read_numbers
from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import RegularTimes, Times, Timestamps

__all__ = ["TRIPLE", "implied_rows", "read_times", "regular_times"]

TRIPLE = 3

_SMALLEST_STEP = 1e-300  # a rate must be a finite number


def read_times(time: h5py.Dataset, rows: int, seconds: float, *, vector: bool = False) -> Times:
    """Read when the ``rows`` rows of the data were taken; ``seconds`` is the factor to seconds.

    The number of rows is that of the data: files whose triple implies another are common.
    ``vector`` says that even three values are one for each row.

    Raises
    ------
    SourceError
        If the triple has no positive step.
    ShapeMismatchError
        If there is neither a triple nor one value for each row.

    """
    values = read_numbers(time).astype(np.float64)
    if len(values) == TRIPLE and not vector:
        return regular_times(values[0], values[2], rows, seconds, place(time))
    if len(values) != rows:
        msg = (
            f"{place(time)} has {len(values)} values; expected (start, stop, step) or one for "
            f"each of {rows} rows"
        )
        raise ShapeMismatchError(msg)
    steps = np.diff(values)
    if not np.all(steps > 0):
        msg = f"{place(time)} does not ascend"
        raise SourceError(msg)
    if len(values) > 1 and np.allclose(steps, steps.mean(), rtol=1e-9, atol=0.0):
        return regular_times(values[0], float(steps.mean()), rows, seconds, place(time))
    return Timestamps(values * seconds)


def regular_times(start: float, step: float, rows: int, seconds: float, where: str) -> RegularTimes:
    """Make regular times of a start and a step in units of ``seconds``.

    Raises
    ------
    SourceError
        If the step is not positive or the start not finite.

    """
    if not (np.isfinite(start) and np.isfinite(step) and step > _SMALLEST_STEP):
        msg = f"{where} has start {start} and step {step}; expected a finite start, a positive step"
        raise SourceError(msg)
    per_second = round(1 / seconds, 9)
    # start / 1000 and 1000 / step round once; multiplying by 0.001 would round twice.
    return RegularTimes(float(start / per_second), float(per_second / step), rows)


def implied_rows(triple: Sequence[float]) -> int | None:
    """Count the rows that a triple (start, stop, step) implies; ``stop`` itself is not one.

    None where the triple is not finite.
    """
    start, stop, step = triple
    rows = (stop - start) / step
    return int(np.ceil(np.round(rows, 6))) if np.isfinite(rows) else None
