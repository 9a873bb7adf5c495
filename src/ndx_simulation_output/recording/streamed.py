"""What will be recorded while a simulation runs, told before its first time step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.output import Report
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.units import UNKNOWN, Unit

__all__ = ["StreamedReport"]


@dataclass(frozen=True)
class StreamedReport:
    """Values of many compartments of one population that are to come, a time step after another.

    The time steps are at ``start`` (s) and from there on at ``rate`` (Hz); without a rate, each
    comes with its time. Each has a value of type ``dtype`` for each compartment of
    ``compartments``, in their order. Where it is known how many ``steps`` there will be, the file
    is laid out for them; there may be more or fewer.

    Raises
    ------
    ShapeMismatchError
        If the start is not finite or the rate not positive, or there is a start and no rate.
    TypeError
        If the type is not one of integers or floats.

    Example
    -------
    >>> table = CompartmentTable.from_counts(
    ...     "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    ... )
    >>> StreamedReport("v", table, rate=40_000.0, unit=Unit("volts", 1e-3)).empty.data.shape
    (0, 3)

    """

    name: str
    compartments: CompartmentTable
    rate: float | None = None
    unit: Unit = UNKNOWN
    start: float = 0.0
    dtype: DTypeLike = "f4"
    steps: int | None = None
    variable: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded."""
        if self.rate is None and self.start:
            msg = (
                f"report {self.name!r} starts at {self.start} s and has no rate; expected both, or "
                "neither and a time with each time step"
            )
            raise ShapeMismatchError(msg)
        _ = self._times
        if np.dtype(self.dtype).kind not in "iuf":
            msg = f"report {self.name!r} is of {self.dtype}; expected integers or floats"
            raise TypeError(msg)

    @property
    def empty(self) -> Report:
        """The report before the first time step."""
        return Report(
            name=self.name,
            report=self.name,
            data=np.empty((0, self.compartments.n_compartments), self.dtype),
            times=self._times,
            compartments=self.compartments,
            unit=self.unit,
            variable=self.variable,
            description=self.description,
        )

    @property
    def _times(self) -> Times:
        if self.rate is None:
            return Timestamps(np.empty(0))
        return RegularTimes(self.start, self.rate, 0)
