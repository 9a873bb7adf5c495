"""Write a CompartmentSeries with pynwb, as with version 0.2.6."""

from datetime import datetime

import numpy as np
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import Compartments, CompartmentSeries

compartments = Compartments()
compartments.add_row(number=[0, 1, 2, 3, 4], position=[0.1, 0.2, 0.3, 0.4, 0.5])
compartments.add_row(number=[0], position=[np.nan])
cs = CompartmentSeries(
    "membrane_potential",
    np.random.randn(10, 6),  # noqa: NPY002 - as in the first publications
    compartments=compartments,
    unit="V",
    rate=100.0,
)
nwbfile = NWBFile("description", "id", datetime.now().astimezone())
nwbfile.add_acquisition(compartments)
nwbfile.add_acquisition(cs)

with NWBHDF5IO("test_compartment_series.nwb", "w") as io:
    io.write(nwbfile)

print("wrote test_compartment_series.nwb")
