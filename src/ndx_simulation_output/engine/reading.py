"""Matrices in HDF5 files, read past HDF5 where that gives the same and is faster."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.links import linked_storage
from ndx_simulation_output.engine.selection import Selection
from ndx_simulation_output.engine.storages import Contiguous, Mapped, Plain, Storage, storage_of
from ndx_simulation_output.engine.workers import default_workers
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording.arrays import LazyArray, Put

__all__ = ["HDF5Array", "as_array"]


def as_array(array: LazyArray) -> LazyArray:
    """Give what reads ``array`` fast: a matrix in an HDF5 file is an :class:`HDF5Array`."""
    if isinstance(array, h5py.Dataset) and len(array.shape) == 2:
        return HDF5Array(array)
    return array


class HDF5Array:
    """A matrix (time, column) in an HDF5 file; slicing it reads.

    ``workers`` threads read together, by default one for each processor, none for 0. Values are
    those that h5py gives, in native byte order.

    Example
    -------
    >>> with h5py.File("array.h5", "w", driver="core", backing_store=False) as file:
    ...     array = HDF5Array(file.create_dataset("data", data=np.arange(6.0).reshape(2, 3)))
    ...     array.take_columns(slice(None), np.array([2, 0])).tolist()
    [[2.0, 0.0], [5.0, 3.0]]

    """

    def __init__(self, dataset: h5py.Dataset, workers: int | None = None) -> None:
        self.array = dataset
        self.workers = default_workers() if workers is None else workers

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in the file."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def chunks(self) -> tuple[int, int] | None:
        """Rows and columns that are read together, or None for contiguous data."""
        chunks = self.array.chunks
        return None if chunks is None else tuple(chunks)

    @property
    def is_mapped(self) -> bool:
        """Whether reading a part costs as much as the part, whatever its shape."""
        return isinstance(self._storage, Mapped)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns.

        Raises
        ------
        SourceError
            If the file is damaged.

        """
        if not (isinstance(key, tuple) and len(key) == 2 and all(map(_ascends, key))):
            return self._plainly(key)
        rows, columns = map(_range, key, self.shape)
        if columns.step == 1:
            return self._read(Selection(rows, columns))
        return self._read(Selection(rows, np.asarray(columns, np.intp)))

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all.

        Raises
        ------
        SourceError
            If the file is damaged.

        """
        wanted = range(self.shape[1]) if columns is None else columns
        return self._read(Selection(_range(rows, self.shape[0]), wanted), put)

    def piece(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Give rows and columns to be used at once: they may still be in the file."""
        if self.array.id.valid and isinstance(self._storage, Contiguous):
            values: NDArray[Any] = self._storage.values[rows, columns]
            return values
        return self[rows, columns]

    def release(self) -> None:
        """Let go of the memory of what was read; it can be read again."""
        if isinstance(self._storage, Mapped):
            self._storage.release()

    @cached_property
    def _storage(self) -> Storage:
        return linked_storage(self.array) if self.array.is_virtual else storage_of(self.array)

    def _read(self, selection: Selection, put: Put | None = None) -> NDArray[Any]:
        out = np.empty(selection.shape, self.dtype.newbyteorder("="))
        if not out.size:
            return out
        # A closed file is no longer read, though its bytes could be.
        storage = self._storage if self.array.id.valid else Plain(self.array)
        with self._named(f"rows {selection.rows[0]} to {selection.rows[-1] + 1} of "):
            storage.read(selection, out, self.workers, put or np.copyto)
        return out

    def _plainly(self, key: Any) -> NDArray[Any]:
        with self._named():
            values = np.asarray(self.array[key])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    @contextmanager
    def _named(self, part: str = "") -> Iterator[None]:
        """Say of what is damaged what it is; a file that is closed says that itself."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            if not self.array.id.valid:
                raise
            msg = f"cannot read {part}{_place(self.array)}: {error}"
            raise SourceError(msg) from error


def _ascends(key: Any) -> bool:
    return isinstance(key, slice) and (key.step is None or key.step > 0)


def _range(part: slice, length: int) -> range:
    wanted = range(*part.indices(length))
    # So that the end of an empty range, or of one with steps, is that of its last item.
    return range(wanted.start, wanted[-1] + 1 if wanted else wanted.start, wanted.step)


def _place(dataset: h5py.Dataset) -> str:
    return f"{dataset.name.strip('/')} of {Path(dataset.file.filename).name}"
