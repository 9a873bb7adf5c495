"""The journal of a file that grows: what was committed, and is perhaps not yet in the file."""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from ndx_simulation_output.engine.file_locks import lock_file
from ndx_simulation_output.engine.frames import FRAME_BYTES, append_frame, read_frames, write_at
from ndx_simulation_output.engine.overlay import Overlay
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import partials

__all__ = [
    "Journal",
    "companions",
    "is_being_written",
    "journal_of",
    "left_behind",
    "replay",
    "taken_journal",
    "undisturbed",
]

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
