"""A stream has all appended values in any division, and its file is complete or does not exist."""

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import (
    LayoutError,
    NameClashError,
    ShapeMismatchError,
    SimulationOutputError,
    TargetExistsError,
    WriteError,
)
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import CompartmentTable, Run, Spikes, StreamedReport, Unit
from ndx_simulation_output.storage.layout import StorageOptions

SESSION = {
    "NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"},
    "Subject": {"subject_id": "model", "species": "Mus musculus", "sex": "U", "age": "P0D"},
}


def table(*counts: int, population: str = "exc") -> CompartmentTable:
    """Return cells with these numbers of compartments."""
    numbers = np.concatenate([np.arange(count) for count in [0, *counts]]).astype(int)
    return CompartmentTable.from_counts(
        population, np.arange(len(counts)) * 2 + 1, np.array(counts, int), {"number": numbers}
    )


def report(name: str = "v", *counts: int, **facts) -> StreamedReport:
    facts = {"rate": 10_000.0, "unit": Unit("volts", 1e-3), **facts}
    return StreamedReport(name, table(*(counts or (2, 1))), **facts)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "run.nwb"


def data_of(path: Path, name: str):
    with h5py.File(path) as file:
        return file[f"acquisition/{name}/data"][()]


@st.composite
def streamed(draw: st.DrawFn):
    """Draw reports, storage options, and a sequence of calls."""
    storage = StorageOptions(
        chunks=(draw(st.integers(1, 6)), draw(st.integers(1, 5))),
        compression=draw(st.sampled_from([None, "gzip"])),
        memory=2**20,
    )
    reports = [
        report(
            f"report {number}",
            *draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)),
            rate=draw(st.sampled_from([1000.0, 40_000.0, 1 / 3])),
            start=draw(st.sampled_from([0.0, 0.5])),
            dtype=draw(st.sampled_from(["<f4", "<f8", ">f4", "<f2", "<i2", "|u1"])),
            steps=draw(st.sampled_from([None, 1, 30])),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    blocks = st.tuples(st.sampled_from(range(len(reports))), st.sampled_from([0, 1, 1, 2, 5, 23]))
    return storage, reports, draw(st.lists(blocks | st.just("flush"), max_size=25))


@given(streamed(), st.sampled_from([0, 2]))
def test_appended_values_round_trip(tmp_path_factory, case, workers):
    storage, reports, events = case
    target = tmp_path_factory.mktemp("stream") / "run.nwb"
    random = np.random.default_rng(0)
    columns = [described.compartments.n_compartments for described in reports]
    appended = [
        [np.zeros((0, width), described.dtype)]
        for described, width in zip(reports, columns, strict=True)
    ]

    with stream(target, reports, metadata=SESSION, storage=storage, workers=workers) as file:
        for event in events:
            if event == "flush":
                file.flush()
                for described, parts in zip(reports, appended, strict=True):
                    found = data_of(file.path, described.name)
                    np.testing.assert_array_equal(found, np.concatenate(parts))
                continue
            number, rows = event
            values = random.normal(30, 9, (rows, columns[number])).astype(reports[number].dtype)
            file.append(reports[number].name, values[0] if rows == 1 else values)
            appended[number].append(values)

    with open_output(target) as output:
        for described, parts in zip(reports, appended, strict=True):
            found = output[described.name]
            np.testing.assert_array_equal(found.data[:], np.concatenate(parts))
            assert found.data.dtype == described.dtype
            assert (found.times.rate, found.times.start) == (described.rate, described.start)
            np.testing.assert_array_equal(
                found.compartments.counts(), described.compartments.counts()
            )


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_many_rows_of_chunks_are_written_in_order(compression, target):
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype("f4")
    storage = StorageOptions(chunks=(2, 2), compression=compression)

    with stream(target, [report(), report("w")], metadata=SESSION, storage=storage) as file:
        for step, row in enumerate(values):
            file.append("v", row)
            if step % 3 == 0:
                file.append("w", row)
            if step in {100, 501, 502, 900}:
                file.flush()

    np.testing.assert_array_equal(data_of(target, "v"), values)
    np.testing.assert_array_equal(data_of(target, "w"), values[::3])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_reserved_space_that_was_not_used_is_not_in_the_file(compression, target):
    storage = StorageOptions(chunks=(100, 100), compression=compression)

    with stream(target, [report("v", 100)], metadata=SESSION, storage=storage) as file:
        file.append("v", np.ones((12_345, 100)))

    assert target.stat().st_size < 1.2 * 4 * 100 * 12_345


