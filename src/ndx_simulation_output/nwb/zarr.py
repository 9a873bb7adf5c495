"""NWB files in Zarr stores: objects are written by hdmf-zarr, large arrays in threads."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager
from hdmf.data_utils import DataChunkIterator, DataIO
from pynwb import NWBFile, get_manager, get_type_map

from ndx_simulation_output.choices import Compression
from ndx_simulation_output.errors import LayoutError, SourceError, WriteError, source_errors
from ndx_simulation_output.files import (
    atomic_directory,
    check_space,
    check_target,
)
from ndx_simulation_output.nwb.arrays import array_blocks, bytes_of
from ndx_simulation_output.nwb.mapping import map_output, matrices
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import LazyArray, SimulationOutput
from ndx_simulation_output.recording.arrays import Progress, progress_of, size_in_bytes
from ndx_simulation_output.remote import RemoteFolder, is_url
from ndx_simulation_output.storage.layout import Layout, StorageOptions
from ndx_simulation_output.storage.reading import check_unchanged, file_versions
from ndx_simulation_output.storage.sources import check_inside
from ndx_simulation_output.storage.zarr_writing import fill_array

DEFAULT_COMPRESSION: Compression = "zstd"
_BLOSC = {"zstd": ("zstd", 3), "gzip": ("zlib", 4)}
"""Compressor and level of Blosc, with byte shuffle, for each compression option."""
_SPIKES_MB = 1.0
"""Size of the chunks of columns of spikes, of which parts are read."""


def write_store(
    output: SimulationOutput,
    target: Path,
    *,
    metadata: Mapping[str, Mapping[str, Any]],
    when: datetime | None = None,
    overwrite: bool = False,
    storage: StorageOptions = StorageOptions(),  # noqa: B008 - frozen
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a recording to the Zarr store ``target``; see ``nwb.writer.write``.

    The default compression is Blosc (shuffle, zstd).
    """
    if storage.link:
        msg = "data of a Zarr store cannot be links to HDF5 files; omit link, or write NAME.nwb"
        raise LayoutError(msg)
    if storage.chunks == "contiguous":
        msg = "data of a Zarr store cannot be contiguous; omit contiguous, or write NAME.nwb"
        raise LayoutError(msg)
    check_target(target, overwrite=overwrite)
    _hdmf_zarr()
    import zarr

    from ndx_simulation_output.storage.zarr_chunks import mark_complete

    if storage.compression == "auto":
        storage = replace(storage, compression=DEFAULT_COMPRESSION)
    total = sum(map(size_in_bytes, matrices(output))) + bytes_of(output.arrays)
    if storage.compression == "none":
        check_space(target, total)
    done = progress_of(progress, total)
    spikes = _LabeledArrays(storage.compression, None, chunk_mb=_SPIKES_MB)
    mapping = map_output(
        output,
        metadata,
        when=when,
        storage=storage,
        workers=workers,
        wrap=_empty_array,
        wrap_column=_LabeledArrays(storage.compression, None).wrap,
        wrap_labeled_array=_LabeledArrays(storage.compression, done).wrap,
        wrap_spikes=spikes.wrap,
    )
    versions = file_versions(output)
    with (
        atomic_directory(target.absolute(), overwrite=overwrite) as directory,
        _every_chunk_is_written(),
        source_errors(f"cannot write {target}", WriteError),
    ):
        _write_objects(mapping.nwbfile, directory)
        store = zarr.open(str(directory), mode="r+")
        for matrix in mapping.pending:
            fill_array(
                matrix.source,
                store[f"acquisition/{matrix.series.name}/data"],
                matrix.layout,
                directory=target.parent,
                progress=done,
            )
        mark_complete(directory)
        check_unchanged(versions)


def open_store(
    path: Path | RemoteFolder, manager: BuildManager | None = None, *, trust: bool = False
) -> HDMFIO:
    """Open an NWB file in a Zarr store, of format 2 or 3, for reading.

    Raise SourceError, unless ``trust``, for a symbolic link in it that leads out of the folder of
    the store, for arrays that declare far more than is stored, and, when it is followed, for a link
    or reference to such a store.
    """
    hdmf_zarr = _hdmf_zarr()
    import zarr

    from ndx_simulation_output.storage.zarr_chunks import (
        LocalSource,
        RemoteSource,
        check_declared,
        open_chunks,
    )

    if isinstance(path, RemoteFolder):
        is_format_2 = path.read(".zmetadata") is not None
        if not is_format_2 and path.read("zarr.json") is None:
            msg = f"{path} is not a Zarr store with consolidated metadata: download the folder"
            raise SourceError(msg)
    else:
        is_format_2 = (path / ".zgroup").is_file()
    if not is_format_2 and not _is_zarr_3():
        msg = f"{path} has the Zarr format 3; install hdmf-zarr 0.14 or newer to read it"
        raise SourceError(msg)
    name = "NWBZarrV2IO" if is_format_2 and _is_zarr_3() else "NWBZarrIO"
    with source_errors(f"{path} cannot be read as NWB"):
        if isinstance(path, RemoteFolder):
            store = open_chunks(RemoteSource(path))
            types = get_type_map()
            # Other ways to read the namespaces list folders, which web servers do not.
            hdmf_zarr.ZarrIO.load_namespaces(types, file=zarr.open_consolidated(store, mode="r"))
            io = getattr(hdmf_zarr, name)(path=store, mode="r", manager=BuildManager(types))
            io.resolve_ref = partial(_resolve_here, io.resolve_ref)
            return io
        if not trust:
            _check_symbolic_links(path)
            check_declared(path)
        store = open_chunks(LocalSource.of(path))
        io = getattr(hdmf_zarr, name)(path=store, mode="r", manager=manager)
        if not trust:
            io.resolve_ref = partial(_resolve_inside, path, io.resolve_ref)
        return io


