"""Damage files of every kind, and see that each is read right or refused in one clear line.

    python tests/fuzz.py --minutes 30
    python tests/fuzz.py --kind "NWB, gzip" --mutations 500 --seed 7
    NDX_TEST_DATA=data python tests/fuzz.py --genuine --minutes 30
    python tests/fuzz.py --reproduce "NWB, gzip:7:132"

Each damaged file has a process of its own, with limits of memory and time. The table that is
printed counts inputs by the worst of what happened to them; the exit status is 1 if that was ever
more than a clear refusal. Such inputs are kept, and their numbers reproduce them. Number 0 of each
kind is undamaged.
"""

import argparse
import faulthandler
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")  # No threads in the process that is forked.
    os.environ.setdefault("MPLBACKEND", "agg")
    sys.path.insert(0, str(Path(__file__).parents[1]))

from ndx_simulation_output.errors import SimulationOutputError
from tests.fuzzing.inputs import GENUINE, KINDS, Kind
from tests.fuzzing.operations import OPERATIONS, Given, NotClearError, WrongError

OUTCOMES = ("right", "refused clearly", "traceback", "signal", "hang", "wrong")
"""From the best to the worst; ``hang`` is also too much memory."""

_RIGHT, _REFUSED, _TRACEBACK, _SIGNAL, _HANG, _WRONG = OUTCOMES
_SECONDS = 40
"""Limit of the time of the processor for an input, and a fifth of that by the clock."""
_BYTES = 2**30
"""Limit of the memory in addition to that of the loaded libraries."""
_MOST_LETTERS = 1500


@dataclass
class Case:
    """An input: the ``number``-th of a kind. ``results`` are (operation, outcome, reason)."""

    kind: Kind
    seed: int
    number: int
    directory: Path
    results: list[tuple[str, str, str]] = field(default_factory=list)
    mutation: str = ""

    @property
    def name(self) -> str:
        """The name by which it is reproduced."""
        return f"{self.kind.name}:{self.seed}:{self.number}"

    @property
    def outcome(self) -> str:
        """The worst that happened."""
        return max((found for _, found, _ in self.results), key=OUTCOMES.index, default=_RIGHT)

    def run(self, undamaged: Path, *, every: bool) -> None:
        """Damage a copy of the undamaged input, and do with it what its kind allows."""
        random = Random(self.name)  # noqa: S311 - to repeat it, not to hide it
        if self.kind.source:
            shutil.copytree(undamaged, self.directory, dirs_exist_ok=True)
            victim = random.choice(_victims(self.kind, self.directory))
        else:
            found = random.choice(_victims(self.kind, undamaged))
            victim = Path(shutil.copyfile(found, self.directory / found.name))

        def damage() -> None:
            how = self.kind.damage(victim, random) if self.number else "undamaged"
            self.mutation = f"{victim.relative_to(self.directory)}: {how}"
            self.save()

        source = self.directory / self.kind.source if self.kind.source else victim
        given = Given(source, self.kind.options, damage)
        if not self.kind.is_damaged_later:
            damage()
        names = list(self.kind.operations)
        if not every and len(names) > 2:
            names = [names[0], random.choice(names[1:])]
        before = _files_in(self.directory)
        for name in names:
            place = self.directory / name
            place.mkdir()
            self.results.append((name, *_do(name, given, place, victim)))
            self.save()
            shutil.rmtree(place)
            left = _files_in(self.directory) - before - {"session.json", "result.json"}
            if left and name != "recover":
                self.results.append((name, _WRONG, f"left {sorted(left)}"))

    def save(self) -> None:
        """Write the results for the process that waits."""
        text = json.dumps([self.mutation, self.results])
        (self.directory / "result.json").write_text(text, encoding="utf-8")

    def load(self) -> None:
        """Read what the process wrote."""
        with suppress(OSError, ValueError):
            text = (self.directory / "result.json").read_text(encoding="utf-8")
            self.mutation, results = json.loads(text)
            self.results = [tuple(result) for result in results]


def _victims(kind: Kind, directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(kind.victims or kind.source) if path.is_file())


def _files_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def _do(name: str, given: Given, place: Path, victim: Path) -> tuple[str, str]:
    """Return the outcome of an operation, and the reason."""
    try:
        OPERATIONS[name](given, place)
    except SimulationOutputError as error:
        return _judge(str(error), name, given.source, place, victim)
    except WrongError as error:
        return _WRONG, str(error)
    except NotClearError as error:
        return _TRACEBACK, f"not clear: {error}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "ndx_simulation_output" in frame.filename]
        where = " < ".join(f"{Path(f.filename).stem}.{f.name}:{f.lineno}" for f in ours[::-1][:4])
        traceback.print_exc()
        return _TRACEBACK, f"{type(error).__name__}: {' '.join(str(error).split())[:150]} @ {where}"
    return _RIGHT, ""


