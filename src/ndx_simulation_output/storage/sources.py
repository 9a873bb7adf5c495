"""Open HDF5 files of others: what they refer to, and how much they claim to hold.

HDF5 follows external links, virtual datasets and external storage to any file of the machine, and
a file of some kilobytes can declare terabytes. ``open_source`` therefore checks a file, and all
files that it refers to, before anything else reads it.
"""

import gc
import os
import struct
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import h5py
from h5py import h5d, h5g, h5i, h5l, h5o

from ndx_simulation_output.errors import SourceError, source_errors
from ndx_simulation_output.remote import is_url
from ndx_simulation_output.storage.datasets import filters_of
from ndx_simulation_output.storage.filters import exceeds
from ndx_simulation_output.storage.journal import FileVersion
from ndx_simulation_output.storage.raw_files import hdf5_lock

CHUNK_SLOTS = 521
"""Slots for chunks in memory, for each of the thousands of datasets that pynwb keeps open: by
default they take 64 KiB since HDF5 2.0, and 4 KiB before."""

TRUST = "pass trust=True (--trust) if you know where it comes from"

MOST_UNSTORED = 2**30
"""Bytes that a file may declare without storing them, such as the zeros of a sparse report."""
_COST_OF_ONE_DIMENSION = 16
"""Data of one dimension or none, such as ids and times, count more: they are read as a whole."""
_MOST_TEXT = (
    f"at most {MOST_UNSTORED // 2**20} MiB may be declared without being stored, or "
    f"{MOST_UNSTORED // _COST_OF_ONE_DIMENSION // 2**20} MiB of data of one dimension"
)
_MOST_EXPANSION = 2048
"""Declared bytes for each stored one: deflate reaches 1032."""
MOST_EXPANSION_OF_OTHERS = 2**16
"""The same for other filters: zstd reaches 32768."""
_DEEPEST = 100
_MOST_LINKS = 1000
_LINKS = 2
_HEAP, _HEAP_BYTES = b"GCOL\x01\0\0\0", 2**20
_LARGE_BYTES = 2**20
_DEFLATE, _FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32
_BIT_GROOM, _BIT_ROUND = 32022, 32023
_NOT_COMPRESSING = {
    h5py.h5z.FILTER_SHUFFLE,
    _FLETCHER32,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_SCALEOFFSET,
    _BIT_GROOM,
    _BIT_ROUND,
}
_MOST_MORE_BYTES = 64
_CHECKSUM_BYTES = 4

_opened: list[tuple[weakref.ref[h5py.File], FileVersion]] = []
"""The files that are open, and their versions. HDF5 opens a file that is open only once."""

_Node = tuple[str, int]
"""A dataset: the real path of its file, and its address."""


def open_source(path: Path, *, trust: bool = False, links: int = _LINKS) -> h5py.File:
    """Open an HDF5 file for reading; SourceError if it cannot be read, or as ``check_source``."""
    if not path.exists():
        msg = f"{path} does not exist"
        raise SourceError(msg)
    if not path.is_file():
        msg = f"{path} is not a file; expected an HDF5 file"
        raise SourceError(msg)
    with source_errors(f"{path} cannot be read"), ExitStack() as stack:
        file = stack.enter_context(_open(path))
        if _is_open_as_before(file):
            file.close()
            gc.collect()  # Outputs that were not closed are in reference cycles.
            file = stack.enter_context(_open(path))
        if _is_open_as_before(file):
            msg = (
                f"{path} has changed, and is still open in this process as it was before: close "
                "every output and file that was opened from it, and open it again"
            )
            raise SourceError(msg)
        _opened.append((weakref.ref(file), _version_of(file)))
        check_source(file, trust=trust, links=links)
        stack.pop_all()
    return file


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", rdcc_nslots=CHUNK_SLOTS)
    except OSError as error:
        if "truncated" in str(error):
            msg = f"{path} is truncated: it ends before its data do ({error})"
        elif not h5py.is_hdf5(path):
            msg = f"{path} is not an HDF5 file"
        else:
            raise
        raise SourceError(msg) from error


def _version_of(file: h5py.File) -> FileVersion:
    return FileVersion.of_number(file.id.get_vfd_handle(), Path(file.filename))


