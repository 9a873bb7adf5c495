"""Write and open NWB files in Zarr stores."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager
from hdmf.data_utils import DataChunkIterator, DataIO
from pynwb import NWBFile, get_manager

from ndx_simulation_output.errors import LayoutError, MissingDependencyError, SourceError
from ndx_simulation_output.files import check_target, is_store, whole_directory
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.recording import LazyArray, SimulationOutput
from ndx_simulation_output.recording.arrays import Progress, size_in_bytes
from ndx_simulation_output.storage.layout import Compression, Layout, Storage
from ndx_simulation_output.storage.partitions import default_workers
from ndx_simulation_output.storage.zarr_writing import fill_array

# NWB files as Zarr stores, through hdmf-zarr: written with dask, and opened.

DEFAULT_COMPRESSION: Compression = "zstd"
_BLOSC = {"zstd": ("zstd", 3), "gzip": ("zlib", 4)}
"""Compressor and level in Blosc, after a shuffle: the same options mean the same as in HDF5."""
_METADATA = (".zattrs", "zarr.json")


def _check_storage(storage: Storage) -> None:
    """Refuse what cannot be stored in Zarr.

    Raises
    ------
    LayoutError
        If data are to be linked or contiguous.

    """
    if storage.link:
        msg = "a Zarr store cannot be linked to HDF5 files: leave out link, or write NAME.nwb"
        raise LayoutError(msg)
    if storage.chunks == "contiguous":
        msg = "data in a Zarr store have chunks: leave out contiguous, or write NAME.nwb"
        raise LayoutError(msg)


def write_store(
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
    """Write all that a run recorded to the directory ``target``, in blocks of bounded size.

    It is compressed with Blosc (shuffle, zstd) unless ``storage`` says otherwise.

    Raises
    ------
    MissingDependencyError
        If hdmf-zarr or dask is not installed.
    LayoutError
        If data cannot be stored as asked.
    TargetExistsError
        If ``target`` exists and ``overwrite`` is false.
    WriteError
        If it cannot be written; an existing store is then as it was.
    SourceError
        If data cannot be read.
    NameClashError
        If two recordings have the same name.
    MetadataError
        If ``metadata`` do not fit NWB.
    ExportError
        If arrays hold what NWB cannot.

    """
    _check_storage(storage)
    check_target(target, overwrite=overwrite)
    zarr = _library("zarr")
    workers = default_workers() if workers is None else workers
    storage = replace(storage, compression=storage.compression or DEFAULT_COMPRESSION)
    mapped = map_output(
        output, metadata, when=when, storage=storage, workers=workers, place=_in_zarr
    )
    total = sum(size_in_bytes(fill.source) for fill in mapped.fills)
    done = (lambda n_bytes: progress(n_bytes, total)) if progress else None
    with whole_directory(target.resolve(), overwrite=overwrite) as directory:
        _write_objects(mapped.nwbfile, directory)
        store = zarr.open(str(directory), mode="r+")
        for fill in mapped.fills:
            fill_array(
                fill.source,
                store[f"acquisition/{fill.series.name}/data"],
                fill.layout,
                workers=workers,
                directory=target.parent,
                progress=done,
            )


def is_nwb_store(path: Path) -> bool:
    """Tell whether ``path`` is a Zarr store with an NWB file of version 2; nothing is imported."""
    return is_store(path) and any(_says_nwb(path / name) for name in _METADATA)


def open_store(path: Path, manager: BuildManager | None = None) -> HDMFIO:
    """Open an NWB file in a Zarr store for reading, of any version of the format we can read.

    ``manager`` knows the types; by default they are those that pynwb and the file know.

    Raises
    ------
    MissingDependencyError
        If hdmf-zarr is not installed.
    SourceError
        If it cannot be opened.

    """
    hdmf_zarr = _library("hdmf_zarr")
    of_version_2 = (path / ".zgroup").is_file()
    if not of_version_2 and not _is_zarr_3():
        msg = f"{path} is a store of Zarr 3; to read it, install hdmf-zarr 0.14 or newer"
        raise SourceError(msg)
    name = "NWBZarrV2IO" if of_version_2 and _is_zarr_3() else "NWBZarrIO"
    try:
        return getattr(hdmf_zarr, name)(path=str(path), mode="r", manager=manager)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} cannot be read as NWB: {error}"
        raise SourceError(msg) from error


def _library(name: str) -> Any:
    try:
        import hdmf_zarr
        import zarr
    except ImportError as error:
        msg = "Zarr stores need hdmf-zarr: pip install 'ndx-simulation-output[zarr]'"
        raise MissingDependencyError(msg) from error
    return {"hdmf_zarr": hdmf_zarr, "zarr": zarr}[name]


def _is_zarr_3() -> bool:
    return int(_library("zarr").__version__.partition(".")[0]) >= 3


def _says_nwb(path: Path) -> bool:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(facts, dict):
        return False
    return "nwb_version" in facts or "nwb_version" in facts.get("attributes", {})


def _in_zarr(data: LazyArray, layout: Layout) -> DataIO:
    """Give an empty place for data in a Zarr store."""
    # Without columns nothing is chunked, but Zarr has no other way to store it.
    chunks = layout.chunks or (max(1, layout.shape[0]), 1)
    empty = DataChunkIterator(maxshape=layout.shape, dtype=data.dtype.newbyteorder("="))
    return _library("hdmf_zarr").ZarrDataIO(empty, chunks=chunks, **_codecs(layout))


def _codecs(layout: Layout) -> dict[str, Any]:
    option = "compressors" if _is_zarr_3() else "compressor"
    if layout.compression is None:
        return {option: False}
    name, level = _BLOSC[layout.compression]
    if _is_zarr_3():
        from zarr.codecs import BloscCodec

        return {option: [BloscCodec(cname=name, clevel=level, shuffle="shuffle")]}
    from numcodecs import Blosc

    return {option: Blosc(name, level, Blosc.SHUFFLE)}


def _write_objects(nwbfile: NWBFile, directory: Path) -> None:
    with warnings.catch_warnings():
        # All readers of NWB read these metadata, whoever else does not.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        with _library("hdmf_zarr").ZarrIO(str(directory), mode="w", **_objects()) as io:
            io.write(nwbfile)


def _objects() -> dict[str, Any]:
    """Give how objects become what is stored, as in NWBZarrIO but for references.

    Those in stores of Zarr 2 are pickled by hdmf-zarr, and numcodecs no longer reads pickles.
    """
    if _is_zarr_3():
        return {"manager": get_manager()}
    from numcodecs import JSON

    return {"manager": get_manager(), "object_codec_class": JSON}
