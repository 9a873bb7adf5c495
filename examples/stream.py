"""Write a file while a simulation runs, one time step at a time."""

import numpy as np

from ndx_simulation_output import open_output
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import CompartmentTable, Run, Spikes, StreamedReport, Unit

CELLS, STEP, STEPS = 50, 1e-4, 2000
METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}

# Each cell has one compartment, its soma.
table = CompartmentTable.from_counts(
    "exc",
    cell_ids=np.arange(CELLS),
    counts=np.ones(CELLS, int),
    columns={"number": np.zeros(CELLS, int)},
)
reports = [
    StreamedReport("v", table, rate=1 / STEP, unit=Unit("volts", 1e-3), steps=STEPS),
    StreamedReport("current", table, rate=0.1 / STEP, unit=Unit("amperes", 1e-9)),
]
run = Run(simulator="leaky integrators", time_step=STEP, duration=STEPS * STEP)

random = np.random.default_rng(0)
v = np.full(CELLS, -65.0)
with stream("run.nwb", reports, run=run, metadata=METADATA, overwrite=True) as file:
    for step in range(STEPS):
        current = random.normal(0.4, 2.0, CELLS)
        v += STEP / 0.01 * (-65.0 - v + 40 * current)
        spiking = np.flatnonzero(v > -45.0)
        file.append("v", v)
        if step % 10 == 0:
            file.append("current", current)
        if len(spiking):
            file.add_spikes(Spikes("exc", spiking, np.full(len(spiking), step * STEP)))
            v[spiking] = -65.0
        if step % 1000 == 0:
            file.flush()  # the data so far can be read from file.path

with open_output("run.nwb") as output:
    for report in output.reports:
        print(f"{report.name}: {report.data.shape[0]} times × {len(report.compartments)} cells")
    print(f"{len(output.spikes[0].times)} spikes")
