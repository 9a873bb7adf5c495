"""Many processes: convert with two MPI ranks, and open the files of many ranks."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from bench import Bench
from claims import Claim, Section, at_least, at_most, compare, compare_memory
from environments import MissingError
from inputs.reports import check_same_values, write_report
from inputs.size import Size
from measuring import Way, WorkError, run_once
from page_cache import SHARED_MEMORY
from tables import spread, table, ways_table

__all__ = ["measure", "measure_cluster", "measure_merging"]

FILES = 200
OF_RANK = {"cells": 5, "compartments": 20, "frames": 200}
PROCESSES = (1, 2, 4)
RANKS = 2
GIGABYTES = 0.3  # beside a report of 1.6
OURS, GATHER = "convert, 2 ranks", "gather with mpi4py, h5py on the root"
OURS_GZIP, GATHER_GZIP = "convert, gzip, 2 ranks", "gather, shuffle + gzip-4 on the root"
WRITE = "write bytes in memory, 2 ranks"
METHODS = {
    "ours": OURS,
    "gathered": GATHER,
    "ours_gzip": OURS_GZIP,
    "gathered_gzip": GATHER_GZIP,
    "written": WRITE,
}
SCRIPT = Path(__file__).parents[1] / "ranks.py"


def measure(bench: Bench) -> Section:
    """Measure them by turns in the same run, in memory."""
    size = Size.of(bench.scaled(round(GIGABYTES * 1e9)) / 1e9)
    seconds: dict[str, list[float]] = {label: [] for label in METHODS.values()}
    problem = ""
    try:
        seconds = _run(bench, size)
    except MissingError as missing:
        problem = f"not measured: {missing}"
    except (WorkError, ValueError) as error:
        problem = f"failed: {error}"
    claims = [
        Claim(ours, other, at_least(goal), seconds[ours], seconds[other], problem=problem)
        for ours, other, goal in ((OURS, GATHER, 0.8), (OURS_GZIP, GATHER_GZIP, 1.8))
    ]
    rows = [[label, spread(taken)] for label, taken in seconds.items() if taken]
    notes = [table(["method", "seconds"], rows)] if rows else []
    return Section(f"MPI, {RANKS} ranks, files in memory: {size}", claims, notes)


def _run(bench: Bench, size: Size) -> dict[str, list[float]]:
    launcher = _launcher()
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else bench.scratch
    with tempfile.TemporaryDirectory(dir=place) as directory:
        names = ("a.h5", "b.nwb", "c.h5", "d.bin")
        source, ours, gathered, written = (Path(directory) / name for name in names)
        bench.tell(f"making {size} for MPI")
        write_report(source, size)
        paths = [str(path) for path in (source, ours, gathered, written)]
        command = [*launcher, sys.executable, str(SCRIPT), *paths, str(bench.repeats)]
        # Our own script.
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise WorkError(_complaint(done.stderr))
        taken: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
        check_same_values(source, ours)
        check_same_values(source, gathered)
    return {label: taken[name] for name, label in METHODS.items()}


def _launcher() -> list[str]:
    """Return the command that starts two ranks on this machine."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        msg = "mpirun is not installed"
        raise MissingError(msg)
    if find_spec("mpi4py") is None:
        msg = "mpi4py is not installed"
        raise MissingError(msg)
    # Our own command.
    said = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    options = ["--allow-run-as-root", "--oversubscribe"] if "Open MPI" in said.stdout else []
    return [mpirun, *options, "-n", str(RANKS)]


def _complaint(text: str) -> str:
    """Return the line that names the error; messages of MPI follow it."""
    lines = [line.strip() for line in text.splitlines() if "Error" in line]
    return lines[0] if lines else "mpirun ended with an error"


def measure_merging(bench: Bench) -> Section:
    """Measure opening a file of each rank as one output, compared with pynwb opening each."""
    files = max(2, bench.scaled(FILES))
    few = max(1, files // 10)
    make = Way("ours:write_ranks", options={"files": files, **OF_RANK})
    directory = bench.made("ranks", lambda path: run_once(make, path, bench.scratch))
    options = {"directory": str(directory), "files": files}
    ours, other = f"open_output, {files} files", f"pynwb, {files} files"
    less = f"open_output, {few} files"
    ways = {
        ours: Way("ours:open_ranks", options=options),
        other: Way("ours:open_each", options=options),
        less: Way("ours:open_ranks", options={**options, "files": few}),
    }
    measured = bench.rounds().measure(ways)
    claims = [
        compare(measured, f"open the files of {files} ranks", ours, other, at_most(0.8)),
        compare_memory(measured, ours, less, at_most(1.2)),
    ]
    return Section(f"The files of {files} ranks as one", claims, [ways_table(measured)])


def measure_cluster(bench: Bench) -> Section:
    """Measure reading and writing on Dask clusters of 1, 2 and 4 processes."""
    if find_spec("distributed") is None:
        msg = "distributed is not installed"
        raise MissingError(msg)
    ways, claims = {}, []
    for count in PROCESSES:
        options = {"processes": count}
        reading = Way("ours:read_on_cluster", bench.converted("gzip"), options=options)
        ways[f"to_dask, {count} processes"] = reading
        if find_spec("hdmf_zarr") is not None:
            ways[f"convert to Zarr, {count} processes"] = Way(
                "ours:convert_on_cluster", bench.report(), ".nwb.zarr", options
            )
    measured = bench.rounds().measure(ways)
    for what in dict.fromkeys(label.partition(",")[0] for label in ways):
        one, two, four = (f"{what}, {count} processes" for count in PROCESSES)
        claims += [
            compare(measured, label, label, one, at_least(goal))
            for label, goal in ((two, 1.5), (four, 1.2))
        ]
    title = f"A Dask cluster on one machine: {bench.size}"
    return Section(title, claims, [ways_table(measured)])
