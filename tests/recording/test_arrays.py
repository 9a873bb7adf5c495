"""Views and copies of lazy arrays have the values of numpy's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import arrays, views
from ndx_simulation_output.recording.arrays import LazyArray, copy_array, plan_blocks, read_block
from ndx_simulation_output.recording.views import (
    ColumnRange,
    Columns,
    FirstIndex,
    Joined,
    Matrix,
    Rows,
    Scaled,
    Stacked,
    Transposed,
)
from ndx_simulation_output.storage.reading import HDF5Array
from tests.storage.making import keys

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=8)
MATRICES = npst.arrays(np.dtype("f8"), SHAPES, elements=st.integers(-1000, 1000).map(float))


@dataclass
class Spy:
    """An array that records the keys of its reads."""

    array: np.ndarray
    keys: list[Any] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        self.keys.append(key)
        return self.array[key]

    def sizes(self) -> list[int]:
        """Bytes of each read."""
        empty = np.broadcast_to(self.array.dtype.type(0), self.shape)
        return [empty[key].nbytes for key in self.keys]


def assert_is(view: LazyArray, expected: np.ndarray, key: tuple[slice, slice]) -> None:
    assert view.shape == expected.shape
    assert view.dtype == expected.dtype
    np.testing.assert_array_equal(view[key], expected[key])


@given(array=MATRICES, data=st.data())
def test_a_transposed_array_has_the_values_of_numpy(array, data):
    expected = array.T

    assert_is(Transposed(array), expected, data.draw(keys(expected.shape)))


@given(array=npst.arrays("i4", st.integers(0, 9)), data=st.data())
def test_a_matrix_of_one_column_has_the_values_of_numpy(array, data):
    expected = array[:, np.newaxis]

    assert_is(Matrix(array), expected, data.draw(keys(expected.shape)))


@given(array=MATRICES, data=st.data())
def test_a_range_of_columns_has_the_values_of_numpy(array, data):
    start = data.draw(st.integers(0, array.shape[1]))
    stop = data.draw(st.integers(start, array.shape[1]))
    expected = array[:, start:stop]

    assert_is(ColumnRange(array, start, stop), expected, data.draw(keys(expected.shape)))


@given(array=MATRICES, data=st.data())
def test_reordered_columns_have_the_values_of_numpy(array, data):
    n_columns = array.shape[1]
    allowed = st.lists(st.integers(0, n_columns - 1), max_size=10) if n_columns else st.just([])
    order = np.array(data.draw(allowed), np.intp)
    expected = array[:, order]

    assert_is(Columns(array, order), expected, data.draw(keys(expected.shape)))


@given(
    array=MATRICES.filter(lambda array: array.shape[1]),
    data=st.data(),
    block_bytes=st.integers(1, 200),
    gap_bytes=st.integers(0, 60),
)
def test_reordered_columns_do_not_depend_on_the_size_of_reads(array, data, block_bytes, gap_bytes):
    order = np.array(data.draw(st.lists(st.integers(0, array.shape[1] - 1), max_size=20)), np.intp)
    key = data.draw(keys((array.shape[0], len(order))))
    spy = Spy(array)

    with patch.multiple(views, BLOCK_BYTES=block_bytes, _GAP_BYTES=gap_bytes):
        found = Columns(spy, order)[key]

    np.testing.assert_array_equal(found, array[:, order][key])
    assert max(spy.sizes(), default=0) <= max(block_bytes, array.itemsize)


@given(array=MATRICES.filter(len), data=st.data(), gap_bytes=st.integers(0, 60))
def test_rows_in_any_order_are_read_with_missing_ones(array, data, gap_bytes):
    order = np.array(data.draw(st.lists(st.integers(-1, len(array) - 1), max_size=20)), np.intp)
    expected = np.where(order[:, np.newaxis] < 0, np.nan, array[order].astype(float))

    with patch.multiple(views, _DENSE=data.draw(st.integers(0, 2)), _GAP_BYTES=gap_bytes):
        view = Rows(Spy(array), order, np.nan)
        assert_is(view, expected.astype(view.dtype), data.draw(keys(expected.shape)))


def test_scattered_columns_of_a_large_source_are_read_in_bounded_blocks():
    spy = Spy(np.broadcast_to(np.arange(300_000, dtype="f4"), (500, 300_000)))
    order = np.random.default_rng(0).integers(0, 300_000, 16_000)

    values = Columns(spy, order)[0:500, 0:16_000]

    np.testing.assert_array_equal(values[0], order)
    np.testing.assert_array_equal(values[499], order)
    assert max(spy.sizes()) <= arrays.BLOCK_BYTES


def test_columns_between_distant_columns_are_not_read():
    spy = Spy(np.broadcast_to(np.arange(300_000, dtype="f4"), (500, 300_000)))
    order = np.concatenate([np.arange(200_000, 200_200), np.arange(100, 300)])

    values = Columns(spy, order)[0:500, 0:400]

    np.testing.assert_array_equal(values[0], order)
    assert sum(spy.sizes()) == values.nbytes


def numpy_keys(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Return keys of numpy: at most one of their parts is an array of indices or a mask."""
    basic = npst.basic_indices(shape, allow_newaxis=False)
    if not all(shape):
        return basic
    parts = [st.integers(-length, length - 1) | st.slices(length) for length in shape]
    arrays_of_indices = st.integers(0, len(shape) - 1).flatmap(
        lambda dim: st.tuples(
            *parts[:dim],
            npst.arrays(bool, shape[dim])
            | npst.arrays(np.intp, st.integers(0, 4), elements=st.integers(0, shape[dim] - 1)),
            *parts[dim + 1 :],
        )
    )
    return basic | arrays_of_indices


