"""Large tables of cells as flat arrays, and reports of very many columns."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["flat_arrays", "write_wide_report"]

Columns = dict[str, NDArray[np.generic]]


def flat_arrays(
    cells: int, compartments: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Columns]:
    """Return ids (cell,), counts (cell,), and columns (compartment,) of cells of equal size."""
    counts = np.full(cells, compartments)
    columns: Columns = {
        "number": np.tile(np.arange(compartments, dtype=np.int32), cells),
        "position": np.tile(np.linspace(0, 1, compartments), cells),
    }
    return np.arange(cells), counts, columns


def write_wide_report(path: Path, cells: int, frames: int) -> None:
    """Write a report of many cells with one column each, float32, a row per time step."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("report/cortex/data", (frames, cells), np.float32)
        data.attrs["units"] = "mV"
        for row in range(frames):
            data[row] = rng.random(cells, np.float32)
        mapping = file.create_group("report/cortex/mapping")
        mapping["node_ids"] = np.arange(cells, dtype=np.uint64)
        mapping["index_pointers"] = np.arange(cells + 1, dtype=np.uint64)
        mapping["element_ids"] = np.zeros(cells, np.uint32)
        mapping["time"] = np.array([0, frames * 0.1, 0.1])
        mapping["time"].attrs["units"] = "ms"
