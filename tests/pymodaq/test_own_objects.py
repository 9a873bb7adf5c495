"""Objects and files of pymodaq_data are saved in NWB files and loaded unchanged."""

import os
import string
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynwb import validate

from ndx_simulation_output import convert
from ndx_simulation_output.pymodaq import (
    Axis,
    AxisSaverLoader,
    BkgSaver,
    DataExtendedSaver,
    DataLoader,
    DataSaverLoader,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportSaver,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)

# What PyMoDAQ does with an axis of one value.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Redirect the settings that pymodaq_data writes when it is imported."""
    place, make = tmp_path_factory.mktemp("home"), Path.mkdir

    def only_at_home(path, *args, **kwargs):
        # Without permission to write the system's settings, it writes those of the user.
        if path.name == ".pymodaq" and not path.is_relative_to(place):
            raise PermissionError(path)
        make(path, *args, **kwargs)

    with patch.dict(os.environ, HOME=str(place)), patch.object(Path, "mkdir", only_at_home):
        yield


@pytest.fixture(scope="module")
def genuine(home):
    """Return pymodaq_data's module of data."""
    return pytest.importorskip("pymodaq_data.data", reason="pymodaq_data is not installed")


@pytest.fixture(scope="module")
def saver(genuine, tmp_path_factory):
    """Yield a file for all examples, each in a group of its own."""
    path = tmp_path_factory.mktemp("all") / "run.nwb"
    with H5SaverLowLevel() as made:
        made.init_file(path)
        yield made
    assert validate(path=str(path)) == []


NAMES = st.text(string.ascii_letters + "é µ_ß漢1", min_size=1, max_size=8)
UNITS = st.sampled_from(["", "V", "mV", "s", "um", "nm/s", "degC", "1/m"])
DTYPES = st.sampled_from(["f8", "f4", "i8", "i2", "u1", "c16", "?"])
EXTRA = st.sampled_from([1, 2.5, "high", (1, 2), [1, "a"], None, True, 2 + 1j, b"\x00", {"a": 1}])


@st.composite
def axes_of(draw, index, length, order=0):
    """Draw arguments of an axis: linear, nearly linear or not; of any size."""
    start, step = draw(st.sampled_from([(0.0, 1.0), (-3.5, 0.25), (0.0, 1e-9), (1.7e9, 1e-3)]))
    values = start + step * np.arange(length)
    values = draw(st.sampled_from([values, values[::-1], start + step * np.arange(length) ** 2]))
    return draw(NAMES), draw(UNITS), np.ascontiguousarray(values), index, order


