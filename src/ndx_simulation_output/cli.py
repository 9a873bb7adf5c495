"""The command line, ``ndx-sim``: the same calls and names as in Python."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, TextIO

import click
from tqdm import tqdm

from ndx_simulation_output.adapters.annarchy import EXTENSIONS
from ndx_simulation_output.cli_options import (
    LOCAL_PATH,
    export_options,
    source_options,
    target_options,
)
from ndx_simulation_output.cli_plot import plot
from ndx_simulation_output.cli_view import view
from ndx_simulation_output.convert import convert as convert_sources
from ndx_simulation_output.convert import plan_layouts
from ndx_simulation_output.demo import run_demo
from ndx_simulation_output.errors import (
    MissingDependencyError,
    SimulationOutputError,
    SimulationOutputWarning,
)
from ndx_simulation_output.exporting import export_annarchy, export_sonata
from ndx_simulation_output.files import names_store
from ndx_simulation_output.info import describe
from ndx_simulation_output.info_facts import json_of
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.recover import recover as recover_file
from ndx_simulation_output.nwb.zarr import DEFAULT_COMPRESSION
from ndx_simulation_output.opening import open_output

__all__ = ["main"]


_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables in which Open MPI, MPICH and its relatives say how many processes there are."""


class _Commands(click.Group):
    """A group whose commands show our errors and warnings as one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always", SimulationOutputWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except SimulationOutputError as error:
                # Such as those of YAML have several lines.
                click.echo(f"error: {' '.join(str(error).split())}", err=True)
                ctx.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del category, filename, lineno, file, line
    # Other libraries write several lines; the first says what it is about.
    click.echo(f"warning: {str(message).splitlines()[0]}", err=True)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], object]]:
    """Show progress on a terminal once it takes more than a second."""
    with tqdm(desc=label, unit="B", unit_scale=True, disable=None, delay=1, leave=False) as bar:

        def update(n_bytes: int, total: int) -> None:
            bar.total = total
            bar.update(n_bytes)

        yield update


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ndx-simulation-output")
def main() -> None:
    """Simulated neural activity in NWB: convert into it and back, look, check.

    \b
    Example:
      ndx-sim demo
    """


@main.command()
@click.argument("sources", nargs=-1, required=True, type=LOCAL_PATH)
@click.argument("target", type=LOCAL_PATH)
@source_options
@target_options
def convert(
    sources: tuple[Path, ...], target: Path, *, plan: bool, mpi: bool, **options: Any
) -> None:
    """Convert what a simulation left behind to one NWB file, or merge NWB files.

    SOURCES are SONATA files, a directory, or a simulation_config.json; or one file of
    Neuronvisio, PyMoDAQ or ANNarchy; or NWB files, such as those of the ranks of a job, each with
    its own cells. TARGET ends in .nwb, or in .nwb.zarr for a Zarr store.

    \b
    Example:
      ndx-sim convert output/ run.nwb --unit v_report=mV --metadata session.yaml
      ndx-sim convert storage.h5 run.nwb
      ndx-sim convert network.npz state.nwb --dt 0.5
      mpirun -n 4 ndx-sim convert output/ run.nwb --mpi
      ndx-sim convert run.0.nwb run.1.nwb run.nwb --compression gzip
    """
    if target.suffix not in {".nwb", ".zarr"}:
        msg = f"the last argument is what to write, NAME.nwb.zarr or NAME.nwb; found {target}"
        raise click.UsageError(msg)
    if names_store(target) and options["compression"] is None:
        options["compression"] = DEFAULT_COMPRESSION
    if plan:
        _say_plan(sources, options)
        return
    comm = _communicator(mpi=mpi)
    if comm is not None and comm.rank > 0:
        try:
            convert_sources(sources, target, comm=comm, **options)
        except SimulationOutputError:
            sys.exit(1)  # rank 0 says why
        return
    with _progress("convert") as progress:
        converted = convert_sources(sources, target, progress=progress, comm=comm, **options)
    _say_notes(converted.notes)
    click.echo(f"wrote {converted.path}")


def _communicator(*, mpi: bool) -> Any:
    """Give the processes of mpirun, or None; refuse several that would all do the same."""
    if not mpi:
        sizes = [os.environ.get(name, "1") for name in _SIZES]
        if any(size.isdecimal() and int(size) > 1 for size in sizes):
            msg = "this is one of several processes of mpirun; add --mpi to share the work"
            raise click.UsageError(msg)
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        msg = f"--mpi needs mpi4py: pip install 'ndx-simulation-output[mpi]' ({error})"
        raise MissingDependencyError(msg) from error
    return MPI.COMM_WORLD


@main.command()
@click.argument("file", type=LOCAL_PATH)
@click.argument("target", type=LOCAL_PATH)
@export_options
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def export(file: Path, target: Path, *, overwrite: bool, **options: Any) -> None:
    """Write the recordings of an NWB FILE as SONATA files, or the state of a network for ANNarchy.

    TARGET is a directory for SONATA's files. If it ends in .npz, .gz, .txt or .mat, it is one file
    of ANNarchy, with the state.

    \b
    Example:
      ndx-sim export run.nwb sonata/ --dialect bbp
      ndx-sim export state.nwb network.npz
      ndx-sim export state.nwb exc_to_inh.txt --part exc_to_inh
    """
    is_state = target.suffix in EXTENSIONS
    taken = signature(export_annarchy if is_state else export_sonata).parameters
    if others := [name for name in options if name not in taken and options[name]]:
        option = others[0].replace("_", "-")
        msg = f"--{option} is for files of {'SONATA' if is_state else 'ANNarchy'}, not {target}"
        raise click.UsageError(msg)
    options = {name: value for name, value in options.items() if value}
    if is_state:
        exported = export_annarchy(file, target, overwrite=overwrite, **options)
        _say_notes(exported.notes)
        click.echo(f"wrote {exported.path}")
        return
    with _progress("export") as progress:
        written = export_sonata(file, target, progress=progress, overwrite=overwrite, **options)
    _say_notes(written.left_out)
    for path in written.files:
        click.echo(f"wrote {path}")


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@source_options
@click.option("--json", "as_json", is_flag=True, help="Say the same as one JSON object.")
def info(sources: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Show what an NWB file, or the output of a simulation, holds.

    SOURCES are what ``convert`` takes, an NWB file, or the URL of one.

    \b
    Example:
      ndx-sim info run.nwb
      ndx-sim info run.nwb --json
      ndx-sim info https://example.org/run.nwb
    """
    with open_output(sources[0] if len(sources) == 1 else sources, **options) as output:
        if as_json:
            click.echo(json_of(output))
            return
        for line in describe(output):
            click.echo(line)


