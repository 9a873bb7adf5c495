"""Spikes are recorded beside whatever else listens to the same cells, and of artificial cells."""

import gc
import itertools
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import RecordingError, ShapeMismatchError, SimulationOutputWarning
from ndx_simulation_output.neuron import Variable, record

pytest.importorskip("neuron", reason="NEURON is not installed: pip install neuron")

from tests.neuron.models import Cell, Ring, clean

STOP = 10.0


@pytest.fixture
def h():
    with clean() as neuron:
        yield neuron
        gc.collect()


@pytest.fixture
def ring(h):
    """Give a ring of cells with gids."""
    made, context = Ring(), h.ParallelContext()
    for cell in made.cells:
        context.set_gid2node(cell.number, 0)
        context.cell(cell.number, made.connections[1 + cell.number])
    return made


def spikes_of(path: Path, population: str = "cells") -> dict[int, list[float]]:
    """Return the times (ms) of the spikes of each recorded cell."""
    with open_output(path) as output:
        (found,) = (some for some in output.spikes if some.population == population)
    silent = [] if found.silent is None else found.silent.tolist()
    ids = sorted({*found.node_ids.tolist(), *silent})
    return {cell: np.round(found.times[found.node_ids == cell] * 1000, 9).tolist() for cell in ids}


class Listeners:
    """What users set up to hear of spikes: functions, vectors, vectors of all gids, or several."""

    def __init__(self, h: Any, ring: Ring, kind: str) -> None:
        self.functions: dict[int, list[float]] = {}
        self.vectors: dict[int, Any] = {}
        self.times, self.ids = h.Vector(), h.Vector()
        for number, connection in enumerate(ring.connections[1:]):
            if "function" in kind:
                heard = self.functions[number] = []
                connection.record(lambda heard=heard: heard.append(h.t))
            if "vector" in kind:
                self.vectors[number] = h.Vector()
                connection.record(self.vectors[number])
            if "ids" in kind:
                connection.record(self.times, self.ids, number)
        if "spike_record" in kind:
            h.ParallelContext().spike_record(-1, self.times, self.ids)

    def clear(self) -> None:
        for heard in self.functions.values():
            heard.clear()

    def heard(self) -> list[dict[int, list[float]]]:
        """Return the times of the spikes of each cell, as each kind of listener has them."""
        times, ids = np.array(list(self.times)), np.array(list(self.ids))
        found = [self.functions, self.vectors, {cell: times[ids == cell] for cell in range(4)}]
        return [
            {cell: np.round(np.array(list(some)), 9).tolist() for cell, some in kind.items()}
            for kind in found
            if kind and any(len(some) for some in kind.values())
        ]


@pytest.mark.parametrize(
    ("kind", "when", "variable_step"),
    [
        *itertools.product(
            ["function", "vector", "function and spike_record"],
            ["before", "in the block", "during"],
            [False],
        ),
        ("ids", "in the block", False),
        ("ids", "before", True),
        ("function and spike_record", "in the block", True),
    ],
)
def test_users_and_two_recorders_hear_of_all_spikes(kind, when, variable_step, h, ring, tmp_path):
    h.CVode().active(variable_step)
    first, second = tmp_path / "first.nwb", tmp_path / "second.nwb"
    listeners = Listeners(h, ring, kind if when == "before" else "")

    with (
        record(first, cells=range(4), every=1.0, spikes=True) as one,
        record(second, cells=range(4), every=1.0, spikes=-10.0) as other,
    ):
        if when == "in the block":
            listeners = Listeners(h, ring, kind)
        one.run(0.0)
        other.sample()
        for stop in np.arange(1.0, STOP + 1):
            if when == "during" and stop == 2.0:
                other.flush()
                listeners = Listeners(h, ring, kind)
                other.flush()
            one.run(stop)
            other.sample()
    during = listeners.heard()
    listeners.clear()
    h.finitialize(-65)
    h.ParallelContext().psolve(STOP)

    assert spikes_of(first) == spikes_of(second)
    assert min(len(times) for times in spikes_of(first).values()) > 0
    assert during == [spikes_of(first)] * (2 if " and " in kind else 1)
    assert [[*kind] for kind in listeners.heard()] == [[*kind] for kind in during]
    assert all(len(times) for kind in listeners.heard() for times in kind.values())


