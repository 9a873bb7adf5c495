"""The ways to read a selection of a matrix that lies in an HDF5 file, and which file allows which.

Contiguous data and chunks without filters are copied out of the mapped file. Chunks that are
deflated are read once each and inflated in threads. Everything else is left to h5py: other
filters and types, files that are written at the same time, files that are not on this machine.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.chunks import DEFLATE, SHUFFLE, Chunks, Deflated, Index
from ndx_simulation_output.engine.mapped import Mapped, map_file
from ndx_simulation_output.engine.selection import Selection
from ndx_simulation_output.engine.workers import run_all, worth
from ndx_simulation_output.recording.arrays import Put

__all__ = ["Contiguous", "Plain", "Storage", "is_of_numpy", "storage_of"]

_MANY_RUNS = 256
_ROW_BYTES = 2**16
"""The kernel reads this much ahead: pieces farther apart are better read alone."""


class Storage(Protocol):
    """Where the values are, and how to read some of them."""

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """``put`` all values into ``out``, which has the shape of the selection, part by part."""


def storage_of(dataset: h5py.Dataset, known: NDArray[np.int64] | None = None) -> Storage:
    """Give the fastest way to read ``dataset`` that is the same as h5py's.

    ``known`` is where its chunks are, if an :class:`Index` has found that out before.
    """
    if dataset.ndim != 2 or not dataset.size or not is_of_numpy(dataset):
        return Plain(dataset)
    facts = dataset.id.get_create_plist()
    if facts.get_layout() == h5py.h5d.CONTIGUOUS and not facts.get_external_count():
        return _contiguous(dataset)
    if facts.get_layout() == h5py.h5d.CHUNKED and hasattr(dataset.id, "chunk_iter"):
        filters = tuple(facts.get_filter(number)[0] for number in range(facts.get_nfilters()))
        file = map_file(dataset.file)
        if not filters and file is not None:
            return Chunks(file, dataset, Index(dataset, known))
        if filters in {(DEFLATE,), (SHUFFLE, DEFLATE)} and dataset.file.mode == "r":
            return Deflated(file, dataset, Index(dataset, known), filters)
    return Plain(dataset)


def is_of_numpy(dataset: h5py.Dataset) -> bool:
    """Whether the bytes in the file are those of an array of numbers."""
    numbers = dataset.dtype.kind in "iufc"
    return numbers and bool(dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype))


def _contiguous(dataset: h5py.Dataset) -> Storage:
    start, file = dataset.id.get_offset(), map_file(dataset.file)
    if start is None or file is None or start + dataset.nbytes > len(file.bytes):
        return Plain(dataset)
    values = file.bytes[start : start + dataset.nbytes].view(dataset.dtype)
    return Contiguous(file, values.reshape(dataset.shape))


@dataclass(frozen=True)
class Plain:
    """The plain way, for everything that h5py can read."""

    dataset: h5py.Dataset

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,  # noqa: ARG002 - h5py reads one at a time
        put: Put = np.copyto,
    ) -> None:
        """Fill ``out``."""
        rows = selection.rows
        rows_wanted = slice(rows.start, rows.stop, rows.step)
        for run in selection.runs():
            put(out[:, run.target], self.dataset[rows_wanted, run.start : run.stop])


@dataclass(frozen=True)
class Contiguous(Mapped):
    """A row after the other: ``values`` is the matrix in the mapped file."""

    values: NDArray[Any]

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """Copy the columns of some rows in each thread."""
        narrow = len(selection.columns) * self.values.itemsize < _ROW_BYTES
        self.file.advise("MADV_RANDOM" if narrow else "MADV_NORMAL")
        rows, runs = selection.rows, selection.runs()
        values = self.values[rows.start : rows.stop : rows.step]

        def copy(part: slice) -> None:
            if len(runs) > _MANY_RUNS:
                put(out[part], values[part, np.asarray(selection.columns)])
                return
            for run in runs:
                put(out[part, run.target], values[part, run.start : run.stop])

        workers = worth(out.nbytes, workers)
        height = -(-len(out) // max(1, 2 * workers))
        run_all(copy, [slice(top, top + height) for top in range(0, len(out), height)], workers)
