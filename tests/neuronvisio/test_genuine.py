"""Storages that Neuronvisio 0.5.0 and 0.9.1 wrote hold what they must, also as NWB."""

import hashlib
import json
import warnings

import numpy as np
import pytest
from pynwb import validate

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.neuronvisio import Manager
from tests.sonata.making import SESSION

NAMES = ["flat_nv050_pt240", "flat_nv091_pt240", "cvode_nv091_pt240"]
UNITS = {"flat_nv050_pt240": {"TimeSeries_ca": "mM"}, "flat_nv091_pt240": {"TimeSeries_ca": "mM"}}

pytestmark = pytest.mark.filterwarnings(
    "ignore:x of group 'TimeSeries' is assumed to be times in ms"
)


@pytest.fixture(scope="module", params=NAMES)
def genuine(request, neuronvisio_data):
    expected = (neuronvisio_data / f"{request.param}.expected.json").read_text(encoding="utf-8")
    return neuronvisio_data / f"{request.param}.h5", json.loads(expected)


@pytest.fixture(scope="module")
def as_nwb(genuine, tmp_path_factory):
    path, _ = genuine
    target = tmp_path_factory.mktemp("genuine") / "run.nwb"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "x of group 'TimeSeries' is assumed to be times in ms")
        return convert(path, target, metadata=SESSION, unit=UNITS.get(path.stem)).path


def facts(values) -> dict:
    little = values.astype(values.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(values.shape),
        "sha256_le": hashlib.sha256(little.tobytes()).hexdigest(),
    }


def check(manager: Manager, expected: dict) -> None:
    # Neuronvisio does not write vectors without values.
    assert set(manager.refs) == set(expected["groups"])
    for name, group in expected["groups"].items():
        found = {ref.sec_name: ref for ref in manager.refs[name]}
        assert facts(manager.groups[name]).items() <= group["x"].items()
        assert set(found) == {ref["sec_name_in_memory"] for ref in group["refs"]}
        for ref in group["refs"]:
            made = found[ref["sec_name_in_memory"]]
            written = {key: vec for key, vec in ref["vecs"].items() if vec["shape"] != [0]}
            assert {key: facts(values) for key, values in made.vecs.items()} == {
                key: {fact: vec[fact] for fact in ("dtype", "shape", "sha256_le")}
                for key, vec in written.items()
            }
            assert made.detail == (ref["detail"] if written else "")


def test_a_genuine_storage_holds_what_it_must(genuine):
    path, expected = genuine

    check(Manager.load(path), expected)


def test_nothing_is_lost_in_nwb(genuine, as_nwb):
    check(Manager.load(as_nwb), genuine[1])
    assert validate(path=str(as_nwb)) == []


def test_a_storage_written_from_nwb_holds_the_same(genuine, as_nwb, tmp_path):
    Manager.load(as_nwb).save_to_hdf(tmp_path / "again.h5")

    check(Manager.load(tmp_path / "again.h5"), genuine[1])


def test_traces_are_where_neuron_recorded_them(genuine, as_nwb):
    _, expected = genuine
    sections = {section["name"]: section for section in expected["sections"]}

    with open_output(as_nwb) as output:
        columns = {key: values[:] for key, values in output["v"].compartments.columns.items()}

    assert sorted(columns["label"]) == sorted(sections)
    for index, name in enumerate(columns["label"]):
        section = sections[name]
        assert columns["position"][index] == section["recorded_segment_center_x"]
        points = np.asarray(expected["pt3d_after_save"][name])
        arc = np.append(0, np.cumsum(np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)))
        place = [np.interp(columns["position"][index] * arc[-1], arc, axis) for axis in points.T]
        found = [columns[axis][index] for axis in ("x", "y", "z", "diameter")]
        # NeuroML has six digits.
        np.testing.assert_allclose(found, place, rtol=1e-5, atol=1e-4)


def test_the_model_is_kept_as_text(genuine, as_nwb):
    path, _ = genuine

    with open_output(path, unit=UNITS.get(path.stem)) as source, open_output(as_nwb) as output:
        assert output.run.morphology == source.run.morphology
        assert "numberInternalDivisions" in output.run.morphology
