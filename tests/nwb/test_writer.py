"""Outputs created in memory are written without change."""

from datetime import datetime, timezone

import numpy as np
from pynwb import NWBHDF5IO

from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import (
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Unit,
)

NUMBER = {"number": np.zeros(2, np.int64)}


def test_start_and_rate_may_be_integers(tmp_path):
    path, values, times = tmp_path / "run.nwb", np.zeros((5, 2)), RegularTimes(0, 1000, 5)
    table = CompartmentTable.from_counts("exc", np.array([3, 7]), np.array([1, 1]), NUMBER)
    volts = Unit("volts")
    output = SimulationOutput(
        reports=(Report("v", "v", values, times, table, volts),),
        potentials=(ExtracellularPotential("ecp", values, times, np.array([0, 1]), volts),),
    )
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}

    writer.write(output, path, metadata=session)

    with NWBHDF5IO(path, "r") as io:
        for series in io.read().acquisition.values():
            if hasattr(series, "rate"):
                assert (series.starting_time, series.rate) == (0.0, 1000.0)
