"""Raw access to files beside HDF5: memory maps, positioned writes, locks."""

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from os.path import samestat
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py._objects import phil
from numpy.typing import NDArray

# One thread at a time may be in HDF5: h5py's own lock, for the calls that do not take it.

hdf5_lock: Any = phil
"""May be taken again by the thread that has it. Some releases of h5py leave it out where chunks are
stored, looked for or listed, and where an object is asked whether it is open."""

# Locks on open files between processes, of the kind that HDF5 takes on what it reads.

try:
    import fcntl
except ImportError:  # such as on Windows, where nobody is waited for
    fcntl = None  # type: ignore[assignment]


def lock_file(number: int, *, shared: bool) -> bool:
    """Lock an open file, and give whether nobody else had; where there are no locks, nobody has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # The file system has no locks.
    return True


def unlock_file(number: int) -> None:
    """Let go of the lock."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)


# The bytes of files, mapped into memory: read when they are looked at, and let go of again.


def map_file(file: h5py.File) -> "File | None":
    """Give the bytes of a file, or None if they are to be read through HDF5."""
    if not _is_mappable(file):
        return None
    try:
        return File(file)
    except OSError:  # Not every file system can map files.
        return None


def _is_mappable(file: h5py.File) -> bool:
    """Whether the bytes of the file lie on this machine as HDF5 counts them, and stay so."""
    return is_at_path(file) and not file.userblock_size


def is_at_path(file: h5py.File) -> bool:
    """Whether who opens the path of the file reads the same, and it stays so."""
    if not (file.driver == "sec2" and file.mode == "r" and not file.swmr_mode):
        return False
    try:
        return samestat(Path(file.filename).stat(), os.fstat(file.id.get_vfd_handle()))
    except OSError:
        return False


class File:
    """The bytes of an open file, mapped."""

    def __init__(self, file: h5py.File) -> None:
        # Opened once more: HDF5's own is locked for as long as anything refers to it.
        with Path(file.filename).open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self._map, np.uint8)

    def advise(self, advice: str, start: int = 0, length: int | None = None) -> None:
        """Tell the kernel what will be read, where it can be told."""
        if hasattr(self._map, "madvise") and hasattr(mmap, advice):
            first = start // mmap.PAGESIZE * mmap.PAGESIZE
            length = len(self._map) - first if length is None else length + start - first
            self._map.madvise(getattr(mmap, advice), first, length)

    def part(self, start: int, length: int) -> NDArray[np.uint8]:
        """Give some bytes.

        Raises
        ------
        OSError
            If the file ends before.

        """
        if start + length > len(self.bytes):
            msg = f"the file ends before the chunk at byte {start} does"
            raise OSError(msg)
        return self.bytes[start : start + length]


@dataclass(frozen=True)
class Mapped:
    """Values that are read without reading more than is asked for."""

    file: File

    def release(self) -> None:
        """Let go of the pages that were read; they can be read again."""
        self.file.advise("MADV_DONTNEED")
