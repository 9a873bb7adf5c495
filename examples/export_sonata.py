"""Export an NWB file to SONATA files for bmtk or libsonata."""

from pathlib import Path

from ndx_simulation_output import export_sonata
from ndx_simulation_output.demo import run_demo

# Stand-in for your file: run.nwb of the demo.
for line in run_demo(Path("demo")):
    print(line)

for dialect in ("bbp", "allen"):
    written = export_sonata("demo/run.nwb", f"sonata-{dialect}", dialect=dialect)
    print(f"{dialect}: wrote {', '.join(path.name for path in written.files)}")
    for what in written.left_out:
        print(f"{dialect}: SONATA cannot say: {what}")
