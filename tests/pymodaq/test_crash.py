"""Whenever a process dies that saves data of PyMoDAQ, what it flushed is there."""

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
from ndx_simulation_output.storage.journal import Journal, Overlay, journal_path
from ndx_simulation_output.storage.journaled import has_journal
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
    """Give how many elements a file has, all of them complete."""
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
def test_a_crash_after_any_write_leaves_what_was_flushed(level, tmp_path, monkeypatch):
    made, left, tried = (tmp_path / name for name in ("made", "left", "tried"))
    saver = begin(made / "run.nwb", level)
    timed, scan = DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,))
    saver.flush()
    shutil.copytree(made, left)
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
        # The system may have done the first half of what it was told.
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
def test_a_process_killed_at_any_moment_loses_only_what_was_not_flushed(level, seed, tmp_path):
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
    # The one that was being flushed may be there.
    count = count_of(path)
    assert count >= flushed
    assert validate(path=str(path)) == []
    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        save(DataToExportTimedSaver(saver), DataExtendedSaver(saver, (POINTS,)), count)
    assert count_of(path) == count + 1


def half_changed(path: Path) -> None:
    """Leave a file as a crash in the middle of a flush does, of which the journal is complete."""
    begin(path, 0).close_file()
    before = path.read_bytes()
    journal, overlay = Journal(journal_path(path)), Overlay()
    overlay.put(0, before[:512])
    journal.append(overlay)
    journal.close()
    path.write_bytes(bytes(512) + before[512:])


def test_a_file_that_is_half_changed_is_not_opened_for_reading(tmp_path):
    path = tmp_path / "run.nwb"
    half_changed(path)

    for reader in (open_output, DataLoader):
        with pytest.raises(
            SourceError,
            match=r"a crash left .*run\.nwb incomplete: recover it with ndx-sim recover",
        ):
            reader(path)


def test_a_file_that_is_half_changed_is_made_whole_where_it_is_or_elsewhere(tmp_path):
    half_changed(tmp_path / "run.nwb")

    recover(tmp_path / "run.nwb", tmp_path / "whole.nwb")

    for name in ("run.nwb", "whole.nwb"):
        with DataLoader(tmp_path / name) as loader:
            assert len(loader.load_all("/RawData")) == 0


def test_who_adds_to_a_file_makes_it_whole(tmp_path):
    path = tmp_path / "run.nwb"
    half_changed(path)

    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        assert saver.get_node(AT).title == "Camera"

    assert not has_journal(path)


def test_a_new_file_has_nothing_of_what_a_crash_left(tmp_path):
    path = tmp_path / "run.nwb"
    half_changed(path)

    with H5SaverLowLevel() as saver:
        saver.init_file(path, new_file=True)
        assert list(saver.get_children("/RawData")) == ["Logger"]


def test_two_do_not_add_to_one_file(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        for new_file in (False, True):
            with pytest.raises(WriteError, match=r"run\.nwb is being written"):
                H5SaverLowLevel().init_file(tmp_path / "run.nwb", new_file=new_file)
        with pytest.raises(WriteError, match=r"run\.nwb is being written"):
            recover(tmp_path / "run.nwb")


def test_others_see_what_was_flushed_while_data_are_saved(tmp_path):
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


def test_a_file_that_nobody_closes_is_closed_when_nobody_has_it(tmp_path):
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

    # No one has told it to, but most of the 312 MiB are in the file.
    with DataLoader(tmp_path / "run.nwb") as loader:
        reached = np.isfinite(loader.load_data(f"{AT}/Data00").times)
    assert reached.sum() > 30
    saver.close_file()
