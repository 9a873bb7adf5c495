"""Access to files outside HDF5: the lock of h5py, and memory maps."""

import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from itertools import pairwise
from os.path import samestat
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
from h5py._objects import phil
from numpy.typing import NDArray

from ndx_simulation_output.system import end_lease, has_lease, open_file, read_at, take_lease

hdf5_lock: Any = phil
"""The reentrant lock of h5py. Some h5py releases do not acquire it when they store, find or
list chunks, or test whether an object is open."""


_BATCH_BYTES = 2**22
"""Size of what is read under one lease."""
_BUFFER_BYTES = 2**21
"""Size of the buffer without a lease, which should fit into the processor's cache."""


class MappedFile:
    """The bytes of a file, which other processes may change or make shorter at any time.

    Accessing mapped bytes beyond the end of a file would kill the process. They are therefore used
    only under a lease: as long as it is held, Linux delays whoever opens the file for writing or
    makes it shorter. Where there is no lease, bytes are read into buffers. There is none for a file
    that is open for writing, belongs to another user, or is on many network file systems.
    """

    def __init__(self, path: str | Path) -> None:
        # Not the descriptor of HDF5, which stays locked while a reference to it exists.
        self.number = open_file(Path(path), os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)
        self.map = mmap.mmap(self.number, 0, access=mmap.ACCESS_READ)
        self.size = len(self.map)
        self.interface = np.frombuffer(self.map, np.uint8).__array_interface__
        self._lock, self._process, self._leases = threading.RLock(), os.getpid(), 0

    def advise(self, advice: str) -> None:
        """Pass advice such as ``MADV_RANDOM`` to the kernel, where it is supported."""
        if hasattr(self.map, "madvise") and hasattr(mmap, advice):
            self.map.madvise(getattr(mmap, advice))

    def read_ahead(self, start: int, length: int) -> None:
        """Advise the kernel to read bytes in advance, where that is supported."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.number, start, length, os.POSIX_FADV_WILLNEED)

    def lease(self) -> "Lease | None":
        """Return a lease, under which the mapped bytes can be used, or None."""
        if os.getpid() != self._process:
            return None  # A lease is shared with forked processes, which could end it.
        with self._lock:
            if not (has_lease(self.number) if self._leases else take_lease(self.number)):
                return None
            self._leases += 1
        lease = Lease(self)
        return lease if os.fstat(self.number).st_size >= self.size else None

    def end_lease(self) -> None:
        """End one of the leases; not in a forked process, as it would end that of its parent."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._leases -= 1
            if not self._leases:
                end_lease(self.number)

    def part(self, start: int, length: int) -> NDArray[np.uint8]:
        """Return ``length`` bytes from ``start`` on."""
        values = np.empty(length, np.uint8)
        for _, found in self.parts(np.array([start]), length):
            values[:] = found[0]
        return values

    def parts(
        self, starts: NDArray[np.int64], length: int, used: int | None = None
    ) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Yield the bytes of many parts of one length, shape (part, byte), some at a time.

        They are for immediate use: the lease ends when the next ones are asked for. ``used`` is the
        number of bytes of a part that will be used, by default all.
        """
        last = int(starts.max()) + length
        if last > self.size:
            msg = f"the file ends before byte {last}"
            raise OSError(msg)
        for block in _evenly_spaced(starts, max(1, _BATCH_BYTES // (used or length))):
            some, lease = starts[block], self.lease()
            if lease is None:
                height = max(1, _BUFFER_BYTES // length)
                buffer = np.empty((min(height, len(some)), length), np.uint8)
                for top in range(0, len(some), height):
                    values = buffer[: len(some) - top]
                    self._read_parts(some[top : top + height], values)
                    yield slice(block.start + top, block.start + top + len(values)), values
                continue
            step = int(some[1] - some[0]) if len(some) > 1 else 1
            place = (len(some), length), np.uint8, self.map, int(some[0])
            try:
                yield block, np.ndarray(*place, strides=(step, 1))
            finally:
                lease.end()

    def _read_parts(self, starts: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        buffer, length = out.reshape(-1).data, out.shape[1]
        if (np.diff(starts) == length).all():
            starts, length = starts[:1], len(buffer)
        for number, start in enumerate(starts.tolist()):
            part = buffer[number * length : (number + 1) * length]
            if (count := read_at(self.number, part, start)) < length:
                msg = f"the file ends at byte {start + count}, before byte {start + length}"
                raise OSError(msg)


class Lease:
    """The right to use the bytes of a mapped file, as numpy takes them, until :meth:`end`."""

    def __init__(self, file: MappedFile) -> None:
        self._file: MappedFile | None = file
        self.__array_interface__ = file.interface

    def end(self) -> None:
        """End the lease; this can be repeated."""
        file, self._file = self._file, None
        if file is not None:
            file.end_lease()

    __del__ = end


def _evenly_spaced(starts: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Cut positions into groups of at most ``most``, whose distance is the most common one."""
    steps = np.diff(starts)
    ends = []
    if len(starts) > 2 and not (steps == steps[0]).all():
        ends = (np.flatnonzero(steps != np.median(steps)) + 1).tolist()
    for start, stop in pairwise([0, *ends, len(starts)]):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop))


def map_file(file: h5py.File) -> MappedFile | None:
    """Return the bytes of a file, or None if it must be read through HDF5."""
    if not is_at_path(file) or file.userblock_size:
        return None
    try:
        return MappedFile(file.filename)
    except (OSError, ValueError):  # Not every file system can map files, nor an empty one.
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
