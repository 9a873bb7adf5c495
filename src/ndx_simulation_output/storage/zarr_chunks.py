"""Zarr stores in which a lost chunk is an error.

Zarr reads a chunk that is not stored as the fill value, so a lost file would read as zeros. Our
stores hold every chunk. An attribute of the group of specifications, which exporting a store does
not copy, has the number of chunks of each array.
"""

import asyncio
import json
import math
import os
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ndx_simulation_output.errors import (
    SimulationOutputWarning,
    SourceError,
    WriteError,
    source_errors,
)
from ndx_simulation_output.remote import RemoteFolder
from ndx_simulation_output.storage.sources import (
    MOST_EXPANSION_OF_OTHERS,
    MOST_UNSTORED,
    cost_of_unstored,
    unstored_error,
)

IS_ZARR_3 = int(zarr.__version__.partition(".")[0]) >= 3
MARK = "all_chunks_stored"
"""Attribute of ``specifications``: the number of chunks along each axis of each array."""
_MARKED = "specifications"
_CONSOLIDATED, _OF_FORMAT_3 = ".zmetadata", "zarr.json"
_METADATA = frozenset({".zarray", ".zgroup", ".zattrs", _CONSOLIDATED, _OF_FORMAT_3})
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_HEADER = 18
"""The longest header of a compressed chunk, in bytes."""

Read = Callable[[str], bytes]
"""Return the bytes of a key of a store, or raise FileNotFoundError."""


@dataclass
class StoredArrays:
    """Metadata of the arrays in a store, and the number of chunks of those that have all."""

    metadata: dict[str, Any]
    complete: Mapping[str, Sequence[int]]
    is_told: bool = False
    nodes: tuple[str, ...] = ()
    codecs: dict[str, tuple[str | None, int | None]] = field(default_factory=dict)

    def is_lost(self, key: str) -> bool:
        """Return True if a chunk that is not there was written."""
        return any(
            key.startswith(f"{name}/") and _is_inside(key[len(name) :], counts)
            for name, counts in self.complete.items()
        )

    def codec(self, place: str) -> tuple[str | None, int | None]:
        """Return the last codec of the array of chunks in ``place``, and their size before it."""
        if place not in self.codecs:
            name = place
            while name and name not in self.metadata:
                name = name.rpartition("/")[0]
            self.codecs[place] = _codec(self.metadata.get(name, {}))
        return self.codecs[place]


def read_arrays(read: Read, directory: Path | None = None) -> StoredArrays:
    """Return what the consolidated metadata of a store say of its arrays.

    Those of a store without consolidated metadata are looked for in its ``directory``.
    """
    nodes: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        nodes = (_parsed(read, _OF_FORMAT_3).get("consolidated_metadata") or {}).get("metadata", {})
    with suppress(FileNotFoundError):
        for key, facts in _parsed(read, _CONSOLIDATED)["metadata"].items():
            name, _, kind = key.rpartition("/")
            nodes.setdefault(name, {}).update(facts if kind == ".zarray" else {kind: facts})
    if not nodes and directory is not None:
        nodes = {name: _own_metadata(read, name) for name in _nodes_in(directory)}
    marked = nodes.get(_MARKED, {})
    complete = marked.get("attributes", marked.get(".zattrs", {})).get(MARK, {})
    arrays = {name: one for name, one in nodes.items() if "shape" in one}
    return StoredArrays(arrays, complete, nodes=tuple(nodes))


def _own_metadata(read: Read, name: str) -> dict[str, Any]:
    """Return the metadata that an array or group has besides consolidated ones."""
    found: dict[str, Any] = {}
    for kind in (_OF_FORMAT_3, ".zarray"):
        with suppress(FileNotFoundError):
            found.update(_parsed(read, f"{name}/{kind}"))
    with suppress(FileNotFoundError):
        found[".zattrs"] = _parsed(read, f"{name}/.zattrs")
    return found


