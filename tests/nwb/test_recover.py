"""Flushed data of a stream survive a crash, and can be read while the stream is open."""

import contextlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from ndx_simulation_output import open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    NothingRecordedError,
    SourceError,
    TargetExistsError,
    WriteError,
)
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.recover import RecoveredReport, recover
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import Spikes, StreamedReport
from ndx_simulation_output.storage.growing import read_spike_spools, spike_spools
from ndx_simulation_output.storage.journal import (
    Journal,
    Overlay,
    journal_path,
    replay,
    unfinished_files,
)
from ndx_simulation_output.storage.layout import StorageOptions
from tests.nwb.test_stream import SESSION, report

STORAGES = {
    "plain": StorageOptions(chunks=(4, 2)),
    "gzip": StorageOptions(chunks=(4, 2), compression="gzip"),
    "higher chunks": StorageOptions(chunks=(64, 3), compression="gzip"),
}


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}


def python(code: str, *words: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=None, text=True
    )


State = dict[str, NDArray]


@dataclass
class Recording:
    """All writes to files, in order, and the state committed after a number of them."""

    steps: list[tuple[str, int, bytes | None]] = field(default_factory=list)
    commits: list[tuple[int, State]] = field(default_factory=list)


@contextlib.contextmanager
def recorded(monkeypatch) -> Iterator[Recording]:
    """Record what is written, and where."""
    recording, pwrite, ftruncate = Recording(), os.pwrite, os.ftruncate

    def name(number: int) -> str:
        return Path(f"/proc/self/fd/{number}").readlink().name

    def noted_pwrite(number, data, place):
        recording.steps.append((name(number), place, bytes(data)))
        return pwrite(number, data, place)

    def noted_ftruncate(number, size):
        recording.steps.append((name(number), size, None))
        ftruncate(number, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", noted_pwrite)
        patch.setattr(os, "ftruncate", noted_ftruncate)
        yield recording


def do(path: Path, step: tuple[str, int, bytes | None]) -> None:
    """Repeat a recorded write in a copy."""
    name, place, data = step
    with (path / name).open("r+b" if (path / name).exists() else "w+b") as file:
        if data is None:
            file.truncate(place)
        else:
            file.seek(place)
            file.write(data)


def state_of(file: h5py.File) -> State:
    found = {name: file[f"acquisition/{name}/data"][()] for name in ("v", "w")}
    return {**found, "times": file["acquisition/w/timestamps"][()]}


def same(found: State, expected: State) -> bool:
    return all(np.array_equal(found[name], expected[name]) for name in expected)


def simulate(directory: Path, storage: StorageOptions, seed: int, recording: Recording) -> None:
    """Stream, flush and read at random (``seed``); a reader always sees its first state."""
    chance, rows, readers = random.Random(seed), {"v": 0, "w": 0}, []  # noqa: S311 - for a test
    values = np.random.default_rng(seed).normal(size=(2000, 3)).astype("f4")
    reports = [report(), report("w", rate=None, dtype="f8")]

    def state() -> State:
        times = np.arange(rows["w"]) * 0.1
        return {"v": values[: rows["v"]], "w": values[: rows["w"]] * 2.0, "times": times}

    with stream(
        directory / "run.nwb", reports, metadata=SESSION, storage=storage, workers=0
    ) as file:
        recording.commits.append((len(recording.steps), state()))
        for _ in range(80):
            name, count = chance.choice("vw"), chance.choice([1, 2, 9])
            part = slice(rows[name], rows[name] + count)
            if name == "v":
                file.append("v", values[part])
            else:
                file.append("w", values[part] * 2.0, times=np.arange(part.start, part.stop) * 0.1)
            rows[name] += count
            file.add_spikes(Spikes("exc", np.array([1]), np.array([rows["v"] * 1.0])))
            if chance.random() < 0.3:
                file.flush()
                recording.commits.append((len(recording.steps), state()))
            if chance.random() < 0.1 and not readers:
                reader = h5py.File(file.path)
                readers.append((reader, state_of(reader)))
            if chance.random() < 0.2 and readers:
                reader, seen = readers.pop()
                assert same(state_of(reader), seen)
                reader.close()
        for reader, _ in readers:
            reader.close()
    recording.commits.append((len(recording.steps), state()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files have no names here")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("storage", STORAGES)
def test_a_crash_after_any_write_leaves_a_committed_state(storage, seed, in_memory, monkeypatch):
    (in_memory / "made").mkdir()
    with recorded(monkeypatch) as recording:
        simulate(in_memory / "made", STORAGES[storage], seed, recording)
    left, tried = in_memory / "left", in_memory / "tried"
    left.mkdir()
    partial = f".run.{os.getpid()}.part.nwb"
    begun = recording.commits[0][0]

    for number, step in enumerate(recording.steps):
        if number >= begun:
            # The system may have done the first half of what it was told.
            halves = [None, step[2][: len(step[2]) // 2]] if step[2] else [None]
            for done in halves:
                shutil.copytree(left, tried)
                if done is not None:
                    do(tried, (*step[:2], done))
                replay(tried / partial)
                with h5py.File(tried / partial) as file:
                    found = state_of(file)
                last = max(
                    at for at, (writes, _) in enumerate(recording.commits) if writes <= number
                )
                allowed = [state for _, state in recording.commits[last : last + 2]]
                assert any(same(found, state) for state in allowed), number
                spikes = read_spike_spools(spike_spools(tried / partial))
                flushed = spikes[0].times if spikes else np.zeros(0)
                assert flushed.size == 0 or (np.diff(flushed) >= 0).all()
                assert found["v"].shape[0] <= flushed.max(initial=0)
                shutil.rmtree(tried)
        do(left, step)


_STREAM = """
    import itertools, sys
    import numpy as np
    from ndx_simulation_output.storage.layout import StorageOptions
    from ndx_simulation_output.nwb.stream import stream
    from ndx_simulation_output.recording import Spikes
    from tests.nwb.test_stream import SESSION, report

    storage = StorageOptions(chunks=(50, 2), compression=sys.argv[1])
    reports = [report(), report("w", rate=None)]
    with stream("run.nwb", reports, metadata=SESSION, storage=storage) as file:
        for step in itertools.count():
            file.append("v", np.full((2, 3), step))
            file.append("w", np.full(3, step), times=step * 0.5)
            file.add_spikes(Spikes("exc", np.array([1]), np.array([step * 0.3 + 0.1])))
            if step % 7 == 0 and len(sys.argv) < 3:
                file.flush()
                print(step, flush=True)
            if len(sys.argv) > 2 and step == 30:
                print(step, flush=True)
"""


def killed(tmp_path: Path, *words: str, after: int = 0) -> int:
    """Kill a streaming process after some flushes; return the last flushed step."""
    process = python(_STREAM, *words, cwd=tmp_path)
    assert process.stdout is not None
    flushed = 0
    for _ in range(after + 1):
        flushed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    for line in process.communicate()[0].split():
        flushed = int(line)
    return flushed


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory) -> Path:
    """Return a directory in which a process was killed that streamed without compression."""
    directory = tmp_path_factory.mktemp("killed")
    killed(directory, "none")
    return directory


@pytest.fixture
def left(killed_once, tmp_path) -> Path:
    """Return a copy of the temporary file of the killed process."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    (partial,) = unfinished_files(tmp_path / "run.nwb")
    return partial


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("after", [0, 3, 40])
def test_a_killed_process_loses_only_what_was_not_flushed(compression, after, tmp_path):
    flushed = killed(tmp_path, compression, after=after)
    target = tmp_path / "run.nwb"

    with pytest.raises(SourceError, match=r"a crash left .*part\.nwb: recover it with ndx-sim"):
        open_output(target)
    recovered = recover(target)

    assert list(tmp_path.iterdir()) == [target]
    v, w = recovered.reports
    assert w.steps >= flushed + 1
    assert w.last == (w.steps - 1) * 0.5
    assert v == RecoveredReport("v", 2 * w.steps, (2 * w.steps - 1) / 10_000.0)
    with open_output(target) as output:
        np.testing.assert_array_equal(output["v"].data[:, 0], np.arange(v.steps) // 2)
        np.testing.assert_array_equal(output["w"].data[:, 2], np.arange(w.steps))
        np.testing.assert_array_equal(output["w"].times.seconds(), np.arange(w.steps) * 0.5)
        (spikes,) = output.spikes
    assert len(spikes.times) == recovered.spikes >= flushed + 1
    np.testing.assert_array_equal(spikes.times, np.arange(recovered.spikes) * 0.3 + 0.1)
    assert [found for found in check_file(target) if found.severity == "error"] == []


def test_recovering_a_stream_without_a_flush_is_an_error(tmp_path):
    killed(tmp_path, "none", "never flush")

    with pytest.raises(NothingRecordedError, match=r"nothing was flushed to .*part\.nwb"):
        recover(tmp_path / "run.nwb")

    assert len(list(tmp_path.iterdir())) == 2


def test_the_command_prints_what_was_recovered(left, tmp_path):
    done = CliRunner().invoke(main, ["recover", str(left), "-o", str(tmp_path / "other.nwb")])

    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("report v: ")
    assert " time steps, the last at " in lines[1]
    assert lines[2:] == [f"spikes: {lines[1].split()[2]}", f"wrote {tmp_path / 'other.nwb'}"]
    assert list(tmp_path.iterdir()) == [tmp_path / "other.nwb"]


@pytest.mark.usefixtures("left")
def test_an_existing_target_is_replaced_only_with_overwrite(tmp_path):
    target = tmp_path / "run.nwb"
    target.write_text("old")

    with pytest.raises(TargetExistsError, match=r"run\.nwb exists already"):
        recover(target)
    assert target.read_text() == "old"
    recover(target, overwrite=True)

    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("left")
def test_a_target_on_another_file_system_is_a_copy(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()

    def refusing(function):
        def call(path: Path, target: Path) -> Any:
            if path.parent != target.parent:
                raise OSError(18, "Invalid cross-device link")
            return function(path, target)

        return call

    monkeypatch.setattr(Path, "replace", refusing(Path.replace))
    monkeypatch.setattr(os, "link", refusing(os.link))
    recovered = recover(tmp_path / "run.nwb", tmp_path / "other" / "run.nwb")

    assert recovered.path.is_file()
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]


@pytest.mark.usefixtures("left")
def test_several_temporary_files_are_listed(tmp_path):
    killed(tmp_path, "none")
    first, second = unfinished_files(tmp_path / "run.nwb")

    with pytest.raises(SourceError, match=f"several .*{first.name}, .*{second.name}"):
        recover(tmp_path / "run.nwb")
    recover(first)

    assert unfinished_files(tmp_path / "run.nwb") == [second]


def test_no_temporary_file_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"nothing to recover for .*run\.nwb; expected the temp"):
        recover(tmp_path / "run.nwb")


def test_a_stream_that_is_still_written_is_not_recovered(tmp_path):
    target = tmp_path / "run.nwb"

    with stream(target, [report()], metadata=SESSION) as file:
        file.append("v", [1.0, 2.0, 3.0])
        file.flush()
        with pytest.raises(SourceError, match=r"part\.nwb is still being written"):
            recover(target)
        with pytest.raises(SourceError, match=r"run\.nwb does not exist; it is being written, as"):
            open_output(target)
        said = CliRunner().invoke(main, ["info", str(target)])
        file.append("v", [4.0, 5.0, 6.0])

    assert said.exit_code == 1
    assert str(file.path) in said.output
    assert list(tmp_path.iterdir()) == [target]
    with h5py.File(target) as made:
        assert made["acquisition/v/data"][:, 0].tolist() == [1.0, 4.0]


def test_without_locks_a_stream_is_neither_recovered_nor_read_before_its_end(tmp_path, monkeypatch):
    target, flock = tmp_path / "run.nwb", Mock(side_effect=OSError(38, "not implemented"))
    monkeypatch.setattr("fcntl.flock", flock)

    with stream(target, [report()], metadata=SESSION) as file:
        file.append("v", [1.0, 2.0, 3.0])
        file.flush()
        for force in (False, True):
            with pytest.raises(SourceError, match=r"part\.nwb is still being written by process"):
                recover(target, force=force)
        with pytest.raises(SourceError, match=r"Without file locks it cannot be read"):
            open_output(file.path)
        file.append("v", [4.0, 5.0, 6.0])

    assert list(tmp_path.iterdir()) == [target]
    with open_output(target) as output:
        assert output["v"].data.shape == (2, 3)


def test_what_another_computer_may_still_write_is_recovered_with_force(left, tmp_path):
    journal = journal_path(left)
    host = json.dumps(platform.node()).encode()
    head = journal.read_bytes()[:1024].replace(b'"boot": "', b'"boot": "another ')
    with journal.open("r+b") as file:
        file.write(head.replace(host, b'"node17"')[:1024].ljust(1024))

    refused = CliRunner().invoke(main, ["recover", str(tmp_path / "run.nwb")])
    with pytest.raises(SourceError, match="--force"):
        open_output(tmp_path / "run.nwb")
    done = CliRunner().invoke(main, ["recover", "--force", str(tmp_path / "run.nwb")])

    assert refused.exit_code == 1
    assert "on node17, which last wrote at 20" in refused.output
    assert "If it has ended, pass --force" in refused.output
    assert done.exit_code == 0, done.output
    assert list(tmp_path.iterdir()) == [tmp_path / "run.nwb"]


def test_a_temporary_file_of_a_reused_process_number_is_kept(tmp_path):
    target = tmp_path / "run.nwb"
    left = tmp_path / f".run.{os.getpid()}.part.nwb"
    left.write_text("left")
    journal_path(left).write_text("journal")

    with stream(target, [report()], metadata=SESSION) as file:
        file.append("v", [1.0, 2.0, 3.0])

    assert sorted(tmp_path.iterdir()) == sorted([target, left, journal_path(left)])
    assert left.read_text() == "left"


def test_a_damaged_file_is_an_error_and_is_kept(left):
    data = bytearray(left.read_bytes())
    data[:8] = b"damaged!"
    left.write_bytes(data)

    with pytest.raises(SourceError, match="cannot be recovered"):
        recover(left)

    assert left.exists()
    assert journal_path(left).exists()


def test_a_failed_recovery_can_be_repeated(tmp_path, monkeypatch):
    killed(tmp_path, "gzip")
    target, pwrite, steps = tmp_path / "run.nwb", os.pwrite, 0

    def failing(*words):
        if not failing.left:
            raise OSError(5, "Input/output error")
        failing.left -= 1
        return pwrite(*words)

    monkeypatch.setattr(os, "pwrite", failing)
    while not target.exists():
        failing.left, steps = steps, steps + 1
        with contextlib.suppress(WriteError):
            recover(target)

    assert steps > 3
    assert list(tmp_path.iterdir()) == [target]
    with open_output(target) as output:
        np.testing.assert_array_equal(output["w"].data[:, 0], np.arange(output["w"].times.count))
        assert len(output.spikes[0].times) >= output["w"].times.count


def test_a_partly_changed_file_is_not_opened(left):
    journal, overlay = Journal(journal_path(left)), Overlay()
    overlay.put(0, left.read_bytes()[:100])
    journal.append(overlay)
    journal.close()

    with pytest.raises(
        SourceError,
        match=r"a crash left .*part\.nwb incomplete: recover it with ndx-sim recover .*part",
    ):
        open_output(left)


_WATCH = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from ndx_simulation_output import open_output

    path, seen, distinct = Path(sys.argv[1]), 0, set()
    print("imported", flush=True)
    while seen < 25 or len(distinct) < 4:
        time.sleep(0.01)
        with open_output(path) as output:
            v, w = output["v"].data[:], output["w"].data[:]
            times = output["w"].times.seconds()
        assert len(v) == 2 * len(w) and len(times) == len(w), (len(v), len(w), len(times))
        assert np.array_equal(v[:, 1], np.arange(len(v)) // 2)
        assert np.array_equal(w[:, 1], np.arange(len(w)))
        seen, distinct = seen + 1, distinct | {len(w)}
"""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_another_process_reads_flushed_values(compression, tmp_path):
    storage = StorageOptions(chunks=(50, 2), compression=compression)
    reports = [report(), report("w", rate=None)]

    with stream(tmp_path / "run.nwb", reports, metadata=SESSION, storage=storage) as file:
        watcher, step = python(_WATCH, file.path, cwd=tmp_path), 0
        while watcher.poll() is None and step < 200_000:
            file.append("v", np.full((2, 3), step))
            file.append("w", np.full(3, step), times=step * 0.5)
            step += 1
            if step % 5 == 0:
                file.flush()
            if step == 5:
                assert watcher.stdout.readline() == "imported\n"
        watcher.communicate()

    assert watcher.returncode == 0


def test_an_open_reader_sees_the_state_of_its_opening(tmp_path):
    with stream(tmp_path / "run.nwb", [report()], metadata=SESSION) as file:
        file.append("v", np.ones((5, 3)))
        file.flush()
        with h5py.File(file.path) as reader:
            file.append("v", np.ones((400, 3)))
            file.flush()
            assert reader["acquisition/v/data"].shape == (5, 3)
        file.append("v", np.ones(3))
        with h5py.File(file.path) as reader:
            assert reader["acquisition/v/data"].shape == (405, 3)


def test_a_file_that_is_being_read_is_renamed(tmp_path):
    target = tmp_path / "run.nwb"

    with stream(target, [report()], metadata=SESSION) as file:
        file.flush()
        reader = h5py.File(file.path)
        file.append("v", np.ones((5, 3)))
    reader.close()

    with h5py.File(target) as made:
        assert made["acquisition/v/data"].shape == (5, 3)
    assert list(tmp_path.iterdir()) == [target]


def fail(target: Path, error: BaseException) -> None:
    with stream(target, [report()], metadata=SESSION, overwrite=True, keep=True) as file:
        file.append("v", np.ones((5, 3)))
        file.add_spikes(Spikes("exc", np.array([1]), np.array([0.1])))
        raise error


@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt(), SystemExit(1)])
def test_a_run_that_raises_is_kept_with_keep(error, tmp_path):
    target = tmp_path / "run.nwb"
    target.write_text("old")

    with pytest.raises(type(error)) as caught:
        fail(target, error)

    assert caught.value is error
    assert list(tmp_path.iterdir()) == [target]
    with open_output(target) as output:
        assert output["v"].data.shape == (5, 3)
        assert output.spikes[0].times.tolist() == [0.1]


@pytest.mark.parametrize("number", [1, 4, 9, 12])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_run_interrupted_while_writing_is_kept(number, storage, tmp_path, monkeypatch):
    target, pwrite, values = tmp_path / "run.nwb", os.pwrite, np.arange(150).reshape(50, 3)
    left = []

    def interrupted(*words):
        if left and left.pop():
            raise KeyboardInterrupt
        return pwrite(*words)

    def run() -> None:
        with stream(
            target, [report()], metadata=SESSION, storage=STORAGES[storage], workers=0, keep=True
        ) as file:
            file.append("v", values[:10])
            file.flush()
            left.extend([True] + number * [False])
            for row in values[10:]:
                file.append("v", row)
                file.flush()

    monkeypatch.setattr(os, "pwrite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()

    with h5py.File(target) as made:
        found = made["acquisition/v/data"][()]
    assert 10 <= len(found) <= 50
    np.testing.assert_array_equal(found, values[: len(found)])
    assert list(tmp_path.iterdir()) == [target]


def append(target: Path, reports: list[StreamedReport], *values, **times) -> None:
    """Stream values, the last of them with times."""
    with stream(target, reports, metadata=SESSION, keep=True) as file:
        for some in values[:-1]:
            file.append("v", some, *[0.2 for _ in reports if reports[0].rate is None])
        file.append("v", values[-1], **times)


def test_invalid_values_are_not_in_the_kept_file(tmp_path):
    target = tmp_path / "run.nwb"

    with pytest.raises(ValueError, match=r"shape \(4,\); expected \(compartment,\)"):
        append(target, [report()], np.ones((5, 3)), np.ones(4))

    with open_output(target) as output:
        assert output["v"].data.shape == (5, 3)


def test_a_run_that_cannot_be_completed_can_be_recovered(tmp_path, monkeypatch):
    target = tmp_path / "run.nwb"
    pwrite = os.pwrite

    def full(number, data, place):
        if full.is_full:
            raise OSError(28, "No space left on device")
        return pwrite(number, data, place)

    def run() -> None:
        with stream(target, [report()], metadata=SESSION, keep=True) as file:
            file.append("v", np.ones((5, 3)))
            file.flush()
            full.is_full = True
            for _ in range(100_000):
                file.append("v", np.ones((1000, 3)))

    full.is_full = False
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WriteError, match=r"cannot write .*run\.nwb: .Errno 28."):
        run()
    full.is_full = False
    recovered = recover(target)

    assert recovered.reports == (RecoveredReport("v", 5, 4 / 10_000.0),)
    assert list(tmp_path.iterdir()) == [target]


def timed(**facts) -> StreamedReport:
    return report(rate=None, **facts)


def test_times_are_the_timestamps_of_the_series(tmp_path):
    target = tmp_path / "run.nwb"
    times = np.cumsum(np.random.default_rng(0).uniform(0.001, 1, 70_000))

    with stream(target, [timed()], metadata=SESSION) as file:
        file.append("v", np.zeros(3), times=times[0])
        file.append("v", np.zeros((9, 3)), times=times[1:10])
        file.flush()
        with open_output(file.path) as so_far:
            np.testing.assert_array_equal(so_far["v"].times.seconds(), times[:10])
        for start in range(10, 70_000, 1000):
            part = times[start : start + 1000]
            file.append("v", np.zeros((len(part), 3)), times=part)

    with open_output(target) as output:
        np.testing.assert_array_equal(output["v"].times.seconds(), times)
    assert [found for found in check_file(target) if found.severity == "error"] == []
    with h5py.File(target) as made:
        stamps = made["acquisition/v/timestamps"]
        assert (stamps.dtype, stamps.attrs["unit"]) == (np.float64, "seconds")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (None, "have no times; expected one for each"),
        ([0.3], r"have shape \(1,\); expected one for each of 2"),
        ([0.3, 0.3], r"do not ascend, or are not finite: 0\.3, 0\.3"),
        ([0.1, 0.3], r"do not ascend, or are not finite: 0\.2, 0\.1"),
        ([0.3, np.nan], "do not ascend, or are not finite"),
        ([0.3, np.inf], "do not ascend, or are not finite"),
    ],
)
def test_invalid_times_are_an_error(times, expected, tmp_path):
    with pytest.raises(ValueError, match=f"'v' {expected}"):
        append(tmp_path / "run.nwb", [timed()], np.zeros(3), np.zeros((2, 3)), times=times)

    with h5py.File(tmp_path / "run.nwb") as made:
        assert made["acquisition/v/timestamps"][()].tolist() == [0.2]
        assert made["acquisition/v/data"].shape == (1, 3)


def test_times_of_a_report_with_a_rate_are_an_error(tmp_path):
    with (
        pytest.raises(ValueError, match="report 'v' has a rate; expected no times"),
        stream(tmp_path / "run.nwb", [report()], metadata=SESSION) as file,
    ):
        file.append("v", np.zeros(3), times=0.2)


def test_a_start_without_a_rate_is_an_error():
    with pytest.raises(ValueError, match=r"report 'v' starts at 0\.5 s and has no rate"):
        timed(start=0.5)
