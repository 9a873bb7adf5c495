"""Files of every released version read as they were meant; ``write_golden.py`` says whose."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from click.testing import CliRunner
from hdmf.build.errors import ConstructError
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import Compartments, CompartmentSeries, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb.reader import _extract_specification, read_old_namespace
from ndx_simulation_output.nwb.types import NAMESPACE

GOLDEN = Path(__file__).parent / "golden"
OF_026 = ["p026_pynwb112_acq", "p026_pynwb112_lab", "p026_pynwb200_acq", "p026_pynwb200_lab"]
OF_030 = ["v030_acq", "v030_lab", "v030_two_tables"]
OLD_NAMESPACE = GOLDEN / "simout020_pynwb101.nwb"

newer_than_cached = pytest.mark.filterwarnings(
    r"ignore:Ignoring the following cached namespace\(s\) because another version is already "
    r"loaded.\sndx-simulation-output - cached version. 0.2.6, loaded version. 0.3.0:UserWarning"
)


@contextmanager
def reading(path: Path) -> Iterator[NWBFile]:
    with NWBHDF5IO(str(path), "r") as io:
        yield io.read()


def table_of(nwbfile: NWBFile) -> Compartments:
    if "compartments" in nwbfile.acquisition:
        return nwbfile.acquisition["compartments"]
    return nwbfile.lab_meta_data["simulation"].compartments["compartments"]


def stored_voltages(name: str) -> np.ndarray:
    with h5py.File(GOLDEN / f"{name}.nwb", "r") as file:
        return file["acquisition/membrane_potential/data"][:]


def complaints(path: Path) -> set[tuple[str, str]]:
    return {(error.name.split("/")[-1], error.reason) for error in pynwb.validate(path=str(path))}


def expected_complaints(name: str) -> set[tuple[str, str]]:
    """What validation says of a 0.2.6 file that was written again.

    Files of pynwb 1.1.2 have 64-bit indices without a description, as hdmf-common 1.0 had them.
    hdmf copies them as they are under its present schema, without this package too.
    """
    if "pynwb112" not in name:
        return set()
    wrong_type = "incorrect type - expected 'uint8', got 'int64'"
    indices = {(f"{column}_index", wrong_type) for column in ("number", "position")}
    return {*indices, ("VectorIndex", wrong_type), ("description", "argument missing")}


@pytest.mark.parametrize("name", OF_026)
def test_a_file_of_0_2_6_warns_only_of_its_cached_namespace(name):
    with (
        pytest.warns(UserWarning, match="cached version: 0.2.6, loaded version: 0.3.0") as caught,
        reading(GOLDEN / f"{name}.nwb"),
    ):
        pass

    assert len(caught) == 1


@newer_than_cached
@pytest.mark.parametrize("name", OF_026)
def test_the_table_of_a_file_of_0_2_6_reads(name):
    with reading(GOLDEN / f"{name}.nwb") as nwbfile:
        table = table_of(nwbfile)

        assert type(table) is Compartments
        assert table.population is None
        assert list(table.id[:]) == [0, 1]
        assert [list(number) for number in table["number"][:]] == [[0, 1, 2, 3, 4], [0]]
        np.testing.assert_array_equal(table["position"][0], [0.1, 0.2, 0.3, 0.4, 0.5])
        assert np.isnan(table["position"][1]).tolist() == [True]


@newer_than_cached
@pytest.mark.parametrize("name", OF_026)
def test_the_series_of_a_file_of_0_2_6_reads(name):
    expected = stored_voltages(name)

    with reading(GOLDEN / f"{name}.nwb") as nwbfile:
        series = nwbfile.acquisition["membrane_potential"]
        frame = series.to_dataframe(0, numbers=[4, 2], start=0.02, stop=0.05)

        assert type(series) is CompartmentSeries
        assert series.compartments is table_of(nwbfile)
        assert (series.unit, series.rate, series.starting_time) == ("V", 100.0, 0.0)
        np.testing.assert_array_equal(series.get_traces(), expected)
        np.testing.assert_array_equal(series.get_traces(1), expected[:, 5:])
        np.testing.assert_array_equal(frame.to_numpy(), expected[2:5, [4, 2]])


@newer_than_cached
@pytest.mark.parametrize("name", OF_026)
def test_a_file_of_0_2_6_is_described(name):
    with open_output(GOLDEN / f"{name}.nwb") as output:
        report = output["membrane_potential"]

        assert report.data.shape == (10, 6)
        assert list(report.compartments.cell_ids[:]) == [0, 1]


@pytest.mark.parametrize("name", [*OF_026, *OF_030, OLD_NAMESPACE.stem])
def test_every_golden_file_validates(name):
    errors = pynwb.validate(path=str(GOLDEN / f"{name}.nwb"))

    assert errors == []


@newer_than_cached
@pytest.mark.parametrize("name", OF_026)
def test_a_file_of_0_2_6_exports(name, tmp_path):
    target = tmp_path / "exported.nwb"

    with NWBHDF5IO(str(GOLDEN / f"{name}.nwb"), "r") as source, NWBHDF5IO(str(target), "w") as io:
        io.export(src_io=source, nwbfile=source.read())

    with reading(target) as nwbfile:
        series = nwbfile.acquisition["membrane_potential"]
        np.testing.assert_array_equal(series.get_traces(), stored_voltages(name))
    assert complaints(target) == expected_complaints(name)


@newer_than_cached
@pytest.mark.parametrize("name", OF_026)
def test_a_file_of_0_2_6_can_be_appended_to(name, tmp_path):
    target = tmp_path / "appended.nwb"
    target.write_bytes((GOLDEN / f"{name}.nwb").read_bytes())

    with NWBHDF5IO(str(target), "a") as io:
        nwbfile = io.read()
        more = CompartmentSeries(
            "more", np.zeros((3, 6)), compartments=table_of(nwbfile), unit="volts", rate=1.0
        )
        nwbfile.add_acquisition(more)
        io.write(nwbfile)

    with reading(target) as nwbfile:
        assert nwbfile.acquisition["more"].get_traces(1).shape == (3, 1)
    assert complaints(target) == expected_complaints(name)


@pytest.mark.parametrize("name", ["v030_acq", "v030_lab"])
def test_the_table_of_a_file_of_0_3_0_reads(name):
    with reading(GOLDEN / f"{name}.nwb") as nwbfile:
        table = table_of(nwbfile)

        assert table.population == "cortex"
        assert list(table.id[:]) == [12, 4, 7]
        assert [list(number) for number in table["number"][:]] == [[0, 1, 2], [], [0, 5]]
        assert [list(label) for label in table["label"][:]] == [
            ["soma", "dendrite µ", "axon"],
            [],
            ["soma", "apical"],
        ]
        np.testing.assert_array_equal(table["position"][2], [0.5, np.nan])
        coordinates = [table[axis][0].tolist() for axis in ("x", "y", "z", "diameter")]
        assert coordinates == [[0, 10, 20], [1, 11, 21], [2, 12, 22], [20, 2, 1]]
        assert table["excitability"][2].tolist() == [4, 5]
        assert list(table["cell_type"][:]) == ["pyramidal", "basket", "pyramidal"]


@pytest.mark.parametrize("name", ["v030_acq", "v030_lab"])
def test_the_series_of_a_file_of_0_3_0_reads(name):
    with reading(GOLDEN / f"{name}.nwb") as nwbfile:
        series = nwbfile.acquisition["v"]
        traces = series.select([7, 12], labels="soma", start=0.5001)

        assert series.data.dtype == np.float32
        assert traces.cells.tolist() == [7, 12]
        assert traces.unit == "volts"
        np.testing.assert_allclose(traces.times, [0.5001, 0.5002, 0.5003])
        expected = np.array([[-62, -65], [-57, -60], [-52, -55]]) * 1e-3
        np.testing.assert_allclose(traces.values, expected, rtol=1e-6)


def test_the_run_of_a_file_of_0_3_0_reads():
    with reading(GOLDEN / "v030_lab.nwb") as nwbfile:
        run = nwbfile.lab_meta_data["simulation"]

        assert (run.simulator, run.simulator_version, run.seed) == ("NEURON", "8.2", 42)
        assert (run.time_step, run.duration, run.temperature) == (2.5e-5, 0.0004, 34.0)
        assert run.configuration == '{"run": {"dt": 0.025}}'
        assert run.provenance == "{}"


def test_two_tables_of_a_file_of_0_3_0_read():
    with reading(GOLDEN / "v030_two_tables.nwb") as nwbfile:
        tables = nwbfile.lab_meta_data["simulation"].compartments

        assert {name: table.population for name, table in tables.items()} == {
            "compartments": "left",
            "others": "right",
        }
        for population in ("left", "right"):
            series = nwbfile.acquisition[f"v_{population}"]
            assert series.compartments.population == population
            np.testing.assert_allclose(series.get_traces(1, stop=0.5001), [[-0.069]], rtol=1e-6)


def test_a_file_of_the_older_namespace_is_not_read_in_silence():
    with (
        NWBHDF5IO(str(OLD_NAMESPACE), "r") as io,
        pytest.raises(ConstructError, match="incorrect type for 'compartments'"),
    ):
        io.read()


def namespaces_in(path):
    """Return the cached namespaces of a file and those of its objects."""
    found = set()
    with h5py.File(path, "r") as file:
        cached = set(file["specifications"])
        file.visititems(lambda _, item: found.add(item.attrs.get("namespace")))
    return cached, found - {None}


@newer_than_cached
@pytest.mark.parametrize("name", ["simout020_pynwb101", "p026_pynwb112_acq", "p026_pynwb112_lab"])
def test_what_is_converted_from_an_old_file_has_our_namespace_alone_and_can_be_extended(
    name, tmp_path
):
    target = tmp_path / "new.nwb"

    convert(GOLDEN / f"{name}.nwb", target)

    core = {"core", "hdmf-common", "hdmf-experimental"}
    cached, used = namespaces_in(target)
    assert cached == core | {NAMESPACE}
    assert used <= cached
    with NWBHDF5IO(target, "a") as io:
        nwbfile = io.read()
        (series,) = nwbfile.acquisition.values()
        np.testing.assert_array_equal(series.data[:], stored_voltages(name))
        nwbfile.add_acquisition(
            CompartmentSeries(
                "more", series.data[:2], "volts", rate=10.0, compartments=series.compartments
            )
        )
        io.write(nwbfile)
    assert pynwb.validate(path=target) == []


@pytest.mark.parametrize("command", ["info", "check"])
def test_commands_read_files_of_the_older_namespace(command):
    done = CliRunner().invoke(main, [command, str(OLD_NAMESPACE)])

    assert "simulation_output" not in done.output
    assert not isinstance(done.exception, Exception), done.output
    assert "membrane_potential" in done.output


READ_OLD_NAMESPACE = """
import json, sys
from ndx_simulation_output import CompartmentSeries, open_output
from ndx_simulation_output.nwb.reader import read_old_namespace
from pynwb import NWBHDF5IO