@pytest.mark.parametrize("of_ranks", [False, True])
@pytest.mark.parametrize("spikes", [True, -10.0])
def test_recorders_in_turn_and_restored_states_record_the_same(
    spikes, of_ranks, h, ring, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / f"{number}.nwb" for number in range(3)]
    context, state = h.ParallelContext(), h.BBSaveState() if of_ranks else h.SaveState()
    file = ["state.bbs"] if of_ranks else []
    context.set_maxstep(10)
    h.finitialize(-65)
    context.psolve(5.0)
    state.save(*file)
    for path in paths[:2]:
        with record(path, cells=range(4), spikes=spikes, every=0.1) as recorder:
            recorder.run(STOP)
    with record(paths[2], variables=[], cells=range(4), spikes=spikes) as recorder:
        h.finitialize(-65)
        state.restore(*file)
        recorder.sample()
        while h.t < STOP - h.dt / 2:
            h.fadvance()
        recorder.sample()

    every, again, later = (spikes_of(path) for path in paths)
    assert every == again
    assert later == {cell: [t for t in times if t > 5] for cell, times in every.items()}
    with open_output(paths[2]) as output:
        np.testing.assert_allclose(output.spikes[0].intervals, [[5e-3, STOP / 1000]])
        assert not output.reports
    assert h.List("IntFire1").count() == 0


def test_several_threads_allow_one_recorder_and_the_vectors_of_others(h, ring, tmp_path):
    h.ParallelContext().nthread(3)
    listeners = Listeners(h, ring, "vector")
    first, second = tmp_path / "first.nwb", tmp_path / "second.nwb"

    told = pytest.warns(SimulationOutputWarning, match=r"cell 3 .* statement was replaced")
    with told, record(first, cells=range(4), spikes=True, every=0.1) as one:
        with (
            pytest.raises(RecordingError, match=r"cell 0 of 'cells' .* by others, .* one thread"),
            record(second, cells=range(4), spikes=True),
        ):
            pass
        one.run(STOP)
    assert not second.exists()

    assert listeners.heard() == [spikes_of(first)]


def test_a_run_that_began_before_the_block_goes_on_beside_others(h, ring, tmp_path):
    listeners = Listeners(h, ring, "function and vector")
    h.ParallelContext().set_maxstep(10)
    h.finitialize(-65)
    with record(tmp_path / "run.nwb", cells=range(4), spikes=True, every=0.1):
        while h.t < STOP:
            h.fadvance()

    assert listeners.heard() == [spikes_of(tmp_path / "run.nwb")] * 2


def test_a_vector_that_is_set_while_the_simulation_runs_is_told_of(h, ring, tmp_path):
    with (
        pytest.raises(RecordingError, match=r"spikes of cell 2 of 'cells' are incomplete"),
        record(tmp_path / "run.nwb", cells=range(4), spikes=True, every=0.1) as recorder,
    ):
        h.finitialize(-65)
        vector = h.Vector()
        while h.t < STOP:
            recorder.sample()
            if h.t == pytest.approx(5.0):
                ring.connections[3].record(vector)
            h.fadvance()

    assert spikes_of(tmp_path / "run.nwb")[0]


def test_thresholds_of_users_stay_or_the_recorder_is_refused(h, tmp_path):
    cell, vector = Cell(0), h.Vector()
    context = h.ParallelContext()
    context.set_gid2node(3, 0)
    connection = h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma)
    connection.threshold = -20
    context.cell(3, connection)
    del connection

    with pytest.raises(RecordingError, match=r"threshold is -20\.0 mV"):
        with record(tmp_path / "of_gid.nwb", cells={3: cell}, spikes=0.0):
            pass
    context.gid_clear()
    connection = h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma)
    connection.threshold = -30
    connection.record(vector)
    del connection
    with pytest.raises(RecordingError, match=r"threshold is -30\.0 mV"):
        with record(tmp_path / "of_vector.nwb", cells={3: cell}, spikes=0.0):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_threshold_that_changes_in_the_block_is_warned_of(h, ring, tmp_path):
    told = pytest.warns(SimulationOutputWarning, match="threshold of cell 2 of 'cells' was changed")
    with told, record(tmp_path / "run.nwb", cells=range(4), spikes=-10.0) as recorder:
        ring.connections[3].threshold = -40
        recorder.run(STOP)

    assert ring.connections[3].threshold == -40


def test_one_connection_gives_the_spikes_of_several_ids(h, ring, tmp_path):
    source, other = (
        ring.connections[1],
        h.NetCon(ring.cells[0].soma(0.5)._ref_v, None, sec=ring.cells[0].soma),
    )
    given = {0: source, 50: source, 51: other}
    with record(tmp_path / "run.nwb", cells={0: ring.cells[0]}, spikes=given) as recorder:
        recorder.run(STOP)

    found = spikes_of(tmp_path / "run.nwb")
    assert sorted(found) == [0, 50, 51]
    assert found[0] == found[50] == found[51] != []


