"""Options that several commands of ``ndx-sim`` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ndx_simulation_output.remote import refuse_url
from ndx_simulation_output.storage.layout import DEFAULT_MEMORY

# The options of the commands that read sources and write files, and what their values mean.

_Command = Callable[..., None]


class _LocalPath(click.Path):
    """A path on this machine; one made of a URL would be of something else."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_url(value)
        return super().convert(value, param, ctx)


LOCAL_PATH = _LocalPath(path_type=Path)
"""The type of arguments that are files or directories on this machine."""


def source_options(command: _Command) -> _Command:
    """Give a command the options that say how sources are read."""
    return _with(command, (*_READING_OPTIONS, _POPULATION_OPTION))


def reading_options(command: _Command) -> _Command:
    """Give a command the same without ``--population``, which it has in a sense of its own."""
    return _with(command, _READING_OPTIONS)


def target_options(command: _Command) -> _Command:
    """Give a command the options that say how a file is written."""
    return _with(command, _TARGET_OPTIONS)


def export_options(command: _Command) -> _Command:
    """Give a command the options that say how a file is exported."""
    return _with(command, _EXPORT_OPTIONS)


def _with(command: _Command, options: tuple[Callable[[_Command], _Command], ...]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


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
        msg = f"{value!r} is no size of a chunk: both numbers are at least 1"
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


_READING_OPTIONS = (
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
        help="Unit of the time of a report, potential, group or 'spikes'; by default ms.",
    ),
    click.option(
        "--compartments",
        multiple=True,
        callback=_pairs,
        metavar="NAME=all",
        help="A report that has every segment: its positions are computed.",
    ),
    click.option(
        "--dt",
        type=click.FloatRange(min=0, min_open=True),
        help="Time step in ms of data that have no time, or of ANNarchy's network.",
    ),
)

_POPULATION_OPTION = click.option(
    "--population", help="Name of the population of spikes that have none."
)

_TARGET_OPTIONS = (
    click.option(
        "--metadata",
        type=click.Path(path_type=Path),
        help="YAML file with the sections NWBFile, Subject, SimulationMetaData.",
    ),
    click.option(
        "--compression",
        type=click.Choice(["gzip", "zstd", "none"]),
        help="How data are compressed: not at all by default; in Zarr zstd, which only Zarr has.",
    ),
    click.option(
        "--access",
        type=click.Choice(["balanced", "cells", "frames"]),
        default="balanced",
        show_default=True,
        help="What is read most: all times of a cell, all cells at a time, or both.",
    ),
    click.option(
        "--chunks",
        callback=_chunks,
        metavar="ROWS,COLUMNS",
        help="Size of a chunk instead of the planned one, or 'contiguous'.",
    ),
    click.option(
        "--memory",
        callback=_mebibytes,
        type=click.IntRange(min=1),
        default=DEFAULT_MEMORY // 2**20,
        show_default=True,
        help="MiB that buffers take at most.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        help="Number of threads, 0 for none; by default one for each processor.",
    ),
    click.option(
        "--quantize",
        callback=_steps,
        multiple=True,
        metavar="[NAME=]STEP",
        help="Round reports to multiples of STEP, such as 0.01mV, in two bytes each.",
    ),
    click.option("--link", is_flag=True, help="Leave the data in the source and refer to them."),
    click.option("--plan", is_flag=True, help="Say how data would be stored, and write nothing."),
    click.option("--overwrite", is_flag=True, help="Replace an existing target."),
    click.option("--mpi", is_flag=True, help="Share the work among the processes of mpirun."),
)

_EXPORT_OPTIONS = (
    click.option(
        "--dialect",
        type=click.Choice(["allen", "bbp"]),
        help="SONATA: allen (bmtk) or bbp (libsonata); by default that of the source, else bbp.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        help="SONATA: type of the data of reports; by default the recorded one.",
    ),
    click.option("--state", metavar="NAME", help="ANNarchy: which state, if there are several."),
    click.option("--part", metavar="NAME", help="ANNarchy: this population or projection alone."),
    click.option(
        "--connectivity",
        is_flag=True,
        help="ANNarchy: where the synapses of the projection are, as save_connectivity writes.",
    ),
    click.option(
        "--delay-unit",
        type=click.Choice(["ms", "steps"]),
        help="ANNarchy: unit of the delays in a connectivity file; ms, or steps before version 5.",
    ),
)
