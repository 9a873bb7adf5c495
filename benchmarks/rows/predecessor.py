"""Convert reports and spikes, compared with version 0.2.6 of this package."""

from pathlib import Path

from bench import Bench
from claims import Section, at_least, at_most, compare, compare_memory
from environments import PREDECESSOR
from inputs.reports import check_same_values, write_allen_twin
from inputs.spikes import check_count, write_spikes
from measuring import Way
from tables import ways_table

__all__ = ["measure_reports", "measure_spikes"]

OURS, OLD = "convert", "0.2.6 sonata2nwb"
ROUNDS = 2  # it takes ten seconds, and half a minute
SPIKES, CELLS = 2_000_000, 10_000


def measure_reports(bench: Bench) -> Section:
    """Measure both on a report of the dialect that the predecessor reads."""
    source = bench.scratch / "voltage_allen.h5"
    report = bench.report()
    bench.tell(f"making {source.name}")
    write_allen_twin(source, report, bench.size)
    ways = {
        OURS: Way("ours:convert", source, ".nwb"),
        OLD: _old(bench, source),
    }
    # The predecessor holds the whole recording in memory and writes it from there.
    measured = bench.rounds(2 * source.stat().st_size, check_same_values).measure(ways)
    source.unlink()
    claims = [
        compare(measured, OURS, OURS, OLD, at_least(12)),
        compare_memory(measured, OURS, OLD, at_most(1 / 6)),
    ]
    title = f"Conversion compared with the predecessor: {bench.size}"
    return Section(title, claims, [ways_table(measured)])


def measure_spikes(bench: Bench) -> Section:
    """Measure both on spikes of many cells."""
    spikes, cells = bench.scaled(SPIKES), bench.scaled(CELLS)
    source = bench.made("spikes.h5", lambda path: write_spikes(path, cells, spikes))
    ways = {
        OURS: Way("ours:convert", source, ".nwb"),
        OLD: _old(bench, source),
    }
    measured = bench.rounds(check=check_count).measure(ways)
    claims = [compare(measured, f"{OURS} of spikes", OURS, OLD, at_least(30))]
    title = f"Spikes: {spikes:,} of {cells:,} cells"
    return Section(title, claims, [ways_table(measured)])


def _old(bench: Bench, source: Path) -> Way:
    python = bench.python_of(PREDECESSOR)
    return Way("predecessor:convert", source, ".nwb", python=python, rounds=ROUNDS)
