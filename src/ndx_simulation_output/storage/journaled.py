"""HDF5 files that stay whole while they grow."""

import os
import shutil
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
    FileStorage,
    WholeFile,
    naming_target,
    whole_file,
    whole_hdf5,
)
from ndx_simulation_output.storage.journal import (
    Journal,
    Overlay,
    is_being_written,
    journal_of,
    replay,
    taken_journal,
    write_at,
)
from ndx_simulation_output.storage.raw_files import lock_file, unlock_file

# HDF5 files that are whole at each moment, as they were when they were last committed.
#
# What HDF5 writes over bytes of the last committed state stays in memory. A commit writes it to a
# journal beside the file, and then to the file. Bytes that no committed state has are written at
# once: nobody who reads the file looks at them.

_READERS_SECONDS = 1.0
"""How long the end of a file waits for those who read it."""


class Journaled(FileStorage):
    """The bytes of a file that HDF5 writes, changed only by :meth:`commit`.

    ``kept`` is how many bytes were written over the committed state since the last commit.
    """

    def __init__(self, path: Path, mode: str, journal: Journal) -> None:
        super().__init__(path, mode)
        self._journal = journal
        self._new, self._committed = Overlay(), Overlay()
        self._length = self._fixed = os.fstat(self.fileno()).st_size
        self._interruption: KeyboardInterrupt | None = None
        self.commits = 0
        self.kept = 0

    def store(self, data: memoryview) -> None:
        """Write past the end of what was committed; keep what lies before it."""
        place = self.tell()
        try:
            self._store(data, place)
        except KeyboardInterrupt as interruption:
            # HDF5 does not write it again: if the file is to be kept, it would lack this.
            self._store(data, place)
            self._interruption = interruption

    def check(self) -> None:
        """Raise what has happened, if anything has; once, if the user has interrupted."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption
        super().check()

    def _store(self, data: memoryview, place: int) -> None:
        inside = max(0, min(len(data), self._fixed - place))
        if inside:
            self._new.put(place, data[:inside])
            self.kept += inside
        write_at(self.fileno(), data[inside:], place + inside)

    def cede(self, places: NDArray[np.int64], length: int) -> None:
        """Forget what HDF5 has written to ``places``, where others now write ``length`` bytes each.

        HDF5 does so when a dataset gets shorter: it clears the rest of its last chunks.
        """
        if self._new:
            for place in places.ravel().tolist():
                self._new.drop(place, place + length)

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
        if not self._committed:
            self._committed = self._new
        else:
            for place, piece in self._new:
                self._committed.put(place, piece)
        self._new, self.kept = Overlay(), 0
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
        if not lock_file(self.fileno(), shared=False):
            return False
        try:
            self._write_committed()
        finally:
            unlock_file(self.fileno())
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


# HDF5 files that are added to under their own name, whole at each moment by a journal.

_CACHE_BYTES = 2**20
"""Cache of chunks of each dataset."""
_KEPT_BYTES = 2**25
"""How much of what was written over the committed state may stay in memory."""


class Appended:
    """An HDF5 file that exists, to add to; what a process that died has left is made whole.

    If nobody closes it, that is done when nobody has it any more, or Python ends.

    Raises
    ------
    SourceError
        If it is not an HDF5 file.
    WriteError
        If it cannot be written, or somebody else adds to it.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        was_there = journal_of(path).exists()
        with naming_target(path):
            journal = _taken(path)
        try:
            self._storage = Journaled(path, "r+", journal)
        except OSError as error:
            _let_go(journal, keep=was_there)
            msg = f"cannot write {path}: {error}"
            raise WriteError(msg) from error
        try:
            self.file = h5py.File(self._storage, "r+", rdcc_nbytes=_CACHE_BYTES)
        except OSError as error:
            self._storage.close()
            _let_go(journal, keep=was_there)
            msg = f"{path} cannot be opened to add to it: {error}"
            raise SourceError(msg) from error
        self._finish = weakref.finalize(self, _finish, self.file, self._storage, journal)

    def commit(self) -> None:
        """Make what was added so far the state that a crash leaves.

        Raises
        ------
        WriteError
            If it cannot be written.

        """
        with naming_target(self.path):
            self.file.flush()
            self._storage.commit()

    def bound_memory(self) -> None:
        """Commit if much is in memory; call this only when what is added is complete.

        Raises
        ------
        WriteError
            If it cannot be written.

        """
        if self._storage.kept > _KEPT_BYTES:
            self.commit()

    def close(self) -> None:
        """Commit, and close the file.

        Raises
        ------
        WriteError
            If it cannot be written; its journal then stays.

        """
        with naming_target(self.path):
            self._finish()


def _finish(file: h5py.File, storage: Journaled, journal: Journal) -> None:
    is_whole = False
    try:
        storage.tells = False
        file.close()
        storage.finish()
        is_whole = True
    finally:
        storage.close()
        _let_go(journal, keep=not is_whole)


def _taken(path: Path) -> Journal:
    """Give the journal of a file, which has no more than is in the file."""
    try:
        journal = Journal(journal_of(path))
    except BlockingIOError as error:
        raise WriteError(_is_written(path)) from error
    if journal.is_begun:
        replay(path)
        journal.clear()
    return journal


def _is_written(path: Path) -> str:
    return f"{path} is being written; close it there, or let that process end"


def _let_go(journal: Journal, *, keep: bool) -> None:
    journal.close()
    if not keep:
        journal.path.unlink(missing_ok=True)


def forget_journal(path: Path) -> None:
    """Remove the journal of a file that another one is to replace.

    Raises
    ------
    WriteError
        If somebody is adding to the file.

    """
    if is_being_written(path):
        raise WriteError(_is_written(path))
    journal_of(path).unlink(missing_ok=True)


def is_appended(path: Path) -> bool:
    """Whether a file has a journal: it is being added to, or was when a process died."""
    return path.is_file() and journal_of(path).exists()


def recover_appended(path: Path, target: Path, *, overwrite: bool = False) -> None:
    """Make whole what a process that died has left of a file that it added to.

    Raises
    ------
    WriteError
        If it is still being written, or cannot be.
    TargetExistsError
        If ``target`` is another file and exists, and ``overwrite`` is false.

    """
    with naming_target(path):
        journal = _taken(path)
        _let_go(journal, keep=False)
        if target != path:
            with whole_file(target, overwrite=overwrite) as temporary:
                shutil.copyfile(path, temporary)
