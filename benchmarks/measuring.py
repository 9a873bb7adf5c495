"""Run several methods for one task, each in its own process, in interleaved rounds."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from environments import MissingError
from memory import sampled_peak
from page_cache import held_memory, read_once

__all__ = ["Measured", "Rounds", "Run", "Way", "WorkError", "here", "run_once"]

SAMPLING_SECONDS = 0.02
CLOSE_SAMPLING_SECONDS = 0.001
WORK = Path(__file__).with_name("work.py")


class WorkError(RuntimeError):
    """A method failed; the message is the last line of its output."""


def here() -> Path:
    """Return this interpreter."""
    return Path(sys.executable)


@dataclass(frozen=True)
class Way:
    """A method: a `module:function` under `ways/`, its input, and its interpreter.

    ``suffix`` is the suffix of the file that it writes, or empty. ``rounds`` limits the number of
    runs of a slow method; its first run then counts too.
    """

    work: str
    source: Path | None = None
    suffix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    python: Callable[[], Path] = here
    rounds: int | None = None

    @property
    def is_another_program(self) -> bool:
        """True if the method is another program, whose memory is unknown."""
        return self.work == "system:cp"


@dataclass(frozen=True)
class Run:
    """Time and memory of one run; memory is None if unknown.

    `anonymous_bytes` is the sampled peak of memory not backed by files, summed over the process
    and its descendants. `written_bytes` is the size of the output file.
    """

    seconds: float
    processor_seconds: float
    process_seconds: float
    imported_bytes: int | None
    peak_bytes: int | None
    anonymous_bytes: int | None
    written_bytes: int


@dataclass
class Measured:
    """The runs of each method in the order of the rounds, and why some methods have none.

    ``peaks`` are the maxima over all runs of memory not backed by files, in bytes.
    """

    runs: dict[str, list[Run]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def problem(self, *labels: str) -> str:
        """Return why one of these methods has no results, or an empty string."""
        return next((self.problems[label] for label in labels if label in self.problems), "")


@dataclass(frozen=True)
class Rounds:
    """Number of rounds, memory held ready for each run, and the check of outputs.

    Each round begins with another method, so that none always follows the same one. The sources
    are in the page cache, and no data are waiting to be written to disk. With more than one round,
    the first is not counted, because frequent memory sampling slows it down. The first output of
    each method is checked.

    A virtual machine returns memory that is free for seconds to its host, and writing to such
    memory again can be ten times slower. Therefore ``spare`` bytes are held until the work
    begins.
    """

    scratch: Path
    count: int
    tell: Callable[[str], None]
    spare: int = 0
    check: Callable[[Path, Path], None] | None = None

    def measure(self, ways: Mapping[str, Way]) -> Measured:
        """Run every method in every round."""
        measured = Measured({label: [] for label in ways})
        for source in {way.source for way in ways.values()}:
            if source is not None:
                read_once(source)
        labels, seen = list(ways), set()
        for number in range(0 if self.count > 1 else 1, self.count + 1):
            for label in _turn(labels, number):
                way = ways[label]
                if measured.problem(label) or not _takes_part(way, number):
                    continue
                run = self._attempt(label, way, number, measured, is_first=label not in seen)
                seen.add(label)
                if run is not None and run.anonymous_bytes is not None:
                    peak = measured.peaks.get(label, 0)
                    measured.peaks[label] = max(peak, run.anonymous_bytes)
                if run is not None and number > 0:
                    measured.runs[label].append(run)
        return measured

    def _attempt(
        self, label: str, way: Way, number: int, measured: Measured, *, is_first: bool
    ) -> Run | None:
        target = self.scratch / f"output{way.suffix}" if way.suffix else None
        interval = SAMPLING_SECONDS if number else CLOSE_SAMPLING_SECONDS
        try:
            run = run_once(way, target, self.scratch, spare=self.spare, interval=interval)
            if is_first and target and way.source and self.check:
                self.check(way.source, target)
        except MissingError as missing:
            measured.problems[label] = f"not measured: {missing}"
        except (WorkError, ValueError, OSError) as error:
            measured.problems[label] = f"failed: {error}"
        else:
            self.tell(f"round {number}: {label}: {run.seconds:.3g} s")
            return run
        finally:
            if target is not None:
                _remove(target)
        self.tell(f"round {number}: {label}: {measured.problems[label]}")
        return None


def _turn(labels: Sequence[str], number: int) -> Sequence[str]:
    first = number % len(labels)
    return [*labels[first:], *labels[:first]]


def _takes_part(way: Way, number: int) -> bool:
    return way.rounds is None or 1 <= number <= way.rounds


def run_once(
    way: Way,
    target: Path | None,
    scratch: Path,
    *,
    spare: int = 0,
    interval: float = SAMPLING_SECONDS,
) -> Run:
    """Run a method in its own process.

    Raises
    ------
    WorkError
        If it fails.
    MissingError
        If its interpreter is missing.

    """
    python = way.python()
    # PYTHONPATH and the like apply to this environment only.
    interpreter = [str(python)] if python == here() else [str(python), "-E"]
    with held_memory(spare, scratch) as ballast:
        paths = [str(path) for path in (way.source, target) if path is not None]
        task = {
            "work": way.work,
            "paths": paths,
            "options": dict(way.options),
            "ballast": [str(path) for path in ballast],
        }
        taken, peak, seconds = _run([*interpreter, str(WORK), json.dumps(task)], interval)
    seconds -= taken.pop("removing_seconds")
    if way.is_another_program:
        peak, taken["imported_bytes"], taken["peak_bytes"] = None, None, None
    size = 0 if target is None else _size_of(target)
    return Run(**taken, process_seconds=seconds, anonymous_bytes=peak, written_bytes=size)


def _run(command: list[str], interval: float) -> tuple[dict[str, Any], int | None, float]:
    """Run a command; return the JSON of its last line, its peak memory, and its seconds."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = perf_counter()
        # The command is our script and the interpreter of the method.
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True)  # noqa: S603
        peak = sampled_peak(process, interval)
        seconds = perf_counter() - start
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            lines = errors.read().strip().splitlines() or [f"exit status {process.returncode}"]
            raise WorkError(lines[-1])
        # A converter may print too; the result is the last line.
        return json.loads(output.read().splitlines()[-1]), peak, seconds


def _remove(target: Path) -> None:
    """Remove a file or a directory, if there is one."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _size_of(target: Path) -> int:
    """Return the size of a file, or of all files in a directory; 0 if there is none."""
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    return sum(path.stat().st_size for path in files if path.exists())
