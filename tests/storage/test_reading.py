"""Data that are read past HDF5 equal those that h5py reads."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage import datasets, layout, raw_files
from ndx_simulation_output.storage.chunk_cache import ChunkCache
from ndx_simulation_output.storage.filters import inflate, shuffle
from ndx_simulation_output.storage.raw_files import MappedFile, Reading
from ndx_simulation_output.storage.reading import HDF5Array, wrap_array
from tests.storage.making import (
    DTYPES,
    SHAPES,
    assert_same,
    directory,
    keys,
    matrix,
    storage_options,
)

LIMITS = st.fixed_dictionaries(
    {
        "leases": st.booleans(),
        "_PART_BYTES": st.sampled_from([0, 2, 1536]),
        "_MANY_SPANS": st.sampled_from([0, 2, 256]),
        "_BLOCK_BYTES": st.sampled_from([0, 2**20]),
        "_BATCH_BYTES": st.sampled_from([0, 100, 2**22]),
        "_SHORT_SPAN": st.sampled_from([1, 16]),
        "_FEW_CHUNKS": st.sampled_from([0, 32]),
        "_THREAD_BYTES": st.sampled_from([0, 2**22]),
        "_ROW_BYTES": st.sampled_from([0, 2**16]),
        "_COPY_BYTES": st.sampled_from([0, 2**24]),
        "_MANY_CHUNKS": st.sampled_from([1, 8]),
        "CHUNKS": st.sampled_from([ChunkCache(limit) for limit in (0, 1000, 2**14, 2**27)]),
    }
)
MODULES = datasets, layout, raw_files
WORKERS = st.integers(0, 3)
FILES = st.fixed_dictionaries(
    {
        "libver": st.sampled_from(["earliest", "latest"]),
        "userblock_size": st.sampled_from([0, 0, 512]),
    }
)


@contextmanager
def limited(limits: dict[str, int]) -> Iterator[None]:
    """Replace limits, each in the module that defines it."""
    with ExitStack() as patches:
        if not limits.pop("leases"):
            patches.enter_context(patch.object(MappedFile, "lease", lambda _: None))
        for name, limit in limits.items():
            (module,) = (owner for owner in MODULES if hasattr(owner, name))
            patches.enter_context(patch.object(module, name, limit))
        yield


@st.composite
def columns(draw: st.DrawFn, length: int) -> np.ndarray:
    """Columns in any order, repeated or not."""
    return np.array(draw(st.lists(st.integers(0, length - 1), max_size=20)), np.intp)


def bounds(length: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two positions in a dimension."""
    return st.tuples(st.integers(0, length), st.integers(0, length))


def assert_reads_the_same(array: HDF5Array, dataset: h5py.Dataset, data: st.DataObject) -> None:
    """Compare slices, pieces and columns of an array with those of h5py."""
    for _ in range(3):
        key = data.draw(keys(dataset.shape), "key")
        chosen = data.draw(columns(dataset.shape[1]), "columns")
        expected = dataset[()]
        assert_same(array[key], expected[key])
        assert_same(array.take_columns(key[0], chosen), expected[key[0]][:, chosen])
    rows, some = (slice(*sorted(data.draw(bounds(end), "piece"))) for end in dataset.shape)
    together = array.take_columns(rows, range(some.start, some.stop))
    assert_same(together, dataset[()][rows, some])
    np.testing.assert_array_equal(array.piece(rows, some), dataset[()][rows, some])


@given(
    shape=SHAPES,
    dtype=st.sampled_from(DTYPES),
    how=FILES,
    limits=LIMITS,
    workers=WORKERS,
    data=st.data(),
)
def test_a_dataset_of_any_type_and_storage_is_read_as_h5py_reads_it(
    shape, dtype, how, limits, workers, data
):
    options = data.draw(storage_options(shape, dtype))

    with directory() as folder, limited(limits):
        with h5py.File(folder / "v.h5", "w", **how) as file:
            file.create_dataset("data", data=matrix(shape, dtype), **options)
        with h5py.File(folder / "v.h5") as file:
            array = HDF5Array(file["data"], workers)

            assert array.dtype == dtype
            assert array.shape == shape
            assert array.chunks == options.get("chunks")
            assert_reads_the_same(array, file["data"], data)


