"""A recorded NEURON model has the values that NEURON itself records."""

import gc
import os
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import (
    NameClashError,
    RecordingError,
    SimulationOutputWarning,
    TargetExistsError,
    UnitError,
    UnitWarning,
)
from ndx_simulation_output.neuron import Variable, record
from ndx_simulation_output.nwb.recover import recover
from ndx_simulation_output.storage.layout import StorageOptions

pytest.importorskip("neuron", reason="NEURON is not installed: pip install neuron")

from tests.neuron.models import Cell, Ring, Vectors, clean

STOP = 12.0
RUN = Path(__file__).with_name("run.py")


@pytest.fixture
def h():
    with clean() as neuron:
        yield neuron
        gc.collect()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "run.nwb"


def values(path: Path, name: str = "v") -> Any:
    with open_output(path) as output:
        return output[name].data[:, :]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_time_step_is_what_neuron_records(threads, h, target):
    ring = Ring()
    h.ParallelContext().nthread(threads)
    expected = Vectors(ring.segments)

    with record(target, variables=["v"]) as recorder:
        recorder.run(STOP)

    assert len(expected.values) == round(STOP / h.dt) + 1
    assert np.ptp(expected.values) > 50
    np.testing.assert_array_equal(values(target), expected.values)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("every", [0.05, 0.1, 1.5])
def test_an_interval_samples_some_of_the_time_steps(every, threads, h, target):
    ring = Ring()
    h.ParallelContext().nthread(threads)
    expected = Vectors(ring.segments)

    with record(target, every=every) as recorder:
        recorder.run(STOP)

    np.testing.assert_array_equal(values(target), expected.values[:: round(every / h.dt)])


def test_a_run_in_parts_and_a_loop_of_the_caller_record_the_same(h, tmp_path):
    ring = Ring()
    expected = Vectors(ring.segments)
    with record(tmp_path / "parts.nwb", every=0.1) as recorder:
        for stop in (0.1, 3.33, 3.4, STOP):
            recorder.run(stop)
    with record(tmp_path / "loop.nwb", every=0.1) as recorder:
        h.finitialize(-65)
        recorder.sample()
        while h.t < STOP - h.dt / 2:
            h.fadvance()
            recorder.sample()

    np.testing.assert_array_equal(values(tmp_path / "parts.nwb"), expected.values[::4])
    np.testing.assert_array_equal(values(tmp_path / "loop.nwb"), expected.values[::4])


