"""Scenarios with monitors of ANNarchy, each in a process: ``monitors.py NAME``.

The variable ``n`` counts the time steps, so that its value is the time of a sample.
"""

import sys
import warnings
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
from tests.annarchy.models import DT, Model, plain, refused, warned

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
    # After it is read, a paused monitor reports that it continued.
    report, output = recorded(exc, "exc_n")
    assert in_ms(report) == labels(report)
    assert output.spikes[0].intervals.tolist() == [[0.0, 0.004]]
    refused(RecordingError, "at which it ran as intervals=", recorded, exc, "exc_n")
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


if __name__ == "__main__":
    warnings.simplefilter("error", SimulationOutputWarning)
    for scenario in sys.argv[1:]:
        globals()[scenario]()
        print("done:", scenario)
