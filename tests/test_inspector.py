"""nwbinspector runs our checks, called from Python and on the command line."""

import subprocess
import sys
from datetime import datetime, timezone
from importlib.util import find_spec

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import Compartments, CompartmentSeries, SimulationMetaData
from ndx_simulation_output.nwb.checks import check_file

if find_spec("nwbinspector") is None:
    pytest.skip("nwbinspector is not installed", allow_module_level=True)

from nwbinspector import Importance, inspect_nwbfile

from ndx_simulation_output import inspector


@pytest.fixture
def right(tmp_path):
    table = Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3], position=[0.5] * 3)
    series = CompartmentSeries("v", np.zeros((4, 3)), compartments=table, unit="volts", rate=1e3)
    nwbfile = NWBFile("a run", "run", datetime(2026, 1, 31, tzinfo=timezone.utc))
    nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
    nwbfile.add_acquisition(series)
    with NWBHDF5IO(tmp_path / "run.nwb", "w") as io:
        io.write(nwbfile)
    return tmp_path / "run.nwb"


@pytest.fixture
def wrong(right):
    """A file that breaks every rule but that a series has a table."""
    with h5py.File(right, "r+") as file:
        series, table = file["acquisition/v"], file["general/simulation/compartments"]
        attributes = {**series["data"].attrs, "unit": "unknown"}
        del series["data"]
        series["data"] = np.zeros((4, 2))
        series["data"].attrs.update(attributes)
        table["id"][:] = [7, 7]
        table["position"][:] = [0.5, 1.5, -1.0]
        table["position_index"][:] = [3, 1]
    return right


def found_by_inspector(path):
    messages = list(inspect_nwbfile(nwbfile_path=path))
    return {
        message.check_function_name: message
        for message in messages
        if message.check_function_name.startswith("check_simulation_")
    }


def test_a_file_in_order_breaks_no_rule(right):
    assert found_by_inspector(right) == {}


def test_nwbinspector_finds_what_our_checks_find(wrong):
    # Where nwbinspector finds something, the path begins with a slash.
    said = [finding for finding in check_file(wrong) if not finding.where.startswith("/")]
    ours = [finding for finding in said if finding.rule in NAMES]

    found = found_by_inspector(wrong)

    assert len(found) == len(ours) == 6
    for finding in ours:
        message = found[NAMES[finding.rule]]
        is_critical = message.importance == Importance.CRITICAL
        assert (message.message, is_critical) == (finding.message, finding.severity == "error")
        assert message.object_name == finding.where.split("/")[-1]


NAMES = {check.__name__.replace("simulation_", ""): check.__name__ for check in inspector.CHECKS}


def test_a_series_without_a_table_is_found(right):
    with h5py.File(right, "r+") as file:
        del file["acquisition/v/compartments"]

    assert set(found_by_inspector(right)) == {"check_simulation_has_table"}


def test_the_command_line_of_nwbinspector_runs_them(wrong):
    code = "from nwbinspector._nwbinspector_cli import _nwbinspector_cli as main; main()"
    command = [sys.executable, "-c", code, str(wrong)]
    without = subprocess.run(command, capture_output=True, text=True, check=False)

    command += ["--modules", "ndx_simulation_output.inspector"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "check_simulation" not in without.stdout
    assert "check_simulation_columns_match_table" in ran.stdout
    assert "The data have 2 columns, but the table describes 3 compartments" in ran.stdout


def test_our_own_check_says_each_thing_once(wrong):
    said = [(finding.where.strip("/"), finding.message) for finding in check_file(wrong)]

    assert len(said) == len(set(said))
