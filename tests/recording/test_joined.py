"""Joined matrices have the values of numpy's, and one of them is read without a copy."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording.arrays import detached, read_block, read_columns
from ndx_simulation_output.recording.views import Joined
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import Spy, assert_same, directory, keys, matrix, storage_options


@st.composite
def matrices(draw: st.DrawFn) -> list[np.ndarray]:
    """Return matrices with equal numbers of rows, some perhaps without columns."""
    rows = draw(st.integers(1, 12))
    widths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    dtype = draw(st.sampled_from(["<f4", ">f8", "<i2"]))
    return [matrix((rows, width), dtype, seed) for seed, width in enumerate(widths)]


@given(parts=matrices(), data=st.data())
def test_joined_matrices_have_the_values_of_numpy(parts, data):
    expected = np.concatenate(parts, axis=1)
    rows, columns = data.draw(keys(expected.shape))
    start, stop, _ = columns.indices(expected.shape[1])

    joined = Joined(tuple(parts))

    assert joined.shape == expected.shape
    assert_same(joined[rows, columns].astype(joined.dtype), expected[rows, columns])
    block = slice(start, max(start, stop))
    assert_same(joined.piece(rows, block).astype(joined.dtype), expected[rows, block])


@given(parts=matrices(), data=st.data())
def test_columns_are_read_in_any_order(parts, data):
    expected = np.concatenate(parts, axis=1)
    rows, _ = data.draw(keys(expected.shape))
    width = expected.shape[1]
    allowed = st.lists(st.integers(0, width - 1), max_size=20) if width else st.just([])
    columns = np.array(data.draw(allowed), np.intp)
    joined = Joined(tuple(parts))

    assert_same(read_columns(joined, rows, columns), expected[rows][:, columns])
    assert_same(read_columns(joined, rows, None), expected[rows])
    negated = read_columns(joined, rows, columns, lambda to, found: np.negative(found, out=to))
    assert_same(negated, -expected[rows][:, columns])


@given(parts=matrices().filter(lambda parts: all(part.size for part in parts)), data=st.data())
def test_joined_matrices_can_be_read_after_their_files_are_closed(parts, data):
    expected = np.concatenate(parts, axis=1)
    rows, columns = data.draw(keys(expected.shape))

    with directory() as folder:
        with h5py.File(folder / "parts.h5", "w") as file:
            for number, part in enumerate(parts):
                options = data.draw(storage_options(part.shape, part.dtype.str))
                file.create_dataset(str(number), data=part, **options)
        with h5py.File(folder / "parts.h5") as file:
            joined = Joined(tuple(HDF5Array(file[str(number)]) for number in range(len(parts))))
            assert_same(joined[rows, columns], expected[rows, columns])
            joined.release()
            alone = detached(joined)
        assert_same(alone[rows, columns], expected[rows, columns])


def test_columns_of_one_matrix_are_read_from_it_alone_and_not_copied():
    spies = Spy(np.zeros((4, 3))), Spy(np.ones((4, 5)), chunks=(2, 4))

    values = Joined(spies)[1:3, 4:6]

    assert np.shares_memory(values, spies[1].array)
    assert spies[0].keys == []
    assert spies[1].keys == [(slice(1, 3), slice(1, 3, 1))]
    assert Joined(spies).chunks == (2, 4)
    assert not Joined(spies).is_mapped
    assert Joined((np.zeros((4, 1)),)).is_mapped


def test_a_block_of_a_contiguous_dataset_is_read(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"] = np.arange(12.0).reshape(3, 4)
    with h5py.File(tmp_path / "v.h5") as file:
        array = HDF5Array(file["v"])

        piece = read_block(Joined((array, array)), slice(0, 2), slice(5, 7))

        assert piece.tolist() == [[1.0, 2.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((np.zeros((2, 1)), np.zeros((3, 1))), "2 rows of float64, 3 rows of float64; expected"),
        ((np.zeros((2, 1)), np.zeros((2, 1), "f4")), "2 rows of float32, 2 rows of float64"),
        ((), "nothing"),
    ],
    ids=["rows", "types", "none"],
)
def test_matrices_of_different_rows_or_types_are_refused(parts, message):
    with pytest.raises(ShapeMismatchError, match=message):
        Joined(parts)
