"""Many cells: their tables, reports of very many columns, and many spikes."""

from pathlib import Path

from bench import Bench
from claims import Claim, Section, at_most, compare
from inputs.cells import write_wide_report
from inputs.reports import write_report
from inputs.size import Size
from inputs.spikes import write_spikes
from measuring import Measured, Way, run_once
from tables import ways_table

__all__ = ["measure_many", "measure_opening", "measure_wide", "measure_writing"]

CELLS, COMPARTMENTS, FRAMES = 1_000_000, 10, 3
WRITE, ARRAYS = "Compartments.from_arrays and NWBHDF5IO", "h5py, the same arrays"
NOTHING = "NWBHDF5IO, a file without a table"
OTHER = "pynwb's DynamicTable, the same arrays"
COLUMNS, WIDE_FRAMES = 50_000_000, 4
SPIKES, MANY_MB = 20_000_000, 300
INFO, EXPORT = "info", "export"
LIMITS = {"convert": 10.0, INFO: 2.0, EXPORT: 10.0}
CONVERT, READ, READ_NWB = "convert", "open and read, SONATA", "open and read, NWB"
OPEN, EMPTY = "NWBHDF5IO and one cell", "pynwb, an empty file"


def measure_writing(bench: Bench) -> Section:
    """Measure writing a large table, compared with its arrays alone."""
    options = {"cells": bench.scaled(CELLS), "compartments": COMPARTMENTS}
    ways = {
        WRITE: Way("ours:write_table", suffix=".nwb", options=options),
        ARRAYS: Way("plain:write_arrays", suffix=".h5", options=options),
        NOTHING: Way("pynwb_alone:write_empty", suffix=".nwb"),
        OTHER: Way("pynwb_alone:write_table", suffix=".nwb", options=options),
    }
    measured = bench.rounds().measure(ways)
    claims = [compare(measured, f"write {_size(bench)}", WRITE, ARRAYS, at_most(2))]
    return Section(f"A large table: {_size(bench)}", claims, [ways_table(measured)])


def measure_opening(bench: Bench) -> Section:
    """Measure opening a file of many cells and selecting one."""
    cells = bench.scaled(CELLS)
    options = {"cells": cells, "compartments": COMPARTMENTS, "frames": FRAMES}
    large, empty = Way("ours:write_recording", options=options), Way("pynwb_alone:write_empty")
    source = bench.made("large.nwb", lambda path: run_once(large, path, bench.scratch))
    nothing = bench.made("empty.nwb", lambda path: run_once(empty, path, bench.scratch))
    ways = {
        OPEN: Way("ours:open_cell", source, options={"cell": cells * 2 // 3}),
        EMPTY: Way("pynwb_alone:open_file", nothing),
    }
    measured = bench.rounds().measure(ways)
    claims = [compare(measured, "open and read one cell", OPEN, EMPTY, at_most(1.8))]
    title = f"Opening a file of {_size(bench)} and {FRAMES} frames"
    return Section(title, claims, [ways_table(measured)])


def measure_wide(bench: Bench) -> Section:
    """Measure the memory for a recording of very many columns and few frames."""
    columns = bench.scaled(COLUMNS)
    source = bench.made("wide.h5", lambda path: write_wide_report(path, columns, WIDE_FRAMES))
    convert, options = Way("ours:convert", source, ".nwb"), {"cell": columns * 2 // 3}
    stored = bench.made("wide.nwb", lambda path: run_once(convert, path, bench.scratch))
    ways = {
        CONVERT: convert,
        READ: Way("ours:read_wide", source, options=options),
        READ_NWB: Way("ours:read_wide", stored, options=options),
    }
    measured = bench.rounds().measure(ways)
    size = columns * WIDE_FRAMES * 4
    claims = [_bounded(measured, name, size) for name in ways]
    title = f"Very many columns: {columns:,} cells of one compartment, {WIDE_FRAMES} frames"
    return Section(title, claims, [ways_table(measured)])


def measure_many(bench: Bench) -> Section:
    """Measure converting, listing and exporting a run of many cells, compared with limits."""
    cells, spikes = bench.scaled(CELLS), bench.scaled(SPIKES)

    def make(path: Path) -> None:
        path.mkdir()
        write_report(path / "v.h5", Size(cells, COMPARTMENTS, FRAMES))
        write_spikes(path / "spikes.h5", cells, spikes)

    source = bench.made("many", make)
    convert = Way("ours:convert", source, ".nwb")
    stored = bench.made("many.nwb", lambda path: run_once(convert, path, bench.scratch))
    ways = {
        CONVERT: convert,
        INFO: Way("ours:list_contents", stored),
        EXPORT: Way("ours:export", stored, ".sonata"),
    }
    measured = bench.rounds().measure(ways)
    claims = []
    for name, limit in LIMITS.items():
        seconds = [run.seconds for run in measured.runs.get(name, ())]
        limits = [limit] * len(seconds)
        problem = measured.problem(name)
        claims.append(
            Claim(name, f"limit of {limit:g} s", at_most(1), seconds, limits, problem=problem)
        )
    claims += [_bounded(measured, name, MANY_MB * 10**6, f"limit of {MANY_MB} MB") for name in ways]
    title = f"A large run: {_size(bench)}, {FRAMES} frames; {spikes:,} spikes in the order of time"
    return Section(title, claims, [ways_table(measured)])


def _bounded(measured: Measured, name: str, size: int, other: str = "size of the data") -> Claim:
    problem = measured.problem(name)
    if not problem and name not in measured.peaks:
        problem = "not measured: not available on this system"
    peak = [measured.peaks.get(name, 0) / 1e6]
    return Claim(f"memory of {name}", other, at_most(1), peak, [size / 1e6], "MB", problem)


def _size(bench: Bench) -> str:
    cells = bench.scaled(CELLS)
    return f"{cells:,} cells, {cells * COMPARTMENTS:,} compartments"
