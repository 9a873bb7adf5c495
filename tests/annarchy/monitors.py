"""Scenarios with monitors of ANNarchy, each in a process: ``monitors.py NAME``.

The variable ``n`` counts the time steps, so that its value is the time of a sample. In the network
``timed``, ``clk`` and the variables of whole populations and projections are the time.
"""

import random
import sys
import warnings
from collections import Counter
from contextlib import suppress
from datetime import datetime, timezone

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, validate

from ndx_simulation_output import annarchy, open_output
from ndx_simulation_output.annarchy.monitors import read_recordings, recordings
from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    RecordingError,
    SimulationOutputWarning,
    UnitError,
    UnitWarning,
)
from tests.annarchy.models import DT, FIVE, Model, plain, refused, timed, warned

UNITS = {"n": "1", "x": "1", "s": "1", "v": "mV", "w": "1"}


UNITS_OF_EXC = {"n": "1", "v": "mV"}


def nwb_file() -> NWBFile:
    return NWBFile("monitors", "id", datetime(2026, 1, 31, tzinfo=timezone.utc))


def monitored() -> tuple[Model, dict]:
    """Return a compiled network with monitors of every kind, the same in all scenarios."""
    model = plain()
    exc, inh = model.parts["exc"], model.parts["inh"]
    forward = model.parts["forward"]
    monitors = {
        "exc": model.monitor(exc, ["n", "v", "spike"]),
        "slow": model.monitor(exc, ["n"], period=1.5, period_offset=0.5),
        "view": model.monitor(exc[[1, 4]], ["n", "spike"], period=1.0),
        "late": model.monitor(inh, ["n", "spike"], start=False),
        "spikes": model.monitor(inh, ["spike"]),
        "synapses": model.monitor(forward, ["x", "s", "w"], period=5.0),
    }
    model.compile()
    return model, monitors


def labels(report) -> list[float]:
    """Return the times in ms of the samples of ``n``, from their values."""
    return ((np.asarray(report.data[:])[:, 0] - 1) * DT).tolist()


def in_ms(report) -> list[float]:
    return (report.times.seconds() * 1000).round(9).tolist()


def recorded(monitor, name: str, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnitWarning)
        output = recordings(monitor, **options)
    return output[name], output


def series_and_units() -> None:
    model, monitors = monitored()
    model.simulate(40.0)
    nwbfile = nwb_file()

    notes = annarchy.add_recordings(
        nwbfile,
        [monitors[name] for name in ("exc", "slow", "view", "spikes", "synapses")],
        unit=UNITS,
    )
    annarchy.add_state(nwbfile, model.network, name="at_40_ms")

    with NWBHDF5IO("monitors.nwb", "w") as io:
        io.write(nwbfile)
    assert validate(path="monitors.nwb") == []
    assert notes == ("left out: spikes of exc that another monitor has too",)
    expected = {name: monitor.get(keep=True, reshape=False) for name, monitor in monitors.items()}
    with open_output("monitors.nwb") as output:
        assert output.run.simulator == "ANNarchy"
        assert output.run.time_step == DT / 1000
        v, n, slow = output["exc_v"], output["exc_n"], output["exc_n_2"]
        view = output["exc_n_3"]
        assert np.array_equal(v.data[:], expected["exc"]["v"])
        assert (v.unit.name, v.unit.conversion) == ("volts", 1e-3)
        assert v.data.shape == (80, 6)
        assert n.data.dtype == np.int64
        for report in (n, slow, view):
            assert in_ms(report) == labels(report)
        assert (slow.times.start, round(slow.times.rate, 6)) == (0.0005, round(1000 / 1.5, 6))
        table = n.compartments
        grid = [table.cell_columns[f"grid_{axis}"][:].tolist() for axis in (0, 1)]
        assert grid == [[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]]
        assert table.population == "exc"
        assert np.asarray(view.compartments.cell_ids[:]).tolist() == [1, 4]
        check_synapses(model, output, expected["synapses"])
        check_spikes(output, expected)
        assert output.networks[0].name == "at_40_ms"
        assert output.networks[0].step == 80


