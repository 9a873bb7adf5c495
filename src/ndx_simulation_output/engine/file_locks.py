"""Locks on open files between processes, of the kind that HDF5 takes on what it reads."""

from contextlib import suppress

try:
    import fcntl
except ImportError:  # such as on Windows, where nobody is waited for
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock_file", "unlock_file"]


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
