"""The numbers behind plots: nothing is lost that a plot of that size could show."""

import itertools
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ndx_simulation_output.errors import NothingRecordedError, SelectionError
from ndx_simulation_output.plots import arrays as plot_arrays
from ndx_simulation_output.plots import downsampling as bins
from ndx_simulation_output.plots.arrays import GridAxis, group_grids
from ndx_simulation_output.plots.downsampling import (
    column_edges,
    reduce_columns,
    reduce_traces,
    sample,
    sample_bins,
    spread,
    stack_traces,
)
from ndx_simulation_output.plots.heat_maps import reduce_heat_map
from ndx_simulation_output.plots.networks import histogram, mean_weights
from ndx_simulation_output.plots.shapes import read_coordinates, read_frames
from ndx_simulation_output.plots.spikes import spike_raster, spike_rates
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CompartmentTable,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Spikes,
    Timestamps,
    Unit,
)
from ndx_simulation_output.recording import arrays as array_module
from ndx_simulation_output.storage.reading import wrap_array

VOLTS = Unit("volts")
VALUES = st.floats(-100, 100) | st.just(np.nan)


def a_report(values, times=None, unit=VOLTS, **columns):
    values = np.asarray(values)
    cells = values.shape[1]
    table = CompartmentTable.from_counts(
        "net", np.arange(cells), np.ones(cells, int), {"number": np.zeros(cells, int), **columns}
    )
    times = times or RegularTimes(0.0, 1000.0, len(values))
    return Report("v", "v", values, times, table, unit)


@pytest.fixture
def small_blocks(monkeypatch):
    """Read a few rows at a time, so that bins span blocks."""
    monkeypatch.setattr(bins, "BLOCK_BYTES", 7 * 8)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=VALUES),
    st.integers(1, 8),
)
def test_each_pixel_has_the_extremes_of_its_samples(values, pixels):
    lines = reduce_traces(a_report(values), pixels=pixels)

    if len(values) <= 4 * pixels:
        np.testing.assert_array_equal(lines.values, values)
        assert lines.is_exact
        return
    edges = np.arange(pixels + 1) * len(values) // pixels
    parts = [values[first:last] for first, last in itertools.pairwise(edges)]
    expected = [(part[0], np.fmin.reduce(part), np.fmax.reduce(part), part[-1]) for part in parts]
    np.testing.assert_array_equal(lines.values.reshape(pixels, 4, -1), np.asarray(expected))


