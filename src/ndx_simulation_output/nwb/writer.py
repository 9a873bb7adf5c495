"""Write a finished recording to an NWB file."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import LayoutError, SourceError
from ndx_simulation_output.files import check_target, names_store, naming_target, whole_hdf5
from ndx_simulation_output.nwb.arrays import HowStored, bytes_of, write_exports
from ndx_simulation_output.nwb.mapping import map_output, matrices
from ndx_simulation_output.nwb.network_state import PlacedColumns, in_memory
from ndx_simulation_output.nwb.zarr import write_store
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.arrays import Progress, size_in_bytes
from ndx_simulation_output.storage.columns import write_columns
from ndx_simulation_output.storage.layout import Storage
from ndx_simulation_output.storage.links import link_dataset
from ndx_simulation_output.storage.mpi import Team, write_matrix_together
from ndx_simulation_output.storage.writing import create_dataset, replace_dataset

# Write a finished recording to an NWB file.

_GZIP_LEVEL = 4


def write(
    output: SimulationOutput,
    target: Path,
    *,
    metadata: Mapping[str, Mapping[str, Any]],
    when: datetime | None = None,
    overwrite: bool = False,
    storage: Storage = Storage(),  # noqa: B008 - frozen
    workers: int | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> None:
    """Write all that a run recorded to ``target``, in blocks of bounded size.

    A target whose name ends in ``.zarr`` is a Zarr store, any other an HDF5 file. The ranks of a
    ``team`` share the work: each has the same ``output``, read by itself.

    Raises
    ------
    TargetExistsError
        If ``target`` exists and ``overwrite`` is false.
    WriteError
        If it cannot be written; an existing file is then as it was.
    SourceError
        If data cannot be read.
    NameClashError
        If two recordings have the same name.
    MetadataError
        If ``metadata`` do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.
    LayoutError
        If data cannot be stored as asked.
    MissingDependencyError
        If ``target`` is a Zarr store and hdmf-zarr or dask is not installed.
    RankError
        If another rank fails.

    """
    team = team or Team()
    if names_store(target):
        if output.exports:
            msg = f"{target} is a Zarr store; data of instruments are written to NAME.nwb"
            raise LayoutError(msg)
        if team.size > 1:
            msg = f"{target} is a Zarr store, which dask fills: write it without MPI"
            raise LayoutError(msg)
        write_store(
            output,
            target,
            metadata=metadata,
            when=when,
            overwrite=overwrite,
            storage=storage,
            workers=workers,
            progress=progress,
        )
        return
    if storage.compression == "zstd":
        msg = "not every reader of HDF5 has zstd: leave it out, use gzip, or write NAME.nwb.zarr"
        raise LayoutError(msg)
    check_target(target, overwrite=overwrite)
    workers = team.workers if workers is None else workers
    _check_sources(output, team)
    if team.rank > 0:
        with naming_target(target):
            for source in [] if storage.link else matrices(output):
                write_matrix_together(team, source, workers=workers)
        return
    placed = PlacedColumns()
    mapped = map_output(
        output,
        metadata,
        when=when,
        storage=storage,
        workers=workers,
        place_column=in_memory if storage.compression == "none" else placed.place,
    )
    with whole_hdf5(target, overwrite=overwrite) as file:
        # It is not closed here: that is for the file, which may be full.
        io = NWBHDF5IO(mode="w", file=file)
        io.write(mapped.nwbfile)
        total = sum(size_in_bytes(fill.source) for fill in mapped.fills)
        columns = placed.columns()
        total += bytes_of(output.exports) + sum(size_in_bytes(one.source) for one in columns)
        done = (lambda n_bytes: progress(n_bytes, total)) if progress else None
        for fill in mapped.fills:
            placeholder = fill.series.fields["data"].dataset
            if storage.link:
                link = partial(link_dataset, source=fill.source, directory=target.parent)
                replace_dataset(placeholder, link)
                continue
            create = partial(create_dataset, layout=fill.layout, dtype=fill.source.dtype)
            dataset = replace_dataset(placeholder, create)
            write_matrix_together(
                team, fill.source, dataset, fill.layout, file.path, workers=workers, progress=done
            )
        write_columns(columns, workers=workers, progress=done)
        if output.exports:
            level = _GZIP_LEVEL if storage.compression == "gzip" else 0
            write_exports(file, output.exports, HowStored(level), done)


def _check_sources(output: SimulationOutput, team: Team) -> None:
    """Refuse ranks that read something else than rank 0."""
    read = team.agree([f"{data.shape} of {data.dtype}" for data in matrices(output)])
    for rank, found in enumerate(read):
        if found != read[0]:
            msg = (
                f"rank {rank} reads data of shapes {', '.join(found)}; expected those of rank 0, "
                f"{', '.join(read[0])}: are the sources on a file system that all ranks see?"
            )
            raise SourceError(msg)
