"""An array in a file accepts the keys that h5py accepts."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest

from ndx_simulation_output.storage import layout
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import STORED, assert_same, write

OTHER_KEYS = [
    ...,
    (),
    3,
    -1,
    (2, 3),
    (slice(None), 3),
    (-1, slice(1, 4)),
    (..., 2),
    slice(1, 4),
    (slice(1, 4),),
    (slice(0, 2), ...),
    [0, 2, 5],
    (slice(None), [1, 3]),
    (slice(None), np.array([True, False] * 4)),
    np.arange(48).reshape(6, 8) % 5 == 0,
    np.s_[0:0],
]


@pytest.fixture(params=STORED)
def dataset(request, tmp_path: Path):
    """A matrix of six rows and eight columns, in each way that is read past HDF5."""
    values = np.arange(48, dtype=">i4").reshape(6, 8)
    write(tmp_path / "v.h5", STORED[request.param], values)
    with h5py.File(tmp_path / "v.h5") as file:
        yield file["data"]


@pytest.mark.parametrize("key", OTHER_KEYS, ids=str)
def test_keys_that_are_not_two_slices_are_those_of_h5py(dataset, key):
    found = HDF5Array(dataset)[key]

    assert_same(found, np.asarray(dataset[key]))


@pytest.mark.parametrize("key", [7, (0, 9), np.s_[::-1], np.s_[::-1, 0:3], np.s_[0:1, 0:1, 0:1]])
def test_keys_that_h5py_refuses_are_refused_in_the_same_way(dataset, key):
    with pytest.raises((IndexError, ValueError, TypeError)) as expected:
        dataset[key]

    with pytest.raises(type(expected.value)) as found:
        HDF5Array(dataset)[key]
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, :],
        np.s_[-2:, -3:],
        np.s_[-100:100, -100:100],
        np.s_[100:, :],
        np.s_[:, 100:],
        np.s_[4:2, :],
        np.s_[:, 4:2],
        np.s_[0:0, 0:0],
        np.s_[5:6, 7:8],
        np.s_[::100, ::100],
        np.s_[1::2, 2::3],
        np.s_[np.int64(1) : np.uint8(3), np.int32(0) : np.int64(5)],
    ],
    ids=str,
)
def test_slices_at_and_beyond_the_edges_are_those_of_h5py(dataset, key):
    assert_same(HDF5Array(dataset)[key], dataset[key])


def test_a_selection_of_no_columns_or_rows_is_empty(dataset):
    assert HDF5Array(dataset).take_columns(slice(None), np.array([], np.intp)).shape == (6, 0)
    assert HDF5Array(dataset).take_columns(slice(2, 2), np.array([1, 0])).shape == (0, 2)


def test_a_result_can_be_changed_without_changing_the_file(dataset):
    array = HDF5Array(dataset)

    array[0:6, 0:8][...] = 99
    array.take_columns(slice(None), np.arange(8))[...] = 99

    assert_same(array[:, :], dataset[()])


def test_released_data_are_read_again(dataset):
    array = HDF5Array(dataset)
    before = array[:, :]

    array.release()

    assert_same(array[:, :], before)


def test_threads_may_read_one_array_at_the_same_time(dataset):
    with patch.object(layout, "_THREAD_BYTES", 0), ThreadPoolExecutor(4) as pool:
        array = HDF5Array(dataset, workers=2)
        found = list(pool.map(lambda _: array[1:6, 2:7], range(40)))

    for values in found:
        assert_same(values, dataset[1:6, 2:7])
