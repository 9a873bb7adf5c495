"""Write whole chunks of a dataset as they are, past what HDF5 does to gather them."""

from itertools import product
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["ChunkWriter", "chunk_writer"]


class ChunkWriter:
    """Sets blocks of a dataset (time, column) that has chunks and no filters.

    Example
    -------
    >>> with h5py.File("chunks.h5", "w", driver="core", backing_store=False) as file:
    ...     dataset = file.create_dataset("data", (4, 3), "f4", chunks=(2, 2))
    ...     ChunkWriter(dataset)[0:4, 2:3] = np.ones((4, 1), "f4")
    ...     dataset[3].tolist()
    [0.0, 0.0, 1.0]

    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self._chunk = np.empty(dataset.chunks, dataset.dtype)

    def __setitem__(self, block: tuple[slice, slice], values: NDArray[Any]) -> None:
        """Write ``values``: chunk by chunk if the block is made of whole ones of the same type."""
        if values.dtype == self.dataset.dtype and self._is_whole(block):
            self._write_chunks(block, values)
        else:
            self.dataset[block] = values

    def _is_whole(self, block: tuple[slice, slice]) -> bool:
        """Whether a block of ascending bounds starts and ends with chunks, or with the data."""
        return all(
            part.start % length == 0 and (part.stop % length == 0 or part.stop == end)
            for part, length, end in zip(block, self._chunk.shape, self.dataset.shape, strict=True)
        )

    def _write_chunks(self, block: tuple[slice, slice], values: NDArray[Any]) -> None:
        (top, left), (height, width) = (part.start for part in block), self._chunk.shape
        rows, columns = values.shape
        for row, column in product(range(0, rows, height), range(0, columns, width)):
            piece = values[row : row + height, column : column + width]
            if piece.shape != self._chunk.shape:
                self._chunk.fill(self.dataset.fillvalue)
            self._chunk[: piece.shape[0], : piece.shape[1]] = piece
            self.dataset.id.write_direct_chunk((top + row, left + column), self._chunk)


def chunk_writer(dataset: h5py.Dataset) -> Any:
    """Give what sets blocks of ``dataset`` fastest: a :class:`ChunkWriter`, or itself.

    Chunks can be written as they are if no filter changes them and numpy has their type.
    """
    storage = dataset.id.get_create_plist()
    plain = storage.get_layout() == h5py.h5d.CHUNKED and not storage.get_nfilters()
    if plain and dataset.ndim == 2 and _is_of_numpy(dataset):
        return ChunkWriter(dataset)
    return dataset


def _is_of_numpy(dataset: h5py.Dataset) -> bool:
    """Whether the bytes in the file are those of an array of numbers."""
    numbers = dataset.dtype.kind in "iufc"
    return numbers and bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype))
