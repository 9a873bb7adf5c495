"""Loaders return the data of genuine files, and of their NWB files, as those of PyMoDAQ do."""

import json
import re

import numpy as np
import pytest

from ndx_simulation_output import convert
from ndx_simulation_output.pymodaq import DataLoader, DataToExport, DataWithAxes
from tests.pymodaq.making import GENUINE, decoded

# PyMoDAQ 5.3 stores NaN as an integer.
pytestmark = pytest.mark.filterwarnings("ignore:.*values that were not measured")

CALL = re.compile(r"(?P<loader>\w+)\.(?P<call>load_\w+)\('(?P<where>[^']+)'(?P<options>.*)\)")


@pytest.fixture(params=GENUINE)
def genuine(request, pymodaq_data):
    expected = (pymodaq_data / f"{request.param}.expected.json").read_text(encoding="utf-8")
    return pymodaq_data / f"{request.param}.h5", json.loads(expected)


def is_wrong_background(options: str, where: str) -> bool:
    """PyMoDAQ subtracts Bkg00 from any array that is loaded alone."""
    return "with_bkg" in options and "load_all" not in options and not where.endswith("00")


def check(data: DataWithAxes, expected: dict, *, with_nav: bool = True) -> None:
    # PyMoDAQ drops the dimensions of the signal that have length 1, and adds axes that count.
    shape = tuple(length for length in expected["shape"] if length != 1)
    assert tuple(length for length in data.shape if length != 1) == shape
    assert data.name == expected["name"]
    assert data.labels == expected["labels"]
    assert data.units == (expected["units"] or "")
    assert data.source == expected["source"]
    assert data.nav_indexes == tuple(expected["nav_indexes"])
    assert data.distribution == expected["distribution"]
    for values, wanted in zip(data.data, map(decoded, expected["data"]), strict=True):
        if isinstance(wanted, dict):
            assert list(values.shape) == wanted["shape"]
        else:
            np.testing.assert_array_equal(values.ravel(), np.ravel(wanted))
    assert (data.errors is None) == (expected["errors"] is None)
    labelled = [axis for axis in expected["axes"] if axis["label"]]
    if with_nav:
        assert len([axis for axis in data.axes if axis.label]) == len(labelled)
    for axis in labelled:
        (found,) = [
            own
            for own in data.get_axis_from_index(axis["index"])
            if (own.label, own.units) == (axis["label"], axis["units"])
        ]
        # PyMoDAQ makes an axis linear if it nearly is.
        np.testing.assert_allclose(found.data, decoded(axis["values"]), rtol=1e-6)


@pytest.mark.parametrize("form", ["source", "nwb"])
def test_loaders_return_what_those_of_pymodaq_returned(genuine, form, tmp_path):
    path, expected = genuine
    target = path if form == "source" else convert(path, tmp_path / "run.nwb").path
    checked = 0

    with DataLoader(target) as loader:
        for load in expected["loads"]:
            call = CALL.match(load["call"])
            result = load.get("result")
            if call is None or not isinstance(result, dict) or "Axis" in call["where"]:
                continue
            options = call["options"]
            flags = {name: name in options for name in ("with_bkg", "load_all")}
            if is_wrong_background(options, call["where"]):
                continue
            if result["type"] == "DataToExport":
                export = loader.load_all(call["where"], with_bkg=flags["with_bkg"])
                assert isinstance(export, DataToExport)
                found = sorted(export, key=lambda data: (data.name, data.origin))
                wanted = sorted(result["data"], key=lambda data: data["name"])
                for data, one in zip(found, wanted, strict=True):
                    check(data, one)
            else:
                data = loader.load_data(call["where"], **flags)
                check(data, result, with_nav=call["loader"] == "DataLoader")
            checked += 1

    assert checked or "01_axis" in path.name


def test_a_background_is_that_of_the_same_number(pymodaq_data):
    path = pymodaq_data / "v4_4_5_tables" / "07_bkg_multi.h5"

    with DataLoader(path) as loader:
        where = "/RawData/Detector000/Data01"
        values = loader.load_data(where).data[0]
        background = loader.load_data("/RawData/Detector000/Bkg01").data[0]
        alone = loader.load_data(where, with_bkg=True).data[0]
        both = loader.load_data(where, with_bkg=True, load_all=True).data[1]

    np.testing.assert_array_equal(alone, values - background)
    np.testing.assert_array_equal(both, alone)
