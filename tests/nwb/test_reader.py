"""Files that have the attribute ``nwb_version``."""

from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.recording import (
    Electrodes,
    ExtracellularPotential,
    RegularTimes,
    SimulationOutput,
    Spikes,
    Unit,
)

TYPE = {"neurodata_type": "NWBFile", "namespace": "core"}
SESSION = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}


@pytest.mark.parametrize("opened", [open_output, check_file])
@pytest.mark.parametrize(
    "attributes", [{}, {"namespace": "core"}, TYPE], ids=["none", "half", "empty"]
)
def test_a_file_with_nothing_but_nwb_version_is_an_error(tmp_path: Path, opened, attributes):
    with h5py.File(tmp_path / "v.nwb", "w") as file:
        file.attrs.update({"nwb_version": "2.9.0", **attributes})

    with pytest.raises(SourceError, match=r"v\.nwb has the attribute nwb_version, but"):
        opened(tmp_path / "v.nwb")


def _many(count):
    """Return an output with ``count`` populations of spikes, and as many potentials."""
    spikes = (Spikes(f"p{n}", np.array([1, 2]), np.array([0.1, 0.2])) for n in range(count))
    times, channels = RegularTimes(0.0, 1000.0, 3), np.array([0, 1])
    electrodes = Electrodes(channels, np.eye(2, 3))
    potentials = (
        ExtracellularPotential(f"e{n}", np.eye(3, 2), times, channels, Unit("volts"), electrodes)
        for n in range(count)
    )
    return SimulationOutput(spikes=tuple(spikes), potentials=tuple(potentials))


def _reads_of_tables(path, count, monkeypatch):
    """Return the names of the datasets of tables, once for each time that they are read."""
    writer.write(_many(count), path, metadata=SESSION, overwrite=True)
    read, original = [], h5py.Dataset.__getitem__

    def counted(dataset, *key):
        read.append(dataset.name)
        return original(dataset, *key)

    with monkeypatch.context() as patched:
        patched.setattr(h5py.Dataset, "__getitem__", counted)
        with open_output(path) as output:
            assert len(output.spikes) == len(output.potentials) == count
            assert output.potentials[-1].electrodes.positions.tolist() == np.eye(2, 3).tolist()
    tables = ("/units/", "/general/extracellular_ephys/electrodes/")
    return sorted(name for name in read if name.startswith(tables))


def test_tables_are_read_once_for_all_populations_and_potentials(tmp_path, monkeypatch):
    few, many = (_reads_of_tables(tmp_path / "run.nwb", n, monkeypatch) for n in (2, 20))

    assert few == many


def test_open_datasets_have_small_tables_of_chunks(tmp_path):
    writer.write(_many(1), tmp_path / "run.nwb", metadata=SESSION)

    with open_output(tmp_path / "run.nwb") as output:
        file = output.potentials[0].data.array.file
        # Those of HDF5 2.0 take 64 KiB for each of the thousands of datasets of a large file.
        assert file.id.get_access_plist().get_cache()[1] == 521


def test_interleaved_populations_of_units_are_read_apart(tmp_path):
    nwbfile = NWBFile("run", "run", **SESSION["NWBFile"])
    nwbfile.add_unit_column("population", "name")
    for number in range(6):
        nwbfile.add_unit(spike_times=[0.1 * number] * number, population="ab"[number % 2])
    with NWBHDF5IO(tmp_path / "run.nwb", "w") as io:
        io.write(nwbfile)

    with open_output(tmp_path / "run.nwb") as output:
        found = {one.population: (one.node_ids.tolist(), one.silent) for one in output.spikes}

    assert found["a"][0] == [2, 2, 4, 4, 4, 4]
    assert found["a"][1].tolist() == [0]
    assert found["b"] == ([1, 3, 3, 3, 5, 5, 5, 5, 5], None)


def test_a_violation_of_the_schema_is_found_once(tmp_path):
    writer.write(_many(1), tmp_path / "run.nwb", metadata=SESSION)
    with h5py.File(tmp_path / "run.nwb", "r+") as file:
        del file["acquisition/e0/data"].attrs["unit"]

    found = [one for one in check_file(tmp_path / "run.nwb") if one.where == "acquisition/e0/data"]

    assert [(one.severity, one.rule) for one in found] == [("error", "schema")]
