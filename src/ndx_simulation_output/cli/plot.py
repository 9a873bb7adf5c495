"""The command ``ndx-sim plot``."""

from pathlib import Path
from typing import Any, get_args

import click

from ndx_simulation_output.choices import KINDS, How
from ndx_simulation_output.cli.completion import POPULATIONS, PROPERTIES, REPORTS, VARIABLES
from ndx_simulation_output.cli.options import (
    CELLS_OPTION,
    LOCAL_PATH,
    READING_OPTIONS,
    Command,
    add_options,
)
from ndx_simulation_output.cli.output import open_sources, print_line
from ndx_simulation_output.errors import SelectionError, name_of

_ANIMATIONS = (".gif", ".mp4")


def _ids(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[int] | None:
    """Parse ids and ranges of ids, such as ``3,7,10-19``."""
    del ctx, parameter
    if value is None:
        return None
    from ndx_simulation_output.recording.ids import parse_ids

    try:
        ids: list[int] = parse_ids(value).tolist()
    except SelectionError as error:
        raise click.BadParameter(str(error)) from None
    return ids


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--output",
    "target",
    type=LOCAL_PATH,
    metavar="PICTURE",
    help="PNG, SVG or PDF to write; GIF or MP4 for a neuron over time. By default the name of the "
    "source with .png, in the current directory.",
)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    metavar="KIND",
    help=f"{', '.join(KINDS)}; by default a panel for each recording.",
)
@add_options(CELLS_OPTION)
@click.option(
    "--group-by",
    metavar="NAME",
    shell_complete=PROPERTIES,
    help="Property of the cells to group by: means of traces and rates; heat maps, rasters and "
    "cells in space are sorted or coloured by group.",
)
@click.option(
    "--color-by",
    metavar="NAME",
    shell_complete=PROPERTIES,
    help="Property of the cells that traces, rasters and cells in space are coloured by.",
)
@click.option("--overlay", is_flag=True, default=None, help="Draw traces on one vertical axis.")
@click.option("--numbers", callback=_ids, metavar="NUMBERS", help="Numbers of compartments.")
@click.option("--channels", callback=_ids, metavar="IDS", help="Ids of extracellular channels.")
@click.option(
    "--report",
    metavar="NAME",
    shell_complete=REPORTS,
    help="Only this report, potential, or group or array of instruments.",
)
@click.option(
    "--population",
    metavar="NAME",
    shell_complete=POPULATIONS,
    help="Only this population or projection.",
)
@click.option(
    "--variable",
    metavar="NAME",
    shell_complete=VARIABLES,
    help="Only this variable, or quantity of a network, or array.",
)
@click.option("--time", nargs=2, type=float, metavar="START STOP", help="Time window in s.")
@click.option("--at", type=float, metavar="TIME", help="Time of a neuron in space in s.")
@click.option(
    "--bin", "bin_width", type=float, metavar="LENGTH", help="Length of the bins of rates in s."
)
@click.option(
    "--pixel",
    "how",
    type=click.Choice(get_args(How)),
    help="How several values are reduced to one pixel of a heat map.  [default: mean]",
)
@click.option(
    "--frames",
    type=click.IntRange(2, 1000),
    metavar="NUMBER",
    help="Number of frames of a GIF or MP4.  [default: 60]",
)
@click.option(
    "--dpi",
    type=click.IntRange(20, 1200),
    metavar="NUMBER",
    help="Dots per inch of a PNG.  [default: 150]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@add_options(*READING_OPTIONS)
def plot(
    sources: tuple[str, ...],
    target: Path | None,
    kind: Any,
    time: tuple[float, float] | None,
    frames: int | None,
    dpi: int | None,
    *,
    overwrite: bool,
    **options: Any,
) -> None:
    """Plot an NWB file or the output of a simulation.

    SOURCES are the same as for info. Only the data shown are read.

    \b
    Example:
      ndx-sim plot run.nwb
      ndx-sim plot run.nwb --kind heat --report v_exc --time 0 0.1 -o heat.png
      ndx-sim plot storage.h5 --kind neuron --variable v --at 0.005 -o neuron.png
      ndx-sim plot storage.h5 --kind neuron -o neuron.gif
      ndx-sim plot simulation_config.json --group-by layer --cells layer=4,5
    """
    from ndx_simulation_output.plots import PictureOptions, save, save_animation
    from ndx_simulation_output.plots.selection import check_selection

    names = (
        "cells",
        "group_by",
        "color_by",
        "overlay",
        "numbers",
        "channels",
        "report",
        "population",
        "variable",
        "at",
        "bin_width",
        "how",
    )
    start, stop = time or (None, None)
    if time is not None and not time[0] < time[1]:
        msg = f"--time expects START < STOP; found {time[0]:g} and {time[1]:g}"
        raise click.UsageError(msg)
    chosen = PictureOptions(**{name: options.pop(name) for name in names}, start=start, stop=stop)
    target = Path(f"{Path(name_of(sources[0])).stem}.png") if target is None else target
    is_animation = target.suffix in _ANIMATIONS
    if is_animation and kind not in {None, "neuron"}:
        msg = f"{target} is an animation, which is available for --kind neuron only"
        raise click.UsageError(msg)
    if is_animation and chosen.at is not None:
        msg = f"{target} is an animation; select its times with --time instead of --at"
        raise click.UsageError(msg)
    for flag, name in (("--group-by", chosen.group_by), ("--color-by", chosen.color_by)):
        if is_animation and name is not None:
            msg = f"{target} is an animation of values over time; {flag} does not apply"
            raise click.UsageError(msg)
    if is_animation and dpi is not None:
        msg = f"{target} is an animation; --dpi does not apply"
        raise click.UsageError(msg)
    if not is_animation and frames is not None:
        msg = f"{target} is a picture; --frames applies to a .gif or .mp4"
        raise click.UsageError(msg)
    with open_sources(sources, **options) as output:
        if is_animation:
            check_selection(output, "neuron", chosen)
            save_animation(
                chosen.in_space(output),
                target,
                chosen.cells,
                start=start,
                stop=stop,
                frames=frames or 60,
                overwrite=overwrite,
            )
        else:
            save(output, target, kind, chosen, dpi=dpi or 150, overwrite=overwrite)
    print_line(f"wrote {target}")