def _is_open_as_before(file: h5py.File) -> bool:
    """Return True if HDF5 takes a file for another version of it, which is still open."""
    with hdf5_lock:
        _opened[:] = [one for one in _opened if one[0]()]
        now = _version_of(file)
        before = [version.found for _, version in _opened if version.number == now.number]
        is_same = file.id.get_filesize() == now.found[0] and {*before} <= {now.found}
    return not (is_same or now.is_growing)


def check_source(file: h5py.File, *, trust: bool = False, links: int = _LINKS) -> None:
    """Raise SourceError if a file refers to files outside its folder, or declares more than it has.

    Folders in its folder are allowed; a file on a server has none. ``trust`` omits the check.
    ``links`` is how often a group may be reached, on average of many.
    """
    if trust:
        return
    _check_heaps(file)
    survey = _Survey(file, _folders(file))
    with source_errors(f"{file.filename} cannot be read"), hdf5_lock:
        survey.visit(file)
        if survey.loop and "nwb_version" in file.attrs:
            msg = f"{survey.loop} contains itself, which pynwb cannot read"
            raise SourceError(msg)
        while survey.pending:
            with h5py.File(survey.pending.pop(), "r") as other:
                survey.visit(other)
        survey.follow_soft_links()
        survey.check_virtual()
    survey.check_sums(links)


def _check_heaps(file: h5py.File) -> None:
    """Raise SourceError for a heap of texts, near the start of a file, that HDF5 reads forever."""
    if file.driver != "sec2":
        return
    with Path(file.filename).open("rb") as opened:
        data = opened.read(_HEAP_BYTES)
    start = data.find(_HEAP)
    while start >= 0:
        place = start + 16
        end = start + int.from_bytes(data[start + 8 : place], "little")
        while place + 16 <= min(end, len(data)):
            number, _, _, size = struct.unpack_from("<HHIQ", data, place)
            step = size if number == 0 else 16 + -(-size // 8) * 8
            if not 16 <= step <= end - place:
                msg = (
                    f"{file.filename} is damaged: the heap at byte {start} has an object of size "
                    f"{size}; {TRUST}"
                )
                raise SourceError(msg)
            place += step
        start = data.find(_HEAP, start + 1)


@contextmanager
def without_trust() -> Iterator[None]:
    """Omit the hint to ``trust`` from errors of a call that does not have it."""
    try:
        yield
    except SourceError as error:
        raise SourceError(str(error).removesuffix(f"; {TRUST}")) from error


def _folders(file: h5py.File) -> list[Path]:
    """Return the real folder of a file; two if its path is a symbolic link, which HDF5 follows."""
    if not Path(file.filename).exists():
        return []
    return [Path(file.filename).parent.resolve(), Path(file.filename).resolve().parent]


def _links_of(group: h5g.GroupID) -> list[tuple[bytes, int]]:
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, link: links.append((name, link.type)), info=True)
    return links


def _place(file: h5py.File, node: h5g.GroupID | h5d.DatasetID, name: bytes = b"") -> str:
    path = b"/".join(filter(None, [h5i.get_name(node) or b"", name]))
    return f"{os.fsdecode(path).strip('/')} of {file.filename}"


@dataclass
class _Sums:
    """Groups and bytes below a group. What several links lead to counts for each of them."""

    groups: int = 0
    declared: int = 0
    unstored: int = 0

    def add(self, other: "_Sums") -> None:
        self.groups += other.groups
        self.declared += other.declared
        self.unstored += other.unstored


