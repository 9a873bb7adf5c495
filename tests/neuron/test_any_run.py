"""A NEURON model is recorded whatever runs it, and a file has one run of one model."""

import gc
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning, WriteError
from ndx_simulation_output.neuron import Variable, record
from ndx_simulation_output.neuron.variables import reference

pytest.importorskip("neuron", reason="NEURON is not installed: pip install neuron")

from tests.neuron.models import Cell, Ring, Vectors, clean

STOP = 4.0


@pytest.fixture
def h():
    with clean() as neuron:
        neuron.load_file("stdrun.hoc")
        neuron.tstop = STOP
        yield neuron
        gc.collect()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "run.nwb"


def values(path: Path, name: str = "v") -> Any:
    with open_output(path) as output:
        return output[name].data[:, :]


def seconds(path: Path, name: str = "v") -> Any:
    with open_output(path) as output:
        return output[name].times.seconds()


def refused(match: str, target: Path, run: Any = None, **options: Any) -> None:
    """Check the error of set-up or of ``run``; the file that was there stays, and nothing else."""
    target.write_text("mine")
    before = sorted(target.parent.iterdir())
    with pytest.raises(RecordingError, match=match):
        with record(target, overwrite=True, **options) as recorder:
            (run or (lambda: recorder.run(1.0)))()
    assert target.read_text() == "mine"
    assert sorted(target.parent.iterdir()) == before
    target.unlink()


def by_psolve(h: Any) -> None:
    h.ParallelContext().set_maxstep(10)
    h.finitialize(-65)
    h.ParallelContext().psolve(STOP)


def by_steps(h: Any) -> None:
    h.finitialize(-65)
    while h.t < STOP - h.dt / 2:
        h.fadvance()


def by_continuerun(h: Any) -> None:
    h.finitialize(-65)
    h.continuerun(STOP / 3)
    h.continuerun(STOP)


RUNS = {"run": lambda h: h.run(), "psolve": by_psolve, "steps": by_steps, "parts": by_continuerun}


# Any loop


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("every", [None, 0.1])
@pytest.mark.parametrize("how", RUNS)
def test_what_runs_the_model_does_not_matter(how, every, threads, h, tmp_path):
    ring = Ring(3)
    h.ParallelContext().nthread(threads)
    expected = Vectors(ring.segments)
    options = {"every": every, "variables": ["v", "ExpSyn.g"], "spikes": -10.0}
    with record(tmp_path / "ours.nwb", **options) as recorder:
        recorder.run(STOP)

    with record(tmp_path / "theirs.nwb", **options):
        RUNS[how](h)

    found = values(tmp_path / "theirs.nwb")
    np.testing.assert_array_equal(found, expected.values[:: 1 if every is None else 4])
    conductances = [values(tmp_path / f"{name}.nwb", "ExpSyn.g") for name in ("ours", "theirs")]
    np.testing.assert_array_equal(*conductances)
    with open_output(tmp_path / "ours.nwb") as ours, open_output(tmp_path / "theirs.nwb") as theirs:
        assert len(ours.spikes[0].times) > 0
        np.testing.assert_array_equal(ours.spikes[0].times, theirs.spikes[0].times)


@pytest.mark.parametrize("how", ["run", "psolve", "parts"])
def test_variable_steps_are_sampled_at_an_interval_whatever_runs(how, h, target):
    ring = Ring(3)
    h.CVode().active(True)
    expected = Vectors(ring.segments, every=0.1)

    with record(target, every=0.1):
        RUNS[how](h)

    found = values(target)
    # With CVode, hoc's run ends before the time at which it should.
    assert len(found) >= len(expected.values) >= (40 if how == "psolve" else 35)
    np.testing.assert_allclose(found[: len(expected.values)], expected.values, rtol=0, atol=1e-9)


