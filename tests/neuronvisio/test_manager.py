"""Neuronvisio's manager over NWB: references go to files and come back as they were."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pynwb import NWBHDF5IO, TimeSeries, validate

from ndx_simulation_output import CompartmentSeries, convert, export_sonata, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    ExportError,
    MissingDependencyError,
    NameClashError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
    WriteError,
)
from ndx_simulation_output.neuronvisio import BaseRef, Manager, SynVecRef, VecRef
from ndx_simulation_output.nwb.metadata import make_nwbfile, read_metadata
from ndx_simulation_output.nwb.types import DataWithAxes
from tests.neuronvisio.making import storage
from tests.sonata.making import SESSION, report

TIMES = np.arange(5) * 0.025
VALUES = np.linspace(-65, 20, 5)


def a_ref(section: str, group: str = "Mine", detail: str = "", **vecs: Any) -> BaseRef:
    if group == "VecRef":
        ref: BaseRef = VecRef(section)
    elif group == "SynVecRef":
        ref = SynVecRef(section_name=section)
    else:
        ref = BaseRef()
        ref.sec_name, ref.group_id = section, group
    ref.detail, ref.vecs = detail, vecs
    return ref


def a_manager(*refs: BaseRef, x: Any = TIMES) -> Manager:
    manager = Manager()
    for ref in refs:
        manager.add_ref(ref, x)
    return manager


def holdings(manager: Manager) -> dict[str, Any]:
    """What a manager keeps, to the bit: the order of references in a storage is that of names."""
    return {
        group: (
            _bits(manager.groups.get(group)),
            Counter(
                (
                    type(ref).__name__,
                    ref.sec_name,
                    ref.detail,
                    tuple(sorted((name, _bits(values)) for name, values in ref.vecs.items())),
                )
                for ref in refs
            ),
        )
        for group, refs in manager.refs.items()
    }


def _bits(values: Any) -> tuple[Any, ...] | None:
    if values is None:
        return None
    array = np.asarray(values)
    return array.dtype.str, array.shape, array.tobytes()


# Text that is no name in HDF5 (NUL) or no text (surrogates) is left out.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES |= st.sampled_from(["x", "v", "soma", "dend[1]", "a/b", ".", "..", "_v_a", "Cell[0].dend[1]"])
NUMBERS = (
    npst.boolean_dtypes()
    | npst.integer_dtypes()
    | npst.unsigned_integer_dtypes()
    | npst.floating_dtypes(sizes=(16, 32, 64))
    | npst.complex_number_dtypes(sizes=(64, 128))
    | npst.byte_string_dtypes(max_len=4)
)
TYPES = NUMBERS | npst.unicode_string_dtypes(max_len=4) | npst.datetime64_dtypes()


def arrays(dtypes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    return npst.arrays(dtypes, shapes) | npst.arrays(np.float64, 5)


@st.composite
def managers(draw: st.DrawFn, dtypes: st.SearchStrategy[Any]) -> Manager:
    manager = Manager()
    groups = st.sampled_from(["VecRef", "SynVecRef"]) | NAMES.filter(lambda name: name != "t")
    for group in draw(st.lists(groups, min_size=1, max_size=3, unique=True)):
        x = draw(st.just(TIMES) | arrays(dtypes))
        for _ in range(draw(st.integers(1, 3))):
            vecs = draw(st.dictionaries(NAMES, arrays(dtypes), max_size=3))
            ref = a_ref(draw(NAMES), group, draw(NAMES))
            ref.vecs = vecs
            manager.refs.setdefault(group, []).append(ref)
            manager.groups[group] = x
    return manager


@settings(max_examples=25)
@given(managers(NUMBERS))
def test_what_goes_into_a_storage_comes_back(tmp_path_factory, manager):
    path = tmp_path_factory.mktemp("round") / "storage.h5"

    manager.save_to_hdf(path)

    assert holdings(Manager.load(path)) == holdings(manager)


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@settings(max_examples=25)
@given(managers(TYPES))
def test_what_goes_into_nwb_comes_back(tmp_path_factory, manager):
    path = tmp_path_factory.mktemp("round") / "run.nwb"

    manager.save(path, metadata=SESSION)

    assert holdings(Manager.load(path)) == holdings(manager)


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@settings(max_examples=5)
@given(managers(TYPES))
def test_what_goes_into_a_zarr_store_comes_back(tmp_path_factory, manager):
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    path = tmp_path_factory.mktemp("round") / "run.nwb.zarr"

    manager.save(path, metadata=SESSION)

    assert holdings(Manager.load(path)) == holdings(manager)


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@settings(max_examples=25)
@given(managers(NUMBERS))
def test_a_storage_that_is_converted_loses_nothing(tmp_path_factory, manager):
    directory = tmp_path_factory.mktemp("round")
    manager.save_to_hdf(directory / "storage.h5")

    convert(directory / "storage.h5", directory / "run.nwb", metadata=SESSION)

    assert holdings(Manager.load(directory / "run.nwb")) == holdings(manager)
    assert validate(path=str(directory / "run.nwb")) == []


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.parametrize("value", [np.array([True]), np.array([5.0]), np.array(5), np.ones((1, 1))])
def test_an_array_of_one_value_keeps_its_shape(value, tmp_path):
    manager = a_manager(a_ref("soma", x=value))

    manager.save(tmp_path / "run.nwb")

    assert holdings(Manager.load(tmp_path / "run.nwb")) == holdings(manager)


def test_the_order_of_references_is_kept_in_nwb(tmp_path):
    manager = a_manager(*(a_ref(name, "VecRef", v=VALUES) for name in ("soma", "axon", "dend")))

    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    found = Manager.load(tmp_path / "run.nwb").refs["VecRef"]
    assert [ref.sec_name for ref in found] == ["soma", "axon", "dend"]


def test_equally_named_sections_of_two_cells_are_kept_apart(tmp_path):
    names = ["Cell[0].soma", "Cell[1].soma", "Cell[1].soma"]
    manager = a_manager(*(a_ref(name, "VecRef", v=VALUES + n) for n, name in enumerate(names)))

    manager.save_to_hdf(tmp_path / "storage.h5")

    assert holdings(Manager.load(tmp_path / "storage.h5")) == holdings(manager)
    with h5py.File(tmp_path / "storage.h5") as file:
        assert sorted(file["results/VecRef"]) == ["soma", "soma_2", "soma_3", "x"]


def test_what_can_be_shared_is_a_series_with_its_table(tmp_path):
    manager = a_manager(
        a_ref("soma", "VecRef", v=VALUES, n=np.arange(5)),
        a_ref("axon", "VecRef", v=VALUES, spikes=[1.0, 2.0]),
    )

    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    with NWBHDF5IO(str(tmp_path / "run.nwb"), "r") as io:
        nwbfile = io.read()
        series, apart = nwbfile.acquisition["v"], nwbfile.acquisition["VecRef"]
        assert isinstance(series, CompartmentSeries)
        assert list(series.compartments["label"][0]) == ["soma", "axon"]
        assert (series.unit, series.conversion, series.rate) == ("volts", 1e-3, 40000.0)
        assert isinstance(apart, DataWithAxes)
        assert set(apart.labeled_arrays) == {"soma_n", "axon_spikes"}
        assert apart.axis["x"].unit == "ms"
        np.testing.assert_array_equal(apart.axis["x"].data[:], TIMES)


def test_references_are_added_to_an_nwb_file_in_memory(tmp_path):
    nwbfile = make_nwbfile(read_metadata(SESSION), "a test", None)
    nwbfile.add_acquisition(TimeSeries(name="other", data=[1.0], unit="volts", rate=1.0))

    a_manager(a_ref("soma", "VecRef", v=VALUES)).to_nwb(nwbfile)

    with NWBHDF5IO(str(tmp_path / "run.nwb"), "w") as io:
        io.write(nwbfile)
    found = Manager.load(tmp_path / "run.nwb").get_vector("soma", "v")
    np.testing.assert_array_equal(found, VALUES)
    with pytest.raises(NameClashError, match="already has acquisition 'v'"):
        a_manager(a_ref("soma", "VecRef", v=VALUES)).to_nwb(nwbfile)


def test_the_x_of_a_group_is_that_of_its_first_reference():
    manager = a_manager(a_ref("soma"))

    with pytest.warns(SimulationOutputWarning, match="has the x of its first reference"):
        manager.add_ref(a_ref("axon"), TIMES[:3])

    assert manager.groups["Mine"] is TIMES


def test_loading_adds_to_what_is_there(tmp_path):
    manager = a_manager(a_ref("soma", "VecRef", v=VALUES))
    manager.save_to_hdf(tmp_path / "storage.h5")

    manager.load_from_hdf(tmp_path / "storage.h5")

    assert [ref.sec_name for ref in manager.refs["VecRef"]] == ["soma", "soma"]
    np.testing.assert_array_equal(manager.get_time(), TIMES)


def test_a_vector_is_found_by_either_name_of_its_section():
    manager = a_manager(a_ref("Cell[0].dend[1]", "VecRef", v=VALUES))

    assert manager.get_vector("Cell[0].dend[1]", "v") is VALUES
    assert manager.get_vector("dend_1", "v") is VALUES
    assert manager.get_vector("dend_1", "w") is None
    with pytest.raises(KeyError):
        manager.get_vector("soma", "v", group="None")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("soma", "soma"),
        ("dend[0]", "dend_0"),
        ("MSP_Cell[0].dend1_1[1]", "dend1_1_1"),
        ("dend[0]x", "dend_0"),
        ("<__main__.C object at 0x7f>.soma", "soma"),
    ],
)
def test_names_in_a_storage_are_those_of_the_original(name, expected):
    assert Manager().sanitized_sec(name) == expected


def test_directories_are_numbered(tmp_path):
    manager = Manager()

    first, second = (manager.create_new_dir(prefix=f"{tmp_path}/") for _ in range(2))

    assert Path(first).name == "Sim_0"
    assert Path(second).name == "Sim_1"
    assert Path(second).is_dir()
    assert manager.dirRoot == os.path.join(tmp_path, "Sims")  # noqa: PTH118


def test_values_are_added_and_put_into_a_grid():
    manager = Manager()

    times, distances, values = manager.create_3d_grid(
        {"far": 2.0, "near": 1.0}, [0.0, 0.5], {"far": [3.0, 4.0], "near": [1.0, 2.0]}
    )

    assert times.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert distances.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert manager.sum_vector([1.0, 2.0], [3.0, 4.0]).tolist() == [4.0, 6.0]


def test_without_anything_recorded_there_is_a_warning_and_no_file(tmp_path):
    for save in (Manager().save_to_hdf, Manager().save):
        with pytest.warns(SimulationOutputWarning, match="there are no references"):
            save(tmp_path / "run.nwb")

    assert list(tmp_path.iterdir()) == []


def test_a_storage_is_replaced_and_an_nwb_file_is_not(tmp_path):
    manager = a_manager(a_ref("soma", "VecRef", v=VALUES))

    for _ in range(2):
        manager.save_to_hdf(tmp_path / "storage.h5")
    manager.save(tmp_path / "run.nwb", metadata=SESSION)

    with pytest.raises(TargetExistsError):
        manager.save(tmp_path / "run.nwb", metadata=SESSION)
    manager.save(tmp_path / "run.nwb", metadata=SESSION, overwrite=True)


@pytest.mark.parametrize(
    ("vecs", "error", "message"),
    [
        ({"w": [[1, 2], [3]]}, ShapeMismatchError, "w of axon cannot be converted to an array"),
        ({"w": ["text"]}, ExportError, "w is of type <U4"),
        ({"w": [None]}, ExportError, "w is of type object"),
    ],
)
def test_a_failed_save_leaves_the_old_file(tmp_path, vecs, error, message):
    path = tmp_path / "storage.h5"
    a_manager(a_ref("soma", "VecRef", v=VALUES)).save_to_hdf(path)
    before = path.read_bytes()

    with pytest.raises(error, match=message):
        a_manager(a_ref("soma", v=VALUES), a_ref("axon", **vecs)).save_to_hdf(path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(WriteError, match="does not exist"):
        a_manager(a_ref("soma", v=VALUES)).save_to_hdf(tmp_path / "none" / "storage.h5")


def test_objects_are_refused_by_nwb(tmp_path):
    with pytest.raises(ExportError, match="soma_w holds Python objects"):
        a_manager(a_ref("soma", w=[None])).save(tmp_path / "run.nwb", metadata=SESSION)


def test_a_detail_that_no_attribute_holds_is_refused(tmp_path):
    with pytest.raises(ExportError, match="expected 60000 at most"):
        a_manager(a_ref("soma", detail="x" * 70_000, v=VALUES)).save_to_hdf(tmp_path / "s.h5")


def test_files_of_something_else_are_refused(tmp_path):
    convert(report().write(tmp_path / "r.h5"), tmp_path / "run.nwb", metadata=SESSION)

    with pytest.raises(SourceError, match="not written from references"):
        Manager.load(tmp_path / "run.nwb")
    with pytest.raises(SourceError, match=r"r\.h5 has no group results"):
        Manager.load(tmp_path / "r.h5")


@pytest.fixture
def plt():
    """Draw without windows."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    yield plt
    plt.close("all")


