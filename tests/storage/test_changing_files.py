"""A file that changes or shrinks while it is open is an error, and the process survives."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.storage.making import STORED

COMMON = """
import os, shutil, subprocess, sys
from pathlib import Path
import h5py, numpy as np
from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.annarchy.containers import load_npy
from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.storage import writing
from ndx_simulation_output.storage.raw_files import MappedFile
from ndx_simulation_output.storage.reading import HDF5Array
KINDS = {kinds}
CHANGES = {
    "truncated": lambda path: os.truncate(path, 5000),
    "emptied": lambda path: os.truncate(path, 0),
    "overwritten by a smaller one": lambda path: shutil.copyfile("small.h5", path),
    "overwritten by an equal one": lambda path: path.write_bytes(path.read_bytes()[::-1]),
}
without_lease = lambda file: None
"""
READ = """
def check(array):
    for read in (
        lambda: array[:, :],
        lambda: array[3:400, 70:75],
        lambda: array[400:500, 50:90],
        lambda: array.take_columns(slice(None), np.array([399, 7])),
        lambda: array[400],
    ):
        try:
            read()
        except SourceError as error:
            assert str(error).endswith("has changed since it was opened; open it again"), error
            assert "changing" in str(error), error
        else:
            raise AssertionError("read")

for lease in MappedFile.lease, without_lease:
    MappedFile.lease = lease
    for change in CHANGES.values():
        for kind in KINDS:
            shutil.copyfile(f"{kind}.h5", "changing.h5")
            with h5py.File("changing.h5") as file:
                array = HDF5Array(file["data"])
                assert array[9, 9] == 3609
                change(Path("changing.h5"))
                check(array)
        shutil.copyfile("v.npy", "changing.npy")
        array = load_npy(Path("changing.npy"))
        assert array[9, 9] == 3609
        change(Path("changing.npy"))
        check(array)
"""
LOOP = """
other = "import os, time; time.sleep(0.1); os.truncate('changing.h5', 5000)"
for kind in KINDS:
    shutil.copyfile(f"{kind}.h5", "changing.h5")
    with h5py.File("changing.h5") as file:
        array = HDF5Array(file["data"], workers=2)
        assert array[:, :][-1, -1] == 199_999
        process = subprocess.Popen([sys.executable, "-S", "-c", other])
        try:
            while True:
                assert array[:, :][-1, -1] == array.piece(slice(0, 500), slice(9, 400))[-1, -1]
        except SourceError as error:
            assert "the file has changed" in str(error), error
        process.wait()
"""
CONVERT = """
for kind in KINDS:
    for change in CHANGES.values():
        def progress(done, total, changes=[change]):
            if changes:
                changes.pop()(Path("changing.h5"))
        shutil.copyfile(f"{kind}.h5", "changing.h5")
        try:
            convert("changing.h5", "run.nwb", unit={"changing": "mV"}, progress=progress)
        except SourceError as error:
            assert "changing.h5: the file has changed" in str(error), error
        else:
            raise AssertionError("converted")
        left = [name for name in os.listdir() if "run" in name]
        assert not left, left
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a SONATA report, stored in several ways, and with a smaller file."""
    values = np.arange(200_000, dtype="f4").reshape(500, 400)
    np.save(tmp_path / "v.npy", values)
    for kind, how in {**STORED, "lzf": {"chunks": True, "compression": "lzf"}}.items():
        with h5py.File(tmp_path / f"{kind}.h5", "w") as file:
            file.create_dataset("data", data=values, **how | ({"chunks": (100, 20)} if how else {}))
            file["report/a/data"] = file["data"]
            file["report/a/mapping/node_ids"] = np.arange(400)
            file["report/a/mapping/index_pointers"] = np.arange(401)
            file["report/a/mapping/element_ids"] = np.zeros(400, int)
            file["report/a/mapping/time"] = [0.0, 50.0, 0.1]
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file["data"] = np.zeros(3)
    return tmp_path


REOPEN = """
def rewrite(path):
    with h5py.File("contiguous.h5", "r+") as file:
        file["report/a/data"][0, 0] = 7
    shutil.copyfile("contiguous.h5", path)

for change in (*list(CHANGES.values())[:3], rewrite):
    for opening in open_output, h5py.File:
        if (opening, change) == (h5py.File, rewrite):
            continue  # The size is the same, and another library has opened the file.
        shutil.copyfile("contiguous.h5", "changing.h5")
        with opening("changing.h5"):
            change(Path("changing.h5"))
            try:
                open_output("changing.h5")
            except SourceError as error:
                assert "changing.h5 has changed, and is still open" in str(error), error
            else:
                raise AssertionError("opened")
shutil.copyfile("contiguous.h5", "changing.h5")
lost = [open_output("changing.h5")]
lost[0] = lost, lost[0]
rewrite("changing.h5")
del lost
with open_output("changing.h5") as output:
    assert output["changing"].data[0, 0] == 7
"""
LEASES = """
shutil.copyfile("contiguous.h5", "changing.h5")
def is_free():
    try:
        os.close(os.open("changing.h5", os.O_RDWR | os.O_NONBLOCK))
    except BlockingIOError:
        return False
    return True

if hasattr(os, "fork") and (lease := MappedFile("changing.h5").lease()):
    if not (child := os.fork()):
        del lease
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_free()
    lease.end()
    assert is_free()
def fail(*arguments):
    raise OSError("disk full")

errors = []
for workers in 0, 2:
    writing.write_at = fail
    options = StorageOptions(chunks="contiguous")
    try:
        convert("changing.h5", "run.nwb", unit={"changing": "mV"}, storage=options, workers=workers)
    except WriteError as error:
        errors.append(error)
    assert is_free()
assert len(errors) == 2
"""


CODES = {
    "read": READ,
    "in a loop": LOOP,
    "convert": CONVERT,
    "open again": REOPEN,
    "leases": LEASES,
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_process_survives_a_file_that_changes(code, directory: Path):
    code = COMMON.replace("{kinds}", repr([*STORED, "lzf"])) + code
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
