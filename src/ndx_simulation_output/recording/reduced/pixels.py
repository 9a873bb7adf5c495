"""Pixels of an image, while the values that fall into them come in part by part."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.reduced.bins import Indices

__all__ = ["How", "Pixels"]

How = Literal["mean", "max", "min"]
"""What a pixel shows of the values that fall into it."""


class Pixels:
    """What is known of each pixel, of shape (time pixel, column pixel), while values come in."""

    def __init__(self, shape: tuple[int, int], how: How) -> None:
        self.how = how
        self.values = np.zeros(shape) if how == "mean" else np.full(shape, np.nan)
        self.counts = np.zeros(shape)

    def add(self, inside: slice, values: NDArray[Any], tops: Indices, lefts: Indices) -> None:
        """Add values, shape (row, column), whose bins begin at these rows and columns."""
        if self.how == "mean":
            known = ~np.isnan(values)
            numbers = np.where(known, values, 0).astype(np.float64)
            self.values[inside] += _summed(numbers, tops, lefts)
            self.counts[inside] += _summed(known.astype(np.float64), tops, lefts)
            return
        extreme = np.fmax if self.how == "max" else np.fmin
        part = extreme.reduceat(extreme.reduceat(values, lefts, axis=1), tops, axis=0)
        self.values[inside] = extreme(self.values[inside], part)

    def image(self) -> NDArray[np.float64]:
        """Give the image, shape (column pixel, time pixel)."""
        if self.how != "mean":
            return self.values.T
        shown = np.full(self.values.shape, np.nan)
        np.divide(self.values, self.counts, out=shown, where=self.counts > 0)
        return shown.T


def _summed(values: NDArray[np.float64], tops: Indices, lefts: Indices) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.add.reduceat(
        np.add.reduceat(values, lefts, axis=1), tops, axis=0
    )
    return summed