@dataclass
class _Survey:
    """Survey of the objects in a file and in the files that it refers to."""

    main: h5py.File
    folders: list[Path]
    pending: list[Path] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    sums: _Sums = field(default_factory=_Sums)
    below: dict[_Node, _Sums] = field(default_factory=dict)
    soft_links: list[tuple[h5g.GroupID, bytes]] = field(default_factory=list)
    virtual: dict[_Node, set[tuple[str, str]]] = field(default_factory=dict)
    loop: str = ""
    n_bytes: int = 0
    expansion: int = _MOST_EXPANSION
    worst: tuple[int, str] = (0, "")

    def visit(self, file: h5py.File) -> None:
        """Add the objects of a file. Each group is visited once, without recursion."""
        own = os.path.realpath(file.filename)
        self.known.add(own)
        self.n_bytes += file.id.get_filesize()
        root = file["/"].id
        node = (own, h5o.get_info(root).addr)
        self.below[node] = _Sums(1)
        stack = [(node, root, iter(_links_of(root)))]
        while stack:
            node, group, links = stack[-1]
            entered = None
            for name, kind in links:
                if kind != h5l.TYPE_HARD:
                    self._add_link(file, group, name, kind)
                    continue
                try:
                    found = h5o.open(group, name)
                except (KeyError, OSError, RuntimeError):
                    continue  # The reader tells of what it needs.
                if isinstance(found, h5d.DatasetID):
                    self.below[node].add(self._add_dataset(file, own, found))
                elif isinstance(found, h5g.GroupID):
                    inner = (own, h5o.get_info(found).addr)
                    if inner not in self.below:
                        entered = inner, found
                        break
                    is_loop = any(inner == outer for outer, _, _ in stack)
                    self.loop = _place(file, found) if is_loop else self.loop
                    self.below[node].add(self.below[inner])
            if entered is not None:
                if len(stack) > _DEEPEST:
                    depth = f"a group in {_DEEPEST} others; expected fewer"
                    msg = f"{file.filename} has {depth}; {TRUST}"
                    raise SourceError(msg)
                self.below[entered[0]] = _Sums(1)
                stack.append((*entered, iter(_links_of(entered[1]))))
                continue
            stack.pop()
            above = self.below[stack[-1][0]] if stack else self.sums
            above.add(self.below[node])

    def _add_link(self, file: h5py.File, group: h5g.GroupID, name: bytes, kind: int) -> None:
        if kind == h5l.TYPE_EXTERNAL:
            target = os.fsdecode(group.links.get_val(name)[0])
            self._refer(file, target, _place(file, group, name), "HDF5_EXT_PREFIX")
            self.sums.groups += 1
        elif kind == h5l.TYPE_SOFT and file is self.main:
            self.soft_links.append((group, name))

    def _add_dataset(self, file: h5py.File, own: str, dataset: h5d.DatasetID) -> _Sums:
        """Return the bytes of a dataset, and check what it refers to."""
        properties = dataset.get_create_plist()
        layout, shape = properties.get_layout(), dataset.shape
        width = dataset.get_type().get_size()
        declared = 0 if shape is None else prod(shape) * width
        expansion = _MOST_EXPANSION
        if layout == h5d.CHUNKED and declared:
            chunk_bytes = prod(properties.get_chunk()) * width
            declared = max(declared, chunk_bytes)
            filters = filters_of(properties)
            self._check_filters(file, dataset, filters, chunk_bytes)
            if not _NOT_COMPRESSING.issuperset(set(filters) - {_DEFLATE}):
                expansion = self.expansion = MOST_EXPANSION_OF_OTHERS
        if layout == h5d.VIRTUAL:
            stored = self._add_virtual(file, own, dataset, properties)
        elif properties.get_external_count():
            stored = self._add_external(file, dataset, properties)
        elif declared <= _LARGE_BYTES:
            return _Sums(0, declared)
        else:
            stored = dataset.get_storage_size() if self.folders else self.n_bytes
        unstored = cost_of_unstored(shape or (), declared, expansion * stored)
        if unstored > self.worst[0]:
            found = f"has shape {shape}, {declared} bytes, of which {stored} are stored"
            self.worst = unstored, f"{_place(file, dataset)} {found}"
        return _Sums(0, declared, unstored)

    def _check_filters(
        self, file: h5py.File, dataset: h5d.DatasetID, filters: tuple[int, ...], chunk_bytes: int
    ) -> None:
        """Raise SourceError for chunks that HDF5 would inflate to more than they should have.

        HDF5 crashes for a chunk that is shorter than its checksum.
        """
        if len(set(filters) - _NOT_COMPRESSING) > 1 or filters.count(_DEFLATE) > 1:
            where = _place(file, dataset)
            msg = f"{where} is compressed more than once, which can hide any size; {TRUST}"
            raise SourceError(msg)
        # The index of the chunks of a file on a server is not read for this.
        is_checked = _DEFLATE in filters or _FLETCHER32 in filters
        if not is_checked or not self.folders or not hasattr(dataset, "chunk_iter"):
            return
        sizes: list[tuple[int, tuple[int, ...]]] = []
        dataset.chunk_iter(lambda chunk: sizes.append((chunk.size, chunk.chunk_offset)))
        most = chunk_bytes + chunk_bytes // 64 + _MOST_MORE_BYTES
        for size, offset in sizes:
            if _FLETCHER32 in filters and size < _CHECKSUM_BYTES:
                msg = f"{_place(file, dataset)} has a chunk of {size} bytes without its checksum"
                raise SourceError(msg)
            # Data of two dimensions are not read through HDF5.
            is_read_by_hdf5 = size > _LARGE_BYTES and len(offset) != 2
            if size > most or (
                is_read_by_hdf5
                and exceeds(dataset.read_direct_chunk(offset)[1], chunk_bytes + _MOST_MORE_BYTES)
            ):
                where = _place(file, dataset)
                msg = f"{where} has a chunk that inflates to more than its {chunk_bytes} bytes"
                raise SourceError(msg)

    def _add_virtual(self, file: h5py.File, own: str, dataset: h5d.DatasetID, found: Any) -> int:
        """Check the sources of a virtual dataset; return the size of their files."""
        places: dict[str, str | None] = {".": own}
        sources = self.virtual.setdefault((own, h5o.get_info(dataset).addr), set())
        for number in range(found.get_virtual_count()):
            inside = found.get_virtual_dsetname(number)
            for name in numbered(found.get_virtual_filename(number)):
                if name not in places:
                    where = _place(file, dataset)
                    places[name] = self._refer(file, name, where, "HDF5_VDS_PREFIX")
                if (path := places[name]) is None:
                    break
                sources.add((path, inside))
        return sum(
            file.id.get_filesize() if path == own else Path(path).stat().st_size
            for path in {path for path, _ in sources}
        )

    def _add_external(self, file: h5py.File, dataset: h5d.DatasetID, properties: Any) -> int:
        """Check the files of external storage; return their size."""
        prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
        prefix = prefix.replace("${ORIGIN}", str(Path(file.filename).absolute().parent))
        stored = 0
        for number in range(properties.get_external_count()):
            # HDF5 finds a relative name from the working directory.
            path = Path(prefix, os.fsdecode(properties.get_external(number)[0])).absolute()
            check_inside(path, self.folders, _place(file, dataset))
            stored += path.stat().st_size if path.exists() else 0
        return stored

    def _refer(self, file: h5py.File, name: str, where: str, variable: str) -> str | None:
        """Check the file that HDF5 finds by ``name``; return its real path, or None."""
        check = partial(check_inside, folders=self.folders, where=where)
        path = find_referred(file, name, variable, check)
        if path is None:
            return None
        real = str(path.resolve())
        if real not in self.known:
            self.known.add(real)
            self.pending.append(path)
        return real

    def follow_soft_links(self) -> None:
        """Count the groups of soft links, once it is known to which files they may lead."""
        own = os.path.realpath(self.main.filename)
        for group, name in self.soft_links:
            with suppress(KeyError, OSError, RuntimeError):
                node = (own, h5o.get_info(group, name).addr)
                self.sums.add(self.below.get(node, _Sums()))

    def check_virtual(self) -> None:
        """Raise SourceError for a virtual dataset that contains itself: HDF5 would crash."""
        graph: dict[_Node, set[_Node]] = {node: set() for node in self.virtual}
        for path in {path for path, _ in self.virtual}:
            is_main = path == os.path.realpath(self.main.filename)
            with nullcontext(self.main) if is_main else h5py.File(path, "r") as file:
                for node, sources in self.virtual.items():
                    names = (inside for source, inside in sources if source == path)
                    graph[node] |= {(path, found) for found in _addresses(file, names)}
        depths: dict[_Node, int] = {}
        try:
            for node in TopologicalSorter(graph).static_order():
                inner = (depths[source] for source in graph.get(node, ()))
                depths[node] = 1 + max(inner, default=0)
        except CycleError as error:
            msg = f"{self.main.filename} has a virtual dataset that contains itself"
            raise SourceError(msg) from error
        if max(depths.values(), default=0) > _DEEPEST:
            msg = f"{self.main.filename} has a virtual dataset of {_DEEPEST} others; expected fewer"
            raise SourceError(msg)

    def check_sums(self, links: int) -> None:
        """Raise SourceError if readers would meet far more than the files contain."""
        name, unique = self.main.filename, len(self.below)
        if self.sums.groups > _MOST_LINKS + links * unique:
            msg = (
                f"{name} has links on which its {unique} groups are reached {self.sums.groups} "
                f"times; expected about one link for each; {TRUST}"
            )
            raise SourceError(msg)
        most = MOST_UNSTORED + self.expansion * self.n_bytes
        if self.sums.unstored > MOST_UNSTORED or self.sums.declared > most:
            found = self.worst[1] or (
                f"{name} declares {self.sums.declared} bytes and has {self.n_bytes}"
            )
            raise unstored_error(found)


