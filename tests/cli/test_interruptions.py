"""A command that a signal ends leaves nothing half-written, says so in one line, and its status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.cli.interruptions import interruptions
from ndx_simulation_output.errors import WriteError
from ndx_simulation_output.files import target_of_partial
from ndx_simulation_output.system import INTERRUPTIONS
from tests.nwb.test_stream import SESSION
from tests.sonata.making import report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
HAS_ZARR = find_spec("hdmf_zarr") is not None
NEEDS_ZARR = pytest.mark.skipif(not HAS_ZARR, reason="hdmf_zarr is not installed")

_SERVER = """
import json, os, signal, sys, time
from ndx_simulation_output import files
from ndx_simulation_output.cli import main
from ndx_simulation_output.storage.partitions import Region

def ahead(method, before):
    return lambda *words: (before(), method(*words))[1]

def read_slowly():
    print("reading", flush=True)
    time.sleep(0.6)  # The signal may come late on a busy machine.

def count():
    global moments
    moments += 1
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)

def notice(event, words):
    if event == "open" or event.startswith(("os.", "shutil.")):
        if any("run.nwb" in str(word) for word in words):
            count()

for line in sys.stdin:
    directory, words, last = json.loads(line)
    if child := os.fork():
        print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    signal.alarm(120)  # Nothing hangs.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Jobs in the background ignore it.
    os.chdir(directory)
    print(os.getpid(), flush=True)
    if last is None:
        Region.read = ahead(Region.read, read_slowly)
        main(words)
    moments = 0
    Region.read = ahead(Region.read, count)
    files.FileObject.store = ahead(files.FileObject.store, count)
    sys.addaudithook(notice)
    try:
        main(words)
    finally:
        print("moments", moments, flush=True)
"""
"""Fork a process for each command, so that libraries are imported once.

With a number, kill the process at this moment: before it reads, writes, creates, renames or
removes something. Otherwise report each piece that is read, and take as long for it as if the file
were large.
"""


class Commands:
    """Run commands one after another."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _SERVER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen(
            command, stderr=subprocess.STDOUT, start_new_session=True, **pipes
        )

    def start(self, directory: Path, words: list[str], last: int | None = None) -> None:
        print(json.dumps([str(directory), words, last]), file=self.server.stdin, flush=True)
        self.process = int(self.line())

    def line(self) -> str:
        """Return the next line that is not the warning of each conversion."""
        assert self.server.stdout is not None
        lines = iter(self.server.stdout.readline, "")
        return next(line for line in lines if "session_start_time" not in line).rstrip("\n")

    def end(self, *signals: int) -> tuple[int, str]:
        """Send signals; return the exit status and the other lines that were printed."""
        for number in signals:
            os.kill(self.process, number)
            time.sleep(0.05)
        lines = []
        while not (line := self.line()).startswith("status "):
            lines += [line] if line not in ("", "reading") else []
        return int(line.split()[1]), "\n".join(lines)

    def run(self, directory: Path, words: list[str], last: int | None = None) -> tuple[int, str]:
        self.start(directory, words, last)
        return self.end()


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    commands = Commands()
    with commands.server:
        yield commands


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A run in several pieces, and results of another run."""
    place = tmp_path_factory.mktemp("run")
    run = {"cells": range(400), "counts": [5] * 400, "rows": 700, "time": (0.0, 70.0, 0.1)}
    report(**run).write(place / "v.h5")
    report(data=np.full((3, 3), -1, np.float32)).write(place / "old.h5")
    for target in ("run.nwb", "run.nwb.zarr")[: 1 + HAS_ZARR]:
        convert(place / "old.h5", place / target, metadata=SESSION)
    export_sonata(place / "run.nwb", place / "sonata")
    return place


COMMANDS = [
    (signal.SIGINT, "convert v.h5 run.nwb --compression gzip --overwrite"),
    (signal.SIGTERM, "convert v.h5 run.nwb --overwrite"),
    pytest.param(signal.SIGTERM, "convert v.h5 new.nwb.zarr", marks=NEEDS_ZARR),
    (signal.SIGHUP, "export run.nwb sonata --overwrite --dtype float64"),
]


@pytest.mark.parametrize(("number", "words"), COMMANDS)
def test_an_interrupted_command_leaves_what_was_there(number, words, commands, source, tmp_path):
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)

    commands.start(tmp_path, words.split())
    assert commands.line() == "reading"
    status = commands.end(number, number, number)

    assert status == (128 + number, f"interrupted by {signal.Signals(number).name}")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        "run.nwb",
        "run.nwb --compression gzip",
        pytest.param("run.nwb.zarr --compression none", marks=NEEDS_ZARR),
    ],
)
def test_a_killed_command_leaves_the_old_target_or_the_new_one(words, commands, source, tmp_path):
    words = ["convert", "v.h5", *words.split(), "--overwrite"]
    target = tmp_path / words[2]

    def held(target: Path) -> list[Any]:
        with open_output(target) as output:
            (report,) = output.reports
            return [report.name, report.data[-3:, -3:].tolist()]

    def run(last: int) -> tuple[tuple[int, str], list[Any]]:
        """Return what the command printed, and what the target holds then."""
        shutil.rmtree(tmp_path)
        shutil.copytree(source, tmp_path)
        ended = commands.run(tmp_path, words, last)
        names = {path.name for path in tmp_path.iterdir() if not target_of_partial(path)}
        assert names == {path.name for path in source.iterdir()}
        return ended, held(target)

    old = held(source / target.name)
    (status, printed), new = run(0)
    assert (status, old[0], new[0]) == (0, "old", "v")
    count = int(printed.split()[-1])

    moments = [*range(1, count - 1, -(-count // 3)), count - 1, count]
    found = [run(last) for last in moments]

    assert [ended for ended, _ in found] == [(-signal.SIGKILL, "")] * len(moments)
    assert all(value in (old, new) for _, value in found)
    assert found[0][1] == old


def test_an_interruption_that_python_ignores_comes_again():
    class Callback:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def wait() -> None:
        with interruptions():
            Callback()
            time.sleep(60)

    before = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    try:
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_error_that_comes_from_cleaning_up_is_an_interruption(monkeypatch, capsys):
    def plot(*_, **__):
        try:
            raise KeyboardInterrupt(signal.SIGTERM.name)
        finally:
            raise WriteError(*_)

    monkeypatch.setattr(main.commands["plot"], "callback", plot)
    with pytest.raises(SystemExit, match="143"):
        main(["plot", "run.nwb"])

    assert capsys.readouterr().err == "interrupted by SIGTERM\n"


def test_the_viewer_ends_at_a_signal(commands, source):
    pytest.importorskip("bokeh")
    commands.start(source, ["view", "run.nwb", "--no-browser"])
    assert commands.line().startswith("open http")

    assert commands.end(signal.SIGTERM) == (143, "interrupted by SIGTERM")


def test_any_name_is_printed_in_one_line(commands, source, tmp_path):
    name = os.fsdecode(b"v\xff\x1b[31m\nb")
    shutil.copy(source / "old.h5", tmp_path / f"{name}.h5")

    done = commands.run(tmp_path, ["convert", f"{name}.h5", f"{name}.nwb"])
    assert done == (0, "wrote v\\udcff\\x1b[31m b.nwb")
    done = commands.run(tmp_path, ["info", f"no{name}"])
    assert done == (1, "error: nov\\udcff\\x1b[31m b does not exist")

    with open_output(tmp_path / f"{name}.nwb") as output:
        assert [report.name for report in output.reports] == ["v?\x1b[31m\nb"]


def contents(directory: Path) -> dict[str, bytes]:
    files = (file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}
