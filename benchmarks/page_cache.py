"""Read files into the page cache, remove them from it, and hold memory ready."""

import ctypes
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["SHARED_MEMORY", "cached_share", "drop", "held_memory", "read_once"]

BLOCK_BYTES = 2**25
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory


def read_once(path: Path) -> None:
    """Read a file, or those of a directory, into the page cache."""
    buffer = bytearray(BLOCK_BYTES)
    for one in path.iterdir() if path.is_dir() else [path]:
        with one.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def drop(path: Path) -> None:
    """Remove the file from the page cache after pending data are written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(path: Path) -> float:
    """Return the fraction of the file's pages that are in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_ubyte.from_buffer(mapped)
        size = ctypes.c_size_t(len(mapped))
        failed = ctypes.CDLL(None).mincore(ctypes.byref(first), size, pages)
        del first  # the mapping cannot be closed while this refers to it
    if failed:
        msg = f"the system does not tell which pages of {path.name} are in memory"
        raise OSError(msg)
    resident: int = sum(page & 1 for page in bytes(pages))
    return resident / len(pages)


@contextmanager
def held_memory(size: int, scratch: Path) -> Iterator[list[Path]]:
    """Hold memory by two files of this size, which the task removes when it begins.

    One is in the page cache and never written to disk; Linux allocates it in large blocks. The
    other is in a file system in memory, if there is one, and is allocated page by page. Measured:
    with both, writes of any size find memory ready; with one of them they often do not. No other
    data are waiting to be written to disk when the block begins.
    """
    os.sync()
    with ExitStack() as stack:
        places = (scratch, SHARED_MEMORY if _has_space(2 * size) else scratch)
        paths = []
        for place in places:
            directory = stack.enter_context(tempfile.TemporaryDirectory(dir=place))
            paths.append(Path(directory) / "ballast")
            _fill(paths[-1], size)
        yield paths


def _has_space(size: int) -> bool:
    """Return True if the file system in memory exists and has space."""
    try:
        space = os.statvfs(SHARED_MEMORY)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize > size


def _fill(path: Path, size: int) -> None:
    block = bytes(min(size, BLOCK_BYTES))
    with path.open("wb", buffering=0) as file:
        for _ in range(-(-size // BLOCK_BYTES)):
            file.write(block)
