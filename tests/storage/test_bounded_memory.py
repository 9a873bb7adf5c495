"""A matrix is copied in bounded memory, whatever its size and the storage of its source."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.views import ColumnRange, Columns, Joined, Quantized
from ndx_simulation_output.storage.layout import StorageOptions, plan_layout
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.writing import create_dataset, write_matrix

MIB = 2**20
SHAPE = 8000, 2000
SOURCES: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "frames": {"chunks": (10, SHAPE[1])},
    "deflated frames": {"chunks": (4, SHAPE[1]), "compression": 1, "shuffle": True},
    "deflated cells": {"chunks": (SHAPE[0], 20), "compression": 1, "shuffle": True},
    "deflated squares": {"chunks": (300, 300), "compression": 1, "shuffle": True},
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request, tmp_path_factory) -> Iterator[Path]:
    """A file with a matrix of 61 MiB."""
    path = tmp_path_factory.mktemp("source") / "source.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", SHAPE, "f4", **SOURCES[request.param])
        columns = SOURCES[request.param].get("chunks", SHAPE)[1]
        for left in range(0, SHAPE[1], columns):
            block = np.s_[:, left : left + columns]
            width = min(columns, SHAPE[1] - left)
            data[block] = np.add.outer(np.arange(SHAPE[0]), left + np.arange(width))
    yield path
    path.unlink()


def peak(array: LazyArray, target: Path, storage: StorageOptions, workers: int) -> int:
    """Write an array, and return the peak of allocated memory."""
    layout = plan_layout(array.shape, 4, 200, storage, workers)
    with h5py.File(target, "w", rdcc_nbytes=0) as file:
        dataset = create_dataset(file, "data", layout, array.dtype)
        gc.collect()
        tracemalloc.start()
        try:
            write_matrix(array, dataset, layout, path=target, workers=workers)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("chunks", ["contiguous", None])
@pytest.mark.parametrize(("memory", "workers"), [(2 * MIB, 0), (8 * MIB, 2)])
def test_a_matrix_is_copied_in_bounded_memory(source, chunks, memory, workers, tmp_path: Path):
    with h5py.File(source) as file:
        array = HDF5Array(file["data"], workers)

        most = peak(array, tmp_path / "v.h5", StorageOptions(chunks=chunks, memory=memory), workers)

        assert_written(tmp_path / "v.h5", file["data"], slice(None))
    # Besides the buffers, each worker processes a chunk.
    assert most < memory + 4 * MIB


@pytest.mark.parametrize("chunks", ["contiguous", None])
def test_columns_in_another_order_are_copied_in_bounded_memory(source, chunks, tmp_path: Path):
    memory = 4 * MIB
    order = np.random.default_rng(0).permutation(SHAPE[1])
    with h5py.File(source) as file:
        array = Columns(HDF5Array(file["data"], 0), order)

        most = peak(
            array, tmp_path / "v.h5", StorageOptions(chunks=chunks, memory=memory), workers=0
        )

        assert_written(tmp_path / "v.h5", file["data"], order)
    # The block that is read, the columns selected from it, and their target.
    assert most < 4 * memory


def test_joined_matrices_are_copied_in_bounded_memory(source, tmp_path: Path):
    memory = 4 * MIB
    with h5py.File(source) as file:
        half = ColumnRange(HDF5Array(file["data"], 0), 0, SHAPE[1] // 2 + 7)
        rest = ColumnRange(HDF5Array(file["data"], 0), SHAPE[1] // 2 + 7, SHAPE[1])

        most = peak(
            Joined((half, rest)), tmp_path / "v.h5", StorageOptions(memory=memory), workers=0
        )

        assert_written(tmp_path / "v.h5", file["data"], slice(None))
    assert most < 3 * memory


def test_rounded_columns_in_another_order_are_copied_in_bounded_memory(source, tmp_path: Path):
    memory = 4 * MIB
    order = np.random.default_rng(0).permutation(SHAPE[1])
    with h5py.File(source) as file:
        array = Quantized(Columns(HDF5Array(file["data"], 0), order), 1.0, 0.0)

        most = peak(array, tmp_path / "v.h5", StorageOptions(memory=memory), workers=0)

        assert_written(tmp_path / "v.h5", file["data"], order)
    # Values of eight bytes are rounded to two bytes.
    assert most < 8 * memory


def assert_written(path: Path, data: h5py.Dataset, columns: Any) -> None:
    with h5py.File(path) as file:
        for row in range(0, SHAPE[0], 997):
            np.testing.assert_array_equal(file["data"][row], data[row][columns])
