"""Files that NetPyNE wrote give in NWB what it had in memory, read back by pynwb."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pynwb import NWBHDF5IO

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import UnsupportedSourceError
from tests.conftest import DATA

GENUINE = DATA / "other" / "netpyne"
METADATA = {"NWBFile": {"session_start_time": "2026-11-30T08:00:00+00:00"}}
NODES = "two_ranks/lab_node_data"
pytestmark = [
    pytest.mark.skipif(
        not GENUINE.is_dir(), reason="no genuine files; set NDX_TEST_DATA to their directory"
    ),
    pytest.mark.filterwarnings("ignore:EnumData is experimental"),
]
_FACTORS = {"V_soma": 1e-3, "V_dend": 1e-3, "i_AMPA": 1e-9, "I_clamp": 1e-9, "ina": 10.0,
            "g_all": 1e-6, "m": 1.0}  # fmt: skip


def expected() -> dict[str, Any]:
    """Return what was in memory when each file was written."""
    found: dict[str, Any] = json.loads((GENUINE / "EXPECTED.json").read_text())
    return found


FILES = sorted(set(expected()) - {"_about", "_right"}) if GENUINE.is_dir() else []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that converts a file once."""
    made: dict[str, Path] = {}

    def convert_once(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("netpyne") / "run.nwb"
            convert(GENUINE / name, made[name], metadata=METADATA)
        return made[name]

    return convert_once


@pytest.fixture
def nwb_of(files: Any) -> Iterator[Any]:
    """Return a function that converts a file and reads the result with pynwb."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(NWBHDF5IO(files(name), "r")).read()


def factor_of(series: Any) -> float:
    """Return the factor from stored values to SI units."""
    of_quantity: float | None = series.fields.get("quantity_conversion")
    return series.conversion if of_quantity is None else of_quantity


def check(values: Any, summary: dict[str, Any], factor: float, rtol: float = 1e-14) -> None:
    """Compare an array with its summary, apart from the factor of its unit."""
    values = np.asarray(values) / factor
    assert list(values.shape) == summary["shape"]
    assert_allclose(np.ravel(values[0]), summary["first"], rtol=rtol)
    assert_allclose(np.ravel(values[-1]), summary["last"], rtol=rtol)
    assert_allclose([values.min(), values.max()], [summary["min"], summary["max"]], rtol=rtol)
    assert_allclose(values.sum(), summary["sum"], rtol=max(rtol, 1e-12))


@pytest.mark.parametrize("name", FILES)
def test_traces_and_spikes_are_those_of_the_run(nwb_of: Any, name: str) -> None:
    """Each trace of each cell, and each spike."""
    nwbfile = nwb_of(name)
    wanted = expected()[name]
    data = wanted["simData"]
    has_config = "simdata_only" not in name
    traces = {key: value for key, value in data.items() if key in _FACTORS}
    if name == NODES:  # Each process has its own order of the two synapses at this place.
        traces = {key: value for key, value in traces.items() if key not in {"i_AMPA", "g_all"}}
    # What is expected of two ranks was in the memory of one.
    rtol = 1e-12 if name == NODES else 1e-14
    for trace, cells in traces.items():
        known = {}
        for series in nwbfile.acquisition.values():
            if series.name == trace or series.name.startswith(f"{trace}_"):
                table = series.compartments
                gids = table.id[:] if "cell_id" not in table.colnames else table["cell_id"][:]
                for column, gid in enumerate(gids):
                    known[int(gid)] = series.data[:, column] * factor_of(series)
        assert known.keys() == {int(key.removeprefix("cell_")) for key in cells if cells[key]}
        for key, summary in cells.items():
            if summary:
                one = summary if "shape" in summary else next(iter(summary.values()))
                is_known = has_config or trace.startswith("V")
                factor = _FACTORS[trace] if is_known else 1.0
                check(known[int(key.removeprefix("cell_"))], one, factor, rtol)
    frame = nwbfile.units.to_dataframe()
    inside = frame[frame["population"] != "bkg"]
    found = sorted(
        (round(time * 1e3, 9), row.node_id)
        for row in inside.itertuples()
        for time in row.spike_times
    )
    assert_allclose([time for time, _ in found], [time for time, _ in wanted["spikes"]], atol=1e-8)
    assert sorted(gid for _, gid in found) == sorted(int(gid) for _, gid in wanted["spikes"])


def test_populations_tags_and_silent_cells(nwb_of: Any) -> None:
    """Cells without spikes have a row, and tags are columns."""
    wanted = expected()["all_lfp_data.json"]
    frame = nwb_of("all_lfp_data.json").units.to_dataframe()
    frame = frame[frame["population"] != "bkg"]

    for name, gids in wanted["pops"].items():
        assert sorted(frame[frame["population"] == name]["node_id"]) == gids
    for row in frame.itertuples():
        assert row.soma_x == pytest.approx(wanted["cells"][str(row.node_id)]["x"])


def test_places_and_units_of_traces() -> None:
    """They are those of recordTraces; a trace of all synapses has a place in each key."""
    with open_output(GENUINE / "all_lfp_data.json") as output:
        dend, clamp = output["V_dend"], output["I_clamp"]
        assert dend.compartments.columns["label"][:].tolist() == ["dend(0.9)"] * 3
        assert dend.compartments.columns["position"][:].tolist() == [0.9] * 3
        assert clamp.unit.name == "amperes"
        assert output["g_all_exc"].compartments.columns["label"][0] == "dend(0.7)"
        assert output["g_all_inh"].compartments.columns["position"][0] == 0.5
        assert output["ina_exc"].times.rate == 10_000.0
        assert output["V_soma_exc"].compartments.cell_columns["cellType"][0] == "BS"


def test_potentials_are_stored_as_they_are(nwb_of: Any) -> None:
    """Rows that NetPyNE misplaces are named in a note; electrodes are where the user put them."""
    nwbfile = nwb_of("all_lfp_data.json")
    lfp = nwbfile.acquisition["LFP"]

    check(lfp.data[:] * lfp.conversion, expected()["all_lfp_data.json"]["simData"]["LFP"], 1e-3)
    assert (lfp.starting_time, lfp.rate) == (1e-4, 10_000.0)
    places = lfp.electrodes.to_dataframe()[["x", "y", "z"]]
    assert places.to_numpy().tolist() == [[50, 30, 50], [50, 60, 50]]
    assert "rows 0, 22 are zero" in nwbfile.notes
    assert "the last row, 199, has the first step" in nwbfile.notes


def test_dipoles_are_arrays_with_times() -> None:
    """Their unit is that of a current dipole moment."""
    with open_output(GENUINE / "dipole_data.json") as output:
        group = next(one for one in output.arrays if one.name == "dipoleSum")
        (array,) = group.arrays
        assert array.unit == "nA*um"
        assert_allclose(group.axes[0].values[:2], [1e-4, 2e-4])
        check(array.values[:], expected()["dipole_data.json"]["simData"]["dipoleSum"], 1.0)


def test_connections_are_projections() -> None:
    """Rows in compact form are the same as objects; units are those of the synapses' mods."""
    states = []
    for name in ("netcells_pops_data.json", "compact_data.json", "no_traces_data.json"):
        with open_output(GENUINE / name) as output:
            states.append(output.networks)
    assert states[0] == ()
    for (state,) in states[1:]:
        drive, _, inh = sorted(state.projections, key=lambda one: one.name)
        assert (drive.pre, drive.post, drive.targets) == ("drive", "exc", ("AMPA",))
        assert drive.post_ranks[:].tolist() == [0, 1, 2]
        assert drive.pre_ranks[:].tolist() == [0, 1] * 3
        assert drive.quantities[0].values[:].tolist() == [0.02] * 6
        assert_array_equal(drive.delays[:], [0.002] * 6)
        assert inh.quantities[0].values[0] == 0.005
    with open_output(GENUINE / "all_lfp_data.json") as output:
        assert {one.quantities[0].unit.name for one in output.networks[0].projections} == {
            "siemens"
        }


def test_parameters_of_the_run() -> None:
    """The duration is ``duration``; tstop stays what it was."""
    with open_output(GENUINE / "compact_data.json") as output:
        run = output.run
    assert (run.simulator, run.simulator_version) == ("NetPyNE", "1.1.1")
    assert (run.time_step, run.duration, run.temperature, run.seed) == (2.5e-5, 0.02, 6.3, 1)


def test_times_are_recordstep_if_they_were_not_recorded() -> None:
    """A note says so."""
    with open_output(GENUINE / "no_time_data.json") as output:
        report = output["V_dend"]
        assert (report.times.start, report.times.rate, report.times.count) == (0.0, 10_000.0, 200)
        assert any("those of recordStep, 0.1 ms, are used" in note for note in output.notes)


@pytest.mark.parametrize(
    "name",
    ["refuse_me_interval_20.pkl", "two_ranks/refuse_me_node_0.pkl", "broken_no_simData.mat"],
)
def test_pickles_are_refused(name: str) -> None:
    """The error says how to save the run otherwise."""
    with pytest.raises(UnsupportedSourceError, match=r"of NetPyNE, which is not read.*saveJson"):
        open_output(GENUINE / name)
