"""A matrix is written past HDF5 as h5py would write it, whatever its source."""

import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.recording.arrays import LazyArray, copy_array
from ndx_simulation_output.recording.views import ColumnRange, Columns, Scaled, Transposed
from ndx_simulation_output.storage import partitions as sources
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.writing import create_dataset, write_matrix
from tests.storage.making import DTYPES, Spy, directory, matrix, storage_options

SHAPES = st.tuples(st.integers(0, 24), st.integers(0, 24))
CHUNKS = st.sampled_from(["contiguous", None]) | st.tuples(st.integers(1, 12), st.integers(1, 12))
WORKERS = st.integers(0, 3)
KINDS = ["array", "dataset", "columns", "columns of columns", "range", "transposed", "scaled"]


@st.composite
def orders(draw: st.DrawFn, length: int) -> np.ndarray:
    allowed = st.lists(st.integers(0, length - 1), max_size=24) if length else st.just([])
    return np.array(draw(allowed), np.intp)


@st.composite
def views(draw: st.DrawFn, array: LazyArray, values: np.ndarray) -> tuple[LazyArray, np.ndarray]:
    """Draw a view of an array, and its values."""
    kind = draw(st.sampled_from(KINDS))
    if kind == "array":
        return values, values
    if kind == "transposed":
        return Transposed(array), values.T
    if kind == "scaled":
        return Scaled(array, 0.5, 1.0), values * np.float64(0.5) + 1.0
    if kind == "range":
        start, stop = sorted(draw(st.tuples(*[st.integers(0, values.shape[1])] * 2)))
        return ColumnRange(array, start, stop), values[:, start:stop]
    for _ in range(kind.count("columns")):
        order = draw(orders(values.shape[1]))
        array, values = Columns(array, order), values[:, order]
    return array, values


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, int], itemsize: int) -> Layout:
    """Plan a layout in less memory than a user may ask for."""
    chunks = draw(CHUNKS)
    compression = draw(st.sampled_from([None, "gzip"])) if chunks != "contiguous" else None
    layout = plan_layout(shape, itemsize, 3, StorageOptions(compression=compression, chunks=chunks))
    memory, beside = draw(st.integers(1, 3000)), draw(st.integers(1, 4))
    if layout.chunks is None:
        return replace(layout, memory=memory, piece=(beside, shape[1]))
    height, width = layout.chunks
    return replace(layout, memory=memory, piece=(height, width * beside))


def plain_options(layout: Layout) -> dict[str, Any]:
    """Return the options of h5py for the same dataset."""
    if layout.chunks is None:
        return {}
    filters = {} if layout.compression is None else {"compression": 4, "shuffle": True}
    return {"chunks": layout.chunks, "maxshape": (None, layout.shape[1]), **filters}


def raw_chunks(dataset: h5py.Dataset) -> dict[Any, bytes]:
    """Bytes of every chunk before the filters, with what is beyond the edges of the data."""
    dataset.file.flush()
    found = {}
    for number in range(dataset.id.get_num_chunks()):
        place = dataset.id.get_chunk_info(number).chunk_offset
        mask, stored = dataset.id.read_direct_chunk(place)
        assert mask == 0
        found[place] = stored
    if dataset.compression:
        found = {place: zlib.decompress(stored) for place, stored in found.items()}
    return found


@given(
    shape=SHAPES,
    dtype=st.sampled_from([dtype for dtype in DTYPES if dtype[1] != "u"]),
    with_path=st.booleans(),
    workers=WORKERS,
    release_bytes=st.integers(1, 3000),
    data=st.data(),
)
def test_a_matrix_from_any_source_in_any_layout_is_what_h5py_would_have_written(
    shape, dtype, with_path, workers, release_bytes, data
):
    values = np.random.default_rng(0).integers(-50, 50, shape).astype(dtype)
    options = data.draw(storage_options(shape, dtype)) if all(shape) else {}
    done: list[int] = []

    with directory() as folder, patch.object(sources, "_RELEASE_BYTES", release_bytes):
        with h5py.File(folder / "source.h5", "w") as file:
            file.create_dataset("data", data=values, **options)
        with h5py.File(folder / "source.h5") as file, h5py.File(folder / "v.h5", "w") as target:
            source, expected = data.draw(views(HDF5Array(file["data"]), values), "view")
            layout = data.draw(layouts(source.shape, source.dtype.itemsize), "layout")
            direct = create_dataset(target, "direct", layout, source.dtype)
            path = folder / "v.h5" if with_path else None
            write_matrix(source, direct, layout, path=path, workers=workers, progress=done.append)
            plain = target.create_dataset(
                "plain", source.shape, source.dtype, **plain_options(layout)
            )
            copy_array(source, plain, chunks=layout.chunks)

        with h5py.File(folder / "v.h5") as file:
            direct, plain = file["direct"], file["plain"]
            assert direct.dtype == source.dtype
            np.testing.assert_array_equal(direct[()], expected)
            np.testing.assert_array_equal(plain[()], expected)
            if layout.chunks is not None:
                assert raw_chunks(direct) == raw_chunks(plain)
        assert sum(done) == expected.nbytes
        assert [path.name for path in folder.iterdir() if path.suffix != ".h5"] == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("chunks", "compression"), [("contiguous", None), ((5, 4), None), ((5, 4), "gzip")]
)
@pytest.mark.parametrize("with_path", [False, True])
def test_numbers_are_converted_to_the_type_of_the_dataset(
    workers, chunks, compression, with_path, tmp_path: Path
):
    values = np.random.default_rng(0).random((12, 7))
    layout = plan_layout((12, 7), 4, 1, StorageOptions(compression=compression, chunks=chunks))
    done: list[int] = []

    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = create_dataset(file, "data", layout, np.dtype("<f4"))
        path = tmp_path / "v.h5" if with_path else None
        write_matrix(values, dataset, layout, path=path, workers=workers, progress=done.append)

    with h5py.File(tmp_path / "v.h5") as file:
        assert file["data"].dtype == np.float32
        np.testing.assert_array_equal(file["data"][()], values.astype(np.float32))
    # As in copy_array, progress counts bytes of the source.
    assert sum(done) == values.nbytes


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize(
    ("source_chunks", "chunks"),
    [((1, 90), (20, 15)), ((100, 1), (20, 15)), ((10, 30), (20, 15)), ((40, 30), "contiguous")],
)
@pytest.mark.parametrize("memory", [1000, 10**6])
def test_a_chunk_of_the_source_is_read_once(workers, source_chunks, chunks, memory, tmp_path: Path):
    values = matrix((100, 90), "<f4")
    source = Spy(values, source_chunks)
    layout = replace(plan_layout((100, 90), 4, 1, StorageOptions(chunks=chunks)), memory=memory)

    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = create_dataset(file, "data", layout, values.dtype)
        write_matrix(source, dataset, layout, path=tmp_path / "v.h5", workers=workers)

    assert (source.chunk_reads() == 1).all()


