"""How much memory processes hold that no file backs."""

from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

__all__ = ["sampled_peak"]


def sampled_peak(process: "subprocess.Popen[str]", interval: float) -> int | None:
    """Wait for the process; give the most memory not backed by files that it was seen to hold.

    Looks every ``interval`` seconds, at the process and those that it started. None where the
    system does not tell.
    """
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(_anonymous_bytes, _family(process.pid))))
        sleep(interval)
    return most or None


def _family(process: int) -> list[int]:
    """Give the process and those that it started, empty where there is no /proc."""
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
