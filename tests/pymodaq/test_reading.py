"""PyMoDAQ files are read, and nothing in them is evaluated."""

import json
import pickle
import re
import tracemalloc
from datetime import datetime

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    NothingRecordedError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
)
from ndx_simulation_output.nwb.types import AxesTimeSeries
from ndx_simulation_output.plots import grids_of
from ndx_simulation_output.pymodaq import (
    DataLoader,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from ndx_simulation_output.pymodaq import read as read_pymodaq
from tests.pymodaq.making import describe, make_array, make_file, make_group, packed

RAN = []


class Evil:
    def __reduce__(self):
        return RAN.append, (1,)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Data_20261120_17_28_57.h5"


def read(path):
    with open_output(path) as output:
        return output


def notes_of(output):
    """Return the notes of a conversion, and those that its NWB file has."""
    return "\n".join([*output.notes, output.session["NWBFile"].get("notes", "")])


def test_attributes_become_values_without_being_evaluated(path):
    texts = {
        "gain": packed(2.5),
        "limits": packed((0, np.int64(1), [True, None])),
        "bad": '{"module": "builtins", "type": "float", "data": "RAN.append(1)"}',
        "nothing": '{"module": "builtins", "type": "float", "data": "nan"}',
        "taken": packed(datetime(2026, 11, 20, 17, 28)),  # noqa: DTZ001
        "phase": packed(1 + 2j),
        "is_on": '{"module": "numpy", "type": "bool", "data": "np.False_"}',
        "were_on": '{"module": "builtins", "type": "tuple", "data": "(np.True_, np.int64(1))"}',
        "type": packed("lock-in"),
        "plain": "{no json",
    }
    with make_file(path) as file:
        array = make_array(file["RawData"], "Data00", [1.0], "123")
        for name, text in texts.items():
            array.attrs[name] = text

    (array,) = read(path).arrays[0].arrays

    assert RAN == []
    assert array.title == "123"
    extra = dict(array.extra)
    assert np.isnan(extra.pop("nothing"))
    assert extra == {
        "gain": 2.5,
        "limits": {"tuple": [0, 1, [True, None]]},
        "bad": "RAN.append(1)",
        "taken": {"datetime": "2026-11-20T17:28:00"},
        "phase": {"complex": [1.0, 2.0]},
        "is_on": False,
        "were_on": {"tuple": [True, 1]},
        "type": "lock-in",
        "plain": "{no json",
    }


def test_lines_of_a_log_are_read_without_unpickling(path):
    lines = ["short", "é" * 200, "x" * 70_000]
    rows = [np.frombuffer(pickle.dumps(line, 4), np.uint8) for line in lines]
    rows.append(np.frombuffer(pickle.dumps(Evil(), 4), np.uint8))
    with make_file(path) as file:
        log = file["RawData"].create_dataset("Logger", (4,), h5py.vlen_dtype(np.uint8))
        for index, row in enumerate(rows):
            log[index] = row
        describe(log, "VLARRAY", "", data_type="strings", type="log")

    (array,) = read(path).arrays[0].arrays

    assert RAN == []
    assert array.role == "log"
    assert array.values[:3].tolist() == lines
    assert "RAN" not in array.values[3]


def test_exchanged_minutes_and_months_are_corrected(path):
    with make_file(path) as file:
        make_group(file["RawData"], "Scan000", "DAQScan", date_time="20/28/2026 17:11:57")
        make_group(file["RawData"], "Scan001", "DAQScan", date_time="20/11/2026 17:05:57")

    output = read(path)

    scans = output.arrays[0].groups
    assert scans[0].extra["date_time"] == "2026-11-20T17:28:57"
    assert scans[1].extra["date_time"] == "2026-11-20T17:05:57"
    assert any("20/28/2026 17:11:57" in note for note in output.notes)


def test_files_from_before_4_0_are_read(path):
    with make_file(path, "Raw_datas") as file:
        channel = make_group(file["Raw_datas"], "Detector000", "Det 2D", type="detector")
        for name in ("Data2D", "Ch000"):
            channel = make_group(channel, name, "Ch000")
        data = channel.create_dataset("Data", data=np.ones((2, 3)))
        describe(data, "CARRAY", "Data", type="data", data_dimension="2D", units="V")
        for name, length in (("X_axis", 3), ("Y_axis", 2)):
            axis = channel.create_dataset(name, data=np.arange(float(length)))
            describe(axis, "CARRAY", name, type="axis", label=name[0], units="um")
        background = channel.create_dataset("Bkg", data=np.zeros((2, 3)))
        describe(background, "CARRAY", "Bkg", type="bkg")

    (root,) = read(path).arrays

    channel = dict(root.walk())["/Raw_datas/Detector000/Data2D/Ch000"]
    assert {axis.label: axis.index for axis in channel.axes} == {"X": 1, "Y": 0}
    assert {array.name: array.role for array in channel.arrays} == {
        "Data": "data",
        "Bkg": "background",
    }


@pytest.mark.parametrize(
    "values",
    [
        np.array([1 + 2j, 3 - 4j]),
        np.array([[True, False]]),
        np.array([b"ab", b"c"]),
        np.array([1, 2], "u1"),
        np.array([1.5], ">f4"),
        np.array([], float),
        np.array(3.5),
        np.zeros((2, 0, 3)),
        np.ones((1, 2, 1, 2, 1, 2)),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)
def test_arrays_of_any_type_and_shape_are_kept_in_nwb(path, tmp_path, values):
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", values)

    made = convert(path, tmp_path / "run.nwb").path

    with open_output(made) as output:
        (array,) = output.arrays[0].arrays
        assert array.values.shape == values.shape
        assert array.values.dtype == values.dtype.newbyteorder("=")
        np.testing.assert_array_equal(array.values[()], values)
    assert validate(path=str(made)) == []


def test_timed_data_are_time_series(pymodaq_data, tmp_path):
    source = pymodaq_data / "v4_4_5_tables" / "11_dte_timed.h5"
    made = convert(source, tmp_path / "run.nwb").path

    with NWBHDF5IO(made, "r") as io:
        nwbfile = io.read()
        series = [item for item in nwbfile.objects.values() if isinstance(item, AxesTimeSeries)]
        start = nwbfile.session_start_time.timestamp()
        times = {item.name: item.timestamps[:] + start for item in series}
        (nav,) = (item for item in nwbfile.objects.values() if item.name == "NavAxes")
        epochs = nav.axis["Axis00"].data[:]
        image = next(item for item in series if item.title == "mydata2D")
        frames = image.to_xarray if hasattr(image, "to_xarray") else image.data
        assert frames.shape[0] == len(epochs)
        grid = image.parent.to_xarray()
        assert grid["mylabel1"].dims == ("time", "myaxis0", "myaxis1")

    assert len(series) == 8
    for found in times.values():
        np.testing.assert_allclose(found, epochs, rtol=0, atol=1e-6)


def test_links_and_loops_are_left_out(path, tmp_path):
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    with make_file(path) as file:
        raw = file["RawData"]
        raw["far"] = h5py.ExternalLink("other.h5", "/x")
        raw["soft"] = h5py.SoftLink("/RawData")
        raw["loop"] = raw

    output = read(path)

    assert output.arrays[0].groups == ()
    assert sum("left out" in note for note in output.notes) == 3


def test_a_damaged_file_is_refused(path):
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", np.ones(5000))
    path.write_bytes(path.read_bytes()[:-3000])

    with pytest.raises(SourceError, match=path.name):
        read(path)


def test_a_file_without_groups_is_refused(path):
    with make_file(path) as file:
        del file["RawData"]

    with pytest.raises(NothingRecordedError, match="no group"):
        read(path)


@pytest.mark.parametrize("compression", ["auto", "gzip", "none"])
def test_a_large_array_goes_through_a_zarr_store(path, tmp_path, compression):
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    values = np.arange(300_000.0).reshape(3000, 100)
    done = []
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", values)
        make_array(file["RawData"], "Data01", [1.0])

    storage = StorageOptions(compression=compression)
    store = convert(
        path,
        tmp_path / "run.nwb.zarr",
        storage=storage,
        progress=lambda n, of: done.append((n, of)),
    ).path
    back = convert(store, tmp_path / "back.nwb").path

    assert sum(n_bytes for n_bytes, _ in done) == done[0][1] == values.nbytes + 8
    for made in (store, back):
        with open_output(made) as output:
            first, second = output.arrays[0].arrays
            np.testing.assert_array_equal(first.values[()], values)
            np.testing.assert_array_equal(first.values[5:7, 3], values[5:7, 3])
            assert second.values[()].tolist() == [1.0]
    assert validate(path=str(back)) == []


def test_a_large_array_is_converted_in_bounded_memory(path, tmp_path):
    with make_file(path) as file:
        data = file["RawData"].create_dataset("Data00", (60, 2**20), "f8", fillvalue=1.5)
        describe(data, "CARRAY", "large", data_type="data")

    tracemalloc.start()
    convert(path, tmp_path / "run.nwb", storage=StorageOptions(compression="gzip"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 150 * 2**20


def test_the_command_line_converts_and_describes(path, tmp_path):
    with make_file(path) as file:
        detector = make_group(file["RawData"], "Detector000", "Example", type="detector")
        make_array(detector, "Data00", [[1, 2, 3]], "mydata", units="V", label="CH00")

    target = tmp_path / "run.nwb"
    done = CliRunner().invoke(main, ["convert", str(path), str(target)])
    shown = CliRunner().invoke(main, ["info", str(target)])

    assert (done.exit_code, shown.exit_code) == (0, 0), done.output
    assert "group /RawData/Detector000: Example, detector" in shown.output
    assert "Data00: data 'mydata' CH00: 1 × 3, int64, V" in shown.output


def make_bits(parent: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """Create a dataset of bit fields, as PyTables stores booleans."""
    space = (
        h5py.h5s.create_simple(values.shape) if values.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    )
    made = h5py.h5d.create(parent.id, name.encode(), h5py.h5t.STD_B8LE, space)
    bits = np.asarray(values, np.uint8)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, bits, h5py.h5t.STD_B8LE)
    return h5py.Dataset(made)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (3, 1), (0,)])
def test_booleans_of_pytables_are_booleans(path, tmp_path, shape):
    values = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2 == 0)
    with make_file(path) as file:
        made = make_bits(file["RawData"], "Data00", values)
        described = {"data_type": "data", "data_dimension": "Data0D"}
        describe(made, "EARRAY" if shape == (3, 1) else "CARRAY", "flags", **described)
        for name, value in (("is_on", True), ("is_off", False)):
            space = h5py.h5s.create(h5py.h5s.SCALAR)
            attribute = h5py.h5a.create(made.id, name.encode(), h5py.h5t.STD_B8LE, space)
            attribute.write(np.array(value, np.uint8), h5py.h5t.STD_B8LE)

    made = convert(path, tmp_path / "run.nwb").path

    for source in (path, made):
        with open_output(source) as output:
            (array,) = output.arrays[0].arrays
            expected = values[:, 0] if shape == (3, 1) else values
            assert (array.values.dtype, array.values.shape) == (np.dtype(bool), expected.shape)
            np.testing.assert_array_equal(array.values[()], expected)
            assert (array.extra["is_on"], array.extra["is_off"]) == (True, False)


def test_a_genuine_file_of_pytables_has_booleans(path):
    tables = pytest.importorskip("tables", reason="PyTables is not installed")
    with tables.open_file(str(path), "w") as file:
        group = file.create_group("/", "RawData")
        file.create_array(group, "scalar", np.array(True))  # noqa: FBT003
        file.create_array(group, "flags", np.array([True, False]))
        grown = file.create_earray(group, "grown", tables.BoolAtom(), (0, 2))
        grown.append(np.array([[True, False]]))
        file.set_node_attr(group, "is_on", np.True_)

    with read_pymodaq(path) as output:
        found = {array.name: array.values[()].tolist() for array in output.arrays[0].arrays}
        assert found == {"scalar": True, "flags": [True, False], "grown": [[True, False]]}
        assert output.arrays[0].extra["is_on"] is True


@pytest.mark.parametrize("in_nav", [True, False])
@pytest.mark.parametrize("length", [2, 4])
def test_an_axis_of_another_length_is_told_of_and_not_used(path, tmp_path, length, in_nav):
    with make_file(path) as file:
        raw = file["RawData"]
        make_array(raw, "Data00", np.arange(3.0), "v", nav_indexes=(0,) if in_nav else ())
        group = make_group(raw, "NavAxes") if in_nav else raw
        make_array(group, "Axis00", np.arange(float(length)), "x", data_type="axis", index=0)

    made = convert(path, tmp_path / "run.nwb").path

    told = rf"axis Axis00 'x' has {length} values for dimension 0 of /RawData/Data00"
    for source in (path, made):
        with open_output(source) as output:
            assert re.search(told, notes_of(output))
            (grid,) = grids_of(output)
            assert grid.axes[0].label == "index"
        with DataLoader(source) as loader, pytest.warns(SimulationOutputWarning, match=told):
            assert loader.load_data("/RawData/Data00").axes == []
    pytest.importorskip("xarray", reason="xarray is not installed")
    with NWBHDF5IO(made, "r") as io:
        group = io.read().acquisition["RawData"]
        with pytest.warns(SimulationOutputWarning, match="they are not coordinates"):
            assert not group.to_xarray().coords


def test_axes_of_other_arrays_of_a_group_are_not_told_of(path):
    with make_file(path) as file:
        for number, length in enumerate((3, 2)):
            make_array(file["RawData"], f"Data{number:02d}", np.ones(length), "v")
            facts = {"data_type": "axis", "index": 0}
            make_array(file["RawData"], f"Axis{number:02d}", np.ones(length), "x", **facts)

    assert not any("not used" in note for note in read(path).notes)
    with DataLoader(path) as loader:
        assert [axis.size for axis in loader.load_data("/RawData/Data01").axes] == [2]


def test_channels_of_different_lengths_are_told_of(tmp_path):
    path = tmp_path / "run.nwb"
    with H5SaverLowLevel() as saver:
        saver.init_file(path)
        timed = DataToExportTimedSaver(saver)
        elements = [DataRaw(name, data=[np.ones(2)]) for name in ("v", "w")]
        for number in range(3):
            timed.add_data("/RawData", DataToExport("all", elements, timestamp=number))
        # As other savers leave a set that failed half way.
        saver.h5("/RawData/Data1D/CH01/EnlData00/data").resize(2, axis=0)

        with pytest.raises(ShapeMismatchError, match=r"differ in length .*CH01.*: 2"):
            timed.add_data("/RawData", DataToExport("all", elements, timestamp=3))
        with pytest.raises(ShapeMismatchError, match=r"differ in length .*CH01.*: 2"):
            DataToExportTimedSaver(saver).add_data("/RawData", DataToExport("all", elements))

    with open_output(path) as out:
        (note,) = (note for note in out.notes if "not used" in note)
    assert "axis Axis00 'time' has 3 values for dimension 0 of /RawData/Data1D/CH01" in note


@pytest.mark.parametrize("dtype", ["i4", "i8", "u8"])
@pytest.mark.parametrize("shape", [(4,), (2, 2), (2, 3, 1)])
def test_points_of_integer_scans_that_were_not_measured_are_not_shown(path, tmp_path, dtype, shape):
    pytest.importorskip("xarray", reason="xarray is not installed")
    missing = {"i4": -(2**31), "i8": -(2**63), "u8": 2**63}[dtype]
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    values[-1] = missing
    nav = tuple(range(min(2, len(shape))))
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", values, "v", nav_indexes=nav, label="n")
        make_array(file["RawData"], "Data01", values, "w")

    made = convert(path, tmp_path / "run.nwb").path

    for source in (path, made):
        with open_output(source) as output:
            assert notes_of(output).count("values were not measured") == 1
            scan, plain = grids_of(output)
            shown = np.asarray(scan.values[()], float)
            assert np.isnan(shown[-1]).all()
            assert np.isfinite(shown[:-1]).all()
            assert plain.values.dtype == dtype
    with NWBHDF5IO(made, "r") as io:
        found = io.read().acquisition["RawData"].to_xarray()["n"].values
    np.testing.assert_array_equal(np.isnan(found), values == missing)


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_data_of_instruments_are_not_called_a_simulation(path, tmp_path, suffix):
    if suffix == ".nwb.zarr":
        pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    with make_file(path) as file:
        make_array(file["RawData"], "Data00", [1.0])
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "saved.nwb")
        DataSaverLoader(saver).add_data("/RawData", DataRaw("v", data=[np.ones(2)]))

    first = convert(path, tmp_path / f"first{suffix}").path
    again = convert(first, tmp_path / "again.nwb").path
    saved = convert(tmp_path / "saved.nwb", tmp_path / f"saved_again{suffix}").path

    for made, described in (
        (first, f"Data of instruments: {path.name}"),
        (again, f"Data of instruments: {path.name}"),
        (saved, "Data of instruments"),
        (tmp_path / "saved.nwb", "Data of instruments"),
    ):
        with open_output(made) as output:
            assert output.session["NWBFile"]["session_description"] == described
            assert output.provenance == {}
            assert [array.name for array in output.arrays[0].arrays if array.role == "data"]
    with NWBHDF5IO(again, "r") as io:
        nwbfile = io.read()
        assert nwbfile.lab_meta_data == {}
        extra = nwbfile.acquisition["RawData"].extra_attributes
        assert json.loads(extra)["file_attributes"]["pymodaq_version"] == "4.4.5"


