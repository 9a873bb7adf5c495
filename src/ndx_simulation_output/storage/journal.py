"""The journal of an HDF5 file that grows: a crash leaves the last committed state recoverable."""

import json
import os
import struct
import time
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakSet

import h5py

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import find_partials
from ndx_simulation_output.storage.raw_files import hdf5_lock
from ndx_simulation_output.system import (
    Process,
    lock_file,
    lock_journal,
    open_file,
    read_at,
    write_at,
)

_WRITER_MARK, _WRITER_BYTES = b"NDXW", 1024
_FRAME_MARK = b"NDXF"
_FRAME_HEAD = struct.Struct("<4sQI")  # mark, number of bytes, CRC-32
_PIECE_HEAD = struct.Struct("<QQ")  # offset in the file, number of bytes
EMPTY_FRAME_BYTES = _FRAME_HEAD.size
_LOCK_SECONDS = 10.0
"""Time (s) after which a reader gives up waiting for a commit: the writer may be suspended."""


def append_frame(number: int, offset: int, parts: Sequence[bytes | bytearray]) -> int:
    """Write ``parts`` as one frame with a checksum at ``offset``, and return its end."""
    # ISA-L is faster, but leaves vector registers in a state in which the code of simulators that
    # is compiled for SSE takes three times as long.
    length = checksum = 0
    for part in parts:
        length, checksum = length + len(part), zlib.crc32(part, checksum)
    frame = b"".join([_FRAME_HEAD.pack(_FRAME_MARK, length, checksum), *parts])
    write_at(number, frame, offset)
    return offset + len(frame)


def iter_frames(path: Path) -> Iterator[bytes]:
    """Yield the content of each frame of a file, up to the first incomplete one."""
    with path.open("rb") as file:
        file.seek(_WRITER_BYTES if file.read(len(_WRITER_MARK)) == _WRITER_MARK else 0)
        while True:
            head = file.read(_FRAME_HEAD.size)
            if len(head) < _FRAME_HEAD.size:
                return
            mark, length, checksum = _FRAME_HEAD.unpack(head)
            # Bytes that are not a frame may claim any length: do not allocate it.
            if mark != _FRAME_MARK or length > path.stat().st_size:
                return
            content = file.read(length)
            if len(content) < length or zlib.crc32(content) != checksum:
                return
            yield content