def test_vectors_are_drawn_over_the_time_and_others_by_their_index(plt):
    manager = Manager()
    manager.groups["t"] = np.array([0.0, 0.5, 1.0])

    ax = manager.plot_vecs(
        {"soma": [1.0, 2.0, 4.0], "dend": None, "axon": [7.0, 8.0]}, figure_num=3, points=True
    )

    soma, axon = ax.lines
    assert (soma.get_xdata().tolist(), soma.get_ydata().tolist()) == ([0, 0.5, 1], [1, 2, 4])
    assert axon.get_xdata().tolist() == [0, 1]
    assert soma.get_marker() == "o"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["soma", "axon"]
    assert ax.get_xlabel() == "time (ms), or index"
    assert manager.plot_vecs({"soma": [1.0]}, legend=False, figure_num=3) is ax


class _Section:
    """As much of a section of NEURON as distances need."""

    def __init__(self, name, length, parent=None):
        self._name, self.L, self._parent = name, length, parent

    def name(self):
        return self._name

    def parentseg(self):
        return self._parent and type("Segment", (), {"sec": self._parent})


def test_sections_are_drawn_at_their_distance(plt):
    manager = a_manager(a_ref("soma", "VecRef", v=VALUES), a_ref("dend", "VecRef", v=2 * VALUES))
    manager.groups["t"] = np.arange(float(len(VALUES)))
    soma = _Section("soma", 10.0)

    figure = manager.plot3D([_Section("dend", 100.0, soma), soma], soma, "v")

    (ax,) = figure.axes
    near, far = (line.get_data_3d() for line in ax.lines)
    np.testing.assert_array_equal(near[2], VALUES)
    np.testing.assert_array_equal(far[1], np.full(len(VALUES), 100.0))
    assert (ax.get_ylabel(), ax.get_zlabel()) == ("distance (µm)", "v")


