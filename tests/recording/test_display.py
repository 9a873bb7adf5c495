"""What is shown at a prompt: a few lines for each object, without reading data."""

from dataclasses import replace

import numpy as np
import pytest

from ndx_simulation_output import open_output, sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    ConnectionTable,
    GroupMeans,
    NetworkSnapshot,
    PopulationSnapshot,
    PopulationSummary,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Timestamps,
    Unit,
)

HOSTILE = "a\nb\x1b[2J<script>"


class Unread:
    """Numbers of which none may be read."""

    def __init__(self, *shape, kind="f8"):
        self.shape, self.dtype = shape, np.dtype(kind)

    def __getitem__(self, key):
        pytest.fail("data were read")

    def __array__(self, *_, **__):
        pytest.fail("data were read")


class Ends(Unread):
    """The ends of a million cells with two compartments each, of which only the last is read."""

    def __getitem__(self, key):
        return 2 * self.shape[0] if isinstance(key, int) else super().__getitem__(key)


def a_large_report(name="v", population="exc", n_cells=10**6):
    ids = Unread(n_cells, kind="i8")
    table = CompartmentTable.__new__(CompartmentTable)
    fields = {"population": population, "cell_ids": ids, "ends": Ends(n_cells, kind="i8")}
    fields |= {"columns": {"number": Unread(2 * n_cells)}, "cell_columns": {}, "node_sets": {}}
    for field, value in fields.items():  # The check of the ids reads them.
        object.__setattr__(table, field, value)
    times = RegularTimes(0.0, 1e4, 1000)
    return Report(name, name, Unread(1000, 2 * n_cells), times, table, Unit("volts", 1e-3), "v")


def test_an_output_is_shown_in_ten_lines():
    lines = repr(replace(simulate(duration=0.05), source="run.nwb", notes=("left out: x",)))
    lines = lines.splitlines()

    assert len(lines) == 11
    assert lines[0] == "<SimulationOutput> run.nwb"
    assert lines[2].split() == ["Populations:", "exc", "8", "cells", "recorded"]
    for text in (
        "v_exc",
        "population exc, mV, 500 times × 139 compartments of 8 cells, 0 to 50 ms",
    ):
        assert text in lines[4]
    assert lines[-2].startswith("Potentials:  ecp")
    assert lines[-1] == "Notes:       1 note, see the attribute notes"


def test_what_is_absent_is_not_shown():
    assert repr(SimulationOutput()) == "<SimulationOutput>"


def test_the_file_is_shown(tmp_path):
    sonata.write(simulate(duration=0.01), tmp_path / "output")
    with open_output(tmp_path / "output", cells=[0, 1]) as output:
        assert repr(output).startswith(f"<SimulationOutput> {output.source}\n")
        assert output.source == str(tmp_path / "output")


def test_a_million_cells_and_ten_thousand_populations_are_shown_without_reading():
    summary = tuple(PopulationSummary(f"p{number}", 10**6) for number in range(10**4))
    reports = tuple(a_large_report(f"v{number}", f"p{number}") for number in range(50))
    connections = ConnectionTable("e", "p0", "p1", *[Unread(10**9, kind="i8")] * 2)
    output = SimulationOutput(reports, circuit=Circuit((), (connections,), summary=summary))

    lines = repr(output).splitlines()

    assert len(lines) == 9
    assert lines[1] == "Populations: p0  1,000,000 cells"
    assert lines[4].strip() == "… 9,997 more"
    assert lines[5].endswith("1,000 times × 2,000,000 compartments of 1,000,000 cells, 0 to 100 ms")
    assert repr(output.circuit).count("\n") == 0


