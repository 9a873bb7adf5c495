"""Answers to queries, by this package and by numpy; each function opens a file."""

from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import numpy as np
from query import Query

__all__ = ["h5py_default", "h5py_large", "mapped", "ours"]

LARGE_CACHE = 2**30

Ask = Callable[[Query], Callable[[], Any]]


def ours(path: str) -> Ask:
    """Open a SONATA or NWB file with this package."""
    from ndx_simulation_output import open_output  # noqa: PLC0415 - not for the others

    report = open_output(path).reports[0]
    step = 1 / report.times.rate

    def ask(query: Query) -> Callable[[], Any]:
        cells = query.cells[0] if query.cells and len(query.cells) == 1 else query.cells
        last = query.first + query.frames
        # Between two frames, so that rounding decides nothing.
        window = {"start": (query.first - 0.5) * step, "stop": (last - 0.5) * step}
        return lambda: report.get_traces(cells=cells, **window)

    return ask


def mapped(path: str) -> Ask:
    """Map a contiguous recording of cells 0, 1, … of equal size with numpy: a limit."""
    with h5py.File(path) as file:
        (population,) = file["report"].values()
        data = population["data"]
        matrix = np.memmap(path, data.dtype, "r", data.id.get_offset(), data.shape)
        pointers = population["mapping/index_pointers"][:].astype(np.intp)

    def ask(query: Query) -> Callable[[], Any]:
        rows = slice(query.first, query.first + query.frames)
        if query.cells is None:
            return lambda: np.array(matrix[rows])
        spans = [slice(pointers[cell], pointers[cell + 1]) for cell in query.cells]
        return lambda: np.concatenate([matrix[rows, span] for span in spans], axis=1)

    return ask


def _h5py(path: str, **cache: int) -> Ask:
    """Open a recording of cells 0, 1, … of equal size in mV; answers are in volts."""
    file = h5py.File(path, **cache)
    (recording,) = (file["acquisition"] if "acquisition" in file else file["report"]).values()
    data, milli = recording["data"], np.float32(1e-3)
    n_cells = _n_cells(recording)
    width = data.shape[1] // n_cells

    def ask(query: Query) -> Callable[[], Any]:
        rows = slice(query.first, query.first + query.frames)
        cells = query.cells or (0, n_cells - 1)
        columns = slice(cells[0] * width, (cells[-1] + 1) * width)
        return lambda: data[rows, columns] * milli

    return ask


def _n_cells(recording: h5py.Group) -> int:
    if "mapping" in recording:
        return len(recording["mapping/node_ids"])
    return len(recording["compartments/id"])


h5py_default = _h5py
h5py_large = partial(_h5py, rdcc_nbytes=LARGE_CACHE, rdcc_nslots=100_003)
