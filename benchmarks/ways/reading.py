"""Answers to queries, by this package and by numpy; each function opens a file."""

import fcntl
import mmap
import os
import signal
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from query import Query

__all__ = ["checked", "h5py_default", "h5py_large", "mapped", "mapped_chunks", "ours"]

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


def checked(path: str) -> Ask:
    """Do the least that ours has to do, in one function: a limit. Answers are in volts."""
    with h5py.File(path) as file:
        (population,) = file["report"].values()
        data, ids = population["data"], population["mapping/node_ids"][:]
        pointers = population["mapping/index_pointers"][:].astype(np.intp)
        start, dtype, n_columns = data.id.get_offset(), data.dtype, data.shape[1]
    number = os.open(path, os.O_RDONLY)
    file_bytes, milli = mmap.mmap(number, 0, access=mmap.ACCESS_READ), np.float32(1e-3)
    size, row_bytes = len(file_bytes), n_columns * dtype.itemsize

    def ask(query: Query) -> Callable[[], Any]:
        def work() -> Any:
            spans = [slice(0, n_columns)]
            if query.cells is not None:
                rows = ids.searchsorted(query.cells)
                _check(is_right=(ids[rows] == query.cells).all())
                spans = list(map(slice, pointers[rows].tolist(), pointers[rows + 1].tolist()))
            fcntl.fcntl(number, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            _check(is_right=os.fstat(number).st_size == size)
            shape = query.frames, n_columns
            source = np.ndarray(shape, dtype, file_bytes, start + query.first * row_bytes)
            if len(spans) == 1:
                values = np.multiply(source[:, spans[0]], milli)
            else:
                values = np.concatenate([source[:, span] for span in spans], axis=1)
                values *= milli
            fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            _check(is_right=os.fstat(number).st_size == size)
            return values

        return work

    return ask


def _check(*, is_right: np.bool_ | bool) -> None:
    if not is_right:
        msg = "a cell is not there, or the file has changed"
        raise ValueError(msg)


def mapped_chunks(path: str) -> Ask:
    """Map an uncompressed NWB file of cells 0, 1, … of equal size with numpy: a limit."""
    with h5py.File(path) as file:
        (recording,) = file["acquisition"].values()
        data, n_cells = recording["data"], _n_cells(recording)
        (height, width), (n_rows, n_columns), dtype = data.chunks, data.shape, data.dtype
        starts: dict[tuple[int, int], int] = {}
        data.id.chunk_iter(lambda one: starts.__setitem__(one.chunk_offset, one.byte_offset))
    file_bytes = np.memmap(path, np.uint8, "r")
    chunks = {
        offset: np.ndarray((height, width), dtype, file_bytes, start)
        for offset, start in starts.items()
    }
    of_cell = n_columns // n_cells

    def ask(query: Query) -> Callable[[], Any]:
        cells = np.arange(n_cells) if query.cells is None else np.array(query.cells)
        columns = (cells[:, np.newaxis] * of_cell + np.arange(of_cell)).ravel()
        lefts, local = columns // width * width, columns % width
        rows = range(query.first, min(query.first + query.frames, n_rows))
        # Where the columns of another chunk begin, or columns are not adjacent.
        is_next = (np.diff(lefts) == 0) & (np.diff(local) == 1)
        edges = [0, *(np.flatnonzero(~is_next) + 1).tolist(), len(columns)]
        parts = []
        for top in range(rows.start // height * height, rows.stop, height):
            first, stop = max(rows.start, top), min(rows.stop, top + height)
            for begin, end in pairwise(edges):
                left = int(local[begin])
                chunk = chunks[top, int(lefts[begin])]
                source = chunk[first - top : stop - top, left : left + end - begin]
                target = np.s_[first - rows.start : stop - rows.start, begin:end]
                parts.append((target, source))

        def work() -> Any:
            values = np.empty((len(rows), len(columns)), dtype)
            for target, source in parts:
                values[target] = source
            return values

        return work

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
