"""Circuits and properties of cells round-trip through NWB files."""

import json
import warnings
from dataclasses import replace
from datetime import datetime, timezone

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, validate

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SimulationOutputError, SourceError
from ndx_simulation_output.info import describe, facts_of
from ndx_simulation_output.nwb import reader, writer
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.circuit import without_enum_warning
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    ConnectionTable,
    PopulationSummary,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)
from tests.conftest import DATA
from tests.sonata.making import SESSION

CIRCUITS = DATA / "circuits"
PROPERTIES = {
    "x": np.array([1.5, np.nan, 3.0, 4.0], np.float32),
    "layer": np.array([5, 2, 4, 4], np.int16),
    "mtype": Categories(np.array([1, 9, 0, 2], np.uint8), ("PV", "", "SST"), missing=9),
    "ei": Categories(np.array([1, 1, 0, 0]), ("i", "e")),
    "note": np.array(["a", "", None, "NULL"], object),
    "other": np.array(["NA", "None", None, "é"], object),
    "half": np.arange(4, dtype=np.float16),
    "big": np.arange(4, dtype=">f4"),
    "is_big": np.array([True, False, True, True]),
    "e_rev": np.arange(8.0).reshape(4, 2),
    "label": np.array(["one", "two", "three", "four"], object),
    "@dynamics:holding_current": np.array([0.1, 0.2, 0.3, 0.4]),
    "mtype_elements": np.arange(4),
    "soma_x": np.arange(4, dtype=np.uint8),
    **{name: np.arange(4) for name in ("id", "name", "parent", "data", "a\\b", "a_b", "a/b")},
}
EXC = CellTable("exc", np.array([30, 10, 20, 7]), PROPERTIES, kind="biophysical")
INH = CellTable("inh", np.arange(2), {"layer": np.array(["L1", "L2"], object), "n": np.arange(2)})
NODE_SETS = {"deep": {"layer": {"$gte": 4}}, "both": ["deep", "none"], "none": {"node_id": []}}
CIRCUIT = Circuit(
    node_sets=NODE_SETS,
    summary=(
        PopulationSummary("exc", 4, "biophysical", ("x", "layer")),
        PopulationSummary("virt", 100, "virtual"),
    ),
    configuration='{"networks": {}}',
    provenance={"file": b"\x00", "pair": (1, 2)},
)


def report_of(cells: CellTable, ids) -> Report:
    chosen = cells.select(np.array(ids))
    table = CompartmentTable.from_counts(
        cells.population,
        np.array(ids),
        np.ones(len(ids), int),
        {"number": np.zeros(len(ids), int), "ei": np.arange(len(ids))},
        chosen.columns,
    )
    data = np.zeros((3, len(ids)), np.float32)
    times = RegularTimes(0.0, 1000.0, 3)
    return Report("v", "v", data, times, table, Unit("volts", 1e-3))


def spikes_of(cells: CellTable, ids) -> Spikes:
    return Spikes(cells.population, np.array(ids), np.arange(len(ids)) / 10, cells=cells)


OUTPUT = SimulationOutput(
    reports=(report_of(EXC, [20, 30, 7, 10]),),
    spikes=(spikes_of(EXC, [10, 20, 10, 5]), spikes_of(INH, [1, 0])),
    circuit=CIRCUIT,
)


@pytest.fixture
def write(tmp_path):
    def written(output=OUTPUT, name="run.nwb", metadata=SESSION):
        path = tmp_path / name
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            writer.write(output, path, metadata=read_metadata(metadata), overwrite=True)
        return path

    return written


