"""The command ``ndx-sim view``."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ndx_simulation_output.cli.options import LOCAL_PATH, SOURCE_OPTIONS, Command, add_options
from ndx_simulation_output.cli.output import print_line
from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.optional import import_optional

if TYPE_CHECKING:
    from ndx_simulation_output.viewer.session import ViewedFile

_PUBLIC_WARNING = (
    "warning: anyone who has this address, or listens on the network, can read the files, "
    "because the connection is not encrypted"
)


class _OptionsOfFiles(Command):
    """A command whose options after a file are for that file, those before the first for all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and collect the options of each file in ``ctx.obj``."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        if ctx.resilient_parsing:  # A shell completes the line.
            return rest
        from ndx_simulation_output.api import open_output

        names = signature(open_output).parameters.keys() & ctx.params.keys()
        common, given = self._options_at(ctx, given)
        ctx.obj = []
        for _ in ctx.params["files"] or ():
            own, after = self._options_at(ctx, given[1:])
            source = click.Command(self.name, params=self.params)
            params = source.make_context(self.name, [*common, *own, "--", given[0]]).params
            ctx.obj.append({name: params[name] for name in names})
            given = after
        return rest

    def _options_at(self, ctx: click.Context, given: list[str]) -> tuple[list[str], list[str]]:
        """Return the options that arguments begin with, and the other arguments."""
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        # Without files, newer versions of click have a mark for a missing value.
        files = parser.parse_args(list(given))[0]["files"]
        rest = list(files) if isinstance(files, tuple) else []
        return [one for one in given[: len(given) - len(rest)] if one != "--"], rest


@click.command(cls=_OptionsOfFiles)
@click.argument("files", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--save", type=LOCAL_PATH, metavar="PAGE", help="Write the page to an HTML file; serve nothing."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file of --save.")
@click.option(
    "--state", default="", help="What the page shows: what its address has after the question mark."
)
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
@click.pass_context
def view(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    port: int,
    *,
    save: Path | None,
    overwrite: bool,
    state: str,
    no_browser: bool,
    all_interfaces: bool,
    **options: Any,
) -> None:
    """Show FILES in a browser, on this machine only; Ctrl-C ends it.

    Each of FILES is a source as for info. They are not modified. Options after a file are for
    that file, those before the first for all. The printed address contains the token that the page
    requires.

    \b
    Example:
      ndx-sim view run.nwb
      ndx-sim view before.nwb after.nwb --no-browser --port 5006
      ndx-sim view run.nwb --save page.html
    """
    del options  # They are collected for each file.
    import_optional("bokeh", "view", "view")
    import asyncio
    import webbrowser

    from ndx_simulation_output.files import check_target
    from ndx_simulation_output.viewer.saved import save_page
    from ndx_simulation_output.viewer.server import LOOPBACK, serve
    from ndx_simulation_output.viewer.session import ViewedFile

    def ready(address: str) -> None:
        address += f"&{state.lstrip('?#')}" if state else ""
        print_line(f"open {address} (Ctrl-C to stop)")
        if all_interfaces:
            print_line(_PUBLIC_WARNING, err=True)
        if not no_browser:
            try:
                webbrowser.open(cleanup.enter_context(redirect_file(address)).as_uri())
            except OSError as error:
                print_line(f"warning: cannot open a browser: {error.strerror}", err=True)

    if save is not None:
        check_target(save, overwrite=overwrite)  # before work begins
    viewed = [ViewedFile(path, own) for path, own in zip(files, ctx.obj, strict=True)]
    _open(viewed)
    if save is not None:
        saved = save_page(viewed, save, state, overwrite=overwrite)
        print_line(f"wrote {saved} ({saved.stat().st_size / 1e6:.1f} MB), which opens in a browser")
        return
    with ExitStack() as cleanup:
        try:
            address = None if all_interfaces else LOOPBACK
            asyncio.run(serve(viewed, port=port, address=address, ready=ready))
        except OSError as error:
            msg = f"cannot listen on port {port}: {error.strerror}"
            raise click.UsageError(msg) from error


def _open(viewed: "Sequence[ViewedFile]") -> None:
    """Open the files before they are served; report errors, and raise that of the last if all fail.

    A file that cannot be read is a line with its error in the page of the others.
    """
    failed = 0
    for file in viewed:
        try:
            with file.open():
                pass
        except (SimulationOutputError, OSError) as error:
            failed += 1
            if failed == len(viewed):
                raise
            print_line(f"warning: {error}", err=True)


@contextmanager
def redirect_file(address: str) -> Iterator[Path]:
    """Write a page, readable by the user alone, that opens an address: others see command lines."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="ndx-sim-view-") as folder:
        file = Path(folder) / "open.html"
        file.touch(0o600)
        file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">\n')
        yield file
