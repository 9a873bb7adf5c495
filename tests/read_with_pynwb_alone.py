"""Read files with pynwb alone: an environment without this package proves it.

Run as ``python read_with_pynwb_alone.py DEMO.nwb CIRCUIT.nwb``, with a file of ``ndx-sim demo`` and
one of ``examples/make_circuit.py``, converted with ``--circuit --edges``.
"""

import importlib.util
import sys

from pynwb import NWBHDF5IO


def main(demo: str, circuit: str) -> None:
    if importlib.util.find_spec("ndx_simulation_output") is not None:
        sys.exit("ndx_simulation_output is installed here: this proves nothing")
    with NWBHDF5IO(demo, "r") as io:
        nwbfile = io.read()
        series = nwbfile.acquisition["v_exc"]
        table = series.compartments
        n_compartments = sum(len(number) for number in table["number"][:])
        if type(series).__name__ != "CompartmentSeries" or series.data.shape[1] != n_compartments:
            sys.exit(f"read {series} with {n_compartments} compartments")
        print(f"pynwb alone read {series.name} {series.data.shape} of {len(table)} cells")
    with NWBHDF5IO(circuit, "r") as io:
        nwbfile = io.read()
        described = nwbfile.lab_meta_data["simulation"].circuit
        cells = described.cell_populations["cortex"].to_dataframe()
        tables = [
            nwbfile.acquisition["v"].compartments.to_dataframe(),
            nwbfile.units.to_dataframe(),
        ]
        for frame, depth in ((cells, "y"), *((table, "soma_y") for table in tables)):
            depths = frame.groupby("layer")[depth].mean()
            if list(depths.index) != ["2/3", "4", "5", "6"] or not (depths.diff()[1:] < 0).all():
                sys.exit(f"read the layers at {depths}")
        edges = described.connections["thalamus_to_cortex"]
        if len(edges["source"][5]) != 3 or not 1e-3 < edges["delay"][5][0] < 3e-3:
            sys.exit(f"read {edges['source'][5]} with delays {edges['delay'][5]}")
        print(f"pynwb alone read {len(cells)} cells of layers {', '.join(depths.index)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
