"""Atomic writing: a file gets its name only when it is complete."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import stat
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import (
    SimulationOutputError,
    SimulationOutputWarning,
    TargetExistsError,
    WriteError,
    is_like_url,
    name_of,
)
from ndx_simulation_output.system import (
    INTERRUPTIONS,
    allowed_name,
    exchange,
    may_have_changed,
    replace,
)

_METADATA = (".zattrs", "zarr.json")


_LONGEST_NAME = 220
"""Bytes of a file name: file systems allow 255, and the name of the spikes of a rank adds 35."""


def is_zarr_name(path: Path) -> bool:
    """Return True if ``path`` ends in ``.zarr``."""
    return path.suffix == ".zarr"


def is_zarr_store(path: Path) -> bool:
    """Return True if ``path`` is a Zarr store, of format version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def is_nwb(path: Path) -> bool:
    """Return True if ``path`` is an NWB file of version 2, in HDF5 or in a Zarr store."""
    if path.is_dir():
        return is_zarr_store(path) and any(_has_nwb_version(path / name) for name in _METADATA)
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "nwb_version" in file.attrs
    except (KeyError, OSError, RuntimeError):
        return False


def _has_nwb_version(path: Path) -> bool:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(facts, dict):
        return False
    return "nwb_version" in facts or "nwb_version" in facts.get("attributes", {})


def check_local(path: Path) -> None:
    """Raise WriteError if ``path`` is a URL, which makes names of directories like any other."""
    if is_like_url(path) and not path.parent.is_dir():
        msg = f"cannot write {name_of(path)}: it is a URL; write a local file and upload it"
        raise WriteError(msg)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise TargetExistsError if ``path`` exists, WriteError if it cannot be the name of a file.

    With ``overwrite``, an existing file, or Zarr store with the suffix ``.zarr``, is allowed.
    """
    with write_errors(path):
        _check_name(path)
        if path.is_dir() and not (is_zarr_name(path) and is_zarr_store(path)):
            found = "a directory without a Zarr store" if is_zarr_name(path) else "a directory"
            msg = f"{path} is {found}; expected the name of a file to write"
            raise TargetExistsError(msg)
        if path.exists() and not overwrite:
            msg = f"{path} exists already; pass overwrite=True (--overwrite) to replace it"
            raise TargetExistsError(msg)
        if path.exists() and not (path.is_file() or path.is_dir()):
            msg = (
                f"cannot write {path}: it is a device, pipe or socket; expected the name of a file"
            )
            raise WriteError(msg)
        path = _followed(path)
        check_local(path)
        if not path.parent.is_dir():
            msg = f"cannot write {path}: the directory {path.parent} does not exist"
            raise WriteError(msg)


def _check_name(path: Path) -> None:
    """Raise WriteError if no file can have this name; temporary files have longer names."""
    length = len(os.fsencode(path.name))
    if length > _LONGEST_NAME:
        msg = (
            f"cannot write {path}: File name too long, {length} bytes; expected at most "
            f"{_LONGEST_NAME}, because temporary files beside it have longer names"
        )
        raise WriteError(msg)
    if "\0" in os.fspath(path):
        msg = f"cannot write {os.fspath(path)!r}: a name cannot contain a null character"
        raise WriteError(msg)
    if (allowed := allowed_name(path.name)) != path.name:
        msg = f"cannot write {path}: Windows has no such names; expected one such as {allowed}"
        raise WriteError(msg)


def check_space(path: Path, n_bytes: int) -> None:
    """Raise WriteError if fewer than ``n_bytes`` are free where ``path`` will be written."""
    try:
        folder = next(filter(Path.exists, _followed(path).absolute().parents))
        usage = shutil.disk_usage(folder)
    except (OSError, AttributeError):  # Not every system tells.
        return
    if usage.total and n_bytes > usage.free:
        found = f"{usage.free} are free in {folder}"
        msg = f"cannot write {path}: it needs at least {n_bytes} bytes, and {found}"
        raise WriteError(msg)


@contextmanager
def atomic_file(
    path: Path, *, overwrite: bool = False, keep_partial: Callable[[], bool] = lambda: False
) -> Iterator[Path]:
    """Yield an empty temporary file next to ``path``, and rename it when the block succeeds.

    When the block raises, the temporary file is removed unless ``keep_partial()`` is true, and an
    existing ``path`` is unchanged. Errors of the operating system become WriteError. A file that is
    replaced keeps its permissions and owner, and a symbolic link its place. Without ``overwrite``,
    a file that appears while the block runs is not replaced: the result is kept beside it, under
    the name in the TargetExistsError. A warning names temporary files of processes that were
    killed.
    """
    with (
        write_errors(path),
        _renamed_at_end(path, _create_file, overwrite=overwrite, keep=keep_partial) as temporary,
    ):
        yield temporary


@contextmanager
def atomic_files(paths: Iterable[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Yield a temporary file for each path; all are renamed together when the block succeeds."""
    temporaries: list[Path] = []
    told: set[Path] = set()
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(write_errors(path))
            renamed = _renamed_at_end(path, _create_file, overwrite=overwrite, told=told)
            temporaries.append(stack.enter_context(renamed))
        yield temporaries
        with uninterrupted():
            stack.pop_all().close()


