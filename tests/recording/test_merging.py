"""Outputs that are split by cells and merged again are equal to the whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import (
    NameClashError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
)
from ndx_simulation_output.info import facts_of
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Timestamps,
    Unit,
)
from ndx_simulation_output.recording.merging import join_tables, merge_outputs

VOLTS = Unit("volts", 1e-3)
METADATA = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00", "identifier": "one"}}


def report(cells: list[int], counts: list[int], rows: int = 4, name: str = "v") -> Report:
    """Return a report whose values and labels contain the cell and the compartment."""
    numbers = np.concatenate([np.arange(count) for count in [0, *counts]]).astype(int)
    labels = np.array([f"part {number}" for number in numbers], object)
    table = CompartmentTable.from_counts(
        "exc",
        np.array(cells, int),
        np.array(counts, int),
        {"number": numbers, "label": labels},
        {"depth": np.array(cells, float)},
    )
    columns = 100 * table.column_cells() + numbers
    data = columns + np.arange(rows)[:, np.newaxis] / 8
    return Report(name, name, data, RegularTimes(0.5, 1e4, rows), table, VOLTS)


def taken(whole: Report, cells: list[int]) -> Report:
    """Return the part of a report that has some cells."""
    rows, columns = whole.compartments.rows_of(cells), whole.compartments.find(cells)
    table = CompartmentTable.from_counts(
        whole.population,
        np.asarray(cells, int),
        whole.compartments.counts()[rows],
        {name: values[columns] for name, values in whole.compartments.columns.items()},
        {name: values[rows] for name, values in whole.compartments.cell_columns.items()},
    )
    return replace(whole, data=whole.data[:, columns], compartments=table)


def spikes_of(spikes: Spikes, cells: list[int]) -> Spikes:
    mine = np.isin(spikes.node_ids, cells)
    columns = {name: values[mine] for name, values in spikes.columns.items()}
    return Spikes(spikes.population, spikes.node_ids[mine], spikes.times[mine], columns)


def assert_same_report(found: Report, expected: Report) -> None:
    assert (found.name, found.unit, found.times) == (expected.name, expected.unit, expected.times)
    np.testing.assert_array_equal(found.data[0:99, 0:99], expected.data)
    assert_same_table(found.compartments, expected.compartments)


def assert_same_table(found: CompartmentTable, expected: CompartmentTable) -> None:
    assert found.population == expected.population
    np.testing.assert_array_equal(found.cell_ids, expected.cell_ids)
    np.testing.assert_array_equal(found.ends, expected.ends)
    for name in ("columns", "cell_columns"):
        mine, others = getattr(found, name), getattr(expected, name)
        assert list(mine) == list(others)
        for column, values in others.items():
            np.testing.assert_array_equal(mine[column], values)


@st.composite
def splits(draw: st.DrawFn) -> tuple[SimulationOutput, list[list[int]]]:
    """Return a recording, and the cells of each of the files into which it is split."""
    cells = draw(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True))
    counts = draw(st.lists(st.integers(1, 3), min_size=len(cells), max_size=len(cells)))
    chosen = draw(st.lists(st.sampled_from(cells), max_size=12))
    order = draw(st.sampled_from([sorted, list]))
    times = np.sort(draw(st.lists(st.integers(0, 50), min_size=len(chosen), max_size=len(chosen))))
    ids = np.array(order(chosen), int)
    if order is sorted:
        times = times[np.lexsort((times, ids))]
    rounding = {"source_rounding": np.arange(len(chosen))}
    whole = SimulationOutput(
        reports=(report(cells, counts), report(cells, [1] * len(cells), rows=2, name="ca")),
        spikes=(Spikes("exc", ids, times.astype(float), rounding),),
        run=Run("NEURON", seed=3),
        session={"NWBFile": {"lab": "of cells"}},
    )
    edges = sorted(draw(st.lists(st.integers(0, len(cells)), max_size=3, unique=True)))
    parts = [cells[a:b] for a, b in zip([0, *edges], [*edges, len(cells)], strict=True)]
    return whole, [part for part in parts if part]


@given(splits())
def test_split_and_merged_outputs_equal_the_whole(case):
    whole, parts = case
    outputs = [
        replace(
            whole,
            reports=tuple(taken(one, cells) for one in whole.reports),
            spikes=tuple(spikes_of(some, cells) for some in whole.spikes),
        )
        for cells in parts
    ]

    merged = merge_outputs([(f"{n}.nwb", output) for n, output in enumerate(outputs)])

    assert [one.name for one in merged.reports] == ["v", "ca"]
    for found, expected in zip(merged.reports, whole.reports, strict=True):
        assert_same_report(found, expected)
    assert (merged.run, merged.session, merged.notes) == (whole.run, whole.session, ())
    (found,), (expected,) = merged.spikes, whole.spikes
    assert sorted(rows_of(found)) == sorted(rows_of(expected))
    if is_ascending(expected.node_ids):
        assert rows_of(found) == rows_of(expected)
    else:
        assert is_ascending(found.times) or is_ascending(found.node_ids)


def is_ascending(values: np.ndarray) -> bool:
    return bool((np.diff(values) >= 0).all())


def rows_of(spikes: Spikes) -> list[tuple[Any, ...]]:
    return list(zip(spikes.node_ids, spikes.times, spikes.columns["source_rounding"], strict=True))


def test_a_single_output_is_returned_unchanged():
    output = SimulationOutput(reports=(report([1], [2]),))

    assert merge_outputs([("a.nwb", output)]) is output


def potential(name: str) -> ExtracellularPotential:
    times = RegularTimes(0.0, 1e3, 2)
    return ExtracellularPotential(name, np.zeros((2, 1)), times, np.array([0]), VOLTS)


def merged(first: Any, second: Any, kind: str = "reports") -> SimulationOutput:
    outputs = [SimulationOutput(**{kind: (item,)}) for item in (first, second)]
    return merge_outputs([("a.nwb", outputs[0]), ("b.nwb", outputs[1])])


def test_objects_of_one_file_only_are_kept():
    inhibitory = Spikes("inh", np.array([1]), np.array([0.1]))
    first = SimulationOutput(reports=(report([1], [2]),), spikes=(inhibitory,))
    second = SimulationOutput(
        reports=(report([1], [1], name="ca"),), potentials=(potential("ecp"),), notes=("odd",)
    )

    found = merge_outputs([("a.nwb", first), ("b.nwb", second)])

    assert found.reports == (*first.reports, *second.reports)
    assert (found.spikes, found.potentials) == (first.spikes, second.potentials)
    assert found.notes == ("b.nwb: odd",)


def test_a_column_that_some_files_lack_is_filled_with_zeros():
    plain = Spikes("exc", np.array([4, 2]), np.array([0.3, 0.1]))
    fuller = Spikes("exc", np.array([9]), np.array([0.2]), {"source_rounding": np.array([5])})

    (found,) = merged(plain, fuller, "spikes").spikes

    # Neither by cell nor by time: file by file.
    assert rows_of(found) == [(4, 0.3, 0), (2, 0.1, 0), (9, 0.2, 5)]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            {"unit": Unit("amperes")},
            r"unit 1.0 amperes in b\.nwb; expected 0\.001 volts, as in a\.nwb",
        ),
        ({"times": RegularTimes(0.0, 1e4, 4)}, r"times 10000.0 Hz from 0.0 s in b\.nwb; expected"),
        ({"times": Timestamps(np.arange(4.0))}, r"times timestamps in b\.nwb; expected 10000"),
        ({"data": np.zeros((4, 1), "f4")}, r"type float32 in b\.nwb; expected float64, as in a\."),
        (
            {"compartments": CompartmentTable.from_counts("exc", *np.ones((2, 1), int), {})},
            r"columns none in b\.nwb; expected label, number, depth",
        ),
    ],
    ids=["unit", "start", "kind of times", "type", "columns"],
)
def test_reports_that_differ_are_refused(second, said):
    with pytest.raises(ShapeMismatchError, match=rf"report 'v' has the {said}"):
        merged(report([1], [1]), replace(report([2], [1]), **second))


def test_different_timestamps_are_refused_and_equal_ones_are_not():
    first, second = report([1], [1]), report([2], [1])
    first, second = (replace(one, times=Timestamps(np.arange(4.0))) for one in (first, second))

    assert merged(first, second)["v"].times is first.times
    later = replace(second, times=Timestamps(np.arange(4.0) + 1))
    with pytest.raises(ShapeMismatchError, match=r"other timestamps in b\.nwb than in a\.nwb"):
        merged(first, later)


def test_reports_of_one_name_and_several_populations_have_other_names():
    first = report([1], [1])
    table = replace(report([1], [2]).compartments, population="inh")
    second = replace(report([1], [2]), compartments=table)
    third = replace(report([3], [1]), name="v_exc", report="v_exc")

    found = merge_outputs(
        [
            ("a.nwb", SimulationOutput(reports=(first, third))),
            ("b.nwb", SimulationOutput(reports=(second,))),
            ("c.nwb", SimulationOutput(reports=(replace(report([5], [1]), name="v_l4"),))),
        ]
    )

    assert [(one.name, one.report, one.population) for one in found.reports] == [
        ("v_exc_2", "v", "exc"),
        ("v_exc", "v_exc", "exc"),
        ("v_inh", "v", "inh"),
    ]
    assert found["v_exc_2"].compartments.cell_ids.tolist() == [1, 5]


def test_an_error_about_numbers_of_rows_lists_those_of_all_files():
    with pytest.raises(ShapeMismatchError, match=r"differ: 4 in a\.nwb, 3 in b\.nwb; expected"):
        merged(report([1], [1]), report([2], [1], rows=3))


def test_an_error_about_a_cell_in_two_files_names_both():
    with pytest.raises(SourceError, match=r"cell 5 of report 'v' is in a\.nwb and in b\.nwb"):
        merged(report([5, 1], [1, 2]), report([2, 5], [1, 1]))
    spikes = [Spikes("exc", np.array([5]), np.array([time])) for time in (0.1, 0.2)]
    with pytest.raises(SourceError, match=r"cell 5 of the spikes of .*'exc' is in a\.nwb and in b"):
        merged(*spikes, "spikes")


def test_objects_that_cannot_be_joined_are_kept_of_one_file_and_refused_of_two():
    potentials, group = (
        potential("ecp"),
        ArrayGroup("VecRef", axes=(ArrayAxis("x", np.arange(3.0)),)),
    )

    with pytest.raises(NameClashError, match=r"'ecp' is in a\.nwb and b\.nwb"):
        merged(potentials, potentials, "potentials")
    with pytest.raises(NameClashError, match=r"'VecRef' is in a\.nwb and b\.nwb"):
        merged(group, group, "arrays")
    assert merge_outputs(
        [("a.nwb", SimulationOutput(arrays=(group,))), ("b.nwb", SimulationOutput())]
    ).arrays == (group,)


def test_metadata_are_those_of_the_first_file_with_a_warning_if_others_differ():
    first = SimulationOutput(run=Run("NEURON"), session={"NWBFile": {"lab": "A"}})
    second = SimulationOutput(run=Run("NEURON", seed=3), session={"NWBFile": {"lab": "B"}})

    with pytest.warns(SimulationOutputWarning, match=r"lab is B in b\.nwb and A in a\.nwb"):
        found = merge_outputs([("a.nwb", first), ("b.nwb", second)])

    assert (found.run, found.session) == (Run("NEURON", seed=3), {"NWBFile": {"lab": "A"}})


def test_provenance_of_single_files_is_left_out_with_a_note():
    sonata = {"format": "SONATA", "sorting": "by_id"}
    first, second = (replace(report([cell], [1]), provenance=sonata) for cell in (1, 2))

    found = merged(first, second)

    assert found["v"].provenance == {}
    assert found.notes == ("left out: how report 'v' was stored in the sources of each file",)


def test_closing_the_merged_output_closes_all():
    closed: list[str] = []
    outputs = [
        (name, SimulationOutput(close=lambda name=name: closed.append(name))) for name in "ab"
    ]

    merge_outputs(outputs).close()

    assert sorted(closed) == ["a", "b"]


def test_tables_of_different_columns_are_refused():
    first, second = report([1], [1]).compartments, report([2], [1]).compartments

    with pytest.raises(
        ShapeMismatchError,
        match=r"columns .*; expected population 'exc' and",
    ):
        join_tables([first, replace(second, columns={"number": np.zeros(1)})])


def test_merged_files_are_described_with_the_storage_of_all(tmp_path):
    paths = [tmp_path / "a.nwb", tmp_path / "b.nwb"]
    for path, cell in zip(paths, (1, 2), strict=True):
        convert(SimulationOutput(reports=(report([cell], [2]),)), path, metadata=METADATA)

    with open_output(paths) as output:
        (found,) = facts_of(output)["reports"]

    with open_output(paths[0]) as output:
        (alone,) = facts_of(output)["reports"]
    assert found["storage"] == {**alone["storage"], "bytes": 2 * alone["storage"]["bytes"]}


def test_circuits_of_several_files_are_one():
    cells = CellTable("exc", np.arange(3), {"layer": np.array([2, 3, 4])})
    ranks = [
        Circuit((cells,), node_sets={"deep": {"layer": 4}}),
        Circuit((replace(cells, columns={"layer": np.array([2, 3, 4])}),)),
        Circuit((CellTable("inh", np.arange(2)),), node_sets={"all": {"population": "inh"}}),
    ]
    named = [(f"rank{number}", SimulationOutput(circuit=one)) for number, one in enumerate(ranks)]

    circuit = merge_outputs(named).circuit
    assert [one.population for one in circuit.populations] == ["exc", "inh"]
    assert list(circuit.node_sets) == ["deep", "all"]

    other = replace(cells, columns={"layer": np.array([2, 3, 5])})
    named.append(("rank3", SimulationOutput(circuit=Circuit((other,)))))
    with pytest.raises(NameClashError, match="rank0 and rank3 have other values of 'layer' of pop"):
        merge_outputs(named)


def test_properties_of_the_cells_of_ranks_are_joined():
    kinds = Categories(np.array([1, 0]), ("PV", "SST"))
    first = CellTable("exc", np.array([4, 2]), {"mtype": kinds})
    second = CellTable("exc", np.array([2, 7]), {"mtype": kinds, "layer": np.array([5, 6])})
    spikes = [
        Spikes("exc", np.array([cell]), np.array([0.1]), cells=table)
        for cell, table in ((4, first), (7, second))
    ]
    outputs = [(str(cell), SimulationOutput(spikes=(one,))) for cell, one in enumerate(spikes)]

    cells = merge_outputs(outputs).spikes[0].cells
    assert cells.ids.tolist() == [4, 2, 7]
    assert cells.columns["mtype"][:].tolist() == ["SST", "PV", "PV"]
    assert np.array_equal(cells.columns["layer"][:], [np.nan, np.nan, 6], equal_nan=True)
