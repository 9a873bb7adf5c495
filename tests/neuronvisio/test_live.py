"""The manager records in NEURON: the examples of Neuronvisio's documentation, and more."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import (
    NothingRecordedError,
    RecordingError,
    SimulationOutputWarning,
    UnitWarning,
)
from ndx_simulation_output.neuronvisio import BaseRef, Manager
from ndx_simulation_output.plots import neuron as neuron_plot
from tests.sonata.making import SESSION

neuron = pytest.importorskip("neuron", reason="NEURON is not installed")
h: Any = neuron.h

# From a page of the documentation of Neuronvisio: only the import is ours.
FIRST = """
from ndx_simulation_output.neuronvisio import Manager
manager = Manager()
manager.add_all_vecRef('v') # Adding vector for the variable v

# file where to save the results
filename = 'storage.h5'
# Saving the vectors
manager.save_to_hdf(filename)
"""
DIRECTORY = """
saving_dir = manager.create_new_dir() # Create a new dir per Simulation, ordered by Day.
hdf_name = 'storage.h5'
filename = os.path.join(saving_dir, hdf_name)
# Saving the vectors
manager.save_to_hdf(filename)
"""
SUBCLASS = """
from ndx_simulation_output.neuronvisio import BaseRef

class MyRef(BaseRef):

    def __init__(self, sec_name=None, vecs=None, detail=None):

        BaseRef.__init__(self)
        self.sec_name = sec_name
        self.vecs = vecs
        self.detail = detail


myRef = MyRef(sec_name=sec_name,
              vecs=vecs,
              detail=detail)
