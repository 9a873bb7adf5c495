"""Write results as Markdown between the marker comments of a file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from claims import Claim, Section
from measuring import Measured, Run

__all__ = ["begin", "check_markers", "section_text", "spread", "table", "ways_table", "write"]

UNKNOWN = "n/a"
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def begin(path: Path, names: Iterable[str]) -> None:
    """Check that the file contains both markers of each name; create it if it does not exist.

    Raises
    ------
    ValueError
        If the file exists and lacks a marker.

    """
    if not path.exists():
        path.write_text("\n".join("{}\n{}\n".format(*_markers(name)) for name in names))
    for name in names:
        check_markers(path, name)


def check_markers(path: Path, name: str) -> None:
    """Raise ValueError if the file lacks a marker of this name."""
    first, last = _markers(name)
    if last not in path.read_text().partition(first)[2]:
        msg = f"{path} lacks the comments {first} and {last} that enclose the results"
        raise ValueError(msg)


def write(path: Path, name: str, text: str) -> None:
    """Write the text between the two markers of this name."""
    check_markers(path, name)
    first, last = _markers(name)
    before, _, rest = path.read_text().partition(first)
    after = rest.partition(last)[2]
    path.write_text(f"{before}{first}\n{text}\n{last}{after}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- results: {name} -->", f"<!-- end of results: {name} -->"


def section_text(section: Section, made: str) -> str:
    """Return a section of the results; ``made`` states when and where it was measured."""
    head = ["measurement", "ours", "compared with", "its value", "goal", "ratio", "reached"]
    parts, notes = [f"### {section.title}"], [*section.notes]
    if section.claims:
        parts.append(table(head, [_claim_row(claim) for claim in section.claims]))
        if notes:
            notes = ["<details>\n<summary>Each method</summary>", *notes, "</details>"]
    return "\n\n".join([*parts, *notes, made])


def _claim_row(claim: Claim) -> list[str]:
    what, must = claim.what, str(claim.goal)
    if claim.problem:
        return [what, UNKNOWN, claim.other, UNKNOWN, must, _in_cell(claim.problem), "unknown"]
    ours, others = (_quantity(numbers, claim.unit) for numbers in (claim.ours, claim.others))
    reached = "yes" if claim.is_reached else "**no**"
    return [what, ours, claim.other, others, must, spread(claim.ratios), reached]


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")[:200]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ways_table(measured: Measured) -> str:
    """Return a table of the time and memory of each method."""
    head = ["method", "seconds", "CPU s", "whole process s", "memory at start, MB", "peak, MB"]
    head += ["peak without files, MB", "file written, MB"]
    rows = [
        _way_row(label, runs, measured.peaks.get(label))
        for label, runs in measured.runs.items()
        if not measured.problem(label)
    ]
    return table(head, rows)


def _way_row(label: str, runs: Sequence[Run], peak: int | None) -> list[str]:
    return [
        label,
        spread([run.seconds for run in runs]),
        _number(median(run.processor_seconds for run in runs)),
        _number(median(run.process_seconds for run in runs)),
        _megabytes([run.imported_bytes for run in runs]),
        _megabytes([run.peak_bytes for run in runs]),
        _megabytes([peak]),
        _megabytes([run.written_bytes for run in runs]),
    ]


def _megabytes(numbers: Sequence[int | None]) -> str:
    """Return the maximum in MB (10⁶ bytes), "n/a" if unknown."""
    known = [number for number in numbers if number is not None]
    return f"{max(known) / 1e6:.0f}" if known else UNKNOWN


def spread(numbers: Sequence[float]) -> str:
    """Return the median and, for several numbers, the minimum and maximum."""
    if len(numbers) == 1:
        return f"**{_number(numbers[0])}**"
    middle, lowest, highest = map(_number, (median(numbers), min(numbers), max(numbers)))
    return f"**{middle}** ({lowest} to {highest})"


def _quantity(numbers: Sequence[float], unit: str) -> str:
    """Return the median with its unit; seconds are scaled to s, ms or µs."""
    middle = median(numbers)
    if unit != "s":
        return f"{_number(middle)} {unit}"
    name, factor = next((item for item in UNITS if middle >= item[1]), UNITS[-1])
    return f"{_number(middle / factor)} {name}"


def _number(number: float) -> str:
    """Return the number with three digits, never in scientific notation."""
    return f"{number:.0f}" if number >= 100 else f"{number:#.3g}".rstrip(".")
