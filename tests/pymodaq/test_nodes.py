"""Nodes, arrays and compression of the NWB files of PyMoDAQ's savers."""

import h5py
import numpy as np
import pytest

from ndx_simulation_output.pymodaq import (
    Axis,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataLoader,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportExtendedSaver,
    DataToExportSaver,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)

AT = "/RawData/Detector000"


@pytest.fixture
def h5saver(tmp_path):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path / "run.nwb")
        saver.add_det_group("/RawData", "Detector", metadata={"gain": 3})
        yield saver


def test_an_array_is_added_with_its_metadata(h5saver):
    metadata = {"units": "V", "label": "é", "origin": "lamp", "nav_indexes": (0,), "gain": (1, 2.5)}

    node = h5saver.add_array(AT, "data00", "data", np.ones((2, 3)), title="ones", metadata=metadata)

    loaded = DataLoader(h5saver).load_data(f"{AT}/Data00")
    assert str(node) == f"{AT}/Data00 (CARRAY) 'ones'"
    assert (loaded.name, loaded.units, loaded.labels) == ("ones", "V", ["é"])
    assert (loaded.origin, loaded.nav_indexes, loaded.gain) == ("lamp", (0,), (1, 2.5))
    assert node.attrs["gain"] == (1, 2.5)
    assert (node.attrs["data_type"], node.attrs["units"]) == ("data", "V")


@pytest.mark.parametrize("name", ["unit", "title", "role", "values", "name", "extra"])
def test_all_metadata_of_an_array_are_kept(h5saver, name):
    node = h5saver.add_array(AT, "Data00", "data", np.ones(2), metadata={name: "mine"})

    assert node.attrs[name] == "mine"


def test_an_axis_is_added_as_an_array(h5saver):
    h5saver.add_array(AT, "Data00", "data", np.ones(3))
    facts = {"label": "x", "units": "um", "index": 0}
    node = h5saver.add_array(AT, "Axis00", "axis", np.array([1.0, 2.0, 4.0]), metadata=facts)

    (axis,) = DataLoader(h5saver).load_data(f"{AT}/Data00").axes

    assert axis == Axis("x", "um", np.array([1.0, 2.0, 4.0]))
    assert node.attrs == {
        "TITLE": "x",
        "CLASS": "CARRAY",
        "data_type": "axis",
        "label": "x",
        "units": "um",
        "index": 0,
        "spread_order": 0,
        "size": 3,
    }


@pytest.mark.parametrize("dtype", ["f8", "i2", "c16", "?"])
@pytest.mark.parametrize("level", [0, 4])
def test_an_array_is_filled_or_grows(h5saver, dtype, level):
    h5saver.define_compression("gzip", level)
    options = {"data_shape": (2,), "array_type": dtype}
    one = np.array([1, 0], dtype)

    grown = h5saver.add_array(AT, "EnlData00", "data_enlargeable", enlargeable=True, **options)
    scan = h5saver.add_array(AT, "Scan", "data", scan_shape=(3, 2), add_scan_dim=True, **options)
    for _ in range(3):
        grown.append(one)
    scan[1, 1] = one

    assert (grown.CLASS, scan.CLASS) == ("EARRAY", "CARRAY")
    assert grown.attrs["data_type"] == "data_enlargeable"
    assert (grown.dtype, scan.dtype) == (np.dtype(dtype), np.dtype(dtype))
    np.testing.assert_array_equal(grown.read(), [one] * 3)
    expected = np.zeros((3, 2, 2), dtype)
    expected[1, 1] = one
    np.testing.assert_array_equal(scan.read(), expected)
    np.testing.assert_array_equal(scan[1], expected[1])


def test_single_values_have_no_dimension_in_a_scan(h5saver):
    node = h5saver.add_array(
        AT, "Power", "data", data_shape=(1,), scan_shape=(4,), add_scan_dim=True, fill_value=7
    )

    assert node.read().tolist() == [7.0] * 4


