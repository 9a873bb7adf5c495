"""What users describe in Python is taken as it is meant, or refused with a name and a reason."""

import re
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import (
    NameClashError,
    ShapeMismatchError,
    SimulationOutputError,
    UnitError,
    WrongTypeError,
)
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    StreamedReport,
    Timestamps,
    Unit,
)

SESSION = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
MV = Unit("volts", 1e-3)
NAN, INF = float("nan"), float("inf")


def table(ids: Any = (3, 5), population: Any = "exc") -> CompartmentTable:
    return CompartmentTable.from_cells(population, ids)


def report(name: Any = "v", **changes: Any) -> Report:
    fields = {
        "report": "v",
        "data": np.zeros((3, 2)),
        "times": RegularTimes(0.0, 1e3, 3),
        "compartments": table(),
        "unit": MV,
    }
    return Report(name, **(fields | changes))


def potential(**changes: Any) -> ExtracellularPotential:
    fields = {
        "name": "ecp",
        "data": np.zeros((3, 2)),
        "times": RegularTimes(0.0, 1e3, 3),
        "channel_ids": [0, 1],
        "unit": "mV",
    }
    return ExtracellularPotential(**(fields | changes))


def from_counts(
    ids: Any = (3, 5), counts: Any = (2, 1), number: Any = (0, 1, 0), **others: Any
) -> CompartmentTable:
    return CompartmentTable.from_counts("exc", ids, counts, {"number": number, **others})


def apart(ids: Any, **columns: Any) -> CompartmentTable:
    return CompartmentTable.from_cells("exc", ids, columns)


def from_counts_of(columns: Any) -> CompartmentTable:
    return CompartmentTable.from_counts("exc", [3, 5], [2, 1], columns)


def spikes(ids: Any = (3, 5), times: Any = (0.1, 0.2), **changes: Any) -> Spikes:
    return Spikes(changes.pop("population", "exc"), ids, times, **changes)


def streamed(**changes: Any) -> StreamedReport:
    return StreamedReport(changes.pop("name", "v"), table(), **{"rate": 1e3, **changes})


def projection(pre: Any = (0, 1), post: Any = (1, 0), **values: Any) -> ProjectionSnapshot:
    return ProjectionSnapshot.from_synapses("p", pre, post, values or {"w": [0.5, 0.7]})


def written(output: SimulationOutput, path: Any) -> Any:
    return convert(output, path, metadata=SESSION)


def test_lists_and_texts_of_units_are_taken(tmp_path):
    output = SimulationOutput(
        reports=[
            report(data=[[1, 2], [3, 4], [5, 6]], times=[0.0, 0.1, 0.4], unit="mV"),
            report("g", times=(0, 1, 2), unit=Unit("S", 1000), compartments=table([3, 5])),
        ],
        spikes=[spikes([3, 5], [0.1, 1], silent=[7], intervals=[[0, 2]], columns={"q": [1, 2]})],
        potentials=[potential(electrodes=Electrodes([0, 1], [[1, 2, 3], [4, 5, 6]]))],
        networks=[
            NetworkSnapshot(
                "end",
                [PopulationSnapshot("exc", [2], [Quantity("v", [-65, -64], unit="mV")])],
                [projection()],
            )
        ],
        arrays=[ArrayGroup("g", [ArrayWithAxes("a", [1.0, 2.0])], [ArrayAxis("x", [0, 1])])],
        notes=["a note"],
    )

    written(output, tmp_path / "run.nwb")

    with open_output(tmp_path / "run.nwb") as found:
        assert found["v"].get_traces(cells=5).ravel().tolist() == [2e-3, 4e-3, 6e-3]
        assert found["v"].times.seconds().tolist() == [0.0, 0.1, 0.4]
        assert found["g"].unit == Unit("siemens", 1e3)
        assert found.potentials[0].electrodes.positions.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert found.spikes[0].silent.tolist() == [7]
        assert found.networks[0].populations[0].quantities[0].unit == MV
        assert found.arrays[0].arrays[0].values[:].tolist() == [1.0, 2.0]


