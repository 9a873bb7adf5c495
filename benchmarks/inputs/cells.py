"""Large tables of cells as flat arrays."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["flat_arrays"]

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
