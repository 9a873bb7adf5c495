"""PyMoDAQ files are read, and nothing in them is evaluated."""

import pickle
import tracemalloc
from datetime import datetime

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import NothingRecordedError, SourceError
from ndx_simulation_output.nwb.types import AxesTimeSeries
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