class WithUnits(np.ndarray):
    units = "ms"


REFUSED = {
    "times descend": lambda: Timestamps([0.0, 0.2, 0.1]),
    "times of a report descend": lambda: report(times=np.array([0.0, 0.2, 0.1])),
    "a time is NaN": lambda: Timestamps(np.array([0.0, NAN])),
    "a time is infinite": lambda: report(times=[0.0, 1.0, INF]),
    "times are text": lambda: Timestamps(["0.1", "0.2"]),
    "times have two dimensions": lambda: Timestamps(np.zeros((2, 2))),
    "times are a number": lambda: report(times=0.1),
    "times are None": lambda: report(times=None),
    "times have units": lambda: Timestamps(np.array([0.0, 100.0]).view(WithUnits)),
    "the count is a float": lambda: RegularTimes(0.0, 1e3, 3.0),
    "the count is negative": lambda: RegularTimes(0.0, 1e3, -3),
    "the rate is text": lambda: RegularTimes(0.0, "1 kHz", 3),
    "the rate is None": lambda: RegularTimes(0.0, None, 3),
    "the rate is a bool": lambda: RegularTimes(0.0, rate=True, count=3),
    "the rate is infinite": lambda: RegularTimes(0.0, INF, 3),
    "cells are floats": lambda: table([3.0, 5.0]),
    "cells are text": lambda: table(["3", "5"]),
    "cells are bools": lambda: table([True, False]),
    "cells are negative": lambda: table([-3, 5]),
    "a cell is listed twice": lambda: table([3, 3]),
    "a cell has two rows": lambda: from_counts(ids=[3, 3]),
    "a population without a name": lambda: table(population=""),
    "a population with a number": lambda: table(population=7),
    "counts are floats": lambda: from_counts(counts=[1.5, 1.5]),
    "counts are negative": lambda: from_counts(counts=[4, -1]),
    "counts of another length": lambda: from_counts(counts=[3]),
    "a column is short": lambda: from_counts(label=["soma"]),
    "a column is a text": lambda: from_counts(label="soma"),
    "a column has text and numbers": lambda: from_counts(label=["soma", 1, "dend"]),
    "a column has None": lambda: from_counts(label=["soma", None, "dend"]),
    "the data are text": lambda: report(data=np.full((3, 2), "1")),
    "the data are objects": lambda: report(data=np.full((3, 2), None)),
    "the data are ragged": lambda: report(data=[[1, 2], [3], [4, 5]]),
    "the data are transposed": lambda: report(data=np.zeros((2, 3))),
    "the data are masked": lambda: report(data=np.ma.masked_less(np.eye(3, 2), 1)),
    "the data are None": lambda: report(data=None),
    "the compartments are ids": lambda: report(compartments=[3, 5]),
    "the unit of a report": lambda: report(unit="mR"),
    "the unit is a number": lambda: report(unit=1e-3),
    "the unit is None": lambda: report(unit=None),
    "a report without a name": lambda: report(""),
    "a report named by a point": lambda: report("."),
    "a report named by a number": lambda: report(1),
    "a report with NUL in its name": lambda: report("v\0"),
    "a description that is not text": lambda: report(description=3),
    "the unit mV as a name": lambda: Unit("mV"),
    "the unit millivolts with a factor": lambda: Unit("millivolts", 1e-3),
    "a unit without a name": lambda: Unit(" "),
    "a unit with a factor of 0": lambda: Unit("volts", 0),
    "a unit with the factor NaN": lambda: Unit("volts", NAN),
    "a unit with a factor as text": lambda: Unit("volts", "1e-3"),
    "a unit with a bool as factor": lambda: Unit("volts", conversion=True),
    "channels are floats": lambda: potential(channel_ids=[0.0, 1.0]),
    "a channel is listed twice": lambda: potential(channel_ids=[1, 1]),
    "electrodes are positions": lambda: potential(electrodes=np.zeros((2, 3))),
    "positions have two columns": lambda: Electrodes([0, 1], np.zeros((2, 2))),
    "positions of other electrodes": lambda: Electrodes([0, 1], np.zeros((3, 3))),
    "an electrode is listed twice": lambda: Electrodes([1, 1], np.zeros((2, 3))),
    "spikes of float ids": lambda: spikes(ids=[3.0, 5.0]),
    "spikes of negative ids": lambda: spikes(ids=[-1, 5]),
    "spikes of text ids": lambda: spikes(ids=["3", "5"]),
    "spikes of bool ids": lambda: spikes(ids=np.array([True, False])),
    "a spike time is NaN": lambda: spikes(times=[0.1, NAN]),
    "a spike time is infinite": lambda: spikes(times=np.array([INF, 0.1])),
    "spike times are text": lambda: spikes(times=["0.1", "0.2"]),
    "spike times of another length": lambda: spikes(times=[0.1]),
    "spike times in units": lambda: spikes(times=np.array([10.0, 20.0]).view(WithUnits)),
    "intervals of one number": lambda: spikes(intervals=[0.0, 1.0]),
    "intervals that end before they start": lambda: spikes(intervals=[[1.0, 0.0]]),
    "silent cells of text": lambda: spikes(silent=["7"]),
    "spikes without a population": lambda: spikes(population=None),
    "spikes of a cell that is not listed": lambda: spikes(cells=[3, 4]),
    "recorded cells that are listed twice": lambda: spikes(cells=[3, 5, 5]),
    "a number of recorded cells": lambda: spikes(cells=6),
    "compartments of a cell that are apart": lambda: apart([3, 5, 3]),
    "a column of compartments is short": lambda: apart([3, 3], label=["soma"]),
    "a column of spikes is short": lambda: spikes(columns={"q": [1]}),
    "a time step as text": lambda: Run(time_step="0.1 ms"),
    "a time step of 0": lambda: Run(time_step=0.0),
    "a time step that is NaN": lambda: Run(time_step=NAN),
    "a seed that is a float": lambda: Run(seed=1.5),
    "a seed of 2**64": lambda: Run(seed=2**64),
    "a simulator that is a number": lambda: Run(simulator=9),
    "a stream without a name": lambda: streamed(name=""),
    "a stream of an unknown unit": lambda: streamed(unit="mR"),
    "a stream with a rate as text": lambda: streamed(rate="1 kHz"),
    "a stream with a rate of 0": lambda: streamed(rate=0),
    "a stream with a start that is NaN": lambda: streamed(start=NAN),
    "a stream of text": lambda: streamed(dtype="text"),
    "a stream of complex numbers": lambda: streamed(dtype="c8"),
    "a stream of no steps": lambda: streamed(steps=0),
    "a stream of half a step": lambda: streamed(steps=0.5),
    "a stream without a table": lambda: StreamedReport("v", [3, 5], rate=1e3),
    "reports are one report": lambda: SimulationOutput(reports=report()),
    "a report is a dict": lambda: SimulationOutput(reports=({"v": 1},)),
    "notes are one text": lambda: SimulationOutput(notes="a note"),
    "a run is a dict": lambda: SimulationOutput(run={"seed": 3}),
    "a session without sections": lambda: SimulationOutput(session={"lab": "ours"}),
    "a quantity of objects": lambda: Quantity("v", [None, 1.0]),
    "a quantity without a name": lambda: Quantity(None, [1.0]),
    "a geometry of floats": lambda: PopulationSnapshot("exc", (2.5,)),
    "quantities that are arrays": lambda: PopulationSnapshot("exc", (2,), (np.zeros(2),)),
    "negative ranks": lambda: projection(pre=(-1, 1)),
    "ranks are floats": lambda: projection(post=(0.5, 1.0)),
    "weights are text": lambda: projection(w=["a", "b"]),
    "the time of a state is text": lambda: NetworkSnapshot("end", time="200 ms"),
    "the time of a state is NaN": lambda: NetworkSnapshot("end", time=NAN),
    "a constant is text": lambda: NetworkSnapshot("end", constants={"a": "b"}),
    "columns that are a list": lambda: from_counts_of([0, 1, 0]),
    "columns of spikes that are a list": lambda: spikes(columns=[1, 2]),
    "a column of spikes is a number": lambda: spikes(columns={"q": 1}),
    "columns of electrodes that are None": lambda: Electrodes([], np.zeros((0, 3)), None),
    "a report is None": lambda: SimulationOutput(reports=(None,)),
    "a session that is a text": lambda: SimulationOutput(session="ours"),
    "a large start and a negative rate": lambda: RegularTimes(2**70, -1, 3),
    "a population of a state named by a number": lambda: PopulationSnapshot(3, (2,)),
    "targets that are a text": lambda: replace(projection(), targets="exc"),
    "a weight that is not there": lambda: ProjectionSnapshot.from_synapses(
        "p", [0], [0], {"w": [1.0]}, weight="g"
    ),
    "negative delays": lambda: ProjectionSnapshot.from_synapses("p", [0], [0], {}, delays=-1e-3),
    "values without names": lambda: ProjectionSnapshot.from_synapses("p", [0], [0], [1.0]),
    "constants without names": lambda: NetworkSnapshot("end", constants=[1.0]),
    "an array named by a number": lambda: ArrayWithAxes(3, [1.0]),
    "an axis in a unit of ours": lambda: ArrayAxis("x", [1.0], unit=MV),
    "arrays are one array": lambda: ArrayGroup("g", ArrayWithAxes("a", [1.0])),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_meant_is_refused_by_an_error_of_this_package(what):
    with pytest.raises(SimulationOutputError, match=r"expected|need|do not ascend|cannot be made"):
        REFUSED[what]()


@pytest.mark.parametrize(
    ("what", "error", "match"),
    [
        ("times descend", ShapeMismatchError, "not finite, in row 2: 0.2, 0.1"),
        ("times of a report descend", ShapeMismatchError, "report 'v': timestamps do not ascend"),
        ("the unit mV as a name", UnitError, r"expected unit='mV' or Unit\('volts', 0.001\)"),
        ("a spike time is NaN", ShapeMismatchError, "spike 1 of population 'exc' is at nan s"),
        ("a cell is listed twice", ShapeMismatchError, "'exc' have the id 3 more than once"),
        ("cells are text", WrongTypeError, "cell_ids of population 'exc' are <U1; expected int"),
        ("times have units", WrongTypeError, "timestamps have units of their own, ms"),
        ("the data are None", ShapeMismatchError, "the data of report 'v' are|have"),
    ],
)
def test_a_refusal_names_the_object_and_what_was_found(what, error, match):
    with pytest.raises(error, match=match):
        REFUSED[what]()


def test_spikes_of_listed_cells_tell_which_are_silent(tmp_path):
    written(SimulationOutput(spikes=(spikes(cells=range(2, 7)),)), tmp_path / "run.nwb")

    with open_output(tmp_path / "run.nwb") as found:
        assert found.spikes[0].silent.tolist() == [2, 4, 6]
        assert found.spikes[0].known_cells.tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("ids", [[3, 3, 9, 5, 5, 5], np.array([], np.int64)])
def test_a_table_is_made_of_the_cell_of_each_compartment_or_of_their_counts(ids):
    unique = list(dict.fromkeys(ids))
    counts = [list(ids).count(one) for one in unique]
    numbers = [number for count in counts for number in range(count)]

    of_cells = CompartmentTable.from_cells("exc", ids, {"position": np.full(len(ids), 0.5)})
    of_counts = CompartmentTable.from_counts("exc", np.array(unique, np.int64), counts)

    for table in (of_cells, of_counts):
        assert table.cell_ids.tolist() == unique
        assert table.counts().tolist() == counts
        assert table.columns["number"].tolist() == numbers
        assert table.column_cells().tolist() == list(ids)
    assert CompartmentTable.from_cells("exc", [4], {"number": [7]}).find(4, 7).tolist() == [0]


def test_a_report_has_its_name_and_may_have_that_of_its_source():
    parts = {"data": np.zeros((3, 2)), "times": [0, 1, 2], "compartments": table(), "unit": "mV"}

    earlier = Report("v_exc", "v", *parts.values(), "v")
    now = Report("v_exc", *parts.values(), "v", report="v")

    assert Report("v", *parts.values()).report == "v"
    assert vars(earlier).keys() == vars(now).keys()
    for found in (earlier, now, replace(now, unit=MV), Report(name="v_exc", report="v", **parts)):
        assert (found.name, found.report, found.unit) == ("v_exc", "v", MV)
        assert found.data is parts["data"]


def test_times_of_files_are_checked_when_a_window_is_read(tmp_path):
    with h5py.File(tmp_path / "times.h5", "w") as file:
        times = Timestamps(file.create_dataset("times", data=[0.0, 0.2, 0.1]))
        assert times.count == 3
        with pytest.raises(ShapeMismatchError, match="do not ascend"):
            times.window(0.1, None)


def test_times_may_repeat_as_at_events():
    assert Timestamps([0.0, 0.1, 0.1, 0.2]).window(0.1, 0.2) == slice(1, 3)


def test_two_populations_with_one_variable_are_told_what_to_name(tmp_path):
    both = (report(), report(compartments=table([1, 2], "inh")))

    with pytest.raises(NameClashError) as caught:
        written(SimulationOutput(both), tmp_path / "run.nwb")

    assert re.search(
        "two reports are named 'v': report 'v' of population 'exc' and report 'v' of",
        str(caught.value),
    )
    assert "such as 'v_exc' and 'v_inh'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_spikes_of_a_population_are_described_once(tmp_path):
    twice = SimulationOutput(spikes=(spikes(), spikes([8], [0.3])))

    with pytest.raises(NameClashError, match="spikes of population 'exc' are described twice"):
        written(twice, tmp_path / "run.nwb")


def test_names_that_nwb_changes_are_told_of_also_in_the_file(tmp_path):
    converted = written(SimulationOutput((report("a/b"),)), tmp_path / "run.nwb")

    note = "report 'a/b' of population 'exc' is named 'a_b' in NWB"
    assert converted.notes == (note,)
    with h5py.File(tmp_path / "run.nwb") as file:
        assert note in file["general/notes"].asstr()[()]


@pytest.mark.parametrize("column", ["id", "name", "description", "a/b"])
def test_columns_that_a_table_cannot_have_are_refused(column, tmp_path):
    changed = report(compartments=from_counts(counts=[1, 1], number=[0, 0], **{column: [1, 2]}))

    with pytest.raises(NameClashError, match=f"named {column!r}, which NWB does not allow"):
        written(SimulationOutput((changed,)), tmp_path / "run.nwb")


@pytest.mark.parametrize("columns", [{}, {"number": [0.0, 0.0]}])
def test_compartments_without_integer_numbers_are_refused(columns, tmp_path):
    cells = CompartmentTable.from_counts("exc", [3, 5], [1, 1], columns)

    with pytest.raises(ShapeMismatchError, match=r"column 'number' of .* expected an integer"):
        written(SimulationOutput((report(compartments=cells),)), tmp_path / "run.nwb")


def test_times_that_may_be_in_milliseconds_are_told_of():
    run = Run(duration=0.2, time_step=0.1)
    output = SimulationOutput((report(times=[0.0, 100.0, 200.0]),), (spikes(times=[0, 150]),))

    notes = replace(output, run=run).notes

    assert [note.partition(" span ")[0] for note in notes[:2]] == [
        "the times of report 'v'",
        "the times of the spikes of 'exc'",
    ]
    assert output.notes == ()
    assert replace(SimulationOutput((report(),)), run=Run(time_step=1e-4)).notes == ()
    fast = SimulationOutput((report(times=RegularTimes(0.0, 1e4, 3)),), run=Run(time_step=0.1))
    assert "has a sample each 0.0001 s, but the time step is 0.1 s" in fast.notes[0]
