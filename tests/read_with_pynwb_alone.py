"""Read a file of ``ndx-sim demo`` with pynwb alone: an environment without this package proves it.

Run as ``python read_with_pynwb_alone.py FILE.nwb``.
"""

import importlib.util
import sys

from pynwb import NWBHDF5IO


def main(path: str) -> None:
    if importlib.util.find_spec("ndx_simulation_output") is not None:
        sys.exit("ndx_simulation_output is installed here: this proves nothing")
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        series = nwbfile.acquisition["v_exc"]
        table = series.compartments
        n_compartments = sum(len(number) for number in table["number"][:])
        if type(series).__name__ != "CompartmentSeries" or series.data.shape[1] != n_compartments:
            sys.exit(f"read {series} with {n_compartments} compartments")
        print(f"pynwb alone read {series.name} {series.data.shape} of {len(table)} cells")


if __name__ == "__main__":
    main(sys.argv[1])
