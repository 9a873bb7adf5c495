"""Write a finished recording to an NWB file."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import LayoutError, SourceError, WriteError, source_errors
from ndx_simulation_output.files import (
    atomic_hdf5,
    check_space,
    check_target,
    is_zarr_name,
    write_errors,
)
from ndx_simulation_output.nwb.arrays import DeferredArrays, bytes_of
from ndx_simulation_output.nwb.arrays_hdf5 import HowStored
from ndx_simulation_output.nwb.mapping import PendingMatrix, map_output, matrices
from ndx_simulation_output.nwb.network_state import DeferredColumns
from ndx_simulation_output.nwb.zarr import write_store
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.arrays import Progress, progress_of, size_in_bytes
from ndx_simulation_output.recording.fingerprints import fingerprint
from ndx_simulation_output.storage.columns import write_columns
from ndx_simulation_output.storage.layout import StorageOptions
from ndx_simulation_output.storage.links import link_dataset
from ndx_simulation_output.storage.mpi import Team, write_matrix_together
from ndx_simulation_output.storage.reading import check_unchanged, file_versions
from ndx_simulation_output.storage.writing import GZIP_LEVEL, create_dataset, replace_dataset


def write(
    output: SimulationOutput,
    target: Path,
    *,
    metadata: Mapping[str, Mapping[str, Any]],
    when: datetime | None = None,
    overwrite: bool = False,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> None:
    """Write a recording to ``target``, in blocks of bounded size.

    A target whose name ends in ``.zarr`` is a Zarr store, any other an HDF5 file. Under
    MPI, the ranks of ``team`` share the work, and each of them opens the same ``output``.
    """
    team = team or Team()
    if is_zarr_name(target):
        if team.size > 1:
            msg = f"{target} is a Zarr store; write it without MPI, or write an HDF5 file, NAME.nwb"
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
        msg = (
            "zstd needs a plugin in readers of HDF5; use gzip, or write a Zarr store, NAME.nwb.zarr"
        )
        raise LayoutError(msg)
    check_target(target, overwrite=overwrite)
    if not storage.link:
        # Deflate reaches 1032 bytes for one.
        least = sum(map(size_in_bytes, matrices(output)))
        is_gzip = storage.compression == "gzip"
        check_space(target, least // 1032 if is_gzip else least + bytes_of(output.arrays))
    if team.size > 1:
        hint = ". Are the sources on a file system shared by all ranks?"
        team.check_same(fingerprint(output), "read {name} = {value}", SourceError, hint)
    if team.rank > 0:
        with write_errors(target):
            for source in [] if storage.link else matrices(output):
                write_matrix_together(team, source, workers=workers)
        return
    versions = file_versions(output)
    arrays = DeferredArrays(HowStored(GZIP_LEVEL if storage.compression == "gzip" else 0))
    columns, tables = DeferredColumns(arrays), DeferredArrays(HowStored())
    mapping = map_output(
        output,
        metadata,
        when=when,
        storage=storage,
        workers=workers,
        wrap_column=arrays.wrap if storage.compression == "none" else columns.wrap,
        wrap_labeled_array=arrays.wrap,
        wrap_table=tables.wrap,
        wrap_spikes=arrays.wrap_growing,
    )
    with (
        atomic_hdf5(target, overwrite=overwrite) as file,
        source_errors(f"cannot write {target}", WriteError),
    ):
        # The file is closed by atomic_hdf5, because NWBHDF5IO.close() fails on a full disk.
        io = NWBHDF5IO(mode="w", file=file)
        io.write(mapping.nwbfile)
        sources = [pending.source for pending in mapping.pending]
        sources += [column.source for column in columns.columns()]
        total = arrays.n_bytes + tables.n_bytes + sum(map(size_in_bytes, sources))
        done = progress_of(progress, total)
        for pending in mapping.pending:
            if storage.link:
                link = partial(link_dataset, source=pending.source, directory=target.parent)
                replace_dataset(pending.dataset, link)
            else:
                _write(pending, file.path, team, workers, done)
        tables.write(done)
        write_columns(columns.columns(), workers=workers, progress=done)
        arrays.write(done)
        check_unchanged(versions)


def _write(
    matrix: PendingMatrix,
    path: Path,
    team: Team,
    workers: int | None,
    done: Callable[[int], object] | None,
) -> None:
    source, layout = matrix.source, matrix.layout
    create = partial(create_dataset, layout=layout, dtype=source.dtype)
    dataset = replace_dataset(matrix.dataset, create)
    write_matrix_together(team, source, dataset, layout, path, workers=workers, progress=done)
