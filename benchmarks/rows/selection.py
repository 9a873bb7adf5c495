"""Select cells and times from a report and from its NWB file, compared with libsonata."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from asking import Answerer
from bench import Bench
from claims import Section, at_most
from environments import MissingError
from inputs.reports import compress_report
from measuring import WorkError
from page_cache import cached_share, drop, read_once
from query import Query
from tables import table

from rows.questions import (
    CHECKED,
    COLD,
    LIMIT,
    NWB,
    NWB_LIMIT,
    OTHER,
    REPEATED,
    SONATA,
    WARM,
    Answers,
    Question,
    answerers,
    check_equal,
)

__all__ = ["measure", "measure_cold", "measure_repeated"]

WARM_SHARE = 0.01
H5PY, LARGE = "h5py", "h5py, cache of 1 GiB"


def measure(bench: Bench) -> Section:
    """Ask all by turns, with files open and in the page cache."""
    asked = _ask_all(bench, WARM, answerers(bench), LIMIT)
    claims = [
        asked[question].claim(question, label) for label in (SONATA, NWB) for question in WARM
    ]
    claims += [
        asked[question].claim(question, label, limit, at_most(1.3))
        for label, limit in ((SONATA, LIMIT), (NWB, NWB_LIMIT))
        for question in WARM[:3]
    ]
    title = f"Selections, files open and in the page cache: {bench.size}"
    labels = SONATA, NWB, OTHER, LIMIT, NWB_LIMIT, CHECKED
    return Section(title, claims, [_milliseconds(asked, labels)])


def measure_repeated(bench: Bench) -> Section:
    """Ask for what was just read, and for what is beside it, in compressed files."""
    report = bench.report()
    compressed = bench.made("voltage_gzip.h5", lambda path: compress_report(path, report))
    claims, notes = [], []
    for label, path in ((SONATA, compressed), (NWB, bench.converted("gzip"))):
        works = {label: "reading:ours", H5PY: "reading:h5py_default", LARGE: "reading:h5py_large"}
        kinds = {name: (path, partial(Answerer, work, path)) for name, work in works.items()}
        asked = _ask_all(bench, REPEATED, kinds, H5PY)
        claims += [
            answers.claim(question, label, other)
            for other in (H5PY, LARGE)
            for question, answers in asked.items()
        ]
        notes.append(_milliseconds(asked, tuple(kinds)))
    return Section(f"Compressed files, read again: {bench.size}", claims, notes)


def measure_cold(bench: Bench) -> Section:
    """Ask processes that have just opened their file, which the page cache then forgot."""
    asked = {question: _ask_cold(bench, question) for question in COLD}
    claims = [answers.claim(question, NWB) for question, answers in asked.items()]
    title = f"Selections, files open but not in the page cache: {bench.size}"
    notes = [_milliseconds(asked, (NWB, OTHER)), _limit(bench.converted())]
    return Section(title, claims, notes)


def _limit(path: Path) -> str:
    """Return the speed of a sequential read from disk, as text."""
    drop(path)
    start = perf_counter()
    read_once(path)
    megabytes = path.stat().st_size / 1e6 / (perf_counter() - start)
    return f"Sequential read of the whole NWB file: {megabytes:,.0f} MB/s."


def _ask_all(
    bench: Bench,
    questions: Sequence[Question],
    kinds: Mapping[str, tuple[Path, Callable[[], Answerer]]],
    reference: str,
) -> dict[Question, Answers]:
    """Start all answerers, and ask them by turns; compare their values with the ``reference``."""
    problems, started = {}, {}
    with ExitStack() as stack:
        for label, (path, start) in kinds.items():
            read_once(path)
            try:
                started[label] = stack.enter_context(start())
            except (MissingError, WorkError) as problem:
                problems[label] = _worded(problem)
        return {one: _ask_by_turns(bench, one, started, problems, reference) for one in questions}


def _ask_by_turns(
    bench: Bench,
    question: Question,
    started: Mapping[str, Answerer],
    problems: Mapping[str, str],
    reference: str,
) -> Answers:
    answers = Answers({label: [] for label in started}, dict(problems))
    bench.tell(f"asking for {question.name}")
    for number, query in enumerate(question.queries(bench)):
        labels = list(started)
        first = number % len(labels)
        for label in labels[first:] + labels[:first]:
            if label in answers.problems:
                continue
            try:
                if number == 0:
                    check_equal(bench.scratch, started[label], started[reference], query)
                else:
                    answers.seconds[label].append(started[label].ask(query))
            except (WorkError, ValueError) as problem:
                answers.problems[label] = _worded(problem)
    return answers


def _ask_cold(bench: Bench, question: Question) -> Answers:
    answers = Answers({NWB: [], OTHER: []})
    bench.tell(f"asking for {question.name}, cold")
    _, *queries = question.queries(bench)
    for query in queries:
        for label in answers.seconds:
            if label in answers.problems:
                continue
            try:
                answers.seconds[label].append(_ask_once_cold(bench, label, query))
            except (MissingError, WorkError, OSError) as problem:
                answers.problems[label] = _worded(problem)
    return answers


def _ask_once_cold(bench: Bench, label: str, query: Query) -> float:
    path, start = answerers(bench)[label]
    with start() as answerer:
        drop(path)
        if cached_share(path) > WARM_SHARE:
            msg = "the system keeps the file in its page cache"
            raise MissingError(msg)
        return answerer.ask(query)


def _worded(problem: Exception) -> str:
    kind = "not measured" if isinstance(problem, MissingError) else "failed"
    return f"{kind}: {problem}"


def _milliseconds(asked: Mapping[Question, Answers], labels: tuple[str, ...]) -> str:
    """Return a table of the medians of all answerers."""
    head = ["median ms", *(question.name for question in asked)]
    rows = []
    for label in labels:
        taken = [answers.seconds.get(label) for answers in asked.values()]
        rows.append([label, *(f"{1000 * median(one):.3g}" if one else "n/a" for one in taken)])
    return table(head, rows)