WEIGHTS = Quantity("w", np.array([0.1, 0.3]), unit="nS", kind="parameter")
PROJECTION = ProjectionSnapshot("p", [0], [2], [0, 1], (WEIGHTS,), "exc", "inh")
EXC = PopulationSnapshot("exc", (2, 3), (Quantity("v", np.zeros(6)),))
IMAGE = ArrayWithAxes("Data00", np.zeros((3, 4)), title="mean", label="counts", unit="K")
AXIS = ArrayAxis("Axis00", np.zeros(3), "x", "mm")
CELLS = CellTable("exc", [3, 7], {"layer": [2, 4]}, "biophysical")
TABLE = CompartmentTable.from_counts("exc", [3, 7], [2, 1], {"number": [0, 1, 0]})
MEANS = GroupMeans("v", "volts", "layer", np.zeros((2, 1)), np.array([0.0, 0.1]), *[np.ones(1)] * 3)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (CELLS, "<CellTable exc: 2 cells, biophysical, properties layer>"),
        (TABLE, "<CompartmentTable exc: 3 compartments of 2 cells, columns number>"),
        (
            Spikes("exc", [3, 3], [0.01, 0.02], cells=CELLS),
            "<Spikes exc: 2 spikes of 2 cells, 10 to 20 ms>",
        ),
        (Spikes("exc", np.zeros(0, int), []), "<Spikes exc: 0 spikes>"),
        (
            ConnectionTable("e", "exc", None, [1], [2], {"w": [0.5]}),
            "<ConnectionTable e: exc to unknown, 1 connection, columns w>",
        ),
        (Circuit((CELLS,), node_sets={"l4": {}}), "<Circuit: populations exc, node sets l4>"),
        (Categories(np.array([0, 1]), ("PV", "SST")), "<Categories: 2 rows, names PV, SST>"),
        (
            Run("NEURON", "9.0", 2.5e-5, 0.1, 34.0, configuration="{" * 10**6),
            "<Run: NEURON 9.0, time step 0.025 ms, duration 0.1 s, 34 °C>",
        ),
        (Timestamps(np.array([0.0, 3.0])), "<Timestamps: 2 times, 0 to 3 s>"),
        (Timestamps(Unread(9)), "<Timestamps: 9 times>"),
        (WEIGHTS, "<Quantity w: local parameter, 2, nS>"),
        (EXC, "<PopulationSnapshot exc: 2 × 3 neurons, v>"),
        (PROJECTION, "<ProjectionSnapshot p: exc to inh, 2 synapses, w>"),
        (
            NetworkSnapshot("s", (EXC,), (PROJECTION,), time=0.1),
            "<NetworkSnapshot s: at 0.1 s, populations exc, projections p>",
        ),
        (IMAGE, "<ArrayWithAxes Data00: data, counts (K), 3 × 4 of float64>"),
        (AXIS, "<ArrayAxis Axis00: x (mm), 3 along dimension 0>"),
        (ArrayGroup("cam", (IMAGE,), (AXIS,)), "<ArrayGroup cam: 1 array: mean>"),
        (MEANS, "<GroupMeans v: volts, 2 times × 1 group by layer, 0 to 100 ms>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_part_is_shown_in_one_line(shown, text):
    assert repr(shown) == text


def test_the_traces_of_a_report_are_shown_in_one_line():
    output = simulate(duration=0.01)

    assert repr(output["v_exc"].select([0, 1])).startswith("<Traces v_exc: volts, 100 times × ")
    assert repr(output.potentials[0].electrodes) == "<Electrodes: 4 electrodes>"


def test_names_of_files_stay_in_their_line():
    names = [f"{HOSTILE}{number}" for number in range(9)]
    cells = CellTable(HOSTILE, [1], {name: np.array([2]) for name in names})
    group = ArrayGroup(HOSTILE, (replace(IMAGE, title=HOSTILE),), title=HOSTILE * 100)
    output = SimulationOutput(
        (replace(a_large_report(), name=HOSTILE, variable=HOSTILE),),
        (Spikes(HOSTILE, [1], [0.1], cells=cells),),
        arrays=(group,),
        run=Run(simulator=HOSTILE),
        source=HOSTILE,
    )

    text = repr(output)

    assert len(text.splitlines()) == 7
    assert text.replace("\n", "").isprintable()
    assert repr(cells).endswith("… 3 more>")
    assert max(map(len, text.splitlines())) < 300
    assert "<script" not in replace(output, reports=())._repr_html_()
