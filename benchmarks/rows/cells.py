"""Large tables of cells: write one, and open a file that has one."""

from bench import Bench
from claims import Section, at_most, compare
from measuring import Way, run_once
from tables import ways_table

__all__ = ["measure_opening", "measure_writing"]

CELLS, COMPARTMENTS, FRAMES = 1_000_000, 10, 3
WRITE, ARRAYS = "Compartments.from_arrays and NWBHDF5IO", "h5py, the same arrays"
NOTHING = "NWBHDF5IO, a file without a table"
OTHER = "pynwb's DynamicTable, the same arrays"
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


def _size(bench: Bench) -> str:
    cells = bench.scaled(CELLS)
    return f"{cells:,} cells, {cells * COMPARTMENTS:,} compartments"