class Overlay:
    """Modified byte ranges of a file, in memory and by offset; they never overlap.

    Example
    -------
    >>> overlay = Overlay()
    >>> overlay.put(4, b"abcd")
    >>> overlay.put(2, b"xyz")
    >>> [(offset, bytes(piece)) for offset, piece in overlay]
    [(2, b'xyzbcd')]

    """

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._pieces: list[bytearray] = []

    def __bool__(self) -> bool:
        """Return True if anything is modified."""
        return bool(self._offsets)

    def __iter__(self) -> Iterator[tuple[int, bytearray]]:
        """Iterate over offsets and pieces, ascending."""
        return zip(self._offsets, self._pieces, strict=True)

    def put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Replace the bytes from ``offset`` on by ``data``."""
        stop = offset + len(data)
        first, last = self._touched(offset, stop)
        if first == last:
            self._offsets.insert(first, offset)
            self._pieces.insert(first, bytearray(data))
            return
        begin, end = self._offsets[first], self._offsets[last - 1] + len(self._pieces[last - 1])
        if begin <= offset and stop <= end and last - first == 1:
            self._pieces[first][offset - begin : stop - begin] = data
            return
        head = self._pieces[first][: max(0, offset - begin)]
        tail = self._pieces[last - 1][len(self._pieces[last - 1]) - max(0, end - stop) :]
        self._offsets[first:last] = [min(begin, offset)]
        self._pieces[first:last] = [head + data + tail]

    def drop(self, offset: int, stop: int) -> None:
        """Remove the bytes from ``offset`` to ``stop``."""
        first, last = self._touched(offset, stop)
        remaining = []
        for begin, piece in zip(self._offsets[first:last], self._pieces[first:last], strict=True):
            remaining += [(begin, piece[: max(0, offset - begin)])]
            remaining += [(max(begin, stop), piece[max(0, stop - begin) :])]
        remaining = [(begin, piece) for begin, piece in remaining if piece]
        self._offsets[first:last] = [begin for begin, _ in remaining]
        self._pieces[first:last] = [piece for _, piece in remaining]

    def copy_to(self, offset: int, data: memoryview) -> None:
        """Copy the pieces into ``data``, the bytes of the file from ``offset`` on."""
        stop = offset + len(data)
        for number in range(*self._touched(offset, stop)):
            begin, piece = self._offsets[number], self._pieces[number]
            start, end = max(offset, begin), min(stop, begin + len(piece))
            data[start - offset : end - offset] = piece[start - begin : end - begin]

    def _touched(self, offset: int, stop: int) -> tuple[int, int]:
        """Return the range of the pieces that overlap the bytes from ``offset`` to ``stop``."""
        first = bisect_right(self._offsets, offset) - 1
        if first < 0 or self._offsets[first] + len(self._pieces[first]) <= offset:
            first += 1
        return first, max(first, bisect_left(self._offsets, stop))


@dataclass(frozen=True)
class Writer:
    """Writer of a file: its process, None if unknown, and whether it certainly runs."""

    process: Process | None
    is_certain: bool
    has_locks: bool
    last: float
    """When it last wrote to the journal, in seconds since the epoch."""

    def __str__(self) -> str:
        """Return a description for messages."""
        last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.last))
        if self.process is None:
            return f"a process that last wrote at {last}"
        return f"process {self.process.number} on {self.process.host}, which last wrote at {last}"

    def refusal(self, path: Path, force: str) -> str:
        """Return why ``path`` is not taken from the writer; ``force`` tells how to take it."""
        if self.is_certain:
            # A process that it has forked has the lock too.
            forked = self.process is not None and self.process.is_alive() is False
            who = f"a process that was started by {self}" if forked else str(self)
            return f"{path} is still being written by {who}; wait until it ends, or stop it"
        return (
            f"{path} may still be written by {self}; whether it runs cannot be seen from here. "
            f"If it has ended, {force}"
        )


class Journal:
    """A file with a frame for each commit that may not have been written to the HDF5 file yet.

    It begins with the process that writes it, padded to a fixed length; those of version 0.3.0 do
    not have that. The first frame is empty and marks the file as recoverable. The journal is locked
    until it is closed. If another process writes it, BlockingIOError is raised, with the Writer;
    with ``force``, only if that certainly runs.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        is_new = not path.exists()
        flags = os.O_CREAT | os.O_EXCL if is_new else 0
        self._number = open_file(path, os.O_RDWR | flags)
        try:
            has_locks = self._acquire(is_new=is_new, force=force)
            length = os.fstat(self._number).st_size
            self._start = _WRITER_BYTES if _head(self._number) or not length else 0
            self._end = max(length, self._start)
            self._sign({"has_locks": has_locks, **asdict(Process.current())})
        except BaseException as error:
            os.close(self._number)
            if is_new and not isinstance(error, BlockingIOError):
                path.unlink()
            raise
        _OPEN.add(self)

    def _acquire(self, *, is_new: bool, force: bool) -> bool:
        """Lock the file; return False if that is not possible."""
        locked = lock_journal(self._number, shared=False)
        writer = None if is_new and locked is not False else _writer(self._number, locked=locked)
        if writer is not None and not (force and not writer.is_certain):
            raise BlockingIOError(writer)
        return bool(locked)

    def _sign(self, writer: dict[str, Any]) -> None:
        if self._start:
            head = _WRITER_MARK + json.dumps(writer).encode()
            write_at(self._number, head[:_WRITER_BYTES].ljust(_WRITER_BYTES), 0)

    def is_at(self, number: int) -> bool:
        """Return True if this is the journal that is open as the file descriptor ``number``."""
        return os.path.sameopenfile(self._number, number)

    @property
    def has_commits(self) -> bool:
        """True if anything was committed."""
        return any(frame == b"" for frame in islice(iter_frames(self.path), 1))

    def append(self, overlay: Overlay) -> None:
        """Add a commit."""
        if not os.fstat(self._number).st_nlink:
            msg = "its journal was removed; was it recovered with --force?"
            raise OSError(msg)
        if self._end == self._start:
            self._end = append_frame(self._number, self._end, [])
        parts: list[bytes | bytearray] = []
        for offset, piece in overlay:
            parts += [_PIECE_HEAD.pack(offset, len(piece)), piece]
        self._end = append_frame(self._number, self._end, parts)

    def clear(self) -> None:
        """Remove all commits, once they are in the HDF5 file, but keep the empty first frame."""
        self._end = self._start + EMPTY_FRAME_BYTES
        os.ftruncate(self._number, self._end)

    def close(self) -> None:
        """Close and unlock the file, which no process writes any more."""
        _OPEN.discard(self)
        with suppress(OSError):
            self._sign({})
        os.close(self._number)


