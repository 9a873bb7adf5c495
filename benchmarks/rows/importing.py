"""Import this package, and run commands as whole processes, compared with pynwb and Python."""

import subprocess
import sys

from bench import Bench
from claims import Section, at_most, compare
from measuring import Way
from tables import ways_table

__all__ = ["measure"]

OURS, BOTH, PYNWB = "import ndx_simulation_output", "import it and pynwb", "import pynwb"
HELP, TAB, PASS = "ndx-sim --help", "TAB of ndx-sim convert --comp", "python -c pass"
INFO, OPENING = "ndx-sim info run.nwb", "pynwb opens run.nwb"
LISTING = "ndx-sim info of SONATA"
CONVERT, COPYING = "ndx-sim convert of the demo", "h5py and pynwb copy its reports"
COMMAND = "from ndx_simulation_output.cli import main; main(prog_name='ndx-sim')"
LINE = {"_NDX_SIM_COMPLETE": "bash_complete", "COMP_WORDS": "ndx-sim convert --comp"}
LINE |= {"COMP_CWORD": "2"}
MAKE_DEMO = """
import sys
from pathlib import Path
from ndx_simulation_output import convert, sonata
from ndx_simulation_output.cable import simulate
output = simulate()
sonata.write(output, Path(sys.argv[1]))
convert(output, sys.argv[2])
"""
OPEN_ALONE = """
import sys
from pynwb import NWBHDF5IO
with NWBHDF5IO(sys.argv[1], "r") as io:
    print(io.read())
"""
COPY_ALONE = """
import sys
from datetime import datetime, timezone
from pathlib import Path
import h5py
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
nwbfile = NWBFile("demo", "demo", datetime.now(timezone.utc))
for path in sorted(Path(sys.argv[1]).glob("*.h5")):
    with h5py.File(path) as file:
        for name, population in file.get("report", {}).items():
            data, name = population["data"][:], f"{path.stem}_{name}"
            nwbfile.add_acquisition(TimeSeries(name, data=data, unit="mV", rate=1e4))
with NWBHDF5IO(sys.argv[2], "w") as io:
    io.write(nwbfile)
"""


def measure(bench: Bench) -> Section:
    """Measure imports, and commands as whole processes, in new processes."""
    source, file = bench.scratch / "demo", bench.scratch / "demo.nwb"
    # If this fails, so do the commands, which is told in their rows. Code of ours.
    make = [sys.executable, "-W", "ignore", "-c", MAKE_DEMO, str(source), str(file)]
    subprocess.run(make, check=False, stderr=subprocess.DEVNULL)  # noqa: S603
    imports = {
        OURS: ["ndx_simulation_output"],
        BOTH: ["pynwb", "ndx_simulation_output"],
        PYNWB: ["pynwb"],
    }
    ours = ["-W", "ignore", "-c", COMMAND]
    runs = {
        HELP: [*ours, "--help"],
        TAB: ours,
        PASS: ["-c", "pass"],
        INFO: [*ours, "info", str(file)],
        LISTING: [*ours, "info", str(source)],
        OPENING: ["-c", OPEN_ALONE, str(file)],
        CONVERT: [*ours, "convert", str(source)],
        COPYING: ["-c", COPY_ALONE, str(source)],
    }
    ways = {
        label: Way("system:import_modules", options={"names": names})
        for label, names in imports.items()
    }
    ways |= {
        label: Way(
            "system:python",
            suffix=".nwb" if label in {CONVERT, COPYING} else "",
            options={
                "words": words,
                "settings": {**LINE, "COMP_CWORD": "2"} if words is ours else {},
            },
        )
        for label, words in runs.items()
    }
    measured = bench.rounds().measure(ways)
    goals = (
        (OURS, PYNWB, 1.08),
        (BOTH, PYNWB, 1.08),
        (HELP, PASS, 10),
        (TAB, PASS, 10),
        (INFO, OPENING, 1.5),
        (LISTING, OPENING, 1),
        (CONVERT, COPYING, 1.5),
    )
    claims = [compare(measured, one, one, other, at_most(goal)) for one, other, goal in goals]
    return Section("Imports and commands as whole processes", claims, [ways_table(measured)])
