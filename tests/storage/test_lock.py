"""HDF5 is entered by one thread at a time, while some read and one writes."""

from pathlib import Path

import h5py
import numpy as np

from ndx_simulation_output.files import atomic_hdf5
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.writing import create_dataset, write_matrix
from tests.storage.making import matrix


def test_workers_read_while_chunks_are_stored(tmp_path: Path):
    # Storing a chunk calls Python code, which lets the workers run.
    values = matrix((60, 400), "<f4")
    layout = Layout(values.shape, 4, (10, 10), "gzip", (10, 10), 2**20)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["data"] = values

    for _ in range(10):
        with h5py.File(tmp_path / "source.h5") as file:
            source = HDF5Array(file["data"])
            with atomic_hdf5(tmp_path / "v.h5", overwrite=True) as target:
                made = create_dataset(target, "data", layout, np.dtype("<f4"))
                write_matrix(source, made, layout, path=target.path, workers=3)

    with h5py.File(tmp_path / "v.h5") as file:
        np.testing.assert_array_equal(file["data"][:], values)
