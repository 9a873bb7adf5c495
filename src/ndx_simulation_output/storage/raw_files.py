"""Access to files outside HDF5: the lock of h5py, and memory maps."""

import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from os.path import samestat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import h5py
import numpy as np
from h5py._objects import phil
from numpy.typing import NDArray

from ndx_simulation_output.recording.arrays import Put
from ndx_simulation_output.system import (
    end_lease,
    has_lease,
    open_file,
    read_at,
    take_lease,
)

if TYPE_CHECKING:
    from typing_extensions import Self

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
        self._expected = "MADV_NORMAL"

    def advise(self, advice: str) -> None:
        """Pass advice such as ``MADV_DONTNEED`` to the kernel, where it is supported."""
        if hasattr(self.map, "madvise") and hasattr(mmap, advice):
            self.map.madvise(getattr(mmap, advice))

    def expect(self, access: str) -> None:
        """Tell the kernel how the file will be read, such as ``MADV_RANDOM``, if that changes."""
        if access != self._expected:
            self._expected = access
            self.advise(access)

    def read_ahead(self, start: int, length: int) -> None:
        """Advise the kernel to read bytes in advance, where that is supported."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.number, start, length, os.POSIX_FADV_WILLNEED)

    def lease(self) -> "Lease | None":
        """Return a lease, under which the mapped bytes can be used, or None."""
        return Lease(self) if self._take_lease() else None

    def _take_lease(self) -> bool:
        """Take a lease, if possible, which the caller has to end."""
        if os.getpid() != self._process:
            return False  # A lease is shared with forked processes, which could end it.
        with self._lock:
            if not (has_lease(self.number) if self._leases else take_lease(self.number)):
                return False
            self._leases += 1
        if os.fstat(self.number).st_size < self.size:
            self.end_lease()
            return False
        return True

    def end_lease(self) -> None:
        """End one of the leases; not in a forked process, as it would end that of its parent."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._leases -= 1
            if not self._leases:
                end_lease(self.number)

    def reading(self) -> "Reading":
        """Return access to parts of the file, for use in a ``with`` statement."""
        return Reading(self)

    def put_short(
        self, parts: Sequence[tuple[int, int, NDArray[Any]]], dtype: np.dtype[Any], put: Put
    ) -> bool:
        """``put`` mapped values into arrays; False without a lease, or for too many bytes.

        Each of ``parts`` is the first byte, the number of bytes from row to row, and the array.
        """
        left, held = 0, False
        try:
            for start, step, out in parts:
                if (left := left - out.nbytes) < 0:
                    left = _BATCH_BYTES - out.nbytes
                    if held:
                        held = False
                        self.end_lease()
                    if left < 0 or not self._take_lease():
                        return False
                    held = True
                height, width = out.shape
                end = start + (height - 1) * step + width * dtype.itemsize
                if end > self.size:
                    msg = f"the file ends before byte {end}"
                    raise OSError(msg)
                steps = step, dtype.itemsize
                put(out, np.ndarray(out.shape, dtype, self.map, start, steps))
        finally:
            if held:
                self.end_lease()
        return True

    def part(self, start: int, length: int) -> NDArray[np.uint8]:
        """Return ``length`` bytes from ``start`` on."""
        values = np.empty(length, np.uint8)
        with self.reading() as reading:
            for _, found in reading.blocks(start, length, 1, length, length):
                values[:] = found[0]
        return values

    def read_parts(self, starts: Iterable[int], out: NDArray[np.uint8]) -> None:
        """Read parts of one length to the rows of ``out``."""
        buffer, length = out.reshape(-1).data, out.shape[1]
        for number, start in enumerate(starts):
            part = buffer[number * length : (number + 1) * length]
            if (count := read_at(self.number, part, start)) < length:
                msg = f"the file ends at byte {start + count}, before byte {start + length}"
                raise OSError(msg)


class Reading:
    """Access to parts of a mapped file, under a lease that is renewed every some bytes.

    What is returned is for immediate use, before more is asked for.
    """

    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self._lease: Lease | None = None
        self._left = 0
        self._buffer = np.empty(0, np.uint8)

    def __enter__(self) -> "Self":
        """Take a lease."""
        self._renew()
        return self

    def __exit__(self, *_: object) -> None:
        """End the lease."""
        if self._lease is not None:
            self._lease.end()

    def _renew(self) -> None:
        self.__exit__()
        self._lease, self._left = self._file.lease(), _BATCH_BYTES

    def blocks(
        self, start: int, step: int, count: int, length: int, used: int
    ) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Yield ``count`` parts of ``length`` bytes, one every ``step``, some at a time.

        A block is a slice of the parts and their bytes, shape (part, byte). ``used`` is the number
        of bytes of a part that will be used.
        """
        if (end := start + (count - 1) * step + length) > self._file.size:
            msg = f"the file ends before byte {end}"
            raise OSError(msg)
        top = 0
        while top < count:
            if self._left < used:
                self._renew()
            height = self._left // used if self._lease else _BUFFER_BYTES // length
            height = min(max(1, height), count - top)
            self._left -= height * used
            block, first = slice(top, top + height), start + top * step
            if self._lease is not None:
                yield (
                    block,
                    np.ndarray((height, length), np.uint8, self._file.map, first, (step, 1)),
                )
            else:
                yield block, self._read(first, step, height, length)
            top += height

    def _read(self, start: int, step: int, count: int, length: int) -> NDArray[np.uint8]:
        """Read parts into the buffer."""
        if self._buffer.size < count * length:
            self._buffer = np.empty(count * length, np.uint8)
        values = self._buffer[: count * length].reshape(count, length)
        if step == length:
            self._file.read_parts([start], values.reshape(1, -1))
        else:
            self._file.read_parts((start + number * step for number in range(count)), values)
        return values


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


def evenly_spaced(starts: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Cut positions into groups with one distance, and yield it too."""
    steps = np.diff(starts)
    ends: list[int] = []
    common = int(steps[0]) if len(steps) else 0
    if not (is_common := steps == common).all():
        common = int(np.median(steps))
        is_common = steps == common
        ends = (np.flatnonzero(~is_common) + 1).tolist()
    for start, stop in pairwise([0, *ends, len(starts)]):
        yield slice(start, stop), common


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
