"""Record a running NEURON model, compared with NEURON's own vectors and the simulation alone."""

from importlib.util import find_spec

from bench import Bench
from claims import Claim, Section, at_most, compare, compare_memory
from measuring import Way
from tables import ways_table

__all__ = ["measure"]

TITLE = "Recording a NEURON model, float32, each time step"
SIZES = {10_000: 1000, 100_000: 100}
"""Segments, and time steps: as many values in both."""
SLOW_ROUNDS = 1
"""For 100,000 vectors, which take minutes to set up."""


def measure(bench: Bench) -> Section:
    """Measure two models of different size."""
    if find_spec("neuron") is None:
        problem = "not measured: NEURON is not installed"
        return Section(TITLE, [Claim("record", "Vector.record", at_most(1), problem=problem)])
    claims: list[Claim] = []
    notes: list[str] = []
    for segments, steps in SIZES.items():
        found, note = _measure(bench, bench.scaled(segments), steps, is_slow=segments > 20_000)
        claims += found
        notes.append(note)
    return Section(TITLE, claims, notes)


def _measure(bench: Bench, segments: int, steps: int, *, is_slow: bool) -> tuple[list[Claim], str]:
    size = f"{segments:,} segments, {steps:,} steps"
    ours, vectors = f"record: {size}", f"Vector.record, then h5py: {size}"
    options = {"segments": segments, "steps": steps}
    rounds = SLOW_ROUNDS if is_slow else None
    ways = {
        f"simulation alone: {size}": Way("neuron_running:bare", options=options),
        ours: Way("neuron_running:recorded", suffix=".nwb", options=options),
        vectors: Way("neuron_running:with_vectors", suffix=".h5", options=options, rounds=rounds),
    }
    measured = bench.rounds().measure(ways)
    claims = [
        compare(measured, ours, ours, vectors, at_most(1)),
        compare_memory(measured, ours, vectors, at_most(1)),
    ]
    return claims, ways_table(measured)
