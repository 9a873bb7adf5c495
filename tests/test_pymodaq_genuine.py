"""Objects of pymodaq_data go into NWB files and come back equal."""

import os
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndx_simulation_output.pymodaq import (
    Axis,
    AxisSaverLoader,
    BkgSaver,
    DataLoader,
    DataSaverLoader,
    DataToExportSaver,
    H5SaverLowLevel,
)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Give pymodaq_data's module of data, which keeps its settings in the home directory."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    try:
        yield pytest.importorskip("pymodaq_data.data", reason="pymodaq_data is not installed")
    finally:
        if home is not None:
            os.environ["HOME"] = home


NAMES = st.text(string.ascii_letters + "é µ_ß漢1", min_size=1, max_size=8)
UNITS = st.sampled_from(["", "V", "mV", "s", "um", "nm/s", "degC", "1/m"])
DTYPES = st.sampled_from(["f8", "f4", "i8", "i2", "u1", "c16", "?"])


@st.composite
def described(draw):
    """Give arguments of data: shapes, splits of navigation and signal, spread or uniform axes."""
    shape = tuple(draw(st.lists(st.integers(2, 4), min_size=1, max_size=4)))
    nav = tuple(range(draw(st.integers(0, len(shape) - 1))))
    spread = len(nav) == 1 and draw(st.booleans())
    dtype = np.dtype(draw(DTYPES))
    seed = draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    n_arrays = draw(st.integers(1, 3))
    axes = []
    for index, length in enumerate(shape):
        for order in range(2 if spread and index in nav else 1):
            values = np.cumsum(random.uniform(0.5, 2.0, length))
            axes.append((draw(NAMES), draw(UNITS), values, index, order))
    return {
        "name": draw(NAMES),
        "data": [(random.normal(size=shape) * 50).astype(dtype) for _ in range(n_arrays)],
        "errors": [random.uniform(size=shape) for _ in range(n_arrays)]
        if draw(st.booleans())
        else None,
        "labels": [f"{draw(NAMES)}{n}" for n in range(n_arrays)],
        "units": draw(UNITS),
        "origin": draw(NAMES),
        "nav_indexes": nav,
        "distribution": "spread" if spread else "uniform",
        "axes": axes,
        "gain": draw(st.sampled_from([1, 2.5, "high", (1, 2), [1, "a"], None, True])),
    }


def made(module, arguments):
    axes = [
        module.Axis(label, units, values, index, spread_order=order)
        for label, units, values, index, order in arguments["axes"]
    ]
    return module.DataRaw(**{**arguments, "axes": axes})


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=30)
@given(arguments=described(), subtract=st.booleans())
def test_genuine_data_come_back_equal(genuine, tmp_path_factory, arguments, subtract):
    data = made(genuine, arguments)
    path = tmp_path_factory.mktemp("round") / "run.nwb"
    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        group = saver.add_det_group("/RawData", "Detector")
        DataSaverLoader(saver).add_data(group, data)
        if subtract:
            BkgSaver(saver).add_data(group, data, save_axes=False)

    with DataLoader(path) as loader:
        light = loader.load_data("/RawData/Detector000/Data00", load_all=True)
        without = loader.load_data("/RawData/Detector000/Data00", with_bkg=True, load_all=True)
    back = light.to_pymodaq()

    assert back == data
    for name in ("labels", "origin", "units", "nav_indexes", "timestamp", "gain", "name"):
        assert getattr(back, name) == getattr(data, name)
    assert back.source == data.source
    assert back.distribution == data.distribution
    for ours, theirs in zip(back.data, data.data, strict=True):
        assert ours.dtype == theirs.dtype
    for label, units, values, index, order in arguments["axes"]:
        assert Axis(label, units, values, index, spread_order=order) in light.axes
    if subtract:
        assert all(not values.any() for values in without.data)


@pytest.mark.filterwarnings("ignore")
def test_a_genuine_set_and_axis_come_back_and_are_left_as_they_were(genuine, tmp_path):
    axis = genuine.Axis("x", "um", np.array([0.0, 1.0, 5.0]))
    data = genuine.DataRaw("one", data=[np.arange(3.0)], axes=[axis], units="V")
    single = genuine.DataRaw("two", data=[np.array([4.0])])
    export = genuine.DataToExport("all", data=[data, single])
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        AxisSaverLoader(saver).add_axis("/RawData", axis)
        group = saver.add_det_group("/RawData", "Detector")
        DataToExportSaver(saver).add_data(group, export)
        loaded_axis = AxisSaverLoader(saver).load_axis("/RawData/Axis00").to_pymodaq()
        loaded = DataLoader(saver).load_all(group).to_pymodaq()

    assert loaded_axis == axis
    assert loaded.get_data_from_name("one") == data
    assert loaded.get_data_from_name("two") == single
    assert axis.index == 0
