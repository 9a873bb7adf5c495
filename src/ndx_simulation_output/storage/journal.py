"""The journal that keeps a growing file whole."""

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
from ndx_simulation_output.files import partials
from ndx_simulation_output.storage.raw_files import lock_file

# Pieces of bytes one after the other in a file, of which a reader can tell which are whole.

_crc32: Any = zlib.crc32
with suppress(ImportError):
    from isal.isal_zlib import crc32 as _crc32

_HEAD = struct.Struct("<4sQI")
"""What marks a frame, the number of its bytes, and their checksum (CRC-32)."""
_MARK = b"NDXF"
FRAME_BYTES = _HEAD.size
"""Length of a frame that holds nothing."""


def write_at(number: int, data: bytes | bytearray | memoryview, place: int) -> None:
    """Write all of ``data`` to the open file ``number``, from byte ``place`` on.

    Raises
    ------
    OSError
        If the system refuses to.

    """
    left = memoryview(data)
    while left:
        written = os.pwrite(number, left, place)
        left, place = left[written:], place + written


def append_frame(number: int, place: int, parts: Sequence[bytes | bytearray]) -> int:
    """Write ``parts`` as one frame at byte ``place``, and give where it ends.

    A crash on the way leaves a frame that is not whole, which :func:`read_frames` does not give.

    Raises
    ------
    OSError
        If the system refuses to write.

    """
    length = checksum = 0
    for part in parts:
        length, checksum = length + len(part), _crc32(part, checksum)
    frame = b"".join([_HEAD.pack(_MARK, length, checksum), *parts])
    write_at(number, frame, place)
    return place + len(frame)


def read_frames(path: Path) -> Iterator[bytes]:
    """Give what each whole frame of a file holds, up to the first that is not whole.

    Raises
    ------
    OSError
        If the file cannot be read.

    """
    with path.open("rb") as file:
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            mark, length, checksum = _HEAD.unpack(head)
            # What is no frame may claim any length.
            if mark != _MARK or length > path.stat().st_size:
                return
            payload = file.read(length)
            if len(payload) < length or _crc32(payload) != checksum:
                return
            yield payload


# Pieces of a file that are in memory and lie over what the file has there.


