"""The state of a network round-trips through NWB."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pynwb
import pytest
from hypothesis import Phase, given, settings

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import (
    ExportError,
    NameClashError,
    ShapeMismatchError,
    UnitError,
)
from ndx_simulation_output.info import describe
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.nwb.types import PopulationState, ProjectionState
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    SimulationOutput,
    Unit,
)
from ndx_simulation_output.storage.layout import StorageOptions
from tests.network_strategies import facts_of, networks
from tests.sonata.making import SESSION


def ragged(**changes) -> ProjectionSnapshot:
    parts = {
        "post_ranks": np.array([0, 2, 3]),
        "ends": np.array([2, 2, 5]),
        "pre_ranks": np.array([0, 3, 1, 2, 4]),
        "quantities": (
            Quantity("w", np.linspace(0, 1, 5), "local", "variable", "double", "nS"),
            Quantity("theta", np.array([0.1, 0.2, 0.3]), "semiglobal", "variable"),
            Quantity("tau", np.array(20.0), "global", "parameter", unit="ms"),
        ),
        "pre": "exc",
        "post": "inh",
        "targets": ("exc",),
        "delays": np.array([5, 1, 1, 2, 3]) * 5e-4,
        "delay_steps": np.array([5, 1, 1, 2, 3]),
        "weight": "w",
    }
    return ProjectionSnapshot("exc to inh", **(parts | changes))


def small() -> NetworkSnapshot:
    gate = Quantity("gate", np.array([True, False] * 3), "local", "parameter", "bool")
    population = PopulationSnapshot("exc", (2, 3), (gate, Quantity("n", np.array(7), "global")))
    return NetworkSnapshot(
        "run",
        (population,),
        (ragged(),),
        time=0.1,
        step=200,
        time_step=5e-4,
        simulator="any",
        not_contained="Not contained: spikes in flight.",
    )


def written(network: NetworkSnapshot, path: Path) -> Path:
    writer.write(
        SimulationOutput(networks=(network,)), path, metadata=read_metadata(SESSION), overwrite=True
    )
    return path


# Each example writes a file: to shrink one would take minutes.
@settings(max_examples=20, phases=[Phase.generate])
@given(networks())
def test_a_state_round_trips(network):
    with TemporaryDirectory() as directory:
        path = written(network, Path(directory) / "state.nwb")
        with open_output(path) as output:
            (found,) = output.networks
            again = facts_of(found)
            notes = output.notes
        errors = pynwb.validate(path=str(path))

    assert again == facts_of(network)
    assert (notes, errors) == ((), [])


def test_a_state_reads_as_tables_with_pynwb(tmp_path):
    path = written(small(), tmp_path / "state.nwb")

    with pynwb.NWBHDF5IO(path, "r") as io:
        state = io.read().acquisition["run"]
        synapses = state.projection_states["exc to inh"]
        assert state.time == 0.1
        assert synapses.id[:].tolist() == [0, 2, 3]
        assert [row.tolist() for row in synapses["pre_rank"][:]] == [[0, 3], [], [1, 2, 4]]
        assert synapses["weight"][2].tolist() == [0.5, 0.75, 1.0]
        assert synapses["theta"][:].tolist() == [0.1, 0.2, 0.3]
        assert state.population_states["exc"]["gate"].data.dtype == bool
        assert state.not_contained == "Not contained: spikes in flight."
        assert synapses.quantity_unit[:].tolist() == ["siemens", "unknown", "seconds"]
        assert synapses.quantity_conversion[:].tolist() == [1e-9, 1.0, 1e-3]
        assert synapses["weight"].target.description == "variable w, local, in nS"
        assert state.population_states["exc"].quantity_unit is None


def test_a_file_with_a_state_is_valid_and_described(tmp_path):
    path = written(small(), tmp_path / "state.nwb")

    with open_output(path) as output:
        lines = list(describe(output))

    errors = [found for found in check_file(path) if found.severity == "error"]
    assert [found.rule for found in errors if found.rule != "check_subject_exists"] == []
    assert lines == [
        "state run: at 0.1 s, step 200, time step 0.0005 s",
        "  population exc: 2 × 3 neurons, gate, n",
        "  projection exc to inh: exc to inh, exc, 5 synapses in 3 rows, w (nS), theta, tau (ms)",
    ]


def test_what_a_state_does_not_contain_is_said_by_who_describes_it(tmp_path):
    path = written(NetworkSnapshot("run", (PopulationSnapshot("exc", (1,)),)), tmp_path / "s.nwb")

    with open_output(path) as output:
        assert output.networks[0].not_contained == ""
    with h5py.File(path) as file:
        assert "not_contained" not in file["acquisition/run"]


def test_values_in_volts_and_millivolts_can_be_told_apart(tmp_path):
    cells = [
        PopulationSnapshot(name, (2,), (Quantity("v", np.full(2, value), unit=unit),))
        for name, value, unit in (("nest", -70.0, "mV"), ("brian", -0.07, Unit("volts")))
    ]
    path = written(NetworkSnapshot("run", tuple(cells)), tmp_path / "state.nwb")

    with open_output(path) as output:
        found = [population.quantities[0] for population in output.networks[0].populations]
        volts = [one.values[0] * one.unit.conversion for one in found]
        lines = list(describe(output))

    assert volts == pytest.approx([-0.07, -0.07])
    assert [one.unit.name for one in found] == ["volts", "volts"]
    assert [line.rpartition(", ")[2] for line in lines[1:]] == ["v (mV)", "v (V)"]


def test_units_of_states_that_cannot_be_stored_are_refused(tmp_path):
    with pytest.raises(UnitError, match="the unit of quantity 'v' is 'mR'; expected one such as"):
        Quantity("v", np.zeros(2), unit="mR")
    with pytest.raises(UnitError, match=r"units are set for \['x'\] of projection 'p'"):
        ProjectionSnapshot.from_synapses("p", [0], [0], {"w": [1.0]}, units={"x": "nS"})
    shifted = Quantity("t", np.zeros(2), unit=Unit("kelvins", 1.0, 273.15))
    network = NetworkSnapshot("run", (PopulationSnapshot("exc", (2,), (shifted,)),))
    with pytest.raises(ExportError, match="the unit of t of exc has the offset 273"):
        written(network, tmp_path / "state.nwb")


def large() -> NetworkSnapshot:
    """Return a state whose columns are compressed."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 200, 2000)
    synapses = int(counts.sum())
    steps = rng.integers(1, 17, synapses)
    return NetworkSnapshot(
        "run",
        (PopulationSnapshot("exc", (2000,), (Quantity("on", rng.random(2000) < 0.5),)),),
        (
            ragged(
                post_ranks=np.arange(2000),
                ends=np.cumsum(counts),
                pre_ranks=rng.integers(0, 2000, synapses),
                quantities=(
                    Quantity("w", rng.random(synapses), "local", "variable"),
                    Quantity("active", rng.random(synapses) < 0.5, "local", "variable"),
                    Quantity("theta", rng.random(2000), "semiglobal", "variable"),
                ),
                delays=steps * 5e-4,
                delay_steps=steps,
            ),
        ),
        time_step=5e-4,
    )


