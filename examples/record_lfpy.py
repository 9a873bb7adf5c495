"""Record membrane currents while LFPy runs a cell, and compute the LFP again from the NWB file."""

from pathlib import Path

import numpy as np
from LFPy import Cell, RecExtElectrode, StimIntElectrode
from neuron import h

from ndx_simulation_output import open_output
from ndx_simulation_output.neuron import record

SIGMA = 0.3  # S/m

# Stand-in for your morphology: a soma and two dendrites.
Path("cell.hoc").write_text(
    """
    create soma[1], dend[2]
    soma[0] { pt3dadd(0, 0, -10, 20)  pt3dadd(0, 0, 10, 20) }
    dend[0] { pt3dadd(0, 0, 10, 3)  pt3dadd(0, 0, 400, 1) }
    dend[1] { pt3dadd(0, 0, 10, 2)  pt3dadd(150, 80, 150, 1) }
    connect dend[0](0), soma[0](1)
    connect dend[1](0), soma[0](1)
    """,
    encoding="utf-8",
)
cell = Cell("cell.hoc", passive=True, dt=2**-5, tstop=50.0, v_init=-65.0, extracellular=False)
for section in cell.allseclist:
    if "soma" in section.name():
        section.insert("hh")
StimIntElectrode(cell, idx=0, pptype="IClamp", amp=1.0, delay=5.0, dur=30.0)
electrode = RecExtElectrode(
    cell,
    x=np.array([30.0, 30.0, 120.0, 0.0]),
    y=np.array([0.0, 40.0, 90.0, -25.0]),
    z=np.array([0.0, 200.0, 100.0, 500.0]),
    sigma=SIGMA,
    method="pointsource",
)

# LFPy runs the loop.
h.dt = cell.dt
h.CVode().use_fast_imem(1)
with record("run.nwb", variables=["v", "i_membrane_"]):
    cell.simulate(probes=[electrode])

# Compute the LFP from the file: V is the sum of I / (4 pi sigma r), where r is at least the radius
# of the segment. LFPy's line sources would need the ends of segments; the file has their centres.
with open_output("run.nwb") as output:
    report = output["i_membrane_"]
    currents = report.get_traces()  # amperes
    columns = {name: column[:] for name, column in report.compartments.columns.items()}
centres = np.stack([columns[axis] for axis in "xyz"], axis=1)
sites = np.stack([electrode.x, electrode.y, electrode.z], axis=1)
distances = np.linalg.norm(sites[:, None] - centres, axis=2)
distances = np.maximum(distances, columns["diameter"] / 2) * 1e-6  # meters
potentials = currents @ (1 / (4 * np.pi * SIGMA * distances)).T * 1000.0  # millivolts

# Skip t = 0: NEURON has computed no currents yet, and LFPy uses densities instead.
theirs = electrode.data.T[1:]
difference = np.abs(potentials[1:] - theirs).max()
print(f"{len(currents)} times × {currents.shape[1]} segments, {len(sites)} electrodes")
print(f"LFP of LFPy: {theirs.min():.4f} to {theirs.max():.4f} mV")
print(f"LFP from the file: differs by at most {difference:.0e} mV")
assert difference < 1e-6 * np.abs(theirs).max()
