"""Write a finished recording to an NWB file."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO

from ndx_simulation_output.engine.datasets import create_dataset, replace_dataset
from ndx_simulation_output.engine.layout import Storage
from ndx_simulation_output.engine.links import link_dataset
from ndx_simulation_output.engine.workers import default_workers
from ndx_simulation_output.engine.writing import write_matrix
from ndx_simulation_output.errors import LayoutError
from ndx_simulation_output.files import check_target, names_store, whole_hdf5
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.nwb.zarr import write_store
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.arrays import Progress, size_in_bytes

__all__ = ["write"]


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
) -> None:
    """Write all that a run recorded to ``target``, in blocks of bounded size.

    A target whose name ends in ``.zarr`` is a Zarr store, any other an HDF5 file.

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
    LayoutError
        If data cannot be stored as asked.
    MissingDependencyError
        If ``target`` is a Zarr store and hdmf-zarr or dask is not installed.

    """
    if names_store(target):
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
    workers = default_workers() if workers is None else workers
    mapped = map_output(output, metadata, when=when, storage=storage, workers=workers)
    with whole_hdf5(target, overwrite=overwrite) as file:
        # It is not closed here: that is for the file, which may be full.
        io = NWBHDF5IO(mode="w", file=file)
        io.write(mapped.nwbfile)
        total = sum(size_in_bytes(fill.source) for fill in mapped.fills)
        done = (lambda n_bytes: progress(n_bytes, total)) if progress else None
        for fill in mapped.fills:
            placeholder = fill.series.fields["data"].dataset
            if storage.link:
                link = partial(link_dataset, source=fill.source, directory=target.parent)
                replace_dataset(placeholder, link)
                continue
            create = partial(create_dataset, layout=fill.layout, dtype=fill.source.dtype)
            dataset = replace_dataset(placeholder, create)
            write_matrix(
                fill.source, dataset, fill.layout, path=file.path, workers=workers, progress=done
            )