def stored(path: Path) -> dict[str, tuple]:
    with h5py.File(path) as file:
        table = file["acquisition/run/exc to inh"]
        return {name: (found.compression, found.shuffle) for name, found in table.items()}


def test_long_columns_are_compressed_and_round_trip(tmp_path):
    path = written(large(), tmp_path / "state.nwb")

    assert stored(path)["weight"] == stored(path)["pre_rank"] == ("gzip", True)
    assert stored(path)["delay"] == ("gzip", False)
    assert path.stat().st_size < 0.6 * large().projections[0].pre_ranks.nbytes * 4
    with open_output(path) as output:
        assert facts_of(output.networks) == facts_of([large()])
        again = written(output.networks[0], tmp_path / "again.nwb")
    with open_output(again) as output:
        assert facts_of(output.networks) == facts_of([large()])
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().acquisition["run"].projection_states["exc to inh"]
        ends = large().projections[0].ends
        assert np.array_equal(
            table["active"][7], large().projections[0].quantities[1].values[ends[6] : ends[7]]
        )
    assert pynwb.validate(path=str(path)) == []


def test_columns_are_stored_uncompressed_with_compression_none(tmp_path):
    path = tmp_path / "state.nwb"
    output = SimulationOutput(networks=(large(),))

    storage = StorageOptions(compression="none")
    writer.write(output, path, metadata=read_metadata(SESSION), storage=storage)

    assert {how for how, _ in stored(path).values()} == {None}
    with open_output(path) as found:
        assert facts_of(found.networks) == facts_of([large()])


