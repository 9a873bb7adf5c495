"""Damaged data raise an error that names them; data that h5py can read are read."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.storage import layout, raw_files
from ndx_simulation_output.storage.datasets import H5pyReader, dataset_reader
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import STORED, VALUES, assert_same, write


def damage(path: Path, stored: Callable[[bytes], bytes]) -> None:
    """Change the stored bytes of the second chunk of ``data``."""
    with h5py.File(path, "r+") as file:
        data = file["data"]
        _, stream = data.id.read_direct_chunk((0, 3))
        data.id.write_direct_chunk((0, 3), stored(stream))


DAMAGES = {
    "cut": lambda stream: stream[:-9],
    "another byte": lambda stream: stream[:20] + bytes([stream[20] ^ 255]) + stream[21:],
    "another checksum": lambda stream: stream[:-1] + bytes([stream[-1] ^ 1]),
    "text": lambda stream: b"no zlib stream" + stream[:0],
}


@pytest.mark.parametrize("damaged", DAMAGES)
@pytest.mark.parametrize("kind", ["gzip", "shuffle and gzip"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_chunk_is_an_error_that_names_file_and_object(
    damaged, kind, workers, monkeypatch, tmp_path: Path
):
    monkeypatch.setattr(layout, "_THREAD_BYTES", 0)
    write(tmp_path / "v.h5", STORED[kind])
    damage(tmp_path / "v.h5", DAMAGES[damaged])

    with h5py.File(tmp_path / "v.h5") as file:
        array = HDF5Array(file["data"], workers)

        with pytest.raises(SourceError, match=r"cannot read rows 0 to 4 of data of v\.h5: "):
            array[0:4, :]
        with pytest.raises(SourceError, match=r"rows 1 to 4 of data of v\.h5: "):
            array.take_columns(slice(1, 5, 2), np.array([4]))
        with pytest.raises(SourceError, match=r"cannot read data of v\.h5: "):
            array[0]
        assert_same(array[4:, :], VALUES[4:])


def test_a_stream_with_trailing_bytes_is_read_as_h5py_reads_it(tmp_path: Path):
    write(tmp_path / "v.h5", STORED["gzip"])
    damage(tmp_path / "v.h5", lambda stream: stream + b"more")

    with h5py.File(tmp_path / "v.h5") as file:
        assert_same(HDF5Array(file["data"])[:, :], file["data"][()])


@pytest.mark.parametrize("kind", ["chunked", "gzip"])
def test_a_file_that_ends_too_early_is_an_error_that_names_file_and_object(kind, tmp_path: Path):
    path = tmp_path / "v.h5"
    write(path, STORED[kind], libver="earliest")
    with h5py.File(path) as file:
        infos = [file["data"].id.get_chunk_info(number) for number in range(6)]
        last = max(infos, key=lambda info: info.byte_offset)
    whole = bytearray(path.read_bytes())
    end = last.byte_offset + last.size // 2
    # HDF5 refuses a file that is shorter than its superblock says, so that is changed too.
    assert int.from_bytes(whole[40:48], "little") == len(whole)
    whole[40:48] = end.to_bytes(8, "little")
    path.write_bytes(whole[:end])

    with h5py.File(path) as file:
        assert_same(HDF5Array(file["data"])[0:4, 0:3], VALUES[0:4, 0:3])
        with pytest.raises(SourceError, match=r"rows 0 to 6 of data of v\.h5: "):
            HDF5Array(file["data"])[:, :]


def test_contiguous_data_beyond_the_end_of_the_file_are_left_to_h5py(tmp_path: Path, monkeypatch):
    write(tmp_path / "v.h5", {})

    class Short(raw_files.MappedFile):
        def __init__(self, path: str) -> None:
            super().__init__(path)
            self.size -= 1

    monkeypatch.setattr(raw_files, "MappedFile", Short)
    with h5py.File(tmp_path / "v.h5") as file:
        assert type(dataset_reader(file["data"])) is H5pyReader
