"""HDF5 files with commits: a crash leaves the last committed state recoverable.

Bytes that HDF5 writes over the last committed state stay in memory until a commit writes them to
a journal, and then to the file. Bytes outside the committed state are written immediately, because
the committed state does not refer to them.
"""

import os
import shutil
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.files import (
    AtomicFile,
    FileObject,
    atomic_file,
    atomic_hdf5,
    uninterrupted,
    write_errors,
)
from ndx_simulation_output.storage.journal import (
    Journal,
    Overlay,
    Writer,
    companion_files,
    find_writer,
    journal_path,
    open_journal,
    replay,
)
from ndx_simulation_output.system import Process, lock_file, unlock_file, write_at

_READERS_SECONDS = 1.0
"""Maximum time (s) for which the last commit waits for processes that open the file."""
_CHUNK_CACHE_BYTES = 2**20
_OVERLAY_BYTES = 2**25


class JournaledFileObject(FileObject):
    """The file object through which HDF5 writes; :meth:`commit` makes the changes permanent.

    ``overlaid`` counts the bytes written over the committed state since the last commit. If
    ``is_discarded`` is true, nothing is kept of a file that was created.
    """

    _LARGE_WRITE = sys.maxsize
    """HDF5 delays writes of any size until a flush, which an error would leave half done."""

    def __init__(self, path: Path, mode: str, journal: Journal) -> None:
        super().__init__(path, mode)
        self._journal = journal
        self._new, self._committed = Overlay(), Overlay()
        self._length = self._committed_length = os.fstat(self.fileno()).st_size
        self._interruption: KeyboardInterrupt | None = None
        self.commits = 0
        self.is_discarded = False
        self.overlaid = 0

    def __repr__(self) -> str:
        """Return the path, which h5py uses as the file name."""
        return str(self.name)

    def store(self, data: memoryview) -> None:
        """Write data outside the committed state; keep the rest in memory until the next commit."""
        offset = self.tell()
        try:
            self._store(data, offset)
        except KeyboardInterrupt as interruption:
            # HDF5 does not repeat the write, so that it would be missing in a recovered file.
            self._store(data, offset)
            self._interruption = interruption

    def check(self) -> None:
        """Raise a delayed KeyboardInterrupt, once, or ``failure``."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption
        super().check()

    def _store(self, data: memoryview, offset: int) -> None:
        inside = max(0, min(len(data), self._committed_length - offset))
        if inside:
            self._new.put(offset, data[:inside])
            self.overlaid += inside
        write_at(self.fileno(), data[inside:], offset + inside)

    def forget(self, offsets: NDArray[np.int64], length: int) -> None:
        """Discard what HDF5 wrote to the chunks at ``offsets``, which are written bypassing HDF5.

        When a dataset gets shorter, HDF5 clears the rest of its last chunks.
        """
        if self._new:
            for offset in offsets.ravel().tolist():
                self._new.drop(offset, offset + length)

    def readinto(self, buffer: Any) -> int:
        """Read the file including all changes, committed or not."""
        offset = self.tell()
        data = memoryview(buffer).cast("B")
        length = super().readinto(data) or 0
        self._committed.copy_to(offset, data[:length])
        self._new.copy_to(offset, data[:length])
        return length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``readinto`` does."""
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        data = bytearray(rest if size is None or size < 0 else size)
        return bytes(data[: self.readinto(data)])

    def cut(self, size: int) -> None:
        """Extend the file immediately; truncate it only in ``finish``."""
        self._length = size
        if size > os.fstat(self.fileno()).st_size:
            os.ftruncate(self.fileno(), size)

    def commit(self) -> None:
        """Commit all changes that HDF5 has flushed, so that they survive a crash."""
        self.check()
        try:
            self._journal.append(self._new)
        except OSError as error:
            self.failure = error
            raise
        if not self._committed:
            self._committed = self._new
        else:
            for offset, piece in self._new:
                self._committed.put(offset, piece)
        self._new, self.overlaid = Overlay(), 0
        self._committed_length = max(self._committed_length, self._length)
        self.commits += 1
        self.try_apply()

    def try_apply(self) -> bool:
        """Write the commits to the file; return False if a reader has locked it."""
        if not self._committed:
            return True
        if lock_file(self.fileno(), shared=False) is False:
            return False
        try:
            self._apply()
        finally:
            unlock_file(self.fileno())
        return True

    def _apply(self) -> None:
        try:
            for offset, piece in self._committed:
                write_at(self.fileno(), piece, offset)
            self._journal.clear()
        except OSError as error:
            self.failure = error
            raise
        self._committed = Overlay()

    def finish(self) -> None:
        """Commit what HDF5 wrote when it closed the file, and cut the file to its length."""
        self.commit()
        deadline = time.monotonic() + _READERS_SECONDS
        while not self.try_apply() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._apply()
        os.ftruncate(self.fileno(), self._length)


