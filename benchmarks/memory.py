"""Measure the memory of processes that is not backed by files."""

from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

__all__ = ["sampled_peak"]


def sampled_peak(process: "subprocess.Popen[str]", interval: float) -> int | None:
    """Wait for the process; return its peak memory that is not backed by files.

    Samples the process and its descendants every ``interval`` seconds. Returns None on systems
    without this information.
    """
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(_anonymous_bytes, _family(process.pid))))
        sleep(interval)
    return most or None


def _family(process: int) -> list[int]:
    """Return the process and its descendants, or nothing without /proc."""
    try:
        listed = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return []
    children = [int(child) for line in listed for child in line.split()]
    return [process, *(one for child in children for one in _family(child))]


def _anonymous_bytes(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    kept = (fields.get(name, "0 kB").split()[0] for name in ("RssAnon", "RssShmem"))
    return 1024 * sum(map(int, kept))