def _judge(text: str, name: str, source: Path, place: Path, victim: Path) -> tuple[str, str]:
    """Return the outcome of an operation that was refused: it left nothing and names the file."""
    if kept := sorted(path.name for path in place.rglob("*")):
        return _WRONG, f"refused, but left {kept[:5]}: {text}"
    names = {victim.name, source.name, source.parent.name, Path(source.stem).stem}
    names |= {"metadata"} if name == "metadata" else set()
    if not any(known in text for known in names) or len(text) > _MOST_LETTERS:
        return _TRACEBACK, f"not clear: {text[:600]}"
    return _REFUSED, text[:300]


@dataclass
class _Process:
    case: Case
    stops: float
    why: str = ""


class Fuzzer:
    """Runs cases in forked processes, ``jobs`` at once, and counts outcomes."""

    def __init__(self, directory: Path, kept: Path, *, jobs: int, every: bool) -> None:
        self.directory, self.kept, self.jobs, self.every = directory, kept, jobs, every
        self.counts: dict[str, Counter[str]] = {}
        self.failures: list[Case] = []
        self.reasons: Counter[str] = Counter()
        self._undamaged: dict[str, Path] = {}
        self._running: dict[int, _Process] = {}

    def undamaged(self, kind: Kind) -> Path:
        """Return a directory with an undamaged input."""
        if kind.name not in self._undamaged:
            place = self.directory / f"undamaged {len(self._undamaged)}"
            place.mkdir()
            kind.make(place)
            self._undamaged[kind.name] = place
        return self._undamaged[kind.name]

    def start(self, kind: Kind, seed: int, number: int) -> None:
        """Start a case, after others have ended."""
        undamaged = self.undamaged(kind)
        while len(self._running) >= self.jobs:
            self._wait()
        case = Case(kind, seed, number, Path(tempfile.mkdtemp(dir=self.directory)))
        pid = os.fork()
        if not pid:
            _run_in_child(case, undamaged, every=self.every)
        self._running[pid] = _Process(case, time.monotonic() + 5 * _SECONDS)

    def finish(self) -> None:
        """Wait for all cases."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        pid, status, _ = os.wait4(-1, os.WNOHANG)
        if pid:
            self._end(self._running.pop(pid), status)
            return
        for running, process in self._running.items():
            if _memory(running) > _BYTES:
                process.why = f"more than {_BYTES / 2**20:.0f} MiB of memory"
            elif time.monotonic() > process.stops:
                process.why = f"no end after {5 * _SECONDS} s"
            if process.why:
                os.kill(running, signal.SIGKILL)
        time.sleep(0.01)

    def _end(self, process: _Process, status: int) -> None:
        case = process.case
        case.load()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            is_slow = process.why or number in {signal.SIGXCPU, signal.SIGKILL}
            why = process.why or signal.Signals(number).name
            case.results.append(("", _HANG if is_slow else _SIGNAL, why))
        elif os.WEXITSTATUS(status):
            log = (case.directory / "log.txt").read_text(errors="replace")
            if not case.mutation or "mutations.py" in log:
                shutil.rmtree(case.directory)  # It could not be damaged in this way.
                return
            case.results.append(("", _TRACEBACK, f"exit status {os.WEXITSTATUS(status)}"))
        if not case.number and case.outcome == _REFUSED and case.kind.source:
            case.results.append(("", _WRONG, "the undamaged input was refused"))
        self.counts.setdefault(case.kind.name, Counter())[case.outcome] += 1
        if OUTCOMES.index(case.outcome) > OUTCOMES.index(_REFUSED):
            self._keep(case)
        shutil.rmtree(case.directory, ignore_errors=True)

    def _keep(self, case: Case) -> None:
        name = re.sub(r"\W+", "_", case.name)
        shutil.copytree(case.directory, self.kept / name, dirs_exist_ok=True, symlinks=True)
        self.failures.append(case)
        for operation, outcome, why in case.results:
            if OUTCOMES.index(outcome) > OUTCOMES.index(_REFUSED):
                print(f"{outcome}: {case.name} ({case.mutation}) {operation}: {why}", flush=True)
                self.reasons[f"{outcome}: {operation}: {re.sub(r'[0-9]+', '#', why)[-150:]}"] += 1

    def table(self) -> str:
        """Return the table of kinds and outcomes as Markdown."""
        rows = [["kind", "inputs tried", *OUTCOMES], ["---"] + ["---:"] * (len(OUTCOMES) + 1)]
        total: Counter[str] = Counter()
        for kind in (*KINDS, *GENUINE):
            if kind.name in self.counts:
                found = self.counts[kind.name]
                rows.append([kind.name, str(found.total()), *(str(found[one]) for one in OUTCOMES)])
                total += found
        rows.append(["all", str(total.total()), *(str(total[one]) for one in OUTCOMES)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _memory(pid: int) -> int:
    """Return the bytes that a process has for itself."""
    with suppress(OSError, IndexError):
        pages = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(pages[1]) - int(pages[2])) * resource.getpagesize()
    return 0


def _run_in_child(case: Case, undamaged: Path, *, every: bool) -> None:
    """Run a case and end the process."""
    status = 1
    try:
        with (case.directory / "log.txt").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        faulthandler.enable(2)
        os.chdir(case.directory)
        _set_limits()
        warnings.simplefilter("ignore")
        case.run(undamaged, every=every)
        status = 0
    except BaseException:  # noqa: BLE001 - told in the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _set_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * _BYTES, used + 4 * _BYTES))


def _plan(
    kinds: list[Kind], seed: int, mutations: int | None, minutes: float
) -> Iterator[tuple[Kind, int]]:
    """Yield kinds in turn, until there were so many of each or the time is over."""
    end = time.monotonic() + 60 * minutes
    del seed
    number = 0
    while mutations is None or number < mutations:
        for kind in kinds:
            if time.monotonic() > end:
                return
            yield kind, number
        number += 1


def fuzz(
    kinds: list[Kind],
    kept: Path,
    *,
    seed: int = 0,
    mutations: int | None = None,
    minutes: float = 10.0,
    jobs: int = 2,
    every: bool = False,
) -> Fuzzer:
    """Try damaged inputs of some kinds; inputs with unclear outcomes are copied to ``kept``."""
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        fuzzer = Fuzzer(Path(directory), kept, jobs=jobs, every=every)
        for kind, number in _plan(kinds, seed, mutations, minutes):
            fuzzer.start(kind, seed, number)
        fuzzer.finish()
    return fuzzer


def _reproduce(name: str, kept: Path) -> int:
    """Run one case in this process, with tracebacks."""
    kind_name, seed, number = name.rsplit(":", 2)
    kind = next(kind for kind in (*KINDS, *GENUINE) if kind.name == kind_name)
    with tempfile.TemporaryDirectory() as directory:
        undamaged = Path(directory) / "undamaged"
        undamaged.mkdir()
        kind.make(undamaged)
        kept = kept / re.sub(r"\W+", "_", name)
        shutil.rmtree(kept, ignore_errors=True)
        case = Case(kind, int(seed), int(number), kept)
        warnings.simplefilter("ignore")
        case.run(undamaged, every=True)
    print(case.mutation)
    for operation, outcome, why in case.results:
        print(f"{operation}: {outcome}: {why}")
    print(f"the damaged input is in {kept}")
    return int(OUTCOMES.index(case.outcome) > 1)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=None, help="stop after this time")
    parser.add_argument("--mutations", type=int, help="number of damaged inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", help="part of the name of a kind")
    parser.add_argument("--genuine", action="store_true", help="damage files of NDX_TEST_DATA")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", action="store_true", help="do every operation with each input")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--reproduce", metavar="KIND:SEED:NUMBER")
    options = parser.parse_args()
    if options.reproduce:
        return _reproduce(options.reproduce, options.kept.absolute())
    minutes = options.minutes or (1e6 if options.mutations else 10.0)
    names = options.kind or [""]
    chosen = GENUINE if options.genuine else KINDS
    kinds = [kind for kind in chosen if any(name in kind.name for name in names)]
    started = time.monotonic()
    fuzzer = fuzz(
        kinds,
        options.kept.absolute(),
        seed=options.seed,
        mutations=options.mutations,
        minutes=minutes,
        jobs=options.jobs,
        every=options.every,
    )
    for reason, count in fuzzer.reasons.most_common(60):
        print(f"{count:5} {reason}")
    print(f"\n{fuzzer.table()}\n\nseed {options.seed}, {time.monotonic() - started:.0f} s")
    return int(bool(fuzzer.failures))


if __name__ == "__main__":
    sys.exit(main())
