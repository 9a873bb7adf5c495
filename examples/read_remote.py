"""Read the traces of one cell from an NWB file on a server without downloading the file."""

import sys
from pathlib import Path

import fsspec

from ndx_simulation_output import open_output
from ndx_simulation_output.demo import run_demo


def stand_in() -> str:
    """Store run.nwb of the demo in the memory file system of fsspec, in place of a server."""
    for line in run_demo(Path("demo")):
        print(line)
    fsspec.filesystem("memory").put("demo/run.nwb", "/run.nwb")
    return "memory://run.nwb"


url = sys.argv[1] if len(sys.argv) > 1 else stand_in()

with open_output(url) as output:
    for report in output.reports:
        cell = int(report.compartments.cell_ids[0])
        traces = report.get_traces(cells=cell)
        print(f"{report.name}: traces of cell {cell}, shape {traces.shape}")
