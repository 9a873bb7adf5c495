"""Files that 0.3.0 made of SONATA hold what the SONATA files held, however they are stored."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, CompartmentSeries, export_sonata, open_output
from tests.compatibility.inputs import ALLEN, BBP, ELECTRODES, RANKS, SONATA, write_sonata
from tests.compatibility.packing import unpack

ALLEN_FILES = ["sonata_allen.nwb", "sonata_gzip.nwb", "sonata.nwb.zarr"]
BBP_FILES = ["sonata_bbp.nwb", "sonata_contiguous.nwb", "sonata_linked.nwb"]
REPORTS = {"soma_A": "soma.h5", "soma_B": "soma.h5", "current": "current.h5"}


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    """The golden files, and the source to which one of them refers."""
    directory = unpack("sonata", tmp_path_factory.mktemp("sonata"))
    write_sonata(BBP, directory / "bbp")
    return directory


def opened(golden: Path, name: str):
    if name.endswith(".zarr"):
        pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    return open_output(golden / name)


def population_of(name: str) -> str:
    return "B" if name == "soma_B" else "A"


@pytest.mark.parametrize("name", ALLEN_FILES)
def test_reports_of_bmtk_read(golden, name):
    voltages = ALLEN["v.h5"]["report/cortex/data"]
    calcium = ALLEN["cai.h5"]["report/cortex/data"]
    with opened(golden, name) as output:
        assert [report.name for report in output.reports] == ["v", "cai"]
        v, cai = output["v"], output["cai"]
        traces = v.select(cells=[42, 3], start=0.0003, stop=0.0006)

        # In volts and in moles per cubic metre, which are millimolar.
        np.testing.assert_array_equal(v.get_traces(), voltages * 1e-3)
        np.testing.assert_array_equal(v.data[:, :], voltages)
        np.testing.assert_array_equal(cai.get_traces(), calcium)
        assert (v.unit.name, cai.unit.name) == ("volts", "moles per cubic meter")
        np.testing.assert_array_equal(traces.values, voltages[3:6, [5, 6, 7, 8, 4]] * 1e-3)
        assert traces.cells.tolist() == [42, 42, 42, 42, 3]
        np.testing.assert_allclose(traces.times, [0.0003, 0.0004, 0.0005], rtol=1e-12)
        np.testing.assert_array_equal(v.get_traces(cells=7, numbers=1), voltages[:, [1, 2]] * 1e-3)
        assert v.population == "cortex"
        np.testing.assert_allclose(cai.times.seconds(), np.arange(6) * 2e-4, rtol=1e-12)


@pytest.mark.parametrize("name", ALLEN_FILES)
def test_compartments_of_bmtk_read(golden, name):
    mapping = "report/cortex/mapping"
    with opened(golden, name) as output:
        table = output["v"].compartments

        assert table.population == "cortex"
        assert np.asarray(table.cell_ids[:]).tolist() == [7, 3, 42]
        assert np.asarray(table.ends[:]).tolist() == [4, 5, 9]
        for column, source in (
            ("number", "element_ids"),
            ("position", "element_pos"),
            ("swc_ids_beg", "swc_ids_beg"),
        ):
            expected = ALLEN["v.h5"][f"{mapping}/{source}"]
            np.testing.assert_array_equal(table.columns[column][:], expected)


@pytest.mark.parametrize("name", [*ALLEN_FILES, "sonata_quantized.nwb"])
def test_spikes_potentials_and_run_of_bmtk_read(golden, name):
    with opened(golden, name) as output:
        (spikes,), (potential,) = output.spikes, output.potentials

        assert spikes.population == "cortex"
        assert spikes.node_ids.tolist() == [7, 42, 3, 7, 42]
        np.testing.assert_allclose(spikes.times * 1e3, [0.125, 0.25, 0.25, 0.75, 1.125], rtol=1e-12)
        np.testing.assert_array_equal(potential.data[:, :], ALLEN["ecp.h5"]["ecp/data"])
        assert (potential.unit.name, potential.unit.conversion) == ("volts", 1e-3)
        assert np.asarray(potential.channel_ids).tolist() == [0, 1, 5]
        np.testing.assert_array_equal(
            potential.electrodes.positions, np.transpose(list(ELECTRODES.values()))
        )
        run = output.run
        assert (run.simulator, run.simulator_version, run.seed) == ("NEURON", "9.0", 42)
        assert (run.time_step, run.duration, run.temperature) == (1e-4, 0.0012, 34.0)


def test_rounded_values_are_as_close_as_was_asked_for(golden):
    voltages = ALLEN["v.h5"]["report/cortex/data"] * 1e-3
    with open_output(golden / "sonata_quantized.nwb") as output:
        found = output["v"].get_traces()

        assert output["v"].data.dtype == np.int16
        np.testing.assert_allclose(found, voltages, rtol=0, atol=0.5001e-5)
        np.testing.assert_array_equal(found, np.rint(voltages / 1e-5) * 1e-5)


@pytest.mark.parametrize("name", BBP_FILES)
def test_reports_of_neurodamus_read(golden, name):
    with opened(golden, name) as output:
        assert sorted(report.name for report in output.reports) == sorted(REPORTS)
        for report, file in REPORTS.items():
            where = f"report/{population_of(report)}"
            found, source = output[report], BBP[file]
            assert found.population == population_of(report)
            assert found.data.dtype == np.float32
            np.testing.assert_array_equal(found.data[:, :], source[f"{where}/data"])
            ids = source[f"{where}/mapping/node_ids"]
            np.testing.assert_array_equal(found.compartments.cell_ids[:], ids)
            start, _, step = source[f"{where}/mapping/time"]
            times = (start + step * np.arange(len(found.data[:, :]))) / 1e3
            np.testing.assert_allclose(found.times.seconds(), times, rtol=1e-12)
        units = {one.name: (one.unit.name, one.unit.conversion) for one in output.reports}
        assert units["soma_A"] == units["soma_B"] == ("volts", 1e-3)
        assert units["current"] == ("amperes", 1e-9)
        expected = BBP["soma.h5"]["report/A/data"][:, [2, 0]] * np.float32(1e-3)
        np.testing.assert_array_equal(output["soma_A"].get_traces(cells=[9, 5]), expected)


@pytest.mark.parametrize("name", BBP_FILES)
def test_spikes_of_neurodamus_read(golden, name):
    with opened(golden, name) as output:
        spikes = {one.population: one for one in output.spikes}

        assert set(spikes) == {"A", "B"}
        for population, one in spikes.items():
            where = f"spikes/{population}"
            ids, times = BBP["out.h5"][f"{where}/node_ids"], BBP["out.h5"][f"{where}/timestamps"]
            np.testing.assert_array_equal(one.node_ids, ids)
            np.testing.assert_allclose(one.times * 1e3, times, rtol=1e-12)


def test_the_file_of_two_ranks_has_the_cells_of_both(golden):
    values = [rank["v.h5"]["report/exc/data"] for rank in RANKS]
    with open_output(golden / "sonata_merged.nwb") as output:
        v, (spikes,) = output["v"], output.spikes

        np.testing.assert_array_equal(v.data[:, :], np.hstack(values))
        assert np.asarray(v.compartments.cell_ids[:]).tolist() == [4, 1, 8, 2, 3]
        assert v.compartments.counts().tolist() == [2, 2, 3, 3, 1]
        np.testing.assert_array_equal(
            v.get_traces(cells=[8, 4]),
            np.hstack([values[1][:, :3], values[0][:, :2]]) * np.float32(1e-3),
        )
        assert sorted(zip(spikes.times.round(9), spikes.node_ids, strict=True)) == [
            (0.00025, 4),
            (0.00025, 8),
            (0.0005, 1),
            (0.0005, 3),
        ]


@pytest.mark.parametrize("name", ["sonata_allen.nwb", "sonata_gzip.nwb"])
def test_pynwb_alone_reads_reports_of_bmtk(golden, name):
    voltages = ALLEN["v.h5"]["report/cortex/data"]
    with NWBHDF5IO(str(golden / name), "r") as io:
        nwbfile = io.read()
        series, run = nwbfile.acquisition["v"], nwbfile.lab_meta_data["simulation"]
        table, units = series.compartments, nwbfile.units.to_dataframe()

        assert (type(series), type(table)) == (CompartmentSeries, Compartments)
        np.testing.assert_array_equal(series.data[:], voltages)
        np.testing.assert_array_equal(series.get_traces(42), voltages[:, 5:] * 1e-3)
        assert (series.unit, series.conversion, series.rate) == ("volts", 1e-3, 10000.0)
        assert table.id[:].tolist() == [7, 3, 42]
        assert [list(row) for row in table["number"][:]] == [[0, 1, 1, 2], [0], [0, 3, 3, 9]]
        assert run.compartments["compartments"] is table
        assert (run.simulator, run.seed, run.temperature) == ("NEURON", 42, 34.0)
        assert units["node_id"].tolist() == [3, 7, 42]
        np.testing.assert_allclose(units["spike_times"].iloc[1], [0.000125, 0.00075], rtol=1e-12)
        assert nwbfile.electrodes["channel"][:].tolist() == [0, 1, 5]
        assert nwbfile.subject.species == "Mus musculus"
        assert list(nwbfile.keywords) == ["golden", "µ"]


@pytest.mark.parametrize(
    ("name", "chunks", "compression"),
    [
        ("sonata_gzip.nwb", (5, 4), "gzip"),
        ("sonata_contiguous.nwb", None, None),
        ("sonata_allen.nwb", (12, 9), None),
    ],
)
def test_a_golden_file_is_stored_as_its_name_says(golden, name, chunks, compression):
    with h5py.File(golden / name) as file:
        acquired = file["acquisition"]
        data = acquired["v" if "v" in acquired else "soma_A"]["data"]

        assert (data.chunks, data.compression) == (chunks, compression)


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_exported_files_have_what_the_source_had(golden, dialect):
    for name, nodes in SONATA[dialect].items():
        with h5py.File(golden / f"exported_{dialect}" / name) as file:
            for path, value in nodes.items():
                where, _, attribute = path.partition("@")
                found = file[where].attrs[attribute] if attribute else file[where][()]
                expected = value[0] if isinstance(value, tuple) else value
                assert np.array_equal(found, expected), path
                assert attribute or found.dtype == expected.dtype, path


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_exported_files_read(golden, dialect):
    with open_output(golden / f"exported_{dialect}") as output:
        found = {report.name: report.data[:, :] for report in output.reports}
        populations = {spikes.population: spikes.node_ids for spikes in output.spikes}

    if dialect == "allen":
        expected = {name: ALLEN[f"{name}.h5"]["report/cortex/data"] for name in ("v", "cai")}
        assert populations["cortex"].tolist() == [7, 42, 3, 7, 42]
    else:
        expected = {
            name: BBP[file][f"report/{population_of(name)}/data"] for name, file in REPORTS.items()
        }
        assert populations["B"].tolist() == [0, 1]
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_files_in_the_other_dialect_read(golden):
    with open_output(golden / "exported_allen_as_bbp" / "v.h5") as output:
        (report,) = output.reports

        assert report.data.dtype == np.float32
        np.testing.assert_array_equal(report.data[:, :], ALLEN["v.h5"]["report/cortex/data"])
        assert np.asarray(report.compartments.cell_ids[:]).tolist() == [7, 3, 42]


@pytest.mark.parametrize(
    ("name", "directory", "options"),
    [
        ("sonata_allen.nwb", "exported_allen", {}),
        ("sonata_gzip.nwb", "exported_allen", {}),
        ("sonata_bbp.nwb", "exported_bbp", {}),
        ("sonata_linked.nwb", "exported_bbp", {}),
        ("sonata_allen.nwb", "exported_allen_as_bbp", {"dialect": "bbp", "dtype": "float32"}),
    ],
)
def test_a_golden_file_is_exported_as_0_3_0_did(golden, tmp_path, name, directory, options):
    export_sonata(golden / name, tmp_path / "out", **options)

    expected = contents(golden / directory)
    found = contents(tmp_path / "out")
    if "dialect" in options:  # Version 0.3.0 left out the unit of times, which libsonata needs.
        units = [path for path in found if path.endswith("mapping/time@units")]
        expected |= {path: described("ms") for path in units}
    assert found.keys() == expected.keys()
    assert [path for path in expected if found[path] != expected[path]] == []


def contents(directory: Path) -> dict[str, object]:
    """Every dataset and attribute of the HDF5 files of a directory, and the text of the others."""
    found: dict[str, object] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix != ".h5":
            found[path.name] = path.read_text(encoding="utf-8")
            continue
        with h5py.File(path) as file:
            nodes = {"/": file}
            file.visititems(nodes.__setitem__)
            for name, node in nodes.items():
                value = node[()] if isinstance(node, h5py.Dataset) else None
                found[f"{path.name}/{name}"] = described(value)
                for key, attribute in node.attrs.items():
                    found[f"{path.name}/{name}@{key}"] = described(attribute)
    return found


def described(value: object) -> tuple[str, object]:
    array = np.asarray(value)
    return str(array.dtype), array.tolist()
