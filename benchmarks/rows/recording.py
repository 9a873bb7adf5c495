"""Record a running NEURON model, compared with NEURON's own vectors and the simulation alone."""

from importlib.util import find_spec

from bench import Bench
from claims import Claim, Section, at_most, compare, compare_memory
from measuring import Way
from tables import ways_table

__all__ = ["measure"]

TITLE = "Recording a NEURON model, float32, each time step"
MODELS = ((10_000, 4000, "hh"), (10_000, 1000, "pas"), (100_000, 100, "pas"))
"""Segments, time steps, and the mechanism of the dendrites.

The run alone has a goal only where reading the values takes less time than that.
"""
SLOW_ROUNDS = 1
"""For 100,000 vectors, which take minutes to set up."""


def measure(bench: Bench) -> Section:
    """Measure models of different size and mechanisms."""
    if find_spec("neuron") is None:
        problem = "not measured: NEURON is not installed"
        return Section(TITLE, [Claim("record", "Vector.record", at_most(1), problem=problem)])
    claims: list[Claim] = []
    notes: list[str] = []
    for segments, steps, mechanism in MODELS:
        is_slow = segments > 20_000
        found, note = _measure(bench, bench.scaled(segments), steps, mechanism, is_slow=is_slow)
        claims += found
        notes.append(note)
    return Section(TITLE, claims, notes)


def _measure(
    bench: Bench, segments: int, steps: int, mechanism: str, *, is_slow: bool
) -> tuple[list[Claim], str]:
    size = f"{segments:,} segments with {mechanism}, {steps:,} steps"
    bare, read, ours, vectors = (
        f"{what}: {size}"
        for what in (
            "simulation alone",
            "simulation and PtrVector",
            "record",
            "Vector.record, then h5py",
        )
    )
    options = {"segments": segments, "steps": steps, "mechanism": mechanism}
    rounds = SLOW_ROUNDS if is_slow else None
    ways = {
        bare: Way("neuron_running:bare", options=options),
        read: Way("neuron_running:read", options=options),
        ours: Way("neuron_running:recorded", suffix=".nwb", options=options),
        vectors: Way("neuron_running:with_vectors", suffix=".h5", options=options, rounds=rounds),
    }
    measured = bench.rounds().measure(ways)
    limits = [compare(measured, ours, ours, bare, at_most(1.3))] if mechanism == "hh" else []
    claims = [
        *limits,
        compare(measured, ours, ours, vectors, at_most(1)),
        compare_memory(measured, ours, vectors, at_most(1)),
    ]
    return claims, ways_table(measured)
