"""Save and load the state of a network, compared with ANNarchy's own files."""

from bench import Bench
from claims import Claim, Section, at_most, compare, compare_memory
from measuring import Measured, Way, run_once
from tables import ways_table

__all__ = ["measure"]

SYNAPSES, MANY_SYNAPSES = 1_000_000, 10_000_000
MANY_ROUNDS = 1  # some take minutes
CONTAINERS = {"NWB": ("nwb", ".nwb"), ".npz": ("npz", ".npz"), ".gz": ("gzip", ".gz")}
CONTAINERS |= {".txt": ("pickle", ".txt")}
BEHIND = (".npz", ".gz")


def measure(bench: Bench) -> Section:
    """Measure a million synapses, and ten million if a larger report is requested."""
    synapses, many = bench.scaled(SYNAPSES), bench.scaled(MANY_SYNAPSES)
    saved, loaded = _measured(bench, synapses, None)
    claims = [_compared(saved, "save", other) for other in BEHIND]
    claims += [_sized(saved, other) for other in BEHIND]
    claims += [
        compare_memory(saved, "save as NWB", f"save as {other}", at_most(1)) for other in BEHIND
    ]
    claims += [_compared(loaded, "load", other) for other in BEHIND]
    claims += [
        compare_memory(loaded, "load as NWB", f"load as {other}", at_most(1)) for other in BEHIND
    ]
    notes = [ways_table(saved), ways_table(loaded)]
    # It takes half an hour.
    for measured in _measured(bench, many, MANY_ROUNDS) if bench.big else ():
        notes += [f"{many:,} synapses:", ways_table(measured)]
    title = f"The state of a network: {synapses:,} synapses, 3 variables and delays"
    return Section(title, claims, notes)


def _measured(bench: Bench, synapses: int, rounds: int | None) -> tuple[Measured, Measured]:
    options = {"synapses": synapses}
    saving = {
        f"save as {name}": Way(f"states:save_{way}", suffix=suffix, options=options, rounds=rounds)
        for name, (way, suffix) in CONTAINERS.items()
    }
    loading = {f"load as {name}": _loading(bench, name, synapses, rounds) for name in CONTAINERS}
    # As many bytes as the arrays that are made of the lists have.
    spare = 8 * 8 * synapses
    return bench.rounds(spare).measure(saving), bench.rounds(spare).measure(loading)


def _loading(bench: Bench, name: str, synapses: int, rounds: int | None) -> Way:
    way, suffix = CONTAINERS[name]
    making = Way(f"states:save_{way}", options={"synapses": synapses})
    source = bench.made(
        f"state_{synapses}{suffix}", lambda path: run_once(making, path, bench.scratch)
    )
    return Way(f"states:load_{way}", source, rounds=rounds)


def _compared(measured: Measured, what: str, other: str) -> Claim:
    ours, theirs = f"{what} as NWB", f"{what} as {other}"
    return compare(measured, ours, ours, theirs, at_most(1))


def _sized(measured: Measured, other: str) -> Claim:
    labels = ("save as NWB", f"save as {other}")
    sizes = [[run.written_bytes / 1e6 for run in measured.runs[label][:1]] for label in labels]
    return Claim("size of the file", labels[1], at_most(1), *sizes, "MB", measured.problem(*labels))