def check_synapses(model, output, expected) -> None:
    forward = model.parts["forward"]
    x, s = output["forward_x"], output["forward_s"]
    assert in_ms(x) == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]
    assert x.data[:].tolist() == [
        [one for row in sample for one in row] for sample in expected["x"]
    ]
    assert s.data[:].tolist() == [list(sample) for sample in expected["s"]]
    table = x.compartments
    assert np.asarray(table.cell_ids[:]).tolist() == list(forward.post_ranks)
    ranks = np.split(table.columns["pre_rank"][:], np.asarray(table.ends)[:-1])
    assert [row.tolist() for row in ranks] == [list(d.pre_ranks) for d in forward.dendrites]
    assert (table.population, s.compartments.n_compartments) == ("inh", len(forward.post_ranks))


def check_spikes(output, expected) -> None:
    spikes = {one.population: one for one in output.spikes}
    for name, monitor in (("exc", "exc"), ("inh", "spikes")):
        known = {rank: np.array(steps) * DT for rank, steps in expected[monitor]["spike"].items()}
        found = spikes[name]
        assert sum(map(len, known.values())) == len(found.times) > 0
        for rank, times in known.items():
            own = found.times[found.node_ids == rank] * 1000
            np.testing.assert_allclose(own, times, rtol=0, atol=1e-9)
        silent = [rank for rank, times in known.items() if not len(times)]
        assert ([] if found.silent is None else found.silent.tolist()) == silent
        assert found.intervals.tolist() == [[0.0, 0.04]]
    assert spikes["inh"].silent is not None


def pauses() -> None:
    model, monitors = monitored()
    exc, slow, late = monitors["exc"], monitors["slow"], monitors["late"]
    model.simulate(4.0)
    exc.pause()
    model.simulate(3.0)
    # Reading the recordings of a paused monitor does not change what it reports.
    for _ in range(2):
        report, output = recorded(exc, "exc_n")
        assert in_ms(report) == labels(report)
        assert output.spikes[0].intervals.tolist() == [[0.0, 0.004]]
    # After its own get, it reports that it continued.
    exc.get(keep=True)
    late.start()
    exc.resume()
    model.simulate(5.0)
    report, output = recorded(late, "inh_n")
    assert in_ms(report) == labels(report)
    assert output.spikes[0].intervals.tolist() == [[0.007, 0.012]]
    # Read while it was paused, the first monitor now contradicts its samples.
    refused(RecordingError, "at which it ran as intervals=", recorded, exc, "exc_n")
    report, output = recorded(exc, "exc_n", intervals={exc: [(0.0, 4.0), (7.0, 12.0)]})
    assert in_ms(report) == labels(report)
    assert output.spikes[0].intervals.tolist() == [[0.0, 0.004], [0.007, 0.012]]
    refused(RecordingError, "has 18 samples", recorded, exc, "exc_n", intervals={exc: [(0, 4)]})
    # A monitor that is emptied keeps its sampling.
    slow.get()
    model.simulate(4.0)
    report, _ = recorded(slow, "exc_n")
    assert in_ms(report) == labels(report)
    # The pauses of a monitor that records only spikes are not known.
    alone = monitors["spikes"]
    alone.pause()
    model.simulate(1.0)
    alone.get(keep=True)
    alone.resume()
    model.simulate(1.0)
    output = warned("at which it ran as intervals=", recordings, alone)
    assert output.spikes[0].intervals is None


def made_later() -> None:
    model, _ = monitored()
    model.simulate(5.0)
    exc = model.parts["exc"]
    later = model.monitor(exc, ["n"], period=1.5)
    model.simulate(4.0)

    report, _ = recorded(later, "exc_n")

    assert in_ms(report) == labels(report) == [5.0, 6.5, 8.0]


def after_loading() -> None:
    model, monitors = monitored()
    model.simulate(40.0)
    annarchy.save("later.nwb", model.network, overwrite=True)
    restored = annarchy.load("later.nwb", model.network)
    # Their recordings would have the times of two clocks.
    assert len(restored.notes) == 5
    for monitor in monitors.values():
        monitor.get()
    annarchy.load("later.nwb", model.network)
    model.simulate(10.0)
    report, output = recorded(monitors["exc"], "exc_n")
    assert in_ms(report) == labels(report)
    assert in_ms(report)[0] == 40.0
    assert output.spikes[0].intervals.tolist() == [[0.04, 0.05]]


