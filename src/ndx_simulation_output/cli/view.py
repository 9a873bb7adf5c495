"""The command ``ndx-sim view``."""

import asyncio
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from ndx_simulation_output.cli.options import LOCAL_PATH, SOURCE_OPTIONS, Command, add_options
from ndx_simulation_output.cli.output import print_line
from ndx_simulation_output.optional import import_optional

_PUBLIC_WARNING = (
    "warning: anyone who has this address, or listens on the network, can read the files, "
    "because the connection is not encrypted"
)


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="NUMBER",
    help="Port; by default a free one.",
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

    Each of FILES is a source as for info. They are not modified. The printed address contains
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
        print_line(f"open {address} (Ctrl-C to stop)")
        if all_interfaces:
            print_line(_PUBLIC_WARNING, err=True)
        if not no_browser:
            try:
                webbrowser.open(cleanup.enter_context(redirect_file(address)).as_uri())
            except OSError as error:
                print_line(f"warning: cannot open a browser: {error.strerror}", err=True)

    viewed = [ViewedFile(path, options) for path in files]
    for file in viewed:
        with file.open():
            pass  # Report a file that cannot be opened before the page is served.
    with ExitStack() as cleanup:
        try:
            address = None if all_interfaces else LOOPBACK
            asyncio.run(serve(viewed, port=port, address=address, ready=ready))
        except OSError as error:
            msg = f"cannot listen on port {port}: {error.strerror}"
            raise click.UsageError(msg) from error


@contextmanager
def redirect_file(address: str) -> Iterator[Path]:
    """Write a page, readable by the user alone, that opens an address: others see command lines."""
    with TemporaryDirectory(prefix="ndx-sim-view-") as folder:
        file = Path(folder) / "open.html"
        file.touch(0o600)
        file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">\n')
        yield file
