"""Read the traces of selected compartments and cells from an NWB file."""

from pathlib import Path

from pynwb import NWBHDF5IO

import ndx_simulation_output  # noqa: F401 - gives pynwb the types
from ndx_simulation_output.demo import run_demo

# Stand-in for your file: run.nwb of the demo.
for line in run_demo(Path("demo")):
    print(line)

with NWBHDF5IO("demo/run.nwb", "r") as io:
    series = io.read().acquisition["v_exc"]

    # Somata are section 0. Only the selected columns of 500 rows are read.
    somata = series.get_traces(cells=[3, 0], numbers=0, start=0.1, stop=0.15)
    print(f"two somata: {somata.shape}, {somata.min():.3f} to {somata.max():.3f} {series.unit}")

    frame = series.to_dataframe(cells=3, start=0.1, stop=0.15, step=100)
    print(frame.xs(1, axis="columns", level="number"))