def cost_of_unstored(shape: Sequence[int], declared: int, stored: int) -> int:
    """Return the bytes that an array declares beyond those ``stored``; see ``open_source``."""
    return max(0, declared - stored) * (_COST_OF_ONE_DIMENSION if len(shape) < 2 else 1)


def unstored_error(found: str) -> SourceError:
    """Return the error for data that declare far more than they store."""
    return SourceError(f"{found}; {_MOST_TEXT}; {TRUST}")


def check_inside(path: Path | str, folders: Iterable[Path], where: str) -> None:
    """Raise SourceError unless a path, or URL, is that of a file or folder in ``folders``."""
    real = Path(path).resolve()
    if is_url(path) or not any(real.is_relative_to(folder) for folder in folders):
        msg = f"{where} refers to {path}, outside the folder of that file; {TRUST}"
        raise SourceError(msg)
    if real.exists() and not (real.is_file() or real.is_dir()):
        msg = f"{where} refers to {path}, which is not a file"
        raise SourceError(msg)


def numbered(name: str) -> Iterator[str]:
    """Yield the names that a pattern of HDF5 stands for: ``%b`` is a number, ``%%`` a ``%``.

    Example
    -------
    >>> from itertools import islice
    >>> list(islice(numbered("run%b.h5"), 2)), list(numbered("50%%.h5"))
    (['run0.h5', 'run1.h5'], ['50%.h5'])

    """
    parts = [part.replace("%b", "\0") for part in name.split("%%")]
    pattern = "%".join(parts)
    numbers = count() if "\0" in pattern else range(1)
    yield from (pattern.replace("\0", str(number)) for number in numbers)


