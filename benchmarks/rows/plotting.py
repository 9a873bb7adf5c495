"""Plot a million cells and a long trace, compared with time limits for interactive use."""

from importlib.util import find_spec

from bench import Bench
from claims import Claim, Section, at_most
from measuring import Measured, Way
from tables import ways_table

__all__ = ["measure"]

CELLS, FRAMES, SPIKES, SAMPLES = 1_000_000, 400, 10_000_000, 10_000_000
OPEN, LONG = "open", "long trace"
BOUNDS = {OPEN: 10, "trace": 2, LONG: 2, "raster": 3, "rates": 3, "heat map": 4, "neuron in 3-D": 5}
KINDS = {"trace": "traces", "raster": "raster", "rates": "rates", "heat map": "heat"}


def measure(bench: Bench) -> Section:
    """Measure opening the file and each picture of it."""
    # It needs this package, which a process that measures an import must not have.
    from inputs.million import write_long, write_network

    cells, spikes = bench.scaled(CELLS), bench.scaled(SPIKES)
    samples = bench.scaled(SAMPLES)
    title = f"Plots: {cells:,} cells × {FRAMES} times, {spikes:,} spikes; {samples:,} samples"
    if find_spec("matplotlib") is None:
        problem = "not measured: matplotlib is not installed"
        return Section(title, [_claim(what, Measured(), problem) for what in BOUNDS])
    network = bench.made("million.nwb", lambda path: write_network(path, cells, FRAMES, spikes))
    long = bench.made("long.nwb", lambda path: write_long(path, samples))
    ways = {OPEN: Way("plotting:open_file", network)}
    ways |= {
        what: Way("plotting:draw", network, options={"kind": kind}) for what, kind in KINDS.items()
    }
    ways["neuron in 3-D"] = Way("plotting:draw", network, options={"kind": "neuron"})
    ways[LONG] = Way("plotting:draw", long, options={"kind": "traces"})
    measured = bench.rounds().measure(ways)
    return Section(title, [_claim(what, measured) for what in BOUNDS], [ways_table(measured)])


def _claim(what: str, measured: Measured, problem: str = "") -> Claim:
    problem = problem or measured.problem(what)
    seconds = [run.seconds for run in measured.runs.get(what, ())]
    bound = BOUNDS[what]
    bounds = [float(bound)] * len(seconds)
    return Claim(what, f"limit of {bound} s", at_most(1), seconds, bounds, problem=problem)
