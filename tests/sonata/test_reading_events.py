"""How spikes and extracellular potentials are read, rule by rule."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import SimulationOutputWarning, convert, export_sonata, open_output
from ndx_simulation_output.errors import (
    NothingRecordedError,
    ShapeMismatchError,
    SourceError,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import Spikes
from tests.sonata.making import SESSION, File, ecp, report, spikes

NO_POSITIONS = pytest.mark.filterwarnings("ignore:.*have no position")
POSITIONS = "channel x_pos y_pos z_pos\n0 1.5 2.5 3.5\n1 4 5 6\n"


def _only(path: Path, file: File, **options: Any) -> Spikes:
    with open_output(file.write(path / "spikes.h5"), **options) as output:
        (found,) = output.spikes
        return found


def test_spikes_keep_their_ids_their_order_and_are_in_seconds(tmp_path: Path) -> None:
    found = _only(tmp_path, spikes([3, 1, 3], [0.5, 1.5, 2.25]))

    assert found.population == "pop"
    assert found.node_ids.tolist() == [3, 1, 3]
    assert found.times.tolist() == [0.0005, 0.0015, 0.00225]


@pytest.mark.parametrize(
    ("unit", "seconds"), [("ms", 1e-3), ("milliseconds", 1e-3), ("s", 1.0), (np.bytes_("ms"), 1e-3)]
)
def test_the_unit_of_spikes_counts(unit: Any, seconds: float, tmp_path: Path) -> None:
    found = _only(tmp_path, spikes([3], [1.5], unit=unit))

    assert found.times.tolist() == pytest.approx([1.5 * seconds])


def test_spikes_without_a_unit_are_in_ms_with_a_warning_that_names_the_option(
    tmp_path: Path,
) -> None:
    with pytest.warns(
        SimulationOutputWarning, match=r"no unit of time; read as ms.*--time-unit sp"
    ):
        found = _only(tmp_path, spikes([3], [1.5], unit=None))

    assert found.times.tolist() == [0.0015]


def test_the_caller_sets_the_unit_of_spikes(tmp_path: Path) -> None:
    found = _only(tmp_path, spikes([3], [1.5], unit=None), time_unit={"spikes": "s"})

    assert found.times.tolist() == [1.5]


def test_spikes_without_a_population_are_of_an_unknown_one(tmp_path: Path) -> None:
    found = _only(tmp_path, spikes(population=None))

    assert found.population == "unknown"
    assert found.node_ids.tolist() == [3, 1, 3]


def test_the_caller_names_the_population_of_spikes_that_have_none(tmp_path: Path) -> None:
    found = _only(tmp_path, spikes(population=None), population="cortex")

    assert found.population == "cortex"


def test_spikes_of_several_populations_with_the_same_ids_stay_apart(tmp_path: Path) -> None:
    file = spikes([1], [0.5], population="a") | spikes([1], [0.75], population="b")
    convert(file.write(tmp_path / "s.h5"), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        units = io.read().units
        assert units["population"].data[:].tolist() == ["a", "b"]
        assert units["node_id"].data[:].tolist() == [1, 1]
        assert [train.tolist() for train in (units["spike_times"][0], units["spike_times"][1])] == [
            [0.0005],
            [0.00075],
        ]


def test_a_population_without_spikes_comes_back(tmp_path: Path) -> None:
    file = spikes() | spikes([], [], population="silent")
    convert(file.write(tmp_path / "s.h5"), tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "s.h5") as back:
        assert back["spikes/silent/timestamps"].shape == (0,)


def test_a_run_without_any_spikes_is_converted_and_comes_back(tmp_path: Path) -> None:
    source = spikes([], []).write(tmp_path / "s.h5")
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "s.h5") as back:
        assert back["spikes/pop/node_ids"].shape == (0,)


def test_spikes_without_populations_say_that_the_run_had_none(tmp_path: Path) -> None:
    source = File(groups=["spikes"]).write(tmp_path / "s.h5")

    with pytest.raises(NothingRecordedError, match=r"s\.h5.*the run had no spikes"):
        open_output(source)


def test_spikes_without_populations_beside_a_report_are_noted(tmp_path: Path) -> None:
    sources = [report().write(tmp_path / "v.h5"), File(groups=["spikes"]).write(tmp_path / "s.h5")]

    with open_output(sources) as output:
        assert output.notes == ("spikes of s.h5 has no populations: the run had no spikes",)


def test_an_empty_spike_population_group_is_left_out_with_a_note(tmp_path: Path) -> None:
    file = spikes() | File(groups=["spikes/empty"])

    with open_output(file.write(tmp_path / "s.h5")) as output:
        assert output.notes == ("spikes/empty of s.h5 is an empty group and was left out",)


def test_a_false_claim_of_order_changes_nothing(tmp_path: Path) -> None:
    source = spikes([3, 1, 2], [5.0, 9.0, 1.0], sorting="by_time").write(tmp_path / "s.h5")
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "s.h5") as back:
        assert back["spikes/pop/node_ids"][:].tolist() == [3, 1, 2]
        assert back["spikes/pop/timestamps"][:].tolist() == [5.0, 9.0, 1.0]


def test_ties_keep_their_order(tmp_path: Path) -> None:
    ids, times = [5, 2, 9, 2, 2], [1.0, 1.0, 1.0, 1.0, 0.5]
    source = spikes(ids, times).write(tmp_path / "s.h5")
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "s.h5") as back:
        assert back["spikes/pop/node_ids"][:].tolist() == ids


def test_ids_and_times_of_different_length_are_refused(tmp_path: Path) -> None:
    source = spikes([1, 2], [0.5]).write(tmp_path / "s.h5")

    with pytest.raises(ShapeMismatchError, match=r"spikes/pop of s\.h5 has 2 node ids but 1 times"):
        open_output(source)


def test_spikes_as_text_are_read(tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text("timestamps population node_ids\n0.5 a 3\n1.5 b 1\n2.5 a 4\n")

    with open_output(source) as output:
        found = {
            part.population: (part.node_ids.tolist(), part.times.tolist()) for part in output.spikes
        }

    assert found == {"a": ([3, 4], [0.0005, 0.0025]), "b": ([1], [0.0015])}


@pytest.mark.parametrize(
    ("line", "population"),
    [
        ('0.1 "thal 2" 3', "thal 2"),
        ("0.1 NA 3", "NA"),
        ("0.1 01 3", "01"),
        (" 0.1  pop 3 ", "pop"),
    ],
)
def test_populations_of_spikes_as_text_keep_their_names(
    line: str, population: str, tmp_path: Path
) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text(f"timestamps population node_ids\n{line}\n")

    with open_output(source) as output:
        (found,) = output.spikes
        assert (found.population, found.node_ids.tolist()) == (population, [3])


def test_spikes_as_text_without_a_population_are_of_an_unknown_one(tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text("timestamps, population, node_ids\n0.30000000000000004,,3\n")

    with open_output(source, time_unit={"spikes": "s"}) as output:
        (found,) = output.spikes
        assert (found.population, found.times.tolist()) == ("unknown", [0.30000000000000004])


def test_a_run_without_spikes_says_so_as_text(tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text("timestamps population node_ids\n")

    with pytest.raises(NothingRecordedError, match=r"^nothing was.*spikes\.csv lists no spikes"):
        open_output(source)


@pytest.mark.parametrize("row", ["1_0.5 exc 3", "0.5 exc 1_0"])
def test_texts_that_only_python_takes_for_numbers_are_refused(row: str, tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text(f"timestamps population node_ids\n{row}\n")

    with pytest.raises(SourceError, match=r"spikes\.csv.*a value with _, which is not a number"):
        open_output(source)


def test_the_caller_sets_the_unit_of_spikes_as_text(tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text("timestamps population node_ids\n0.5 a 3\n")

    with open_output(source, time_unit={"spikes": "s"}) as output:
        assert output.spikes[0].times.tolist() == [0.5]


def test_spikes_as_text_that_are_also_in_hdf5_are_read_once(tmp_path: Path) -> None:
    text = tmp_path / "spikes.csv"
    text.write_text("timestamps population node_ids\n0.5 pop 3\n")

    with open_output([spikes().write(tmp_path / "spikes.h5"), text]) as output:
        assert [len(part.times) for part in output.spikes] == [3]
        assert any("spikes.csv, as the spikes were read from HDF5" in note for note in output.notes)


@pytest.mark.parametrize("line", ["x a 3", "0.5 a y", "0.5 a 3.5", "0.5", "0.5 a 3 4"])
def test_spikes_as_text_that_are_no_numbers_are_refused(line: str, tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text(f"timestamps population node_ids\n{line}\n")

    with pytest.raises(SourceError, match=r"spikes\.csv cannot be read as spikes"):
        open_output(source)


@pytest.mark.parametrize("header", ["a b c", "", "\n"])
def test_a_text_file_that_is_something_else_is_refused(header: str, tmp_path: Path) -> None:
    source = tmp_path / "other.csv"
    source.write_text(header)

    with pytest.raises(SourceError, match=r"other\.csv is neither a list of electrodes"):
        open_output(source)


@NO_POSITIONS
@pytest.mark.parametrize("transposed", [False, True])
def test_potentials_are_read_in_both_orientations(transposed: bool, tmp_path: Path) -> None:
    values = np.arange(10.0).reshape(5, 2)
    source = ecp(values.T if transposed else values, time=(0.0, 0.5, 0.1)).write(tmp_path / "e.h5")
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        series = io.read().acquisition["e"]
        assert series.data[:].tolist() == values.tolist()
        assert (series.unit, series.conversion) == ("volts", 1e-3)
        assert series.rate == 10000.0


@NO_POSITIONS
def test_square_potentials_are_times_by_channels(tmp_path: Path) -> None:
    source = ecp(np.asarray([[1.0, 2.0], [3.0, 4.0]]), time=(0.0, 0.2, 0.1)).write(
        tmp_path / "e.h5"
    )

    with open_output(source) as output:
        assert output.potentials[0].data[0:1, :].tolist() == [[1.0, 2.0]]


def test_potentials_get_the_positions_of_the_file_beside_them(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(POSITIONS)
    source = ecp(np.zeros((5, 2)), channels=[1, 0], time=(0.0, 0.5, 0.1)).write(tmp_path / "e.h5")
    convert([source, electrodes], tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        series = io.read().acquisition["e"]
        table = series.electrodes.table
        positions = [
            [float(table[axis][row]) for axis in "xyz"] for row in series.electrodes.data[:]
        ]
        assert positions == [[4.0, 5.0, 6.0], [1.5, 2.5, 3.5]]


def test_positions_may_be_separated_by_commas_and_have_further_columns(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text("channel,x_pos,y_pos,z_pos,shank\n0,1,2,3,a\n1,4,5,6,b\n")
    source = ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1)).write(tmp_path / "e.h5")
    convert([source, electrodes], tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        assert list(io.read().electrodes["shank"].data[:]) == ["a", "b"]
    export_sonata(tmp_path / "o.nwb", tmp_path / "back")
    assert (tmp_path / "back" / "electrodes.csv").read_text().splitlines()[1].split()[-1] == "a"


def test_channels_without_a_position_are_warned_of(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(POSITIONS)
    source = ecp(np.zeros((5, 3)), channels=[0, 1, 2], time=(0.0, 0.5, 0.1)).write(
        tmp_path / "e.h5"
    )

    with (
        pytest.warns(
            SimulationOutputWarning, match="e: 1 of 3 channels have no position.*channel 2"
        ),
        open_output([source, electrodes]) as output,
    ):
        assert output.potentials[0].channel_ids.tolist() == [0, 1, 2]


def test_electrodes_that_were_not_recorded_come_back_too(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(POSITIONS + "7 7.5 8.5 9.5\n")
    source = ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1)).write(tmp_path / "e.h5")
    convert([source, electrodes], tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    back = (tmp_path / "back" / "electrodes.csv").read_text()
    assert "7 7.5 8.5 9.5" in back


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("channel x_pos y_pos z_pos\n0 a 0 0\n", "cannot be read as electrodes"),
        ("channel x_pos y_pos z_pos\n0.5 1 0 0\n", "cannot be read as electrodes"),
        ("channel x_pos y_pos z_pos\n0 0 0 0\n0 1 1 1\n", "lists a channel more than once"),
    ],
)
def test_electrodes_that_cannot_be_read_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(text)
    source = ecp(np.zeros((5, 2))).write(tmp_path / "e.h5")

    with pytest.raises(SourceError, match=rf"electrodes\.csv {reason}"):
        open_output([source, electrodes])


def test_electrodes_without_potentials_are_noted(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(POSITIONS)

    with open_output([report().write(tmp_path / "v.h5"), electrodes]) as output:
        assert any("electrodes.csv" in note for note in output.notes)


def test_the_contribution_of_one_cell_is_refused(tmp_path: Path) -> None:
    source = File({"ecp/data": np.zeros((5, 2))}).write(tmp_path / "12.h5")

    with pytest.raises(
        UnsupportedSourceError, match=r"12\.h5 has only data in ecp: the contribution of one c"
    ):
        open_output(source)


@NO_POSITIONS
def test_potentials_of_an_unknown_unit_are_no_electrical_series(tmp_path: Path) -> None:
    source = ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1), unit=None).write(tmp_path / "e.h5")

    with pytest.warns(
        SimulationOutputWarning, match=r"ecp/data of e\.h5 has no unit.*--unit e=UNIT"
    ):
        convert(source, tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        assert type(io.read().acquisition["e"]).__name__ == "TimeSeries"


def test_potentials_of_an_unknown_unit_keep_their_electrodes(tmp_path: Path) -> None:
    electrodes = tmp_path / "electrodes.csv"
    electrodes.write_text(POSITIONS)
    source = ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1), unit=None).write(tmp_path / "e.h5")
    with pytest.warns(SimulationOutputWarning, match="no unit"):
        convert([source, electrodes], tmp_path / "o.nwb", metadata=SESSION)

    written = export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    assert [path.name for path in written.files] == ["e.h5", "electrodes.csv"]


@NO_POSITIONS
def test_a_file_may_hold_a_report_spikes_and_potentials(tmp_path: Path) -> None:
    file = report() | spikes() | ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1))

    with open_output(file.write(tmp_path / "all.h5")) as output:
        found = len(output.reports), len(output.spikes), len(output.potentials)

    assert found == (1, 1, 1)


@NO_POSITIONS
def test_potentials_without_time_take_the_time_step_of_the_caller(tmp_path: Path) -> None:
    file = ecp(np.zeros((5, 2)))
    del file.datasets["ecp/time"], file.attributes["ecp/time"]
    source = file.write(tmp_path / "e.h5")

    with pytest.raises(SourceError, match=r"ecp of e\.h5 has no time; set the time step"):
        open_output(source)
    with open_output(source, dt=0.1) as output:
        assert output.potentials[0].times.rate == 10000.0


@pytest.mark.parametrize("ids", [("2.0", "1"), ("2.", "1.0"), ("2e0", "1.000"), ("2", "1")])
def test_ids_of_spikes_may_be_written_as_numbers_without_fraction(
    ids: tuple[str, str], tmp_path: Path
) -> None:
    lines = [f"{time} pop {cell}" for time, cell in zip((0.5, 1.5), ids, strict=True)]
    (tmp_path / "s.csv").write_text("\n".join(["timestamps population node_ids", *lines]))
    numbers = np.array([float(cell) for cell in ids], "f4")
    file = File({"spikes/pop/node_ids": numbers, "spikes/pop/timestamps": np.array([0.5, 1.5])})
    file.attributes["spikes/pop/timestamps"] = {"units": "ms"}

    for source in (tmp_path / "s.csv", file.write(tmp_path / "s.h5")):
        with open_output(source) as output:
            assert output.spikes[0].node_ids.tolist() == [2, 1]
            assert output.spikes[0].node_ids.dtype == np.int64


@pytest.mark.parametrize("cell", ["2.5", "nan", "inf", "9007199254740993.0", "1e300", "-2.0", "x"])
def test_ids_of_spikes_that_are_no_integers_are_refused(cell: str, tmp_path: Path) -> None:
    source = tmp_path / "s.csv"
    source.write_text(f"timestamps population node_ids\n0.5 pop {cell}\n1.5 pop 2.0\n")

    with pytest.raises(SourceError, match=r"s\.csv"):
        open_output(source)
