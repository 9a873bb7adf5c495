"""Each rule about network states reports its violation, in files that the schema allows."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb import checks, writer
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    SimulationOutput,
)
from tests.sonata.making import SESSION


def network() -> NetworkSnapshot:
    steps = np.array([1, 3, 2])
    exc = PopulationSnapshot(
        "exc",
        (2, 2),
        (
            Quantity("v", np.zeros(4), "local", "variable"),
            Quantity("tau", np.array(20.0), "global", "parameter"),
        ),
    )
    rec = ProjectionSnapshot(
        "rec",
        post_ranks=np.array([0, 3]),
        ends=np.array([2, 3]),
        pre_ranks=np.array([1, 2, 0]),
        quantities=(
            Quantity("w", np.ones(3), "local", "variable"),
            Quantity("theta", np.ones(2), "semiglobal", "variable"),
        ),
        pre="exc",
        post="exc",
        targets=("exc",),
        delays=steps * 5e-4,
        delay_steps=steps,
        weight="w",
    )
    inh = PopulationSnapshot("inh", (1,))
    return NetworkSnapshot("state", (exc, inh), (rec,), time=0.1, step=200, time_step=5e-4)


@pytest.fixture
def path(tmp_path) -> Path:
    target = tmp_path / "state.nwb"
    output = SimulationOutput(networks=(network(),))
    writer.write(output, target, metadata=read_metadata(SESSION))
    return target


def found_by(rule: str, path: Path, where: str) -> list[str]:
    """Return the messages of a rule about the state, or about a part of it."""
    with pynwb.NWBHDF5IO(path, "r") as io:
        state = io.read().acquisition["state"]
        parts = {"": state, **state.population_states, **state.projection_states}
        return list(getattr(checks, rule)(parts[where]))


def test_a_valid_state_has_no_findings(path):
    assert [finding for finding in check_file(path) if "state" in finding.where] == []


@pytest.mark.parametrize("name", ["gone.nwb", "null\0.nwb", Path("gone.nwb")])
def test_a_file_that_does_not_exist_is_an_error(name):
    with pytest.raises(SourceError, match=f"^{name} does not exist$"):
        check_file(name)


def test_checking_a_file_runs_the_rules(path):
    with h5py.File(path, "r+") as file:
        file["acquisition/state/rec/pre_rank"][...] = [1, 1, 7]
        file["acquisition/state/time"][...] = 0.2

    found = [finding for finding in check_file(path) if finding.rule.startswith("check_")]

    assert {(one.severity, one.rule, one.where) for one in found if "state" in one.where} == {
        ("error", "check_time_matches_step", "state"),
        ("error", "check_pre_ranks", "state/rec"),
        ("warning", "check_synapses_unique", "state/rec"),
    }


def put(name: str, values) -> Callable[[h5py.Group], None]:
    def change(state: h5py.Group) -> None:
        state[name][...] = values

    return change


def shorter(name: str) -> Callable[[h5py.Group], None]:
    def change(state: h5py.Group) -> None:
        values, facts = state[name][:-1], dict(state[name].attrs)
        del state[name]
        state[name] = values
        state[name].attrs.update(facts)

    return change


def said(part: str, name: str, value) -> Callable[[h5py.Group], None]:
    def change(state: h5py.Group) -> None:
        state[part].attrs[name] = value

    return change


@pytest.mark.parametrize(
    ("rule", "change", "where", "message"),
    [
        ("check_ranks_match_geometry", put("exc/id", [0, 1, 2, 2]), "exc", "should be 0 to 3"),
        (
            "check_ranks_match_geometry",
            said("exc", "geometry", [2, 3]),
            "exc",
            r"the 4 rows should be 0 to 5 for the geometry \(2, 3\)",
        ),
        (
            "check_rows_match_pre_rank",
            put("rec/weight_index", [1, 3]),
            "rec",
            "'weight' does not have as many values in each row as column 'pre_rank'",
        ),
        (
            "check_index_fits_values",
            put("rec/pre_rank_index", [2, 2]),
            "rec",
            "does not ascend to the number of values, 3",
        ),
        ("check_post_ranks", put("rec/id", [3, 3]), "rec", "rank 3 is in more than one row"),
        (
            "check_post_ranks",
            put("rec/id", [0, 4]),
            "rec",
            "rank 4 is out of range: population 'exc' has 4",
        ),
        (
            "check_pre_ranks",
            put("rec/pre_rank", [1, 2, 7]),
            "rec",
            "rank 7 is out of range: population 'exc' has 4",
        ),
        ("check_pre_ranks", put("rec/pre_rank", [1, 2, -1]), "rec", "rank -1 is negative"),
        (
            "check_synapses_unique",
            put("rec/pre_rank", [1, 1, 1]),
            "rec",
            "Neuron 1 is connected to neuron 0 more than once",
        ),
        (
            "check_delays_match_steps",
            put("rec/delay", [5e-4, 7e-4, 1e-3]),
            "rec",
            "not a multiple of",
        ),
        ("check_delays_match_steps", put("rec/delay", [np.nan] * 3), "rec", "not a multiple of"),
        ("check_delays_match_steps", put("rec/delay_steps", [1, 2, 2]), "rec", "differ from"),
        (
            "check_delays_match_steps",
            put("rec/delay_steps", [0, 3, 2]),
            "rec",
            "A delay is 0 time steps",
        ),
        (
            "check_populations_exist",
            said("rec", "pre", "gone"),
            "",
            "'rec' refers to population 'gone'",
        ),
        (
            "check_names_unique",
            said("inh", "title", "exc"),
            "",
            "2 populations have the name 'exc'",
        ),
        ("check_time_matches_step", put("time", 0.2), "", "is 0.2 s, but step 200 is at 0.1 s"),
        (
            "check_quantities_have_values",
            put("exc/quantity_locality", [b"local", b"everywhere"]),
            "exc",
            "'tau' has locality 'everywhere', but should have one of 'local'",
        ),
        (
            "check_quantities_have_values",
            put("exc/quantity_column", [b"u", b""]),
            "exc",
            "'v' refers to column 'u', which does not exist",
        ),
        (
            "check_quantities_have_values",
            put("rec/quantity_value", [1.5, np.nan]),
            "rec",
            "'w' has both column 'weight' and the single value 1.5",
        ),
        (
            "check_quantities_have_values",
            shorter("rec/quantity_value"),
            "rec",
            r"quantity_\* have different lengths",
        ),
    ],
)
def test_a_rule_reports_its_violation(path, rule, change, where, message):
    assert found_by(rule, path, where) == []
    with h5py.File(path, "r+") as file:
        change(file["acquisition/state"])

    found = found_by(rule, path, where)

    assert re.search(message, "; ".join(found)), found