@given(
    shape=SHAPES,
    options=st.sampled_from(
        [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"lzf": True}]
    ),
    fill=st.fixed_dictionaries(
        {
            "fillvalue": st.sampled_from([0, 7]),
            "fill_time": st.sampled_from(["alloc", "ifset", "never"]),
        }
    ),
    dtype=st.sampled_from(["<f4", ">f8", "|u1"]),
    limits=LIMITS,
    data=st.data(),
)
def test_missing_chunks_are_read_as_h5py_reads_them(shape, options, fill, dtype, limits, data):
    storage = {"compression": "lzf"} if "lzf" in options else options
    chunks = tuple(data.draw(st.integers(1, length)) for length in shape)
    written = data.draw(st.lists(keys(shape), max_size=3))

    with directory() as folder, limited(limits):
        with h5py.File(folder / "v.h5", "w") as file:
            made = file.create_dataset("data", shape, dtype, chunks=chunks, **storage, **fill)
            for key in written:
                made[key] = matrix(shape, dtype)[key]
        with h5py.File(folder / "v.h5") as file:
            assert_reads_the_same(HDF5Array(file["data"], 0), file["data"], data)


def filtered(chunk: np.ndarray, skipped: int, *, shuffled: bool) -> bytes:
    """Apply shuffle, if there is one, and deflate to a chunk, unless they are skipped."""
    shuffles, deflates = (not skipped & 1, not skipped & 2) if shuffled else (0, not skipped & 1)
    raw = shuffle(chunk).tobytes() if shuffles else chunk.tobytes()
    return zlib.compress(raw) if deflates else raw


@given(
    shape=SHAPES,
    shuffled=st.booleans(),
    dtype=st.sampled_from(["<f4", ">f8", "|u1", "<f2"]),
    on_disk=st.booleans(),
    data=st.data(),
)
def test_chunks_that_skip_filters_are_read(shape, shuffled, dtype, on_disk, data):
    chunks = tuple(data.draw(st.integers(1, length)) for length in shape)

    with directory() as folder:
        with h5py.File(folder / "v.h5", "w") as file:
            made = file.create_dataset(
                "data", shape, dtype, chunks=chunks, shuffle=shuffled, compression=1
            )
            rows, columns = map(range, (0, 0), shape, chunks)
            for place in product(rows, columns):
                whole = matrix(chunks, dtype, seed=sum(place))
                mask = data.draw(st.integers(0, 3 if shuffled else 1), "skipped")
                made.id.write_direct_chunk(place, filtered(whole, mask, shuffled=shuffled), mask)
        driver = None if on_disk else "core"
        with h5py.File(folder / "v.h5", driver=driver) as file:
            first = tuple(slice(length) for length in chunks)
            assert file["data"][first].tobytes() == matrix(chunks, dtype).tobytes()
            assert_reads_the_same(HDF5Array(file["data"], 0), file["data"], data)


@given(shape=SHAPES, first=SHAPES, then=SHAPES, deflated=st.booleans(), data=st.data())
def test_a_dataset_that_grew_and_shrank_is_read(shape, first, then, deflated, data):
    filters = {"compression": "gzip", "shuffle": True} if deflated else {}

    with directory() as folder:
        with h5py.File(folder / "v.h5", "w") as file:
            made = file.create_dataset(
                "data", shape, "f4", chunks=(3, 4), maxshape=(None, None), fillvalue=5, **filters
            )
            for size in (first, then):
                made[...] = matrix(made.shape, "f4")
                made.resize(size)
        with h5py.File(folder / "v.h5") as file:
            assert_reads_the_same(HDF5Array(file["data"], 0), file["data"], data)


