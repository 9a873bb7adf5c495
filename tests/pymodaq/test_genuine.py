"""Files written by PyMoDAQ 4.0.11, 4.4.5 and pymodaq_data 5.3.0 are read and converted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.recording import ArrayGroup
from tests.pymodaq.making import GENUINE, decoded

NOT_IN_THE_SOURCE = {
    "check_subject_exists",
    "check_experiment_description",
    "check_experimenter_exists",
    "check_institution",
    "check_keywords",
    # In these files, the first timestamp is arbitrary.
    "check_timestamp_of_the_first_sample_is_not_negative",
}
"""Findings of nwbinspector about facts that PyMoDAQ files do not contain."""

ROLES = {"data": "data", "data_enlargeable": "data", "bkg": "background", "error": "error"}


@pytest.fixture(scope="module", params=GENUINE)
def genuine(request, pymodaq_data):
    expected = (pymodaq_data / f"{request.param}.expected.json").read_text(encoding="utf-8")
    return pymodaq_data / f"{request.param}.h5", json.loads(expected)


@pytest.fixture(scope="module")
def as_nwb(genuine, tmp_path_factory):
    return convert(genuine[0], tmp_path_factory.mktemp("genuine") / "run.nwb").path


def without_values(group: ArrayGroup, **changes: bool) -> ArrayGroup:
    def items(found):
        described = [
            replace(item, values=(item.values.shape, item.values.dtype), **changes)
            for item in found
        ]
        return tuple(sorted(described, key=lambda item: item.name))

    return replace(
        group,
        arrays=items(group.arrays),
        axes=items(group.axes),
        groups=tuple(without_values(child, **changes) for child in group.groups),
    )


def values_of(group: ArrayGroup) -> dict[str, np.ndarray]:
    return {
        f"{path}/{item.name}": item.values[()]
        for path, found in group.walk()
        for item in (*found.arrays, *found.axes)
    }


def test_every_node_of_a_genuine_file_is_read(genuine):
    path, expected = genuine
    nodes = expected["nodes"]

    with open_output(path) as output:
        (root,) = output.arrays
        groups = dict(root.walk())
        values = values_of(root)
        arrays = {
            f"{where}/{array.name}": array
            for where, group in groups.items()
            for array in group.arrays
        }

    assert {*groups, *values} == set(nodes) - {"/"}
    for where, group in groups.items():
        attributes = nodes[where]["attrs"]
        assert group.title == nodes[where]["title"]
        assert group.kind == attributes.get("type", "")
        assert group.settings == attributes.get("settings", "")
    for where, found in values.items():
        read = decoded(nodes[where]["read"])
        if isinstance(read, dict):
            assert list(found.shape) == read["shape"]
        elif found.dtype.kind != "O":
            read = np.asarray(read, found.dtype).reshape(found.shape)
            np.testing.assert_array_equal(found, read)
    for where, array in arrays.items():
        attributes = {name: decoded(value) for name, value in nodes[where]["attrs"].items()}
        if attributes["data_type"] == "strings":
            continue
        assert array.title == nodes[where]["title"]
        assert array.role == ROLES[attributes["data_type"]]
        assert array.label == attributes["label"]
        assert array.unit == attributes.get("units", "")
        assert array.timestamp == attributes["timestamp"]
        assert array.nav_indexes == attributes["nav_indexes"]


def test_nothing_is_lost_in_nwb(genuine, as_nwb):
    with open_output(genuine[0]) as source, open_output(as_nwb) as output:
        assert without_values(output.arrays[0]) == without_values(source.arrays[0])
        found, wanted = values_of(output.arrays[0]), values_of(source.arrays[0])
        assert set(found) == set(wanted)
        for where, values in wanted.items():
            np.testing.assert_array_equal(found[where], values)


def test_a_zarr_store_holds_what_the_source_does(genuine, tmp_path):
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    store = convert(genuine[0], tmp_path / "run.nwb.zarr").path

    with open_output(genuine[0]) as source, open_output(store) as output:
        (found,), (wanted,) = output.arrays, source.arrays
        # A Zarr store does not tell which arrays can be extended: all can.
        assert without_values(found, grows=False) == without_values(wanted, grows=False)
        for where, values in values_of(wanted).items():
            np.testing.assert_array_equal(values_of(found)[where], values)


def test_the_nwb_file_is_valid_and_begins_when_the_source_did(genuine, as_nwb):
    path, _ = genuine

    with open_output(path) as source:
        start = source.session["NWBFile"]["session_start_time"]

    assert validate(path=str(as_nwb)) == []
    assert {found.rule for found in check_file(as_nwb)} <= NOT_IN_THE_SOURCE
    with NWBHDF5IO(as_nwb, "r") as io:
        assert io.read().session_start_time == start
