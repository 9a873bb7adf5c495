"""Files written for ANNarchy read back equal, and notes list what they cannot contain."""

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings

from ndx_simulation_output.annarchy.reading import NOT_CONTAINED, read
from ndx_simulation_output.annarchy.writing import write
from ndx_simulation_output.errors import ExportError, NameClashError, SourceError, TargetExistsError
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from tests.conftest import DATA
from tests.network_strategies import annarchy_networks, facts_of

CONTAINERS = ["state.txt", "state.txt.gz", "state.npz"]
EXTENSIONS = ["txt", "txt.gz", "npz", "mat"]


def population(**changes) -> PopulationSnapshot:
    quantities = (
        Quantity("tau", np.array(20.0), "global", "parameter"),
        Quantity("v", np.arange(4.0), "local", "variable"),
        Quantity("gate", np.array([True, False, True, True]), "local", "parameter"),
    )
    return replace(PopulationSnapshot("exc", (2, 2), quantities), **changes)


def projection(**changes) -> ProjectionSnapshot:
    parts = {
        "post_ranks": np.array([0, 3]),
        "ends": np.array([2, 3]),
        "pre_ranks": np.array([1, 2, 0]),
        "quantities": (
            Quantity("w", np.array([0.1, 0.2, 0.3]), "local", "variable"),
            Quantity("theta", np.array([1.0, 2.0]), "semiglobal", "variable"),
        ),
        "pre": "exc",
        "post": "exc",
        "targets": ("exc",),
        "delays": np.array([5e-4, 15e-4, 5e-4]),
        "delay_steps": np.array([1, 3, 1]),
        "weight": "w",
    }
    return ProjectionSnapshot("rec", **(parts | changes))


def network(**changes) -> NetworkSnapshot:
    parts = {"populations": (population(),), "projections": (projection(),)}
    parts |= {"time": 0.1, "step": 200, "time_step": 5e-4}
    return NetworkSnapshot("state", not_contained=NOT_CONTAINED, **(parts | changes))


def again(state: NetworkSnapshot, path: Path, **options) -> NetworkSnapshot:
    """Write a state and read it, with what only the original says about itself."""
    write(path, state, overwrite=True, **options)
    dt = None if state.time_step is None else float(f"{state.time_step * 1000:.15g}")
    (found,) = read(path, dt=dt).networks
    return replace(
        found,
        name=state.name,
        provenance=state.provenance,
        simulator=state.simulator,
        not_contained=state.not_contained,
    )


def widened(facts):
    """Return facts in which booleans and all integers have one type, as in MATLAB files."""
    if isinstance(facts, tuple) and isinstance(facts[0], np.dtype) and facts[0].kind in "biu":
        return np.dtype(np.int64), facts[1], facts[2].replace("True", "1").replace("False", "0")
    if isinstance(facts, dict):
        return {key: widened(value) for key, value in facts.items()}
    return [widened(one) for one in facts] if isinstance(facts, list) else facts


def genuine_files() -> list[Path]:
    found = sorted((DATA / "annarchy").glob("*/*"))
    return [path for path in found if path.suffix not in {".hdf5", ".npy", ".json"}]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_genuine_file_reads_back_equal(tmp_path, extension):
    if extension == "mat":
        pytest.importorskip("scipy", reason="SciPy, which writes MATLAB files, is not installed")
    if not genuine_files():
        pytest.skip("the genuine files are not there; set NDX_TEST_DATA to their directory")
    forms = {"network": "network", "connectivity": "connectivity"}
    for path in genuine_files():
        try:
            (found,) = read(path, dt=0.5).networks
        except SourceError as error:
            assert "is incomplete" in str(error)  # noqa: PT017 - as ANNarchy left it
            continue
        form = forms.get(path.name.partition(".")[0].partition("_")[0], "part")
        target = tmp_path / f"state.{extension}"

        expected, written = facts_of(found), facts_of(again(found, target, form=form))

        if ".mat" in {path.suffix, target.suffix}:
            expected, written = widened(expected), widened(written)
        assert written == expected, path


@pytest.mark.parametrize("name", CONTAINERS)
@settings(max_examples=60)
@given(state=annarchy_networks().filter(lambda state: state.parts))
def test_any_state_reads_back_equal(name, state):
    with TemporaryDirectory() as directory:
        assert facts_of(again(state, Path(directory) / name)) == facts_of(state)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_single_part_reads_back_equal(tmp_path, name):
    for state in (
        network(projections=(), time=None, step=None),
        network(populations=(), time=None, step=None),
    ):
        assert facts_of(again(state, tmp_path / name, form="part")) == facts_of(state)


@settings(max_examples=60)
@given(
    state=annarchy_networks(least=2).filter(
        lambda state: state.parts and "τ" not in str(facts_of(state))
    )
)
def test_any_state_reads_back_from_a_matlab_file(state):
    pytest.importorskip("scipy", reason="SciPy, which writes MATLAB files, is not installed")
    with TemporaryDirectory() as directory:
        found = facts_of(again(state, Path(directory) / "state.mat"))

    assert widened(found) == widened(facts_of(state))


def test_all_versions_of_numpy_can_load_the_files(tmp_path):
    """A pickle of numpy 2 refers to modules that numpy 1 does not have."""
    write(tmp_path / "state.txt", network())
    write(tmp_path / "state.npz", network())

    content = (tmp_path / "state.txt").read_bytes()
    with zipfile.ZipFile(tmp_path / "state.npz") as archive:
        content += b"".join(archive.read(name) for name in archive.namelist())
    assert b"_core" not in content
    # It was written here a line above.
    assert pickle.loads((tmp_path / "state.txt").read_bytes())["exc"]["v"].tolist() == [  # noqa: S301
        [0.0, 1.0],
        [2.0, 3.0],
    ]


