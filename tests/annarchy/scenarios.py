"""Scenarios with networks of ANNarchy, each in a process: ``scenarios.py NAME``.

All run in one directory, in which ANNarchy reuses the compiled network, and scenarios use the files
of earlier ones.
"""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import ANNarchy
import numpy as np
from pynwb import validate

from ndx_simulation_output import annarchy, open_output
from ndx_simulation_output.annarchy.network import find_network, snapshot, storage_of
from ndx_simulation_output.annarchy.parameters import parse_parameters
from ndx_simulation_output.annarchy.restoring import restore
from ndx_simulation_output.errors import (
    RecordingError,
    RestoreError,
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
)
from tests.annarchy.models import (
    DT,
    FIVE,
    Model,
    continuing,
    delayed,
    facts,
    is_quiet,
    read_facts,
    refused,
    warned,
    write_facts,
)

OWN_FILES = ["network.txt", "network.txt.gz", "network.npz", "network.mat"]
RANDOM = ["ragged", "exc_to_inh", "weak"]


def save_network() -> None:
    model = delayed()
    refused(RecordingError, "is not compiled yet", annarchy.save, "early.nwb", model.network)
    annarchy.save_parameters("early.json", model.network)
    model.compile()
    model.simulate(20.0)
    exc, ragged = model.parts["exc"], model.parts["ragged"]
    exc.v = np.linspace(-3.0, 3.0, 6).reshape(3, 2)
    exc.k = np.arange(6).reshape(3, 2)
    exc.tau = 12.5

    annarchy.save("state.nwb", model.network)
    annarchy.save("weights.nwb", model.network, populations=False)
    annarchy.save("neurons.nwb", model.network, projections=False)
    annarchy.save("exc.nwb", exc)
    annarchy.save("exc.npz", exc)
    annarchy.save("ragged.nwb", ragged)
    annarchy.save("ragged.txt", ragged)
    for name in OWN_FILES:
        annarchy.save(name, model.network)
    annarchy.save_parameters("network.json", model.network, own={"exc_v_min": 0.1})

    write_facts(model, "state.json")
    refused(TargetExistsError, "overwrite=True", annarchy.save, "state.nwb", model.network)
    refused(RecordingError, "expected a Network", annarchy.save, "view.nwb", exc[1:3])
    if FIVE:  # Where there is a Network, the implicit one is empty.
        refused(RecordingError, "no populations", annarchy.save, "nothing.nwb")


def check_state() -> None:
    """The file contains the values that were read one by one."""
    expected = read_facts("state.json")
    with open_output("state.nwb") as output:
        (state,) = output.networks
        assert (state.step, state.time, state.time_step) == (40, 0.02, 0.0005)
        assert (state.seed, state.simulator, state.constants) == (11, "ANNarchy", {"KC": 2.5})
        assert "spikes in flight" in state.not_contained.lower()
        assert [one.name for one in state.populations] == ["exc", "L2/3 inh"]
        for part in state.parts:
            known = expected[part.name]
            is_population = hasattr(part, "geometry")
            for quantity in part.quantities:
                values = np.asarray(quantity.values[()])
                if quantity.locality != "local":
                    assert values.tolist() == known[quantity.name], quantity.name
                elif is_population:
                    assert values.reshape(part.geometry).tolist() == known[quantity.name]
                else:
                    rows = np.split(values, np.asarray(part.ends)[:-1])
                    assert [row.tolist() for row in rows] == known[quantity.name], quantity.name
            if not is_population:
                ranks = np.split(np.asarray(part.pre_ranks[:]), np.asarray(part.ends)[:-1])
                pairs = zip(part.post_ranks.tolist(), [row.tolist() for row in ranks], strict=True)
                assert {str(post): row for post, row in pairs} == known["pre_ranks"]
        exc, inh = state.populations
        kinds = {one.name: (one.locality, one.kind, one.declared_type) for one in exc.quantities}
        assert kinds["tau"] == ("global", "parameter", "double")
        assert kinds["n"] == ("local", "variable", "int")
        types = {one.name: one.values.dtype for one in exc.quantities}
        assert (types["k"], types["gate"], types["high"]) == (np.int64, np.bool_, np.bool_)
        assert "tau * dv/dt = -v + I + g_exc" in exc.model
        assert "Izhikevich" in inh.model
        ragged, stdp, weak, single = state.projections
        kinds = {one.name: one.locality for one in ragged.quantities}
        assert (kinds["eta"], kinds["th"], kinds["x"]) == ("global", "semiglobal", "local")
        assert single.quantities[0].locality == "shared"
        assert (single.pre, single.post, single.targets) == ("L2/3 inh", "exc", ("exc",))
        assert (int(single.delay_steps), float(single.delays)) == (4, 0.002)
        assert weak.delay_steps.shape == ()
        assert stdp.weight == "w"
        steps = np.split(ragged.delay_steps[:], np.asarray(ragged.ends)[:-1])
        assert [(row * 0.5).tolist() for row in steps] == expected["ragged"]["delay"]
    assert validate(path="state.nwb") == []


