"""Several ways to do one thing, each run in a process of its own, in interleaved rounds."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import reports

__all__ = ["Run", "Way", "measure"]

SAMPLING_SECONDS = 0.01
BLOCK_BYTES = 2**25
WORK = Path(__file__).with_name("work.py")


@dataclass(frozen=True)
class Way:
    """A way of `work.py`, the ending of the file it writes, and the Python that runs it."""

    name: str
    suffix: str
    python: Path = Path(sys.executable)


@dataclass(frozen=True)
class Run:
    """What one run took; memory is None where it is not known.

    `anonymous_bytes` is a sampled peak of memory that is not backed by files, over the process
    and those that it started.
    """

    seconds: float
    processor_seconds: float
    process_seconds: float
    imported_bytes: int | None
    peak_bytes: int | None
    anonymous_bytes: int | None


def measure(
    ways: Mapping[str, Way],
    source: Path,
    repeats: int,
    tell: Callable[[str], None],
    spare: float = 1.3,
) -> dict[str, list[Run]]:
    """Run every way in every round; give the runs of each, in the order of the rounds.

    Each round begins with another way, so that none always follows the same one. The source is
    in the page cache, and before each run nothing waits to be written to disk. A first round is
    not counted: in it every output is compared with the source, value by value. Outputs lie
    beside the source and are removed.

    A virtual machine gives memory that is free for seconds back to its host, and writing to
    such memory again is ten times slower, now and then. So memory for `spare` times the source
    is held until the work begins: as ballast, a file in the page cache that is then removed.
    """
    labels = list(ways)
    ballast = source.with_name("ballast")
    size = int(spare * source.stat().st_size)
    runs: dict[str, list[Run]] = {label: [] for label in ways}
    _read_once(source)
    for number in range(repeats + 1):
        first = number % len(labels)
        for label in labels[first:] + labels[:first]:
            _fill(ballast, size)
            target = source.with_name(f"output{ways[label].suffix}")
            run = _run(ways[label], source, target, ballast)
            tell(f"round {number}: {label}: {run.seconds:.2f} s")
            if number == 0:
                reports.check_same_values(source, target)
            else:
                runs[label].append(run)
            target.unlink()
    return runs


def _fill(path: Path, size: int) -> None:
    """Write a file of this size, and everything to disk."""
    block = bytes(BLOCK_BYTES)
    with path.open("wb", buffering=0) as file:
        for _ in range(-(-size // BLOCK_BYTES)):
            file.write(block)
    os.sync()


def _read_once(path: Path) -> None:
    """Bring the file into the page cache."""
    buffer = bytearray(BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _run(way: Way, source: Path, target: Path, ballast: Path) -> Run:
    paths = [str(path) for path in (source, target, ballast)]
    command = [str(way.python), str(WORK), way.name, *paths]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = perf_counter()
        # Our own script and the Python that the caller chose.
        process = subprocess.Popen(command, stdout=output, stderr=errors)  # noqa: S603
        anonymous = _sampled_peak(process)
        process_seconds = perf_counter() - start
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            msg = f"{way.name} failed:\n{errors.read()}"
            raise RuntimeError(msg)
        # A converter may print too; ours is the last line.
        taken = json.loads(output.read().splitlines()[-1])
    process_seconds -= taken.pop("removing_seconds")
    return Run(**taken, process_seconds=process_seconds, anonymous_bytes=anonymous)


def _sampled_peak(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the process; give the most memory not backed by files that it was seen to hold."""
    seen = []
    while process.poll() is None:
        seen.append(sum(map(_anonymous_bytes, _family(process.pid))))
        sleep(SAMPLING_SECONDS)
    return max(seen, default=0) or None


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