def test_chunks_are_full_at_the_end_of_a_run_that_is_known(h, tmp_path):
    ring = Ring(nseg=51)
    expected = Vectors(ring.segments)
    heights = []
    for parts in ([STOP], [1.0, STOP]):
        target = tmp_path / f"{len(parts)}.nwb"
        with record(target, storage=StorageOptions(memory=2**20)) as recorder:
            for stop in parts:
                recorder.run(stop)
        with open_output(target) as output:
            np.testing.assert_array_equal(output["v"].data[:, :], expected.values)
            heights.append(output["v"].data.chunks[0])

    # 481 time steps: equal parts, or as many as the buffer holds if more may follow.
    assert heights == [241, 2**20 // (8 * len(ring.segments))]


def test_a_mechanism_that_was_inserted_again_is_recorded(h, target):
    cell = Cell(0)
    with record(target, variables=Variable("m_hh", unit="1")) as recorder:
        for section in (cell.soma, *cell.dend):
            if section.has_membrane("hh"):
                section.uninsert("hh")
                section.insert("hh")
        expected = Vectors([cell.soma(0.5)], "m_hh")
        recorder.run(1.0)

    np.testing.assert_array_equal(values(target, "m_hh")[:, :1], expected.values)


def test_a_long_run_loses_no_time_step_to_rounding(h, target):
    section = h.Section(name="soma")
    section.insert("pas")
    h.dt = 0.1

    with record(target, every=0.3) as recorder:
        recorder.run(3000.0)

    assert len(values(target)) == 10_001


def test_cvode_on_a_grid_gives_what_neuron_interpolates(h, target):
    ring = Ring()
    h.CVode().active(True)
    expected = Vectors(ring.segments, every=0.1)

    with record(target, every=0.1) as recorder:
        recorder.run(STOP)

    found = values(target)
    count = min(len(found), len(expected.values))
    assert len(found) == 121
    assert count >= 120
    np.testing.assert_allclose(found[:count], expected.values[:count], rtol=0, atol=1e-9)


def test_cvode_at_its_own_times(h, target):
    ring = Ring()
    h.CVode().active(True)
    expected = Vectors(ring.segments)

    with record(target) as recorder:
        recorder.run(STOP)

    with NWBHDF5IO(target, "r") as io:
        series = io.read().acquisition["v"]
        times, found = series.timestamps[:] * 1000, series.data[:]
    assert np.ptp(np.diff(times)) > 0.01
    # At an event CVode stops too, and takes a step of no length.
    known, first = np.unique(expected.times, return_index=True)
    rows = np.abs(times[:, np.newaxis] - known).argmin(axis=0)
    np.testing.assert_allclose(times[rows], known, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[rows], expected.values[first], rtol=0, atol=1e-9)
    assert len(times) < 1.2 * len(known)


def test_variables_have_compartments_intervals_and_windows_of_their_own(h, target):
    ring = Ring(3)
    everywhere = Vectors(ring.segments)
    currents = Vectors([cell.soma(0.5) for cell in ring.cells], "ina")
    variables = [
        "v",
        Variable("ina", every=0.1, start=2.0, stop=5.0, dtype="f4"),
        Variable("v", sections=ring.cells[1].dend, every=0.5, label="dendrites"),
        Variable("ExpSyn.g"),
    ]

    with record(target, variables=variables) as recorder:
        recorder.run(STOP)

    with open_output(target) as output:
        current, dendrites, conductance = output["ina"], output["dendrites"], output["ExpSyn.g"]
        assert current.times.start == pytest.approx(2e-3)
        assert current.times.rate == pytest.approx(1e4)
        assert (current.unit.name, current.unit.conversion) == ("amperes per square meter", 10)
        np.testing.assert_array_equal(
            current.data[:, :], currents.values[80:201:4].astype(np.float32)
        )
        assert np.asarray(dendrites.compartments.cell_ids[:]).tolist() == [1]
        np.testing.assert_array_equal(dendrites.data[:, :], everywhere.values[::20][:, 12:22])
        assert conductance.data.shape == (481, 3)
        assert conductance.data[:, :].max() > 0.02
        table = conductance.compartments
        processes = list(table.columns["point_process"][:])
        assert processes == [cell.synapse.hname() for cell in ring.cells]
        assert conductance.unit.conversion == pytest.approx(1e-6)


def test_the_table_has_the_geometry_and_the_model_is_not_changed(h, target):
    cells = [Cell(number) for number in range(2)]
    before = [(section.n3d(), [segment.diam for segment in section]) for section in h.allsec()]

    with record(target, cells={7: cells[1], 3: cells[0]}, population="L5") as recorder:
        recorder.run(1.0)

    after = [(section.n3d(), [segment.diam for segment in section]) for section in h.allsec()]
    assert after == before
    with open_output(target) as output:
        table = output["v"].compartments
        column = {name: np.asarray(values[:]) for name, values in table.columns.items()}
        assert table.population == "L5"
        assert np.asarray(table.cell_ids[:]).tolist() == [7, 3]
        assert table.counts().tolist() == [11, 11]
        assert column["number"].tolist() == [0, *[1] * 5, *[2] * 5] * 2
        assert [str(text) for text in column["label"][:7]] == [
            "Cell[1].soma",
            *["Cell[1].dend[0]"] * 5,
            "Cell[1].dend[1]",
        ]
        np.testing.assert_allclose(column["position"][:6], [0.5, 0.1, 0.3, 0.5, 0.7, 0.9])
        np.testing.assert_allclose(column["x"][1:6], [15, 45, 75, 100, 100])
        np.testing.assert_allclose(column["y"][1:6], [0, 0, 0, 5, 35], atol=1e-5)
        assert np.isnan(column["x"][[0, *range(6, 11)]]).all()
        np.testing.assert_allclose(column["diameter"][0], 21)


def test_sections_of_no_cell_are_a_cell_for_each_tree(h, target):
    roots = [h.Section(name=name) for name in ("a", "b")]
    branch = h.Section(name="branch")
    branch.connect(roots[1](1))

    with record(target) as recorder:
        recorder.run(1.0)

    with open_output(target) as output:
        assert output["v"].compartments.counts().tolist() == [1, 2]


def test_gids_populations_and_spikes_come_from_the_parallel_context(h, target):
    ring, context = Ring(), h.ParallelContext()
    for cell in ring.cells:
        context.set_gid2node(100 + cell.number, 0)
        source = h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma)
        source.threshold = -10
        context.cell(100 + cell.number, source)
    populations = {
        "even": {100: ring.cells[0], 102: ring.cells[2]},
        "odd": {101: ring.cells[1], 103: ring.cells[3]},
    }

    with record(target, cells=populations, spikes=True) as recorder:
        recorder.run(STOP)

    with open_output(target) as output:
        assert {report.name for report in output.reports} == {"v_even", "v_odd"}
        spikes = {some.population: some for some in output.spikes}
        assert set(spikes["even"].node_ids.tolist()) == {100, 102}
        assert set(spikes["odd"].node_ids.tolist()) == {101, 103}
        first = output["v_even"].get_traces(cells=100, numbers=0)[:, 0]
        crossing = np.flatnonzero((first[1:] > -0.01) & (first[:-1] <= -0.01))[0] * 25e-6
        assert spikes["even"].times.min() == pytest.approx(crossing, abs=5e-5)


