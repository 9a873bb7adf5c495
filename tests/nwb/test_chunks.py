"""Chunks written as they are make the file that HDF5 would have made."""

from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ndx_simulation_output.nwb.chunks import ChunkWriter, chunk_writer
from ndx_simulation_output.recording import arrays
from ndx_simulation_output.recording.arrays import (
    ColumnRange,
    Columns,
    LazyArray,
    Scaled,
    Transposed,
    copy_array,
)

DTYPES = ["<f4", ">f4", "<f8", ">f8", "<f2", ">i2", "<i4", "|u1", ">u8"]
SOURCES = ["array", "dataset", "chunked", "columns", "transposed", "range", "scaled"]


def _file() -> h5py.File:
    return h5py.File("memory.h5", "w", driver="core", backing_store=False)


def _source(kind: str, values: np.ndarray, file: h5py.File, data: st.DataObject) -> LazyArray:
    """Give a source of one kind over ``values``."""
    if kind == "array":
        return values
    storage = {"chunks": (2, 3), "maxshape": (None, None)} if kind == "chunked" else {}
    dataset = file.create_dataset("source", data=values, **storage)
    columns = st.integers(0, values.shape[1])
    if kind == "columns":
        allowed = st.lists(st.integers(0, values.shape[1] - 1), max_size=12)
        return Columns(dataset, np.array(data.draw(allowed) if values.shape[1] else [], np.intp))
    if kind == "range":
        start, stop = sorted([data.draw(columns), data.draw(columns)])
        return ColumnRange(dataset, start, stop)
    if kind == "transposed":
        return Transposed(dataset)
    return Scaled(dataset, 0.5, 1.0) if kind == "scaled" else dataset


def _chunks(dataset: h5py.Dataset) -> dict[Any, bytes]:
    """Bytes of every chunk in the file, with what is beyond the edges of the data."""
    dataset.file.flush()
    found = [dataset.id.get_chunk_info(index) for index in range(dataset.id.get_num_chunks())]
    return {at.chunk_offset: dataset.id.read_direct_chunk(at.chunk_offset)[1] for at in found}


@given(
    dtype=st.sampled_from(DTYPES),
    shape=npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
    chunks=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    block_bytes=st.integers(1, 300),
    fillvalue=st.sampled_from([0, 7]),
    kind=st.sampled_from(SOURCES),
    data=st.data(),
)
def test_whole_chunks_and_plain_writing_make_the_same_file(
    dtype, shape, chunks, block_bytes, fillvalue, kind, data
):
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)

    with (
        _file() as file,
        patch.object(arrays.plan_blocks, "__defaults__", ((1, 1), block_bytes)),
    ):
        source = _source(kind, values, file, data)
        options = {
            "dtype": source.dtype,
            "chunks": chunks,
            "maxshape": (None, None),
            "fillvalue": fillvalue,
        }
        direct, plain = (file.create_dataset(name, source.shape, **options) for name in "ab")
        copy_array(source, ChunkWriter(direct), chunks=chunks)
        copy_array(source, plain, chunks=chunks)

        np.testing.assert_array_equal(direct[()], np.asarray(source[:, :]))
        assert _chunks(direct) == _chunks(plain)


@given(
    bounds=st.tuples(*[st.integers(0, 7)] * 2, *[st.integers(0, 8)] * 2).filter(
        lambda bounds: bounds[0] <= bounds[1] and bounds[2] <= bounds[3]
    ),
    dtype=st.sampled_from(["<f4", ">f4", "<i8"]),
)
def test_blocks_of_any_bounds_and_type_are_written(bounds, dtype):
    top, bottom, left, right = bounds
    values = np.arange(1, 57).reshape(7, 8)[top:bottom, left:right].astype(dtype)
    expected = np.zeros((7, 8), "<f4")
    expected[top:bottom, left:right] = values

    with _file() as file:
        dataset = file.create_dataset("data", (7, 8), "<f4", chunks=(3, 4))
        ChunkWriter(dataset)[top:bottom, left:right] = values

        np.testing.assert_array_equal(dataset[()], expected)


def test_a_part_of_a_chunk_leaves_the_rest_of_it():
    with _file() as file:
        dataset = file.create_dataset("data", data=np.ones((4, 4), "f4"), chunks=(4, 4))
        ChunkWriter(dataset)[0:2, 0:4] = np.zeros((2, 4), "f4")

        assert dataset[:, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 2), "compression": "gzip"},
        {"chunks": (2, 2), "shuffle": True},
        {"chunks": (2, 2), "fletcher32": True},
        {"chunks": (2, 2), "dtype": bool},
        {"chunks": (2, 2), "dtype": h5py.enum_dtype({"a": 0, "b": 1})},
    ],
)
def test_what_is_stored_otherwise_is_left_to_hdf5(options):
    with _file() as file:
        dataset = file.create_dataset("data", (4, 4), **{"dtype": "f4", **options})

        assert chunk_writer(dataset) is dataset


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_chunks_are_written_whole(dtype):
    with _file() as file:
        dataset = file.create_dataset("data", (4, 4), dtype, chunks=(2, 2))

        assert isinstance(chunk_writer(dataset), ChunkWriter)


def test_numbers_of_fewer_bits_are_left_to_hdf5():
    with _file() as file:
        kind = h5py.h5t.STD_I16LE.copy()
        kind.set_precision(12)
        storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        storage.set_chunk((2, 2))
        space = h5py.h5s.create_simple((4, 4))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"data", kind, space, storage))

        assert chunk_writer(dataset) is dataset