@given(array=MATRICES, data=st.data())
def test_all_lazy_arrays_have_the_keys_of_numpy(array, data):
    columns = array.shape[1]
    order = np.arange(columns)[::-1]
    cases: list[tuple[Any, np.ndarray]] = [
        (Transposed(array), array.T),
        (Matrix(array.ravel()), array.ravel()[:, np.newaxis]),
        (ColumnRange(array, 0, columns // 2), array[:, : columns // 2]),
        (Columns(array, order), array[:, order]),
        (Scaled(array, 2.0, 1.0), array * 2.0 + 1.0),
        (Joined((array, array)), np.hstack([array, array])),
        (FirstIndex(array[:, np.newaxis], (0, 2)), array),
    ]
    if columns:
        cases.append((Stacked(tuple(array.T)), array))
    view, expected = data.draw(st.sampled_from(cases))
    key = data.draw(numpy_keys(expected.shape))

    assert (view.ndim, view.size) == (expected.ndim, expected.size)
    assert len(view) == len(expected)
    np.testing.assert_array_equal(view[key], expected[key], strict=True)
    np.testing.assert_array_equal(np.asarray(view), expected, strict=True)


@pytest.mark.parametrize("key", [(0, 0, 0), (..., ...), np.zeros((2, 2), int), 3, (0, -3)])
def test_keys_that_numpy_refuses_are_refused(key):
    with pytest.raises(IndexError):
        Transposed(np.zeros((2, 3)))[key]


@given(array=npst.arrays("i2", SHAPES), data=st.data())
def test_a_scaled_array_has_the_values_of_numpy(array, data):
    expected = array.astype(np.float64) * 1e-3 + 0.5

    assert_is(Scaled(array, 1e-3, 0.5), expected, data.draw(keys(expected.shape)))


@given(array=MATRICES, data=st.data())
def test_views_of_views_have_the_values_of_numpy(array, data):
    order = np.array(data.draw(st.permutations(range(array.shape[0]))), np.intp)
    expected = array.T[:, order] * 2.0

    view = Scaled(Columns(Transposed(array), order), 2.0, 0.0)

    assert_is(view, expected, data.draw(keys(expected.shape)))


def test_views_read_only_the_selected_part():
    spy = Spy(np.arange(60).reshape(6, 10))

    ColumnRange(spy, 2, 8)[1:3, 1:4]
    Columns(spy, np.array([9, 4, 5, 0]))[0:2, 1:3]
    Transposed(spy)[1:3, 0:2]

    assert spy.keys == [
        (slice(1, 3), slice(3, 6, 1)),
        (slice(0, 2, 1), slice(4, 6)),
        (slice(0, 2), slice(1, 3)),
    ]


@given(
    shape=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    chunks=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    block_bytes=st.integers(1, 3000),
)
def test_blocks_cover_the_matrix_once_and_are_bounded(shape, itemsize, chunks, block_bytes):
    covered = np.zeros(shape, int)
    largest = max(block_bytes, itemsize * chunks[0] * chunks[1])

    for rows, columns in plan_blocks(shape, itemsize, chunks, block_bytes):
        covered[rows, columns] += 1
        n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
        assert 0 < n_rows * n_columns * itemsize <= largest
        assert (rows.start % chunks[0], columns.start % chunks[1]) == (0, 0)
        assert rows.stop % chunks[0] == 0 or rows.stop == shape[0]
        assert columns.stop % chunks[1] == 0 or columns.stop == shape[1]

    assert (covered == 1).all()


def test_blocks_are_as_wide_as_possible():
    blocks = list(plan_blocks((100, 10), itemsize=8, chunks=(1, 1), block_bytes=8 * 25))

    assert blocks[0] == (slice(0, 2), slice(0, 10))
    assert len(blocks) == 50


@given(array=MATRICES, chunks=st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_a_copy_is_equal_and_its_bytes_are_reported(array, chunks):
    target = np.full(array.shape, np.nan)
    done: list[int] = []

    copy_array(array, target, chunks=chunks, progress=done.append)

    np.testing.assert_array_equal(target, array)
    assert sum(done) == array.nbytes


def test_a_copy_reads_a_large_source_in_blocks():
    source = Spy(np.broadcast_to(np.float64(1.0), (1200, 10_000)))
    target = np.zeros((1200, 10_000))

    copy_array(source, target, chunks=(100, 1000))

    assert target.all()
    assert len(source.keys) > 1
    assert sum(source.sizes()) == target.nbytes
    assert max(source.sizes()) <= 32 * 2**20


class Broken(Spy):
    def __getitem__(self, key: Any) -> np.ndarray:
        msg = "file is truncated"
        raise OSError(msg)


def test_a_source_that_ends_early_is_a_source_error():
    expected = r"cannot read rows 0 to 3 of the source: file is truncated"

    with pytest.raises(SourceError, match=expected):
        copy_array(Broken(np.zeros((3, 2))), np.zeros((3, 2)))


def test_an_error_of_reading_names_the_dataset_below_the_views(tmp_path: Path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset("report/data", data=np.zeros((2, 3)), compression="gzip")
        data.id.write_direct_chunk((0, 0), b"no gzip")

        with pytest.raises(SourceError, match=r"rows 0 to 3 of report/data of v\.h5: "):
            copy_array(Scaled(Transposed(data), 2.0, 0.0), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (lambda data: data, "rows 0 to 2 of a dataset whose file is closed: "),
        (HDF5Array, "the file is closed: .*; open it again"),
    ],
)
def test_an_error_of_a_closed_file_says_so(tmp_path: Path, kind, message):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        array = kind(file.create_dataset("data", data=np.zeros((2, 3))))

    with pytest.raises(SourceError, match=message):
        read_block(array, slice(0, 2), slice(0, 3))


@pytest.mark.parametrize("kind", [lambda data: data, HDF5Array])
def test_an_error_of_a_dataset_without_a_name_names_the_file(tmp_path: Path, kind):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset(None, data=np.zeros((2, 3)), compression="gzip")
        data.id.write_direct_chunk((0, 0), b"no gzip")

        with pytest.raises(SourceError, match=r"a dataset without a name of v\.h5: "):
            read_block(kind(data), slice(0, 2), slice(0, 3))


def test_a_dataset_is_copied_through_one_buffer(tmp_path: Path):
    values = np.arange(60, dtype=">i2").reshape(6, 10)
    seen = []

    class Target:
        def __setitem__(self, block, piece):
            np.testing.assert_array_equal(piece, values[block])
            seen.append(piece.__array_interface__["data"][0])

    with h5py.File(tmp_path / "v.h5", "w") as file:
        data = file.create_dataset("data", data=values)
        with patch.object(arrays.plan_blocks, "__defaults__", ((1, 1), 40)):
            copy_array(data, Target())

    assert len(seen) == 3
    assert len(set(seen)) == 1
