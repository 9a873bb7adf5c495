"""HDF5 virtual datasets that refer to the source file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import LayoutError, SourceError
from ndx_simulation_output.recording.arrays import LazyArray, Put
from ndx_simulation_output.recording.views import ColumnRange, Columns, Matrix
from ndx_simulation_output.storage.datasets import (
    ContiguousReader,
    DatasetReader,
    H5pyReader,
    Selection,
    Span,
    dataset_reader,
)

# Matrices that stay in the file of their source: HDF5 virtual datasets with relative paths.

_MOST_RUNS = 1000
"""HDF5 looks at every run of columns at each read."""


def link_dataset(group: h5py.Group, name: str, source: LazyArray, directory: Path) -> h5py.Dataset:
    """Create a dataset whose values are those of ``source``, wherever they are then.

    ``directory`` is where the file of ``group`` will lie. Where HDF5 does not find the source, it
    gives NaN for numbers that have it, else 0.

    Raises
    ------
    LayoutError
        If the source is not an HDF5 dataset, or its columns are in another order.

    """
    dataset, runs = _runs_of(source)
    if dataset is None or len(runs) > _MOST_RUNS:
        why = "its columns are in another order" if dataset is not None else "it is no HDF5 dataset"
        msg = f"{name} cannot be linked to its source, as {why} there; convert it without link"
        raise LayoutError(msg)
    path = os.path.relpath(Path(dataset.file.filename).resolve(), directory.resolve())
    names = _escaped(path), _escaped(dataset.name)
    virtual = h5py.VirtualSource(*names, dataset.shape, dataset.dtype)
    layout = h5py.VirtualLayout(source.shape, dataset.dtype)
    for run in runs:
        # A dataset with one dimension is the only column.
        columns = np.s_[:, run.start : run.stop] if dataset.ndim == 2 else np.s_[:]
        layout[:, run.target] = virtual[columns]
    missing = np.nan if dataset.dtype.kind == "f" else 0
    return group.create_virtual_dataset(name, layout, fillvalue=missing)


def linked_reader(dataset: h5py.Dataset) -> DatasetReader:
    """Give how to read a virtual dataset: from its source, if it is one matrix.

    Raises
    ------
    SourceError
        If a source is not where it was.

    """
    maps = dataset.virtual_sources()
    paths = [_find(dataset, _unescaped(found.file_name)) for found in maps]
    if _is_one(maps, dataset) and dataset.file.mode == "r":
        shift = maps[0].src_space.get_select_bounds()[0][-1]
        return _Linked(dataset, paths[0], _unescaped(maps[0].dset_name), shift)
    return H5pyReader(dataset)


def _is_one(maps: list[Any], dataset: h5py.Dataset) -> bool:
    """Whether adjacent columns of one matrix make all of the dataset."""
    if len(maps) != 1 or len(maps[0].src_space.shape) != 2:
        return False
    first, last = maps[0].vspace.get_select_bounds()
    return not any(first) and last == tuple(length - 1 for length in dataset.shape)


@dataclass
class _Linked:
    """All rows of some adjacent columns of a matrix in another file."""

    dataset: h5py.Dataset
    path: Path
    name: str
    shift: int
    kept: ContiguousReader | None = None

    def read(
        self,
        selection: Selection,
        out: NDArray[Any],
        workers: int,
        put: Put = np.copyto,
    ) -> None:
        """Fill ``out``. The other file is not left open, as nobody would close it."""
        columns: Any = selection.columns
        if isinstance(columns, range):
            columns = range(columns.start + self.shift, columns.stop + self.shift)
        else:
            columns = columns + self.shift
        shifted = Selection(selection.rows, columns)
        if self.kept is not None:
            self.kept.read(shifted, out, workers, put)
            return
        with h5py.File(self.path, "r") as file:
            storage = dataset_reader(self._checked(file))
            storage.read(shifted, out, workers, put)
        if isinstance(storage, ContiguousReader):
            self.kept = storage

    def _checked(self, file: h5py.File) -> h5py.Dataset:
        source = file.get(self.name)
        shape = getattr(source, "shape", None)
        rows, columns = self.dataset.shape
        if shape is None or len(shape) != 2 or shape[0] != rows or shape[1] < columns + self.shift:
            msg = (
                f"{_place(self.dataset)} is linked to {self.name.strip('/')} of {self.path}, which "
                f"has shape {shape}; expected {rows} rows and {columns + self.shift} columns"
            )
            raise SourceError(msg)
        return source


def _escaped(name: str) -> str:
    """Spell a name as HDF5 wants those of sources: it fills in what follows a single ``%``."""
    return name.replace("%", "%%")


def _unescaped(name: str) -> str:
    return name.replace("%%", "%")


def _find(dataset: h5py.Dataset, path: str) -> Path:
    """Find a source as HDF5 does: beside the file that is linked to it."""
    found = Path(dataset.file.filename).parent / path
    if not found.is_file():
        msg = (
            f"{_place(dataset)} is linked to {path}, which is not there: put that file back, or "
            "convert it again without link"
        )
        raise SourceError(msg)
    return found


def _place(dataset: h5py.Dataset) -> str:
    return f"{dataset.name.strip('/')} of {Path(dataset.file.filename).name}"


def _runs_of(source: LazyArray) -> tuple[h5py.Dataset | None, list[Span]]:
    """Give the dataset below the views of a source, and which of its columns they show."""
    array: Any = source
    columns = np.arange(source.shape[1])
    while isinstance(array, (ColumnRange, Columns)):
        columns = array.order[columns] if isinstance(array, Columns) else columns + array.start
        array = array.array
    if isinstance(array, Matrix):
        array = array.array
    # What reads a dataset as it is names it; any other view changes the values.
    array = getattr(array, "dataset", array)
    if not isinstance(array, h5py.Dataset):
        return None, []
    return array, Selection(range(0), columns).runs()
