"""Files have what the views of neurosift need, which reads HDF5 without this package."""

import json

import h5py
import pytest

from ndx_simulation_output import convert, sonata
from ndx_simulation_output.cable import simulate

MOST = 4 * 2**20
"""Largest chunk that a browser loads at once, in bytes."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("neurosift")
    sonata.write(simulate(), directory / "sonata", dialect="bbp")
    metadata = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
    convert(directory / "sonata", directory / "run.nwb", metadata=metadata)
    return directory / "run.nwb"


@pytest.fixture
def file(run):
    with h5py.File(run) as opened:
        yield opened


def types_in(file):
    """Return the base type of each type in the cached specification."""
    (version,) = file["specifications/ndx-simulation-output"].values()
    specs = [json.loads(text.asstr()[()]) for name, text in version.items() if name != "namespace"]
    kinds = [kind for spec in specs for found in spec.values() for kind in found]
    return {
        kind["neurodata_type_def"]: kind["neurodata_type_inc"]
        for kind in kinds
        if "neurodata_type_def" in kind
    }


def test_the_cached_specification_has_the_base_of_each_type(file):
    extended = types_in(file)

    assert extended["CompartmentSeries"] == "TimeSeries"
    assert extended["Compartments"] == "DynamicTable"
    ours = {
        node.attrs["neurodata_type"]
        for node in (*file["acquisition"].values(), *file["general/simulation"].values())
        if node.attrs.get("namespace") == "ndx-simulation-output"
    }
    assert ours
    assert ours <= set(extended)


def test_every_series_has_times_and_a_unit(file):
    series = [node for node in file["acquisition"].values() if "data" in node]

    assert len(series) == len(file["acquisition"])
    for one in series:
        times, data = one["data"].shape[0], one["data"]
        if "starting_time" in one:
            assert one["starting_time"].attrs["rate"] > 0
            assert one["starting_time"].attrs["unit"] == "seconds"
        else:
            assert one["timestamps"].shape == (times,)
        assert isinstance(data.attrs["unit"], str)
        assert data.attrs["conversion"] > 0


def test_chunks_are_small_enough_for_a_browser(file):
    for series in file["acquisition"].values():
        data = series["data"]
        rows, columns = data.chunks
        assert rows * columns * data.dtype.itemsize <= MOST


def test_spikes_are_units_with_ragged_spike_times(file):
    units = file["units"]

    assert units.attrs["neurodata_type"] == "Units"
    assert units["spike_times_index"].shape == units["id"].shape
    assert units["spike_times"].shape == (units["spike_times_index"][-1],)
    assert set(units.attrs["colnames"]) >= {"spike_times", "population", "node_id"}


def test_channels_have_electrodes_with_positions(file):
    (series,) = [
        node
        for node in file["acquisition"].values()
        if node.attrs["neurodata_type"] == "ElectricalSeries"
    ]
    region = series["electrodes"]
    table = file[region.attrs["table"]]

    assert region.shape == (series["data"].shape[1],)
    assert set(table.attrs["colnames"]) >= {"location", "group", "group_name", "x", "y", "z"}
    assert table.name == "/general/extracellular_ephys/electrodes"