def test_numpy_reads_an_archive_as_annarchy_does(tmp_path):
    write(tmp_path / "state.npz", network())

    with np.load(tmp_path / "state.npz", allow_pickle=True) as found:
        assert found["time_step"] == 200
        exc, rec = found["exc"].item(), found["rec"].item()
        assert found["obj_names"].item() == {"populations": ["exc"], "projections": ["rec"]}
    assert exc["v"].shape == (2, 2)
    assert exc["attributes"] == ["tau", "v", "gate"]
    assert rec["pre_ranks"].tolist() == rec["pre_ranks"].tolist() == [[1, 2], [0]]
    assert rec["delays"] == [[0.5, 1.5], [0.5]]
    assert rec["target"] == "exc"


def test_a_connectivity_file_has_delays_in_ms(tmp_path):
    state = network(populations=())

    write(tmp_path / "rec.npz", state, form="connectivity")

    with np.load(tmp_path / "rec.npz", allow_pickle=True) as found:
        assert found["delay"].tolist() == [[0.5, 1.5], [0.5]]
        assert [found[key] for key in ("max_delay", "uniform_delay", "size")] == [3, -1, 2]
        assert found["nb_synapses"] == 3


def test_a_connectivity_file_for_earlier_versions_has_delays_in_steps(tmp_path):
    state = network(populations=(), time=None, step=None)

    found = again(state, tmp_path / "rec.txt", form="connectivity", delay_unit="steps")

    content = pickle.loads((tmp_path / "rec.txt").read_bytes())  # noqa: S301 - written above
    assert content["delay"].tolist() == [[1, 3], [1]]
    assert facts_of(found.projections[0].delays) == facts_of(state.projections[0].delays)


@pytest.mark.parametrize(
    ("state", "form", "error", "message"),
    [
        (network(), "part", ExportError, r"2 parts to write \(exc, rec\)"),
        (network(projections=()), "connectivity", ExportError, "expected one projection"),
        (
            network(projections=(replace(projection(), name="exc"),)),
            "network",
            NameClashError,
            "two entries of the network are named 'exc'",
        ),
        (
            network(populations=(population(name="net_id"),)),
            "network",
            NameClashError,
            "named 'net_id'",
        ),
        (
            network(populations=(population(quantities=(Quantity("size", np.zeros(4)),)),)),
            "network",
            NameClashError,
            "two entries of 'exc' are named 'size'",
        ),
        (
            network(populations=(population(quantities=(Quantity("v", np.zeros(4, "S1")),)),)),
            "network",
            ExportError,
            "v of exc is of type",
        ),
        (
            network(projections=(projection(delays=None),), time_step=None),
            "network",
            ExportError,
            "the state has no time step",
        ),
        (
            network(projections=(projection(quantities=(), weight=None),)),
            "connectivity",
            ExportError,
            "has no weight for each synapse",
        ),
        (
            network(projections=(projection(weight="theta"),)),
            "connectivity",
            ExportError,
            "has no weight for each synapse",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, state, form, error, message):
    with pytest.raises(error, match=message):
        write(tmp_path / "state.txt", state, form=form)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["_hidden", "x" * 64, "", "τ"])
def test_a_name_that_a_matlab_file_cannot_store_is_refused(tmp_path, name):
    pytest.importorskip("scipy", reason="SciPy, which writes MATLAB files, is not installed")
    state = network(populations=(population(name=name),), projections=())

    with pytest.raises(ExportError, match=r"write a \.txt"):
        write(tmp_path / "state.mat", state)

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_with_overwrite(tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("mine")

    with pytest.raises(TargetExistsError, match=r"state\.npz exists already"):
        write(path, network())

    assert path.read_text() == "mine"
    write(path, network(), overwrite=True)
    assert path.read_bytes().startswith(b"PK")


def test_notes_list_what_is_lost(tmp_path):
    quantities = (
        Quantity("J", np.zeros(3, np.float32), "local", ""),
        Quantity("w", np.array(1.0), "global", "parameter"),
        Quantity("k", np.array(1.0), "shared", "parameter"),
    )
    rec = projection(
        quantities=quantities, weight="J", delays=None, delay_steps=None, ends=np.array([3, 3])
    )
    state = network(
        populations=(population(model="dv/dt = -v"),),
        projections=(replace(rec, pre=None),),
        step=None,
        seed=3,
        constants={"g": 1.0},
    )

    notes = write(tmp_path / "state.txt", state)

    assert notes == (
        "left out: time step, seed, constants, model, which ANNarchy's files cannot contain",
        "the state has no step: loading it does not set the clock",
        "J of rec is neither a parameter nor a variable",
        "J of rec is written in 64 bits",
        "k of rec is one value for all, which is read as global",
        "w of rec is global, which is read as one weight for all synapses",
        "projection rec has no names of its populations or targets",
        "the weight of projection rec is named J; ANNarchy expects w",
        "projection rec has no delays: loading it sets them to one step",
        "projection rec has rows without synapses, which a network of ANNarchy cannot have",
    )


def test_the_weight_in_a_connectivity_file_is_that_of_the_state(tmp_path):
    quantities = (
        Quantity("w", np.zeros(3), "local", "variable"),
        Quantity("J", np.array([0.1, 0.2, 0.3]), "local", "parameter"),
    )
    state = network(projections=(projection(quantities=quantities, weight="J"),))

    write(tmp_path / "rec.txt", state, form="connectivity")

    (found,) = read(tmp_path / "rec.txt", dt=0.5).networks[0].projections
    assert found.quantities[0].values.tolist() == [0.1, 0.2, 0.3]