def test_states_of_the_same_name_are_not_merged(tmp_path):
    paths = [written(small(), tmp_path / name) for name in ("a.nwb", "b.nwb")]

    with pytest.raises(NameClashError, match=r"'run' is in .*a.nwb and .*b.nwb"):
        open_output(paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ends": np.array([2, 5])}, "post-synaptic ranks but"),
        ({"ends": np.array([2, 1, 5])}, "expected them to ascend"),
        ({"ends": np.array([2, 2, 4])}, "expected them to ascend to"),
        ({"delays": np.zeros(3)}, "delays of projection 'exc to inh' have shape"),
        ({"quantities": (Quantity("x", np.zeros(3)),)}, r"'x'.* shape \(3,\); expected \(5,\)"),
        ({"quantities": (Quantity("x", np.zeros(5)),) * 2}, r"'x'.* more than once"),
    ],
)
def test_synapses_of_wrong_lengths_are_an_error(changes, message):
    with pytest.raises(ShapeMismatchError, match=message):
        ragged(**changes)


def test_invalid_quantities_of_a_population_are_an_error():
    with pytest.raises(ShapeMismatchError, match=r"'v' of population 'exc' .*expected \(6,\)"):
        PopulationSnapshot("exc", (2, 3), (Quantity("v", np.zeros((2, 3))),))
    with pytest.raises(ShapeMismatchError, match="semiglobal; only those of projections can be"):
        PopulationSnapshot("exc", (3,), (Quantity("v", np.zeros(3), "semiglobal"),))


def test_an_integer_beyond_double_precision_is_an_error(tmp_path):
    count = Quantity("n", np.array(2**53 + 1), "global")
    network = replace(small(), populations=(PopulationSnapshot("exc", (1,), (count,)),))

    with pytest.raises(ExportError, match=f"n of exc is {2**53 + 1}"):
        written(network, tmp_path / "state.nwb")

    assert not list(tmp_path.iterdir())


def test_columns_of_other_lengths_are_an_error():
    with pytest.raises(ShapeMismatchError, match=r"column 'v' .*expected \(4,\)"):
        PopulationState.from_arrays((2, 2), {"v": np.zeros(3)}, name="exc")
    with pytest.raises(ShapeMismatchError, match="expected 4, the neurons"):
        PopulationState(name="exc", geometry=[2, 2])
    with pytest.raises(ShapeMismatchError, match=r"column 'pre_rank' .*expected \(2,\)"):
        ProjectionState.from_arrays([0], [2], {"pre_rank": np.zeros(3, int)}, name="p")
    with pytest.raises(ShapeMismatchError, match="expected 2 ends in ascending order"):
        ProjectionState.from_arrays([0, 1], [2, 1], {"pre_rank": np.zeros(1, int)}, name="p")
    with pytest.raises(ShapeMismatchError, match="have different lengths"):
        PopulationState.from_arrays(
            (1,), {}, name="p", quantity_name=["a"], quantity_value=np.zeros(2)
        )
