"""Arrays in temporary files without names, which are removed with the arrays."""

import tempfile
import weakref
from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray


class GrowingArray:
    """Rows of shape ``shape`` that are appended one after another, and mapped in the end."""

    def __init__(self, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> None:
        """Create a temporary file."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._dtype, self._shape = np.dtype(dtype), shape

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._file.tell() // (self._dtype.itemsize * prod(self._shape))

    def append(self, values: NDArray[np.generic]) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)

    def mapped(self) -> NDArray[np.generic]:
        """Return all rows; the operating system reads what is used."""
        shape = len(self), *self._shape
        self._file.flush()
        if not prod(shape):
            return np.zeros(shape, self._dtype)
        return np.memmap(self._file, self._dtype, "r+", shape=shape)


def temporary_array(dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return zeros in a temporary file, which takes space where they are changed."""
    if not prod(shape):
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        file.truncate(np.dtype(dtype).itemsize * prod(shape))
        return np.memmap(file, dtype, "r+", shape=shape)