def _resolve_here(resolve: Callable[[Any], Any], reference: Any) -> Any:
    """Resolve a reference to an object of the same store on a server."""
    if isinstance(reference, Mapping) and reference.get("source", ".") != ".":
        msg = f"{reference.get('path')} is in another store, {reference['source']}: download both"
        raise SourceError(msg)
    return resolve(reference)


def _check_symbolic_links(path: Path) -> None:
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            found = Path(directory, name)
            if found.is_symlink():
                check_inside(found, [path.resolve().parent], f"{found.relative_to(path)} of {path}")


def _resolve_inside(path: Path, resolve: Callable[[Any], Any], reference: Mapping[str, Any]) -> Any:
    """Resolve a link or reference, to an object of this store or of another in its folder."""
    store = str(reference.get("source") or reference.get("path"))
    found = store if is_url(store) else path / store
    check_inside(found, [path.resolve().parent], f"{reference.get('path')} of {path}")
    return resolve(reference)


def check_store(path: Path) -> Iterator[tuple[Literal["error", "warning"], str, str, str]]:
    """Yield severity, rule, array and message for chunks and metadata that are not as written."""
    _hdmf_zarr()
    from ndx_simulation_output.storage.zarr_chunks import missing_chunks, stale_arrays

    rule = "check_chunks_stored"
    for name, chunk, missing, is_lost in missing_chunks(path):
        if is_lost:
            yield "error", rule, name, f"{missing} chunks are lost, the first being {chunk}."
        else:
            message = (
                f"{missing} chunks are not stored, the first being {chunk}: they read as the fill "
                "value. Writers may leave out such chunks, but they may also be lost."
            )
            yield "warning", rule, name, message
    for name in stale_arrays(path):
        message = "The consolidated metadata, which readers use, differ from those of the array."
        yield "error", "check_metadata_consolidated", name, message


def _hdmf_zarr() -> Any:
    return import_optional("hdmf_zarr", "a Zarr store", "zarr")


def _is_zarr_3() -> bool:
    import zarr

    return int(zarr.__version__.partition(".")[0]) >= 3


def _empty_array(data: LazyArray, layout: Layout) -> DataIO:
    # A matrix without columns has no chunks in its layout, but Zarr requires some.
    chunks = layout.chunks or (max(1, layout.shape[0]), 1)
    empty = DataChunkIterator(maxshape=layout.shape, dtype=data.dtype.newbyteorder("="))
    return _hdmf_zarr().ZarrDataIO(empty, chunks=chunks, **_codecs(layout.compression))


class _LabeledArrays:
    """Arrays and columns, read block by block while hdmf-zarr writes them."""

    def __init__(
        self,
        compression: str | None,
        progress: Callable[[int], object] | None,
        **shapes: float,
    ) -> None:
        self._compression, self._progress, self._shapes = compression, progress, shapes

    def wrap(self, values: LazyArray, *, grows: bool = False) -> Any:
        data = array_blocks(values, grows=grows, progress=self._progress, **self._shapes)
        if values.dtype.kind == "O" or not values.shape or 0 in values.shape:
            return data
        chunks = getattr(data, "chunk_shape", tuple(values.shape))
        return _hdmf_zarr().ZarrDataIO(data, chunks=chunks, **_codecs(self._compression))


def _codecs(compression: str | None) -> dict[str, Any]:
    option = "compressors" if _is_zarr_3() else "compressor"
    if compression not in _BLOSC:
        return {option: False}
    name, level = _BLOSC[compression]
    if _is_zarr_3():
        from zarr.codecs import BloscCodec

        return {option: [BloscCodec(cname=name, clevel=level, shuffle="shuffle")]}
    from numcodecs import Blosc

    return {option: Blosc(name, level, Blosc.SHUFFLE)}


def _write_objects(nwbfile: NWBFile, directory: Path) -> None:
    with _hdmf_zarr().ZarrIO(str(directory), mode="w", **_io_arguments()) as io:
        io.write(nwbfile)


@contextmanager
def _every_chunk_is_written() -> Iterator[None]:
    """Write chunks of zeros too, which zarr-python 3 leaves out by default."""
    import zarr

    with warnings.catch_warnings(), ExitStack() as stack:
        # Readers of NWB rely on consolidated metadata, which Zarr 3 does not specify yet.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        if _is_zarr_3():
            stack.enter_context(zarr.config.set({"array.write_empty_chunks": True}))
        yield


def _io_arguments() -> dict[str, Any]:
    """Return arguments of ``ZarrIO`` so that objects are stored as JSON, not pickled.

    numcodecs no longer reads the pickled references that hdmf-zarr writes into Zarr 2 stores.
    """
    if _is_zarr_3():
        return {"manager": get_manager()}
    from numcodecs import JSON

    return {"manager": get_manager(), "object_codec_class": JSON}
