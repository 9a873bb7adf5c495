"""Calls that depend on the operating system, each with a portable fallback."""

import ctypes
import errno
import os
import platform
import re
import signal
import stat
import sys
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt as _msvcrt
except ImportError:  # every other system
    _msvcrt = None  # type: ignore[assignment]
msvcrt: Any = _msvcrt

INTERRUPTIONS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""Signals that ask a process to end."""
_MOST_BYTES = 2**30
"""macOS refuses to read or write more than 2 GiB at once."""
_LOCKED_BYTE = 2**31 - 2
"""On Windows no other process can read or write a locked byte: one that a journal lacks."""
_ZEROS = bytes(2**20)
_OPEN_SECONDS = 2.0
"""Virus scanners on Windows open new files for a moment; nobody can rename them meanwhile."""
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$')
_DEVICE = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE
)
_position = threading.Lock()


def open_file(path: Path, flags: int) -> int:
    """Open a file descriptor without translating line ends, and without waiting for a pipe."""
    number = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if stat.S_ISREG(os.fstat(number).st_mode):
        return number
    os.close(number)
    raise OSError(errno.EINVAL, "it is not a file", os.fspath(path))


def write_at(number: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of ``data`` to the file descriptor ``number`` at ``offset``."""
    write = os.pwrite if hasattr(os, "pwrite") else _seek_and_write
    left = memoryview(data)
    while left:
        written = write(number, left[:_MOST_BYTES], offset)
        left, offset = left[written:], offset + written


