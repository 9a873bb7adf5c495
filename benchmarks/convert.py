"""How long, and how much memory, the conversion of a SONATA report takes.

`python benchmarks/convert.py --help` tells the options; `README.md` beside this file tells what
is measured, how to read it, and what came out.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import click
import predecessor
import reports
import tables
from measuring import Run, Way, measure

COPY = "h5py block copy"
OURS = "convert"
COPY_WAY = Way("h5py copy", ".h5")
OURS_WAY = Way("convert", ".nwb")
README = Path(__file__).with_name("README.md")


@dataclass(frozen=True)
class Bench:
    """Where and how often to measure, and whom to tell about the progress."""

    scratch: Path
    repeats: int
    tell: Callable[[str], None]

    def make_report(self, gigabytes: float) -> Path:
        """Write a report of about this size into the scratch directory."""
        path = self.scratch / "voltage.h5"
        path.unlink(missing_ok=True)
        self.tell(f"writing a report of {gigabytes} GB")
        reports.write_report(path, reports.cells_in(gigabytes))
        return path

    def measure(self, source: Path, ways: dict[str, Way], **spare: float) -> dict[str, list[Run]]:
        """Measure these ways on this source."""
        return measure(ways, source, self.repeats, self.tell, **spare)


@click.command()
@click.option("--gigabytes", default=1.6, show_default=True, help="Size of the report.")
@click.option("--repeats", default=5, show_default=True, help="Number of rounds.")
@click.option("--big", type=float, help="Size of a larger report, to see whether memory grows.")
@click.option("--predecessor", "with_predecessor", is_flag=True, help="Measure 0.2.6 as well.")
@click.option(
    "--predecessor-gigabytes",
    type=float,
    help="Size of the report for that; as --gigabytes unless given.",
)
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where large files may be written; the system's temporary directory unless given.",
)
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=README,
    help="File for the tables, which replace what its marker comments enclose.",
)
def main(
    *,
    gigabytes: float,
    repeats: int,
    big: float | None,
    predecessor_gigabytes: float | None,
    scratch: Path | None,
    results: Path,
    with_predecessor: bool,
) -> None:
    """Measure the conversion of SONATA reports beside plain copies and beside version 0.2.6."""
    tables.check_markers(results, "convert")  # before the work rather than after it
    sections = [introduction()]
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        bench = Bench(Path(directory), repeats, lambda line: click.echo(line, err=True))
        sections.append(tables.machine(bench.scratch))
        runs = beside_copies(bench, gigabytes)
        sections.append(copies_section(runs, gigabytes))
        if big is not None:
            big_runs = converted_and_copied(bench, big)
            sections.append(big_section({gigabytes: runs, big: big_runs}))
        if with_predecessor:
            size = predecessor_gigabytes or gigabytes
            sections.append(predecessor_section(beside_predecessor(bench, size), size))
    tables.write(results, "convert", "\n\n".join(sections))
    click.echo(f"results are in {results.name}", err=True)


def beside_copies(bench: Bench, gigabytes: float) -> dict[str, list[Run]]:
    """Measure `cp`, the block copy and our conversion."""
    ways = {"cp": Way("cp", ".h5"), COPY: COPY_WAY, OURS: OURS_WAY}
    return bench.measure(bench.make_report(gigabytes), ways)


def converted_and_copied(bench: Bench, gigabytes: float) -> dict[str, list[Run]]:
    """Measure the block copy and our conversion."""
    return bench.measure(bench.make_report(gigabytes), {COPY: COPY_WAY, OURS: OURS_WAY})


def beside_predecessor(bench: Bench, gigabytes: float) -> dict[str, list[Run]]:
    """Measure the predecessor, our conversion and the block copy on a report it can read."""
    bench.tell("preparing the environment of the predecessor")
    old = Way("predecessor", ".nwb", predecessor.python())
    report = bench.make_report(gigabytes)
    twin = bench.scratch / "voltage_allen.h5"
    reports.write_allen_twin(twin, report)
    report.unlink()
    # The predecessor holds the whole recording in memory and writes it from there.
    return bench.measure(twin, {COPY: COPY_WAY, OURS: OURS_WAY, "0.2.6": old}, spare=2.3)


def introduction() -> str:
    """Tell when and how the results were made, and how busy the machine was."""
    command = shlex.join(["python", "benchmarks/convert.py", *public_arguments(sys.argv[1:])])
    day = datetime.now(timezone.utc).date()
    load = f"{os.getloadavg()[0]:.1f}"
    return f"Made on {day} by `{command}`; load average of the machine at the start: {load}."


def public_arguments(arguments: list[str]) -> list[str]:
    """Leave out directories, which mean nothing on another machine."""
    private = ("--scratch", "--results")
    kept, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith(private):
            kept.append(argument)
        skip = argument in private
    return kept


def copies_section(runs: dict[str, list[Run]], gigabytes: float) -> str:
    """Tell about conversion beside plain copies."""
    title = f"### Beside plain copies: {size(gigabytes)}"
    return f"{title}\n\n{tables.comparison(runs, COPY)}"


def big_section(runs: dict[float, dict[str, list[Run]]]) -> str:
    """Tell how memory depends on the size of the report."""
    smaller, larger = (max(run.peak_bytes for run in taken[OURS]) for taken in runs.values())
    title = f"### Memory and size: {' and '.join(map(size, runs))}"
    head = ["report", "way", "seconds", "memory before, MB", "peak, MB", "of it not files, MB"]
    rows = [
        [size(gigabytes), label, tables.seconds(taken[label]), *tables.memory(taken[label])]
        for gigabytes, taken in runs.items()
        for label in (COPY, OURS)
    ]
    verdict = f"Peak of `{OURS}`, larger report ÷ smaller: {larger / smaller:.2f}."
    return f"{title}\n\n{tables.table(head, rows)}\n\n{verdict}"


def predecessor_section(runs: dict[str, list[Run]], gigabytes: float) -> str:
    """Tell about the predecessor on the same file."""
    title = f"### Beside the predecessor, Allen dialect: {size(gigabytes)}"
    needs = ", ".join(f"`{requirement}`" for requirement in predecessor.REQUIREMENTS)
    ran = f"Environment of 0.2.6, same Python: {needs}."
    return f"{title}\n\n{ran}\n\n{tables.comparison(runs, OURS)}"


def size(gigabytes: float) -> str:
    """Give the exact size of the data and the number of cells."""
    cells = reports.cells_in(gigabytes)
    return f"{reports.data_bytes(cells) / 1e9:.4g} GB, {cells:,} cells"


if __name__ == "__main__":
    main()
