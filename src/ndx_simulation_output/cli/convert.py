"""The command ``ndx-sim convert``."""

import os
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import click

from ndx_simulation_output.api import convert as convert_sources
from ndx_simulation_output.api import open_output, plan_layouts
from ndx_simulation_output.cli.options import LOCAL_PATH, source_options, target_options
from ndx_simulation_output.cli.output import print_notes, progress_bar
from ndx_simulation_output.errors import MissingDependencyError, SimulationOutputError
from ndx_simulation_output.files import names_store
from ndx_simulation_output.nwb.zarr import DEFAULT_COMPRESSION

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables in which Open MPI, MPICH and its relatives say how many processes there are."""


@click.command()
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
        _print_plan(sources, options)
        return
    comm = _communicator(mpi=mpi)
    if comm is not None and comm.rank > 0:
        try:
            convert_sources(sources, target, comm=comm, **options)
        except SimulationOutputError:
            sys.exit(1)  # rank 0 says why
        return
    with progress_bar("convert") as progress:
        converted = convert_sources(sources, target, progress=progress, comm=comm, **options)
    print_notes(converted.notes)
    click.echo(f"wrote {converted.path}")


def _print_plan(sources: tuple[Path, ...], options: dict[str, Any]) -> None:
    taken = signature(open_output).parameters
    with open_output(sources, **{key: options[key] for key in options if key in taken}) as output:
        wanted = {key: options[key] for key in options if key in signature(plan_layouts).parameters}
        for name, layout in plan_layouts(output, **wanted).items():
            click.echo(f"{name}: stays in its source" if options["link"] else f"{name}: {layout}")


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