def test_extremes_do_not_depend_on_the_size_of_blocks(small_blocks):
    values = np.random.default_rng(0).normal(size=(1000, 2))

    lines = reduce_traces(a_report(values), pixels=13)

    edges = np.arange(14) * 1000 // 13
    expected = [values[a:b].max(axis=0) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(lines.values.reshape(13, 4, 2)[:, 2], expected)
    np.testing.assert_array_equal(lines.values.reshape(13, 4, 2)[:, 3], values[edges[1:] - 1])


def test_only_the_selected_window_and_columns_are_read():
    report = a_report(np.arange(40.0).reshape(10, 4))

    lines = reduce_traces(report, np.array([2, 0]), start=0.003, stop=0.006)

    np.testing.assert_array_equal(lines.values, [[14, 12], [18, 16], [22, 20]])
    np.testing.assert_allclose(lines.times, [0.003, 0.004, 0.005])


def test_bins_of_irregular_times_have_equal_durations():
    seconds = np.concatenate([np.linspace(0, 0.1, 90), [0.5, 0.9, 1.0]])
    values = np.arange(93.0)[:, np.newaxis]

    lines = reduce_traces(a_report(values, Timestamps(seconds)), pixels=10)

    first, low, high, last = lines.values.reshape(-1, 4).T
    # The bin from 0.1 to 0.2 has the last of the 90: linspace and the border may differ in a bit.
    assert first[0] == low[0] == 0
    assert high.max() == last[-1] == 92
    assert lines.samples == 93
    assert (np.diff(lines.times) >= 0).all()


def test_values_are_in_the_unit_of_the_report():
    report = a_report(np.arange(100, dtype=np.int16)[:, np.newaxis], unit=Unit("volts", 1e-3))

    lines = reduce_traces(report, pixels=5)

    assert lines.values.max() == pytest.approx(0.099)
    assert not lines.is_exact


def test_a_window_without_samples_has_no_points():
    lines = reduce_traces(a_report(np.zeros((10, 2))), start=5.0, stop=6.0)

    assert lines.values.shape == (0, 2)
    assert lines.samples == 0


@pytest.mark.parametrize("times", [RegularTimes(0.0, 1.0, 3), Timestamps(np.arange(3.0))])
@pytest.mark.parametrize("window", [{"start": 5.0}, {"stop": -1.0}])
def test_a_heat_map_of_a_window_without_samples_is_nan(times, window):
    found = reduce_heat_map(a_report(np.zeros((3, 2)), times), **window)

    assert np.isnan(found.values).all()
    assert (found.rows, found.note) == (0, "")


def test_many_values_along_an_x_that_does_not_ascend_are_drawn_by_index():
    x = np.array([0.0, 2.0, 1.0] * 10)

    few = reduce_columns(x, x[:, np.newaxis], pixels=10)
    many = reduce_columns(x, x[:, np.newaxis], pixels=5)

    np.testing.assert_array_equal(few.times, x)
    assert many.times[-1] == 29
    assert reduce_columns(np.arange(3.0), np.ones((3, 2))).values.shape == (3, 2)


@pytest.mark.parametrize("x", [np.arange(30.0, 0.0, -1), np.arange(30.0) // 2])
def test_many_values_along_an_x_that_descends_or_repeats_are_drawn_at_x(x):
    found = reduce_columns(x, x[:, np.newaxis], pixels=5)

    assert not found.is_exact
    assert (found.times[0], found.times[-1]) == (x[0], x[-1])
    np.testing.assert_array_equal(found.values[[0, -1], 0], [x[0], x[-1]])


@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 9)), elements=VALUES),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["mean", "max", "min"]),
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:All-NaN")
def test_each_pixel_of_a_heat_map_is_the_reduction_of_its_values(values, shape, how):
    found = reduce_heat_map(a_report(values), shape=shape, how=how)

    down = np.arange(min(shape[0], values.shape[1]) + 1)
    down = down * values.shape[1] // down[-1]
    across = np.append(np.arange(0, len(values), -(-len(values) // shape[1])), len(values))
    reduce = {"mean": np.nanmean, "max": np.nanmax, "min": np.nanmin}[how]
    expected = [
        [
            reduce(values[across[x] : across[x + 1], down[y] : down[y + 1]])
            for x in range(len(across) - 1)
        ]
        for y in range(len(down) - 1)
    ]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.columns, down)


def test_a_heat_map_does_not_depend_on_the_size_of_blocks(small_blocks):
    values = np.random.default_rng(0).normal(size=(100, 6))

    found = reduce_heat_map(a_report(values), shape=(3, 7), how="max")

    edges = [*range(0, 100, 15), 100]
    expected = [values[a:b, 2:4].max() for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(found.values[1], expected)


def test_a_large_heat_map_shows_one_column_per_pixel():
    values = np.arange(50)[:, np.newaxis] + 1000.0 * np.arange(40)

    found = reduce_heat_map(a_report(values), shape=(4, 50), most_bytes=4 * 50 * 8)

    which = found.values[:, 0] // 1000
    assert all(
        first <= one < last
        for first, one, last in zip(found.columns[:-1], which, found.columns[1:], strict=True)
    )
    np.testing.assert_array_equal(found.values, values[:, which.astype(int)].T)
    assert found.note == "4 of 40 compartments"


def test_a_heat_map_of_many_times_shows_the_first_of_each_pixel():
    values = np.arange(100.0)[:, np.newaxis] + np.zeros(2)

    found = reduce_heat_map(a_report(values), shape=(2, 10), most_bytes=2 * 10 * 3 * 8)

    np.testing.assert_array_equal(found.values[0], np.arange(10) * 10 + 1)
    assert found.rows_read == 30
    assert found.note == "30 of 100 times, mean of 3 values per pixel"


def test_a_heat_map_of_a_chunked_dataset_is_that_of_the_array(tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 50))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("v", data=values, chunks=(64, 16), compression="gzip")
    with h5py.File(tmp_path / "v.h5") as file:
        plain = a_report(values)
        stored = Report(
            "v", "v", wrap_array(file["v"]), plain.times, plain.compartments, plain.unit
        )
        found = reduce_heat_map(stored, shape=(7, 11))
        lines = reduce_traces(stored, np.array([49, 3]), pixels=9)

    np.testing.assert_allclose(found.values, reduce_heat_map(plain, shape=(7, 11)).values)
    expected = reduce_traces(plain, np.array([49, 3]), pixels=9)
    np.testing.assert_array_equal(lines.values, expected.values)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=200),
    st.tuples(st.integers(1, 10), st.integers(1, 10)),
)
def test_the_counts_of_a_raster_are_those_of_numpy(pairs, shape):
    ids = np.asarray([one for one, _ in pairs], np.int64)
    times = np.asarray([time for _, time in pairs], np.float64)
    spikes = Spikes("net", ids, times)

    found = spike_raster(spikes, shape=shape, start=0.0, stop=1.0)

    inside = times < 1.0
    assert found.n_spikes == np.count_nonzero(inside)
    np.testing.assert_array_equal(np.sort(found.spike_times), np.sort(times[inside]))
    expected, _ = np.histogram(times[inside], found.times)
    if shape[1] in {1, 2, 3, 4}:  # edges that are exact in floating point
        np.testing.assert_array_equal(found.counts.sum(axis=0), expected)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_ids_near_2_to_63_are_in_their_pixels(dtype):
    spikes = Spikes("net", np.array([0, 2**62, 2**63 - 1], dtype), np.zeros(3))

    found = spike_raster(spikes, shape=(4, 1), start=0.0, stop=1.0)

    assert found.counts.ravel().tolist() == [1, 0, 1, 1]
    np.testing.assert_array_equal(found.ids, np.arange(5) * 2.0**61)