def fresh_after_loading() -> None:
    """A monitor of a new network starts at the restored time."""
    model, monitors = monitored()
    restored = annarchy.load("later.nwb", model.network)
    model.simulate(10.0)

    assert restored.notes == ()
    for name, report in (("exc", "exc_n"), ("slow", "exc_n"), ("view", "exc_n")):
        found, _ = recorded(monitors[name], report)
        assert in_ms(found) == labels(found), name
        assert 40.0 <= in_ms(found)[0] < 41.5


def not_recordable() -> None:
    """Axon spikes of neurons without axons are left out with a note."""
    model, _ = monitored()
    axons = model.monitor(model.parts["exc"], ["n", "axon_spike"])
    model.simulate(4.0)

    notes = annarchy.add_recordings(nwb_file(), axons, unit={"n": "1"})

    assert notes == ("left out: axon_spike of exc, which was not recorded",)
    axons.get()
    assert not annarchy.load("later.nwb", model.network).mismatched


def some_spikes_twice() -> None:
    """Of two monitors, the one that has all spikes is used; otherwise an error is raised."""
    model, monitors = monitored()
    exc = monitors["exc"]
    model.simulate(10.0)
    later = model.monitor(model.parts["exc"], ["n", "spike"])
    model.simulate(30.0)
    for given in ([exc, later], [later, exc]):
        output = recordings(given, unit=UNITS_OF_EXC)
        assert output.notes == ("left out: spikes of exc that another monitor has too",)
        assert output.spikes[0].intervals.tolist() == [[0.0, 0.04]]
    exc.pause()
    model.simulate(20.0)
    known = {exc: [(0.0, 40.0)]}
    for given in ([exc, later], [later, exc]):
        refused(
            NameClashError,
            "two monitors recorded different spikes",
            recordings,
            given,
            intervals=known,
            unit=UNITS_OF_EXC,
        )


def refusals() -> None:
    model, monitors = monitored()
    forward = model.parts["forward"]
    wrong = model.monitor(forward.dendrite(3), ["x"], period=5.0)
    right = model.monitor(forward.dendrite(0), ["x"], period=5.0)
    again = model.monitor(model.parts["exc"][[0, 1]], ["spike"])
    other = model.monitor(model.parts["exc"][[1, 2]], ["spike"])
    exc = monitors["exc"]
    model.simulate(10.0)
    refused(RecordingError, "recorded another dendrite", recordings, wrong)
    output = recordings(right, unit={"x": "1"})
    assert output.reports[0].name == "forward_0_x"
    expected = np.asarray(right.get(keep=True)["x"], float)
    assert np.array_equal(output.reports[0].data, expected.reshape(2, -1))
    refused(NameClashError, "two monitors recorded different spikes", recordings, [again, other])
    refused(
        UnitError, "has the variable 'u', which was not recorded", recordings, exc, unit={"u": "mV"}
    )
    refused(UnitError, "the unit 'mVolt' of v is not known", recordings, exc, unit={"v": "mVolt"})
    warned("the unit of n, v is stored as unknown", recordings, exc)
    nwbfile = nwb_file()
    notes = annarchy.add_recordings(nwbfile, [exc, monitors["late"]], unit=UNITS_OF_EXC)
    nothing = "of inh, which was not recorded"
    assert notes == (f"left out: n {nothing}", f"left out: spike {nothing}")
    refused(
        NameClashError,
        "add the output to another NWB file",
        annarchy.add_recordings,
        nwbfile,
        exc,
        unit=UNITS_OF_EXC,
    )


def files() -> None:
    """Files of ``Monitor.save``."""
    model, monitors = monitored()
    model.simulate(20.0)
    exc, slow = monitors["exc"], monitors["slow"]
    slow.save("slow.hdf5", keep=True)
    with suppress(TypeError):  # It fails at spikes, and leaves a file.
        monitors["spikes"].save("spikes.hdf5", keep=True)
    exc.save("first.npy", keep=True)  # It saves the first of several variables only.
    expected = {"slow.hdf5": slow, "first.npy": exc}
    sampling = {"slow.hdf5": {"period": 1.5, "start": 0.5}, "first.npy": {"variable": "n"}}

    for path, monitor in expected.items():
        nwbfile = nwb_file()
        annarchy.add_saved_recordings(
            nwbfile,
            path,
            dt=DT,
            population="exc",
            geometry=(3, 2),
            unit={"n": "1"},
            **sampling[path],
        )
        series = nwbfile.acquisition["exc_n"]
        assert np.array_equal(series.data, monitor.get(keep=True, reshape=False)["n"])
        assert (series.data[:, 0] * DT).tolist() == (
            (series.starting_time + np.arange(len(series.data)) / series.rate) * 1000 + DT
        ).round(9).tolist()
        assert "grid_1" in series.compartments.colnames

    refused(NothingRecordedError, "fails to save spikes", read_recordings, "spikes.hdf5", dt=DT)


