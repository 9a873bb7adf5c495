"""HDF5 files that are whole at each moment, as they were when they were last committed.

What HDF5 writes over bytes of the last committed state stays in memory. A commit writes it to a
journal beside the file, and then to the file. Bytes that no committed state has are written at
once: nobody who reads the file looks at them.
"""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ndx_simulation_output.engine.frames import FRAME_BYTES, append_frame, read_frames, write_at
from ndx_simulation_output.engine.overlay import Overlay
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import FileStorage, WholeFile, partials, whole_hdf5

try:
    import fcntl
except ImportError:  # such as on Windows, where readers are not waited for
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Journal",
    "Journaled",
    "companions",
    "is_being_written",
    "journal_of",
    "journaled_hdf5",
    "left_behind",
    "replay",
    "taken_journal",
    "undisturbed",
]

_PIECE = struct.Struct("<QQ")
"""Place and length of a piece, which follows."""
_READERS_SECONDS = 1.0
"""How long the end of a file waits for those who read it."""


def journal_of(path: Path) -> Path:
    """Give the name of the journal of the file ``path``."""
    return path.with_name(f"{path.name}.journal")


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
        if not _lock(self._number, shared=False):
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


class Journaled(FileStorage):
    """The bytes of a file that HDF5 writes, changed only by :meth:`commit`."""

    def __init__(self, path: Path, mode: str, journal: Journal) -> None:
        super().__init__(path, mode)
        self._journal = journal
        self._new, self._committed = Overlay(), Overlay()
        self._length = self._fixed = os.fstat(self.fileno()).st_size
        self.commits = 0

    def store(self, data: memoryview) -> None:
        """Write past the end of what was committed; keep what lies before it."""
        place = self.tell()
        inside = max(0, min(len(data), self._fixed - place))
        if inside:
            self._new.put(place, data[:inside])
        write_at(self.fileno(), data[inside:], place + inside)

    def readinto(self, buffer: Any) -> int:
        """Read what would be in the file if all was committed."""
        place = self.tell()
        data = memoryview(buffer).cast("B")
        length = super().readinto(data) or 0
        self._committed.lay_over(place, data[:length])
        self._new.lay_over(place, data[:length])
        return length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``readinto`` does."""
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        data = bytearray(rest if size is None or size < 0 else size)
        return bytes(data[: self.readinto(data)])

    def cut(self, size: int) -> None:
        """Make the file longer; it becomes shorter only at the end, when nothing is behind."""
        self._length = size
        if size > os.fstat(self.fileno()).st_size:
            os.ftruncate(self.fileno(), size)

    def commit(self) -> None:
        """Make what HDF5 has written, and flushed, the state that a crash leaves.

        Raises
        ------
        OSError
            If something of it could not be written.

        """
        self.check()
        try:
            self._journal.append(self._new)
        except OSError as error:
            self.failure = error
            raise
        for place, piece in self._new:
            self._committed.put(place, piece)
        self._new = Overlay()
        self._fixed = max(self._fixed, self._length)
        self.commits += 1
        self.settle()

    def settle(self) -> bool:
        """Bring what was committed into the file, unless somebody has it open for reading.

        Raises
        ------
        OSError
            If it cannot be written; the journal has it still.

        """
        if not self._committed:
            return True
        if not _lock(self.fileno(), shared=False):
            return False
        try:
            self._write_committed()
        finally:
            _unlock(self.fileno())
        return True

    def _write_committed(self) -> None:
        try:
            for place, piece in self._committed:
                write_at(self.fileno(), piece, place)
            self._journal.clear()
        except OSError as error:
            self.failure = error
            raise
        self._committed = Overlay()

    def finish(self) -> None:
        """Commit what HDF5 has written when it closed the file, and cut the file to its length.

        Raises
        ------
        OSError
            If something of it could not be written.

        """
        self.commit()
        patience = time.monotonic() + _READERS_SECONDS
        while not self.settle() and time.monotonic() < patience:
            time.sleep(0.01)
        self._write_committed()
        os.ftruncate(self.fileno(), self._length)


@contextmanager
def journaled_hdf5(
    path: Path, *, overwrite: bool = False, keep: bool = False
) -> Iterator[tuple[WholeFile, Journaled]]:
    """Give an HDF5 file that gets the name ``path`` when the block ends well, and its storage.

    When the process dies before, what was last committed can be recovered. So it can if the block
    raises, given ``keep``; else nothing is left.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written, for instance because the disk is full.

    """
    storages: list[Journaled] = []

    def make(temporary: Path) -> Journaled:
        journal = stack.enter_context(taken_journal(temporary))
        storages.append(Journaled(temporary, "w+", journal))
        return storages[0]

    def keeps() -> bool:
        return keep and bool(storages) and storages[0].commits > 1

    with (
        ExitStack() as stack,
        whole_hdf5(path, overwrite=overwrite, storage=make, keeps=keeps) as file,
    ):
        yield file, storages[0]


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
        return not _lock(number, shared=True)
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
        while not _lock(file.fileno(), shared=True):
            time.sleep(0.001)
        if any(read_frames(journal_of(path))) and not is_being_written(path):
            msg = f"{path} was left by a crash; ndx-sim recover {path} makes it whole"
            raise SourceError(msg)
        yield


def _lock(number: int, *, shared: bool) -> bool:
    """Lock an open file, if nobody else has. HDF5 locks what it reads in the same way."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # The file system has no locks.
    return True


def _unlock(number: int) -> None:
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)