def test_the_threshold_is_in_the_first_section_whatever_is_recorded(h, ring, tmp_path):
    dendrites = [section for cell in ring.cells for section in cell.dend]
    for name, sections in (("all", None), ("dendrites", dendrites), ("one", dendrites[:1])):
        with record(tmp_path / name, cells=range(4), sections=sections, spikes=-10.0) as recorder:
            recorder.run(STOP)

    every = spikes_of(tmp_path / "all")
    assert every == spikes_of(tmp_path / "dendrites") == spikes_of(tmp_path / "one")


def test_the_time_recorded_is_kept_if_a_state_is_restored_too_late(h, ring, tmp_path):
    state = h.SaveState()
    with (
        pytest.raises(RecordingError, match="the time went back"),
        record(tmp_path / "run.nwb", cells=range(4), spikes=True, every=0.1) as recorder,
    ):
        recorder.run(5.0)
        state.save()
        recorder.run(STOP)
        state.restore()
        recorder.run(STOP)

    assert max(spikes_of(tmp_path / "run.nwb")[2]) > 5
    with open_output(tmp_path / "run.nwb") as output:
        np.testing.assert_allclose(output.spikes[0].intervals, [[0, STOP / 1000]])


def test_cells_that_are_silent_and_the_time_recorded_are_kept(h, tmp_path):
    _cells = [Cell(number) for number in range(3)]

    with record(tmp_path / "run.nwb", spikes=-10.0) as recorder:
        recorder.run(2.0)
        recorder.flush()
        recorder.run(4.0)

    with open_output(tmp_path / "run.nwb") as output:
        (spikes,) = output.spikes
        assert (len(spikes.times), spikes.silent.tolist()) == (0, [0, 1, 2])
        np.testing.assert_allclose(spikes.intervals, [[0, 4e-3]])


@pytest.mark.parametrize("variable_step", [False, True])
@pytest.mark.parametrize("variables", [[], [Variable("v", every=1.0, start=2.0)]])
def test_spikes_are_recorded_from_the_beginning(variables, variable_step, h, tmp_path):
    _cell = Cell(0)
    h.CVode().active(variable_step)
    h.load_file("stdrun.hoc")
    h.tstop = STOP

    with record(tmp_path / "run.nwb", variables=variables, spikes=-10.0):
        h.run()

    with open_output(tmp_path / "run.nwb") as output:
        np.testing.assert_allclose(output.spikes[0].intervals, [[0, STOP / 1000]], atol=1e-9)


def artificial(h: Any) -> dict[int, Any]:
    """Return artificial cells by id: two that are driven by the first, and a silent one."""
    stimulus, silent = h.NetStim(), h.NetStim()
    stimulus.start, stimulus.interval, stimulus.number = 0, 1.5, 5
    silent.number = 0
    cells = {2**40: stimulus, 500: h.IntFire1(), 501: h.IntFire4(), 502: silent}
    cells[500].refrac = 1
    connections = [h.NetCon(stimulus, cells[number], 0, 0.5, 2) for number in (500, 501)]
    stimulus.number = 5
    return {**cells, -1: connections}


@pytest.mark.parametrize(
    ("how", "has_gids", "variable_step"),
    [
        ("cells", False, False),
        ("population", True, True),
        ("spikes", True, False),
        ("spikes of populations", False, True),
    ],
)
def test_artificial_cells_are_recorded_by_id(how, has_gids, variable_step, h, tmp_path):
    cells, soma, target = artificial(h), Cell(7), tmp_path / "run.nwb"
    connections, context = cells.pop(-1), h.ParallelContext()
    heard, kept = {number: h.Vector() for number in cells}, []
    for number, cell in cells.items():
        kept.append(h.NetCon(cell, None))
        kept[-1].record(heard[number])
        if has_gids and number < 2**31:
            context.set_gid2node(number, 0)
            context.cell(number, kept[-1])
    h.CVode().active(variable_step)
    middle = h.NetCon(soma.soma(0.5)._ref_v, None, sec=soma.soma)
    middle.threshold = -10
    given: dict[str, Any] = {
        "cells": {"cells": {7: soma, **cells}, "spikes": -10.0},
        "population": {"cells": {"cells": {7: soma}, "drive": cells}, "spikes": {7: middle}},
        "spikes": {
            "cells": {7: soma},
            "spikes": {7: middle, **cells, 502: kept[3]},
        },
        "spikes of populations": {
            "cells": {"cells": {7: soma}},
            "spikes": {"cells": {7: middle}, "drive": cells},
        },
    }[how]

    with record(target, every=0.1, **given) as recorder:
        recorder.run(STOP)

    population = "drive" if "population" in how else "cells"
    expected = {number: np.round(list(times), 9).tolist() for number, times in heard.items()}
    found = spikes_of(target, population)
    assert {number: found[number] for number in cells} == expected
    assert [len(expected[number]) for number in (2**40, 502)] == [5, 0]
    assert len(expected[500]) == 5
    with open_output(target) as output:
        assert [report.name for report in output.reports] == ["v"]
        assert np.asarray(output["v"].compartments.cell_ids[:]).tolist() == [7]
    assert connections


