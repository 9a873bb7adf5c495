"""The journal of an HDF5 file that grows: a crash leaves the last committed state recoverable."""

import os
import struct
import time
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import find_partials
from ndx_simulation_output.system import lock_file, open_file, write_at

_crc32: Any = zlib.crc32
with suppress(ImportError):
    from isal.isal_zlib import crc32 as _crc32

_FRAME_MARK = b"NDXF"
_FRAME_HEAD = struct.Struct("<4sQI")  # mark, number of bytes, CRC-32
_PIECE_HEAD = struct.Struct("<QQ")  # offset in the file, number of bytes
EMPTY_FRAME_BYTES = _FRAME_HEAD.size


def append_frame(number: int, offset: int, parts: Sequence[bytes | bytearray]) -> int:
    """Write ``parts`` as one frame with a checksum at ``offset``, and return its end."""
    length = checksum = 0
    for part in parts:
        length, checksum = length + len(part), _crc32(part, checksum)
    frame = b"".join([_FRAME_HEAD.pack(_FRAME_MARK, length, checksum), *parts])
    write_at(number, frame, offset)
    return offset + len(frame)


def iter_frames(path: Path) -> Iterator[bytes]:
    """Yield the content of each frame of a file, up to the first incomplete one."""
    with path.open("rb") as file:
        while True:
            head = file.read(_FRAME_HEAD.size)
            if len(head) < _FRAME_HEAD.size:
                return
            mark, length, checksum = _FRAME_HEAD.unpack(head)
            # Bytes that are not a frame may claim any length: do not allocate it.
            if mark != _FRAME_MARK or length > path.stat().st_size:
                return
            content = file.read(length)
            if len(content) < length or _crc32(content) != checksum:
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


class Journal:
    """A file with a frame for each commit that may not have been written to the HDF5 file yet.

    The first frame is empty and marks the file as recoverable. The journal is locked until it is
    closed; if another process has locked it, BlockingIOError is raised.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = open_file(path, os.O_RDWR | os.O_CREAT)
        self._end = os.fstat(self._number).st_size
        if lock_file(self._number, shared=False) is False:
            os.close(self._number)
            raise BlockingIOError(path)

    @property
    def has_commits(self) -> bool:
        """True if anything was committed."""
        return any(frame == b"" for frame in islice(iter_frames(self.path), 1))

    def append(self, overlay: Overlay) -> None:
        """Add a commit."""
        if not self._end:
            self._end = append_frame(self._number, 0, [])
        parts: list[bytes | bytearray] = []
        for offset, piece in overlay:
            parts += [_PIECE_HEAD.pack(offset, len(piece)), piece]
        self._end = append_frame(self._number, self._end, parts)

    def clear(self) -> None:
        """Remove all commits, once they are in the HDF5 file, but keep the empty first frame."""
        os.ftruncate(self._number, EMPTY_FRAME_BYTES)
        self._end = EMPTY_FRAME_BYTES

    def close(self) -> None:
        """Close and unlock the file."""
        os.close(self._number)


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
                offset, length = _PIECE_HEAD.unpack_from(frame, at)
                at += _PIECE_HEAD.size
                write_at(number, frame[at : at + length], offset)
                at += length
    finally:
        os.close(number)


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal of ``path``; at the end, remove all companions if ``path`` is gone."""
    journal = Journal(journal_path(path))
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


def is_being_written(path: Path) -> bool:
    """Return True if a running process writes ``path``: it has locked the journal."""
    try:
        number = open_file(journal_path(path), os.O_RDWR)
    except OSError:
        return False
    try:
        return lock_file(number, shared=True) is False
    finally:
        os.close(number)


@contextmanager
def pause_writer(path: Path) -> Iterator[None]:
    """Prevent a process that streams into ``path`` from changing it while the block opens it."""
    if not journal_path(path).exists():
        yield
        return
    with path.open("rb") as file:
        while lock_file(file.fileno(), shared=True) is False:
            time.sleep(0.001)
        if any(iter_frames(journal_path(path))) and not is_being_written(path):
            msg = f"a crash left {path} incomplete: recover it with ndx-sim recover {path}"
            raise SourceError(msg)
        yield