def load_into_another_topology() -> None:
    model = delayed(seed=12)
    refused(RestoreError, "is not compiled", annarchy.load, "state.nwb", model.network)
    model.compile()
    before = facts(model)

    for name in ["state.nwb", "network.txt", "network.npz"]:
        refused(
            RestoreError,
            "projection ragged: the connections differ",
            annarchy.load,
            name,
            model.network,
        )
        assert facts(model) == before, name

    restored = annarchy.load("state.nwb", model.network, partial=True)
    expected = read_facts("state.json")
    after = facts(model)
    assert after["exc"] == expected["exc"]
    assert after["step"] == expected["step"]
    assert after["ragged"] == before["ragged"]
    assert any("ragged" in one and "connect()" in one for one in restored.mismatched)
    assert "mismatched: projection ragged" in str(restored)


def rebuilt() -> Model:
    model = delayed(connect=False)
    for name in RANDOM:
        annarchy.connect(model.parts[name], "state.nwb")
    return model


def load_into_rebuilt() -> None:
    expected = read_facts("state.json")
    model = rebuilt()
    model.compile()
    part = model.parts["ragged"]
    refused(RestoreError, "is compiled", annarchy.connect, part, "state.nwb")
    assert facts(model)["ragged"]["pre_ranks"] == expected["ragged"]["pre_ranks"]
    # connect() restores the weights, delays and storage, too.
    for name in RANDOM:
        expected_format = "csr" if name == "exc_to_inh" else "lil"
        assert storage_of(model.parts[name])["storage_format"] == expected_format
    for name in RANDOM:
        assert facts(model)[name]["w"] == expected[name]["w"], name
        assert facts(model)[name]["delay"] == expected[name]["delay"], name

    for name in ["state.nwb", *OWN_FILES]:
        model.simulate(7.0)
        assert facts(model) != expected
        restored = annarchy.load(name, model.network)
        assert facts(model) == expected, name
        assert not restored.skipped, name
        assert not restored.mismatched, name
        assert not restored.missing, name
        assert "time" in restored.set

    load_parts(model, expected)
    load_what_differs(model)


