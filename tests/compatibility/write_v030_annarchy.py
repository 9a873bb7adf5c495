"""Write the golden files of ANNarchy with version 0.3.0, and what they must hold.

Run as ``python -m tests.compatibility.write_v030_annarchy`` with ANNarchy 5.0.3, once.
"""

import os
import tempfile
from datetime import datetime, timezone

from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import annarchy
from tests.compatibility.annarchy_network import DT, build, facts, plain
from tests.compatibility.packing import pack, write_expected

START = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
UNITS = {"n": "1", "x": "1", "s": "1", "v": "mV"}


def main() -> None:
    """Simulate, and save each kind of file."""
    network, monitors = build()
    network.simulate(20.0)
    metadata = {"NWBFile": {"session_start_time": START, "identifier": "annarchy_state"}}
    annarchy.save("annarchy_state.nwb", network, metadata=metadata)
    annarchy.save("annarchy_weights.nwb", network, populations=False, metadata=metadata)
    # A pickle of the whole network and a numpy archive of one projection, for ANNarchy itself.
    annarchy.save("annarchy_network.txt", network)
    annarchy.save("annarchy_network.npz", network)
    annarchy.save_parameters("annarchy_parameters.json", network, own={"seed": 11})

    nwbfile = NWBFile("monitors of ANNarchy", "annarchy_monitors", START)
    annarchy.add_recordings(nwbfile, list(monitors.values()), unit=UNITS)
    annarchy.add_state(nwbfile, network, name="at_20_ms")
    with NWBHDF5IO("annarchy_monitors.nwb", "w") as io:
        io.write(nwbfile)

    monitors["slow"].save("slow.hdf5", keep=True)
    nwbfile = NWBFile("saved monitors of ANNarchy", "annarchy_saved_monitors", START)
    annarchy.add_saved_recordings(
        nwbfile, "slow.hdf5", dt=DT, population="inh", period=1.5, start=0.5, unit={"n": "1"}
    )
    with NWBHDF5IO("annarchy_saved_monitors.nwb", "w") as io:
        io.write(nwbfile)

    recorded = {name: plain(one.get(keep=True, reshape=False)) for name, one in monitors.items()}
    write_expected("annarchy", {"network": facts(network), "monitors": recorded})
    kinds = ("state.nwb", "weights.nwb", "monitors.nwb", "saved_monitors.nwb")
    files = ("network.txt", "network.npz", "parameters.json")
    pack("annarchy", [f"annarchy_{name}" for name in (*kinds, *files)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        main()
