"""The command ``ndx-sim convert``."""

import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ndx_simulation_output.cli.interruptions import interruption
from ndx_simulation_output.cli.options import (
    CELLS_OPTION,
    LOCAL_PATH,
    SOURCE_OPTIONS,
    TARGET_OPTIONS,
    Command,
    add_options,
)
from ndx_simulation_output.cli.output import open_sources, print_line, print_notes, progress_bar
from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.optional import import_optional

if TYPE_CHECKING:
    from ndx_simulation_output.storage.layout import StorageOptions

_RANK_COUNTS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables with the number of processes in Open MPI, MPICH and MVAPICH."""


@click.command(cls=Command)
@click.argument("sources", nargs=-1, required=True, type=LOCAL_PATH)
@click.argument("target", type=LOCAL_PATH)
@add_options(*SOURCE_OPTIONS, CELLS_OPTION, *TARGET_OPTIONS)
def convert(
    sources: tuple[Path, ...],
    target: Path,
    *,
    plan: bool,
    mpi: bool,
    metadata: Path | None,
    workers: int | None,
    overwrite: bool,
    circuit: bool | None,
    edges: bool | None,
    **options: Any,
) -> None:
    """Convert a run, or several NWB files, to one NWB file.

    SOURCES are SONATA files, a directory, a simulation_config.json or a circuit_config.json; files
    of NetPyNE (JSON), of PyNN and BSB (NIX) or of NEST (text); one file of Neuronvisio, PyMoDAQ or
    ANNarchy; or NWB files, such as those of the ranks of a job, each with its own cells. TARGET
    ends in .nwb, or in .nwb.zarr for a Zarr store.

    \b
    Example:
      ndx-sim convert output/ run.nwb --unit v_report=mV --metadata session.yaml
      ndx-sim convert simulation_config.json run.nwb --circuit --edges
      ndx-sim convert storage.h5 run.nwb
      ndx-sim convert spikes-3-0.dat spikes-3-1.dat run.nwb --population exc=1-80
      ndx-sim convert network.npz state.nwb --dt 0.5
      mpirun -n 4 ndx-sim convert output/ run.nwb --mpi
      ndx-sim convert run.0.nwb run.1.nwb run.nwb --compression gzip
    """
    from ndx_simulation_output.api import convert as convert_source
    from ndx_simulation_output.storage.layout import StorageOptions

    if target.suffix not in {".nwb", ".zarr"}:
        msg = f"TARGET must end in .nwb or .nwb.zarr; found {target}"
        raise click.UsageError(msg)
    names = [field.name for field in fields(StorageOptions)]
    storage = StorageOptions(**{name: options.pop(name) for name in names})
    if plan:
        _print_plan(sources, target, storage, workers, options)
        return
    comm = _communicator(mpi=mpi)
    options |= {
        "metadata": metadata,
        "storage": storage,
        "workers": workers,
        "overwrite": overwrite,
        "comm": comm,
        "circuit": circuit,
        "edges": edges,
    }
    if comm is not None and comm.rank > 0:
        try:
            convert_source(sources, target, **options)
        except SimulationOutputError:
            sys.exit(1)  # Rank 0 prints the error.
        except KeyboardInterrupt as error:
            sys.exit(128 + (interruption(error) or 0))
        return
    with progress_bar(f"writing {target.name}") as progress:
        converted = convert_source(sources, target, progress=progress, **options)
    print_notes(converted.notes)
    print_line(f"wrote {converted.path}")


def _print_plan(
    sources: tuple[Path, ...],
    target: Path,
    storage: "StorageOptions",
    workers: int | None,
    options: dict[str, Any],
) -> None:
    from ndx_simulation_output.api import plan_layouts
    from ndx_simulation_output.files import is_zarr_name
    from ndx_simulation_output.nwb.zarr import DEFAULT_COMPRESSION

    if is_zarr_name(target) and storage.compression == "auto":
        storage = replace(storage, compression=DEFAULT_COMPRESSION)
    with open_sources(sources, **options) as output:
        for name, layout in plan_layouts(output, storage, workers).items():
            print_line(f"{name}: {'stays in its source' if storage.link else layout}")


def _communicator(*, mpi: bool) -> Any:
    """Return the communicator of an MPI job, or None; refuse several processes without --mpi."""
    if not mpi:
        counts = [os.environ.get(name, "1") for name in _RANK_COUNTS]
        if any(count.isdecimal() and int(count) > 1 for count in counts):
            msg = "mpirun started several processes; add --mpi to share the work between them"
            raise click.UsageError(msg)
        return None
    return import_optional("mpi4py.MPI", "--mpi", "mpi").COMM_WORLD