def load_parts(model: Model, expected) -> None:
    model.simulate(7.0)
    moved = facts(model)
    weights = annarchy.load("weights.nwb", model.network)
    found = facts(model)
    assert [found[name] for name in (*RANDOM, "exc", "step")] == [
        *(expected[name] for name in RANDOM),
        moved["exc"],
        moved["step"],
    ]
    assert weights.missing == ("population exc", "population L2/3 inh")
    annarchy.load("state.nwb", model.network, projections=False)
    assert facts(model)["exc"] == expected["exc"]
    assert model.step == expected["step"]
    for source in ["exc.nwb", "exc.npz", "network.npz", "state.nwb"]:
        model.simulate(7.0)
        restored = annarchy.load(source, model.parts["exc"])
        assert facts(model)["exc"] == expected["exc"], source
        assert "time" not in restored.set
    for source in ["ragged.nwb", "ragged.txt"]:
        model.simulate(7.0)
        annarchy.load(source, model.parts["ragged"])
        assert facts(model)["ragged"] == expected["ragged"], source
    # The restored time is earlier than that of the network, so its last events are in the future.
    restored = annarchy.load("state.nwb", model.network)
    assert [note.partition(": the clock")[0] for note in restored.notes] == [
        "projection exc_to_inh: x, y"
    ]
    # The names of single parts may differ, their sizes may not.
    inh = model.parts["L2/3 inh"]
    refused(RestoreError, "the geometry is (3, 2)", annarchy.load, "exc.nwb", inh)
    refused(SourceError, "does not exist", annarchy.load, "nothing.nwb", model.network)
    other = {"network": model.network, "state": "other"}
    refused(SourceError, "expected one named 'other'", annarchy.load, "state.nwb", **other)


def load_what_differs(model: Model) -> None:
    """States that do not match raise an error and set nothing; what only one side has is listed."""
    live = find_network(model.network)
    original = snapshot(live)
    exc, inh = original.populations
    before = facts(model)

    def with_quantity(which, **changes):
        changed = [replace(one, **changes) if one.name == which else one for one in exc.quantities]
        return replace(original, populations=(replace(exc, quantities=tuple(changed)), inh))

    more = with_quantity("v", name="older")
    restored = restore(live, more)
    assert restored.skipped == ("population exc: older",)
    assert restored.missing == ("population exc: v",)
    for words, state in {
        "tau is local in the file and global": with_quantity(
            "tau", values=np.zeros(6), locality="local"
        ),
        "k has values of type float64 in the file, some of which are not int": with_quantity(
            "k", values=np.full(6, 0.5)
        ),
        "gate has values of type float64 in the file, some of which are not bool": with_quantity(
            "gate", values=np.full(6, 2.0)
        ),
        "time: the time step is 1 ms in the file": replace(original, time_step=0.001),
        "the geometry is (6,)": replace(original, populations=(replace(exc, geometry=(6,)), inh)),
        "delays differ in the file": with_projection(original, "exc_to_inh", steps=[1, 3]),
        "delays are 7 steps in the file": with_projection(original, "weak", steps=[7]),
        "one for all in the network": with_projection(original, "single/weight", local=True),
    }.items():
        state = replace(state, step=99)
        refused(RestoreError, words, restore, live, state)
        assert facts(model) == before, words
        restored = restore(live, state, partial=True)
        assert any(words in one for one in restored.mismatched)
        assert len(restored.mismatched) == 1
        restore(live, original)
    # Two parts of one name are ambiguous.
    refused(
        ValueError,
        "two populations",
        restore,
        live,
        replace(original, populations=(exc, replace(inh, name="exc"))),
    )
    # A shared weight and a uniform delay can be set where each synapse has its own.
    restore(live, with_projection(original, "ragged", steps=[5], shared=0.75))
    found = facts(model)["ragged"]
    assert {one for row in found["w"] for one in row} == {0.75}
    delays = found["delay"] if isinstance(found["delay"], list) else [[found["delay"]]]
    assert {one for row in delays for one in row} == {2.5}


def with_projection(original, name, *, steps=None, local=False, shared=None):
    made = []
    for one in original.projections:
        if one.name == name:
            quantities, count = one.quantities, one.pre_ranks.shape[0]
            changes = {}
            if local:
                values = np.arange(count, dtype=float)
                changes = {"values": values, "locality": "local"}
            if shared is not None:
                changes = {"values": np.array(shared), "locality": "shared"}
            quantities = tuple(replace(q, **changes) if q.name == "w" else q for q in quantities)
            one = replace(one, quantities=quantities)
            if steps is not None:
                own = np.resize(steps, count) if len(steps) > 1 else np.array(steps[0])
                one = replace(one, delay_steps=own, delays=own * 0.0005)
        made.append(one)
    return replace(original, projections=tuple(made))