def test_spikes_by_threshold_and_by_netcon_agree(h, tmp_path):
    ring = Ring()
    connections = {cell.number: ring.connections[1 + cell.number] for cell in ring.cells}
    found = []
    for number, spikes in enumerate([-10.0, connections]):
        path = tmp_path / f"{number}.nwb"
        with record(path, spikes=spikes) as recorder:
            recorder.run(STOP)
        with open_output(path) as output:
            (some,) = output.spikes
            found.append((some.node_ids.tolist(), some.times.tolist()))

    assert found[0] == found[1]
    assert set(found[0][0]) == {0, 1, 2, 3}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("variable_step", [False, True])
@pytest.mark.parametrize("how", ["gids", "threshold", "connections"])
def test_spikes_are_those_that_others_record_before_and_after(
    how, variable_step, threads, h, target
):
    ring, context = Ring(), h.ParallelContext()
    context.nthread(threads)
    h.CVode().active(variable_step)
    for cell in ring.cells:
        context.set_gid2node(cell.number, 0)
        context.cell(cell.number, ring.connections[1 + cell.number])
    before, of_before, after, of_after = (h.Vector() for _ in range(4))
    context.spike_record(0, before, of_before)
    what = {
        "gids": True,
        "threshold": -10.0,
        "connections": {cell.number: ring.connections[1 + cell.number] for cell in ring.cells},
    }[how]

    told = (
        nullcontext()
        if threads == 1
        else pytest.warns(SimulationOutputWarning, match="statement was replaced")
    )
    with told, record(target, cells=range(4), every=0.1, spikes=what) as recorder:
        for gid in (1, 2, 3):  # what BioNet does when it begins to run
            context.spike_record(gid, after, of_after)
        recorder.run(STOP)
        expected = zip([*before, *after], [*of_before, *of_after], strict=True)
        expected = sorted((time / 1000.0, gid) for time, gid in expected)
    h.finitialize(-65)
    context.psolve(STOP)  # nothing is left that listens

    with open_output(target) as output:
        (spikes,) = output.spikes
        found = sorted(zip(spikes.times, spikes.node_ids, strict=True))
    assert len(found) > 4
    assert found == expected


