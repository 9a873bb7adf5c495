"""Genuine files of ANNarchy 4.6.5, 4.8.2.7 and 5.0.3 contain the values of the network."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pynwb
import pytest

from ndx_simulation_output import convert, export_annarchy, open_output
from ndx_simulation_output.errors import SourceError
from tests.conftest import DATA
from tests.network_strategies import facts_of
from tests.sonata.making import SESSION

VERSIONS = ["4.6.5", "4.8.2.7", "5.0.3"]
NAMES = [
    "network.txt",
    "network.txt.gz",
    "network.data",
    "network.npz",
    "network.mat",
    "network_populations_only.npz",
    "network_projections_only.txt",
    *(
        f"population_{name}.{end}"
        for name in ("Cortex_exc", "Cortex_inh", "pop2", "Drive")
        for end in ("txt", "txt.gz", "npz", "mat")
    ),
    *(
        f"{what}_{name}.{end}"
        for what in ("projection", "connectivity")
        for name in ("inh_to_exc_stdp", "exc_to_inh", "views", "proj3", "one2one")
        for end in ("txt", "txt.gz", "npz", "mat")
    ),
]
# ANNarchy fails while it writes them, and leaves the members before the delays.
INCOMPLETE = {("4.8.2.7", "projection_inh_to_exc_stdp.npz")}
INCOMPLETE |= {("5.0.3", "projection_inh_to_exc_stdp.npz")}


@pytest.fixture(params=[(version, name) for version in VERSIONS for name in NAMES], ids="-".join)
def genuine(request) -> tuple[Path, dict]:
    version, name = request.param
    data = DATA / "annarchy" / f"annarchy-{version}"
    if not data.is_dir():
        pytest.skip(f"the genuine files are not at {data}; set NDX_TEST_DATA to their directory")
    if not (data / name).is_file():
        pytest.skip(f"version {version} did not write {name}")
    is_matlab = (data / name).read_bytes().startswith(b"MATLAB")
    if is_matlab and find_spec("scipy") is None:
        pytest.skip("SciPy, which reads MATLAB files, is not installed")
    expected = json.loads((data / "EXPECTED.json").read_text(encoding="utf-8"))
    return data / name, expected


def rows_of(projection, values) -> list:
    return [row.tolist() for row in np.split(np.asarray(values), projection.ends[:-1])]


def check_population(population, expected) -> None:
    assert population.geometry == tuple(expected["geometry"])
    found = {quantity.name: quantity for quantity in population.quantities}
    assert set(found) == set(expected["values"])
    for name, values in expected["values"].items():
        quantity = found[name]
        shape = population.geometry if quantity.locality == "local" else ()
        assert quantity.values.reshape(shape).tolist() == values
        assert quantity.locality == expected.get("locality", {}).get(name, "local")
        kind = "variable" if name in expected["variables"] else "parameter"
        assert quantity.kind == kind


def check_projection(projection, expected, dt, *, is_connectivity) -> None:
    assert projection.post_ranks.tolist() == expected["post_ranks"]
    assert rows_of(projection, projection.pre_ranks) == expected["pre_ranks"]
    if not is_connectivity:
        assert projection.pre == expected["pre"]
        assert projection.post == expected["post"]
        assert projection.targets == (expected["target"],)
    found = {quantity.name: quantity for quantity in projection.quantities}
    assert set(found) == ({"w"} if is_connectivity else set(expected["values"]))
    for name, quantity in found.items():
        values = expected["values"][name]
        is_local = quantity.locality == "local"
        as_saved = rows_of(projection, quantity.values) if is_local else quantity.values.tolist()
        assert as_saved == values
    check_delays(projection, expected, dt)


def check_delays(projection, expected, dt) -> None:
    if projection.delays is None:
        # ANNarchy saves delays since 4.6.7.
        assert "delay_ms" not in expected
        return
    in_ms = expected.get("delay_ms", expected["uniform_delay"] * dt)
    steps = projection.delay_steps
    found = rows_of(projection, steps * dt) if steps.shape else steps.item() * dt
    assert found == in_ms
    assert np.array_equal(projection.delays, steps * dt / 1000)


def test_a_genuine_file_contains_the_values_of_the_network(genuine):
    path, expected = genuine
    if (expected["annarchy_version"], path.name) in INCOMPLETE:
        with pytest.raises(SourceError, match="'inh_to_exc_stdp' is incomplete"):
            open_output(path, dt=0.5)
        return

    with open_output(path, dt=0.5) as output:
        (network,) = output.networks

    names = [population.name for population in network.populations]
    names += [projection.name for projection in network.projections]
    kind, _, name = path.name.partition(".")[0].partition("_")
    listed = {"populations_only": expected["populations"], "": [*expected["populations"]]}
    listed[""] += [*expected["projections"]]
    listed["projections_only"] = expected["projections"]
    assert names == ([name] if kind != "network" else list(listed[name]))
    if kind == "network":
        assert network.step == expected["time_step"]
        assert network.time == expected["time_ms"] / 1000
    for population in network.populations:
        check_population(population, expected["populations"][population.name])
    for projection in network.projections:
        there = expected["projections"][projection.name]
        check_projection(projection, there, 0.5, is_connectivity=kind == "connectivity")


@pytest.mark.parametrize(
    "genuine", [(version, "network.txt") for version in VERSIONS], indirect=True
)
def test_a_genuine_state_is_the_same_in_nwb(genuine, tmp_path):
    path, _ = genuine

    converted = convert(path, tmp_path / "state.nwb", metadata=SESSION, dt=0.5)

    with open_output(path, dt=0.5) as source, open_output(converted.path) as output:
        assert facts_of(output.networks) == facts_of(source.networks)
    assert pynwb.validate(path=str(converted.path)) == []


@pytest.mark.parametrize("genuine", [("5.0.3", "network.npz")], indirect=True)
def test_dt_is_asked_for_where_times_are_written(genuine, tmp_path):
    path, _ = genuine

    with pytest.raises(SourceError, match=r"network\.npz: .* pass dt= \(--dt\), in ms"):
        convert(path, tmp_path / "state.nwb", metadata=SESSION)
    with open_output(path) as output, open_output(path, dt=0.5) as timed:
        (found,), (expected,) = output.networks, timed.networks
        assert (found.step, found.time, found.time_step) == (expected.step, None, None)
        for one, other in zip(found.projections, expected.projections, strict=True):
            np.testing.assert_allclose(one.delays[()], other.delays[()])
            assert one.delay_steps is None
    exported = export_annarchy(path, tmp_path / "network.txt")
    assert any("the file does not contain the time step" in note for note in exported.notes)
    with open_output(exported.path, dt=0.5) as again, open_output(path, dt=0.5) as timed:
        for one, other in zip(again.networks[0].parts, timed.networks[0].parts, strict=True):
            assert facts_of(one) == facts_of(other)
