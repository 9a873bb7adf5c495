"""Plot and view a million cells, compared with time limits for interactive use."""

from importlib.util import find_spec

from bench import Bench
from claims import Claim, Section, at_most
from measuring import Measured, Way
from tables import ways_table

__all__ = ["measure", "measure_viewer"]

CELLS, FRAMES, SPIKES, SAMPLES = 1_000_000, 400, 10_000_000, 10_000_000
OPEN, LONG = "open", "long trace"
BOUNDS = {OPEN: 10.0, "trace": 2.0, LONG: 2.0, "raster": 3.0, "rates": 3.0, "heat map": 4.0}
BOUNDS |= {"neuron in 3-D": 5.0}
FIRST = "open and first picture"
VIEWED = {FIRST: 3.0, "zoom": 0.5, "whole run": 0.5, "pick a cell": 0.5}
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
        return Section(title, [_claim(what, Measured(), BOUNDS, problem) for what in BOUNDS])
    network = bench.made("million.nwb", lambda path: write_network(path, cells, FRAMES, spikes))
    long = bench.made("long.nwb", lambda path: write_long(path, samples))
    ways = {OPEN: Way("plotting:open_file", network)}
    ways |= {
        what: Way("plotting:draw", network, options={"kind": kind}) for what, kind in KINDS.items()
    }
    ways["neuron in 3-D"] = Way("plotting:draw", network, options={"kind": "neuron"})
    ways[LONG] = Way("plotting:draw", long, options={"kind": "traces"})
    measured = bench.rounds().measure(ways)
    return Section(
        title, [_claim(what, measured, BOUNDS) for what in BOUNDS], [ways_table(measured)]
    )


def measure_viewer(bench: Bench) -> Section:
    """Measure the first screen of the page, and changes of it."""
    from inputs.million import write_network

    cells, spikes = bench.scaled(CELLS), bench.scaled(SPIKES)
    title = f"The viewer: {cells:,} cells × {FRAMES} times, {spikes:,} spikes"
    if find_spec("bokeh") is None:
        problem = "not measured: Bokeh is not installed"
        return Section(title, [_claim(what, Measured(), VIEWED, problem) for what in VIEWED])
    network = bench.made("million.nwb", lambda path: write_network(path, cells, FRAMES, spikes))
    ways = {what: Way("viewing:change", network, options={"what": what}) for what in VIEWED}
    ways[FIRST] = Way("viewing:first_picture", network)
    measured = bench.rounds().measure(ways)
    claims = [_claim(what, measured, VIEWED) for what in VIEWED]
    return Section(title, claims, [ways_table(measured)])


def _claim(what: str, measured: Measured, limits: dict[str, float], problem: str = "") -> Claim:
    problem = problem or measured.problem(what)
    seconds = [run.seconds for run in measured.runs.get(what, ())]
    bound = limits[what]
    bounds = [bound] * len(seconds)
    return Claim(what, f"limit of {bound:g} s", at_most(1), seconds, bounds, problem=problem)