def test_spikes_of_a_gid_may_come_from_anywhere_in_its_cell(h, target):
    cell, context = Cell(0), h.ParallelContext()
    clamp = h.IClamp(cell.soma(0.5))
    clamp.dur, clamp.amp = 1e9, 1.0
    context.set_gid2node(5, 0)
    source = h.NetCon(cell.dend[1](1)._ref_v, None, sec=cell.dend[1])
    source.threshold = -40
    context.cell(5, source)
    del source
    times, ids = h.Vector(), h.Vector()
    context.spike_record(-1, times, ids)

    with record(target, sections=cell.dend, cells={5: cell}, spikes=True) as recorder:
        recorder.run(STOP)

    with open_output(target) as output:
        (spikes,) = output.spikes
        assert spikes.times.tolist() == [time / 1000.0 for time in times]


def test_the_membrane_current_sums_to_what_is_injected(h, target):
    cell = Cell(0)
    clamp = h.IClamp(cell.soma(0.5))
    clamp.delay, clamp.dur, clamp.amp = 1, 5, 0.25
    h.CVode().use_fast_imem(True)

    with record(target, variables=["i_membrane_"]) as recorder:
        recorder.run(4.0)

    with open_output(target) as output:
        report = output["i_membrane_"]
        assert (report.unit.name, report.unit.conversion) == ("amperes", 1e-9)
        np.testing.assert_allclose(report.data[:, :].sum(axis=1)[60:], 0.25, atol=1e-9)


