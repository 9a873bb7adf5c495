"""The command ``ndx-sim demo``."""

from pathlib import Path

import click

from ndx_simulation_output.cli.options import LOCAL_PATH, Command
from ndx_simulation_output.cli.output import print_line


@click.command(cls=Command)
@click.argument("directory", type=LOCAL_PATH, default="ndx-sim-demo")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo.")
def demo(directory: Path, *, overwrite: bool) -> None:
    """Simulate a small network, store it in NWB, and draw it.

    DIRECTORY, by default ndx-sim-demo, gets the file run.nwb, the SONATA files that it was
    converted from and exported to, and the picture run.png.

    \b
    Example:
      ndx-sim demo
    """
    from ndx_simulation_output.demo import run_demo
    from ndx_simulation_output.files import quoted

    for line in run_demo(directory, overwrite=overwrite):
        print_line(line)
    print_line(f"to look at it: ndx-sim view {quoted(directory / 'run.nwb')}")