def test_many_spikes_are_counted_only(monkeypatch):
    from ndx_simulation_output.plots import spikes as rasters

    monkeypatch.setattr(rasters, "_BLOCK", 1000)
    rng = np.random.default_rng(0)
    spikes = Spikes("net", rng.integers(10, 20, 5500), rng.uniform(0, 4, 5500))

    found = spike_raster(spikes, shape=(100, 8), most_points=5000)

    assert found.spike_times is None
    assert found.counts.shape == (10, 8)
    np.testing.assert_array_equal(found.counts.sum(axis=1), np.bincount(spikes.node_ids)[10:])


def test_a_raster_of_some_cells_has_only_their_spikes():
    spikes = Spikes("net", np.array([1, 2, 1, 3]), np.array([0.1, 0.2, 0.3, 0.4]))

    found = spike_raster(spikes, np.array([1, 3]), start=0.2)

    assert found.spike_ids.tolist() == [1, 3]
    assert found.n_spikes == 2


def test_rates_are_spikes_per_second_and_cell():
    spikes = Spikes("net", np.array([5, 5, 9]), np.array([0.1, 0.2, 0.9]))

    found = spike_rates(spikes, start=0.0, stop=1.0, bin_width=0.5)
    of_ten = spike_rates(spikes, start=0.0, stop=1.0, bin_width=0.5, n_cells=10)

    assert found.n_cells == 2
    np.testing.assert_allclose(found.rates, [2 / 0.5 / 2, 1 / 0.5 / 2])
    np.testing.assert_allclose(of_ten.rates, found.rates / 5)


def test_bins_of_rates_are_round_and_have_their_own_length_at_the_ends():
    spikes = Spikes("net", np.zeros(4, np.int64), np.array([0.013, 0.0301, 0.05, 0.0999]))

    found = spike_rates(spikes, start=0.013, stop=0.1, bin_width=0.02)
    by_default = spike_rates(spikes, start=0.0, stop=0.07)

    np.testing.assert_allclose(found.times, [0.013, 0.04, 0.06, 0.08, 0.1])
    np.testing.assert_allclose(found.rates, [2 / 0.027, 1 / 0.02, 0, 1 / 0.02])
    np.testing.assert_allclose(np.diff(by_default.times), 0.002)
    assert by_default.times[5] == 0.01


