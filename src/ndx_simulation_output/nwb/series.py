"""What every series of NWB is made with: a name that NWB allows, and times."""

from typing import Any

import numpy as np

from ndx_simulation_output.recording import RegularTimes, Times

__all__ = ["nwb_name", "time_arguments"]


def nwb_name(name: str) -> str:
    """Replace the characters that NWB does not allow in the name of an object."""
    return name.replace("/", "_").replace(":", "_")


def time_arguments(times: Times) -> dict[str, Any]:
    """Give the arguments of a ``TimeSeries`` that say when its rows were recorded, in seconds."""
    if isinstance(times, RegularTimes):
        return {"starting_time": float(times.start), "rate": float(times.rate)}
    return {"timestamps": np.asarray(times.values[:], np.float64)}
