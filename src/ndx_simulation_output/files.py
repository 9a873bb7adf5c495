"""Files appear whole under their name or not at all."""

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import SimulationOutputError, TargetExistsError, WriteError

__all__ = [
    "FileStorage",
    "WholeFile",
    "check_target",
    "is_store",
    "name_of_partial",
    "names_store",
    "naming_target",
    "partials",
    "whole_directory",
    "whole_file",
    "whole_hdf5",
]


def names_store(path: Path) -> bool:
    """Tell whether ``path`` is the name of a Zarr store, a directory: it ends in ``.zarr``."""
    return path.suffix == ".zarr"


def is_store(path: Path) -> bool:
    """Tell whether ``path`` is the directory of a Zarr store, of either version of the format."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target that exists or whose directory does not.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false, or is a directory other than a Zarr store
        that has the name of one.
    WriteError
        If the directory of ``path`` does not exist.

    """
    if path.is_dir() and not (names_store(path) and is_store(path)):
        msg = f"{path} is a directory; expected the name of a file to write"
        raise TargetExistsError(msg)
    if path.exists() and not overwrite:
        msg = f"{path} exists already; pass overwrite=True (--overwrite) to replace it"
        raise TargetExistsError(msg)
    if not path.parent.is_dir():
        msg = f"cannot write {path}: the directory {path.parent} does not exist"
        raise WriteError(msg)


def _never() -> bool:
    return False


@contextmanager
def whole_file(
    path: Path, *, overwrite: bool = False, keeps: Callable[[], bool] = _never
) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; rename it when the block ends well.

    When the block raises, whatever it raises, the temporary file is removed, unless ``keeps`` then
    says that it is to stay. An existing ``path`` stays as it was.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written, for instance because the disk is full.

    """
    check_target(path, overwrite=overwrite)
    temporary = _beside(path, "part")
    with naming_target(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            if not keeps():
                temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the name of a directory to make and fill, which becomes ``path`` as in ``whole_file``.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If something cannot be written, for instance because the disk is full.

    """
    check_target(path, overwrite=overwrite)
    temporary = _beside(path, "part")
    with naming_target(path):
        try:
            yield temporary
            _replace(path, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path, what: str) -> Path:
    """Give a name that nothing has: one that died may have left that of this process number."""
    own = f".{path.stem}.{os.getpid()}"
    names = (f"{own}{f'-{number}' if number else ''}.{what}{path.suffix}" for number in count())
    return next(beside for beside in map(path.with_name, names) if not beside.exists())


def name_of_partial(path: Path) -> str | None:
    """Give the name that a temporary file is to get, or None if ``path`` is none.

    Example
    -------
    >>> name_of_partial(Path(".run.1234.part.nwb"))
    'run.nwb'

    """
    found = re.fullmatch(r"\.(.+)\.\d+(?:-\d+)?\.part(\.[^.]*)?", path.name)
    return found and f"{found[1]}{found[2] or ''}"


def partials(path: Path) -> list[Path]:
    """Give the temporary files of all processes that write ``path``, or did when they died."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return []
    return [other for other in beside if name_of_partial(other) == path.name]


def _replace(path: Path, directory: Path) -> None:
    """Give a directory the name ``path``; what had it before keeps it if that fails."""
    if not path.exists():
        directory.rename(path)
        return
    old = _beside(path, "old")
    path.rename(old)
    try:
        directory.rename(path)
    except OSError:
        old.rename(path)
        raise
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


@contextmanager
def naming_target(path: Path) -> Iterator[None]:
    """Turn errors of the system in the block, which writes ``path``, into one that says so.

    Raises
    ------
    WriteError
        If the system refuses to write, for instance because the disk is full.

    """
    try:
        yield
    except Exception as error:
        reason = _failed_write(error)
        if reason is None:
            raise
        msg = f"cannot write {path}: {reason}"
        raise WriteError(msg) from error


class WholeFile(h5py.File):  # type: ignore[misc]
    """An HDF5 file that is written under the temporary name ``path``."""

    path: Path
    storage: "FileStorage"

    def check(self) -> None:
        """See whether all that HDF5 has written so far is in the file.

        Raises
        ------
        OSError
            If it is not, for instance because the disk is full.

        """
        self.storage.check()


class FileStorage(io.FileIO):
    """The bytes of a file that HDF5 writes.

    HDF5 crashes if it cannot write what it has put off, such as when it closes a dataset. So it
    is told of a failure only when it writes much, which it does not put off, and not while it
    closes the file; else it believes that all is written. ``failure`` is what happened.
    """

    _MUCH = 2**16
    failure: BaseException | None = None
    tells = True

    def write(self, data: Any) -> int:
        """Write all of ``data``, or note why not."""
        try:
            if self.failure is None:
                self.store(memoryview(data).cast("B"))
        except BaseException as error:  # noqa: BLE001 - an interruption is no better time to crash
            self.failure = error
        if self.failure is not None and self.tells and len(data) > self._MUCH:
            raise self.failure
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or note why not."""
        try:
            if self.failure is None:
                self.cut(size or 0)
        except OSError as error:
            self.failure = error
        return size or 0

    def check(self) -> None:
        """Raise what has happened, if anything has."""
        if self.failure is not None:
            raise self.failure

    def store(self, data: memoryview) -> None:
        """Write all of ``data``."""
        while data:
            data = data[super().write(data) :]

    def cut(self, size: int) -> None:
        """Set the length of the file."""
        super().truncate(size)

    def finish(self) -> None:
        """Bring into the file what is not, when HDF5 has closed it."""


def _plain_storage(path: Path) -> FileStorage:
    return FileStorage(path, "w+")


@contextmanager
def whole_hdf5(
    path: Path,
    *,
    overwrite: bool = False,
    storage: Callable[[Path], FileStorage] = _plain_storage,
    keeps: Callable[[], bool] = _never,
) -> Iterator[WholeFile]:
    """Give an HDF5 file to write to, which gets the name ``path`` when the block ends well.

    ``storage`` opens the temporary file, which stays after an error if ``keeps`` then says so.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written, for instance because the disk is full.

    """
    with (
        whole_file(path, overwrite=overwrite, keeps=keeps) as temporary,
        storage(temporary) as stored,
    ):
        try:
            # Without a cache of chunks, much is not put off.
            with WholeFile(stored, "w", rdcc_nbytes=0) as file:
                file.path, file.storage = temporary, stored
                try:
                    yield file
                finally:
                    stored.tells = False
        except Exception:
            if stored.failure is None:
                raise
        stored.check()
        stored.finish()


def _failed_write(error: BaseException | None) -> OSError | None:
    """Give the error of the system below ``error``, or None if it has nothing to do with that."""
    while error is not None and not isinstance(error, SimulationOutputError):
        if isinstance(error, OSError):
            return error
        error = error.__cause__
    return None
