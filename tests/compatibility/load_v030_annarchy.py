"""Load golden files of ANNarchy into a network: ``load_v030_annarchy.py DIRECTORY``.

It says in JSON what the network then has, for each file. The network is compiled in the working
directory.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ndx_simulation_output import annarchy
from tests.compatibility.annarchy_network import build, facts

FILES = {
    "annarchy_state.nwb": {},
    "annarchy_monitors.nwb": {"state": "at_20_ms"},
    "annarchy_network.npz": {},
    "annarchy_network.txt": {},
    "annarchy_weights.nwb": {"populations": False},
}


def spoil(network: Any) -> None:
    """Make every value of the network another one."""
    network.simulate(7.0)
    for population in network.get_populations():
        population.set({"tau": 3.0, "I": 1.0, "k": 7, "gate": False, "v": 3.25})


def main(directory: Path) -> None:
    """Load each file, and the parameters."""
    network, monitors = build(directory / "annarchy_state.nwb")
    found: dict[str, Any] = {}
    for name, options in FILES.items():
        spoil(network)
        for monitor in monitors.values():
            monitor.get()
        restored = annarchy.load(directory / name, network, **options)
        found[name] = {
            "facts": facts(network),
            "missing": restored.missing,
            "skipped": restored.skipped,
            "notes": restored.notes,
        }
    spoil(network)
    own = annarchy.load_parameters(directory / "annarchy_parameters.json", network)
    taus = [population.tau for population in network.get_populations()]
    found["parameters"] = {"own": own, "tau": taus}
    print("found:", json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