def test_an_unknown_unit_is_warned_of_and_can_be_set(h, target):
    cell = Cell(1)

    with pytest.warns(UnitWarning, match=r"m_hh; .*Variable\('m_hh', unit=…\)"):
        with record(target, variables=["m_hh"], sections=cell.sections) as recorder:
            recorder.run(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record(target, variables=[Variable("m_hh", unit="1")], overwrite=True) as recorder:
            recorder.run(1.0)

    with open_output(target) as output:
        assert output["m_hh"].unit.name == "1"
    with pytest.raises(UnitError, match="furlongs"):
        with record(target, variables=[Variable("v", unit="furlongs")], overwrite=True):
            pass


def test_the_file_is_valid_and_other_tools_read_it(h, target):
    _ring = Ring()
    with record(target, spikes=-10.0, every=0.1) as recorder:
        recorder.run(5.0)

    assert validate(path=str(target)) == []
    with NWBHDF5IO(target, "r") as io:
        nwbfile = io.read()
        run = nwbfile.lab_meta_data["simulation"]
        assert run.simulator == "NEURON"
        assert nwbfile.acquisition["v"].data.dtype == np.float64


def test_what_was_recorded_is_kept_when_the_block_fails(h, target):
    ring = Ring()
    expected = Vectors(ring.segments)

    with pytest.raises(ZeroDivisionError), record(target, spikes=-10.0) as recorder:
        recorder.run(6.0)
        1 / 0  # noqa: B018

    np.testing.assert_array_equal(values(target), expected.values)
    with open_output(target) as output:
        assert len(output.spikes[0].times) >= 2


def test_a_file_that_exists_is_not_touched(h, target):
    _soma = h.Section(name="soma")
    target.write_text("mine")

    with pytest.raises(TargetExistsError), record(target):
        pass

    assert target.read_text() == "mine"


def refused(match: str, target: Path, *, error: type = RecordingError, **options: Any) -> None:
    with pytest.raises(error, match=match), record(target, **options) as recorder:
        recorder.run(1.0)
    assert list(target.parent.iterdir()) == []


def test_what_would_give_wrong_values_is_refused(h, target):
    cell = Cell(0)

    refused(
        r"interval of v is 0\.03 ms; expected a multiple of .*h\.dt = 0\.025", target, every=0.03
    )
    refused(r"interval of v is 0 ms; expected more than 0", target, every=0)
    refused("start of v is 0.01", target, variables=[Variable("v", start=0.01)])
    refused("use_fast_imem", target, variables=["i_membrane_"])
    refused("no section .* has nonsense", target, variables=["nonsense"])
    refused("no point process 'Nope'", target, variables=["Nope.g"])
    refused("no section .* has ExpSyn.nope", target, variables=["ExpSyn.nope"])
    refused("no cell of gid 5", target, cells=[5])
    refused(r"Cell\[0\].soma belongs to cell 1 .* and to cell 2", target, cells={1: cell, 2: cell})
    refused("no section belongs to the cell 3", target, cells={1: 3})
    refused("cell 0 has no gid", target, spikes=True)
    refused("spikes has no NetCon for cell 0", target, spikes={})
    refused("same name", target, variables=["v", "v"], error=NameClashError)
    h.CVode().active(True)
    h.CVode().use_local_dt(True)
    refused("use_local_dt", target)


def test_a_threshold_that_the_model_has_already_is_not_changed(h, target):
    ring = Ring()

    refused(r"threshold is -10\.0 mV", target, spikes=5.0)

    assert ring.connections[1].threshold == -10


def test_a_time_step_left_behind_by_cvode_is_warned_of(h, target):
    _soma = h.Section(name="soma")
    h.dt = 0.4375218

    with pytest.warns(SimulationOutputWarning, match="switching CVode off leaves"):
        with record(target) as recorder:
            recorder.run(2.0)


def test_a_model_that_changes_after_set_up_is_refused(h, target):
    cell = Cell(0)

    with pytest.raises(RecordingError, match=r"dend\[0\] has 7 segments; expected 5"):
        with record(target) as recorder:
            cell.dend[0].nseg = 7
            recorder.run(1.0)


def test_a_time_step_or_method_that_changes_is_refused(h, tmp_path):
    _cell = Cell(0)
    with pytest.raises(RecordingError, match=r"h\.dt is 0\.05 ms; expected 0\.025"):
        with record(tmp_path / "dt.nwb") as recorder:
            recorder.run(1.0)
            h.dt = 0.05
            recorder.run(2.0)
    h.dt = 0.025
    with pytest.raises(RecordingError, match="CVode was switched"):
        with record(tmp_path / "cvode.nwb") as recorder:
            recorder.run(1.0)
            h.CVode().active(True)
            recorder.run(2.0)


def test_a_sample_that_was_missed_is_refused(h, target):
    _cell = Cell(0)

    with pytest.raises(RecordingError, match=r"v was not sampled at 1\.1.* ms, .* is 2\.0 ms"):
        with record(target, every=0.1) as recorder:
            recorder.run(1.0)
            h.t = 2.0
            recorder.sample()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_that_is_killed_loses_only_what_was_not_flushed(tmp_path):
    target = tmp_path / "run.nwb"
    command = [sys.executable, str(RUN), "killed", str(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    flushed = float(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not target.exists()

    recovered = recover(target)

    whole = subprocess.run(
        [sys.executable, str(RUN), "whole", str(tmp_path / "whole.nwb")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert whole.returncode == 0
    found, expected = values(target), values(tmp_path / "whole.nwb")
    assert recovered.reports[0].steps == len(found)
    assert len(found) >= round(flushed / 0.025)
    np.testing.assert_array_equal(found, expected[: len(found)])
    with open_output(target) as output, open_output(tmp_path / "whole.nwb") as complete:
        some, every = output.spikes[0].times, complete.spikes[0].times
        np.testing.assert_array_equal(np.sort(some), np.sort(every)[: len(some)])
        assert len(some) > 0


def test_another_process_watches_a_run(h, target):
    _ring = Ring()
    read = (
        "import sys; from ndx_simulation_output import open_output\n"
        "with open_output(sys.argv[1]) as output: print(*output['v'].data.shape)"
    )
    with record(target) as recorder:
        for stop in (2.0, 5.0):
            recorder.run(stop)
            recorder.flush()
            seen = subprocess.run(
                [sys.executable, "-c", read, str(recorder.path)],
                check=True,
                capture_output=True,
                text=True,
            )
            assert seen.stdout.split() == [str(round(stop / h.dt) + 1), "44"]


def test_a_large_network_takes_bounded_memory_and_equals_what_neuron_records(tmp_path):
    target = tmp_path / "large.nwb"
    run = subprocess.run(
        [sys.executable, str(RUN), "large", str(target)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    grown, segments = map(int, run.stdout.split())

    assert segments >= 20_000
    with open_output(target) as output:
        assert len(output["v"].compartments) >= 1000
        assert output["v"].data.shape == (401, segments)
        assert output["ina"].data.shape[0] == 401
        data_bytes = 401 * segments * 8
    assert data_bytes > 60_000_000
    assert grown < 100_000_000
