"""Save camera frames one at a time, compared with PyMoDAQ's own saver."""

from dataclasses import replace

from bench import Bench
from claims import Claim, Section, at_most, compare
from environments import PYMODAQ
from measuring import Measured, Way
from tables import ways_table

__all__ = ["measure"]

TITLE = "Continuous saving: uint16 camera frames, each with a power and a time"
SIZES = {"frames of 64 × 64": ((64, 64), 500), "frames of 512 × 512": ((512, 512), 20)}
"""Shape of a frame, and how many are saved."""
ROUNDS = 2  # PyMoDAQ takes seconds for a compressed frame of the larger ones
LEVEL = 5


def measure(bench: Bench) -> Section:
    """Measure frames of both sizes, and the larger ones compressed."""
    claims: list[Claim] = []
    notes: list[str] = []
    for what, (shape, steps) in SIZES.items():
        for level in (0, LEVEL):
            found, note = _measure(bench, what, shape, bench.scaled(steps), level)
            claims += found
            notes.append(note)
    return Section(TITLE, claims, notes)


def _measure(
    bench: Bench, what: str, shape: tuple[int, ...], steps: int, level: int
) -> tuple[list[Claim], str]:
    told = f"{steps:,} {what}" + (f", gzip {level}" if level else "")
    ours, other = f"DataToExportTimedSaver: {told}", f"pymodaq_data 5.3: {told}"
    options = {"shape": shape, "steps": steps, "level": level}
    way = Way("saving:save", suffix=".nwb", options=options, rounds=ROUNDS)
    ways = {
        ours: way,
        other: replace(
            way, work="pymodaq_saving:save", suffix=".h5", python=bench.python_of(PYMODAQ)
        ),
    }
    measured = bench.rounds().measure(ways)
    claims = [
        compare(measured, ours, ours, other, at_most(1)),
        _size_claim(measured, f"size: {told}", ours, other),
    ]
    return claims, ways_table(measured)


def _size_claim(measured: Measured, what: str, ours: str, other: str) -> Claim:
    sizes = [
        [run.written_bytes / 1e6 for run in measured.runs[label][:1]] for label in (ours, other)
    ]
    return Claim(what, other, at_most(1), *sizes, "MB", measured.problem(ours, other))
