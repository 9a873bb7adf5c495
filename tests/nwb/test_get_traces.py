"""Traces are read by cell, number, label and time window, in the unit of the series."""

from collections.abc import Iterator

import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import DataChunkIterator
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, CompartmentSeries
from ndx_simulation_output.errors import (
    CellNotFoundError,
    CompartmentNotFoundError,
    ShapeMismatchError,
)
from ndx_simulation_output.storage.datasets import ContiguousReader

VALUES = np.arange(50.0).reshape(10, 5)


def table(**columns) -> Compartments:
    """Cells 7 (columns 0, 1, 2), 3 (no column) and 9 (columns 3, 4)."""
    return Compartments.from_arrays(
        number=[0, 1, 2, 0, 5],
        counts=[3, 0, 2],
        id=[7, 3, 9],
        label=["soma", "dend", "apic", "soma", "dend"],
        **columns,
    )


def series(data=VALUES, **arguments) -> CompartmentSeries:
    """Ten rows at 10 Hz from 2 s."""
    if "timestamps" not in arguments:
        arguments = {"rate": 10.0, "starting_time": 2.0, **arguments}
    return CompartmentSeries("v", data, **{"compartments": table(), "unit": "volts", **arguments})


@pytest.fixture(params=["memory", "file"])
def stored(request, write_nwb) -> Iterator[CompartmentSeries]:
    made = series()
    if request.param == "memory":
        yield made
    else:
        with NWBHDF5IO(str(write_nwb(made.compartments, made)), "r") as io:
            yield io.read().acquisition["v"]


@pytest.mark.parametrize(
    ("selection", "columns"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"cells": 9}, [3, 4]),
        ({"cells": [9, 7]}, [3, 4, 0, 1, 2]),
        ({"cells": 3}, []),
        ({"cells": []}, []),
        ({"numbers": 0}, [0, 3]),
        ({"labels": ["dend", "soma"]}, [1, 0, 4, 3]),
        ({"cells": 7, "numbers": [2, 0]}, [2, 0]),
        ({"cells": [9, 9], "labels": "soma"}, [3, 3]),
        ({"cells": [7, 9], "numbers": [0, 5], "labels": "dend"}, [4]),
    ],
)
def test_columns_are_selected_by_cell_number_and_label(stored, selection, columns):
    np.testing.assert_array_equal(stored.get_traces(**selection), VALUES[:, columns])


@pytest.mark.parametrize(
    ("window", "rows"),
    [
        ({}, slice(0, 10)),
        ({"start": 2.3}, slice(3, 10)),
        ({"stop": 2.3}, slice(0, 3)),
        ({"start": 2.2, "stop": 2.7}, slice(2, 7)),
        ({"start": 2.25, "stop": 2.71}, slice(3, 8)),
        ({"step": 3}, slice(0, 10, 3)),
        ({"start": 2.1, "stop": 2.8, "step": 2}, slice(1, 8, 2)),
        ({"start": -5.0, "stop": 100.0}, slice(0, 10)),
        ({"start": 5.0}, slice(10, 10)),
        ({"stop": 1.0}, slice(0, 0)),
        ({"start": 2.7, "stop": 2.2}, slice(0, 0)),
        ({"start": -np.inf, "stop": np.inf}, slice(0, 10)),
    ],
)
def test_rows_are_selected_by_time(stored, window, rows):
    traces = stored.select(9, **window)

    np.testing.assert_array_equal(traces.values, VALUES[rows, 3:])
    np.testing.assert_allclose(traces.times, (2.0 + np.arange(10) / 10)[rows])


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_below_one_is_an_error(step):
    with pytest.raises(ValueError, match="step"):
        series().get_traces(step=step)


def test_rows_are_selected_by_timestamps(write_nwb):
    times = np.array([0.0, 0.1, 0.1, 0.5, 0.6, 0.7, 1.5, 1.6, 1.7, 9.0])
    made = series(timestamps=times)

    path = write_nwb(made.compartments, made)

    with NWBHDF5IO(str(path), "r") as io:
        traces = io.read().acquisition["v"].select(9, start=0.1, stop=1.6, step=2)
        np.testing.assert_array_equal(traces.times, times[1:7:2])
        np.testing.assert_array_equal(traces.values, VALUES[1:7:2, 3:])


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i2", "u1"])
def test_values_are_in_the_unit_of_the_series(dtype, write_nwb):
    data = VALUES.astype(dtype)
    made = series(H5DataIO(data, compression="gzip"), conversion=1e-3, offset=-0.065)

    path = write_nwb(made.compartments, made)

    with NWBHDF5IO(str(path), "r") as io:
        values = io.read().acquisition["v"].get_traces([9, 7])
        expected = VALUES[:, [3, 4, 0, 1, 2]] * 1e-3 - 0.065
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)
        assert values.dtype == (np.float32 if dtype in {"f4", ">f4"} else np.float64)


def test_values_without_conversion_keep_their_type():
    values = series(VALUES.astype("i2")).get_traces(9)

    assert values.dtype == np.int16