# Scenarios of the network ``timed``, whose time step is 0.1 ms

TIMES = {"clk": "ms"}


def true_times(monitor) -> list[float]:
    """Return the recorded clock, which is the time in ms of each sample, without ``get``."""
    values = np.asarray(monitor.cyInstance.clk, float)
    return values[:, 0].round(9).tolist() if len(values) else []


def check_times(monitor, **options):
    """Check the times of a monitor; return its output."""
    name = f"{monitor.object.name}_clk"
    report, output = recorded(monitor, name, unit=TIMES, **options)
    assert in_ms(report) == true_times(monitor), (in_ms(report)[:5], true_times(monitor)[:5])
    return output


def chunks() -> None:
    """Monitors that are emptied after each chunk, of all phases and made at any time."""
    model = timed()
    part = model.parts["cells"]
    monitors = [model.monitor(part, ["clk"], period=1.0, period_offset=0.3)]
    model.compile()
    monitors.append(model.monitor(part, ["clk"], period=0.7))
    model.simulate(0.5)
    monitors.append(model.monitor(part, ["clk", "spike"], period=1.0))
    monitors.append(model.monitor(part, "clk", period=1.0, period_offset=0.2))
    for chunk in (3.3, 3.2, 3.0, 3.0, 0.4, 2.7):
        model.simulate(chunk)
        for monitor in monitors:
            if true_times(monitor):
                check_times(monitor)
            monitor.get()
    # A reset sets the clock back, but does not change the phase of a monitor.
    model.reset()
    model.simulate(3.0)
    for monitor in monitors:
        check_times(monitor)
    assert true_times(monitors[2]) == [0.5, 1.5, 2.5]
    assert true_times(monitors[1]) == [0.0, 0.6, 1.2, 1.8, 2.4]


def emptied_before() -> None:
    """The phase of a monitor that was emptied is used if it is the only one, or given."""
    model = timed()
    model.compile()
    model.simulate(0.5)
    part = model.parts["cells"]
    monitor, again, views = (model.monitor(part, ["clk"], period=1.0) for _ in range(3))
    model.simulate(3.3)
    for one in (monitor, again, views):
        one.get()
    model.simulate(3.0)
    unknown = "10 times of the first sample are possible; pass the time in ms of the first sample"
    refused(RecordingError, unknown, recordings, monitor, unit=TIMES)
    refused(RecordingError, unknown, recordings, views, intervals={views: [(3.8, 6.8)]}, unit=TIMES)
    wrong = {monitor: 3.9}
    later = {monitor: 5.5}
    refused(RecordingError, "from start=5.5 ms on", recordings, monitor, start=later, unit=TIMES)
    refused(RecordingError, "is not among the 1", recordings, again, start=wrong, unit=TIMES)
    fraction = {again: 4.55}
    refused(RecordingError, "one of the steps of 0.1 ms", recordings, again, start=fraction)
    check_times(monitor, start={monitor: 4.5})
    # The time at which it was made is the time of a sample too.
    check_times(again, start={again: 0.5})
    check_times(views, intervals={views: [(3.8, 6.8)]}, start={views: 4.5})
    for one in (monitor, again, views):
        one.get()
    model.simulate(3.0)
    for one in (monitor, again, views):
        check_times(one)
    # Only a monitor of phase 8 has a single sample in these two steps.
    short = model.monitor(part, ["clk"], period=0.2)
    model.simulate(0.1)
    short.get()
    short.get()
    model.simulate(0.1)
    check_times(monitor)
    none = recordings(short, unit={})
    assert none.notes == ("left out: clk of cells, which was not recorded",)
    model.simulate(0.2)
    check_times(short)