@contextmanager
def create_journaled(
    path: Path, *, overwrite: bool = False, keep: bool = False
) -> Iterator[tuple[AtomicFile, JournaledFileObject]]:
    """Yield a new HDF5 file, renamed to ``path`` when the block succeeds, and its file object.

    If the process dies, or with ``keep`` if the block raises, the last commit can be recovered.
    """
    opened: list[JournaledFileObject] = []

    def open_file(temporary: Path) -> JournaledFileObject:
        for companion in companion_files(temporary):  # A file of this name was removed.
            companion.unlink()
        journal = stack.enter_context(open_journal(temporary))
        opened.append(JournaledFileObject(temporary, "w+", journal))
        return opened[0]

    def keep_partial() -> bool:
        return keep and any(file.commits > 1 and not file.is_discarded for file in opened)

    with (
        ExitStack() as stack,
        atomic_hdf5(
            path, overwrite=overwrite, open_file=open_file, keep_partial=keep_partial
        ) as file,
    ):
        yield file, opened[0]


class JournaledFile:
    """An existing HDF5 file, opened for adding objects in place.

    Commits that a crashed process left in a journal are applied first. The file is closed when the
    object is no longer referenced, or when Python exits. Raises SourceError if it is not an
    HDF5 file, WriteError if it cannot be written or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        had_journal = journal_path(path).exists()
        with write_errors(path):
            journal = _apply_journal(path)
        try:
            self._object = JournaledFileObject(path, "r+", journal)
        except OSError as error:
            _close_journal(journal, keep=had_journal)
            msg = f"cannot write {path}: {error}"
            raise WriteError(msg) from error
        try:
            self.file = h5py.File(self._object, "r+", rdcc_nbytes=_CHUNK_CACHE_BYTES)
        except OSError as error:
            self._object.close()
            _close_journal(journal, keep=had_journal)
            msg = f"cannot open {path} to add to it: {error}"
            raise SourceError(msg) from error
        self._finish = weakref.finalize(self, _finish, self.file, self._object, journal)

    def check(self) -> None:
        """Raise WriteError if a write failed; nothing is committed from then on."""
        with write_errors(self.path):
            self._object.check()

    def commit(self) -> None:
        """Commit all changes, so that they survive a crash."""
        with uninterrupted(), write_errors(self.path):
            self.file.flush()
            self._object.commit()

    def bound_memory(self) -> None:
        """Commit if more than 32 MiB of changes are in memory, between complete additions."""
        if self._object.overlaid > _OVERLAY_BYTES:
            self.commit()

    def close(self) -> None:
        """Commit and close the file; if that fails, the journal is not removed."""
        with uninterrupted(), write_errors(self.path):
            self._finish()


def _finish(file: h5py.File, file_object: JournaledFileObject, journal: Journal) -> None:
    complete = False
    try:
        file_object.is_closing = True
        file.close()
        file_object.finish()
        complete = True
    finally:
        file_object.close()
        _close_journal(journal, keep=not complete)


def _apply_journal(path: Path, *, force: bool = False) -> Journal:
    """Open the journal of a file and apply its commits to the file."""
    try:
        journal = Journal(journal_path(path), force=force)
    except BlockingIOError as error:
        raise WriteError(_busy_message(path, error.args[0])) from error
    if journal.has_commits:
        replay(path)
        journal.clear()
    return journal


def _busy_message(path: Path, writer: Writer) -> str:
    if writer.process == Process.current():
        return f"{path} is being written by another object of this process; close it there first"
    return writer.refusal(path, f"run: ndx-sim recover --force {path}")


def _close_journal(journal: Journal, *, keep: bool) -> None:
    journal.close()
    if not keep:
        journal.path.unlink(missing_ok=True)


def remove_journal(path: Path) -> None:
    """Remove the journal of a file that will be replaced."""
    writer = find_writer(path)
    if writer is not None:
        raise WriteError(_busy_message(path, writer))
    journal_path(path).unlink(missing_ok=True)


def has_journal(path: Path) -> bool:
    """Return True if a running or crashed process adds to the file."""
    return path.is_file() and journal_path(path).exists()


def recover_journaled(
    path: Path, target: Path, *, overwrite: bool = False, force: bool = False
) -> None:
    """Apply the commits of a crashed process to the file ``path``, and copy it to ``target``."""
    with write_errors(path):
        _close_journal(_apply_journal(path, force=force), keep=False)
        if target != path:
            with atomic_file(target, overwrite=overwrite) as temporary:
                shutil.copyfile(path, temporary)