def test_each_variable_step_is_sampled_by_run_or_sample_and_nothing_else(h, tmp_path):
    ring = Ring(2)
    h.CVode().active(True)
    variables = ["v", Variable("ina", every=0.5)]
    with record(tmp_path / "loop.nwb", variables=variables) as recorder:
        h.finitialize(-65)
        recorder.sample()
        while h.t < STOP:
            h.fadvance()
            recorder.sample()
    with record(tmp_path / "run.nwb", variables=variables) as recorder:
        recorder.run(STOP)

    for name in ("loop.nwb", "run.nwb"):
        assert len(seconds(tmp_path / name)) > 10
        np.testing.assert_allclose(seconds(tmp_path / name, "ina")[:9], np.arange(9) * 5e-4)
    refused("nothing was recorded, although the time went from 0 to 4", tmp_path / "a.nwb", h.run)
    with pytest.raises(RecordingError, match=r"v was recorded until 1 ms, and the time went"):
        with record(tmp_path / "part.nwb") as recorder:
            recorder.run(1.0)
            h.continuerun(STOP)
    assert ring.cells


def test_samples_of_the_user_and_of_the_hook_are_one(h, target):
    ring = Ring(2)
    expected = Vectors(ring.segments)

    with record(target) as recorder:
        recorder.run(1.0)
        h.continuerun(2.0)
        while h.t < 3.0 - h.dt / 2:
            h.fadvance()
            recorder.sample()
            recorder.sample()
        recorder.run(STOP)

    np.testing.assert_array_equal(values(target), expected.values)


def test_two_recorders_follow_one_run(h, tmp_path):
    ring = Ring(2)
    expected = Vectors(ring.segments)

    with record(tmp_path / "a.nwb", every=0.1), record(tmp_path / "b.nwb") as second:
        second.run(STOP)

    np.testing.assert_array_equal(values(tmp_path / "a.nwb"), expected.values[::4])
    np.testing.assert_array_equal(values(tmp_path / "b.nwb"), expected.values)


