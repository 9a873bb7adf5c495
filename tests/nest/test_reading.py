"""Text of NEST's recording devices."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import NothingRecordedError, SourceError, UnitError
from ndx_simulation_output.nest import reading
from ndx_simulation_output.recording import RegularTimes, SimulationOutput, Timestamps
from tests.conftest import DATA

GENUINE = DATA / "other" / "other" / "nest_ascii"
HEADER = "# NEST version: 3.10.0\n# RecordingBackendASCII version: 2\n"
METADATA = {"NWBFile": {"session_start_time": "2026-11-30T08:00:00+00:00"}}
genuine = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="no genuine files; set NDX_TEST_DATA to their directory"
)


def write(path: Path, columns: str, *rows: str, end: str = "\n") -> Path:
    """Write a file of a device; ``rows`` are separated by blanks, as the columns."""
    lines = "\n".join("\t".join(line.split()) for line in (columns, *rows))
    path.write_text(HEADER + lines + end)
    return path


def spikes_of(output: SimulationOutput, name: str) -> list[tuple[int, float]]:
    """Return the ids and times (ms) of the spikes of a population, in order of time."""
    (found,) = (one for one in output.spikes if one.population == name)
    pairs = zip(found.node_ids.tolist(), (found.times * 1000).round(9).tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


@genuine
def test_genuine_files_give_what_the_devices_recorded(tmp_path: Path) -> None:
    """Two threads, times in ms and in steps, read back with h5py alone."""
    expected = json.loads((GENUINE / "EXPECTED.json").read_text())
    population = {"exc": "1-4", "inh": [5, 6]}

    convert(GENUINE, tmp_path / "run.nwb", metadata=METADATA, population=population, dt=0.1)

    with h5py.File(tmp_path / "run.nwb") as file:
        series = file["acquisition/V_m"]
        traces = series["data"][:] * series["data"].attrs["conversion"]
        times = series["starting_time"][()] + np.arange(49) / series["starting_time"].attrs["rate"]
        ends = file["units/spike_times_index"][:]
        trains = np.split(file["units/spike_times"][:], ends[:-1])
        ids = file["units/node_id"][:]
    for sender in range(1, 5):
        wanted = [(t, v) for cell, t, v in expected["V_m"] if cell == sender]
        assert_allclose(times * 1000, [t for t, _ in wanted])
        # The text has three decimals.
        assert_allclose(traces[:, sender - 1] * 1000, [v for _, v in wanted], atol=6e-4)
    found = sorted(
        (round(t * 1000, 6), int(cell))
        for cell, train in zip(ids, trains, strict=True)
        for t in train
    )
    spikes = [*expected["spikes_exc"], *expected["spikes_inh"]]
    assert found == sorted((round(t, 6), cell) for cell, t in spikes)


def test_threads_and_populations_are_joined(tmp_path: Path) -> None:
    """Rows come in the order of threads and of what a cell delivers at once."""
    columns = "sender time_ms V_m g_ex"
    rows = ["2 1.000 -70.0 0.1", "2 2.000 -69.0 0.2", "4 1.000 -60.0 0.3", "4 2.000 -59.0 0.4"]
    write(tmp_path / "mm-8-0.dat", columns, *rows)
    write(tmp_path / "mm-8-1.dat", columns, "3 1.000 nan 0.5", "3 2.000 -49.0 0.6")
    population = {"exc": "2-3", "inh": [4, 5]}

    with open_output(tmp_path, population=population) as output:
        assert [report.name for report in output.reports] == [
            *("V_m_exc", "V_m_inh", "g_ex_exc", "g_ex_inh"),
        ]
        assert output["V_m_exc"].unit.name == "volts"
        assert output["g_ex_inh"].unit.name == "siemens"
        assert output["V_m_exc"].times == RegularTimes(0.001, 1000.0, 2)
        assert_array_equal(output["V_m_exc"].data[:], [[-70, np.nan], [-69, -49]])
        assert_array_equal(output["g_ex_inh"].data[:], [[0.3], [0.4]])
        assert output["V_m_inh"].compartments.cell_ids[:].tolist() == [4]
        assert output.run.simulator_version == "3.10.0"
        assert not output.notes


def test_cells_of_a_population_without_spikes_are_silent(tmp_path: Path) -> None:
    """Senders of no population keep the label of their device, with a note."""
    write(tmp_path / "sr-9-0.dat", "sender time_ms", "2 5.3", "9 6.0")

    with open_output(tmp_path / "sr-9-0.dat", population={"exc": "1-3"}) as output:
        exc = next(one for one in output.spikes if one.population == "exc")
        assert spikes_of(output, "exc") == [(2, 5.3)]
        assert exc.silent is not None
        assert exc.silent.tolist() == [1, 3]
        assert spikes_of(output, "sr") == [(9, 6.0)]
        assert "set population" in output.notes[0]


def test_times_in_steps_need_the_resolution(tmp_path: Path) -> None:
    """An offset is from the end of a step back to the spike."""
    path = write(tmp_path / "sr-3-0.dat", "sender time_step time_offset", "5 53 0.0", "6 61 0.025")

    with pytest.raises(SourceError, match=r"sr-3-0\.dat are in steps; set dt to the resolution"):
        open_output(path)
    with open_output(path, dt=0.1, population="cells") as output:
        assert output.spikes[0].times.tolist() == [0.0053, 0.006075]
        assert output.run.time_step == pytest.approx(1e-4)


def test_dt_does_not_apply_to_milliseconds(tmp_path: Path) -> None:
    """It would be ignored."""
    path = write(tmp_path / "sr-3-0.dat", "sender time_ms", "5 5.3")

    with pytest.raises(SourceError, match=r"dt does not apply to .*sr-3-0\.dat: its times are in"):
        open_output(path, dt=0.1)


def test_spikes_of_nest_2_have_no_header(tmp_path: Path) -> None:
    """Two columns are ids and ms, three are ids, steps and offsets."""
    (tmp_path / "ex-12-0.gdf").write_text("5\t10.200\t\n7\t11.000\t\n")
    (tmp_path / "ex-12-1.gdf").write_text("6\t10.300\t\n")

    with open_output(sorted(tmp_path.iterdir())) as output:
        assert spikes_of(output, "ex") == [(5, 10.2), (6, 10.3), (7, 11.0)]


def test_times_that_are_not_regular_are_kept(tmp_path: Path) -> None:
    """They are timestamps."""
    rows = ["1 1.0 -70", "1 2.0 -71", "1 4.0 -72"]
    path = write(tmp_path / "mm-8-0.dat", "sender time_ms V_m", *rows)

    with open_output(path) as output:
        assert isinstance(output["V_m"].times, Timestamps)
        assert output["V_m"].times.seconds().tolist() == [0.001, 0.002, 0.004]


def test_times_that_a_stopped_run_did_not_finish_are_left_out(tmp_path: Path) -> None:
    """So is a line that was not finished: its last number may be cut."""
    rows = ["1 1.0 -70", "2 1.0 -60", "1 2.0 -71", "2 2.0 -6"]
    path = write(tmp_path / "mm-8-0.dat", "sender time_ms V_m", *rows, end="")

    with open_output(path, population="p") as output:
        assert_array_equal(output["V_m"].data[:], [[-70, -60]])
        assert output.notes == (
            "left out: the last line of mm-8-0.dat, which is incomplete",
            "left out: the last 1 of 2 times of mm, at which not all cells have values",
        )


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ("sender time_ms V_m", ["1 1.0 -70", "2 2.0 -60"], r"cell 2 of mm .* no value at 1 ms"),
        ("sender time_ms V_m", ["1 1.0 -70", "1 1.0 -71"], r"cell 1 of mm .* two values at 1 ms"),
        (
            "sender time_ms V_m",
            ["1 1.0 -70 5"],
            r"has rows of 4 values; expected sender time_ms V_m",
        ),
        ("sender time_ms V_m", ["1 1.0"], r"has rows of 2 values; expected sender time_ms V_m"),
        (
            "sender time_ms V_m",
            ["1 1.0 5", "2 1.0"],
            r"mm-8-0\.dat cannot be .*columns",
        ),
        ("sender time_ms V_m", ["1 1.0 volts"], r"mm-8-0\.dat cannot be read as text of NEST"),
        ("sender time_ms V_m", ["1.5 1.0 -70"], r"has a sender that is not an id"),
        ("sender time_ms V_m", ["-1 1.0 -70"], r"has a sender that is not an id"),
        ("sender time_ms V_m", ["1 nan -70"], r"a time that is not finite"),
        ("id time_ms V_m", ["1 1.0 -70"], r"has the columns 'id time_ms V_m'; expected sender"),
    ],
)
def test_damaged_text_is_refused(
    tmp_path: Path, columns: str, rows: list[str], message: str
) -> None:
    """The error names the file and what is wrong."""
    path = write(tmp_path / "mm-8-0.dat", columns, *rows)

    with pytest.raises(SourceError, match=message):
        open_output(path)


def test_spikes_of_a_cell_in_two_devices_are_refused(tmp_path: Path) -> None:
    """They would be there twice."""
    for name in ("a-1-0.dat", "b-2-0.dat"):
        write(tmp_path / name, "sender time_ms", "5 5.3")

    with pytest.raises(SourceError, match=r"cell 5 has spikes in .*a-1-0\.dat and in .*b-2-0"):
        open_output(tmp_path)


def test_an_id_in_two_populations_is_refused(tmp_path: Path) -> None:
    """The error names both."""
    path = write(tmp_path / "a-1-0.dat", "sender time_ms", "5 5.3")

    with pytest.raises(SourceError, match=r"cell 5 is in population exc and in inh"):
        open_output(path, population={"exc": "1-5", "inh": "5-6"})


def test_files_of_one_device_have_the_same_columns(tmp_path: Path) -> None:
    """Those of two runs may differ."""
    write(tmp_path / "a-1-0.dat", "sender time_ms", "5 5.3")
    write(tmp_path / "a-1-1.dat", "sender time_ms V_m", "5 5.3 -70")

    with pytest.raises(SourceError, match=r"a-1-1\.dat has the columns .*a-1-0\.dat of the same"):
        open_output(tmp_path)


def test_units_can_be_set(tmp_path: Path) -> None:
    """A name that no device recorded is an error."""
    path = write(tmp_path / "mm-8-0.dat", "sender time_ms Ca", "1 1.0 0.5", "1 2.0 0.5")

    with open_output(path) as output:
        assert "the unit of Ca is not known; set it with unit" in output.notes
    with open_output(path, unit={"Ca": "mM"}) as output:
        assert output["Ca"].unit.conversion == pytest.approx(1.0)
    with pytest.raises(UnitError, match=r"unit is set for x, which no device .* Ca"):
        open_output(path, unit={"x": "mV"})


def test_a_device_without_rows_recorded_no_spikes(tmp_path: Path) -> None:
    """A multimeter without rows is left out."""
    sr = write(tmp_path / "sr-9-0.dat", "sender time_ms")
    mm = write(tmp_path / "mm-8-0.dat", "sender time_ms V_m")

    with open_output([sr, mm], population={"exc": "1-3"}) as output:
        assert output.spikes[0].silent is not None
        assert output.spikes[0].silent.tolist() == [1, 2, 3]
        assert "left out: mm, which has no values" in output.notes
    with pytest.raises(NothingRecordedError, match=r"mm-8-0\.dat has a header and no rows"):
        open_output(mm)


def test_blocks_do_not_change_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a cell and time are in any block."""
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 3)).round(3)
    order = random.permutation([(t, s) for t in range(40) for s in range(3)])
    rows = [f"{s + 7} {t + 1}.000 {values[t, s]}" for t, s in order]
    write(tmp_path / "mm-8-0.dat", "sender time_ms V_m", *rows[:70])
    write(tmp_path / "mm-8-1.dat", "sender time_ms V_m", *rows[70:])
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 128)

    with open_output(tmp_path) as output:
        assert_array_equal(output["V_m"].data[:], values)