def test_datasets_are_wrapped_and_other_arrays_are_not(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        line = file.create_dataset("line", data=np.arange(3))
        matrix_of_file = file.create_dataset("matrix", data=np.zeros((2, 3)))
        values = np.zeros((2, 3))

        assert isinstance(wrap_array(line), HDF5Array)
        assert wrap_array(values) is values
        assert isinstance(wrap_array(matrix_of_file), HDF5Array)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("chunks", [None, (1, 1), (7, 7)])
def test_matrices_of_one_or_no_row_or_column_are_read(shape, chunks, tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        values = np.arange(shape[0] * shape[1], dtype="i2").reshape(shape)
        maxshape = None if chunks is None else (None, None)
        file.create_dataset("data", data=values, chunks=chunks, maxshape=maxshape)

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[:, :], values)
        assert HDF5Array(file["data"])[3:, 3:].tolist() == values[3:, 3:].tolist()


@pytest.mark.parametrize("options", [{}, {"chunks": (10, 7)}], ids=str)
def test_many_scattered_columns_are_read(options, tmp_path: Path):
    values = np.random.default_rng(0).random((23, 2000), np.float32)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("data", data=values, **options)
    chosen = np.random.default_rng(1).permutation(2000)[:1200]

    with h5py.File(tmp_path / "v.h5") as file:
        array = HDF5Array(file["data"])
        found = array.take_columns(slice(2, 21, 3), chosen)
        every_second = array[3:20, ::2]

    assert_same(found, values[2:21:3, chosen])
    assert_same(every_second, values[3:20, ::2])


def test_scattered_columns_are_copied_once_from_each_chunk(tmp_path: Path):
    values = np.random.default_rng(0).random((20, 400), np.float32)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("data", data=values, chunks=(1, 400))

    with (
        h5py.File(tmp_path / "v.h5") as file,
        patch.object(Reading, "blocks", autospec=True, side_effect=Reading.blocks) as read,
    ):
        found = HDF5Array(file["data"]).take_columns(slice(5, 15), np.arange(0, 400, 3))

    assert_same(found, values[5:15, ::3])
    assert read.call_count == 10


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_deflated_chunk_is_inflated_once_and_only_if_it_is_selected(
    workers, shuffled, tmp_path: Path
):
    values = np.random.default_rng(0).random((40, 50))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset(
            "data", data=values, chunks=(10, 10), compression="gzip", shuffle=shuffled
        )
    streams = []

    def spy(stream, n_bytes):
        streams.append(bytes(stream))
        return inflate(stream, n_bytes)

    with (
        h5py.File(tmp_path / "v.h5") as file,
        patch.object(datasets, "inflate", spy),
        patch.object(layout, "_THREAD_BYTES", 0),
    ):
        array = HDF5Array(file["data"], workers)
        chosen = np.array([45, 1, 9, 1, 3, 49, 47])
        found = array.take_columns(slice(5, 25), chosen)

    assert_same(found, values[5:25, chosen])
    assert len(streams) == len(set(streams)) == 3 * 2


def test_the_index_of_many_chunks_is_read_once(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((100, 10)), chunks=(1, 10), compression="gzip")

    with (
        h5py.File(tmp_path / "v.h5") as file,
        patch.object(datasets.ChunkIndex, "_read", autospec=True) as whole,
        patch.object(datasets.ChunkIndex, "_lookup_one", autospec=True) as one,
    ):
        whole.return_value = np.full((100, 1, 3), -1)
        one.return_value = (-1, 0, 0)
        array = HDF5Array(file["data"], workers=0)
        array[0:30, :]
        looked_up = one.call_count
        for _ in range(3):
            array[:, :]

    assert looked_up == 30
    assert one.call_count == 30
    assert whole.call_count == 1


def test_a_chunk_after_a_missing_one_is_not_adjacent_to_it(tmp_path: Path):
    width = 100

    # A chunk whose length is its address plus one: it would follow a chunk at address -1.
    for _ in range(9):
        with h5py.File(tmp_path / "v.h5", "w") as file:
            data = file.create_dataset("data", (1, 2 * width), "u1", chunks=(1, width), fillvalue=7)
            data[:, width:] = 1
            address = data.id.get_chunk_info(0).byte_offset
        if width == address + 1:
            break
        width = address + 1

    with h5py.File(tmp_path / "v.h5") as file:
        assert width == address + 1
        assert_same(HDF5Array(file["data"])[:, :], file["data"][()])