def histories() -> None:
    """Whatever was done to monitors, times are right, or refused; with ``start`` they are right."""
    warnings.simplefilter("ignore")
    model = timed()
    model.compile()
    chosen, counts = random.Random(7), Counter()  # noqa: S311 - a choice of tests
    monitors = []
    for _ in range(40):
        model.simulate(chosen.choice([0.1, 0.2, 0.6, 1.5]))
        period = chosen.choice([0.1, 0.2, 0.5, 1.0, 2.0])
        offset = chosen.choice([0, 0.1]) if period > 0.1 else 0
        how = {"period": period, "period_offset": offset, "start": chosen.random() < 0.7}
        monitors.append((model.monitor(model.parts["cells"], ["clk", "spike"], **how), how))
    paused = {monitor: not how["start"] for monitor, how in monitors}
    done = {monitor: [str(how)] for monitor, how in monitors}
    for _ in range(12):
        model.simulate(chosen.choice([0.1, 0.7, 1.0, 3.0, 4.0]))
        for monitor, _ in monitors:
            act = chosen.choice(["get", "keep", "pause", "start", "resume", "add", "add", ""])
            done[monitor].append(act)
            if act in {"get", "keep"}:
                monitor.get(keep=act == "keep")
            elif act == "pause":
                monitor.pause()
                paused[monitor] = True
            elif act in {"start", "resume"} and paused[monitor]:
                getattr(monitor, act)()
                paused[monitor] = False
            elif act == "add":
                counts[_checked(monitor, done[monitor])] += 1
    assert counts["right"] > 40, counts
    assert counts["given"] > 3, counts


def _checked(monitor, done) -> str:
    reported = str(vars(monitor))
    try:
        output = recordings(monitor, unit=TIMES)
    except RecordingError as error:
        if "start={monitor: time}" not in str(error) or "intervals=" in str(error):
            return "refused"
        true = true_times(monitor)
        with suppress(RecordingError):
            output = recordings(monitor, start={monitor: true[0]}, unit=TIMES)
            assert in_ms(output["cells_clk"]) == true, (done, true)
            return "given"
        return "refused"
    assert str(vars(monitor)) == reported
    if not output.reports:
        return "empty"
    assert in_ms(output["cells_clk"]) == true_times(monitor), (done, true_times(monitor))
    return "right"


def changed_period() -> None:
    """The period is that of the simulator; ANNarchy 5 has no way to change it."""
    model = timed()
    model.compile()
    model.simulate(0.3)
    monitor = model.monitor(model.parts["cells"], ["clk"], period=1.0)
    model.simulate(2.5)
    with suppress(AttributeError):
        monitor.period = 0.4
    model.simulate(2.5)
    if FIVE:
        check_times(monitor)
        return
    refused(RecordingError, "at which it ran as intervals=", recordings, monitor, unit=TIMES)
    monitor.get()
    model.simulate(2.0)
    refused(RecordingError, "4 times of the first sample", recordings, monitor, unit=TIMES)
    check_times(monitor, start={monitor: true_times(monitor)[0]})


def whole_parts() -> None:
    """Variables of whole populations and projections have one column."""
    model = timed()
    parts = model.parts
    view = parts["cells"][[3, 1]]
    model.compile()
    given = {
        "everything": model.monitor(parts["cells"], ["clk", "whole", "spike"], period=0.5),
        "view": model.monitor(view, ["whole", "number", "spike"]),
        "synapses": model.monitor(parts["forward"], ["x", "rows", "whole"], period=2.0),
        "dendrite": model.monitor(parts["forward"].dendrite(0), ["x", "rows", "whole"], period=2.0),
        "alone": model.monitor(parts["forward"], ["whole"], period=2.0),
    }
    model.simulate(4.0)
    nwbfile = nwb_file()
    units = dict.fromkeys(["clk", "whole", "x", "rows"], "ms") | {"number": "1"}

    notes = annarchy.add_recordings(nwbfile, given, unit=units)
    with NWBHDF5IO("whole.nwb", "w") as io:
        io.write(nwbfile)

    assert notes == ("left out: spikes of cells that another monitor has too",)
    assert validate(path="whole.nwb") == []
    with open_output("whole.nwb") as output:
        columns = {report.name: report.data.shape[1] for report in output.reports}
        assert columns == {
            "cells_clk": 4,
            "cells_whole": 1,
            "cells_whole_2": 1,
            "cells_number": 2,
            "forward_x": 6,
            "forward_rows": 2,
            "forward_whole": 1,
            "forward_0_x": 3,
            "forward_0_rows": 1,
            "forward_0_whole": 1,
            "forward_whole_2": 1,
        }
        for report in output.reports:
            if report.name != "cells_number":
                assert np.allclose(report.data[:, 0], in_ms(report)), report.name
        assert output["cells_number"].data[0].tolist() == [3.0, 1.0]
        assert np.asarray(output["cells_number"].compartments.cell_ids[:]).tolist() == [3, 1]
        whole = output["forward_whole"].compartments
        assert (whole.population, whole.columns["label"][0]) == (
            "forward (projection)",
            "whole projection",
        )
        assert "Recorded by view, monitor 2 of 5" in output["cells_whole_2"].description


