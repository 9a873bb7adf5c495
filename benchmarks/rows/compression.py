"""Convert a report compressed, and read all of it back."""

import h5py
from asking import Answerer
from bench import Bench
from claims import Claim, Section, at_least, at_most, compare
from inputs.reports import check_same_values
from measuring import Measured, Way
from tables import ways_table

from rows.questions import WARM, check_equal

__all__ = ["measure", "measure_reading"]

OURS = "convert, gzip, 2 workers"
H5PY = "h5py shuffle + gzip-4"
H5PY_ROUNDS = 2  # it takes half a minute
READ = "get_traces, 20 cells at a time"
BANDS = "h5py bands of whole chunks"


def measure(bench: Bench) -> Section:
    """Measure compressed conversion, compared with HDF5's filters and the same chunks."""
    source = bench.report()
    with h5py.File(bench.converted("gzip")) as file:
        (series,) = file["acquisition"].values()
        chunks = series["data"].chunks
    h5py_way = Way("plain:copy_compressed", source, ".h5", {"chunks": chunks}, rounds=H5PY_ROUNDS)
    ours = Way("ours:convert", source, ".nwb", {"compression": "gzip", "workers": 2})
    rounds = bench.rounds(source.stat().st_size, check_same_values)
    measured = rounds.measure({OURS: ours, H5PY: h5py_way})
    claims = [compare(measured, OURS, OURS, H5PY, at_least(10)), _size_claim(measured)]
    title = f"Conversion, compressed: {bench.size}, chunks {chunks[0]} × {chunks[1]}"
    return Section(title, claims, [ways_table(measured)])


def _size_claim(measured: Measured) -> Claim:
    """Claim that the file is hardly larger."""
    sizes = [
        [run.written_bytes / 1e6 for run in measured.runs[label][:1]] for label in (OURS, H5PY)
    ]
    problem = measured.problem(OURS, H5PY)
    return Claim("size of the file", H5PY, at_most(1.02), *sizes, "MB", problem)


def measure_reading(bench: Bench) -> Section:
    """Measure reading all of the compressed file, opened before."""
    source = bench.converted("gzip")
    many = next(WARM[-1].queries(bench))
    with (
        Answerer("reading:ours", source) as ours,
        Answerer("reading:mapped", bench.report()) as mapped,
    ):
        check_equal(bench.scratch, ours, mapped, many)
    cell_bytes = bench.size.data_bytes // bench.size.cells
    options = {"cells": bench.size.cells, "cell_bytes": cell_bytes}
    ways = {
        READ: Way("ours:read_all", source, options=options),
        BANDS: Way("plain:read_chunk_bands", source),
    }
    measured = bench.rounds().measure(ways)
    claims = [compare(measured, "read all of it", READ, BANDS, at_least(3))]
    title = f"Reading a compressed file: {bench.size}"
    return Section(title, claims, [ways_table(measured)])
