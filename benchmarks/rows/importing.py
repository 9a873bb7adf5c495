"""Import this package, compared with pynwb."""

from bench import Bench
from claims import Section, at_most, compare
from measuring import Way
from tables import ways_table

__all__ = ["measure"]

OURS, PYNWB = "import ndx_simulation_output", "import pynwb"


def measure(bench: Bench) -> Section:
    """Measure both imports in new processes."""
    ways = {
        label: Way("system:import_module_of", options={"name": label.removeprefix("import ")})
        for label in (OURS, PYNWB)
    }
    measured = bench.rounds().measure(ways)
    claims = [compare(measured, OURS, OURS, PYNWB, at_most(1.2))]
    return Section("Import", claims, [ways_table(measured)])
