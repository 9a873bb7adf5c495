"""The command ``ndx-sim view``."""

import asyncio
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ndx_simulation_output.cli.options import source_options
from ndx_simulation_output.optional import import_optional

# The command ``ndx-sim view``: options, and what they mean.


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port; by default one that is free."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--all-interfaces",
    is_flag=True,
    help="Let other machines in too: whoever knows the address can read the files.",
)
@source_options
def view(
    files: tuple[Path, ...], port: int, *, no_browser: bool, all_interfaces: bool, **options: Any
) -> None:
    """Show what FILES hold in a browser, on this machine alone; Ctrl-C ends it.

    FILES are what ``info`` takes, each on its own. Nothing is written to them. The address that is
    printed has a token, without which nothing is shown.

    \b
    Example:
      ndx-sim view run.nwb
      ndx-sim view before.nwb after.nwb --no-browser --port 5006
    """
    import_optional("bokeh", "view", "view")
    from ndx_simulation_output.viewer.server import LOOPBACK, serve
    from ndx_simulation_output.viewer.session import Source

    def ready(address: str) -> None:
        click.echo(f"look at {address} (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(address)

    sources = [Source(path, options) for path in files]
    for source in sources:
        with source.opened():
            pass  # who cannot see a file is to know it now
    with suppress(KeyboardInterrupt):
        try:
            address = None if all_interfaces else LOOPBACK
            asyncio.run(serve(sources, port=port, address=address, ready=ready))
        except OSError as error:
            msg = f"port {port} cannot be had: {error.strerror}"
            raise click.UsageError(msg) from error
