"""Measure this package and compare it with others.

`python benchmarks/run.py --help` prints the options. `README.md` describes what is
measured, how to read it, and what came out.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

import click
import tables
from bench import WHOLE_GIGABYTES, Bench
from claims import Section
from environments import MissingError
from machine import describe_briefly, describe_machine
from measuring import WorkError
from rows import (
    cells,
    circuits,
    compression,
    conversion,
    growth,
    importing,
    parallel,
    plotting,
    predecessor,
    recording,
    remote,
    saving,
    selection,
    states,
)

README = Path(__file__).with_name("README.md")
PICTURE = README.parents[1] / "docs" / "explanation" / "growth.svg"
MACHINE = "machine"
ROWS: dict[str, Callable[[Bench], Section]] = {
    "convert": conversion.measure,
    "gzip": compression.measure,
    "predecessor": predecessor.measure_reports,
    "queries": selection.measure,
    "cold": selection.measure_cold,
    "repeated": selection.measure_repeated,
    "read": compression.measure_reading,
    "table": cells.measure_writing,
    "open": cells.measure_opening,
    "wide": cells.measure_wide,
    "nodes": circuits.measure_nodes,
    "edges": circuits.measure_edges,
    "plots": plotting.measure,
    "viewer": plotting.measure_viewer,
    "spikes": predecessor.measure_spikes,
    "many": cells.measure_many,
    "mpi": parallel.measure,
    "cluster": parallel.measure_cluster,
    "merge": parallel.measure_merging,
    "remote": remote.measure,
    "neuron": recording.measure,
    "saving": saving.measure,
    "state": states.measure,
    "import": importing.measure,
    "growth": growth.measure,
}
Directory = click.Path(exists=True, file_okay=False, path_type=Path)
File = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Rows to measure.")
@click.option(
    "--gigabytes",
    default=WHOLE_GIGABYTES,
    show_default=True,
    help="Size of the report; all other sizes are scaled with it.",
)
@click.option("--repeats", default=5, show_default=True, help="Number of rounds.")
@click.option("--points", default=4, show_default=True, help="Points on each scaling curve.")
@click.option("--big", type=float, help="Size in GB of a larger report, to compare memory.")
@click.option("--offline", is_flag=True, help="Install nothing; skip what is missing.")
@click.option("--scratch", type=Directory, help="Directory for large files.")
@click.option(
    "--results",
    type=File,
    default=README,
    help="File whose marker comments enclose the tables.",
)
@click.option("--picture", type=File, default=PICTURE, help="File for the scaling plot.")
def main(
    *,
    only: tuple[str, ...],
    gigabytes: float,
    repeats: int,
    points: int,
    big: float | None,
    offline: bool,
    scratch: Path | None,
    results: Path,
    picture: Path,
) -> None:
    """Measure this package and others on generated inputs."""
    names = [name for name in ROWS if name in only or not only]
    # Let Python compile modules once, as pip does, in the first round, which is not counted.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    tables.begin(results, [MACHINE, *names])  # Fail before the measurements rather than after them.
    clock = perf_counter()

    def tell(line: str) -> None:
        click.echo(f"{perf_counter() - clock:6.0f} s  {line}", err=True)

    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        bench = Bench(
            scratch=Path(directory),
            results=results,
            picture=picture,
            gigabytes=gigabytes,
            repeats=repeats,
            points=points,
            big=big,
            offline=offline,
            tell=tell,
        )
        about = f"Last run: `{_command()}` on {describe_machine(bench.scratch)}"
        tables.write(results, MACHINE, about)
        sections = list(_sections(bench, names))
    reached = sum(claim.is_reached for section in sections for claim in section.claims)
    tell(f"{reached} of {sum(len(section.claims) for section in sections)} goals reached")
    tell(f"results are in {results.name}")
    if any(section.has_failed for section in sections):
        sys.exit(1)


def _sections(bench: Bench, names: Iterable[str]) -> Iterable[Section]:
    """Measure some rows, and write each to the results at once."""
    for name in names:
        bench.tell(f"== {name}")
        made = f"{datetime.now(timezone.utc).date()}; {describe_briefly()} before"
        try:
            section = ROWS[name](bench)
        except (MissingError, WorkError, OSError, ValueError) as error:
            section = Section(name, [], [f"failed: {error}"], has_broken=True)
        tables.write(bench.results, name, tables.section_text(section, made))
        yield section


def _command() -> str:
    """Return the command line without local directories."""
    return shlex.join(["python", "benchmarks/run.py", *_public_arguments(sys.argv[1:])])


def _public_arguments(arguments: list[str]) -> list[str]:
    """Remove options that name local directories."""
    private = ("--scratch", "--results", "--picture")
    kept, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith(private):
            kept.append(argument)
        skip = argument in private
    return kept


if __name__ == "__main__":
    main()
