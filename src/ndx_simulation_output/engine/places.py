"""Where a matrix lies in an HDF5 file, told so that it can be written there without HDF5."""

import ctypes
import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.chunks import Index
from ndx_simulation_output.engine.storages import is_of_numpy

__all__ = ["Place", "place_of", "take_room"]

_FILTERS: tuple[list[int], ...] = ([], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])


@dataclass(frozen=True)
class Place:
    """Where a matrix, shape (time, column), lies in a file.

    ``addresses`` are those of the chunks, shape (row of chunks, column of chunks), from the row
    of chunks number ``top`` on; contiguous data have one. Where they are None, only HDF5 can store
    the chunks, ``deflated`` or not.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int] | None
    fillvalue: Any
    deflated: bool
    addresses: NDArray[np.int64] | None
    top: int = 0


def place_of(dataset: h5py.Dataset) -> Place | None:
    """Tell where a dataset lies, or give None if only h5py can write it.

    Example
    -------
    >>> with h5py.File("placed.h5", "w", driver="core", backing_store=False) as file:
    ...     place_of(file.create_dataset("data", (4, 3), "f4", chunks=(2, 2))).addresses is None
    True

    """
    if dataset.ndim != 2 or not is_of_numpy(dataset):
        return None
    facts = dataset.id.get_create_plist()
    filters = [facts.get_filter(number)[0] for number in range(facts.get_nfilters())]
    early = facts.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
    known = dataset.chunks is None or hasattr(dataset.id, "chunk_iter")
    placed = hasattr(os, "pwrite") and early and known and not filters
    addresses = _addresses(dataset) if placed else None
    if filters not in _FILTERS or (dataset.chunks is None and addresses is None):
        return None
    return Place(
        dataset.shape, dataset.dtype, dataset.chunks, dataset.fillvalue, bool(filters), addresses
    )


def _addresses(dataset: h5py.Dataset) -> NDArray[np.int64] | None:
    if dataset.chunks is not None:
        return Index(dataset).addresses() if hasattr(dataset.id, "chunk_iter") else None
    start = dataset.id.get_offset()
    return None if start is None else np.array([[start]], np.int64)


def take_room(place: Place, path: Path) -> None:
    """Let the file system find the room of a matrix at once, where it can.

    Finding it for each write takes most of the time of writing. A full disk is told before
    anything is written.

    Raises
    ------
    OSError
        If there is no room.

    """
    if place.addresses is None or not place.addresses.size or sys.platform != "linux":
        return
    start = int(place.addresses.min())
    n_bytes = int(np.prod(place.chunks or place.shape)) * place.dtype.itemsize
    length = int(place.addresses.max()) + n_bytes - start
    # Not posix_fallocate: where a file system cannot do this, that writes to every block.
    allocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if allocate is None:  # Not every library of C has it.
        return
    number = os.open(path, os.O_WRONLY)
    try:
        failed = allocate(number, 0, ctypes.c_int64(start), ctypes.c_int64(length))
    finally:
        os.close(number)
    problem = ctypes.get_errno() if failed else 0
    if problem in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        raise OSError(problem, os.strerror(problem), os.fspath(path))