def parameters() -> None:
    """The part of the manual on parameters, with the functions of this package."""
    # The JSON before and after compile() differs only in the values that were changed.
    early, now = (
        parse_parameters(Path(name).read_text(), name) for name in ("early.json", "network.json")
    )
    assert early.populations == {"exc": {"tau": 10.0}, "L2/3 inh": {}}
    assert now.populations["exc"] == {"tau": 12.5}
    assert now.projections["exc_to_inh"]["tau_plus"] == 20.0
    assert set(now.projections["exc_to_inh"]) == {
        "tau_plus",
        "tau_minus",
        "A_plus",
        "A_minus",
        "w_min",
        "w_max",
    }
    assert (now.network, now.constants) == ({"exc_v_min": 0.1}, {"KC": 2.5})

    text = Path("network.json").read_text().replace("12.5", "30.0").replace("2.5", "3.5")
    text = text.replace('"exc": {', '"exc": {"n": 1, "I": 20.0, "odd": 1.0,', 1)
    text = text.replace('"L2/3 inh": {', '"L2/3 exc": {"a": 0.5').replace("20.0", "20.5")
    Path("edited.json").write_text(text)
    model = rebuilt()
    for is_compiled in (False, True):
        if is_compiled:
            model.compile()
        exc = model.parts["exc"]
        params = warned(
            "population L2/3 exc is not in the network",
            annarchy.load_parameters,
            "edited.json",
            model.network,
        )
        assert params == {"exc_v_min": 0.1}
        assert exc.tau == 30.0
        assert model.parts["exc_to_inh"].tau_plus == 20.5
        assert model.constant.value == 3.5
        assert np.all(np.asarray(exc.I) == 25.0)
        inh = model.parts["L2/3 inh"]
        if not is_compiled:
            # As in the manual: other values are set from the returned dictionary.
            inh.v = ANNarchy.Uniform(params["exc_v_min"], 1.3)
    assert np.all((inh.v >= 0.1) & (inh.v <= 1.3))
    assert np.all(inh.a == 0.02)
    warned(
        "n of population exc is a variable",
        annarchy.load_parameters,
        "edited.json",
        model.network,
        global_only=False,
    )
    assert np.all(exc.I == 20.5)
    assert not np.any(exc.n)
    # ANNarchy itself can load the file.
    number = {"net_id": model.network.id} if FIVE else {}
    exc.tau = 1.0
    assert ANNarchy.load_parameters("network.json", **number) == {"exc_v_min": 0.1}
    assert exc.tau == 12.5


def uninterrupted() -> None:
    model = continuing()
    model.compile()
    model.simulate(40.0)
    # A spike in the last time step arrives in the next one, and is not saved.
    simulate_until_quiet(model)
    save(model, "middle.nwb")
    save(model, "middle.txt")
    model.simulate(60.0)
    write_facts(model, "end.json")


def simulate_until_quiet(model: Model) -> None:
    while not is_quiet(model):
        model.simulate(DT)


def save(model: Model, name: str) -> None:
    """Save a network with inputs, whose variables ANNarchy cannot read."""
    warned("r of spikes, which ANNarchy cannot read", annarchy.save, name, model.network)


def load(model: Model, name: str):
    restored = annarchy.load(name, model.network)
    assert (restored.skipped, restored.mismatched) == ((), ())
    assert {*restored.missing} <= {f"population {one}" for one in UNREADABLE}, restored.missing
    return restored


UNREADABLE = ["spikes: r", "poisson: proba", "poisson: p", "poisson: r"]


