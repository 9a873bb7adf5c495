"""The command ``ndx-sim export``."""

from inspect import signature
from pathlib import Path
from typing import Any

import click

from ndx_simulation_output.cli.options import EXPORT_OPTIONS, LOCAL_PATH, Command, add_options
from ndx_simulation_output.cli.output import print_line, print_notes, progress_bar


@click.command(cls=Command)
@click.argument("file", type=LOCAL_PATH)
@click.argument("target", type=LOCAL_PATH)
@add_options(*EXPORT_OPTIONS)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def export(file: Path, target: Path, *, overwrite: bool, **options: Any) -> None:
    """Write an NWB file as SONATA or ANNarchy files.

    TARGET is a directory for SONATA files, or a file of ANNarchy if it ends in .npz, .gz, .txt or
    .mat.

    \b
    Example:
      ndx-sim export run.nwb sonata/ --dialect bbp
      ndx-sim export run.nwb layer4/ --cells layer=4
      ndx-sim export state.nwb network.npz
      ndx-sim export state.nwb exc_to_inh.txt --part exc_to_inh
    """
    from ndx_simulation_output.api import ANNARCHY_EXTENSIONS, export_annarchy, export_sonata

    is_state = target.suffix in ANNARCHY_EXTENSIONS
    parameters = signature(export_annarchy if is_state else export_sonata).parameters
    if others := [name for name in options if name not in parameters and options[name]]:
        option = others[0].replace("_", "-")
        msg = f"--{option} applies to {'SONATA' if is_state else 'ANNarchy'} files, not to {target}"
        raise click.UsageError(msg)
    options = {name: value for name, value in options.items() if value}
    if is_state:
        exported = export_annarchy(file, target, overwrite=overwrite, **options)
        print_notes(exported.notes)
        print_line(f"wrote {exported.path}")
        return
    with progress_bar(f"writing {target.name}/") as progress:
        written = export_sonata(file, target, progress=progress, overwrite=overwrite, **options)
    print_notes(written.left_out)
    for path in written.files:
        print_line(f"wrote {path}")
