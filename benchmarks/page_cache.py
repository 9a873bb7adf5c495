"""The system's page cache: bring a file in, drop it, and hold memory ready for what comes next."""

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
    """Bring the file into the page cache."""
    buffer = bytearray(BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def drop(path: Path) -> None:
    """Let the page cache forget the file, after what waits is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(path: Path) -> float:
    """Give the share of the file's pages, 0 to 1, that are in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_ubyte.from_buffer(mapped)
        size = ctypes.c_size_t(len(mapped))
        failed = ctypes.CDLL(None).mincore(ctypes.byref(first), size, pages)
        del first  # or the mapping cannot be closed
    if failed:
        msg = f"the system does not tell which pages of {path.name} are in memory"
        raise OSError(msg)
    resident: int = sum(page & 1 for page in bytes(pages))
    return resident / len(pages)


@contextmanager
def held_memory(size: int, scratch: Path) -> Iterator[list[Path]]:
    """Hold memory by two files of so many bytes, which the work removes when it begins.

    One is in the page cache, and is never written to disk; Linux gives it memory in large pieces.
    The other is in a file system in memory, where there is one, and takes it page by page.
    Measured: after both, writing in pieces of any size finds memory that is ready, which after
    one of them it often does not. Nothing else waits to be written to disk when the block begins.
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
    """Whether the file system in memory is there and has room."""
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
