"""Growing data and scans of PyMoDAQ, also after a crash."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output.errors import RecordingError, ShapeMismatchError
from ndx_simulation_output.nwb.types import AxesTimeSeries
from ndx_simulation_output.pymodaq import (
    Axis,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataLoader,
    DataRaw,
    DataToExport,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportTimedSaver,
    H5Saver,
    H5SaverLowLevel,
)


@pytest.fixture
def h5saver(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        saver.add_det_group("/RawData", "Detector")
        yield saver


AT = "/RawData/Detector000"


def element(number: int) -> DataToExport:
    x = Axis("wavelength", "nm", np.array([400.0, 500.0, 700.0]))
    spectrum = DataRaw(
        "spectrum",
        data=[np.arange(3.0) + number],
        errors=[np.full(3, 0.5)],
        units="V",
        axes=[x],
        gain=2,
    )
    power = DataRaw("power", data=[np.array([float(number)])], units="W")
    return DataToExport("all", [spectrum, power], timestamp=1.7e9 + number / 3)


def test_timed_data_are_time_series(h5saver):
    saver = DataToExportTimedSaver(h5saver)
    for number in range(5):
        saver.add_data(AT, element(number))

    spectrum = DataLoader(h5saver).load_data(f"{AT}/Data1D/CH00/EnlData00")
    power = DataLoader(h5saver).load_data(f"{AT}/Data0D/CH00/EnlData00")
    path = h5saver.file_path
    h5saver.close_file()

    times = [1.7e9 + number / 3 for number in range(5)]
    assert repr(spectrum) == "<DataWithAxes, spectrum, (5|3)>"
    assert (spectrum.units, spectrum.gain, spectrum.distribution) == ("V", 2, "spread")
    assert spectrum.errors[0].tolist() == [[0.5] * 3] * 5
    assert spectrum.get_axis_from_index(0)[0].data.tolist() == times
    assert spectrum.get_axis_from_index(1)[0].data.tolist() == [400, 500, 700]
    assert power.data[0].tolist() == [0, 1, 2, 3, 4]
    assert validate(path=str(path)) == []
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        found = [item for item in nwbfile.objects.values() if isinstance(item, AxesTimeSeries)]
        start = nwbfile.session_start_time.timestamp()
        assert {(series.name, series.unit) for series in found} == {
            ("EnlData00", "V"),
            ("ErrorBar00", "V"),
            ("EnlData00", "W"),
        }
        for series in found:
            np.testing.assert_allclose(series.timestamps[:] + start, times, rtol=0, atol=1e-6)


def test_growing_data_continue_in_a_reopened_file(h5saver):
    path = h5saver.file_path
    for number in range(4):
        DataToExportTimedSaver(h5saver).add_data(AT, element(number))
        h5saver.init_file(path)

    loaded = DataLoader(h5saver).load_all(AT)

    assert [data.shape for data in loaded] == [(4, 3), (4,)]
    assert all(data.get_axis_from_index(0)[0].size == 4 for data in loaded)


def test_growing_axes_are_in_the_group_of_single_data(h5saver):
    saver = DataEnlargeableSaver(h5saver, ("x", "y"), ("mm", "um"))
    for number in range(3):
        saver.add_data(AT, element(number)[0], (number, number * 2.5))

    loaded = DataLoader(h5saver).load_data(f"{AT}/EnlData00")

    assert loaded.nav_indexes == (0,)
    assert [axis.label for axis in loaded.get_axis_from_index(0)] == ["x", "y"]
    assert loaded.get_axis_from_index(0)[1].data.tolist() == [0, 2.5, 5]
    assert loaded.data[0][:, 0].tolist() == [0, 1, 2]


def test_channels_are_found_by_name_in_any_order(h5saver):
    saver = DataToExportEnlargeableSaver(h5saver, ("position",), ("mm",))
    for number in range(3):
        data = list(element(number))
        saver.add_data(AT, DataToExport("all", data[:: (-1) ** number]), (number,))

    loaded = DataLoader(h5saver).load_all(AT)

    power = loaded.get_data_from_name("power")
    assert power.data[0].tolist() == [0, 1, 2]
    with pytest.raises(ShapeMismatchError, match=r"expected .*power"):
        saver.add_data(AT, DataToExport("all", data[:1]), (3,))


def test_nothing_is_written_of_an_element_that_does_not_fit(h5saver):
    saver = DataToExportTimedSaver(h5saver)
    saver.add_data(AT, element(0))
    bad = element(1)
    bad.data[1] = DataRaw("power", data=[np.array([1.0]), np.array([2.0])])

    with pytest.raises(ShapeMismatchError, match="power"):
        saver.add_data(AT, bad)

    assert [data.shape for data in DataLoader(h5saver).load_all(AT)] == [(1, 3), (1,)]


def test_time_series_need_the_time_of_each_element(h5saver):
    saver = DataToExportEnlargeableSaver(h5saver, ("time",), ("s",))

    with pytest.raises(ShapeMismatchError, match="expected the time of the element"):
        saver.add_data(AT, element(0))

    assert list(h5saver.get_node(AT).children()) == []


@pytest.mark.parametrize("values", [1.0, "on", True])
@pytest.mark.parametrize("time", [np.nan, np.inf])
def test_the_first_element_needs_a_time_too(h5saver, values, time):
    export = DataToExport("all", [DataRaw("v", data=[np.array([values])])], timestamp=time)

    with pytest.raises(RecordingError, match=r"the time of the element .* expected seconds"):
        DataToExportTimedSaver(h5saver).add_data(AT, export)

    assert list(h5saver.get_node(AT).children()) == []


def test_a_scan_is_filled_point_by_point(h5saver):
    saver = DataToExportExtendedSaver(h5saver, (2, 3))
    axes = [Axis("p", "mm", np.array([0.0, 1.5])), Axis("q", "mm", np.arange(3.0), index=1)]
    saver.add_nav_axes(AT, axes)
    export = element(7)
    saver.add_data(AT, export, (1, 2))

    loaded = DataLoader(h5saver).load_data(f"{AT}/Data1D/CH00/Data00")

    assert repr(loaded) == "<DataWithAxes, spectrum, (2, 3|3)>"
    assert loaded.data[0][1, 2].tolist() == [7, 8, 9]
    assert np.isnan(loaded.data[0][0]).all()
    assert loaded.get_axis_from_index(0)[0] == axes[0]
    assert loaded.get_axis_from_index(2)[0].label == "wavelength"
    assert export[0].axes[0].index == 0


@pytest.mark.parametrize("indexes", [(2, 0), (0,), (0, 3), (-1, 0), (0, 0, 0)])
def test_a_point_outside_of_the_scan_is_refused(h5saver, indexes):
    saver = DataExtendedSaver(h5saver, (2, 3))

    with pytest.raises(IndexError, match="no point"):
        saver.add_data(AT, element(0)[0], indexes)


def test_each_start_creates_a_new_file_in_directories_of_year_and_day(tmp_path):
    with H5Saver("detector", base_path=tmp_path / "new") as saver:
        paths = [saver.start() for _ in range(3)]
        DataToExportTimedSaver(saver).add_data(saver.add_det_group("/RawData"), element(0))

    assert len(set(paths)) == 3
    for path in paths:
        assert path.exists()
        form = r"new/(\d{4})/(\1\d{4})/Data_\2_\d\d_\d\d_\d\d(_\d)?\.nwb"
        assert re.fullmatch(form, path.relative_to(tmp_path).as_posix())


def test_files_of_scans_are_numbered_by_day(tmp_path):
    with H5Saver("scan", base_path=tmp_path) as saver:
        first, second = saver.start(), saver.start()
    (second.parent / f"{second.stem[:-3]}041.h5").touch()

    with H5Saver("scan", base_path=tmp_path) as saver:
        third = saver.start()

    assert [path.stem[-4:] for path in (first, second, third)] == ["_000", "_001", "_042"]


CRASH = """
import os, signal, sys
import numpy as np
from ndx_simulation_output.pymodaq import *
saver = H5SaverLowLevel()
saver.init_file(sys.argv[1])
saver.define_compression("gzip", int(sys.argv[2]))
saver.add_det_group("/RawData", "Detector")
timed = DataToExportTimedSaver(saver)
for number in range(3000):
    image = DataRaw("image", data=[np.full((20, 30), float(number))])
    power = DataRaw("power", data=[np.array([float(number)])])
    timed.add_data("/RawData/Detector000", DataToExport("all", [image, power]))
    if number == 1234:
        saver.flush()
        saver.add_det_group("/RawData", "never flushed")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("level", [0, 4])
def test_flushed_data_survive_a_crash(tmp_path, level):
    path = tmp_path / "run.nwb"

    done = subprocess.run([sys.executable, "-c", CRASH, str(path), str(level)], check=False)

    assert done.returncode == -signal.SIGKILL
    assert validate(path=str(path)) == []
    with DataLoader(path) as loader:
        image, power = (
            loader.load_data(f"/RawData/Detector000/{channel}/CH00/EnlData00")
            for channel in ("Data2D", "Data0D")
        )
    # Full chunks are flushed too.
    count = len(power.data[0])
    assert 1235 <= count < 3000
    np.testing.assert_array_equal(power.data[0], np.arange(count))
    np.testing.assert_array_equal(image.data[0][:, 3, 4], np.arange(count))