def test_plots_without_matplotlib_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[plot\]"):
        Manager().plot_vecs({"soma": VALUES})


def test_recording_without_neuron_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "neuron", None)

    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[neuron\]"):
        Manager().add_all_vecRef("v")


def test_the_command_line_shows_and_converts_a_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {"VecRef/x": TIMES, "VecRef/soma/v": VALUES, "VecRef/soma/n": [1, 2]}
    storage(Path("storage.h5"), arrays)

    shown = CliRunner().invoke(main, ["info", "storage.h5"])
    converted = CliRunner().invoke(main, ["convert", "storage.h5", "run.nwb"])
    again = CliRunner().invoke(main, ["info", "run.nwb"])

    assert "report v: population cells, variable v" in shown.output
    assert "group /VecRef: no title\n  x: axis 'x' of 5, ms\n" in shown.output
    assert "soma n: 2, int64" in shown.output
    assert converted.exit_code == 0, converted.output
    assert "soma n: 2, int64" in again.output


def test_traces_go_on_to_sonata_and_the_rest_is_named(tmp_path):
    arrays = {"VecRef/x": TIMES, "VecRef/soma/v": VALUES, "VecRef/soma/n": [1]}
    path = storage(tmp_path / "storage.h5", arrays)
    convert(path, tmp_path / "run.nwb", metadata=SESSION)

    written = export_sonata(tmp_path / "run.nwb", tmp_path / "sonata")

    assert any("VecRef: SONATA has no arrays" in note for note in written.left_out)
    with open_output(tmp_path / "sonata" / "v.h5") as output:
        np.testing.assert_array_equal(output["v"].data[:, :], VALUES[:, np.newaxis])


