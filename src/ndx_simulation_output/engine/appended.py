"""HDF5 files that are added to under their own name, whole at each moment by a journal."""

import shutil
import weakref
from pathlib import Path

import h5py

from ndx_simulation_output.engine.journal import Journal, is_being_written, journal_of, replay
from ndx_simulation_output.engine.journaled import Journaled
from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.files import naming_target, whole_file

__all__ = ["Appended", "forget_journal", "is_appended", "recover_appended"]

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