@pytest.mark.parametrize("bin_width", [0.0, -1.0, np.nan, np.inf, 1e-9])
def test_bins_that_cannot_be_are_refused(bin_width):
    spikes = Spikes("net", np.zeros(1, np.int64), np.array([0.5]))

    with pytest.raises(SelectionError, match=r"expected a positive number|expected longer bins"):
        spike_rates(spikes, start=0.0, stop=1.0, bin_width=bin_width)


def test_rates_say_of_which_cells_the_mean_is():
    known = Spikes("n", np.array([1, 1]), np.array([0.1, 0.2]), silent=np.array([2, 3, 4]))
    window = {"start": 0.0, "stop": 1.0, "bin_width": 1.0}

    of_all = spike_rates(known, **window)
    of_spiking = spike_rates(replace(known, silent=None), **window)
    of_some = spike_rates(known, np.array([1, 2]), **window)

    assert (of_all.rates[0], of_all.note) == (0.5, "mean of 4 recorded cells, bins of 1000 ms")
    assert (of_spiking.rates[0], of_spiking.basis) == (2.0, "cells that spike")
    assert (of_some.rates[0], of_some.basis) == (1.0, "selected cells")


def test_rates_are_those_of_the_recorded_time():
    intervals = np.array([[2.0, 3.25], [0.0, 0.5], [2.5, 3.0]])
    spikes = Spikes("n", np.array([1, 1, 1, 1]), np.array([0.1, 0.2, 2.7, 3.1]), {}, {}, None)
    window = {"start": 0.0, "stop": 4.0, "bin_width": 1.0}

    found = spike_rates(replace(spikes, intervals=intervals), **window)
    outside = spike_rates(replace(spikes, intervals=np.array([[0.0, 0.3]])), **window)

    np.testing.assert_array_equal(found.rates, [4.0, np.nan, 1.0, 2.0])
    np.testing.assert_array_equal(outside.rates, [4.0, np.nan, 2.0, 2.0])


def test_no_spikes_are_an_empty_raster():
    nothing = Spikes("net", np.zeros(0, np.int64), np.zeros(0))

    assert spike_raster(nothing).n_spikes == 0
    assert spike_rates(nothing).rates.sum() == 0


def test_frames_have_the_values_of_the_nearest_row():
    values = np.arange(40.0).reshape(10, 4)
    report = a_report(values)

    found = read_frames(report, np.array([3, 1]), at=0.0044)
    several = read_frames(report, np.array([0]), start=0.002, count=4)

    np.testing.assert_array_equal(found.values, [values[4, [3, 1]]])
    assert found.times == pytest.approx([0.004])
    np.testing.assert_array_equal(several.values, values[[2, 4, 6, 8], :1])


def test_frames_of_an_empty_window_are_refused():
    with pytest.raises(NothingRecordedError, match="no values in this time window"):
        read_frames(a_report(np.zeros((3, 1))), np.array([0]), start=9.0, stop=9.5)


def test_coordinates_leave_out_compartments_without_any():
    x = np.array([0.0, np.nan, 2.0])
    report = a_report(np.zeros((2, 3)), x=x, y=x, z=x)

    found = read_coordinates(report.compartments, np.array([2, 1, 0]))

    assert found.columns.tolist() == [2, 0]
    assert found.points.tolist() == [[2, 2, 2], [0, 0, 0]]
    assert found.left_out == 1
    with pytest.raises(
        NothingRecordedError, match="no coordinates: expected columns x, y and z; found number"
    ):
        read_coordinates(a_report(np.zeros((2, 3))).compartments, np.array([0]))


@given(arrays(np.float64, st.integers(0, 50), elements=VALUES))
def test_a_histogram_counts_every_finite_value(values):
    found = histogram(values, bins=7)

    assert found.counts.sum() + found.left_out == len(values)
    finite = values[np.isfinite(values)]
    if len(finite):
        np.testing.assert_array_equal(found.counts, np.histogram(finite, 7)[0])


def test_a_matrix_has_the_mean_weight_of_each_pixel():
    projection = ProjectionSnapshot(
        "p",
        np.array([1, 3]),
        np.array([2, 5]),
        np.array([0, 4, 0, 1, 5]),
        (Quantity("w", np.array([1.0, 2.0, 3.0, 5.0, 7.0])),),
        weight="w",
    )

    whole = mean_weights(projection, projection.quantities[0].values)
    small = mean_weights(projection, projection.quantities[0].values, shape=(2, 3))

    expected = np.full((4, 6), np.nan)
    expected[1, [0, 4]], expected[3, [0, 1, 5]] = (1, 2), (3, 5, 7)
    np.testing.assert_array_equal(whole.values, expected)
    np.testing.assert_array_equal(small.values, [[1, np.nan, 2], [4, np.nan, 7]])
    assert small.counts.tolist() == [[1, 0, 1], [2, 0, 1]]


