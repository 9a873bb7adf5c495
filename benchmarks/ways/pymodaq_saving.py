"""The same as `saving.py` with PyMoDAQ's own saver; it may run in an environment of its own.

When it is imported, PyMoDAQ writes its settings into the system and the home directory: here into
a temporary one, as it does where it may not write.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from ways.frames import frames, time_of

__all__ = ["save"]

_HOME = tempfile.TemporaryDirectory()
_make_directory = Path.mkdir


def _only_at_home(path: Path, *args: object, **kwargs: object) -> None:
    if not path.is_relative_to(_HOME.name):
        raise PermissionError(path)
    _make_directory(path, *args, **kwargs)


os.environ["HOME"] = _HOME.name
with patch.object(Path, "mkdir", _only_at_home):
    from pymodaq_data.data import DataRaw, DataToExport
    from pymodaq_data.h5modules.data_saving import DataToExportTimedSaver
    from pymodaq_data.h5modules.saving import H5SaverLowLevel


def save(
    target: str, *, shape: tuple[int, ...], steps: int, level: int = 0
) -> Callable[[], object]:
    """Save all steps and close the file."""
    exports = []
    for step, frame in enumerate(frames(shape, steps)):
        image = DataRaw("frame", data=[frame], units="count")
        power = DataRaw("power", data=[np.array([step * 0.5])], units="W")
        exports.append(DataToExport("all", data=[image, power]))
        exports[-1].timestamp = time_of(step)
    saver = H5SaverLowLevel(save_type="detector", backend="h5py")
    saver.init_file(Path(target), new_file=True)
    if level:
        saver.define_compression("gzip", level)
    detector = saver.add_det_group("/RawData", "Camera")
    timed = DataToExportTimedSaver(saver)

    def work() -> None:
        for export in exports:
            timed.add_data(detector, export)
        saver.close_file()

    return work
