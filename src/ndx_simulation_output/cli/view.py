"""The command ``ndx-sim view``."""

import asyncio
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ndx_simulation_output.cli.options import SOURCE_OPTIONS, add_options
from ndx_simulation_output.optional import import_optional


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port; by default a free one."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--all-interfaces",
    is_flag=True,
    help="Allow access from other machines: anyone with the address can read the files.",
)
@add_options(*SOURCE_OPTIONS)
def view(
    files: tuple[Path, ...], port: int, *, no_browser: bool, all_interfaces: bool, **options: Any
) -> None:
    """Show FILES in a browser, on this machine only; Ctrl-C ends it.

    Each of FILES is a source as for ``info``. They are not modified. The printed address contains
    the token that the page requires.

    \b
    Example:
      ndx-sim view run.nwb
      ndx-sim view before.nwb after.nwb --no-browser --port 5006
    """
    import_optional("bokeh", "view", "view")
    from ndx_simulation_output.viewer.server import LOOPBACK, serve
    from ndx_simulation_output.viewer.session import ViewedFile

    def ready(address: str) -> None:
        click.echo(f"open {address} (Ctrl-C to stop)")
        if not no_browser:
            webbrowser.open(address)

    viewed = [ViewedFile(path, options) for path in files]
    for file in viewed:
        with file.open():
            pass  # Report a file that cannot be opened before the page is served.
    with suppress(KeyboardInterrupt):
        try:
            address = None if all_interfaces else LOOPBACK
            asyncio.run(serve(viewed, port=port, address=address, ready=ready))
        except OSError as error:
            msg = f"cannot listen on port {port}: {error.strerror}"
            raise click.UsageError(msg) from error
