"""A series must fit its table."""

import h5py
import numpy as np
import pynwb
import pytest
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from pynwb import NWBHDF5IO, TimeSeries

from ndx_simulation_output import Compartments, CompartmentSeries
from ndx_simulation_output.errors import ShapeMismatchError


class Blocks(GenericDataChunkIterator):
    """An iterator over an array in blocks, as pynwb's users define for large data."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        super().__init__(buffer_shape=array.shape, chunk_shape=array.shape)

    def _get_data(self, selection):
        return self._array[selection]

    def _get_maxshape(self):
        return self._array.shape

    def _get_dtype(self):
        return self._array.dtype


KINDS = {
    "array": np.array,
    "list": np.ndarray.tolist,
    "H5DataIO of an array": lambda data: H5DataIO(data, compression="gzip"),
    "H5DataIO of a list": lambda data: H5DataIO(data.tolist()),
    "H5DataIO of an iterator": lambda data: H5DataIO(DataChunkIterator(data=iter(data))),
    "iterator over rows": lambda data: DataChunkIterator(data=iter(data), buffer_size=2),
    "iterator over blocks": Blocks,
}
UNFILLED = {
    "H5DataIO to be filled": lambda data: H5DataIO(shape=data.shape, dtype=data.dtype),
    "iterator to be filled": lambda data: DataChunkIterator(
        data=None, maxshape=(None, data.shape[1]), dtype=data.dtype
    ),
}


def table() -> Compartments:
    return Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3])


def values(columns: int = 3) -> np.ndarray:
    return np.arange(4.0 * columns).reshape(4, columns)


def series(data, **arguments) -> CompartmentSeries:
    arguments = {"compartments": table(), "unit": "volts", "rate": 1000.0, **arguments}
    return CompartmentSeries("v", data, **arguments)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_data_of_any_kind_are_written_and_read(kind, write_nwb):
    made = series(kind(values()))

    path = write_nwb(made.compartments, made)

    with NWBHDF5IO(str(path), "r") as io:
        np.testing.assert_array_equal(io.read().acquisition["v"].get_traces(), values())


@pytest.mark.parametrize("columns", [2, 4])
@pytest.mark.parametrize("kind", (KINDS | UNFILLED).values(), ids=(KINDS | UNFILLED).keys())
def test_a_number_of_columns_that_differs_from_the_table_is_an_error(kind, columns):
    message = rf"CompartmentSeries 'v' has {columns} columns but .*'compartments' describes 3"

    with pytest.raises(ShapeMismatchError, match=message):
        series(kind(values(columns)))


@pytest.mark.parametrize("kind", UNFILLED.values(), ids=UNFILLED.keys())
def test_data_may_be_filled_in_later(kind, write_nwb):
    made = series(kind(values()))

    path = write_nwb(made.compartments, made)

    with h5py.File(path, "r") as file:
        assert file["acquisition/v/data"].shape[1] == 3


def test_the_error_is_a_value_error():
    with pytest.raises(ValueError, match="has 5 columns"):
        series(values(5))


@pytest.mark.parametrize("kind", [np.array, list, H5DataIO], ids=["array", "list", "H5DataIO"])
def test_one_compartment_needs_no_second_dimension(kind, write_nwb):
    one = Compartments.from_arrays(number=[0], counts=[1])
    made = series(kind(np.arange(4.0)), compartments=one)

    path = write_nwb(one, made)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["v"]
        assert found.get_traces(0).tolist() == [[0.0], [1.0], [2.0], [3.0]]
    assert pynwb.validate(path=str(path)) == []


@pytest.mark.parametrize("kind", [np.array, list, H5DataIO], ids=["array", "list", "H5DataIO"])
def test_one_dimension_for_several_compartments_is_refused(kind):
    with pytest.raises(ShapeMismatchError, match=r"has 1 columns .* describes 3 compartments"):
        series(kind(np.arange(4.0)))


def test_three_dimensions_are_refused():
    with pytest.raises(ShapeMismatchError, match=r"dimension|shape"):
        series(np.zeros((4, 3, 2)))


def test_data_shared_with_another_series_are_checked():
    other = TimeSeries(name="other", data=values(5), unit="volts", rate=1000.0)

    with pytest.raises(ShapeMismatchError, match="has 5 columns"):
        series(other)


def test_an_empty_table_has_no_columns():
    with pytest.raises(ShapeMismatchError, match=r"has 1 columns .* describes 0 compartments"):
        series(np.zeros((4, 1)), compartments=Compartments())


def test_a_series_needs_no_table(write_nwb):
    made = series(values(9), compartments=None)

    path = write_nwb(made)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["v"]
        assert type(found) is CompartmentSeries
        assert found.compartments is None
        with pytest.raises(ShapeMismatchError, match="'v' has no table"):
            found.get_traces()


def test_arguments_may_be_given_by_position():
    made = CompartmentSeries("v", values(), "volts", compartments=table(), rate=1000.0)

    assert (made.name, made.unit) == ("v", "volts")


def test_an_invalid_file_can_be_opened(write_nwb):
    made = series(values())
    path = write_nwb(made.compartments, made)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["acquisition/v/data"].attrs)
        del file["acquisition/v/data"]
        file["acquisition/v/data"] = values(5)
        file["acquisition/v/data"].attrs.update(attributes)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["v"]

        assert found.data.shape == (4, 5)
        with pytest.raises(ShapeMismatchError, match=r"shape \(4, 5\); expected .*\(4, 3\)"):
            found.get_traces(7)


def test_a_table_extended_after_the_series_is_an_error_when_read():
    made = series(values())

    made.compartments.add_row(number=[0], id=8)

    with pytest.raises(ShapeMismatchError, match=r"\(4, 3\); expected .*\(4, 4\)"):
        made.get_traces(8)


def test_series_share_a_table(write_nwb):
    shared = table()
    first = series(values(), compartments=shared)
    second = CompartmentSeries("i", values() + 1, compartments=shared, unit="amperes", rate=1.0)

    path = write_nwb(shared, first, second)

    with NWBHDF5IO(str(path), "r") as io:
        acquisition = io.read().acquisition
        assert acquisition["v"].compartments is acquisition["i"].compartments


def test_a_table_that_lists_a_cell_twice_is_refused():
    table = Compartments()
    table.add_row(number=[0], id=7)
    table.add_row(number=[0], id=7)

    with pytest.raises(ShapeMismatchError, match="cell id 7 in more than one row"):
        CompartmentSeries("v", np.zeros((3, 2)), compartments=table, unit="volts", rate=1.0)


def test_a_table_with_rows_of_unequal_columns_is_refused():
    table = Compartments()
    table.add_row(number=[0, 1], position=[0.5])
    table.add_row(number=[0], position=[0.1, 0.9])

    with pytest.raises(ShapeMismatchError, match="column 'position' does not have as many values"):
        CompartmentSeries("v", np.zeros((3, 3)), compartments=table, unit="volts", rate=1.0)