_OPEN: WeakSet[Journal] = WeakSet()
"""The journals of this process."""


def _head(number: int) -> bytes:
    """Return the beginning of a journal with the process that writes it, or nothing."""
    head = bytearray(_WRITER_BYTES)
    read_at(number, head, 0)
    return bytes(head) if head.startswith(_WRITER_MARK) else b""


def _writer(number: int, *, locked: bool | None) -> Writer | None:
    """Return the process that writes a journal or may do so, after an attempt to lock it."""
    here, process, has_locks = Process.current(), None, False
    signed: Any = None
    with suppress(ValueError, RecursionError):  # Journals of version 0.3.0 have no head.
        signed = json.loads(_head(number)[len(_WRITER_MARK) :])
    if _types(signed) == _types({"has_locks": True, **asdict(here)}):
        has_locks = signed.pop("has_locks")
        process = Process(**signed)
    if locked is False:
        is_writing: bool | None = True
    elif process is None:
        is_closed = signed == {} or locked
        is_writing = False if is_closed else None
    elif process == here:
        is_writing = any(journal.is_at(number) for journal in _OPEN)
    elif locked and has_locks and process.boot == here.boot:
        is_writing = False
    else:
        # A lock tells nothing of other computers: some file systems lock for each separately.
        is_writing = process.is_alive()
    if is_writing is False:
        return None
    last = os.fstat(number).st_mtime
    return Writer(process, bool(is_writing), has_locks, last)


def _types(facts: Any) -> dict[str, type] | None:
    return {name: type(fact) for name, fact in facts.items()} if isinstance(facts, dict) else None


def journal_path(path: Path) -> Path:
    """Return the path of the journal of the file ``path``."""
    return path.parent / f"{path.name}.journal"  # Path(".") has no name for with_name


def replay(path: Path) -> None:
    """Write all commits of its journal into the file ``path``; repeating this is harmless."""
    number = open_file(path, os.O_WRONLY)
    try:
        for frame in iter_frames(journal_path(path)):
            at = 0
            while at < len(frame):
                head = frame[at : at + _PIECE_HEAD.size].ljust(_PIECE_HEAD.size, b"\xff")
                offset, length = _PIECE_HEAD.unpack(head)
                at += _PIECE_HEAD.size
                if at + length > len(frame) or offset + length >= 2**63:
                    msg = f"{journal_path(path)} is damaged: a commit in it is incomplete"
                    raise SourceError(msg)
                write_at(number, frame[at : at + length], offset)
                at += length
    finally:
        os.close(number)


@contextmanager
def open_journal(path: Path, *, force: bool = False) -> Iterator[Journal]:
    """Open the journal of ``path``; at the end, remove all companions if ``path`` is gone."""
    journal = Journal(journal_path(path), force=force)
    try:
        yield journal
    finally:
        journal.close()
        if not path.exists():
            with suppress(OSError):
                for companion in companion_files(path):
                    companion.unlink(missing_ok=True)


