"""The example of the original extension runs word for word, under its old name and the new one."""

import warnings
from pathlib import Path

import numpy as np
import pynwb
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, CompartmentSeries

EXAMPLE = """\
from pynwb import NWBHDF5IO, NWBFile
from datetime import datetime
from nwbext_simulation_output import CompartmentSeries, Compartments
import numpy as np


compartments = Compartments()
compartments.add_row(number=[0, 1, 2, 3, 4], position=[0.1, 0.2, 0.3, 0.4, 0.5])
compartments.add_row(number=[0], position=[np.nan])
cs = CompartmentSeries('membrane_potential', np.random.randn(10, 6),
                       compartments=compartments,
                       unit='V', rate=100.)
nwbfile = NWBFile('description', 'id', datetime.now().astimezone())
nwbfile.add_acquisition(compartments)
nwbfile.add_acquisition(cs)

with NWBHDF5IO('test_compartment_series.nwb', 'w') as io:
    io.write(nwbfile)
"""
IN_METADATA = EXAMPLE.replace(
    "add_acquisition(compartments)",
    "add_lab_meta_data(SimulationMetaData(compartments=compartments))",
).replace("CompartmentSeries, Compartments", "CompartmentSeries, Compartments, SimulationMetaData")
EXAMPLES = {
    "old name, table in acquisition": EXAMPLE,
    "old name, table in metadata": IN_METADATA,
    "new name, table in acquisition": EXAMPLE.replace("nwbext_", "ndx_"),
    "new name, table in metadata": IN_METADATA.replace("nwbext_", "ndx_"),
}


@pytest.fixture(scope="module", params=EXAMPLES.values(), ids=EXAMPLES.keys())
def example(request, tmp_path_factory) -> tuple[Path, dict]:
    directory = tmp_path_factory.mktemp("example")
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(directory)
        warnings.simplefilter("error")
        exec(request.param, names)  # noqa: S102 - the example is ours
    return directory / "test_compartment_series.nwb", names


def test_the_example_reads_back(example):
    path, names = example

    with NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        series = nwbfile.acquisition["membrane_potential"]
        table = series.compartments

        assert type(series) is CompartmentSeries
        assert type(table) is Compartments
        assert (series.unit, series.rate) == ("V", 100.0)
        np.testing.assert_array_equal(series.data[:], names["cs"].data)
        assert [list(number) for number in table["number"][:]] == [[0, 1, 2, 3, 4], [0]]
        np.testing.assert_array_equal(table["position"][0], [0.1, 0.2, 0.3, 0.4, 0.5])
        np.testing.assert_array_equal(table["position"][1], [np.nan])


def test_the_example_is_valid(example):
    path, _ = example

    assert pynwb.validate(path=str(path)) == []


def test_the_table_of_the_example_is_where_it_was_put(example):
    path, names = example

    with NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        holder = nwbfile.acquisition
        if "SimulationMetaData" in names:
            holder = nwbfile.lab_meta_data["simulation"].compartments

        assert holder["compartments"] is nwbfile.acquisition["membrane_potential"].compartments
