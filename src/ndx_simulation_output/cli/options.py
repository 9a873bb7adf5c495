"""Options that several commands of ``ndx-sim`` share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ndx_simulation_output.choices import DEFAULT_MEMORY, Access, Compression, DelayUnit, Dialect
from ndx_simulation_output.cli.completion import CELLS, PARTS, STATES, complete_list
from ndx_simulation_output.errors import SelectionError, is_like_url

if TYPE_CHECKING:
    from ndx_simulation_output.recording.cells import Cells

_Command = Callable[..., None]


class _LocalPath(click.Path):
    """A local path; a URL is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_like_url(value):
            from ndx_simulation_output.remote import refuse_url

            is_target = param is not None and param.name in {"target", "directory"}
            refuse_url(value, is_target=is_target)
        return super().convert(value, param, ctx)


LOCAL_PATH = _LocalPath(path_type=Path)
"""Type of arguments that are local files or directories."""


class Command(click.Command):
    """A command whose help has sections of options, and its examples at the end."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Take the example out of the help."""
        super().__init__(*args, **settings)
        self.help, mark, example = (self.help or "").partition("\b\n")
        self.epilog = mark + example

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of ``in_section`` last."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        for parameter in options:
            if record := parameter.get_help_record(ctx):
                sections.setdefault(_SECTIONS.get(parameter, "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


_SECTIONS: dict[click.Parameter, str] = {}


def in_section(title: str, *options: Callable[[_Command], _Command]) -> Any:
    """Return options that are listed in a section of their own."""

    def marking(option: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
        def decorate(command: _Command) -> _Command:
            command = option(command)
            _SECTIONS[command.__click_params__[-1]] = title  # type: ignore[attr-defined]
            return command

        return decorate

    return tuple(map(marking, options))


def add_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return a decorator that adds ``options`` to a command, listed in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    del ctx, parameter
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals and text):
            msg = f"{value!r} is not of the form NAME=VALUE"
            raise click.BadParameter(msg)
        pairs[name] = text
    return pairs


def _population(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> str | dict[str, str] | None:
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    return _pairs(ctx, parameter, values) or None


def _chunks(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    del ctx, parameter
    if value is None or value == "contiguous":
        return value
    try:
        rows, columns = (int(part) for part in value.split(","))
    except ValueError:
        msg = f"{value!r} is neither ROWS,COLUMNS nor 'contiguous'"
        raise click.BadParameter(msg) from None
    if rows < 1 or columns < 1:
        msg = f"{value!r} is not a chunk shape: both numbers must be at least 1"
        raise click.BadParameter(msg)
    return rows, columns


def _mebibytes(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    del ctx, parameter
    return value * 2**20


def _steps(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> str | dict[str, str] | None:
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    return _pairs(ctx, parameter, values) or None


def _cells(ctx: click.Context, parameter: click.Parameter, value: str | None) -> "Cells | None":
    del ctx, parameter
    if value is None:
        return None
    from ndx_simulation_output.recording.cells import parse_cells

    try:
        return parse_cells(value)
    except SelectionError as error:
        raise click.BadParameter(str(error)) from None


CELLS_OPTION = click.option(
    "--cells",
    callback=_cells,
    metavar="CELLS",
    shell_complete=CELLS,
    help="Ids of cells such as 3,7,10-19, properties such as layer=2,3 or 'depth>=300', or the "
    "name of a node set.",
)


def _names(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    del ctx, parameter
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


TRUST_OPTION = click.option(
    "--trust",
    is_flag=True,
    help="Read what a file refers to outside its folder, and data far larger than the file.",
)

DT_OPTION = click.option(
    "--dt",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Time step in ms of data without times, or of a network of ANNarchy.",
)

READING_OPTIONS = in_section(
    "How the source is read",
    click.option(
        "--unit",
        multiple=True,
        callback=_pairs,
        metavar="NAME=UNIT",
        help="Unit of a report or potential, such as v_report=mV.",
    ),
    click.option(
        "--time-unit",
        multiple=True,
        callback=_pairs,
        metavar="NAME=UNIT",
        help="Unit of the times of a report, potential, group or 'spikes'; the default is ms.",
    ),
    click.option(
        "--compartments",
        multiple=True,
        callback=_pairs,
        metavar="NAME=all",
        help="Compute the positions of a report of every segment, or of one in each section "
        "(NAME=center).",
    ),
    DT_OPTION,
    click.option(
        "--segment",
        type=click.IntRange(min=0),
        metavar="NUMBER",
        help="Segment of a NIX file of Neo, from 0. By default all are read, the later ones under "
        "other names.",
    ),
    click.option(
        "--nodes/--no-nodes",
        default=None,
        help="Require the circuit of a SONATA run, or ignore it. By default it is read if it "
        "exists.",
    ),
    click.option(
        "--properties",
        callback=_names,
        metavar="NAME,...",
        shell_complete=complete_list,
        help="Properties of nodes that recorded cells get, such as layer,model_type.",
    ),
    TRUST_OPTION,
)
"""The options of ``open_output`` except ``--population``."""

SOURCE_OPTIONS = (
    *READING_OPTIONS,
    *in_section(
        "How the source is read",
        click.option(
            "--population",
            multiple=True,
            callback=_population,
            metavar="NAME",
            help="Population of spikes whose file does not name one; for NEST the ids of each, "
            "such as exc=1-80.",
        ),
    ),
)

TARGET_OPTIONS = (
    click.option(
        "--metadata",
        type=LOCAL_PATH,
        metavar="FILE",
        help="YAML file with the sections NWBFile, Subject, SimulationMetaData.",
    ),
    click.option(
        "--circuit/--no-circuit",
        default=None,
        help="Store all cells of the circuit, a table for each population; by default only of a "
        "circuit alone.",
    ),
    click.option("--edges/--no-edges", default=None, help="Store the connections of the circuit."),
    click.option("--plan", is_flag=True, help="Print how data would be stored; write nothing."),
    click.option("--overwrite", is_flag=True, help="Replace an existing target."),
    click.option("--mpi", is_flag=True, help="Share the work between the processes of mpirun."),
    *in_section(
        "How data are stored",
        click.option(
            "--compression",
            type=click.Choice(get_args(Compression)),
            default="auto",
            show_default=True,
            metavar="NAME",
            help="auto, gzip, zstd or none; auto is zstd in Zarr stores, and none of reports in "
            "HDF5.",
        ),
        click.option(
            "--access",
            type=click.Choice(get_args(Access)),
            default="balanced",
            show_default=True,
            metavar="WHAT",
            help="What is read most often: all times of some cells (cells), all cells at a time "
            "(frames), or both (balanced).",
        ),
        click.option(
            "--chunks",
            callback=_chunks,
            metavar="ROWS,COLUMNS",
            help="Chunk shape instead of the planned one, or 'contiguous'.",
        ),
        click.option(
            "--memory",
            callback=_mebibytes,
            type=click.IntRange(min=1),
            default=DEFAULT_MEMORY // 2**20,
            metavar="MIB",
            show_default=True,
            help="Upper limit of all buffers in MiB.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            metavar="NUMBER",
            help="Number of threads; 0 for none. By default as many as help, which --plan prints.",
        ),
        click.option(
            "--quantize",
            callback=_steps,
            multiple=True,
            metavar="[NAME=]STEP",
            help="Round reports to multiples of STEP, such as 0.01mV, stored in two bytes.",
        ),
        click.option(
            "--link",
            is_flag=True,
            help="Refer to the data in the source files instead of copying them.",
        ),
    ),
)

EXPORT_OPTIONS = (
    *in_section(
        "SONATA files",
        click.option(
            "--dialect",
            type=click.Choice(get_args(Dialect)),
            help="allen (bmtk) or bbp (libsonata). By default that of the source, else bbp.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float64"]),
            help="Type of the data of reports. The default is the recorded type.",
        ),
        CELLS_OPTION,
    ),
    *in_section(
        "ANNarchy files",
        click.option(
            "--state",
            metavar="NAME",
            shell_complete=STATES,
            help="Name of the state, if there are several.",
        ),
        click.option(
            "--part",
            metavar="NAME",
            shell_complete=PARTS,
            help="Write a single population or projection.",
        ),
        click.option(
            "--connectivity",
            is_flag=True,
            help="Write the connectivity of the projection, as save_connectivity does.",
        ),
        click.option(
            "--delay-unit",
            type=click.Choice(get_args(DelayUnit)),
            help="Unit of the delays of a connectivity file; steps before version 5.",
        ),
        DT_OPTION,
    ),
    TRUST_OPTION,
)
