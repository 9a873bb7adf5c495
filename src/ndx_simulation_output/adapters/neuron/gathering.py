"""Values of many places of a running NEURON model, gathered with one call.

Source: ``PtrVector`` of NEURON, whose ``gather`` is right with threads, CVode and CoreNEURON. It is
set up in time linear in the number of places, which ``Vector.record`` is not.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gathered"]


class Gathered:
    """Values at the places to which ``pointers`` point when it is called; shape (place,)."""

    def __init__(self, h: Any, pointers: Callable[[], Iterable[Any]], count: int) -> None:
        self._count = count
        if not count:
            return
        self._places, self._vector = h.PtrVector(count), h.Vector(count)
        # Safe as long as the vector is neither resized nor let go of.
        self._values: NDArray[np.float64] = self._vector.as_numpy()
        self._point(pointers)
        if hasattr(self._places, "ptr_update_callback"):
            # Before version 9 NEURON moves values about and leaves pointers behind.
            self._places.ptr_update_callback(partial(self._point, pointers))

    def values(self) -> NDArray[np.float64]:
        """Give the values of this moment, to be used before they are asked for again."""
        if not self._count:
            return np.empty(0)
        self._places.gather(self._vector)
        return self._values

    def _point(self, pointers: Callable[[], Iterable[Any]]) -> None:
        for number, pointer in enumerate(pointers()):
            self._places.pset(number, pointer)