class Overlay:
    """Pieces of a file by their places; they never overlap.

    Example
    -------
    >>> overlay = Overlay()
    >>> overlay.put(4, b"abcd")
    >>> overlay.put(2, b"xyz")
    >>> [(place, bytes(piece)) for place, piece in overlay]
    [(2, b'xyzbcd')]

    """

    def __init__(self) -> None:
        self._places: list[int] = []
        self._pieces: list[bytearray] = []

    def __bool__(self) -> bool:
        """Whether there is any piece."""
        return bool(self._places)

    def __iter__(self) -> Iterator[tuple[int, bytearray]]:
        """Give the pieces with their places, ascending."""
        return zip(self._places, self._pieces, strict=True)

    def put(self, place: int, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` over what is there from byte ``place`` on."""
        stop = place + len(data)
        first, last = self._touched(place, stop)
        if first == last:
            self._places.insert(first, place)
            self._pieces.insert(first, bytearray(data))
            return
        begin, end = self._places[first], self._places[last - 1] + len(self._pieces[last - 1])
        if begin <= place and stop <= end and last - first == 1:
            self._pieces[first][place - begin : stop - begin] = data
            return
        head = self._pieces[first][: max(0, place - begin)]
        tail = self._pieces[last - 1][len(self._pieces[last - 1]) - max(0, end - stop) :]
        self._places[first:last] = [min(begin, place)]
        self._pieces[first:last] = [head + data + tail]

    def drop(self, place: int, stop: int) -> None:
        """Take out what is there from byte ``place`` to ``stop``."""
        first, last = self._touched(place, stop)
        kept = []
        for begin, piece in zip(self._places[first:last], self._pieces[first:last], strict=True):
            kept += [(begin, piece[: max(0, place - begin)])]
            kept += [(max(begin, stop), piece[max(0, stop - begin) :])]
        kept = [(begin, piece) for begin, piece in kept if piece]
        self._places[first:last] = [begin for begin, _ in kept]
        self._pieces[first:last] = [piece for _, piece in kept]

    def lay_over(self, place: int, data: memoryview) -> None:
        """Put the pieces into ``data``, which the file has from byte ``place`` on."""
        stop = place + len(data)
        for number in range(*self._touched(place, stop)):
            begin, piece = self._places[number], self._pieces[number]
            start, end = max(place, begin), min(stop, begin + len(piece))
            data[start - place : end - place] = piece[start - begin : end - begin]

    def _touched(self, place: int, stop: int) -> tuple[int, int]:
        """Give the first piece that has a byte from ``place`` to ``stop``, and that after these."""
        first = bisect_right(self._places, place) - 1
        if first < 0 or self._places[first] + len(self._pieces[first]) <= place:
            first += 1
        return first, max(first, bisect_left(self._places, stop))


# The journal of a file that grows: what was committed, and is perhaps not yet in the file.

_PIECE = struct.Struct("<QQ")
"""Place and length of a piece, which follows."""


def journal_of(path: Path) -> Path:
    """Give the name of the journal of the file ``path``."""
    return path.parent / f"{path.name}.journal"  # Path(".") has no name to change


def left_behind(target: Path) -> list[Path]:
    """Give the files in which ``target`` is being written, or was when a process died."""
    return [path for path in partials(target) if journal_of(path).exists()]


class Journal:
    """What was committed and is perhaps not yet in the file: a frame for each commit.

    An empty frame comes first, when there is anything to recover. The journal is locked for as
    long as its process lives.

    Raises
    ------
    BlockingIOError
        If another process has it.
    OSError
        If it cannot be opened.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._end = os.fstat(self._number).st_size
        if not lock_file(self._number, shared=False):
            os.close(self._number)
            raise BlockingIOError(path)

    @property
    def is_begun(self) -> bool:
        """Whether there was a commit."""
        return any(frame == b"" for frame in islice(read_frames(self.path), 1))

    def append(self, pieces: Overlay) -> None:
        """Add what a commit changes.

        Raises
        ------
        OSError
            If it cannot be written.

        """
        if not self._end:
            self._end = append_frame(self._number, 0, [])
        parts: list[bytes | bytearray] = []
        for place, piece in pieces:
            parts += [_PIECE.pack(place, len(piece)), piece]
        self._end = append_frame(self._number, self._end, parts)

    def clear(self) -> None:
        """Forget what is in the file by now, but not that there was a commit."""
        os.ftruncate(self._number, FRAME_BYTES)
        self._end = FRAME_BYTES

    def close(self) -> None:
        """Let go of it."""
        os.close(self._number)


def replay(path: Path) -> None:
    """Bring all that its journal has into the file ``path``. This can be done again.

    Raises
    ------
    OSError
        If that fails.

    """
    number = os.open(path, os.O_WRONLY)
    try:
        for frame in read_frames(journal_of(path)):
            for place, piece in _pieces(frame):
                write_at(number, piece, place)
    finally:
        os.close(number)


def _pieces(frame: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(frame):
        place, length = _PIECE.unpack_from(frame, at)
        at += _PIECE.size
        yield place, frame[at : at + length]
        at += length


@contextmanager
def taken_journal(path: Path) -> Iterator[Journal]:
    """Give the journal of the file ``path``; if that is gone afterwards, so is all that was its.

    Raises
    ------
    BlockingIOError
        If another process has it.
    OSError
        If it cannot be opened.

    """
    journal = Journal(journal_of(path))
    try:
        yield journal
    finally:
        journal.close()
        if not path.exists():
            with suppress(OSError):
                for other in companions(path):
                    other.unlink(missing_ok=True)


def companions(path: Path) -> list[Path]:
    """Give the files that belong to the file ``path`` while it is written: its name begins theirs.

    Raises
    ------
    OSError
        If the directory cannot be read.

    """
    beside = sorted(path.parent.iterdir())
    return [other for other in beside if other.name.startswith(f"{path.name}.")]


def is_being_written(path: Path) -> bool:
    """Whether the process that writes the file ``path`` lives: it has locked the journal."""
    try:
        number = os.open(journal_of(path), os.O_RDWR)
    except OSError:
        return False
    try:
        return not lock_file(number, shared=True)
    finally:
        os.close(number)


@contextmanager
def undisturbed(path: Path) -> Iterator[None]:
    """Keep who streams into ``path``, if anyone does, from changing it while it is opened.

    Raises
    ------
    SourceError
        If the writer has died on its way.

    """
    if not journal_of(path).exists():
        yield
        return
    with path.open("rb") as file:
        while not lock_file(file.fileno(), shared=True):
            time.sleep(0.001)
        if any(read_frames(journal_of(path))) and not is_being_written(path):
            msg = f"{path} was left by a crash; ndx-sim recover {path} makes it whole"
            raise SourceError(msg)
        yield
