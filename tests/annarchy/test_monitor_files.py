"""Genuine files of monitors of ANNarchy 4.8.2.7 and 5.0.3 contain the recorded values."""

import json
import os
import pickle
import re

import h5py
import numpy as np
import pytest

from ndx_simulation_output.annarchy.monitors import read_recordings
from ndx_simulation_output.errors import (
    NothingRecordedError,
    ShapeMismatchError,
    SourceError,
    UnitWarning,
    UnsupportedSourceError,
)
from tests.conftest import DATA

pytestmark = pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.UnitWarning")

VERSIONS = ["4.8.2.7", "5.0.3"]
PERIODS = {"m_exc": 0.5, "m_inh": 2.0, "m_view": 1.0, "m_rate": 0.5}
POPULATIONS = {"m_exc": "Cortex_exc", "m_inh": "Cortex_inh", "m_view": "view", "m_rate": "pop2"}
EMPTY = ["m_dend", "m_dend_nospike", "m_hebb", "m_hebb_nospike", "m_proj", "m_proj_nospike"]


@pytest.fixture(params=VERSIONS)
def data(request):
    found = DATA / "annarchy" / f"annarchy-{request.param}"
    if not found.is_dir():
        pytest.skip(f"the genuine files are not at {found}; set NDX_TEST_DATA to their directory")
    return found


def recorded(data, monitor: str, variable: str):
    known = json.loads((data / "EXPECTED.json").read_text(encoding="utf-8"))["monitors"]
    values = np.array(known[monitor]["data"][variable])
    return values.reshape(len(values), -1)


@pytest.mark.parametrize("kind", ["{}.hdf5", "{}_nospike.hdf5", "{}_all.npy"])
@pytest.mark.parametrize("monitor", sorted(PERIODS))
def test_a_genuine_file_contains_the_recorded_values(data, monitor, kind):
    path = data / f"monitor_{kind.format(monitor)}"
    first = {"m_rate": "r"}.get(monitor, "v")
    named = {"variable": first} if path.suffix == ".npy" else {}

    with read_recordings(
        path, dt=0.5, population=POPULATIONS[monitor], period=PERIODS[monitor], **named
    ) as output:
        for report in output.reports:
            expected = recorded(data, monitor, report.variable)
            assert np.array_equal(report.data[:], expected)
            assert report.times.rate == 1000 / PERIODS[monitor]
            assert report.name == f"{POPULATIONS[monitor]}_{report.variable}"
        found = {report.variable for report in output.reports}

    names = {"m_exc": {"u", "v"}, "m_rate": {"r", "sum(exc)", "count"}}.get(monitor, {"v"})
    assert found == (names if path.suffix == ".hdf5" else {first})


@pytest.mark.parametrize("monitor", EMPTY)
def test_the_error_for_an_empty_genuine_file_has_the_reason(data, monitor):
    with pytest.raises(NothingRecordedError, match="fails to save spikes"):
        read_recordings(data / f"monitor_{monitor}.hdf5", dt=0.5, population="x")


def test_a_genuine_array_of_synapses_is_read_without_unpickling(data):
    path = data / "monitor_m_hebb_all.npy"

    output = read_recordings(path, dt=0.5, population="proj3", variable="w", period=25.0)

    assert np.array_equal(output.reports[0].data, recorded(data, "m_hebb", "w"))


def test_genuine_lists_of_monitors_have_the_names_of_populations(data):
    with read_recordings(data / "monitorlist_nested.hdf5", dt=0.5) as output:
        names = [report.name for report in output.reports]
        expected = recorded(data, "m_rate", "sum(exc)")
        assert np.array_equal(output["pop2_sum(exc)"].data[:], expected)
    assert names == ["pop2_count", "pop2_r", "pop2_sum(exc)"]
    with read_recordings(data / "monitorlist_flat.hdf5", dt=0.5, population="all") as output:
        assert output["all_pop2_r"].data.shape == (200, 6)
    with read_recordings(data / "monitorlist_with_spikes.hdf5", dt=0.5) as output:
        populations = {report.population for report in output.reports}
        assert populations == {"Cortex_exc", "pop2"}


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "exc.hdf5", "w") as made:
        made["v"] = np.arange(24.0).reshape(4, 6)
    return tmp_path / "exc.hdf5"


def test_the_period_is_truncated_to_whole_steps(file):
    with read_recordings(file, dt=0.1, population="exc", period=0.3, start=5.0) as output:
        times = output["exc_v"].times

    # 0.3 / 0.1 is a little less than 3.
    np.testing.assert_allclose(times.seconds(), np.array([5.0, 5.2, 5.4, 5.6]) / 1000)


def test_a_geometry_gives_each_neuron_grid_coordinates(file):
    with read_recordings(file, dt=0.1, population="exc", geometry=(2, 3)) as output:
        table = output["exc_v"].compartments
    assert table.cell_columns["grid_0"].tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(ShapeMismatchError, match=re.escape("the geometry (4, 4)")):
        read_recordings(file, dt=0.1, population="exc", geometry=(4, 4))


def test_the_error_names_the_argument_that_is_missing(file, tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((3, 2)))

    with pytest.raises(SourceError, match="pass population="):
        read_recordings(file, dt=0.1)
    with pytest.raises(SourceError, match="pass variable="):
        read_recordings(tmp_path / "v.npy", dt=0.1, population="exc")
    with pytest.warns(UnitWarning, match="the unit of v is stored as unknown"):
        read_recordings(file, dt=0.1, population="exc").close()


class Harm:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_an_array_is_run(tmp_path):
    touched = tmp_path / "touched"
    with (tmp_path / "w.npy").open("wb") as made:
        described = {"descr": "|O", "fortran_order": False, "shape": (1, 1)}
        np.lib.format.write_array_header_1_0(made, described)
        pickle.dump([Harm(touched)], made)

    with pytest.raises(UnsupportedSourceError, match="could run code"):
        read_recordings(tmp_path / "w.npy", dt=0.1, population="exc", variable="w")

    assert not touched.exists()


@pytest.mark.parametrize("damage", ["cut", "text", "nothing", "other"])
def test_a_file_of_something_else_is_refused(tmp_path, damage):
    path = tmp_path / "v.npy"
    np.save(path, np.zeros((300, 20)))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "text":
        path.write_text("v")
    elif damage == "nothing":
        path.unlink()
    else:
        with h5py.File(path, "w") as made:
            made["name"] = "text"

    with pytest.raises(SourceError, match=re.escape(str(path))):
        read_recordings(path, dt=0.1, population="exc", variable="v")