def test_arrays_have_their_own_axes_and_those_of_the_scan():
    scan = ArrayAxis("Axis00", np.array([27.0, 28.0, 31.0]), "position", "mm", 0)
    own = ArrayAxis("Axis00", np.arange(5.0), "t", "ms", 1)
    data = ArrayWithAxes("Data00", np.arange(15.0).reshape(3, 5), label="i", unit="A")
    channel = ArrayGroup("CH00", (data,), (own,))
    nav = ArrayGroup("NavAxes", axes=(scan,))
    detector = ArrayGroup("Detector000", groups=(channel, nav))

    (grid,) = group_grids(detector)

    assert grid.name == "/Detector000/CH00"
    assert [(axis.label, axis.unit) for axis in grid.axes] == [("position", "mm"), ("t", "ms")]
    image, rows, columns = grid.image((3, 2))
    np.testing.assert_array_equal(image, [[0.5, 3], [5.5, 8], [10.5, 13]])
    assert rows.tolist(), columns.tolist() == ([0, 1, 2, 3], [0, 2, 5])


def test_of_many_dimensions_the_last_two_are_shown_with_a_note():
    values = np.arange(24.0).reshape(2, 3, 4)

    (grid,) = group_grids(ArrayGroup("g", (ArrayWithAxes("a", values),)))

    assert grid.note == "first of 2"
    np.testing.assert_array_equal(grid.image()[0], values[0])


def a_scan(shape=(3, 2, 5), nav=(0, 1)):
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    values[1, 1] = np.nan
    axes = (
        ArrayAxis("Axis00", np.array([3.0, 4.0, 5.0]), "stage", "mm", 0),
        ArrayAxis("Axis01", np.array([1.7e9, 1.7e9 + 5]), "time", "s", 1),
    )
    own = ArrayAxis("Axis00", np.linspace(400, 500, shape[-1]), "wavelength", "nm", len(shape) - 1)
    data = ArrayWithAxes("Data00", values, label="i", title="spectrum", nav_indexes=nav)
    channel = ArrayGroup("CH00", (data,), (own,), title="spectrum")
    return values, ArrayGroup(
        "Scan000", groups=(channel, ArrayGroup("NavAxes", axes=axes)), title="map"
    )


def test_a_scan_of_signals_is_shown_as_their_means_and_the_first_signal():
    values, scan = a_scan()

    means, signal = group_grids(scan)

    assert means.note == "mean over wavelength"
    assert [axis.label for axis in means.axes] == ["stage", "time"]
    np.testing.assert_array_equal(means.image()[0], values.mean(axis=-1))
    assert signal.note == "stage = 3 mm, time = 2023-11-14 22:13:20 UTC, first of 3 × 2"
    np.testing.assert_array_equal(signal.line().values[:, 0], values[0, 0])
    assert means.titles == signal.titles == ("spectrum", "map")


def test_means_of_a_scan_are_read_in_blocks(monkeypatch):
    read = []

    class Recorded:
        shape, dtype = (50, 4, 30), np.dtype(np.float64)

        def __getitem__(self, key):
            found = np.arange(6000.0).reshape(self.shape)[key]
            read.append(found.nbytes)
            return found

    monkeypatch.setattr(plot_arrays, "BLOCK_BYTES", 4 * 30 * 8 * 7)
    data = ArrayWithAxes("Data00", Recorded(), nav_indexes=(0, 1))
    means, _ = group_grids(ArrayGroup("g", (data,)))

    expected = np.arange(6000.0).reshape(Recorded.shape).mean(axis=-1)
    np.testing.assert_array_equal(means.values[:, :], expected)
    np.testing.assert_array_equal(means.values[3:40:5, 1:3], expected[3:40:5, 1:3])
    assert max(read) <= 4 * 30 * 8 * 7
    assert means.n_bytes == 48000


