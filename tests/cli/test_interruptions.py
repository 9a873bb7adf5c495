"""A command that a signal ends leaves nothing half-written, says so in one line, and its status."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ndx_simulation_output import convert, export_sonata, open_output
from tests.nwb.test_stream import SESSION
from tests.sonata.making import report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")

_SECONDS = 60
_RUN = """
import signal, sys
from ndx_simulation_output.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # Jobs in the background ignore it.
main(sys.argv[1:])
"""
_SLOW = """
import time
from ndx_simulation_output.storage.partitions import Region
read = Region.read
def slowly(*words):
    print("reading", flush=True)
    time.sleep(0.2)
    return read(*words)
Region.read = slowly
"""
"""Report each piece that is read, and take as long for it as if the file were large."""


def started(directory: Path, *words: str, before: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", before + _RUN, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=directory, start_new_session=True, **pipes)


def ended(process: subprocess.Popen[str], *signals: int) -> tuple[int, str]:
    """Send signals; return the exit status and what was printed, without other warnings."""
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    _, errors = process.communicate(timeout=_SECONDS)
    kept = [line for line in errors.splitlines() if "session_start_time" not in line]
    return process.returncode, "\n".join(kept)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A run and its NWB file, in several pieces, and results of before."""
    place = tmp_path_factory.mktemp("run")
    report(range(400), [5] * 400, rows=3000, time=(0.0, 300.0, 0.1)).write(place / "v.h5")
    convert(place / "v.h5", place / "run.nwb", metadata=SESSION)
    export_sonata(place / "run.nwb", place / "sonata")
    return place


COMMANDS = [
    (signal.SIGINT, "convert v.h5 run.nwb --compression gzip --overwrite"),
    (signal.SIGTERM, "convert v.h5 run.nwb --overwrite"),
    (signal.SIGTERM, "convert v.h5 new.nwb.zarr"),
    (signal.SIGHUP, "export run.nwb sonata --overwrite --dtype float64"),
]


@pytest.mark.parametrize(("number", "words"), COMMANDS)
def test_an_interrupted_command_leaves_what_was_there(number, words, source, tmp_path):
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)

    process = started(tmp_path, *words.split(), before=_SLOW)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    status, errors = ended(process, number, number, number)

    assert (status, errors) == (128 + number, f"interrupted by {signal.Signals(number).name}")
    assert contents(tmp_path) == before


def test_the_viewer_ends_at_a_signal(source):
    pytest.importorskip("bokeh")
    process = started(source, "view", "run.nwb", "--no-browser")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("open http")

    assert ended(process, signal.SIGTERM) == (143, "interrupted by SIGTERM")


def test_any_name_is_printed_in_one_line(source, tmp_path):
    name = os.fsdecode(b"v\xff\x1b[31m\nb")
    shutil.copy(source / "v.h5", tmp_path / f"{name}.h5")

    process = started(tmp_path, "convert", f"{name}.h5", f"{name}.nwb")
    assert process.communicate(timeout=_SECONDS)[0] == "wrote v\\udcff\\x1b[31m b.nwb\n"
    assert ended(started(tmp_path, "info", f"no{name}")) == (
        1,
        "error: nov\\udcff\\x1b[31m b does not exist",
    )

    with open_output(tmp_path / f"{name}.nwb") as output:
        assert [report.name for report in output.reports] == ["v?\x1b[31m\nb"]


def contents(directory: Path) -> dict[str, bytes]:
    files = (file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}