read_old_namespace(sys.argv[1])
with NWBHDF5IO(sys.argv[1], "r") as io:
    series = io.read().acquisition["membrane_potential"]
    assert isinstance(series, CompartmentSeries), type(series)
    traces = series.get_traces(0, numbers=[4, 2], stop=0.02).tolist()
with open_output(sys.argv[1]) as output:
    assert output["membrane_potential"].data.shape == (10, 6)
with NWBHDF5IO(sys.argv[2], "r") as io:
    series = io.read().acquisition["v"]
    assert type(series) is CompartmentSeries
    traces += series.get_traces(7, numbers=0, stop=0.5001).tolist()
print(json.dumps(traces))
"""


def test_files_of_the_older_namespace_are_read_on_request_beside_the_present_ones():
    # In a process of its own: the request lasts.
    files = [str(OLD_NAMESPACE), str(GOLDEN / "v030_acq.nwb")]
    command = [sys.executable, "-c", READ_OLD_NAMESPACE, *files]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    *of_2018, of_now = json.loads(done.stdout)
    assert of_2018 == stored_voltages(OLD_NAMESPACE.stem)[:2, [4, 2]].tolist()
    np.testing.assert_allclose(of_now, [-0.067], rtol=1e-6)


@pytest.mark.parametrize("name", ["../out", "..\\out", "/out", "C:\\out", "C:out", "con"])
def test_a_specification_in_a_file_names_no_other_file(name, tmp_path):
    copy = tmp_path / "of_2018.nwb"
    shutil.copyfile(OLD_NAMESPACE, copy)
    (tmp_path / "inner").mkdir()
    with h5py.File(copy, "r+") as file:
        (version,) = file["specifications/simulation_output"].values()
        namespace = json.loads(version["namespace"][()])
        (source,) = [one for one in namespace["namespaces"][0]["schema"] if "source" in one]
        if "/" not in name:  # No name in HDF5 has one.
            version[name] = version[source["source"]]
        source["source"] = name
        del version["namespace"]
        version["namespace"] = json.dumps(namespace)

    if "/" in name:
        with pytest.raises(SourceError, match="does not define"):
            _extract_specification(copy, tmp_path / "inner")
        return
    found = _extract_specification(copy, tmp_path / "inner")
    (source,) = [
        one["source"]
        for one in json.loads(found.read_text())["namespaces"][0]["schema"]
        if "source" in one
    ]
    assert (found.parent / source).is_file()
    assert not set(source) & set('<>:"/\\|?*')
    assert sorted(tmp_path.iterdir()) == [tmp_path / "inner", copy]


def test_a_file_without_the_older_namespace_is_no_definition_of_it():
    with pytest.raises(SourceError, match=r"v030_acq.nwb does not define .* simulation_output"):
        read_old_namespace(GOLDEN / "v030_acq.nwb")