def _addresses(file: h5py.File, names: Iterable[str]) -> Iterator[int]:
    """Yield the addresses of the datasets of ``names`` that exist."""
    root = file["/"].id
    for pattern in dict.fromkeys(names):
        with suppress(KeyError, RuntimeError):
            for name in numbered(pattern):
                yield h5o.get_info(root, name.encode()).addr


def find_referred(
    file: h5py.File, name: str, variable: str, check: Callable[[Path], object] = lambda _: None
) -> Path | None:
    """Return the path of the HDF5 file that HDF5 opens for a name in ``file``, or None.

    ``variable`` is the environment variable with folders. ``check`` is called with existing paths.
    """
    for path in filter(Path.exists, _candidates(file, name, variable)):
        check(path)
        if path.is_file() and h5py.is_hdf5(path):
            return path
    return None


def _candidates(file: h5py.File, name: str, variable: str) -> Iterator[Path]:
    """Yield the paths at which HDF5 looks for an HDF5 file, in this order."""
    path = Path(name)
    if path.is_absolute():
        yield path
        name = path.name
    folder = Path(file.filename).absolute().parent
    prefixes = os.environ.get(variable, "").replace("${ORIGIN}", str(folder)).split(os.pathsep)
    yield from (Path(prefix, name) for prefix in prefixes if prefix)
    yield from (folder / name, Path(name), Path(file.filename).resolve().parent / name)