manager.add_ref(myRef, x)
"""


@pytest.fixture
def cells() -> Iterator[list[Any]]:
    """Give two cells with equally named sections, and a section of no cell."""
    for section in list(h.allsec()):
        # Those of a test that has failed.
        h.delete_section(sec=section)
    made = [_Cell(0), _Cell(1)]
    axon = h.Section(name="axon")
    yield made
    # A section lasts as long as something knows it.
    del axon


class _Cell:
    def __init__(self, number: int) -> None:
        self.number = number
        self.soma = h.Section(name="soma", cell=self)
        self.dend = h.Section(name="dend[0]", cell=self)
        self.soma.L = self.soma.diam = 20
        self.soma.insert("hh")
        self.dend.connect(self.soma(1))
        self.dend.nseg, self.dend.diam = 4, 2
        for x in (0, 100):
            self.dend.pt3dadd(20, x, 0, 2)
        self.clamp = h.IClamp(self.soma(0.5))
        self.clamp.delay, self.clamp.dur, self.clamp.amp = 1, 3, 0.5 * (number + 1)

    def __repr__(self) -> str:
        return f"Cell[{self.number}]"


def run(milliseconds: float = 5.0) -> None:
    h.finitialize(-65)
    h.continuerun(milliseconds)


def test_the_examples_of_the_documentation_run(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"os": os}

    exec(FIRST, names)  # noqa: S102 - the examples are above
    before = Manager.load("storage.h5")
    run()
    exec(DIRECTORY, names)  # noqa: S102
    manager = names["manager"]
    names |= {"sec_name": "spine1", "vecs": {"ca": [0.1, 0.2, 0.4]}, "detail": None}
    names["x"] = [0.0, 0.5, 1.25]
    exec(SUBCLASS, names)  # noqa: S102
    manager.save_to_hdf(names["filename"])

    assert {ref.vecs["v"].shape for ref in before.refs["VecRef"]} == {(0,)}
    loaded = Manager.load(names["filename"])
    np.testing.assert_array_equal(loaded.groups["t"], manager.groups["t"].as_numpy())
    for ref in manager.refs["VecRef"]:
        np.testing.assert_array_equal(
            loaded.get_vector(ref.sec_name, "v"), ref.vecs["v"].as_numpy()
        )
    (mine,) = loaded.refs["MyRef"]
    assert (mine.sec_name, mine.detail, mine.vecs["ca"].tolist()) == ("spine1", "", [0.1, 0.2, 0.4])
    assert loaded.groups["MyRef"].tolist() == [0.0, 0.5, 1.25]


def test_neurons_time_and_vectors_are_taken(cells, tmp_path):
    manager = Manager()
    manager.add_all_vecRef("v")
    ref = BaseRef()
    ref.sec_name, ref.vecs = "Cell[1].soma", {"current": h.Vector([1.0, 2.0]), "list": [1, 2]}
    manager.add_ref(ref, manager.groups["t"])
    run()

    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    found = Manager.load(tmp_path / "run.nwb")
    np.testing.assert_array_equal(found.groups["BaseRef"], found.groups["t"])
    assert found.refs["BaseRef"][0].vecs["current"].tolist() == [1.0, 2.0]


def test_every_section_of_every_cell_is_a_compartment_at_its_place(cells, tmp_path):
    manager = Manager()
    manager.add_all_vecRef("v")
    run()

    manager.save_to_hdf(tmp_path / "storage.h5")
    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    for name in ("run.nwb", "storage.h5"):
        with open_output(tmp_path / name) as output:
            table = output["v"].compartments
            columns = {key: np.asarray(values[:]) for key, values in table.columns.items()}
            dend = columns["label"].tolist().index("Cell[1].dend[0]")
            trace = output["v"].get_traces(labels="Cell[1].dend[0]")[:, 0]
            assert list(table.cell_columns["cell_name"][:]) == ["Cell[0]", "Cell[1]", "axon"]
            assert columns["position"][dend] == 0.625
            assert [columns[axis][dend] for axis in ("x", "y", "diameter")] == [20.0, 62.5, 2.0]
            assert np.isnan(columns["x"][columns["label"].tolist().index("axon")])
            recorded = manager.get_vector("Cell[1].dend[0]", "v").as_numpy()
            np.testing.assert_allclose(trace, recorded * 1e-3, rtol=1e-12)


def test_saving_leaves_the_model_as_it_is(cells, tmp_path):
    manager = Manager()
    manager.add_all_vecRef("v")
    run()
    before = [(sec.n3d(), sec.L, [seg.diam for seg in sec]) for sec in h.allsec()]

    manager.save_to_hdf(tmp_path / "storage.h5")
    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    assert [(sec.n3d(), sec.L, [seg.diam for seg in sec]) for sec in h.allsec()] == before


def test_recording_says_whether_it_does(cells):
    manager = Manager()
    soma = cells[0].soma

    assert manager.add_vecRef("v", soma) is True
    assert manager.add_vecRef("v", soma) is False
    assert manager.add_vecRef("ina", soma) is True
    assert manager.add_vecRef("cai", soma) is False
    assert [sorted(ref.vecs) for ref in manager.refs["VecRef"]] == [["ina", "v"]]
    with pytest.raises(AttributeError):
        manager.add_vecRef("nseg", soma)
    assert manager.add_vecRef("v", cells[1].soma) is True
    assert len(manager.refs["VecRef"]) == 2


def test_elements_of_arrays_are_recorded(cells, tmp_path):
    cells[0].soma.insert("extracellular")
    cells[0].soma.xg[0], cells[0].soma.xraxial[1] = 1e-3, 1e6
    manager = Manager()
    expected = [h.Vector().record(cells[0].soma(0.5)._ref_vext[layer]) for layer in range(2)]

    manager.add_all_vecRef("vext[0]")
    assert manager.add_vecRef("vext[1]", cells[0].soma) is True
    assert manager.add_vecRef("vext[1]", cells[0].soma) is False
    assert manager.add_vecRef("vext[0]", cells[1].soma) is False
    assert manager.add_vecRef("v[0]", cells[1].soma) is False
    assert manager.add_vecRef("xraxial[1]", cells[0].soma) is True
    for name in ("vext", "vext[2]", "vext[-1]"):
        with pytest.raises(RecordingError, match=r"is an array; .* one of: vext\[0\], vext\[1\]"):
            manager.add_vecRef(name, cells[0].soma)
    run()
    manager.save_to_hdf(tmp_path / "storage.h5")
    with pytest.warns(UnitWarning, match=r"xraxial\[1\]"):
        manager.save(tmp_path / "run.nwb", metadata=SESSION)

    for path in ("storage.h5", "run.nwb"):
        loaded = Manager.load(tmp_path / path)
        for layer, vector in enumerate(expected):
            found = loaded.get_vector("Cell[0].soma", f"vext[{layer}]")
            np.testing.assert_array_equal(found, vector.as_numpy())
    assert np.ptp(expected[0].as_numpy()) > 1e-3
    with open_output(tmp_path / "run.nwb") as output:
        assert output["vext[0]"].unit.conversion == 1e-3
        assert output["vext[0]"].data.shape[1] == 1


def test_a_model_without_points_is_drawn_after_define_shape(tmp_path):
    pytest.importorskip("matplotlib")
    soma = h.Section(name="round")
    manager = Manager()
    manager.add_vecRef("v", soma)
    run(1.0)
    manager.save(tmp_path / "without.nwb", metadata=SESSION)
    with open_output(tmp_path / "without.nwb") as output:
        with pytest.raises(NothingRecordedError, match=r"define_shape\(\) creates .* 3-D points"):
            neuron_plot(output)

    h.define_shape()
    manager.save(tmp_path / "with.nwb", metadata=SESSION)
    with open_output(tmp_path / "with.nwb") as output:
        assert neuron_plot(output).collections


def test_an_interval_is_that_of_the_samples(cells):
    manager = Manager()
    manager.add_all_vecRef("v", time_interval_recording=0.5)

    run()

    np.testing.assert_allclose(manager.get_time().as_numpy()[:4], [0.0, 0.5, 1.0, 1.5])


def test_an_interval_in_several_threads_warns(cells):
    context = h.ParallelContext()
    context.nthread(2)
    try:
        with pytest.warns(SimulationOutputWarning, match="samples at wrong times"):
            Manager().add_vecRef("v", cells[0].soma, time_interval_recording=0.5)
    finally:
        context.nthread(1)


def test_synapses_are_kept_with_their_kind(cells, tmp_path):
    class Synapse:
        chan_type = "AMPA"
        section = cells[0].dend
        vecs = {"i": h.Vector().record(cells[0].clamp._ref_i)}  # noqa: RUF012

    manager = Manager()
    with pytest.raises(KeyError, match="t"):
        manager.add_synVecRef(Synapse)
    manager.add_all_vecRef("v")
    manager.add_synVecRef(Synapse)
    run()
    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    (found,) = Manager.load(tmp_path / "run.nwb").refs["SynVecRef"]
    assert (found.sec_name, found.detail) == ("Cell[0].dend[0]", "AMPA")
    np.testing.assert_array_equal(found.vecs["i"], Synapse.vecs["i"].as_numpy())


def test_trees_and_distances_are_those_of_sections(cells):
    manager, cell = Manager(), cells[0]

    assert manager.get_tree(cell.dend) == [cell.dend, cell.soma]
    distances = manager.get_distance([cell.dend, cell.soma], cell.soma)
    assert distances == {"Cell[0].dend[0]": 100.0, "Cell[0].soma": 0.0}
    assert manager.find_point_process(cell.soma).hname() == cell.clamp.hname()
    assert manager.find_point_process(cell.dend) is None
    manager.add_vecRef("v", cell.soma)
    assert list(manager.get_vectors([cell.soma, cell.dend], "v").values())[1] is None


def test_what_was_loaded_is_written_with_its_geometry(cells, tmp_path):
    manager = Manager()
    manager.add_all_vecRef("v")
    run()
    manager.save_to_hdf(tmp_path / "first.h5")

    Manager.load(tmp_path / "first.h5").save_to_hdf(tmp_path / "second.h5")

    texts = []
    for name in ("first.h5", "second.h5"):
        with open_output(Path(tmp_path / name)) as output:
            texts.append(output.run.morphology)
    assert texts[0] == texts[1]
    assert "Cell[1].dend[0]" in texts[0]
