"""PyMoDAQ data saved by 0.3.0 load unchanged, and growing data continue."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output.pymodaq import (
    Axis,
    DataLoader,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from tests.compatibility.inputs import grating
from tests.compatibility.packing import unpack

COUNT = 5
POINTS = {(0, 0): 0, (0, 2): 2, (1, 1): 2}
TIMES = [1.7e9 + number / 4 for number in range(COUNT)]


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    return unpack("pymodaq", tmp_path_factory.mktemp("pymodaq"))


@pytest.fixture
def growing(golden):
    with DataLoader(golden / "pymodaq_growing.nwb") as loader:
        yield loader


def stacked(name: str, count: int = COUNT) -> np.ndarray:
    return np.stack([grating(number)[name] for number in range(count)])


def scanned(name: str) -> np.ndarray:
    width = grating(0)[name].shape
    values = np.full((2, 3, *width), np.nan)
    for point, number in POINTS.items():
        values[point] = grating(number)[name]
    return values


def loaded_by_name(loader: DataLoader, where: str) -> dict:
    return {data.name: data for data in loader.load_all(where)}


def test_data_with_axes_load(golden):
    with DataLoader(golden / "pymodaq_saved.nwb") as loader:
        image = loader.load_data("/RawData/Detector000/Data00", load_all=True)

    assert repr(image) == "<DataWithAxes, image, (|2, 3)>"
    assert [one.tolist() for one in image.data] == [
        [[1, 2, 3], [4, 5, 6]],
        [[7, 8, 9], [1, 0, 1]],
    ]
    assert image.data[0].dtype == np.int64
    assert [(axis.label, axis.units, axis.data.tolist()) for axis in image.axes] == [
        ("y", "um", [-1, 1]),
        ("x", "um", [10, 11, 15]),
    ]
    assert (image.origin, image.exposure, image.timestamp) == ("camera", 0.25, 1.7e9)


def test_backgrounds_are_subtracted(golden):
    with DataLoader(golden / "pymodaq_saved.nwb") as loader:
        at = "/RawData/Detector000/Data00"
        image = loader.load_data(at, with_bkg=True, load_all=True)
        spectrum = loader.load_data("/RawData/Detector001/Data1D/CH00/Data00", with_bkg=True)

    assert [one.tolist() for one in image.data] == [
        [[0, 1, 2], [3, 4, 5]],
        [[5, 6, 7], [-1, -2, -1]],
    ]
    np.testing.assert_array_equal(spectrum.data[0], grating(3)["spectrum"] - grating(1)["spectrum"])


def test_a_set_of_data_loads(golden):
    with DataLoader(golden / "pymodaq_saved.nwb") as loader:
        found = loaded_by_name(loader, "/RawData/Detector001")

    spectrum, power = found["spectrum"], found["power"]
    np.testing.assert_array_equal(spectrum.data[0], grating(3)["spectrum"])
    np.testing.assert_array_equal(spectrum.errors[0], grating(3)["error"])
    np.testing.assert_array_equal(power.data[0], grating(3)["power"])
    assert (spectrum.units, spectrum.labels, spectrum.gain) == ("V", ["intensity"], 2)
    assert spectrum.axes[0] == Axis("wavelength", "nm", np.array([400.0, 500.0, 700.0]))
    assert (power.units, power.timestamp) == ("W", 1.7e9 + 3 / 4)


def test_nodes_have_their_names_titles_and_attributes(golden, tmp_path):
    shutil.copy(golden / "pymodaq_saved.nwb", tmp_path)
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "pymodaq_saved.nwb")
        nodes = [str(node) for node in saver.walk_nodes("/RawData/Detector001/Data1D")]
        camera = saver.get_node("/RawData/Detector000")
        settings = camera.attrs["settings"]

    at = "/RawData/Detector001/Data1D"
    assert sorted(nodes) == [
        f"{at} (GROUP) ''",
        f"{at}/CH00 (GROUP) 'spectrum'",
        f"{at}/CH00/Axis00 (CARRAY) 'wavelength'",
        f"{at}/CH00/Bkg00 (CARRAY) 'spectrum'",
        f"{at}/CH00/BkgErrorBar00 (CARRAY) 'spectrum_errors'",
        f"{at}/CH00/Data00 (CARRAY) 'spectrum'",
        f"{at}/CH00/ErrorBar00 (CARRAY) 'spectrum_errors'",
    ]
    assert settings == "<gain>2</gain>"


def test_timed_data_load(growing):
    found = loaded_by_name(growing, "/RawData/Detector000")

    spectrum, power = found["spectrum"], found["power"]
    assert repr(spectrum) == "<DataWithAxes, spectrum, (5|3)>"
    np.testing.assert_array_equal(spectrum.data[0], stacked("spectrum"))
    np.testing.assert_array_equal(spectrum.errors[0], stacked("error"))
    np.testing.assert_array_equal(power.data[0], stacked("power")[:, 0])
    assert (spectrum.units, spectrum.gain, spectrum.distribution) == ("V", 2, "spread")
    assert spectrum.get_axis_from_index(0)[0].data.tolist() == TIMES
    assert spectrum.get_axis_from_index(1)[0].data.tolist() == [400, 500, 700]


def test_enlargeable_data_load(growing):
    found = loaded_by_name(growing, "/RawData/Detector001")
    single = growing.load_data("/RawData/Detector003/EnlData00")

    for spectrum in (found["spectrum"], single):
        np.testing.assert_array_equal(spectrum.data[0], stacked("spectrum"))
        np.testing.assert_array_equal(spectrum.errors[0], stacked("error"))
    axis = found["power"].get_axis_from_index(0)[0]
    assert (axis.label, axis.units, axis.data.tolist()) == ("position", "mm", [0, 1.5, 3, 4.5, 6])
    assert found["spectrum"].times.tolist() == TIMES
    assert [(axis.label, axis.data.tolist()) for axis in single.get_axis_from_index(0)] == [
        ("x", [0, 1, 2, 3, 4]),
        ("y", [0, 2.5, 5, 7.5, 10]),
    ]


def test_extended_data_load(growing):
    found = loaded_by_name(growing, "/RawData/Detector002")
    single = growing.load_data("/RawData/Detector004/Data00")

    for spectrum in (found["spectrum"], single):
        assert repr(spectrum) == "<DataWithAxes, spectrum, (2, 3|3)>"
        np.testing.assert_array_equal(spectrum.data[0], scanned("spectrum"))
        np.testing.assert_array_equal(spectrum.errors[0], scanned("error"))
    np.testing.assert_array_equal(found["power"].data[0], scanned("power")[..., 0])
    assert [axis.label for axis in found["spectrum"].axes if axis.index < 2] == ["p", "q"]
    assert found["spectrum"].get_axis_from_index(0)[0].data.tolist() == [0, 1.5]
    reached = np.isfinite(found["spectrum"].times)
    assert [tuple(point) for point in np.argwhere(reached)] == list(POINTS)


def test_pynwb_alone_reads_timed_data(golden):
    with NWBHDF5IO(str(golden / "pymodaq_growing.nwb"), "r") as io:
        nwbfile = io.read()
        series = {
            one.unit: one
            for one in nwbfile.objects.values()
            if getattr(one, "neurodata_type", "") == "AxesTimeSeries" and one.role == "data"
        }
        times = series["V"].timestamps[:] + nwbfile.session_start_time.timestamp()

        assert set(series) == {"V", "W"}
        np.testing.assert_array_equal(series["V"].data[:], stacked("spectrum"))
        np.testing.assert_array_equal(series["W"].data[:], stacked("power")[:, 0])
        np.testing.assert_allclose(times, TIMES, rtol=0, atol=1e-6)
        assert series["V"].label == "intensity"


def test_growing_data_continue(golden, tmp_path):
    path = tmp_path / "growing.nwb"
    shutil.copy(golden / "pymodaq_growing.nwb", path)
    at = "/RawData/Detector000"
    arrays = grating(COUNT)
    spectrum = DataRaw(
        "spectrum",
        data=[arrays["spectrum"]],
        errors=[arrays["error"]],
        units="V",
        labels=["intensity"],
        axes=[Axis("wavelength", "nm", np.array([400.0, 500.0, 700.0]))],
        gain=2,
    )
    power = DataRaw("power", data=[arrays["power"]], units="W")

    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        both = DataToExport("all", [spectrum, power], timestamp=1.7e9 + COUNT / 4)
        DataToExportTimedSaver(saver).add_data(at, both)
        DataSaverLoader(saver).add_data(saver.add_det_group("/RawData", "New"), power)

    with DataLoader(path) as loader:
        found = loaded_by_name(loader, at)
        assert loader.load_data("/RawData/Detector005/Data00").data[0] == arrays["power"]
    np.testing.assert_array_equal(found["spectrum"].data[0], stacked("spectrum", COUNT + 1))
    assert found["power"].get_axis_from_index(0)[0].data.tolist() == [*TIMES, 1.7e9 + COUNT / 4]