def test_an_array_needs_values_or_a_shape(h5saver):
    with pytest.raises(TypeError, match="neither array_to_save nor data_shape"):
        h5saver.add_array(AT, "Data00", "data")


def test_texts_are_appended(h5saver):
    node = h5saver.add_string_array(AT, "Remarks", "what I saw", {"author": "me"})

    node.append("é")
    node.append("b\0c")

    assert str(node) == f"{AT}/Remarks (VLARRAY) 'what I saw'"
    assert node.read().tolist() == ["é", "bc"]
    assert node.attrs["author"] == "me"


def test_nodes_are_found_by_title_and_attribute_anywhere_below(h5saver):
    DataSaverLoader(h5saver).add_data(AT, DataRaw("deep", data=[np.ones(2)], units="V"))

    assert h5saver.get_node_from_title("/", "deep").path == f"{AT}/Data00"
    assert h5saver.get_node_from_title("/", "nothing") is None
    found = h5saver.get_node_from_attribute_match
    assert found("/", "gain", 3).path == AT
    assert found("/RawData", "type", "detector").path == AT
    assert found("/", "units", "V").path == f"{AT}/Data00"
    assert found("/", "units", "A") is None


def filters_of(dataset: h5py.Dataset) -> dict[int, tuple[int, ...]]:
    """Return the values of the filters of a dataset by their code."""
    plist = dataset.id.get_create_plist()
    found = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    return {code: values for code, _, values, _ in found}


def values_below(group: h5py.Group) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        kind = item.attrs.get("neurodata_type")
        if kind == "AxesTimeSeries":
            found.append(item["data"])
        elif kind == "LabeledArray" and item.attrs["role"] in {"data", "error"}:
            found.append(item)

    group.visititems(note)
    return found


@pytest.mark.parametrize("library", ["gzip", "zlib"])
@pytest.mark.parametrize("level", range(0, 10, 3))
def test_compression_and_level_are_applied_to_all_saved_data(h5saver, library, level):
    h5saver.define_compression(library, level)
    one = DataRaw("image", data=[np.ones((40, 40))], errors=[np.ones((40, 40))])
    power = DataRaw("power", data=[np.array([1.0])])
    export = DataToExport("all", [one, power])
    groups = [h5saver.add_det_group("/RawData", f"Detector {number}") for number in range(6)]

    DataSaverLoader(h5saver).add_data(groups[0], one)
    DataToExportSaver(h5saver).add_data(groups[1], export)
    DataEnlargeableSaver(h5saver).add_data(groups[2], one)
    DataToExportTimedSaver(h5saver).add_data(groups[3], export)
    DataExtendedSaver(h5saver, (2, 3)).add_data(groups[4], one, (0, 0))
    DataToExportExtendedSaver(h5saver, (2, 3)).add_data(groups[5], export, (0, 0))

    for group in groups:
        found = values_below(h5saver.h5(group))
        assert found
        for dataset in found:
            deflate = filters_of(dataset).get(h5py.h5z.FILTER_DEFLATE)
            assert deflate == ((level,) if level else None), dataset.name


def test_points_of_a_compressed_scan_are_filled_in_any_order(h5saver):
    h5saver.define_compression("gzip", 4)
    points = np.random.default_rng(0).permutation(list(np.ndindex(7, 5)))
    small, large = DataExtendedSaver(h5saver, (7, 5)), DataExtendedSaver(h5saver, (7, 5))
    other = h5saver.add_det_group("/RawData")

    for number, point in enumerate(points):
        small.add_data(AT, DataRaw("power", data=[np.array([float(number)])]), point)
        large.add_data(other, DataRaw("image", data=[np.full((30, 30), number)]), point)
        if number % 4 == 0:
            h5saver.flush()

    power = DataLoader(h5saver).load_data(f"{AT}/Data00").data[0]
    image = DataLoader(h5saver).load_data(f"{other.path}/Data00").data[0]
    for number, point in enumerate(points):
        assert power[tuple(point)] == number
        assert (image[tuple(point)] == number).all()