def test_the_file_has_its_name_when_the_block_ends(target):
    with stream(target, [report()], metadata=SESSION) as file:
        file.append("v", [1.0, 2.0, 3.0])
        file.flush()
        assert file.path != target
        assert not target.exists()

    assert list(target.parent.iterdir()) == [target]


def test_a_stream_is_a_valid_file(target):
    run = Run(simulator="ours", time_step=1e-4)

    with stream(target, [report()], metadata=SESSION, run=run) as file:
        file.append("v", np.zeros((5, 3)))
        file.add_spikes(Spikes("exc", np.array([3, 1]), np.array([0.2, 0.1])))

    assert [found for found in check_file(target) if found.severity == "error"] == []
    with NWBHDF5IO(target, "r") as io:
        nwbfile = io.read()
        assert nwbfile.lab_meta_data["simulation"].simulator == "ours"
        series = nwbfile.acquisition["v"]
        assert (series.unit, series.conversion, series.rate) == ("volts", 1e-3, 10_000.0)
        assert series.get_traces(cells=3).shape == (5, 1)
        assert nwbfile.units.resolution == 1e-4


def test_spikes_are_written_at_the_end_by_population(target):
    with stream(target, [report()], metadata=SESSION) as file:
        file.add_spikes(Spikes("exc", np.array([3]), np.array([0.2])))
        file.add_spikes(Spikes("inh", np.array([3]), np.array([0.3])))
        file.flush()
        file.add_spikes(Spikes("exc", np.array([3, 1]), np.array([0.1, 0.1])))

    with open_output(target) as output:
        exc, inh = output.spikes
    assert exc.node_ids.tolist() == [1, 3, 3]
    assert exc.times.tolist() == [0.1, 0.1, 0.2]
    assert (inh.population, inh.times.tolist()) == ("inh", [0.3])


def test_cells_without_spikes_and_intervals_are_kept(target):
    nothing = np.zeros(0, np.int64), np.zeros(0)
    with stream(target, [report()], metadata=SESSION) as file:
        file.add_spikes(Spikes("exc", *nothing, silent=np.array([1, 3, 7])))
        for start, stop in ((0.0, 0.1), (0.1, 0.4), (0.5, 0.6)):
            file.add_spikes(Spikes("exc", *nothing, intervals=np.array([[start, stop]])))
            file.flush()
        file.add_spikes(Spikes("exc", np.array([3]), np.array([0.2])))

    with open_output(target) as output:
        (spikes,) = output.spikes
    assert (spikes.node_ids.tolist(), spikes.silent.tolist()) == ([3], [1, 7])
    assert spikes.intervals.tolist() == [[0.0, 0.4], [0.5, 0.6]]


def test_many_spikes_round_trip(target):
    random = np.random.default_rng(0)
    ids = [random.integers(0, 50, 3000).astype(kind) for kind in ("i8", "u4", "i2") * 5]
    times = [random.uniform(0, 10, 3000) for _ in ids]

    with stream(target, [report()], metadata=SESSION) as file:
        for some, when in zip(ids, times, strict=True):
            file.add_spikes(Spikes("exc", some, when))

    with open_output(target) as output:
        (spikes,) = output.spikes
    order = np.lexsort((np.concatenate(times), np.concatenate(ids)))
    np.testing.assert_array_equal(spikes.node_ids, np.concatenate(ids)[order])
    np.testing.assert_array_equal(spikes.times, np.concatenate(times)[order])


def test_spikes_without_integer_ids_are_an_error(target):
    with (
        pytest.raises(TypeError, match="node ids of population 'exc' are float64; expected integ"),
        stream(target, [report()], metadata=SESSION) as file,
    ):
        file.add_spikes(Spikes("exc", np.array([1.0]), np.array([0.1])))


def test_nothing_appended_is_an_empty_report(target):
    with stream(target, [report()], metadata=SESSION):
        pass

    assert data_of(target, "v").shape == (0, 3)


def test_values_are_cast_to_the_type_of_the_report(target):
    with stream(target, [report()], metadata=SESSION) as file:
        file.append("v", [0.1, 0.2, 0.3])
        file.append("v", np.array([[1, 2, 3]]))

    assert data_of(target, "v").dtype == np.float32
    np.testing.assert_array_equal(
        data_of(target, "v"), np.array([[0.1, 0.2, 0.3], [1, 2, 3]], np.float32)
    )


@pytest.mark.parametrize("shape", [(), (2,), (5, 4), (1, 5, 3), (3, 1)])
def test_values_of_another_shape_are_an_error(shape, target):
    expected = r"values for 'v' have shape .*; expected .* with 3 compartments"

    with (
        pytest.raises(ShapeMismatchError, match=expected),
        stream(target, [report()], metadata=SESSION) as file,
    ):
        file.append("v", np.zeros(shape))

    assert list(target.parent.iterdir()) == []