def same(found, expected) -> None:
    """Assert that columns have equal values, types and names."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(found[name][:], np.asarray(values[:]), name)
        assert isinstance(found[name], Categories) == isinstance(values, Categories), name


def test_properties_round_trip_through_compartments_and_units(write):
    with reader.read(write()) as output:
        rows = EXC.rows_of([20, 30, 7, 10])
        table = output.reports[0].compartments
        same(
            table.cell_columns,
            {
                name: v[:][rows]
                if not isinstance(v, Categories)
                else replace(v, codes=v.codes[rows])
                for name, v in PROPERTIES.items()
            },
        )
        assert table.node_sets == NODE_SETS
        exc, inh = output.spikes
        assert exc.cells.ids[:].tolist() == [5, 10, 20]
        same(exc.cells.columns, EXC.select(np.array([5, 10, 20])).columns)
        assert (exc.cells.kind, exc.cells.node_sets) == ("biophysical", NODE_SETS)
        same(inh.cells.columns, INH.columns)
        assert output.circuit == CIRCUIT
        assert not [note for note in output.notes if "left out" in note]


def test_all_cells_of_a_circuit_round_trip(write):
    circuit = replace(CIRCUIT, populations=(EXC, INH))
    path = write(SimulationOutput(circuit=circuit))

    with reader.read(path) as output:
        assert [one.name for one in output.circuit.summary] == ["exc", "virt", "inh"]
        same(output.circuit["exc"].columns, EXC.columns)
        same(output.circuit["inh"].columns, INH.columns)
        assert output.circuit["exc"].ids[:].tolist() == EXC.ids.tolist()
        assert output.circuit["exc"].kind == "biophysical"
    assert validate(path=str(path)) == []


def test_a_file_is_written_from_a_file_without_change(write):
    circuit = replace(CIRCUIT, populations=(EXC, INH))
    with reader.read(write(replace(OUTPUT, circuit=circuit))) as first:
        again = write(first, "again.nwb")
        with reader.read(again) as second:
            for one, other in zip(first.spikes, second.spikes, strict=True):
                same(other.cells.columns, one.cells.columns)
            found, expected = (out.reports[0].compartments for out in (second, first))
            same(found.cell_columns, expected.cell_columns)
            same(second.circuit["exc"].columns, EXC.columns)
            assert second.circuit.summary == first.circuit.summary
            assert second.session["NWBFile"]["notes"] == first.session["NWBFile"]["notes"]


def test_pynwb_shows_text_and_numbers(write):
    path = write()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "EnumData is experimental")
        with NWBHDF5IO(path, "r") as io:
            nwbfile = io.read()
            (table,) = nwbfile.lab_meta_data["simulation"].compartments.values()
            frame, units = table.to_dataframe(), nwbfile.units.to_dataframe()
            notes, described = nwbfile.notes, table["@dynamics_holding_current"].description
    assert frame["node_ei"].tolist() == ["i", "e", "i", "e"]
    assert frame["mtype"].tolist() == ["PV", "", "SST", ""]
    assert frame["note"].tolist() == ["NONE", "a", "NULL", ""]
    assert frame["other"].tolist() == ["", "NA", "é", "None"]
    assert frame["node_label"].tolist() == ["three", "one", "four", "two"]
    assert units["layer"].tolist()[1:3] == [2, 4]
    assert units["layer_2"].tolist() == ["", "", "", "L1", "L2"]
    assert described == 'Property "@dynamics:holding_current" of each cell, in nanoamperes'
    assert "'label' is 'node_label', '@dynamics:holding_current'" in notes
    assert validate(path=str(path)) == []


def test_a_zarr_store_has_the_same_circuit(write):
    pytest.importorskip("hdmf_zarr")
    path = write(replace(OUTPUT, circuit=replace(CIRCUIT, populations=(EXC,))), "run.nwb.zarr")
    with reader.read(path) as output:
        same(output.spikes[0].cells.columns, EXC.columns)  # All cells, also silent ones.
        same(output.circuit["exc"].columns, EXC.columns)
        assert output.circuit.node_sets == NODE_SETS


EDGES = ConnectionTable(
    "exc_to_inh",
    "exc",
    "inh",
    np.array([7, 10, 30]),
    np.array([0, 1, 1]),
    {"syn_weight": np.array([1.0, 2.0, np.nan])},
)
WHOLE = replace(
    OUTPUT,
    spikes=(spikes_of(EXC, [10, 20, 10]), *OUTPUT.spikes[1:]),
    circuit=replace(CIRCUIT, populations=(EXC, INH), connections=(EDGES,)),
    run=Run(time_step=1e-4),
)
ARCHIVED = {
    **SESSION,
    "NWBFile": {
        **SESSION["NWBFile"],
        "experimenter": ["Modeller, A."],
        "experiment_description": "A simulation",
        "institution": "An institute",
        "keywords": ["simulation"],
    },
    "Subject": {"subject_id": "m", "species": "Mus musculus", "sex": "U", "age": "P56D"},
}


def replace_column(group, name, values) -> None:
    column = group[name]
    attributes = dict(column.attrs)
    del group[name]
    group.create_dataset(name, data=values).attrs.update(attributes)


def test_a_circuit_passes_all_checks(write):
    none = CellTable(
        "none", np.arange(0), {"x": np.zeros(0), "mtype": Categories(np.arange(0), ("a",))}
    )
    circuit = replace(WHOLE.circuit, populations=(EXC, INH, none))

    path = write(replace(WHOLE, circuit=circuit), metadata=ARCHIVED)

    found = {(one.rule, one.severity) for one in check_file(path)}
    assert found <= {("check_description", "note"), ("check_empty_table", "warning")}


def test_a_damaged_circuit_is_found(write):
    path = write(WHOLE)
    with h5py.File(path, "r+") as file:
        circuit = file["general/simulation/circuit"]
        replace_column(circuit["exc"], "mtype", np.array([0, 3, 1, 7], np.uint8))
        replace_column(circuit["exc"], "ei", np.array([0, 1, -1, 0], np.int8))
        replace_column(circuit["exc"], "id", [30, 10, 20, 8])
        replace_column(circuit["exc_to_inh"], "id", [0, 2])
        replace_column(circuit, "node_sets", "{")
        circuit["exc_to_inh/source"][1] = 11

    found = [one.message for one in check_file(path) if one.rule != "schema"]
    for message in (
        "Column 'mtype' has code 7, but only 4 texts.",
        "Column 'ei' has code -1, but only 2 texts.",
        "Cell 7 of table 'compartments' is not among the cells of population 'exc'.",
        "Pre-synaptic cell 7 is not among the cells of population 'exc'.",
        "Post-synaptic cell 2 is not among the cells of population 'inh'.",
        "The circuit cannot be read: general/simulation/circuit/node_sets is not JSON",
    ):
        assert any(one.startswith(message) for one in found), message


def test_columns_of_other_lengths_are_an_error_that_names_the_table(write):
    path = write(WHOLE)
    with h5py.File(path, "r+") as file:
        replace_column(file["general/simulation/circuit/exc"], "layer", np.arange(3))

    with pytest.raises(SourceError, match="circuit/exc: Could not construct CellPopulation"):
        check_file(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda circuit: replace_column(circuit, "provenance", "["), "provenance is not JSON"),
        (lambda circuit: replace_column(circuit, "provenance", "[1]"), "provenance is damaged"),
        (
            lambda circuit: replace_column(circuit, "population_kind", [""]),
            "1 kinds of populations",
        ),
        (lambda circuit: circuit.pop("population_size"), "3 names, 0 sizes and 3 kinds"),
        (
            lambda circuit: replace_column(circuit["exc"], "ei", np.zeros(4)),
            "column 'ei' of table 'exc' has codes of type float64",
        ),
    ],
)
def test_a_damaged_circuit_is_a_clear_error(write, change, message):
    path = write(WHOLE)
    with h5py.File(path, "r+") as file:
        change(file["general/simulation/circuit"])

    with pytest.raises(SimulationOutputError, match=message):
        reader.read(path)


def test_info_tells_of_the_circuit(write):
    with reader.read(write(WHOLE)) as output:
        facts, text = facts_of(output)["circuit"], "\n".join(describe(output))

    assert [(one["name"], one["cells"], one["recorded_cells"]) for one in facts["populations"]] == [
        ("exc", 4, 4),
        ("virt", 100, None),
        ("inh", 2, None),
    ]
    assert facts["populations"][2]["properties"] == ["layer", "n"]
    assert "circuit: all cells of exc, inh are stored" in text
    assert "population exc, biophysical: 4 cells, 4 recorded; x, layer, mtype, ei" in text
    assert "connections exc_to_inh: exc to inh, 3 connections, syn_weight" in text
    assert "node sets: deep, both, none" in text


def test_columns_of_units_of_other_programs_are_properties(tmp_path):
    nwbfile = NWBFile("a", "b", datetime(2026, 1, 1, tzinfo=timezone.utc))
    device = nwbfile.create_device("probe")
    group = nwbfile.create_electrode_group("shank", "a shank", "CA1", device)
    nwbfile.add_electrode(location="CA1", group=group)
    nwbfile.add_unit_column("quality", "How well it is isolated")
    nwbfile.add_unit_column("depth", "In micrometers")
    nwbfile.add_unit_column("spans", "First and last", index=True)
    with without_enum_warning():
        nwbfile.add_unit_column("kind", "Kind of cell", enum=["PV", "SST"])
    for number in range(3):
        nwbfile.add_unit(
            spike_times=[0.1 * number],
            electrodes=[0],
            electrode_group=group,
            quality=["good", "", "mua"][number],
            depth=10.0 * number,
            spans=[0, number],
            kind="SST",
        )
    with NWBHDF5IO(tmp_path / "other.nwb", "w") as io:
        io.write(nwbfile)

    with reader.read(tmp_path / "other.nwb") as output:
        cells = output.spikes[0].cells
        assert {name: values[:].tolist() for name, values in cells.columns.items()} == {
            "quality": ["good", "", "mua"],
            "depth": [0.0, 10.0, 20.0],
            "kind": ["SST"] * 3,
        }
        lost = [note for note in output.notes if "column" in note]
        assert lost == [
            f"left out: column {name!r} of the units"
            for name in ("electrode_group", "electrodes", "spans")
        ]


def test_types_of_circuits_are_shown_in_notebooks(write):
    path = write(WHOLE)
    with without_enum_warning(), NWBHDF5IO(path, "r") as io:
        circuit = io.read().lab_meta_data["simulation"].circuit
        html = circuit._repr_html_()
        assert "biophysical" in html
        assert "L2" in circuit.cell_populations["inh"]._repr_html_()
        assert "exc_to_inh" in html


@pytest.mark.skipif(not CIRCUITS.is_dir(), reason="the genuine circuits are not there")
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.SimulationOutputWarning")
def test_pynwb_reads_the_expected_values_of_circuits(write):
    tricky, checked = CIRCUITS / "tricky", 0
    expected = json.loads((tricky / "EXPECTED.json").read_text(encoding="utf-8"))
    for config in sorted(tricky.rglob("circuit_config*.json")):
        nodes = expected[config.relative_to(tricky).parts[0]].get("nodes") or {}
        nodes = {name: cells for name, cells in nodes.items() if isinstance(cells, dict)}
        with open_output(config) as output:
            circuit = replace(
                output.circuit, populations=tuple(map(output.circuit.__getitem__, nodes))
            )
            path = write(SimulationOutput(circuit=circuit))
        with without_enum_warning(), NWBHDF5IO(path, "r") as io:
            tables = io.read().lab_meta_data["simulation"].circuit.cell_populations or {}
            frames = {name: table.to_dataframe() for name, table in tables.items()}
        for population, cells in nodes.items():
            frame = frames[population]
            assert frame.index.tolist() == [int(cell) for cell in cells]
            for (_, row), properties in zip(frame.iterrows(), cells.values(), strict=True):
                for name, value in properties.items():
                    found = row[name if name in row else f"@dynamics_{name}"]
                    if value is None:
                        assert found == "" or np.isnan(found)
                    else:
                        assert found == pytest.approx(value)
                    checked += 1
    assert checked > 100