main.add_command(plot)
main.add_command(view)


@main.command()
@click.argument("file", type=LOCAL_PATH)
def check(file: Path) -> None:
    """Check an NWB FILE against the schema, our own rules and nwbinspector.

    The exit status is 1 if anything is wrong; warnings and notes do not count.

    \b
    Example:
      ndx-sim check run.nwb
    """
    findings = check_file(file)
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        click.echo(f"{finding.severity}: {where}{finding.message} ({finding.rule})")
    errors = sum(finding.severity == "error" for finding in findings)
    click.echo(f"{file}: {errors or 'no'} error{'' if errors == 1 else 's'}")
    sys.exit(1 if errors else 0)


@main.command()
@click.argument("file", type=LOCAL_PATH)
@click.option(
    "-o",
    "--output",
    "target",
    type=LOCAL_PATH,
    metavar="TARGET",
    help="The file to make; by default the one that was being written.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
def recover(file: Path, target: Path | None, *, overwrite: bool) -> None:
    """Make whole what a process that died has left of a run that it streamed.

    FILE is the name that it was to get, or the temporary file, such as .run.1234.part.nwb.

    \b
    Example:
      ndx-sim recover run.nwb
    """
    recovered = recover_file(file, target, overwrite=overwrite)
    for report in recovered.reports:
        last = "" if report.last is None else f", the last at {report.last:g} s"
        click.echo(f"report {report.name}: {report.steps} time steps{last}")
    click.echo(f"spikes: {recovered.spikes}")
    _say_notes(recovered.notes)
    click.echo(f"wrote {recovered.path}")


@main.command()
@click.argument("directory", type=LOCAL_PATH, default="ndx-sim-demo")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo.")
def demo(directory: Path, *, overwrite: bool) -> None:
    """Simulate a small network, convert its SONATA files, check the result, export it back.

    \b
    Example:
      ndx-sim demo
    """
    for line in run_demo(directory, overwrite=overwrite):
        click.echo(line)
    click.echo(f"look at it:  ndx-sim info {directory / 'run.nwb'}")


def _say_plan(sources: tuple[Path, ...], options: dict[str, Any]) -> None:
    taken = signature(open_output).parameters
    with open_output(sources, **{key: options[key] for key in options if key in taken}) as output:
        wanted = {key: options[key] for key in options if key in signature(plan_layouts).parameters}
        for name, layout in plan_layouts(output, **wanted).items():
            click.echo(f"{name}: stays in its source" if options["link"] else f"{name}: {layout}")


def _say_notes(notes: Any) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