def _parsed(read: Read, key: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(read(key))
    except ValueError as error:
        msg = f"{key} of a Zarr store is damaged: {error}"
        raise SourceError(msg) from error
    if not isinstance(found, dict):
        msg = f"{key} of a Zarr store is damaged: it has {str(found)[:40]}; expected an object"
        raise SourceError(msg)
    return found


def _nodes_in(directory: Path) -> Iterator[str]:
    """Yield the names of the arrays and groups in a directory."""
    seen = set()
    for place, folders, files in os.walk(directory, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or ".zarray" in files:
            folders.clear()
        if real not in seen and place != str(directory) and _METADATA.intersection(files):
            yield Path(place).relative_to(directory).as_posix()
        seen.add(real)


def _chunk_shape(facts: Mapping[str, Any]) -> list[int]:
    is_format_2 = facts["zarr_format"] == 2
    shape = facts["chunks"] if is_format_2 else facts["chunk_grid"]["configuration"]["chunk_shape"]
    return [max(1, length) for length in shape]


def _counts(facts: Mapping[str, Any]) -> list[int]:
    """Return the number of chunks of an array along each axis."""
    lengths = zip(facts["shape"], _chunk_shape(facts), strict=True)
    return [-(-size // length) for size, length in lengths]


def _chunk_names(facts: Mapping[str, Any]) -> Iterator[str]:
    prefix, separator = [], facts.get("dimension_separator", ".")
    if facts["zarr_format"] == 3:
        encoding = facts["chunk_key_encoding"]
        prefix = ["c"] if encoding["name"] == "default" else []
        separator = encoding.get("configuration", {}).get("separator", "/" if prefix else ".")
    counts = _counts(facts)
    for number in range(math.prod(counts)):
        index: list[str] = []
        for count in reversed(counts):  # itertools.product would make lists of huge ranges.
            number, place = divmod(number, count)  # noqa: PLW2901
            index.insert(0, str(place))
        yield separator.join([*prefix, *index]) or "0"


def _is_inside(chunk: str, counts: Iterable[int]) -> bool:
    """Return True if a chunk is one of ``counts`` chunks along each axis."""
    index, counts = list(map(int, re.findall(r"\d+", chunk))), list(counts)
    if not counts:
        return True
    if not re.fullmatch(r"/?(c[/.])?\d+([/.]\d+)*", chunk):  # such as a temporary file of rsync
        return False
    return len(index) == len(counts) and all(map(int.__lt__, index, counts))


def missing_chunks(directory: Path) -> Iterator[tuple[str, str, int, bool]]:
    """Yield arrays without all chunks: name, first missing one, how many, and if they are lost.

    The number of files in the store limits the cost, whatever shapes it declares.
    """
    arrays = LocalSource.of(directory).arrays
    for name, facts in sorted(arrays.metadata.items()):
        counts = _counts(facts)
        stored = {file for file in _files(directory / name) if _is_inside(file, counts)}
        if missing := math.prod(counts) - len(stored):
            first = next(chunk for chunk in _chunk_names(facts) if chunk not in stored)
            yield name, first, missing, arrays.is_lost(f"{name}/{first}")


def check_declared(directory: Path) -> None:
    """Raise SourceError if the arrays of a store declare far more than its files hold."""
    unstored, worst = 0, (0, "")
    for name, facts in LocalSource.of(directory).arrays.metadata.items():
        shape, width = facts["shape"], _itemsize(facts)
        declared = math.prod(shape) * width
        if cost_of_unstored(shape, declared, 0) <= MOST_UNSTORED // 100:
            continue
        stored, chunk_bytes = 0, math.prod(_chunk_shape(facts)) * width
        for file in _files(directory / name):
            n_bytes = (directory / name / file).stat().st_size
            stored += min(chunk_bytes, MOST_EXPANSION_OF_OTHERS * n_bytes)
            if stored >= declared:
                break
        cost = cost_of_unstored(shape, declared, stored)
        found = f"{name} of {directory} has shape {tuple(shape)}, {declared} bytes, of which "
        worst = max(worst, (cost, f"{found}at most {stored} are stored"))
        unstored += cost
    if unstored > MOST_UNSTORED:
        raise unstored_error(worst[1])


def _itemsize(facts: Mapping[str, Any]) -> int:
    """Return the bytes of a value of an array, 8 if numpy does not have its type."""
    dtype = facts.get("dtype", facts.get("data_type"))
    try:
        return np.dtype(dtype if isinstance(dtype, str) else "O").itemsize
    except TypeError:
        return 8


def _files(place: Path) -> Iterator[str]:
    """Yield the paths of the files in a directory; a link to nothing is not a file."""
    for inner, _, names in os.walk(place, followlinks=True):
        for name in names:
            path = Path(inner, name)
            if name not in _METADATA and path.is_file():
                yield path.relative_to(place).as_posix()


def stale_arrays(directory: Path) -> list[str]:
    """Return the names of arrays that are not as the consolidated metadata say."""
    read = partial(_read_file, directory)
    arrays = LocalSource.of(directory).arrays.metadata
    return sorted(
        name
        for name, facts in arrays.items()
        if (own := _own_metadata(read, name)).get("shape") != facts["shape"]
        or _chunk_shape(own) != _chunk_shape(facts)
    )


def mark_complete(directory: Path) -> None:
    """Record in a new store that every chunk is stored; raise WriteError if one is not."""
    for name, chunk, missing, _ in missing_chunks(directory):
        msg = (
            f"{missing} chunks of {name}, the first being {chunk}, are not in the store that was "
            "written. If a cluster of dask wrote them, do its workers use the same file system?"
        )
        raise WriteError(msg)
    arrays = LocalSource.of(directory).arrays.metadata
    group = zarr.open_group(str(directory), mode="r+", path=_MARKED)
    group.attrs[MARK] = {name: _counts(facts) for name, facts in arrays.items()}
    zarr.consolidate_metadata(str(directory))


def _read_file(directory: Path, key: str) -> bytes:
    return (directory / key).read_bytes()


@lru_cache(16)
def _local_arrays(source: "LocalSource") -> StoredArrays:
    directory = Path(source.path)
    return read_arrays(partial(_read_file, directory), directory)


@dataclass(frozen=True)
class LocalSource:
    """A version of a Zarr store in a directory, which can be sent to other processes."""

    path: str
    version: tuple[int, int]

    @classmethod
    def of(cls, directory: Path) -> "LocalSource":
        """Return the present version of a store."""
        path = os.path.abspath(directory)  # noqa: PTH100 - resolve() follows links
        return cls(path, _version_of(path))

    @property
    def arrays(self) -> StoredArrays:
        """The arrays in the store."""
        return _local_arrays(self)

    def read(self, key: str) -> bytes | None:
        """Return what the store has for a key, or None if it may be absent."""
        value = None
        with self.reading(key), suppress(*_ABSENT), open(f"{self.path}/{key}", "rb") as file:  # noqa: PTH123 - called for each chunk
            value = file.read()
        check_chunk(self, key, value)
        return value

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Convert errors of reading; before a chunk is read, check that the store is the same."""
        if _is_chunk(key):
            self._check_version()
        try:
            yield
        except OSError as error:
            msg = f"{self.path} cannot be read: {key}: {error.strerror or error}"
            raise SourceError(msg) from error

    def _check_version(self) -> None:
        """Raise SourceError if the store was moved, deleted or replaced."""
        try:
            version = _version_of(self.path)
        except _ABSENT as error:
            msg = f"{self.path} does not exist any more: it was moved or deleted while it was open"
            raise SourceError(msg) from error
        if version != self.version:
            msg = f"{self.path} has changed since it was opened: open it again"
            raise SourceError(msg)


@dataclass(frozen=True)
class RemoteSource:
    """A Zarr store with consolidated metadata on a server."""

    folder: RemoteFolder

    @property
    def path(self) -> str:
        """The URL, without passwords and signatures."""
        return self.folder.name

    @property
    def arrays(self) -> StoredArrays:
        """The arrays in the store."""
        return _remote_arrays(self.folder)

    def read(self, key: str, *, check: bool = True) -> bytes | None:
        """Return what the store has for a key, or None if it may be absent."""
        value = self.folder.read(key)
        if check:
            check_chunk(self, key, value)
        return value

    def inside(self, place: str) -> list[str]:
        """Return the names of the groups and arrays in a group."""
        begin = f"{place.strip('/')}/".lstrip("/")
        names = [name for name in self.arrays.nodes if name.startswith(begin)]
        return sorted({name[len(begin) :].partition("/")[0] for name in names} - {""})

    @contextmanager
    def reading(self, _: str) -> Iterator[None]:
        """Do nothing: the folder converts errors."""
        yield


@lru_cache(16)
def _remote_arrays(folder: RemoteFolder) -> StoredArrays:
    def read(key: str) -> bytes:
        if (found := folder.read(key)) is None:
            raise FileNotFoundError(key)
        return found

    return read_arrays(read)


def _version_of(path: str) -> tuple[int, int]:
    """Return time and size of the metadata of a store, which differ when it has been replaced."""
    for name in (_CONSOLIDATED, _OF_FORMAT_3):
        with suppress(FileNotFoundError):
            found = os.stat(f"{path}/{name}")  # noqa: PTH116 - called for each chunk
            return found.st_mtime_ns, found.st_size
    found = os.stat(f"{path}/.zgroup")  # noqa: PTH116
    return found.st_mtime_ns, found.st_size


def _is_chunk(key: str) -> bool:
    return key.rpartition("/")[2] not in _METADATA


def check_chunk(source: LocalSource | RemoteSource, key: str, chunk: Any) -> None:
    """Check what a store has for a key: the bytes of a chunk, or None.

    Raise SourceError if the chunk is lost, or has another size. If it may be lost, warn once.
    """
    if not _is_chunk(key):
        return
    arrays = source.arrays
    if chunk is not None:
        _check_size(source, key, chunk, *arrays.codec(key.rpartition("/")[0]))
    elif arrays.is_lost(key):
        msg = f"{source.path} has lost the chunk {key}"
        raise SourceError(msg)
    elif not arrays.is_told:
        arrays.is_told = True
        msg = (
            f"{source.path} does not hold the chunk {key}, which reads as the fill value, as Zarr "
            "defines; if it was lost, the values are wrong. ndx-sim check lists all such chunks"
        )
        warnings.warn(msg, SimulationOutputWarning, stacklevel=2)


def _check_size(
    source: LocalSource | RemoteSource,
    key: str,
    chunk: Any,
    codec: str | None,
    expected: int | None,
) -> None:
    """Raise SourceError for a compressed chunk that does not have the size of its array.

    zarr-python 2 would fill only a part of it, and Blosc read beyond the end of a short one.
    """
    inflated, stored = _stated_sizes(codec, bytes(chunk[:_HEADER]))
    for found, wanted in ((len(chunk), stored), (inflated, expected)):
        if None not in {found, wanted} and found != wanted:
            msg = f"{source.path} is damaged: the chunk {key} has {found} bytes; expected {wanted}"
            raise SourceError(msg)


def _codec(facts: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return the last codec of an array, and the size of a chunk if it is the only one."""
    codecs = [facts.get("compressor") or {}, *facts.get("codecs", ())]
    names = [one.get("id", one.get("name")) for one in codecs if one.get("name") != "bytes"]
    dtype = facts.get("dtype", facts.get("data_type"))
    size = None
    if isinstance(dtype, str) and not facts.get("filters") and len(list(filter(None, names))) == 1:
        with suppress(TypeError):  # Zarr 3 has types that numpy does not have.
            size = math.prod(_chunk_shape(facts)) * np.dtype(dtype).itemsize
    return (names[-1] if names else None), size


def _stated_sizes(codec: str | None, header: bytes) -> tuple[int | None, int | None]:
    """Return the sizes of a chunk before and after compression that its header states."""
    if len(header) < _HEADER:
        return None, None
    if codec == "blosc":
        return int.from_bytes(header[4:8], "little"), int.from_bytes(header[12:16], "little")
    if codec == "lz4":
        return int.from_bytes(header[:4], "little"), None
    if codec != "zstd":
        return None, None
    is_single = header[4] >> 5 & 1
    width = (is_single, 2, 4, 8)[header[4] >> 6]
    start = 6 - is_single + (0, 1, 2, 4)[header[4] & 3]
    size = int.from_bytes(header[start : start + width], "little") + 256 * (width == 2)
    return (size if width else None), None


if IS_ZARR_3:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import LocalStore, MemoryStore

    class LocalChunks(LocalStore):  # type: ignore[misc]
        """A directory with a Zarr store; what is read is checked."""

        source: Any  # a LocalSource

        async def get(self, key: str, *args: Any, **options: Any) -> Any:
            """Return a chunk or metadata, or None if they may be absent."""
            with self.source.reading(key):
                value = await super().get(key, *args, **options)
            return self._checked(key, value)

        def get_sync(self, key: str, *args: Any, **options: Any) -> Any:
            """Return a chunk or metadata, or None if they may be absent."""
            with self.source.reading(key):
                value = super().get_sync(key, *args, **options)
            return self._checked(key, value)

        def _checked(self, key: str, value: Any) -> Any:
            check_chunk(self.source, key, None if value is None else value.as_array_like())
            return value

    class RemoteChunks(MemoryStore):  # type: ignore[misc]
        """A Zarr store on a server; what is read is checked."""

        source: RemoteSource

        def __str__(self) -> str:
            """Return the URL."""
            return self.source.path

        async def get(self, key: str, *args: Any, **options: Any) -> Any:
            """Return a chunk or metadata, or None if they may be absent."""
            return await asyncio.to_thread(self._read, key, *args, **options)

        def get_sync(self, key: str, *args: Any, **options: Any) -> Any:
            """Return a chunk or metadata, or None if they may be absent."""
            return self._read(key, *args, **options)

        def _read(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            value = self.source.read(key)
            if value is None:
                return None
            prototype = prototype or default_buffer_prototype()
            return prototype.buffer.from_bytes(_part(value, byte_range))

        async def exists(self, key: str) -> bool:
            """Return True if there is such a chunk or metadata."""
            return await asyncio.to_thread(self.source.read, key, check=False) is not None

        async def list_dir(self, prefix: str) -> AsyncIterator[str]:
            """Yield the names of groups and arrays."""
            for name in self.source.inside(prefix):
                yield name

else:
    from zarr.storage import DirectoryStore

    class LocalChunks(DirectoryStore):  # type: ignore[misc,no-redef]
        """A directory with a Zarr store; what is read is checked."""

        source: Any  # a LocalSource, or the RemoteSource of the class below

        def __getitem__(self, key: str) -> bytes:
            """Return a chunk or metadata; raise KeyError if they may be absent."""
            value: bytes | None = self.source.read(key)
            if value is None:
                raise KeyError(key)
            return value

        def getitems(self, keys: Iterable[str], **_: Any) -> dict[str, bytes]:
            """Return chunks by key, without those that may be absent."""
            found = {}
            for key in keys:
                with suppress(KeyError):
                    found[key] = self[key]
            return found

    class RemoteChunks(LocalChunks):  # type: ignore[no-redef]
        """A Zarr store on a server; what is read is checked."""

        def __contains__(self, key: str) -> bool:
            """Return True if there is such a chunk or metadata."""
            return self.source.read(key, check=False) is not None

        def listdir(self, path: str | None = None) -> list[str]:
            """Return the names of groups and arrays."""
            found: list[str] = self.source.inside(path or "")
            return found


def _part(value: bytes, byte_range: Any) -> bytes:
    """Return the part of a value that zarr-python 3 asks for."""
    if byte_range is None:
        return value
    start, end = getattr(byte_range, "start", None), getattr(byte_range, "end", None)
    if (suffix := getattr(byte_range, "suffix", None)) is not None:
        start = max(0, len(value) - suffix)
    return value[getattr(byte_range, "offset", start) : end]


def open_chunks(source: LocalSource | RemoteSource) -> Any:
    """Return a store, for reading, which checks what is read."""
    options = {"read_only": True} if IS_ZARR_3 else {}
    store: Any
    if isinstance(source, LocalSource):
        store = LocalChunks(source.path, **options)
    else:
        store = RemoteChunks(**options) if IS_ZARR_3 else RemoteChunks(".")
        store.path = source.path
    store.source = source
    return store


@lru_cache(16)
def open_array(source: LocalSource | RemoteSource, name: str) -> Any:
    """Return an array of a store."""
    with source_errors(f"{source.path} cannot be read: {name}"), source.reading(f"{name}/0"):
        return zarr.open_array(open_chunks(source), path=name, mode="r")


def with_checks(array: Any) -> Any:
    """Return an array in a directory with the checks of this module, and any other unchanged."""
    store = getattr(array, "chunk_store", array.store)
    path = getattr(store, "root", getattr(store, "path", None))
    if hasattr(store, "source") or not isinstance(store, LocalChunks.__base__):
        return array
    try:
        return open_array(LocalSource.of(Path(str(path))), array.path)
    except OSError:
        return array
