"""Flushed data survive the crash of a process that saves PyMoDAQ data."""

import os
import random
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import validate

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.nwb.recover import recover
from ndx_simulation_output.pymodaq import (
    DataExtendedSaver,
    DataLoader,
    DataRaw,
    DataToExport,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from ndx_simulation_output.pymodaq.nodes import Undo
from ndx_simulation_output.storage.journal import Journal, Overlay, journal_path
from ndx_simulation_output.storage.journaled import JournaledFileObject, has_journal
from tests.nwb.test_recover import do, python, recorded

AT = "/RawData/Detector000"
POINTS = 24
LEVELS = pytest.mark.parametrize("level", [0, 4])


def begin(path: Path, level: int) -> H5SaverLowLevel:
    saver = H5SaverLowLevel()
    saver.init_file(path)
    saver.define_compression("gzip", level)
    saver.add_det_group("/RawData", "Camera")
    saver.add_det_group("/RawData", "Scan")
    return saver


def element(number: int) -> DataToExport:
    image = DataRaw("image", data=[np.full((20, 30), number, np.uint16)])
    power = DataRaw("power", data=[np.array([float(number)])])
    return DataToExport("all", [image, power], timestamp=1.7e9 + number)


def save(timed: DataToExportTimedSaver, scan: DataExtendedSaver, number: int) -> None:
    timed.add_data(AT, element(number))
    if number < POINTS:
        scan.add_data("/RawData/Detector001", element(number)[0], (number,))


def count_of(path: Path) -> int:
    """Return the number of elements in a file, which must be complete."""
    with h5py.File(path) as file:
        detector = file[f"acquisition{AT}"]
        if "Data2D" not in detector:
            return 0
        image, power = (detector[f"{name}/CH00/EnlData00/data"] for name in ("Data2D", "Data0D"))
        count = len(power)
        np.testing.assert_array_equal(power[()], np.arange(count))
        assert image.shape == (count, 20, 30)
        np.testing.assert_array_equal(image[:, 3, 4], np.arange(count))
        np.testing.assert_array_equal(detector["NavAxes/Axis00"][()], 1.7e9 + np.arange(count))
        times = detector["Data2D/CH00/EnlData00/timestamps"]
        assert len(times) == count
        scan = file["acquisition/RawData/Detector001"]
        if "Data00" in scan:
            reached = np.isfinite(scan["Times00"][()])
            np.testing.assert_array_equal(np.flatnonzero(reached), np.arange(min(count, POINTS)))
            np.testing.assert_array_equal(scan["Data00"][reached, 1, 2], np.flatnonzero(reached))
        return count


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files have no names here")
@LEVELS
def test_flushed_data_survive_a_crash_after_any_write(level, tmp_path, monkeypatch):
    saved, left, tried = (tmp_path / name for name in ("saved", "left", "tried"))
    saver = begin(saved / "run.nwb", level)
    timed, scan = DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,))
    saver.flush()
    shutil.copytree(saved, left)
    commits = [(0, 0)]
    with recorded(monkeypatch) as recording:
        for number in range(30):
            save(timed, scan, number)
            if number % 5 == 4:
                saver.flush()
                commits.append((len(recording.steps), number + 1))
        saver.close_file()
    commits.append((len(recording.steps), 30))

    for number, step in enumerate(recording.steps):
        # The system may have done only the first half of the write.
        for done in (None, step[2][: len(step[2]) // 2] if step[2] else None):
            shutil.copytree(left, tried)
            if done is not None:
                do(tried, (*step[:2], done))
            recover(tried / "run.nwb")
            last = max(at for at, (writes, _) in enumerate(commits) if writes <= number)
            allowed = {count for _, count in commits[last : last + 2]}
            assert count_of(tried / "run.nwb") in allowed, number
            shutil.rmtree(tried)
        do(left, step)


_SAVE = """
    import itertools, sys
    from ndx_simulation_output.pymodaq import DataExtendedSaver, DataToExportTimedSaver
    from tests.pymodaq.test_crash import POINTS, begin, save

    saver = begin("run.nwb", int(sys.argv[1]))
    timed, scan = DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,))
    for number in itertools.count():
        save(timed, scan, number)
        saver.flush()
        print(number + 1, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("seed", range(3))
@LEVELS
def test_a_killed_process_loses_only_data_that_were_not_flushed(level, seed, tmp_path):
    path = tmp_path / "run.nwb"
    process = python(_SAVE, level, cwd=tmp_path)
    flushed = 0
    for _ in range(random.Random(seed).randrange(1, 60)):  # noqa: S311 - for a test
        flushed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    for line in process.communicate()[0].splitlines():
        flushed = int(line) if line.isdigit() else flushed

    recover(path)

    assert [file.name for file in tmp_path.iterdir()] == ["run.nwb"]
    # The element that was being flushed may be there.
    count = count_of(path)
    assert count >= flushed
    assert validate(path=str(path)) == []
    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        save(DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,)), count)
    assert count_of(path) == count + 1


@pytest.mark.parametrize(
    ("kind", "method"), [(Undo, "append"), (Undo, "assign"), (JournaledFileObject, "write")]
)
def test_ctrl_c_comes_after_a_step_or_flush(kind, method, tmp_path, monkeypatch):
    path = tmp_path / "run.nwb"
    saver = begin(path, 4)
    timed, scan = DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,))
    save(timed, scan, 0)
    original = getattr(kind, method)

    def interrupted(*words):
        signal.raise_signal(signal.SIGINT)
        return original(*words)

    def step() -> None:
        if method == "append":
            timed.add_data(AT, element(1))
        elif method == "assign":
            scan.add_data("/RawData/Detector001", element(1)[0], (1,))
        else:
            saver.flush()

    monkeypatch.setattr(kind, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        step()
    monkeypatch.undo()

    if method != "append":
        timed.add_data(AT, element(1))
    if method != "assign":
        scan.add_data("/RawData/Detector001", element(1)[0], (1,))
    saver.close_file()
    assert count_of(path) == 2


def leave_incomplete(path: Path) -> None:
    """Create a file as a crash during a flush leaves it, with a complete journal."""
    begin(path, 0).close_file()
    before = path.read_bytes()
    journal, overlay = Journal(journal_path(path)), Overlay()
    overlay.put(0, before[:512])
    journal.append(overlay)
    journal.close()
    path.write_bytes(bytes(512) + before[512:])


def test_reading_an_incomplete_file_raises_an_error(tmp_path):
    path = tmp_path / "run.nwb"
    leave_incomplete(path)

    for reader in (open_output, DataLoader):
        with pytest.raises(
            SourceError,
            match=r"a crash left .*run\.nwb incomplete: recover it with ndx-sim recover",
        ):
            reader(path)


def test_an_incomplete_file_is_recovered_in_place_or_elsewhere(tmp_path):
    leave_incomplete(tmp_path / "run.nwb")

    recover(tmp_path / "run.nwb", tmp_path / "recovered.nwb")

    for name in ("run.nwb", "recovered.nwb"):
        with DataLoader(tmp_path / name) as loader:
            assert len(loader.load_all("/RawData")) == 0


def test_an_incomplete_file_is_recovered_when_it_is_opened_to_add_to_it(tmp_path):
    path = tmp_path / "run.nwb"
    leave_incomplete(path)

    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        assert saver.get_node(AT).title == "Camera"

    assert not has_journal(path)


def test_a_new_file_replaces_an_incomplete_one(tmp_path):
    path = tmp_path / "run.nwb"
    leave_incomplete(path)

    with H5SaverLowLevel() as saver:
        saver.init_file(path, new_file=True)
        assert list(saver.get_children("/RawData")) == ["Logger"]


def test_a_file_has_only_one_writer(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        for new_file in (False, True):
            with pytest.raises(WriteError, match=r"run\.nwb is being written"):
                H5SaverLowLevel().init_file(tmp_path / "run.nwb", new_file=new_file)
        with pytest.raises(WriteError, match=r"run\.nwb is being written"):
            recover(tmp_path / "run.nwb")


def test_readers_see_flushed_data_while_data_are_saved(tmp_path):
    saver = begin(tmp_path / "run.nwb", 0)
    timed = DataToExportTimedSaver(saver)
    for number in range(6):
        timed.add_data(AT, element(number))
        if number == 3:
            saver.flush()

    with DataLoader(tmp_path / "run.nwb") as loader:
        assert loader.load_data(f"{AT}/Data0D/CH00/EnlData00").shape == (4,)
    saver.close_file()
    assert count_of(tmp_path / "run.nwb") == 6


def test_a_file_is_closed_when_its_saver_is_no_longer_referenced(tmp_path):
    saver = begin(tmp_path / "run.nwb", 0)
    DataToExportTimedSaver(saver).add_data(AT, element(0))

    del saver

    assert count_of(tmp_path / "run.nwb") == 1
    assert not has_journal(tmp_path / "run.nwb")


def test_memory_is_bounded_without_a_flush(tmp_path):
    saver = begin(tmp_path / "run.nwb", 0)
    scan = DataExtendedSaver(saver, (40,))
    scan.add_data(AT, DataRaw("image", data=[np.zeros((1024, 1024))]), (0,))
    saver.flush()

    for number in range(1, 40):
        scan.add_data(AT, DataRaw("image", data=[np.full((1024, 1024), number * 1.0)]), (number,))

    # Most of the 312 MiB are in the file without a call of flush.
    with DataLoader(tmp_path / "run.nwb") as loader:
        reached = np.isfinite(loader.load_data(f"{AT}/Data00").times)
    assert reached.sum() > 30
    saver.close_file()