@contextmanager
def atomic_directory(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new temporary directory, which is renamed to ``path`` as in ``atomic_file``."""
    with (
        write_errors(path),
        _renamed_at_end(path, Path.mkdir, overwrite=overwrite) as temporary,
    ):
        yield temporary


@contextmanager
def _renamed_at_end(
    path: Path,
    create: Callable[[Path], object],
    *,
    overwrite: bool,
    keep: Callable[[], bool] = lambda: False,
    told: set[Path] | None = None,
) -> Iterator[Path]:
    """Yield a temporary path; ``told`` are directories whose temporary files were told of."""
    check_target(path, overwrite=overwrite)
    path = _followed(path)
    told = set() if told is None else told
    if path.parent not in told:
        told.add(path.parent)
        _tell_of_partials(path.parent)
    temporary = _new_temporary(path, create)
    try:
        _copy_permissions(path, temporary)
        yield temporary
        with uninterrupted():
            rename(temporary, path, overwrite=overwrite)
    finally:
        with uninterrupted():
            if not keep():
                _remove(temporary)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Delay Ctrl-C, and other signals that Python code handles, until the block has ended.

    The list that is yielded gets the signals that arrive.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python handles signals in the main thread.
        return
    handlers = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: received.append(number))
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(received):
            signal.raise_signal(number)


def _followed(path: Path) -> Path:
    """Return the path that a symbolic link names, or ``path`` itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _new_temporary(path: Path, create: Callable[[Path], object]) -> Path:
    """Create a temporary file or directory next to ``path``."""
    for number in count():
        temporary = _temporary_name(path, "part", number)
        with suppress(FileExistsError):  # Left by a crashed process of the same id.
            create(temporary)
            return temporary
    raise AssertionError


def _temporary_name(path: Path, what: str, number: int) -> Path:
    own = f".{path.stem}.{os.getpid()}{f'-{number}' if number else ''}"
    return path.with_name(f"{own}.{what}{path.suffix}")


def _copy_permissions(path: Path, temporary: Path) -> None:
    """Copy the permissions and, if possible, the owner of an existing ``path`` to a new file."""
    if not path.exists() or path.is_dir() != temporary.is_dir():
        return
    found = path.stat()
    temporary.chmod(0o700 if path.is_dir() else 0o600)
    with suppress(OSError, AttributeError):  # Only root can give files to others, on POSIX.
        os.chown(temporary, found.st_uid, found.st_gid)
    temporary.chmod(stat.S_IMODE(found.st_mode))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(PermissionError):  # Windows does not remove what a program has open.
            path.unlink(missing_ok=True)


def rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete file or directory to ``path``.

    Without ``overwrite``, raise TargetExistsError if ``path`` exists now, and keep the file beside
    it under another name. So is it kept, with a WriteError, if ``path`` cannot be replaced because
    a program on Windows has it open, or it is another user's in a directory such as ``/tmp``.
    """
    refusal: Exception
    if overwrite and temporary.is_dir():
        _replace(path, temporary)
        return
    if overwrite:
        try:
            replace(temporary, path)
        except PermissionError as error:
            what = "is it open elsewhere, or another user's?"
            refusal = WriteError(f"cannot replace {path}: {error.strerror}; {what}")
        else:
            return
    elif _rename_if_free(temporary, path):
        return
    else:
        msg = f"{path} was created by another program in the meantime, and is not replaced"
        refusal = TargetExistsError(msg)
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    kept = next(name for name in names if _rename_if_free(temporary, name))
    msg = f"{refusal}; what was to be written is {kept}"
    raise type(refusal)(msg)


def _rename_if_free(temporary: Path, path: Path) -> bool:
    """Rename to ``path`` unless it exists; return True if it was renamed."""
    if temporary.is_dir():
        try:
            if not path.exists():
                temporary.rename(path)
                return True
        except OSError:
            if not path.exists():
                raise
        return False
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
            replace(temporary, path)
        except OSError:
            path.unlink()
            raise
        return True
    _remove(temporary)
    return True


def target_of_partial(path: Path) -> str | None:
    """Return the final name of a temporary file, or None if ``path`` is not one.

    Example
    -------
    >>> target_of_partial(Path(".run.1234.part.nwb"))
    'run.nwb'

    """
    found = _PARTIAL.fullmatch(path.name)
    return found and f"{found['stem']}{found['suffix'] or ''}"


_PARTIAL = re.compile(
    r"\.(?P<stem>.+)\.(?P<process>\d+)(?:-\d+)?\.(?:part|old)(?P<suffix>\.[^.]*)?", re.DOTALL
)


def find_partials(path: Path) -> list[Path]:
    """Return the temporary files of running or crashed processes that write ``path``."""
    found = _partials_in(path.parent)
    return [partial for partial in found if target_of_partial(partial) == path.name]


def _partials_in(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:  # Fast where there are many files.
            names = sorted(entry.name for entry in entries if entry.name.startswith("."))
    except OSError:
        return []
    return [directory / name for name in names if _PARTIAL.fullmatch(name)]


def _tell_of_partials(directory: Path) -> None:
    """Issue a warning for each temporary file of a process that was killed."""
    for partial in _partials_in(directory):
        with suppress(FileNotFoundError):  # Renamed in the meantime.
            if not may_have_changed(_process_of(partial), partial.stat().st_mtime):
                _tell_of_partial(partial)


def _process_of(partial: Path) -> int:
    found = _PARTIAL.fullmatch(partial.name)
    return int(found["process"]) if found else 0


def quoted(path: Path) -> str:
    """Return a path as a word for a shell; bash and zsh know the form for other characters."""
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\{byte:03o}"
        for byte in os.fsencode(text)
    )
    return f"$'{escaped}'"


@cache
def _tell_of_partial(partial: Path) -> None:
    """Issue a warning, once for each file."""
    if partial.with_name(f"{partial.name}.journal").exists():
        what = f"recover its data with: ndx-sim recover {quoted(partial)}"
    else:
        command = "rm -r" if partial.is_dir() else "rm"
        what = (
            "it is incomplete; if no other machine writes it, remove it with: "
            f"{command} {quoted(partial)}"
        )
    warnings.warn(
        f"{partial} was left by process {_process_of(partial)}, which no longer runs on this "
        f"machine: {what}",
        SimulationOutputWarning,
        stacklevel=2,
    )


def _replace(path: Path, directory: Path) -> None:
    """Rename a directory to ``path``, and the previous ``path`` to the name of the directory.

    Where the system cannot exchange names, the previous ``path`` is moved aside first, and moved
    back if the new one cannot be renamed.
    """
    if not path.exists():
        directory.rename(path)
        return
    if exchange(path, directory):
        return
    old = next(
        name for number in count() if not (name := _temporary_name(path, "old", number)).exists()
    )
    path.rename(old)
    try:
        directory.rename(path)
    except OSError:
        old.rename(path)
        raise
    _remove(old)


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
    # The file is empty. ext4 would begin to write one that is truncated to disk when it is closed.
    return FileObject(path, "r+")


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
        hdf5_file(temporary, open_file) as file,
    ):
        yield file


@contextmanager
def hdf5_file(
    temporary: Path, open_file: Callable[[Path], FileObject] = _plain_file_object
) -> Iterator[AtomicFile]:
    """Yield an HDF5 file to write in the place of a temporary file."""
    with open_file(temporary) as file_object:
        try:
            # Without a chunk cache HDF5 delays fewer writes.
            file = AtomicFile(file_object, "w", rdcc_nbytes=0)
            file.path, file.file_object = temporary, file_object
            try:
                yield file
            finally:
                with uninterrupted():  # HDF5 cannot close a file whose file object is closed.
                    file_object.is_closing = True
                    file.close()
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
