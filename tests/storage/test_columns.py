"""h5py reads columns that threads deflated."""

from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ndx_simulation_output.storage import columns as columns_module
from ndx_simulation_output.storage.columns import Column, ColumnLayout, plan_column, write_columns

TYPES = ["f8", ">f8", "f4", "i8", "i4", "u2", "u1", "?"]


def create(file: h5py.File, name: str, values, layout: ColumnLayout) -> Column:
    dataset = file.create_dataset(
        name,
        values.shape,
        values.dtype,
        chunks=(layout.chunk,),
        shuffle=layout.is_shuffled,
        compression="gzip",
    )
    return Column(dataset, values, layout)


@settings(max_examples=60)
@given(
    values=st.sampled_from(TYPES).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(1, 300))),
    chunk=st.integers(1, 400),
    is_shuffled=st.booleans(),
    workers=st.sampled_from([0, 2]),
)
def test_columns_are_read_with_h5py(values, chunk, is_shuffled, workers):
    layout = ColumnLayout(min(chunk, len(values)), is_shuffled)
    with TemporaryDirectory() as directory:
        with h5py.File(Path(directory) / "columns.h5", "w") as file:
            columns = [create(file, name, values, layout) for name in ("a", "b")]
            write_columns(columns, workers=workers)
        with h5py.File(Path(directory) / "columns.h5") as file:
            for name in ("a", "b"):
                found = file[name][:]
                assert found.dtype == values.dtype
                assert found.tobytes() == values.tobytes()


def test_chunks_are_made_in_threads_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(columns_module, "_CHUNK_BYTES", 2**16)
    values = np.random.default_rng(0).random(1_000_000)
    layout = plan_column(values)
    counted: list[int] = []

    with h5py.File(tmp_path / "columns.h5", "w") as file:
        write_columns([create(file, "a", values, layout)], workers=2, progress=counted.append)

        assert np.array_equal(file["a"][:], values)
    assert layout.chunk == 8192
    assert len(counted) == 123
    assert sum(counted) == values.nbytes


@pytest.mark.parametrize(
    ("values", "is_shuffled"),
    [
        (np.random.default_rng(0).random(100_000), True),
        (np.sort(np.random.default_rng(0).integers(0, 10**6, 100_000)), True),
        (np.random.default_rng(0).integers(1, 17, 100_000) * 0.1 / 1000, False),
        (np.zeros(0), True),
    ],
)
def test_shuffle_is_used_where_the_result_is_shorter(values, is_shuffled):
    assert plan_column(values).is_shuffled is is_shuffled
