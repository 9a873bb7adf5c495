"""PyMoDAQ's objects, savers and loaders for NWB, which print the documented examples."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, validate

from ndx_simulation_output.errors import ShapeMismatchError, SimulationOutputError, SourceError
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.types import SimulationMetaData
from ndx_simulation_output.pymodaq import (
    Axis,
    AxisSaverLoader,
    BkgSaver,
    DataCalculated,
    DataDim,
    DataDistribution,
    DataLoader,
    DataRaw,
    DataSaverLoader,
    DataSource,
    DataToExport,
    DataToExportSaver,
    DataWithAxes,
    H5SaverLowLevel,
)


@pytest.fixture
def h5saver(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "atemporaryfile.h5")
        yield saver


@pytest.fixture
def data():
    return DataWithAxes(
        "mydata",
        source=DataSource["raw"],
        dim=DataDim["Data2D"],
        distribution=DataDistribution["uniform"],
        data=[np.array([[1, 2, 3], [4, 5, 6]])],
        axes=[
            Axis("vaxis", index=0, data=np.array([-1, 1])),
            Axis("haxis", index=1, data=np.array([10, 11, 12])),
        ],
    )


def walked(h5saver, where="/"):
    return [str(node) for node in h5saver.walk_nodes(where)]


def export() -> DataToExport:
    x, y = Axis("myaxis0", "um", np.arange(10.0)), Axis("myaxis1", "ms", np.arange(6.0), index=1)
    short = Axis("myaxis0", "um", np.arange(5.0))
    return DataToExport(
        name="mybigdata",
        data=[
            DataRaw("mydata2D", data=[np.ones((5, 6)), np.zeros((5, 6))], axes=[short, y]),
            DataRaw("mydata0D", data=[np.array([2.7]), np.array([3.7])], units="um"),
            DataRaw("mydata1D", data=[np.arange(10.0), -np.arange(10.0)], axes=[x]),
            DataRaw("mydata0Dbis", data=[np.array([5.4]), np.array([6.4])]),
        ],
    )


def test_the_documented_example_of_axes(h5saver):
    axis = Axis("myaxis", units="seconds", data=np.array([3, 7, 11, 15]), index=0)
    axis_saver = AxisSaverLoader(h5saver)

    node = axis_saver.add_axis("/RawData", axis)
    loaded = axis_saver.load_axis("/RawData/Axis00")

    space = " " * 16
    assert repr(node) == (
        f"/RawData/Axis00 (CARRAY) 'myaxis'\n{space}shape := (4,)\n{space}dtype := float64"
    )
    assert walked(h5saver) == [
        "/ (GROUP) 'PyMoDAQ file'",
        "/RawData (GROUP) 'Data from PyMoDAQ modules'",
        "/RawData/Logger (VLARRAY) ''",
        "/RawData/Axis00 (CARRAY) 'myaxis'",
    ]
    assert repr(loaded) == "Axis: <label: myaxis> - <units: seconds> - <index: 0>"
    assert loaded == axis
    assert loaded is not axis


def test_the_documented_example_of_data_and_background(h5saver, data):
    bkg = data.deepcopy()
    assert repr(data) == repr(bkg) == "<DataWithAxes, mydata, (|2, 3)>"
    group = h5saver.add_det_group("/RawData", "Example")
    assert repr(group) == "/RawData/Detector000 (GROUP) 'Example'\n  children := []"

    datasaver = DataSaverLoader(h5saver)
    datasaver.add_data("/RawData/Detector000", data)
    loaded = datasaver.load_data("/RawData/Detector000/Data00")
    assert repr(loaded) == "<DataWithAxes, mydata, (|2, 3)>"
    assert loaded == data
    assert loaded is not data

    BkgSaver(h5saver).add_data("/RawData/Detector000", bkg, save_axes=False)
    assert walked(h5saver, "/RawData/Detector000") == [
        "/RawData/Detector000 (GROUP) 'Example'",
        "/RawData/Detector000/Data00 (CARRAY) 'mydata'",
        "/RawData/Detector000/Axis00 (CARRAY) 'vaxis'",
        "/RawData/Detector000/Axis01 (CARRAY) 'haxis'",
        "/RawData/Detector000/Bkg00 (CARRAY) 'mydata'",
    ]
    without = datasaver.load_data("/RawData/Detector000/Data00", with_bkg=True)
    assert repr(without) == "<DataWithAxes, mydata, (|2, 3)>"
    assert without != loaded
    assert repr(without.data[0]) == "array([[0, 0, 0],\n       [0, 0, 0]])"
    assert repr(loaded.data[0]) == "array([[1, 2, 3],\n       [4, 5, 6]])"


def test_the_documented_example_of_data_sets(h5saver):
    h5saver.add_det_group("/RawData", "Example")
    h5saver.add_det_group("/RawData", "Example dte")

    DataToExportSaver(h5saver).add_data("/RawData/Detector001", export())

    at = "/RawData/Detector001"
    assert walked(h5saver, at) == [
        f"{at} (GROUP) 'Example dte'",
        f"{at}/Data0D (GROUP) ''",
        f"{at}/Data1D (GROUP) ''",
        f"{at}/Data2D (GROUP) ''",
        f"{at}/Data0D/CH00 (GROUP) 'mydata0D'",
        f"{at}/Data0D/CH01 (GROUP) 'mydata0Dbis'",
        f"{at}/Data1D/CH00 (GROUP) 'mydata1D'",
        f"{at}/Data2D/CH00 (GROUP) 'mydata2D'",
        f"{at}/Data2D/CH00/Data00 (CARRAY) 'mydata2D'",
        f"{at}/Data2D/CH00/Data01 (CARRAY) 'mydata2D'",
        f"{at}/Data2D/CH00/Axis00 (CARRAY) 'myaxis0'",
        f"{at}/Data2D/CH00/Axis01 (CARRAY) 'myaxis1'",
        f"{at}/Data1D/CH00/Data00 (CARRAY) 'mydata1D'",
        f"{at}/Data1D/CH00/Data01 (CARRAY) 'mydata1D'",
        f"{at}/Data1D/CH00/Axis00 (CARRAY) 'myaxis0'",
        f"{at}/Data0D/CH00/Data00 (CARRAY) 'mydata0D'",
        f"{at}/Data0D/CH00/Data01 (CARRAY) 'mydata0D'",
        f"{at}/Data0D/CH01/Data00 (CARRAY) 'mydata0Dbis'",
        f"{at}/Data0D/CH01/Data01 (CARRAY) 'mydata0Dbis'",
    ]


def test_the_examples_follow_one_another_in_one_file(h5saver, data):
    AxisSaverLoader(h5saver).add_axis(
        "/RawData", Axis("myaxis", "seconds", np.array([3, 7, 11, 15]))
    )
    h5saver.add_det_group("/RawData", "Example")
    DataSaverLoader(h5saver).add_data("/RawData/Detector000", data)

    found = walked(h5saver)

    # The order of what is in /RawData differs between versions of PyMoDAQ.
    assert found[:2] == ["/ (GROUP) 'PyMoDAQ file'", "/RawData (GROUP) 'Data from PyMoDAQ modules'"]
    assert sorted(found[2:5]) == [
        "/RawData/Axis00 (CARRAY) 'myaxis'",
        "/RawData/Detector000 (GROUP) 'Example'",
        "/RawData/Logger (VLARRAY) ''",
    ]
    assert found[5:] == [
        "/RawData/Detector000/Data00 (CARRAY) 'mydata'",
        "/RawData/Detector000/Axis00 (CARRAY) 'vaxis'",
        "/RawData/Detector000/Axis01 (CARRAY) 'haxis'",
    ]


def test_a_set_of_data_can_be_loaded_back(h5saver):
    saved = export()
    group = h5saver.add_det_group("/RawData", "Example dte")
    DataToExportSaver(h5saver).add_data(group, saved)

    loaded = DataLoader(h5saver).load_all(group)

    assert {data.name: data for data in loaded} == {data.name: data for data in saved}
    assert all(data.origin == "" for data in saved)


def test_equal_names_of_two_detectors_stay_apart(h5saver):
    for number in range(2):
        group = h5saver.add_det_group("/RawData", f"Detector {number}")
        signal = DataRaw("signal", data=[np.full(3, number)], origin="same")
        DataToExportSaver(h5saver).add_data(group, DataToExport("all", [signal]))

    loaded = DataLoader(h5saver).load_all("/RawData")

    assert [data.data[0][0] for data in loaded] == [0, 1]


def test_each_array_has_its_own_background(h5saver):
    group = h5saver.add_det_group("/RawData")
    arrays = [np.array([1, 2, 3], np.uint8), np.array([5, 5, 5], np.uint8)]
    background = [np.array([2, 2, 2], np.uint8), np.array([1, 2, 3], np.uint8)]
    saver = DataSaverLoader(h5saver)
    saver.add_data(group, DataRaw("signal", data=arrays))
    BkgSaver(h5saver).add_data(group, DataRaw("dark", data=background))

    both = saver.load_data(f"{group.path}/Data00", with_bkg=True, load_all=True)
    second = saver.load_data(f"{group.path}/Data01", with_bkg=True)

    assert [values.tolist() for values in both.data] == [[-1, 0, 1], [4, 3, 2]]
    assert second.data[0].tolist() == [4, 3, 2]


def test_nothing_of_data_is_lost(h5saver):
    axes = [
        Axis("µ", "not a unit", np.array([0, 1e-9, 5e-9])),
        Axis("k", index=1, data=np.array([1, 2, 4], np.int8), spread_order=0),
    ]
    saved = DataCalculated(
        "123",
        data=[np.array([[1 + 1j, 0, 2]] * 3)],
        labels=["é"],
        units="furlong",
        origin="Det 1",
        axes=axes,
        errors=[np.ones((3, 3))],
        nav_indexes=(0,),
        timestamp=1.7e9,
        gain=(1, 2.5),
        note="a\nb",
        picture=b"\x89PNG",
    )
    group = h5saver.add_det_group("/RawData")
    saver = DataSaverLoader(h5saver)
    saver.add_data(group, saved)

    loaded = saver.load_data(f"{group.path}/Data00")

    assert loaded == saved
    assert (loaded.gain, loaded.note, loaded.picture) == ((1, 2.5), "a\nb", b"\x89PNG")
    assert loaded.axes[1].data.dtype == np.int8
    for name in ("labels", "origin", "units", "source", "nav_indexes", "timestamp"):
        assert getattr(loaded, name) == getattr(saved, name)


def test_data_are_added_to_a_reopened_file(tmp_path, data):
    path = tmp_path / "run.nwb"
    for _ in range(2):
        with H5SaverLowLevel() as saver:
            saver.init_file(path, metadata={"author": "me"})
            saver.add_log("opened")
            DataSaverLoader(saver).add_data(saver.add_det_group("/RawData"), data)

    with DataLoader(path) as loader:
        loaded = loader.load_all("/RawData")
        again = loader.load_all("/RawData", loaded)

    assert again is loaded
    assert list(loaded) == [data] * 4
    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        assert saver.get_node("/RawData/Logger").read().tolist() == ["opened", "opened"]
        assert saver.raw_group.attrs["author"] == "me"
        assert saver.get_last_group("/RawData", "detector").name == "Detector001"
        saver.init_file(path, new_file=True)
        assert list(saver.get_children("/RawData")) == ["Logger"]


def test_settings_of_any_length_are_kept(h5saver):
    settings = f"<settings>{'é' * 100_000}</settings>"

    group = h5saver.add_det_group("/RawData", "Camera", settings, {"gain": 3})

    expected = {"TITLE": "Camera", "CLASS": "GROUP", "type": "detector"}
    assert group.attrs == {**expected, "settings": settings, "gain": 3}


def test_compression_is_applied(h5saver):
    h5saver.define_compression("zlib", 5)
    group = h5saver.add_det_group("/RawData")
    DataSaverLoader(h5saver).add_data(group, DataRaw("zeros", data=[np.zeros(10_000)]))

    stored = h5saver.h5(f"{group.path}/Data00")

    assert (stored.compression, stored.compression_opts) == ("gzip", 5)
    with pytest.raises(ValueError, match="lzo"):
        h5saver.define_compression("lzo", 5)


def test_the_file_is_valid_and_the_inspector_finds_no_fault(tmp_path, data):
    path = tmp_path / "run.nwb"
    with H5SaverLowLevel() as saver:
        saver.init_file(path, session={"session_description": "a test", "experimenter": ["Me, I"]})
        group = saver.add_det_group("/RawData", "Example")
        DataSaverLoader(saver).add_data(group, data)
        DataToExportSaver(saver).add_data(saver.add_det_group("/RawData"), export())

    findings = check_file(path)

    assert validate(path=str(path)) == []
    assert [found for found in findings if found.severity == "error"] == [
        found for found in findings if found.rule == "check_subject_exists"
    ]
    with NWBHDF5IO(path, "r") as io:
        raw = io.read().acquisition["RawData"]
        mydata = raw.nwb_data_interfaces["Detector000"].to_xarray()
        assert mydata["CH00"].dims == ("vaxis", "haxis")


@pytest.mark.parametrize("where", ["/RawData/Nothing", "/RawData/Nothing/Data00"])
def test_a_missing_node_raises_key_error(h5saver, where):
    with pytest.raises(KeyError, match="Nothing"):
        h5saver.get_node(where)
    with pytest.raises(KeyError):
        DataLoader(h5saver).load_data(where)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "text.nwb").write_text("no HDF5", encoding="utf-8")

    with pytest.raises(SourceError, match=r"text\.nwb"):
        H5SaverLowLevel().init_file(tmp_path / "text.nwb")
    with pytest.raises(SimulationOutputError, match="init_file"):
        H5SaverLowLevel().add_det_group("/RawData")


def test_data_can_only_be_added_to_files_with_the_types(tmp_path, data):
    nwbfile = NWBFile("test", "id", datetime.now().astimezone())
    for name, metadata in (("other", None), ("ours", SimulationMetaData())):
        if metadata is not None:
            nwbfile = NWBFile("test", "id", datetime.now().astimezone())
            nwbfile.add_lab_meta_data(metadata)
        with NWBHDF5IO(tmp_path / f"{name}.nwb", "w") as io:
            io.write(nwbfile, cache_spec=metadata is not None)

    with H5SaverLowLevel() as saver:
        with pytest.raises(SourceError, match="does not have the types"):
            saver.init_file(tmp_path / "other.nwb")
        saver.init_file(tmp_path / "ours.nwb")
        DataSaverLoader(saver).add_data("/RawData", data)

    assert validate(path=str(tmp_path / "ours.nwb")) == []


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(ShapeMismatchError, match=r"\(2,\), \(3,\)"):
        DataRaw("mixed", data=[np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="expected a list of arrays"):
        DataRaw("numbers", data=[1, 2])
    with pytest.raises(ShapeMismatchError, match="2 arrays and 1 errors"):
        DataRaw("numbers", data=[np.ones(2)] * 2, errors=[np.ones(2)])


def test_a_path_that_does_not_exist_is_created(tmp_path):
    path = tmp_path / "2026" / "20261120" / "Data.h5"

    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        assert saver.file_path == Path(path).with_suffix(".nwb")

    assert path.with_suffix(".nwb").exists()