def test_reading_does_not_change_the_data_in_memory():
    data = VALUES.copy()

    series(data, conversion=1e-3, offset=1.0).get_traces()

    np.testing.assert_array_equal(data, VALUES)


def test_one_compartment_without_its_dimension_is_a_column(write_nwb):
    one = Compartments.from_arrays(number=[0], counts=[1], id=[5])
    made = series(np.arange(10, dtype="i4"), compartments=one, conversion=0.5)

    path = write_nwb(one, made)

    with NWBHDF5IO(str(path), "r") as io:
        values = io.read().acquisition["v"].get_traces(5, start=2.5, step=2)
        np.testing.assert_array_equal(values, [[2.5], [3.5], [4.5]])


def test_only_selected_data_are_read_from_a_file(write_nwb, monkeypatch):
    made = series()
    path = write_nwb(made.compartments, made)
    asked = []
    read = ContiguousReader.read

    def spying(storage, selection, *rest):
        asked.append((list(selection.rows), list(selection.columns)))
        read(storage, selection, *rest)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["v"]
        monkeypatch.setattr(ContiguousReader, "read", spying)
        found.get_traces([9, 7], numbers=[0, 5], start=2.2, stop=2.8, step=2)

    assert asked == [([2, 4, 6], [3, 4, 0])]


def test_unknown_cells_numbers_and_labels_are_an_error():
    with pytest.raises(CellNotFoundError, match="cell 8"):
        series().get_traces(8)
    with pytest.raises(CompartmentNotFoundError, match="number 5"):
        series().get_traces(7, numbers=5)
    with pytest.raises(CompartmentNotFoundError, match="label axon"):
        series().get_traces(labels="axon")


@pytest.mark.parametrize(
    "data",
    [DataChunkIterator(data=iter(VALUES)), H5DataIO(shape=(10, 5), dtype=np.dtype("f8"))],
    ids=["iterator", "to be filled"],
)
def test_data_that_are_not_written_yet_are_an_error(data):
    with pytest.raises(ShapeMismatchError, match="'v'"):
        series(data).get_traces(9)


def test_a_frame_is_labelled_by_time_cell_and_column():
    made = series(compartments=table(position=[0.5, 0.1, 0.9, 0.5, 0.2]))

    frame = made.to_dataframe([9, 7], numbers=[0, 5], start=2.5)

    assert frame.index.name == "time"
    np.testing.assert_allclose(frame.index, [2.5, 2.6, 2.7, 2.8, 2.9])
    assert frame.columns.names == ["cell", "number", "label", "position"]
    assert list(frame.columns) == [(9, 0, "soma", 0.5), (9, 5, "dend", 0.2), (7, 0, "soma", 0.5)]
    np.testing.assert_array_equal(frame.to_numpy(), VALUES[5:, [3, 4, 0]])


def test_an_empty_frame_keeps_its_labels():
    frame = series().to_dataframe(3)

    assert frame.shape == (10, 0)
    assert frame.columns.names == ["cell", "number", "label"]


def test_an_array_is_labelled_by_time_cell_and_column():
    pytest.importorskip("xarray", reason="xarray is not installed")

    array = series(conversion=1e-3).to_xarray([9, 7], labels="soma", stop=2.3)

    assert (array.name, array.dims) == ("v", ("time", "compartment"))
    assert (array.attrs["units"], array.time.attrs["units"]) == ("volts", "s")
    np.testing.assert_allclose(array.time, [2.0, 2.1, 2.2])
    assert array.cell.values.tolist() == [9, 7]
    assert array.number.values.tolist() == [0, 0]
    assert array.label.values.tolist() == ["soma", "soma"]
    np.testing.assert_allclose(array, VALUES[:3, [3, 0]] * 1e-3)


def test_labels_read_from_a_file_are_text(write_nwb):
    made = series()

    with NWBHDF5IO(str(write_nwb(made.compartments, made)), "r") as io:
        frame = io.read().acquisition["v"].to_dataframe(7)

    assert frame.columns.get_level_values("label").tolist() == ["soma", "dend", "apic"]


@pytest.mark.parametrize("name", ["cell", "time"])
def test_a_user_column_does_not_replace_a_label(name):
    pytest.importorskip("xarray", reason="xarray is not installed")
    made = series(compartments=table(**{name: np.arange(5) + 100}))

    frame, array = made.to_dataframe(9), made.to_xarray(9)

    assert frame.columns[0][0] == 9
    assert array.cell.values.tolist() == [9, 9]
    assert array.time.dims == ("time",)
    np.testing.assert_allclose(array.time[:2], [2.0, 2.1])


def test_traces_of_a_table_with_a_column_of_vectors_are_read():
    made = series(compartments=table(direction=np.zeros((5, 3))))

    frame = made.to_dataframe(9)

    assert frame.shape == (10, 2)


def test_traces_of_a_table_with_an_uneven_column_are_read():
    own = table()
    own.add_column(name="synapses", description="of each cell", data=[1, 2, 3, 4], index=[1, 1, 4])

    assert series(compartments=own).get_traces(9).shape == (10, 2)