def one_of_many() -> None:
    """A monitor that cannot be recorded does not keep the others from it."""
    model = timed()
    parts = model.parts
    model.compile()
    good = model.monitor(parts["cells"], ["clk"])
    stopped = model.monitor(parts["cells"], ["whole", "number"])
    wrong = model.monitor(parts["gaps"].dendrite(2), ["x"])
    nothing = model.monitor(parts["cells"], ["whole"], start=False)
    model.simulate(1.0)
    stopped.stop()
    nwbfile = nwb_file()

    notes = annarchy.add_recordings(
        nwbfile, [stopped, wrong, good, nothing], unit={"clk": "ms", "x": "1", "whole": "1"}
    )

    assert list(nwbfile.acquisition) == ["cells_clk"]
    assert "which deletes its recordings" in notes[0]
    assert "recorded another dendrite" in notes[1]
    assert notes[2] == "left out: whole of cells, which was not recorded"
    assert nwbfile.notes.splitlines() == list(notes)
    refused(RecordingError, "was stopped", recordings, stopped)
    refused(RecordingError, "expected a monitor of ANNarchy", recordings, [good, parts["cells"]])


def bold() -> None:
    """The object that ``boldmonitor`` returns is recorded, alone or in a list."""
    model = timed()
    measured = model.measured
    plain_one = model.monitor(model.parts["rates"], ["r"])
    model.compile()
    model.simulate(0.5)
    measured.start()
    model.simulate(1.0)

    outputs = []
    for given in (measured, [plain_one, measured], {"signal": measured}):
        output = recordings(given, unit={"BOLD": "1", "I_CBF": "1"} | _only(given, plain_one))
        outputs.append(output["BOLD model RN_BOLD"].data)
        assert in_ms(output["BOLD model RN_I_CBF"]) == [
            0.5,
            0.6,
            0.7,
            0.8,
            0.9,
            1.0,
            1.1,
            1.2,
            1.3,
            1.4,
        ]
    assert "Recorded by signal, monitor 1 of 1" in output.reports[0].description
    given = recordings([measured], start={measured: 0.5}, unit={"BOLD": "1", "I_CBF": "1"})
    assert given.reports[0].times.start == 0.0005
    expected = measured.get("BOLD")
    assert expected.shape == (10, 1)
    assert all(np.array_equal(found, expected) for found in outputs)


def _only(given, plain_one) -> dict[str, str]:
    return {"r": "1"} if isinstance(given, list) and plain_one in given else {}


def equal_names() -> None:
    """ANNarchy 5 accepts two populations of one name; their recordings are not mixed."""
    if not FIVE:
        return
    model = timed()
    model.compile()
    monitors = [model.monitor(one, ["clk", "spike"]) for one in model.twins]
    model.simulate(1.0)

    output = recordings(monitors, unit=TIMES)

    assert [report.population for report in output.reports] == ["twin", "twin_2"]
    assert [spikes.population for spikes in output.spikes] == ["twin", "twin_2"]
    assert output.notes == ("two parts are named twin; the recordings of one are named twin_2",)


if __name__ == "__main__":
    warnings.simplefilter("error", SimulationOutputWarning)
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print("done:", scenario)
