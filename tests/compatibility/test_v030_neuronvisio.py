"""Files that the manager of 0.3.0 saved load into today's, and read without it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.neuronvisio import Manager, SynVecRef, VecRef
from tests.compatibility.inputs import METADATA, NEURONVISIO
from tests.compatibility.packing import unpack

FILES = ["storage.h5", "neuronvisio_saved.nwb", "neuronvisio_converted.nwb"]
TRACES = {
    "v": ("volts", 1e-3, [np.linspace(-65, 20, 5), np.linspace(-64, 0, 5)]),
    "ina": ("amperes per square meter", 10.0, [np.arange(5) / 8]),
    "SynVecRef_g": ("siemens", 1e-6, [np.arange(5) * 0.5]),
    "Calcium_ca": ("unknown", 1.0, [np.array([0.1, 0.2, 0.4, 0.3])]),
}
"""Unit, factor and traces of each report."""

without_unit = pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    return unpack("neuronvisio", tmp_path_factory.mktemp("neuronvisio"))


@pytest.mark.parametrize("name", FILES)
def test_a_manager_loads_what_was_saved(golden, name):
    manager = Manager.load(golden / name)

    for group, x in NEURONVISIO["x"].items():
        np.testing.assert_array_equal(manager.groups[group], x)
    np.testing.assert_array_equal(manager.get_time(), NEURONVISIO["x"]["VecRef"])
    found = {
        (group, ref.sec_name, ref.detail): ref.vecs
        for group, refs in manager.refs.items()
        for ref in refs
    }
    expected = {tuple(one[:3]): one[3] for one in NEURONVISIO["refs"]}
    assert found.keys() == expected.keys()
    for key, vecs in expected.items():
        assert found[key].keys() == vecs.keys()
        for variable, values in vecs.items():
            np.testing.assert_array_equal(found[key][variable], values)
            assert found[key][variable].dtype == values.dtype
    assert {type(ref) for ref in manager.refs["VecRef"]} == {VecRef}
    assert {type(ref) for ref in manager.refs["SynVecRef"]} == {SynVecRef}


@without_unit
@pytest.mark.parametrize("name", FILES)
def test_traces_read_without_a_manager(golden, name):
    with open_output(golden / name) as output:
        assert {report.name for report in output.reports} == set(TRACES)
        for report, (unit, factor, traces) in TRACES.items():
            found = output[report]
            assert (found.unit.name, found.unit.conversion) == (unit, factor)
            assert {tuple(one) for one in found.data[:, :].T} == {tuple(one) for one in traces}
        times = output["Calcium_ca"].times.seconds()
        np.testing.assert_allclose(times, [0, 0.0005, 0.00125, 0.0015], rtol=1e-12)
        labels = output["v"].select(labels="dend[1]")
        np.testing.assert_array_equal(labels.values[:, 0], np.linspace(-64, 0, 5) * 1e-3)


@pytest.mark.parametrize("name", FILES[1:])
def test_pynwb_alone_reads_traces_and_other_arrays(golden, name):
    with NWBHDF5IO(str(golden / name), "r") as io:
        nwbfile = io.read()
        arrays = {one.name: one for one in nwbfile.objects.values()}

        series = nwbfile.acquisition["v"]
        labels = [label for row in series.compartments["label"][:] for label in row]
        for label, traces in (
            ("soma", np.linspace(-65, 20, 5)),
            ("dend[1]", np.linspace(-64, 0, 5)),
        ):
            np.testing.assert_array_equal(series.data[:, labels.index(label)], traces)
        ca, is_open = arrays["spine2_ca"].data, arrays["spine2_open"].data
        np.testing.assert_array_equal(ca[:], np.arange(8.0).reshape(4, 2))
        assert is_open[:].tolist() == [False, False, True, True]


def test_the_storage_has_the_layout_of_neuronvisio(golden):
    with h5py.File(golden / "storage.h5") as file:
        for group, x in NEURONVISIO["x"].items():
            np.testing.assert_array_equal(file[f"results/{group}/x"][:], x)
        np.testing.assert_array_equal(file["results/VecRef/dend_1/v"][:], np.linspace(-64, 0, 5))


@without_unit
def test_a_golden_storage_is_converted_as_0_3_0_did(golden, tmp_path):
    target = convert(golden / "storage.h5", tmp_path / "run.nwb", metadata=METADATA).path

    with h5py.File(target) as found, h5py.File(golden / "neuronvisio_converted.nwb") as expected:
        datasets = _datasets(expected["acquisition"])
        assert _datasets(found["acquisition"]) == datasets
        assert {"v/data", "Calcium/spine2_open"} <= datasets.keys()


def _datasets(group: h5py.Group) -> dict[str, object]:
    found: dict[str, object] = {}

    def keep(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "iufb":
            found[name] = (str(node.dtype), node[()].tolist())

    group.visititems(keep)
    return found