def test_networks_of_artificial_cells_alone_are_recorded_by_gid(h, tmp_path):
    cells, context = artificial(h), h.ParallelContext()
    kept = []
    for gid in (500, 501):
        context.set_gid2node(gid, 0)
        kept.append(h.NetCon(cells[gid], None))
        context.cell(gid, kept[-1])

    with record(tmp_path / "run.nwb", cells={"drive": [500, 501]}, spikes=True) as recorder:
        recorder.run(STOP)

    found = spikes_of(tmp_path / "run.nwb", "drive")
    assert (len(found[500]), sorted(found)) == (5, [500, 501])


def test_cells_of_other_tools_are_recorded_by_their_gid(h, tmp_path):
    class PointCell:
        """Pretends to have every attribute, as the point cells of NetPyNE."""

        def __getattr__(self, name: str) -> Any:
            return lambda *_args, **_options: None

    cells, context = artificial(h), h.ParallelContext()
    context.set_gid2node(500, 0)
    connection = h.NetCon(cells[500], None)
    context.cell(500, connection)
    section = Cell(1)
    context.set_gid2node(600, 0)
    # The source of this gid is neither a potential nor an artificial cell.
    other = h.NetCon(section.soma(0.5).hh._ref_m, None, sec=section.soma)
    other.threshold = 0.03
    context.cell(600, other)

    with record(
        tmp_path / "run.nwb", cells={500: PointCell(), 600: SimpleNamespace()}, spikes=True
    ) as recorder:
        recorder.run(STOP)

    found = spikes_of(tmp_path / "run.nwb")
    assert (len(found[500]), len(found[600])) == (5, 1)


def test_what_cannot_be_recorded_is_refused_by_name(h, tmp_path):
    soma, target = Cell(7), tmp_path / "run.nwb"
    stimulus, synapse = h.NetStim(), soma.synapse
    nowhere = h.NetCon(None, synapse)
    middle = h.NetCon(soma.soma(0.5)._ref_v, None, sec=soma.soma)
    h.ParallelContext().set_gid2node(9, 0)
    alike, different = ({"a": {1: soma}, "b": {number: stimulus}} for number in (1, 2))

    for match, options in {
        "cell 500 of population 'cells' has no sections": {"cells": {7: soma, 500: stimulus}},
        r"cell 500, ExpSyn\[\d+\], sends no events": {
            "cells": {7: soma, 500: synapse},
            "spikes": 10,
        },
        "no section belongs to the cell .* of id 500": {
            "cells": {500: SimpleNamespace()},
            "spikes": True,
        },
        "cell 7 has no gid": {"cells": {7: soma}, "spikes": True},
        r"gid 9 has no source of spikes; expected pc\.cell": {"cells": {9: soma}, "spikes": True},
        r"NetCon\[\d+\], which spikes has for cell 7, has no source": {
            "cells": {7: soma},
            "spikes": {7: nowhere},
        },
        "spikes has 'soma' for cell 7; expected a NetCon": {
            "cells": {7: soma},
            "spikes": {7: "soma"},
        },
        "spikes has cell 5, which may belong to the populations a, b": {
            "cells": different,
            "spikes": {1: middle, 5: stimulus},
        },
        "cell 1, which may belong to the populations a, b": {
            "cells": alike,
            "spikes": {1: middle},
        },
        "spikes is nan; expected True": {"cells": {7: soma}, "spikes": float("nan")},
        r"spikes is \[NetCon.*; expected True": {"cells": {7: soma}, "spikes": [middle]},
        r"NetStim\[\d+\] belongs to cell 1 .* and to cell 2": {
            "cells": {1: stimulus, 2: stimulus},
            "spikes": True,
        },
    }.items():
        with pytest.raises(RecordingError, match=match), record(target, **options):
            pass
    with pytest.raises(ShapeMismatchError, match="the ids in spikes have the id -1"):
        with record(target, cells={7: soma}, spikes={7: middle, -1: stimulus}):
            pass
    assert list(tmp_path.iterdir()) == []


def test_coreneuron_is_refused_and_nothing_stays_alive(h, tmp_path, monkeypatch):
    cell = Cell(0)
    with record(tmp_path / "run.nwb", spikes=-10.0) as recorder:
        recorder.run(1.0)
        known = weakref.ref(recorder._spikes)

    monkeypatch.setitem(sys.modules, "neuron.coreneuron", SimpleNamespace(enable=True))
    with pytest.raises(RecordingError, match="CoreNEURON is enabled"):
        with record(tmp_path / "other.nwb", spikes=-10.0):
            pass
    del recorder
    gc.collect()
    assert known() is None
    assert cell.soma.nseg
