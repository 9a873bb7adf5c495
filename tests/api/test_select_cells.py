"""Cells are chosen by property in outputs, files and commands."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.errors import CellNotFoundError, SelectionError
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Unit,
)
from tests.cli.test_commands import run
from tests.sonata.making import SESSION

NODE_SETS = {"L5": {"layer": 5}, "deep": ["L5", "L6"], "L6": {"layer": 6}, "afferent": {"n": 1}}
EXC = CellTable(
    "exc",
    np.array([7, 3, 5, 4, 9]),
    {
        "layer": np.array([4, 5, 6, 5, 4]),
        "ei": Categories(np.array([1, 1, 0, 9, 0]), ("i", "e"), missing=9),
        "x": np.array([10.0, 20, 30, 40, np.nan]),
        "pop_name": np.array(["a, b", "c", None, "", "c"], object),
    },
    "biophysical",
    NODE_SETS,
)
VIRTUAL = CellTable("lgn", np.arange(3), {"n": np.arange(3)}, "virtual", NODE_SETS)
TIMES = RegularTimes(0.0, 1000.0, 4)


def _output() -> SimulationOutput:
    recorded = EXC.select(np.array([5, 7, 3, 4]))
    table = CompartmentTable.from_counts(
        "exc",
        np.array([5, 7, 3, 4]),
        np.array([2, 1, 3, 1]),
        {"number": np.array([0, 1, 0, 0, 1, 2, 0]), "x": np.arange(7.0)},
        recorded.columns,
    )
    table = replace(table, node_sets=NODE_SETS)
    data = np.arange(28.0, dtype=np.float32).reshape(4, 7)
    return SimulationOutput(
        reports=(Report("v", "v", data, TIMES, table, Unit("volts", 1e-3)),),
        spikes=(
            Spikes("exc", np.array([3, 7, 3, 5]), np.array([1, 2, 3, 4]) * 1e-3, cells=EXC),
            Spikes("lgn", np.array([0, 2]), np.array([1, 2]) * 1e-3, cells=VIRTUAL),
        ),
        potentials=(
            ExtracellularPotential(
                "ecp",
                np.zeros((4, 1)),
                TIMES,
                np.array([0]),
                Unit("volts"),
                Electrodes(np.array([0]), np.zeros((1, 3))),
            ),
        ),
        circuit=Circuit((EXC, VIRTUAL), node_sets=NODE_SETS),
    )


@pytest.fixture(scope="module", params=["memory", "nwb", "zarr"])
def source(request, tmp_path_factory):
    """An output in memory, or the path of a file of it."""
    if request.param == "memory":
        return _output()
    if request.param == "zarr":
        pytest.importorskip("hdmf_zarr")
    path = tmp_path_factory.mktemp("run") / f"run.nwb{'.zarr' * (request.param == 'zarr')}"
    convert(_output(), path, metadata=SESSION)
    return path


@pytest.fixture
def output(source):
    if isinstance(source, SimulationOutput):
        yield source
        return
    with open_output(source) as opened:
        yield opened


@pytest.mark.parametrize(
    ("cells", "ids"),
    [
        ({"layer": 5}, [3, 4]),
        ({"layer": [4, 6], "ei": "e"}, [7]),
        ({"x": (15, 35)}, [5, 3]),
        ({"x": (15, None), "ei": {"$regex": "e|i"}}, [5, 3]),
        ({"ei": None}, [4]),
        ({"pop_name": ["", "a, b"]}, [7, 4]),
        ({"population": "exc", "node_id": [3, 99]}, [3]),
        ("deep", [5, 3, 4]),
        ({"layer": 7}, []),
    ],
)
def test_traces_are_those_of_the_cells(output, cells, ids):
    report = output["v"]
    table = report.compartments
    columns = table.find(np.array(ids, int))

    expected = np.asarray(report.data[:])[:, columns] * np.float32(1e-3)
    assert np.array_equal(report.get_traces(cells), expected)
    assert report.select(cells).cells.tolist() == table.cells_of(columns).tolist()
    assert np.array_equal(report.to_dask(cells).compute(), expected)


@pytest.mark.filterwarnings("ignore:EnumData is experimental")
def test_arrays_of_a_file_are_grouped(source):
    pytest.importorskip("xarray")
    if isinstance(source, SimulationOutput) or source.suffix == ".zarr":
        pytest.skip("the methods of pynwb's objects are those of any file")
    with NWBHDF5IO(source, "r") as io:
        series = io.read().acquisition["v"]
        array = series.to_xarray(cells={"layer": [4, 5]}).groupby("layer").mean()
        means = series.mean_by("layer", cells={"layer": [4, 5]})
        frame = series.to_dataframe("L5", properties=["layer", "x"])
        found = series.compartments.find_compartments({"ei": "e"})
    assert array.coords["layer"].values.tolist() == [4, 5]
    assert np.allclose(array.transpose("time", "layer").values, means.values)
    assert means.n_cells.tolist() == [1, 2]
    assert means.to_dataframe().columns.name == "layer"
    assert frame.columns.names == ["cell", "number", "x", "layer", "soma_x"]
    assert frame.columns.get_level_values("soma_x").tolist() == [20, 20, 20, 40]
    assert found.tolist() == [2, 3, 4, 5]


def test_rates_count_silent_cells(output):
    exc = output.spikes[0]

    assert exc.rate_by("layer", stop=0.01)["n_cells"].tolist() == [2, 2, 1]
    assert exc.select("L5").times.tolist() == pytest.approx([1e-3, 3e-3])


def test_an_output_of_some_cells(output):
    chosen = output.select_cells({"layer": 5})

    assert chosen["v"].compartments.cell_ids[:].tolist() == [3, 4]
    assert np.array_equal(chosen["v"].get_traces(), output["v"].get_traces({"layer": 5}))
    assert chosen["v"].compartments.columns["x"][:].tolist() == [3, 4, 5, 6]
    assert chosen["v"].compartments.cells.read("x", np.arange(2)).tolist() == [20, 40]
    assert [one.population for one in chosen.spikes] == ["exc"]
    assert chosen.spikes[0].known_cells.tolist() == [3, 4]
    assert chosen.notes[-3:] == (
        "only the cells {'layer': 5} were selected",
        "left out, because they have none of these cells: spikes of lgn",
        "potentials are of all cells: ecp",
    )
    assert [one.population for one in output.select_cells("lgn").spikes] == ["lgn"]
    assert output.select_cells([7, 0]).spikes[1].node_ids.tolist() == [0]
    assert len(output.select_cells("afferent").reports) == 0


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ({"layre": 5}, SelectionError, "population 'exc' has no property 'layre'; expected one of"),
        ("L9", SelectionError, "population 'exc' has no node set 'L9'; there are: L5, deep"),
        ({"layer": 9}, CellNotFoundError, "no recorded cell is one of {'layer': 9}"),
        ([3, 77], CellNotFoundError, "cell 77 is not among the recorded cells"),
    ],
)
def test_a_choice_without_cells_is_an_error(output, cells, error, message):
    with pytest.raises(error, match=message):
        output.select_cells(cells)


def test_cells_of_no_recording_cannot_be_chosen():
    with pytest.raises(CellNotFoundError, match="no reports or spikes whose cells could be chosen"):
        SimulationOutput().select_cells("L5")
    with pytest.raises(CellNotFoundError, match="no recorded cell is one of no ids"):
        _output().select_cells([])


def test_some_cells_are_converted_and_exported(tmp_path):
    convert(_output(), tmp_path / "run.nwb", metadata=SESSION)

    converted = convert(tmp_path / "run.nwb", tmp_path / "some.nwb", cells={"layer": 5})
    exported = export_sonata(tmp_path / "run.nwb", tmp_path / "sonata", cells="L5")

    assert "potentials are of all cells: ecp" in converted.notes
    assert "potentials are of all cells: ecp" in exported.left_out
    for path in (tmp_path / "some.nwb", tmp_path / "sonata"):
        with open_output(path) as output:
            assert output["v"].compartments.cell_ids[:].tolist() == [3, 4]
            assert output["v"].get_traces().shape == (4, 4)
            assert output.spikes[0].times.tolist() == pytest.approx([1e-3, 3e-3])


def test_commands_take_a_choice_of_cells(tmp_path):
    path = str(tmp_path / "run.nwb")
    convert(_output(), path, metadata=SESSION)

    facts = json.loads(run("info", path, "--cells", "layer=5,x>30", "--json").stdout)
    assert facts["populations"][0]["recorded_cells"] == 1
    target = str(tmp_path / "sonata")
    assert run("export", path, target, "--cells", 'pop_name="a, b"').returncode == 0
    with open_output(target) as output:
        assert output["v"].compartments.cell_ids[:].tolist() == [7]
    found = run("info", path, "--cells", "layre=5")
    assert found.returncode
    assert "has no property 'layre'; expected one of: layer, ei, x, pop_name" in found.stderr
    found = run("info", path, "--cells", "layer=")
    assert "'layer=' in 'layer=' is not a condition such as layer=5 or x>=0" in found.stderr
    found = run("export", path, str(tmp_path / "state.npz"), "--cells", "3")
    assert "--cells applies to SONATA files" in found.stderr