@pytest.mark.parametrize("variable_step", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_recorded_after_the_block(threads, variable_step, h, target):
    ring = Ring(2)
    h.ParallelContext().nthread(threads)
    h.CVode().active(variable_step)
    with record(target, every=0.1, spikes=-10.0) as recorder:
        h.run()
    before = target.read_bytes()

    h.continuerun(2 * STOP)
    h.run()

    assert target.read_bytes() == before
    with pytest.raises(RecordingError, match="recording has ended"):
        recorder.run(10.0)
    with pytest.raises(RecordingError, match="recording has ended"):
        recorder.sample()
    assert ring.cells


def test_threads_work_after_a_recording_in_one(h, tmp_path):
    ring = Ring(2)
    for threads in (1, 3, 1, 2):
        h.ParallelContext().nthread(threads)
        with record(tmp_path / f"{threads}.nwb", overwrite=True):
            h.run()

    np.testing.assert_array_equal(values(tmp_path / "1.nwb"), values(tmp_path / "3.nwb"))
    assert ring.cells


# The first values


def test_states_set_after_finitialize_are_the_first_values(h, tmp_path):
    soma = Cell(0).soma
    for name in ("run", "continuerun"):
        with record(tmp_path / f"{name}.nwb", every=0.1, sections=soma) as recorder:
            h.finitialize(-65)
            soma(0.5).v = -40
            h.fcurrent()
            recorder.sample()
            recorder.run(5.0) if name == "run" else h.continuerun(5.0)
        found = values(tmp_path / f"{name}.nwb")
        assert found.shape == (51, 1)
        assert found[0, 0] == -40

    with record(tmp_path / "without.nwb", every=0.1, sections=soma) as recorder:
        h.finitialize(-65)
        soma(0.5).v = -40
        recorder.run(5.0)
    assert values(tmp_path / "without.nwb")[0, 0] == -40
    with record(tmp_path / "advanced.nwb", sections=soma) as recorder:
        h.finitialize(-65)
        h.fadvance()
        before = soma(0.5).v
        recorder.run(1.0)
    assert values(tmp_path / "advanced.nwb")[1, 0] == before


def test_the_documented_loop_works_in_a_fresh_process(tmp_path):
    code = (
        "from neuron import h\nfrom ndx_simulation_output.neuron import record\n"
        "s = h.Section('soma')\ns.insert('hh')\n"
        "with record('run.nwb', every=0.1) as recorder:\n"
        "    h.finitialize(-65)\n    recorder.sample()\n    recorder.run(5)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)

    assert len(values(tmp_path / "run.nwb")) == 51


def test_an_initialization_of_the_user_is_respected(h, target):
    soma = Cell(0).soma
    h("proc init() { finitialize(v_init + 5) }")
    try:
        with record(target, sections=soma) as recorder:
            recorder.run(1.0, v_init=-70)
        assert values(target)[0, 0] == -65
        assert h.v_init == -65
        h("proc init() { }")
        with record(target, sections=soma, overwrite=True) as recorder:
            recorder.run(1.0, v_init=-71)
        assert values(target)[0, 0] == -71
    finally:
        h("proc init() { finitialize(v_init) }")


WARM_UP = """proc init() { local dtsav
    finitialize(v_init)
    t = -1e10  dtsav = dt  dt = 1e9
    while (t < -1e9) { fadvance() }
    dt = dtsav  t = 0
    fcurrent()
    %s
}"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("again", ["", "frecord_init()"])
def test_no_value_is_from_before_a_warm_up(again, threads, h, tmp_path):
    cell = Cell(0)
    h.ParallelContext().nthread(threads)
    expected = Vectors([cell.soma(0.5)])
    h(WARM_UP % again)
    try:
        for name in ("ours", "theirs"):
            with record(tmp_path / f"{name}.nwb", sections=cell.soma) as recorder:
                recorder.run(STOP) if name == "ours" else h.run()
    finally:
        h("proc init() { finitialize(v_init) }")

    ours, theirs = (values(tmp_path / f"{name}.nwb") for name in ("ours", "theirs"))
    if again:
        np.testing.assert_array_equal(ours, expected.values)
    assert seconds(tmp_path / "ours.nwb")[0] == 0
    assert seconds(tmp_path / "theirs.nwb")[0] == pytest.approx(2.5e-5)
    np.testing.assert_array_equal(theirs, ours[1:])


def test_a_time_before_zero_is_not_recorded_unless_asked_for(h, tmp_path):
    cell = Cell(0)
    expected = Vectors([cell.soma(0.5)])
    variables = ["v", Variable("v", start=-1.0, label="early")]
    with record(tmp_path / "loop.nwb", sections=cell.soma, variables=variables) as recorder:
        h.finitialize(-65)
        h.t = -1
        recorder.sample()
        while h.t < 1.0 - h.dt / 2:
            h.fadvance()
            recorder.sample()
    with record(tmp_path / "hook.nwb", sections=cell.soma):
        h.finitialize(-65)
        h.t = -1
        h.continuerun(1.0)

    early, late = (values(tmp_path / "loop.nwb", name) for name in ("early", "v"))
    np.testing.assert_array_equal(early, expected.values)
    assert seconds(tmp_path / "loop.nwb", "early")[0] == -1e-3
    for name, found in (("loop", late), ("hook", values(tmp_path / "hook.nwb"))):
        np.testing.assert_array_equal(found, expected.values[-len(found) :])
        times = seconds(tmp_path / f"{name}.nwb")
        assert times[0] in (0.0, pytest.approx(2.5e-5))
        assert times[-1] == pytest.approx(1e-3)


def test_a_run_that_continues_is_recorded_from_its_time(h, tmp_path):
    ring = Ring(2)
    expected = Vectors(ring.segments)
    h.run()

    with record(tmp_path / "part.nwb", every=0.1) as recorder:
        recorder.sample()
        recorder.run(2 * STOP)
    with record(tmp_path / "next.nwb", every=0.1):
        h.continuerun(3 * STOP)

    for name, start in (("part", STOP), ("next", 2 * STOP)):
        times, found = seconds(tmp_path / f"{name}.nwb"), values(tmp_path / f"{name}.nwb")
        assert times[0] == pytest.approx(start / 1000)
        assert times[-1] == pytest.approx((start + STOP) / 1000)
        rows = np.rint(times * 1000 / h.dt).astype(int)
        np.testing.assert_array_equal(found, expected.values[rows])


def test_a_state_that_was_saved_is_the_beginning_of_another_file(h, tmp_path):
    ring = Ring(2)
    h.run()
    state = h.SaveState()
    state.save()
    with record(tmp_path / "first.nwb") as recorder:
        recorder.sample()
        h.continuerun(2 * STOP)
    h.finitialize(-65)

    with record(tmp_path / "again.nwb") as recorder:
        h.finitialize(-65)
        state.restore()
        recorder.sample()
        h.continuerun(2 * STOP)

    assert seconds(tmp_path / "again.nwb")[0] == pytest.approx(STOP / 1000)
    np.testing.assert_array_equal(values(tmp_path / "again.nwb"), values(tmp_path / "first.nwb"))
    assert ring.cells


# Trials


def test_nothing_of_two_trials_is_in_one_file(h, tmp_path):
    ring, state = Ring(2), h.SaveState()
    expected = Vectors(ring.segments)

    def again(recorder: Any) -> None:
        h.finitialize(-80)

    def hoc_run(recorder: Any) -> None:
        h.run()

    def restored(recorder: Any) -> None:
        h.continuerun(STOP + 1)
        state.restore()
        recorder.run(STOP + 2)

    def restored_in_loop(recorder: Any) -> None:
        h.continuerun(STOP + 1)
        state.restore()
        recorder.sample()

    def set_back(recorder: Any) -> None:
        h.t = 1.0
        h.continuerun(STOP + 1)

    def set_back_in_part(recorder: Any) -> None:
        h.t = 1.0
        h.continuerun(2.0)

    def swallowed(recorder: Any) -> None:
        with pytest.raises(RuntimeError):
            h.finitialize(-80)
        h.continuerun(STOP + 1)

    for number, what in enumerate(
        [again, hoc_run, restored, restored_in_loop, set_back, set_back_in_part, swallowed]
    ):
        target = tmp_path / f"{number}.nwb"
        with pytest.raises(RecordingError, match="a file has one run: record each trial"):
            with record(target, spikes=-10.0) as recorder:
                h.run()
                state.save()
                what(recorder)
        found = values(target)
        assert len(found) in (161, 201), what
        with open_output(target) as output:
            assert np.all(np.diff(output.spikes[0].times[output.spikes[0].node_ids == 0]) > 0)
        h.run()
        np.testing.assert_array_equal(found[:161], expected.values)


def test_a_first_finitialize_may_come_twice(h, target):
    cell = Cell(0)
    with record(target, sections=cell.soma, spikes=-10.0):
        h.finitialize(-80)
        h.run()

    assert values(target).shape == (161, 1)
    assert values(target)[0, 0] == -65


def test_trials_are_a_file_each(h, tmp_path):
    cell = Cell(0)
    for trial, potential in enumerate((-65, -70)):
        h.v_init = potential
        with record(tmp_path / f"{trial}.nwb", sections=cell.soma):
            h.run()
    h.v_init = -65

    assert [values(tmp_path / f"{trial}.nwb")[0, 0] for trial in (0, 1)] == [-65, -70]


# What fails leaves the file that was there


def test_a_set_up_that_fails_leaves_the_target(h, tmp_path):
    target, cell = tmp_path / "run.nwb", Cell(0)
    cell.soma.insert("extracellular")
    clamp = h.VClamp(cell.soma(0.5))
    dend = cell.dend[0]

    refused(
        r"vext of .*soma\(0\.5\) is an array; .*: vext\[0\], vext\[1\]", target, variables="vext"
    )
    refused(r"vext of .* is an array", target, variables=["v", "vext[2]"])
    refused(r"v of .* is not an array; expected 'v'", target, variables=["v[0]"])
    refused(r"amp of VClamp.* amp\[0\], amp\[1\], amp\[2\]", target, variables=["VClamp.amp"])
    refused("variables are None", target, variables=None)
    refused(r"variables are \['v', 3\]", target, variables=["v", 3])
    refused("dtype of v is 'i4'", target, dtype="i4")
    refused("interval of v is '0.1'; expected a number", target, every="0.1")
    refused("interval of v is True", target, every=True)
    refused("interval of v is nan", target, every=float("nan"))
    refused("interval of v is -0.1 ms; expected more", target, every=-0.1)
    refused("dtype of v is 'zz'", target, dtype="zz")
    refused("flush_every is None; expected a number", target, flush_every=None)
    refused("flush_every is nan", target, flush_every=float("nan"))
    refused("to 1 ms: the start of v is later", target, variables=Variable("v", start=2.0))
    refused(
        r"stop of v is 2\.0 ms, before its first sample at 5\.0 ms",
        target,
        variables=Variable("v", start=5.0, stop=2.0),
    )
    refused("stop of v is -1 ms, before", target, variables=Variable("v", stop=-1))
    refused("no variables and no spikes", target, variables=[])
    refused("sections to record have 'soma'", target, sections="soma")
    refused(
        r"sections of v have .*dend\[0\]\(1\)", target, variables=Variable("v", sections=dend(1))
    )
    refused("no section .* has v", target, sections=[])
    refused("sections to record have SectionRef", target, sections=h.SectionRef(sec=dend))
    for cells in ([cell], [cell.sections, [dend]], {"exc": [cell]}, cell, 3, ["exc"], [1.0]):
        refused(r"cells are .*; expected gids, or cells by their id", target, cells=cells)
    refused("stop is '3'", target, lambda: record_and_run(target, "3"))
    assert clamp


def record_and_run(target: Path, stop: Any) -> None:
    with record(target, overwrite=True) as recorder:
        recorder.run(stop)


def test_a_recording_without_samples_leaves_the_target(h, target):
    _cell = Cell(0)
    target.write_text("mine")

    with pytest.warns(SimulationOutputWarning, match="no file is written"):
        with record(target, overwrite=True, spikes=-10.0):
            pass
    with pytest.warns(SimulationOutputWarning, match="no file is written"):
        with record(target, overwrite=True, spikes=-10.0) as recorder:
            recorder.flush()
    with pytest.raises(ZeroDivisionError), record(target, overwrite=True, spikes=-10.0) as recorder:
        recorder.flush()
        1 / 0  # noqa: B018
    with pytest.raises(RecordingError, match="nothing was recorded, although the time went from 0"):
        with record(target, overwrite=True, variables=Variable("v", start=9.0)):
            h.run()

    assert target.read_text() == "mine"
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(WriteError, match="does not exist"), record(target / "no" / "run.nwb"):
        pass


# Variables, sections and segments


def test_elements_of_arrays_are_recorded(h, target):
    cell = Cell(0)
    cell.soma.insert("extracellular")
    cell.soma(0.5).xg[0] = 1e-3
    clamp = h.VClamp(cell.soma(0.5))
    clamp.amp[1], clamp.dur[0], clamp.dur[1] = -40, 1, 1
    expected = h.Vector().record(cell.soma(0.5)._ref_vext[0])
    resistance = Variable("xraxial[1]", unit="MOhm")
    variables = ["vext[0]", resistance, "VClamp.amp[1]", "vext[1]"]

    with record(target, variables=variables) as recorder:
        recorder.run(3.0)

    np.testing.assert_array_equal(values(target, "vext[0]")[:, 0], np.array(expected))
    assert np.ptp(values(target, "vext[0]")) > 0
    np.testing.assert_array_equal(values(target, "xraxial[1]"), 1e9)
    np.testing.assert_array_equal(values(target, "VClamp.amp[1]"), -40)
    assert validate(path=str(target)) == []
    with open_output(target) as output:
        assert output["vext[0]"].unit.name == "volts"
        assert output["VClamp.amp[1]"].unit.conversion == 1e-3
    segment = cell.soma(0.5)
    assert reference(segment, "nothing") is None
    assert reference(segment, "vext[1]")[0] == segment.vext[1]
    assert reference(clamp, "amp[1]")[0] == -40


def test_sections_and_segments_have_several_spellings(h, target):
    cell, other = Cell(0), Cell(1)
    dend = cell.dend[1]
    spellings = [
        (cell.soma, [("Cell[0].soma", 0.5)]),
        (dend(0.5), [("Cell[0].dend[1]", 0.5)]),
        ([dend(0.12), dend(0.1), dend(0.9)], [("Cell[0].dend[1]", x) for x in (0.1, 0.9)]),
        ((cell.soma, other.soma), [("Cell[0].soma", 0.5), ("Cell[1].soma", 0.5)]),
        (h.SectionList([other.soma]), [("Cell[1].soma", 0.5)]),
        (iter([other.soma(0.5)]), [("Cell[1].soma", 0.5)]),
    ]
    for sections, expected in spellings:
        variable = Variable("v", sections=sections, label="some")
        with record(target, variables=variable, overwrite=True, spikes=None) as recorder:
            recorder.run(0.1)
        with open_output(target) as output:
            columns = output["some"].compartments.columns
            found = list(zip(map(str, columns["label"][:]), columns["position"][:], strict=True))
        assert [(name, pytest.approx(x)) for name, x in expected] == found
    every = np.float32(0.1)
    with record(target, sections=dend(0.3), variables="v", every=every, overwrite=True) as recorder:
        recorder.run(0.1)
    assert values(target).shape == (2, 1)
    with open_output(target) as output:
        assert output["v"].times.rate == 10_000


def test_a_variable_whose_start_is_after_the_end_is_told_of(h, target):
    _cell = Cell(0)
    variables = ["v", Variable("ina", start=STOP), Variable("ik", start=STOP + 1)]

    with pytest.warns(SimulationOutputWarning, match="ended at 4 ms, before the start of ik$"):
        with record(target, variables=variables):
            h.run()

    assert [len(values(target, name)) for name in ("v", "ina", "ik")] == [161, 1, 0]


def test_a_start_before_the_time_of_the_model_is_refused(h, tmp_path):
    _cell = Cell(0)
    h.run()

    def sample() -> None:
        with record(tmp_path / "other.nwb", variables=Variable("v", start=1.0)) as recorder:
            recorder.sample()

    refused("start of v is 1.0 ms, and the time of the model is 4.0", tmp_path / "run.nwb", sample)


def test_what_is_gone_is_an_error(h, tmp_path):
    def recorded(name: str, change: Any, match: str, variables: Any = "ExpSyn.g") -> None:
        with pytest.raises(RecordingError, match=match):
            with record(tmp_path / f"{name}.nwb", variables=variables) as recorder:
                recorder.run(1.0)
                change()
                recorder.run(2.0)
        with open_output(tmp_path / f"{name}.nwb") as output:
            assert output.reports[0].data.shape[0] == 41

    cell = Cell(0)
    recorded("moved", lambda: cell.synapse.loc(cell.dend[0](0.9)), r"ExpSyn.* was in .*dend\[0\]")
    recorded(
        "uninserted",
        lambda: cell.soma.uninsert("hh"),
        "no longer has m_hh",
        Variable("m_hh", unit="1"),
    )
    recorded("deleted", lambda: h.delete_section(sec=cell.dend[1]), "was deleted", "v")


def test_neuron_prints_nothing(h, target, capfd):
    _cell = Cell(0)
    capfd.readouterr()

    refused("no section .* has ExpSyn.nope", target, variables=["ExpSyn.nope"])
    refused("no section .* has nope", target, variables=["nope"])
    refused("no point process 'Vector'", target, variables=["Vector.x"])
    refused("no section .* has vext", target, variables=["vext[0]"])

    assert capfd.readouterr() == ("", "")


# Spikes without variables


def test_spikes_alone_are_flushed_while_a_model_runs(h, target):
    ring = Ring()
    with record(target, variables=[], spikes=-10.0, flush_every=0.0) as recorder:
        recorder.run(8.0)
        spools = list(target.parent.glob("*.spikes"))
        assert sum(path.stat().st_size for path in spools) > 0

    with open_output(target) as output:
        assert len(output.spikes[0].times) > 2
    assert ring.cells


# The model is released


@pytest.mark.parametrize("how", ["run", "hoc", "fails", "set-up fails", "finitialize"])
def test_a_model_that_was_recorded_is_released(how, h, tmp_path):
    kept: list[Any] = []

    def trial(number: int) -> None:
        cell = Cell(number)
        variables = ["v", "ExpSyn.g", *(["v[3]"] if how == "set-up fails" else [])]
        try:
            with record(
                tmp_path / f"{number}.nwb", variables=variables, every=0.1, spikes=-10.0
            ) as recorder:
                kept.append(recorder)
                recorder.run(1.0) if how == "run" else h.run()
                if how == "fails":
                    del cell.dend[1:]
                    recorder.run(5.0)
                if how == "finitialize":
                    h.finitialize(-65)
        except RecordingError as error:
            kept.append(str(error))  # The frames of an error have the cell of this function.

    for number in range(3):
        trial(number)
        gc.collect()
        assert list(h.allsec()) == []
    assert len(kept) >= 3


# Facts of the run


def test_the_facts_are_those_of_the_first_sample(h, target):
    _cell = Cell(0)
    with record(target):
        h.celsius, h.dt, h.steps_per_ms = 34.0, 0.05, 20
        h.Random().Random123_globalindex(7)
        h.run()
    h.steps_per_ms = 40

    with open_output(target) as output:
        assert output.run.temperature == 34.0
        assert output.run.time_step == 5e-5
        assert output.run.seed == 7
        assert output["v"].times.rate == 20_000
        assert not output.notes
    assert validate(path=str(target)) == []
    h.Random().Random123_globalindex(0)


def test_a_temperature_that_changes_is_told_of(h, target):
    _cell = Cell(0)
    metadata = {"SimulationMetaData": {"seed": 3}, "NWBFile": {"notes": "mine"}}

    def run() -> None:
        with record(target, metadata=metadata, spikes=-10.0) as recorder:
            recorder.run(1.0)
            h.celsius = 35.0
            recorder.run(2.0)

    with pytest.warns(SimulationOutputWarning, match="temperature was 6.3 .* 35.0 .* at the end"):
        run()

    with NWBHDF5IO(target, "r") as io:
        nwbfile = io.read()
        assert nwbfile.notes.startswith("mine\nthe temperature was 6.3")
        assert nwbfile.lab_meta_data["simulation"].temperature == 6.3
        assert nwbfile.lab_meta_data["simulation"].seed == 3


def test_cvode_may_be_switched_on_before_the_run_if_there_is_an_interval(h, tmp_path):
    _cell = Cell(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record(tmp_path / "run.nwb", every=0.1) as recorder:
            h.CVode().active(True)
            recorder.run(1.0)

    assert len(values(tmp_path / "run.nwb")) == 11
    with open_output(tmp_path / "run.nwb") as output:
        assert output.run.time_step is None
    h.CVode().active(False)
    h.dt = 0.025

    def switch() -> None:
        h.CVode().active(True)
        h.run()

    refused("CVode was switched on after", tmp_path / "a.nwb", switch)

    def switch_off() -> None:
        h.CVode().active(False)
        h.dt = 0.025
        h.run()

    refused("CVode was switched off after", tmp_path / "c.nwb", switch_off)

    def local() -> None:
        h.CVode().active(True)
        h.CVode().use_local_dt(True)
        h.run()

    refused("use_local_dt", tmp_path / "b.nwb", local, every=0.1)
