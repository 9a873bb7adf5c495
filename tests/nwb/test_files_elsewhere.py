"""Other tools read files of this package, with and without it installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pynwb
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, CompartmentSeries, SimulationMetaData

WITHOUT_US = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ndx_simulation_output", "nwbext_simulation_output"}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
from pynwb import NWBHDF5IO

with NWBHDF5IO(sys.argv[1], "r") as io:
    series = io.read().acquisition["v"]
    table = series.compartments
    print(json.dumps({
        "type": type(series).__name__,
        "data": series.data[:].tolist(),
        "conversion": series.conversion,
        "unit": series.unit,
        "ids": table.id[:].tolist(),
        "population": table.population,
        "number": [row.tolist() for row in table["number"][:]],
        "label": [list(row) for row in table["label"][:]],
        "kind": list(table["kind"][:]),
    }))
assert not [name for name in sys.modules if name.startswith("ndx_")]
"""
VALUES = np.arange(30.0).reshape(10, 3)


@pytest.fixture(params=["acquisition", "metadata"])
def path(request, write_nwb) -> Path:
    return write_small(write_nwb, request.param, VALUES)


def write_small(write_nwb, place: str, values: np.ndarray) -> Path:
    table = Compartments.from_arrays(
        number=[0, 1, 0],
        counts=[2, 1],
        id=[7, 3],
        label=["soma", "dend µ", "soma"],
        position=[0.5, 0.25, np.nan],
        cell_columns={"kind": ["pyramidal", "basket"]},
        population="cortex",
        description="Two cells of the model",
    )
    series = CompartmentSeries(
        "v",
        values,
        compartments=table,
        unit="volts",
        conversion=1e-3,
        rate=1000.0,
        description="Membrane potential of the model",
    )
    if place == "acquisition":
        return write_nwb(table, series)
    return write_nwb(series, metadata=SimulationMetaData(compartments=table))


def test_pynwb_alone_reads_our_files(path):
    command = [sys.executable, "-c", WITHOUT_US, str(path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "type": "CompartmentSeries",
        "data": VALUES.tolist(),
        "conversion": 1e-3,
        "unit": "volts",
        "ids": [7, 3],
        "population": "cortex",
        "number": [[0, 1], [0]],
        "label": [["soma", "dend µ"], ["soma"]],
        "kind": ["pyramidal", "basket"],
    }


def test_files_are_valid_for_pynwb(path):
    assert pynwb.validate(path=str(path)) == []


@pytest.mark.filterwarnings("default")
def test_pynapple_reads_our_files(path):
    pynapple = pytest.importorskip("pynapple", reason="pynapple is not installed")

    data = pynapple.load_file(str(path))
    frame = data["v"]
    values, times = np.array(frame.values), np.array(frame.t)
    data.close()

    assert isinstance(frame, pynapple.TsdFrame)
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_allclose(times, np.arange(10) / 1000)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("use_pynwb", [True, False], ids=["pynwb", "h5py"])
def test_spikeinterface_reads_our_files(path, use_pynwb):
    reason = "spikeinterface is not installed"
    extractors = pytest.importorskip("spikeinterface.extractors.nwbextractors", reason=reason)

    recording = extractors.NwbTimeSeriesExtractor(
        str(path), timeseries_path="acquisition/v", use_pynwb=use_pynwb
    )
    traces, times = np.array(recording.get_traces()), recording.get_times()
    rate = recording.get_sampling_frequency()
    close(recording)

    assert rate == 1000.0
    np.testing.assert_array_equal(traces, VALUES)
    np.testing.assert_allclose(times, np.arange(10) / 1000)


def close(recording) -> None:
    """Close the file, which SpikeInterface never closes."""
    for name in ("_file", "io"):
        found = getattr(recording, name, None)
        if found is not None:
            found.close()


@pytest.mark.filterwarnings("default")
def test_our_files_can_be_exported_to_zarr_and_back(path, tmp_path):
    zarr = pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    stored, back = str(tmp_path / "stored.zarr"), tmp_path / "back.nwb"

    with NWBHDF5IO(str(path), "r") as source, zarr.NWBZarrIO(stored, "w") as target:
        target.export(src_io=source, write_args={"link_data": False})
    with zarr.NWBZarrIO(stored, "r") as source, NWBHDF5IO(str(back), "w") as target:
        in_zarr = source.read().acquisition["v"].to_dataframe()
        target.export(src_io=source, write_args={"link_data": False})

    with NWBHDF5IO(str(path), "r") as first, NWBHDF5IO(str(back), "r") as last:
        expected = first.read().acquisition["v"].to_dataframe()
        found = last.read().acquisition["v"]
        assert type(found) is CompartmentSeries
        assert found.to_dataframe().equals(expected)
        assert in_zarr.equals(expected)
        assert list(found.compartments["label"][0]) == ["soma", "dend µ"]
        assert found.compartments.population == "cortex"
    assert pynwb.validate(path=str(back)) == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("values", "expected"),
    [(VALUES, set()), (VALUES[:2], {"check_data_orientation"})],
    ids=["more times than compartments", "more compartments than times"],
)
@pytest.mark.parametrize("place", ["acquisition", "metadata"])
def test_nwbinspector_finds_nothing_critical_but_the_orientation(
    write_nwb, place, values, expected
):
    inspector = pytest.importorskip("nwbinspector", reason="nwbinspector is not installed")
    path = write_small(write_nwb, place, values)

    found = list(inspector.inspect_nwbfile(nwbfile_path=str(path)))

    grave = {inspector.Importance.CRITICAL, inspector.Importance.ERROR}
    assert {one.check_function_name for one in found if one.importance in grave} == expected
    assert [one.message for one in found if one.check_function_name not in expected] == []
