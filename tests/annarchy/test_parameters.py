"""Parameters are written as ANNarchy writes them, and set only where they belong."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.annarchy.parameters import (
    Parameters,
    parameters_of,
    parameters_text,
    parse_parameters,
    with_parameters,
)
from ndx_simulation_output.errors import NameClashError, SourceError
from ndx_simulation_output.recording import NetworkSnapshot, PopulationSnapshot, Quantity
from tests.conftest import DATA


def network() -> NetworkSnapshot:
    quantities = (
        Quantity("tau", np.array(20.0), "global", "parameter"),
        Quantity("n", np.array(7), "global", "parameter"),
        Quantity("gain", np.array([1.0, 2.0]), "local", "parameter"),
        Quantity("scale", np.array(0.5), "global", "variable"),
    )
    exc = PopulationSnapshot("exc", (2,), quantities)
    return NetworkSnapshot("run", (exc, replace(exc, name="inh")), constants={"kappa": 3.25})


def value_of(found: NetworkSnapshot, place: int, name: str):
    quantities = found.populations[place].quantities
    return next(quantity.values.tolist() for quantity in quantities if quantity.name == name)


def test_the_current_values_are_written_and_read():
    text = parameters_text(parameters_of(network(), own={"r_min": 0.1}))

    assert json.loads(text) == {
        "populations": {name: {"tau": 20.0, "n": 7, "scale": 0.5} for name in ("exc", "inh")},
        "projections": {},
        "network": {"r_min": 0.1},
        "constants": {"kappa": 3.25},
    }
    assert parse_parameters(text, "text") == parameters_of(network(), own={"r_min": 0.1})


def test_global_parameters_are_set():
    wanted = Parameters({"inh": {"tau": 10, "gain": 3.0}}, constants={"kappa": 1.0})

    found, notes = with_parameters(network(), wanted)

    assert [value_of(found, place, "tau") for place in (0, 1)] == [20.0, 10.0]
    assert value_of(found, 1, "gain") == [1.0, 2.0]
    assert found.constants == {"kappa": 1.0}
    assert notes == ("not set: gain of population inh is local",)


def test_local_parameters_are_set_if_global_only_is_false():
    found, notes = with_parameters(network(), Parameters({"exc": {"gain": 3.0}}), global_only=False)

    assert (value_of(found, 0, "gain"), value_of(found, 1, "gain")) == ([3.0, 3.0], [1.0, 2.0])
    assert notes == ()


@pytest.mark.parametrize(
    "value", [1.5, 2**70, -(2**63) - 1, 10**400, float("nan"), None, [1], True]
)
def test_a_value_that_an_integer_cannot_have_is_not_set(value):
    found, notes = with_parameters(network(), Parameters({"exc": {"n": value}}))

    assert value_of(found, 0, "n") == 7
    assert notes == (f"not set: n of population exc is {value!r}, which is not of type int64",)


def test_unknown_names_and_wrong_values_are_not_set():
    wanted = Parameters(
        {"exc": {"n": 1.5, "scale": 1.0, "who": 1.0, "tau": "x"}, "other": {"tau": 1.0}},
        {"rec": {"eta": 1.0}},
        constants={"mu": 1.0},
    )

    found, notes = with_parameters(network(), wanted)

    assert parameters_of(found) == parameters_of(network())
    assert notes == (
        "not set: constant mu is not in the network",
        "not set: population other is not in the network",
        "not set: who of population exc is not known",
        "not set: tau of population exc is 'x', which is not of type float64",
        "not set: n of population exc is 1.5, which is not of type int64",
        "not set: scale of population exc is a variable",
        "not set: projection rec is not in the network",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"network": {},}', "p.json is not JSON"),
        ('{"populations": {"a": {"x": 1, "x": 2}}}', "not JSON of parameters: 'x' is there more"),
        ("[" * 100_000, "p.json is not JSON"),
        ("[]", "p.json is a list; expected names and values"),
        ('{"populations": 3}', "populations in p.json is a int"),
        ('{"projections": {"rec": []}}', "rec in projections in p.json is a list"),
    ],
)
def test_other_json_is_refused(text, message):
    with pytest.raises(SourceError, match=message):
        parse_parameters(text, "p.json")


def test_parts_of_the_same_name_are_refused():
    exc = network().populations[0]

    with pytest.raises(NameClashError, match="two populations are named 'exc'"):
        parameters_of(NetworkSnapshot("run", (exc, exc)))


@pytest.mark.parametrize("version", ["4.6.5", "4.8.2.7", "5.0.3"])
def test_a_genuine_network_has_the_parameters_in_the_genuine_json(version):
    data = DATA / "annarchy" / f"annarchy-{version}"
    if not data.is_dir():
        pytest.skip(f"the genuine files are not at {data}; set NDX_TEST_DATA to their directory")
    genuine = parse_parameters((data / "parameters.json").read_text("utf-8"), "parameters.json")

    with open_output(data / "network.txt", dt=0.5) as output:
        found = parameters_of(output.networks[0])

    for ours, theirs in (
        (found.populations, genuine.populations),
        (found.projections, genuine.projections),
    ):
        assert {name: set(part) for name, part in ours.items()} == {
            name: set(part) for name, part in theirs.items()
        }
