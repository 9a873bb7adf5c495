"""Answers to queries, by this package and by numpy; each function opens a file."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from query import Query

__all__ = ["mapped", "ours"]

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