def test_values_that_cannot_be_cast_are_an_error(target):
    with (
        pytest.raises(
            TypeError, match=r"values for 'v' are complex128, which cannot be cast to float32"
        ),
        stream(target, [report()], metadata=SESSION) as file,
    ):
        file.append("v", np.zeros(3, complex))


def test_an_unknown_report_is_an_error(target):
    with (
        pytest.raises(KeyError, match="no report 'u'; expected one of: v, w"),
        stream(target, [report(), report("w")], metadata=SESSION) as file,
    ):
        file.append("u", np.zeros(3))


def test_appending_after_the_block_is_an_error(target):
    with stream(target, [report()], metadata=SESSION) as file:
        pass

    with pytest.raises(SimulationOutputError, match=r"stream of .*run\.nwb is closed"):
        file.append("v", np.zeros(3))


def test_reports_of_the_same_name_are_an_error(target):
    with (
        pytest.raises(NameClashError, match="same name: v, v"),
        stream(target, [report(), report()], metadata=SESSION),
    ):
        pass


def test_a_report_without_compartments_is_an_error(target):
    with (
        pytest.raises(ShapeMismatchError, match="'v' has no compartments"),
        stream(target, [report("v", 0)], metadata=SESSION),
    ):
        pass


def test_a_type_other_than_numbers_is_an_error():
    with pytest.raises(
        TypeError, match="report 'v' has the type bool; expected integers or floats"
    ):
        report(dtype="bool")


@pytest.mark.parametrize(
    "storage", [StorageOptions(chunks="contiguous"), StorageOptions(link=True)]
)
def test_contiguous_or_linked_streams_are_an_error(storage, target):
    with (
        pytest.raises(LayoutError, match="cannot be contiguous, linked or quantized"),
        stream(target, [report()], metadata=SESSION, storage=storage),
    ):
        pass


def test_chunks_larger_than_the_memory_are_an_error(target):
    storage = StorageOptions(chunks=(100_000, 1), memory=2**20)

    with (
        pytest.raises(LayoutError, match="chunks of 100000 rows need a buffer of 1200000 bytes"),
        stream(target, [report()], metadata=SESSION, storage=storage),
    ):
        pass


def test_rows_of_chunks_of_all_reports_fit_into_the_memory(target):
    reports = [report("v", 5000), report("w", 9000, dtype="f8", rate=1.0)]

    with stream(target, reports, metadata=SESSION, storage=StorageOptions(memory=2**20)) as file:
        file.append("v", np.zeros(5000))

    with h5py.File(target) as made:
        heights = [made[f"acquisition/{name}/data"].chunks[0] for name in ("v", "w")]
    assert heights[0] * 5000 * 4 + heights[1] * 9000 * 8 <= 2**20


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyboardInterrupt(), FileNotFoundError(2, "no such", "parameters")]
)
def test_an_exception_in_the_block_propagates_and_the_old_file_is_kept(error, target):
    target.write_text("old")

    with (
        pytest.raises(type(error)) as caught,
        stream(target, [report()], metadata=SESSION, overwrite=True),
    ):
        raise error

    assert caught.value is error
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_an_existing_file_is_replaced_only_with_overwrite(target):
    target.write_text("old")

    with (
        pytest.raises(TargetExistsError, match=r"run\.nwb exists already"),
        stream(target, [report()], metadata=SESSION),
    ):
        pass

    assert target.read_text() == "old"


_FULL = """
    import resource, sys
    import numpy as np
    from ndx_simulation_output.storage.layout import StorageOptions
    from ndx_simulation_output.errors import WriteError
    from ndx_simulation_output.nwb.stream import stream
    from tests.nwb.test_stream import SESSION, report

    compression = sys.argv[1] if len(sys.argv) > 1 else None
    storage = StorageOptions(chunks=(100, 100), compression=compression)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000,) * 2)
    try:
        with stream("run.nwb", [report("v", 1000)], metadata=SESSION, storage=storage) as file:
            for _ in range(30):
                file.append("v", np.random.default_rng(0).normal(size=(100, 1000)))
            print("written")
    except WriteError as error:
        print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="file sizes cannot be limited")
@pytest.mark.parametrize("compression", [[], ["gzip"]])
def test_a_full_disk_is_an_error_that_names_the_target(compression, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FULL), *compression],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(filter(None, [str(Path(__file__).parents[2]), *sys.path]))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout == "cannot write run.nwb: [Errno 27] File too large\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_an_error():
    with (
        pytest.raises(WriteError, match="the directory no/such does not exist"),
        stream("no/such/run.nwb", [report()], metadata=SESSION),
    ):
        pass