@st.composite
def described(draw, *, most_dimensions=4, navigates=True):
    """Draw arguments of data: shapes, navigation and signal, spread or uniform axes."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=most_dimensions)))
    dimensions = draw(st.permutations(range(len(shape))))
    nav = tuple(dimensions[: draw(st.integers(0, len(shape) - 1))]) if navigates else ()
    spread = len(nav) == 1 and draw(st.booleans())
    n_arrays = draw(st.integers(1, 3))
    dtype, random = np.dtype(draw(DTYPES)), np.random.default_rng(draw(st.integers(0, 99)))
    axes = [
        draw(axes_of(index, length, order))
        for index, length in enumerate(shape)
        for order in range(draw(st.integers(1, 3)) if spread and index in nav else 1)
    ]
    scale = 50 if dtype.kind != "u" else 10
    return {
        "name": draw(NAMES),
        "data": [np.abs(random.normal(size=shape) * scale).astype(dtype) for _ in range(n_arrays)],
        "errors": [random.uniform(size=shape) for _ in range(n_arrays)]
        if draw(st.booleans())
        else None,
        "labels": [f"{draw(NAMES)}{n}" for n in range(n_arrays)],
        "units": draw(UNITS),
        "origin": draw(NAMES),
        "nav_indexes": nav,
        "distribution": "spread" if spread else "uniform",
        "axes": axes,
        "gain": draw(EXTRA),
    }


def made(module, arguments, kind="DataRaw"):
    axes = [
        module.Axis(label, units, values, index, spread_order=order)
        for label, units, values, index, order in arguments["axes"]
    ]
    return getattr(module, kind)(**{**arguments, "axes": axes})


@st.composite
def sets_of(draw, **options):
    """Draw arguments of data of one set, with different names."""
    found = draw(st.lists(described(**options), min_size=1, max_size=3))
    return [{**one, "name": f"{one['name']}{number}"} for number, one in enumerate(found)]


def check_equal(back, data):
    """Check that genuine data are equal in all attributes, to the last bit."""
    assert back == data
    names = ("name", "labels", "origin", "units", "nav_indexes", "timestamp", "gain")
    names += ("source", "distribution", "dim", "shape")
    for name in names:
        assert getattr(back, name) == getattr(data, name), name
    for ours, theirs in zip(back.data, data.data, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert (back.errors is None) == (data.errors is None)
    if data.errors is not None:
        for ours, theirs in zip(back.errors, data.errors, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def axes_of_pymodaq(module, arguments):
    """Return the axes of genuine data, which PyMoDAQ makes linear if they nearly are."""
    return [Axis.of(axis) for axis in made(module, arguments).axes]


@given(arguments=described(), kind=st.sampled_from(["DataRaw", "DataCalculated"]))
def test_genuine_data_come_back_equal(genuine, saver, arguments, kind):
    data = made(genuine, arguments, kind)
    group = saver.add_det_group("/RawData", "Detector")
    DataSaverLoader(saver).add_data(group, data)

    loader = DataLoader(saver)
    light = loader.load_data(f"{group.path}/Data00", load_all=True)

    check_equal(light.to_pymodaq(), data)
    for axis in axes_of_pymodaq(genuine, arguments):
        assert axis in light.axes


@given(arguments=described(), number=st.integers(0, 2))
def test_the_background_of_each_array_is_subtracted(genuine, saver, arguments, number):
    number = min(number, len(arguments["data"]) - 1)
    data = made(genuine, arguments)
    dark = made(genuine, {**arguments, "data": [one[..., ::-1] for one in arguments["data"]]})
    group = saver.add_det_group("/RawData", "Detector")
    DataSaverLoader(saver).add_data(group, data)
    BkgSaver(saver).add_data(group, dark, save_axes=False)

    loader = DataLoader(saver)
    all_of_them = loader.load_data(f"{group.path}/Data00", with_bkg=True, load_all=True)
    alone = loader.load_data(f"{group.path}/Data{number:02d}", with_bkg=True)
    background = loader.load_data(f"{group.path}/Bkg{number:02d}")

    # Whole numbers without sign do not wrap around.
    wide = [values if values.dtype.kind in "fc" else values.astype("i8") for values in data.data]
    expected = [one - two for one, two in zip(wide, dark.data, strict=True)]
    for found, wanted in zip(all_of_them.data, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(alone.data[0], expected[number])
    np.testing.assert_array_equal(background.data[0], dark.data[number])


@given(arguments=sets_of())
def test_genuine_sets_come_back_equal(genuine, saver, arguments):
    data = [made(genuine, one) for one in arguments]
    group = saver.add_det_group("/RawData", "Detector")
    DataToExportSaver(saver).add_data(group, genuine.DataToExport("all", data=data))

    loader = DataLoader(saver)
    back = loader.load_all(group).to_pymodaq()

    assert len(back) == len(data)
    for one in data:
        check_equal(back.get_data_from_name(one.name), one)


@given(
    arguments=sets_of(navigates=False, most_dimensions=3),
    steps=st.integers(1, 4),
    timed=st.booleans(),
    level=st.sampled_from([0, 3]),
)
def test_genuine_sets_that_grow_come_back(genuine, saver, arguments, steps, timed, level):
    elements = [[made(genuine, one) for one in arguments] for _ in range(steps)]
    saver.define_compression("gzip", level)
    group = saver.add_det_group("/RawData", "Detector")
    names = (("x", "y"), ("mm", "um"))
    growing = None if timed else DataToExportEnlargeableSaver(saver, *names)
    times = DataToExportTimedSaver(saver) if timed else None
    for step, element in enumerate(elements):
        export = genuine.DataToExport("all", data=element)
        export.timestamp = 1.7e9 + step / 3
        if growing is None:
            times.add_data(group, export)
        else:
            growing.add_data(group, export, (step * 1e-9, step**2))

    loader = DataLoader(saver)
    back = loader.load_all(group)

    for number, one in enumerate(arguments):
        found = back.get_data_from_name(one["name"])
        assert found.units == elements[0][number].units
        assert (found.origin, found.labels, found.gain) == (
            one["origin"],
            one["labels"],
            one["gain"],
        )
        for kind in ("data", "errors"):
            for channel, values in enumerate(getattr(found, kind) or ()):
                wanted = np.stack([one[kind][channel]] * steps)
                np.testing.assert_array_equal(values, wanted.reshape(values.shape))
        along = found.get_axis_from_index(0)
        if timed:
            np.testing.assert_array_equal(along[0].data, 1.7e9 + np.arange(steps) / 3)
        else:
            np.testing.assert_array_equal(along[0].data, np.arange(steps) * 1e-9)
            np.testing.assert_array_equal(along[1].data, np.arange(steps) ** 2)
            assert found.times.tolist() == [element[number].timestamp for element in elements]


@given(
    arguments=sets_of(most_dimensions=2),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple),
    data=st.data(),
)
def test_genuine_sets_of_a_scan_come_back(genuine, saver, arguments, shape, data):
    points = data.draw(st.lists(st.sampled_from(list(np.ndindex(shape))), min_size=1, unique=True))
    element = [made(genuine, one) for one in arguments]
    axes = [genuine.Axis(f"a{n}", "mm", np.arange(size) ** 2.0, n) for n, size in enumerate(shape)]
    group = saver.add_scan_group("/RawData", "Scan")
    scan = DataToExportExtendedSaver(saver, shape)
    scan.add_nav_axes(group, axes)
    for point in points:
        scan.add_data(group, genuine.DataToExport("all", data=element), point)

    loader = DataLoader(saver)
    back = loader.load_all(group)

    reached = np.zeros(shape, bool)
    reached[tuple(zip(*points, strict=True))] = True
    for one in arguments:
        found = back.get_data_from_name(one["name"])
        assert found.nav_indexes[: len(shape)] == tuple(range(len(shape)))
        np.testing.assert_array_equal(np.isfinite(found.times), reached)
        for values, wanted in zip(found.data, one["data"], strict=True):
            for point in points:
                np.testing.assert_array_equal(np.ravel(values[point]), wanted.ravel())
            if values.dtype.kind in "fc":
                assert np.isnan(values[~reached]).all()
        for axis in axes:
            assert Axis.of(axis) in found.axes
    assert [axis.index for one in element for axis in one.axes] == [
        axis[3] for one in arguments for axis in one["axes"]
    ]


@settings(max_examples=12)
@given(arguments=sets_of())
def test_files_of_genuine_savers_are_converted_without_loss(genuine, tmp_path_factory, arguments):
    from pymodaq_data.h5modules import data_saving, saving

    path = tmp_path_factory.mktemp("round") / "run.h5"
    data = [made(genuine, one) for one in arguments]
    saver = saving.H5SaverLowLevel(save_type="detector", backend="h5py")
    saver.init_file(path, new_file=True)
    group = saver.add_det_group("/RawData", "Detector")
    data_saving.DataToExportSaver(saver).add_data(group, genuine.DataToExport("all", data=data))
    saver.close_file()

    with DataLoader(convert(path, path.with_suffix(".nwb")).path) as loader:
        back = loader.load_all("/RawData/Detector000").to_pymodaq()

    for one in data:
        check_equal(back.get_data_from_name(one.name), one)


def test_a_genuine_axis_comes_back_and_saving_changes_no_data(genuine, saver):
    axis = genuine.Axis("x", "um", np.array([0.0, 1.0, 5.0]))
    data = genuine.DataRaw("one", data=[np.arange(3.0)], axes=[axis], units="V")
    node = AxisSaverLoader(saver).add_axis("/RawData", axis)
    loaded = AxisSaverLoader(saver).load_axis(node).to_pymodaq()
    group = saver.add_det_group("/RawData", "Detector")
    DataExtendedSaver(saver, (2,)).add_data(group, data, (1,))

    assert loaded == axis
    assert (axis.index, data.axes[0].index, data.origin) == (0, 0, "")


def test_genuine_sets_are_filled_with_what_is_loaded(genuine, saver):
    data = genuine.DataRaw("one", data=[np.arange(3.0)], units="V")
    group = saver.add_det_group("/RawData", "Detector")
    DataToExportSaver(saver).add_data(group, genuine.DataToExport("all", data=[data]))
    target = genuine.DataToExport("loaded")
    loaded = DataLoader(saver).load_all(group, target)

    assert loaded is target
    assert isinstance(loaded[0], genuine.DataWithAxes)
    assert loaded[0] == data
