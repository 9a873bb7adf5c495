"""Nothing is taken from a process that may still write it, whether or not there are file locks."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from ndx_simulation_output import open_output, system
from ndx_simulation_output.errors import SourceError, TargetExistsError, WriteError
from ndx_simulation_output.nwb.recover import recover
from ndx_simulation_output.storage import journal as journals
from ndx_simulation_output.storage.journal import (
    Journal,
    Overlay,
    append_frame,
    find_writer,
    iter_frames,
    journal_path,
    pause_writer,
)
from ndx_simulation_output.storage.journaled import JournaledFile, create_journaled, remove_journal
from ndx_simulation_output.system import Process

HERE = Process.current()
HEAD_BYTES = 1024
FREE, REFUSED = "free", "refused"


with_locks = pytest.mark.skipif(system.fcntl is None, reason="this system has no flock")


@pytest.fixture
def no_locks(monkeypatch) -> None:
    """Let ``flock`` fail, as on Lustre that is mounted without the option flock."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if system.fcntl is not None:
        monkeypatch.setattr(system.fcntl, "flock", flock)


@contextmanager
def ended_process() -> Iterator[int]:
    """Yield the number of a process that has ended and was not waited for."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


@contextmanager
def suspended_process() -> Iterator[Process]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    process.send_signal(signal.SIGSTOP)
    yield replace(HERE, number=process.pid, start=system._start(process.pid))  # noqa: SLF001
    process.kill()
    process.communicate()


def leave(path: Path, process: Process, *, has_locks: bool = True) -> None:
    """Leave a file and a journal with a commit, as ``process`` would have."""
    with h5py.File(path, "w") as file:
        file["made"] = 1
    journal, overlay = Journal(journal_path(path)), Overlay()
    overlay.put(0, path.read_bytes()[:8])
    journal.append(overlay)
    journal.close()
    head = b"NDXW" + json.dumps({"has_locks": has_locks, **vars(process)}).encode()
    with journal_path(path).open("r+b") as file:
        file.write(head.ljust(HEAD_BYTES))


ELSEWHERE = replace(HERE, host="node17", machine="m17", boot="b17")
CASES = {
    # name: process, state with locks, without
    "another computer": (ELSEWHERE, REFUSED, REFUSED),
    "before the restart of this one": (replace(HERE, boot="before"), FREE, FREE),
    "a cloned computer": (replace(HERE, host="node17", boot="b17"), REFUSED, REFUSED),
    "a container": (replace(HERE, numbers="pid:[1]"), FREE, REFUSED),
    "ended": (replace(HERE, number=2**22 + 1), FREE, FREE),
    "its number was reused": (replace(HERE, number=1, start="-1"), FREE, FREE),
    "its number is used, by whom is unknown": (replace(HERE, number=1, start=""), FREE, REFUSED),
    "this process, closed": (HERE, FREE, FREE),
}


@pytest.mark.skipif(not HERE.start, reason="this system does not tell when a process started")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("age", [0, 10**6, -(10**6)], ids=["now", "old", "future"])
@pytest.mark.parametrize("has_locks", [pytest.param(True, marks=with_locks), False])
def test_a_process_that_may_live_is_not_robbed(name, age, has_locks, tmp_path, request):
    path, (process, *expected) = tmp_path / "run.nwb", CASES[name]
    leave(path, process, has_locks=has_locks)
    changed = journal_path(path).stat().st_mtime - age  # Clocks differ, processes are suspended.
    os.utime(journal_path(path), (changed, changed))
    if not has_locks:
        request.getfixturevalue("no_locks")
    before = journal_path(path).read_bytes()

    if expected[not has_locks] == FREE:
        JournaledFile(path).close()
        assert not journal_path(path).exists()
        return
    with pytest.raises(WriteError, match=rf"process {process.number} on {process.host}, .*--force"):
        JournaledFile(path)
    with pytest.raises(WriteError, match="cannot be seen from here"):
        remove_journal(path)
    assert journal_path(path).read_bytes() == before
    Journal(journal_path(path), force=True).close()
    assert find_writer(path) is None


@pytest.mark.skipif(not HERE.start, reason="this system does not tell when a process started")
@pytest.mark.usefixtures("no_locks")
def test_an_ended_process_is_not_alive_and_a_suspended_one_is(tmp_path):
    with ended_process() as number:
        leave(tmp_path / "ended.nwb", replace(HERE, number=number), has_locks=False)
        assert find_writer(tmp_path / "ended.nwb") is None
    with suspended_process() as process:
        leave(tmp_path / "alive.nwb", process, has_locks=False)
        assert find_writer(tmp_path / "alive.nwb").is_certain
        with pytest.raises(BlockingIOError):
            Journal(journal_path(tmp_path / "alive.nwb"), force=True)
        with (
            pytest.raises(SourceError, match=r"still being written by .*Without file locks"),
            pause_writer(tmp_path / "alive.nwb"),
        ):
            pass


@with_locks
@pytest.mark.parametrize(
    "damage", [lambda data: data[HEAD_BYTES:], lambda data: b"NDXW[" + data[5:]]
)
def test_a_journal_without_its_writer_is_recovered(damage, tmp_path, request):
    # Those of version 0.3.0 do not have it.
    path = tmp_path / "run.nwb"
    leave(path, replace(HERE, number=2**22 + 1))
    frames = list(iter_frames(journal_path(path)))
    journal_path(path).write_bytes(damage(journal_path(path).read_bytes()))

    assert list(iter_frames(journal_path(path))) == frames
    assert find_writer(path) is None
    with monkeypatched_locks(request):
        with pytest.raises(WriteError, match=r"a process that last wrote .*--force"):
            JournaledFile(path)
        journal = Journal(journal_path(path), force=True)
        assert journal.has_commits
        journal.clear()
        journal.close()
    JournaledFile(path).close()


NOT_WRITERS = [
    *(b"5", b'"process"', b"null", b"[" * 900, b'{"has_locks": false}', b"\xff"),
    *(json.dumps({"has_locks": False, **vars(HERE), "number": one}).encode() for one in ("1", 1.5)),
    json.dumps({"has_locks": False, **vars(HERE), "of a later version": 1}).encode(),
]


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("head", NOT_WRITERS, ids=range(len(NOT_WRITERS)))
def test_a_writer_that_cannot_be_understood_is_in_doubt(head, tmp_path):
    leave(tmp_path / "run.nwb", HERE)
    with journal_path(tmp_path / "run.nwb").open("r+b") as file:
        file.write((b"NDXW" + head).ljust(HEAD_BYTES))

    with pytest.raises(WriteError, match=r"may still be written by a process .*--force"):
        JournaledFile(tmp_path / "run.nwb")
    recover(tmp_path / "run.nwb", force=True)


@pytest.mark.parametrize(
    "make", [Path.mkdir, getattr(os, "mkfifo", Path.mkdir)], ids=["directory", "pipe"]
)
def test_a_journal_that_cannot_be_opened_is_in_doubt(make, tmp_path):
    # So is that of another user.
    path = tmp_path / ".run.1.part.nwb"
    path.touch()
    make(journal_path(path))

    with pytest.raises(SourceError, match="may still be written"):
        open_output(path)
    with pytest.raises(SourceError, match=r"run\.nwb does not exist; .* may still be written"):
        open_output(tmp_path / "run.nwb")
    with pytest.raises(WriteError, match=r"cannot write .*\.part\.nwb: "):
        recover(path, tmp_path / "run.nwb", force=True)


@pytest.mark.parametrize(
    "commit", [b"short", struct.pack("<QQ", 0, 5) + b"abcd", struct.pack("<QQ", 2**63, 0)]
)
def test_a_commit_that_is_none_is_an_error_of_its_journal(commit, tmp_path):
    leave(tmp_path / "run.nwb", HERE)
    with journal_path(tmp_path / "run.nwb").open("r+b") as file:
        append_frame(file.fileno(), file.seek(0, os.SEEK_END), [commit])

    with pytest.raises(SourceError, match=r"run\.nwb\.journal is damaged"):
        recover(tmp_path / "run.nwb")


@contextmanager
def monkeypatched_locks(request) -> Iterator[None]:
    request.getfixturevalue("no_locks")
    yield
    request.getfixturevalue("monkeypatch").undo()


@pytest.mark.usefixtures("no_locks")
def test_two_objects_do_not_write_one_file_without_locks(tmp_path):
    path = tmp_path / "run.nwb"
    with h5py.File(path, "w") as file:
        file["made"] = 1
    opened = JournaledFile(path)

    with pytest.raises(WriteError, match="another object of this process"):
        JournaledFile(path)
    opened.file["more"] = 2
    opened.close()
    JournaledFile(path).close()

    with h5py.File(path) as file:
        assert list(file) == ["made", "more"]


@with_locks
@pytest.mark.parametrize("locking", ["FALSE", "0"])
def test_a_file_that_changes_is_not_read_by_who_does_not_lock(locking, tmp_path, monkeypatch):
    with create_journaled(tmp_path / "run.nwb") as (file, journaled):
        file.flush()
        journaled.commit()
        with pause_writer(file.path):
            pass
        monkeypatch.setenv("HDF5_USE_FILE_LOCKING", locking)
        with pytest.raises(SourceError, match="Without file locks"), pause_writer(file.path):
            pass


@with_locks
def test_a_reader_does_not_wait_for_a_suspended_writer_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "_LOCK_SECONDS", 0.05)
    with create_journaled(tmp_path / "run.nwb") as (file, journaled):
        file.flush()
        journaled.commit()
        assert system.lock_file(journaled.fileno(), shared=False)
        with (
            pytest.raises(SourceError, match=r"stays locked by process .*; is it suspended\?"),
            pause_writer(file.path),
        ):
            pass
        system.unlock_file(journaled.fileno())


def test_a_stream_whose_journal_was_removed_ends(tmp_path):
    def run() -> None:
        with create_journaled(tmp_path / "run.nwb") as (file, journaled):
            journaled.commit()
            journal_path(file.path).unlink()
            journaled.commit()

    with pytest.raises(WriteError, match="its journal was removed"):
        run()
    assert list(tmp_path.iterdir()) == []


def test_companions_of_a_removed_file_of_the_same_process_number_are_not_taken(tmp_path):
    partial = tmp_path / f".run.{os.getpid()}.part.h5"
    leave(partial, replace(HERE, number=2**22 + 1))
    partial.unlink()
    (tmp_path / f"{partial.name}.3.spikes").write_text("of the other run")

    with create_journaled(tmp_path / "run.h5") as (file, journaled):
        file["v"] = np.arange(3)
        file.flush()
        journaled.commit()
        assert not any(iter_frames(journal_path(partial)))

    assert list(tmp_path.iterdir()) == [tmp_path / "run.h5"]


@pytest.mark.usefixtures("no_locks")
def test_two_streams_to_one_target_do_not_mix_without_locks(tmp_path):
    def run(value: int, inner: Callable[[], object]) -> None:
        with create_journaled(tmp_path / "run.h5") as (file, journaled):
            file["v"] = np.full(1000, value)
            file.flush()
            journaled.commit()
            inner()

    with pytest.raises(TargetExistsError, match=r"run-1\.h5"):
        run(1, lambda: run(2, lambda: None))

    found = {path.name: h5py.File(path)["v"][()] for path in tmp_path.iterdir()}
    assert {name: set(values) for name, values in found.items()} == {"run.h5": {2}, "run-1.h5": {1}}


def test_a_journal_that_cannot_be_begun_is_not_left(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "write_at", Mock(side_effect=OSError(28, "No space left")))

    with pytest.raises(OSError, match="No space left"):
        Journal(tmp_path / "run.nwb.journal")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_the_writer_has_forked_is_told_of(tmp_path):
    path = tmp_path / "run.nwb"
    code = """
        import os, sys, time
        from pathlib import Path
        from ndx_simulation_output.storage.journal import Journal

        journal = Journal(Path(sys.argv[1]))
        if os.fork():
            os._exit(0)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(journal_path(path))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        process.wait()
        assert "by a process that was started by process" in find_writer(path).refusal(path, "")
        process.stdin.close()