def test_a_storage_becomes_a_zarr_store(tmp_path):
    pytest.importorskip("hdmf_zarr")
    arrays = {"VecRef/x": TIMES, "VecRef/soma/v": VALUES, "VecRef/soma/z": [1j, 2.0]}
    path = storage(tmp_path / "storage.h5", arrays)

    convert(path, tmp_path / "run.nwb.zarr", metadata=SESSION)

    found = holdings(Manager.load(tmp_path / "run.nwb.zarr"))
    assert found == holdings(Manager.load(path))


def test_pytables_reads_what_is_written(tmp_path):
    tables = pytest.importorskip("tables", reason="PyTables is not installed")
    manager = a_manager(
        a_ref("Cell[0].dend[1]", "VecRef", "µ", v=VALUES, w=[True, False], z=[1j], s=[b"ab", b"c"]),
        a_ref("soma", "VecRef", none=np.zeros(0), many=np.zeros((5, 2), np.float32)),
    )
    manager.save_to_hdf(tmp_path / "storage.h5")

    with tables.open_file(str(tmp_path / "storage.h5")) as file:
        group = file.root.results.VecRef
        kinds = {type(node).__name__ for node in file.walk_nodes("/", "Leaf")}
        assert kinds == {"Array"}
        np.testing.assert_array_equal(group.x.read(), TIMES)
        np.testing.assert_array_equal(group.dend_1.v.read(), VALUES)
        assert group.dend_1.v.title == "µ"
        assert group.dend_1.w.read().tolist() == [True, False]
        assert group.dend_1.z.read().tolist() == [1j]
        assert group.dend_1.s.read().tolist() == [b"ab", b"c"]
        assert group.soma.none.read().shape == (0,)
        assert group.soma.many.read().dtype == np.float32
        assert isinstance(file.root.geometry.geom.read(), bytes)
