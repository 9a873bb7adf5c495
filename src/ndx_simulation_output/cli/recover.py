"""The command ``ndx-sim recover``."""

from pathlib import Path

import click

from ndx_simulation_output.cli.options import LOCAL_PATH, Command
from ndx_simulation_output.cli.output import print_line, print_notes, progress_bar


@click.command(cls=Command)
@click.argument("file", type=LOCAL_PATH)
@click.option(
    "-o",
    "--output",
    "target",
    type=LOCAL_PATH,
    metavar="TARGET",
    help="File to write; by default the one that was being written.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
@click.option(
    "--force",
    is_flag=True,
    help="The process that wrote the file has ended, although that cannot be seen from here.",
)
def recover(file: Path, target: Path | None, *, overwrite: bool, force: bool) -> None:
    """Recover the data of a recording whose process died.

    FILE is the name of the file that was being written, or the temporary file, such as
    .run.1234.part.nwb.

    \b
    Example:
      ndx-sim recover run.nwb
    """
    from ndx_simulation_output.nwb.recover import recover as recover_file

    with progress_bar(f"recovering {file.name}"):
        recovered = recover_file(file, target, overwrite=overwrite, force=force)
    for report in recovered.reports:
        last = "" if report.last is None else f", the last at {report.last:g} s"
        print_line(f"report {report.name}: {report.steps} time steps{last}")
    print_line(f"spikes: {recovered.spikes}")
    print_notes(recovered.notes)
    print_line(f"wrote {recovered.path}")
