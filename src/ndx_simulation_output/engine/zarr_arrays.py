"""Matrices in Zarr stores. Nothing is imported for them: the array comes from who opened it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording.arrays import LazyArray, Put

__all__ = ["ZarrArray", "is_zarr_array"]


def is_zarr_array(array: LazyArray) -> bool:
    """Whether an array is one of zarr-python, version 2 or 3."""
    return hasattr(array, "oindex") and hasattr(array, "store")


@dataclass(frozen=True)
class ZarrArray:
    """A matrix (time, column) in a Zarr store, which any process opens by itself."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of columns."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Rows and columns that are read together."""
        return tuple(self.array.chunks)

    @property
    def compression(self) -> str | None:
        """How the values are compressed."""
        several = hasattr(self.array, "compressors")
        codecs = self.array.compressors if several else [self.array.compressor]
        return ", ".join(_name(codec) for codec in codecs if codec is not None) or None

    @property
    def stored_bytes(self) -> int:
        """How much the chunks take."""
        store: Any = getattr(self.array, "chunk_store", None)
        if hasattr(store, "getsize"):
            # zarr-python 2 would count what it opened with consolidated metadata twice.
            return int(store.getsize(self.array.path))
        size = self.array.nbytes_stored
        return int(size() if callable(size) else size)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows and columns.

        Raises
        ------
        SourceError
            If the store is damaged.

        """
        return self._read(lambda: self.array[key])

    def take_columns(
        self, rows: slice, columns: NDArray[np.intp] | None, put: Put | None = None
    ) -> NDArray[Any]:
        """Read some columns, in any order and repeated or not, or all: each chunk once.

        Raises
        ------
        SourceError
            If the store is damaged.

        """
        if columns is None:
            values = self[rows, :]
        else:
            values = self._read(lambda: self.array.oindex[rows, columns])
        if put is not None:
            put(values, values)
        return values

    def _read(self, read: Callable[[], Any]) -> NDArray[Any]:
        try:
            return np.asarray(read())
        except (OSError, RuntimeError, ValueError) as error:
            msg = f"cannot read {self.array.name.strip('/')} of a Zarr store: {error}"
            raise SourceError(msg) from error


def _name(codec: Any) -> str:
    """Give the name of a codec: of Blosc, that of what compresses in it."""
    name = getattr(codec, "cname", None) or type(codec).__name__.removesuffix("Codec").lower()
    return str(getattr(name, "value", name))