def continued() -> None:
    model = continuing()
    model.compile()
    restored = load(model, "middle.nwb")
    assert restored.not_contained.startswith("Not contained: spikes in flight")
    assert "windows of compute_firing_rate" in str(restored)
    (note,) = restored.notes
    assert note.startswith("inputs continue their schedule")
    assert note.endswith(": spikes, rates, poisson")
    model.simulate(60.0)
    assert facts(model) == read_facts("end.json")


def rewound() -> None:
    """Nothing of the abandoned run arrives after a state is loaded."""
    model = continuing()
    model.compile()
    expected = read_facts("end.json")
    for abandoned in (0.5, 28.0, 31.5, 33.0, 90.0):
        load(model, "middle.nwb")
        model.simulate(abandoned)
        load(model, "middle.nwb")
        model.simulate(60.0)
        assert facts(model) == expected, abandoned


def rewound_without_schedules() -> None:
    """A file of ANNarchy has no schedules: what they do not change continues."""
    model = continuing()
    model.compile()
    model.simulate(28.0)
    restored = annarchy.load("middle.txt", model.network)
    inputs = ("spikes", "rates", "poisson")
    assert {f"population {name}: schedule" for name in inputs} <= {*restored.missing}
    assert "schedules of inputs (TimedArray" in restored.not_contained
    model.simulate(60.0)
    found, expected = facts(model), read_facts("end.json")
    names = [name for name in expected if name not in {*inputs, "after pulse"}]
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}


def chained() -> None:
    """A state is loaded, and a later one is saved; schedules were set in between."""
    model = continuing()
    model.compile()
    load(model, "middle.nwb")
    middle = model.step
    model.simulate(20.0)
    simulate_until_quiet(model)
    save(model, "later.nwb")
    later = model.step
    model.simulate(7.0)
    load(model, "later.nwb")
    model.simulate(60.0 - (later - middle) * DT)
    assert facts(model) == read_facts("end.json")


def only_what_is_loaded_changes() -> None:
    """Clearing what is in flight keeps values, schedules and monitors that the file lacks."""
    model = continuing()
    monitor = model.monitor(model.parts["exc"], ["v", "spike"])
    model.compile()
    model.simulate(21.0)
    model.parts["exc"].k = np.arange(6).reshape(3, 2)
    with open_output("middle.nwb") as output:
        (state,) = output.networks
        (exc, *_) = state.populations
        fewer = tuple(one for one in exc.quantities if one.name not in {"k", "gate", "tau"})
        live = find_network(model.network)
        before = facts(model)
        times = model.parts["spikes"].spike_times
        part = replace(state, populations=(replace(exc, quantities=fewer),), projections=())
        restored = restore(live, replace(part, provenance={}))
        assert "population exc: k" in restored.missing
        after = facts(model)
        assert [after["exc"][name] for name in ("k", "gate", "tau")] == [
            before["exc"][name] for name in ("k", "gate", "tau")
        ]
        assert [after[name] for name in before if name not in {"exc", "step"}] == [
            before[name] for name in before if name not in {"exc", "step"}
        ]
        assert len(monitor.get("v", keep=True)) == 42
        assert model.parts["spikes"].spike_times != times  # They count from now on.
        # Without a clock, the run is not abandoned.
        restored = restore(live, replace(part, step=None))
        assert any("are kept, because the clock is not set" in one for one in restored.notes)
        for wrong in (
            {"spike_times": [[1.0]], "position": 0.0},
            {"spike_times": [[1.0], [2.0], ["x"]], "position": 0.0},
            {"schedule": [0.0], "rates": [[1.0]], "period": -1.0, "position": 0.0},
            [1.0],
        ):
            schedules = {"schedules": {"spikes": wrong}}
            refused(
                RestoreError,
                "population spikes: schedule ",
                restore,
                live,
                replace(part, provenance=schedules),
            )


if __name__ == "__main__":
    warnings.simplefilter("error", SimulationOutputWarning)
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print("done:", scenario)
