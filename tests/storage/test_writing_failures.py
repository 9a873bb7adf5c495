"""A failed read or write raises an error that names the file, and leaves no file."""

import errno
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.files import atomic_hdf5
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.writing import (
    create_dataset,
    locate_dataset,
    reserve_space,
    write_matrix,
)
from tests.storage.making import Spy, matrix

SHAPE = 120, 70
STORAGES = {
    "contiguous": StorageOptions(chunks="contiguous"),
    "chunked": StorageOptions(chunks=(50, 30)),
    "gzip": StorageOptions(chunks=(50, 30), compression="gzip"),
}


def write(path: Path, source: Any, layout: Layout, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        dataset = create_dataset(file, "data", layout, source.dtype)
        write_matrix(source, dataset, layout, path=path, **options)


def write_atomically(path: Path, source: Any, layout: Layout, **options: Any) -> None:
    """Write a file atomically."""
    with atomic_hdf5(path) as file:
        dataset = create_dataset(file, "data", layout, source.dtype)
        write_matrix(source, dataset, layout, path=file.path, **options)


class Broken(Spy):
    """A source whose rows from the 60th on cannot be read."""

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        if key[0].stop > 60:
            msg = "file is truncated"
            raise OSError(msg)
        return super().__getitem__(key)


@pytest.fixture(params=STORAGES)
def layout(request) -> Layout:
    """One plan of each kind."""
    return plan_layout(SHAPE, 4, 7, STORAGES[request.param])


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_broken_source_is_a_source_error_and_nothing_hangs(
    workers, is_mapped, layout, tmp_path: Path
):
    expected = r"cannot read rows \d+ to \d+ of the source: file is truncated"
    source = Broken(matrix(SHAPE, "<f4"), is_mapped=is_mapped)
    before = threading.active_count()

    with pytest.raises(SourceError, match=expected):
        write_atomically(tmp_path / "v.h5", source, layout, workers=workers)

    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_a_damaged_chunk_of_the_source_is_named(tmp_path: Path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        options = {"chunks": (50, 30), "compression": "gzip"}
        data = file.create_dataset("report/data", data=np.zeros(SHAPE, "f4"), **options)
        data.id.write_direct_chunk((50, 30), b"no gzip")
    layout = plan_layout(SHAPE, 4)

    with (
        h5py.File(tmp_path / "source.h5") as file,
        pytest.raises(SourceError, match=r"of report/data of source\.h5: "),
    ):
        write(tmp_path / "v.h5", HDF5Array(file["report/data"]), layout)


def fail_after(count: int, function: Callable[..., int]) -> Callable[..., int]:
    """Return a function that fails as on a full disk after ``count`` calls."""
    calls = []

    def fail(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) > count:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*arguments)

    return fail


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("kind", ["contiguous", "chunked"])
def test_a_full_disk_is_an_error_of_the_system(workers, count, kind, tmp_path: Path, monkeypatch):
    layout = plan_layout(SHAPE, 4, 7, STORAGES[kind])
    layout = layout if layout.chunks else Layout(SHAPE, 4, None, None, (10, 70), 2**20)
    monkeypatch.setattr("os.pwrite", fail_after(count, os.pwrite))
    before = threading.active_count()

    with pytest.raises(OSError, match="No space left on device") as caught:
        write(tmp_path / "v.h5", matrix(SHAPE, "<f4"), layout, workers=workers)

    assert caught.value.errno == errno.ENOSPC
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["contiguous", "chunked"])
def test_a_full_disk_leaves_no_file_and_names_it(workers, kind, tmp_path: Path, monkeypatch):
    layout = plan_layout(SHAPE, 4, 7, STORAGES[kind])
    monkeypatch.setattr("os.pwrite", fail_after(0, os.pwrite))
    expected = r"cannot write .*v\.h5: \[Errno 28\] No space left on device"

    with pytest.raises(WriteError, match=expected):
        write_atomically(tmp_path / "v.h5", matrix(SHAPE, "<f4"), layout, workers=workers)

    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_for_the_temporary_file_leaves_no_file(tmp_path: Path, monkeypatch):
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot reserve room")
    monkeypatch.setattr("os.posix_fallocate", fail_after(0, os.posix_fallocate))
    layout = replace(plan_layout(SHAPE, 4, 7, STORAGES["chunked"]), memory=1000)
    source = Spy(matrix(SHAPE, "<f4"), (1, SHAPE[1]))
    expected = r"cannot write .*v\.h5: \[Errno 28\] No space left on device"

    with pytest.raises(WriteError, match=expected):
        write_atomically(tmp_path / "v.h5", source, layout)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux finds the room of a file at once")
def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(tmp_path: Path):
    import resource

    layout = plan_layout((64, 2**18), 4, 1, StorageOptions(chunks="contiguous"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    with h5py.File(tmp_path / "v.h5", "w") as file:
        place = locate_dataset(create_dataset(file, "v", layout, np.dtype("f4")))
        # More than is free would fill the disk for a moment, also for tests beside this one.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
        try:
            with pytest.raises(OSError, match=r"(No space left|too large|[Qq]uota).*v\.h5"):
                reserve_space(place, tmp_path / "v.h5")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        del file["v"]

    assert (tmp_path / "v.h5").stat().st_size < 2**20