def read_at(number: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Fill ``buffer`` from ``offset`` on; return how many bytes the file has there."""
    read = _read_with_preadv if hasattr(os, "preadv") else _seek_and_read
    left = memoryview(buffer)
    while left and (count := read(number, left[:_MOST_BYTES], offset)):
        left, offset = left[count:], offset + count
    return len(buffer) - len(left)


def _read_with_preadv(number: int, buffer: memoryview, offset: int) -> int:
    return os.preadv(number, [buffer], offset)


def _seek_and_read(number: int, buffer: memoryview, offset: int) -> int:
    with _at(number, offset):
        found = os.read(number, len(buffer))
    buffer[: len(found)] = found
    return len(found)


def _seek_and_write(number: int, data: memoryview, offset: int) -> int:
    with _at(number, offset):
        return os.write(number, data)


@contextmanager
def _at(number: int, offset: int) -> Iterator[None]:
    """Move a file descriptor to ``offset`` for the block, in one thread at a time."""
    with _position:
        position = os.lseek(number, 0, os.SEEK_CUR)
        os.lseek(number, offset, os.SEEK_SET)
        try:
            yield
        finally:
            os.lseek(number, position, os.SEEK_SET)


def replace(source: Path, target: Path) -> None:
    """Rename a file, replacing ``target``; on Windows, wait a little for who has it open."""
    deadline = time.monotonic() + (0.0 if hasattr(os, "killpg") else _OPEN_SECONDS)
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def allocate(number: int, length: int) -> None:
    """Allocate the first ``length`` bytes of an empty file; OSError if the disk is too small."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(number, 0, length)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # Not every file system can.
                raise
        else:
            return
    for start in range(0, length, len(_ZEROS)):
        write_at(number, memoryview(_ZEROS)[: length - start], start)


def reserve(path: Path, start: int, length: int) -> None:
    """Allocate space of a file, if that is fast; OSError if the disk is too small."""
    # Not posix_fallocate, which writes to every block where a file system cannot allocate.
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    allocate = getattr(library, "fallocate64", None)
    if allocate is None:  # Not in every C library.
        return
    number = open_file(path, os.O_WRONLY)
    try:
        failed = allocate(number, 0, ctypes.c_int64(start), ctypes.c_int64(length))
    finally:
        os.close(number)
    problem = ctypes.get_errno() if failed else 0
    if problem in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        raise OSError(problem, os.strerror(problem), os.fspath(path))


def exchange(path: Path, other: Path) -> bool:
    """Exchange the names of two files or directories in one step; return False if that fails."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    rename = getattr(library, "renameat2", None)
    if rename is None:  # Not in every C library.
        return False
    here, flags = -100, ctypes.c_uint(2)  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(path), here, os.fsencode(other), flags) == 0)


def lock_file(number: int, *, shared: bool) -> bool | None:
    """Lock a file descriptor as HDF5 does; return False if another process has locked it.

    Return None where there are no locks: on Windows, and on file systems without them.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def lock_journal(number: int, *, shared: bool) -> bool | None:
    """Lock a file that HDF5 does not open, as ``lock_file`` does; on Windows never shared."""
    if msvcrt is None:
        return lock_file(number, shared=shared)
    os.lseek(number, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    except OSError:
        return None
    return True


def unlock_file(number: int) -> None:
    """Release the lock of a file descriptor."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)


def take_lease(number: int) -> bool:
    """Delay all who open a file for writing or make it shorter; False if that is not possible.

    Windows does not make a mapped file shorter.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return os.name == "nt"
    try:
        # Linux tells of a delayed process by a signal; SIGIO, the default, would end this one.
        # The end of a lease restores the default.
        fcntl.fcntl(number, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True


def has_lease(number: int) -> bool:
    """Return True if a lease holds, and nobody waits for its end."""
    if not hasattr(fcntl, "F_GETLEASE"):
        return os.name == "nt"
    return bool(fcntl.fcntl(number, fcntl.F_GETLEASE) == fcntl.F_RDLCK)


def end_lease(number: int) -> None:
    """End a lease."""
    if hasattr(fcntl, "F_SETLEASE"):
        try:  # noqa: SIM105 - entering suppress() takes longer
            fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:  # Linux has ended a lease for which others waited 45 seconds.
            pass


def portable_names(wanted: Iterable[str]) -> dict[str, str]:
    """Return for each name of a file one that all systems allow and tell apart.

    Windows reserves characters and names; Windows and macOS ignore case.

    Example
    -------
    >>> portable_names(["v.h5", "V.h5", "a:b.h5", "con.h5"])
    {'v.h5': 'v.h5', 'V.h5': 'V_2.h5', 'a:b.h5': 'a_b.h5', 'con.h5': '_con.h5'}

    """
    wanted = sorted(dict.fromkeys(wanted), key=lambda name: _portable(name) != name)
    names, used, others = {}, set[str](), set(map(_same, wanted))
    for name in wanted:
        first = Path(_portable(name))
        numbered = (f"{first.stem}_{number}{first.suffix}" for number in count(2))
        free = (one for one in numbered if _same(one) not in used and _same(one) not in others)
        found = first.name if _same(first.name) not in used else next(free)
        used.add(_same(found))
        names[name] = found
    return names


def allowed_name(name: str) -> str:
    """Return the name of a file, or another if this system does not allow it: Windows."""
    return name if msvcrt is None else portable_names([name])[name]


def _portable(name: str) -> str:
    name = _NOT_IN_NAMES.sub("_", name)
    return f"_{name}" if _DEVICE.match(name) else name


def _same(name: str) -> str:
    """Return what is equal for names that some system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def processors() -> tuple[int, ...]:
    """Return the processors that this process may use, numbered."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@dataclass(frozen=True)
class Process:
    """A process: its number and start, and where it runs.

    ``machine`` and ``boot`` identify the computer and the time since it was last started,
    ``numbers`` the container or whatever else numbers its processes.
    """

    host: str
    machine: str
    boot: str
    numbers: str
    number: int
    start: str

    @classmethod
    def current(cls) -> "Process":
        """Return this process."""
        number = os.getpid()
        boot = _text("/proc/sys/kernel/random/boot_id")
        numbers = ""
        with suppress(OSError):
            numbers = str(Path("/proc/self/ns/pid").readlink())
        machine = _text("/etc/machine-id") or f"{uuid.getnode():x}"
        return cls(platform.node(), machine, boot or machine, numbers, number, _start(number) or "")

    def is_alive(self) -> bool | None:
        """Return True if the process runs or is suspended, None if that cannot be seen from here.

        Its number alone does not tell: another process may have it, here or in a container.
        """
        here = Process.current()
        if self.boot != here.boot:
            is_restarted = (self.host, self.machine) == (here.host, here.machine)
            return False if is_restarted else None
        if self.numbers != here.numbers:
            return None
        start = _start(self.number)
        if start is None:
            return False
        return start == self.start if start and self.start else None


def may_have_changed(number: int, when: float) -> bool:
    """Return True if the process ``number`` runs and began before ``when``, or that is unknown."""
    start = _start(number)
    if not start:
        return start is not None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(start) / os.sysconf("SC_CLK_TCK")
    return time.time() - age < when + 1


def _start(number: int) -> str | None:
    """Return when a process started, "" if that is unknown, None if it does not run."""
    if not hasattr(os, "killpg"):  # On Windows, os.kill would end it.
        return ""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass  # It belongs to another user.
    # The name of the program, in parentheses, may contain spaces.
    fields = _text(f"/proc/{number}/stat").rpartition(")")[2].split()
    if not fields:
        return ""
    return None if fields[0] in {"Z", "X"} else fields[19]


def _text(path: str) -> str:
    """Return the text of a file of the system, "" if there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