def test_settings_attributes_and_the_last_lines_of_the_log_are_shown(path, tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb", metadata={"author": "me", "sizes": (1, 2)})
        settings = f"<settings>\n  <gain>2</gain>{'x' * 5000}</settings>"
        many = {f"item{number}": number for number in range(30)}
        saver.add_det_group("/RawData", "Camera", settings, {**many, "long": "y" * 5000})
        for number in range(25):
            saver.add_log(f"line {number}\x1b[31m")
        DataSaverLoader(saver).add_data("/RawData", DataRaw("v", data=[np.ones(2)], gain=2.5))

    shown = CliRunner().invoke(main, ["info", str(tmp_path / "run.nwb")]).output
    as_json = CliRunner().invoke(main, ["info", str(tmp_path / "run.nwb"), "--json"]).output

    for text in (
        "\n  author: me\n",
        '\n  sizes: {"tuple": [1, 2]}\n',
        "\n  settings: <settings> <gain>2</gain>xxx",
        "\n  item3: 3\n",
        "\n  …: 11 more\n",
        "\n    gain: 2.5\n",
        "\n    … 15 lines before\n    line 15 [31m\n",
        "\n    line 24 [31m\n",
    ):
        assert text in shown
    assert "line 14" not in shown
    assert f"({len(settings)} characters)" in shown
    assert max(map(len, shown.splitlines())) < 300
    raw, camera = json.loads(as_json)["arrays"]
    assert (raw["metadata"]["author"], camera["metadata"]["item3"]) == ("me", 3)
    assert raw["arrays"][0]["last_lines"][-1].startswith("line 24")


def test_loaders_have_the_nodes_of_a_file(path, tmp_path):
    with make_file(path) as file:
        scan = make_group(file["RawData"], "Scan000", "a scan", type="scan", settings="<s/>")
        channel = make_group(make_group(scan, "Data1D"), "CH00", "v")
        facts = {"origin": "Lock-in", "label": "X", "nav_indexes": (0,)}
        make_array(channel, "Data00", np.arange(3.0), "v", **facts)
        make_array(channel, "Data01", np.arange(3.0) + 1, "v", **{**facts, "label": "Y"})
        make_array(channel, "Bkg00", np.ones(3), "v", data_type="bkg", origin="Lock-in", label="X")
        nav = make_group(scan, "NavAxes")
        make_array(nav, "Axis00", np.arange(3.0), "p", data_type="axis", label="p", units="mm")
    made = convert(path, tmp_path / "run.nwb").path

    for source in (path, made):
        with DataLoader(source) as loader:
            nodes = {node.path: node for node in loader.walk_nodes("/RawData/Scan000")}
            assert list(nodes)[:3] == [
                "/RawData/Scan000",
                "/RawData/Scan000/Data1D",
                "/RawData/Scan000/NavAxes",
            ]
            assert len(nodes) == 8
            assert [node.path for node in loader.walk_nodes("/RawData", 1)] == [
                "/RawData",
                "/RawData/Scan000",
            ]
            assert all(node.is_group for node in loader.walk_nodes(only_groups=True))
            node = loader.get_node("/RawData/Scan000/Data1D/CH00", "Data01")
            assert str(node) == "/RawData/Scan000/Data1D/CH00/Data01 (CARRAY) 'v'"
            assert (node.shape, node.dtype, node.read().tolist()) == ((3,), float, [1, 2, 3])
            assert (node.attrs["label"], node.attrs["origin"]) == ("Y", "Lock-in")
            assert node == loader.get_node(node)
            assert loader.get_node("/RawData/Scan000").attrs["settings"] == "<s/>"
            assert loader.get_nav_group(node).path == "/RawData/Scan000/NavAxes"
            assert loader.get_nav_group("/RawData") is None
            assert loader.raw_group.path == "/RawData"
            found = loader.load_data_from_name_origin("v", "Lock-in")
            assert (found.labels, [axis.label for axis in found.axes]) == (["X", "Y"], ["p"])
            (alone,) = loader.load_data_from_name_origin(
                "v", "Lock-in", where="/RawData/Scan000", with_bkg=True, load_all=False
            ).data
            assert alone.tolist() == [-1, 0, 1]
            for name, origin, where in (("w", "Lock-in", None), ("v", "", None)):
                with pytest.raises(NameError, match=f"no data named '{name}'"):
                    loader.load_data_from_name_origin(name, origin, where)
            for missing in ("/RawData/Scan001", "/RawData/Scan000/Data1D/CH00/Data02"):
                with pytest.raises(KeyError, match=missing):
                    loader.get_node(missing)
            with pytest.raises(TypeError, match="is open read-only"):
                node[0] = 1
