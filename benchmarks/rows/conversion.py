"""Convert a report uncompressed, or link to it, compared with plain copies."""

from dataclasses import replace

from bench import Bench
from claims import Claim, Section, at_most, compare
from inputs.reports import check_same_values, write_report
from inputs.size import Size
from measuring import Measured, Way
from tables import ways_table

__all__ = ["measure"]

OURS = "convert, 2 workers"
LINK = "convert, link"
COPY = "h5py block copy"
BOUND_MEGABYTES = 200
LIMIT_ROUNDS = 3


def measure(bench: Bench) -> Section:
    """Measure conversion, copies and raw reads and writes of one report."""
    source = bench.report()
    ways = {
        "write blocks": Way("system:write_blocks", source, ".raw", rounds=LIMIT_ROUNDS),
        "read blocks": Way("system:read_blocks", source, rounds=LIMIT_ROUNDS),
        "cp": Way("system:cp", source, ".h5"),
        COPY: Way("plain:copy", source, ".h5"),
        OURS: Way("ours:convert", source, ".nwb", {"workers": 2}),
        LINK: Way("ours:convert", source, ".nwb", {"link": True}),
    }
    rounds = bench.rounds(source.stat().st_size, check_same_values)
    measured = rounds.measure(ways)
    claims = [
        compare(measured, OURS, OURS, COPY, at_most(0.65)),
        compare(measured, OURS, OURS, "cp", at_most(0.95)),
        compare(measured, LINK, LINK, "cp", at_most(1 / 3)),
        *_memory_claims(bench, measured),
    ]
    title = f"Conversion, uncompressed: {bench.size}"
    return Section(title, claims, [ways_table(measured)])


def _memory_claims(bench: Bench, measured: Measured) -> list[Claim]:
    """Claim that memory is bounded, whatever the size."""
    small, problem = _peak(measured)
    claims = [_bounded(f"memory of {OURS}", small, problem)]
    if bench.big is not None:
        size = Size.of(bench.big)
        big, problem = _peak(_measure_big(bench, size))
        what = f"memory of {OURS}: {size}"
        given = [big], [small]
        claims.append(_bounded(what, big, problem))
        claims.append(Claim(what, str(bench.size), at_most(1.1), *given, "MB", problem))
    return claims


def _bounded(what: str, megabytes: float, problem: str) -> Claim:
    bound = f"limit of {BOUND_MEGABYTES} MB"
    return Claim(what, bound, at_most(1), [megabytes], [BOUND_MEGABYTES], "MB", problem)


def _measure_big(bench: Bench, size: Size) -> Measured:
    """Convert a larger report once, for its memory; its time depends on the disk."""
    source = bench.scratch / "big.h5"
    bench.tell(f"writing a report of {size}")
    write_report(source, size)
    ways = {OURS: Way("ours:convert", source, ".nwb", {"workers": 2}, rounds=1)}
    try:
        return replace(bench.rounds(), count=1).measure(ways)
    finally:
        source.unlink()


def _peak(measured: Measured) -> tuple[float, str]:
    """Return the peak memory of our conversion in MB, and why it is unknown."""
    problem = measured.problem(OURS)
    if not problem and OURS not in measured.peaks:
        problem = "not measured: not available on this system"
    return measured.peaks.get(OURS, 0) / 1e6, problem
