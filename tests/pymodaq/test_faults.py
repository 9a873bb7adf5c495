"""Faults of PyMoDAQ that are corrected or reported when data are saved and loaded."""

import shutil

import h5py
import numpy as np
import pytest
from pynwb import validate

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import (
    RecordingError,
    ShapeMismatchError,
    SimulationOutputWarning,
    UnitError,
)
from ndx_simulation_output.plots import grids_of
from ndx_simulation_output.pymodaq import (
    Axis,
    AxisSaverLoader,
    BkgSaver,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataLoader,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from tests.pymodaq.making import make_array, make_file, make_group

AT = "/RawData/Detector000"


@pytest.fixture
def h5saver(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        saver.add_det_group("/RawData", "Detector")
        yield saver


def spectrum(number: float = 0.0, **options) -> DataRaw:
    return DataRaw("spectrum", data=[np.arange(3.0) + number], timestamp=number, **options)


@pytest.mark.parametrize("values", [[0, 1e-9, 5e-9], [1, 1.00001, 1.00002001], [5e-324, 0, -1]])
def test_axes_keep_their_values_however_small_the_steps(h5saver, values):
    axis = Axis("t", "s", np.array(values, float))

    node = AxisSaverLoader(h5saver).add_axis("/RawData", axis)

    assert AxisSaverLoader(h5saver).load_axis(node).data.tolist() == values


@pytest.mark.parametrize("name", ["123", "true", "null", "[1,2]", "a/b", "x:y", "."])
def test_names_stay_text(h5saver, tmp_path, name):
    DataSaverLoader(h5saver).add_data(AT, DataRaw(name, data=[np.ones(2)], labels=[name]))
    with make_file(tmp_path / "old.h5") as file:
        make_array(file["RawData"], "Data00", [1.0], name, label=name)

    loaded = [DataLoader(h5saver).load_data(f"{AT}/Data00")]
    with DataLoader(convert(tmp_path / "old.h5", tmp_path / "old.nwb").path) as loader:
        loaded.append(loader.load_data("/RawData/Data00"))

    assert [(data.name, data.labels) for data in loaded] == [(name, [name])] * 2


def test_data_of_different_shapes_in_one_group_stay_apart(h5saver):
    saver = DataSaverLoader(h5saver)
    saver.add_data(AT, DataRaw("signal", data=[np.ones(3), np.zeros(3)]))
    saver.add_data(AT, DataRaw("signal", data=[np.ones((2, 2))]))

    loaded = DataLoader(h5saver).load_all(AT)

    assert [(data.shape, data.length) for data in loaded] == [((3,), 2), ((2, 2), 1)]


def test_data_only_have_the_axes_of_their_group(h5saver):
    axis = Axis("x", "um", np.array([1.0, 2.0, 4.0]))
    DataSaverLoader(h5saver).add_data(AT, spectrum(axes=[axis]))
    DataSaverLoader(h5saver).add_data("/RawData", spectrum())

    loaded = DataLoader(h5saver).load_data("/RawData/Data00")

    assert loaded.axes == []
    assert loaded == spectrum()


def test_dimensions_of_one_value_stay(h5saver):
    axes = [Axis("x", "um", np.array([4.0])), Axis("y", "um", np.arange(3.0), index=1)]
    saved = DataRaw("line", data=[np.ones((1, 3))], axes=axes)
    DataSaverLoader(h5saver).add_data(AT, saved)

    assert DataLoader(h5saver).load_data(f"{AT}/Data00") == saved


def test_the_time_of_each_element_is_kept(h5saver):
    saver = DataEnlargeableSaver(h5saver, ("x",), ("mm",))
    for number in (0.5, 7.0, 3.25):
        saver.add_data(AT, spectrum(number), (number,))

    assert DataLoader(h5saver).load_data(f"{AT}/EnlData00").times.tolist() == [0.5, 7.0, 3.25]


@pytest.mark.parametrize("dtype", ["i8", "u1", "?", "f4"])
def test_times_show_which_points_of_a_scan_were_reached(h5saver, dtype):
    saver = DataExtendedSaver(h5saver, (2, 3))
    for number, point in enumerate([(0, 1), (1, 2)]):
        one = DataRaw("counts", data=[np.zeros(4, dtype)], timestamp=100.0 + number)
        saver.add_data(AT, one, point)

    loaded = DataLoader(h5saver).load_data(f"{AT}/Data00")

    assert np.argwhere(np.isfinite(loaded.times)).tolist() == [[0, 1], [1, 2]]
    assert loaded.times[1, 2] == 101.0
    assert loaded.data[0].dtype == dtype


@pytest.mark.parametrize("grows", [True, False])
def test_an_axis_that_changes_raises_a_warning(h5saver, grows):
    def add(number: int, values: list[float]) -> None:
        one = spectrum(axes=[Axis("x", "um", np.array(values))])
        if grows:
            DataEnlargeableSaver(h5saver).add_data(AT, one)
        else:
            DataExtendedSaver(h5saver, (3,)).add_data(AT, one, (number,))

    add(0, [1, 2, 4])
    add(1, [1, 2, 4])

    with pytest.warns(SimulationOutputWarning, match="axis 'x' of 'spectrum' differs from that of"):
        add(2, [1, 2, 5])


def test_channels_without_data_as_of_averaged_scans_are_read(tmp_path):
    path = tmp_path / "scan.h5"
    with make_file(path) as file:
        scan = make_group(file["RawData"], "Scan000", "DAQScan", type="scan")
        group = make_group(make_group(scan, "Detector000"), "Data1D")
        make_group(group, "CH00", "spectrum")
        average = np.arange(3.0)
        make_array(make_group(scan, "NavAxes"), "Axis00", average, "Average", data_type="axis")

    with DataLoader(convert(path, tmp_path / "run.nwb").path) as loader:
        assert len(loader.load_all("/RawData/Scan000")) == 0
        assert loader.load_data("/RawData/Scan000/NavAxes/Axis00").data[0].tolist() == [0, 1, 2]


def test_a_file_that_is_read_is_not_changed(tmp_path):
    path = tmp_path / "old.h5"
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", [1.0])
    copy = shutil.copy2(path, tmp_path / "copy.h5")
    when = path.stat().st_mtime_ns

    with DataLoader(path) as loader, h5py.File(path, "r"):
        loader.load_all("/RawData")

    assert path.read_bytes() == copy.read_bytes()
    assert path.stat().st_mtime_ns == when


def test_the_log_is_text_as_a_child_of_its_group(h5saver):
    h5saver.add_log("lamp on")

    from_children = h5saver.get_children("/RawData")["Logger"]

    assert from_children.read().tolist() == ["lamp on"]
    assert from_children[0] == "lamp on"


def test_data_of_a_set_with_the_same_name_are_both_saved(h5saver):
    timed = DataToExportTimedSaver(h5saver)
    export = DataToExport("all", [spectrum(), spectrum(5)], timestamp=1.0)
    timed.add_data(AT, export)
    timed.add_data(AT, export)

    loaded = DataLoader(h5saver).load_all(AT)

    assert [data.data[0][:, 0].tolist() for data in loaded] == [[0, 0], [5, 5]]


def test_errors_that_pymodaq_numbers_on_their_own_belong_to_their_data(tmp_path):
    with make_file(tmp_path / "old.h5") as file:
        make_array(file["RawData"], "Data00", [1.0], "plain")
        make_array(file["RawData"], "Data01", [2.0], "rough")
        make_array(file["RawData"], "ErrorBar00", [0.5], "rough_errors", data_type="error")

    with DataLoader(convert(tmp_path / "old.h5", tmp_path / "old.nwb").path) as loader:
        plain, rough = loader.load_all("/RawData")
        itself = loader.load_data("/RawData/ErrorBar00")

    assert (plain.errors, rough.errors) == (None, [np.array([0.5])])
    assert itself.errors is None


def test_data_of_one_name_and_different_units_stay_apart(h5saver):
    saver = DataSaverLoader(h5saver)
    for unit in ("V", "A"):
        saver.add_data(AT, spectrum(units=unit))

    loaded = DataLoader(h5saver).load_all(AT)

    assert [(data.units, len(data)) for data in loaded] == [("V", 1), ("A", 1)]


def test_a_background_of_another_shape_is_refused(h5saver):
    DataSaverLoader(h5saver).add_data(AT, spectrum())
    BkgSaver(h5saver).add_data(AT, DataRaw("dark", data=[np.ones(2)]))

    with pytest.raises(ShapeMismatchError, match=r"Data00 has shape \(3,\) and Bkg00 \(2,\)"):
        DataLoader(h5saver).load_data(f"{AT}/Data00", with_bkg=True)


def without_background(h5saver, data, background, **options):
    """Save data and background, each values with a unit, in a new group; return the difference."""
    at = h5saver.add_det_group("/RawData").path
    for saver, name, (values, unit) in (
        (DataSaverLoader(h5saver), "v", data),
        (BkgSaver(h5saver), "dark", background),
    ):
        saver.add_data(at, DataRaw(name, data=[np.asarray(values)], units=unit, **options))
    (loaded,) = DataLoader(h5saver).load_all(at, with_bkg=True)
    return loaded.data[0]


@pytest.mark.parametrize(
    ("data", "background", "expected"),
    [
        (([1.0, 2.0], "V"), ([100.0, 100.0], "mV"), [0.9, 1.9]),
        (([1000.0], "mV"), ([0.25], "V"), [750.0]),
        (([3000], "mV"), ([1], "V"), [2000]),
        (([3], "V"), ([1500], "mV"), [1.5]),
        (([np.float32(2)], "um"), ([np.float32(500)], "nm"), [1.5]),
        (([1.0], "V"), ([1.0], "volts"), [0.0]),
        (([1.0], "furlong"), ([1.0], "furlong"), [0.0]),
    ],
)
def test_a_background_is_converted_to_the_unit_of_the_data(h5saver, data, background, expected):
    assert without_background(h5saver, data, background).tolist() == expected


@pytest.mark.parametrize("units", [("V", "A"), ("V", "furlong"), ("K", "degC"), ("V", "1")])
def test_a_background_of_another_dimension_is_refused(h5saver, units):
    with pytest.raises(UnitError, match="expected units that can be converted"):
        without_background(h5saver, ([1.0], units[0]), ([1.0], units[1]))


@pytest.mark.parametrize("units", [("V", ""), ("", "V")])
def test_a_background_without_a_unit_is_told_of(h5saver, units):
    with pytest.warns(SimulationOutputWarning, match="as if the units were the same"):
        without_background(h5saver, ([1.0], units[0]), ([1.0], units[1]))


INTEGERS = [
    (np.uint8(10), np.uint8(20)),
    (np.int8(100), np.int8(-100)),
    (np.int16(32767), np.int16(-1)),
    (np.int32(-(2**31)), np.uint32(2**32 - 1)),
    (2**62, -(2**62)),
    (2**53 + 1, 1),
    (np.uint64(2**64 - 1), np.uint64(1)),
    (np.uint64(2**64 - 1), -1),
    (np.uint64(0), np.uint64(2**64 - 1)),
    (-(2**63), 2**63 - 1),
    (np.uint64(2**63), 2**63 - 1),
    (np.False_, np.True_),
]


@pytest.mark.parametrize(("value", "background"), INTEGERS, ids=str)
def test_differences_of_integers_are_exact(h5saver, value, background):
    found = without_background(h5saver, ([value], ""), ([background], ""))

    assert [int(one) for one in found.tolist()] == [int(value) - int(background)]
    assert all(isinstance(one, int) for one in found.tolist())


@pytest.mark.parametrize("values", [(["a"], ["b"]), (["a"], [1.0]), ([1.0], [b"b"])])
def test_text_has_no_difference(h5saver, values):
    with pytest.raises(RecordingError, match="is text; expected numbers"):
        without_background(h5saver, (values[0], ""), (values[1], ""))


def test_integers_that_floats_do_not_hold_are_not_subtracted_as_floats(h5saver):
    with pytest.raises(RecordingError, match="is subtracted as float64"):
        without_background(h5saver, ([2**53 + 1], ""), ([0.5], ""))


@pytest.mark.parametrize("shape", [(2, 3), (2,), (1, 3)])
def test_a_background_does_not_change_the_shape_of_data(h5saver, shape):
    with pytest.raises(ShapeMismatchError, match=r"has shape \(3,\)"):
        without_background(h5saver, (np.ones(3), ""), (np.ones(shape), ""))


def test_arrays_without_a_background_are_told_of(h5saver):
    DataSaverLoader(h5saver).add_data(AT, DataRaw("v", data=[np.ones(2)] * 2))
    BkgSaver(h5saver).add_data(AT, DataRaw("v", data=[np.ones(2)]))

    with pytest.warns(SimulationOutputWarning, match="a background, which Data01 lack"):
        (loaded,) = DataLoader(h5saver).load_all(AT, with_bkg=True)

    assert [values.tolist() for values in loaded.data] == [[0, 0], [1, 1]]


def test_backgrounds_follow_the_labels_of_data(h5saver):
    data, dark = [np.array([5.0]), np.array([50.0])], [np.array([10.0]), np.array([1.0])]
    DataSaverLoader(h5saver).add_data(AT, DataRaw("v", data=data, labels=["x", "y"]))
    BkgSaver(h5saver).add_data(AT, DataRaw("v", data=dark, labels=["y", "x"]))

    (loaded,) = DataLoader(h5saver).load_all(AT, with_bkg=True)

    assert [values.tolist() for values in loaded.data] == [[4], [40]]


def test_masked_values_are_saved_as_nan_or_refused(h5saver):
    hidden = np.ma.array([1.0, 2.0], mask=[False, True])
    for saver in (DataSaverLoader(h5saver), BkgSaver(h5saver)):
        with pytest.warns(SimulationOutputWarning, match="1 masked values of 2, which are saved"):
            saver.add_data(AT, DataRaw("v", data=[hidden]))
        with pytest.raises(RecordingError, match="1 masked values of 2, which int64 cannot mark"):
            saver.add_data(AT, DataRaw("v", data=[hidden.astype(int)]))
    DataSaverLoader(h5saver).add_data(AT, DataRaw("w", data=[np.ma.array([1, 2])]))

    assert list(h5saver.get_node(AT).children()) == ["Data00", "Bkg00", "Data01"]
    stored = [h5saver.get_node(AT, name).read().tolist() for name in ("Data00", "Bkg00", "Data01")]
    assert stored[2] == [1, 2]
    assert [values[0] for values in stored] == [1, 1, 1]
    assert np.isnan([stored[0][1], stored[1][1]]).all()


@pytest.mark.parametrize("axis", [Axis("x", "um", np.ones(2)), Axis("x", "um", np.ones(3), 1)])
def test_an_axis_that_does_not_fit_its_data_is_refused(h5saver, axis):
    with pytest.raises(ShapeMismatchError, match=r"axis 'x' of 'spectrum' has \d values for dim"):
        spectrum(axes=[axis])
    data = spectrum()
    data.axes = [axis]
    for add in (
        lambda: DataSaverLoader(h5saver).add_data(AT, data),
        lambda: DataEnlargeableSaver(h5saver).add_data(AT, data),
        lambda: DataExtendedSaver(h5saver, (3,)).add_data(AT, data, (0,)),
    ):
        with pytest.raises(ShapeMismatchError, match="axis 'x' of 'spectrum' has"):
            add()

    assert list(h5saver.get_node(AT).children()) == []


@pytest.mark.parametrize("dtype", ["i8", "u1", "?"])
def test_points_that_were_not_measured_are_not_shown(h5saver, dtype):
    saver = DataExtendedSaver(h5saver, (2, 3))
    saver.add_data(AT, DataRaw("counts", data=[np.ones(1, dtype)]), (0, 1))
    h5saver.close_file()

    with open_output(h5saver.file_path) as output:
        (grid,) = grids_of(output)
        assert np.argwhere(np.isfinite(grid.values[()])).tolist() == [[0, 1]]
        image, _, _ = grid.image()
        assert np.isfinite(image).sum() == 1


@pytest.mark.parametrize("name", ["labels", "axes", "dim", "shape", "length", "__class__"])
def test_attributes_with_reserved_names_stay_attributes_of_the_node(h5saver, name):
    node = h5saver.add_array(AT, "Data00", "data", np.ones(3), metadata={name: "mine"})

    loaded = DataLoader(h5saver).load_data(f"{AT}/Data00")

    assert node.attrs[name] == "mine"
    assert (loaded.data[0].tolist(), loaded.labels) == ([1, 1, 1], [""])


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_hdf5_cannot_store_leave_a_valid_file(h5saver, text):
    axis = Axis(text, text, np.arange(3.0))
    data = spectrum(labels=[text], units=text, origin=text, axes=[axis])

    DataSaverLoader(h5saver).add_data(AT, data)
    DataToExportTimedSaver(h5saver).add_data(AT, DataToExport(text, [data]))
    h5saver.add_log(text)
    h5saver.close_file()

    assert validate(path=str(h5saver.file_path)) == []