@pytest.mark.parametrize("userblock_size", [0, 512])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("chunks", ["contiguous", (5, 4)])
def test_addresses_are_right_in_every_kind_of_file(userblock_size, libver, chunks, tmp_path: Path):
    values = matrix((12, 7), "<f8")
    layout = plan_layout((12, 7), 8, 1, StorageOptions(chunks=chunks))
    path = tmp_path / "v.h5"

    with h5py.File(path, "w", libver=libver, userblock_size=userblock_size) as file:
        file["before"] = np.arange(100)
        dataset = create_dataset(file, "data", layout, values.dtype)
        write_matrix(values, dataset, layout, path=path, workers=2)
        file["after"] = np.arange(100)

    with h5py.File(path) as file:
        assert file["data"][()].tobytes() == values.tobytes()
        assert file["before"][()].tolist() == file["after"][()].tolist() == list(range(100))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (5, 4), "compression": "gzip"},
        {"chunks": (5, 4), "compression": "lzf"},
        {"chunks": (5, 4), "fletcher32": True},
        {"chunks": (5, 4), "fillvalue": 7},
        {"chunks": (5, 4), "dtype": h5py.enum_dtype({"a": 0, "b": 1})},
    ],
    ids=str,
)
def test_datasets_that_others_created_are_written(options, tmp_path: Path):
    values = np.arange(84).reshape(12, 7) % 2
    layout = plan_layout((12, 7), 8, 1, StorageOptions(chunks=options.get("chunks", "contiguous")))

    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("data", (12, 7), **{"dtype": "i4", **options})
        write_matrix(values, dataset, layout, path=tmp_path / "v.h5", workers=2)

        np.testing.assert_array_equal(dataset[()], values)


def test_a_file_in_memory_is_written():
    values = matrix((12, 7), "<f8")

    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        for name, chunks, compression in [
            ("a", "contiguous", None),
            ("b", (5, 4), None),
            ("c", (5, 4), "gzip"),
        ]:
            layout = plan_layout(
                (12, 7), 8, 1, StorageOptions(compression=compression, chunks=chunks)
            )
            write_matrix(values, create_dataset(file, name, layout, values.dtype), layout)
            assert file[name][()].tobytes() == values.tobytes()


def test_sources_without_more_than_a_slice_are_written(tmp_path: Path):
    class Least:
        shape, dtype = (12, 7), np.dtype("f8")

        def __getitem__(self, key):
            return np.ones(self.shape)[key]

    layout = plan_layout((12, 7), 8)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = create_dataset(file, "data", layout, np.dtype("f8"))
        write_matrix(Least(), dataset, layout, path=tmp_path / "v.h5")

        assert dataset[()].all()


def test_pieces_are_gathered_in_threads_and_reported_from_the_calling_one(tmp_path: Path):
    before, readers, reporters = threading.active_count(), set(), set()

    class Source(Spy):
        def __getitem__(self, key):
            readers.add(threading.get_ident())
            return super().__getitem__(key)

    values = matrix((100, 7), "<f8")
    layout = replace(plan_layout((100, 7), 8, 1, StorageOptions(chunks="contiguous")), piece=(5, 7))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = create_dataset(file, "data", layout, values.dtype)
        write_matrix(
            Source(values, is_mapped=True),
            dataset,
            layout,
            path=tmp_path / "v.h5",
            workers=2,
            progress=lambda _: reporters.add(threading.get_ident()),
        )

    assert threading.get_ident() not in readers
    assert reporters == {threading.get_ident()}
    assert threading.active_count() == before