def companion_files(path: Path) -> list[Path]:
    """Return the files that exist only while ``path`` is written: ``path`` with a suffix added."""
    siblings = sorted(path.parent.iterdir())
    return [sibling for sibling in siblings if sibling.name.startswith(f"{path.name}.")]


def unfinished_files(target: Path) -> list[Path]:
    """Return the journaled files of running or crashed processes that stream into ``target``."""
    return [path for path in find_partials(target) if journal_path(path).exists()]


def find_writer(path: Path) -> Writer | None:
    """Return the process that writes ``path``, or may do so; None if there is none."""
    try:
        number = open_file(journal_path(path), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # Such as one that belongs to another user.
        last = journal_path(path).stat().st_mtime
        return Writer(None, is_certain=False, has_locks=False, last=last)
    try:
        return _writer(number, locked=lock_journal(number, shared=True))
    finally:
        os.close(number)


@contextmanager
def pause_writer(path: Path) -> Iterator[None]:
    """Prevent a process that streams into ``path`` from changing it while the block opens it.

    Where it cannot be prevented, because there are no locks, raise SourceError.
    """
    if not journal_path(path).exists():
        yield
        return
    deadline = time.monotonic() + _LOCK_SECONDS
    with path.open("rb") as file:
        while (locked := lock_file(file.fileno(), shared=True)) is False:
            if time.monotonic() > deadline:
                who = find_writer(path) or "another program"
                msg = f"{path} stays locked by {who}; is it suspended?"
                raise SourceError(msg)
            time.sleep(0.001)
        writer = find_writer(path)
        if writer is None and any(iter_frames(journal_path(path))):
            msg = f"a crash left {path} incomplete: recover it with ndx-sim recover {path}"
            raise SourceError(msg)
        if writer is not None and not (locked and writer.has_locks and _hdf5_locks()):
            why = writer.refusal(path, f"run: ndx-sim recover --force {path}")
            msg = f"{why}. Without file locks it cannot be read while it changes"
            raise SourceError(msg)
        yield


def _hdf5_locks() -> bool:
    """Return True unless the user has disabled the locks of HDF5."""
    return os.environ.get("HDF5_USE_FILE_LOCKING", "") not in {"FALSE", "0"}


@dataclass(frozen=True)
class FileVersion:
    """The size and time of modification of a file when it was opened, by its descriptor."""

    number: int
    path: Path
    found: tuple[int, int]
    journal: Path
    is_growing: bool

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "FileVersion | None":
        """Return the version of the file of a dataset, or None if it is writable or not local."""
        if not isinstance(dataset.id, h5py.h5d.DatasetID):  # Such as those of LINDI.
            return None
        if not dataset:
            msg = "the file of a dataset is closed: it cannot be read; open it again"
            raise SourceError(msg)
        with hdf5_lock:
            file = h5py.h5i.get_file_id(dataset.id)
            is_local = file.get_access_plist().get_driver() == h5py.h5fd.SEC2
            if not is_local or file.get_intent() != h5py.h5f.ACC_RDONLY:
                return None
            return cls.of_number(file.get_vfd_handle(), Path(os.fsdecode(file.name)))

    @classmethod
    def of_number(cls, number: int, path: Path) -> "FileVersion":
        """Return the version of an open file."""
        journal = journal_path(path.absolute())
        return cls(number, path, size_and_time(os.fstat(number)), journal, journal.exists())

    def change(self) -> str | None:
        """Return how the file has changed since, or None.

        A stream leaves to its readers what they have seen, as long as it has a journal.
        """
        if size_and_time(os.fstat(self.number)) == self.found or self.journal.exists():
            return None
        what = "was completed" if self.is_growing else "has changed"
        return f"the file {what} since it was opened; open it again"


def size_and_time(status: os.stat_result) -> tuple[int, int]:
    """Return size and time of modification (ns), which differ between versions of a file."""
    return status.st_size, status.st_mtime_ns
