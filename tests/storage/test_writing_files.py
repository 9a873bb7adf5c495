"""Files that are written past HDF5 are valid HDF5 files."""

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output.cable import simulate
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.writing import create_dataset, replace_dataset, write_matrix
from tests.storage.making import matrix

STORAGES = {
    "contiguous": StorageOptions(chunks="contiguous"),
    "chunked": StorageOptions(chunks=(50, 30)),
    "gzip": StorageOptions(chunks=(50, 30), compression="gzip"),
    "planned": StorageOptions(),
}
SHAPE = 120, 70


@pytest.fixture(params=STORAGES)
def layout(request) -> Layout:
    """One plan of each kind."""
    return plan_layout(SHAPE, 4, 7, STORAGES[request.param])


def write(path: Path, source: Any, layout: Layout, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        dataset = create_dataset(file, "data", layout, source.dtype)
        write_matrix(source, dataset, layout, path=path, **options)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_the_tools_of_hdf5_read_it(layout, dtype, tmp_path: Path):
    h5dump = shutil.which("h5dump")
    if h5dump is None:
        pytest.skip("h5dump is not installed")
    values = matrix(SHAPE, dtype)

    write(tmp_path / "v.h5", values, layout, workers=2)
    subprocess.run(
        [h5dump, "-d", "/data", "-b", "FILE", "-o", tmp_path / "v.raw", tmp_path / "v.h5"],
        check=True,
        capture_output=True,
    )

    assert (tmp_path / "v.raw").read_bytes() == values.tobytes()


@pytest.mark.parametrize("kind", ["contiguous", "planned"])
def test_a_file_is_hardly_larger_than_its_data(kind, tmp_path: Path):
    values = matrix((3000, 150), "<f4")

    write(tmp_path / "v.h5", values, plan_layout(values.shape, 4, 50, STORAGES[kind]))

    # The last chunks extend a few rows and columns beyond the data.
    assert values.nbytes <= (tmp_path / "v.h5").stat().st_size < 1.01 * values.nbytes + 10_000


def test_compressed_voltages_take_about_as_much_room_as_those_of_h5py(tmp_path: Path):
    voltages = np.asarray(simulate(duration=0.2)["v_exc"].data[1000:, :])
    layout = plan_layout(voltages.shape, 4, 17, StorageOptions(compression="gzip"))

    write(tmp_path / "v.h5", voltages, layout)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        options = {"chunks": layout.chunks, "compression": 4, "shuffle": True}
        file.create_dataset("data", data=voltages, **options)

    ours, plain = ((tmp_path / name).stat().st_size for name in ("v.h5", "plain.h5"))
    assert ours < 1.07 * plain


def test_the_layout_is_that_of_the_plan(layout, tmp_path: Path):
    write(tmp_path / "v.h5", matrix(SHAPE, "<f4"), layout)

    with h5py.File(tmp_path / "v.h5") as file:
        data = file["data"]
        assert data.chunks == layout.chunks
        assert data.compression == layout.compression
        assert data.shuffle == (layout.compression is not None)
        assert data.maxshape == (None if layout.chunks else SHAPE[0], SHAPE[1])


@pytest.mark.parametrize("kind", ["chunked", "gzip"])
def test_written_data_can_be_changed_and_appended_to(kind, tmp_path: Path):
    values = matrix(SHAPE, "<f4")
    write(tmp_path / "v.h5", values, plan_layout(SHAPE, 4, 7, STORAGES[kind]))

    with h5py.File(tmp_path / "v.h5", "r+") as file:
        file["data"].resize((150, 70))
        file["data"][120:] = 3
        file["data"][0, 0] = 5

    with h5py.File(tmp_path / "v.h5") as file:
        array = HDF5Array(file["data"])
        assert (array[120:, :] == 3).all()
        assert array[0, 0] == 5
        assert array[1:120, :].tobytes() == values[1:].tobytes()


def test_a_dataset_reads_as_zeros_until_it_is_written(layout, tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        create_dataset(file, "data", layout, np.dtype("<f4"))

    with h5py.File(tmp_path / "v.h5") as file:
        assert not file["data"][()].any()
        assert not HDF5Array(file["data"])[:, :].any()


def test_a_replaced_dataset_keeps_its_type_and_attributes(tmp_path: Path):
    layout = plan_layout((4, 3), 4, 1, StorageOptions(compression="gzip"))

    with h5py.File(tmp_path / "v.h5", "w") as file:
        other = file.create_dataset("group/other", data=[1])
        old = file.create_dataset("group/data", (0, 3), ">f4", maxshape=(None, 3))
        old.attrs["unit"] = "volts"
        old.attrs["conversion"] = np.float32(0.001)
        old.attrs["names"] = ["a", "ö"]
        old.attrs["target"] = other.ref
        old.attrs["nothing"] = h5py.Empty("f4")
        kinds = {key: old.attrs.get_id(key).dtype for key in old.attrs}

        new = replace_dataset(old, partial(create_dataset, layout=layout, dtype=old.dtype))

        assert new.name == "/group/data"
        assert (new.shape, new.dtype, new.chunks) == ((4, 3), ">f4", layout.chunks)
        assert {key: new.attrs.get_id(key).dtype for key in new.attrs} == kinds
        assert new.attrs["unit"] == "volts"
        assert new.attrs["conversion"] == np.float32(0.001)
        assert list(new.attrs["names"]) == ["a", "ö"]
        assert file[new.attrs["target"]] == other
        assert isinstance(new.attrs["nothing"], h5py.Empty)


def test_partial_writes_of_the_system_are_completed(layout, tmp_path: Path, monkeypatch):
    values, pwrite = matrix(SHAPE, "<f4"), os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, data, place: pwrite(file, data[:1001], place))

    write(tmp_path / "v.h5", values, layout, workers=2)

    with h5py.File(tmp_path / "v.h5") as file:
        assert file["data"][()].tobytes() == values.tobytes()


def test_a_system_without_pwrite_writes_the_same(layout, tmp_path: Path, monkeypatch):
    values = matrix(SHAPE, "<f4")
    monkeypatch.delattr("os.pwrite", raising=False)

    write(tmp_path / "v.h5", values, layout, workers=2)

    with h5py.File(tmp_path / "v.h5") as file:
        assert file["data"][()].tobytes() == values.tobytes()


class Old:
    """A dataset, or its id, of an HDF5 version that cannot list chunks."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "chunk_iter":
            raise AttributeError(name)
        found = getattr(self._inner, name)
        return Old(found) if name == "id" else found

    def __getitem__(self, key: Any) -> Any:
        return self._inner[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        self._inner[key] = values


def test_an_hdf5_that_cannot_list_chunks_writes_and_reads_the_same(layout, tmp_path: Path):
    values = matrix(SHAPE, "<f4")

    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = Old(create_dataset(file, "data", layout, values.dtype))
        write_matrix(values, dataset, layout, path=tmp_path / "v.h5", workers=2)

    with h5py.File(tmp_path / "v.h5") as file:
        assert file["data"][()].tobytes() == values.tobytes()
        assert HDF5Array(Old(file["data"]))[:, :].tobytes() == values.tobytes()


def test_the_file_of_a_source_and_that_of_a_target_may_be_one(layout, tmp_path: Path):
    values = matrix(SHAPE, "<f4")

    with h5py.File(tmp_path / "v.h5", "w") as file:
        source = file.create_dataset("source", data=values, chunks=(7, 9), compression="gzip")
        dataset = create_dataset(file, "data", layout, values.dtype)
        write_matrix(HDF5Array(source), dataset, layout, path=tmp_path / "v.h5", workers=2)

    with h5py.File(tmp_path / "v.h5") as file:
        assert file["data"][()].tobytes() == values.tobytes()
