"""Save camera and power meter data, one set at a time, to a file that exists."""

from collections.abc import Callable

import numpy as np

from ndx_simulation_output.pymodaq import (
    DataRaw,
    DataToExport,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from ways.frames import frames, time_of

__all__ = ["save"]


def save(
    target: str, *, shape: tuple[int, ...], steps: int, level: int = 0
) -> Callable[[], object]:
    """Save all steps and close the file."""
    exports = [
        DataToExport(
            "all",
            [
                DataRaw("frame", data=[frame], units="count"),
                DataRaw("power", data=[np.array([step * 0.5])], units="W"),
            ],
            timestamp=time_of(step),
        )
        for step, frame in enumerate(frames(shape, steps))
    ]
    saver = H5SaverLowLevel("detector")
    saver.init_file(target)
    saver.define_compression("gzip", level)
    detector = saver.add_det_group("/RawData", "Camera")
    timed = DataToExportTimedSaver(saver)

    def work() -> None:
        for export in exports:
            timed.add_data(detector, export)
        saver.close_file()

    return work
