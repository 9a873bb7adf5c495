"""Inflated chunks are kept for the next read: bounded, and only while the file is as it was."""

import gc
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.storage import datasets
from ndx_simulation_output.storage.chunk_cache import CHUNKS, ChunkCache
from ndx_simulation_output.storage.datasets import DeflatedReader
from ndx_simulation_output.storage.partitions import in_order
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import write

VALUES = np.arange(40 * 60, dtype="f4").reshape(40, 60)


@pytest.fixture
def cache(monkeypatch) -> ChunkCache:
    """An empty cache for 16 chunks."""
    made = ChunkCache(16 * 400)
    monkeypatch.setattr(datasets, "CHUNKS", made)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with 24 chunks."""
    options = {"chunks": (10, 10), "compression": "gzip", "shuffle": True}
    write(tmp_path / "v.h5", options, VALUES)
    return tmp_path / "v.h5"


@pytest.fixture
def inflated(monkeypatch) -> list[tuple[int, int]]:
    """The chunks that were inflated."""
    found = []
    read = vars(DeflatedReader)["_stored"]

    def counted(reader, row, column):
        found.append((row, column))
        return read(reader, row, column)

    monkeypatch.setattr(DeflatedReader, "_stored", counted)
    return found


def test_a_chunk_is_inflated_once_for_several_reads(path, cache, inflated):
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        for column in (3, 4, 3, 3):
            part = slice(9), slice(column, column + 1)
            np.testing.assert_array_equal(array[part], VALUES[part])
            assert cache.n_bytes == 400
    assert inflated == [(0, 0)]


def test_chunks_read_again_are_kept_as_one_array(path, monkeypatch, inflated):
    cache = ChunkCache(2**20)
    monkeypatch.setattr(datasets, "CHUNKS", cache)
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        for left in (3, 4, 8, 8):
            part = slice(None, None, 3), slice(left, left + 4)
            np.testing.assert_array_equal(array[part], VALUES[part])
        n_bytes, inflated[:] = cache.n_bytes, []
        for part in (slice(5, 25), slice(3, 7)), (slice(38, None), slice(1, 12)):
            np.testing.assert_array_equal(array[part], VALUES[part])
    assert not inflated
    assert cache.n_bytes == n_bytes == VALUES[:, :20].nbytes


def test_frames_are_read_with_those_beside_them(path, cache, inflated, monkeypatch):
    monkeypatch.setattr(datasets, "_MANY_CHUNKS", 6)

    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        for row in (20, 21, 22, 20):
            np.testing.assert_array_equal(array[row : row + 1], VALUES[row : row + 1])
    assert len(inflated) == 6


def test_a_read_of_everything_leaves_what_was_used_again(path, cache, inflated):
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        for _ in range(2):
            array[:9, :10]
        for left in range(0, 60, 10):
            array[:, left : left + 10]
            array[30:, left : left + 10]
            assert cache.n_bytes <= cache.limit
        inflated.clear()
        array[:9, :10]
    assert inflated == []


def test_values_of_a_file_that_changed_are_not_returned(path, cache):
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        array[:9, :10]
        os.utime(path, ns=(0, 0))
        with pytest.raises(SourceError, match="has changed since it was opened"):
            array[:9, :10]
        assert cache.n_bytes == 0


def test_parts_vanish_with_their_file(path, cache):
    with h5py.File(path) as file:
        arrays = [HDF5Array(file["data"]) for _ in range(2)]
        for array in arrays:
            array[:9, :10]
        assert cache.n_bytes == 800
        del array, arrays[0]
        gc.collect()
        assert cache.n_bytes == 400
    cache.forget_closed()
    assert cache.n_bytes == 0
    with pytest.raises(SourceError, match="is closed"):
        arrays[0][:9, :10]


def test_closing_an_output_forgets_its_chunks(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        group = file.create_group("report/exc")
        data = group.create_dataset("data", data=VALUES, chunks=(10, 10), compression="gzip")
        data.attrs["units"] = "mV"
        group["mapping/node_ids"] = np.arange(60)
        group["mapping/index_pointers"] = np.arange(61)
        group["mapping/element_ids"] = np.zeros(60, "u4")
        group["mapping/time"] = np.array([0, 4, 0.1])
        group["mapping/time"].attrs["units"] = "ms"
    before = CHUNKS.n_bytes
    output = open_output(tmp_path / "v.h5")
    output.reports[0].get_traces(cells=[3])
    assert CHUNKS.n_bytes > before
    output.close()
    assert CHUNKS.n_bytes == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on Windows")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_begins_with_an_empty_cache(cache):
    cache.put((0, 0), np.zeros(4))
    with cache._lock:  # noqa: SLF001 - as another thread would hold it
        if not (child := os.fork()):
            cache.put((0, 1), np.zeros(4, "u1"))
            os._exit(cache.n_bytes)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4


def test_threads_share_the_cache(path, cache):
    cells = np.random.default_rng(0).integers(0, 60, 400).tolist()
    with h5py.File(path) as file:
        array = HDF5Array(file["data"], workers=0)
        found = list(in_order(lambda cell: array[:, cell : cell + 1], cells, workers=4))
        assert cache.n_bytes <= cache.limit
    for cell, values in zip(cells, found, strict=True):
        np.testing.assert_array_equal(values, VALUES[:, cell : cell + 1])
