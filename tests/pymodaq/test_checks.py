"""Files of PyMoDAQ's savers are valid NWB, and nwbinspector finds no fault in them."""

from collections.abc import Callable

import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.pymodaq import (
    Axis,
    AxisSaverLoader,
    BkgSaver,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportSaver,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)

SESSION = {
    "session_start_time": "2026-01-31T12:00:00+00:00",
    "session_description": "Spectra of a lamp",
    "experimenter": ["Modeller, A."],
    "experiment_description": "A lamp is moved",
    "institution": "An institute",
    "keywords": ["spectra"],
}
START = 1769860800.0
AT = "/RawData/Detector000"


def spectrum(number: int = 0) -> DataRaw:
    x = Axis("wavelength", "nm", np.array([400.0, 500.0, 700.0]))
    return DataRaw(
        "spectrum",
        data=[np.arange(3.0) + number, np.arange(3.0)],
        errors=[np.full(3, 0.5)] * 2,
        units="V",
        axes=[x],
        timestamp=START + number**2 / 3,
        gain=2,
    )


def export(number: int = 0) -> DataToExport:
    image = DataRaw("image", data=[np.full((5, 4), number, np.uint8)])
    phase = DataRaw("phase", data=[np.array([1j * number])], units="rad")
    data = [spectrum(number), image, phase]
    return DataToExport("all", data, timestamp=START + number**2 / 3)


def save_axis(saver: H5SaverLowLevel) -> None:
    AxisSaverLoader(saver).add_axis("/RawData", spectrum().axes[0])


def save_data(saver: H5SaverLowLevel) -> None:
    DataSaverLoader(saver).add_data(AT, spectrum())
    BkgSaver(saver).add_data(AT, spectrum(), save_axes=False)


def save_set(saver: H5SaverLowLevel) -> None:
    DataToExportSaver(saver).add_data(AT, export(), "<settings/>", {"author": "me"})
    DataToExportSaver(saver).add_bkg(AT, export())


def save_growing(saver: H5SaverLowLevel) -> None:
    growing = DataEnlargeableSaver(saver, ("x", "y"), ("mm", "um"))
    for number in range(3):
        growing.add_data(AT, spectrum(number), (number, number * 2.5))


def save_growing_sets(saver: H5SaverLowLevel) -> None:
    growing = DataToExportEnlargeableSaver(saver, ("position",), ("mm",))
    for number in range(3):
        growing.add_data(AT, export(number), (number,))


def save_timed(saver: H5SaverLowLevel) -> None:
    timed = DataToExportTimedSaver(saver)
    for number in range(3):
        timed.add_data(AT, export(number))


def save_scan(saver: H5SaverLowLevel) -> None:
    scan = DataExtendedSaver(saver, (2, 3))
    scan.add_data(AT, spectrum(), (1, 2))


def save_scan_of_sets(saver: H5SaverLowLevel) -> None:
    scan = DataToExportExtendedSaver(saver, (2, 3))
    scan.add_nav_axes(AT, [Axis("p", "mm", np.arange(2.0)), Axis("q", "mm", np.arange(3.0), 1)])
    scan.add_data(AT, export(), (0, 1))


def save_arrays(saver: H5SaverLowLevel) -> None:
    saver.add_array(AT, "plain", "data", np.arange(4), metadata={"units": "V"})
    saver.add_array(AT, "x", "axis", np.arange(4.0), metadata={"label": "x", "units": "mm"})
    saver.add_array(AT, "grown", "data", data_shape=(2,), enlargeable=True).append([1, 2])
    saver.add_string_array(AT, "remarks").append("é")
    saver.add_log("lamp on")


@pytest.mark.parametrize(
    "save",
    [
        save_axis,
        save_data,
        save_set,
        save_growing,
        save_growing_sets,
        save_timed,
        save_scan,
        save_scan_of_sets,
        save_arrays,
    ],
)
@pytest.mark.parametrize("level", [0, 5])
def test_files_are_valid_and_the_inspector_finds_no_fault(
    tmp_path, save: Callable[[H5SaverLowLevel], None], level
):
    path = tmp_path / "run.nwb"
    with H5SaverLowLevel("detector") as saver:
        saver.init_file(path, session=SESSION)
        saver.define_compression("gzip", level)
        saver.add_det_group("/RawData", "Spectrometer", "<settings/>")
        save(saver)

    assert validate(path=str(path)) == []
    # Measurements with an instrument need no subject.
    assert {found.rule for found in check_file(path)} <= {"check_subject_exists"}
    with NWBHDF5IO(path, "r") as io:
        assert io.read().acquisition["RawData"].nwb_data_interfaces["Detector000"] is not None
