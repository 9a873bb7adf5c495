"""Files of every kind are read as h5py reads them, and none stays open."""

import ctypes
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.storage.datasets import (
    ChunkedReader,
    ContiguousReader,
    DeflatedReader,
    H5pyReader,
    dataset_reader,
)
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import STORED, VALUES, assert_same, write


@pytest.fixture(params=STORED)
def options(request) -> dict[str, Any]:
    """One of the ways to store a matrix that are read past HDF5."""
    return STORED[request.param]


@pytest.fixture
def path(options, tmp_path: Path) -> Path:
    """A file with a matrix."""
    write(tmp_path / "v.h5", options)
    return tmp_path / "v.h5"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("contiguous", ContiguousReader),
        ("chunked", ChunkedReader),
        ("gzip", DeflatedReader),
        ("shuffle and gzip", DeflatedReader),
    ],
)
def test_common_kinds_of_storage_are_read_past_hdf5(kind, expected, tmp_path: Path):
    write(tmp_path / "v.h5", STORED[kind])

    with h5py.File(tmp_path / "v.h5") as file:
        assert type(dataset_reader(file["data"])) is expected
        assert HDF5Array(file["data"]).is_mapped == (expected is not DeflatedReader)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (4, 3), "compression": "lzf"},
        {"chunks": (4, 3), "shuffle": True},
        {"chunks": (4, 3), "fletcher32": True},
        {"chunks": (4, 3), "compression": "gzip", "fletcher32": True},
        {"dtype": bool},
        {"dtype": "S3"},
        {"dtype": h5py.enum_dtype({"a": 0, "b": 1})},
        {"dtype": h5py.string_dtype()},
        {"dtype": [("a", "f4"), ("b", "i2")]},
    ],
    ids=str,
)
def test_other_kinds_of_storage_are_read_through_h5py(options, tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("data", (6, 8), **{"dtype": "f4", **options})

    with h5py.File(tmp_path / "v.h5") as file:
        array = HDF5Array(file["data"])
        assert type(dataset_reader(file["data"])) is H5pyReader
        assert not array.is_mapped
        assert array[1:3, 2:4].tolist() == file["data"][1:3, 2:4].tolist()
        assert array.take_columns(slice(None), np.array([3, 0])).shape == (6, 2)


@pytest.mark.parametrize("dtype", ["c8", "c16", "g", ">c8"])
def test_complex_and_long_numbers_are_read(dtype, options, tmp_path: Path):
    values = (VALUES + 0.5).astype(dtype)
    write(tmp_path / "v.h5", options, values)

    with h5py.File(tmp_path / "v.h5") as file:
        np.testing.assert_array_equal(HDF5Array(file["data"])[1:, ::2], values[1:, ::2])


def test_numbers_of_fewer_bits_are_read_through_h5py(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        kind = h5py.h5t.STD_I16LE.copy()
        kind.set_precision(12)
        made = h5py.h5d.create(file.id, b"data", kind, h5py.h5s.create_simple((6, 8)))
        h5py.Dataset(made)[...] = np.arange(48).reshape(6, 8)

    with h5py.File(tmp_path / "v.h5") as file:
        assert type(dataset_reader(file["data"])) is H5pyReader
        assert HDF5Array(file["data"])[5, 7] == 47


def in_memory(path: Path) -> h5py.File:
    return h5py.File(io.BytesIO(path.read_bytes()))


OPENERS: dict[str, Callable[[Path], h5py.File]] = {
    "read only": h5py.File,
    "to be changed": lambda path: h5py.File(path, "r+"),
    "bytes in memory": in_memory,
    "core driver": lambda path: h5py.File(path, driver="core"),
    "stdio driver": lambda path: h5py.File(path, driver="stdio"),
    "swmr": lambda path: h5py.File(path, swmr=True),
    "without locks": lambda path: h5py.File(path, locking=False),
    "a name in bytes": lambda path: h5py.File(os.fsencode(path)),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_files_are_read_however_they_are_opened(opener, libver, options, tmp_path: Path):
    write(tmp_path / "v.h5", options, libver=libver)

    with OPENERS[opener](tmp_path / "v.h5") as file:
        array = HDF5Array(file["data"], workers=2)
        assert_same(array[:, :], VALUES)
        assert_same(array[1:5:2, 2:7], VALUES[1:5:2, 2:7])
        assert_same(array.take_columns(slice(2, 6), np.array([7, 0, 0])), VALUES[2:6, [7, 0, 0]])


def test_a_file_object_is_read(options, tmp_path: Path):
    write(tmp_path / "v.h5", options)

    with (tmp_path / "v.h5").open("rb") as opened, h5py.File(opened) as file:
        assert_same(HDF5Array(file["data"], workers=2)[:, :], VALUES)


def test_written_data_are_read_at_once(path: Path):
    with h5py.File(path, "r+") as file:
        array = HDF5Array(file["data"])
        before = array[:, :]
        file["data"][2, 3] = -1

        assert_same(before, VALUES)
        assert array[2:3, 3:4].tolist() == [[-1]]


def test_data_written_through_another_handle_are_read_at_once(path: Path):
    with h5py.File(path, "r+") as file, h5py.File(path) as other:
        array = HDF5Array(other["data"])
        array[:, :]
        file["data"][2, 3] = -1

        assert array[2:3, 3:4].tolist() == [[-1]]
        assert array.piece(slice(2, 3), slice(3, 4)).tolist() == [[-1]]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_dataset_that_grows_while_it_is_read_is_read(compression, tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        made = file.create_dataset(
            "data", data=VALUES, maxshape=(None, 8), chunks=(1, 8), compression=compression
        )
        file.swmr_mode = True
        with h5py.File(tmp_path / "v.h5", swmr=True, libver="latest") as reader:
            array = HDF5Array(reader["data"])
            array[:, :]
            made.resize((9, 8))
            made[6:] = 5
            made.flush()
            array.array.refresh()

            assert array.shape == (9, 8)
            assert_same(array[:, :], made[()])


def test_an_array_does_not_keep_its_file(path: Path):
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        array[:, :]

    with h5py.File(path, "r+") as file:
        file["data"][...] = 0
    path.unlink()

    assert array.workers >= 0


USES: dict[str, Callable[[HDF5Array], object]] = {
    "created": lambda array: array.workers,
    "only looked at": lambda array: array.array.shape,
    "read": lambda array: array[:, :],
    "read by h5py": lambda array: array.array[:, :],
    "looked at, and read by h5py": lambda array: array.array[array.array.shape[0] - 1],
}
READS: dict[str, Callable[[HDF5Array], object]] = {
    "slices": lambda array: array[:, :],
    "a row": lambda array: array[0],
    "columns": lambda array: array.take_columns(slice(None), np.array([0])),
    "a piece": lambda array: array.piece(slice(0, 1), slice(0, 1)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("use", USES)
def test_a_closed_file_is_an_error_that_says_so(use, read, path: Path):
    with h5py.File(path) as file:
        array = HDF5Array(file["data"])
        USES[use](array)

    with pytest.raises(SourceError, match=r"v\.h5 is closed: .*; open it again"):
        READS[read](array)


def test_a_file_that_another_file_has_replaced_is_read(path: Path, options, tmp_path: Path):
    write(tmp_path / "other.h5", options, VALUES + 1)

    with h5py.File(path) as file:
        (tmp_path / "other.h5").replace(path)

        assert_same(HDF5Array(file["data"])[:, :], VALUES)


def test_a_file_system_that_cannot_map_files_is_read(path: Path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("mmap.mmap", refuse)
    with h5py.File(path) as file:
        array = HDF5Array(file["data"], workers=2)

        assert_same(array[:, :], VALUES)
        assert_same(array.piece(slice(1, 5), slice(2, 3)), VALUES[1:5, 2:3])


def test_a_file_without_a_name_is_read(path: Path):
    with h5py.File(path) as file:
        path.unlink()

        assert_same(HDF5Array(file["data"])[:, :], VALUES)


def test_a_file_is_read_from_another_directory(path: Path, monkeypatch, tmp_path: Path):
    monkeypatch.chdir(path.parent)

    with h5py.File("v.h5") as file:
        monkeypatch.chdir("/")

        assert_same(HDF5Array(file["data"])[:, :], VALUES)


def test_a_dataset_in_another_file_is_read(path: Path, tmp_path: Path):
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["there"] = h5py.ExternalLink("v.h5", "/data")

    with h5py.File(tmp_path / "links.h5") as file:
        assert_same(HDF5Array(file["there"])[:, :], VALUES)


def test_external_storage_is_read(tmp_path: Path):
    (tmp_path / "v.raw").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "v.h5", "w") as file:
        where = [(str(tmp_path / "v.raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("data", VALUES.shape, VALUES.dtype, external=where)

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[1:, ::3], VALUES[1:, ::3])


def test_a_virtual_dataset_is_read(path: Path, tmp_path: Path):
    layout = h5py.VirtualLayout((12, 8), VALUES.dtype)
    source = h5py.VirtualSource(path, "data", VALUES.shape)
    layout[:6], layout[6:] = source, source
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data", layout)

    with h5py.File(tmp_path / "virtual.h5") as file:
        assert_same(HDF5Array(file["data"])[4:8, 1:3], np.vstack([VALUES, VALUES])[4:8, 1:3])


def test_compact_data_are_read(tmp_path: Path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        space = h5py.h5s.create_simple(VALUES.shape)
        made = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_DOUBLE, space, properties)
        h5py.Dataset(made)[...] = VALUES

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[1:, ::3], VALUES[1:, ::3])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_data_that_were_never_written_are_the_fill_value(compression, tmp_path: Path):
    chunks = None if compression is None else (3, 3)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset(
            "data", (6, 8), "f8", fillvalue=2.5, chunks=chunks, compression=compression
        )

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[:, :], np.full((6, 8), 2.5))


@pytest.fixture
def hdf5() -> ctypes.CDLL:
    """The library that h5py uses, for features that h5py does not offer."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    found = {line.split()[-1] for line in lines if "/libhdf5" in line and "hdf5_hl" not in line}
    if len(found) != 1:
        pytest.skip("the HDF5 library of h5py is not found")
    return ctypes.CDLL(found.pop())


def create_by(properties: h5py.h5p.PropDCID, file: h5py.File) -> h5py.Dataset:
    space = h5py.h5s.create_simple(VALUES.shape)
    made = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_DOUBLE, space, properties)
    return h5py.Dataset(made)


@pytest.mark.parametrize("shuffled", [False, True])
def test_edges_that_are_not_deflated_are_read(shuffled, hdf5, tmp_path: Path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 3))
    if shuffled:
        properties.set_shuffle()
    properties.set_deflate(4)
    dont_filter_partial_chunks = ctypes.c_uint(2)
    assert hdf5.H5Pset_chunk_opts(ctypes.c_int64(properties.id), dont_filter_partial_chunks) == 0
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        create_by(properties, file)[...] = VALUES

    with h5py.File(tmp_path / "v.h5") as file:
        sizes = {file["data"].id.get_chunk_info(number).size for number in range(6)}
        assert 4 * 3 * 8 in sizes
        assert_same(HDF5Array(file["data"])[:, :], VALUES)


@pytest.mark.parametrize("deflated", [False, True])
def test_chunks_without_fill_value_are_read_as_h5py_reads_them(deflated, hdf5, tmp_path: Path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 3))
    if deflated:
        properties.set_deflate(4)
    double = ctypes.c_int64(h5py.h5t.NATIVE_DOUBLE.id)
    assert hdf5.H5Pset_fill_value(ctypes.c_int64(properties.id), double, None) == 0
    with h5py.File(tmp_path / "v.h5", "w") as file:
        create_by(properties, file)[:4] = 1

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[:, :], file["data"][()])


def test_short_arrays_are_kept_only_as_long_as_their_file_is_open_and_unchanged(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["ends"] = np.arange(5)
        written = HDF5Array(file["ends"])
        assert written.kept() is not written.kept()
        file["ends"][0] = 7
        assert written.kept()[0] == 7

    with h5py.File(tmp_path / "v.h5") as file:
        ends = HDF5Array(file["ends"])
        kept = ends.kept()
        assert ends.kept() is kept
        assert not kept.flags.writeable
    with pytest.raises(SourceError, match=r"v\.h5 is closed"):
        ends.kept()

    with h5py.File(tmp_path / "v.h5") as file:
        ends = HDF5Array(file["ends"])
        assert_same(ends.kept(), kept)
        os.utime(tmp_path / "v.h5", (1, 1))
        with pytest.raises(SourceError, match="the file has changed since it was opened"):
            ends.kept()
