"""HDF5 virtual datasets that refer to the file of the source by a relative path."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5f
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    LayoutError,
    SimulationOutputWarning,
    SourceError,
    source_errors,
)
from ndx_simulation_output.recording.arrays import LazyArray, Put, place_in_file
from ndx_simulation_output.recording.views import ColumnRange, Columns, Matrix
from ndx_simulation_output.storage.datasets import (
    ContiguousReader,
    DatasetReader,
    H5pyReader,
    Selection,
    Span,
    dataset_reader,
)
from ndx_simulation_output.storage.journal import FileVersion
from ndx_simulation_output.storage.sources import TRUST, find_referred, numbered

_MOST_SPANS = 1000
"""HDF5 searches all spans of columns in each read, which is slow for many."""


def link_dataset(group: h5py.Group, name: str, source: LazyArray, directory: Path) -> h5py.Dataset:
    """Create a virtual dataset with the values of ``source``, an HDF5 dataset or columns of one.

    ``directory`` is the final directory of the file of ``group``. If HDF5 does not find the source,
    it reads NaN for floating-point numbers and 0 for other types.
    """
    dataset, spans = _linkable_columns(source)
    if dataset is None or len(spans) > _MOST_SPANS:
        why = "is not an HDF5 dataset" if dataset is None else "has its columns in another order"
        msg = f"{name} cannot be linked: its source {why}; convert it without link"
        raise LayoutError(msg)
    try:
        path = os.path.relpath(Path(dataset.file.filename).resolve(), directory.resolve())
    except ValueError as error:
        msg = f"{name} cannot be linked: {error}; convert it without link"  # Another drive.
        raise LayoutError(msg) from error
    path = Path(path).as_posix()  # HDF5 on Windows takes them too.
    if path.startswith("../"):
        warnings.warn(
            f"{name} is linked to {path}, outside the folder of the NWB file; to read it, {TRUST}",
            SimulationOutputWarning,
            stacklevel=2,
        )
    virtual = h5py.VirtualSource(
        _escaped(path), _escaped(dataset.name), dataset.shape, dataset.dtype
    )
    layout = h5py.VirtualLayout(source.shape, dataset.dtype)
    for span in spans:
        # A one-dimensional dataset is a single column.
        columns = np.s_[:, span.start : span.stop] if dataset.ndim == 2 else np.s_[:]
        layout[:, span.target] = virtual[columns]
    missing = np.nan if dataset.dtype.kind == "f" else 0
    return group.create_virtual_dataset(name, layout, fillvalue=missing)


def _linkable_columns(source: LazyArray) -> tuple[h5py.Dataset | None, list[Span]]:
    """Return the dataset that the views of a source wrap, and the columns that they select."""
    array: Any = source
    columns = np.arange(source.shape[1])
    while isinstance(array, (ColumnRange, Columns)):
        columns = array.order[columns] if isinstance(array, Columns) else columns + array.start
        array = array.array
    if isinstance(array, Matrix):
        array = array.array
    # An array that reads a dataset unchanged has it as ``dataset``; other views change values.
    array = getattr(array, "dataset", array)
    if not isinstance(array, h5py.Dataset):
        return None, []
    return array, Selection(range(0), columns).spans()


def linked_reader(dataset: h5py.Dataset) -> DatasetReader:
    """Return a reader of a virtual dataset, which reads its source directly if possible."""
    maps = dataset.virtual_sources()
    inner: dict[str, set[str]] = {}
    for found in maps:
        inner.setdefault(found.file_name, set()).add(next(numbered(found.dset_name)))
    paths = {name: _source_path(dataset, next(numbered(name))) for name in inner if name != "."}
    if paths and _has_one_source(maps, dataset) and dataset.file.mode == "r":
        shift = maps[0].src_space.get_select_bounds()[0][-1]
        path = next(iter(paths.values()))
        return _LinkedReader(dataset, path, _unescaped(maps[0].dset_name), shift)
    for name, datasets in inner.items():
        path = paths.get(name, dataset.file.filename)
        where = f"{place_in_file(dataset)} is linked to"
        with source_errors(f"{where} {path}, which cannot be read"):
            file = dataset.file.id if name == "." else h5f.open(os.fsencode(path), h5f.ACC_RDONLY)
            # HDF5 would read the fill value.
            missing = [found for found in sorted(datasets) if found not in h5py.Group(file)]
        if missing:
            msg = f"{where} {missing[0]} of {path}, which does not exist"
            raise SourceError(msg)
    return H5pyReader(dataset)


def _has_one_source(maps: list[Any], dataset: h5py.Dataset) -> bool:
    """Return True if the whole dataset refers to adjacent columns of one matrix."""
    if len(maps) != 1 or len(maps[0].src_space.shape) != 2:
        return False
    first, last = maps[0].vspace.get_select_bounds()
    return not any(first) and last == tuple(length - 1 for length in dataset.shape)


@dataclass
class _LinkedReader:
    """Reads adjacent columns of a matrix in another file."""

    dataset: h5py.Dataset
    path: Path
    name: str
    shift: int
    mapped: ContiguousReader | None = None
    version: FileVersion | None = None

    def read(self, selection: Selection, out: NDArray[Any], workers: int, put: Put) -> None:
        """Read from the other file, which is open only during the read."""
        columns: Any = selection.columns
        if isinstance(columns, range):
            columns = range(columns.start + self.shift, columns.stop + self.shift)
        else:
            columns = columns + self.shift
        shifted = Selection(selection.rows, columns)
        if self.mapped is not None and self.version is not None and not self.version.change():
            self.mapped.read(shifted, out, workers, put)
            self._check(self.version)
            return
        with h5py.File(self.path, "r") as file:
            source = self._checked_source(file)
            version, reader = FileVersion.of(source), dataset_reader(source)
            reader.read(shifted, out, workers, put)
            self._check(version)
        if isinstance(reader, ContiguousReader):
            self.mapped = reader
            self.version = FileVersion.of_number(reader.file.number, self.path)

    def _check(self, version: FileVersion | None) -> None:
        if reason := version and version.change():
            msg = f"{reason}, {self.path}"
            raise OSError(msg)

    def _checked_source(self, file: h5py.File) -> h5py.Dataset:
        source = file.get(self.name)
        shape = getattr(source, "shape", None)
        rows, columns = self.dataset.shape
        if shape is None or len(shape) != 2 or shape[0] != rows or shape[1] < columns + self.shift:
            msg = (
                f"{place_in_file(self.dataset)} is linked to {self.name.strip('/')} of "
                f"{self.path}, which has shape {shape}; expected {rows} rows and "
                f"{columns + self.shift} columns"
            )
            raise SourceError(msg)
        return source


def _escaped(name: str) -> str:
    """Escape ``%``, after which HDF5 replaces patterns in the names of sources."""
    return name.replace("%", "%%")


def _unescaped(name: str) -> str:
    return name.replace("%%", "%")


def _source_path(dataset: h5py.Dataset, path: str) -> Path:
    """Return the path of a source, as HDF5 finds it."""
    found = find_referred(dataset.file, path, "HDF5_VDS_PREFIX")
    if found is None:
        msg = (
            f"{place_in_file(dataset)} is linked to {path}, which does not exist; restore that "
            "file, or convert again without link"
        )
        raise SourceError(msg)
    return found
