"""Access to files outside HDF5: the lock of h5py, and memory maps."""

import mmap
import os
from os.path import samestat
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
from h5py._objects import phil
from numpy.typing import NDArray

hdf5_lock: Any = phil
"""The reentrant lock of h5py. Some h5py releases do not acquire it when they store, find or
list chunks, or test whether an object is open."""


class MappedFile:
    """The bytes of an HDF5 file, mapped into memory."""

    def __init__(self, file: h5py.File) -> None:
        # Open the file again: HDF5 keeps its own descriptor locked while a reference to it exists.
        with Path(file.filename).open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self._map, np.uint8)

    def advise(self, advice: str, start: int = 0, length: int | None = None) -> None:
        """Pass advice such as ``MADV_RANDOM`` to the kernel, where it is supported."""
        if hasattr(self._map, "madvise") and hasattr(mmap, advice):
            first = start // mmap.PAGESIZE * mmap.PAGESIZE
            length = len(self._map) - first if length is None else length + start - first
            self._map.madvise(getattr(mmap, advice), first, length)

    def part(self, start: int, length: int) -> NDArray[np.uint8]:
        """Return ``length`` bytes from ``start`` on; OSError if the file is shorter."""
        if start + length > len(self.bytes):
            msg = f"the file ends before the chunk at byte {start} does"
            raise OSError(msg)
        return self.bytes[start : start + length]


def map_file(file: h5py.File) -> MappedFile | None:
    """Return the mapped bytes of a file, or None if it must be read through HDF5."""
    if not is_at_path(file) or file.userblock_size:
        return None
    try:
        return MappedFile(file)
    except OSError:  # Not every file system can map files.
        return None


def is_hdf5(array: object) -> TypeGuard[h5py.Dataset]:
    """Return True for a dataset of HDF5; False for a subclass with other data, as that of LINDI."""
    return isinstance(array, h5py.Dataset) and isinstance(array.id, h5py.h5d.DatasetID)


def is_at_path(file: h5py.File) -> bool:
    """Return True if the file is read-only and its path still refers to the same file."""
    if not (file.driver == "sec2" and file.mode == "r" and not file.swmr_mode):
        return False
    try:
        return samestat(Path(file.filename).stat(), os.fstat(file.id.get_vfd_handle()))
    except OSError:
        return False