def test_a_scan_of_one_dimension_over_a_signal_is_one_image():
    (grid,) = group_grids(a_scan((3, 5), (0,))[1])

    assert [axis.label for axis in grid.axes] == ["stage", "wavelength"]


def test_seconds_since_1970_are_shown_from_the_first():
    means, _ = group_grids(a_scan()[1])
    stage, time = means.axes

    assert (stage.date, time.date) == ("", "2023-11-14 22:13:20 UTC")
    assert (stage.shown.tolist(), time.shown.tolist()) == ([3, 4, 5], [0, 5])
    assert GridAxis("t", "ms", np.array([1.7e12])).date == time.date


def test_errors_belong_to_their_array_unless_it_is_an_image():
    errors = ArrayWithAxes("ErrorBar00", np.array([0.5, -0.5, np.nan]), role="error")
    data = ArrayWithAxes("Data00", np.array([1.0, 2.0, 3.0]))
    image = replace(data, values=np.ones((2, 2)))
    of_image = replace(errors, values=np.zeros((2, 2)))

    (grid,) = group_grids(ArrayGroup("g", (data, errors)))
    images = [*group_grids(ArrayGroup("g", (image, of_image)))]
    (alone,) = group_grids(ArrayGroup("g", (errors,)))

    np.testing.assert_array_equal(grid.line(side=-1).values[:, 0], [0.5, 1.5, np.nan])
    np.testing.assert_array_equal(grid.line(side=1).values[:, 0], [1.5, 2.5, np.nan])
    assert [one.label for one in images] == ["Data00", "ErrorBar00 (error)"]
    assert alone.label == "ErrorBar00 (error)"


def test_text_and_empty_arrays_are_not_plotted():
    text = ArrayWithAxes("log", np.array(["a"], object), role="log")
    empty = ArrayWithAxes("empty", np.zeros((0, 3)))

    assert list(group_grids(ArrayGroup("g", (text, empty)))) == []


def test_a_sample_has_one_of_each_part_and_is_always_the_same():
    found = sample(1_000_000, 100)

    assert ((found // 10_000) == np.arange(100)).all()
    assert len(np.unique(found % 10_000)) > 90
    np.testing.assert_array_equal(found, sample(1_000_000, 100))
    assert sample(0, 5).tolist() == []


def test_few_indices_are_all_chosen():
    assert sample(3, 10).tolist() == [0, 1, 2]
    assert len(sample(1000, 10)) == 10
    assert spread(10, 3).tolist() == [0, 3, 6]


def test_bins_are_at_most_as_many_as_columns():
    assert column_edges(5, 2).tolist() == [0, 2, 5]
    assert column_edges(2, 5).tolist() == [0, 1, 2]
    assert sample_bins(np.array([0, 1, 1000, 2000])).tolist() == [0, 270, 1040]


def test_stacked_traces_are_one_step_apart():
    stacked, step = stack_traces(np.array([[0.0, 10.0], [4.0, 12.0]]))

    np.testing.assert_array_equal(stacked, [[-0.5, 0.75], [0.5, 1.25]])
    assert step == 4.0


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.int64, np.float32])
def test_traces_of_any_type_are_stacked(dtype):
    values = np.array([[0, 1], [1, 0]], dtype)
    stacked, step = stack_traces(values)
    assert step == 1
    np.testing.assert_array_equal(stacked, [[-0.5, 1.5], [0.5, 0.5]])


def test_stacked_traces_have_gaps_where_they_are_infinite():
    values = np.array([[0.0, 0.0], [np.inf, 2.0], [4.0, -np.inf]])
    stacked, step = stack_traces(values)
    assert step == 4
    np.testing.assert_array_equal(stacked, [[-0.5, 0.75], [np.nan, 1.25], [0.5, np.nan]])


def test_blocks_are_whole_chunks():
    class Chunked:
        shape, dtype, chunks = (100, 4), np.dtype(float), (8, 4)

    found = list(bins.row_blocks(Chunked(), slice(3, 100), 4))

    assert found[0].start == 3
    assert found[-1].stop == 100
    assert all(rows.start % 8 == 0 for rows in found[1:])
    assert max((r.stop - r.start) * 32 for r in found) <= array_module.BLOCK_BYTES
