"""The command ``ndx-sim info``."""

from typing import Any

import click

from ndx_simulation_output.cli.options import CELLS_OPTION, SOURCE_OPTIONS, Command, add_options
from ndx_simulation_output.cli.output import open_sources, print_line
from ndx_simulation_output.errors import callers_errors


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@add_options(*SOURCE_OPTIONS, CELLS_OPTION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(sources: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """List the contents of an NWB file or another source.

    SOURCES are the same as for convert, or the URL of an NWB file.

    \b
    Example:
      ndx-sim info run.nwb
      ndx-sim info run.nwb --json
      ndx-sim info run.nwb --cells layer=2,3
      ndx-sim info https://example.org/run.nwb
    """
    from ndx_simulation_output.info import describe, json_of

    with open_sources(sources, **options) as output:
        if as_json:
            with callers_errors():
                click.echo(json_of(output))
            return
        for line in describe(output):
            print_line(line)
