"""How compartment reports are read, rule by rule."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO

from ndx_simulation_output import (
    SimulationOutputWarning,
    StorageOptions,
    convert,
    export_sonata,
    open_output,
    sonata,
)
from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    ShapeMismatchError,
    SourceError,
    UnitError,
    UnsupportedSourceError,
)
from ndx_simulation_output.nwb import mapping as nwb_mapping
from ndx_simulation_output.recording import RegularTimes, Report, Unit
from ndx_simulation_output.sonata import mapping as sonata_mapping
from tests.sonata.making import SESSION, File, differences, report, spikes

MILLIVOLTS = Unit("volts", 1e-3)


def _written(path: Path, file: File) -> Path:
    return file.write(path / "v.h5")


def _only(path: Path, file: File, **options: Any) -> tuple[Report, np.ndarray[Any, Any]]:
    """Return the only report of a file, and its data."""
    with open_output(_written(path, file), **options) as output:
        (found,) = output.reports
        return found, found.data[:, :]


@pytest.mark.parametrize("root", ["report", "reports"])
@pytest.mark.parametrize("dialect", ["bbp", "allen"])
def test_both_roots_and_both_dialects_are_read(root: str, dialect: str, tmp_path: Path) -> None:
    file = report([4, 1], [2, 1], root=root, dialect=dialect)

    found, data = _only(tmp_path, file)

    assert found.name == "v"
    assert found.population == "pop"
    assert found.compartments.cell_ids[:].tolist() == [4, 1]
    assert found.compartments.counts().tolist() == [2, 1]
    assert found.compartments.columns["number"][:].tolist() == [0, 1, 0]
    assert data.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.filterwarnings("ignore")  # Columns that belong to no cell.
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    first=st.integers(0, 2),
    n_left_out=st.integers(0, 1),
    n_pointers_less=st.integers(0, 1),
    ids=st.sampled_from([[0, 1, 2, 3, 4], [9, 2, 7, 4, 5], [1, 1, 2, 3, 2]]),
    largest=st.sampled_from([None, 2**31, 2**64 - 1]),
    has_positions=st.booleans(),
)
def test_a_large_report_is_read_as_a_small_one(
    counts: list[int],
    first: int,
    n_left_out: int,
    n_pointers_less: int,
    ids: list[int],
    largest: int | None,
    has_positions: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("large")
    size = sum(counts) + n_left_out
    pointers = first + np.cumsum([0, *counts])[: len(counts) + 1 - n_pointers_less]
    elements = np.arange(size, dtype=np.uint64)
    elements[-1:] = elements[-1:] if largest is None else largest
    file = report(
        ids[: len(counts)],
        counts,
        data=np.arange(2.0 * size, dtype=np.float32).reshape(2, size),
        time=(0.0, 0.2, 0.1),
        index_pointers=pointers.astype(np.uint64),
        element_ids=elements,
        element_pos=np.linspace(0, 1, size) if has_positions else None,
    )
    path = _written(directory, file)

    def read() -> Any:
        try:
            with open_output(path) as output:
                (found,) = output.reports
                table = found.compartments
                arrays = {"id": table.cell_ids, "ends": table.ends, **table.columns}
                values = {key: (one.dtype, one[:].tolist()) for key, one in arrays.items()}
                return values, table.width(), found.data[:, :].tolist(), found.provenance
        except (SourceError, ShapeMismatchError) as error:
            return type(error), str(error)

    small = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sonata_mapping, "_MOST_IN_MEMORY", 0)
        assert read() == small


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_large_table_is_converted_as_a_small_one(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = {"element_pos": np.array([0.2, 0.7, 0.5], np.float32)}
    path = _written(tmp_path, report() | report(population="other", cells=[1, 7], **positions))
    storage = StorageOptions(compression=compression)
    small, large = tmp_path / "small.nwb", tmp_path / "large.nwb"

    convert(path, small, metadata=SESSION, storage=storage)
    monkeypatch.setattr(sonata_mapping, "_MOST_IN_MEMORY", 0)
    monkeypatch.setattr(nwb_mapping, "_MOST_LOADED_BYTES", 0)
    convert(path, large, metadata=SESSION, storage=storage)

    tables = "general/simulation"
    with h5py.File(small) as one, h5py.File(large) as other:
        assert {*one[tables]} == {*other[tables]}
        names = [name for name in one[tables] if name.startswith("compartments")]
        assert len(names) == 2
        for name in names:
            expected, found = one[tables][name], other[tables][name]
            assert {*expected} == {*found}
            assert found["number"].chunks is None
            for column, values in expected.items():
                assert found[column].dtype == values.dtype
                assert found[column][:].tolist() == values[:].tolist()
                assert found[column].attrs.get("description") == values.attrs.get("description")
    assert pynwb.validate(path=str(large)) == []


def test_populations_of_both_roots_of_one_file_are_read(tmp_path: Path) -> None:
    file = report(population="a") | report(population="b", root="reports")

    with open_output(_written(tmp_path, file)) as output:
        assert [found.name for found in output.reports] == ["v_a", "v_b"]


def test_an_empty_population_group_is_left_out_with_a_note(tmp_path: Path) -> None:
    file = report() | File(groups=["report/empty"])

    with open_output(_written(tmp_path, file)) as output:
        names, notes = [found.name for found in output.reports], output.notes

    assert names == ["v"]
    assert notes == ("report/empty of v.h5 is an empty group and was left out",)


def test_a_population_without_cells_is_left_out_with_a_note(tmp_path: Path) -> None:
    file = report() | report([], [], population="nobody")

    with open_output(_written(tmp_path, file)) as output:
        assert [found.population for found in output.reports] == ["pop"]
        assert output.notes == ("report/nobody of v.h5 has no cells and was left out",)


def test_a_file_of_only_empty_groups_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    source = _written(tmp_path, File(groups=["report/a"]))

    with pytest.raises(NothingRecordedError, match=r"v\.h5: nothing was recorded .*report/a of v"):
        open_output(source)


def test_pointers_may_lack_the_last_one(tmp_path: Path) -> None:
    file = report([4, 1], [2, 3], index_pointers=np.array([0, 2], np.uint64))

    found, _ = _only(tmp_path, file)

    assert found.compartments.counts().tolist() == [2, 3]


def test_pointers_that_lack_the_last_one_may_be_in_any_order(tmp_path: Path) -> None:
    file = report([4, 1, 9], [1, 1, 1], index_pointers=np.array([2, 0, 1], np.uint64))

    found, data = _only(tmp_path, file)

    assert found.compartments.cell_ids[:].tolist() == [4, 1, 9]
    assert data[0].tolist() == [2, 0, 1]


def test_short_pointers_of_cells_without_compartments_are_understood(tmp_path: Path) -> None:
    file = report([4, 1, 9], [2, 0, 1], index_pointers=np.array([0, 2, 2], np.uint64))

    found, data = _only(tmp_path, file)

    assert found.compartments.counts().tolist() == [2, 0, 1]
    assert data[0].tolist() == [0, 1, 2]


def test_columns_that_no_pointer_reaches_are_left_out_with_a_warning(tmp_path: Path) -> None:
    file = report([4, 1], [2, 3], index_pointers=np.array([1, 2, 4], np.uint64))

    with pytest.warns(SimulationOutputWarning, match="assigns 3 of 5 columns to cells"):
        found, data = _only(tmp_path, file)

    assert data[0].tolist() == [1, 2, 3]
    assert found.compartments.columns["number"][:].tolist() == [1, 0, 1]


def test_pointers_that_count_on_from_the_population_before_are_understood(tmp_path: Path) -> None:
    file = report([4, 1], [2, 1], population="a")
    file |= report([7, 8], [1, 2], population="b", index_pointers=np.array([3, 4, 6], np.uint64))

    with open_output(_written(tmp_path, file)) as output:
        second = output["v_b"]
        assert second.compartments.counts().tolist() == [1, 2]
        assert second.data[0:1, :].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("vector", [(0.0, 0.1, 0.2, 0.3), (0.0, 0.1, 0.2)])
def test_data_of_arbor_are_compartments_by_times_with_a_time_for_each_row(
    vector: tuple[float, ...], tmp_path: Path
) -> None:
    values = np.arange(5 * len(vector), dtype=np.int32).reshape(5, len(vector))
    file = report([4, 1], [2, 3], data=values, time=vector, root="reports")

    found, data = _only(tmp_path, file)

    assert data.tolist() == values.T.tolist()
    assert data.dtype == np.int32
    assert found.times.seconds().tolist() == pytest.approx([time / 1000 for time in vector])


def test_a_square_report_is_times_by_compartments(tmp_path: Path) -> None:
    file = report([4, 1], [2, 1], rows=3)

    _, data = _only(tmp_path, file)

    assert data[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("triple", "rows"), [((0.0, 0.2, 0.1), 3), ((0.0, 0.4, 0.1), 3), ((1.0, 1.2, 0.1), 3)]
)
def test_rows_come_from_the_data_and_not_from_the_time(
    triple: tuple[float, float, float], rows: int, tmp_path: Path
) -> None:
    with open_output(_written(tmp_path, report(rows=rows, time=triple))) as output:
        (found,) = output.reports
        implied = round((triple[1] - triple[0]) / triple[2])
        assert found.data.shape[0] == rows
        note = f"report/pop/data of v.h5 has {rows} rows where its time implies {implied}"
        assert output.notes == (f"{note}; all rows were read",)


@pytest.mark.parametrize("start", [0.0, 10.0, 100.0, 1000.0, -20.0])
def test_a_report_keeps_its_start_time(start: float, tmp_path: Path) -> None:
    convert(
        _written(tmp_path, report(time=(start, start + 0.3, 0.1))),
        tmp_path / "out.nwb",
        metadata=SESSION,
    )

    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        series = io.read().acquisition["v"]
        assert series.starting_time == start / 1000
        assert series.rate == 10000.0


@pytest.mark.parametrize(("step", "rate"), [(0.01, 100000.0), (0.025, 40000.0), (0.1, 10000.0)])
def test_the_rate_is_not_spoiled_by_arithmetic(step: float, rate: float, tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report(time=(0.0, 3 * step, step)))

    assert found.times.rate == rate


@pytest.mark.parametrize("start", [100000.3, 1000.1, -0.1, 0.0])
def test_a_start_that_float32_has_rounded_is_the_multiple_of_the_step(
    start: float, tmp_path: Path
) -> None:
    time = np.float32([start, start + 0.3, 0.1])
    path = report(time=time).write(tmp_path / "r.h5")

    with open_output(path) as output:
        assert output["r"].times == RegularTimes(start / 1000, 10000.0, 3)


def test_a_round_start_is_kept_whatever_the_step(tmp_path: Path) -> None:
    path = report(time=np.float32([100, 101, 1 / 3])).write(tmp_path / "r.h5")

    with open_output(path) as output:
        assert output["r"].times == RegularTimes(0.1, 3000.0, 3)


@pytest.mark.parametrize("start", [1e4, 1e6])
def test_late_times_of_float32_have_the_rate_that_was_meant(start: float, tmp_path: Path) -> None:
    times = (start + np.arange(500) * 0.1).astype("f4")
    path = report(rows=500, time=times).write(tmp_path / "r.h5")

    with open_output(path) as output:
        assert output["r"].times == RegularTimes(start / 1000, 10000.0, 500)


def test_the_unit_of_time_of_the_file_counts(tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report(time=(1.0, 1.3, 0.1), time_unit="s"))

    assert (found.times.start, found.times.rate) == (1.0, 10.0)


def test_an_unknown_unit_of_time_is_read_as_ms_with_a_warning_that_names_the_option(
    tmp_path: Path,
) -> None:
    with pytest.warns(
        SimulationOutputWarning, match=r"unit of time 'mR'; read as ms.*--time-unit v"
    ):
        found, _ = _only(tmp_path, report(time_unit="mR"))

    assert found.times.rate == 10000.0


def test_a_missing_unit_of_time_is_warned_of_in_the_dialect_that_states_it(tmp_path: Path) -> None:
    with pytest.warns(SimulationOutputWarning, match=r"mapping/time of v\.h5 has no unit of time"):
        _only(tmp_path, report(time_unit=None))

    found, _ = _only(tmp_path, report(time_unit=None, dialect="allen"))

    assert found.times.rate == 10000.0


def test_the_caller_sets_the_unit_of_time(tmp_path: Path) -> None:
    file = report(time=(0.0, 3.0, 1.0), time_unit=None)

    found, _ = _only(tmp_path, file, time_unit={"v": "s"})

    assert found.times.rate == 1.0


@pytest.mark.parametrize("dialect", ["bbp", "allen"])
@pytest.mark.parametrize("attribute", ["unit", "units"])
@pytest.mark.parametrize(("stated", "given"), [("s", "ms"), ("ms", "s"), ("s", "s"), (None, "s")])
def test_times_stay_right_on_the_way_back_when_the_caller_set_their_unit(
    dialect: str, attribute: str, stated: str | None, given: str, tmp_path: Path
) -> None:
    file = report(time=(1.0, 4.0, 1.0), time_unit=None, dialect=dialect)
    file.attributes["report/pop/mapping/time"] = {attribute: stated}
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION, time_unit={"v": given})

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        time = back["report/pop/mapping/time"]
        units = time.attrs.get("units", time.attrs.get("unit", "ms"))
        seconds = {"s": 1.0, "ms": 1e-3}[units] * time[:]
    assert seconds.tolist() == pytest.approx([n * {"s": 1.0, "ms": 1e-3}[given] for n in (1, 4, 1)])


def test_irregular_times_become_timestamps_in_seconds(tmp_path: Path) -> None:
    file = report(rows=4, time=(0.0, 1.0, 5.0, 6.0))
    convert(_written(tmp_path, file), tmp_path / "out.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        series = io.read().acquisition["v"]
        assert series.rate is None
        assert series.timestamps[:].tolist() == [0.0, 0.001, 0.005, 0.006]


def test_irregular_times_cannot_be_exported_and_are_noted(tmp_path: Path) -> None:
    file = report(rows=4, time=(0.0, 1.0, 5.0, 6.0)) | spikes()
    convert(_written(tmp_path, file), tmp_path / "out.nwb", metadata=SESSION)

    written = export_sonata(tmp_path / "out.nwb", tmp_path / "back")

    assert any("v: SONATA has no irregular times" in text for text in written.left_out)
    assert [path.name for path in written.files] == ["v.h5"]


def test_a_report_without_time_asks_for_the_time_step(tmp_path: Path) -> None:
    source = _written(tmp_path, report(time=None))

    with pytest.raises(SourceError, match=r"report/pop/mapping of v\.h5 has no time.*--dt"):
        open_output(source)


def test_a_report_without_time_takes_the_time_step_of_the_caller(tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report(time=None), dt=0.025)

    assert (found.times.start, found.times.rate) == (0.0, 40000.0)


@pytest.mark.parametrize("dtype", ["|u1", "<u4", "<u8", "<i8", ">u4", "<f8"])
def test_ids_of_every_type_are_read_in_their_order(dtype: str, tmp_path: Path) -> None:
    ids = np.asarray([200, 0, 7], dtype)

    found, _ = _only(tmp_path, report(ids, [1, 1, 1], element_ids=ids))

    assert found.compartments.cell_ids[:].tolist() == [200, 0, 7]
    assert found.compartments.columns["number"][:].tolist() == [200, 0, 7]


def test_ids_that_are_not_whole_numbers_are_refused(tmp_path: Path) -> None:
    source = _written(tmp_path, report(node_ids=np.asarray([0.5, 1.0])))

    with pytest.raises(
        SourceError, match=r"mapping/node_ids of v\.h5 has the value .*expected int"
    ):
        open_output(source)


def test_a_negative_cell_id_is_refused(tmp_path: Path) -> None:
    source = _written(tmp_path, report(node_ids=np.asarray([-1, 1])))

    with pytest.raises(SourceError, match=r"mapping/node_ids of v\.h5 has the negative id -1"):
        open_output(source)


def test_the_missing_section_of_a_point_cell_is_minus_one(tmp_path: Path) -> None:
    elements = np.asarray([2**64 - 1, 5, 3], np.uint64)

    found, _ = _only(tmp_path, report(element_ids=elements))

    assert found.compartments.columns["number"][:].tolist() == [-1, 5, 3]


def test_synapse_ids_beyond_32_bits_are_kept(tmp_path: Path) -> None:
    elements = np.asarray([2**40, 5, 3], np.uint64)
    convert(_written(tmp_path, report(element_ids=elements)), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        table = io.read().acquisition["v"].compartments
        assert table["number"].target.data[:].tolist() == [2**40, 5, 3]


def test_a_cell_listed_once_for_each_compartment_becomes_one_row(tmp_path: Path) -> None:
    file = report([4, 4, 1, 9, 9], [1] * 5, element_ids=np.arange(5, dtype=np.uint32))

    found, data = _only(tmp_path, file)

    assert found.compartments.cell_ids[:].tolist() == [4, 1, 9]
    assert found.compartments.counts().tolist() == [2, 1, 2]
    assert data[0].tolist() == [0, 1, 2, 3, 4]


def test_a_cell_listed_again_later_gets_its_compartments_together(tmp_path: Path) -> None:
    file = report([4, 1, 4], [1, 1, 1], element_ids=np.asarray([0, 1, 2], np.uint32))

    found, data = _only(tmp_path, file)

    assert found.compartments.cell_ids[:].tolist() == [4, 1]
    assert found.compartments.columns["number"][:].tolist() == [0, 2, 1]
    assert data[0].tolist() == [0, 2, 1]


def test_values_of_cells_that_are_listed_more_than_once_are_kept(tmp_path: Path) -> None:
    file = report([4, 1, 4], [2, 1, 1], layer=np.asarray([5, 2, 5], np.uint8))
    source = _written(tmp_path, file)
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        assert "layer" in io.read().acquisition["v"].compartments.colnames


def test_a_cell_without_compartments_survives_beside_one_listed_twice(tmp_path: Path) -> None:
    file = report([4, 8, 4], [1, 0, 1])
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        assert 8 in back["report/pop/mapping/node_ids"][:]


def test_cells_without_any_compartments_are_converted(tmp_path: Path) -> None:
    file = report([4, 1], [0, 0])
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        series = io.read().acquisition["v"]
        assert series.data.shape == (3, 0)
        assert series.compartments.id.data[:].tolist() == [4, 1]


def test_a_report_without_rows_is_converted(tmp_path: Path) -> None:
    file = report(rows=0, time=(0.0, 0.0, 0.1))
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        assert io.read().acquisition["v"].data.shape == (0, 3)


def test_positions_are_unknown_where_the_file_has_none(tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report())

    assert "position" not in found.compartments.columns


def test_positions_of_a_report_of_every_segment_are_computed_on_request(tmp_path: Path) -> None:
    file = report([4, 1], [3, 2], element_ids=np.asarray([0, 2, 2, 0, 1], np.uint32))

    found, _ = _only(tmp_path, file, compartments={"v": "all"})

    assert found.compartments.columns["position"][:].tolist() == [0.5, 0.25, 0.75, 0.5, 0.5]


def test_positions_of_the_file_are_kept_in_their_type(tmp_path: Path) -> None:
    file = report(element_pos=np.asarray([0.25, np.nan, 0.5], np.float32))

    found, _ = _only(tmp_path, file)

    positions = found.compartments.columns["position"][:]
    assert positions.dtype == np.float32
    assert np.array_equal(positions, np.float32([0.25, np.nan, 0.5]), equal_nan=True)


@pytest.mark.parametrize(
    "unit",
    [
        "mV",
        np.bytes_("mV"),
        ("mV", h5py.string_dtype("ascii", 8)),
        ("mV", h5py.string_dtype("utf-8", 2)),
        (np.asarray([b"mV"]), h5py.string_dtype("ascii", 2)),
    ],
)
def test_a_unit_is_read_however_its_text_is_stored(unit: Any, tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report(unit=unit))

    assert found.unit == MILLIVOLTS


@pytest.mark.parametrize(
    ("stated", "unit"),
    [
        ("mV", MILLIVOLTS),
        ("nA", Unit("amperes", 1e-9)),
        ("mM", Unit("moles per cubic meter", 1.0)),
        ("uS", Unit("siemens", 1e-6)),
        ("nS", Unit("siemens", 1e-9)),
        ("mA/cm2", Unit("amperes per square meter", 10.0)),
        ("millivolt", MILLIVOLTS),
        ("V", Unit("volts")),
    ],
)
def test_units_are_si_units_with_a_factor(stated: str, unit: Unit, tmp_path: Path) -> None:
    found, data = _only(tmp_path, report(unit=stated))

    assert found.unit.name == unit.name
    assert found.unit.conversion == pytest.approx(unit.conversion)
    assert data.dtype == np.float32


def test_a_missing_unit_is_unknown_with_a_warning_that_names_the_option(tmp_path: Path) -> None:
    with pytest.warns(SimulationOutputWarning, match=r"data of v\.h5 has no unit.*--unit v=UNIT"):
        found, _ = _only(tmp_path, report(unit=None))

    assert not found.unit.known


def test_a_unit_that_does_not_exist_is_unknown_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(SimulationOutputWarning, match=r"has the unknown unit 'mR'; .*--unit v"):
        found, _ = _only(tmp_path, report(unit="mR"))

    assert not found.unit.known


def test_an_empty_attribute_is_no_unit(tmp_path: Path) -> None:
    with pytest.warns(SimulationOutputWarning, match=r"v\.h5 has no unit"):
        _only(tmp_path, report(unit=h5py.Empty("S1")))


def test_a_unit_in_latin_1_is_an_unknown_unit_and_no_crash(tmp_path: Path) -> None:
    with pytest.warns(SimulationOutputWarning, match=r"v\.h5 has the unknown unit"):
        found, _ = _only(tmp_path, report(unit=np.bytes_("µV".encode("latin-1"))))

    assert found.data.shape == (3, 3)


@pytest.mark.parametrize("name", ["soma_imembrane", "i_membrane_report", "SumIMembrane"])
def test_millivolts_are_doubted_in_a_report_named_after_a_current(
    name: str, tmp_path: Path
) -> None:
    source = report().write(tmp_path / f"{name}.h5")

    with (
        pytest.warns(SimulationOutputWarning, match=rf"'mV', which cannot be.*--unit {name}=UNIT"),
        open_output(source) as output,
    ):
        assert not output[name].unit.known


@pytest.mark.parametrize("variable", ["i_membrane", "cai", "ina"])
def test_millivolts_are_doubted_for_a_variable_that_is_no_voltage(
    variable: str, tmp_path: Path
) -> None:
    file = report(dialect="allen")
    file.attributes["report/pop/data"]["variable"] = variable

    expected = f"'mV', which cannot be the unit of {variable}"
    with pytest.warns(SimulationOutputWarning, match=expected):
        found, _ = _only(tmp_path, file)

    assert not found.unit.known
    assert found.variable == variable


def test_the_caller_sets_the_unit(tmp_path: Path) -> None:
    found, _ = _only(tmp_path, report(unit=None), unit={"v": "nA"})

    assert found.unit == Unit("amperes", 1e-9)


def test_the_caller_sets_the_unit_of_one_population(tmp_path: Path) -> None:
    file = report(population="a") | report(population="b", unit="mR")

    with open_output(_written(tmp_path, file), unit={"v_b": "nA"}) as output:
        assert [found.unit.name for found in output.reports] == ["volts", "amperes"]


def test_a_unit_of_the_caller_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    source = _written(tmp_path, report())

    with pytest.raises(UnitError, match="the unit 'furlong' of v is not recognized"):
        open_output(source, unit={"v": "furlong"})


@pytest.mark.parametrize("option", ["unit", "time_unit", "compartments"])
def test_an_option_for_a_name_that_does_not_occur_is_refused(option: str, tmp_path: Path) -> None:
    source = _written(tmp_path, report())

    with pytest.raises(UnitError, match=r"there is no 'w' whose .* could be set; there are: .*v"):
        open_output(source, **{option: {"w": "ms"}})


@pytest.mark.parametrize("attribute", ["variable", "variable_name"])
def test_the_variable_is_kept(attribute: str, tmp_path: Path) -> None:
    file = report(dialect="allen")
    file.attributes["report/pop/data"][attribute] = "v"

    found, _ = _only(tmp_path, file)

    assert found.variable == "v"


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8", "<f2", "<i2", ">i4", "|u1"])
def test_the_type_and_values_of_the_data_are_kept(dtype: str, tmp_path: Path) -> None:
    values = np.asarray([[1, 2, 3], [4, 5, 250]], dtype)
    file = report(data=values, time=(0.0, 0.2, 0.1))
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        data = io.read().acquisition["v"].data
        assert data.dtype == values.dtype
        assert np.array_equal(data[:], values)


@pytest.mark.parametrize("libver", [("earliest", "v108"), ("v108", "v108")])
def test_files_of_old_and_new_hdf5_are_read(libver: Any, tmp_path: Path) -> None:
    source = _written(tmp_path, report())
    with h5py.File(source) as old, h5py.File(tmp_path / "w.h5", "w", libver=libver) as new:
        old.copy("report", new)

    with open_output(tmp_path / "w.h5") as output:
        assert output["w"].data.shape == (3, 3)


def test_further_columns_of_compartments_and_of_cells_are_kept(tmp_path: Path) -> None:
    file = report(
        seg_types=np.asarray([1, 3, 1], np.uint8), layer=np.asarray([5, 2], ">i2"), dialect="allen"
    )
    convert(_written(tmp_path, file), tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        table = io.read().acquisition["v"].compartments
        assert table["seg_types"].target.data[:].tolist() == [1, 3, 1]
        assert table["layer"].data[:].tolist() == [5, 2]


ANY_NAMES = (
    "id",
    "name",
    "description",
    "number",
    "position",
    "columns",
    "colnames",
    "population",
    "counts",
    "cell_columns",
    "cls",
    "group",
    "parent",
    "data",
    "source_column",
    "label",
    "labels",
    "x",
    "diameter",
    "section:id",
)


@pytest.mark.parametrize("per_cell", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        ANY_NAMES,
        ("id",),
        ("data",),
        ("x",),
        ("number_index",),
        ("section id",),
        ("number", "number_index"),
        ("section id", "section:id"),
        ("a:b", "sonata_a_b"),
        ("weights", "weights_index", "sonata_weights_index_column"),
    ],
    ids=str,
)
def test_a_further_column_may_have_any_name(
    names: tuple[str, ...], per_cell: bool, tmp_path: Path
) -> None:
    values = np.arange(2 if per_cell else 3, dtype=np.int32)
    further = {f"report/pop/mapping/{name}": values + number for number, name in enumerate(names)}
    source = _written(tmp_path, report() | File(further))
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    assert differences(source, tmp_path / "back" / "v.h5") == []


def test_a_further_column_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    source = _written(tmp_path, report(odd=np.zeros(7)))

    with pytest.raises(
        SourceError, match=r"mapping/odd of v\.h5 cannot be stored: expected a value"
    ):
        open_output(source)


def test_attributes_of_every_object_come_back(tmp_path: Path) -> None:
    file = report(dialect="allen") | spikes()
    for name in ("", "report", "report/pop", "report/pop/mapping", "spikes", "spikes/pop"):
        file.attributes[name] = file.attributes.get(name, {}) | {"note": f"on {name}"}
    file.attributes["report/pop/mapping/element_ids"] = {
        "numbers": (np.asarray([1.5, 2.5]), np.float32),
        "names": np.asarray(["soma", "dend"], dtype=h5py.string_dtype()),
        "yes": np.bool_(True),  # noqa: FBT003
    }
    source = _written(tmp_path, file)
    convert(source, tmp_path / "o.nwb", metadata=SESSION)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    assert differences(source, tmp_path / "back" / "v.h5") == []


@pytest.mark.parametrize("name", ["report/pop/extra", "spikes/pop/extra", "extra"])
def test_what_is_beside_the_recording_is_kept_or_noted(name: str, tmp_path: Path) -> None:
    file = report() | spikes() | File({name: np.arange(3)})
    source = _written(tmp_path, file)

    converted = convert(source, tmp_path / "o.nwb", metadata=SESSION)

    assert any("extra" in note for note in converted.notes)


def test_reports_with_the_same_mapping_share_one_table(tmp_path: Path) -> None:
    sources = [report(unit=unit).write(tmp_path / f"{unit}.h5") for unit in ("mV", "nA")]
    convert(sources, tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        nwbfile = io.read()
        assert len(nwbfile.lab_meta_data["simulation"].compartments) == 1
        assert nwbfile.acquisition["mV"].compartments is nwbfile.acquisition["nA"].compartments


def test_many_mappings_of_one_population_each_get_a_table(tmp_path: Path) -> None:
    sources = [
        report([cell], [1], population="A").write(tmp_path / f"{name}.h5")
        for cell, name in enumerate(["w", "v", "A"])
    ]
    convert(sources, tmp_path / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "o.nwb", "r") as io:
        nwbfile = io.read()
        cells = [nwbfile.acquisition[name].compartments.id[0] for name in ("w", "v", "A")]
        assert cells == [0, 1, 2]


def test_the_same_report_in_two_files_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    sources = [_written(tmp_path, report()), _written(other, report())]

    with pytest.raises(NameClashError, match="'v' occurs in more than one source file"):
        open_output(sources)


def test_an_old_file_has_its_variable_beside_the_mapping(tmp_path: Path) -> None:
    file = File(
        {
            "v/data": np.arange(5.0),
            "mapping/gids": np.asarray([3], np.uint16),
            "mapping/element_id": np.asarray([0], np.uint16),
            "mapping/element_pos": np.asarray([0.5]),
            "mapping/index_pointer": np.asarray([0], np.uint16),
        }
    )

    found, data = _only(tmp_path, file, dt=0.1, unit={"v": "mV"}, population="cortex")

    assert found.variable == "v"
    assert found.population == "cortex"
    assert data.tolist() == [[0], [1], [2], [3], [4]]
    assert found.compartments.cell_ids[:].tolist() == [3]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (File({"data": np.zeros((3, 2))}), "contains data without times and a descr"),
        (File(groups=["nodes/pop"]), "contains a network"),
        (File(groups=["edges/pop"]), "contains a network"),
        (File({"firing_rates/pop/times": np.zeros(2)}), "contains firing rates of FilterNet"),
        (File({"electrodes/pop/scaling_factors": np.zeros(2)}), "contains the weights"),
        (File({"other": np.zeros(2)}), "has only arrays of numbers, without times and cells"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_by_name(
    file: File, reason: str, tmp_path: Path
) -> None:
    source = _written(tmp_path, file)

    with pytest.raises(UnsupportedSourceError, match=rf"v\.h5 {reason}"):
        open_output(source)


def test_an_nwb_file_is_not_read_as_sonata(tmp_path: Path) -> None:
    convert(_written(tmp_path, report()), tmp_path / "o.nwb", metadata=SESSION)

    with pytest.raises(UnsupportedSourceError, match=r"o\.nwb is an NWB file, not one of SONATA"):
        sonata.read(tmp_path / "o.nwb")


def test_the_wrong_number_of_columns_is_refused(tmp_path: Path) -> None:
    source = _written(tmp_path, report(data=np.zeros((5, 4))))

    with pytest.raises(
        ShapeMismatchError, match=r"data of v\.h5 has 4 columns but the mapping describes 3 comp"
    ):
        open_output(source)


def test_data_with_a_time_triple_are_never_taken_for_compartments_by_times(tmp_path: Path) -> None:
    source = _written(tmp_path, report(data=np.zeros((3, 4)), time=(0.0, 0.3, 0.1)))

    with pytest.raises(
        ShapeMismatchError, match=r"data of v\.h5 has 4 columns but the mapping describes 3 comp"
    ):
        open_output(source)
