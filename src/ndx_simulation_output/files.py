"""Atomic writing: a file gets its name only when it is complete."""

import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import (
    SimulationOutputError,
    TargetExistsError,
    WriteError,
    is_like_url,
    name_of,
)


def is_zarr_name(path: Path) -> bool:
    """Return True if ``path`` ends in ``.zarr``."""
    return path.suffix == ".zarr"


def is_zarr_store(path: Path) -> bool:
    """Return True if ``path`` is a Zarr store, of format version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def check_local(path: Path) -> None:
    """Raise WriteError if ``path`` is a URL, which makes names of directories like any other."""
    if is_like_url(path) and not path.parent.is_dir():
        msg = f"cannot write {name_of(path)}: it is a URL; write a local file and upload it"
        raise WriteError(msg)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise TargetExistsError if ``path`` exists, WriteError if its directory does not.

    With ``overwrite``, an existing file, or Zarr store with the suffix ``.zarr``, is allowed.
    """
    if path.is_dir() and not (is_zarr_name(path) and is_zarr_store(path)):
        msg = f"{path} is a directory; expected the name of a file to write"
        raise TargetExistsError(msg)
    if path.exists() and not overwrite:
        msg = f"{path} exists already; pass overwrite=True (--overwrite) to replace it"
        raise TargetExistsError(msg)
    if path.exists() and not (path.is_file() or path.is_dir()):
        msg = f"cannot write {path}: it is a device, pipe or socket; expected the name of a file"
        raise WriteError(msg)
    path = _followed(path)
    check_local(path)
    if not path.parent.is_dir():
        msg = f"cannot write {path}: the directory {path.parent} does not exist"
        raise WriteError(msg)


@contextmanager
def atomic_file(
    path: Path, *, overwrite: bool = False, keep_partial: Callable[[], bool] = lambda: False
) -> Iterator[Path]:
    """Yield a temporary path next to ``path``, and rename it when the block succeeds.

    When the block raises, the temporary file is removed unless ``keep_partial()`` is true, and an
    existing ``path`` is unchanged. Errors of the operating system become WriteError. A file that is
    replaced keeps its permissions and owner, and a symbolic link its place. Without ``overwrite``,
    a file that appears while the block runs is not replaced: the result is kept beside it, under
    the name in the TargetExistsError.
    """
    with write_errors(path):
        check_target(path, overwrite=overwrite)
        path = _followed(path)
        temporary = _unused_name(path, "part")
        if path.exists():
            _copy_permissions(path, temporary)
        try:
            yield temporary
            rename(temporary, path, overwrite=overwrite)
        finally:
            if not keep_partial():
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path for a new directory, renamed to ``path`` as in ``atomic_file``."""
    with write_errors(path):
        check_target(path, overwrite=overwrite)
        temporary = _unused_name(path, "part")
        try:
            yield temporary
            rename(temporary, path, overwrite=overwrite)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _followed(path: Path) -> Path:
    """Return the path that a symbolic link names, or ``path`` itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _copy_permissions(path: Path, temporary: Path) -> None:
    """Create an empty file with the permissions of ``path`` and, if possible, its owner."""
    found = path.stat()
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with suppress(OSError, AttributeError):  # Only root can give files to others, on POSIX.
        os.chown(temporary, found.st_uid, found.st_gid)
    temporary.chmod(stat.S_IMODE(found.st_mode))


def rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete file or directory to ``path``.

    Without ``overwrite``, raise TargetExistsError if ``path`` exists now, and keep the file beside
    it under another name.
    """
    if overwrite and temporary.is_dir():
        _replace(path, temporary)
        return
    if overwrite:
        temporary.replace(path)
        return
    if _rename_if_free(temporary, path):
        return
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    kept = next(name for name in names if _rename_if_free(temporary, name))
    msg = (
        f"{path} was created by another program in the meantime, and is not replaced; what was to "
        f"be written is {kept}"
    )
    raise TargetExistsError(msg)


def _rename_if_free(temporary: Path, path: Path) -> bool:
    """Rename to ``path`` unless it exists; return True if it was renamed."""
    if temporary.is_dir():
        if path.exists():
            return False
        temporary.rename(path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # The file system has no hard links. An empty file holds the name until it is replaced.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise
        return True
    temporary.unlink()
    return True


def _unused_name(path: Path, what: str) -> Path:
    """Return an unused path next to ``path``; a crashed process may have had the same id."""
    own = f".{path.stem}.{os.getpid()}"
    names = (f"{own}{f'-{number}' if number else ''}.{what}{path.suffix}" for number in count())
    return next(name for name in map(path.with_name, names) if not name.exists())


def target_of_partial(path: Path) -> str | None:
    """Return the final name of a temporary file, or None if ``path`` is not one.

    Example
    -------
    >>> target_of_partial(Path(".run.1234.part.nwb"))
    'run.nwb'

    """
    found = re.fullmatch(r"\.(.+)\.\d+(?:-\d+)?\.part(\.[^.]*)?", path.name)
    return found and f"{found[1]}{found[2] or ''}"


def find_partials(path: Path) -> list[Path]:
    """Return the temporary files of running or crashed processes that write ``path``."""
    try:
        siblings = sorted(path.parent.iterdir())
    except OSError:
        return []
    return [sibling for sibling in siblings if target_of_partial(sibling) == path.name]


def _replace(path: Path, directory: Path) -> None:
    """Rename a directory to ``path``; if that fails, restore the previous ``path``."""
    if not path.exists():
        directory.rename(path)
        return
    old = _unused_name(path, "old")
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
def write_errors(path: Path) -> Iterator[None]:
    """Convert errors of the operating system in the block to a WriteError that names ``path``."""
    try:
        yield
    except Exception as error:
        reason = _failed_write(error)
        if reason is None:
            raise
        msg = f"cannot write {path}: {reason}"
        raise WriteError(msg) from error


class AtomicFile(h5py.File):  # type: ignore[misc]
    """An HDF5 file that is being written; ``path`` is its temporary path."""

    path: Path
    file_object: "FileObject"

    def check(self) -> None:
        """Raise OSError if a write of HDF5 failed, for example because the disk is full."""
        self.file_object.check()


class FileObject(io.FileIO):
    """The Python file object through which HDF5 writes.

    HDF5 crashes if a delayed write fails, for example while it closes a dataset. The first error
    is therefore stored in ``failure``, and raised only by a large write, which HDF5 does not delay,
    unless ``is_closing``.
    """

    _LARGE_WRITE = 2**16
    failure: BaseException | None = None
    is_closing = False

    def write(self, data: Any) -> int:
        """Write all of ``data``, or store the error in ``failure``."""
        try:
            if self.failure is None:
                self.store(memoryview(data).cast("B"))
        except BaseException as error:  # noqa: BLE001 - HDF5 would crash on an interruption too
            self.failure = error
        if self.failure is not None and not self.is_closing and len(data) > self._LARGE_WRITE:
            raise self.failure
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or store the error in ``failure``."""
        try:
            if self.failure is None:
                self.cut(size or 0)
        except OSError as error:
            self.failure = error
        return size or 0

    def check(self) -> None:
        """Raise ``failure``, if there is one."""
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
        """Complete the file after HDF5 has closed it. Subclasses may override this."""


def _plain_file_object(path: Path) -> FileObject:
    return FileObject(path, "w+")


@contextmanager
def atomic_hdf5(
    path: Path,
    *,
    overwrite: bool = False,
    open_file: Callable[[Path], FileObject] = _plain_file_object,
    keep_partial: Callable[[], bool] = lambda: False,
) -> Iterator[AtomicFile]:
    """Yield an HDF5 file to write; it is renamed to ``path`` as in ``atomic_file``.

    ``open_file`` opens the temporary file.
    """
    with (
        atomic_file(path, overwrite=overwrite, keep_partial=keep_partial) as temporary,
        open_file(temporary) as file_object,
    ):
        try:
            # Without a chunk cache HDF5 delays fewer writes.
            with AtomicFile(file_object, "w", rdcc_nbytes=0) as file:
                file.path, file.file_object = temporary, file_object
                try:
                    yield file
                finally:
                    file_object.is_closing = True
        except Exception:
            if file_object.failure is None:
                raise
        file_object.check()
        file_object.finish()


def _failed_write(error: BaseException | None) -> OSError | None:
    """Return the OSError that caused ``error``, or None."""
    while error is not None and not isinstance(error, SimulationOutputError):
        if isinstance(error, OSError):
            return error
        error = error.__cause__
    return None
