"""The command ``ndx-sim demo``."""

from pathlib import Path

import click

from ndx_simulation_output.cli.options import LOCAL_PATH
from ndx_simulation_output.cli.output import print_line
from ndx_simulation_output.files import quoted


@click.command()
@click.argument("directory", type=LOCAL_PATH, default="ndx-sim-demo")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo.")
def demo(directory: Path, *, overwrite: bool) -> None:
    """Simulate a small network, store it in DIRECTORY/run.nwb, check and draw it.

    DIRECTORY, ndx-sim-demo unless given, also gets the SONATA files that were converted, and
    those that run.nwb was exported to.

    \b
    Example:
      ndx-sim demo
    """
    from ndx_simulation_output.demo import run_demo

    for line in run_demo(directory, overwrite=overwrite):
        print_line(line)
    print_line(f"to look at it: ndx-sim view {quoted(directory / 'run.nwb')}")
