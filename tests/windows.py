"""Let a test run meet what Windows lacks and refuses: NDX_SYSTEM=windows pytest tests/storage.

Calls that only POSIX has are removed, and names of files and open files are treated as Windows
does. That is all: paths, line ends and the file system stay those of this system, and the processes
that a test starts are not affected.
"""

import errno
import importlib
import mmap
import os
import re
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_POSIX_CALLS = [
    *("chown", "fchmod", "fchown", "fork", "killpg", "lockf", "memfd_create", "posix_fadvise"),
    *("posix_fallocate", "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity"),
]
_PATCHED = "the test replaces a call that only POSIX has"
_READERS = "there are no locks with which a file could be read while it grows"
_PROCESSES = "it cannot be seen whether a process runs"
NOT_THERE = {
    "test_a_crash_after_any_write_leaves_a_committed_state": _PATCHED,
    "test_flushed_data_survive_a_crash_after_any_write": _PATCHED,
    "test_a_failed_recovery_can_be_repeated": _PATCHED,
    "test_a_run_interrupted_while_writing_is_kept": _PATCHED,
    "test_a_run_that_cannot_be_completed_can_be_recovered": _PATCHED,
    "test_without_locks_a_stream_is_neither_recovered_nor_read_before_its_end": _PATCHED,
    "test_partial_writes_of_the_system_are_completed": _PATCHED,
    "test_a_full_disk_is_an_error_of_the_system": _PATCHED,
    "test_a_full_disk_leaves_no_file_and_names_it": _PATCHED,
    "test_another_process_reads_flushed_values": _READERS,
    "test_an_open_reader_sees_the_state_of_its_opening": _READERS,
    "test_times_are_the_timestamps_of_the_series": _READERS,
    "test_readers_see_flushed_data_while_data_are_saved": _READERS,
    "test_memory_is_bounded_without_a_flush": _READERS,
    "test_a_reader_keeps_what_it_has_seen_until_the_stream_ends": _READERS,
    "test_a_writer_that_cannot_be_understood_is_in_doubt": "the test takes away POSIX locks only",
    "test_forked_processes_read_a_file_that_was_open_before": "there is no fork",
    "test_a_file_may_have_any_name": "names cannot have these characters",
    "test_files_of_killed_processes_are_told_of_once": _PROCESSES,
    "test_a_file_of_a_process_whose_number_another_has_is_told_of": _PROCESSES,
    "test_a_file_that_is_being_read_is_renamed": "its temporary name stays while it is open",
    "test_a_stream_whose_journal_was_removed_ends": "an open file cannot be removed",
}
_WRITING = os.O_WRONLY | os.O_RDWR
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_IGNORED = ("/proc/", "/sys/", "/dev/null", "/dev/tty")


def pretend() -> None:
    """Change this process for good, after libraries have found what they need."""
    for library in ("hdmf", "pandas", "pynwb", "scipy.io", "distributed"):
        with suppress(ImportError):
            importlib.import_module(library)
    for name in _POSIX_CALLS:
        if hasattr(os, name):
            delattr(os, name)
    for name in dir(mmap):
        if name.startswith("MADV_"):
            delattr(mmap, name)
    sys.modules["msvcrt"] = SimpleNamespace(locking=_locking(), LK_NBLCK=2)
    sys.modules["fcntl"] = None  # type: ignore[assignment]
    sys.addaudithook(_watch)


def _locking() -> Callable[[int, int, int], None]:
    """Return ``msvcrt.locking``, made of Linux's locks of open files."""
    import fcntl

    def locking(number: int, mode: int, length: int) -> None:
        assert mode == 2
        start, what = os.lseek(number, 0, os.SEEK_CUR), fcntl.F_WRLCK
        if not fcntl.fcntl(number, fcntl.F_GETFL) & _WRITING:
            what = fcntl.F_RDLCK  # Linux refuses the other for files that are only read.
        try:
            lock = struct.pack("hhqqi", what, os.SEEK_SET, start, length, 0)
            fcntl.fcntl(number, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error

    return locking


def _watch(event: str, words: tuple[Any, ...]) -> None:
    """Raise what Windows raises; Python calls this before it opens, renames and removes files."""
    if event == "open" and isinstance(words[0], (str, bytes, os.PathLike)):
        path, mode, flags = words
        if set(mode or "") & set("wax+") or (flags or 0) & _WRITING:
            _check_new(path)
    elif event == "os.mkdir":
        _check_new(words[0])
    elif event in {"os.rename", "os.link"}:
        _check_new(words[1])
        if event == "os.rename":
            _check_closed(words[0])
            _check_closed(words[1])
    elif event == "os.remove":
        _check_closed(words[0])


def _check_new(path: Any) -> None:
    """Refuse names that Windows refuses, and those that differ from others only in case."""
    full = Path(os.fsdecode(path)).absolute()
    if str(full).startswith(_IGNORED):
        return
    if _FORBIDDEN.search(str(full)) or _RESERVED.fullmatch(full.name):
        raise OSError(errno.EINVAL, "no file of Windows has this name", str(full))
    if os.path.lexists(full) or not full.parent.is_dir():
        return
    for other in full.parent.iterdir():
        if other.name.casefold() == full.name.casefold():
            raise FileExistsError(errno.EEXIST, f"on Windows this is {other.name}", str(full))


def _check_closed(path: Any) -> None:
    """Refuse to rename, replace or remove what is open or mapped in this process."""
    full = Path(os.fsdecode(path)).absolute()
    if str(full).startswith(_IGNORED) or full.is_symlink() or not full.exists():
        return
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    used = {line.split(maxsplit=5)[-1] for line in maps}
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            used.add(str(number.readlink()))
    if any(one == str(full) or one.startswith(f"{full}/") for one in used):
        raise PermissionError(errno.EACCES, "on Windows an open file stays in its place", str(full))
