"""Convert the SONATA files of a run to a Zarr store, and read it with zarr alone."""

from pathlib import Path

import zarr

from ndx_simulation_output import convert, open_output, sonata
from ndx_simulation_output.cable import simulate

# Stand-in for your simulation: a directory of SONATA files.
sonata.write(simulate(duration=0.05), Path("output"), dialect="bbp")

METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
converted = convert("output", "run.nwb.zarr", metadata=METADATA)

with open_output(converted.path) as output:
    somata = output["v_exc"].get_traces(cells=[3, 0], numbers=0, start=0.01, stop=0.02)
    print(f"two somata: {somata.shape}, {somata.min():.3f} to {somata.max():.3f} volts")

data = zarr.open(str(converted.path), mode="r")["acquisition/v_exc/data"]
print(f"{data.shape[0]} times × {data.shape[1]} compartments in chunks of {data.chunks}")
