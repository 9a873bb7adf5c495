"""Columns of a recording have the values of numpy's, and no others are read."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ndx_simulation_output.errors import (
    CellNotFoundError,
    MissingDependencyError,
    ShapeMismatchError,
    WrongTypeError,
)
from ndx_simulation_output.recording import CompartmentTable, RegularTimes, Report, Unit
from ndx_simulation_output.recording.arrays import read_runs
from ndx_simulation_output.recording.traces import Traces, mean_of_groups, read_in_unit
from ndx_simulation_output.recording.views import ColumnRange, Columns, Joined, Scaled

UNITS = st.sampled_from([Unit("volts"), Unit("volts", 1e-3), Unit("volts", 2.0, -70.0)])
DTYPES = st.sampled_from(["f4", "f8", ">f4", ">f8", "i2", "u4", "i8"])


class Spy(np.ndarray):
    """An array that records the keys of its reads."""

    read: list[tuple[slice, slice]]

    def __getitem__(self, key):
        self.read.append(key)
        return self.view(np.ndarray)[key]


def spying(array: np.ndarray) -> Spy:
    spy = array.view(Spy)
    spy.read = []
    return spy


@st.composite
def selections(draw: st.DrawFn) -> tuple[np.ndarray, slice, np.ndarray]:
    shape = draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
    values = draw(npst.arrays("i8", shape, elements=st.integers(0, 100)))
    first, last = sorted(draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
    n_columns = shape[1]
    allowed = st.lists(st.integers(0, n_columns - 1), max_size=15) if n_columns else st.just([])
    columns = np.array(draw(allowed), np.intp)
    rows = slice(first, last, draw(st.none() | st.integers(1, 4)))
    return values.astype(draw(DTYPES)), rows, columns


@given(selection=selections(), unit=UNITS)
def test_columns_have_the_values_of_numpy_in_the_unit(selection, unit):
    data, rows, columns = selection
    before = data.copy()

    values = read_in_unit(data, rows, columns, unit)

    expected = data[rows][:, columns].astype(np.float64) * unit.conversion + unit.offset
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(data, before)


@given(selection=selections(), unit=UNITS)
def test_floats_keep_their_type_and_scaled_integers_become_double(selection, unit):
    data, rows, columns = selection

    dtype = read_in_unit(data, rows, columns, unit).dtype

    scaled = unit != Unit("volts")
    expected = np.dtype("f8") if scaled and data.dtype.kind != "f" else data.dtype
    assert dtype == expected.newbyteorder("=")


@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("unit", [Unit("volts"), Unit("volts", 1e-3)])
def test_complex_values_keep_their_imaginary_part(dtype, unit):
    data = np.array([[1 + 2j, 3 - 4j]], dtype)

    values = read_in_unit(data, slice(None), None, unit)

    assert values.dtype == dtype
    np.testing.assert_allclose(values, data * unit.conversion, rtol=1e-6)


def test_means_of_complex_values_are_refused():
    one = np.zeros(1, np.intp)
    with pytest.raises(WrongTypeError, match="complex values are not supported"):
        mean_of_groups(np.array([[1 + 2j]]), slice(None), one, one, Unit("volts"))


VIEWS = st.sampled_from(
    [
        lambda values: values,
        lambda values: Columns(values[:, ::-1], np.arange(values.shape[1])[::-1]),
        lambda values: ColumnRange(np.pad(values, ((0, 0), (2, 1))), 2, 2 + values.shape[1]),
        lambda values: Joined((values[:, :3], values[:, 3:])),
        lambda values: Scaled(values, 2.0, 1.0),
    ]
)


@given(
    ids=st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True),
    dtype=st.sampled_from(["i8", "u8", "i4", "u1", ">i2"]),
    is_sorted=st.booleans(),
    view=VIEWS,
    unit=UNITS,
    data=st.data(),
)
def test_a_cell_alone_has_the_traces_that_it_has_among_others(
    ids, dtype, is_sorted, view, unit, data
):
    ids = sorted(ids) if is_sorted else ids
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(ids), max_size=len(ids)))
    n_columns = sum(counts)
    values = np.arange(4 * n_columns, dtype="f4").reshape(4, n_columns)
    columns = {"number": np.arange(n_columns)}
    table = CompartmentTable.from_counts("exc", np.array(ids, dtype), counts, columns)
    report = Report("v", "v", view(values), RegularTimes(0.0, 1e3, 4), table, unit)
    window = {"start": 0.001, "step": 2}

    # Ids are in memory from the second cell on.
    for cell in [*ids, *ids, np.int64(ids[0])]:
        found = report.get_traces(cell, **window)
        np.testing.assert_array_equal(found, report.select([cell], **window).values)
    for other in {-1, 50, 100, 2**40} - set(ids):
        with pytest.raises(CellNotFoundError, match=rf"cell {other} is not among the"):
            report.get_traces(other)
    with pytest.raises(WrongTypeError, match="expected integers"):
        report.get_traces(cells=True)


@given(selection=selections())
def test_each_selected_value_is_read_once_and_no_other(selection):
    data, rows, columns = selection
    spy = spying(data)

    read_runs(spy, rows, columns)

    touched = np.zeros(data.shape, int)
    for key in spy.read:
        touched[key] += 1
    expected = np.zeros(data.shape, int)
    expected[rows, np.unique(columns)] = 1
    np.testing.assert_array_equal(touched, expected)


def test_adjacent_columns_are_read_together():
    spy = spying(np.zeros((4, 10)))

    read_runs(spy, slice(0, 4), np.array([7, 3, 2, 4, 8, 3]))

    assert spy.read == [(slice(0, 4), slice(2, 5)), (slice(0, 4), slice(7, 9))]


def report(data: np.ndarray) -> Report:
    table = CompartmentTable.from_counts(
        "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    )
    return Report("v", "v", data, RegularTimes(0.0, 10.0, 4), table, Unit("volts", 1e-3))


def test_a_selection_of_a_report_has_its_cells_times_and_unit():
    traces = report(np.arange(12.0).reshape(4, 3)).select([3, 7], start=0.2)

    assert (traces.name, traces.unit) == ("v", "volts")
    assert traces.cells.tolist() == [3, 7, 7]
    assert traces.columns["number"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(traces.values, [[8e-3, 6e-3, 7e-3], [11e-3, 9e-3, 10e-3]])


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (4,)])
def test_a_report_whose_data_have_another_shape_is_refused(shape):
    with pytest.raises(ShapeMismatchError, match=r"report 'v' have shape .* expected .*\(4, 3\)"):
        report(np.zeros(shape))


def test_an_error_tells_how_to_install_xarray(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    traces = Traces("v", "volts", np.zeros((1, 1)), np.zeros(1), np.zeros(1, int), {})

    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[xarray\]"):
        traces.to_xarray()
