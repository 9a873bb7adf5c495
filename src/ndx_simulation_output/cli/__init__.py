"""The command line, ``ndx-sim``. Its options have the names of the arguments in Python."""

import warnings
from typing import Any

import click

from ndx_simulation_output.cli.check import check
from ndx_simulation_output.cli.convert import convert
from ndx_simulation_output.cli.demo import demo
from ndx_simulation_output.cli.export import export
from ndx_simulation_output.cli.info import info
from ndx_simulation_output.cli.interruptions import interruption, interruptions
from ndx_simulation_output.cli.output import print_line, print_warning
from ndx_simulation_output.cli.plot import plot
from ndx_simulation_output.cli.recover import recover
from ndx_simulation_output.cli.view import view
from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning


class _Commands(click.Group):
    """A group whose commands print the errors and warnings of this package in one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings(), interruptions():
            warnings.simplefilter("always", SimulationOutputWarning)
            warnings.showwarning = print_warning
            try:
                return super().invoke(ctx)
            except (Exception, KeyboardInterrupt) as error:
                number = interruption(error)
                if number is not None:
                    print_line(f"interrupted by {number.name}", err=True)
                    ctx.exit(128 + number)
                if not isinstance(error, SimulationOutputError):
                    raise
                print_line(f"error: {error}", err=True)
                ctx.exit(1)


@click.group(
    cls=_Commands,
    epilog="\b\nExample:\n  ndx-sim demo",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="ndx-simulation-output")
def main() -> None:
    """Convert, inspect, plot and check simulated neural activity in NWB."""


for _command in (convert, export, info, plot, view, check, recover, demo):
    main.add_command(_command)
