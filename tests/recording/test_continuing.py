"""Outputs that are split in time and merged again are equal to the whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import NameClashError, ShapeMismatchError, SourceError
from ndx_simulation_output.recording import (
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
from ndx_simulation_output.recording.merging import merge_outputs

CELLS = [7, 3, 12]
COUNTS = [2, 1, 3]
ROWS = 12
DATA = np.arange(ROWS * 6, dtype="f4").reshape(ROWS, 6)
REGULAR = RegularTimes(0.5, 1e4, ROWS)
IRREGULAR = Timestamps(np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 13, 14]) / 1e4)
SESSION = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}


def whole(times: Any = REGULAR) -> SimulationOutput:
    numbers = {"number": np.array([0, 1, 0, 0, 1, 2])}
    table = CompartmentTable.from_counts("exc", np.array(CELLS), np.array(COUNTS), numbers)
    volts = Unit("volts", 1e-3)
    when = times.seconds()
    return SimulationOutput(
        reports=(Report("v", "v", DATA, times, table, volts, "v"),),
        potentials=(ExtracellularPotential("lfp", DATA[:, :2], times, np.array([4, 1]), volts),),
        spikes=(Spikes("exc", np.array([3, 7, 3, 12, 3]), when[[0, 2, 5, 8, 11]]),),
        run=Run("NEURON", duration=ROWS / 1e4),
    )


def part(output: SimulationOutput, rows: slice, cells: list[int] | None = None) -> SimulationOutput:
    """Return the recordings of some rows and cells."""
    (report,), (lfp,), (spikes,) = output.reports, output.potentials, output.spikes
    own = CELLS if cells is None else cells
    columns, table = report.compartments.find(own), report.compartments
    numbers = {"number": table.columns["number"][columns]}
    counts = table.counts()[table.rows_of(own)]
    times = report.times.part(rows)
    begin, end = times.seconds()[[0, -1]] if times.count else (1.0, 0.0)
    mine = (spikes.times > begin - 1e-9) & (spikes.times < end + 1e-9)
    mine &= np.isin(spikes.node_ids, own)
    return SimulationOutput(
        reports=(
            replace(
                report,
                data=report.data[rows][:, columns],
                times=times,
                compartments=CompartmentTable.from_counts("exc", np.array(own), counts, numbers),
            ),
        ),
        potentials=(replace(lfp, data=lfp.data[rows], times=times),) if 7 in own else (),
        spikes=(replace(spikes, node_ids=spikes.node_ids[mine], times=spikes.times[mine]),),
        run=replace(output.run, duration=times.count / 1e4),
    )


def merged(*outputs: SimulationOutput) -> SimulationOutput:
    return merge_outputs([(f"{name}.nwb", one) for name, one in zip("abcdefgh", outputs)])  # noqa: B905


def assert_same(found: SimulationOutput, expected: SimulationOutput) -> None:
    for one, other in (
        (found.reports[0], expected.reports[0]),
        (found.potentials[0], expected.potentials[0]),
    ):
        np.testing.assert_array_equal(one.data[0:ROWS, 0:6], other.data)
        np.testing.assert_allclose(one.times.seconds(), other.times.seconds(), rtol=1e-12)
        assert type(one.times) is type(other.times)
    assert found["v"].compartments.cell_ids[:].tolist() == CELLS
    assert found.spikes[0].node_ids.tolist() == expected.spikes[0].node_ids.tolist()
    assert found.spikes[0].times.tolist() == expected.spikes[0].times.tolist()


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["rate", "timestamps"])
@given(
    edges=st.lists(st.integers(2, ROWS - 1), max_size=3, unique=True).map(sorted),
    order=st.randoms(use_true_random=False),
    ranks=st.booleans(),
    repeated=st.booleans(),
)
def test_parts_in_any_order_are_the_whole(times, edges, order, ranks, repeated):
    output = whole(times)
    bounds = list(zip([0, *edges], [*edges, ROWS], strict=True))
    rows = [slice(max(start - repeated, 0), stop) for start, stop in bounds]
    cells = [[7, 3], [12]] if ranks else [CELLS]
    parts = [part(output, some, own) for some in rows for own in cells]
    groups = [parts[n : n + len(cells)] for n in range(0, len(parts), len(cells))]
    order.shuffle(groups)

    found = merged(*(one for group in groups for one in group))

    assert_same(found, output)
    assert found.run == Run("NEURON", duration=None if edges else ROWS / 1e4)


def test_the_cells_of_a_part_may_be_in_another_order():
    output = whole()

    found = merged(part(output, slice(0, 5)), part(output, slice(5, ROWS), [12, 7, 3]))

    assert_same(found, output)
    np.testing.assert_array_equal(found["v"].data[2:9, [3, 4, 5, 0]], DATA[2:9, [3, 4, 5, 0]])


def test_a_start_may_be_rounded_to_float32():
    output = whole(RegularTimes(0.0, 4e4, ROWS))
    later = part(output, slice(5, ROWS))
    start = float(np.float32(later["v"].times.start))
    later = replace(
        later, reports=(replace(later["v"], times=RegularTimes(start, 4e4, 7)),), potentials=()
    )

    found = merged(part(output, slice(0, 5)), later)

    assert found["v"].times == RegularTimes(0.0, 4e4, ROWS)


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["rate", "timestamps"])
@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (slice(0, 5), slice(8, 12), r"of a\.nwb ends at .* of b\.nwb begins at .*: there is a gap"),
        (slice(0, 7), slice(5, 12), r"of a\.nwb ends at .* of b\.nwb begins at .*: overlap;"),
        (slice(5, 12), slice(0, 7), r"of b\.nwb ends at .* of a\.nwb begins at .*: overlap;"),
    ],
)
def test_a_gap_or_an_overlap_is_refused_with_both_names(times, first, second, match):
    output = whole(times)

    with pytest.raises(ShapeMismatchError, match=match):
        merged(part(output, first), part(output, second))


def test_a_row_in_both_parts_must_have_the_same_values():
    output = whole()
    later = part(output, slice(4, ROWS))
    changed = replace(later["v"], data=later["v"].data + 1)

    notes = merged(part(output, slice(0, 5)), later).notes
    with pytest.raises(ShapeMismatchError, match=r"other values at 0\.5004 s, which is in both"):
        merged(part(output, slice(0, 5)), replace(later, reports=(changed,), potentials=()))

    assert "report 'v' of b.nwb begins with the row at 0.5004 s of report 'v' of a.nwb" in notes[0]


def test_parts_that_do_not_have_the_same_cells_are_refused():
    output = whole()

    with pytest.raises(ShapeMismatchError, match="have other cells, such as 12; expected the same"):
        merged(part(output, slice(0, 5)), part(output, slice(5, ROWS), [7, 3]))
    later = part(output, slice(5, ROWS))
    numbers = {"number": np.array([0, 2, 0, 0, 1, 2])}
    table = replace(later["v"].compartments, columns=numbers)
    with pytest.raises(ShapeMismatchError, match="have other values of 'number'"):
        merged(
            part(output, slice(0, 5)),
            replace(later, reports=(replace(later["v"], compartments=table),)),
        )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"unit": Unit("volts")}, r"has the unit 1\.0 volts in b"),
        (
            {"variable": "cai"},
            "has values of several variables: v in a.nwb, cai in b.nwb; expected",
        ),
        ({"data": DATA[5:].astype("f8")}, "has the type float64 in b"),
        ({"times": RegularTimes(0.5005, 2e4, 7)}, r"has the times 20000\.0 Hz; expected 10000\.0"),
        ({"times": IRREGULAR.part(slice(5, ROWS))}, "one .* has a rate and the other has times"),
    ],
)
def test_parts_that_are_recorded_otherwise_are_refused(change, match):
    output = whole()
    later = part(output, slice(5, ROWS))
    later = replace(later, reports=(replace(later["v"], **change),), potentials=())

    with pytest.raises(ShapeMismatchError, match=match):
        merged(part(output, slice(0, 5)), later)


def test_potentials_of_other_channels_or_of_the_same_time_are_refused():
    output = whole()
    (lfp,) = part(output, slice(5, ROWS)).potentials
    first = replace(part(output, slice(0, 5)), reports=(), spikes=())
    other = SimulationOutput(potentials=(replace(lfp, channel_ids=np.array([4, 2])),))

    with pytest.raises(ShapeMismatchError, match=r"'lfp' has the channels \[4, 2\] in b"):
        merged(first, other)
    with pytest.raises(NameClashError, match=r"'lfp' is in a\.nwb and b\.nwb"):
        merged(first, first)


def test_spikes_that_go_on_after_the_next_part_began_are_refused():
    output = whole()
    early = part(output, slice(0, 5))
    (spikes,) = early.spikes
    early = replace(early, spikes=(replace(spikes, times=spikes.times + 1e-3),))

    with pytest.raises(SourceError, match=r"cell 3 of the spikes .* in a\.nwb until .* in b\.nwb"):
        merged(early, part(output, slice(5, ROWS)))


def test_cells_that_are_silent_in_one_part_are_not_silent_in_the_run():
    halves = [np.array([[0.0, 0.1]]), np.array([[0.1, 0.2]])]
    spikes = [
        Spikes(
            "exc", np.array([3]), np.array([0.05]), silent=np.array([7, 9]), intervals=halves[0]
        ),
        Spikes("exc", np.array([3, 7]), np.array([0.1, 0.15]), intervals=halves[1]),
    ]

    (found,) = merged(*(SimulationOutput(spikes=(some,)) for some in spikes)).spikes

    assert (found.node_ids.tolist(), found.times.tolist()) == ([3, 3, 7], [0.05, 0.1, 0.15])
    assert found.silent.tolist() == [9]
    assert found.intervals.tolist() == [[0.0, 0.2]]


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_files_of_parts_become_one_file(suffix, tmp_path):
    if suffix == ".nwb.zarr":
        pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    output = whole()
    paths = [
        convert(part(output, rows), tmp_path / f"{name}.nwb", metadata=SESSION).path
        for name, rows in (("b", slice(5, ROWS)), ("a", slice(0, 5)))
    ]

    path = convert(paths, tmp_path / f"run{suffix}").path

    with open_output(path) as found:
        assert_same(found, output)
        assert found.run.duration is None
